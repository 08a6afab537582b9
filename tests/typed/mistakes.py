"""Mistakes, all of which mypy finds: an ignore without need is an error as well."""

import numpy as np

from skae import RBM, VAE, AutoencoderTransformer, MaskedImputer, load, to_onnx
from skae.architectures import MLP
from skae.plotting import AnomalyDisplay, LossCurveDisplay
from skae.text import KneserNey


def mistakes() -> None:
    X = np.zeros((30, 4))
    model = AutoencoderTransformer(n_component=2)  # type: ignore[call-arg]
    AutoencoderTransformer(2, whiten="yes")  # type: ignore[arg-type]
    VAE(2, beta="large")  # type: ignore[arg-type]
    RBM(2, max_iter="auto")  # type: ignore[arg-type]
    MLP(activation=np.tanh)  # type: ignore[arg-type]
    KneserNey(oder=3)  # type: ignore[call-arg]
    model.fit(X).transfrom(X)  # type: ignore[attr-defined]
    model.fit(X, groupes=X[:, 0])  # type: ignore[call-arg]
    model.transform()  # type: ignore[call-arg]
    model.componets_  # type: ignore[attr-defined]  # noqa: B018
    codes: str = model.fit(X).transform(X)  # type: ignore[assignment]  # noqa: F841
    MaskedImputer().inverse_transform(X)  # type: ignore[attr-defined]
    model.save()  # type: ignore[call-arg]
    load("model", trusted=VAE)  # type: ignore[arg-type]
    to_onnx(model, target_opset="18")  # type: ignore[arg-type]
    model.set_callback()  # type: ignore[attr-defined]
    LossCurveDisplay.from_estimator(model, ax="left")  # type: ignore[arg-type]
    LossCurveDisplay.from_estimator(model).ax_.plt()  # type: ignore[attr-defined]
    AnomalyDisplay.from_estimator(model)  # type: ignore[call-arg]
