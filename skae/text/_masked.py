"""The masked language model: a pool of n-grams, and what a Transformer adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .._objective import Objective
from .._plan import TrainingPlan
from .._step import OneThread, usual_settings
from .._trained import inference
from ._base import WORDS_AND_SIGNS, LanguageModel, TextEstimator
from ._correspondence import CorrespondenceAnalysis
from ._dataset import Pieces, TokenDataset
from ._exponents import blocks
from ._items import MASKED
from ._network import Reading, TokenLoss, TokenModule, zero_linear
from ._objective import LanguageObjective, LanguageStart, TrainedTokens, alike
from ._pool import Pool
from ._tokens import MASK, TokenSequences

# The golden ratio: its multiples are spread evenly over [0, 1).
GOLDEN = 0.6180339887498949


class MaskedReader:
    """What a pool of n-grams says of hidden tokens of some texts.

    Parameters
    ----------
    pool : Pool
    sequences : TokenSequences
    counted : ndarray of bool of shape (n_total,) or None
        Which of the tokens the pool has counted; each of them is left out.
    """

    def __init__(
        self, pool: Pool, sequences: TokenSequences, counted: NDArray | None = None
    ) -> None:
        self.pool = pool
        self.tokens = sequences.tokens
        self.starts = sequences.starts
        self.mask = sequences.mask
        self.end = sequences.end
        self.counted = counted

    def read(self, x: NDArray, hidden: NDArray, *, alone: bool = False) -> Reading:
        """Return what it says of the hidden tokens at places, both of shape (n, T).

        A row that is there several times does not know what is hidden in its copies;
        with `alone`, no token knows of other hidden ones.
        """
        places, row = x[hidden], np.nonzero(hidden)[0]
        targets = self.tokens[places].astype(np.int64)
        log_prob = np.empty(len(places))
        n_orders = sum(expert.order for expert in self.pool.experts)
        evidence = np.empty((len(places), 2 * n_orders))
        turn = np.zeros(len(x), dtype=np.int64) if alone else occurrence(x[:, 0])
        for number in np.unique(turn):
            own = np.flatnonzero(turn[row] == number)
            found = self.find(places[own], alone=alone)
            log_prob[own] = self.pool.log_prob(found, targets[own])
            known = self.pool.evidence(found)
            evidence[own] = known.reshape(len(own), 2 * n_orders)
        return Reading(
            inputs=np.where(hidden, self.mask, self.tokens[x]).astype(np.int64),
            said=hidden,
            targets=targets,
            log_prob=log_prob,
            evidence=evidence,
        )

    def find(self, places: NDArray, *, alone: bool = False) -> Any:
        """Return what the n-grams of the pool find of hidden tokens."""
        masked = self.tokens == self.mask
        if not alone:
            masked[places] = True
        out = self.counted is not None and bool(self.counted[places].all())
        return self.pool.find(self.tokens, self.starts, places, masked, left_out=out)


def occurrence(values: NDArray) -> NDArray:
    """Return how often each value was there before, shape (n,)."""
    order = np.argsort(values, kind="stable")
    is_new = np.diff(values[order], prepend=values[order][:1] - 1) != 0
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(values)), 0))
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - first
    return before


@dataclass(frozen=True)
class PoolStart(LanguageStart):
    """A log-linear pool of n-grams.

    Attributes
    ----------
    pool : Pool
    bags : CorrespondenceAnalysis
        What codes of texts are made by.
    """

    pool: Pool
    bags: CorrespondenceAnalysis

    name = "n-grams"

    @property
    def n_tokens(self) -> int:
        """Tokens that are predicted."""
        return self.pool.n_tokens

    @property
    def n_evidence(self) -> int:
        """Numbers that say how much is known of a hidden token."""
        return 2 * sum(expert.order for expert in self.pool.experts)

    def reader(
        self, sequences: TokenSequences, counted: NDArray | None = None
    ) -> MaskedReader:
        """Return what it says of texts, some of whose tokens it has counted."""
        return MaskedReader(self.pool, sequences, counted)

    def log_prob(self, sequences: TokenSequences) -> NDArray:
        """Return the log-probability of each token given all others, (n_total,)."""
        reader, log_prob = self.reader(sequences), np.zeros(len(sequences.tokens))
        places = np.flatnonzero(sequences.tokens != sequences.end)
        found = reader.find(places, alone=True)
        log_prob[places] = self.pool.log_prob(found, sequences.tokens[places])
        return log_prob

    def log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        """Return those of all tokens at some masks of texts, shape (m, n_tokens)."""
        return self.pool.log_probs(self.reader(sequences).find(places))


class MaskedTokenModule(TokenModule):
    """Hides tokens, and predicts them.

    Parameters
    ----------
    encoder : TokenEncoder
    decoder : Mixture
    mask_fraction : float
        Share of the tokens that are hidden.
    dynamic : bool
        Whether others are hidden each time that a text is seen.
    ends_sentence : ndarray of bool of shape (n_tokens + 2,) or None
        Which tokens end a sentence. If given, half of the rows have their sentences in
        another order while training, and a linear layer tells which.
    """

    ends_sentence: Tensor

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        mask_fraction: float,
        *,
        dynamic: bool,
        ends_sentence: NDArray | None = None,
    ) -> None:
        super().__init__(encoder, decoder)
        self.mask_fraction = mask_fraction
        self.dynamic = dynamic
        self.order: nn.Linear | None = None
        if ends_sentence is not None:
            self.order = zero_linear(decoder.output.in_features, 1)
            self.register_buffer("ends_sentence", torch.from_numpy(ends_sentence))

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        """Return what every module of tokens does, and the loss of the order, (n,).

        The latter is there while training only: of a row of several sentences it is the
        cross-entropy of whether they are in their order, as much as the mean hidden
        token counts, and 0 of any other.
        """
        if self.order is None or not self.training:
            return super().forward(x, known)
        x, is_pair, is_swapped = self.swapped(x, known)
        reading = self.read(x, known)
        h = self.hidden(reading, known)
        mean = (h * known[..., None]).sum(1) / known.sum(1, keepdim=True)
        logits = self.order(mean)[:, 0]
        loss = binary_cross_entropy_with_logits(
            logits, is_swapped.to(logits.dtype), reduction="none"
        )
        share = len(reading.targets) / is_pair.sum().clamp_min(1)
        return *self.in_place(reading, h), loss * is_pair * share

    def swapped(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exchange what comes before and after a sentence's end, in half of the rows.

        Returns
        -------
        x : Tensor of shape (n, T)
            Places of tokens; the end of a text stays where it is.
        is_pair, is_swapped : Tensor of bool of shape (n,)
            Whether a row has several sentences, and whether they were exchanged.
        """
        (n, width), device, end = x.shape, x.device, self.reader.end
        tokens = torch.from_numpy(self.reader.tokens[x.cpu().numpy()]).to(device).long()
        begins = sentence_begins(tokens, self.ends_sentence, end) & known
        is_pair = begins.any(1)
        draws = torch.rand(
            n, width + 1, generator=self.generator, device=device, dtype=torch.float32
        )
        cut = (draws[:, :width] * begins).argmax(1, keepdim=True)
        is_swapped = is_pair & (draws[:, width] < 0.5)
        length = (known & (tokens != end)).sum(1, keepdim=True)
        steps = torch.arange(width, device=device).expand_as(x)
        moved = (steps + cut) % length.clamp_min(1)
        moves = is_swapped[:, None] & (steps < length)
        return x.gather(1, torch.where(moves, moved, steps)), is_pair, is_swapped

    def read(self, x: Tensor, known: Tensor) -> Reading:
        """Hide tokens of rows, and return what the start says of them."""
        if self.dynamic:
            draw = torch.rand(
                x.shape, generator=self.generator, device=x.device, dtype=torch.float32
            )
        else:  # a number of its own for each place, evenly spread
            draw = x.double() * GOLDEN % 1
        places = x.cpu().numpy()
        hidden = (known & (draw < self.mask_fraction)).cpu().numpy()
        hidden &= self.reader.tokens[places] != self.reader.end
        return self.reader.read(places, hidden)


def sentence_begins(tokens: Tensor, ends_sentence: Tensor, end: int) -> Tensor:
    """Return where a sentence begins that another one comes before, (n, T)."""
    is_end = ends_sentence[tokens]
    begins = torch.zeros_like(is_end)
    begins[:, 1:] = is_end[:, :-1] & ~is_end[:, 1:] & (tokens[:, 1:] != end)
    return begins


def check_sentences(sequences: TokenSequences, ends_sentence: NDArray) -> None:
    """Raise a ValueError if no text has an order of sentences."""
    tokens = torch.from_numpy(sequences.tokens[None]).long()
    ends = torch.from_numpy(ends_sentence)
    if not sentence_begins(tokens, ends, sequences.end).any():
        raise ValueError(
            f"sentence_order=True, but none of the {len(sequences)} texts of X has two "
            "sentences, which end with a token of '.', '!' or '?': use "
            "sentence_order=False, or texts that have."
        )


class MaskedLoss(TokenLoss):
    """The negative log-likelihood of hidden tokens, and that of the order."""

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the terms of tokens, and ``sentence_order`` if it is trained, (n,)."""
        terms = super().forward(output[:4], x, known)
        if len(output) > 4:
            terms["sentence_order"] = output[4]
        return terms


class TrainedMasked(TrainedTokens):
    """A network beside a pool, which stands in for it."""

    def log_prob(self, sequences: TokenSequences) -> NDArray:
        """Return the log-probability of each token given all others, (n_total,)."""
        reader, log_prob = self.start.reader(sequences), np.zeros(len(sequences.tokens))
        pieces = Pieces.of(sequences, self.max_length)
        dataset = TokenDataset(sequences, pieces, 1, 1, self.device)
        places = np.flatnonzero(sequences.tokens != sequences.end)
        piece_of = np.searchsorted(pieces.starts, places, "right") - 1
        for group in alike(pieces.lengths[piece_of]):
            rows, own = piece_of[group], places[group]
            x, known = dataset.take(torch.from_numpy(rows))
            at = x.cpu().numpy()
            hidden = (at == own[:, None]) & known.cpu().numpy()
            reading = reader.read(at, hidden, alone=True)
            with inference(self.module):
                found = self.module.log_prob(reading, known)[0]
            log_prob[own] = found.double().cpu().numpy()
        return log_prob

    def log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        """Return those of all tokens at some masks of texts, shape (m, n_tokens)."""
        pieces = Pieces.of(sequences, self.max_length)
        dataset = TokenDataset(sequences, pieces, 1, 1, self.device)
        reader, parts = self.start.reader(sequences), []
        piece_of = np.searchsorted(pieces.starts, places, "right") - 1
        for row in np.unique(piece_of):
            x, known = dataset.take(torch.tensor([row]))
            at, own = x.cpu().numpy(), places[piece_of == row]
            found = reader.find(own)
            evidence = self.start.pool.evidence(found)
            reading = Reading(
                inputs=sequences.tokens[at].astype(np.int64),
                said=np.isin(at, own),
                targets=np.zeros(0, dtype=np.int64),
                log_prob=np.zeros(0),
                evidence=evidence.reshape(len(evidence), self.start.n_evidence),
            )
            with inference(self.module):
                said = self.start.pool.log_probs(found)
                parts.append(self.module.log_probs(reading, known, said))
        return np.concatenate(parts)


def recounted(
    pool: Pool, sequences: TokenSequences, counts: NDArray | None = None
) -> Pool:
    """Return a pool of the same kind that has counted other tokens, but no end."""
    tokens = sequences.tokens
    counts = np.arange(len(tokens)) if counts is None else counts
    inner = counts[tokens[counts] != sequences.end]
    return pool.recounted(tokens, sequences.starts, inner)


class MaskedObjective(LanguageObjective):
    """The likelihood of hidden tokens given the others."""

    causal = False
    draws_per_row = 4
    # Which tokens end a sentence, if the order of sentences is learnt.
    ends_sentence: NDArray | None = None

    def counted(
        self,
        sequences: TokenSequences,
        counts: NDArray | None,
        seed: int,
        whole: PoolStart | None = None,
    ) -> PoolStart:
        """Return the pool of texts, of the experts that all of them have chosen."""
        if whole is not None:
            pool = recounted(whole.pool, sequences, counts)
            return replace(whole, pool=pool)
        if self.ends_sentence is not None:
            check_sentences(sequences, self.ends_sentence)
        once = sequences if sequences.recurs else sequences.distinct()
        share = float(self.params.mask_fraction)
        n_tokens, inner = sequences.n_tokens, np.flatnonzero(once.tokens != once.end)
        pool = Pool.of(once.tokens, once.starts, n_tokens, share, seed, inner)
        if len(once) < len(sequences):
            pool = recounted(pool, sequences)
        return PoolStart(pool, self.analysis(sequences, seed))

    def module(self, encoder: Any, decoder: Any) -> MaskedTokenModule:
        """Return the module to train."""
        params = self.params
        share, dynamic = float(params.mask_fraction), params.masking == "dynamic"
        ends = self.ends_sentence
        return MaskedTokenModule(
            encoder, decoder, share, dynamic=dynamic, ends_sentence=ends
        )

    def loss(self, plan: TrainingPlan) -> MaskedLoss:
        """Return the loss of tokens, and of the order of sentences."""
        return MaskedLoss()

    def n_predicted(
        self, sequences: TokenSequences, pieces: Pieces, rows: NDArray
    ) -> float:
        """Return how many tokens of a row are hidden, on average."""
        tokens = sequences.tokens[pieces.places(rows)]
        n_inner = float((tokens != sequences.end).sum())
        return max(n_inner, 1.0) * float(self.params.mask_fraction) / max(len(rows), 1)

    def model(
        self, module: Any, start: Any, held_out_error: float | None, seed: int
    ) -> TrainedMasked:
        """Return the network, beside a start."""
        return TrainedMasked(module, start, int(self.params.max_length))


class MaskedLanguageModel(LanguageModel, TextEstimator):
    r"""A model of hidden tokens that starts at a pool of n-grams and only gets better.

    BERT's objective: tokens are hidden and predicted from those on both sides. Fitting
    counts n-grams to the left, to the right and on both sides, pools what they say in
    closed form, trains a Transformer beside them, and mixes both where texts that it
    has not seen say that this is better.

    This is not a way to run pretrained models. It is for sequences of your own: logs,
    codes, names, clicks, moves, and texts that are not like those of the web.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of codes of a text (see Notes), at most the number of tokens. None is 32,
        or as many as there are tokens.
    masking : {"dynamic", "static"}, default="dynamic"
        Whether other tokens are hidden each time that a text is seen (RoBERTa), or
        always the same (BERT).
    mask_fraction : float, default=0.15
        Share of the tokens that are hidden in training, in (0, 1).
    sentence_order : bool, default=False
        Learn also whether the sentences of a text are in their order (ALBERT): in half
        of the rows, what comes before and after one of their ends is exchanged while
        training. It has no say in which epoch is kept. A sentence ends with a token of
        ``.``, ``!``, ``?``, or an ellipsis; texts of one sentence take no part.
    architecture : Transformer or None, default=None
        The network: :class:`skae.architectures.Transformer`, whose `share_layers` and
        `embedding_rank` make it an ALBERT. None has its defaults.
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
    max_length : int, default=128
        Tokens that the network sees at once, from 2 to 65,536. Longer texts are split
        into pieces, never cut off.
    alpha : float, default=0.01
        Weight decay (AdamW's, decoupled from the gradient).
    batch_size : int or "auto", default="auto"
        Rows of a training batch: texts, or pieces of long ones. "auto" makes about 1024
        tokens.
    learning_rate_init : float, default=2e-3
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs: passes over the texts, or, where these have more than 131,072 tokens, so
        many of them, drawn at random. "auto" goes through a million tokens, in at
        most 30 epochs. With 0, nothing is trained: the estimator is a pool of n-grams.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        the start and the network, which has to be better by ``1.25 + 30 / n`` standard
        errors over n texts, at least by 2. "auto" is 20 % below 1000 rows and 10 %
        from there, of 50,000 tokens at most. The pieces of a text and its copies are
        held out together; fewer than 20 distinct texts are held out in pieces. Below
        1000 rows a network that wins is trained again on all; below 10 distinct ones
        nothing is trained.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    verbose : bool, default=False
        Print a line for each epoch, and whether the start or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out texts and the order of the texts. None
        takes them from ``numpy.random``, whose seed is thus honoured; torch's random
        state is never touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``, ``valid_loss``
        and ``dur``. A :class:`skorch.callbacks.LRScheduler` replaces the one-cycle
        learning rate.
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    vocabulary_ : dict
        The number of each token.
    n_components_ : int
        Number of codes.
    n_samples_ : int
        Number of texts seen in :meth:`fit`.
    n_iter_ : int
        Epochs run.
    best_iter_ : int
        Epoch whose network is used; 0 is the start.
    validation_scores_ : list of float
        Mean log-likelihood of a hidden token of the held-out texts, in nats, for each
        epoch from the start on; empty if nothing is trained.
    loss_curve_ : list of float
        Training loss of each epoch.
    net_ : skorch.NeuralNet
        The net, with its history.
    module_ : torch.nn.Module
        The network.
    history_ : skorch.history.History
        That of the net.
    device_ : torch.device
        Where the network is.

    See Also
    --------
    CausalLanguageModel : Predicts tokens from those before, and draws texts.

    Notes
    -----
    The start is a log-linear pool: ``p(w)`` in proportion to the product of what
    several n-gram models say, each to a power of its own. They are as
    :class:`KneserNey`, and see the tokens to the left, to the right, on both sides in
    turn, at one distance, or none. Powers are those of maximum likelihood for a sample
    of hidden tokens, which `random_state` seeds, and which models take part is what
    others say; of less than 500 tokens it is a single one. Copies of texts count for
    that as in :class:`KneserNey`. With the network's softmax q
    and a share g of its own for each place, which starts at 0, tokens have the
    probabilities ``(1 - g) p + g q``.

    Codes are those that :class:`TextAutoencoder` starts at, correspondence analysis of
    the counts of tokens, whether a network is used or not.

    References
    ----------
    Devlin, Chang, Lee & Toutanova (2019), BERT: Pre-training of deep bidirectional
    transformers for language understanding. NAACL.

    Liu et al. (2019), RoBERTa: A robustly optimized BERT pretraining approach.

    Lan et al. (2020), ALBERT: A lite BERT for self-supervised learning of language
    representations. ICLR.

    Salazar, Liang, Nguyen & Kirchhoff (2020), Masked language model scoring. ACL.

    Examples
    --------
    >>> from skae.text import MaskedLanguageModel
    >>> names = ["anna", "hanna", "johanna", "susanna", "marianna", "joanna"]
    >>> model = MaskedLanguageModel(analyzer="char", max_iter=1, random_state=0)
    >>> [[(token, p), *_]] = model.fit(names).fill_mask(["jo<mask>nna"])[0]
    >>> token
    'a'
    """

    _objective_class = MaskedObjective
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TextEstimator._parameter_constraints,
        "masking": [StrOptions({"dynamic", "static"})],
        "mask_fraction": [Interval(Real, 0, 1, closed="neither")],
        "sentence_order": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        masking: str = "dynamic",
        mask_fraction: float = 0.15,
        sentence_order: bool = False,
        architecture: Any = None,
        analyzer: str | Callable[[Any], Iterable[str]] = "word",
        lowercase: bool = True,
        token_pattern: str = WORDS_AND_SIGNS,
        max_features: int | None = None,
        min_df: float = 1,
        max_length: int = 128,
        alpha: float = 0.01,
        batch_size: int | str = "auto",
        learning_rate_init: float = 2e-3,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: str | torch.device = "auto",
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.masking = masking
        self.mask_fraction = mask_fraction
        self.sentence_order = sentence_order
        self.architecture = architecture
        self.analyzer = analyzer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.max_features = max_features
        self.min_df = min_df
        self.max_length = max_length
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    def _objective(self) -> Objective:
        """Return what is trained, with the parameters as they are now."""
        objective = super()._objective()
        assert isinstance(objective, MaskedObjective)
        if self.sentence_order:
            objective.ends_sentence = self._vocabulary.ends_sentence
        return objective

    def _log_prob(self, sequences: TokenSequences) -> NDArray:
        return self._fit.model.log_prob(sequences)

    def _n_predicted(self, sequences: TokenSequences) -> int:
        return len(sequences.tokens) - len(sequences)

    def score_samples(self, X: Iterable[Any]) -> NDArray:
        """Return the pseudo-log-likelihood of each text, in nats.

        Each token is hidden in turn, and predicted from all others (Salazar et al.
        2020, Masked language model scoring, eq. 1).

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_texts,)
            The sum over the tokens of a text, without its end: 0 for an empty one.
            Longer texts have lower ones. They compare texts, but are not
            log-probabilities: those of all texts do not add up to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If `X` is not made of texts of that kind.
        """
        return super().score_samples(X)

    def fill_mask(self, X: Iterable[Any], top_k: int = 5) -> list[list[Any]]:
        """Return the likeliest tokens in the place of each mask.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw, with ``<mask>`` in the place of
            tokens, or -2 among integers. Of what is no string, both may be among the
            tokens that a callable `analyzer` returns.
        top_k : int, default=5
            How many tokens.

        Returns
        -------
        list of list of list of tuple
            For each text, and each mask of it, tokens and their probabilities, the
            likeliest first; the unknown token, which has the rest, is none of them.
            Other masks of a text are not known.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If `X` is not made of texts of that kind, if none of them has a mask, or
            `top_k` is no integer of at least 1.
        """
        sequences = self._texts(X, masks=True)
        check_scalar(top_k, "top_k", Integral, min_val=1)
        filled: list[list[Any]] = [[] for _ in range(len(sequences))]
        places = np.flatnonzero(sequences.tokens == sequences.mask)
        if len(sequences) and not len(places):
            mark = MASKED if self._vocabulary.kind == "integers" else MASK
            raise ValueError(f"No text of X has a mask: put {mark} where a token is.")
        if not len(places):
            return filled
        for rows in blocks(len(places), sequences.n_tokens):
            with usual_settings(), OneThread():
                log_probs = self._fit.model.log_probs(sequences, places[rows])
            for text, row in zip(sequences.texts[places[rows]], log_probs, strict=True):
                filled[text].append(self._likeliest(row[: sequences.unknown], top_k))
        return filled

    def _likeliest(self, log_probs: NDArray, n: int) -> list[tuple[Any, float]]:
        """Return the n likeliest tokens and their probabilities."""
        likeliest = np.argsort(-log_probs, kind="stable")[:n]
        names = [self._vocabulary.shown(i) for i in likeliest]
        return list(zip(names, np.exp(log_probs[likeliest]).tolist(), strict=True))
