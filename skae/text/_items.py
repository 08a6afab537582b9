"""Checks of the texts that a user passes, with errors that name the text."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

# An integer array has these in place of a token.
PADDING, MASKED = -1, -2
# The largest integer that is a token: what is drawn comes back in 64 bits.
LARGEST = 2**63 - 1
EMPTY = "X has no text: 0 sample(s) were given, and at least one is needed."
KINDS = {
    "texts": "strings",
    "tokens": "lists of tokens",
    "integers": "integers, padded with -1",
}


def as_items(X: Any, analyzer: Any, *, masks: bool = False) -> tuple[list[Any], str]:
    """Return texts as a list of what is to be split, and what they are.

    Raises
    ------
    ValueError, TypeError
        That names the text that is none.
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    if X is None or isinstance(X, str | bytes) or sp.issparse(X):
        what = "sparse" if sp.issparse(X) else f"{shown(X)}, one {type(X).__name__}"
        raise ValueError(
            f"X is {what}: use a list or a Series of strings, a list of lists of "
            "tokens, or an integer array padded with -1."
        )
    if hasattr(X, "columns"):
        use = "X.to_numpy()" if _is_of_integers(X) else 'one of them, as in X["text"]'
        raise ValueError(
            f"X is a frame with the columns {list(X.columns)[:5]}: use {use}."
        )
    if isinstance(X, np.ndarray) and X.ndim != 1:
        if X.ndim == 2 and X.dtype.kind in "iu":
            return _without_padding(X, masks), "integers"
        raise ValueError(
            f"X is an array of shape {X.shape} and type {X.dtype}: use shape "
            "(n_texts,) for strings, or integers of shape (n_texts, n_tokens), padded "
            "with -1."
        )
    if not isinstance(X, Iterable):
        raise TypeError(
            f"X is {shown(X)}, one {type(X).__name__}: use a list or Series of strings."
        )
    # Lists in a Series of polars are Series themselves, unless it makes the list.
    items = X.to_list() if hasattr(X, "to_list") else list(X)
    if not items:
        raise ValueError(EMPTY)
    if callable(analyzer):
        return items, "texts"
    if isinstance(items[0], str):
        for i, item in enumerate(items):
            if not isinstance(item, str):
                wanted = 'a string, "" where it is missing, as by X.fillna("")'
                raise _no_text(i, item, wanted)
            if analyzer == "bpe" and not _is_encoded(item):
                wanted = "one that UTF-8 can encode, of which byte pairs are made"
                raise _no_text(i, item, wanted)
        return items, "texts"
    if not isinstance(items[0], list | tuple | np.ndarray):
        raise _no_text(0, items[0], "a string, or a list of tokens")
    return _checked_tokens(items, masks)


def _checked_tokens(items: list[Any], masks: bool) -> tuple[list[Any], str]:
    """Return lists of tokens, all of strings or all of integers."""
    items = [item.tolist() if isinstance(item, np.ndarray) else item for item in items]
    first = next((item[0] for item in items if len(item)), None)
    of_integers = isinstance(first, Integral) and not isinstance(first, bool)
    lowest = MASKED if masks else 0
    for i, item in enumerate(items):
        if not isinstance(item, list | tuple):
            raise _no_text(i, item, "a list of tokens")
        for token in item:
            if of_integers:
                fits = isinstance(token, Integral) and not isinstance(token, bool)
                fits = fits and lowest <= token <= LARGEST and token != PADDING
            else:
                fits = isinstance(token, str)
            if not fits:
                what = "integers from 0 to 2**63 - 1" if of_integers else "strings"
                raise _no_text(i, token, f"made of {what}", " has the token")
    return items, "integers" if of_integers else "tokens"


def _is_of_integers(frame: Any) -> bool:
    """Whether all columns of a frame are integers."""
    if not hasattr(frame, "to_numpy") or not len(frame.columns):
        return False
    return frame.head(1).to_numpy().dtype.kind in "iu"


def _without_padding(X: NDArray, masks: bool) -> list[Any]:
    """Return the rows of an integer array without what they are padded with."""
    if not len(X):
        raise ValueError(EMPTY)
    lowest = MASKED if masks else PADDING
    is_token = X != PADDING
    lengths = is_token.sum(1)
    inside = np.arange(X.shape[1]) < lengths[:, None]
    fits = (lowest <= X) & (X <= LARGEST)
    bad = np.argwhere(~fits | (inside & ~is_token))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"X has {X[row, column]} in row {row}, column {column}: use integers from "
            "0 to 2**63 - 1, and -1 after the last token only."
        )
    return [row[:n].tolist() for row, n in zip(X, lengths, strict=True)]


def _no_text(row: int, item: Any, wanted: str, has: str = " is") -> ValueError:
    return ValueError(
        f"Text {row} of X{has} {shown(item)} ({type(item).__name__}): each text must "
        f"be {wanted}."
    )


def _is_encoded(text: str) -> bool:
    """Whether a text has bytes, which half of a surrogate pair has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """Return a value as far as a message has room for it."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= 60 else f"{text[:57]}..."
