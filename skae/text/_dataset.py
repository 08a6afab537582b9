"""Texts as rows of a network: pieces of at most `max_length` tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._tokens import TokenSequences

# An epoch is a pass over the tokens, or over so many of them, where there are more.
EPOCH_TOKENS = 2**17
# Rows of about the same length are near one another within so many batches.
SORTED_BATCHES = 32


@dataclass(frozen=True)
class Pieces:
    """Where texts are cut so that no piece is longer than a network can see.

    Attributes
    ----------
    starts, lengths : ndarray of int64 of shape (n_pieces,)
        Places of the tokens of each.
    text : ndarray of int64 of shape (n_pieces,)
        That each is a piece of.
    """

    starts: NDArray
    lengths: NDArray
    text: NDArray

    @classmethod
    def of(
        cls, sequences: TokenSequences, max_length: int, *, causal: bool = False
    ) -> Pieces:
        """Cut texts into as few pieces as possible.

        They are about equal in length, or, if `causal`, as long as can be but for the
        last: then where a piece begins says nothing of what follows.
        """
        total = sequences.lengths
        n_pieces = -(-total // max_length)
        text = np.repeat(np.arange(len(total)), n_pieces)
        first = np.cumsum(n_pieces) - n_pieces
        number = np.arange(len(text)) - first[text]
        if causal:
            cut = max_length * number
            following = np.minimum(cut + max_length, total[text])
        else:
            cut = total[text] * number // n_pieces[text]
            following = total[text] * (number + 1) // n_pieces[text]
        return cls(sequences.starts[text] + cut, following - cut, text)

    def __len__(self) -> int:
        return len(self.starts)

    def places(self, pieces: NDArray) -> NDArray:
        """Return the places of all tokens of some pieces."""
        lengths = self.lengths[pieces]
        first = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(
            self.starts[pieces] - first, lengths
        )


class TokenDataset:
    """Pieces of texts as the places of their tokens, in place of rows of a table.

    Parameters
    ----------
    sequences : TokenSequences
    pieces : Pieces
    batch_size : int
        Of the batches that :meth:`shuffled` rows are cut into.
    floats : int
        Numbers that a token takes on its way through a network.
    device : torch.device
    """

    cells_at_once = 0  # a batch is no longer than its longest piece

    def __init__(
        self,
        sequences: TokenSequences,
        pieces: Pieces,
        batch_size: int,
        floats: int,
        device: torch.device,
    ) -> None:
        self.sequences = sequences
        self.pieces = pieces
        self.batch_size = batch_size
        self.device = device
        self.n_rows = len(pieces)
        self.shape = (self.n_rows, int(pieces.lengths.max()) * floats)
        self._starts = torch.from_numpy(pieces.starts)
        self._lengths = torch.from_numpy(pieces.lengths)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places of the tokens of pieces, and where there are some.

        Both have shape (n, length of the longest); a place where no token is is that of
        the first.
        """
        rows = rows.cpu()
        starts, lengths = self._starts[rows], self._lengths[rows]
        steps = torch.arange(int(lengths.max()))
        known = steps < lengths[:, None]
        places = starts[:, None] + steps * known
        return places.to(self.device), known.to(self.device)

    take_scattered = take

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rows of one epoch in a random order.

        Rows of about the same length are in the same batch, which is padded less.
        """
        rows = rows.cpu()[torch.randperm(len(rows), generator=generator)]
        n_seen = self._lengths[rows].cumsum(0)
        rows = rows[: int((n_seen < EPOCH_TOKENS).sum()) + 1]
        batches: list[Tensor] = []
        for part in rows.split(SORTED_BATCHES * self.batch_size):
            in_order = part[self._lengths[part].argsort(stable=True)]
            batches += in_order.split(self.batch_size)
        order = torch.randperm(len(batches), generator=generator)
        return torch.cat([batches[i] for i in order])
