"""Dense layers, forward and backward, as lists of calls on tensors that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Call = Callable[[], Any]

aten = torch.ops.aten
# Rows of fewer numbers, such as codes, lie column by column: a product is up to four
# times faster whose result is contiguous along its wider side.
NARROW = 16


class Activation(NamedTuple):
    """A function, and what turns a gradient by its output into one by its input.

    Attributes
    ----------
    forward : callable
        Returns the call that writes the function of one tensor to another.
    backward : callable
        Returns the call that changes a gradient in place, given what is saved.
    in_place : bool
        Whether `forward` overwrites its argument, so that its output is saved, or else
        its input.
    """

    forward: Callable[[Tensor, Tensor], Call]
    backward: Callable[[Tensor, Tensor], Call]
    in_place: bool = True


def known_activation(part: Any) -> Activation | None:
    """Return how an activation is applied and differentiated, if that is known."""
    kind: type = type(part)
    of: Any  # the kernel of the gradient
    if kind is nn.ReLU:
        return _in_place(torch.relu_, aten.threshold_backward.grad_input, 0)
    if kind is nn.Tanh:
        return _in_place(torch.tanh_, aten.tanh_backward.grad_input)
    if kind is nn.Sigmoid:
        return _in_place(torch.sigmoid_, aten.sigmoid_backward.grad_input)
    if kind is nn.ELU:
        of = aten.elu_backward.grad_input
        constants = part.alpha, 1, 1, True
        return Activation(
            lambda x, y: partial(nn.functional.elu_, y, part.alpha),
            lambda d, y: partial(of, d, *constants, y, grad_input=d),
        )
    if kind is nn.GELU:
        of = aten.gelu_backward.grad_input
        how = part.approximate
        return Activation(
            lambda x, y: partial(aten.gelu.out, x, approximate=how, out=y),
            lambda d, x: partial(of, d, x, approximate=how, grad_input=d),
            in_place=False,
        )
    if kind is nn.SiLU and not part.inplace:
        of = aten.silu_backward.grad_input
        return Activation(
            lambda x, y: partial(aten.silu.out, x, out=y),
            lambda d, x: partial(of, d, x, grad_input=d),
            in_place=False,
        )
    if kind is nn.Identity:
        return Activation(lambda x, y: _nothing, lambda d, y: _nothing)
    return None


def _in_place(function: Any, of: Any, *constants: float) -> Activation:
    return Activation(
        lambda x, y: partial(function, y),
        lambda d, y: partial(of, d, y, *constants, grad_input=d),
    )


def _nothing() -> None:
    pass


class Matrix(NamedTuple):
    """A matrix, or a stack of them, and its transpose, which takes time to make.

    Attributes
    ----------
    rows : Tensor of shape (..., n, m)
    columns : Tensor of shape (..., m, n)
    is_wide : bool
        Whether the rows are contiguous, or else the columns.
    """

    rows: Tensor
    columns: Tensor
    is_wide: bool

    @classmethod
    def of(cls, rows: Tensor) -> Matrix:
        """Return a matrix of a tensor."""
        return cls(rows, rows.mT, rows.stride(-1) == 1)

    @classmethod
    def new(cls, like: Tensor, n: int, width: int) -> Matrix:
        """Return one to write to, of `n` rows, stacked as a tensor is."""
        stack = like.shape[:-2]
        if width < NARROW:
            return cls.of(like.new_empty(*stack, width, n).mT)
        return cls.of(like.new_empty(*stack, n, width))


class Pointer:
    """A matrix that is another one for each call, without a copy; it is only read."""

    def __init__(self, like: Tensor) -> None:
        self.matrix = Matrix(like.new_empty(0), like.new_empty(0), True)
        self._at: Tensor | None = None

    def move_to(self, rows: Tensor) -> None:
        """Be the matrix of these rows."""
        if rows is not self._at:
            self.matrix.rows.data = rows
            self.matrix.columns.data = rows.mT
            self._at = rows


class Products:
    """Calls that write a product of matrices into another one.

    Each is written along the contiguous side of the result: where the result lies
    column by column, ``bmm`` would write a copy, so that we write the transpose.
    """

    multiply: Any = staticmethod(torch.mm)
    multiply_and_add: Any = staticmethod(torch.addmm)

    def write(self, a: Matrix, b: Matrix, out: Matrix) -> Call:
        """Return the call that writes ``a @ b``."""
        if out.is_wide:
            return partial(self.multiply, a.rows, b.rows, out=out.rows)
        return partial(self.multiply, b.columns, a.columns, out=out.columns)

    def inner(self, a: Matrix, b: Matrix, out: Matrix) -> Call:
        """Return the call that writes ``a.T @ b``."""
        if out.is_wide:
            return partial(self.multiply, a.columns, b.rows, out=out.rows)
        return partial(self.multiply, b.columns, a.rows, out=out.columns)

    def affine(self, bias: Matrix, a: Matrix, weight: Matrix, out: Matrix) -> Call:
        """Return the call that writes ``bias + a @ weight.T``."""
        add = self.multiply_and_add
        if out.is_wide:
            return partial(add, bias.rows, a.rows, weight.columns, out=out.rows)
        return partial(add, bias.columns, weight.rows, a.columns, out=out.columns)

    def add(self, out: Matrix, a: Matrix, b: Matrix) -> Call:
        """Return the call that adds ``a @ b``."""
        add = self.multiply_and_add
        if out.is_wide:
            return partial(add, out.rows, a.rows, b.rows, out=out.rows)
        return partial(add, out.columns, b.columns, a.columns, out=out.columns)


class StackedProducts(Products):
    """The same of stacks of matrices."""

    multiply = staticmethod(torch.bmm)
    multiply_and_add = staticmethod(torch.baddbmm)


class DenseLayers:
    """Dense layers beside a linear path, forward and backward.

    Parameters
    ----------
    weights : list of Tensor of shape (..., n_out, n_in)
    biases : list of Tensor of shape (..., n_out)
    gradients : list of (Tensor, Tensor)
        Where the gradients by each weight and bias are written.
    activations : list of Activation
        Between the layers.
    path : (Tensor of shape (..., n_out, n_in), Tensor of shape (..., n_out)) or None
        The fixed linear map and its bias.
    scale : Tensor of shape (n_out,) or None
        By which the output of the layers is multiplied, and not that of the path.

    Notes
    -----
    A leading axis holds stacked networks. What :meth:`forward` and :meth:`backward`
    return is overwritten by the next call.
    """

    def __init__(
        self,
        weights: list[Tensor],
        biases: list[Tensor],
        gradients: list[tuple[Tensor, Tensor]],
        activations: list[Activation],
        path: tuple[Tensor, Tensor] | None,
        scale: Tensor | None = None,
    ) -> None:
        like = path[0] if path is not None else weights[0]
        self.n_stacked = len(like) if like.ndim == 3 else None
        self.products = Products() if self.n_stacked is None else StackedProducts()
        self.weights = [Matrix.of(weight) for weight in weights]
        self.biases = [Matrix.of(bias.unsqueeze(-2)) for bias in biases]
        self.gradients = [(Matrix.of(weight), bias) for weight, bias in gradients]
        self.activations = activations
        self.has_path, self.scale = path is not None, scale
        if path is not None:
            self.path = Matrix.of(path[0])
            self.path_transposed = Matrix.of(path[0].mT)
            self.path_bias = path[1].unsqueeze(-2)
        self._passes: dict[int, LayersPass] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Map rows of shape (..., n, n_in) to (..., n, n_out)."""
        if self.n_stacked is not None and x.ndim == 2:
            x = x.expand(self.n_stacked, -1, -1)
        if not self.weights:
            return self.path_bias + x @ self.path_transposed.rows
        n = x.shape[-2]
        if n not in self._passes:
            with torch.inference_mode(False):  # held-out rows may be the first
                self._passes[n] = LayersPass(self, n)
        self._last = self._passes[n]
        return self._last.forward(x)

    def backward(self, gradient: Tensor, *, by_input: bool = False) -> Tensor:
        """Write the gradients by the parameters, given that by the output.

        Returns
        -------
        Tensor of shape (..., n, n_in)
            The gradient by the input, with `by_input`.
        """
        if not self.weights:
            return gradient @ self.path.rows
        return self._last.backward(self, gradient, by_input)


class LayersPass:
    """What dense layers do for a number of rows: calls on tensors that stay.

    What Python does between the products of a small network takes time too. So all of
    them are put together once, for rows and a gradient that a pointer then moves to.
    """

    def __init__(self, layers: DenseLayers, n: int) -> None:
        self.n, like = n, layers.weights[0].rows
        self.given, self.by_output = Pointer(like), Pointer(like)
        self.inputs = [self.given.matrix]  # of each layer
        self.saved: list[Tensor] = []  # for each activation
        self.output = Matrix.new(like, n, layers.weights[-1].rows.shape[-2])
        self.forward_calls = list(self._forward(layers))
        self.backward_calls: tuple[list[Call], list[Call]] | None = None

    def _forward(self, layers: DenseLayers) -> Iterator[Call]:
        products, biases, weights = layers.products, layers.biases, layers.weights
        for i, activation in enumerate(layers.activations):
            y = Matrix.new(weights[i].rows, self.n, weights[i].rows.shape[-2])
            yield products.affine(biases[i], self.inputs[i], weights[i], y)
            applied = y if activation.in_place else Matrix.of(torch.empty_like(y.rows))
            yield activation.forward(y.rows, applied.rows)
            self.inputs.append(applied)
            self.saved.append(y.rows)
        bias, output = biases[-1], self.output.rows
        is_moved = layers.has_path and bool(layers.path_bias.any())
        if is_moved and layers.scale is None:
            both = Matrix.of(torch.empty_like(bias.rows))
            yield partial(torch.add, bias.rows, layers.path_bias, out=both.rows)
            bias = both
        yield products.affine(bias, self.inputs[-1], weights[-1], self.output)
        if layers.scale is not None:
            yield partial(torch.mul, output, layers.scale, out=output)
            if is_moved:
                yield partial(torch.add, output, layers.path_bias, out=output)
        if layers.has_path:
            given = self.given.matrix
            yield products.add(self.output, given, layers.path_transposed)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows of shape (..., n, n_in) to (..., n, n_out)."""
        self.given.move_to(x)
        for call in self.forward_calls:
            call()
        return self.output.rows

    def _backward(self, layers: DenseLayers) -> tuple[list[Call], list[Call]]:
        """Return the calls for the gradients by the parameters, then by the input."""
        products, weights = layers.products, layers.weights
        by_output = d = self.by_output.matrix
        calls: list[Call] = []
        if layers.scale is not None:
            d = Matrix.of(torch.empty_like(self.output.rows))
            calls.append(partial(torch.mul, by_output.rows, layers.scale, out=d.rows))
        for i in reversed(range(len(weights))):
            by_weight, by_bias = layers.gradients[i]
            self.by_input = Matrix.new(
                weights[i].rows, self.n, weights[i].rows.shape[-1]
            )
            write = products.write(d, weights[i], self.by_input)
            calls.append(products.inner(d, self.inputs[i], by_weight))
            calls.append(partial(torch.sum, d.rows, -2, out=by_bias))
            d = self.by_input
            if i:
                activation = layers.activations[i - 1]
                calls += [write, activation.backward(d.rows, self.saved[i - 1])]
        to_input = [write]
        if layers.has_path:
            to_input.append(products.add(d, by_output, layers.path))
        return calls, to_input

    def backward(self, layers: DenseLayers, gradient: Tensor, by_input: bool) -> Tensor:
        """Write the gradients; return that by the input, with `by_input`."""
        if self.backward_calls is None:
            self.backward_calls = self._backward(layers)
        by_parameters, to_input = self.backward_calls
        self.by_output.move_to(gradient)
        for call in by_parameters:
            call()
        if not by_input:
            return gradient
        for call in to_input:
            call()
        return self.by_input.rows
