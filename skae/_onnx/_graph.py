"""An ONNX graph that is written as arithmetic: ``(x - mean) @ axes.T``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx.inliner
import torch
from numpy.typing import NDArray

FLOATS = np.dtype(np.float32), np.dtype(np.float64)
BOOL, INT = np.dtype(bool), np.dtype(np.int64)


class Value:
    """What a node returns.

    Parameters
    ----------
    graph : Graph
    name : str
    dtype : numpy.dtype
    sizes : tuple of int
        Of its axes, but for the first one, where these are known.
    """

    __array_ufunc__ = None  # an array on the left leaves arithmetic to this class

    def __init__(
        self, graph: Graph, name: str, dtype: np.dtype, sizes: tuple[int, ...] = ()
    ) -> None:
        self.graph, self.name, self.dtype, self.sizes = graph, name, dtype, sizes

    def __add__(self, other: Any) -> Value:
        return self.graph.add("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.add("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.add("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.add("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.add("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.add("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.add("Div", self, other)

    def __matmul__(self, other: Any) -> Value:
        return self.graph.add("MatMul", self, other)

    def __neg__(self) -> Value:
        return self.graph.add("Neg", self)

    def __invert__(self) -> Value:
        return self.graph.add("Not", self)

    def __or__(self, other: Any) -> Value:
        return self.graph.add("Or", self, other)

    def squared(self) -> Value:
        """Return the squares."""
        return self * self

    def cast(self, dtype: Any) -> Value:
        """Return the same in another type."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        to = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        result = self.graph.add("Cast", self, dtype=dtype, to=to)
        result.sizes = self.sizes
        return result

    def reshape(self, *shape: int) -> Value:
        """Return the same in another shape; -1 is what is left."""
        result = self.graph.add("Reshape", self, list(shape))
        result.sizes = tuple(shape[1:])
        return result

    def transpose(self, *axes: int) -> Value:
        """Return the same with the axes in another order."""
        return self.graph.add("Transpose", self, perm=list(axes))

    def unsqueeze(self, *axes: int) -> Value:
        """Return the same with axes of length 1 at these places."""
        return self.graph.add("Unsqueeze", self, list(axes))

    def squeeze(self, *axes: int) -> Value:
        """Return the same without these axes of length 1."""
        return self.graph.add("Squeeze", self, list(axes))

    def sum(self, *axes: int, keepdims: bool = False) -> Value:
        """Return the sum over axes."""
        return self.graph.add("ReduceSum", self, list(axes), keepdims=int(keepdims))

    def max(self, axis: int, *, keepdims: bool = False) -> Value:
        """Return the largest along an axis."""
        return self.graph.add("ReduceMax", self, [axis], keepdims=int(keepdims))

    def any(self, axis: int, *, keepdims: bool = False) -> Value:
        """Return whether anything is true along an axis."""
        return self.cast(np.float32).max(axis, keepdims=keepdims).cast(bool)

    def take(self, places: Any, axis: int) -> Value:
        """Return what is at these places of an axis."""
        return self.graph.add("Gather", self, places, axis=axis)

    def part(self, start: int, stop: int, axis: int) -> Value:
        """Return a slice of an axis."""
        return self.graph.add("Slice", self, [start], [stop], [axis])

    def softmax(self) -> Value:
        """Return the softmax along the last axis."""
        return self.graph.add("Softmax", self, axis=-1)


class Graph:
    """Nodes and constants, with names that begin with a prefix.

    Parameters
    ----------
    opset : int
        Version of the operators.
    prefix : str
    """

    def __init__(self, opset: int, prefix: str = "") -> None:
        self.opset, self.prefix = opset, prefix
        self.opsets = {"": opset}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants: dict[Any, Value] = {}
        self._n_names = 0

    def name(self, kind: str) -> str:
        """Return a name that is new."""
        self._n_names += 1
        return f"{self.prefix}{kind}_{self._n_names}"

    def value(self, name: str, dtype: Any) -> Value:
        """Return an input, or what else is not the result of a node."""
        return Value(self, name, np.dtype(dtype))

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """Return a constant; the same one for the same numbers."""
        if isinstance(array, torch.Tensor):
            array = array.detach().cpu().numpy()
        array = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
        key = array.tobytes(), array.shape, array.dtype
        if key not in self._constants:
            name = self.name("constant")
            self.initializers.append(onnx.numpy_helper.from_array(array, name))
            self._constants[key] = Value(self, name, array.dtype, array.shape[1:])
        return self._constants[key]

    def mark(self) -> tuple[int, int, dict[Any, Value]]:
        """Return how much of the graph there is."""
        return len(self.nodes), len(self.initializers), dict(self._constants)

    def return_to(self, mark: tuple[int, int, dict[Any, Value]]) -> None:
        """Take away what has been added since a mark."""
        n_nodes, n_initializers, self._constants = mark
        del self.nodes[n_nodes:], self.initializers[n_initializers:]

    def add(self, operator: str, *inputs: Any, **how: Any) -> Value:
        """Add a node with one output; see :meth:`add_all`."""
        return self.add_all(operator, *inputs, n_outputs=1, **how)[0]

    def add_all(
        self,
        operator: str,
        *inputs: Any,
        n_outputs: int,
        dtype: Any = None,
        **attributes: Any,
    ) -> list[Value]:
        """Add a node.

        Parameters
        ----------
        operator : str
        *inputs : Value, ndarray, Tensor, number, list of int, or None
            Floating numbers get the type of the first value of floating numbers; None
            is an input that is left out, and the last one.
        n_outputs : int
        dtype : numpy.dtype, default=None
            Of the outputs. None is that of the first value of floating numbers, or of
            the first value.
        **attributes : any
            Of the node.
        """
        values = [x for x in inputs if isinstance(x, Value)]
        kinds = [x.dtype for x in values if x.dtype in FLOATS] or [
            x.dtype for x in values
        ]
        given = [self._as_value(x, kinds[0]) for x in inputs if x is not None]
        outputs = [self.name(operator) for _ in range(n_outputs)]
        self.nodes.append(
            onnx.helper.make_node(
                operator,
                [x.name for x in given],
                outputs,
                name=self.name("node"),
                **attributes,
            )
        )
        result = np.dtype(kinds[0] if dtype is None else dtype)
        return [Value(self, name, result) for name in outputs]

    def _as_value(self, x: Any, dtype: np.dtype) -> Value:
        if isinstance(x, Value):
            return x
        if isinstance(x, list):
            return self.constant(x, INT)
        if isinstance(x, torch.Tensor):
            x = x.detach().cpu().numpy()
        kind = np.asarray(x).dtype.kind
        is_number = np.ndim(x) == 0 or kind == "f"
        return self.constant(x, dtype if is_number and kind != "b" else None)

    # What takes more than one node

    def where(self, condition: Any, x: Any, y: Any) -> Value:
        """Return `x` where a condition is true, and `y` elsewhere."""
        result = next(v for v in (x, y) if isinstance(v, Value))
        return self.add("Where", condition, x, y, dtype=result.dtype)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Return values after one another along an axis."""
        return self.add("Concat", *values, axis=axis)

    def split(self, x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Return parts of an axis."""
        how = {"n_outputs": len(sizes), "axis": axis}
        return self.add_all("Split", x, list(sizes), **how)

    def pad(self, x: Value, before: Sequence[int], after: Sequence[int]) -> Value:
        """Return `x` with zeros before and after what there is along each axis."""
        return self.add("Pad", x, [*before, *after]) if any([*before, *after]) else x

    def flatten(self, x: Value, start: int, end: int) -> Value:
        """Return `x` with the axes from `start` to `end` as one."""
        shape = [self._shape(x, 0, start), self.constant([-1], INT)]
        if end != -1:
            shape.append(self._shape(x, end + 1, None))
        return self.add("Reshape", x, self.concat(shape, 0))

    def unflatten(self, x: Value, axis: int, sizes: Sequence[int]) -> Value:
        """Return `x` with an axis as several."""
        shape = [self._shape(x, 0, axis), self.constant(list(sizes), INT)]
        if axis != -1:
            shape.append(self._shape(x, axis + 1, None))
        return self.add("Reshape", x, self.concat(shape, 0))

    def _shape(self, x: Value, start: int, end: int | None) -> Value:
        how = {} if end is None else {"end": end}
        return self.add("Shape", x, dtype=INT, start=start, **how)

    def loop(
        self, n: int, states: Sequence[Value], step: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """Return what states are after n steps.

        ``step(body, i, *states)`` returns the next ones, by nodes of the graph `body`,
        which sees nothing of this one.
        """
        body = Graph(self.opset, self.name("loop") + "/")
        kinds = INT, BOOL, *(x.dtype for x in states)
        i, goes_on, *given = (body.value(body.name("given"), kind) for kind in kinds)
        found = [body.add("Identity", goes_on), *step(body, i, *given)]
        proto = onnx.helper.make_graph(
            body.nodes,
            "step",
            [
                _info(x.name, x.dtype, () if j < 2 else None)
                for j, x in enumerate((i, goes_on, *given))
            ],
            [
                _info(x.name, x.dtype, () if j < 1 else None)
                for j, x in enumerate(found)
            ],
            initializer=body.initializers,
        )
        times, always = self.constant(n, INT), self.constant(True)
        how: dict[str, Any] = {"n_outputs": len(states), "body": proto}
        results = self.add_all("Loop", times, always, *states, **how)
        for result, state in zip(results, states, strict=True):
            result.dtype = state.dtype
        return results

    def embed(self, model: onnx.ModelProto, x: Value, dtype: Any) -> Value:
        """Return what a model with one input and one output makes of `x`."""
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        model = onnx.compose.add_prefix(model, self.name("torch") + "/")
        graph = model.graph
        self.initializers.extend(graph.initializer)
        self.nodes.append(
            onnx.helper.make_node("Identity", [x.name], [graph.input[0].name])
        )
        self.nodes.extend(graph.node)
        for opset in model.opset_import:
            self.opsets[opset.domain] = max(
                opset.version, self.opsets.get(opset.domain, 0)
            )
        return Value(self, graph.output[0].name, np.dtype(dtype))

    def model(
        self,
        inputs: dict[str, tuple[Any, tuple[int, ...]]],
        outputs: dict[str, tuple[Value, tuple[int, ...]]],
    ) -> onnx.ModelProto:
        """Return the model, given names and the sizes of all axes but the first."""
        for name, (value, _) in outputs.items():
            self.nodes.append(onnx.helper.make_node("Identity", [value.name], [name]))
        graph = onnx.helper.make_graph(
            self.nodes,
            "skae",
            [_info(k, dtype, ("n", *sizes)) for k, (dtype, sizes) in inputs.items()],
            [_info(k, v.dtype, ("n", *sizes)) for k, (v, sizes) in outputs.items()],
            initializer=self.initializers,
        )
        opsets = [onnx.helper.make_opsetid(*pair) for pair in self.opsets.items()]
        version = onnx.helper.find_min_ir_version_for(opsets)
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=version)


def _info(name: str, dtype: Any, shape: Any) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def as_array(x: Any) -> NDArray:
    """Return a tensor as an array of float64."""
    return x.detach().cpu().double().numpy()
