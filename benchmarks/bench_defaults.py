"""Measure what other defaults would do, one changed at a time.

Small tables (seeds 0 and 1) and large ones (seed 0) apart, as their defaults differ:

    python benchmarks/bench_defaults.py [--groups small large]
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import mean
from typing import Any

import bench_quality
import harness
import panel
import peers

FILE = harness.RESULTS / "defaults.json"

GROUPS: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = {
    "small": (
        ("wine", "iris", "diabetes", "linnerud", "breast-cancer", "linear-factors"),
        (1, 2, 4, 8),
        (0, 1),
    ),
    "large": (("letter", "spambase", "segment"), (1, 2, 8), (0,)),
}

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "small": [
        {},
        {"batch_size": 16},
        {"batch_size": 64},
        {"batch_size": 128},
        {"hidden_layer_sizes": (32,)},
        {"hidden_layer_sizes": (128,)},
        {"hidden_layer_sizes": (64, 64)},
        {"hidden_layer_sizes": (256, 128)},
        {"learning_rate_init": 3e-3},
        {"learning_rate_init": 2e-2},
        {"max_iter": 100},
        {"alpha": 1e-1},
        {"alpha": 1e-3},
        {"activation": "tanh"},
    ],
    "large": [
        {},
        {"batch_size": 128},
        {"batch_size": 512},
        {"hidden_layer_sizes": (256,)},
        {"hidden_layer_sizes": (128, 64)},
        {"learning_rate_init": 3e-3},
        {"max_iter": 25},
        {"max_iter": 100},
        {"alpha": 1e-1},
    ],
}


def measure(group: str, params: dict[str, Any]) -> list[float]:
    """Return the held-out R2 of every cell of a group."""
    names, sizes, seeds = GROUPS[group]
    system = partial(peers.fit_skae, **params)
    scores = []
    for name in names:
        for seed in seeds:
            n_columns = panel.split(name, seed)[0].shape[1]
            for k in sizes:
                if k < n_columns:
                    cell = bench_quality.measure(system, name, k, seed, timed=False)
                    scores.append(cell["r2"])
    return scores


def main() -> None:
    """Measure every variant that is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    args = parser.parse_args()
    for group in args.groups:
        rows: list[list[object]] = []
        for i, params in enumerate(VARIANTS[group]):
            name = ", ".join(f"{k}={v}" for k, v in params.items()) or "the defaults"
            key, stored = f"{group}: {name}", harness.read_results(FILE)["records"]
            if key not in stored:
                harness.save_record(FILE, key, {"r2": measure(group, params)})
                stored = harness.read_results(FILE)["records"]
            scores, base = stored[key]["r2"], stored[f"{group}: the defaults"]["r2"]
            gains = [a - b for a, b in zip(scores, base, strict=True)]
            rows.append([name, mean(scores), mean(gains), min(gains), max(gains)])
            harness.progress(i + 1, len(VARIANTS[group]), key)
        header = [group, "mean R2", "against the defaults", "worst", "best"]
        print(harness.markdown_table(header, rows), end="\n\n")


if __name__ == "__main__":
    main()
