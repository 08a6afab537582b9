"""Measure what ``fit`` costs beside a hand-written torch loop and plain skorch.

The hand-written loop does the same work on tensors that are ready: the same network,
batches, optimizer, learning rates, epochs, held-out rows and choice of the best epoch.
It has no checks, no PCA, no history and no statistics afterwards. "GEMMs" are the
matrix products of the layers alone, forward and backward, as often and on as many rows.
The skorch net trains the same network over the same epochs with its DataLoader, and its
callbacks as they come. All of them run in turn, and the ratio is the median over the
rounds. With ``--vae`` it is a VAE in place of the plain autoencoder, with
``--architectures`` the networks of Convolutional and Recurrent at their defaults in
place of an MLP:

    python benchmarks/bench_overhead.py [--vae | --architectures] [--repeats 5]
"""

from __future__ import annotations

import argparse
import copy
import math
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise

import harness
import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor, nn

from skae import VAE, AutoencoderTransformer
from skae.architectures import Architecture, Convolutional, Recurrent

# rows, columns, hidden layers; the epochs are those of the default
SIZES = [
    (1800, 64, (64,)),
    (1800, 64, (256, 128)),
    (5000, 784, (256,)),
    (100_000, 50, (128,)),
]
# rows, columns, networks; half of the default epochs
ARCHITECTURES = [
    (5000, 784, Convolutional(image_shape=(28, 28))),
    (2000, 100, Recurrent()),
    (2000, 100, Recurrent("lstm")),
]
ARCHITECTURE_EPOCHS = 25
N_COMPONENTS = 8


def curved_table(n: int, d: int) -> np.ndarray:
    """Return rows of a curved 8-dimensional surface with noise, float32."""
    rng = np.random.RandomState(0)
    latent = np.tanh(rng.standard_normal((n, 8)) @ rng.standard_normal((8, d)))
    return (latent + 0.1 * rng.standard_normal((n, d))).astype(np.float32)


class Autoencoder(nn.Module):
    """The network of the estimator, written down by hand."""

    n_outputs = N_COMPONENTS

    def __init__(self, d: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = stack([d, *hidden, self.n_outputs])
        self.decoder = stack([N_COMPONENTS, *hidden[::-1], d])
        self.register_buffer("axes", torch.linalg.qr(torch.randn(d, N_COMPONENTS))[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction."""
        z = self.encoder(x) + x @ self.axes
        return self.decoder(z) + z @ self.axes.T

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of each row."""
        return squared_error(self(x), x)


def stack(widths: list[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        parts += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class Variational(Autoencoder):
    """The same with a posterior, a draw from it, and a learnt noise variance."""

    n_outputs = 2 * N_COMPONENTS

    def __init__(self, d: int, hidden: tuple[int, ...]) -> None:
        super().__init__(d, hidden)
        self.log_noise = nn.Parameter(torch.zeros(()))

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative evidence lower bound of each row."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        mean = mean + x @ self.axes
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        squares = squared_error(self.decoder(z) + z @ self.axes.T, x)
        constant = x.shape[1] * (math.log(2 * math.pi) + self.log_noise)
        nll = 0.5 * (squares * (-self.log_noise).exp() + constant)
        kl = mean.square() + log_variance.exp() - 1 - log_variance
        return nll + 0.5 * kl.sum(-1)


class OfArchitecture(Autoencoder):
    """The same with the networks of an architecture."""

    def __init__(self, d: int, architecture: Architecture) -> None:
        super().__init__(d, ())
        generator = torch.Generator().manual_seed(0)
        self.encoder, self.decoder = architecture.build((d,), N_COMPONENTS, generator)


def squared_error(output: Tensor, x: Tensor) -> Tensor:
    """Return the squared error of each row."""
    return (output - x).square().sum(-1)


def hand_written(
    module: Autoencoder, X: Tensor, epochs: int, batch_size: int, n_held_out: int
) -> Callable[[], None]:
    """Return the loop that somebody would write who needs only this one network."""
    start = copy.deepcopy(module.state_dict())
    train, valid = X[n_held_out:], X[:n_held_out]
    n_batches = math.ceil(len(train) / batch_size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=epochs * n_batches + 1, cycle_momentum=False
    )
    rates = []
    for _ in range(epochs * n_batches):
        rates.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the schedule steps before the optimizer
            schedule.step()

    def run() -> None:
        module.load_state_dict(start)
        optimizer.state.clear()
        best, step = math.inf, 0
        for _ in range(epochs):
            module.train()
            total = torch.zeros(())
            for rows in torch.randperm(len(train)).tensor_split(n_batches):
                optimizer.param_groups[0]["lr"] = rates[step]
                step += 1
                x = train[rows]
                loss = module.loss(x).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
            total.item()
            module.eval()
            with torch.inference_mode():
                held_out = module.loss(valid).mean().item()
            if held_out < best:
                best = held_out
                kept = {k: v.clone() for k, v in module.state_dict().items()}
        module.load_state_dict(kept)

    return run


def products(
    module: Autoencoder, n_rows: int, epochs: int, batch_size: int
) -> Callable[[], None]:
    """Return the matrix products of the layers, and nothing else."""
    n_batches = math.ceil(n_rows / batch_size)
    n = n_rows // n_batches
    calls = []
    for network in (module.encoder, module.decoder):
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        for i, layer in enumerate(layers):
            weight = layer.weight.detach()
            x, y = torch.randn(n, layer.in_features), torch.randn(n, layer.out_features)
            by_x, by_y, by_weight = (torch.empty_like(t) for t in (x, y, weight))
            calls += [(x, weight.T, by_y), (y.T, x, by_weight)]
            if i or network is module.decoder:
                calls.append((y, weight, by_x))

    def run() -> None:
        for _ in range(epochs * n_batches):
            for a, b, out in calls:
                torch.mm(a, b, out=out)

    return run


class ReconstructionError(nn.Module):
    """The loss as skorch calls it."""

    def forward(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the mean over the rows."""
        return squared_error(output, x).mean()


def plain_skorch(
    X: np.ndarray, hidden: tuple[int, ...], epochs: int, batch_size: int
) -> Callable[[], None]:
    """Return the fit of a skorch net with its DataLoader."""

    def run() -> None:
        net = NeuralNet(
            Autoencoder(X.shape[1], hidden),
            ReconstructionError,
            optimizer=torch.optim.AdamW,
            optimizer__fused=True,
            lr=1e-2,
            max_epochs=epochs,
            batch_size=batch_size,
            iterator_train__shuffle=True,
            verbose=0,
        )
        net.fit(X, X)

    return run


def measure(
    name: str,
    X: np.ndarray,
    estimator: AutoencoderTransformer | VAE,
    module: Autoencoder,
    repeats: int,
) -> harness.Record:
    """Return the ratio of an estimator's fit to the loop of a module."""
    n = len(X)
    estimator.fit(X)
    epochs, batch_size = estimator.n_iter_, estimator.net_.batch_size
    mean, scale = X.mean(0), X.std()
    loop = hand_written(
        module, torch.from_numpy((X - mean) / scale), epochs, batch_size, n // 10
    )
    calls = {"skae": lambda: estimator.fit(X), "loop": loop}
    is_dense = all(
        isinstance(part, nn.Linear | nn.ReLU)
        for part in (*module.encoder, *module.decoder)
    )
    if is_dense:
        calls["GEMMs"] = products(module, n - n // 10, epochs, batch_size)
    times = harness.interleave(calls, repeats)
    ratios = {
        f"skae/{other}": harness.ratio(times, "skae", other)
        for other in calls
        if other != "skae"
    }
    return {"name": name, "epochs": epochs, "batch": batch_size, **ratios}


def by_skorch(
    X: np.ndarray,
    estimator: AutoencoderTransformer,
    hidden: tuple[int, ...],
    repeats: int,
) -> float:
    """Return the ratio of skorch's fit to the estimator's."""
    epochs, batch_size = estimator.n_iter_, estimator.net_.batch_size
    skorch = plain_skorch((X - X.mean(0)) / X.std(), hidden, epochs, batch_size)
    times = harness.interleave(
        {"skae": lambda: estimator.fit(X), "skorch": skorch}, repeats
    )
    return harness.ratio(times, "skorch", "skae")


def of_sizes(args: argparse.Namespace) -> Iterator[harness.Record]:
    """Yield a record for every table."""
    kinds = (VAE, Variational) if args.vae else (AutoencoderTransformer, Autoencoder)
    for n, d, hidden in SIZES:
        X = curved_table(n, d)
        model = kinds[0](N_COMPONENTS, hidden_layer_sizes=hidden, random_state=0)
        name = f"{n} x {d}, hidden {hidden}{', VAE' * args.vae}"
        record = measure(name, X, model, kinds[1](d, hidden), args.repeats)
        if not args.vae:
            ratio = by_skorch(X, model, hidden, args.skorch_repeats)
            record["skorch/skae"] = ratio
        yield record


def of_architectures(args: argparse.Namespace) -> Iterator[harness.Record]:
    """Yield a record for every architecture."""
    for n, d, architecture in ARCHITECTURES:
        model = AutoencoderTransformer(
            N_COMPONENTS,
            architecture=architecture,
            max_iter=ARCHITECTURE_EPOCHS,
            random_state=0,
        )
        module = OfArchitecture(d, architecture)
        name = f"{n} x {d}, {architecture}"
        yield measure(name, curved_table(n, d), model, module, args.repeats)


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--skorch-repeats", type=int, default=3)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--vae", action="store_true")
    kind.add_argument("--architectures", action="store_true")
    args = parser.parse_args()
    header = ["name", "epochs", "batch", "skae/loop", "skae/GEMMs", "skorch/skae"]
    rows = []
    cases = ARCHITECTURES if args.architectures else SIZES
    for record in of_architectures(args) if args.architectures else of_sizes(args):
        harness.save_record(harness.RESULTS / "overhead.json", record["name"], record)
        rows.append([record.get(column) for column in header])
        harness.progress(len(rows), len(cases), record["name"])
    print(harness.markdown_table(header, rows))


if __name__ == "__main__":
    main()
