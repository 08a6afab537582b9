"""One training: rows held out, a net trained on the others, and a decision."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._callbacks import UNWATCHED, FitTask
from ._dataset import (
    STATISTICS_ROWS,
    RowDataset,
    TrainingData,
    as_tensor,
    most_sampled,
    some_of,
)
from ._gate import GateDecision, StackedModules, judge, threshold
from ._missing import mean_filled
from ._module import MARGINS, BaseModule
from ._net import AutoencoderNet
from ._objective import Objective, is_users
from ._parameters import new_torch_generator, resolve_device
from ._plan import TrainingPlan
from ._projection import Projection
from ._rows import Rows
from ._split import DistinctRows, assign_folds, choose_held_out, row_sizes
from ._start import Start
from ._step import seeded_globally
from ._trained import RATIO_ROWS, TrainedNetwork, inference

# Held-out rows from which on none is judged several times.
MOST_DRAWS = 5000
# A network is lost that improves on the start by less than this share of what the
# networks of the folds do on rows that they have not seen.
LOST_SHARE = 0.75
# Share of their loss by which held-out rows may lose, to be bound to a smaller range.
MARGIN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Training:
    """An objective, at a start, by a plan, with a seed.

    `task` is what scikit-learn's callbacks see of it.
    """

    objective: Objective
    plan: TrainingPlan
    start: Start
    seed: int
    task: FitTask = UNWATCHED

    # What is trained

    def new_net(self, **changes: Any) -> AutoencoderNet:
        """Return a net of a module at the start."""
        module = self.objective.new_module(self.start, self.plan, self.seed)
        return self._net_of(module, **changes)

    def _net_of(
        self, module: BaseModule | StackedModules, **changes: Any
    ) -> AutoencoderNet:
        where = self.start, self.plan, self.seed
        return self.objective.new_net(module, *where, **changes)

    # On what

    def dataset(self, X: Any) -> RowDataset:
        """Return rows as tensors, on the device."""
        params, start = self.objective.params, self.start
        may_miss = self.objective.handles_missing or self.objective.takes_padding
        fill = start.filled if may_miss else None
        device = resolve_device(params.device)
        return RowDataset(X, start.mean, start.scale, device, fill)

    def data(
        self, given: Rows, distinct: DistinctRows, deciding: NDArray | None
    ) -> TrainingData:
        """Return which of the distinct rows train, and which are held out.

        They are chosen in the order of their hashes, so that it does not matter where
        a row stands nor how often, and trained on in the order of the file. `deciding`
        are the rows of `X_val` that are held out in their place.
        """
        dataset, plan = self.dataset(given.X), self.plan
        n, device = len(distinct.rows), dataset.device
        rows = torch.from_numpy(distinct.rows).to(torch.int32)
        unit, weight = None, given.weight
        if distinct.unit is not None:
            unit = torch.from_numpy(distinct.unit).long()
        if distinct.weight is not None:
            weight = np.zeros(dataset.n_rows)
            weight[distinct.rows] = distinct.weight
        w = as_tensor(weight, device)
        generator = new_torch_generator(self.seed)
        if plan.n_folds and plan.max_iter:
            fold_of = torch.zeros(dataset.n_rows, dtype=torch.int64)
            fold_of[rows.long()] = assign_folds(n, unit, plan.n_folds, generator)
            rows, order = rows.sort()
            unit = None if unit is None else unit[order].to(device)
            rows = rows.to(device)
            return TrainingData(dataset, rows, rows, w, fold_of.to(device), unit)
        size = None
        if plan.n_held_out and deciding is None:
            sizes = row_sizes(given.X, self.start.mean, self.start.scale)
            size = torch.from_numpy(sizes[distinct.rows])
        held_out = choose_held_out(n, unit, plan.n_held_out, generator, size).long()
        trains = torch.ones(n, dtype=torch.bool)
        trains[held_out] = False
        train = rows[trains].sort().values.to(device)
        valid = rows[held_out].to(device)
        unit = None if unit is None else unit[held_out].to(device)
        if deciding is None:
            return TrainingData(dataset, train, valid, w, None, unit)
        valid = torch.from_numpy(deciding).to(device)
        return TrainingData(
            dataset, train, valid, w, valid_dataset=self.dataset(given.X_val)
        )

    def repeated(self, data: TrainingData) -> TrainingData:
        """Return the same with held-out rows as often as they are to be judged."""
        n = len(data.valid)
        draws = min(self.objective.draws_per_row, MOST_DRAWS // max(n, 1))
        if draws <= 1:
            return data
        unit = torch.arange(n, device=data.valid.device)
        unit = unit if data.units is None else data.units
        return replace(data, valid=data.valid.repeat(draws), units=unit.repeat(draws))

    def batch(self, given: Rows) -> TrainingData:
        """Return a batch of `partial_fit`, all of which trains."""
        dataset = self.dataset(given.X)
        rows = torch.arange(dataset.n_rows, device=dataset.device)
        weight = as_tensor(given.weight, dataset.device)
        return TrainingData(dataset, rows, rows[:0], weight)

    # Training

    def threshold(self, n_units: float, *, in_folds: bool) -> float:
        """Return the standard errors to show: none will do at a degenerate start."""
        if self.start.is_degenerate:
            return math.inf
        return threshold(n_units, in_folds=in_folds)

    def run(
        self,
        net: AutoencoderNet,
        data: TrainingData,
        *,
        continued: bool,
        found: Callable[[AutoencoderNet, GateDecision], Any],
    ) -> GateDecision:
        """Train `net` and judge it against the start.

        `found` makes a fit of both, which a callback may ask for after an epoch.
        """
        data = self.repeated(data)
        required, in_folds = not self.start.is_fallback, data.fold_of is not None
        asked = partial(self.threshold, in_folds=in_folds)
        if in_folds:
            probe = self._train_folds(data)
            decision = judge(probe, data, None, asked, required=required)
            if not decision.is_open:
                net.history_ = probe.history_
                return decision
            decision = self._of_codes_used(probe, data, decision)
            everything = replace(data, valid=data.valid[:0], fold_of=None, units=None)
            net.module_.see(*everything.seen)
            self.watch(found, lambda now: replace(decision, best_iter=now.best_iter_))
            if net.verbose:
                print("One network, of all rows:")
            n_epochs = max(1, decision.best_iter)
            net.partial_fit(everything, epochs=n_epochs, task=self.task)
            self._take_a_fold_if_lost(net, probe, data)
        else:
            before = None
            net.module_.see(*data.seen)
            if continued and len(data.valid):
                before = self.new_net().held_out_losses(data)
            start = copy.deepcopy(net.module_.state_dict())

            def judged(net: AutoencoderNet) -> GateDecision:
                return judge(net, data, before, asked, required=required)

            self.watch(found, judged)
            net.partial_fit(data, task=self.task)
            decision = judged(net)
        if decision.is_open:
            if not in_folds:
                decision = self._of_codes_used(net, data, decision)
            net.module_.calibrate(decision.calibration)
        elif net.restore_start:
            net.module_.load_state_dict(start)
        return decision

    def _of_codes_used(
        self, net: AutoencoderNet, data: TrainingData, decision: GateDecision
    ) -> GateDecision:
        """Return a decision with the loss of held-out rows by the codes that are used.

        It was made by those of the encoder. Codes in order are judged by random
        prefixes of them, as they are trained.
        """
        is_other = self.objective.n_steps and self.objective.sorts_codes
        if not is_other or not len(data.valid):
            return decision
        mean_loss = float(data.mean(self._used_losses(net, data)))
        return replace(decision, mean_loss=mean_loss)

    def _used_losses(self, net: AutoencoderNet, data: TrainingData) -> Tensor:
        """Return the losses of held-out rows by the codes that are used, (n_valid,)."""
        if data.fold_of is None:
            return self._losses_by(net, net.module_, data, data.train, data.valid)
        fold_of = data.fold_of[data.valid]
        losses = torch.empty(len(fold_of), device=fold_of.device, dtype=torch.float32)
        module = copy.deepcopy(net.module_.template)
        for fold in range(net.module_.n_modules):
            net.module_.load_into(module, fold)
            is_own = fold_of == fold
            rows = data.valid[~is_own], data.valid[is_own]
            losses[is_own] = self._losses_by(net, module.eval(), data, *rows)
        return losses

    def _losses_by(
        self,
        net: AutoencoderNet,
        module: Any,
        data: TrainingData,
        train: Tensor,
        valid: Tensor,
    ) -> Tensor:
        x, known = data.dataset.take_scattered(some_of(train, RATIO_ROWS))
        projection = Projection.of(module, x, known, self.objective.n_steps)
        step = most_sampled(data.dataset.shape[1])
        losses = []
        for rows in valid.split(step):
            x, known = data.take_valid(rows)
            z = projection.codes(module, x, known)
            with torch.no_grad():
                output = module.decode(z), z
                losses.append(net.criterion_.held_out_terms(output, x, known)["loss"])
        return torch.cat(losses)

    def watch(
        self,
        found: Callable[[AutoencoderNet, GateDecision], Any],
        judged: Callable[[AutoencoderNet], GateDecision],
    ) -> None:
        """Let callbacks have the fit as it would be if the training stopped."""
        if not self.task.is_watched:
            return

        def so_far(net: AutoencoderNet) -> tuple[Any]:
            net = net.stopped_here()
            decision = judged(net)
            if decision.is_open:
                net.module_.calibrate(decision.calibration)
            return (found(net, decision),)

        self.task.so_far = so_far

    def _train_folds(self, data: TrainingData) -> AutoencoderNet:
        """Train a module for each fold, started at PCA of the rows that it may see.

        The net that is returned holds them all.
        """
        assert data.fold_of is not None
        x, known = data.dataset.take(data.train)
        start, k = self.start, self.start.n_components
        rows = x.cpu().double().numpy() * start.scale + start.mean
        missing = None if known is None else ~known.cpu().numpy()
        fold_of = data.fold_of[data.train].cpu().numpy()
        weights = None if data.weight is None else data.weight[data.train].cpu().numpy()
        modules = []
        for fold in range(int(fold_of.max()) + 1):
            keep = fold_of != fold
            weight = None if weights is None else weights[keep]
            fewer = min(k, int(keep.sum()), rows.shape[1])
            own_rows = filled = rows[keep]
            if missing is not None:
                own_rows = np.where(missing[keep], np.nan, own_rows)
                filled = mean_filled(own_rows, weight, start.mean)
            pca = self.objective.pca(filled, fewer, weight, 0)
            pca = replace(pca, scale=start.scale)
            given = own_rows if self.objective.handles_missing else filled
            own = self.objective.fold_start(pca, given, weight, self.seed, start)
            module = self.objective.new_module(start, self.plan, self.seed)
            own.padded(k).apply(module, start)
            module.see(data.dataset, data.train, data.fold_of[data.train] != fold)
            modules.append(module)
        architecture = self.objective.params.architecture
        vectorised: Any = False
        if getattr(architecture, "is_vectorised", True):  # a user's parts may not be
            vectorised = data.dataset.take(data.train[:2])
        with slow_is_an_error(self.seed) if is_users(architecture) else nullcontext():
            stacked = StackedModules(modules, vectorised)
        net = self._net_of(stacked, callbacks=None)
        if net.verbose:
            print(f"{len(modules)} networks, each blind to one fold:")
        return net.partial_fit(data, task=self.task)

    def _take_a_fold_if_lost(
        self, net: AutoencoderNet, probe: AutoencoderNet, data: TrainingData
    ) -> None:
        """Use the network of a fold where that of all rows is far behind those.

        They begin at other axes, which counts where those of the start are by chance.
        Codes that are to be PCA's have no others.
        """
        if getattr(self.objective.params, "linear_encoder", False):
            return
        module, rows = net.module_, replace(data, fold_of=None)
        both = probe.start_losses_, probe.best_losses_
        before, found = (float(data.mean(losses)) for losses in both)

        def loss() -> float:
            return float(rows.mean(net.held_out_losses(rows)))

        losses = [loss()]
        if before - losses[0] > LOST_SHARE * (before - found):
            return
        own = copy.deepcopy(module.state_dict())
        for fold in range(probe.module_.n_modules):
            probe.module_.load_into(module, fold)
            module.see(*rows.seen)
            losses.append(loss())
        best = int(np.argmin(losses))
        if best == 0:
            module.load_state_dict(own)
        else:
            probe.module_.load_into(module, best - 1)
        module.see(*rows.seen)

    # What comes of it

    def model(
        self,
        net: AutoencoderNet,
        is_open: bool,
        mean_loss: float | None,
        given: Rows,
        earlier: Any = None,
    ) -> Start | TrainedNetwork:
        """Return the network, if the gate is open, or what the start is, measured.

        `earlier` is a model whose codes count too.
        """
        module = net.module_.eval()
        if is_open:
            error = None
            if mean_loss is not None:
                error = net.criterion_.squared_error(mean_loss, self.start)
            model = self.objective.model(module, self.start, error, self.seed)
        else:
            if not net.restore_start:  # it goes on from where it is
                module = self.new_net().module_.eval()
            model = self.start.model(module)
        if isinstance(model, TrainedNetwork):
            network = earlier if isinstance(earlier, TrainedNetwork) else None
            rng = np.random.default_rng(self.seed)
            model.measure(
                given.X,
                given.weight,
                rng,
                network,
                sort=is_open and self.objective.sorts_codes,
            )
        return model


@contextmanager
def slow_is_an_error(seed: int) -> Iterator[None]:
    """Raise torch's warning of what it would vectorise by a loop, in one thread."""
    with seeded_globally(seed), warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")
        yield


def choose_margin(net: AutoencoderNet, data: TrainingData) -> None:
    """Choose how far from the training rows a trained network is to go on.

    Where columns have long tails, held-out rows beyond the others may be known well.
    """
    module = net.module_
    most = min(STATISTICS_ROWS, most_sampled(data.dataset.shape[1]))
    x, known = data.dataset.take_scattered(some_of(data.train, most))
    free = float(data.mean(net.held_out_losses(data)))
    module.margin = MARGINS[1]
    with inference(module):
        module.bind(x, known)
    bound = float(data.mean(net.held_out_losses(data)))
    module.unbind()
    if bound > free + MARGIN_TOLERANCE * abs(free):
        module.margin = MARGINS[2]
