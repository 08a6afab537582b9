"""The other view that a user passes, `y`: a column, labels, or rows, and its checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

from ._rows import check_rows, check_unmasked, is_missing
from ._sklearn import BaseEstimator


@contextmanager
def about_y() -> Iterator[None]:
    """Let the messages of checks that speak of `X` speak of `y`."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(re.sub(r"\bX\b", "y", str(error))) from error


class SecondView(BaseEstimator):
    """What `y` looked like in `fit`.

    Parameters
    ----------
    padded : bool
        Whether series may end in NaN.
    has_labels : bool
        Whether texts and integers are labels.

    Attributes
    ----------
    classes_ : ndarray or None
        Labels in order; None: `y` holds numbers.
    counts : ndarray of shape (n_classes,)
        How often each has been seen, or its weight.
    is_column : bool
        Whether `y` had one axis.
    """

    sample_shape_: tuple[int, ...]
    classes_: NDArray | None
    counts: NDArray

    def __init__(self, *, padded: bool, has_labels: bool) -> None:
        self.padded = padded
        self.has_labels = has_labels

    def rows(self, y: Any, *, reset: bool, n_rows: int | None, to_fit: bool) -> NDArray:
        """Return `y` as rows of numbers, of shape (n_rows, n_targets).

        Labels become columns of 0 and 1, one for each class.
        """
        column = as_column(y, self.has_labels)
        if reset:
            self.is_column = column is not None
            self.classes_ = None
            if column is not None and self._are_labels(column):
                self.classes_ = np.unique(checked_labels(column))
        if column is not None and self.classes_ is not None:
            rows = one_hot(checked_labels(column), self.classes_)
            if reset:
                self.sample_shape_ = (rows.shape[1],)
        else:
            with about_y():
                given = y if column is None else as_numeric(column)[:, None]
                min_rows = 1 if to_fit else None
                how: dict[str, Any] = {"min_rows": min_rows, "padded": self.padded}
                rows = check_rows(self, given, reset=reset, **how)
        if sp.issparse(rows):
            raise TypeError("y is sparse: give a dense one, such as y.toarray().")
        check_same_number(rows, n_rows)
        return rows

    def _are_labels(self, column: NDArray) -> bool:
        if column.dtype.kind == "O":
            are_numbers = all(isinstance(value, int | float) for value in column)
            return self.has_labels and not are_numbers
        return self.has_labels and column.dtype.kind in "USbiu"


def check_given(estimator: BaseEstimator, y: Any) -> None:
    """Raise if there is no `y`."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None: give the other view of each row of X."
        )


def check_same_number(y: NDArray, n_rows: int | None) -> None:
    """Raise unless `y` has as many rows as `X`, if it is to have any number."""
    if n_rows is not None and len(y) != n_rows:
        raise ValueError(
            f"y has {len(y)} rows, but X has {n_rows}: give one row of y for each row "
            "of X."
        )


def as_column(y: Any, may_be_labels: bool = False) -> NDArray | None:
    """Return what has one axis as an array; None if it has more.

    A table of one column counts as such where its values may be labels and are no
    floats.
    """
    check_unmasked("y", y)
    y = y.detach() if isinstance(y, Tensor) else y
    if not isinstance(y, list | tuple):
        if sp.issparse(y):
            return None
        if hasattr(y, "columns"):
            if not may_be_labels or len(y.columns) != 1:
                return None
            y = np.asarray(y[y.columns[0]])[:, None]
        array = np.asarray(y)
        if may_be_labels and array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0] if array.dtype.kind not in "fc" else array
        return array if array.ndim == 1 else None
    if any(np.ndim(value) for value in y):
        return None
    column = np.asarray(y)
    is_mixed = column.dtype.kind in "US" and not all(isinstance(v, str) for v in y)
    return np.asarray(y, dtype=object) if is_mixed else column


def as_numeric(column: NDArray) -> NDArray:
    """Return a column of numbers as such.

    Raises
    ------
    ValueError
        If one is none.
    """
    if column.dtype.kind == "O":
        try:
            return column.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X is not numeric: {error}.") from error
    return column


def checked_labels(column: NDArray) -> NDArray:
    """Return labels that can be sorted.

    Raises
    ------
    ValueError
        If one is missing.
    TypeError
        If they are of several types.
    """
    if column.dtype.kind in "OfmM":
        missing = np.array([is_missing(label) for label in column], dtype=bool)
        if missing.any():
            row = int(missing.argmax())
            raise ValueError(
                f"Input y contains NaN: row {row} has no label ({column[row]}). Drop "
                "such rows, or give them a label of their own."
            )
    if column.dtype.kind == "O":
        kinds = sorted({type(label).__name__ for label in column})
        if len(kinds) > 1 and "str" in kinds:
            raise TypeError(
                f"y has labels of several types, {', '.join(kinds)}: use one."
            )
    return column


def one_hot(labels: NDArray, classes: NDArray) -> NDArray:
    """Return a column of 0 and 1 for each class, shape (n, n_classes).

    Raises
    ------
    ValueError
        For a label that is no class.
    """
    unknown = ~np.isin(labels, classes)
    if unknown.any():
        row = int(unknown.argmax())
        raise ValueError(
            f"y has the label {labels.tolist()[row]!r} (row {row}), which was not seen "
            f"in fit: these were {', '.join(map(repr, classes[:5].tolist()))}"
            f"{', ...' if len(classes) > 5 else ''}. A split that is stratified by y "
            "has all labels in each part."
        )
    return (labels[:, None] == classes).astype(np.float64)
