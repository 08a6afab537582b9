"""How likely cells are missing, against scikit-learn's discriminants and by weights."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from skae import MaskedAutoencoder
from skae._masked_module import MaskedModule
from skae._propensity import MOST_ODDS, Propensity

D = 5


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, 2)) @ rng.standard_normal((2, D))
    return factors + 0.7 * rng.standard_normal((n, D))


def missing_at_random(X, seed=1):
    """Return where the last column is missing: in rows with large first ones."""
    missing = np.zeros(X.shape, dtype=bool)
    uniform = np.random.default_rng(seed).uniform(size=len(X))
    missing[:, -1] = uniform < 1 / (1 + np.exp(1 - 0.8 * X[:, 0]))
    return missing


def test_slopes_are_those_of_discriminants():
    X = 3 * rows(4000) + 10
    missing = missing_at_random((X - 10) / 3)
    found = Propensity.of_rows(X, missing, None)
    assert_array_equal(
        found.slopes[:, :-1], 0
    )  # of columns in which nothing is missing
    assert found.slopes[-1, -1] == 0
    model = LinearDiscriminantAnalysis(solver="lsqr").fit(X[:, :-1], missing[:, -1])
    assert_allclose(found.slopes[:-1, -1], model.coef_[0], rtol=0.02, atol=2e-3)


def test_known_cells_stand_for_missing_ones():
    X = rows(4000)
    missing = missing_at_random(X)
    found = Propensity.of_rows(X, missing, None)
    odds, gone = found.odds(X)[:, -1] / found.mean_odds[-1], missing[:, -1]
    assert odds[~gone].mean() == pytest.approx(1)
    unweighted = X[~gone, 0].mean()
    weighted = np.average(X[~gone, 0], weights=odds[~gone])
    target = X[gone, 0].mean()
    assert abs(weighted - target) < 0.2 * abs(unweighted - target)


def test_chance_is_not_taken_for_a_pattern():
    X = rows(300)
    kept = []
    for seed in range(20):
        missing = np.random.default_rng(seed).uniform(size=X.shape) < 0.3
        kept.append(Propensity.of_rows(X, missing, None).slopes.any(0))
    # James and Stein's factor is 0 for about half of what is chance.
    assert np.mean(kept) < 0.6
    assert Propensity.of_rows(X, missing, None).odds(X).max() < 2


def test_weights_count_copies():
    X = rows(200)
    missing = missing_at_random(X)
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    one = Propensity.of_rows(X, missing, weight)
    copies = np.repeat(X, weight, axis=0), np.repeat(missing, weight, axis=0)
    other = Propensity.of_rows(*copies, None)
    assert_allclose(one.slopes, other.slopes, atol=1e-10)
    assert_allclose(one.odds(X) / one.mean_odds, other.odds(X) / other.mean_odds)


@pytest.mark.parametrize("which", ["none", "all", "one", "constant"])
def test_columns_without_a_pattern_have_none(which):
    X = rows(50)
    missing = np.zeros(X.shape, dtype=bool)
    if which == "all":
        missing[:, 0] = True
    elif which == "one":
        missing[0, 0] = True
    elif which == "constant":
        X[:] = 1.0
        missing[::2, 0] = True
    found = Propensity.of_rows(X, missing, None)
    assert_array_equal(found.slopes, 0)
    assert_allclose(found.mean_odds, 1)


def test_rounding_errors_say_nothing():
    X = rows(500)
    missing = missing_at_random(X)
    X[:, 1] = 1e-34 * X[:, 0]  # as what is expected in a column without a value
    assert abs(Propensity.of_rows(X, missing, None).slopes[1, -1]) < 1e-9


def module_of(X, **params):
    params = {"max_iter": 1, "hidden_layer_sizes": (4,), "random_state": 0, **params}
    return MaskedAutoencoder(**params).fit(X).module_


def test_hidden_cells_that_train_weigh_as_much_as_they_are_like_missing_ones():
    X = rows(1500)
    holes = np.where(missing_at_random(X), np.nan, X)
    model = MaskedAutoencoder(max_iter=1, hidden_layer_sizes=(4,), random_state=0)
    model.fit(1000 * holes + 50)
    module, start = model.module_, model._fit.start
    full = np.where(np.isnan(holes), 0, X)
    x = torch.from_numpy((1000 * full + 50 - start.mean) / start.scale).float()
    known = torch.from_numpy(~np.isnan(holes))
    module.generator = torch.Generator().manual_seed(0)
    hidden, weight = module.eval().hidden(x, known)
    # Where it judges, a cell counts by what its column misses, and by nothing else.
    judged = weight * known.sum(1, keepdim=True) * known.double().mean(0)
    assert_allclose(judged[hidden].numpy(), judged.max().item(), rtol=1e-6)
    hidden, weight = module.train().hidden(x, known)
    assert_array_equal((weight > 0).numpy(), hidden.numpy())
    last = hidden[:, -1].numpy()
    is_large = X[:, 0] > 1  # where the last column is missing more often
    of_large, of_small = (weight[last & at, -1].mean() for at in (is_large, ~is_large))
    assert of_large > 1.5 * of_small
    # A column that is always known has no pattern.
    assert_allclose(module.likeness(x)[:, :-1].numpy(), 1)
    like = module.likeness(x)[:, -1].numpy()
    assert like[known[:, -1].numpy()].mean() == pytest.approx(1, abs=1e-4)
    assert like.min() > 0.5 / module.frequency[-1]
    assert like.max() < MOST_ODDS / start.propensity.mean_odds.min()


def test_nothing_is_likelier_without_missing_cells():
    module = module_of(rows(100))
    x = torch.randn(7, D)
    assert_array_equal(module.likeness(x).numpy(), 1)


def test_wide_tables_count_columns_alone():
    wide = MaskedModule(
        torch.nn.Identity(), torch.nn.Identity(), 200, (0.1, 0.8), np.arange(200)
    )
    assert_array_equal(wide.likeness(torch.randn(3, 200)).numpy(), 1)
