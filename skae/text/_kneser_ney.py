"""Kneser-Ney's n-grams: what causal language models start at, and alone a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from .._callbacks import FitTask, with_callbacks
from .._parameters import is_auto, unchanged_on_error
from .._sklearn import _fit_context
from ._base import WORDS_AND_SIGNS, GenerativeModel, TextModel
from ._network import Reading
from ._ngrams import ORDERS, NGrams, left_contexts
from ._objective import LanguageStart
from ._tokens import TokenSequences


class CausalReader:
    """What n-grams say of each token of some texts.

    Parameters
    ----------
    ngrams : NGrams
    sequences : TokenSequences
    counted : ndarray of bool of shape (n_total,) or None
        Which of the tokens the n-grams have counted; each of them is left out.
    """

    def __init__(
        self, ngrams: NGrams, sequences: TokenSequences, counted: NDArray | None = None
    ) -> None:
        self.ngrams = ngrams
        contexts = contexts_of(sequences, max(ngrams.order, 2))
        self.before = contexts[:, 0].astype(np.int64)
        self.tokens = sequences.tokens.astype(np.int64)
        self.found = ngrams.find(contexts[:, : ngrams.order - 1])
        self.left_out = None
        if counted is not None:
            self.left_out = ngrams.left_out(self.found, self.tokens)
            self.left_out.own[~counted] = False

    def read(self, x: NDArray, known: NDArray) -> Reading:
        """Return what they say of the tokens at places, both of shape (n, T)."""
        places = x[known]
        return Reading(
            inputs=self.before[x],
            said=known,
            targets=self.tokens[places],
            log_prob=self.log_prob(places),
            evidence=self.evidence(places),
        )

    def log_prob(self, places: Any = slice(None)) -> NDArray:
        """Return the log-probabilities of the tokens at places, shape (m,)."""
        tokens = self.tokens[places]
        return self.ngrams.log_prob(self.found[places], tokens, self._out(places))

    def log_probs(self, places: NDArray) -> NDArray:
        """Return the log-probabilities of all tokens, shape (m, n_tokens)."""
        return self.ngrams.log_probs(self.found[places], self._out(places))

    def evidence(self, places: NDArray) -> NDArray:
        """Return how much is known of the contexts of places, (m, 2 * order)."""
        known = self.ngrams.evidence(self.found[places], self._out(places))
        return known.reshape(len(known), 2 * self.ngrams.order)

    def _out(self, places: Any) -> Any:
        return None if self.left_out is None else self.left_out[places]


@dataclass(frozen=True)
class NGramStart(LanguageStart):
    """Modified Kneser-Ney.

    Attributes
    ----------
    ngrams : NGrams
    bags : CorrespondenceAnalysis
        What codes of texts are made by, if there are any.
    """

    ngrams: NGrams
    bags: Any = None

    name = "n-grams"

    @classmethod
    def of(
        cls, sequences: TokenSequences, order: int | None, counts: NDArray | None = None
    ) -> NGramStart:
        """Count the tokens of texts, or those of them that count.

        Without an order, copies have no say in which is the best, by which each token
        is known in a context of any length, unless new texts may be copies too.
        """
        n_tokens, tokens = sequences.n_tokens, sequences.tokens
        if order is None:
            once = sequences.distinct()
            some = sequences if sequences.recurs else once
            best = NGrams.best(contexts_of(some, max(ORDERS)), some.tokens, n_tokens)
            if some is sequences and counts is None:
                return cls(best)
            order = best.order
        order = min(order, int(sequences.lengths.max()) + 1)  # no context is longer
        contexts = contexts_of(sequences, order)
        if counts is not None:
            contexts, tokens = contexts[counts], tokens[counts]
        return cls(NGrams.of(contexts, tokens, n_tokens))

    @property
    def n_tokens(self) -> int:
        """Tokens that are predicted."""
        return self.ngrams.n_tokens

    @property
    def n_evidence(self) -> int:
        """Numbers that say how much is known of a context."""
        return 2 * self.ngrams.order

    def reader(
        self, sequences: TokenSequences, counted: NDArray | None = None
    ) -> CausalReader:
        """Return what it says of texts, some of whose tokens it has counted."""
        return CausalReader(self.ngrams, sequences, counted)

    def log_prob(self, sequences: TokenSequences) -> NDArray:
        """Return the log-probability of each token in nats, shape (n_total,)."""
        return self.reader(sequences).log_prob()

    def log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        """Return the log-probabilities of all tokens at places, (m, n_tokens)."""
        return self.reader(sequences).log_probs(places)


def contexts_of(sequences: TokenSequences, order: int) -> NDArray:
    """Return the ``order - 1`` tokens before each, from the nearest on."""
    begin = sequences.begin
    return left_contexts(sequences.tokens, sequences.starts, begin, order - 1)


class KneserNey(GenerativeModel):
    r"""A language model of n-grams, by interpolated modified Kneser-Ney smoothing.

    The probability of a token given those before it is counted, and smoothed with what
    shorter contexts say of it: of all models that count n-grams the best known (Chen &
    Goodman 1998). It is what :class:`CausalLanguageModel` starts at. Counting a million
    tokens takes about a second.

    Parameters
    ----------
    order : int or "auto", default="auto"
        A token is predicted from at most ``order - 1`` tokens before it. "auto" takes 2
        to 7, whichever makes the tokens the likeliest when each of them is left out of
        the counts. Copies of texts count for that only where some are there more often
        than others, or all more than twice.
    analyzer : {"word", "char", "bpe"} or callable, default="word"
        What tokens of a string are: as for
        :class:`~sklearn.feature_extraction.text.CountVectorizer`, or byte pairs
        (Sennrich et al. 2016), which need the extra ``skae[tokenizers]``. Lists of
        tokens and integers are taken as they are.
    lowercase : bool, default=True
        Convert strings to lower case before they are split.
    token_pattern : str, default=r"(?u)\w+|[^\w\s]"
        Regular expression of a token, with ``analyzer="word"``: words, and signs.
    max_features : int or None, default=None
        Keep so many tokens, those that occur most often; the others are unknown ones.
        Of byte pairs, how many there are: None is 1000.
    min_df : int or float, default=1
        Keep tokens that so many of the texts have, or such a share of them.

    Attributes
    ----------
    vocabulary_ : dict
        The number of each token.
    order_ : int
        The order of the n-grams.
    discounts_ : ndarray of shape (order, 3)
        What is taken from counts of 1, 2, and 3 or more, after contexts of 0 to
        ``order_ - 1`` tokens.

    See Also
    --------
    CausalLanguageModel : The same, corrected by a Transformer.

    Notes
    -----
    A token that was not seen in :meth:`fit` is ``<unk>``, and has a probability. The
    end of a text is a token, so that the probabilities of all texts add up to 1.

    References
    ----------
    Kneser & Ney (1995), Improved backing-off for m-gram language modeling. ICASSP.

    Chen & Goodman (1998), An empirical study of smoothing techniques for language
    modeling. Harvard TR-10-98, section 3.

    Examples
    --------
    >>> from skae.text import KneserNey
    >>> names = ["anna", "hanna", "johanna", "susanna", "marianna", "joanna"]
    >>> model = KneserNey(analyzer="char", order=3).fit(names)
    >>> model.score_samples(["rosanna", "xqzwy"]).round(1)
    array([-11.7, -19.7])
    >>> model.sample(2, prompt="s", temperature=0)
    ['susanna', 'susanna']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "order": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        **TextModel._parameter_constraints,
    }

    def __init__(
        self,
        order: int | str = "auto",
        *,
        analyzer: str | Callable[[Any], Iterable[str]] = "word",
        lowercase: bool = True,
        token_pattern: str = WORDS_AND_SIGNS,
        max_features: int | None = None,
        min_df: float = 1,
    ) -> None:
        self.order = order
        self.analyzer = analyzer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.max_features = max_features
        self.min_df = min_df

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Iterable[Any], y: Any = None) -> KneserNey:
        """Count the n-grams of texts.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts. Strings are split by `analyzer`; lists of tokens are taken as they
            are; integers, of shape (n_texts, n_tokens), are padded with -1.
        y : any, default=None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a text is none (its place is named), if there is no token in any, or if a
            parameter is invalid. An earlier fit is left unharmed.
        """
        task = FitTask(self, X, y)
        with unchanged_on_error(self):
            sequences = self._fitted_texts(X)
            order = None if is_auto(self.order) else int(self.order)
            self._start = NGramStart.of(sequences, order)
            self.order_ = self._start.ngrams.order
            self.discounts_ = self._start.ngrams.discounts
            task.end()
        return self

    def _log_prob(self, sequences: TokenSequences) -> NDArray:
        return self._start.log_prob(sequences)

    def _log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        return self._start.log_probs(sequences, places)
