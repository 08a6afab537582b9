"""scikit-learn's own checks, its gallery code for PCA, and its ecosystem."""

import inspect
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from estimators import CLASSES, ESTIMATORS, IMPUTERS, MACHINES, TWO_VIEWS
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator

import skae
import skae.architectures
import skae.text
from skae import RBM, AutoencoderTransformer, MaskedImputer


def public_classes(module):
    return {
        cls
        for cls in (getattr(module, name) for name in module.__all__)
        if inspect.isclass(cls) and not inspect.isabstract(cls)
    }


def test_every_public_estimator_is_in_the_table():
    tables = ESTIMATORS, IMPUTERS, TWO_VIEWS, MACHINES
    used = {type(e) for table in tables for e in table.values()}
    assert used >= public_classes(skae)


def test_every_public_architecture_is_in_the_table():
    used = {type(e.architecture) for e in ESTIMATORS.values()} - {type(None)}
    assert used == public_classes(skae.architectures)


# How X may be held and what it may be called: rows of the same class answer alike.
OF_A_CLASS = {
    "check_array_api_input",
    "check_classifier_data_not_an_array",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_dtypes",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_transformer_data_not_an_array",
}


def checks(random_state, names=None):
    """Return every check of every row; those that need a seed set one themselves."""
    classes = set()
    for name, estimator in {**ESTIMATORS, **IMPUTERS, **TWO_VIEWS}.items():
        if names is not None and getattr(estimator, "architecture", None) is not None:
            continue  # some tables: what is held out of them matters, and no network
        again = OF_A_CLASS if type(estimator) in classes else set()
        classes.add(type(estimator))
        model = clone(estimator).set_params(random_state=random_state)
        for given, check in estimator_checks_generator(model):
            what = check.func.__name__
            if what not in again and (names is None or what in names):
                yield pytest.param(given, check, id=f"{name}-{what}")


# Two epochs from random weights may leave codes that say nothing: one VAE in 400.
@pytest.mark.filterwarnings("ignore:Active codes")
@pytest.mark.parametrize(("estimator", "check"), [*checks(None)])
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


SMALL_TABLES = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_fit2d_1feature",
    "check_methods_subset_invariance",
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("estimator", "check"), [*checks(1, SMALL_TABLES)])
def test_checks_on_small_tables_pass_with_any_seed(estimator, check, seed, monkeypatch):
    def set_random_state(estimator, random_state=0):
        estimator.set_params(random_state=seed)

    monkeypatch.setattr(estimator_checks, "set_random_state", set_random_state)
    check(estimator)


def test_the_defaults_pass_the_checks_that_cost_little():
    """The table's rows are fast; this one is what a user writes."""
    X = load_iris().data[::3]
    model = AutoencoderTransformer().fit(X)
    assert model.transform(X).shape == (50, 4)
    assert model.n_components_ == 4
    assert np.isfinite(model.score(X))


# The gallery's code for PCA with only the class name changed


def test_pca_gallery_pipeline_of_digits_and_logistic_regression():
    X_digits, y_digits = load_digits(return_X_y=True)
    X_digits, y_digits = X_digits[:400], y_digits[:400]
    pca = AutoencoderTransformer(hidden_layer_sizes=(8,), max_iter=2, random_state=0)
    scaler = StandardScaler()
    logistic = LogisticRegression(max_iter=10000, tol=0.1)
    pipe = Pipeline(steps=[("scaler", scaler), ("pca", pca), ("logistic", logistic)])
    param_grid = {"pca__n_components": [5, 15], "logistic__C": np.logspace(-1, 1, 2)}
    search = GridSearchCV(pipe, param_grid, cv=3)
    search.fit(X_digits, y_digits)
    assert search.best_params_["pca__n_components"] == 15
    assert search.best_score_ > 0.8


def test_pca_gallery_iris_in_two_dimensions():
    iris = load_iris()
    X_reduced = AutoencoderTransformer(n_components=2, random_state=0).fit_transform(
        iris.data
    )
    assert X_reduced.shape == (150, 2)
    expected = PCA(n_components=2).fit_transform(iris.data)
    for j in range(2):  # the axes mean what PCA's mean, with the same sign
        assert np.corrcoef(X_reduced[:, j], expected[:, j])[0, 1] > 0.9


def test_pca_gallery_model_selection_without_y():
    rng = np.random.RandomState(0)
    X = rng.randn(200, 3) @ rng.randn(3, 10) + 0.3 * rng.randn(200, 10)
    scores = [
        np.mean(
            cross_val_score(AutoencoderTransformer(k, random_state=0, max_iter=3), X)
        )
        for k in (1, 2, 3, 4, 6)
    ]
    assert np.argmax(scores) == 2
    expected = np.mean(cross_val_score(PCA(3), X))
    assert scores[2] > expected - 0.1


# Its ecosystem


def test_grid_search_runs_in_two_processes():
    X = load_iris().data
    grid = {
        "n_components": [1, 2],
        "architecture": [None, ESTIMATORS["modules"].architecture],
    }
    search = GridSearchCV(clone(ESTIMATORS["split"]), grid, n_jobs=2, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.transform(X).shape[0] == 150


def test_grid_search_reaches_the_parameters_of_an_architecture():
    X = load_iris().data
    search = GridSearchCV(
        clone(ESTIMATORS["tied"]),
        {"architecture__hidden_layer_sizes": [(2,), (3,)]},
        cv=2,
    ).fit(X)
    assert search.best_params_["architecture__hidden_layer_sizes"] in [(2,), (3,)]


@pytest.mark.parametrize(
    "y",
    [
        None,
        np.array(["a", "b"] * 20),
        ["a", "b"] * 20,
        pd.Series(["a", "b"] * 20, dtype="category"),
        np.full(40, np.nan),
        np.zeros((40, 3)),
        "not even a target",
    ],
    ids=["None", "strings", "list", "category", "NaN", "2-D", "str"],
)
def test_y_is_ignored_whatever_it_is(y):
    X = np.random.RandomState(0).randn(40, 3)
    model = clone(ESTIMATORS["default"])
    expected = model.fit(X).transform(X)
    np.testing.assert_array_equal(model.fit(X, y).transform(X), expected)
    np.testing.assert_array_equal(model.fit_transform(X, y), expected)
    assert isinstance(model.score(X, y), float)


def test_string_labels_go_through_a_pipeline():
    iris = load_iris()
    names = iris.target_names[iris.target]
    pipe = make_pipeline(
        StandardScaler(), clone(ESTIMATORS["split"]), LogisticRegression()
    ).fit(iris.data, names)
    assert pipe.score(iris.data, names) > 0.8
    assert set(pipe.predict(iris.data)) <= set(iris.target_names)


@pytest.mark.parametrize("row", ESTIMATORS)
def test_pandas_frames_go_in_and_come_out(row):
    frame = load_iris(as_frame=True).data
    model = clone(ESTIMATORS[row]).set_output(transform="pandas")
    codes = model.fit_transform(frame)
    assert isinstance(codes, pd.DataFrame)
    assert list(codes.columns) == list(model.get_feature_names_out())
    assert codes.columns[0] == f"{type(model).__name__.lower()}0"
    assert codes.index.equals(frame.index)
    assert list(model.feature_names_in_) == list(frame.columns)
    plain = clone(ESTIMATORS[row]).fit(frame.to_numpy())
    np.testing.assert_allclose(codes, plain.transform(frame.to_numpy()))


@pytest.mark.parametrize("row", ESTIMATORS)
def test_polars_frames_go_in_and_come_out(row):
    frame = pl.from_pandas(load_iris(as_frame=True).data)
    model = clone(ESTIMATORS[row]).set_output(transform="polars")
    codes = model.fit_transform(frame)
    assert isinstance(codes, pl.DataFrame)
    assert codes.columns == list(model.get_feature_names_out())
    assert list(model.feature_names_in_) == frame.columns
    assert np.isfinite(model.score(frame))
    assert np.isfinite(model.reconstruction_error(frame)).all()


def test_pandas_keeps_its_index():
    frame = load_iris(as_frame=True).data.sample(30, random_state=0)
    codes = (
        clone(ESTIMATORS["default"]).set_output(transform="pandas").fit_transform(frame)
    )
    assert codes.index.equals(frame.index)


def test_sample_weight_is_routed_through_a_pipeline():
    X, y = load_iris(return_X_y=True)
    weight = np.random.RandomState(0).randint(1, 4, 150).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        step = clone(ESTIMATORS["default"]).set_fit_request(sample_weight=True)
        pipe = make_pipeline(
            step, LogisticRegression().set_fit_request(sample_weight=False)
        )
        routed = pipe.fit(X, y, sample_weight=weight)[0]
    direct = clone(ESTIMATORS["default"]).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(routed.transform(X), direct.transform(X))
    unweighted = clone(ESTIMATORS["default"]).fit(X)
    assert not np.allclose(routed.transform(X), unweighted.transform(X))


@pytest.mark.parametrize("cls", [AutoencoderTransformer, MaskedImputer, RBM])
def test_metadata_of_others_pass_by(cls):
    """With PCA, groups are for the splits and weights for the classifier."""
    X, y = load_iris(return_X_y=True)
    X = X / X.max(0)
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        pipe = make_pipeline(cls(2, max_iter=0), last)
        pipe.fit(X, y, sample_weight=np.ones(150))
        last.set_fit_request(sample_weight=False)
        groups = {"groups": np.arange(150) % 3}
        scores = cross_val_score(pipe, X, y, cv=GroupKFold(3), params=groups)
        assert np.isfinite(scores).all()
        with pytest.raises(TypeError, match="sample_weight"):  # which nobody asks for
            pipe.fit(X, y, sample_weight=np.ones(150))


def test_no_metadata_are_asked_for_until_a_user_does():
    for cls in public_classes(skae) | public_classes(skae.text):
        requests = cls()._get_metadata_request().fit.requests
        taken = inspect.signature(cls.fit).parameters.keys() - {"self", "X", "y"}
        assert requests == dict.fromkeys(taken, False), cls


class WithFewParameters(AutoencoderTransformer):
    def __init__(self, n_components=2):
        super().__init__(n_components=n_components, max_iter=2, random_state=0)


def test_a_subclass_may_set_parameters_itself():
    X = load_iris().data
    model = WithFewParameters().fit(X)
    same = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)
    for other in (model, clone(model).fit(X), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(X), same.transform(X))
    assert model.get_params() == {"n_components": 2}


def test_sample_weight_is_routed_to_score_in_cross_validation():
    X = load_iris().data
    weight = np.random.RandomState(0).randint(0, 3, 150).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(ESTIMATORS["default"]).set_params(max_iter=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(model, X, cv=3, params={"sample_weight": weight})
        model.set_score_request(sample_weight=False)
        unweighted = cross_val_score(model, X, cv=3, params={"sample_weight": weight})
    assert not np.allclose(scores, unweighted)


def test_the_representation_shows_what_was_changed():
    assert repr(AutoencoderTransformer(3, max_iter=5)) == (
        "AutoencoderTransformer(max_iter=5, n_components=3)"
    )
    assert AutoencoderTransformer(max_iter=0)._repr_html_()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_rows_that_decide_go_through_a_pipeline(cls):
    """A Pipeline transforms X_val as it does X, and routes groups."""
    rng = np.random.RandomState(0)
    X = np.column_stack([t := rng.uniform(-1, 1, (90, 1)), t**2, t**3]) * [1, 50, 7]
    model = cls(1, hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(X_val=True, groups=True)
        pipe = Pipeline(
            [("scale", StandardScaler()), ("model", model)], transform_input=["X_val"]
        )
        pipe.fit(X[:60], X_val=X[60:], groups=np.arange(60) // 2)
    scaled = StandardScaler().fit(X[:60]).transform(X)
    alone = clone(model).fit(scaled[:60], X_val=scaled[60:])
    assert pipe[-1].validation_scores_ == alone.validation_scores_
    np.testing.assert_array_equal(pipe.transform(X), alone.transform(scaled))


def test_groups_go_through_a_search():
    X = load_iris().data
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(ESTIMATORS["default"]).set_fit_request(groups=True)
        search = GridSearchCV(
            model, {"n_components": [1, 2]}, cv=2, error_score="raise"
        )
        search.fit(X, groups=np.arange(150) // 3)
    best = search.best_estimator_
    alone = clone(best).fit(X, groups=np.arange(150) // 3)
    assert best.validation_scores_ == alone.validation_scores_
    assert best.validation_scores_ != clone(best).fit(X).validation_scores_
