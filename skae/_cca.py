"""Canonical correlations: the closed form of two views of the same things.

Let A and B map centred rows of two views to codes u and v that are white, and
correlated with one another in pairs, by rho (Hotelling 1936). Under the joint normal
distribution of the codes

    log p(x, y) / (p(x) p(y))
        = sum [rho u v - rho^2 (u^2 + v^2) / 2] / (1 - rho^2) - 1/2 sum log(1 - rho^2),

and this log density ratio is the best critic that noise-contrastive estimation can
find (van den Oord et al. 2018). Few rows make correlations that new rows do not have.
So each covariance is shrunk towards a multiple of the identity, by a share that
held-out rows choose (a share of 1 is partial least squares), and the normal
distribution is that of the codes of rows that had no part in their axes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._module import LinearResidual
from ._parameters import is_auto
from ._plan import MIN_ROWS
from ._solvers import linear_start
from ._split import distinct_rows, row_hashes
from ._start import RANK_TOLERANCE, Start

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._module import BaseModule

SHRINKAGES = (0.0, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
N_FOLDS = 5
# Held-out rows that are told from one another, and rows of a fold that choose.
NEGATIVES = 1024
# What stands for no shrinkage where rows fill fewer dimensions than others did.
LEAST = 1e-9
# Deviations, beside the largest one, that a double does not resolve.
RESOLUTION = 1e-14
# Columns of both views from which on one fold has to do, and axes of a view.
MANY_AXES, MOST_AXES = 512, 1024
# Nats by which the training rows' own correlations may be worse than held-out ones.
NEGLIGIBLE = 0.05
# By which correlations are weakened where codes have heavy tails.
WEAKER = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05)
# The weight of a candidate that is none.
NEVER = 1e-30
# Scores of all pairs at a time.
BLOCK_NUMBERS = 2**22
# The variance of a code that is none, where others have 1.
EMPTY = 1e-12
# Nats that are not worth more shrinkage.
INDIFFERENT = 1e-3
# Rows below which those of the training rows are not trusted.
TRUSTED = 40
# The largest correlation, of a column that both views have.
MOST_CORRELATED = 1 - 1e-6


@dataclass(frozen=True)
class CodePairs:
    """The normal distribution of two codes of a pair, each by itself.

    Attributes
    ----------
    correlations, x_variance, y_variance : ndarray of shape (k,)
    """

    correlations: NDArray
    x_variance: NDArray
    y_variance: NDArray

    @classmethod
    def white(cls, correlations: NDArray) -> CodePairs:
        """Return that of codes of unit variance."""
        one = np.ones(len(correlations))
        return cls(correlations, one, one)

    @classmethod
    def of(cls, products: NDArray) -> CodePairs:
        """Return that of given means of u^2, v^2 and u v, shape (3, k)."""
        # An empty code has no variance: any will do.
        variances = np.where(products[:2] > EMPTY, products[:2], 1.0)
        correlations = products[2] / np.sqrt(variances).prod(0)
        return cls(np.clip(correlations, 0, MOST_CORRELATED), *variances)

    @property
    def z(self) -> NDArray:
        """Fisher's transform of the correlations, shape (k,)."""
        return np.arctanh(self.correlations)

    @property
    def variances(self) -> NDArray:
        """Variances of the codes of both views, shape (2, k)."""
        return np.stack([self.x_variance, self.y_variance])

    @property
    def coefficients(self) -> NDArray:
        """Those of :func:`coefficients_of`, shape (4, k)."""
        z, variances = torch.from_numpy(self.z), torch.from_numpy(self.variances)
        return coefficients_of(z, variances).numpy()

    def weakened(self, factor: float) -> CodePairs:
        """Return the same with correlations that are smaller by a factor."""
        return replace(self, correlations=factor * self.correlations)

    def less_an_error(self, n: float) -> CodePairs:
        """Return the same with correlations less a standard error, over n rows.

        That of Fisher's transform (Fisher 1921). Few rows may say anything: of them
        codes have the variance of those of the training rows, at least, and leave over
        one part in n of it.
        """
        rho = np.tanh(np.maximum(self.z - 1 / math.sqrt(max(n - 3, 1)), 0))
        if n >= TRUSTED:
            return replace(self, correlations=rho)
        x, y = (np.maximum(v, 1) for v in (self.x_variance, self.y_variance))
        return CodePairs(np.minimum(rho, math.sqrt(1 - 1 / max(n, 2))), x, y)

    def at_most(self, own: CodePairs) -> CodePairs:
        """Return the same with correlations that are at most those of another."""
        part = slice(len(own.correlations))
        rho = np.minimum(self.correlations[part], own.correlations)
        return CodePairs(rho, self.x_variance[part], self.y_variance[part])

    def reordered(self, order: NDArray) -> CodePairs:
        """Return the distribution of the same codes in another order."""
        parts = self.correlations, self.x_variance, self.y_variance
        return CodePairs(*(part[order] for part in parts))

    def padded(self, missing: int) -> CodePairs:
        """Return the same with more codes, of which nothing is known."""
        more = CodePairs.white(np.zeros(missing))
        names = "correlations", "x_variance", "y_variance"
        return CodePairs(
            *(np.append(getattr(self, n), getattr(more, n)) for n in names)
        )


def coefficients_of(z: Tensor, variances: Tensor) -> Tensor:
    """Return those of u v, u^2 / 2, v^2 / 2 and 1 in the log density ratio.

    Parameters
    ----------
    z : Tensor of shape (..., k)
        Correlations are tanh(z), so that their largest ones lose no digits.
    variances : Tensor of shape (..., 2, k)

    Returns
    -------
    Tensor of shape (..., 4, k)
    """
    cross = 0.5 * (2 * z).sinh() / variances.prod(-2).sqrt()
    squares = z.sinh().square()[..., None, :] / variances
    constant = z.cosh().log()
    return torch.cat([cross[..., None, :], squares, constant[..., None, :]], -2)


def log_ratio(u: Tensor, v: Tensor, coefficients: Tensor) -> Tensor:
    """Return the log density ratio of every pair of codes, in nats.

    Parameters
    ----------
    u : Tensor of shape (..., n, k)
    v : Tensor of shape (..., m, k)
    coefficients : Tensor of shape (..., 4, k)
        Those of :func:`coefficients_of`.

    Returns
    -------
    Tensor of shape (..., n, m)
    """
    cross, a, b, constant = coefficients.unbind(-2)
    of_u = -0.5 * (u.square() @ a[..., None]) + constant.sum(-1)[..., None, None]
    of_v = -0.5 * (v.square() @ b[..., None])
    return (u * cross[..., None, :]) @ v.mT + of_u + of_v.mT


def of_pairs(u: Tensor, v: Tensor, coefficients: Tensor) -> Tensor:
    """Return the log density ratio of each pair alone, shape (..., n)."""
    cross, a, b, constant = (c[..., None, :] for c in coefficients.unbind(-2))
    squares = u.square() * a + v.square() * b
    return (u * v * cross - 0.5 * squares + constant).sum(-1)


def info_nce(scores: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return what each pair says of the mutual information, in nats.

    The mean is a lower bound of it, and at most log n (van den Oord et al. 2018): in
    both directions, how much more the score of a pair is than the mean of those of all
    candidates. Two candidates that are equal have equal scores, and do not compete.

    Parameters
    ----------
    scores : Tensor of shape (..., n, n)
        Pairs are on the diagonal.
    weight : Tensor of shape (..., n), optional
        How often each pair is a candidate; 0 for (nearly) never.

    Returns
    -------
    Tensor of shape (..., n)
    """
    own = scores.diagonal(dim1=-2, dim2=-1)
    if weight is None:
        among_y, among_x = scores.logsumexp(-1), scores.logsumexp(-2)
        return own - 0.5 * (among_x + among_y) + math.log(scores.shape[-1])
    weight = weight.clamp_min(NEVER)
    share = (weight / weight.sum(-1, keepdim=True)).log()
    among_y = (scores + share[..., None, :]).logsumexp(-1)
    among_x = (scores + share[..., :, None]).logsumexp(-2)
    return own - 0.5 * (among_x + among_y)


def blocks(n: int, size: int) -> tuple[Tensor, ...]:
    """Return the numbers of n rows in parts that are alike, of at most `size`."""
    return torch.arange(n).tensor_split(max(1, -(-n // size)))


def bounds_among(
    u: Tensor,
    v: Tensor,
    candidates_u: Tensor,
    candidates_v: Tensor,
    weight: Tensor,
    coefficients: Tensor,
) -> Tensor:
    """Return what pairs say of the mutual information, among given candidates.

    Parameters
    ----------
    u, v : Tensor of shape (n, k)
    candidates_u, candidates_v : Tensor of shape (m, k)
        Themselves among them.
    weight : Tensor of shape (m,)
    coefficients : Tensor of shape (4, k)

    Returns
    -------
    Tensor of shape (n,)
    """
    share = (weight / weight.sum()).clamp_min(NEVER).log()
    swapped = coefficients[[0, 2, 1, 3]]
    among = 0.5 * (log_ratio(u, candidates_v, coefficients) + share).logsumexp(-1)
    among += 0.5 * (log_ratio(v, candidates_u, swapped) + share).logsumexp(-1)
    return of_pairs(u, v, coefficients) - among


def whole_bound(
    u: Tensor,
    v: Tensor,
    weight: Tensor | None,
    coefficients: Tensor,
    added: Tensor | None = None,
) -> float:
    """Return the InfoNCE bound of pairs against all others, a block at a time.

    Parameters
    ----------
    u, v : Tensor of shape (n, k)
    weight : Tensor of shape (n,) or None
    coefficients : Tensor of shape (4, k)
    added : Tensor of shape (n,), optional
        What is added to all scores of a row of the first view.
    """
    w = u.new_ones(len(u)) if weight is None else weight
    share = (w / w.sum()).clamp_min(NEVER)
    added = torch.zeros_like(w) if added is None else added.expand_as(w)
    swapped, total = coefficients[[0, 2, 1, 3]], 0.0
    for i in blocks(len(u), max(1, BLOCK_NUMBERS // len(u))):
        among_y = (log_ratio(u[i], v, coefficients) + share.log()).logsumexp(1)
        of_x = share.log() + added
        among_x = (log_ratio(v[i], u, swapped) + of_x).logsumexp(1)
        terms = of_pairs(u[i], v[i], coefficients) + 0.5 * (
            added[i] - among_x - among_y
        )
        total += float(share[i] @ terms)
    return total


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

    # Required, but after fields without defaults none can be.
    n_x: int = 0
    loadings: NDArray = None  # type: ignore[assignment]
    ranks: tuple[int, int] = (0, 0)

    turned: ClassVar[tuple[str, ...]] = ("components", "loadings")
    """What has another sign if a code has."""

    @property
    def x(self) -> slice:
        """Columns of the first view."""
        return slice(0, self.n_x)

    @property
    def y(self) -> slice:
        """Columns of the second view: the same, where both are one."""
        d = len(self.mean)
        return slice(self.n_x if self.n_x < d else 0, d)

    def padded(self, n_components: int) -> Self:
        """Return the same start with so many codes: the first ones, and empty ones."""
        missing = max(n_components - self.n_components, 0)
        own: dict[str, Any] = {
            name: np.pad(getattr(self, name)[:n_components], ((0, missing), (0, 0)))
            for name in self.turned
        }
        return replace(super().padded(n_components), **own)

    def with_signs_of(self, previous: Start) -> Self:
        """Return the same start with codes that point to where earlier ones did."""
        signs = np.sign(np.sum(self.components * previous.components, axis=1))
        signs[signs == 0] = 1.0
        own: dict[str, Any] = {
            name: getattr(self, name) * signs[:, None] for name in self.turned
        }
        return replace(self, **own)

    def filled(self, X: NDArray, known: NDArray | None) -> NDArray:
        """Return rows with the mean in place of what is missing: the end of series."""
        return X if known is None else np.where(known, X, self.mean.astype(X.dtype))

    def codes_of(self, X: NDArray, view: slice, axes: NDArray) -> NDArray:
        """Return what axes, (k, d_view), make of dense rows of a view, (n, k)."""
        mean = self.mean[view].astype(X.dtype)
        X = np.where(np.isnan(X), mean, X)
        return (X - mean) @ axes.T.astype(X.dtype)


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

    pairs: CodePairs = None  # type: ignore[assignment]
    shrinkage: float = 0.0

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
        pairs = self.pairs.padded(max(n_components - self.n_components, 0))
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


# The closed form


@dataclass(frozen=True)
class Moments:
    """Second moments of rows of two views beside one another.

    Attributes
    ----------
    n : float
        Rows, or their weights.
    mean : ndarray of shape (d,)
    scatter : ndarray of shape (d, d)
        Sum of the squares around the mean.
    """

    n: float
    mean: NDArray
    scatter: NDArray

    @classmethod
    def of(cls, X: NDArray, weight: NDArray | None = None) -> Moments:
        """Return the moments of rows, shape (n, d)."""
        X = X.astype(np.float64, copy=False)
        if weight is None:
            mean = X.mean(0)
            centred = X - mean
            return cls(len(X), mean, centred.T @ centred)
        mean = np.average(X, 0, weight)
        centred = X - mean
        return cls(float(weight.sum()), mean, (centred.T * weight) @ centred)

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        moved = other.mean - self.mean
        mean = self.mean + other.n / n * moved
        between = self.n * other.n / n * np.outer(moved, moved)
        return Moments(n, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> NDArray:
        """Covariance of the rows, by maximum likelihood, shape (d, d)."""
        return self.scatter / self.n


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
        u, _, vt = np.linalg.svd(by_x.T @ self.cross @ by_y, full_matrices=False)
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
        pairs = CodePairs.white(axes.correlations).padded(missing)
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
        rows, weights = in_order(units, X, weight, n_x)
        let_judge(trials, solved, x[rows], weights, seed)
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


def coordinates_of(
    x: NDArray, weight: NDArray | None, n_x: int
) -> tuple[Coordinates, Coordinates]:
    """Return coordinates of the rows of both views, (n, d) beside one another."""
    of_x, of_y = (Coordinates.of(v, weight) for v in (x[:, :n_x], x[:, n_x:]))
    return of_x, of_y


def in_order(
    units: Start, X: NDArray, weight: NDArray | None, n_x: int
) -> tuple[NDArray, NDArray | None]:
    """Return the numbers of distinct rows in order of their size, and their weights.

    That order, from which folds are drawn, depends neither on that of the table nor on
    how its columns are rotated, nor on which view is the first.
    """
    hashes = row_hashes(X, units.mean, units.scale)
    distinct = distinct_rows(hashes, weight, None)
    x = (X[distinct.rows] - units.mean) / units.scale
    size = (x[:, :n_x] ** 2).mean(1) + (x[:, n_x:] ** 2).mean(1)
    order = np.argsort(size)
    weights = None if distinct.weight is None else distinct.weight[order]
    return distinct.rows[order], weights


def let_judge(
    trials: list[Any],
    solved: Callable[[Moments], Any],
    x: NDArray,
    weight: NDArray | None,
    seed: int,
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
    """
    n = len(x)
    n_folds = min(N_FOLDS, n // 2)  # a single pair is told from no other
    if n_folds < 2:
        return
    fold_of = np.random.default_rng(seed).permutation(n) % n_folds
    for fold in range(n_folds if x.shape[1] < MANY_AXES else 1):
        trains, judges = fold_of != fold, fold_of == fold
        given = x[trains], None if weight is None else weight[trains]
        solution = solved(Moments.of(*given))
        for trial in trials:
            trial.judge(solution, x[judges], None if weight is None else weight[judges])


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


def tempered(bound_by: Callable[[float], float]) -> float:
    """Return the factor by which correlations are weakened as far as rows ask for it.

    Codes with heavy tails are not normal: their second moments promise too much, and
    then the bound may even be below that of independence, 0.

    Parameters
    ----------
    bound_by : callable
        Returns the bound for a factor. It is called last for the one that is returned.
    """
    best, bound = 1.0, bound_by(1.0)
    for factor in WEAKER:
        found = bound_by(factor)
        if not found > bound + INDIFFERENT:
            bound_by(best)
            break
        best, bound = factor, found
    return best


# Batches


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


# Two corrupted copies of one view


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
