"""Compare rules for the gate: by how many standard errors a network must be better.

Every fit is made with the gate forced open, and the pooled held-out improvement is kept
beside the gain on the test rows: in R2, or in nats per feature with ``--vae``. Any rule
can then be applied to the same fits. Seven small tables of the panel as they are; with
``--rows``, so many rows of each of ten tables, whose test rows are then many:

    python benchmarks/bench_gate.py [--hidden 64] [--seeds 0 1 2]
    python benchmarks/bench_gate.py --rows 20 40 80 160 320 --seeds 0 1 [--vae]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

import harness
import numpy as np
import panel
from sklearn.decomposition import PCA

from skae import VAE, AutoencoderTransformer
from skae._gate import PairedImprovement, threshold

SMALL_TABLES = (
    "wine",
    "iris",
    "diabetes",
    "linnerud",
    "breast-cancer",
    "sonar",
    "linear-factors",
)
LARGE_TABLES = (
    "letter",
    "satimage",
    "segment",
    "optdigits",
    "spambase",
    "digits",
    "noisy-tanh",
    "swiss-roll",
    "linear-factors",
    "breast-cancer",
)
FEW_CODES = (1, 2, 4)
MAX_TEST_ROWS = 2000
RULES: dict[str, Callable[[int], float]] = {
    "0": lambda n: 0.0,
    "1": lambda n: 1.0,
    "1.5": lambda n: 1.5,
    "2": lambda n: 2.0,
    "3": lambda n: 3.0,
    "skae's": partial(threshold, in_folds=True),
}
Gain = tuple[int, float, float]  # rows, standard errors, gain on the test rows


def held_out_r2(model: object, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of the variance of the test rows that comes back."""
    rebuilt = model.inverse_transform(model.transform(test))
    return 1 - ((test - rebuilt) ** 2).sum() / ((test - train.mean(0)) ** 2).sum()


def measure(
    train: np.ndarray, test: np.ndarray, model: AutoencoderTransformer | VAE
) -> Gain | None:
    """Return what the folds say of a network, and what the test rows do."""
    seen: list[PairedImprovement] = []
    # An open gate, which remembers by how many standard errors.
    with patch.object(PairedImprovement, "exceeds", lambda e, _: not seen.append(e)):
        model.fit(train)
    if not seen:
        return None
    pca = PCA(model.n_components, random_state=model.random_state).fit(train)
    if isinstance(model, VAE):
        gain = (model.score(test) - pca.score(test)) / train.shape[1]
    else:
        gain = held_out_r2(model, train, test) - held_out_r2(pca, train, test)
    return len(train), seen[0].z_score, float(gain)


def small_tables(args: argparse.Namespace) -> Iterator[Gain | None]:
    """Yield a result for every small table, code size and seed."""
    for name in SMALL_TABLES:
        for seed in args.seeds:
            train, test = panel.split(name, seed)
            for k in panel.CODE_SIZES:
                if k < min(train.shape):
                    yield measure(train, test, new_model(args, k, seed))


def few_rows(args: argparse.Namespace) -> Iterator[Gain | None]:
    """Yield a result for few rows of every large table."""
    for name in LARGE_TABLES:
        for seed in args.seeds:
            whole, test = panel.split(name, seed)
            order = np.random.RandomState(100 + seed).permutation(len(whole))
            for n in args.rows:
                train = whole[order[:n]]
                varies = train.std(0) > 0
                rows = test[:MAX_TEST_ROWS, varies]
                for k in FEW_CODES:
                    yield measure(train[:, varies], rows, new_model(args, k, seed))


def new_model(
    args: argparse.Namespace, k: int, seed: int
) -> AutoencoderTransformer | VAE:
    """Return the estimator whose gate is measured."""
    kind = VAE if args.vae else AutoencoderTransformer
    return kind(k, hidden_layer_sizes=tuple(args.hidden), random_state=seed)


def report(name: str, cells: list[Gain]) -> str:
    """Return a table with a row for each rule, and store it."""
    table = []
    for rule, errors in RULES.items():
        gains = [gain for n, n_errors, gain in cells if n_errors > errors(n)]
        bad = [gain for gain in gains if gain < -0.001]
        row = [len(gains), sum(gains) / len(cells), min(gains, default=0.0), len(bad)]
        table.append([rule, *row])
        record = dict(zip(("opens", "mean", "worst", "bad"), row, strict=True))
        harness.save_record(
            harness.RESULTS / "gate.json", f"{name}, above {rule}", record
        )
    header = ["standard errors", "opens", "mean gain", "worst", "below -0.001"]
    return f"{name}: {len(cells)} cells\n\n{harness.markdown_table(header, table)}\n"


def main() -> None:
    """Fit every cell and print what each rule would have done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, nargs="*", default=[64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, nargs="+", help="rows of large tables")
    parser.add_argument("--vae", action="store_true")
    args = parser.parse_args()
    cells = []
    for result in few_rows(args) if args.rows else small_tables(args):
        if result is not None:
            cells.append(result)
            print(f"{len(cells)} cells", end="\r", flush=True)
    name = f"{'VAE' if args.vae else 'AutoencoderTransformer'}, hidden {args.hidden}"
    print(report(f"{name}, small tables" if not args.rows else name, cells))
    for n in args.rows or []:
        print(report(f"{name}, {n} rows", [cell for cell in cells if cell[0] == n]))


if __name__ == "__main__":
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    main()
