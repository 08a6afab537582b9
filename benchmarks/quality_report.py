"""The report of ``bench_quality.py``: one table, and skae against its bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import mean

import panel
import peers
from harness import Record, markdown_table

Cell = tuple[str, int]
Scores = dict[str, dict[Cell, dict[int, float]]]
"""Held-out R2 by system, cell (set and code size) and seed; a crash is -inf."""

TO_PCA = -0.001
TO_PEERS = -0.0005
GAIN_BAR = 0.15


def scores(records: Sequence[Record]) -> Scores:
    """Arrange records by system, cell and seed."""
    table: Scores = {}
    for r in records:
        value = float("-inf") if r["r2"] is None else r["r2"]
        cell = table.setdefault(r["system"], {}).setdefault((r["set"], r["k"]), {})
        cell[r["seed"]] = value
    return table


def margins(table: Scores, one: str, other: str) -> dict[Cell, dict[int, float]]:
    """Return how far ``one`` is above ``other`` by cell and seed, where both ran."""
    result: dict[Cell, dict[int, float]] = {}
    for cell, by_seed in table.get(one, {}).items():
        rival = table.get(other, {}).get(cell, {})
        common = {s: v - rival[s] for s, v in by_seed.items() if s in rival}
        if common:
            result[cell] = common
    return result


def averaged(by_cell: dict[Cell, dict[int, float]]) -> dict[Cell, float]:
    """Average margins or scores over the seeds."""
    return {cell: mean(by_seed.values()) for cell, by_seed in by_cell.items()}


def share(values: Sequence[float], bar: float) -> str:
    """Say how many of the values reach the bar."""
    good = sum(v >= bar for v in values)
    percent = f" ({100 * good / len(values):.1f} %)" if values else ""
    return f"{good}/{len(values)}{percent}"


def flat(by_cell: dict[Cell, dict[int, float]]) -> list[float]:
    """Return the values of all cells and seeds."""
    return [v for by_seed in by_cell.values() for v in by_seed.values()]


def order(cell: Cell) -> tuple[int, int]:
    """Sort cells as the panel lists them."""
    return list(panel.PANEL).index(cell[0]), cell[1]


def large_cells(records: Sequence[Record]) -> set[Cell]:
    """Return the cells of the sets with enough rows to learn from."""
    return {(r["set"], r["k"]) for r in records if r["n"] >= panel.LARGE}


def score_table(table: Scores, subject: str) -> str:
    """Return mean R2 over the seeds by cell and system."""
    systems = [s for s in peers.SYSTEMS if s in table]
    systems += sorted(set(table) - set(systems))
    means = {s: averaged(table[s]) for s in systems}
    cells = sorted({c for s in systems for c in means[s]}, key=order)
    rows = [[*cell, *(means[s].get(cell) for s in systems)] for cell in cells]
    header = ["set", "k", *(f"**{s}**" if s == subject else s for s in systems)]
    return markdown_table(header, rows)


def against_pca(table: Scores, subject: str) -> str:
    """Summarise bar (a): never worse than PCA, in any cell and seed."""
    found = margins(table, subject, "pca")
    if not found:
        return "(a) nothing to compare with PCA"
    each = [(v, c, s) for c, by_seed in found.items() for s, v in by_seed.items()]
    worst = min(each)
    bad = sorted(e for e in each if e[0] < TO_PCA)
    lines = [
        f"(a) worst margin to PCA {worst[0]:+.4f} ({where(worst[1])} seed {worst[2]}); "
        f"{len(bad)} of {len(each)} fits below {TO_PCA}; strictly above PCA in "
        f"{sum(e[0] > 0 for e in each)}"
    ]
    lines += [f"    {v:+.4f}  {where(c)} seed {s}" for v, c, s in bad]
    return "\n".join(lines)


def gain(table: Scores, subject: str, large: set[Cell]) -> str:
    """Summarise bar (b): the mean gain over PCA at small codes on large sets."""
    found = averaged(margins(table, subject, "pca"))
    counted = {
        cell: found[cell]
        for cell in sorted(found, key=order)
        if cell in large
        and cell[1] <= 8
        and not panel.PANEL[cell[0]].linear_by_construction
    }
    if not counted:
        return "(b) no cell with k <= 8 on a large set"
    parts = [
        f"{name} {mean(counted[c] for c in group):+.3f}"
        for name, group in groupby(counted, key=lambda cell: cell[0])
    ]
    return (
        f"(b) mean gain over PCA at k <= 8, n >= {panel.LARGE}: "
        f"{mean(counted.values()):+.4f} over {len(counted)} cells (bar {GAIN_BAR:+})\n"
        f"    {', '.join(parts)}"
    )


def against_best_peer(table: Scores, subject: str) -> str:
    """Summarise bar (c): as good as the best peer, by cell and by seed."""
    by_peer = {p: margins(table, subject, p) for p in peers.PEERS if p in table}
    by_cell: dict[Cell, tuple[float, str]] = {}
    by_fit: dict[tuple[Cell, int], float] = {}
    for peer, found in by_peer.items():
        for cell, by_seed in found.items():
            rival = (mean(by_seed.values()), peer)
            by_cell[cell] = min(by_cell.get(cell, rival), rival)
            for seed, value in by_seed.items():
                known = by_fit.get((cell, seed), value)
                by_fit[cell, seed] = min(known, value)
    lost = sorted((m, c, p) for c, (m, p) in by_cell.items() if m < TO_PEERS)
    lines = [
        f"(c) at or above the best peer - {-TO_PEERS}: "
        f"{share([m for m, _ in by_cell.values()], TO_PEERS)} of the cells, "
        f"{share(list(by_fit.values()), TO_PEERS)} of the single fits "
        f"(peers: {', '.join(by_peer)})"
    ]
    lines += [f"    {m:+.4f}  {where(c)}  {p}" for m, c, p in lost]
    return "\n".join(lines)


def against_rf(table: Scores, subject: str, large: set[Cell]) -> str:
    """Summarise bar (d): above the closed form wherever there are rows enough."""
    found = averaged(margins(table, subject, "rf"))
    found = {cell: value for cell, value in found.items() if cell in large}
    bad = sorted((v, c) for c, v in found.items() if v <= 0)
    lines = [f"(d) not above rf in {len(bad)} of {len(found)} large cells"]
    lines += [f"    {v:+.4f}  {where(c)}" for v, c in bad]
    return "\n".join(lines)


def fit_times(records: Sequence[Record], subject: str) -> str:
    """Summarise (e): seconds, over the fits that subject and system both did."""
    fits: dict[str, dict[tuple[str, int, int], Record]] = {}
    for r in records:
        if "seconds" in r:
            fits.setdefault(r["system"], {})[r["set"], r["k"], r["seed"]] = r
    base = fits.get(subject, {})
    note = f", over the fits that {subject} did as well" if base else ""
    lines = [f"(e) fit seconds{note}"]
    for system, own in fits.items():
        both = own.keys() & base.keys() if base else own.keys()
        mine = sum(base[key]["seconds"] for key in both if base)
        theirs = sum(own[key]["seconds"] for key in both)
        text = f"    {system}: {theirs:.1f} s in {len(both)} fits"
        if base and system != subject and theirs:
            text += f"; {subject} / {system} = {mine / theirs:.2f}"
        loose = sum(
            not (own[key]["timed"] and base.get(key, own[key])["timed"]) for key in both
        )
        lines.append(text + (f"; {loose} of them untimed runs" if loose else ""))
    return "\n".join(lines)


def peers_against_pca(table: Scores) -> str:
    """Say for every system how often it is not worse than PCA."""
    header = ["system", "cells >= PCA - 0.001", "single fits", "worst margin"]
    rows: list[list[object]] = []
    for system in table:
        found = margins(table, system, "pca")
        if system == "pca" or not found:
            continue
        means = list(averaged(found).values())
        each = flat(found)
        rows.append([system, share(means, TO_PCA), share(each, TO_PCA), min(each)])
    return markdown_table(header, rows)


def where(cell: Cell) -> str:
    """Name a cell."""
    return f"{cell[0]} k={cell[1]}"


def report(records: Sequence[Record], subject: str) -> str:
    """Return the whole report as text."""
    table = scores(records)
    large = large_cells(records)
    parts = [score_table(table, subject)]
    if subject in table:
        parts += [
            f"## {subject} against the bars",
            against_pca(table, subject),
            gain(table, subject, large),
            against_best_peer(table, subject),
            against_rf(table, subject, large),
        ]
    parts += [fit_times(records, subject), peers_against_pca(table)]
    crashes = [r for r in records if "error" in r]
    lines = [
        f"- {r['system']} on {r['set']} k={r['k']} seed {r['seed']}: {r['error']}"
        for r in crashes
    ]
    if lines:
        parts.append("Crashes:\n" + "\n".join(lines))
    return "\n\n".join(parts)
