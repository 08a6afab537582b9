"""Fitting of texts: count, hold some out, train on the others, judge.

The start counts all texts. What a network learns beyond it, and whether it is used, is
decided beside a start that has counted the texts that train, and each of them once: by
copies of a text any token would be known, and nothing be left to learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._dataset import TrainingData
from .._fit import Fit
from .._gate import GateDecision
from .._parameters import (
    is_auto,
    lasting_parameters,
    new_random_state,
    new_torch_generator,
    resolve_device,
)
from .._plan import MIN_ROWS, N_FOLDS, SMALL_TABLE, TrainingPlan
from .._split import choose_held_out, distinct_rows
from .._training import Training
from ._dataset import EPOCH_TOKENS, Pieces, TokenDataset
from ._objective import TokenObjective
from ._tokens import TokenSequences

# With fewer distinct texts than this, pieces of them are held out.
FEW_TEXTS = 20
# Tokens that are held out at most, unless validation_fraction says so.
MAX_HELD_OUT = 50_000
BATCH_TOKENS = 1024
# Tokens and epochs that training takes at most, unless max_iter says so.
TRAINING_TOKENS, MAX_EPOCHS = 1_500_000, 30


def fit(objective: TokenObjective, sequences: TokenSequences) -> Fit:
    """Fit an objective to texts."""
    params = objective.params
    seed = int(new_random_state(params.random_state).randint(2**31 - 1))
    start = beside = objective.counted(sequences, None, seed)
    pieces = Pieces.of(sequences, int(params.max_length))
    rows, unit_of = distinct_pieces(sequences, pieces)
    plan = plan_for(params, pieces.lengths[rows])
    units = torch.from_numpy(np.unique(unit_of[rows], return_inverse=True)[1])
    generator = new_torch_generator(seed)
    chosen = choose_held_out(len(rows), units, plan.n_held_out, generator)
    valid = rows[chosen.numpy()]
    train = np.sort(rows[~np.isin(unit_of[rows], unit_of[valid])])
    if plan.max_iter:
        counts = np.sort(pieces.places(train))
        beside = objective.counted(sequences, counts, seed, start)
    device = resolve_device(params.device)
    floats = sequences.n_tokens
    dataset = TokenDataset(sequences, pieces, plan.batch_size, floats, device)
    data = TrainingData(
        dataset,
        torch.from_numpy(train),
        torch.from_numpy(valid),
        units=torch.from_numpy(np.unique(unit_of[valid], return_inverse=True)[1]),
    )
    training = Training(objective, plan, beside, seed)
    net, decision, model = training.new_net(), GateDecision(False, 0), start
    if plan.max_iter:
        decision = training.run(net, data, continued=False)
        net.module_.forget()
    if decision.is_open:
        model = objective.model(net.module_, start, None, seed)
    per_row = pieces.lengths[valid].mean() if len(valid) else 1.0
    return Fit(
        objective=objective,
        start=start,
        net=net,
        model=model,
        best_iter=decision.best_iter if decision.is_open else 0,
        validation_scores=[-loss / per_row for loss in decision.curve],
        seed=seed,
        n_samples=len(sequences),
        dtype=np.dtype(np.float64),
        lasting=lasting_parameters(params),
        reason=decision.reason,
    )


def distinct_pieces(
    sequences: TokenSequences, pieces: Pieces
) -> tuple[NDArray, NDArray]:
    """Return which pieces stand for all, and what each is held out with.

    Equal pieces have one that stands for them; these are in an order that does not
    depend on that of the texts. Held out together are the pieces of a text and of its
    copies, or, of few texts, the copies of a piece.

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
    unit_of : ndarray of shape (n_pieces,)
    """
    cut = TokenSequences(
        sequences.tokens[pieces.places(np.arange(len(pieces)))],
        np.cumsum(pieces.lengths) - pieces.lengths,
        sequences.n_tokens,
    )
    hashes, of_text = cut.hashes(), sequences.hashes()
    are_few = len(np.unique(of_text)) < FEW_TEXTS
    together = hashes if are_few else of_text[pieces.text]
    unit_of = np.unique(together, return_inverse=True)[1]
    return distinct_rows(hashes, None, None).rows.astype(np.int64), unit_of


def plan_for(params: Any, lengths: NDArray) -> TrainingPlan:
    """Return how to train on distinct pieces of these lengths."""
    n, n_total = len(lengths), int(lengths.sum())
    n_held_out = n // (N_FOLDS if n < SMALL_TABLE else 10)
    n_held_out = min(n_held_out, max(1, n * MAX_HELD_OUT // n_total))
    if not is_auto(params.validation_fraction):
        n_held_out = max(1, round(float(params.validation_fraction) * n))
    max_iter, batch_size = params.max_iter, params.batch_size
    if is_auto(max_iter):
        epoch = min(n_total, EPOCH_TOKENS)
        max_iter = max(1, min(MAX_EPOCHS, round(TRAINING_TOKENS / epoch)))
    if is_auto(batch_size):
        # Over the length of the piece that a token is in, on average.
        usual = float((lengths.astype(float) ** 2).sum() / n_total)
        batch_size = max(1, round(BATCH_TOKENS / usual))
    return TrainingPlan(
        hidden_layer_sizes=(),
        max_iter=int(max_iter) if n >= MIN_ROWS else 0,
        batch_size=int(batch_size),
        n_folds=0,
        n_held_out=min(n_held_out, n - 1),
        n_rows=n,
        alpha=float(params.alpha),
    )
