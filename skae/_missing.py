"""What probabilistic PCA says of the cells of a row that are missing.

With the loadings W of the known cells o of a row and the noise s2 (Tipping & Bishop
1999), the codes given these cells are normal:

    M = sum_j o_j w_j w_j' + s2 I,    z = M^-1 W' (o * x),    covariance s2 M^-1,

and a missing cell is expected to be ``w_j' z``. Tables mark such cells by NaN, and so
does padding, the missing end of a short series. Behind the door, which is the check of
the rows, everything works on rows that are filled and the mask of what is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def known_cells(X: NDArray) -> NDArray | None:
    """Return which cells are known, shape (n, d), or None if all are."""
    if not np.isnan(X.sum()):  # much quicker than a mask
        return None
    return ~np.isnan(X)


def mean_filled(X: NDArray, weight: NDArray | None, otherwise: Any = 0.0) -> NDArray:
    """Return rows with the mean of the column in place of NaN.

    Columns of NaN only get the value `otherwise`.
    """
    known = known_cells(X)
    if known is None:
        return X
    w = known * (1.0 if weight is None else weight[:, None])
    n, total = w.sum(0), np.where(known, X * w, 0).sum(0)
    return np.where(known, X, np.where(n, total / np.maximum(n, 1e-300), otherwise))


class MissingCells:
    """What is expected in the missing cells of rows, and how likely the known ones are.

    Parameters
    ----------
    axes : ndarray of shape (k, d)
        Principal axes.
    variance : ndarray of shape (k,)
        Variance along each.
    noise : float
        Variance in each of the other directions.
    """

    def __init__(self, axes: NDArray, variance: NDArray, noise: float) -> None:
        self.noise = noise
        root = np.sqrt(np.maximum(variance - noise, 0))
        self.loadings = axes.T * root  # (d, k)

    def expected(self, centred: NDArray, known: NDArray) -> NDArray:
        """Return the posterior means of missing cells beside the known ones, (n, d).

        `centred` are rows less the mean, with anything in the missing cells.
        """
        x = np.where(known, centred, 0.0)
        filled = x.copy()
        for rows, mask, precision in self._patterns(known):
            z = np.linalg.solve(precision, (x[rows] @ self.loadings).T).T
            filled[rows] = np.where(mask, x[rows], z @ self.loadings.T)
        return filled

    def posterior_variance(self, known: NDArray) -> NDArray:
        """Return the variance of each code given the known cells, shape (n, k)."""
        variance = np.empty((len(known), self.loadings.shape[1]))
        for rows, _, precision in self._patterns(known):
            variance[rows] = self.noise * np.diagonal(np.linalg.inv(precision))
        return variance

    def score_samples(self, centred: NDArray, known: NDArray) -> NDArray:
        """Return the log-likelihood of the known cells in nats, shape (n,)."""
        x = np.where(known, centred, 0.0).astype(np.float64)
        scores = np.empty(len(x))
        for rows, mask, precision in self._patterns(known):
            products = x[rows] @ self.loadings  # (rows, k)
            codes = np.linalg.solve(precision, products.T).T
            squares = (x[rows] ** 2).sum(1) - (products * codes).sum(1)
            n_known = int(mask.sum())
            log_det = np.linalg.slogdet(precision)[1]
            log_det += (n_known - len(precision)) * np.log(self.noise)
            constant = log_det + n_known * np.log(2 * np.pi)
            scores[rows] = -0.5 * (squares / self.noise + constant)
        return scores

    def _patterns(self, known: NDArray) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
        """Yield row numbers, their pattern of known cells, (d,), and its M, (k, k)."""
        packed = np.packbits(known, axis=1)
        patterns, inverse = np.unique(packed, axis=0, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(inverse.ravel()))[:-1])
        d, k = self.loadings.shape
        noise = self.noise * np.eye(k)
        for i, pattern in enumerate(np.unpackbits(patterns, axis=1, count=d)):
            mask = pattern.astype(bool)
            part = self.loadings[mask]
            yield rows[i], mask, part.T @ part + noise
