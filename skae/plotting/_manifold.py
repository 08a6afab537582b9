"""ManifoldDisplay: what the codes of a grid stand for."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from sklearn.utils import check_scalar

from ._figure import (
    as_drawn,
    axes_or_new,
    check_matplotlib,
    draw_sample,
    limits_of,
    styled,
)
from ._given import (
    check_components,
    check_draws_rows,
    check_estimator,
    code_spread,
    codes_of,
    in_shape,
    kind_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_SHARE = 0.94  # of its cell, that a sample fills
MIDDLE = 0.96  # share of the values of images for which there are greys


class ManifoldDisplay:
    """What the codes of a grid stand for: images or series, each at its own code.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    samples : array-like of shape (n_rows, n_columns, ...)
        The decoded grid, the second code along the first axis; one code has one row.
    grid_values : list of array-like
        The values of each code: of shapes (n_columns,) and (n_rows,), or of one code
        the first of these.
    kind : {"image", "line"}, default="image"
        Whether samples are drawn as images or as lines.
    components : tuple of int, default=(0, 1)
        Which codes these are, for the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid, in units of the codes.
    figure_ : matplotlib Figure
        Figure that it is in.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ManifoldDisplay
    >>> X = load_digits().images[:500]
    >>> model = AutoencoderTransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = ManifoldDisplay.from_estimator(model, grid_resolution=6)
    >>> display.samples.shape
    (6, 6, 8, 8)
    >>> plt.close(display.figure_)
    """

    ax_: Axes
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        samples: ArrayLike,
        grid_values: list[Any],
        kind: str = "image",
        components: tuple[int, ...] = (0, 1),
    ) -> None:
        self.samples = np.asarray(samples)
        self.grid_values = grid_values
        self.kind = kind
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        components: tuple[int, ...] | None = None,
        grid_resolution: int = 12,
        percentiles: tuple[float, float] = (0.05, 0.95),
        image_shape: tuple[int, ...] | None = None,
        kind: str = "auto",
        ax: Axes | None = None,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ManifoldDisplay:
        """Draw what the codes of a grid stand for.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with ``inverse_transform`` to rows of numbers: an autoencoder or
            `RBM` of skae, :class:`~sklearn.decomposition.PCA` and the like, or a
            :class:`~sklearn.pipeline.Pipeline` of such steps.
        X : array-like of shape (n_samples, n_features), default=None
            Rows whose codes the grid spans. None takes the mean and the deviation of
            the codes over the training rows, `explained_variance_`, as those of normal
            distributions.
        components : tuple of int, default=None
            Which codes vary: two, or one. None takes the first two, or the only one.
            Others stay at their mean.
        grid_resolution : int, default=12
            Values of each code.
        percentiles : tuple of float, default=(0.05, 0.95)
            Shares of the codes below the first and the last value.
        image_shape : tuple of int, default=None
            ``(height, width)`` or ``(channels, height, width)`` of images that are
            fitted as flat rows.
        kind : {"auto", "image", "line"}, default="auto"
            "auto" draws samples of two or three axes as images, but for series: those
            of an architecture for series, or of at most 4 channels.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        im_kwargs, line_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        ManifoldDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it does not return rows of numbers, or needs `X`; if `components` are no
            codes, `percentiles` are not in order between 0 and 1, or rows are no images
            of `image_shape`.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_estimator(cls.__name__, estimator, "inverse_transform")
        check_draws_rows(cls.__name__, estimator)
        check_scalar(grid_resolution, "grid_resolution", Integral, min_val=2)
        shares = _checked_percentiles(percentiles)
        if X is None:
            mean, deviation = code_spread(cls.__name__, estimator)
            ends = mean + ndtri(shares)[:, None] * deviation
        else:
            codes = codes_of(cls.__name__, estimator, X)
            mean, ends = codes.mean(0), np.quantile(codes, shares, axis=0)
        chosen = check_components(components, len(mean))
        low, high = ends
        values = [np.linspace(low[j], high[j], int(grid_resolution)) for j in chosen]
        columns = np.meshgrid(*values)
        grid = np.tile(mean, (columns[0].size, 1))
        for j, column in zip(chosen, columns, strict=True):
            grid[:, j] = column.ravel()
        rows = np.asarray(estimator.inverse_transform(grid), dtype=np.float64)
        samples = in_shape(rows, image_shape)
        n_rows = len(values[1]) if len(values) > 1 else 1
        display = cls(
            samples=samples.reshape(n_rows, -1, *samples.shape[1:]),
            grid_values=values,
            kind=kind_of(estimator, samples, kind, image_shape),
            components=chosen,
        )
        return display.plot(ax, im_kwargs=im_kwargs, line_kwargs=line_kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ManifoldDisplay:
        """Draw the grid, all samples on one scale.

        The greys of images are those of the middle 96 % of all values.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        im_kwargs : dict, default=None
            Style of images, of ``matplotlib.pyplot.imshow``.
        line_kwargs : dict, default=None
            Style of lines, of ``matplotlib.pyplot.plot``.

        Returns
        -------
        ManifoldDisplay
        """
        n_rows, n_columns = self.samples.shape[:2]
        flat = self.samples.reshape(n_rows * n_columns, *self.samples.shape[2:])
        drawn = as_drawn(flat, self.kind)
        size = (6.4, 6.4) if n_rows > 1 else (9.6, 1.8)
        self.ax_ = ax = axes_or_new(ax, f"{type(self).__name__}.plot", size)
        from matplotlib.image import AxesImage
        from matplotlib.lines import Line2D

        self.figure_ = ax.figure
        is_image = self.kind == "image"
        limits = limits_of(drawn, MIDDLE if is_image else 1.0)
        if is_image:
            style = styled("im_kwargs", im_kwargs, AxesImage)
        else:
            style = styled("line_kwargs", line_kwargs, Line2D, linewidth=1)
        x = np.asarray(self.grid_values[0], dtype=float)
        y = np.asarray(self.grid_values[1] if n_rows > 1 else [0.0], dtype=float)
        width = (x[1] - x[0]) or 1.0
        height = (y[1] - y[0] if n_rows > 1 else width) or 1.0
        ax.set_xlim(x[0] - width / 2, x[-1] + width / 2)
        ax.set_ylim(y[0] - height / 2, y[-1] + height / 2)
        part = CELL_SHARE / 2
        for i in range(n_rows):
            for j in range(n_columns):
                across = x[j] - part * width, x[j] + part * width
                cell = (*across, y[i] - part * height, y[i] + part * height)
                sample = drawn[i * n_columns + j]
                draw_sample(ax, sample, self.kind, limits, cell, **style)
        # A pixel is as high as it is wide, and a cell of lines is a square.
        shape = drawn.shape[1:3] if is_image else (1, 1)
        ax.set_aspect(width / height * shape[0] / shape[1])
        ax.set_xlabel(f"code {self.components[0]}")
        if n_rows > 1:
            ax.set_ylabel(f"code {self.components[1]}")
        else:
            ax.set_yticks([])
        return self


def _checked_percentiles(percentiles: Any) -> Any:
    """Return the shares below the first and the last value of a grid."""
    try:
        shares = np.asarray(percentiles, dtype=float)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if shares.shape != (2,) or not 0 < shares[0] < shares[1] < 1:
        raise ValueError(
            f"percentiles={percentiles!r} must be two numbers, above 0 and below 1, "
            "the smaller one first."
        )
    return shares
