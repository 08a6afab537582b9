"""Measure images: PCA, the MLP and the convolutional networks on the same rows.

Held-out R2, the accuracy of a linear and of a 5-NN classifier on the codes, and the
seconds of a fit, interleaved by set, code size and seed.

    python benchmarks/bench_images.py [--sets digits mnist-5k] [--force]
    python benchmarks/bench_images.py --report
    python benchmarks/bench_images.py --memory
    python benchmarks/bench_images.py --drawn

``--memory`` measures what a fit takes beside 20,000 images of 3 x 64 x 64 bytes.
``--drawn`` lets a classifier that was trained on real digits, scikit-learn's, look at
digits that are drawn from a convolutional VAE.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import harness
import numpy as np
import samples
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from skae import VAE, AutoencoderTransformer
from skae.architectures import Convolutional

FILE = harness.RESULTS / "images.json"
CODE_SIZES = (2, 4, 8, 16, 32)


def convolutional(k: int, seed: int, hidden: tuple[int, ...], **params: Any) -> Any:
    """Return convolutions with fully connected layers of these widths."""
    networks = Convolutional(hidden_layer_sizes=hidden)
    return AutoencoderTransformer(k, architecture=networks, random_state=seed, **params)


SYSTEMS: dict[str, Callable[[int, int], Any]] = {
    "pca": samples.flat_pca,
    "mlp": lambda k, seed: AutoencoderTransformer(k, random_state=seed),
    "convolutional": lambda k, seed: convolutional(k, seed, (256,)),  # the default
    "convolutional, 3 steps": lambda k, seed: convolutional(
        k, seed, (256,), transform_max_iter=3
    ),
    "convolutional, encoder": lambda k, seed: convolutional(
        k, seed, (256,), transform_max_iter=0
    ),
    "encoder, 128": lambda k, seed: convolutional(
        k, seed, (128,), transform_max_iter=0
    ),
    "encoder, none": lambda k, seed: convolutional(k, seed, (), transform_max_iter=0),
}


def drawn() -> str:
    """Return how sure a classifier of real digits is of those that a VAE draws."""
    digits = load_digits()
    vae = VAE(8, architecture=Convolutional(), random_state=0).fit(digits.images)
    classifier = LogisticRegression(max_iter=5000).fit(digits.data, digits.target)
    pca = PCA(8).fit(digits.data)
    codes = np.random.RandomState(0).standard_normal((1000, 8))
    images = {
        "real digits": digits.data,
        "drawn from the VAE": vae.sample(1000, add_noise=False, random_state=0),
        "drawn from PCA": pca.inverse_transform(codes * pca.explained_variance_**0.5),
    }
    rows: list[list[object]] = []
    for name, shown in images.items():
        probabilities = classifier.predict_proba(shown.reshape(-1, 64))
        rows.append([name, float(probabilities.max(axis=1).mean())])
    return harness.markdown_table(["images", "mean top probability"], rows)


def memory() -> str:
    """Return how much memory a fit takes beside many images."""
    rng = np.random.default_rng(0)
    fields = [
        gaussian_filter(rng.standard_normal((3, 64, 64)), (0, s, s))
        for s in np.linspace(8, 1.5, 120)
    ]
    basis = np.stack([field / field.std() for field in fields])
    weight = np.linspace(3, 0.3, 120)
    X = np.empty((20_000, 3, 64, 64), np.uint8)
    for part in np.array_split(X, 40):
        codes = rng.standard_normal((len(part), 120)) * weight
        part[:] = np.clip(128 + 3 * np.tensordot(codes, basis, 1), 0, 255)
    before, start = _resident(), perf_counter()
    peak = _peak(lambda: AutoencoderTransformer(32, max_iter=0).fit(X)) - before
    seconds = perf_counter() - start
    return (
        f"images: {X.nbytes / 2**20:.0f} MB; fit of PCA: {peak:.0f} MB more at its "
        f"peak, {seconds:.0f} s"
    )


def _resident() -> float:
    """Return the memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def _peak(call: Callable[[], object]) -> float:
    """Return the most memory of this process during a call, in MB."""
    largest, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            largest[0] = max(largest[0], _resident())
            sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return largest[0]


def main() -> None:
    """Run what is missing, then print the report."""
    parser = samples.parser(__doc__, samples.IMAGES, CODE_SIZES)
    parser.add_argument("--memory", action="store_true", help="only measure memory")
    parser.add_argument("--drawn", action="store_true", help="only look at samples")
    args = parser.parse_args()
    if args.memory:
        print(memory())
    elif args.drawn:
        print(drawn())
    else:
        samples.run(FILE, samples.IMAGES, SYSTEMS, args)
        print(samples.report(FILE, SYSTEMS))


if __name__ == "__main__":
    main()
