"""Canonical correlations: the closed form of two views of the same things.

A and B map centred rows of two views to codes that are white, and correlated with one
another in pairs (Hotelling 1936); their density ratio is in ``_density_ratio.py``. Few
rows make correlations that new rows do not have. So each covariance is shrunk towards a
multiple of the identity, by a share that held-out rows choose (with a share of 1 codes
span those of partial least squares), and the normal distribution is that of the codes
of rows that had no part in their axes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._density_ratio import (
    EMPTY,
    INDIFFERENT,
    MOST_CORRELATED,
    TRUSTED,
    CodePairs,
    tempered,
    whole_bound,
)
from ._linear_views import (
    LEAST,
    N_FOLDS,
    Coordinates,
    ViewsStart,
    column_coordinates,
    coordinates_of,
    in_order,
    let_judge,
    reached,
    signs_of,
    standardised,
    whitener,
)
from ._module import LinearResidual
from ._parameters import is_auto
from ._plan import MIN_ROWS
from ._solvers import Moments
from ._start import RANK_TOLERANCE, Start

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._module import BaseModule

SHRINKAGES = (0.0, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
# Held-out rows that are told from one another, and rows of a fold that choose.
NEGATIVES = 1024
# Nats by which the training rows' own correlations may be worse than held-out ones.
NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class PairStart(ViewsStart):
    """Canonical correlation analysis.

    Attributes
    ----------
    pairs : CodePairs
        The normal distribution of the codes.
    shrinkage : float
        By which the covariances of the views were shrunk.
    """

    pairs: CodePairs = field(kw_only=True)
    shrinkage: float = field(kw_only=True)

    name = "canonical correlations"

    @classmethod
    def at(
        cls,
        units: Start,
        axes: Axes,
        pairs: CodePairs,
        shrinkage: float,
        n_x: int,
        ranks: tuple[int, int],
    ) -> PairStart:
        """Return the start of axes in standardised columns."""
        ones = np.ones(len(pairs.correlations))
        return cls.of(
            units,
            components=axes.axes / units.scale,
            explained_variance=ones,
            explained_variance_ratio=ones,
            n_x=n_x,
            pairs=pairs,
            shrinkage=shrinkage,
            loadings=axes.loadings * units.scale,
            ranks=ranks,
        )

    @property
    def code_scale(self) -> NDArray:
        """Codes of the module are the public ones."""
        return np.ones(self.n_components)

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a module to this start."""
        units = units or self
        module.set_units(units.mean, units.scale)
        weight = self.components * units.scale
        bias = self.components * (units.mean - self.mean)
        for encoder, part in ((module.encoder, self.x), (module.decoder, self.y)):
            if isinstance(encoder, LinearResidual):
                encoder.set_linear(weight[:, part], bias[:, part].sum(1))
        set_pairs: Any = module.set_pairs
        set_pairs(self.pairs.z, self.pairs.variances)

    def padded(self, n_components: int) -> Self:
        """Return the same start with so many codes: the first ones, and empty ones."""
        pairs = self.pairs.padded(n_components)
        return replace(super().padded(n_components), pairs=pairs)

    @property
    def coefficients(self) -> NDArray:
        """Those of the log density ratio, shape (4, k)."""
        return self.pairs.coefficients

    @property
    def offset(self) -> float:
        """What is added to the log density ratio, in nats."""
        return 0.0

    @property
    def correlations(self) -> NDArray:
        """Canonical correlations, shape (k,)."""
        return self.pairs.correlations

    def x_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the first view, shape (n, k)."""
        return self.codes_of(X, self.x, self.components[:, self.x])

    def y_codes(self, X: NDArray) -> NDArray:
        """Return the codes of dense rows of the second view, shape (n, k)."""
        return self.codes_of(X, self.y, self.components[:, self.y])


@dataclass(frozen=True)
class Axes:
    """Axes of the codes of both views, beside one another.

    Attributes
    ----------
    axes, loadings : ndarray of shape (k, d)
    correlations : ndarray of shape (k,)
    """

    axes: NDArray
    loadings: NDArray
    correlations: NDArray

    def reordered(self, order: NDArray) -> Axes:
        """Return the axes of the same codes in another order."""
        return Axes(self.axes[order], self.loadings[order], self.correlations[order])

    def in_columns(self, x: Coordinates, y: Coordinates) -> Axes:
        """Return the axes in the columns of both views, given those in coordinates."""
        n = len(x.deviations)
        of_x, of_y = x.weights(self.axes[:, :n]), y.weights(self.axes[:, n:])
        # As in scikit-learn: the largest weight of the first view is above 0.
        signs = signs_of(of_x.T)[:, None]
        loadings = self.loadings
        return Axes(
            signs * np.hstack([of_x, of_y]),
            signs
            * np.hstack([x.loadings(loadings[:, :n]), y.loadings(loadings[:, n:])]),
            self.correlations,
        )


class ShrunkCCA:
    """Canonical correlations of given moments, for any shrinkage.

    Parameters
    ----------
    moments : Moments
        Of coordinates of both views, beside one another.
    coordinates : (Coordinates, Coordinates)
    """

    def __init__(
        self, moments: Moments, coordinates: tuple[Coordinates, Coordinates]
    ) -> None:
        C, n_x = moments.covariance, len(coordinates[0].deviations)
        self.n_x, self.mean = n_x, moments.mean
        self.views = C[:n_x, :n_x], C[n_x:, n_x:]
        self.cross = C[:n_x, n_x:]
        self.targets = [
            view.shrunk_to(own)
            for view, own in zip(coordinates, self.views, strict=True)
        ]

    @cached_property
    def ranks(self) -> tuple[int, int]:
        """Dimensions in which each view varies."""
        of_x, of_y = (whitener(view).shape[1] for view in self.views)
        return of_x, of_y

    def _whitener(self, view: int, shrinkage: float) -> NDArray:
        own, target = self.views[view], np.diag(self.targets[view])
        if self.ranks[view] < len(own):  # of some directions nothing is known
            shrinkage = max(shrinkage, LEAST)
        return whitener((1 - shrinkage) * own + shrinkage * target)

    def axes(self, k: int, shrinkage: float) -> Axes:
        """Return at most `k` axes, of which the codes are white.

        Shrinkage chooses the subspace of the codes of each view; within, correlations
        are those of the rows.
        """
        by_x, by_y = (self._whitener(view, shrinkage) for view in (0, 1))
        u, rho, vt = np.linalg.svd(by_x.T @ self.cross @ by_y, full_matrices=False)
        if not shrinkage and rho.max(initial=0) >= MOST_CORRELATED:
            # Few rows are told apart by any axes: the shortest ones then.
            return self.axes(k, LEAST)
        a, b = by_x @ u[:, :k], by_y @ vt[:k].T
        if shrinkage:
            white_a = whitener(a.T @ self.views[0] @ a)
            white_b = whitener(b.T @ self.views[1] @ b)
            cross = white_a.T @ a.T @ self.cross @ b @ white_b
            u, _, vt = np.linalg.svd(cross, full_matrices=False)
            a, b = a @ white_a @ u, b @ white_b @ vt.T
        rho = np.einsum("ik,ij,jk->k", a, self.cross, b, optimize=True)
        loadings = np.vstack([self.views[0] @ a, self.views[1] @ b])
        return Axes(np.vstack([a, b]).T, loadings.T, np.clip(rho, 0, MOST_CORRELATED))


@dataclass
class Trial:
    """What held-out pairs say of one shrinkage.

    Attributes
    ----------
    shrinkage : float
    n : float
        Rows that have judged, or their weights.
    bound : float
        Sum of their terms of the bound, for the correlations of the training rows.
    products : ndarray of shape (3, k)
        Sums of u^2, v^2 and u v.
    codes : list of (Tensor, Tensor, Tensor or None)
        Codes of both views, and weights.
    """

    shrinkage: float
    n: float
    bound: float
    products: NDArray
    codes: list[tuple[Tensor, Tensor, Tensor | None]]

    @classmethod
    def all(cls, k: int, shares: tuple[float, ...] = SHRINKAGES) -> list[Trial]:
        """Return one of each shrinkage, in which nothing has judged yet."""
        return [cls(share, 0.0, 0.0, np.zeros((3, k)), []) for share in shares]

    def judge(self, cca: ShrunkCCA, X: NDArray, weight: NDArray | None) -> None:
        """Let rows judge that had no part in given canonical correlations."""
        k = self.products.shape[1]
        axes = cca.axes(k, self.shrinkage)
        centred = X - cca.mean
        n_x, missing = cca.n_x, k - len(axes.axes)
        u = np.pad(centred[:, :n_x] @ axes.axes[:, :n_x].T, ((0, 0), (0, missing)))
        v = np.pad(centred[:, n_x:] @ axes.axes[:, n_x:].T, ((0, 0), (0, missing)))
        w = np.ones(len(X)) if weight is None else weight
        self.n += w.sum()
        self.products += w @ np.stack([u * u, v * v, u * v])
        part = slice(NEGATIVES)
        judging = None if weight is None else torch.from_numpy(weight[part])
        codes = torch.from_numpy(u[part]), torch.from_numpy(v[part]), judging
        self.codes.append(codes)
        pairs = CodePairs.white(axes.correlations).padded(k)
        self.bound += bound_of(*codes, pairs) * w.sum()

    @property
    def pairs(self) -> CodePairs:
        """The normal distribution of the held-out codes."""
        return CodePairs.of(self.products / max(self.n, 1))

    def bound_by(self, pairs: CodePairs) -> float:
        """Return the bound of the held-out codes under a distribution."""
        sizes = [float(len(u) if w is None else w.sum()) for u, _, w in self.codes]
        bounds = [bound_of(*codes, pairs) for codes in self.codes]
        return float(np.average(bounds, weights=sizes))


def bound_of(u: Tensor, v: Tensor, weight: Tensor | None, pairs: CodePairs) -> float:
    """Return the InfoNCE bound of pairs of codes, among one another."""
    return whole_bound(u, v, weight, torch.from_numpy(pairs.coefficients))


def canonical_start(
    units: Start,
    X: NDArray,
    weight: NDArray | None,
    n_x: int,
    n_components: int | None,
    shrinkage: float | str,
    seed: int,
    shares: tuple[float, ...] = SHRINKAGES,
    groups: NDArray | None = None,
) -> PairStart:
    """Return canonical correlation analysis of two views.

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
    shrinkage : float or "auto"
    seed : int
        Of the rows that choose the shrinkage.
    shares : tuple of float
        Those to choose from.
    groups : ndarray of int of shape (n,) or None
        Numbers of what is held out together for that.
    """
    x = (X - units.mean) / units.scale
    weight = None if weight is None else weight.astype(np.float64)
    views = of_x, of_y = coordinates_of(x, weight, n_x)
    ranks = len(of_x.deviations), len(of_y.deviations)
    k = min(ranks) if n_components is None else min(n_components, *ranks)
    x = np.hstack([of_x(x[:, :n_x]), of_y(x[:, n_x:])])
    trials = None
    if is_auto(shrinkage):
        trials = Trial.all(k, shares)
        solved = partial(ShrunkCCA, coordinates=views)
        rows, weights, unit = in_order(units, X, weight, n_x, groups)
        let_judge(trials, solved, x[rows], weights, seed, unit)
    cca = ShrunkCCA(Moments.of(x, weight), views)
    axes, pairs, share = best_axes(cca, k, shrinkage, trials)
    return PairStart.at(units, axes.in_columns(*views), pairs, share, n_x, ranks)


def best_axes(
    cca: ShrunkCCA, k: int, shrinkage: float | str, trials: list[Trial] | None
) -> tuple[Axes, CodePairs, float]:
    """Return the axes of the best shrinkage, the normal distribution of codes, and it.

    Without trials it is that of the rows themselves, for a given shrinkage.
    """
    if trials is None:
        axes = cca.axes(k, float(shrinkage))
        return axes, CodePairs.white(axes.correlations), float(shrinkage)
    share, held_out = chosen(trials)
    axes = cca.axes(k, share)
    own = CodePairs.white(axes.correlations)
    if held_out is None:
        return axes, own, share
    pairs = held_out.at_most(own)
    order = np.argsort(-pairs.correlations, kind="stable")
    return axes.reordered(order), pairs.reordered(order), share


def chosen(trials: list[Trial]) -> tuple[float, CodePairs | None]:
    """Return the best shrinkage, and the distribution of held-out codes.

    None stands for that of the training rows, where it is as good.
    """
    if not trials[0].codes:  # no row could judge
        return trials[-1].shrinkage, trials[0].pairs
    bounds = [trial.bound_by(trial.pairs) for trial in trials]
    best = int(np.argmax(np.array(bounds) >= max(bounds) - INDIFFERENT))
    trial = trials[best]
    n_rows = sum(len(u) for u, _, _ in trial.codes)
    if n_rows < MIN_ROWS:  # of which nothing can be said
        none = replace(trial.pairs, correlations=0 * trial.pairs.correlations)
        return trials[-1].shrinkage, none
    sure = trial.pairs.less_an_error(n_rows)
    factor = tempered(lambda f: trial.bound_by(sure.weakened(f)))
    pairs = sure.weakened(factor)
    as_good = trial.bound / trial.n > trial.bound_by(pairs) - NEGLIGIBLE
    as_good &= bool((trial.products[:2] > EMPTY * trial.n).all())
    as_good &= n_rows >= TRUSTED
    return trial.shrinkage, None if as_good else pairs


@dataclass(frozen=True)
class FollowedPairs:
    """What the batches of `partial_fit` have shown.

    Attributes
    ----------
    units : Start
        By which the rows of all batches are standardised.
    views : (Coordinates, Coordinates)
        Columns of unit variance, that of the first batch.
    moments : Moments
    trials : list of Trial
        What each batch has said of the ones before it.
    """

    units: Start
    views: tuple[Coordinates, Coordinates]
    moments: Moments
    trials: list[Trial]

    @classmethod
    def of(
        cls,
        units: Start,
        X: NDArray,
        weight: NDArray | None,
        n_x: int,
        k: int,
        seed: int,
    ) -> FollowedPairs:
        """Return what a first batch shows."""
        views = column_coordinates(units, X, weight, n_x)
        x = standardised(units, views, X)
        trials = Trial.all(k)
        let_judge(trials, partial(ShrunkCCA, coordinates=views), x, weight, seed)
        return cls(units, views, Moments.of(x, weight), trials)

    def followed_by(self, X: NDArray, weight: NDArray | None) -> FollowedPairs:
        """Return what one more batch shows."""
        x = standardised(self.units, self.views, X)
        cca, trials = ShrunkCCA(self.moments, self.views), copy.deepcopy(self.trials)
        for trial in trials:
            trial.judge(cca, x, weight)
            del trial.codes[:-N_FOLDS]  # others have had their say
        moments = self.moments + Moments.of(x, weight)
        return FollowedPairs(self.units, self.views, moments, trials)

    def start(self, n_x: int, k: int, shrinkage: float | str) -> PairStart:
        """Return canonical correlation analysis of all batches."""
        cca = ShrunkCCA(self.moments, self.views)
        trials = self.trials if is_auto(shrinkage) else None
        axes, pairs, share = best_axes(cca, k, shrinkage, trials)
        units = reached(self.units, self.views, self.moments)
        axes = axes.in_columns(*self.views)
        return PairStart.at(units, axes, pairs, share, n_x, cca.ranks)


def copies_start(
    units: Start, total: NDArray, shared: NDArray, k: int | None
) -> PairStart:
    """Return canonical correlation analysis of two corrupted copies of rows.

    Parameters
    ----------
    units : Start
        Has the mean and the scale of the rows.
    total, shared : ndarray of shape (d, d)
        Covariance of a copy with itself and with the other one, divided by the square
        of the scale.
    k : int or None
    """
    white = whitener(total)
    correlations, axes = np.linalg.eigh(white.T @ shared @ white)
    rank = int((correlations > RANK_TOLERANCE).sum())
    order = np.argsort(-correlations)[: rank if k is None else min(k, rank)]
    axes = white @ axes[:, order]  # (d, k)
    axes = axes * signs_of(axes)
    rho = np.clip(correlations[order], 0, MOST_CORRELATED)
    found = Axes(axes.T, (total @ axes).T, rho)
    pairs = CodePairs.white(rho)
    return PairStart.at(units, found, pairs, 0.0, len(units.mean), (rank, rank))
