"""The training step: AdamW by its kernel alone, and one thread for small steps."""

import warnings
from functools import partial
from threading import Event, Thread

import numpy as np
import pytest
import torch
from torch import nn

from skae._step import OneThread, one_cycle, quick_step


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
    "settings", [{}, {"weight_decay": 0.3, "betas": (0.5, 0.7), "eps": 1e-3}]
)
def test_the_quick_step_is_that_of_adamw(settings):
    results = []
    for take_step in (lambda optimizer: optimizer.step, quick_step):
        first, second = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.zeros(4))
        groups = [{"params": [first]}, {"params": [second], "lr": 0.5}]
        optimizer = torch.optim.AdamW(groups, lr=0.1, fused=True, **settings)
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


def test_one_thread_is_put_back_whichever_block_ends_first():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        block, inside, leave = OneThread(), Event(), Event()

        def other():
            with block:
                inside.set()
                leave.wait(10)

        thread = Thread(target=other)
        with block:
            assert torch.get_num_threads() == 1
            thread.start()
            inside.wait(10)
        assert torch.get_num_threads() == 3
        leave.set()
        thread.join()
        assert torch.get_num_threads() == 3
        with pytest.raises(RuntimeError), block:
            raise RuntimeError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
