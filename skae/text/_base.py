"""The face of estimators of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Tags, check_scalar
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from .._estimator import NetworkEstimator
from .._file import StoredEstimator
from .._parameters import new_random_state, unchanged_on_error
from .._sklearn import _fit_context
from .._step import OneThread, usual_settings
from ._fit import fit
from ._objective import TextObjective
from ._tokens import TokenSequences, Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

# Tokens that a network can see at once, at most.
LONGEST = 2**16
# The logarithm of a probability that is 0 in any float.
LEAST_LOG_P = -1000.0
# Words, and what is neither a word nor a space: language models need all of a text.
WORDS_AND_SIGNS = r"(?u)\w+|[^\w\s]"


class TextModel(CallbackSupportMixin, StoredEstimator):
    """What estimators of texts share: how texts become token numbers."""

    vocabulary_: dict[Any, int]
    _vocabulary: Vocabulary

    analyzer: Any
    lowercase: bool
    token_pattern: str
    max_features: int | None
    min_df: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "analyzer": [StrOptions({"word", "char", "bpe"}), callable],
        "lowercase": ["boolean"],
        "token_pattern": [str],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "min_df": [
            Interval(Real, 0, 1, closed="both"),
            Interval(Integral, 1, None, closed="left"),
        ],
    }

    def _fitted_texts(self, X: Any) -> TokenSequences:
        """Find the vocabulary of texts, and return the texts as numbers."""
        self._vocabulary = Vocabulary(
            analyzer=self.analyzer,
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
            max_features=self.max_features,
            min_df=self.min_df,
        )
        sequences = self._vocabulary.fit_encode(X)
        self.vocabulary_ = self._vocabulary.vocabulary
        return sequences

    def _texts(self, X: Any, *, masks: bool = False) -> TokenSequences:
        """Return texts as the numbers of the tokens that were seen in fit."""
        check_is_fitted(self)
        return self._vocabulary.encode(X, masks=masks)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_vocabulary")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags


class LanguageModel(TextModel):
    """What models share that say how probable each token of a text is."""

    def _log_likelihood(self, sequences: TokenSequences) -> NDArray:
        """Return the log-likelihood of each text in nats, shape (n_texts,)."""
        return sequences.sums(self._log_prob(sequences))

    def _n_predicted(self, sequences: TokenSequences) -> int:
        """Return how many tokens have a part in it."""
        return len(sequences.tokens)

    def _log_prob(self, sequences: TokenSequences) -> NDArray:
        """Return the log-probability of each token in nats, shape (n_total,)."""
        raise NotImplementedError

    def score_samples(self, X: Iterable[Any]) -> NDArray:
        """Return the log-likelihood of each text, in nats.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_texts,)
            The sum over the tokens of a text and its end: the probabilities of all
            texts add up to 1. Longer texts have lower ones.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If `X` is not made of texts of that kind.
        """
        sequences = self._texts(X)
        with usual_settings(), OneThread():
            return self._log_likelihood(sequences)

    def score(self, X: Iterable[Any], y: Any = None) -> float:
        """Return the mean log-likelihood of a token, in nats.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.
        y : any, default=None
            Ignored.

        Returns
        -------
        float
            Higher is better. Only scores of models with the same tokens can be
            compared: fewer of them, by `max_features` or `min_df`, are easier to guess,
            and unknown ones the easiest. A TextAutoencoder does not count these: its
            score of texts without a known token is 0.
        """
        del y
        sequences = self._texts(X)
        with usual_settings(), OneThread():
            total = float(self._log_likelihood(sequences).sum())
        return total / max(self._n_predicted(sequences), 1)

    def perplexity(self, X: Iterable[Any]) -> float:
        """Return the perplexity: how many equally likely tokens are as hard to guess.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.

        Returns
        -------
        float
            ``exp(-score(X))``, at least 1; lower is better. A TextAutoencoder has 1 for
            texts without a known token.
        """
        return float(np.exp(-self.score(X)))


class GenerativeModel(LanguageModel):
    """What models share that continue a text, token by token."""

    def _log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        """Return those of all tokens at a place of each text, (n_texts, n_tokens)."""
        raise NotImplementedError

    def sample(
        self,
        n_samples: int = 1,
        *,
        prompt: Any = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        max_tokens: int = 100,
        random_state: int | RandomState | None = None,
    ) -> Any:
        """Draw texts, token by token.

        Parameters
        ----------
        n_samples : int, default=1
            Number of texts, at least 1.
        prompt : str, list of tokens, or None, default=None
            What each text begins with.
        temperature : float, default=1.0
            Logarithms of probabilities are divided by it: below 1 likely tokens become
            likelier, and 0 takes the likeliest.
        top_k : int or None, default=None
            Draw from so many of the likeliest tokens only.
        max_tokens : int, default=100
            Tokens of a text that does not end before, the prompt's not included.
        random_state : int, RandomState or None, default=None
            Seeds the draws.

        Returns
        -------
        list of str, list of list of tokens, or ndarray of int
            Texts of the kind that :meth:`fit` saw, or lists of tokens where `analyzer`
            is a callable, with the prompt as it was split. What follows it has no
            unknown token. Byte pairs may end within a letter.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            For a parameter out of its range.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        check_scalar(temperature, "temperature", Real, min_val=0)
        check_scalar(max_tokens, "max_tokens", Integral, min_val=0)
        if top_k is not None:
            check_scalar(top_k, "top_k", Integral, min_val=1)
        rng = new_random_state(random_state)
        if not np.isfinite(temperature):
            raise ValueError(
                f"temperature={temperature!r}: use a finite number from 0 on."
            )
        first, given = self._prompted(prompt)
        texts = [first] * n_samples
        going = np.arange(n_samples)
        end = self._vocabulary.n_tokens - 1
        for _ in range(max_tokens):
            sequences = unended([texts[i] for i in going], end + 1)
            places = sequences.starts + sequences.lengths - 1
            with usual_settings(), OneThread():
                log_p = self._log_probs(sequences, places)
                log_p[:, end - 1] = -np.inf  # the unknown token
                drawn = _drawn(log_p, float(temperature), top_k, rng)
            for i, token in zip(going, drawn, strict=True):
                if token != end:
                    texts[i] = np.append(texts[i], np.int32(token))
            going = going[drawn != end]
            if not len(going):
                break
        return self._vocabulary.decode(texts, given)

    def _prompted(self, prompt: Any) -> tuple[NDArray, list[Any]]:
        """Return the numbers of the tokens that a text begins with, and these."""
        if prompt is None:
            return np.empty(0, dtype=np.int32), []
        try:
            first = self._texts([prompt]).tokens[:-1]
            return first, self._vocabulary.tokens_of(prompt)
        except (ValueError, TypeError) as error:
            raise type(error)(
                f"prompt={prompt!r}, as the text of X: {error}"
            ) from error


def unended(texts: list[NDArray], n_tokens: int) -> TokenSequences:
    """Return texts with an end in the place of what is to follow."""
    lengths = np.array([len(text) + 1 for text in texts])
    tokens = np.concatenate([np.append(text, n_tokens - 1) for text in texts])
    starts = np.cumsum(lengths) - lengths
    return TokenSequences(tokens.astype(np.int32), starts, n_tokens)


def _drawn(
    log_p: NDArray, temperature: float, top_k: int | None, rng: RandomState
) -> NDArray:
    """Draw a token from each row of log-probabilities, shape (n, n_tokens)."""
    if temperature == 0:
        return log_p.argmax(1)
    if top_k is not None and top_k < log_p.shape[1]:
        order = np.argsort(-log_p, axis=1, kind="stable")
        log_p = log_p.copy()
        np.put_along_axis(log_p, order[:, top_k:], -np.inf, 1)
    log_p = log_p - log_p.max(1, keepdims=True)
    # What is impossible stays so, and no quotient is infinite.
    p = np.exp(np.maximum(log_p, LEAST_LOG_P * temperature) / temperature)
    below = np.cumsum(p, 1)
    u = rng.uniform(size=(len(p), 1)) * below[:, -1:]
    return np.minimum((below <= u).sum(1), log_p.shape[1] - 1)


class TextEstimator(TextModel, NetworkEstimator):
    """What estimators of texts share that train a network."""

    _objective_class: ClassVar[type[TextObjective]]
    _row_shape = ()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TextModel._parameter_constraints,
        **{
            name: constraint
            for name, constraint in NetworkEstimator._parameter_constraints.items()
            if name not in ("hidden_layer_sizes", "activation", "warm_start", "alpha")
        },
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "architecture": [HasMethods("token_embedding"), None],
        "max_length": [Interval(Integral, 2, LONGEST, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Iterable[Any], y: Any = None) -> Self:
        """Count tokens, train, and keep what held-out texts say is better.

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
        with unchanged_on_error(self), usual_settings(), OneThread():
            sequences = self._fitted_texts(X)
            objective: Any = self._objective()
            self._publish(fit(objective, sequences, task))
            task.end()
        return self

    def fit_transform(self, X: Iterable[Any], y: Any = None, **params: Any) -> NDArray:
        """Fit, and return the codes of the same texts.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, as for :meth:`fit`.
        y : any, default=None
            Ignored.
        **params : dict
            Passed to :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_texts, n_components)
            A frame if :meth:`set_output` asks for one.
        """
        # An iterator is at its end after the fit.
        texts = list(X) if isinstance(X, Iterator) else X
        return super().fit_transform(texts, y, **params)

    def transform(self, X: Iterable[Any]) -> NDArray:
        """Return the codes of texts.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_texts, n_components)
            A frame if :meth:`set_output` asks for one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If `X` is not made of texts of that kind.
        """
        sequences = self._texts(X)
        with usual_settings(), OneThread():
            return self._fit.model.codes(sequences)
