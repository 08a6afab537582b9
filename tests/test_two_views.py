"""What estimators of two views promise, over every row of the table."""

import copy
import math
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from estimators import TWO_VIEWS
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import ContrastiveAutoencoder, EncoderDecoder
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae.architectures import Convolutional, Recurrent

CLASSES = (ContrastiveAutoencoder, EncoderDecoder)
FAST = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


@pytest.fixture(params=[(n, gate) for n in TWO_VIEWS for gate in ("", "open")], ids=str)
def estimator(request, monkeypatch):
    """Rows of the table, as they are and with the gate forced open."""
    name, gate = request.param
    if gate:

        def exceeds(self, threshold):
            return threshold < math.inf

        monkeypatch.setattr(PairedImprovement, "exceeds", exceeds)
        monkeypatch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)
    return clone(TWO_VIEWS[name])


@pytest.fixture(params=CLASSES)
def cls(request):
    return request.param


@pytest.fixture(scope="module")
def views():
    """Two views of two bent directions: 90 rows of 6 and of 4 columns."""
    rng = np.random.RandomState(0)
    z = rng.randn(90, 2)
    X = np.column_stack([z, z[:, 0] ** 2]) @ rng.randn(3, 6) + 0.1 * rng.randn(90, 6)
    y = np.tanh(z) @ rng.randn(2, 4) + 0.1 * rng.randn(90, 4)
    return X + 5, y


def outputs(model, X, y):
    """Return all that a fitted estimator says of pairs."""
    results = [model.transform(X), np.array(model.score(X, y))]
    if isinstance(model, EncoderDecoder):
        return [*results, model.predict(X)]
    scores = model.score_samples(X, y), model.score_samples(X)
    return [*results, model.transform_y(y), *scores, model.similarity(X[:5], y[:7])]


def assert_same(model, other, X, y):
    for a, b in zip(outputs(model, X, y), outputs(other, X, y), strict=True):
        assert_array_equal(a, b)


# scikit-learn's habits


def test_copies_of_a_fitted_estimator_are_the_same(estimator, views, tmp_path):
    estimator.fit(*views)
    joblib.dump(estimator, tmp_path / "model")
    beyond = [4 * (view - view.mean(0)) for view in views]  # the rows of fit
    for other in (
        pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy(estimator),
        joblib.load(tmp_path / "model"),
    ):
        assert_same(estimator, other, *views)
        assert_same(estimator, other, *beyond)


def test_the_same_seed_gives_the_same(estimator, views):
    first, second = (clone(estimator).fit(*views) for _ in range(2))
    assert_same(first, second, *views)
    assert first.loss_curve_ == second.loss_curve_
    assert_same(first, first.fit(*views), *views)


def test_another_seed_gives_another_training(estimator, views):
    curves = [
        clone(estimator).set_params(random_state=s).fit(*views).loss_curve_
        for s in (1, 2)
    ]
    assert curves[0] != curves[1]


def test_global_random_states_are_left_alone(estimator, views):
    def states():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), kind, keys.tolist(), rest

    before = states()
    estimator.fit(*views)
    outputs(estimator, *views)
    clone(estimator).partial_fit(*views).partial_fit(*views)
    assert states() == before


def test_a_failed_fit_leaves_the_estimator_as_it_was(estimator, views):
    X, y = views
    estimator.fit(X, y)
    before = outputs(estimator, X, y)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.full_like(X, np.nan), y)
    with pytest.raises(ValueError, match="y has 80 rows, but X has 90"):
        estimator.fit(X, y[:80])
    for a, b in zip(outputs(estimator, X, y), before, strict=True):
        assert_array_equal(a, b)


def test_a_weight_is_so_many_copies(estimator, views):
    X, y = (view[:40] for view in views)
    w = np.random.RandomState(0).randint(1, 4, 40)
    weighted = clone(estimator).fit(X, y, w)
    repeated = clone(estimator).fit(np.repeat(X, w, 0), np.repeat(y, w, 0))
    for a, b in zip(outputs(weighted, X, y), outputs(repeated, X, y), strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    scores = (
        weighted.score(X, y, w),
        weighted.score(np.repeat(X, w, 0), np.repeat(y, w, 0)),
    )
    assert_allclose(*scores, rtol=1e-6)


def test_float32_in_float32_out(estimator, views):
    single = [view.astype(np.float32) for view in views]
    estimator.fit(*single)
    assert estimator.transform(single[0]).dtype == np.float32
    assert estimator.transform(views[0]).dtype == np.float64
    assert_allclose(
        estimator.transform(single[0]), estimator.transform(views[0]), atol=1e-3
    )


def test_rows_do_not_depend_on_their_neighbours(estimator, views):
    X, y = views
    estimator.fit(X, y)
    assert_allclose(
        estimator.transform(X)[5:9], estimator.transform(X[5:9]), atol=1e-12
    )


def test_max_iter_0_trains_nothing(estimator, views):
    model = estimator.set_params(max_iter=0).fit(*views)
    assert model.n_iter_ == model.best_iter_ == 0
    assert model.loss_curve_ == []


def test_the_start_is_epoch_0(estimator, views):
    """In float32, the module before training is the closed form."""
    model = estimator.set_params(max_iter=0).fit(*views)
    start = model._fit.start
    rows = (np.hstack(views) - start.mean) / start.scale
    with torch.no_grad():
        output = model.module_(torch.from_numpy(rows).float())
    z = output[0] if isinstance(model, ContrastiveAutoencoder) else output[1]
    scale = start.code_scale
    assert_allclose(
        z.numpy() * scale, model.transform(views[0]), atol=1e-3 * scale.max()
    )


def test_names_of_codes_and_of_columns(estimator, views):
    X, y = views
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = estimator.set_output(transform="pandas").fit(frame, pd.DataFrame(y))
    codes = model.transform(frame)
    assert list(codes) == list(model.get_feature_names_out())
    assert list(model.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("bacdef")])
    polars = pl.DataFrame(X, schema=list("abcdef"))
    assert_allclose(model.transform(polars).to_numpy(), codes.to_numpy())


def test_before_fit_it_says_so(estimator, views):
    with pytest.raises(NotFittedError):
        estimator.transform(views[0])
    with pytest.raises(NotFittedError):
        estimator.score(*views)


def in_batches(model, X, y):
    for part in (slice(40), slice(40, 60), slice(60, 90)):
        model.partial_fit(X[part], y[part])
    return model


def test_batches_train_a_network(estimator, views):
    model = in_batches(estimator, *views)
    assert model.n_samples_ == 90
    assert len(model.loss_curve_) == 3
    assert all(np.isfinite(output).all() for output in outputs(model, *views))


@pytest.mark.parametrize("name", TWO_VIEWS)
def test_batches_lead_to_the_start_of_all_rows(name, views):
    whole = clone(TWO_VIEWS[name]).set_params(max_iter=0)
    given = "shrinkage" if "shrinkage" in whole.get_params() else "ridge_alpha"
    whole.set_params(**{given: 0.5}).fit(*views)
    batches = in_batches(clone(whole), *views)
    for a, b in zip(outputs(batches, *views), outputs(whole, *views), strict=True):
        assert_allclose(np.abs(a), np.abs(b), rtol=1e-6, atol=1e-6)


def test_training_goes_on(estimator, views):
    estimator.set_params(warm_start=True, max_iter=1).fit(*views)
    assert estimator.fit(*views).n_iter_ == 2
    with pytest.raises(ValueError, match="activation='tanh', but training goes on"):
        estimator.set_params(activation="tanh").fit(*views)


def test_rows_of_their_own_decide(estimator, views):
    X, y = views
    model = estimator.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    assert len(model.validation_scores_) == model.n_iter_ + 1
    with pytest.raises(ValueError, match="X_val: each of its 30 rows is a row of X"):
        estimator.fit(X, y, X_val=X[60:], y_val=y[60:])
    with pytest.raises(ValueError, match="X_val needs y_val: give both"):
        estimator.fit(X[:60], y[:60], X_val=X[60:])
    with pytest.raises(ValueError, match="y_val needs X_val"):
        estimator.fit(X, y, y_val=y)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("cls", CLASSES)
def test_copies_in_one_view_are_held_out_together(cls, which):
    rng, of = np.random.RandomState(0), np.repeat(np.arange(30), 3)
    pair = [rng.randn(90, 5), rng.randn(90, 4)]
    pair[which] = pair[which][of]
    found, expected = (cls(2, **FAST).fit(*pair, **how) for how in ({}, {"groups": of}))
    assert found.validation_scores_ == pytest.approx(expected.validation_scores_)
    assert_allclose(found.transform(pair[0]), expected.transform(pair[0]), atol=1e-6)


def test_groups_are_held_out_together(estimator, views):
    estimator.fit(*views, groups=np.repeat(np.arange(30), 3))
    with pytest.warns(UserWarning, match="groups makes 3 units of these rows"):
        estimator.fit(*views, groups=np.arange(90) % 3)


def test_in_a_pipeline_and_a_search(cls, views):
    X, y = views
    pipe = make_pipeline(StandardScaler(), cls(1, **FAST))
    codes = pipe.fit_transform(X, y)
    assert codes.shape == (90, 1)
    assert np.isfinite(cross_val_score(pipe, X, y, cv=3)).all()
    grid = {f"{cls.__name__.lower()}__n_components": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_params_[f"{cls.__name__.lower()}__n_components"] == 2


# Images and series


def test_views_of_other_kinds(cls):
    """Images beside series, each with networks of its own."""
    rng = np.random.RandomState(0)
    z = rng.randn(60, 1, 1)
    images = z + 0.3 * rng.randn(60, 6, 6)
    series = np.tanh(z) * np.ones((60, 8, 2)) + 0.3 * rng.randn(60, 8, 2)
    how = {"max_iter": 2, "random_state": 0, "validation_fraction": 0.3}
    architectures = {
        "architecture": Convolutional(channels=(2,), hidden_layer_sizes=()),
        "y_architecture": Recurrent(hidden_size=3),
    }
    model = cls(1, **how, **architectures).fit(images, series)
    assert model.transform(images).shape == (60, 1)
    assert np.isfinite(model.score(images, series))
    if cls is EncoderDecoder:
        assert model.predict(images).shape == (60, 8, 2)
    else:
        assert model.transform_y(series).shape == (60, 1)
        with pytest.raises(ValueError, match="y has shape"):
            model.transform_y(series[:, :, :1])


def test_series_of_different_lengths(cls):
    rng = np.random.RandomState(0)
    X, y = rng.randn(40, 6, 1), rng.randn(40, 5, 1)
    X[::2, 4:], y[::3, 3:] = np.nan, np.nan
    how = {"max_iter": 1, "random_state": 0, "validation_fraction": 0.3}
    networks = dict.fromkeys(
        ("architecture", "y_architecture"), Recurrent(hidden_size=2)
    )
    model = cls(1, **how, **networks).fit(X, y)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X, y))
    with pytest.raises(ValueError, match="NaN"):
        cls(1, **how).fit(X.reshape(40, -1), y.reshape(40, -1))


# What cannot be fitted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda X, y: (np.where(X > 6, np.nan, X), y),
            r"Input X contains NaN in column",
        ),
        (
            lambda X, y: (X, np.where(y > 1, np.nan, y)),
            r"Input y contains NaN in column",
        ),
        (lambda X, y: (X, np.where(y > 1, np.inf, y)), r"Input y contains infinity"),
        (lambda X, y: (X, y[:-1]), r"y has 89 rows, but X has 90"),
        (lambda X, y: (0 * X, y), r"Every row of X is the same"),
        (lambda X, y: (X, 0 * y), r"Every row of y is the same"),
        (
            lambda X, y: (X[:, :1], y),
            r"n_components=2 must be at most 1, the rank of X",
        ),
        (
            lambda X, y: (X, y[:, :1]),
            r"n_components=2 must be at most 1, the rank of y",
        ),
        (
            lambda X, y: (X, pd.DataFrame({"a": ["?"] * 90, "b": 1})),
            r"Column 'a' of y is not num",
        ),
    ],
)
def test_errors_name_the_view(cls, change, message, views):
    X, y = change(*views)
    with pytest.raises(ValueError, match=message):
        cls(2, **FAST).fit(X, y)


def test_one_view_is_not_enough_to_predict(views):
    with pytest.raises(ValueError, match="EncoderDecoder requires y to be passed"):
        EncoderDecoder(2, **FAST).fit(views[0])


def test_sparse_rows_are_not_made_dense(cls, views):
    import scipy.sparse as sp

    X, y = views
    with pytest.raises(TypeError, match=r"X.toarray"):
        cls(1, **FAST).fit(sp.csr_matrix(X), y)
    with pytest.raises(TypeError, match="y"):
        cls(1, **FAST).fit(X, sp.csr_matrix(y))


@pytest.mark.parametrize("n", [2, 3, 5, 9, 12])
def test_few_rows(cls, n, views):
    """Nothing can be said of a network, and the start is finite."""
    X, y = (view[:n] for view in views)
    model = cls(1, random_state=0, max_iter=2).fit(X, y)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X, y))


def test_columns_of_any_size(cls, views):
    X, y = views
    X, y = X * 1e12 + 1e15, y * 1e-9
    model = cls(1, **FAST).fit(X, y)
    assert np.isfinite(model.transform(X)).all()
    assert model.score(X, y) > 0.1


def test_other_peoples_settings(estimator, views):
    expected = outputs(clone(estimator).fit(*views), *views)
    for setting in (
        torch.inference_mode(),
        torch.device("meta"),
        torch.autocast("cpu"),
        np.errstate(all="raise"),
    ):
        with setting:
            found = outputs(clone(estimator).fit(*views), *views)
        for a, b in zip(found, expected, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_the_defaults(cls, seed):
    X = load_iris().data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = cls(1, random_state=seed).fit(X[:, :2], X[:, 2:])
        assert model.score(X[:, :2], X[:, 2:]) > 0.5


@pytest.mark.parametrize("cls", [ContrastiveAutoencoder, EncoderDecoder])
@pytest.mark.parametrize("seed", range(3))
def test_groups_are_whole_where_held_out_rows_choose_the_start(cls, seed):
    """Ten rows of each of twenty groups, whose views do not depend on another."""

    def table(n, times, rng):
        group = np.repeat(np.arange(n), times)
        x, y = rng.randn(n, 10)[group], rng.randn(n, 8)[group]
        noise = 0.3 * rng.randn(n * times, 18)
        return x + noise[:, :10], y + noise[:, 10:], group

    X, Y, groups = table(20, 10, np.random.RandomState(seed))
    new_x, new_y, _ = table(1000, 1, np.random.RandomState(99))
    model = cls(2, max_iter=0, random_state=seed)
    score = model.fit(X, Y, groups=groups).score(new_x, new_y)
    assert score > -0.5
    assert score > model.fit(X, Y).score(new_x, new_y) + 0.1


def test_where_columns_are_more_than_rows_noise_is_not_predicted():
    scores = []
    for seed in range(6):
        rng = np.random.RandomState(seed)
        X, y = rng.randn(1150, 500), rng.randn(1150, 1)
        model = EncoderDecoder(1, max_iter=0, random_state=seed).fit(X[:150], y[:150])
        assert model.ridge_alpha_ > 1
        scores.append(model.score(X[150:], y[150:]))
    assert np.mean(scores) > -0.1
