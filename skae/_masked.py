"""The masked autoencoder: the normal distribution of incomplete rows, and a network.

How the distribution of a table is found is in ``_masked_start.py``, and how a network
corrects what it expects in ``_masked_module.py``.
"""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._base import BaseAutoencoder
from ._blocks import missing_together, patches
from ._columns import like_table
from ._dataset import RowDataset, sample_rows
from ._em import FEW_ROWS_SHARE, MIN_ROWS, MOST_COLUMNS, normal_of_rows
from ._masked_module import N_INPUTS, TINY, MaskedLoss, MaskedModule
from ._masked_start import FollowedRows, MaskedStart, masked_start, of_normal, of_pca
from ._missing import known_cells, mean_filled, truncated
from ._module import BaseModule
from ._objective import MOST_DECAY, Objective
from ._parameters import caller_level, check_flag, new_random_state
from ._rows import check_rows, marked_by
from ._solvers import follow, incremental_start, new_incremental_pca
from ._start import Start
from ._trained import TrainedNetwork, inference

if TYPE_CHECKING:
    from ._losses import Loss
    from ._plan import TrainingPlan


class MaskedNetwork(TrainedNetwork):
    """A network that completes rows, beside the likelihood of its start."""

    narrower: NDArray  # (d,), deviations of its errors by those of the start

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Measure the codes, and how much of each column is left uncertain."""
        super().measure(X, weight, rng, earlier, sort=sort)
        of_start, of_network = self._hidden_errors(sample_rows(X, None, 1000, rng)[0])
        ratio = of_network.sum() / max(of_start.sum(), TINY)
        by_column = of_network / np.where(of_start > 0, of_start, 1)
        by_column = np.where(of_start > 0, by_column, ratio)
        self.narrower = np.sqrt(np.minimum(by_column, 1))

    def _hidden_errors(self, X: NDArray) -> tuple[NDArray, NDArray]:
        """Return squared errors in hidden cells, of the start and of the network."""
        module: Any = self.module
        device = next(module.parameters()).device
        where = self.start.mean, self.start.scale, device, self.start.filled
        x, known = RowDataset(X, *where).take(torch.arange(len(X), device=device))
        known = torch.ones_like(x, dtype=torch.bool) if known is None else known
        with inference(module):
            module.generator = torch.Generator(device).manual_seed(0)
            hidden = module.hidden(x, known)[0]
            module.generator = None
            shown = known & ~hidden
            filled = module.completed(x, shown)
            rebuilt = module.decode(module.codes_of(filled, shown, known))
            errors = [((y - x).square() * hidden).sum(0) for y in (filled, rebuilt)]
        of_start, of_network = (e.cpu().double().numpy() for e in errors)
        return of_start, of_network

    def score_samples(self, X: NDArray) -> NDArray:
        """Return the log-likelihood of the known cells in nats, shape (n,)."""
        if self.start.is_fallback:
            return self.start.score_samples(X)
        return super().score_samples(X)

    def unseen_scores(self, X: NDArray, weight: NDArray | None) -> NDArray:
        """Return what rows of fit would score if they had not been trained on, (n,)."""
        if self.start.is_fallback:
            return self.start.score_samples(X)
        return super().unseen_scores(X, weight)


class Masking(Objective):
    """Cells that are hidden are to come back."""

    handles_missing = True
    n_inputs = N_INPUTS
    draws_per_row = 4
    given_blocks: NDArray | None = None

    def module(self, encoder: nn.Module, decoder: nn.Module) -> MaskedModule:
        """Return an autoencoder of rows with hidden cells."""
        return MaskedModule(
            encoder,
            decoder,
            math.prod(self.sample_shape),
            check_mask_fraction(self.params.mask_fraction),
            self.blocks,
        )

    @property
    def blocks(self) -> NDArray:
        """The block of each cell, by number, shape (n_features,)."""
        if self.given_blocks is not None:
            return self.given_blocks
        architecture = self.params.architecture
        is_series = getattr(architecture, "repeats_over_steps", False)
        return patches(self.sample_shape, self.params.patch_size, is_series=is_series)

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the squared error of hidden cells."""
        return MaskedLoss()

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return the normal distribution of the rows."""
        if self.params.init == "random":
            return self.random_start(pca)
        blocks = [self.blocks]
        if len(self.sample_shape) == 1:  # series are padded at the end
            joined = missing_together(X, blocks[0])
            # What is missing together need not be, in new rows.
            blocks = [joined, *blocks] if joined.max() < blocks[0].max() else blocks
        return masked_start(pca, X, weight, self.params.n_components, seed, blocks)

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return the normal distribution of the rows of a fold.

        By how much correlations are shrunk, or how many axes are left of a wide table,
        is what the whole table has chosen: finding that out takes most of the time.
        """
        if not isinstance(whole, MaskedStart):
            return self.random_start(pca)
        k = self.params.n_components
        if X.shape[1] > MOST_COLUMNS:
            k = whole.n_components
        return masked_start(pca, X, weight, k, seed, [whole.block], whole.share)

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return the normal distribution of all batches, each completed once."""
        X, k = X.astype(np.float64), self.params.n_components
        if self.params.init == "random" or X.shape[1] > MOST_COLUMNS:
            known = known_cells(X)
            X = mean_filled(X, weight) if before is None else before.filled(X, known)
            if solver is None:
                solver = new_incremental_pca(k, X.shape)
            solver = follow(solver, X)
            pca = incremental_start(solver, before)
            if self.params.init == "random":
                return solver, self.random_start(pca)
            return solver, of_pca(pca, np.zeros(X.shape[1]))
        if k is not None:  # or an error
            k = new_incremental_pca(
                k, X.shape if before is None else (k, k)
            ).n_components
        if solver is None:
            share = FEW_ROWS_SHARE if len(X) < MIN_ROWS else None
            normal = normal_of_rows(X, None, k, np.random.default_rng(seed), share)
            moments = normal.completed(X, None)[1]
            solver = FollowedRows(moments, normal.share, np.isnan(X).sum(0))
        else:
            solver = solver.with_new_columns(X)
            solver = solver.followed_by(X, solver.normal(k))
        missing = solver.n_missing / solver.moments.n
        start = of_normal(solver.normal(k), k, solver.moments.n, missing)
        return solver, start if before is None else start.with_signs_of(before)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the network that completes rows."""
        return MaskedNetwork(module, start, held_out_error)

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``: hiding cells holds it too."""
        return min(5 * n_features / n_rows, MOST_DECAY)


class MaskedAutoencoder(BaseAutoencoder):
    """An autoencoder of rows with missing cells, which it completes.

    NaN in `X` is a missing cell, in :meth:`fit` and everywhere else. Fitting finds the
    normal distribution of the rows by EM, and trains a network to complete rows from
    which known cells are hidden. It starts at the conditional means of that
    distribution, and is kept only where hidden cells of rows that it has not seen say
    that it is better.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes: a bottleneck, of which 4 to 32 complete patterns well. A float
        in (0, 1) takes as many as PCA needs for this share of the variance. None makes
        no bottleneck: there are as many codes as columns, up to 128 of these, and the
        correlations of the start are shrunk by the factor by which known cells that
        are hidden are completed best; beyond, that choice is one of up to 64 codes.
    mask_fraction : (float, float), default=(0.05, 0.85)
        Smallest and largest share of a row's known cells that is hidden from the
        network while it trains. A share is drawn for each row of a batch; columns that
        miss values themselves are hidden more often than others.
    patch_size : int, default=1
        Cells are hidden in patches: so many pixels of an image in both directions, or
        steps of a series, with all of their channels; columns of a table beside one
        another.
    missing_values : float, default=nan
        What stands for a missing cell.
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
        "pca" starts at the normal distribution, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, without a
        linear path and without a distribution to fall back on.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 5 * d / n)`` for n distinct rows and d columns (those of a step, with
        :class:`~skae.architectures.Recurrent`).
    contamination : float, default=0.0
        Share of the rows, at most 0.5, that takes no part in PCA, training and the
        choice between them: those that are the most unusual for PCA of all rows (of a
        batch, those before it), by their codes or by what these leave over. `offset_`
        follows from it. 0.5 is a good choice where it is not known how many rows are
        anomalies, 0 where none is.
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2, and twice that for one or two codes of 1000 rows or more. With 0,
        nothing is trained and the estimator is the normal distribution, with
        ``n_components=None`` by what `random_state` has hidden to choose its shrinkage.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        the normal distribution and the network. "auto" holds out 10 % of 1000 rows or
        more (at most 10,000); with fewer rows each is held out once, in 5 folds, and a
        network that wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, the
        normal distribution is kept.
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
        Seeds the initial weights, the held-out rows, the order of the rows, the hidden
        cells and PCA's randomised solver. None takes them from ``numpy.random``, whose
        seed is thus honoured; torch's random state is never touched.
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
        Mean of the rows, missing cells counting as what is expected there.
    components_ : ndarray of shape (n_components, n_features)
        Loadings of the columns on the codes, by least squares over the training rows
        (10,000 of them at most): the principal axes while the start is used.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it
        in proportion to the error that fixing this code at its mean would add.
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
        Epoch whose weights are used; 0 if the normal distribution was kept.
    loss_curve_ : list of float
        Training loss of each epoch: squared error of hidden cells, as if all of a row's
        were hidden, for rows divided by the one scalar that brings their mean variance
        to 1. Cells that are likelier to be missing, given the rest of their rows, count
        more.
    validation_scores_ : list of float
        R2 of hidden cells of the held-out rows for each epoch, from epoch 0 (the normal
        distribution) on.
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
    MaskedImputer : A transformer that returns completed tables, also of categories.
    AutoencoderTransformer : For complete rows.

    Notes
    -----
    With `n_components` and no missing cell the start is PCA. Codes are PCA's of the
    completed row, and stand for what is expected of the rows: what
    :meth:`inverse_transform` makes of each is smaller than PCA's by the factor
    ``1 - noise_variance_ / explained_variance_``. With ``n_components=None`` a network
    corrects missing cells, and known ones come back as they are.

    The likelihood, :meth:`score_samples`, is that of the normal distribution, whether
    or not a network is used: the exact one of the known cells of a row, so that scores
    of rows with different missing cells are consistent. It is 0 where no cell is known.

    What is completed is right on average where cells are missing at random, given the
    known ones (Rubin 1976). Cells that are missing because of their own value, such as
    high incomes, are not, and no method can tell from the table alone.

    Columns are as important as their variances: :class:`MaskedImputer` standardises
    them, or :class:`~sklearn.preprocessing.StandardScaler` in front, which keeps NaN.
    A column without any value in :meth:`fit` is expected to be 0.

    Neighbours are found among at most 16,384 of the training rows, which are kept.

    References
    ----------
    Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM
    algorithm.

    Tipping & Bishop (1999), Probabilistic principal component analysis.

    Chen et al. (2010), Shrinkage algorithms for MMSE covariance estimation.

    He et al. (2022), Masked autoencoders are scalable vision learners.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skae import MaskedAutoencoder
    >>> X = load_iris().data
    >>> incomplete = X.copy()
    >>> incomplete[::3, 2] = np.nan
    >>> model = MaskedAutoencoder(max_iter=0, random_state=0).fit(incomplete)
    >>> completed = model.impute(incomplete)
    >>> bool(np.abs(completed - X)[::3, 2].mean() < 0.3)
    True
    >>> model.transform(incomplete).shape
    (150, 4)
    """

    _objective_class = Masking

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "mask_fraction": ["array-like"],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "missing_values": [Real],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        mask_fraction: tuple[float, float] = (0.05, 0.85),
        patch_size: int = 1,
        missing_values: float = np.nan,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float | str = "auto",
        contamination: float = 0.0,
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
        self.mask_fraction = mask_fraction
        self.patch_size = patch_size
        self.missing_values = missing_values
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
        self.contamination = contamination
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

    _blocks: NDArray | None = None  # what is hidden together, if not patches

    def _objective(self) -> Objective:
        """Return what is trained, with the parameters as they are now."""
        objective = super()._objective()
        assert isinstance(objective, Masking)
        objective.given_blocks = self._blocks
        return objective

    def _checked(self, X: Any, params: Any, **how: Any) -> Any:
        """Return rows as numbers, with NaN where cells are missing."""
        marker = params.missing_values
        if np.isnan(marker):
            return super()._checked(X, params, **how)
        with marked_by(marker):
            rows = check_rows(self, X, **how)
        if sp.issparse(rows):
            raise ValueError(
                f"missing_values={marker!r} in a sparse X: mark them in a dense one."
            )
        return np.where(rows == marker, np.nan, rows)

    # What a fitted estimator does

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return the log-likelihood of the known cells of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw. Cells may be
            missing.

        Returns
        -------
        ndarray of shape (n_samples,)
            That of the start, exact for any set of known cells, whether a network
            is used or not: of networks it says nothing. A row of which nothing is known
            has 0. With ``init="random"`` there is no such start, and the score is that
            of a network's codes and residuals.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, or infinity.
        """
        return super().score_samples(X)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, in nats per row.

        It is that of the start: to choose among networks, compare what
        :meth:`impute` makes of hidden cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw. Cells may be
            missing.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        float
            Higher is better; a search over `n_components` can use it.
        """
        return super().score(X, y, sample_weight)

    def impute(
        self,
        X: Any,
        *,
        sample_posterior: bool = False,
        random_state: int | RandomState | None = None,
    ) -> Any:
        """Return the rows with their missing cells completed.

        Where nothing is missing, a value comes back to the last bit. Elsewhere it is
        that of ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.
        sample_posterior : bool, default=False
            Draw what is missing given the known cells, in place of what is expected:
            from the normal distribution, moved to what a network expects and made
            narrower by as much as its errors in each column are smaller.
        random_state : int, RandomState or None, default=None
            Of the draws.

        Returns
        -------
        ndarray or frame of the shape of `X`
            In its type: float32 for float32. A frame comes back as one of its kind, and
            those of its columns in which nothing is missing with the type that they
            had; the others are floats.

        Warns
        -----
        UserWarning
            If no cell of a row is known: it becomes the mean, or a draw around it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, or infinity.
        """
        check_is_fitted(self)
        is_drawn = check_flag("sample_posterior", sample_posterior)
        rng = new_random_state(random_state)
        rows = self._fitted_rows(X)
        if sp.issparse(rows):  # in which nothing is missing
            return X
        warn_of_empty_rows(rows, is_drawn)
        values = self._imputed(rows, rng if is_drawn else None)
        return like_table(X, self._as_samples(values), np.isnan(rows))

    def _imputed(
        self, rows: NDArray, rng: RandomState | None, limits: NDArray | None = None
    ) -> NDArray:
        """Return checked rows completed, by what is expected or by draws.

        Draws are between `limits`, of shape (2, n_features).
        """

        def completed(X: NDArray) -> NDArray:
            known = ~np.isnan(X)
            rebuilt = self._fit.rebuilt(X) if not known.all() else X
            return np.where(known, X, rebuilt)

        values = self._map(rows, completed, (rows.shape[1],))
        if rng is None:
            return values
        cells = self._fit.start.missing_cells
        generator = np.random.default_rng(rng.randint(2**31 - 1))
        known = ~np.isnan(rows)
        drawn = cells.draws(values.astype(np.float64), known, generator)
        share = getattr(self._fit.model, "narrower", 1.0)
        drawn = values + share * (drawn - values)
        if limits is not None:
            beyond = ~known & ((drawn < limits[0]) | (drawn > limits[1]))
            some, (i, j) = beyond.any(1), np.nonzero(beyond)
            deviation = np.empty(rows.shape)
            deviation[some] = share * cells.deviations(known[some])
            of_cells = values[i, j], deviation[i, j], limits[:, j]
            drawn[i, j] = truncated(*of_cells, generator)
        return drawn.astype(values.dtype)


def check_mask_fraction(mask_fraction: Any) -> tuple[float, float]:
    """Return two shares.

    Raises
    ------
    ValueError
        Unless the second is not smaller than the first.
    """
    try:
        low, high = map(float, mask_fraction)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not 0 <= low <= high < 1 or high <= 0:
        raise ValueError(
            f"mask_fraction={mask_fraction!r}: use two shares of the cells, such as "
            "(0.05, 0.85), in [0, 1), of which the second is not smaller."
        )
    return low, high


def warn_of_empty_rows(X: NDArray, is_drawn: bool) -> None:
    """Warn of rows of which nothing is known."""
    empty = np.isnan(X).all(1)
    if empty.any():
        become = "draws around the mean" if is_drawn else "the mean"
        warnings.warn(
            f"No cell is known in {empty.sum()} of the rows of X (the first is row "
            f"{np.argmax(empty)}): they become {become}.",
            stacklevel=caller_level(),
        )
