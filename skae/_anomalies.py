"""Which rows are anomalies: a share of them, or those below a fence of the scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._objective import Objective
from ._start import Start

# Quartile distances below the lower quartile, from where on a score is an anomaly's
# unless a share of the rows is (Tukey's fence).
FENCE = 1.5
# Standard deviations below the usual from where on a squared error is a small one.
SMALL_ERROR = 2


def contamination_of(objective: Objective) -> float:
    """Return the share of the rows that takes no part."""
    return float(getattr(objective.params, "contamination", 0.0))


def fence(scores: NDArray, weight: NDArray | None) -> float:
    """Return the score that is an outlier's from there on down."""
    low, high = (lowest(scores, weight, share) for share in (0.25, 0.75))
    return low - FENCE * (high - low)


def worst_part(start: Start, X: NDArray) -> NDArray:
    """Return how unusual a row's codes are or, if more, what they leave over; (n,).

    These are Hotelling's T2 and the squared prediction error, by which PCA monitors a
    process (Jackson & Mudholkar 1979), as standard normal scores (Wilson & Hilferty
    1931). In a likelihood one makes up for the other, so that a tight group, whose
    codes are far away along an axis of its own, is likely: it leaves nothing over.
    Here codes are the further away, the less they leave over than rows do.
    """
    variance, noise = start.sound_variances
    X = X.astype(np.float64, copy=False)
    codes = start.transform(X)
    left_over = X - start.mean - codes @ start.components
    n_dims = np.maximum(np.sum(~np.isnan(X), axis=1) - start.n_components, 0)
    with np.errstate(over="ignore"):
        t2 = (codes**2 / variance).sum(1)
        error = np.nansum(left_over**2, axis=1) / noise
    of_codes = as_normal(t2, np.array(start.n_components))
    of_error = as_normal(error, n_dims)
    short = np.where(n_dims > 0, np.minimum(of_error + SMALL_ERROR, 0), 0)
    of_codes = np.where(of_codes > 0, np.hypot(of_codes, short), of_codes)
    return np.maximum(of_codes, of_error)


def as_normal(chi2: NDArray, n_dims: NDArray) -> NDArray:
    """Return the standard normal numbers that are as rare as chi-squared ones."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = 2 / (9 * n_dims)
        scores = (np.cbrt(chi2 / n_dims) - (1 - variance)) / np.sqrt(variance)
    return np.where(n_dims > 0, scores, -np.inf)


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
