"""Networks whose codes follow a prior, and what tells these from draws of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from ._autoencoder import AutoencoderModule
from ._dataset import TrainingData
from ._dense import DenseStep, squared_error_gradient
from ._discriminator import Discriminator, DiscriminatorPass
from ._losses import ReconstructionLoss
from ._module import BaseModule
from ._net import AutoencoderNet
from ._prior import FLOAT, Prior, SlicedDistance, standardising


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
    >>> from skae._adversarial_module import AdversarialLoss
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
