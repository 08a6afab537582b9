"""Contrastive divergence: how a Boltzmann machine is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._boltzmann import BoltzmannMachine
from ._dataset import RowDataset
from ._parameters import new_torch_generator

# Deviation of the weights that training begins with, and rows that they are mixed of.
WEIGHT_SCALE = 0.1
MIXED_ROWS = 1000
# Share of a batch in the moving average of the hidden means.
AVERAGED = 0.05
# |W|^2 / s2 of Gaussian units on both sides, which have no density from 1 on.
MOST_SPECTRAL = 0.999
# The logarithm of the noise variance moves by at most this in a step.
MOST_NOISE_STEP = 0.05
# Rows, and random numbers, that are made ready at a time.
READY_NUMBERS = 2**18
# Batches that they are made ready for, at most: a view of each takes its time as well.
MOST_READY = 256


class Draws:
    """Random numbers for the units of a side, made for up to `n_batches` at a time.

    They are uniform for Bernoulli units, and standard normal for Gaussian ones.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        is_gaussian: bool,
        seed: int,
        device: torch.device,
        n_batches: int,
    ) -> None:
        n_batches = min(n_batches, max(1, READY_NUMBERS // math.prod(shape)))
        self.numbers = torch.empty(
            n_batches, *shape, dtype=torch.float32, device=device
        )
        self.is_gaussian = is_gaussian
        self.generator = torch.Generator(device).manual_seed(seed)
        self.bits = np.random.SFC64(seed)  # four times as fast as torch's on a CPU
        self._left: list[Tensor] = []

    def next(self) -> Tensor:
        """Return numbers for one batch."""
        if not self._left:
            self._fill()
            self._left = list(self.numbers.unbind())
        return self._left.pop()

    def _fill(self) -> None:
        if self.is_gaussian:
            self.numbers.normal_(generator=self.generator)
        elif self.numbers.device.type == "cpu":
            raw = self.bits.random_raw(-(-self.numbers.numel() // 2)).view(np.int32)
            flat = self.numbers.view(-1)
            flat.copy_(torch.from_numpy(raw[: len(flat)])).mul_(2.0**-32).add_(0.5)
        else:
            self.numbers.uniform_(generator=self.generator)


# Views, and generators, which cannot be.
NOT_PICKLED = {"visible_draws", "hidden_draws", "generator", "weight", "hidden_bias"}
NOT_PICKLED |= {"weight_t", "rows_t", "data", "model", "on_data", "on_model"}
NOT_PICKLED |= {"on_data_t", "ones"}


@dataclass(frozen=True)
class Steps:
    """How a step is taken: the parameters of an estimator that say so."""

    batch_size: int
    momentum: float
    n_gibbs_steps: int
    persistent: bool


class ContrastiveDivergence:
    """A machine that is trained, batch by batch, in buffers that last.

    Rows are centred and divided by one scalar: ``x = (v - mean) / scale``. In these
    units the energy is ``A - x'b / s2 - x' W h / s2`` with a hidden bias that differs
    from that of the rows by a constant, so that statistics are centred on the visible
    side, exactly; on the hidden side ``W`` gets those of ``h`` less a moving average of
    its mean on data (Montavon & Mueller 2012). Gradients by Gaussian visible units are
    multiplied by s2, which makes them as large as those of Bernoulli ones.

    Parameters
    ----------
    machine : BoltzmannMachine
    mean : ndarray of shape (d,)
    scale : float
        1 for Bernoulli visible units.
    steps : Steps
    device : torch.device
    seed : int
    """

    def __init__(
        self,
        machine: BoltzmannMachine,
        mean: NDArray,
        scale: float,
        steps: Steps,
        device: torch.device,
        seed: int,
    ) -> None:
        d, k = machine.weight.shape
        self.machine, self.mean, self.scale, self.steps = machine, mean, scale, steps
        self.device, self.is_gaussian = device, machine.sides
        size = steps.batch_size

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float32, device=device)

        def tensor(values: NDArray) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        weight, b, c, self.noise = self._in_own_units()
        # The hidden biases are the last row of the weights: x has a column of ones.
        self.parameters = tensor(np.vstack([weight, c]))
        self.visible_bias = tensor(b)
        self.velocity = zeros(d + 1, k)
        self.visible_velocity = zeros(d + 1)
        self.noise_velocity = 0.0
        self.offset = zeros(k)
        self.is_first = True
        # Data above, and what the machine makes of them below.
        self.rows, self.hidden = zeros(2 * size, d + 1), zeros(2 * size, k)
        self.rows[:, d] = 1
        self.state, self.drawn = zeros(size, k), zeros(size, d)
        self.signs, self.pulls = zeros(2 * size), zeros(2 * size)
        self.column_mean = tensor(mean)
        self.has_chain = False
        self._set_views()
        self.reseed(seed)

    def _in_own_units(self) -> tuple[NDArray, NDArray, NDArray, float]:
        """Return weights, biases and noise for rows that are centred and divided."""
        machine, b = self.machine, self.machine.visible_bias
        if machine.visible == "bernoulli":
            weight = machine.weight
            return weight, b, machine.hidden_bias + self.mean @ weight, 1.0
        weight, b = machine.weight / self.scale, (b - self.mean) / self.scale
        noise = machine.noise / self.scale**2
        return weight, b, machine.hidden_bias - b @ weight / noise, noise

    def _set_views(self) -> None:
        size = self.steps.batch_size
        self.weight, self.hidden_bias = self.parameters[:-1], self.parameters[-1]
        self.weight_t, self.rows_t = self.weight.T, self.rows.T
        self.data, self.model = self.rows[:size, :-1], self.rows[size:, :-1]
        self.on_data, self.on_model = self.hidden[:size], self.hidden[size:]
        self.on_data_t = self.on_data.T
        self.ones = torch.ones_like(self.signs[:size])

    def reseed(self, seed: int, n_draws: int = MOST_READY) -> None:
        """Begin with random numbers that follow from a seed, for so many draws."""
        size, device = self.steps.batch_size, self.parameters.device
        (d, k), (gaussian_v, gaussian_h) = self.weight.shape, self.is_gaussian
        n = min(n_draws, MOST_READY)
        self.visible_draws = Draws((size, d), gaussian_v, seed, device, n)
        self.hidden_draws = Draws((size, k), gaussian_h, seed + 1, device, n)
        self.generator = new_torch_generator(seed)
        self.signs[:size], self.signs[size:] = 1, -1

    def break_symmetry(self, dataset: RowDataset, rows: Tensor) -> None:
        """Draw small weights, if there are none: all hidden units would stay alike.

        They are random mixtures of rows, in directions in which rows vary; other ones
        take long to turn there.
        """
        if self.weight.any():
            return
        x, _ = dataset.take(rows[:MIXED_ROWS])
        shares = torch.randn(
            (len(x), self.weight.shape[1]),
            generator=self.generator,
            dtype=torch.float32,
        )
        mixed = x.T @ shares.to(x.device)
        size = mixed.square().mean().sqrt()
        if size > 0:
            self.weight.copy_(WEIGHT_SCALE * mixed / size)

    def _hidden_mean(self, x: Tensor, out: Tensor) -> None:
        torch.addmm(self.hidden_bias, x, self.weight, alpha=1 / self.noise, out=out)
        if not self.is_gaussian[1]:
            out.sigmoid_()

    def _draw_hidden(self, mean: Tensor) -> None:
        if self.is_gaussian[1]:
            torch.add(mean, self.hidden_draws.next(), out=self.state)
        else:
            torch.lt(self.hidden_draws.next(), mean, out=self.state)

    def _draw_visible(self) -> None:
        """Draw rows given the drawn hidden units."""
        mean = torch.addmm(self.visible_bias, self.state, self.weight_t, out=self.drawn)
        if self.is_gaussian[0]:
            noise = self.visible_draws.next()
            torch.add(mean, noise, alpha=math.sqrt(self.noise), out=self.model)
        else:
            torch.lt(self.visible_draws.next(), mean.sigmoid_(), out=self.model)
            self.model.sub_(self.column_mean)

    def collect(self, x: Tensor, weight: Tensor | None, rate: float) -> None:
        """Add the gradient of a batch, times a rate, to the velocities.

        Parameters
        ----------
        x : Tensor of shape (batch_size, d)
        weight : Tensor of shape (batch_size,) or None
            That of each row, of mean 1 over the table.
        rate : float
        """
        steps, size = self.steps, len(x)
        self.data.copy_(x)
        self._hidden_mean(self.data, self.on_data)
        if not self.has_chain:
            self._draw_hidden(self.on_data)
            self.has_chain = steps.persistent
        for i in range(steps.n_gibbs_steps):
            self._draw_visible()
            self._hidden_mean(self.model, self.on_model)
            if steps.persistent or i < steps.n_gibbs_steps - 1:
                self._draw_hidden(self.on_model)
        share = 1.0 if self.is_first else AVERAGED
        self.is_first = False
        self.offset.addmv_(
            self.on_data_t, self.ones, beta=1 - share, alpha=share / size
        )
        if weight is not None:
            of_model = weight.mean().expand(size) if steps.persistent else weight
            self.signs[:size], self.signs[size:] = weight, -of_model
            self.on_data.mul_(weight[:, None])
            self.on_model.mul_(of_model[:, None])
        self.on_model.neg_()
        self.hidden.addr_(self.signs, self.offset, alpha=-1)
        how = {"beta": steps.momentum, "alpha": rate / size}
        self.velocity.addmm_(self.rows_t, self.hidden, **how)
        # Visible biases move with what the weights make of the offset.
        torch.addmv(self.signs, self.hidden, self.offset, alpha=-1, out=self.pulls)
        self.visible_velocity.addmv_(self.rows_t, self.pulls, **how)
        if self.is_gaussian[0]:
            self._collect_noise(how)

    def _collect_noise(self, how: dict[str, float]) -> None:
        """Add the natural gradient of the logarithm of the noise variance.

        That is the gradient divided by the information d / 2 of d normal units.
        """
        x, d = self.rows[:, :-1], len(self.visible_bias)
        expected = torch.addmv(self.visible_bias, self.weight, self.offset)
        terms = 0.5 * x.square().sum(1) - x @ expected  # less those of W and h
        of_weight = ((x @ self.weight) * self.hidden).sum()
        found = float(torch.dot(terms, self.signs) - of_weight)
        change = how["alpha"] * found / self.noise * (2 / d)
        self.noise_velocity = how["beta"] * self.noise_velocity + change

    def move(self) -> None:
        """Move the parameters by the velocities, and keep what must hold of them."""
        if math.isfinite(self.noise_velocity):  # else all is lost, and noticed
            most = MOST_NOISE_STEP
            self.noise *= math.exp(min(max(self.noise_velocity, -most), most))
        self.parameters.add_(self.velocity)
        self.visible_bias.add_(self.visible_velocity[:-1])
        if all(self.is_gaussian):
            norm = float(torch.linalg.matrix_norm(self.weight, 2)) ** 2
            if norm > MOST_SPECTRAL * self.noise:
                self.weight.mul_(math.sqrt(MOST_SPECTRAL * self.noise / norm))

    def step(self, x: Tensor, weight: Tensor | None, rate: float) -> None:
        """Take a step by a batch."""
        self.collect(x, weight, rate)
        self.move()

    def run(
        self,
        dataset: RowDataset,
        order: Tensor,
        weight: Tensor | None,
        rates: NDArray,
    ) -> None:
        """Take a step by each batch of an order of rows.

        Parameters
        ----------
        dataset : RowDataset
        order : Tensor of int
            Numbers of rows. The last batch is made full by the first ones.
        weight : Tensor of shape (n_samples,) or None
        rates : ndarray
            Learning rate of each batch.
        """
        size = self.steps.batch_size
        n_batches = len(rates)
        order = order.repeat(-(-n_batches * size // len(order)))[: n_batches * size]
        n_ready = max(1, READY_NUMBERS // (size * self.data.shape[1]))
        for first in range(0, n_batches, n_ready):
            taken = order[first * size : (first + n_ready) * size]
            x, _ = dataset.take(taken)
            weights = [None] * n_ready
            if weight is not None:
                weights = list(weight[taken].split(size))
            batches = zip(x.split(size), weights, rates[first:], strict=False)
            for rows, w, rate in batches:
                self.step(rows, w, float(rate))

    @property
    def is_finite(self) -> bool:
        """Whether the machine is not lost."""
        total = self.parameters.sum() + self.visible_bias.sum()
        return bool(total.isfinite()) and math.isfinite(self.noise)

    def trained(self) -> BoltzmannMachine:
        """Return the machine in the units of the rows."""
        weight = self.weight.cpu().double().numpy()
        b, c = (p.cpu().double().numpy() for p in (self.visible_bias, self.hidden_bias))
        changed: dict[str, Any]
        if self.is_gaussian[0]:
            changed = {
                "weight": self.scale * weight,
                "visible_bias": self.mean + self.scale * b,
                "hidden_bias": c + b @ weight / self.noise,
                "noise": self.scale**2 * self.noise,
            }
        else:
            c = c - self.mean @ weight
            changed = {"weight": weight, "visible_bias": b.copy(), "hidden_bias": c}
        return replace(self.machine, **changed)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__
        return {key: state[key] for key in state if key not in NOT_PICKLED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_views()
