"""What a training step needs: a rate, an optimizer, a thread, and random numbers."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from threading import RLock, get_ident
from typing import Any, ClassVar
from weakref import ref

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
# From so many multiplications in one operation on, several threads are used.
# Threads that wait for a core that another program has spin: below 1e9 in one operation
# two of them are slower than one as soon as a neighbour is busy, and up to 140 times.
THREADED_WORK = 4_000_000_000


def one_cycle(progress: float, peak: float) -> float:
    """Return the one-cycle learning rate after a share `progress` of all steps.

    The rate rises from ``peak / 25`` over the first 30 % and falls to nearly zero,
    along cosines (Smith & Topin 2019, with the constants of
    :class:`torch.optim.lr_scheduler.OneCycleLR`).
    """
    low, rise, end = peak / 25, 0.3, peak / 25e4
    if progress < rise:
        return peak + (low - peak) * (1 + math.cos(math.pi * progress / rise)) / 2
    fall = (progress - rise) / (1 - rise)
    return end + (peak - end) * (1 + math.cos(math.pi * fall)) / 2


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which does not import torch's compiler to be created.

    That import takes a second, more than many fits do. What torch wraps for compiled
    programs is called as it is without the wrapper: here nothing is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    unwrapped_step = inspect.unwrap(torch.optim.AdamW.step)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        return self.unwrapped_step(closure)


def is_plain_adamw(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step of the optimizer is that of the fused kernel on a CPU."""
    groups = optimizer.param_groups
    hooks = "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"
    of_all = "_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"
    module = sys.modules[torch.optim.Optimizer.__module__]
    return not (
        type(optimizer) not in (AdamW, torch.optim.AdamW)
        or "step" in vars(optimizer)  # wrapped, as learning rate schedulers do
        or any(getattr(optimizer, name, None) for name in hooks)
        or any(getattr(module, name, None) for name in of_all)
        or not all(group["fused"] for group in groups)
        or any(group["amsgrad"] or group["maximize"] for group in groups)
        or any(p.device.type != "cpu" for group in groups for p in group["params"])
    )


def fused_adamw(
    group: dict[str, Any],
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    n_steps: list[Tensor],
) -> None:
    """Take a step of AdamW by torch's fused kernel alone."""
    torch._fused_adamw_(
        parameters,
        gradients,
        averages,
        squares,
        [],
        n_steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


def quick_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return what takes a step of the optimizer, as ``optimizer.step`` does.

    For a network of a few small layers, ``step`` of a fused AdamW takes less than half
    of its time in the fused kernel. From its second epoch on, plain AdamW is therefore
    done by the kernel alone, on the state that ``step`` has set up.
    """
    groups, state = optimizer.param_groups, optimizer.state
    parameters = [p for group in groups for p in group["params"]]
    if not is_plain_adamw(optimizer) or not all(state.get(p) for p in parameters):
        return optimizer.step
    moments = [
        [[state[p][name] for p in group["params"]] for name in ADAM_STATE]
        for group in groups
    ]

    @torch.no_grad()
    def step() -> None:
        gradients = [[p.grad for p in group["params"]] for group in groups]
        if any(g is None for part in gradients for g in part):
            optimizer.step()  # which leaves such parameters out
            return
        for group, part, (n_steps, averages, squares) in zip(
            groups, gradients, moments, strict=True
        ):
            torch._foreach_add_(n_steps, 1)
            fused_adamw(group, group["params"], part, averages, squares, n_steps)

    return step


class OneThread:
    """Use one thread inside a ``with`` block, then as many as before.

    That is of torch, and of the libraries behind NumPy. Blocks may be nested, and
    overlap in several Python threads. Torch's number belongs to a Python thread, and a
    new one starts with the number that was set last, anywhere: the first block in knows
    what all go back to.

    A block is used once. It may be interrupted anywhere, also on its way in or out:
    what it has changed is then put back when it is forgotten.
    """

    lock: ClassVar[Any] = RLock()
    _inside: ClassVar[dict[int, ref[OneThread]]] = {}  # the outermost of each thread
    _n_threads: ClassVar[int] = 1
    _libraries: ClassVar[list[tuple[Any, int]]] = []  # and their numbers before

    def __enter__(self) -> None:
        thread = get_ident()
        if thread in self._inside:
            return
        with self.lock:
            # Asked always: else a new thread takes, when it first computes, the number
            # that was set last anywhere, in place of the one that is set here.
            n_threads = torch.get_num_threads()
            if not self._inside:
                type(self)._n_threads = n_threads
            self._inside[thread] = ref(self, partial(self._forget, thread))
            self._limit()

    def __exit__(self, *error: object) -> None:
        thread = get_ident()
        outermost = self._inside.get(thread)
        if outermost is not None and outermost() is self:
            self._leave(thread)

    @classmethod
    def _forget(cls, thread: int, block: ref[OneThread]) -> None:
        if cls._inside.get(thread) is block:  # it has not been left
            cls._leave(thread)

    @classmethod
    def _leave(cls, thread: int) -> None:
        with cls.lock:
            if thread == get_ident():
                torch.set_num_threads(cls._n_threads)
            if cls._inside.keys() == {thread}:
                cls._lift()
            del cls._inside[thread]  # the last, or it would be half left

    @classmethod
    def _limit(cls) -> None:
        torch.set_num_threads(1)
        if not cls._libraries:
            found = blas().lib_controllers
            numbers = [library.get_num_threads() for library in found]
            cls._libraries = list(zip(found, numbers, strict=True))
            for library in found:
                library.set_num_threads(1)

    @classmethod
    def _lift(cls) -> None:
        """Let the libraries have as many threads as before.

        From 3.8 on, threadpoolctl listens to the thread alone that was first to set a
        number, and that may not be the last to leave.
        """
        for library, n_threads in cls._libraries:
            release = getattr(library, "clear_controlling_thread", lambda **_: None)
            if library.get_num_threads() == 1:  # nobody else has set another
                library.set_num_threads(n_threads)
                if library.get_num_threads() != n_threads:
                    release(force=True)
                    library.set_num_threads(n_threads)
            release()
        cls._libraries = []

    @classmethod
    @contextmanager
    def lifted(cls) -> Iterator[None]:
        """Use as many threads as before for a while, for work that is worth it."""
        with cls.lock:
            is_alone = cls._inside.keys() == {get_ident()}
            if is_alone:
                torch.set_num_threads(cls._n_threads)
                cls._lift()
        try:
            yield
        finally:
            with cls.lock:
                if is_alone:
                    cls._limit()

    @classmethod
    def after_fork(cls) -> None:
        """Forget the threads of the parent, which are not in this process."""
        for thread in cls._inside.keys() - {get_ident()}:
            del cls._inside[thread]
        if not cls._inside:
            cls._lift()
        cls.lock.release()


@cache
def blas() -> ThreadpoolController:
    """Return the libraries that NumPy and SciPy compute by."""
    return ThreadpoolController().select(user_api="blas")


def threads_for(work: float) -> Any:
    """Return a block with one thread, or more for an operation of much work.

    Parameters
    ----------
    work : float
        Multiplications of the operation.
    """
    return OneThread.lifted() if work >= THREADED_WORK else OneThread()


def in_threads(
    function: Callable[[Any], None], items: Iterator[Any], n_threads: int
) -> None:
    """Call a function for each item, in so many threads of Python.

    They wait for one another at the end alone, and not in every operation, as those of
    OpenMP do: where another program has a core, the other thread takes more items.
    """
    if n_threads < 2:
        for item in items:
            function(item)
        return
    lock = RLock()

    def work() -> None:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            function(item)

    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(work) for _ in range(n_threads)]:
            done.result()


@contextmanager
def usual_settings() -> Iterator[None]:
    """Shield what is inside from settings of torch and NumPy that a script may make.

    These are gradients that are off, inference mode, autocast, another default device,
    and errors for what float arithmetic does. The default dtype has no such block: no
    tensor of ours is made without a dtype.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="warn", under="ignore"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


# Whoever seeds torch's global generator puts it back before it lets go of this.
_global_generator = RLock()

# A process that is forked has neither half a change, nor a lock that nobody releases.
# (The generator's is taken first: whoever has it may want the other.)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=OneThread.lock.acquire,
        after_in_parent=OneThread.lock.release,
        after_in_child=OneThread.after_fork,
    )
    os.register_at_fork(
        before=_global_generator.acquire,
        after_in_parent=_global_generator.release,
        after_in_child=_global_generator.release,
    )


class RandomNumbers:
    """Random numbers of one course of training, for whatever draws them.

    A module with a ``generator`` draws from that. Dropout, and parts that are a user's
    own, draw from torch's global generator: inside the block of :meth:`drawing` it is
    in a state of ours, and it is put back after it. `is_global` says whether there are
    such parts, where that is known.
    """

    def __init__(self, module: Any, seed: int, is_global: bool | None = None) -> None:
        self.module = module
        device = next(module.parameters()).device
        self.generator = torch.Generator(device).manual_seed(seed)
        self._global: Tensor | None = None
        if is_global is None:
            parts = (part for whole in module.running for part in whole.modules())
            is_global = any(map(_may_draw, parts))
        if is_global:
            self._global = torch.Generator().manual_seed(seed).get_state()

    def __enter__(self) -> RandomNumbers:
        self._before = [part.generator for part in self.module.running]
        for part in self.module.running:
            part.generator = self.generator
        return self

    def __exit__(self, *error: object) -> None:
        for part, before in zip(self.module.running, self._before, strict=True):
            part.generator = before

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let the modules draw."""
        if self._global is None:
            yield
            return
        with _global_generator:
            before = torch.get_rng_state()
            torch.set_rng_state(self._global)
            try:
                yield
            finally:
                self._global = torch.get_rng_state()
                torch.set_rng_state(before)

    @property
    def is_global(self) -> bool:
        """Whether the modules may draw from torch's global generator."""
        return self._global is not None

    @property
    def state(self) -> list[Tensor]:
        """What the next draws follow from."""
        own = [self.generator.get_state()]
        return own if self._global is None else [*own, self._global]

    @state.setter
    def state(self, state: list[Tensor]) -> None:
        self.generator.set_state(state[0])
        if self._global is not None:
            self._global = state[1]


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the block, and put it back after it."""
    with _global_generator:
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_rng_state(before)


def is_own(part: Any) -> bool:
    """Whether a part is a user's own, of which nothing is known."""
    return type(part).__module__.split(".")[0] not in ("torch", "skae")


def draws_always(part: nn.Module) -> bool:
    """Whether a part may draw from the global generator outside of training too."""
    hooks = part._forward_hooks, part._forward_pre_hooks
    return is_own(part) or any(hooks) or "FractionalMaxPool" in type(part).__name__


def _may_draw(part: nn.Module) -> bool:
    return (
        draws_always(part)
        or "Dropout" in type(part).__name__
        or isinstance(part, nn.RReLU)
        or bool(getattr(part, "dropout", False))  # of recurrent layers, for instance
        or getattr(part, "draws_globally", False)
    )
