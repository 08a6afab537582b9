"""Measure the Boltzmann machine beside scikit-learn's: rows per second, likelihood.

- Rows per second of ``fit``, at equal units, batches and passes, interleaved, checks
  included. All get float64 rows, and BernoulliRBM float32 ones as well, in which RBM
  and rbms (where it is installed; its own training step, persistent chains) train.
- Log-likelihood in nats per row at the setting of scikit-learn's own example of digits
  (100 units, learning rate .06, 10 passes, batches of 10), by the same annealed
  importance sampling for all sets of weights.

    python benchmarks/bench_rbm.py [--repeats 5] [--force]
    python benchmarks/bench_rbm.py --report
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import harness
import numpy as np
import panel
import torch
from sklearn.neural_network import BernoulliRBM

from skae import RBM
from skae._boltzmann import BoltzmannMachine, base_rates

FILE = harness.RESULTS / "rbm.json"
SPEED = [
    (name, units, batch_size)
    for name in ("digits", "mnist-5k")
    for units in (100, 256)
    for batch_size in (10, 100)
]
PASSES = 10
EXAMPLE = {"n_components": 100, "learning_rate": 0.06}
SEEDS = (0, 1, 2)
SYSTEMS = ("RBM", "BernoulliRBM", "BernoulliRBM, float32", "rbms")


def rows_of(name: str) -> panel.Array:
    """Return a table with values in [0, 1]."""
    X = panel.load(name)
    return X / X.max()


def fit_rbms(
    X: panel.Array, units: int, batch_size: int, rate: float, seed: int = 0
) -> SimpleNamespace:
    """Train a machine of the package rbms, and return it as scikit-learn has one."""
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    torch.manual_seed(seed)
    rows = torch.tensor(X, dtype=torch.float32)
    how = {"device": rows.device, "dtype": rows.dtype}
    machine = BBRBM.init_parameters(units, SimpleNamespace(data=rows), **how)
    for parameter in machine.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(machine.parameters(), lr=rate, maximize=True)
    chains, weight = machine.init_chains(batch_size), torch.ones(len(rows), 1)
    with torch.no_grad():
        for _ in range(PASSES):
            for some in torch.randperm(len(rows)).split(batch_size):
                batch = rows[some], weight[some]
                chains = fit_batch_pcd(batch, chains, machine, 1, 1.0)[0]
                optimizer.step()
    return SimpleNamespace(
        components_=machine.weight_matrix.T.double().numpy(),
        intercept_visible_=machine.vbias.double().numpy(),
        intercept_hidden_=machine.hbias.double().numpy(),
    )


def speed(name: str, units: int, batch_size: int, repeats: int) -> harness.Record:
    """Return rows per second of all systems."""
    X = rows_of(name)
    how: dict[str, Any] = {"batch_size": batch_size, "random_state": 0}
    ours = RBM(units, learning_rate=0.05, max_iter=PASSES, **how)
    theirs = BernoulliRBM(units, learning_rate=0.05, n_iter=PASSES, **how)
    calls = {
        "RBM": partial(ours.fit, X),
        "BernoulliRBM": partial(theirs.fit, X),
        "BernoulliRBM, float32": partial(theirs.fit, X.astype(np.float32)),
    }
    if find_spec("rbms") is not None:
        calls["rbms"] = partial(fit_rbms, X, units, batch_size, 0.05)
    times = harness.interleave(calls, repeats)
    n = PASSES * len(X)
    return {
        "what": "speed",
        "set": name,
        "units": units,
        "batch_size": batch_size,
        "rows_per_second": {s: round(n / np.median(t)) for s, t in times.items()},
        "times_as_fast": harness.ratio(times, "BernoulliRBM", "RBM"),
        "times_as_fast_as_float32": harness.ratio(
            times, "BernoulliRBM, float32", "RBM"
        ),
        "times_as_fast_as_rbms": (
            harness.ratio(times, "rbms", "RBM") if "rbms" in times else None
        ),
    }


def machine_of(model: Any, X: panel.Array) -> BoltzmannMachine:
    """Return the weights of either estimator, annealed from the same base rates."""
    biases = model.intercept_visible_, model.intercept_hidden_
    base = base_rates(X.mean(0), len(X))
    return BoltzmannMachine(model.components_.T, *biases, base=base)


def likelihood(seed: int) -> harness.Record:
    """Return the log-likelihoods of training and held-out digits, in nats per row."""
    X = rows_of("digits")
    order = np.random.RandomState(seed).permutation(len(X))
    n_test = round(0.25 * len(X))
    train, test = X[order[n_test:]], X[order[:n_test]]
    models = {
        "RBM": RBM(**EXAMPLE, max_iter=PASSES, random_state=seed),
        "BernoulliRBM": BernoulliRBM(**EXAMPLE, n_iter=PASSES, random_state=seed),
        "independent pixels": RBM(max_iter=0),
    }
    found: dict[str, Any] = {"what": "likelihood", "seed": seed}
    fitted = {name: model.fit(train) for name, model in models.items()}
    if find_spec("rbms") is not None:
        fitted["rbms"] = fit_rbms(train, 100, 10, EXAMPLE["learning_rate"], seed)
    for name, model in fitted.items():
        machine = machine_of(model, train)
        partition = machine.log_partition(torch.device("cpu"))
        means = [-machine.free_energy(V).mean() for V in (train, test)]
        found[name] = {
            "train": float(means[0] - partition.value),
            "test": float(means[1] - partition.value),
            "error": partition.error,
        }
    return found


def report() -> str:
    """Return the two tables."""
    records = list(harness.read_results(FILE)["records"].values())
    rows: list[list[object]] = []
    for r in records:
        if r["what"] == "speed":
            cell = r["set"], r["units"], r["batch_size"]
            speeds = [r["rows_per_second"].get(system) for system in SYSTEMS]
            ratios = [r["times_as_fast"], r["times_as_fast_as_float32"]]
            ratios.append(r["times_as_fast_as_rbms"])
            rows.append([*cell, *speeds, *ratios])
    header = ["set", "units", "batch", *SYSTEMS]
    header += ["times as fast", "as float32", "as rbms"]
    tables = ["Rows per second", harness.markdown_table(header, rows)]
    of_seeds = [r for r in records if r["what"] == "likelihood"]
    rows = []
    names = ["RBM", "BernoulliRBM", "rbms", "independent pixels"]
    for name in [n for n in names if of_seeds and n in of_seeds[0]]:
        values = [
            np.mean([r[name][which] for r in of_seeds])
            for which in ("train", "test", "error")
        ]
        rows.append([name, len(of_seeds), *map(float, values)])
    header = ["machine", "seeds", "training rows", "held-out rows", "standard error"]
    tables += ["Nats per row", harness.markdown_table(header, rows)]
    return "\n\n".join(tables)


def main() -> None:
    """Run what is missing, then print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--repeats", type=int, default=5)
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    todo: dict[str, Any] = {
        "|".join(map(str, cell)): partial(speed, *cell, args.repeats) for cell in SPEED
    }
    todo |= {f"likelihood|{seed}": partial(likelihood, seed) for seed in SEEDS}
    for i, (key, run) in enumerate([] if args.report else todo.items()):
        if key not in harness.read_results(FILE)["records"] or args.force:
            harness.save_record(FILE, key, run())
            harness.progress(i + 1, len(todo), key)
    print(report())


if __name__ == "__main__":
    main()
