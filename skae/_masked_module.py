"""What the masked autoencoder trains.

A row is completed by what a normal distribution expects in its missing cells, given the
others (``_em.py``, ``_missing.py``). A network that sees the completed row, what was
missing, and what the nearest training rows have there, learns to correct that: known
cells are hidden from it, and it is trained on those.

With as many codes as columns the corrected row is all there is, and its code is PCA's.
With fewer, the network is an encoder beside PCA's, and another one decodes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._dataset import RowDataset
from ._dense import DenseStep, scalar
from ._em import MOST_COLUMNS
from ._losses import ReconstructionLoss
from ._module import BaseModule, LinearResidual
from ._propensity import MOST_ODDS, Propensity
from ._start import Start

# The row, what is missing of it, and what two averages of neighbours say beyond it.
N_INPUTS = 4
# Neighbours whose average is taken, and how much more the near ones count at first.
N_NEIGHBORS = 10
SHARPNESS = (1.0, 4.0)
# Training rows among which they are found, and numbers of these.
MOST_ROWS, MOST_NUMBERS = 16_384, 2**22
# Distances are compared in blocks of so many.
BLOCK = 8
FAR = 1e30  # a squared distance
NOT_THERE = 1e3  # the relative one of a neighbour that is left out
CACHED_NUMBERS = 2**19  # of distances at a time
PIECE_NUMBERS = 2**20  # of the matrices, and of the neighbours, of rows at a time
BLOCK_NUMBERS = 2**15  # of the blocks that are inverted at a time: 128 kB
# The least noise of a network's start, as a share of the variance of a column.
NOISE_FLOOR = 1e-5
LEAST_NOISE = 1e-11  # and of the largest variance
TINY = 1e-200
# Share of the known cells that is hidden, at least, from a network that is judged. It
# is small: as much is to be seen of a row as when its missing cells are completed.
JUDGED_HIDDEN = 0.1
# A column is not hidden more often than that.
MOST_HIDDEN = 0.95
# Missing cells that say no more of which cells will be missing than nothing does.
FEW_GAPS = 3.0


class MaskedLoss(ReconstructionLoss):
    """The squared error of hidden cells, as much as if all were hidden.

    Most of it is of rows of which next to nothing is known. A network must not be
    better on these alone, and give the others a tenth more of error.
    """

    least_typical = -0.05

    def forward(
        self, output: tuple[Tensor, ...], x: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the term ``reconstruction``, shape (..., n)."""
        reconstruction, _, weight = output
        squares = (reconstruction - x).square() * weight
        return {"reconstruction": squares.sum(-1)}

    def floor(self, start: Start) -> float:
        """Return nothing: other cells are hidden in every epoch."""
        return -math.inf

    def squared_error(self, loss: float, start: Start) -> float | None:
        """Return nothing: it is measured on rows as they are."""
        return None


class MaskedModule(BaseModule):
    """An autoencoder of rows of which some cells are hidden.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, N_INPUTS * n_features)`` to ``(n, n_components)``, beside a linear
        path of the row itself.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.
    n_features : int
    mask_fraction : (float, float)
        Smallest and largest share of the known cells that is hidden while training.
    block : ndarray of int of shape (n_features,)
        What is hidden together has the same number, from 0 on.

    Notes
    -----
    ``forward`` hides cells, and completes what is left as the start does. ``encode``
    gets rows that are completed.
    """

    dense_loss = MaskedLoss
    prepares = True
    n_inputs = N_INPUTS

    loadings: Tensor
    scaled: Tensor
    inverse_root: Tensor
    centre: Tensor
    matrices: Tensor
    frequency: Tensor
    gaps: Tensor
    n_rows: Tensor
    slopes: Tensor
    level: Tensor
    mean_odds: Tensor
    patch: Tensor
    block: Tensor
    memory: Tensor
    memory_known: Tensor
    may_see: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        n_features: int,
        mask_fraction: tuple[float, float],
        block: NDArray,
    ) -> None:
        super().__init__(encoder, decoder)
        d = n_features
        self.mask_fraction = mask_fraction
        self.is_whole = getattr(decoder, "network", decoder) is None
        if isinstance(encoder, LinearResidual):  # a row that neighbours correct
            self.neighbor_gain = nn.Parameter(torch.zeros(d))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        # The start, of which the number of loadings is not known yet.
        self.register_buffer("loadings", torch.zeros(d, 0))  # W
        self.register_buffer("scaled", torch.zeros(d, 0))  # W / sqrt(noise)
        self.register_buffer("inverse_root", torch.ones(d))  # of the noise
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("matrices", torch.zeros(2, 0, 0))  # C, C^-1
        # How often training hides a column, in relation to others.
        self.register_buffer("frequency", torch.ones(d))
        # Missing cells of each column, and of how many.
        self.register_buffer("gaps", torch.zeros(d))
        self.register_buffer("n_rows", torch.ones(1))
        # How much likelier a cell is missing in one row than in another.
        self.register_buffer("slopes", torch.zeros(d, d if d <= MOST_COLUMNS else 0))
        self.register_buffer("level", torch.zeros(d))
        self.register_buffer("mean_odds", torch.ones(d))
        # What is hidden together in all rows, and in some of them.
        self.register_buffer("patch", torch.from_numpy(block))
        self.register_buffer("block", torch.from_numpy(block))
        self.n_patches = self.n_blocks = int(block.max()) + 1
        # Training rows, of which some may be those that judge.
        self.register_buffer("memory", torch.zeros(0, d))
        self.register_buffer("memory_known", torch.zeros(0, d))
        self.register_buffer("may_see", torch.zeros(0, dtype=torch.bool))

    # What is known before training

    def set_missing(
        self,
        loadings: NDArray,
        noise: NDArray,
        centre: NDArray,
        share: NDArray | None,
        n_samples: float = 1.0,
    ) -> None:
        """Take over what a start says of missing cells, of standardised rows.

        Parameters
        ----------
        loadings : ndarray of shape (n_features, k)
        noise, centre : ndarray of shape (n_features,)
        share : ndarray of shape (n_features,) or None
            How many of the cells of each column are missing.
        n_samples : float
            Of so many.
        """
        like = self.centre
        root = np.sqrt(noise)
        self.loadings = torch.from_numpy(loadings).to(like)
        self.scaled = torch.from_numpy(loadings / root[:, None]).to(like)
        self.inverse_root = torch.from_numpy(1 / root).to(like)
        self.centre = torch.from_numpy(np.ascontiguousarray(centre)).to(like)
        d, k = loadings.shape
        self.matrices = self.matrices.new_zeros(2, 0, 0)
        if 2 * k > d:  # and so a block of the columns is smaller than that of the codes
            covariance = loadings @ loadings.T + np.diag(noise)
            both = np.stack([covariance, np.linalg.inv(covariance)])
            self.matrices = torch.from_numpy(both).to(like)
        if share is None or not share.any():
            return
        # Half as often as each other, and half as often as it is missing.
        self.frequency = torch.from_numpy(0.5 + 0.5 * share / share.mean()).to(like)
        self.gaps = torch.from_numpy(n_samples * share).to(like)
        self.n_rows = torch.full((1,), n_samples).to(like)

    @property
    def completing(self) -> nn.Module:
        """The network that adds to the columns of rows."""
        return self.encoder if self.is_whole else self.decoder

    def set_blocks(self, block: NDArray) -> None:
        """Take over which columns are missing together, shape (n_features,).

        In new rows they need not be: training hides them together in half of the rows.
        """
        self.block = torch.tensor(block.tolist()).to(self.block)
        self.n_blocks = int(block.max()) + 1

    def set_propensity(self, propensity: Propensity, units: Start) -> None:
        """Take over in which rows cells are missing; `units` are those of the rows."""
        like = self.centre
        level = propensity.level - units.mean @ propensity.slopes
        self.slopes = torch.from_numpy(propensity.slopes * units.scale).to(like)
        self.level = torch.from_numpy(level).to(like)
        self.mean_odds = torch.from_numpy(propensity.mean_odds).to(like)

    def see(self, dataset: RowDataset, rows: Tensor, may_see: Tensor) -> None:
        """Remember training rows, among which neighbours are found.

        Parameters
        ----------
        dataset : RowDataset
        rows : Tensor of shape (n,)
            Their numbers; of many, evenly spaced ones are taken.
        may_see : Tensor of shape (n,)
            Those that do not judge.
        """
        most = max(1, min(MOST_ROWS, MOST_NUMBERS // dataset.shape[1]))
        if len(rows) > most:
            at = torch.arange(most, device=rows.device) * len(rows) // most
            rows, may_see = rows[at], may_see[at]
        x, known = dataset.take_scattered(rows)
        known = torch.ones_like(x, dtype=torch.bool) if known is None else known
        self.memory = self.completed(x, known).to(self.memory)
        self.memory_known = known.to(self.memory)
        self.may_see = may_see

    # One training pass

    def forward(
        self,
        x: Tensor,
        known: Tensor | None = None,
        given: tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is made of rows with cells hidden, their codes, and weights.

        The weights, of shape (n, n_features), are those of the cells in the loss: above
        0 for hidden ones. `given` is what :meth:`prepare` returned.
        """
        filled, missing, weight, *near = given or self.prepare(x, known)
        z = self._codes(filled, missing, self._beyond(filled, *near))
        return self.decode(z), z, weight

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, ...]:
        """Return what ``forward`` does, of rows that are prepared."""
        filled, missing, weight, squares, values, known = step.given
        of = step.values
        sharpness = of["sharpness"][..., None, :, None]
        share = torch.softmax(-sharpness * squares[..., None, :], -1)  # (..., n, 2, k)
        total = (share @ known).clamp_min(1e-6)
        average = share @ values / total  # (..., n, 2, d)
        says = (missing * known.any(-2))[..., None, :]
        beyond = (average - filled[..., None, :]) * says
        inputs = torch.cat([filled, missing, beyond.flatten(-2)], -1)
        codes = step.encoder.forward(inputs)
        if "encoder.weight" in of:
            row = filled + of["neighbor_gain"][..., None, :] * beyond[..., 0, :]
            path, bias = of["encoder.weight"], of["encoder.bias"][..., None, :]
            if self.is_whole:
                codes = (row + missing * codes) @ path.mT + bias
            else:
                codes = row @ path.mT + bias + codes
        averages = share, total, average
        step.saved = missing, squares, values, known, *averages, says, beyond
        return step.decoder.forward(codes), codes, weight

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of the mean loss, and return its mean."""
        reconstruction, _, of_cells = outputs
        missing, squares, values, known, *averages, says, beyond = step.saved
        share, total, average = averages
        of, gradients, d = step.values, step.gradients, x.shape[-1]
        error = reconstruction - x
        by_error = error * of_cells
        if weight is not None:
            by_error *= weight[..., None]
        mean = torch.dot(error.flatten(), by_error.flatten())
        mean *= scalar(d / error.numel())
        by_error *= scalar(2 / x.shape[-2])
        by_network = by_codes = step.decoder.backward(by_error, by_input=True)
        # Through the linear path, then the network, and what neighbours say to both.
        if "encoder.weight" in of:
            by_row = by_codes @ of["encoder.weight"]
            by_gain = (by_row * beyond[..., 0, :]).sum(-2)
            gradients["neighbor_gain"].copy_(by_gain)
            if self.is_whole:
                by_network = by_row * missing
        by_inputs = step.encoder.backward(by_network, by_input=True)
        by_beyond = by_inputs[..., 2 * d :].unflatten(-1, (2, d))
        if "encoder.weight" in of:
            by_beyond[..., 0, :] += by_row * of["neighbor_gain"][..., None, :]
        by_average = by_beyond * says / total
        by_share = by_average @ values.mT - (by_average * average) @ known.mT
        by_share = share * (by_share - (share * by_share).sum(-1, keepdim=True))
        by_sharpness = -(by_share * squares[..., None, :]).sum((-1, -3))
        gradients["sharpness"].copy_(by_sharpness)
        return {"reconstruction": mean}

    def prepare(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, ...]:
        """Hide cells, and return completed rows, what is missing of them, and weights.

        What :meth:`neighbors` returns comes after that. As in what follows, modules may
        be stacked: buffers and rows then have a leading axis.
        """
        hidden, weight = self.hidden(x, known)
        shown = ~hidden if known is None else known & ~hidden
        filled = self.completed(x, shown)
        own = torch.ones_like(shown) if known is None else known
        near = self.neighbors(filled, shown, own)
        return filled, (~shown).to(x.dtype), weight, *near

    def hidden(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Choose which known cells to hide; return that, and their weights in the loss.

        Both have shape (..., n, n_features). On average the weights add up to that
        number. While training, cells weigh more where they are likelier to be missing.
        Otherwise so many are hidden that as few are left as in another row, in columns
        that miss cells, and together where these are missing together: what a network
        gains elsewhere must not pay for what it loses there.
        """
        rows, d = x.shape[:-1], x.shape[-1]
        low, high = self.mask_fraction
        like: dict[str, Any] = {"device": x.device, "dtype": x.dtype}
        draws = {"generator": self.generator, **like}
        share = torch.full((1,), JUDGED_HIDDEN, **like)
        asked = self.gaps + FEW_GAPS
        frequency, together = asked / asked.mean(-1, keepdim=True), self.gaps / asked
        if self.training:
            share = low + (high - low) * torch.rand(*rows, 1, **draws)
            frequency, together = self.frequency, torch.full_like(asked, 0.5)
        elif known is not None:
            n = known.sum(-1, keepdim=True, dtype=x.dtype)
            others = torch.rand(*rows, 1, **draws).argsort(-2)
            left = n.gather(-2, others) / n.clamp_min(1)
            share = (1 - left).clamp_min(JUDGED_HIDDEN)
        if not self.training:  # fewer where one column has most gaps: it keeps its part
            most = MOST_HIDDEN / frequency.amax(-1, keepdim=True)
            share = share.minimum(most[..., None, :])
        often = (share * frequency[..., None, :]).clamp_max(MOST_HIDDEN)
        block = self.block[..., None, :].expand(*rows, d)
        drawn = torch.rand(*rows, self.n_blocks, **draws).gather(-1, block)
        if self.n_blocks < self.n_patches:
            patch = self.patch[..., None, :].expand(*rows, d)
            alone = torch.rand(*rows, self.n_patches, **draws).gather(-1, patch)
            is_joint = torch.rand(*rows, 1, **draws) < together[..., None, :]
            drawn = torch.where(is_joint, drawn, alone)
        hidden = drawn < often
        each = torch.ones_like(share)
        if known is not None:
            hidden, often = hidden & known, often * known
            n_known = known.sum(-1, keepdim=True, dtype=x.dtype)
            each = d / n_known.clamp_min(1)
        weight = hidden.to(x.dtype) * each
        if self.training:
            return hidden, weight * (2 / (low + high)) * self.likeness(x)
        # A column that is known in few rows is hidden in few, and asked for in many.
        worth = (self.n_rows / (self.n_rows - self.gaps).clamp_min(1))[..., None, :]
        weight, often = weight * worth, often * worth
        mean = (often * each).mean((-2, -1), keepdim=True)
        return hidden, weight / mean.clamp_min(torch.finfo(x.dtype).tiny)

    def likeness(self, x: Tensor) -> Tensor:
        """Return how much known cells are like missing ones, of the shape of `x`.

        It is about 1. Half of what a column is hidden for counts in every row alike.
        """
        if not self.slopes.numel():
            return torch.ones_like(x)
        most = math.log(MOST_ODDS)
        level, mean = self.level[..., None, :], self.mean_odds[..., None, :]
        odds = (x @ self.slopes - level).clamp(-most, most).exp()
        return 1 + (1 - 0.5 / self.frequency[..., None, :]) * (odds / mean - 1)

    def completed(self, x: Tensor, shown: Tensor) -> Tensor:
        """Return rows with what the start expects in place of what is not shown."""
        if self.matrices.numel():
            return self._completed_by_blocks(x, shown)
        k, centre = self.loadings.shape[-1], self.centre[..., None, :]
        step = max(1, PIECE_NUMBERS // max(k * k, 1))
        if x.shape[-2] > step:
            parts = zip(x.split(step, -2), shown.split(step, -2), strict=True)
            return torch.cat([self.completed(*part) for part in parts], -2)
        o = shown.to(x.dtype)
        if not k:
            return x * o + centre * (1 - o)
        centred = (x - centre) * o * self.inverse_root[..., None, :]
        precision = self._precision(o) + torch.eye(k, dtype=x.dtype, device=x.device)
        root = torch.linalg.cholesky_ex(precision)[0]
        codes = torch.cholesky_solve((centred @ self.scaled)[..., None], root)[..., 0]
        return torch.where(shown, x, codes @ self.loadings.mT + centre)

    def _completed_by_blocks(self, x: Tensor, shown: Tensor) -> Tensor:
        """Return the same by the smaller of two blocks, as in ``_incomplete.py``."""
        d, centre = x.shape[-1], self.centre[..., None, :]
        covariance, precision = self.matrices.unbind(-3)
        by_known = 2 * shown.sum(-1, keepdim=True) <= d  # (..., n, 1)
        centred = torch.where(shown, x - centre, 0.0)
        given = torch.where(by_known, centred, centred @ precision).flatten(0, -2)
        cells = torch.where(by_known, shown, ~shown).flatten(0, -2)
        # Which of all matrices each row of all modules takes a block of.
        number = torch.arange(precision.numel() // d**2, device=x.device)
        number = 2 * number.view(*precision.shape[:-2], 1, 1)
        which = torch.where(by_known, number, number + 1).flatten()[:, None, None]
        order = cells.sum(1).argsort()  # so that little has to be filled up
        places = cells[order].to(torch.uint8).argsort(dim=1, descending=True)
        solved = torch.empty_like(given)
        step = max(1, 4 * BLOCK_NUMBERS // d**2)
        for rows, at in zip(order.split(step), places.split(step), strict=True):
            at = at[:, : max(1, int(cells[rows[-1:]].sum()))]
            o = cells[rows].gather(1, at).to(x.dtype)
            flat = (which[rows] * d + at[:, :, None]) * d + at[:, None, :]
            blocks = self.matrices.view(-1).take(flat)
            blocks *= o[:, :, None] * o[:, None, :]
            blocks.diagonal(dim1=1, dim2=2).add_(1 - o)
            root = torch.linalg.cholesky_ex(blocks)[0]
            right = given[rows].gather(1, at) * o
            values = torch.cholesky_solve(right[:, :, None], root)[:, :, 0]
            solved[rows] = torch.zeros_like(given[rows]).scatter_(1, at, values)
        solved = solved.view_as(x)
        expected = torch.where(by_known, solved @ covariance, -solved)
        return torch.where(shown, x, expected + centre)

    def _precision(self, o: Tensor) -> Tensor:
        """Return the sums of ``v v'`` over the shown cells, shape (..., n, k, k)."""
        d, k = self.scaled.shape[-2:]
        if d * k * k <= MOST_NUMBERS:
            products = self.scaled[..., :, None] * self.scaled[..., None, :]
            return (o @ products.flatten(-2)).unflatten(-1, (k, k))
        step = max(1, PIECE_NUMBERS // (d * k))
        scaled = self.scaled[..., None, :, :]
        parts = [(scaled.mT * p[..., None, :]) @ scaled for p in o.split(step, -2)]
        return torch.cat(parts, -3)

    def neighbors(
        self, x: Tensor, shown: Tensor, own: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the nearest of the training rows, of k that there are.

        Parameters
        ----------
        x, shown : Tensor of shape (..., n, n_features)
            Rows completed by the start, and which cells count for distances.
        own : Tensor of shape (..., n, n_features) or None
            What of the rows was known before cells were hidden. Rows of training are
            not their own neighbours then, and neither is what might be a copy: what is
            known of the same cells, and agrees in those that are shown.

        Returns
        -------
        squares : Tensor of shape (..., n, k)
            Squared distances, by the mean of those of a row.
        values, known : Tensor of shape (..., n, k, n_features)
            The neighbours, with 0 where they are not known.
        """
        o, m = shown.to(x.dtype), self.memory
        # sum_o (x - m)^2, but for what is the same for all of memory, is a product.
        rows = torch.cat([o, -2 * o * x, torch.ones_like(o[..., :1])], -1)
        far = torch.where(self.may_see, 0.0, FAR).to(m)
        keys = torch.cat([m.square(), m, far[..., None]], -1).mT
        n_seen = m.shape[-2]
        k = min(N_NEIGHBORS, n_seen)
        step = max(1, CACHED_NUMBERS // max(m.numel() // m.shape[-1], 1))
        found = [
            smallest(part @ keys, min(k + 1, n_seen)) for part in rows.split(step, -2)
        ]
        squares, which = (torch.cat(parts, -2) for parts in zip(*found, strict=True))
        squares = (squares + (o * x.square()).sum(-1, keepdim=True)).clamp_min(0)
        if own is not None:
            # What is hidden has no say in who is left out. If rows were that agree in
            # all cells, what is hidden would be what nobody who looks alike has.
            same_cells = rows_at(self.memory_known, which) == own[..., None, :]
            agree = (rows_at(m, which) == x[..., None, :]) | ~shown[..., None, :]
            squares = squares.masked_fill((same_cells & agree).all(-1), FAR)
        squares, at = squares.topk(k, largest=False)
        which = which.gather(-1, at)
        there = (squares < 0.5 * FAR).to(x.dtype)
        known = rows_at(self.memory_known, which) * there[..., None]
        total = (squares * there).sum(-1, keepdim=True)
        mean = total / there.sum(-1, keepdim=True).clamp_min(1)
        relative = squares / mean.clamp_min(torch.finfo(torch.float32).tiny)
        relative = torch.where(there > 0, relative, NOT_THERE)
        return relative, rows_at(m, which) * known, known

    def _beyond(
        self, x: Tensor, squares: Tensor, values: Tensor, known: Tensor
    ) -> Tensor:
        """Return what two averages of :meth:`neighbors` say beyond `x`, (n, 2, d)."""
        weight = torch.softmax(-self.sharpness[:, None] * squares[:, None], -1)
        total = (weight @ known).clamp_min(1e-6)
        beyond = weight @ values / total - x[:, None]
        # Where no neighbour has a value there is nothing to say.
        return beyond * (known.sum(1, keepdim=True) > 0)

    def nearest(self, x: Tensor, shown: Tensor, own: Tensor | None) -> Tensor:
        """Return what two averages of neighbours say beyond `x`, (n, 2, n_features).

        See :meth:`neighbors`.
        """
        with torch.no_grad():
            near = self.neighbors(x, shown, own)
        return self._beyond(x, *near)

    def codes_of(self, x: Tensor, shown: Tensor | None, own: Tensor | None) -> Tensor:
        """Return the codes of rows that the start has completed, (n, n_components)."""
        if shown is None and self.is_whole:
            encoder: Any = self.encoder
            return encoder.linear(x)
        step = max(1, PIECE_NUMBERS // (N_NEIGHBORS * x.shape[1]))
        if len(x) > step:
            n_parts = math.ceil(len(x) / step)
            owns = [None] * n_parts if own is None else own.split(step)
            masks = [None] * n_parts if shown is None else shown.split(step)
            parts = zip(x.split(step), masks, owns, strict=True)
            return torch.cat([self.codes_of(*part) for part in parts])
        shown = torch.ones_like(x, dtype=torch.bool) if shown is None else shown
        return self._codes(x, (~shown).to(x.dtype), self.nearest(x, shown, own))

    def _codes(self, x: Tensor, missing: Tensor, beyond: Tensor) -> Tensor:
        """Return the codes of rows, given what neighbours say beyond them."""
        encoder: Any = self.encoder
        beyond = beyond * missing[:, None]
        inputs = torch.cat([x, missing, beyond.flatten(1)], 1)
        if not isinstance(encoder, LinearResidual):
            return encoder(inputs)
        x = x + self.neighbor_gain * beyond[:, 0]
        if self.is_whole:
            return encoder.linear(x + missing * encoder.residual(inputs))
        return encoder.linear(x) + encoder.residual(inputs)

    # Inference

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind the decoder; the encoder may get patterns that it has never seen."""
        self.bind_networks(None, self.encode(x, known), earlier)

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the codes of rows, completed by the start, shape (n, n_components)."""
        return self.codes_of(x, known, None)


def rows_at(values: Tensor, which: Tensor) -> Tensor:
    """Return the rows, (..., m, *), that each module has at places, (..., n, k)."""
    if which.ndim == 2:
        return values[which]
    first = torch.arange(len(values), device=which.device) * values.shape[1]
    return values.flatten(0, 1)[which + first[:, None, None]]


def smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k smallest of each row, and their places, both of shape (..., n, k).

    They are in those blocks that have the k smallest minima, which is quicker to find
    out than by comparing all.
    """
    size = values.shape[-1]
    if size < 2 * BLOCK * k:
        return values.topk(k, largest=False)
    # A block is a column of the first `BLOCK * n_blocks`, written in `BLOCK` lines.
    n_blocks = size // BLOCK
    lines = values[..., : n_blocks * BLOCK].unflatten(-1, (BLOCK, n_blocks))
    chosen = lines.amin(-2).topk(k, largest=False, sorted=False)[1]  # (..., n, k)
    line = torch.arange(BLOCK, device=values.device)[:, None] * n_blocks
    places = (chosen[..., None, :] + line).flatten(-2)
    rest = torch.arange(n_blocks * BLOCK, size, device=values.device)
    places = torch.cat([places, rest.expand(*values.shape[:-1], -1)], -1)
    found, at = values.gather(-1, places).topk(k, largest=False)
    return found, places.gather(-1, at)
