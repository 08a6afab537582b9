"""Samples with axes of their own, images and series, as the rows of a table.

All that is behind the face of an estimator works on rows of shape (n, n_features). A
series may be shorter than others: NaN in all of its channels, from some step on to the
end, is padding, as in tslearn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def takes_padding(architecture: Any) -> bool:
    """Whether series may end in NaN, because others are longer."""
    return bool(getattr(architecture, "handles_padding", False))


def as_rows(
    X: Any, padded: bool, fitted: tuple[int, ...] | None = None
) -> tuple[Any, tuple[int, ...] | None]:
    """Return samples as rows, and the shape of one; None says that it is a table.

    Parameters
    ----------
    X : array-like, frame or sparse matrix
        As in :func:`as_samples`.
    padded : bool
        Whether series may differ in length.
    fitted : tuple of int, optional
        Shape of the samples that an estimator was fitted on.

    Raises
    ------
    ValueError
        For samples of another shape than that, and as :func:`as_samples`.
    """
    X = as_samples(X, padded, fitted[0] if fitted else None)
    has_axes = isinstance(X, np.ndarray) and X.ndim > 2
    shape = X.shape[1:] if has_axes else None
    expected = fitted if fitted and len(fitted) > 1 else None
    if fitted and shape != expected and np.shape(X)[:1] != (0,):
        seen = f"samples of shape {fitted}" if expected else "rows of a table"
        axes = ", ".join(["n_samples", *map(str, fitted)])
        raise ValueError(
            f"X has shape {np.shape(X)}, but {seen} were seen in fit: use shape "
            f"({axes})."
        )
    return X.reshape(len(X), math.prod(shape)) if shape else X, shape


def as_samples(X: Any, padded: bool, n_steps: int | None = None) -> Any:
    """Return images and series as one array, and a table as it is.

    Parameters
    ----------
    X : array-like, frame or sparse matrix
        Of shape (n_samples, n_features), (n_samples, height, width), (n_samples,
        channels, height, width) or (n_samples, n_steps, channels); or a list of series
        of shapes (n_steps,) or (n_steps, channels), each with steps of its own.
    padded : bool
        Whether series may differ in length.
    n_steps : int, optional
        Steps of the series that an estimator was fitted on. Shorter ones are padded.

    Raises
    ------
    ValueError
        For series of different lengths where they must have the same, or of more steps
        than `n_steps`.
    """
    X = X.detach() if isinstance(X, Tensor) else X
    if getattr(X, "ndim", 0) == 1 and getattr(X, "dtype", None) == "O":
        X = list(X)
    if isinstance(X, list | tuple) and len(X):
        X = _from_list(X, padded)
        is_ragged = isinstance(X, np.ndarray)
    else:
        # Tensors, for instance; frames and sparse matrices have two axes.
        X = np.asarray(X) if getattr(X, "ndim", 2) > 2 else X
        is_ragged = isinstance(X, np.ndarray) and X.ndim > 2
    if n_steps is None or not padded or not isinstance(X, np.ndarray):
        return X
    if is_ragged:
        return _with_steps(X, n_steps)
    # Rows of another width are taken for a mistake, but for padding.
    beyond = X[:, n_steps:] if X.ndim == 2 and X.dtype.kind == "f" else X[:0]
    return X[:, :n_steps] if beyond.size and np.isnan(beyond).all() else X


def _from_list(X: Any, padded: bool) -> Any:
    try:
        shapes = [np.shape(series) for series in X]
    except ValueError:  # numpy cannot make an array of it: what it says will do
        return X
    if not any(shapes):  # numbers
        return X
    for row, shape in enumerate(shapes):
        if not shape or not shape[0]:
            what = "is no series" if not shape else "has no steps"
            raise ValueError(
                f"Row {row} of X {what}, {X[row]!r}: every series needs shape "
                "(n_steps, n_channels) or (n_steps,)."
            )
        if shape[1:] != shapes[0][1:]:
            raise ValueError(
                f"Row {row} of X has shape {shape}, and row 0 has {shapes[0]}: every "
                "series needs shape (n_steps, n_channels) or (n_steps,), with the same "
                "number of channels."
            )
    lengths = [shape[0] for shape in shapes]
    if not padded:
        if min(lengths) == max(lengths):
            return np.asarray(X) if len(shapes[0]) > 1 else X
        raise ValueError(
            f"X holds samples of {min(lengths)} to {max(lengths)} steps: series of "
            "different lengths need an architecture that takes them, such as "
            "skae.architectures.Recurrent()."
        )
    series = [np.asarray(one) for one in X]
    for row, one in enumerate(series):
        if one.dtype.kind not in "biuf":
            raise ValueError(f"Row {row} of X is not numeric: {X[row]!r}.")
    dtype = np.float32 if all(s.dtype == np.float32 for s in series) else np.float64
    shape = (len(series), max(lengths), *shapes[0][1:])
    rows = np.full(shape, np.nan, dtype=dtype)
    for row, one in zip(rows, series, strict=True):
        row[: len(one)] = one
    return rows


def _with_steps(X: NDArray, n_steps: int) -> NDArray:
    """Pad series to so many steps, or cut padding that is too much."""
    missing = n_steps - X.shape[1]
    if missing < 0:
        beyond = X[:, n_steps:].reshape(len(X), -1)
        longer = np.flatnonzero(~np.isnan(beyond).all(1))
        if len(longer):
            raise ValueError(
                f"X has a series of more than {n_steps} steps (row {longer[0]}), but "
                f"those seen in fit had {n_steps} at most."
            )
        return X[:, :n_steps]
    if not missing:
        return X
    width = [(0, 0), (0, missing), *[(0, 0)] * (X.ndim - 2)]
    return np.pad(
        X.astype(np.result_type(X, np.float32), copy=False),
        width,
        constant_values=np.nan,
    )


def n_steps_of(X: NDArray, sample_shape: tuple[int, ...]) -> int:
    """Return the number of steps of the longest series, given as rows."""
    present = ~np.isnan(X).all(0).reshape(sample_shape[0], -1).all(1)
    return int(present.nonzero()[0].max(initial=-1)) + 1


def check_padding(X: NDArray, sample_shape: tuple[int, ...], first: int = 0) -> None:
    """Raise a ValueError that names the row if NaN is anything but padding.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_shape : tuple of int
        Steps, and channels if there are several.
    first : int
        Number of the first row, for the message.
    """
    absent = np.isnan(X)
    if not absent.any():
        return
    n_steps = sample_shape[0]
    absent = absent.reshape(len(X), n_steps, -1)  # (n, T, C)
    trailing = absent.all(2)[:, ::-1].cumprod(1).sum(1)
    lengths = n_steps - trailing  # (n,)
    if not lengths.all():
        raise ValueError(
            f"Row {first + lengths.argmin()} of X has no step: every value of it is "
            "NaN. Drop such rows."
        )
    inside = np.arange(n_steps) < lengths[:, None]
    bad = np.argwhere(absent & inside[..., None])
    if len(bad):
        row, step, channel = bad[0]
        raise ValueError(
            f"Input X contains NaN in row {first + row} at step {step} (channel "
            f"{channel}), before the last step of this series, {lengths[row] - 1}. NaN "
            "is padding, and comes after the last step only, in all channels: fill "
            "gaps first."
        )
