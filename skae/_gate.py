"""The gate: the trained network replaces PCA only where held-out rows say so.

A table of many rows holds some out. In a small one every row is held out once: as many
replicas of the network as there are folds train side by side, each blind to one fold,
and the pooled held-out losses decide for the network that then trains on all rows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ._dataset import RowDataset
from ._linear import linear_start
from ._net import AutoencoderNet, TrainingData, own_random_numbers
from ._residual import set_linear_path

# Tables below this many distinct rows are judged by folds, the others by a split.
SMALL_TABLE = 1000
N_FOLDS = 5
MIN_ROWS = 10  # with fewer, no held-out rows can speak for a network
MIN_HELD_OUT = 5  # of a split; with fewer, chance decides
MAX_HELD_OUT = 10_000
# Standard errors of the paired improvement that a network must show.
FOLD_ERRORS = 1.5
SPLIT_ERRORS = 2.0


def opens(
    before: Tensor, after: Tensor, weight: Tensor | None, n_errors: float
) -> bool:
    """Whether the paired improvement exceeds `n_errors` of its standard errors.

    Parameters
    ----------
    before, after : Tensor of shape (n,)
        Held-out losses of the same rows at the start and after training.
    weight : Tensor of shape (n,) or None
        Weights of the rows.
    n_errors : float
    """
    gain = (before - after).double()
    share = torch.ones_like(gain) if weight is None else weight.double()
    share = share / share.sum()
    mean = float((share * gain).sum())
    variance = float((share.square() * (gain - mean).square()).sum())
    return math.isfinite(mean) and mean > n_errors * math.sqrt(variance) and mean > 0


@dataclass(frozen=True)
class Evidence:
    """What a stream of batches has said of a network before training on them.

    Older batches count less and less: each new one takes at least a tenth.
    """

    n_rows: float = 0.0
    gain: float = 0.0  # mean of the paired improvement
    squared_gain: float = 0.0
    mean_loss: float | None = None

    def updated(self, before: Tensor, after: Tensor, weight: Tensor | None) -> Evidence:
        """Return the evidence after one more batch."""
        gain = (before - after).double()
        w = torch.ones_like(gain) if weight is None else weight.double()
        w = w / w.sum()
        old = 0.9 * self.n_rows
        share = len(gain) / (len(gain) + old)
        loss = float((w * after).sum())
        return Evidence(
            n_rows=len(gain) + old,
            gain=self.gain + share * (float((w * gain).sum()) - self.gain),
            squared_gain=self.squared_gain
            + share * (float((w * gain.square()).sum()) - self.squared_gain),
            mean_loss=loss
            if self.mean_loss is None
            else self.mean_loss + share * (loss - self.mean_loss),
        )

    @property
    def opens(self) -> bool:
        """Whether the network beat the linear start by enough standard errors."""
        if not self.n_rows:
            return False
        variance = max(self.squared_gain - self.gain**2, 0.0) / self.n_rows
        return self.gain > 0 and self.gain > SPLIT_ERRORS * math.sqrt(variance)


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
            with own_random_numbers(modules[0], 0):
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
    out; `curve` is the same for every epoch from 0 on.
    """

    open: bool
    best_iter: int
    mean_loss: float | None
    curve: list[float]


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
    is_open = required or opens(before, net.best_losses_, weight, n_errors)
    return Verdict(is_open, net.best_iter_, net.best_loss_, net.valid_losses_)


def cross_validate(
    make_module: Callable[[], nn.Module],
    make_net: Callable[..., AutoencoderNet],
    data: TrainingData,
    n_components: int,
) -> AutoencoderNet:
    """Train one replica for each fold, started at PCA of the rows that it may see.

    Parameters
    ----------
    make_module : callable
        Returns a module with its initial weights.
    make_net : callable
        Returns a net for a module.
    data : TrainingData
        With `fold_of`.
    """
    rows = data.dataset.take(data.train).cpu().double().numpy()
    fold_of = (
        np.zeros(len(rows)) if data.fold_of is None else data.fold_of.cpu().numpy()
    )
    modules = []
    for fold in range(int(fold_of.max()) + 1):
        keep = fold_of != fold
        module = make_module()
        weight = None if data.weight is None else data.weight.cpu().numpy()[keep]
        k = min(n_components, int(keep.sum()), rows.shape[1])
        start = linear_start(rows[keep], k, weight, random_state=0).padded(n_components)
        set_linear_path(module, start, np.zeros(rows.shape[1]), 1.0)
        modules.append(module)
    replicas = Replicas(modules, data.dataset.take(data.train[:2]))
    silent = {"keep_best": False, "callbacks": None, "verbose": 0}
    return make_net(replicas, **silent).partial_fit(data)


@dataclass
class TrainingPlan:
    """How to train on a table, as follows from its number of distinct rows.

    Attributes
    ----------
    n_rows : int
    hidden_layer_sizes : tuple of int
    max_iter : int
        Epochs.
    batch_size : int
    n_folds : int
        Folds of the gate; 0 if a split decides.
    n_held_out : int
        Rows of that split.
    """

    n_rows: int
    hidden_layer_sizes: tuple[int, ...]
    max_iter: int
    batch_size: int
    n_folds: int
    n_held_out: int

    def without_folds(self) -> TrainingPlan:
        """Return the plan with a split in place of the folds."""
        if not self.n_folds:
            return self
        return replace(self, n_folds=0, n_held_out=self.n_rows // N_FOLDS)

    @classmethod
    def for_table(cls, n: int, validation_fraction: float | str) -> TrainingPlan:
        """Return the defaults for a table of `n` distinct rows."""
        small = n < SMALL_TABLE
        folds = N_FOLDS if small and n >= MIN_ROWS else 0
        held_out = 0 if small else min(n // 10, MAX_HELD_OUT)
        if validation_fraction != "auto":
            folds, held_out = 0, max(1, round(float(validation_fraction) * n))
        batch_size = min(n // 8, 128) if small else max(min(n // 16, 256), n // 256)
        return cls(
            n_rows=n,
            hidden_layer_sizes=(64,) if small else (256, 128),
            max_iter=max(2, round(min(50, 50 * math.sqrt(20_000 / n)))),
            batch_size=min(max(batch_size, 16), 1024),
            n_folds=folds,
            n_held_out=min(held_out, n - 1),
        )


def train(
    net: AutoencoderNet,
    dataset: RowDataset,
    weight: Tensor | None,
    plan: TrainingPlan,
    n_components: int,
    new_module: Callable[[], nn.Module],
    new_net: Callable[..., AutoencoderNet],
    *,
    required: bool,
    continued: bool,
) -> Verdict:
    """Train `net` and judge it against PCA.

    `new_module` and `new_net` make the replicas that decide for a small table, and the
    linear start to compare with where the training is `continued`. With `required` the
    network is kept in any case, as there is no PCA to fall back on.
    """
    # int32, because the row numbers of a table on disk take memory too
    n, device = dataset.n_rows, dataset.device
    rows = torch.arange(n, dtype=torch.int32, device=device)
    order = torch.randperm(n, generator=seeded(net.seed), dtype=torch.int32).to(device)
    if plan.n_folds and plan.max_iter:
        fold_of = torch.empty(n, dtype=torch.int64, device=device)
        fold_of[order] = torch.arange(n, device=device) % plan.n_folds
        data = TrainingData(dataset, rows, rows, weight, fold_of)
        probe = cross_validate(new_module, new_net, data, n_components)
        verdict = judge(probe, data, None, FOLD_ERRORS, required=required)
        if verdict.open:
            everything = TrainingData(dataset, rows, rows[:0], weight)
            net.partial_fit(everything, epochs=max(1, verdict.best_iter))
        else:
            net.history_ = probe.history_
        return verdict
    held_out = order[: plan.n_held_out]
    kept = order[plan.n_held_out :].sort().values  # in the order of the file
    data = TrainingData(dataset, kept, held_out, weight)
    pca = new_net(new_module()).held_out_losses(data) if continued else None
    start = copy.deepcopy(net.module_.state_dict())
    net.partial_fit(data)
    verdict = judge(net, data, pca, SPLIT_ERRORS, required=required)
    if not verdict.open and net.restore_start:
        net.module_.load_state_dict(start)
    return verdict


def seeded(seed: int) -> torch.Generator:
    """Return a generator with this seed."""
    return torch.Generator().manual_seed(seed)
