"""What every benchmark script shares: machine, timing, stored results, tables."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from time import perf_counter
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
VERSIONED = ("numpy", "scikit-learn", "torch", "skorch", "keras", "pyod", "encdr")

sys.path.append(str(HERE.parent))  # skae from the checkout, where not installed

Record = dict[str, Any]


@cache
def machine() -> dict[str, Any]:
    """Describe the machine and the versions that a result was measured with."""
    versions: dict[str, str | None] = {}
    for package in (*VERSIONED, "skae"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        **versions,
    }


def _cpu_name() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def threads() -> int:
    """Return how many threads numerical code may use in this process."""
    limit = os.environ.get("OMP_NUM_THREADS")
    return int(limit) if limit else len(os.sched_getaffinity(0))


def interleave(
    calls: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Time every call ``repeats`` times, in rotating order within each round.

    A machine's drift then falls on all calls alike. The calls run once before,
    untimed.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in rotated(list(calls), turn):
            start = perf_counter()
            calls[name]()
            times[name].append(perf_counter() - start)
    return times


def ratio(times: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    """Return the median over the rounds of the paired ratio of two calls."""
    pairs = zip(times[above], times[below], strict=True)
    return median(a / b for a, b in pairs)


def rotated(items: Sequence[str], turn: int) -> list[str]:
    """Return ``items`` starting at another one each turn."""
    turn %= max(len(items), 1)
    return [*items[turn:], *items[:turn]]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two runs can write one result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(gettempdir()) / f"skae-benchmarks-{path.stem}.lock"
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def read_results(path: Path) -> dict[str, Any]:
    """Return a stored result file, or an empty one."""
    if not path.exists():
        return {"machine": {}, "records": {}}
    return json.loads(path.read_text())


def save_record(path: Path, key: str, record: Record) -> None:
    """Add or replace one record of a result file, whoever else writes there."""
    with _locked(path):
        stored = read_results(path)
        stored["machine"] = machine()
        stored["records"][key] = record
        part = path.with_suffix(".part")
        part.write_text(_as_text(stored))
        part.replace(path)


def _as_text(stored: dict[str, Any]) -> str:
    """Return a result file as JSON with one record per line, for readable diffs."""
    records = sorted(stored["records"].items())
    lines = [f"{json.dumps(key)}: {json.dumps(record)}" for key, record in records]
    head = f'{{"machine": {json.dumps(stored["machine"])},\n"records": {{\n'
    return head + ",\n".join(lines) + "\n}}\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table; floats get three decimals, None a dash."""
    text = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in text
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(value: object) -> str:
    """Format one value of a table."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def progress(done: int, total: int, text: str) -> None:
    """Report one finished cell on stderr."""
    print(f"[{done}/{total}] {text}", file=sys.stderr, flush=True)
