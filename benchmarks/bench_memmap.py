"""Fit and transform a memory-mapped table of 4 GB and measure the resident memory.

The file is written first, in pieces, where ``--folder`` says. A child process then maps
it read-only, fits one epoch and transforms all rows, while the parent reads the child's
resident memory many times a second: all of it, file pages included, beyond what the
child held before the fit.

    python benchmarks/bench_memmap.py [--rows 20000000] [--columns 50] [--folder /tmp]
        [--missing 0.2]

With ``--missing`` a share of the cells is NaN, and a MaskedAutoencoder is fitted.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from sklearn.base import clone

from skae import AutoencoderTransformer, MaskedAutoencoder

PIECE = 500_000


def write_table(path: Path, n: int, d: int, missing: float) -> None:
    """Write rows of a curved surface, a piece at a time, with a share of NaN."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((8, d))
    table = np.memmap(path, dtype=np.float32, mode="w+", shape=(n, d))
    for start in range(0, n, PIECE):
        rows = min(PIECE, n - start)
        curved = np.tanh(rng.standard_normal((rows, 8)) @ mixing)
        curved += 0.1 * rng.standard_normal((rows, d))
        if missing:
            curved[rng.uniform(size=curved.shape) < missing] = np.nan
        table[start : start + rows] = curved
    table.flush()


def resident_megabytes(pid: int | str = "self") -> float:
    """Return the resident memory of a process, file pages included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def work(path: Path, n: int, d: int, missing: float, pipe: Any) -> None:
    """Fit and transform in the child process."""
    new = MaskedAutoencoder() if missing else AutoencoderTransformer(8)
    new.set_params(max_iter=1, random_state=0)
    warm = np.random.default_rng(0).standard_normal((2000, d)).astype(np.float32)
    clone(new).fit(warm).transform(warm)
    table = np.memmap(path, dtype=np.float32, mode="r", shape=(n, d))
    pipe.send(resident_megabytes())
    start = time.perf_counter()
    estimator = new.fit(table)
    fitted = time.perf_counter()
    codes = estimator.transform(table)
    seconds = (fitted - start, time.perf_counter() - fitted)
    pipe.send((codes.nbytes / 2**20, estimator.best_iter_, *seconds))


def main() -> None:
    """Write the file, run the child, watch it, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--missing", type=float, default=0.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    n, d = args.rows, args.columns
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "table.f32"
        write_table(path, n, d, args.missing)
        pipe, child_end = mp.get_context("spawn").Pipe()
        child = mp.get_context("spawn").Process(
            target=work, args=(path, n, d, args.missing, child_end)
        )
        child.start()
        before = pipe.recv()
        peak = before
        while not pipe.poll(0.02):
            peak = max(peak, resident_megabytes(child.pid))
        output, best_iter, fit_seconds, transform_seconds = pipe.recv()
        child.join()
    extra = peak - before
    record = {
        "table_MB": 4 * n * d / 2**20,
        "extra_MB": extra,
        "extra_MB_without_codes": extra - output,
        "best_iter": best_iter,
        "fit_seconds": fit_seconds,
        "transform_seconds": transform_seconds,
    }
    name = f"{n} x {d} float32"
    if args.missing:
        name += f", {100 * args.missing:g} % missing"
    harness.save_record(harness.RESULTS / "memmap.json", name, record)
    print(harness.markdown_table(["table", *record], [[name, *record.values()]]))


if __name__ == "__main__":
    main()
