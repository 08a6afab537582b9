"""The picture of ``python -m skae``: codes, and images where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._table import InputError, Table, reason
from ._figure import plain
from ._latent_space import LatentSpaceDisplay

PICTURES = (".png", ".pdf", ".svg", ".jpg")


def save_comparison(
    path: Path, table: Table, test: NDArray, results: Sequence[Any]
) -> str:
    """Draw PCA beside the first estimator of skae; return what was done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "No picture without matplotlib: python -m pip install 'skae[plot]'"
    counts = list(dict.fromkeys(r.n_components for r in results))
    pairs = {k: [r for r in results if r.n_components == k][:2] for k in counts}
    n_rows = 2 if table.image_shape else 1
    figure = Figure(figsize=(10, 1 + 3.6 * n_rows), layout="constrained")
    parts = figure.subfigures(n_rows, 1, height_ratios=[1.7, 1][:n_rows], squeeze=False)
    panels = parts[0, 0].subplots(1, 2)
    flattest = pairs[min((k for k in counts if k > 1), default=1)]
    for axes, result in zip(panels, flattest, strict=True):
        _draw_codes(axes, table, test, result)
    if table.image_shape:
        middle = pairs[counts[len(counts) // 2]]
        _draw_images(parts[1, 0].subplots(), table, test, middle)
    parts[0, 0].suptitle(f"{plain(table.name)}: {len(test)} held-out rows")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    return f"Picture: {path}"


def _draw_codes(axes: Any, table: Table, test: NDArray, result: Any) -> None:
    """Draw one or two codes; the classes or the scale stand beside those of skae."""
    y = None if table.y is None else table.y[test]
    display = LatentSpaceDisplay(codes=result.codes[:, :2], y=y).plot(axes)
    title = f"{result.name}: R2 {result.r2:.2f} with {result.components}"
    axes.set_title(title, fontsize="medium")
    for guide in (display.legend_, display.colorbar_):
        if guide is not None and result.name == "PCA":
            guide.remove()
    if display.legend_ is not None:
        display.legend_.set_title(plain(table.target))
    if display.colorbar_ is not None and result.name != "PCA":
        display.colorbar_.set_label(plain(table.target))


def _draw_images(axes: Any, table: Table, test: NDArray, pair: Sequence[Any]) -> None:
    """Draw the first held-out image of each class above its reconstructions."""
    _, first = np.unique(table.y[test], return_index=True)
    images = {"original": table.X[test][first]}
    images |= {r.name: r.model.inverse_transform(r.codes[first]) for r in pair}
    sheet = np.stack([*images.values()])
    sheet = sheet.reshape(len(images), len(first), *table.image_shape)
    sheet = np.pad(sheet, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    height = sheet.shape[2]
    sheet = sheet.swapaxes(1, 2).reshape(len(images) * height, -1)
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=images["original"].max())
    axes.set_yticks((np.arange(len(images)) + 0.5) * height - 0.5, [*images])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = f"Held-out images rebuilt from {pair[0].components}"
    axes.set_title(title, fontsize="medium")
