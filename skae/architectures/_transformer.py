"""Transformers: attention over the patches of images or the segments of series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn.functional import pad

from ._attention import (
    STD,
    TokenEmbedding,
    TransformerLayer,
    TransformerLayers,
    normal_parameter,
)
from ._base import Architecture
from ._convolutional import check_image
from ._mlp import MAX_SIZE, check_boolean, make_linear

# Samples are read in patches, about so many.
N_PATCHES = 25
# Parameters that are integers, and what else they may be.
SIZES: dict[str, tuple[str | None, ...]] = {
    "n_layers": (),
    "embed_dim": (),
    "n_heads": (),
    "feedforward_dim": (None,),
    "embedding_rank": (None,),
    "patch_size": ("auto",),
}


@dataclass(frozen=True)
class Patches:
    """Cut samples into patches, the tokens, and put them together again.

    Every sample is an image here: a series is one whose height is the number of steps
    and whose width is the number of channels, and its patches are as wide as it is.
    Zeros complete the last patches.

    Parameters
    ----------
    image : (int, int, int)
        Channels, height and width of a sample.
    size : (int, int)
        Height and width of a patch.
    """

    image: tuple[int, ...]
    size: tuple[int, int]

    @property
    def n_patches(self) -> int:
        """Number of patches of a sample."""
        (_, height, width), (p, q) = self.image, self.size
        return math.ceil(height / p) * math.ceil(width / q)

    @property
    def n_cells(self) -> int:
        """Number of cells of a patch."""
        return self.image[0] * math.prod(self.size)

    def rows(self, x: Tensor) -> Tensor:
        """Return samples of shape (n, ...) as rows of pixels, (n, channels, h, w).

        Of a series, which may be shorter than others, these are its steps.
        """
        channels, _, width = self.image
        return x.reshape(len(x), channels, -1, width)

    def cut(self, rows: Tensor) -> Tensor:
        """Return the patches of rows of pixels, shape (n, n_patches, n_cells)."""
        (p, q), (height, width) = self.size, rows.shape[2:]
        if height % p or width % q:
            rows = pad(rows, (0, -width % q, 0, -height % p))
        grid = rows.unflatten(3, (-1, q)).unflatten(2, (-1, p))
        # (n, channels, n_down, p, n_across, q)
        return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def join(self, patches: Tensor) -> Tensor:
        """Return what :meth:`cut` has cut, shape (n, channels, height, width)."""
        (channels, height, width), (p, q) = self.image, self.size
        grid = patches.unflatten(2, (channels, p, q))
        grid = grid.unflatten(1, (-1, math.ceil(width / q)))
        # (n, n_down, n_across, channels, p, q)
        rows = grid.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
        return rows[:, :, :height, :width]


class PatchReader(nn.Module):
    """Read samples into what layers make of their patches, beside one another.

    Steps of a series of which nothing is known are not read, and patches without any
    other are zeros in the end.

    Parameters
    ----------
    patches : Patches
    embed : torch.nn.Module
        From the cells of a patch to `embed_dim`.
    positions : torch.nn.Parameter of shape (n_patches, embed_dim)
    layers : TransformerLayers

    Notes
    -----
    Shape: ``(n, *sample_shape)`` to ``(n, n_patches * embed_dim)``. Series may have
    fewer steps.
    """

    def __init__(
        self,
        patches: Patches,
        embed: nn.Module,
        positions: nn.Parameter,
        layers: TransformerLayers,
    ) -> None:
        super().__init__()
        self.patches = patches
        self.embed = embed
        self.positions = positions
        self.layers = layers

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Read a tensor of shape (n, *sample_shape), and what is known of it."""
        rows, there = self.patches.rows(x), None
        if known is not None:
            real = self.patches.rows(known).any(-1, keepdim=True)
            rows = rows.masked_fill(~real, 0.0)
            there = self.patches.cut(real.expand_as(rows)).any(-1)  # (n, n_patches)
        tokens = self.embed(self.patches.cut(rows))
        tokens = self.layers(tokens + self.positions[: tokens.shape[1]], there)
        if there is not None:
            tokens = tokens.masked_fill(~there[..., None], 0.0)
        missing = len(self.positions) - tokens.shape[1]
        return (pad(tokens, (0, 0, 0, missing)) if missing else tokens).flatten(1)


class PatchEncoder(nn.Sequential):
    """A reader and the layer that makes a code of what it says."""

    reads_known = True

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Encode samples of shape (n, *sample_shape)."""
        reader, to_code = self
        return to_code(reader(x, known))


class JoinPatches(nn.Module):
    """Put patches together to samples: ``(n, n_patches, n_cells)`` to those."""

    only_reshapes = True

    def __init__(self, patches: Patches, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.patches = patches
        self.sample_shape = sample_shape

    def forward(self, patches: Tensor) -> Tensor:
        """Join the patches of n samples."""
        return self.patches.join(patches).reshape(len(patches), *self.sample_shape)


class Transformer(Architecture):
    """Attention over the patches of an image, or the segments of a series.

    The encoder reads patches as tokens, as a vision Transformer does (Dosovitskiy et
    al. 2021), and a linear map of all tokens makes the code; the decoder maps the code
    to as many tokens. With :class:`skae.MaskedAutoencoder` that is a masked autoencoder
    in the sense of He et al. (2022), whose encoder sees what is hidden as a mask.

    A sample has shape ``(n_channels, height, width)``, or is a series of shape
    ``(n_steps,)`` or ``(n_steps, n_channels)``, unless `image_shape` says that it is an
    image. The columns of a table are a series of one channel. Series may have different
    lengths: NaN in all channels from some step on is padding, and does not change the
    code.

    Parameters
    ----------
    n_layers : int, default=2
        Layers of attention, in the encoder and in the decoder.
    embed_dim : int, default=128
        Width of a token, a multiple of `n_heads`.
    n_heads : int, default=4
        Heads of attention in each layer.
    feedforward_dim : int or None, default=None
        Hidden width of the feedforward networks. None is ``4 * embed_dim``.
    share_layers : bool, default=False
        Use the weights of one layer `n_layers` times (ALBERT; Lan et al. 2020).
    embedding_rank : int or None, default=None
        Patches, or tokens, are mapped to so many numbers, and these to `embed_dim`,
        which takes fewer weights (ALBERT). None maps them at once.
    dropout : float, default=0.1
        Share of the numbers in the residual paths that is left out while training.
    patch_size : int or "auto", default="auto"
        So many pixels of an image in both directions, or steps of a series, with all
        of their channels, are a token; columns of a table beside one another. The time
        of a fit goes with the number of tokens. "auto" makes about 25.
    image_shape : tuple of int or None, default=None
        ``(n_channels, height, width)``, or ``(height, width)`` for one channel, of
        images that are given as rows of pixels or without channels. None takes such
        samples as series.

    Notes
    -----
    The positions of patches are learnt. Weights are normal with deviation 0.02, less at
    the end of residual paths, as GPT-2's. Networks are trained one after the other
    where there are folds, as with :class:`Recurrent`.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need. NeurIPS.

    Lan et al. (2020), ALBERT: A lite BERT for self-supervised learning of language
    representations. ICLR.

    Dosovitskiy et al. (2021), An image is worth 16x16 words: Transformers for image
    recognition at scale. ICLR.

    He et al. (2022), Masked autoencoders are scalable vision learners. CVPR.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import Transformer
    >>> generator = torch.Generator().manual_seed(0)
    >>> small = Transformer(embed_dim=8, n_heads=2, image_shape=(9, 6))
    >>> encoder, decoder = small.build((9, 6), 2, generator)
    >>> encoder(torch.zeros(5, 9, 6)).shape
    torch.Size([5, 2])
    >>> decoder(torch.zeros(5, 2)).shape
    torch.Size([5, 9, 6])
    """

    is_vectorised = False  # attention has no batching rule on a CPU

    def __init__(
        self,
        n_layers: int = 2,
        embed_dim: int = 128,
        n_heads: int = 4,
        feedforward_dim: int | None = None,
        *,
        share_layers: bool = False,
        embedding_rank: int | None = None,
        dropout: float = 0.1,
        patch_size: int | str = "auto",
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.n_layers = n_layers
        self.embed_dim = embed_dim
        self.n_heads = n_heads
        self.feedforward_dim = feedforward_dim
        self.share_layers = share_layers
        self.embedding_rank = embedding_rank
        self.dropout = dropout
        self.patch_size = patch_size
        self.image_shape = image_shape

    @property
    def handles_padding(self) -> bool:  # type: ignore[override]
        """Whether samples are series, which may differ in length."""
        return self.image_shape is None

    @property
    def repeats_over_steps(self) -> bool:  # type: ignore[override]
        """Whether samples are series, whose steps go through the same weights."""
        return self.image_shape is None

    def for_channels(
        self, sample_shape: tuple[int, ...]
    ) -> tuple[Transformer, tuple[int, ...], int]:
        """Return how encoders see several samples at once: as channels of one."""
        if self._is_series(sample_shape):
            return self, (*sample_shape, 1)[:2], 1
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
            If a parameter is invalid, or `image_shape` does not fit the samples.
        """
        patches = self._patches(tuple(sample_shape))
        d, n = int(self.embed_dim), patches.n_patches
        reader = PatchReader(
            patches,
            self._embedding(patches.n_cells, generator),
            normal_parameter(n, d, generator=generator),
            self.layers(causal=False, generator=generator),
        )
        to_code = make_linear(n * d, n_components, 1.0, generator)
        from_code = make_linear(n_components, n * d, 1.0, generator)
        from_code.bias = normal_parameter(n * d, generator=generator)  # the positions
        decoder = nn.Sequential(
            from_code,
            nn.Unflatten(1, (n, d)),
            self.layers(causal=False, generator=generator),
            make_linear(d, patches.n_cells, 1.0, generator),
            JoinPatches(patches, tuple(sample_shape)),
        )
        return PatchEncoder(reader, to_code), decoder

    def layers(self, causal: bool, generator: torch.Generator) -> TransformerLayers:
        """Return fresh layers, of any number of tokens.

        Parameters
        ----------
        causal : bool
            Whether no token sees a later one.
        generator : torch.Generator
            What all weights are drawn from.

        Raises
        ------
        ValueError
            If a parameter is invalid.
        """
        self._check_parameters()
        n, d = int(self.n_layers), int(self.embed_dim)
        m = 4 * d if self.feedforward_dim is None else int(self.feedforward_dim)
        std = STD / math.sqrt(2 * n)  # so that the sum of 2 n of them is as a weight
        sizes = d, int(self.n_heads), m, float(self.dropout), std
        layers = [
            TransformerLayer(*sizes, generator)
            for _ in range(1 if self.share_layers else n)
        ]
        return TransformerLayers(layers, n // len(layers), causal=causal)

    def token_embedding(
        self, n_tokens: int, generator: torch.Generator
    ) -> TokenEmbedding:
        """Return fresh vectors of so many tokens.

        Raises
        ------
        ValueError
            If a parameter is invalid.
        """
        self._check_parameters()
        rank = None if self.embedding_rank is None else int(self.embedding_rank)
        return TokenEmbedding(n_tokens, int(self.embed_dim), rank, generator)

    def _embedding(self, n_cells: int, generator: torch.Generator) -> nn.Module:
        """Return a linear map of patches to tokens."""
        d = int(self.embed_dim)
        if self.embedding_rank is None:
            return make_linear(n_cells, d, 1.0, generator)
        rank = int(self.embedding_rank)
        return nn.Sequential(
            make_linear(n_cells, rank, 1.0, generator),
            make_linear(rank, d, 1.0, generator),
        )

    def _is_series(self, sample_shape: tuple[int, ...]) -> bool:
        return self.image_shape is None and len(sample_shape) in (1, 2)

    def _patches(self, sample_shape: tuple[int, ...]) -> Patches:
        self._check_parameters()
        size, is_series = self.patch_size, self._is_series(sample_shape)
        if is_series:
            image: tuple[int, ...] = (1, *(*sample_shape, 1)[:2])
        else:
            image = check_image(self, sample_shape, self.image_shape)
        height, width = image[1:]
        if isinstance(size, str):
            of_patch = height * (1 if is_series else width) / N_PATCHES
            size = max(1, round(of_patch if is_series else math.sqrt(of_patch)))
        p = min(int(size), height)
        return Patches(image, (p, width if is_series else min(int(size), width)))

    def _check_parameters(self) -> None:
        check_boolean("share_layers", self.share_layers)
        for name, words in SIZES.items():
            value, hint = getattr(self, name), "".join(f", or {w!r}" for w in words)
            if (value is None or isinstance(value, str)) and value in words:
                continue
            if not isinstance(value, Integral) or int(value) < 1:
                raise ValueError(
                    f"{name}={value!r}: use an integer of at least 1{hint}."
                )
            if name not in ("n_layers", "patch_size") and int(value) > MAX_SIZE:
                raise ValueError(f"{name}={value!r}: use {MAX_SIZE} at most.")
        if int(self.embed_dim) % int(self.n_heads):
            raise ValueError(
                f"embed_dim={self.embed_dim!r} is no multiple of "
                f"n_heads={self.n_heads!r}: use one."
            )
        if not isinstance(self.dropout, Real) or not 0 <= float(self.dropout) < 1:
            raise ValueError(
                f"dropout={self.dropout!r}: use a number of at least 0 and below 1."
            )
