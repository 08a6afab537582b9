"""Measure ``transform`` on a million rows: time and extra memory.

With its steps, and without (the codes of the encoder, ``transform_max_iter=0``). The
yardstick is the bare trained module under ``inference_mode``, in chunks of the same
number of rows, on rows that are already standardised, of float32 whatever the table's.
Peak memory is that of a fresh process that only loads the table and transforms it,
beyond the table and codes:

    python benchmarks/bench_transform.py [--rows 1000000] [--columns 50] [--k 2 8]
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import pickle
import resource
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import torch
from bench_overhead import curved_table

from skae import AutoencoderTransformer
from skae._dataset import row_chunks
from skae._estimator import INFERENCE_BYTES


def bare_module(
    estimator: AutoencoderTransformer, X: np.ndarray, chunk: int
) -> Callable[[], None]:
    """Return a pass of the module alone over standardised rows."""
    x = torch.from_numpy((X - X.mean(0)) / X.std()).float()

    def run() -> None:
        codes = torch.empty(len(x), estimator.n_components_)
        with torch.inference_mode():
            for start in range(0, len(x), chunk):
                rows = slice(start, start + chunk)
                codes[rows] = estimator.module_.encode(x[rows])

    return run


def extra_megabytes(pickled: bytes, n: int, d: int, queue: Any) -> None:
    """Report the peak memory of a transform beyond its input and output."""
    estimator = pickle.loads(pickled)
    X = np.ones((n, d), dtype=np.float32)
    estimator.transform(X[:1000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    codes = estimator.transform(X)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((after - before) / 1024 - codes.nbytes / 2**20)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    X = curved_table(args.rows, args.columns).astype(args.dtype)
    header = ["table", "k", "encoder / module", "transform / module", "extra MB"]
    name = f"{args.rows} x {args.columns} {args.dtype}"
    table = []
    for k in args.k:
        record = measured(X, k, args.repeats)
        harness.save_record(harness.RESULTS / "transform.json", f"{name}, {k}", record)
        table.append([name, k, *record.values()])
    print(harness.markdown_table(header, table))


def measured(X: np.ndarray, k: int, repeats: int) -> dict[str, float]:
    """Return the ratios of time for k codes, and the extra memory in MB."""
    how = {"max_iter": 2, "random_state": 0}
    estimator = AutoencoderTransformer(k, **how).fit(X[:50_000])
    encoder = AutoencoderTransformer(k, transform_max_iter=0, **how).fit(X[:50_000])
    if not estimator.best_iter_:
        raise SystemExit("PCA was kept: there is no module to measure")
    chunk = next(row_chunks(X, INFERENCE_BYTES)).stop
    times = harness.interleave(
        {
            "transform": lambda: estimator.transform(X),
            "encoder": lambda: encoder.transform(X),
            "module": bare_module(estimator, X, chunk),
        },
        repeats,
    )
    queue = mp.get_context("spawn").Queue()
    process = mp.get_context("spawn").Process(
        target=extra_megabytes,
        args=(pickle.dumps(estimator), *X.shape, queue),
    )
    process.start()
    extra = queue.get()
    process.join()
    return {
        "encoder": harness.ratio(times, "encoder", "module"),
        "transform": harness.ratio(times, "transform", "module"),
        "extra_MB": extra,
    }


if __name__ == "__main__":
    main()
