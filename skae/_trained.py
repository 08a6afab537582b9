"""A trained network that stands in for the start, with the same three methods."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._dataset import STATISTICS_ROWS, sample_rows, sampled
from ._gate import KEPT_OF_EARLIER
from ._missing import known_cells, mean_filled
from ._module import BaseModule
from ._start import (
    RANK_TOLERANCE,
    Start,
    gaussian_log_density,
    residual_log_density,
)
from ._step import OneThread, draws_always, seeded_globally

# Rows from which the shares of the codes are taken, each by a pass of its own.
RATIO_ROWS = 1000


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
        w = np.ones(len(codes)) if weight is None else weight
        n = max(w.sum(), len(codes))  # weights count copies, as of the start
        centred = codes - mean
        covariance = (w[:, None] * centred).T @ centred * (n / w.sum() / (n - 1))
        return cls(mean, covariance, len(codes))

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

    def reordered(self, order: NDArray) -> GaussianCodes:
        """Return the distribution of the same codes in another order."""
        covariance = self.covariance[np.ix_(order, order)]
        return GaussianCodes(self.mean[order], covariance, self.n_rows)

    def log_density(self, codes: NDArray) -> NDArray:
        """Return the log-density of codes in nats, shape (n,)."""
        variances, axes = np.linalg.eigh(self.covariance)
        floor = RANK_TOLERANCE * variances.max() or 1.0
        independent = (codes.astype(np.float64) - self.mean) @ axes
        return gaussian_log_density(independent, np.maximum(variances, floor))


@dataclass
class TrainedNetwork:
    """A module and what its codes and residuals look like.

    Codes are in PCA's units: those of the module times the start's `code_scale`. Rows
    and codes are dense and results have their dtype: the network is trained in float32
    and cast where it is given float64. `held_out_error` is the mean squared error,
    summed over the features, of rows that the network did not train on, if there are
    any. With `is_ordered`, the first codes are codes by themselves; with `is_linear`
    the codes are the start's.
    """

    in_double: ClassVar[bool] = False
    """Whether codes are found in double precision, whatever that of the rows."""

    module: BaseModule
    start: Start
    held_out_error: float | None = None
    is_ordered: bool = False
    is_linear: bool = False
    order: NDArray = field(init=False)  # (k,), places of the codes in the module
    is_constant: NDArray = field(init=False)  # (d,), columns that come back exactly
    codes: GaussianCodes = field(init=False)
    noise_variance: float = field(init=False)
    explained_variance_ratio: NDArray = field(init=False)  # (k,)
    components: NDArray = field(init=False)  # (k, d)
    _casts: dict[torch.dtype, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Leave the codes as the module has them."""
        self.order = np.arange(len(self.start.code_scale))
        self.is_constant = np.zeros(len(self.start.mean), dtype=bool)

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
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
        sort : bool
            Whether to put the codes in the order of the variance that they explain,
            unless they have that of `earlier`.
        """
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        rows = rows.astype(np.float64)  # whose squares neither overflow nor vanish
        x, known = self._standardised(rows)
        self.bind(x, known, earlier)
        # Which they would not by a network: its optimizer blows up rounding errors.
        has_no_axis = np.abs(self.start.components).max(0, initial=0) < 1e-9
        self.is_constant = (rows == rows[0]).all(0) & has_no_axis
        if earlier is not None:
            self.order = earlier.order
            self.is_constant &= earlier.is_constant
        # Codes of a network are as exact as it is in training, PCA's own as the rows.
        is_exact = self.is_linear or self.in_double
        u = self._codes(x if is_exact else x.float(), known)
        codes = u.astype(np.float64) * self.code_scale
        self.codes = GaussianCodes.of(codes, weight)
        share = 1.0
        if earlier is not None:
            self.codes, share = earlier.codes.followed_by(self.codes)
        self.noise_variance = self._noise_variance(rows, codes, weight)
        self.components = share * loadings(rows, codes, weight)
        at = sampled(rows.shape, RATIO_ROWS, rng)
        weight = None if weight is None else weight[at]
        self.explained_variance_ratio = share * self._variance_ratio(
            rows[at], u[at], weight
        )
        if earlier is not None:
            rest = 1 - share
            self.explained_variance_ratio += rest * earlier.explained_variance_ratio
            self.components += rest * earlier.components
        elif sort:
            self._sort()

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: TrainedNetwork | None
    ) -> None:
        """Bind the networks to the range of rows, and of those of `earlier`."""
        with inference(self.module):
            before = None if earlier is None else earlier.module
            self.module.bind(x.float(), known, before)
        self._casts.clear()  # which are not bound

    def _sort(self) -> None:
        """Put the codes in the order of the variance that they explain."""
        order = np.argsort(-self.explained_variance_ratio, kind="stable")
        self.order = self.order[order]
        self.codes = self.codes.reordered(order)
        self.explained_variance_ratio = self.explained_variance_ratio[order]
        self.components = self.components[order]

    @property
    def explained_variance(self) -> NDArray:
        """Variance of each code, shape (k,)."""
        if self.is_linear:
            return self.start.explained_variance
        return np.diagonal(self.codes.covariance).copy()

    def _noise_variance(
        self, rows: NDArray, codes: NDArray, weight: NDArray | None
    ) -> float:
        error = self.held_out_error
        if error is None:
            squares = np.nansum((rows - self.inverse_transform(codes)) ** 2, axis=1)
            error = float(np.average(squares, weights=weight))
        k, d = codes.shape[1], np.isfinite(rows).sum(1).mean()
        floor = float(np.finfo(np.float32).eps) ** 2 * self.start.scale**2
        return max(error / max(d - k, 1), floor)

    def _variance_ratio(
        self, rows: NDArray, codes: NDArray, weight: NDArray | None
    ) -> NDArray:
        """Return the share of the variance of rows that each code explains, shape (k,).

        The shares are in proportion to the error that fixing a code at its mean adds,
        and add up to the R2 of the reconstruction, or to 0 where that is negative. That
        of an ordered code is what it adds to the R2 of the codes before it. For PCA
        these are its own ratios.
        """
        filled = mean_filled(rows, weight)
        centred = (filled - np.average(filled, 0, weight)) / self.start.scale
        total = float(np.average(centred**2, 0, weight).sum())
        k = len(self.order)
        if not total > 0:
            return np.zeros(k)
        # All in the module's own units and precision: this is a pass for each code.
        x, known = self._standardised(rows)
        x, module = x.float(), self.module
        counts = torch.ones_like(x) if known is None else known.to(x)
        counts[:, torch.from_numpy(self.is_constant)] = 0

        def error(u: Tensor) -> float:
            squares = (module.decode(u) - x).square().mul_(counts)
            of_rows = squares.sum(1, dtype=torch.float64).cpu().numpy()
            return float(np.average(of_rows, weights=weight))

        u = torch.from_numpy(self._in_module(codes)).to(x)
        with inference(module):
            smallest = error(u)
            if self.is_ordered:
                prefixes = (first_codes(u, j) for j in range(1, k + 1))
                best = np.minimum.accumulate([total, *map(error, prefixes)])
                return -np.diff(best) / total  # a code may do harm, or be of no use
            added = np.empty(k)
            for j, mean in enumerate(self.codes.mean / self.code_scale):
                fixed = u.clone()
                fixed[:, self.order[j]] = float(mean)
                added[j] = error(fixed) - smallest
        added = np.maximum(added, 0)
        share = added / added.sum() if added.sum() > 0 else np.full_like(added, 1 / k)
        return share * max(1 - smallest / total, 0.0)

    @property
    def code_scale(self) -> NDArray:
        """What brings the codes of the module to PCA's units, shape (k,)."""
        return self.start.code_scale[self.order]

    def transform(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows, shape (n, k)."""
        return self._codes(*self._standardised(X)) * self.code_scale.astype(X.dtype)

    def _codes(self, x: Tensor, known: Tensor | None) -> NDArray:
        """Return the codes of standardised rows, in the module's units."""
        module = self._module_for(torch.float64 if self.in_double else x.dtype)
        with inference(module):
            u = self.encoded(module, x.double() if self.in_double else x, known)
            codes: NDArray = u.to(x.dtype).cpu().numpy()[:, self.order]
        return codes

    def encoded(self, module: BaseModule, x: Tensor, known: Tensor | None) -> Tensor:
        """Return the codes of standardised rows, in the order of the module."""
        return module.encode(x, known)

    def inverse_transform(self, codes: NDArray) -> NDArray:
        """Return the dense rows that codes stand for, shape (n, d)."""
        u = torch.from_numpy(
            self._in_module(codes / self.code_scale.astype(codes.dtype))
        )
        module = self._module_for(u.dtype)
        with inference(module):
            x = module.decode(u.to(_device(module))).cpu().numpy()
        x[:, self.is_constant] = 0
        return x * self.start.scale + self.start.mean.astype(x.dtype)

    def _in_module(self, codes: NDArray) -> NDArray:
        """Return codes in the order of the module."""
        in_module = np.empty_like(codes)
        in_module[:, self.order] = codes
        return in_module

    def score_samples(self, X: NDArray) -> NDArray:
        """Return the log-likelihood of dense rows in nats, shape (n,).

        The split of PCA's log-likelihood is kept: a normal density of the code, with
        the covariance of the training codes, plus one of the residual over the other
        d - k dimensions. The change of volume by a curved decoder is ignored, that by
        a linear encoder, the start's `log_volume`, is not. Codes as wide as the rows
        leave no residual: then the normal density of the rows counts.
        """
        if X.shape[1] <= len(self.code_scale):
            return self.start.score_samples(X)
        codes = self.transform(X)
        return self._scores(codes, X - self.inverse_transform(codes))

    def _scores(self, codes: NDArray, residual: NDArray) -> NDArray:
        in_code = self.codes.log_density(codes) + self.start.log_volume
        n_residual = residual.shape[1] - len(self.code_scale)
        return in_code + residual_log_density(residual, self.noise_variance, n_residual)

    def unseen_scores(self, X: NDArray, weight: NDArray | None) -> NDArray:
        """Return what rows of fit would score if they had not been trained on, (n,).

        A network rebuilds these better than others: on average, their squared residuals
        are to be what the noise is, which is known by held-out rows.
        """
        X = X.astype(np.float64, copy=False)
        scores, squares, n_dims = self._scores_and_squares(X)
        mean = np.average(squares, weights=weight)
        if mean <= 0 or n_dims * self.noise_variance <= mean:
            return scores
        return scores - 0.5 * (n_dims / mean - 1 / self.noise_variance) * squares

    def _scores_and_squares(self, X: NDArray) -> tuple[NDArray, NDArray, float]:
        """Return scores, squared residuals, and the dimensions that these spread over.

        The first two have the shape (n,).
        """
        k = len(self.code_scale)
        if X.shape[1] <= k:
            return self.start.score_samples(X), np.zeros(len(X)), 0.0
        codes = self.transform(X)
        residual = X - self.inverse_transform(codes)
        n_dims = float(np.isfinite(X).sum(1).mean() - k)
        return self._scores(codes, residual), np.nansum(residual**2, axis=1), n_dims

    def _standardised(self, X: NDArray) -> tuple[Tensor, Tensor | None]:
        """Return rows as the module takes them, and what is known of them."""
        known = known_cells(X)
        X = self.start.filled(X, known)
        # float32 has few digits left of rows that are far from zero.
        standardised = (X - self.start.mean) / self.start.scale
        x = torch.from_numpy(standardised.astype(X.dtype, copy=False))
        device = _device(self.module)
        mask = None if known is None else torch.from_numpy(known).to(device)
        return x.to(device), mask

    def _module_for(self, dtype: torch.dtype) -> Any:
        if dtype == torch.float32:
            return self.module
        if dtype not in self._casts:
            cast = copy.deepcopy(self.module)
            self.start.apply(cast)
            both = zip(cast.buffers(), self.module.buffers(), strict=True)
            if all(torch.equal(a, b) for a, b in both):
                cast = cast.to(dtype)
                self.start.apply(cast)  # once more, as exact as it is known
            else:  # it began at other axes
                cast = copy.deepcopy(self.module).to(dtype)
            self._casts[dtype] = cast.eval()
        return self._casts[dtype]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_casts": {}}


def first_codes(codes: Tensor, n: int) -> Tensor:
    """Return codes of which all but the first `n` are 0, shape (rows, k)."""
    first = codes.clone()
    first[:, n:] = 0
    return first


def loadings(rows: NDArray, codes: NDArray, weight: NDArray | None) -> NDArray:
    """Return the least-squares loadings of the columns on the codes, shape (k, d).

    Of PCA's codes these are the principal axes.
    """
    rows = mean_filled(rows, weight)
    centred = codes - np.average(codes, 0, weight)
    weighted = centred if weight is None else weight[:, None] * centred
    products = weighted.T @ (rows - np.average(rows, 0, weight))
    inverse = np.linalg.pinv(weighted.T @ centred, RANK_TOLERANCE, hermitian=True)
    return inverse @ products


@contextmanager
def inference(module: torch.nn.Module) -> Iterator[None]:
    """Do without gradients and chance, in one thread."""
    may_draw = any(map(draws_always, module.modules()))
    numbers = seeded_globally(0) if may_draw else nullcontext()
    with OneThread(), numbers, torch.inference_mode():
        yield


def _device(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device
