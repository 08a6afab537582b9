"""How the normal distribution is found that a masked autoencoder starts at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.extmath import svd_flip

from ._dataset import missing_share, sample_rows
from ._em import EM_ROWS, MOST_COLUMNS, NormalRows, normal_of_rows
from ._masked_module import MaskedStart
from ._propensity import Propensity
from ._start import Start
from ._wide_em import factors_of_rows

# Rows by which it is told which cells are missing.
PROPENSITY_ROWS = 10_000


def masked_start(
    pca: Start,
    X: Any,
    weight: NDArray | None,
    n_components: Any,
    seed: int,
    blocks: Sequence[NDArray | None],
    shrinkage: float | None = None,
) -> MaskedStart:
    """Return the normal distribution of rows, given PCA of them with means for NaN.

    With ``n_components=None`` correlations are `shrinkage` smaller, or as hidden cells
    choose, those of a block together; the first of the `blocks` are the start's.
    """
    share = missing_share(X)
    rng = np.random.default_rng(seed)
    if n_components is not None and not share.any():
        return of_pca(pca, share)
    k = None if n_components is None else pca.n_components
    how = as_rows(X), weight, k, rng
    n = X.shape[0] if weight is None else max(weight.sum(), len(weight))
    if X.shape[1] <= MOST_COLUMNS:
        start = of_normal(normal_of_rows(*how, shrinkage, blocks), k, n, share)
        start = replace(start, block=blocks[0])
        return with_propensity(start, X, weight, seed) if share.any() else start
    factors = factors_of_rows(*how, blocks[0])
    axes, variances = factors.axes()
    start = _of_axes(factors.mean, axes, variances, factors.noise, n, share)
    return replace(start, block=blocks[0])


def with_propensity(
    start: MaskedStart, X: Any, weight: NDArray | None, seed: int
) -> MaskedStart:
    """Return a start that knows in which rows cells are missing."""
    rng = np.random.default_rng(seed)
    rows, weight = sample_rows(X, weight, PROPENSITY_ROWS, rng)
    missing = np.isnan(rows)
    if not missing.any():
        return start
    filled = start.filled(rows.astype(np.float64), ~missing)
    return replace(start, propensity=Propensity.of_rows(filled, missing, weight))


def as_rows(X: Any) -> Any:
    """Return a table, or some rows of a sparse one, in which no cell is missing."""
    if not sp.issparse(X):
        return X
    return sample_rows(X, None, EM_ROWS, np.random.default_rng(0))[0]


def of_pca(pca: Start, share: NDArray) -> MaskedStart:
    """Return probabilistic PCA as a start."""
    kept = pca.explained_variance, pca.noise_variance
    ratio = explained_share(*kept, len(pca.mean))
    return MaskedStart.of(pca, explained_variance_ratio=ratio, missing_share=share)


def of_normal(
    normal: NormalRows, k: int | None, n_samples: float, share: NDArray
) -> MaskedStart:
    """Return a normal distribution as a start, with all axes or `k` of them."""
    covariance = normal.covariance
    if k is None and normal.of_sample is not None:
        covariance = normal.of_sample
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1].T
    axes = svd_flip(None, np.ascontiguousarray(axes), u_based_decision=False)[1]
    if k is None:
        start = _of_axes(normal.mean, axes, variances, 0.0, n_samples, share)
        return replace(start, share=normal.share)
    rest = float(variances[k:].mean()) if k < len(variances) else 0.0
    return _of_axes(normal.mean, axes[:k], variances[:k], rest, n_samples, share)


def _of_axes(
    mean: NDArray,
    axes: NDArray,
    variances: NDArray,
    noise: float,
    n_samples: float,
    share: NDArray,
) -> MaskedStart:
    d = len(mean)
    total = float(variances.sum() + noise * (d - len(variances)))
    return MaskedStart(
        n_samples=n_samples,
        mean=mean,
        components=axes,
        explained_variance=variances,
        explained_variance_ratio=explained_share(variances, noise, d),
        noise_variance=noise,
        scale=math.sqrt(total / d) if total > 0 else 1.0,
        missing_share=share,
    )


def explained_share(variances: NDArray, noise: float, n_features: int) -> NDArray:
    """Return the R2 of each axis, (k,): rows come back shrunk by noise / variance."""
    total = float(variances.sum() + noise * (n_features - len(variances)))
    floor = np.maximum(variances, np.finfo(float).tiny)
    explained = variances - np.minimum(noise / floor, 1) * np.minimum(noise, variances)
    return explained / total if total > 0 else 0 * explained
