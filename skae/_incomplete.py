"""Incomplete rows, sorted out once for all the rounds in which they are completed.

Given the covariance C of rows, and ``P = C^-1``, the missing cells m of a centred row
are expected to be ``-P_mm^-1 P_mo x_o``, with the covariance ``P_mm^-1``. By the known
cells o the same are ``C_mo C_oo^-1 x_o`` and ``C_mm - C_mo C_oo^-1 C_om``. So one block
has to be inverted, the smaller of the two, and once for all rows in which the same
cells are missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_NUMBERS = 2**16  # of the blocks that are inverted at a time: 512 kB


class Patterns(NamedTuple):
    """Some patterns of missing cells, and the rows that have them.

    Attributes
    ----------
    by_known : bool
        Whether cells are the known ones, which are fewer than the missing ones.
    cells : Tensor of int of shape (p, s)
        Numbers of the cells, and from `d` on what fills a pattern up to `s` of them.
    weight : Tensor of shape (p,)
        Sum of the weights of the rows.
    rows, which : Tensor of int of shape (n,)
        Numbers of the rows, and the pattern of each.
    """

    by_known: bool
    cells: Tensor
    weight: Tensor
    rows: Tensor
    which: Tensor


class IncompleteRows:
    """Rows some of whose cells are NaN.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
    """

    def __init__(self, X: NDArray, weight: NDArray | None) -> None:
        self.X, self.known = X, ~np.isnan(X)
        self.weight = np.ones(len(X)) if weight is None else weight.astype(np.float64)
        self.patterns = self._patterns()

    def _patterns(self) -> list[Patterns]:
        d = self.known.shape[1]
        incomplete = np.flatnonzero(~self.known.all(1))
        packed = np.packbits(self.known[incomplete], axis=1)
        found, which = np.unique(packed, axis=0, return_inverse=True)
        known = np.unpackbits(found, axis=1, count=d).astype(bool)
        by_known = 2 * known.sum(1) < d
        cells = np.where(by_known[:, None], known, ~known)
        size = cells.sum(1)
        # In the order of their sizes, so that little has to be filled up.
        order = np.lexsort((size, by_known))
        by_known, cells, size = by_known[order], cells[order], size[order]
        which = np.argsort(order)[which.ravel()]
        in_order = np.argsort(which, kind="stable")
        rows, which = incomplete[in_order], which[in_order]
        weight = np.bincount(which, self.weight[rows], len(size))
        numbers = np.argsort(~cells, axis=1, kind="stable")
        places = np.arange(d)
        numbers = np.where(places < size[:, None], numbers, d + places)
        patterns, begin = [], 0
        while begin < len(size):
            here = by_known[begin:] == by_known[begin]
            total = np.arange(1, len(here) + 1) * size[begin:] ** 2
            end = begin + max(1, int((here & (total <= BLOCK_NUMBERS)).sum()))
            first, last = np.searchsorted(which, (begin, end))
            patterns.append(
                Patterns(
                    bool(by_known[begin]),
                    torch.from_numpy(numbers[begin:end, : size[end - 1]].copy()),
                    torch.from_numpy(weight[begin:end]),
                    torch.from_numpy(rows[first:last]),
                    torch.from_numpy(which[first:last] - begin),
                )
            )
            begin = end
        return patterns

    def given(self, covariance: NDArray, x: NDArray) -> tuple[NDArray, NDArray]:
        """Return what is expected beside known cells, and how uncertain it is.

        Parameters
        ----------
        covariance : ndarray of shape (d, d)
        x : ndarray of shape (n, d)
            Centred rows, 0 in the missing cells.

        Returns
        -------
        expected : ndarray of shape (n, d)
            0 in the known cells.
        uncertain : ndarray of shape (d, d)
            Weighted sum of the covariances of the missing cells given the known ones.
        """
        n, d = x.shape
        expected = torch.zeros(n, d, dtype=torch.float64)
        uncertain = torch.zeros(d, d, dtype=torch.float64)
        of_cells = torch.from_numpy(covariance), torch.from_numpy(x)
        precision = torch.from_numpy(np.linalg.inv(covariance))
        for pattern in self.patterns:
            matrix = of_cells[0] if pattern.by_known else precision
            rows = of_cells[1].index_select(0, pattern.rows)
            solved, inverse = _solved(matrix, rows, pattern)
            if pattern.by_known:
                solved = solved @ matrix
                inverse = pattern.weight.sum() * matrix - matrix @ inverse @ matrix
            else:
                solved = solved.neg_()
            expected.index_copy_(0, pattern.rows, solved)
            uncertain += inverse
        return np.where(self.known, 0.0, expected.numpy()), uncertain.numpy()


def _solved(matrix: Tensor, x: Tensor, pattern: Patterns) -> tuple[Tensor, Tensor]:
    """Return solutions by blocks of a matrix, (n, d), and the sum of their inverses.

    With the cells s of a row, solutions are ``matrix_ss^-1 x_s`` of known cells, or
    ``matrix_ss^-1 (matrix x)_s`` of missing ones, and 0 elsewhere.
    """
    d, cells = len(matrix), pattern.cells
    size = cells.shape[1]
    # Filled up by ones in the diagonal, which have a place of their own each.
    width = d + size
    whole = torch.eye(width, dtype=matrix.dtype)
    whole[:d, :d] = matrix
    flat = cells[:, :, None] * width + cells[:, None, :]
    blocks = whole.view(-1).take(flat)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(blocks)[0])
    given = x if pattern.by_known else x @ matrix
    given = torch.cat([given, x.new_zeros(len(x), size)], 1)
    at = cells.index_select(0, pattern.which)
    right = given.gather(1, at)[:, :, None]
    values = torch.bmm(inverse.index_select(0, pattern.which), right)[:, :, 0]
    solved = torch.zeros_like(given).scatter_(1, at, values)[:, :d]
    total = matrix.new_zeros(width * width)
    weighted = inverse * pattern.weight[:, None, None]
    total.index_add_(0, flat.flatten(), weighted.flatten())
    return solved, total.view(width, width)[:d, :d]
