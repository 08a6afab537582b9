"""Boltzmann machines from one without hidden units to another, for annealing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._boltzmann import BoltzmannMachine


class AnnealedPath:
    """Machines between that of the base rates, at 0, and a given one, at 1.

    Weights and Bernoulli hidden biases are multiplied by the place on the path, and
    visible biases go from those of the base to their own.

    Rows are given less a middle, in deviations of the noise of Gaussian units: float32
    then neither rounds their offsets nor overflows.

    Parameters
    ----------
    machine : BoltzmannMachine
    device : torch.device
    """

    def __init__(self, machine: BoltzmannMachine, device: torch.device) -> None:
        self.is_gaussian = gaussian_v, _ = machine.sides
        self.generator = torch.Generator(device).manual_seed(machine.seed)

        def tensor(values: Any) -> Tensor:
            return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)

        own = machine.visible_bias
        middle = own if gaussian_v else np.zeros(len(own))
        self.noise = float(machine.noise) if gaussian_v else 1.0
        unit = math.sqrt(self.noise)
        self.base = own if machine.base is None else machine.base
        self.from_middle = self.base - middle
        self.weight = tensor(machine.weight / unit)
        self.hidden_bias = tensor(machine.hidden_bias)
        self.biases = tensor(self.from_middle / unit), tensor((own - middle) / unit)

    def first(self, n_chains: int) -> Tensor:
        """Return rows of the base, shape (n_chains, d)."""
        return self._drawn(self.biases[0].expand(n_chains, -1), self.is_gaussian[0])

    def moved(self, a: Tensor, beta: float) -> Tensor:
        """Return rows after a step of Gibbs sampling, given ``v @ weight``."""
        gaussian_v, gaussian_h = self.is_gaussian
        c = self.hidden_bias
        h = self._drawn(c + beta * a if gaussian_h else beta * (c + a), gaussian_h)
        b = torch.lerp(*self.biases, beta)
        return self._drawn(b + beta * (h @ self.weight.T), gaussian_v)

    def log_weight(self, v: Tensor, a: Tensor, beta: float) -> Tensor:
        """Return the logarithms of what is no density yet, less what all have, (n,).

        `a` is ``v @ weight``.
        """
        linear, c = torch.mv(v, torch.lerp(*self.biases, beta)), self.hidden_bias
        if self.is_gaussian[1]:
            terms = beta * a * c + 0.5 * beta**2 * a.square()
        else:
            terms = torch.nn.functional.softplus(beta * (a + c))
        return linear.double() + terms.sum(1, dtype=torch.float64)

    @property
    def log_base(self) -> float:
        """The logarithm of the partition function of the base, in nats."""
        gaussian_v, gaussian_h = self.is_gaussian
        k, d = len(self.hidden_bias), len(self.base)
        of_hidden = 0.5 * k * math.log(2 * math.pi) if gaussian_h else k * math.log(2)
        if not gaussian_v:
            return of_hidden + float(np.logaddexp(0, self.base).sum())
        # The base has this constant in the units of the middle.
        shift = (self.from_middle**2).sum() / (2 * self.noise)
        return of_hidden + (0.5 * d * math.log(2 * math.pi * self.noise) + shift)

    def _drawn(self, natural: Tensor, is_gaussian: bool) -> Tensor:
        """Draw units, given their means or, of Bernoulli units, the logits of these.

        Gaussian units have variance 1.
        """
        random = torch.empty_like(natural, memory_format=torch.contiguous_format)
        if is_gaussian:
            return natural + random.normal_(generator=self.generator)
        uniform = random.uniform_(generator=self.generator)
        return (uniform < natural.sigmoid()).to(natural)
