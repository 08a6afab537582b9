"""The training step of dense networks, with the gradient derived by hand.

For a small network, autograd and the optimizer take more time than the matrix products
do. A module of an encoder and a decoder that are :class:`DenseLayers`, a linear path
beside dense layers, is therefore trained without them: every product is written into a
buffer that lasts, and all parameters are one tensor for AdamW. What is not known here
goes through autograd, which is the oracle in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ._dense_layers import DenseLayers, known_activation
from ._module import RESHAPING, BaseModule, LinearResidual, OfSamples
from ._step import ADAM_STATE, fused_adamw, is_plain_adamw

if TYPE_CHECKING:
    from ._net import AutoencoderNet

ALIGNMENT = 16  # floats: a parameter begins at a multiple of 64 bytes


class FlatGroup:
    """A group of parameters of an AdamW as one tensor, of which they become views.

    The state becomes views as well, and stays what it would be without.
    """

    def __init__(self, group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        self.group = group
        parameters: list[nn.Parameter] = group["params"]
        starts, size = [], 0
        for p in parameters:
            starts.append(size)
            size += math.ceil(p.numel() / ALIGNMENT) * ALIGNMENT
        self.values, self.gradients, self.averages, self.squares = (
            parameters[0].new_zeros(size) for _ in range(4)
        )
        self.n_steps = torch.zeros((), dtype=torch.float32)
        moments = self.averages, self.squares, self.n_steps
        self.lists = [[of] for of in (self.values, self.gradients, *moments)]
        for p, state, start in zip(parameters, states, starts, strict=True):
            where = slice(start, start + p.numel())
            p.data = _shaped_as(p, self.values[where]).copy_(p.data)
            p.grad = _shaped_as(p, self.gradients[where])
            views = [_shaped_as(p, of[where]) for of in (self.averages, self.squares)]
            if state:
                self.n_steps.copy_(state["step"])
                for name, view in zip(ADAM_STATE[1:], views, strict=True):
                    view.copy_(state[name])
            state.update(zip(ADAM_STATE, (self.n_steps, *views), strict=True))

    def step(self) -> None:
        """Take a step, by the gradients that are in place."""
        self.n_steps.add_(scalar(1.0))
        fused_adamw(self.group, *self.lists)


def _shaped_as(parameter: Tensor, values: Tensor) -> Tensor:
    """Return a view of numbers that has the shape of a parameter.

    A matrix is contiguous along its wider side, which makes its gradient cheaper.
    """
    if parameter.ndim > 1 and parameter.shape[-1] < parameter.shape[-2]:
        return values.view(parameter.mT.shape).mT
    return values.view_as(parameter)


class FlatAdamW:
    """AdamW on one tensor for each group of parameters."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.groups = [
            FlatGroup(group, [optimizer.state[p] for p in group["params"]])
            for group in optimizer.param_groups
        ]
        self._at = self._addresses(optimizer)

    @staticmethod
    def can_hold(optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer is one that can be done on such tensors."""
        if not is_plain_adamw(optimizer):
            return False
        for group in optimizer.param_groups:
            states = [optimizer.state[p] for p in group["params"]]
            if len({float(state.get("step", 0)) for state in states}) != 1:
                return False
            if not all(
                p.requires_grad and p.dtype == torch.float32 for p in group["params"]
            ):
                return False
        return True

    def holds(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether parameters and state are still the views that they were made."""
        return self._at == self._addresses(optimizer)

    @staticmethod
    def _addresses(optimizer: torch.optim.Optimizer) -> list[int | None]:
        where: list[int | None] = [id(optimizer)]
        for group in optimizer.param_groups:
            for p in group["params"]:
                state = optimizer.state.get(p, {})
                tensors = [p, p.grad, *(state.get(name) for name in ADAM_STATE)]
                where += [None if t is None else t.data_ptr() for t in tensors]
        return where

    def step(self) -> None:
        """Take a step, by the gradients that are in place."""
        for group in self.groups:
            group.step()

    def release(self, optimizer: torch.optim.Optimizer) -> None:
        """Give each parameter, and its state, memory of its own again."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.data, p.grad = _copied(p.data), None
                state = optimizer.state.get(p, {})
                state.update({name: _copied(value) for name, value in state.items()})


def _copied(values: Tensor) -> Tensor:
    return values.clone(memory_format=torch.contiguous_format)


class DenseStep:
    """The step of training of a module whose networks are dense.

    Attributes
    ----------
    encoder, decoder : DenseLayers
    values : dict of Tensor
        The module's parameters and buffers by name, of shape (n_modules, ...) if they
        are stacked.
    gradients : dict of Tensor
        Where the gradients by the parameters are to be.
    given : tuple of Tensor or None
        What the module has prepared of the rows.
    saved : tuple
        What ``dense_forward`` keeps for ``dense_backward``.
    """

    saved: tuple[Any, ...] = ()
    given: Any = None

    def __init__(self, net: AutoencoderNet) -> None:
        self.module, self.criterion = net.module_, net.criterion_
        self.template = _template(self.module)
        self.optimizer = FlatAdamW(net.optimizer_)
        self._state = self.module.state_dict()  # which takes time to make
        stacked = self.module is not self.template
        parameters = (
            dict(zip(self.module.names, self.module.stacked, strict=True))
            if stacked
            else dict(self.module.named_parameters())
        )
        buffers = (
            dict(zip(self.module.buffer_names, self.module.buffers(), strict=True))
            if stacked
            else dict(self.module.named_buffers())
        )
        self.gradients = {name: p.grad for name, p in parameters.items()}
        self.values = {**{n: p.data for n, p in parameters.items()}, **buffers}
        self.encoder = self._layers("encoder")
        self.decoder = self._layers("decoder")

    @staticmethod
    def of(
        net: AutoencoderNet, n_features: int, earlier: DenseStep | None = None
    ) -> DenseStep | None:
        """Return the step of a net, or None if autograd has to do it.

        `earlier` is the one that it had before.
        """
        template = _template(net.module_)
        if (
            is_dense(template, n_features)
            and type(net.criterion_).forward is template.dense_loss.forward
            and FlatAdamW.can_hold(net.optimizer_)
        ):
            if earlier is not None and earlier.optimizer.holds(net.optimizer_):
                return earlier
            return DenseStep(net)
        return None

    def _layers(self, name: str) -> DenseLayers:
        part, path = getattr(self.template, name), None
        is_own = name == "encoder" and self.template.n_inputs > 1
        if isinstance(part, LinearResidual) and not is_own:
            path = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        parts = list(_parts(part, name))
        weights = [f"{at}.weight" for at, p in parts if isinstance(p, nn.Linear)]
        biases = [f"{at}.bias" for at, p in parts if isinstance(p, nn.Linear)]
        between = [
            known_activation(p) for _, p in parts if not isinstance(p, nn.Linear)
        ]
        scale = getattr(part, "output_scale", None)
        if scale is not None:
            scale = scale.to(self.values[biases[-1]])
        return DenseLayers(
            [self.values[weight] for weight in weights],
            [self.values[bias] for bias in biases],
            [
                (self.gradients[weight], self.gradients[bias])
                for weight, bias in zip(weights, biases, strict=True)
            ],
            [activation for activation in between if activation is not None],
            path,
            scale,
        )

    def copied_state(self) -> dict[str, Tensor]:
        """Return a copy of the module's ``state_dict``."""
        flat = (group.values for group in self.optimizer.groups)
        copies = {values.data_ptr(): values.clone() for values in flat}
        copied = {}
        for name, of in self._state.items():
            copy = copies.get(of.untyped_storage().data_ptr())
            where = of.shape, of.stride(), of.storage_offset()
            copied[name] = of.clone() if copy is None else copy.as_strided(*where)
        return copied

    def outputs(self, x: Tensor, given: Any = None) -> tuple[Tensor, ...]:
        """Return what the module does for rows, known as a whole or prepared."""
        with torch.no_grad():
            self.given = given
            return self.template.dense_forward(self, x)

    def take(
        self, x: Tensor, weight: Tensor | None, given: Any = None
    ) -> dict[str, Tensor]:
        """Take a step of training, and return the mean of each term."""
        template = self.template
        with torch.no_grad():
            self.given = given
            outputs = template.dense_forward(self, x)
            means = template.dense_backward(self, outputs, x, weight, self.criterion)
            self.optimizer.step()
        return means


def squared_error_gradient(
    reconstruction: Tensor, x: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the mean squared error, and the error itself.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
        Is overwritten by the gradient, of the same shape.
    x : Tensor of shape (n, n_features)
    weight : Tensor of shape (..., n) or None

    Returns
    -------
    gradient : Tensor of shape (..., n, n_features)
        Of each stacked module's own error.
    mean : Tensor of shape ()
        Over the rows, and over stacked modules.
    """
    error = reconstruction.sub_(x)
    n = x.shape[0]
    n_modules = error.shape[0] if error.ndim == 3 else 1
    if weight is None:
        flat = _flat(error)
        total = torch.dot(flat, flat)
        return error.mul_(scalar(2 / n)), total * scalar(1 / (n * n_modules))
    gradient = error * (weight * scalar(2 / n)).unsqueeze(-1)
    total = torch.dot(_flat(error), _flat(gradient))
    return gradient, total * scalar(1 / (2 * n_modules))


def _flat(a: Tensor) -> Tensor:
    """Return the numbers of an array without gaps, as they lie."""
    return a.as_strided((a.numel(),), (1,))


@lru_cache(maxsize=256)
def scalar(value: float) -> Tensor:
    """Return a number as a tensor, with which products take half of the time."""
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.float32, device="cpu")


def _template(module: Any) -> Any:
    """Return the module, or the one that all stacked ones are like."""
    separate = getattr(module, "separate", None)
    return module if separate is None or len(separate) else module.template


def _is_by_hand(kind: type) -> bool:
    """Whether a class of modules computes what the class with its gradient does."""
    if not issubclass(kind, BaseModule):
        return False
    owner = _owner(kind, "dense_forward")
    methods = "forward", "encode", "encoded", "decode"
    return owner is not BaseModule and all(
        issubclass(owner, _owner(kind, name)) for name in methods
    )


def _owner(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__ if name in vars(base))


def _parts(network: nn.Module | None, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield what a network is made of, by name, but for what only reshapes."""
    if isinstance(network, OfSamples | LinearResidual):
        yield from _parts(network.network, f"{name}.network")
    elif type(network) is nn.Sequential:
        for i, part in enumerate(network):
            yield from _parts(part, f"{name}.{i}")
    elif network is not None and type(network) not in RESHAPING:
        yield name, network


def is_dense(module: BaseModule, n_features: int) -> bool:
    """Whether a module has its gradient by hand, and dense layers as its networks."""
    if not _is_by_hand(type(module)) or _has_any_global_hook():
        return False
    if any(map(_has_hook, module.modules())):
        return False
    of_encoder, of_decoder = module.dense_widths(n_features)
    encoder_is = _is_dense_network(module.encoder, **of_encoder)
    return encoder_is and _is_dense_network(module.decoder, **of_decoder)


def _is_dense_network(
    network: nn.Module, n_in: int | None = None, n_out: int | None = None
) -> bool:
    """Whether a network is dense layers, with a linear path beside them or without.

    `n_in` and `n_out` are widths that it has to have: layers that work on an axis of a
    sample are narrower.
    """
    is_linear_path = isinstance(network, LinearResidual)
    if is_linear_path and network.has_gain:
        return False
    parts: list[Any] = [part for _, part in _parts(network, "")]
    if not parts:
        return is_linear_path
    layers, between = parts[::2], parts[1::2]
    if len(layers) == len(between) or not all(
        type(layer) is nn.Linear and layer.bias is not None for layer in layers
    ):
        return False
    widths = [(a.out_features, b.in_features) for a, b in pairwise(layers)]
    widths += [] if n_in is None else [(n_in, layers[0].in_features)]
    widths += [] if n_out is None else [(layers[-1].out_features, n_out)]
    return all(a == b for a, b in widths) and all(map(known_activation, between))


def _has_hook(part: nn.Module) -> bool:
    names = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"
    return any(getattr(part, name) for name in (*names, "_backward_pre_hooks"))
