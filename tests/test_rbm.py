"""The restricted Boltzmann machine: by enumeration, against closed forms, in use."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from estimators import MACHINES
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import skae._boltzmann
import skae._machine_gate
from skae import RBM
from skae._boltzmann import BoltzmannMachine
from skae._contrastive_divergence import ContrastiveDivergence, Steps

CPU = torch.device("cpu")
UNITS = [(v, h) for v in ("bernoulli", "gaussian") for h in ("bernoulli", "gaussian")]
SIZES = [(3, 2), (6, 4)]
KEPT = "ignore:RBM. the start is kept:sklearn.exceptions.ConvergenceWarning"


def machine_of(units, d, k, seed=0, size=None):
    """Return a machine of random weights, which has a density."""
    rng = np.random.RandomState(seed)
    size = size or (1.0 if units == ("bernoulli", "bernoulli") else 0.3)
    weight, b, c = size * rng.randn(d, k), rng.randn(d), 0.5 * rng.randn(k)
    noise = 1.3 if units[0] == "gaussian" else 1.0
    if units == ("gaussian", "gaussian"):
        weight *= 0.7 * noise**0.5 / np.linalg.norm(weight, 2)
    return BoltzmannMachine(weight, b, c, *units, noise=noise, base=0.3 * rng.randn(d))


def states(n):
    return np.array(list(product([0.0, 1.0], repeat=n)))


def quadrature(centre, n_points=30, spread=1.0):
    """Return points and weights that integrate over normal units around a centre."""
    x, w = np.polynomial.hermite_e.hermegauss(n_points)
    d = len(centre)
    points = np.array(list(product(x, repeat=d))) * spread + centre
    logs = np.array([np.log(p) for p in product(w, repeat=d)]).sum(1)
    squares = ((points - centre) / spread) ** 2
    return points, logs + 0.5 * squares.sum(1) + d * np.log(spread)


def energy(machine, V, H):
    """Return the energy as the first lines of the module define it, (n, m)."""
    b, c, s2 = machine.visible_bias, machine.hidden_bias, machine.noise
    if machine.visible == "bernoulli":
        A, r = -V @ b, V
    else:
        A, r = ((V - b) ** 2).sum(1) / (2 * s2), (V - b) / s2
    B = -H @ c if machine.hidden == "bernoulli" else ((H - c) ** 2).sum(1) / 2
    return A[:, None] + B - r @ machine.weight @ H.T


# The model, by enumeration


@pytest.mark.parametrize(("d", "k"), SIZES)
@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_the_free_energy_sums_the_hidden_units_out(units, d, k):
    machine = machine_of(units, d, k)
    V = np.random.RandomState(1).uniform(size=(5, d))
    if units[1] == "bernoulli":
        H, logs = states(k), 0.0
    else:
        H, logs = quadrature(np.zeros(k), 16 if k > 2 else 40)
    expected = -np.logaddexp.reduce(logs - energy(machine, V, H), axis=1)
    assert_allclose(machine.free_energy(V), expected, rtol=1e-6)


@pytest.mark.parametrize(("d", "k"), SIZES)
@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_the_partition_function_is_that_of_all_states(units, d, k):
    machine = machine_of(units, d, k)
    if units[0] == "bernoulli":
        expected = np.logaddexp.reduce(-machine.free_energy(states(d)))
    elif units[1] == "bernoulli":  # rows are a mixture of as many normals as states
        H = states(k)
        squares = ((H @ machine.weight.T) ** 2).sum(1) / (2 * machine.noise)
        expected = np.logaddexp.reduce(H @ machine.hidden_bias + squares)
        expected += 0.5 * d * np.log(2 * np.pi * machine.noise)
    else:  # the joint normal distribution of both sides
        s2, W = machine.noise, machine.weight
        precision = np.block([[np.eye(d) / s2, -W / s2], [-W.T / s2, np.eye(k)]])
        linear = np.r_[np.zeros(d), machine.hidden_bias]
        expected = 0.5 * (d + k) * np.log(2 * np.pi)
        expected += 0.5 * linear @ np.linalg.solve(precision, linear)
        expected -= 0.5 * np.linalg.slogdet(precision)[1]
        expected -= 0.5 * machine.hidden_bias @ machine.hidden_bias
    assert machine.exact_log_partition() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("units", UNITS[:3], ids="-".join)
def test_either_side_may_be_enumerated_in_pieces(units, monkeypatch):
    for d, k in ((3, 6), (6, 3)):
        if units == ("gaussian", "bernoulli") and k > d:
            continue
        machine = machine_of(units, d, k)
        expected = machine.exact_log_partition()
        monkeypatch.setattr(skae._boltzmann, "ENUMERATED_NUMBERS", 20)
        assert machine.exact_log_partition() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("d", "k"), SIZES)
@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_annealing_agrees_with_enumeration(units, d, k):
    machine = machine_of(units, d, k)
    found = machine.annealed(CPU, 200, 200)
    assert 0 < found.error < 0.1
    error = abs(found.value - machine.exact_log_partition())
    assert error < 4 * found.error
    assert machine.annealed(CPU, 200, 200) == found  # seeded


@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_without_weights_the_partition_function_is_a_product(units):
    machine = machine_of(units, 6, 4, size=1e-9)
    if units == ("gaussian", "gaussian"):
        machine = replace(machine, weight=1e-9 * machine.weight)
    zero = replace(machine, weight=np.zeros((6, 4)))
    expected = machine.exact_log_partition()
    assert zero.exact_log_partition() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_gibbs_sampling_draws_from_the_machine(units):
    """The mean of the derivative of the free energy is that of -log Z."""
    machine = machine_of(units, 3, 2)
    rng, step = np.random.RandomState(0), 1e-4
    V = np.tile(machine.visible_mean(np.zeros((1, 2))), (20_000, 1))
    for _ in range(40):
        V = machine.sampled(V, rng)
    for j, by in enumerate(step * np.eye(3)):
        above = replace(machine, visible_bias=machine.visible_bias + by)
        below = replace(machine, visible_bias=machine.visible_bias - by)
        slope = above.exact_log_partition() - below.exact_log_partition()
        energies = below.free_energy(V) - above.free_energy(V)
        error = energies.std() / 20_000**0.5
        assert energies.mean() == pytest.approx(slope, abs=4 * error + 1e-9), j


# The gradient


def trainer_of(machine, mean, scale, size, **how):
    settings = {"momentum": 1.0, "n_gibbs_steps": 1, "persistent": False}
    steps = Steps(size, **{**settings, **how})
    return ContrastiveDivergence(machine, mean, scale, steps, CPU, 0)


def exact_gradient(trainer, x):
    """Return the gradient of the mean log-likelihood of rows, by finite differences.

    It is that by the weights (the hidden biases of centred rows being their last row),
    by the visible biases, and by the logarithm of the noise.
    """
    V = trainer.mean + trainer.scale * x.double().numpy()
    for name in ("parameters", "visible_bias"):
        setattr(trainer, name, getattr(trainer, name).double())
    trainer._set_views()

    def likelihood():
        machine = trainer.trained()
        return -machine.free_energy(V).mean() - machine.exact_log_partition()

    def slope(values, i, step=1e-4):
        before, found = float(values[i]), []
        for moved in (before + step, before - step):
            values[i] = moved
            trainer.noise = float(np.exp(log_noise[0]))
            found.append(likelihood())
        values[i] = before
        return (found[0] - found[1]) / (2 * step)

    log_noise = np.log([trainer.noise])
    tensors = trainer.parameters, trainer.visible_bias, log_noise
    return [
        np.array([slope(t, i) for i in np.ndindex(*t.shape)]).reshape(t.shape)
        for t in tensors
    ]


@pytest.mark.parametrize(("d", "k"), SIZES)
@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_contrastive_divergence_tends_to_the_exact_gradient(units, d, k):
    """One step is off, and more steps are less so."""
    machine = machine_of(units, d, k, size=0.8 if units[0] == units[1] else 0.5)
    rng = np.random.RandomState(0)
    V = rng.randn(12, d) + 1
    if units[0] == "bernoulli":
        V = (rng.uniform(size=(12, d)) < 0.7).astype(float)
    mean, scale = V.mean(0), 1.0 if units[0] == "bernoulli" else 1.7
    x, copies = torch.tensor((V - mean) / scale, dtype=torch.float32), 2000
    by_weight, by_bias, by_noise = exact_gradient(
        trainer_of(machine, mean, scale, 12), x
    )
    found = {}
    for n_steps in (1, 30):
        trainer = trainer_of(machine, mean, scale, 12 * copies, n_gibbs_steps=n_steps)
        trainer.collect(x.repeat(copies, 1), None, 1.0)
        offset, noise = trainer.offset.double().numpy(), trainer.noise
        # Weights have statistics of hidden units less their offset, and visible biases
        # move with what that makes of the weights.
        of_weight = by_weight.copy()
        of_weight[:-1] -= np.outer(by_bias, offset)
        of_bias = by_bias - of_weight[:-1] @ offset
        # Gradients by normal visible units are multiplied by the noise.
        velocity = trainer.velocity.double().numpy()
        velocity[:-1] /= noise
        bias = trainer.visible_velocity[:-1].double().numpy() / noise
        errors = [np.abs(velocity - of_weight).max(), np.abs(bias - of_bias).max()]
        if units[0] == "gaussian":
            errors.append(abs(trainer.noise_velocity - by_noise[0] * 2 / d))
        found[n_steps] = max(errors)
    assert found[30] < 0.07  # of 24,000 chains
    if d == 6:  # where one step does not do
        assert found[30] < 0.6 * found[1]


def test_chains_that_go_on_tend_to_it_too():
    machine = machine_of(("bernoulli", "bernoulli"), 6, 4)
    x = torch.tensor(states(6)[::9], dtype=torch.float32)  # (8, 6)
    expected = exact_gradient(trainer_of(machine, np.zeros(6), 1.0, 8), x)[0][-1]
    trainer = trainer_of(machine, np.zeros(6), 1.0, 8000, persistent=True)
    x = x.repeat(1000, 1)
    for _ in range(30):
        trainer.velocity.zero_()
        trainer.collect(x, None, 1.0)
    assert_allclose(trainer.velocity[-1], expected, atol=0.05)


def test_machines_of_normal_units_keep_a_density():
    """Steps that are much too large leave |W|^2 below s2."""
    X = np.random.RandomState(0).randn(200, 4)
    model = RBM(3, visible="gaussian", hidden="gaussian", learning_rate=0.5)
    model.set_params(random_state=0, batch_size=20).partial_fit(X)
    norm = np.linalg.norm(model.components_, 2) ** 2
    assert norm < model.noise_variance_
    assert np.isfinite(model.score_samples(X)).all()


# The start


@pytest.mark.parametrize("k", [1, 3, 8, 12])
@pytest.mark.parametrize("max_iter", [0, 3])
def test_normal_units_on_both_sides_are_probabilistic_pca(k, max_iter):
    rng = np.random.RandomState(0)
    X = rng.randn(100, 3) @ rng.randn(3, 8) * 50 + rng.randn(100, 8) + 1000
    model = RBM(k, visible="gaussian", hidden="gaussian", max_iter=max_iter).fit(X)
    if k < 8:
        pca = PCA(k).fit(X)
        assert model.noise_variance_ == pytest.approx(pca.noise_variance_)
    else:
        pca = PCA(7).fit(X)  # whose noise is the last variance: all of it, too
    expected = pca.score_samples(X)
    assert_allclose(model.score_samples(X), expected, rtol=0, atol=1e-6)
    assert model.log_partition_error_ == 0
    assert model.components_.shape == (k, 8)


def test_its_density_integrates_to_one():
    X = np.random.RandomState(0).randn(50, 2) @ [[2.0, 1.0], [0.0, 0.5]] + 3
    model = RBM(1, visible="gaussian", hidden="gaussian").fit(X)
    points, logs = quadrature(X.mean(0), 60, spread=3.0)
    total = np.logaddexp.reduce(logs + model.score_samples(points))
    assert total == pytest.approx(0, abs=1e-4)


def test_bernoulli_rows_start_at_independent_columns():
    X = (np.random.RandomState(0).uniform(size=(100, 5)) < 0.3).astype(float)
    X[:, 0], X[:, 1] = 0, 1
    for hidden in ("bernoulli", "gaussian"):
        model = RBM(3, hidden=hidden, max_iter=0).fit(X)
        p = (X.sum(0) + 0.5) / 101
        expected = (X * np.log(p) + (1 - X) * np.log1p(-p)).sum(1)
        assert_allclose(model.score_samples(X), expected)
        assert not model.is_trained_


# Learning


@pytest.fixture(scope="module")
def images():
    X = load_digits().data / 16
    return X[:700], X[700:1000]


SETTINGS = {
    "bernoulli": {"batch_size": 20},
    "gaussian rows": {"visible": "gaussian", "learning_rate": 0.02},
    "gaussian codes": {"hidden": "gaussian", "learning_rate": 0.01},
    "CD-3": {"n_gibbs_steps": 3, "persistent": False},
}


@pytest.mark.parametrize("row", SETTINGS)
def test_training_makes_other_rows_likelier(row, images):
    X, X_test = images
    model = RBM(12, max_iter=8, random_state=0, **SETTINGS[row])
    start = clone(model).set_params(max_iter=0).fit(X)
    model.fit(X)
    assert model.is_trained_
    assert model.score(X_test) > start.score(X_test) + 0.2
    if model.visible == "gaussian":
        assert model.noise_variance_ < 0.8 * start.noise_variance_
    again = clone(model).fit(X)
    assert_array_equal(again.components_, model.components_)
    other = clone(model).set_params(random_state=1).fit(X)
    assert np.abs(other.components_ - model.components_).max() > 0.01


def test_it_is_likelier_than_that_of_scikit_learn():
    X = load_digits().data / 16
    X = X[:600]
    how = {"learning_rate": 0.06, "random_state": 0}
    theirs = BernoulliRBM(12, n_iter=5, **how).fit(X)
    machine = BoltzmannMachine(
        theirs.components_.T, theirs.intercept_visible_, theirs.intercept_hidden_
    )
    exact = machine.exact_log_partition()
    score = -machine.free_energy(X).mean() - exact
    assert RBM(12, max_iter=5, **how).fit(X).score(X) > score


def test_the_start_stays_where_held_out_rows_are_not_likelier():
    X = (np.random.RandomState(0).uniform(size=(30, 6)) < 0.5).astype(float)
    how = {"learning_rate": 2.0, "max_iter": 30, "random_state": 0}
    model = RBM(8, validation_fraction="auto", **how)
    with pytest.warns(ConvergenceWarning, match="features are the same for every row"):
        model.fit(X)
    assert not model.is_trained_
    assert not model.components_.any()
    model.set_params(validation_fraction=None).fit(X)  # nothing is asked
    assert model.is_trained_


@pytest.mark.parametrize("units", UNITS[1:3], ids="-".join)
def test_what_diverges_leaves_the_start(units):
    X = load_iris().data
    X = MinMaxScaler((0, 1)).fit_transform(X).clip(0, 1)
    visible, hidden = units
    model = RBM(4, visible=visible, hidden=hidden, learning_rate=1e20, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"diverged in pass 1.*1e\+20"):
        model.fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    model.set_params(learning_rate=0.01).partial_fit(X)
    before = model.components_
    with pytest.raises(ValueError, match=r"learning_rate=1e\+20: training has diverg"):
        model.set_params(learning_rate=1e20).partial_fit(X)
    assert model.components_ is before


def test_gaussian_rows_that_are_lost_leave_the_start():
    """Finite, but its reconstructions are many times the rows."""
    X = (np.random.RandomState(0).uniform(size=(200, 6)) < 0.4).astype(float)
    model = RBM(5, visible="gaussian", learning_rate=3.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="further from their own recons"):
        model.fit(X)
    assert not model.is_trained_
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("seed", [0, 4, 6])
@pytest.mark.filterwarnings("ignore:RBM. the start is kept, because held-out rows")
def test_rows_that_are_there_again_and_again_are_no_less_likely(seed):
    """Half of all rows are one, which most held-out ones are not."""
    rng = np.random.RandomState(seed)
    X, new = (1.0 * (rng.uniform(size=(n, 20)) < 0.03) for n in (1200, 4000))
    how = {"n_components": 8, "visible": "gaussian", "random_state": seed}
    trained = RBM(validation_fraction="auto", **how).fit(X)
    assert trained.score(new) >= RBM(max_iter=0, **how).fit(X).score(new)


def coins(n, seed):
    """Return rows of ten columns that are one coin, but for one cell in twenty."""
    rng = np.random.RandomState(seed)
    coin = rng.uniform(size=(n, 1)) < 0.5
    return 1.0 * (coin ^ (rng.uniform(size=(n, 10)) < 0.05))


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_are_common_are_not_held_out(seed):
    """Of those left, most are as likely at the start: 2 of 10 cells are odd in them."""
    X, new = coins(1000, seed), coins(2000, 100 + seed)
    how = {"n_components": 8, "random_state": seed}
    before = RBM(max_iter=0, **how).fit(X).score(new)
    assert RBM(validation_fraction="auto", **how).fit(X).score(new) > before + 1


def test_too_few_rows_say_nothing():
    X = (np.random.RandomState(0).uniform(size=(8, 4)) < 0.5).astype(float)
    with pytest.warns(ConvergenceWarning, match="fewer than 5 held-out rows"):
        RBM(2, validation_fraction="auto", random_state=0).fit(X)


def test_a_long_way_to_a_clear_lead_is_taken(monkeypatch, images):
    """Where short chains do not tell, long ones are asked."""
    asked = []
    annealed = BoltzmannMachine.annealed

    def noted(self, device, n_chains, n_temperatures):
        asked.append(n_chains)
        return annealed(self, device, n_chains, n_temperatures)

    monkeypatch.setattr(BoltzmannMachine, "annealed", noted)
    monkeypatch.setattr(skae._machine_gate, "CLEAR_LEAD", 1e9)
    model = RBM(25, max_iter=4, validation_fraction="auto", random_state=0)
    model.fit(images[0])
    assert asked == [skae._machine_gate.QUICK_CHAINS, skae._boltzmann.N_CHAINS]
    assert model.log_partition_error_ > 0
    assert len(asked) == 3  # when it was asked for
    assert model.log_partition_ == model.log_partition_
    other = pickle.loads(pickle.dumps(model))
    assert other.log_partition_ == model.log_partition_
    assert len(asked) == 3


def test_a_machine_of_another_computer_has_its_likelihood_here(images):
    model = RBM(4, max_iter=1, random_state=0).fit(images[0][:100])
    expected = model.score_samples(images[0][:5])
    model.fit(images[0][:100]).set_params(device="cuda:99")  # as in a file of it
    assert_array_equal(model.score_samples(images[0][:5]), expected)


def test_hidden_units_may_be_a_tensor(images):
    model = RBM(4, max_iter=1, random_state=0).fit(images[0][:100])
    H = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    expected = model.inverse_transform(H.numpy())
    found = model.inverse_transform(H.requires_grad_())
    assert_allclose(found, expected, rtol=1e-6)


# Batches


def test_batches_go_on_from_one_another(images):
    X, X_test = images
    model = RBM(12, random_state=0)
    scores = []
    for _ in range(6):
        scores.append(model.partial_fit(X).score(X_test))
    assert scores[-1] > scores[0] + 0.1
    assert model.n_iter_ == 6
    one = RBM(12, random_state=0).partial_fit(X)
    other = pickle.loads(pickle.dumps(one))
    assert_array_equal(one.partial_fit(X).components_, other.partial_fit(X).components_)
    before = model.components_
    model.fit(X)
    assert model.n_iter_ == 10
    model.partial_fit(X[:5], sample_weight=[1, 2, 1, 0, 1]).partial_fit(X[:300])
    assert np.abs(model.components_ - before).max() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_components", 3), ("visible", "gaussian"), ("hidden", "gaussian")],
)
def test_batches_do_not_go_on_with_other_units(name, value, images):
    model = RBM(2, random_state=0).partial_fit(images[0])
    with pytest.raises(ValueError, match=f"{name}={value!r}, but training goes on"):
        model.set_params(**{name: value}).partial_fit(images[0])


# Weights and copies


@pytest.mark.parametrize("units", UNITS, ids="-".join)
@pytest.mark.filterwarnings(KEPT)
def test_a_weight_is_so_many_copies(units):
    rng = np.random.RandomState(0)
    X = rng.uniform(size=(40, 5)).round(1)
    weight = rng.randint(0, 4, 40)
    model = RBM(3, visible=units[0], hidden=units[1], max_iter=3, random_state=0)
    model.set_params(learning_rate=0.01, validation_fraction=None)
    weighted = clone(model).fit(X, sample_weight=weight)
    order = rng.permutation(weight.sum())
    copied = clone(model).fit(X.repeat(weight, 0)[order])
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        a, b = getattr(weighted, name), getattr(copied, name)
        if name == "components_" and units == ("gaussian", "gaussian"):
            a, b = np.abs(a), np.abs(b)
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert weighted.score(X, sample_weight=weight) == pytest.approx(
        copied.score(X.repeat(weight, 0)), abs=1e-4
    )


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_trained_on_as_often_as_they_are_there(seed, monkeypatch):
    """Or a table of few patterns would hardly be trained on."""
    X, new = coins(500, seed), coins(2000, 100 + seed)
    before = RBM(8, max_iter=0).fit(X).score(new)
    assert RBM(8, random_state=seed).fit(X).score(new) > before + 1  # nats
    assert len(steps_of(monkeypatch, X, None)) == 50


@pytest.mark.parametrize("factor", [1, 100, 1e6])
def test_weights_take_at_most_ten_steps_for_each_row(factor, monkeypatch):
    rng = np.random.RandomState(0)
    X, weight = rng.uniform(size=(1200, 3)), rng.randint(1, 3, 1200)
    weights = steps_of(monkeypatch, X, factor * weight)
    n_copies = weight.sum() if factor == 1 else 10 * 1200
    assert n_copies / 10 <= len(weights) <= (n_copies + 1200) / 10
    means = [1.0 if w is None else float(w.mean()) for w in weights]
    assert np.mean(means) == pytest.approx(1, abs=0.05)


def steps_of(monkeypatch, X, weight):
    """Return the weights of each batch of a pass."""
    steps = []
    with monkeypatch.context() as patched:
        patched.setattr(ContrastiveDivergence, "step", lambda *of: steps.append(of[2]))
        RBM(2, max_iter=1, random_state=0).fit(X, sample_weight=weight)
    return steps


# Bad and odd input


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_values_that_are_no_probabilities_are_named(method):
    X = pd.DataFrame(load_iris().data[:, :2] / 8, columns=["sepal", "petal"])
    X.loc[3, "petal"] = 1.5
    X.loc[5, "petal"] = -0.5
    message = (
        r"Column 'petal' of X contains 1.5 \(row 3\) and goes from -0.5 to 1.5: "
        r'visible="bernoulli" takes values from 0 to 1. sklearn.preprocessing.MinMaxSca'
    )
    with pytest.raises(ValueError, match=message):
        getattr(RBM(2), method)(X)
    model = RBM(2, max_iter=0).fit(X.clip(0, 1))
    for name in ("transform", "score_samples", "gibbs", "free_energy"):
        with pytest.raises(ValueError, match=message):
            getattr(model, name)(X)
    assert np.isfinite(RBM(2, visible="gaussian", max_iter=0).fit(X).score(X))


def test_a_failed_fit_leaves_the_earlier_one_unharmed(images, monkeypatch):
    X = images[0][:100]
    model = RBM(3, max_iter=2, random_state=0).fit(X)
    before = dict(vars(model))
    for bad in (X + 1, X[:1], np.full((5, 5), np.nan), "word"):
        with pytest.raises(ValueError, match=r"."):
            model.fit(bad)
        assert vars(model) == before

    def killed(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ContrastiveDivergence, "step", killed)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(KeyboardInterrupt):
            method(X)
        assert vars(model) == before


@pytest.mark.parametrize("units", UNITS, ids="-".join)
@pytest.mark.filterwarnings(KEPT)
def test_odd_tables_give_finite_numbers(units):
    rng = np.random.RandomState(0)
    X = rng.uniform(size=(30, 4))
    cases = {
        "constant": np.full((30, 4), 0.5),
        "zeros": np.zeros((30, 4)),
        "ones": np.ones((30, 4)),
        "binary": (X < 0.5).astype(int),
        "a constant column": X * [1, 0, 1, 1],
        "copies": X[rng.randint(2, size=30)],
        "float32": X.astype(np.float32),
        "one column": X[:, :1],
        "few rows": X[:2],
        "wide": rng.uniform(size=(12, 40)),
    }
    if units[0] == "gaussian":
        cases["large"], cases["small"] = 1e12 * X + 1e14, 1e-12 * X
        cases["far"] = X + 1e6
    for seed, (name, rows) in enumerate(cases.items()):
        model = RBM(3, visible=units[0], hidden=units[1], max_iter=2, random_state=seed)
        model.fit(rows)
        for values in (
            model.transform(rows),
            model.score_samples(rows),
            model.gibbs(rows, random_state=0),
            model.inverse_transform(model.transform(rows)),
            model.sample(2, n_gibbs_steps=3, random_state=0),
            model.partial_fit(rows).components_,
        ):
            assert np.isfinite(values).all(), name


@pytest.mark.parametrize("units", UNITS, ids="-".join)
def test_units_of_rows_do_not_matter(units):
    """Normal rows may be moved and scaled: powers of 2 do not even round."""
    X = np.random.RandomState(0).uniform(size=(60, 4))
    model = RBM(3, visible="gaussian", hidden=units[1], max_iter=3, random_state=0)
    model.set_params(validation_fraction=None).fit(X)
    other = clone(model).fit(1024 * X)
    shift = 4 * np.log(1024)
    assert_allclose(other.score_samples(1024 * X), model.score_samples(X) - shift)
    assert_allclose(other.transform(1024 * X), model.transform(X), atol=1e-9)


def test_sparse_rows_are_as_good_as_dense_ones(images):
    X = images[0]
    model = RBM(5, max_iter=2, random_state=0)
    dense, sparse = clone(model).fit(X), clone(model).fit(sp.csr_array(X))
    assert_allclose(sparse.components_, dense.components_, atol=1e-5)
    assert_allclose(sparse.transform(sp.csr_array(X)), sparse.transform(X), atol=1e-9)


# What a fitted machine does


def test_its_attributes_are_those_of_scikit_learn(images):
    X = images[0]
    how = {"n_components": 7, "random_state": 0}
    ours, theirs = RBM(max_iter=1, **how).fit(X), BernoulliRBM(n_iter=1, **how).fit(X)
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    theirs.components_, theirs.intercept_hidden_ = (
        ours.components_,
        ours.intercept_hidden_,
    )
    assert_allclose(ours.transform(X), theirs.transform(X))
    theirs.intercept_visible_ = ours.intercept_visible_
    assert_allclose(ours.free_energy(X), theirs._free_energy(X))
    assert ours.get_feature_names_out()[6] == "rbm6"
    assert ours.gibbs(X, random_state=0).shape == X.shape
    assert set(np.unique(ours.gibbs(X, random_state=0))) <= {0, 1}
    single = ours.transform(X.astype(np.float32))
    assert single.dtype == np.float32
    assert_allclose(single, ours.transform(X), atol=1e-5)
    frame = ours.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == [f"rbm{i}" for i in range(7)]


def test_draws_are_those_of_the_machine():
    """Exact for normal units: the chain forgets where it began."""
    rng = np.random.RandomState(0)
    X = rng.randn(300, 2) @ rng.randn(2, 3) + rng.randn(300, 3) + 5
    model = RBM(2, visible="gaussian", hidden="gaussian").fit(X)
    rows = model.sample(4000, n_gibbs_steps=100, random_state=0)
    assert_allclose(rows.mean(0), X.mean(0), atol=0.3)
    assert_array_equal(rows, model.sample(4000, n_gibbs_steps=100, random_state=0))
    expected = PCA(2).fit(X).get_covariance()
    assert_allclose(np.cov(rows.T), expected, atol=0.7)
    # Means given the hidden units vary less than rows, by the noise.
    how = {"n_gibbs_steps": 100, "add_noise": False, "random_state": 0}
    covariance = np.cov(model.sample(4000, **how).T)
    covariance += model.noise_variance_ * np.eye(3)
    assert_allclose(covariance, expected, atol=0.7)


def test_draws_of_bernoulli_units_are_0_and_1(images):
    rows = RBM(4, random_state=0).fit(images[0]).sample(5, random_state=0)
    assert set(np.unique(rows)) == {0, 1}


def test_batches_of_gaussian_units_are_followed_by_pca():
    X, k = load_iris().data, 2
    both = {"visible": "gaussian", "hidden": "gaussian"}
    model, pca = RBM(k, **both), IncrementalPCA(k)
    for part in range(3):
        model.partial_fit(X[part::3])
        pca.partial_fit(X[part::3])
    expected = PCA(k).fit(X).score(X)
    assert model.score(X) > expected - 0.05
    assert_allclose(model.intercept_visible_, pca.mean_)
    whole = RBM(k, **both).fit(X)
    before = whole.score_samples(X)
    assert_array_equal(whole.partial_fit(X[:20]).score_samples(X), before)
    assert RBM(9, **both).partial_fit(X[:30]).components_.shape == (9, 4)


def test_rounding_leaves_no_range():
    X = load_breast_cancer().data
    scaled = MinMaxScaler().fit_transform(X)
    assert scaled.max() > 1
    assert RBM(2, max_iter=1, random_state=0).fit(scaled).is_trained_
    message = r"Column 0 .* goes from .*MinMaxScaler\(clip=True\)"
    with pytest.raises(ValueError, match=message):
        RBM(2).fit(X)


def test_it_is_a_step_of_a_pipeline():
    X, y = load_digits(return_X_y=True)
    X, y = X[:400], y[:400]
    model = make_pipeline(
        MinMaxScaler(),
        RBM(40, max_iter=10, random_state=0),
        LogisticRegression(max_iter=1000),
    )
    assert model.fit(X, y).score(X, y) > 0.9


def test_unfitted_use_is_an_error(images):
    for name in ("transform", "score_samples", "gibbs", "free_energy", "score"):
        with pytest.raises(NotFittedError):
            getattr(RBM(), name)(images[0])
    with pytest.raises(NotFittedError):
        RBM().sample()
    assert not hasattr(RBM(), "log_partition_")


def test_wrong_codes_and_counts_are_named(images):
    model = RBM(3, max_iter=0).fit(images[0])
    with pytest.raises(ValueError, match="2 columns, but this RBM has 3 hidden units"):
        model.inverse_transform(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="n_samples == 0"):
        model.sample(0)
    with pytest.raises(TypeError, match="n_gibbs_steps"):
        model.sample(n_gibbs_steps=1.5)


def test_torch_is_left_alone(images):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    np.random.seed(0)  # noqa: NPY002
    first = RBM(3, max_iter=1).fit(images[0]).components_
    np.random.seed(0)  # noqa: NPY002
    assert_array_equal(RBM(3, max_iter=1).fit(images[0]).components_, first)
    assert torch.equal(torch.get_rng_state(), before)


def test_passes_are_told(images, capsys):
    how = {"max_iter": 2, "verbose": True, "random_state": 0}
    RBM(3, validation_fraction="auto", **how).fit(images[0])
    out = capsys.readouterr().out
    assert "RBM: pass 2 of 2" in out
    assert "nats per held-out row" in out


# scikit-learn's checks, which take rows of any values


def checks():
    for name, model in MACHINES.items():
        for given, check in estimator_checks_generator(model):
            what = check.func.__name__
            yield pytest.param(given, check, id=f"{name}-{what}")


@pytest.mark.parametrize(("estimator", "check"), [*checks()])
@pytest.mark.filterwarnings(KEPT)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_single_precision_holds_means_of_hidden_units_in_large_units():
    X = np.random.RandomState(0).standard_normal((50, 3))
    X[0, 0] = 1e29  # so that the variance of the noise is beyond float32
    machine = RBM(2, visible="gaussian", max_iter=1, random_state=0).fit(X)
    codes = machine.transform(X)
    assert_allclose(machine.transform(X.astype(np.float32)), codes, atol=1e-5)
    assert np.ptp(codes) > 0


def test_the_likelihood_of_large_numbers_is_finite():
    rng = np.random.RandomState(0)
    weight, biases = 0.3 * rng.standard_normal((4, 15)), rng.standard_normal(19)
    small = BoltzmannMachine(weight, biases[:4], biases[4:], "gaussian", noise=0.5)
    unit = 1e21  # whose square is beyond float32
    large = replace(
        small, weight=unit * weight, visible_bias=unit * biases[:4], noise=0.5 * unit**2
    )
    cpu = torch.device("cpu")
    expected = small.exact_log_partition()
    found = large.annealed(cpu, 200, 500)
    assert expected + 4 * np.log(unit) == pytest.approx(found.value, abs=0.1)


def test_images_come_back_as_images():
    X = load_digits().images[:150] / 16
    model = RBM(4, max_iter=1, random_state=0).fit(X)
    flat = clone(model).fit(X.reshape(150, 64))
    rows = model.inverse_transform(model.transform(X))
    assert rows.shape == X.shape
    expected = flat.inverse_transform(flat.transform(X.reshape(150, 64)))
    assert_array_equal(rows.reshape(150, 64), expected)
    assert model.gibbs(X, random_state=0).shape == X.shape
    assert model.sample(3, n_gibbs_steps=2).shape == (3, 8, 8)
