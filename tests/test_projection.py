"""Codes that are decoded closest to the rows, beside exhaustive search and algebra."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import AutoencoderTransformer, DeepBeliefAutoencoder
from skae._gate import PairedImprovement
from skae._module import BaseModule
from skae._projection import ProjectedNetwork, Projection, metric_at
from skae._trained import TrainedNetwork
from skae.architectures import MLP, Convolutional, Recurrent


@pytest.fixture
def open_gate(monkeypatch):
    """Use networks, whatever held-out rows say of them."""
    monkeypatch.setattr(PairedImprovement, "exceeds", lambda *_: True)


@pytest.fixture(scope="module")
def wine():
    X, new = train_test_split(load_wine().data, random_state=0)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(new)


def errors(model, X):
    return ((model.inverse_transform(model.transform(X)) - X) ** 2).sum(1)


def linear_module(weight, guess):
    """Return a module whose decoder is linear, and whose encoder guesses badly."""
    d, k = weight.shape
    encoder, decoder = nn.Linear(d, k), nn.Linear(k, d)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.copy_(torch.tensor(guess))
        decoder.weight.copy_(torch.tensor(weight))
        decoder.bias.zero_()
    return BaseModule(encoder, decoder).double()


def test_codes_of_a_linear_decoder_are_the_least_squares_solution():
    rng = np.random.RandomState(0)
    weight = rng.normal(size=(9, 3)) * [3.0, 1.0, 0.1]
    x = torch.tensor(rng.normal(size=(50, 9)))
    module = linear_module(weight, np.array([5.0, -2.0, 1.0]))
    codes = Projection.of(module, x, None, 30).codes(module, x, None)
    expected = np.linalg.lstsq(weight, x.numpy().T, rcond=None)[0].T
    assert_allclose(codes, expected, atol=1e-6)  # where errors are equal in float64


def test_known_cells_alone_count():
    rng = np.random.RandomState(1)
    weight = rng.normal(size=(9, 2))
    x = torch.tensor(rng.normal(size=(20, 9)))
    known = torch.tensor(rng.uniform(size=(20, 9)) < 0.8)
    module = linear_module(weight, np.zeros(2))
    codes = Projection.of(module, x, known, 100).codes(module, x, known)
    for row, mask, code in zip(x.numpy(), known.numpy(), codes.numpy(), strict=True):
        expected = np.linalg.lstsq(weight[mask], row[mask], rcond=None)[0]
        assert_allclose(code, expected, atol=1e-6)


def test_the_metric_is_the_inverse_of_the_mean_of_the_squared_jacobian():
    weight = np.random.RandomState(2).normal(size=(400, 3))
    metric = metric_at(linear_module(weight, np.zeros(3)), torch.zeros(5, 3).double())
    expected = np.linalg.inv(weight.T @ weight)
    # 1000 draws of signs: a few per cent
    assert_allclose(metric, expected, atol=0.1 * np.diagonal(expected).max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_components", [1, 2])
def test_no_row_is_decoded_worse_and_most_are_decoded_better(wine, n_components, seed):
    X, new = wine
    how = {"random_state": seed}
    guessed = AutoencoderTransformer(n_components, transform_max_iter=0, **how).fit(X)
    found = AutoencoderTransformer(n_components, **how).fit(X)
    assert guessed.best_iter_ == found.best_iter_ > 0
    for rows in (X, new):
        before, after = errors(guessed, rows), errors(found, rows)
        assert (after <= before * (1 + 1e-5)).all()
        assert (after < before - 1e-3).mean() > 0.6
    assert found.noise_variance_ < guessed.noise_variance_
    assert found.score(new) > guessed.score(new)


def test_a_code_is_nearly_the_best_of_all():
    t = np.random.RandomState(0).uniform(-3, 3, 1200)
    X = np.column_stack([t, t**2, np.sin(2 * t), np.cos(t)])
    X += 0.05 * np.random.RandomState(1).randn(*X.shape)
    model = AutoencoderTransformer(1, random_state=0).fit(X[:1000])
    new, codes = X[1000:], model.transform(X)
    grid = np.linspace(codes.min(), codes.max(), 20001)[:, None]
    curve = model.inverse_transform(grid)
    best = ((new[:, None] - curve[None, ::10]) ** 2).sum(2).min(1)
    guessed = AutoencoderTransformer(1, transform_max_iter=0, random_state=0)
    left = errors(guessed.fit(X[:1000]), new).mean() - best.mean()
    assert errors(model, new).mean() - best.mean() < 0.05 * left


def test_on_the_other_side_of_a_bend_a_guess_is_found():
    module = BaseModule(nn.Linear(2, 1), Circle()).double()
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]]).double()
    with torch.no_grad():
        module.encoder.weight.zero_()
        module.encoder.bias.fill_(3.1)
    projection = Projection(3, False, np.eye(1), np.linspace(-3, 3, 40)[:, None])
    codes = projection.codes(module, x, None)
    assert_allclose(codes[:, 0], torch.atan2(x[:, 1], x[:, 0]), atol=1e-3)


class Circle(nn.Module):
    def forward(self, z):
        return torch.cat([z.cos(), z.sin()], 1)


@pytest.mark.parametrize("seed", range(2))
def test_every_prefix_of_codes_in_order_gains(seed):
    X, new = train_test_split(load_digits().data, random_state=seed)
    how = {"ordered": True, "random_state": seed, "max_iter": 30}
    guessed = AutoencoderTransformer(4, transform_max_iter=0, **how).fit(X)
    found = AutoencoderTransformer(4, **how).fit(X)
    before, after = guessed.transform(new), found.transform(new)
    for j in range(1, 5):
        error = [
            ((m.inverse_transform(Z[:, :j]) - new) ** 2).mean()
            for m, Z in ((guessed, before), (found, after))
        ]
        assert error[1] < error[0]


def test_beyond_the_training_rows_the_code_is_the_guess(wine):
    X, _ = wine
    far = X[:3] * 1e9
    guessed, found = (
        AutoencoderTransformer(2, transform_max_iter=n, random_state=0).fit(X)
        for n in (0, "auto")
    )
    rows = [m.inverse_transform(m.transform(far)) for m in (guessed, found)]
    assert_allclose(rows[1], rows[0], rtol=1e-6)  # codes may be in another order


@pytest.mark.parametrize(
    ("estimator", "n_steps"),
    [
        (AutoencoderTransformer(2), 3),
        (AutoencoderTransformer(2, init="random"), 0),
        (AutoencoderTransformer(2, init="random", transform_max_iter=2), 2),
        (AutoencoderTransformer(2, ordered=True), 3),
        (AutoencoderTransformer(2, architecture=MLP((8,), tied_weights=True)), 3),
        (DeepBeliefAutoencoder(2), 3),
        (AutoencoderTransformer(2, linear_encoder=True), 0),
        (AutoencoderTransformer(2, architecture=Convolutional()), 1),
        (AutoencoderTransformer(2, architecture=Convolutional(), init="random"), 0),
        (AutoencoderTransformer(2, architecture=Recurrent(hidden_size=2)), 0),
        (
            AutoencoderTransformer(
                2, architecture=Recurrent(hidden_size=2), transform_max_iter=1
            ),
            1,
        ),
        (AutoencoderTransformer(2, transform_max_iter=0), 0),
    ],
)
def test_how_many_steps_there_are(estimator, n_steps, open_gate):
    model = estimator.set_params(max_iter=1).fit(load_digits().images[:60])._fit.model
    assert isinstance(model, ProjectedNetwork if n_steps else TrainedNetwork)
    assert getattr(model, "n_steps", 0) == n_steps


def test_pca_is_left_alone(wine):
    X, new = wine
    model = AutoencoderTransformer(3, max_iter=0, transform_max_iter=50).fit(X)
    assert_allclose(model.transform(new), PCA(3).fit(X).transform(new))


def test_rounding_does_not_decide_what_is_beyond_the_range():
    digits = load_digits().data
    digits[:, 0] = 5.1  # of which float32 has another
    X, new = digits[:1300], digits[1300:]
    model = AutoencoderTransformer(8, random_state=0).fit(X)
    codes = model.transform(new)
    # There are rows at the edge: with a pixel of 6 where those of fit have 0 to 4.
    low, high = X.min(0), X.max(0)
    assert (new == high + (high - low) / 2)[:, 1:].any()
    single = new.astype(np.float32)
    for rows in (single, single.astype(np.float64)):
        found = model.transform(rows)
        assert_allclose(found, codes, atol=1e-5 * np.abs(codes).max())


def test_guesses_are_codes_of_all_batches(open_gate):
    X = load_digits().data
    model = AutoencoderTransformer(2, max_iter=1, random_state=0).fit(X[:200])
    before = model._fit.model.projection.guesses
    after = model.partial_fit(X[200:400])._fit.model.projection.guesses
    are_old = (after[:, None] == before).all(2).any(1)
    assert 50 < are_old.sum() < len(after) - 50
    assert len(after) <= 256
    model = AutoencoderTransformer(5, max_iter=1, random_state=0).fit(X[:200])
    assert not len(model.partial_fit(X[200:400])._fit.model.projection.guesses)


def test_guesses_are_from_all_over_the_rows():
    x = torch.linspace(-1, 1, 5000)[:, None].double()  # in order
    module = BaseModule(nn.Linear(1, 1), nn.Linear(1, 1)).double()
    guesses = Projection.of(module, x, None, 3).guesses
    with torch.no_grad():
        codes = module.encode(x)
    assert 200 <= len(guesses) <= 256
    assert np.ptp(guesses) > 0.98 * float(codes.max() - codes.min())


@pytest.mark.parametrize(("limit", "value"), [("MOST_ROWS", 10), ("MOST_NUMBERS", 130)])
@pytest.mark.parametrize("ordered", [False, True])
def test_rows_go_in_parts(wine, ordered, limit, value, monkeypatch):
    X, new = wine
    model = AutoencoderTransformer(3, ordered=ordered, random_state=0).fit(X)
    expected = model.transform(new)
    decode, sizes = BaseModule.decode, []

    def seen(self, z):
        sizes.append(len(z))
        return decode(self, z)

    monkeypatch.setattr(BaseModule, "decode", seen)
    monkeypatch.setattr(f"skae._projection.{limit}", value)
    assert_allclose(model.transform(new), expected, rtol=1e-8)
    assert max(sizes) <= 10 < len(new)  # 130 numbers are 10 rows, too


@pytest.mark.parametrize("setting", ["inference", "no_grad", "float64"])
def test_settings_of_a_script_do_not_matter(wine, setting):
    X, new = wine
    model = AutoencoderTransformer(2, random_state=0).fit(X)
    expected = model.transform(new)
    if setting == "float64":
        torch.set_default_dtype(torch.float64)
        try:
            found = model.transform(new)
        finally:
            torch.set_default_dtype(torch.float32)
    else:
        context = torch.inference_mode if setting == "inference" else torch.no_grad
        with context():
            found = AutoencoderTransformer(2, random_state=0).fit(X).transform(new)
    assert_allclose(found, expected, rtol=1e-12)
