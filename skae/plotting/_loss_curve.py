"""LossCurveDisplay: how training went, and what it began at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._figure import axes_or_new, check_matplotlib, legend_beside, styled
from ._given import check_estimator, fit_of, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Share of the epochs, the first ones, that the axis need not have room for.
EARLY = 0.1


class LossCurveDisplay:
    """The loss of each epoch, of training rows and of held-out ones.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    train_losses : array-like of shape (n_iter,)
        Mean loss of the training rows while each epoch trained.
    validation_losses : array-like of shape (n_validated,), default=()
        Mean loss of the held-out rows.
    validation_epochs : array-like of int of shape (n_validated,), default=None
        After how many epochs each of them was taken; 0 is the start. None counts from
        the start on.
    start_loss : float, default=None
        Loss of the held-out rows at the start.
    start_name : str, default="start"
        What the start is, such as "PCA".
    best_iter : int, default=None
        Epoch that is used; 0 is the start.
    loss_name : str, default="loss"
        What the loss is, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure that they are in.
    lines_ : list of matplotlib Line2D
        The curves: of training rows and, if any were held out, of these.
    start_level_ : matplotlib Line2D or None
        The level of the start.
    best_iter_line_ : matplotlib Line2D or None
        Where the epoch is that is used.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossCurveDisplay
    >>> X = load_iris().data
    >>> model = AutoencoderTransformer(1, max_iter=20, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> display.start_name, display.loss_name
    ('PCA', '1 - R2')
    >>> bool(min(display.validation_losses) < display.start_loss)
    True
    >>> plt.close(display.figure_)
    """

    ax_: Axes
    figure_: Any  # a Figure, or a SubFigure

    def __init__(
        self,
        *,
        train_losses: ArrayLike,
        validation_losses: ArrayLike = (),
        validation_epochs: ArrayLike | None = None,
        start_loss: float | None = None,
        start_name: str = "start",
        best_iter: int | None = None,
        loss_name: str = "loss",
    ) -> None:
        self.train_losses = np.asarray(train_losses)
        self.validation_losses = np.asarray(validation_losses)
        if validation_epochs is None:
            validation_epochs = range(len(self.validation_losses))
        self.validation_epochs = np.asarray(validation_epochs, dtype=int)
        self.start_loss = start_loss
        self.start_name = start_name
        self.best_iter = best_iter
        self.loss_name = loss_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Axes | None = None,
        line_kwargs: dict[str, Any] | None = None,
        start_level_kwargs: dict[str, Any] | None = None,
        best_iter_kwargs: dict[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the training of an estimator, which needs no rows.

        Parameters
        ----------
        estimator : estimator instance
            Any fitted estimator of skae that trains a network, or a
            :class:`~sklearn.pipeline.Pipeline` that ends in one.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        line_kwargs, start_level_kwargs, best_iter_kwargs : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            With losses in public units: 1 - R2 where `validation_scores_` are R2, else
            minus these scores. After ``fit`` the held-out losses are those of
            `validation_scores_`, from epoch 0 on; after ``partial_fit`` those of each
            batch before the network has trained on it. Where folds have decided, the
            network that is used has trained as far as `best_iter_`, and the held-out
            losses are those of the networks of the folds. Of `VAE` the training losses
            are those that were minimised, with draws and the warm-up.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it trains no network, or was fitted with ``max_iter=0``.
        ImportError
            Without matplotlib.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_estimator(cls.__name__, estimator)
        fit, name = fit_of(estimator), name_of(estimator)
        if fit is None:
            raise ValueError(
                f"{cls.__name__} draws the training of a network, and {name} has "
                "no loss_curve_."
            )
        if not len(fit.net.history):
            raise ValueError(
                f"{cls.__name__} draws the training of a network, and this {name} has "
                "not trained one: its loss_curve_ is empty, as with max_iter=0."
            )
        losses, epochs, start_loss = validation_curve(fit)
        display = cls(
            train_losses=training_curve(fit),
            validation_losses=losses,
            validation_epochs=epochs,
            start_loss=start_loss,
            start_name=fit.start.name,
            best_iter=fit.best_iter,
            loss_name=fit.net.criterion_.loss_name,
        )
        return display.plot(
            ax,
            line_kwargs=line_kwargs,
            start_level_kwargs=start_level_kwargs,
            best_iter_kwargs=best_iter_kwargs,
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        line_kwargs: dict[str, Any] | None = None,
        start_level_kwargs: dict[str, Any] | None = None,
        best_iter_kwargs: dict[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the curves.

        The axis has room for the start and for all but the first tenth of the epochs,
        which may begin far above.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        line_kwargs : dict, default=None
            Style of both curves, of ``matplotlib.pyplot.plot``.
        start_level_kwargs : dict, default=None
            Style of the level of the start.
        best_iter_kwargs : dict, default=None
            Style of the line at the epoch that is used.

        Returns
        -------
        LossCurveDisplay
        """
        size = 7.2, 4.2
        self.ax_ = ax = axes_or_new(ax, f"{type(self).__name__}.plot", size)
        from matplotlib.lines import Line2D

        self.figure_ = ax.figure
        n, best = len(self.train_losses), self.best_iter
        style = styled("line_kwargs", line_kwargs, Line2D)
        marker = {"marker": "o", "markersize": 3} if n == 1 else {}
        curves = [(np.arange(1, n + 1), self.train_losses, "training rows")]
        if len(self.validation_losses):
            held_out = self.validation_epochs, self.validation_losses, "held-out rows"
            curves.append(held_out)
        self.lines_ = [
            ax.plot(x, y, **{"label": label, **marker, **style})[0]
            for x, y, label in curves
        ]
        self.start_level_ = self.best_iter_line_ = None
        grey = {"color": "0.35", "linewidth": 1}
        if self.start_loss is not None:
            label = f"{self.start_name} (epoch 0)"
            dashed = {**grey, "linestyle": "--", "label": label}
            style = styled("start_level_kwargs", start_level_kwargs, Line2D, **dashed)
            self.start_level_ = ax.axhline(self.start_loss, **style)
        if best is not None:
            label = f"epoch {best} is used" if best else "the start is used"
            dotted = {**grey, "linestyle": ":", "label": label}
            style = styled("best_iter_kwargs", best_iter_kwargs, Line2D, **dotted)
            self.best_iter_line_ = ax.axvline(best, **style)
        low, high = self._range()
        margin = 0.05 * (high - low) or 0.5
        ax.set(xlabel="epoch", ylabel=self.loss_name)
        ax.set_ylim(low - margin, high + margin)
        ax.locator_params(axis="x", integer=True)
        legend_beside(ax)
        return self

    def _range(self) -> tuple[float, float]:
        """Return the smallest and the largest loss that the axis shows."""
        n = len(self.train_losses)
        first = int(EARLY * n)
        shown: list[Any] = [self.train_losses[first:], self.validation_losses]
        if self.start_loss is not None:
            late = self.validation_epochs >= first
            shown = [shown[0], self.validation_losses[late], [self.start_loss]]
        losses = np.concatenate(shown)
        losses = losses[np.isfinite(losses)]
        return (losses.min(), losses.max()) if len(losses) else (0.0, 1.0)


def training_curve(fit: Any) -> NDArray:
    """Return the training loss of each epoch, of the terms that held-out rows judge."""
    criterion, history = fit.net.criterion_, fit.net.history
    names = [f"train_{vote}" for vote in criterion.votes or ()]
    if not names or names[0] not in history[0]:
        names = ["train_loss"]
    losses = [sum(epoch[name] for name in names) for epoch in history]
    scores = np.array([criterion.score(loss, fit.start) for loss in losses])
    return criterion.best_score - scores * _per_token(fit)


def _per_token(fit: Any) -> float:
    """Return what brings the loss of a row of tokens to that of a token, else 1."""
    from ..text._objective import TextObjective

    validated = [e["valid_loss"] for e in fit.net.history if "valid_loss" in e]
    if not isinstance(fit.objective, TextObjective) or not validated:
        return 1.0
    return -fit.validation_scores[len(validated)] / validated[-1]


def validation_curve(fit: Any) -> tuple[NDArray, NDArray, float | None]:
    """Return losses of held-out rows, after how many epochs, and that of the start."""
    losses = fit.net.criterion_.best_score - np.array(fit.validation_scores)
    n = len(fit.net.history)
    if fit.n_tested or fit.solver is not None:  # batches, before they trained
        tested = losses[len(losses) - fit.n_tested :]
        return tested, np.arange(n - fit.n_tested, n), None
    # A fit that went on from an earlier one has no epoch 0. One that diverged has not
    # judged its last epoch.
    n_judged = sum(math.isfinite(epoch["train_loss"]) for epoch in fit.net.history)
    before = max(0, n_judged + 1 - len(losses)) if len(losses) else 0
    is_start = len(losses) and not before and fit.start.is_fallback
    start = float(losses[0]) if is_start else None
    return losses, np.arange(len(losses)) + before, start
