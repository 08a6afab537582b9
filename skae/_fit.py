"""Fitting: from checked rows to a start, a trained net and a decision.

find the start -> hold rows out -> train -> judge -> the start or the network
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import NDArray

from ._callbacks import UNWATCHED, FitTask
from ._dataset import (
    STATISTICS_ROWS,
    as_dense,
    float_dtype,
    is_streamed,
    memory_map,
    missing_share,
    row_chunks,
    sample_rows,
)
from ._gate import GateDecision, PairedImprovement
from ._missing import mean_filled
from ._neighbors import Neighbors
from ._net import AutoencoderNet
from ._objective import Objective
from ._parameters import (
    check_same_width,
    check_unchanged,
    lasting_parameters,
    naming,
    new_random_state,
)
from ._plan import SMALL_TABLE, TrainingPlan
from ._rows import Rows, check_distances, check_range
from ._solvers import SOLVER_PARAMETERS
from ._split import MIN_HELD_OUT, DistinctRows, distinct_rows, fresh_rows, row_hashes
from ._start import Start
from ._step import threads_for
from ._trained import RATIO_ROWS, TrainedNetwork
from ._training import Training, choose_margin
from ._weights import used_rows

# Quartile distances below the lower quartile, from where on a score is an anomaly's
# unless a share of the rows is (Tukey's fence).
FENCE = 1.5
# Rows of earlier batches that judge a network once it is trained on one more.
KEPT_ROWS, KEPT_NUMBERS = 1000, 2**22


@dataclass(frozen=True)
class Fit:
    """All that fitting finds out, and that a fitted estimator works with.

    Attributes
    ----------
    objective : Objective
        With the parameters as they were.
    start : Start
    net : AutoencoderNet
    model : Start, TrainedNetwork or another object
        What is used: the start, or what the objective makes of the module.
    best_iter : int
        Epoch whose weights are used; 0 is the start.
    validation_scores : list of float
        Of the held-out rows, for each epoch.
    seed : int
    n_samples : int
    dtype : numpy.dtype
        Of the rows.
    lasting : dict
        Parameters that training cannot go on without.
    solver : IncrementalPCA, another object, or None
        What follows the batches of `partial_fit`: see :meth:`Objective.follow`.
    improvement : PairedImprovement
        What these have shown so far.
    remembered : KeptRows or None
        Some of their rows.
    neighbors : Neighbors or None
        What rows are scored by, if not by their likelihood.
    offset : float
        Score below which rows are anomalies.
    n_tested : int
        How many batches of `partial_fit` have judged the network since `fit`; the last
        of the `validation_scores` are theirs.
    reason : str
        Why the model is used; ends a sentence.
    """

    objective: Objective
    start: Start
    net: AutoencoderNet
    model: Any
    best_iter: int
    validation_scores: list[float]
    seed: int
    n_samples: int
    dtype: np.dtype
    lasting: dict[str, str]
    solver: Any = None
    improvement: PairedImprovement = field(default_factory=PairedImprovement)
    remembered: KeptRows | None = None
    neighbors: Neighbors | None = None
    offset: float = 0.0
    n_tested: int = 0
    reason: str = ""

    # What the model says of dense rows, in the public units of the codes

    @property
    def n_parameters(self) -> int:
        """How many multiplications a network takes for a row, at least; 0 without."""
        if not isinstance(self.model, TrainedNetwork):
            return 0
        return sum(p.numel() for p in self.net.module_.parameters())

    def deviation(self, dtype: np.dtype) -> NDArray:
        """Return by what codes are divided where they are whitened."""
        if not self.objective.params.whiten:
            return np.ones((), dtype=dtype)
        deviation = np.sqrt(self.model.explained_variance)
        return np.maximum(deviation, np.finfo(deviation.dtype).eps).astype(dtype)

    def codes(self, X: NDArray) -> NDArray:
        """Return the codes of rows, shape (n, k)."""
        return self.model.transform(X) / self.deviation(X.dtype)

    def rows(self, codes: NDArray) -> NDArray:
        """Return the rows that codes stand for, shape (n, d)."""
        return self.model.inverse_transform(codes * self.deviation(codes.dtype))

    def rebuilt(self, X: NDArray) -> NDArray:
        """Return what the codes of rows stand for, shape (n, d)."""
        return self.model.inverse_transform(self.model.transform(X))

    def errors(self, X: NDArray) -> NDArray:
        """Return squared errors, (n, d), in float64: others may not hold them."""
        return np.subtract(X, self.rebuilt(X), dtype=np.float64) ** 2

    def scores(self, X: NDArray) -> NDArray:
        """Return how normal rows are, by likelihood in nats or neighbours; (n,)."""
        if self.neighbors is not None:
            return self.neighbors.score_samples(self.model, X)
        scores = self.model.score_samples(X)
        far = ~np.isfinite(scores)  # for float32
        if far.any() and X.dtype != np.float64:
            scores[far] = self.model.score_samples(X[far].astype(np.float64))
        return scores

    def unseen_scores(self, X: NDArray, weight: NDArray | None) -> NDArray:
        """Return what rows of fit would score if they had not been trained on, (n,)."""
        if self.neighbors is None and isinstance(self.model, TrainedNetwork):
            return self.model.unseen_scores(X, weight)
        return self.scores(X)  # in which a row does not see itself

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if getattr(self.model, "module", None) is self.net.module_:
            state["model"] = copy.copy(self.model)
            state["model"].module = None  # the net stores it, for any device
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if getattr(self.model, "module", self) is None:
            self.model.module = self.net.module_

    def with_scores(self, given: Rows, rows: Rows, earlier: Fit | None = None) -> Fit:
        """Return the fit with a way to score rows, and what score is an anomaly's.

        `rows` were trained on, and are some of the `given` ones; `earlier` is a fit
        whose rows were trained on as well.
        """
        if not self.objective.scores_rows:
            return self
        n_neighbors = getattr(self.objective.params, "n_neighbors", None)
        fit, contamination = self, contamination_of(self.objective)
        if n_neighbors is not None:
            units, before = (self.start.mean, self.start.scale), None
            if earlier is not None and earlier.neighbors is not None:
                before = earlier.neighbors, earlier.model
                units = earlier.neighbors.units
            how = int(n_neighbors), self.model, rows.X, units, before
            fit = replace(self, neighbors=Neighbors.of(*how))
        n_rows = STATISTICS_ROWS if contamination else RATIO_ROWS
        rng = np.random.default_rng(self.seed)
        sample, weight = sample_rows(given.X, given.weight, n_rows, rng)
        if contamination:
            offset = between(fit.scores(sample), weight, contamination)
        else:
            scores = fit.unseen_scores(sample, weight)
            low, high = (lowest(scores, weight, share) for share in (0.25, 0.75))
            offset = low - FENCE * (high - low)
        return replace(fit, offset=offset)


# fit


def fit(
    objective: Objective,
    given: Rows,
    earlier: Fit | None = None,
    task: FitTask = UNWATCHED,
) -> Fit:
    """Fit an objective to rows.

    `earlier` is a fit to go on from, and `task` what scikit-learn's callbacks see.
    """
    params = objective.params
    rng = new_random_state(params.random_state)
    check_range_of(objective, given)
    given = used(given, min_rows=2)
    taking_part, pca = _taking_part(objective, given, rng, earlier)
    rows, distinct, deciding = _distinct(taking_part, pca)
    plan = _plan(params, rows, distinct)
    counted = {"n_samples": given.X.shape[0], "dtype": float_dtype(given.X)}
    if earlier is None:
        if rows is not taking_part:  # of these rows and weights, in this order
            pca = find_pca(objective, rows, rng)
        seed = int(rng.randint(2**31 - 1))
        start = _start(objective, rows, pca, seed)
    elif plan.max_iter:
        seed, start = earlier.seed, earlier.start
    else:  # nothing is trained, but what parameters say of codes and scores holds
        kept = replace(earlier, objective=objective, neighbors=None, **counted)
        return kept.with_scores(given, rows)
    if rows.groups is not None and start.is_fallback and plan.max_iter:
        _warn_of_few_groups(rows, distinct)
    n_x = math.prod(objective.sample_shape)
    check_distances(rows, start.mean, start.scale, n_x)
    training = Training(objective, objective.plan_at(start, plan), start, seed, task)
    data = training.data(rows, distinct, deciding)
    net = _new_net(training, earlier)
    n_before = len(net.history)

    def found(net: AutoencoderNet, decision: GateDecision) -> Fit:
        best_iter = decision.best_iter if decision.is_open else 0
        if decision.is_open and earlier is not None:
            best_iter = n_before + best_iter if best_iter else earlier.best_iter
            best_iter = best_iter or n_before  # of epochs that had not been used
        fitted = Fit(
            objective=objective,
            start=start,
            net=net,
            model=training.model(net, decision.is_open, decision.mean_loss, rows),
            best_iter=best_iter,
            validation_scores=[
                net.criterion_.score(loss, start) for loss in decision.curve
            ],
            seed=seed,
            lasting=lasting_parameters(params),
            reason=decision.reason,
            **counted,
        )
        return fitted.with_scores(given, rows)

    n_trainings = 1 if data.fold_of is None else 2
    task.begin(n_trainings * training.plan.max_iter)
    decision = training.run(net, data, continued=earlier is not None, found=found)
    if decision.is_open and data.fold_of is None and len(data.valid):
        choose_margin(net, data)
    fitted = found(net, decision)
    if earlier is None and decision.is_open and objective.is_likelihood:
        less = _less_likely(fitted, rows, distinct)
        if less > 0:
            reason = (
                ": of the rows of fit, as often as they are there, the network has "
                f"{less:.3g} nats less per row"
            )
            decision = replace(decision, is_open=False, calibration={}, reason=reason)
            if net.restore_start:
                net.module_.load_state_dict(training.new_net().module_.state_dict())
            fitted = found(net, decision)
    return fitted


def _taking_part(
    objective: Objective, given: Rows, rng: RandomState, earlier: Fit | None
) -> tuple[Rows, Start]:
    """Return the rows that take part, and PCA of them or an earlier start."""
    if earlier is not None:
        check_same_width(objective.params.n_components, earlier.start.n_codes)
        check_unchanged(earlier.lasting, lasting_parameters(objective.params))
        return likely(objective, given, earlier.start), earlier.start
    pca = find_pca(objective, given, rng)
    if contamination_of(objective):
        given = likely(objective, given, pca)
        pca = find_pca(objective, given, rng)
    return given, pca


def _start(objective: Objective, rows: Rows, pca: Start, seed: int) -> Start:
    """Return the closed form that a fit begins at."""
    X = rows.X if objective.handles_missing else _mean_filled(objective, rows)
    objective.measure_columns(X, rows.weight)
    objective.groups = rows.groups
    start = objective.start(pca, X, rows.weight, seed)
    objective.groups = None
    objective.check_reached(start)
    return start


def _less_likely(fitted: Fit, rows: Rows, distinct: DistinctRows) -> float:
    """Return by how much rows are less likely than at the start, in nats.

    Of rows that are there several times. As copies are held out together, the gate has
    asked about rows that nobody has seen, where new ones may be copies.
    """
    are_again = rows.weight is not None or distinct.n_units < rows.X.shape[0]
    if not (fitted.start.is_fallback and are_again):
        return 0.0
    rng = np.random.default_rng(fitted.seed)
    X, weight = sample_rows(rows.X, rows.weight, RATIO_ROWS, rng)
    X = as_dense(X).astype(np.float64, copy=False)
    before, after = (m.score_samples(X) for m in (fitted.start, fitted.model))
    return float(np.average(before - after, weights=weight))


def _warn_of_few_groups(rows: Rows, distinct: DistinctRows) -> None:
    if rows.X_val is None and distinct.n_units < MIN_HELD_OUT:
        warnings.warn(
            f"groups makes {distinct.n_units} units of these rows: fewer than "
            f"{MIN_HELD_OUT} cannot say whether a network is better, and the start is "
            "kept. X_val may have rows that can.",
            stacklevel=2,
        )


def _new_net(training: Training, earlier: Fit | None) -> AutoencoderNet:
    objective = training.objective
    if earlier is None:
        return training.new_net(restore_start=not objective.params.warm_start)
    net = objective.continued(earlier.net, training.plan)
    net.restore_start = earlier.best_iter > 0 or not earlier.start.is_fallback
    return net


def check_range_of(objective: Objective, rows: Rows) -> None:
    """Raise a ValueError for numbers that an objective cannot take."""
    plan = TrainingPlan.for_table(rows.X.shape[0])
    value_range = objective.loss(plan).value_range
    check_range(rows.X, value_range, rows.names)
    if rows.X_val is not None:
        with naming("X_val"):
            check_range(rows.X_val, value_range, rows.names)


def used(rows: Rows, min_rows: int) -> Rows:
    """Return the rows that have a weight."""
    X, weight, groups = used_rows(rows.X, rows.weight, rows.groups, min_rows)
    return replace(rows, X=X, weight=weight, groups=groups)


def find_pca(objective: Objective, rows: Rows, rng: RandomState) -> Start:
    """Return PCA of (weighted) rows, with at most as many axes as they have."""
    params = objective.params
    k, n = params.n_components, rows.X.shape[0]
    if rows.weight is not None:  # a row may stand for several
        n = max(n, round(rows.weight.sum()))
    most = min(n, rows.X.shape[1])
    k = most if isinstance(k, Integral) and k > most else k
    seed = rng if params.random_state is None else params.random_state
    solver = {p: getattr(params, p) for p in SOLVER_PARAMETERS if hasattr(params, p)}
    with threads_for(n * most * rows.X.shape[1]):
        X = _mean_filled(objective, rows)
        weight = rows.weight if X.shape[0] == rows.X.shape[0] else None
        return objective.pca(X, k, weight, seed, **solver)


def contamination_of(objective: Objective) -> float:
    """Return the share of the rows that takes no part."""
    return float(getattr(objective.params, "contamination", 0.0))


def likely(objective: Objective, rows: Rows, start: Start) -> Rows:
    """Return the rows without the share that is the least likely under a start."""
    contamination = contamination_of(objective)
    if not contamination:
        return rows
    if is_streamed(rows.X) and memory_map(rows.X) is not None:
        raise ValueError(
            f"contamination={contamination} needs rows in memory, and X is on disk: "
            "leave out rows yourself, or use contamination=0.0."
        )
    scores = np.empty(rows.X.shape[0])
    for part in row_chunks(rows.X):
        scores[part] = start.score_samples(as_dense(rows.X[part]))
    keep = scores >= lowest(scores, rows.weight, contamination)
    return replace(
        rows,
        X=rows.X[keep],
        weight=None if rows.weight is None else rows.weight[keep],
        groups=None if rows.groups is None else rows.groups[keep],
    )


def lowest(
    scores: NDArray, weight: NDArray | None, share: float, at_least: int = 0
) -> float:
    """Return the score that rows of at most this share of all the weight are below.

    `at_least` as many rows are, unless scores are equal.
    """
    order = np.argsort(scores, kind="stable")
    w = np.ones(len(scores)) if weight is None else weight[order]
    w = w * max(1.0, len(w) / w.sum())  # that counts copies
    below = np.cumsum(w) - w  # what those before each weigh
    most = max(share * w.sum() * (1 + 1e-12), at_least)
    return float(scores[order[np.searchsorted(below, most, "right") - 1]])


def between(scores: NDArray, weight: NDArray | None, share: float) -> float:
    """Return a score that about this share of all the weight is below, of no row.

    It is halfway between two, or a row would be on one side or the other by its last
    digit. Equal scores are on the same side; of few rows at least one is below.
    """
    w = np.ones(len(scores)) if weight is None else weight
    at = lowest(scores, weight, share, at_least=1)
    below, up_to = w[scores < at].sum(), w[scores <= at].sum()
    goal, above = share * w.sum(), scores[scores > at]
    if up_to - goal < goal - below and len(above):
        at = float(above.min())
    lower = scores[scores < at]
    middle = 0.5 * at + 0.5 * float(lower.max(initial=-np.inf))
    return middle if np.isfinite(middle) else at


def _mean_filled(objective: Objective, rows: Rows) -> Any:
    may_miss = objective.handles_missing and not sp.issparse(rows.X)
    if not may_miss and not objective.takes_padding:
        return rows.X
    if is_streamed(rows.X):  # of which a sample has to do
        if not missing_share(rows.X).any():
            return rows.X
        rng = np.random.default_rng(0)
        return mean_filled(*sample_rows(rows.X, rows.weight, STATISTICS_ROWS, rng))
    return mean_filled(rows.X, rows.weight)


def _distinct(rows: Rows, pca: Start) -> tuple[Rows, DistinctRows, NDArray | None]:
    """Find the distinct rows, and which rows of `X_val` may decide.

    Small tables are given as the distinct rows alone, and weights: what follows from
    them does not depend on how copies are given.
    """
    hashes = row_hashes(rows.X, pca.mean, pca.scale)
    distinct = distinct_rows(hashes, rows.weight, rows.groups)
    deciding = None
    if rows.X_val is not None:
        same_type = rows.X_val.astype(rows.X.dtype, copy=False)
        deciding = fresh_rows(row_hashes(same_type, pca.mean, pca.scale), hashes)
        if not len(deciding):
            raise ValueError(
                f"X_val: each of its {rows.X_val.shape[0]} rows is a row of X too. "
                "Rows that decide must not be trained on."
            )
    is_small = rows.X.shape[0] < SMALL_TABLE and not is_streamed(rows.X)
    if is_small and distinct.weight is not None:
        rows = replace(rows, X=as_dense(rows.X[distinct.rows]), weight=distinct.weight)
        distinct = replace(distinct, rows=np.arange(len(distinct.rows)))
    return rows, distinct, deciding


def _plan(params: Any, rows: Rows, distinct: DistinctRows) -> TrainingPlan:
    return TrainingPlan.of(
        params,
        len(distinct.rows),
        None if rows.groups is None else distinct.n_units,
        has_valid=rows.X_val is not None,
        one_net=is_streamed(rows.X),
    )


# partial_fit


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
