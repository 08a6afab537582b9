"""Measure held-out log-likelihood, in nats per feature, on the public panel.

PCA and factor analysis have exact likelihoods; a Gaussian mixture with full covariances
has one too, with the number of its components chosen by BIC; a VAE has bounds: the
importance-weighted one of ``score``, with 16 draws or with 100, and the ELBO.

    python benchmarks/bench_likelihood.py [--sets digits iris] [--force]
    python benchmarks/bench_likelihood.py --report
"""

from __future__ import annotations

import argparse
import warnings
from statistics import mean
from time import perf_counter

import bench_quality
import harness
import numpy as np
import panel
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture

from skae import VAE
from skae._variational import normal_points

FILE = harness.RESULTS / "likelihood.json"
MIXTURE_SIZES = (1, 2, 3, 5, 8, 12)
MIXTURE_COLUMNS = 100  # full covariances of more columns need more rows than there are
SHOWN = ("pca", "fa", "gmm", "elbo", "vae", "iwae100")


def mixture_score(train: panel.Array, test: panel.Array, seed: int) -> float | None:
    """Return the held-out likelihood of the mixture that BIC prefers."""
    if train.shape[1] > MIXTURE_COLUMNS:
        return None
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of EM that has not converged
        for n in MIXTURE_SIZES:
            if n < len(train):
                mixture = GaussianMixture(n, random_state=seed).fit(train)
                fits.append((mixture.bic(train), mixture.score(test)))
    return float(min(fits)[1])


def measure(name: str, k: int, seed: int) -> harness.Record:
    """Return the held-out scores of every system, in nats per row."""
    train, test = panel.split(name, seed)
    pca = PCA(k, random_state=seed).fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of EM that has not converged
        analysis = FactorAnalysis(k, random_state=seed).fit(train)
    vae = VAE(k, random_state=seed)
    start = perf_counter()
    vae.fit(train)
    seconds = perf_counter() - start
    rebuilt = vae.inverse_transform(vae.transform(test))
    record = {
        "set": name,
        "k": k,
        "seed": seed,
        "d": train.shape[1],
        "n": len(train) + len(test),
        "pca": float(pca.score(test)),
        "fa": float(analysis.score(test)),
        "vae": vae.score(test),
        "elbo": float(vae.elbo(test).mean()),
        "best_iter": int(vae.best_iter_),
        "active": int(vae.active_units_.sum()),
        "r2": bench_quality.held_out_r2(train, test, rebuilt),
        "seconds": round(seconds, 3),
    }
    if vae.best_iter_:
        vae._fit.model.noise = normal_points(100, k, seed)
        record["iwae100"] = vae.score(test)
    return record


def run(args: argparse.Namespace) -> None:
    """Measure every cell that is not stored yet."""
    args.seeds = list(panel.SEEDS)
    args.k = list(panel.CODE_SIZES)
    todo = list(bench_quality.cells(args))
    done = harness.read_results(FILE)["records"]
    for i, (name, k, seed) in enumerate(todo):
        key = f"{name}|{k}|{seed}"
        if key not in done or args.force:
            record = measure(name, k, seed)
            mixture = f"{name}|{args.k[0]}|{seed}"
            if k == args.k[0]:  # a mixture has no code
                record["gmm"] = mixture_score(*panel.split(name, seed), seed)
            else:
                stored = harness.read_results(FILE)["records"].get(mixture, {})
                record["gmm"] = stored.get("gmm")
            harness.save_record(FILE, key, record)
            gain = (record["vae"] - record["pca"]) / record["d"]
            harness.progress(i + 1, len(todo), f"{key}: {gain:+.4f} nats per feature")


def report(names: list[str]) -> str:
    """Return the table, and the worst margin to PCA."""
    records = [
        r for r in harness.read_results(FILE)["records"].values() if r["set"] in names
    ]
    rows: list[list[object]] = []
    for name in names:
        for k in panel.CODE_SIZES:
            cell = [r for r in records if r["set"] == name and r["k"] == k]
            if not cell:
                continue
            row: list[object] = [name, k]
            for system in SHOWN:
                values = [
                    r.get(system, r["vae"] if system == "iwae100" else None)
                    for r in cell
                ]
                known = [v for v in values if v is not None]
                row.append(mean(known) / cell[0]["d"] if known else None)
            rows.append([*row, mean(r["r2"] for r in cell)])
    margins = [((r["vae"] - r["pca"]) / r["d"], r["set"], r["k"]) for r in records]
    worst, finite = min(margins), [m[0] for m in margins if np.isfinite(m[0])]
    lines = [
        harness.markdown_table(["set", "k", *SHOWN, "R2"], rows),
        "",
        f"{len(margins)} fits, margins of the VAE to PCA in nats per feature: mean "
        f"{mean(finite):+.3f} (of {len(finite)} finite ones); worst {worst[0]:+.5f} "
        f"({worst[1]}, k={worst[2]}); "
        f"{sum(m[0] < -0.001 for m in margins)} below -0.001; "
        f"{sum(m[0] > 0.0005 for m in margins)} above +0.0005.",
    ]
    quality = harness.read_results(harness.RESULTS / "quality.json")["records"]
    for r in records:
        plain = quality.get(f"{r['set']}|{r['k']}|{r['seed']}|skae")
        if plain and r["n"] >= panel.LARGE and r["r2"] < plain["r2"] - 0.03:
            lines.append(
                f"R2 {r['r2']:.3f}, the plain autoencoder {plain['r2']:.3f}: "
                f"{r['set']} k={r['k']} seed {r['seed']}"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sets", nargs="+", choices=list(panel.PANEL), default=list(panel.PANEL))
    add("--force", action="store_true", help="run again what is stored already")
    add("--report", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    if not args.report:
        run(args)
    print(report(args.sets))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
