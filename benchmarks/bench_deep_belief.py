"""Measure the deep belief autoencoder: what machines as hidden layers are worth.

Squared error per held-out image of 5000 MNIST digits, as a share of that of PCA with 30
components (Hinton & Salakhutdinov 2006 report 3.00 against 13.87 with 60,000 images and
784-1000-500-250-30), of networks of the sizes 784-500-250-30:

- DeepBeliefAutoencoder at its defaults; the same without machines
  (``pretrain_max_iter=0``), which are logistic units from random weights; and the
  unrolled network alone, the paper's (``init="random"``), with and without machines;
- AutoencoderTransformer, rectified units from random weights beside PCA.

The same of Fashion-MNIST (10,000 images to train, 5000 to test), where Debian's package
dataset-fashion-mnist is installed. Pixels that are constant in training are left out,
as in all benchmarks.

    python benchmarks/bench_deep_belief.py [--sets mnist-5k fashion] [--seeds 0 1 2]
        [--force]
    python benchmarks/bench_deep_belief.py --report
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from statistics import mean
from time import perf_counter
from typing import Any

import harness
import panel
import samples
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer, DeepBeliefAutoencoder

FILE = harness.RESULTS / "deep_belief.json"
SETS, K = ("mnist-5k", "fashion"), 30
SIZES = (500, 250)
TARGET = 0.6
PAPER = 3.00 / 13.87


def deep_belief(**changes: Any) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        how = {"hidden_layer_sizes": SIZES, "random_state": seed, **changes}
        return DeepBeliefAutoencoder(K, **how)

    return make


def plain(seed: int) -> Any:
    return AutoencoderTransformer(K, hidden_layer_sizes=SIZES, random_state=seed)


SYSTEMS: dict[str, Callable[[int], Any]] = {
    "machines": deep_belief(),
    "no machines": deep_belief(pretrain_max_iter=0),
    "machines, unrolled": deep_belief(init="random"),
    "no machines, unrolled": deep_belief(init="random", pretrain_max_iter=0),
    "AutoencoderTransformer": plain,
}


def split(name: str, seed: int) -> tuple[panel.Array, panel.Array]:
    """Return training and test rows."""
    if name == "mnist-5k":
        return panel.split(name, seed)
    train, _, test, _ = samples.IMAGES[name](seed)
    flat = (part.reshape(len(part), -1) for part in (train, test))
    return panel.scaled(*flat, "glob")


def measure(name: str, system: str, seed: int) -> harness.Record:
    """Return the error of a system per held-out image, and that of PCA."""
    train, test = split(name, seed)
    pca = PCA(K, random_state=seed).fit(train)
    residual = pca.inverse_transform(pca.transform(test)) - test
    start = perf_counter()
    model = SYSTEMS[system](seed).fit(train)
    seconds = perf_counter() - start
    n_columns = test.shape[1]
    return {
        "set": name,
        "system": system,
        "seed": seed,
        "pca": float((residual**2).sum(1).mean()),
        "error": float(model.reconstruction_error(test).mean() * n_columns),
        "train_error": float(model.reconstruction_error(train).mean() * n_columns),
        "best_iter": int(model.best_iter_),
        "seconds": round(seconds, 1),
    }


def report() -> str:
    """Return the table of errors as shares of PCA's."""
    records = list(harness.read_results(FILE)["records"].values())
    rows: list[list[object]] = []
    for name, system in product(SETS, SYSTEMS):
        cell = [r for r in records if (r["set"], r["system"]) == (name, system)]
        if not cell:
            continue
        shares = [r["error"] / r["pca"] for r in cell]
        on_train = mean(r["train_error"] / r["pca"] for r in cell)
        seconds = round(mean(r["seconds"] for r in cell))
        spread = f"{min(shares):.3f} to {max(shares):.3f}"
        rows.append([name, system, len(cell), mean(shares), spread, on_train, seconds])
    header = [
        "set",
        "system",
        "seeds",
        "error / PCA's",
        "range",
        "on training rows",
        "s",
    ]
    table = harness.markdown_table(header, rows)
    return f"{table}\n\nThe target is {TARGET}; the paper's share is {PAPER:.3f}."


def main() -> None:
    """Run what is missing, then print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=SETS, default=SETS)
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    todo = list(product(args.sets, args.seeds, SYSTEMS))
    for i, (name, seed, system) in enumerate([] if args.report else todo):
        key = f"{name}|{system}|{seed}"
        if key not in harness.read_results(FILE)["records"] or args.force:
            record = measure(name, system, seed)
            harness.save_record(FILE, key, record)
            share = record["error"] / record["pca"]
            harness.progress(i + 1, len(todo), f"{key}: {share:.3f} of PCA's error")
    print(report())


if __name__ == "__main__":
    main()
