"""What a training step needs: a rate, an optimizer, a thread, and random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import nn

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
# A step of fewer multiplications than this is slower on several threads than on one.
THREADED_WORK = 5_000_000


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


def quick_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return what takes a step of the optimizer, as ``optimizer.step`` does.

    For a network of a few small layers, ``step`` of a fused AdamW takes less than half
    of its time in the fused kernel. From its second epoch on, plain AdamW is therefore
    done by the kernel alone, on the state that ``step`` has set up.
    """
    groups, state = optimizer.param_groups, optimizer.state
    hooks = "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"
    if (
        type(optimizer) is not torch.optim.AdamW
        or "step" in vars(optimizer)  # wrapped, as learning rate schedulers do
        or any(getattr(optimizer, name, None) for name in hooks)
        or not all(group["fused"] for group in groups)
        or any(group["amsgrad"] or group["maximize"] for group in groups)
        or not all(state.get(p) for group in groups for p in group["params"])
        or any(p.device.type != "cpu" for group in groups for p in group["params"])
    ):
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
            torch._fused_adamw_(
                group["params"],
                part,
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

    return step


class OneThread:
    """Use one thread inside a ``with`` block, then as many as before.

    A few small layers are slower on several threads than on one: threads that wait for
    one another spin, which is worst where other programs want the cores too. Blocks
    in several Python threads may overlap; the first one in knows the number.
    """

    def __init__(self) -> None:
        self._lock, self._n_inside, self._n_threads = Lock(), 0, 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._n_threads = torch.get_num_threads()
            self._n_inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            torch.set_num_threads(self._n_threads)


one_thread = OneThread()


@contextmanager
def own_random_numbers(module: Any, seed: int) -> Iterator[None]:
    """Give the random parts of a module random numbers of their own.

    A module with the attribute ``generator`` draws from that. Dropout, and parts that
    are a user's own, draw from torch's global generator, which is seeded and put back.
    """
    running = getattr(module, "running", [module])  # replicas hide theirs from torch
    drawing = [part for part in running if hasattr(part, "generator")]
    before = [part.generator for part in drawing]
    if drawing:
        device = next(drawing[0].parameters()).device
        generator = torch.Generator(device).manual_seed(seed)
    try:
        for part in drawing:
            part.generator = generator
        if not any(_may_draw(part) for whole in running for part in whole.modules()):
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        for part, old in zip(drawing, before, strict=True):
            part.generator = old


def _may_draw(part: nn.Module) -> bool:
    is_known = type(part).__module__.split(".")[0] in ("torch", "skae")
    return "Dropout" in type(part).__name__ or not is_known
