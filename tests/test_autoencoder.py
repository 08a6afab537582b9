"""AutoencoderTransformer: what is its own, and training that goes on."""

import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from estimators import CLASSES
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler
from torch import nn

import skae
from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder
from skae._autoencoder import AutoencoderModule
from skae._base import BaseAutoencoder
from skae._module import MARGINS
from skae.architectures import MLP, Modules

README = Path(skae.__file__).parents[1] / "README.md"


@pytest.fixture
def X():
    return load_iris().data


@pytest.fixture
def curve():
    t = np.random.RandomState(0).uniform(-3, 3, 600)
    X = np.column_stack([t, t**2, np.sin(2 * t), np.cos(t)])
    return X + 0.02 * np.random.RandomState(1).randn(600, 4)


def new(n_components=2, **changes):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    return AutoencoderTransformer(n_components, **{**settings, **changes})


# The face


def test_the_first_parameter_is_n_components_and_the_others_have_names():
    assert AutoencoderTransformer(3).n_components == 3
    with pytest.raises(TypeError):
        AutoencoderTransformer(3, (5,))


def test_the_estimator_is_not_a_net_and_holds_one(X):
    model = new().fit(X)
    assert isinstance(model, BaseAutoencoder)
    assert not isinstance(model, torch.nn.Module)
    assert isinstance(model.module_, AutoencoderModule)


def test_every_public_name_is_documented():
    for name in skae.__all__:
        public = getattr(skae, name)
        parameters = (
            public._get_param_names()
            if isinstance(public, type)
            else inspect.signature(public).parameters
        )
        said = inspect.getdoc(public)
        for parameter in parameters:
            assert re.search(rf"^{parameter} : ", said, re.M), parameter


def test_fitted_attributes_are_documented(X):
    model = new().fit(X)
    fitted = [a for a in vars(model) if a.endswith("_") and not a.startswith("_")]
    said = inspect.getdoc(type(model))
    for name in fitted:
        assert re.search(rf"^.*\b{name}\b.* : ", said, re.M), name


@pytest.mark.parametrize("k", [None, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("max_iter", [0, 1])
def test_n_components_is_chosen_as_pca_chooses_it(k, max_iter, X):
    model, pca = new(k, max_iter=max_iter).fit(X), PCA(k).fit(X)
    assert model.n_components_ == pca.n_components_
    assert model.transform(X).shape[1] == pca.n_components_


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_without_training_real_tables_equal_pca(load, k, whiten):
    X = load().data
    model, pca = new(k, max_iter=0, whiten=whiten).fit(X), PCA(k, whiten=whiten).fit(X)
    plain = PCA(k).fit(X)  # PCA's likelihood under whiten=True is that of no density
    codes = pca.transform(X)
    atol = 1e-6 * np.abs(codes).max()
    assert_allclose(model.transform(X), codes, rtol=1e-6, atol=atol)
    assert_allclose(
        model.inverse_transform(codes), pca.inverse_transform(codes), rtol=1e-6
    )
    assert_allclose(model.score_samples(X), plain.score_samples(X), rtol=1e-6)
    assert_allclose(model.score(X), plain.score(X), rtol=1e-6)
    ratio = pca.explained_variance_ratio_
    assert_allclose(model.explained_variance_ratio_, ratio, rtol=1e-6)
    assert model.n_iter_ == 0 or model.n_iter_ == len(model.loss_curve_)


@pytest.mark.parametrize("max_iter", [0, 1])
def test_a_row_may_have_so_many_copies_that_few_are_distinct(max_iter):
    X = np.repeat(load_wine().data[:2], 10, axis=0)
    model, pca = new(3, max_iter=max_iter).fit(X), PCA(3).fit(X)
    expected = pca.explained_variance_
    assert_allclose(model.explained_variance_, expected, atol=1e-9 * expected[0])
    codes = pca.transform(X)
    assert_allclose(np.abs(model.transform(X)), np.abs(codes), atol=1e-9 * codes.max())


def test_a_random_start_has_no_linear_path(X):
    module = new(init="random").fit(X).module_
    assert [name for name, _ in module.named_buffers()] == []
    assert isinstance(module.encoder, torch.nn.Sequential)


def test_a_trained_code_stays_in_the_units_of_pca(curve):
    model = new(1, hidden_layer_sizes=(32,), max_iter=40).fit(curve)
    assert model.best_iter_ > 0
    codes, expected = model.transform(curve), PCA(1).fit_transform(curve)
    assert np.corrcoef(codes[:, 0], expected[:, 0])[0, 1] > 0.5
    assert 0.3 < codes.std() / expected.std() < 3


def test_the_likelihood_of_a_trained_network_is_better_where_it_is_better(curve):
    model = new(1, hidden_layer_sizes=(32,), max_iter=40).fit(curve[:400])
    assert model.best_iter_ > 0
    assert model.score(curve[400:]) > PCA(1).fit(curve[:400]).score(curve[400:])


def test_the_noise_variance_is_that_of_rows_held_out():
    """An overfitted network must not look sure of itself."""
    X = np.random.RandomState(0).randn(60, 12)
    model = new(
        2,
        init="random",
        hidden_layer_sizes=(128,),
        max_iter=200,
        validation_fraction=0.3,
    ).fit(X)
    fresh = np.random.RandomState(1).randn(500, 12)
    error = model.reconstruction_error(fresh).sum() / 500 * 12 / 10
    assert model.noise_variance_ == pytest.approx(error, rel=0.35)


def test_validation_scores_are_r2(curve):
    model = new(1, validation_fraction=0.2).fit(curve)
    pca = PCA(1).fit(curve)
    r2 = pca.explained_variance_ratio_.sum()
    assert model.validation_scores_[0] == pytest.approx(r2, abs=0.1)


# Training that goes on


def test_warm_start_continues(curve):
    model = new(
        1, hidden_layer_sizes=(32,), max_iter=20, warm_start=True, batch_size=16
    )
    model.set_params(validation_fraction=0.2)
    first = model.fit(curve).reconstruction_error(curve).mean()
    module = model.module_
    second = model.fit(curve).reconstruction_error(curve).mean()
    third = model.fit(curve).reconstruction_error(curve).mean()
    assert third <= second <= first
    assert third < first
    assert model.module_ is not module  # the earlier fit's module is not trained on


def test_warm_start_goes_on_where_a_closed_gate_left_off(curve):
    """Many short fits train as far as a long one, even if the first few kept PCA."""
    model = new(1, hidden_layer_sizes=(32,), max_iter=3, batch_size=16)
    model.set_params(warm_start=True, validation_fraction=0.2, learning_rate_init=1e-3)
    assert model.fit(curve).best_iter_ == 0
    for _ in range(30):
        model.fit(curve)
    pca = PCA(1).fit(curve)
    linear = (curve - pca.inverse_transform(pca.transform(curve))) ** 2
    assert model.reconstruction_error(curve).mean() < 0.95 * linear.mean()


def test_without_warm_start_fit_forgets(curve, X):
    model = new().fit(curve)
    model.fit(X)
    assert_array_equal(model.transform(X), new().fit(X).transform(X))


@pytest.mark.filterwarnings("ignore:Active codes")
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("value", [1.0, 1 / 3])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_warm_start_after_rows_that_are_all_the_same_starts_anew(X, cls, value, init):
    """Their start has no variance, and would be kept for ever."""
    how = {"max_iter": 2, "warm_start": True, "init": init, "random_state": 0}
    model, fresh = cls(2, **how), cls(2, **how)
    codes = model.fit(np.full((50, 4), value)).fit(X).transform(X)
    assert_array_equal(codes, fresh.fit(X).transform(X))
    assert model.n_iter_ == 2


def test_warm_start_goes_on_from_what_varies_beside_a_large_constant(X):
    X = np.column_stack([X, np.full(len(X), 1.7e12)])
    model = new(2, max_iter=2, warm_start=True).fit(X)
    assert model.fit(X).n_iter_ == 4


def test_warm_start_with_other_columns_is_an_error(X):
    model = new(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.fit(X[:, :3])


def test_warm_start_with_another_n_components_is_an_error_or_starts_anew(X):
    model = new(2, warm_start=True).fit(X).set_params(n_components=3)
    with pytest.raises(ValueError, match="n_components"):
        model.fit(X)
    assert model.transform(X).shape == (150, 2)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("before", ["fit", "partial_fit"])
@pytest.mark.parametrize("n_components", [1, 3])
def test_batches_go_on_with_as_many_codes(X, cls, init, before, n_components):
    model = getattr(cls(2, max_iter=1, init=init, random_state=0), before)(X)
    codes = model.transform(X)
    message = f"n_components={n_components}, but training goes on from a fit with 2"
    with pytest.raises(ValueError, match=message):
        model.set_params(n_components=n_components).partial_fit(X)
    assert_array_equal(model.transform(X), codes)


def test_training_goes_on_under_the_present_settings(curve):
    model = new(1, hidden_layer_sizes=(8,), max_iter=3, validation_fraction=0.2)
    model.fit(curve).set_params(
        warm_start=True, alpha=0.0, learning_rate_init=1e-30, tol=0.5
    )
    weights = [p.clone() for p in model.module_.parameters()]
    model.fit(curve)
    assert (model.net_.lr, model.net_.tol) == (1e-30, 0.5)
    for before, after in zip(weights, model.module_.parameters(), strict=True):
        torch.testing.assert_close(before, after)  # no step, no decay
    model.set_params(learning_rate_init=1e-2).partial_fit(curve)
    assert model.net_.optimizer_.param_groups[0]["lr"] == 1e-2


def test_warm_start_without_any_epoch_heeds_what_is_no_matter_of_training(curve):
    model = new(1, max_iter=20, n_neighbors=3, warm_start=True).fit(curve)
    codes, error = model.transform(curve), model.reconstruction_error(curve)
    distances = -model.score_samples(curve)
    assert (distances >= 0).all()
    model.set_params(max_iter=0, whiten=True, n_neighbors=None, contamination=0.1)
    model.fit(curve)
    white = codes / np.sqrt(model.explained_variance_)
    assert_allclose(model.transform(curve), white, rtol=1e-6)
    assert_allclose(model.reconstruction_error(curve), error, rtol=1e-6)
    assert not np.allclose(model.score_samples(curve), -distances)
    assert (model.predict(curve) == -1).mean() == pytest.approx(0.1, abs=0.01)


def test_warm_start_without_any_epoch_keeps_the_codes(curve):
    model = new(1, hidden_layer_sizes=(32,), max_iter=30).fit(curve)
    assert model.best_iter_ > 0
    codes = model.transform(curve)
    model.set_params(warm_start=True, max_iter=0).fit(curve)
    assert_allclose(model.transform(curve), codes)


def test_partial_fit_improves_over_the_passes(curve):
    model = new(1, hidden_layer_sizes=(32,), learning_rate_init=3e-3)
    errors = []
    for _ in range(25):
        for start in range(0, 600, 100):
            model.partial_fit(curve[start : start + 100])
        errors.append(model.reconstruction_error(curve).mean())
    pca = PCA(1).fit(curve)
    linear = (curve - pca.inverse_transform(pca.transform(curve))) ** 2
    assert errors[-1] < 0.8 * linear.mean()
    assert errors[-1] < errors[0]


def test_partial_fit_on_noise_stays_incremental_pca():
    X = np.random.RandomState(0).randn(600, 8)
    model = new(3)
    for start in range(0, 600, 60):
        model.partial_fit(X[start : start + 60])
    assert_allclose(
        model.inverse_transform(model.transform(X)),
        X.mean(0) + (X - X.mean(0)) @ model.components_.T @ model.components_,
        atol=1e-6,
    )


def sheet(n, seed):
    """Rows on a curved surface in ten dimensions."""
    rng, axes = np.random.RandomState(seed), np.random.RandomState(5).randn(5, 10)
    z = rng.uniform(-2, 2, (n, 2))
    terms = np.sin(2 * z[:, 0]), z[:, 0] * z[:, 1], z[:, 1] ** 2
    return np.column_stack([z, *terms]) @ axes + 0.1 * rng.randn(n, 10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_sorted", [False, True])
def test_batches_that_are_alike_do_not_hide_what_was_forgotten(seed, is_sorted):
    X, new_rows = sheet(4000, seed), sheet(2000, 99)
    X = X[np.argsort(X[:, 0])] if is_sorted else X
    model, start = new(2, random_state=seed), new(2, max_iter=0)
    for batch in np.array_split(X, 20):
        model.partial_fit(batch)
        start.partial_fit(batch)
    assert model.score(new_rows) >= start.score(new_rows) - 1e-3
    assert is_sorted or model.best_iter_ > 0
    assert len(model._fit.remembered.X) == 1000


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_of_a_row_says_nothing(seed):
    X = np.random.RandomState(seed).randn(21, 10) * np.arange(1, 11)
    model = new(3, random_state=seed).partial_fit(X[:20])
    assert model.partial_fit(X[20:]).best_iter_ == 0


def test_what_is_remembered_is_a_fair_sample():
    model = new(1, max_iter=1)
    for start in range(0, 6000, 300):
        batch = np.random.RandomState(start).randn(300, 2)
        batch[:, 0] = start
        model.partial_fit(batch)
    starts, counts = np.unique(model._fit.remembered.X[:, 0], return_counts=True)
    assert len(starts) == 20
    assert counts.max() - counts.min() < 50  # of 50 each, with a deviation of 7
    model = new(1, max_iter=0).partial_fit(batch)  # has no network to judge
    assert model._fit.remembered is None


def test_epochs_before_a_warm_start_are_counted(curve):
    model = new(1, hidden_layer_sizes=(32,), max_iter=40, validation_fraction=0.2)
    fit = model.set_params(warm_start=True).fit(curve)._fit
    model._fit = dataclasses.replace(fit, best_iter=0, model=fit.start)  # as if closed
    model.set_params(learning_rate_init=10.0, max_iter=1)  # by which it gets worse
    assert model.fit(curve).best_iter_ == 40


def test_partial_fit_after_fit_goes_on_from_there(curve):
    model = new(1, hidden_layer_sizes=(32,), max_iter=40).fit(curve)
    assert model.best_iter_ > 0
    error = model.reconstruction_error(curve).mean()
    model.partial_fit(curve)
    assert model.reconstruction_error(curve).mean() < 1.5 * error


def test_partial_fit_counts_its_rows_and_passes(X):
    model = new().partial_fit(X[:100]).partial_fit(X[100:])
    assert model.n_samples_ == 150
    assert model.n_iter_ == 2


def test_early_stopping_stops(curve):
    model = new(
        1, max_iter=200, n_iter_no_change=3, validation_fraction=0.2, init="random"
    ).fit(curve)
    assert model.n_iter_ < 200


# The two pages that a user reads first


def readme_blocks():
    text = README.read_text() if README.exists() else ""
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def test_the_readme_has_python_blocks():
    assert readme_blocks()


def test_every_python_block_of_the_readme_runs(tmp_path, monkeypatch):
    assert README.exists()
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in readme_blocks():
        if not block.lstrip().startswith(">>>"):  # doctest runs those
            exec(compile(block, str(README), "exec"), namespace)


def test_importing_skae_neither_prints_nor_moves_an_rng():
    code = (
        "import random, numpy, sklearn.decomposition, skorch, torch\n"
        "before = random.getstate(), torch.get_rng_state().tolist()\n"
        "threads = torch.get_num_threads()\n"
        "state = numpy.random.get_state()[1].tolist()\n"
        "import skae\n"
        "assert (random.getstate(), torch.get_rng_state().tolist()) == before\n"
        "assert numpy.random.get_state()[1].tolist() == state\n"
        "assert torch.get_num_threads() == threads\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_standardised_tables_are_reconstructed_better_than_the_mean():
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    error = new(4, init="random", hidden_layer_sizes=(32,), max_iter=20).fit(X)
    assert error.reconstruction_error(X).mean() < 0.6


# What first users tripped over


def test_callbacks_see_the_one_net_that_the_gate_judges():
    rng = np.random.RandomState(0)
    X = rng.randn(178, 13)
    wild = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 50.0)
    model = new(2, max_iter=10, callbacks=[wild]).fit(X)
    pca = PCA(2).fit(X)
    error = (X - pca.inverse_transform(pca.transform(X))) ** 2
    assert model.reconstruction_error(X).mean() <= error.mean() * (1 + 1e-9)
    assert "valid_loss" in model.history_[-1]


def test_overcomplete_codes_score_as_a_density_of_the_rows():
    X = np.random.RandomState(0).randn(60, 3)
    model = new(5, init="random", max_iter=3).fit(X)
    np.testing.assert_allclose(model.score_samples(X), PCA(3).fit(X).score_samples(X))


def test_a_few_held_out_rows_do_not_open_the_gate(curve):
    model = new(1, validation_fraction=0.01, max_iter=5).fit(curve)
    assert model.best_iter_ == 0


@pytest.mark.parametrize(
    "net_params",
    [
        {"optimizer__lr": 1e-3},
        {"train_split": None},
        {"iterator_train__shuffle": False},
        {"module": None},
        {"criterion": None},
    ],
)
def test_net_params_without_effect_are_refused(net_params, X):
    (name,) = net_params
    with pytest.raises(ValueError, match=f"net_params.*{name}"):
        new(net_params=net_params).fit(X)


def test_a_misspelt_net_param_is_named(X):
    with pytest.raises(ValueError, match=r"net_params.*optimzer"):
        new(net_params={"optimzer": None}).fit(X)


def test_lazy_modules_find_their_widths(X):
    encoder = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    model = new(2, architecture=Modules(encoder, nn.LazyLinear(X.shape[1]))).fit(X)
    assert np.isfinite(model.transform(X)).all()


def test_an_architecture_class_is_refused(X):
    with pytest.raises(ValueError, match="architecture=MLP is a class"):
        new(architecture=MLP).fit(X)


def test_a_pickle_holds_the_weights_once_and_the_two_moments_of_the_optimizer():
    t = np.random.RandomState(0).uniform(-1, 1, 300)
    curve = np.column_stack([t**p for p in range(1, 41)])
    model = AutoencoderTransformer(1, hidden_layer_sizes=(512,), random_state=0)
    model.fit(curve)
    assert model.best_iter_ > 0
    n_bytes = sum(p.nbytes for p in model.module_.parameters())
    assert len(pickle.dumps(model)) < 3.5 * n_bytes


@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder, VAE])
@pytest.mark.parametrize("value", [0.0, 5.0, 1e6])
def test_a_constant_column_comes_back_as_it_is(cls, value):
    X = np.column_stack([load_wine().data, np.full(178, value)])
    X[:, :-1] -= X[:, :-1].mean(0)
    X[:, :-1] /= X[:, :-1].std(0)
    model = cls(3, random_state=1).fit(X)
    assert model.best_iter_ > 0
    rebuilt = model.inverse_transform(model.transform(X))
    assert_allclose(rebuilt[:, -1], value, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cls", [AutoencoderTransformer, VAE, DenoisingAutoencoder])
def test_a_network_adds_no_noise_to_small_columns(cls, seed):
    """In their own units one of these columns is nearly all of the error."""
    X = load_breast_cancer().data[:, :10]
    train, new = train_test_split(X, random_state=seed)
    model = cls(2, random_state=seed).fit(train)
    assert model.best_iter_ > 0
    error = np.square(model.inverse_transform(model.transform(new)) - new).mean(0)
    assert (error < 1.3 * X.var(0)).all()


@pytest.mark.parametrize("cls", [AutoencoderTransformer, skae.DeepBeliefAutoencoder])
def test_without_a_code_rows_are_the_mean(cls):
    X = load_iris().data
    model = cls(0, max_iter=1).fit(X)
    rows = model.inverse_transform(model.transform(X[:5]))
    assert_allclose(rows, np.tile(X.mean(0), (5, 1)))


def bent(n, seed, factor=1.0):
    """Rows of a curve, of which one in 200 is multiplied by a factor."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-1, 1, (n, 1))
    X = np.hstack([t, t**2, t**3, np.sin(4 * t)]) + 0.1 * rng.randn(n, 4)
    X[rng.uniform(size=n) < 0.005] *= factor
    return X


@pytest.mark.parametrize("n", [300, 1200])
@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder])
def test_rows_far_from_all_others_are_rebuilt_as_by_pca(cls, n):
    model, pca = (
        cls(1, random_state=0, **more).fit(bent(n, 0)) for more in ({}, {"max_iter": 0})
    )

    def ratio(X):
        errors = (m.inverse_transform(m.transform(X)) - X for m in (model, pca))
        mine, of_pca = (np.square(error).mean() for error in errors)
        return mine / of_pca

    assert ratio(bent(5000, 1)) < 0.7
    for factor in (10, 30, 1000, 1e6):
        assert ratio(bent(5000, 1, factor)) < 1.01


def test_where_rows_far_from_the_others_are_known_well_a_network_goes_on():
    """Those that are held out say so: the second column is the size of the first."""
    rng = np.random.RandomState(0)
    near, far = (
        np.column_stack([t, np.abs(t)])
        for t in (rng.uniform(-1, 1, 1200), rng.uniform(-6, 6, 200))
    )
    model = AutoencoderTransformer(1, random_state=0)
    assert model.fit(near).module_.margin == MARGINS[1]
    bound = model.reconstruction_error(far).mean()
    assert model.fit(near, X_val=far).module_.margin == MARGINS[2]
    assert model.reconstruction_error(far).mean() < 0.1 * bound


@pytest.mark.parametrize("n_components", [1, 4])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_beside_constant_rows_no_others_are_likely(n_components, method):
    model = AutoencoderTransformer(n_components, max_iter=2)
    constant, X = np.ones((20, 4)), np.random.RandomState(0).randn(9, 4)
    getattr(model, method)(constant)
    assert (model.score_samples(X) < model.score_samples(constant[:1])).all()
