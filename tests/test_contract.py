"""Our own promises, over every row of the table; one behaviour each."""

import copy
import inspect
import math
import pickle
import random
import re
from functools import partial

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from estimators import ESTIMATORS, PUBLIC
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from usual_rows import usual

from skae import MaskedAutoencoder
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae.architectures import Modules

METHODS = ("transform", "inverse_transform", "score_samples", "score")
METHODS += ("reconstruction_error",)


OPEN = [(name, "open") for name in ESTIMATORS if ESTIMATORS[name].init == "pca"]
# As they are, most keep the start, of which other networks, and other ways to train
# them, would say nothing new.
KEPT = [
    (name, "")
    for name, estimator in ESTIMATORS.items()
    if estimator.n_components is None or estimator.init == "random"
]


# How X is held and what joblib does is no matter of a row: the first one of each class.
FIRST = {type(ESTIMATORS[name]): (name, gate) for name, gate in reversed(OPEN)}
of_each_class = pytest.mark.parametrize(
    "estimator", FIRST.values(), ids=lambda case: " ".join(case), indirect=True
)


def opened(name, monkeypatch):
    """Return an estimator whose network is used as the last epoch leaves it."""

    def exceeds(self, threshold):
        return threshold < math.inf

    monkeypatch.setattr(PairedImprovement, "exceeds", exceeds)
    monkeypatch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)
    return clone(ESTIMATORS[name])


@pytest.fixture(params=KEPT + OPEN, ids=lambda case: " ".join(case).strip())
def estimator(request, monkeypatch):
    """Rows of the table, as they are and with the gate forced open."""
    name, gate = request.param
    return opened(name, monkeypatch) if gate else clone(ESTIMATORS[name])


@pytest.fixture(scope="module")
def X():
    """A bent sheet: three informative directions in six columns."""
    rng = np.random.RandomState(0)
    z = rng.randn(90, 2)
    z = np.column_stack([z, z[:, 0] ** 2])
    return z @ rng.randn(3, 6) + 0.1 * rng.randn(90, 6) + 5


@pytest.fixture(scope="module")
def fits():
    """What has been fitted, by row of the table."""
    return {}


@pytest.fixture
def fitted(estimator, fits, request, X):
    """A copy of a row of the table, fitted, for what only reads it."""
    row = request.node.callspec.params["estimator"]
    if row not in fits:
        fits[row] = estimator.fit(X)
    return copy.deepcopy(fits[row])


def call(model, method, X):
    if method == "inverse_transform":
        X = model.transform(X)
    return getattr(model, method)(X)


def outputs(model, X):
    return [np.asarray(call(model, method, X)) for method in METHODS]


def assert_same_outputs(model, other, X):
    for method, a, b in zip(METHODS, outputs(model, X), outputs(other, X), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=method)


# The table


@pytest.mark.parametrize("name", [name for name, _ in OPEN])
def test_an_open_gate_lets_the_network_through(name, monkeypatch, X):
    model = opened(name, monkeypatch).set_params(n_components=2)
    start = clone(model).set_params(max_iter=0).fit(X)
    model.fit(X)
    codes, before = model.transform(X), start.transform(X)
    if getattr(model, "linear_encoder", False):
        np.testing.assert_allclose(codes, before, rtol=1e-9, atol=1e-9)
        codes, before = (m.inverse_transform(codes) for m in (model, start))
    assert np.abs(codes - before).max() > 1e-4 * np.abs(before).max()


# Training that goes on


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_does_not_go_on_with_other_networks(estimator, method, X):
    estimator.set_params(max_iter=1, warm_start=True).fit(X)
    codes = estimator.transform(X)
    init = {"pca": "random", "random": "pca"}[estimator.init]
    for name, value in (("init", init), ("activation", "tanh"), ("net_params", {})):
        before = getattr(estimator, name)
        estimator.set_params(**{name: value})
        with pytest.raises(ValueError, match=f"{name}={value!r}, but training goes on"):
            getattr(estimator, method)(X)
        estimator.set_params(**{name: before})
    np.testing.assert_array_equal(estimator.transform(X), codes)
    pickle.loads(pickle.dumps(estimator)).fit(X)  # the same networks are recognised


# Randomness


def global_states():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), kind, keys.tolist(), rest, random.getstate()


def test_fit_leaves_the_global_rng_alone(estimator, X):
    before = global_states()
    estimator.fit(X)
    assert global_states() == before
    estimator.fit_transform(X)
    assert global_states() == before
    for method in METHODS:
        call(estimator, method, X)
        assert global_states() == before, method
    estimator.partial_fit(X)
    assert global_states() == before
    clone(estimator).partial_fit(X).partial_fit(X)
    assert global_states() == before
    estimator.set_params(warm_start=True).fit(X)
    assert global_states() == before


def test_the_global_rng_is_never_read(estimator, X):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = outputs(clone(estimator).fit(X), X)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    second = outputs(clone(estimator).fit(X), X)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_seed_that_of_numpy_is_honoured(estimator, X):
    """As in scikit-learn; torch's is neither read nor moved."""
    estimator.set_params(random_state=None)
    results = []
    for fit in ("fit", "partial_fit"):
        for seed in (1, 1, 2):
            torch.manual_seed(len(results))
            before = torch.get_rng_state()
            np.random.seed(seed)  # noqa: NPY002
            fitted = getattr(clone(estimator), fit)(X)
            results.append(fitted.loss_curve_)
            assert torch.equal(torch.get_rng_state(), before)
        first, second, other = results[-3:]
        assert first == second != other


@pytest.mark.parametrize("name", [name for name, _ in KEPT])
def test_torchs_default_dtype_does_not_matter(name, X):
    estimator = clone(ESTIMATORS[name])
    if estimator.__sklearn_tags__().input_tags.allow_nan:
        X = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.2, np.nan, X)
    expected = clone(estimator).fit(X).transform(X)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = clone(estimator).fit(X).transform(X)
    finally:
        torch.set_default_dtype(before)
    assert found.dtype == expected.dtype
    assert np.isfinite(found).all()
    if not isinstance(estimator.architecture, Modules):  # drawn by torch, as a user's
        np.testing.assert_array_equal(found, expected)


def test_same_seed_same_codes(estimator, X):
    first = clone(estimator).set_params(random_state=3).fit(X)
    second = clone(estimator).set_params(random_state=3).fit(X)
    assert_same_outputs(first, second, X)
    assert first.loss_curve_ == second.loss_curve_


def test_fitting_twice_gives_the_same(estimator, X):
    first = outputs(estimator.fit(X), X)
    second = outputs(estimator.fit(X), X)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_seed_differs_from_fit_to_fit(estimator, X):
    estimator.set_params(random_state=None)
    first, second = clone(estimator).fit(X), clone(estimator).fit(X)
    assert first.loss_curve_ != second.loss_curve_


def test_a_random_state_instance_is_advanced(estimator, X):
    rng = check_random_state(0)
    first = clone(estimator).set_params(random_state=rng)
    first.random_state = rng  # set_params keeps it; clone would copy it
    curve = first.fit(X).loss_curve_
    assert first.fit(X).loss_curve_ != curve


def test_transform_is_deterministic(fitted, X):
    for a, b in zip(outputs(fitted, X), outputs(fitted, X), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fitted_module_is_left_in_evaluation_mode(estimator, X):
    estimator.fit(X).transform(X)
    assert not any(part.training for part in estimator.module_.modules())


# Shapes and types


@pytest.mark.parametrize("n_components", [1, 3])
def test_codes_have_n_components_columns(estimator, n_components, X):
    codes = estimator.set_params(n_components=n_components).fit_transform(X)
    assert codes.shape == (90, n_components)
    assert estimator.n_components_ == n_components
    assert estimator.explained_variance_.shape == (n_components,)
    assert estimator.explained_variance_ratio_.shape == (n_components,)
    assert len(estimator.get_feature_names_out()) == n_components


def test_inverse_transform_restores_the_input_shape(fitted, X):
    codes = fitted.transform(X)
    assert fitted.inverse_transform(codes).shape == X.shape
    assert fitted.inverse_transform(codes[:1]).shape == (1, 6)


def test_scores_have_one_number_per_row(fitted, X):
    assert fitted.score_samples(X).shape == (90,)
    assert fitted.score_samples(X).dtype == np.float64
    assert fitted.reconstruction_error(X).shape == (90,)
    assert fitted.reconstruction_error(X, per_feature=True).shape == X.shape
    assert type(fitted.score(X)) is float


def test_score_is_the_weighted_mean_of_score_samples(fitted, X):
    weight = np.arange(90.0)
    scores = fitted.score_samples(X)
    assert fitted.score(X) == pytest.approx(scores.mean())
    expected = np.average(scores, weights=weight)
    assert fitted.score(X, sample_weight=weight) == pytest.approx(expected)


def test_reconstruction_error_is_that_of_the_round_trip(fitted, X):
    squares = (X - fitted.inverse_transform(fitted.transform(X))) ** 2
    per_feature = fitted.reconstruction_error(X, per_feature=True)
    np.testing.assert_allclose(per_feature, squares, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(
        fitted.reconstruction_error(X), squares.mean(1), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_of_the_input_is_kept(estimator, dtype, X):
    codes = estimator.fit(X.astype(dtype)).transform(X.astype(dtype))
    assert codes.dtype == dtype
    assert estimator.inverse_transform(codes).dtype == dtype


def test_float32_rows_far_from_zero_get_the_same_codes(estimator, X):
    far = np.round(8 * X) / 8 + 1e5  # which float32 holds exactly
    codes = estimator.fit(far).transform(far)
    single = estimator.transform(far.astype(np.float32))
    np.testing.assert_allclose(single, codes, rtol=0, atol=1e-4 * np.abs(codes).max())


def test_float32_and_float64_rows_get_the_same_codes(fitted, X):
    single = fitted.transform(X.astype(np.float32))
    scale = np.abs(fitted.transform(X)).max()
    np.testing.assert_allclose(single, fitted.transform(X), atol=2e-5 * scale)


def test_integers_are_taken_as_numbers(estimator):
    X = load_iris().data.round().astype(int)
    estimator.fit(X)
    np.testing.assert_array_equal(
        estimator.transform(X), estimator.transform(X.astype(float))
    )


@of_each_class
def test_fit_returns_the_estimator_and_prints_nothing(estimator, X, capfd):
    assert estimator.fit(X) is estimator
    assert estimator.partial_fit(X) is estimator
    outputs(estimator, X)
    assert capfd.readouterr() == ("", "")


def test_fit_transform_equals_fit_and_transform(estimator, X):
    codes = clone(estimator).fit_transform(X)
    np.testing.assert_array_equal(codes, clone(estimator).fit(X).transform(X))


def test_every_promised_attribute_is_there(estimator, X):
    estimator.fit(pd.DataFrame(X, columns=list("abcdef")))
    k = estimator.n_components_
    assert estimator.n_features_in_ == 6
    assert list(estimator.feature_names_in_) == list("abcdef")
    assert estimator.n_samples_ == 90
    assert estimator.mean_.shape == (6,)
    assert estimator.components_.shape == (k, 6)
    assert estimator.explained_variance_.shape == (k,)
    assert estimator.noise_variance_ >= 0
    assert estimator.n_iter_ >= 1
    assert 0 <= estimator.best_iter_ <= estimator.n_iter_
    assert len(estimator.loss_curve_) == estimator.n_iter_ == len(estimator.history_)
    assert len(estimator.validation_scores_) > 1
    assert isinstance(estimator.module_, torch.nn.Module)
    assert estimator.net_.module_ is estimator.module_


def taking_part(estimator, X):
    """Return the rows that PCA finds usual enough to be fitted on."""
    share = getattr(estimator, "contamination", 0)
    return X[usual(X, share, estimator.n_components)] if share else X


def test_explained_variance_ratios_add_up_to_the_r2(fitted, X):
    X = taking_part(fitted, X)
    residual = X - fitted.inverse_transform(fitted.transform(X))
    r2 = 1 - (residual**2).sum() / ((X - X.mean(0)) ** 2).sum()
    ratio = fitted.explained_variance_ratio_
    assert ratio.sum() == pytest.approx(max(r2, 0), abs=1e-6)
    assert (ratio >= 0).all()


def test_explained_variance_is_that_of_the_codes(estimator, X):
    estimator.set_params(whiten=False).fit(X)
    codes = estimator.transform(taking_part(estimator, X))
    np.testing.assert_allclose(
        codes.var(0, ddof=1), estimator.explained_variance_, rtol=1e-6
    )


def test_whitened_codes_have_unit_variance(estimator, X):
    estimator.set_params(whiten=True).fit(X)
    codes = estimator.transform(taking_part(estimator, X))
    np.testing.assert_allclose(codes.var(0, ddof=1), 1, rtol=1e-6)


# Copies


@pytest.mark.parametrize("package", [pickle, cloudpickle], ids=lambda p: p.__name__)
def test_pickle_preserves_codes(estimator, package, X):
    estimator.fit(X)
    for rows in (X, 4 * (X - X.mean(0))):  # these are beyond the range of `fit`
        assert_same_outputs(estimator, pickle.loads(package.dumps(estimator)), rows)


def test_a_pickle_holds_the_module_once(estimator, X):
    other = pickle.loads(pickle.dumps(estimator.fit(X)))
    assert other.module_ is other.net_.module_ is other.net_.module
    assert other.device_ == estimator.device_


@of_each_class
def test_joblib_preserves_codes(estimator, tmp_path, X):
    joblib.dump(estimator.fit(X), tmp_path / "model")
    assert_same_outputs(estimator, joblib.load(tmp_path / "model"), X)


def test_a_memory_mapped_pickle_preserves_codes(estimator, tmp_path, X):
    joblib.dump(estimator.fit(X), tmp_path / "model")
    other = joblib.load(tmp_path / "model", mmap_mode="r")
    assert_same_outputs(estimator, other, X)


def test_deepcopy_preserves_codes(estimator, X):
    assert_same_outputs(estimator.fit(X), copy.deepcopy(estimator), X)


def test_a_pickle_can_be_trained_further(estimator, X):
    other = pickle.loads(pickle.dumps(estimator.fit(X))).partial_fit(X)
    assert_same_outputs(other, estimator.partial_fit(X), X)


def test_a_clone_is_not_fitted_and_fits_to_the_same(estimator, X):
    estimator.fit(X)
    copied = clone(estimator)
    with pytest.raises(NotFittedError):
        copied.transform(X)
    assert_same_outputs(estimator, copied.fit(X), X)


def test_fit_changes_no_parameter(estimator, X):
    before = {k: joblib.hash(v) for k, v in estimator.get_params(deep=False).items()}
    estimator.fit(X).transform(X)
    estimator.partial_fit(X)
    after = {k: joblib.hash(v) for k, v in estimator.get_params(deep=False).items()}
    assert after == before


# Input


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_input_is_never_modified(estimator, order, X):
    given = np.array(X, order=order)
    estimator.fit(given)
    estimator.partial_fit(given)
    outputs(estimator, given)
    np.testing.assert_array_equal(given, X)
    codes = estimator.transform(X)
    kept = codes.copy()
    estimator.inverse_transform(codes)
    np.testing.assert_array_equal(codes, kept)


@of_each_class
def test_a_read_only_memory_map_is_as_good_as_an_array(estimator, tmp_path, X):
    X = X.astype(np.float32)  # of float64 see test_dataset.py
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    on_disk, in_memory = clone(estimator).fit(mapped), clone(estimator).fit(X)
    for method in METHODS:
        np.testing.assert_array_equal(
            call(on_disk, method, mapped), call(in_memory, method, X)
        )
    on_disk.partial_fit(mapped)


@of_each_class
def test_a_list_is_as_good_as_an_array(estimator, X):
    codes = clone(estimator).fit(X.tolist()).transform(X.tolist())
    np.testing.assert_array_equal(codes, clone(estimator).fit(X).transform(X))


def test_feature_names_are_remembered_and_checked(estimator, X):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    estimator.fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.transform(frame[list("fedcba")])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        estimator.transform(X)
    prefix = type(estimator).__name__.lower()
    assert estimator.get_feature_names_out()[0] == f"{prefix}0"


def test_a_failed_fit_leaves_the_earlier_one_unharmed(estimator, X):
    estimator.fit(X)
    before = outputs(estimator, X)
    state = {k: id(v) for k, v in vars(estimator).items()}
    bad = X.copy()
    bad[3, 2] = np.inf  # NaN is a missing cell to some
    for rows in (bad, X[:1], X.astype(str), X[:0], X + 1j, X[0]):
        for method in (estimator.fit, estimator.partial_fit):
            # `X.astype(str)` holds numbers, which scikit-learn accepts by design
            if np.asarray(rows).dtype.kind == "U":
                rows = np.full((5, 6), "word")
            if method == estimator.partial_fit and np.array_equal(rows, X[:1]):
                continue  # a later batch may well have one row
            with pytest.raises(ValueError):  # noqa: PT011
                method(rows)
    with pytest.raises(ValueError, match="sample_weight"):
        estimator.fit(X, sample_weight=-np.ones(90))
    with pytest.raises(ValueError, match="sample_weight"):
        estimator.fit(X, sample_weight=np.ones(89))
    assert {k: id(v) for k, v in vars(estimator).items()} == state
    for a, b in zip(before, outputs(estimator, X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", METHODS)
def test_unfitted_use_is_an_error(estimator, method, X):
    with pytest.raises(NotFittedError):
        getattr(estimator, method)(X)


# Learning


def test_every_parameter_receives_a_gradient(estimator, X):
    """The last layers start at zero: two steps on, the layers before them learn."""
    estimator.set_params(max_iter=0).fit(X)
    module, criterion = estimator.module_.train(), estimator.net_.criterion_
    x = torch.from_numpy((X - X.mean(0)) / np.sqrt(X.var(0).mean())).float()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5)
    received = dict.fromkeys(dict(module.named_parameters()), 0.0)
    for _ in range(3):
        optimizer.zero_grad()
        sum(criterion(module(x), x).values()).mean().backward()
        optimizer.step()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            # Once is enough: drawn rows may cancel out to the last bit.
            received[name] += float(parameter.grad.abs().sum())
    assert all(received.values()), received


def test_training_reduces_the_loss(estimator):
    t = np.random.RandomState(0).uniform(-1, 1, 200)
    curve = np.column_stack([t, t**2, t**3, np.sin(3 * t)])
    estimator.set_params(n_components=1, max_iter=15, batch_size=8)
    estimator.set_params(validation_fraction=0.2).fit(curve)
    # Over some epochs: what is drawn anew for each may be harder to learn.
    assert np.mean(estimator.loss_curve_[-5:]) < np.mean(estimator.loss_curve_[:5])
    scores = estimator.validation_scores_
    assert max(scores) > scores[0]


def test_history_terms_sum_to_the_loss(estimator, X):
    estimator.set_params(max_iter=3).fit(X)
    totals = ("train_loss", "valid_loss", "valid_loss_best")
    for epoch, loss in zip(estimator.history_, estimator.loss_curve_, strict=True):
        terms = [
            value
            for name, value in epoch.items()
            if name.startswith("train_") and name not in totals
        ]
        assert np.isfinite(loss)
        assert epoch["train_loss"] == loss
        if terms:
            assert sum(terms) == pytest.approx(loss)
    x = torch.ones(2, 6)
    terms = estimator.net_.criterion_(estimator.module_(x), x).values()
    assert {term.shape for term in terms} == {(2,)}  # one number per row


@pytest.mark.parametrize(
    "name",
    [name for name, _ in OPEN if not isinstance(ESTIMATORS[name], MaskedAutoencoder)],
)
def test_beyond_the_training_rows_the_linear_map_goes_on_alone(name, monkeypatch, X):
    """What the network adds there stays what it is at the edge."""
    model = opened(name, monkeypatch).set_params(n_components=2).fit(X)
    X, steps = taking_part(model, X), np.arange(1, 4)
    inside = model.inverse_transform(model.transform(X))
    far = X.mean(0) + 1e6 * steps[:, None] * np.random.RandomState(0).randn(6)
    first, second, third = model.inverse_transform(model.transform(far))
    assert np.abs(second).max() > 1e4
    assert_near = partial(np.testing.assert_allclose, atol=1e-9 * np.abs(second).max())
    assert_near(third - second, second - first)
    model.module_.unbind()
    model._fit.model._casts.clear()
    assert_near(model.inverse_transform(model.transform(X)), inside)
    if model.module_.encoder.network is not None:
        wild = model.inverse_transform(model.transform(far))
        assert not np.allclose(wild[1], second, rtol=1e-9)


def test_outliers_score_lower_than_inliers(fitted, X):
    rng = np.random.RandomState(1)
    far = X.mean(0) + 10 * X.std(0) * rng.choice([-1, 1], X.shape)
    assert fitted.score_samples(far).max() < np.median(fitted.score_samples(X))
    assert fitted.reconstruction_error(far).mean() > (
        fitted.reconstruction_error(X).mean()
    )


def test_batch_size_does_not_change_transform(fitted, X):
    codes, scores = fitted.transform(X), fitted.score_samples(X)
    pieces = [X[:1], X[1:2], X[2:40], X[40:]]
    whole = np.concatenate([fitted.transform(piece) for piece in pieces])
    np.testing.assert_allclose(whole, codes, rtol=1e-9, atol=1e-12)
    whole = np.concatenate([fitted.score_samples(piece) for piece in pieces])
    np.testing.assert_allclose(whole, scores, rtol=1e-9)
    fitted.set_params(batch_size=7)
    np.testing.assert_array_equal(fitted.transform(X), codes)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_any_batch_size_trains(estimator, batch_size, X):
    estimator.set_params(batch_size=batch_size, max_iter=1).fit(X)
    assert np.isfinite(estimator.score(X))


@pytest.mark.filterwarnings("ignore:n_neighbors=2, but the distinct")
@pytest.mark.parametrize("n", [2, 3, 9, 10, 11, 17])
def test_a_few_rows_are_enough(estimator, n, X):
    estimator.set_params(n_components=1).fit(X[:n])
    assert np.isfinite(estimator.transform(X)).all()
    assert np.isfinite(estimator.score_samples(X)).all()
    assert estimator.n_iter_ >= 1


def test_one_column_is_enough(estimator, X):
    estimator.set_params(n_components=1).fit(X[:, :1])
    assert estimator.transform(X[:, :1]).shape == (90, 1)
    assert np.isfinite(estimator.score(X[:, :1]))


@pytest.mark.filterwarnings("ignore:n_neighbors=2, but the distinct")
def test_constant_data_give_finite_numbers(estimator):
    X = np.full((20, 3), 7.0)
    estimator.set_params(n_components=2).fit(X)
    for result in outputs(estimator, X):
        assert np.isfinite(result).all()
    if (
        estimator.init == "pca" and not estimator.best_iter_
    ):  # without PCA, two epochs do not reach a constant
        np.testing.assert_allclose(
            estimator.inverse_transform(estimator.transform(X)), X, rtol=1e-5
        )


def test_works_in_a_pipeline_and_a_grid_search(estimator):
    X, y = load_wine(return_X_y=True)
    estimator.set_params(max_iter=1)
    pipe = make_pipeline(StandardScaler(), estimator, LogisticRegression())
    step = estimator.__class__.__name__.lower()
    search = GridSearchCV(pipe, {f"{step}__n_components": [1, 4]}, cv=2)
    search.fit(X, y)
    if estimator.init == "pca":
        assert search.best_params_ == {f"{step}__n_components": 4}
    assert search.score(X, y) > 0.6


# What the documentation says of the parameters that estimators share

OWN_WORDS = {
    "activation",  # whose default is the estimator's own
    "alpha",  # whose rule is the estimator's own
    "n_components",
    "architecture",
    "y_architecture",
    "init",
    "max_iter",
    "validation_fraction",
    "verbose",
    "random_state",
    "callbacks",
}
"""Parameters that do something else, or more, for one objective than for another."""


def described(cls):
    """Return what the docstring of a class says of each parameter."""
    section = inspect.getdoc(cls).split("Parameters\n----------\n")[1]
    section = section.split("\n\nAttr")[0]
    found = re.findall(r"^(\w+) : (.*(?:\n    .*)*)", section, re.MULTILINE)
    return dict(found)


def words(text, name):
    """Return what is said of a parameter, but for its use beside an architecture."""
    said = " ".join(text[name].split())
    if "architecture" not in text:
        return said
    return said.removesuffix(" Only used when `architecture` is None.")


def test_shared_parameters_are_described_in_the_same_words():
    texts = [described(cls) for cls in PUBLIC]
    texts = [text for text in texts if "hidden_layer_sizes" in text]
    of_two_views = [text for text in texts if "y_architecture" in text]
    others = [text for text in texts if text not in of_two_views]
    for group in (of_two_views, others):
        with_codes = [text for text in group if "init" in text or group is of_two_views]
        shared = set.intersection(*map(set, with_codes)) - OWN_WORDS
        assert len(shared) >= 8
        for name in shared:
            assert len({words(text, name) for text in group if name in text}) == 1, name
