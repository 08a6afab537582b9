"""How much each expert of a pool counts, and which of them take part.

See ``_pool.py``: the exponents are those of maximum likelihood of masked tokens, and
others of these choose among the pools.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

# Of the squares of exponents, as of one row.
RIDGE = 1.0
N_ITER, TOL = 50, 1e-10
# Numbers at a time.
BLOCK_NUMBERS = 2**23
# Standard errors by which a smaller pool may be worse.
CHANCE = 1.0


@dataclass(frozen=True)
class Trials:
    """What experts say of masked tokens, and of tokens that compete with them.

    Attributes
    ----------
    of_targets : ndarray of shape (n, n_experts)
        Their log-probabilities of the masked tokens.
    of_rivals : ndarray of shape (n, n_rivals, n_experts)
        Those of all tokens, or of a sample of them.
    log_weight : ndarray of shape (n, n_rivals)
        The logarithm of how many tokens each of the rivals stands for.
    """

    of_targets: NDArray
    of_rivals: NDArray
    log_weight: NDArray

    @classmethod
    def joined(cls, parts: list[Trials]) -> Trials:
        """Return several as one."""
        return cls(
            np.concatenate([part.of_targets for part in parts]),
            np.concatenate([part.of_rivals for part in parts]),
            np.concatenate([part.log_weight for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.of_targets)

    def __getitem__(self, rows: NDArray | slice) -> Trials:
        return Trials(
            self.of_targets[rows], self.of_rivals[rows], self.log_weight[rows]
        )

    def of(self, experts: list[int]) -> Trials:
        """Return what some of the experts say."""
        of_rivals = self.of_rivals[..., experts]
        return Trials(self.of_targets[:, experts], of_rivals, self.log_weight)

    def log_prob(self, exponents: NDArray) -> NDArray:
        """Return what a pool says of the masked tokens, shape (n,)."""
        return self.moments(exponents)[0]

    def moments(self, exponents: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return the log-probabilities, and the derivatives of their sum.

        Returns
        -------
        log_prob : ndarray of shape (n,)
        gradient : ndarray of shape (n_experts,)
        information : ndarray of shape (n_experts, n_experts)
            Less the matrix of second derivatives.
        """
        n_experts = len(exponents)
        log_prob = np.empty(len(self))
        gradient = np.zeros(n_experts)
        information = np.zeros((n_experts, n_experts))
        for rows in blocks(len(self), self.of_rivals[:1].size):
            rivals = self.of_rivals[rows].astype(np.float64)
            of_targets = self.of_targets[rows].astype(np.float64)
            score = rivals @ exponents + self.log_weight[rows]
            total = logsumexp(score, axis=1)
            log_prob[rows] = of_targets @ exponents - total
            p = np.exp(score - total[:, None])
            mean = np.einsum("nk,nkj->nj", p, rivals)
            gradient += (of_targets - mean).sum(0)
            flat = rivals.reshape(-1, n_experts)
            information += (flat * p.reshape(-1, 1)).T @ flat - mean.T @ mean
        return log_prob, gradient, information

    def exponents(self) -> NDArray:
        """Return those of maximum likelihood, but for a ridge, by Newton's method."""
        n_experts = self.of_targets.shape[1]
        exponents = np.full(n_experts, 1 / n_experts)
        log_prob, gradient, information = self.moments(exponents)
        gain = log_prob.sum() - 0.5 * RIDGE * exponents @ exponents
        for _ in range(N_ITER):
            gradient = gradient - RIDGE * exponents
            step = np.linalg.solve(information + RIDGE * np.eye(n_experts), gradient)
            if gradient @ step < TOL * max(len(self), 1):
                break
            while True:
                tried = exponents + step
                log_prob, slope, information = self.moments(tried)
                found = log_prob.sum() - 0.5 * RIDGE * tried @ tried
                if not found < gain:  # NaN, from which no step leads back, ends it too
                    break
                step *= 0.5
            exponents, gradient, gain = tried, slope, found
        return exponents


def best_of(
    trials: Trials, pools: list[tuple[list[int], NDArray]]
) -> tuple[list[int], NDArray]:
    """Return the first pool that is no worse than the best one, but for chance.

    It is no worse than any expert alone, and comes after the best one of these.

    Parameters
    ----------
    trials : Trials
    pools : list of tuple
        Numbers of experts, and their exponents.
    """
    alone = [([j], np.ones(1)) for j in range(trials.of_targets.shape[1])]
    log_probs = [trials.of(pool).log_prob(e) for pool, e in alone]
    expert = int(np.argmax([log_prob.sum() for log_prob in log_probs]))
    pools = [alone[expert], *pools]
    log_probs = [trials.of(pool).log_prob(e) for pool, e in pools]
    totals = [log_prob.sum() for log_prob in log_probs]
    best = int(np.argmax(totals))
    errors = [CHANCE * np.linalg.norm(log_probs[best] - own) for own in log_probs]
    good = [
        total >= max(totals[0], totals[best] - error)
        for total, error in zip(totals, errors, strict=True)
    ]
    return pools[good.index(True)]


def blocks(n: int, numbers: int) -> list[slice]:
    """Return slices of n rows, each of so many numbers, that fit memory."""
    size = max(1, BLOCK_NUMBERS // max(numbers, 1))
    return [slice(i, i + size) for i in range(0, max(n, 1), size)]
