"""The contrastive autoencoder: pairs, labels, and copies of rows."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import ContrastiveAutoencoder
from skae._contrastive_module import ContrastiveLoss, ContrastiveModule, CopiesModule
from skae._dataset import RowDataset, TrainingData
from skae._density_ratio import (
    CodePairs,
    info_nce,
    log_ratio,
    score_by_chance,
)
from skae.architectures import Convolutional

FAST = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def halves():
    """Left and right halves of digits: they hang together, and not linearly."""
    images = load_digits().images
    return images[:, :, :4].reshape(-1, 32), images[:, :, 4:].reshape(-1, 32)


@pytest.fixture(scope="module")
def trained(halves):
    left, right = (half[:1300] for half in halves)
    return ContrastiveAutoencoder(4, random_state=0).fit(left, right)


# Networks


def test_networks_say_more_of_new_pairs(trained, halves):
    left, right = (half[1300:] for half in halves)
    start = ContrastiveAutoencoder(4, max_iter=0, random_state=0)
    start.fit(*(half[:1300] for half in halves))
    assert trained.best_iter_ > 0
    of_seeds = [trained.score(left, right)]  # by .4 to .9 each, as rounding errors go
    for seed in (1, 2):
        other = ContrastiveAutoencoder(4, random_state=seed)
        other.fit(*(half[:1300] for half in halves))
        of_seeds.append(other.score(left, right))
    assert np.mean(of_seeds) > start.score(left, right) + 0.5
    bounds = trained.validation_scores_
    assert max(bounds) == pytest.approx(bounds[trained.best_iter_], rel=1e-6)


def test_scores_of_new_pairs_are_as_high_as_their_bound(trained, halves):
    left, right = (half[1300:] for half in halves)
    bound = trained.score(left, right)
    assert_allclose(trained.score_samples(left, right).mean(), bound, atol=0.3)
    among = trained.similarity(left, right)
    assert_allclose(np.diagonal(among), trained.score_samples(left, right), rtol=1e-9)
    assert np.exp(among).mean() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_unrelated_rows_are_as_likely_as_by_chance(seed):
    """By definition of the ratio; of 300 pairs, which train in folds."""
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    X = X[np.random.RandomState(seed).permutation(len(X))]
    model = ContrastiveAutoencoder(2, random_state=seed).fit(X[:300, :15], X[:300, 15:])
    assert model.best_iter_ > 0
    among = model.similarity(X[300:, :15], X[300:, 15:])
    np.fill_diagonal(among, -np.inf)
    n = math.log(len(among) - 1)
    by_chance = [logsumexp(among, axis=axis) - n for axis in (0, 1)]
    assert np.median(np.mean(by_chance, axis=0)) == pytest.approx(0, abs=0.25)


def test_an_outlier_shifts_no_score():
    """Of breast cancer the first of 300 rows is a hundred times as far away."""
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    X = X[np.random.RandomState(0).permutation(len(X))]
    X[0] *= 100
    model = ContrastiveAutoencoder(2, random_state=0).fit(X[:300, :15], X[:300, 15:])
    assert model.best_iter_ > 0
    new = X[300:, :15], X[300:, 15:]
    assert model.score_samples(*new).mean() == pytest.approx(model.score(*new), abs=0.5)


def test_a_small_batch_shifts_no_score(halves):
    left, right = halves
    model = ContrastiveAutoencoder(2, max_iter=20, random_state=0)
    model.fit(left[:1000], right[:1000])
    assert model.best_iter_ > 0
    new = left[1300:], right[1300:]
    for rows in (slice(1000 + 10 * i, 1010 + 10 * i) for i in range(3)):
        model.partial_fit(left[rows], right[rows])
        of_pairs = model.score_samples(*new).mean()
        assert of_pairs == pytest.approx(model.score(*new), abs=0.5)


def test_copies_of_a_pair_are_not_unrelated():
    torch.manual_seed(0)
    u, v = torch.randn(2, 20, 3, dtype=torch.float64)
    c = CodePairs.white(np.array([0.9, 0.5, 0.3])).coefficients
    weight = torch.arange(1, 21).double() % 3 + 1
    rows = torch.arange(20).repeat_interleave(weight.long())
    found = score_by_chance(u, v, weight, torch.from_numpy(c))
    scores = log_ratio(u, v, torch.from_numpy(c)).numpy()
    of_rows = []
    for i in range(20):
        w = weight.numpy() * (np.arange(20) != i)
        ratios = np.exp(scores[i]), np.exp(scores[:, i])
        of_rows.append(np.log([np.average(r, weights=w) for r in ratios]).mean())
    expected = np.sort(np.repeat(of_rows, weight.int()))[(len(rows) - 1) // 2]
    assert found == pytest.approx(expected, abs=1e-12)
    copied = score_by_chance(
        u[rows], v[rows], torch.ones(len(rows)).double(), torch.from_numpy(c)
    )
    assert copied == pytest.approx(found, abs=1e-12)


def test_the_best_match_of_a_row_is_its_other_half(trained, halves):
    left, right = (half[1300:1500] for half in halves)
    among = trained.similarity(left, right)
    ranks = (among > np.diagonal(among)[:, None]).sum(1)
    assert (ranks < 20).mean() > 0.5  # a tenth of the candidates


def test_codes_are_in_order(trained):
    assert (np.diff(trained.correlations_) <= 0).all()
    assert trained.correlations_.max() < 1


def test_independent_views_keep_the_start():
    rng = np.random.RandomState(0)
    X, y = rng.randn(2, 300, 4)
    model = ContrastiveAutoencoder(2, random_state=0).fit(X, y)
    assert model.best_iter_ == 0
    assert abs(model.score(*rng.randn(2, 300, 4))) < 0.05


def test_a_shared_column_is_bounded_with_a_warning():
    rng = np.random.RandomState(0)
    X, y = rng.randn(2, 100, 3)
    y[:, 0] = 3 * X[:, 1] + 1
    with pytest.warns(
        UserWarning, match="The first 1 correlations of both views are 1"
    ):
        model = ContrastiveAutoencoder(1, **FAST).fit(X, y)
    assert np.isfinite(model.score_samples(X, y)).all()
    assert (model.similarity(X, y).argmax(1) == range(100)).mean() > 0.9


# The loss


def pairs_of(n=12, k=2, seed=0):
    u, v = torch.from_numpy(np.random.RandomState(seed).randn(2, n, k)).float()
    coefficients = torch.from_numpy(CodePairs.white(np.full(k, 0.5)).coefficients)
    return u, v, coefficients.float()


def test_stacked_modules_see_their_own_candidates_alone():
    u, v, c = pairs_of()
    x = torch.zeros(12, 5)
    weight = torch.ones(3, 12)
    weight[0, :4], weight[1, 4:8], weight[2, 8:] = 0, 0, 0
    stacked = [part.expand(3, *part.shape) for part in (u, v, c)]
    terms = ContrastiveLoss()(tuple(stacked), x, None, weight)["info_nce"]
    alone = ContrastiveLoss()((u[4:], v[4:], c), x[4:])["info_nce"]
    assert_allclose(terms[0, 4:], alone, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    module = ContrastiveModule(nn.Linear(3, 2), nn.Linear(2, 2), 3, 2).double()
    module.set_pairs(np.array([0.3, 1.2]), np.array([[1.0, 2.0], [0.5, 1.0]]))
    x = torch.randn(6, 5, dtype=torch.float64)
    parameters = list(module.parameters())

    def loss(*values):
        names = [name for name, _ in module.named_parameters()]
        given = dict(zip(names, values, strict=True))
        output = torch.func.functional_call(module, given, (x,))
        return ContrastiveLoss()(output, x)["info_nce"].sum()

    assert torch.autograd.gradcheck(
        loss, tuple(p.detach().requires_grad_() for p in parameters)
    )


def test_held_out_codes_calibrate_the_ratio():
    """A module that is too sure of itself is told what new pairs are like."""
    rng = np.random.RandomState(0)
    X = rng.randn(400, 1)
    rows = np.column_stack([X, 0.5 * X[:, 0] + np.sqrt(0.75) * rng.randn(400)])
    module = ContrastiveModule(nn.Identity(), nn.Identity(), 1, 1)
    module.set_pairs(np.arctanh([0.99]), np.ones((2, 1)))
    dataset = RowDataset(rows, np.zeros(2), 1.0, torch.device("cpu"))
    data = TrainingData(dataset, torch.arange(0), torch.arange(400))
    loss = ContrastiveLoss()
    x = data.take_valid(data.valid)[0]
    with torch.no_grad():
        terms = loss.held_out_terms(module(x), x)
        losses, calibration = loss.calibrated(terms, data)
        module.calibrate(calibration)
        _, _, coefficients = output = module(x)
    assert losses.mean() < terms["loss"].mean() - 1
    assert_allclose(np.tanh(calibration["z"]), 0.5, atol=0.08)
    expected = CodePairs.of(
        (rows**2).mean(0).tolist()
        and np.array(
            [(rows[:, 0] ** 2).mean(), (rows[:, 1] ** 2).mean(), rows.prod(1).mean()]
        )[:, None]
    )
    assert_allclose(coefficients, expected.coefficients, rtol=1e-4)
    score = torch.diagonal(log_ratio(*output)) + module.offset
    assert_allclose(score.mean(), -losses.mean(), atol=1e-4)


@pytest.mark.parametrize("n_in_fold", [10, 60])
def test_few_candidates_do_not_say_that_the_trained_distribution_is_better(n_in_fold):
    """Pairs of small folds are judged by the normal distribution of others' codes."""
    rows = np.random.RandomState(0).randn(5 * n_in_fold, 2)
    dataset = RowDataset(rows, np.zeros(2), 1.0, torch.device("cpu"))
    everything = torch.arange(len(rows))
    data = TrainingData(dataset, everything, everything, None, everything % 5)
    x = data.take_valid(data.valid)[0]
    module = ContrastiveModule(nn.Identity(), nn.Identity(), 1, 1)
    with torch.no_grad():
        terms = ContrastiveLoss().held_out_terms(module(x), x)
    terms["loss"] -= 1  # the one that was trained seems to tell them well
    losses, calibration = ContrastiveLoss().calibrated(terms, data)
    assert torch.equal(losses, terms["loss"]) == (n_in_fold > 50)
    assert ("z" in calibration) == (n_in_fold < 50)


# Labels


@pytest.mark.parametrize("kind", [str, int, bool, "category", object, list, pd.Series])
def test_labels_are_a_view(kind):
    X, target = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    y = {
        str: names,
        int: target,
        bool: target > 0,
        "category": pd.Series(names, dtype="category"),
        object: names.astype(object),
        list: names.tolist(),
        pd.Series: pd.Series(names),
    }[kind]
    model = ContrastiveAutoencoder(1, **FAST).fit(X, y)
    assert list(model.classes_) == sorted(set(np.asarray(y)))
    assert model.transform_y(y).shape == (150, 1)
    assert model.y_loadings_.shape == (len(model.classes_), 1)
    assert model.score(X, y) > 0.4


def test_codes_for_labels_tell_them_apart():
    X, y = load_wine(return_X_y=True)
    pipe = make_pipeline(
        ContrastiveAutoencoder(2, random_state=0), LogisticRegression()
    )
    assert cross_val_score(pipe, X, y, cv=StratifiedKFold(4)).mean() > 0.94


def test_the_most_likely_label_is_the_most_similar():
    X, y = load_wine(return_X_y=True)
    model = ContrastiveAutoencoder(2, random_state=0).fit(X[::2], y[::2])
    among = model.similarity(X[1::2], model.classes_)
    posterior = among + np.log(np.bincount(y[::2]))
    assert (posterior.argmax(1) == y[1::2]).mean() > 0.9


def test_scores_of_labels_are_normalised():
    """Those of the posterior: they cannot exceed what the label itself says."""
    X, y = load_wine(return_X_y=True)
    for max_iter in (0, 20):
        model = ContrastiveAutoencoder(2, max_iter=max_iter, random_state=0)
        model.fit(X[::2], y[::2])
        shares = np.bincount(y[::2]) / len(y[::2])
        among = model.similarity(X[1::2], model.classes_)
        assert_allclose((shares * np.exp(among)).sum(1), 1, rtol=1e-9)
        scores = model.score_samples(X[1::2], y[1::2])
        assert_allclose(scores, among[np.arange(len(among)), y[1::2]], rtol=1e-9)
        assert (scores <= -np.log(shares)[y[1::2]] + 1e-9).all()
        expected = (shares * np.exp(among) * among).sum(1)
        assert_allclose(model.score_samples(X[1::2]), expected, rtol=1e-9)
        n = len(among)
        table = np.take_along_axis(among, np.tile(y[1::2], (n, 1)), 1)  # of all pairs
        bound = info_nce(torch.from_numpy(table)).mean()
        assert model.score(X[1::2], y[1::2]) == pytest.approx(float(bound), rel=1e-9)


def test_shares_of_labels_follow_weights_and_batches():
    X, y = load_iris(return_X_y=True)
    w = 1.0 + y
    whole = ContrastiveAutoencoder(1, shrinkage=0.1, max_iter=0).fit(X, y, w)
    batches = ContrastiveAutoencoder(1, shrinkage=0.1, max_iter=0)
    for part in (slice(0, 150, 2), slice(1, 150, 2)):
        batches.partial_fit(X[part], y[part], w[part])
    assert_array_equal(batches._view.counts, whole._view.counts)
    assert_allclose(whole._view.counts, [50, 100, 150])


@pytest.mark.parametrize("as_table", [pd.DataFrame, pl.DataFrame, np.array])
def test_a_table_of_one_column_may_be_labels(as_table):
    X, target = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    for labels in (names, target):
        y = as_table(labels[:, None])
        model = ContrastiveAutoencoder(2, **FAST).fit(X, y)
        assert list(model.classes_) == sorted(set(labels))
    numbers = as_table(np.random.RandomState(0).randn(150, 1))
    assert ContrastiveAutoencoder(1, **FAST).fit(X, numbers).classes_ is None


def test_a_column_of_floats_is_no_label():
    X = load_iris().data
    model = ContrastiveAutoencoder(1, **FAST).fit(X[:, :3], X[:, 3])
    assert model.classes_ is None
    assert model.y_loadings_.shape == (1, 1)
    ContrastiveAutoencoder(1, **FAST).fit(X[:, :3], list(X[:, 3]))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (["a", "b", None] * 10, ValueError, "row 2 has no label"),
        (["a", "b", np.nan] * 10, ValueError, "row 2 has no label"),
        (["a", "b", 3] * 10, TypeError, "labels of several types, int, str"),
        (["a"] * 30, ValueError, "Every row of y is the same"),
        (["a", "b"] * 14, ValueError, "y has 28 rows, but X has 30"),
    ],
)
def test_labels_that_are_none(y, error, message):
    X = load_iris().data[:30]
    with pytest.raises(error, match=message):
        ContrastiveAutoencoder(1, **FAST).fit(X, y)


def test_a_new_label_is_an_error():
    X, y = load_iris(return_X_y=True)
    model = ContrastiveAutoencoder(1, **FAST).fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=r"y has the label 2 \(row 0\), which was not"):
        model.score(X[100:], y[100:])


# One view


def test_without_a_second_view_copies_are_told_apart():
    X = load_digits().data
    start, model = (
        ContrastiveAutoencoder(8, corruption_level=0.3, max_iter=e, random_state=0).fit(
            X[:1300]
        )
        for e in (0, 20)
    )
    assert model.best_iter_ > 0
    assert model.score(X[1300:]) > start.score(X[1300:]) + 0.1
    assert model.score(X[1300:]) == model.score(X[1300:])
    assert_array_equal(model.transform_y(X[:9]), model.transform(X[:9]))
    assert_array_equal(model.x_loadings_, model.y_loadings_)
    assert model.score_samples(X, X).mean() > model.score_samples(X, X[::-1]).mean() + 1
    with pytest.raises(ValueError, match="was fitted without"):
        model.partial_fit(X, X)


@pytest.mark.parametrize(
    "corruption", ["swap", "gaussian", "masking", "salt_and_pepper"]
)
def test_every_corruption_makes_copies(corruption):
    X = load_iris().data
    model = ContrastiveAutoencoder(2, corruption=corruption, **FAST)
    assert np.isfinite(model.fit(X).score(X))
    assert np.isfinite(model.partial_fit(X[:50]).score(X))


def test_images_keep_their_shape_for_a_function():
    seen = []

    def flipped(images, generator):
        seen.append(images.shape[1:])
        flip = torch.rand(len(images), generator=generator) < 0.5
        return torch.where(flip[:, None, None], images.flip(2), images)

    network = Convolutional(channels=(2,), hidden_layer_sizes=())
    model = ContrastiveAutoencoder(
        2, corruption=flipped, architecture=network, max_iter=1, random_state=0
    ).fit(load_digits().images[:100])
    assert set(seen) == {(8, 8)}
    assert model.correlations_[0] == pytest.approx(1, abs=1e-5)  # what is symmetric


def test_bad_corruptions():
    X = load_iris().data
    with pytest.raises(ValueError, match="corruption_level=2 must be at most 1"):
        ContrastiveAutoencoder(corruption_level=2).fit(X)
    with pytest.raises(ValueError, match="returned NaN"):
        ContrastiveAutoencoder(corruption=lambda x, g: x * float("nan")).fit(X)
    with pytest.raises(TypeError, match="is called with a float32 tensor"):
        ContrastiveAutoencoder(corruption=lambda x: x).fit(X)


def test_two_copies_are_drawn_apart():
    module = CopiesModule(nn.Identity(), 3, 3, "gaussian", 1.0, (3,))
    module.generator = torch.Generator().manual_seed(0)
    u, v, _ = module(torch.zeros(500, 3))
    assert abs(float((u * v).mean())) < 0.1
    assert float(u.square().mean()) == pytest.approx(1, abs=0.1)


def test_a_second_view_needs_one_all_along(halves):
    left, right = (half[:100] for half in halves)
    model = ContrastiveAutoencoder(1, **FAST).fit(left, right)
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.score(left)
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.partial_fit(left)


@pytest.mark.filterwarnings("ignore:The first .* correlations")
@pytest.mark.parametrize("seed", range(3))
def test_folds_without_an_outlier_may_have_more_dimensions(seed):
    X, _ = load_diabetes(return_X_y=True)
    rng = np.random.RandomState(seed)
    X[rng.randint(len(X))] *= 1e6  # beside which the others hardly vary
    y = X @ rng.standard_normal((10, 3))
    model = ContrastiveAutoencoder(None, max_iter=1, random_state=0)
    assert np.isfinite(model.fit(X, y).score_samples(X, y)).all()


@pytest.mark.filterwarnings(
    "ignore:The first .* correlations", "ignore:The loss became"
)
def test_an_outlier_of_many_deviations_can_be_judged():
    X, _ = load_iris(return_X_y=True)
    X[3] *= 1e6
    model = ContrastiveAutoencoder(1, max_iter=2, random_state=0)
    assert np.isfinite(model.fit(X, X[:, ::-1] ** 2).transform(X)).all()
