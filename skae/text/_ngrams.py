"""N-grams: what follows a context, by interpolated modified Kneser-Ney.

Let c(h, w) be how often token w was counted after a context h, and h' the same context
without its farthest token. With discounts D_1, D_2 and D_3 of counts 1, 2, and of 3 or
more

    p(w | h) = [c(h, w) - D_c(h, w) + p(w | h') sum_v D_c(h, v)] / sum_v c(h, v),

and below the empty context all tokens are alike (Chen & Goodman 1998, section 3). After
the longest contexts occurrences are counted, and after shorter ones the distinct
one-longer contexts in which a token occurred; a context that ends early, as where a
sequence begins, counts occurrences as well.

One occurrence can be left out in closed form. It is taken out of the count after its
longest context, and after a shorter one where it was the only one after the longer;
the discounts stay.

Which tokens a context consists of does not matter, as long as they are given from the
nearest outwards: those before a token, those after it, or both in turn.

References
----------
Chen & Goodman (1998). An empirical study of smoothing techniques for language modeling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._counting import Counting, Level, joined, places, taken

# Orders that are tried, and how many in a row may bring nothing.
ORDERS = range(2, 8)
PATIENCE = 2
# Positions that choose the order.
CHOOSING = 100_000


def left_contexts(
    tokens: NDArray, starts: NDArray, n_tokens: int, length: int
) -> NDArray:
    """Return what precedes each token of some sequences.

    Parameters
    ----------
    tokens : ndarray of int of shape (n,)
        All sequences, one after another.
    starts : ndarray of int of shape (n_sequences,)
        Where each begins.
    n_tokens : int
        The number of the boundary, which precedes every sequence.
    length : int

    Returns
    -------
    ndarray of int32 of shape (n, length)
        From the nearest token outwards; -1 beyond the boundary.
    """
    n = len(tokens)
    begin = np.zeros(n, dtype=np.int64)
    starts = starts[starts < n]  # an empty sequence may be the last
    begin[starts] = starts
    before = np.arange(n) - np.maximum.accumulate(begin)  # tokens of the sequence
    contexts = np.full((n, length), -1, dtype=np.int32)
    for j in range(length):
        contexts[j + 1 :, j] = tokens[: max(n - j - 1, 0)]
        contexts[before == j, j] = n_tokens
        contexts[before < j, j] = -1
    return contexts


@dataclass(frozen=True)
class LeftOut:
    """One occurrence of a token at each of some positions, to be taken out.

    Attributes
    ----------
    targets : ndarray of int of shape (n,)
    counts : ndarray of int of shape (n, order)
        Those of the targets after contexts of each length.
    own : ndarray of bool of shape (n, order)
        Those of which the occurrence is a part.
    """

    targets: NDArray
    counts: NDArray
    own: NDArray

    def __getitem__(self, positions: NDArray | slice) -> LeftOut:
        return LeftOut(*(a[positions] for a in (self.targets, self.counts, self.own)))


@dataclass(frozen=True)
class NGrams:
    """Modified Kneser-Ney: the probability of a token given those around it.

    Attributes
    ----------
    n_tokens : int
        Targets are 0 to n_tokens - 1. In contexts, n_tokens is the boundary of a
        sequence, and -1 is nothing: there a context ends.
    levels : tuple of Level
        One for each length of a context, 0 to order - 1.

    Notes
    -----
    The tables take 12 bytes for each distinct n-gram of each order, and 20 for each
    distinct context, 4 less where keys are small: 50 to 90 MB for a million words and
    contexts of up to four tokens, a tenth of it for characters.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.text._ngrams import NGrams, left_contexts
    >>> tokens = np.array([0, 1, 2, 0, 1, 2, 0, 2, 1, 0, 1, 2])
    >>> contexts = left_contexts(tokens, np.array([0, 6]), n_tokens=3, length=1)
    >>> bigrams = NGrams.of(contexts, tokens, n_tokens=3)
    >>> found = bigrams.find(np.array([[1]]))
    >>> np.exp(bigrams.log_probs(found)).round(2)
    array([[0.35, 0.2 , 0.45]])
    """

    n_tokens: int
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, contexts: NDArray, targets: NDArray, n_tokens: int) -> NGrams:
        """Count tokens after their contexts.

        Parameters
        ----------
        contexts : ndarray of int of shape (n, order - 1)
            From the nearest token outwards.
        targets : ndarray of int of shape (n,)
        n_tokens : int
        """
        counting = Counting(contexts, targets, n_tokens)
        return cls(n_tokens, counting.levels(contexts.shape[1] + 1))

    @classmethod
    def best(
        cls,
        contexts: NDArray,
        targets: NDArray,
        n_tokens: int,
    ) -> NGrams:
        """Count in the order in which tokens are the likeliest when left out.

        Larger orders are not tried once two in a row are no better than a smaller one.

        Parameters
        ----------
        contexts : ndarray of int of shape (n, max(ORDERS) - 1)
        targets : ndarray of int of shape (n,)
        n_tokens : int
        """
        counting = Counting(contexts, targets, n_tokens)
        n = len(targets)
        some = np.linspace(0, n - 1, min(n, CHOOSING)).astype(np.int64)
        best, likeliest, in_vain = None, -np.inf, 0
        for order in ORDERS:
            grams = cls(n_tokens, counting.levels(order))
            found = np.stack([ids[some] for ids in counting.ids[:order]], 1)
            left_out = grams.left_out(found, targets[some])
            mean = grams.log_prob(found, targets[some], left_out).mean()
            if best is None or mean > likeliest:
                best, likeliest, in_vain = grams, mean, 0
                continue
            in_vain += 1
            if in_vain == PATIENCE:
                break
        assert best is not None
        return best

    @property
    def discounts(self) -> NDArray:
        """Those after contexts of each length, shape (order, 3)."""
        return np.stack([level.discounts for level in self.levels])

    @property
    def order(self) -> int:
        """The longest contexts are of order - 1 tokens."""
        return len(self.levels)

    def find(self, contexts: NDArray) -> NDArray:
        """Return the numbers of the contexts of each length.

        Parameters
        ----------
        contexts : ndarray of int of shape (n, order - 1)

        Returns
        -------
        ndarray of int32 of shape (n, order)
            -1 for a context that was not seen, or does not go so far. What is set to -1
            is not used: it shortens contexts, from any length on.
        """
        found = np.zeros((len(contexts), self.order), dtype=np.int32)
        for k, level in enumerate(self.levels[1:], start=1):
            parent, token = found[:, k - 1], contexts[:, k - 1]
            keys = joined(parent, token, self.n_tokens + 1)
            found[:, k] = places(level.contexts, keys)
            found[(parent < 0) | (token < 0), k] = -1
        return found

    def counts(self, found: NDArray, targets: NDArray) -> NDArray:
        """Return how often targets were counted after contexts of each length.

        Parameters
        ----------
        found : ndarray of int of shape (n, order)
            What :meth:`find` returned.
        targets : ndarray of int of shape (n,)

        Returns
        -------
        ndarray of int32 of shape (n, order)
        """
        counts = np.zeros(found.shape, dtype=np.int32)
        for k, level in enumerate(self.levels):
            seen = np.flatnonzero(found[:, k] >= 0)
            keys = joined(found[seen, k], targets[seen], self.n_tokens)
            place = places(level.grams, keys)
            counts[seen, k] = np.where(place < 0, 0, level.counts[place])
        return counts

    def left_out(self, found: NDArray, targets: NDArray) -> LeftOut:
        """Return what one occurrence of each target is a part of.

        Parameters
        ----------
        found : ndarray of int of shape (n, order)
            What :meth:`find` returned of the contexts that were counted, in full.
        targets : ndarray of int of shape (n,)
            The tokens that were counted after them.
        """
        counts = self.counts(found, targets)
        own = np.zeros(counts.shape, dtype=bool)
        longest = (found >= 0).sum(1) - 1
        own[np.arange(len(own)), longest] = True
        for k in reversed(range(1, self.order)):
            own[:, k - 1] |= own[:, k] & (counts[:, k] == 1)
        return LeftOut(targets, counts, own)

    def log_prob(
        self, found: NDArray, targets: NDArray, left_out: LeftOut | None = None
    ) -> NDArray:
        """Return the log-probabilities of tokens, in nats.

        Parameters
        ----------
        found : ndarray of int of shape (n, order)
            What :meth:`find` returned; it may be cut.
        targets : ndarray of int of shape (n,)
        left_out : LeftOut, optional
            Occurrences of these very targets that do not count.

        Returns
        -------
        ndarray of shape (n,)
        """
        totals, held = self._totals(found, left_out)
        if left_out is None:
            counts = self.counts(found, targets)
        else:
            counts = left_out.counts - left_out.own
        p = np.full(len(targets), 1 / self.n_tokens)
        for k, level in enumerate(self.levels):
            total, count = totals[:, k], counts[:, k]
            mixed = count - taken(count, level.discounts) + held[:, k] * p
            np.divide(mixed, total, out=p, where=total > 0)
        return np.log(p)

    def log_probs(
        self,
        found: NDArray,
        left_out: LeftOut | None = None,
        dtype: DTypeLike = np.float64,
    ) -> NDArray:
        """Return the log-probabilities of all tokens, in nats.

        Parameters
        ----------
        found : ndarray of int of shape (n, order)
            What :meth:`find` returned; it may be cut.
        left_out : LeftOut, optional
            Occurrences that do not count, one for each position.
        dtype : dtype
            float32 or float64.

        Returns
        -------
        ndarray of shape (n, n_tokens)
        """
        totals, held = self._totals(found, left_out)
        seen = totals > 0
        back_off = np.divide(held, totals, out=np.ones_like(held), where=seen)
        # What reaches each level, and at last the uniform distribution.
        reaching = np.cumprod(np.c_[np.ones(len(found)), back_off[:, ::-1]], 1)[:, ::-1]
        scale = np.divide(reaching[:, 1:], totals, out=np.zeros_like(held), where=seen)
        uniform = np.maximum(reaching[:, :1] / self.n_tokens, np.finfo(dtype).tiny)
        of_token = np.zeros(self.n_tokens, dtype)
        of_token[self.levels[0].grams] = self.levels[0].left
        p = scale[:, :1].astype(dtype) * of_token
        p += uniform.astype(dtype)
        for k, level in enumerate(self.levels[1:], start=1):
            rows = np.flatnonzero(seen[:, k])
            first = found[rows, k].astype(level.grams.dtype) * self.n_tokens
            begin = np.searchsorted(level.grams, first)
            size = np.searchsorted(level.grams, first + self.n_tokens) - begin
            # The places of all n-grams of all rows, one row after another.
            shift = np.repeat(begin + size - size.cumsum(), size)
            place = np.arange(size.sum()) + shift
            row = np.repeat(rows, size)
            token = level.grams[place] - np.repeat(first, size)
            left = level.counts[place] - taken(level.counts[place], level.discounts)
            p[row, token] += scale[row, k] * left
        np.log(p, out=p)
        if left_out is not None:
            own = self.log_prob(found, left_out.targets, left_out)
            p[np.arange(len(p)), left_out.targets] = own
        return p

    def evidence(self, found: NDArray, left_out: LeftOut | None = None) -> NDArray:
        """Return how much is known of the contexts of each length.

        Parameters
        ----------
        found : ndarray of int of shape (n, order)
        left_out : LeftOut, optional

        Returns
        -------
        ndarray of shape (n, order, 2)
            log(1 + count) of the context, and the logarithm of its back-off weight;
            both are 0 where it was not seen.
        """
        totals, held = self._totals(found, left_out)
        back_off = np.divide(held, totals, out=np.ones_like(held), where=totals > 0)
        return np.stack([np.log1p(totals), np.log(back_off)], -1)

    def _totals(
        self, found: NDArray, left_out: LeftOut | None
    ) -> tuple[NDArray, NDArray]:
        """Return the counts of contexts and what discounts take, both (n, order)."""
        totals, held = np.zeros(found.shape), np.zeros(found.shape)
        for k, level in enumerate(self.levels):
            seen = np.flatnonzero(found[:, k] >= 0)
            ids = found[seen, k]
            totals[seen, k], held[seen, k] = level.totals[ids], level.held[ids]
            if left_out is None:
                continue
            own = seen[left_out.own[seen, k]]
            count, D = left_out.counts[own, k], level.discounts
            totals[own, k] -= 1
            held[own, k] += taken(count - 1, D) - taken(count, D)
        return totals, held
