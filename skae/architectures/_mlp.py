"""The multilayer perceptron, with free or with tied weights."""

from __future__ import annotations

import math
import operator
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._base import Architecture, unset

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

MAX_SIZE = 2**24  # of a layer


def make_activation(name: str, parameter: str = "activation") -> nn.Module:
    """Return the activation called `name`, or raise a ValueError that lists them."""
    try:
        return ACTIVATIONS[name]()
    except (KeyError, TypeError):
        raise ValueError(
            f"Unknown {parameter} {name!r}: use one of {sorted(ACTIVATIONS)}."
        ) from None


def check_sizes(
    name: str, sizes: Any, example: str, *, may_be_empty: bool
) -> list[int]:
    """Return sizes as a list, or raise a ValueError that names the parameter."""
    try:
        listed = [sizes] if isinstance(sizes, Integral) else list(sizes)
        checked = [operator.index(size) for size in listed]
    except TypeError:
        checked = [0]
    if (
        isinstance(sizes, str | bytes | dict)
        or any(not 1 <= size <= MAX_SIZE for size in checked)
        or not (checked or may_be_empty)
    ):
        raise ValueError(
            f"{name}={sizes!r}: use a tuple of integers of at least 1, {example}; the "
            f"largest may be {MAX_SIZE}."
        )
    return checked


def check_boolean(name: str, value: Any) -> None:
    """Raise a ValueError that names the parameter unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}={value!r}: use True or False.")


def make_linear(
    n_in: int, n_out: int, gain: float, generator: torch.Generator
) -> nn.Linear:
    """Return a linear layer with Glorot-normal weights times `gain` and zero bias."""
    layer = unset(nn.Linear, n_in, n_out)
    nn.init.xavier_normal_(layer.weight, gain=gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class TiedDecoder(nn.Module):
    """A decoder whose weights are the transposes of an encoder's.

    Only the biases are its own.

    Parameters
    ----------
    layers : list of torch.nn.Linear
        The encoder's linear layers, first to last; their weights are shared.
    activation : str
        Activation between the layers.

    Notes
    -----
    Shape: ``(n, n_components)`` to ``(n, n_features)``.

    References
    ----------
    Bourlard & Kamp (1988), Auto-association by multilayer perceptrons and singular
    value decomposition.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skae.architectures._mlp import TiedDecoder
    >>> encoder = nn.Linear(5, 2)
    >>> TiedDecoder([encoder], "relu")(torch.zeros(3, 2)).shape
    torch.Size([3, 5])
    """

    def __init__(self, layers: list[nn.Linear], activation: str) -> None:
        super().__init__()
        self.weights = nn.ParameterList([layer.weight for layer in reversed(layers)])
        self.biases = nn.ParameterList(
            [
                nn.Parameter(layer.weight.new_zeros(layer.in_features))
                for layer in reversed(layers)
            ]
        )
        self.activation = make_activation(activation)

    def forward(self, z: Tensor) -> Tensor:
        """Decode a tensor of shape (n, n_components)."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = nn.functional.linear(z, weight.T, bias)
            if i < last:
                z = self.activation(z)
        return z


class MLP(Architecture):
    """Fully connected layers; the decoder mirrors the encoder.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 128)
        Widths of the encoder's hidden layers, from the data to the code. The decoder
        has them in reverse. ``()`` means linear maps.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``.
    code_activation : str, default="identity"
        Activation on the code itself, after the encoder's last layer.
    tied_weights : bool, default=False
        Use the encoder's transposed weights in the decoder (Bourlard & Kamp 1988),
        which halves the number of parameters. The biases stay free.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import MLP
    >>> encoder, decoder = MLP((3,)).build((4,), 2, torch.Generator().manual_seed(0))
    >>> encoder(torch.zeros(5, 4)).shape
    torch.Size([5, 2])
    >>> decoder
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=4, bias=True)
    )
    """

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (256, 128),
        activation: str = "relu",
        *,
        code_activation: str = "identity",
        tied_weights: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.tied_weights = tied_weights

    def build(
        self,
        sample_shape: tuple[int, ...],
        n_components: int,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Build the encoder and the decoder; see :class:`Architecture`.

        Raises
        ------
        ValueError
            If an activation is unknown or a layer is not at least 1 wide.
        """
        make_activation(self.activation)  # or an error that names it
        on_code = make_activation(self.code_activation, "code_activation")
        check_boolean("tied_weights", self.tied_weights)
        n_features = math.prod(sample_shape)
        sizes = check_sizes(
            "hidden_layer_sizes",
            self.hidden_layer_sizes,
            "such as (256, 128), or () for no hidden layer",
            may_be_empty=True,
        )
        widths = [n_features, *sizes, n_components]
        encoder = self._stack(widths, generator)
        layers = [layer for layer in encoder if isinstance(layer, nn.Linear)]
        if self.code_activation != "identity":
            encoder.append(on_code)
        decoder: nn.Module
        if self.tied_weights:
            decoder = TiedDecoder(layers, self.activation)
        else:
            decoder = self._stack(widths[::-1], generator)
        if len(sample_shape) > 1:
            encoder.insert(0, nn.Flatten())
            decoder = nn.Sequential(decoder, nn.Unflatten(1, sample_shape))
        return encoder, decoder

    def _stack(self, widths: list[int], generator: torch.Generator) -> nn.Sequential:
        gain = math.sqrt(2.0) if self.activation == "relu" else 1.0
        stack = nn.Sequential()
        last = len(widths) - 2
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            stack.append(make_linear(n_in, n_out, gain if i < last else 1.0, generator))
            if i < last:
                stack.append(make_activation(self.activation))
        return stack
