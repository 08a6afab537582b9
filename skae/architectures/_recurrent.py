"""Recurrent networks for series: a GRU or an LSTM reads, another one writes."""

from __future__ import annotations

import math
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ._base import Architecture, unset
from ._mlp import MAX_SIZE, check_boolean, make_linear

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
# Longer series are read in segments, about so many.
N_SEGMENTS = 25
N_COSINES = 8


def make_recurrent(
    cell: str,
    n_in: int,
    hidden_size: int,
    num_layers: int,
    bidirectional: bool,
    generator: torch.Generator,
) -> nn.GRU | nn.LSTM:
    """Return recurrent layers, batch first, with fresh weights.

    Gate by gate, input weights are Glorot-uniform and recurrent weights orthogonal
    (Saxe et al. 2014), which keeps the length of what they pass on. Biases are zero,
    except for 1 at an LSTM's forget gate (Jozefowicz et al. 2015).
    """
    layers: Any = unset(
        CELLS[cell],
        n_in,
        hidden_size,
        num_layers,
        batch_first=True,
        bidirectional=bidirectional,
    )
    for name, parameter in layers.named_parameters():
        gates = parameter.detach().split(hidden_size)
        for i, gate in enumerate(gates):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate, generator=generator)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate, generator=generator)
            else:  # of two biases that add up
                is_one = cell == "lstm" and i == 1 and name.startswith("bias_ih")
                nn.init.constant_(gate, float(is_one))
    return layers


class SeriesReader(nn.Module):
    """Read a series, or a padded one, into the last hidden states of recurrent layers.

    Steps of which nothing is known, from some step on, are padding: the states are
    those of the series without it, and the backward direction starts at the last real
    step. A series of no real steps at all is read as a segment of zeros.

    Parameters
    ----------
    recurrent : torch.nn.GRU or torch.nn.LSTM
        Batch first, with ``segment_length * n_channels`` inputs.
    segment_length : int
        Steps that are read at once. Zeros complete the last segment.

    Notes
    -----
    Shape: ``(n, n_steps, n_channels)``, of any number of steps, to ``(n, hidden_size)``
    or, of both directions, ``(n, 2 * hidden_size)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skae.architectures._recurrent import SeriesReader
    >>> reader = SeriesReader(nn.GRU(3, 4, batch_first=True), segment_length=1)
    >>> reader(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(self, recurrent: nn.GRU | nn.LSTM, segment_length: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.segment_length = segment_length

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Read a tensor of shape (n, n_steps, n_channels), and what is known of it."""
        if known is None or known[:, -1].any(-1).all():
            return self._last_states(self.recurrent(self._segments(x))[1])
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)
        lengths = (steps * known.any(-1)).amax(1)  # (n,)
        x = x.masked_fill((steps > lengths[:, None])[:, :, None], 0.0)
        counts = (lengths.clamp(min=1) - 1) // self.segment_length + 1
        packed = pack_padded_sequence(
            self._segments(x), counts.cpu(), batch_first=True, enforce_sorted=False
        )
        return self._last_states(self.recurrent(packed)[1])

    def _segments(self, x: Tensor) -> Tensor:
        missing = -x.shape[1] % self.segment_length
        x = nn.functional.pad(x, (0, 0, 0, missing)) if missing else x
        # (n, n_segments, segment_length * n_channels)
        return x.reshape(len(x), -1, self.segment_length * x.shape[2])

    def _last_states(self, states: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        h = states[0] if isinstance(states, tuple) else states
        n_directions = 2 if self.recurrent.bidirectional else 1
        return h[-n_directions:].transpose(0, 1).flatten(1)  # the last layer's


class SeriesEncoder(nn.Sequential):
    """A reader and the layers that make a code of its states."""

    reads_known = True

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Encode series of shape (n, n_steps, n_channels) or (n, n_steps)."""
        reader, *layers = self
        if x.ndim == 2:
            x, known = x[..., None], None if known is None else known[..., None]
        z = reader(x, known)
        for layer in layers:
            z = layer(z)
        return z


class SeriesWriter(nn.Module):
    """Unroll a code into the hidden states of every step.

    At every segment the recurrent layers see the code, beside cosines that tell the
    place in the series. If segments have several steps, a layer with tanh turns the
    states of one into those of its steps.

    Parameters
    ----------
    recurrent : torch.nn.GRU or torch.nn.LSTM
        Batch first, with ``n_components + N_COSINES`` inputs.
    n_steps : int
    segment_length : int
        Steps that are written at once.
    spread : torch.nn.Linear or None
        From the states of a segment to those of its steps.

    Notes
    -----
    Shape: ``(n, n_components)`` to ``(n, n_steps, n_states)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skae.architectures._recurrent import N_COSINES, SeriesWriter
    >>> recurrent = nn.GRU(2 + N_COSINES, 4, batch_first=True)
    >>> writer = SeriesWriter(recurrent, n_steps=7, segment_length=1, spread=None)
    >>> writer(torch.zeros(5, 2)).shape
    torch.Size([5, 7, 4])
    """

    cosines: Tensor

    def __init__(
        self,
        recurrent: nn.GRU | nn.LSTM,
        n_steps: int,
        segment_length: int,
        spread: nn.Linear | None,
    ) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.n_steps = n_steps
        self.segment_length = segment_length
        self.spread = spread
        n_segments = math.ceil(n_steps / segment_length)
        place = (torch.arange(n_segments, dtype=torch.float32) + 0.5) / n_segments
        waves = torch.arange(1, N_COSINES + 1)
        cosines = math.sqrt(2.0) * torch.cos(math.pi * place[:, None] * waves)
        self.register_buffer("cosines", cosines)  # (n_segments, N_COSINES)

    def forward(self, z: Tensor) -> Tensor:
        """Unroll a tensor of shape (n, n_components)."""
        n, n_segments = len(z), len(self.cosines)
        codes = z[:, None].expand(n, n_segments, -1)
        places = self.cosines.expand(n, -1, -1)
        states = self.recurrent(torch.cat([codes, places], -1))[0]
        if self.spread is None:
            return states
        steps = torch.tanh(self.spread(states))
        steps = steps.unflatten(-1, (self.segment_length, -1)).flatten(1, 2)
        return steps[:, : self.n_steps]


class Recurrent(Architecture):
    """Recurrent layers read a series into a code, and others unroll the code.

    The decoder sees the code, and the place in the series, at every step, and nothing
    that it has written before. A sample has shape ``(n_steps,)`` or
    ``(n_steps, n_channels)``. Series may have different lengths: NaN in all channels
    from some step on is padding, and does not change the code.

    Parameters
    ----------
    cell : {"gru", "lstm"}, default="gru"
        Gated recurrent units (Cho et al. 2014) or long short-term memory (Hochreiter &
        Schmidhuber 1997). On a CPU, torch's LSTM takes about half the time.
    hidden_size : int, default=64
        Number of hidden states, in each layer and direction.
    num_layers : int, default=1
        Recurrent layers on top of one another, in the encoder and in the decoder.
    bidirectional : bool, default=False
        Also go through the series from its end, in the encoder and in the decoder.
    segment_length : int or "auto", default="auto"
        Steps that one recurrent step reads, or writes, at once (Lin et al. 2023): the
        time of a fit goes with the number of segments. "auto" is
        ``round(n_steps / 25)``, at least 1.

    References
    ----------
    Srivastava, Mansimov & Salakhutdinov (2015), Unsupervised learning of video
    representations using LSTMs. ICML.

    Lin et al. (2023), SegRNN: Segment recurrent neural network for long-term time
    series forecasting. arXiv:2308.11200.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import Recurrent
    >>> generator = torch.Generator().manual_seed(0)
    >>> encoder, decoder = Recurrent(hidden_size=8).build((20, 3), 2, generator)
    >>> encoder(torch.zeros(5, 20, 3)).shape
    torch.Size([5, 2])
    >>> decoder(torch.zeros(5, 2)).shape
    torch.Size([5, 20, 3])

    >>> known = torch.ones(1, 20, 3, dtype=torch.bool)
    >>> known[:, 15:] = False  # padding
    >>> z = encoder(torch.zeros(1, 20, 3), known)
    >>> torch.allclose(z, encoder(torch.zeros(1, 15, 3)))
    True
    """

    handles_padding = True
    repeats_over_steps = True
    is_vectorised = False

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        segment_length: int | str = "auto",
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.segment_length = segment_length

    def for_channels(
        self, sample_shape: tuple[int, ...]
    ) -> tuple[Recurrent, tuple[int, ...], int]:
        """Return how encoders see several series at once: as channels of one."""
        return self, (*sample_shape, 1)[:2], 1

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
            If a parameter is invalid, or a sample is not a series.
        """
        self._check_parameters()
        if len(sample_shape) not in (1, 2):
            raise ValueError(
                f"sample_shape={tuple(sample_shape)}: Recurrent takes series of shape "
                "(n_steps,) or (n_steps, n_channels)."
            )
        n_steps, n_channels = (*sample_shape, 1)[:2]
        segment, h = self.segment_length, int(self.hidden_size)
        if isinstance(segment, str):
            segment = max(1, round(n_steps / N_SEGMENTS))
        segment = min(int(segment), n_steps)
        n_states = 2 * h if self.bidirectional else h
        linear = partial(make_linear, gain=1.0, generator=generator)
        reader = SeriesReader(self._layers(segment * n_channels, generator), segment)
        encoder = SeriesEncoder(reader, linear(n_states, n_components))
        layers, spread = self._layers(n_components + N_COSINES, generator), None
        if segment > 1:
            spread, n_states = linear(n_states, segment * h), h
        writer = SeriesWriter(layers, n_steps, segment, spread)
        decoder = nn.Sequential(writer, linear(n_states, n_channels))
        if len(sample_shape) == 1:
            decoder.append(nn.Flatten())
        return encoder, decoder

    def _layers(self, n_in: int, generator: torch.Generator) -> nn.GRU | nn.LSTM:
        # torch refuses numpy's integers and booleans.
        sizes = n_in, int(self.hidden_size), int(self.num_layers)
        return make_recurrent(self.cell, *sizes, bool(self.bidirectional), generator)

    def _check_parameters(self) -> None:
        if not isinstance(self.cell, str) or self.cell not in CELLS:
            raise ValueError(f"Unknown cell {self.cell!r}: use one of {sorted(CELLS)}.")
        check_boolean("bidirectional", self.bidirectional)
        for name in ("hidden_size", "num_layers", "segment_length"):
            value, is_segment = getattr(self, name), name == "segment_length"
            if is_segment and isinstance(value, str) and value == "auto":
                continue
            if not isinstance(value, Integral) or value < 1:
                hint = ', or "auto"' if is_segment else ""
                raise ValueError(
                    f"{name}={value!r}: use an integer of at least 1{hint}."
                )
            if name == "hidden_size" and int(value) > MAX_SIZE:
                raise ValueError(f"{name}={value!r}: use {MAX_SIZE} at most.")
