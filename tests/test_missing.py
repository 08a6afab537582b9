"""Missing cells: conditional normal distributions, against dense algebra."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from skae import VAE
from skae._missing import MissingCells, known_cells, mean_filled
from skae._solvers import linear_start
from skae._start import RandomStart
from skae.architectures import Recurrent

NAN = np.nan


def test_mean_filled():
    X = np.array([[1.0, NAN, NAN], [3.0, 4.0, NAN]])
    assert_array_equal(mean_filled(X, None, 7.0), [[1, 4, 7], [3, 4, 7]])
    Y = np.array([[1.0, 1.0], [1.0, 4.0], [1.0, NAN]])
    assert_allclose(mean_filled(Y, np.array([2.0, 1.0, 5.0]))[2], [1.0, 2.0])
    assert_array_equal(mean_filled(Y[:2], None), Y[:2])


def test_the_cells_of_whole_rows_need_no_mask():
    X = np.ones((2, 3))
    assert known_cells(X) is None
    X[1, 2] = NAN
    assert_array_equal(known_cells(X), [[True, True, True], [True, True, False]])


# A model, and cells that are missing anywhere


@pytest.fixture(scope="module")
def model():
    """Return axes, variances and a noise, and the loadings and covariance of these."""
    rng = np.random.RandomState(0)
    axes = np.linalg.qr(rng.standard_normal((7, 3)))[0].T
    variance, noise = np.array([9.0, 4.0, 1.5]), 0.5
    loadings = axes.T * np.sqrt(variance - noise)
    return (axes, variance, noise), loadings, loadings @ loadings.T + 0.5 * np.eye(7)


@pytest.fixture(scope="module")
def cells():
    """Return centred rows, and which of their cells are known: all, some and none."""
    rng = np.random.RandomState(1)
    known = rng.uniform(size=(40, 7)) < 0.6
    known[0], known[1] = True, False
    return rng.standard_normal((40, 7)), known


def test_a_missing_cell_is_expected_where_the_known_ones_lead(model, cells):
    given, _, C = model
    X, known = cells
    filled = MissingCells.of_axes(*given).expected(np.where(known, X, NAN), known)
    for row, o, ours in zip(X, known, filled, strict=True):
        expected = C[np.ix_(~o, o)] @ np.linalg.solve(C[np.ix_(o, o)], row[o])
        assert_allclose(ours[~o], expected, rtol=1e-9, atol=1e-12)
        assert_array_equal(ours[o], row[o])


def test_codes_are_as_uncertain_as_the_known_cells_leave_them(model, cells):
    """The posterior covariance is I - W' C^-1 W of the known cells (Bishop 2006)."""
    given, W, C = model
    known = cells[1]
    variances = MissingCells.of_axes(*given).posterior_variance(known)
    for o, ours in zip(known, variances, strict=True):
        posterior = np.eye(3) - W[o].T @ np.linalg.solve(C[np.ix_(o, o)], W[o])
        assert_allclose(ours, np.diag(posterior), rtol=1e-9)


def test_the_score_of_known_cells_is_their_marginal_density(model, cells):
    given, _, C = model
    X, known = cells
    scores = MissingCells.of_axes(*given).score_samples(np.where(known, X, NAN), known)
    assert scores[1] == pytest.approx(0)  # nothing is known
    for row, o, ours in zip(X[2:], known[2:], scores[2:], strict=True):
        density = multivariate_normal(np.zeros(o.sum()), C[np.ix_(o, o)])
        assert_allclose(ours, density.logpdf(row[o]), rtol=1e-9)


def test_the_score_is_exact_where_hardly_any_noise_is_left(cells):
    """As with all axes of a table, whose likelihood is that of its covariance."""
    axes = np.linalg.qr(np.random.RandomState(3).standard_normal((7, 7)))[0]
    variance = np.array([3.0, 2.0, 1.0, 0.3, 0.1, 1e-2, 1e-3])
    C = (axes.T * variance) @ axes
    X, known = cells
    X = X @ np.linalg.cholesky(C).T
    model = MissingCells.of_axes(axes, variance, 3e-9)
    scores = model.score_samples(np.where(known, X, NAN), known)
    for row, o, ours in zip(X[2:], known[2:], scores[2:], strict=True):
        density = multivariate_normal(np.zeros(o.sum()), C[np.ix_(o, o)])
        assert_allclose(ours, density.logpdf(row[o]), atol=1e-4)


def test_rows_do_not_depend_on_the_rows_beside_them(model, cells):
    X, known = cells
    missing = MissingCells.of_axes(*model[0])
    whole = missing.expected(X, known), missing.score_samples(X, known)
    order = np.random.RandomState(2).permutation(40)[:11]
    assert_allclose(missing.expected(X[order], known[order]), whole[0][order])
    assert_allclose(missing.score_samples(X[order], known[order]), whole[1][order])


def test_rows_of_a_plane_are_completed_exactly():
    """Where no noise is left, as many cells as there are codes tell the others."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 6)) + 3
    known = np.ones(X.shape, dtype=bool)
    known[::2, :3] = known[1::2, 2:] = False
    filled = linear_start(X, 2).filled(np.where(known, X, NAN), known)
    assert_allclose(filled, X, atol=1e-4)


# The starts


@pytest.fixture(scope="module")
def cut():
    """Return PCA of complete rows, and rows that end in NaN, or have gaps."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 9)).cumsum(1) + 5
    rows = X[:30].copy()
    for i, row in enumerate(rows[:20]):
        row[1 + i % 9 :] = NAN  # 1 to 9 entries are left
    rows[20:][rng.uniform(size=(10, 9)) < 0.4] = NAN
    return PCA(3).fit(X), linear_start(X, 3), rows


def test_the_score_of_known_entries_is_their_marginal_density(cut):
    pca, start, rows = cut
    covariance = pca.get_covariance()
    for row, score in zip(rows, start.score_samples(rows), strict=True):
        known = ~np.isnan(row)
        density = multivariate_normal(
            pca.mean_[known], covariance[np.ix_(known, known)]
        )
        assert_allclose(score, density.logpdf(row[known]), rtol=1e-9)


def test_unknown_entries_count_as_what_the_known_ones_lead_to(cut):
    pca, start, rows = cut
    covariance = pca.get_covariance()
    filled = rows.copy()
    for row in filled:
        known = ~np.isnan(row)
        gain = covariance[np.ix_(~known, known)] @ np.linalg.inv(
            covariance[np.ix_(known, known)]
        )
        expected = pca.mean_[~known] + gain @ (row[known] - pca.mean_[known])
        row[~known] = expected
    assert_allclose(start.transform(rows), pca.transform(filled), rtol=1e-9)
    assert_allclose(start.filled(rows, ~np.isnan(rows)), filled, rtol=1e-9)
    ours = start.transform(rows.astype(np.float32))
    assert ours.dtype == np.float32


def test_filling_leaves_the_rows_that_were_given_alone(cut):
    _, start, rows = cut
    before = rows.copy()
    start.filled(rows, ~np.isnan(rows))
    assert_array_equal(rows, before)
    assert start.filled(rows, None) is rows


def test_without_a_linear_model_missing_cells_count_as_the_mean(cut):
    _, start, rows = cut
    known = ~np.isnan(rows)
    filled = RandomStart.of(start).filled(rows, known)
    assert_array_equal(filled, np.where(known, rows, start.mean))


# The posterior of probabilistic PCA


def series():
    """Return 80 series, half of them shorter than the others."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((80, 8)).cumsum(1)
    for row in X[::2]:
        row[rng.randint(2, 8) :] = NAN
    return X


def test_short_series_leave_their_codes_uncertain():
    """The posterior covariance of known entries is I - W' C^-1 W (Bishop 2006)."""
    X = series()
    model = VAE(2, architecture=Recurrent(hidden_size=2), max_iter=0).fit(X)
    _, std = model.transform(X, return_std=True)
    noise = model.noise_variance_
    loadings = model.components_.T * np.sqrt(model.explained_variance_ - noise)
    for row, deviation in zip(X, std / model._fit.start.code_scale, strict=True):
        W = loadings[~np.isnan(row)]
        C = W @ W.T + noise * np.eye(len(W))
        covariance = np.eye(2) - W.T @ np.linalg.solve(C, W)
        assert_allclose(deviation, np.sqrt(np.diag(covariance)), rtol=1e-8)


def test_a_bound_of_short_series_starts_as_near_as_independent_codes_can():
    """The best of them have the inverse precisions for variances.

    What is left is the divergence ``(sum_i log P_ii - log det P) / 2`` from the true
    posterior of precision P.
    """
    X = series()
    model = VAE(
        2,
        architecture=Recurrent(hidden_size=2),
        n_importance_samples=4096,
        max_iter=0,
        random_state=0,
    ).fit(X)
    fit = model._fit  # the module as it is, with its bound:
    network = fit.objective.model(model.module_, fit.start, None, fit.seed)
    gap = model.score_samples(X) - network.elbo(X)
    noise, root = (
        model.noise_variance_,
        np.sqrt(model.explained_variance_ - model.noise_variance_),
    )
    for row, missing in zip(X, gap, strict=True):
        loadings = (model.components_.T * root)[~np.isnan(row)]
        P = np.eye(2) + loadings.T @ loadings / noise
        expected = 0.5 * (np.log(np.diag(P)).sum() - np.linalg.slogdet(P)[1])
        assert_allclose(missing, expected, atol=0.01)
