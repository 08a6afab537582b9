"""The picture of ``python -m skae``: codes, and images where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._table import InputError, Table, reason

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
    points = [_scatter(panels[i], table, test, flattest[i]) for i in range(2)]
    if table.y is not None and points[1] is not None:
        parts[0, 0].colorbar(points[1], ax=panels[1], label=_plain(table.target))
    if table.image_shape:
        middle = pairs[counts[len(counts) // 2]]
        _draw_images(parts[1, 0].subplots(), table, test, middle)
    parts[0, 0].suptitle(f"{_plain(table.name)}: {len(test)} held-out rows")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    return f"Picture: {path}"


def _plain(text: Any) -> str:
    return str(text).replace("$", r"\$")  # matplotlib takes $...$ for mathematics


def _scatter(axes: Any, table: Table, test: NDArray, result: Any) -> Any:
    """Draw two codes, or one at random heights; return points that share a scale."""
    flat = result.n_components == 1
    heights = np.random.default_rng(0).uniform(size=len(test))
    x, y = result.codes[:, 0], heights if flat else result.codes[:, 1]
    axes.set(xlabel="code 1", ylabel="random height" if flat else "code 2")
    title = f"{result.name}: R2 {result.r2:.2f} with {result.components}"
    axes.set_title(title, fontsize="medium")
    style = {"s": 16, "alpha": 0.8, "linewidths": 0}
    if table.y is None:
        return axes.scatter(x, y, **style)
    values, index = np.unique(table.y, return_inverse=True)
    if not table.is_class or len(values) > 10:
        colours = index if table.is_class else table.y
        return axes.scatter(x, y, c=colours[test], cmap="viridis", **style)
    for i, value in enumerate(values):
        rows = index[test] == i
        label = value if isinstance(value, str) else f"{value:.15g}"
        axes.scatter(x[rows], y[rows], color=f"C{i}", label=_plain(label), **style)
    if result.name != "PCA":
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
        axes.legend(title=_plain(table.target), **beside)
    return None


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
