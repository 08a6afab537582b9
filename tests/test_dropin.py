"""A drop-in replacement: what scripts do with PCA, with only the class name changed.

Without training, ``max_iter=0``, results are PCA's own. Of a trained network the
identities hold that scripts rely on.
"""

import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from skae import AutoencoderTransformer


def linear(*args, **kwargs):
    """Return the transformer without training, which is PCA."""
    return AutoencoderTransformer(*args, **{"max_iter": 0, "random_state": 0, **kwargs})


def quick(*args, **kwargs):
    """Return the transformer with a small network and few epochs."""
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return AutoencoderTransformer(*args, **{**settings, **kwargs})


def assert_near(actual, expected, rtol=1e-7):
    """Compare arrays whose small entries may be rounding errors of large ones."""
    expected = np.asarray(expected)
    atol = rtol * np.abs(expected).max(initial=0)
    assert_allclose(actual, expected, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X.setflags(write=False)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def X(digits):
    return digits[0]


@pytest.fixture(scope="module")
def y(digits):
    return digits[1]


@pytest.fixture(scope="module")
def wine():
    """Return wine's 13 standardised columns and its three cultivars."""
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def frame():
    return load_iris(as_frame=True).data


@pytest.fixture(scope="module")
def trained(X):
    """Return a network that beats PCA, and is used."""
    model = AutoencoderTransformer(3, max_iter=10, random_state=0).fit(X)
    assert model.best_iter_ > 0
    return model


@pytest.fixture(params=["linear", "trained"])
def fitted(request, X):
    """Return three codes of the digits, by PCA and by a network."""
    if request.param == "trained":
        return request.getfixturevalue("trained")
    return linear(3).fit(X)


# Parameters


@pytest.mark.parametrize(
    "solver", ["auto", "full", "covariance_eigh", "arpack", "randomized"]
)
def test_every_svd_solver_finds_what_it_finds_in_pca(solver, X):
    pca = PCA(n_components=5, svd_solver=solver, random_state=0).fit(X)
    model = linear(n_components=5, svd_solver=solver).fit(X)
    assert_near(model.explained_variance_, pca.explained_variance_, rtol=1e-4)
    assert_allclose(model.components_, pca.components_, atol=0.02)
    assert model.get_params()["svd_solver"] == solver


def test_the_randomised_solver_takes_all_of_its_parameters(X):
    model = linear(
        n_components=5,
        svd_solver="randomized",
        iterated_power=10,
        n_oversamples=20,
        power_iteration_normalizer="QR",
    )
    exact = PCA(5, svd_solver="full").fit(X)
    assert_near(model.fit(X).components_, exact.components_, rtol=1e-6)


@pytest.mark.parametrize("power", [0, 3, "auto"])
def test_more_power_iterations_are_nearer_to_the_best_plane(power, X):
    def explained(power):
        model = linear(4, svd_solver="randomized", iterated_power=power)
        return model.fit(X).explained_variance_ratio_.sum()

    best = PCA(4, svd_solver="full").fit(X).explained_variance_ratio_.sum()
    assert 0.7 * best < explained(power) <= best * (1 + 1e-9)
    assert explained(20) == pytest.approx(best)


@pytest.mark.parametrize("normalizer", ["auto", "QR", "LU", "none"])
def test_every_normaliser_of_the_power_iterations_is_taken(normalizer, X):
    model = linear(
        3, svd_solver="randomized", power_iteration_normalizer=normalizer
    ).fit(X)
    assert_near(model.singular_values_, PCA(3).fit(X).singular_values_, rtol=1e-3)


def test_copy_false_leaves_the_rows_unharmed(X):
    rows = X.copy()
    codes = linear(3, copy=False).fit_transform(rows)
    assert_array_equal(rows, X)
    assert_near(codes, PCA(3).fit_transform(X))


def test_every_keyword_of_pca_is_taken_at_once(X):
    settings = {
        "n_components": 3,
        "copy": True,
        "whiten": False,
        "svd_solver": "auto",
        "tol": 0.0,
        "iterated_power": "auto",
        "n_oversamples": 10,
        "power_iteration_normalizer": "auto",
        "random_state": 42,
    }
    model = AutoencoderTransformer(**settings, max_iter=0)
    assert_near(model.fit_transform(X), PCA(**settings).fit_transform(X))
    assert settings.items() <= model.get_params().items()


def test_every_parameter_of_pca_exists_here():
    assert set(PCA().get_params()) <= set(AutoencoderTransformer().get_params())


def test_arpack_with_tol_zero_is_exact(X):
    model = linear(3, svd_solver="arpack", tol=0.0).fit(X)
    assert_near(model.components_, PCA(3, svd_solver="full").fit(X).components_)


@pytest.mark.parametrize("k", [2, np.int64(2), np.uint8(2)])
def test_n_components_is_the_first_argument_and_any_integer(k, X):
    model = linear(k).fit(X)
    assert model.transform(X).shape == (300, 2)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.99])
def test_a_share_of_the_variance_takes_as_many_codes_as_pca(share, X):
    model, pca = linear(share).fit(X), PCA(share).fit(X)
    assert model.n_components_ == pca.n_components_
    assert model.explained_variance_ratio_.sum() > share
    assert model.n_components == share


def test_a_share_goes_with_the_full_solver(X):
    model = linear(n_components=0.9, svd_solver="full").fit(X)
    assert_near(model.transform(X), PCA(0.9, svd_solver="full").fit_transform(X))


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("make", [linear, quick])
def test_mle_guesses_the_dimension_that_pca_guesses(load, make):
    X = load().data
    model = make(n_components="mle", svd_solver="full").fit(X)
    expected = PCA(n_components="mle", svd_solver="full").fit(X).n_components_
    assert model.n_components_ == expected
    assert model.transform(X).shape == (len(X), expected)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_none_keeps_as_many_codes_as_there_are_rows_or_columns(shape):
    X = np.random.RandomState(0).randn(*shape)
    for model in (linear(), linear(None), linear(n_components=min(shape))):
        codes = model.fit_transform(X)
        assert codes.shape == (shape[0], 6)
        assert_near(model.inverse_transform(codes), X)


@pytest.mark.parametrize("k", [65, -1, 1.5, "all"])
def test_what_pca_refuses_as_n_components_is_refused(k, X):
    for model in (PCA(k), linear(k), quick(k)):
        with pytest.raises(ValueError, match="n_components"):
            model.fit(X)


@pytest.mark.parametrize(
    ("k", "solver"),
    [("mle", "randomized"), ("mle", "arpack"), (0.9, "randomized"), (64, "arpack")],
)
def test_solvers_that_cannot_answer_are_refused_as_by_pca(k, solver, X):
    for model in (PCA(k, svd_solver=solver), linear(k, svd_solver=solver)):
        with pytest.raises(ValueError, match="n_components"):
            model.fit(X)


def test_the_number_asked_for_and_the_number_found_are_two_attributes(X):
    model = linear(n_components=0.8).fit(X)
    assert model.n_components == 0.8
    assert list(range(model.n_components_)) == list(range(len(model.components_)))


# Attributes


ATTRIBUTES = [name for name in vars(PCA(2).fit(np.eye(4))) if name[-1] == "_"]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_of_pca_is_there_and_equal(name, X):
    expected = getattr(PCA(5).fit(X), name)
    assert_near(getattr(linear(5).fit(X), name), expected)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_of_pca_keeps_its_shape_when_trained(name, X, trained):
    expected = np.asarray(getattr(PCA(3).fit(X), name))
    assert np.shape(getattr(trained, name)) == expected.shape
    assert np.isfinite(getattr(trained, name)).all()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_of_float32_rows_have_the_type_that_pca_gives_them(name, X):
    X = X.astype(np.float32)
    pca, model = PCA(3).fit(X), quick(3).fit(X)
    expected = np.asarray(getattr(pca, name))
    if expected.ndim:
        assert getattr(model, name).dtype == expected.dtype == np.float32


def test_a_scree_plot_falls_from_left_to_right(X):
    ratio = linear().fit(X).explained_variance_ratio_
    assert (np.diff(ratio) <= 1e-12).all()
    assert_near(ratio, PCA().fit(X).explained_variance_ratio_)


def test_cumulative_shares_rise_to_one(X):
    cumulative = np.cumsum(linear().fit(X).explained_variance_ratio_)
    assert (np.diff(cumulative) >= -1e-12).all()
    assert cumulative[-1] == pytest.approx(1)


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
def test_the_elbow_found_by_hand_is_that_of_a_share(share, X):
    cumulative = np.cumsum(linear().fit(X).explained_variance_ratio_)
    k = np.argmax(cumulative >= share) + 1
    assert k == np.searchsorted(cumulative, share) + 1
    assert k == linear(share).fit(X).n_components_ == PCA(share).fit(X).n_components_


def test_the_shares_add_up_to_the_r2_of_the_reconstruction(fitted, X):
    rebuilt = fitted.inverse_transform(fitted.transform(X))
    r2 = 1 - ((X - rebuilt) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(r2)


def test_shares_are_formatted_as_the_labels_of_axes(fitted):
    ratio = fitted.explained_variance_ratio_
    labels = [f"PC{i + 1} ({share:.1%})" for i, share in enumerate(ratio)]
    assert labels[0].startswith("PC1 (")
    assert json.loads(json.dumps(ratio.round(3).tolist()))[0] == round(ratio[0], 3)


def test_explained_variance_is_the_variance_of_the_codes(fitted, X):
    codes = fitted.transform(X)
    assert_near(fitted.explained_variance_, codes.var(axis=0, ddof=1), rtol=1e-6)


def test_the_ratio_is_the_variance_over_the_total(X):
    model = linear(5).fit(X)
    total = X.var(axis=0, ddof=1).sum()
    assert_near(model.explained_variance_ratio_, model.explained_variance_ / total)


def test_singular_values_are_those_of_the_centred_rows(fitted, X):
    expected = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:3]
    assert_near(fitted.singular_values_, expected)


def test_singular_values_are_norms_of_the_codes_and_roots_of_variances(X):
    model = linear(4).fit(X)
    assert_near(np.linalg.norm(model.transform(X), axis=0), model.singular_values_)
    assert_near(model.singular_values_**2 / 299, model.explained_variance_)


def test_an_eigendecomposition_by_hand_agrees(wine):
    X, _ = wine
    values, vectors = np.linalg.eigh(np.cov(X.T))
    model = linear().fit(X)
    assert_near(model.explained_variance_, values[::-1])
    alignment = np.abs(np.sum(model.components_ * vectors.T[::-1], axis=1))
    assert_near(alignment, np.ones(13))


@pytest.mark.parametrize("k", [1, 5, None])
def test_the_covariance_and_the_precision_are_those_of_pca(k, wine):
    X, _ = wine
    pca = PCA(k).fit(X)
    for model in (linear(k).fit(X), quick(k).fit(X)):
        assert_near(model.get_covariance(), pca.get_covariance())
        assert_near(model.get_precision(), pca.get_precision())
        product = model.get_covariance() @ model.get_precision()
        assert_allclose(product, np.eye(13), atol=1e-9)


def test_a_covariance_without_an_inverse_has_no_precision(wine):
    X, _ = wine
    twice = np.column_stack([X, X[:, 0]])
    for rows in (X[:5], twice, twice.astype(np.float32), np.ones((9, 3))):
        with pytest.raises(np.linalg.LinAlgError, match="fewer dimensions than the"):
            linear().fit(rows).get_precision()
    product = (
        linear(2).fit(twice).get_covariance() @ linear(2).fit(twice).get_precision()
    )
    assert_allclose(product, np.eye(14), atol=1e-9)


def test_the_covariance_of_all_codes_is_that_of_the_columns(wine):
    X, _ = wine
    assert_near(linear().fit(X).get_covariance(), np.cov(X, rowvar=False))
    correlation = EmpiricalCovariance().fit(X).covariance_ * 178 / 177
    assert_near(linear().fit(X).get_covariance(), correlation)


def test_noise_variance_is_the_mean_of_the_discarded_ones(X):
    variances = linear().fit(X).explained_variance_
    assert linear(10).fit(X).noise_variance_ == pytest.approx(variances[10:].mean())


def test_the_mean_is_that_of_the_columns(fitted, X):
    assert_near(fitted.mean_, X.mean(axis=0))


def test_components_have_a_row_for_each_code(fitted):
    assert fitted.components_.shape == (3, 64)
    n_components, n_features = fitted.components_.shape
    assert n_components == fitted.n_components_
    assert n_features == fitted.n_features_in_


def test_components_are_least_squares_loadings(fitted, X):
    """Of PCA's codes these are its axes; of any codes, what a biplot wants to show."""
    codes = fitted.transform(X)
    expected = np.linalg.lstsq(codes - codes.mean(0), X - X.mean(0), rcond=None)[0]
    assert_near(fitted.components_, expected, rtol=1e-5)


def test_axes_are_orthonormal(X):
    axes = linear(6).fit(X).components_
    assert_allclose(axes @ axes.T, np.eye(6), atol=1e-12)


def test_signs_are_those_of_pca(X, trained):
    axes = PCA(3).fit(X).components_
    assert_near(linear(3).fit(X).components_, axes, rtol=1e-6)
    cosines = trained.components_ @ axes.T
    assert (cosines.max(axis=1) > -cosines.min(axis=1)).all()  # of the nearest axis


def test_components_are_reshaped_to_images(fitted, X):
    eigendigits = fitted.components_.reshape((fitted.n_components_, 8, 8))
    assert_array_equal(eigendigits[1].ravel(), fitted.components_[1])
    assert_near(fitted.mean_.reshape(8, 8), X.reshape(-1, 8, 8).mean(axis=0))


def test_loadings_are_correlations_with_standardised_columns(wine):
    X, _ = wine
    model = linear(2).fit(X)
    loadings = model.components_.T * np.sqrt(model.explained_variance_)
    codes = model.transform(X)
    correlations = np.corrcoef(X.T, codes.T)[:13, 13:]
    assert_near(loadings * np.sqrt(177 / 178), correlations)


def test_arrows_of_a_biplot_follow_the_spread_of_the_rows(X):
    model = linear(2).fit(X)
    for length, vector in zip(
        model.explained_variance_, model.components_, strict=True
    ):
        arrow = vector * 3 * np.sqrt(length)
        along = (X - model.mean_) @ vector
        assert np.linalg.norm(arrow) == pytest.approx(3 * along.std(ddof=1))


def test_the_column_that_matters_most_is_found_by_argmax(frame):
    model = linear(2).fit(frame)
    most = np.abs(model.components_).argmax(axis=1)
    assert frame.columns[most[0]] == "petal length (cm)"
    assert_array_equal(most, np.abs(PCA(2).fit(frame).components_).argmax(axis=1))


def test_communalities_add_up_to_the_variance_of_a_column(wine):
    X, _ = wine
    model = linear().fit(X)
    loadings = model.components_.T * np.sqrt(model.explained_variance_)
    assert_near((loadings**2).sum(axis=1), X.var(axis=0, ddof=1))


def test_variances_above_one_are_counted_on_standardised_columns(wine):
    X, _ = wine
    n_kept = (linear().fit(X).explained_variance_ > 1).sum()
    assert n_kept == (PCA().fit(X).explained_variance_ > 1).sum() == 3


def test_a_broken_stick_is_compared_with_the_shares(wine):
    X, _ = wine
    stick = np.cumsum(1 / np.arange(13, 0, -1))[::-1] / 13
    assert stick.sum() == pytest.approx(1)
    kept = linear().fit(X).explained_variance_ratio_ > stick
    assert_array_equal(kept, PCA().fit(X).explained_variance_ratio_ > stick)


def test_shuffled_columns_have_smaller_first_variances(wine):
    X, _ = wine
    rng = np.random.RandomState(0)
    shuffled = np.column_stack([rng.permutation(column) for column in X.T])
    real, chance = linear().fit(X), linear().fit(shuffled)
    assert (real.explained_variance_ > chance.explained_variance_)[:2].all()
    assert chance.explained_variance_.sum() == pytest.approx(
        real.explained_variance_.sum()
    )


def test_two_fits_are_compared_by_the_cosines_of_their_axes(X):
    first, second = linear(2).fit(X[:150]), linear(2).fit(X[150:])
    cosines = np.abs(first.components_ @ second.components_.T)
    expected = PCA(2).fit(X[:150]).components_ @ PCA(2).fit(X[150:]).components_.T
    assert_near(cosines, np.abs(expected), rtol=1e-6)


# Codes and reconstructions


@pytest.mark.parametrize("make", [linear, quick])
def test_fit_transform_is_fit_and_transform(make, X):
    assert_array_equal(make(3).fit_transform(X), make(3).fit(X).transform(X))


def test_a_chain_of_calls_ends_in_a_column(X):
    first = linear(2).fit(X).transform(X)[:, 0]
    assert_near(first, PCA(2).fit(X).transform(X)[:, 0])


def test_the_arguments_have_the_names_that_pca_gives_them(X, y):
    model = quick(2).fit(X=X, y=y)
    codes = model.transform(X=X)
    assert_array_equal(codes, quick(2).fit_transform(X=X, y=y))
    assert model.inverse_transform(X=codes).shape == X.shape
    assert model.score(X=X, y=y) == pytest.approx(model.score_samples(X=X).mean())


def test_a_scatter_plot_unpacks_the_transposed_codes(X, y):
    x1, x2 = quick(n_components=2).fit_transform(X).T
    assert x1.shape == x2.shape == y.shape


def test_a_projection_by_hand_is_transform(X):
    model = linear(4).fit(X)
    assert_near(np.dot(X - model.mean_, model.components_.T), model.transform(X))


def test_a_reconstruction_by_hand_is_inverse_transform(X):
    model = linear(4).fit(X)
    codes = model.transform(X)
    by_hand = np.dot(codes, model.components_) + model.mean_
    assert_near(by_hand, model.inverse_transform(codes))


def test_codes_are_uncorrelated(X):
    model = linear(4).fit(X)
    covariance = np.cov(model.transform(X).T)
    assert_near(covariance, np.diag(model.explained_variance_))


def test_codes_of_new_rows_are_those_that_pca_gives_them(X):
    train, test = train_test_split(X, test_size=0.25, random_state=0)
    model, pca = linear(5).fit(train), PCA(5).fit(train)
    assert_near(model.transform(test), pca.transform(test))
    rebuilt = pca.inverse_transform(pca.transform(test))
    assert_near(model.inverse_transform(model.transform(test)), rebuilt)


def test_a_row_alone_gets_the_code_that_it_gets_among_others(fitted, X):
    codes = fitted.transform(X)
    assert_near(fitted.transform(X[:1]), codes[:1])
    assert_near(fitted.transform(X[7].reshape(1, -1))[0], codes[7])
    assert_near(
        fitted.inverse_transform(codes[7:8])[0], fitted.inverse_transform(codes)[7]
    )


def test_a_row_that_is_no_table_is_refused(fitted, X):
    with pytest.raises(ValueError, match="1D array"):
        fitted.transform(X[0])


def test_codes_follow_the_order_of_the_rows(fitted, X):
    order = np.random.RandomState(0).permutation(len(X))
    assert_near(fitted.transform(X[order]), fitted.transform(X)[order])


@pytest.mark.parametrize("make", [linear, quick])
def test_shuffled_training_rows_find_the_same_axes(make, X):
    order = np.random.RandomState(0).permutation(len(X))
    model, other = make(3).fit(X), make(3).fit(X[order])
    assert_near(other.singular_values_, model.singular_values_)
    assert_near(other.mean_, model.mean_)
    if not other.max_iter:
        assert_near(other.components_, model.components_, rtol=1e-6)


def test_centring_beforehand_changes_nothing(X):
    centred = X - X.mean(axis=0)
    model = linear(3).fit(centred)
    assert_near(model.transform(centred), linear(3).fit_transform(X))
    assert_allclose(model.mean_, 0, atol=1e-12)


def test_whitened_codes_have_unit_variance(X):
    for make in (linear, quick):
        codes = make(n_components=4, whiten=True).fit_transform(X)
        assert_near(codes.std(axis=0, ddof=1), np.ones(4), rtol=1e-6)


def test_whitening_is_a_division_by_the_deviations(X):
    plain, white = quick(3).fit(X), quick(3, whiten=True).fit(X)
    expected = plain.transform(X) / np.sqrt(plain.explained_variance_)
    assert_near(white.transform(X), expected, rtol=1e-5)
    rebuilt = white.inverse_transform(white.transform(X))
    assert_near(rebuilt, plain.inverse_transform(plain.transform(X)), rtol=1e-5)


def test_whitened_codes_turned_back_have_unit_covariance(wine):
    X, _ = wine
    model = linear(whiten=True).fit(X)
    sphered = model.transform(X) @ model.components_
    assert_allclose(np.cov(sphered.T), np.eye(13), atol=1e-9)


def test_mahalanobis_distances_of_codes_have_mean_k(fitted, X):
    codes = fitted.transform(X)
    centred = codes - codes.mean(axis=0)
    distances = (centred**2 / fitted.explained_variance_).sum(axis=1)
    assert distances.mean() == pytest.approx(3 * 299 / 300)


def test_hotelling_and_the_residual_split_the_likelihood(X):
    model = linear(5).fit(X)
    codes = model.transform(X)
    t2 = (codes**2 / model.explained_variance_).sum(axis=1)
    q = ((X - model.inverse_transform(codes)) ** 2).sum(axis=1)
    logs = np.log(model.explained_variance_).sum() + 59 * np.log(model.noise_variance_)
    expected = -0.5 * (t2 + q / model.noise_variance_ + logs + 64 * np.log(2 * np.pi))
    assert_near(model.score_samples(X), expected)


def test_images_come_back_better_with_more_codes(X):
    def error(k):
        model = AutoencoderTransformer(k, max_iter=5, random_state=0).fit(X)
        return ((X - model.inverse_transform(model.transform(X))) ** 2).mean()

    errors = [error(k) for k in (1, 4, 16, 40)]
    assert errors == sorted(errors, reverse=True)
    pca = PCA(4).fit(X)
    rebuilt = pca.inverse_transform(pca.transform(X))
    assert errors[1] < ((X - rebuilt) ** 2).mean()


def test_noise_is_removed_from_images(X):
    noisy = np.random.RandomState(0).normal(X, 4)
    model = AutoencoderTransformer(0.5, max_iter=10, random_state=0).fit(noisy)
    clean = model.inverse_transform(model.transform(noisy))
    assert ((clean - X) ** 2).mean() < 0.7 * ((noisy - X) ** 2).mean()


def test_a_picture_is_compressed_by_its_rows():
    across, down = np.meshgrid(np.linspace(-3, 3, 40), np.linspace(-3, 3, 60))
    picture = np.sin(across * down) + np.cos(np.hypot(across, down))
    model, pca = linear(8), PCA(8)
    rebuilt = model.inverse_transform(model.fit_transform(picture))
    assert_near(rebuilt, pca.inverse_transform(pca.fit_transform(picture)))
    assert ((rebuilt - picture) ** 2).mean() < 0.1 * (picture**2).mean()


def test_colours_of_a_picture_are_compressed_pixel_by_pixel():
    rng = np.random.RandomState(0)
    light = rng.uniform(0, 255, (12, 10, 1))
    picture = (light * [1.0, 0.7, 0.2] + 3).round().astype(np.uint8)
    pixels = picture.reshape(-1, 3)
    model = linear(1).fit(pixels)
    rebuilt = model.inverse_transform(model.transform(pixels)).reshape(picture.shape)
    assert np.abs(rebuilt - picture).max() < 1


def test_components_are_kept_one_by_one(X):
    model = linear(6).fit(X)
    codes = model.transform(X)
    for k in range(1, 7):
        kept = codes.copy()
        kept[:, k:] = 0
        pca = PCA(k).fit(X)
        expected = pca.inverse_transform(pca.transform(X))
        assert_near(model.inverse_transform(kept), expected)


def test_the_first_component_is_removed_as_a_batch_effect(X):
    model = linear().fit(X)
    codes = model.transform(X)
    codes[:, 0] = 0
    axis = PCA(1).fit(X).components_
    expected = X - (X - X.mean(axis=0)) @ axis.T @ axis
    assert_near(model.inverse_transform(codes), expected)


def test_the_origin_of_the_codes_is_the_mean(X):
    model = linear(2).fit(X)
    assert_near(model.inverse_transform([[0, 0]])[0], model.mean_)


def test_reconstruction_errors_score_anomalies(X, y):
    normal, other = X[y == 0], X[y != 0]
    model = AutoencoderTransformer(4, random_state=0).fit(normal)

    def errors(rows):
        rebuilt = model.inverse_transform(model.transform(rows))
        return np.mean((rows - rebuilt) ** 2, axis=1)

    scores = np.concatenate([errors(normal), errors(other)])
    labels = np.repeat([0, 1], [len(normal), len(other)])
    assert roc_auc_score(labels, scores) > 0.95
    threshold = np.quantile(errors(normal), 0.95)
    assert (errors(other) > threshold).mean() > 0.8


def test_log_likelihoods_score_anomalies(X, y):
    model = linear(4).fit(X[y == 0])
    pca = PCA(4).fit(X[y == 0])
    assert_near(model.score_samples(X), pca.score_samples(X))
    assert roc_auc_score(y != 0, -model.score_samples(X)) > 0.95


def test_a_grid_of_codes_is_decoded_to_images(trained, X):
    codes = trained.transform(X)
    low, high = np.percentile(codes, [5, 95], axis=0)
    first, second = np.meshgrid(*np.linspace(low[:2], high[:2], 5).T)
    grid = np.c_[first.ravel(), second.ravel(), np.zeros(25)]
    images = trained.inverse_transform(grid).reshape(5, 5, 8, 8)
    assert np.isfinite(images).all()
    assert np.abs(images[0, 0] - images[-1, -1]).max() > 1


def test_a_walk_between_two_codes_starts_and_ends_at_their_rows(trained, X):
    start, end = trained.transform(X[:2])
    walk = trained.inverse_transform(np.linspace(start, end, 7))
    assert walk.shape == (7, 64)
    assert_near(walk[[0, -1]], trained.inverse_transform(trained.transform(X[:2])))


# Frames


def test_codes_become_a_frame_with_names_of_ones_own(frame):
    model = linear(n_components=2)
    codes = pd.DataFrame(
        model.fit_transform(frame), columns=["PC1", "PC2"], index=frame.index
    )
    assert_near(codes["PC1"], PCA(2).fit_transform(frame)[:, 0])


def test_components_become_a_frame_with_the_names_of_the_columns(frame):
    model = linear().fit(frame)
    table = pd.DataFrame(
        model.components_,
        columns=frame.columns,
        index=[f"PC{i + 1}" for i in range(model.n_components_)],
    )
    assert table.shape == (4, 4)
    assert table.loc["PC1"].abs().idxmax() == "petal length (cm)"
    turned = pd.DataFrame(model.components_.T, index=model.feature_names_in_)
    assert_array_equal(turned.T, table)


def test_loadings_are_sorted_as_a_series(frame):
    model = linear(2).fit(frame)
    loadings = pd.Series(dict(zip(frame.columns, model.components_[0], strict=True)))
    expected = pd.Series(PCA(2).fit(frame).components_[0], index=frame.columns)
    assert list(loadings.sort_values().index) == list(expected.sort_values().index)


def test_frames_come_out_where_they_are_asked_for(frame):
    rows = frame.sample(50, random_state=0)
    codes = quick(2).set_output(transform="pandas").fit_transform(rows)
    assert list(codes) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert codes.index.equals(rows.index)


def test_frames_come_out_by_the_global_setting(frame):
    with sklearn.config_context(transform_output="pandas"):
        codes = quick(2).fit_transform(frame)
    assert isinstance(codes, pd.DataFrame)
    assert_array_equal(codes, quick(2).fit_transform(frame))


def test_a_frame_of_codes_goes_back(frame):
    model = linear(2).set_output(transform="pandas").fit(frame)
    rebuilt = pd.DataFrame(
        model.inverse_transform(model.transform(frame)), columns=frame.columns
    )
    pca = PCA(2).fit(frame)
    assert_near(rebuilt, pca.inverse_transform(pca.transform(frame)))


def test_codes_are_joined_to_their_frame(frame):
    model = quick(2)
    table = frame.assign(species=load_iris().target)
    table[["x", "y"]] = model.fit_transform(table[frame.columns])
    assert_array_equal(table[["x", "y"]], model.transform(frame))
    assert table.groupby("species")["x"].mean().is_monotonic_increasing


def test_names_of_the_codes_are_those_of_the_class_and_a_number(frame):
    model = quick(2).fit(frame)
    names = ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(model.get_feature_names_out()) == names
    assert list(model.get_feature_names_out(input_features=frame.columns)) == names


def test_names_of_the_columns_are_remembered(frame):
    model = quick(2).fit(frame)
    assert_array_equal(model.feature_names_in_, frame.columns)
    assert model.n_features_in_ == 4
    assert not hasattr(quick(2).fit(frame.to_numpy()), "feature_names_in_")


def test_a_frame_and_its_values_give_the_same(frame):
    codes = quick(2).fit_transform(frame.values)
    assert_near(codes, quick(2).fit_transform(frame), rtol=1e-5)


def test_codes_are_drawn_by_class(frame):
    y = load_iris(as_frame=True).target
    codes = linear(2).fit_transform(frame)
    centres = [codes[y == c, 0].mean() for c in np.unique(y)]
    assert centres == sorted(centres)


# Pipelines and searches


def test_a_pipeline_scales_first(wine):
    X = load_wine().data
    pipe = make_pipeline(StandardScaler(), linear(2)).fit(X)
    assert_near(pipe.transform(X), PCA(2).fit_transform(wine[0]))
    assert_near(pipe.score(X), PCA(2).fit(wine[0]).score(wine[0]))


def test_a_pipeline_names_the_step_by_its_class(wine):
    X, y = wine
    pipe = make_pipeline(StandardScaler(), quick(2), LogisticRegression()).fit(X, y)
    step = pipe.named_steps["autoencodertransformer"]
    assert step is pipe.named_steps.autoencodertransformer is pipe[1]
    assert pipe[:-1].transform(X).shape == (178, 2)
    assert list(pipe[:-1].get_feature_names_out())[1] == "autoencodertransformer1"


def test_a_pipeline_goes_back_to_the_units_of_the_columns():
    X = load_wine().data
    pipe = make_pipeline(MinMaxScaler(), linear())
    assert_near(pipe.inverse_transform(pipe.fit_transform(X)), X)


def test_a_named_step_is_set_from_outside(wine):
    X, _ = wine
    pipe = Pipeline([("scale", StandardScaler()), ("pca", linear(2))])
    pipe.set_params(pca__n_components=5, pca__whiten=True)
    assert pipe.fit_transform(X).shape == (178, 5)
    assert pipe["pca"].whiten is True


def test_a_pipeline_returns_frames(frame):
    pipe = make_pipeline(StandardScaler(), quick(2)).set_output(transform="pandas")
    assert list(pipe.fit_transform(frame)) == list(pipe.get_feature_names_out())


def test_a_grid_search_over_codes_and_whitening_finds_what_it_finds_with_pca(wine):
    X, y = wine
    grid = {"pca__n_components": [1, 3], "pca__whiten": [False, True]}

    def search(step):
        pipe = Pipeline([("pca", step), ("svc", SVC())])
        return GridSearchCV(pipe, grid, cv=3).fit(X, y)

    mine, pcas = search(linear()), search(PCA())
    expected = pcas.cv_results_["mean_test_score"]
    assert_allclose(mine.cv_results_["mean_test_score"], expected)
    assert mine.best_params_ == pcas.best_params_
    best = mine.best_estimator_.named_steps["pca"]
    assert best.n_components_ == mine.best_params_["pca__n_components"]


def test_a_grid_search_trains_networks(wine):
    X, y = wine
    pipe = Pipeline([("pca", quick()), ("logistic", LogisticRegression())])
    search = GridSearchCV(pipe, {"pca__n_components": [1, 4]}, cv=2).fit(X, y)
    assert search.best_params_ == {"pca__n_components": 4}
    assert search.score(X, y) > 0.9


def test_a_random_search_draws_settings(wine):
    X, y = wine
    pipe = Pipeline([("pca", linear()), ("knn", KNeighborsClassifier())])
    space = {"pca__n_components": range(1, 8), "knn__n_neighbors": [1, 5, 9]}
    search = RandomizedSearchCV(pipe, space, n_iter=4, cv=2, random_state=0).fit(X, y)
    assert search.best_score_ > 0.8


def test_a_search_chooses_between_reducers(wine):
    X, y = wine
    pipe = Pipeline([("reduce_dim", "passthrough"), ("svc", SVC())])
    grid = [
        {"reduce_dim": [quick(), PCA()], "reduce_dim__n_components": [2]},
        {"reduce_dim": [SelectKBest()], "reduce_dim__k": [2]},
    ]
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_search_without_a_target_goes_by_the_likelihood(X):
    grid = {"n_components": [2, 10, 30]}
    mine, pcas = GridSearchCV(linear(), grid, cv=3), GridSearchCV(PCA(), grid, cv=3)
    mine.fit(X), pcas.fit(X)
    assert mine.best_params_ == pcas.best_params_
    expected = pcas.cv_results_["mean_test_score"]
    assert_near(mine.cv_results_["mean_test_score"], expected, rtol=1e-5)


@pytest.mark.parametrize("make", [linear, quick])
def test_cross_validated_likelihoods_find_the_rank(make):
    rng = np.random.RandomState(0)
    X = rng.randn(200, 3) @ rng.randn(3, 10) + 0.3 * rng.randn(200, 10)
    ranks = range(1, 6)
    scores = [np.mean(cross_val_score(make(n_components=k), X)) for k in ranks]
    assert ranks[np.argmax(scores)] == 3


def test_a_cached_step_is_not_fitted_twice(tmp_path, wine):
    X, y = wine
    # Without a seed a second training would differ.
    step = quick(2, random_state=None)
    pipe = make_pipeline(step, LogisticRegression(), memory=str(tmp_path))
    first = pipe.fit(X, y)[0].loss_curve_
    assert clone(pipe).fit(X, y)[0].loss_curve_ == first
    assert clone(pipe).set_params(memory=None).fit(X, y)[0].loss_curve_ != first


def test_a_union_puts_codes_beside_chosen_columns(wine):
    X, y = wine
    union = FeatureUnion([("pca", linear(2)), ("best", SelectKBest(k=1))])
    features = union.fit(X, y).transform(X)
    assert_near(features[:, :2], PCA(2).fit_transform(X))
    assert_array_equal(features[:, 2:], SelectKBest(k=1).fit_transform(X, y))
    assert union.get_feature_names_out()[0] == "pca__autoencodertransformer0"


def test_a_search_reaches_into_a_union(wine):
    X, y = wine
    union = FeatureUnion([("pca", linear()), ("best", SelectKBest())])
    pipe = Pipeline([("features", union), ("svm", SVC(kernel="linear"))])
    grid = {"features__pca__n_components": [1, 3], "features__best__k": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9


def test_some_columns_are_reduced_and_others_encoded(frame):
    table = frame.assign(site=np.tile(["a", "b", "c"], 50))
    columns = ColumnTransformer(
        [
            ("pca", linear(2), list(frame.columns)),
            ("site", OneHotEncoder(sparse_output=False), ["site"]),
        ]
    )
    features = columns.fit_transform(table)
    assert_near(features[:, :2], PCA(2).fit_transform(frame))
    names = list(columns.get_feature_names_out())
    assert names[:2] == [f"pca__autoencodertransformer{j}" for j in range(2)]


def test_folds_return_the_pipelines_that_they_fitted(wine):
    X, y = wine
    pipe = make_pipeline(linear(0.9), LogisticRegression())
    result = cross_validate(pipe, X, y, cv=3, return_estimator=True)
    expected = cross_validate(
        make_pipeline(PCA(0.9), LogisticRegression()), X, y, cv=3, return_estimator=True
    )
    for mine, pcas in zip(result["estimator"], expected["estimator"], strict=True):
        assert mine[0].n_components_ == pcas[0].n_components_
    assert_allclose(result["test_score"], expected["test_score"])


def test_threads_of_a_search_do_not_disturb_each_other(wine):
    X, y = wine
    pipe = make_pipeline(quick(2), LogisticRegression())
    alone = cross_val_score(pipe, X, y, cv=4)
    with joblib.parallel_config(backend="threading"):
        together = cross_val_score(pipe, X, y, cv=4, n_jobs=2)
    assert_array_equal(together, alone)


def test_bootstrapped_pipelines_vote_as_with_pca(wine):
    X, y = wine

    def votes(step):
        pipe = make_pipeline(step, DecisionTreeClassifier(max_depth=2, random_state=0))
        bag = BaggingClassifier(pipe, n_estimators=5, random_state=0)
        return bag.fit(X, y).predict(X)

    assert (votes(linear(2)) == votes(PCA(2))).mean() > 0.99


def test_pipelines_vote_together(wine):
    X, y = wine
    votes = VotingClassifier(
        [
            ("codes", make_pipeline(quick(2), LogisticRegression())),
            ("columns", LogisticRegression()),
        ],
        voting="soft",
    )
    assert votes.fit(X, y).score(X, y) > 0.9


def test_predictions_across_folds_are_those_with_pca(wine):
    X, y = wine

    def predictions(step):
        return cross_val_predict(make_pipeline(step, KNeighborsClassifier()), X, y)

    assert_array_equal(predictions(linear(2)), predictions(PCA(2)))


def test_functions_stand_before_and_after(wine):
    X, _ = wine
    pipe = make_pipeline(
        FunctionTransformer(np.tanh), linear(2), FunctionTransformer(np.abs)
    )
    assert_near(pipe.fit_transform(X), np.abs(PCA(2).fit_transform(np.tanh(X))))


# Later steps


@pytest.mark.parametrize(
    "classifier",
    [SVC(), LogisticRegression(max_iter=1000), KNeighborsClassifier()],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_learn_from_codes(classifier, X, y):
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(train)
    scaler = StandardScaler().fit(model.transform(train))
    classifier.fit(scaler.transform(model.transform(train)), y_train)
    accuracy = classifier.score(scaler.transform(model.transform(test)), y_test)
    assert accuracy > 0.7  # chance is a tenth


def test_faces_are_recognised_the_old_way(X, y):
    train, test, y_train, y_test = train_test_split(X, y, random_state=42)
    settings = {"n_components": 20, "svd_solver": "randomized", "whiten": True}
    model = linear(**settings).fit(train)
    grid = {"C": [1, 100], "gamma": [0.01, 0.1]}
    search = GridSearchCV(SVC(class_weight="balanced"), grid, cv=3)
    search.fit(model.transform(train), y_train)
    assert search.score(model.transform(test), y_test) > 0.8


def test_regression_on_codes_equals_that_on_pcas():
    X, y = load_diabetes(return_X_y=True)
    mine = make_pipeline(StandardScaler(), linear(4), LinearRegression()).fit(X, y)
    pcas = make_pipeline(StandardScaler(), PCA(4), LinearRegression()).fit(X, y)
    assert_near(mine.predict(X), pcas.predict(X))
    weights = mine[-1].coef_ @ mine[1].components_
    assert_near(weights, pcas[-1].coef_ @ pcas[1].components_)


def test_several_targets_are_predicted_from_codes():
    X, y = load_linnerud(return_X_y=True)

    def predictions(step):
        model = MultiOutputRegressor(make_pipeline(StandardScaler(), step, Ridge()))
        return model.fit(X, y).predict(X)

    assert_near(predictions(linear(2)), predictions(PCA(2)))


def test_targets_are_reduced_as_well():
    X, y = load_linnerud(return_X_y=True)

    def predictions(transformer):
        model = TransformedTargetRegressor(
            LinearRegression(), transformer=transformer, check_inverse=False
        )
        return model.fit(X, y).predict(X)

    assert_near(predictions(linear(2)), predictions(PCA(2)))


def test_clusters_are_found_on_codes(wine):
    X, y = wine
    codes = quick(2).fit_transform(X)
    labels = KMeans(n_clusters=3, n_init=5, random_state=0).fit_predict(codes)
    assert adjusted_rand_score(y, labels) > 0.7


def test_components_are_the_first_centres_of_clusters(X):
    model = linear(n_components=10).fit(X)
    kmeans = KMeans(init=model.components_, n_clusters=10, n_init=1).fit(X)
    expected = KMeans(init=PCA(10).fit(X).components_, n_clusters=10, n_init=1).fit(X)
    assert kmeans.inertia_ == pytest.approx(expected.inertia_, rel=1e-3)


def test_a_hierarchy_is_built_on_codes(wine):
    X, _ = wine
    codes = linear(3).fit_transform(X)
    labels = AgglomerativeClustering(3).fit_predict(codes)
    assert_array_equal(
        labels, AgglomerativeClustering(3).fit_predict(PCA(3).fit_transform(X))
    )


def test_tsne_goes_on_from_codes(X):
    codes = AutoencoderTransformer(10, max_iter=3, random_state=0).fit_transform(X)
    tsne = TSNE(init="pca", perplexity=5, max_iter=250, random_state=0)
    assert tsne.fit_transform(codes[:60]).shape == (60, 2)


def test_codes_are_where_tsne_starts(X):
    start = quick(2).fit_transform(X[:60])
    start = start / np.std(start[:, 0]) * 1e-4
    tsne = TSNE(init=start.astype(np.float32), perplexity=5, max_iter=250)
    assert np.isfinite(tsne.fit_transform(X[:60])).all()


def test_new_digits_are_drawn_from_a_mixture_of_codes(X):
    model = quick(0.8, whiten=True)
    codes = model.fit_transform(X)
    mixture = GaussianMixture(5, covariance_type="diag", random_state=0).fit(codes)
    samples, _ = mixture.sample(20)
    images = model.inverse_transform(samples)
    assert images.shape == (20, 64)
    assert np.abs(images.mean(axis=0) - X.mean(axis=0)).mean() < 2


def test_new_digits_are_drawn_from_a_density_of_codes(X):
    model = linear(n_components=15, whiten=False)
    codes = model.fit_transform(X)
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(0, 1, 3)}, cv=3)
    density = search.fit(codes).best_estimator_
    images = model.inverse_transform(density.sample(9, random_state=0))
    pca = PCA(15).fit(X)
    expected = pca.inverse_transform(density.sample(9, random_state=0))
    assert_near(images, expected)


def test_similar_rows_are_looked_up_by_their_codes(X, y):
    codes = AutoencoderTransformer(8, max_iter=10, random_state=0).fit_transform(X)
    neighbours = NearestNeighbors(n_neighbors=2).fit(codes).kneighbors(codes)[1]
    assert_array_equal(neighbours[:, 0], np.arange(300))
    assert (y[neighbours[:, 1]] == y).mean() > 0.85


def test_a_decision_boundary_is_drawn_in_the_plane_of_the_codes(wine):
    X, y = wine
    codes = quick(2).fit_transform(X)
    classifier = LogisticRegression().fit(codes, y)
    ranges = np.linspace(codes.min(axis=0) - 1, codes.max(axis=0) + 1, 20).T
    xx, yy = np.meshgrid(*ranges)
    regions = classifier.predict(np.c_[xx.ravel(), yy.ravel()]).reshape(xx.shape)
    assert set(regions.ravel()) == {0, 1, 2}


def test_windows_of_a_series_are_reduced():
    series = np.sin(np.linspace(0, 40, 400))
    windows = np.lib.stride_tricks.sliding_window_view(series, 20)[::2]
    model = linear(2).fit(windows)
    # A sine of one period is a turning ellipse: two dimensions are all.
    assert model.explained_variance_ratio_.sum() == pytest.approx(1)
    assert_near(model.inverse_transform(model.transform(windows)), windows)


# Rows of every kind


@pytest.mark.parametrize("solver", ["auto", "arpack", "covariance_eigh"])
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array])
def test_sparse_rows_are_taken(solver, kind):
    X = sp.random(80, 30, density=0.2, random_state=np.random.RandomState(0))
    model = linear(4, svd_solver=solver)
    codes = model.fit_transform(kind(X))
    assert_near(codes, PCA(4, svd_solver="full").fit_transform(X.toarray()), rtol=1e-6)


def test_weighted_words_are_reduced():
    texts = [
        "the cat sat on the mat",
        "the dog sat on the cat",
        "a bird sang in the old tree",
        "an old dog ran in the rain",
        "the bird ran from a cat in the tree",
        "rain fell on the old mat",
    ]
    words = TfidfVectorizer().fit_transform(texts)
    codes = linear(2, svd_solver="arpack").fit_transform(words)
    assert_near(codes, linear(2).fit_transform(words.toarray()), rtol=1e-6)


def test_lists_are_taken():
    rows = [[-1, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]]
    model, pca = linear(n_components=2).fit(rows), PCA(2).fit(rows)
    assert_near(model.explained_variance_ratio_, pca.explained_variance_ratio_)
    assert_near(model.transform([[0, 1]]), pca.transform([[0, 1]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16])
def test_numbers_of_any_type_are_taken(dtype, X):
    rows = (X > 7).astype(dtype) if dtype is bool else X.astype(dtype)
    codes = linear(2).fit_transform(rows)
    assert_near(codes, PCA(2).fit_transform(rows.astype(np.float64)))


def test_float32_rows_have_float32_codes(X):
    model = quick(2).fit(X.astype(np.float32))
    assert model.components_.dtype == np.float32
    codes = model.transform(X.astype(np.float32))
    assert codes.dtype == model.inverse_transform(codes).dtype == np.float32


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_does_not_matter(order, X):
    codes = linear(2).fit_transform(np.array(X, order=order))
    assert_near(codes, PCA(2).fit_transform(X))


def test_transposed_and_strided_tables_are_taken(X):
    assert_near(linear(2).fit_transform(X.T), PCA(2).fit_transform(X.T))
    assert_near(linear(2).fit_transform(X[::3]), PCA(2).fit_transform(X[::3]))


def test_axes_of_a_transposed_table_are_scores_of_its_rows(X):
    """As genomics does it: samples in columns, and the scores in `components_`."""
    scores = linear(n_components=2).fit(X.T).components_.T
    assert scores.shape == (300, 2)
    assert_near(scores, PCA(n_components=2).fit(X.T).components_.T)


@pytest.mark.parametrize(
    "dtype", [object, "Float64", "float32", pd.SparseDtype(float, 0)]
)
def test_frames_of_any_type_are_taken(dtype, frame):
    expected = PCA(2).fit_transform(frame)
    assert_near(linear(2).fit_transform(frame.astype(dtype)), expected, rtol=1e-6)


def test_columns_named_by_numbers_are_taken(X):
    codes = quick(2).set_output(transform="pandas").fit_transform(pd.DataFrame(X))
    assert list(codes) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert_near(codes, quick(2).fit_transform(X), rtol=1e-5)


def test_more_columns_than_rows_are_taken():
    X = np.random.RandomState(0).randn(20, 200)
    model, pca = linear(5).fit(X), PCA(5).fit(X)
    assert_near(model.transform(X), pca.transform(X))
    assert model.score(X) == pytest.approx(pca.score(X))
    assert quick().fit(X).n_components_ == 20


def test_a_single_column_is_taken(frame):
    column = frame[["petal width (cm)"]]
    codes = linear(1).fit_transform(column)
    assert_near(codes, column - column.mean())


def test_constant_columns_have_no_loading(X):
    assert (X[:, 0] == 0).all()
    assert_allclose(linear(3).fit(X).components_[:, 0], 0, atol=1e-12)


def test_a_target_is_given_and_ignored(X, y):
    codes = quick(2).fit(X, y).transform(X)
    assert_array_equal(codes, quick(2).fit(X).transform(X))
    assert_array_equal(codes, quick(2).fit_transform(X, y))
    model = linear(2).fit(X, y)
    assert model.score(X, y) == model.score(X)


def test_holes_and_columns_that_do_not_fit_are_refused(X):
    holes = X.copy()
    holes[3, 5] = np.nan
    for model in (PCA(2), linear(2)):
        with pytest.raises(ValueError, match="NaN"):
            model.fit(holes)
        with pytest.raises(ValueError, match="X has 10 features"):
            model.fit(X).transform(X[:, :10])


def test_columns_in_another_order_are_refused(frame):
    for model in (PCA(2), linear(2)):
        with pytest.raises(ValueError, match="feature names should match"):
            model.fit(frame).transform(frame[frame.columns[::-1]])


# Randomness, copies and files


def test_the_global_seed_of_numpy_is_honoured(X):
    def fitted_after(seed):
        np.random.seed(seed)  # noqa: NPY002
        return AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_iter=2).fit(X)

    first, again, other = fitted_after(0), fitted_after(0), fitted_after(1)
    assert_array_equal(first.transform(X), again.transform(X))
    assert first.loss_curve_ == again.loss_curve_ != other.loss_curve_


@pytest.mark.parametrize("seed", [0, 42])
def test_a_seed_gives_the_same_twice(seed, X):
    codes = [quick(2, random_state=seed).fit_transform(X) for _ in range(2)]
    assert_array_equal(*codes)
    rng = [quick(2, random_state=np.random.RandomState(seed)) for _ in range(2)]
    assert_array_equal(rng[0].fit_transform(X), rng[1].fit_transform(X))


def test_a_clone_is_unfitted_and_equal(trained, X):
    other = clone(trained)
    assert other.get_params() == trained.get_params()
    with pytest.raises(NotFittedError):
        other.transform(X)
    assert_array_equal(other.fit_transform(X), trained.transform(X))


def test_parameters_are_read_and_written(X):
    model = linear(2)
    assert model.get_params()["n_components"] == 2
    assert model.set_params(n_components=4, whiten=True) is model
    assert_near(model.fit_transform(X), PCA(4, whiten=True).fit_transform(X))
    model.n_components = 1
    assert model.fit_transform(X).shape == (300, 1)


def test_a_model_knows_whether_it_is_fitted(X):
    model = linear(2)
    assert not hasattr(model, "components_")
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    check_is_fitted(model.fit(X))


def test_a_model_is_a_transformer_that_prints_itself():
    model = AutoencoderTransformer(n_components=2)
    assert isinstance(model, BaseEstimator)
    assert isinstance(model, TransformerMixin)
    assert repr(model) == "AutoencoderTransformer(n_components=2)"


def test_a_pickle_gives_the_same_codes(trained, X):
    other = pickle.loads(pickle.dumps(trained))
    assert_array_equal(other.transform(X), trained.transform(X))
    assert_array_equal(other.components_, trained.components_)


def test_a_file_of_joblib_holds_a_whole_pipeline(tmp_path, wine):
    X, y = wine
    pipe = make_pipeline(StandardScaler(), quick(2), LogisticRegression()).fit(X, y)
    joblib.dump(pipe, tmp_path / "pipe.joblib", compress=3)
    other = joblib.load(tmp_path / "pipe.joblib")
    assert_array_equal(other.predict_proba(X), pipe.predict_proba(X))


def test_axes_saved_as_arrays_project_new_rows(tmp_path, X):
    model = linear(3).fit(X[:200])
    np.savez(tmp_path / "axes.npz", W=model.components_, mu=model.mean_)
    saved = np.load(tmp_path / "axes.npz")
    codes = (X[200:] - saved["mu"]) @ saved["W"].T
    assert_near(codes, model.transform(X[200:]))


def test_a_second_fit_forgets_the_first(X, frame):
    model = quick(2).fit(X).fit(frame)
    assert model.components_.shape == (2, 4)
    assert_array_equal(model.transform(frame), quick(2).fit_transform(frame))


def test_drawn_rows_find_about_the_same_axes(wine):
    X, _ = wine
    rng = np.random.RandomState(0)
    for _ in range(3):
        rows = X[rng.randint(len(X), size=len(X))]
        model, pca = linear(2).fit(rows), PCA(2).fit(rows)
        assert_near(model.components_, pca.components_, rtol=1e-6)
        assert_near(model.explained_variance_, pca.explained_variance_, rtol=1e-6)


@pytest.mark.parametrize("make", [linear, quick])
def test_without_a_code_there_is_only_the_mean(make, X):
    model, pca = make(0).fit(X), PCA(0).fit(X)
    assert model.transform(X).shape == (len(X), 0)
    assert model.n_components_ == pca.n_components_ == 0
    assert_near(model.mean_, X.mean(axis=0))
    assert model.components_.shape == (0, X.shape[1])
    assert model.explained_variance_ratio_.sum() == 0
    assert model.score(X) == pytest.approx(pca.score(X))
    assert_near(model.get_covariance(), pca.get_covariance())
