"""Compare rules for the gate on the small tables of the panel.

Every fit is made with the gate forced open, and the pooled held-out improvement is kept
beside the error on the test rows. Any threshold can then be applied to the same fits:

    python benchmarks/bench_gate.py [--hidden 64] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import harness
import numpy as np
import panel
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._gate import Evidence

TABLES = (
    "wine",
    "iris",
    "diabetes",
    "linnerud",
    "breast-cancer",
    "sonar",
    "linear-factors",
)
THRESHOLDS = (0.0, 1.0, 1.5, 2.0, 3.0)


def held_out_r2(model: object, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of the variance of the test rows that comes back."""
    rebuilt = model.inverse_transform(model.transform(test))
    return 1 - ((test - rebuilt) ** 2).sum() / ((test - train.mean(0)) ** 2).sum()


def measure(name: str, seed: int, hidden: tuple[int, ...]) -> list[tuple[float, float]]:
    """Return standard errors and gain in R2 over PCA, for each code size."""
    train, test = panel.split(name, seed)
    results = []
    for k in panel.CODE_SIZES:
        if k >= min(train.shape):
            continue
        seen: list[Evidence] = []
        model = AutoencoderTransformer(k, hidden_layer_sizes=hidden, random_state=seed)
        # An open gate, which remembers by how many standard errors.
        with patch.object(Evidence, "opens", lambda e, _, s=seen: not s.append(e)):
            model.fit(train)
        pca = PCA(k, random_state=seed).fit(train)
        gain = held_out_r2(model, train, test) - held_out_r2(pca, train, test)
        results.append((seen[0].n_errors, float(gain)))
    return results


def main() -> None:
    """Fit every cell and print what each threshold would have done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, nargs="*", default=[64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    hidden, cells = tuple(args.hidden), []
    for i, name in enumerate(TABLES):
        for seed in args.seeds:
            cells += measure(name, seed, hidden)
        harness.progress(i + 1, len(TABLES), name)
    rows = []
    for threshold in THRESHOLDS:
        gains = [gain for n_errors, gain in cells if n_errors > threshold]
        bad = int(sum(gain < -0.001 for gain in gains))
        mean = float(sum(gains)) / len(cells)
        rows.append([threshold, len(gains), mean, min(gains, default=0.0), bad])
        record = dict(zip(("opens", "mean", "worst", "bad"), rows[-1][1:], strict=True))
        key = f"hidden {hidden}, above {threshold} standard errors"
        harness.save_record(harness.RESULTS / "gate.json", key, record)
    print(f"{len(cells)} cells, hidden layers {hidden}\n")
    header = ["standard errors", "opens", "mean gain", "worst", "below -0.001"]
    print(harness.markdown_table(header, rows))


if __name__ == "__main__":
    main()
