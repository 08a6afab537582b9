"""Starts: the closed form that an estimator begins at, and falls back on.

For most it is PCA, the best linear autoencoder. With ``x~ = (x - mean) / scale`` and
one scalar ``scale``, let ``U`` be the principal axes of the rows and ``L`` their
variances. Then ``u = L^-1/2 U' x~`` is the whitened code and ``x^ = U L^1/2 u`` its
reconstruction, and no linear map does better (Bourlard & Kamp 1988; Baldi & Hornik
1989). How ``U`` and ``L`` are found is in ``_solvers.py``. An estimator that starts
elsewhere has a subclass.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ._missing import MissingCells, known_cells

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._module import BaseModule

# Directions with less than this share of the first one's variance carry rounding
# errors, not data: whitening does not blow them up any further.
RANK_TOLERANCE = 1e-9
# The same for a density, which is computed in float64 and by PCA's own axes.
DENSITY_TOLERANCE = 1e-15
# Deviations of less than this share of a mean are its rounding errors.
MEAN_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Start:
    """PCA of the training rows, under PCA's own names, and the model that it is."""

    n_samples: float  # copies of a row, or its weight, included
    mean: NDArray  # (d,)
    components: NDArray  # (k, d)
    explained_variance: NDArray  # (k,)
    explained_variance_ratio: NDArray  # (k,)
    noise_variance: float
    scale: float

    name = "PCA"
    """What it is called, in a picture."""

    is_fallback = True
    """Whether it can be used in place of a network."""

    turned: ClassVar[tuple[str, ...]] = ("components",)
    """What has a row for each code, and another sign if the code has."""

    def __post_init__(self) -> None:
        """Let matrices lie as they do when they were stored: products round by it."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray) and value.ndim > 1:
                object.__setattr__(self, f.name, np.ascontiguousarray(value))

    @classmethod
    def of(cls, start: Start, **own: Any) -> Self:
        """Return a start of this kind with the same axes."""
        same = {f.name: getattr(start, f.name) for f in fields(Start)}
        return cls(**{**same, **own})

    # What an objective may change

    @property
    def code_scale(self) -> NDArray:
        """What brings the codes of a module to PCA's units, shape (k,)."""
        return self.deviations

    @property
    def n_codes(self) -> int:
        """Number of codes of a module."""
        return self.n_components

    @property
    def log_volume(self) -> float:
        """By how many nats the linear encoder changes volumes."""
        return 0.0

    @property
    def is_degenerate(self) -> bool:
        """Whether nothing is left over that a network could explain."""
        return False

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a module to this start.

        Parameters
        ----------
        module : BaseModule
        units : Start, optional
            Has the mean and the scale by which rows are standardised, if not this one.
        """
        units = units or self
        module.set_units(units.mean, units.scale)
        shift = self.mean - units.mean
        whitener = self.encoding / self.deviations[:, None]  # (k, d)
        colourer = self.decoding * self.deviations  # (d, k)
        module.set_linear_path(
            units.scale * whitener,
            -whitener @ shift,
            colourer / units.scale,
            shift / units.scale,
        )

    def model(self, module: BaseModule) -> Any:
        """Return what is used while no network is; `module` is at this start."""
        del module
        return self

    # The closed form

    @property
    def n_components(self) -> int:
        """Number of principal axes, k."""
        return len(self.components)

    @property
    def encoding(self) -> NDArray:
        """Map from centred rows to codes in PCA's units, shape (k, d)."""
        return self.components

    @property
    def decoding(self) -> NDArray:
        """Map from codes in PCA's units to centred rows, shape (d, k)."""
        return self.components.T

    @property
    def is_whole(self) -> bool:
        """Whether codes are the rows, in other coordinates."""
        return False

    @property
    def deviations(self) -> NDArray:
        """Standard deviation by which each of PCA's codes is whitened, shape (k,)."""
        variance = np.asarray(self.explained_variance, dtype=np.float64)
        floor = RANK_TOLERANCE * variance.max(initial=0.0)
        return np.sqrt(np.maximum(variance, floor if floor > 0 else 1.0))

    @property
    def sound_variances(self) -> tuple[NDArray, float]:
        """Variances of the codes, shape (k,), and of the noise: more than rounding."""
        variance = np.asarray(self.explained_variance, dtype=np.float64)
        floor = max(DENSITY_TOLERANCE * variance.max(initial=0.0), np.finfo(float).tiny)
        return np.maximum(variance, floor), max(self.noise_variance, floor)

    @property
    def singular_values(self) -> NDArray:
        """Singular values of the centred rows that belong to the axes, shape (k,)."""
        return np.sqrt(self.explained_variance * max(self.n_samples - 1, 0))

    @property
    def covariance(self) -> NDArray:
        """Covariance of probabilistic PCA, shape (d, d) (Tipping & Bishop 1999)."""
        U, L, s2 = self.components, self.explained_variance, self.noise_variance
        return (U.T * np.maximum(L - s2, 0)) @ U + s2 * np.eye(len(self.mean))

    @property
    def precision(self) -> NDArray:
        """Its inverse, or a LinAlgError if that would be rounding errors."""
        U, L, s2 = self.components, self.explained_variance, self.noise_variance
        k, d = U.shape
        L = np.maximum(L, s2)
        least = L.min() if k == d else s2
        if least <= DENSITY_TOLERANCE * L.max(initial=s2):
            raise np.linalg.LinAlgError(
                "The covariance has no inverse: the rows fill fewer dimensions than "
                f"the {d} there are, and with {k} codes nothing is left over as noise."
            )
        if k == d:
            return (U.T / L) @ U
        return (np.eye(d) - (U.T * (1 - s2 / L)) @ U) / s2

    @property
    def is_constant(self) -> bool:
        """Whether all rows were the same, but for rounding: nothing has been learnt."""
        variance = max(self.explained_variance.max(initial=0.0), self.noise_variance)
        # Along the first axis, which a large mean may have no part in.
        axis = np.abs(self.components[:1]).sum(0)
        return bool(variance <= (MEAN_TOLERANCE * axis @ np.abs(self.mean)) ** 2)

    def padded(self, n_components: int) -> Self:
        """Return the same start with so many axes: the first ones, and empty ones."""
        missing = max(n_components - self.n_components, 0)
        kept, zeros = slice(n_components), np.zeros(missing)
        own: dict[str, Any] = {
            name: np.pad(getattr(self, name)[kept], ((0, missing), (0, 0)))
            for name in self.turned
        }
        ratio = self.explained_variance_ratio[kept]
        return replace(
            self,
            **own,
            explained_variance=np.append(self.explained_variance[kept], zeros),
            explained_variance_ratio=np.append(ratio, zeros),
        )

    def with_signs_of(self, previous: Start) -> Self:
        """Return the same start with axes that point to where earlier ones did."""
        signs = np.sign(np.sum(self.components * previous.components, axis=1))
        signs[signs == 0] = 1.0
        own: dict[str, Any] = {
            name: getattr(self, name) * signs[:, None] for name in self.turned
        }
        return replace(self, **own)

    # Missing cells

    @cached_property
    def missing_cells(self) -> MissingCells:
        """What this model says of missing cells, in the units of the rows."""
        return pca_cells(self)

    def filled(self, X: NDArray, known: NDArray | None) -> NDArray:
        """Return rows with what is expected in place of what is missing."""
        if known is None:
            return X
        rows = np.flatnonzero(~known.all(1))
        X = X.copy()
        filled = self.missing_cells.expected(X[rows] - self.mean, known[rows])
        X[rows] = np.where(known[rows], X[rows], filled + self.mean)
        return X

    # The model

    def transform(self, X: NDArray) -> NDArray:
        """Return PCA's codes of dense rows, shape (n, k), in the dtype of X.

        NaN counts as what probabilistic PCA expects there, given the rest of the row.
        """
        axes = self.components.T.astype(X.dtype)
        codes = self._centred(X) @ axes
        if not np.isnan(codes.sum()):
            return codes
        return self._centred(self.filled(X, known_cells(X))) @ axes

    def _centred(self, X: NDArray) -> NDArray:
        """Return rows less the mean; of rows far from zero float32 has few digits."""
        return (X - self.mean).astype(X.dtype, copy=False)

    def inverse_transform(self, codes: NDArray) -> NDArray:
        """Return PCA's reconstructions, shape (n, d), in the dtype of the codes."""
        mean = self.mean.astype(codes.dtype)
        return codes @ self.decoding.T.astype(codes.dtype) + mean

    def score_samples(self, X: NDArray) -> NDArray:
        """Return PCA's log-likelihood of dense rows in nats, shape (n,).

        It is a code term plus a residual term (Tipping & Bishop 1999). Variances are
        not taken to be smaller than rounding errors. Rows with missing cells get the
        marginal likelihood of the others.
        """
        known = known_cells(X)
        if known is None:
            return self._score_whole(X)
        whole = known.all(1)
        scores = np.empty(len(X))
        scores[whole] = self._score_whole(X[whole])
        centred = X[~whole] - self.mean
        scores[~whole] = self.missing_cells.score_samples(centred, known[~whole])
        return scores

    def _score_whole(self, X: NDArray) -> NDArray:
        variance, noise = self.sound_variances
        codes = self.transform(X)
        residual = self._centred(X) - codes @ self.components.astype(X.dtype)
        n_residual = X.shape[1] - self.n_components
        return gaussian_log_density(codes, variance) + residual_log_density(
            residual, noise, n_residual
        )


@dataclass(frozen=True)
class RandomStart(Start):
    """No start but random weights: the networks stand alone, and nothing replaces them.

    PCA is there for the standardisation of the rows, and to be compared with.
    """

    n_asked: int | None = None

    name = "random weights"
    is_fallback = False

    @property
    def n_codes(self) -> int:
        """Number of codes, of which there may be more than axes."""
        return self.n_components if self.n_asked is None else self.n_asked

    @property
    def code_scale(self) -> NDArray:
        """The codes of the network are the codes."""
        return np.ones(self.n_codes)

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Tell a module how rows are standardised, and leave its weights alone."""
        units = units or self
        module.set_units(units.mean, units.scale)

    def filled(self, X: NDArray, known: NDArray | None) -> NDArray:
        """Return rows with the mean in place of what is missing."""
        return X if known is None else np.where(known, X, self.mean.astype(X.dtype))


def pca_cells(start: Start) -> MissingCells:
    """Return what probabilistic PCA says of missing cells."""
    variance, noise = start.sound_variances
    noise = max(noise, RANK_TOLERANCE * variance.max(initial=0.0))  # for some digits
    return MissingCells.of_axes(start.components, variance, noise)


def gaussian_log_density(codes: NDArray, variance: NDArray) -> NDArray:
    """Log-density of independent centred normals in nats, shape (n,)."""
    with np.errstate(over="ignore"):  # beside constant rows no others are likely
        squares = (codes.astype(np.float64) ** 2 / variance).sum(1)
    return -0.5 * (squares + np.log(2 * np.pi * variance).sum())


def residual_log_density(residual: NDArray, variance: float, n_dims: int) -> NDArray:
    """Log-density of residuals spread over `n_dims` dimensions in nats, shape (n,).

    NaN, the padding of a short series, takes a dimension away each.
    """
    if not n_dims:
        return np.zeros(len(residual))
    squares = np.einsum("ij,ij->i", residual, residual, dtype=np.float64)
    dims = np.full(len(residual), n_dims)
    if np.isnan(squares).any():
        dims = np.maximum(n_dims - np.isnan(residual).sum(1), 0)
        squares = np.where(dims > 0, np.nansum(residual**2, axis=1), 0.0)
    with np.errstate(over="ignore"):
        squares = squares / variance
    return -0.5 * (squares + dims * np.log(2 * np.pi * variance))
