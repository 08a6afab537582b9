"""Rows of a table as float32 tensors, whether in memory, sparse or on disk.

A network wants batches of numbers near 1. The table may be an array, a sparse matrix
or a file larger than memory, so the rows are centred, scaled and made dense one batch
at a time unless the whole table is small enough to be one tensor.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._missing import known_cells

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


def most_sampled(n_features: int) -> int:
    """Return how many rows of this width a sample has at most, for their memory."""
    return max(MIN_STATISTICS_ROWS, STATISTICS_BYTES // (8 * n_features))


def some_of(rows: Any, most: int) -> Any:
    """Return rows at even distances, at most so many."""
    return rows[:: max(1, math.ceil(len(rows) / most))]


def sample_rows(
    X: Any, weight: NDArray | None, n_rows: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray | None]:
    """Return at most `n_rows` dense rows of `X` and their weights."""
    chosen = sampled(X.shape, n_rows, rng)
    if len(chosen) < X.shape[0]:
        weight = None if weight is None else weight[chosen]
        X = read_rows(X, chosen)
    return as_dense(X), weight


def sampled(shape: tuple[int, ...], n_rows: int, rng: np.random.Generator) -> NDArray:
    """Return the places of at most `n_rows` rows of an array, in ascending order."""
    n_rows = min(n_rows, most_sampled(shape[1]))
    if shape[0] <= n_rows:
        return np.arange(shape[0])
    return np.sort(rng.choice(shape[0], n_rows, replace=False))


def missing_share(X: Any) -> NDArray:
    """Return the share of each column of a table that is NaN, shape (n_features,)."""
    n_missing = np.zeros(X.shape[1])
    if X.dtype == np.uint8 or sp.issparse(X):
        return n_missing
    for rows in row_chunks(X):
        known = known_cells(X[rows])
        if known is not None:
            n_missing += (~known).sum(0)
    return n_missing / X.shape[0]


def as_type(values: NDArray, dtype: np.dtype) -> NDArray:
    """Return numbers in the type of the rows, or as they are if it is too small."""
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    return cast if np.isfinite(cast).all() else values


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


def as_tensor(weight: NDArray | None, device: torch.device) -> Tensor | None:
    """Return weights as a float32 tensor, of mean 1: others may overflow there."""
    if weight is None:
        return None
    scaled = (weight / weight.mean()).astype(np.float32)
    return torch.from_numpy(scaled).to(device)


Fill = Callable[[NDArray, NDArray | None], NDArray]


class RowDataset:
    """The rows of `X`, centred and divided by one scalar, as float32 tensors.

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    mean : ndarray of shape (n_features,)
    scale : float
    device : torch.device
    fill : callable, optional
        Returns dense rows with something in place of NaN, given the mask of what is
        known. Once for each row, unless the table is on disk.

    Attributes
    ----------
    cells_at_once : int
        Of the rows that it is best to take at a time, at least a batch.
    """

    cells_at_once = 2**18

    def __init__(
        self,
        X: Any,
        mean: NDArray,
        scale: float,
        device: torch.device,
        fill: Fill | None = None,
    ) -> None:
        self.mean = mean
        self.scale = scale
        self.device = device
        self.n_rows: int = X.shape[0]
        self.shape = tuple(X.shape)
        self.streamed = is_streamed(X)
        self._fill = fill
        self._mapped = memory_map(X) if self.streamed else None
        if self.streamed:
            self._X = X
            self._n_read = 0
            return
        self._tensor = torch.empty(self.shape, dtype=torch.float32, device=device)
        self._known: Tensor | None = None
        for rows in row_chunks(X):
            self._tensor[rows], known = self._standardise(X[rows])
            if known is not None:
                if self._known is None:
                    ones = torch.ones(self.shape, dtype=torch.bool, device=device)
                    self._known = ones
                self._known[rows] = known

    def _standardise(self, rows: Any) -> tuple[Tensor, Tensor | None]:
        dense = rows.toarray() if sp.issparse(rows) else rows
        known = None if self._fill is None else known_cells(dense)
        if self._fill is not None and known is not None:
            dense = self._fill(dense, known)
        # Subtract before rounding to float32: the mean may dwarf the spread.
        centred = (dense - self.mean) / self.scale
        with np.errstate(over="ignore"):  # of rows that are far from those of `fit`
            x = torch.from_numpy(np.ascontiguousarray(centred, dtype=np.float32))
        return x, None if known is None else torch.from_numpy(known)

    def _of_memory(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self._tensor.index_select(0, rows)
        if self._known is None:
            return x, None
        known = self._known.index_select(0, rows)
        return x, None if known.all() else known

    def _of_disk(self, rows: Any) -> tuple[Tensor, Tensor | None]:
        x, known = self._standardise(rows)
        return x.to(self.device), None if known is None else known.to(self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return a batch of an epoch's rows, and what is known of them.

        Both have shape (n, n_features); None says that all is known.
        """
        if not self.streamed:
            return self._of_memory(rows)
        taken = self._of_disk(self._X[rows.cpu().numpy()])
        self._n_read += len(rows)
        if self._n_read > RUN_ROWS * WINDOW_RUNS:
            self._n_read = 0
            release_pages(self._mapped)
        return taken

    def take_scattered(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return rows from all over the table, as :meth:`take` does."""
        if not self.streamed:
            return self._of_memory(rows)
        return self._of_disk(read_rows(self._X, rows.cpu().numpy()))

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

    Attributes
    ----------
    dataset : RowDataset, or another with its methods
    train, valid : Tensor
        Row numbers; none may be held out.
    weight : Tensor of shape (n_samples,), optional
    fold_of : Tensor of shape (n_samples,), optional
        The number of the stacked module that does not train on a row; every row is then
        used for training and held out once.
    units : Tensor of shape (n_valid,), optional
        Held-out rows of one unit are not independent.
    valid_dataset : the same, optional
        Where the held-out rows are, if not in `dataset`.
    """

    dataset: Any
    train: Tensor
    valid: Tensor
    weight: Tensor | None = None
    fold_of: Tensor | None = None
    units: Tensor | None = None
    valid_dataset: Any = None

    def __post_init__(self) -> None:
        """Work out the training weights, of mean 1 for each stacked module."""
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

    @property
    def seen(self) -> tuple[Any, Tensor, Tensor]:
        """The rows, numbers of those that train, and that all of these may be seen."""
        return self.dataset, self.train, torch.ones_like(self.train, dtype=torch.bool)

    @property
    def n_units(self) -> float:
        """How many held-out units there are, of a row or of several each.

        Of unequal weights they count as many equal ones as chance would be alike for
        (Kish 1965).
        """
        w = self.valid_weight
        if w is None or not len(w):
            n = len(self.valid) if self.units is None else len(self.units.unique())
            return float(n)
        w = w.double()
        if self.units is not None:
            w = w.new_zeros(int(self.units.max()) + 1).index_add_(0, self.units, w)
        tiny = torch.finfo(w.dtype).tiny
        return float(w.sum() ** 2 / w.square().sum().clamp_min(tiny))

    @property
    def valid_weight(self) -> Tensor | None:
        """Weights of the held-out rows, shape (n_valid,)."""
        return self.weights_of(self.valid)

    def take_valid(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return held-out rows, and what is known of them."""
        return (self.valid_dataset or self.dataset).take_scattered(rows)

    def weights_of(self, rows: Tensor) -> Tensor | None:
        """Return the weights of some held-out rows, shape (n_rows,)."""
        if self.weight is None or self.valid_dataset is not None:
            return None
        return self.weight[rows]

    def by_fold(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return which of some held-out rows are of each fold.

        Returns
        -------
        which : Tensor of int of shape (n_folds, m)
            Where m is the size of the largest fold. A smaller one begins again with its
            first row.
        at : Tensor of int of shape (n_rows,)
            Where each row is in `which`, as if that were flat.
        is_own : Tensor of shape (n_folds, m)
            1, and 0 where a fold has begun again, or has no row.
        """
        assert self.fold_of is not None
        fold = self.fold_of[rows]
        n_folds = int(self.fold_of.max()) + 1
        sizes = fold.bincount(minlength=n_folds)
        order, m = fold.argsort(stable=True), int(sizes.max())
        first = sizes.cumsum(0) - sizes
        place = torch.arange(m, device=rows.device)
        again = place % sizes.clamp_min(1)[:, None]
        which = order[(first[:, None] + again).clamp_max(len(rows) - 1)]
        at = torch.empty_like(order)
        at[order] = fold[order] * m + torch.arange(len(rows), device=rows.device)
        return which, at - first[fold], (place < sizes[:, None]).float()

    @property
    def parts(self) -> Tensor:
        """The part of each held-out row, shape (n_valid,): its fold, if it has one.

        What a model is calibrated by comes from other parts.
        """
        if self.fold_of is not None:
            return self.fold_of[self.valid]
        n, device = len(self.valid), self.valid.device
        units = torch.arange(n, device=device) if self.units is None else self.units
        return units % N_PARTS

    def ratios_of_others(
        self, numerator: Tensor, denominator: Tensor
    ) -> tuple[Tensor, float]:
        """Return the ratio of two sums over held-out rows, for each from the others.

        The others are the rows that are not of the same fold; a split falls into parts.
        A row that is far from all others thus has no say about itself. The ratio over
        all rows comes second.

        Parameters
        ----------
        numerator, denominator : Tensor of shape (n_valid,)
        """
        part = self.parts
        both = torch.stack([numerator, denominator]).double()
        if self.valid_weight is not None:
            both = both * self.valid_weight
        sums = both.new_zeros(2, int(part.max()) + 1).index_add_(1, part, both)
        whole = sums.sum(1)
        others = whole[:, None] - sums if sums.shape[1] > 1 else sums
        means = others[0] / others[1].clamp_min(torch.finfo(torch.float32).tiny)
        return means[part].to(numerator), float(whole[0] / whole[1])

    def mean(self, term: Tensor) -> Tensor:
        """Return the weighted mean of a term of the held-out rows."""
        weight = self.valid_weight
        return term.mean() if weight is None else (weight * term).sum() / weight.sum()
