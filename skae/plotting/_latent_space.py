"""LatentSpaceDisplay: codes in the plane, and what they are meant to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from .._targets import as_column, check_same_number, checked_labels
from ._figure import axes_or_new, check_matplotlib, legend_beside, plain, short, styled
from ._given import check_components, codes_of, fit_of, last_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_DRAWS = 100_000  # of the prior
N_BINS, SMOOTHING = 80, 2.0  # of their histogram, and the deviation in bins
CONTOURS = (0.9, 0.5)  # shares of the prior that are inside
# Shares of the highest density: where the axes may end, and from where on it is flat.
NEARLY_NONE, FLAT = 0.03, 0.9
LEGEND_SIZE = 25  # of a point, in the legend
# Numbers of classes for which there is a list of colours, and of ticks beyond.
PALETTES, MOST_TICKS = {10: "tab10", 20: "tab20"}, 10


class LatentSpaceDisplay:
    """Two codes of each row, coloured by a target, and density contours of the prior.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    codes : array-like of shape (n_samples, 2) or (n_samples, 1)
        What is drawn of each row. One code is drawn at random heights.
    y : array-like of shape (n_samples,), default=None
        Colours the rows: classes, as texts, booleans or at most 20 different whole
        numbers, or else numbers.
    prior_codes : array-like of shape (n_draws, 2) or (n_draws, 1), default=None
        Draws of the distribution that codes are meant to follow, in the same units.
    components : tuple of int, default=(0, 1)
        Which codes these are, for the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the codes.
    figure_ : matplotlib Figure
        Figure that they are in.
    scatter_ : list of matplotlib PathCollection
        The rows: those of each class, or all.
    contour_ : matplotlib ContourSet, Line2D or None
        The prior: lines of equal density around a half and nine tenths of it, or the
        density of one code.
    legend_ : matplotlib Legend or None
        Of the classes and the prior.
    colorbar_ : matplotlib Colorbar or None
        Of a `y` of numbers, or of more than 20 classes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skae import VAE
    >>> from skae.plotting import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = VAE(2, max_iter=20, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(model, X, y)
    >>> display.codes.shape, display.prior_codes.shape
    ((150, 2), (100000, 2))
    >>> [points.get_label() for points in display.scatter_]
    ['0', '1', '2']
    >>> plt.close(display.figure_)
    """

    ax_: Axes
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        codes: ArrayLike,
        y: ArrayLike | None = None,
        prior_codes: ArrayLike | None = None,
        components: tuple[int, ...] = (0, 1),
    ) -> None:
        self.codes = np.asarray(codes)
        self.y = y
        self.prior_codes = None if prior_codes is None else np.asarray(prior_codes)
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        components: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        scatter_kwargs: dict[str, Any] | None = None,
        contour_kwargs: dict[str, Any] | None = None,
    ) -> LatentSpaceDisplay:
        """Draw codes of rows.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with ``transform``: any of skae but an imputer (of two views, the
            codes of the first one are drawn), :class:`~sklearn.decomposition.PCA` and
            the like, or a :class:`~sklearn.pipeline.Pipeline` that ends in one.
        X : array-like of shape (n_samples, n_features)
            Rows, images, series or texts that ``transform`` takes.
        y : array-like of shape (n_samples,), default=None
            Colours the rows: classes, as texts, booleans or at most 20 different whole
            numbers, or else numbers.
        components : tuple of int, default=None
            Which codes to draw: two, or one. None draws the first two, or the only one.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        scatter_kwargs, contour_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        LatentSpaceDisplay
            With 100,000 draws of the prior of `VAE` and `AdversarialAutoencoder`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it has no ``transform`` or no codes, if `components` are no codes, or if
            `y` has another number of rows than `X`, or a missing value.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        codes = codes_of(cls.__name__, estimator, X)
        chosen = check_components(components, codes.shape[1])
        prior = draws_of_prior(estimator)
        display = cls(
            codes=codes[:, chosen],
            y=y,
            prior_codes=None if prior is None else prior[:, chosen],
            components=chosen,
        )
        style = {"scatter_kwargs": scatter_kwargs, "contour_kwargs": contour_kwargs}
        return display.plot(ax, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        scatter_kwargs: dict[str, Any] | None = None,
        contour_kwargs: dict[str, Any] | None = None,
    ) -> LatentSpaceDisplay:
        """Draw the codes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        scatter_kwargs : dict, default=None
            Style of the rows, of ``matplotlib.pyplot.scatter``.
        contour_kwargs : dict, default=None
            Style of the prior, of ``matplotlib.pyplot.contour``, or ``plot`` for one
            code.

        Returns
        -------
        LatentSpaceDisplay

        Raises
        ------
        ValueError
            If `y` has another number of rows than `codes`, or a missing value.
        """
        target = None if self.y is None else _checked_target(self.y, len(self.codes))
        self.ax_ = ax = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_ = ax.figure
        self.contour_: Any = None
        self.legend_: Any = None
        self.colorbar_: Any = None
        if self.prior_codes is not None:
            self._draw_prior(ax, contour_kwargs)
        self.scatter_ = self._draw_codes(ax, target, scatter_kwargs)
        ax.set_xlabel(f"code {self.components[0]}")
        if self.codes.shape[1] == 1:
            ax.set(ylabel="random height", yticks=[])
        else:
            ax.set_ylabel(f"code {self.components[1]}")
        if ax.get_legend_handles_labels()[0]:
            title = getattr(self.y, "name", None) if len(self.scatter_) > 1 else None
            title = None if title is None else plain(title)
            scale = np.sqrt(LEGEND_SIZE / self.scatter_[0].get_sizes()[0])
            self.legend_ = legend_beside(ax, title=title, markerscale=scale)
        return self

    def _draw_codes(
        self, ax: Any, y: NDArray | None, scatter_kwargs: dict[str, Any] | None
    ) -> list[Any]:
        """Draw the rows: those of each class, or all with a colour bar."""
        import matplotlib as mpl
        from matplotlib.collections import PathCollection

        size = float(np.clip(9000 / max(len(self.codes), 1), 6, 25))
        style = styled(
            "scatter_kwargs", scatter_kwargs, PathCollection, s=size, alpha=0.8
        )
        if "marker" not in style:  # of lines some are made
            style.setdefault("linewidth", 0)
        heights = np.random.default_rng(0).uniform(size=len(self.codes))
        flat = self.codes.shape[1] == 1
        points = [self.codes[:, 0], heights if flat else self.codes[:, 1]]
        if y is None or {"c", "color"} & set(style):
            return [ax.scatter(*points, **style)]
        if not _are_classes(y):
            scatter = ax.scatter(*points, c=y.astype(float), **style)
            self.colorbar_ = self._draw_colorbar(scatter)
            return [scatter]
        values, which = np.unique(checked_labels(y), return_inverse=True)
        most = next((most for most in PALETTES if len(values) <= most), None)
        if most is None:
            scatter = ax.scatter(*points, c=which, **{"cmap": "turbo", **style})
            self.colorbar_ = bar = self._draw_colorbar(scatter)
            some = np.linspace(0, len(values) - 1, MOST_TICKS).round().astype(int)
            bar.set_ticks(some, labels=[short(values[i]) for i in some])
            return [scatter]
        colours = mpl.colormaps[PALETTES[most]](np.arange(most))
        style.pop("cmap", None)
        parts = []
        for i, value in enumerate(values):
            part = [p[which == i] for p in points]
            name = f"{value:.15g}" if isinstance(value, float) else value
            own = {"color": [colours[i]], "label": short(name), **style}
            parts.append(ax.scatter(*part, **own))
        return parts

    def _draw_colorbar(self, scatter: Any) -> Any:
        name = getattr(self.y, "name", None)
        label = "" if name is None else plain(name)
        bar = self.figure_.colorbar(scatter, ax=self.ax_, label=label)
        bar.solids.set_alpha(1)
        return bar

    def _draw_prior(self, ax: Any, contour_kwargs: dict[str, Any] | None) -> None:
        """Draw lines around shares of the prior, or the density of one code."""
        from matplotlib.lines import Line2D

        codes = self.prior_codes
        assert codes is not None
        if not (np.ptp(codes, axis=0) > 0).all():  # a code that says nothing
            return
        density, centres = density_of(codes)
        if codes.shape[1] == 1:
            black = {"color": "0.3", "linewidth": 1, "label": "density of the prior"}
            style = styled("contour_kwargs", contour_kwargs, Line2D, **black)
            (self.contour_,) = ax.plot(centres[0], density / density.max(), **style)
            return
        style = styled("contour_kwargs", contour_kwargs, Line2D)
        if not {"colors", "cmap"} & set(style):
            style["colors"] = "0.3"
        style = {"linewidths": 1.2, "zorder": 1.5, **style}
        around = {share: _level_around(density, share) for share in CONTOURS}
        if around[CONTOURS[1]] > FLAT * density.max():  # no half is the densest one
            del around[CONTOURS[1]]
        levels = list(around.values())
        self.contour_ = ax.contour(*centres, density.T, levels=levels, **style)
        colour = self.contour_.legend_elements()[0][-1].get_color()
        label = "prior: " + " and ".join(f"{share:.0%}" for share in around)
        ax.plot([], [], color=colour, linewidth=1.2, label=label)


def draws_of_prior(estimator: Any) -> NDArray | None:
    """Return draws of the prior of codes, in public units; None if there is none."""
    last = last_step(estimator)
    if not hasattr(last, "_draw_codes"):
        return None
    unit = fit_of(last).deviation(np.dtype(np.float64))
    return last._draw_codes(N_DRAWS, RandomState(0)) / unit


def density_of(codes: NDArray) -> tuple[NDArray, list[NDArray]]:
    """Return the density of draws in bins, up to a factor, and the bins' centres."""
    low, high = np.quantile(codes, [0.001, 0.999], axis=0)
    margin = 0.25 * (high - low)
    ranges = list(zip(low - margin, high + margin, strict=True))
    mass, edges = np.histogramdd(codes, bins=N_BINS, range=ranges)
    density = gaussian_filter(mass, SMOOTHING)
    centres = [(e[:-1] + e[1:]) / 2 for e in edges]
    seen = np.argwhere(density > NEARLY_NONE * density.max())
    parts = [slice(a, b + 1) for a, b in zip(seen.min(0), seen.max(0), strict=True)]
    return density[tuple(parts)], [c[p] for c, p in zip(centres, parts, strict=True)]


def _level_around(density: NDArray, share: float) -> float:
    """Return the density at the border of the smallest region of this share."""
    descending = np.sort(density, axis=None)[::-1]
    inside = int(np.searchsorted(descending.cumsum() / descending.sum(), share))
    return float(descending[min(inside, len(descending) - 1)])


def _checked_target(y: ArrayLike, n_rows: int) -> NDArray:
    """Return a target of so many rows, without missing or infinite values."""
    column = as_column(y, may_be_labels=True)
    if column is None:
        raise ValueError(
            f"y must have one axis, and has shape {np.shape(y)}: give one label or "
            "number for each row."
        )
    check_same_number(column, n_rows)
    is_infinite = np.isinf(column) if column.dtype.kind == "f" else np.zeros(0, bool)
    if is_infinite.any():
        row = int(is_infinite.argmax())
        raise ValueError(
            f"Input y contains infinity: row {row} has {column[row]}, which has no "
            "colour. Drop such rows."
        )
    return checked_labels(column)


def _are_classes(y: NDArray) -> bool:
    if y.dtype.kind not in "iuf":
        return True
    few = len(np.unique(y)) <= max(PALETTES)
    return few and not np.any(y % 1)
