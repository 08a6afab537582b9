"""What starts, trained networks and machines compute, in ONNX.

As in ``_networks.py``, what is known is known of a method: a class that overrides one
is another model, of which nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._adversarial_module import AdversarialModule
from .._boltzmann import BoltzmannMachine
from .._cca import PairStart
from .._contrastive import TrainedPairs
from .._contrastive_module import ContrastiveModule, CopiesModule
from .._encoder_decoder import TrainedPrediction
from .._linear_views import ViewsStart
from .._masked import MaskedNetwork
from .._masked_module import FAR, N_NEIGHBORS, MaskedModule, MaskedStart
from .._missing import MissingCells
from .._module import BaseModule, LinearResidual
from .._reduced_rank import RankedRegression
from .._start import RANK_TOLERANCE, RandomStart, Start
from .._trained import TrainedNetwork
from .._variational import TrainedVariational
from .._variational_module import MAX_LOG_VARIANCE, BernoulliModule, VariationalModule
from ._graph import INT, Graph, Value, as_array
from ._networks import linear, residual, run

KNOWN: dict[Any, Callable[..., Any]] = {}
"""What translates a method: a function of the graph, the object and values."""


def of(method: Any) -> Callable[..., Any]:
    """Say that a function translates a method."""

    def known(function: Callable[..., Any]) -> Callable[..., Any]:
        KNOWN[method] = function
        return function

    return known


def call(g: Graph, thing: Any, method: str, *values: Any) -> Any:
    """Return what a method makes of values.

    Raises
    ------
    NotImplementedError
        If it is not known how.
    """
    translate = KNOWN.get(getattr(type(thing), method, None))
    if translate is None:
        raise NotImplementedError(
            f"{type(thing).__name__}.{method} cannot be exported: the class is none "
            "of skae's, or has a method of its own in place of one of skae's."
        )
    return translate(g, thing, *values)


def incomplete(
    g: Graph, known: Value, given: Value, function: Callable[..., Value], into: Value
) -> Value:
    """Return `into` with what a function makes of incomplete rows in their places.

    ``function(rows, known)`` gets those rows of `given`, of which there may be none.
    """
    has_gap = (~known).any(1)
    rows = g.add("NonZero", has_gap, dtype=INT).squeeze(0)
    found = function(given.take(rows, 0), known.take(rows, 0))
    return g.add("ScatterND", into, rows.unsqueeze(1), found.cast(into.dtype))


def centred(X: Value, mean: NDArray) -> Value:
    """Return rows less the mean, which float32 has no digits for alone."""
    if X.dtype == np.float64:
        return X - mean
    high = mean.astype(np.float32)
    x, low = X - high, mean - high
    return x - low if low.any() else x


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


# Trained networks


def module_of(model: TrainedNetwork, dtype: np.dtype) -> Any:
    """Return the module in a precision, as the model itself takes it."""
    return model._module_for(torch.float64 if dtype == np.float64 else torch.float32)


def in_order(x: Value, order: NDArray) -> Value:
    """Return columns in another order."""
    return x if (order == np.arange(len(order))).all() else x.take(list(order), 1)


def standardised(
    g: Graph, model: TrainedNetwork, X: Value, known: Value | None
) -> Value:
    """Return rows as the module takes them."""
    start = model.start
    x = centred(call(g, start, "filled", X, known), start.mean) / start.scale
    x.sizes = (len(start.mean),)
    return x


@of(TrainedNetwork.transform)
def _(g: Graph, model: TrainedNetwork, X: Value, known: Value | None) -> Value:
    x = standardised(g, model, X, known)
    u = call(g, module_of(model, X.dtype), "encode", x, known)
    return in_order(u, model.order) * model.code_scale


@of(TrainedNetwork.inverse_transform)
def _(g: Graph, model: TrainedNetwork, codes: Value) -> Value:
    u = in_order(codes / model.code_scale, np.argsort(model.order))
    u.sizes = (len(model.order),)
    x = call(g, module_of(model, codes.dtype), "decode", u)
    if model.is_constant.any():
        x = g.where(g.constant(model.is_constant), 0.0, x)
    return x * model.start.scale + model.start.mean


@of(TrainedNetwork.score_samples)
def _(g: Graph, model: TrainedNetwork, X: Value, known: Value | None) -> Value:
    n_dims = len(model.start.mean) - len(model.code_scale)
    if n_dims <= 0:
        return call(g, model.start, "score_samples", X, known)
    codes = call(g, model, "transform", X, known)
    residual = X - call(g, model, "inverse_transform", codes)
    variances, axes = np.linalg.eigh(model.codes.covariance)
    variances = np.maximum(variances, RANK_TOLERANCE * variances.max() or 1.0)
    independent = (codes - model.codes.mean) @ axes
    in_code = gaussian(independent.squared(), variances) + model.start.log_volume
    return in_code + residual_density(g, residual, known, model.noise_variance, n_dims)


@of(MaskedNetwork.score_samples)
def _(g: Graph, model: MaskedNetwork, X: Value, known: Value | None) -> Value:
    if model.start.is_fallback:
        return call(g, model.start, "score_samples", X, known)
    return KNOWN[TrainedNetwork.score_samples](g, model, X, known)


@of(TrainedVariational.score_samples)
def _(g: Graph, model: TrainedVariational, X: Value, known: Value | None) -> Value:
    x = standardised(g, model, X, known)
    (n_draws, k), d = model.noise.shape, len(model.start.mean)
    module = module_of(model, X.dtype)
    mean, log_variance = call(g, module, "posterior", x, known)
    std = g.add("Exp", 0.5 * log_variance)
    # One set of draws beside the other: (n, n_draws, k)
    z = mean.unsqueeze(1) + std.unsqueeze(1) * model.noise
    change = model.noise**2 + log_variance.unsqueeze(1) - z.squared()
    codes = z.reshape(-1, k)
    given = None if known is None else known.cast(X.dtype).unsqueeze(1)
    x = x.unsqueeze(1)
    likelihood = call(g, module, "log_likelihood", x, codes, given, (n_draws, d))
    weights = likelihood + 0.5 * change.sum(2)  # (n, n_draws)
    bound = g.add("ReduceLogSumExp", weights, [1], keepdims=0) - math.log(n_draws)
    n_known: Any = float(d) if known is None else known.cast(X.dtype).sum(1)
    return bound - n_known * model.log_scale


def view_of(
    g: Graph, model: Any, X: Value, known: Value | None, view: slice
) -> tuple[Value, Any]:
    """Return rows of a view as the module takes them, and the module."""
    start = model.views
    scale = start.scale[view] if np.ndim(start.scale) else start.scale
    x = centred(X, start.mean[view]) / scale
    x = x if known is None else g.where(known, x, 0.0)
    x.sizes = (len(start.mean[view]),)
    return x, module_of(model, X.dtype)


@of(TrainedPairs.x_codes)
def _(g: Graph, model: TrainedPairs, X: Value, known: Value | None) -> Value:
    x, module = view_of(g, model, X, known, model.views.x)
    return in_order(call(g, module, "encoded", x, known), model.order)


@of(TrainedPairs.y_codes)
def _(g: Graph, model: TrainedPairs, X: Value, known: Value | None) -> Value:
    x, module = view_of(g, model, X, known, model.views.y)
    return in_order(call(g, module, "decoded", x, known), model.order)


@of(TrainedPrediction.x_codes)
def _(g: Graph, model: TrainedPrediction, X: Value, known: Value | None) -> Value:
    x, module = view_of(g, model, X, known, model.views.x)
    return call(g, module, "encode", x, known) * model.code_scale


@of(TrainedPrediction.predictions)
def _(g: Graph, model: TrainedPrediction, X: Value, known: Value | None) -> Value:
    x, module = view_of(g, model, X, known, model.views.x)
    z = call(g, module, "encode", x, known)
    z.sizes = (len(model.code_scale),)
    rows, y = call(g, module, "decode", z), model.views.y
    if model.is_constant.any():
        rows = g.where(g.constant(model.is_constant), 0.0, rows)
    return rows * np.asarray(model.views.scale)[y] + model.views.mean[y]


# Modules, of standardised rows


@of(BaseModule.encode)
def _(g: Graph, module: BaseModule, x: Value, known: Value | None) -> Value:
    return call(g, module, "encoded", x, known)


@of(BaseModule.encoded)
def _(g: Graph, module: BaseModule, x: Value, known: Value | None) -> Value:
    return run(g, module.encoder, x, known)


@of(BaseModule.decode)
def _(g: Graph, module: BaseModule, z: Value) -> Value:
    return run(g, module.decoder, z)


@of(ContrastiveModule.decoded)
def _(g: Graph, module: ContrastiveModule, x: Value, known: Value | None) -> Value:
    return run(g, module.decoder, x, known)


@of(CopiesModule.decoded)
def _(g: Graph, module: CopiesModule, x: Value, known: Value | None) -> Value:
    return call(g, module, "encoded", x, known)


@of(AdversarialModule.encode)
def _(g: Graph, module: AdversarialModule, x: Value, known: Value | None) -> Value:
    return (call(g, module, "encoded", x, known) - module.code_mean) @ module.to_code


@of(AdversarialModule.decode)
def _(g: Graph, module: AdversarialModule, z: Value) -> Value:
    codes = z @ module.from_code + module.code_mean
    codes.sizes = z.sizes
    return run(g, module.decoder, codes)


@of(VariationalModule.encode)
def _(g: Graph, module: VariationalModule, x: Value, known: Value | None) -> Value:
    return call(g, module, "posterior", x, known)[0]


@of(VariationalModule.posterior)
def _(
    g: Graph, module: VariationalModule, x: Value, known: Value | None
) -> tuple[Value, Value]:
    encoded = call(g, module, "encoded", x, known)
    how: dict[str, Any] = {"axis": 1, "num_outputs": 2}
    mean, log_variance = g.add_all("Split", encoded, n_outputs=2, **how)
    if known is not None and isinstance(module.decoder, LinearResidual):
        squares = as_array(module.decoder.weight) ** 2  # (d, k)
        noise = math.exp(module.log_variance_at_start.item())
        precision = known.cast(x.dtype) @ squares + noise
        log_variance = log_variance + g.add(
            "Log", g.constant(squares.sum(0) + noise, x.dtype) / precision
        )
    return mean, g.add("Min", log_variance, MAX_LOG_VARIANCE)


@of(VariationalModule.log_likelihood)
def _(
    g: Graph,
    module: VariationalModule,
    x: Value,
    codes: Value,
    known: Value | None,
    shape: tuple[int, int],
) -> Value:
    codes.sizes = codes.sizes[-1:]
    difference = run(g, module.decoder, codes).reshape(-1, *shape) - x
    n: Any = float(shape[1])
    if known is not None:
        difference, n = difference * known, known.sum(2)
    log_variance = module.log_variance.item()
    squares = difference.squared().sum(2) * math.exp(-log_variance)
    return -0.5 * (squares + n * (math.log(2 * math.pi) + log_variance))


@of(BernoulliModule.logits)
def _(g: Graph, module: BernoulliModule, z: Value) -> Value:
    p = module.column_mean.clamp(0.01, 0.99)
    return run(g, module.decoder, z) + p.logit()


@of(BernoulliModule.decode)
def _(g: Graph, module: BernoulliModule, z: Value) -> Value:
    p = g.add("Sigmoid", call(g, module, "logits", z))
    return (p - module.column_mean) / module.scale


@of(BernoulliModule.log_likelihood)
def _(
    g: Graph,
    module: BernoulliModule,
    x: Value,
    codes: Value,
    known: Value | None,
    shape: tuple[int, int],
) -> Value:
    codes.sizes = codes.sizes[-1:]
    logits = call(g, module, "logits", codes).reshape(-1, *shape)
    values = x * module.scale + module.column_mean
    values = g.add("Clip", values, 0.0, 1.0)
    terms = g.add("Softplus", logits) - values * logits
    return -(terms if known is None else terms * known).sum(2)


@of(MaskedModule.encode)
def _(g: Graph, module: Any, x: Value, known: Value | None) -> Value:
    encoder, d = module.encoder, x.sizes[0]
    none = x * 0.0
    missing, beyond = none, g.concat([none, none], 1)
    if known is not None:
        missing = (~known).cast(x.dtype)
        if len(module.memory):

            def near(rows: Value, known: Value) -> Value:
                return _beyond_neighbors(g, module, rows, known)

            beyond = incomplete(g, known, x, near, into=beyond)
        beyond = beyond * g.concat([missing, missing], 1)
    inputs = g.concat([x, missing, beyond], 1)
    inputs.sizes = (4 * d,)
    if not isinstance(encoder, LinearResidual):
        return run(g, encoder, inputs)
    x = x + beyond.part(0, d, 1) * module.neighbor_gain
    if encoder.network is None:
        return linear(x, encoder.weight, encoder.bias)
    if module.is_whole:
        corrected = x + missing * residual(g, encoder, inputs)
        return linear(corrected, encoder.weight, encoder.bias)
    path = linear(x, encoder.weight, encoder.bias)
    return path + residual(g, encoder, inputs)


def _beyond_neighbors(g: Graph, module: Any, x: Value, known: Value) -> Value:
    """Return what two averages of neighbours say beyond rows, (n, 2 * n_features)."""
    rows, o = module.memory, known.cast(x.dtype)
    k, d = min(N_NEIGHBORS, len(rows)), rows.shape[1]
    of_rows = module.memory_known
    squares = o @ rows.square().T - (o * x * 2.0) @ rows.T
    if not module.may_see.all():
        squares = squares + torch.where(module.may_see, 0.0, FAR)
    squares = squares + (o * x.squared()).sum(1, keepdims=True)
    how: dict[str, Any] = {"n_outputs": 2, "axis": 1, "largest": 0, "sorted": 1}
    squares, which = g.add_all("TopK", squares, [k], **how)
    which.dtype = INT
    squares = g.add("Max", squares, 0.0)
    mean = g.add("ReduceMean", squares, [1], keepdims=1)
    squares = squares / g.add("Max", mean, float(np.finfo(np.float32).tiny))
    values = g.constant(rows * of_rows, x.dtype).take(which, 0)  # (n, k, d)
    there = g.constant(of_rows, x.dtype).take(which, 0)
    sharpness = module.sharpness.detach()[:, None]
    weight = (-(squares.unsqueeze(1) * sharpness)).softmax()  # (n, 2, k)
    total = g.add("Max", weight @ there, 1e-6)
    beyond = (weight @ values) / total - x.unsqueeze(1)
    says = g.add("Greater", there.sum(1, keepdims=True), 0.0, dtype=bool)
    return g.add("Reshape", beyond * says.cast(x.dtype), [0, 2 * d])


# Machines


@of(BoltzmannMachine.hidden_mean)
def _(g: Graph, machine: BoltzmannMachine, V: Value) -> Value:
    mean = _hidden_input(machine, V) + machine.hidden_bias
    return mean if machine.hidden == "gaussian" else g.add("Sigmoid", mean)


@of(BoltzmannMachine.visible_mean)
def _(g: Graph, machine: BoltzmannMachine, H: Value) -> Value:
    mean = H @ machine.weight.T + machine.visible_bias
    return mean if machine.visible == "gaussian" else g.add("Sigmoid", mean)


@of(BoltzmannMachine.free_energy)
def _(g: Graph, machine: BoltzmannMachine, V: Value) -> Value:
    a, c = _hidden_input(machine, V), machine.hidden_bias
    if machine.visible == "gaussian":
        squares = (V - machine.visible_bias).squared()
        energy = squares.sum(1) / (2 * machine.noise)
    else:
        energy = -(V * machine.visible_bias).sum(1)
    if machine.hidden == "gaussian":
        constant = 0.5 * len(c) * math.log(2 * math.pi)
        return energy - 0.5 * a.squared().sum(1) - (a * c).sum(1) - constant
    return energy - g.add("Softplus", a + c).sum(1)


def _hidden_input(machine: BoltzmannMachine, V: Value) -> Value:
    if machine.visible == "bernoulli":
        return V @ machine.weight
    return centred(V, machine.visible_bias) @ (machine.weight / machine.noise)
