"""Rows of a table as float32 tensors, whether in memory, sparse or on disk.

A network wants batches of numbers near 1. The table may be an array, a sparse matrix
or a file larger than memory, so the rows are centred, scaled and made dense one batch
at a time unless the whole table is small enough to be one tensor.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

# A sparse or memory-mapped table up to this size becomes one tensor all the same.
SMALL_BYTES = 64 * 2**20
# Rows from which the statistics of codes are taken.
STATISTICS_ROWS = 10_000
# But fewer where they are that large, as images are.
MIN_STATISTICS_ROWS, STATISTICS_BYTES = 1000, 2**26
# Rows of another type are cast to float64 as a whole up to this size, else in chunks.
LARGE_BYTES = 2**29
# Rows read, checked or written at a time.
CHUNK_BYTES = 32 * 2**20
# Rows of a table on disk are shuffled in runs, so that a batch reads few pages.
RUN_ROWS = 512
WINDOW_RUNS = 64
# Rows from all over such a table that are read before their pages are given back.
SCATTERED_ROWS = 64
# Parts of the rows of a split; what is said of one comes from the others.
N_PARTS = 5


def memory_map(X: Any) -> mmap.mmap | None:
    """Return the read-only file mapping that `X` is a view of, if there is one."""
    base = X
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode != "r":
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def is_streamed(X: Any) -> bool:
    """Whether `X` is read batch by batch rather than held as one tensor."""
    if X.dtype == np.uint8:  # others became floats when they were checked
        return True
    n_bytes = 4 * X.shape[0] * X.shape[1]
    return n_bytes > SMALL_BYTES and (sp.issparse(X) or memory_map(X) is not None)


def float_dtype(X: Any) -> np.dtype:
    """Return the precision of what is computed from `X`."""
    return np.dtype(np.float64) if X.dtype == np.uint8 else X.dtype


def as_dense(rows: Any) -> NDArray:
    """Return rows as a dense array of floats."""
    dense = rows.toarray() if sp.issparse(rows) else rows
    return dense.astype(float_dtype(dense), copy=False)


def row_chunks(X: Any, n_bytes: int = CHUNK_BYTES) -> Iterator[slice]:
    """Yield consecutive slices of rows of about `n_bytes` each, as float64.

    Pages of a read-only memory map are given back after use, so that reading a file
    does not fill the memory.
    """
    step = max(1, n_bytes // (8 * max(1, X.shape[1])))
    mapped = memory_map(X)
    for start in range(0, X.shape[0], step):
        yield slice(start, min(start + step, X.shape[0]))
        release_pages(mapped)


def release_pages(mapped: mmap.mmap | None) -> None:
    """Unmap the pages of a read-only file mapping that were read so far."""
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def sample_rows(
    X: Any, weight: NDArray | None, n_rows: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray | None]:
    """Return at most `n_rows` dense rows of `X` and their weights."""
    n_rows = min(n_rows, max(MIN_STATISTICS_ROWS, STATISTICS_BYTES // (8 * X.shape[1])))
    if X.shape[0] > n_rows:
        chosen = np.sort(rng.choice(X.shape[0], n_rows, replace=False))
        weight = None if weight is None else weight[chosen]
        X = read_rows(X, chosen)
    return as_dense(X), weight


def read_rows(X: Any, rows: NDArray) -> Any:
    """Return rows by number; from a table on disk, a few pages at a time.

    A scattered row can map 2 MB of the file, so pages are given back all the time.
    """
    mapped = memory_map(X)
    if mapped is None:
        return X[rows]
    taken = np.empty((len(rows), X.shape[1]), dtype=X.dtype)
    for start in range(0, len(rows), SCATTERED_ROWS):
        piece = slice(start, start + SCATTERED_ROWS)
        taken[piece] = X[rows[piece]]
        release_pages(mapped)
    return taken


def as_tensor(weight: NDArray | None) -> Tensor | None:
    """Return weights as a float32 tensor."""
    return None if weight is None else torch.from_numpy(weight.astype(np.float32))


class RowDataset:
    """The rows of `X`, centred and divided by one scalar, as float32 tensors.

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    mean : ndarray of shape (n_features,)
    scale : float
    device : torch.device
    """

    def __init__(
        self, X: Any, mean: NDArray, scale: float, device: torch.device
    ) -> None:
        self.mean = mean
        self.scale = scale
        self.device = device
        self.n_rows: int = X.shape[0]
        self.shape = tuple(X.shape)
        self.streamed = is_streamed(X)
        self._mapped = memory_map(X) if self.streamed else None
        if self.streamed:
            self._X = X
            self._n_read = 0
        else:
            self._tensor = torch.empty(self.shape, dtype=torch.float32, device=device)
            for rows in row_chunks(X):
                self._tensor[rows] = self._standardise(X[rows])

    def _standardise(self, rows: Any) -> Tensor:
        dense = rows.toarray() if sp.issparse(rows) else rows
        # Subtract before rounding to float32: the mean may dwarf the spread.
        centred = (dense - self.mean) / self.scale
        return torch.from_numpy(np.ascontiguousarray(centred, dtype=np.float32))

    def take(self, rows: Tensor) -> Tensor:
        """Return a batch of an epoch's rows, a tensor of shape (n, n_features)."""
        if not self.streamed:
            return self._tensor.index_select(0, rows)
        taken = self._standardise(self._X[rows.cpu().numpy()]).to(self.device)
        self._n_read += len(rows)
        if self._n_read > RUN_ROWS * WINDOW_RUNS:
            self._n_read = 0
            release_pages(self._mapped)
        return taken

    def take_scattered(self, rows: Tensor) -> Tensor:
        """Return rows from all over the table."""
        if not self.streamed:
            return self._tensor.index_select(0, rows)
        return self._standardise(read_rows(self._X, rows.cpu().numpy())).to(self.device)

    def shuffled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return `rows` in a random order, for one epoch.

        Rows on disk are shuffled by runs of neighbours and then within a window of
        runs: each batch mixes distant rows, yet an epoch reads the file about once.
        """
        if not self.streamed:
            order = torch.randperm(len(rows), generator=generator)
            return rows[order.to(rows.device)]
        runs = rows.split(RUN_ROWS)
        shuffled = torch.randperm(len(runs), generator=generator).tolist()
        windows = []
        for start in range(0, len(runs), WINDOW_RUNS):
            window = torch.cat([runs[i] for i in shuffled[start : start + WINDOW_RUNS]])
            windows.append(window[torch.randperm(len(window), generator=generator)])
        return torch.cat(windows)


@dataclass
class TrainingData:
    """What a net is fitted on: rows, which of them train and which are held out.

    `weight` has shape (n_samples,). `fold_of`, for replicas, gives the number of the
    replica that does not train on a row, shape (n_samples,); every row is then used
    for training and held out once.
    """

    dataset: RowDataset
    train: Tensor  # row numbers
    valid: Tensor  # row numbers, may be empty
    weight: Tensor | None = None
    fold_of: Tensor | None = None

    def __post_init__(self) -> None:
        """Work out the training weights, of mean 1 for each replica."""
        weight = self.weight
        if self.fold_of is not None:
            n_folds = int(self.fold_of.max()) + 1
            folds = torch.arange(n_folds, device=self.fold_of.device)
            trains = (self.fold_of != folds[:, None]).float()  # (n_folds, n_samples)
            weight = trains if weight is None else trains * weight
        self.train_weight = weight
        if weight is not None:
            mean = weight[..., self.train].mean(-1, keepdim=True)
            self.train_weight = weight / mean

    def __len__(self) -> int:
        return len(self.train)

    def of_held_out(self, rows: Tensor, term: Tensor) -> Tensor:
        """Return each row's term under the replica that has not trained on it."""
        if self.fold_of is None:
            return term
        return term.gather(0, self.fold_of[rows][None])[0]

    def variances(self, squares: Tensor, n_values: Tensor) -> tuple[Tensor, float]:
        """Return the variance that held-out rows show, for each from the others.

        It is the mean square, by maximum likelihood, over the rows that are not of the
        same fold; a split falls into parts. A row that is far from all others then does
        not widen its own noise. The variance that all rows show comes second.

        Parameters
        ----------
        squares : Tensor of shape (n_valid,)
        n_values : Tensor of shape (n_valid,)
            How many numbers each is the sum of.
        """
        part = torch.arange(len(squares), device=squares.device) % N_PARTS
        if self.fold_of is not None:
            part = self.fold_of[self.valid]
        both = torch.stack([squares, n_values]).double()
        if self.weight is not None:
            both = both * self.weight[self.valid]
        sums = both.new_zeros(2, int(part.max()) + 1).index_add_(1, part, both)
        whole = sums.sum(1)
        others = whole[:, None] - sums if sums.shape[1] > 1 else sums
        means = others[0] / others[1].clamp_min(torch.finfo(torch.float32).tiny)
        return means[part].to(squares), float(whole[0] / whole[1])

    def mean(self, term: Tensor) -> Tensor:
        """Return the weighted mean of a term of the held-out rows."""
        if self.weight is None:
            return term.mean()
        weight = self.weight[self.valid]
        return (weight * term).sum() / weight.sum()
