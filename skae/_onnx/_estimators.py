"""What fitted estimators compute, in the units and shapes of their users, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import torch

from .._adversarial import AdversarialAutoencoder
from .._base import BaseAutoencoder
from .._contrastive import ContrastiveAutoencoder
from .._density_ratio import log_ratio
from .._encoder_decoder import EncoderDecoder
from .._masked import MaskedAutoencoder
from .._prior import Clustered
from .._rbm import RBM
from .._samples import takes_padding
from .._variational import VAE
from .._views import TwoViewEstimator
from . import (  # noqa: F401  make theirs known
    _convolutions,
    _models,
    _modules,
    _projection,
    _sequences,
    _starts,
)
from ._graph import INT, Graph, Value
from ._known import KNOWN, call, of

METHODS = (
    "transform",
    "inverse_transform",
    "reconstruct",
    "score_samples",
    "predict",
    "transform_y",
)


def methods_of(estimator: Any) -> list[str]:
    """Return the methods that can be exported."""
    found = [m for m in METHODS if getattr(type(estimator), m, None) in KNOWN]
    if {"transform", "inverse_transform"} <= set(found):
        found.insert(2, "reconstruct")
    return found


def compute(g: Graph, estimator: Any, method: str, X: Value) -> Value:
    """Return what a method of an estimator makes of what a user gives.

    Raises
    ------
    NotImplementedError
        If it cannot be exported.
    """
    if method == "reconstruct":
        codes = compute(g, estimator, "transform", X)
        return compute(g, estimator, "inverse_transform", codes)
    return call(g, estimator, method, X)


def sizes_in(estimator: Any, method: str) -> tuple[int, ...]:
    """Return the shape of what is given for one row."""
    if method == "inverse_transform":
        return (n_codes(estimator),)
    if method == "transform_y" and estimator._view is not None:
        return tuple(estimator._view.sample_shape_)
    return tuple(getattr(estimator, "sample_shape_", (estimator.n_features_in_,)))


def sizes_out(estimator: Any, method: str) -> tuple[int, ...]:
    """Return the shape of what is returned for one row."""
    if method in ("transform", "transform_y"):
        return (n_codes(estimator),)
    if method == "score_samples":
        return ()
    if method == "predict":
        view = getattr(estimator, "_view", None)
        if view is None:
            return ()
        return () if view.is_column else tuple(view.sample_shape_)
    return sizes_in(estimator, "transform")


def n_codes(estimator: Any) -> int:
    """Return the number of codes, or of hidden units."""
    return estimator._n_features_out


def model_of(
    estimator: Any,
    method: str,
    dtype: np.dtype,
    opset: int,
    before: tuple[onnx.ModelProto, int] | None,
) -> onnx.ModelProto:
    """Return the model of a method, after that of earlier steps of so many columns."""
    g = Graph(opset)
    X, sizes = g.value("X", dtype), sizes_in(estimator, method)
    rows = X
    if before is not None:
        steps, width = before
        rows, sizes = g.embed(steps, X, dtype), (width,)
    result = compute(g, estimator, method, rows)
    outputs = {method: (result, sizes_out(estimator, method))}
    return g.model({"X": (dtype, sizes)}, outputs)


# Rows


def flat(estimator: Any, X: Value) -> Value:
    """Return samples as rows."""
    shape = tuple(estimator.sample_shape_)
    return X.reshape(-1, math.prod(shape)) if len(shape) > 1 else X


def rows_of(g: Graph, estimator: Any, X: Value) -> tuple[Value, Value | None]:
    """Return samples as rows, and what is known of them, or None if all is."""
    d, X = math.prod(estimator.sample_shape_), flat(estimator, X)
    params, objective = estimator._fit.objective.params, estimator._objective_class
    padded, missing = takes_padding(params.architecture), objective.handles_missing
    marker = getattr(params, "missing_values", math.nan)
    if not math.isnan(marker):
        is_marked = g.add("Equal", X, float(marker), dtype=bool)
        X = g.where(is_marked, math.nan, X)
    if padded and not missing:
        n_seen = math.prod(estimator._row_shape)
        X = X.part(0, n_seen, 1) if n_seen < d else X
    if not (padded or missing):
        return X, None
    return X, ~g.add("IsNaN", X, dtype=bool)


def samples_of(g: Graph, estimator: Any, rows: Value) -> Value:
    """Return rows in the shape of samples, with NaN for steps that no series had."""
    shape = tuple(estimator.sample_shape_)
    missing = math.prod(shape) - math.prod(estimator._row_shape)
    if missing:
        never = g.add("Expand", rows.part(0, 1, 1) * 0.0 + math.nan, [1, missing])
        rows = g.concat([rows, never], 1)
    return rows.reshape(-1, *shape) if len(shape) > 1 else rows


# Autoencoders


@of(BaseAutoencoder.transform)
@of(VAE.transform)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    fit, dtype = estimator._fit, X.dtype
    if fit.objective.handles_missing:  # of float32 other neighbours may be the nearest
        X = X.cast(np.float64)
    codes = call(g, fit.model, "transform", *rows_of(g, estimator, X))
    if fit.objective.params.whiten:
        codes = codes / fit.deviation(np.dtype(np.float64))
    return codes.cast(dtype)


@of(BaseAutoencoder.inverse_transform)
def _(g: Graph, estimator: Any, codes: Value) -> Value:
    fit = estimator._fit
    if fit.objective.params.whiten:
        codes = codes * fit.deviation(np.dtype(np.float64))
    rows = call(g, fit.model, "inverse_transform", codes)
    return samples_of(g, estimator, rows)


@of(BaseAutoencoder.score_samples)
@of(MaskedAutoencoder.score_samples)
@of(VAE.score_samples)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    fit = estimator._fit
    if fit.neighbors is not None:
        raise NotImplementedError(
            f"score_samples with n_neighbors={fit.neighbors.n_neighbors} cannot be "
            "exported: it is a search among the training rows. Export transform, "
            "inverse_transform or reconstruct, or fit with n_neighbors=None, for the "
            "likelihood."
        )
    # Squares and variances of float32 would say little of rows that come back well.
    rows = rows_of(g, estimator, X.cast(np.float64))
    return call(g, fit.model, "score_samples", *rows)


@of(BaseAutoencoder.predict)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    scores = call(g, estimator, "score_samples", X)
    offset = float(estimator.offset_)
    is_anomaly = g.add("Less", scores, offset, dtype=bool)
    sides = g.constant([-1], INT), g.constant([1], INT)
    return g.where(is_anomaly, *sides)


@of(AdversarialAutoencoder.predict)
def _(g: Graph, estimator: AdversarialAutoencoder, X: Value) -> Value:
    if isinstance(estimator._fit.start, Clustered):
        raise NotImplementedError(
            f"predict with n_clusters={estimator.n_clusters} cannot be exported: it "
            "returns clusters. Export transform, inverse_transform, reconstruct or "
            "score_samples."
        )
    return KNOWN[BaseAutoencoder.predict](g, estimator, X)


# Two views


def view_rows(g: Graph, X: Value, shape: Any, architecture: Any) -> tuple[Value, Any]:
    """Return samples of a view as rows, and what is known of them."""
    X = X.reshape(-1, math.prod(shape)) if len(shape) > 1 else X
    if not takes_padding(architecture):
        return X, None
    return X, ~g.add("IsNaN", X, dtype=bool)


def first_view(g: Graph, estimator: Any, X: Value) -> tuple[Value, Any]:
    """Return rows of the first view."""
    params = estimator._fit.objective.params
    return view_rows(g, X, estimator.sample_shape_, params.architecture)


@of(TwoViewEstimator.transform)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    return call(g, estimator._model, "x_codes", *first_view(g, estimator, X))


@of(ContrastiveAutoencoder.transform_y)
def _(g: Graph, estimator: Any, y: Value) -> Value:
    view, params = estimator._view, estimator._fit.objective.params
    if view is None:
        return call(g, estimator._model, "y_codes", *first_view(g, estimator, y))
    if view.classes_ is not None:
        raise NotImplementedError(
            "transform_y of labels cannot be exported: there is one code for each of "
            "classes_. Export transform."
        )
    rows = view_rows(g, y, view.sample_shape_, params.y_architecture)
    return call(g, estimator._model, "y_codes", *rows)


@of(ContrastiveAutoencoder.score_samples)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    rows = first_view(g, estimator, X.cast(np.float64))
    u = call(g, estimator._model, "x_codes", *rows)
    if estimator.classes_ is None:  # an affine function of the squares
        k = n_codes(estimator)
        points = torch.cat([torch.zeros(1, k), torch.eye(k)]).double()
        at = estimator._expected_scores(points).numpy()
        return (u.squared() @ (at[1:] - at[0])[:, None]).squeeze(1) + at[0]
    v, shares = estimator._label_codes, estimator._label_shares.double().numpy()
    coefficients = estimator._coefficients
    cross, a = (coefficients[i].numpy() for i in (0, 1))
    of_labels = log_ratio(torch.zeros(1, len(a), dtype=v.dtype), v, coefficients)
    scores = u @ (v.numpy() * cross).T - 0.5 * (u.squared() @ a[:, None])
    scores = scores + of_labels.numpy()
    constant = g.add("ReduceLogSumExp", scores + np.log(shares), [1], keepdims=1)
    scores = scores - constant
    return (g.add("Exp", scores) * scores * shares).sum(1)


@of(EncoderDecoder.predict)
def _(g: Graph, estimator: Any, X: Value) -> Value:
    rows = call(g, estimator._model, "predictions", *first_view(g, estimator, X))
    view = estimator._view
    if view.is_column:
        return rows.squeeze(1)
    shape = view.sample_shape_
    return rows.reshape(-1, *shape) if len(shape) > 1 else rows


# Machines


@of(RBM.transform)
def _(g: Graph, estimator: RBM, X: Value) -> Value:
    return call(g, estimator._machine, "hidden_mean", flat(estimator, X))


@of(RBM.inverse_transform)
def _(g: Graph, estimator: RBM, codes: Value) -> Value:
    rows = call(g, estimator._machine, "visible_mean", codes)
    shape = tuple(estimator.sample_shape_)
    return rows.reshape(-1, *shape) if len(shape) > 1 else rows


@of(RBM.score_samples)
def _(g: Graph, estimator: RBM, X: Value) -> Value:
    rows = flat(estimator, X.cast(np.float64))
    energy = call(g, estimator._machine, "free_energy", rows)
    return -energy - estimator.log_partition_
