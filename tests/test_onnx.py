"""ONNX models, run by onnxruntime beside the estimators that they were made of."""

import math
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
import torch
from estimators import (
    ESTIMATORS,
    IMPUTERS,
    MACHINES,
    TEXTS,
    TWO_VIEWS,
    Encoder,
    decoder,
)
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import skae
from skae import (
    RBM,
    VAE,
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContrastiveAutoencoder,
    EncoderDecoder,
    MaskedAutoencoder,
    to_onnx,
)
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae._onnx._convolutions import convolved
from skae._onnx._graph import Graph
from skae._onnx._networks import apply
from skae.architectures import MLP, Convolutional, Modules, Recurrent, Transformer

METHODS = ("transform", "inverse_transform", "reconstruct", "score_samples")
FAST = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
SPLIT = {"max_iter": 2, "random_state": 0, "validation_fraction": 0.25}
TOLERANCE = 1e-5
"""Largest difference, as a share of the largest number of an output."""


@pytest.fixture
def open_gate(monkeypatch):
    """Use networks as the last epoch leaves them."""

    def exceeds(self, threshold):
        return threshold < math.inf

    monkeypatch.setattr(PairedImprovement, "exceeds", exceeds)
    monkeypatch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)


@pytest.fixture(scope="module")
def X():
    """A bent sheet: three informative directions in six columns."""
    rng = np.random.RandomState(0)
    z = rng.randn(90, 2)
    z = np.column_stack([z, z[:, 0] ** 2])
    return z @ rng.randn(3, 6) + 0.1 * rng.randn(90, 6) + 5


def run(model, X):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"X": X})[0]


def called(estimator, method, X):
    if method == "reconstruct":
        return estimator.inverse_transform(estimator.transform(X))
    return getattr(estimator, method)(X)


def assert_equal(got, expected):
    """Compare an output with that of an estimator, NaN and all."""
    assert got.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * scale)


def assert_exports(estimator, X, methods=METHODS, dtype=np.float32):
    """Compare methods with those of the estimator, in double precision."""
    for method in methods:
        model = to_onnx(estimator, method, dtype=dtype)
        given = X.astype(dtype)
        if method == "inverse_transform":
            given = estimator.transform(X).astype(dtype)
        got = run(model, given)
        expected = called(estimator, method, given.astype(np.float64))
        is_float = expected.dtype == np.float64 and method != "score_samples"
        assert got.dtype == (dtype if is_float else expected.dtype)
        assert_equal(got, expected)


def is_own(estimator):
    """Whether networks are a user's own, which torch takes a second to export."""
    return isinstance(getattr(estimator, "architecture", None), Modules)


# The table

NETWORKS = [name for name, e in ESTIMATORS.items() if not is_own(e)]
OWN = [name for name, e in ESTIMATORS.items() if is_own(e)]


def methods_of(estimator):
    has_neighbors = getattr(estimator, "n_neighbors", None) is not None
    return METHODS[:3] if has_neighbors else METHODS


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_exported(name, open_gate, X):
    estimator = clone(ESTIMATORS[name]).fit(X)
    assert_exports(estimator, X, methods_of(estimator))
    assert_exports(estimator, X, ("reconstruct",), np.float64)


@pytest.mark.parametrize("name", OWN)
def test_a_network_of_a_user_is_exported(name, open_gate, X, capfd):
    estimator = clone(ESTIMATORS[name]).fit(X)
    scores = ("score_samples",) if name == "modules" else ()
    methods = ("reconstruct", *scores)
    assert_exports(estimator, X, methods)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", [name for name, e in ESTIMATORS.items() if e.init == "pca"]
)
def test_a_start_is_exported(name, X):
    estimator = clone(ESTIMATORS[name]).set_params(max_iter=0)
    if estimator.architecture is not None and not is_own(estimator):
        assert_exports(estimator.fit(X), X, ("reconstruct", "score_samples"))
    elif not is_own(estimator):  # of which the others say nothing new
        assert_exports(estimator.fit(X), X, methods_of(estimator))


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_machine_is_exported(name, dtype, X):
    assert_exports(clone(MACHINES[name]).fit(X), X, METHODS, dtype)


def test_a_machine_of_bernoulli_units_is_exported():
    rows = np.random.RandomState(0).randint(2, size=(60, 7)).astype(float)
    for hidden in ("bernoulli", "gaussian"):
        machine = RBM(3, hidden=hidden, max_iter=2, random_state=0).fit(rows)
        assert_exports(machine, rows)


def test_a_machine_of_images_is_exported():
    X = load_digits().images[:60] / 16
    model = RBM(4, max_iter=1, random_state=0).fit(X)
    methods = "transform", "inverse_transform", "score_samples"
    assert_exports(model, X, methods, np.float64)


@pytest.mark.parametrize("name", TWO_VIEWS)
@pytest.mark.parametrize("max_iter", [0, 2])
def test_estimators_of_two_views_are_exported(name, max_iter, open_gate, X):
    estimator = clone(TWO_VIEWS[name]).set_params(max_iter=max_iter)
    if max_iter == 0 and estimator.architecture is not None:
        return
    y = X[:, :2] ** 2
    estimator.fit(X, y)
    if isinstance(estimator, EncoderDecoder):
        assert_exports(estimator, X, ("transform", "predict"))
    elif is_own(estimator):
        assert_exports(estimator, X, ("transform",))
    else:
        assert_exports(estimator, X, ("transform", "score_samples"))
        got = run(to_onnx(estimator, "transform_y"), y.astype(np.float32))
        assert_equal(got, estimator.transform_y(y))


def test_other_second_views(open_gate, X):
    column = EncoderDecoder(1, **FAST).fit(X, X[:, 0])
    assert_exports(column, X, ("predict",))
    copies = ContrastiveAutoencoder(2, **FAST).fit(X)
    assert_exports(copies, X, ("transform", "transform_y", "score_samples"))
    labels = (X[:, 0] > X[:, 0].mean()).astype(int) + (X[:, 1] > X[:, 1].mean())
    of_labels = ContrastiveAutoencoder(1, **FAST).fit(X, labels)
    assert_exports(of_labels, X, ("transform", "score_samples"))
    with pytest.raises(NotImplementedError, match="transform_y of labels"):
        to_onnx(of_labels, "transform_y")


def test_anomalies_are_told(open_gate, X):
    estimator = AutoencoderTransformer(2, **FAST, contamination=0.2).fit(X)
    assert len(np.unique(estimator.predict(X))) == 2
    assert_exports(estimator, X, ("predict",))
    assert_exports(AdversarialAutoencoder(2, **FAST).fit(X), X, ("predict",))


# Images, series, and what is missing


@pytest.fixture(scope="module")
def series():
    """Walks of two channels, half of which end early; no one has eight steps."""
    rng = np.random.RandomState(0)
    walks = rng.randn(80, 8, 2).cumsum(1) + 3
    for i, walk in enumerate(walks):
        walk[rng.randint(1, 8) if i % 2 else 7 :] = np.nan
    return walks


RECURRENT = Recurrent("lstm", 3, 2, bidirectional=True, segment_length=3)
SHARED = Transformer(2, 8, 2, share_layers=True, embedding_rank=3, patch_size=3)


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(2, **SPLIT, architecture=RECURRENT),
        AutoencoderTransformer(2, **SPLIT, architecture=SHARED),
        VAE(2, **SPLIT, architecture=Recurrent(hidden_size=3)),
        VAE(2, **SPLIT, architecture=Transformer(1, 4, 2)),
        MaskedAutoencoder(2, **SPLIT, architecture=Recurrent(hidden_size=3)),
        AutoencoderTransformer(2, max_iter=0, architecture=RECURRENT),
    ],
    ids=lambda e: f"{type(e).__name__}, {type(e.architecture).__name__}, {e.max_iter}",
)
def test_series_of_different_lengths(estimator, open_gate, series):
    estimator = clone(estimator).fit(series)
    assert_exports(estimator, series)
    assert_exports(estimator, series[:3, :, :], ("score_samples",), np.float64)
    alone = run(to_onnx(estimator), series[1:2].astype(np.float32))
    assert_equal(alone, estimator.transform(series[1:2]))


def test_two_series(open_gate, series):
    how = {"architecture": Recurrent(hidden_size=3)}
    estimator = EncoderDecoder(1, **SPLIT, **how, y_architecture=how["architecture"])
    estimator.fit(series, series**2)
    assert_exports(estimator, series, ("transform", "predict"))


@pytest.mark.parametrize("activation", ["gelu", "elu", "silu", "logistic"])
def test_images(activation, open_gate):
    images = np.random.RandomState(0).rand(60, 7, 6)
    architecture = Convolutional(
        channels=(2, 3), activation=activation, hidden_layer_sizes=(5,)
    )
    estimator = AutoencoderTransformer(
        3, max_iter=2, random_state=0, architecture=architecture
    )
    assert_exports(estimator.fit(images), images)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("n_axes", [1, 2])
def test_convolutions_and_their_gradients(n_axes, is_transposed, dtype):
    name = f"Conv{'Transpose' * is_transposed}{n_axes}d"
    rng = np.random.RandomState(n_axes + 2 * is_transposed)
    tolerance = 1e-12 if dtype == np.float64 else TOLERANCE
    n_compared = 0
    while n_compared < 12:
        groups = rng.randint(1, 3)
        how = {"groups": int(groups), "bias": bool(rng.randint(2))}
        limits = {"kernel_size": 5, "stride": 4, "padding": 3, "dilation": 3}
        for key, most in limits.items():
            least = key != "padding"
            how[key] = tuple(rng.randint(least, most, n_axes).tolist())
        if is_transposed:
            how["output_padding"] = tuple(rng.randint(how["stride"]).tolist())
        n_channels = (groups * rng.randint(1, 4, 2)).tolist()
        layer = getattr(nn, name)(*n_channels, **how).double()
        for parameter in layer.parameters():
            parameter.data = torch.from_numpy(rng.randn(*parameter.shape))
        x = torch.from_numpy(rng.randn(3, n_channels[0], *rng.randint(4, 9, n_axes)))
        try:
            y = layer(x.requires_grad_())
        except RuntimeError:  # a kernel that is larger than the image
            continue
        if not y.numel():
            continue
        by_y = torch.from_numpy(rng.randn(*y.shape))
        by_x = torch.autograd.grad(y, x, by_y)[0]
        graph, inputs = Graph(skae._onnx.OPSET), {"x": x}
        layer = layer if dtype == np.float64 else layer.float()
        outputs = {"y": (apply(graph, layer, graph.value("x", dtype)), y)}
        if is_transposed:
            inputs["by_y"] = by_y
            outputs["by_x"] = convolved(graph, layer, graph.value("by_y", dtype)), by_x
        model = graph.model(
            {k: (np.dtype(dtype), v.shape[1:]) for k, v in inputs.items()},
            {k: (found, v.shape[1:]) for k, (found, v) in outputs.items()},
        )
        given = {k: v.detach().numpy().astype(dtype) for k, v in inputs.items()}
        session = onnxruntime.InferenceSession(model.SerializeToString())
        for got, (_, expected) in zip(
            session.run(None, given), outputs.values(), strict=True
        ):
            expected = expected.detach().numpy()
            scale = np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
        n_compared += 1


@pytest.mark.parametrize(
    "architecture",
    [
        Convolutional(channels=(2,), kernel_size=4, stride=3),
        Convolutional(channels=(2, 4), stride=1, hidden_layer_sizes=()),
        Modules(
            nn.Sequential(nn.Flatten(), nn.Linear(84, 3)),
            nn.Sequential(
                nn.Linear(3, 24),
                nn.Unflatten(1, (4, 6)),
                nn.ConvTranspose1d(4, 2, 5, 3, 1, 1, groups=2, dilation=2),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(46, 84),
                nn.Unflatten(1, (2, 7, 6)),
            ),
        ),
    ],
    ids=["wide kernels", "small steps", "signals"],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_steps_of_transform_pass_convolutions(architecture, ordered, open_gate):
    t = np.random.RandomState(0).uniform(-3, 3, (80, 3, 1))
    images = np.sin(t + np.arange(28)).reshape(80, 2, 7, 6)  # waves that move
    how = {"max_iter": 12, "random_state": 0, "ordered": ordered}
    guess, found = (
        AutoencoderTransformer(
            3, architecture=architecture, transform_max_iter=n, **how
        ).fit(images)
        for n in (0, 2)
    )
    assert_exports(found, images)
    codes = found.transform(images)
    got = run(to_onnx(found, dtype=np.float64), images)
    np.testing.assert_allclose(got, codes, rtol=0, atol=1e-9 * np.abs(codes).max())
    before, after = (model.reconstruction_error(images) for model in (guess, found))
    # By codes that are a hundredth away, at least, and not by rounding.
    assert after.mean() < (1 - 1e-4) * before.mean()


@pytest.mark.parametrize(
    "architecture",
    [
        None,
        MLP((4,)),
        Convolutional(channels=(2,), kernel_size=4, stride=3),
        Transformer(1, 4, 2, image_shape=(2, 7, 6), patch_size=3),
    ],
    ids=lambda a: type(a).__name__,
)
def test_images_with_missing_pixels(architecture, open_gate):
    rng = np.random.RandomState(0)
    images = rng.rand(60, 2, 7, 6)
    images[rng.rand(*images.shape) < 0.1] = np.nan
    estimator = MaskedAutoencoder(3, **SPLIT, architecture=architecture)
    assert_exports(estimator.fit(images), images, ("transform", "reconstruct"))


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("n_components", [None, 2])
@pytest.mark.parametrize("max_iter", [0, 2])
def test_missing_cells(init, n_components, max_iter, open_gate, X):
    rng = np.random.RandomState(0)
    incomplete = np.where(rng.rand(*X.shape) < 0.3, np.nan, X)
    incomplete = incomplete[~np.isnan(incomplete).all(1)]
    how = {**FAST, "max_iter": max_iter, "init": init}
    estimator = MaskedAutoencoder(n_components, **how).fit(incomplete)
    # Without noise, the likelihood of known cells has few digits, in the estimator too.
    methods = METHODS[:3] if (n_components, init) == (None, "random") else METHODS
    for dtype in (np.float32, np.float64):
        assert_exports(estimator, incomplete, methods, dtype)
    assert_exports(estimator, X)  # of which no cell is missing
    marked = clone(estimator).set_params(missing_values=-99)
    given = np.where(np.isnan(incomplete), -99, incomplete)
    assert_exports(marked.fit(given), given, ("reconstruct",))


def test_neighbors_at_nearly_the_same_distance(open_gate):
    """Of float32, others would be the nearest."""
    pixels = load_digits().data
    hidden = np.random.RandomState(0).rand(*pixels.shape) < 0.1
    estimator = MaskedAutoencoder(8, **FAST).fit(pixels)
    assert_exports(estimator, np.where(hidden, np.nan, pixels), ("reconstruct",))


def test_probabilities(open_gate):
    pixels = np.random.RandomState(0).rand(60, 9)
    estimator = VAE(2, **FAST, likelihood="bernoulli").fit(pixels)
    assert_exports(estimator, pixels)


# Odd tables


def test_columns_far_from_zero(open_gate, X):
    """Deviations of a few digits of float32 lose none of these."""
    assert_exports(AutoencoderTransformer(2, **FAST).fit(X / 1e3 + 1e3), X / 1e3 + 1e3)


def test_constant_columns(open_gate, X):
    rows = np.column_stack([X, np.full(90, 7.0)])
    assert_exports(AutoencoderTransformer(2, **FAST).fit(rows), rows)
    constant = AutoencoderTransformer(1, **FAST).fit(rows[:, -1:])
    assert_exports(constant, rows[:, -1:], ("reconstruct", "score_samples"))


def test_rows_beyond_those_that_a_network_knows(open_gate, X):
    estimator = VAE(2, **FAST).fit(X)
    for dtype in (np.float32, np.float64):
        assert_exports(estimator, 8 * X, ("score_samples",), dtype)


def test_any_number_of_rows(open_gate, X):
    estimator = VAE(2, **FAST).fit(X)
    model = to_onnx(estimator, "score_samples")
    expected = estimator.score_samples(X.astype(np.float32).astype(float))
    for n in (1, 2, 90):
        assert_equal(run(model, X[:n].astype(np.float32)), expected[:n])


def test_batches_of_partial_fit(open_gate, X):
    estimator = AutoencoderTransformer(2, **FAST)
    for batch in np.split(X, 3):
        estimator.partial_fit(batch)
    assert_exports(estimator, X)


def test_whitened_and_sorted_codes(open_gate, X):
    estimator = AutoencoderTransformer(3, **{**FAST, "max_iter": 30}, whiten=True)
    estimator.fit(X)
    assert_exports(estimator, X)


# Networks of one's own


def test_layers_of_torch_need_no_exporter(open_gate, monkeypatch, X):
    monkeypatch.delattr(torch.onnx, "export")
    networks = Modules(nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.5)), decoder)
    estimator = AutoencoderTransformer(2, **SPLIT, architecture=networks).fit(X)
    assert_exports(estimator, X)


class Doubled(nn.Linear):
    """Inherits all of a layer but what it computes."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_with_a_forward_of_its_own(open_gate, X):
    def to_rows(n_components, n_features):
        return nn.Sequential(nn.Linear(n_components, 3), Doubled(3, n_features))

    networks = Modules(Doubled, to_rows)
    estimator = AutoencoderTransformer(2, **SPLIT, architecture=networks).fit(X)
    assert_exports(estimator, X, ("reconstruct",))


def test_the_exporter_of_older_versions(open_gate, monkeypatch, X):
    monkeypatch.setattr(torch, "__version__", "2.4.1")
    networks = Modules(Encoder, decoder)
    estimator = AutoencoderTransformer(2, **SPLIT, architecture=networks).fit(X)
    assert_exports(estimator, X)


class Sorted(nn.Linear):
    """Does what no exporter can follow."""

    def forward(self, x):
        return super().forward(torch.from_numpy(np.sort(x.detach().numpy())))


def test_a_network_that_torch_does_not_export(open_gate, X):
    networks = Modules(Sorted, nn.Linear)
    estimator = AutoencoderTransformer(
        2, **SPLIT, init="random", architecture=networks
    ).fit(X)
    with pytest.raises(NotImplementedError, match="network Sorted cannot be exported"):
        to_onnx(estimator)
    assert_exports(estimator, X, ("inverse_transform",))


def test_an_export_changes_nothing(open_gate, X):
    networks = Modules(Encoder, decoder)
    estimator = AutoencoderTransformer(2, **SPLIT, architecture=networks).fit(X)
    codes = estimator.transform(X)
    given = X, codes, X, X
    before = list(map(called, [estimator] * 4, METHODS, given))
    to_onnx(estimator, "reconstruct", dtype=np.float64)
    assert {p.dtype for p in estimator.module_.parameters()} == {torch.float32}
    for method, rows, expected in zip(METHODS, given, before, strict=True):
        np.testing.assert_array_equal(called(estimator, method, rows), expected)


# Pipelines


def classify(autoencoder, rows, y):
    pipeline = make_pipeline(StandardScaler(), autoencoder, LogisticRegression())
    return pipeline.fit(rows, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "autoencoder",
    [
        AutoencoderTransformer(3, **FAST),
        AutoencoderTransformer(2, **SPLIT, architecture=Recurrent(hidden_size=3)),
        MaskedAutoencoder(3, **FAST),
        RBM(4, visible="gaussian", max_iter=1, random_state=0),
        ContrastiveAutoencoder(2, **FAST),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_pipeline(autoencoder, dtype, open_gate):
    rows, y = load_wine(return_X_y=True)
    if isinstance(autoencoder, MaskedAutoencoder):
        rows = rows.copy()
        rows[::3, ::4] = np.nan
    pipeline = classify(autoencoder, rows, y)
    given = rows.astype(dtype)
    expected = pipeline.predict_proba(given.astype(float))
    ours = to_onnx(pipeline, dtype=dtype)
    assert [x.name for x in ours.graph.output] == ["label", "probabilities"]
    options = {id(pipeline): {"zipmap": False}}
    theirs = skl2onnx.to_onnx(pipeline, given[:1], options=options)
    for model in (ours, theirs):
        session = onnxruntime.InferenceSession(model.SerializeToString())
        label, probabilities = session.run(None, {"X": given})
        assert_equal(probabilities, expected)
        np.testing.assert_array_equal(label, pipeline.predict(rows))


def test_the_last_step_of_a_pipeline(open_gate):
    rows = load_wine().data
    pipeline = make_pipeline(StandardScaler(), VAE(3, **FAST)).fit(rows)
    given = rows.astype(np.float32)
    assert_equal(run(to_onnx(pipeline), given), pipeline.transform(rows))
    scores = run(to_onnx(pipeline, "score_samples"), given)
    assert_equal(scores, pipeline.score_samples(given.astype(float)))
    for method in ("inverse_transform", "reconstruct"):
        with pytest.raises(NotImplementedError, match=r"pipeline\[-1\]"):
            to_onnx(pipeline, method)
    alone = make_pipeline(VAE(3, **FAST)).fit(rows)
    assert_equal(run(to_onnx(alone, "transform"), given), alone.transform(rows))


def test_columns_of_different_kinds(open_gate):
    rows, y = load_wine(return_X_y=True)
    frame = pd.DataFrame(rows[:, :4], columns=list("abcd"))
    frame["e"] = np.where(rows[:, 5] > 2, "high", "low")
    codes = make_pipeline(StandardScaler(), AutoencoderTransformer(2, **FAST))
    columns = make_column_transformer((codes, list("abcd")), (OneHotEncoder(), ["e"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    types = [(name, FloatTensorType([None, 1])) for name in "abcd"]
    types.append(("e", StringTensorType([None, 1])))
    model = skl2onnx.to_onnx(
        pipeline, initial_types=types, options={"zipmap": False}, target_opset=18
    )
    given = {name: frame[[name]].to_numpy(np.float32) for name in "abcd"}
    given["e"] = frame[["e"]].to_numpy(object)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert_equal(session.run(None, given)[1], pipeline.predict_proba(frame))


def test_a_grid_search(open_gate):
    rows, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(AutoencoderTransformer(2, **FAST), LogisticRegression())
    pipeline = make_pipeline(StandardScaler(), *pipeline)
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0, 2.0]}, cv=2)
    session = onnxruntime.InferenceSession(
        to_onnx(search.fit(rows, y)).SerializeToString()
    )
    given = {"X": rows.astype(np.float32)}
    assert_equal(session.run(None, given)[1], search.predict_proba(rows))


def test_integers_and_versions_for_every_domain(X):
    rows = X.round().astype(np.int64)
    pca = AutoencoderTransformer(2, max_iter=0).fit(rows)
    opsets = {"": 18, "ai.onnx.ml": 3}
    model = skl2onnx.to_onnx(pca, rows[:1], target_opset=opsets)
    assert_equal(run(model, rows), pca.transform(rows))
    with pytest.raises(ValueError, match="target_opset=17"):
        skl2onnx.to_onnx(pca, rows[:1], target_opset=17)


# What a model says of itself


def test_names_versions_and_metadata(X):
    estimator = VAE(2, max_iter=0).fit(X)
    model = to_onnx(estimator, "score_samples", target_opset=19)
    assert [x.name for x in model.graph.input] == ["X"]
    assert [x.name for x in model.graph.output] == ["score_samples"]
    assert {x.domain: x.version for x in model.opset_import} == {"": 19}
    metadata = {x.key: x.value for x in model.metadata_props}
    assert metadata == {
        "skae_version": skae.__version__,
        "estimator": "VAE",
        "method": "score_samples",
        "target_opset": "19",
    }
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["n", 6]
    onnx.checker.check_model(model, full_check=True)


def test_a_file_needs_onnxruntime_alone(tmp_path, X):
    rows, y = load_wine(return_X_y=True)
    pipeline = classify(AutoencoderTransformer(3, **FAST), rows, y)
    onnx.save(to_onnx(pipeline), tmp_path / "model.onnx")
    np.save(tmp_path / "X.npy", rows.astype(np.float32))
    code = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
found = session.run(["probabilities"], {"X": numpy.load("X.npy")})[0]
numpy.save("found.npy", found)
assert not {"skae", "torch", "sklearn", "onnx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npy")
    assert_equal(found, pipeline.predict_proba(rows))


def test_import_skae_imports_nothing_of_onnx():
    code = """
import sys, skae
assert not {"onnx", "skl2onnx", "onnxruntime", "onnxscript"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# Errors


@pytest.mark.parametrize("package", ["onnx", "skl2onnx"])
def test_without_the_extra(package, monkeypatch, X):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: .*'skae\[onnx\]'"):
        to_onnx(AutoencoderTransformer(2, max_iter=0).fit(X))


def test_what_cannot_be_exported(X):
    texts = ["one two six ten", "two six one", "ten six one", "six two"] * 3
    for name in ("n-grams", "bags"):
        model = clone(TEXTS[name]).fit(texts)
        with pytest.raises(NotImplementedError, match="tokens of texts in Python"):
            to_onnx(model)
    of_texts = make_pipeline(clone(TEXTS["bags"]), StandardScaler()).fit(texts)
    with pytest.raises(NotImplementedError, match="TextAutoencoder cannot be exported"):
        to_onnx(of_texts)
    imputer = clone(IMPUTERS["imputer"]).set_params(max_iter=0).fit(X)
    with pytest.raises(NotImplementedError, match="Export MaskedAutoencoder"):
        to_onnx(make_pipeline(imputer, StandardScaler()).fit(X))
    near = AutoencoderTransformer(2, max_iter=0, n_neighbors=2).fit(X)
    for method in ("score_samples", "predict"):
        with pytest.raises(NotImplementedError, match="with n_neighbors=2"):
            to_onnx(near, method)
    clusters = AdversarialAutoencoder(2, max_iter=0, n_clusters=2).fit(X)
    with pytest.raises(NotImplementedError, match="with n_clusters=2"):
        to_onnx(clusters, "predict")


@pytest.mark.parametrize("method", [None, "transform", "score_samples"])
def test_what_cannot_be_exported_says_so_of_every_method(method, X):
    bags = clone(TEXTS["bags"]).fit(["one two six ten", "two six one"] * 6)
    search = GridSearchCV(clone(TEXTS["bags"]), {"max_iter": [0]}, cv=2)
    search.fit(["one two six ten", "two six one"] * 6)
    for model in (bags, make_pipeline(bags), search):
        with pytest.raises(NotImplementedError, match="tokens of texts in Python"):
            to_onnx(model, method)
    imputer = clone(IMPUTERS["imputer"]).set_params(max_iter=0).fit(X)
    for model in (imputer, make_pipeline(StandardScaler().fit(X), imputer)):
        with pytest.raises(NotImplementedError, match="Export MaskedAutoencoder"):
            to_onnx(model, method)


class Shifted(AutoencoderTransformer):
    """Another estimator, of a user, with other codes."""

    def transform(self, X):
        return super().transform(X) + 1


def test_a_method_of_a_user(X):
    shifted = Shifted(2, max_iter=0).fit(X)
    with pytest.raises(NotImplementedError, match=r"Shifted.transform .* these can"):
        to_onnx(shifted)
    assert_exports(shifted, X, ("inverse_transform", "score_samples"))


def test_bad_arguments(X):
    pca = AutoencoderTransformer(2, max_iter=0)
    with pytest.raises(NotFittedError):
        to_onnx(pca)
    pca.fit(X)
    for estimator in (AutoencoderTransformer, 3, nn.Linear(2, 2)):
        with pytest.raises(TypeError, match="give a fitted estimator"):
            to_onnx(estimator)
    for method in ("sample", "transform_y", "predict_proba", 3):
        with pytest.raises(ValueError, match=rf"method={method!r}: of Auto.*'transf"):
            to_onnx(pca, method)
    for dtype in (None, int, np.float16, "word"):
        with pytest.raises(ValueError, match=r"use numpy\.float32 or numpy\.float64"):
            to_onnx(pca, dtype=dtype)
    for opset in (None, 17, 99, 18.0, True, "18"):
        with pytest.raises(ValueError, match=f"target_opset={opset!r}: use an integer"):
            to_onnx(pca, target_opset=opset)
    scaler = StandardScaler().fit(X)
    with pytest.raises(ValueError, match="StandardScaler, which is no estimator"):
        to_onnx(scaler, "transform")
    with pytest.raises(ValueError, match="ends in StandardScaler"):
        to_onnx(make_pipeline(pca, scaler).fit(X), "score_samples")


def test_a_search_is_its_best_estimator_and_steps_that_do_nothing_are_none():
    search = GridSearchCV(
        AutoencoderTransformer(max_iter=1), {"n_components": [1]}, cv=2
    )
    pipeline = make_pipeline("passthrough", AutoencoderTransformer(1, max_iter=1))
    X = np.random.RandomState(0).randn(40, 3).astype(np.float32)
    for model in (search, pipeline):
        found = run(to_onnx(model.fit(X)), X)
        np.testing.assert_allclose(found, model.transform(X), rtol=0, atol=1e-5)
    run(to_onnx(pipeline, "score_samples"), X)
