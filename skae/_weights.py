"""Checks of what is given beside the rows: a weight and a group of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, _num_samples

from ._parameters import naming
from ._rows import check_unmasked, is_missing

# Weights further apart than this are lost in rounding.
WEIGHT_RATIO = 1e12


def check_weights(sample_weight: Any, X: Any) -> NDArray | None:
    """Return the weights of rows, if they are given.

    Raises
    ------
    ValueError
        If the weights do not fit the rows, are negative, are all zero, or differ by
        more than rounding allows.
    """
    if sample_weight is None:
        return None
    check_unmasked("sample_weight", sample_weight)
    with naming("sample_weight"):
        given, n_rows = np.asarray(sample_weight), _num_samples(X)
        if given.dtype.kind not in "biufO":
            raise ValueError(
                f"sample_weight must hold real numbers, not {given.dtype}."
            )
        if given.ndim == 1 and len(given) != n_rows:
            raise ValueError(
                f"sample_weight has shape {given.shape}, but there are {n_rows} rows: "
                f"give one weight for each, of shape ({n_rows},)."
            )
        if not np.any(given != 0):
            raise ValueError(
                "sample_weight is zero for every row: give one row a weight."
            )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight.min() < 0:
            row = weight.argmin()
            raise ValueError(
                f"sample_weight is negative for row {row}, {weight[row]}: weights must "
                "be 0 or more."
            )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not 1e-150 < total < 1e150:
        raise ValueError(
            f"sample_weight adds up to {total:.3g}: scale the weights to numbers near "
            "1."
        )
    least, most = weight[weight > 0].min(), weight.max()
    if most > WEIGHT_RATIO * least:
        raise ValueError(
            f"sample_weight goes from {least} to {most}: weights that differ by more "
            f"than a factor of {WEIGHT_RATIO:.0e} are lost in rounding. Set the small "
            "ones to 0."
        )
    return weight


def check_groups(groups: Any, X: Any) -> NDArray | None:
    """Return the groups of rows as numbers from 0 on.

    Raises
    ------
    ValueError
        If there is not one label for each row, or one is missing.
    """
    if groups is None:
        return None
    check_unmasked("groups", groups)
    # numpy would make text of a list in which some labels are.
    labels = np.asarray(groups, dtype=None if hasattr(groups, "dtype") else object)
    if labels.shape != (X.shape[0],):
        raise ValueError(
            f"groups has shape {labels.shape}, but X has {X.shape[0]} rows: give one "
            f"label for each, of shape ({X.shape[0]},)."
        )
    if labels.dtype.kind == "O":  # of mixed types, which have no order
        missing = np.array([is_missing(label) for label in labels])
        labels = np.array([f"{type(label).__name__} {label}" for label in labels])
    else:
        missing = labels != labels
    if np.any(missing):
        row = int(np.argmax(missing))
        raise ValueError(
            f"groups has no label for row {row}: {np.asarray(groups)[row]}. Give "
            "such rows a group of their own, or drop them."
        )
    return np.unique(labels, return_inverse=True)[1].ravel()


def used_rows(
    X: Any, weight: NDArray | None, groups: NDArray | None = None, min_rows: int = 1
) -> tuple[Any, NDArray | None, NDArray | None]:
    """Return the rows with a weight above zero, their weights and their groups.

    Rows that all count the same, and at most once, need no weights.

    Raises
    ------
    ValueError
        If too few rows are left.
    """
    if weight is None:
        return X, None, groups
    used = weight > 0
    if used.sum() < min_rows:
        raise ValueError(
            f"sample_weight leaves {used.sum()} row with a weight above zero, but at "
            f"least {min_rows} are needed."
        )
    if not used.all():
        groups = None if groups is None else groups[used]
        X, weight = X[used], weight[used]
    return X, None if weight.min() == weight.max() <= 1 else weight, groups
