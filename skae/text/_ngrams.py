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

# Keys up to so many times as many as there are numbers are counted in a table of all.
DENSE = 4
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
class Level:
    """What was counted after contexts of one length.

    Contexts are numbered in the order of their keys: the number of the context without
    the farthest token, and this token. Keys of n-grams are the number of the context,
    and the token that follows.
    """

    contexts: NDArray  # (n_contexts,), sorted keys
    grams: NDArray  # (n_grams,), sorted keys
    counts: NDArray  # (n_grams,), int32
    totals: NDArray  # (n_contexts,), int32
    held: NDArray  # (n_contexts,), what discounts take away
    discounts: NDArray  # (3,), of counts 1, 2, and 3 or more

    @classmethod
    def of(
        cls, contexts: NDArray, grams: NDArray, counts: NDArray, n_tokens: int
    ) -> Level:
        """Add up what was counted after each context."""
        discounts = discounts_of(counts)
        if not len(contexts):
            nothing = np.zeros(0)
            return cls(contexts, grams, counts, counts, nothing, discounts)
        starts = np.flatnonzero(np.diff(grams // n_tokens, prepend=-1))
        totals = np.add.reduceat(counts, starts, dtype=np.int32)
        held = np.add.reduceat(taken(counts, discounts), starts)
        return cls(contexts, grams, counts, totals, held, discounts)

    @property
    def left(self) -> NDArray:
        """What discounts leave of each count, shape (n_grams,)."""
        return self.counts - taken(self.counts, self.discounts)


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


class Counting:
    """Positions that are counted, at as many lengths of contexts as are asked for.

    Parameters
    ----------
    contexts : ndarray of int of shape (n, length)
    targets : ndarray of int of shape (n,)
    n_tokens : int

    Attributes
    ----------
    keys : list of ndarray of int of shape (n_contexts,)
        Those of the contexts of each length; see :class:`Level`.
    ids : list of ndarray of int32 of shape (n,)
        The number of the context of each length, -1 where it ended before.
    """

    def __init__(self, contexts: NDArray, targets: NDArray, n_tokens: int) -> None:
        self.contexts = contexts
        self.targets = targets
        self.n_tokens = n_tokens
        self.keys = [np.zeros(1, dtype=np.int32)]
        self.ids = [np.zeros(len(contexts), dtype=np.int32)]
        self.inner: dict[int, Level] = {}

    def levels(self, order: int) -> tuple[Level, ...]:
        """Return what is counted in an order.

        Levels but the longest are the same in every order that has a longer one.
        """
        while len(self.ids) < order:
            self.lengthen()
        levels = [self.occurrences(order - 1)]
        for length in reversed(range(order - 1)):
            if length not in self.inner:
                self.inner[length] = self.continuations(length, levels[-1])
            levels.append(self.inner[length])
        return tuple(levels[::-1])

    def lengthen(self) -> None:
        """Give numbers to contexts that are longer by one token."""
        ids, token = self.ids[-1], self.contexts[:, len(self.ids) - 1]
        goes_on = np.flatnonzero((ids >= 0) & (token >= 0))
        longer = joined(ids[goes_on], token[goes_on], self.n_tokens + 1)
        keys, numbers = numbered(longer, len(self.keys[-1]) * (self.n_tokens + 1))
        self.keys.append(keys)
        self.ids.append(np.full(len(ids), -1, dtype=np.int32))
        self.ids[-1][goes_on] = numbers

    def occurrences(self, length: int) -> Level:
        """Count how often tokens occurred after contexts of a length."""
        return self.level(length, self.grams_at(length, self.ids[length] >= 0))

    def continuations(self, length: int, longer: Level) -> Level:
        """Count after how many one-longer contexts tokens occurred.

        Parameters
        ----------
        length : int
        longer : Level
            That of the one-longer contexts.
        """
        context = longer.grams // self.n_tokens
        token = longer.grams - context * self.n_tokens
        shorter = longer.contexts // (self.n_tokens + 1)
        ends = (self.ids[length] >= 0) & (self.ids[length + 1] < 0)
        distinct = joined(shorter[context], token, self.n_tokens)
        return self.level(length, np.append(distinct, self.grams_at(length, ends)))

    def grams_at(self, length: int, where: NDArray) -> NDArray:
        """Return the keys of the n-grams at some positions."""
        return joined(self.ids[length][where], self.targets[where], self.n_tokens)

    def level(self, length: int, grams: NDArray) -> Level:
        """Count n-grams with contexts of a length."""
        contexts = self.keys[length]
        counts = counted(grams, len(contexts) * self.n_tokens)
        return Level.of(contexts, *counts, self.n_tokens)


def joined(context: NDArray, token: NDArray, n_tokens: int) -> NDArray:
    """Return the keys of contexts together with tokens below n_tokens."""
    return context.astype(np.int64) * n_tokens + token


def numbered(keys: NDArray, bound: int) -> tuple[NDArray, NDArray]:
    """Return the distinct of keys below a bound, sorted, and the number of each key."""
    if bound > DENSE * len(keys):
        return np.unique(as_small(keys, bound), return_inverse=True)
    present = np.zeros(bound, dtype=bool)
    present[keys] = True
    distinct = np.flatnonzero(present)
    number = np.zeros(bound, dtype=np.int32)
    number[distinct] = np.arange(len(distinct))
    return as_small(distinct, bound), number[keys]


def counted(keys: NDArray, bound: int) -> tuple[NDArray, NDArray]:
    """Return the distinct of keys below a bound, sorted, and their counts."""
    if bound > DENSE * len(keys):
        distinct, counts = np.unique(as_small(keys, bound), return_counts=True)
    else:
        counts = np.bincount(keys, minlength=bound)
        distinct = np.flatnonzero(counts)
        counts = counts[distinct]
    return as_small(distinct, bound), counts.astype(np.int32)


def as_small(keys: NDArray, bound: int) -> NDArray:
    """Return keys in 32 bits, where all up to a bound fit."""
    return keys.astype(np.int32 if bound < 2**31 else np.int64, copy=False)


def places(table: NDArray, keys: NDArray) -> NDArray:
    """Return where keys are in a sorted table, and -1 for those that are not."""
    if not len(table):
        return np.full(len(keys), -1)
    place = np.searchsorted(table, keys.astype(table.dtype))
    place[place == len(table)] = 0
    return np.where(table[place] == keys, place, -1)


def discounts_of(counts: NDArray) -> NDArray:
    """Return the discounts of counts 1, 2, and 3 or more, shape (3,).

    With n_r n-grams that were counted r times, and Y = n_1 / (n_1 + 2 n_2), they are
    ``D_r = r - (r + 1) Y n_{r + 1} / n_r`` (Chen & Goodman 1998, equation 26); where
    one of these is 0, Y = 1/2 or D_r = r Y, and none is below Y.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5]
    y = n[0] / (n[0] + 2 * n[1]) if n[0] and n[1] else 0.5
    r = np.arange(1, 4)
    with_next = (n[:-1] > 0) & (n[1:] > 0)
    ratio = np.divide(n[1:], n[:-1], out=np.zeros(3), where=with_next)
    return np.maximum(np.where(with_next, r - (r + 1) * y * ratio, r * y), y)


def taken(counts: NDArray, D: NDArray) -> NDArray:
    """Return the discounts of counts, none of 0."""
    return np.append(0.0, D)[np.minimum(counts, 3)]
