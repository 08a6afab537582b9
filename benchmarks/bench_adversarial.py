"""Measure the adversarial autoencoder: its codes, the rows it draws, its clusters.

- codes: R2 of held-out rows, and whether their codes, standardised by the mean and the
  covariance of the training codes, are told from N(0, I): the p-value of a permutation
  test of the maximum mean discrepancy (Gaussian kernel of the median distance, 999
  permutations, 1000 codes at most; Gretton et al. 2012).
- samples: how often a forest tells drawn rows from held-out ones, by 5-fold
  cross-validation (0.5: it cannot; Lopez-Paz & Oquab 2017), and how far drawn rows are
  from the closest training row, as a multiple of what held-out rows are (well below 1:
  copies). Rows of a normal distribution with PCA's covariance, of a VAE, of a Gaussian
  mixture with full covariances (1 to 12 components, by BIC), and of SMOTE, which
  interpolates between a training row and one of its 5 neighbours (Chawla et al. 2002).
- clusters: accuracy on ten digits, by the best assignment of clusters to labels.

    python benchmarks/bench_adversarial.py [--what codes samples clusters]
        [--sets digits letter] [--k 8] [--seeds 0 1 2] [--force]
    python benchmarks/bench_adversarial.py --report
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from statistics import mean
from time import process_time

import harness
import numpy as np
import panel
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestNeighbors

from skae import VAE, AdversarialAutoencoder, AutoencoderTransformer

FILE = harness.RESULTS / "adversarial.json"
SETS = ("digits", "satimage", "segment", "spambase", "letter", "mnist-5k")
MOST_TOLD, PERMUTATIONS, FITTED = 1000, 999, 5000

Array = panel.Array


def split(name: str, seed: int) -> tuple[Array, Array]:
    """Return training and test rows, at most 5000 to train on."""
    train, test = panel.split(name, seed)
    return train[:FITTED], test


# Codes


def p_value(x: Array, y: Array, seed: int) -> float:
    """Return the p-value of a permutation test of two samples of one size, by MMD."""
    rng = np.random.default_rng(seed)
    both, n = np.concatenate([x, y]), len(x)
    squares = cdist(both, both, "sqeuclidean")
    kernel = np.exp(-squares / np.median(squares[np.triu_indices(2 * n, 1)]))

    def mmd(sign: Array) -> float:
        return float(sign @ kernel @ sign)

    sign = np.repeat([1.0, -1.0], n)
    own = mmd(sign)
    others = [mmd(rng.permutation(sign)) for _ in range(PERMUTATIONS)]
    return (1 + sum(other >= own for other in others)) / (1 + PERMUTATIONS)


def codes(name: str, k: int, seed: int) -> dict[str, float]:
    """Return R2 and the p-value of the codes of every system."""
    train, test = split(name, seed)
    figures: dict[str, float] = {}
    for system, model in {
        "PCA": PCA(k, random_state=seed),
        "autoencoder": AutoencoderTransformer(k, random_state=seed),
        "VAE": VAE(k, random_state=seed),
        "adversarial": AdversarialAutoencoder(k, random_state=seed),
    }.items():
        started = process_time()
        model.fit(train)
        figures[f"{system} seconds"] = process_time() - started
        error = ((test - model.inverse_transform(model.transform(test))) ** 2).sum()
        figures[f"{system} R2"] = 1 - error / ((test - train.mean(0)) ** 2).sum()
        z = model.transform(train)
        variances, axes = np.linalg.eigh(np.cov(z.T))
        u = (model.transform(test) - z.mean(0)) @ axes / np.sqrt(variances)
        rng = np.random.default_rng(seed)
        u = rng.permutation(u)[:MOST_TOLD]
        figures[f"{system} p"] = p_value(u, rng.standard_normal(u.shape), seed)
    return figures


# Samples


def smote(train: Array, n: int, seed: int) -> Array:
    """Return rows between training rows and their neighbours."""
    rng = np.random.default_rng(seed)
    near = NearestNeighbors(n_neighbors=6).fit(train).kneighbors(train)[1][:, 1:]
    of = rng.integers(len(train), size=n)
    other = train[near[of, rng.integers(near.shape[1], size=n)]]
    return train[of] + rng.uniform(size=(n, 1)) * (other - train[of])


def mixture(train: Array, n: int, seed: int) -> Array:
    """Return rows of the Gaussian mixture that BIC likes best."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        models = [
            GaussianMixture(c, reg_covar=1e-4, random_state=seed).fit(train)
            for c in (1, 2, 4, 8, 12)
        ]
    best = min(models, key=lambda model: model.bic(train))
    best.random_state = seed
    return best.sample(n)[0]


def drawn_by(model: VAE | AdversarialAutoencoder) -> Callable[[Array, int, int], Array]:
    """Return how rows are drawn from an estimator that is fitted to others."""

    def draw(train: Array, n: int, seed: int) -> Array:
        fitted = model.set_params(random_state=seed).fit(train)
        return fitted.sample(n, random_state=seed)

    return draw


def told(real: Array, drawn: Array, seed: int) -> float:
    """Return the accuracy of a forest that tells drawn rows from real ones."""
    X, y = np.concatenate([real, drawn]), np.repeat([0, 1], len(real))
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=seed)
    return float(cross_val_score(forest, X, y, cv=5).mean())


def samples(name: str, k: int, seed: int) -> dict[str, float]:
    """Return how rows of every system are told, and how near to training rows."""
    train, test = split(name, seed)
    test = np.random.default_rng(seed).permutation(test)[:MOST_TOLD]
    nearest = NearestNeighbors(n_neighbors=1).fit(train)
    usual = np.median(nearest.kneighbors(test)[0])
    systems = {
        "PCA": drawn_by(AdversarialAutoencoder(k, max_iter=0)),
        "VAE": drawn_by(VAE(k)),
        "adversarial": drawn_by(AdversarialAutoencoder(k)),
        "SMOTE": smote,
    }
    if train.shape[1] <= 100:
        systems["mixture"] = mixture
    figures: dict[str, float] = {}
    for system, draw in systems.items():
        rows = draw(train, len(test), seed)
        figures[f"{system} told"] = told(test, rows, seed)
        distance = np.median(nearest.kneighbors(rows)[0])
        figures[f"{system} distance"] = distance / usual if usual else np.nan
    return figures


# Clusters


def accuracy(labels: Array, clusters: Array) -> float:
    """Return the accuracy of the best assignment of clusters to labels."""
    counts = np.zeros((clusters.max() + 1, labels.max() + 1))
    np.add.at(counts, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / len(labels))


def clusters(name: str, k: int, seed: int) -> dict[str, float]:
    """Return the accuracy of ten clusters of digits."""
    X, y = load_digits(return_X_y=True)
    kmeans = KMeans(10, n_init=10, random_state=seed)
    pca = PCA(k, random_state=seed).fit_transform(X)
    autoencoder = AutoencoderTransformer(k, random_state=seed).fit_transform(X)
    figures = {
        "KMeans of pixels": accuracy(y, kmeans.fit_predict(X)),
        "KMeans of PCA": accuracy(y, kmeans.fit_predict(pca)),
        "KMeans of autoencoder": accuracy(y, kmeans.fit_predict(autoencoder)),
    }
    for system, max_iter in (("start", 0), ("adversarial", "auto")):
        model = AdversarialAutoencoder(
            k, n_clusters=10, max_iter=max_iter, random_state=seed
        )
        figures[system] = accuracy(y, model.fit_predict(X))
    return figures


WHAT: dict[str, Callable[[str, int, int], dict[str, float]]] = {
    "codes": codes,
    "samples": samples,
    "clusters": clusters,
}


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    parts = []
    for what in WHAT:
        own = [record for record in records if record["what"] == what]
        names = [n for n in (own[0] if own else {}) if n not in ("what", "set", "k")]
        names = [n for n in names if n != "seed" and not n.endswith("seconds")]
        names += ["mixture told", "mixture distance"] if what == "samples" else []
        names = list(dict.fromkeys(names))
        rows = []
        for key in sorted({(r["set"], r["k"]) for r in own}):
            cell = [r for r in own if (r["set"], r["k"]) == key]
            values = [
                mean(r[name] for r in cell) if name in cell[0] else None
                for name in names
            ]
            rows.append([*key, len(cell), *values])
        if own:
            table = harness.markdown_table(["set", "k", "seeds", *names], rows)
            parts += [f"{what}\n", table, ""]
    return "\n".join(parts).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--k", nargs="+", type=int, default=[8])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(3))
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        print(report())
        return
    torch.set_num_threads(1)
    done = harness.read_results(FILE)["records"]
    for what in given.what:
        for name in ["digits"] if what == "clusters" else given.sets:
            for k in given.k:
                for seed in given.seeds:
                    key = f"{what}|{name}|{k}|{seed}"
                    if key in done and not given.force:
                        continue
                    figures = WHAT[what](name, k, seed)
                    cell = {"what": what, "set": name, "k": k, "seed": seed}
                    figures = {n: float(value) for n, value in figures.items()}
                    harness.save_record(FILE, key, {**cell, **figures})
                    print(key, {n: round(v, 3) for n, v in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
