"""Measure fit, transform and score beside a process that keeps a core busy.

Threads that wait for a core which another program has may spin: two can be far slower
than one. Every call runs with as many threads as it takes by itself, and limited to
one, in turn, first on the idle machine and then beside a process that does nothing but
count. The ratio is the median over the rounds; below 1, threads pay.

    python benchmarks/bench_threads.py [--repeats 5] [--busy 1]
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter, sleep

import harness
import torch
from bench_overhead import curved_table
from threadpoolctl import ThreadpoolController

from skae import AutoencoderTransformer

FILE = harness.RESULTS / "threads.json"
# rows, columns, hidden layers: those of bench_overhead.py, and defaults
SIZES = [
    (150, 4, "auto"),
    (1800, 64, (64,)),
    (1800, 64, "auto"),
    (5000, 784, "auto"),
    (2000, 784, (2048, 1024)),
    (100_000, 50, (128,)),
    (100_000, 50, "auto"),
]
EPOCHS = 4
N_COMPONENTS = 3
LIBRARIES = ThreadpoolController()
SHORTEST = 0.05  # seconds of a measurement; quick calls are repeated


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """Keep `n` cores busy."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)
    ]
    try:
        sleep(1)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def in_one_thread(call: Callable[[], object]) -> None:
    """Call with one thread, of torch and of the libraries behind NumPy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with LIBRARIES.limit(limits=1):
            call()
    finally:
        torch.set_num_threads(before)


def lasting(call: Callable[[], object]) -> Callable[[], None]:
    """Return a call often enough to be measured."""
    start = perf_counter()
    call()
    times = math.ceil(SHORTEST / (perf_counter() - start))

    def repeated() -> None:
        for _ in range(times):
            call()

    return repeated


def measure(n: int, d: int, hidden: object, repeats: int) -> list[float]:
    """Return the ratio of the time by default to that of one thread, by call."""
    X = curved_table(n, d)
    model = AutoencoderTransformer(
        N_COMPONENTS, hidden_layer_sizes=hidden, max_iter=EPOCHS, random_state=0
    ).fit(X)
    ratios = []
    for method in ("fit", "transform", "score_samples"):
        call = lasting(partial(getattr(model, method), X))
        calls = {"default": call, "one": partial(in_one_thread, call)}
        times = harness.interleave(calls, repeats)
        ratios.append(harness.ratio(times, "default", "one"))
    return ratios


def main() -> None:
    """Measure every size on the idle machine and beside busy processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", type=int, default=1)
    args = parser.parse_args()
    rows = []
    for n_busy in (0, args.busy):
        with neighbours(n_busy):
            for i, (n, d, hidden) in enumerate(SIZES):
                ratios = measure(n, d, hidden, args.repeats)
                record = {"busy": n_busy, "n": n, "d": d, "hidden": str(hidden)}
                record |= dict(zip(("fit", "transform", "score"), ratios, strict=True))
                harness.save_record(FILE, f"{n}x{d} {hidden} busy={n_busy}", record)
                rows.append([n_busy, n, d, str(hidden), *ratios])
                harness.progress(i + 1, len(SIZES), str(rows[-1]))
    header = ["busy", "rows", "columns", "hidden", "fit", "transform", "score"]
    print(harness.markdown_table(header, rows))


if __name__ == "__main__":
    main()
