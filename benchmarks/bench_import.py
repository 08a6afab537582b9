"""Say what `import skae` spends its time on.

Fresh processes import skae, and what it needs, in turn. A package's time is that of its
modules' own lines (`python -X importtime`), the median over the rounds.

    python benchmarks/bench_import.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from statistics import median

import harness

FILE = harness.RESULTS / "import.json"
NEEDS = "torch, sklearn.decomposition, skorch"
WHAT = ("torch", "sklearn.decomposition", NEEDS, "skae")
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
# Packages that get a line of their own in the table.
SHOWN = 7


def by_package(what: str) -> Counter[str]:
    """Import in a fresh process; return the seconds of each package."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {what}"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=harness.HERE.parent
    )
    seconds: Counter[str] = Counter()
    for own, module in LINE.findall(done.stderr):
        seconds[module.split(".")[0]] += int(own) / 1e6
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    by_package("skae")  # files are read once before
    runs: dict[str, list[Counter[str]]] = {what: [] for what in WHAT}
    for i in range(repeats):
        for what in WHAT[i % 4 :] + WHAT[: i % 4]:
            runs[what].append(by_package(what))
    totals = {what: median(map(Counter.total, found)) for what, found in runs.items()}
    names = {name for found in runs["skae"] for name in found}
    share = {
        name: median(found[name] / found.total() for found in runs["skae"])
        for name in names
    }
    largest = sorted(share, key=share.__getitem__, reverse=True)
    for what, total in totals.items():
        found = {"repeats": repeats, "seconds": total}
        if what == "skae":
            found["share"] = {name: share[name] for name in largest[:20]}
        harness.save_record(FILE, what, found)
    for what, total in totals.items():
        print(f"import {what:40} {total:.2f} s, {total / totals['skae']:.2f} of skae's")
    for name in largest[:SHOWN]:
        print(f"{name:16} {share[name]:.1%}")


if __name__ == "__main__":
    main()
