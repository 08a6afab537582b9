"""AutoencoderNet: skorch's net with a training loop made for tables.

One tensor and index slices in place of a DataLoader; one training step; the history
by epoch; the best epoch restored. An estimator holds a net as ``net_``.
"""

from __future__ import annotations

import copy
import dis
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import repeat
from operator import add
from types import FrameType
from typing import Any, NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, EpochScoring, LRScheduler, PrintLog
from skorch.dataset import Dataset
from torch import Tensor, nn

from ._callbacks import UNWATCHED, FitTask
from ._checkpoint import ResumableNet
from ._dataset import TrainingData
from ._dense import DenseStep
from ._gate import LOST_ERRORS, PairedImprovement, StackedModules
from ._step import RandomNumbers, one_cycle, quick_step, threads_for

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
EVALUATION_FLOATS = 2**22  # numbers of one inference pass: 16 MB
# Attributes of a training that is going on, of which no copy is made.
OF_A_TRAINING = {
    "numbers_",
    "shuffler_",
    "take_step_",
    "dense_",
    "judging_",
    "loaded_",
    "progress_",
    "task_",
}
# Cells of the rows that are prepared at a time, to train and to judge.
PREPARED_CELLS, PREPARED_HELD_OUT = 2**16, 2**19


class Batch(NamedTuple):
    """Rows of one step.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
    known : Tensor of shape (n, n_features) or None
        Which cells are not missing; None: none is.
    weight : Tensor of shape (..., n) or None
    given : tuple of Tensor or None
        What the module has prepared of them, if it does.
    """

    x: Tensor
    known: Tensor | None
    weight: Tensor | None
    given: tuple[Tensor, ...] | None = None


class HeldOut(NamedTuple):
    """Held-out rows, to be judged.

    Attributes
    ----------
    x, known, weight, given
        As in a batch; in folds of shape (n_folds, m, ...), for each module the rows
        that it has not seen.
    at : Tensor of int of shape (n,) or None
        Where each row then is.
    """

    x: Tensor
    known: Tensor | None
    weight: Tensor | None
    given: tuple[Tensor, ...] | None
    at: Tensor | None


class AutoencoderNet(ResumableNet):
    """A skorch net that reconstructs its input, trained without a DataLoader.

    Parameters
    ----------
    module : BaseModule or StackedModules
        ``forward(x, known)`` returns a tuple with the reconstruction first.
    criterion : skae._losses.Loss
    seed : int, default=0
        Seed of the order of the rows.
    learning_rate : {"one_cycle", "constant"}, default="one_cycle"
        Course of the learning rate over the ``max_epochs``, with `lr` as its peak. A
        :class:`skorch.callbacks.LRScheduler` among the callbacks replaces it.
    n_iter_no_change : int or None, default=None
        Stop after so many epochs without an improvement of more than `tol`.
    tol : float, default=1e-4
        Smallest relative improvement of the loss that counts as one.
    keep_best : bool, default=True
        Restore the weights of the best epoch at the end.
    restore_start : bool, default=True
        Whether epoch 0 can be the best. If not, the last weights stay where no epoch
        was better than the start, for training to go on from them.
    loss_floor : float, default=-inf
        Stop at a loss this low: nothing is left to learn.
    **kwargs
        skorch's own parameters.

    Attributes
    ----------
    best_iter_ : int
        Epoch with the lowest mean loss on the held-out rows, or the last epoch if none
        are held out; 0 is the start.
    best_loss_ : float
        That mean loss.
    best_calibration_ : dict
        What the held-out rows say of that epoch's parameters.
    start_losses_, best_losses_, losses_ : Tensor of shape (n_valid,)
        Loss of each held-out row at the start, the best and the last epoch.
    valid_losses_ : list of float
        Mean loss of the held-out rows, from epoch 0 on.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module | type[nn.Module],
        *,
        seed: int = 0,
        learning_rate: str = "one_cycle",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        keep_best: bool = True,
        restore_start: bool = True,
        loss_floor: float = -math.inf,
        **kwargs: Any,
    ) -> None:
        self.seed = seed
        self.learning_rate = learning_rate
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.keep_best = keep_best
        self.restore_start = restore_start
        self.loss_floor = loss_floor
        super().__init__(module, criterion, **{"use_caching": False, **kwargs})

    best_losses_: Tensor
    losses_: Tensor
    verbose: int
    callbacks_: list[tuple[str, Callback]]
    # Of a training that is going on: what takes its steps, and held-out rows.
    dense_: DenseStep | None = None
    judging_: HeldOut | None = None
    # Averages of the weights, of a net that keeps them.
    averages_: list[Tensor] | None = None
    n_averaged_ = 0
    # What scikit-learn's callbacks see of it.
    task_ = UNWATCHED

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        log = PrintLog(sink=print_plainly)
        return [("print_log", log)] if self.verbose else []

    def set_verbose(self, verbose: int) -> None:
        """Print a line for each epoch from now on, or no longer."""
        if bool(verbose) == bool(self.verbose):
            return
        self.verbose = verbose
        kept = [entry for entry in self.callbacks_ if entry[0] != "print_log"]
        own = [(name, log.initialize()) for name, log in self._default_callbacks]
        self.callbacks_ = [*kept, *own]

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks; a callback stops the training as skorch's do.

        skorch's EarlyStopping raises KeyboardInterrupt by a ``raise`` of its own. A
        Ctrl-C of the user comes from no such instruction and is passed on.
        """
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is None or not _raises_here(trace.tb_frame, trace.tb_lasti):
                raise
            self.stop_requested_ = True

    def partial_fit(self, X: TrainingData, y: None = None, **kwargs: Any) -> Any:
        """Train for ``max_epochs`` epochs; a Ctrl-C is raised, not swallowed."""
        if not self.initialized_:
            self.initialize()
        n_before = len(self.history)
        self.loaded_ = {}
        self.notify("on_train_begin", X=X, y=None)
        self.fit_loop(X, n_before=n_before, **kwargs)
        self.notify("on_train_end", X=X, y=None)
        return self

    def fit_loop(
        self,
        X: TrainingData,
        y: None = None,
        epochs: int | None = None,
        n_before: int | None = None,
        task: FitTask = UNWATCHED,
        **kwargs: Any,
    ) -> Any:
        """Train for `epochs` epochs of a schedule that is ``max_epochs`` long."""
        self.task_ = task
        for module in self.module_.running:
            module.unbind()
        n_rows = min(self.batch_size, len(X))
        n_before = len(self.history) if n_before is None else n_before
        with (
            RandomNumbers(self.module_, self.seed + n_before) as self.numbers_,
            threads_for(n_rows * sum(p.numel() for p in self.module_.parameters())),
        ):
            self.shuffler_ = torch.Generator().manual_seed(self.seed)
            self._fit_loop(X, self.max_epochs if epochs is None else epochs)
        if self.dense_ is not None:
            self.dense_.optimizer.release(self.optimizer_)
        self.dense_ = self.judging_ = None
        # Which cannot be pickled.
        del self.numbers_, self.shuffler_, self.task_, self.take_step_
        return self

    def _fit_loop(self, X: TrainingData, epochs: int) -> None:
        self.stop_requested_ = False
        self.valid_losses_: list[float] = []
        self.best_iter_, self.best_loss_, self.improved_at_ = 0, math.inf, 0
        self.best_calibration_: dict[str, Any] = {}
        self.best_state_: dict[str, Tensor] | None = None
        self.averages_, self.n_averaged_ = None, 0
        self.hooks_ = self._batch_hooks()
        self.dense_ = self.judging_ = None
        self.take_step_: Callable[[], Any] | None = None  # of autograd's steps
        self.dense_ = self._dense_step(X)
        self._validate_epoch(X, 0)
        self.start_losses_ = self.best_losses_
        course = self._fingerprint(X, epochs) if self.callbacks_ else {}
        first, loss = self._resume(course) + 1, 0.0
        shown = self._shown(X)
        for epoch in range(first, epochs + 1):
            # Held-out rows are judged at once, which a bar of progress is not to count.
            self.notify("on_epoch_begin", **{**shown, "dataset_valid": None})
            self.task_.begin_epoch()
            started, previous = time.perf_counter(), self.best_loss_
            self.criterion_.epoch = len(self.history)  # also over partial_fits
            loss = self._train_epoch(X, epoch)
            if not math.isfinite(loss):
                self.task_.end_epoch(self)
                self._warn_not_finite(loss, epoch)
                self.optimizer_.state.clear()  # which is not finite either
                break
            self._validate_epoch(X, epoch, loss)
            self.history.record("dur", time.perf_counter() - started)
            is_last = epoch == epochs or self._is_stuck(epoch, previous)
            is_last = is_last or self._is_lost(X, epoch)
            done = epochs if is_last else epoch
            self.progress_ = {**course, "done": done}
            if self.callbacks_:
                self.history.new_batch()  # which names of checkpoints may refer to
            self.notify("on_epoch_end", **shown)
            if self.task_.end_epoch(self):
                self.stop_requested_ = True
            if self.stop_requested_ or is_last:
                break
        self.progress_ = None
        self._restore_best(math.isfinite(loss))
        self.averages_ = None

    def _restore_best(self, is_finite: bool) -> None:
        """Go back to the weights of the best epoch, unless the last are to stay."""
        keeps_last = is_finite and not (self.best_iter_ or self.restore_start)
        if self.best_state_ is not None and not keeps_last:
            self.module_.load_state_dict(self.best_state_)
        self.best_state_ = None
        self.module_.eval()

    def stopped_here(self) -> AutoencoderNet:
        """Return a copy that is as if a training that goes on had stopped."""
        net = self.copied()
        net._restore_best(True)
        for parameter in net.module_.parameters():  # as they lie after training
            parameter.data = parameter.data.contiguous()
        return net

    def _train_epoch(self, data: TrainingData, epoch: int) -> float:
        """Take one pass over the training rows and return their mean loss."""
        self._set_training(True)
        self.hooks_ = self._batch_hooks()
        self.take_step_ = None  # callbacks may have changed the optimizer
        self.dense_ = self._dense_step(data)
        order = data.dataset.shuffled(data.train, self.shuffler_)
        n_batches = max(1, math.ceil(len(order) / self.batch_size))
        means = []
        for i, batch in enumerate(self._batches(data, order, n_batches)):
            self._set_learning_rate((epoch - 1 + i / n_batches) / self.max_epochs)
            means.append(self.train_step(batch))
        losses = {
            name: torch.stack([of_batch[name] for of_batch in means]).mean().item()
            for name in means[0]
        }
        return self._record_losses(losses)

    def _batches(
        self, data: TrainingData, order: Tensor, n_batches: int
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch, of rows in an order, of about equal size."""
        dataset, weight, module = data.dataset, data.train_weight, self.module_
        n, n_larger = divmod(len(order), n_batches)
        all_sizes = n_larger * [n + 1] + (n_batches - n_larger) * [n]
        cells, most = all_sizes[0] * dataset.shape[1], dataset.cells_at_once
        stacked = isinstance(module, StackedModules)
        if module.prepares:
            cells, most = cells * (module.n_modules if stacked else 1), PREPARED_CELLS
        n_together = max(1, most // max(cells, 1))
        done = 0
        for start in range(0, n_batches, n_together):
            sizes = all_sizes[start : start + n_together]
            rows = order[done : done + sum(sizes)]
            done += len(rows)
            x, known = dataset.take(rows)
            given: Any = repeat(None)
            if module.prepares:
                with torch.no_grad(), self.numbers_.drawing():
                    prepared = module.prepare(x, known)
                split = (part.split(sizes, int(stacked)) for part in prepared)
                given = zip(*split, strict=True)
            masks: Any = repeat(None) if known is None else known.split(sizes)
            weights: Any = repeat(None)
            if weight is not None:
                weights = weight.index_select(-1, rows).split(sizes, -1)
            yield from map(Batch, x.split(sizes), masks, weights, given)

    def _dense_step(self, data: TrainingData) -> DenseStep | None:
        """Return a faster way to take steps, if there is one."""
        has_own = type(self).train_step is not AutoencoderNet.train_step
        if self.hooks_ or has_own:
            return None
        if self.dense_ is not None and not self.callbacks_:
            return self.dense_  # nobody has changed anything
        return DenseStep.of(self, data.dataset.shape[1], self.dense_)

    def _set_training(self, training: bool = True) -> None:
        """Set the training mode; dense layers have none, and there may be many."""
        if self.dense_ is None:
            super()._set_training(training)
        else:
            self.dense_.template.training = training

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        """Take one step; a subclass with more than one optimizer takes its own.

        Returns
        -------
        dict of Tensor of shape ()
            The mean of each term, over the rows and over stacked modules.
        """
        x, known, weight, given = batch
        if self.dense_ is not None and (known is None or given is not None):
            if not self.numbers_.is_global:
                return self.dense_.take(x, weight, given)
            with self.numbers_.drawing():
                return self.dense_.take(x, weight, given)
        if self.hooks_:
            self.notify("on_batch_begin", batch=x, training=True)
        for group in self.optimizer_.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # as zero_grad() does, at a tenth of its cost
        with self.numbers_.drawing():
            output = self._output(x, known, given)
        compared = {} if self.criterion_.rows_at_once is None else {"weight": weight}
        terms = self.criterion_(output, x, known, **compared)
        if weight is not None:
            terms = {name: weight * term for name, term in terms.items()}
        means = {name: term.mean(-1) for name, term in terms.items()}
        loss = reduce(add, means.values())
        if loss.ndim:  # of stacked modules, which do not share a parameter
            loss = loss.sum()
        loss.backward()
        if self.hooks_:
            named = list(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=named, batch=x)
        if self.take_step_ is None:
            self.take_step_ = quick_step(self.optimizer_)
        self.take_step_()
        if self.hooks_:
            step = {"loss": loss.detach(), "y_pred": output[0].detach()}
            self.notify("on_batch_end", batch=x, training=True, **step)
        if next(iter(means.values())).ndim:
            means = {name: mean.mean() for name, mean in means.items()}
        return {name: mean.detach() for name, mean in means.items()}

    def _record_losses(self, losses: dict[str, float]) -> float:
        loss = sum(losses.values())
        self.history.record("train_loss", loss)
        if len(losses) > 1:
            for name, value in losses.items():
                self.history.record(f"train_{name}", value)
        return loss

    def _batch_hooks(self) -> bool:
        """Whether a callback asks to be called for every batch."""
        return any(
            getattr(type(callback), hook)
            not in (getattr(Callback, hook), getattr(EpochScoring, hook))
            for _, callback in self.callbacks_
            for hook in BATCH_HOOKS
        )

    def _shown(self, data: TrainingData) -> dict[str, Any]:
        """Return what callbacks get after each epoch, to score: rows, and again as y.

        Missing cells are filled in the rows, and NaN in y.
        """
        scorings = [c for _, c in self.callbacks_ if isinstance(c, EpochScoring)]
        shown: dict[str, Any] = {"dataset_train": data, "dataset_valid": data}
        if any(scoring.on_train for scoring in scorings):
            shown["dataset_train"] = _as_target(*data.dataset.take(data.train))
        if not all(scoring.on_train for scoring in scorings):
            has_any = len(data.valid) > 0  # skorch skips None
            rows = _as_target(*data.take_valid(data.valid)) if has_any else None
            shown["dataset_valid"] = rows
        return shown

    def forward_iter(
        self, X: Any, training: bool = False, device: str = "cpu"
    ) -> Iterator[Tensor]:
        """Yield reconstructions of standardised rows, without a DataLoader."""
        del training
        rows = torch.as_tensor(X, dtype=torch.float32, device=self.device)
        self.module_.eval()
        with torch.inference_mode():
            for part in rows.split(max(1, EVALUATION_FLOATS // max(1, rows.shape[1]))):
                yield self.module_.decode(self.module_.encode(part)).to(device)

    def _set_learning_rate(self, progress: float) -> None:
        if self.one_cycle_:
            for group in self.optimizer_.param_groups:
                group["lr"] = one_cycle(progress, self.lr)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["module"]  # it is `module_`, which skorch stores for any device
        return {name: state[name] for name in state if name not in OF_A_TRAINING}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.module = self.module_

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Create the optimizer; a user's LRScheduler replaces the one-cycle rate."""
        super().initialize_optimizer(*args, **kwargs)
        self.one_cycle_ = self.learning_rate == "one_cycle" and not any(
            isinstance(callback, LRScheduler) for _, callback in self.callbacks_
        )
        return self

    def held_out_losses(self, data: TrainingData) -> Tensor:
        """Return the loss of each held-out row, shape (n_valid,)."""
        self.judging_ = None
        losses = self._held_out_terms(data)["loss"]
        self.judging_ = None  # the next ones may be other rows
        return losses

    def _held_out_terms(self, data: TrainingData) -> dict[str, Tensor]:
        """Return what the loss says of each held-out row, each of shape (n_valid,).

        What a module draws for them is the same in every epoch.
        """
        self._set_training(False)
        self.criterion_.epoch = math.inf
        cells = PREPARED_HELD_OUT if self.module_.prepares else EVALUATION_FLOATS
        step = max(1, cells // max(1, data.dataset.shape[1]))
        together = self.criterion_.rows_at_once
        n_parts = math.ceil(len(data.valid) / min(step, together or step))
        parts: dict[str, list[Tensor]] = {}
        with (
            torch.inference_mode(),
            RandomNumbers(self.module_, self.seed, self._may_draw_globally) as numbers,
            numbers.drawing(),
        ):
            for rows in data.valid.tensor_split(max(n_parts, 1)):
                x, known, weight, given, at = self._held_out(data, rows)
                if self.dense_ is not None and (known is None or given is not None):
                    output: Any = self.dense_.outputs(x, given)
                else:
                    output = self._output(x, known, given)
                if not isinstance(output, tuple):
                    raise TypeError(
                        f"forward returned {type(output).__name__}: it must return a "
                        "tuple, the reconstruction first."
                    )
                compared = {"weight": weight} if together else {}
                terms = self.criterion_.held_out_terms(output, x, known, **compared)
                for name, term in terms.items():
                    if at is not None:
                        term = term.flatten(0, 1).index_select(0, at)
                    parts.setdefault(name, []).append(term)
        return {name: torch.cat(part) for name, part in parts.items()}

    @property
    def _may_draw_globally(self) -> bool | None:
        """Whether the module may, if that is known from a training that goes on."""
        numbers = getattr(self, "numbers_", None)
        return None if numbers is None else numbers.is_global

    def _output(
        self, x: Tensor, known: Tensor | None, given: tuple[Tensor, ...] | None
    ) -> Any:
        """Return what the module makes of rows, which it may have prepared."""
        if given is None:
            return self.module_(x, known)
        return self.module_(x, known, given)

    def _held_out(self, data: TrainingData, rows: Tensor) -> HeldOut:
        """Return held-out rows, for the module that has not seen them.

        Those of a training are taken, and prepared, once if these are all.
        """
        if self.judging_ is not None:
            return self.judging_
        x, known = data.take_valid(rows)
        weight, at = data.weights_of(rows), None
        if data.fold_of is not None:
            which, at, is_own = data.by_fold(rows)
            x, known = x[which], None if known is None else known[which]
            weight = is_own if weight is None else is_own * weight[which]
        given = self.module_.prepare(x, known) if self.module_.prepares else None
        held_out = HeldOut(x, known, weight, given, at)
        if len(rows) == len(data.valid):
            self.judging_ = held_out
        return held_out

    def _validate_epoch(
        self, data: TrainingData, epoch: int, loss: float = math.inf
    ) -> None:
        """Measure the held-out rows and remember the best epoch so far."""
        losses, calibration = torch.empty(0), {}
        if len(data.valid):
            terms = self._held_out_terms(data)
            losses = terms["loss"]
            if epoch or self.criterion_.calibrates_start:
                losses, calibration = self.criterion_.calibrated(terms, data)
            self.losses_ = losses
            loss = float(data.mean(losses))
            self.valid_losses_.append(loss)
            if epoch:
                self.history.record("valid_loss", loss)
                self.history.record("valid_loss_best", loss < self.best_loss_)
            elif not math.isfinite(loss):
                raise ValueError(
                    f"The loss of the held-out rows is {loss} before training: the "
                    "networks of the architecture must return finite numbers, and "
                    "held-out rows, also those of X_val, be near enough to the others "
                    "for float32. Is there an outlier?"
                )
            if not (self._is_eligible(data, epoch) and loss < self.best_loss_):
                return
        self.best_losses_, self.best_calibration_ = losses, calibration
        self.best_iter_, self.best_loss_ = epoch, loss
        if self.keep_best:
            dense = self.dense_
            if dense is not None:
                self.best_state_ = dense.copied_state()
            else:
                state = self.module_.state_dict()
                self.best_state_ = {name: of.clone() for name, of in state.items()}

    def _is_eligible(self, data: TrainingData, epoch: int) -> bool:
        """Whether an epoch that held-out rows have judged may be the best one."""
        return True

    def copied(self) -> AutoencoderNet:
        """Return a copy that shares nothing with this net but the callbacks.

        They are a user's own objects, who goes on listening to them.
        """
        shared: dict[int, Any] = {id(own): own for _, own in self.callbacks_}
        shared[id(self.callbacks)] = self.callbacks
        return copy.deepcopy(self, shared)

    def __deepcopy__(self, memo: dict[int, Any]) -> AutoencoderNet:
        # Not by way of pickle, which torch's parametrizations refuse.
        net = memo[id(self)] = type(self).__new__(type(self))
        for name, value in self.__dict__.items():
            if name not in OF_A_TRAINING:
                net.__dict__[name] = copy.deepcopy(value, memo)
        return net

    def _is_stuck(self, epoch: int, previous: float) -> bool:
        """Whether to stop: no loss is left, or it no longer improves."""
        if self.best_loss_ <= self.loss_floor:
            return True
        if math.isinf(previous) or self.best_loss_ < previous - self.tol * abs(
            previous
        ):
            self.improved_at_ = epoch
        patience = self.n_iter_no_change
        return patience is not None and epoch - self.improved_at_ >= patience

    def _is_lost(self, data: TrainingData, epoch: int) -> bool:
        """Whether, a third of the epochs on, only the start will ever be used."""
        is_early = 3 * epoch < self.max_epochs or not len(data.valid)
        if is_early or self.best_iter_ or not self.restore_start:
            return False
        gain = PairedImprovement.of(
            self.start_losses_, self.losses_, data.valid_weight, data.units
        )
        return gain.z_score < -LOST_ERRORS

    def _warn_not_finite(self, loss: float, epoch: int) -> None:
        warnings.warn(
            f"The loss became {loss} in epoch {epoch}: training stopped and the "
            f"weights of epoch {self.best_iter_} are kept. A smaller "
            "learning_rate_init may help.",
            ConvergenceWarning,
            stacklevel=2,
        )


def print_plainly(line: str) -> None:
    """Print a line of skorch's, with its colours only where a terminal shows them."""
    is_terminal = getattr(sys.stdout, "isatty", bool)  # what stands in may have none
    print(line if is_terminal() else COLOURS.sub("", line))


def _as_target(x: Tensor, known: Tensor | None) -> Dataset:
    """Return rows that are to come back as they are."""
    return Dataset(x, x if known is None else x.where(known, math.nan))


def _raises_here(frame: FrameType, instruction: int) -> bool:
    """Whether the instruction that a frame stopped at is a ``raise`` statement."""
    return frame.f_code.co_code[instruction] == dis.opmap["RAISE_VARARGS"]
