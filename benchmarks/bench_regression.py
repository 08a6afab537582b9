"""Measure how well half of the columns is predicted from few codes of the other half.

The tables of the public panel, the second half of the columns given the first; for
linnerud, physiology given exercise. A quarter of the rows is for testing, and what
counts is R2 about the test mean, over all columns at once (weighted by their variance)
and averaged over them (uniform). "ridge" and "MLP" have no limit on the rank.

    python benchmarks/bench_regression.py [--tables linnerud segment] [--k 2]
        [--systems start skae] [--seeds 0] [--force]
    python benchmarks/bench_regression.py --report
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from math import isnan, nan
from statistics import mean, median
from time import perf_counter
from typing import NamedTuple

import harness
import numpy as np
import panel
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

from skae import EncoderDecoder

FILE = harness.RESULTS / "regression.json"
CODE_SIZES = (2, 8)
FIGURES = ("weighted", "uniform", "fit_seconds")
MARGIN = 0.001  # R2 that does not count
# Penalties of ridge regression, as multiples of the mean variance of a column.
PENALTIES = 10.0 ** np.arange(-8, 2)

Array = panel.Array
Predict = Callable[[Array], Array]


class Halves(NamedTuple):
    """Training and test rows of both halves of the columns."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array


def split(name: str, seed: int) -> Halves:
    """Return the rows of one seed, scaled by the training rows."""
    train, test = panel.split(name, seed)
    half = train.shape[1] // 2
    return Halves(train[:, :half], train[:, half:], test[:, :half], test[:, half:])


def code_sizes(name: str, wanted: list[int]) -> list[int]:
    """Return the code sizes that both ranks allow."""
    halves = split(name, 0)
    rank = min(panel.rank(halves.x), panel.rank(halves.y))
    return [k for k in wanted if k <= rank]


# The systems


def fit_ridge(x: Array, y: Array, k: int, seed: int) -> Predict:
    """Fit ridge regression, of any rank, with a penalty by leave-one-out."""
    return RidgeCV(PENALTIES * len(x) * x.var(0).mean()).fit(x, y).predict


def fit_reduced(x: Array, y: Array, k: int, seed: int) -> Predict:
    """Fit reduced-rank regression: ridge on its first principal axes."""
    ridge, centre = fit_ridge(x, y, k, seed), y.mean(0)
    axes = np.linalg.svd(ridge(x) - centre, full_matrices=False)[2][:k]
    return lambda x: (ridge(x) - centre) @ axes.T @ axes + centre


def fit_pls(x: Array, y: Array, k: int, seed: int) -> Predict:
    """Fit partial least squares."""
    return PLSRegression(k).fit(x, y).predict


def fit_mlp(x: Array, y: Array, k: int, seed: int) -> Predict:
    """Fit MLPRegressor on views that are centred and divided by one scalar each."""
    centre_x, centre_y = x.mean(0), y.mean(0)
    scale_x, scale_y = (np.sqrt(of.var(0).mean()) for of in (x, y))
    model = MLPRegressor(early_stopping=len(x) >= panel.LARGE, random_state=seed)
    model.fit((x - centre_x) / scale_x, (y - centre_y) / scale_y)

    def predict(x: Array) -> Array:
        scaled = model.predict((x - centre_x) / scale_x)
        return scaled.reshape(len(x), -1) * scale_y + centre_y

    return predict


def fit_skae(x: Array, y: Array, k: int, seed: int, max_iter: int | str) -> Predict:
    """Fit EncoderDecoder at its defaults, but for its epochs."""
    return EncoderDecoder(k, max_iter=max_iter, random_state=seed).fit(x, y).predict


SYSTEMS: dict[str, Callable[[Array, Array, int, int], Predict]] = {
    "PLS": fit_pls,
    "reduced rank": fit_reduced,
    "start": partial(fit_skae, max_iter=0),
    "skae": partial(fit_skae, max_iter="auto"),
    "ridge": fit_ridge,
    "MLP": fit_mlp,
}
LINEAR = ("PLS", "reduced rank", "start")
UNLIMITED = ("ridge", "MLP")


def measure(name: str, k: int, system: str, seed: int) -> harness.Record:
    """Return the R2 of one system; not numbers, where it fails."""
    halves = split(name, seed)
    cell = {"table": name, "k": k, "system": system, "seed": seed, "n": len(halves.x)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = perf_counter()
            predict = SYSTEMS[system](halves.x, halves.y, k, seed)
            seconds = perf_counter() - start
            predicted = predict(halves.test_x)
            weighted, uniform = (
                float(r2_score(halves.test_y, predicted, multioutput=how))
                for how in ("variance_weighted", "uniform_average")
            )
        except Exception as error:  # of any system, and of any kind
            text = f"{type(error).__name__}: {error}"
            return {**cell, **dict.fromkeys(FIGURES, nan), "error": text[:200]}
    figures = {"weighted": weighted, "uniform": uniform}
    return {**cell, **figures, "fit_seconds": round(seconds, 3)}


# The report


Cells = dict[tuple[str, int, int], dict[str, float]]


def cells(records: list[harness.Record], figure: str) -> Cells:
    """Return, for table, code size and seed, a number of each system."""
    found: Cells = {}
    for r in records:
        if r["system"] not in UNLIMITED:
            cell = found.setdefault((r["table"], r["k"], r["seed"]), {})
            cell[r["system"]] = r[figure]
    for r in records:
        for (table, _, seed), cell in found.items():
            is_own = (table, seed) == (r["table"], r["seed"])
            if r["system"] in UNLIMITED and is_own:
                cell[r["system"]] = r[figure]
    return {
        key: {name: value for name, value in cell.items() if not isnan(value)}
        for key, cell in found.items()
    }


def means(found: Cells, figure: str) -> str:
    """Return a table of means over the seeds."""
    rows: list[list[object]] = []
    for table, k in sorted({key[:2] for key in found}):
        own = [cell for key, cell in found.items() if key[:2] == (table, k)]
        row: list[object] = [table, k]
        for system in SYSTEMS:
            values = [cell[system] for cell in own if system in cell]
            row.append(mean(values) if values else None)
        rows.append(row)
    return harness.markdown_table([figure, "k", *SYSTEMS], rows)


def promises(found: Cells, figure: str) -> str:
    """Return in how many cells skae is not below linear systems, and where it is."""
    rows: list[list[object]] = []
    below = []
    for what, others in (("best of same rank", LINEAR), ("ridge", ("ridge",))):
        gains = {
            key: cell["skae"] - max(cell[name] for name in others if name in cell)
            for key, cell in found.items()
            if "skae" in cell and any(name in cell for name in others)
        }
        misses = {key: gain for key, gain in gains.items() if gain < -MARGIN}
        if gains:
            share = f"{len(gains) - len(misses)} of {len(gains)}"
            rows.append([what, share, median(gains.values())])
        for (table, k, seed), gain in sorted(misses.items()):
            below.append(f"- {what}: {table}, k = {k}, seed {seed}: {gain:+.4f}")
    header = [f"{figure} R2, skae not below by {MARGIN}", "cells", "median gain"]
    return "\n".join([harness.markdown_table(header, rows), "", *below]).rstrip()


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    parts = [means(cells(records, figure), figure) for figure in FIGURES]
    parts += [promises(cells(records, figure), figure) for figure in FIGURES[:2]]
    times = cells(records, "fit_seconds").values()
    rows: list[list[object]] = []
    for other in SYSTEMS:
        ratios = [c["skae"] / c[other] for c in times if "skae" in c and c.get(other)]
        if ratios and other != "skae":
            rows.append([other, median(ratios), max(ratios)])
    header = ["fit time of skae by that of", "median", "most"]
    return "\n\n".join([*parts, harness.markdown_table(header, rows)])


def run(args: argparse.Namespace) -> None:
    """Measure what is not stored yet, the systems of a cell in rotating order."""
    sizes = {}
    for name in args.tables:
        try:
            sizes[name] = code_sizes(name, args.k)
        except panel.MissingSetError as error:
            print(f"skipped {name}: {error}", flush=True)
    todo = [
        (name, k, seed)
        for seed in args.seeds
        for name in args.tables
        for k in sizes.get(name, [])
    ]
    for i, (name, k, seed) in enumerate(todo):
        for system in harness.rotated(args.systems, i):
            rank = 0 if system in UNLIMITED else k
            key = f"{name}|{rank}|{system}|{seed}"
            is_first = rank or k == sizes[name][0]
            is_done = key in harness.read_results(FILE)["records"] and not args.force
            if is_done or not is_first:
                continue
            record = measure(name, rank, system, seed)
            harness.save_record(FILE, key, record)
            text = f"{key} {record['weighted']:.3f} {record['fit_seconds']:.1f} s"
            harness.progress(i + 1, len(todo), text)


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tables", nargs="+", choices=list(panel.PANEL), default=list(panel.PANEL))
    add("--k", nargs="+", type=int, default=list(CODE_SIZES))
    add("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    if not args.report:
        run(args)
    print(report())


if __name__ == "__main__":
    main()
