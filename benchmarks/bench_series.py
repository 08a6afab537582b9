"""Measure series: PCA, the MLP, recurrent and convolutional networks on the same rows.

Held-out R2, the accuracy of a linear and of a 5-NN classifier on the codes, and the
seconds of a fit, on aeon's own sets and splits; the catch22 features of aeon beside
them where its own requirements are installed.

    python benchmarks/bench_series.py [--sets GunPoint BasicMotions] [--force]
    python benchmarks/bench_series.py --report
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import samples
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skae import AutoencoderTransformer
from skae.architectures import Convolutional, Recurrent

try:
    from aeon.transformations.collection.feature_based import Catch22
except ImportError:  # aeon's data can be read without its own requirements
    Catch22 = None

FILE = harness.RESULTS / "series.json"
CODE_SIZES = (4, 8)


def channels_first(X: NDArray) -> NDArray:
    """Return series of shape (n, C, 1, T), as images of height 1."""
    return X.transpose(0, 2, 1)[:, :, None]


def convolutional(k: int, seed: int) -> Any:
    """Return convolutions over time."""
    first = FunctionTransformer(channels_first)
    model = AutoencoderTransformer(k, architecture=Convolutional(), random_state=seed)
    return make_pipeline(first, model)


SYSTEMS: dict[str, Callable[[int, int], Any]] = {
    "pca": samples.flat_pca,
    "mlp": lambda k, seed: AutoencoderTransformer(k, random_state=seed),
    "recurrent": lambda k, seed: AutoencoderTransformer(
        k, architecture=Recurrent(), random_state=seed
    ),
    "recurrent, LSTM": lambda k, seed: AutoencoderTransformer(
        k, architecture=Recurrent("lstm"), random_state=seed
    ),
    "convolutional": convolutional,
}
if Catch22 is not None:
    SYSTEMS["catch22"] = lambda k, seed: make_pipeline(
        FunctionTransformer(lambda X: X.transpose(0, 2, 1)),
        Catch22(replace_nans=True),
        StandardScaler(),
    )


def main() -> None:
    """Run what is missing, then print the report."""
    args = samples.parser(__doc__, samples.SERIES, CODE_SIZES).parse_args()
    samples.run(FILE, samples.SERIES, SYSTEMS, args)
    print(samples.report(FILE, SYSTEMS))


if __name__ == "__main__":
    main()
