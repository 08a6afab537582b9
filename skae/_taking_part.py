"""The rows that take part in a fit, and PCA of them.

They have a weight, are not left out as anomalies, and are there once each, with what
their copies weigh together, if they are few.
"""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import NDArray

from ._anomalies import contamination_of, lowest, worst_part
from ._dataset import (
    STATISTICS_ROWS,
    as_dense,
    is_streamed,
    memory_map,
    missing_share,
    row_chunks,
    sample_rows,
)
from ._missing import mean_filled
from ._objective import Objective
from ._parameters import naming
from ._plan import SMALL_TABLE, TrainingPlan
from ._rows import Rows, check_range
from ._solvers import SOLVER_PARAMETERS
from ._split import DistinctRows, distinct_rows, fresh_rows, row_hashes
from ._start import Start
from ._step import threads_for
from ._weights import used_rows


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
        X = all_filled(objective, rows)
        weight = rows.weight if X.shape[0] == rows.X.shape[0] else None
        return objective.pca(X, k, weight, seed, **solver)


def all_filled(objective: Objective, rows: Rows) -> Any:
    """Return rows with means in place of what is missing; of a large table, some."""
    may_miss = objective.handles_missing and not sp.issparse(rows.X)
    if not may_miss and not objective.takes_padding:
        return rows.X
    if is_streamed(rows.X):  # of which a sample has to do
        if not missing_share(rows.X).any():
            return rows.X
        rng = np.random.default_rng(0)
        return mean_filled(*sample_rows(rows.X, rows.weight, STATISTICS_ROWS, rng))
    return mean_filled(rows.X, rows.weight)


def usual(objective: Objective, rows: Rows, start: Start) -> Rows:
    """Return the rows without the share that is the most unusual for a start."""
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
        scores[part] = -worst_part(start, as_dense(rows.X[part]))
    keep = scores >= lowest(scores, rows.weight, contamination)
    return replace(
        rows,
        X=rows.X[keep],
        weight=None if rows.weight is None else rows.weight[keep],
        groups=None if rows.groups is None else rows.groups[keep],
    )


def distinct_of(rows: Rows, pca: Start) -> tuple[Rows, DistinctRows, NDArray | None]:
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
