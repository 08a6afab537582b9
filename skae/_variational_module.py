"""Probabilistic PCA, and a nonlinear model on top of it, with the bound of both.

With ``x~ = (x - mean) / scale``, principal axes U, their variances L and the mean s2 of
the discarded ones, probabilistic PCA (Tipping & Bishop 1999) is

    z ~ N(0, I),    x~ | z ~ N(W z, s2 I),    W = U (L - s2)^1/2,

and its posterior is diagonal: ``z | x~ ~ N(L^-1 W' x~, s2 / L)``. A variational
autoencoder that starts there has a bound that is tight: ELBO(x) = log p(x) for every x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._dataset import TrainingData
from ._dense import DenseStep, scalar
from ._losses import (
    Loss,
    bernoulli_nll,
    count_known,
    gaussian_nll,
    kl_from_standard_normal,
)
from ._missing import known_cells
from ._module import BaseModule, InUnits, LinearResidual
from ._start import RANK_TOLERANCE, Start

# The prior has 0. Far from its training rows a network may ask for any number.
MAX_LOG_VARIANCE = 2.0
# Posterior deviations from the mean that the range of draws has, to bind the decoder.
DRAWN_DEVIATIONS = 3.0
# A code whose posterior mean varies less than this at the start is not blown up to the
# variance that PCA's code has.
SMALLEST_SHARE = 0.01


@dataclass(frozen=True)
class ProbabilisticPCA(Start):
    """Probabilistic PCA of the rows, whose posterior a diagonal normal expresses."""

    name = "probabilistic PCA"

    @property
    def is_degenerate(self) -> bool:
        """Whether no noise is left: as many codes as the rows have dimensions."""
        variance, noise = self.sound_variances
        return bool(noise <= RANK_TOLERANCE * variance[0])

    @property
    def code_scale(self) -> NDArray:
        """What brings codes of unit prior variance to PCA's units, shape (k,)."""
        variance, noise = self.sound_variances
        kept = np.maximum(variance - noise, SMALLEST_SHARE * variance)
        return variance / np.sqrt(kept)

    def apply(self, module: BaseModule, units: Start | None = None) -> None:
        """Set a :class:`VariationalModule` to this start."""
        assert isinstance(module, VariationalModule)
        units = units or self
        variance, noise = self.sound_variances
        variance, noise = variance / units.scale**2, noise / units.scale**2
        # A network in float32 cannot see less, nor where no row differs from another.
        noise = max(noise, RANK_TOLERANCE * max(variance[0], 1.0))
        variance = np.maximum(variance, noise)
        root, k = np.sqrt(variance - noise), len(variance)  # (k,)
        shift = (self.mean - units.mean) / units.scale
        whitener = (root / variance)[:, None] * self.components  # (k, d)
        bias = np.concatenate([-whitener @ shift, np.log(noise / variance)])
        weight = np.pad(whitener, ((0, k), (0, 0)))
        module.set_linear_path(weight, bias, self.components.T * root, shift)
        module.log_variance_at_start.fill_(math.log(noise))

    def posterior_std(self, X: NDArray) -> NDArray:
        """Return the standard deviations of the codes of rows, (n, k)."""
        variance, noise = self.sound_variances
        shares = np.broadcast_to(noise / variance, (len(X), len(variance)))
        known = known_cells(X)
        if known is not None:  # rows with missing cells say less
            shares = self.missing_cells.posterior_variance(known)
        std = np.sqrt(np.minimum(shares, 1)) * self.code_scale
        return std.astype(X.dtype)


class EvidenceLowerBound(Loss):
    """The negative ELBO: the reconstruction term plus beta times the KL divergence.

    Sums over features and codes, in nats (Kingma & Welling 2014, equation 10; beta of
    Higgins et al. 2017).

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"}
    beta : float, default=1.0
    n_epochs_kl_warmup : int or None, default=None
        Epochs over which the weight of the KL divergence rises to `beta`.

    Examples
    --------
    >>> import torch
    >>> from skae._variational_module import EvidenceLowerBound
    >>> x, z = torch.zeros(2, 3), torch.zeros(2, 1)
    >>> EvidenceLowerBound("gaussian")((x, z, z, torch.zeros(())), x)["kl"]
    tensor([0., 0.])
    """

    loss_name = "negative ELBO of a row, in nats"

    def __init__(
        self,
        likelihood: str,
        beta: float = 1.0,
        n_epochs_kl_warmup: int | None = None,
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.beta = beta
        self.n_epochs_kl_warmup = n_epochs_kl_warmup
        if likelihood == "bernoulli":
            self.value_range = 0, 1, 'likelihood="bernoulli"'

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the terms ``reconstruction`` and ``kl``, each of shape (..., n)."""
        reconstruction, mean, log_variance, rest = output
        if self.likelihood == "gaussian":
            nll = gaussian_nll(reconstruction, x, rest, known)
        else:
            nll = bernoulli_nll(reconstruction, rest, known)
        kl = kl_from_standard_normal(mean, log_variance)
        return {"reconstruction": nll, "kl": self.kl_weight * kl}

    @property
    def kl_weight(self) -> float:
        """What the divergence counts in this epoch."""
        return self.beta * min(1.0, self.epoch / (self.n_epochs_kl_warmup or 1))

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the loss, and the squared error and the noise that it is made of."""
        terms = self(output, x, known)
        nll = terms["reconstruction"]
        loss: dict[str, Tensor] = {"loss": nll + terms["kl"]}
        if self.likelihood == "bernoulli":
            return loss
        log_variance = output[3][..., None].expand_as(nll)
        n_values = torch.zeros_like(nll) + count_known(x, known)
        constant = n_values * (math.log(2 * math.pi) + log_variance)
        squares = (2 * nll - constant).clamp_min(0) * log_variance.exp()  # but rounding
        return {
            **loss,
            "squares": squares,
            "n_values": n_values,
            "log_variance": log_variance,
        }

    def calibrated(
        self, terms: dict[str, Tensor], data: TrainingData
    ) -> tuple[Tensor, dict[str, float]]:
        """Widen the noise of each row to what the other rows show it to be.

        That is their mean squared error, by maximum likelihood. The calibration is the
        ``noise_variance`` that all of them show.
        """
        if self.likelihood == "bernoulli":
            return terms["loss"], {}
        squares, n_values = terms["squares"], terms["n_values"]
        variances, variance = data.ratios_of_others(squares, n_values)
        narrow = terms["log_variance"]
        wide = torch.maximum(variances.log(), narrow)
        change = squares * ((-wide).exp() - (-narrow).exp()) + n_values * (
            wide - narrow
        )
        calibration = {"noise_variance": variance} if variance > 0 else {}
        return terms["loss"] + 0.5 * change, calibration

    def score(self, loss: float, start: Start) -> float:
        """Return the ELBO in nats per row, in the units of X."""
        return -loss - len(start.mean) * log_scale(self.likelihood, start)


class VariationalModule(BaseModule):
    """An encoder of a posterior's mean and log-variance, and a decoder.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, 2 * n_components)``: means, log-variances.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.

    Notes
    -----
    The variance of the noise is learnt (Rybkin et al. 2021); its logarithm is counted
    from that of the start. Held-out rows widen it after training. Where cells are
    missing the linear path gives the posterior of independent codes that is nearest to
    that of probabilistic PCA: the inverse of its precisions.
    """

    log_variance_at_start: Tensor
    dense_loss = EvidenceLowerBound

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__(encoder, decoder)
        self.log_variance_change = nn.Parameter(torch.zeros(()))
        self.register_buffer("log_variance_at_start", torch.zeros(()))

    @property
    def undecayed(self) -> list[str]:
        """The noise is what the rows show."""
        return ["log_variance_change"]

    @property
    def log_variance(self) -> Tensor:
        """Logarithm of the variance of the noise, shape ()."""
        return self.log_variance_at_start + self.log_variance_change

    def calibrate(self, calibration: dict[str, Any]) -> None:
        """Let the variance of the noise be at least what held-out rows show."""
        if "noise_variance" in calibration:
            log_variance = math.log(calibration["noise_variance"])
            with torch.no_grad():
                change = log_variance - self.log_variance_at_start
                self.log_variance_change.clamp_(min=change)

    def posterior(
        self, x: Tensor, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and log-variance, each (n, n_components)."""
        mean, log_variance = self.encoded(x, known).chunk(2, dim=-1)
        if known is not None and isinstance(self.decoder, LinearResidual):
            squares = self.decoder.weight.square()  # (d, k)
            noise = self.log_variance_at_start.exp()
            precision = known.to(squares) @ squares + noise
            log_variance = log_variance + ((squares.sum(0) + noise) / precision).log()
        return mean, log_variance.clamp(max=MAX_LOG_VARIANCE)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind both networks to the range of rows, and of most draws of their codes."""
        mean, log_variance = self.posterior(x, known)
        spread = DRAWN_DEVIATIONS * (0.5 * log_variance).exp()
        self.bind_networks(x, torch.cat([mean - spread, mean + spread]), earlier)

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the posterior mean, shape (n, n_components)."""
        return self.posterior(x, known)[0]

    def log_likelihood(
        self, x: Tensor, z: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Return log p(x | z) for each row, shape (n,)."""
        return -gaussian_nll(self.decoder(z), x, self.log_variance, known)

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Draw codes from the posterior, shape (n, n_components)."""
        noise = torch.randn(
            mean.shape,
            generator=self.generator,
            device=mean.device,
            dtype=mean.dtype,
        )
        return torch.addcmul(mean, noise, (log_variance * scalar(0.5)).exp())

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the decoded draw, the posterior, and what the likelihood needs."""
        mean, log_variance = self.posterior(x, known)
        z = self.draw(mean, log_variance)
        return self.decoder(z), mean, log_variance, self.log_variance

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, ...]:
        """Return what ``forward`` does, by the dense networks of a step."""
        mean, free = step.encoder.forward(x).chunk(2, dim=-1)
        log_variance = free.minimum(scalar(MAX_LOG_VARIANCE))
        z = self.draw(mean, log_variance)
        step.saved = z, free
        log_noise = step.values["log_variance_at_start"]
        log_noise = log_noise + step.values["log_variance_change"]
        reconstruction = step.decoder.forward(z)
        return reconstruction, mean, log_variance, log_noise

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: EvidenceLowerBound,
    ) -> dict[str, Tensor]:
        """Write the gradients of the negative ELBO, and return its two terms."""
        reconstruction, mean, log_variance, log_noise = outputs
        (z, free), (n, d) = step.saved, x.shape
        half, one, share = scalar(0.5), scalar(1.0), scalar(1 / n)  # of a row
        n_cells = scalar(float(d))  # of a mean row
        if weight is not None:
            share = (weight * share)[..., None]  # (..., n, 1)
            n_cells = share.sum((-2, -1)) * n_cells
        # Of the likelihood, by the reconstruction and by the variance of the noise.
        error, precision = reconstruction.sub_(x), (-log_noise).exp()
        precision *= scalar(1 / n)
        weighted = error if weight is None else error * weight[..., None]
        flat = error.flatten(-2)
        other = flat if weight is None else weighted.flatten(-2)
        squares = torch.linalg.vecdot(flat, other)  # (...)
        squares *= precision
        step.gradients["log_variance_change"].copy_((n_cells - squares) * half)
        nll = squares + n_cells * (log_noise + scalar(math.log(2 * math.pi)))
        by_code = step.decoder.backward(
            weighted.mul_(precision[..., None, None]), by_input=True
        )
        # Of the divergence, by the mean and the log-variance.
        by_kl, variance = share * scalar(loss.kl_weight), log_variance.exp()
        kl = mean.square().add_(variance).sub_(log_variance).sub_(one).mul_(by_kl)
        by_mean = torch.addcmul(by_code, mean, by_kl)
        by_log_variance = variance.sub_(one).mul_(by_kl).addcmul_(by_code, z - mean)
        by_log_variance.mul_(free <= scalar(MAX_LOG_VARIANCE)).mul_(half)
        step.encoder.backward(torch.cat([by_mean, by_log_variance], dim=-1))
        half_of_one = scalar(0.5 / nll.numel())  # of stacked modules
        return {"reconstruction": nll.sum() * half_of_one, "kl": kl.sum() * half_of_one}


class BernoulliModule(VariationalModule, InUnits):
    """The same for values in [0, 1], with logits in place of means.

    It starts from random weights and the logits of the column means.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__(encoder, decoder)
        del self.log_variance_change

    @property
    def undecayed(self) -> list[str]:
        """There is no noise."""
        return []

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

    def log_likelihood(
        self, x: Tensor, z: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Return log p(x | z) for each row, shape (n,)."""
        return -bernoulli_nll(self.logits(z), self.values(x), known)

    def calibrate(self, calibration: dict[str, Any]) -> None:
        """Do nothing: there is no noise."""

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the logits of a draw, the posterior, and the values themselves."""
        mean, log_variance = self.posterior(x, known)
        z = self.draw(mean, log_variance)
        return self.logits(z), mean, log_variance, self.values(x)


def log_scale(likelihood: str, start: Start) -> float:
    """Return by how many nats the density of an entry is that of a scaled one's."""
    return 0.0 if likelihood == "bernoulli" else math.log(start.scale)
