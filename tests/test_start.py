"""The start: its density, and the module that it is at first."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from torch import nn

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder
from skae._autoencoder import AutoencoderModule
from skae._module import LinearResidual, with_linear_paths
from skae._solvers import linear_start
from skae._start import Start
from skae._trained import GaussianCodes
from skae.architectures import Recurrent


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_the_likelihood_integrates_to_one(shift):
    """The density of one code and one residual column, summed over a fine grid."""
    X = np.random.RandomState(0).randn(50, 2) @ np.array([[2.0, 1.0], [0, 0.5]]) + shift
    start = linear_start(X, 1)
    axis = np.linspace(-15, 15, 601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) + shift
    density = np.exp(start.score_samples(grid))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_a_start_is_padded_with_empty_axes():
    X = load_wine().data
    start = linear_start(X, 3)
    padded = start.padded(5)
    assert padded.components.shape == (5, 13)
    assert_allclose(padded.transform(X)[:, :3], start.transform(X))
    assert (padded.transform(X)[:, 3:] == 0).all()
    assert isinstance(padded, Start)


# The codes of a trained network


def test_codes_of_batches_are_pooled():
    """As if each earlier row had the weight 0.9."""
    rng = np.random.RandomState(0)
    codes = rng.randn(3000, 2) @ np.array([[2.0, 1.0], [0, 1]]) + 3
    codes[2000:] += 5
    first, second = (GaussianCodes.of(c, None) for c in (codes[:2000], codes[2000:]))
    pooled, share = first.followed_by(second)
    weight = np.repeat([0.9, 1.0], [2000, 1000])
    assert share == pytest.approx(1000 / weight.sum())
    assert_allclose(pooled.mean, np.average(codes, 0, weight))
    expected = np.cov(codes.T, aweights=weight)
    assert_allclose(pooled.covariance, expected, rtol=2e-3)


def test_the_density_of_codes_knows_that_they_are_correlated():
    codes = np.random.RandomState(0).randn(50, 2) @ np.array([[2.0, 1.0], [0, 1]]) + 3
    fitted = GaussianCodes.of(codes, None)
    density = multivariate_normal(codes.mean(0), np.cov(codes.T))
    assert_allclose(fitted.log_density(codes), density.logpdf(codes))


# The module


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_the_module_starts_at_the_same_codes(estimator, channels):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 6, channels)).cumsum(1)
    for row in X[1:]:
        row[rng.randint(1, 7) :] = np.nan
    model = estimator(2, architecture=Recurrent(hidden_size=2), max_iter=0).fit(X)
    start, rows = model._fit.start, X.reshape(60, -1)
    known = ~np.isnan(rows)
    x = torch.from_numpy((start.filled(rows, known) - model.mean_) / start.scale)
    codes = model.module_.double().encode(x, torch.from_numpy(known)).detach().numpy()
    assert_allclose(codes * start.code_scale, model.transform(X), rtol=1e-5, atol=1e-5)


def test_a_module_is_set_to_pca_of_some_rows_in_the_units_of_others():
    """As the modules of the folds are."""
    X = load_wine().data
    units, some = linear_start(X, 2), X[::3] * 2 + 1
    start, pca = linear_start(some, 2), PCA(2).fit(some)
    module = AutoencoderModule(
        *with_linear_paths(
            nn.Linear(13, 2), nn.Linear(2, 13), 13, 2, 2, linear_encoder=False
        )
    ).double()
    start.apply(module, units)
    output = module(torch.from_numpy((X - units.mean) / units.scale))
    rebuilt, u = (part.detach().numpy() for part in output)
    codes = pca.transform(X)
    assert_allclose(u * start.code_scale, codes, atol=1e-8 * codes.max())
    rebuilt = rebuilt * units.scale + units.mean
    assert_allclose(rebuilt, pca.inverse_transform(codes), rtol=1e-8)


class Masked(nn.Module):
    """A network that reads what is known."""

    reads_known = True

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, x, known=None):
        return self.last(x if known is None else x * known)


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("network", [nn.Linear(3, 2), nn.Tanh(), Masked()])
def test_a_linear_residual_is_linear_at_first(network, gain):
    n_out = 3 if isinstance(network, nn.Tanh) else 2
    rng = np.random.RandomState(0)
    weight, bias = rng.standard_normal((n_out, 3)), rng.standard_normal(n_out)
    part = LinearResidual(network, 3, n_out, gain=gain).double()
    assert part.set_linear(weight, bias) is part
    x = rng.standard_normal((5, 3))
    ours = part(torch.from_numpy(x)).detach()
    assert_allclose(ours, x @ weight.T + bias)


def test_the_linear_map_is_not_trained():
    part = LinearResidual(nn.Linear(3, 2), 3, 2, gain=False)
    assert {name for name, _ in part.named_parameters()} == {
        "network.weight",
        "network.bias",
    }


def test_a_network_beside_the_linear_map_is_told_what_is_known():
    part = LinearResidual(Masked(), 3, 2, gain=True)
    with torch.no_grad():
        part.gain.fill_(1.0)
    x, known = torch.ones(1, 3), torch.tensor([[True, False, True]])
    torch.testing.assert_close(part(x, known), part.network.last(x * known))


@pytest.mark.parametrize("gain", [False, True])
def test_the_names_in_a_state_do_not_depend_on_the_linear_map(gain):
    part = LinearResidual(nn.Linear(3, 2), 3, 2, gain=gain)
    names = list(part.state_dict())
    assert {"weight", "bias"} <= set(names)
    for value in (1.0, 0.0):
        part.set_linear(np.full((2, 3), value), np.full(2, value))
        assert list(part.state_dict()) == names


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderTransformer(1),
        VAE(1),
        VAE(1, likelihood="bernoulli"),
        DenoisingAutoencoder(1),
    ],
    ids=["plain", "gaussian", "bernoulli", "denoising"],
)
def test_a_state_fits_the_module_of_any_other_table_of_its_width(model):
    model.set_params(hidden_layer_sizes=(3,), max_iter=1, random_state=0)
    rng = np.random.RandomState(0)
    tables = rng.uniform(size=(30, 4)), rng.randint(2, size=(50, 4)), np.ones((30, 4))
    states = [model.fit(X).module_.state_dict() for X in tables]
    shapes = [{name: v.shape for name, v in state.items()} for state in states]
    assert shapes[0] == shapes[1] == shapes[2]


def test_axes_lie_as_they_do_when_they_were_stored():
    """Products round by it, and codes are to be the same to the last bit."""
    X = np.random.RandomState(0).standard_normal((150, 21))
    axes = linear_start(X, 2, np.arange(1.0, 151)).components
    assert axes.strides == pickle.loads(pickle.dumps(axes)).strides
