"""Codes that are decoded closest, in ONNX, which has no gradients of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .._module import BaseModule, LinearResidual
from .._projection import (
    FIRST_LENGTH,
    LONGER,
    SHORTER,
    ProjectedNetwork,
    shares_of_prefixes,
)
from ..architectures._mlp import TiedDecoder
from ._convolutions import convolved, geometry
from ._graph import Graph, Value
from ._known import call, of
from ._networks import UnknownNetwork, apply, beyond, linear

Pullback = Callable[[Value], Value]
"""Makes a gradient by what a network returns one by what it was given."""


@of(ProjectedNetwork.encoded)
def _(
    g: Graph, model: ProjectedNetwork, module: Any, x: Value, known: Value | None
) -> Value:
    guess = z = call(g, module, "encode", x, known)
    projection = model.projection
    decoder = decoder_of(module)
    if len(projection.guesses):
        z = _best_guess(g, model, module, x, z)
    metric = projection.metric.astype(x.dtype)
    length: Any = FIRST_LENGTH

    def whole_error_at(z: Value) -> tuple[Value, Value]:
        y, back = traced(g, decoder, z)
        left = y - x
        return 0.5 * left.squared().sum(1, keepdims=True), back(left)

    def prefix_error_at(z: Value) -> tuple[Value, Value]:
        k = len(metric)
        kept = np.tril(np.ones((k, k)))
        each = [whole_error_at(z * kept[j]) for j in range(k)]
        both = [
            (error * share, gradient * (kept[j] * share))
            for j, (share, (error, gradient)) in enumerate(
                zip(shares_of_prefixes(k), each, strict=True)
            )
        ]
        errors, gradients = zip(*both, strict=True)
        return sum(errors[1:], errors[0]), sum(gradients[1:], gradients[0])

    error_at = prefix_error_at if projection.is_ordered else whole_error_at
    error, gradient = error_at(z)
    for _ in range(projection.n_steps):
        direction = gradient @ metric
        fall = length * (gradient * direction).sum(1, keepdims=True)
        trial = z - length * direction
        new_error, new_gradient = error_at(trial)
        is_closer = g.add("Less", new_error, error, dtype=bool)
        bend = new_error - error + fall
        is_bent = g.add("Greater", bend, 0.0, dtype=bool)
        ratio = g.where(is_bent, fall / (2.0 * bend), LONGER)
        length = length * g.add("Min", g.add("Max", ratio, SHORTER), LONGER)
        error = g.where(is_closer, new_error, error)
        gradient = g.where(is_closer, new_gradient, gradient)
        z = g.where(is_closer, trial, z)
    if getattr(module.encoder, "bounds", None) is None:
        return z
    return g.where(beyond(g, module.encoder, x).unsqueeze(1), guess, z)


def _best_guess(
    g: Graph, model: ProjectedNetwork, module: BaseModule, x: Value, z: Value
) -> Value:
    parameter = next(module.parameters())
    guesses = torch.from_numpy(model.projection.guesses).to(parameter)
    with torch.no_grad():
        rows = module.decode(guesses).cpu().numpy()
    squares = np.square(rows).sum(1) - 2.0 * (x @ rows.T)
    best = g.add("ArgMin", squares, axis=1, keepdims=0, dtype=np.int64)
    closest = g.constant(rows).take(best, 0)
    before = (traced(g, decoder_of(module), z)[0] - x).squared().sum(1, keepdims=True)
    after = (closest - x).squared().sum(1, keepdims=True)
    is_closer = g.add("Less", after, before, dtype=bool)
    return g.where(is_closer, g.constant(guesses.cpu().numpy()).take(best, 0), z)


def decoder_of(module: BaseModule) -> nn.Module:
    """Return the decoder, or the module itself if there is more to it."""
    return module.decoder if type(module).decode is BaseModule.decode else module


def traced(g: Graph, part: nn.Module, x: Value) -> tuple[Value, Pullback]:
    """Return what a network makes of a value, and the way back for a gradient.

    Raises
    ------
    NotImplementedError
        If it is not one of dense layers and transposed convolutions.
    """
    forward = type(part).forward
    if forward is nn.Sequential.forward:
        backs = []
        for layer in part:  # type: ignore[attr-defined]
            x, back = traced(g, layer, x)
            backs.append(back)
        return x, lambda d: _through(backs, d)
    trace = TRACED.get(forward)
    try:
        if trace is None or part._forward_hooks or part._forward_pre_hooks:
            raise UnknownNetwork
        return trace(g, part, x)
    except UnknownNetwork:
        raise NotImplementedError(
            f"The network {type(part).__name__} cannot be exported with the steps of "
            "transform, of which it would need the gradient: fit with "
            "transform_max_iter=0."
        ) from None


def _through(backs: list[Pullback], gradient: Value) -> Value:
    for back in reversed(backs):
        gradient = back(gradient)
    return gradient


def _linear_residual(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    path = linear(x, part.weight, part.bias)
    straight = part.weight.detach().cpu().numpy()
    if part.network is None:
        return path, lambda d: d @ straight
    given, is_inside = x, None
    if part.bounds is not None:
        low, high = (g.constant(bound, x.dtype) for bound in part.bounds)
        given = g.add("Min", g.add("Max", x, low), high)
        given.sizes = x.sizes
        is_inside = g.add("Equal", given, x, dtype=bool)
    added, back = traced(g, part.network, given)
    factor = 1.0 if part.output_scale is None else part.output_scale.cpu().numpy()
    if part.has_gain:
        factor = factor * float(part.gain.detach())
    is_scaled = part.has_gain or part.output_scale is not None

    def whole_back(d: Value) -> Value:
        bent = back(d * factor if is_scaled else d)
        bent = bent if is_inside is None else g.where(is_inside, bent, 0.0)
        return d @ straight + bent

    return path + (added * factor if is_scaled else added), whole_back


def _dense(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    weight = part.weight.detach().cpu().numpy()
    return apply(g, part, x), lambda d: d @ weight


def _tied(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    backs: list[Pullback] = []
    last = len(part.weights) - 1
    for i, (weight, bias) in enumerate(zip(part.weights, part.biases, strict=True)):
        across = weight.detach().cpu().numpy().T  # (n_out, n_in)
        x = linear(x, weight.T, bias)
        backs.append(lambda d, across=across: d @ across)  # type: ignore[misc]
        if i < last:
            x, back = traced(g, part.activation, x)
            backs.append(back)
    return x, lambda d: _through(backs, d)


def _reshaped(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    shape = x.sizes
    y = apply(g, part, x)
    if isinstance(part, nn.Unflatten):
        y.sizes = tuple(part.unflattened_size)
        shape = (math.prod(y.sizes),)
    return y, lambda d: d.reshape(-1, *shape)


def _convolution(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    """Trace a transposed convolution, whose transpose is the convolution."""
    n = len(part.kernel_size)
    if len(x.sizes) <= n:  # after something that leaves them unknown
        raise UnknownNetwork
    y = apply(g, part, x)
    sizes = [
        (size - 1) * s - 2 * p + d * (k - 1) + rest + 1
        for size, (k, s, p, d, rest) in zip(x.sizes[-n:], geometry(part), strict=True)
    ]
    y.sizes = (part.out_channels, *sizes)
    return y, lambda d: convolved(g, part, d)


def _activation(
    slope: Callable[[Graph, Value, Value], Value],
) -> Callable[[Graph, Any, Value], tuple[Value, Pullback]]:
    """Return what traces an activation, given its slope at ``x`` with value ``y``."""

    def trace(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
        y = apply(g, part, x)
        y.sizes = x.sizes
        return y, lambda d: d * slope(g, x, y)

    return trace


def _same(g: Graph, part: Any, x: Value) -> tuple[Value, Pullback]:
    return x, lambda d: d


def _relu(g: Graph, x: Value, y: Value) -> Value:
    return g.add("Greater", x, 0.0, dtype=bool).cast(x.dtype)


def _elu(g: Graph, x: Value, y: Value) -> Value:
    return g.where(g.add("Greater", x, 0.0, dtype=bool), 1.0, y + 1.0)


def _silu(g: Graph, x: Value, y: Value) -> Value:
    share = g.add("Sigmoid", x)
    return share + y * (1.0 - share)


def _gelu(g: Graph, x: Value, y: Value) -> Value:
    erf = g.add("Erf", (x * math.sqrt(0.5)).cast(np.float32)).cast(x.dtype)
    density = g.add("Exp", -0.5 * x.squared()) * (1 / math.sqrt(2 * math.pi))
    return 0.5 * (erf + 1.0) + x * density


TRACED: dict[Any, Callable[[Graph, Any, Value], tuple[Value, Pullback]]] = {
    LinearResidual.forward: _linear_residual,
    nn.Linear.forward: _dense,
    TiedDecoder.forward: _tied,
    nn.ConvTranspose1d.forward: _convolution,
    nn.ConvTranspose2d.forward: _convolution,
    nn.Flatten.forward: _reshaped,
    nn.Unflatten.forward: _reshaped,
    nn.Identity.forward: _same,
    nn.Dropout.forward: _same,
    nn.ReLU.forward: _activation(_relu),
    nn.Sigmoid.forward: _activation(lambda g, x, y: y * (1.0 - y)),
    nn.Tanh.forward: _activation(lambda g, x, y: 1.0 - y.squared()),
    nn.ELU.forward: _activation(_elu),
    nn.SiLU.forward: _activation(_silu),
    nn.GELU.forward: _activation(_gelu),
}
