"""The deep belief autoencoder: a stack of machines as hidden layers."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer, DeepBeliefAutoencoder
from skae._contrastive_divergence import ContrastiveDivergence
from skae._deep_belief import DeepBeliefModule
from skae.architectures import MLP, Convolutional

FAST = {"hidden_layer_sizes": (12, 6), "pretrain_max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:500]


def steps_taken(monkeypatch):
    """Return a list that gets an entry for each step of a machine."""
    taken, step = [], ContrastiveDivergence.step

    def noted(self, *args):
        taken.append(len(self.data))
        step(self, *args)

    monkeypatch.setattr(ContrastiveDivergence, "step", noted)
    return taken


def seeing(monkeypatch):
    """Return a list that gets the rows which each module has seen."""
    seen, see = [], DeepBeliefModule.see

    def noted(self, dataset, rows, may_see):
        seen.append(rows[may_see].tolist())
        see(self, dataset, rows, may_see)

    monkeypatch.setattr(DeepBeliefModule, "see", noted)
    return seen


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_without_epochs_it_is_pca_and_trains_no_machine(method, X, monkeypatch):
    taken = steps_taken(monkeypatch)
    model = getattr(DeepBeliefAutoencoder(5, max_iter=0, **FAST), method)(X)
    assert_allclose(model.transform(X), PCA(5).fit_transform(X), atol=1e-8)
    assert model.rbms_ == taken == []


def test_epoch_0_is_pca_with_the_machines_as_layers(X):
    model = DeepBeliefAutoencoder(5, max_iter=1, validation_fraction=0.2, **FAST)
    r2 = model.fit(X).validation_scores_[0]
    plain = AutoencoderTransformer(5, max_iter=1, validation_fraction=0.2)
    plain.set_params(hidden_layer_sizes=(12, 6), random_state=0).fit(X)
    assert r2 == pytest.approx(plain.validation_scores_[0], abs=1e-6)
    assert [rbm.components_.shape for rbm in model.rbms_] == [(12, 64), (6, 12)]
    assert [rbm.visible for rbm in model.rbms_] == ["gaussian", "bernoulli"]


def at_start(X, **changes):
    """Return an estimator whose module is where training would begin, and its rows."""
    model = DeepBeliefAutoencoder(
        5, max_iter=1, learning_rate_init=1e-12, **{**FAST, **changes}
    )
    model.fit(X, X_val=np.r_[X[:20] + 1e-3, X[:5]])
    rows = (X - X.mean(0)) / np.sqrt(X.var(0, ddof=1).mean())
    return model, torch.from_numpy(rows).float()


def test_layers_are_the_machines(X):
    """The encoder has the hidden units of the stack, and the decoder mirrors it."""
    model, x = at_start(X)
    encoder, decoder = model.module_.encoder.network, model.module_.decoder.network
    given = x.numpy()
    for i, rbm in enumerate(model.rbms_):
        given = rbm.transform(given)
        found = encoder[: 2 * i + 2](x).detach().numpy()
        assert_allclose(found, given, atol=1e-4)
    assert_allclose(decoder[2].weight.detach(), model.rbms_[1].components_.T, atol=1e-6)
    # The first layer of the decoder guesses them from PCA's codes.
    codes = model.module_.encoder.linear(x)
    guessed = torch.sigmoid(decoder[0](codes)).detach().numpy()
    assert np.corrcoef(guessed.ravel(), given.ravel())[0, 1] > 0.8


def test_the_unrolled_network_is_the_stack(X):
    """Up by all machines, down by all of them, with a code of normal units."""
    model, x = at_start(X, init="random", whiten=False)
    up = down = x.numpy()
    assert [rbm.hidden for rbm in model.rbms_] == ["bernoulli"] * 2 + ["gaussian"]
    for rbm in model.rbms_:
        up = rbm.transform(up)
    down = up
    for rbm in reversed(model.rbms_):
        down = rbm.inverse_transform(down)
    module = model.module_.eval()
    assert_allclose(module.encode(x).detach(), up, atol=1e-4)
    assert_allclose(module.decode(torch.from_numpy(up)).detach(), down, atol=1e-4)


def test_held_out_rows_have_no_hand_in_the_machines(X, monkeypatch):
    seen = seeing(monkeypatch)
    model = DeepBeliefAutoencoder(2, max_iter=1, **FAST)
    model.set_params(validation_fraction=0.2).fit(X)
    assert [len(rows) for rows in seen] == [400]
    seen.clear()
    model.set_params(validation_fraction="auto").fit(X[:100])
    left_out = [set(range(100)) - set(rows) for rows in seen[:5]]
    assert [len(rows) for rows in left_out] == [20] * 5
    assert not any(a & b for a, b in pairwise(left_out))
    assert set.union(*left_out) == set(range(100))


def test_a_weight_is_so_many_copies(X):
    model = DeepBeliefAutoencoder(2, max_iter=1, validation_fraction=0.2, **FAST)
    weight = np.arange(100) % 3 + 1
    copied = model.fit(X[:100].repeat(weight, 0)).rbms_[0].components_
    weighted = model.fit(X[:100], sample_weight=weight).rbms_[0].components_
    assert_allclose(weighted, copied, atol=1e-4)


def test_training_goes_on_from_trained_layers(X, monkeypatch):
    taken = steps_taken(monkeypatch)
    model = DeepBeliefAutoencoder(2, max_iter=1, warm_start=True, **FAST).fit(X)
    rbms, n_steps = model.rbms_, len(taken)
    assert n_steps > 0
    model.fit(X).partial_fit(X)
    assert len(taken) == n_steps
    assert_array_equal(model.rbms_[0].components_, rbms[0].components_)
    other = DeepBeliefAutoencoder(2, max_iter=1, warm_start=True, **FAST)
    other.partial_fit(X).fit(X)
    assert len(taken) == n_steps
    assert other.rbms_ == []


def test_a_copy_has_the_machines(X):
    model = DeepBeliefAutoencoder(2, max_iter=1, validation_fraction=0.2, **FAST).fit(X)
    other = pickle.loads(pickle.dumps(model))
    for a, b in zip(model.rbms_, other.rbms_, strict=True):
        assert_array_equal(a.components_, b.components_)
        assert a.log_partition_ == b.log_partition_


def test_pretraining_helps_logistic_layers():
    X = load_digits().data
    how = {"hidden_layer_sizes": (64, 32), "max_iter": 15, "random_state": 0}
    errors = []
    for n_passes in (5, 0):
        model = DeepBeliefAutoencoder(8, pretrain_max_iter=n_passes, **how)
        model.fit(X[:1300])
        errors.append(model.reconstruction_error(X[1300:]).mean())
    assert errors[0] < 0.95 * errors[1]


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_layer_sizes": ()},
        {"activation": "relu"},
        {"architecture": MLP((6,), "tanh", tied_weights=True)},
        {"architecture": MLP((6, 4), "logistic", code_activation="tanh")},
        {"ordered": True, "code_noise": 0.1, "persistent": False, "n_gibbs_steps": 2},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_other_layers_train_as_well(init, changes, X):
    model = DeepBeliefAutoencoder(2, init=init, max_iter=2, **{**FAST, **changes})
    model.set_params(validation_fraction=0.2).fit(X[:200])
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.loss_curve_).all()
    images = X[:60].reshape(-1, 8, 8)
    assert model.fit(images).inverse_transform(model.transform(images)).shape == (
        60,
        8,
        8,
    )


def test_a_linear_encoder_leaves_the_machines_to_the_decoder(X):
    model = DeepBeliefAutoencoder(2, linear_encoder=True, max_iter=2, **FAST)
    model.set_params(validation_fraction=0.2).fit(X)
    assert [rbm.components_.shape for rbm in model.rbms_] == [(12, 64), (6, 12)]
    expected = PCA(2).fit_transform(X)
    assert_allclose(model.transform(X), expected, atol=1e-6)


def test_machines_that_diverge_are_trained_at_a_smaller_rate(X, monkeypatch):
    monkeypatch.setattr("skae._deep_belief.SHARES_OF_RATE", (1e20, 1.0, 1e20))
    model = DeepBeliefAutoencoder(2, max_iter=1, validation_fraction=0.2, **FAST)
    rates = [rbm.learning_rate for rbm in model.fit(X).rbms_]
    assert rates[0] == 0.05


def test_machines_that_diverge_leave_the_layers(X):
    model = DeepBeliefAutoencoder(2, rbm_learning_rate=1e20, max_iter=2, **FAST)
    with pytest.warns(ConvergenceWarning, match="diverged in pass 1"):
        model.set_params(validation_fraction=0.2).fit(X)
    assert model.rbms_ == []
    assert np.isfinite(model.transform(X)).all()


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_networks_have_no_machines(method, X):
    model = DeepBeliefAutoencoder(2, architecture=Convolutional())
    with pytest.raises(ValueError, match=r"architecture=Convolutional\(\): the layers"):
        getattr(model, method)(X)


def test_images_and_series_are_rows(X):
    images = X[:100].reshape(-1, 8, 8)
    how = {"max_iter": 1, "validation_fraction": 0.2, **FAST}
    flat = DeepBeliefAutoencoder(2, **how).fit(X[:100])
    shaped = DeepBeliefAutoencoder(2, **how).fit(images)
    assert_allclose(shaped.transform(images), flat.transform(X[:100]), atol=1e-9)
