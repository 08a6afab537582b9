"""Which methods have a translation to ONNX, and what translations share.

As in ``_networks.py``, what is known is known of a method: a class that overrides one
is another model, of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._graph import INT, Graph, Value

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
