"""What the networks of architectures compute, in ONNX.

What is known of a network is known of a function, its ``forward``: a class that
inherits it is translated too, and one that has its own is not. Networks that are not
known go through torch's exporter.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from .._module import InSingle, LinearResidual, OfSamples, OfStackedSamples, reads_known
from .._step import usual_settings
from ..architectures._mlp import TiedDecoder
from ._graph import Graph, Value

# Rows of the example by which torch follows a network: for 0 and 1 it has rules.
N_EXAMPLES = 3

FORWARD: dict[Any, Callable[..., Value]] = {}
"""What translates a ``forward``: a function of the graph, the network and values."""


class UnknownNetwork(Exception):
    """A network is none of those that are known here."""


def of(kind: type[nn.Module]) -> Callable[..., Any]:
    """Say that a function translates the ``forward`` of a class."""

    def known(function: Callable[..., Value]) -> Callable[..., Value]:
        FORWARD[kind.forward] = function
        return function

    return known


def apply(g: Graph, part: nn.Module, x: Value, *more: Any) -> Value:
    """Return what a part of a network makes of a value.

    Raises
    ------
    UnknownNetwork
        If it is not known how.
    """
    translate = FORWARD.get(type(part).forward)
    hooks = part._forward_hooks, part._forward_pre_hooks
    if translate is None or any(hooks):
        raise UnknownNetwork
    return translate(g, part, x, *more)


def run(g: Graph, network: nn.Module, x: Value, known: Value | None = None) -> Value:
    """Return what a whole network makes of rows, by torch's exporter if need be."""
    more = (known,) if reads_known(network) else ()
    before = g.mark()
    try:
        return apply(g, network, x, *more)
    except UnknownNetwork:
        g.return_to(before)
    model = exported(network, x.sizes, g.opset)
    result = g.embed(model, x.cast(np.float32), np.float32)
    return result.cast(x.dtype)


# torch's exporter


def exported(network: nn.Module, sizes: tuple[int, ...], opset: int) -> Any:
    """Return the model that torch makes of a network of float32.

    Raises
    ------
    NotImplementedError
        If it makes none.
    """
    name = type(network).__name__
    if reads_known(network):
        raise NotImplementedError(
            f"The network {name} cannot be exported: it reads which cells are known, "
            "and is none of skae's. Use those of skae.architectures."
        )
    network = copy.deepcopy(network).float().cpu().eval()
    example = torch.zeros(N_EXAMPLES, *sizes)
    how: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    how["opset_version"] = opset
    # The exporter of TorchScript is the only one before 2.6, and on its way out.
    is_new = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
    try:
        with usual_settings(), quietly():
            if is_new:
                n_rows = {0: torch.export.Dim("n_rows")}
                how |= {"dynamo": True, "dynamic_shapes": (n_rows,), "verbose": False}
                program: Any = torch.onnx.export(network, (example,), **how)
                model = program.model_proto
                if model.graph.output[0].type.tensor_type.shape.dim[0].dim_value:
                    raise ValueError(
                        f"it would take {N_EXAMPLES} rows and no other number, since "
                        "the number of rows is taken for one that never changes. "
                        "reshape(-1, ...) or unflatten may be used in place of len(x)."
                    )
                return model
            file: Any = BytesIO()  # which older versions take
            how["dynamic_axes"] = {"x": {0: "n_rows"}, "y": {0: "n_rows"}}
            torch.onnx.export(network, (example,), file, **how)
            return onnx.load_model_from_string(file.getvalue())
    except Exception as error:
        raise NotImplementedError(
            f"The network {name} cannot be exported, by torch.onnx.export: {error}"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Let torch's exporter not speak of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# Linear paths, samples, and what is in one place of a network alone


@of(LinearResidual)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    path = linear(x, part.weight, part.bias)
    return path if part.network is None else path + residual(g, part, x, known)


def residual(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    """Return what the network of a :class:`LinearResidual` adds."""
    if part.bounds is not None:
        low, high = (g.constant(bound, x.dtype) for bound in part.bounds)
        sizes, x = x.sizes, g.add("Min", g.add("Max", x, low), high)
        x.sizes = sizes
    added = run(g, part.network, x, known)
    if part.output_scale is not None:
        added = added * part.output_scale
    return added * part.gain if part.has_gain else added


def beyond(g: Graph, part: LinearResidual, x: Value) -> Value:
    """Return which rows the network of it sees at the edge of its range, (n,)."""
    low, high = (g.constant(bound, x.dtype) for bound in part.edges)
    is_low, is_high = (
        g.add(name, x, bound, dtype=bool)
        for name, bound in (("Less", low), ("Greater", high))
    )
    return (is_low | is_high).any(1)


def linear(x: Value, weight: Any, bias: Any = None) -> Value:
    """Return what a linear map, of a weight of shape (n_out, n_in), makes of values."""
    y = x @ weight.detach().T
    return y if bias is None else y + bias


@of(OfSamples)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    shape = part.sample_shape
    more: tuple[Any, ...] = ()
    if part.reads_known:
        more = (None if known is None else known.reshape(-1, *shape),)
    return apply(g, part.network, x.reshape(-1, *shape), *more)


@of(OfStackedSamples)
def _(g: Graph, part: Any, x: Value) -> Value:
    shape, axis = part.sample_shape, part.axis
    n = x.sizes[0] // math.prod(shape)
    arrays = g.split(x.reshape(-1, n, *shape), [1] * n, 1)
    x = g.concat([array.squeeze(1) for array in arrays], axis + 1)
    x.sizes = tuple(n * size if i == axis else size for i, size in enumerate(shape))
    return apply(g, part.network, x)


@of(InSingle)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    return apply(g, part.network, x, *((known,) if part.reads_known else ()))


@of(nn.Sequential)
def _(g: Graph, part: Any, x: Value) -> Value:
    for layer in part:
        x = apply(g, layer, x)
    return x


@of(nn.Linear)
def _(g: Graph, part: Any, x: Value) -> Value:
    return linear(x, part.weight, part.bias)


@of(TiedDecoder)
def _(g: Graph, part: Any, x: Value) -> Value:
    last = len(part.weights) - 1
    for i, (weight, bias) in enumerate(zip(part.weights, part.biases, strict=True)):
        x = linear(x, weight.T, bias)
        x = apply(g, part.activation, x) if i < last else x
    return x


@of(nn.Flatten)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.flatten(x, part.start_dim, part.end_dim)


@of(nn.Unflatten)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.unflatten(x, part.dim, part.unflattened_size)


# Activations


@of(nn.Identity)
@of(nn.Dropout)
def _(g: Graph, part: Any, x: Value) -> Value:
    return x


@of(nn.Sigmoid)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.add("Sigmoid", x)


@of(nn.Tanh)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.add("Tanh", x)


@of(nn.ReLU)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.add("Relu", x)


@of(nn.ELU)
def _(g: Graph, part: Any, x: Value) -> Value:
    return g.add("Elu", x, alpha=float(part.alpha))


@of(nn.SiLU)
def _(g: Graph, part: Any, x: Value) -> Value:
    return x * g.add("Sigmoid", x)


@of(nn.GELU)
def _(g: Graph, part: Any, x: Value) -> Value:
    if part.approximate != "none":
        raise UnknownNetwork
    # Of which onnxruntime has none in double precision.
    erf = g.add("Erf", (x * math.sqrt(0.5)).cast(np.float32)).cast(x.dtype)
    return x * 0.5 * (erf + 1.0)


@of(nn.LayerNorm)
def _(g: Graph, part: Any, x: Value) -> Value:
    if len(part.normalized_shape) != 1 or part.weight is None or part.bias is None:
        raise UnknownNetwork
    given = x, part.weight, part.bias
    return g.add("LayerNormalization", *given, axis=-1, epsilon=part.eps)
