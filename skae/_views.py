"""Two views of the same things, as rows beside one another.

All that is behind the face works on one table: the columns of `X`, then those of `y`.
Copies, weights, groups and held-out rows are thus those of pairs.
"""

from __future__ import annotations

import copy
import math
from numbers import Integral
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._callbacks import FitTask, with_callbacks
from ._dataset import STATISTICS_ROWS, as_dense, sample_rows
from ._estimator import NetworkEstimator
from ._fit import fit
from ._linear_views import ViewsStart
from ._missing import known_cells
from ._module import OfSamples
from ._objective import Objective
from ._onnx import OnnxMixin
from ._parameters import naming, unchanged_on_error
from ._partial_fit import partial_fit
from ._rows import Rows, check_rows
from ._samples import takes_padding
from ._sklearn import _fit_context
from ._split import joined_by_copies
from ._start import Start
from ._step import OneThread, usual_settings
from ._targets import SecondView, check_given
from ._trained import TrainedNetwork, loadings
from ._weights import check_groups, check_weights

if TYPE_CHECKING:
    from typing_extensions import Self


class TwoViews(Objective):
    """Something to learn of rows that hold two views beside one another.

    Parameters
    ----------
    params : namespace
    sample_shape, y_shape : tuple of int
        Shape of a sample of each view.
    has_labels : bool
        Whether the second view is made of labels.
    """

    scores_rows = False
    reconstructs = False

    def __init__(
        self,
        params: SimpleNamespace,
        sample_shape: tuple[int, ...],
        y_shape: tuple[int, ...],
        has_labels: bool = False,
    ) -> None:
        super().__init__(params, sample_shape)
        self.y_shape, self.has_labels = y_shape, has_labels
        self.n_x = math.prod(sample_shape)

    @property
    def n_codes_asked(self) -> int | None:
        """How many codes were asked for, if any number was."""
        k = self.params.n_components
        return None if k is None else int(k)

    @property
    def takes_padding(self) -> bool:
        """Whether series of one of the views may end in NaN."""
        y_architecture = self.params.y_architecture
        return super().takes_padding or takes_padding(y_architecture)

    def pca(
        self, X: Any, k: Any, weight: NDArray | None, seed: Any, **solver: Any
    ) -> Start:
        """Return how rows are standardised: each view by one scalar, and no axes."""
        del k, seed, solver
        X = X.astype(np.float64, copy=False)  # whose squares do not overflow
        mean = np.average(X, 0, weight)
        variance = np.average((X - mean) ** 2, 0, weight)
        return Start(
            n_samples=len(X) if weight is None else max(weight.sum(), len(X)),
            mean=mean,
            components=np.zeros((0, len(mean))),
            explained_variance=np.zeros(0),
            explained_variance_ratio=np.zeros(0),
            noise_variance=float(variance.mean()),
            scale=self.scales(variance),
        )

    def scales(self, variance: NDArray) -> Any:
        """Return the root-mean-square deviation of each column's view, shape (d,)."""
        n_x = self.n_x
        of_views = variance[:n_x].mean(), variance[n_x:].mean()
        deviations = [math.sqrt(v) if v > 0 else 1.0 for v in of_views]
        return np.repeat(deviations, [n_x, len(variance) - n_x])

    def network(
        self, architecture: Any, shape: tuple[int, ...], plan: Any, seed: int, k: int
    ) -> tuple[Any, Any]:
        """Return an encoder and a decoder of the rows of one view."""
        encoder, decoder = self.built(architecture, shape, plan, seed, k)
        if len(shape) > 1:
            encoder = OfSamples(encoder, shape)
        return encoder, decoder

    def check_reached(self, start: Start) -> None:
        """Raise if a view has fewer dimensions than codes were asked for."""
        k = self.params.n_components
        assert isinstance(start, ViewsStart)
        for name, rank in zip("Xy", start.ranks, strict=True):
            if not rank:
                raise ValueError(
                    f"Every row of {name} is the same: at least one column must vary."
                )
            if k is not None and k > rank:
                raise ValueError(
                    f"n_components={k} must be at most {rank}, the rank of {name}; "
                    "None takes the smaller rank of both."
                )


class TrainedViews(TrainedNetwork):
    """Trained networks of two views, and the loadings of the columns."""

    loadings: NDArray  # (k, d)

    @property
    def views(self) -> ViewsStart:
        """The start, which knows where the views are."""
        assert isinstance(self.start, ViewsStart)
        return self.start

    def codes_of_rows(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return the codes on which the columns of each view load, (n, k) each."""
        raise NotImplementedError

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Measure the loadings on (some of) the training rows."""
        del sort
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        rows = rows.astype(np.float64)
        self.bind(*self._standardised(rows), earlier)
        views = (self.views.x, self.views.y)[: 1 if self.views.n_x == X.shape[1] else 2]
        self.loadings = np.hstack(
            [
                loadings(rows[:, view], codes, weight)
                for view, codes in zip(views, self.codes_of_rows(rows), strict=False)
            ]
        )

    def standardised_view(
        self, X: NDArray, view: slice
    ) -> tuple[Tensor, Tensor | None, Any]:
        """Return rows of a view as the module takes them, and it in their precision."""
        start, known = self.views, known_cells(X)
        mean, scale = start.mean[view], start.scale
        scale = scale[view] if np.ndim(scale) else scale  # type: ignore[index]
        if known is not None:
            X = np.where(known, X, mean)
        x = torch.from_numpy(((X - mean) / scale).astype(X.dtype))
        module = self._module_for(x.dtype)
        device = next(module.parameters()).device
        mask = None if known is None else torch.from_numpy(known).to(device)
        return x.to(device), mask, module


class TwoViewEstimator(OnnxMixin, NetworkEstimator):
    """The face of an estimator of two views."""

    # Passed on only where they are asked for: CCA and PLS have none.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "sample_weight": False,
        "groups": False,
        "X_val": False,
        "y_val": False,
    }

    has_labels: ClassVar[bool] = True  # whether texts and integers of `y` may be
    _view: SecondView | None  # of which some have none

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NetworkEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "y_architecture": [HasMethods("build"), None],
    }

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Start at the closed form, train, and keep what held-out rows say is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, images of shape (n_samples, height, width) or (n_samples, channels,
            height, width), or series of shape (n_samples, n_steps, n_channels).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The other view of the same things, row by row, also images or series; or
            labels.
        sample_weight : array-like of shape (n_samples,), default=None
            A pair of weight 2 counts like the same pair given twice.
        groups : array-like of shape (n_samples,), default=None
            Labels of pairs that are not independent: visits of one patient, windows
            that overlap. The pairs of a group, as copies of a pair, are held out
            together, and count as one where chance is judged.
        X_val, y_val : array-like, default=None
            Pairs that choose the epoch and decide, in place of some of the others,
            which are then trained on as a whole.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a view has NaN or infinity (the place is named), another number of rows
            than the other, or a rank below `n_components`; or if a parameter, the
            weights or the groups are invalid. An earlier fit is left unharmed.
        """
        task = FitTask(self, X, y, sample_weight=sample_weight)
        with unchanged_on_error(self), usual_settings(), OneThread():
            earlier = self._fit if self.warm_start and hasattr(self, "_fit") else None
            pairs = self._pairs(X, y, self, reset=earlier is None, min_rows=2)
            weight = check_weights(sample_weight, pairs)
            groups = check_groups(groups, pairs)
            self._count_labels(pairs, weight)
            if X_val is not None:
                if y is not None and y_val is None:
                    raise ValueError("X_val needs y_val: give both, or neither.")
                with naming("X_val"):
                    X_val = self._pairs(X_val, y_val, self, reset=False)
            elif y_val is not None:
                raise ValueError("y_val needs X_val: give both, or neither.")
            if y is not None:
                n_x = math.prod(self.sample_shape_)
                views = [slice(0, n_x), slice(n_x, pairs.shape[1])]
                groups = joined_by_copies(pairs, views, groups)
            rows = Rows(pairs, weight, groups, X_val)
            self._publish(fit(self._objective(), rows, earlier, task))
            task.end()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Take one pass over a batch of pairs.

        The start follows the moments of all batches. Each batch first tests the
        network and then trains it: the network counts only while pairs that it had not
        seen say that it is better. Do not give pairs a second time: they would judge a
        network that has learnt them.

        Parameters
        ----------
        X, y : array-like
            As in :meth:`fit`; the first batch needs more rows than `n_components`, and
            all labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the pairs, in the loss and in the moments.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        with unchanged_on_error(self), usual_settings(), OneThread():
            earlier = getattr(self, "_fit", None)
            first = earlier is None
            pairs = self._pairs(X, y, self, reset=first, min_rows=2 if first else 1)
            weight = check_weights(sample_weight, pairs)
            self._count_labels(pairs, weight, earlier)
            rows = Rows(pairs, weight)
            self._publish(partial_fit(self._objective(), rows, earlier))
        return self

    def transform(self, X: Any) -> NDArray:
        """Return the codes of the first view.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            float32 for float32 rows, else float64. A frame if :meth:`set_output` asks
            for one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        return self._map(self._first(X), self._model.x_codes, (self.n_components_,))

    @property
    def _model(self) -> Any:
        """What is used, the start or the trained networks."""
        return self._fit.model

    def _publish(self, fit: Any) -> None:
        """Take over a fit: what it has found out of both views."""
        start, of_columns = fit.start, fit.model.loadings
        self.x_loadings_ = of_columns[:, start.x].T.astype(fit.dtype)
        self.y_loadings_ = of_columns[:, start.y].T.astype(fit.dtype)
        super()._publish(fit)

    # Rows

    def _objective(self) -> Objective:
        """Return what is trained, with the parameters as they are now."""
        assert self._view is not None
        kind: Any = self._objective_class
        shapes = self.sample_shape_, self._view.sample_shape_
        return kind(self._params(), *shapes, self._view.classes_ is not None)

    def _count_labels(
        self, pairs: NDArray, weight: NDArray | None, earlier: Any = None
    ) -> None:
        """Count the labels of pairs, beside those of earlier batches."""
        if self._view is None or self._view.classes_ is None:
            return
        columns = pairs[:, -len(self._view.classes_) :].astype(np.float64)
        counts = columns.sum(0) if weight is None else weight @ columns
        self._view = copy.copy(self._view)
        self._view.counts = counts + (0.0 if earlier is None else self._view.counts)

    def _first(self, X: Any) -> NDArray:
        """Return checked rows of the first view."""
        return self._checked_first(X, self._fit.objective.params, reset=False)

    def _checked_first(
        self, X: Any, params: Any, *, reset: bool, min_rows: int | None = None
    ) -> NDArray:
        padded = takes_padding(params.architecture)
        rows = check_rows(self, X, reset=reset, min_rows=min_rows, padded=padded)
        if sp.issparse(rows):
            raise TypeError("X is sparse: give a dense one, such as X.toarray().")
        return as_dense(rows)

    def _second(self, y: Any, n_rows: int | None) -> NDArray:
        """Return checked rows of the second view, so many if it matters."""
        assert self._view is not None
        check_given(self, y)
        return self._view.rows(y, reset=False, n_rows=n_rows, to_fit=False)

    def _pairs(
        self, X: Any, y: Any, params: Any, *, reset: bool, min_rows: int | None = None
    ) -> NDArray:
        """Return checked rows of both views beside one another."""
        x = self._checked_first(X, params, reset=reset, min_rows=min_rows)
        check_given(self, y)
        if reset:
            padded = takes_padding(params.y_architecture)
            self._view = SecondView(padded=padded, has_labels=self.has_labels)
        assert self._view is not None
        to_fit = min_rows is not None
        rows = self._view.rows(y, reset=reset, n_rows=len(x), to_fit=to_fit)
        if self._view.classes_ is not None:
            rows = rows.astype(x.dtype)
        return np.hstack([x, rows])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
