"""The variational autoencoder: a model of rows by codes that are drawn.

It starts at probabilistic PCA, of which the bound of the likelihood is tight (see
``_variational_module.py``).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, overload

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._base import BaseAutoencoder
from ._dataset import row_chunks
from ._module import BaseModule, LinearResidual
from ._objective import MOST_DECAY, Objective
from ._parameters import check_flag, is_auto, new_random_state
from ._plan import TrainingPlan
from ._start import Start
from ._trained import TrainedNetwork, inference
from ._variational_module import (
    BernoulliModule,
    EvidenceLowerBound,
    ProbabilisticPCA,
    VariationalModule,
    log_scale,
)

# A code is active if its posterior mean varies by more (Burda et al. 2016, section 4).
ACTIVE_VARIANCE = 0.01
# More codes have no more weight decay.
MANY_CODES = 16


class Variational(Objective):
    """Rows are to be likely under a model with codes."""

    outputs_per_code = 2

    def module(self, encoder: nn.Module, decoder: nn.Module) -> VariationalModule:
        """Return a variational autoencoder for the likelihood."""
        if self.params.likelihood == "bernoulli":
            return BernoulliModule(encoder, decoder)
        return VariationalModule(encoder, decoder)

    def loss(self, plan: TrainingPlan) -> EvidenceLowerBound:
        """Return the negative ELBO."""
        params = self.params
        warmup: Any = params.n_epochs_kl_warmup
        if is_auto(warmup):
            warmup = plan.max_iter // 2 if self._is_random() else None
        return EvidenceLowerBound(params.likelihood, params.beta, warmup)

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return probabilistic PCA."""
        return self.random_start(pca) if self._is_random() else ProbabilisticPCA.of(pca)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the network, with the draws that its likelihoods are taken by."""
        return TrainedVariational(
            module,
            start,
            noise=normal_points(self.params.n_importance_samples, start.n_codes, seed),
            log_scale=log_scale(self.params.likelihood, start),
        )

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``: less, for fewer codes.

        A likelihood asks for more precise reconstructions than the squared error does.
        """
        k = min(n_components, MANY_CODES)
        return min(0.02 * k**2 * math.sqrt(n_features / n_rows), MOST_DECAY)

    @property
    def is_likelihood(self) -> bool:
        """The bound is one."""
        return True

    def _is_random(self) -> bool:
        return self.params.init == "random" or self.params.likelihood == "bernoulli"


@dataclass(kw_only=True)
class TrainedVariational(TrainedNetwork):
    """A trained variational autoencoder: its bounds in place of the split density.

    The noise is the same for every row, so that a score does not depend on the rows
    that it is computed with.
    """

    noise: NDArray  # (n_importance_samples, k)
    log_scale: float  # of an entry, in nats: densities are in the units of X

    def _noise_variance(
        self, rows: NDArray, codes: NDArray, weight: NDArray | None
    ) -> float:
        """Return the learnt variance, and tell of codes that carry nothing."""
        active = np.diagonal(self.codes.covariance) > (
            ACTIVE_VARIANCE * self.code_scale**2
        )
        if 2 * active.sum() < len(active) and self.start.explained_variance[0] > 0:
            warnings.warn(
                f"Active codes: {active.sum()} of {len(active)} (see active_units_). "
                "The others have collapsed to the prior. A smaller n_components or "
                "beta, or a longer n_epochs_kl_warmup, may help.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if isinstance(self.module, BernoulliModule):
            return 0.0
        assert isinstance(self.module, VariationalModule)
        return math.exp(self.module.log_variance.item()) * self.start.scale**2

    def posterior_std(self, X: NDArray) -> NDArray:
        """Return the posterior's standard deviations, shape (n, k)."""
        x, known = self._standardised(X)
        module = self._module_for(x.dtype)
        with inference(module):
            log_variance = module.posterior(x, known)[1].cpu().numpy()
        std = np.exp(0.5 * log_variance)[:, self.order]
        return std * self.code_scale.astype(X.dtype)

    def score_samples(self, X: NDArray) -> NDArray:
        """Return the importance-weighted bound of each row in nats, shape (n,)."""
        weights = self._log_weights(X)
        bound = logsumexp(weights, axis=0) - math.log(len(weights))
        return self._beside_start(X, bound)

    def _scores_and_squares(self, X: NDArray) -> tuple[NDArray, NDArray, float]:
        """Return scores and squared residuals of draws, (n,), and the width of rows."""
        x, known = self._standardised(X)
        module, squares = self._module_for(x.dtype), np.zeros(len(X))
        with inference(module):
            mean, log_variance = module.posterior(x, known)
            std = (0.5 * log_variance).exp()
            for draw in torch.tensor(self.noise).to(x):
                residual = module.decoder(mean + std * draw) - x
                if known is not None:
                    residual = residual.where(known, 0)
                squares += residual.square().sum(1).cpu().numpy()
        scale = self.start.scale**2 / len(self.noise)
        n_dims = float(np.isfinite(X).sum(1).mean())
        return self.score_samples(X), scale * squares, n_dims

    def elbo(self, X: NDArray) -> NDArray:
        """Return the evidence lower bound of each row in nats, shape (n,)."""
        return self._beside_start(X, self._log_weights(X).mean(axis=0))

    @property
    def share_beyond(self) -> float:
        """How many of new rows are beyond the range of those that the networks know.

        None of n is: by the rule of succession one in n + 2 may be. 0 where there is
        no such range, or no start to describe what is beyond.
        """
        is_bound = getattr(self.module.encoder, "bounds", None) is not None
        if not (is_bound and self.start.is_fallback):
            return 0.0
        return 1 / (self.codes.n_rows + 2)

    def _beside_start(self, X: NDArray, bound: NDArray) -> NDArray:
        """Return the bound of each row in a mixture with the start, shape (n,).

        Beyond its range a network adds next to nothing to the linear maps, which leave
        what the start leaves: by its smaller noise a few rows would lose there what it
        has won on all others. The start counts nowhere else, so that in the range a row
        is as odd as the network says; the mixture is at most a density.
        """
        share = self.share_beyond
        if not share:
            return bound
        assert isinstance(self.module.encoder, LinearResidual)
        beyond = self.module.encoder.is_beyond(self._standardised(X)[0]).cpu().numpy()
        mixed = bound + math.log1p(-share)
        if beyond.any():
            by_start = self.start.score_samples(X[beyond]) + math.log(share)
            mixed[beyond] = np.logaddexp(mixed[beyond], by_start)
        return mixed

    def _log_weights(self, X: NDArray) -> NDArray:
        """Return log p(x, z) - log q(z | x), shape (n_importance_samples, n)."""
        x, known = self._standardised(X)
        module = self._module_for(x.dtype)
        weights = np.empty((len(self.noise), len(X)))
        with inference(module):
            mean, log_variance = module.posterior(x, known)
            std = (0.5 * log_variance).exp()
            for i, draw in enumerate(torch.tensor(self.noise).to(x)):
                z = mean + std * draw
                change = draw.square() + log_variance - z.square()
                weight = module.log_likelihood(x, z, known) + 0.5 * change.sum(-1)
                weights[i] = weight.double().cpu().numpy()
        return weights - self.log_scale * np.isfinite(X).sum(1)


class VAE(BaseAutoencoder):
    """Variational autoencoder that starts at probabilistic PCA.

    A generative model: codes are drawn from a standard normal distribution, and rows
    around what the decoder makes of them. Before training it is probabilistic PCA, and
    its bound is PCA's exact log-likelihood; held-out rows decide by that bound whether
    the trained network replaces it.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``. Where the codes
        leave nothing over, as many codes as columns do, the model stays PCA.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of a row given its code. "gaussian" has one variance for all
        columns, which is learnt. "bernoulli" is for values in [0, 1]; it starts from
        random weights and the column means, and has no PCA to fall back on.
    beta : float, default=1.0
        Weight of the KL divergence (Higgins et al. 2017). With another weight than 1
        the objective, by which the held-out rows decide too, is not the likelihood.
    n_epochs_kl_warmup : int, "auto" or None, default="auto"
        Epochs over which the weight of the KL divergence rises to `beta`. "auto" is
        half of them where training starts from random weights, and none from PCA;
        None has the whole weight from the first step on.
    n_importance_samples : int, default=16
        Draws for the bound of :meth:`score_samples`; 1 gives a one-sample ELBO. Read by
        :meth:`fit`.
    latent_prior : {"normal"}, default="normal"
        Distribution of the codes: the standard normal.
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
        with a method ``build``. It is asked for an encoder with twice as many outputs
        as there are codes, so that the decoder must not share its weights.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 0.02 * min(k, 16)**2 * sqrt(d / n))`` for n distinct rows, d columns
        (those of a step, with :class:`~skae.architectures.Recurrent`) and k codes.
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
        nothing is trained and the estimator is probabilistic PCA (with
        ``likelihood="gaussian"``).
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, PCA is kept. Recurrent
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
        and PCA's randomised solver. None takes them from ``numpy.random``, whose seed
        is thus honoured; torch's random state is never touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``,
        ``train_reconstruction``, ``train_kl``, ``valid_loss`` and ``dur``. A
        :class:`skorch.callbacks.LRScheduler` replaces the one-cycle learning rate.
        With callbacks, a split decides in place of folds (20 % of less than 1000
        rows).
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    n_components_ : int
        Number of codes.
    active_units_ : ndarray of bool of shape (n_components,)
        Codes whose posterior mean varies by more than 0.01 over the training rows, in
        units of the prior's variance (Burda et al. 2016). The others have collapsed to
        the prior; fitting warns if these are most.
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
        estimate to about 0.01 then); each code has a part of it in proportion to the
        error that fixing this code at its mean would add. For PCA that is PCA's own
        ratio.
    singular_values_ : ndarray of shape (n_components,)
        Singular values of the centred rows, PCA's own.
    noise_variance_ : float
        Variance of a row around its reconstruction, in each column: PCA's, or the
        learnt one, widened to what held-out rows show it to be if that is more. 0 with
        ``likelihood="bernoulli"``.
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
        Training loss of each epoch: the negative ELBO in nats per row, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        ELBO of the held-out rows in nats per row, in the units of `X`, for each epoch
        from epoch 0 (PCA's log-likelihood) on, with noise as wide as they show it to be
        (but for epoch 0).
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode``, ``posterior`` and ``decode`` for standardised
        rows and codes from the standard normal.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.

    See Also
    --------
    AutoencoderTransformer : Trained for the squared error alone.
    sklearn.decomposition.PCA : The start; its ``score`` is the likelihood at epoch 0.

    Notes
    -----
    The posterior of a code is a normal distribution with a diagonal covariance. That
    of probabilistic PCA is of this kind, so that the evidence lower bound (ELBO) of the
    start is the log-likelihood itself. Training maximises the ELBO by one draw for
    each row and step. A network fits the rows that it trains on more closely than
    others, and learns too small a noise from them: where the held-out rows show more,
    their maximum-likelihood estimate replaces it.

    References
    ----------
    Kingma & Welling (2014), Auto-encoding variational Bayes.

    Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders.

    Higgins et al. (2017), beta-VAE: learning basic visual concepts with a constrained
    variational framework.

    Lucas et al. (2019), Don't blame the ELBO! A linear VAE perspective on posterior
    collapse.

    Rybkin et al. (2021), Simple and effective VAE training with calibrated decoders.

    Tipping & Bishop (1999), Probabilistic principal component analysis.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import VAE
    >>> rng = np.random.RandomState(0)
    >>> t = rng.uniform(-1, 1, 400)
    >>> X = np.column_stack([t, t**2]) + 0.05 * rng.standard_normal((400, 2))
    >>> pca = VAE(1, max_iter=0).fit(X)
    >>> vae = VAE(1, random_state=0).fit(X)
    >>> bool(vae.score(X) > pca.score(X) + 0.3)
    True
    >>> codes, std = vae.transform(X, return_std=True)
    >>> codes.shape, std.shape
    ((400, 1), (400, 1))
    >>> vae.sample(5, random_state=0).shape
    (5, 2)
    """

    _objective_class = Variational

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "beta": [Interval(Real, 0, 1e9, closed="both")],
        "n_epochs_kl_warmup": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "latent_prior": [StrOptions({"normal"})],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        likelihood: str = "gaussian",
        beta: float = 1.0,
        n_epochs_kl_warmup: int | str | None = "auto",
        n_importance_samples: int = 16,
        latent_prior: str = "normal",
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float | str = "auto",
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
        self.likelihood = likelihood
        self.beta = beta
        self.n_epochs_kl_warmup = n_epochs_kl_warmup
        self.n_importance_samples = n_importance_samples
        self.latent_prior = latent_prior
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
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

    # What a fitted estimator does

    @property
    def active_units_(self) -> NDArray:
        """Codes whose posterior mean varies, shape (n_components,)."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError("active_units_ is there after fit.")
        start = self._fit.start
        if isinstance(self._fit.model, TrainedVariational):
            scale = self._fit.model.code_scale
            return self._fit.model.explained_variance > ACTIVE_VARIANCE * scale**2
        variance, noise = start.sound_variances
        return 1 - noise / variance > ACTIVE_VARIANCE

    @overload
    def transform(
        self, X: ArrayLike, return_std: Literal[False] = False
    ) -> NDArray: ...

    @overload
    def transform(
        self, X: ArrayLike, return_std: Literal[True]
    ) -> tuple[NDArray, NDArray]: ...

    def transform(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return the posterior means of the codes, and their deviations if asked.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.
        return_std : bool, default=False
            Return the posterior's standard deviations too.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            In PCA's units, or of unit variance with ``whiten=True``; float32 for
            float32 rows, else float64. A frame if :meth:`set_output` asks for one.
        std : ndarray of shape (n_samples, n_components)
            In the units of the codes. Only returned with ``return_std=True``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        codes = super().transform(X)
        if not check_flag("return_std", return_std):
            return codes
        X = self._fitted_rows(X)
        fit = self._fit
        model: Any = fit.model

        def posterior_std(X: NDArray) -> NDArray:
            return model.posterior_std(X) / fit.deviation(X.dtype)

        return codes, self._map(X, posterior_std, (self.n_components_,))

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return a lower bound of the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            The importance-weighted bound (Burda et al. 2016, equation 8), in the units
            of `X`; the exact log-likelihood while PCA is used. The draws are the same
            for every row: the score of a row does not depend on the rows beside it,
            and the error of few draws does not average out over rows. A row beyond the
            range of the n training rows, of which a network knows nothing, is PCA's
            with probability 1 / (n + 2) and so loses at most log(n + 2) nats by it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        return super().score_samples(X)

    def elbo(self, X: ArrayLike) -> NDArray:
        """Return the evidence lower bound of each row, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            At most :meth:`score_samples` on average, by the same draws; equal to it
            while PCA is used.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        X, model = self._fitted_rows(X), self._fit.model
        bound = getattr(model, "elbo", model.score_samples)
        return self._map(X, bound, (), np.float64)

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
            Draw the rows around what the decoder makes of the drawn codes. False
            returns that itself: the mean of the rows, or their probabilities with
            ``likelihood="bernoulli"``.
        random_state : int, RandomState or None, default=None
            Seeds the draws.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Or images or series, as :meth:`fit` saw them.

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
        codes = self._draw_codes(n_samples, rng)
        rows = np.empty((n_samples, len(self.mean_)))
        for part in row_chunks(rows):
            rows[part] = self._fit.model.inverse_transform(codes[part])
        if add_noise and self._fit.objective.params.likelihood == "bernoulli":
            rows = (rng.uniform(size=rows.shape) < rows).astype(np.float64)
        elif add_noise:
            std = math.sqrt(self.noise_variance_)
            rows = rows + std * rng.standard_normal(rows.shape)
        return self._as_samples(rows)

    def _draw_codes(self, n_samples: int, rng: RandomState) -> NDArray:
        """Draw codes of the model, before whitening, from the prior; (n_samples, k)."""
        codes = rng.standard_normal((n_samples, self.n_components_))
        model = self._fit.model
        if isinstance(model, TrainedVariational):
            return codes * model.code_scale
        variance, noise = self._fit.start.sound_variances
        return codes * np.sqrt(np.maximum(variance - noise, 0))


def normal_points(n: int, k: int, seed: int) -> NDArray:
    """Return draws from N(0, I) that are spread evenly, shape (n, k).

    Each is a draw of its own, so that a bound stays a bound on average, and together
    they integrate better than independent ones (scrambled Sobol points).
    """
    few = min(k, qmc.Sobol.MAXDIM)
    points = qmc.Sobol(few, seed=seed).random_base2(max(n - 1, 0).bit_length())[:n]
    rest = np.random.default_rng(seed).standard_normal((n, k - few))
    return np.concatenate([ndtri(np.clip(points, 1e-12, 1 - 1e-12)), rest], axis=1)
