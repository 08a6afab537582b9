"""Fitting: from checked rows to a start, a trained net and a decision.

find the start -> hold rows out -> train -> judge -> the start or the network
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.decomposition import IncrementalPCA

from ._dataset import TrainingData, as_tensor, is_streamed
from ._gate import PairedImprovement
from ._missing import mean_filled
from ._net import AutoencoderNet
from ._objective import Objective
from ._parameters import (
    check_reached,
    check_same_width,
    check_unchanged,
    lasting_parameters,
    new_random_state,
)
from ._plan import SMALL_TABLE, TrainingPlan
from ._rows import check_range
from ._samples import takes_padding
from ._solvers import follow, incremental_start, linear_start, new_incremental_pca
from ._split import distinct_rows, row_hashes
from ._start import Start
from ._trained import TrainedNetwork
from ._training import Training


@dataclass(frozen=True)
class Table:
    """Checked rows to fit on.

    Attributes
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
    groups : ndarray of int of shape (n_samples,) or None
        Numbers from 0 on of what is held out together.
    X_val : array or CSR matrix of shape (n_val, n_features) or None
        Rows that decide.
    names : ndarray of str or None
        Those of the columns, for messages.
    """

    X: Any
    weight: NDArray | None = None
    groups: NDArray | None = None
    X_val: Any = None
    names: NDArray | None = None


@dataclass(frozen=True)
class Fit:
    """All that fitting finds out, and that a fitted estimator works with.

    Attributes
    ----------
    objective : Objective
        With the parameters as they were.
    start : Start
    net : AutoencoderNet
    model : Start or TrainedNetwork
        What is used.
    best_iter : int
        Epoch whose weights are used; 0 is the start.
    scores : list of float
        Of the held-out rows, for each epoch.
    seed : int
    n_samples : int
    lasting : dict
        Parameters that training cannot go on without.
    solver : IncrementalPCA or None
        What follows the batches of `partial_fit`.
    improvement : PairedImprovement
        What these have shown so far.
    reason : str
        Why the model is used; ends a sentence.
    """

    objective: Objective
    start: Start
    net: AutoencoderNet
    model: Start | TrainedNetwork
    best_iter: int
    scores: list[float]
    seed: int
    n_samples: int
    lasting: dict[str, str]
    solver: IncrementalPCA | None = None
    improvement: PairedImprovement = field(default_factory=PairedImprovement)
    reason: str = ""

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if getattr(self.model, "module", None) is self.net.module_:
            state["model"] = copy.copy(self.model)
            state["model"].module = None  # the net stores it, for any device
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.model, TrainedNetwork) and self.model.module is None:
            self.model.module = self.net.module_


# fit


def fit(objective: Objective, table: Table, earlier: Fit | None = None) -> Fit:
    """Fit an objective to a table; `earlier` is a fit to go on from."""
    params, X, weight = objective.params, table.X, table.weight
    rng = new_random_state(params.random_state)
    solver_seed = rng if params.random_state is None else params.random_state
    if earlier is None:
        pca = _find_pca(params, X, weight, solver_seed)
    else:
        check_same_width(params.n_components, earlier.start.n_codes)
        check_unchanged(earlier.lasting, lasting_parameters(params))
        pca = earlier.start
    hashes = row_hashes(X, pca.mean, pca.scale)
    distinct = distinct_rows(hashes, weight, table.groups)
    if X.shape[0] < SMALL_TABLE and distinct.weight is not None and not is_streamed(X):
        X, weight = _dense(X[distinct.rows]), distinct.weight
        distinct = replace(distinct, rows=np.arange(len(X)))
        if earlier is None:  # as of a table with these rows and weights
            pca = _find_pca(params, X, weight, solver_seed)
    plan = TrainingPlan.of(
        params,
        len(distinct.rows),
        None if table.groups is None else distinct.n_units,
        has_valid=table.X_val is not None,
        one_net=is_streamed(X),
    )
    check_range(X, objective.loss(plan).value_range, table.names)
    if earlier is None:
        seed = int(rng.randint(2**31 - 1))
        start = objective.start(pca, _mean_filled(params, X, weight), weight, seed)
        check_reached(params.n_components, start)
    elif not plan.max_iter:
        return earlier
    else:
        seed, start = earlier.seed, earlier.start
    training = Training(objective, plan.at(start), start, seed)
    net = training.new_net(restore_start=not params.warm_start)
    if earlier is not None:
        net = objective.continued(earlier.net, training.plan)
        net.restore_start = earlier.best_iter > 0 or not start.is_fallback
    n_before = len(net.history)
    data = training.data(X, distinct, weight)
    if table.X_val is not None:
        data = training.judged_by(data, table.X_val, hashes)
    decision = training.run(net, data, continued=earlier is not None)
    best_iter = decision.best_iter if decision.is_open else 0
    if decision.is_open and earlier is not None:
        best_iter = n_before + best_iter if best_iter else earlier.best_iter
    criterion = net.criterion_
    return Fit(
        objective=objective,
        start=start,
        net=net,
        model=training.model(net, decision.is_open, decision.mean_loss, X, weight),
        best_iter=best_iter,
        scores=[criterion.score(loss, start) for loss in decision.curve],
        seed=seed,
        n_samples=table.X.shape[0],
        lasting=lasting_parameters(params),
        reason=decision.reason,
    )


def _find_pca(params: Any, X: Any, weight: NDArray | None, solver_seed: Any) -> Start:
    k = params.n_components
    most = min(X.shape)
    k = most if isinstance(k, Integral) and k > most else k
    return linear_start(_mean_filled(params, X, weight), k, weight, solver_seed)


def _mean_filled(params: Any, X: Any, weight: NDArray | None) -> Any:
    return mean_filled(X, weight) if takes_padding(params.architecture) else X


def _dense(X: Any) -> NDArray:
    return X.toarray() if sp.issparse(X) else X


# partial_fit


def partial_fit(objective: Objective, table: Table, earlier: Fit | None = None) -> Fit:
    """Follow PCA, test the network on the batch, then train it there."""
    params, X, weight = objective.params, _dense(table.X), table.weight
    plan = TrainingPlan.of(params, max(X.shape[0], SMALL_TABLE), one_net=True)
    check_range(X, objective.loss(plan).value_range, table.names)
    if earlier is None:
        seed = int(new_random_state(params.random_state).randint(2**31 - 1))
        solver = new_incremental_pca(params.n_components, X.shape)
    else:
        check_unchanged(earlier.lasting, lasting_parameters(params))
        seed, solver, start = earlier.seed, earlier.solver, earlier.start
    if solver is not None:  # else `fit` has found the start
        filled = X
        if takes_padding(params.architecture):
            filled = mean_filled(X, weight, 0.0 if earlier is None else start.mean)
        solver = follow(solver, filled)
        pca = incremental_start(solver, start if earlier else None)
        start = objective.start(pca, filled, weight, seed)
        check_reached(params.n_components, start)
    training = Training(objective, plan.at(start), start, seed)
    net = before = training.new_net(learning_rate="constant", restore_start=False)
    improvement = PairedImprovement()
    scores: list[float] = []
    if earlier is not None:
        net = objective.continued(earlier.net, training.plan)
        net.restore_start = False
        start.apply(net.module_)
    dataset, w = training.dataset(X), as_tensor(weight)
    rows = torch.arange(len(X), device=dataset.device)
    if earlier is not None:
        batch = TrainingData(dataset, rows, rows, w)
        losses = before.held_out_losses(batch), net.held_out_losses(batch)
        improvement = PairedImprovement.of(*losses, w)
        score = net.criterion_.score(improvement.mean_loss, start)
        scores = [*earlier.scores, score]
        improvement = earlier.improvement.followed_by(improvement)
    if plan.max_iter:
        net.partial_fit(TrainingData(dataset, rows, rows[:0], w), epochs=1)
    is_open = improvement.exceeds(training.threshold(math.inf, in_folds=False))
    is_open = is_open or not start.is_fallback
    loss = improvement.mean_loss if improvement.n_rows else None
    return Fit(
        objective=objective,
        start=start,
        net=net,
        model=training.model(net, is_open, loss, X, weight, earlier and earlier.model),
        best_iter=len(net.history) if is_open else 0,
        scores=scores,
        seed=seed,
        n_samples=len(X) + (earlier.n_samples if earlier else 0),
        lasting=lasting_parameters(params),
        solver=solver,
        improvement=improvement,
    )
