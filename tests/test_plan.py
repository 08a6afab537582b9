"""What follows from the table where parameters are left to it."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder
from skae.architectures import Recurrent

CLASSES = (AutoencoderTransformer, DenoisingAutoencoder, VAE)


def curve(n, d=5):
    rng = np.random.RandomState(0)
    t = rng.uniform(-2, 2, n)
    columns = np.column_stack([t, t**2, np.sin(3 * t), t**3, np.cos(2 * t)])
    return columns[:, :d] + 0.1 * rng.randn(n, d)


def decays(model):
    return [group["weight_decay"] for group in model.net_.optimizer_.param_groups]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("k", [1, 3, 20])
def test_the_decay_follows_rows_columns_and_codes(cls, k):
    X = load_digits().data[:500]
    model = cls(k, max_iter=1, random_state=0).fit(X)
    expected = {
        AutoencoderTransformer: 0.3 * k * math.sqrt(64 / 500),
        DenoisingAutoencoder: 5 * 64 / 500,
        VAE: 0.02 * min(k, 16) ** 2 * math.sqrt(64 / 500),
    }
    assert decays(model)[-1] == pytest.approx(min(1, expected[cls]))


def test_steps_of_a_series_share_their_weights():
    X = load_digits().images[:100]  # as 8 steps of 8 columns
    model = AutoencoderTransformer(
        2, architecture=Recurrent(hidden_size=4), max_iter=1, random_state=0
    ).fit(X)
    assert decays(model) == [pytest.approx(0.6 * math.sqrt(8 / 100))]


def test_copies_do_not_count_as_rows():
    X = load_digits().data[:300]
    model = AutoencoderTransformer(2, max_iter=1, random_state=0)
    once = decays(model.fit(X))
    assert decays(model.fit(np.repeat(X, 5, axis=0))) == once


def test_the_noise_of_a_vae_is_not_decayed():
    X = curve(300)
    model = VAE(2, alpha=0.5, max_iter=2, random_state=0).fit(X)
    noise, others = model.net_.optimizer_.param_groups
    assert noise["params"] == [model.module_.log_variance_change]
    assert (noise["weight_decay"], others["weight_decay"]) == (0, 0.5)
    model.set_params(alpha=0.25, warm_start=True).fit(X)
    assert decays(model) == [0, 0.25]


@pytest.mark.parametrize(
    ("n", "k", "sizes", "epochs"),
    [
        (300, 1, (64, 32), 50),
        (300, 2, (64,), 50),
        (1200, 1, (256, 128, 64), 100),
        (1200, 2, (256, 128, 64), 100),
        (1200, 3, (256, 128), 50),
    ],
)
def test_few_codes_take_deeper_networks_and_more_epochs(n, k, sizes, epochs):
    model = AutoencoderTransformer(k, random_state=0).fit(curve(n))
    network = model.module_.encoder.network
    layers = [layer.out_features for layer in network if hasattr(layer, "weight")]
    assert layers == [*sizes, k]
    assert len(model.validation_scores_) == epochs + 1  # of the folds, or the split


def test_a_network_for_every_prefix_takes_more_epochs():
    model = AutoencoderTransformer(3, ordered=True, random_state=0).fit(curve(1200))
    assert model.n_iter_ == 100


def test_what_is_asked_for_is_done():
    asked = {"hidden_layer_sizes": (7,), "max_iter": 3, "alpha": 0.125}
    model = AutoencoderTransformer(1, random_state=0, **asked).fit(curve(1200))
    assert model.module_.encoder.network[0].out_features == 7
    assert (model.n_iter_, decays(model)) == (3, [0.125])


@pytest.mark.parametrize("n", [600, 3000])  # in folds, and by a split
def test_a_network_that_is_lost_is_not_trained_to_the_end(n):
    """On noise: a third of 50 epochs on, PCA is the best by far."""
    X = np.random.RandomState(0).randn(n, 20)
    model = AutoencoderTransformer(10, alpha=0.0, random_state=0).fit(X)
    assert (model.best_iter_, model.n_iter_) == (0, 17)
    assert len(model.validation_scores_) == 18
    assert max(model.validation_scores_) == model.validation_scores_[0]


def test_a_network_without_a_start_to_fall_back_on_is_never_lost():
    X = np.random.RandomState(0).randn(1500, 10)
    model = AutoencoderTransformer(5, init="random", random_state=0).fit(X)
    assert model.n_iter_ == 50
