"""The causal language model: Kneser-Ney, and what a Transformer adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from .._parameters import is_auto
from .._trained import inference
from ._base import WORDS_AND_SIGNS, GenerativeModel, TextEstimator
from ._dataset import Pieces, TokenDataset
from ._kneser_ney import NGramStart
from ._objective import LanguageObjective, TrainedTokens, alike
from ._tokens import TokenSequences


class TrainedCausal(TrainedTokens):
    """A network beside n-grams."""

    def log_prob(self, sequences: TokenSequences) -> NDArray:
        """Return the log-probability of each token in nats, shape (n_total,)."""
        reader, log_prob = self.start.reader(sequences), np.zeros(len(sequences.tokens))
        pieces = Pieces.of(sequences, self.max_length, causal=True)
        dataset = TokenDataset(sequences, pieces, 1, 1, self.device)
        for rows in alike(pieces.lengths):
            x, known = dataset.take(torch.from_numpy(rows))
            reading = reader.read(x.cpu().numpy(), known.cpu().numpy())
            with inference(self.module):
                found = self.module.log_prob(reading, known)[0]
            places = x.cpu().numpy()[reading.said]
            log_prob[places] = found.double().cpu().numpy()
        return log_prob

    def log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        """Return the log-probabilities of all tokens at one place of each text.

        Returns
        -------
        ndarray of shape (n_texts, n_tokens)
            Of long texts the network sees the piece that the place is in.
        """
        reader = self.start.reader(sequences)
        before = places - sequences.starts
        first = places - before % self.max_length
        rows = Pieces(first, places + 1 - first, np.arange(len(sequences)))
        dataset = TokenDataset(sequences, rows, 1, 1, self.device)
        x, known = dataset.take(torch.arange(len(rows)))
        reading = reader.read(x.cpu().numpy(), known.cpu().numpy())
        is_place = x.cpu().numpy() == places[:, None]
        reading = reading._replace(
            said=reading.said & is_place, evidence=reader.evidence(places)
        )
        with inference(self.module):
            return self.module.log_probs(reading, known, reader.log_probs(places))


class CausalObjective(LanguageObjective):
    """The likelihood of each token given those before it."""

    causal = True

    def counted(
        self,
        sequences: TokenSequences,
        counts: NDArray | None,
        seed: int,
        whole: NGramStart | None = None,
    ) -> NGramStart:
        """Return the n-grams of texts, in the order that all of them have chosen."""
        if whole is not None:
            return NGramStart.of(sequences, whole.ngrams.order, counts)
        order = None if is_auto(self.params.order) else int(self.params.order)
        start = NGramStart.of(sequences, order)
        return replace(start, bags=self.analysis(sequences, seed))

    def model(
        self, module: Any, start: Any, held_out_error: float | None, seed: int
    ) -> TrainedCausal:
        """Return the network, beside a start."""
        return TrainedCausal(module, start, int(self.params.max_length))


class CausalLanguageModel(GenerativeModel, TextEstimator):
    r"""A language model that starts at Kneser-Ney's n-grams and only gets better.

    GPT's objective: each token is predicted from those before it. Up to about a million
    tokens, a Transformer alone does not come near what counting n-grams says. Fitting
    therefore counts n-grams in closed form, smoothed by the modified method of Kneser
    and Ney, trains a Transformer beside them, and mixes both where texts that it has
    not seen say that this is better.

    This is not a way to run pretrained models. It is for sequences of your own: logs,
    codes, names, clicks, moves, and texts that are not like those of the web.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of codes of a text (see Notes), at most the number of tokens. None is 32,
        or as many as there are tokens.
    order : int or "auto", default="auto"
        The n-grams predict a token from at most ``order - 1`` tokens before it. "auto"
        takes 2 to 7, whichever makes the tokens the likeliest when each of them is left
        out of the counts.
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
        most 30 epochs. With 0, nothing is trained: the estimator is :class:`KneserNey`.
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
        Mean log-likelihood of a token of the held-out texts, in nats, for each epoch
        from the start on; empty if nothing is trained.
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
    KneserNey : The start alone.
    MaskedLanguageModel : Predicts tokens from those on both sides.

    Notes
    -----
    With n-grams p, the network's softmax q and a share g of its own for each place,
    tokens have the probabilities ``(1 - g) p + g q``. The share sees what the network
    sees, how often each context was counted, and what it leaves to shorter ones. It
    starts at 0, so that the model is :class:`KneserNey` to the last digit. In training,
    each token is left out of the n-grams' counts, or the share would learn that counts
    are always right, and the weights are averaged over about an epoch. Held-out texts
    say how the logits of shares are to be scaled and shifted. After training, the
    n-grams count all texts, those that were held out as well.

    Codes are those that :class:`TextAutoencoder` starts at, correspondence analysis of
    the counts of tokens, whether a network is used or not.

    A token that was not seen in :meth:`fit` is ``<unk>``, and has a probability. The
    end of a text is a token, so that the probabilities of all texts add up to 1.

    References
    ----------
    Radford, Narasimhan, Salimans & Sutskever (2018), Improving language understanding
    by generative pre-training.

    Chen & Goodman (1998), An empirical study of smoothing techniques for language
    modeling. Harvard TR-10-98.

    Examples
    --------
    >>> from skae.text import CausalLanguageModel
    >>> names = ["anna", "hanna", "johanna", "susanna", "marianna", "joanna"]
    >>> model = CausalLanguageModel(analyzer="char", max_iter=1, random_state=0)
    >>> model.fit(names).score_samples(["rosanna", "xqzwy"]).round(1)
    array([-11.7, -19.7])
    >>> model.sample(3, prompt="jo", temperature=0.5, random_state=0)
    ['joanna', 'johanna', 'joannana']
    """

    _objective_class = CausalObjective

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TextEstimator._parameter_constraints,
        "order": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        order: int | str = "auto",
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
        self.order = order
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

    def _log_prob(self, sequences: TokenSequences) -> NDArray:
        return self._fit.model.log_prob(sequences)

    def _log_probs(self, sequences: TokenSequences, places: NDArray) -> NDArray:
        return self._fit.model.log_probs(sequences, places)
