"""Measure what logistic regression makes of codes, with few labels.

A quarter of the rows is for testing; labels are known of a quarter of the others.
Codes are fitted on all training rows without labels, but for LDA and "contrastive,
labels", which get the rows with labels and these. Logistic regression then learns from
standardised codes of the rows with labels, and what counts is its accuracy on test
rows.

    python benchmarks/bench_probes.py [--tables letter] [--k 8 16] [--seeds 0]
        [--corruption-levels 0.15 0.3 0.6] [--force]
    python benchmarks/bench_probes.py --report
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from math import isnan, nan
from statistics import mean
from time import perf_counter
from typing import Any

import bench_downstream
import harness
import numpy as np
import panel
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import FunctionTransformer

from skae import AutoencoderTransformer, ContrastiveAutoencoder

FILE = harness.RESULTS / "probes.json"
TABLES = ("letter", "satimage", "optdigits")
FIGURES = ("accuracy", "fit_seconds")
LABELLED = 0.25

# The systems: from k, the number of classes and a seed to a transformer.
UNSUPERVISED: dict[str, Callable[[int, int], Any]] = {
    "raw": lambda k, seed: FunctionTransformer(),
    "PCA": lambda k, seed: PCA(k, random_state=seed),
    "autoencoder": lambda k, seed: AutoencoderTransformer(k, random_state=seed),
}
SUPERVISED: dict[str, Callable[[int, int], Any]] = {
    "LDA": lambda k, seed: LinearDiscriminantAnalysis(n_components=k),
    "contrastive, labels": lambda k, seed: ContrastiveAutoencoder(k, random_state=seed),
}
COPIES = "contrastive "  # and the level of corruption


def split(name: str, seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return training rows and labels, and test ones, scaled by the training rows."""
    X, y = bench_downstream.load(name)
    order = np.random.RandomState(seed).permutation(len(X))
    test, train = np.split(order, [round(0.25 * len(X))])
    scaled = panel.scaled(X[train], X[test], panel.PANEL[name].scaling)
    return scaled[0], y[train], scaled[1], y[test]


def fitted(system: str, X: NDArray, y: NDArray, n: int, k: int, seed: int) -> Any:
    """Return a transformer, fitted on all rows or on the first `n` and their labels."""
    if system in SUPERVISED:
        k = min(k, len(np.unique(y[:n])) - 1)
        return SUPERVISED[system](k, seed).fit(X[:n], y[:n])
    if system in UNSUPERVISED:
        return UNSUPERVISED[system](k, seed).fit(X)
    level = float(system.removeprefix(COPIES))
    return ContrastiveAutoencoder(k, corruption_level=level, random_state=seed).fit(X)


def measure(name: str, k: int, system: str, seed: int) -> harness.Record:
    """Return the accuracy on codes of one system; not a number, where it fails."""
    X, y, test_X, test_y = split(name, seed)
    n = round(LABELLED * len(X))
    cell = {"table": name, "k": k, "system": system, "seed": seed}
    cell |= {"n": len(X), "n_labelled": n}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = perf_counter()
            model = fitted(system, X, y, n, k, seed)
            seconds = perf_counter() - start
            codes, test_codes = model.transform(X[:n]), model.transform(test_X)
            probe = bench_downstream.logistic().fit(codes, y[:n])
            accuracy = float(probe.score(test_codes, test_y))
        except Exception as error:  # of any system, and of any kind
            text = f"{type(error).__name__}: {error}"
            return {**cell, **dict.fromkeys(FIGURES, nan), "error": text[:200]}
    record = {**cell, "n_codes": codes.shape[1], "accuracy": accuracy}
    if hasattr(model, "best_iter_"):
        record["best_iter"] = model.best_iter_
    return {**record, "fit_seconds": round(seconds, 3)}


def means(records: list[harness.Record], figure: str) -> str:
    """Return a table of means over the seeds."""
    stored = {r["system"] for r in records}
    copies = sorted(stored - {*UNSUPERVISED, *SUPERVISED})
    systems = [s for s in (*UNSUPERVISED, *copies, *SUPERVISED) if s in stored]
    rows: list[list[object]] = []
    for table, k in sorted({(r["table"], r["k"]) for r in records}):
        row: list[object] = [table, k]
        for system in systems:
            cell = table, k, system
            own = [r for r in records if (r["table"], r["k"], r["system"]) == cell]
            values = [r[figure] for r in own if not isnan(r[figure])]
            row.append(mean(values) if values else None)
        rows.append(row)
    return harness.markdown_table([figure, "k", *systems], rows)


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    return "\n\n".join(means(records, figure) for figure in FIGURES)


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    add("--k", nargs="+", type=int, default=[8])
    add("--corruption-levels", nargs="+", type=float, default=[0.3])
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    copies = [f"{COPIES}{level:g}" for level in args.corruption_levels]
    systems = [*UNSUPERVISED, *copies, *SUPERVISED]
    todo = [
        (name, k, seed) for seed in args.seeds for name in args.tables for k in args.k
    ]
    for i, (name, k, seed) in enumerate([] if args.report else todo):
        for system in harness.rotated(systems, i):
            key = f"{name}|{k}|{system}|{seed}"
            if key in harness.read_results(FILE)["records"] and not args.force:
                continue
            record = measure(name, k, system, seed)
            harness.save_record(FILE, key, record)
            text = f"{key} {record['accuracy']:.3f} {record['fit_seconds']:.1f} s"
            harness.progress(i + 1, len(todo), text)
    print(report())


if __name__ == "__main__":
    main()
