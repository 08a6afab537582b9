"""Canonical correlations: against scikit-learn, normal distributions and algebra."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, ortho_group
from sklearn.cross_decomposition import CCA, PLSSVD
from sklearn.datasets import load_digits, load_linnerud

from skae import ContrastiveAutoencoder
from skae._density_ratio import (
    CodePairs,
    bounds_among,
    coefficients_of,
    info_nce,
    log_ratio,
    of_pairs,
    whole_bound,
)
from skae._solvers import Moments


def views(n=200, d_x=5, d_y=4, seed=0):
    """Two views that share two directions."""
    rng = np.random.RandomState(seed)
    z = rng.randn(n, 2)
    X = np.column_stack([z, rng.randn(n, d_x - 2)]) @ rng.randn(d_x, d_x)
    y = np.column_stack([z + rng.randn(n, 2) * [0.4, 1], rng.randn(n, d_y - 2)])
    return X + 3, y @ rng.randn(d_y, d_y) - 1


def start(X, y, k=2, **params):
    return ContrastiveAutoencoder(k, max_iter=0, random_state=0, **params).fit(X, y)


def test_without_shrinkage_it_is_scikit_learns_cca():
    X, y = views()
    cca = CCA(2, max_iter=10_000, tol=1e-12).fit(X, y)
    ours = start(X, y, shrinkage=0.0)
    u, v = cca.transform(X, y)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(u.T, v.T, strict=True)]
    assert_allclose(ours.correlations_, expected, rtol=1e-7)
    for codes, theirs in ((ours.transform(X), u), (ours.transform_y(y), v)):
        both = np.abs(np.corrcoef(codes.T, theirs.T)[:2, 2:])
        assert_allclose(np.diagonal(both), 1, rtol=1e-6)


def test_with_all_shrinkage_its_codes_are_of_partial_least_squares():
    X, y = views()
    X, y = X / X.std(), y / y.std()
    pls = PLSSVD(2, scale=False).fit(X, y)
    ours = start(X, y, shrinkage=1.0)
    for codes, theirs in zip(
        (ours.transform(X), ours.transform_y(y)), pls.transform(X, y), strict=True
    ):  # the same planes
        fitted = codes @ np.linalg.lstsq(codes, theirs - theirs.mean(0), rcond=None)[0]
        assert_allclose(fitted, theirs - theirs.mean(0), atol=1e-8)


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0])
def test_codes_are_white_and_correlated_in_pairs(shrinkage):
    X, y = views()
    model = start(X, y, shrinkage=shrinkage)
    both = np.hstack([model.transform(X), model.transform_y(y)])
    expected = np.eye(4)
    expected[[0, 1], [2, 3]] = expected[[2, 3], [0, 1]] = model.correlations_
    assert_allclose(np.cov(both.T, bias=True), expected, atol=1e-10)
    assert_allclose(both.mean(0), 0, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, "auto"])
def test_scores_are_the_log_density_ratio_of_the_joint_normal(shrinkage):
    X, y = views()
    model = start(X, y, shrinkage=shrinkage)
    u, v = model.transform(X), model.transform_y(y)
    C = np.cov(np.hstack([u, v]).T, bias=True)
    joint = multivariate_normal(np.zeros(4), C).logpdf(np.hstack([u, v]))
    by_x = multivariate_normal(np.zeros(2), C[:2, :2]).logpdf(u)
    by_y = multivariate_normal(np.zeros(2), C[2:, 2:]).logpdf(v)
    scores = model.score_samples(X, y)
    assert_allclose(scores, joint - by_x - by_y, atol=1e-8)
    information = -0.5 * np.log(1 - model.correlations_**2).sum()
    assert_allclose(scores.mean(), information, rtol=1e-10)


def test_with_all_codes_it_is_that_of_the_normal_distribution_of_the_rows():
    X, y = views()
    model = start(X, y, None, shrinkage=0.0)
    both = np.hstack([X, y])
    mean, C = both.mean(0), np.cov(both.T, bias=True)
    joint = multivariate_normal(mean, C).logpdf(both)
    by_x = multivariate_normal(mean[:5], C[:5, :5]).logpdf(X)
    by_y = multivariate_normal(mean[5:], C[5:, 5:]).logpdf(y)
    assert_allclose(model.score_samples(X, y), joint - by_x - by_y, atol=1e-8)


def test_without_y_it_is_the_mean_over_what_goes_with_a_row():
    X, y = views()
    model = start(X, y, shrinkage=0.0)
    rho, u = model.correlations_, model.transform(X[:3])
    noise = np.random.RandomState(0).randn(200_000, 2)
    coefficients = torch.from_numpy(CodePairs.white(rho).coefficients)
    for row, score in zip(u, model.score_samples(X[:3]), strict=True):
        v = rho * row + np.sqrt(1 - rho**2) * noise
        scores = of_pairs(torch.tensor(row), torch.from_numpy(v), coefficients)
        assert_allclose(scores.mean(), score, atol=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_rotations_shifts_and_scales_change_nothing(seed, scale, shift):
    X, y = views(60)
    rotation = ortho_group.rvs(5, random_state=seed % 1000)
    model, other = start(X, y), start(X @ rotation * scale + shift, y - shift)
    assert_allclose(other.correlations_, model.correlations_, rtol=1e-6)
    scores = other.score_samples(X @ rotation * scale + shift, y - shift)
    assert_allclose(scores, model.score_samples(X, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, "auto"])
def test_swapping_the_views_swaps_the_codes(shrinkage):
    X, y = views()
    model, swapped = (start(*v, shrinkage=shrinkage) for v in ((X, y), (y, X)))
    assert_allclose(swapped.correlations_, model.correlations_, rtol=1e-9)
    u, v = model.transform(X), model.transform_y(y)
    a, b = swapped.transform(y), swapped.transform_y(X)
    signs = np.sign((u * b).sum(0))
    assert_allclose(b * signs, u, atol=1e-8)
    assert_allclose(a * signs, v, atol=1e-8)


def test_loadings_are_those_of_least_squares():
    X, y = views()
    model = start(X, y)
    for rows, codes, loadings in (
        (X, model.transform(X), model.x_loadings_),
        (y, model.transform_y(y), model.y_loadings_),
    ):
        expected = np.linalg.lstsq(codes, rows - rows.mean(0), rcond=None)[0].T
        assert_allclose(loadings, expected, atol=1e-10)


def test_held_out_rows_choose_the_shrinkage():
    """Few rows for the columns of both views: unregularised, each is nearly 1."""
    X = load_digits().data
    left, right = X[:, :32], X[:, 32:]
    train, test = slice(60), slice(60, 560)
    plain = start(left[train], right[train], 4, shrinkage=1e-9)
    chosen = start(left[train], right[train], 4)
    assert plain.correlations_.min() > 0.95
    assert 0.3 < chosen.correlations_.mean() < 0.95
    assert chosen.shrinkage_ >= 0.1
    assert plain.score(left[test], right[test]) < 0
    assert chosen.score(left[test], right[test]) > 0.5


def test_more_columns_than_rows():
    """All axes tell so few rows apart; the shortest ones say most of new ones."""
    rng = np.random.RandomState(0)
    z = rng.randn(340, 2) * [4, 3]
    X, y = (z @ rng.randn(2, 60) + rng.randn(340, 60) for _ in range(2))
    train, test = slice(40), slice(40, 340)
    assert start(X[train], y[train]).score(X[test], y[test]) > 1
    rotation = ortho_group.rvs(60, random_state=1)
    for_ones = "correlations of both views are 1"
    with pytest.warns(UserWarning, match=for_ones):
        plain = start(X[train], y[train], shrinkage=0.0)
    with pytest.warns(UserWarning, match=for_ones):
        turned = start(X[train] @ rotation, y[train], shrinkage=0.0)
    u, v = plain.transform(X[test]), plain.transform_y(y[test])
    assert np.corrcoef(u.T, v.T)[:2, 2:].diagonal().min() > 0.9
    assert_allclose(np.abs(turned.transform(X[test] @ rotation)), np.abs(u), atol=1e-4)


def test_much_data_needs_none():
    rng = np.random.RandomState(0)
    z = rng.randn(5000, 2)
    model = start(z + rng.randn(5000, 2), z + rng.randn(5000, 2))
    assert model.shrinkage_ == 0
    assert_allclose(model.correlations_, 0.5, atol=0.03)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_do_not_choose_it(copies):
    X, y = load_linnerud(return_X_y=True)
    once, often = start(X, y), start(np.tile(X, (copies, 1)), np.tile(y, (copies, 1)))
    assert often.shrinkage_ == once.shrinkage_
    assert_allclose(often.correlations_, once.correlations_, rtol=1e-6)


# The bound


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_bound_is_that_of_the_paper(seed):
    rng = np.random.RandomState(seed)
    scores = rng.randn(7, 7) * 3
    among = [logsumexp(scores - np.log(7), axis=axis) for axis in (0, 1)]
    expected = np.diagonal(scores) - 0.5 * (among[0] + among[1])
    assert_allclose(info_nce(torch.from_numpy(scores)).numpy(), expected, rtol=1e-10)
    assert expected.mean() <= np.log(7) + 1e-12


def test_a_weight_is_so_many_copies():
    rng = np.random.RandomState(0)
    u, v = torch.from_numpy(rng.randn(2, 6, 3))
    pairs = CodePairs.white(np.array([0.9, 0.5, 0.1]))
    coefficients = torch.from_numpy(pairs.coefficients)
    w = np.array([1, 2, 1, 3, 1, 2])
    terms = info_nce(log_ratio(u, v, coefficients), torch.from_numpy(w).double())
    at = torch.from_numpy(np.repeat(np.arange(6), w))
    repeated = info_nce(log_ratio(u[at], v[at], coefficients))
    assert_allclose(terms[at], repeated, rtol=1e-10)
    whole = whole_bound(u, v, torch.from_numpy(w).double(), coefficients)
    assert_allclose(whole, repeated.mean(), rtol=1e-10)
    some = bounds_among(u[:2], v[:2], u, v, torch.from_numpy(w).double(), coefficients)
    assert_allclose(some, terms[:2], rtol=1e-10)


def test_equal_rows_do_not_compete():
    """Of labels, the loss is the cross-entropy of the posterior, but for a constant."""
    rng = np.random.RandomState(0)
    label = torch.from_numpy(rng.randint(3, size=40))
    table = torch.from_numpy(rng.randn(40, 3)).requires_grad_()  # score of each label
    among_y = torch.logsumexp(table[:, label], 1)
    (gradient,) = torch.autograd.grad((among_y - table[range(40), label]).sum(), table)
    logits = table + torch.bincount(label).log()
    loss = torch.nn.functional.cross_entropy(logits, label, reduction="sum")
    (expected,) = torch.autograd.grad(loss, table)
    assert_allclose(gradient, expected, atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 1 - 1e-6), st.floats(0.1, 10), st.floats(0.1, 10), st.integers(0, 99)
)
def test_the_ratio_of_any_pair_of_normals(rho, a, b, seed):
    pairs = CodePairs(*(np.array([value]) for value in (rho, a, b)))
    u, v = np.random.RandomState(seed).randn(2, 5) * np.sqrt([[a], [b]])
    coefficients = coefficients_of(*map(torch.from_numpy, (pairs.z, pairs.variances)))
    ratio = log_ratio(*(torch.from_numpy(z[:, None]) for z in (u, v)), coefficients)
    cross = rho * np.sqrt(a * b)
    joint = multivariate_normal([0, 0], [[a, cross], [cross, b]])
    grid = np.stack(np.meshgrid(u, v, indexing="ij"), -1)
    by_u, by_v = (multivariate_normal(0, s).logpdf(z) for s, z in ((a, u), (b, v)))
    expected = joint.logpdf(grid) - by_u[:, None] - by_v
    assert_allclose(ratio, expected, rtol=1e-6, atol=1e-6 / (1 - rho))
    diagonal = of_pairs(*(torch.from_numpy(z[:, None]) for z in (u, v)), coefficients)
    assert_allclose(ratio.diagonal(), diagonal, rtol=1e-9, atol=1e-9 / (1 - rho))


def test_moments_of_parts_add_up():
    X = np.random.RandomState(0).randn(50, 3) + 5
    weight = np.random.RandomState(1).rand(50) + 0.1
    whole = Moments.of(X, weight)
    parts = Moments.of(X[:20], weight[:20]) + Moments.of(X[20:], weight[20:])
    assert_allclose(parts.covariance, whole.covariance, rtol=1e-10)
    assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    expected = np.cov(X.T, aweights=weight, bias=True)
    assert_allclose(whole.covariance, expected, rtol=1e-10)


# Copies of rows


@pytest.mark.parametrize("corruption", ["swap", "gaussian", "masking"])
def test_the_start_of_copies_is_known_without_drawing_one(corruption):
    """The same as a function of the user's that does it."""
    from skae._corruptions import CORRUPTIONS

    X = views(3000)[0]
    X = X / X.std()

    def by_hand(rows, generator):
        centred = (rows - means) / scale
        return CORRUPTIONS[corruption](centred, 0.4, generator) * scale + means

    means = torch.from_numpy(X.mean(0)).float()
    scale = float(np.sqrt(X.var(0).mean()))
    exact, drawn = (
        ContrastiveAutoencoder(
            3, max_iter=0, corruption=c, corruption_level=0.4, random_state=0
        ).fit(X)
        for c in (corruption, by_hand)
    )
    assert_allclose(drawn.correlations_, exact.correlations_, atol=0.02)
    overlap = np.corrcoef(exact.transform(X).T, drawn.transform(X).T)[:3, 3:]
    assert np.abs(np.diagonal(overlap)).min() > 0.95


@pytest.mark.parametrize("n", [4, 5, 7, 10, 15])
@pytest.mark.parametrize("depends", [0, 1])
def test_few_rows_promise_little(n, depends):
    """New pairs are told apart hardly worse than by chance, which is 0."""
    bounds = []
    for seed in range(6):
        rng = np.random.RandomState(seed)
        z = depends * rng.randn(n + 300, 2)
        X, y = (np.hstack([z, rng.randn(n + 300, 2)]) for _ in range(2))
        model = start(X[:n], y[:n])
        bounds.append(model.score(X[n:], y[n:]))
    assert np.mean(bounds) > -0.5
    assert min(bounds) > -2.5


def test_units_of_columns_do_not_matter():
    """Canonical correlations have none, however far apart they are."""
    X, y = views(500)
    scales = 10.0 ** np.array([6, -5, 0, 3, -2])
    model, scaled = start(X, y, shrinkage=0.0), start(X * scales, y, shrinkage=0.0)
    assert_allclose(scaled.correlations_, model.correlations_, rtol=1e-6)
    scores = scaled.score_samples(X * scales, y)
    assert_allclose(scores, model.score_samples(X, y), rtol=1e-4, atol=1e-4)
    outlier = y.copy()
    outlier[0, 0] = 1e6
    assert start(X, outlier, 4).n_components_ == 4
