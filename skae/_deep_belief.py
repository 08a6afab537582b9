"""The deep belief autoencoder: Boltzmann machines as the hidden layers of its networks.

Restricted Boltzmann machines are trained one after the other, each on the means of the
hidden units of the one before (Hinton & Salakhutdinov 2006). Their weights are where
the hidden layers of the encoder begin, and, in reverse, those of the decoder:

    h1 = sigmoid(c1 + W1' r(x)),  h2 = sigmoid(c2 + W2' h1),  ...
    ...  h1 = sigmoid(b2 + W2 h2),  x = b1 + W1 h1

The networks stand beside PCA's linear path, their last layers being zero, or alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._autoencoder import AutoencoderModule, AutoencoderTransformer, Reconstruction
from ._base import BaseAutoencoder
from ._dataset import RowDataset
from ._module import BaseModule, LinearResidual
from ._plan import TrainingPlan
from ._rbm import RBM, warn_if_kept
from ._start import Start
from .architectures import MLP
from .architectures._mlp import TiedDecoder

# Rows that machines are trained on, at most: tables on disk may have more.
MOST_ROWS = 2**17
# Ridge of the regression on codes of variance 1, as a share of the rows.
RIDGE = 1e-3
# Learning rate of the code's machine: normal units, whose size is not bounded, diverge
# at that of the others (the paper's factor is 0.01).
GAUSSIAN_RATE = 0.1
# What a machine that diverges is trained by: rates near that one are worth the most.
SHARES_OF_RATE = (1.0, 0.7, 0.5, 0.25, 0.0625)
# Share of the weight decay of plain networks, and the most: it pulls at weights that
# the machines have found.
DECAY, MOST_DECAY = 0.5, 0.3


@dataclass(frozen=True)
class Pretraining:
    """How the machines of a stack are trained."""

    params: SimpleNamespace
    seed: int

    def fitted(
        self, rows: NDArray, n_hidden: int, visible: str, hidden: str = "bernoulli"
    ) -> RBM:
        """Return a machine fitted to rows, at a smaller rate where it diverges."""
        params = self.params
        rate = GAUSSIAN_RATE if hidden == "gaussian" else 1.0
        machine = RBM(
            n_hidden,
            visible=visible,
            hidden=hidden,
            momentum=params.momentum,
            n_gibbs_steps=params.n_gibbs_steps,
            persistent=params.persistent,
            max_iter=params.pretrain_max_iter,
            validation_fraction=None,
            random_state=self.seed,
            device=params.device,
        )
        for share in SHARES_OF_RATE:
            machine.learning_rate = share * rate * params.rbm_learning_rate
            reason = machine._fit(rows, None)
            if not reason:
                return machine
        warn_if_kept(reason, stacklevel=3)
        return machine


def has_diverged(machine: RBM) -> bool:
    """Whether a machine was to be trained, and is the start."""
    return not machine.components_.any() and not machine.is_trained_


class DeepBeliefModule(AutoencoderModule):
    """An autoencoder whose hidden layers begin as Boltzmann machines.

    Parameters
    ----------
    encoder, decoder : torch.nn.Module
        Of dense layers, beside linear paths or alone.
    code_noise : float
    ordered : bool
    pretraining : Pretraining or None
        None: the layers keep their weights.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        code_noise: float,
        ordered: bool,
        pretraining: Pretraining | None,
    ) -> None:
        super().__init__(encoder, decoder, code_noise, ordered)
        self.pretraining = pretraining
        self.rbms: list[RBM] = []

    def noisy(self, z: Tensor, *, in_place: bool = False) -> tuple[Tensor, Any]:
        """Return codes with noise; layers that are trained are not set once more."""
        if self.training:
            self.pretraining = None
        return super().noisy(z, in_place=in_place)

    def see(self, dataset: RowDataset, rows: Tensor, may_see: Tensor) -> None:
        """Train the machines on rows that do not judge, and begin at their weights."""
        rows = rows[may_see]
        if self.pretraining is None or len(rows) < 2:
            return
        if len(rows) > MOST_ROWS:
            rows = rows[torch.arange(MOST_ROWS) * len(rows) // MOST_ROWS]
        x, _ = dataset.take(rows)
        with torch.no_grad():
            self._pretrain(x, self.pretraining)

    def _pretrain(self, x: Tensor, pretraining: Pretraining) -> None:
        encoder, decoder = dense_layers(self.encoder), dense_layers(self.decoder)
        widths = [layer.out_features for layer in encoder[:-1]]
        if not encoder:  # it is PCA alone
            widths = [layer.out_features for layer in decoder[-2::-1]]
        beside_pca = isinstance(self.decoder, LinearResidual)
        kinds = [(width, "bernoulli") for width in widths]
        if not beside_pca:  # the code is the hidden side of a machine too
            kinds.append((encoder[-1].out_features, "gaussian"))
        given, visible = x.cpu().numpy(), "gaussian"
        for width, hidden in kinds:
            rbm = pretraining.fitted(given, width, visible, hidden)
            if has_diverged(rbm):  # which it has warned of
                return
            self.rbms.append(rbm)
            given, visible = rbm.transform(given), "bernoulli"
        for layer, rbm in zip(encoder, self.rbms, strict=False):
            set_layer(layer, *upward(rbm))
        tied = tied_decoder(self.decoder)
        for i, rbm in enumerate(self.rbms):
            if tied is not None:
                tied.biases[-1 - i].copy_(torch.from_numpy(rbm.intercept_visible_))
            elif i or not beside_pca:  # the last layer stays zero beside PCA
                weight = rbm.components_.T
                set_layer(decoder[-1 - i], weight, rbm.intercept_visible_)
        if beside_pca and widths and tied is None:
            top = hidden_inputs(self.rbms, x.cpu().numpy())
            codes = self._linear_codes(x).cpu().numpy()
            set_layer(decoder[0], *regression(codes, top))

    def _linear_codes(self, x: Tensor) -> Tensor:
        """Return what the linear path beside the encoder makes of rows."""
        assert isinstance(self.encoder, LinearResidual)
        return self.encoder.linear(x)


def dense_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the dense layers of a network, first to last."""
    return [part for part in network.modules() if isinstance(part, nn.Linear)]


def tied_decoder(network: nn.Module) -> TiedDecoder | None:
    """Return the decoder whose weights are the encoder's, if it is one."""
    return next((p for p in network.modules() if isinstance(p, TiedDecoder)), None)


def set_layer(layer: nn.Linear, weight: NDArray, bias: NDArray) -> None:
    """Set the weight, of shape (n_out, n_in), and the bias of a dense layer."""
    for parameter, value in ((layer.weight, weight), (layer.bias, bias)):
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def upward(rbm: RBM) -> tuple[NDArray, NDArray]:
    """Return the map from rows to the inputs of a machine's hidden units."""
    weight, c = rbm.components_, rbm.intercept_hidden_
    if rbm.visible == "bernoulli":
        return weight, c
    weight = weight / rbm.noise_variance_
    return weight, c - weight @ rbm.intercept_visible_


def hidden_inputs(rbms: list[RBM], x: NDArray) -> NDArray:
    """Return the inputs of the hidden units of the last of some machines."""
    for rbm in rbms[:-1]:
        x = rbm.transform(x)
    weight, bias = upward(rbms[-1])
    return x @ weight.T + bias


def regression(codes: NDArray, target: NDArray) -> tuple[NDArray, NDArray]:
    """Return the ridge regression of a target on centred codes: a weight and a bias."""
    mean = target.mean(0)
    inner = codes.T @ codes + RIDGE * len(codes) * np.eye(codes.shape[1])
    return np.linalg.solve(inner, codes.T @ (target - mean)).T, mean


class DeepBelief(Reconstruction):
    """Rows are to come back, through layers that began as Boltzmann machines."""

    def __init__(self, params: SimpleNamespace, sample_shape: tuple[int, ...]) -> None:
        super().__init__(params, sample_shape)
        architecture = params.architecture
        if architecture is not None and not isinstance(architecture, MLP):
            raise ValueError(
                f"architecture={architecture!r}: the layers of a "
                "DeepBeliefAutoencoder are Boltzmann machines, which only those of "
                "skae.architectures.MLP can be. Use that, or None."
            )

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``: layers keep what they have."""
        return min(DECAY * super().decay(n_rows, n_features, n_components), MOST_DECAY)

    def networks(self, start: Start, plan: TrainingPlan, seed: int) -> tuple[Any, ...]:
        """Return the two networks of a module, and how its machines are trained."""
        return *super().networks(start, plan, seed), Pretraining(self.params, seed)

    def module(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        pretraining: Pretraining | None = None,
    ) -> BaseModule:
        """Return an autoencoder that trains its machines on what it may see."""
        params = self.params
        if not params.pretrain_max_iter or params.max_iter == 0:
            pretraining = None
        how = float(params.code_noise), params.ordered, pretraining
        return DeepBeliefModule(encoder, decoder, *how)


class DeepBeliefAutoencoder(BaseAutoencoder):
    """Autoencoder whose hidden layers begin as a stack of Boltzmann machines.

    Restricted Boltzmann machines are trained one on top of the other, without a
    gradient through all of them, and their weights become the hidden layers of the
    encoder and the decoder (Hinton & Salakhutdinov 2006). The network stands beside
    PCA, starts exactly there, and replaces it only where rows that it has not seen say
    that it is better.

    Parameters
    ----------
    n_components : int, float, "mle" or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance, "mle" guesses it as PCA does (Minka 2000), and None takes
        ``min(n_samples, n_features)``. Without a code, 0, there is only the mean.
    pretrain_max_iter : int, default=30
        Passes over the rows for each of the Boltzmann machines. With 0 the layers start
        at random weights.
    rbm_learning_rate : float, default=0.05
        Learning rate of these machines, which falls linearly to 0; a tenth of it for
        normal codes. One that diverges is trained anew at .7, .5, .25 or .0625 of it.
    momentum : float, default=0.5
        What a step of these machines keeps of the step before, in [0, 1).
    n_gibbs_steps : int, default=1
        Steps of Gibbs sampling for each of their gradients.
    persistent : bool or "auto", default="auto"
        Whether their chains go on from batch to batch, as of :class:`skae.RBM`: "auto"
        does but for the first machine, whose visible units are Gaussian.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes. Only used
        when `architecture` is None.
    activation : str, default="logistic"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used when `architecture` is None.
    architecture : skae.architectures.MLP or None, default=None
        An MLP with further options. None is one of the sizes and the activation above.
        Other networks have no layers that a Boltzmann machine could be.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, with the machines as the hidden layers of the
        networks beside it, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, unrolled from the
        machines as in the paper, the code layer being one with Gaussian hidden units.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    ordered : bool, default=False
        Train so that ``Z[:, :j]`` is the code of an autoencoder with j components, for
        every j, as the first principal components are: each code adds to those before
        it, and :meth:`inverse_transform` takes 1 to `n_components` of them. Rows with
        all of their codes are reconstructed a little worse, and where PCA leaves next
        to nothing over, as with as many codes as columns, a little worse than by PCA.
        Otherwise codes are sorted by `explained_variance_ratio_`.
    linear_encoder : bool, default=False
        Keep the codes PCA's, in PCA's order, and train the decoder alone. They stay
        uncorrelated, and what a later step makes of them is what it makes of PCA's.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(0.3, 0.15 * k * sqrt(d / n))`` for n distinct rows, d columns and k codes.
    code_noise : float, default=0.0
        Standard deviation of the normal noise that is added to the codes while the
        network trains, in deviations of each code over the batch.
    transform_max_iter : int or "auto", default="auto"
        Steps by which :meth:`transform` goes from the codes of the encoder to those
        that are decoded closest to the rows, as PCA's codes are. Each takes as long as
        the networks themselves do. "auto" is 3, and 0, the codes of the encoder, with
        ``init="random"`` and ``linear_encoder=True``. With ``ordered=True`` a step
        takes `n_components` times as long. It counts in :meth:`fit`, and should stay
        below ten: see :class:`AutoencoderTransformer`.
    contamination : float, default=0.0
        Share of the rows, at most 0.5, that takes no part in PCA, training and the
        choice between them: those that are the most unusual for PCA of all rows (of a
        batch, those before it), by their codes or by what these leave over. `offset_`
        follows from it. 0.5 is a good choice where it is not known how many rows are
        anomalies, 0 where none is.
    n_neighbors : int or None, default=None
        Score rows by their distance to so many of the rows that were trained on, in
        codes beside residuals, which are kept for that: 5 finds single anomalies better
        than the likelihood does, which None stands for, and misses groups of them
        that are larger. A model that is to be chosen by
        `score` needs None.
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2, and twice that for one or two codes of 1000 rows or more, and
        for those with ``ordered=True``. With 0, nothing is trained, not the machines
        either, and the estimator is PCA.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, PCA is kept.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    warm_start : bool, default=False
        Let :meth:`fit` go on from the network of the last fit. The linear start and the
        mean stay those of the first one, and a split decides in place of folds. The
        rate, the decay, the batches and the epochs may change; other networks or
        another objective are an error.
    verbose : bool, default=False
        Print a line for each epoch, and whether PCA or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the machines, the initial weights, the held-out rows, the order of the
        rows and PCA's randomised solver. None takes them from ``numpy.random``, whose
        seed is thus honoured; torch's random state is never touched.
    svd_solver : {"auto", "full", "covariance_eigh", "arpack", "randomized"}, \
            default="auto"
        How PCA is found, as in :class:`sklearn.decomposition.PCA`. Rows with weights,
        or more than once in a small table, and tables on disk have only one way.
    iterated_power : int or "auto", default="auto"
        Power iterations of the randomised solver.
    n_oversamples : int, default=10
        Further random vectors of the randomised solver.
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}, default="auto"
        How the randomised solver normalises its iterations.
    copy : bool, default=True
        Is there because PCA has it: `X` is never overwritten.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``, ``valid_loss``
        and ``dur``. A :class:`skorch.callbacks.LRScheduler` replaces the one-cycle
        learning rate. With callbacks, a split decides in place of folds (20 % of less
        than 1000 rows).
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    n_components_ : int
        Number of codes.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`: the product of `sample_shape_`.
    sample_shape_ : tuple of int
        Shape of a sample: ``(n_features,)`` for a table, ``(28, 28)`` for images given
        as an array of shape (n_samples, 28, 28).
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    n_samples_ : int
        Number of rows seen in :meth:`fit`.
    mean_ : ndarray of shape (n_features,)
        Mean of the rows.
    components_ : ndarray of shape (n_components, n_features)
        Loadings of the columns on the codes, by least squares over the training rows
        (10,000 of them at most): the principal axes while PCA is used.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it
        in proportion to the error that fixing this code at its mean would add, and with
        ``ordered=True`` what it adds to the R2 of the codes before it. For PCA
        that is PCA's own ratio.
    singular_values_ : ndarray of shape (n_components,)
        Singular values of the centred rows, PCA's own.
    noise_variance_ : float
        Variance of what the codes leave over, in each of the
        ``n_features - n_components`` other dimensions, for held-out rows where
        there are any.
    n_iter_ : int
        Epochs run; up to `best_iter_`, where folds have chosen that.
    offset_ : float
        Rows of a lower score are anomalies: `contamination` of the training rows
        (10,000 of them at most), or as near to it as equal scores allow. With 0 it is
        Tukey's fence, 1.5 times the distance of the quartiles below the lower one (of
        1000 rows), of scores as of rows that were not trained on.
    best_iter_ : int
        Epoch whose weights are used; 0 if PCA was kept.
    loss_curve_ : list of float
        Training loss of each epoch: squared error summed over the features, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        R2 of the held-out rows for each epoch, from epoch 0 (PCA) on; of the folds'
        networks, where there are folds, and empty where no row is held out.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode`` and ``decode`` for standardised rows and
        whitened codes.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.
    rbms_ : list of RBM
        The fitted machines whose weights the layers began with, from the rows, divided
        by one scalar, on. Empty where none was trained for a network of all rows: with
        ``max_iter=0``, by :meth:`partial_fit`, and where folds of a small table have
        kept PCA.

    See Also
    --------
    RBM : One of the machines, as an estimator with a likelihood.
    AutoencoderTransformer : The same from random hidden layers, which today's
        optimisers and activations hardly need a better start than.

    Notes
    -----
    The first machine has Gaussian visible units, for rows that are centred and divided
    by one scalar, and learns their noise; the others have Bernoulli ones, and get the
    means of the hidden units below. Machines are trained on rows that do not judge: on
    those of a fold, or on those that a split does not hold out, each distinct row once,
    whatever its weight (on 131,072 of them at most). With ``init="pca"`` the first
    hidden layer of the decoder is the regression of the top machine's hidden inputs on
    PCA's codes.

    References
    ----------
    Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural
    networks. Science 313.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import DeepBeliefAutoencoder
    >>> X = load_digits().data
    >>> autoencoder = DeepBeliefAutoencoder(
    ...     4, hidden_layer_sizes=(64, 32), max_iter=20, random_state=0
    ... ).fit(X[:1300])
    >>> [rbm.components_.shape for rbm in autoencoder.rbms_]
    [(64, 64), (32, 64)]
    >>> pca = DeepBeliefAutoencoder(4, max_iter=0).fit(X[:1300])
    >>> def error(model):
    ...     return model.reconstruction_error(X[1300:]).mean()
    >>> bool(error(autoencoder) < 0.9 * error(pca))
    True
    """

    _objective_class = DeepBelief

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AutoencoderTransformer._parameter_constraints,
        "pretrain_max_iter": [Interval(Integral, 0, None, closed="left")],
        "rbm_learning_rate": RBM._parameter_constraints["learning_rate"],
        "momentum": RBM._parameter_constraints["momentum"],
        "n_gibbs_steps": RBM._parameter_constraints["n_gibbs_steps"],
        "persistent": RBM._parameter_constraints["persistent"],
    }

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        pretrain_max_iter: int = 30,
        rbm_learning_rate: float = 0.05,
        momentum: float = 0.5,
        n_gibbs_steps: int = 1,
        persistent: bool | str = "auto",
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "logistic",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        ordered: bool = False,
        linear_encoder: bool = False,
        alpha: float | str = "auto",
        code_noise: float = 0.0,
        transform_max_iter: int | str = "auto",
        contamination: float = 0.0,
        n_neighbors: int | None = None,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        svd_solver: str = "auto",
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        copy: bool = True,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.pretrain_max_iter = pretrain_max_iter
        self.rbm_learning_rate = rbm_learning_rate
        self.momentum = momentum
        self.n_gibbs_steps = n_gibbs_steps
        self.persistent = persistent
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.ordered = ordered
        self.linear_encoder = linear_encoder
        self.alpha = alpha
        self.code_noise = code_noise
        self.transform_max_iter = transform_max_iter
        self.contamination = contamination
        self.n_neighbors = n_neighbors
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.svd_solver = svd_solver
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.copy = copy
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    @property
    def rbms_(self) -> list[RBM]:
        """The machines that the hidden layers began as."""
        check_is_fitted(self)
        module: Any = self._fit.net.module_
        return module.rbms
