"""Training: what follows from the size of a table, and the course of one fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._dataset import RowDataset, TrainingData
from ._gate import SPLIT_ERRORS, Replicas, Verdict, fold_errors, judge
from ._linear import LinearStart
from ._net import AutoencoderNet
from ._residual import with_linear_path
from ._solvers import linear_start
from ._validation import check_widths

# Tables below this many distinct rows are judged by folds, the others by a split.
SMALL_TABLE = 1000
N_FOLDS = 5
# Folds of networks that train one after the other cost too much from here on.
FEW_ROWS = 200
MIN_ROWS = 10  # with fewer, no held-out rows can speak for a network
MAX_HELD_OUT = 10_000


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


@dataclass
class Builder:
    """Makes the modules of one fit, all at its linear start, and nets to train them.

    Attributes
    ----------
    plan : TrainingPlan
    start : LinearStart
    n_components : int
    sample_shape : tuple of int
    architecture : Architecture
    n_outputs : int
        Numbers that the encoder gives for a row.
    is_random : bool
        Whether the networks stand alone, without a linear path and without PCA to fall
        back on.
    is_settled : bool
        Whether the start leaves nothing over, so that it is kept in any case.
    make_module : callable
        Returns a module for an encoder and a decoder.
    make_loss : callable
        Returns a new loss.
    refined_start : callable
        Returns the linear start of the objective, given PCA's, rows and weights.
    seed : int
        Seeds the initial weights and the order of the rows.
    settings : dict
        Parameters of the net.
    user_settings : dict
        Those that the user asked for by `net_params`, which come last.
    """

    plan: TrainingPlan
    start: LinearStart
    n_components: int
    sample_shape: tuple[int, ...]
    architecture: Any
    n_outputs: int
    is_random: bool
    is_settled: bool
    make_module: Callable[[nn.Module, nn.Module], Any]
    make_loss: Callable[[], nn.Module]
    refined_start: Callable[[LinearStart, Any, NDArray | None], LinearStart]
    seed: int
    settings: dict[str, Any]
    user_settings: dict[str, Any]

    def asked(self, n_errors: float) -> float:
        """Return the standard errors to show: no number will do at a settled start."""
        return math.inf if self.is_settled else n_errors

    def module(self) -> Any:
        """Return a module at the linear start."""
        d, k = len(self.start.mean), self.n_components
        encoder, decoder = self._networks(k)
        check_widths(encoder, decoder, self.sample_shape, k, self.n_outputs)
        if len(self.sample_shape) > 1:
            encoder = nn.Sequential(nn.Unflatten(1, self.sample_shape), encoder)
            decoder = nn.Sequential(decoder, nn.Flatten())
        if not self.is_random:
            encoder, decoder = with_linear_path(encoder, decoder, d, k, self.n_outputs)
        module = self.make_module(encoder, decoder)
        if not any(p.requires_grad for p in module.parameters()):
            raise ValueError(
                f"architecture={self.architecture!r} has no parameter to train: none "
                "has requires_grad=True."
            )
        module.start_at(self.start, self.start.mean, self.start.scale)
        return module

    def _networks(self, k: int) -> tuple[nn.Module, nn.Module]:
        """Return an encoder of `n_outputs` and a decoder of `k` inputs."""
        encoder, decoder = self._build(self.n_outputs)
        if k == self.n_outputs:
            return encoder, decoder
        if not set(encoder.parameters()).isdisjoint(decoder.parameters()):
            raise ValueError(
                f"architecture={self.architecture!r}: the decoder shares its weights "
                f"with the encoder, which needs {self.n_outputs} outputs for {k} codes."
            )
        return encoder, self._build(k)[1]

    def _build(self, k: int) -> tuple[nn.Module, nn.Module]:
        architecture = self.architecture
        if isinstance(architecture, type):
            raise ValueError(
                f"architecture={architecture.__name__} is a class: give an instance."
            )
        networks = architecture.build(self.sample_shape, k, seeded(self.seed))
        if not isinstance(networks, tuple | list) or len(networks) != 2:
            raise ValueError(
                f"{architecture!r}.build returned {type(networks).__name__}: it must "
                "return an encoder and a decoder."
            )
        return networks[0], networks[1]

    def net(self, module: nn.Module, **changes: Any) -> AutoencoderNet:
        """Return an initialised net for a module."""
        settings = {
            "optimizer": torch.optim.AdamW,
            "max_epochs": self.plan.max_iter,
            "batch_size": self.plan.batch_size,
            "seed": self.seed,
            **self.settings,
            **self.user_settings,
            **changes,
        }
        if settings["optimizer"] in (torch.optim.AdamW, torch.optim.Adam):
            settings.setdefault("optimizer__fused", True)
        try:
            return AutoencoderNet(module, self.make_loss(), **settings).initialize()
        except (TypeError, ValueError) as error:
            if not self.user_settings:
                raise
            raise ValueError(f"net_params={self.user_settings!r}: {error}") from error

    def continued(self, net: AutoencoderNet) -> AutoencoderNet:
        """Return a copy of a trained net that goes on under the present settings."""
        net = copy.deepcopy(net)
        net.max_epochs, net.batch_size = self.plan.max_iter, self.plan.batch_size
        settings = {**self.settings, **self.user_settings}
        for name in ("n_iter_no_change", "tol"):
            setattr(net, name, settings[name])
        decay, lr = settings["optimizer__weight_decay"], settings["lr"]
        for group in net.optimizer_.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = decay
            if lr != net.lr:  # else a scheduler may have changed that of the group
                group["lr"] = lr
        net.lr = lr
        return net


def train(
    net: AutoencoderNet,
    dataset: RowDataset,
    weight: Tensor | None,
    builder: Builder,
    *,
    continued: bool,
) -> Verdict:
    """Train `net` and judge it against PCA.

    `builder` makes the replicas that decide for a small table, and the linear start to
    compare with where the training is `continued`.
    """
    plan = builder.plan
    # int32, because the row numbers of a table on disk take memory too
    n, device = dataset.n_rows, dataset.device
    rows = torch.arange(n, dtype=torch.int32, device=device)
    order = torch.randperm(n, generator=seeded(net.seed), dtype=torch.int32).to(device)
    if plan.n_folds and plan.max_iter:
        fold_of = torch.empty(n, dtype=torch.int64, device=device)
        fold_of[order] = torch.arange(n, device=device) % plan.n_folds
        data = TrainingData(dataset, rows, rows, weight, fold_of)
        probe = train_folds(builder, data)
        asked = builder.asked(fold_errors(plan.n_rows))
        verdict = judge(probe, data, None, asked, required=builder.is_random)
        if verdict.open:
            everything = TrainingData(dataset, rows, rows[:0], weight)
            net.partial_fit(everything, epochs=max(1, verdict.best_iter))
            widen_noise(net, verdict)
        else:
            net.history_ = probe.history_
        return verdict
    held_out = order[: plan.n_held_out]
    kept = order[plan.n_held_out :].sort().values  # in the order of the file
    data = TrainingData(dataset, kept, held_out, weight)
    pca = builder.net(builder.module()).held_out_losses(data) if continued else None
    start = copy.deepcopy(net.module_.state_dict())
    net.partial_fit(data)
    asked = builder.asked(SPLIT_ERRORS)
    verdict = judge(net, data, pca, asked, required=builder.is_random)
    if verdict.open:
        widen_noise(net, verdict)
    elif net.restore_start:
        net.module_.load_state_dict(start)
    return verdict


def widen_noise(net: AutoencoderNet, verdict: Verdict) -> None:
    """Give a net the noise that its held-out rows, or those of the folds, show."""
    if verdict.noise_variance:
        net.module_.widen_noise(verdict.noise_variance)


def train_folds(builder: Builder, data: TrainingData) -> AutoencoderNet:
    """Train one replica for each fold, started at PCA of the rows that it may see.

    `data` has `fold_of`. The net that is returned holds the replicas.
    """
    assert data.fold_of is not None
    mean, scale = builder.start.mean, builder.start.scale
    x = data.dataset.take(data.train).nan_to_num(0.0)  # padding counts as the mean
    rows = x.cpu().double().numpy() * scale + mean
    fold_of = data.fold_of.cpu().numpy()
    n_components = builder.n_components
    modules = []
    for fold in range(int(fold_of.max()) + 1):
        keep = fold_of != fold
        module = builder.module()
        weight = None if data.weight is None else data.weight.cpu().numpy()[keep]
        k = min(n_components, int(keep.sum()), rows.shape[1])
        start = linear_start(rows[keep], k, weight, random_state=0)
        start = builder.refined_start(replace(start, scale=scale), rows[keep], weight)
        module.start_at(start.padded(n_components), mean, scale)
        modules.append(module)
    replicas = Replicas(modules, data.dataset.take(data.train[:2]))
    silent = {"keep_best": False, "callbacks": None, "verbose": 0}
    return builder.net(replicas, **silent).partial_fit(data)


def seeded(seed: int) -> torch.Generator:
    """Return a generator with this seed."""
    return torch.Generator().manual_seed(seed)
