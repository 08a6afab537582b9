"""Measure a VAE with Bernoulli likelihood as the IWAE paper does, on 5000 digits.

A VAE of 50 codes and two hidden layers of 200 is trained on MNIST with every pixel
drawn anew in every epoch (dynamic binarisation), one epoch a call of ``partial_fit``.
Rows left out of the training choose the epoch. The negative log-likelihood of the test
rows, binarised once, is the importance-weighted bound with 5000 draws (Burda, Grosse &
Salakhutdinov 2016, section 5: 86.8 nats for a VAE trained on 60,000 digits; here the
VAE sees 3375).

    python benchmarks/bench_mnist.py [--epochs 1000] [--force]
    python benchmarks/bench_mnist.py --report
"""

from __future__ import annotations

import argparse
import copy
from time import perf_counter

import harness
import numpy as np
import panel

from skae import VAE

FILE = harness.RESULTS / "mnist.json"
PAPER = 86.8
CHECK_EVERY = 10  # epochs
DRAWS = 5000


def binarised(X: panel.Array, seed: int) -> panel.Array:
    """Return each pixel as 1 with its grey value for a probability."""
    drawn = np.random.RandomState(seed).uniform(size=X.shape) < X
    return drawn.astype(np.float32)


def images(seed: int) -> tuple[panel.Array, panel.Array, panel.Array]:
    """Return training, validation and test images with values in [0, 1]."""
    X = panel.load("mnist-5k") / 255
    order = np.random.RandomState(seed).permutation(len(X))
    test, held_out, train = np.split(order, [1250, 1625])
    return X[train], X[held_out], X[test]


def measure(seed: int, epochs: int) -> harness.Record:
    """Return the bounds of the test rows at the best epoch, in nats per image."""
    train, held_out, test = images(seed)
    held_out, test = binarised(held_out, 1), binarised(test, 2)
    model = VAE(
        50,
        likelihood="bernoulli",
        hidden_layer_sizes=(200, 200),
        activation="tanh",
        batch_size=20,
        learning_rate_init=1e-3,
        n_epochs_kl_warmup=None,
        random_state=seed,
    )
    best, best_bound, best_epoch = model, -np.inf, 0
    start = perf_counter()
    for epoch in range(1, epochs + 1):
        model.partial_fit(binarised(train, 1000 + epoch))
        if epoch % CHECK_EVERY:
            continue
        bound = model.score(held_out)
        if bound > best_bound:
            best, best_bound, best_epoch = copy.deepcopy(model), bound, epoch
        elif epoch > best_epoch + 10 * CHECK_EVERY:
            break
        harness.progress(epoch, epochs, f"held-out bound {bound:.2f}")
    seconds = perf_counter() - start
    elbo = best.elbo(test).mean()
    # No further training: only the number of draws is taken over.
    best.set_params(n_importance_samples=DRAWS, max_iter=0).partial_fit(train)
    return {
        "seed": seed,
        "epoch": best_epoch,
        "seconds": round(seconds, 1),
        "active_units": int(best.active_units_.sum()),
        "negative_elbo": float(-elbo),
        "nll": float(-best.score(test)),
    }


def report() -> str:
    """Return the table beside the paper's figure."""
    records = harness.read_results(FILE)["records"].values()
    rows: list[list[object]] = [
        [r["seed"], r["epoch"], r["active_units"], r["negative_elbo"], r["nll"], PAPER]
        for r in records
    ]
    header = ["seed", "epoch", "active codes", "-ELBO", f"NLL ({DRAWS} draws)"]
    return harness.markdown_table([*header, "VAE of the paper, 60,000 digits"], rows)


def main() -> None:
    """Run what is missing, then print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", nargs="+", type=int, default=[0])
    add("--epochs", type=int, default=1000)
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    for seed in [] if args.report else args.seeds:
        if str(seed) not in harness.read_results(FILE)["records"] or args.force:
            harness.save_record(FILE, str(seed), measure(seed, args.epochs))
    print(report())


if __name__ == "__main__":
    main()
