"""A trained network that stands in for PCA: the same three methods as LinearStart."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ._dataset import STATISTICS_ROWS, sample_rows
from ._linear import (
    GaussianCodes,
    LinearStart,
    residual_log_density,
)
from ._samples import mean_filled

# Rows from which the shares of the codes are taken, each by a pass of its own.
RATIO_ROWS = 1000


@dataclass
class TrainedNetwork:
    """A module and what its codes and residuals look like.

    Codes are in PCA's units: the module's whitened codes times `code_scale`. Rows and
    codes are dense and results have their dtype: the network is trained in float32 and
    cast where it is given float64. `held_out_error` is the mean squared error, summed
    over the features, of rows that the network did not train on, if there are any, and
    `log_volume` by how many nats the linear encoder changes volumes.
    """

    module: Any
    start: LinearStart
    code_scale: NDArray  # (k,)
    held_out_error: float | None = None
    log_volume: float = 0.0
    codes: GaussianCodes = field(init=False)
    noise_variance: float = field(init=False)
    explained_variance_ratio: NDArray = field(init=False)  # (k,)
    _casts: dict[torch.dtype, Any] = field(default_factory=dict, repr=False)

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
    ) -> None:
        """Measure the codes, and what they leave over, on (some of) the training rows.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
        weight : ndarray of shape (n_samples,) or None
        rng : numpy.random.Generator
            Chooses the rows.
        earlier : TrainedNetwork or None
            What was used before a batch, whose codes then count too.
        """
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        codes = self.transform(rows)
        self.codes = GaussianCodes.of(codes, weight)
        share = 1.0
        if earlier is not None:
            self.codes, share = earlier.codes.followed_by(self.codes)
        self.noise_variance = self._noise_variance(rows, codes, weight)
        rows, weight = sample_rows(rows, weight, RATIO_ROWS, rng)
        self.explained_variance_ratio = share * self._variance_ratio(rows, weight)
        if earlier is not None:
            rest = (1 - share) * earlier.explained_variance_ratio
            self.explained_variance_ratio += rest

    @property
    def explained_variance(self) -> NDArray:
        """Variance of each code, shape (k,)."""
        return np.diagonal(self.codes.covariance).copy()

    def _noise_variance(
        self, rows: NDArray, codes: NDArray, weight: NDArray | None
    ) -> float:
        error = self.held_out_error
        if error is None:
            squares = np.nansum((rows - self.inverse_transform(codes)) ** 2, axis=1)
            error = float(np.average(squares, weights=weight))
        k, d = self.start.components.shape[0], np.isfinite(rows).sum(1).mean()
        floor = np.finfo(np.float32).eps ** 2 * self.start.scale**2
        return max(error / max(d - k, 1), floor)

    def _variance_ratio(self, rows: NDArray, weight: NDArray | None) -> NDArray:
        """Return the share of the variance of rows that each code explains, shape (k,).

        The shares are in proportion to the error that fixing a code at its mean adds,
        and add up to the R2 of the reconstruction. For PCA these are its own ratios.
        """
        codes = self.transform(rows)

        def error(codes: NDArray) -> float:
            squares = np.nansum((rows - self.inverse_transform(codes)) ** 2, axis=1)
            return float(np.average(squares, weights=weight))

        smallest = error(codes)
        k = codes.shape[1]
        added = np.empty(k)
        for j in range(k):
            fixed = codes.copy()
            fixed[:, j] = self.codes.mean[j]
            added[j] = error(fixed) - smallest
        filled = mean_filled(rows, weight)
        centred = filled - np.average(filled, 0, weight)
        total = float(np.average(centred**2, 0, weight).sum())
        if not total > 0:
            return np.zeros_like(added)
        share = added / added.sum() if added.sum() > 0 else np.full_like(added, 1 / k)
        return share * (1 - smallest / total)

    def transform(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows, shape (n, k)."""
        x, module = self._standardised(X)
        with torch.inference_mode():
            u = module.encode(x).cpu().numpy()
        return u * self.code_scale.astype(X.dtype)

    def inverse_transform(self, codes: NDArray) -> NDArray:
        """Return the dense rows that codes stand for, shape (n, d)."""
        u = torch.from_numpy(codes / self.code_scale.astype(codes.dtype))
        module = self._module_for(u.dtype)
        with torch.inference_mode():
            x = module.decode(u.to(_device(module))).cpu().numpy()
        return x * self.start.scale + self.start.mean.astype(x.dtype)

    def score_samples(self, X: NDArray) -> NDArray:
        """Return the log-likelihood of dense rows in nats, shape (n,).

        The split of PCA's log-likelihood is kept: a normal density of the code, with
        the covariance of the training codes, plus one of the residual over the other
        d - k dimensions. The change of volume by a curved decoder is ignored. Codes as
        wide as the rows leave no residual: then the normal density of the rows counts.
        """
        n_residual = X.shape[1] - len(self.code_scale)
        if n_residual <= 0:
            return self.start.score_samples(X)
        codes = self.transform(X)
        residual = X - self.inverse_transform(codes)
        in_code = self.codes.log_density(codes) + self.log_volume
        return in_code + residual_log_density(residual, self.noise_variance, n_residual)

    def _standardised(self, X: NDArray) -> tuple[torch.Tensor, Any]:
        """Return rows as the module takes them, and the module in their precision."""
        x = torch.from_numpy((X - self.start.mean.astype(X.dtype)) / self.start.scale)
        module = self._module_for(x.dtype)
        return x.to(_device(module)), module

    def _module_for(self, dtype: torch.dtype) -> Any:
        if dtype == torch.float32:
            return self.module
        if dtype not in self._casts:
            cast = copy.deepcopy(self.module).to(dtype)
            cast.start_at(self.start, self.start.mean, self.start.scale)
            self._casts[dtype] = cast.eval()
        return self._casts[dtype]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_casts": {}}


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
