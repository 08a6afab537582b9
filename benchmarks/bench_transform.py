"""Measure ``transform`` on a million rows: throughput and extra memory.

The yardstick is the bare trained module under ``inference_mode``, in chunks of the same
number of rows, on float32 rows that are already standardised. Peak memory is that of a
fresh process that only loads the table and transforms it, beyond the table and codes:

    python benchmarks/bench_transform.py [--rows 1000000] [--columns 50] [--repeats 5]
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
    x = torch.from_numpy((X - X.mean(0)) / X.std())

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
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    X = curved_table(args.rows, args.columns)
    estimator = AutoencoderTransformer(8, max_iter=2, random_state=0).fit(X[:50_000])
    if not estimator.best_iter_:
        raise SystemExit("PCA was kept: there is no module to measure")
    chunk = next(row_chunks(X, INFERENCE_BYTES)).stop
    times = harness.interleave(
        {
            "transform": lambda: estimator.transform(X),
            "module": bare_module(estimator, X, chunk),
        },
        args.repeats,
    )
    throughput = harness.ratio(times, "module", "transform")
    queue = mp.get_context("spawn").Queue()
    process = mp.get_context("spawn").Process(
        target=extra_megabytes,
        args=(pickle.dumps(estimator), args.rows, args.columns, queue),
    )
    process.start()
    extra = queue.get()
    process.join()
    name = f"{args.rows} x {args.columns} float32"
    record = {"throughput": throughput, "extra_MB": extra, "chunk": chunk}
    harness.save_record(harness.RESULTS / "transform.json", name, record)
    header = ["table", "rows per chunk", "transform / module", "extra MB"]
    print(harness.markdown_table(header, [[name, chunk, throughput, extra]]))


if __name__ == "__main__":
    main()
