"""AnomalyDisplay: which rows are anomalies, and where."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_scalar

from ._figure import (
    as_drawn,
    check_matplotlib,
    draw_sample,
    grid_of_axes,
    limits_of,
    name_columns,
    short,
    styled,
)
from ._given import check_estimator, in_shape, kind_of, last_step, samples_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Bars, and how many times as far from the median as the offset the first one is.
N_BINS, FURTHEST = 50, 10.0
MOST_VALUES = 8  # columns up to which values stand in the cells


class AnomalyDisplay:
    """Scores of rows, the most anomalous ones, and what their features contribute.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    scores : array-like of shape (n_rows,)
        Score of each row: lower is more anomalous.
    offset : float
        Score below which rows are anomalies.
    indices : array-like of int of shape (n_samples,)
        The most anomalous rows, the most anomalous one first.
    samples : array-like of shape (n_samples, ...)
        These rows.
    contributions : array-like of shape (n_samples, ...)
        Squared error of each of their features.
    kind : {"image", "line", "table"}, default="table"
        Whether rows are drawn as images, as lines over their steps, or as a table of
        rows and columns, with their values if there are few columns.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the columns of a table.
    sample_names : array-like of shape (n_samples,), default=None
        What the most anomalous rows are called; None has their `indices`.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (2,)
        The histogram of the scores, and the most anomalous rows.
    figure_ : matplotlib Figure
        Figure that they are in.
    histogram_ : matplotlib BarContainer
        The bars of the histogram; those of anomalies are red.
    offset_line_ : matplotlib Line2D
        Where `offset` is.

    Notes
    -----
    The contributions of a row are drawn as shares of its squared error. They tell where
    the reconstruction fails; the score also says how unusual the codes are.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import AnomalyDisplay
    >>> X = load_iris(as_frame=True).data
    >>> X.loc[7, "petal length (cm)"] = 14.0  # a decimal point that has moved
    >>> model = AutoencoderTransformer(1, max_iter=20, random_state=0).fit(X)
    >>> display = AnomalyDisplay.from_estimator(model, X, n_samples=3)
    >>> int(display.indices[0])
    7
    >>> plt.close(display.figure_)
    """

    axes_: NDArray[Any]
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        scores: ArrayLike,
        offset: float,
        indices: ArrayLike,
        samples: ArrayLike,
        contributions: ArrayLike,
        kind: str = "table",
        feature_names: ArrayLike | None = None,
        sample_names: ArrayLike | None = None,
    ) -> None:
        self.scores = np.asarray(scores)
        self.offset = offset
        self.indices = np.asarray(indices)
        self.samples = np.asarray(samples)
        self.contributions = np.asarray(contributions)
        self.kind = kind
        self.feature_names = feature_names
        self.sample_names = sample_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 6,
        image_shape: tuple[int, ...] | None = None,
        kind: str = "auto",
        ax: Axes | None = None,
        hist_kwargs: dict[str, Any] | None = None,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> AnomalyDisplay:
        """Draw scores of rows, and the most anomalous ones.

        Parameters
        ----------
        estimator : estimator instance
            A fitted autoencoder of skae of one view, or a
            :class:`~sklearn.pipeline.Pipeline` that ends in one, whose rows then are
            those that the last step gets.
        X : array-like of shape (n_rows, n_features)
            Rows, or images or series of the shape that ``fit`` saw. Those of a pandas
            frame have the names that its index has.
        n_samples : int, default=6
            How many of the most anomalous rows to draw.
        image_shape : tuple of int, default=None
            ``(height, width)`` or ``(channels, height, width)`` of images that are
            given as flat rows.
        kind : {"auto", "image", "line", "table"}, default="auto"
            "auto" draws plain rows as a table, and samples of two or three axes as
            images, but for series: those of an architecture for series, or of at most
            4 channels.
        ax : matplotlib Axes, default=None
            Where to draw; it is divided. None makes a new figure.
        hist_kwargs, im_kwargs, line_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        AnomalyDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it does not tell anomalies and the errors of features, or if rows are no
            images of `image_shape`.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_estimator(cls.__name__, estimator)
        last = last_step(estimator)
        check_estimator(
            cls.__name__, last, "score_samples", "offset_", "reconstruction_error"
        )
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        names = getattr(last, "feature_names_in_", None)
        index = X.index if hasattr(X, "iloc") else None
        if isinstance(estimator, Pipeline) and len(estimator) > 1:
            before = estimator[:-1]
            X = before.transform(X)
            if names is None and hasattr(before, "get_feature_names_out"):
                names = before.get_feature_names_out()
        scores = last.score_samples(X)
        is_counted = index is None or np.array_equal(index, np.arange(len(scores)))
        indices = np.argsort(scores, kind="stable")[: int(n_samples)]
        rows = _safe_indexing(X, indices)
        samples = samples_of(last, rows, image_shape)
        errors = last.reconstruction_error(rows, per_feature=True)
        display = cls(
            scores=scores,
            offset=last.offset_,
            indices=indices,
            samples=samples,
            contributions=in_shape(errors, image_shape),
            kind=_kind_of(last, samples, kind, image_shape),
            feature_names=names,
            sample_names=None if is_counted else index[indices],  # type: ignore[index]
        )
        style = {"im_kwargs": im_kwargs, "line_kwargs": line_kwargs}
        return display.plot(ax, hist_kwargs=hist_kwargs, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        hist_kwargs: dict[str, Any] | None = None,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> AnomalyDisplay:
        """Draw the histogram beside the rows; the number of rows is on a log scale.

        Scores that are more than ten times as far below the offset as the median is
        above it are counted in the first bar, which says so.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; it is divided. None makes a new figure.
        hist_kwargs : dict, default=None
            Style of the histogram, of ``matplotlib.pyplot.hist``.
        im_kwargs : dict, default=None
            Style of images and tables, of ``matplotlib.pyplot.imshow``.
        line_kwargs : dict, default=None
            Style of lines, of ``matplotlib.pyplot.plot``.

        Returns
        -------
        AnomalyDisplay
        """
        n = len(self.samples)
        is_table = self.kind == "table"
        width, height = (5.8, 3.6) if is_table else (max(1.1 * n, 3), 3.2)
        self.axes_ = grid_of_axes(
            ax,
            f"{type(self).__name__}.plot",
            (1, 2),
            (4 + width, height),
            width_ratios=[4, width],
        )[0]
        self.figure_ = self.axes_[0].figure
        self._draw_scores(self.axes_[0], hist_kwargs)
        if is_table:
            self._draw_table(self.axes_[1], im_kwargs)
        else:
            self._draw_samples(self.axes_[1], im_kwargs, line_kwargs)
        return self

    def _draw_scores(self, ax: Any, hist_kwargs: dict[str, Any] | None) -> None:
        from matplotlib.patches import Rectangle
        from matplotlib.ticker import NullFormatter, StrMethodFormatter

        style = {"bins": N_BINS, "log": True, "color": "C0"}
        style = styled("hist_kwargs", hist_kwargs, Rectangle, **style)
        lowest = self.scores.min()
        furthest = self.offset - FURTHEST * (np.median(self.scores) - self.offset)
        end = max(lowest, min(furthest, self.offset))
        _, edges, self.histogram_ = ax.hist(np.maximum(self.scores, end), **style)
        for bar, right in zip(self.histogram_, edges[1:], strict=True):
            if right <= self.offset:
                bar.set_facecolor("C3")
        below = int((self.scores < self.offset).sum())
        grey = {"color": "0.35", "linestyle": "--", "linewidth": 1}
        self.offset_line_ = ax.axvline(self.offset, **grey)
        ax.set(xlabel="score_samples", ylabel="number of rows")
        title = f"{below} of {len(self.scores)} rows below\noffset_ = {self.offset:.4g}"
        if lowest < end:
            title = f"first bar: down to {lowest:.4g}\n{title}"
        ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.set_title(title, loc="left", fontsize="small")
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())

    def _draw_table(self, ax: Any, im_kwargs: dict[str, Any] | None) -> None:
        from matplotlib.image import AxesImage

        shares = _shares(self.contributions)
        n, d = shares.shape
        most = max(float(np.nanmax(shares, initial=0.0)), 1e-12)
        style = {"cmap": "Reds", "vmin": 0, "vmax": most, "aspect": "auto"}
        image = ax.imshow(shares, **styled("im_kwargs", im_kwargs, AxesImage, **style))
        if d <= MOST_VALUES:
            for i, j in np.ndindex(n, d):
                colour = "white" if shares[i, j] > 0.6 * most else "black"
                how = {"ha": "center", "va": "center", "fontsize": "small"}
                ax.text(j, i, f"{self.samples[i, j]:.3g}", color=colour, **how)
        rows = [f"row {i}" for i in self.indices]
        ax.set_yticks(np.arange(n), self._named(rows))
        names = None if self.feature_names is None else np.asarray(self.feature_names)
        name_columns(ax.xaxis, names, d)
        if names is None or len(ax.get_xticks()) != d:
            ax.set_xlabel("column")
        label = "share of the row's\nsquared error"
        self.figure_.colorbar(image, ax=ax, label=label)

    def _draw_samples(self, ax: Any, im_kwargs: Any, line_kwargs: Any) -> None:
        """Draw rows over their contributions, in cells of an own scale each."""
        from matplotlib.image import AxesImage
        from matplotlib.lines import Line2D

        rows, errors = (
            as_drawn(part, self.kind) for part in (self.samples, self.contributions)
        )
        if errors.ndim == 4:  # all colours of a pixel together
            errors = errors.sum(-1)
        n, is_image = len(rows), self.kind == "image"
        style = styled("im_kwargs", im_kwargs, AxesImage)
        error_style: dict[str, Any] = {**style, "cmap": "Reds"}
        if not is_image:
            style = styled("line_kwargs", line_kwargs, Line2D, linewidth=1.2)
            error_style = style if rows.shape[2] > 1 else {**style, "color": "C3"}
        height = rows.shape[1] / rows.shape[2] if is_image else 1.0
        ax.set(xlim=(0, n), ylim=(-height, height))
        limits = limits_of(rows)
        for i, (row, error) in enumerate(zip(rows, errors, strict=True)):
            across = i + 0.03, i + 0.97
            above = (*across, 0.03 * height, 0.97 * height)
            below = (*across, -0.97 * height, -0.03 * height)
            draw_sample(ax, row, self.kind, limits, above, **style)
            most = 0.0, limits_of(error)[1]
            draw_sample(ax, error, self.kind, most, below, **error_style)
        ax.set_aspect("equal")
        ax.set_xticks(np.arange(n) + 0.5, self._named(list(map(str, self.indices))))
        ax.set_yticks([height / 2, -height / 2], ["values", "squared\nerror"])
        ax.tick_params(length=0, labelsize="small")
        ax.set_xlabel("row")
        ax.spines[:].set_visible(False)

    def _named(self, rows: list[str]) -> list[str]:
        """Return what the drawn rows are called, `rows` if they have no names."""
        if self.sample_names is None:
            return rows
        return [short(name) for name in np.asarray(self.sample_names, dtype=object)]


def _kind_of(estimator: Any, samples: NDArray, kind: str, image_shape: Any) -> str:
    """Return how rows are drawn; plain ones are a table, unless asked otherwise."""
    is_plain = samples.ndim == 2
    if kind == "table" and not is_plain:
        raise ValueError(
            f"kind='table' needs samples of shape (n_features,), and these have "
            f"{samples.shape[1:]}: use 'auto', 'image' or 'line'."
        )
    if kind == "table" or (kind == "auto" and is_plain):
        return "table"
    if kind not in ("auto", "image", "line"):
        raise ValueError(f"kind={kind!r} must be 'auto', 'image', 'line' or 'table'.")
    return kind_of(estimator, samples, kind, image_shape)


def _shares(contributions: NDArray) -> NDArray:
    """Return the share of each feature in the error of its row, NaN if missing."""
    total = np.nansum(contributions, axis=1, keepdims=True)
    return np.divide(
        contributions, total, out=np.zeros_like(contributions), where=total > 0
    )
