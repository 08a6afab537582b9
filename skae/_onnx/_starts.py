"""What starts compute, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._cca import PairStart
from .._linear_views import ViewsStart
from .._masked_start import MaskedStart
from .._missing import MissingCells
from .._reduced_rank import RankedRegression
from .._start import RandomStart, Start
from ._graph import Graph, Value
from ._known import KNOWN, call, centred, incomplete, of

# What is missing


@of(Start.filled)
def _(g: Graph, start: Any, X: Value, known: Value | None) -> Value:
    if known is None:
        return X
    cells = start.missing_cells

    def expected(rows: Value, known: Value) -> Value:
        x = g.where(known, rows.cast(np.float64) - start.mean, 0.0)
        codes = solved(g, cells, x, known)[0]
        expected = codes @ cells.loadings.T + start.mean
        return g.where(known, rows, expected.cast(rows.dtype))

    return incomplete(g, known, X, expected, into=X)


@of(RandomStart.filled)
@of(ViewsStart.filled)
def _(g: Graph, start: Any, X: Value, known: Value | None) -> Value:
    return X if known is None else g.where(known, X, start.mean)


def solved(
    g: Graph, cells: MissingCells, x: Value, known: Value
) -> tuple[Value, Value, Value]:
    """Return M^-1 p, and p, both (n, k), and log det M, (n,); see ``_missing.py``.

    ONNX has no way to solve equations. M is positive definite, with eigenvalues of at
    least 1: Gauss-Jordan elimination needs no pivots. `x` are centred rows, with 0
    where nothing is known.
    """
    k = cells.loadings.shape[1]
    products = x @ cells._weighted
    o = known.cast(np.float64).unsqueeze(1)  # (n, 1, d)
    precision = (o * cells._scaled.T) @ cells._scaled + np.eye(k)
    augmented = g.concat([precision, products.unsqueeze(2)], 2)  # (n, k, k + 1)

    def eliminate(body: Graph, i: Value, matrix: Value, log_det: Value) -> list[Value]:
        at = i.unsqueeze(0)
        row, column = matrix.take(at, 1), matrix.take(at, 2)  # (n, 1, k+1), (n, k, 1)
        pivot = row.take(at, 2)
        is_own = body.add("Equal", body.constant(np.arange(k)), at, dtype=bool)
        rest = column - is_own.cast(np.float64).unsqueeze(1)
        log = body.add("Log", pivot).squeeze(1, 2)
        return [matrix - rest * (row / pivot), log_det + log]

    zero = products.sum(1) * 0.0
    augmented, log_det = g.loop(k, [augmented, zero], eliminate)
    return augmented.part(k, k + 1, 2).squeeze(2), products, log_det


@of(MissingCells.score_samples)
def _(g: Graph, cells: MissingCells, x: Value, known: Value) -> Value:
    codes, products, log_det = solved(g, cells, x, known)
    noise = cells.noise[:, None]
    constant = known.cast(np.float64) @ np.log(2 * np.pi * noise)
    squares = x.squared() @ (1 / noise)
    return -0.5 * (
        (constant + squares).squeeze(1) - (codes * products).sum(1) + log_det
    )


# Densities


def gaussian(squares: Value, variance: NDArray) -> Value:
    """Log-density of independent centred normals, given squares of shape (n, k)."""
    constant = float(np.log(2 * np.pi * variance).sum())
    return -0.5 * ((squares * (1 / variance)).sum(1) + constant)


def residual_density(
    g: Graph, residual: Value, known: Value | None, variance: float, n_dims: int
) -> Value:
    """Log-density of residuals spread over so many dimensions, shape (n,)."""
    log, n = math.log(2 * np.pi * variance), float(n_dims)
    if known is None:
        return -0.5 * (residual.squared().sum(1) / variance + n * log)
    missing = (~known).cast(residual.dtype).sum(1)
    dims = g.add("Max", n - missing, 0.0)
    is_left = g.add("Greater", dims, 0.0, dtype=bool)
    squares = g.where(known, residual, 0.0).squared().sum(1)
    squares = g.where(is_left, squares, 0.0)
    return -0.5 * (squares / variance + dims * log)


# Starts


@of(Start.transform)
def _(g: Graph, start: Start, X: Value, known: Value | None) -> Value:
    filled = call(g, start, "filled", X, known)
    return centred(filled, start.mean) @ start.components.T


@of(Start.inverse_transform)
def _(g: Graph, start: Start, codes: Value) -> Value:
    return codes @ start.decoding.T + start.mean


@of(Start.score_samples)
def _(g: Graph, start: Start, X: Value, known: Value | None) -> Value:
    filled = call(g, start, "filled", X, known)
    scores = call(g, start, "_score_whole", filled)
    if known is None:
        return scores

    def marginal(rows: Value, known: Value) -> Value:
        x = g.where(known, rows - start.mean, 0.0)
        return call(g, start.missing_cells, "score_samples", x, known)

    return incomplete(g, known, X, marginal, into=scores)


@of(Start._score_whole)
def _(g: Graph, start: Start, X: Value) -> Value:
    variance, noise = start.sound_variances
    x = X - start.mean
    codes = x @ start.components.T
    n_dims = len(start.mean) - start.n_components
    density = gaussian(codes.squared(), variance)
    if not n_dims:
        return density
    left = x - codes @ start.components
    return density + residual_density(g, left, None, noise, n_dims)


@of(MaskedStart._score_whole)
def _(g: Graph, start: MaskedStart, X: Value) -> Value:
    if not start.is_whole:
        return KNOWN[Start._score_whole](g, start, X)
    variances, axes = np.linalg.eigh(covariance_of(start.missing_cells))
    return gaussian(((X - start.mean) @ axes).squared(), variances)


def covariance_of(cells: MissingCells) -> NDArray:
    """Return the covariance of complete rows, shape (d, d)."""
    return cells.loadings @ cells.loadings.T + np.diag(cells.noise)


@of(PairStart.x_codes)
def _(g: Graph, start: PairStart, X: Value, known: Value | None) -> Value:
    return _view_codes(g, start, X, known, start.x, start.components[:, start.x])


@of(PairStart.y_codes)
def _(g: Graph, start: PairStart, X: Value, known: Value | None) -> Value:
    return _view_codes(g, start, X, known, start.y, start.components[:, start.y])


@of(RankedRegression.x_codes)
def _(g: Graph, start: RankedRegression, X: Value, known: Value | None) -> Value:
    return _view_codes(g, start, X, known, start.x, start.rotations)


@of(RankedRegression.predictions)
def _(g: Graph, start: RankedRegression, X: Value, known: Value | None) -> Value:
    codes = call(g, start, "x_codes", X, known)
    return codes @ start.components + start.mean[start.y]


def _view_codes(
    g: Graph, start: Any, X: Value, known: Value | None, view: slice, axes: NDArray
) -> Value:
    x = centred(X, start.mean[view])
    return (x if known is None else g.where(known, x, 0.0)) @ axes.T
