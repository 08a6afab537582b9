"""What skl2onnx asks for: see its guide on converters of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from . import OPSET
from ._estimators import compute, n_codes
from ._graph import Graph


def _is_double(variable: Any) -> bool:
    return isinstance(variable.type, DoubleTensorType)


def parse(scope: Any = None, inputs: Any = None) -> list[tuple[str, Any]]:
    """Return the name and the type of the output."""
    kind = DoubleTensorType if _is_double(inputs[0]) else FloatTensorType
    return [("variable", kind())]


def calculate_shape(operator: Any) -> None:
    """Set the shape of the output."""
    first = operator.inputs[0].type.shape
    n_rows = first[0] if first else None
    kind = DoubleTensorType if _is_double(operator.inputs[0]) else FloatTensorType
    operator.outputs[0].type = kind([n_rows, n_codes(operator.raw_operator)])


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of ``transform``."""
    estimator, opset = operator.raw_operator, container.main_opset
    if opset < OPSET:
        raise ValueError(
            f"target_opset={opset}: {type(estimator).__name__} needs one of at least "
            f"{OPSET}."
        )
    g = Graph(opset, scope.get_unique_operator_name("skae") + "/")
    given = [g.value(x.onnx_name, _dtype(x)) for x in operator.inputs]
    dtype = np.float64 if _is_double(operator.inputs[0]) else np.float32
    given = [x.cast(dtype) for x in given]
    X = given[0] if len(given) == 1 else g.concat(given, 1)
    codes = compute(g, estimator, "transform", X)
    container.nodes.extend(g.nodes)
    container.initializers.extend(g.initializers)
    container.add_node("Identity", codes.name, operator.outputs[0].onnx_name)
    for pair in g.opsets.items():
        container.node_domain_version_pair_sets.add(pair)


def _dtype(variable: Any) -> Any:
    """Return the type of an input, which may be one of integers."""
    if _is_double(variable):
        return np.float64
    return np.float32 if isinstance(variable.type, FloatTensorType) else np.int64
