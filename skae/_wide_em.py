"""Probabilistic PCA of wide tables in which cells are missing, by EM.

The codes of rows are completed in place of the rows (Tipping & Bishop 1999; Ilin &
Raiko 2010); see ``_em.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.utils.extmath import svd_flip

from ._dataset import as_dense, row_chunks, sample_rows
from ._em import (
    CHOOSING_ITER,
    EM_ROWS,
    MIN_ROWS,
    N_ITER,
    PATIENCE,
    TOL,
    VARIANCE_FLOOR,
    distinct_sample,
    hidden_cells,
)
from ._missing import CHUNK_NUMBERS, MissingCells

# Numbers of axes, of which known cells choose that are hidden in so many rows: the more
# rows, the more axes.
RANKS, RANK_ROWS = (1, 2, 4, 8, 16, 32, 64), 4000
MOST_NUMBERS = 2**26  # of the sums over rows: 512 MB


@dataclass(frozen=True)
class Factors:
    """Probabilistic PCA by its loadings."""

    mean: NDArray  # (d,)
    loadings: NDArray  # (d, k)
    noise: float

    def expected(self, X: NDArray) -> NDArray:
        """Return rows with what is expected in place of NaN, shape (n, d)."""
        known = ~np.isnan(X)
        noise = np.full(len(self.mean), self.noise)
        missing = MissingCells(self.loadings, noise)
        return missing.expected(X - self.mean, known) + self.mean

    def axes(self) -> tuple[NDArray, NDArray]:
        """Return principal axes, (k, d), and the variances along them, (k,)."""
        U, singular, _ = np.linalg.svd(self.loadings, full_matrices=False)
        axes = svd_flip(None, U.T, u_based_decision=False)[1]
        return axes, singular**2 + self.noise


def first_factors(X: NDArray, weight: NDArray | None, k: int) -> Factors:
    """Return probabilistic PCA of rows with means in place of NaN."""
    known = ~np.isnan(X)
    w = known * (1.0 if weight is None else weight[:, None])
    mean = np.where(known, X * w, 0.0).sum(0) / np.maximum(w.sum(0), 1e-300)
    centred = np.where(known, X - mean, 0.0)
    if weight is not None:
        centred *= np.sqrt(weight / weight.mean())[:, None]
    n, d = X.shape
    singular, axes = np.linalg.svd(centred, full_matrices=False)[1:]
    variances = singular**2 / max(n - 1, 1)
    noise = variances[k:].sum() / max(min(n, d) - k, 1)
    floor = VARIANCE_FLOOR * max(variances.sum() / d, np.finfo(float).tiny)
    root = np.sqrt(np.maximum(variances[:k] - noise, floor))
    return Factors(mean, axes[:k].T * root, max(noise, floor))


def fit_factors(X: Any, weight: NDArray | None, guess: Factors, n_iter: int) -> Factors:
    """Return probabilistic PCA of rows, shape (n, d), of which some cells are NaN."""
    factors = guess
    for _ in range(n_iter):
        before, factors = factors, _next_factors(factors, X, weight)
        if abs(factors.noise - before.noise) < TOL * before.noise:
            break
    return factors


def _next_factors(factors: Factors, X: Any, weight: NDArray | None) -> Factors:
    d, k = factors.loadings.shape
    missing = MissingCells(factors.loadings, np.full(d, factors.noise))
    # Of each column over the rows where it is known: weights, x, z, x z, z z', x x.
    counts, totals, squares = np.zeros(d), np.zeros(d), np.zeros(d)
    of_codes, cross = np.zeros((d, k)), np.zeros((d, k))
    products = np.zeros((d, k * k))
    for rows, w in _parts(X, weight, max(k * k, d)):
        known = ~np.isnan(rows)
        x = np.where(known, rows - factors.mean, 0.0)
        codes, uncertain = missing.posterior(x, known)
        second = codes[:, :, None] * codes[:, None, :] + uncertain
        o = known * (1.0 if w is None else w[:, None])
        counts += o.sum(0)
        totals += (o * x).sum(0)
        squares += (o * x**2).sum(0)
        of_codes += o.T @ codes
        cross += (o * x).T @ codes
        products += o.T @ second.reshape(len(rows), -1)
    n = np.maximum(counts, np.finfo(float).tiny)
    # The regression of each column on codes and 1, by codes less their means.
    mean_codes, mean_x = of_codes / n[:, None], totals / n
    gram = products.reshape(d, k, k) - n[:, None, None] * (
        mean_codes[:, :, None] * mean_codes[:, None, :]
    )
    gram += (
        np.eye(k)
        * (1e-6 * np.trace(gram, axis1=1, axis2=2) / k + 1e-300)[:, None, None]
    )
    product = cross - totals[:, None] * mean_codes
    loadings = np.linalg.solve(gram, product[:, :, None])[:, :, 0]
    shift = mean_x - (loadings * mean_codes).sum(1)
    rest = squares - n * mean_x**2 - (loadings * product).sum(1)
    noise = max(rest.sum() / counts.sum(), 0.0)
    floor = VARIANCE_FLOOR * max(squares.sum() / counts.sum(), np.finfo(float).tiny)
    return Factors(factors.mean + shift, loadings, max(noise, floor))


def _parts(
    X: Any, weight: NDArray | None, numbers: int
) -> Iterator[tuple[NDArray, NDArray | None]]:
    for part in row_chunks(X, 8 * X.shape[1] * max(1, CHUNK_NUMBERS // numbers)):
        rows = as_dense(X[part]).astype(np.float64, copy=False)
        yield rows, None if weight is None else weight[part]


def factors_of_rows(
    X: Any,
    weight: NDArray | None,
    k: int | None,
    rng: Generator,
    block: NDArray | None = None,
) -> Factors:
    """Return probabilistic PCA of a wide table; see :func:`normal_of_rows`.

    With ``k=None`` hidden cells choose the number of axes.
    """
    rows, w = sample_rows(X, weight, EM_ROWS, rng)
    rows = rows.astype(np.float64, copy=False)
    most = min(*rows.shape)
    if k is None:
        k = choose_rank(rows, w, rng, block)
    if len(rows[0]) * k**2 > MOST_NUMBERS:
        most = int((MOST_NUMBERS / len(rows[0])) ** 0.5)
        raise ValueError(
            f"n_components={k} must be at most {most} for {len(rows[0])} columns with "
            "missing cells; None finds a number."
        )
    factors = fit_factors(rows, w, first_factors(rows, w, min(k, most)), N_ITER)
    if len(rows) < X.shape[0]:
        factors = _next_factors(factors, X, weight)
    return factors


def choose_rank(
    X: NDArray, weight: NDArray | None, rng: Generator, block: NDArray | None = None
) -> int:
    """Return the number of axes by which hidden cells are completed best."""
    rows, weight = distinct_sample(X, weight, RANK_ROWS, rng)
    most = min(len(rows) - 1, rows.shape[1])
    if len(rows) < MIN_ROWS:
        return max(most, 1)
    shown, hidden = hidden_cells(rows, rng, block)
    best, chosen = np.inf, 1
    for k in RANKS:
        if k > most:
            break
        guess = first_factors(shown, weight, k)
        factors = fit_factors(shown, weight, guess, CHOOSING_ITER)
        error = factors.expected(shown) - rows
        loss = float((error[hidden] ** 2).mean()) if hidden.any() else 0.0
        if loss < best:
            best, chosen = loss, k
        if loss > PATIENCE * best:
            break
    return chosen
