"""Measure how a recurrent decoder should unroll a code.

Held-out R2 of ``AutoencoderTransformer(4, architecture=Recurrent())`` with the decoder
as it is, and with others in its place:

- "no place": the code at every segment, without the cosines that tell the place;
- "initial state": the code sets the first hidden state, and only the cosines come in;
- "fed back": the code sets the first hidden state, and what was written comes in;
- "reversed": as it is, written from the end (Srivastava et al. 2015).

    python benchmarks/bench_decoders.py [--sets ItalyPowerDemand] [--force]
    python benchmarks/bench_decoders.py --report
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import samples
import torch
from torch import Tensor, nn

from skae import AutoencoderTransformer
from skae.architectures import Recurrent
from skae.architectures._mlp import make_linear
from skae.architectures._recurrent import N_COSINES, SeriesWriter, make_recurrent

FILE = harness.RESULTS / "decoders.json"


class Reversed(nn.Module):
    """Write from the end."""

    def __init__(self, writer: nn.Module) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, z: Tensor) -> Tensor:
        """Return the hidden states of every step."""
        return self.writer(z).flip(1)


class WithoutPlace(SeriesWriter):
    """See the code alone."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the hidden states of every step."""
        cosines = self.cosines
        self.cosines = torch.zeros_like(cosines)
        states = super().forward(z)
        self.cosines = cosines
        return states


class FromState(nn.Module):
    """Start from a hidden state that the code sets, and see the place."""

    def __init__(self, writer: SeriesWriter, n_in: int, k: int, generator: Any) -> None:
        super().__init__()
        h = writer.recurrent.hidden_size
        self.writer = writer
        self.recurrent = make_recurrent("gru", n_in, h, 1, False, generator)
        self.state = make_linear(k, h, 1.0, generator)

    def forward(self, z: Tensor) -> Tensor:
        """Return the hidden states of every step."""
        places = self.writer.cosines.expand(len(z), -1, -1)
        states = self.recurrent(places, self.state(z).tanh()[None])[0]
        return self.spread(states)[:, : self.writer.n_steps]

    def spread(self, states: Tensor) -> Tensor:
        """Return the states of the steps of each segment."""
        if self.writer.spread is None:
            return states
        steps = self.writer.spread(states).tanh()
        return steps.unflatten(-1, (self.writer.segment_length, -1)).flatten(1, 2)


class FedBack(FromState):
    """Start from a hidden state that the code sets, and see what was written."""

    def __init__(self, writer: SeriesWriter, last: nn.Linear, *rest: Any) -> None:
        super().__init__(writer, writer.segment_length * last.out_features, *rest)
        self.last = last

    def forward(self, z: Tensor) -> Tensor:
        """Return the series themselves."""
        h, x = (
            self.state(z).tanh()[None],
            z.new_zeros(len(z), self.recurrent.input_size),
        )
        written = []
        for _ in self.writer.cosines:
            states, h = self.recurrent(x[:, None], h)
            written.append(self.last(self.spread(states)))
            x = written[-1].flatten(1)
        return torch.cat(written, 1)[:, : self.writer.n_steps]


class Variant(Recurrent):
    """Recurrent with another decoder."""

    def __init__(self, variant: str = "as it is") -> None:
        super().__init__()
        self.variant = variant

    def build(
        self, sample_shape: tuple[int, ...], n_components: int, generator: Any
    ) -> tuple[nn.Module, nn.Module]:
        """Build the encoder as it is, and the decoder of the variant."""
        encoder, decoder = super().build(sample_shape, n_components, generator)
        writer, last = decoder[0], decoder[1]
        if self.variant == "reversed":
            decoder[0] = Reversed(writer)
        elif self.variant == "no place":
            writer.__class__ = WithoutPlace
        elif self.variant == "initial state":
            decoder[0] = FromState(writer, N_COSINES, n_components, generator)
        elif self.variant == "fed back":
            return encoder, FedBack(writer, last, n_components, generator)
        return encoder, decoder


def estimator(variant: str, k: int, seed: int) -> AutoencoderTransformer:
    """Return the estimator with a decoder of this kind."""
    return AutoencoderTransformer(k, architecture=Variant(variant), random_state=seed)


SYSTEMS: dict[str, Callable[[int, int], Any]] = {
    "pca": samples.flat_pca,
    **{
        variant: partial(estimator, variant)
        for variant in ("as it is", "no place", "initial state", "fed back", "reversed")
    },
}


def main() -> None:
    """Run what is missing, then print the report."""
    args = samples.parser(__doc__, samples.SERIES, [4]).parse_args()
    samples.run(FILE, samples.SERIES, SYSTEMS, args)
    print(samples.report(FILE, SYSTEMS))


if __name__ == "__main__":
    main()
