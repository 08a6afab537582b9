"""Per-sample losses: each term has one number per row and is never reduced here.

The net alone weights, averages and sums the terms. A leading axis of replicas (see
``_gate.py``) passes through every function unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn


def squared_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Sum over the features of the squared error.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
    x : Tensor of shape (n, n_features)

    Returns
    -------
    Tensor of shape (..., n)
    """
    return (reconstruction - x).square().sum(-1)


class ReconstructionLoss(nn.Module):
    """The squared reconstruction error, summed over the features of each row.

    Examples
    --------
    >>> import torch
    >>> from skae._losses import ReconstructionLoss
    >>> x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    >>> ReconstructionLoss()((x + 1,), x)
    {'reconstruction': tensor([2., 2.])}
    """

    def forward(self, output: tuple[Tensor, ...], x: Tensor) -> dict[str, Tensor]:
        """Return the term ``reconstruction``, shape (..., n)."""
        return {"reconstruction": squared_error(output[0], x)}
