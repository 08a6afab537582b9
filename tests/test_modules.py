"""A user's own torch modules."""

import copy
import pickle

import numpy as np
import pytest
import torch
from estimators import Encoder, decoder
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from torch import nn

from skae import VAE, AutoencoderTransformer
from skae.architectures import Modules

FAST = {"max_iter": 2, "random_state": 0}


@pytest.fixture
def X():
    return load_iris().data


class NoArguments(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x)


def instance(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 3), nn.ReLU(), nn.Linear(3, n_out))


CASES = {
    "classes": (Encoder, nn.Linear),
    "functions": (decoder, decoder),
    "instances": (instance(4, 2), instance(2, 4)),
    "without arguments": (NoArguments, lambda: nn.Linear(2, 4)),
    "mixed": (instance(4, 2), nn.Linear),
    "asymmetric": (nn.Linear, instance(2, 4)),
    "no parameters": (lambda: nn.Linear(4, 2), lambda: nn.ZeroPad1d((0, 2))),
}


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("case", CASES)
def test_modules_come_as_classes_functions_and_instances(case, init, X):
    model = AutoencoderTransformer(
        2, architecture=Modules(*CASES[case]), init=init, **FAST
    ).fit(X)
    assert model.transform(X).shape == (150, 2)
    assert model.inverse_transform(model.transform(X)).shape == X.shape
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("case", CASES)
def test_any_module_starts_at_pca(case, X):
    model = AutoencoderTransformer(
        2, architecture=Modules(*CASES[case]), max_iter=0, random_state=0
    ).fit(X)
    x = torch.from_numpy((X - X.mean(0)) / model._fit.start.scale).float()
    with torch.inference_mode():
        error = (model.module_(x)[0] - x).numpy() * model._fit.start.scale
    pca = PCA(2).fit(X)
    expected = X - pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(np.abs(error), np.abs(expected), atol=1e-5)


def test_an_instance_is_neither_changed_nor_shared(X):
    encoder, decoder = instance(4, 2), instance(2, 4)
    kept = copy.deepcopy(encoder.state_dict())
    architecture = Modules(encoder, decoder)
    models = [
        AutoencoderTransformer(2, architecture=architecture, init="random", **FAST)
        for _ in range(2)
    ]
    for model in models:
        model.fit(X)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, kept[name])
    parameters = [set(m.module_.parameters()) for m in models]
    parameters += [set(encoder.parameters()), set(decoder.parameters())]
    for i, a in enumerate(parameters):
        for b in parameters[:i]:
            assert a.isdisjoint(b)


def test_the_weights_of_an_instance_are_reset(X):
    """What an instance has learned elsewhere must not leak into a fold."""
    trained = instance(4, 2)
    with torch.no_grad():
        trained[0].weight.fill_(1e3)
    other = instance(4, 2)
    codes = [
        AutoencoderTransformer(
            2, architecture=Modules(m, instance(2, 4)), init="random", **FAST
        ).fit_transform(X)
        for m in (trained, other)
    ]
    np.testing.assert_array_equal(*codes)


def test_a_module_with_bare_parameters_is_reset_or_refused(X):
    """A parameter of the module's own, which no reset_parameters reaches."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.factor = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.factor * self.linear(x)

    trained = Scaled()
    with torch.no_grad():
        trained.factor.fill_(100.0)
    model = AutoencoderTransformer(
        2, architecture=Modules(trained, nn.Linear), init="random", **FAST
    )
    with pytest.raises(ValueError, match=r"factor.*reset_parameters"):
        model.fit(X)


def test_cross_validation_with_instances_repeats_itself(X):
    model = AutoencoderTransformer(
        2, architecture=Modules(instance(4, 2), instance(2, 4)), **FAST
    )
    np.testing.assert_array_equal(
        cross_val_score(model, X, cv=3), cross_val_score(model, X, cv=3)
    )
    assert clone(model).fit(X).score(X) == model.fit(X).score(X)


def test_building_leaves_the_global_rng_alone():
    before = torch.get_rng_state()
    architecture = Modules(Encoder, decoder)
    first, second = (
        architecture.build((4,), 2, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (lambda d, k: nn.Linear(d, 3), nn.Linear, r"encoder.*3.*2"),
        (nn.Linear, lambda k, d: nn.Linear(k, 7), r"decoder.*7.*4"),
        (lambda d, k: nn.Linear(9, k), nn.Linear, r"encoder.*width 4"),
        (nn.Linear, lambda k, d: nn.Linear(5, d), r"decoder.*width 2"),
        (lambda d, k: nn.Flatten(0), nn.Linear, r"encoder.*shape \(8,\)"),
    ],
)
@pytest.mark.parametrize("init", ["pca", "random"])
def test_a_wrong_width_says_both_widths(encoder, decoder, message, init, X):
    model = AutoencoderTransformer(
        2, architecture=Modules(encoder, decoder), init=init, **FAST
    )
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("Linear", "encoder='Linear'"), (lambda d, k: "x", "encoder returned 'x'")],
)
def test_what_is_no_module_is_named(encoder, message, X):
    with pytest.raises(TypeError, match=message):
        AutoencoderTransformer(2, architecture=Modules(encoder, nn.Linear)).fit(X)


def test_an_error_inside_a_user_module_is_passed_on(X):
    class Broken(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.linear = nn.Linear(n_in, n_out)

        def forward(self, x):
            if len(x) > 2:
                raise RuntimeError("mine")
            return self.linear(x)

    with pytest.raises(RuntimeError, match="mine"):
        AutoencoderTransformer(2, architecture=Modules(Broken, nn.Linear), **FAST).fit(
            X
        )


def test_any_object_with_build_is_an_architecture(X):
    class Own:
        def build(self, sample_shape, n_components, generator):
            (d,) = sample_shape
            return nn.Linear(d, n_components), nn.Linear(n_components, d)

    model = AutoencoderTransformer(2, architecture=Own(), **FAST).fit(X)
    assert model.transform(X).shape == (150, 2)


class LongMemory(nn.Module):
    """The textbook's: it makes its first states itself, in float32."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.rnn = nn.LSTM(2, 3, batch_first=True)
        self.out = nn.Linear(3, n_out)

    def forward(self, x):
        states = torch.zeros(1, len(x), 3), torch.zeros(1, len(x), 3)
        return self.out(self.rnn(x.view(-1, 2, 2), states)[0][:, -1])


@pytest.mark.filterwarnings("ignore:Active codes")  # after two epochs
@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_modules_that_know_float32_alone_take_any_rows(estimator, init, X):
    networks = Modules(LongMemory, nn.Linear)
    model = estimator(2, architecture=networks, init=init, **FAST).fit(X)
    codes = model.transform(X)
    assert codes.dtype == np.float64
    single = model.transform(X.astype(np.float32))
    np.testing.assert_allclose(single, codes, rtol=1e-4, atol=1e-5)
    assert model.inverse_transform(codes).dtype == np.float64
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.partial_fit(X).n_samples_, 300)


@pytest.mark.parametrize(
    "layer",
    [
        nn.RReLU(),
        nn.Dropout(0.3),
        nn.Sequential(
            nn.Unflatten(1, (1, 3, 6)),
            nn.FractionalMaxPool2d(2, output_size=(2, 5)),
            nn.Flatten(),
            nn.Linear(10, 18),
        ),
    ],
    ids=["RReLU", "Dropout", "FractionalMaxPool2d"],
)
def test_layers_that_draw_follow_the_seed(layer, X):
    def encoder(n_in, n_out):
        return nn.Sequential(
            nn.Linear(n_in, 18), copy.deepcopy(layer), nn.Linear(18, n_out)
        )

    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        networks = Modules(encoder, nn.Linear)
        model = AutoencoderTransformer(2, architecture=networks, init="random", **FAST)
        results.append(model.fit(X).transform(X))
        np.testing.assert_array_equal(model.transform(X), results[-1])
        assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*results)


def test_what_torch_vectorises_by_a_loop_is_called_one_by_one(X):
    def encoder(n_in, n_out):
        layer = nn.TransformerEncoderLayer(2, 1, 4, batch_first=True)
        return nn.Sequential(
            nn.Unflatten(1, (2, 2)), layer, nn.Flatten(), nn.Linear(4, 2)
        )

    networks = Modules(encoder, nn.Linear)
    model = AutoencoderTransformer(2, architecture=networks, **FAST)
    assert np.isfinite(model.fit(X).score(X))  # a warning is an error here


def test_modules_with_parametrizations_train_on(X):
    def encoder(n_in, n_out):
        return torch.nn.utils.parametrizations.spectral_norm(nn.Linear(n_in, n_out))

    networks = Modules(encoder, nn.Linear)
    model = AutoencoderTransformer(2, architecture=networks, **FAST).fit(X)
    other = copy.deepcopy(model).partial_fit(X)
    assert (model.n_samples_, other.n_samples_) == (150, 300)
    assert model.set_params(warm_start=True).fit(X).n_iter_ > 2
