"""What pictures share: matplotlib, axes, styles, and how samples are drawn.

A sample is drawn as an image, of shape (height, width) or (height, width, 3), or as
lines over its steps, of shape (n_steps, n_channels); a row of a table is one line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES, LONGEST = 30, 24  # names of columns at an axis, and their letters


def check_matplotlib(caller: str) -> None:
    """Raise an ImportError that names the extra if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib: python -m pip install 'skae[plot]'"
        ) from error


def new_figure(caller: str, figsize: tuple[float, float] | None = None) -> Any:
    """Return a new figure whose parts make room for one another."""
    check_matplotlib(caller)
    import matplotlib.pyplot as plt

    return plt.figure(figsize=figsize, layout="constrained")


def check_axes(ax: Any) -> None:
    """Raise a TypeError for anything but axes of matplotlib or None."""
    if not (ax is None or hasattr(ax, "get_subplotspec")):
        raise TypeError(f"ax={ax!r}: use one matplotlib.axes.Axes, or None.")


def axes_or_new(
    ax: Axes | None, caller: str, figsize: tuple[float, float] | None = None
) -> Any:
    """Return the axes to draw on: those given, or those of a new figure."""
    check_axes(ax)
    return new_figure(caller, figsize).add_subplot() if ax is None else ax


def grid_of_axes(
    ax: Any,
    caller: str,
    shape: tuple[int, int],
    figsize: tuple[float, float],
    **ratios: Any,
) -> NDArray:
    """Return axes in rows and columns, in a new figure or in the place of `ax`."""
    check_axes(ax)
    if ax is None:
        grid = new_figure(caller, figsize).add_gridspec(*shape, **ratios)
    elif ax.get_subplotspec() is not None:
        grid = ax.get_subplotspec().subgridspec(*shape, **ratios)
    else:
        box = ax.get_position()
        sides = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
        grid = ax.figure.add_gridspec(*shape, **sides, **ratios)
    if ax is not None:
        ax.set_axis_off()
    return grid.subplots(squeeze=False)


def styled(name: str, given: Any, artist: Any, **defaults: Any) -> dict[str, Any]:
    """Return a style with what is given in place of its defaults.

    Parameters
    ----------
    name : str
        Of the parameter.
    given : dict or None
        With matplotlib's short names or long ones.
    artist : type
        Of matplotlib, whose names these are.
    """
    from matplotlib.cbook import normalize_kwargs

    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"{name}={given!r} must be a dict, or None.")
    given = normalize_kwargs(dict(given or {}), artist)
    if "c" in given:  # of a scatter: one colour, or one for each point
        defaults.pop("color", None)
    return {**defaults, **given}


def plain(text: Any) -> str:
    """Return a text that matplotlib does not take for mathematics."""
    return str(text).replace("$", r"\$")


def short(name: Any) -> str:
    """Return the name of a column or a class, as far as there is room for it."""
    name = str(name)
    return plain(name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}...")


def legend_beside(ax: Any, **style: Any) -> Any:
    """Draw a legend beside the axes if the figure makes room for it, else inside."""
    if ax.figure.get_layout_engine() is not None:
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
        style = {**beside, **style}
    return ax.legend(**style)


# Samples


def as_drawn(samples: NDArray, kind: str) -> NDArray:
    """Return samples with the axes that are drawn, of shape (..., a, b[, 3]).

    Parameters
    ----------
    samples : ndarray of shape (n, *sample_shape)
        Of shape (height, width) or (channels, height, width) each if they are images,
        else (n_features,) or (n_steps, n_channels).
    kind : {"image", "line"}
    """
    if kind == "line":
        return samples[..., None] if samples.ndim == 2 else samples
    if samples.ndim == 3:
        return samples
    return samples[:, 0] if samples.shape[1] == 1 else np.moveaxis(samples, 1, -1)


def limits_of(samples: NDArray, share: float = 1.0) -> tuple[float, float]:
    """Return the ends of the middle share of all values, which are different."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [(1 - share) / 2, (1 + share) / 2]).tolist()
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def draw_sample(
    ax: Any,
    sample: NDArray,
    kind: str,
    limits: tuple[float, float],
    cell: tuple[float, float, float, float] | None = None,
    **style: Any,
) -> Any:
    """Draw one sample, as :func:`as_drawn` returns it.

    Parameters
    ----------
    ax : matplotlib Axes
    sample : ndarray
    kind : {"image", "line"}
    limits : (float, float)
        Values at the ends of the grey scale, or at the bottom and the top of the cell.
    cell : (left, right, bottom, top), optional
        Where the sample goes, in the coordinates of the axes, which then stay as they
        are. None gives it pixels, or steps and values, as coordinates.
    **style
        Of ``imshow`` or ``plot``.
    """
    low, high = limits
    if kind == "image":
        if sample.ndim == 3:  # colours
            sample = np.clip((sample - low) / (high - low), 0, 1)
            sample = np.where(np.isnan(sample), 1, sample)
        how: dict[str, Any] = {"cmap": "gray_r", "vmin": low, "vmax": high}
        how["aspect"] = "equal" if cell is None else "auto"
        if cell is None:
            return ax.imshow(sample, **{**how, **style})
        window = ax.axis()
        image = ax.imshow(sample, extent=cell, **{**how, **style})
        ax.axis(window)
        return image
    x: NDArray = np.arange(len(sample))
    y = sample
    if cell is not None:
        left, right, bottom, top = cell
        x = np.linspace(left, right, len(sample))
        y = bottom + (sample - low) / (high - low) * (top - bottom)
    return [
        ax.plot(x, channel, **{"color": f"C{i}", **style})[0]
        for i, channel in enumerate(y.T)
    ]


def name_columns(axis: Any, names: NDArray | None, n: int) -> None:
    """Name the columns of a table at an x-axis, if there is room for all names."""
    if names is None or n > MOST_NAMES:
        step = max(1, math.ceil(n / 10))
        axis.set_ticks(np.arange(0, n, step))
        return
    axis.set_ticks(np.arange(n), [short(name) for name in names], rotation=90)
