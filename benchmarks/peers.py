"""The systems that the benchmarks compare, each at its defaults or usual recipe.

Every system is ``fit(X_train, k, seed) -> reconstruct``. Its package is imported
inside, so that a missing one only skips that system.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Reconstruct = Callable[[Array], Array]
System = Callable[..., Reconstruct]

N_TANH, N_QUADRATIC = 448, 64
RIDGES = 10.0 ** np.arange(-3, 9)
EPOCHS = 50


def fit_pca(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit scikit-learn's PCA."""
    from sklearn.decomposition import PCA

    pca = PCA(k, random_state=seed).fit(X)
    return lambda Y: pca.inverse_transform(pca.transform(Y))


def _ridge_path(F: Array, R: Array, held: Mask) -> tuple[float, float]:
    """Return the best held-out squared error of a ridge path, and its strength."""
    values, vectors = np.linalg.eigh(F[~held].T @ F[~held])
    coefs = vectors.T @ (F[~held].T @ R[~held])
    rotated = F[held] @ vectors
    shrunk = (coefs / (values.clip(0) + ridge)[:, None] for ridge in RIDGES)
    errors = [float(np.sum((R[held] - rotated @ c) ** 2)) for c in shrunk]
    best = int(np.argmin(errors))
    return errors[best], RIDGES[best]


def fit_random_features(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit PCA, then a ridge from random features of its codes onto the residual.

    Closed form: the 512 features are tanh and quadratic, or tanh only; 15 % of the
    rows are held out to choose between these, the ridge strength, and PCA alone.
    """
    from sklearn.decomposition import PCA

    rng = np.random.RandomState(seed)
    pca = PCA(k, whiten=True, random_state=seed).fit(X)
    weights = rng.standard_normal((k, N_TANH)) / np.sqrt(k)
    left, right = rng.standard_normal((2, k, N_QUADRATIC)) / np.sqrt(k)
    bias = rng.standard_normal(N_TANH)
    codes = pca.transform(X)
    low, high = codes.min(axis=0), codes.max(axis=0)

    def features(Y: Array) -> Array:
        Z = pca.transform(Y).clip(low, high)
        tanh = np.tanh(Z @ weights + bias)
        return np.hstack([np.ones((len(Z), 1)), tanh, (Z @ left) * (Z @ right)])

    residual = X - pca.inverse_transform(pca.transform(X))
    F = features(X)
    held = rng.permutation(len(X)) < 0.15 * len(X)
    error, coef, width = np.sum(residual[held] ** 2), np.zeros((0, X.shape[1])), 0
    for columns in (1 + N_TANH, F.shape[1]):
        now, ridge = _ridge_path(F[:, :columns], residual, held)
        if now < error:
            error, width, G = now, columns, F[:, :columns]
            gram = G.T @ G + ridge * np.eye(columns)
            coef = np.linalg.solve(gram, G.T @ residual)

    def reconstruct(Y: Array) -> Array:
        linear = pca.inverse_transform(pca.transform(Y))
        return linear + features(Y)[:, :width] @ coef

    return reconstruct


def _one_scalar(X: Array) -> tuple[Array, float]:
    """Return what a careful recipe scales by: the mean, and one number."""
    return X.mean(axis=0), float(np.sqrt(X.var(axis=0).mean()))


def fit_mlp(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit ``MLPRegressor(X, X)`` with a bottleneck, otherwise at its defaults."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    mean, scale = _one_scalar(X)
    net = MLPRegressor(hidden_layer_sizes=(128, k, 128), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit((X - mean) / scale, (X - mean) / scale)
    return lambda Y: net.predict((Y - mean) / scale).reshape(Y.shape) * scale + mean


def fit_skorch(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit the usual skorch recipe: 128-64-k-64-128 ReLU, Adam, 50 epochs."""
    import torch
    from skorch import NeuralNetRegressor
    from torch import nn

    torch.manual_seed(seed)
    mean, scale = _one_scalar(X)
    sizes = [X.shape[1], 128, 64, k, 64, 128, X.shape[1]]
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        linear = nn.Linear(n_in, n_out)
        layers += [linear] if i in (2, 5) else [linear, nn.ReLU()]
    net = NeuralNetRegressor(
        nn.Sequential(*layers),
        criterion=nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=128,
        max_epochs=EPOCHS,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    scaled = ((X - mean) / scale).astype(np.float32)
    net.fit(scaled, scaled)
    return lambda Y: net.predict(((Y - mean) / scale).astype(np.float32)) * scale + mean


def fit_keras(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit the usual Keras recipe: the same network and epochs, batches of 256."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.set_random_seed(seed)
    mean, scale = _one_scalar(X)
    layers = [keras.Input((X.shape[1],))]
    layers += [keras.layers.Dense(n, activation="relu") for n in (128, 64)]
    layers += [keras.layers.Dense(k)]
    layers += [keras.layers.Dense(n, activation="relu") for n in (64, 128)]
    net = keras.Sequential([*layers, keras.layers.Dense(X.shape[1])])
    net.compile(optimizer="adam", loss="mse")
    scaled = ((X - mean) / scale).astype(np.float32)
    net.fit(scaled, scaled, epochs=EPOCHS, batch_size=256, verbose=0)
    return lambda Y: (
        net.predict(((Y - mean) / scale).astype(np.float32), verbose=0) * scale + mean
    )


def fit_pyod(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit PyOD's AutoEncoder at its defaults, but for a bottleneck of size k."""
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    net = AutoEncoder(hidden_neuron_list=[64, k], random_state=seed, verbose=0).fit(X)
    net.model.eval()
    scale = net.X_std + 1e-8  # PyOD's TorchDataset divides by this

    def reconstruct(Y: Array) -> Array:
        scaled = torch.as_tensor((Y - net.X_mean) / scale, dtype=torch.float32)
        with torch.no_grad():
            return net.model(scaled).numpy() * scale + net.X_mean

    return reconstruct


def fit_encdr(X: Array, k: int, seed: int) -> Reconstruct:
    """Fit encdr at its defaults, with k latent dimensions."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from encdr import ENCDR

    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = ENCDR(latent_dim=k, random_state=seed, trainer_kwargs=quiet).fit(X)
    return lambda Y: net.inverse_transform(net.transform(Y))


def fit_skae(X: Array, k: int, seed: int, **params: Any) -> Reconstruct:
    """Fit skae's AutoencoderTransformer at its defaults, or with ``params``."""
    from skae import AutoencoderTransformer

    net = AutoencoderTransformer(k, random_state=seed, **params).fit(X)
    return lambda Y: net.inverse_transform(net.transform(Y))


SYSTEMS: dict[str, System] = {
    "pca": fit_pca,
    "rf": fit_random_features,
    "mlp": fit_mlp,
    "skorch": fit_skorch,
    "keras": fit_keras,
    "pyod": fit_pyod,
    "encdr": fit_encdr,
    "skae": fit_skae,
}
PEERS = ("mlp", "skorch", "keras", "pyod", "encdr")
"""The autoencoders among them that a user would otherwise reach for."""
