"""Finding PCA: in memory, weighted, sparse, on disk, or batch by batch.

scikit-learn's solvers do the work; what is here is their choice and preparation. All
return a :class:`skae._start.Start`.
"""

from __future__ import annotations

import copy
import math
import operator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, svds
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.decomposition._pca import _infer_dimension  # Minka's, for "mle"
from sklearn.utils import check_random_state
from sklearn.utils.extmath import svd_flip

from ._dataset import LARGE_BYTES, is_streamed, row_chunks
from ._start import Start

# A table of so many times more rows than columns is solved by its covariance.
TALL = 10
# A mean whose square is so many times the least variance is taken off before squares
# are summed up: they would have no digits left for the variances.
FAR = 1e8
# PCA's own parameters, which say how it is found.
SOLVER_PARAMETERS = (
    "svd_solver",
    "iterated_power",
    "n_oversamples",
    "power_iteration_normalizer",
)


def linear_start(
    X: Any,
    n_components: int | float | str | None,
    sample_weight: NDArray | None = None,
    random_state: int | RandomState | None = None,
    **solver: Any,
) -> Start:
    """Find the principal axes of the rows of `X`.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
        A table on disk (a read-only memory map) is read in chunks.
    n_components : int, float in (0, 1), "mle" or None
        As in :class:`sklearn.decomposition.PCA`.
    sample_weight : ndarray of shape (n_samples,), optional
        A weight of 2 counts as the row given twice.
    random_state : int, RandomState or None
        Used by PCA's randomised solver.
    **solver : dict
        PCA's own parameters of the solver. Weighted tables, and those on disk, have
        only one way.
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
    solver.setdefault("svd_solver", "auto")
    finds_few = isinstance(k, Integral) and 0 < operator.index(k) < min(X.shape)
    if n_components is None and solver["svd_solver"] == "arpack":
        k -= 1  # as PCA does: the solver cannot find the last axis
    elif sp.issparse(X) and not finds_few and solver["svd_solver"] == "auto":
        # The only sparse solver that finds every axis.
        solver["svd_solver"] = "covariance_eigh"
        if X.shape[0] < X.shape[1]:  # whose covariance is larger than the dense table
            X, solver["svd_solver"] = X.toarray(), "full"
    pca = PCA(k, random_state=random_state, **solver)
    # Constant data have no variance to share out; PCA then divides 0 by 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        try:
            pca.fit(X)
        except ArpackError:  # where no entry of a sparse table differs from zero
            pca.set_params(svd_solver="covariance_eigh").fit(X)
        sums_squares = pca._fit_svd_solver == "covariance_eigh"
        is_whole = pca.n_components_ == min(X.shape)  # which leaves no noise
        least = pca.explained_variance_[-1] if is_whole else pca.noise_variance_
        if sums_squares and not sp.issparse(X) and (pca.mean_**2).max() > FAR * least:
            mean = pca.mean_
            pca.fit(X - mean)
            pca.mean_ = mean + pca.mean_
    pca.explained_variance_ratio_ = np.nan_to_num(pca.explained_variance_ratio_)
    return as_start(pca)


@dataclass(frozen=True)
class Moments:
    """The mean and the scatter of rows.

    Attributes
    ----------
    n : float
        Rows, or their weights.
    mean : ndarray of shape (d,)
    scatter : ndarray of shape (d, d)
        Sum of the squares around the mean.
    """

    n: float
    mean: NDArray
    scatter: NDArray

    @classmethod
    def of(cls, X: NDArray, weight: NDArray | None = None) -> Moments:
        """Return the moments of rows, shape (n, d)."""
        X = X.astype(np.float64, copy=False)
        if weight is None:
            mean = X.mean(0)
            centred = X - mean
            return cls(len(X), mean, centred.T @ centred)
        mean = np.average(X, 0, weight)
        centred = X - mean
        return cls(float(weight.sum()), mean, (centred.T * weight) @ centred)

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        moved = other.mean - self.mean
        mean = self.mean + other.n / n * moved
        between = self.n * other.n / n * np.outer(moved, moved)
        return Moments(n, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> NDArray:
        """Covariance of the rows, by maximum likelihood, shape (d, d)."""
        return self.scatter / self.n


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
            f"n_components={k!r}: partial_fit needs an integer, because the variances "
            "are not known before all rows are seen."
        )
    if operator.index(k) > min(shape):
        raise ValueError(
            f"n_components={k} must be at most min(n_samples, n_features)="
            f"{min(shape)} of the first batch that partial_fit is given."
        )
    return IncrementalPCA(int(k))


def follow(pca: IncrementalPCA, X: NDArray) -> IncrementalPCA:
    """Return the solver after one more batch; `pca` and `X` stay as they are."""
    X = np.array(X, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # as of constant data
        return copy.copy(pca).partial_fit(X, check_input=False)


def incremental_start(pca: IncrementalPCA, previous: Start | None) -> Start:
    """Return the start that a partially fitted IncrementalPCA has reached.

    An axis may come back with the opposite sign; it then follows the previous one, so
    that the codes of successive calls can be compared.
    """
    start = _from_incremental(pca, pca.n_components_)
    return start if previous is None else start.with_signs_of(previous)


def _full_rank_if_none(n_components: Any, n: int, d: int) -> Any:
    return min(n, d) if n_components is None else n_components


def as_start(pca: PCA) -> Start:
    """Return what a fitted PCA has found."""
    d = pca.n_features_in_
    discarded = max(min(pca.n_samples_, d) - pca.n_components_, 0)
    total = float(pca.explained_variance_.sum() + discarded * pca.noise_variance_)
    return Start(
        n_samples=pca.n_samples_,
        mean=pca.mean_,
        components=pca.components_,
        explained_variance=pca.explained_variance_,
        explained_variance_ratio=pca.explained_variance_ratio_,
        noise_variance=float(pca.noise_variance_),
        scale=_scalar_scale(total, d),
    )


def _from_incremental(pca: IncrementalPCA, k: Any) -> Start:
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
) -> Start:
    """Keep the leading axes of an eigendecomposition sorted by variance."""
    d, k = len(mean), n_components
    if isinstance(k, str):  # "mle"
        if n < d:
            raise ValueError(
                f"n_components={k!r} is only supported if n_samples >= n_features, "
                f"here {round(n)} and {d}."
            )
        k = _infer_dimension(variances, n)
    elif not isinstance(k, Integral):  # the smallest k that explains this share
        cumulative = np.cumsum(variances) / max(total, np.finfo(float).tiny)
        k = min(int(np.searchsorted(cumulative, k, side="right")) + 1, len(variances))
    rank = int(min(n, d))
    kept = variances[:k]
    rest = max(total - float(kept.sum()), 0.0)
    return Start(
        n_samples=n,
        mean=mean,
        components=axes[:k],
        explained_variance=kept,
        explained_variance_ratio=kept / total if total > 0 else 0 * kept,
        noise_variance=rest / (rank - k) if rank > k else 0.0,
        scale=_scalar_scale(total, d),
    )


def _weighted_start(
    X: Any, n_components: Any, weight: NDArray, random_state: Any
) -> Start:
    """PCA under row weights: the singular vectors of ``sqrt(w) (x - mean)``.

    The unbiased variance divides by the sum of the weights less one, as if a weight
    counted copies; weights that sum to less than the rows are first scaled to mean 1.
    """
    if weight.sum() < len(weight):
        weight = weight * (len(weight) / weight.sum())
    if sp.issparse(X) and not is_streamed(X):
        X = X.toarray()
    n, d = float(weight.sum()), X.shape[1]
    k = _full_rank_if_none(n_components, round(n), d)
    # What is read in pieces is not to be cast to float64 as a whole.
    pieces = row_chunks(X) if is_streamed(X) else [slice(None)]
    total = np.zeros(d)
    for rows in pieces:
        total += np.asarray(weight[rows] @ X[rows]).ravel()
    mean = total / n
    root = np.sqrt(weight)
    if sp.issparse(X):
        return _weighted_sparse_start(X, k, mean, root, n, random_state)
    if X.shape[0] >= TALL * d:  # as scikit-learn does without weights
        covariance = np.zeros((d, d))
        for rows in row_chunks(X):
            part = root[rows, None] * (X[rows] - mean)
            covariance += part.T @ part / (n - 1)
        variances, axes = scipy.linalg.eigh(covariance)
        variances, axes = np.maximum(variances[::-1], 0), axes.T[::-1]
    else:
        # Rows of zeros stand for copies, of which there may be more than rows.
        padding = np.zeros((max(0, min(round(n), d) - X.shape[0]), d))
        centred = np.concatenate([root[:, None] * (X - mean), padding])
        singular, axes = scipy.linalg.svd(centred, full_matrices=False)[1:]
        variances = singular**2 / (n - 1)
    _, axes = svd_flip(None, axes, u_based_decision=False)
    return _select(variances, axes, mean, float(variances.sum()), k, n)


def _weighted_sparse_start(
    X: Any, k: Any, mean: NDArray, root: NDArray, n: float, random_state: Any
) -> Start:
    """Weighted PCA of a large sparse table, which is never centred explicitly."""
    if not isinstance(k, Integral) or not 0 < int(k) < min(X.shape):
        raise ValueError(
            f"n_components={k!r} with sample_weight and a large sparse X: use an "
            f"integer from 1, and below min(n_samples, n_features)={min(X.shape)}."
        )

    def forward(v: NDArray) -> NDArray:
        return root * (X @ v - mean @ v)

    def backward(u: NDArray) -> NDArray:
        weighted = root * u.ravel()
        return X.T @ weighted - mean * weighted.sum()

    centred = LinearOperator(
        X.shape, matvec=lambda v: forward(v.ravel()), rmatvec=backward, dtype=np.float64
    )
    start = check_random_state(random_state).uniform(-1, 1, min(X.shape))
    _, singular, axes = svds(centred, k=k, v0=start)
    _, axes = svd_flip(None, axes[::-1], u_based_decision=False)
    squares = X.multiply(X).T @ root**2 - n * mean**2
    total = float(squares.sum()) / (n - 1)
    return _select(singular[::-1] ** 2 / (n - 1), axes, mean, total, k, n)


def _streamed_start(X: Any, n_components: Any) -> Start:
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
