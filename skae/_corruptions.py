"""Corruptions of a batch of rows, tensor to tensor, each cell by itself.

All take rows of shape (..., n, n_features), a level, and the generator to draw from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._module import BaseModule, InUnits
from ._parameters import new_torch_generator
from ._start import Start
from ._step import seeded_globally

# Added to every column's variance, times the level, as a share of the mean one: a value
# that a column hardly ever takes must not count more than any other.
RIDGE = 1e-5

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
# Those of which a linear model knows all that it needs.
LINEAR_EFFECTS = ("gaussian", "swap", "masking")


def check_corruption_level(corruption: str | Corruption, level: float) -> None:
    """Raise unless a share of the cells is one."""
    if isinstance(corruption, str) and corruption != "gaussian" and level > 1:
        raise ValueError(
            f"corruption_level={level} must be at most 1: it is the share of the "
            f"cells that corruption={corruption!r} replaces."
        )


def effect_on_columns(
    corruption: str, level: float, variance: NDArray, scale: float
) -> tuple[float, NDArray]:
    """Return the share of a cell's deviation that is left, and what variance is added.

    Parameters
    ----------
    corruption : str
        One of `LINEAR_EFFECTS`.
    level : float
    variance : ndarray of shape (d,)
        Of each column.
    scale : float
        Root-mean-square deviation of the columns.

    Returns
    -------
    float, ndarray of shape (d,)
    """
    if corruption == "gaussian":
        return 1.0, np.full(len(variance), (level * scale) ** 2)
    keep = 1 - level
    total = 1.0 if corruption == "swap" else keep
    return keep, (total - keep**2) * variance + RIDGE * level * scale**2


class CorruptingModule(InUnits):
    """A module that can corrupt its rows, also by a function of the user's."""

    def set_corruption(
        self,
        corruption: str | Callable[..., Tensor],
        level: float,
        sample_shape: tuple[int, ...],
    ) -> None:
        """Learn how rows are corrupted.

        Parameters
        ----------
        corruption : str or callable
            The name of a corruption of standardised rows, or a function of rows in the
            units of the table.
        level : float
        sample_shape : tuple of int
            Shape in which a function gets each sample.
        """
        self.sample_shape = sample_shape
        self.corruption = corruption
        self.draws_globally = not isinstance(corruption, str)
        self.level = level

    def set_units(self, mean: NDArray, scale: float) -> None:
        """Learn how a function of rows in the units of the table can be called."""
        if not isinstance(self.corruption, str):
            super().set_units(mean, scale)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind networks to the range of training rows, as they are and corrupted."""
        before = self.generator
        self.generator = torch.Generator(x.device).manual_seed(0)
        with seeded_globally(0):
            x = torch.cat([x, self.corrupt(x, known)])
        self.generator = before
        super().bind(x, None if known is None else known.repeat(2, 1), earlier)

    def corrupt(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return corrupted rows, shape (n, n_features); what is missing stays."""
        if known is None:
            return self._corrupted(x)
        return torch.where(known, self._corrupted(x * known), x)

    def _corrupted(self, x: Tensor) -> Tensor:
        if isinstance(self.corruption, str):
            return CORRUPTIONS[self.corruption](x, self.level, self.generator)
        raw = (x * self.scale + self.column_mean).unflatten(-1, self.sample_shape)
        corrupted = self.corruption(raw, self.generator)
        if (
            not isinstance(corrupted, Tensor)
            or corrupted.shape != raw.shape
            or corrupted.is_complex()
            or corrupted.device != raw.device
        ):
            what: Any = corrupted
            if isinstance(what, Tensor):
                what = f"{tuple(what.shape)}, {what.dtype}, {what.device}"
            raise ValueError(
                f"corruption={self.corruption!r} returned {type(corrupted).__name__} "
                f"({what}): it must return a real tensor of the rows' shape, "
                f"{tuple(raw.shape)}, on their device."
            )
        rows = corrupted.to(x.dtype).reshape(x.shape)
        return (rows - self.column_mean) / self.scale


def corrupted_copies(
    corruption: str | Callable[..., Tensor],
    level: float,
    sample_shape: tuple[int, ...],
    units: Start,
    X: NDArray,
    seed: int,
    n_copies: int,
) -> NDArray:
    """Return corrupted copies of rows, standardised, shape (n_copies * n, d).

    Raises
    ------
    TypeError
        If a function cannot be called.
    ValueError
        If it returns anything but finite numbers.
    """
    module = CorruptingModule(nn.Identity(), nn.Identity())
    module.set_corruption(corruption, level, sample_shape)
    module.set_units(units.mean, units.scale)
    module.generator = new_torch_generator(seed)
    dtype = np.float64 if isinstance(corruption, str) else np.float32
    x = ((X - units.mean) / units.scale).astype(dtype)
    with seeded_globally(seed):
        try:
            copies = [module.corrupt(torch.tensor(x)) for _ in range(n_copies)]
        except TypeError as error:
            raise TypeError(
                f"corruption={corruption!r} is called with a float32 tensor of rows "
                f"and a torch.Generator: {error}"
            ) from error
    drawn = torch.cat(copies).double().numpy()
    if not np.isfinite(drawn).all():
        raise ValueError(
            f"corruption={corruption!r} returned NaN or infinity: every corrupted "
            "value must be finite."
        )
    return drawn
