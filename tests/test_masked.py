"""The masked autoencoder and the imputer: what is expected of missing cells."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import MaskedAutoencoder, MaskedImputer
from skae._blocks import missing_together, patches
from skae._em import MOST_COLUMNS, Constraint, first_guess, fit_normal, strongest
from skae._gate import StackedModules
from skae._incomplete import IncompleteRows
from skae._masked_module import MaskedModule, smallest
from skae._wide_em import factors_of_rows, first_factors, fit_factors
from skae.architectures import Convolutional, Modules, Recurrent, Transformer

NAN = np.nan
FAST = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}


def correlated(n=200, d=5, rank=2, noise=0.3, seed=0):
    """Return rows of a factor model."""
    rng = np.random.RandomState(seed)
    rows = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    return rows + noise * rng.standard_normal((n, d)) + 3


def with_holes(X, share=0.2, seed=1):
    """Return rows with cells missing at random; every row keeps one."""
    rng = np.random.RandomState(seed)
    missing = rng.uniform(size=X.shape) < share
    missing[np.arange(len(X)), rng.randint(X.shape[1], size=len(X))] = False
    return np.where(missing, NAN, X)


@pytest.fixture(scope="module")
def X():
    return with_holes(correlated())


# EM, against a likelihood that it must not lower


def log_likelihood(normal, X):
    known = ~np.isnan(X)
    total = 0.0
    for row, o in zip(X, known, strict=True):
        C = normal.covariance[np.ix_(o, o)]
        total += multivariate_normal(normal.mean[o], C).logpdf(row[o])
    return total


@pytest.mark.parametrize("n_axes", [1, 2, 4])
def test_em_never_lowers_the_likelihood(n_axes):
    X = with_holes(correlated(n=80), 0.3)
    # EM of maximum likelihood divides by n, and PCA by n - 1: a copy of each row hides
    # the difference.
    X = np.tile(X, (40, 1))
    constraint, normal = Constraint(n_axes=n_axes), first_guess(X, None)
    normal = constraint.normal(normal.completed(X, None)[1])
    found = []
    for _ in range(6):
        found.append(log_likelihood(normal, X[:80]))
        normal = constraint.normal(normal.completed(X, None)[1])
    assert (np.diff(found) > -1e-2).all()
    assert found[-1] > found[0]


def test_em_reaches_a_stationary_point_of_the_likelihood():
    """The likelihood's gradient by torch is the oracle."""
    X = with_holes(correlated(n=60, d=4), 0.25)
    copies = np.tile(X, (200, 1))
    rows = IncompleteRows(copies[: 60 * 50], None)
    normal = fit_normal(rows, Constraint(), first_guess(X, None), n_iter=400)
    mean = torch.tensor(normal.mean, requires_grad=True)
    root = torch.linalg.cholesky(torch.tensor(normal.covariance))
    root.requires_grad_(True)
    C, total = root @ root.T, torch.zeros(())
    for row in X:
        o = np.flatnonzero(~np.isnan(row))
        density = torch.distributions.MultivariateNormal(mean[o], C[np.ix_(o, o)])
        total = total + density.log_prob(torch.tensor(row[o]))
    total.backward()
    assert mean.grad.abs().max() / len(X) < 0.02
    assert root.grad.tril().abs().max() / len(X) < 0.02


def test_factors_are_probabilistic_pca_where_nothing_is_missing():
    X = correlated(n=300, d=8, rank=3)
    guess = first_factors(X, None, 3)
    factors = fit_factors(X, None, guess, 200)
    axes, variances = factors.axes()
    pca = PCA(3).fit(X)
    assert_allclose(np.abs(axes @ pca.components_.T), np.eye(3), atol=2e-2)
    assert_allclose(variances, pca.explained_variance_, rtol=2e-2)
    assert factors.noise == pytest.approx(pca.noise_variance_, rel=2e-2)


def test_factors_and_the_whole_covariance_agree(monkeypatch):
    """Two ways to find the same maximum of the likelihood."""
    for module in (skae._em, skae._wide_em):
        monkeypatch.setattr(module, "TOL", 1e-9)
    X = with_holes(correlated(n=400, d=6, rank=2), 0.2)
    guess = first_guess(X, None)
    rows = IncompleteRows(X, None)
    normal = fit_normal(rows, Constraint(n_axes=2), guess, n_iter=1500)
    factors = fit_factors(X, None, first_factors(X, None, 2), 1500)
    assert_allclose(factors.expected(X), normal.completed(X, None)[0], atol=1e-3)


def test_a_wide_table_is_completed_by_as_many_axes_as_help():
    X = with_holes(correlated(n=150, d=MOST_COLUMNS + 2, rank=3, noise=0.1), 0.2)
    factors = factors_of_rows(X, None, None, np.random.default_rng(0))
    assert 2 <= factors.loadings.shape[1] <= 8
    truth = correlated(n=150, d=MOST_COLUMNS + 2, rank=3, noise=0.1)
    error = (factors.expected(X) - truth)[np.isnan(X)]
    assert (error**2).mean() < 0.05 * truth.var()
    model = MaskedAutoencoder(max_iter=0, random_state=0).fit(X)
    assert model.n_components_ <= 8
    assert np.isfinite(model.score_samples(X)).all()


def test_an_imputer_does_not_notice_that_numpy_raises():
    """Squares of such small numbers vanish."""
    X = with_holes(correlated(n=60, d=3, rank=2), 0.1) * [1, 1, 1e-200]
    with np.errstate(all="raise"):
        imputer = MaskedImputer(max_iter=0, random_state=0).fit(X)
        assert not np.isnan(imputer.transform(X)).any()


def test_the_stronger_choice_is_taken_where_chance_may_have_decided():
    rng = np.random.RandomState(0)
    loss = rng.uniform(size=500)
    assert strongest([loss + 1e-3 * rng.standard_normal(500), loss]) == 0
    assert strongest([loss + 0.1, loss]) == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_what_is_expected_follows_from_the_smaller_block(share, is_weighted):
    """Every row alone, by the formula of the textbooks, is the oracle."""
    rng = np.random.RandomState(0)
    X = correlated(n=60, d=7)
    X = np.where(rng.uniform(size=X.shape) < share, NAN, X - 3)
    X[:20] = np.where(np.isnan(X[:1]), NAN, X[:20])  # which have one pattern
    X[40], X[41] = NAN, 1.0
    weight = rng.uniform(1, 3, 60) if is_weighted else None
    C = np.cov(correlated(d=7).T)
    filled = np.where(np.isnan(X), 0.0, X)
    expected, uncertain = IncompleteRows(X, weight).given(C, filled)
    total = np.zeros((7, 7))
    for i, row in enumerate(X):
        o = ~np.isnan(row)
        by_known = C[:, o] @ np.linalg.inv(C[np.ix_(o, o)])
        assert_allclose(expected[i], np.where(o, 0, by_known @ row[o]), atol=1e-9)
        total += (1 if weight is None else weight[i]) * (C - by_known @ C[o])
    assert_allclose(uncertain, total, atol=1e-9)


def test_many_patterns_are_taken_a_few_at_a_time(monkeypatch):
    X = with_holes(correlated(n=100, d=6), 0.5)
    filled, C = np.where(np.isnan(X), 0.0, X), np.cov(correlated(d=6).T)
    together = IncompleteRows(X, None).given(C, filled)
    monkeypatch.setattr(skae._incomplete, "BLOCK_NUMBERS", 1)
    alone = IncompleteRows(X, None)
    assert all(len(pattern.cells) == 1 for pattern in alone.patterns)
    for one, other in zip(together, alone.given(C, filled), strict=True):
        assert_allclose(one, other, atol=1e-9)


# The start


@pytest.mark.parametrize("k", [1, 2, 4])
def test_with_components_and_no_hole_the_start_is_pca(k):
    X = correlated()
    model = MaskedAutoencoder(k, max_iter=0).fit(X)
    pca = PCA(k).fit(X)
    assert_allclose(model.transform(X), pca.transform(X), atol=1e-9)
    assert_allclose(model.score_samples(X), pca.score_samples(X), rtol=1e-9)
    assert_allclose(model.get_covariance(), pca.get_covariance(), rtol=1e-9)


def test_without_components_codes_are_pcas():
    X = correlated()
    model = MaskedAutoencoder(max_iter=0, random_state=0).fit(X)
    pca = PCA().fit(X)
    assert_allclose(model.transform(X), pca.transform(X), atol=1e-8)
    assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-10)


@pytest.mark.parametrize("k", [None, 2])
def test_the_likelihood_is_the_marginal_of_the_covariance(k, X):
    model = MaskedAutoencoder(k, max_iter=0, random_state=0).fit(X)
    C, mean = model.get_covariance(), model.mean_
    assert_allclose(C @ model.get_precision(), np.eye(5), atol=1e-8)
    for row, ours in zip(X, model.score_samples(X), strict=True):
        o = ~np.isnan(row)
        expected = multivariate_normal(mean[o], C[np.ix_(o, o)]).logpdf(row[o])
        assert ours == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("k", [None, 2])
def test_what_is_completed_is_the_conditional_mean(k, X):
    model = MaskedAutoencoder(k, max_iter=0, random_state=0).fit(X)
    C, mean, completed = model.get_covariance(), model.mean_, model.impute(X)
    for row, ours in zip(X, completed, strict=True):
        o = ~np.isnan(row)
        there = C[np.ix_(~o, o)] @ np.linalg.solve(C[np.ix_(o, o)], (row - mean)[o])
        assert_allclose(ours[~o], mean[~o] + there, atol=1e-8)
        assert_array_equal(ours[o], row[o])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([None, 2]))
def test_known_cells_add_up(seed, k):
    """The score of a row is that of some cells, plus the others given these."""
    X = with_holes(correlated())
    model = MaskedAutoencoder(k, max_iter=0, random_state=0).fit(X)
    rng = np.random.RandomState(seed)
    rows = correlated(n=20, seed=seed)
    j, others = rng.randint(5), np.arange(5)
    fewer = rows.copy()
    fewer[:, j] = NAN
    C, mean, rest = model.get_covariance(), model.mean_, others[others != j]
    weights = np.linalg.solve(C[np.ix_(rest, rest)], C[rest, j])
    variance = C[j, j] - C[j, rest] @ weights
    expected = mean[j] + (rows[:, rest] - mean[rest]) @ weights
    given_others = multivariate_normal(0, variance).logpdf(rows[:, j] - expected)
    difference = model.score_samples(rows) - model.score_samples(fewer)
    assert_allclose(difference, given_others, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1, 2]))
def test_the_order_of_rows_and_columns_does_not_matter(seed, k):
    X = with_holes(correlated())
    rng = np.random.RandomState(seed)
    rows, columns = rng.permutation(200), rng.permutation(5)
    model = MaskedAutoencoder(k, max_iter=0).fit(X)
    other = MaskedAutoencoder(k, max_iter=0).fit(X[rows][:, columns])
    assert_allclose(other.impute(X[:, columns]), model.impute(X)[:, columns], atol=1e-7)
    assert_allclose(
        other.score_samples(X[:, columns]), model.score_samples(X), atol=1e-6
    )


# What is completed

MODELS = {
    "start": MaskedAutoencoder(max_iter=0, random_state=0),
    "network": MaskedAutoencoder(**FAST),
    "bottleneck": MaskedAutoencoder(2, **FAST),
    "random": MaskedAutoencoder(2, **FAST, init="random"),
}


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


def test_known_cells_come_back_to_the_last_bit(model, X):
    completed = model.fit(X).impute(X)
    assert np.isfinite(completed).all()
    known = ~np.isnan(X)
    assert_array_equal(completed[known], X[known])
    rebuilt = model.inverse_transform(model.transform(X))
    assert_allclose(completed[~known], rebuilt[~known], rtol=1e-12)


def test_complete_rows_are_left_alone(model, X):
    whole = correlated(seed=5)
    model.fit(X)
    assert_array_equal(model.impute(whole), whole)


@pytest.mark.parametrize("seed", [2, 6, 9])  # of which sums of squares are less
def test_rows_that_are_nearly_known_do_not_pay_for_others(seed):
    """Of a rolled sheet in eight columns four say what the others are."""

    def rolled(n, seed):
        rng = np.random.RandomState(seed)
        t, height = 1.5 * np.pi * (1 + 2 * rng.uniform(size=n)), rng.uniform(0, 10, n)
        sheet = np.column_stack([t * np.cos(t), height, t * np.sin(t)])
        turned = sheet @ np.random.RandomState(1).randn(3, 8)
        X = turned + 0.3 * rng.randn(n, 8)
        return X / turned.std(0), rng.uniform(size=X.shape) < 0.3

    X, missing = rolled(500, seed)
    new, hidden = rolled(2000, 100 + seed)
    few = (hidden.sum(1) > 0) & (hidden.sum(1) < 5)
    errors = []
    for max_iter in (0, "auto"):
        model = MaskedImputer(max_iter=max_iter, random_state=seed)
        model.fit(np.where(missing, np.nan, X))
        completed = model.transform(np.where(hidden, np.nan, new)[few])
        errors.append(np.square(completed - new[few]).sum())
    assert errors[1] < 1.01 * errors[0]


def test_single_precision_is_kept(model, X):
    single = X.astype(np.float32)
    completed = model.fit(single).impute(single)
    assert completed.dtype == np.float32
    known = ~np.isnan(single)
    assert_array_equal(completed[known], single[known])


def test_a_pickle_completes_the_same(model, X):
    model.fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.impute(X), model.impute(X))


def test_rows_do_not_depend_on_the_rows_beside_them(model, X):
    model.fit(X)
    assert_allclose(model.impute(X[7:9]), model.impute(X)[7:9], rtol=1e-9)


def test_patterns_that_were_not_seen_are_completed(model):
    X = correlated()
    model.fit(X)  # nothing is missing
    for n in range(1, 5):
        for missing in itertools.combinations(range(5), n):
            rows = X[:3].copy()
            rows[:, missing] = NAN
            assert np.isfinite(model.impute(rows)).all()


def test_a_row_without_a_known_cell_is_the_mean(X):
    model = MaskedAutoencoder(max_iter=0, random_state=0).fit(X)
    rows = X[:3].copy()
    rows[1] = NAN
    with pytest.warns(UserWarning, match="the first is row 1"):
        completed = model.impute(rows)
    assert_allclose(completed[1], model.mean_)
    assert model.score_samples(rows)[1] == 0


def test_a_column_without_a_value_is_expected_to_be_0(model, X):
    X = X.copy()
    X[:, 3] = NAN
    completed = model.fit(X).impute(X)
    assert np.isfinite(completed).all()
    if model.init != "random":
        assert_allclose(completed[:, 3], 0, atol=1e-6)


def test_another_marker(X):
    marked = np.where(np.isnan(X), -999.0, X)
    one = MaskedAutoencoder(missing_values=-999, **FAST).fit(marked)
    other = MaskedAutoencoder(**FAST).fit(X)
    assert_array_equal(one.impute(marked), other.impute(X))
    with pytest.raises(ValueError, match="NaN"):
        one.impute(X)


def test_infinity_is_an_error(model, X):
    X = X.copy()
    X[4, 2] = np.inf
    with pytest.raises(ValueError, match="infinity in column 2 \\(row 4\\)"):
        model.fit(X)


@pytest.mark.parametrize("share", [0.5, (0.5,), (0.9, 0.1), (0.0, 1.0), "half", None])
def test_a_wrong_share_is_an_error(share, X):
    with pytest.raises((ValueError, TypeError), match="mask_fraction"):
        MaskedAutoencoder(mask_fraction=share).fit(X)


def test_frames_come_back_as_frames():
    frame = pd.DataFrame(
        {"a": [1.5, NAN, 2.5, 3.0] * 5, "b": range(20)}, index=range(10, 30)
    )
    completed = MaskedAutoencoder(max_iter=0).fit(frame).impute(frame)
    assert list(completed.columns) == ["a", "b"]
    assert completed.index.equals(frame.index)
    assert completed["b"].dtype == frame["b"].dtype
    assert completed["a"].notna().all()
    polars = pl.from_pandas(frame)
    completed = MaskedAutoencoder(max_iter=0).fit(polars).impute(polars)
    assert completed["b"].dtype == polars["b"].dtype


def test_draws_have_the_conditional_distribution(X):
    model = MaskedAutoencoder(max_iter=0, random_state=0).fit(X)
    C, row = model.get_covariance(), X[:1].copy()
    row[0, :2], row[0, 2:] = NAN, 3.0
    rows = np.repeat(row, 20_000, axis=0)
    draws = model.impute(rows, sample_posterior=True, random_state=0)[:, :2]
    expected = model.impute(row)[0, :2]
    others = C[:2, 2:] @ np.linalg.solve(C[2:, 2:], C[2:, :2])
    conditional = C[:2, :2] - others
    deviation = np.sqrt(np.diagonal(conditional))
    assert_allclose(draws.mean(0), expected, atol=5 * deviation.max() / 20_000**0.5)
    assert_allclose(np.cov(draws.T), conditional, atol=0.05 * conditional.max())
    again = model.impute(rows, sample_posterior=True, random_state=0)[:, :2]
    assert_array_equal(again, draws)


# The network


def curve(n=1500, seed=0):
    """Return rows on a curve, which no normal distribution knows."""
    t = np.random.RandomState(seed).uniform(-2, 2, n)
    noise = 0.05 * np.random.RandomState(seed + 1).standard_normal((n, 4))
    return np.column_stack([t, t**2, np.sin(3 * t), np.cos(2 * t)]) + noise


def hidden_error(model, X, seed=0):
    hidden = np.isnan(with_holes(X, 0.25, seed))
    completed = model.impute(np.where(hidden, NAN, X))
    return np.sqrt(((completed - X)[hidden] ** 2).mean())


@pytest.mark.parametrize("seed", range(3))
def test_a_network_completes_what_is_not_linear(seed):
    X = with_holes(curve(seed=seed), 0.1)
    start = MaskedAutoencoder(max_iter=0, random_state=seed).fit(X)
    model = MaskedAutoencoder(max_iter=20, random_state=seed).fit(X)
    new = curve(300, seed=seed + 10)
    assert model.best_iter_ > 0
    assert hidden_error(model, new) < 0.6 * hidden_error(start, new)


def test_normal_rows_keep_the_start():
    X = with_holes(correlated(n=1200), 0.2)
    for seed in range(3):
        model = MaskedAutoencoder(max_iter=10, random_state=seed).fit(X)
        start = MaskedAutoencoder(max_iter=0, random_state=seed).fit(X)
        new = correlated(n=500, seed=7 + seed)
        assert hidden_error(model, new) <= 1.01 * hidden_error(start, new)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_rows_are_completed_by_the_smaller_block(share):
    """As by the codes of all axes; the start, in double precision, is the oracle."""
    X = correlated(d=9)
    model = MaskedAutoencoder(validation_fraction=0.2, **FAST).fit(with_holes(X))
    module, start = model.net_.module_, model._fit.start
    known = np.random.RandomState(0).uniform(size=X.shape) > share
    known[0], known[1] = False, True
    exact = (start.filled(X, known) - start.mean) / start.scale
    x = torch.from_numpy(((X - start.mean) / start.scale).astype(np.float32))
    shown = torch.from_numpy(known)
    assert module.matrices.shape == (2, 9, 9)
    assert_allclose(module.completed(x, shown), exact, atol=1e-4)
    module.matrices = torch.zeros(2, 0, 0)
    assert_allclose(module.completed(x, shown), exact, atol=1e-3)


@pytest.mark.parametrize("k", [None, 2])
def test_what_is_prepared_is_what_a_pass_does(k, X):
    model = MaskedAutoencoder(k, validation_fraction=0.2, **FAST).fit(X)
    module = model.net_.module_.train()
    x, known = module.memory[:50], module.memory_known[:50].bool()
    module.generator = torch.Generator().manual_seed(0)
    expected = module(x, known)
    module.generator = torch.Generator().manual_seed(0)
    prepared = module.prepare(x, known)
    assert not any(part.requires_grad for part in prepared)
    for one, other in zip(module(x, known, prepared), expected, strict=True):
        assert_array_equal(one.detach(), other.detach())


def test_held_out_rows_are_prepared_once_by_their_own_fold(X, monkeypatch):
    shapes = []
    prepare = MaskedModule.prepare

    def counted(module, x, known):
        shapes.append((module.training, tuple(x.shape[:-1])))
        return prepare(module, x, known)

    monkeypatch.setattr(MaskedModule, "prepare", counted)
    MaskedAutoencoder(**FAST).fit(X)
    judging = [n for training, n in shapes if not training]
    assert judging == [(5, 160)]  # 40 rows of a fold, four times, for all of the epochs


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("k", "d"), [(None, 6), (2, 6), (3, 150)])
def test_stacked_modules_prepare_what_each_prepares_alone(k, d, training, monkeypatch):
    """Given the same draws: covariances, neighbours and masks are each module's own."""
    X = with_holes(correlated(n=60, d=d), 0.3)
    model = MaskedAutoencoder(k, **FAST).fit(X)
    start, modules = model._fit.start, []
    standardised = torch.from_numpy((X - start.mean) / start.scale).float()
    known = ~standardised.isnan()
    x = standardised.nan_to_num()
    for i in range(3):
        # Holes that follow from another column, in another share of the rows for each.
        rows = X[20 * i : 20 * i + 20].copy()
        rows[np.nan_to_num(rows[:, 1]) > i - 1, 0] = np.nan
        other = MaskedAutoencoder(k, **FAST).fit(rows)._fit.start
        module = copy.deepcopy(model.net_.module_).train(training)
        other.padded(model.n_components_).apply(module, start)
        module.memory = module.completed(x, known)
        module.memory_known = known.float()
        module.may_see = torch.arange(60) % 3 != i
        modules.append(module)

    def rand(*shape, **how):
        draws = np.random.RandomState(shape[-1]).uniform(size=shape[-2:])
        return torch.from_numpy(draws).float().expand(shape)

    monkeypatch.setattr(torch, "rand", rand)
    expected = [module.prepare(x, known) for module in modules]
    for part, other in zip(expected[0], expected[1], strict=True):
        assert (part != other).any()
    together = StackedModules(modules, True).prepare(x, known)
    for part, parts in zip(together, zip(*expected, strict=True), strict=True):
        assert_allclose(part, torch.stack(parts), rtol=1e-4, atol=1e-5)


def test_recurrent_folds_prepare_one_after_the_other():
    X = with_holes(correlated(n=60, d=12), 0.2).reshape(60, 12, 1)
    model = MaskedAutoencoder(2, architecture=Recurrent(hidden_size=4), **FAST).fit(X)
    assert np.isfinite(model.impute(X)).all()
    assert np.isfinite(model.validation_scores_).all()


def test_no_row_is_its_own_neighbour_while_training():
    X = with_holes(curve(200), 0.1)
    model = MaskedAutoencoder(**FAST).fit(X)
    module, n = model.module_, len(model.module_.memory)
    x, known = module.memory, module.memory_known.bool()
    beyond = module.nearest(x, known, known)
    free = module.nearest(x, known, None)
    assert beyond.shape == (n, 2, 4)
    # A row that sees itself has nothing to learn from the sharper average.
    assert (beyond - free).abs().amax((1, 2)).min() > 0


def test_what_judges_is_not_among_the_neighbours():
    X = curve(400)
    model = MaskedAutoencoder(validation_fraction=0.25, **FAST).fit(X)
    assert len(model.module_.memory) == 300


def test_the_smallest_are_found_in_blocks():
    generator = torch.Generator().manual_seed(0)
    for size in (5, 100, 1300, 2000):
        values = torch.rand(7, size, generator=generator)
        found, places = smallest(values, 3)
        assert_array_equal(found, values.sort(1).values[:, :3])
        assert_array_equal(values.gather(1, places), found)


def remembering(X):
    """A module whose neighbours are the rows of X, and these with their known cells."""
    module = MaskedAutoencoder(**FAST).fit(X).module_
    known = torch.from_numpy(~np.isnan(X))
    module.memory = torch.from_numpy(np.nan_to_num(X)).float()
    module.memory_known = known.float()
    module.may_see = torch.ones(len(X), dtype=torch.bool)
    return module, module.memory.clone(), known


def test_what_is_hidden_has_no_say_in_who_is_a_neighbour():
    """Else nobody would have it of those that look alike, and that would tell."""
    X = np.random.RandomState(0).randint(0, 3, (200, 4)).astype(np.float64)
    module, x, known = remembering(X)
    shown = known.clone()
    shown[:, 0] = False
    expected = module.neighbors(x, shown, known)
    alike = (X[:, None, 1:] == X[:, 1:]).all(-1).sum(1)  # one of which is the row
    assert_array_equal(expected[2].any(-1).sum(1), np.clip(11 - alike, 0, 10))
    x[:, 0] = 5 - x[:, 0]
    for part, other in zip(module.neighbors(x, shown, known), expected, strict=True):
        assert_array_equal(part, other)


def test_rows_with_other_gaps_are_no_copies():
    X = np.tile([[0.0, 1.0, 5.0], [3.0, 2.0, 7.0]], (30, 1))
    X[::4, 0] = NAN
    module, x, known = remembering(X)
    shown = known.clone()
    shown[:, [0, 2]] = False
    squares, values, seen = (part[2] for part in module.neighbors(x, shown, known))
    assert known[2].all()
    alike = squares < 1e-6
    assert_array_equal(values[alike], np.tile([0.0, 1.0, 5.0], (alike.sum(), 1)))
    assert not seen[alike, 0].any()
    assert alike.any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [60, 200])
def test_independent_categories_are_completed_by_the_most_frequent(seed, n):
    """The columns of a category are hidden together, or the others would tell one."""
    rng = np.random.RandomState(seed)
    X = rng.choice(4, (n + 2000, 6), p=[0.4, 0.2, 0.2, 0.2]).astype(object)
    X[:, 5] = rng.randn(len(X))
    gaps = rng.uniform(size=X.shape) < 0.3
    gaps[:, 0] = False
    shown = np.where(gaps, None, X)
    imputer = MaskedImputer(categorical_features=range(5), random_state=seed)
    completed = imputer.fit(shown[:n]).transform(shown[n:])
    by_mode = SimpleImputer(strategy="most_frequent", missing_values=None)
    expected = by_mode.fit(shown[:n, :5]).transform(shown[n:, :5])
    rights = [(X[n:, :5] == Y).mean() for Y in (completed[:, :5], expected)]
    assert rights[0] > rights[1] - 0.01
    hidden = gaps[n:, 5]
    numbers, true = (Y[hidden, 5].astype(float) for Y in (completed, X[n:]))
    by_mean = X[:n, 5][~gaps[:n, 5]].mean()
    assert ((numbers - true) ** 2).mean() < 1.02 * ((by_mean - true) ** 2).mean()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_missing_together_is_hidden_together(seed):
    rng = np.random.RandomState(seed)

    def table(n):
        X = np.column_stack([rng.randn(n, 1) + 0.1 * rng.randn(n, 5), rng.randn(n, 20)])
        shown = X.copy()
        shown[rng.uniform(size=n) < 0.3, :5] = NAN
        return X, shown

    (_, few), (new, shown) = table(100), table(2000)
    model = MaskedAutoencoder(random_state=seed).fit(few)
    block = model._fit.start.block
    assert len(set(block[:5])) == 1
    assert len(set(block)) == 21
    hidden = np.isnan(shown)
    error = ((model.impute(shown) - new)[hidden] ** 2).mean()
    assert error < 1.02 * ((np.nanmean(few, 0) - new)[hidden] ** 2).mean()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_never_asked_does_not_pay_for_what_is(seed):
    """Two columns tell one another, but are missing in the same rows."""
    rng = np.random.RandomState(seed)
    X = rng.randn(600, 6)
    X = np.column_stack([X, np.sign(X[:, 0] * X[:, 1]), np.sign(X[:, 2] * X[:, 3])])
    shown = X.copy()
    for pair in (slice(0, 2), slice(2, 4)):
        shown[rng.permutation(600)[:200], pair] = NAN
    hidden = np.isnan(shown)
    start = MaskedAutoencoder(max_iter=0, random_state=seed).fit(shown)
    model = MaskedAutoencoder(random_state=seed).fit(shown)
    errors = [((m.impute(shown) - X)[hidden] ** 2).mean() for m in (model, start)]
    assert errors[0] < 1.01 * errors[1]


def test_what_judges_is_hidden_as_the_table_misses_it():
    X = np.random.RandomState(0).randn(1000, 8)
    X[:400, :2] = X[300:600, 2] = NAN
    module, x, known = remembering(X)
    module.generator = torch.Generator().manual_seed(0)
    hidden, weight = module.eval().hidden(x, known)
    assert (hidden[:, 0] == hidden[:, 1])[400:].float().mean() > 0.98
    often = hidden.sum(0) / known.sum(0)
    assert 1.2 < often[0] / often[2] < 1.5  # as many gaps: 400 and 300
    assert (often[3:] < 0.05 * often[2]).all()
    assert weight.sum(1).mean() == pytest.approx(8, rel=0.1)


def test_a_column_counts_for_what_it_misses_however_little_of_it_is_known():
    X = np.random.RandomState(0).randn(3000, 4)
    X[:2700, 0] = X[2400:, 1] = NAN
    module, x, known = remembering(X)
    module.generator = torch.Generator().manual_seed(0)
    counts = sum(module.eval().hidden(x, known)[1].sum(0) for _ in range(20))
    assert counts[0] / counts[1] == pytest.approx(2700 / 600, rel=0.1)


def test_gaps_that_agree_by_chance_are_not_joined():
    rng = np.random.RandomState(0)
    X = rng.randn(15, 8)
    X[rng.uniform(size=X.shape) < 0.2] = NAN
    X[:2, :2] = NAN
    assert_array_equal(missing_together(X, np.arange(8)), np.arange(8))
    X[:, 3] = NAN  # says nothing
    assert_array_equal(missing_together(X, np.arange(8)), np.arange(8))


@pytest.mark.parametrize("k", [None, 2])
def test_a_column_may_have_its_first_values_in_a_later_batch(k):
    rng = np.random.RandomState(0)
    X = rng.randn(3000, 4)
    X[:, 3] += 20
    X[:, 2] += X[:, 3]
    shown = np.where(rng.uniform(size=X.shape) < 0.2, NAN, X)
    shown[:300, 3] = NAN
    model = MaskedAutoencoder(k, max_iter=0)
    for batch in np.array_split(shown, 10):
        model.partial_fit(batch)
    assert_allclose(model.mean_, X.mean(0), atol=0.3)
    assert_allclose(np.diagonal(model.get_covariance()), X.var(0), rtol=0.3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_drawn", [False, True])
def test_independent_columns_of_few_values_are_completed_by_the_mean(seed, is_drawn):
    rng = np.random.RandomState(seed)
    X, new = rng.randint(0, 3, (2, 300, 4)).astype(np.float64)
    gaps, hidden = (np.repeat(rng.rand(300, 1) < 0.5, 4, 1) for _ in range(2))
    gaps[:, 2:] = hidden[:, 2:] = False
    X[gaps] = NAN
    X = X[rng.randint(0, 300, 300)] if is_drawn else X
    shown = np.where(hidden, NAN, new)
    completed = MaskedImputer(random_state=seed).fit(X).transform(shown)
    by_mean = SimpleImputer().fit(X).transform(shown)
    errors = [((Y - new)[hidden] ** 2).mean() for Y in (completed, by_mean)]
    assert errors[0] < 1.01 * errors[1]


def test_patches():
    assert_array_equal(patches((5,), 2), [0, 0, 1, 1, 2])
    image = patches((4, 4), 2).reshape(4, 4)
    assert_array_equal(image[:2, :2], 0)
    assert len(np.unique(image)) == 4
    channels = patches((3, 4, 4), 2).reshape(3, 16)
    assert_array_equal(channels[0], channels[2])
    series = patches((6, 2), 1, is_series=True).reshape(6, 2)
    assert len(np.unique(series)) == 6
    assert_array_equal(series[:, 0], series[:, 1])


ARCHITECTURES = {
    "convolutional": (Convolutional(channels=(4,), hidden_layer_sizes=()), (8, 6)),
    "channels": (Convolutional(channels=(4,), hidden_layer_sizes=()), (2, 8, 6)),
    "flat": (Convolutional((8, 6), channels=(4,), hidden_layer_sizes=()), (48,)),
    "recurrent": (Recurrent(hidden_size=4), (12, 2)),
    "one channel": (Recurrent(hidden_size=4), (12,)),
    "patches": (Transformer(1, 8, image_shape=(8, 6), patch_size=2), (8, 6)),
    "segments": (Transformer(1, 8), (12, 2)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("k", [None, 3])
def test_every_architecture_sees_the_mask(name, k):
    architecture, shape = ARCHITECTURES[name]
    d = int(np.prod(shape))
    X = with_holes(correlated(n=120, d=d, rank=3), 0.3).reshape(120, *shape)
    model = MaskedAutoencoder(
        k,
        architecture=architecture,
        max_iter=2,
        patch_size=2,
        random_state=0,
        validation_fraction=0.2,
        init="pca",
    ).fit(X)
    completed = model.impute(X)
    assert completed.shape == X.shape
    known = ~np.isnan(X)
    assert_array_equal(completed[known], X[known])
    module = model.module_
    x = torch.zeros(2, d)
    known = torch.ones(2, d, dtype=torch.bool)
    known[1, :3] = False
    torch.manual_seed(0)
    with torch.no_grad():
        encoder = module.encoder.network
        for part in encoder.modules():  # networks that were zero would say nothing
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        codes = module.encode(x, known)
    assert not torch.allclose(codes[0], codes[1])


def test_a_users_networks_see_the_mask():
    def encoder(n_features, n_components):
        widths.add(n_features)
        return torch.nn.Linear(n_features, n_components)

    widths = set()
    X = with_holes(correlated())
    architecture = Modules(encoder, torch.nn.Linear)
    model = MaskedAutoencoder(2, architecture=architecture, max_iter=2, random_state=0)
    assert np.isfinite(model.fit(X).impute(X)).all()
    assert 4 * 5 in widths


def test_batches_complete_as_well():
    X = with_holes(correlated(n=900), 0.2)
    model = MaskedAutoencoder(**FAST)
    for part in np.split(X, 3):
        model.partial_fit(part)
    whole = MaskedAutoencoder(max_iter=0, random_state=0).fit(X)
    assert_allclose(model.mean_, whole.mean_, atol=0.05)
    new = correlated(n=300, seed=9)
    assert hidden_error(model, new) < 1.05 * hidden_error(whole, new)


def test_a_table_on_disk(tmp_path):
    X = with_holes(correlated(n=700), 0.2)
    path = tmp_path / "X.npy"
    np.save(path, X)
    on_disk = np.load(path, mmap_mode="r")
    one = MaskedAutoencoder(**FAST).fit(on_disk)
    other = MaskedAutoencoder(**FAST).fit(X)
    assert_array_equal(one.impute(on_disk), other.impute(X))


def test_weights_count_copies(X):
    weight = np.random.RandomState(0).randint(1, 4, len(X))
    one = MaskedAutoencoder(2, max_iter=0).fit(X, sample_weight=weight)
    other = MaskedAutoencoder(2, max_iter=0).fit(np.repeat(X, weight, axis=0))
    assert_allclose(one.impute(X), other.impute(X), atol=1e-6)


# The imputer


@pytest.fixture
def frame():
    """Return a frame of numbers, whole numbers and categories, complete."""
    rng = np.random.RandomState(0)
    a = rng.standard_normal(300)
    kind = np.select([a > 0.8, a > 0], ["green", "blue"], "red")
    return pd.DataFrame(
        {
            "a": 10 * a + 50,
            "b": -a + 0.1 * rng.standard_normal(300),
            "n": np.round(5 * a).astype(int),
            "kind": pd.Categorical(kind),
        }
    )


def holes_in(frame):
    frame = frame.copy()
    frame.loc[::4, "a"] = NAN
    frame.loc[1::5, "kind"] = NAN
    return frame


def test_categories_are_completed(frame):
    incomplete = holes_in(frame)
    imputer = MaskedImputer(categorical_features="from_dtype", random_state=0)
    completed = imputer.fit_transform(incomplete)
    assert imputer.categories_ == {3: ["blue", "green", "red"]}
    assert list(completed.dtypes) == list(frame.dtypes)
    known = incomplete.notna()
    for name in frame.columns:
        rows = known[name]
        pd.testing.assert_series_equal(
            completed[name][rows], incomplete[name][rows], check_dtype=False
        )
    right = (completed["kind"].astype(str) == frame["kind"].astype(str))[1::5]
    assert right.mean() > 0.75
    assert (completed["a"] - frame["a"])[::4].abs().mean() < 2


@pytest.mark.parametrize("which", [["kind"], [3], [-1], [False, False, False, True]])
def test_categories_are_named_in_many_ways(which, frame):
    incomplete = holes_in(frame)
    imputer = MaskedImputer(categorical_features=which, max_iter=0, random_state=0)
    assert imputer.fit_transform(incomplete)["kind"].notna().all()


def test_polars_and_arrays_of_objects(frame):
    incomplete = holes_in(frame)
    how = {"max_iter": 0, "random_state": 0}
    expected = MaskedImputer(categorical_features=["kind"], **how)
    expected = expected.fit_transform(incomplete)
    polars = pl.from_pandas(incomplete)
    completed = MaskedImputer(categorical_features="from_dtype", **how)
    completed = completed.fit_transform(polars)
    assert isinstance(completed, pl.DataFrame)
    assert completed["kind"].to_list() == expected["kind"].tolist()
    array = incomplete.astype(object).to_numpy()
    completed = MaskedImputer(categorical_features=[3], **how).fit_transform(array)
    assert completed[:, 3].tolist() == expected["kind"].tolist()


def test_a_frame_of_polars_becomes_one_of_pandas_with_types():
    frame = pl.DataFrame(
        {"x": [1.0, None, 3.0] * 9, "n": [1, 2, 3] * 9, "k": ["u", "v", None] * 9}
    )
    imputer = MaskedImputer(
        categorical_features=["k"], add_indicator=True, max_iter=0, random_state=0
    )
    expected = imputer.fit_transform(frame)
    completed = imputer.set_output(transform="pandas").transform(frame)
    numbers = make_column_selector(dtype_include="number")(completed)
    assert numbers == ["x", "n"]
    assert completed.to_dict("list") == expected.to_dict(as_series=False)


def test_a_category_that_was_not_seen_is_left_alone(frame):
    imputer = MaskedImputer(categorical_features=["kind"], max_iter=0, random_state=0)
    imputer.fit(holes_in(frame))
    new = frame.head(3).astype({"kind": object})
    new.loc[0, "kind"] = "violet"
    new.loc[0, "a"] = NAN
    completed = imputer.transform(new)
    assert completed.loc[0, "kind"] == "violet"
    assert np.isfinite(completed.loc[0, "a"])


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (["colour"], "'colour' is no column of X"),
        ([7], "7 is no column of X"),
        ([True], "1 flags, but X has 4 columns"),
        (None, "kind"),
    ],
)
def test_wrong_columns_are_an_error(which, message, frame):
    with pytest.raises(ValueError, match=message):
        MaskedImputer(categorical_features=which).fit(frame)


def test_draws_of_categories_differ(frame):
    incomplete = holes_in(frame)
    imputer = MaskedImputer(
        categorical_features=["kind"], sample_posterior=True, max_iter=0, random_state=0
    ).fit(incomplete)
    one, other = imputer.transform(incomplete), imputer.transform(incomplete)
    assert (one["kind"].astype(str) != other["kind"].astype(str)).any()
    assert (one["a"] != other["a"]).sum() == 75


def test_indicators_and_empty_columns():
    X = with_holes(load_iris().data, 0.2)
    X[:, 1] = NAN
    X[:, 3] = load_iris().data[:, 3]
    names = ["a", "b", "c", "d"]
    imputer = MaskedImputer(max_iter=0, add_indicator=True, random_state=0)
    with pytest.warns(UserWarning, match=r"^Columns \['b'\] have no value") as caught:
        completed = imputer.fit_transform(pd.DataFrame(X, columns=names))
    assert [warning.filename for warning in caught] == [__file__]
    assert completed.shape == (150, 6)
    expected = ["a", "c", "d", *(f"missingindicator_{n}" for n in "abc")]
    assert imputer.get_feature_names_out().tolist() == expected
    kept = MaskedImputer(max_iter=0, keep_empty_features=True, random_state=0)
    completed = kept.fit_transform(X)
    assert completed.shape == (150, 4)
    assert_array_equal(completed[:, 1], 0)


@pytest.mark.filterwarnings("ignore:Columns .* are left out")
def test_what_is_completed_stays_between_limits():
    X = load_iris().data
    shown = np.column_stack([np.full(150, NAN), with_holes(X, 0.4)])
    free = MaskedImputer(max_iter=0, random_state=0).fit(shown)
    limits = {"min_value": [9, 5, 0, 2, -np.inf], "max_value": [10, 6, 3, 4, 1]}
    bound = clone(free).set_params(**limits).fit(shown)
    low, high = (np.array(side)[1:] for side in limits.values())
    expected = np.clip(free.transform(shown), low, high)
    known = ~np.isnan(shown[:, 1:])
    expected[known] = shown[:, 1:][known]
    assert_allclose(bound.transform(shown), expected)
    drawn = bound.set_params(sample_posterior=True, min_value=None).transform(shown)
    assert (drawn <= high)[~known].all()
    assert (drawn < low)[~known].any()


def test_units_do_not_matter_to_the_imputer():
    X = with_holes(load_wine().data, 0.2)
    factor = 10.0 ** np.arange(-6, 7)
    one = MaskedImputer(max_iter=0, random_state=0).fit_transform(X)
    other = MaskedImputer(max_iter=0, random_state=0).fit_transform(X * factor + 5)
    assert_allclose((other - 5) / factor, one, rtol=1e-5)


def test_it_stands_where_imputers_stand():
    X, y = load_wine(return_X_y=True)
    X = with_holes(X, 0.2)
    imputer = MaskedImputer(**FAST)
    pipe = make_pipeline(imputer, StandardScaler(), LogisticRegression())
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.85
    grid = {"maskedimputer__max_iter": [0, 1]}
    GridSearchCV(pipe, grid, cv=2).fit(X, y)
    columns = make_column_transformer(
        (imputer, list(range(10))), remainder="passthrough"
    )
    assert columns.fit_transform(X).shape == X.shape
    named = clone(imputer).set_output(transform="pandas")
    out = named.fit_transform(pd.DataFrame(X).add_prefix("c"))
    assert out.columns.tolist() == [f"c{i}" for i in range(13)]


def test_nothing_is_said_of_warnings_in_a_plain_fit():
    X = with_holes(load_wine().data, 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MaskedImputer(random_state=0, max_iter=2).fit_transform(X)


def test_few_rows_are_completed_no_worse_than_by_means():
    """As many rows as columns: a covariance by maximum likelihood fits them exactly."""
    X = load_wine().data
    deviation, errors = X.std(0), {}
    for seed in range(8):
        rng = np.random.RandomState(seed)
        train, test = X[rng.permutation(178)[:13]], X[rng.permutation(178)[:60]]
        hidden = rng.uniform(size=test.shape) < 0.2
        shown = np.where(hidden, NAN, test)
        for imputer in (MaskedImputer(max_iter=0, random_state=seed), SimpleImputer()):
            completed = imputer.fit(with_holes(train, 0.2, seed)).transform(shown)
            error = ((completed - test) / deviation)[hidden]
            errors.setdefault(type(imputer), []).append((error**2).mean())
    assert np.mean(errors[MaskedImputer]) < np.mean(errors[SimpleImputer])


@pytest.mark.parametrize("n", [5, 7, 9])
def test_few_rows_tell_that_columns_are_independent(n):
    errors = {}
    for seed in range(20):
        X = np.random.RandomState(seed).randn(n + 50, 8)
        few, new = with_holes(X[:n], 0.1, seed), with_holes(X[n:], 0.2, seed)
        for imputer in (MaskedImputer(max_iter=0), SimpleImputer()):
            error = (imputer.fit(few).transform(new) - X[n:])[np.isnan(new)]
            errors.setdefault(type(imputer), []).append((error**2).mean())
    assert np.mean(errors[MaskedImputer]) < 1.05 * np.mean(errors[SimpleImputer])


NAN = np.nan
DEGENERATE = {
    "constant": [[NAN, 3.0, NAN, NAN], [NAN, NAN, 3.0, 3.0]],
    "constant beside a varying column": [[0.5, 3.0], [NAN, 3.0], [1.0, NAN], [2, 3]],
    "one cell": [[NAN, NAN], [NAN, NAN], [1e15, NAN]],
    "one column": [[NAN], [NAN], [0.0], [0.0]],
    "zeros": [[NAN, 0.0, NAN], [0.0, NAN, NAN], [NAN, 0.0, 0.0]],
    "copies": [[-0.235443573521853, 1.831752993247077, NAN]] * 3,
}


@pytest.mark.filterwarnings("ignore:No cell is known", "ignore:Columns .* are left out")
@pytest.mark.parametrize("k", [None, 1])
@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("cls", [MaskedAutoencoder, MaskedImputer])
def test_tables_without_variance_are_completed(cls, name, k):
    X = np.array(DEGENERATE[name])
    model = cls(k, random_state=0).fit(X)
    if cls is MaskedImputer:
        completed = model.transform(X)
    else:
        completed = model.impute(X)
        assert np.isfinite(model.score_samples(X)).all()
        assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(completed).all()
    empty = np.isnan(X).all(0)
    if "varying" not in name:  # what else could it be
        of_columns = np.broadcast_to(np.nanmax(X[:, ~empty], 0), X[:, ~empty].shape)
        shown = completed if cls is MaskedImputer else completed[:, ~empty]
        assert_allclose(shown, of_columns, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [None, 2])
def test_far_from_zero_nothing_else_is_completed(k):
    X = with_holes(correlated())
    model = MaskedAutoencoder(k, max_iter=0, random_state=0)
    completed = model.fit(X).impute(X)
    assert_allclose(model.fit(X + 1e9).impute(X + 1e9) - 1e9, completed, atol=1e-5)
    model = MaskedAutoencoder(k, max_iter=0, random_state=0)
    near, far = clone(model), clone(model)
    for batch in np.array_split(X, 3):
        near.partial_fit(batch)
        far.partial_fit(batch + 1e9)
    assert_allclose(far.impute(X + 1e9) - 1e9, near.impute(X), atol=1e-5)


def test_an_imputer_takes_tensors_and_large_single_precision():
    X = np.random.RandomState(0).standard_normal((30, 3))
    imputer = MaskedImputer(max_iter=0, random_state=0).fit(X)
    tensor = torch.tensor(X).requires_grad_()
    np.testing.assert_array_equal(imputer.transform(tensor), X)
    X[0, 0] = -1e29  # whose square is beyond float32
    completed = MaskedImputer(max_iter=0).fit_transform(X.astype(np.float32))
    np.testing.assert_array_equal(completed, X.astype(np.float32))
    with pytest.raises(ValueError, match="masked array that hides 1 values"):
        imputer.transform(np.ma.masked_less(X, -1e9))


@pytest.mark.parametrize("marker", [pd.NA, None])
def test_a_marker_of_nullable_columns_is_like_nan(marker):
    numbers = pd.array([1, 2, None, 4] * 10, dtype="Int64")
    frame = pd.DataFrame({"a": numbers, "b": [1.0, 2.0, 3.0, np.nan] * 10})
    how = {"max_iter": 0, "random_state": 0}
    by_marker = MaskedImputer(missing_values=marker, **how).fit_transform(frame)
    np.testing.assert_array_equal(by_marker, MaskedImputer(**how).fit_transform(frame))
    assert np.isfinite(by_marker).all()


@pytest.mark.parametrize("dtype", ["float64", "Int64"])
def test_nan_beside_another_marker_is_an_error(dtype):
    frame = pd.DataFrame({"a": [1.0, 2.0, NAN, -1.0] * 5, "k": ["x", "y"] * 10})
    frame["a"] = frame["a"].astype(dtype)
    imputer = MaskedImputer(missing_values=-1, categorical_features=["k"], max_iter=0)
    with pytest.raises(ValueError, match=r"NaN in column 'a' \(row 2\)"):
        imputer.fit(frame)


@pytest.mark.parametrize("marker", [-1, "?"])
@pytest.mark.parametrize("gap", [None, NAN, pd.NA])
def test_none_among_categories_beside_another_marker_is_an_error(marker, gap):
    frame = pd.DataFrame({"k": ["u", "v", gap] * 5, "x": np.arange(15.0)}, dtype=object)
    imputer = MaskedImputer(categorical_features=["k"], missing_values=marker)
    with pytest.raises(ValueError, match=r"NaN in column 'k' \(row 2\), but"):
        imputer.fit(frame)
    completed = imputer.set_params(max_iter=0).fit_transform(frame.fillna(marker))
    assert set(completed["k"]) == {"u", "v"}


@pytest.mark.parametrize("as_table", [pd.DataFrame, np.asarray])
@pytest.mark.parametrize("value", [np.inf, 1e200])
def test_errors_name_columns_beside_categories(value, as_table):
    frame = pd.DataFrame({"k": ["u", "v"] * 9, "y": 1.0, "x": np.arange(18.0)})
    frame.loc[7, "x"] = value
    table = as_table(frame)
    column = 2 if as_table is np.asarray else "'x'"
    message = rf"olumn {column}( | of X contains 1e\+200 )\(row 7\)"
    with pytest.raises(ValueError, match=message):
        MaskedImputer(categorical_features=[0]).fit(table)


@pytest.mark.parametrize("marker", [-1, -1.0])
@pytest.mark.parametrize("dtype", [int, float, "float32", "Int64"])
def test_a_number_marks_cells_of_every_type_of_numbers(marker, dtype):
    """Beside categories cells are compared one by one."""
    x = pd.Series(np.where(np.arange(40) % 4 == 0, -1, np.arange(40)), dtype=dtype)
    codes = np.where(np.arange(40) % 5 == 0, -1, np.arange(40) % 2)
    frame = pd.DataFrame({"x": x, "code": codes.astype(float), "kind": list("ab") * 20})
    imputer = MaskedImputer(
        missing_values=marker,
        categorical_features=["code", "kind"],
        max_iter=0,
        random_state=0,
    )
    completed = imputer.fit_transform(frame)
    assert imputer.categories_[1] == [0.0, 1.0]
    assert not (completed[["x", "code"]] == -1).any(axis=None)


def test_tuples_are_categories():
    kinds = [("a", 1), ("b", 2), None, ("a", 1)] * 10
    frame = pd.DataFrame({"kind": kinds, "x": np.arange(40.0)})
    imputer = MaskedImputer(categorical_features=["kind"], max_iter=0, random_state=0)
    completed = imputer.fit_transform(frame)
    assert set(completed["kind"]) == {("a", 1), ("b", 2)}


def test_every_type_of_arrows_texts_is_one_of_categories():
    kinds = pd.Series(["a", None, "b", "b"] * 10)
    types = [pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
    columns = {str(i): kinds.astype(pd.ArrowDtype(t)) for i, t in enumerate(types)}
    frame = pd.DataFrame({**columns, "x": np.arange(40.0)})
    imputer = MaskedImputer(categorical_features="from_dtype", max_iter=0)
    completed = imputer.fit_transform(frame)
    assert list(imputer.categories_) == [0, 1]
    assert completed.dtypes.tolist() == frame.dtypes.tolist()
    assert completed.notna().all(axis=None)


def test_categories_that_fit_has_seen_may_be_new_to_a_type():
    frame = pd.DataFrame({"c": pd.Categorical(list("xy") * 30), "n": [0.0, 1.0] * 30})
    new = pd.DataFrame({"c": pd.Categorical(["x", None]), "n": [0.0, 1.0]})
    imputer = MaskedImputer(categorical_features="from_dtype", max_iter=0)
    completed = imputer.fit(frame).transform(new)["c"]
    assert completed.tolist() == ["x", "y"]
    assert isinstance(completed.dtype, pd.CategoricalDtype)
    narrow, wide = pl.Enum(["x"]), pl.Enum(["x", "y"])
    seen = pl.from_pandas(frame).with_columns(pl.col("c").cast(wide))
    given = pl.DataFrame({"c": ["x", None], "n": [0.0, 1.0]})
    given = given.with_columns(pl.col("c").cast(narrow))
    assert imputer.fit(seen).transform(given)["c"].to_list() == ["x", "y"]


def test_more_categories_than_a_covariance_holds():
    names = [f"id{i % 400}" for i in range(800)]
    frame = pd.DataFrame({"k": names, "x": np.random.RandomState(0).randn(800)})
    frame.loc[::10, "k"] = None
    imputer = MaskedImputer(categorical_features=["k"], max_iter=1, random_state=0)
    assert imputer.fit_transform(frame)["k"].notna().all()


def test_categories_are_drawn_as_often_as_they_are_there():
    rng = np.random.RandomState(0)
    kind = np.where(rng.uniform(size=2000) < 0.9, "a", "b").astype(object)
    frame = pd.DataFrame({"k": kind, "x": rng.standard_normal(2000)})
    hidden = rng.uniform(size=2000) < 0.4
    frame.loc[hidden, "k"] = None
    imputer = MaskedImputer(
        max_iter=0, sample_posterior=True, categorical_features=["k"], random_state=0
    ).fit(frame)
    drawn = [(imputer.transform(frame)["k"][hidden] == "a").mean() for _ in range(5)]
    assert np.mean(drawn) == pytest.approx(0.88, abs=0.02)


@pytest.mark.parametrize("k", [None, 1])
def test_draws_between_limits_are_of_a_truncated_distribution(k):
    """It is that of the other draws, if those beyond are left out."""
    rng = np.random.RandomState(0)
    X = rng.randn(400, 2) @ [[1.0, 0.8], [0, 0.6]]
    new = np.column_stack([np.full(4000, -0.5), np.full(4000, NAN)])
    imputer = MaskedImputer(k, max_iter=0, sample_posterior=True, random_state=0)
    free = imputer.fit(np.where(rng.rand(400, 2) < 0.1, NAN, X)).transform(new)[:, 1]
    left = free[(free > 0) & (free < 1)]
    drawn = imputer.set_params(min_value=0, max_value=1).transform(new)[:, 1]
    assert ((drawn > 0) & (drawn < 1)).all()
    assert_allclose([drawn.mean(), drawn.std()], [left.mean(), left.std()], atol=0.02)
    for none in (None, np.finfo(float).max):
        far = imputer.set_params(min_value=1e300, max_value=none).transform(new)[:, 1]
        assert_array_equal(far, 1e300)


def test_draws_are_as_narrow_as_the_network_is_good():
    rng = np.random.RandomState(1)
    x = rng.uniform(-2, 2, 1000)
    X = np.column_stack([x, x**2 + 0.2 * rng.standard_normal(1000)])
    hidden = rng.uniform(size=1000) < 0.3
    shown = X.copy()
    shown[hidden, 1] = NAN
    imputer = MaskedImputer(sample_posterior=True, random_state=1).fit(shown)
    assert imputer.autoencoder_.best_iter_ > 0
    draws = np.array([imputer.transform(shown)[hidden, 1] for _ in range(20)])
    assert draws.std(0).mean() < 0.6  # by the normal distribution alone 1.2


def test_weights_of_the_imputer_count_copies():
    X = with_holes(correlated(n=80))
    weight = np.ones(80)
    weight[:20] = 2
    how = {"max_iter": 0, "random_state": 0}
    one = MaskedImputer(**how).fit(X, sample_weight=weight).transform(X)
    other = MaskedImputer(**how).fit(np.vstack([X, X[:20]])).transform(X)
    assert_allclose(one, other, atol=1e-9)


def test_nullable_types_are_kept():
    frame = pd.DataFrame(
        {
            "s": list("ab") * 30,
            "b": pd.array([True, None, False] * 20, dtype="boolean"),
            "f": pd.array([1.5, None, 2.0] * 20, dtype="Float64"),
        }
    )
    imputer = MaskedImputer(categorical_features="from_dtype", max_iter=0)
    completed = imputer.fit_transform(frame)
    assert completed.dtypes.tolist() == frame.dtypes.tolist()
    assert completed.notna().to_numpy().all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Int64", "Float64"),
        ("UInt8", "Float64"),
        ("int64[pyarrow]", "double[pyarrow]"),
        ("double[pyarrow]", "double[pyarrow]"),
        ("float[pyarrow]", "float[pyarrow]"),
    ],
)
def test_completed_numbers_stay_nullable_or_arrows(given, expected):
    numbers = pd.Series([1, 2, None, 4] * 10, dtype=given)
    frame = pd.DataFrame({"x": numbers, "k": list("ab") * 20})
    imputer = MaskedImputer(categorical_features=["k"], max_iter=0)
    x = imputer.fit_transform(frame)["x"]
    assert (x.dtype, x.isna().sum()) == (expected, 0)
    assert (x == numbers)[numbers.notna()].all()


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e6])
def test_the_start_does_not_depend_on_the_units_of_a_column(size):
    rng = np.random.RandomState(0)
    z = rng.randn(300)
    X = np.column_stack([z, z + 0.1 * rng.randn(300), rng.randn(300)])
    X = with_holes(X, 0.2)
    units = np.array([1.0, 1.0, size])
    how = {"max_iter": 0, "random_state": 0}
    expected = MaskedAutoencoder(**how).fit(X).impute(X)
    found = MaskedAutoencoder(**how).fit(X * units).impute(X * units) / units
    assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_small_columns_are_completed_by_a_network_as_at_the_start(seed):
    """Whose error is of the size of what is learnt of columns 10,000 times as large."""
    X, rng = load_breast_cancer().data[:, :10], np.random.RandomState(seed)
    rows, hidden = rng.permutation(569), rng.uniform(size=X.shape) < 0.2
    holes, train, new = np.where(hidden, NAN, X), rows[:379], rows[379:]

    def error(max_iter):
        model = MaskedAutoencoder(max_iter=max_iter, random_state=seed)
        completed = model.fit(holes[train]).impute(holes[new])
        squares = np.square((completed - X[new]) / X.std(0))
        return squares[hidden[new]].mean()

    assert error("auto") < 1.5 * error(0)


def test_a_constant_column_says_nothing():
    """Its deviation is a rounding error, by which nothing may be divided."""
    X = with_holes(correlated(n=101))
    X[:, 2] = np.where(np.isnan(X[:, 2]), NAN, 0.1)
    imputer = MaskedImputer(max_iter=0, random_state=0).fit(X)
    new = correlated(n=20, seed=3)
    new[:, 0] = NAN
    assert np.abs(imputer.transform(new)[:, 0] - 3).max() < 20


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_rows_do_not_hide_what_is_hidden(seed):
    X = load_wine().data[np.random.RandomState(seed).permutation(178)]
    few = StandardScaler().fit_transform(with_holes(X[:20], 0.2, seed))
    new = (X[60:] - np.nanmean(X, 0)) / X.std(0)
    one = MaskedAutoencoder(max_iter=0, random_state=seed).fit(few)
    many = MaskedAutoencoder(max_iter=0, random_state=seed).fit(np.tile(few, (60, 1)))
    assert hidden_error(many, new) < 1.1 * hidden_error(one, new)


def test_warnings_point_to_the_caller():
    X = np.vstack([load_iris().data[:20], np.full(4, NAN)])
    imputer = MaskedImputer(max_iter=0, random_state=0)
    for call in (imputer.fit_transform, make_pipeline(imputer).transform):
        with pytest.warns(UserWarning, match="No cell is known") as caught:
            call(X)
        assert [warning.filename for warning in caught] == [__file__]


def test_names_of_columns_that_are_no_text_come_back():
    numbered = pd.DataFrame({0: ["x", None, "y"] * 10, 1: [1.0, 2.0, NAN] * 10})
    imputer = MaskedImputer(categorical_features=[0], max_iter=0)
    completed = imputer.fit_transform(numbered)
    assert completed.columns.tolist() == [0, 1]
    assert completed.notna().to_numpy().all()


@pytest.mark.parametrize("max_iter", [0, "auto"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.003, 0.3])
def test_what_was_missing_together_tells_about_one_another(share, seed, max_iter):
    """In new rows one of two columns may be missing that were so together."""
    rng = np.random.RandomState(seed)
    X = rng.randn(1000, 3)
    X[:, 1] = X[:, 0] + 0.3 * X[:, 1]
    shown, alone = X.copy(), X.copy()
    shown[rng.uniform(size=len(X)) < share, :2] = NAN
    alone[:, 0] = NAN
    completed = MaskedImputer(max_iter=max_iter, random_state=seed).fit(shown)
    error = ((completed.transform(alone) - X)[:, 0] ** 2).mean()
    assert error < 0.12  # a third of a deviation; 0.083 is left by the best guess


@pytest.mark.parametrize("seed", range(3))
def test_a_network_is_judged_by_rows_in_which_as_much_is_missing(seed):
    """What it learns of almost complete rows does not make it better on the others."""
    rng = np.random.RandomState(seed)
    X = rng.randn(600, 3) @ rng.randn(3, 8) + 0.2 * rng.randn(600, 8)
    likely = 0.9 * X[:, :1].argsort(0).argsort(0) / len(X)
    gaps = rng.uniform(size=X.shape) < likely
    gaps[:, 0] = False
    shown, errors = np.where(gaps, NAN, X), []
    for max_iter in ("auto", 0):
        imputer = MaskedImputer(max_iter=max_iter, random_state=seed)
        errors.append(((imputer.fit_transform(shown) - X)[gaps] ** 2).mean())
    assert errors[0] < 1.02 * errors[1]


def test_as_much_is_left_to_a_judged_network_as_of_other_rows():
    rng = np.random.RandomState(0)
    X = rng.randn(400, 10)
    X[:200, 1:] = NAN
    module = MaskedAutoencoder(**FAST).fit(X).net_.module_.eval()
    x, known = torch.from_numpy(X).float(), torch.from_numpy(~np.isnan(X))
    hidden, weight = module.hidden(x.nan_to_num(), known)
    left = (known & ~hidden)[200:].sum(1).float().numpy()
    assert_allclose((left < 4).mean(), 0.5, atol=0.1)  # 1 of 10 cells, as in the first
    assert_allclose((left > 6).mean(), 0.5, atol=0.1)
    assert_allclose(weight.mean(), 1, atol=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_drawn_in_a_row_belongs_together(seed):
    rng = np.random.RandomState(seed)
    first = rng.randint(0, 3, 1500)
    second = np.where(rng.uniform(size=1500) < 0.9, first, rng.randint(0, 3, 1500))
    number = 2.0 * first + rng.randn(1500)
    frame = pd.DataFrame(
        {"a": np.array(list("pqr"))[first], "b": second.astype(str), "c": number}
    )
    both = rng.uniform(size=1500) < 0.4
    shown = frame.mask(np.repeat(both[:, None], 3, 1))
    imputer = MaskedImputer(
        max_iter=0,
        categorical_features=["a", "b"],
        sample_posterior=True,
        random_state=seed,
    )
    with pytest.warns(UserWarning, match="No cell is known"):
        drawn = imputer.fit(shown).transform(shown)[both]
    agree = drawn["a"].map({"p": "0", "q": "1", "r": "2"}) == drawn["b"]
    assert_allclose(agree.mean(), (first == second)[both].mean(), atol=0.08)
    means = drawn["c"].groupby(drawn["a"]).mean()
    assert_allclose(means["r"] - means["p"], 4, atol=0.6)


@pytest.mark.parametrize("library", [pd, pl])
def test_a_category_of_which_nothing_is_known_is_completed(library):
    fitted = library.DataFrame({"x": [0.0, 1.0, 2.0] * 20, "c": ["p", "q", "q"] * 20})
    imputer = MaskedImputer(max_iter=0, categorical_features=["c"]).fit(fitted)
    empty = [NAN, NAN] if library is pd else [None, None]
    for column in (empty, [None, None]):
        completed = imputer.transform(library.DataFrame({"x": [0.0, 2.0], "c": column}))
        assert completed["c"].to_list() == ["p", "q"]


def test_na_of_pandas_in_numbers_is_missing():
    X = pd.DataFrame({"a": [1.0, 2.0, 4.0] * 10, "b": [3.0, 1.0, 2.0] * 10})
    for estimator in (MaskedImputer(max_iter=0), MaskedAutoencoder(1, max_iter=0)):
        results = []
        for value in (pd.NA, None, NAN):
            shown = X.astype(object)
            shown.iloc[1, 0] = value
            results.append(np.asarray(estimator.fit(shown).transform(shown)))
        assert_array_equal(results[0], results[1])
        assert_array_equal(results[0], results[2])
