"""Which cells are hidden together: patches, and columns that are missing together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ._dataset import sample_rows
from ._em import EM_ROWS

# Columns are hidden together whose gaps are correlated by more than this, and by more
# than so many standard errors; of tables that are not wider than so many columns.
JOINED, SURELY_JOINED, MOST_JOINED = 0.9, 5.0, 4096


def patches(
    sample_shape: tuple[int, ...], size: int, *, is_series: bool = False
) -> NDArray:
    """Return the patch that each cell of a sample is in, by number, (n_features,).

    Images have patches of so many pixels in both directions, and series of so many
    steps, with all of their channels.
    """
    shape = tuple(sample_shape)
    if len(shape) not in (2, 3):
        return np.arange(math.prod(shape)) // size
    if is_series and len(shape) == 2:
        return np.repeat(np.arange(shape[0]) // size, shape[1])
    if len(shape) > 2:
        return np.tile(patches(shape[-2:], size), math.prod(shape[:-2]))
    rows, columns = np.indices(shape) // size
    return (rows * (columns.max() + 1) + columns).ravel()


def missing_together(X: Any, block: NDArray) -> NDArray:
    """Return blocks of columns, joined where they are missing in the same rows.

    One that is hidden alone would be told by the others, which will be missing too.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    block : ndarray of int of shape (n_features,)

    Returns
    -------
    ndarray of int of shape (n_features,)
        Numbers from 0 on.
    """
    if sp.issparse(X) or len(block) > MOST_JOINED:
        return block
    missing = np.isnan(sample_rows(X, None, EM_ROWS, np.random.default_rng(0))[0])
    some = np.flatnonzero(missing.any(0) & ~missing.all(0))
    if len(some) < 2:
        return block
    centred = missing[:, some] - missing[:, some].mean(0)
    centred /= np.linalg.norm(centred, axis=0)
    correlation = centred.T @ centred
    is_sure = correlation > SURELY_JOINED / len(missing) ** 0.5
    first, second = np.nonzero((correlation > JOINED) & is_sure)
    n_blocks = int(block.max()) + 1
    links = block[some[first]], block[some[second]]
    graph = coo_matrix((np.ones(len(first)), links), shape=(n_blocks, n_blocks))
    return np.asarray(connected_components(graph, directed=False)[1])[block]
