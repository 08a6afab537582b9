"""Fitting of texts: count, hold some out, train on the others, judge.

The start counts all texts. What a network learns beyond it, and whether it is used, is
decided beside a start that has counted the texts that train, and each of them once: by
copies of a text any token would be known, and nothing be left to learn. Where some
texts are there more often than others, a network must also be better on held-out ones
as often as they are there, beside a start that knows their other copies, as it will of
new texts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

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
from .._plan import SMALL_TABLE
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
    net, decision = training.new_net(), GateDecision(False, 0)

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
    if decision.is_open and objective.keeps_network and np.ptp(copies):
        others = np.setdiff1d(np.arange(len(pieces)), valid)
        counts = np.sort(pieces.places(others))
        beside = objective.counted(sequences, counts, seed, start)
        weight = np.zeros(len(pieces))
        weight[rows] = copies
        as_often = replace(data, weight=torch.from_numpy(weight).to(dataset.device))
        training = replace(training, start=beside)
        decision = among_copies(decision, training, net, as_often, others)
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
    return found(net, decision)


def among_copies(
    decision: GateDecision,
    training: Training,
    net: AutoencoderNet,
    data: TrainingData,
    counted: NDArray,
) -> GateDecision:
    """Judge a network that won on distinct texts by these as often as they are there.

    The start of `training` has counted the rows `counted`: all but one copy of each of
    those that are held out.
    """
    data = training.repeated(data)
    seen = data.dataset, torch.from_numpy(counted), data.train
    plain = training.new_net()
    training.start.apply(net.module_)
    plain.module_.see(*seen)
    net.module_.see(*seen)
    before, after = plain.held_out_losses(data), net.held_out_losses(data)
    gain = PairedImprovement.of(before, after, data.valid_weight, data.units)
    asked = training.threshold(data.n_units, in_folds=False)
    if gain.exceeds(asked):
        return decision
    if net.restore_start:
        net.module_.load_state_dict(plain.module_.state_dict())
    reason = (
        ": on held-out texts, as often as they are there and beside their copies, the "
        f"network was better by {gain.z_score:.1f} standard errors, and more than "
        f"{asked:.2f} are asked"
    )
    return replace(decision, is_open=False, calibration={}, reason=reason)


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
