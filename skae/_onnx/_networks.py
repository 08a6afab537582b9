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

from .._module import (
    InSingle,
    LinearResidual,
    OfSamples,
    OfStackedSamples,
    reads_known,
)
from .._step import usual_settings
from ..architectures._mlp import TiedDecoder
from ..architectures._recurrent import SeriesEncoder, SeriesReader, SeriesWriter
from ..architectures._transformer import (
    JoinPatches,
    PatchEncoder,
    PatchReader,
    TransformerLayer,
    TransformerLayers,
)
from ._graph import Graph, Value, as_array

# Rows of the example by which torch follows a network: for 0 and 1 it has rules.
N_EXAMPLES = 3
SMALLEST = float(np.finfo(np.float32).min)

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


# Convolutions, of which onnxruntime has none in double precision either


@of(nn.Conv1d)
@of(nn.Conv2d)
def _(g: Graph, part: Any, x: Value) -> Value:
    return _convolved(g, "Conv", part, x)


@of(nn.ConvTranspose1d)
@of(nn.ConvTranspose2d)
def _(g: Graph, part: Any, x: Value) -> Value:
    how = {"output_padding": list(part.output_padding)}
    return _convolved(g, "ConvTranspose", part, x, **how)


def _convolved(g: Graph, operator: str, part: Any, x: Value, **how: Any) -> Value:
    if isinstance(part.padding, str) or part.padding_mode != "zeros":
        raise UnknownNetwork
    y = g.add(
        operator,
        x.cast(np.float32),
        part.weight,
        part.bias,
        kernel_shape=list(part.kernel_size),
        strides=list(part.stride),
        pads=list(part.padding) * 2,
        dilations=list(part.dilation),
        group=part.groups,
        **how,
    )
    return y.cast(x.dtype)


# Recurrent networks


@of(SeriesEncoder)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    reader, *layers = part
    if len(x.sizes) == 1:
        x = x.reshape(-1, *x.sizes, 1)
        known = None if known is None else known.reshape(-1, *x.sizes)
    z = apply(g, reader, x, known)
    for layer in layers:
        z = apply(g, layer, z)
    return z


@of(SeriesReader)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    (n_steps, n_channels), length, counts = x.sizes, part.segment_length, None
    if known is not None:
        steps = np.arange(1, n_steps + 1, dtype=np.float32)
        lengths = (known.any(2).cast(np.float32) * steps).max(1)  # (n,)
        is_past = g.add("Greater", g.constant(steps), lengths.unsqueeze(1), dtype=bool)
        x = g.where(is_past.unsqueeze(2), 0.0, x)
        last = g.add("Max", lengths, 1.0) - 1.0
        counts = (g.add("Floor", last / float(length)) + 1.0).cast(np.int32)
    x = g.pad(x, (0, 0, 0), (0, -n_steps % length, 0))
    x = x.reshape(-1, math.ceil(n_steps / length), length * n_channels)
    return recurrent(g, part.recurrent, x, counts)[1]


@of(SeriesWriter)
def _(g: Graph, part: Any, z: Value) -> Value:
    n, places = len(part.cosines), part.cosines[None]
    codes = g.add("Expand", z.unsqueeze(1), [1, n, 1])
    ones = g.add("Expand", z.part(0, 1, 1).unsqueeze(1) * 0.0 + 1.0, [1, n, 1])
    states = recurrent(g, part.recurrent, g.concat([codes, ones * places], 2))[0]
    if part.spread is None:
        return states
    steps = g.add("Tanh", apply(g, part.spread, states))
    n_states = part.spread.out_features // part.segment_length
    steps = steps.reshape(-1, n * part.segment_length, n_states)
    return steps.part(0, part.n_steps, 1)


def recurrent(
    g: Graph, layers: Any, x: Value, counts: Value | None = None
) -> tuple[Value, Value]:
    """Return the states of the last layer at all steps, and those at the end.

    Parameters
    ----------
    layers : torch.nn.GRU or torch.nn.LSTM
    x : Value of shape (n, T, n_in)
    counts : Value of int32 of shape (n,), optional
        Steps to read of each series.

    Returns
    -------
    states : Value of shape (n, T, n_states)
    last : Value of shape (n, n_states)
        Beyond the last step of a series the backward direction begins.
    """
    is_lstm, h = isinstance(layers, nn.LSTM), layers.hidden_size
    kind, gates = ("LSTM", (0, 3, 1, 2)) if is_lstm else ("GRU", (1, 0, 2))
    how: dict[str, Any] = {"hidden_size": h}
    how |= {} if is_lstm else {"linear_before_reset": 1}
    ends = ("", "_reverse") if layers.bidirectional else ("",)
    how["direction"] = "bidirectional" if layers.bidirectional else "forward"

    def in_order(name: str) -> Any:  # of the gates, which ONNX has in another one
        of_gates = as_array(getattr(layers, name)).reshape(len(gates), h, -1)
        return of_gates[list(gates)].reshape(len(gates) * h, -1)

    # onnxruntime reads series in single precision alone.
    y = x.cast(np.float32).transpose(1, 0, 2)
    for layer in range(layers.num_layers):
        names = [f"_l{layer}{end}" for end in ends]
        w, r = (
            np.stack([in_order(f"weight_{of}{name}") for name in names])
            for of in ("ih", "hh")
        )
        biases = [
            np.concatenate([in_order(f"bias_{of}{name}") for of in ("ih", "hh")])
            for name in names
        ]
        given = y, w, r, np.stack(biases)[..., 0], counts
        n_outputs = 3 if is_lstm else 2
        states, last, *_ = g.add_all(
            kind, *given, dtype=np.float32, n_outputs=n_outputs, **how
        )
        # (T, n_directions, n, h) and (n_directions, n, h)
        y = states.transpose(0, 2, 1, 3)
        y = g.add("Reshape", y, [0, 0, len(ends) * h])
    last = g.add("Reshape", last.transpose(1, 0, 2), [0, len(ends) * h])
    # onnxruntime 1.32 does not survive a cast between a transpose and a product.
    return y.cast(x.dtype).transpose(1, 0, 2), last.cast(x.dtype)


# Transformers


@of(PatchEncoder)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    reader, to_code = part
    return apply(g, to_code, apply(g, reader, x, known))


@of(PatchReader)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    channels, _, width = part.patches.image
    height = math.prod(x.sizes) // (channels * width)
    shape, there = (channels, height, width), None
    rows = x.reshape(-1, *shape)
    if known is not None:
        real = known.reshape(-1, *shape).any(3, keepdims=True)
        rows = g.where(real, rows, 0.0)
        everywhere = g.add("Expand", real.cast(np.float32), [1, 1, 1, width])
        there = _cut(g, part.patches, everywhere, shape).max(2).cast(bool)
    tokens = apply(g, part.embed, _cut(g, part.patches, rows, shape))
    n_tokens = math.ceil(height / part.patches.size[0]) * math.ceil(
        width / part.patches.size[1]
    )
    tokens.sizes = n_tokens, part.positions.shape[1]
    positioned = tokens + part.positions[:n_tokens]
    positioned.sizes = tokens.sizes
    y = apply(g, part.layers, positioned, there)
    if there is not None:
        y = g.where(there.unsqueeze(2), y, 0.0)
    y = g.pad(y, (0, 0, 0), (0, len(part.positions) - n_tokens, 0))
    return y.reshape(-1, part.positions.numel())


def _cut(g: Graph, patches: Any, rows: Value, shape: tuple[int, ...]) -> Value:
    """Return the patches of samples of a shape, (n, n_patches, n_cells)."""
    (p, q), (channels, height, width) = patches.size, shape
    rows = g.pad(rows, (0, 0, 0, 0), (0, 0, -height % p, -width % q))
    down, across = math.ceil(height / p), math.ceil(width / q)
    grid = rows.reshape(-1, channels, down, p, across, q)
    grid = grid.transpose(0, 2, 4, 1, 3, 5)
    return grid.reshape(-1, down * across, channels * p * q)


@of(JoinPatches)
def _(g: Graph, part: Any, x: Value) -> Value:
    (channels, height, width), (p, q) = part.patches.image, part.patches.size
    down, across = math.ceil(height / p), math.ceil(width / q)
    grid = x.reshape(-1, down, across, channels, p, q).transpose(0, 3, 1, 4, 2, 5)
    rows = grid.reshape(-1, channels, down * p, across * q)
    rows = rows.part(0, height, 2).part(0, width, 3)
    return rows.reshape(-1, *part.sample_shape)


@of(TransformerLayers)
def _(g: Graph, part: Any, x: Value, known: Value | None = None) -> Value:
    if part.causal:
        raise UnknownNetwork
    seen = None
    if known is not None:
        itself = np.eye(x.sizes[0], dtype=bool)
        seen = known.unsqueeze(1, 2) | g.constant(itself)  # (n, 1, T, T)
    for _ in range(part.n_passes):
        for layer in part.layers:
            x = apply(g, layer, x, seen)
    return apply(g, part.norm, x)


@of(TransformerLayer)
def _(g: Graph, part: Any, x: Value, seen: Value | None) -> Value:
    d = part.attention_output.in_features
    h = part.n_heads
    projected = apply(g, part.query_key_value, apply(g, part.attention_norm, x))
    heads = g.add("Reshape", projected, [0, 0, 3, h, d // h]).transpose(2, 0, 3, 1, 4)
    query, key, value = (part.squeeze(0) for part in g.split(heads, [1, 1, 1], 0))
    # Each (n, n_heads, T, d / n_heads)
    scores = query @ key.transpose(0, 1, 3, 2) * (d // h) ** -0.5
    if seen is not None:
        scores = g.where(seen, scores, SMALLEST)
    attended = (scores.softmax() @ value).transpose(0, 2, 1, 3)
    attended = g.add("Reshape", attended, [0, 0, d])
    x = x + apply(g, part.attention_output, attended)
    added = apply(g, part.feedforward, apply(g, part.feedforward_norm, x))
    return x + added


@of(nn.LayerNorm)
def _(g: Graph, part: Any, x: Value) -> Value:
    if len(part.normalized_shape) != 1 or part.weight is None or part.bias is None:
        raise UnknownNetwork
    given = x, part.weight, part.bias
    return g.add("LayerNormalization", *given, axis=-1, epsilon=part.eps)
