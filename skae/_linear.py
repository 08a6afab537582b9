"""The start at PCA: the best linear autoencoder, in closed form.

With ``x~ = (x - mean) / scale`` and one scalar ``scale``, let ``U`` be the principal
axes of the rows and ``L`` their variances. Then ``u = L^-1/2 U' x~`` is the whitened
code and ``x^ = U L^1/2 u`` its reconstruction, and no linear map does better (Bourlard
& Kamp 1988; Baldi & Hornik 1989). How ``U`` and ``L`` are found is in ``_solvers.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Directions with less than this share of the first one's variance carry rounding
# errors, not data: whitening does not blow them up any further.
RANK_TOLERANCE = 1e-9
# The same for a density, which is computed in float64 and by PCA's own axes.
DENSITY_TOLERANCE = 1e-15
# What the rows of earlier batches count, less with every further batch.
KEPT_OF_EARLIER = 0.9


@dataclass(frozen=True)
class LinearStart:
    """PCA of the training rows, under PCA's own names."""

    mean: NDArray  # (d,)
    components: NDArray  # (k, d)
    explained_variance: NDArray  # (k,)
    explained_variance_ratio: NDArray  # (k,)
    noise_variance: float
    scale: float
    encoding: NDArray | None = None  # (k, d): the encoder, if not the axes themselves

    @property
    def n_components(self) -> int:
        """Number of principal axes, k."""
        return len(self.components)

    @property
    def code_scale(self) -> NDArray:
        """Standard deviation by which each code is whitened, shape (k,)."""
        variance = np.asarray(self.explained_variance, dtype=np.float64)
        floor = RANK_TOLERANCE * variance.max(initial=0.0)
        return np.sqrt(np.maximum(variance, floor if floor > 0 else 1.0))

    @property
    def sound_variances(self) -> tuple[NDArray, float]:
        """Variances of the codes, shape (k,), and of the noise: more than rounding."""
        variance = np.asarray(self.explained_variance, dtype=np.float64)
        floor = max(DENSITY_TOLERANCE * variance.max(), np.finfo(float).tiny)
        return np.maximum(variance, floor), max(self.noise_variance, floor)

    def padded(self, n_components: int) -> LinearStart:
        """Return the same start with empty axes up to `n_components`."""
        missing = max(n_components - self.n_components, 0)
        zeros, below = np.zeros(missing), ((0, missing), (0, 0))
        encoding = self.encoding
        return replace(
            self,
            components=np.pad(self.components, below),
            encoding=None if encoding is None else np.pad(encoding, below),
            explained_variance=np.append(self.explained_variance, zeros),
            explained_variance_ratio=np.append(self.explained_variance_ratio, zeros),
        )

    def transform(self, X: NDArray) -> NDArray:
        """Return PCA's codes of dense rows, shape (n, k), in the dtype of X.

        NaN at the end, the padding of a short series, counts as what probabilistic PCA
        expects there, given the rest of the row.
        """
        centred, axes = X - self.mean.astype(X.dtype), self.components.T.astype(X.dtype)
        codes = centred @ axes
        if not np.isnan(codes).any():
            return codes
        codes = np.nan_to_num(centred, nan=0.0) @ axes
        for rows, n_known in by_known(X):
            fill = Completion(self, n_known).fill(self.components)
            codes[rows] += (codes[rows] @ fill.T).astype(X.dtype)
        return codes

    def inverse_transform(self, codes: NDArray) -> NDArray:
        """Return PCA's reconstructions, shape (n, d), in the dtype of the codes."""
        mean = self.mean.astype(codes.dtype)
        return codes @ self.components.astype(codes.dtype) + mean

    def score_samples(self, X: Any) -> NDArray:
        """Return PCA's log-likelihood of dense rows in nats, shape (n,).

        It is a code term plus a residual term (Tipping & Bishop 1999). Variances are
        not taken to be smaller than rounding errors.
        """
        if np.isnan(X).any():
            return self._score_known(X)
        variance, noise = self.sound_variances
        codes = self.transform(X)
        residual = X - self.inverse_transform(codes)
        n_residual = X.shape[1] - self.n_components
        return gaussian_log_density(codes, variance) + residual_log_density(
            residual, noise, n_residual
        )

    def _score_known(self, X: NDArray) -> NDArray:
        """Return the log-likelihood of what is known of rows that end in NaN."""
        scores = np.empty(len(X))
        for rows, n_known in by_known(X):
            if n_known == X.shape[1]:
                scores[rows] = self.score_samples(X[rows])
            else:
                centred = X[rows] - self.mean
                scores[rows] = Completion(self, n_known).score_samples(centred)
        return scores


class Completion:
    """What probabilistic PCA knows of rows of which only the first entries are known.

    With the loadings ``W = U (L - s2)^1/2`` of the known entries, the codes given these
    are normal with the precision ``M / s2``, ``M = W' W + s2 I``, and the mean
    ``M^-1 W' x`` (Tipping & Bishop 1999). All is in units of `scale`.
    """

    def __init__(self, start: LinearStart, n_known: int, scale: float = 1.0) -> None:
        variance, noise = start.sound_variances
        noise = max(noise, RANK_TOLERANCE * variance[0])  # to keep some digits
        self.n_known = n_known
        self.noise = noise / scale**2
        self.root = np.sqrt(np.maximum(variance - noise, 0)) / scale  # (k,)
        self.loadings = start.components.T * self.root  # (d, k)
        known = self.loadings[:n_known]
        self.precision = known.T @ known + self.noise * np.eye(len(self.root))  # M

    def fill(self, encoding: NDArray) -> NDArray:
        """Return what the expected entries add to the code, shape (k_out, k).

        It is a linear map of ``U' x``, with 0 for unknown entries; `encoding`, of shape
        (k_out, d), is the map from whole rows to codes.
        """
        unknown = encoding[:, self.n_known :] @ self.loadings[self.n_known :]
        return unknown @ np.linalg.solve(self.precision, np.diag(self.root))

    @property
    def posterior_variance(self) -> NDArray:
        """Variances of the codes given the known entries, shape (k,)."""
        return self.noise * np.diagonal(np.linalg.inv(self.precision))

    def score_samples(self, centred: NDArray) -> NDArray:
        """Return the log-likelihood of the known entries in nats, shape (n,)."""
        x = centred[:, : self.n_known].astype(np.float64)
        products = x @ self.loadings[: self.n_known]
        codes = np.linalg.solve(self.precision, products.T).T
        squares = (x**2).sum(1) - (products * codes).sum(1)
        log_det = np.linalg.slogdet(self.precision)[1]
        log_det += (self.n_known - len(self.root)) * np.log(self.noise)
        constant = log_det + self.n_known * np.log(2 * np.pi)
        return -0.5 * (squares / self.noise + constant)


def by_known(X: NDArray) -> Iterator[tuple[NDArray, int]]:
    """Yield which rows have how many entries that are not NaN."""
    n_known = X.shape[1] - np.isnan(X).sum(1)
    for n in np.unique(n_known):
        yield np.flatnonzero(n_known == n), int(n)


@dataclass(frozen=True)
class GaussianCodes:
    """A normal distribution fitted to codes that may be correlated."""

    mean: NDArray  # (k,)
    covariance: NDArray  # (k, k)
    n_rows: float  # that it was fitted to, older ones counting less

    @classmethod
    def of(cls, codes: NDArray, weight: NDArray | None) -> GaussianCodes:
        """Fit the distribution to codes, shape (n, k); one row has no covariance."""
        codes = codes.astype(np.float64)
        mean = np.average(codes, 0, weight)
        if len(codes) == 1:
            return cls(mean, np.zeros((len(mean), len(mean))), 1)
        covariance = np.cov(codes, rowvar=False, aweights=weight)
        return cls(mean, np.atleast_2d(covariance), len(codes))

    def followed_by(self, batch: GaussianCodes) -> tuple[GaussianCodes, float]:
        """Return the distribution after one more batch, and the share of the batch.

        Older rows count nine tenths of what they counted before.
        """
        old = KEPT_OF_EARLIER * self.n_rows
        share = batch.n_rows / (batch.n_rows + old)
        moved = batch.mean - self.mean
        covariance = (1 - share) * self.covariance + share * batch.covariance
        covariance += share * (1 - share) * np.outer(moved, moved)
        mean = self.mean + share * moved
        return GaussianCodes(mean, covariance, batch.n_rows + old), share

    def log_density(self, codes: NDArray) -> NDArray:
        """Return the log-density of codes in nats, shape (n,)."""
        variances, axes = np.linalg.eigh(self.covariance)
        floor = RANK_TOLERANCE * variances.max() or 1.0
        independent = (codes.astype(np.float64) - self.mean) @ axes
        return gaussian_log_density(independent, np.maximum(variances, floor))


def gaussian_log_density(codes: NDArray, variance: NDArray) -> NDArray:
    """Log-density of independent centred normals in nats, shape (n,)."""
    squares = codes.astype(np.float64) ** 2 / variance
    return -0.5 * (squares.sum(1) + np.log(2 * np.pi * variance).sum())


def residual_log_density(residual: NDArray, variance: float, n_dims: int) -> NDArray:
    """Log-density of residuals spread over `n_dims` dimensions in nats, shape (n,).

    NaN, the padding of a short series, takes a dimension away each.
    """
    if not n_dims:
        return np.zeros(len(residual))
    squares = np.einsum("ij,ij->i", residual, residual, dtype=np.float64)
    dims = np.full(len(residual), n_dims)
    if np.isnan(squares).any():
        dims = np.maximum(n_dims - np.isnan(residual).sum(1), 0)
        squares = np.where(dims > 0, np.nansum(residual**2, axis=1), 0.0)
    return -0.5 * (squares / variance + dims * np.log(2 * np.pi * variance))
