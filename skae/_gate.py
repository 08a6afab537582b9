"""The gate: the trained network replaces PCA only where held-out rows say so.

A table of many rows holds some out. In a small one every row is held out once: as many
replicas of the network as there are folds train side by side, each blind to one fold,
and the pooled held-out losses decide for the network that then trains on all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ._dataset import TrainingData
from ._linear import KEPT_OF_EARLIER
from ._net import AutoencoderNet
from ._step import own_random_numbers

MIN_HELD_OUT = 5  # of a split; with fewer, chance decides
# Standard errors of the paired improvement that a network must show over a split.
SPLIT_ERRORS = 2.0


def fold_errors(n_rows: int) -> float:
    """Return the standard errors that a network must show over folds of `n_rows` rows.

    Few rows know their own spread badly, and the network that is trained on all of
    them may differ from those of the folds.
    """
    return 1.25 + 30 / n_rows


@dataclass(frozen=True)
class Evidence:
    """How much better than the linear start a network is on rows it has not seen.

    Attributes
    ----------
    n_rows : float
        Rows that were compared, older ones counting less and less.
    gain : float
        Mean of the paired improvement of the loss.
    mean_loss : float
        Mean loss of the network.
    moments : tuple of float
        Sums over the rows of ``w**2 * gain**p`` for p = 0, 1, 2, where the weights w
        add up to 1. The standard error of the mean follows from them.
    """

    n_rows: float = 0.0
    gain: float = 0.0
    mean_loss: float = 0.0
    moments: tuple[float, ...] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, before: Tensor, after: Tensor, weight: Tensor | None) -> Evidence:
        """Compare the losses of the same rows, all of shape (n,)."""
        gain = (before - after).double()
        w = torch.ones_like(gain) if weight is None else weight.double()
        w = w / w.sum()
        squares = w.square()
        moments = tuple(float((squares * gain**p).sum()) for p in range(3))
        return cls(len(gain), float(w @ gain), float(w @ after.double()), moments)

    def followed_by(self, batch: Evidence) -> Evidence:
        """Return the evidence after one more batch, which takes a tenth at least."""
        old = KEPT_OF_EARLIER * self.n_rows
        share = batch.n_rows / (batch.n_rows + old)
        return Evidence(
            n_rows=batch.n_rows + old,
            gain=self.gain + share * (batch.gain - self.gain),
            mean_loss=self.mean_loss + share * (batch.mean_loss - self.mean_loss),
            moments=tuple(
                (1 - share) ** 2 * a + share**2 * b
                for a, b in zip(self.moments, batch.moments, strict=True)
            ),
        )

    @property
    def n_errors(self) -> float:
        """The improvement in units of its standard error."""
        zeroth, first, second = self.moments
        variance = second - 2 * self.gain * first + self.gain**2 * zeroth
        if variance <= 0:
            return math.copysign(math.inf, self.gain) if self.gain else 0.0
        return self.gain / math.sqrt(variance)

    def opens(self, n_errors: float) -> bool:
        """Whether the improvement exceeds `n_errors` of its standard errors."""
        return self.gain > 0 and self.n_errors > n_errors


class Replicas(nn.Module):
    """Modules of one architecture as one module; outputs gain a leading axis.

    Their parameters are stacked and one vectorised pass (:func:`torch.func.vmap`)
    computes all of them, at little more than the cost of one where the tables are
    small. Modules that cannot be vectorised, such as torch's recurrent layers, are
    called one after the other.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Same classes and shapes, different weights and buffers.
    sample : Tensor of shape (n, n_features)
        Rows to try the vectorised pass on.
    """

    def __init__(self, modules: Sequence[nn.Module], sample: Tensor) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(modules))
        self.names = list(parameters)
        self.stacked = nn.ParameterList(parameters.values())
        self.buffer_names = list(buffers)
        self.separate = nn.ModuleList()
        # In a list, so that it is not registered as a part with parameters of its own.
        self._template = [modules[0]]
        self._set_buffers(buffers)
        try:
            with own_random_numbers(self, 0):
                self.train()(sample)
        except (RuntimeError, ValueError):
            self.stacked = nn.ParameterList()
            self.separate.extend(modules)
        else:
            self._set_buffers(buffers)  # the trial may have changed some

    def _set_buffers(self, buffers: dict[str, Tensor]) -> None:
        for i, name in enumerate(self.buffer_names):
            self.register_buffer(f"buffer_{i}", buffers[name].clone())

    @property
    def template(self) -> nn.Module:
        """One of the modules; its own parameters are not trained."""
        return self._template[0]

    @property
    def running(self) -> list[nn.Module]:
        """The modules that are called: the template for all of them, or each."""
        return list(self.separate) or [self.template]

    def train(self, mode: bool = True) -> Replicas:
        """Set the training mode of the modules."""
        self.template.train(mode)
        return super().train(mode)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return each output of the modules with shape (n_modules, n, ...)."""
        if len(self.separate):
            outputs = [module(x) for module in self.separate]
            return tuple(torch.stack(part) for part in zip(*outputs, strict=True))
        state = dict(zip(self.names, self.stacked, strict=True))
        buffers = dict(zip(self.buffer_names, self.buffers(), strict=True))

        def call(state: dict[str, Tensor], buffers: dict[str, Tensor]) -> Any:
            return functional_call(self.template, (state, buffers), (x,))

        return vmap(call, randomness="different")(state, buffers)


@dataclass
class Verdict:
    """What the held-out rows say of a trained network.

    `mean_loss` is that of the held-out rows at `best_iter`, None if no row was held
    out; `curve` is the same for every epoch from 0 on; `noise_variance` is that of the
    noise that they show, 0 if there is none; `reason` ends a sentence.
    """

    open: bool
    best_iter: int
    mean_loss: float | None
    curve: list[float]
    noise_variance: float = 0.0
    reason: str = ""


def judge(
    net: AutoencoderNet,
    data: TrainingData,
    pca: Tensor | None,
    n_errors: float,
    *,
    required: bool,
) -> Verdict:
    """Judge a trained net by the rows that it has not seen.

    `pca` has their losses at the linear start. `required` says that there is no PCA to
    fall back on.
    """
    if not len(data.valid):
        return Verdict(required, net.best_iter_, None, [])
    if len(data.valid) < MIN_HELD_OUT:
        return Verdict(required, net.best_iter_, net.best_loss_, net.valid_losses_)
    weight = None if data.weight is None else data.weight[data.valid]
    before = net.start_losses_ if pca is None else pca
    evidence = Evidence.of(before, net.best_losses_, weight)
    reason = (
        f": on held-out rows the network was better by {evidence.n_errors:.1f} "
        f"standard errors, and more than {n_errors:.2f} are asked"
    )
    return Verdict(
        required or evidence.opens(n_errors),
        net.best_iter_,
        net.best_loss_,
        net.valid_losses_,
        net.best_noise_variance_,
        "" if required else reason,
    )
