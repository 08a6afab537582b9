"""Measure anomaly detection by ``score_samples``: ROC-AUC on tables of ADBench.

Two protocols. Unsupervised: all rows are fitted and scored. One-class: half of the
normal rows are fitted, the other half and the anomalies are scored. Columns are
z-scored by the fitted rows; everything is at its defaults, with d / 4 components where
a number has to be said.

    python benchmarks/bench_anomaly.py --data FOLDER [--systems pca skae] [--force]

FOLDER has ``*.npz`` files with ``X`` and ``y`` (1: anomaly), as those of ADBench.
``--flagged`` asks another thing, of the public panel: which share of rows ``predict``
takes for anomalies, among the training rows and among new ones.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from time import perf_counter

import harness
import numpy as np
import panel
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder

FILE = harness.RESULTS / "anomaly.json"
PROTOCOLS = ("unsupervised", "one-class")
LEFT_OUT = {"mnist-5k", "letter", "breast-cancer-raw"}  # slow, or there already
Scores = Callable[[NDArray], NDArray]


def n_components(X: NDArray) -> int:
    """Return a quarter of the columns, at least one."""
    return max(1, min(X.shape) // 4 if X.shape[0] < X.shape[1] else X.shape[1] // 4)


def transformer(make: Callable[..., object]) -> Callable[[NDArray, int], Scores]:
    """Return a system that scores by an estimator's ``score_samples``."""

    def fit(X: NDArray, seed: int) -> Scores:
        return make(n_components(X), random_state=seed).fit(X).score_samples

    return fit


def pca_error(X: NDArray, seed: int) -> Scores:
    """Score by PCA's reconstruction error alone."""
    pca = PCA(n_components(X), random_state=seed).fit(X)
    return lambda rows: (
        -((rows - pca.inverse_transform(pca.transform(rows))) ** 2).sum(1)
    )


def isolation_forest(X: NDArray, seed: int) -> Scores:
    """Score by an isolation forest."""
    return IsolationForest(random_state=seed).fit(X).score_samples


def local_outlier_factor(X: NDArray, seed: int) -> Scores:
    """Score by the local outlier factor; fitted rows do not see themselves."""
    del seed
    factor = LocalOutlierFactor().fit(X)
    novelty = LocalOutlierFactor(novelty=True).fit(X)
    return lambda rows: (
        factor.negative_outlier_factor_ if rows is X else novelty.score_samples(rows)
    )


def neighbours(share: float) -> Callable[[NDArray, int], Scores]:
    """Return the distance to a neighbour: of a share of the rows, or the fifth."""

    def fit(X: NDArray, seed: int) -> Scores:
        del seed
        k = int(np.clip(share * len(X), 20, 100)) if share else 5
        search = NearestNeighbors(n_neighbors=k).fit(X)
        return lambda rows: (
            -search.kneighbors(None if rows is X else rows)[0][:, -1]  # but themselves
        )

    return fit


def pyod(name: str) -> Callable[[NDArray, int], Scores]:
    """Return a detector of PyOD at its defaults."""

    def fit(X: NDArray, seed: int) -> Scores:
        import pyod.models.auto_encoder
        import pyod.models.vae

        module = pyod.models.auto_encoder if name == "AutoEncoder" else pyod.models.vae
        detector = getattr(module, name)(random_state=seed, verbose=0).fit(X)
        return lambda rows: -detector.decision_function(rows)

    return fit


SYSTEMS: dict[str, Callable[[NDArray, int], Scores]] = {
    "pca": transformer(PCA),
    "pca error": pca_error,
    "forest": isolation_forest,
    "lof": local_outlier_factor,
    "pyod ae": pyod("AutoEncoder"),
    "pyod vae": pyod("VAE"),
    "knn 5 %": neighbours(0.05),
    "knn 5": neighbours(0),
    "skae": transformer(AutoencoderTransformer),
    "skae n": transformer(partial(AutoencoderTransformer, n_neighbors=5)),
    "skae c": transformer(partial(AutoencoderTransformer, contamination=0.5)),
    "skae c, n": transformer(
        partial(AutoencoderTransformer, contamination=0.5, n_neighbors=5)
    ),
    "skae denoising": transformer(DenoisingAutoencoder),
    "skae vae": transformer(VAE),
}


def measure(path: Path, protocol: str, system: str, seed: int) -> harness.Record:
    """Return the area under the ROC curve of one system on one table."""
    stored = np.load(path)
    X, y = stored["X"].astype(np.float64), stored["y"].ravel().astype(int)
    rows = np.arange(len(X))
    if protocol == "one-class":
        normal = np.random.RandomState(seed).permutation(np.flatnonzero(y == 0))
        rows = normal[: len(normal) // 2]
    scaler = StandardScaler().fit(X[rows])
    fitted = scaler.transform(X[rows])
    scored = fitted
    if protocol == "one-class":
        left = np.setdiff1d(np.arange(len(X)), rows)
        scored, y = scaler.transform(X[left]), y[left]
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = SYSTEMS[system](fitted, seed)(scored)
    return {
        "table": path.stem,
        "protocol": protocol,
        "system": system,
        "seed": seed,
        "auc": float(roc_auc_score(y, -scores)),
        "seconds": round(perf_counter() - start, 3),
    }


def flagged(name: str) -> list[object]:
    """Return a row of the table of shares: training rows, new rows, for each model."""
    train, test = panel.split(name, 0)
    k = min(8, train.shape[1] // 2)
    row: list[object] = [name, len(train)]
    for make in (
        partial(AutoencoderTransformer, k, max_iter=0),
        partial(AutoencoderTransformer, k),
        partial(VAE, k),
        partial(AutoencoderTransformer, k, contamination=0.05),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make(random_state=0).fit(train)
        row += [float((model.predict(rows) < 0).mean()) for rows in (train, test)]
    model = AutoencoderTransformer(k, random_state=0).fit(train)
    errors = [float(model.reconstruction_error(rows).mean()) for rows in (test, train)]
    return [*row, errors[0] / errors[1]]


def flagged_report() -> str:
    """Return the table of shares over the panel."""
    header = ["set", "n", "start", "new", "skae", "new", "VAE", "new", ".05", "new"]
    rows = [flagged(name) for name in panel.PANEL if name not in LEFT_OUT]
    return harness.markdown_table([*header, "error, new / seen"], rows)


def report(systems: list[str]) -> str:
    """Return one table for each protocol, and the means."""
    records = harness.read_results(FILE)["records"].values()
    lines = []
    for protocol in PROTOCOLS:
        used = [r for r in records if r["protocol"] == protocol]
        rows: list[list[object]] = []
        for table in sorted({r["table"] for r in used}):
            row: list[object] = [table]
            for system in systems:
                key = (table, system)
                found = [r["auc"] for r in used if (r["table"], r["system"]) == key]
                row.append(mean(found) if found else None)
            rows.append(row)
        means: list[object] = ["mean"]
        for i in range(1, len(systems) + 1):
            values = [row[i] for row in rows]
            whole = all(v is not None for v in values) and values
            means.append(mean(values) if whole else None)  # type: ignore[type-var]
        header = [protocol, *systems]
        lines += [harness.markdown_table(header, [*rows, means]), ""]
    return "\n".join(lines)


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with *.npz files; without it, only report")
    add("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    add("--seeds", nargs="+", type=int, default=[0])
    add("--force", action="store_true", help="run again what is stored already")
    add("--flagged", action="store_true", help="shares of the public panel instead")
    args = parser.parse_args()
    if args.flagged:
        print(flagged_report())
        return
    tables = sorted(args.data.glob("*.npz")) if args.data else []
    todo = [
        (path, protocol, system, seed)
        for path in tables
        for protocol in PROTOCOLS
        for seed in args.seeds
        for system in args.systems
    ]
    for i, (path, protocol, system, seed) in enumerate(todo):
        key = f"{path.stem}|{protocol}|{system}|{seed}"
        if key not in harness.read_results(FILE)["records"] or args.force:
            try:
                record = measure(path, protocol, system, seed)
            except ImportError as error:
                print(f"skipped {system}: {error}")
                continue
            harness.save_record(FILE, key, record)
            harness.progress(i + 1, len(todo), f"{key}: {record['auc']:.3f}")
    print(report(args.systems))


if __name__ == "__main__":
    main()
