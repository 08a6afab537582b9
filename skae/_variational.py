"""The variational autoencoder: probabilistic PCA, and a nonlinear model on top of it.

With ``x~ = (x - mean) / scale``, principal axes U, their variances L and the mean s2 of
the discarded ones, probabilistic PCA (Tipping & Bishop 1999) is

    z ~ N(0, I),    x~ | z ~ N(W z, s2 I),    W = U (L - s2)^1/2,

and its posterior is diagonal: ``z | x~ ~ N(L^-1 W' x~, s2 / L)``. A variational
autoencoder that starts there has a bound that is tight: ELBO(x) = log p(x) for every x.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ._base import BaseAutoencoder
from ._dataset import row_chunks
from ._linear import RANK_TOLERANCE, Completion, LinearStart, by_known
from ._losses import bernoulli_nll, gaussian_nll, kl_from_standard_normal
from ._residual import LinearResidual, handles_padding
from ._trained import TrainedNetwork
from ._validation import is_auto, new_random_state

# A code is active if its posterior mean varies by more (Burda et al. 2016, section 4).
ACTIVE_VARIANCE = 0.01
# The prior has 0. Far from its training rows a network may ask for any number.
MAX_LOG_VARIANCE = 2.0
# A code whose posterior mean varies less than this at the start is not blown up to the
# variance that PCA's code has.
SMALLEST_SHARE = 0.01


class VariationalModule(nn.Module):
    """An encoder of a posterior's mean and log-variance, and a decoder.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, 2 * n_components)``: means, log-variances.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.

    Notes
    -----
    Rows are centred and divided by one scalar. The variance of the noise is learnt
    (Rybkin et al. 2021); its logarithm is counted from that of the start. Held-out rows
    widen it after training.
    """

    log_variance_at_start: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.handles_padding = handles_padding(encoder)
        self.log_variance_change = nn.Parameter(torch.zeros(()))
        self.register_buffer("log_variance_at_start", torch.zeros(()))
        self.generator: torch.Generator | None = None

    def start_at(self, start: LinearStart, mean: NDArray, scale: float) -> None:
        """Be probabilistic PCA, for rows given as ``(x - mean) / scale``."""
        if not isinstance(self.encoder, LinearResidual):
            return
        assert isinstance(self.decoder, LinearResidual)
        variance, noise = start.sound_variances
        variance, noise = variance / scale**2, noise / scale**2
        # A network in float32 cannot see less, nor where no row differs from another.
        noise = max(noise, RANK_TOLERANCE * max(variance[0], 1.0))
        variance = np.maximum(variance, noise)
        axes, k = start.components, len(start.components)
        root = np.sqrt(variance - noise)  # (k,)
        shift = (start.mean - mean) / scale
        whitener = (root / variance)[:, None] * axes  # (k, d)
        bias = np.concatenate([-whitener @ shift, np.log(noise / variance)])
        whitener = np.pad(whitener, ((0, k), (0, 0)))
        self.encoder.set_linear(whitener, bias)
        if self.encoder.handles_padding:
            self.encoder.set_completion(start, scale, is_posterior=True)
        self.decoder.set_linear(axes.T * root, shift)
        self.log_variance_at_start.fill_(math.log(noise))

    @property
    def log_variance(self) -> Tensor:
        """Logarithm of the variance of the noise, shape ()."""
        return self.log_variance_at_start + self.log_variance_change

    def widen_noise(self, variance: float) -> None:
        """Let the variance of the noise be at least so large."""
        change = math.log(variance) - self.log_variance_at_start
        with torch.no_grad():
            self.log_variance_change.clamp_(min=change)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and log-variance, each (n, n_components)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance.clamp(max=MAX_LOG_VARIANCE)

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior mean, shape (n, n_components)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of the rows given their codes, shape (n, n_features)."""
        return self.decoder(z)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) for each row, shape (n,)."""
        return -gaussian_nll(
            self.decoder(z), x, self.log_variance, self.handles_padding
        )

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Draw codes from the posterior, shape (n, n_components)."""
        noise = torch.randn(
            mean.shape,
            generator=self.generator,
            device=mean.device,
            dtype=mean.dtype,
        )
        return mean + noise * (0.5 * log_variance).exp()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the decoded draw, the posterior, and what the likelihood needs."""
        mean, log_variance = self.posterior(x)
        z = self.draw(mean, log_variance)
        return self.decoder(z), mean, log_variance, self.log_variance


class BernoulliModule(VariationalModule):
    """The same for values in [0, 1], with logits in place of means.

    It starts from random weights and the logits of the column means.
    """

    column_mean: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__(encoder, decoder)
        del self.log_variance_change
        self.register_buffer("column_mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def start_at(self, start: LinearStart, mean: NDArray, scale: float) -> None:
        """Remember how rows are standardised, and start at the column means."""
        self.column_mean = torch.tensor(mean).to(self.column_mean)
        self.scale.fill_(scale)

    def values(self, x: Tensor) -> Tensor:
        """Return standardised rows as values in [0, 1]."""
        return (x * self.scale + self.column_mean).clamp(0, 1)  # but for rounding

    def logits(self, z: Tensor) -> Tensor:
        """Return the logits of the rows given their codes, shape (n, n_features)."""
        p = self.column_mean.clamp(0.01, 0.99)
        return self.decoder(z) + p.logit()

    def decode(self, z: Tensor) -> Tensor:
        """Return the probabilities, standardised as the rows are."""
        return (self.logits(z).sigmoid() - self.column_mean) / self.scale

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) for each row, shape (n,)."""
        return -bernoulli_nll(self.logits(z), self.values(x), self.handles_padding)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of a draw, the posterior, and the values themselves."""
        mean, log_variance = self.posterior(x)
        z = self.draw(mean, log_variance)
        return self.logits(z), mean, log_variance, self.values(x)


class EvidenceLowerBound(nn.Module):
    """The negative ELBO: the reconstruction term plus beta times the KL divergence.

    Sums over features and codes, in nats (Kingma & Welling 2014, equation 10; beta of
    Higgins et al. 2017).

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"}
    beta : float, default=1.0
    n_epochs_kl_warmup : int or None, default=None
        Epochs over which the weight of the KL divergence rises to `beta`.
    has_padding : bool, default=False
        Whether rows may hold NaN, which then carries no loss.

    Examples
    --------
    >>> import torch
    >>> from skae._variational import EvidenceLowerBound
    >>> x, z = torch.zeros(2, 3), torch.zeros(2, 1)
    >>> EvidenceLowerBound("gaussian")((x, z, z, torch.zeros(())), x)["kl"]
    tensor([0., 0.])
    """

    def __init__(
        self,
        likelihood: str,
        beta: float = 1.0,
        n_epochs_kl_warmup: int | None = None,
        has_padding: bool = False,
    ) -> None:
        super().__init__()
        self.has_padding = has_padding
        self.likelihood = likelihood
        self.beta = beta
        self.n_epochs_kl_warmup = n_epochs_kl_warmup
        self.epoch = math.inf

    def forward(self, output: tuple[Tensor, ...], x: Tensor) -> dict[str, Tensor]:
        """Return the terms ``reconstruction`` and ``kl``, each of shape (..., n)."""
        reconstruction, mean, log_variance, rest = output
        if self.likelihood == "gaussian":
            nll = gaussian_nll(reconstruction, x, rest, self.has_padding)
        else:
            nll = bernoulli_nll(reconstruction, rest, self.has_padding)
        weight = self.beta * min(1.0, self.epoch / (self.n_epochs_kl_warmup or 1))
        kl = kl_from_standard_normal(mean, log_variance)
        return {"reconstruction": nll, "kl": weight * kl}

    def noise_terms(
        self, terms: dict[str, Tensor], output: tuple[Tensor, ...], x: Tensor
    ) -> tuple[Tensor, ...]:
        """Return squared errors, of how many numbers, and log-variances, (..., n).

        Nothing where the likelihood has no noise.
        """
        if self.likelihood == "bernoulli":
            return ()
        nll = terms["reconstruction"]
        log_variance = output[3][..., None].expand_as(nll)
        n_values = torch.full_like(nll, x.shape[-1])
        if self.has_padding:
            n_values -= x.isnan().sum(-1)
        constant = n_values * (math.log(2 * math.pi) + log_variance)
        squares = (2 * nll - constant).clamp_min(0) * log_variance.exp()  # but rounding
        return squares, n_values, log_variance


@dataclass(kw_only=True)
class TrainedVariational(TrainedNetwork):
    """A trained variational autoencoder: its bounds in place of the split density.

    The noise is the same for every row, so that a score does not depend on the rows
    that it is computed with.
    """

    noise: NDArray  # (n_importance_samples, k)
    log_scale: float  # of an entry, in nats: densities are in the units of X

    def _noise_variance(
        self, rows: NDArray, codes: NDArray, weight: NDArray | None
    ) -> float:
        """Return the learnt variance, and tell of codes that carry nothing."""
        active = np.diagonal(self.codes.covariance) > (
            ACTIVE_VARIANCE * self.code_scale**2
        )
        if 2 * active.sum() < len(active) and self.start.explained_variance[0] > 0:
            warnings.warn(
                f"Active codes: {active.sum()} of {len(active)} (see active_units_). "
                "The others have collapsed to the prior. A smaller n_components or "
                "beta, or a longer n_epochs_kl_warmup, may help.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if isinstance(self.module, BernoulliModule):
            return 0.0
        return math.exp(self.module.log_variance.item()) * self.start.scale**2

    def posterior_std(self, X: NDArray) -> NDArray:
        """Return the posterior's standard deviations, shape (n, k)."""
        x, module = self._standardised(X)
        with torch.inference_mode():
            log_variance = module.posterior(x)[1].cpu().numpy()
        return np.exp(0.5 * log_variance) * self.code_scale.astype(X.dtype)

    def score_samples(self, X: NDArray) -> NDArray:
        """Return the importance-weighted bound of each row in nats, shape (n,)."""
        weights = self._log_weights(X)
        return logsumexp(weights, axis=0) - math.log(len(weights))

    def elbo(self, X: NDArray) -> NDArray:
        """Return the evidence lower bound of each row in nats, shape (n,)."""
        return self._log_weights(X).mean(axis=0)

    def _log_weights(self, X: NDArray) -> NDArray:
        """Return log p(x, z) - log q(z | x), shape (n_importance_samples, n)."""
        x, module = self._standardised(X)
        weights = np.empty((len(self.noise), len(X)))
        with torch.inference_mode():
            mean, log_variance = module.posterior(x)
            std = (0.5 * log_variance).exp()
            for i, draw in enumerate(torch.tensor(self.noise).to(x)):
                z = mean + std * draw
                change = draw.square() + log_variance - z.square()
                weight = module.log_likelihood(x, z) + 0.5 * change.sum(-1)
                weights[i] = weight.double().cpu().numpy()
        n_known = X.shape[1] - np.isnan(X).sum(1)  # all but padding
        return weights - self.log_scale * n_known


class VAE(BaseAutoencoder):
    """Variational autoencoder that starts at probabilistic PCA.

    A generative model: codes are drawn from a standard normal distribution, and rows
    around what the decoder makes of them. Before training it is probabilistic PCA, and
    its bound is PCA's exact log-likelihood; held-out rows decide by that bound whether
    the trained network replaces it.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``. Where the codes
        leave nothing over, as many codes as columns do, the model stays PCA.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of a row given its code. "gaussian" has one variance for all
        columns, which is learnt. "bernoulli" is for values in [0, 1]; it starts from
        random weights and the column means, and has no PCA to fall back on.
    beta : float, default=1.0
        Weight of the KL divergence (Higgins et al. 2017). With another weight than 1
        the objective, by which the held-out rows decide too, is not the likelihood.
    n_epochs_kl_warmup : int, "auto" or None, default="auto"
        Epochs over which the weight of the KL divergence rises to `beta`. "auto" is
        half of them where training starts from random weights, and none from PCA;
        None has the whole weight from the first step on.
    n_importance_samples : int, default=16
        Draws for the bound of :meth:`score_samples`; 1 gives a one-sample ELBO. Read by
        :meth:`fit`.
    latent_prior : {"normal"}, default="normal"
        Distribution of the codes: the standard normal.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows and ``(256, 128)`` from there. Only used
        when `architecture` is None.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used when `architecture` is None.
    architecture : Architecture or None, default=None
        Which networks to train: :class:`skae.architectures.MLP`,
        :class:`~skae.architectures.Convolutional` for images and signals,
        :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. It is asked for an encoder with twice as many outputs
        as there are codes, so that the decoder must not share its weights.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float, default=1e-2
        Weight decay (AdamW's, decoupled from the gradient).
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2. With 0, nothing is trained and the estimator is probabilistic PCA
        (with ``likelihood="gaussian"``).
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors over the folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, PCA is kept. Recurrent
        networks, which train one after the other, have folds below 200 rows only.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest.
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
        Seeds the initial weights, the held-out rows, the order of the rows, the draws
        and PCA's randomised solver. Global random states are never touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``,
        ``train_reconstruction``, ``train_kl``, ``valid_loss`` and ``dur``. A
        :class:`skorch.callbacks.LRScheduler` replaces the one-cycle learning rate.
        With callbacks, a split decides in place of folds (20 % of less than 1000
        rows).
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    n_components_ : int
        Number of codes.
    active_units_ : ndarray of bool of shape (n_components,)
        Codes whose posterior mean varies by more than 0.01 over the training rows, in
        units of the prior's variance (Burda et al. 2016). The others have collapsed to
        the prior; fitting warns if these are most.
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
        PCA's principal axes: the linear path of the encoder. At most
        ``min(n_samples, n_features)`` of them where ``init="random"`` has more codes.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it in proportion to the
        error that fixing this code at its mean would add. For PCA that is PCA's own
        ratio.
    noise_variance_ : float
        Variance of a row around its reconstruction, in each column: PCA's, or the
        learnt one, widened to what held-out rows show it to be if that is more. 0 with
        ``likelihood="bernoulli"``.
    n_iter_ : int
        Epochs run.
    best_iter_ : int
        Epoch whose weights are used; 0 if PCA was kept.
    loss_curve_ : list of float
        Training loss of each epoch: the negative ELBO in nats per row, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        ELBO of the held-out rows in nats per row, in the units of `X`, for each epoch
        from epoch 0 (PCA's log-likelihood) on, with noise as wide as they show it to be
        (but for epoch 0).
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode``, ``posterior`` and ``decode`` for standardised
        rows and codes from the standard normal.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.

    See Also
    --------
    AutoencoderTransformer : Trained for the squared error alone.
    sklearn.decomposition.PCA : The start; its ``score`` is the likelihood at epoch 0.

    Notes
    -----
    The posterior of a code is a normal distribution with a diagonal covariance. That
    of probabilistic PCA is of this kind, so that the evidence lower bound (ELBO) of the
    start is the log-likelihood itself. Training maximises the ELBO by one draw for
    each row and step. A network fits the rows that it trains on more closely than
    others, and learns too small a noise from them: where the held-out rows show more,
    their maximum-likelihood estimate replaces it.

    References
    ----------
    Kingma & Welling (2014), Auto-encoding variational Bayes.

    Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders.

    Higgins et al. (2017), beta-VAE: learning basic visual concepts with a constrained
    variational framework.

    Lucas et al. (2019), Don't blame the ELBO! A linear VAE perspective on posterior
    collapse.

    Rybkin et al. (2021), Simple and effective VAE training with calibrated decoders.

    Tipping & Bishop (1999), Probabilistic principal component analysis.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import VAE
    >>> rng = np.random.RandomState(0)
    >>> t = rng.uniform(-1, 1, 400)
    >>> X = np.column_stack([t, t**2]) + 0.05 * rng.standard_normal((400, 2))
    >>> pca = VAE(1, max_iter=0).fit(X)
    >>> vae = VAE(1, random_state=0).fit(X)
    >>> bool(vae.score(X) > pca.score(X) + 0.3)
    True
    >>> codes, std = vae.transform(X, return_std=True)
    >>> codes.shape, std.shape
    ((400, 1), (400, 1))
    >>> vae.sample(5, random_state=0).shape
    (5, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_epochs_kl_warmup": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "latent_prior": [StrOptions({"normal"})],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        likelihood: str = "gaussian",
        beta: float = 1.0,
        n_epochs_kl_warmup: int | str | None = "auto",
        n_importance_samples: int = 16,
        latent_prior: str = "normal",
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float = 1e-2,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.beta = beta
        self.n_epochs_kl_warmup = n_epochs_kl_warmup
        self.n_importance_samples = n_importance_samples
        self.latent_prior = latent_prior
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    # Hooks

    def _make_module(self, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
        if self.likelihood == "bernoulli":
            return BernoulliModule(encoder, decoder)
        return VariationalModule(encoder, decoder)

    def _make_loss(self) -> nn.Module:
        warmup: Any = self.n_epochs_kl_warmup
        if is_auto(warmup):
            max_iter = self._new_plan(self.n_samples_).max_iter
            warmup = max_iter // 2 if self._is_random() else None
        return EvidenceLowerBound(
            self.likelihood, self.beta, warmup, self._handles_padding()
        )

    def _n_outputs(self, n_components: int) -> int:
        return 2 * n_components

    def _is_random(self) -> bool:
        return self.init == "random" or self.likelihood == "bernoulli"

    def _is_settled(self) -> bool:
        variance, noise = self._start.sound_variances
        return not self._is_random() and noise <= RANK_TOLERANCE * variance[0]

    def _value_range(self) -> tuple[float, float, str]:
        if self.likelihood == "bernoulli":
            return 0, 1, 'likelihood="bernoulli"'
        return super()._value_range()

    def _curve_score(self, loss: float) -> float:
        return -loss - len(self.mean_) * self._log_scale()

    def _new_model(self, held_out_loss: float | None) -> TrainedNetwork:
        del held_out_loss
        return TrainedVariational(
            self.module_,
            self._start,
            self._code_scale(),
            noise=normal_points(
                self.n_importance_samples, self.n_components_, self._seed
            ),
            log_scale=self._log_scale(),
        )

    def _log_scale(self) -> float:
        """Return by how many nats an entry's density is that of a scaled one's."""
        if self.likelihood == "bernoulli":
            return 0.0
        return math.log(self._start.scale)

    def _code_scale(self) -> NDArray:
        """Return what brings codes of unit prior variance to PCA's units, (k,)."""
        if self._is_random():
            return np.ones(self.n_components_)
        variance, noise = self._start.sound_variances
        kept = np.maximum(variance - noise, SMALLEST_SHARE * variance)
        return variance / np.sqrt(kept)

    # What a fitted estimator does

    @property
    def active_units_(self) -> NDArray:
        """Codes whose posterior mean varies, shape (n_components,)."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError("active_units_ is there after fit.")
        if self._model is not self._start:
            prior = self._code_scale() ** 2
            return self.explained_variance_ > ACTIVE_VARIANCE * prior
        variance, noise = self._start.sound_variances
        return 1 - noise / variance > ACTIVE_VARIANCE

    def transform(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return the posterior means of the codes, and their deviations if asked.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.
        return_std : bool, default=False
            Return the posterior's standard deviations too.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            In PCA's units, or of unit variance with ``whiten=True``; float32 for
            float32 rows, else float64. A frame if :meth:`set_output` asks for one.
        std : ndarray of shape (n_samples, n_components)
            In the units of the codes. Only returned with ``return_std=True``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        codes = super().transform(X)
        if not return_std:
            return codes
        X = self._checked_rows(X, reset=False)
        return codes, self._map(X, self._posterior_std, (self.n_components_,))

    def _posterior_std(self, X: NDArray) -> NDArray:
        if isinstance(self._model, TrainedVariational):
            std = self._model.posterior_std(X)
        else:
            variance, noise = self._start.sound_variances
            shares = np.broadcast_to(noise / variance, (len(X), len(variance)))
            if np.isnan(X).any():  # short series say less
                shares = shares.copy()
                for rows, n_known in by_known(X):
                    completion = Completion(self._start, n_known)
                    shares[rows] = completion.posterior_variance
            std = np.sqrt(np.minimum(shares, 1)) * self._code_scale()
            std = std.astype(X.dtype)
        return std / self._code_deviation(X.dtype) if self.whiten else std

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return a lower bound of the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            The importance-weighted bound (Burda et al. 2016, equation 8), in the units
            of `X`; the exact log-likelihood while PCA is used. The draws are the same
            for every row: the score of a row does not depend on the rows beside it,
            and the error of few draws does not average out over rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        return super().score_samples(X)

    def elbo(self, X: ArrayLike) -> NDArray:
        """Return the evidence lower bound of each row, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples,)
            At most :meth:`score_samples` on average, by the same draws; equal to it
            while PCA is used.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        X = self._checked_rows(X, reset=False)
        model = self._model
        bound = model.elbo if isinstance(model, TrainedVariational) else None
        return self._map(X, bound or model.score_samples, (), np.float64)

    def sample(
        self,
        n_samples: int = 1,
        *,
        add_noise: bool = True,
        random_state: int | RandomState | None = None,
    ) -> NDArray:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows, at least 1.
        add_noise : bool, default=True
            Draw the rows around what the decoder makes of the drawn codes. False
            returns that itself: the mean of the rows, or their probabilities with
            ``likelihood="bernoulli"``.
        random_state : int, RandomState or None, default=None
            Seeds the draws.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Or images or series, as :meth:`fit` saw them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            If `n_samples` is not an integer of at least 1.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        rng = new_random_state(random_state)
        codes = rng.standard_normal((n_samples, self.n_components_))
        if isinstance(self._model, TrainedVariational):
            codes *= self._code_scale()
        else:
            variance, noise = self._start.sound_variances
            codes *= np.sqrt(np.maximum(variance - noise, 0))
        rows = np.empty((n_samples, len(self.mean_)))
        for part in row_chunks(rows):
            rows[part] = self._model.inverse_transform(codes[part])
        if add_noise and self.likelihood == "bernoulli":
            rows = (rng.uniform(size=rows.shape) < rows).astype(np.float64)
        elif add_noise:
            std = math.sqrt(self.noise_variance_)
            rows = rows + std * rng.standard_normal(rows.shape)
        return self._as_samples(rows)


def normal_points(n: int, k: int, seed: int) -> NDArray:
    """Return draws from N(0, I) that are spread evenly, shape (n, k).

    Each is a draw of its own, so that a bound stays a bound on average, and together
    they integrate better than independent ones (scrambled Sobol points).
    """
    points = qmc.Sobol(k, seed=seed).random_base2(max(n - 1, 0).bit_length())[:n]
    return ndtri(np.clip(points, 1e-12, 1 - 1e-12))
