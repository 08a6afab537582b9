"""How likely a cell is missing, given the rest of its row.

A network that completes rows is trained on known cells. Where cells are not missing
completely at random, known ones are found in other rows than missing ones: by the odds
that a cell like it is missing, a known cell stands for those (Rosenbaum & Rubin 1983).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Share of the variance of a column that is added to it.
RIDGE = 1e-3
# Known cells count at most so many times more, or less, than by their column alone.
MOST_ODDS = 10.0
# The least variance within the rows with and without a value, as a share of all.
LEAST_WITHIN = 0.05
# Rows with a value in a column, and without one, of which there must be so many.
LEAST_CELLS = 2
# Less than that share of a mean, or of the largest deviation, is a rounding error.
CONSTANT = 1e-10


@dataclass(frozen=True)
class Propensity:
    """How much likelier a cell is missing in one row than in another.

    The logarithm of the odds, in relation to a column's, is ``X @ slopes - level``.
    """

    slopes: NDArray  # (d, d), a column for each column, 0 for what it says of itself
    level: NDArray  # (d,)
    mean_odds: NDArray  # (d,), of the known cells

    @classmethod
    def of_rows(
        cls, X: NDArray, missing: NDArray, weight: NDArray | None
    ) -> Propensity:
        """Return linear discriminants of completed rows.

        The difference of the rows with and without a value in a column is made smaller
        by as much of it as chance explains (James & Stein 1961): to nothing, mostly,
        where cells are missing completely at random.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        missing : ndarray of bool of shape (n, d)
        weight : ndarray of shape (n,) or None
        """
        w = np.ones(len(X)) if weight is None else weight
        w = w * max(1, len(w) / w.sum())  # which is how many rows there are, at least
        total, mean = w.sum(), np.average(X, axis=0, weights=w)
        scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
        least = CONSTANT * np.maximum(np.abs(mean), scale.max())
        scale = np.where(scale > least, scale, scale.max() or 1.0)
        Z = (X - mean) / scale
        n_missing, n_known = w @ missing, w @ ~missing
        sums = (w[:, None] * missing).T @ Z  # (d, d), of the rows without each column
        by_missing, by_known = (1 / np.where(n > 0, n, 1) for n in (n_missing, n_known))
        of_missing, of_known = sums * by_missing[:, None], -sums * by_known[:, None]
        difference = of_missing - of_known
        d = X.shape[1]
        precision = np.linalg.inv((w[:, None] * Z).T @ Z / total + RIDGE * np.eye(d))
        slopes = difference @ precision  # a row for each column
        own = np.diagonal(slopes) / np.diagonal(precision)
        slopes -= own[:, None] * precision  # without the column itself
        np.fill_diagonal(slopes, 0)  # but for rounding
        distance = (slopes * difference).sum(1)
        # What varies between the rows with and without a value is part of the variance.
        share = n_missing / total
        within = np.maximum(1 - share * (1 - share) * distance, LEAST_WITHIN)
        chance = (d - 1) * (by_missing + by_known)
        beyond = 1 - chance * within / np.where(distance > 0, distance, 1)
        is_few = np.minimum(n_missing, n_known) < LEAST_CELLS
        kept = np.where(is_few | (distance <= 0), 0.0, np.maximum(beyond, 0))
        slopes *= (kept / within)[:, None]
        level = (slopes * (of_known + mean / scale)).sum(1)
        found = cls(slopes.T / scale[:, None], level, np.ones(d))
        sums = (w[:, None] * ~missing * found.odds(X)).sum(0)
        return replace(found, mean_odds=np.where(n_known > 0, sums * by_known, 1.0))

    def odds(self, X: NDArray) -> NDArray:
        """Return the odds in relation to those of the columns, shape (n, d)."""
        most = np.log(MOST_ODDS)
        return np.exp(np.clip(X @ self.slopes - self.level, -most, most))
