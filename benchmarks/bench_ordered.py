"""Measure codes that are cut short: what the first j of k codes are worth.

Held-out R2 of every prefix of the codes: PCA's, those of a plain network, those of
``ordered=True``, and with all codes also those of a linear encoder.

    python benchmarks/bench_ordered.py [--sets digits letter] [--k 8] [--force]
    python benchmarks/bench_ordered.py --report
"""

from __future__ import annotations

import argparse
from statistics import mean

import bench_quality
import harness
import numpy as np
import panel
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

FILE = harness.RESULTS / "ordered.json"
SETS = ("digits", "letter", "segment", "spambase", "optdigits", "mnist-5k")


def prefixes(
    model: AutoencoderTransformer, train: panel.Array, test: panel.Array
) -> list[float]:
    """Return the held-out R2 of the first codes, any number of them."""
    codes = model.transform(test)
    found = []
    for j in range(1, codes.shape[1] + 1):
        cut = np.where(np.arange(codes.shape[1]) < j, codes, 0)
        rebuilt = model.inverse_transform(cut)
        found.append(bench_quality.held_out_r2(train, test, rebuilt))
    return found


def measure(name: str, k: int, seed: int) -> harness.Record:
    """Return the R2 of every prefix, by system."""
    train, test = panel.split(name, seed)
    pca = PCA(k, svd_solver="full").fit(train)
    codes = pca.transform(test)
    record: harness.Record = {"set": name, "k": k, "seed": seed}
    record["pca"] = [
        bench_quality.held_out_r2(
            train, test, codes[:, :j] @ pca.components_[:j] + pca.mean_
        )
        for j in range(1, k + 1)
    ]
    for label, params in {
        "plain": {},
        "ordered": {"ordered": True},
        "linear encoder": {"linear_encoder": True},
    }.items():
        model = AutoencoderTransformer(k, random_state=seed, **params).fit(train)
        record[label] = prefixes(model, train, test)
    return record


def report(records: list[harness.Record]) -> str:
    """Return the mean over the seeds by table and prefix, and what was asked."""
    rows, below, short = [], [], []
    for name in dict.fromkeys(r["set"] for r in records):
        own = [r for r in records if r["set"] == name]
        for j in sorted({1, 2, 4, own[0]["k"]}):
            cells = [
                mean(r[label][j - 1] for r in own)
                for label in ("pca", "plain", "ordered", "linear encoder")
            ]
            rows.append([name, j, *cells[:3], cells[3] if j == own[0]["k"] else None])
    for r in records:
        cell = f"{r['set']} seed {r['seed']}"
        gains = np.subtract(r["ordered"], r["pca"])
        below += [f"{cell} j={j + 1}: {g:.4f}" for j, g in enumerate(gains) if g < 0]
        short.append((r["plain"][-1] - r["ordered"][-1], cell))
    header = ["table", "codes", "PCA", "plain", "ordered", "linear encoder"]
    return "\n\n".join(
        [
            harness.markdown_table(header, rows),
            f"Prefixes below PCA: {len(below)} of "
            f"{sum(len(r['pca']) for r in records)} {below}",
            f"All codes, ordered below plain by at most {max(short)[0]:.4f} "
            f"({max(short)[1]}), on average {mean(s for s, _ in short):.4f}",
        ]
    )


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(panel.PANEL), default=list(SETS))
    add("--k", type=int, default=8)
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    todo = [(name, args.k, seed) for name in args.sets for seed in args.seeds]
    for i, cell in enumerate(todo if not args.report else []):
        key = "|".join(map(str, cell))
        if args.force or key not in harness.read_results(FILE)["records"]:
            harness.save_record(FILE, key, measure(*cell))
            harness.progress(i + 1, len(todo), key)
    stored = harness.read_results(FILE)["records"].values()
    print(report([r for r in stored if r["set"] in args.sets and r["k"] == args.k]))


if __name__ == "__main__":
    main()
