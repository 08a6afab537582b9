"""Tables that ``python -m skae`` reads, with one clear line where it cannot."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

MIN_ROWS = 10
MAX_CLASSES = 20  # a whole-number target with more distinct values is continuous
MAX_SHOWN = 80  # characters of a cell
HUGE = 1e100  # squares of larger numbers overflow, those of 1 / HUGE underflow
MISSING = {"", "na", "n/a", "nan", "null", "none"}
NO_NAME = re.compile(r"(Unnamed: 0)?")  # as pandas calls it, and as it is
TABLES = (".csv", ".parquet")
NO_PARQUET = "Parquet needs pandas and pyarrow: python -m pip install pandas pyarrow"


class InputError(Exception):
    """Something that the user can put right; its message is one line."""


@dataclass(frozen=True)
class Table:
    """Rows `X` of shape (n, d) and perhaps a target `y`: classes or real numbers."""

    name: str
    X: NDArray
    y: Any = None
    target: str | None = None
    is_class: bool = False
    image_shape: tuple[int, ...] = ()


def import_pandas() -> Any:
    """Return pandas, or None where it is not installed."""
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def quoted(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown}, ... ({len(names)} in all)"


def load_digits_table() -> Table:
    """Return the digits of scikit-learn."""
    data = load_digits()
    return Table("digits", data.data, data.target, "digit", True, (8, 8))


def read_table(path: Path, target: str | None) -> Table:
    """Return the checked table of a file."""
    try:
        columns = _read_columns(path)
    except (OSError, ValueError, ImportError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    index = next(iter(columns), "table")
    if target != index and NO_NAME.fullmatch(index):
        print(f"The first column of {path} has no name: left out, as an index.")
        del columns[index]
    if target is not None and target not in columns:
        has = quoted([*columns])
        raise InputError(f"{path} has no column {target!r}; its columns are {has}")
    n_rows = max(map(len, columns.values()), default=0)
    if n_rows < MIN_ROWS:
        raise InputError(
            f"{path} has {n_rows} rows, but at least {MIN_ROWS} are needed"
        )
    words = [k for k, c in columns.items() if c.dtype == object and k != target]
    if words:
        hint = "leave them out, or make one the --target"
        hint = f"{_first(_is_no_number, words[0], columns)}: {hint}"
        raise InputError(f"{path} has non-numeric columns: {quoted(words)} ({hint})")
    missing = [name for name, column in columns.items() if _has_missing(column)]
    if missing:
        what = "missing, infinite or huge values"
        hint = "fill them, or leave out such rows or columns"
        hint = f"{_first(_is_missing, missing[0], columns)}: {hint}"
        raise InputError(f"{path} has {what} in {quoted(missing)} ({hint})")
    y = None if target is None else columns.pop(target)
    X = np.column_stack([np.empty((n_rows, 0)), *columns.values()])
    if target is None:
        return Table(path.name, X)
    return Table(path.name, X, *_check_target(target, y))


def _check_header(path: Path, names: list[str]) -> None:
    """Raise unless the first line holds names, separated by commas."""
    for separator in (";", "\t") if len(names) == 1 else ():
        if separator in names[0]:
            text = f"{path} has one column, {names[0]!r}: separate cells by commas"
            raise InputError(text)
    if names and all(map(_is_number, names)) and not _count_up(names):
        shown = quoted(names)
        raise InputError(
            f"{path} has numbers where the names of the columns should be: {shown}"
        )


def _count_up(names: list[str]) -> bool:
    """Whether names are numbers of the columns, as pandas gives those of an array."""
    return any(names == [str(first + i) for i in range(len(names))] for first in (0, 1))


def _is_number(name: str) -> bool:
    try:
        _to_float(name)
    except ValueError:
        # pandas calls a second column "1.5" "1.5.1"
        return bool(re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?\.\d+", name.strip()))
    return True


def _read_columns(path: Path) -> dict[str, NDArray]:
    """Return the columns of a file: float64, or object where there is text."""
    pandas, suffix = import_pandas(), path.suffix.lower()
    if suffix not in TABLES:
        raise ValueError(f"the suffix must be {' or '.join(TABLES)}")
    if path.exists() and not path.is_file():
        raise ValueError("it is a folder or a pipe: give a file")
    if suffix == ".csv" and pandas is None:
        return _read_plain_csv(path)
    if pandas is None:
        raise ImportError(NO_PARQUET)
    if not path.exists():  # of which pandas may say the name only
        raise ValueError("No such file or directory")
    if suffix == ".csv":
        frame = _read_pandas_csv(pandas, path)
        if frame is None:
            return _read_plain_csv(path)
        _check_header(path, [str(name) for name in frame])
    else:
        frame = pandas.read_parquet(path)
    return {str(name): _column(series, suffix) for name, series in frame.items()}


def _read_pandas_csv(pandas: Any, path: Path) -> Any:
    """Return a frame, or None where pandas would drop cells."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            # Without index_col, the first cell of longer lines would be an index.
            return pandas.read_csv(path, low_memory=False, index_col=False)
        except pandas.errors.ParserWarning:
            return None


def _column(series: Any, suffix: str) -> NDArray:
    """Return a column of pandas: float64, or object where there is text."""
    if series.dtype.kind in "biuf":
        return series.to_numpy(dtype=float, na_value=np.nan)
    column = series.astype(object).where(series.notna(), None).to_numpy()
    # In a CSV file everything is text, also integers that are too long for pandas.
    is_text = suffix != ".csv" and any(isinstance(v, str | bytes) for v in column)
    return column if is_text else _as_floats(column)


def _read_plain_csv(path: Path) -> dict[str, NDArray]:
    """Return the columns of a CSV file without the help of pandas."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        names, *rows = [row for row in csv.reader(file) if row] or [[]]
    _check_header(path, names)
    if len(set(names)) < len(names):
        twice = quoted([name for name in dict.fromkeys(names) if names.count(name) > 1])
        raise ValueError(f"several columns have the name {twice}")
    n_names = len(names)
    if all(len(row) == n_names + 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # each line ends in a comma
    for row in rows:
        if len(row) != n_names:
            raise ValueError(
                f"a line has {len(row)} cells, and the first has {n_names}: {row}"
            )
    return {name: _parse([row[i] for row in rows]) for i, name in enumerate(names)}


def _parse(cells: list[str]) -> NDArray:
    present = [None if c.strip().lower() in MISSING else c for c in cells]
    return _as_floats(np.array(present, dtype=object))


def _to_float(value: Any) -> float:
    """Return a number, but not of "1_0" or of a list, as float would."""
    if isinstance(value, np.ndarray) or (isinstance(value, str) and "_" in value):
        raise ValueError
    return float(value)


def _as_floats(column: NDArray) -> NDArray:
    """Return a column of objects as numbers, if all that is there can be."""
    try:
        return np.array([np.nan if v is None else _to_float(v) for v in column])
    except (TypeError, ValueError, OverflowError):
        return column


def _is_no_number(value: Any) -> bool:
    try:
        _to_float(0 if value is None else value)
    except (TypeError, ValueError, OverflowError):
        return True
    return False


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not abs(value) < HUGE)


def _has_missing(column: NDArray) -> bool:
    if column.dtype == object:
        return any(value is None for value in column)
    return not (np.abs(column) < HUGE).all()


def _first(
    is_bad: Callable[[Any], bool], name: str, columns: dict[str, NDArray]
) -> str:
    """Say what the first bad cell of a column is; of text, any that is there."""
    cells = columns[name].tolist()
    row = max(range(len(cells)), key=lambda i: (is_bad(cells[i]), cells[i] is not None))
    return f"the first is {_shown(cells[row])}, in row {row} of {name!r}"


def _shown(value: Any) -> str:
    """Return a value in one line, also of an array."""
    text = re.sub(r"\n\s*", " ", repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _check_target(name: str, column: Any) -> tuple[NDArray, str, bool]:
    """Return a target, its name, and whether it holds classes."""
    is_text = column.dtype == object
    kind = type(column[0])
    if issubclass(kind, np.ndarray | list | dict):
        what = f"lists or records, the first is {_shown(column[0])}"
        raise InputError(
            f"the target {name!r} has {what}: give a column of numbers or of classes"
        )
    y = column.astype(str) if is_text else column
    values = np.unique(y)
    if len(values) == 1:
        raise InputError(
            f"the target {name!r} has only one value, {values[0]}: choose a column "
            "that varies"
        )
    if is_text and len(values) > len(y) // 3:
        kinds = "texts" if issubclass(kind, str | bytes) else f"{kind.__name__}s"
        what = f"{len(values)} different {kinds} in {len(y)} rows, too many for classes"
        raise InputError(f"the target {name!r} has {what}")
    few = len(values) <= min(MAX_CLASSES, len(y) // 3)
    return y, name, is_text or (few and not np.any(values % 1))
