"""How far rows are from those that a model was trained on, in code and residual."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from ._dataset import as_dense, row_chunks
from ._split import row_hashes
from ._start import Start
from ._trained import TrainedNetwork


@dataclass(frozen=True)
class Neighbors:
    """The distinct training rows, as codes beside what these leave over.

    Of PCA they are the rows themselves, turned: a distance is one between rows. What a
    curved model leaves over counts as what its codes say, and so as far as PCA is from
    it. A row that was trained on, wherever it is met again, does not see itself: also
    where it comes as float32 and was trained on as float64, or the other way round.
    """

    n_neighbors: int
    features: NDArray  # (n_distinct, k + d)
    search: NearestNeighbors
    hashes: NDArray  # (n_distinct,), ascending
    rounded: NDArray  # (n_distinct,), those of the rows as they are in float32
    units: tuple[NDArray, float]  # that the hashes were taken in

    @classmethod
    def of(
        cls,
        n_neighbors: int,
        model: Start | TrainedNetwork,
        X: Any,
        units: tuple[NDArray, float],
        earlier: tuple[Neighbors, Start | TrainedNetwork] | None = None,
    ) -> Neighbors:
        """Remember the rows of a table, which may be sparse or on disk.

        `earlier` has those that were remembered before, and the model that they are
        remembered by.
        """
        hashes, rounded = row_hashes(X, *units), _rounded_hashes(X)
        if earlier is not None:
            before, old = earlier
            X = np.concatenate([as_dense(X), before.rows(old)])
            hashes = np.concatenate([hashes, before.hashes])
            rounded = np.concatenate([rounded, before.rounded])
        hashes, rows = np.unique(hashes, return_index=True)
        if n_neighbors >= len(rows):
            warnings.warn(
                f"n_neighbors={n_neighbors}, but the distinct rows that are trained on "
                f"are only {len(rows)}: a row is compared with all others.",
                stacklevel=2,
            )
        features = np.empty((len(rows), len(model.explained_variance) + X.shape[1]))
        for part in row_chunks(features):
            features[part] = _features(model, as_dense(X[rows[part]]))
        search = NearestNeighbors(n_neighbors=n_neighbors).fit(features)
        return cls(n_neighbors, features, search, hashes, rounded[rows], units)

    def __getstate__(self) -> dict[str, Any]:
        made_again = "search", "_by_rounded"
        return {n: self.__dict__[n] for n in self.__dict__ if n not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        search = NearestNeighbors(n_neighbors=state["n_neighbors"])
        self.__dict__.update(state, search=search.fit(state["features"]))

    def rows(self, model: Start | TrainedNetwork) -> NDArray:
        """Return the rows again, shape (n_distinct, d); unknown cells are as expected.

        `model` is the one that they are remembered by.
        """
        k = len(model.explained_variance)
        return model.inverse_transform(self.features[:, :k]) + self.features[:, k:]

    def score_samples(self, model: Start | TrainedNetwork, X: NDArray) -> NDArray:
        """Return minus the mean distance to the nearest rows, shape (n,)."""
        k = min(self.n_neighbors + 1, len(self.hashes))
        distances, found = self.search.kneighbors(_features(model, X), k)
        is_other = found != self._own(X)[:, None]
        if k > self.n_neighbors:  # one more was asked for, which may be the row itself
            is_other[is_other.all(1), -1] = False
        total = np.where(is_other, distances, 0).sum(1)
        return -total / np.maximum(is_other.sum(1), 1)

    @cached_property
    def _by_rounded(self) -> NDArray:
        return np.argsort(self.rounded)

    def _own(self, X: NDArray) -> NDArray:
        """Return the place of each row among those that were trained on, or -1."""
        hashes, last = row_hashes(X, *self.units), len(self.hashes) - 1
        place = np.searchsorted(self.hashes, hashes).clip(max=last)
        is_own = self.hashes[place] == hashes
        rounded, order = _rounded_hashes(X), self._by_rounded
        at = np.searchsorted(self.rounded, rounded, sorter=order).clip(max=last)
        is_rounded = self.rounded[order[at]] == rounded
        return np.where(is_own, place, np.where(is_rounded, order[at], -1))


def _rounded_hashes(X: Any) -> NDArray:
    return row_hashes(X, np.zeros(X.shape[1]), 1.0)


def _features(model: Start | TrainedNetwork, X: NDArray) -> NDArray:
    """Return codes beside residuals, shape (n, k + d); unknown cells have none."""
    codes = model.transform(X)
    residual = np.subtract(X, model.inverse_transform(codes), dtype=np.float64)
    return np.hstack([codes, np.nan_to_num(residual, copy=False)])
