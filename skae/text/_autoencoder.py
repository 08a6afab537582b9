"""The autoencoder of texts: correspondence analysis, and what networks add to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_scalar
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .._architecture_checks import check_trainable
from .._dataset import TrainingData
from .._losses import Loss
from .._module import with_linear_paths
from .._net import AutoencoderNet
from .._parameters import naming, resolve_device
from .._plan import TrainingPlan
from .._step import OneThread, usual_settings
from .._trained import inference
from ..architectures import MLP
from ._bag_module import BagModule
from ._base import LanguageModel, TextEstimator
from ._correspondence import BagModel, CorrespondenceAnalysis, LatentSemantics
from ._dataset import EPOCH_TOKENS, Pieces, TokenDataset
from ._objective import TextObjective, TextStart
from ._tokens import TokenSequences

# scikit-learn's: words of two letters or more.
WORDS = r"(?u)\b\w\w+\b"
# Coordinates that networks see, one for so many texts, and at most.
TEXTS_PER_COORDINATE, MOST_COORDINATES = 16, 128
HIDDEN = (128,)
BATCH = 64
# Texts that training goes through, and epochs, at most, unless max_iter says so.
TRAINING_TEXTS, MAX_EPOCHS = 128_000, 50
# Numbers of one inference pass.
INFERENCE_NUMBERS = 2**22


@dataclass(frozen=True)
class BagStart(TextStart):
    """A closed form of bags of tokens, and the coordinates that networks see.

    Attributes
    ----------
    bags : CorrespondenceAnalysis or LatentSemantics
    axes : CorrespondenceAnalysis
        Whose codes are the coordinates.
    length : float
        Mean number of tokens of a text.
    """

    bags: BagModel
    axes: CorrespondenceAnalysis
    length: float

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the closed form."""
        return self.bags.name

    def apply(self, module: Any, units: Any = None) -> None:
        """Set a module to this start."""
        module.set_start(self.bags, self.axes, self.length)

    def log_likelihood(self, sequences: TokenSequences) -> NDArray:
        """Return the log-likelihood of texts given their own codes, (n_texts,)."""
        counts = sequences.counts()
        return self.bags.log_likelihood(counts, self.bags.codes(counts))

    def log_probs(self, codes: NDArray) -> NDArray:
        """Return the log-probability of every token given codes, (n, n_tokens)."""
        return self.bags.log_probs(codes)


class BagDataset(TokenDataset):
    """Texts as the numbers of their tokens, without ends and unknown ones."""

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens of texts, padded with -1, and where there are some."""
        places, known = super().take(rows)
        tokens = torch.from_numpy(self.sequences.tokens[places.cpu().numpy()])
        tokens = tokens.to(places.device, torch.int64)
        known = known & (tokens < self.sequences.unknown)
        return torch.where(known, tokens, -1), known

    take_scattered = take


class BagLoss(Loss):
    """The negative log-likelihood of all tokens of a text, in nats."""

    loss_name = "negative log-likelihood of a token, in nats"

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the term ``nll``, of shape (n,)."""
        known = x >= 0 if known is None else known
        return {"nll": -(output[0] * known).sum(1)}

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the loss of texts, and of a half of each given the other one."""
        _, _, by_half, rest = output
        completion = -(by_half * rest).sum(1)
        return {"loss": self(output, x, known)["nll"], "completion": completion}


class BagNet(AutoencoderNet):
    """A net of which no epoch counts whose codes say less of the tokens unseen.

    A code that fits the very tokens that it was made of may say less of others.
    Held-out texts are judged as a whole, and by what codes of about half of their
    tokens say of the other half.
    """

    start_completion_: float

    def _held_out_terms(self, data: TrainingData) -> dict[str, Tensor]:
        terms = super()._held_out_terms(data)
        self.completion_ = float(terms.pop("completion").mean())
        return terms

    def _is_eligible(self, data: TrainingData, epoch: int) -> bool:
        if not epoch:
            self.start_completion_ = self.completion_
            return True
        self.history.record("valid_completion", self.completion_)
        return self.completion_ <= self.start_completion_


class TrainedBags:
    """Trained networks, in float64, with the same methods as the start."""

    def __init__(self, module: Any, start: BagStart) -> None:
        self.module = module
        self.start = start
        self._exact: Any = None

    @property
    def exact(self) -> Any:
        """The module in float64."""
        if self._exact is None:
            self._exact = copy.deepcopy(self.module).double()
            self.start.apply(self._exact)
        return self._exact.eval()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_exact": None}

    def _batches(
        self, sequences: TokenSequences
    ) -> Iterator[tuple[NDArray, Tensor, Tensor]]:
        """Yield which texts, their tokens, and where there are some."""
        pieces = whole_texts(sequences)
        device = next(self.module.parameters()).device
        dataset = BagDataset(sequences, pieces, 1, 1, device)
        size = max(1, INFERENCE_NUMBERS // sequences.n_tokens)
        for rows in np.array_split(np.arange(len(pieces)), -(-len(pieces) // size)):
            yield (rows, *dataset.take(torch.from_numpy(rows)))

    def codes(self, sequences: TokenSequences) -> NDArray:
        """Return the codes of texts, shape (n_texts, n_codes)."""
        codes = np.empty((len(sequences), self.start.n_codes))
        with inference(self.exact):
            for rows, x, known in self._batches(sequences):
                codes[rows] = self.exact.encode(x, known).cpu().numpy()
        return codes

    def log_likelihood(self, sequences: TokenSequences) -> NDArray:
        """Return the log-likelihood of texts given their own codes, (n_texts,)."""
        found = np.empty(len(sequences))
        with inference(self.exact):
            for rows, x, known in self._batches(sequences):
                z = self.exact.encode(x, known)
                log_probs = self.exact.log_probs_of(z, x.clamp(min=0))
                found[rows] = (log_probs * known).sum(1).cpu().numpy()
        return found

    def log_probs(self, codes: NDArray) -> NDArray:
        """Return the log-probability of every token given codes, (n, n_tokens)."""
        device = next(self.module.parameters()).device
        with inference(self.exact):
            z = torch.from_numpy(codes).to(device)
            return self.exact.decode(z).cpu().numpy()


def whole_texts(sequences: TokenSequences) -> Pieces:
    """Return texts as rows, whatever their length."""
    return Pieces.of(sequences, int(sequences.lengths.max()))


class BagObjective(TextObjective):
    """The likelihood of the tokens of a text, given a code of some of them."""

    keeps_network = False
    net_class = BagNet

    def counted(
        self,
        sequences: TokenSequences,
        counts: NDArray | None,
        seed: int,
        whole: BagStart | None = None,
    ) -> BagStart:
        """Return the closed form of texts, of as many codes and coordinates."""
        if counts is not None:
            sequences = sequences.take(np.unique(sequences.texts[counts]))
        table = sequences.counts()
        n_distinct = len(sequences.distinct())
        k, n_tokens = self.n_codes(table), table.shape[1]
        n_axes = min(max(k, n_distinct // TEXTS_PER_COORDINATE), n_tokens)
        n_axes = min(n_axes, max(k, MOST_COORDINATES))
        if whole is not None:
            n_axes = whole.axes.token_weights.shape[1]
        given = self.params.random_state
        seed = int(given) if isinstance(given, Integral) else seed  # TruncatedSVD's
        is_ca = self.params.start == "ca"
        kind: Any = CorrespondenceAnalysis if is_ca else LatentSemantics
        return BagStart(
            bags=kind.of(table, k, seed=seed),
            axes=CorrespondenceAnalysis.of(table, n_axes, seed=seed),
            length=max(float(table.sum()) / len(sequences), 1.0),
        )

    def pieces(self, sequences: TokenSequences) -> Pieces:
        """Return the rows of texts: whole ones."""
        return whole_texts(sequences)

    def dataset(
        self, sequences: TokenSequences, pieces: Pieces, plan: TrainingPlan
    ) -> BagDataset:
        """Return rows as a net takes them."""
        device = resolve_device(self.params.device)
        floats = max(1, sequences.n_tokens // int(pieces.lengths.max()))
        return BagDataset(sequences, pieces, plan.batch_size, floats, device)

    def n_predicted(
        self, sequences: TokenSequences, pieces: Pieces, rows: NDArray
    ) -> float:
        """Return how many tokens of a row are predicted, on average."""
        tokens = sequences.tokens[pieces.places(rows)]
        n_known = float((tokens < sequences.unknown).sum())
        return max(n_known, 1.0) / max(len(rows), 1)

    def epochs(self, n_rows: int, n_tokens: int) -> int:
        """Return how many epochs so many texts are trained for."""
        n_epoch = n_rows * min(1.0, EPOCH_TOKENS / n_tokens)
        return max(1, min(MAX_EPOCHS, round(TRAINING_TEXTS / n_epoch)))

    def batch_size(self, lengths: NDArray) -> int:
        """Return how many texts make a batch."""
        return BATCH

    def networks(
        self, start: Any, plan: TrainingPlan, seed: int
    ) -> tuple[nn.Module, nn.Module]:
        """Return the networks between coordinates and codes."""
        architecture = self.params.architecture
        if architecture is None:
            architecture = MLP(HIDDEN, "gelu")
        d, k = start.axes.token_weights.shape[1], start.n_codes
        encoder, decoder = self.built(architecture, (d,), plan, seed, k)
        check_trainable(architecture, encoder, decoder)
        return with_linear_paths(encoder, decoder, d, k, k)

    def module(self, encoder: Any, decoder: Any) -> BagModule:
        """Return the module to train."""
        return BagModule(encoder, decoder, by_idf=self.params.start == "lsa")

    def loss(self, plan: TrainingPlan) -> BagLoss:
        """Return the loss of bags."""
        return BagLoss()

    def model(
        self, module: Any, start: Any, held_out_error: float | None, seed: int
    ) -> TrainedBags:
        """Return the networks, beside a start."""
        return TrainedBags(module, start)


class TextAutoencoder(LanguageModel, TextEstimator):
    r"""Codes of texts that start at correspondence analysis and only get better.

    It replaces ``make_pipeline(TfidfVectorizer(), TruncatedSVD(k))``: texts become k
    numbers each, which say which tokens they have. Fitting finds correspondence
    analysis of the counts of tokens in closed form, trains networks for what it leaves
    over, and keeps them only where texts that they have not seen say that this is
    better.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of codes, at most the number of tokens. None is 32, or as many as there
        are tokens.
    start : {"ca", "lsa"}, default="ca"
        Correspondence analysis, whose codes are the principal coordinates of texts, or
        latent semantic analysis: with ``max_iter=0`` codes are then those of
        :class:`~sklearn.decomposition.TruncatedSVD`, with the same `random_state`,
        behind :class:`~sklearn.feature_extraction.text.TfidfVectorizer`. (Where
        singular values are equal, their axes are any of one space. Codes beyond the
        number of texts, which TruncatedSVD leaves out, are 0.)
    architecture : Architecture or None, default=None
        Which networks to train between coordinates and codes, as of
        :class:`skae.AutoencoderTransformer` on a table of coordinates. None is an MLP
        with a hidden layer of 128.
    analyzer : {"word", "char", "bpe"} or callable, default="word"
        What tokens of a string are: as for
        :class:`~sklearn.feature_extraction.text.CountVectorizer`, or byte pairs
        (Sennrich et al. 2016), which need the extra ``skae[tokenizers]``. Lists of
        tokens and integers are taken as they are.
    lowercase : bool, default=True
        Convert strings to lower case before they are split.
    token_pattern : str, default=r"(?u)\b\w\w+\b"
        Regular expression of a token, with ``analyzer="word"``: words of two
        letters or more.
    max_features : int or None, default=None
        Keep so many tokens, those that occur most often; the others are unknown ones.
        Of byte pairs, how many there are: None is 1000.
    min_df : int or float, default=1
        Keep tokens that so many of the texts have, or such a share of them.
    alpha : float, default=0.01
        Weight decay (AdamW's, decoupled from the gradient).
    batch_size : int or "auto", default="auto"
        Texts of a training batch. "auto" is 64.
    learning_rate_init : float, default=3e-3
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs: passes over the texts, or, where these have more than 131,072 tokens, so
        many of them, drawn at random. "auto" goes through 128,000 texts, in at most 50
        epochs. With 0, nothing is trained: the estimator is the start.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between the
        start and the network, which has to be better by ``1.25 + 30 / n`` standard
        errors over n texts, at least by 2, and whose codes of a half of each text must
        not say less of the other half than those of the start. "auto" is 20 % below
        1000 rows and 10 % from there, of 50,000 tokens at most. Texts that are the same
        bag are held out together. A network that wins is trained again on all texts.
        Below 10 distinct bags nothing is trained.
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
    explained_variance_ : ndarray of shape (n_components,)
        Variances of the codes of the start over the training texts: the principal
        inertias, or, with ``start="lsa"``, TruncatedSVD's.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Their shares of the total inertia, or variance.
    n_samples_ : int
        Number of texts seen in :meth:`fit`.
    n_iter_ : int
        Epochs run.
    best_iter_ : int
        Epoch whose network is used; 0 is the start.
    validation_scores_ : list of float
        Mean log-likelihood of a token of the held-out texts given their codes, in nats,
        for each epoch from the start on; empty if nothing is trained.
    loss_curve_ : list of float
        Training loss of each epoch.
    net_ : skorch.NeuralNet
        The net, with its history.
    module_ : torch.nn.Module
        The network.
    history_ : skorch.history.History
        That of the net. Its ``valid_completion`` are the nats of a half of a held-out
        text given the other half, on average.
    device_ : torch.device
        Where the network is.

    See Also
    --------
    CausalLanguageModel : How likely a text is.

    Notes
    -----
    The order of tokens does not matter: a text is a bag of them. Tokens that were not
    seen in :meth:`fit` do not count: a text of such tokens alone has the code of an
    empty one, which is 0 while the start is used.

    With c the shares of tokens in all texts, the start has ``p(w | z) = c_w max(1 + z'
    g_w, 0.1)``, normalised: the reconstitution formula of correspondence analysis.
    Networks add to the code, and to the logarithms of seven tenths of these
    probabilities: of an odd text they cannot make a token less likely than three tenths
    of what the formula says. They see a text by up to 128 coordinates of a further
    correspondence analysis, and tokens by their coordinates there, so that nothing of
    what is trained grows with the vocabulary. In training, a text is coded from a
    random part of its tokens, half of them at most, and all of them are predicted: a
    code is to say what other tokens such a text has, and not to hold the very ones that
    it was made of.

    References
    ----------
    Benzecri (1973), L'analyse des donnees. Dunod.

    Greenacre (1984), Theory and applications of correspondence analysis. Academic
    Press.

    Deerwester, Dumais, Furnas, Landauer & Harshman (1990), Indexing by latent semantic
    analysis. JASIS.

    Examples
    --------
    >>> from skae.text import TextAutoencoder
    >>> texts = ["cats and dogs", "dogs and cats", "bread and wine", "wine and bread"]
    >>> model = TextAutoencoder(1, random_state=0).fit(texts)
    >>> model.transform(["cats dogs", "wine bread"]).round(1) + 0.0
    array([[-1.2],
           [ 1.2]])
    >>> model.inverse_transform([[-1.0], [1.0]], n_tokens=2)
    ['cats dogs', 'bread wine']
    """

    _objective_class = BagObjective

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in TextEstimator._parameter_constraints.items()
            if name != "max_length"
        },
        "start": [StrOptions({"ca", "lsa"})],
        "architecture": [HasMethods("build"), None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        start: str = "ca",
        architecture: Any = None,
        analyzer: str | Callable[[Any], Iterable[str]] = "word",
        lowercase: bool = True,
        token_pattern: str = WORDS,
        max_features: int | None = None,
        min_df: float = 1,
        alpha: float = 0.01,
        batch_size: int | str = "auto",
        learning_rate_init: float = 3e-3,
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
        self.start = start
        self.architecture = architecture
        self.analyzer = analyzer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.max_features = max_features
        self.min_df = min_df
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

    def _fitted_texts(self, X: Any) -> TokenSequences:
        return super()._fitted_texts(X).bags()

    def _texts(self, X: Any, *, masks: bool = False) -> TokenSequences:
        return super()._texts(X, masks=masks).bags()

    def _publish(self, fit: Any) -> None:
        super()._publish(fit)
        self.explained_variance_ = fit.start.bags.explained_variance
        self.explained_variance_ratio_ = fit.start.bags.explained_variance_ratio

    def _log_likelihood(self, sequences: TokenSequences) -> NDArray:
        return self._fit.model.log_likelihood(sequences)

    def _n_predicted(self, sequences: TokenSequences) -> int:
        return int((sequences.tokens < sequences.unknown).sum())

    def score_samples(self, X: Iterable[Any]) -> NDArray:
        """Return the log-likelihood of each text given its own code, in nats.

        Parameters
        ----------
        X : list or Series of str, list of lists of tokens, or ndarray of int
            Texts, of the kind that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_texts,)
            The sum over the known tokens of a text. It says how well a code says what
            a text is made of, and not how probable the text is: the code has seen it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If `X` is not made of texts of that kind.
        """
        return super().score_samples(X)

    def inverse_transform(self, X: ArrayLike, n_tokens: int | None = None) -> Any:
        """Return the likeliest bags of tokens of codes.

        Parameters
        ----------
        X : array-like of shape (n_texts, n_components)
            Codes as :meth:`transform` returns them.
        n_tokens : int or None, default=None
            Tokens of a bag. None takes as many as a text of :meth:`fit` has on average.

        Returns
        -------
        list of str, list of list of tokens, or ndarray of int
            Texts of the kind that :meth:`fit` saw, or lists of tokens where `analyzer`
            is a callable, the likeliest tokens first: the mode of a multinomial
            distribution.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError, TypeError
            If the codes are not finite, or not `n_components_` each, or `n_tokens` is
            no integer of at least 1.
        """
        check_is_fitted(self)
        if n_tokens is None:
            start: Any = self._fit.start
            n_tokens = max(1, round(start.length))
        check_scalar(n_tokens, "n_tokens", Integral, min_val=1)
        with naming("X"):
            codes = check_array(X, dtype=np.float64, input_name="X")
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but codes of this TextAutoencoder "
                f"have n_components_={self.n_components_}."
            )
        bags: list[NDArray] = []
        size = max(1, INFERENCE_NUMBERS // len(self.vocabulary_))
        with usual_settings(), OneThread():
            for first in range(0, len(codes), size):
                log_probs = self._fit.model.log_probs(codes[first : first + size])
                bags += [likeliest_bag(row, int(n_tokens)) for row in log_probs]
        return self._vocabulary.decode(bags)


def likeliest_bag(log_probs: NDArray, n: int) -> NDArray:
    """Return the n tokens that are the likeliest ones together.

    One after another is drawn with the largest ``p / (times drawn + 1)``, by which the
    probability of a bag rises most.
    """
    best = np.argsort(-log_probs, kind="stable")[:n]
    gain = log_probs[best][:, None] - np.log(np.arange(1, n + 1))
    drawn = np.argsort(-gain, axis=None, kind="stable")[:n] // n
    return best[np.sort(drawn)]
