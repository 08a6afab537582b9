"""Samples with axes of their own, images and series, as the rows of a table.

All that is behind the face of an estimator works on rows of shape (n, n_features). A
series may be shorter than others: NaN in all of its channels, from some step on to the
end, is padding, as in tslearn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_rows(
    X: Any, handles_padding: bool, fitted: tuple[int, ...] | None = None
) -> tuple[Any, tuple[int, ...] | None]:
    """Return samples as rows, and the shape of one; None says that it is a table.

    Parameters
    ----------
    X : array-like, frame or sparse matrix
        As in :func:`as_samples`.
    handles_padding : bool
        Whether series may differ in length.
    fitted : tuple of int, optional
        Shape of the samples that an estimator was fitted on.

    Raises
    ------
    ValueError
        For samples of another shape than that, and as :func:`as_samples`.
    """
    X = as_samples(X, handles_padding, fitted[0] if fitted else None)
    has_axes = isinstance(X, np.ndarray) and X.ndim > 2
    shape = X.shape[1:] if has_axes else None
    if fitted and shape != (fitted if len(fitted) > 1 else None):
        seen = f"samples of shape {fitted}" if len(fitted) > 1 else "rows of a table"
        axes = ", ".join(["n_samples", *map(str, fitted)])
        raise ValueError(
            f"X has shape {np.shape(X)}, but {seen} were seen in fit: use shape "
            f"({axes})."
        )
    return X.reshape(len(X), -1) if has_axes else X, shape


def as_samples(X: Any, handles_padding: bool, n_steps: int | None = None) -> Any:
    """Return images and series as one array, and a table as it is.

    Parameters
    ----------
    X : array-like, frame or sparse matrix
        Of shape (n_samples, n_features), (n_samples, height, width), (n_samples,
        channels, height, width) or (n_samples, n_steps, channels); or a list of series
        of shapes (n_steps,) or (n_steps, channels), each with steps of its own.
    handles_padding : bool
        Whether series may differ in length.
    n_steps : int, optional
        Steps of the series that an estimator was fitted on. Shorter ones are padded.

    Raises
    ------
    ValueError
        For series of different lengths where they must have the same, or of more steps
        than `n_steps`.
    """
    if isinstance(X, list | tuple) and len(X):
        return _from_list(X, handles_padding, n_steps)
    is_array = isinstance(X, np.ndarray) and X.ndim > 1 and X.dtype.kind == "f"
    if not is_array or not handles_padding:
        return X
    X = X[:, : max(_n_steps(X), 1)] if np.isnan(X[:, -1:]).any() else X
    return X if n_steps is None or X.ndim == 2 else _with_steps(X, n_steps)


def _from_list(X: Any, handles_padding: bool, n_steps: int | None) -> Any:
    try:
        shapes = {np.shape(series) for series in X}
    except ValueError:  # numpy cannot make an array of it: what it says will do
        return X
    if any(len(shape) == 0 for shape in shapes):
        return X
    if len(shapes) == 1 and not handles_padding:
        return np.asarray(X) if len(shapes.pop()) > 1 else X
    lengths = sorted({shape[0] for shape in shapes})
    if len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(
            f"X holds series of shapes {sorted(shapes)}: every series needs shape "
            "(n_steps, n_channels), with the same number of channels."
        )
    if not handles_padding:
        raise ValueError(
            f"X holds samples of {lengths[0]} to {lengths[-1]} steps: series of "
            "different lengths need an architecture that takes them, such as "
            "skae.architectures.Recurrent()."
        )
    series = [np.asarray(one) for one in X]
    if any(one.dtype.kind not in "biuf" for one in series):
        return X
    dtype = np.float32 if all(s.dtype == np.float32 for s in series) else np.float64
    shape = (len(series), max(lengths[-1], 1), *series[0].shape[1:])
    padded = np.full(shape, np.nan, dtype=dtype)
    for row, one in zip(padded, series, strict=True):
        row[: len(one)] = one
    padded = padded[:, : max(_n_steps(padded), 1)]
    return padded if n_steps is None else _with_steps(padded, n_steps)


def _n_steps(X: NDArray) -> int:
    """Return the number of steps of the longest series."""
    present = ~np.isnan(X).all(axis=tuple(i for i in range(X.ndim) if i != 1))
    return int(present.nonzero()[0].max(initial=-1)) + 1


def _with_steps(X: NDArray, n_steps: int) -> NDArray:
    """Pad series to so many steps."""
    missing = n_steps - X.shape[1]
    if missing < 0:
        last = X[:, n_steps:].reshape(len(X), -1)
        row = int(np.flatnonzero(~np.isnan(last).all(1))[0])
        raise ValueError(
            f"X has a series of more than {n_steps} steps (row {row}), but the longest "
            f"one seen in fit had {n_steps}."
        )
    if not missing:
        return X
    width = [(0, 0), (0, missing), *[(0, 0)] * (X.ndim - 2)]
    return np.pad(X, width, constant_values=np.nan)


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


def mean_filled(X: NDArray, weight: NDArray | None, otherwise: Any = 0.0) -> NDArray:
    """Return rows with the mean of the column in place of NaN.

    Columns of NaN only get the value `otherwise`.
    """
    absent = np.isnan(X)
    if not absent.any():
        return X
    w = (~absent) * (1.0 if weight is None else weight[:, None])
    n, total = w.sum(0), np.where(absent, 0, X * w).sum(0)
    return np.where(absent, np.where(n, total / np.maximum(n, 1e-300), otherwise), X)
