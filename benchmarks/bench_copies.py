"""Copies of rows: an oversampled or a bootstrapped table is not worse than PCA.

Rows A of a table are given several times each (``np.repeat``) or drawn with
replacement, to totals below and above the 1000 rows from which a split decides, beside
A itself. The table is an array, a sparse matrix, or a file that is mapped into memory;
the last two are read batch by batch, as large ones are. Each fit is compared with PCA
of the same rows, on rows that are not in A: in R2, or in nats per feature for the VAE.

    python benchmarks/bench_copies.py [--tables noise wine] [--seeds 0 1] [--report]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import harness
import numpy as np
import panel
import scipy.sparse as sp
from bench_gate import held_out_r2
from sklearn.decomposition import PCA

from skae import VAE, AutoencoderTransformer

FILE = harness.RESULTS / "copies.json"
TABLES = ("wine", "breast-cancer", "digits", "noise")
N_COMPONENTS = 4
TOTALS = (600, 1600)  # rows, on both sides of 1000
MOST_DISTINCT = 300
LIMIT = {"AutoencoderTransformer": 0.001, "VAE": 0.01}


def distinct_rows(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that are copied, 300 at most, and the others."""
    if name == "noise":
        X = np.random.default_rng(seed).normal(size=(1300, 20))
        return X[:MOST_DISTINCT], X[MOST_DISTINCT:]
    train, test = panel.split(name, seed)
    return train[:MOST_DISTINCT], np.concatenate([train[MOST_DISTINCT:], test])


def once(A: np.ndarray, total: int, seed: int) -> np.ndarray:
    """Return the rows as they are."""
    return A


def repeated(A: np.ndarray, total: int, seed: int) -> np.ndarray:
    """Return each row so often that there are about `total`."""
    return np.repeat(A, max(2, round(total / len(A))), axis=0)


def bootstrapped(A: np.ndarray, total: int, seed: int) -> np.ndarray:
    """Return `total` rows drawn with replacement."""
    return A[np.random.default_rng(seed).integers(len(A), size=total)]


KINDS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "once": once,
    "repeat": repeated,
    "bootstrap": bootstrapped,
}


def stored(X: np.ndarray, how: str, folder: str) -> Any:
    """Return the same rows as an array, a sparse matrix, or a memory map."""
    if how == "sparse":
        return sp.csr_matrix(X)
    if how == "mapped":
        path = Path(folder) / "X.npy"
        np.save(path, X)
        return np.load(path, mmap_mode="r")
    return X


def cells(args: argparse.Namespace) -> Iterator[tuple[str, str, int, str, int]]:
    """Yield every table, kind, total, storage and seed."""
    for name in args.tables:
        for kind in KINDS:
            for total in TOTALS[:1] if kind == "once" else TOTALS:
                for how in ("dense", "sparse", "mapped"):
                    for seed in args.seeds:
                        yield name, kind, total, how, seed


def measure(name: str, kind: str, total: int, how: str, seed: int) -> harness.Record:
    """Return by how much each estimator is better than PCA."""
    A, test = distinct_rows(name, seed)
    X = KINDS[kind](A, total, seed)
    pca = PCA(N_COMPONENTS, random_state=seed).fit(X)
    record: harness.Record = {"n": len(X)}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("skae._dataset.SMALL_BYTES", 0),  # read in batches what is not an array
    ):
        rows = stored(X, how, folder)
        model = AutoencoderTransformer(N_COMPONENTS, random_state=seed).fit(rows)
        gain = held_out_r2(model, X, test) - held_out_r2(pca, X, test)
        record["AutoencoderTransformer"] = float(gain)
        vae = VAE(N_COMPONENTS, random_state=seed).fit(rows)
        record["VAE"] = (vae.score(test) - pca.score(test)) / X.shape[1]
    return record


def report(tables: list[str]) -> str:
    """Return the table of the worst and mean gains."""
    records = harness.read_results(FILE)["records"]
    rows = []
    for name in tables:
        for kind in KINDS:
            for side in TOTALS:
                key = f"{name}|{kind}|{side}|"
                found = [r for k, r in records.items() if k.startswith(key)]
                if not found:
                    continue
                row: list[object] = [name, kind, found[0]["n"], len(found)]
                for estimator, limit in LIMIT.items():
                    gains = [r[estimator] for r in found]
                    worse = sum(gain < -limit for gain in gains)
                    row += [float(np.mean(gains)), min(gains), worse]
                rows.append(row)
    header = ["table", "copies", "rows", "fits", "R2: mean", "worst", "below -.001"]
    header += ["VAE, nats: mean", "worst", "below -.01"]
    return harness.markdown_table(header, rows)


def main() -> None:
    """Measure every cell and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--report", action="store_true", help="print what is stored")
    args = parser.parse_args()
    todo = [] if args.report else list(cells(args))
    for i, cell in enumerate(todo):
        record = measure(*cell)
        harness.save_record(FILE, "|".join(map(str, cell)), record)
        harness.progress(i + 1, len(todo), f"{cell}: {record}")
    print(report(args.tables))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of codes that have collapsed
    main()
