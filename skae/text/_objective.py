"""What estimators of texts train: a network beside a start that has counted tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .._objective import Objective
from .._parameters import new_torch_generator
from .._plan import TrainingPlan
from ..architectures import Transformer
from ._correspondence import CorrespondenceAnalysis
from ._network import Mixture, TokenEncoder, TokenLoss, TokenModule
from ._tokens import TokenSequences

# Codes of a text, unless there are fewer tokens.
N_CODES = 32
# Tokens that go through a network at once, as far as rows are no longer.
INFERENCE_TOKENS = 4096


class TokenStart(ABC):
    """A closed form that has counted tokens, and is used while no network is."""

    is_fallback = True
    is_degenerate = False
    bags: Any

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """Tokens that are predicted."""

    @property
    @abstractmethod
    def n_evidence(self) -> int:
        """Numbers that say how much is known of a place."""

    @abstractmethod
    def reader(self, sequences: TokenSequences, counted: NDArray | None = None) -> Any:
        """Return what it says of texts, some of whose tokens it has counted."""

    @property
    def n_codes(self) -> int:
        """Number of codes of a text."""
        return self.bags.token_weights.shape[1]

    def codes(self, sequences: TokenSequences) -> NDArray:
        """Return the codes of texts, shape (n_texts, n_codes)."""
        return self.bags.codes(sequences.counts())

    def apply(self, module: Any, units: Any = None) -> None:
        """Let a module know what it starts from; its networks start at zero."""
        module.start = self

    def model(self, module: Any) -> Any:
        """Return what is used in place of a network."""
        return self


class TokenObjective(Objective):
    """What an estimator of texts trains."""

    causal: bool

    @abstractmethod
    def counted(
        self,
        sequences: TokenSequences,
        counts: NDArray | None,
        seed: int,
        whole: Any = None,
    ) -> Any:
        """Return the start of texts, or of those tokens of it that count.

        `whole` is the start of all of them: what it has chosen is taken over.
        """

    def bags(self, sequences: TokenSequences, seed: int) -> CorrespondenceAnalysis:
        """Return what codes of texts are made by."""
        counts, k = sequences.counts(), self.params.n_components
        k = min(N_CODES, counts.shape[1]) if k is None else int(k)
        return CorrespondenceAnalysis.of(counts, k, seed=seed)

    def networks(
        self, start: Any, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return what reads tokens, and what is added to the start."""
        architecture = self.params.architecture
        if architecture is None:
            architecture = Transformer()
        if not hasattr(architecture, "token_embedding"):
            raise ValueError(
                f"architecture={architecture!r} reads no tokens: use "
                "skae.architectures.Transformer, or None for its defaults."
            )
        generator = new_torch_generator(seed)
        n, length = start.n_tokens, int(self.params.max_length)
        # The begin of a text, and a token that is hidden, are seen but never said.
        embedding = architecture.token_embedding(n + 2, generator)
        layers = architecture.layers(causal=self.causal, generator=generator)
        encoder = TokenEncoder(embedding, layers, length, generator)
        embed_dim = encoder.positions.shape[1]
        return encoder, Mixture(embedding, embed_dim, n, start.n_evidence)

    def module(self, encoder: nn.Module, decoder: nn.Module) -> TokenModule:
        """Return the module to train."""
        return TokenModule(encoder, decoder)

    def loss(self, plan: TrainingPlan) -> TokenLoss:
        """Return the loss of tokens."""
        return TokenLoss()

    def plan_at(self, start: Any, plan: TrainingPlan) -> TrainingPlan:
        """Return the plan: nothing of it follows from the start."""
        return plan


class TrainedTokens:
    """A network beside a start, for which it stands in.

    Parameters
    ----------
    module : TokenModule
    start : TokenStart
    max_length : int
        Tokens that it sees at once.
    """

    def __init__(self, module: Any, start: Any, max_length: int) -> None:
        self.module = module
        self.start = start
        self.max_length = max_length

    def codes(self, sequences: TokenSequences) -> NDArray:
        """Return the codes of texts, which are those of the start."""
        return self.start.codes(sequences)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device


def alike(lengths: NDArray) -> list[NDArray]:
    """Return rows in groups of about the same length, and of so many tokens."""
    if not len(lengths):
        return []
    order = np.argsort(lengths, kind="stable")
    group = np.cumsum(lengths[order]) // INFERENCE_TOKENS
    return np.split(order, np.flatnonzero(np.diff(group)) + 1)
