"""AutoencoderNet: skorch's net with a training loop made for tables.

One tensor and index slices in place of a DataLoader; one training step; the history
by epoch; the best epoch restored. An estimator holds a net as ``net_``.
"""

from __future__ import annotations

import dis
import math
import time
import warnings
from contextlib import nullcontext
from functools import reduce
from operator import add
from types import FrameType
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler, PrintLog
from torch import Tensor, nn

from ._dataset import TrainingData
from ._losses import widening
from ._step import THREADED_WORK, one_cycle, one_thread, own_random_numbers, quick_step

BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
EVALUATION_FLOATS = 2**22  # numbers of one inference pass: 16 MB


class AutoencoderNet(NeuralNet):
    """A skorch net that reconstructs its input, trained without a DataLoader.

    Parameters
    ----------
    module : torch.nn.Module
        ``forward(x)`` returns a tuple with the reconstruction first.
    criterion : torch.nn.Module
        ``forward(output, x)`` returns a dict of terms, each with one number per row.
        Its attribute ``epoch`` is set to the number of epochs begun so far, and to
        infinity for the held-out rows. A method ``noise_terms(terms, output, x)``
        lets the held-out rows widen the noise: see :func:`skae._losses.widening`.
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
    best_noise_variance_ : float
        Variance of the noise at that epoch, as held-out rows show it; 0 where there is
        no noise.
    start_losses_, best_losses_ : Tensor of shape (n_valid,)
        Loss of each held-out row at the start and at the best epoch.
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
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("print_log", PrintLog())] if self.verbose else []

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
        self.notify("on_train_begin", X=X, y=None)
        self.fit_loop(X, **kwargs)
        self.notify("on_train_end", X=X, y=None)
        return self

    def fit_loop(
        self, X: TrainingData, y: None = None, epochs: int | None = None, **kwargs: Any
    ) -> Any:
        """Train for `epochs` epochs of a schedule that is ``max_epochs`` long."""
        n_parameters = sum(p.numel() for p in self.module_.parameters())
        is_small = min(self.batch_size, len(X)) * n_parameters < THREADED_WORK
        with (
            own_random_numbers(self.module_, self.seed + len(self.history)),
            one_thread if is_small else nullcontext(),
        ):
            return self._fit_loop(X, self.max_epochs if epochs is None else epochs)

    def _fit_loop(self, X: TrainingData, epochs: int) -> Any:
        self.generator_ = torch.Generator().manual_seed(self.seed)
        self.stop_requested_ = False
        self.valid_losses_: list[float] = []
        self.best_iter_, self.best_loss_, self.improved_at_ = 0, math.inf, 0
        self.best_noise_variance_ = 0.0
        self.best_state_: dict[str, Tensor] | None = None
        self._validate_epoch(X, 0)
        self.start_losses_ = self.best_losses_
        for epoch in range(1, epochs + 1):
            self.notify("on_epoch_begin", dataset_train=X, dataset_valid=X)
            started, previous = time.perf_counter(), self.best_loss_
            self.criterion_.epoch = len(self.history)  # also over partial_fits
            loss = self._train_epoch(X, epoch)
            if not math.isfinite(loss):
                self._warn_not_finite(loss, epoch)
                break
            self._validate_epoch(X, epoch, loss)
            self.history.record("dur", time.perf_counter() - started)
            self.notify("on_epoch_end", dataset_train=X, dataset_valid=X)
            if self.stop_requested_ or self._is_stuck(epoch, previous):
                break
        if self.best_state_ is not None and (self.best_iter_ or self.restore_start):
            self.module_.load_state_dict(self.best_state_)
        self.best_state_ = None
        self.module_.eval()
        return self

    def _train_epoch(self, data: TrainingData, epoch: int) -> float:
        """Take one pass over the training rows and return their mean loss."""
        self._set_training(True)
        module, criterion, optimizer = self.module_, self.criterion_, self.optimizer_
        dataset, weight = data.dataset, data.train_weight
        hooks, take_step = self._batch_hooks(), quick_step(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        batches = dataset.shuffled(data.train, self.generator_).tensor_split(
            max(1, math.ceil(len(data) / self.batch_size))
        )
        totals: dict[str, Any] = {}
        for i, rows in enumerate(batches):
            self._set_learning_rate((epoch - 1 + i / len(batches)) / self.max_epochs)
            x = dataset.take(rows)
            if hooks:
                self.notify("on_batch_begin", batch=x, training=True)
            for parameter in parameters:
                parameter.grad = None  # as zero_grad() does, at a tenth of its cost
            output = module(x)
            terms = criterion(output, x)
            if weight is not None:
                w = weight[..., rows]
                terms = {name: w * term for name, term in terms.items()}
            # The sum is over replicas, if there are any.
            means = {
                name: term.mean() if term.ndim == 1 else term.mean(-1).sum()
                for name, term in terms.items()
            }
            loss = reduce(add, means.values())
            loss.backward()
            if hooks:
                named = list(self.get_all_learnable_params())
                self.notify("on_grad_computed", named_parameters=named, batch=x)
            take_step()
            if hooks:
                step = {"loss": loss.detach(), "y_pred": output[0].detach()}
                self.notify("on_batch_end", batch=x, training=True, **step)
            for name, mean in means.items():
                totals[name] = totals.get(name, 0) + mean.detach()
        n = len(batches)
        return self._record_losses({name: t.item() / n for name, t in totals.items()})

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
            getattr(type(callback), hook) is not getattr(Callback, hook, None)
            for _, callback in self.callbacks_
            for hook in BATCH_HOOKS
        )

    def _set_learning_rate(self, progress: float) -> None:
        if self.one_cycle_:
            for group in self.optimizer_.param_groups:
                group["lr"] = one_cycle(progress, self.lr)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["module"]  # it is `module_`, which skorch stores for any device
        return state

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

    def held_out_losses(self, data: TrainingData, *, widen: bool = False) -> Tensor:
        """Return the loss of each held-out row, shape (n_valid,).

        What a module draws for them is the same in every epoch. With `widen`, the noise
        of a row is at least as wide as the others show it to be, and
        ``noise_variance_`` is what all of them show.
        """
        self._set_training(False)
        self.criterion_.epoch = math.inf
        step = max(1, EVALUATION_FLOATS // max(1, data.dataset.shape[1]))
        noise_terms = getattr(self.criterion_, "noise_terms", None) if widen else None
        parts = []
        with torch.inference_mode(), own_random_numbers(self.module_, self.seed):
            for rows in data.valid.split(step):
                x = data.dataset.take_scattered(rows)
                output = self.module_(x)
                terms = self.criterion_(output, x)
                measured: list[Any] = [sum(terms.values())]
                measured += noise_terms(terms, output, x) if noise_terms else ()
                parts.append([data.of_held_out(rows, term) for term in measured])
        losses, *noise = (torch.cat(part) for part in zip(*parts, strict=True))
        self.noise_variance_ = 0.0
        if noise:
            squares, n_values, log_variance = noise
            wider, self.noise_variance_ = data.variances(squares, n_values)
            losses = losses + widening(squares, n_values, log_variance, wider)
        return losses

    def _validate_epoch(
        self, data: TrainingData, epoch: int, loss: float = math.inf
    ) -> None:
        """Measure the held-out rows and remember the best epoch so far."""
        if len(data.valid):
            losses = self.held_out_losses(data, widen=epoch > 0)
            loss = float(data.mean(losses))
            self.valid_losses_.append(loss)
            if epoch:
                self.history.record("valid_loss", loss)
                self.history.record("valid_loss_best", loss < self.best_loss_)
            if not loss < self.best_loss_:
                return
            self.best_losses_ = losses
            self.best_noise_variance_ = self.noise_variance_
        else:
            self.best_losses_ = torch.empty(0)
        self.best_iter_, self.best_loss_ = epoch, loss
        if self.keep_best:
            state = self.module_.state_dict()
            self.best_state_ = {k: v.clone() for k, v in state.items()}

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

    def _warn_not_finite(self, loss: float, epoch: int) -> None:
        warnings.warn(
            f"The loss became {loss} in epoch {epoch}: training stopped and the "
            f"weights of epoch {self.best_iter_} are kept. A smaller "
            "learning_rate_init may help.",
            ConvergenceWarning,
            stacklevel=2,
        )


def _raises_here(frame: FrameType, instruction: int) -> bool:
    """Whether the instruction that a frame stopped at is a ``raise`` statement."""
    return frame.f_code.co_code[instruction] == dis.opmap["RAISE_VARARGS"]
