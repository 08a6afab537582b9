"""The plain autoencoder: PCA, and a nonlinear residual trained on top of it."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from ._base import BaseAutoencoder
from ._dense import DenseStep, scalar, squared_error_gradient
from ._losses import Loss, ReconstructionLoss
from ._module import BaseModule
from ._objective import Objective
from ._plan import TrainingPlan
from ._projection import WHOLE, ProjectedNetwork
from ._solvers import SOLVER_PARAMETERS
from ._start import Start
from ._trained import TrainedNetwork
from .architectures import MLP, Architecture, Convolutional

TINY = 1e-6  # least length of the deviations of a code in a batch
# Steps of transform: convolutions take longer, and gain most of it by the first.
STEPS: dict[type[Architecture], int] = {MLP: 3, Convolutional: 1}


class AutoencoderModule(BaseModule):
    """The plain autoencoder, with noise on its whitened codes while it trains.

    Parameters
    ----------
    encoder, decoder : torch.nn.Module
    code_noise : float
        Standard deviation of the noise.
    ordered : bool
        Whether 2 of 5 rows, and others every time, have only a prefix of their
        codes, so that the first of them say the most.
    """

    dense_loss: ClassVar[type[Loss] | None] = ReconstructionLoss

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        code_noise: float = 0.0,
        ordered: bool = False,
    ) -> None:
        super().__init__(encoder, decoder)
        self.code_noise = code_noise
        self.ordered = ordered

    def noisy(self, z: Tensor, *, in_place: bool = False) -> tuple[Tensor, Any]:
        """Return codes with noise, while the module trains, and what it was made of.

        The noise is a share of each code's own deviation in the batch: it cannot be
        escaped by larger codes.
        """
        if not (self.training and self.code_noise):
            return z, None
        n = z.shape[-2]
        centred = z - z.sum(-2, keepdim=True) * scalar(1 / n)
        # sqrt(n) deviations of each code, which may be none
        length = torch.linalg.vector_norm(centred, dim=-2, keepdim=True).clamp_min(TINY)
        noise = torch.randn(
            z.shape, generator=self.generator, device=z.device, dtype=z.dtype
        )
        noise *= scalar(self.code_noise / math.sqrt(n))
        add = z.addcmul_ if in_place else z.addcmul
        return add(length, noise), (noise, centred, length)

    def through_noise(self, gradient: Tensor, made_of: Any) -> Tensor:
        """Make a gradient by codes with noise one by codes, in place."""
        if made_of is None:
            return gradient
        noise, centred, length = made_of
        by_length = (gradient * noise).sum(-2, keepdim=True)
        return gradient.addcmul_(centred, by_length / length)

    def prefixes(self, z: Tensor) -> Tensor:
        """Return 1 for the codes that each row keeps, 0 for others; (..., n, k).

        These are all codes, or else the first 1 to k of them, any number as likely as
        another (nested dropout, Rippel et al. 2014).
        """
        k = z.shape[-1]
        u = torch.rand(
            (*z.shape[:-1], 1), generator=self.generator, device=z.device, dtype=z.dtype
        )
        return (torch.arange(k, device=z.device) < k * u / (1 - WHOLE)).to(z)

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the reconstructions and the codes of a batch."""
        z, _ = self.noisy(self.encode(x, known))
        if self.ordered:
            z = z * self.prefixes(z)
        return self.decode(z), z

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstructions and the codes of a batch, by dense networks."""
        return self._dense_codes_and_rows(step, x)

    def _dense_codes_and_rows(
        self, step: DenseStep, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        z, made_of = self.noisy(step.encoder.forward(seen), in_place=True)
        kept = self.prefixes(z) if self.ordered else None
        if kept is not None:
            z = z * kept
        step.saved = made_of, kept
        return step.decoder.forward(z), z

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of the squared error, and return it."""
        gradient, mean = squared_error_gradient(outputs[0], x, weight)
        made_of, kept = step.saved
        by_code = step.decoder.backward(gradient, by_input=True)
        if kept is not None:
            by_code = by_code * kept
        step.encoder.backward(self.through_noise(by_code, made_of))
        return {"reconstruction": mean}


class PrefixLoss(ReconstructionLoss):
    """The squared error of rows of which some have only a prefix of their codes."""

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return nothing: it is measured on rows with all of their codes."""
        return None


class Reconstruction(Objective):
    """Rows are to come back as they are."""

    def module(self, encoder: nn.Module, decoder: nn.Module) -> BaseModule:
        """Return a plain autoencoder."""
        params = self.params
        noise = float(params.code_noise)
        return AutoencoderModule(encoder, decoder, noise, params.ordered)

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the squared error."""
        return PrefixLoss() if self.params.ordered else ReconstructionLoss()

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return PCA."""
        is_random = self.params.init == "random"
        if is_random and self.params.n_components == 0:
            raise ValueError(
                'n_components=0 with init="random": without a code there is only the '
                'mean, and so init has to be "pca".'
            )
        if is_random and self.params.linear_encoder:
            raise ValueError(
                'linear_encoder=True with init="random": the linear encoder is PCA, '
                'and so init has to be "pca".'
            )
        if self.params.linear_encoder and self.n_steps:
            raise ValueError(
                f"transform_max_iter={self.params.transform_max_iter!r} with "
                "linear_encoder=True: the codes stay PCA's, and so it has to be 0 or "
                '"auto".'
            )
        return super().start(pca, X, weight, seed)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the network, whose codes may have an order of their own."""
        given = module, start, held_out_error, self.params.ordered
        if self.n_steps:
            return ProjectedNetwork(*given, n_steps=self.n_steps)
        return TrainedNetwork(*given, self.params.linear_encoder)

    @property
    def n_steps(self) -> int:
        """Steps from the codes of the encoder to those that are decoded closest."""
        params = self.params
        steps, architecture = params.transform_max_iter, params.architecture
        if isinstance(steps, Integral):
            return int(steps)
        if params.init == "random" or params.linear_encoder:
            return 0
        if architecture is None:
            return STEPS[MLP]
        own = (n for kind, n in STEPS.items() if isinstance(architecture, kind))
        return next(own, 0)

    @property
    def takes_longer(self) -> bool:
        """Whether the network has to be one for every prefix."""
        return self.params.ordered

    @property
    def sorts_codes(self) -> bool:
        """Whether codes have no order of their own."""
        return not (self.params.ordered or self.params.linear_encoder)


class AutoencoderTransformer(BaseAutoencoder):
    """Nonlinear dimensionality reduction that starts at PCA and only gets better.

    Drop-in replacement for :class:`sklearn.decomposition.PCA`. Fitting finds PCA in
    closed form, trains a network for what PCA leaves over, and keeps the network only
    where rows that it has not seen say that it is better.

    Parameters
    ----------
    n_components : int, float, "mle" or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance, "mle" guesses it as PCA does (Minka 2000), and None takes
        ``min(n_samples, n_features)``. Without a code, 0, there is only the mean.
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
        linear path and without PCA to fall back on, as in the textbooks.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    ordered : bool, default=False
        Train so that ``Z[:, :j]`` is the code of an autoencoder with j components, for
        every j, as the first principal components are: each code adds to those before
        it, and :meth:`inverse_transform` takes 1 to `n_components` of them. Rows with
        all of their codes are reconstructed a little worse, and where PCA leaves next
        to nothing over, as with as many codes as columns, a little worse than by PCA.
        Otherwise codes are sorted by `explained_variance_ratio_`.
    linear_encoder : bool, default=False
        Keep the codes PCA's, in PCA's order, and train the decoder alone. They stay
        uncorrelated, and what a later step makes of them is what it makes of PCA's.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 0.3 * k * sqrt(d / n))`` for n distinct rows, d columns
        (those of a step, with :class:`~skae.architectures.Recurrent`) and k codes.
    code_noise : float, default=0.0
        Standard deviation of the normal noise that is added to the codes while the
        network trains, in deviations of each code over the batch.
    transform_max_iter : int or "auto", default="auto"
        Steps by which :meth:`transform` goes from the codes of the encoder to those
        that are decoded closest to the rows, as PCA's codes are. Each takes as long as
        the networks themselves do. "auto" is 3 for dense networks beside PCA, 1 for
        convolutions beside it, and 0, the codes of the encoder, for others, with
        ``init="random"``, and with ``linear_encoder=True``. With ``ordered=True`` a
        step takes `n_components` times as long. It counts in :meth:`fit`, where the
        noise is measured with it. Ten steps and more blow rounding errors up so far
        that the codes of a few rows depend, in their third digit, on the rows beside
        them.
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
        least 2, and twice that for one or two codes of 1000 rows or more, and
        for those with ``ordered=True``. With 0, nothing is trained and the estimator is
        PCA, or with ``init="random"`` networks as they begin.
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
        Seeds the initial weights, the held-out rows, the order of the rows and PCA's
        randomised solver. None takes them from ``numpy.random``, whose seed is thus
        honoured; torch's random state is never touched.
    svd_solver : {"auto", "full", "covariance_eigh", "arpack", "randomized"}, \
            default="auto"
        How PCA is found, as in :class:`sklearn.decomposition.PCA`. Rows with weights,
        or more than once in a small table, and tables on disk have only one way.
    iterated_power : int or "auto", default="auto"
        Power iterations of the randomised solver.
    n_oversamples : int, default=10
        Further random vectors of the randomised solver.
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}, default="auto"
        How the randomised solver normalises its iterations.
    copy : bool, default=True
        Is there because PCA has it: `X` is never overwritten.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``, ``valid_loss``
        and ``dur``. A :class:`skorch.callbacks.LRScheduler` replaces the one-cycle
        learning rate. With callbacks, a split decides in place of folds (20 % of less
        than 1000 rows).
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
        in proportion to the error that fixing this code at its mean would add, and with
        ``ordered=True`` what it adds to the R2 of the codes before it. For PCA
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
        Training loss of each epoch: squared error summed over the features, for rows
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

    See Also
    --------
    sklearn.decomposition.PCA : The linear start.
    skae.architectures.MLP : The default network, with more options.

    Notes
    -----
    With one scalar `scale`, ``x~ = (x - mean) / scale``, and principal axes U of
    variance L, the code is ``u = L^-1/2 U' x~ + f(x~)`` and the reconstruction
    ``U L^1/2 u + g(u)``. The networks f and g start at zero. The decision between PCA
    and the network is by the squared error, with the codes of the encoder. PCA's codes
    are those that are decoded closest to the rows; an encoder only guesses these, and
    worse for new rows (Cremer et al. 2018). So :meth:`transform` takes
    `transform_max_iter` steps from there, each where it brings the row closer, and none
    beyond the range of the training rows; with one or two codes, those of 256 training
    rows are guesses as well. A trained network's codes need not be
    uncorrelated. With ``ordered=True`` 2 of 5 rows of a batch, and of the rows
    that are held out, have only a random prefix of their codes, the others being 0:
    nested dropout (Rippel et al. 2014). PCA is best for every prefix at once, and so it
    is the start of that as well; `validation_scores_` then are of such rows.

    References
    ----------
    Bourlard & Kamp (1988), Auto-association by multilayer perceptrons and singular
    value decomposition. Biological Cybernetics 59.

    Rippel, Gelbart & Adams (2014), Learning ordered representations with nested
    dropout. ICML.

    Cremer, Li & Duvenaud (2018), Inference suboptimality in variational autoencoders.
    ICML.

    Baldi & Hornik (1989), Neural networks and principal component analysis: learning
    from examples without local minima. Neural Networks 2.

    Examples
    --------
    A parabola has one degree of freedom. PCA cannot follow the bend:

    >>> import numpy as np
    >>> from skae import AutoencoderTransformer
    >>> t = np.linspace(-1, 1, 200)
    >>> X = np.column_stack([t, t**2])
    >>> pca = AutoencoderTransformer(1, max_iter=0).fit(X)
    >>> pca.explained_variance_ratio_.sum().round(2)
    np.float64(0.79)
    >>> autoencoder = AutoencoderTransformer(1, random_state=0).fit(X)
    >>> bool(autoencoder.explained_variance_ratio_.sum() > 0.97)
    True
    >>> autoencoder.inverse_transform(autoencoder.transform(X)).shape
    (200, 2)
    """

    _objective_class = Reconstruction

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "n_components": [
            Interval(Integral, 0, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"mle"}),
            None,
        ],
        "ordered": ["boolean"],
        "linear_encoder": ["boolean"],
        "code_noise": [Interval(Real, 0, None, closed="left")],
        "transform_max_iter": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        **{
            name: PCA._parameter_constraints[name]
            for name in (*SOLVER_PARAMETERS, "copy")
        },
    }

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        ordered: bool = False,
        linear_encoder: bool = False,
        alpha: float | str = "auto",
        code_noise: float = 0.0,
        transform_max_iter: int | str = "auto",
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
        svd_solver: str = "auto",
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        copy: bool = True,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.ordered = ordered
        self.linear_encoder = linear_encoder
        self.alpha = alpha
        self.code_noise = code_noise
        self.transform_max_iter = transform_max_iter
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
        self.svd_solver = svd_solver
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.copy = copy
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params
