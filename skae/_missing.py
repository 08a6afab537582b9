"""What a normal distribution says of the cells of a row that are missing.

With the loadings W of the known cells o of a row and the noise s2 (Tipping & Bishop
1999), the codes given these cells are normal:

    M = sum_j o_j w_j w_j' + s2 I,    z = M^-1 W' (o * x),    covariance s2 M^-1,

and a missing cell is expected to be ``w_j' z``. Where every column has a noise of its
own, the same holds of the cells in units of it. Tables mark such cells by NaN, and so
does padding, the missing end of a short series. Behind the door, which is the check of
the rows, everything works on rows that are filled and the mask of what is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import truncnorm

CHUNK_NUMBERS = 2**18  # of the matrices of some rows: 2 MB


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
    w = known * (1.0 if weight is None else weight[:, None].astype(np.float64))
    n, total = w.sum(0), np.where(known, X * w, 0).sum(0)
    return np.where(known, X, np.where(n, total / np.maximum(n, 1e-300), otherwise))


def truncated(
    mean: NDArray, deviation: NDArray, limits: NDArray, rng: Generator
) -> NDArray:
    """Return draws of normal distributions that are truncated, shape (n,).

    Where the `limits`, of shape (2, n), are too far off for that it is the nearest one.
    """
    with np.errstate(all="ignore"):
        ends = (limits - mean) / deviation
        drawn = truncnorm.ppf(rng.uniform(size=mean.shape), *ends) * deviation + mean
    return np.where(np.isfinite(drawn), drawn, np.clip(mean, *limits))


class MissingCells:
    """What is expected in the missing cells of rows, and how likely the known ones are.

    Rows are normal with covariance ``W W' + diag(v)``.

    Parameters
    ----------
    loadings : ndarray of shape (d, k)
        W.
    noise : ndarray of shape (d,)
        Variance v of each column beside it, above 0.
    """

    def __init__(self, loadings: NDArray, noise: NDArray) -> None:
        self.loadings, self.noise = loadings, noise
        root = np.sqrt(noise)[:, None]
        self._scaled = loadings / root  # (d, k), V
        self._weighted = self._scaled / root  # (d, k)

    @classmethod
    def of_axes(cls, axes: NDArray, variance: NDArray, noise: float) -> MissingCells:
        """Return those of probabilistic PCA.

        Parameters
        ----------
        axes : ndarray of shape (k, d)
            Principal axes.
        variance : ndarray of shape (k,)
            Variance along each.
        noise : float
            Variance in each of the other directions.
        """
        root = np.sqrt(np.maximum(variance - noise, 0))
        return cls(axes.T * root, np.full(axes.shape[1], noise))

    def posterior(self, centred: NDArray, known: NDArray) -> tuple[NDArray, NDArray]:
        """Return the means, (n, k), and covariances, (n, k, k), of the codes of rows.

        They are those given the known cells of `centred` rows.
        """
        x = np.where(known, centred, 0.0)
        n, k = len(x), self.loadings.shape[1]
        codes, covariance = np.empty((n, k)), np.empty((n, k, k))
        for rows, which, precision in self._patterns(known):
            covariance[rows] = np.linalg.inv(precision)[which]
            products = x[rows] @ self._weighted
            codes[rows] = (covariance[rows] @ products[:, :, None])[..., 0]
        return codes, covariance

    def codes(self, centred: NDArray, known: NDArray) -> NDArray:
        """Return the posterior means of the codes given the known cells, (n, k)."""
        x = np.where(known, centred, 0.0)
        codes = np.empty((len(x), self.loadings.shape[1]))
        for rows, which, precision in self._patterns(known):
            products = (x[rows] @ self._weighted)[:, :, None]
            if 2 * len(precision) < len(which):  # rows share patterns
                found = np.linalg.inv(precision)[which] @ products
            else:
                found = np.linalg.solve(precision[which], products)
            codes[rows] = found[..., 0]
        return codes

    def expected(self, centred: NDArray, known: NDArray) -> NDArray:
        """Return the posterior means of missing cells beside the known ones, (n, d).

        `centred` are rows less the mean, with anything in the missing cells.
        """
        filled = self.codes(centred, known) @ self.loadings.T
        return np.where(known, centred, filled.astype(centred.dtype))

    def posterior_variance(self, known: NDArray) -> NDArray:
        """Return the variance of each code given the known cells, shape (n, k)."""
        variance = np.empty((len(known), self.loadings.shape[1]))
        for rows, which, precision in self._patterns(known):
            inverse = np.linalg.inv(precision)
            variance[rows] = np.diagonal(inverse, axis1=1, axis2=2)[which]
        return variance

    def draws(self, filled: NDArray, known: NDArray, rng: Generator) -> NDArray:
        """Return rows with missing cells drawn given the known ones, (n, d).

        Parameters
        ----------
        filled : ndarray of shape (n, d)
            Rows, in any place, with what is expected in their missing cells.
        known : ndarray of shape (n, d)
        rng : numpy.random.Generator
        """
        drawn = filled.copy()
        for rows, which, precision in self._patterns(known):
            k = precision.shape[1]
            # M = C C' and z ~ N(0, M^-1) are C'^-1 e.
            root = np.linalg.cholesky(precision)[which]
            normal = rng.standard_normal((len(which), k, 1))
            codes = np.linalg.solve(np.swapaxes(root, 1, 2), normal)[..., 0]
            noise = rng.standard_normal(filled[rows].shape) * np.sqrt(self.noise)
            drawn[rows] += np.where(known[rows], 0.0, codes @ self.loadings.T + noise)
        return drawn

    def deviations(self, known: NDArray) -> NDArray:
        """Return the deviation of each cell given the known ones, shape (n, d)."""
        variance = np.empty(known.shape)
        for rows, which, precision in self._patterns(known):
            of_codes = np.linalg.inv(precision)
            variance[rows] = ((self.loadings @ of_codes) * self.loadings).sum(-1)[which]
        return np.sqrt(variance + self.noise)

    def score_samples(self, centred: NDArray, known: NDArray) -> NDArray:
        """Return the log-likelihood of the known cells in nats, shape (n,)."""
        x = np.where(known, centred, 0.0).astype(np.float64)
        codes = self.codes(x, known)
        # The least of |x - W z|^2 / v + |z|^2, so that errors of z hardly matter.
        residual = np.where(known, x - codes @ self.loadings.T, 0.0)
        scores = residual**2 @ (1 / self.noise) + (codes**2).sum(1)
        scores += known @ np.log(2 * np.pi * self.noise)
        for rows, which, precision in self._patterns(known):
            scores[rows] += np.linalg.slogdet(precision)[1][which]
        return -0.5 * scores

    def _patterns(self, known: NDArray) -> Iterator[tuple[slice, NDArray, NDArray]]:
        """Yield some rows, the pattern of each, (n,), and M of the patterns, (p, k, k).

        In units of the noise it is ``I + sum_j o_j v_j v_j'``.
        """
        d, k = self.loadings.shape
        step = max(1, CHUNK_NUMBERS // max(k * k, k * d, 1))
        for start in range(0, len(known), step):
            rows = slice(start, start + step)
            packed = np.packbits(known[rows], axis=1)
            patterns, which = np.unique(packed, axis=0, return_inverse=True)
            masks = np.unpackbits(patterns, axis=1, count=d)
            precision = (self._scaled.T * masks[:, None, :]) @ self._scaled
            precision += np.eye(k)
            yield rows, which.ravel(), precision
