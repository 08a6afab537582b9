"""What estimators of texts train: a network beside a start that has counted tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

from .._architecture_checks import check_instance
from .._objective import Objective
from .._parameters import (
    is_auto,
    new_torch_generator,
    resolve_device,
)
from .._plan import MIN_ROWS, N_FOLDS, SMALL_TABLE, TrainingPlan
from ..architectures import Transformer
from ._correspondence import BagModel, CorrespondenceAnalysis
from ._dataset import EPOCH_TOKENS, Pieces, TokenDataset
from ._network import AveragedNet, Mixture, TokenEncoder, TokenLoss, TokenModule
from ._tokens import TokenSequences

# Codes of a text, unless there are fewer tokens.
N_CODES = 32
# Tokens that are held out at most, unless validation_fraction says so.
MAX_HELD_OUT = 50_000
BATCH_TOKENS = 1024
# Tokens and epochs that training takes at most, unless max_iter says so.
TRAINING_TOKENS, MAX_EPOCHS = 1_000_000, 30
# Tokens that go through a network at once, as far as rows are no longer.
INFERENCE_TOKENS = 4096


class TextStart(ABC):
    """A closed form that has counted tokens, and is used while no network is."""

    is_fallback = True
    is_degenerate = False
    name = "start"
    bags: BagModel

    @abstractmethod
    def apply(self, module: Any, units: Any = None) -> None:
        """Set a module to this start."""

    def model(self, module: Any) -> Any:
        """Return what is used in place of a network."""
        return self

    @property
    def n_codes(self) -> int:
        """Number of codes of a text."""
        return self.bags.token_weights.shape[1]

    def codes(self, sequences: TokenSequences) -> NDArray:
        """Return the codes of texts, shape (n_texts, n_codes)."""
        return self.bags.codes(sequences.counts())


class TextObjective(Objective):
    """What an estimator of texts trains."""

    reconstructs = False

    keeps_network: ClassVar[bool]
    """Whether what was trained beside the start of some texts may be used beside that
    of all. If not, or if there are few texts, it is trained again with all of them."""

    @abstractmethod
    def counted(
        self,
        sequences: TokenSequences,
        counts: NDArray | None,
        seed: int,
        whole: Any = None,
    ) -> Any:
        """Return the start of texts, or of those tokens of them that count.

        `counts` has their places. `whole` is the start of all of them: what it has
        chosen is taken over.
        """

    @abstractmethod
    def pieces(self, sequences: TokenSequences) -> Pieces:
        """Return the rows of texts: pieces that a network can see."""

    def dataset(
        self, sequences: TokenSequences, pieces: Pieces, plan: TrainingPlan
    ) -> TokenDataset:
        """Return rows as a net takes them."""
        device, floats = resolve_device(self.params.device), sequences.n_tokens
        return TokenDataset(sequences, pieces, plan.batch_size, floats, device)

    def finish(self, module: Any) -> None:
        """Let a trained module go of texts."""

    def n_predicted(
        self, sequences: TokenSequences, pieces: Pieces, rows: NDArray
    ) -> float:
        """Return how many tokens of a row are predicted, on average."""
        return float(pieces.lengths[rows].mean()) if len(rows) else 1.0

    def epochs(self, n_rows: int, n_tokens: int) -> int:
        """Return how many epochs rows of so many tokens are trained for."""
        epoch = min(n_tokens, EPOCH_TOKENS)
        return max(1, min(MAX_EPOCHS, round(TRAINING_TOKENS / epoch)))

    def batch_size(self, lengths: NDArray) -> int:
        """Return how many rows of these lengths make a batch."""
        # Over the length of the row that a token is in, on average.
        usual = (lengths.astype(float) ** 2).sum() / lengths.sum()
        return max(1, round(BATCH_TOKENS / usual))

    def plan(self, lengths: NDArray) -> TrainingPlan:
        """Return how to train on distinct rows of these lengths."""
        n, n_total, params = len(lengths), int(lengths.sum()), self.params
        n_held_out = n // (N_FOLDS if n < SMALL_TABLE else 10)
        n_held_out = min(n_held_out, max(1, n * MAX_HELD_OUT // n_total))
        if not is_auto(params.validation_fraction):
            n_held_out = max(1, round(float(params.validation_fraction) * n))
        max_iter, batch_size = params.max_iter, params.batch_size
        if is_auto(max_iter):
            max_iter = self.epochs(n, n_total)
        if is_auto(batch_size):
            batch_size = self.batch_size(lengths)
        return TrainingPlan(
            hidden_layer_sizes=(),
            max_iter=int(max_iter) if n >= MIN_ROWS else 0,
            batch_size=int(batch_size),
            n_folds=0,
            n_held_out=min(n_held_out, n - 1),
            n_rows=n,
            alpha=float(params.alpha),
        )

    def plan_at(self, start: Any, plan: TrainingPlan) -> TrainingPlan:
        """Return the plan: nothing of it follows from the start."""
        return plan

    def analysis(self, sequences: TokenSequences, seed: int) -> CorrespondenceAnalysis:
        """Return correspondence analysis of texts, with as many codes as asked for."""
        counts = sequences.counts()
        return CorrespondenceAnalysis.of(counts, self.n_codes(counts), seed=seed)

    def n_codes(self, counts: sp.csr_matrix) -> int:
        """Return how many codes texts have, given how often each has each token."""
        k = self.params.n_components
        return min(N_CODES, counts.shape[1]) if k is None else int(k)


class LanguageStart(TextStart):
    """One that says how probable tokens are."""

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

    def apply(self, module: Any, units: Any = None) -> None:
        """Let a module know what it starts from; its share starts at zero."""
        module.start = self


class LanguageObjective(TextObjective):
    """The likelihood of tokens."""

    keeps_network = True
    net_class = AveragedNet

    causal: ClassVar[bool]
    """Whether a token is predicted from those before it alone."""

    def pieces(self, sequences: TokenSequences) -> Pieces:
        """Return the rows of texts: pieces that a network can see."""
        max_length = int(self.params.max_length)
        return Pieces.of(sequences, max_length, causal=self.causal)

    def networks(
        self, start: Any, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return what reads tokens, and what is mixed with the start."""
        architecture = self.params.architecture
        if architecture is None:
            architecture = Transformer()
        check_instance(architecture)
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

    def finish(self, module: TokenModule) -> None:
        """Let a trained module go of texts, and of the start."""
        module.forget()


class TrainedTokens:
    """A network beside a start, for which it stands in.

    Parameters
    ----------
    module : TokenModule
    start : LanguageStart
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
