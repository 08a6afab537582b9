"""What the closed forms of two views share: coordinates, moments, and held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ._solvers import Moments, linear_start
from ._split import distinct_rows, row_hashes
from ._start import RANK_TOLERANCE, Start

N_FOLDS = 5
# What stands for no shrinkage where rows fill fewer dimensions than others did: by far
# more than what counts as no variance.
LEAST = 100 * RANK_TOLERANCE
# Deviations, beside the largest one, that a double does not resolve.
RESOLUTION = 1e-14
# Columns of both views from which on one fold has to do, and axes of a view.
MANY_AXES, MOST_AXES = 512, 1024


@dataclass(frozen=True)
class ViewsStart(Start):
    """A closed form for rows with two views beside one another.

    Attributes
    ----------
    n_x : int
        How many columns the first view has.
    loadings : ndarray of shape (k, d)
        Of the columns, on the codes of their own view.
    ranks : (int, int)
        Dimensions in which each view varies.
    """

    n_x: int = field(kw_only=True)
    loadings: NDArray = field(kw_only=True)
    ranks: tuple[int, int] = field(kw_only=True)

    turned: ClassVar[tuple[str, ...]] = ("components", "loadings")

    @property
    def x(self) -> slice:
        """Columns of the first view."""
        return slice(0, self.n_x)

    @property
    def y(self) -> slice:
        """Columns of the second view: the same, where both are one."""
        d = len(self.mean)
        return slice(self.n_x if self.n_x < d else 0, d)

    def filled(self, X: NDArray, known: NDArray | None) -> NDArray:
        """Return rows with the mean in place of what is missing: the end of series."""
        return X if known is None else np.where(known, X, self.mean.astype(X.dtype))

    def codes_of(self, X: NDArray, view: slice, axes: NDArray) -> NDArray:
        """Return what axes, (k, d_view), make of dense rows of a view, (n, k)."""
        mean = self.mean[view].astype(X.dtype)
        X = np.where(np.isnan(X), mean, X)
        return (X - mean) @ axes.T.astype(X.dtype)


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of unit variance for the rows of a view, along orthogonal axes.

    Columns may be in units that differ by many orders of magnitude: which of them
    matter is not decided here.

    Attributes
    ----------
    axes : ndarray of shape (r, d)
    deviations : ndarray of shape (r,)
        Of the rows along each.
    """

    axes: NDArray
    deviations: NDArray

    @classmethod
    def of(cls, X: NDArray, weight: NDArray | None) -> Coordinates:
        """Return principal axes along which centred rows vary.

        Which these are is decided for columns of unit variance; the axes then are those
        of the columns as they are.
        """
        deviation = np.sqrt(np.average(X**2, 0, weight))
        scaled = X / np.where(deviation > 0, deviation, 1.0)
        pca = linear_start(scaled, min(*X.shape, MOST_AXES), weight, random_state=0)
        variance = pca.explained_variance
        kept = variance > RANK_TOLERANCE * variance.max(initial=0)
        root = np.sqrt(variance[kept])[:, None] * pca.components[kept] * deviation
        _, deviations, axes = np.linalg.svd(root, full_matrices=False)
        sound = deviations > RESOLUTION * deviations.max(initial=0)
        return cls(axes[sound], deviations[sound])

    @classmethod
    def of_columns(cls, deviations: NDArray) -> Coordinates:
        """Return columns of given deviations as their own coordinates."""
        deviations = np.where(deviations > 0, deviations, 1.0)
        return cls(np.eye(len(deviations)), deviations)

    def __call__(self, X: NDArray) -> NDArray:
        """Return the coordinates of rows, shape (n, r)."""
        return X @ self.axes.T / self.deviations

    def weights(self, weights: NDArray) -> NDArray:
        """Return weights of columns, (k, d), for those of coordinates, (k, r)."""
        return weights / self.deviations @ self.axes

    def loadings(self, loadings: NDArray) -> NDArray:
        """Return loadings of columns, (k, d), for those of coordinates, (k, r)."""
        return loadings * self.deviations @ self.axes

    @property
    def ridge(self) -> NDArray:
        """What the identity of the columns is along each axis, shape (r,)."""
        return 1 / self.deviations**2

    def shrunk_to(self, covariance: NDArray) -> NDArray:
        """Return the multiple of the columns' identity that a covariance is shrunk to.

        As of :class:`~sklearn.covariance.ShrunkCovariance`, it has the mean variance of
        the columns. In coordinates it is a diagonal, shape (r,).
        """
        total = np.diagonal(covariance) @ self.deviations**2
        return total / self.axes.shape[1] * self.ridge


def coordinates_of(
    x: NDArray, weight: NDArray | None, n_x: int
) -> tuple[Coordinates, Coordinates]:
    """Return coordinates of the rows of both views, (n, d) beside one another."""
    of_x, of_y = (Coordinates.of(v, weight) for v in (x[:, :n_x], x[:, n_x:]))
    return of_x, of_y


def root_of(covariance: NDArray) -> tuple[NDArray, NDArray]:
    """Return F with F' F = C, (rank, d), and W with W' C W = I, (d, rank).

    Columns are brought to unit variance before the rank is found out.
    """
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    inverse = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    variances, axes = np.linalg.eigh(inverse[:, None] * covariance * inverse)
    kept = variances > RANK_TOLERANCE * max(variances.max(initial=0), 0)
    root, axes = np.sqrt(variances[kept]), axes[:, kept]
    return root[:, None] * axes.T * deviation, inverse[:, None] * axes / root


def whitener(covariance: NDArray) -> NDArray:
    """Return W of shape (d, rank) with W' C W = I."""
    return root_of(covariance)[1]


def signs_of(axes: NDArray) -> NDArray:
    """Return what makes the largest weight of each axis, (d, k), positive; (k,)."""
    if not axes.size:
        return np.ones(axes.shape[1])
    largest = np.abs(axes).argmax(0)
    return np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)


# The rows that choose


def in_order(
    units: Start,
    X: NDArray,
    weight: NDArray | None,
    n_x: int,
    groups: NDArray | None = None,
) -> tuple[NDArray, NDArray | None, NDArray | None]:
    """Return the numbers of distinct rows in order of their size, weights, and units.

    That order, from which folds are drawn, depends neither on that of the table nor on
    how its columns are rotated, nor on which view is the first. Rows of the same unit
    are in the same fold.
    """
    hashes = row_hashes(X, units.mean, units.scale)
    distinct = distinct_rows(hashes, weight, groups)
    x = (X[distinct.rows] - units.mean) / units.scale
    size = (x[:, :n_x] ** 2).mean(1) + (x[:, n_x:] ** 2).mean(1)
    order = np.argsort(size)
    weights = None if distinct.weight is None else distinct.weight[order]
    unit = None if distinct.unit is None else distinct.unit[order]
    return distinct.rows[order], weights, unit


def let_judge(
    trials: list[Any],
    solved: Callable[[Moments], Any],
    x: NDArray,
    weight: NDArray | None,
    seed: int,
    unit: NDArray | None = None,
    repeats: int = 1,
) -> None:
    """Let every row judge what is solved without it, one fold after the other.

    Parameters
    ----------
    trials : list
        Of what there is to choose from; each has ``judge(solution, x, weight)``.
    solved : callable
        Returns a solution of moments, for any of the trials.
    x : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
    seed : int
    unit : ndarray of int of shape (n,) or None
        Rows with the same number are in the same fold.
    repeats : int
        How often they do, in other folds each time.
    """
    if unit is None:
        unit = np.arange(len(x))
    else:  # in the order of the rows
        first, unit = np.unique(unit, return_index=True, return_inverse=True)[1:]
        unit = np.argsort(np.argsort(first))[unit]
    n = int(unit.max()) + 1
    n_folds = min(N_FOLDS, n // 2)  # a single pair is told from no other
    if n_folds < 2:
        return
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        fold_of = (rng.permutation(n) % n_folds)[unit]
        for fold in range(n_folds if x.shape[1] < MANY_AXES else 1):
            trains, judges = fold_of != fold, fold_of == fold
            given = x[trains], None if weight is None else weight[trains]
            solution, held_out = solved(Moments.of(*given)), (x[judges], None)
            if weight is not None:
                held_out = x[judges], weight[judges]
            for trial in trials:
                trial.judge(solution, *held_out)


# Batches


def column_coordinates(
    units: Start, X: NDArray, weight: NDArray | None, n_x: int
) -> tuple[Coordinates, Coordinates]:
    """Return the columns of both views, with their deviations in a batch."""
    x = (X - units.mean) / units.scale
    deviations = np.sqrt(np.average(x**2, 0, weight))
    of_x, of_y = map(Coordinates.of_columns, np.split(deviations, [n_x]))
    return of_x, of_y


def standardised(
    units: Start, views: tuple[Coordinates, Coordinates], X: NDArray
) -> NDArray:
    """Return the rows of a batch in the coordinates of both views."""
    x, n_x = (X - units.mean) / units.scale, len(views[0].deviations)
    return np.hstack([views[0](x[:, :n_x]), views[1](x[:, n_x:])])


def reached(
    units: Start, views: tuple[Coordinates, Coordinates], moments: Moments
) -> Start:
    """Return the units with the mean and the number of the rows of all batches."""
    deviations = np.hstack([view.deviations for view in views])
    mean = units.mean + moments.mean * deviations * units.scale
    return replace(units, mean=mean, n_samples=moments.n)
