"""Per-sample losses: each term has one number per row and is never reduced here.

The net alone weights, averages and sums the terms. A leading axis of stacked modules
(see ``_gate.py``) passes through every function unchanged. `known` says which cells of
the rows are not missing; None says that all are known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from ._dataset import TrainingData
    from ._start import Start


def squared_error(
    reconstruction: Tensor, x: Tensor, known: Tensor | None = None
) -> Tensor:
    """Sum over the known features of the squared error.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
    x, known : Tensor of shape (n, n_features)

    Returns
    -------
    Tensor of shape (..., n)
    """
    difference = reconstruction - x
    if known is not None:
        difference = difference * known
    return difference.square().sum(-1)


def count_known(x: Tensor, known: Tensor | None) -> Any:
    """Return how many features of each row are known, a number or shape (n,)."""
    return x.shape[-1] if known is None else known.sum(-1)


def gaussian_nll(
    reconstruction: Tensor,
    x: Tensor,
    log_variance: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    """Negative log-density of rows under normals of one variance, in nats.

    Parameters
    ----------
    reconstruction : Tensor of shape (..., n, n_features)
    x, known : Tensor of shape (n, n_features)
    log_variance : Tensor of shape (...)

    Returns
    -------
    Tensor of shape (..., n)
    """
    squares = squared_error(reconstruction, x, known)
    n = count_known(x, known)
    constant = n * (math.log(2 * math.pi) + log_variance)[..., None]
    return 0.5 * (squares * (-log_variance).exp()[..., None] + constant)


def bernoulli_nll(logits: Tensor, x: Tensor, known: Tensor | None = None) -> Tensor:
    """Negative log-probability of rows under independent Bernoullis, in nats.

    Parameters
    ----------
    logits : Tensor of shape (..., n, n_features)
    x : Tensor of shape (..., n, n_features)
        Values in [0, 1].
    known : Tensor of shape (n, n_features) or None

    Returns
    -------
    Tensor of shape (..., n)
    """
    terms = softplus(logits) - x * logits
    return (terms if known is None else terms * known).sum(-1)


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of diagonal normals from N(0, I), in nats.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (..., n, n_components)

    Returns
    -------
    Tensor of shape (..., n)
        Kingma & Welling (2014), appendix B.
    """
    squares = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * squares.sum(-1)


class Loss(nn.Module):
    """What a module is trained for, row by row, and what its numbers mean.

    A subclass defines :meth:`forward`, and may change the rest.

    Attributes
    ----------
    epoch : float
        Number of epochs begun so far, infinity for held-out rows. Set by the net.
    votes : tuple of str or None
        Terms by which held-out rows choose the epoch and decide; None has all of them.
    value_range : (float, float, str)
        Smallest and largest value that rows may have, and what asks so.
    rows_at_once : int or None
        Held-out rows that are compared with one another, at most; a number also says
        that :meth:`forward` and :meth:`held_out_terms` take the weights of rows, by
        which they count for each other. None: each row has a loss of its own.
    calibrates_start : bool
        Whether the start is judged as :meth:`calibrated` too, because it will be.
    least_typical : float
        Improvement that rows must show on average, each as a share of its own loss:
        see :func:`skae._gate.typical_improvement`.
    best_score : float
        The :meth:`score` from which the public loss is counted, lower is better.
    loss_name : str
        What ``best_score - score`` is called, in a picture.
    """

    epoch: float = math.inf
    votes: tuple[str, ...] | None = None
    value_range: tuple[float, float, str] = (-math.inf, math.inf, "")
    rows_at_once: int | None = None
    calibrates_start: bool = False
    least_typical: float = -math.inf
    best_score: float = 0.0
    loss_name: str = "loss"

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return named terms, each of shape (..., n), of what a module returned."""
        raise NotImplementedError

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the term ``loss`` of held-out rows, and what :meth:`calibrated` needs.

        Each has shape (..., n). `compared` has the weights that `rows_at_once` asks
        for.
        """
        terms = self(output, x, known, **compared)
        return {"loss": sum(terms[name] for name in self.votes or terms)}

    def calibrated(
        self, terms: dict[str, Tensor], data: TrainingData
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss of each held-out row, and a calibration.

        A calibration is what the rows say of parameters that training misjudges, for
        :meth:`skae._module.BaseModule.calibrate`; by default nothing. The losses then
        are those of a module that was calibrated by the other rows.

        Parameters
        ----------
        terms : dict of Tensor of shape (n_valid,)
            Those of :meth:`held_out_terms`, by a module that did not train on the row.
        data : TrainingData
        """
        return terms["loss"], {}

    def floor(self, start: Start) -> float:
        """Return the loss at which nothing is left to learn."""
        return -math.inf

    def score(self, loss: float, start: Start) -> float:
        """Return the public score, higher is better, of a mean held-out loss."""
        return -loss

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return the squared error in units of X that a mean held-out loss is."""
        return None


class ReconstructionLoss(Loss):
    """The squared reconstruction error, summed over the known features of each row.

    Examples
    --------
    >>> import torch
    >>> from skae._losses import ReconstructionLoss
    >>> x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    >>> ReconstructionLoss()((x + 1,), x)
    {'reconstruction': tensor([2., 2.])}
    """

    votes = ("reconstruction",)
    best_score = 1.0
    loss_name = "1 - R2"

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the term ``reconstruction``, shape (..., n)."""
        return {"reconstruction": squared_error(output[0], x, known)}

    def floor(self, start: Start) -> float:
        """Return a share of the variance, n_features, too small for float32 to see."""
        return 1e-12 * len(start.mean)

    def score(self, loss: float, start: Start) -> float:
        """Return the R2."""
        return 1 - loss / len(start.mean)

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return the squared error in units of X."""
        return loss * start.scale**2
