"""Checks of the rows that a user passes, with errors that name the column."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import Tensor

from ._dataset import LARGE_BYTES, as_dense, row_chunks
from ._parameters import naming
from ._samples import as_rows, check_padding

# The squares of larger numbers overflow, or what a network makes of them in float32;
# and those of numbers below the inverse vanish.
HUGE = {"float32": 1e30, "float64": 1e140, "uint8": 1e140}
# What is said of columns that are not numeric.
ENCODE = (
    "Encode such columns first, for instance with sklearn.preprocessing.OneHotEncoder."
)
TIMES = "times, which are not numbers: subtract one, and divide by a unit."
# Share of a range that is rounding at its ends.
ROUNDING = 1e-6
# Numbers within so many deviations have squares and losses that float32 holds.
MOST_DEVIATIONS = 1e15


@dataclass(frozen=True)
class Rows:
    """Checked rows to fit on.

    Attributes
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
    groups : ndarray of int of shape (n_samples,) or None
        Numbers from 0 on of what is held out together.
    X_val : array or CSR matrix of shape (n_val, n_features) or None
        Rows that decide.
    names : ndarray of str or None
        Those of the columns, for messages.
    """

    X: Any
    weight: NDArray | None = None
    groups: NDArray | None = None
    X_val: Any = None
    names: NDArray | None = None


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    *,
    reset: bool,
    min_rows: int | None = None,
    padded: bool = False,
    missing: bool = False,
) -> Any:
    """Return `X` as rows of float32 or float64, without needless copies.

    Images and series become rows; the shape of one is remembered. Many images of
    uint8 stay so, for their batches to be cast one by one.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``n_features_in_``, ``feature_names_in_`` and ``sample_shape_`` are set or
        compared.
    X : array-like, frame or sparse matrix
        Of shape (n_samples, n_features), or samples with more axes than one.
    reset : bool
        Whether this is the first time that the estimator sees rows.
    min_rows : int, default=None
        Fewest rows that can be fitted. None: they are not to be fitted.
    padded : bool, default=False
        Whether NaN at the end of a row is the padding of a series.
    missing : bool, default=False
        Whether any cell may be NaN.

    Returns
    -------
    array or CSR matrix of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        For anything but finite real numbers of the shape seen in `fit`.
    """
    check_kind(X)
    fitted = None if reset else estimator.sample_shape_
    X, shape = as_rows(X, padded, fitted)
    rows = as_numbers(estimator, X, reset, min_rows or 1)
    if reset:
        estimator.sample_shape_ = shape or (rows.shape[1],)
    names = getattr(estimator, "feature_names_in_", None)
    check_values(
        rows,
        names,
        estimator.sample_shape_,
        padded=padded and not missing,
        missing=missing,
        to_fit=min_rows is not None,
    )
    return rows


def as_numbers(
    estimator: BaseEstimator,
    X: Any,
    reset: bool,
    min_rows: int,
    *,
    sparse: bool = True,
    advice: str = ENCODE,
) -> Any:
    """Return rows as scikit-learn checks them, with errors that name the column.

    `advice` is what they say of columns that are not numeric.
    """
    check_times(X)
    dtypes: list[Any] = [np.float64, np.float32]
    if sparse and getattr(X, "dtype", None) == np.uint8 and 8 * X.size > LARGE_BYTES:
        dtypes.append(np.uint8)
    try:
        return validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr" if sparse else False,
            dtype=dtypes,
            ensure_all_finite=False,
            ensure_min_samples=min_rows,
        )
    except (ValueError, TypeError, OverflowError) as error:
        plain = _with_nan(X)
        if plain is not None:
            how: dict[str, Any] = {"sparse": sparse, "advice": advice}
            return as_numbers(estimator, plain, reset, min_rows, **how)
        column = _first_column_not_numeric(X)
        if column is None or "feature names" in str(error):
            raise
        name, value = column
        if is_time(value):
            raise ValueError(f"Column {name!r} of X holds {TIMES}") from error
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"Column {name!r} of X is not numeric: it contains {value!r}. {advice} "
            f"({error})"
        ) from error


@contextmanager
def marked_by(marker: Any) -> Iterator[None]:
    """Let the message of NaN in `X` say that another value marks missing cells."""
    try:
        yield
    except ValueError as error:
        where = str(error).partition(". ")[0]
        if "contains NaN" not in where:
            raise
        raise ValueError(
            f"{where}, but missing_values={marker!r}: mark all missing cells by either."
        ) from error


def check_distances(rows: Rows, mean: NDArray, scale: Any, n_x: int) -> None:
    """Raise a ValueError that names the number of `X_val` that is too far from a mean.

    From the column `n_x` on, columns are those of `y_val`.
    """
    if rows.X_val is None:
        return
    row, j, value, distance = _farthest(rows.X_val, mean, scale)
    if distance >= MOST_DEVIATIONS:
        view, column = ("X_val", j) if j < n_x else ("y_val", j - n_x)
        raise ValueError(
            f"Column {_column_name(column, rows.names)} of {view} contains {value} "
            f"(row {row}), which is {distance:.0e} deviations from the mean of the "
            f"rows to fit: drop such rows. Within {MOST_DEVIATIONS:.0e}, float32 holds "
            "their loss."
        )


def _farthest(X: Any, mean: NDArray, scale: Any) -> tuple[int, int, float, float]:
    """Return the row, column, value and distance of the number farthest from a mean."""
    farthest = 0, 0, 0.0, -1.0
    for rows in row_chunks(X):
        dense = as_dense(X[rows])
        distance = np.nan_to_num(np.abs((dense - mean) / scale))
        i, j = divmod(int(distance.argmax()), dense.shape[1])
        if distance[i, j] > farthest[3]:
            farthest = rows.start + i, j, dense[i, j], float(distance[i, j])
    return farthest


def is_time(value: Any) -> bool:
    """Whether a value is a date, a time, or a difference of such."""
    of_numpy = np.datetime64, np.timedelta64
    times = *of_numpy, datetime.date, datetime.time, datetime.timedelta
    return isinstance(value, times)


def check_kind(X: Any, min_features: int = 1) -> None:
    """Raise unless `X` may be rows: of such things NumPy would say too little."""
    if X is None or isinstance(X, type):
        raise TypeError(f"X is {X!r}: give rows, of shape (n_samples, n_features).")
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) == 2 and shape[1] < min_features:
        raise ValueError(
            f"X has 0 feature(s) (shape={tuple(shape)}) while a minimum of 1 is "
            "required."
        )
    first = X
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    if getattr(getattr(first, "dtype", None), "kind", "O") in "mM":
        raise ValueError(f"X holds {TIMES}")
    check_unmasked("X", X)
    if isinstance(X, list | tuple):
        for row, one in enumerate(X):
            check_unmasked(f"Row {row} of X", one)


def check_times(X: Any) -> None:
    """Raise for a frame with a column of times: NumPy makes numbers of some."""
    if not is_frame(X):
        return
    for name, dtype in zip(X.columns, X.dtypes, strict=True):
        # pandas' types have a kind, and those of polars say what they are.
        of_polars = getattr(dtype, "is_temporal", bool)()
        if of_polars or getattr(dtype, "kind", "O") in "mM":
            raise ValueError(f"Column {name!r} of X holds {TIMES}")


def check_codes(X: Any) -> NDArray:
    """Return codes of shape (n_samples, n_codes) as float32 or float64.

    Raises
    ------
    TypeError, ValueError
        For anything but finite real numbers of two axes.
    """
    check_kind(X, min_features=0)  # there may be no code
    check_times(X)
    X = X.detach() if isinstance(X, Tensor) else X
    if is_frame(X) and not len(X.columns):  # of which NumPy knows no type
        X = np.empty((len(X), 0))
    with naming("X"):
        dtypes = [np.float64, np.float32]
        how: Any = {"ensure_all_finite": False, "ensure_min_features": 0}
        codes = check_array(X, dtype=dtypes, input_name="X", **how)
    missing = np.argwhere(np.isnan(codes))
    if len(missing):
        row, column = missing[0]
        raise ValueError(
            f"Input X contains NaN in column {column} (row {row}). Every code must be "
            "finite: drop such rows."
        )
    check_values(codes)
    return codes


def check_unmasked(name: str, values: Any) -> None:
    """Raise for a masked array that hides something."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} is a masked array that hides {np.ma.count_masked(values)} values: "
            "fill them, or drop such rows."
        )


def _with_nan(X: Any) -> Any:
    """Return objects with NaN for pandas' NA among them, if there is any.

    They are an array, or columns of a frame of pandas.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind == "O":
        gaps = [type(value).__name__ == "NAType" for value in X.flat]
        is_na = np.reshape(gaps, X.shape)
        return np.where(is_na, np.nan, X) if is_na.any() else None
    if not hasattr(X, "isetitem"):
        return None
    plain = X.copy(deep=False)
    is_changed = False
    for j, dtype in enumerate(X.dtypes):
        column = frame_column(X, j) if dtype.kind == "O" else ()
        values = [np.nan if is_missing(value) else value for value in column]
        if any(type(value).__name__ == "NAType" for value in column):
            plain.isetitem(j, np.array(values, dtype=object))
            is_changed = True
    return plain if is_changed else None


def is_missing(label: Any) -> bool:
    """Whether a value is None or NaN, of any library."""
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA is neither equal nor unequal to itself
        return True


def is_frame(X: Any) -> bool:
    """Whether a table is a frame of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def frame_column(X: Any, j: int) -> Any:
    """Return a column of a frame; those of pandas may have the same name."""
    return X.iloc[:, j] if hasattr(X, "iloc") else X[X.columns[j]]


def _first_column_not_numeric(X: Any) -> tuple[Any, Any] | None:
    """Return the name and the first offending value of a column that is no number."""
    has_names = hasattr(X, "columns")
    if has_names:
        names = list(X.columns)
        given = [np.asarray(frame_column(X, j)) for j in range(len(names))]
        columns = list(zip(names, given, strict=True))
    else:
        array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        if array.ndim != 2 or array.dtype.kind not in "OUS":
            return None
        columns = list(enumerate(array.T))
    for name, column in columns:
        for value in column if column.dtype.kind in "OUSMmTV" else ():
            if value is None or (has_names and is_missing(value)):
                continue
            try:
                float(value)
            except (TypeError, ValueError, OverflowError):
                if isinstance(value, np.generic) and not is_time(value):
                    value = value.item()
                return name, value
    return None


def check_values(
    X: Any,
    feature_names: Any = None,
    sample_shape: tuple[int, ...] = (),
    *,
    padded: bool = False,
    missing: bool = False,
    to_fit: bool = False,
) -> None:
    """Raise a ValueError that names the first column with a value that cannot be used.

    That is NaN, infinity, or a number whose square overflows.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
    feature_names : sequence, optional
        Names of the columns; by default their numbers are used.
    sample_shape : tuple of int, default=()
        Shape of a sample, for the message.
    padded : bool, default=False
        Whether a row is a series that may end in NaN.
    missing : bool, default=False
        Whether any cell of a dense table may be NaN.
    to_fit : bool, default=False
        Whether the squares of the rows may not vanish either.
    """
    limit = HUGE[X.dtype.name]
    largest = 0.0
    for rows in row_chunks(X):
        chunk = X[rows].data if sp.issparse(X) else X[rows]
        most = float(np.maximum(chunk.max(initial=0), -float(chunk.min(initial=0))))
        if not most < limit:  # NaN is not
            dense = X[rows].toarray() if sp.issparse(X) else chunk
            if padded:
                check_padding(dense, sample_shape, rows.start)
            may_be_nan = padded or (missing and not sp.issparse(X))
            bad = np.argwhere(np.isinf(dense) if may_be_nan else ~np.isfinite(dense))
            if len(bad):
                i, j = bad[0]
                row, value = rows.start + i, dense[i, j]
                _raise_not_finite(row, j, value, feature_names, sample_shape)
            most = float(np.nanmax(np.abs(dense), initial=0.0))
        if most >= limit:
            row, column = divmod(int(np.nanargmax(np.abs(dense))), dense.shape[1])
            raise ValueError(
                f"Column {_column_name(column, feature_names)} of X contains "
                f"{dense[row, column]} (row {rows.start + row}), whose square is too "
                f"large for {X.dtype}: divide the rows, so that all numbers are below "
                f"{limit:.0e}."
            )
        largest = max(largest, most)
    if to_fit and 0 < largest < 1 / limit:
        raise ValueError(
            f"The largest number of X is {largest}, whose square is too small for "
            f"{X.dtype}: multiply the rows, so that it is above {1 / limit:.0e}."
        )


def check_range(
    X: Any,
    value_range: tuple[float, float, str],
    feature_names: NDArray | None = None,
    advice: str = "",
) -> None:
    """Raise a ValueError that names the first column with a value out of a range.

    The range is the smallest and the largest value, and what asks so; rounding, as of
    a scaler, is none. `advice` is a sentence that says what to do.
    """
    low, high, why = value_range
    if np.isinf(low) and np.isinf(high):
        return
    rounding = ROUNDING * (high - low)
    for rows in row_chunks(X):
        chunk = X[rows].toarray() if sp.issparse(X) else X[rows]
        least, most = low - rounding, high + rounding
        if not chunk.size or (chunk.min() >= least and chunk.max() <= most):
            continue
        bad = np.argwhere((chunk < least) | (chunk > most))
        if len(bad):
            i, j = bad[0]
            least, most = X[:, [j]].min(), X[:, [j]].max()
            raise ValueError(
                f"Column {_column_name(j, feature_names)} of X contains {chunk[i, j]} "
                f"(row {rows.start + i}) and goes from {least:g} to {most:g}: {why} "
                f"takes values from {low:g} to {high:g}. {advice}".rstrip()
            )


def _column_name(column: int, feature_names: Any) -> str:
    return shown_name(column if feature_names is None else feature_names[column])


def shown_name(name: Any) -> str:
    """Return how a message names a column."""
    return repr(name.item() if isinstance(name, np.generic) else name)


def _raise_not_finite(
    row: int,
    column: int,
    value: float,
    feature_names: Any,
    sample_shape: tuple[int, ...] = (),
) -> None:
    where = f"in column {_column_name(column, feature_names)}"
    remedy = "complete them with skae.MaskedImputer, or use skae.MaskedAutoencoder"
    if len(sample_shape) > 1:
        where = f"at {tuple(int(i) for i in np.unravel_index(column, sample_shape))}"
        remedy = "use skae.MaskedAutoencoder, or Recurrent() for series that end in NaN"
    if not np.isnan(value):
        raise ValueError(
            f"Input X contains infinity {where} (row {row}). Every value must be "
            "finite: drop such rows, or replace the values."
        )
    raise ValueError(
        f"Input X contains NaN {where} (row {row}). Every value must be finite: drop "
        f"such rows, {remedy}."
    )
