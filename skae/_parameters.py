"""Checks of the parameters of an estimator, with errors that name the parameter."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import torch
from numpy.random import RandomState
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from skorch.callbacks import (
    BatchScoring,
    EpochScoring,
    PassthroughScoring,
    TrainEndCheckpoint,
)

# Callbacks that read what a DataLoader leaves behind.
OF_BATCHES = (BatchScoring, PassthroughScoring, TrainEndCheckpoint)
# What may change from a fit to one that goes on with its network.
FREE_PARAMETERS = {
    "n_components",  # has a check of its own
    "n_importance_samples",
    "whiten",
    "svd_solver",
    "iterated_power",
    "n_oversamples",
    "power_iteration_normalizer",
    "copy",
    "alpha",
    "contamination",
    "n_neighbors",
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
def naming(parameter: str) -> Iterator[None]:
    """Say in the message of an error which parameter it is about."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        if parameter in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{parameter}: {error}") from error


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Put the attributes of `estimator` back if the block raises anything."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        # What a fit has told callbacks has to be taken back by them.
        begun = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")
        kept = {k: v for k, v in estimator.__dict__.items() if k in begun}
        estimator.__dict__ = before | kept
        raise


def caller_level() -> int:
    """Return the stacklevel of a warning at the call from outside.

    Between it and a method are wrappers of scikit-learn, and perhaps a pipeline.
    """
    frame, level = sys._getframe(1), 1
    inside = re.compile(r"(skae|sklearn)\.")
    while frame.f_back and inside.match(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to follow from the data."""
    return isinstance(value, str) and value == "auto"


def check_reached(n_components: Any, start: Any, contamination: float) -> None:
    """Raise a ValueError if a start has fewer axes than codes were asked for."""
    most = start.n_components
    left = f" of the rows that contamination={contamination} leaves"
    of_which = left if contamination else ""
    if start.is_fallback and isinstance(n_components, Integral) and n_components > most:
        raise ValueError(
            f"n_components={n_components} must be at most min(n_samples, n_features)="
            f'{most}{of_which} with init="pca"; init="random" lifts this.'
        )


def check_same_width(n_components: Any, fitted: int) -> None:
    """Raise unless training goes on with as many codes as before."""
    if isinstance(n_components, Integral) and n_components != fitted:
        raise ValueError(
            f"n_components={n_components}, but training goes on from a fit with "
            f"{fitted}: keep it, or fit anew with warm_start=False."
        )


def lasting_parameters(params: SimpleNamespace) -> dict[str, str]:
    """Return the text of the parameters that networks and losses are made of."""
    return {
        name: ADDRESS.sub("", repr(value))
        for name, value in vars(params).items()
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


def new_random_state(random_state: Any) -> RandomState:
    """Return a RandomState; None is NumPy's own, so that its seed is honoured."""
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state={random_state!r}: use an integer from 0 to 2**32 - 1, a "
            "numpy.random.RandomState or None."
        ) from error


def check_flag(name: str, value: Any) -> bool:
    """Return a parameter of a method that is true or false."""
    try:
        return bool(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={value!r}: use True or False.") from error


def new_torch_generator(seed: int) -> torch.Generator:
    """Return a generator with this seed."""
    return torch.Generator().manual_seed(seed)


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


def device_or_cpu(device: Any) -> torch.device:
    """Return the device that something was fitted on, or the CPU where it is none."""
    try:
        return resolve_device(device)
    except ValueError:  # it was fitted on another machine
        return torch.device("cpu")


def check_callbacks(callbacks: Any, reconstructs: bool) -> list[Any] | None:
    """Return callbacks as a list.

    Raises
    ------
    ValueError
        For what is no callback of skorch, needs a DataLoader's batches, or scores
        reconstructions where there are none.
    """
    for entry in callbacks or ():
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if not hasattr(callback, "set_params") or inspect.isclass(callback):
            raise ValueError(
                f"callbacks={callbacks!r}: {callback!r} is not an instance of "
                "skorch.callbacks.Callback."
            )
        if isinstance(callback, OF_BATCHES):
            raise ValueError(
                f"callbacks: {type(callback).__name__} needs the batches of a "
                "DataLoader, and there is none. The history has train_loss and "
                "valid_loss; EpochScoring scores, and Checkpoint saves."
            )
        if getattr(callback, "load_best", False):
            raise ValueError(
                f"callbacks: {type(callback).__name__}(load_best=True) loads the "
                "weights of an epoch, which `fit` does by itself, or keeps the start: "
                "use load_best=False."
            )
        if isinstance(callback, EpochScoring) and not reconstructs:
            raise ValueError(
                f"callbacks: {type(callback).__name__} scores reconstructions, which "
                "this estimator has none of. The history has train_loss and valid_loss."
            )
    return None if callbacks is None else list(callbacks)


def check_monitors(callbacks: Any) -> None:
    """Raise a ValueError for a callback that a batch of `partial_fit` says too little.

    There is no validation within a batch.
    """
    for entry in callbacks or ():
        callback = entry[1] if isinstance(entry, tuple) else entry
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("valid_loss"):
            raise ValueError(
                f"callbacks: {type(callback).__name__} has monitor={monitor!r}, which "
                "partial_fit does not record: use monitor='train_loss', or "
                "callbacks=None."
            )


# Parameters of a net that are parameters of the estimator.
OWN_PARAMETERS = {
    "optimizer__lr": "learning_rate_init",
    "lr": "learning_rate_init",
    "optimizer__weight_decay": "alpha",
    "max_epochs": "max_iter",
    "seed": "random_state",
    "batch_size": "batch_size",
    "callbacks": "callbacks",
    "device": "device",
    "n_iter_no_change": "n_iter_no_change",
    "tol": "tol",
    "verbose": "verbose",
    "warm_start": "warm_start",
}
# Those that it decides itself.
DECIDED = {"module", "criterion", "keep_best", "restore_start", "loss_floor"}
DECIDED |= {"history", "initialized_", "virtual_params_"}  # which skorch copies by them
WITHOUT_LOADER = ("train_split", "dataset", "iterator_train", "iterator_valid")


def check_net_params(net_params: dict[str, Any] | None) -> dict[str, Any]:
    """Return the further parameters of the net, all of which have an effect.

    Raises
    ------
    ValueError
        For one that the estimator decides, or that a net without a DataLoader ignores.
    """
    for name in net_params or {}:
        if not isinstance(name, str):
            raise ValueError(
                f"net_params={net_params!r}: {name!r} is not the name of a parameter."
            )
        first = name.split("__")[0]
        if name in OWN_PARAMETERS:
            raise ValueError(
                f"net_params[{name!r}]: use {OWN_PARAMETERS[name]} instead."
            )
        if name == "optimizer__differentiable":
            raise ValueError(
                f"net_params[{name!r}]: the weights that a step changes are leaves, of "
                "which torch records no graph."
            )
        if first in DECIDED:
            raise ValueError(
                f"net_params[{name!r}]: the estimator and its architecture decide this."
            )
        if first in WITHOUT_LOADER:
            raise ValueError(
                f"net_params[{name!r}] would have no effect: rows are batched and held "
                "out without a DataLoader. Use batch_size and validation_fraction."
            )
    return dict(net_params or {})
