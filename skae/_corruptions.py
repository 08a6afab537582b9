"""Corruptions of a batch of rows, tensor to tensor, each cell by itself.

All take rows of shape (..., n, n_features), a level, and the generator to draw from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Corruption = Callable[[Tensor, float, torch.Generator | None], Tensor]


def _chosen(x: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Choose each cell with probability `level`, shape (..., n, n_features)."""
    shares = torch.rand(
        x.shape, generator=generator, device=x.device, dtype=torch.float32
    )
    return shares < level


def swap(x: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Replace a share `level` of the cells by another row's value of the column.

    The marginal corruption of SCARF (Bahri et al. 2022).
    """
    chosen = _chosen(x, level, generator)
    n = x.shape[-2]
    others = torch.randint(n, x.shape, generator=generator, device=x.device)
    return torch.where(chosen, x.gather(-2, others), x)


def gaussian(x: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Add normal noise of standard deviation `level`."""
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + level * noise


def masking(x: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Set a share `level` of the cells to 0, the mean of the column (Vincent 2008)."""
    return x.masked_fill(_chosen(x, level, generator), 0.0)


def salt_and_pepper(
    x: Tensor, level: float, generator: torch.Generator | None
) -> Tensor:
    """Set a share `level` of the cells to the column's extremes in the batch.

    Half of them become the smallest value, the others the largest.
    """
    is_salt = _chosen(x, 0.5, generator)
    highest, lowest = (f(-2, keepdim=True) for f in (x.amax, x.amin))
    extreme = torch.where(is_salt, highest, lowest)
    return torch.where(_chosen(x, level, generator), extreme, x)


CORRUPTIONS: dict[str, Corruption] = {
    "swap": swap,
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
}
