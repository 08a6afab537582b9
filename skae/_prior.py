"""Priors of codes, a start that has one with clusters, and how far codes are from one.

A prior is standardised: its draws have mean 0 and covariance I, as whitened principal
components do, so that only its shape is left for codes to learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from torch import Tensor, nn

from ._module import BaseModule
from ._parameters import new_torch_generator
from ._start import RANK_TOLERANCE, RandomStart, Start

if TYPE_CHECKING:
    from typing_extensions import Self

Draw = Callable[[int, torch.Generator], Any]

FLOAT: dict[str, Any] = {"dtype": torch.float32}  # whatever a script's default is
PRIOR_DRAWS = 10_000  # by which a user's prior is standardised
# Distances: directions, codes at most, and sets of draws that say how exact they are.
N_DIRECTIONS, MOST_CODES, N_NULL = 32, 1000, 20
N_NODES = 33  # of the quadrature, of which half are positive
EM_ITERATIONS = 50


# The prior


class Prior(nn.Module):
    """What codes are to follow.

    Parameters
    ----------
    prior : {"normal", "uniform"} or callable
        "uniform" is that of the cube of unit variance, [-3^1/2, 3^1/2]^k. A function
        ``prior(n, generator)`` returns `n` draws, shape (n, k), which are standardised
        by the mean and the covariance of 10,000 others.
    k : int
        Number of codes.
    n_clusters : int or None
        Number of places that draws are around, which :meth:`set_mixture` tells.

    Examples
    --------
    >>> import torch
    >>> from skae._prior import Prior
    >>> draws = Prior("uniform", 2, None)(5, torch.Generator().manual_seed(0))
    >>> draws.shape, bool((draws.abs() <= 3**0.5).all())
    (torch.Size([5, 2]), True)
    """

    mean: Tensor
    root: Tensor
    centres: Tensor
    upper: Tensor
    spread: Tensor

    def __init__(self, prior: str | Draw, k: int, n_clusters: int | None) -> None:
        super().__init__()
        self.prior, self.k, self.n_clusters = prior, k, n_clusters
        mean, root = torch.zeros(k, **FLOAT), torch.eye(k, **FLOAT)
        if callable(prior):
            draws = self._drawn(PRIOR_DRAWS, new_torch_generator(0))
            mean, root = standardising(draws)
            whitened = np.cov((draws - mean) @ root, rowvar=False)
            if not np.allclose(whitened, np.eye(k), atol=0.01):
                raise ValueError(
                    f"prior={prior!r}: the covariance of {PRIOR_DRAWS} draws is "
                    "singular. Each of the codes needs some variance of its own."
                )
        self.register_buffer("mean", mean)
        self.register_buffer("root", root)
        c = n_clusters or 1
        self.register_buffer("centres", torch.zeros(c, k, **FLOAT))
        self.register_buffer("upper", torch.arange(1, c + 1, **FLOAT) / c)
        self.register_buffer("spread", torch.eye(k, **FLOAT))

    def set_mixture(self, mixture: Mixture) -> None:
        """Learn the centres, the shares and the covariance of the clusters."""
        self.centres.copy_(torch.tensor(mixture.centres))
        self.upper.copy_(torch.tensor(mixture.shares.cumsum()))
        self.spread.copy_(torch.tensor(mixture.root.T))

    def forward(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Return `n` draws, shape (n, k)."""
        draws = self.standardised(n, generator, self.mean.device)
        mixture = self.centres, self.upper, self.spread
        return self.placed(draws, *mixture, generator=generator)

    def standardised(
        self, n: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """Return draws of mean 0 and covariance I, without clusters."""
        how: Any = {**FLOAT, "generator": generator, "device": device}
        if callable(self.prior):
            drawn = self._drawn(n, generator).to(device)
            return (drawn - self.mean.to(device)) @ self.root.to(device)
        if self.prior == "uniform":
            return math.sqrt(12) * (torch.rand(n, self.k, **how) - 0.5)
        return torch.randn(n, self.k, **how)

    def placed(
        self,
        draws: Tensor,
        centres: Tensor,
        upper: Tensor,
        spread: Tensor,
        *,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Return such draws, shape (..., n, k), around clusters of these buffers."""
        if self.n_clusters is None:
            return draws
        shape = (*draws.shape[:-1], 1)
        how: Any = {**FLOAT, "generator": generator, "device": draws.device}
        u = torch.rand(shape, **how)
        which = (u > upper[..., None, :-1]).sum(-1, keepdim=True)  # (..., n, 1)
        return centres.gather(-2, which.expand(draws.shape)) + draws @ spread

    def _drawn(self, n: int, generator: Any) -> Tensor:
        """Return draws of a user's prior, after a look at them."""
        assert callable(self.prior)
        shape = n, self.k
        try:
            returned = self.prior(n, generator)
        except TypeError as error:
            raise TypeError(
                f"prior={self.prior!r} is called with a number of draws and a "
                f"torch.Generator: {error}"
            ) from error
        try:
            draws = torch.as_tensor(returned).detach()
        except (TypeError, ValueError, RuntimeError):
            draws = torch.empty(0)
        if draws.shape != shape or draws.is_complex():
            what: Any = type(returned).__name__
            if hasattr(returned, "shape"):
                what = f"{returned.dtype} of shape {tuple(returned.shape)}"
            raise ValueError(
                f"prior={self.prior!r} returned {what} for n={n}: it must return real "
                f"numbers of shape {shape}, one for each of the {self.k} codes."
            )
        if not draws.isfinite().all():
            raise ValueError(
                f"prior={self.prior!r} returned NaN or infinity: draws must be finite."
            )
        return draws.float()


def standardising(rows: Tensor, weight: NDArray | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean of rows, (k,), and the map that makes their covariance I, (k, k).

    The map is symmetric. Directions without variance are left as they are.
    """
    w = torch.ones(len(rows), dtype=torch.float64)
    w = w if weight is None else torch.as_tensor(weight, dtype=torch.float64)
    w = (w / w.sum()).to(rows.device)
    mean = w @ rows.double()
    centred = rows.double() - mean
    covariance = centred.T @ (w[:, None] * centred)
    variances, axes = torch.linalg.eigh(covariance)
    floor = RANK_TOLERANCE * float(variances.max())
    variances = torch.where(variances > floor, variances, torch.ones_like(variances))
    return mean.to(rows), ((axes / variances.sqrt()) @ axes.T).to(rows)


# Clusters


@dataclass(frozen=True)
class Mixture:
    """A mixture of normals of one covariance, with mean 0 and covariance I.

    Attributes
    ----------
    centres : ndarray of shape (c, k)
    shares : ndarray of shape (c,)
    covariance : ndarray of shape (k, k)
        That of each of the normals.
    """

    centres: NDArray
    shares: NDArray
    covariance: NDArray

    @classmethod
    def of(cls, codes: NDArray, weight: NDArray | None, centres: NDArray) -> Mixture:
        """Fit a mixture to whitened codes, shape (n, k), by EM from centres on."""
        c = len(centres)
        w = (
            np.full(len(codes), 1 / len(codes))
            if weight is None
            else weight / weight.sum()
        )
        nearest = ((codes[:, None] - centres) ** 2).sum(2).argmin(1)
        belongs = np.eye(c)[nearest]
        for _ in range(EM_ITERATIONS):
            before = centres
            mass = w @ belongs  # (c,)
            # A cluster without rows stays where it is.
            kept = mass[:, None] > 0
            totals = (w[:, None] * belongs).T @ codes
            centres = np.where(kept, totals / np.where(kept, mass[:, None], 1), centres)
            shares = np.maximum(mass, 1e-6)
            shares /= shares.sum()
            between = (centres.T * shares) @ centres
            total = (w[:, None] * codes).T @ codes
            covariance = total - between
            variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
            covariance = (axes * np.maximum(variances, 1e-3)) @ axes.T
            mixture = cls(centres, shares, covariance)
            belongs = np.exp(mixture.log_shares(codes))
            if np.abs(centres - before).max() < 1e-4:
                break
        return mixture

    def padded(self, k: int) -> Mixture:
        """Return the mixture with `k` codes, of which further ones have variance 1."""
        n = self.centres.shape[1]
        covariance = np.eye(k)
        covariance[:n, :n] = self.covariance
        centres = np.pad(self.centres, ((0, 0), (0, k - n)))
        return Mixture(centres, self.shares, covariance)

    @property
    def root(self) -> NDArray:
        """A square root of the covariance, shape (k, k): lower triangular."""
        return np.linalg.cholesky(self.covariance)

    def log_shares(self, codes: NDArray) -> NDArray:
        """Return the log-probability of each cluster given whitened codes, (n, c)."""
        by_precision = np.linalg.solve(self.covariance, self.centres.T)  # (k, c)
        constant = np.log(self.shares) - 0.5 * (self.centres * by_precision.T).sum(1)
        logits = codes @ by_precision + constant
        return logits - logsumexp(logits, axis=1, keepdims=True)


@dataclass(frozen=True)
class Clustered(Start):
    """A start that takes PCA's whitened codes to be a mixture."""

    mixture: Mixture = field(kw_only=True)

    @property
    def centres(self) -> NDArray:
        """Rows that the clusters are around, shape (n_clusters, d)."""
        k = self.n_components
        return self.inverse_transform(self.mixture.centres[:, :k] * self.deviations)

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a module to the start, and its prior to the clusters."""
        super().apply(module, units)
        prior: Any = module.prior
        prior.set_mixture(self.mixture)

    def padded(self, n_components: int) -> Self:
        """Return the same start with empty axes up to `n_components`."""
        mixture = self.mixture.padded(n_components)
        return replace(super().padded(n_components), mixture=mixture)


@dataclass(frozen=True)
class ClusteredPCA(Clustered):
    """PCA with clusters."""


@dataclass(frozen=True)
class ClusteredRandom(Clustered, RandomStart):
    """Random weights, whose codes are to have the clusters of PCA's."""


def with_clusters(
    start: Start,
    rows: NDArray,
    weight: NDArray | None,
    n_clusters: int,
    seed: int,
    centres: NDArray | None = None,
) -> Clustered:
    """Return a start with the clusters of PCA's codes of rows.

    `centres` are rows, shape (n_clusters, d), to begin with in place of those that
    KMeans finds in the codes.
    """
    codes, units = start.transform(rows.astype(np.float64)), start.deviations
    if centres is not None:
        at = start.transform(centres)
    elif not start.explained_variance.any():  # no row differs from another
        at = np.zeros((n_clusters, codes.shape[1]))
    else:
        n_distinct = len(np.unique(codes, axis=0))
        if n_distinct < n_clusters:
            raise ValueError(
                f"n_clusters={n_clusters} must be at most the number of distinct rows, "
                f"which is {n_distinct}."
            )
        kmeans = KMeans(n_clusters, n_init=10, random_state=seed)
        at = kmeans.fit(codes, None, weight).cluster_centers_
    mixture = Mixture.of(codes / units, weight, at / units).padded(start.n_codes)
    if isinstance(start, RandomStart):
        return ClusteredRandom.of(start, n_asked=start.n_asked, mixture=mixture)
    return ClusteredPCA.of(start, mixture=mixture)


# How far codes are from a prior


class SlicedDistance:
    """How far the shape of codes is from that of a prior.

    The sliced Epps-Pulley statistic: n times the squared distance of characteristic
    functions, with a standard normal weight, of codes in a random direction and of the
    prior, on average over 32 directions. Codes are standardised in each direction: what
    a linear map could mend does not count.

    Parameters
    ----------
    prior : Prior
    seed : int
        Seeds the directions, and the draws of a prior of a user's own.

    Notes
    -----
    For one direction and N(0, 1) this is the statistic of Epps & Pulley (1983), whose
    integral is taken by Gauss-Hermite quadrature in time proportional to n.

    Examples
    --------
    >>> import torch
    >>> from skae._prior import Prior, SlicedDistance
    >>> distance = SlicedDistance(Prior("normal", 2, None), seed=0)
    >>> draws = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> bool(distance(draws) < 1 < distance(draws**3))
    True
    """

    def __init__(self, prior: Prior, seed: int) -> None:
        self.prior = prior
        self.generator = new_torch_generator(seed)
        how: Any = {**FLOAT, "generator": self.generator}
        directions = torch.randn(prior.k, N_DIRECTIONS, **how)
        self.directions = directions / directions.norm(dim=0)
        nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        # Both sides are alike, and 0 says nothing.
        upper = slice(N_NODES // 2 + 1, None)
        self.nodes = torch.from_numpy(nodes[upper]).float()
        self.weights = torch.from_numpy(2 * weights[upper] / weights.sum()).float()
        if callable(prior.prior):
            self.target = self._waves(self._draws(PRIOR_DRAWS), None)
        else:
            self.target = self._waves_of_prior()

    def __call__(self, codes: Tensor, weight: Tensor | None = None) -> float:
        """Return the distance of codes, shape (n, k), with weights of shape (n,)."""
        if len(codes) > MOST_CODES:  # evenly spread ones
            some = torch.arange(MOST_CODES) * len(codes) // MOST_CODES
            codes = codes[some]
            weight = None if weight is None else weight[some]
        real, imaginary = self._waves(codes, weight)
        squares = (real - self.target[0]).square()
        squares += (imaginary - self.target[1]).square()
        return len(codes) * float((squares @ self.weights).mean())

    def error(self, n: int) -> float:
        """Return by how much the distances of 20 sets of `n` draws differ at most."""
        distances = [self(self._draws(min(n, MOST_CODES))) for _ in range(N_NULL)]
        return max(distances) - min(distances)

    def _draws(self, n: int) -> Tensor:
        return self.prior.cpu()(n, self.generator)

    def _waves_of_prior(self) -> tuple[Tensor, Tensor]:
        """Return the characteristic function of a prior in closed form, standardised.

        As of codes: its real and its imaginary part, (n_directions, n_nodes).
        """
        prior = self.prior.cpu()
        shares = prior.upper.diff(prepend=torch.zeros(1, **FLOAT))  # (c,)
        centres = prior.centres @ self.directions  # (c, n_directions)
        centres = centres - shares @ centres
        spread = prior.spread @ self.directions  # (k, n_directions)
        variance = shares @ centres.square() + spread.square().sum(0)
        t = self.nodes / variance.sqrt()[:, None]  # (n_directions, n_nodes)
        if prior.prior == "uniform":
            each = torch.sinc(math.sqrt(3) / math.pi * spread[..., None] * t)
            around = each.prod(0)
        else:
            around = (-0.5 * spread.square().sum(0)[:, None] * t.square()).exp()
        angles = centres[..., None] * t  # (c, n_directions, n_nodes)
        real = torch.einsum("c,cst->st", shares, angles.cos())
        return real * around, around * torch.einsum("c,cst->st", shares, angles.sin())

    def _waves(self, codes: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the characteristic function of standardised codes in each direction.

        Its real and its imaginary part have shape (n_directions, n_nodes).
        """
        codes = codes.detach().cpu().float()
        w = torch.ones(len(codes), **FLOAT) if weight is None else weight.cpu().float()
        w = w / w.sum()
        along = codes @ self.directions  # (n, n_directions)
        along = along - w @ along
        deviation = (w @ along.square()).sqrt().clamp_min(1e-12)
        angles = (along / deviation)[..., None] * self.nodes
        real = torch.einsum("n,nst->st", w, angles.cos())
        return real, torch.einsum("n,nst->st", w, angles.sin())
