"""What tells codes from draws of a prior, and its gradients by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ._prior import FLOAT

# How much faster the discriminator learns than the autoencoder.
DISCRIMINATOR_RATE = 3.0


class Discriminator(nn.Module):
    """Tells draws of the prior from codes: dense layers of tanh, and a logit.

    Parameters
    ----------
    k : int
    widths : sequence of int
    generator : torch.Generator
        What the weights are drawn from.

    Notes
    -----
    The logit is 0 at first: nothing is told, and nothing has to be mended. Weights are
    stored divided by `DISCRIMINATOR_RATE`, so that one learning rate does for both
    sides (as of Karras et al. 2018).
    """

    def __init__(
        self, k: int, widths: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.k = k
        sizes = [k, *widths, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            bound = math.sqrt(6 / (n_in + n_out)) / DISCRIMINATOR_RATE
            is_last = i == len(widths)
            weight = torch.empty(n_out, n_in, **FLOAT)
            weight.uniform_(-1, 1, generator=generator)
            self.weights.append(nn.Parameter(weight * (0 if is_last else bound)))
            self.biases.append(nn.Parameter(torch.zeros(n_out, **FLOAT)))

    def forward(self, z: Tensor, *, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Return the logit of each code, (n,), and its gradient by the code, (n, k).

        No gradient goes to the weights of a `frozen` one.
        """
        weights, biases = list(self.weights), list(self.biases)
        if frozen:
            weights = [weight.detach() for weight in weights]
            biases = [bias.detach() for bias in biases]
        passed = DiscriminatorPass(weights, biases, z)
        return passed.logits, passed.gradients


class DiscriminatorPass:
    """What a discriminator makes of codes, and of stacked ones.

    Parameters
    ----------
    weights : list of Tensor of shape (..., n_out, n_in)
    biases : list of Tensor of shape (..., n_out)
    z : Tensor of shape (..., n, k)

    Attributes
    ----------
    logits : Tensor of shape (..., n)
    gradients : Tensor of shape (..., n, k)
        Of each logit by its code.
    """

    def __init__(self, weights: list[Tensor], biases: list[Tensor], z: Tensor) -> None:
        self.weights = [DISCRIMINATOR_RATE * weight for weight in weights]
        self.layers = [z]
        for weight, bias in zip(self.weights, biases, strict=True):
            h = self.layers[-1] @ weight.mT + DISCRIMINATOR_RATE * bias[..., None, :]
            self.layers.append(h.tanh())
        self.logits = h[..., 0]
        self.layers.pop()
        # From the top: of the logit by each layer, before and after its slope.
        self.slopes = [1 - h.square() for h in self.layers[1:]]
        self.after, self.before = [self.weights[-1]], []
        for weight, slope in zip(self.weights[-2::-1], self.slopes[::-1], strict=True):
            self.before.append(slope * self.after[-1])
            self.after.append(self.before[-1] @ weight)
        self.gradients = self.after[-1].expand_as(z)

    def backward(self, by_logits: Tensor, by_squares: Tensor) -> list[Tensor]:
        """Return the gradients of all weights, and of all biases, by hand.

        Parameters
        ----------
        by_logits : Tensor of shape (..., n)
            Gradient of what is to be less by the logits.
        by_squares : Tensor of shape (..., n)
            Twice that by the squared norms of `gradients`.
        """
        n_hidden = len(self.slopes)
        of_weights: list[Any] = [None] * (n_hidden + 1)
        of_biases, by_layers = list(of_weights), []
        # By the gradients of the logit, from the codes up.
        up = by_squares[..., None] * self.gradients
        for i in range(n_hidden):
            before, after = self.before[-1 - i], self.after[-2 - i]
            of_weights[i] = before.mT @ up
            through = up @ self.weights[i].mT
            by_layers.append(-2 * self.layers[i + 1] * (after * through))
            up = self.slopes[i] * through
        # By the logits, and by what the slopes are made of, from the top down.
        down = by_logits[..., None]
        of_weights[-1] = down.mT @ self.layers[-1] + up.sum(-2, keepdim=True)
        of_biases[-1] = down.sum(-2)
        for i in reversed(range(n_hidden)):
            down = self.slopes[i] * (down @ self.weights[i + 1] + by_layers[i])
            of_weights[i] = of_weights[i] + down.mT @ self.layers[i]
            of_biases[i] = down.sum(-2)
        return [DISCRIMINATOR_RATE * g for g in (*of_weights, *of_biases)]
