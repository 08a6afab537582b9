"""Checks of what the user passes, with errors that name the parameter or column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data
from skorch.callbacks import (
    BatchScoring,
    EpochScoring,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from torch import Tensor, nn

from ._dataset import row_chunks

SCORINGS = (BatchScoring, EpochScoring, PassthroughScoring)
HUGE = 1e140  # sums of the squares of larger numbers overflow


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Put the attributes of `estimator` back if the block raises anything."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise


def check_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, min_rows: int | None = None
) -> Any:
    """Return `X` as a float32 or float64 array or CSR matrix, without needless copies.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set or compared.
    X : array-like, frame or sparse matrix of shape (n_samples, n_features)
    reset : bool
        Whether this is the first time that the estimator sees rows.
    min_rows : int, default=None
        Fewest rows that can be fitted. None: they are not to be fitted.

    Raises
    ------
    ValueError
        For anything but finite real numbers in two dimensions.
    """
    try:
        rows = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=min_rows or 1,
        )
    except (ValueError, TypeError) as error:
        column = _first_column_not_numeric(X)
        if column is None or "feature names" in str(error):
            raise
        name, value = column
        raise type(error)(
            f"Column {name!r} of X is not numeric: it contains {value!r}. Encode such "
            "columns first, for instance with sklearn.preprocessing.OneHotEncoder. "
            f"({error})"
        ) from error
    names = getattr(estimator, "feature_names_in_", None)
    check_finite(rows, names)
    if min_rows is not None:
        check_magnitude(rows, names)
    return rows


def _first_column_not_numeric(X: Any) -> tuple[Any, Any] | None:
    """Return the name and the first offending value of a column that is no number."""
    if hasattr(X, "columns"):
        columns = {name: np.asarray(X[name]) for name in X.columns}
    else:
        array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        if array.ndim != 2 or array.dtype.kind not in "OUS":
            return None
        columns = dict(enumerate(array.T))
    for name, column in columns.items():
        for value in column if column.dtype.kind in "OUSMmTV" else ():
            try:
                float(value)
            except (TypeError, ValueError):
                return name, value
    return None


def check_finite(X: Any, feature_names: NDArray | None = None) -> None:
    """Raise a ValueError that names the first column with NaN or infinity.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
    feature_names : array of str, optional
        Names of the columns; by default their numbers are used.
    """
    if sp.issparse(X):
        if np.isfinite(X.data).all():
            return
        coo = X.tocoo()
        entry = np.flatnonzero(~np.isfinite(coo.data))[0]
        _raise_not_finite(
            coo.row[entry], coo.col[entry], coo.data[entry], feature_names
        )
    for rows in row_chunks(X):
        chunk = X[rows]
        # A finite sum proves finite entries; an infinite one may be an overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(chunk.sum(dtype=np.float64)):
                continue
        bad = np.argwhere(~np.isfinite(chunk))
        if len(bad):
            i, j = bad[0]
            _raise_not_finite(rows.start + i, j, chunk[i, j], feature_names)


def check_magnitude(X: Any, feature_names: NDArray | None = None) -> None:
    """Raise a ValueError if the squares of finite rows would overflow."""
    for rows in row_chunks(X):
        chunk = X[rows].data if sp.issparse(X) else X[rows]
        largest = max(float(chunk.max(initial=0)), -float(chunk.min(initial=0)))
        if largest < HUGE:
            continue
        dense = X[rows].toarray() if sp.issparse(X) else chunk
        row, column = np.unravel_index(np.abs(dense).argmax(), dense.shape)
        raise ValueError(
            f"Column {_column_name(column, feature_names)} of X contains "
            f"{dense[row, column]}, whose square overflows: divide the rows, so that "
            f"all numbers are below {HUGE:.0e}."
        )


def check_range(
    X: Any, low: float, high: float, why: str, feature_names: NDArray | None = None
) -> None:
    """Raise a ValueError that names the first column with a value out of a range."""
    if np.isinf(low) and np.isinf(high):
        return
    for rows in row_chunks(X):
        chunk = X[rows].toarray() if sp.issparse(X) else X[rows]
        bad = np.argwhere((chunk < low) | (chunk > high))
        if len(bad):
            i, j = bad[0]
            raise ValueError(
                f"Column {_column_name(j, feature_names)} of X contains {chunk[i, j]} "
                f"(row {rows.start + i}): {why} takes values from {low:g} to {high:g}."
            )


def _column_name(column: int, feature_names: NDArray | None) -> str:
    return str(column) if feature_names is None else repr(str(feature_names[column]))


def _raise_not_finite(
    row: int, column: int, value: float, feature_names: NDArray | None
) -> None:
    name = _column_name(column, feature_names)
    kind = "NaN" if np.isnan(value) else "infinity"
    raise ValueError(
        f"Input X contains {kind} in column {name} (row {row}). Every value must be "
        "finite: drop such rows, or replace the values (for NaN, for instance with "
        "sklearn.impute.SimpleImputer)."
    )


def check_weights(
    X: Any, sample_weight: Any, min_rows: int = 1
) -> tuple[Any, NDArray | None]:
    """Return the rows with a weight above zero and their weights.

    Raises
    ------
    ValueError
        If the weights do not fit the rows, are negative, or are all zero.
    """
    if sample_weight is None:
        return X, None
    dtype = np.asarray(sample_weight).dtype
    if dtype.kind not in "biufO":
        raise ValueError(f"sample_weight must hold real numbers, not {dtype}.")
    if not np.any(np.asarray(sample_weight) != 0):
        raise ValueError("sample_weight is zero for every row: give one row a weight.")
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not 1e-150 < weight.sum() < 1e150:
        raise ValueError(
            f"sample_weight adds up to {weight.sum()}: scale the weights to numbers "
            "near 1."
        )
    if (weight == 1).all():
        return X, None
    used = weight > 0
    if used.sum() < min_rows:
        raise ValueError(
            f"sample_weight leaves {used.sum()} row with a weight above zero, but at "
            f"least {min_rows} are needed."
        )
    return (X, weight) if used.all() else (X[used], weight[used])


def merge_duplicates(X: Any, weight: NDArray | None) -> tuple[Any, NDArray | None]:
    """Merge equal rows and add up their weights, if there are weights or equal rows.

    A row given twice then equals a row of weight 2, and no copy of a row can be held
    out to judge a network that trained on the other.
    """
    distinct, inverse = np.unique(X, axis=0, return_inverse=True)
    if weight is None and len(distinct) == len(X):
        return X, None
    return distinct, np.bincount(inverse.ravel(), weights=weight).astype(np.float64)


def check_n_components(
    n_components: Any, shape: tuple[int, int], is_random: bool
) -> Any:
    """Return the number of principal axes to find.

    Raises
    ------
    ValueError
        If there are not as many and the estimator is to start there.
    """
    most = min(shape)
    if not isinstance(n_components, Integral) or n_components <= most:
        return n_components
    if not is_random:
        raise ValueError(
            f"n_components={n_components} must be at most min(n_samples, n_features)="
            f'{most} with init="pca"; init="random" lifts this.'
        )
    return most


def check_same_width(n_components: Any, fitted: int) -> None:
    """Raise unless a warm start goes on with as many codes as before."""
    if isinstance(n_components, Integral) and n_components != fitted:
        raise ValueError(
            f"n_components={n_components}, but warm_start goes on from a fit with "
            f"{fitted}: keep it, or set warm_start=False."
        )


def check_widths(
    encoder: nn.Module,
    decoder: nn.Module,
    n_features: int,
    n_components: int,
    n_outputs: int,
) -> None:
    """Raise a ValueError unless the networks fit the data and each other."""
    for name, network, n_in, n_out in (
        ("encoder", encoder, n_features, n_outputs),
        ("decoder", decoder, n_components, n_features),
    ):
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():  # lazy modules get their weights here
                output = network(torch.zeros(2, n_in))
        except RuntimeError as error:
            raise ValueError(
                f"The {name} cannot take rows of width {n_in}: {error}"
            ) from error
        if not isinstance(output, Tensor):
            raise ValueError(
                f"The {name} returns a {type(output).__name__} where a tensor of shape "
                f"(n, {n_out}) is needed."
            )
        shape = tuple(output.shape)
        if shape != (2, n_out):
            raise ValueError(
                f"The {name} returns shape {shape} for 2 rows of width {n_in}: the "
                f"last dimension is {shape[-1]} where {n_out} is needed."
            )
        network.train(was_training)


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to follow from the data."""
    return isinstance(value, str) and value == "auto"


def new_random_state(random_state: Any) -> RandomState:
    """Return a RandomState; None draws a fresh seed and leaves numpy's alone."""
    return RandomState() if random_state is None else check_random_state(random_state)


def resolve_device(device: Any) -> torch.device:
    """Return the device to train on; "auto" takes CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, dtype=torch.float64, device=device).cpu()
        return torch.device(device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ValueError(
            f'device={device!r} cannot be used: {error}. Use "auto", "cpu", or "cuda" '
            "where there is one."
        ) from error


def check_callbacks(callbacks: Any) -> None:
    """Raise a ValueError for a callback of skorch that needs a DataLoader's batches."""
    for callback in callbacks or ():
        callback = callback[1] if isinstance(callback, tuple) else callback
        if not hasattr(callback, "set_params"):
            raise ValueError(
                f"callbacks={callbacks!r}: {callback!r} is not an instance of "
                "skorch.callbacks.Callback."
            )
        if isinstance(callback, (*SCORINGS, TrainEndCheckpoint)):
            raise ValueError(
                f"callbacks: {type(callback).__name__} needs the batches of a "
                "DataLoader, and there is none. The history has train_loss and "
                "valid_loss; Checkpoint saves, and cross_val_score scores."
            )


def check_net_params(net_params: dict[str, Any] | None) -> dict[str, Any]:
    """Return the further parameters of the net, all of which have an effect.

    Raises
    ------
    ValueError
        For one that the estimator decides, or that a net without a DataLoader ignores.
    """
    taken = {"optimizer__lr": "learning_rate_init", "callbacks": "callbacks"}
    for name in net_params or {}:
        first = name.split("__")[0]
        if name in taken:
            raise ValueError(f"net_params[{name!r}]: use {taken[name]} instead.")
        if first in ("module", "criterion"):
            raise ValueError(
                f"net_params[{name!r}]: the estimator and its architecture decide this."
            )
        if first in ("train_split", "dataset", "iterator_train", "iterator_valid"):
            raise ValueError(
                f"net_params[{name!r}] would have no effect: rows are batched and held "
                "out without a DataLoader. Use batch_size and validation_fraction."
            )
    return dict(net_params or {})
