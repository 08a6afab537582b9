"""Would an autoencoder beat PCA on this table? ``python -m skae`` tells.

Every public estimator of skae is fitted beside PCA on three quarters of the rows; what
the held-out quarter says of them is printed side by side.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae

MIN_ROWS = 10
MAX_CLASSES = 20  # a whole-number target with more distinct values is continuous
MISSING = {"", "na", "n/a", "nan", "null", "none"}
TABLES, PICTURES = (".csv", ".parquet"), (".png", ".pdf", ".svg", ".jpg")


class InputError(Exception):
    """Something that the user can put right; its message is one line."""


@dataclass(frozen=True)
class Table:
    """Rows `X` of shape (n, d) and perhaps a target `y`: classes or real numbers."""

    name: str
    X: NDArray
    y: NDArray | None = None
    target: str = ""
    is_class: bool = False
    image_shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Result:
    """A fitted model, its codes of the held-out rows and its figures (NaN: none)."""

    n_components: int
    name: str
    model: Any
    codes: NDArray
    r2: float
    log_likelihood: float
    linear: float
    seconds: float


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise InputError(message)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = Parser("python -m skae", description="Would an autoencoder beat PCA here?")
    add = parser.add_argument
    default = "the digits of scikit-learn, unscaled"
    text = f".csv with a header, or .parquet; numeric but for COLUMN (default: {default})"
    add("table", nargs="?", type=Path, help=text)
    text = "predict this column from the codes, by a linear model"
    add("--target", metavar="COLUMN", help=text)
    text = "numbers of codes (default: 2 8 16 where the table is wide enough)"
    add("--n-components", nargs="+", type=partial(_whole, 1), metavar="K", help=text)
    text = "write the codes of all rows, .csv or .parquet: those of the best skae "
    text += "estimator for the FIRST of --n-components, fitted on all rows"
    add("--output", type=Path, metavar="PATH", help=text)
    text = "leave the columns of the table as they are (default: standardise them)"
    add("--no-scale", dest="scale", action="store_false", help=text)
    text = "seed of the split and of the models (default: 0)"
    seed = partial(_whole, 0)
    add("--random-state", type=seed, default=0, metavar="SEED", help=text)
    text = "epochs of the skae estimators (default: their own)"
    add("--max-iter", type=partial(_whole, 0), metavar="EPOCHS", help=text)
    text = "where to save the picture (default: skae.png)"
    add("--plot", type=Path, default=Path("skae.png"), metavar="PATH", help=text)
    add("--no-plot", dest="plot", action="store_const", const=None, help="no picture")
    return parser.parse_args(argv)


def _whole(minimum: int, text: str) -> int:
    if text.isdecimal() and minimum <= int(text) < 2**32:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {minimum}")


def _check_destination(path: Path, suffixes: Sequence[str], table: Path | None) -> None:
    """Refuse before any work what could not be written after it."""
    problems = {
        f"the suffix must be {' or '.join(suffixes)}": path.suffix not in suffixes,
        "Parquet needs pandas": path.suffix == ".parquet" and _pandas() is None,
        "it is the table itself": table and path.resolve() == table.resolve(),
        f"there is no folder {path.parent}": not path.parent.is_dir(),
        "it is a folder": path.is_dir(),
    }
    for problem, found in problems.items():
        if found:
            raise InputError(f"cannot write {path}: {problem}")


def _pandas() -> Any:
    """Return pandas, or None where it is not installed."""
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown}, ... ({len(names)} in all)"


def read_table(path: Path, target: str | None) -> Table:
    """Return the checked table of a file."""
    try:
        columns = _read_columns(path)
    except (OSError, ValueError, ImportError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"cannot read {path}: {reason}") from error
    if target is not None and target not in columns:
        has = _quoted([*columns])
        raise InputError(f"{path} has no column {target!r}; its columns are {has}")
    n_rows = max(map(len, columns.values()), default=0)
    if n_rows < MIN_ROWS:
        raise InputError(f"{path} has {n_rows} rows, but at least {MIN_ROWS} are needed")
    words = [k for k, c in columns.items() if c.dtype == object and k != target]
    if words:
        hint = "leave them out, or make one the --target"
        raise InputError(f"{path} has non-numeric columns: {_quoted(words)} ({hint})")
    missing = [name for name, column in columns.items() if _has_missing(column)]
    if missing:
        raise InputError(f"{path} has missing or infinite values in {_quoted(missing)}")
    y = columns.pop(target) if target is not None else None
    X = np.column_stack([*columns.values()]) if columns else np.empty((n_rows, 0))
    if (np.ptp(X, axis=0) > 0).sum() < 2:
        raise InputError(f"{path} has fewer than 2 columns (besides a target) that vary")
    if y is None:
        return Table(path.name, X)
    return Table(path.name, X, *_check_target(str(target), y))


def _read_columns(path: Path) -> dict[str, NDArray]:
    """Return the columns of a file, float64, or object where there is text."""
    pandas = _pandas()
    if path.suffix not in TABLES:
        raise ValueError(f"the suffix must be {' or '.join(TABLES)}")
    if pandas is None:
        if path.suffix == ".parquet":
            raise ImportError("Parquet needs pandas and pyarrow")
        return _read_plain_csv(path)
    read = {".csv": partial(pandas.read_csv, low_memory=False)}
    frame = read.get(path.suffix, pandas.read_parquet)(path)
    return {
        str(name): series.to_numpy(dtype=float, na_value=np.nan)
        if series.dtype.kind in "biuf"
        else series.astype(object).where(series.notna(), None).to_numpy()
        for name, series in frame.items()
    }


def _read_plain_csv(path: Path) -> dict[str, NDArray]:
    """Return the columns of a CSV file without the help of pandas."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        names, *rows = [row for row in csv.reader(file) if row] or [[]]
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name")
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its lines have different numbers of cells")
    return {k: _parse([row[i] for row in rows]) for i, k in enumerate(names)}


def _parse(cells: list[str]) -> NDArray:
    present = [None if c.strip().lower() in MISSING else c for c in cells]
    try:
        return np.array([np.nan if c is None else float(c) for c in present])
    except ValueError:
        return np.array(present, dtype=object)


def _has_missing(column: NDArray) -> bool:
    if column.dtype == object:
        return any(value is None for value in column)
    return not np.isfinite(column).all()


def _check_target(name: str, column: NDArray) -> tuple[NDArray, str, bool]:
    """Return a target, its name, and whether it holds classes."""
    is_text = column.dtype == object
    y = column.astype(str) if is_text else column
    values = np.unique(y)
    if len(values) == 1:
        raise InputError(f"the target {name!r} has only one value, {values[0]}")
    if is_text and len(values) > len(y) // 2:
        counts = f"{len(values)} different texts in {len(y)} rows"
        raise InputError(f"the target {name!r} has {counts}: neither classes nor numbers")
    few = len(values) <= min(MAX_CLASSES, len(y) // 2)
    return y, name, is_text or (few and not np.any(values % 1))
