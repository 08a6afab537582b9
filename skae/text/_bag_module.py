"""Bags of tokens: networks between the coordinates of correspondence analysis.

A text is a point in `K` coordinates, those of a correspondence analysis with more axes
than there are codes, and tokens have `K` features there. The networks are of these, so
that none of what is trained grows with the vocabulary, and rare tokens cannot be learnt
by heart:

    z = mean + (z_0 - mean) / (1 + s length / n) + encoder(coordinates)
    p(w | z) = SHARE q_w + (1 - SHARE) q_w exp(features_w' decoder(u)) / total
    q_w = c_w max(1 + (1 + t) u' g_w, FLOOR) / total

with ``z_0`` the code of the start, n the tokens that are seen of a text, and u the code
in units of the deviations of the start. Networks, s, and t are zero at first. The
shrinkage s takes the code of a short text, most of which is noise, towards the mean; t
is how far a code is believed. A text of one rare token may be a hundred deviations away
from the others, where a network says anything: it can take no more than log(1 / SHARE)
nats from what q says of a token.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from .._module import BaseModule, LinearResidual
from ._correspondence import FLOOR, BagModel, CorrespondenceAnalysis, LatentSemantics

# At most so many of a text's tokens are seen in training. The fewer, the better codes
# predict other tokens of the text and labels, and the worse those seen.
MOST_SEEN = 0.5
# The smallest divisor of a code, by which shrinkage could also make it larger.
LEAST_DIVISOR = 0.5
# Of the probabilities, that without a network.
SHARE = 0.3


class BagModule(BaseModule):
    """Codes of texts, and what tokens they have.

    Texts are token numbers, of shape ``(n, length)`` and padded with -1. In training
    each text is encoded from a random part of its tokens, up to half of them, and all
    of them are predicted.

    Parameters
    ----------
    encoder : LinearResidual
        From ``(n, n_coordinates)`` to ``(n, n_components)``. Of it only the network is
        used, as of the other one.
    decoder : LinearResidual
        From ``(n, n_components)`` to ``(n, n_coordinates)``.
    by_idf : bool, default=False
        Whether bags are divided by the norm of their tf-idf, as latent semantic
        analysis does, and not by their number of tokens.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import csr_matrix
    >>> from torch import nn
    >>> from skae._module import LinearResidual
    >>> from skae.text._bag_module import BagModule
    >>> from skae.text._correspondence import CorrespondenceAnalysis
    >>> counts = csr_matrix([[2.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 6.0]])
    >>> ca = CorrespondenceAnalysis.of(counts, 1)
    >>> encoder, decoder = (
    ...     LinearResidual(nn.Linear(1, 1), 1, 1, gain=False) for _ in range(2)
    ... )
    >>> module = BagModule(encoder, decoder).set_start(ca, ca)
    >>> module.encode(torch.tensor([[0, 1, -1], [2, 2, 2]])).detach().round(decimals=3)
    tensor([[-1.],
            [ 1.]])
    """

    encoder: LinearResidual
    decoder: LinearResidual
    token_weights: Tensor
    slopes: Tensor
    mean: Tensor
    deviations: Tensor
    log_shares: Tensor
    idf: Tensor
    length: Tensor
    coordinates: Tensor
    features: Tensor

    def __init__(
        self,
        encoder: LinearResidual,
        decoder: LinearResidual,
        *,
        by_idf: bool = False,
    ) -> None:
        super().__init__(encoder, decoder)
        self.by_idf = by_idf
        k = len(encoder.bias)
        self.shrinkage = nn.Parameter(torch.zeros(k, dtype=torch.float32))
        self.tilt = nn.Parameter(torch.zeros(k, dtype=torch.float32))

    def set_start(
        self, start: BagModel, axes: CorrespondenceAnalysis, length: float = 1.0
    ) -> BagModule:
        """Set the closed forms beside the networks, and what these are of.

        Parameters
        ----------
        start : CorrespondenceAnalysis or LatentSemantics
            Where the module starts.
        axes : CorrespondenceAnalysis
            Has `n_coordinates` codes.
        length : float
            Mean number of tokens of a text, the unit of the shrinkage.
        """
        weights = axes.token_weights / positive(np.sqrt(axes.explained_variance))
        size = np.sqrt(axes.shares @ weights**2)
        values: dict[str, Any] = {
            "token_weights": start.token_weights,
            "slopes": start.slopes,
            "mean": start.mean,
            "deviations": positive(np.sqrt(start.explained_variance)),
            "log_shares": np.log(start.shares),
            "length": length,
            "coordinates": weights,
            "features": weights / positive(size),
        }
        if isinstance(start, LatentSemantics):
            values["idf"] = start.idf
        how: dict[str, Any] = {"dtype": self.tilt.dtype, "device": self.tilt.device}
        for name, value in values.items():
            self.register_buffer(name, torch.as_tensor(value, **how))
        return self

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the codes of token numbers of shape (n, length)."""
        known = x >= 0 if known is None else known
        tokens = x.clamp(min=0)
        share = known.to(self.mean)
        n_known = share.sum(1, keepdim=True)  # (n, 1)
        share = share / n_known.clamp(min=1)
        at = embedding_bag(
            tokens, self.coordinates, mode="sum", per_sample_weights=share
        )
        if self.by_idf:
            share = known / self.tfidf_norms(tokens, known)
        code = embedding_bag(
            tokens, self.token_weights, mode="sum", per_sample_weights=share
        )
        ratio = self.shrinkage * self.length / n_known.clamp(min=1)
        code = self.mean + (code - self.mean) / (1 + ratio).clamp(min=LEAST_DIVISOR)
        return code + self.deviations * self.encoder.residual(at)

    def tfidf_norms(self, tokens: Tensor, known: Tensor) -> Tensor:
        """Return the norms of tf-idf, shape (n, 1)."""
        each = self.idf[tokens] * known
        tfidf = each.new_zeros(len(tokens), len(self.idf)).scatter_add(1, tokens, each)
        norms = tfidf.norm(dim=1, keepdim=True)
        return torch.where(norms > 0, norms, 1)

    def decode(self, z: Tensor) -> Tensor:
        """Return the log-probabilities of all tokens, shape (n, n_tokens)."""
        return mixed(*self._scores(z))

    def log_probs_of(self, z: Tensor, tokens: Tensor) -> Tensor:
        """Return the log-probabilities of some tokens of each row, of their shape."""
        linear, logits, *totals = self._scores(z)
        return mixed(linear.gather(1, tokens), logits.gather(1, tokens), *totals)

    def _scores(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return scores without a network and with it, and logarithms of their totals.

        The scores have shape (n, n_tokens), and the totals (n, 1).
        """
        u = (z - self.mean) / self.deviations
        slopes = self.slopes * (self.deviations * (1 + self.tilt))
        tilts = torch.addmm(torch.ones_like(self.log_shares), u, slopes.T)
        tilts = tilts.clamp(min=FLOOR)
        linear = self.log_shares + tilts.log()
        logits = torch.addmm(linear, self.decoder.residual(u), self.features.T)
        total = (tilts @ self.log_shares.exp())[:, None].log()
        return linear, logits, total, logits.logsumexp(1, keepdim=True)

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return codes, in training of a random part of the tokens, and what they say.

        That are log-probabilities of the tokens of a text, of which the unknown ones
        mean nothing.

        Parameters
        ----------
        x : Tensor of int64 of shape (n, length)
        known : Tensor of bool of shape (n, length) or None
            Which are tokens; None: those that are not negative.

        Returns
        -------
        log_probs : Tensor of shape (n, length)
        z : Tensor of shape (n, n_components)
        log_probs_by_half : Tensor of shape (n, length)
            Given codes of about half of the tokens. Not in training.
        rest : Tensor of bool of shape (n, length)
            The other half. Not in training.
        """
        known = x >= 0 if known is None else known
        tokens = x.clamp(min=0)
        how: dict[str, Any] = {"generator": self.generator, "device": x.device}
        how["dtype"] = torch.float32
        if self.training:
            chance = torch.rand(len(x), 1, **how) * MOST_SEEN
            z = self.encode(x, known & (torch.rand(x.shape, **how) < chance))
            return self.log_probs_of(z, tokens), z
        seen = torch.rand(x.shape, **how) < 0.5
        z, of_half = self.encode(x, known), self.encode(x, known & seen)
        by_half = self.log_probs_of(of_half, tokens)
        return self.log_probs_of(z, tokens), z, by_half, known & ~seen


def mixed(
    linear: Tensor, logits: Tensor, total: Tensor, total_of_logits: Tensor
) -> Tensor:
    """Return the logarithm of a mixture of two distributions, given scores."""
    return torch.logaddexp(
        linear - total + math.log(SHARE),
        logits - total_of_logits + math.log(1 - SHARE),
    )


def positive(size: NDArray) -> NDArray:
    """Return divisors, 1 in place of 0."""
    return np.where(size > 0, size, 1)
