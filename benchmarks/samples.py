"""The public images and series, and what is measured on their codes.

Nothing here needs a network. Sets that need a package that is not installed raise
:class:`panel.MissingSetError`.
"""

from __future__ import annotations

import gzip
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import harness
import numpy as np
import panel
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

Split = tuple[NDArray, NDArray, NDArray, NDArray]
"""Training samples and labels, test samples and labels."""

FIGURES = ("r2", "linear", "5-NN", "seconds")

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def _shuffled(X: NDArray, y: NDArray, seed: int) -> Split:
    """Return three quarters for training and one for testing."""
    order = np.random.RandomState(seed).permutation(len(X))
    test, train = np.split(order, [round(0.25 * len(X))])
    return X[train], y[train], X[test], y[test]


def _digits(seed: int) -> Split:
    digits = load_digits()
    return _shuffled(digits.images / 16, digits.target, seed)


def _mnist_5k(seed: int) -> Split:
    X = panel.load("mnist-5k").reshape(-1, 28, 28) / 255
    return _shuffled(X, np.repeat(np.arange(10), 500), seed)


def _faces(seed: int) -> Split:
    """Return 100 faces and 100 patches without one, of 25 x 25 pixels."""
    if find_spec("skimage") is None:
        raise panel.MissingSetError("scikit-image is not installed")
    from skimage.data import lfw_subset

    return _shuffled(lfw_subset(), np.repeat([1, 0], 100), seed)


def _fashion(seed: int) -> Split:
    """Return 10,000 training and 5000 test images of clothes, 28 x 28."""
    if not FASHION.exists():
        raise panel.MissingSetError("dataset-fashion-mnist is not installed")
    rng = np.random.RandomState(seed)
    parts: list[NDArray] = []
    for name, n in (("train", 10_000), ("t10k", 5000)):
        pixels = _idx(FASHION / f"{name}-images-idx3-ubyte.gz", 16)
        labels = _idx(FASHION / f"{name}-labels-idx1-ubyte.gz", 8)
        chosen = rng.permutation(len(labels))[:n]
        parts += [pixels.reshape(-1, 28, 28)[chosen] / 255, labels[chosen]]
    return parts[0], parts[1], parts[2], parts[3]


def _idx(path: Path, header: int) -> NDArray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def _ts(name: str, seed: int) -> Split:
    """Return a set of series of shape (n_steps, n_channels) in aeon's own split."""
    del seed
    spec = find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise panel.MissingSetError("aeon is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name
    parts = []
    for part in ("TRAIN", "TEST"):
        lines = (folder / f"{name}_{part}.ts").read_text().splitlines()
        data = [line for line in lines if line and line[0] not in "#@"]
        fields = [line.split(":") for line in data]
        series = [[np.fromstring(c, sep=",") for c in f[:-1]] for f in fields]
        parts += [
            np.stack([np.stack(channels, axis=1) for channels in series]),
            np.array([f[-1] for f in fields]),
        ]
    return parts[0], parts[1], parts[2], parts[3]


IMAGES: dict[str, Callable[[int], Split]] = {
    "digits": _digits,
    "mnist-5k": _mnist_5k,
    "faces": _faces,
    "fashion": _fashion,
}
SERIES: dict[str, Callable[[int], Split]] = {
    name: partial(_ts, name)
    for name in ("GunPoint", "ItalyPowerDemand", "ArrowHead", "BasicMotions")
}


def flat_pca(k: int, seed: int) -> Any:
    """Return PCA of flattened samples."""
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    return make_pipeline(flat, PCA(k, random_state=seed))


def measure(split: Split, model: Any) -> harness.Record:
    """Fit a model; return its held-out R2, accuracies on its codes, and seconds."""
    X, y, test_X, test_y = split
    start = perf_counter()
    model.fit(X)
    seconds = perf_counter() - start
    codes, test_codes = model.transform(X), model.transform(test_X)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return {
        "r2": r2(X, test_X, model),
        "linear": float(probe.fit(codes, y).score(test_codes, test_y)),
        "5-NN": float(KNeighborsClassifier(5).fit(codes, y).score(test_codes, test_y)),
        "seconds": round(seconds, 3),
    }


def r2(X: NDArray, test_X: NDArray, model: Any) -> float | None:
    """Return the share of the test samples' variance that is rebuilt."""
    if isinstance(model, Pipeline):  # the first step only reshapes
        X, test_X, model = model[0].transform(X), model[0].transform(test_X), model[-1]
    if not hasattr(model, "n_components_"):
        return None
    rebuilt = model.inverse_transform(model.transform(test_X))
    total = ((test_X - X.mean(0)) ** 2).sum()
    return float(1 - ((test_X - rebuilt) ** 2).sum() / total)


def parser(
    description: str | None, sets: Iterable[str], code_sizes: Iterable[int]
) -> ArgumentParser:
    """Return what reads the command line of a script."""
    parser = ArgumentParser(
        description=description, formatter_class=RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(sets), default=list(sets))
    add("--seeds", nargs="+", type=int, default=[0, 1])
    add("--code-sizes", nargs="+", type=int, default=list(code_sizes))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    return parser


def run(
    file: Path,
    sets: Mapping[str, Callable[[int], Split]],
    systems: Mapping[str, Callable[[int, int], Any]],
    args: Namespace,
) -> None:
    """Measure and store what is missing, the systems of a cell one after the other."""
    cells = list(product(args.sets, args.code_sizes, args.seeds))
    for i, (name, k, seed) in enumerate([] if args.report else cells):
        try:
            split = sets[name](seed)
        except panel.MissingSetError as error:
            harness.progress(i + 1, len(cells), f"{name} left out: {error}")
            continue
        for system in harness.rotated(list(systems), i):
            key = f"{name}|{k}|{seed}|{system}"
            if key not in harness.read_results(file)["records"] or args.force:
                figures = measure(split, systems[system](k, seed))
                cell = {"set": name, "k": k, "seed": seed, "system": system}
                harness.save_record(file, key, {**cell, **figures})
                harness.progress(i + 1, len(cells), f"{key}: {figures}")


def report(file: Path, systems: Iterable[str]) -> str:
    """Return the table of what is stored: means over the seeds."""
    records = list(harness.read_results(file)["records"].values())
    cells = sorted({(r["set"], r["k"]) for r in records})
    rows: list[list[object]] = []
    for cell, system in product(cells, systems):
        own = [r for r in records if (r["set"], r["k"], r["system"]) == (*cell, system)]
        if own:
            means = [_mean([r[name] for r in own]) for name in FIGURES]
            rows.append([*cell, system, *means])
    return harness.markdown_table(["set", "k", "system", *FIGURES], rows)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
