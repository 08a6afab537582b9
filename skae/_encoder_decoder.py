"""The encoder-decoder: one view predicted from few codes of the other.

It starts at reduced-rank regression (``_reduced_rank.py``), and an encoder is trained
beside its first map, a decoder beside the second.
"""

from __future__ import annotations

import copy
import math
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._architecture_checks import check_trainable
from ._autoencoder import AutoencoderModule
from ._dense import DenseStep
from ._linear_views import (
    Coordinates,
    column_coordinates,
    let_judge,
    reached,
    root_of,
    standardised,
)
from ._losses import Loss, ReconstructionLoss
from ._module import BaseModule, LinearResidual
from ._objective import deviations_of
from ._parameters import is_auto
from ._plan import TrainingPlan
from ._reduced_rank import (
    PENALTIES,
    PenaltyTrial,
    RankedRegression,
    RidgeSolution,
    best_penalty,
    regression_start,
    scale_of_x,
    start_of,
)
from ._sklearn import RegressorMixin
from ._solvers import Moments
from ._start import Start
from ._trained import TrainedNetwork, inference
from ._views import TrainedViews, TwoViewEstimator, TwoViews
from ._weights import check_weights


class PredictionLoss(ReconstructionLoss):
    """The squared error of predictions, summed over the known columns of each row.

    Parameters
    ----------
    n_x : int
        Columns of the first view, which are not predicted.
    """

    def __init__(self, n_x: int) -> None:
        super().__init__()
        self.n_x = n_x

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the term ``reconstruction``, shape (..., n)."""
        known = None if known is None else known[..., self.n_x :]
        return super().forward(output, x[..., self.n_x :], known)

    def floor(self, start: Start) -> float:
        """Return a share of the variance too small for float32 to see."""
        return 1e-12 * (len(start.mean) - self.n_x)

    def score(self, loss: float, start: Start) -> float:
        """Return the R2, over all columns."""
        return 1 - loss / (len(start.mean) - self.n_x)

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return nothing: no likelihood is made of it."""
        return None


class PredictionModule(AutoencoderModule):
    """An encoder of one view, and a decoder to the other.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_x)`` to ``(n, n_components)``.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_y)``.
    n_x : int
        Columns of the first view.
    """

    dense_loss = PredictionLoss

    def __init__(self, encoder: nn.Module, decoder: nn.Module, n_x: int) -> None:
        super().__init__(encoder, decoder)
        self.n_x = n_x

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the predictions and the codes of a batch."""
        n = self.n_x
        z = self.encode(x[:, :n], None if known is None else known[:, :n])
        return self.decode(z), z

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind both networks to the range of what pairs of views give them."""
        n = self.n_x
        super().bind(x[:, :n], None if known is None else known[:, :n], earlier)

    def dense_widths(self, n_features: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the width of each view."""
        return {"n_in": self.n_x}, {"n_out": n_features - self.n_x}

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions and the codes of a batch, by dense networks."""
        return super().dense_forward(step, x[..., : self.n_x])

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of the squared error, and return it."""
        return super().dense_backward(step, outputs, x[:, self.n_x :], weight, loss)


class TrainedPrediction(TrainedViews):
    """A trained encoder and decoder."""

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Measure the loadings, and which columns are the same in all rows."""
        super().measure(X, weight, rng, earlier, sort=sort)
        y = X[:, self.views.y]
        self.is_constant = (y == y[0]).all(0)  # (d_y,)
        if isinstance(earlier, TrainedPrediction):
            self.is_constant &= earlier.is_constant

    def x_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the first view, shape (n, k)."""
        x, known, module = self.standardised_view(X, self.views.x)
        with inference(module):
            z = module.encode(x, known).cpu().numpy()
        return z * self.code_scale.astype(X.dtype)

    def codes_of_rows(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return the codes on which the columns of both views load."""
        z = self.x_codes(rows[:, self.views.x])
        return z, z

    def predictions(self, X: NDArray) -> NDArray:
        """Return what is predicted for dense rows of the first view, shape (n, d_y)."""
        x, known, module = self.standardised_view(X, self.views.x)
        with inference(module):
            rows = module.decode(module.encode(x, known)).cpu().numpy()
        rows[:, self.is_constant] = 0
        y = self.views.y
        mean, scale = self.views.mean[y], np.asarray(self.views.scale)[y]
        return rows * scale.astype(X.dtype) + mean.astype(X.dtype)


class Predicting(TwoViews):
    """The second view is to be predicted from codes of the first."""

    def networks(
        self, start: Start, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder, beside their linear paths."""
        k, n_y = start.n_codes, len(start.mean) - self.n_x
        params = self.params
        x = self.network(params.architecture, self.sample_shape, plan, seed, k)[0]
        y = self.network(params.y_architecture, self.y_shape, plan, seed + 1, k)[1]
        check_trainable(params.architecture, x, y)
        if len(self.y_shape) > 1:
            y = nn.Sequential(y, nn.Flatten())
        return (
            LinearResidual(x, self.n_x, k, gain=False),
            LinearResidual(y, k, n_y, gain=False),
        )

    def measure_columns(self, X: Any, weight: NDArray | None) -> None:
        """Measure the deviations of the columns that are predicted."""
        self.deviation = deviations_of(X[:, self.n_x :], weight)

    def module(self, encoder: nn.Module, decoder: nn.Module) -> PredictionModule:
        """Return the encoder and the decoder as one module."""
        return PredictionModule(encoder, decoder, self.n_x)

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the squared error of predictions."""
        return PredictionLoss(self.n_x)

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return reduced-rank regression."""
        params = self.params
        how = self.n_x, self.n_codes_asked, params.ridge_alpha, seed
        return regression_start(pca, X, weight, *how, groups=self.groups)

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return that of a fold, with the penalty of the whole table for each row."""
        assert isinstance(whole, RankedRegression)
        penalty = whole.penalty * pca.n_samples / whole.n_samples
        how = self.n_x, self.n_codes_asked, penalty, seed
        return regression_start(pca, X, weight, *how)

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return what all batches have shown, and the regression by it."""
        params, n_x = self.params, self.n_x
        d = X.shape[1]
        if solver is None:
            units = self.pca(X, None, weight, seed)
            of_x, _ = column_coordinates(units, X, weight, n_x)
            views = of_x, Coordinates.of_columns(np.ones(d - n_x))
            x = standardised(units, views, X)
            k = min(self.n_codes_asked or d, n_x, d - n_x)
            trials = [PenaltyTrial(penalty, k) for penalty in PENALTIES]
            solved = partial(RidgeSolution, coordinates=of_x)
            let_judge(trials, solved, x, weight, seed)
            moments = Moments.of(x, weight)
        else:
            units, views, trials, earlier = solver
            x, trials = standardised(units, views, X), copy.deepcopy(trials)
            without = RidgeSolution(earlier, views[0])
            for trial in trials:
                trial.judge(without, x, weight)
            moments = earlier + Moments.of(x, weight)
        if is_auto(params.ridge_alpha):
            penalty = best_penalty(trials)
        else:
            squares = moments.n * scale_of_x(units) ** 2
            penalty = float(params.ridge_alpha) / float(squares)
        solution, C = RidgeSolution(moments, views[0]), moments.covariance
        ranks = len(solution.root), len(root_of(C[n_x:, n_x:])[0])
        k = min(trials[0].k, *ranks) if before is None else before.n_codes
        now = reached(units, views, moments)
        start = start_of(now, solution, k, penalty, ranks, views).padded(k)
        start = start if before is None else start.with_signs_of(before)
        return (units, views, trials, moments), start

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the trained networks."""
        return TrainedPrediction(module, start, held_out_error)


class EncoderDecoder(RegressorMixin, TwoViewEstimator):
    """Predict one view from few codes of the other.

    It starts at reduced-rank ridge regression, the best linear prediction that goes
    through so few numbers. An encoder and a decoder beside both linear maps are then
    trained, and held-out rows decide whether they replace it.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of codes, at most the smaller rank of both views. None takes that.
    ridge_alpha : float or "auto", default="auto"
        Penalty of the start: the `alpha` of :class:`~sklearn.linear_model.Ridge`.
        "auto" takes the one that held-out rows find best.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the hidden layers of encoders, or one width; a decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes. Only used
        for a view without an architecture.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used for a view without an architecture.
    architecture : Architecture or None, default=None
        Which network encodes the first view: the encoder of
        :class:`skae.architectures.MLP`, :class:`~skae.architectures.Convolutional` for
        images and signals, :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Transformer` for both,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. None is an MLP.
    y_architecture : Architecture or None, default=None
        Whose decoder predicts the second view.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 0.3 * k * sqrt(d / n))`` for n distinct rows, d columns of both views
        and k codes.
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2, and twice that for one or two codes of 1000 rows or more. With 0,
        nothing is trained and the estimator is reduced-rank regression.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        the regression and the networks. "auto" holds out 10 % of 1000 rows or more (at
        most 10,000); with fewer rows each is held out once, in 5 folds, and networks
        that win are trained again on all rows. They have to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, the regression is kept.
        Recurrent networks and Transformers, which train one after the other, have folds
        below 200 rows only.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    warm_start : bool, default=False
        Let :meth:`fit` go on from the networks of the last fit. The linear start and
        the means stay those of the first one, and a split decides in place of folds.
        The rate, the decay, the batches and the epochs may change; other networks or
        another objective are an error.
    verbose : bool, default=False
        Print a line for each epoch, and whether the start or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out rows and the order of the rows. None
        takes them from ``numpy.random``, whose seed is thus honoured; torch's random
        state is never touched.
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
        Number of columns of the first view: the product of `sample_shape_`.
    sample_shape_ : tuple of int
        Shape of a sample of the first view: ``(n_features,)`` for a table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    n_samples_ : int
        Number of rows seen in :meth:`fit`.
    ridge_alpha_ : float
        Penalty of the start.
    x_loadings_ : ndarray of shape (n_features, n_components)
        Loadings of the columns of the first view on the codes, by least squares over
        the training rows (10,000 of them at most).
    y_loadings_ : ndarray of shape (n_targets, n_components)
        The same of the second view.
    n_iter_ : int
        Epochs run; up to `best_iter_`, where folds have chosen that.
    best_iter_ : int
        Epoch whose weights are used; 0 if the regression was kept.
    loss_curve_ : list of float
        Training loss of each epoch: squared error, summed over the columns of the
        second view, for rows divided by the one scalar that brings their mean variance
        to 1.
    validation_scores_ : list of float
        R2 of the held-out rows, over all columns, for each epoch, from epoch 0 (the
        regression) on.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module, for standardised rows.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.

    See Also
    --------
    sklearn.cross_decomposition.PLSRegression : Another linear one.
    AutoencoderTransformer : The case of ``y = X``.

    Notes
    -----
    Codes are in the units of `y`: those of the start are ridge regression's fitted
    values on their first principal axes. What matters most about `y` are the columns
    of the largest variance, for the sake of which others may be predicted worse than
    at the start: standardise it where that is not meant, as :meth:`score`, which
    counts columns alike, does not.

    References
    ----------
    Izenman (1975), Reduced-rank regression for the multivariate linear model.

    Examples
    --------
    >>> from sklearn.datasets import load_linnerud
    >>> from skae import EncoderDecoder
    >>> X, y = load_linnerud(return_X_y=True)
    >>> model = EncoderDecoder(1, random_state=0).fit(X, y)
    >>> model.transform(X).shape, model.predict(X).shape
    ((20, 1), (20, 3))
    """

    _objective_class = Predicting
    has_labels = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TwoViewEstimator._parameter_constraints,
        "ridge_alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        ridge_alpha: float | str = "auto",
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        y_architecture: Any = None,
        alpha: float | str = "auto",
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
        self.ridge_alpha = ridge_alpha
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.y_architecture = y_architecture
        self.alpha = alpha
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

    def _publish(self, fit: Any) -> None:
        """Take over a fit: what it has found out of both views."""
        self.ridge_alpha_ = fit.start.penalty
        super()._publish(fit)

    # What a fitted estimator does

    def predict(self, X: Any) -> NDArray:
        """Predict the second view.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            In the shape and the units of the `y` that :meth:`fit` saw.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        assert self._view is not None
        rows = self._predicted(X)
        if self._view.is_column:
            return rows[:, 0]
        return rows.reshape(len(rows), *self._view.sample_shape_)

    def _predicted(self, X: Any) -> NDArray:
        assert self._view is not None
        shape = (math.prod(self._view.sample_shape_),)
        return self._map(self._first(X), self._model.predictions, shape)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the R2 of the predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            The mean over the columns of `y`, as :func:`~sklearn.metrics.r2_score` has
            it: at most 1, and 0 for the mean. Training, and the choice between the
            regression and the networks, goes by the squared error of all columns
            together, `validation_scores_`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If a view has another shape than in :meth:`fit`, NaN or infinity, or the
            views have different numbers of rows.
        """
        check_is_fitted(self)
        predicted = self._predicted(X)
        true = self._second(y, len(predicted))
        weight = check_weights(sample_weight, predicted)
        true, predicted = true.astype(np.float64), predicted.astype(np.float64)
        known = ~np.isnan(true)
        if not known.all():  # padding is not to be predicted
            true = np.where(known, true, predicted)
        return float(r2_score(true, predicted, sample_weight=weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
