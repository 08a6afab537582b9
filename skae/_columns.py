"""Columns of tables: of numbers and of categories, in frames and in arrays.

Numbers are standardised column by column. A category becomes one column for each of its
values, of 0 and 1, which are hidden, completed and drawn together: what is expected
there are probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from ._rows import frame_column, is_frame, is_missing


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, in deviations from its mean."""

    mean: float
    scale: float

    @classmethod
    def of(cls, column: NDArray, weight: NDArray) -> NumberColumn:
        """Standardise a column of which some numbers are NaN."""
        column = column.astype(np.float64)
        w = np.where(np.isnan(column), 0.0, weight)
        if not w.any():  # what is known has no weight
            return cls(0.0, 1.0)
        mean = float(np.average(np.nan_to_num(column), weights=w))
        variance = float(np.average((np.nan_to_num(column) - mean) ** 2, weights=w))
        is_constant = variance <= (len(column) * np.finfo(float).eps * mean) ** 2
        return cls(mean, 1.0 if is_constant else variance**0.5)

    width = 1

    def encoded(self, column: NDArray) -> NDArray:
        """Return numbers near 1, shape (n, 1)."""
        return ((column - self.mean) / self.scale)[:, None]

    def completed(
        self,
        column: NDArray,
        codes: NDArray,
        missing: NDArray,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> NDArray:
        """Return the column with its missing cells decoded, between limits; (n,)."""
        decoded = np.clip(codes[:, 0] * self.scale + self.mean, low, high)
        return np.where(missing, decoded, column)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, as a column of 0 and 1 for each.

    Together they vary as much as a column of numbers does.
    """

    categories: list[Any]
    scale: float

    @classmethod
    def of(cls, column: NDArray, missing: NDArray, weight: NDArray) -> CategoryColumn:
        """Find the categories of a column of objects."""
        present = column[~missing]
        categories = list(dict.fromkeys(present.tolist()))
        try:
            categories = sorted(categories)
        except TypeError:  # of several types, which have no order
            categories = sorted(categories, key=lambda value: (str(type(value)), value))
        w = weight[~missing] / max(weight[~missing].sum(), np.finfo(float).tiny)
        places = {value: i for i, value in enumerate(categories)}
        which = [places[value] for value in present.tolist()]
        shares = np.bincount(which, weights=w, minlength=len(categories))
        variance = float((shares * (1 - shares)).sum())
        return cls(categories, variance**0.5 if variance > 0 else 1.0)

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return len(self.categories)

    def encoded(self, column: NDArray, missing: NDArray) -> NDArray:
        """Return a column for each category, NaN where it is missing or another one."""
        places = {value: i for i, value in enumerate(self.categories)}
        which = np.array(
            [
                -1 if m else places.get(v, -1)
                for v, m in zip(column, missing, strict=True)
            ]
        )
        codes = np.full((len(column), self.width), np.nan)
        known = which >= 0
        codes[known] = 0.0
        codes[known, which[known]] = 1.0
        return codes / self.scale

    def drawn(self, codes: NDArray, rng: RandomState) -> NDArray:
        """Return codes of categories that are drawn, given what is expected of these.

        Both have shape (n, width). Expected ones are probabilities, but for rounding.
        """
        shares = np.maximum(codes * self.scale, 0)
        total = shares.sum(1, keepdims=True)
        even = np.full_like(shares, 1 / self.width)
        shares = np.where(total > 0, shares / np.where(total > 0, total, 1), even)
        limits = shares.cumsum(1)
        which = (rng.uniform(size=(len(shares), 1)) > limits[:, :-1]).sum(1)
        return np.eye(self.width)[which] / self.scale

    def completed(
        self, column: NDArray, codes: NDArray, missing: NDArray, *limits: float
    ) -> NDArray:
        """Return the column with the likeliest category in missing cells."""
        completed = column.copy()
        which = codes[missing].argmax(1)
        for row, i in zip(np.flatnonzero(missing), which, strict=True):
            completed[row] = self.categories[i]
        return completed


def like_table(X: Any, values: NDArray, missing: NDArray) -> Any:
    """Return completed values in the kind of table that `X` is, a frame or an array.

    Columns in which nothing is missing are those of `X`.
    """
    if not is_frame(X):
        is_whole = isinstance(X, np.ndarray) and not missing.any()
        return X.copy() if is_whole else values
    changed = np.flatnonzero(missing.any(0))
    if hasattr(X, "iloc"):  # of which columns may have the same name
        completed = X.copy()
        for j in changed:
            completed.isetitem(j, values[:, j])
        return completed
    columns = {name: X[name] for name in X.columns}
    columns.update({X.columns[j]: values[:, j] for j in changed})
    return type(X)(columns)


def raw_columns(X: Any) -> list[Any]:
    """Return the columns of a frame or of anything with two axes."""
    if is_frame(X):
        return [np.asarray(frame_column(X, j)) for j in range(len(X.columns))]
    array = np.asarray(X, dtype=object if not hasattr(X, "dtype") else None)
    if array.ndim != 2:
        raise ValueError(
            f"X has shape {array.shape}: use shape (n_samples, n_features)."
        )
    return list(array.T)


def column_name(X: Any, j: int) -> Any:
    """Return the name of a column, or its number."""
    return X.columns[j] if is_frame(X) else j


def categorical_columns(asked: Any, X: Any, names: list[Any]) -> set[int]:
    """Return the numbers of the columns of categories.

    Raises
    ------
    ValueError
        For a column that is not there, or "from_dtype" without a frame.
    """
    if asked is None:
        return set()
    if isinstance(asked, str):
        if not hasattr(X, "dtypes"):
            raise ValueError(
                'categorical_features="from_dtype" needs a frame: give the numbers of '
                "the columns."
            )
        columns = (frame_column(X, j) for j in range(len(names)))
        return {j for j, column in enumerate(columns) if is_categorical(column)}
    chosen = np.asarray(asked, dtype=None if hasattr(asked, "dtype") else object)
    flat = chosen.ravel().tolist()
    if flat and all(isinstance(value, bool | np.bool_) for value in flat):
        if len(flat) != len(names):
            raise ValueError(
                f"categorical_features={asked!r} has {len(flat)} flags, but X has "
                f"{len(names)} columns: give one for each, or names of columns."
            )
        return {j for j, value in enumerate(flat) if value}
    found = set()
    for value in flat:
        if isinstance(value, Integral) and -len(names) <= int(value) < len(names):
            found.add(int(value) % len(names))
        elif value in names and not isinstance(value, Integral):
            found.add(names.index(value))
        else:
            raise ValueError(
                f"categorical_features={asked!r}: {value!r} is no column of X: use "
                f"names of columns, or numbers from 0 to {len(names) - 1}."
            )
    return found


def check_categories(values: NDArray, name: str) -> None:
    """Raise a TypeError for categories that cannot be looked up, such as lists."""
    for value in values:
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(
                f"Column {name} of X has {value!r} as a category: use strings, numbers "
                f"or tuples. ({error})"
            ) from error


def is_categorical(column: Any) -> bool:
    """Whether a frame's column is of categories or of text, by its type."""
    kind = str(column.dtype).lower()
    of_arrow = ("large_string", "dictionary")
    return kind.startswith(
        ("category", "categorical", "enum", "object", "str", "bool", *of_arrow)
    )


def like_column(given: Any, completed: NDArray) -> Any:
    """Return a completed column of a frame, of the type of the given one if it can be.

    Whole numbers become others of the same kind: nullable, or of Arrow. A type of
    categories takes those that it has not had.
    """
    is_pandas, dtype = hasattr(given, "index"), given.dtype
    if completed.dtype.kind == "f" and "float" not in str(dtype).lower():
        if getattr(dtype, "kind", "O") not in "iuf":  # those of polars have none
            return completed
        dtype = (given.iloc[:0] * 1.0).dtype
    known = getattr(dtype, "categories", None)
    if known is not None and not isinstance(known, bool):
        known = list(known)
        values = dict.fromkeys(completed[~np.array([is_missing(v) for v in completed])])
        more = [value for value in values if value not in known]
        if more:
            how = {"ordered": dtype.ordered} if is_pandas else {}
            dtype = type(dtype)([*known, *more], **how)
    # A column in which nothing is known may have a type that says nothing.
    dtypes = (None,) if str(dtype) == "Null" else (dtype, None)
    for dtype in dtypes:
        try:
            if is_pandas:
                return type(given)(completed, index=given.index, dtype=dtype)
            return type(given)(given.name, completed.tolist(), dtype=dtype)
        except (ValueError, TypeError):
            if dtype is None:
                raise
    return None
