"""The gate: the trained network replaces the start only where held-out rows say so.

A table of many rows holds some out. In a small one every row is held out once: as many
copies of the network as there are folds train side by side, each blind to one fold, and
the pooled held-out losses decide for the network that then trains on all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ._dataset import TrainingData
from ._module import BaseModule
from ._split import MIN_HELD_OUT
from ._step import RandomNumbers

if TYPE_CHECKING:
    from ._net import AutoencoderNet

# Standard errors of the paired improvement that a network must show over a split.
SPLIT_ERRORS = 2.0
# Those by which it is worse after a third of the epochs where it is not trained on.
LOST_ERRORS = 3.0
# Kurtosis of the improvements beyond which they count as those of fewer units.
MOST_KURTOSIS = 10.0
# What the rows of earlier batches count, less with every further batch.
KEPT_OF_EARLIER = 0.9


def threshold(n_units: float, *, in_folds: bool) -> float:
    """Return the standard errors that a network must show over so many held-out units.

    Few rows know their own spread badly, and the network that is trained on all rows
    of a small table may differ from those of the folds.
    """
    errors = 1.25 + 30 / max(n_units, 1)
    return errors if in_folds else max(errors, SPLIT_ERRORS)


@dataclass(frozen=True)
class PairedImprovement:
    """How much better than the start a network is on rows it has not seen.

    Attributes
    ----------
    n_rows : float
        Rows that were compared, older ones counting less and less.
    mean : float
        Mean of the paired improvement of the loss.
    mean_loss : float
        Mean loss of the network.
    moments : tuple of float
        Sums over the units of ``w**(2 - p) * gain**p`` for p = 0, 1, 2, where w and
        gain are the sums over the rows of a unit of their weights, which add up to 1,
        and of their weighted improvements. The standard error of the mean, robust to
        units of several rows, follows from them.
    n_even : float
        Units of which improvements vary as unevenly that are alike in size, or 0: one
        where a single unit has it all.
    """

    n_rows: float = 0.0
    mean: float = 0.0
    mean_loss: float = 0.0
    moments: tuple[float, ...] = (0.0, 0.0, 0.0)
    n_even: float = math.inf

    @classmethod
    def of(
        cls,
        before: Tensor,
        after: Tensor,
        weight: Tensor | None = None,
        units: Tensor | None = None,
    ) -> PairedImprovement:
        """Compare the losses of the same rows, all of shape (n,)."""
        w = torch.ones_like(before) if weight is None else weight
        w = w.double() / w.double().sum()
        improvement = w * (before - after).double()
        mean, mean_loss = float(improvement.sum()), float(w @ after.double())
        if units is not None:
            sums = w.new_zeros(2, int(units.max()) + 1)
            w, improvement = sums.index_add_(1, units, torch.stack([w, improvement]))
        moments = w @ w, w @ improvement, improvement @ improvement
        squares = (improvement - mean * w).square()
        fourth = float(squares @ squares)
        n_even = float(squares.sum()) ** 2 / fourth if fourth else math.inf
        found = tuple(float(m) for m in moments)
        return cls(len(before), mean, mean_loss, found, n_even)

    def followed_by(self, batch: PairedImprovement) -> PairedImprovement:
        """Return the improvement after one more batch, which takes a tenth at least."""
        old = KEPT_OF_EARLIER * self.n_rows
        share = batch.n_rows / (batch.n_rows + old)
        return PairedImprovement(
            n_rows=batch.n_rows + old,
            mean=self.mean + share * (batch.mean - self.mean),
            mean_loss=self.mean_loss + share * (batch.mean_loss - self.mean_loss),
            moments=tuple(
                (1 - share) ** 2 * a + share**2 * b
                for a, b in zip(self.moments, batch.moments, strict=True)
            ),
        )

    @property
    def z_score(self) -> float:
        """The improvement in units of its standard error."""
        zeroth, first, second = self.moments
        variance = second - 2 * self.mean * first + self.mean**2 * zeroth
        if variance <= 0:
            return math.copysign(math.inf, self.mean) if self.mean else 0.0
        return self.mean / math.sqrt(variance)

    def exceeds(self, threshold: float) -> bool:
        """Whether the improvement is more than so many of its standard errors."""
        return self.mean > 0 and self.z_score > threshold


@dataclass(frozen=True)
class GateDecision:
    """What the held-out rows say of a trained network.

    Attributes
    ----------
    is_open : bool
        Whether the network replaces the start.
    best_iter : int
        Epoch with the lowest held-out loss; the last one if no row was held out.
    mean_loss : float or None
        That loss; None if no row was held out.
    curve : list of float
        The same for every epoch from 0 on.
    calibration : dict
        What the held-out rows say of that epoch: see :meth:`Loss.calibrated`.
    reason : str
        Ends a sentence.
    """

    is_open: bool
    best_iter: int
    mean_loss: float | None = None
    curve: list[float] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def judge(
    net: AutoencoderNet,
    data: TrainingData,
    start_losses: Tensor | None,
    threshold: Callable[[float], float],
    *,
    required: bool,
) -> GateDecision:
    """Judge a trained net by the rows that it has not seen.

    `start_losses` has their losses at the start, if not those that the net began with.
    `threshold` returns the standard errors to show over so many units, and `required`
    says that there is no start to fall back on.
    """
    if not len(data.valid):
        return GateDecision(required, net.best_iter_)
    found = net.best_iter_, net.best_loss_, net.valid_losses_
    if data.n_units < MIN_HELD_OUT:
        reason = f": fewer than {MIN_HELD_OUT} held-out units say nothing"
        return GateDecision(required, *found, reason="" if required else reason)
    before = net.start_losses_ if start_losses is None else start_losses
    improvement = PairedImprovement.of(
        before, net.best_losses_, data.valid_weight, data.units
    )
    n_units = data.n_units
    if data.fold_of is not None:  # by few of many rows a split may be right
        n_units = min(n_units, MOST_KURTOSIS * improvement.n_even)
    asked = threshold(n_units)
    reason = (
        f": on held-out rows the network was better by {improvement.z_score:.1f} "
        f"standard errors, and more than {asked:.2f} are asked"
    )
    is_better = improvement.exceeds(asked)
    typical = typical_improvement(before, net.best_losses_, data.valid_weight)
    if is_better and typical < net.criterion_.least_typical:
        is_better = False
        reason = (
            ": it is better on held-out rows that are known badly, and on most of the "
            "others worse"
        )
    reason = "" if required else reason
    return GateDecision(required or is_better, *found, net.best_calibration_, reason)


def typical_improvement(
    before: Tensor, after: Tensor, weight: Tensor | None = None
) -> float:
    """Return the mean improvement of the losses of rows, as a share of both.

    Each row counts the same, however large its losses are, which must not be negative:
    -0.05 stands for losses that are a tenth larger.
    """
    before, after = before.double(), after.double()
    w = torch.ones_like(before) if weight is None else weight.double()
    both = before + after
    return float(w @ torch.where(both > 0, (before - after) / both, 0.0) / w.sum())


class StackedModules(nn.Module):
    """Modules of one architecture as one module; outputs gain a leading axis.

    Their parameters are stacked and one vectorised pass (:func:`torch.func.vmap`)
    computes all of them, at little more than the cost of one where the tables are
    small. Modules that cannot be vectorised, such as torch's recurrent layers, are
    called one after the other.

    Parameters
    ----------
    modules : sequence of BaseModule
        Same classes and shapes, different weights and buffers.
    vectorised : bool or tuple of Tensor
        Whether the vectorised pass is known to work. If not, what ``forward`` takes, to
        try it on.
    """

    def __init__(
        self, modules: Sequence[BaseModule], vectorised: bool | tuple[Any, ...]
    ) -> None:
        super().__init__()
        # In a list, so that it is not registered as a part with parameters of its own.
        self._template = [modules[0]]
        self.separate = nn.ModuleList()
        parameters, buffers = stack_module_state(list(modules))
        self._stack(parameters, buffers)
        if not isinstance(vectorised, bool):
            vectorised = self._is_vectorised(vectorised)
            self._stack(parameters, buffers)  # the trial may have changed some
        if not vectorised:
            self._stack({}, {})
            self.separate.extend(modules)

    def _stack(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        self.names, self.buffer_names = list(parameters), list(buffers)
        self.stacked = nn.ParameterList(parameters.values())
        self._buffers.clear()
        for i, buffer in enumerate(buffers.values()):
            self.register_buffer(f"buffer_{i}", buffer.clone())

    def _is_vectorised(self, sample: tuple[Any, ...]) -> bool:
        n = self.n_modules
        try:
            with RandomNumbers(self, 0) as numbers, numbers.drawing():
                given = (self.prepare(*sample),) if self.prepares else ()
                self.train()(*sample, *given)
                own = (None if t is None else t.expand(n, *t.shape) for t in sample)
                self.eval()(*own, *given)  # rows of its own, as each is judged by
        except (RuntimeError, ValueError, UserWarning):
            return False
        return True

    @property
    def template(self) -> BaseModule:
        """One of the modules; its own parameters are not trained."""
        return self._template[0]

    @property
    def undecayed(self) -> list[str]:
        """Names of parameters that no weight decay pulls at."""
        own = self.template.undecayed
        if len(self.separate):
            n = len(self.separate)
            return [f"separate.{i}.{name}" for i in range(n) for name in own]
        return [f"stacked.{self.names.index(name)}" for name in own]

    @property
    def running(self) -> list[Any]:
        """The modules whose ``forward`` is called: the template for all, or each."""
        return list(self.separate) or [self.template]

    def state_of(self, i: int) -> dict[str, Tensor]:
        """Return the ``state_dict`` of one of the modules."""
        if len(self.separate):
            state: dict[str, Tensor] = self.separate[i].state_dict()
            return state
        names = *self.names, *self.buffer_names
        tensors = *self.stacked, *self.buffers()
        return {name: t.detach()[i] for name, t in zip(names, tensors, strict=True)}

    def load_into(self, module: nn.Module, i: int) -> None:
        """Set a module to the state of one of these."""
        # Weights that two networks share have one name here.
        module.load_state_dict(self.state_of(i), strict=False)

    def train(self, mode: bool = True) -> StackedModules:
        """Set the training mode of the modules."""
        self.template.train(mode)
        return super().train(mode)

    @property
    def n_modules(self) -> int:
        """How many modules there are."""
        return len(self.separate) or len(self.stacked[0])

    @property
    def prepares(self) -> bool:
        """Whether the modules do."""
        return self.template.prepares

    def prepare(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, ...]:
        """Return what each of the modules prepares, with shape (n_modules, n, ...).

        Parameters
        ----------
        x, known : Tensor of shape (n, n_features) or (n_modules, n, n_features)
            Rows for all of the modules, or for each its own.
        """
        if len(self.separate):
            modules: Any = self.separate
            outputs = [
                module.prepare(_own(x, i), _own(known, i))
                for i, module in enumerate(modules)
            ]
            return tuple(torch.stack(part) for part in zip(*outputs, strict=True))
        rows = [
            t if t is None or t.ndim == 3 else t.expand(self.n_modules, *t.shape)
            for t in (x, known)
        ]
        buffers = zip(self.buffer_names, self.buffers(), strict=True)
        own = {f"module.{name}": buffer for name, buffer in buffers}
        prepared: tuple[Tensor, ...]
        prepared = functional_call(_Preparing(self.template), own, tuple(rows))
        return prepared

    def forward(
        self,
        x: Tensor,
        known: Tensor | None = None,
        given: tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, ...]:
        """Return each output of the modules with shape (n_modules, n, ...).

        Parameters
        ----------
        x, known : Tensor of shape (n, n_features) or (n_modules, n, n_features)
            Rows for all of the modules, or for each its own.
        given : tuple of Tensor of shape (n_modules, n, ...) or None
            What :meth:`prepare` made of the rows, if anything.
        """
        more: tuple[Any, ...] = () if given is None else (given,)
        if len(self.separate):
            outputs = []
            for i, module in enumerate(self.separate):
                own = [tuple(part[i] for part in parts) for parts in more]
                outputs.append(module(_own(x, i), _own(known, i), *own))
            return tuple(torch.stack(part) for part in zip(*outputs, strict=True))
        state = dict(zip(self.names, self.stacked, strict=True))
        buffers = dict(zip(self.buffer_names, self.buffers(), strict=True))
        rows = (x,) if known is None else (x, known)

        def call(
            state: dict[str, Tensor],
            buffers: dict[str, Tensor],
            rows: tuple[Tensor, ...],
            *given: Any,
        ) -> Any:
            known = rows[1] if len(rows) > 1 else None
            inputs = rows[0], known, *given
            return functional_call(self.template, (state, buffers), inputs)

        axes = 0, 0, 0 if x.ndim == 3 else None, *(0 for _ in more)
        return vmap(call, axes, randomness="different")(state, buffers, rows, *more)


def _own(rows: Tensor | None, i: int) -> Tensor | None:
    """Return what one of stacked modules gets of rows for all, or each its own."""
    return rows[i] if rows is not None and rows.ndim == 3 else rows


class _Preparing(nn.Module):
    """What a module prepares, as the ``forward`` that `functional_call` calls."""

    def __init__(self, module: BaseModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, ...]:
        return self.module.prepare(x, known)
