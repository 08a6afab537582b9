"""The start at PCA: the best linear autoencoder, in closed form.

With ``x~ = (x - mean) / scale`` and one scalar ``scale``, let ``U`` be the principal
axes of the rows and ``L`` their variances. Then ``u = L^-1/2 U' x~`` is the whitened
code and ``x^ = U L^1/2 u`` its reconstruction, and no linear map does better (Bourlard
& Kamp 1988; Baldi & Hornik 1989). scikit-learn's solvers find ``U`` and ``L``.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.utils import check_random_state
from sklearn.utils.extmath import svd_flip

from ._dataset import LARGE_BYTES, is_streamed, row_chunks

# Directions with less than this share of the first one's variance carry rounding
# errors, not data: whitening does not blow them up any further.
RANK_TOLERANCE = 1e-9
# The same for a density, which is computed in float64 and by PCA's own axes.
DENSITY_TOLERANCE = 1e-15


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

    @classmethod
    def of(cls, codes: NDArray, weight: NDArray | None) -> GaussianCodes:
        """Fit the distribution to codes, shape (n, k); one row has no covariance."""
        codes = codes.astype(np.float64)
        mean = np.average(codes, 0, weight)
        if len(codes) == 1:
            return cls(mean, np.zeros((len(mean), len(mean))))
        covariance = np.cov(codes, rowvar=False, aweights=weight)
        return cls(mean, np.atleast_2d(covariance))

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


def linear_start(
    X: Any,
    n_components: int | float | None,
    sample_weight: NDArray | None = None,
    random_state: int | RandomState | None = None,
) -> LinearStart:
    """Find the principal axes of the rows of `X`.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
        A table on disk (a read-only memory map) is read in chunks.
    n_components : int, float in (0, 1) or None
        As in :class:`sklearn.decomposition.PCA`.
    sample_weight : ndarray of shape (n_samples,), optional
        A weight of 2 counts as the row given twice.
    random_state : int, RandomState or None
        Used by PCA's randomised solver.
    """
    if sample_weight is not None:
        return _weighted_start(X, n_components, sample_weight, random_state)
    if not sp.issparse(X):
        # In float32 the covariance of rows with a large mean would lose its digits.
        is_large = X.dtype == np.float32 and 2 * X.nbytes > LARGE_BYTES
        if is_streamed(X) or is_large:
            return _streamed_start(X, n_components)
        X = X.astype(np.float64, copy=False)
    k = _full_rank_if_none(n_components, *X.shape)
    solver = "auto"
    finds_few = isinstance(k, Integral) and operator.index(k) < min(X.shape)
    if sp.issparse(X) and not finds_few:
        solver = "covariance_eigh"  # the only sparse solver that finds every axis
    pca = PCA(k, svd_solver=solver, random_state=random_state)
    # Constant data have no variance to share out; PCA then divides 0 by 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        pca.fit(X)
    pca.explained_variance_ratio_ = np.nan_to_num(pca.explained_variance_ratio_)
    return _from_solver(pca, X.shape[1], X.shape[0])


def new_incremental_pca(n_components: Any, shape: tuple[int, int]) -> IncrementalPCA:
    """Return the solver for a stream of batches, of which `shape` is the first.

    Raises
    ------
    ValueError
        If the batch has fewer rows or columns than `n_components`, or `n_components`
        is a share of a variance that is not known yet.
    """
    k = min(shape) if n_components is None else n_components
    if not isinstance(k, Integral):
        raise ValueError(
            f"n_components={k!r}: partial_fit needs an integer, because the share of "
            "the variance is not known before all rows are seen."
        )
    if operator.index(k) > min(shape):
        raise ValueError(
            f"n_components={k} must be at most min(n_samples, n_features)="
            f"{min(shape)} of the first batch that partial_fit is given."
        )
    return IncrementalPCA(int(k))


def follow(pca: IncrementalPCA, X: NDArray) -> IncrementalPCA:
    """Return the solver after one more batch; `pca` and `X` stay as they are."""
    return copy.copy(pca).partial_fit(np.array(X, dtype=np.float64), check_input=False)


def incremental_start(pca: IncrementalPCA, previous: LinearStart | None) -> LinearStart:
    """Return the start that a partially fitted IncrementalPCA has reached.

    An axis may come back with the opposite sign; it then follows the previous one, so
    that the codes of successive calls can be compared.
    """
    start = _from_incremental(pca, pca.n_components_)
    if previous is None:
        return start
    signs = np.sign(np.sum(start.components * previous.components, axis=1))
    signs[signs == 0] = 1.0
    return replace(start, components=start.components * signs[:, None])


def _full_rank_if_none(n_components: Any, n: int, d: int) -> Any:
    return min(n, d) if n_components is None else n_components


def _from_solver(pca: PCA, d: int, n: int) -> LinearStart:
    discarded = max(min(n, d) - pca.n_components_, 0)
    total = float(pca.explained_variance_.sum() + discarded * pca.noise_variance_)
    return LinearStart(
        mean=pca.mean_,
        components=pca.components_,
        explained_variance=pca.explained_variance_,
        explained_variance_ratio=pca.explained_variance_ratio_,
        noise_variance=float(pca.noise_variance_),
        scale=_scalar_scale(total, d),
    )


def _from_incremental(pca: IncrementalPCA, k: Any) -> LinearStart:
    n = int(pca.n_samples_seen_)
    total = float(np.sum(pca.var_)) * n / max(n - 1, 1)
    variances = pca.explained_variance_
    return _select(variances, pca.components_, pca.mean_, total, k, n)


def _scalar_scale(total_variance: float, d: int) -> float:
    """Root of the mean variance of the columns; 1 for constant data."""
    scale = math.sqrt(max(total_variance, 0.0) / d)
    return scale if scale > 0 and math.isfinite(scale) else 1.0


def _select(
    variances: NDArray,
    axes: NDArray,
    mean: NDArray,
    total: float,
    n_components: Any,
    n: float,
) -> LinearStart:
    """Keep the leading axes of an eigendecomposition sorted by variance."""
    d = len(mean)
    k = n_components
    if not isinstance(k, Integral):  # the smallest k that explains this share
        cumulative = np.cumsum(variances) / max(total, np.finfo(float).tiny)
        k = min(int(np.searchsorted(cumulative, k, side="right")) + 1, len(variances))
    rank = int(min(n, d))
    rest = max(total - float(variances[:k].sum()), 0.0)
    return LinearStart(
        mean=mean,
        components=axes[:k],
        explained_variance=variances[:k],
        explained_variance_ratio=variances[:k] / total
        if total > 0
        else 0 * variances[:k],
        noise_variance=rest / (rank - k) if rank > k else 0.0,
        scale=_scalar_scale(total, d),
    )


def _weighted_start(
    X: Any, n_components: Any, weight: NDArray, random_state: Any
) -> LinearStart:
    """PCA under row weights: the singular vectors of ``sqrt(w) (x - mean)``.

    The unbiased variance divides by the sum of the weights less one, as if a weight
    counted copies; weights that sum to less than the rows are first scaled to mean 1.
    """
    if weight.sum() < len(weight):
        weight = weight * (len(weight) / weight.sum())
    n, d = float(weight.sum()), X.shape[1]
    k = _full_rank_if_none(n_components, round(n), d)
    mean = np.asarray(weight @ X).ravel() / n
    root = np.sqrt(weight)
    if sp.issparse(X):
        return _weighted_sparse_start(X, k, mean, root, n, random_state)
    rows = root[:, None] * (X - mean)
    # Rows and their negatives have mean zero, so PCA's own centring changes nothing.
    padding = np.zeros((max(0, min(round(n), d) - 2 * len(rows)), d))
    with np.errstate(divide="ignore", invalid="ignore"):  # constant data: 0 / 0
        pca = PCA(svd_solver="full").fit(np.concatenate([rows, -rows, padding]))
    variances = pca.singular_values_**2 / 2 / (n - 1)
    return _select(variances, pca.components_, mean, float(variances.sum()), k, n)


def _weighted_sparse_start(
    X: Any, k: Any, mean: NDArray, root: NDArray, n: float, random_state: Any
) -> LinearStart:
    """Weighted PCA of a large sparse table, which is never centred explicitly."""
    if not isinstance(k, Integral) or k >= min(X.shape):
        raise ValueError(
            f"n_components={k!r} with sample_weight and a large sparse X: use an "
            f"integer below min(n_samples, n_features)={min(X.shape)}."
        )

    def forward(v: NDArray) -> NDArray:
        return root * (X @ v - mean @ v)

    def backward(u: NDArray) -> NDArray:
        weighted = root * u.ravel()
        return X.T @ weighted - mean * weighted.sum()

    operator = LinearOperator(
        X.shape, matvec=lambda v: forward(v.ravel()), rmatvec=backward, dtype=np.float64
    )
    start = check_random_state(random_state).uniform(-1, 1, min(X.shape))
    _, singular, axes = svds(operator, k=k, v0=start)
    _, axes = svd_flip(None, axes[::-1], u_based_decision=False)
    squares = X.multiply(X).T @ root**2 - n * mean**2
    total = float(squares.sum()) / (n - 1)
    return _select(singular[::-1] ** 2 / (n - 1), axes, mean, total, k, n)


def _streamed_start(X: Any, n_components: Any) -> LinearStart:
    """PCA of a table on disk, exact where all axes of a chunk fit in memory."""
    n, d = X.shape
    if not isinstance(n_components, Integral) or d <= 512:
        kept = min(n, d)
    else:
        kept = min(n, d, 2 * int(n_components) + 10)
    solver = IncrementalPCA(kept)
    rows_per_chunk = max(2 * kept, 2**25 // (8 * d))
    for rows in row_chunks(X, 8 * d * rows_per_chunk):
        if n - rows.stop < kept:  # a last chunk must not be smaller than the axes
            rows = slice(rows.start, n)
        solver.partial_fit(np.array(X[rows], dtype=np.float64), check_input=False)
        if rows.stop == n:
            break
    return _from_incremental(solver, _full_rank_if_none(n_components, n, d))
