"""What a step needs: AdamW by its kernel alone, one thread, and random numbers."""

import copy
import gc
import os
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from threading import Barrier, Event, Thread

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from skae import AutoencoderTransformer
from skae._module import BaseModule
from skae._step import (
    AdamW,
    OneThread,
    RandomNumbers,
    blas,
    one_cycle,
    quick_step,
    seeded_globally,
    threads_for,
    usual_settings,
)


def test_one_cycle_is_that_of_torch():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    total = 200
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.01, total_steps=total + 1
    )
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer.step() here
        for _ in range(total):
            expected.append(schedule.get_last_lr()[0])
            schedule.step()
    # torch's rise ends at the step 0.3 * total_steps - 1.
    ours = [one_cycle(step / total, 0.01) for step in range(total)]
    np.testing.assert_allclose(ours, expected, atol=0.01 * 0.02)
    assert max(ours) == pytest.approx(0.01)
    assert ours[0] == pytest.approx(0.01 / 25)
    assert one_cycle(1.0, 0.01) == pytest.approx(0.01 / 25e4)


def trained_weights(take_step, optimizer, parameters):
    for i in range(4):
        for j, parameter in enumerate(parameters):
            parameter.grad = (parameter.detach() - j) * (i + 1)
        take_step(optimizer)()
    return [parameter.detach().clone() for parameter in parameters]


@pytest.mark.parametrize(
    "settings",
    [{}, {"fused": True, "weight_decay": 0.3}, {"amsgrad": True}, {"foreach": True}],
)
def test_adamw_is_that_of_torch(settings):
    def step_with_closure(optimizer):
        def closure():
            assert torch.is_grad_enabled()
            return torch.tensor(3.0)

        def step():
            assert optimizer.step(closure) == 3

        return step

    results, hooked = [], []
    for cls in (torch.optim.AdamW, AdamW):
        first, second = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.zeros(4))
        optimizer = cls([{"params": [first]}], lr=0.1, **settings)
        optimizer.add_param_group({"params": [second], "lr": 0.5})
        optimizer.register_step_post_hook(lambda opt, *_: hooked.append(type(opt)))
        results.append(trained_weights(step_with_closure, optimizer, [first, second]))
        optimizer.zero_grad()
        assert first.grad is None
        assert not optimizer.state[first]["exp_avg"].requires_grad
    assert hooked == [torch.optim.AdamW] * 4 + [AdamW] * 4
    for expected, ours in zip(*results, strict=True):
        assert torch.equal(expected, ours)


@pytest.mark.parametrize("cls", [AdamW, torch.optim.AdamW])
@pytest.mark.parametrize(
    "settings", [{}, {"weight_decay": 0.3, "betas": (0.5, 0.7), "eps": 1e-3}]
)
def test_the_quick_step_is_that_of_adamw(settings, cls):
    results = []
    for take_step in (lambda optimizer: optimizer.step, quick_step):
        first, second = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.zeros(4))
        groups = [{"params": [first]}, {"params": [second], "lr": 0.5}]
        optimizer = cls(groups, lr=0.1, fused=True, **settings)
        results.append(trained_weights(take_step, optimizer, [first, second]))
        steps = [optimizer.state[p]["step"].item() for p in (first, second)]
        assert steps == [4, 4]
    assert quick_step(optimizer) != optimizer.step
    for expected, quick in zip(*results, strict=True):
        assert torch.equal(expected, quick)


def test_the_quick_step_leaves_out_what_has_no_gradient():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([used, unused], lr=0.1, fused=True)
    used.grad = unused.grad = torch.ones(3)
    optimizer.step()
    before = unused.detach().clone()
    unused.grad = None
    step = quick_step(optimizer)
    step()
    assert torch.equal(unused, before)
    assert optimizer.state[used]["step"] == 2


def with_hook(optimizer):
    optimizer.register_step_pre_hook(lambda *_: None)


def with_schedule(optimizer):
    torch.optim.lr_scheduler.StepLR(optimizer, 1)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (torch.optim.AdamW, lambda optimizer: None),  # not fused
        (partial(torch.optim.AdamW, fused=True, amsgrad=True), lambda optimizer: None),
        (partial(torch.optim.Adam, fused=True), lambda optimizer: None),
        (partial(torch.optim.SGD, lr=0.1), lambda optimizer: None),
        (partial(torch.optim.AdamW, fused=True), with_hook),
        (partial(torch.optim.AdamW, fused=True), with_schedule),
    ],
)
def test_what_is_not_plain_fused_adamw_takes_its_own_steps(make, change):
    parameter = nn.Parameter(torch.ones(3))
    optimizer = make([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    change(optimizer)
    assert quick_step(optimizer) == optimizer.step


def test_hooks_of_all_optimizers_are_called():
    seen = []
    hook = register_optimizer_step_post_hook(
        lambda optimizer, *_: seen.append(type(optimizer))
    )
    try:
        AutoencoderTransformer(2, max_iter=2).fit(np.eye(50))
    finally:
        hook.remove()
    assert len(seen) > 2
    assert set(seen) == {AdamW}


# Threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    limit = blas().limit(limits=3)
    let_any_thread_set_numbers()
    yield
    torch.set_num_threads(before)
    limit.restore_original_limits()
    let_any_thread_set_numbers()


def let_any_thread_set_numbers():
    """As before: from 3.8 on, threadpoolctl listens to the first one alone."""
    for library in blas().lib_controllers:
        getattr(library, "clear_controlling_thread", lambda **_: None)(force=True)


@pytest.mark.usefixtures("three_threads")
def test_one_thread_is_put_back_whichever_block_ends_first():
    inside, leave = Event(), Event()

    def other():
        with OneThread():
            inside.set()
            leave.wait(10)

    thread = Thread(target=other)
    with OneThread():
        assert torch.get_num_threads() == 1
        thread.start()
        inside.wait(10)
    assert torch.get_num_threads() == 3
    leave.set()
    thread.join()
    assert torch.get_num_threads() == 3
    with pytest.raises(RuntimeError), OneThread():
        raise RuntimeError
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_new_thread_has_one_whatever_is_set_elsewhere():
    inside, is_set, found = Event(), Event(), []

    def compute():
        with OneThread():
            inside.set()
            is_set.wait(10)
            found.append(torch.get_num_threads())

    thread = Thread(target=compute)
    with OneThread():  # so that the new thread is not the first one in
        thread.start()
        inside.wait(10)
        torch.set_num_threads(3)  # as who leaves does
        is_set.set()
        thread.join()
    assert found == [1]


@pytest.mark.usefixtures("three_threads")
def test_only_the_outermost_block_puts_the_threads_back():
    with OneThread():
        with OneThread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        with pytest.raises(RuntimeError), OneThread():
            raise RuntimeError
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_blocks_that_overlap_know_nothing_of_each_other():
    """The first in is the first out, and each thread of Python is asked itself."""
    seen = {}
    entered, left = [Event() for _ in range(4)], [Event() for _ in range(4)]

    def run(i):
        with OneThread(), OneThread():
            inside = torch.get_num_threads()
            entered[i].set()
            left[i].wait(10)
            seen[i] = inside, torch.get_num_threads()
        seen[i] += (torch.get_num_threads(),)

    threads = [Thread(target=run, args=(i,)) for i in range(4)]
    for i, thread in enumerate(threads):
        thread.start()
        entered[i].wait(10)
        if i:
            left[i - 1].set()
            threads[i - 1].join()
    left[3].set()
    threads[3].join()
    assert seen == dict.fromkeys(range(4), (1, 1, 3))
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("work", "is_one"), [(1e9, True), (1e10, False)])
def test_an_operation_has_several_threads_if_it_is_work_enough(work, is_one):
    before = libraries()
    for block in (nullcontext(), OneThread()):
        with block, threads_for(work):
            assert torch.get_num_threads() == (1 if is_one else 3)
            assert libraries() == ([1] * len(before) if is_one else before)
        assert torch.get_num_threads() == 3
        assert libraries() == before


@pytest.mark.usefixtures("three_threads")
def test_the_libraries_come_back_whoever_leaves_last():
    """Both threads live on, as those of a server do."""
    before, entered, leave = libraries(), Event(), Event()

    def first():
        with OneThread():
            entered.set()
            leave.wait(10)

    def last():
        with OneThread():
            leave.set()
            pools[0].submit(int).result(10)  # once that has left

    pools = [ThreadPoolExecutor(1) for _ in range(2)]
    done = [pools[0].submit(first)]
    entered.wait(10)
    done.append(pools[1].submit(last))
    for each in done:
        each.result(10)
    assert libraries() == before
    with OneThread():
        assert set(libraries()) <= {1}
    assert libraries() == before
    for pool in pools:
        pool.shutdown()


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("n_calls", range(1, 5))
def test_a_block_may_be_interrupted_on_its_way_in_or_out(n_calls, monkeypatch):
    """By a signal, at any of the calls that it makes."""
    before, calls = libraries(), []

    def interrupted(function):
        def call(*args):
            calls.append(function)
            if len(calls) == n_calls:
                raise KeyboardInterrupt
            return function(*args)

        return call

    with monkeypatch.context() as patched:
        for name in ("get_num_threads", "set_num_threads"):
            patched.setattr(torch, name, interrupted(getattr(torch, name)))
        patched.setattr(OneThread, "_lift", interrupted(OneThread._lift))
        with pytest.raises(KeyboardInterrupt), OneThread():
            pass
    gc.collect()  # nobody looks at the error any more
    assert not OneThread._inside
    assert torch.get_num_threads() == 3
    assert libraries() == before
    with OneThread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    before, inside, leave = libraries(), Event(), Event()

    def other():
        with OneThread(), OneThread.lock, seeded_globally(0):
            inside.set()
            leave.wait(0.2)
        with OneThread():
            leave.wait(10)

    thread = Thread(target=other)
    thread.start()
    inside.wait(10)
    child = os.fork()
    if not child:
        try:
            signal.alarm(10)
            with OneThread(), seeded_globally(0):
                is_one = torch.get_num_threads() == 1
            os._exit(0 if is_one and libraries() == before else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    leave.set()
    thread.join()
    assert libraries() == before


def libraries():
    return [library["num_threads"] for library in blas().info()]


# Settings


SETTINGS = {
    "none": nullcontext,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu"),
    "device": partial(torch.device, "meta"),
    "errors": partial(np.errstate, all="raise"),
}


def settings():
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "device": torch.empty(0).device.type,
        **np.geterr(),
    }


USUAL = {
    "gradients": True,
    "inference": False,
    "autocast": False,
    "device": "cpu",
    **dict.fromkeys(("divide", "over", "invalid"), "warn"),
    "under": "ignore",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_the_usual_ones_inside_and_put_back(name):
    with SETTINGS[name]():
        before = settings()
        assert (before == USUAL) == (name == "none")
        with usual_settings():
            assert settings() == USUAL
        assert settings() == before
        with pytest.raises(RuntimeError), usual_settings():
            raise RuntimeError
        assert settings() == before


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_does_not_see_the_settings_of_a_script(name):
    X = np.random.RandomState(0).randn(40, 4)
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), init="random", max_iter=2, random_state=0
    )
    expected = model.fit(X).transform(X)
    with SETTINGS[name]():
        codes = model.fit(X).transform(X)
    np.testing.assert_array_equal(codes, expected)


# Random numbers


class Noisy(BaseModule):
    """A module that draws from its own generator, and has parts that may draw."""

    def __init__(self, part):
        super().__init__(part, nn.Identity())
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x, known=None):
        z = self.encode(x, known)
        return self.factor * z, torch.randn(z.shape, generator=self.generator)


class Own(nn.Module):
    """A user's module, which draws as users do."""

    def forward(self, x):
        return x + torch.rand(x.shape)


class Dropped(nn.Module):
    """Recurrent layers with dropout between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.GRU(1, 1, 2, dropout=0.5, batch_first=True)
        for parameter in self.parameters():
            nn.init.ones_(parameter)

    def forward(self, x):
        return self.layers(x[..., None])[0][..., 0]


PARTS = {"dropout": nn.Dropout(0.5), "own": Own(), "recurrent": Dropped()}


def draws(part, seed, n=3):
    """Return what a module makes of ones, in a course of several passes."""
    module, x, drawn = Noisy(part), torch.ones(50, 2), []
    with RandomNumbers(module, seed) as numbers:
        for _ in range(n):
            with numbers.drawing():
                drawn += module(x)
    assert module.generator is None
    return torch.stack(drawn).detach()


@pytest.mark.parametrize("part", [*PARTS.values(), nn.Identity()])
def test_draws_follow_from_the_seed_alone(part):
    before = torch.get_rng_state()
    first = draws(part, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)  # the user's own, between two fits
    assert torch.equal(draws(part, 1), first)
    assert not torch.equal(draws(part, 2), first)


@pytest.mark.parametrize("name", PARTS)
def test_no_two_passes_draw_the_same(name):
    passes = draws(PARTS[name], 1).unflatten(0, (3, 2))
    for i, j in [(0, 1), (1, 2), (0, 2)]:
        for a, b in zip(passes[i], passes[j], strict=True):
            assert not torch.equal(a, b)


@pytest.mark.parametrize("name", PARTS)
def test_a_course_goes_on_from_its_state(name):
    module, x = Noisy(PARTS[name]), torch.ones(50, 2)
    with RandomNumbers(module, 0) as numbers:
        with numbers.drawing():
            module(x)
        state = [part.clone() for part in numbers.state]
        with numbers.drawing():
            expected = module(x)
    with RandomNumbers(module, 1) as numbers:
        numbers.state = state
        with numbers.drawing():
            drawn = module(x)
    assert all(map(torch.equal, drawn, expected))


def test_an_error_inside_puts_the_generators_back():
    module, before = Noisy(nn.Dropout(0.5)), torch.get_rng_state()

    def fail():
        with RandomNumbers(module, 0) as numbers, numbers.drawing():
            module(torch.ones(5, 2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert module.generator is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", PARTS)
def test_draws_in_several_threads_do_not_mix(name):
    n, seeds = 30, range(4)
    parts = [copy.deepcopy(PARTS[name]) for _ in seeds]
    expected = [draws(parts[seed], seed, n) for seed in seeds]
    before, interval = torch.get_rng_state(), sys.getswitchinterval()
    drawn, together = {}, Barrier(len(seeds))

    def run(seed):
        together.wait(10)
        drawn[seed] = draws(parts[seed], seed, n)

    threads = [Thread(target=run, args=(seed,)) for seed in seeds]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(drawn[seed], expected[seed]) for seed in seeds)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_global_seed_lasts_as_long_as_its_block():
    before = torch.get_rng_state()
    with seeded_globally(3):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, torch.rand(4, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(RuntimeError), seeded_globally(3):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), before)
