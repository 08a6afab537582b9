"""Measure how well missing cells are completed, on the tables of the public panel.

Cells of training and of test rows are hidden in the same way: completely at random (10,
30, 50, 70 %), given other columns (MAR, 30 %) or by their own value (MNAR, 30 %), the
last two by logistic functions. Columns are z-scored. What counts is the RMSE of hidden
cells, in deviations, of test rows and of the training rows themselves, the energy
distance of completed test rows from the true ones, and, where rows have classes, the
accuracy on test rows of a logistic regression that is fitted to completed ones.

    python benchmarks/bench_imputation.py [--tables wine iris] [--systems mean skae]
        [--patterns mcar30] [--seeds 0] [--force]
    python benchmarks/bench_imputation.py --report
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from statistics import mean
from time import perf_counter
from typing import Any

import harness
import numpy as np
import panel
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances

from skae import MaskedImputer

FILE = harness.RESULTS / "imputation.json"
TABLES = [name for name in panel.PANEL if name != "mnist-5k"]  # which takes hours
PATTERNS = ("mcar10", "mcar30", "mcar50", "mcar70", "mar30", "mnar30")
# IterativeImputer fits one model for each column and round.
MOST_COLUMNS = 128
LARGE = 500
ENERGY_ROWS = 500


def iterative(seed: int) -> Any:
    """Return scikit-learn's IterativeImputer at its defaults, of BayesianRidge."""
    return IterativeImputer(random_state=seed)


def extra_trees(seed: int) -> Any:
    """Return missForest's recipe: 20 trees for each column, 4 rounds."""
    trees = ExtraTreesRegressor(20, random_state=seed)
    return IterativeImputer(trees, max_iter=4, random_state=seed)


SYSTEMS: dict[str, Callable[[int], Any]] = {
    "mean": lambda seed: SimpleImputer(),
    "knn": lambda seed: KNNImputer(),
    "iterative": iterative,
    "trees": extra_trees,
    "start": lambda seed: MaskedImputer(max_iter=0, random_state=seed),
    "skae": lambda seed: MaskedImputer(random_state=seed),
}
SLOW = ("iterative", "trees")
PEERS = ("mean", "knn", "iterative", "trees")


def with_share(logits: NDArray, share: float) -> NDArray:
    """Return probabilities of mean `share`, by a shift of each column's logits."""
    low, high = np.full(logits.shape[1], -50.0), np.full(logits.shape[1], 50.0)
    for _ in range(60):
        shift = (low + high) / 2
        above = (1 / (1 + np.exp(-(logits + shift)))).mean(0) > share
        low, high = np.where(above, low, shift), np.where(above, shift, high)
    return 1 / (1 + np.exp(-(logits + shift)))


def hide(X: NDArray, pattern: str, rng: np.random.Generator) -> NDArray:
    """Return which cells of z-scored rows are hidden, shape (n, d)."""
    n, d = X.shape
    share = int(pattern[-2:]) / 100
    if pattern.startswith("mcar"):
        return rng.uniform(size=(n, d)) < share
    if pattern.startswith("mnar"):
        return rng.uniform(size=(n, d)) < with_share(2 * X, share)
    # Three columns in ten are always known, and say where the others are missing.
    seen = rng.permutation(d)[: max(1, round(0.3 * d))]
    weights = rng.standard_normal((len(seen), d)) * 2 / np.sqrt(len(seen))
    hidden = rng.uniform(size=(n, d)) < with_share(X[:, seen] @ weights, share)
    hidden[:, seen] = False
    return hidden


def energy_distance(X: NDArray, Y: NDArray) -> float:
    """Return the energy distance of two samples (Szekely & Rizzo 2013)."""
    across, within = pairwise_distances(X, Y).mean(), pairwise_distances(X).mean()
    return float(2 * across - within - pairwise_distances(Y).mean())


def measure(table: str, pattern: str, system: str, seed: int) -> harness.Record:
    """Return the errors of one system on one table."""
    train, test = panel.split(table, seed)
    centre, scale = train.mean(0), train.std(0)
    train, test = (train - centre) / scale, (test - centre) / scale
    rng = np.random.default_rng([seed, PATTERNS.index(pattern)])
    both = np.concatenate([train, test])
    hidden = hide(both, pattern, rng)
    shown = np.where(hidden, np.nan, both)
    n = len(train)
    known = ~np.isnan(shown[:n])
    varies = (known.sum(0) > 1) & (np.nanstd(np.where(known, train, 0), 0) > 0)
    shown, both, hidden = shown[:, varies], both[:, varies], hidden[:, varies]
    imputer = SYSTEMS[system](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = perf_counter()
        imputer.fit(shown[:n])
        fitted = perf_counter()
        completed = imputer.transform(shown[n:])
        done = perf_counter()
        on_train = imputer.transform(shown[:n])

    def rmse(rows: NDArray, part: slice) -> float:
        error = (rows - both[part])[hidden[part]]
        return float(np.sqrt((error**2).mean()))

    record = {
        "table": table,
        "pattern": pattern,
        "system": system,
        "seed": seed,
        "n": n,
        "d": int(varies.sum()),
        "rmse": rmse(completed, slice(n, None)),
        "rmse_train": rmse(on_train, slice(0, n)),
        "energy": energy_distance(completed[:ENERGY_ROWS], both[n:][:ENERGY_ROWS]),
        "fit_seconds": round(fitted - start, 3),
        "transform_seconds": round(done - fitted, 3),
    }
    if table in panel.LABELS:
        y_train, y_test = panel.split_labels(table, seed)
        classifier = LogisticRegression(max_iter=1000).fit(on_train, y_train)
        record["accuracy"] = float(classifier.score(completed, y_test))
    if system in ("start", "skae"):
        record["best_iter"] = imputer.autoencoder_.best_iter_
        drawn = imputer.set_params(sample_posterior=True).transform(shown[n:])
        record["draws"] = energy_distance(drawn[:ENERGY_ROWS], both[n:][:ENERGY_ROWS])
    return record


# The report


def cells(records: list[harness.Record], value: str) -> dict[tuple[str, ...], Any]:
    """Return, for each table, pattern and seed, a number of each system."""
    found: dict[tuple[str, ...], Any] = {}
    for r in records:
        key = r["table"], r["pattern"], str(r["seed"])
        found.setdefault(key, {"n": r["n"]})[r["system"]] = r[value]
    return found


def share(true: list[bool]) -> str:
    """Return how many of some cells."""
    return f"{sum(true)} of {len(true)}"


def promises(found: dict[tuple[str, ...], Any]) -> list[list[object]]:
    """Return what was promised, and in how many cells it holds."""
    cells = [c for c in found.values() if "skae" in c]
    large = [c for c in cells if c["n"] >= LARGE]
    rows: list[list[object]] = []

    def count(what: str, used: list[Any], *others: str, margin: float = 1.0) -> None:
        with_all = [c for c in used if all(name in c for name in others)]
        holds = [
            all(c["skae"] <= margin * c[name] for name in others) for c in with_all
        ]
        rows.append([what, share(holds)])

    count("at most 1 % above the start", cells, "start", margin=1.01)
    count("at most 1 % above the mean", cells, "mean", margin=1.01)
    for name in ("knn", "iterative", "trees"):
        count(f"at or below {name}, n >= {LARGE}", large, name)
    count(f"at or below iterative and knn, n >= {LARGE}", large, "iterative", "knn")
    count(f"best of all, n >= {LARGE}", large, *PEERS)
    held = [c["iterative"] <= 1.01 * c["mean"] for c in cells if "iterative" in c]
    rows.append(["(iterative: at most 1 % above the mean)", share(held)])
    return rows


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    systems = [s for s in SYSTEMS if any(r["system"] == s for r in records)]
    lines = []
    found = cells(records, "rmse")
    for pattern in PATTERNS:
        rows: list[list[object]] = []
        for table in panel.PANEL:
            row: list[object] = [table]
            own = [c for key, c in found.items() if key[:2] == (table, pattern)]
            # Seeds that all systems have had, if there are any.
            own = [c for c in own if all(s in c for s in systems)] or own
            for system in systems:
                values = [c[system] for c in own if system in c]
                row.append(mean(values) if values else None)
            if any(value is not None for value in row[1:]):
                rows.append(row)
        if rows:
            lines += [harness.markdown_table([pattern, *systems], rows), ""]
    for value, what in (("rmse", "test rows"), ("rmse_train", "fitted rows")):
        rows = promises(cells(records, value))
        lines += [harness.markdown_table([what, "cells"], rows), ""]
    energy = list(cells(records, "energy").values())
    everywhere = [c for c in energy if all(s in c for s in systems)]
    if everywhere:
        row = [f"energy distance, {len(everywhere)} cells"]
        row += [mean(c[s] for c in everywhere) for s in systems]
        draws = cells([r for r in records if "draws" in r], "draws")
        of_cells = cells(records, "energy").items()
        drawn = [draws[k]["skae"] for k, c in of_cells if all(s in c for s in systems)]
        header = ["mean", *systems, "skae, draws"]
        lines += [harness.markdown_table(header, [[*row, mean(drawn)]]), ""]
    classified = [r for r in records if "accuracy" in r]
    accuracy = list(cells(classified, "accuracy").values())
    behind = [s for s in systems if 4 * sum(s in c for c in accuracy) > len(accuracy)]
    everywhere = [c for c in accuracy if all(s in c for s in behind)]
    if everywhere:
        row = [f"accuracy behind it, {len(everywhere)} cells"]
        row += [mean(c[s] for c in everywhere) for s in behind]
        lines += [harness.markdown_table(["mean", *behind], [row]), ""]
    times = list(cells(records, "fit_seconds").values())
    rows = []
    for system in ("iterative", "trees", "start"):
        timed = [c for c in times if "skae" in c and c.get(system)]
        ratios = [c["skae"] / c[system] for c in timed]
        if ratios:
            rows.append([system, float(np.median(ratios)), max(ratios)])
    header = ["fit time of skae by that of", "median", "most"]
    lines += [harness.markdown_table(header, rows), ""]
    above = [
        f"{' '.join(key)} ({c['skae'] / c['start']:.3f})"
        for key, c in found.items()
        if "skae" in c and c["skae"] > 1.01 * c["start"]
    ]
    timed = [c for c in times if c["n"] >= LARGE and "skae" in c and "trees" in c]
    quicker = share([c["skae"] < c["trees"] for c in timed])
    lines += [
        f"Quicker than trees, n >= {LARGE}: {quicker}.",
        f"Above the start by more than 1 %: {', '.join(above)}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tables", nargs="+", choices=list(panel.PANEL), default=TABLES)
    add("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    add("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    todo = [
        (table, pattern, system, seed)
        for seed in args.seeds
        for pattern in args.patterns
        for table in args.tables
        for system in args.systems
    ]
    for i, (table, pattern, system, seed) in enumerate([] if args.report else todo):
        key = f"{table}|{pattern}|{system}|{seed}"
        if key in harness.read_results(FILE)["records"] and not args.force:
            continue
        if system in SLOW and panel.load(table).shape[1] > MOST_COLUMNS:
            continue
        record = measure(table, pattern, system, seed)
        harness.save_record(FILE, key, record)
        text = f"{key} {record['rmse']:.3f} {record['fit_seconds']:.1f} s"
        harness.progress(i + 1, len(todo), text)
    print(report())


if __name__ == "__main__":
    main()
