"""Complete digits of which pixels are missing, measure the errors and draw some.

4000 MNIST digits to fit, 1000 to complete, with pixels in [0, 1]: of both, half of the
pixels are missing at random; or training digits are complete, and of the others the
lower right quarter is missing. KNNImputer, the normal distribution that skae starts at,
and MaskedAutoencoder, which is told that patches of 7 x 7 pixels are missing in the
second case.

    python benchmarks/bench_missing_pixels.py [--draw docs/_static/missing_pixels.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import harness
import numpy as np
import panel
from numpy.typing import NDArray
from sklearn.impute import KNNImputer

from skae import MaskedAutoencoder

FILE = harness.RESULTS / "missing_pixels.json"
SIDE, N_TRAIN, PATCH = 28, 4000, 7
N_DRAWN = 8


def digits() -> tuple[NDArray, NDArray]:
    """Return images to fit and to complete, (n, 28, 28), float32."""
    X = (panel.load("mnist-5k") / 255).astype(np.float32)
    X = X[np.random.RandomState(0).permutation(len(X))].reshape(-1, SIDE, SIDE)
    return X[:N_TRAIN], X[N_TRAIN:]


def with_holes(train: NDArray, test: NDArray, pattern: str) -> tuple[NDArray, NDArray]:
    """Return the same images with NaN."""
    if pattern == "half":
        rng = np.random.RandomState(1)
        holes = [rng.uniform(size=images.shape) < 0.5 for images in (train, test)]
        return np.where(holes[0], np.nan, train), np.where(holes[1], np.nan, test)
    quarter = test.copy()
    quarter[:, SIDE // 2 :, SIDE // 2 :] = np.nan
    return train, quarter


def completed_by_neighbours(train: NDArray, test: NDArray) -> NDArray:
    """Return images completed by the five nearest neighbours."""
    knn = KNNImputer(keep_empty_features=True).fit(train.reshape(len(train), -1))
    return knn.transform(test.reshape(len(test), -1)).reshape(test.shape)


def measure(pattern: str) -> tuple[harness.Record, dict[str, NDArray]]:
    """Return the errors in missing pixels, and the images that were made."""
    train, test = digits()
    train, holes = with_holes(train, test, pattern)
    patch_size = PATCH if pattern == "quarter" else 1
    images, record = {"true": test, "missing": holes}, {"pattern": pattern}

    def note(name: str, completed: NDArray, started: float) -> None:
        error = (completed - test)[np.isnan(holes)]
        record[name] = float(np.sqrt((error**2).mean()))
        record[f"{name}, s"] = round(perf_counter() - started, 1)
        images[name] = completed

    started = perf_counter()
    note("KNN", completed_by_neighbours(train, holes), started)
    for name, max_iter in (("start", 0), ("skae", "auto")):
        started = perf_counter()
        model = MaskedAutoencoder(
            max_iter=max_iter, patch_size=patch_size, random_state=0
        )
        note(name, model.fit(train).impute(holes), started)
    record["epoch"] = int(model.best_iter_)
    return record, images


def draw(drawn: dict[str, dict[str, NDArray]], path: Path) -> None:
    """Draw a few digits of each pattern, as they are and as they are completed."""
    import matplotlib.pyplot as plt

    names = ["true", "missing", "KNN", "start", "skae"]
    fig, axes = plt.subplots(
        len(names), len(drawn) * N_DRAWN, figsize=(11, 3.9), layout="constrained"
    )
    for i, images in enumerate(drawn.values()):
        for name, row in zip(names, axes, strict=True):
            for j in range(N_DRAWN):
                ax = row[i * N_DRAWN + j]
                ax.imshow(images[name][j], cmap="gray_r", vmin=0, vmax=1)
                ax.set_facecolor("mistyrose")
                ax.set(xticks=[], yticks=[])
    for name, row in zip(names, axes, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    fig.savefig(path, dpi=110)


def main() -> None:
    """Measure both patterns, print the table, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw", type=Path, help="where to save a picture")
    args = parser.parse_args()
    drawn, rows = {}, []
    header = ["pattern", "KNN", "start", "skae", "KNN, s", "start, s", "skae, s"]
    for pattern in ("half", "quarter"):
        record, drawn[pattern] = measure(pattern)
        harness.save_record(FILE, pattern, record)
        rows.append([record[column] for column in header])
        harness.progress(len(rows), 2, pattern)
    print(harness.markdown_table(header, rows))
    if args.draw:
        draw(drawn, args.draw)


if __name__ == "__main__":
    main()
