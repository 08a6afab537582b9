"""Layers of attention, and vectors of tokens.

Every layer adds to its input ``x``, a row for each token, first what the tokens learn
from one another and then what each makes of it,

    x + attention(norm(x)),    x + feedforward(norm(x)),

and a last norm follows (pre-norm; Xiong et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention

from ._base import unset

STD = 0.02  # of fresh weights, as GPT-2's


def normal_parameter(*shape: int, generator: torch.Generator) -> nn.Parameter:
    """Return weights drawn from a normal distribution."""
    values = torch.empty(*shape, dtype=torch.float32, device="cpu")
    return nn.Parameter(values.normal_(0.0, STD, generator=generator))


def normal_linear(
    n_in: int,
    n_out: int,
    std: float = STD,
    *,
    bias: bool = True,
    generator: torch.Generator,
) -> nn.Linear:
    """Return a linear layer with normal weights and zero bias."""
    layer = unset(nn.Linear, n_in, n_out, bias=bias)
    nn.init.normal_(layer.weight, 0.0, std, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def make_norm(width: int) -> nn.LayerNorm:
    """Return a norm of the last axis, with gains of 1 and biases of 0."""
    return nn.LayerNorm(width, dtype=torch.float32, device="cpu")


class TransformerLayer(nn.Module):
    """Attention and a feedforward network, each beside a residual path.

    Parameters
    ----------
    embed_dim, n_heads, feedforward_dim : int
    dropout : float
        Share of what each of both adds that is left out while training.
    residual_std : float
        Standard deviation of the weights of the two layers that add to the input.
    generator : torch.Generator
        What all weights are drawn from.
    """

    def __init__(
        self,
        embed_dim: int,
        n_heads: int,
        feedforward_dim: int,
        dropout: float,
        residual_std: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        d, m, std = embed_dim, feedforward_dim, residual_std
        self.n_heads = n_heads
        self.attention_norm = make_norm(d)
        self.query_key_value = normal_linear(d, 3 * d, generator=generator)
        self.attention_output = normal_linear(d, d, std, generator=generator)
        self.feedforward_norm = make_norm(d)
        self.feedforward = nn.Sequential(
            normal_linear(d, m, generator=generator),
            nn.GELU(),
            normal_linear(m, d, std, generator=generator),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor | None, causal: bool) -> Tensor:
        """Map a tensor of shape (n, T, embed_dim) to one of the same shape.

        Of `seen`, of shape (n, 1, T, T), entry (i, j) says whether token i sees token
        j. None: all, or if `causal` those up to i.
        """
        projected = self.query_key_value(self.attention_norm(x))
        heads = projected.unflatten(-1, (3, self.n_heads, -1)).transpose(1, 3)
        # Each (n, n_heads, T, embed_dim / n_heads)
        query, key, value = heads.unbind(2)
        attended = scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=causal and seen is None
        )
        attended = attended.transpose(1, 2).flatten(2)  # (n, T, embed_dim)
        x = x + self.dropout(self.attention_output(attended))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class TransformerLayers(nn.Module):
    """Pre-norm layers of attention and feedforward networks, and a norm at the end.

    Parameters
    ----------
    layers : sequence of TransformerLayer
    n_passes : int
        How often they are gone through: with one layer, its weights are shared by so
        many.
    causal : bool
        Whether no token sees a later one.

    Notes
    -----
    Shape: ``(n, T, embed_dim)`` to the same, of any number T of tokens.
    :meth:`Transformer.layers` builds them.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need. NeurIPS.

    Xiong et al. (2020), On layer normalization in the Transformer architecture. ICML.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import Transformer
    >>> generator = torch.Generator().manual_seed(0)
    >>> layers = Transformer(embed_dim=8).layers(causal=True, generator=generator)
    >>> layers(torch.zeros(5, 7, 8)).shape
    torch.Size([5, 7, 8])
    """

    def __init__(
        self, layers: Sequence[TransformerLayer], n_passes: int, *, causal: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.n_passes = n_passes
        self.causal = causal
        self.norm = make_norm(layers[0].attention_norm.normalized_shape[0])
        self.dropout = nn.Dropout(layers[0].dropout.p)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Map tokens of shape (n, T, embed_dim) to tensors of the same shape.

        Parameters
        ----------
        x : Tensor of shape (n, T, embed_dim)
        known : Tensor of bool of shape (n, T) or None
            Which tokens are there: no other token sees those that are not.
        """
        seen = None
        if known is not None:
            # Each sees itself, so that there is always something to see.
            itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
            seen = known[:, None, None, :] | itself  # (n, 1, T, T)
            seen = seen.tril() if self.causal else seen
        x = self.dropout(x)
        for _ in range(self.n_passes):
            for layer in self.layers:
                x = layer(x, seen, self.causal)
        return self.norm(x)


class TokenEmbedding(nn.Module):
    """A vector for each token, and the logits of tokens by the same vectors.

    Parameters
    ----------
    n_tokens, embed_dim : int
    rank : int or None
        Width of what is learnt for each token, which a linear map of all tokens brings
        to `embed_dim`: ``rank * (n_tokens + embed_dim)`` weights in place of ``n_tokens
        * embed_dim`` (Lan et al. 2020). None: there is no such map.
    generator : torch.Generator
        What all weights are drawn from.

    Notes
    -----
    Shape: tokens of any shape, to that and ``embed_dim``. :meth:`logits` is the tied
    output map (Press & Wolf 2017): vectors ``h`` to ``h W'``, where ``W`` has the
    vectors of all tokens.

    References
    ----------
    Press & Wolf (2017), Using the output embedding to improve language models. EACL.

    Lan et al. (2020), ALBERT: A lite BERT for self-supervised learning of language
    representations. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skae.architectures import Transformer
    >>> small = Transformer(embed_dim=8, embedding_rank=2)
    >>> embedding = small.token_embedding(100, torch.Generator().manual_seed(0))
    >>> vectors = embedding(torch.tensor([[3, 1, 4]]))
    >>> vectors.shape, embedding.logits(vectors).shape
    (torch.Size([1, 3, 8]), torch.Size([1, 3, 100]))
    """

    def __init__(
        self,
        n_tokens: int,
        embed_dim: int,
        rank: int | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        width = embed_dim if rank is None else rank
        self.weight = normal_parameter(n_tokens, width, generator=generator)
        self.expand: nn.Linear | None = None
        if rank is not None:  # which keeps the size of vectors
            std = 1 / math.sqrt(rank)
            self.expand = normal_linear(
                rank, embed_dim, std, bias=False, generator=generator
            )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors of tokens, whole numbers below `n_tokens`."""
        vectors = embedding(tokens, self.weight)
        return vectors if self.expand is None else self.expand(vectors)

    def logits(self, h: Tensor) -> Tensor:
        """Map a tensor of shape (..., embed_dim) to (..., n_tokens)."""
        if self.expand is not None:
            h = h @ self.expand.weight
        return linear(h, self.weight)
