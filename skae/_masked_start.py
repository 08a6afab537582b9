"""The normal distribution that a masked autoencoder starts at, and how it is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.extmath import svd_flip

from ._dataset import missing_share, sample_rows
from ._em import (
    EM_ROWS,
    MOST_COLUMNS,
    Constraint,
    NormalRows,
    floored,
    normal_of_rows,
    shrunk,
)
from ._masked_module import LEAST_NOISE, NOISE_FLOOR, TINY, MaskedModule
from ._missing import MissingCells
from ._module import BaseModule
from ._propensity import Propensity
from ._solvers import Moments
from ._start import Start, pca_cells
from ._wide_em import factors_of_rows

# Rows by which it is told which cells are missing.
PROPENSITY_ROWS = 10_000


@dataclass(frozen=True)
class MaskedStart(Start):
    """A normal distribution of rows, and what it expects in missing cells."""

    missing_share: NDArray | None = None  # (d,), of each column
    share: float | None = None  # by which correlations are shrunk, if all axes are kept
    propensity: Propensity | None = None  # of cells to be missing, if it was measured
    block: NDArray | None = None  # (d,), number of what is missing together, if any is

    name = "normal distribution"

    @property
    def is_whole(self) -> bool:
        """Whether codes are the rows, in other coordinates."""
        return self.share is not None

    @property
    def covariance(self) -> NDArray:
        """Covariance of the rows, shape (d, d)."""
        found = super().covariance
        return found if self.share is None else floored(shrunk(found, self.share))

    @property
    def precision(self) -> NDArray:
        """Its inverse."""
        if self.share is None:
            return super().precision
        return np.linalg.inv(self.covariance)

    @cached_property
    def missing_cells(self) -> MissingCells:
        """What this model says of missing cells, in the units of the rows."""
        if self.share is None:
            return pca_cells(self)
        covariance = self.covariance
        noise = self.share * np.diagonal(covariance)
        variances, axes = np.linalg.eigh(covariance - np.diag(noise))
        return MissingCells(axes * np.sqrt(np.maximum(variances, 0)), noise)

    @property
    def decoding(self) -> NDArray:
        """Map from codes to what is expected of the rows, shape (d, k).

        A row is that and noise, so that a code says less of a row than it does for PCA.
        """
        if self.is_whole:
            return self.components.T
        variance, noise = self.sound_variances
        return self.components.T * np.maximum(1 - noise / variance, 0)

    def _score_whole(self, X: NDArray) -> NDArray:
        if not self.is_whole:
            return super()._score_whole(X)
        known = np.ones(X.shape, dtype=bool)
        return self.missing_cells.score_samples(X - self.mean, known)

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a module to this start, and tell it of missing cells."""
        super().apply(module, units)
        units = units or self
        cells, shift = self.missing_cells, self.mean - units.mean
        if isinstance(module, MaskedModule):
            # Of which single precision can invert sums of such loadings.
            variance = (cells.loadings**2).sum(1) + cells.noise
            floor = np.maximum(NOISE_FLOOR * variance, LEAST_NOISE * variance.max())
            noise = np.maximum(cells.noise, np.where(floor > TINY, floor, 1.0))
            module.set_deviations(np.sqrt(variance))
            module.set_missing(
                cells.loadings / units.scale,
                noise / units.scale**2,
                shift / units.scale,
                self.missing_share,
                self.n_samples,
            )
            if self.block is not None:
                module.set_blocks(self.block)
            if self.propensity is not None:
                module.set_propensity(self.propensity, units)


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


@dataclass(frozen=True)
class FollowedRows:
    """What is known of the rows of the batches of `partial_fit` up to now."""

    moments: Moments
    share: float  # by which correlations are smaller
    n_missing: NDArray  # (d,), cells of each column

    def normal(self, k: int | None) -> NormalRows:
        """Return the normal distribution that follows, of k axes or any."""
        return Constraint(self.share, k).normal(self.moments)

    def with_new_columns(self, X: NDArray) -> FollowedRows:
        """Return the same for a batch with the first values of some columns.

        Nothing was known of these: rows before have what this batch says of them.
        """
        is_new = (self.n_missing >= self.moments.n) & ~np.isnan(X).all(0)
        if not is_new.any():
            return self
        first, n = X[:, is_new], self.moments.n
        mean, scatter = self.moments.mean.copy(), self.moments.scatter.copy()
        mean[is_new] = np.nanmean(first, 0)
        scatter[is_new] = 0
        scatter[:, is_new] = 0
        scatter[is_new, is_new] = n * np.nanvar(first, 0)
        return replace(self, moments=Moments(n, mean, scatter))

    def followed_by(self, X: NDArray, normal: NormalRows) -> FollowedRows:
        """Return the same with one more batch, completed by a normal distribution."""
        return FollowedRows(
            self.moments + normal.completed(X, None)[1],
            self.share,
            self.n_missing + np.isnan(X).sum(0),
        )
