"""A user's program that uses all that is public; ``mypy --strict`` has no objection."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from torch import Tensor, nn

from skae import (
    RBM,
    VAE,
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContrastiveAutoencoder,
    DeepBeliefAutoencoder,
    DenoisingAutoencoder,
    EncoderDecoder,
    MaskedAutoencoder,
    MaskedImputer,
    load,
    to_onnx,
)
from skae.architectures import (
    MLP,
    Architecture,
    Convolutional,
    Modules,
    Recurrent,
    Transformer,
)
from skae.exceptions import LoadError
from skae.plotting import (
    AnomalyDisplay,
    ComponentsDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ManifoldDisplay,
    ReconstructionDisplay,
)
from skae.text import (
    CausalLanguageModel,
    KneserNey,
    MaskedLanguageModel,
    TextAutoencoder,
)

Floats = NDArray[np.float64]


class Straight(Architecture):
    """An architecture of one's own."""

    def __init__(self, bias: bool = True) -> None:
        self.bias = bias

    def build(
        self,
        sample_shape: tuple[int, ...],
        n_components: int,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        n_features = sample_shape[0]
        return (
            nn.Linear(n_features, n_components, self.bias),
            nn.Linear(n_components, n_features, self.bias),
        )


def halved(X: Tensor, generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(len(X), 1, generator=generator) < 0.5, X / 2, X)


def compressed(X: Floats, architecture: Architecture | None = None) -> Floats:
    model = AutoencoderTransformer(
        2,
        architecture=architecture,
        max_iter=1,
        random_state=0,
        callbacks=[EarlyStopping()],
        net_params={"optimizer": torch.optim.SGD},
    ).fit(X)
    codes: Floats = model.transform(X)
    share: float = model.explained_variance_ratio_.sum()
    k: int = model.n_components_
    assert codes.shape == (len(X), k)
    assert share > 0
    return model.inverse_transform(codes)


def of_tables(X: Floats) -> list[Floats]:
    denoising = DenoisingAutoencoder(2, corruption=halved, max_iter=0).fit(X)
    masked = MaskedAutoencoder(2, max_iter=0).fit(X, sample_weight=np.ones(len(X)))
    deep = DeepBeliefAutoencoder(2, max_iter=0).fit(X)
    adversarial = AdversarialAutoencoder(2, n_clusters=2, max_iter=0).fit(X)
    variational = VAE(2, max_iter=0, random_state=np.random.RandomState(0)).fit(X)
    machine = RBM(2, visible="gaussian", max_iter=0).fit(X)
    plain = AutoencoderTransformer(2, max_iter=0)
    codes, deviations = variational.transform(X, return_std=True)
    score: float = variational.set_params(verbose=False).score(X)
    assert np.isfinite(score)
    return [
        denoising.reconstruction_error(X),
        masked.decision_function(X),
        deep.fit_transform(X),
        adversarial.sample(3, random_state=0),
        codes / deviations,
        variational.score_samples(X),
        machine.transform(X),
        MaskedImputer(max_iter=0).fit_transform(X),
        plain.set_output(transform="default").fit(X).mean_,
    ]


def of_pairs(X: Floats, y: Floats) -> Floats:
    contrastive = ContrastiveAutoencoder(1, max_iter=0).fit(X, y)
    predicted: Floats = EncoderDecoder(1, max_iter=0).fit(X, y).predict(X)
    assert predicted.shape == y.shape
    return contrastive.score_samples(X, y)


def of_texts(texts: Sequence[str]) -> list[float]:
    small = Transformer(1, 8, 2)
    models = (
        KneserNey(order=2),
        CausalLanguageModel(architecture=small, max_iter=0),
        MaskedLanguageModel(architecture=small, max_iter=0),
    )
    codes: Floats = TextAutoencoder(1, max_iter=0).fit(texts).transform(texts)
    return [*(model.fit(texts).score(texts) for model in models), float(codes.sum())]


def in_a_pipeline(X: Floats, y: NDArray[np.int64]) -> float:
    ae = AutoencoderTransformer(2, max_iter=0)
    steps: list[tuple[str, Any]] = [
        ("scale", StandardScaler()),
        ("ae", ae),
        ("class", LogisticRegression()),
    ]
    score: float = Pipeline(steps).fit(X, y).score(X, y)
    names: list[str] = list(ae.get_feature_names_out())
    params: dict[str, Any] = ae.get_params()
    return score + len(names) + int(params["n_components"])


def is_damaged(path: Path) -> bool:
    try:
        load(path)
    except LoadError:
        return True
    return False


def stored(X: Floats) -> Floats:
    model = VAE(2, max_iter=0)
    if hasattr(model, "set_callbacks"):  # from scikit-learn 1.9 on
        model = model.set_callbacks()
    model.fit(X)
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path)
        loaded: VAE = load(path, trusted=[Straight])
        Path(path).write_bytes(b"")
        assert is_damaged(Path(path))
    return loaded.transform(X)


def exported(X: Floats) -> list[str]:
    model = AutoencoderTransformer(2, max_iter=0).fit(X)
    file: onnx.ModelProto = to_onnx(model, "reconstruct", dtype=np.float64)
    return [output.name for output in file.graph.output]


def drawn(X: Floats) -> list[Figure]:
    model = AutoencoderTransformer(2, max_iter=1).fit(X)
    curve = LossCurveDisplay.from_estimator(model)
    codes = LatentSpaceDisplay.from_estimator(model, X, y=X[:, 0])
    rows = ReconstructionDisplay.from_estimator(model, X, n_samples=2)
    shares = ComponentsDisplay.from_estimator(model, ax=Figure().add_subplot())
    samples, values = np.ones((2, 2, 4, 3)), [[0.0, 1.0], [0.0, 1.0]]
    grid = ManifoldDisplay(samples=samples, grid_values=values)
    anomalies = AnomalyDisplay.from_estimator(model, X, image_shape=(2, 2))
    axes: list[Axes] = [curve.ax_, codes.ax_, shares.ax_, grid.plot().ax_]
    losses: Floats = curve.validation_losses
    best: int | None = curve.best_iter
    assert best is not None
    assert len(losses) == 2
    assert [ax.get_xlabel() for ax in axes][1] == "code 0"
    return [rows.figure_, shares.figure_, anomalies.figure_]


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    architectures: list[Architecture] = [
        MLP((3,), "tanh"),
        Convolutional(channels=(2,)),
        Recurrent(hidden_size=2),
        Modules(nn.Linear, nn.Linear),
        Straight(),
    ]
    for architecture in architectures:
        assert compressed(X, architecture).shape == X.shape
    assert all(np.isfinite(numbers).all() for numbers in of_tables(X))
    assert np.isfinite(of_pairs(X, X[:, :2] ** 2)).all()
    assert np.isfinite(of_texts(["a green tree", "a house", "the tree"])).all()
    assert np.isfinite(stored(X)).all()
    assert exported(X) == ["reconstruct"]
    assert len(drawn(X)) == 3
    assert in_a_pipeline(X, (X[:, 0] > 0).astype(np.int64)) > 4
