"""N-grams, counted: what followed contexts of each length, and what discounts take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Keys up to so many times as many as there are numbers are counted in a table of all.
DENSE = 4


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
