"""A Boltzmann machine or the start? What held-out rows say of their likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._boltzmann import BoltzmannMachine
from ._dataset import as_dense, row_chunks

# Units of a side whose states are enumerated in a fit, where it is one step of many.
MOST_ENUMERATED_IN_FIT = 12
# Chains and temperatures where a lead of many nats is to be told from none.
QUICK_CHAINS, QUICK_TEMPERATURES = 32, 100
# Deviations of the chains by which such a lead has to exceed 0 for that, or standard
# errors where these are to be trusted: where chains deviate by less than a nat.
CLEAR_LEAD, EVEN_CHAINS = 3.0, 1.0
# Standard errors of the partition function that a machine has to be better by.
ASKED_ERRORS = 2.0
# A row that is there so many times as often as the rarest ones is never held out.
COMMON = 10


def least_gain(
    start: BoltzmannMachine,
    machine: BoltzmannMachine,
    X: Any,
    weight: NDArray | None,
    held_out: NDArray,
    device: torch.device,
) -> float:
    """Return by how many nats per row a machine is better than its start, at least.

    That is of held-out rows and, where `weight` says that some rows are there more
    often than others, of rows that stand for all of them: new ones may be copies of
    those that are there again, or of common ones.
    """
    judged: list[tuple[NDArray, Any, Any]] = [(held_out, None, None)]
    if weight is not None and np.ptp(weight):
        least = weight.min()
        seen = weight >= COMMON * least, weight > (1 + 1e-9) * least
        judged = [standing_for_all(weight, held_out, mask) for mask in seen]
    return min(gain_of(start, machine, X, *rows, device) for rows in judged)


def gain_of(
    start: BoltzmannMachine,
    machine: BoltzmannMachine,
    X: Any,
    rows: NDArray,
    weight: NDArray | None,
    of_draw: NDArray | None,
    device: torch.device,
) -> float:
    """Return by how many nats per row a machine is better than its start, at least.

    Two standard errors are taken off, over the rows and of an estimated partition
    function. A few short chains do where the machine is better by much. `of_draw` is
    what one of the copies weighs that a row stands for.
    """
    energies = [np.empty(len(rows)) for _ in range(2)]
    for part in row_chunks(rows[:, None]):
        V = as_dense(X[rows[part]])
        for energy, which in zip(energies, (start, machine), strict=True):
            energy[part] = which.free_energy(V)
    gains = energies[0] - energies[1]
    of_rows = float(np.average(gains, weights=weight))
    of_rows -= ASKED_ERRORS * standard_error(gains, weight, of_draw)
    before = start.log_partition(device).value
    few = MOST_ENUMERATED_IN_FIT, QUICK_CHAINS, QUICK_TEMPERATURES
    quick = machine.log_partition(device, *few)
    gain = of_rows - (quick.value - before)
    if not quick.error:  # it is exact
        return gain
    is_even = quick.deviation < EVEN_CHAINS
    if abs(gain) > CLEAR_LEAD * (quick.error if is_even else quick.deviation):
        return gain
    found = machine.log_partition(device)
    return of_rows - (found.value + ASKED_ERRORS * found.error - before)


def standard_error(
    values: NDArray, weight: NDArray | None, of_draw: NDArray | None
) -> float:
    """Return the standard error of a (weighted) mean."""
    w, each = (np.ones(len(values)) if a is None else a for a in (weight, of_draw))
    centred = values - np.average(values, weights=w)
    return float(np.sqrt((w * each * centred**2).sum()) / w.sum())


def standing_for_all(
    weight: NDArray, held_out: NDArray, are_seen: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Return rows that stand for all of them, as often as they are there.

    Seen ones stand for themselves, and those held out for the others.

    Returns
    -------
    rows : ndarray of int of shape (n,)
    weight, of_draw : ndarray of shape (n,)
        Of each row, and of one of its copies; those of a row held out are one draw.
    """
    others = held_out[~are_seen[held_out]]
    seen = np.flatnonzero(are_seen)
    share = weight[~are_seen].sum() / max(weight[others].sum(), np.finfo(float).tiny)
    weights = np.append(share * weight[others], weight[seen])
    of_draw = np.append(weights[: len(others)], np.full(len(seen), weight.min()))
    return np.append(others, seen), weights, of_draw
