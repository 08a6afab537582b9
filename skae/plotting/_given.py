"""What displays are given: a fitted estimator, rows, and parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._base import BaseAutoencoder
from .._dataset import as_dense
from .._estimator import NetworkEstimator
from .._imputer import MaskedImputer
from .._samples import takes_padding
from ..text._base import TextModel

# Series of more channels than this are taken for images.
MOST_CHANNELS = 4


# Estimators


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, and another estimator as it is."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def name_of(estimator: Any) -> str:
    """Return the name of an estimator, or of the last step of a pipeline."""
    return type(last_step(estimator)).__name__


def check_estimator(display: str, estimator: Any, *names: str) -> None:
    """Raise unless an estimator is fitted and has all methods or attributes.

    Raises
    ------
    sklearn.exceptions.NotFittedError
    ValueError
        That names the display, the estimator, and what it lacks.
    """
    check_is_fitted(estimator)
    for name in names:
        if not hasattr(estimator, name):
            raise ValueError(
                f"{display} needs an estimator with {name}, and {name_of(estimator)} "
                "has none."
            )


def check_draws_rows(display: str, estimator: Any) -> None:
    """Raise a ValueError for what is fitted on texts, which have no picture."""
    if isinstance(last_step(estimator), TextModel):
        raise ValueError(
            f"{display} draws rows of numbers, and the rows of {name_of(estimator)} "
            "are texts: LatentSpaceDisplay draws their codes."
        )


def codes_of(display: str, estimator: Any, X: Any) -> NDArray:
    """Return the codes of rows as an array of shape (n, k)."""
    check_estimator(display, estimator, "transform")
    if isinstance(last_step(estimator), MaskedImputer):
        raise ValueError(
            f"{display} draws codes, and MaskedImputer returns completed tables: "
            "MaskedAutoencoder has codes of incomplete rows."
        )
    codes = estimator.transform(X)
    codes = codes.toarray() if sp.issparse(codes) else np.asarray(codes)
    return codes.astype(np.float64)


def code_spread(display: str, estimator: Any) -> tuple[NDArray, NDArray]:
    """Return mean and deviation of each code over the training rows, each (k,)."""
    last = last_step(estimator)
    if not hasattr(last, "explained_variance_"):
        raise ValueError(
            f"{display} needs X for {name_of(estimator)}, which has no "
            "explained_variance_ to tell how far its codes spread."
        )
    deviation = np.sqrt(np.asarray(last.explained_variance_, dtype=np.float64))
    mean = np.zeros(len(deviation))
    if isinstance(last, BaseAutoencoder):
        unit = last._fit.deviation(np.dtype(np.float64))
        measured = getattr(last._fit.model, "codes", None)  # of a network
        mean = mean if measured is None else measured.mean / unit
        deviation = deviation / unit
    elif getattr(last, "whiten", False):
        deviation = np.ones(len(deviation))
    return mean, deviation


def fit_of(estimator: Any) -> Any:
    """Return all that fitting an estimator of skae with a network has found out."""
    last = last_step(estimator)
    last = getattr(last, "autoencoder_", last)  # of an imputer
    return getattr(last, "_fit", None) if isinstance(last, NetworkEstimator) else None


# Rows


def samples_of(estimator: Any, X: Any, image_shape: Any = None) -> NDArray:
    """Return rows as an array in the shape of samples, (n, *sample_shape)."""
    if isinstance(estimator, BaseAutoencoder):
        rows = estimator._as_samples(as_dense(estimator._fitted_rows(X)))
    else:
        rows = X.toarray() if sp.issparse(X) else np.asarray(X)
    return in_shape(rows.astype(np.float64), image_shape)


def in_shape(rows: NDArray, image_shape: Any) -> NDArray:
    """Return flat rows as images of a shape, (n, *image_shape), if there is one.

    Raises
    ------
    ValueError
        If it is not a shape of two or three axes with as many pixels as a row has.
    """
    if image_shape is None:
        return rows
    n_features = math.prod(rows.shape[1:])
    is_shape = np.shape(image_shape) in {(2,), (3,)} and all(
        isinstance(n, int | np.integer) and n > 0 for n in image_shape
    )
    if not is_shape or math.prod(image_shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width) or (channels, "
            f"height, width) with a product of {n_features}, the number of features."
        )
    return rows.reshape(len(rows), *image_shape)


def kind_of(estimator: Any, samples: NDArray, kind: str, image_shape: Any) -> str:
    """Return whether samples are drawn as images or as lines.

    Raises
    ------
    ValueError
        For another `kind`, or samples that cannot be drawn as such.
    """
    if kind not in ("auto", "image", "line"):
        raise ValueError(f"kind={kind!r} must be 'auto', 'image' or 'line'.")
    shape = samples.shape[1:]
    if kind == "auto":
        fit = fit_of(estimator)
        architecture = None if fit is None else fit.objective.params.architecture
        is_series = getattr(architecture, "repeats_over_steps", False)
        is_narrow = image_shape is None and shape[-1] <= MOST_CHANNELS
        is_line = len(shape) == 1 or (len(shape) == 2 and (is_series or is_narrow))
        kind = "line" if is_line else "image"
    if kind == "line" and len(shape) > 2:
        raise ValueError(
            f"kind='line' needs samples of shape (n_features,) or (n_steps, "
            f"n_channels), and these have {shape}."
        )
    colours = len(shape) == 3 and shape[0] in (1, 3)
    if kind == "image" and len(shape) != 2 and not colours:
        raise ValueError(
            f"Images have shape (height, width), (1, height, width) or (3, height, "
            f"width), and these samples have {shape}: image_shape says how flat rows "
            "are images."
        )
    return kind


def hides_padding(estimator: Any) -> bool:
    """Whether NaN in a row is the end of a series, after which nothing is drawn."""
    fit = fit_of(estimator)
    if fit is None or fit.objective.handles_missing:
        return False
    return takes_padding(fit.objective.params.architecture)


# Parameters


def check_components(components: Any, n_components: int) -> tuple[int, ...]:
    """Return which codes are drawn; None means the first ones, at most two.

    Raises
    ------
    ValueError
        If these are not one or two different codes, counted from 0.
    """
    if components is None:
        return tuple(range(min(2, n_components)))
    chosen = np.atleast_1d(components).ravel().tolist()
    are_codes = all(
        isinstance(j, int) and not isinstance(j, bool) and 0 <= j < n_components
        for j in chosen
    )
    if not are_codes or not 1 <= len(set(chosen)) == len(chosen) <= 2:
        raise ValueError(
            f"components={components!r} must be one or two different codes, from 0 to "
            f"{n_components - 1}."
        )
    return tuple(int(j) for j in chosen)
