"""The adversarial autoencoder: PCA whose codes follow a prior, and a network.

Whitened principal components have mean 0 and covariance I already, as the prior does.
What is left for a discriminator to tell, and for the encoder to mend, are the higher
moments. An affine map of the codes, which costs no reconstruction, keeps the first two
where they were.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn.functional import softplus

from ._autoencoder import AutoencoderModule
from ._base import BaseAutoencoder
from ._dataset import STATISTICS_ROWS, TrainingData, row_chunks, sample_rows
from ._dense import DenseStep, squared_error_gradient
from ._discriminator import Discriminator, DiscriminatorPass
from ._fit import Fit
from ._losses import ReconstructionLoss
from ._module import BaseModule
from ._net import AutoencoderNet
from ._objective import Objective
from ._parameters import check_flag, new_random_state, new_torch_generator
from ._plan import TrainingPlan
from ._prior import (
    FLOAT,
    MOST_CODES,
    Clustered,
    Draw,
    Prior,
    SlicedDistance,
    standardising,
    with_clusters,
)
from ._start import RandomStart, Start
from ._trained import TrainedNetwork, inference
from .architectures._mlp import check_sizes


class AdversarialLoss(ReconstructionLoss):
    """The squared error, and what the two sides of the game lose.

    Parameters
    ----------
    weight : float
        What the loss of the generator counts, as a multiple of the squared error.
    penalty : float
        Weight of the squared gradients of the discriminator.

    Notes
    -----
    The discriminator loses ``-log D(drawn) - log(1 - D(z))`` and half of `penalty`
    times the squared norms of its gradients at both (Mescheder et al. 2018), the
    encoder ``-log D(z)`` (Goodfellow et al. 2014, the form that does not saturate).

    Examples
    --------
    >>> import torch
    >>> from skae._adversarial import AdversarialLoss
    >>> x, zero = torch.zeros(2, 3), torch.zeros(2)
    >>> terms = AdversarialLoss(1.0, 1.0)((x + 1, x, zero, zero, zero, zero), x)
    >>> {name: term.tolist() for name, term in terms.items()}["reconstruction"]
    [3.0, 3.0]
    """

    def __init__(self, weight: float, penalty: float) -> None:
        super().__init__()
        self.weight, self.penalty = weight, penalty

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the three terms, each of shape (..., n)."""
        reconstruction, _, real, fake, fooled, steepness = output
        terms = super().forward((reconstruction,), x, known)
        scale = terms["reconstruction"].detach().mean(-1, keepdim=True)
        return {
            **terms,
            "discriminator": self.discriminator(real, fake, steepness),
            "generator": self.generator(fooled, scale),
        }

    def discriminator(self, real: Tensor, fake: Tensor, steepness: Tensor) -> Tensor:
        """Return what the discriminator loses, shape (..., n)."""
        told = softplus(-real) + softplus(fake)
        return told + 0.5 * self.penalty * steepness

    def generator(self, fooled: Tensor, scale: Tensor) -> Tensor:
        """Return what the encoder loses, shape (..., n)."""
        return self.weight * scale * softplus(-fooled)

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the squared error of held-out rows, and their codes (..., n, k)."""
        terms = super().forward(output[:1], x, known)
        return {"loss": terms["reconstruction"], "code": output[1]}


class AdversarialModule(AutoencoderModule):
    """An autoencoder, a prior of its codes, and what tells one from the other.

    Parameters
    ----------
    encoder, decoder : torch.nn.Module
    prior : Prior
    discriminator : Discriminator
    code_noise : float

    Notes
    -----
    Codes are those of the encoder after an affine map, which is the identity until
    :meth:`standardise`.
    """

    dense_loss = AdversarialLoss

    code_mean: Tensor
    to_code: Tensor
    from_code: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        discriminator: Discriminator,
        code_noise: float = 0.0,
    ) -> None:
        super().__init__(encoder, decoder, code_noise)
        self.prior, self.discriminator = prior, discriminator
        self.register_buffer("code_mean", torch.zeros(prior.k, **FLOAT))
        self.register_buffer("to_code", torch.eye(prior.k, **FLOAT))
        self.register_buffer("from_code", torch.eye(prior.k, **FLOAT))

    @property
    def undecayed(self) -> list[str]:
        """A discriminator that forgets is fooled."""
        names = dict(self.discriminator.named_parameters())
        return [f"discriminator.{name}" for name in names]

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the codes, shape (n, n_components)."""
        return (self.encoded(x, known) - self.code_mean) @ self.to_code

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstructions, shape (n, n_features)."""
        return self.decoder(z @ self.from_code + self.code_mean)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind both networks to the range of what training rows give them."""
        self.bind_networks(x, self.encoded(x, known), earlier)

    def standardise(self, codes: Tensor, weight: NDArray | None) -> None:
        """Let such codes, shape (n, k), have mean 0 and covariance I from now on."""
        mean, root = standardising(codes.to(self.code_mean), weight)
        self.code_mean += mean @ self.from_code
        to_code = self.to_code.double() @ root.double()
        self.to_code.copy_(to_code)
        self.from_code.copy_(torch.linalg.inv(to_code))

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return reconstructions and codes, and what the discriminator says.

        That is the logits of draws of the prior, of the codes as they are, and of the
        codes to a discriminator that does not learn, each of shape (n,), and the
        squared gradients of the first two, summed.
        """
        z = self.encode(x, known)
        reconstruction = self.decode(self.noisy(z)[0])
        drawn = self.prior(z.shape[-2], self.generator).to(z)
        real, by_drawn = self.discriminator(drawn)
        fake, by_code = self.discriminator(z.detach())
        fooled, _ = self.discriminator(z, frozen=True)
        steepness = by_drawn.square().sum(-1) + by_code.square().sum(-1)
        return reconstruction, z, real, fake, fooled, steepness

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions and codes, by the dense networks of a step."""
        values, mean = step.values, step.values["code_mean"][..., None, :]
        z = (step.encoder.forward(x) - mean) @ values["to_code"]
        noisy, made_of = self.noisy(z)
        step.saved = (made_of,)
        return step.decoder.forward(noisy @ values["from_code"] + mean), z

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of both sides."""
        (reconstruction, z), values = outputs, step.values
        scale = (reconstruction - x).square().sum(-1).mean(-1, keepdim=True)
        gradient, mean = squared_error_gradient(reconstruction, x, weight)
        by_noisy = step.decoder.backward(gradient, by_input=True)
        by_noisy = by_noisy @ values["from_code"].mT
        means, by_code = self._dense_game(step, z, scale, weight, loss)
        by_code += self.through_noise(by_noisy, step.saved[0])
        step.encoder.backward(by_code @ values["to_code"].mT)
        return {"reconstruction": mean, **means}

    def _dense_game(
        self,
        step: DenseStep,
        z: Tensor,
        scale: Tensor,
        weight: Tensor | None,
        loss: AdversarialLoss,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Write the discriminator's gradients; return the game's terms, and by z."""
        values, names, n = step.values, self.undecayed, z.shape[-2]
        n_drawn = z[..., 0].numel()
        drawn = self.prior.standardised(n_drawn, self.generator, z.device).view_as(z)
        mixture = [values[f"prior.{name}"] for name in ("centres", "upper", "spread")]
        drawn = self.prior.placed(drawn, *mixture, generator=self.generator)
        own = [values[name] for name in names]
        weights, biases = own[: len(own) // 2], own[len(own) // 2 :]
        passed = DiscriminatorPass(weights, biases, torch.cat([drawn, z], dim=-2))
        real, fake = passed.logits.split(n, dim=-1)
        share = z.new_full((n,), 1 / n) if weight is None else weight / n  # (..., n)
        by_logits = torch.cat([-share * (-real).sigmoid(), share * fake.sigmoid()], -1)
        twice = torch.cat([share, share], -1)
        of_weights = passed.backward(by_logits, loss.penalty * twice)
        for name, gradient in zip(names, of_weights, strict=True):
            step.gradients[name].copy_(gradient)
        steepness = passed.gradients.square().sum(-1).unflatten(-1, (2, n)).sum(-2)
        told = (share * loss.discriminator(real, fake, steepness)).sum(-1).mean()
        won = (share * loss.generator(fake, scale)).sum(-1).mean()
        by_fooled = -loss.weight * scale * share * (-fake).sigmoid()
        by_code = by_fooled[..., None] * passed.gradients[..., n:, :]
        return {"discriminator": told, "generator": won}, by_code


class AdversarialNet(AutoencoderNet):
    """A net of which no epoch counts whose codes are further from the prior.

    One backward pass has the gradients of both sides, since what a side does not learn
    is detached, and each parameter has an optimizer's state of its own: that is what
    two optimizers do, in one step.

    Attributes
    ----------
    start_distance_ : float
        Sliced Epps-Pulley distance of the held-out codes from the prior at the start.
    most_excess_ : float
        By how much it may be exceeded.
    """

    start_distance_: float
    most_excess_: float
    distance_: SlicedDistance | None = None  # of a training that is going on

    def _fit_loop(self, X: TrainingData, epochs: int) -> None:
        super()._fit_loop(X, epochs)
        self.distance_ = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "distance_": None}

    def _held_out_terms(self, data: TrainingData) -> dict[str, Tensor]:
        terms = super()._held_out_terms(data)
        self.codes_ = terms.pop("code")
        return terms

    def _is_eligible(self, data: TrainingData, epoch: int) -> bool:
        """Whether held-out codes are as near to the prior as at the start.

        A distance is not more exact than those of draws of the prior are alike.
        """
        module: Any = self.module_.running[0]
        if not epoch:
            self.distance_ = SlicedDistance(copy.deepcopy(module.prior), self.seed)
        assert self.distance_ is not None
        distance = self.distance_(self.codes_, data.valid_weight)
        del self.codes_
        if not epoch:
            self.start_distance_ = distance
            self.most_excess_ = self.distance_.error(len(data.valid))
            return True
        self.history.record("valid_distance", distance)
        return distance <= self.start_distance_ + self.most_excess_


class Adversarial(Objective):
    """Rows are to come back, and codes to follow a prior."""

    net_class = AdversarialNet

    def networks(self, start: Start, plan: TrainingPlan, seed: int) -> tuple[Any, ...]:
        """Return encoder, decoder and discriminator."""
        widths = check_sizes(
            "discriminator_hidden_layer_sizes",
            self.params.discriminator_hidden_layer_sizes,
            "such as (64, 64), or () for no hidden layer",
            may_be_empty=True,
        )
        generator = new_torch_generator(seed)
        discriminator = Discriminator(start.n_codes, widths, generator)
        return *super().networks(start, plan, seed), discriminator

    def module(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module | None = None,
    ) -> AdversarialModule:
        """Return an autoencoder with a prior of its codes."""
        assert isinstance(discriminator, Discriminator)
        params = self.params
        n_clusters = None if params.n_clusters is None else int(params.n_clusters)
        prior = Prior(params.prior, discriminator.k, n_clusters)
        noise = float(params.code_noise)
        return AdversarialModule(encoder, decoder, prior, discriminator, noise)

    def loss(self, plan: TrainingPlan) -> AdversarialLoss:
        """Return the squared error and both sides of the game."""
        params = self.params
        weight, penalty = params.adversarial_weight, params.gradient_penalty
        return AdversarialLoss(float(weight), float(penalty))

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return PCA, with clusters of its codes if these are asked for."""
        start = super().start(pca, X, weight, seed)
        if self.params.n_clusters is None:
            return start
        return self._clustered(start, X, weight, seed)

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return the start of a fold, whose clusters begin at those of the table."""
        start = super().start(pca, X, weight, seed)
        if isinstance(whole, Clustered):
            return self._clustered(start, X, weight, seed, whole.centres)
        return start

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return what has followed the batches, and a start with the same clusters."""
        solver, start = super().follow(solver, before, X, weight, seed)
        if isinstance(before, Clustered):
            start = self._clustered(start, X, weight, seed, before.centres)
        return solver, start

    def _clustered(
        self,
        start: Start,
        X: Any,
        weight: NDArray | None,
        seed: int,
        centres: NDArray | None = None,
    ) -> Start:
        rng = np.random.default_rng(seed)
        rows, weight = sample_rows(X, weight, STATISTICS_ROWS, rng)
        n_clusters = int(self.params.n_clusters)
        return with_clusters(start, rows, weight, n_clusters, seed, centres)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> TrainedNetwork:
        """Return the network, whose codes have mean 0 and covariance I."""
        return TrainedAdversarial(module, start, held_out_error)


@dataclass
class TrainedAdversarial(TrainedNetwork):
    """A network whose codes are standardised by rows that it was trained on."""

    def measure(
        self,
        X: Any,
        weight: NDArray | None,
        rng: np.random.Generator,
        earlier: TrainedNetwork | None = None,
        *,
        sort: bool = False,
    ) -> None:
        """Standardise the codes, but those of a batch, and measure them."""
        assert isinstance(self.module, AdversarialModule)
        if earlier is None:
            rows, w = sample_rows(X, weight, STATISTICS_ROWS, copy.deepcopy(rng))
            x, known = self._standardised(rows.astype(np.float64))
            module = self._module_for(x.dtype)
            with inference(module):
                codes = module.encode(x, known)
            self.module.standardise(codes, w)
            self._casts.clear()
        super().measure(X, weight, rng, earlier, sort=sort)


class AdversarialAutoencoder(BaseAutoencoder):
    """Autoencoder whose codes follow a prior, so that new rows can be drawn.

    A discriminator learns to tell the codes of rows from draws of the prior, and the
    encoder learns to fool it, while encoder and decoder reconstruct the rows (Makhzani
    et al. 2015). It starts exactly at PCA, whose whitened codes have the mean and the
    covariance of the prior already. The network replaces PCA only where held-out rows
    are reconstructed better, and their codes are not further from the prior.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``.
    prior : {"normal", "uniform"} or callable, default="normal"
        What the codes are to follow, up to an affine map: all priors are brought to
        mean 0 and covariance I. "uniform" is that of a cube. A function
        ``prior(n, generator)`` returns `n` draws as a tensor or an array of shape
        (n, n_components), by the :class:`torch.Generator` that it is given. Codes come
        as near to it as `prior_distance_` says: a prior with gaps or edges, such as a
        ring, is out of reach of a smooth encoder.
    n_clusters : int or None, default=None
        Let the prior be a mixture of so many copies of one covariance, in place of the
        paper's categorical code. They are those of PCA's codes: by KMeans, then by EM
        of normals (with `partial_fit`, from those of the first batch on). The estimator
        is a clusterer then: :meth:`predict` returns clusters and not anomalies, which
        :meth:`decision_function` still tells.
    adversarial_weight : float, default=1.0
        What the loss of the encoder against the discriminator counts, in nats, as a
        multiple of the squared error of the batch. With 0 the codes are free.
    gradient_penalty : float, default=1.0
        Weight of the squared gradients of the discriminator at codes and at draws,
        which keep it from being too sure (Mescheder et al. 2018).
    discriminator_hidden_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the discriminator, whose activation is tanh.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes. Only used
        when `architecture` is None.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used when `architecture` is None.
    architecture : Architecture or None, default=None
        Which networks to train: :class:`skae.architectures.MLP`,
        :class:`~skae.architectures.Convolutional` for images and signals,
        :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Transformer` for both,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. None is an MLP.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, without a
        linear path and without PCA to fall back on, as in the paper.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 0.3 * k * sqrt(d / n))`` for n distinct rows, d columns
        (those of a step, with :class:`~skae.architectures.Recurrent`) and k codes. The
        discriminator has none.
    code_noise : float, default=0.1
        Standard deviation of the normal noise that is added to the codes while the
        network trains, in deviations of each code over the batch. Rows are drawn from
        codes that none of the training rows has, and should be like those nearby.
    contamination : float, default=0.0
        Share of the rows, at most 0.5, that takes no part in PCA, training and the
        choice between them: those that PCA of all rows (of a batch, those before it)
        finds the least likely. `offset_` follows from it. 0.5 is a good choice where it
        is not known how many rows are anomalies, 0 where none is.
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
        least 2, and twice that for one or two codes of 1000 rows or more. With 0,
        nothing is trained and the estimator is PCA.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors or more over folds of n rows, or by 2 over a
        split, and its held-out codes must not be further from the prior than PCA's
        are; below 10 distinct rows, or 5 held-out ones, PCA is kept. Recurrent
        networks and Transformers, which train one after the other, have folds below 200
        rows only.
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
        Seeds the initial weights, the held-out rows, the order of the rows, the draws
        from the prior and PCA's randomised solver. None takes them from
        ``numpy.random``, whose seed is thus honoured; torch's random state is never
        touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``,
        ``train_reconstruction``, ``train_discriminator``, ``train_generator``,
        ``valid_loss``, ``valid_distance`` and ``dur``. A
        :class:`skorch.callbacks.LRScheduler` replaces the one-cycle learning rate. With
        callbacks, a split decides in place of folds (20 % of less than 1000 rows).
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
        in proportion to the error that fixing this code at its mean would add. For PCA
        that is PCA's own ratio.
    singular_values_ : ndarray of shape (n_components,)
        Singular values of the centred rows, PCA's own.
    noise_variance_ : float
        Variance of what the codes leave over, in each of the
        ``n_features - n_components`` other dimensions, for held-out rows where
        there are any.
    n_iter_ : int
        Epochs run.
    offset_ : float
        Rows of a lower score are anomalies: `contamination` of the training rows
        (10,000 of them at most), or as near to it as equal scores allow. With 0 it is
        Tukey's fence, 1.5 times the distance of the quartiles below the lower one (of
        1000 rows).
    best_iter_ : int
        Epoch whose weights are used; 0 if PCA was kept.
    loss_curve_ : list of float
        Training loss of each epoch: the sum of the history's three terms, of which
        ``train_reconstruction`` is the squared error summed over the features, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        R2 of the held-out rows for each epoch, from epoch 0 (PCA) on.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode`` and ``decode`` for standardised rows and
        whitened codes.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.
    prior_distance_ : float
        How far the codes of the training rows (1000 of them at most) are from the
        prior: their sliced Epps-Pulley distance, about .1 for draws of the prior itself
        (up to .7 with one code). Compare it with that of ``max_iter=0``, PCA. Only of
        :meth:`fit`.
    cluster_centers_ : ndarray of shape (n_clusters, n_components)
        Codes that the clusters are around; :meth:`inverse_transform` has the rows. Only
        with `n_clusters`.
    labels_ : ndarray of int of shape (n_samples,)
        The cluster of each training row. Only of :meth:`fit` with `n_clusters`.

    See Also
    --------
    VAE : Has a likelihood, and a posterior for each row.
    sklearn.mixture.GaussianMixture : The clusters' start, on PCA's codes.

    Notes
    -----
    The encoder loses the squared error plus `adversarial_weight` times the error's mean
    over the batch times ``-log D(z)``, the discriminator ``-log D(drawn) -
    log(1 - D(z))`` and half of `gradient_penalty` times the squared norms of its
    gradients. Both take a step at once, the discriminator at three times the rate. Its
    loss never decides anything: that is left to the squared error of held-out rows and
    to the sliced Epps-Pulley distance of their codes from the prior, with each
    direction standardised, which must not exceed that at the start by more than those
    of 20 sets of draws from the prior differ. Where folds decide, codes of all folds
    count together. With `partial_fit` the squared error alone decides.

    After training an affine map brings the codes to mean 0 and covariance I over the
    training rows (10,000 of them at most); it costs no reconstruction. `transform`
    returns them in PCA's units, and of unit variance with ``whiten=True``.
    `score_samples` is the normal density of the code and that of the residual, at the
    start PCA's own, whatever the prior.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow & Frey (2015), Adversarial autoencoders.

    Mescheder, Geiger & Nowozin (2018), Which training methods for GANs do actually
    converge?

    Epps & Pulley (1983), A test for normality based on the empirical characteristic
    function. Biometrika 70.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AdversarialAutoencoder
    >>> rng = np.random.RandomState(0)
    >>> t = rng.uniform(-1, 1, 400)
    >>> X = np.column_stack([t, t**2]) + 0.05 * rng.standard_normal((400, 2))
    >>> model = AdversarialAutoencoder(1, random_state=0).fit(X)
    >>> drawn = model.sample(5, random_state=0)
    >>> drawn.shape
    (5, 2)
    >>> bool(model.score(X) > AdversarialAutoencoder(1, max_iter=0).fit(X).score(X))
    True
    >>> blobs = np.concatenate([X, X + 3])
    >>> clusters = AdversarialAutoencoder(1, n_clusters=2, random_state=0).fit(blobs)
    >>> np.bincount(clusters.labels_)
    array([400, 400])
    """

    _objective_class = Adversarial

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "prior": [StrOptions({"normal", "uniform"}), callable],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "adversarial_weight": [Interval(Real, 0, 1e9, closed="both")],
        "gradient_penalty": [Interval(Real, 0, 1e9, closed="both")],
        "discriminator_hidden_layer_sizes": ["array-like", Integral],
        "code_noise": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        prior: str | Draw = "normal",
        n_clusters: int | None = None,
        adversarial_weight: float = 1.0,
        gradient_penalty: float = 1.0,
        discriminator_hidden_layer_sizes: tuple[int, ...] = (64, 64),
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float | str = "auto",
        code_noise: float = 0.1,
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
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.prior = prior
        self.n_clusters = n_clusters
        self.adversarial_weight = adversarial_weight
        self.gradient_penalty = gradient_penalty
        self.discriminator_hidden_layer_sizes = discriminator_hidden_layer_sizes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
        self.alpha = alpha
        self.code_noise = code_noise
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
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    def _publish(self, fit: Fit) -> None:
        """Take over a fit, without what was found out of the rows of an earlier one."""
        super()._publish(fit)
        for name in ("prior_distance_", "labels_"):
            self.__dict__.pop(name, None)

    def _finish(self, X: Any) -> None:
        """Find how far the training rows' codes are from the prior, and clusters."""
        rng = np.random.default_rng(self._fit.seed)
        rows = sample_rows(X, None, MOST_CODES, rng)[0]
        codes = torch.from_numpy(self._in_prior(rows))
        prior = copy.deepcopy(self._fit.net.module_.prior).cpu()
        self.prior_distance_ = SlicedDistance(prior, self._fit.seed)(codes)
        if self.n_clusters is not None:
            self.labels_ = self._clusters(X)

    def _in_prior(self, X: NDArray) -> NDArray:
        """Return codes of dense rows as the prior has them, shape (n, k)."""
        model = self._fit.model
        codes = np.empty((len(X), self.n_components_))
        codes[:, self._order] = model.transform(X) / model.code_scale
        return codes

    # What a fitted estimator does

    def predict(self, X: ArrayLike) -> NDArray:
        """Tell anomalies from normal rows or, with `n_clusters`, return clusters.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Or images or series, of the shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            -1 for rows whose score is below `offset_`, 1 for the others. With
            `n_clusters` the likeliest cluster of each row, from 0 on.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        if not isinstance(self._fit.start, Clustered):
            return super().predict(X)
        return self._clusters(self._fitted_rows(X))

    @property
    def cluster_centers_(self) -> NDArray:
        """Codes that the clusters are around, shape (n_clusters, n_components)."""
        start = self._fit.start if self.__sklearn_is_fitted__() else None
        if not isinstance(start, Clustered):
            raise AttributeError("cluster_centers_ is there after fit with n_clusters.")
        model = self._fit.model
        codes = start.mixture.centres[:, self._order] * model.code_scale
        return codes / self._fit.deviation(codes.dtype)

    def _clusters(self, X: Any) -> NDArray:
        """Return the likeliest cluster of each row, shape (n_samples,)."""
        start = self._fit.start
        assert isinstance(start, Clustered)
        mixture = start.mixture

        def likeliest(rows: NDArray) -> NDArray:
            return mixture.log_shares(self._in_prior(rows)).argmax(1)

        return self._map(X, likeliest, (), np.intp)

    @property
    def _order(self) -> NDArray:
        """Places of the codes in the prior, shape (n_components,)."""
        return getattr(self._fit.model, "order", np.arange(self.n_components_))

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
            Add what codes leave over: normal noise of variance `noise_variance_` in the
            ``n_features - n_components`` dimensions beside `components_`. False returns
            what the decoder makes of draws from the prior.
        random_state : int, RandomState or None, default=None
            Seeds the draws.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Or images or series, as :meth:`fit` saw them. While PCA is used and the
            prior is normal they have the distribution of probabilistic PCA.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            If `n_samples` is not an integer of at least 1.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1, max_val=2**31 - 1)
        n_samples, add_noise = int(n_samples), check_flag("add_noise", add_noise)
        rng = new_random_state(random_state)
        model, codes = self._fit.model, self._draw_codes(n_samples, rng)
        rows = np.empty((n_samples, len(self.mean_)))
        axes = np.linalg.qr(self.components_.T.astype(np.float64))[0]  # (d, k)
        for part in row_chunks(rows):
            rows[part] = model.inverse_transform(codes[part])
            if add_noise:
                noise = rng.standard_normal(rows[part].shape)
                noise -= (noise @ axes) @ axes.T
                rows[part] += math.sqrt(self.noise_variance_) * noise
        return self._as_samples(rows)

    def _draw_codes(self, n_samples: int, rng: RandomState) -> NDArray:
        """Draw codes of the model, before whitening, from the prior; (n_samples, k)."""
        generator = new_torch_generator(int(rng.randint(2**31 - 1)))
        prior = copy.deepcopy(self._fit.net.module_.prior).cpu()
        codes = prior(n_samples, generator).double().numpy()
        model, scale = self._fit.model, self._fit.model.code_scale
        if isinstance(model, Start) and not isinstance(model, RandomStart):
            scale = np.where(model.explained_variance > 0, scale, 0.0)
        return codes[:, self._order] * scale

    # What scikit-learn asks

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.n_clusters is not None:
            tags.estimator_type = "clusterer"
        return tags
