"""The density ratio of pairs of codes, and what it says of mutual information.

Let u and v be codes of two views, white and correlated with one another in pairs, by
rho. Under their joint normal distribution

    log p(x, y) / (p(x) p(y))
        = sum [rho u v - rho^2 (u^2 + v^2) / 2] / (1 - rho^2) - 1/2 sum log(1 - rho^2),

and this is the best critic that noise-contrastive estimation can find for such codes
(van den Oord et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Rows below which the training rows' own correlations are not trusted.
TRUSTED = 40
# The largest correlation, of a column that both views have.
MOST_CORRELATED = 1 - 1e-6
# The variance of a code that is none, where others have 1.
EMPTY = 1e-12
# The weight of a candidate that is none.
NEVER = 1e-30
# Scores of all pairs at a time.
BLOCK_NUMBERS = 2**22
# By which correlations are weakened where codes have heavy tails.
WEAKER = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05)
# Nats that are not worth more of it, nor more shrinkage.
INDIFFERENT = 1e-3


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

    def padded(self, k: int) -> CodePairs:
        """Return that of so many codes: the first, and some that say nothing."""
        more = CodePairs.white(np.zeros(max(k - len(self.correlations), 0)))
        names = "correlations", "x_variance", "y_variance"
        return CodePairs(
            *(np.append(getattr(self, n)[:k], getattr(more, n)) for n in names)
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


def score_by_chance(
    u: Tensor, v: Tensor, weight: Tensor, coefficients: Tensor
) -> float:
    """Return the logarithm of the mean ratio of unrelated pairs: 0 of a density ratio.

    That is among those with each row, in both views; and then the median over the rows,
    or one that is far away would decide.

    Parameters
    ----------
    u, v : Tensor of shape (n, k)
        Codes of pairs; those of equal ones are not unrelated.
    weight : Tensor of shape (n,)
    coefficients : Tensor of shape (4, k)
    """
    number = torch.cat([u, v], 1).unique(dim=0, return_inverse=True)[1]
    share = weight.expand(len(u), -1).masked_fill(number[:, None] == number, 0)
    total = share.sum(1, keepdim=True)
    if not total.all():
        return 0.0
    share = (share / total).log()
    scores = log_ratio(u, v, coefficients)
    of_both = (scores + share).logsumexp(1) + (scores.T + share).logsumexp(1)
    of_both, order = of_both.sort()
    below = weight[order].cumsum(0) / weight.sum()
    return float(0.5 * of_both[(below < 0.5 - 1e-9).sum()])


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
