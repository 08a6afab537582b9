"""Two corrupted copies of each row as the views that are told from others.

Let a corruption keep a share p of a cell's deviation and add variances w, and C be the
covariance of the rows. Then two copies have the covariance ``p^2 C + diag(w)`` each and
``p^2 C`` with one another, so that their canonical correlations are known without
drawing one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ._architecture_checks import check_trainable
from ._cca import PairStart, copies_start
from ._contrastive_module import ContrastiveModule, CopiesModule
from ._contrastive_objective import Contrasting
from ._corruptions import (
    LINEAR_EFFECTS,
    check_corruption_level,
    corrupted_copies,
    effect_on_columns,
)
from ._dataset import STATISTICS_ROWS, sample_rows
from ._module import LinearResidual
from ._plan import TrainingPlan
from ._solvers import Moments
from ._start import Start
from ._views import TwoViews

# Pairs of copies of each row from which what a corruption does is found out.
DRAWN_COPIES = 4


class ContrastingCopies(Contrasting):
    """Corrupted copies of a row are to be told from those of others."""

    def __init__(self, params: SimpleNamespace, sample_shape: tuple[int, ...]) -> None:
        super().__init__(params, sample_shape, ())

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return that of a fold: nothing is chosen."""
        return self.start(pca, X, weight, seed)

    def check_reached(self, start: Start) -> None:
        """Raise if rows have too few dimensions; what is never corrupted may be 1."""
        if not start.n_codes:
            raise ValueError(
                f"Nothing of X varies that corruption={self.params.corruption!r} with "
                f"corruption_level={self.params.corruption_level} leaves: use a lower "
                "level, or rows that differ."
            )
        TwoViews.check_reached(self, start)

    def scales(self, variance: NDArray) -> Any:
        """Return the root-mean-square deviation of all columns."""
        return math.sqrt(variance.mean()) or 1.0

    def networks(
        self, start: Start, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return one encoder, beside its linear path."""
        k, architecture = start.n_codes, self.params.architecture
        encoder = self.network(architecture, self.sample_shape, plan, seed, k)[0]
        check_trainable(architecture, encoder)
        return LinearResidual(encoder, self.n_x, k, gain=False), nn.Identity()

    def module(self, encoder: nn.Module, decoder: nn.Module) -> ContrastiveModule:
        """Return a module that corrupts its rows twice."""
        assert isinstance(encoder, LinearResidual)
        return CopiesModule(encoder, self.n_x, len(encoder.bias), *self.corruption)

    @property
    def corruption(self) -> tuple[Any, float, tuple[int, ...]]:
        """What is done to rows, how much, and the shape that a function gets."""
        params = self.params
        return params.corruption, params.corruption_level, self.sample_shape

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return canonical correlation analysis of two copies."""
        x = (X - pca.mean) / pca.scale
        return self._start_of(pca, Moments.of(x, weight), X, weight, seed)

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return the moments of all batches, and canonical correlations by them."""
        units = self.pca(X, None, weight, seed) if before is None else before
        own, scale = Moments.of(X, weight), units.scale
        moments = own if solver is None else solver + own
        units = replace(units, mean=moments.mean, n_samples=moments.n)
        found = Moments(moments.n, moments.mean, moments.scatter / scale**2)
        start = self._start_of(units, found, X, weight, seed)
        return moments, start if before is None else start.with_signs_of(before)

    def _start_of(
        self,
        units: Start,
        moments: Moments,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> PairStart:
        corruption, level, _ = self.corruption
        check_corruption_level(corruption, level)
        if corruption in LINEAR_EFFECTS:
            variance = np.diagonal(moments.covariance)
            keep, added = effect_on_columns(corruption, level, variance, 1.0)
            shared = keep**2 * moments.covariance
            total = shared + np.diag(added)
        else:
            total, shared = self._drawn(units, X, weight, seed)
        return copies_start(units, total, shared, self.n_codes_asked)

    def _drawn(
        self, units: Start, X: NDArray, weight: NDArray | None, seed: int
    ) -> tuple[NDArray, NDArray]:
        """Return covariances of copies that are drawn, of one and of two copies."""
        rng = np.random.default_rng(seed)
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        one, other = (
            corrupted_copies(*self.corruption, units, rows, seed + i, DRAWN_COPIES)
            for i in (0, 1)
        )
        d = X.shape[1]
        weights = None if weight is None else np.tile(weight, DRAWN_COPIES)
        C = Moments.of(np.hstack([one, other]), weights).covariance
        total, shared = (C[:d, :d] + C[d:, d:]) / 2, (C[:d, d:] + C[d:, :d]) / 2
        return total, shared
