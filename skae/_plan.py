"""What follows from the size of a table: networks, epochs, batches, held-out rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ._parameters import is_auto
from ._split import MIN_HELD_OUT
from ._start import Start

# Tables below this many distinct rows are judged by folds, the others by a split.
SMALL_TABLE = 1000
N_FOLDS = 5
# Folds of networks that train one after the other cost too much from here on.
FEW_ROWS = 200
MIN_ROWS = 10  # with fewer, no held-out rows can speak for a network
MAX_HELD_OUT = 10_000
# Curves and sheets through a large table take a deeper network, and more epochs; in a
# small one only curves do.
FEW_CODES = 2
# So few groups are folds, in a table of any size: a tenth of them would be too few.
FEW_GROUPS = 20


@dataclass(frozen=True)
class TrainingPlan:
    """How to train on a table.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    max_iter : int
        Epochs.
    batch_size : int
    n_folds : int
        Folds of the gate; 0 if a split decides.
    n_held_out : int
        Rows of that split.
    n_rows : int
        Distinct rows.
    alpha : float
        Weight decay; of :meth:`at`, where it is to follow from the table.
    """

    hidden_layer_sizes: tuple[int, ...]
    max_iter: int
    batch_size: int
    n_folds: int
    n_held_out: int
    n_rows: int
    alpha: float = 0.0

    @classmethod
    def for_table(cls, n: int) -> TrainingPlan:
        """Return the defaults for a table of `n` distinct rows."""
        small = n < SMALL_TABLE
        held_out = 0 if small else min(n // 10, MAX_HELD_OUT)
        batch_size = min(n // 8, 128) if small else max(min(n // 16, 256), n // 256)
        return cls(
            hidden_layer_sizes=(64,) if small else (256, 128),
            max_iter=max(2, round(min(50, 50 * math.sqrt(20_000 / n)))),
            batch_size=min(max(batch_size, 16), 1024),
            n_folds=N_FOLDS if small and n >= MIN_ROWS else 0,
            n_held_out=held_out,
            n_rows=n,
        )

    @classmethod
    def of(
        cls,
        params: Any,
        n_rows: int,
        n_groups: int | None = None,
        *,
        has_valid: bool = False,
        one_net: bool = False,
    ) -> TrainingPlan:
        """Return the plan for a table, with the user's parameters in place of "auto".

        Parameters
        ----------
        params : namespace
            Parameters of the estimator.
        n_rows : int
            Distinct rows to train on, or to hold out some of.
        n_groups : int, optional
            Groups of rows that are held out together.
        has_valid : bool
            Whether rows of their own decide.
        one_net : bool
            Whether one net has to see everything, so that there can be no folds.
        """
        plan = cls.for_table(n_rows)
        folds, held_out = plan.n_folds, plan.n_held_out
        one_by_one = not getattr(params.architecture, "is_vectorised", True)
        if one_by_one and n_rows >= FEW_ROWS:
            one_net = True
        if n_groups is not None:
            few = n_rows >= MIN_ROWS and MIN_HELD_OUT <= n_groups < FEW_GROUPS
            folds = N_FOLDS if few or (folds and n_groups >= FEW_GROUPS) else 0
        if folds and (one_net or params.warm_start or params.callbacks):
            folds, held_out = 0, n_rows // N_FOLDS
        if not is_auto(params.validation_fraction):
            folds = 0
            held_out = max(1, round(float(params.validation_fraction) * n_rows))
        if has_valid:
            folds = held_out = 0
        sizes = {
            name: getattr(params, name)
            for name in ("hidden_layer_sizes", "max_iter", "batch_size")
            if not is_auto(getattr(params, name))
        }
        for name in {"max_iter", "batch_size"} & sizes.keys():
            sizes[name] = int(sizes[name])  # of numpy's integers, some are small
        held_out = min(held_out, n_rows - 1)
        return replace(plan, **sizes, n_folds=folds, n_held_out=held_out)

    def at(
        self, start: Start, params: Any, decay: float, *, takes_longer: bool
    ) -> TrainingPlan:
        """Return the plan for a start, and with a weight decay for ``alpha="auto"``.

        Few codes take another layer, and more epochs where there are many rows. There
        is one epoch where nothing is left to learn, and none without a code.
        """
        alpha = decay if is_auto(params.alpha) else float(params.alpha)
        max_iter = self.max_iter
        sizes, is_large = self.hidden_layer_sizes, self.n_rows >= SMALL_TABLE
        are_few = start.n_codes <= (FEW_CODES if is_large else 1)
        if is_auto(params.hidden_layer_sizes) and are_few:
            sizes = (*sizes, sizes[-1] // 2)
        if is_auto(params.max_iter) and is_large and (are_few or takes_longer):
            max_iter *= 2
        if start.is_degenerate or not start.n_codes:
            max_iter = min(max_iter, int(start.n_codes > 0))
        return replace(self, alpha=alpha, max_iter=max_iter, hidden_layer_sizes=sizes)
