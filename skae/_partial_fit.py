"""Fitting batch by batch: follow PCA, test the network on a batch, train it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._anomalies import contamination_of
from ._dataset import as_dense, float_dtype
from ._fit import Fit
from ._gate import PairedImprovement
from ._missing import mean_filled
from ._net import AutoencoderNet
from ._objective import Objective
from ._parameters import (
    check_monitors,
    check_same_width,
    check_unchanged,
    lasting_parameters,
    new_random_state,
)
from ._plan import SMALL_TABLE, TrainingPlan
from ._rows import Rows
from ._split import MIN_HELD_OUT
from ._start import Start
from ._taking_part import check_range_of, find_pca, used, usual
from ._training import Training

# Rows of earlier batches that judge a network once it is trained on one more.
KEPT_ROWS, KEPT_NUMBERS = 1000, 2**22


def partial_fit(objective: Objective, given: Rows, earlier: Fit | None = None) -> Fit:
    """Follow PCA, test the network on the batch, then train it there."""
    params = objective.params
    check_monitors(params.callbacks)
    check_range_of(objective, given)
    all_rows = used(replace(given, X=as_dense(given.X)), min_rows=1)
    rows = _usual(objective, all_rows, earlier)
    plan = TrainingPlan.of(params, max(len(rows.X), SMALL_TABLE), one_net=True)
    seed, solver, start = _followed(objective, rows, earlier)
    training = Training(objective, objective.plan_at(start, plan), start, seed)
    net = before = training.new_net(learning_rate="constant", restore_start=False)
    data, improvement, scores = training.batch(rows), PairedImprovement(), []
    if earlier is not None:
        net = objective.continued(earlier.net, training.plan)
        net.restore_start = False
        start.apply(net.module_)
        improvement = _gain(before, net, data)
        score = net.criterion_.score(improvement.mean_loss, start)
        scores = [*earlier.validation_scores, score]
        improvement = earlier.improvement.followed_by(improvement)
    remembered = None
    if training.plan.max_iter:  # none without a code
        remembered = KeptRows.of(earlier, rows, seed)
        net.partial_fit(data, epochs=1)
    is_open = not start.is_fallback
    is_open = is_open or _is_better(training, before, net, improvement, remembered)
    loss = improvement.mean_loss if improvement.n_rows else None
    model_before = None if earlier is None else earlier.model
    fitted = Fit(
        objective=objective,
        start=start,
        net=net,
        model=training.model(net, is_open, loss, rows, model_before),
        best_iter=len(net.history) if is_open else 0,
        validation_scores=scores,
        seed=seed,
        n_samples=len(all_rows.X) + (0 if earlier is None else earlier.n_samples),
        dtype=float_dtype(rows.X),
        lasting=lasting_parameters(params),
        solver=solver,
        improvement=improvement,
        remembered=remembered,
        n_tested=0 if earlier is None else earlier.n_tested + 1,
    )
    return fitted.with_scores(all_rows, rows, earlier)


def _usual(objective: Objective, rows: Rows, earlier: Fit | None) -> Rows:
    """Return the rows of a batch that take part."""
    if not contamination_of(objective):
        return rows
    if earlier is not None:
        return usual(objective, rows, earlier.start)
    return usual(objective, rows, find_pca(objective, rows, new_random_state(0)))


def _is_better(
    training: Training,
    before: AutoencoderNet,
    net: AutoencoderNet,
    improvement: PairedImprovement,
    remembered: KeptRows | None,
) -> bool:
    """Whether a network was better on batches, and still is on rows of all of them.

    Batches that are like one another do not tell what it has forgotten, nor what it has
    just learnt of a single row.
    """
    asked = training.threshold(improvement.n_rows, in_folds=False)
    if improvement.n_rows < MIN_HELD_OUT or not improvement.exceeds(asked):
        return False
    if remembered is None:
        return True
    old = training.batch(Rows(remembered.X, remembered.weight))
    return _gain(before, net, old).mean > 0


def _gain(before: AutoencoderNet, net: AutoencoderNet, data: Any) -> PairedImprovement:
    """Return how much better a network is on the rows of a batch than another."""
    tested = replace(data, valid=data.train)
    losses = before.held_out_losses(tested), net.held_out_losses(tested)
    return PairedImprovement.of(*losses, tested.valid_weight)


def _followed(
    objective: Objective, rows: Rows, earlier: Fit | None
) -> tuple[int, Any, Start]:
    """Return the seed, the solver, and the start that it has reached with a batch."""
    params = objective.params
    before = None if earlier is None else earlier.start
    if earlier is None:
        seed = int(new_random_state(params.random_state).randint(2**31 - 1))
        solver = None
    else:
        check_same_width(params.n_components, earlier.start.n_codes)
        check_unchanged(earlier.lasting, lasting_parameters(params))
        seed, solver = earlier.seed, earlier.solver
        if solver is None:  # `fit` has found the start
            return seed, None, earlier.start
    X = rows.X
    if objective.takes_padding and not objective.handles_missing:
        X = mean_filled(X, rows.weight, 0.0 if before is None else before.mean)
    if earlier is None:
        objective.measure_columns(X, rows.weight)
    solver, start = objective.follow(solver, before, X, rows.weight, seed)
    objective.check_reached(start)
    return seed, solver, start


@dataclass(frozen=True)
class KeptRows:
    """Some of the rows of all batches, each of them as likely to be kept.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
    weight : ndarray of shape (n,)
    number : ndarray of shape (n,)
        Those with the smallest random numbers are kept.
    """

    X: NDArray
    weight: NDArray
    number: NDArray

    @classmethod
    def of(cls, earlier: Fit | None, rows: Rows, seed: int) -> KeptRows:
        """Return those of earlier batches, and of one more."""
        n, before = len(rows.X), None if earlier is None else earlier.remembered
        n_before = 0 if earlier is None else earlier.n_samples
        number = np.random.default_rng([seed, n_before]).uniform(size=n)
        weight = np.ones(n) if rows.weight is None else rows.weight
        X = rows.X
        if before is not None:
            X = np.concatenate([before.X, X])
            weight = np.concatenate([before.weight, weight])
            number = np.concatenate([before.number, number])
        most = max(MIN_HELD_OUT, min(KEPT_ROWS, KEPT_NUMBERS // max(X[:1].size, 1)))
        kept = np.sort(np.argsort(number, kind="stable")[:most])
        return cls(X[kept], weight[kept], number[kept])
