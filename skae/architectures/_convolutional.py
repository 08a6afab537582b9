"""Convolutions, for images and signals."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.base import clone
from torch import nn

from ._base import Architecture, unset
from ._mlp import MLP, check_sizes, make_activation


def convolution_sizes(
    size: Sequence[int], kernel_size: int, stride: int
) -> tuple[list[int], dict[str, Any], dict[str, Any]]:
    """Return the sizes of a strided convolution and of the one that undoes it.

    The padding is the smallest symmetric one with which the kernels reach every pixel,
    and `output_padding` makes the transposed convolution return exactly to `size`.

    Parameters
    ----------
    size : sequence of int
        Height and width of the image.
    kernel_size, stride : int

    Returns
    -------
    smaller : list of int
        Height and width after the convolution: those of the image divided by the
        stride and rounded up, or one more if an even kernel has a stride of 1.
    down, up : dict
        Parameters of :class:`torch.nn.Conv2d` and :class:`torch.nn.ConvTranspose2d`.

    Examples
    --------
    >>> from skae.architectures._convolutional import convolution_sizes
    >>> smaller, down, up = convolution_sizes((28, 7), 3, 2)
    >>> smaller
    [14, 4]
    >>> down
    {'kernel_size': (3, 3), 'stride': (2, 2), 'padding': (1, 1)}
    >>> up["output_padding"]
    (1, 0)
    """
    # A kernel of 2 n - 1 pixels sees all n from any of them; more is padding.
    kernels = tuple(min(kernel_size, 2 * n - 1) for n in size)
    strides = tuple(min(stride, n) for n in size)
    smaller: list[int] = []
    padding: list[int] = []
    rest: list[int] = []
    for n, k, s in zip(size, kernels, strides, strict=True):
        unseen = (math.ceil(n / s) - 1) * s + k - n
        p = math.ceil(max(unseen, 0) / 2)
        steps, left = divmod(n + 2 * p - k, s)
        smaller.append(steps + 1)
        padding.append(p)
        rest.append(left)
    down = {"kernel_size": kernels, "stride": strides, "padding": tuple(padding)}
    return smaller, down, {**down, "output_padding": tuple(rest)}


def make_convolution(
    kind: type[nn.Conv2d | nn.ConvTranspose2d],
    n_in: int,
    n_out: int,
    gain: float,
    generator: torch.Generator,
    **sizes: Any,
) -> nn.Module:
    """Return a convolution with Glorot-normal weights times `gain` and zero bias."""
    layer: Any = unset(kind, n_in, n_out, **sizes)
    nn.init.xavier_normal_(layer.weight, gain=gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class Convolutional(Architecture):
    """Strided convolutions; the decoder mirrors them with transposed ones.

    Parameters
    ----------
    image_shape : tuple of int or None, default=None
        ``(n_channels, height, width)``, or ``(height, width)`` for one channel. It
        says what the columns of a table are, in C order. None takes images as they
        are and the columns of a table as a signal, an image of height 1.
    channels : tuple of int, default=(16, 32)
        Channels after each convolution of the encoder, from the data to the code. The
        decoder has them in reverse.
    kernel_size : int, default=3
        Height and width of the kernels. A kernel that reaches further than the image
        is cut to what it can see: along an axis of length 1 it has the size 1.
    stride : int, default=2
        Step of the kernels: each convolution divides the height and the width by it.
        Steps wider than `kernel_size` leave pixels out.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``.
    hidden_layer_sizes : tuple of int, default=(256,)
        Widths of fully connected layers between the convolutions and the code. The
        decoder has them in reverse. ``()`` is faster, and better for codes of more
        than about 30 numbers.

    Notes
    -----
    A fully connected layer maps the last channels to the code, and another one maps
    the code back. Every height and width is restored exactly. The weights of the
    linear layers and of the convolutions are Glorot-normal.

    References
    ----------
    Masci, Meier, Ciresan & Schmidhuber (2011), Stacked convolutional auto-encoders for
    hierarchical feature extraction.

    Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import Convolutional
    >>> generator = torch.Generator().manual_seed(0)
    >>> small = Convolutional(channels=(4,), hidden_layer_sizes=())
    >>> encoder, decoder = small.build((9, 6), 2, generator)
    >>> encoder(torch.zeros(5, 9, 6)).shape
    torch.Size([5, 2])
    >>> decoder
    Sequential(
      (0): Linear(in_features=2, out_features=60, bias=True)
      (1): Unflatten(dim=1, unflattened_size=(4, 5, 3))
      (2): ReLU()
      (3): ConvTranspose2d(4, 1, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), ...
      (4): Flatten(start_dim=1, end_dim=2)
    )
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        channels: tuple[int, ...] = (16, 32),
        kernel_size: int = 3,
        stride: int = 2,
        activation: str = "relu",
        *,
        hidden_layer_sizes: tuple[int, ...] = (256,),
    ) -> None:
        self.image_shape = image_shape
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.activation = activation
        self.hidden_layer_sizes = hidden_layer_sizes

    def for_channels(
        self, sample_shape: tuple[int, ...]
    ) -> tuple[Convolutional, tuple[int, ...], int]:
        """Return how encoders see several images at once: as channels of one."""
        image = check_image(self, sample_shape, self.image_shape)
        return clone(self).set_params(image_shape=None), image, 0

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
            If `image_shape` does not fit the samples, an activation is unknown, or
            another parameter is not made of integers of at least 1.
        """
        image = check_image(self, sample_shape, self.image_shape)
        to_image, from_image = _reshaping(tuple(sample_shape), image)
        down, up, inner = self._convolutions(image, generator)
        dense = MLP(self.hidden_layer_sizes, self.activation)
        encoder, decoder = dense.build((math.prod(inner),), n_components, generator)
        return (
            nn.Sequential(*to_image, *down, nn.Flatten(), *encoder.children()),
            nn.Sequential(
                *decoder.children(), nn.Unflatten(1, inner), *up, *from_image
            ),
        )

    def _convolutions(
        self, image: tuple[int, ...], generator: torch.Generator
    ) -> tuple[list[nn.Module], list[nn.Module], tuple[int, ...]]:
        """Return the layers of the encoder and the decoder, and the shape between."""
        kernel_size = _check_integer("kernel_size", self.kernel_size)
        stride = _check_integer("stride", self.stride)
        make_activation(self.activation)  # or an error that names it
        gain = math.sqrt(2.0) if self.activation == "relu" else 1.0
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        n_in, *size = image
        channels = check_sizes(
            "channels", self.channels, "such as (16, 32)", may_be_empty=False
        )
        for n_out in channels:
            size, options, inverse = convolution_sizes(size, kernel_size, stride)
            layer = make_convolution(nn.Conv2d, n_in, n_out, gain, generator, **options)
            down += [layer, make_activation(self.activation)]
            layer = make_convolution(
                nn.ConvTranspose2d,
                n_out,
                n_in,
                gain if up else 1.0,  # the first is the decoder's last
                generator,
                **inverse,
            )
            up = [make_activation(self.activation), layer, *up]
            n_in = n_out
        return down, up, (n_in, *size)


def check_image(
    architecture: Architecture, sample_shape: tuple[int, ...], asked: Any
) -> tuple[int, ...]:
    """Return channels, height and width of a sample, given `image_shape`."""
    samples = tuple(sample_shape)
    if len(samples) not in (1, 2, 3):
        raise ValueError(
            f"{type(architecture).__name__} cannot take samples of shape {samples}: "
            "use (n_features,), (height, width) or (n_channels, height, width)."
        )
    given = (1,) * (3 - len(samples)) + samples
    if asked is None:
        return given
    try:
        image = tuple(operator.index(n) for n in asked)
    except TypeError:
        image = ()
    fits = len(image) in (2, 3) and min(image) >= 1
    image = (1,) * (3 - len(image)) + image
    if len(samples) == 1 and not (fits and math.prod(image) == samples[0]):
        raise ValueError(
            f"image_shape={asked!r} does not fit rows of {samples[0]} columns: use "
            f"(n_channels, height, width) or (height, width) with {samples[0]} "
            "pixels in all, or None for a signal."
        )
    if len(samples) > 1 and not (fits and image == given):
        swapped = fits and sorted(image) == sorted(given)
        hint = "; or bring the axes of X in that order, as by np.moveaxis"
        raise ValueError(
            f"image_shape={asked!r} is not the shape of the images: use "
            f"{samples}, or None{hint * swapped}."
        )
    return image


def _check_integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name}={value!r}: use an integer of at least 1.")
    return number


def _reshaping(
    samples: tuple[int, ...], image: tuple[int, ...]
) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return what turns samples into images with channels, and back."""
    if len(samples) == 3:
        return [], []
    if len(samples) == 2:
        return [nn.Unflatten(1, (1, samples[0]))], [nn.Flatten(1, 2)]
    return [nn.Unflatten(1, image)], [nn.Flatten()]
