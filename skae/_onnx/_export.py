"""Models of estimators and of Pipelines, or errors that say why there is none."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import onnx
import onnx.defs
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .. import __version__
from .._imputer import MaskedImputer
from . import OPSET, OnnxMixin
from ._estimators import METHODS, methods_of, model_of
from ._graph import FLOATS


def checked_dtype(dtype: Any) -> np.dtype:
    """Return a type of floating numbers.

    Raises
    ------
    ValueError
        If it is none of float32 and float64.
    """
    for kind in FLOATS:
        if dtype is not None and dtype == kind:
            return kind
    raise ValueError(f"dtype={dtype!r}: use numpy.float32 or numpy.float64.")


def checked_opset(target_opset: Any) -> int:
    """Return a version of ONNX's operators.

    Raises
    ------
    ValueError
        If it is too old, or newer than the package onnx.
    """
    newest = onnx.defs.onnx_opset_version()
    is_int = isinstance(target_opset, Integral) and not isinstance(target_opset, bool)
    if not is_int or not OPSET <= target_opset <= newest:
        raise ValueError(
            f"target_opset={target_opset!r}: use an integer from {OPSET} to {newest}, "
            f"the newest that onnx {onnx.__version__} knows."
        )
    return int(target_opset)


def check_known(estimator: Any) -> None:
    """Raise if an estimator of skae cannot be exported at all."""
    kind = type(estimator)
    if isinstance(estimator, MaskedImputer):
        raise NotImplementedError(
            f"{kind.__name__} cannot be exported: it sorts the columns of a frame, and "
            "makes numbers of their categories, in Python. Export MaskedAutoencoder "
            'with method="reconstruct", which completes tables of numbers.'
        )
    if kind.__module__.startswith("skae.text"):
        raise NotImplementedError(
            f"{kind.__name__} cannot be exported: it makes tokens of texts in Python. "
            "Export autoencoders of tables, images and series, or RBM."
        )


def check_method(estimator: Any, method: str) -> None:
    """Raise if an estimator has no method that can be exported under this name."""
    found = methods_of(estimator)
    name, listed = type(estimator).__name__, ", ".join(map(repr, found)) or "none"
    if method != "reconstruct" and not (
        method in METHODS and hasattr(estimator, method)
    ):
        raise ValueError(f"method={method!r}: of {name}, use one of {listed}.")
    if method not in found:
        raise NotImplementedError(
            f"{name}.{method} cannot be exported; of {name} these can: {listed}."
        )


def with_metadata(
    model: onnx.ModelProto, estimator: Any, method: str, opset: int
) -> onnx.ModelProto:
    """Return a checked model that says what it is made of."""
    name = type(estimator).__name__
    model.producer_name, model.producer_version = "skae", __version__
    model.doc_string = f"{name}, {method}"
    metadata = {
        "skae_version": __version__,
        "estimator": name,
        "method": method,
        "target_opset": str(opset),
    }
    onnx.helper.set_model_props(model, metadata)
    if model.ByteSize() < 2**31:
        onnx.checker.check_model(model)
    return model


def of_estimator(
    estimator: Any, method: str | None, dtype: np.dtype, opset: int, before: Any = None
) -> onnx.ModelProto:
    """Return the model of an estimator of skae, after what earlier steps do."""
    method = "transform" if method is None else method
    check_method(estimator, method)
    model = model_of(estimator, method, dtype, opset, before)
    return with_metadata(model, estimator, method, opset)


def without_passthrough(pipeline: Pipeline) -> Pipeline:
    """Return a fitted Pipeline without steps that do nothing."""
    steps = [s for s in pipeline.steps if s[1] is not None and s[1] != "passthrough"]
    return Pipeline(steps) if steps else pipeline


def of_last_step(
    pipeline: Pipeline, method: str, dtype: np.dtype, opset: int
) -> onnx.ModelProto:
    """Return the model of a method of the last step of a Pipeline, one of skae's."""
    last = pipeline[-1]
    check_known(last)
    if not isinstance(last, OnnxMixin):
        raise ValueError(
            f"method={method!r}: of a Pipeline that ends in {type(last).__name__}, and "
            "not in an estimator of skae, use None, for what skl2onnx makes of it."
        )
    if method in ("inverse_transform", "reconstruct"):
        raise NotImplementedError(
            f"method={method!r} of a Pipeline cannot be exported, since skl2onnx knows "
            "no inverse_transform of its other steps. Export that of its last step, "
            "pipeline[-1], whose rows are those of that step."
        )
    if len(pipeline) == 1:
        return of_estimator(last, method, dtype, opset)
    steps = of_sklearn(pipeline[:-1], None, dtype, opset)
    return of_estimator(last, method, dtype, opset, (steps, pipeline.n_features_in_))


def of_sklearn(
    estimator: Any, method: str | None, dtype: np.dtype, opset: int
) -> onnx.ModelProto:
    """Return what skl2onnx makes of an estimator of scikit-learn."""
    for part in (estimator, *estimator.get_params().values()):
        check_known(part)
    if method is not None:
        raise ValueError(
            f"method={method!r}: of {type(estimator).__name__}, which is no estimator "
            "of skae, use None, for what skl2onnx makes of it."
        )
    kind = FloatTensorType if dtype == np.float32 else DoubleTensorType
    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    model = skl2onnx.to_onnx(
        estimator,
        initial_types=[("X", kind([None, estimator.n_features_in_]))],
        options=options,
        target_opset=opset,
    )
    return with_metadata(model, estimator, "predict" if options else "transform", opset)
