"""MaskedImputer: tables with missing cells, of numbers and categories, completed."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.impute import MissingIndicator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, MissingValues, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from ._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from ._columns import (
    CategoryColumn,
    NumberColumn,
    categorical_columns,
    check_categories,
    column_name,
    like_column,
    raw_columns,
)
from ._file import StoredEstimator
from ._masked import MaskedAutoencoder, check_mask_fraction, warn_of_empty_rows
from ._parameters import caller_level, naming, unchanged_on_error
from ._rows import (
    TIMES,
    as_numbers,
    check_kind,
    check_values,
    frame_column,
    is_frame,
    is_missing,
    is_time,
    marked_by,
    shown_name,
)
from ._sklearn import OneToOneFeatureMixin, TransformerMixin, _fit_context
from ._step import usual_settings
from ._weights import check_weights

CATEGORIES = "Name columns of categories in categorical_features."
# What a network is made of and trained by is said to the autoencoder.
PASSED_ON = (
    "n_components",
    "mask_fraction",
    "hidden_layer_sizes",
    "activation",
    "alpha",
    "batch_size",
    "learning_rate_init",
    "max_iter",
    "validation_fraction",
    "n_iter_no_change",
    "tol",
    "verbose",
    "random_state",
    "device",
    "callbacks",
    "net_params",
)


class MaskedImputer(
    OneToOneFeatureMixin, TransformerMixin, CallbackSupportMixin, StoredEstimator
):
    """A transformer that completes tables by a :class:`MaskedAutoencoder`.

    It stands where :class:`~sklearn.impute.IterativeImputer` stands: in front of an
    estimator that does not take missing values. Columns of numbers are standardised
    first; columns of categories are completed by the likeliest one.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes: a bottleneck, of which 4 to 32 complete patterns well. A float
        in (0, 1) takes as many as PCA needs for this share of the variance. None makes
        no bottleneck: there are as many codes as columns, up to 128 of these, and the
        correlations of the start are shrunk by the factor by which known cells that
        are hidden are completed best; beyond, that choice is one of up to 64 codes.
    missing_values : float, str, None or pandas.NA, default=nan
        What stands for a missing cell. NaN, None and pandas.NA stand for one another,
        and beside any other marker they are an error.
    categorical_features : array-like of int, str or bool, "from_dtype" or None, \
            default=None
        Which columns are categories: their numbers, their names, or a mask, as in
        :class:`~sklearn.ensemble.HistGradientBoostingClassifier`. "from_dtype" takes
        those columns of a frame that are of a categorical, a text or a boolean type.
    sample_posterior : bool, default=False
        Draw what is missing given the known cells, in place of what is expected. Every
        call of :meth:`transform` draws anew: several completed tables show how much is
        uncertain (multiple imputation). What is drawn in a row belongs together:
        categories come one after the other, by probabilities that are linear in the
        other columns, or the network's, and numbers after them.
    min_value : float, array-like of shape (n_features,) or None, default=-inf
        Smallest number that a missing cell is completed with, or one for each column:
        what is expected below it becomes that number, and what is drawn below it is
        drawn again, of the distribution that is truncated there. Categories have none,
        and None is none. Known cells stay what they are.
    max_value : float, array-like of shape (n_features,) or None, default=inf
        The largest one, likewise.
    add_indicator : bool, default=False
        Append columns that say where something was missing.
    keep_empty_features : bool, default=False
        Keep columns without any value in :meth:`fit`, with 0 in them (those of
        categories as they are); else they are left out, with a warning.
    mask_fraction : (float, float), default=(0.05, 0.85)
        Smallest and largest share of a row's known cells that is hidden from the
        network while it trains. A share is drawn for each row of a batch; columns that
        miss values themselves are hidden more often than others.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 5 * d / n)`` for n distinct rows and d columns, of which a category has
        one for each of its values.
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
        split; below 10 distinct rows, or 5 held-out ones, the normal distribution is
        kept.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
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
    autoencoder_ : MaskedAutoencoder
        What completes the encoded table, with the history of its fit.
    categories_ : dict of int to list
        The categories of each column of them, by the number of the column.
    n_iter_ : int
        Epochs run; up to `best_iter_`, where folds have chosen that.
    indicator_ : sklearn.impute.MissingIndicator or None
        With `add_indicator`.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.

    See Also
    --------
    MaskedAutoencoder : What does the work, for numbers, images and series; also has
        codes of incomplete rows and their likelihood.

    Notes
    -----
    What is completed is right on average where cells are missing at random, given the
    known ones (Rubin 1976). Cells that are missing because of their own value, such as
    high incomes, are not, and no method can tell from the table alone.

    Probabilities of categories are fitted by squared errors (Brier 1950), so that the
    start is exact for them too. A category that was not seen in :meth:`fit` is left as
    it is, and says nothing of the other cells.

    References
    ----------
    Rubin (1976), Inference and missing data.

    Brier (1950), Verification of forecasts expressed in terms of probability.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae import MaskedImputer
    >>> X, y = load_iris(return_X_y=True)
    >>> X[::3, 2] = np.nan
    >>> imputer = MaskedImputer(max_iter=5, random_state=0)
    >>> model = make_pipeline(imputer, LogisticRegression(max_iter=1000)).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    # Passed on only where they are asked for: other imputers have none.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "sample_weight": False,
        "groups": False,
    }

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: MaskedAutoencoder._parameter_constraints[name] for name in PASSED_ON},
        "missing_values": [MissingValues()],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "sample_posterior": ["boolean"],
        "min_value": [None, Interval(Real, None, None, closed="both"), "array-like"],
        "max_value": [None, Interval(Real, None, None, closed="both"), "array-like"],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    autoencoder_: MaskedAutoencoder

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        missing_values: Any = np.nan,
        categorical_features: Any = None,
        sample_posterior: bool = False,
        min_value: Any = -np.inf,
        max_value: Any = np.inf,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        mask_fraction: tuple[float, float] = (0.05, 0.85),
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        alpha: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.missing_values = missing_values
        self.categorical_features = categorical_features
        self.sample_posterior = sample_posterior
        self.min_value = min_value
        self.max_value = max_value
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.mask_fraction = mask_fraction
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

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
    ) -> MaskedImputer:
        """Find the columns' units and categories, and fit the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            An array, or a pandas or polars frame.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts like the same row given twice.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that are not independent, and so held out together.

        Returns
        -------
        self : object
            The fitted imputer.

        Warns
        -----
        UserWarning
            If a column has no value, unless `keep_empty_features`: it is left out.

        Raises
        ------
        ValueError
            If `X` has infinity, fewer than 2 rows, or a column of numbers in which
            something is none; if `n_components` is larger than the rows or columns are
            many; or if a parameter is invalid.
        """
        task = FitTask(self, X, y, sample_weight=sample_weight)
        with unchanged_on_error(self), usual_settings():
            check_mask_fraction(self.mask_fraction)
            columns = self._columns(X, reset=True)
            self._limits()
            weight = check_weights(sample_weight, columns[0][:, None])
            weight = np.ones(len(columns[0])) if weight is None else weight
            missing = np.column_stack([self._missing(c) for c in columns])
            self._is_empty: NDArray = np.asarray(missing.all(0))
            self._warn_of_empty_columns()
            self._find_units(columns, missing, weight)
            self.indicator_ = None
            if self.add_indicator:
                self.indicator_ = MissingIndicator(error_on_new=False).fit(
                    missing_as_nan(missing)
                )
            passed = {name: getattr(self, name) for name in PASSED_ON}
            self.autoencoder_ = MaskedAutoencoder(**passed)
            widths = [0 if unit is None else unit.width for unit in self._units]
            self.autoencoder_._blocks = np.repeat(np.arange(len(widths)), widths)
            self._random_state = check_random_state(self.random_state)
            if sum(widths):
                encoded = self._encoded(columns, missing)
                self._check_n_components(*encoded.shape)
                with task.of_part(self.autoencoder_):
                    self.autoencoder_.fit(encoded, None, sample_weight, groups=groups)
            self.n_iter_ = getattr(self.autoencoder_, "n_iter_", 0)
            task.end()
        return self

    def _check_n_components(self, n_rows: int, n_columns: int) -> None:
        most = min(n_rows, n_columns)
        if isinstance(self.n_components, Integral) and self.n_components > most:
            raise ValueError(
                f"n_components={self.n_components} must be at most {most}, the smaller "
                f"of {n_rows} rows and {n_columns} columns, each category being one."
            )

    def _warn_of_empty_columns(self) -> None:
        if self._is_empty.any() and not self.keep_empty_features:
            numbers = np.arange(len(self._is_empty))
            names = getattr(self, "feature_names_in_", numbers)
            warnings.warn(
                f"Columns {names[self._is_empty].tolist()} have no value and are "
                "left out: keep_empty_features=True keeps them.",
                stacklevel=caller_level(),
            )

    def _find_units(
        self, columns: list[NDArray], missing: NDArray, weight: NDArray
    ) -> None:
        """Find the mean and the deviation of each column, or its categories."""
        self.categories_: dict[int, list[Any]] = {}
        self._units: list[Any] = []
        for j, column in enumerate(columns):
            if self._is_empty[j]:
                self._units.append(None)
            elif j in self._categorical:
                self._units.append(CategoryColumn.of(column, missing[:, j], weight))
                self.categories_[j] = list(self._units[j].categories)
            else:
                self._units.append(NumberColumn.of(column, weight))

    # What a fitted imputer does

    def transform(self, X: ArrayLike) -> Any:
        """Return the table with its missing cells completed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            With the columns that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            Without the columns that were empty in :meth:`fit`, unless
            `keep_empty_features`; with a column that says where something was missing
            for each in which something was, in :meth:`fit`, with `add_indicator`. Known
            cells are as they were. With columns of categories, a frame comes back as a
            frame, and an array as one of objects. A frame's columns have the types that
            they had, but whole numbers become floats where any of them was missing in
            `X`: the types depend on the rows, unless such columns are cast to floats.

        Warns
        -----
        UserWarning
            If no cell of a row is known: it becomes the mean, or a draw around it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has other columns than in :meth:`fit`, or infinity.
        """
        check_is_fitted(self)
        with usual_settings():
            return self._completed(X)

    def _completed(self, X: Any) -> Any:
        columns = self._columns(X, reset=False)
        missing = np.column_stack([self._missing(column) for column in columns])
        warn_of_empty_rows(missing_as_nan(missing), self.sample_posterior)
        widths = [0 if unit is None else unit.width for unit in self._units]
        places = np.split(np.arange(sum(widths)), np.cumsum(widths)[:-1])
        codes = np.empty((len(missing), 0))
        if sum(widths):
            codes = self._imputed(self._encoded(columns, missing), missing, places)
        completed: dict[int, NDArray] = {}
        limits = self._limits()
        for j, (column, unit) in enumerate(zip(columns, self._units, strict=True)):
            if unit is not None:
                of_column = codes[:, places[j]], missing[:, j]
                completed[j] = unit.completed(column, *of_column, *limits[j])
            elif self.keep_empty_features:
                fill = column if j in self._categorical else np.zeros_like(column)
                completed[j] = np.where(missing[:, j], fill, column)
        indicated = np.empty((len(missing), 0))
        if self.indicator_ is not None:
            indicated = self.indicator_.transform(missing_as_nan(missing))
        return self._table(X, completed, missing, indicated)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Return the names of the columns of the completed table.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns, if :meth:`fit` saw none.

        Returns
        -------
        ndarray of str
            Those of the columns, then ``missingindicator_`` and the name for each
            column that `add_indicator` adds.
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        kept = names if self.keep_empty_features else names[~self._is_empty]
        if self.indicator_ is None:
            return kept
        added = [
            f"missingindicator_{name}" for name in names[self.indicator_.features_]
        ]
        return np.concatenate([kept, np.asarray(added, dtype=object)])

    # Columns

    def _columns(self, X: Any, reset: bool) -> list[NDArray]:
        """Return the columns of a checked table: of floats, or of objects."""
        check_kind(X)
        X = X.detach() if isinstance(X, torch.Tensor) else X
        asked, marker = self.categorical_features, self.missing_values
        marks_nan = is_missing(marker)
        if asked is None and isinstance(marker, Real):
            how: dict[str, Any] = {"sparse": False, "advice": CATEGORIES}
            rows = as_numbers(self, X, reset, 2 if reset else 1, **how)
            names = getattr(self, "feature_names_in_", None)
            with marked_by(marker):
                check_values(rows, names, missing=marks_nan, to_fit=reset)
            if reset:
                self._categorical: set[int] = set()
            if not marks_nan:
                rows = np.where(rows == marker, np.nan, rows)
            return list(rows.T)
        validate_data(self, X, reset=reset, skip_check_array=True)
        raw = raw_columns(X)
        n_rows = len(raw[0]) if raw else 0
        if n_rows < (2 if reset else 1):
            raise ValueError(
                f"X has {n_rows} sample(s) while a minimum of {2 if reset else 1} is "
                "required."
            )
        if reset:
            names = list(getattr(X, "columns", range(len(raw))))
            self._categorical = categorical_columns(asked, X, names)
        return [self._column(X, j, column) for j, column in enumerate(raw)]

    def _column(self, X: Any, j: int, column: NDArray) -> NDArray:
        """Return a checked column: of floats, or of objects if it is of categories."""
        name, marker = column_name(X, j), self.missing_values
        values = np.asarray(column, dtype=object)
        if j in self._categorical:
            check_categories(values, shown_name(name))
        gaps = np.array([is_missing(value) for value in values])
        if not is_missing(marker):
            with marked_by(marker):
                check_values(missing_as_nan(gaps)[:, None], [name])
            gaps = np.array([equals(value, marker) for value in values])
        if j in self._categorical:
            return values
        try:
            numbers = np.where(gaps, np.nan, column).astype(np.float64)
        except (TypeError, ValueError) as error:
            known = values[~gaps]
            holds_times = column.dtype.kind in "mM"  # objects may be integers
            if holds_times or (len(known) and is_time(known[0])):
                message = f"Column {shown_name(name)} of X holds {TIMES}"
                raise ValueError(message) from error
            raise ValueError(
                f"Column {shown_name(name)} of X is not numeric: name it in "
                f"categorical_features. ({error})"
            ) from error
        check_values(numbers[:, None], [name], missing=True)
        if isinstance(marker, Real):  # of numbers that are text, for instance
            numbers = np.where(numbers == marker, np.nan, numbers)
        return numbers

    def _limits(self) -> list[tuple[float, float]]:
        """Return the smallest and the largest number of each column."""
        d, sides = self.n_features_in_, []
        for name, none in (("min_value", -np.inf), ("max_value", np.inf)):
            given = getattr(self, name)
            with naming(name):
                side = np.asarray(none if given is None else given, dtype=np.float64)
            if side.shape not in ((), (d,)) or np.isnan(side).any():
                raise ValueError(
                    f"{name}={given!r}: use a number, or one for each of the {d} "
                    "columns; -inf and inf are no limits."
                )
            sides.append(np.broadcast_to(side, (d,)).tolist())
        limits = list(zip(*sides, strict=True))
        for j, (low, high) in enumerate(limits):
            if low >= high:
                names = getattr(self, "feature_names_in_", range(d))
                raise ValueError(
                    f"min_value={low} and max_value={high} of column {names[j]!r}: the "
                    "first has to be smaller."
                )
        return limits

    def _missing(self, column: NDArray) -> NDArray:
        """Return which cells of a column are missing, shape (n,)."""
        if column.dtype.kind == "f":
            return np.isnan(column)
        marker = self.missing_values
        return np.array([is_missing(v) or equals(v, marker) for v in column])

    def _encoded(self, columns: list[NDArray], missing: NDArray) -> NDArray:
        """Return all that the autoencoder sees, shape (n, n_encoded)."""
        parts = []
        for j, (column, unit) in enumerate(zip(columns, self._units, strict=True)):
            if isinstance(unit, CategoryColumn):
                parts.append(unit.encoded(column, missing[:, j]))
            elif unit is not None:
                parts.append(unit.encoded(column))
        return np.concatenate(parts, axis=1)

    def _imputed(
        self, encoded: NDArray, missing: NDArray, places: list[NDArray]
    ) -> NDArray:
        """Return what is expected in the place of missing cells, or draws.

        Categories are drawn one column after the other, each given what is known of
        the row and what has been drawn, and numbers given all of them.
        """
        rng = self._random_state if self.sample_posterior else None
        if rng is not None:
            for j in self.categories_:
                rows = np.flatnonzero(missing[:, j])
                if len(rows):
                    expected = self.autoencoder_._imputed(encoded[rows], None)
                    drawn = self._units[j].drawn(expected[:, places[j]], rng)
                    encoded[np.ix_(rows, places[j])] = drawn
        limits: list[NDArray] = []
        for unit, of_column in zip(self._units, self._limits(), strict=True):
            if isinstance(unit, NumberColumn):
                with np.errstate(over="ignore"):  # of the largest number there is
                    limits.append(unit.encoded(np.array(of_column)))
            elif unit is not None:
                limits.append(np.tile([[-np.inf], [np.inf]], unit.width))
        return self.autoencoder_._imputed(encoded, rng, np.hstack(limits))

    def _table(
        self, X: Any, columns: dict[int, NDArray], missing: NDArray, indicated: NDArray
    ) -> Any:
        """Return completed columns as a table of the kind of `X`."""
        values = list(columns.values())
        if not self._categorical:
            flat = np.column_stack(values) if values else np.empty((len(missing), 0))
            return np.concatenate([flat, indicated], axis=1) if indicated.size else flat
        added = list(indicated.T)
        if not is_frame(X):
            return np.column_stack([np.asarray(c, object) for c in [*values, *added]])
        texts = self.get_feature_names_out(list(map(str, X.columns)))
        names = [*(X.columns[j] for j in columns), *texts[len(columns) :]]
        for i, (j, column) in enumerate(columns.items()):
            given = frame_column(X, j)
            values[i] = like_column(given, column) if missing[:, j].any() else given
        if not hasattr(X, "iloc"):
            completed = dict(zip(names, [*values, *added], strict=True))
            if _get_output_config("transform", self)["dense"] == "pandas":
                # Of a frame of polars pandas makes columns of objects.
                return {name: np.asarray(c) for name, c in completed.items()}
            return type(X)(completed)
        frame = type(X)(dict(enumerate([*values, *added])), index=X.index)
        frame.columns = names
        return frame

    # What scikit-learn asks

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_random_state")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def missing_as_nan(missing: NDArray) -> NDArray:
    """Return a table of 0, and NaN where something is missing."""
    return np.where(missing, np.nan, 0.0)


def equals(value: Any, marker: Any) -> bool:
    """Whether a value is the marker of missing cells: -1.0 is what -1 is."""
    if is_number(value) and is_number(marker):
        return bool(value == marker)
    return type(value) is type(marker) and value == marker


def is_number(value: Any) -> bool:
    """Whether a value is a number, which False and True are not here."""
    return isinstance(value, Real) and not isinstance(value, bool)
