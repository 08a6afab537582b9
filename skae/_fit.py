"""Fitting: from checked rows to a start, a trained net and a decision.

find the start -> hold rows out -> train -> judge -> the start or the network
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from ._anomalies import between, contamination_of, fence
from ._callbacks import UNWATCHED, FitTask
from ._dataset import STATISTICS_ROWS, as_dense, float_dtype, is_streamed, sample_rows
from ._gate import GateDecision, PairedImprovement
from ._neighbors import Neighbors
from ._net import AutoencoderNet
from ._objective import Objective
from ._parameters import (
    check_same_width,
    check_unchanged,
    lasting_parameters,
    new_random_state,
)
from ._plan import TrainingPlan
from ._rows import Rows, check_distances
from ._split import MIN_HELD_OUT, DistinctRows
from ._start import Start
from ._taking_part import (
    all_filled,
    check_range_of,
    distinct_of,
    find_pca,
    used,
    usual,
)
from ._trained import RATIO_ROWS, TrainedNetwork
from ._training import Training, choose_margin

if TYPE_CHECKING:
    from ._partial_fit import KeptRows


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
        n_passes = 1 + self.objective.n_steps
        return n_passes * sum(p.numel() for p in self.net.module_.parameters())

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
            offset = fence(fit.unseen_scores(sample, weight), weight)
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
    rows, distinct, deciding = distinct_of(taking_part, pca)
    plan = _plan(params, rows, distinct)
    if earlier is None:
        if rows is not taking_part:  # of these rows and weights, in this order
            pca = find_pca(objective, rows, rng)
        seed = int(rng.randint(2**31 - 1))
        start = _start(objective, rows, pca, seed)
    elif plan.max_iter:
        seed, start = earlier.seed, earlier.start
    else:  # nothing is trained, but what parameters say of codes and scores holds
        found = {"objective": objective, "neighbors": None, **_counted(given)}
        return replace(earlier, **found).with_scores(given, rows)
    if rows.groups is not None and start.is_fallback and plan.max_iter:
        _warn_of_few_groups(rows, distinct)
    check_distances(rows, start.mean, start.scale, math.prod(objective.sample_shape))
    training = Training(objective, objective.plan_at(start, plan), start, seed, task)
    data = training.data(rows, distinct, deciding)
    net = _new_net(training, earlier)
    course = Course(training, given, rows, earlier)
    n_trainings = 1 if data.fold_of is None else 2
    task.begin(n_trainings * training.plan.max_iter)
    goes_on = earlier is not None
    decision = training.run(net, data, continued=goes_on, found=course.found)
    if decision.is_open and data.fold_of is None and len(data.valid):
        choose_margin(net, data)
    fitted = course.found(net, decision)
    if not goes_on and decision.is_open and objective.is_likelihood:
        return course.judged_by_copies(fitted, decision, distinct)
    return fitted


@dataclass(frozen=True)
class Course:
    """The training of a fit, and what it began with.

    `rows` are trained on, and are some of the `given` ones; `earlier` is the fit that
    goes on.
    """

    training: Training
    given: Rows
    rows: Rows
    earlier: Fit | None

    def found(self, net: AutoencoderNet, decision: GateDecision) -> Fit:
        """Return the fit of a net that held-out rows have decided about."""
        training = self.training
        start, is_open = training.start, decision.is_open
        best_iter = decision.best_iter if is_open else 0
        if is_open and self.earlier is not None:
            n_before = len(self.earlier.net.history)
            best_iter = n_before + best_iter if best_iter else self.earlier.best_iter
            best_iter = best_iter or n_before  # of epochs that had not been used
        fitted = Fit(
            objective=training.objective,
            start=start,
            net=net,
            model=training.model(net, is_open, decision.mean_loss, self.rows),
            best_iter=best_iter,
            validation_scores=[
                net.criterion_.score(loss, start) for loss in decision.curve
            ],
            seed=training.seed,
            lasting=lasting_parameters(training.objective.params),
            reason=decision.reason,
            **_counted(self.given),
        )
        return fitted.with_scores(self.given, self.rows)

    def judged_by_copies(
        self, fitted: Fit, decision: GateDecision, distinct: DistinctRows
    ) -> Fit:
        """Return a fit, or its start if rows that are there again are less likely."""
        less, net = _less_likely(fitted, self.rows, distinct), fitted.net
        if less <= 0:
            return fitted
        reason = (
            ": of the rows of fit, as often as they are there, the network has "
            f"{less:.3g} nats less per row"
        )
        if net.restore_start:
            net.module_.load_state_dict(self.training.new_net().module_.state_dict())
        closed = replace(decision, is_open=False, calibration={}, reason=reason)
        return self.found(net, closed)


def _counted(given: Rows) -> dict[str, Any]:
    return {"n_samples": given.X.shape[0], "dtype": float_dtype(given.X)}


def _taking_part(
    objective: Objective, given: Rows, rng: RandomState, earlier: Fit | None
) -> tuple[Rows, Start]:
    """Return the rows that take part, and PCA of them or an earlier start."""
    if earlier is not None:
        check_same_width(objective.params.n_components, earlier.start.n_codes)
        check_unchanged(earlier.lasting, lasting_parameters(objective.params))
        return usual(objective, given, earlier.start), earlier.start
    pca = find_pca(objective, given, rng)
    if contamination_of(objective):
        given = usual(objective, given, pca)
        pca = find_pca(objective, given, rng)
    return given, pca


def _start(objective: Objective, rows: Rows, pca: Start, seed: int) -> Start:
    """Return the closed form that a fit begins at."""
    X = rows.X if objective.handles_missing else all_filled(objective, rows)
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


def _plan(params: Any, rows: Rows, distinct: DistinctRows) -> TrainingPlan:
    return TrainingPlan.of(
        params,
        len(distinct.rows),
        None if rows.groups is None else distinct.n_units,
        has_valid=rows.X_val is not None,
        one_net=is_streamed(rows.X),
    )
