"""What trained networks and machines compute, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._boltzmann import BoltzmannMachine
from .._contrastive_objective import TrainedPairs
from .._encoder_decoder import TrainedPrediction
from .._masked import MaskedNetwork
from .._start import RANK_TOLERANCE
from .._trained import TrainedNetwork
from .._variational import TrainedVariational
from ._graph import Graph, Value
from ._known import KNOWN, call, centred, of
from ._networks import beyond
from ._starts import gaussian, residual_density

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
    if model.in_double:
        x = x.cast(np.float64)
    u = call(g, model, "encoded", module_of(model, x.dtype), x, known).cast(X.dtype)
    return in_order(u, model.order) * model.code_scale


@of(TrainedNetwork.encoded)
def _(
    g: Graph, model: TrainedNetwork, module: Any, x: Value, known: Value | None
) -> Value:
    del model
    u: Value = call(g, module, "encode", x, known)
    return u


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
    rows = x.unsqueeze(1)
    likelihood = call(g, module, "log_likelihood", rows, codes, given, (n_draws, d))
    weights = likelihood + 0.5 * change.sum(2)  # (n, n_draws)
    bound = g.add("ReduceLogSumExp", weights, [1], keepdims=0) - math.log(n_draws)
    n_known: Any = float(d) if known is None else known.cast(X.dtype).sum(1)
    bound = bound - n_known * model.log_scale
    share = model.share_beyond
    if not share:
        return bound
    by_start = call(g, model.start, "score_samples", X, known) + math.log(share)
    bound = bound + math.log1p(-share)
    both = g.concat([bound.unsqueeze(1), by_start.unsqueeze(1)], 1)
    either = g.add("ReduceLogSumExp", both, [1], keepdims=0)
    return g.where(beyond(g, module.encoder, x), either, bound)


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
