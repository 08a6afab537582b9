"""The normal distribution of rows some of whose cells are missing, by EM.

E: given a mean and a covariance C, each row is completed by what is expected in its
missing cells, and by their covariance given the known ones. With ``P = C^-1`` and the
missing cells m of a row, these are ``-P_mm^-1 P_mo x_o`` and ``P_mm^-1``.
M: the mean and the covariance of the completed rows, constrained (Dempster, Laird &
Rubin 1977). Two constraints are used: probabilistic PCA of k axes, and a covariance
whose correlations are all smaller by one factor, which known cells that are hidden can
choose. Wide tables have another way (``_wide_em.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ._dataset import as_dense, row_chunks, sample_rows
from ._incomplete import IncompleteRows
from ._solvers import Moments
from ._split import DistinctRows, distinct_rows, row_hashes

# The covariance of rows this wide is found as a whole.
MOST_COLUMNS = 128
# Rows that EM goes over again and again; of more, all have the last word.
EM_ROWS = 10_000
N_ITER, TOL = 50, 1e-3
# Factors by which correlations may be smaller, of which known cells choose that are
# hidden in so many rows.
SHRINKAGES = (1.0, 0.6, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
CHOOSING_ROWS = 1000
CHOOSING_ITER = 15
# Few rows are taken several times, with other cells hidden.
CHOOSING_CELLS, MOST_DRAWS = 10_000, 5
# Standard errors by which a stronger choice may be worse.
CHANCE = 1.0
# A choice is hardly worse by this share, which others may decide about.
HARDLY = 0.02
# They go on while errors are not larger than the smallest by more than this factor.
PATIENCE = 1.05
# Share of the known cells that is hidden to choose.
HIDDEN_SHARE = 0.1
MIN_ROWS = 10  # with fewer no cells are hidden
FEW_ROWS_SHARE = 0.3  # of so few, if more follow
# Variances below this share of a column's, or of the mean one, are rounding errors.
VARIANCE_FLOOR = 1e-9
# So are deviations below this share of a column's mean, variances below this share of
# the largest one, and all below that.
ROUNDING, SMALLEST = 1e-14, 1e-290


@dataclass(frozen=True)
class NormalRows:
    """A normal distribution of rows."""

    mean: NDArray  # (d,)
    covariance: NDArray  # (d, d)
    share: float = 0.0  # by which its correlations are smaller
    of_sample: NDArray | None = None  # (d, d), the covariance that they were before

    def completed(self, X: NDArray, weight: NDArray | None) -> tuple[NDArray, Moments]:
        """Return rows with what is expected in place of NaN, and their moments.

        The moments are expected ones: those of the means, and what is uncertain.
        """
        return self.completed_rows(IncompleteRows(X, weight))

    def completed_rows(self, rows: IncompleteRows) -> tuple[NDArray, Moments]:
        """Return the same of rows that have been sorted out before."""
        w, mean = rows.weight, self.mean
        filled = np.where(rows.known, rows.X - mean, 0.0)
        expected, uncertain = rows.given(self.covariance, filled)
        filled += expected
        weight = float(w.sum())
        moved = w @ filled / weight
        scatter = (w[:, None] * filled).T @ filled + uncertain
        scatter -= weight * np.outer(moved, moved)
        return filled + mean, Moments(weight, mean + moved, scatter)


# What a covariance may be


@dataclass(frozen=True)
class Constraint:
    """What a covariance may be: of probabilistic PCA, or of smaller correlations."""

    share: float = 0.0
    n_axes: int | None = None

    def of(self, covariance: NDArray) -> NDArray:
        """Return the nearest such covariance, shape (d, d)."""
        if self.n_axes is None:
            return shrunk(covariance, self.share)
        variances, axes = np.linalg.eigh(covariance)
        n_left = len(variances) - self.n_axes
        noise = max(float(variances[:n_left].mean()), 0.0) if n_left else 0.0
        loadings = axes[:, n_left:] * np.sqrt(np.maximum(variances[n_left:] - noise, 0))
        return loadings @ loadings.T + noise * np.eye(len(variances))

    def normal(self, moments: Moments) -> NormalRows:
        """Return the normal distribution that is the likeliest."""
        found = unbiased(moments)
        return NormalRows(moments.mean, floored(self.of(found)), self.share, found)


def unbiased(moments: Moments) -> NDArray:
    """Return the covariance of rows, (d, d), 0 where a column is constant."""
    found = moments.scatter / max(moments.n - 1, 1)
    constant = np.diagonal(found) <= (ROUNDING * moments.mean) ** 2
    found[constant] = found[:, constant] = 0.0
    return found


def shrunk(covariance: NDArray, share: float) -> NDArray:
    """Return a covariance with correlations that are smaller by a share."""
    smaller = (1 - share) * covariance
    np.fill_diagonal(smaller, np.diagonal(covariance))
    return smaller


def variance_floor(variance: NDArray) -> float:
    """Return the smallest sound variance, given those of all columns."""
    mean = float(variance.mean())
    return VARIANCE_FLOOR * (mean if mean > SMALLEST else 1.0)


def floored(covariance: NDArray) -> NDArray:
    """Return a covariance that can be inverted, whatever the units of the columns."""
    variance = np.diagonal(covariance)
    most = float(variance.max(initial=0.0))
    if most <= SMALLEST:
        return covariance + variance_floor(variance) * np.eye(len(covariance))
    floor = np.maximum(VARIANCE_FLOOR * variance, ROUNDING * most)
    return covariance + np.diag(floor)


# EM


def first_guess(X: NDArray, weight: NDArray | None) -> NormalRows:
    """Return the normal distribution that the known pairs of cells suggest."""
    known = ~np.isnan(X)
    w = known * (1.0 if weight is None else weight[:, None])
    n = np.maximum(w.sum(0), np.finfo(float).tiny)
    mean = np.where(known, X * w, 0.0).sum(0) / n
    centred = np.where(known, X - mean, 0.0)
    variance = (w * centred**2).sum(0) / n
    pairs = np.maximum(w.T @ known, np.finfo(float).tiny)
    root = np.sqrt(np.maximum(variance, variance_floor(variance)))
    correlation = (w * centred).T @ centred / pairs / root[:, None] / root
    values, axes = np.linalg.eigh(correlation)
    covariance = (axes * np.maximum(values, 1e-3)) @ axes.T * root[:, None] * root
    return NormalRows(mean, floored(shrunk(covariance, 0.1)), 0.1, covariance)


def fit_normal(
    rows: IncompleteRows,
    constraint: Constraint,
    guess: NormalRows,
    n_iter: int = N_ITER,
) -> NormalRows:
    """Return the normal distribution of incomplete rows.

    It ends when no correlation changes by more than `TOL`.
    """
    normal = guess
    for _ in range(n_iter):
        before = normal
        normal = constraint.normal(before.completed_rows(rows)[1])
        variance = np.diagonal(normal.covariance)  # of a constant column rounding
        root = np.sqrt(np.maximum(variance, variance_floor(variance)))
        change = np.abs(normal.covariance - before.covariance) / root / root[:, None]
        if change.max() < TOL:
            break
    return normal


def _next_normal(
    normal: NormalRows, X: Any, weight: NDArray | None, constraint: Constraint
) -> NormalRows:
    moments = None
    for part in row_chunks(X):
        rows = as_dense(X[part]).astype(np.float64, copy=False)
        own = normal.completed(rows, None if weight is None else weight[part])[1]
        moments = own if moments is None else moments + own
    assert moments is not None
    return constraint.normal(moments)


def hidden_cells(
    X: NDArray, rng: Generator, block: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Return rows with some known cells hidden, and which, both of shape (n, d).

    Columns of the same `block`, of shape (d,), are hidden together.
    """
    block = np.arange(X.shape[1]) if block is None else block
    draws = rng.uniform(size=(len(X), int(block.max()) + 1))[:, block]
    hidden = ~np.isnan(X) & (draws < HIDDEN_SHARE)
    return np.where(hidden, np.nan, X), hidden


def distinct_sample(
    X: NDArray, weight: NDArray | None, n_rows: int, rng: Generator
) -> tuple[NDArray, NDArray | None]:
    """Return some distinct rows: in a copy, what is hidden from a row could be seen."""
    rows, weight = sample_rows(X, weight, n_rows, rng)
    normal = first_guess(rows, weight)
    scale = float(np.sqrt(np.diagonal(normal.covariance).mean()))
    hashes = row_hashes(rows, normal.mean, scale if scale > 0 else 1.0)
    distinct = distinct_rows(hashes, weight, None)
    return rows[np.sort(distinct.rows)], _in_order(distinct)


def _in_order(distinct: DistinctRows) -> NDArray | None:
    """Return the weights of distinct rows, in the order of the table."""
    if distinct.weight is None:
        return None
    return distinct.weight[np.argsort(distinct.rows)]


def choose_shrinkage(
    X: NDArray,
    weight: NDArray | None,
    rng: Generator,
    blocks: Sequence[NDArray | None] = (None,),
) -> tuple[float, NormalRows]:
    """Return the share by which correlations are smaller, and what has been found.

    Cells are hidden by each of some `blocks`, of which the first matter most.
    """
    rows, weight = distinct_sample(X, weight, CHOOSING_ROWS, rng)
    normal = first_guess(rows, weight)
    if len(rows) < MIN_ROWS:
        return few_rows_share(rows, weight, normal), normal
    deviation = np.sqrt(np.diagonal(normal.covariance))
    draws = int(np.clip(CHOOSING_CELLS / rows.size, 1, MOST_DRAWS))
    # For each way to hide, and each draw: the rows, what is hidden, and the last fit.
    tried = []
    for block in blocks:
        hidings = [hidden_cells(rows, rng, block) for _ in range(draws)]
        tried.append([(IncompleteRows(a, weight), b, normal) for a, b in hidings])
    fits: list[tuple[float, NormalRows]] = []
    losses: list[list[NDArray]] = [[] for _ in blocks]
    for share in SHRINKAGES:
        for of_way, so_far in zip(tried, losses, strict=True):
            loss = np.zeros(len(rows))
            for i, (shown, hidden, before) in enumerate(of_way):
                fit = fit_normal(shown, Constraint(share), before, CHOOSING_ITER)
                error = (fit.completed_rows(shown)[0] - rows) / deviation
                loss += np.where(hidden, error**2, 0.0).sum(1)
                of_way[i] = shown, hidden, fit
            so_far.append(loss)
        fits.append((share, tried[0][0][2]))
        sums = np.sum(losses, axis=2)
        if (sums[:, -1] > PATIENCE * sums.min(axis=1)).all():
            break
    return fits[strongest(*losses)]


def few_rows_share(rows: NDArray, weight: NDArray | None, normal: NormalRows) -> float:
    """Return the share that the correlations of few rows suggest.

    It is that of oracle approximating shrinkage (Chen et al. 2010), with means in place
    of NaN.
    """
    deviation = np.sqrt(np.diagonal(normal.covariance))
    z = np.where(np.isnan(rows), 0.0, (rows - normal.mean) / deviation)
    correlation = np.cov(z, rowvar=False, bias=True, aweights=weight)
    (n, d), correlation = z.shape, np.atleast_2d(correlation)
    n = n if weight is None else max(n, weight.sum())  # a row may stand for several
    squares, square = (correlation**2).mean(), (np.trace(correlation) / d) ** 2
    beyond = (n + 1) * (squares - square / d)  # 0 where nothing is correlated
    return float(min((squares + square) / beyond, 1.0)) if beyond > 0 else 1.0


def strongest(*losses: list[NDArray]) -> int:
    """Return the first of some choices that chance may have made worse than the best.

    Parameters
    ----------
    *losses : list of ndarray of shape (n,)
        Of the same rows, by each choice. Further ones decide among the choices that
        are hardly worse, or by chance, by the ones before.
    """
    left = list(range(len(losses[0])))
    for i, by_choice in enumerate(losses, 1):
        best = min((by_choice[j] for j in left), key=np.sum)
        least = HARDLY * best.mean() if i < len(losses) else 0.0
        worse = {j: by_choice[j] - best for j in left}
        chance = {j: CHANCE * w.std() / len(w) ** 0.5 for j, w in worse.items()}
        left = [j for j in left if worse[j].mean() <= max(chance[j], least)]
    return left[0]


def normal_of_rows(
    X: Any,
    weight: NDArray | None,
    k: int | None,
    rng: Generator,
    share: float | None = None,
    blocks: Sequence[NDArray | None] = (None,),
) -> NormalRows:
    """Return the normal distribution of a table, of probabilistic PCA with `k` axes.

    Of a large table `EM_ROWS` rows are gone over again and again, and all rows once.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        A table on disk is read in chunks.
    weight : ndarray of shape (n_samples,) or None
    k : int or None
        None: any covariance, with correlations that are smaller.
    rng : numpy.random.Generator
    share : float or None
        By how much they are; None: as hidden cells choose.
    blocks : sequence of ndarray of int of shape (n_features,)
        Cells of the same block are hidden together for that, in each of these ways.
    """
    rows, w = sample_rows(X, weight, EM_ROWS, rng)
    rows = rows.astype(np.float64, copy=False)
    if k is None and share is None:
        share, guess = choose_shrinkage(rows, w, rng, blocks)
    else:
        guess = first_guess(rows, w)
    constraint = Constraint(share or 0.0) if k is None else Constraint(n_axes=k)
    normal = fit_normal(IncompleteRows(rows, w), constraint, guess)
    if len(rows) < X.shape[0]:
        normal = _next_normal(normal, X, weight, constraint)
    return normal
