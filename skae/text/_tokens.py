"""Texts as token numbers: what is split how, which tokens there are, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from .._parameters import naming
from .._sklearn import BaseEstimator
from ._byte_pairs import BytePairs
from ._items import KINDS, MASKED, PADDING, as_items, shown

UNKNOWN, MASK = "<unk>", "<mask>"
# What a token is made of that ends a sentence.
SENTENCE_ENDS = frozenset(".!?\u2026\u3002\uff01\uff1f")


@dataclass(frozen=True)
class TokenSequences:
    """Texts as token numbers, one after another.

    Attributes
    ----------
    tokens : ndarray of int32 of shape (n_total,)
        Each text ends with the number `end`. A masked token is `n_tokens + 1`.
    starts : ndarray of int64 of shape (n_texts,)
        Where each text begins.
    n_tokens : int
        Numbers that a token may have. The last two are the unknown token and the end.
    """

    tokens: NDArray
    starts: NDArray
    n_tokens: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def unknown(self) -> int:
        """The number of a token that was not seen in fit."""
        return self.n_tokens - 2

    @property
    def end(self) -> int:
        """The number that a text ends with."""
        return self.n_tokens - 1

    @property
    def begin(self) -> int:
        """The number that stands before the first token; no text has it."""
        return self.n_tokens

    @property
    def mask(self) -> int:
        """The number of a token that is hidden."""
        return self.n_tokens + 1

    @cached_property
    def lengths(self) -> NDArray:
        """Tokens of each text, its end included, shape (n_texts,)."""
        return np.diff(self.starts, append=len(self.tokens))

    @cached_property
    def texts(self) -> NDArray:
        """The text that each token belongs to, shape (n_total,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def sums(self, values: NDArray) -> NDArray:
        """Return the sum over each text of what tokens have, shape (n_texts,)."""
        return np.add.reduceat(values, self.starts)

    def take(self, texts: NDArray) -> TokenSequences:
        """Return some of the texts."""
        lengths = self.lengths[texts]
        starts = np.cumsum(lengths) - lengths
        shift = np.repeat(self.starts[texts] - starts, lengths)
        tokens = self.tokens[np.arange(lengths.sum()) + shift]
        return TokenSequences(tokens, starts, self.n_tokens)

    def bags(self) -> TokenSequences:
        """Return texts with the same known tokens as the same: these in order."""
        is_seen = self.tokens != self.unknown
        tokens, texts = self.tokens[is_seen], self.texts[is_seen]
        lengths = np.bincount(texts)  # of all texts: each has its end
        in_order = tokens[np.lexsort((tokens, texts))]
        return TokenSequences(in_order, np.cumsum(lengths) - lengths, self.n_tokens)

    def distinct(self) -> TokenSequences:
        """Return each text once."""
        first = np.sort(np.unique(self.hashes(), return_index=True)[1])
        return self if len(first) == len(self) else self.take(first)

    @property
    def recurs(self) -> bool:
        """Whether new texts may well be copies of these.

        Some are there more often than others, or all of them more than twice: that is
        no file that was put together twice.
        """
        copies = np.unique(self.hashes(), return_counts=True)[1]
        return bool(copies.max() > min(copies.min(), 2))

    def counts(self) -> sp.csr_matrix:
        """Return how often each text has each known token, (n_texts, n_tokens - 2)."""
        n = self.n_tokens - 2
        is_known = self.tokens < n
        at = self.texts[is_known], self.tokens[is_known]
        ones = np.ones(len(at[0]))
        return sp.csr_matrix((ones, at), shape=(len(self), n))

    def hashes(self) -> NDArray:
        """Return 64 bits for each text, equal for equal ones."""
        place = (np.arange(len(self.tokens)) - self.starts[self.texts]).astype("u8")
        with np.errstate(over="ignore"):
            mixed = (self.tokens + 1).astype("u8") * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(32)
            factor = (2 * place + 1) * np.uint64(0xD6E8FEB86659FD93)
            factor ^= factor >> np.uint64(32)
            mixed *= factor | np.uint64(1)
            mixed ^= mixed >> np.uint64(29)
            return self.sums(mixed * np.uint64(0xBF58476D1CE4E5B9))


class Vocabulary(BaseEstimator):
    """Which tokens there are, and how texts are split into them.

    Parameters
    ----------
    analyzer : {"word", "char", "bpe"} or callable
    lowercase : bool
    token_pattern : str
    max_features : int or None
    min_df : int or float
        All as for :class:`~sklearn.feature_extraction.text.CountVectorizer`, which
        splits words and characters.

    Attributes
    ----------
    kind : {"texts", "tokens", "integers"}
        What was given in fit: strings, lists of tokens, or integers.
    tokens : list
        In order. Those of an integer array are integers.
    vocabulary : dict
        The number of each.
    """

    kind: str
    tokens: list[Any]
    vocabulary: dict[Any, int]

    def __init__(
        self,
        analyzer: str | Callable[[Any], Iterable[str]],
        lowercase: bool,
        token_pattern: str,
        max_features: int | None,
        min_df: float,
    ) -> None:
        self.analyzer = analyzer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.max_features = max_features
        self.min_df = min_df

    @property
    def n_tokens(self) -> int:
        """Numbers that a token may have, with the unknown one and the end."""
        return len(self.tokens) + 2

    def fit_encode(self, X: Any) -> TokenSequences:
        """Find the tokens of texts, and return the texts.

        Raises
        ------
        ValueError, TypeError
            For what is no text, and if there is no token.
        """
        items, self.kind = as_items(X, self.analyzer)
        self._splitter = self._new_splitter(items)
        split = self._split(items)
        if not any(map(len, split)):
            by = f", with token_pattern={self.token_pattern!r}"
            raise ValueError(
                f"X has no token in any of its {len(items)} texts"
                f"{by * (self.analyzer == 'word' and self.kind == 'texts')}: the "
                f"vocabulary would be empty. First text: {shown(items[0])}."
            )
        if isinstance(self._splitter, BytePairs):
            self.tokens = self._splitter.tokens
        else:
            how = {"max_features": self.max_features, "min_df": self.min_df}
            counter = CountVectorizer(analyzer=_as_it_is, **how)
            try:
                found = counter.fit(split).vocabulary_
            except ValueError as error:
                raise ValueError(
                    f"min_df={self.min_df!r} leaves no token of {len(items)} texts: "
                    "use at most the number, or share, of texts that have one "
                    f"({error})."
                ) from error
            except TypeError as error:
                raise _no_order(split, error) from error
            plain = (t.item() if isinstance(t, np.generic) else t for t in found)
            self.tokens = sorted(plain)
        self.vocabulary = {token: i for i, token in enumerate(self.tokens)}
        return self._numbered(split)

    def encode(self, X: Any, *, masks: bool = False) -> TokenSequences:
        """Return texts as numbers; tokens that were not seen in fit are unknown ones.

        With `masks`, ``<mask>`` in a text, or -2 among integers, is a hidden token.
        """
        items, kind = as_items(X, self.analyzer, masks=masks)
        if kind == "tokens" and self.kind == "integers" and not any(map(len, items)):
            kind = self.kind  # no token says that it is none
        if kind != self.kind:
            raise ValueError(
                f"X holds {KINDS[kind]}, but {KINDS[self.kind]} were seen in fit: use "
                "these."
            )
        has_marks = masks and kind == "texts"
        split = self._split(items, self._split_with_masks if has_marks else None)
        return self._numbered(split, masks=masks)

    def decode(self, sequences: Sequence[NDArray], given: Sequence[Any] = ()) -> Any:
        """Return token numbers, without an end, as what fit was given.

        Those that they begin with may be `given`, also if these are unknown.

        Returns
        -------
        list of str, list of list of tokens, or ndarray of int
            The last one padded with -1.
        """
        names = [*self.tokens, UNKNOWN]
        n = len(given)
        split = [[*given, *(names[i] for i in part[n:])] for part in sequences]
        if self.kind == "integers":
            longest = max(map(len, split), default=0)
            rows = np.full((len(split), longest), PADDING)
            for row, tokens in zip(rows, split, strict=True):
                row[: len(tokens)] = [MASKED if t == UNKNOWN else t for t in tokens]
            return rows
        if self.kind == "tokens" or callable(self.analyzer):
            return split
        if isinstance(self._splitter, BytePairs):
            return [self._splitter.join(tokens) for tokens in split]
        between = "" if self.analyzer == "char" else " "
        return [between.join(tokens) for tokens in split]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if not isinstance(self._splitter, BytePairs):
            del state["_splitter"]  # a closure, made again of the parameters
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_splitter" not in state:
            self._splitter = self._new_splitter([])

    def _split(self, items: list[Any], splitter: Any = None) -> list[Any]:
        """Return the tokens of each text."""
        splitter = splitter or self._splitter
        if not callable(self.analyzer):
            return [splitter(item) for item in items]
        with naming("analyzer"):
            split = [splitter(item) for item in items]
        for i, tokens in enumerate(split):
            if not isinstance(tokens, Iterable):
                raise TypeError(
                    f"analyzer returned {tokens!r} ({type(tokens).__name__}) for text "
                    f"{i} of X: it must return tokens, in a list."
                )
        split = [list(tokens) for tokens in split]
        for i, tokens in enumerate(split):
            try:
                set(tokens)
            except TypeError as error:
                raise TypeError(
                    f"analyzer returned {shown(tokens)} for text {i} of X: tokens "
                    "must be strings, or of another type that can be hashed and "
                    f"sorted ({error})."
                ) from error
        return split

    def _new_splitter(self, items: list[Any]) -> Any:
        """Return what splits a text."""
        if self.kind != "texts":
            return list
        if self.analyzer == "bpe":
            if self.min_df != 1:
                raise ValueError(
                    f'min_df={self.min_df!r} has no meaning with analyzer="bpe": use 1.'
                )
            return BytePairs.of(items, self.max_features, lowercase=self.lowercase)
        counter = CountVectorizer(
            analyzer=self.analyzer,
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
        )
        try:
            return counter.build_analyzer()
        except re.error as error:
            raise ValueError(
                f"token_pattern={self.token_pattern!r} is no regular expression: "
                f"{error}."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"token_pattern={self.token_pattern!r} has several groups: {error}"
            ) from error

    def _split_with_masks(self, text: Any) -> Any:
        """Return the tokens of a text in which some are masked."""
        if not isinstance(text, str):  # an analyzer's own tokens may be masks
            return self._splitter(text)
        parts = text.split(MASK)
        if isinstance(self._splitter, BytePairs):  # a space is part of what follows it
            parts = [*(part.removesuffix(" ") for part in parts[:-1]), parts[-1]]
        split = list(self._splitter(parts[0]))
        for part in parts[1:]:
            split += [MASK, *self._splitter(part)]
        return split

    def tokens_of(self, text: Any) -> list[Any]:
        """Return the tokens of a single text, unknown ones too."""
        items, _ = as_items([text], self.analyzer)
        return list(self._splitter(items[0]))

    def shown(self, token: int) -> Any:
        """Return a token as a part of a text."""
        if isinstance(self._splitter, BytePairs):
            return self._splitter.join([self.tokens[token]])
        return self.tokens[token]

    @property
    def ends_sentence(self) -> NDArray:
        """Whether each number a token may have, or a hidden one, ends a sentence."""
        ends = np.zeros(self.n_tokens + 2, dtype=bool)
        for i in range(len(self.tokens)):
            signs = str(self.shown(i)).strip()
            ends[i] = bool(signs) and SENTENCE_ENDS.issuperset(signs)
        return ends

    def _numbered(
        self, split: list[Sequence[Any]], *, masks: bool = False
    ) -> TokenSequences:
        """Return split texts as numbers."""
        n = self.n_tokens
        numbers = self.vocabulary
        if masks:
            numbers = {**numbers, MASK: n + 1, MASKED: n + 1}
        unknown = n - 2
        lengths = np.fromiter(map(len, split), np.int64, len(split)) + 1
        starts = np.cumsum(lengths) - lengths
        tokens = np.fromiter(
            (
                number
                for text in split
                for number in (*[numbers.get(t, unknown) for t in text], n - 1)
            ),
            np.int32,
            lengths.sum(),
        )
        return TokenSequences(tokens, starts, n)


def _no_order(split: list[Any], error: TypeError) -> TypeError:
    """Return an error that shows a token of each type."""
    kinds = {type(token).__name__: token for tokens in split for token in tokens}
    found = " and ".join(f"{shown(t)} ({name})" for name, t in kinds.items())
    return TypeError(
        f"analyzer returned the tokens {found}: all must be strings, or of another "
        f"type that can be hashed and sorted ({error})."
    )


def _as_it_is(tokens: Any) -> Any:
    """Analyse a text that is split already."""
    return tokens
