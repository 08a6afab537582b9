"""What modules compute of standardised rows, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .._adversarial_module import AdversarialModule
from .._contrastive_module import ContrastiveModule, CopiesModule
from .._masked_module import FAR, N_NEIGHBORS, MaskedModule
from .._module import BaseModule, LinearResidual
from .._variational_module import MAX_LOG_VARIANCE, BernoulliModule, VariationalModule
from ._graph import INT, Graph, Value, as_array
from ._known import call, incomplete, of
from ._networks import linear, residual, run


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
