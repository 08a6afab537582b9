"""ReconstructionDisplay: rows over what comes back of them."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_scalar

from ._figure import (
    as_drawn,
    check_matplotlib,
    draw_sample,
    grid_of_axes,
    limits_of,
    name_columns,
    styled,
)
from ._given import (
    check_draws_rows,
    check_estimator,
    codes_of,
    hides_padding,
    in_shape,
    kind_of,
    name_of,
    samples_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 8  # with names, under a sample


class ReconstructionDisplay:
    """Rows, and under each what its codes stand for: images, series, or plain rows.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    inputs : array-like of shape (n_samples, ...)
        Rows: images of shape (height, width) or (channels, height, width), series of
        shape (n_steps, n_channels), or plain ones of shape (n_features,). NaN is left
        blank.
    reconstructions : array-like of shape (n_samples, ...)
        What came back.
    kind : {"image", "line"}, default="line"
        Whether rows are drawn as images, or as lines over their steps or columns.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the columns of plain rows.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (2, n_samples)
        One for each row, and for each reconstruction; a line has its row in grey
        behind it.
    figure_ : matplotlib Figure
        Figure that they are in.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ReconstructionDisplay
    >>> X = load_digits().data[:500]
    >>> model = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(
    ...     model, X, n_samples=5, image_shape=(8, 8)
    ... )
    >>> display.reconstructions.shape, display.axes_.shape
    ((5, 8, 8), (2, 5))
    >>> plt.close(display.figure_)
    """

    axes_: NDArray[Any]
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        inputs: ArrayLike,
        reconstructions: ArrayLike,
        kind: str = "line",
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.inputs = np.asarray(inputs)
        self.reconstructions = np.asarray(reconstructions)
        self.kind = kind
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 8,
        image_shape: tuple[int, ...] | None = None,
        kind: str = "auto",
        ax: Axes | None = None,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ReconstructionDisplay:
        """Draw the first rows of a table, and what comes back of them.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with ``transform`` and ``inverse_transform`` to rows of numbers: an
            autoencoder or `RBM` of skae, :class:`~sklearn.decomposition.PCA` and the
            like, or a :class:`~sklearn.pipeline.Pipeline` of such steps.
        X : array-like of shape (n_samples, n_features)
            Rows, or images or series of the shape that ``fit`` saw. Cells that are
            missing, where the estimator takes them, are blank in the row and completed
            under it.
        n_samples : int, default=8
            How many rows to draw, the first ones.
        image_shape : tuple of int, default=None
            ``(height, width)`` or ``(channels, height, width)`` of images that are
            given as flat rows.
        kind : {"auto", "image", "line"}, default="auto"
            "auto" draws samples of two or three axes as images, but for series: those
            of an architecture for series, or of at most 4 channels.
        ax : matplotlib Axes, default=None
            Where to draw; it is divided. None makes a new figure.
        im_kwargs, line_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        ReconstructionDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it does not return rows of numbers, or if rows are no images of
            `image_shape`.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_estimator(cls.__name__, estimator, "transform", "inverse_transform")
        check_draws_rows(cls.__name__, estimator)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        n = min(int(n_samples), X.shape[0] if hasattr(X, "shape") else len(X))
        X = _safe_indexing(X, np.arange(n))
        inputs = samples_of(estimator, X, image_shape)
        codes = codes_of(cls.__name__, estimator, X)
        rebuilt = np.asarray(estimator.inverse_transform(codes), dtype=np.float64)
        rebuilt = in_shape(rebuilt, image_shape)
        if inputs.shape != rebuilt.shape:
            raise ValueError(
                f"{cls.__name__} needs an estimator that gives rows back: "
                f"{name_of(estimator)} returned samples of shape {rebuilt.shape[1:]} "
                f"for those of shape {inputs.shape[1:]}."
            )
        if hides_padding(estimator):
            rebuilt = np.where(np.isnan(inputs), np.nan, rebuilt)
        display = cls(
            inputs=inputs,
            reconstructions=rebuilt,
            kind=kind_of(estimator, inputs, kind, image_shape),
            feature_names=getattr(estimator, "feature_names_in_", None),
        )
        return display.plot(ax, im_kwargs=im_kwargs, line_kwargs=line_kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        im_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ReconstructionDisplay:
        """Draw the rows over their reconstructions, all on one scale.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; it is divided. None makes a new figure.
        im_kwargs : dict, default=None
            Style of images, of ``matplotlib.pyplot.imshow``.
        line_kwargs : dict, default=None
            Style of lines, of ``matplotlib.pyplot.plot``.

        Returns
        -------
        ReconstructionDisplay
        """
        given = as_drawn(self.inputs, self.kind), "input"
        rebuilt = as_drawn(self.reconstructions, self.kind), "reconstruction"
        n, is_image = len(self.inputs), self.kind == "image"
        size = (1 + 1.0 * n, 2.6) if is_image else (1.2 + 1.6 * n, 3.6)
        self.axes_ = grid_of_axes(ax, f"{type(self).__name__}.plot", (2, n), size)
        self.figure_ = self.axes_[0, 0].figure
        style = self._style(im_kwargs, line_kwargs)
        # Values of all lines, but the grey scale of the inputs.
        scale = given[0] if is_image else np.stack([given[0], rebuilt[0]])
        limits = limits_of(scale)
        margin = 0.05 * (limits[1] - limits[0])
        for axes, (samples, name) in zip(self.axes_, (given, rebuilt), strict=True):
            for panel, sample, behind in zip(axes, samples, given[0], strict=True):
                panel.tick_params(labelbottom=False, labelleft=False, labelsize="small")
                if is_image:
                    anchor = "S" if samples is given[0] else "N"
                    panel.set(xticks=[], yticks=[], anchor=anchor)
                else:
                    panel.set_ylim(limits[0] - margin, limits[1] + margin)
                    if samples is not given[0]:
                        draw_sample(panel, behind, "line", limits, color="0.75")
                draw_sample(panel, sample, self.kind, limits, **style)
            flat = {"rotation": 0, "ha": "right", "va": "center"} if is_image else {}
            axes[0].set_ylabel(name, **flat)
            axes[0].tick_params(labelleft=not is_image)
        if not is_image:
            self._name_columns()
        return self

    def _style(self, im_kwargs: Any, line_kwargs: Any) -> dict[str, Any]:
        from matplotlib.image import AxesImage
        from matplotlib.lines import Line2D

        if self.kind == "image":
            return styled("im_kwargs", im_kwargs, AxesImage)
        few = self.inputs.ndim == 2 and self.inputs.shape[1] <= MOST_TICKS
        marker = {"marker": "o", "markersize": 3} if few else {}
        return styled("line_kwargs", line_kwargs, Line2D, linewidth=1.2, **marker)

    def _name_columns(self) -> None:
        """Tell the columns of plain rows, and the steps of series, under the axes."""
        n, names = self.inputs.shape[1], self.feature_names
        is_table = self.inputs.ndim == 2
        named = names is not None and is_table and n <= MOST_TICKS
        for panel in self.axes_.ravel():
            if named:
                name_columns(panel.xaxis, np.asarray(names), n)
            else:
                panel.xaxis.get_major_locator().set_params(integer=True, nbins=3)
        for panel in self.axes_[1, : 1 if named else None]:
            panel.tick_params(labelbottom=True)
        if not named:
            self.axes_[1, 0].set_xlabel("column" if is_table else "step")
