"""Checks of what the user passes, with errors that name the parameter or column."""

from __future__ import annotations

import re
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

from ._dataset import LARGE_BYTES, row_chunks
from ._samples import as_rows, check_padding

SCORINGS = (BatchScoring, EpochScoring, PassthroughScoring)
HUGE = 1e140  # sums of the squares of larger numbers overflow
# What may change from a fit to one that goes on with its network.
FREE_PARAMETERS = {
    "n_components",  # has a check of its own
    "n_importance_samples",
    "whiten",
    "alpha",
    "batch_size",
    "learning_rate_init",
    "max_iter",
    "validation_fraction",
    "n_iter_no_change",
    "tol",
    "warm_start",
    "verbose",
    "random_state",
}
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of a function; another after a pickle


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
    estimator: BaseEstimator,
    X: Any,
    *,
    reset: bool,
    min_rows: int | None = None,
    handles_padding: bool = False,
) -> Any:
    """Return `X` as rows of float32 or float64, without needless copies.

    Images and series become rows; the shape of one is remembered. Many images of
    uint8 stay so, for their batches to be cast one by one.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``n_features_in_``, ``feature_names_in_`` and ``sample_shape_`` are set or
        compared.
    X : array-like, frame or sparse matrix
        Of shape (n_samples, n_features), or samples with more axes than one.
    reset : bool
        Whether this is the first time that the estimator sees rows.
    min_rows : int, default=None
        Fewest rows that can be fitted. None: they are not to be fitted.
    handles_padding : bool, default=False
        Whether NaN at the end of a row is the padding of a series.

    Returns
    -------
    array or CSR matrix of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        For anything but finite real numbers of the shape seen in `fit`.
    """
    fitted = None if reset else estimator.sample_shape_
    X, shape = as_rows(X, handles_padding, fitted)
    dtypes: list[Any] = [np.float64, np.float32]
    if getattr(X, "dtype", None) == np.uint8 and 8 * X.size > LARGE_BYTES:
        dtypes.append(np.uint8)
    try:
        rows = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=dtypes,
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
    if reset:
        estimator.sample_shape_ = shape or (rows.shape[1],)
    names = getattr(estimator, "feature_names_in_", None)
    check_finite(rows, names, estimator.sample_shape_, handles_padding)
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


def check_finite(
    X: Any,
    feature_names: NDArray | None = None,
    sample_shape: tuple[int, ...] = (),
    handles_padding: bool = False,
) -> None:
    """Raise a ValueError that names the first column with NaN or infinity.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
    feature_names : array of str, optional
        Names of the columns; by default their numbers are used.
    sample_shape : tuple of int, default=()
        Shape of a sample, for the message.
    handles_padding : bool, default=False
        Whether a row is a series that may end in NaN.
    """
    if sp.issparse(X):
        if np.isfinite(X.data).all():
            return
        coo = X.tocoo()
        entry = np.flatnonzero(~np.isfinite(coo.data))[0]
        i, j, value = coo.row[entry], coo.col[entry], coo.data[entry]
        _raise_not_finite(i, j, value, feature_names)
    for rows in row_chunks(X):
        chunk = X[rows]
        # A finite sum proves finite entries; an infinite one may be an overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(chunk.sum(dtype=np.float64)):
                continue
        if handles_padding:
            check_padding(chunk, sample_shape, rows.start)
        bad = np.argwhere(np.isinf(chunk) if handles_padding else ~np.isfinite(chunk))
        if len(bad):
            i, j = bad[0]
            row, value = rows.start + i, chunk[i, j]
            _raise_not_finite(row, j, value, feature_names, sample_shape)


def check_magnitude(X: Any, feature_names: NDArray | None = None) -> None:
    """Raise a ValueError if the squares of finite rows would overflow."""
    for rows in row_chunks(X):
        chunk = X[rows].data if sp.issparse(X) else X[rows]
        most, least = (f.reduce(chunk, None, initial=0) for f in (np.fmax, np.fmin))
        largest = max(float(most), -float(least))
        if largest < HUGE:
            continue
        dense = X[rows].toarray() if sp.issparse(X) else chunk
        row, column = divmod(int(np.nanargmax(np.abs(dense))), dense.shape[1])
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
    row: int,
    column: int,
    value: float,
    feature_names: NDArray | None,
    sample_shape: tuple[int, ...] = (),
) -> None:
    kind = "NaN" if np.isnan(value) else "infinity"
    where = f"in column {_column_name(column, feature_names)}"
    remedy = "sklearn.impute.SimpleImputer"
    if len(sample_shape) > 1:
        place = tuple(int(i) for i in np.unravel_index(column, sample_shape))
        where = f"at {place}"
        remedy = "interpolation; series that end in NaN need Recurrent()"
    raise ValueError(
        f"Input X contains {kind} {where} (row {row}). Every value must be "
        "finite: drop such rows, or replace the values (for NaN, for instance with "
        f"{remedy})."
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
    # NaN, the padding of a series, is not equal to itself; infinity is, and not there.
    keys = np.where(np.isnan(X), np.inf, X)
    distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
    if weight is None and len(distinct) == len(X):
        return X, None
    distinct[np.isinf(distinct)] = np.nan
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


def lasting_parameters(estimator: BaseEstimator) -> dict[str, str]:
    """Return the text of the parameters that networks and losses are made of."""
    params = estimator.get_params(deep=False).items()
    return {
        name: ADDRESS.sub("", repr(value))
        for name, value in params
        if name not in FREE_PARAMETERS
    }


def check_unchanged(fitted: dict[str, str], present: dict[str, str]) -> None:
    """Raise unless the networks and losses to go on with are those asked for."""
    for name, value in present.items():
        if value != fitted[name]:
            raise ValueError(
                f"{name}={value}, but training goes on from a fit with {fitted[name]}: "
                "keep it, or fit anew with warm_start=False."
            )


def check_widths(
    encoder: nn.Module,
    decoder: nn.Module,
    sample_shape: tuple[int, ...],
    n_components: int,
    n_outputs: int,
) -> None:
    """Raise a ValueError unless the networks fit the data and each other."""
    for name, network, taken, returned in (
        ("encoder", encoder, sample_shape, (n_outputs,)),
        ("decoder", decoder, (n_components,), sample_shape),
    ):
        width = taken[0] if len(taken) == 1 else taken
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad():  # lazy modules get their weights here
                output = network(torch.zeros(2, *taken))
        except RuntimeError as error:
            raise ValueError(
                f"The {name} cannot take rows of width {width}: {error}"
            ) from error
        if not isinstance(output, Tensor):
            raise ValueError(
                f"The {name} returns a {type(output).__name__} where a tensor of shape "
                f"(n, {', '.join(map(str, returned))}) is needed."
            )
        shape = tuple(output.shape)
        if shape != (2, *returned):
            raise ValueError(
                f"The {name} returns shape {shape} for 2 rows of width {width}: "
                f"{(2, *returned)} is needed."
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
