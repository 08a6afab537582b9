"""The face of estimators of one view."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._callbacks import FitTask, with_callbacks
from ._dataset import as_type
from ._estimator import NetworkEstimator
from ._fit import Fit, fit
from ._onnx import OnnxMixin
from ._parameters import check_flag, naming, unchanged_on_error
from ._partial_fit import partial_fit
from ._rows import Rows, check_codes, check_range, check_rows
from ._samples import n_steps_of, takes_padding
from ._sklearn import (
    OutlierMixin,
    _fit_context,
)
from ._step import OneThread, usual_settings
from ._weights import check_groups, check_weights, used_rows

if TYPE_CHECKING:
    from typing_extensions import Self


class BaseAutoencoder(OnnxMixin, OutlierMixin, NetworkEstimator):
    """The face of estimators of one view; see :class:`skae.AutoencoderTransformer`.

    A concrete estimator defines its parameters and names its objective.
    """

    # Passed on only where they are asked for: PCA, in whose place this is, has none.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "sample_weight": False,
        "groups": False,
        "X_val": False,
    }

    mean_: NDArray
    components_: NDArray
    explained_variance_: NDArray
    explained_variance_ratio_: NDArray
    singular_values_: NDArray
    noise_variance_: float
    offset_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NetworkEstimator._parameter_constraints,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "init": [StrOptions({"pca", "random"})],
        "whiten": ["boolean"],
        "contamination": [
            Interval(Real, 0, 0.5, closed="right"),
            Options(Real, {0.0}),
        ],
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
    }

    # Fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
    ) -> Self:
        """Start at the closed form, train, and keep what held-out rows say is better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows: an array, a pandas or polars frame, a CSR or CSC matrix, or
            a memory-mapped array, which is read in pieces. Or images of shape
            (n_samples, height, width) or (n_samples, channels, height, width), also as
            uint8, or series of shape (n_samples, n_steps, n_channels): PCA is that of
            the flattened samples. An architecture that takes series of different
            lengths also takes a list of them, and NaN at the end of a series.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts like the same row given twice. Weights may differ
            by a factor of 1e12.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that are not independent: visits of one patient, windows that
            overlap, augmented images. The rows of a group, as copies of a row, are held
            out together, and count as one where chance is judged. With fewer than 5
            groups nothing can be said, and the start is kept, with a warning.
        X_val : array-like or sparse matrix of shape (n_val, n_features), default=None
            Rows that choose the epoch and decide, in place of some of `X`, which is
            then trained on as a whole. Copies of rows of `X` have no say.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If `X` or `X_val` has NaN that is no padding, or infinity (the place is
            named), fewer than 2 rows, or fewer rows or columns than `n_components` with
            ``init="pca"``; if all rows of `X_val` are in `X`; if a parameter, the
            weights or the groups are invalid; or if `warm_start` is to go on with other
            networks or another objective. An earlier fit is left unharmed.
        """
        task = FitTask(self, X, y, sample_weight=sample_weight)
        with unchanged_on_error(self), usual_settings(), OneThread():
            earlier = self._earlier()
            X = self._new_rows(X, reset=earlier is None, min_rows=2)
            weight, groups = check_weights(sample_weight, X), check_groups(groups, X)
            if X_val is not None:
                with naming("X_val"):
                    X_val = self._new_rows(X_val, reset=False)
            names = getattr(self, "feature_names_in_", None)
            rows = Rows(X, weight, groups, X_val, names)
            self._publish(fit(self._objective(), rows, earlier, task))
            self._finish(X)
            task.end()
        return self

    def _earlier(self) -> Fit | None:
        """Return the fit that `fit` goes on from, if there is one worth it."""
        fit: Fit | None = getattr(self, "_fit", None)
        if fit is None or not self.warm_start or fit.start.is_constant:
            return None
        return fit

    def _finish(self, X: Any) -> None:
        """Find out what there is to say of the rows that were fitted."""

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: Any = None
    ) -> Self:
        """Take one pass over a batch of rows.

        The linear start follows the batches as
        :class:`~sklearn.decomposition.IncrementalPCA` does. Each batch first tests the
        network and then trains it: the network counts only while rows that it had not
        seen say that it beats the linear start, and 1000 rows of all batches do, which
        are kept. Sorted rows therefore keep the start. Do not give rows a second time:
        they would judge a network that has learnt them. Several passes are what
        :meth:`fit` is for, also from a file (see the guide on memory maps).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The first batch needs at least `n_components` rows.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in the loss; the linear start takes the rows as they are.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As :meth:`fit` (and its `warm_start`), and if the first batch has too few
            rows.
        """
        del y
        with unchanged_on_error(self), usual_settings(), OneThread():
            earlier = getattr(self, "_fit", None)
            first = earlier is None
            X = self._new_rows(X, first, min_rows=2 if first else 1, all_steps=True)
            names = getattr(self, "feature_names_in_", None)
            rows = Rows(X, check_weights(sample_weight, X), names=names)
            self._publish(partial_fit(self._objective(), rows, earlier))
        return self

    def _publish(self, fit: Fit) -> None:
        """Take over a fit: every attribute that it has found out."""
        start, model = fit.start, fit.model
        self.mean_ = start.mean.astype(fit.dtype)
        self.components_ = model.components.astype(fit.dtype)
        self.explained_variance_ = as_type(model.explained_variance, fit.dtype)
        ratio = model.explained_variance_ratio
        self.explained_variance_ratio_ = as_type(ratio, fit.dtype)
        self.singular_values_ = as_type(start.singular_values, fit.dtype)
        self.noise_variance_ = model.noise_variance
        self.offset_ = fit.offset
        super()._publish(fit)

    # What a fitted estimator does

    def transform(self, X: ArrayLike) -> NDArray:
        """Return the codes of the rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            In PCA's units, or of unit variance with ``whiten=True``; float32 for
            float32 rows, else float64. A frame if :meth:`set_output` asks for one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        X = self._fitted_rows(X)
        return self._map(X, self._fit.codes, (self.n_components_,))

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Return the rows that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes as :meth:`transform` returns them; with ``ordered=True`` also only
            the first of them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training rows, and of the shape that :meth:`fit` saw,
            ``(n_samples, *sample_shape_)``. Series come back with all steps of the
            longest one, since codes do not say where a series ends.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If the codes are not finite or their number of columns is not
            `n_components_`, or at most that with ``ordered=True``.
        """
        check_is_fitted(self)
        Z = check_codes(X)
        missing = self.n_components_ - Z.shape[1]
        if missing > 0 and getattr(self._fit.objective.params, "ordered", False):
            Z = np.pad(Z, ((0, 0), (0, missing)))
        elif missing:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but codes of this "
                f"{type(self).__name__} have n_components_={self.n_components_}."
            )
        return self._as_samples(self._map(Z, self._fit.rows, (len(self.mean_),)))

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return how normal each row is: its log-likelihood, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            Higher is more normal. With `n_neighbors` it is minus the mean distance, in
            the units of `X`, to the nearest of the rows that were trained on, a row's
            own copies left out; else, while PCA is used, PCA's own density. A
            trained network keeps its split into a code and a residual term, and
            ignores how the decoder changes volumes: a score in nats then, and not a
            density that integrates to exactly 1.
            A series that is shorter than others has fewer terms: divide by its steps,
            or use :meth:`reconstruction_error`, to compare series of different lengths.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        X = self._fitted_rows(X)
        return self._map(X, self._fit.scores, (), np.float64)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, in nats per row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        float
            Higher is better; a cross-validated search over `n_components` can use it.
        """
        del y
        scores = self.score_samples(X)
        scores, weight, _ = used_rows(scores, check_weights(sample_weight, scores))
        with np.errstate(over="ignore"):  # beside constant rows no others are likely
            return float(np.average(scores, weights=weight))

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return how far from being an anomaly each row is.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``: below 0 are anomalies.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray:
        """Tell anomalies from normal rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            -1 for rows whose score is below `offset_`, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def reconstruction_error(
        self, X: ArrayLike, *, per_feature: bool = False
    ) -> NDArray:
        """Return how far the reconstructions are from the rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.
        per_feature : bool, default=False
            Return the squared error of every entry instead of each row's mean.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_features)
            Squared error per feature, in squared units of `X`. One for each feature
            has the shape that :meth:`fit` saw; padded steps of a series have NaN, and
            are left out of the mean.
        """
        check_is_fitted(self)
        per_feature = check_flag("per_feature", per_feature)
        rows = self._fitted_rows(X)
        if per_feature:
            shape = (rows.shape[1],)
            return self._as_samples(
                self._map(rows, self._fit.errors, shape, np.float64)
            )

        def means(X: NDArray) -> NDArray:
            errors = self._fit.errors(X)
            known = ~np.isnan(errors)
            if not known.all():  # missing cells are left out
                total = np.where(known, errors, 0.0).sum(1)
                return total / np.maximum(known.sum(1), 1)
            return errors.mean(axis=1)

        return self._map(rows, means, (), np.float64)

    def get_covariance(self) -> NDArray:
        """Return the covariance of the start, probabilistic PCA.

        Returns
        -------
        ndarray of shape (n_features, n_features)
            ``U' (L - s2) U + s2 I`` for principal axes U of variances L, and the mean
            s2 of the other variances (Tipping & Bishop 1999). It is PCA's, whether or
            not a network is used.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        """
        check_is_fitted(self)
        return self._fit.start.covariance.astype(self._fit.dtype)

    def get_precision(self) -> NDArray:
        """Return the inverse of the covariance of the start, probabilistic PCA.

        Returns
        -------
        ndarray of shape (n_features, n_features)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        numpy.linalg.LinAlgError
            If the rows fill fewer dimensions than there are columns, and no variance
            is left over as noise.
        """
        check_is_fitted(self)
        return self._fit.start.precision.astype(self._fit.dtype)

    def _try_out(self) -> None:
        row = self._fit.start.mean[None].astype(np.float64)
        with usual_settings(), OneThread():
            codes, rebuilt = self._fit.codes(row), self._fit.rebuilt(row)
            self._fit.scores(row)
        assert codes.shape == (1, self.n_components_)
        assert rebuilt.shape == row.shape

    # Rows

    def _new_rows(
        self,
        X: Any,
        reset: bool,
        min_rows: int | None = None,
        all_steps: bool = False,
    ) -> Any:
        """Return checked rows to fit on."""
        X = self._checked(X, self, reset=reset, min_rows=min_rows)
        if reset:
            self._row_shape = self.sample_shape_
        if self._takes_padding(self.architecture) and not sp.issparse(X):
            X = self._seen_steps(X, reset and not all_steps)
        return X

    def _fitted_rows(self, X: Any) -> Any:
        """Return checked rows for what was fitted."""
        params = self._fit.objective.params
        X = self._checked(X, params, reset=False)
        if self._takes_padding(params.architecture) and not sp.issparse(X):
            X = self._seen_steps(X, False)
        names = getattr(self, "feature_names_in_", None)
        check_range(X, self._fit.net.criterion_.value_range, names)
        return X

    def _takes_padding(self, architecture: Any) -> bool:
        """Whether NaN is the end of a series: else it is a cell that is missing."""
        handles_missing = self._objective_class.handles_missing
        return not handles_missing and takes_padding(architecture)

    def _checked(self, X: Any, params: Any, **how: Any) -> Any:
        """Return rows as numbers, with NaN where that is allowed."""
        how["padded"] = takes_padding(params.architecture)
        missing = self._objective_class.handles_missing
        return check_rows(self, X, missing=missing, **how)

    def _seen_steps(self, X: NDArray, reset: bool) -> NDArray:
        """Return series up to the last step that `fit` saw of any of them.

        More padding then changes nothing.
        """
        if reset:
            n_steps = n_steps_of(X, self.sample_shape_)
            self._row_shape = (n_steps, *self.sample_shape_[1:])
        n_features = math.prod(self._row_shape)
        if not np.isnan(X[:, n_features:]).all():
            warnings.warn(
                f"X has series of more than {self._row_shape[0]} steps, and no series "
                "seen in fit had so many: the later steps are left out.",
                stacklevel=4,
            )
        return X[:, :n_features]

    def _as_samples(self, rows: NDArray) -> NDArray:
        """Return rows in the shape of the samples that `fit` saw."""
        missing = math.prod(self.sample_shape_) - rows.shape[1]
        if missing:  # steps that no series had
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=np.nan)
        return rows.reshape(len(rows), *self.sample_shape_)

    # What scikit-learn asks

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._objective_class.handles_missing
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
