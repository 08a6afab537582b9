"""Per-sample losses: each term has one number per row and is never reduced here.

The net alone weights, averages and sums the terms. A leading axis of replicas (see
``_gate.py``) passes through every function unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


def squared_error(
    reconstruction: Tensor, x: Tensor, has_padding: bool = False
) -> Tensor:
    """Sum over the features of the squared error.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
    x : Tensor of shape (n, n_features)
    has_padding : bool
        Whether `x` may hold NaN, which then carries no loss.

    Returns
    -------
    Tensor of shape (..., n)
    """
    difference = reconstruction - x
    if has_padding:
        difference = difference.masked_fill(x.isnan(), 0.0)
    return difference.square().sum(-1)


def gaussian_nll(
    reconstruction: Tensor, x: Tensor, log_variance: Tensor, has_padding: bool = False
) -> Tensor:
    """Negative log-density of rows under normals of one variance, in nats.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
    x : Tensor of shape (n, n_features)
    log_variance : Tensor of shape (...)
    has_padding : bool
        As in :func:`squared_error`.

    Returns
    -------
    Tensor of shape (..., n)
    """
    squares = squared_error(reconstruction, x, has_padding)
    n: Any = (~x.isnan()).sum(-1) if has_padding else x.shape[-1]
    constant = n * (math.log(2 * math.pi) + log_variance)[..., None]
    return 0.5 * (squares * (-log_variance).exp()[..., None] + constant)


def widening(
    squares: Tensor, n_values: Tensor, log_variance: Tensor, wider: Tensor
) -> Tensor:
    """Change of :func:`gaussian_nll` where the variance is at least `wider`.

    Parameters
    ----------
    squares : Tensor of shape (n,)
        Squared error of each row.
    n_values : Tensor of shape (n,)
        How many numbers of a row it is the sum of.
    log_variance : Tensor of shape (n,)
        Logarithm of the variance so far.
    wider : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n,)
    """
    wider = torch.maximum(wider.log(), log_variance)
    change = (-wider).exp() - (-log_variance).exp()
    return 0.5 * (squares * change + n_values * (wider - log_variance))


def bernoulli_nll(logits: Tensor, x: Tensor, has_padding: bool = False) -> Tensor:
    """Negative log-probability of rows under independent Bernoullis, in nats.

    Parameters
    ----------
    logits : Tensor of shape (..., n, n_features)
    x : Tensor of shape (..., n, n_features)
        Values in [0, 1].
    has_padding : bool
        As in :func:`squared_error`.

    Returns
    -------
    Tensor of shape (..., n)
    """
    if not has_padding:
        return (softplus(logits) - x * logits).sum(-1)
    absent = x.isnan()
    terms = softplus(logits) - x.masked_fill(absent, 0.0) * logits
    return terms.masked_fill(absent, 0.0).sum(-1)


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of diagonal normals from N(0, I), in nats.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (..., n, n_components)

    Returns
    -------
    Tensor of shape (..., n)
        Kingma & Welling (2014), appendix B.
    """
    squares = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * squares.sum(-1)


class ReconstructionLoss(nn.Module):
    """The squared reconstruction error, summed over the features of each row.

    Parameters
    ----------
    has_padding : bool, default=False
        Whether rows may hold NaN, which then carries no loss.

    Examples
    --------
    >>> import torch
    >>> from skae._losses import ReconstructionLoss
    >>> x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    >>> ReconstructionLoss()((x + 1,), x)
    {'reconstruction': tensor([2., 2.])}
    """

    def __init__(self, has_padding: bool = False) -> None:
        super().__init__()
        self.has_padding = has_padding

    def forward(self, output: tuple[Tensor, ...], x: Tensor) -> dict[str, Tensor]:
        """Return the term ``reconstruction``, shape (..., n)."""
        return {"reconstruction": squared_error(output[0], x, self.has_padding)}
