"""Would an autoencoder beat PCA on this table? ``python -m skae`` tells.

Every public estimator of skae is fitted beside PCA on three quarters of the rows; what
the held-out quarter says of them is printed side by side.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae

from ._base import BaseAutoencoder
from ._solvers import as_start
from ._table import (
    HUGE,
    NO_PARQUET,
    TABLES,
    InputError,
    Table,
    import_pandas,
    load_digits_table,
    read_table,
    reason,
)
from .plotting._comparison import PICTURES, save_comparison


@dataclass(frozen=True)
class Result:
    """A fitted model, its codes of the held-out rows and its figures (NaN: none)."""

    model: Any
    codes: NDArray
    r2: float
    log_likelihood: float
    linear: float
    seconds: float

    @property
    def name(self) -> str:
        """Name of the model."""
        return type(self.model).__name__

    @property
    def n_components(self) -> int:
        """Number of codes."""
        return self.codes.shape[1]

    @property
    def components(self) -> str:
        """Number of codes, in words."""
        return f"{self.n_components} component{'s' * (self.n_components > 1)}"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise InputError(message)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = Parser("python -m skae", description="Would an autoencoder beat PCA here?")
    add = parser.add_argument
    text = "a .csv with a header or a .parquet file, numeric but for the target "
    text += "(default: the digits of scikit-learn)"
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
    suffix, place = path.suffix.lower(), path if path.exists() else path.parent
    lacks_pandas = suffix == ".parquet" and import_pandas() is None
    problems = {
        f"the suffix must be {' or '.join(suffixes)}": suffix not in suffixes,
        NO_PARQUET: lacks_pandas,
        "it is the table itself": table and path.resolve() == table.resolve(),
        f"there is no folder {path.parent}": not path.parent.is_dir(),
        "it is a folder": path.is_dir(),
        "permission denied": not os.access(place, os.W_OK),
    }
    for problem, found in problems.items():
        if found:
            raise InputError(f"cannot write {path}: {problem}")


def choose_counts(
    asked: Sequence[int] | None, n_rows: int, n_columns: int
) -> list[int]:
    """Return the numbers of codes that are smaller than the table."""
    limit = min(n_rows, n_columns)
    if limit < 2:
        what = "column varies" if n_columns == 1 else "columns vary"
        raise InputError(f"{n_columns} {what}, but at least 2 are needed")
    if asked is None:
        counts = [k for k in (2, 8, 16) if k < limit]
        return counts if len(counts) > 1 else [k for k in (1, 2, 4) if k < limit][-2:]
    kept = [k for k in dict.fromkeys(asked) if k < limit]
    left = ", ".join(str(k) for k in dict.fromkeys(asked) if k >= limit)
    why = f"must be below {limit} ({n_rows} rows to fit, {n_columns} columns that vary)"
    if not kept:
        raise InputError(f"--n-components {left}: {why}")
    if left:
        print(f"n_components {left} left out: {why}.")
    return kept


def make_models(counts: Sequence[int], options: argparse.Namespace) -> list[Any]:
    """Return PCA and every estimator of complete rows for each number of codes."""
    public = [getattr(skae, name) for name in skae.__all__]
    ours = [v for v in public if isinstance(v, type) and issubclass(v, BaseAutoencoder)]
    ours = [c for c in ours if not c._objective_class.handles_missing]
    ours.remove(skae.DeepBeliefAutoencoder)  # the plain one with another beginning
    kinds, seed = [PCA, *ours], options.random_state
    models = [c(n_components=k, random_state=seed) for k in counts for c in kinds]
    for model in models:
        if options.max_iter is not None and "max_iter" in model.get_params():
            model.set_params(max_iter=options.max_iter)
    return models


def compare(
    table: Table, train: NDArray, test: NDArray, models: Sequence[Any]
) -> list[Result]:
    """Fit each model on the rows to fit and measure it on the held-out rows."""
    # Loads what the first optimizer would: seconds that belong to no estimator.
    torch.compiler.disable(_announce)
    results = []
    for i, model in enumerate(models, 1):
        _announce(f"[{i}/{len(models)}] fitting {_describe(model)}")
        results.append(_measure(table, train, test, model))
    _announce("")
    return results


def _announce(line: str) -> None:
    """Tell stderr what is going on; a terminal gets one line that changes."""
    if sys.stderr.isatty():
        print(f"\r{line:<79}", end="\r", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


def _describe(model: Any) -> str:
    return f"{type(model).__name__}, n_components={model.n_components}"


def _measure(table: Table, train: NDArray, test: NDArray, model: Any) -> Result:
    """Return the figures of one model; R2 is about the mean of the rows to fit."""
    X, held_out = table.X[train], table.X[test]
    start = perf_counter()
    model.fit(X)
    seconds = perf_counter() - start
    codes = model.transform(held_out)
    error = ((held_out - model.inverse_transform(codes)) ** 2).sum()
    r2 = 1 - error / ((held_out - X.mean(axis=0)) ** 2).sum()
    linear = np.nan
    if table.y is not None and len(np.unique(table.y[train])) > 1:
        head = LogisticRegression(max_iter=1000) if table.is_class else Ridge()
        head = make_pipeline(StandardScaler(), head)
        head.fit(model.transform(X), table.y[train])
        linear = head.score(codes, table.y[test])
    return Result(model, codes, r2, _log_likelihood(model, held_out), linear, seconds)


def _log_likelihood(model: Any, X: NDArray) -> float:
    """Return the mean log-likelihood, NaN where there is none."""
    noise = getattr(model, "noise_variance_", None)
    # Rows in a plane have no density, and PCA's figure for them is rounding error.
    in_a_plane = noise is not None and noise <= 1e-12 * model.explained_variance_[0]
    if not hasattr(model, "score") or in_a_plane:
        return np.nan
    if isinstance(model, PCA):  # the same without a matrix of all pairs of columns
        return float(as_start(model).score_samples(X).mean())
    return model.score(X)


def format_results(results: Sequence[Result], table: Table) -> str:
    """Return the figures aligned, in groups of one number of codes."""
    linear = ["accuracy" if table.is_class else "linear R2"] * (table.y is not None)
    rows = [["n_components", "estimator", "R2", "nats/row", *linear, "fit s"]]
    for i, r in enumerate(results):
        first = i == 0 or r.n_components != results[i - 1].n_components
        rows += [[""] * len(rows[0])] * first
        numbers = [f"{r.r2:.3f}", f"{r.log_likelihood:.2f}", f"{r.linear:.3f}"]
        shown = ["-" if number == "nan" else number for number in numbers]
        k = str(r.n_components) if first else ""
        rows += [[k, r.name, *shown[: 2 + len(linear)], f"{r.seconds:.1f}"]]
    columns = []
    for i, cells in enumerate(zip(*rows, strict=True)):
        side, width = "<" if i == 1 else ">", max(map(len, cells))
        columns.append([f"{cell:{side}{width}}" for cell in cells])
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    model = "logistic" if table.is_class else "ridge"
    note = f"; {linear[0]}: a {model} regression on the codes" if linear else ""
    note = f"Of the held-out rows; nats/row: mean log-likelihood{note}."
    return "\n".join([*lines, "", note])


def verdict(results: Sequence[Result]) -> str:
    """Say in a sentence where an estimator of skae gains most over PCA."""
    pca = {r.n_components: r.r2 for r in results if r.name == "PCA"}
    ours = [r for r in results if r.name != "PCA"]
    best = max(ours, key=lambda r: r.r2 - pca[r.n_components])
    ahead = {r.n_components for r in ours if r.r2 - pca[r.n_components] > 0.0005}
    answer = f"{'Yes' if ahead else 'No'}, for {len(ahead)} of {len(pca)} n_components"
    return (
        f"{answer}: {best.name} explains {best.r2:.3f} of the held-out variance with "
        f"{best.components}, PCA {pca[best.n_components]:.3f}."
    )


def write_codes(path: Path, model: Any, X: NDArray) -> str:
    """Fit a model on all rows and write their codes; return what was done."""
    _announce(f"fitting {_describe(model)}, on all rows")
    codes = model.fit(X).transform(X)
    _announce("")
    names = [str(name) for name in model.get_feature_names_out()]
    try:
        if path.suffix.lower() == ".parquet":
            frame = import_pandas().DataFrame(codes, columns=names)
            frame.to_parquet(path, index=False)
        else:
            head = ",".join(names)
            np.savetxt(path, codes, "%.17g", delimiter=",", header=head, comments="")
    except (OSError, ImportError) as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    return f"Codes of all rows ({_describe(model)}): {path}"


def run(options: argparse.Namespace) -> None:
    """Compare, and print and write what was asked for."""
    path, seed = options.table, options.random_state
    for destination, suffixes in (options.output, TABLES), (options.plot, PICTURES):
        if destination is not None:
            _check_destination(destination, suffixes, path)
    if path is None and options.target is not None:
        raise InputError("--target needs a table; that of the digits is the digit")
    table = load_digits_table() if path is None else read_table(path, options.target)
    n_rows, n_columns = table.X.shape
    train, test = train_test_split(np.arange(n_rows), test_size=0.25, random_state=seed)
    X = table.X[train]
    target = "" if table.target is None else f", target {table.target!r}"
    columns = f"{n_columns} column{'s' * (n_columns != 1)}"
    size = f"{n_rows} rows ({len(test)} held out), {columns}{target}"
    print(f"{table.name}: {size}", flush=True)
    n_varying = int((np.ptp(X, axis=0) > 1 / HUGE).sum())
    counts = choose_counts(options.n_components, len(X), n_varying)
    scale = options.scale and path is not None
    scaler = StandardScaler(with_mean=scale, with_std=scale).fit(X)
    if scale:
        print("Columns standardised by the rows to fit (--no-scale leaves them alone).")
    scaled = replace(table, X=scaler.transform(table.X))
    results = compare(scaled, train, test, make_models(counts, options))
    print("", format_results(results, table), "", verdict(results), sep="\n")
    if options.output is not None:
        ours = [r for r in results if r.n_components == counts[0] and r.name != "PCA"]
        best = clone(max(ours, key=lambda r: r.r2).model)
        print(write_codes(options.output, best, scaler.fit_transform(table.X)))
    if options.plot is not None:
        print(save_comparison(options.plot, scaled, test, results))


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
