"""The adversarial autoencoder: PCA whose codes follow a prior, and a network.

Whitened principal components have mean 0 and covariance I already, as the prior does.
What is left for a discriminator to tell, and for the encoder to mend, are the higher
moments. An affine map of the codes, which costs no reconstruction, keeps the first two
where they were.
"""

from __future__ import annotations

import copy
import math
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._adversarial_module import AdversarialLoss, AdversarialModule, AdversarialNet
from ._base import BaseAutoencoder
from ._dataset import STATISTICS_ROWS, row_chunks, sample_rows
from ._discriminator import Discriminator
from ._fit import Fit
from ._module import BaseModule
from ._objective import Objective
from ._parameters import check_flag, new_random_state, new_torch_generator
from ._plan import TrainingPlan
from ._prior import MOST_CODES, Clustered, Draw, Prior, SlicedDistance, with_clusters
from ._start import RandomStart, Start
from ._trained import TrainedNetwork, inference
from .architectures._mlp import check_sizes


class Adversarial(Objective):
    """Rows are to come back, and codes to follow a prior."""

    net_class = AdversarialNet

    def networks(self, start: Start, plan: TrainingPlan, seed: int) -> tuple[Any, ...]:
        """Return encoder, decoder and discriminator."""
        widths = check_sizes(
            "discriminator_hidden_layer_sizes",
            self.params.discriminator_hidden_layer_sizes,
            "such as (64, 64), or () for no hidden layer",
            may_be_empty=True,
        )
        generator = new_torch_generator(seed)
        discriminator = Discriminator(start.n_codes, widths, generator)
        return *super().networks(start, plan, seed), discriminator

    def module(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module | None = None,
    ) -> AdversarialModule:
        """Return an autoencoder with a prior of its codes."""
        assert isinstance(discriminator, Discriminator)
        params = self.params
        n_clusters = None if params.n_clusters is None else int(params.n_clusters)
        prior = Prior(params.prior, discriminator.k, n_clusters)
        noise = float(params.code_noise)
        return AdversarialModule(encoder, decoder, prior, discriminator, noise)

    def loss(self, plan: TrainingPlan) -> AdversarialLoss:
        """Return the squared error and both sides of the game."""
        params = self.params
        weight, penalty = params.adversarial_weight, params.gradient_penalty
        return AdversarialLoss(float(weight), float(penalty))

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return PCA, with clusters of its codes if these are asked for."""
        start = super().start(pca, X, weight, seed)
        if self.params.n_clusters is None:
            return start
        return self._clustered(start, X, weight, seed)

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return the start of a fold or a batch, with clusters as they are known."""
        start = super().start(pca, X, weight, seed)
        if isinstance(whole, Clustered):
            return self._clustered(start, X, weight, seed, whole.centres)
        return start

    def _clustered(
        self,
        start: Start,
        X: Any,
        weight: NDArray | None,
        seed: int,
        centres: NDArray | None = None,
    ) -> Start:
        rng = np.random.default_rng(seed)
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        n_clusters = int(self.params.n_clusters)
        return with_clusters(start, rows, weight, n_clusters, seed, centres)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the network, whose codes have mean 0 and covariance I."""
        return TrainedAdversarial(module, start, held_out_error)


class TrainedAdversarial(TrainedNetwork):
    """A network whose codes are standardised by rows that it was trained on."""

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Standardise the codes, but those of a batch, and measure them."""
        assert isinstance(self.module, AdversarialModule)
        if earlier is None:
            rows, w = sample_rows(X, weight, STATISTICS_ROWS, copy.deepcopy(rng))
            x, known = self._standardised(rows.astype(np.float64))
            module = self._module_for(x.dtype)
            with inference(module):
                codes = module.encode(x, known)
            self.module.standardise(codes, w)
            self._casts.clear()
        super().measure(X, weight, rng, earlier, sort=sort)


class AdversarialAutoencoder(BaseAutoencoder):
    """Autoencoder whose codes follow a prior, so that new rows can be drawn.

    A discriminator learns to tell the codes of rows from draws of the prior, and the
    encoder learns to fool it, while encoder and decoder reconstruct the rows (Makhzani
    et al. 2015). It starts exactly at PCA, whose whitened codes have the mean and the
    covariance of the prior already. The network replaces PCA only where held-out rows
    are reconstructed better, and their codes are not further from the prior.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``.
    prior : {"normal", "uniform"} or callable, default="normal"
        What the codes are to follow, up to an affine map: all priors are brought to
        mean 0 and covariance I. "uniform" is that of a cube. A function
        ``prior(n, generator)`` returns `n` draws as a tensor or an array of shape
        (n, n_components), by the :class:`torch.Generator` that it is given. Codes come
        as near to it as `prior_distance_` says: a prior with gaps or edges, such as a
        ring, is out of reach of a smooth encoder.
    n_clusters : int or None, default=None
        Let the prior be a mixture of so many copies of one covariance, in place of the
        paper's categorical code. They are those of PCA's codes: by KMeans, then by EM
        of normals (with `partial_fit`, from those of the first batch on). The estimator
        is a clusterer then: :meth:`predict` returns clusters and not anomalies, which
        :meth:`decision_function` still tells.
    adversarial_weight : float, default=1.0
        What the loss of the encoder against the discriminator counts, in nats, as a
        multiple of the squared error of the batch. With 0 the codes are free.
    gradient_penalty : float, default=1.0
        Weight of the squared gradients of the discriminator at codes and at draws,
        which keep it from being too sure (Mescheder et al. 2018).
    discriminator_hidden_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the discriminator, whose activation is tanh.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes. Only used
        when `architecture` is None.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used when `architecture` is None.
    architecture : Architecture or None, default=None
        Which networks to train: :class:`skae.architectures.MLP`,
        :class:`~skae.architectures.Convolutional` for images and signals,
        :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Transformer` for both,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. None is an MLP.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, without a
        linear path and without PCA to fall back on, as in the paper.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 0.3 * k * sqrt(d / n))`` for n distinct rows, d columns
        (those of a step, with :class:`~skae.architectures.Recurrent`) and k codes. The
        discriminator has none.
    code_noise : float, default=0.1
        Standard deviation of the normal noise that is added to the codes while the
        network trains, in deviations of each code over the batch. Rows are drawn from
        codes that none of the training rows has, and should be like those nearby.
    contamination : float, default=0.0
        Share of the rows, at most 0.5, that takes no part in PCA, training and the
        choice between them: those that are the most unusual for PCA of all rows (of a
        batch, those before it), by their codes or by what these leave over. `offset_`
        follows from it. 0.5 is a good choice where it is not known how many rows are
        anomalies, 0 where none is.
    n_neighbors : int or None, default=None
        Score rows by their distance to so many of the rows that were trained on, in
        codes beside residuals, which are kept for that: 5 finds single anomalies better
        than the likelihood does, which None stands for, and misses groups of them
        that are larger. A model that is to be chosen by
        `score` needs None.
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2, and twice that for one or two codes of 1000 rows or more. With 0,
        nothing is trained and the estimator is PCA.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split, and its held-out codes must not be further from the prior than PCA's
        are; below 10 distinct rows, or 5 held-out ones, PCA is kept. Recurrent
        networks and Transformers, which train one after the other, have folds below 200
        rows only.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    warm_start : bool, default=False
        Let :meth:`fit` go on from the network of the last fit. The linear start and the
        mean stay those of the first one, and a split decides in place of folds. The
        rate, the decay, the batches and the epochs may change; other networks or
        another objective are an error.
    verbose : bool, default=False
        Print a line for each epoch, and whether PCA or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out rows, the order of the rows, the draws
        from the prior and PCA's randomised solver. None takes them from
        ``numpy.random``, whose seed is thus honoured; torch's random state is never
        touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``,
        ``train_reconstruction``, ``train_discriminator``, ``train_generator``,
        ``valid_loss``, ``valid_distance`` and ``dur``. A
        :class:`skorch.callbacks.LRScheduler` replaces the one-cycle learning rate. With
        callbacks, a split decides in place of folds (20 % of less than 1000 rows).
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    n_components_ : int
        Number of codes.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`: the product of `sample_shape_`.
    sample_shape_ : tuple of int
        Shape of a sample: ``(n_features,)`` for a table, ``(28, 28)`` for images given
        as an array of shape (n_samples, 28, 28).
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    n_samples_ : int
        Number of rows seen in :meth:`fit`.
    mean_ : ndarray of shape (n_features,)
        Mean of the rows.
    components_ : ndarray of shape (n_components, n_features)
        Loadings of the columns on the codes, by least squares over the training rows
        (10,000 of them at most): the principal axes while PCA is used.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it
        in proportion to the error that fixing this code at its mean would add. For PCA
        that is PCA's own ratio.
    singular_values_ : ndarray of shape (n_components,)
        Singular values of the centred rows, PCA's own.
    noise_variance_ : float
        Variance of what the codes leave over, in each of the
        ``n_features - n_components`` other dimensions, for held-out rows where
        there are any.
    n_iter_ : int
        Epochs run; up to `best_iter_`, where folds have chosen that.
    offset_ : float
        Rows of a lower score are anomalies: `contamination` of the training rows
        (10,000 of them at most), or as near to it as equal scores allow. With 0 it is
        Tukey's fence, 1.5 times the distance of the quartiles below the lower one (of
        1000 rows), of scores as of rows that were not trained on.
    best_iter_ : int
        Epoch whose weights are used; 0 if PCA was kept.
    loss_curve_ : list of float
        Training loss of each epoch: the sum of the history's three terms, of which
        ``train_reconstruction`` is the squared error summed over the features, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        R2 of the held-out rows for each epoch, from epoch 0 (PCA) on; of the folds'
        networks, where there are folds, and empty where no row is held out.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode`` and ``decode`` for standardised rows and
        whitened codes.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.
    prior_distance_ : float
        How far the codes of the training rows (1000 of them at most) are from the
        prior: their sliced Epps-Pulley distance, about .1 for draws of the prior itself
        (up to .7 with one code). Compare it with that of ``max_iter=0``, PCA. Only of
        :meth:`fit`.
    cluster_centers_ : ndarray of shape (n_clusters, n_components)
        Codes that the clusters are around; :meth:`inverse_transform` has the rows. Only
        with `n_clusters`.
    labels_ : ndarray of int of shape (n_samples,)
        The cluster of each training row. Only of :meth:`fit` with `n_clusters`.

    See Also
    --------
    VAE : Has a likelihood, and a posterior for each row.
    sklearn.mixture.GaussianMixture : The clusters' start, on PCA's codes.

    Notes
    -----
    The encoder loses the squared error plus `adversarial_weight` times the error's mean
    over the batch times ``-log D(z)``, the discriminator ``-log D(drawn) -
    log(1 - D(z))`` and half of `gradient_penalty` times the squared norms of its
    gradients. Both take a step at once, the discriminator at three times the rate. Its
    loss never decides anything: that is left to the squared error of held-out rows and
    to the sliced Epps-Pulley distance of their codes from the prior, with each
    direction standardised, which must not exceed that at the start by more than those
    of 20 sets of draws from the prior differ. Where folds decide, codes of all folds
    count together. With `partial_fit` the squared error alone decides.

    After training an affine map brings the codes to mean 0 and covariance I over the
    training rows (10,000 of them at most); it costs no reconstruction. `transform`
    returns them in PCA's units, and of unit variance with ``whiten=True``.
    `score_samples` is the normal density of the code and that of the residual, at the
    start PCA's own, whatever the prior.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow & Frey (2015), Adversarial autoencoders.

    Mescheder, Geiger & Nowozin (2018), Which training methods for GANs do actually
    converge?

    Epps & Pulley (1983), A test for normality based on the empirical characteristic
    function. Biometrika 70.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AdversarialAutoencoder
    >>> rng = np.random.RandomState(0)
    >>> t = rng.uniform(-1, 1, 400)
    >>> X = np.column_stack([t, t**2]) + 0.05 * rng.standard_normal((400, 2))
    >>> model = AdversarialAutoencoder(1, random_state=0).fit(X)
    >>> drawn = model.sample(5, random_state=0)
    >>> drawn.shape
    (5, 2)
    >>> bool(model.score(X) > AdversarialAutoencoder(1, max_iter=0).fit(X).score(X))
    True
    >>> blobs = np.concatenate([X, X + 3])
    >>> clusters = AdversarialAutoencoder(1, n_clusters=2, random_state=0).fit(blobs)
    >>> np.bincount(clusters.labels_)
    array([400, 400])
    """

    _objective_class = Adversarial

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "prior": [StrOptions({"normal", "uniform"}), callable],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "adversarial_weight": [Interval(Real, 0, 1e9, closed="both")],
        "gradient_penalty": [Interval(Real, 0, 1e9, closed="both")],
        "discriminator_hidden_layer_sizes": ["array-like", Integral],
        "code_noise": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        prior: str | Draw = "normal",
        n_clusters: int | None = None,
        adversarial_weight: float = 1.0,
        gradient_penalty: float = 1.0,
        discriminator_hidden_layer_sizes: tuple[int, ...] = (64, 64),
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float | str = "auto",
        code_noise: float = 0.1,
        contamination: float = 0.0,
        n_neighbors: int | None = None,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.prior = prior
        self.n_clusters = n_clusters
        self.adversarial_weight = adversarial_weight
        self.gradient_penalty = gradient_penalty
        self.discriminator_hidden_layer_sizes = discriminator_hidden_layer_sizes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
        self.code_noise = code_noise
        self.contamination = contamination
        self.n_neighbors = n_neighbors
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    def _publish(self, fit: Fit) -> None:
        """Take over a fit, without what was found out of the rows of an earlier one."""
        super()._publish(fit)
        for name in ("prior_distance_", "labels_"):
            self.__dict__.pop(name, None)

    def _finish(self, X: Any) -> None:
        """Find how far the training rows' codes are from the prior, and clusters."""
        rng = np.random.default_rng(self._fit.seed)
        rows = sample_rows(X, None, MOST_CODES, rng)[0]
        codes = torch.from_numpy(self._in_prior(rows))
        prior = copy.deepcopy(self._fit.net.module_.prior).cpu()
        self.prior_distance_ = SlicedDistance(prior, self._fit.seed)(codes)
        if self.n_clusters is not None:
            self.labels_ = self._clusters(X)

    def _in_prior(self, X: NDArray) -> NDArray:
        """Return codes of dense rows as the prior has them, shape (n, k)."""
        model = self._fit.model
        codes = np.empty((len(X), self.n_components_))
        codes[:, self._order] = model.transform(X) / model.code_scale
        return codes

    # What a fitted estimator does

    def predict(self, X: ArrayLike) -> NDArray:
        """Tell anomalies from normal rows or, with `n_clusters`, return clusters.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            -1 for rows whose score is below `offset_`, 1 for the others. With
            `n_clusters` the likeliest cluster of each row, from 0 on.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        if not isinstance(self._fit.start, Clustered):
            return super().predict(X)
        return self._clusters(self._fitted_rows(X))

    @property
    def cluster_centers_(self) -> NDArray:
        """Codes that the clusters are around, shape (n_clusters, n_components)."""
        start = self._fit.start if self.__sklearn_is_fitted__() else None
        if not isinstance(start, Clustered):
            raise AttributeError("cluster_centers_ is there after fit with n_clusters.")
        model = self._fit.model
        codes = start.mixture.centres[:, self._order] * model.code_scale
        return codes / self._fit.deviation(codes.dtype)

    def _clusters(self, X: Any) -> NDArray:
        """Return the likeliest cluster of each row, shape (n_samples,)."""
        start = self._fit.start
        assert isinstance(start, Clustered)
        mixture = start.mixture

        def likeliest(rows: NDArray) -> NDArray:
            return mixture.log_shares(self._in_prior(rows)).argmax(1)

        return self._map(X, likeliest, (), np.intp)

    @property
    def _order(self) -> NDArray:
        """Places of the codes in the prior, shape (n_components,)."""
        return getattr(self._fit.model, "order", np.arange(self.n_components_))

    def sample(
        self,
        n_samples: int = 1,
        *,
        add_noise: bool = True,
        random_state: int | RandomState | None = None,
    ) -> NDArray:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows, at least 1.
        add_noise : bool, default=True
            Add what codes leave over: normal noise of variance `noise_variance_` in the
            ``n_features - n_components`` dimensions beside `components_`. False returns
            what the decoder makes of draws from the prior.
        random_state : int, RandomState or None, default=None
            Seeds the draws.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Or images or series, as :meth:`fit` saw them. While PCA is used and the
            prior is normal they have the distribution of probabilistic PCA.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            If `n_samples` is not an integer of at least 1.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1, max_val=2**31 - 1)
        n_samples, add_noise = int(n_samples), check_flag("add_noise", add_noise)
        rng = new_random_state(random_state)
        model, codes = self._fit.model, self._draw_codes(n_samples, rng)
        rows = np.empty((n_samples, len(self.mean_)))
        axes = np.linalg.qr(self.components_.T.astype(np.float64))[0]  # (d, k)
        for part in row_chunks(rows):
            rows[part] = model.inverse_transform(codes[part])
            if add_noise:
                noise = rng.standard_normal(rows[part].shape)
                noise -= (noise @ axes) @ axes.T
                rows[part] += math.sqrt(self.noise_variance_) * noise
        return self._as_samples(rows)

    def _draw_codes(self, n_samples: int, rng: RandomState) -> NDArray:
        """Draw codes of the model, before whitening, from the prior; (n_samples, k)."""
        generator = new_torch_generator(int(rng.randint(2**31 - 1)))
        prior = copy.deepcopy(self._fit.net.module_.prior).cpu()
        codes = prior(n_samples, generator).double().numpy()
        model, scale = self._fit.model, self._fit.model.code_scale
        if isinstance(model, Start) and not isinstance(model, RandomStart):
            scale = np.where(model.explained_variance > 0, scale, 0.0)
        return codes[:, self._order] * scale

    # What scikit-learn asks

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.n_clusters is not None:
            tags.estimator_type = "clusterer"
        return tags
