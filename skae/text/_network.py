"""What is trained for texts: tokens through layers, and what is added to the start."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._dataset import TrainingData
from .._losses import Loss
from .._module import BaseModule
from .._net import AutoencoderNet, Batch
from ..architectures._attention import (
    TokenEmbedding,
    TransformerLayers,
    normal_parameter,
)
from ..architectures._base import unset

# The largest share of a network, so that n-grams always have a say.
MOST = 0.999
# How fast the largest share of a network may rise: to 1 within so many steps of Adam's.
MOST_RATE = 25.0
# Of a logarithm, so that its exponential is no infinity.
LARGE = 80.0
# By which logits of shares may be multiplied, and what may be added to them. With 0
# there is one share everywhere.
SHARES = [
    (scale, offset)
    for scale in (1.0, 0.6, 0.35, 0.15, 0.0)
    for offset in (0.5, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0)
]
# Epochs after which weights count half in the averages.
HALF_LIFE = 0.5


class TokenEncoder(nn.Module):
    """Vectors of tokens and their places, through layers.

    Parameters
    ----------
    embedding : TokenEmbedding
    layers : TransformerLayers
    max_length : int
        Tokens that it sees at once.
    generator : torch.Generator

    Notes
    -----
    Shape: ``(n, T)`` to ``(n, T, embed_dim)``, for T up to `max_length`.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        layers: TransformerLayers,
        max_length: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = layers
        embed_dim = layers.norm.normalized_shape[0]
        self.positions = normal_parameter(max_length, embed_dim, generator=generator)

    def forward(self, tokens: Tensor, known: Tensor | None = None) -> Tensor:
        """Return what layers make of tokens, and see of those that are known."""
        x = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        # Padding comes last, where no causal layer sees it; it takes no mask.
        return self.layers(x, None if self.layers.causal else known)


class Mixture(nn.Module):
    """A distribution, mixed with that of a network.

    Probabilities are ``(1 - g) p + g q``, where ``q`` is a softmax and the share ``g``
    depends on the place, and starts at 0. Only `p` of the targets is needed.

    Parameters
    ----------
    embedding : TokenEmbedding
        By whose vectors tokens get their logits.
    embed_dim : int
    n_tokens : int
        That are predicted: the first ones of it.
    n_evidence : int
        Numbers that say how much is known of `p`.

    Attributes
    ----------
    scale, offset : Tensor of shape ()
        What the logits of the share are multiplied by, and what is added: a network
        knows the tokens that it was trained on too well, and so its share there is too
        large for others.

    Notes
    -----
    The network learns by its own likelihood, and the share by that of the mixture: a
    share of 0 would never tell the network what to learn.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        embedding: TokenEmbedding,
        embed_dim: int,
        n_tokens: int,
        n_evidence: int,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.n_tokens = n_tokens
        self.output = zero_linear(embed_dim, embed_dim)
        nn.init.eye_(self.output.weight)
        self.bias = nn.Parameter(torch.zeros(n_tokens, dtype=torch.float32))
        self.share = zero_linear(embed_dim + n_evidence, 1)
        nn.init.constant_(self.share.bias, -2.0)
        self.most = nn.Parameter(torch.zeros((), dtype=torch.float32))
        self.register_buffer("scale", torch.ones((), dtype=torch.float32))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float32))

    def logits_of_share(self, h: Tensor, evidence: Tensor) -> Tensor:
        """Return what the share depends on, shape (m,)."""
        return self.share(torch.cat([h, evidence], -1))[:, 0]

    def share_of(self, logits: Tensor) -> Tensor:
        """Return ``g``, shape (m,)."""
        with torch.no_grad():  # projected gradient descent
            self.most.clamp_(0, MOST / MOST_RATE)
        return MOST_RATE * self.most * share_of(logits, self.scale, self.offset)

    def network(self, h: Tensor) -> Tensor:
        """Return ``log q``, shape (m, n_tokens)."""
        logits = self.embedding.logits(self.output(h))[:, : self.n_tokens]
        return torch.log_softmax(logits + self.bias, -1)

    def distribution(self, h: Tensor, log_p: Tensor, evidence: Tensor) -> Tensor:
        """Return log-probabilities of all tokens, shape (m, n_tokens).

        Parameters
        ----------
        h : Tensor of shape (m, embed_dim)
        log_p : Tensor of shape (m, n_tokens)
        evidence : Tensor of shape (m, n_evidence)
        """
        share = self.share_of(self.logits_of_share(h, evidence))
        return mixed(log_p, self.network(h), share[:, None])

    def forward(
        self, h: Tensor, log_p: Tensor, evidence: Tensor, targets: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the log-probabilities of the targets, and what they are made of.

        Returns
        -------
        tuple of Tensor of shape (m,)
            Those of the mixture, of `p`, and of the network, and the logits of shares.
        """
        log_q = of_targets(self.network(h), targets)
        logits = self.logits_of_share(h, evidence)
        log_prob = mixed(log_p, log_q.detach(), self.share_of(logits))
        return log_prob, log_p, log_q, logits


def share_of(logits: Tensor, scale: Any, offset: Any) -> Tensor:
    """Return the share of a network, as a share of the largest."""
    return torch.sigmoid(scale * logits + offset)


def mixed(log_p: Tensor, log_q: Tensor, share: Tensor) -> Tensor:
    """Return ``log((1 - g) p + g q)``, which is ``log p`` to the last bit for g = 0."""
    return log_p + torch.log1p(share * torch.expm1((log_q - log_p).clamp(max=LARGE)))


def of_targets(log_p: Tensor, targets: Tensor) -> Tensor:
    """Return what a row of each target has for it, shape (m,)."""
    return log_p.gather(1, targets[:, None])[:, 0]


def zero_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer that starts at zero."""
    layer = unset(nn.Linear, n_in, n_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Reading(NamedTuple):
    """What a start says of the tokens at some places, n rows of T of them.

    Attributes
    ----------
    inputs : ndarray of int64 of shape (n, T)
        What the network sees.
    said : ndarray of bool of shape (n, T)
        The m places at which a token is predicted.
    targets : ndarray of int64 of shape (m,)
        That token.
    log_prob : ndarray of shape (m,)
        What the start says of it.
    evidence : ndarray of shape (m, n_evidence)
        How much that is known from.
    """

    inputs: NDArray
    said: NDArray
    targets: NDArray
    log_prob: NDArray
    evidence: NDArray


class TokenModule(BaseModule):
    """What a start says of tokens, mixed with what a network does.

    Parameters
    ----------
    encoder : TokenEncoder
    decoder : Mixture

    Attributes
    ----------
    start : LanguageStart
    reader : object
        What the start says of the texts that are trained on. Both are there while the
        module trains, and are no part of it.
    """

    encoder: TokenEncoder
    decoder: Mixture
    start: Any = None
    reader: Any = None

    def see(self, dataset: Any, rows: Tensor, may_see: Tensor) -> None:
        """Read the texts of a dataset, of which the start has counted these rows."""
        counted = np.zeros(len(dataset.sequences.tokens), dtype=bool)
        counted[dataset.pieces.places(rows.cpu().numpy())] = True
        self.reader = self.start.reader(dataset.sequences, counted)

    def forget(self) -> None:
        """Let go of the texts, and of the start."""
        self.start = self.reader = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "start": None, "reader": None}

    def read(self, x: Tensor, known: Tensor) -> Reading:
        """Return what the start says of rows that are trained on."""
        return self.reader.read(x.cpu().numpy(), known.cpu().numpy())

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        """Return the log-probabilities of tokens, and what they are made of.

        Parameters
        ----------
        x, known : Tensor of shape (n, T)
            Places of tokens, and where there is one.

        Returns
        -------
        tuple of Tensor of shape (n, T)
            Those of :class:`Mixture`; 0 where nothing is predicted.
        """
        reading = self.read(x, known)
        return self.in_place(reading, self.hidden(reading, known))

    def in_place(self, reading: Reading, h: Tensor) -> tuple[Tensor, ...]:
        """Return what :meth:`forward` does, given what layers make of rows."""
        said = torch.from_numpy(reading.said).to(h.device)
        zeros = torch.zeros(said.shape, dtype=torch.float32, device=h.device)
        at_places = self._at_places(reading, h[said])
        return tuple(zeros.masked_scatter(said, log_prob) for log_prob in at_places)

    def log_prob(self, reading: Reading, known: Tensor) -> tuple[Tensor, ...]:
        """Return the same at the m places of a reading."""
        return self._at_places(reading, self.hidden_at_places(reading, known))

    def _at_places(self, reading: Reading, h: Tensor) -> tuple[Tensor, ...]:
        targets = torch.from_numpy(reading.targets).to(h.device)
        given = as_tensors(h, reading.log_prob, reading.evidence)
        return self.decoder(h, *given, targets)

    def log_probs(self, reading: Reading, known: Tensor, log_probs: NDArray) -> NDArray:
        """Return log-probabilities of all tokens there, given the start's."""
        h = self.hidden_at_places(reading, known)
        given = as_tensors(h, log_probs, reading.evidence)
        return self.decoder.distribution(h, *given).double().cpu().numpy()

    def calibrate(self, calibration: dict[str, Any]) -> None:
        """Take over how far held-out texts say that the network is to be believed."""
        if calibration:
            self.decoder.scale.fill_(calibration["scale"])
            self.decoder.offset.fill_(calibration["offset"])
            self.decoder.most.data.fill_(MOST / MOST_RATE)

    def hidden(self, reading: Reading, known: Tensor) -> Tensor:
        """Return what layers make of rows, (n, T, embed_dim)."""
        return self.encoder(torch.from_numpy(reading.inputs).to(known.device), known)

    def hidden_at_places(self, reading: Reading, known: Tensor) -> Tensor:
        """Return the same at the m places of a reading."""
        said = torch.from_numpy(reading.said).to(known.device)
        return self.hidden(reading, known)[said]


def as_tensors(like: Tensor, *arrays: NDArray) -> list[Tensor]:
    """Return arrays as tensors of the same kind as another."""
    return [torch.from_numpy(array).to(like) for array in arrays]


class TokenLoss(Loss):
    """The negative log-likelihood of the tokens of a row, in nats.

    That of the network alone is added, but has no say in what is kept.

    Of held-out rows it is that of the mixture, or of one with other shares: those whose
    logits are scaled and shifted in the way that is best for the rows of other parts.
    """

    votes = ("nll",)
    loss_name = "negative log-likelihood of a token, in nats"

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the terms ``nll`` and ``network``, of shape (n,)."""
        log_prob, _, alone, _ = output
        return {"nll": -log_prob.sum(-1), "network": -alone.sum(-1)}

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the term ``loss``, and the same for each of the `SHARES`."""
        log_prob, log_p, log_q, logits = output
        terms = {"loss": -log_prob.sum(-1)}
        is_there = log_p != 0  # nothing is certain
        for scale, offset in SHARES:
            share = MOST * share_of(logits, scale, offset) * is_there
            terms[f"{scale}, {offset}"] = -mixed(log_p, log_q, share).sum(-1)
        return terms

    def calibrated(
        self, terms: dict[str, Tensor], data: TrainingData
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss of each held-out row, and the best shares of all of them."""
        losses = torch.stack(list(terms.values())).double()  # (1 + len(SHARES), n)
        part = data.parts
        n_parts = int(part.max()) + 1
        sums = losses.new_zeros(len(losses), n_parts).index_add_(1, part, losses)
        best_of_others = (sums.sum(1, keepdim=True) - sums).argmin(0)
        rows = torch.arange(losses.shape[1], device=losses.device)
        chosen = losses[best_of_others[part], rows]
        best = int(losses.sum(1).argmin())
        if not best:
            return terms["loss"], {}
        scale, offset = SHARES[best - 1]
        return chosen.to(terms["loss"]), {"scale": scale, "offset": offset}


class AveragedNet(AutoencoderNet):
    """A net of which averages of the weights are judged and kept.

    Each step takes the averages a little nearer to the weights, so that these are those
    of about the last epoch (Polyak & Juditsky 1992). A language model of few texts is
    at its best after few epochs, long before the learning rate is small, and averages
    are worth what a small rate is.
    """

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        """Take one step, and the averages a part of the way."""
        means = super().train_step(batch, **fit_params)
        weights = list(self.module_.parameters())
        if self.averages_ is None:
            self.averages_ = [weight.detach().clone() for weight in weights]
            self.n_averaged_ = 0
        self.n_averaged_ += 1
        share = max(1 - 0.5 ** (1 / self.half_life_), 9 / (9 + self.n_averaged_))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages_, weights, share)
        return means

    def _train_epoch(self, data: TrainingData, epoch: int) -> float:
        n_batches = math.ceil(len(data) / self.batch_size)
        self.half_life_ = max(1.0, HALF_LIFE * n_batches)
        return super()._train_epoch(data, epoch)

    def _validate_epoch(
        self, data: TrainingData, epoch: int, loss: float = math.inf
    ) -> None:
        if self.averages_ is None:
            super()._validate_epoch(data, epoch, loss)
            return
        weights = [weight.data for weight in self.module_.parameters()]
        self._use(self.averages_)
        try:
            super()._validate_epoch(data, epoch, loss)
        finally:
            self._use(weights)

    def _use(self, values: list[Tensor]) -> None:
        for weight, value in zip(self.module_.parameters(), values, strict=True):
            weight.data = value
