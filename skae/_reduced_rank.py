"""Reduced-rank regression: a view predicted from few linear codes of the other.

Let B be ridge regression of y on x, and V the first k principal axes of its fitted
values. Then ``x B V`` are k codes, of which ``x B V V'`` is predicted: the best linear
prediction that has only k numbers to go by (Izenman 1975). An autoencoder is the case
y = x, and there it is PCA.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._linear_views import (
    LEAST,
    Coordinates,
    ViewsStart,
    coordinates_of,
    in_order,
    let_judge,
    root_of,
    signs_of,
    whitener,
)
from ._module import BaseModule, LinearResidual
from ._parameters import is_auto
from ._solvers import Moments
from ._start import RANK_TOLERANCE, Start

# How often rows judge penalties, in all: few rows do so several times.
JUDGEMENTS, MOST_REPEATS = 400, 10
# Penalties that are tried, as multiples of the mean variance of a column of all rows.
PENALTIES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 10.0)
# A share of the error that is not worth a larger penalty.
INDIFFERENT = 1e-4
TINY = 1e-200


@dataclass(frozen=True)
class RankedRegression(ViewsStart):
    """Reduced-rank ridge regression, of rows with two views beside one another.

    Its `components` are the axes of the second view, shape (k, d_y), and its codes are
    in that view's units.

    Attributes
    ----------
    rotations : ndarray of shape (k, d_x)
        Map from centred rows of the first view to codes.
    penalty : float
        That of ridge regression, for rows in their own units.
    """

    rotations: NDArray = field(kw_only=True)
    penalty: float = field(kw_only=True)

    name = "reduced-rank regression"

    turned = ("components", "loadings", "rotations")

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a module to this start."""
        units = units or self
        module.set_units(units.mean, units.scale)
        shift, scale = self.mean - units.mean, np.asarray(units.scale)
        whitened = self.rotations / self.deviations[:, None]  # (k, d_x)
        colourer = self.components.T * self.deviations  # (d_y, k)
        module.set_linear_path(
            whitened * scale[self.x],
            -whitened @ shift[self.x],
            colourer / scale[self.y, None],
            shift[self.y] / scale[self.y],
        )
        # Codes that are much smaller than others are not whitened to the end.
        if isinstance(module.encoder, LinearResidual):
            spread = np.sqrt(self.explained_variance) / self.deviations
            module.encoder.set_output_scale(np.minimum(spread, 1.0))

    def x_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the first view, shape (n, k)."""
        return self.codes_of(X, self.x, self.rotations)

    def predictions(self, X: NDArray) -> NDArray:
        """Return what is predicted for dense rows of the first view, shape (n, d_y)."""
        mean, axes = self.mean[self.y].astype(X.dtype), self.components.astype(X.dtype)
        return self.x_codes(X) @ axes + mean


class RidgeSolution:
    """Reduced-rank ridge regression of given moments, for any penalty.

    Parameters
    ----------
    moments : Moments
        Of coordinates of the first view, and columns of the second, beside one another.
    coordinates : Coordinates
        Of the first view.
    """

    def __init__(self, moments: Moments, coordinates: Coordinates) -> None:
        C, n_x = moments.covariance, len(coordinates.deviations)
        self.n_x, self.mean = n_x, moments.mean
        self.own, self.cross = C[:n_x, :n_x], C[:n_x, n_x:]
        self.root = root_of(self.own)[0]
        self.ridge = coordinates.ridge

    def codes(self, k: int, penalty: float) -> tuple[NDArray, NDArray, NDArray]:
        """Return axes of y, maps from x to codes, and variances of the codes.

        Shapes are (k, d_y), (k, r) and (k,), with at most k codes.
        """
        if len(self.root) < len(self.own):  # of some directions nothing is known
            penalty = max(penalty, LEAST)
        white = whitener(self.own + penalty * np.diag(self.ridge))
        slopes = white @ (white.T @ self.cross)  # ridge regression's, (r, d_y)
        fitted = self.root @ slopes
        _, singular, axes = np.linalg.svd(fitted, full_matrices=False)
        axes, variances = axes[:k], singular[:k] ** 2
        kept = variances > RANK_TOLERANCE**2 * variances.max(initial=0)
        rotations = axes[kept] @ slopes.T
        return axes[kept], rotations, variances[kept]


@dataclass
class PenaltyTrial:
    """What held-out rows say of one penalty.

    Attributes
    ----------
    penalty : float
    k : int
        Number of codes.
    error : float
        Sum of squared errors.
    """

    penalty: float
    k: int
    error: float = 0.0

    def judge(self, solution: RidgeSolution, x: NDArray, weight: Any) -> None:
        """Let rows judge that had no part in a solution."""
        axes, rotations, _ = solution.codes(self.k, self.penalty)
        centred, n_x = x - solution.mean, solution.n_x
        predicted = centred[:, :n_x] @ rotations.T @ axes
        squares = ((centred[:, n_x:] - predicted) ** 2).sum(1)
        self.error += float(squares.sum() if weight is None else weight @ squares)


def best_penalty(trials: list[PenaltyTrial]) -> float:
    """Return the smallest penalty that is as good as the best."""
    errors = np.array([trial.error for trial in trials])
    if not errors.any():  # no row could judge
        return trials[len(trials) // 2].penalty
    return trials[int(np.argmax(errors <= errors.min() * (1 + INDIFFERENT)))].penalty


def regression_start(
    units: Start,
    X: NDArray,
    weight: NDArray | None,
    n_x: int,
    n_components: int | None,
    alpha: float | str,
    seed: int,
    groups: NDArray | None = None,
) -> RankedRegression:
    """Return reduced-rank ridge regression of the second view on the first.

    Parameters
    ----------
    units : Start
        Has the mean and the scale of each column.
    X : ndarray of shape (n, d)
        The views beside one another.
    weight : ndarray of shape (n,) or None
    n_x : int
        Columns of the first view.
    n_components : int or None
        None takes the smaller rank of both.
    alpha : float or "auto"
        The penalty.
    seed : int
        Of the rows that choose it.
    groups : ndarray of int of shape (n,) or None
        Numbers of what is held out together for that.
    """
    weight = None if weight is None else weight.astype(np.float64)
    x = (X - units.mean) / units.scale
    of_x, of_y = coordinates_of(x, weight, n_x)
    ranks = len(of_x.deviations), len(of_y.deviations)
    k = min(ranks) if n_components is None else min(n_components, *ranks)
    of_y = replace(of_y, deviations=np.ones(ranks[1]))  # whose errors count as they are
    x = np.hstack([of_x(x[:, :n_x]), of_y(x[:, n_x:])])
    if is_auto(alpha):
        trials = [PenaltyTrial(penalty, k) for penalty in PENALTIES]
        solved = partial(RidgeSolution, coordinates=of_x)
        rows, weights, unit = in_order(units, X, weight, n_x, groups)
        repeats = int(np.clip(JUDGEMENTS / len(rows), 1, MOST_REPEATS))
        let_judge(trials, solved, x[rows], weights, seed, unit, repeats)
        penalty = best_penalty(trials)
    else:
        penalty = float(alpha) / float(units.n_samples * scale_of_x(units) ** 2)
    solution = RidgeSolution(Moments.of(x, weight), of_x)
    return start_of(units, solution, k, penalty, ranks, (of_x, of_y))


def scale_of_x(units: Start) -> float:
    """Return what brings columns of the first view to a mean variance of 1."""
    return float(np.asarray(units.scale)[0])


def start_of(
    units: Start,
    solution: RidgeSolution,
    k: int,
    penalty: float,
    ranks: tuple[int, int],
    views: tuple[Coordinates, Coordinates],
) -> RankedRegression:
    """Return the start of a solution for coordinates of standardised rows."""
    axes, rotations, variances = solution.codes(k, penalty)
    scale, (of_x, of_y) = np.asarray(units.scale), views
    n_x = of_x.axes.shape[1]
    scale_y = scale[n_x]  # codes are in the units of y
    found = np.maximum(variances, TINY)[:, None]
    loadings = np.hstack(
        [
            of_x.loadings(rotations @ solution.own / found),
            of_y.loadings(rotations @ solution.cross / found),
        ]
    )
    components = of_y.weights(axes)
    signs = signs_of(components.T)[:, None]  # PCA's
    return RankedRegression.of(
        units,
        components=signs * components,
        rotations=signs * of_x.weights(rotations) / scale[:n_x] * scale_y,
        explained_variance=variances * scale_y**2,
        explained_variance_ratio=variances / max(variances.sum(), TINY),
        penalty=penalty * units.n_samples * scale_of_x(units) ** 2,
        n_x=n_x,
        loadings=signs * loadings * scale / scale_y,
        ranks=ranks,
    )
