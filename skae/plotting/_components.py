"""ComponentsDisplay: the share of the variance that each code explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._base import BaseAutoencoder
from ._figure import axes_or_new, check_matplotlib, plain, styled
from ._given import check_draws_rows, check_estimator, last_step, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_CODES = 5  # for which there is room, however few there are


class ComponentsDisplay:
    """The share of the variance that each code explains, beside that of the start.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    explained_variance_ratio : array-like of shape (n_components,)
        Share of the variance of the training rows that each code explains.
    start_ratio : array-like of shape (n_axes,), default=None
        The same of the codes of the start.
    name : str, default="codes"
        What the codes are those of.
    start_name : str, default="PCA"
        What the start is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the shares.
    figure_ : matplotlib Figure
        Figure that they are in.
    bars_ : matplotlib BarContainer
        The shares of the codes.
    line_ : matplotlib Line2D or None
        Those of the start.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ComponentsDisplay
    >>> X = load_digits().data[:500]
    >>> model = AutoencoderTransformer(4, max_iter=20, random_state=0).fit(X)
    >>> display = ComponentsDisplay.from_estimator(model)
    >>> pca = PCA(4).fit(X).explained_variance_ratio_
    >>> bool(abs(display.start_ratio - pca).max() < 1e-6)
    True
    >>> bool(display.explained_variance_ratio.sum() > pca.sum())
    True
    >>> plt.close(display.figure_)
    """

    ax_: Axes
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        explained_variance_ratio: ArrayLike,
        start_ratio: ArrayLike | None = None,
        name: str = "codes",
        start_name: str = "PCA",
    ) -> None:
        self.explained_variance_ratio = np.asarray(explained_variance_ratio)
        self.start_ratio = None if start_ratio is None else np.asarray(start_ratio)
        self.name = name
        self.start_name = start_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        bar_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ComponentsDisplay:
        """Draw the shares of the codes of an estimator, which needs no rows.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `explained_variance_ratio_`: an autoencoder of skae, whose
            start is drawn beside it, :class:`~sklearn.decomposition.PCA`, or a
            :class:`~sklearn.pipeline.Pipeline` that ends in one.
        name : str, default=None
            For the legend; None takes the name of the estimator's class.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        bar_kwargs, line_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        ComponentsDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If its codes are not sorted by variance: estimators of two views, texts,
            and machines.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        last = last_step(estimator)
        check_estimator(cls.__name__, estimator)
        check_estimator(cls.__name__, last, "explained_variance_ratio_")
        check_draws_rows(cls.__name__, last)  # whose shares are those of the start
        start = last._fit.start if isinstance(last, BaseAutoencoder) else None
        display = cls(
            explained_variance_ratio=last.explained_variance_ratio_,
            start_ratio=None if start is None else start.explained_variance_ratio,
            name=name_of(last) if name is None else name,
            start_name="PCA" if start is None or not start.is_fallback else start.name,
        )
        return display.plot(ax, bar_kwargs=bar_kwargs, line_kwargs=line_kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        bar_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> ComponentsDisplay:
        """Draw the shares, with their sums in the legend.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        bar_kwargs : dict, default=None
            Style of the codes, of ``matplotlib.pyplot.bar``.
        line_kwargs : dict, default=None
            Style of the start, of ``matplotlib.pyplot.plot``.

        Returns
        -------
        ComponentsDisplay
        """
        self.ax_ = ax = axes_or_new(ax, f"{type(self).__name__}.plot")
        from matplotlib.lines import Line2D
        from matplotlib.patches import Rectangle

        self.figure_ = ax.figure
        ratio, start = self.explained_variance_ratio, self.start_ratio
        label = _summed(self.name, ratio)
        style = styled("bar_kwargs", bar_kwargs, Rectangle, label=label, alpha=0.7)
        self.bars_ = ax.bar(np.arange(len(ratio)), ratio, **style)
        self.line_ = None
        if start is not None:
            black = {"color": "black", "marker": "o", "markersize": 4, "linewidth": 1}
            black["label"] = _summed(self.start_name, start)
            style = styled("line_kwargs", line_kwargs, Line2D, **black)
            self.line_ = ax.plot(np.arange(len(start)), start, **style)[0]
        ax.set(xlabel="code", ylabel="explained share of the variance")
        n = len(ratio) if start is None else max(len(ratio), len(start))
        beside = 0.75 + max(0, FEW_CODES - n) / 2
        ax.set_xlim(-beside, n - 1 + beside)
        ax.set_xticks(np.arange(0, n, max(1, round(n / 10))))
        ax.margins(y=0.3)
        ax.legend(loc="upper right")
        return self


def _summed(name: str, ratio: Any) -> str:
    return f"{plain(name)}: {ratio.sum():.3f} in all"
