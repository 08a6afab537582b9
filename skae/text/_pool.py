"""A masked token, from n-grams in several directions.

Each expert is modified Kneser-Ney over contexts that it reads in an order of its own:
from a token to the left, to the right, to both sides in turn, one token at a distance,
or nothing. A log-linear pool weighs what they say,

    p(w) ~ prod_j p_j(w)^e_j,

normalised over all tokens. With its exponents it is a multinomial logistic regression
whose features are log-probabilities, and concave: they are those of maximum likelihood
of tokens that are masked, each left out of what was counted (Genest & Zidek 1986;
Heskes 1998). Other masked tokens are not known: there a context ends.

References
----------
Genest & Zidek (1986). Combining probability distributions.
Heskes (1998). Selecting weighting factors in logarithmic opinion pools.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike, NDArray

from ._exponents import Trials, best_of, blocks
from ._ngrams import ORDERS, LeftOut, NGrams

# The distances of pairs of tokens.
DISTANCES = range(1, 6)
# Masked tokens that say how much experts count, and as many that choose among them;
# fewer of a large vocabulary.
ROWS = 2000
ROW_NUMBERS = 2**26
# So few tokens say nothing of exponents: the best expert is alone then.
FEW_TOKENS = 500
# Few tokens are masked several times.
MOST_DRAWS = 10
# Tokens that compete with a masked one: the likeliest, and some that are drawn.
LIKELIEST, DRAWN = 256, 256


@dataclass(frozen=True)
class Reach:
    """Which tokens a context consists of.

    Attributes
    ----------
    offsets : tuple of int
        Where they are, from the first one on. A side ends with the boundary of the
        sequence; the next offsets then follow.
    length : int
    """

    offsets: tuple[int, ...] = ()
    length: int = 0

    @classmethod
    def left(cls, length: int) -> Reach:
        """Return that of what precedes a token."""
        return cls(tuple(range(-1, -length - 1, -1)), length)

    @classmethod
    def both(cls, length: int) -> Reach:
        """Return that of both sides in turn, the left one first."""
        pairs = ((-j, j) for j in range(1, length + 1))
        return cls(tuple(offset for pair in pairs for offset in pair), length)

    @property
    def mirrored(self) -> Reach:
        """The same on the other side."""
        return Reach(tuple(-offset for offset in self.offsets), self.length)

    def contexts(
        self, tokens: NDArray, starts: NDArray, n_tokens: int, at: NDArray
    ) -> NDArray:
        """Return the contexts of some positions.

        Parameters
        ----------
        tokens : ndarray of int of shape (n,)
            Of all sequences, one after another; -1 where a token is masked.
        starts : ndarray of int of shape (n_sequences,)
        n_tokens : int
        at : ndarray of int of shape (m,)

        Returns
        -------
        ndarray of int32 of shape (m, length)
        """
        sequence = np.searchsorted(starts, at, side="right") - 1
        begin, end = starts[sequence], np.append(starts[1:], len(tokens))[sequence]
        contexts = np.full((len(at), self.length), -1, dtype=np.int32)
        filled = np.zeros(len(at), dtype=np.int64)
        for offset in self.offsets:
            place = at + offset
            inside = (place >= begin) & (place < end)
            token = np.where(inside, tokens[place.clip(0, len(tokens) - 1)], n_tokens)
            rows = np.flatnonzero(
                (place >= begin - 1) & (place <= end) & (filled < self.length)
            )
            contexts[rows, filled[rows]] = token[rows]
            filled[rows] += 1
        return contexts


def families(length: int) -> list[tuple[Reach, ...]]:
    """Return what experts may be a pool, whose contexts are of so many tokens.

    The last one is of all of them. All begin with the one that reads nothing.
    """
    left, left_first = Reach.left(length), Reach.both(length)
    sides, both = (left, left.mirrored), (left_first, left_first.mirrored)
    pairs = [Reach((sign * d,), 1) for d in DISTANCES for sign in (-1, 1)]
    nothing = Reach()
    return [
        (nothing, *sides),
        (nothing, *both),
        (nothing, *sides, *both),
        (nothing, *sides, *both, *pairs),
    ]


@dataclass(frozen=True)
class Found:
    """What experts found of masked tokens.

    Attributes
    ----------
    contexts : tuple of ndarray of int32 of shape (n, order)
        One for each expert; see :meth:`NGrams.find`.
    left_out : tuple of LeftOut, or None
        One for each expert: the masked tokens were counted, and do not count.
    """

    contexts: tuple[NDArray, ...]
    left_out: tuple[LeftOut, ...] | None

    def __len__(self) -> int:
        return len(self.contexts[0])

    def __getitem__(self, rows: NDArray | slice) -> Found:
        contexts = tuple(c[rows] for c in self.contexts)
        if self.left_out is None:
            return Found(contexts, None)
        return Found(contexts, tuple(out[rows] for out in self.left_out))


@dataclass(frozen=True)
class Pool:
    """A log-linear pool of n-grams: the probability of a masked token.

    Attributes
    ----------
    n_tokens : int
    reaches : tuple of Reach
        What each expert reads.
    experts : tuple of NGrams
    exponents : ndarray of shape (n_experts,)

    Examples
    --------
    >>> import numpy as np
    >>> from skae.text._pool import Pool
    >>> tokens, starts = np.tile([0, 1, 2, 0, 2, 1], 50), np.arange(0, 300, 6)
    >>> pool = Pool.of(tokens, starts, n_tokens=3, mask_fraction=0.15, seed=0)
    >>> masked = np.array([False, False, True, False, False, True])
    >>> text = np.array([0, 1, -1, 0, 2, -1])
    >>> found = pool.find(text, np.array([0]), np.flatnonzero(masked), masked)
    >>> pool.log_probs(found).argmax(1)
    array([2, 1])
    """

    n_tokens: int
    reaches: tuple[Reach, ...]
    experts: tuple[NGrams, ...]
    exponents: NDArray

    @classmethod
    def of(
        cls,
        tokens: NDArray,
        starts: NDArray,
        n_tokens: int,
        mask_fraction: float,
        seed: int,
        at: NDArray | None = None,
    ) -> Pool:
        """Count experts, and choose those that a pool is better with.

        Parameters
        ----------
        tokens : ndarray of int of shape (n,)
            All sequences, one after another.
        starts : ndarray of int of shape (n_sequences,)
            Where each begins.
        n_tokens : int
        mask_fraction : float
            Share of the tokens that are masked.
        seed : int
        at : ndarray of int, optional
            Positions of the tokens that are counted. None: all.
        """
        at = np.arange(len(tokens)) if at is None else at

        def contexts_of(reach: Reach) -> NDArray:
            return reach.contexts(tokens, starts, n_tokens, at)

        left = contexts_of(Reach.left(ORDERS[-1] - 1))
        order = NGrams.best(left, tokens[at], n_tokens).order
        candidates = families(max(order - 1, 2))  # one token would be a pair's
        reaches = candidates[-1]
        experts = tuple(
            NGrams.of(contexts_of(reach), tokens[at], n_tokens) for reach in reaches
        )
        whole = cls(n_tokens, reaches, experts, np.ones(len(reaches)))
        rng = np.random.default_rng(seed)
        fitting, choosing = whole._trials(tokens, starts, at, mask_fraction, rng)
        pools = [[reaches.index(reach) for reach in family] for family in candidates]
        if len(at) < FEW_TOKENS:
            pools, choosing = [], Trials.joined([fitting, choosing])
        chosen, exponents = best_of(
            choosing, [(pool, fitting.of(pool).exponents()) for pool in pools]
        )
        return cls(
            n_tokens,
            tuple(reaches[j] for j in chosen),
            tuple(experts[j] for j in chosen),
            exponents,
        )

    def recounted(self, tokens: NDArray, starts: NDArray, at: NDArray) -> Pool:
        """Return the pool of the same experts, with the same exponents, of others."""
        experts = tuple(
            NGrams.of(
                reach.contexts(tokens, starts, self.n_tokens, at),
                tokens[at],
                self.n_tokens,
            )
            for reach in self.reaches
        )
        return replace(self, experts=experts)

    def _trials(
        self,
        tokens: NDArray,
        starts: NDArray,
        counted: NDArray,
        mask_fraction: float,
        rng: Generator,
    ) -> tuple[Trials, Trials]:
        """Mask tokens, and return what is said of two halves of them.

        A token that is masked several times is always in the same half.
        """
        n = len(counted)
        n_rows = min(2 * ROWS, ROW_NUMBERS // self.n_tokens)
        n_draws = min(max(1, math.ceil(n_rows / (n * mask_fraction))), MOST_DRAWS)
        half = rng.random(len(tokens)) < 0.5
        parts: list[list[Trials]] = [[], []]
        for _ in range(n_draws):
            at = counted[rng.random(n) < mask_fraction]
            masked = np.zeros(len(tokens), dtype=bool)
            masked[at] = True
            some = rng.choice(at, min(len(at), -(-n_rows // n_draws)), replace=False)
            found = self.find(tokens, starts, some, masked, left_out=True)
            for rows in blocks(len(some), self.n_tokens * len(self.experts)):
                part = self._said(found[rows], tokens[some[rows]], rng)
                for side in (0, 1):
                    parts[side].append(part[half[some[rows]] == side])
        return Trials.joined(parts[0]), Trials.joined(parts[1])

    def _said(self, found: Found, targets: NDArray, rng: Generator) -> Trials:
        """Return what each expert says of tokens, and of those that compete."""
        said = np.stack(  # (n_experts, n, n_tokens)
            [grams.log_probs(c, out, np.float32) for grams, c, out in self._each(found)]
        )
        of_targets = said[:, np.arange(len(targets)), targets].T
        if self.n_tokens <= LIKELIEST + DRAWN:
            weight = np.zeros((len(targets), self.n_tokens), dtype=np.float32)
            return Trials(of_targets, np.moveaxis(said, 0, -1), weight)
        # Half-way between the mean of what they say and evidence that is independent.
        score = said[1:].sum(0) - 0.5 * (len(said) - 1) * said[0]
        score[np.arange(len(targets)), targets] = np.inf
        likeliest = np.argpartition(score, -LIKELIEST, axis=1)[:, -LIKELIEST:]
        # Some of those that are left stand for all of them.
        p = np.exp(self.experts[0].log_probs(np.zeros((1, 1), dtype=np.int32))[0])
        drawn = rng.choice(self.n_tokens, DRAWN, p=p)
        others = np.ones(score.shape, dtype=bool)
        np.put_along_axis(others, likeliest, False, 1)
        weight = np.where(others[:, drawn], -np.log(DRAWN * p[drawn]), -np.inf)
        most = np.take_along_axis(said, likeliest[None], 2)
        rivals = np.concatenate([most, said[:, :, drawn]], 2)
        weight = np.c_[np.zeros(likeliest.shape), weight].astype(np.float32)
        return Trials(of_targets, np.moveaxis(rivals, 0, -1), weight)

    def find(
        self,
        tokens: NDArray,
        starts: NDArray,
        at: NDArray,
        masked: NDArray,
        *,
        left_out: bool = False,
    ) -> Found:
        """Return what experts find of tokens.

        Parameters
        ----------
        tokens : ndarray of int of shape (n,)
            All sequences, one after another.
        starts : ndarray of int of shape (n_sequences,)
        at : ndarray of int of shape (m,)
            Positions of the tokens. What stands there does not matter.
        masked : ndarray of bool of shape (n,)
            Tokens that no context has.
        left_out : bool
            Whether these tokens were counted, in these sequences, and shall not be.

        Returns
        -------
        Found
            Of m tokens.
        """
        visible = np.where(masked, -1, tokens)
        contexts, own = [], []
        for reach, grams in zip(self.reaches, self.experts, strict=True):
            seen = reach.contexts(visible, starts, self.n_tokens, at)
            contexts.append(grams.find(seen))
            if left_out:
                full = reach.contexts(tokens, starts, self.n_tokens, at)
                own.append(grams.left_out(grams.find(full), tokens[at]))
        return Found(tuple(contexts), tuple(own) if left_out else None)

    def _each(self, found: Found) -> Iterator[tuple[NGrams, NDArray, LeftOut | None]]:
        """Yield each expert, the contexts that it found, and what is left out."""
        outs = found.left_out or (None,) * len(self.experts)
        return zip(self.experts, found.contexts, outs, strict=True)

    def log_probs(self, found: Found, dtype: DTypeLike = np.float64) -> NDArray:
        """Return the log-probabilities of all tokens, in nats.

        Parameters
        ----------
        found : Found
            Of n masked tokens.
        dtype : dtype
            float32 or float64.

        Returns
        -------
        ndarray of shape (n, n_tokens)
        """
        pooled = np.zeros((len(found), self.n_tokens), dtype)
        for exponent, each in zip(self.exponents, self._each(found), strict=True):
            grams, contexts, left_out = each
            log_probs = grams.log_probs(contexts, left_out, dtype)
            log_probs *= float(exponent)
            pooled += log_probs
        pooled -= pooled.max(1, keepdims=True)
        pooled -= np.log(np.exp(pooled).sum(1, keepdims=True))
        return pooled

    def log_prob(self, found: Found, targets: NDArray) -> NDArray:
        """Return the log-probabilities of tokens, in nats, shape (n,)."""
        log_prob = np.empty(len(found))
        for rows in blocks(len(found), self.n_tokens):
            log_probs = self.log_probs(found[rows])
            log_prob[rows] = log_probs[np.arange(len(log_probs)), targets[rows]]
        return log_prob

    def evidence(self, found: Found) -> NDArray:
        """Return how much experts know, shape (n, all their orders, 2).

        That of each is beside that of the others; see :meth:`NGrams.evidence`.
        """
        each = [grams.evidence(c, out) for grams, c, out in self._each(found)]
        return np.concatenate(each, 1)
