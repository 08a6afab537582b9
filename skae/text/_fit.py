"""Fitting of texts: count, hold some out, train on the others, judge.

The start counts all texts. What a network learns beyond it, and whether it is used, is
decided beside a start that has counted the texts that train, and each of them once: by
copies of a text any token would be known, and nothing be left to learn. But new texts
may be copies. Where some texts are there more often than others, a network must also be
better on texts as often as they are there: on those that are there again, beside a
start that knows their other copies, and on held-out ones that stand for all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._callbacks import UNWATCHED, FitTask
from .._dataset import TrainingData
from .._fit import Fit
from .._gate import GateDecision, PairedImprovement
from .._net import AutoencoderNet
from .._parameters import (
    lasting_parameters,
    new_random_state,
    new_torch_generator,
)
from .._plan import MIN_ROWS, SMALL_TABLE
from .._split import choose_held_out, distinct_rows
from .._training import Training
from ._dataset import Pieces
from ._objective import TextObjective
from ._tokens import TokenSequences

# With fewer distinct texts than this, pieces of them are held out.
FEW_TEXTS = 20


def fit(
    objective: TextObjective, sequences: TokenSequences, task: FitTask = UNWATCHED
) -> Fit:
    """Fit an objective to texts; `task` is what scikit-learn's callbacks see."""
    params = objective.params
    seed = int(new_random_state(params.random_state).randint(2**31 - 1))
    start = beside = objective.counted(sequences, None, seed)
    pieces = objective.pieces(sequences)
    rows, unit_of, copies = distinct_pieces(sequences, pieces)
    plan = objective.plan(pieces.lengths[rows])
    train, valid = held_out(rows, unit_of, plan.n_held_out, seed)
    if plan.max_iter:
        counts = np.sort(pieces.places(train))
        beside = objective.counted(sequences, counts, seed, start)
    dataset = objective.dataset(sequences, pieces, plan)
    units = np.unique(unit_of[valid], return_inverse=True)[1]
    at = [torch.from_numpy(a).to(dataset.device) for a in (train, valid, units)]
    data = TrainingData(dataset, at[0], at[1], units=at[2])
    training = Training(objective, plan, beside, seed, task)
    few = f": of fewer than {MIN_ROWS} distinct texts, or pieces, nothing is learnt"
    net = training.new_net()
    decision = GateDecision(False, 0, reason=few * (plan.n_rows < MIN_ROWS))

    def found(net: AutoencoderNet, decision: GateDecision) -> Fit:
        objective.finish(net.module_)
        model = start
        if decision.is_open:
            model = objective.model(net.module_, start, None, seed)
        per_row = objective.n_predicted(sequences, pieces, valid)
        return Fit(
            objective=objective,
            start=start,
            net=net,
            model=model,
            best_iter=decision.best_iter if decision.is_open else 0,
            validation_scores=[-loss / per_row for loss in decision.curve],
            seed=seed,
            n_samples=len(sequences),
            dtype=np.dtype(np.float64),
            lasting=lasting_parameters(params),
            reason=decision.reason,
        )

    trains_again = plan.n_rows < SMALL_TABLE or not objective.keeps_network
    task.begin((1 + trains_again) * plan.max_iter)
    if plan.max_iter:
        decision = training.run(net, data, continued=False, found=found)
    is_asked = bool(decision.is_open and np.ptp(copies))
    trained = rows if trains_again else train
    as_often = AsOften.of(rows, copies, unit_of, trained, valid)
    losses: list[list[Tensor]] = []  # of held-out rows, and of those there again

    def judge_copies(rows: NDArray) -> None:
        """Note losses beside a start that has counted all but one copy of each row."""
        beside, seen = training.start, data.seen
        if objective.keeps_network:
            others = np.setdiff1d(np.arange(len(pieces)), rows)
            counts = np.sort(pieces.places(others))
            beside = objective.counted(sequences, counts, seed, start)
            seen = dataset, torch.from_numpy(others), data.train
            beside.apply(net.module_)
        losses.append(losses_of(replace(training, start=beside), net, data, rows, seen))

    if is_asked and objective.keeps_network:
        judge_copies(as_often.unseen)
    elif is_asked:
        is_unseen = torch.from_numpy(np.isin(valid, as_often.unseen))
        both = net.start_losses_, net.best_losses_
        means = [loss.view(-1, len(valid)).mean(0).cpu() for loss in both]
        losses.append([mean[is_unseen] for mean in means])
    if decision.is_open and trains_again:
        again = start
        if objective.keeps_network:
            counts = np.sort(pieces.places(rows))
            again = objective.counted(sequences, counts, seed, start)
        everything = torch.from_numpy(np.sort(rows)).to(dataset.device)
        data = replace(data, train=everything, valid=data.valid[:0], units=None)
        training = replace(training, start=again)
        net, tried = training.new_net(), net
        net.module_.see(*data.seen)
        training.watch(found, lambda now: replace(decision, best_iter=now.best_iter_))
        net.partial_fit(data, epochs=decision.best_iter, task=task)
        net.module_.calibrate(decision.calibration)
        net.history_ = tried.history
    if is_asked:
        judge_copies(as_often.again)
        before, after = map(torch.cat, zip(*losses, strict=True))
        decision = as_often.judged(decision, before, after, training)
        if not decision.is_open and net.restore_start:
            plain = training.new_net().module_
            net.module_.load_state_dict(plain.state_dict())
    return found(net, decision)


@dataclass(frozen=True)
class AsOften:
    """Distinct rows that stand for all, as often as they are there.

    Attributes
    ----------
    unseen, again : ndarray of int
        Those that do not train, and those that do and are there again.
    copies, units : ndarray of int of shape (n,)
        How often each of both is there, and what it is a piece of.
    n_once : int
        How many rows are there once, for which those that are held out stand.
    """

    unseen: NDArray
    again: NDArray
    copies: NDArray
    units: NDArray
    n_once: int

    @classmethod
    def of(
        cls,
        rows: NDArray,
        copies: NDArray,
        unit_of: NDArray,
        trained: NDArray,
        valid: NDArray,
    ) -> AsOften:
        """Choose from distinct rows, of which some have trained, and some judged."""
        of_row = np.zeros(len(unit_of), dtype=np.int64)
        of_row[rows] = copies
        again = trained[of_row[trained] > 1]
        unseen = valid[~np.isin(valid, again)]
        chosen, n_once = np.append(unseen, again), int((copies == 1).sum())
        return cls(unseen, again, of_row[chosen], unit_of[chosen], n_once)

    def gain(self, before: Tensor, after: Tensor) -> PairedImprovement:
        """Compare losses of the rows, shape (n,); each copy of a unit is one."""
        at = np.repeat(np.arange(len(self.copies)), self.copies)
        first = np.cumsum(self.copies) - self.copies
        number = np.arange(len(at)) - first[at]
        unit = np.unique(self.units[at] * self.copies.max() + number, False, True)[1]
        is_once = self.copies[at] == 1
        weight = np.where(is_once, self.n_once / max(is_once.sum(), 1), 1.0)
        of_rows, weights, units = map(torch.from_numpy, (at, weight, unit))
        return PairedImprovement.of(before[of_rows], after[of_rows], weights, units)

    def judged(
        self, decision: GateDecision, before: Tensor, after: Tensor, training: Training
    ) -> GateDecision:
        """Judge a network that won on distinct texts, by losses of shape (n,)."""
        gain = self.gain(before, after)
        asked = training.threshold(len(np.unique(self.units)), in_folds=False)
        if gain.exceeds(asked):
            return decision
        reason = (
            ": on texts as often as they are there, beside their copies, the network "
            f"was better by {gain.z_score:.1f} standard errors, and more than "
            f"{asked:.2f} are asked"
        )
        return replace(decision, is_open=False, calibration={}, reason=reason)


def losses_of(
    training: Training,
    net: AutoencoderNet,
    data: TrainingData,
    rows: NDArray,
    seen: tuple[Any, ...],
) -> list[Tensor]:
    """Return the losses of rows by the start, and by a net beside it, of shape (n,).

    What is drawn of a row several times counts on average.
    """
    if not len(rows):
        return [torch.empty(0), torch.empty(0)]
    judged = torch.from_numpy(rows).to(data.train.device)
    data = training.repeated(replace(data, valid=judged, units=None))
    losses = []
    for each in (training.new_net(), net):
        each.module_.see(*seen)
        losses.append(each.held_out_losses(data).view(-1, len(rows)).mean(0).cpu())
    return losses


def held_out(
    rows: NDArray, unit_of: NDArray, n_held_out: int, seed: int
) -> tuple[NDArray, NDArray]:
    """Return which rows train, and which are held out, whole units of them."""
    units = torch.from_numpy(np.unique(unit_of[rows], return_inverse=True)[1])
    generator = new_torch_generator(seed)
    chosen = choose_held_out(len(rows), units, n_held_out, generator).numpy()
    trains = np.ones(len(rows), dtype=bool)
    trains[chosen] = False
    return np.sort(rows[trains]), rows[chosen]


def distinct_pieces(
    sequences: TokenSequences, pieces: Pieces
) -> tuple[NDArray, NDArray, NDArray]:
    """Return which pieces stand for all, and what each is held out with.

    Equal pieces have one that stands for them; these are in an order that does not
    depend on that of the texts. Held out together are the pieces of a text and of its
    copies, or, of few texts, the copies of a piece.

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
    unit_of : ndarray of shape (n_pieces,)
    copies : ndarray of shape (n_distinct,)
        How many pieces are equal to each of them, and it.
    """
    cut = TokenSequences(
        sequences.tokens[pieces.places(np.arange(len(pieces)))],
        np.cumsum(pieces.lengths) - pieces.lengths,
        sequences.n_tokens,
    )
    hashes, of_text = cut.hashes(), sequences.hashes()
    are_few = len(np.unique(of_text)) < FEW_TEXTS
    together = hashes if are_few else of_text[pieces.text]
    unit_of = np.unique(together, return_inverse=True)[1]
    distinct = distinct_rows(hashes, np.ones(len(hashes)), None)
    assert distinct.weight is not None
    return distinct.rows.astype(np.int64), unit_of, distinct.weight
