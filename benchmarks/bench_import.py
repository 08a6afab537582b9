"""Say what `import skae`, and the first fit, spend their time on imports for.

Fresh processes import skae, and what it needs, in turn. A package's time is that of its
modules' own lines (`python -X importtime`), the median over the rounds. Two of them fit
as well: as skae does, and by torch's own AdamW, which imports torch's compiler.

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
FIT = """skae, torch
skae.AutoencoderTransformer(1, max_iter=1, net_params={}).fit(
    [[i, i * i] for i in range(50)]
)"""
WHAT = {
    "torch": "torch",
    "sklearn.decomposition": "sklearn.decomposition",
    NEEDS: NEEDS,
    "skae": "skae",
    "skae, and a fit": FIT.format(None),
    "skae, and a fit by torch's AdamW": FIT.format("dict(optimizer=torch.optim.AdamW)"),
}
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
# Packages that get a line of their own in the table.
SHOWN = 7


def by_package(what: str) -> Counter[str]:
    """Import in a fresh process; return the seconds of each package."""
    code = f"import {WHAT[what]}"
    command = [sys.executable, "-X", "importtime", "-c", code]
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
    order = list(WHAT)
    runs: dict[str, list[Counter[str]]] = {what: [] for what in WHAT}
    for i in range(repeats):
        for what in order[i % len(order) :] + order[: i % len(order)]:
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
