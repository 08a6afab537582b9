"""What convolutions compute, in ONNX.

onnxruntime has none in double precision: there they are a product for each place of the
kernel, of the pixels that it meets.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ._graph import Graph, Value, as_array
from ._networks import UnknownNetwork, of

LAST = int(np.iinfo(np.int64).max)  # the end of a slice that has none


@of(nn.Conv1d)
@of(nn.Conv2d)
def _(g: Graph, part: Any, x: Value) -> Value:
    if isinstance(part.padding, str) or part.padding_mode != "zeros":
        raise UnknownNetwork
    y = convolved(g, part, x)
    return y if part.bias is None else y + _of_channels(part.bias, part)


@of(nn.ConvTranspose1d)
@of(nn.ConvTranspose2d)
def _(g: Graph, part: Any, x: Value) -> Value:
    if any(rest >= s for _, s, _, _, rest in geometry(part)):  # onnxruntime has none
        raise UnknownNetwork
    if x.dtype == np.float32:
        rest = list(part.output_padding)
        y = g.add("ConvTranspose", x, part.weight, output_padding=rest, **_how(part))
    else:
        y = _transposed(g, part, x)
    return y if part.bias is None else y + _of_channels(part.bias, part)


def convolved(g: Graph, part: Any, x: Value) -> Value:
    """Return the convolution of values with the weights of a layer, without a bias.

    Of a transposed convolution it is the gradient by the input.
    """
    if x.dtype == np.float32:
        return g.add("Conv", x, part.weight, **_how(part))
    pads = part.padding
    return _by_places(g, x, _whole(part), part.stride, part.dilation, pads, pads)


def geometry(part: Any) -> list[tuple[int, int, int, int, int]]:
    """Return what a transposed convolution does along each axis.

    That is kernel size, stride, padding, dilation and output padding.
    """
    return list(
        zip(
            part.kernel_size,
            part.stride,
            part.padding,
            part.dilation,
            part.output_padding,
            strict=True,
        )
    )


def _how(part: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(part.kernel_size),
        "strides": list(part.stride),
        "pads": list(part.padding) * 2,
        "dilations": list(part.dilation),
        "group": part.groups,
    }


def _of_channels(bias: Any, part: Any) -> NDArray:
    """Return a number for each channel, to add to images of shape (n, c, ...)."""
    return as_array(bias).reshape(-1, *(1 for _ in part.kernel_size))


def _whole(part: Any) -> NDArray:
    """Return weights from all channels to all, with zeros between groups."""
    weight = as_array(part.weight)  # (n_out, n_in / groups, *kernel)
    n_out, n_in = weight.shape[0] // part.groups, weight.shape[1]
    whole = np.zeros((weight.shape[0], n_in * part.groups, *weight.shape[2:]))
    for i in range(part.groups):
        own = slice(i * n_out, (i + 1) * n_out)
        whole[own, i * n_in : (i + 1) * n_in] = weight[own]
    return whole


def _transposed(g: Graph, part: Any, x: Value) -> Value:
    """Return the transpose of a strided convolution: one of pixels with zeros between.

    It has steps of 1, and the weights from the end to the start.
    """
    n = len(part.kernel_size)
    before, after = [], []
    for axis, (k, s, p, d, rest) in enumerate(geometry(part), 2):
        if s > 1:
            zeros = [s - 1 if i == axis + 1 else 0 for i in range(n + 3)]
            x = g.pad(x.unsqueeze(axis + 1), [0] * (n + 3), zeros)
            x = g.flatten(x, axis, axis + 1)
        reach = d * (k - 1)
        before.append(reach - p)
        after.append(reach - p + rest - (s - 1))
    weight = np.flip(_whole(part).swapaxes(0, 1), tuple(range(2, n + 2)))
    return _by_places(g, x, weight, [1] * n, part.dilation, before, after)


def _by_places(
    g: Graph,
    x: Value,
    weight: NDArray,
    stride: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
) -> Value:
    """Return a convolution as a sum over the places of the kernel.

    Parameters
    ----------
    x : Value of shape (n, n_in, ...)
    weight : ndarray of shape (n_out, n_in, *kernel)
    stride, dilation : sequence of int
    before, after : sequence of int
        Zeros around the pixels along each axis; fewer than none: pixels to leave out.
    """
    kernel = weight.shape[2:]
    products = np.moveaxis(weight, (0, 1), (-1, -2))  # (*kernel, n_in, n_out)
    axes = list(range(1, len(kernel) + 1))
    x = g.pad(x, [0, 0, *before], [0, 0, *after])
    x = x.transpose(0, *(axis + 1 for axis in axes), 1)  # (n, ..., n_in)
    parts = []
    for place in itertools.product(*map(range, kernel)):
        first = [d * i for d, i in zip(dilation, place, strict=True)]
        left = [
            d * (k - 1 - i) for d, k, i in zip(dilation, kernel, place, strict=True)
        ]
        last = [-n if n else LAST for n in left]
        met = g.add("Slice", x, first, last, axes, list(stride))
        parts.append(met @ products[place])
    y = sum(parts[1:], parts[0])
    return y.transpose(0, len(kernel) + 1, *axes)
