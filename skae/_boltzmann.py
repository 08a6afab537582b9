"""The restricted Boltzmann machine, in the units of the rows, and where it starts.

Rows v and hidden units h have the joint density ``exp(-E(v, h)) / Z`` with the energy
``E = A(v) + B(h) - r(v)' W h``, where

    Bernoulli v:  A = -b'v,                r(v) = v
    Gaussian v:   A = |v - b|^2 / (2 s2),  r(v) = (v - b) / s2
    Bernoulli h:  B = -c'h
    Gaussian h:   B = |h - c|^2 / 2

so that units of a side are independent given the other side: with ``a = W' r(v)``,
``h | v`` has the mean ``sigmoid(c + a)`` or ``c + a`` (variance 1), and ``v | h`` the
mean ``sigmoid(b + W h)`` or ``b + W h`` (variance s2). One side can always be summed
out, and what is left is the free energy ``F(v) = -log sum_h exp(-E(v, h))``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.special import expit, logit, logsumexp

from ._annealing import AnnealedPath
from ._dataset import as_dense, row_chunks
from ._solvers import linear_start
from ._start import Start

# Units of a side whose states are enumerated.
MOST_ENUMERATED = 20
ENUMERATED_NUMBERS = 2**21  # of the states, and what they imply, at a time
# Annealed importance sampling: chains, and temperatures from the base rates to the end.
N_CHAINS, N_TEMPERATURES = 100, 1000
# Base rates are not taken to be nearer to 0 and 1 than that of so much of a row.
PSEUDO_COUNT = 0.5
# Variances below this share of the largest one are rounding.
VARIANCE_FLOOR = 1e-9
# A machine is lost by whose reconstructions rows have so many times the error that
# they have by their mean.
LOST = 2.0


@dataclass(frozen=True)
class LogPartition:
    """The logarithm of a partition function, in nats."""

    value: float
    error: float = 0.0
    """Standard error; 0 where it is exact."""
    deviation: float = 0.0
    """Standard deviation over the chains of the logarithms that were averaged."""


@dataclass(frozen=True)
class BoltzmannMachine:
    """A restricted Boltzmann machine, in the units of the rows.

    Attributes
    ----------
    weight : ndarray of shape (d, k)
        W of the energy.
    visible_bias : ndarray of shape (d,)
        b.
    hidden_bias : ndarray of shape (k,)
        c.
    visible, hidden : {"bernoulli", "gaussian"}
        Types of the units.
    noise : float
        Variance s2 of Gaussian visible units given the hidden ones.
    base : ndarray of shape (d,) or None
        Visible biases of the model without hidden units, at which annealing begins.
    seed : int
        Of the chains of annealed importance sampling.
    """

    weight: NDArray
    visible_bias: NDArray
    hidden_bias: NDArray
    visible: str = "bernoulli"
    hidden: str = "bernoulli"
    noise: float = 1.0
    base: NDArray | None = None
    seed: int = 0

    @property
    def sides(self) -> tuple[bool, bool]:
        """Whether visible and hidden units are Gaussian."""
        return self.visible == "gaussian", self.hidden == "gaussian"

    def hidden_input(self, V: NDArray) -> NDArray:
        """Return ``a = W' r(v)`` of rows, shape (n, k), in their dtype."""
        if self.visible == "bernoulli":
            return V @ self.weight.astype(V.dtype)
        weight = (self.weight / self.noise).astype(V.dtype)
        return (V - self.visible_bias.astype(V.dtype)) @ weight

    def hidden_mean(self, V: NDArray) -> NDArray:
        """Return the means of the hidden units given rows, shape (n, k)."""
        mean = self.hidden_input(V)
        mean += self.hidden_bias.astype(V.dtype)
        return mean if self.hidden == "gaussian" else expit(mean, out=mean)

    def visible_mean(self, H: NDArray) -> NDArray:
        """Return the means of the visible units given hidden ones, shape (n, d)."""
        mean = H @ self.weight.T.astype(H.dtype)
        mean += self.visible_bias.astype(H.dtype)
        return mean if self.visible == "gaussian" else expit(mean, out=mean)

    def sampled(self, V: NDArray, rng: RandomState) -> NDArray:
        """Return rows after one step of Gibbs sampling, hidden units first."""
        H = drawn(self.hidden_mean(V), self.hidden, 1.0, rng)
        return drawn(self.visible_mean(H), self.visible, self.noise, rng)

    def is_lost(self, V: NDArray) -> bool:
        """Whether rows are further from their reconstructions than from their mean.

        Those of Bernoulli units cannot be far.
        """
        if self.visible == "bernoulli":
            return False
        error = np.square(self.visible_mean(self.hidden_mean(V)) - V).sum()
        rounding = VARIANCE_FLOOR * np.square(V).sum()
        return bool(error > LOST * np.square(V - V.mean(0)).sum() + rounding)

    def free_energy(self, V: NDArray) -> NDArray:
        """Return the free energy of rows in nats, shape (n,)."""
        V = V.astype(np.float64, copy=False)
        a, c = self.hidden_input(V), self.hidden_bias
        if self.visible == "gaussian":
            energy = ((V - self.visible_bias) ** 2).sum(1) / (2 * self.noise)
        else:
            energy = -(V @ self.visible_bias)
        if self.hidden == "gaussian":
            constant = 0.5 * len(c) * math.log(2 * math.pi)
            return energy - 0.5 * (a**2).sum(1) - a @ c - constant
        return energy - np.logaddexp(0, a + c).sum(1)

    # The partition function

    def exact_log_partition(self, most_units: int = MOST_ENUMERATED) -> float | None:
        """Return log Z where it is cheap, or None.

        That is in closed form without weights, or with Gaussian units on both sides,
        and by enumeration of the states of a Bernoulli side of few units.
        """
        d, k = self.weight.shape
        gaussian_v, gaussian_h = self.sides
        of_visible = 0.5 * d * math.log(2 * math.pi * self.noise)
        of_hidden = 0.5 * k * math.log(2 * math.pi)
        if not self.weight.any():
            if not gaussian_v:
                of_visible = float(np.logaddexp(0, self.visible_bias).sum())
            if not gaussian_h:
                of_hidden = float(np.logaddexp(0, self.hidden_bias).sum())
            return of_visible + of_hidden
        if gaussian_v and gaussian_h:
            singular = np.linalg.svd(self.weight, compute_uv=False) ** 2 / self.noise
            # The precision (I - W W' / s2) / s2 has these eigenvalues.
            loadings = self.weight.T @ self.weight / self.noise  # (k, k)
            pushed = loadings @ self.hidden_bias
            inner = np.linalg.solve(np.eye(k) - loadings, pushed)
            shift = 0.5 * self.hidden_bias @ inner
            return of_visible + of_hidden - 0.5 * np.log1p(-singular).sum() + shift
        if not gaussian_h and k <= most_units and (gaussian_v or k <= d):
            return _log_sum_of_states(
                self.weight.T,
                self.hidden_bias,
                self.visible_bias,
                self.noise if gaussian_v else None,
            ) + (of_visible if gaussian_v else 0.0)
        if not gaussian_v and d <= most_units:
            linear = self.visible_bias
            if gaussian_h:  # where |a + c|^2 / 2 less |c|^2 / 2 is left
                linear = linear + self.weight @ self.hidden_bias
            one = 1.0 if gaussian_h else None
            found = _log_sum_of_states(self.weight, linear, self.hidden_bias, one)
            return found + (of_hidden if gaussian_h else 0.0)
        return None

    def log_partition(
        self,
        device: torch.device,
        most_units: int = MOST_ENUMERATED,
        n_chains: int = N_CHAINS,
        n_temperatures: int = N_TEMPERATURES,
    ) -> LogPartition:
        """Return log Z, exactly where that is cheap, else by annealing."""
        exact = self.exact_log_partition(most_units)
        if exact is not None:
            return LogPartition(exact)
        return self.annealed(device, n_chains, n_temperatures)

    def annealed(
        self, device: torch.device, n_chains: int, n_temperatures: int
    ) -> LogPartition:
        """Estimate log Z by annealed importance sampling.

        Chains go from the model without hidden units, whose visible biases are `base`,
        to this one (Salakhutdinov & Murray 2008, section 4.1): weights and Bernoulli
        hidden biases are multiplied by a number that rises from 0 to 1 in equal steps.
        """
        path = AnnealedPath(self, device)
        v = path.first(n_chains)
        logs = torch.zeros(n_chains, dtype=torch.float64, device=device)
        before = 0.0
        for beta in np.linspace(0, 1, n_temperatures + 1)[1:].tolist():
            a = v @ path.weight
            logs += path.log_weight(v, a, beta) - path.log_weight(v, a, before)
            if beta < 1:
                v = path.moved(a, beta)
            before = beta
        found = logs.cpu().numpy()
        ratios = np.exp(found - found.max())
        value = path.log_base + float(found.max() + math.log(ratios.mean()))
        error = float(ratios.std(ddof=1) / ratios.mean() / math.sqrt(n_chains))
        return LogPartition(value, error, float(found.std(ddof=1)))


def drawn(mean: NDArray, units: str, variance: float, rng: RandomState) -> NDArray:
    """Draw units of these means."""
    if units == "bernoulli":
        return (rng.uniform(size=mean.shape) < mean).astype(mean.dtype)
    noise = rng.standard_normal(mean.shape).astype(mean.dtype)
    return mean + mean.dtype.type(math.sqrt(variance)) * noise


def _log_sum_of_states(
    weight: NDArray, linear: NDArray, other: NDArray, noise: float | None
) -> float:
    """Return ``log sum_u exp(linear'u + g(u' weight))`` over all binary states u.

    ``g`` has the other side summed out, less its constant: it is
    ``|u' weight|^2 / (2 noise)`` of Gaussian units, or the sum of
    ``softplus(other + u' weight)``.

    Parameters
    ----------
    weight : ndarray of shape (m, n)
        Of m units to enumerate, and n others.
    linear : ndarray of shape (m,)
    other : ndarray of shape (n,)
    noise : float or None
        None: the other units are Bernoulli ones.
    """
    m, n = weight.shape
    W, w0 = torch.from_numpy(weight.astype(np.float64)), torch.from_numpy(other)
    piece = 2 ** max(0, min(m, int(math.log2(ENUMERATED_NUMBERS / (m + n)))))
    parts = []
    for first in range(0, 2**m, piece):
        numbers = np.arange(first, first + piece)
        states = ((numbers[:, None] >> np.arange(m)) & 1).astype(np.float64)
        pushed = torch.from_numpy(states) @ W
        if noise is None:
            terms = torch.nn.functional.softplus(pushed + w0).sum(1)
        else:
            terms = pushed.square().sum(1) / (2 * noise)
        parts.append(logsumexp(states @ linear + terms.numpy()))
    return float(logsumexp(parts))


# Where it starts


def moments(X: Any, weight: NDArray | None, units: str) -> tuple[NDArray, float]:
    """Return the mean of (weighted) rows, and the scale that they are divided by.

    It is the root of the mean variance of the columns, and 1 for Bernoulli units.
    """
    w = np.ones(X.shape[0]) if weight is None else weight
    total, d = w.sum(), X.shape[1]
    mean, variance = np.zeros(d), 0.0
    for rows in row_chunks(X):
        mean += w[rows] @ as_dense(X[rows]) / total
    if units == "bernoulli":
        return mean, 1.0
    for rows in row_chunks(X):
        centred = as_dense(X[rows]) - mean
        variance += float((w[rows] @ centred**2).sum()) / (total * d)
    return mean, math.sqrt(variance) or 1.0


def base_rates(mean: NDArray, total: float) -> NDArray:
    """Return the logits of column means, as of one more row of 1/2."""
    return logit((mean * total + PSEUDO_COUNT) / (total + 2 * PSEUDO_COUNT))


def independent_start(
    X: Any, weight: NDArray | None, k: int, units: tuple[str, str], seed: int
) -> tuple[BoltzmannMachine, NDArray, float]:
    """Return the machine without weights of (weighted) rows, their mean and scale.

    It is the independent distributions of the columns: their shares, or normal ones of
    one variance.
    """
    mean, scale = moments(X, weight, units[0])
    total = float(X.shape[0] if weight is None else weight.sum())
    b = base_rates(mean, total) if units[0] == "bernoulli" else mean
    parameters = np.zeros((len(mean), k)), b, np.zeros(k)
    return BoltzmannMachine(*parameters, *units, scale**2, b, seed), mean, scale


def gaussian_start(
    X: Any, weight: NDArray | None, k: int, seed: int
) -> tuple[BoltzmannMachine, NDArray, float]:
    """Return probabilistic PCA of (weighted) rows, their mean and scale."""
    n, d = X.shape
    n = n if weight is None else max(n, round(weight.sum()))
    pca = linear_start(X, min(k, n, d), weight, seed)
    return gaussian_machine(pca, k, seed), pca.mean, pca.scale


def gaussian_machine(pca: Start, k: int, seed: int) -> BoltzmannMachine:
    """Return the machine of `k` hidden units that is probabilistic PCA.

    With axes U of variances L and the mean s2 of the others, the precision of
    ``W = U (s2 (1 - s2 / L))^1/2`` is that of probabilistic PCA.
    """
    d, variances = len(pca.mean), pca.explained_variance
    noise = pca.noise_variance
    if pca.n_components == d:  # nothing is left over: the last axis is the noise
        noise = float(variances.min())
    noise = max(noise, VARIANCE_FLOOR * float(variances.max(initial=0)))
    noise = noise or 1.0
    kept = np.maximum(1 - noise / np.maximum(variances, noise), 0)
    loadings = np.zeros((d, k))
    loadings[:, : len(kept)] = pca.components.T * np.sqrt(noise * kept)
    biases, both = (pca.mean, np.zeros(k)), ("gaussian", "gaussian")
    return BoltzmannMachine(loadings, *biases, *both, noise, pca.mean, seed)
