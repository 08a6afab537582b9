"""The denoising autoencoder: the best linear denoiser, and a network on top of it.

Let x' be a corrupted row, c = U' x~ its clean codes with variances L, and suppose that
the corruption keeps a cell with probability p and works on every cell by itself. Then
``Cov(x') = p^2 Cov(x~) + diag(w)`` and ``Cov(c, x') = p L U'``, so that the best linear
estimate of the codes is

    E x',    E = p L U' (p^2 Cov(x~) + diag(w))^-1,

with the covariance of probabilistic PCA, ``Cov(x~) = U (L - s2) U' + s2 I``. For normal
noise of variance v, E = L / (L + v) U': every principal direction is shrunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import Ridge
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.func import vmap

from ._autoencoder import AutoencoderModule
from ._base import BaseAutoencoder
from ._corruptions import (
    CORRUPTIONS,
    LINEAR_EFFECTS,
    CorruptingModule,
    check_corruption_level,
    corrupted_copies,
    effect_on_columns,
)
from ._dataset import STATISTICS_ROWS, sample_rows
from ._dense import DenseStep
from ._losses import Loss, ReconstructionLoss
from ._module import BaseModule
from ._objective import MOST_DECAY, Objective
from ._plan import TrainingPlan
from ._start import RANK_TOLERANCE, Start
from ._trained import TrainedNetwork

# Directions that the linear denoiser shrinks by more are as good as lost.
SMALLEST_STRETCH = 1e-6
# Corrupted copies of each row from which a linear denoiser is fitted.
FITTED_COPIES = 4


@dataclass(frozen=True)
class LinearDenoiser(Start):
    """The best linear estimate of PCA's codes from corrupted rows, decoded by PCA."""

    denoiser: NDArray = field(kw_only=True)  # (k, d)

    name = "linear denoiser"

    turned = ("components", "denoiser")

    @property
    def encoding(self) -> NDArray:
        """Map from centred corrupted rows to clean codes, shape (k, d)."""
        return self.denoiser

    @property
    def log_volume(self) -> float:
        """By how many nats the encoder changes volumes: codes that shrink say less."""
        stretch = np.linalg.svd(self.encoding, compute_uv=False)
        return float(np.log(np.maximum(stretch, SMALLEST_STRETCH)).sum())

    def model(self, module: BaseModule) -> TrainedNetwork:
        """Return what the module at this start is."""
        return TrainedNetwork(module, self)


class DenoisingModule(AutoencoderModule, CorruptingModule):
    """An autoencoder that is trained on corrupted rows.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, n_components)``.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.
    corruption : str or callable
        The name of a corruption of standardised rows, or a function of rows in the
        units of the table.
    level : float
    sample_shape : tuple of int
        Shape in which a function gets each sample.
    code_noise : float

    Notes
    -----
    ``encode`` and ``decode`` see rows as they are; only ``forward`` corrupts them.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        corruption: str | Callable[..., Tensor],
        level: float,
        sample_shape: tuple[int, ...],
        code_noise: float = 0.0,
    ) -> None:
        super().__init__(encoder, decoder, code_noise)
        self.set_corruption(corruption, level, sample_shape)

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what is made of corrupted rows, and their codes."""
        z, _ = self.noisy(self.encode(self.corrupt(x, known), known))
        return self.decode(z), z

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is made of corrupted rows, by dense networks."""
        n_stacked = step.encoder.n_stacked
        if n_stacked is None:
            return self._dense_codes_and_rows(step, self.corrupt(x))
        corrupt = self.corrupt
        if x.ndim == 2:
            x = x.expand(n_stacked, *x.shape)
        if not isinstance(self.corruption, str):  # which takes rows, not stacks of them
            corrupt = vmap(self.corrupt, randomness="different")
        return self._dense_codes_and_rows(step, corrupt(x))


class DenoisingLoss(ReconstructionLoss):
    """The squared error of rows that were corrupted: not that of rows as they are."""

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return nothing: it is measured on rows as they are."""
        return None


class Denoising(Objective):
    """Rows are to come back clean."""

    def module(self, encoder: nn.Module, decoder: nn.Module) -> DenoisingModule:
        """Return an autoencoder that corrupts its rows."""
        params = self.params
        how = params.corruption, params.corruption_level, self.sample_shape
        return DenoisingModule(encoder, decoder, *how, float(params.code_noise))

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the squared error after denoising."""
        return DenoisingLoss()

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return the best linear denoiser."""
        corruption, level = self.params.corruption, self.params.corruption_level
        check_corruption_level(corruption, level)
        if self.params.init == "random":
            return self.random_start(pca)
        if not pca.explained_variance.max() > 0:
            return pca  # no row differs from another
        if corruption in LINEAR_EFFECTS:
            variance, noise = pca.sound_variances
            kept = np.maximum(variance - noise, 0)
            columns = kept @ pca.components**2 + noise  # variance of each, (d,)
            effect = effect_on_columns(corruption, level, columns, pca.scale)
            return LinearDenoiser.of(pca, denoiser=linear_denoiser(pca, *effect))
        return LinearDenoiser.of(pca, denoiser=self._fitted(pca, X, weight, seed))

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``: corruption holds it as well."""
        return min(5 * n_features / n_rows, MOST_DECAY)

    def _fitted(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> NDArray:
        """Regress PCA's codes on corrupted copies of the rows; return (k, d)."""
        rng = np.random.default_rng(seed)
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        params = self.params
        how = params.corruption, params.corruption_level, self.sample_shape
        corrupted = corrupted_copies(*how, pca, rows, seed, FITTED_COPIES)
        x = (rows - pca.mean) / pca.scale
        codes = np.tile(x @ pca.components.T, (FITTED_COPIES, 1))
        weights = None if weight is None else np.tile(weight, FITTED_COPIES)
        ridge = Ridge(alpha=FITTED_COPIES, fit_intercept=False)
        return np.atleast_2d(ridge.fit(corrupted, codes, weights).coef_)


def linear_denoiser(start: Start, keep: float, added: NDArray) -> NDArray:
    """Return the best linear estimate of PCA's codes from corrupted rows, (k, d).

    Parameters
    ----------
    start : Start
    keep : float
        Share of a cell's deviation that the corruption leaves, p.
    added : ndarray of shape (d,)
        What it adds to the variance of each column beyond that, w.
    """
    variance, noise = start.sound_variances
    axes, kept = start.components, np.maximum(variance - noise, 0)
    diagonal = np.maximum(keep**2 * noise + added, RANK_TOLERANCE * noise)  # (d,)
    weighted = axes / diagonal  # U' A^-1
    inner = np.eye(len(axes)) + keep**2 * (weighted @ axes.T) * kept
    return keep * variance[:, None] * np.linalg.solve(inner, weighted)


class DenoisingAutoencoder(BaseAutoencoder):
    """Autoencoder that learns to undo a corruption of the rows.

    Rows are corrupted anew for every batch, and the network is trained to return the
    clean ones. It starts at the best linear denoiser, in closed form, and held-out
    rows, corrupted too, decide whether the trained network replaces it.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``.
    corruption : str or callable, default="swap"
        "swap", "gaussian", "masking" or "salt_and_pepper", or a function of your own.
        What is done to the rows, each cell by itself. "swap" puts another row's value
        of the same column in the place of a cell (Bahri et al. 2022), "masking" the
        mean of the column, "salt_and_pepper" the column's smallest or largest value
        in the batch; "gaussian" adds noise. A function ``corruption(X, generator)``
        gets a float32 tensor of samples in the shape and the units of `X`, and a
        :class:`torch.Generator` to draw from, and returns a tensor of the same shape.
        Where a series has padding, the function gets the mean of the step.
    corruption_level : float, default=0.15
        Share of the cells that is replaced, in [0, 1]; for "gaussian" the standard
        deviation of the noise, as a multiple of the root-mean-square deviation of the
        columns. Not used with a callable.
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
        "pca" starts at the best linear denoiser, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, without a
        linear path and without a denoiser to fall back on.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 5 * d / n)`` for n distinct rows and d columns (those of a step, with
        :class:`~skae.architectures.Recurrent`).
    code_noise : float, default=0.0
        Standard deviation of the normal noise that is added to the codes while the
        network trains, in deviations of each code over the batch.
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
        nothing is trained and the estimator is the linear denoiser.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        the linear denoiser and the network. "auto" holds out 10 % of 1000 rows or more
        (at most 10,000); with fewer rows each is held out once, in 5 folds, and a
        network that wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, the linear denoiser is kept.
        Recurrent networks and Transformers, which train one after the other, have folds
        below 200 rows only.
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
        Print a line for each epoch, and whether the start or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out rows, the order of the rows, the
        corruption and PCA's randomised solver. None takes them from ``numpy.random``,
        whose seed is thus honoured; torch's random state is never touched.
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
        (10,000 of them at most).
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it
        in proportion to the error that fixing this code at its mean would add.
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
        1000 rows).
    best_iter_ : int
        Epoch whose weights are used; 0 if the linear denoiser was kept.
    loss_curve_ : list of float
        Training loss of each epoch: squared error of the denoised rows, summed over the
        features, for rows divided by the one scalar that brings their mean variance
        to 1.
    validation_scores_ : list of float
        R2 of the denoised held-out rows for each epoch, from epoch 0 (the linear
        denoiser) on.
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
    AutoencoderTransformer : Trained on the rows as they are.

    Notes
    -----
    The linear denoiser is exact for rows of the normal distribution of probabilistic
    PCA. For Gaussian noise of variance v it shrinks the principal direction of variance
    L by ``L / (L + v)``. For "salt_and_pepper" and callables it is fitted by ridge
    regression of the codes on corrupted copies of at most 10,000 rows.

    With Gaussian noise, ``denoise(X) - X`` divided by the variance of the noise is an
    estimate of the gradient of the log-density of the noisy rows (Alain & Bengio 2014).

    Clean rows come back a little shrunk, as noisy ones do: for the smallest error on
    clean rows take :class:`AutoencoderTransformer`. Corruption levels are relative to
    the mean variance of the columns: standardise columns of different units first.

    `transform`, `score_samples` and :meth:`denoise` take rows as they are and corrupt
    nothing, so that :meth:`score` cannot choose a corruption or its level. With many
    components, such as the default, denoising is all that is learnt; fewer make a
    bottleneck as well.

    References
    ----------
    Vincent et al. (2008), Extracting and composing robust features with denoising
    autoencoders.

    Alain & Bengio (2014), What regularized auto-encoders learn from the data-generating
    distribution.

    Bahri et al. (2022), SCARF: self-supervised contrastive learning using random
    feature corruption.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import DenoisingAutoencoder
    >>> X = load_digits().data
    >>> noisy = X + np.random.RandomState(0).normal(scale=4, size=X.shape)
    >>> denoiser = DenoisingAutoencoder(
    ...     corruption="gaussian", corruption_level=1.0, max_iter=10, random_state=0
    ... ).fit(X[:1300])
    >>> def error(rows):
    ...     return ((rows - X[1300:]) ** 2).mean()
    >>> bool(error(denoiser.denoise(noisy[1300:])) < 0.4 * error(noisy[1300:]))
    True
    """

    _objective_class = Denoising

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "corruption": [StrOptions(set(CORRUPTIONS)), callable],
        "corruption_level": [Interval(Real, 0, None, closed="left")],
        "code_noise": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        corruption: str | Callable[..., Tensor] = "swap",
        corruption_level: float = 0.15,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float | str = "auto",
        code_noise: float = 0.0,
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
        self.corruption = corruption
        self.corruption_level = corruption_level
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

    # What a fitted estimator does

    def denoise(self, X: ArrayLike) -> NDArray:
        """Return what is left of the rows when noise is taken away.

        The same as ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of `X`, and in the shape that :meth:`fit` saw. Padding of a
            series stays NaN.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        X = self._fitted_rows(X)

        def denoised(X: NDArray) -> NDArray:
            return np.where(np.isnan(X), X, self._fit.rebuilt(X))

        return self._as_samples(self._map(X, denoised, (len(self.mean_),)))
