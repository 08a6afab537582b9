"""The start at PCA: its density, and what it knows of short series."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA

from skae import VAE, AutoencoderTransformer
from skae._linear import GaussianCodes, LinearStart
from skae._solvers import linear_start
from skae.architectures import Recurrent


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_the_likelihood_integrates_to_one(shift):
    """The density of one code and one residual column, summed over a fine grid."""
    X = np.random.RandomState(0).randn(50, 2) @ np.array([[2.0, 1.0], [0, 0.5]]) + shift
    start = linear_start(X, 1)
    axis = np.linspace(-15, 15, 601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) + shift
    density = np.exp(start.score_samples(grid))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_a_start_is_padded_with_empty_axes():
    X = load_wine().data
    start = linear_start(X, 3)
    padded = start.padded(5)
    assert padded.components.shape == (5, 13)
    assert_allclose(padded.transform(X)[:, :3], start.transform(X))
    assert (padded.transform(X)[:, 3:] == 0).all()
    assert isinstance(padded, LinearStart)


def test_codes_of_batches_are_pooled():
    """As if each earlier row had the weight 0.9."""
    rng = np.random.RandomState(0)
    codes = rng.randn(3000, 2) @ np.array([[2.0, 1.0], [0, 1]]) + 3
    codes[2000:] += 5
    first, second = (GaussianCodes.of(c, None) for c in (codes[:2000], codes[2000:]))
    pooled, share = first.followed_by(second)
    weight = np.repeat([0.9, 1.0], [2000, 1000])
    assert share == pytest.approx(1000 / weight.sum())
    assert_allclose(pooled.mean, np.average(codes, 0, weight))
    expected = np.cov(codes.T, aweights=weight)
    assert_allclose(pooled.covariance, expected, rtol=2e-3)


# Rows of which only the first entries are known


@pytest.fixture(scope="module")
def cut():
    """Return PCA of complete rows, and rows that end in NaN."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 9)).cumsum(1) + 5
    rows = X[:20].copy()
    for i, row in enumerate(rows):
        row[1 + i % 9 :] = np.nan  # 1 to 9 entries are left
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
    ours = start.transform(rows.astype(np.float32))
    assert ours.dtype == np.float32


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_the_module_starts_at_the_same_codes(estimator, channels):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 6, channels)).cumsum(1)
    for row in X[1:]:
        row[rng.randint(1, 7) :] = np.nan
    model = estimator(2, architecture=Recurrent(hidden_size=2), max_iter=0).fit(X)
    x = (X.reshape(60, -1) - model.mean_) / model._start.scale
    codes = model.module_.double().encode(torch.from_numpy(x)).detach().numpy()
    scale = model._start.code_scale if estimator is not VAE else model._code_scale()
    assert_allclose(codes * scale, model.transform(X), rtol=1e-5, atol=1e-5)


def test_short_series_leave_their_codes_uncertain():
    """The posterior covariance of known entries is I - W' C^-1 W (Bishop 2006)."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((80, 8)).cumsum(1)
    for row in X[::2]:
        row[rng.randint(2, 8) :] = np.nan
    model = VAE(2, architecture=Recurrent(hidden_size=2), max_iter=0).fit(X)
    _, std = model.transform(X, return_std=True)
    noise = model.noise_variance_
    loadings = model.components_.T * np.sqrt(model.explained_variance_ - noise)
    for row, deviation in zip(X, std / model._code_scale(), strict=True):
        W = loadings[~np.isnan(row)]
        C = W @ W.T + noise * np.eye(len(W))
        covariance = np.eye(2) - W.T @ np.linalg.solve(C, W)
        assert_allclose(deviation, np.sqrt(np.diag(covariance)), rtol=1e-8)


def test_a_bound_of_short_series_starts_as_near_as_independent_codes_can():
    """The best of them have the inverse precisions for variances.

    What is left is the divergence ``(sum_i log P_ii - log det P) / 2`` from the true
    posterior of precision P.
    """
    rng = np.random.RandomState(0)
    X = rng.standard_normal((80, 8)).cumsum(1)
    for row in X[::2]:
        row[rng.randint(2, 8) :] = np.nan
    model = VAE(
        2,
        architecture=Recurrent(hidden_size=2),
        n_importance_samples=4096,
        max_iter=0,
        random_state=0,
    ).fit(X)
    trained = model._new_model(None)  # the module as it is, with its bound
    gap = model.score_samples(X) - trained.elbo(X)
    noise, root = (
        model.noise_variance_,
        np.sqrt(model.explained_variance_ - model.noise_variance_),
    )
    for row, missing in zip(X, gap, strict=True):
        loadings = (model.components_.T * root)[~np.isnan(row)]
        P = np.eye(2) + loadings.T @ loadings / noise
        expected = 0.5 * (np.log(np.diag(P)).sum() - np.linalg.slogdet(P)[1])
        assert_allclose(missing, expected, atol=0.01)
