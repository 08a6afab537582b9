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
    text = (
        f".csv with a header, or .parquet; numeric but for COLUMN (default: {default})"
    )
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
        raise InputError(
            f"{path} has {n_rows} rows, but at least {MIN_ROWS} are needed"
        )
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
        raise InputError(
            f"{path} has fewer than 2 columns (besides a target) that vary"
        )
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
        raise InputError(
            f"the target {name!r} has {counts}: neither classes nor numbers"
        )
    few = len(values) <= min(MAX_CLASSES, len(y) // 2)
    return y, name, is_text or (few and not np.any(values % 1))


def compare(table: Table, split: Any, models: Sequence[Any]) -> list[Result]:
    """Fit each model on the rows to fit and measure it on the held-out rows."""
    results = []
    for number, model in enumerate(models, 1):
        name, k = type(model).__name__, model.n_components
        _announce(f"[{number}/{len(models)}] fitting {name}, n_components={k}")
        results.append(_measure(table, *split, model))
    _announce("")
    return results


def _announce(line: str) -> None:
    """Tell stderr what is going on; a terminal gets one line that changes."""
    if sys.stderr.isatty():
        print(f"\r{line:<79}", end="\r", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


def _measure(table: Table, train: NDArray, test: NDArray, model: Any) -> Result:
    X, held_out = table.X[train], table.X[test]
    start = perf_counter()
    model.fit(X)
    seconds = perf_counter() - start
    codes = model.transform(held_out)
    error = (held_out - model.inverse_transform(codes)) ** 2
    r2 = 1 - error.sum() / ((held_out - X.mean(axis=0)) ** 2).sum()
    try:  # rows in a plane have no density: a singular covariance, the log of 0
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = model.score(held_out) if hasattr(model, "score") else np.nan
    except np.linalg.LinAlgError:
        likelihood = np.nan
    linear = np.nan
    if table.y is not None and len(np.unique(table.y[train])) > 1:
        head = LogisticRegression(max_iter=1000) if table.is_class else Ridge()
        head = make_pipeline(StandardScaler(), head)
        linear = head.fit(model.transform(X), table.y[train]).score(
            codes, table.y[test]
        )
    k, name = model.n_components, type(model).__name__
    return Result(k, name, model, codes, r2, likelihood, linear, seconds)


def make_models(counts: Sequence[int], options: argparse.Namespace) -> list[Any]:
    """Return, for each number of codes, PCA and every public estimator of skae."""
    public = [getattr(skae, name) for name in skae.__all__]
    ours = [
        c for c in public if isinstance(c, type) and issubclass(c, TransformerMixin)
    ]
    seed = options.random_state
    models = [
        cls(n_components=k, random_state=seed) for k in counts for cls in [PCA, *ours]
    ]
    for model in models:
        if options.max_iter is not None and "max_iter" in model.get_params():
            model.set_params(max_iter=options.max_iter)
    return models


def choose_counts(
    asked: Sequence[int] | None, n_rows: int, n_columns: int
) -> list[int]:
    """Return the numbers of codes that are smaller than the table."""
    limit = min(n_rows, n_columns)
    if asked is None:
        counts = [k for k in (2, 8, 16) if k < limit]
        return counts if len(counts) > 1 else [k for k in (1, 2, 4) if k < limit][-2:]
    kept = [k for k in dict.fromkeys(asked) if k < limit]
    left = ", ".join(str(k) for k in dict.fromkeys(asked) if k >= limit)
    why = f"not below {limit}, the smaller of {n_rows} rows to fit and {n_columns} columns"
    if not kept:
        raise InputError(f"--n-components {left}: {why}")
    if left:
        print(f"n_components {left} left out: {why}.")
    return kept


def format_results(results: Sequence[Result], linear: str | None) -> str:
    """Return the aligned table, rows grouped by the number of codes."""
    heads = ["n_components", "estimator", "R2", "log-likelihood", linear, "fit s"]
    rows = [[head for head in heads if head]]
    for i, r in enumerate(results):
        first = i == 0 or r.n_components != results[i - 1].n_components
        likelihood = f"{r.log_likelihood:.2f}" if np.isfinite(r.log_likelihood) else "-"
        accuracy = (
            [f"{r.linear:.3f}" if np.isfinite(r.linear) else "-"] if linear else []
        )
        k = [str(r.n_components) if first else "", r.name, f"{r.r2:.3f}", likelihood]
        rows += [[""] * len(rows[0])] * first + [[*k, *accuracy, f"{r.seconds:.1f}"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def verdict(results: Sequence[Result]) -> str:
    """Say where an estimator of skae gains most over PCA."""
    pca = {r.n_components: r.r2 for r in results if r.name == "PCA"}
    ours = [r for r in results if r.name != "PCA"]
    best = max(ours, key=lambda r: r.r2 - pca[r.n_components])
    ahead = {r.n_components for r in ours if r.r2 - pca[r.n_components] > 0.0005}
    k = best.n_components
    return (
        f"{'Yes' if ahead else 'No'}: {best.name} explains {best.r2:.2f} of the held-out "
        f"variance with {k} component{'s' * (k > 1)}, PCA {pca[k]:.2f} "
        f"(ahead at {len(ahead)} of {len(pca)} n_components)."
    )


def write_codes(path: Path, model: Any, X: NDArray) -> None:
    """Fit a model on all rows and write their codes."""
    codes = model.fit(X).transform(X)
    names = [str(name) for name in model.get_feature_names_out()]
    if path.suffix == ".parquet":
        _pandas().DataFrame(codes, columns=names).to_parquet(path, index=False)
    else:
        header = ",".join(names)
        np.savetxt(path, codes, "%.17g", ",", header=header, comments="")


def save_picture(path: Path, table: Table, test: NDArray, results: Any) -> str:
    """Draw the held-out codes of PCA and of one estimator; return what was done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "No picture without matplotlib: python -m pip install 'skae[plot]'"
    counts = list(dict.fromkeys(r.n_components for r in results))
    k = min((k for k in counts if k > 1), default=1)
    pair = [r for r in results if r.n_components == k][:2]
    images = table.image_shape is not None
    figure = Figure(figsize=(10, 8 if images else 4.8), layout="constrained")
    layout = [[0, 1], [2, 2]] if images else [[0, 1]]
    ratios = [1.6, 1] if images else [1]
    axes = figure.subplot_mosaic(layout, height_ratios=ratios)
    for i, result in enumerate(pair):
        _scatter(axes[i], table, test, result, last=i == 1)
    if images:
        k = counts[len(counts) // 2]
        _reconstructions(
            axes[2], table, test, [r for r in results if r.n_components == k][:2]
        )
    figure.suptitle(f"{table.name}: {len(test)} held-out rows")
    figure.savefig(path, dpi=120)
    return f"Picture: {path}"


def _scatter(
    axes: Any, table: Table, test: NDArray, result: Result, last: bool
) -> None:
    x, y = result.codes[:, 0], result.codes[:, -1 if result.n_components == 1 else 1]
    target = None if table.y is None else table.y[test]
    axes.set(xlabel="code 1", ylabel="code 2" if result.n_components > 1 else "code 1")
    axes.set_title(
        f"{result.name}, {result.n_components} components: R2 {result.r2:.2f}"
    )
    axes.scatter(x, y, c=target)


def _reconstructions(axes: Any, table: Table, test: NDArray, pair: Any) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        run(parse(argv))
    except InputError as error:
        print(f"skae: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _announce("")
        print("skae: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
