"""Fitting of texts: count, hold some out, train on the others, judge.

The start counts all texts. What a network learns beyond it, and whether it is used, is
decided beside a start that has counted the texts that train, and each of them once: by
copies of a text any token would be known, and nothing be left to learn. But new texts
may be copies. Where some texts are there more often than others, a network must also be
better on texts as often as they are there: on those that are there again, beside a
start that knows their other copies, and on held-out ones that stand for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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
from .._parameters import lasting_parameters, new_random_state, new_torch_generator
from .._plan import MIN_ROWS, SMALL_TABLE, TrainingPlan
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
    texts = Texts.of(objective, sequences)
    rows, unit_of, copies = distinct_pieces(sequences, texts.pieces)
    plan = objective.plan(texts.pieces.lengths[rows])
    train, valid = held_out(rows, unit_of, plan.n_held_out, texts.seed)
    beside = texts.counted(train) if plan.max_iter else texts.start
    data = texts.data(plan, train, valid, unit_of)
    training = Training(objective, plan, beside, texts.seed, task)
    net, found = training.new_net(), partial(texts.found, valid)
    few = f": of fewer than {MIN_ROWS} distinct texts, or pieces, nothing is learnt"
    decision = GateDecision(False, 0, reason=few * (plan.n_rows < MIN_ROWS))
    trains_again = plan.n_rows < SMALL_TABLE or not objective.keeps_network
    task.begin((1 + trains_again) * plan.max_iter)
    if plan.max_iter:
        decision = training.run(net, data, continued=False, found=found)
    if not decision.is_open:
        return found(net, decision)
    trained, is_asked = rows if trains_again else train, bool(np.ptp(copies))
    as_often = AsOften.of(rows, copies, unit_of, trained, valid)
    losses = []  # of held-out rows, and of those there again
    if is_asked and objective.keeps_network:
        losses.append(texts.losses(training, net, data, as_often.unseen))
    elif is_asked:
        losses.append(as_often.losses_of_unseen(net, valid))
    if trains_again:
        training, data = texts.whole(training, data, rows)
        net = retrained(training, net, data, decision, found)
    if is_asked:
        losses.append(texts.losses(training, net, data, as_often.again))
        before, after = map(torch.cat, zip(*losses, strict=True))
        decision = as_often.judged(decision, before, after, training)
        if not decision.is_open and net.restore_start:
            net.module_.load_state_dict(training.new_net().module_.state_dict())
    return found(net, decision)


@dataclass(frozen=True)
class Texts:
    """Texts that are fitted, the pieces that they are cut into, and their start.

    Attributes
    ----------
    objective : TextObjective
    sequences : TokenSequences
    pieces : Pieces
    start : TextStart
        That of all texts.
    seed : int
    """

    objective: TextObjective
    sequences: TokenSequences
    pieces: Pieces
    start: Any
    seed: int

    @classmethod
    def of(cls, objective: TextObjective, sequences: TokenSequences) -> Texts:
        """Count the tokens of texts, and cut these into pieces."""
        rng = new_random_state(objective.params.random_state)
        seed = int(rng.randint(2**31 - 1))
        start = objective.counted(sequences, None, seed)
        return cls(objective, sequences, objective.pieces(sequences), start, seed)

    def counted(self, rows: NDArray) -> Any:
        """Return a start that has counted the tokens of some pieces."""
        counts = np.sort(self.pieces.places(rows))
        return self.objective.counted(self.sequences, counts, self.seed, self.start)

    def data(
        self, plan: TrainingPlan, train: NDArray, valid: NDArray, unit_of: NDArray
    ) -> TrainingData:
        """Return pieces as a net takes them."""
        dataset = self.objective.dataset(self.sequences, self.pieces, plan)
        units = np.unique(unit_of[valid], return_inverse=True)[1]
        at = [torch.from_numpy(a).to(dataset.device) for a in (train, valid, units)]
        return TrainingData(dataset, at[0], at[1], units=at[2])

    def whole(
        self, training: Training, data: TrainingData, rows: NDArray
    ) -> tuple[Training, TrainingData]:
        """Return how all distinct pieces are trained on, and beside what."""
        keeps = self.objective.keeps_network
        start = self.counted(rows) if keeps else self.start
        everything = torch.from_numpy(np.sort(rows)).to(data.train.device)
        data = replace(data, train=everything, valid=data.valid[:0], units=None)
        return replace(training, start=start), data

    def losses(
        self, training: Training, net: AutoencoderNet, data: TrainingData, rows: NDArray
    ) -> list[Tensor]:
        """Return losses beside a start that has counted all but one copy of each row.

        A network that is not kept beside other starts is judged beside its own.
        """
        seen: tuple[Any, ...] = data.seen
        if self.objective.keeps_network:
            others = np.setdiff1d(np.arange(len(self.pieces)), rows)
            training = replace(training, start=self.counted(others))
            training.start.apply(net.module_)
            seen = data.dataset, torch.from_numpy(others), data.train
        return losses_of(training, net, data, rows, seen)

    def found(self, valid: NDArray, net: AutoencoderNet, decision: GateDecision) -> Fit:
        """Return the fit of a net that held-out pieces have decided about."""
        self.objective.finish(net.module_)
        model = self.start
        if decision.is_open:
            model = self.objective.model(net.module_, self.start, None, self.seed)
        per_row = self.objective.n_predicted(self.sequences, self.pieces, valid)
        return Fit(
            objective=self.objective,
            start=self.start,
            net=net,
            model=model,
            best_iter=decision.best_iter if decision.is_open else 0,
            validation_scores=[-loss / per_row for loss in decision.curve],
            seed=self.seed,
            n_samples=len(self.sequences),
            dtype=np.dtype(np.float64),
            lasting=lasting_parameters(self.objective.params),
            reason=decision.reason,
        )


def retrained(
    training: Training,
    tried: AutoencoderNet,
    data: TrainingData,
    decision: GateDecision,
    found: Callable[[AutoencoderNet, GateDecision], Fit],
) -> AutoencoderNet:
    """Return a net that is trained on all that another one has and has not seen."""
    net = training.new_net()
    net.module_.see(*data.seen)
    training.watch(found, lambda now: replace(decision, best_iter=now.best_iter_))
    net.partial_fit(data, epochs=decision.best_iter, task=training.task)
    net.module_.calibrate(decision.calibration)
    net.history_ = tried.history
    return net


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

    def losses_of_unseen(self, net: AutoencoderNet, valid: NDArray) -> list[Tensor]:
        """Return those at the start and at the best epoch of a net that has judged."""
        is_unseen = torch.from_numpy(np.isin(valid, self.unseen))
        both = net.start_losses_, net.best_losses_
        means = [loss.view(-1, len(valid)).mean(0).cpu() for loss in both]
        return [mean[is_unseen] for mean in means]

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
