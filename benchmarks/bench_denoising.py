"""Measure denoising: the error against clean held-out rows, for each corruption.

Held-out rows of the panel are corrupted and given to

- PCA: a projection fitted on clean rows, at the number of components that is best on
  the held-out rows themselves, so that the peer chooses with more than it may know;
- KernelPCA with an RBF kernel and a learnt inverse, as in scikit-learn's own denoising
  example, also at the best of its settings, on at most 2000 rows;
- DenoisingAutoencoder at its defaults, told the corruption and its level; and the
  linear denoiser that it starts at (``max_iter=0``).

    python benchmarks/bench_denoising.py [--sets digits mnist-5k] [--force]
    python benchmarks/bench_denoising.py --report
"""

from __future__ import annotations

import argparse
from statistics import mean
from time import perf_counter

import bench_quality
import harness
import numpy as np
import panel
import torch
from sklearn.decomposition import PCA, KernelPCA

from skae import DenoisingAutoencoder
from skae._corruptions import CORRUPTIONS

FILE = harness.RESULTS / "denoising.json"
LEVELS = {"swap": 0.15, "gaussian": 0.5, "masking": 0.15, "salt_and_pepper": 0.1}
KERNEL_ROWS = 2000


def corrupted(X: panel.Array, train: panel.Array, name: str, seed: int) -> panel.Array:
    """Corrupt rows, in units of the training rows' mean and deviation."""
    mean, scale = train.mean(0), np.sqrt(train.var(0).mean())
    generator = torch.Generator().manual_seed(1000 + seed)
    x = torch.from_numpy((X - mean) / scale)
    return CORRUPTIONS[name](x, LEVELS[name], generator).numpy() * scale + mean


def pca_error(train: panel.Array, noisy: panel.Array, clean: panel.Array) -> float:
    """Return the error of the best projection."""
    pca = PCA().fit(train)
    codes, rebuilt = pca.transform(noisy), np.tile(pca.mean_, (len(noisy), 1))
    errors = [((rebuilt - clean) ** 2).mean()]
    for j, axis in enumerate(pca.components_):
        rebuilt += codes[:, [j]] * axis
        errors.append(((rebuilt - clean) ** 2).mean())
    return float(min(errors))


def kernel_error(train: panel.Array, noisy: panel.Array, clean: panel.Array) -> float:
    """Return the error of the best of a few settings of KernelPCA."""
    rows = train[np.random.RandomState(0).permutation(len(train))[:KERNEL_ROWS]]
    scale = 1 / (rows.shape[1] * rows.var(0).mean())
    errors = []
    for gamma in (0.01 * scale, 0.1 * scale, scale):
        for k in (8, 32, 128):
            kernel = KernelPCA(
                min(k, len(rows) - 1),
                kernel="rbf",
                gamma=gamma,
                fit_inverse_transform=True,
                alpha=5e-3,
                random_state=0,
            ).fit(rows)
            rebuilt = kernel.inverse_transform(kernel.transform(noisy))
            errors.append(((rebuilt - clean) ** 2).mean())
    return float(min(errors))


def measure(name: str, corruption: str, seed: int) -> harness.Record:
    """Return the errors of every system, as shares of the columns' mean variance."""
    train, clean = panel.split(name, seed)
    noisy = corrupted(clean, train, corruption, seed)
    level = LEVELS[corruption]
    start = perf_counter()
    settings = {"corruption": corruption, "corruption_level": level}
    model = DenoisingAutoencoder(**settings, random_state=seed).fit(train)
    seconds = perf_counter() - start
    linear = DenoisingAutoencoder(**settings, max_iter=0, random_state=seed).fit(train)
    unit = train.var(0).mean()
    errors = {
        "noisy": float(((noisy - clean) ** 2).mean()),
        "pca": pca_error(train, noisy, clean),
        "kernel": kernel_error(train, noisy, clean),
        "linear": float(((linear.denoise(noisy) - clean) ** 2).mean()),
        "skae": float(((model.denoise(noisy) - clean) ** 2).mean()),
    }
    return {
        "set": name,
        "corruption": corruption,
        "seed": seed,
        "best_iter": int(model.best_iter_),
        "seconds": round(seconds, 3),
        **{system: error / unit for system, error in errors.items()},
    }


def report(names: list[str]) -> str:
    """Return the table, with errors as shares of the variance, and the ratios."""
    records = harness.read_results(FILE)["records"].values()
    systems = ("noisy", "pca", "kernel", "linear", "skae")
    rows: list[list[object]] = []
    lost = []
    for name in names:
        for corruption in LEVELS:
            key = (name, corruption)
            cell = [r for r in records if (r["set"], r["corruption"]) == key]
            if not cell:
                continue
            errors = {s: mean(r[s] for r in cell) for s in systems}
            best = min(errors["pca"], errors["kernel"])
            rows.append([*key, *errors.values(), errors["skae"] / best])
            lost += [key] * (errors["skae"] > best)
    header = ["set", "corruption", *systems, "skae / best peer"]
    table = harness.markdown_table(header, rows)
    return f"{table}\n\n{len(rows)} cells, {len(lost)} above the best peer: {lost}"


def main() -> None:
    """Run what is missing, then print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(panel.PANEL), default=list(panel.PANEL))
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    sets = bench_quality.available_sets(args.sets)
    todo = [(s, c, seed) for s in sets for c in LEVELS for seed in args.seeds]
    for i, (name, corruption, seed) in enumerate([] if args.report else todo):
        key = f"{name}|{corruption}|{seed}"
        if key not in harness.read_results(FILE)["records"] or args.force:
            record = measure(name, corruption, seed)
            harness.save_record(FILE, key, record)
            ratio = record["skae"] / min(record["pca"], record["kernel"])
            harness.progress(i + 1, len(todo), f"{key}: {ratio:.3f} of the best peer")
    print(report(sets))


if __name__ == "__main__":
    main()
