"""Which rows are held out together: copies of a row, and the rows of a group.

A copy of a row may not judge a network that has learnt the row by heart, and nor may
what is not independent of it. Distinct rows are found by a hash, in one pass over the
table and one sort, and so without a copy of it. Groups are the user's to name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ._dataset import as_dense, row_chunks

MIN_HELD_OUT = 5  # of a split; with fewer, chance decides
# By how much held-out rows may differ from all in their mean size, and so many draws of
# them; a share that is none.
UNLIKE, MOST_DRAWS, LEAST_SHARE = 1.25, 50, 1e-300
# Units that copies in one view are to leave, and how many of the pairs of equal rows
# may be so by chance for them to be copies; in so many rows at most.
FEW_UNITS, CHANCE_SHARE, CHANCE_ROWS = 20, 0.01, 10_000


@dataclass(frozen=True)
class DistinctRows:
    """One row in place of all its copies.

    Attributes
    ----------
    rows : ndarray of shape (n_distinct,)
        Their numbers, in the order of their hashes: it does not depend on that of the
        table, nor on how often a row is there.
    weight : ndarray of shape (n_distinct,) or None
        What the copies of each weigh together. None: 1 each.
    unit : ndarray of shape (n_distinct,) or None
        What is held out together has the same number, from 0 on. None: each row alone.
    """

    rows: NDArray
    weight: NDArray | None
    unit: NDArray | None

    @property
    def n_units(self) -> int:
        """How many units can be held out."""
        return len(self.rows) if self.unit is None else int(self.unit.max()) + 1


def row_hashes(X: Any, mean: NDArray, scale: Any) -> NDArray:
    """Return 64 bits for each row: equal for rows that are equal in float32.

    That is after standardising, but by a grid that does not follow the last digits of
    `mean` and `scale`. The bits of the cells are mixed, multiplied by random odd
    numbers and added (multilinear hashing; Lemire & Kaser 2014).

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
    mean : ndarray of shape (n_features,)
    scale : float or ndarray of shape (n_features,)
    """
    rng = np.random.default_rng(2014)
    factors = rng.integers(2**63, size=X.shape[1], dtype=np.uint64) * np.uint64(2) + 1
    hashes = np.empty(X.shape[0], dtype=np.uint64)
    for rows, x in _on_grid(X, mean, scale):
        x += 0.0  # there is a zero with a sign
        x[np.isnan(x)] = np.nan  # and more than one NaN
        # Without this, numbers that differ in one bit only would not be told apart.
        bits = x.view(np.uint32) * np.uint64(0x9E3779B97F4A7C15)
        bits ^= bits >> np.uint64(32)
        hashes[rows] = bits @ factors
    hashes ^= hashes >> np.uint64(32)
    return hashes * factors[0]


def row_sizes(X: Any, mean: NDArray, scale: Any) -> NDArray:
    """Return the squared norm of each row, about; what is missing is 0.

    It is that of what :func:`row_hashes` hashes, and so equal for equal rows.
    """
    sizes = np.empty(X.shape[0])
    for rows, x in _on_grid(X, mean, scale):
        sizes[rows] = np.nansum(x.astype(np.float64) ** 2, 1)
    return sizes


def _on_grid(X: Any, mean: NDArray, scale: Any) -> Iterator[tuple[slice, NDArray]]:
    """Yield rows and what they are standardised, by a grid, in float32."""
    unit = 2.0 ** np.round(np.log2(scale))
    origin = np.floor(mean / unit + 0.382) * unit  # no ties where means often are
    for rows in row_chunks(X):
        with np.errstate(over="ignore"):
            x = ((as_dense(X[rows]) - origin) / unit).astype(np.float32)
        yield rows, x  # outside of the block, which would be the caller's too


def distinct_rows(
    hashes: NDArray, weight: NDArray | None, groups: NDArray | None
) -> DistinctRows:
    """Find the distinct rows of a table, and what of them is held out together.

    Parameters
    ----------
    hashes : ndarray of shape (n_samples,)
        Those of :func:`row_hashes`.
    weight : ndarray of shape (n_samples,) or None
    groups : ndarray of int of shape (n_samples,) or None
        Numbers from 0 on. A row with copies in several groups holds these together.
    """
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    in_order = hashes[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    del in_order
    rows = order[is_first]
    if len(rows) == len(order) and weight is None:
        return DistinctRows(rows, None, None if groups is None else groups[rows])
    first = np.flatnonzero(is_first)
    ones = np.ones(len(order)) if weight is None else weight[order]
    weights = np.add.reduceat(ones, first)
    if groups is None:
        return DistinctRows(rows, weights, None)
    unit = _joined(np.cumsum(is_first) - 1, groups[order])  # of each row, in order
    return DistinctRows(rows, weights, unit[first])


def joined_by_copies(
    X: NDArray, views: list[slice], groups: NDArray | None
) -> NDArray | None:
    """Return groups of rows that also join those that are copies in one view alone.

    Such a copy, with another second view, is no copy of the row; but a network that has
    learnt the one knows the other.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    views : list of slice
        Of the columns.
    groups : ndarray of int of shape (n_samples,) or None

    Returns
    -------
    ndarray of int of shape (n_samples,) or None
        Numbers from 0 on, which do not depend on the order of the rows if `groups` do
        not; None where there is nothing to join.
    """
    size = np.abs(X).max(0).astype(np.float64)
    where = np.zeros(X.shape[1]), np.where(size > 0, size, 1.0)
    # A copy in all views is the row again, and says nothing.
    rows = np.unique(row_hashes(X, *where), return_index=True)[1]
    for view in views:
        part = X[:, view]
        hashes = row_hashes(part, *(of[view] for of in where))
        unit = np.unique(hashes, return_inverse=True)[1]
        copies = np.bincount(unit[rows])
        if len(copies) < FEW_UNITS or _equal_by_chance(part, rows, copies):
            continue
        joined = _joined(unit, groups)
        if len(np.unique(joined)) >= FEW_UNITS:
            groups = joined
    return groups


def _joined(first: NDArray, second: NDArray | None) -> NDArray:
    """Return the units of rows that are joined by either of two numbers of theirs."""
    if second is None:
        return first
    n = int(first.max()) + 1
    links = np.ones(len(first), dtype=bool), (first, n + second)
    size = n + int(second.max()) + 1
    graph = coo_matrix(links, shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    return np.unique(component[first], return_inverse=True)[1]


def _equal_by_chance(X: NDArray, rows: NDArray, copies: NDArray) -> bool:
    """Whether as many rows are equal where columns have nothing to do with each other.

    Of some `rows`, `copies` says how often each is there. A single column always is.
    """
    n_pairs = float((copies * (copies - 1.0)).sum())
    if not n_pairs:
        return True
    n = float(len(rows))
    if len(rows) > CHANCE_ROWS:
        rows = np.random.default_rng(0).choice(rows, CHANCE_ROWS, replace=False)
    m, log_chance = len(rows), 0.0  # that two rows are equal
    for column in X[rows].T:
        counts = np.unique(column, return_counts=True)[1]
        log_chance += np.log(((counts * (counts - 1.0)).sum() + 1) / (m * (m - 1.0)))
    return bool(np.log(n * (n - 1)) + log_chance > np.log(CHANCE_SHARE * n_pairs))


def fresh_rows(hashes: NDArray, seen: NDArray) -> NDArray:
    """Return the numbers of distinct rows whose hashes are not among those seen."""
    rows = distinct_rows(hashes, None, None).rows
    return np.sort(rows[~np.isin(hashes[rows], seen)])


def assign_folds(
    n: int, unit: Tensor | None, n_folds: int, generator: torch.Generator
) -> Tensor:
    """Return the fold of each of `n` rows; units are whole, and folds alike in size."""
    if unit is None:
        order = torch.randperm(n, generator=generator, dtype=torch.int32).long()
        return torch.empty_like(order).index_copy_(0, order, torch.arange(n) % n_folds)
    sizes = torch.bincount(unit)
    order = torch.randperm(len(sizes), generator=generator)
    filled, fold_of = [0] * n_folds, torch.empty_like(order)
    for u in order[sizes[order].argsort(descending=True, stable=True)].tolist():
        fold = min(range(n_folds), key=filled.__getitem__)
        fold_of[u] = fold
        filled[fold] += int(sizes[u])
    return fold_of[unit]


def choose_held_out(
    n: int,
    unit: Tensor | None,
    n_held_out: int,
    generator: torch.Generator,
    size: Tensor | None = None,
) -> Tensor:
    """Return which of `n` rows are held out, about `n_held_out` of them, as numbers.

    With the `size` of each, shape (n,), they are drawn until they have about their
    share of it: few rows may have most of the variance, and a draw without them, or
    with all of them, would say little of it.
    """
    drawn = _held_out(n, unit, n_held_out, generator)
    if size is None or not len(drawn) or not size.any():
        return drawn
    draws = {}
    for _ in range(MOST_DRAWS):
        share = float(size[drawn.long()].sum() / size.sum()) * n / len(drawn)
        unlikeness = abs(math.log(max(share, LEAST_SHARE)))
        if unlikeness <= math.log(UNLIKE):
            return drawn
        draws[unlikeness] = drawn
        drawn = _held_out(n, unit, n_held_out, generator)
    return draws[min(draws)]


def _held_out(
    n: int, unit: Tensor | None, n_held_out: int, generator: torch.Generator
) -> Tensor:
    if unit is None:  # int32, because the row numbers of a table on disk take memory
        return torch.randperm(n, generator=generator, dtype=torch.int32)[:n_held_out]
    if not n_held_out:
        return torch.empty(0, dtype=torch.int32)
    sizes = torch.bincount(unit)
    order = torch.randperm(len(sizes), generator=generator)
    n_units = int((sizes[order].cumsum(0) < n_held_out).sum()) + 1
    n_units = min(max(n_units, MIN_HELD_OUT), max(len(sizes) // 2, 1), len(sizes) - 1)
    chosen = torch.zeros(len(sizes), dtype=torch.bool)
    chosen[order[:n_units]] = True
    return chosen[unit].nonzero()[:, 0]
