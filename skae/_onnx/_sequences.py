"""What recurrent networks and Transformers compute, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from ..architectures._attention import TransformerLayer, TransformerLayers
from ..architectures._recurrent import SeriesEncoder, SeriesReader, SeriesWriter
from ..architectures._transformer import JoinPatches, PatchEncoder, PatchReader
from ._graph import Graph, Value, as_array
from ._networks import UnknownNetwork, apply, of

SMALLEST = float(np.finfo(np.float32).min)


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
