"""Codes whose rows are closest: what PCA's codes are, and an encoder's only nearly.

PCA's code of a row is the one that is decoded closest to it. An encoder guesses that
code, and guesses worse for rows that it was not trained on, while its decoder is as
good for these (the amortisation gap of Cremer, Li & Duvenaud 2018). From the guess, a
few steps of gradient descent on the squared error lead nearer. Each row has its own
length of step, and all have one metric, the inverse of the mean of ``J' J`` over the
training rows, where J is the Jacobian of the decoder: steps of Gauss and Newton, with
the mean in place of each row's own. A step is taken where it brings the row closer, and
so no row is ever decoded worse than from the guess.

Codes in order are those of the least mean error over all codes and their prefixes, as
in training.

Beyond the range of the training rows, where the networks know nothing, the code stays
the guess, in which the linear map goes on.

With one or two codes the guess may also be on the wrong side of a bend, from where no
descent leads. There, codes of training rows are further guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._dataset import some_of
from ._losses import squared_error
from ._module import BaseModule, LinearResidual
from ._parameters import new_torch_generator
from ._trained import RATIO_ROWS, TrainedNetwork

FIRST_LENGTH = 0.7  # of a step, of that of Gauss and Newton
SHORTER, LONGER = 0.1, 2.0  # what the next step is, at least and at most, of the last
RIDGE = 0.01  # share of its diagonal that is added to the mean of J' J
# Codes up to which there are further guesses, and how many.
FEW_CODES, N_GUESSES = 2, 256
# Rows, and prefixes of their codes, whose gradients are held at once; their numbers.
MOST_ROWS, MOST_NUMBERS = 8192, 2**20
WHOLE = 0.6  # of the rows keep all of their codes in training, where these are ordered


@dataclass(frozen=True)
class Projection:
    """How codes are found whose rows are closest, in the units of a module.

    Attributes
    ----------
    n_steps : int
    is_ordered : bool
        Whether the first codes are codes by themselves.
    metric : ndarray of shape (k, k)
    guesses : ndarray of shape (n_guesses, k)
        Codes of training rows; none where they are of no use.
    """

    n_steps: int
    is_ordered: bool
    metric: NDArray
    guesses: NDArray

    @classmethod
    def of(
        cls,
        module: BaseModule,
        x: Tensor,
        known: Tensor | None,
        n_steps: int,
        *,
        is_ordered: bool = False,
        earlier: Projection | None = None,
    ) -> Projection:
        """Learn from training rows, shape (n, d), and those of an `earlier` one."""
        x = some_of(x, RATIO_ROWS)
        known = None if known is None else some_of(known, RATIO_ROWS)
        with torch.no_grad():
            z = module.encode(x, known)
        k = z.shape[1]
        has_guesses = k <= FEW_CODES and not is_ordered
        guesses = z[: len(z) if has_guesses else 0].double().cpu().numpy()
        if earlier is not None:
            guesses = np.concatenate([guesses, earlier.guesses])
        guesses = some_of(guesses, N_GUESSES)
        return cls(n_steps, is_ordered, metric_at(module, z), guesses)

    def codes(self, module: BaseModule, x: Tensor, known: Tensor | None) -> Tensor:
        """Return the codes of rows, shape (n, k)."""
        guesses = torch.tensor(self.guesses).to(x)
        with torch.no_grad():
            decoded = module.decode(guesses) if len(guesses) else guesses
        most = min(MOST_ROWS, MOST_NUMBERS // x.shape[1])
        step = max(1, most // (len(self.metric) if self.is_ordered else 1))
        parts = [
            self._closest(
                module,
                x[i : i + step],
                None if known is None else known[i : i + step],
                guesses,
                decoded,
            )
            for i in range(0, max(len(x), 1), step)
        ]
        return torch.cat(parts)

    def _closest(
        self,
        module: BaseModule,
        x: Tensor,
        known: Tensor | None,
        guesses: Tensor,
        decoded: Tensor,
    ) -> Tensor:
        """Return the codes of few rows, given guesses and what these stand for."""
        with torch.no_grad():
            guess = z = module.encode(x, known)
            if len(guesses) and known is None:
                z = self._best_guess(module, x, z, guesses, decoded)
        with torch.inference_mode(False), torch.enable_grad():
            z = self._descended(module, x, known, z.clone())
        if getattr(module.encoder, "bounds", None) is None:
            return z
        assert isinstance(module.encoder, LinearResidual)
        return torch.where(module.encoder.is_beyond(x)[:, None], guess, z)

    def _best_guess(
        self, module: BaseModule, x: Tensor, z: Tensor, guesses: Tensor, rows: Tensor
    ) -> Tensor:
        """Return the codes, or the guesses that are decoded closer to the rows."""
        squares = rows.square().sum(1) - 2 * x @ rows.T  # less those of x
        best = squares.argmin(1)
        before = (module.decode(z) - x).square().sum(1)
        is_closer = (rows[best] - x).square().sum(1) < before
        return torch.where(is_closer[:, None], guesses[best], z)

    def _descended(
        self, module: BaseModule, x: Tensor, known: Tensor | None, z: Tensor
    ) -> Tensor:
        metric = torch.tensor(self.metric).to(z)
        length = torch.full_like(z[:, :1], FIRST_LENGTH)
        error_of = error_of_prefixes if self.is_ordered else error_of_codes
        new_error = error_of(module, x, known, z.requires_grad_())
        error, gradient = new_error.detach(), slope(new_error, z)
        z = z.detach()
        for steps_left in reversed(range(self.n_steps)):
            direction = gradient @ metric
            trial = (z - length * direction).requires_grad_()
            new_error = error_of(module, x, known, trial)
            is_closer = (new_error < error)[:, None]
            z = torch.where(is_closer, trial.detach(), z)
            if not steps_left:
                break
            # The parabola through both errors, and the slope at the first one.
            fall = length[:, 0] * (gradient * direction).sum(1)
            bend = new_error.detach() - error + fall
            ratio = torch.where(bend > 0, fall / (2 * bend), LONGER)
            length = length * ratio.clamp(SHORTER, LONGER)[:, None]
            gradient = torch.where(is_closer, slope(new_error, trial), gradient)
            error = torch.where(is_closer[:, 0], new_error.detach(), error)
        return z


def error_of_codes(
    module: BaseModule, x: Tensor, known: Tensor | None, z: Tensor
) -> Tensor:
    """Return half of the squared error of codes, shape (n,)."""
    return 0.5 * squared_error(module.decode(z), x, known)


def error_of_prefixes(
    module: BaseModule, x: Tensor, known: Tensor | None, z: Tensor
) -> Tensor:
    """Return the same of codes in order: the mean over them and their prefixes."""
    n, k = z.shape
    prefixes = z[:, None] * torch.ones(k, k).to(z).tril()  # (n, k, k)
    rows = module.decode(prefixes.flatten(0, 1)).unflatten(0, (n, k))
    known = None if known is None else known[:, None]
    squares = squared_error(rows, x[:, None], known)  # (n, k)
    return 0.5 * squares @ torch.tensor(shares_of_prefixes(k)).to(z)


def slope(error: Tensor, z: Tensor) -> Tensor:
    """Return the gradient of the errors of rows by their codes, shape (n, k)."""
    return torch.autograd.grad(error.sum(), z)[0]


def shares_of_prefixes(k: int) -> NDArray:
    """Return how much 1 to k codes count in training, shape (k,)."""
    shares = np.full(k, (1 - WHOLE) / k)
    shares[-1] += WHOLE
    return shares


def metric_at(module: BaseModule, z: Tensor) -> NDArray:
    """Return the inverse of the mean of ``J' J`` over codes, shape (k, k).

    With v of independent signs ``J' J`` is the mean of ``(J' v) (J' v)'``: one pass
    through the decoder is enough, and no J is ever held.
    """
    repeats = -(-RATIO_ROWS // len(z))
    with torch.inference_mode(False), torch.enable_grad():
        z = z.repeat(repeats, 1).requires_grad_()
        rows = module.decode(z)
        generator = new_torch_generator(0)
        signs = torch.randint(2, rows.shape, generator=generator).to(rows) * 2 - 1
        slopes = slope((rows * signs).sum(1), z).double().cpu().numpy()
    mean = slopes.T @ slopes / len(slopes)
    diagonal = np.diagonal(mean)
    floor = RIDGE * diagonal.max(initial=0.0) * 1e-6 or 1.0
    return np.linalg.inv(mean + np.diag(RIDGE * diagonal + floor))


@dataclass
class ProjectedNetwork(TrainedNetwork):
    """A network whose codes are those that are decoded closest to the rows, nearly.

    Rounding chooses between codes that are as good, and the way to them blows it up, a
    thousandfold for some rows.
    """

    in_double: ClassVar[bool] = True

    n_steps: int = 0
    projection: Projection = field(init=False)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: TrainedNetwork | None
    ) -> None:
        """Bind the networks to the range of rows, and learn of the decoder there."""
        super().bind(x, known, earlier)
        self.projection = Projection.of(
            self.module,
            x.float(),
            known,
            self.n_steps,
            is_ordered=self.is_ordered,
            earlier=getattr(earlier, "projection", None),
        )

    def encoded(self, module: BaseModule, x: Tensor, known: Tensor | None) -> Tensor:
        """Return the codes of standardised rows, in the order of the module."""
        return self.projection.codes(module, x, known)
