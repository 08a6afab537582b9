"""Measure how well pairs are told from others: two views of the same things.

Left and right halves of images, halves of the columns of tables, tables and their
labels, and two sensors of a watch. A quarter of the rows is for testing, and what
counts is what a system says of at most 1000 held-out pairs: the InfoNCE bound of its
scores on the mutual information, in nats, both directions averaged; how often the true
partner is the best of all or among the best ten; and the sum of the correlations of
the codes. One function measures all systems, in float64.

    python benchmarks/bench_pairs.py [--pairs digits-halves wine-labels] [--k 2]
        [--systems start skae] [--seeds 0] [--force]
    python benchmarks/bench_pairs.py --report
"""

from __future__ import annotations

import argparse
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from itertools import pairwise
from math import isnan, log, nan
from statistics import mean, median
from time import perf_counter
from typing import Any, NamedTuple

import bench_downstream
import harness
import numpy as np
import panel
import samples
import torch
from scipy.special import logsumexp
from sklearn.cross_decomposition import CCA, PLSCanonical
from torch import Tensor, nn

from skae import ContrastiveAutoencoder
from skae._plan import FEW_CODES, SMALL_TABLE, TrainingPlan

FILE = harness.RESULTS / "pairs.json"
CODE_SIZES = (2, 8)
MOST_TRAINING, MOST_TEST = 5000, 1000
FIGURES = ("bound", "recall_1", "recall_10", "correlations", "fit_seconds")
MARGIN = 0.01  # nats that do not count

Array = panel.Array


# The pairs


class Views(NamedTuple):
    """Two views, row by row, and how each is scaled."""

    x: Array
    y: Array
    of_x: panel.Scaling
    of_y: panel.Scaling


class Pairs(NamedTuple):
    """Training and test rows of two views."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array


def image_halves(name: str, width: int) -> Views:
    """Return the left and the right half of images."""
    X = panel.load(name)
    is_left = np.arange(X.shape[1]) % width < width // 2
    scaling = panel.PANEL[name].scaling
    return Views(X[:, is_left], X[:, ~is_left], scaling, scaling)


def column_halves(name: str) -> Views:
    """Return the first and the second half of the columns of a table."""
    X = panel.load(name)
    half, scaling = X.shape[1] // 2, panel.PANEL[name].scaling
    return Views(X[:, :half], X[:, half:], scaling, scaling)


def labels(name: str) -> Views:
    """Return a table, and its labels as columns of 0 and 1."""
    is_keel = name in ("letter", "optdigits", "satimage")
    X, y = bench_downstream.keel(name) if is_keel else bench_downstream.load(name)
    one_hot = (y[:, None] == np.unique(y)).astype(np.float64)
    return Views(X, one_hot, panel.PANEL[name].scaling, "raw")


def sensors() -> Views:
    """Return the accelerations and the rotations of movements of a wrist."""
    first, _, second, _ = samples.SERIES["BasicMotions"](0)
    series = np.concatenate([first, second])  # (80, 100, 6)
    acceleration, rotation = series[:, :, :3], series[:, :, 3:]
    n = len(series)
    return Views(acceleration.reshape(n, -1), rotation.reshape(n, -1), "glob", "glob")


HALVED = (
    "letter",
    "satimage",
    "optdigits",
    "segment",
    "wine",
    "breast-cancer",
    "noisy-tanh",
    "diabetes",
    "linear-factors",
)
LABELLED = (
    "digits",
    "iris",
    "wine",
    "breast-cancer",
    "letter",
    "satimage",
    "optdigits",
)
PAIRS: dict[str, Callable[[], Views]] = {
    "digits-halves": partial(image_halves, "digits", 8),
    "mnist-5k-halves": partial(image_halves, "mnist-5k", 28),
    **{f"{name}-halves": partial(column_halves, name) for name in HALVED},
    **{f"{name}-labels": partial(labels, name) for name in LABELLED},
    "BasicMotions": sensors,
}


@cache
def load(name: str) -> Views:
    """Return all rows of two views."""
    return PAIRS[name]()


def split(name: str, seed: int) -> Pairs:
    """Return the training and test rows of one seed, scaled by the training rows."""
    views = load(name)
    order = np.random.RandomState(seed).permutation(len(views.x))
    test, train = np.split(order, [round(0.25 * len(order))])
    test, train = test[:MOST_TEST], train[:MOST_TRAINING]
    x, test_x = panel.scaled(views.x[train], views.x[test], views.of_x)
    y, test_y = panel.scaled(views.y[train], views.y[test], views.of_y)
    return Pairs(x, y, test_x, test_y)


def code_sizes(name: str, wanted: list[int]) -> list[int]:
    """Return the code sizes that both ranks allow; the rank itself if none is."""
    pairs = split(name, 0)
    rank = min(panel.rank(pairs.x), panel.rank(pairs.y))
    return [k for k in wanted if k <= rank] or [rank]


# What is measured


def info_nce(scores: Array) -> float:
    """Return the InfoNCE bound of the scores of all pairs, the true ones diagonal."""
    among = (logsumexp(scores, axis=0) + logsumexp(scores, axis=1)) / 2
    return float((scores.diagonal() - among).mean()) + log(len(scores))


def recall(scores: Array, n: int) -> float:
    """Return how often the true candidate of a row is among the best `n`.

    Equal candidates are in random order.
    """
    true = scores.diagonal()[:, None]
    better, equal = (scores > true).sum(1), (scores == true).sum(1)
    return float(np.clip((n - better) / equal, 0, 1).mean())


def correlations(u: Array, v: Array) -> float:
    """Return the sum of the absolute correlations of codes of the same number."""
    u, v = u - u.mean(0), v - v.mean(0)
    norms = np.sqrt((u * u).sum(0) * (v * v).sum(0))
    products = np.abs((u * v).sum(0))
    return float((products[norms > 0] / norms[norms > 0]).sum())


# The systems


Codes = Callable[[Array, Array], tuple[Array, Array]]
Scores = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Fitted:
    """What tells pairs from others.

    Attributes
    ----------
    codes : callable
        From rows of both views to their codes, (n, k) each.
    scores : callable
        From rows of both views to the scores of all pairs, shape (n, n).
    found : dict
        What is to be stored of the fit.
    """

    codes: Codes
    scores: Scores
    found: harness.Record = field(default_factory=dict)


def log_ratio(u: Array, v: Array) -> Scores:
    """Return the log density ratio of a normal distribution of training codes.

    Codes of one number are correlated, and of different numbers are not.
    """
    centres = u.mean(0), v.mean(0)
    scales = [np.maximum(of.std(0), 1e-12) for of in (u, v)]
    most = 1 - 1e-6
    rho = ((u - centres[0]) * (v - centres[1])).mean(0) / (scales[0] * scales[1])
    rho = rho.clip(-most, most)
    rest = 1 - rho**2

    def scores(u: Array, v: Array) -> Array:
        a, b = (u - centres[0]) / scales[0], (v - centres[1]) / scales[1]
        of_a, of_b = (-(of**2) @ (rho**2 / rest) / 2 for of in (a, b))
        return (a * rho / rest) @ b.T + of_a[:, None] + of_b - np.log(rest).sum() / 2

    return scores


def gaussian(codes: Codes, x: Array, y: Array, **found: Any) -> Fitted:
    """Return what scores pairs by a normal distribution of the training codes."""
    ratio = log_ratio(*codes(x, y))
    return Fitted(codes, lambda x, y: ratio(*codes(x, y)), found)


def fit_cca(x: Array, y: Array, k: int, seed: int) -> Fitted:
    """Fit scikit-learn's CCA."""
    return gaussian(CCA(k).fit(x, y).transform, x, y)


def fit_pls(x: Array, y: Array, k: int, seed: int) -> Fitted:
    """Fit scikit-learn's PLSCanonical."""
    return gaussian(PLSCanonical(k).fit(x, y).transform, x, y)


SHARES = (0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
N_FOLDS = 5


def ridge_codes(x: Array, y: Array, k: int, shares: Sequence[float]) -> Iterator[Codes]:
    """Yield canonical correlation analysis for shares of a multiple of the identity."""
    centres = x.mean(0), y.mean(0)
    views = x - centres[0], y - centres[1]
    cross = views[0].T @ views[1] / len(x)
    spectra = []
    for view in views:
        variances, axes = np.linalg.eigh(view.T @ view / len(x))
        kept = variances > 1e-10 * variances[-1]
        spectra.append((variances[kept], axes[:, kept], variances.mean()))
    for share in shares:
        a, b = (
            axes / np.sqrt((1 - share) * variances + share * whole)
            for variances, axes, whole in spectra
        )
        left, _, right = np.linalg.svd(a.T @ cross @ b, full_matrices=False)
        yield partial(_mapped, centres, a @ left[:, :k], b @ right[:k].T)


def _mapped(centres: Any, a: Array, b: Array, x: Array, y: Array) -> Any:
    return (x - centres[0]) @ a, (y - centres[1]) @ b


def fit_ridge(x: Array, y: Array, k: int, seed: int) -> Fitted:
    """Fit canonical correlation analysis with a cross-validated ridge."""
    fold_of = np.random.RandomState(seed).permutation(len(x)) % N_FOLDS
    bounds = np.zeros(len(SHARES))
    for fold in range(N_FOLDS):
        held = fold_of == fold
        given, left_out = (x[~held], y[~held]), (x[held], y[held])
        for i, codes in enumerate(ridge_codes(*given, k, SHARES)):
            bounds[i] += info_nce(gaussian(codes, *given).scores(*left_out))
    share = SHARES[int(bounds.argmax())]
    (codes,) = ridge_codes(x, y, k, [share])
    return gaussian(codes, x, y, share=share)


def fit_skae(x: Array, y: Array, k: int, seed: int, **params: Any) -> Fitted:
    """Fit ContrastiveAutoencoder at its defaults, or with ``params``."""
    model = ContrastiveAutoencoder(k, random_state=seed, **params).fit(x, y)

    def codes(x: Array, y: Array) -> tuple[Array, Array]:
        return model.transform(x), model.transform_y(y)

    found = {"share": model.shrinkage_, "best_iter": model.best_iter_}
    return Fitted(codes, model.similarity, found)


HELD_OUT = 0.1
PEAK = 1e-2  # of the learning rate
FIRST_TEMPERATURE, MOST_SHARPNESS = 0.07, 100.0


class Recipe(NamedTuple):
    """How skae would train on so many rows, columns of both views, and codes."""

    sizes: tuple[int, ...]
    epochs: int
    batch_size: int
    decay: float

    @classmethod
    def of(cls, n: int, d: int, k: int) -> Recipe:
        """Return it."""
        plan, is_large = TrainingPlan.for_table(n), n >= SMALL_TABLE
        sizes, epochs = plan.hidden_layer_sizes, plan.max_iter
        if k <= (FEW_CODES if is_large else 1):
            sizes = (*sizes, sizes[-1] // 2)
            epochs *= 1 + is_large
        return cls(sizes, epochs, plan.batch_size, min(1.0, 5 * d / n))


class Standardised(nn.Module):
    """A network behind the mean and the root-mean-square deviation of a view."""

    def __init__(self, rows: Array, sizes: tuple[int, ...], k: int) -> None:
        super().__init__()
        self.mean, self.scale = rows.mean(0), np.sqrt(rows.var(0).mean())
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise((rows.shape[1], *sizes)):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(sizes[-1], k))
        for layer in self.network:
            if isinstance(layer, nn.Linear):  # biases of their own let codes collapse
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def tensor(self, rows: Array) -> Tensor:
        """Return rows as the network takes them."""
        return torch.from_numpy((rows - self.mean) / self.scale).float()

    def codes(self, rows: Array) -> Array:
        """Return the codes of rows, not normalised, in float64."""
        with torch.no_grad():
            return self.network(self.tensor(rows)).double().numpy()


class CosinePairs(nn.Module):
    """Two encoders, and a temperature: CLIP's loss of cosine similarities."""

    def __init__(self, x: Array, y: Array, sizes: tuple[int, ...], k: int) -> None:
        super().__init__()
        self.x, self.y = Standardised(x, sizes, k), Standardised(y, sizes, k)
        self.log_sharpness = nn.Parameter(torch.tensor(-log(FIRST_TEMPERATURE)))

    @property
    def sharpness(self) -> Tensor:
        """One over the temperature, clipped as CLIP does."""
        return self.log_sharpness.exp().clamp_max(MOST_SHARPNESS)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the symmetric cross-entropy of a batch."""
        u, v = (nn.functional.normalize(of) for of in self.encoded(x, y))
        scores, true = self.sharpness * u @ v.T, torch.arange(len(u))
        losses = (nn.functional.cross_entropy(s, true) for s in (scores, scores.T))
        return sum(losses, torch.zeros(())) / 2

    def encoded(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of a batch."""
        return self.x.network(x), self.y.network(y)

    def codes(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return codes of unit length."""
        u, v = self.x.codes(x), self.y.codes(y)
        unit = [of / np.linalg.norm(of, axis=1, keepdims=True) for of in (u, v)]
        return unit[0], unit[1]

    def scores(self, x: Array, y: Array) -> Array:
        """Return the scores of all pairs, in float64."""
        u, v = self.codes(x, y)
        return float(self.sharpness.detach()) * u @ v.T


def parts(x: Array, y: Array, seed: int) -> tuple[Any, Any]:
    """Return pairs to train on, and held-out ones."""
    order = np.random.RandomState(seed).permutation(len(x))
    held, train = np.split(order, [round(HELD_OUT * len(x))])
    return (x[train], y[train]), (x[held], y[held])


def fit_cosine(x: Array, y: Array, k: int, seed: int) -> Fitted:
    """Fit encoders by CLIP's loss, on the epoch that held-out pairs find best."""
    if k == 1:
        raise ValueError("a single code has no angle")
    recipe = Recipe.of(len(x), x.shape[1] + y.shape[1], k)
    (x, y), held_out = parts(x, y, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CosinePairs(x, y, recipe.sizes, k)
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.decay)
        rows_x, rows_y = model.x.tensor(x), model.y.tensor(y)
        n_batches = max(1, len(x) // recipe.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK, recipe.epochs * n_batches, cycle_momentum=False
        )
        best, best_state, best_iter = -np.inf, model.state_dict(), 0
        for epoch in range(1, recipe.epochs + 1):
            for rows in torch.randperm(len(x)).tensor_split(n_batches):
                optimizer.zero_grad()
                model.loss(rows_x[rows], rows_y[rows]).backward()
                optimizer.step()
                schedule.step()
            bound = info_nce(model.scores(*held_out))
            if bound > best:
                best, best_iter = bound, epoch
                best_state = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return Fitted(model.codes, model.scores, {"best_iter": best_iter})


def fit_deep_cca(x: Array, y: Array, k: int, seed: int) -> Fitted:
    """Fit cca-zoo's deep CCA, and linear CCA of its codes, as its docstring does.

    Correlations of the training rows promise far too much: held-out ones score.
    """
    from cca_zoo.deep import DCCA, MultiviewDataset
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    recipe = Recipe.of(len(x), x.shape[1] + y.shape[1], k)
    (x, y), held_out = parts(x, y, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        views = Standardised(x, recipe.sizes, k), Standardised(y, recipe.sizes, k)
        tensors = [view.tensor(rows) for view, rows in zip(views, (x, y), strict=True)]
        data = MultiviewDataset(tensors)
        batches = DataLoader(data, recipe.batch_size, shuffle=True, drop_last=True)
        model = DCCA(k, [view.network for view in views])
        Trainer(
            max_epochs=recipe.epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(model, batches)
    model.eval()

    def deep(x: Array, y: Array) -> tuple[Array, Array]:
        return views[0].codes(x), views[1].codes(y)

    (linear,) = ridge_codes(*deep(x, y), k, [0.0])
    return gaussian(lambda x, y: linear(*deep(x, y)), *held_out)


SYSTEMS: dict[str, Callable[[Array, Array, int, int], Fitted]] = {
    "CCA": fit_cca,
    "PLS": fit_pls,
    "ridge CCA": fit_ridge,
    "deep CCA": fit_deep_cca,
    "cosine": fit_cosine,
    "start": partial(fit_skae, max_iter=0),
    "skae": fit_skae,
}
if not (find_spec("cca_zoo") and find_spec("lightning")):
    del SYSTEMS["deep CCA"]


def measure(name: str, k: int, system: str, seed: int) -> harness.Record:
    """Return what one system says of held-out pairs; not numbers, where it fails."""
    pairs = split(name, seed)
    cell = {"pairs": name, "k": k, "system": system, "seed": seed}
    cell["n"] = len(pairs.x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = perf_counter()
            fitted = SYSTEMS[system](pairs.x, pairs.y, k, seed)
            seconds = perf_counter() - start
            scores = fitted.scores(pairs.test_x, pairs.test_y)
            u, v = fitted.codes(pairs.test_x, pairs.test_y)
        except Exception as error:  # of any system, and of any kind
            text = f"{type(error).__name__}: {error}"
            return {**cell, **dict.fromkeys(FIGURES, nan), "error": text[:200]}
    has_labels = name.endswith("-labels")
    both = scores, scores.T
    return {
        **cell,
        "bound": info_nce(scores),
        "recall_1": nan if has_labels else mean(recall(s, 1) for s in both),
        "recall_10": nan if has_labels else mean(recall(s, 10) for s in both),
        "correlations": correlations(u, v),
        "fit_seconds": round(seconds, 3),
        **fitted.found,
    }


# The report


Cells = dict[tuple[str, int, int], dict[str, float]]


def cells(records: list[harness.Record], figure: str) -> Cells:
    """Return, for pairs, code size and seed, a number of each system."""
    found: Cells = {}
    for r in records:
        found.setdefault((r["pairs"], r["k"], r["seed"]), {})[r["system"]] = r[figure]
    return found


def means(records: list[harness.Record], figure: str, systems: list[str]) -> str:
    """Return a table of means over the seeds."""
    found = cells(records, figure)
    rows: list[list[object]] = []
    for name, k in sorted({(name, k) for name, k, _ in found}):
        row: list[object] = [name, k]
        for system in systems:
            own = [
                c.get(system, nan) for key, c in found.items() if key[:2] == (name, k)
            ]
            known = [value for value in own if not isnan(value)]
            row.append(mean(known) if known else None)
        if any(value is not None for value in row[2:]):
            rows.append(row)
    return harness.markdown_table([figure, "k", *systems], rows)


def promises(records: list[harness.Record]) -> tuple[list[list[object]], list[str]]:
    """Return in how many cells skae is not below others, and where it is."""
    found, rows, below = cells(records, "bound"), [], []
    for other, margin in (("start", MARGIN), ("ridge CCA", MARGIN), ("cosine", 0.0)):
        gains = {
            key: c["skae"] - c[other]
            for key, c in found.items()
            if "skae" in c and not isnan(c.get(other, nan))
        }
        misses = {key: gain for key, gain in gains.items() if not gain >= -margin}
        if gains:
            share = f"{len(gains) - len(misses)} of {len(gains)}"
            rows.append([other, margin, share, mean(gains.values())])
        for (name, k, seed), gain in sorted(misses.items()):
            below.append(f"- {other}: {name}, k = {k}, seed {seed}: {gain:+.3f}")
    return rows, below


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    stored = {r["system"] for r in records}
    systems = [s for s in (*SYSTEMS, *sorted(stored - {*SYSTEMS})) if s in stored]
    parts = [means(records, figure, systems) for figure in FIGURES]
    rows, below = promises(records)
    header = ["bound of skae, not below that of", "margin", "cells", "mean gain"]
    parts.append(harness.markdown_table(header, rows))
    if below:
        parts.append("Below:\n\n" + "\n".join(below))
    rows, times = [], cells(records, "fit_seconds").values()
    for other in systems:
        ratios = [c["skae"] / c[other] for c in times if "skae" in c and c.get(other)]
        known = [ratio for ratio in ratios if not isnan(ratio)]
        if known and other != "skae":
            rows.append([other, median(known), max(known)])
    header = ["fit time of skae by that of", "median", "most"]
    return "\n\n".join([*parts, harness.markdown_table(header, rows)])


def main() -> None:
    """Measure what is not stored yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    add("--k", nargs="+", type=int, default=list(CODE_SIZES))
    add("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    add("--seeds", nargs="+", type=int, default=list(panel.SEEDS))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    if not args.report:
        run(args)
    print(report())


def run(args: argparse.Namespace) -> None:
    """Measure what is not stored yet, the systems of a cell in rotating order."""
    sizes = {}
    for name in args.pairs:
        try:
            sizes[name] = code_sizes(name, args.k)
        except panel.MissingSetError as error:
            print(f"skipped {name}: {error}", flush=True)
    cells = [
        (name, k, seed)
        for seed in args.seeds
        for name in args.pairs
        for k in sizes.get(name, [])
    ]
    done = harness.read_results(FILE)["records"]
    for i, (name, k, seed) in enumerate(cells):
        for system in harness.rotated(args.systems, i):
            key = f"{name}|{k}|{system}|{seed}"
            if key in done and not args.force:
                continue
            record = measure(name, k, system, seed)
            harness.save_record(FILE, key, record)
            text = f"{key} {record['bound']:.3f} {record['fit_seconds']:.1f} s"
            harness.progress(i + 1, len(cells), text)


if __name__ == "__main__":
    main()
