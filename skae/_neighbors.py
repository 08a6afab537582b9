"""How far rows are from those that a model was trained on, in code and residual."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
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
    it. A row that was trained on, wherever it is met again, does not see itself.
    """

    n_neighbors: int
    features: NDArray  # (n_distinct, k + d)
    search: NearestNeighbors
    hashes: NDArray  # (n_distinct,), ascending
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
        hashes = row_hashes(X, *units)
        if earlier is not None:
            before, old = earlier
            X = np.concatenate([as_dense(X), before.rows(old)])
            hashes = np.concatenate([hashes, before.hashes])
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
        return cls(n_neighbors, features, search, hashes, units)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dict__ if name != "search"}

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
        hashes, n = row_hashes(X, *self.units), len(self.hashes)
        k = min(self.n_neighbors + 1, n)
        distances, found = self.search.kneighbors(_features(model, X), k)
        place = np.searchsorted(self.hashes, hashes).clip(max=n - 1)
        own = np.where(self.hashes[place] == hashes, place, -1)
        is_other = found != own[:, None]
        if k > self.n_neighbors:  # one more was asked for, which may be the row itself
            is_other[is_other.all(1), -1] = False
        total = np.where(is_other, distances, 0).sum(1)
        return -total / np.maximum(is_other.sum(1), 1)


def _features(model: Start | TrainedNetwork, X: NDArray) -> NDArray:
    """Return codes beside residuals, shape (n, k + d); unknown cells have none."""
    codes = model.transform(X)
    residual = np.subtract(X, model.inverse_transform(codes), dtype=np.float64)
    return np.hstack([codes, np.nan_to_num(residual, copy=False)])
