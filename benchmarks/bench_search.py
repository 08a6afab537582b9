"""Measure a search of 12 fits with one job and with two.

Four numbers of codes in three folds, of a pipeline that scales first. Jobs are
processes of joblib: each imports torch and skae when it starts, for which the first
search of a script waits ("first s") and later ones do not. Searches with one and with
two jobs run in turn, in both orders; the ratio is the median over the rounds, below 1
where two jobs are faster. With `--backend threading` all is in one process, and shares
Python's lock.

    python benchmarks/bench_search.py [--repeats 6] [--jobs 2] [--backend loky]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import harness
import joblib
import numpy as np
import panel
from bench_overhead import curved_table
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skae import VAE, AutoencoderTransformer

FILE = harness.RESULTS / "search.json"
GRID = {"autoencoder__n_components": [1, 2, 3, 4]}
FOLDS = 3
ESTIMATORS = {"AutoencoderTransformer": AutoencoderTransformer, "VAE": VAE}
TABLES: dict[str, Callable[[], NDArray]] = {
    "iris": partial(panel.load, "iris"),
    "breast-cancer": partial(panel.load, "breast-cancer"),
    "digits": partial(panel.load, "digits"),
    "curved 20000 x 50": partial(curved_table, 20_000, 50),
    "curved 5000 x 784": partial(curved_table, 5000, 784),
}


def search(X: NDArray, pipe: Pipeline, n_jobs: int, backend: str) -> NDArray:
    """Return the mean scores that a search finds."""
    with joblib.parallel_config(backend=backend):
        found = GridSearchCV(pipe, GRID, cv=FOLDS, n_jobs=n_jobs, refit=False).fit(X)
    return found.cv_results_["mean_test_score"]


def measure(
    X: NDArray, pipe: Pipeline, n_jobs: int, backend: str, repeats: int
) -> dict[str, float]:
    """Return the seconds with one job and with several, and their ratio."""
    calls = {str(n): partial(search, X, pipe, n, backend) for n in (1, n_jobs)}
    get_reusable_executor().shutdown(wait=True)
    start = perf_counter()
    scores = calls[str(n_jobs)]()
    first = perf_counter() - start
    np.testing.assert_allclose(scores, calls["1"](), rtol=1e-6)
    times = harness.interleave(calls, repeats)
    return {
        "one": median(times["1"]),
        "several": median(times[str(n_jobs)]),
        "ratio": harness.ratio(times, str(n_jobs), "1"),
        "first": first,
    }


def main() -> None:
    """Measure every table and estimator."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--backend", choices=("loky", "threading"), default="loky")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--max-iter", type=int, help="epochs (default: skae's own)")
    parser.add_argument("--no-save", action="store_true", help="only print")
    args = parser.parse_args()
    rows = []
    for table in args.tables:
        X = TABLES[table]()
        for name, cls in ESTIMATORS.items():
            model = cls(random_state=0)
            if args.max_iter is not None:
                model.set_params(max_iter=args.max_iter)
            pipe = Pipeline([("scaler", StandardScaler()), ("autoencoder", model)])
            figures = measure(X, pipe, args.jobs, args.backend, args.repeats)
            record = {"n": len(X), "d": X.shape[1], "jobs": args.jobs, **figures}
            key = f"{table} {name} {args.backend}"
            if not args.no_save:
                harness.save_record(FILE, key, record)
            rows.append([table, name, *figures.values()])
            harness.progress(len(rows), len(args.tables) * len(ESTIMATORS), key)
    header = ["table", "estimator", "1 job, s", f"{args.jobs} jobs, s", "ratio"]
    print(harness.markdown_table([*header, "first s"], rows))


if __name__ == "__main__":
    main()
