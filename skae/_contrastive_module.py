"""Both encoders as one module, and its loss: each pair is told from the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._cca import NEGATIVES
from ._corruptions import CorruptingModule
from ._dense import DenseStep
from ._density_ratio import (
    CodePairs,
    blocks,
    bounds_among,
    coefficients_of,
    info_nce,
    log_ratio,
    of_pairs,
    tempered,
)
from ._losses import Loss
from ._module import BaseModule, reads_known

if TYPE_CHECKING:
    from ._dataset import TrainingData

# Pairs of a fold, told from one another, below which a distribution that is too sure of
# itself hardly loses by it; among more it then does.
FEW_CANDIDATES = 50
# What codes are taken to be at most while float32 has to hold their products.
FARTHEST = 1e12


def coefficients_at(z: Tensor, variances: Tensor, change: Tensor) -> Tensor:
    """Return the coefficients of a changed normal distribution, shape (..., 4, k).

    Parameters
    ----------
    z : Tensor of shape (..., k)
    variances : Tensor of shape (..., 2, k)
    change : Tensor of shape (..., 3, k)
        What is added to `z` and to the logarithms of the variances.
    """
    changed = variances * change[..., 1:, :].exp()
    return coefficients_of(z + change[..., 0, :], changed)


def bounded(u: Tensor, v: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    """Return codes of outliers as far away as float32 can tell."""
    return u.clamp(-FARTHEST, FARTHEST), v.clamp(-FARTHEST, FARTHEST), *more


class ContrastiveLoss(Loss):
    """How badly pairs are told from others: the InfoNCE loss less its value by chance.

    Examples
    --------
    >>> import torch
    >>> from skae._contrastive_module import ContrastiveLoss
    >>> nothing = torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(4, 2)
    >>> ContrastiveLoss()(nothing, torch.zeros(3, 5))["info_nce"].abs()
    tensor([0., 0., 0.])
    """

    votes = ("info_nce",)
    rows_at_once = NEGATIVES
    calibrates_start = True
    loss_name = "InfoNCE loss less that by chance, in nats"

    def forward(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the term ``info_nce``, shape (..., n), given weights of candidates."""
        return {"info_nce": -info_nce(log_ratio(*bounded(*output)), weight)}

    def held_out_terms(
        self,
        output: tuple[Tensor, ...],
        x: Tensor,
        known: Tensor | None = None,
        **compared: Any,
    ) -> dict[str, Tensor]:
        """Return the loss of held-out pairs, their scores, and their codes."""
        u, v, c = bounded(*output)
        weight = compared.get("weight")
        if u.ndim == 2:
            loss = -info_nce(log_ratio(u, v, c), weight)
        else:  # each of the modules has few rows to judge it
            assert weight is not None
            loss = u.new_zeros(u.shape[:-1])
            for m, judges in enumerate(weight > 0):
                scores = log_ratio(u[m, judges], v[m, judges], c[m])
                loss[m, judges] = -info_nce(scores, weight[m, judges])
        return {"loss": loss, "of_pairs": of_pairs(u, v, c), "u": u, "v": v}

    def calibrated(
        self, terms: dict[str, Tensor], data: TrainingData
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return losses by the normal distribution of held-out codes, and that.

        Codes of rows that were trained on are more alike than those of others. Where
        codes are far from normal, the distribution that was trained may be the better
        one all the same: then that stays. The rows of small folds cannot say so.
        """
        u, v = terms["u"].double(), terms["v"].double()
        w = data.valid_weight
        w = torch.ones_like(u[:, 0]) if w is None else w.double()
        products = w[:, None, None] * torch.stack([u * u, v * v, u * v], 1)
        whole, losses = products.sum(0), torch.empty_like(w)
        parts = [(part, data.parts == part) for part in data.parts.unique().tolist()]
        others = {
            part: CodePairs.of(
                ((whole - products[own].sum(0)) / (w.sum() - w[own].sum()))
                .cpu()
                .numpy()
            )
            for part, own in parts
        }

        def bound_by(factor: float) -> float:
            """Fill the losses, with correlations weakened; return their mean."""
            for part, own in parts:
                weaker = others[part].weakened(factor).coefficients
                c = torch.from_numpy(weaker).to(u)
                for rows in blocks(len(u), NEGATIVES):
                    i = rows[own[rows]]
                    j = rows if data.fold_of is None else i
                    losses[i] = -bounds_among(u[i], v[i], u[j], v[j], w[j], c)
            return -float(w @ losses / w.sum())

        factor = tempered(bound_by)
        is_told = data.fold_of is None or len(w) >= FEW_CANDIDATES * len(parts)
        if is_told and not w @ losses < w @ terms["loss"].double():
            mean = w @ (terms["of_pairs"] + terms["loss"]).double() / w.sum()
            return terms["loss"], {"offset": -float(mean)}
        pairs = CodePairs.of((whole / w.sum()).cpu().numpy()).weakened(factor)
        c = torch.from_numpy(pairs.coefficients).to(u)
        mean = w @ (of_pairs(u, v, c) + losses) / w.sum()
        distribution = {"z": pairs.z, "variances": pairs.variances}
        return losses.to(terms["loss"]), {"offset": -float(mean), **distribution}


class ContrastiveModule(BaseModule):
    """Two encoders, and the normal distribution of their codes.

    Parameters
    ----------
    encoder, decoder : torch.nn.Module
        Those that encode the first and the second view, from ``(n, n_x)`` and
        ``(n, n_y)`` to ``(n, n_components)``.
    n_x : int
        Columns of the first view.
    k : int
        Number of codes.
    """

    dense_loss = ContrastiveLoss

    z: Tensor
    variances: Tensor
    offset: Tensor

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, n_x: int, k: int
    ) -> None:
        super().__init__(encoder, decoder)
        self.n_x = n_x
        # Of z, the correlations being tanh(z), and of the variances' logarithms.
        self.change = nn.Parameter(torch.zeros(3, k))
        self.register_buffer("z", torch.zeros(k))
        self.register_buffer("variances", torch.ones(2, k))
        self.register_buffer("offset", torch.zeros(()))

    def set_pairs(self, z: NDArray, variances: NDArray) -> None:
        """Take over the normal distribution of the codes of a start."""
        self.z = torch.from_numpy(z).to(self.z)
        self.variances = torch.from_numpy(variances).to(self.variances)

    @property
    def coefficients(self) -> Tensor:
        """Those of the log density ratio, shape (4, k)."""
        return coefficients_at(self.z, self.variances, self.change)

    def calibrate(self, calibration: dict[str, Any]) -> None:
        """Take over the normal distribution of the codes of held-out rows.

        And what brings the mean score of their pairs to their bound.
        """
        self.offset.fill_(calibration.get("offset", 0.0))
        if "z" in calibration:
            z, variances = (
                torch.from_numpy(calibration[name]).to(self.z)
                for name in ("z", "variances")
            )
            change = torch.stack([z - self.z, *(variances / self.variances).log()])
            with torch.no_grad():
                self.change.copy_(change)

    def decoded(self, x: Tensor, known: Tensor | None) -> Tensor:
        """Return the codes of the second view, shape (n, n_components)."""
        return self.decoder(x, known) if reads_known(self.decoder) else self.decoder(x)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind each network to the range of its view."""
        self.bind_networks(x[:, : self.n_x], x[:, self.n_x :], earlier)

    def forward(
        self, x: Tensor, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of both views, and the coefficients of their ratio."""
        n = self.n_x
        of_x, of_y = (None, None) if known is None else (known[:, :n], known[:, n:])
        u, v = self.encoded(x[:, :n], of_x), self.decoded(x[:, n:], of_y)
        return u, v, self.coefficients

    def dense_widths(self, n_features: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the width of each view."""
        return {"n_in": self.n_x}, {"n_in": n_features - self.n_x}

    def dense_forward(
        self, step: DenseStep, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``forward`` does, by dense networks."""
        u = step.encoder.forward(x[..., : self.n_x])
        v = step.decoder.forward(x[..., self.n_x :])
        known = (step.values[name] for name in ("z", "variances", "change"))
        return u, v, coefficients_at(*known)

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of the loss, and return it.

        Autograd knows those by the codes, and the dense layers the others.
        """
        z, variances = step.values["z"], step.values["variances"]
        change = step.values["change"]
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in (*outputs[:2], change)]
            u, v, change = inputs
            codes = u, v, coefficients_at(z, variances, change)
            terms = loss(codes, x, None, weight)["info_nce"]
            means = (terms if weight is None else weight * terms).mean(-1)
            by_u, by_v, by_change = torch.autograd.grad(means.sum(), inputs)
        step.encoder.backward(by_u)
        step.decoder.backward(by_v)
        step.gradients["change"].copy_(by_change)
        return {"info_nce": means.detach().mean()}


class CopiesModule(ContrastiveModule, CorruptingModule):
    """An encoder of two corrupted copies of each row, and what is known of its codes.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, n_components)``.
    n_x, k : int
        Numbers of columns and of codes.
    corruption, level, sample_shape
        As in :meth:`~skae._corruptions.CorruptingModule.set_corruption`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_x: int,
        k: int,
        corruption: str | Callable[..., Tensor],
        level: float,
        sample_shape: tuple[int, ...],
    ) -> None:
        super().__init__(encoder, nn.Identity(), n_x, k)
        self.set_corruption(corruption, level, sample_shape)

    bind = CorruptingModule.bind

    def decoded(self, x: Tensor, known: Tensor | None) -> Tensor:
        """Return the codes of the second view, which is like the first."""
        return self.encoded(x, known)

    def forward(
        self, x: Tensor, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of two corrupted copies, and the coefficients."""
        u = self.encoded(self.corrupt(x, known), known)
        v = self.encoded(self.corrupt(x, known), known)
        return u, v, self.coefficients
