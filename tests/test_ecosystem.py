"""Tools that others build on scikit-learn, and what they ask of an estimator."""

import html
import re
from types import SimpleNamespace

import joblib
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from dask.distributed import Client, LocalCluster
from estimators import IMPUTERS, MACHINES, TEXTS, TWO_VIEWS
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as make_balanced_pipeline
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    ParameterGrid,
    cross_val_score,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import EarlyStopping
from skrub import TableVectorizer
from torch import nn

from skae import AutoencoderTransformer, ContrastiveAutoencoder
from skae.architectures import MLP, Modules, Recurrent

# scikit-learn 1.6 shows what an estimator prints, and no more.
has_table = "Parameters" in PCA()._repr_html_()
needs_table = pytest.mark.skipif(not has_table, reason="no table of parameters")
GRID = {"ae__n_components": [1, 3], "ae__architecture__activation": ["relu", "tanh"]}


@pytest.fixture
def wine():
    X, y = load_wine(return_X_y=True)
    return X[::2], y[::2]  # (89, 13)


@pytest.fixture
def frame(wine):
    """Numbers, categories, and dates."""
    X, _ = wine
    columns = pd.DataFrame(X[:, :6], columns=[f"x{j}" for j in range(6)])
    site = np.tile(["north", "south", "east"], len(X))[: len(X)]
    return columns.assign(site=site, day=pd.date_range("2026-01-01", periods=len(X)))


@pytest.fixture
def ae():
    return AutoencoderTransformer(2, max_iter=2, architecture=MLP((4,)), random_state=0)


@pytest.fixture
def pipe(ae):
    steps = [("scale", StandardScaler()), ("ae", ae), ("class", LogisticRegression())]
    return Pipeline(steps)


def accuracies(pipe, wine):
    """Return what a search over the grid is to find, by loops."""
    return [
        cross_val_score(clone(pipe).set_params(**params), *wine, cv=2).mean()
        for params in ParameterGrid(GRID)
    ]


# Searches


def test_a_grid_search_reaches_into_the_architecture(pipe, wine):
    search = GridSearchCV(pipe, GRID, cv=2, error_score="raise").fit(*wine)
    found = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(found, accuracies(pipe, wine))
    activation = search.best_params_["ae__architecture__activation"]
    assert search.best_estimator_["ae"].architecture.activation == activation
    assert pipe["ae"].architecture.activation == MLP().activation  # is left alone


def test_halving_spends_epochs_on_the_best(pipe, wine):
    how = {"resource": "ae__max_iter", "min_resources": 1, "max_resources": 3}
    space = {"ae__n_components": [1, 2, 4], "ae__whiten": [False, True]}
    search = HalvingRandomSearchCV(
        pipe, space, n_candidates=4, cv=2, random_state=0, error_score="raise", **how
    ).fit(*wine)
    assert search.n_resources_ == [1, 3]
    assert search.n_candidates_ == [4, 2]
    assert search.best_estimator_["ae"].max_iter == 3


def test_a_study_of_optuna_finds_the_best_of_the_grid(pipe, wine):
    """A study, since OptunaSearchCV itself warns of what optuna 5 has deprecated."""

    def objective(trial):
        params = {key: trial.suggest_categorical(key, GRID[key]) for key in GRID}
        return cross_val_score(clone(pipe).set_params(**params), *wine, cv=2).mean()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GridSampler(GRID, seed=0)
    )
    study.optimize(objective, n_trials=4)
    assert study.best_value == pytest.approx(max(accuracies(pipe, wine)))


def test_workers_of_dask_find_what_one_process_finds(pipe, wine):
    alone = GridSearchCV(pipe, GRID, cv=2).fit(*wine)
    with (
        LocalCluster(processes=False, n_workers=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        together = GridSearchCV(pipe, GRID, cv=2, error_score="raise").fit(*wine)
    scores = "mean_test_score"
    assert_array_equal(together.cv_results_[scores], alone.cv_results_[scores])
    codes = alone.best_estimator_[:-1].transform(wine[0])
    assert_array_equal(together.best_estimator_[:-1].transform(wine[0]), codes)


# Pipelines


def test_skrub_makes_a_table_of_numbers_of_any_frame(frame, ae, wine):
    pipe = make_pipeline(
        TableVectorizer(), StandardScaler(), ae, LogisticRegression()
    ).set_output(transform="pandas")
    assert pipe.fit(frame, wine[1]).score(frame, wine[1]) > 0.6
    columns = make_pipeline(TableVectorizer(), StandardScaler())
    numbers = columns.fit_transform(frame)  # of categories and dates as well
    assert numbers.shape[1] > 9
    codes = pipe[:-1].transform(frame)
    assert_array_equal(codes, clone(ae).fit(numbers).transform(numbers))
    assert list(codes.columns) == [f"autoencodertransformer{j}" for j in range(2)]


@pytest.mark.parametrize("sparse_output", [False, True])
def test_encoded_columns_are_compressed(sparse_output, frame, ae, wine):
    encoder = OneHotEncoder(sparse_output=sparse_output)
    columns = make_column_transformer(
        (encoder, ["site"]),
        (StandardScaler(), [f"x{j}" for j in range(6)]),
        sparse_threshold=float(sparse_output),
    )
    pipe = make_pipeline(columns, ae, LogisticRegression())
    assert pipe.fit(frame, wine[1]).score(frame, wine[1]) > 0.6
    assert ae.n_features_in_ == 9


def test_rows_that_are_made_up_are_seen_by_the_estimator(ae, wine):
    X, y = wine
    pipe = make_balanced_pipeline(
        StandardScaler(), SMOTE(random_state=0), ae, LogisticRegression()
    ).fit(X, y)
    assert ae.n_samples_ == 3 * np.bincount(y).max() > len(X)
    assert pipe.score(X, y) > 0.6
    assert np.isfinite(cross_val_score(pipe, X, y, cv=2, error_score="raise")).all()


def test_frames_go_through_a_whole_pipeline(frame, ae):
    numbers = frame.drop(columns=["site", "day"])
    both = FeatureUnion([("ae", ae), ("pca", PCA(2))])
    pipe = make_pipeline(StandardScaler(), both).set_output(transform="pandas")
    codes = pipe.fit_transform(numbers)
    codes_of = ("ae__autoencodertransformer", "pca__pca")
    assert list(codes.columns) == [f"{name}{j}" for name in codes_of for j in (0, 1)]
    assert codes.index.equals(numbers.index)
    assert list(ae.feature_names_in_) == list(numbers.columns)


# What tools ask of an estimator


@pytest.mark.parametrize("name", [*IMPUTERS, *MACHINES, *TEXTS, *TWO_VIEWS])
def test_a_clone_of_what_is_fitted_is_not(name, wine):
    """Those of the table of autoencoders are in test_contract.py."""
    model = clone({**IMPUTERS, **MACHINES, **TEXTS, **TWO_VIEWS}[name])
    if hasattr(model, "architecture") and name not in TEXTS:
        model.set_params(max_iter=0)
    one, other = wine[0][:, :6], wine[0][:, 6:]
    if name in TEXTS:
        fitted = model.fit(["a green tree", "a house", "a tree"])
    else:
        fitted = model.fit(*((one, other) if name in TWO_VIEWS else (one,)))
    copied = clone(fitted)
    assert repr(copied.get_params()) == repr(fitted.get_params())
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(copied)


def shown(model):
    """Return the text of the representation in a notebook."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", model._repr_html_(), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>|\s+", " ", body))


@needs_table
def test_a_notebook_shows_the_parameters_of_the_architecture(ae, pipe, wine):
    for model in (ae, pipe, GridSearchCV(pipe, GRID)):
        text = re.sub(" +", " ", shown(model))
        assert "architecture MLP(" in text
        assert "architecture__hidden_layer_sizes (4,)" in text
        assert "Not fitted" in text
    assert "Fitted" in shown(ae.fit(wine[0]))
    text = shown(ContrastiveAutoencoder(architecture=Recurrent("lstm")))
    assert "architecture__cell 'lstm'" in re.sub(" +", " ", text)


ODD = {
    "callbacks": {"callbacks": [EarlyStopping(), ("named", EarlyStopping())]},
    "net_params": {"net_params": {"optimizer": torch.optim.SGD, "optimizer__lr": 0.1}},
    "a device": {"device": torch.device("cpu")},
    "modules": {"architecture": Modules(nn.Sequential(nn.Linear(4, 2)), nn.Linear)},
    "functions": {"architecture": Modules(lambda n, k: nn.Linear(n, k), nn.Linear)},
    "no estimator": {"architecture": SimpleNamespace(build=print)},
    "a generator": {"random_state": np.random.RandomState(0)},
}


@pytest.mark.parametrize("params", ODD.values(), ids=ODD)
def test_anything_can_be_shown(params):
    model = AutoencoderTransformer(2, **params)
    for way in (model, make_pipeline(StandardScaler(), model)):
        assert "AutoencoderTransformer" in shown(way)
        assert "AutoencoderTransformer" in repr(way)
