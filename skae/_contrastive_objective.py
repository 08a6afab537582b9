"""What tells pairs of two views from others, and what it is once it is trained."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ._architecture_checks import check_trainable
from ._cca import FollowedPairs, PairStart, canonical_start
from ._contrastive_module import ContrastiveLoss, ContrastiveModule
from ._dataset import sample_rows
from ._density_ratio import MOST_CORRELATED, score_by_chance
from ._losses import Loss
from ._module import BaseModule, LinearResidual
from ._objective import MOST_DECAY
from ._plan import TrainingPlan
from ._start import Start
from ._trained import RATIO_ROWS, TrainedNetwork, inference
from ._views import TrainedViews, TwoViews


class TrainedPairs(TrainedViews):
    """Trained encoders, and the normal distribution of their codes."""

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Put the codes in order, and measure the loadings on them."""
        if earlier is not None:
            self.order = earlier.order
        elif sort:
            self.order = np.argsort(-self.correlations, kind="stable")
        super().measure(X, weight, rng, earlier, sort=sort)
        # Corrupted copies are not these rows, and a batch has few of them.
        if self.views.n_x < X.shape[1] and earlier is None:
            self._normalise(*sample_rows(X, weight, RATIO_ROWS, rng))

    def _normalise(self, rows: NDArray, weight: NDArray | None) -> None:
        """Bring the ratio of unrelated training rows to what it is by definition, 1.

        Whatever is added to all scores, no loss that tells pairs apart knows of it.
        """
        codes = self.codes_of_rows(rows.astype(np.float64))
        u, v, c = map(torch.from_numpy, (*codes, self.coefficients))
        w = torch.ones(len(u)) if weight is None else torch.from_numpy(weight)
        by_chance = score_by_chance(u, v, w.to(u), c)
        self.module.calibrate({"offset": -by_chance})
        self._casts.clear()  # which have the offset that was

    @property
    def correlations(self) -> NDArray:
        """Those of the normal distribution of the codes, shape (k,)."""
        module = self._module_for(torch.float64)
        with inference(module):
            z = module.z + module.change[0]
            return z.tanh().cpu().numpy()[self.order]

    @property
    def offset(self) -> float:
        """What is added to the log density ratio, in nats."""
        return float(self._module_for(torch.float64).offset)

    @property
    def coefficients(self) -> NDArray:
        """Those of the log density ratio, shape (4, k)."""
        module = self._module_for(torch.float64)
        with inference(module):
            return module.coefficients.cpu().numpy()[:, self.order]

    def codes_of_rows(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return the codes of both views, (n, k) each."""
        x, y = rows[:, self.views.x], rows[:, self.views.y]
        return self.x_codes(x), self.y_codes(y)

    def x_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the first view, shape (n, k)."""
        x, known, module = self.standardised_view(X, self.views.x)
        with inference(module):
            return module.encoded(x, known).cpu().numpy()[:, self.order]

    def y_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the second view, shape (n, k)."""
        x, known, module = self.standardised_view(X, self.views.y)
        with inference(module):
            return module.decoded(x, known).cpu().numpy()[:, self.order]


class Contrasting(TwoViews):
    """Pairs are to be told from others."""

    def networks(
        self, start: Start, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return an encoder of each view, beside its linear path."""
        k, d = start.n_codes, len(start.mean)
        params = self.params
        x = self.network(params.architecture, self.sample_shape, plan, seed, k)[0]
        y = self.network(params.y_architecture, self.y_shape, plan, seed + 1, k)[0]
        check_trainable(params.architecture, x, y)
        widths = self.n_x, d - self.n_x
        one, other = (
            LinearResidual(network, width, k, gain=False)
            for network, width in zip((x, y), widths, strict=True)
        )
        return one, other

    def module(self, encoder: nn.Module, decoder: nn.Module) -> ContrastiveModule:
        """Return both encoders as one module."""
        assert isinstance(encoder, LinearResidual)
        return ContrastiveModule(encoder, decoder, self.n_x, len(encoder.bias))

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the InfoNCE loss."""
        return ContrastiveLoss()

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return canonical correlation analysis."""
        params = self.params
        how = self.n_x, self.n_codes_asked, params.shrinkage, seed
        return canonical_start(pca, X, weight, *how, groups=self.groups)

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return that of a fold, with the shrinkage of the whole table."""
        assert isinstance(whole, PairStart)
        params = self.params
        how = self.n_x, self.n_codes_asked, params.shrinkage, seed
        return canonical_start(pca, X, weight, *how, (whole.shrinkage,))

    def check_reached(self, start: Start) -> None:
        """Raise if a view has too few dimensions, and warn of what is in both."""
        super().check_reached(start)
        assert isinstance(start, PairStart)
        n = int((start.correlations >= MOST_CORRELATED).sum())
        if n and not self.has_labels:  # which may well follow from a column
            warnings.warn(
                f"The first {n} correlations of both views are 1, and bounded: the "
                "views share a column, or have too few rows for their columns with "
                f"shrinkage={self.params.shrinkage!r}.",
                stacklevel=2,
            )

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return the moments of all batches, and canonical correlations by them."""
        params, n_x = self.params, self.n_x
        if solver is None:
            units = self.pca(X, None, weight, seed)
            k = min(n_x, X.shape[1] - n_x, self.n_codes_asked or X.shape[1])
            solver = FollowedPairs.of(units, X, weight, n_x, k, seed)
        else:
            solver = solver.followed_by(X, weight)
        k = len(solver.trials[0].products[0]) if before is None else before.n_codes
        start = solver.start(n_x, k, params.shrinkage)
        return solver, start if before is None else start.with_signs_of(before)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the trained encoders."""
        return TrainedPairs(module, start, held_out_error)

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``, given the distinct rows."""
        return min(3 * math.sqrt(n_features / n_rows), MOST_DECAY)
