"""Measure held-out reconstruction: skae against PCA and against its peers.

Every system is fitted on the training rows of every set, code size and seed of the
panel. Results are stored after each fit, so that a run can be stopped and continued:

    python benchmarks/bench_quality.py --systems pca rf skorch
    python benchmarks/bench_quality.py --systems skae --force
    python benchmarks/bench_quality.py --systems skae --label skae-narrow \
        --param "hidden_layer_sizes=(64,)"
    python benchmarks/bench_quality.py --report --subject skae-narrow
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import harness
import numpy as np
import panel
import peers
import quality_report


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(panel.PANEL), default=list(panel.PANEL))
    add("--k", nargs="+", type=int, default=list(panel.CODE_SIZES))
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--systems", nargs="+", choices=list(peers.SYSTEMS), default=None)
    add("--force", action="store_true", help="run again what is stored already")
    add("--param", action="append", default=[], help="NAME=VALUE, for skae")
    add("--label", default="skae", help="store skae's results under this name")
    add("--subject", default=None, help="label to summarise (default: --label)")
    add("--report", action="store_true", help="only print what is stored")
    add("--untimed", action="store_true", help="mark the fit seconds as unreliable")
    add("--jobs-file", type=Path, default=harness.RESULTS / "quality.json")
    return parser.parse_args()


def parameters(pairs: list[str]) -> dict[str, Any]:
    """Turn ``["alpha=0.1", "init=random"]`` into keyword arguments."""
    params = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            params[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            params[name] = text
    return params


def chosen_systems(args: argparse.Namespace) -> dict[str, peers.System]:
    """Return the systems to run, by label; those whose package is missing go.

    Each is tried on a small table first: imports are then no part of the fit times,
    and a misspelt parameter fails before anything is stored.
    """
    systems = {}
    tiny = np.random.RandomState(0).standard_normal((64, 4))
    params = parameters(args.param)
    for name in args.systems or peers.SYSTEMS:
        system, label = peers.SYSTEMS[name], name
        if name == "skae":
            system, label = partial(system, **params), args.label
        try:
            system(tiny, 2, 0)(tiny)
        except ImportError as error:
            print(f"skipped {name}: {error}", flush=True)
        else:
            systems[label] = system
    return systems


def available_sets(names: list[str]) -> list[str]:
    """Return the sets that can be read here; print a line for each of the others."""
    found = []
    for name in names:
        try:
            panel.load(name)
        except panel.MissingSetError as error:
            print(f"skipped {name}: {error}", flush=True)
        else:
            found.append(name)
    return found


def cells(args: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Yield every (set, k, seed) asked for, with k below the number of columns."""
    for name in available_sets(args.sets):
        n_columns = panel.split(name, args.seeds[0])[0].shape[1]
        for k in args.k:
            if k < n_columns:
                yield from ((name, k, seed) for seed in args.seeds)


def held_out_r2(train: panel.Array, test: panel.Array, rebuilt: panel.Array) -> float:
    """Return the share of the total variance about the training mean explained."""
    total = np.sum((test - train.mean(axis=0)) ** 2)
    return float(1 - np.sum((test - rebuilt) ** 2) / total)


def measure(
    system: peers.System, name: str, k: int, seed: int, *, timed: bool
) -> harness.Record:
    """Fit one system on one cell; a crash is a result too."""
    train, test = panel.split(name, seed)
    record: harness.Record = {
        "set": name,
        "k": k,
        "seed": seed,
        "n": len(train) + len(test),
        "d": train.shape[1],
        "threads": harness.threads(),
        "timed": timed,
        "r2": None,
    }
    start = perf_counter()
    try:
        reconstruct = system(train, k, seed)
        record["seconds"] = round(perf_counter() - start, 4)
        r2 = held_out_r2(train, test, reconstruct(test))
    except Exception as error:
        record["error"] = f"{type(error).__name__}: {error}"[:200]
    else:
        record["r2"] = r2 if np.isfinite(r2) else None
        if record["r2"] is None:
            record["error"] = "reconstructions are not finite"
    return record


def run(args: argparse.Namespace) -> None:
    """Fit every system on every cell that is not stored yet."""
    systems = chosen_systems(args)
    todo = list(cells(args))
    done = harness.read_results(args.jobs_file)["records"]
    for turn, (name, k, seed) in enumerate(todo):
        for label in harness.rotated(list(systems), turn):
            key = f"{name}|{k}|{seed}|{label}"
            if not args.force and key in done and "error" not in done[key]:
                continue
            record = measure(systems[label], name, k, seed, timed=not args.untimed)
            record["system"] = label
            if label == args.label and args.param:
                record["params"] = args.param
            harness.save_record(args.jobs_file, key, record)
            result = record.get("error") or f"{record['r2']:.4f}"
            text = f"{name} k={k} seed={seed} {label}: {result}"
            seconds = f" ({record.get('seconds', 0):.2f} s)"
            harness.progress(turn + 1, len(todo), text + seconds)


def main() -> None:
    """Run what is missing, then print the report."""
    args = arguments()
    if not args.report:
        run(args)
    stored = harness.read_results(args.jobs_file)["records"].values()
    wanted = [
        r
        for r in stored
        if r["set"] in args.sets and r["k"] in args.k and r["seed"] in args.seeds
    ]
    print(quality_report.report(wanted, args.subject or args.label))


if __name__ == "__main__":
    main()
