"""Modified Kneser-Ney in dictionaries, and a text that has some structure."""

from collections import Counter, defaultdict

import numpy as np


class Book:
    """Modified Kneser-Ney by the book: one dictionary for each length of a context."""

    def __init__(self, events, n_tokens, order, discounts):
        self.n_tokens, self.discounts = n_tokens, discounts
        self.after = [defaultdict(Counter) for _ in range(order)]
        for context, token in events:
            self.after[len(context)][context][token] += 1
        for length in reversed(range(1, order)):
            for context, tokens in self.after[length].items():
                self.after[length - 1][context[:-1]].update(tokens.keys())

    def prob(self, context, token):
        """Return the probability of a token after as much of a context as was seen."""
        p = 1 / self.n_tokens
        for length in range(len(context) + 1):
            counts = self.after[length].get(context[:length])
            if not counts:
                break
            D = [0.0, *self.discounts[length]]
            taken = sum(D[min(c, 3)] for c in counts.values())
            own = counts.get(token, 0)
            p = (own - D[min(own, 3)] + taken * p) / sum(counts.values())
        return p


def as_events(contexts, targets):
    """Return pairs of a tuple, which ends where the context does, and a token."""
    ended = np.c_[contexts, np.full(len(contexts), -1)]
    rows = zip(ended.tolist(), targets.tolist(), strict=True)
    return [(tuple(row[: row.index(-1)]), target) for row, target in rows]


def book_of(grams, events):
    return Book(events, grams.n_tokens, grams.order, grams.discounts)


def markov_text(n, n_tokens, seed=0):
    """Return a text with structure, as tokens and starts of its sequences."""
    rng = np.random.default_rng(seed)
    favourites = rng.integers(0, n_tokens, (n_tokens, 2))
    tokens = rng.integers(0, n_tokens, n)
    for i in range(1, n):
        if rng.random() < 0.8:
            tokens[i] = favourites[tokens[i - 1], rng.integers(2)]
    starts = np.flatnonzero(rng.random(n) < 0.1)
    return tokens, np.union1d(0, starts)
