"""The VAE: its terms, its bounds and its start, against independent oracles."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp, ndtr
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from skae import VAE
from skae._dataset import RowDataset, TrainingData
from skae._losses import bernoulli_nll, gaussian_nll, kl_from_standard_normal
from skae._variational import normal_points
from skae._variational_module import EvidenceLowerBound, VariationalModule
from skae.architectures import MLP

FAST = {"hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture(scope="module")
def gaussian():
    """Rows of a linear factor model with two factors in five columns."""
    rng = np.random.RandomState(0)
    factors = rng.randn(600, 2) @ (rng.randn(2, 5) * 2)
    return factors + 0.5 * rng.randn(600, 5) + 3


@pytest.fixture(scope="module")
def curve():
    t = np.random.RandomState(0).uniform(-2, 2, 500)
    rows = np.column_stack([t, t**2, np.sin(2 * t), np.cos(t)])
    return rows + 0.1 * np.random.RandomState(1).randn(500, 4)


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# The terms


def test_the_divergence_is_that_of_torch():
    mean, log_variance = draws(2, 7, 3)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    prior = Normal(torch.zeros(3), torch.ones(3))
    expected = kl_divergence(posterior, prior).sum(-1)
    ours = kl_from_standard_normal(mean, log_variance)
    torch.testing.assert_close(ours, expected)


def test_the_gaussian_term_is_that_of_torch():
    rebuilt, x = draws(2, 7, 3)
    log_variance = torch.tensor(-0.7)
    density = Independent(Normal(rebuilt, (0.5 * log_variance).exp()), 1)
    ours = gaussian_nll(rebuilt, x, log_variance)
    torch.testing.assert_close(ours, -density.log_prob(x))


def test_missing_cells_are_left_out_of_both_terms():
    rebuilt, x = draws(2, 7, 3)
    known = draws(7, 3, seed=1) > -0.5
    log_variance = torch.tensor(-0.7)
    density = Normal(rebuilt, (0.5 * log_variance).exp())
    expected = -(density.log_prob(x) * known).sum(-1)
    ours = gaussian_nll(rebuilt, x, log_variance, known)
    torch.testing.assert_close(ours, expected)
    bits = (x > 0).float()
    expected = -(Bernoulli(logits=rebuilt).log_prob(bits) * known).sum(-1)
    torch.testing.assert_close(bernoulli_nll(rebuilt, bits, known), expected)


def held_out(n, **changes):
    dataset = RowDataset(np.zeros((n, 3)), np.zeros(3), 1.0, torch.device("cpu"))
    return TrainingData(dataset, torch.arange(n), torch.arange(n), **changes)


@pytest.mark.parametrize("has_missing", [False, True])
@pytest.mark.parametrize("in_folds", [False, True])
@pytest.mark.parametrize("log_variance", [-0.7, 3.0])
def test_noise_is_widened_to_what_other_rows_show(has_missing, in_folds, log_variance):
    """The loss of each row is then the Gaussian term under that noise."""
    n = 20
    rebuilt, x = draws(2, n, 3)
    known = draws(n, 3, seed=1) > -1 if has_missing else None
    mean, log_std = draws(2, n, 1, seed=2)
    loss, log_variance = EvidenceLowerBound("gaussian"), torch.tensor(log_variance)
    output = rebuilt, mean, log_std, log_variance
    terms = loss.held_out_terms(output, x, known)
    kl = kl_from_standard_normal(mean, log_std)
    before = gaussian_nll(rebuilt, x, log_variance, known) + kl
    torch.testing.assert_close(terms["loss"], before)

    part = torch.arange(n) % (4 if in_folds else 5)
    data = held_out(n, fold_of=part if in_folds else None)
    losses, calibration = loss.calibrated(terms, data)
    mask = torch.ones(n, 3) if known is None else known
    squares = ((rebuilt - x).square() * mask).sum(1)
    for i in range(n):
        others = part != part[i]
        variance = squares[others].sum() / mask[others].sum()
        noise = torch.maximum(variance.log(), log_variance)
        row = slice(i, i + 1)
        of_row = None if known is None else known[row]
        expected = gaussian_nll(rebuilt[row], x[row], noise, of_row) + kl[row]
        torch.testing.assert_close(losses[row], expected)
    assert calibration["noise_variance"] == pytest.approx(
        float(squares.sum() / mask.sum())
    )
    if log_variance > 0:
        torch.testing.assert_close(losses, before)
    else:
        assert (losses != before).all()


def test_there_is_no_noise_of_bits_to_widen():
    logits, x, mean = draws(7, 3), (draws(7, 3, seed=1) > 0).float(), draws(7, 1)
    loss = EvidenceLowerBound("bernoulli")
    terms = loss.held_out_terms((logits, mean, mean, x), x)
    losses, calibration = loss.calibrated(terms, held_out(7))
    expected = bernoulli_nll(logits, x) + kl_from_standard_normal(mean, mean)
    torch.testing.assert_close(losses, expected)
    assert calibration == {}


@pytest.mark.parametrize(("shown", "expected"), [(0.5, 0.5), (0.1, 0.3)])
def test_a_calibrated_module_has_at_least_the_noise_that_rows_show(shown, expected):
    module = VariationalModule(torch.nn.Identity(), torch.nn.Identity())
    module.log_variance_at_start.fill_(math.log(0.3))
    module.calibrate({"noise_variance": shown})
    assert module.log_variance.exp().item() == pytest.approx(expected)
    module.calibrate({})
    assert module.log_variance.exp().item() == pytest.approx(expected)


@pytest.mark.parametrize("validation_fraction", [0.5, "auto"])
def test_the_noise_is_what_rows_show_that_were_not_trained_on(validation_fraction):
    """A wide network knows a few rows by heart, and learns too small a noise."""
    rng = np.random.RandomState(0)
    axes = rng.randn(2, 30)
    rows = rng.randn(2100, 2) @ axes + 0.5 * rng.randn(2100, 30)
    model = VAE(
        2,
        init="random",
        hidden_layer_sizes=(256,),
        max_iter=150,
        validation_fraction=validation_fraction,
        random_state=0,
    ).fit(rows[:100])
    assert model.best_iter_ > 0

    def error(X):
        codes, std = model.transform(X, return_std=True)
        codes += std * np.random.RandomState(1).randn(*std.shape)
        return np.mean((X - model.inverse_transform(codes)) ** 2)

    assert error(rows[:100]) < 0.9 * model.noise_variance_
    assert_allclose(model.noise_variance_, error(rows[100:]), rtol=0.1)


def test_the_bernoulli_term_is_that_of_torch():
    logits, x = 5 * draws(7, 3), (draws(7, 3, seed=1) > 0).float()
    density = Independent(Bernoulli(logits=logits), 1)
    torch.testing.assert_close(bernoulli_nll(logits, x), -density.log_prob(x))


def test_the_weight_of_the_divergence_rises_to_beta():
    x, z = torch.zeros(2, 3), torch.ones(2, 1)
    output = (x, z, torch.zeros(2, 1), torch.zeros(()))
    loss = EvidenceLowerBound("gaussian", beta=2.0, n_epochs_kl_warmup=4)
    terms = []
    for epoch in (1, 2, 4, 9, math.inf):
        loss.epoch = epoch
        terms.append(loss(output, x)["kl"][0].item() / 0.5)
    assert terms == [0.5, 1.0, 2.0, 2.0, 2.0]


def test_the_warmup_is_what_the_net_trains_with(curve):
    settings = {"max_iter": 4, "validation_fraction": 0.2, "beta": 3.0, **FAST}
    plain = VAE(1, **settings).fit(curve)
    warm = VAE(1, n_epochs_kl_warmup=10, **settings).fit(curve)
    assert warm.history_[0]["train_kl"] < 0.5 * plain.history_[0]["train_kl"]
    assert warm.validation_scores_[0] == plain.validation_scores_[0]


def test_the_warmup_goes_on_over_the_batches_of_partial_fit(curve):
    """Each is an epoch: the weight rises from call to call."""
    model = VAE(1, init="random", n_epochs_kl_warmup=4, max_iter=8, **FAST)
    terms = []
    for epoch in range(1, 5):
        model.partial_fit(curve)
        assert model.net_.criterion_.epoch == epoch
        mean = torch.ones(1, 1)
        output = (torch.zeros(1, 4), mean, 0 * mean, torch.zeros(()))
        terms.append(model.net_.criterion_(output, torch.zeros(1, 4))["kl"].item())
    assert terms == [0.125, 0.25, 0.375, 0.5]


def test_a_batch_of_one_row_tells_nothing_new_of_the_codes(curve):
    model = VAE(1, init="random", max_iter=30, **FAST).fit(curve)
    variance, ratio = model.explained_variance_, model.explained_variance_ratio_
    model.partial_fit(curve[:1])
    assert model.active_units_.all()
    assert_allclose(model.explained_variance_, variance, rtol=0.1)
    assert_allclose(model.explained_variance_ratio_, ratio, rtol=0.1)


@pytest.mark.parametrize("before", ["gaussian", "bernoulli"])
def test_training_does_not_go_on_with_another_likelihood(before):
    X = load_digits().data[:100] / 16
    model = VAE(2, likelihood=before, warm_start=True, max_iter=1, **FAST).fit(X)
    after = {"gaussian": "bernoulli", "bernoulli": "gaussian"}[before]
    model.set_params(likelihood=after)
    with pytest.raises(ValueError, match=f"likelihood='{after}', but training goes on"):
        model.fit(X)


@pytest.mark.parametrize("seed", range(4))
def test_a_few_far_rows_do_not_widen_the_noise_without_bounds(seed):
    """They are in the folds of some networks and not of others."""
    rng = np.random.RandomState(seed)
    rows = rng.randn(800, 6)
    rows[rng.choice(800, 8, replace=False)] *= 100
    X, fresh = rows[::2], rows[1::2]
    model = VAE(2, random_state=seed).fit(X)
    assert model.noise_variance_ < X.var(0).mean()
    assert model.score(fresh) > PCA(2).fit(X).score(fresh) - 1


@pytest.mark.parametrize("seed", [5, 6])
def test_a_posterior_is_not_wider_than_the_prior_without_bounds(seed):
    rng = np.random.RandomState(seed)
    rows = rng.randn(500, 6)
    rows[rng.choice(500, 5, replace=False)] *= 1e4
    X, fresh = train_test_split(rows, random_state=seed)
    model = VAE(2, random_state=seed).fit(X)
    _, std = model.transform(fresh, return_std=True)
    assert (std < 3 * model._fit.start.code_scale).all()
    assert model.score(fresh) > PCA(2).fit(X).score(fresh)


# The start


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_module_starts_at_the_posterior_of_probabilistic_pca(gaussian, k):
    model, pca = VAE(k, max_iter=0).fit(gaussian), PCA(k).fit(gaussian)
    loadings = pca.components_.T * np.sqrt(
        pca.explained_variance_ - pca.noise_variance_
    )
    precision = np.eye(k) + loadings.T @ loadings / pca.noise_variance_
    expected = (gaussian - pca.mean_) @ loadings / pca.noise_variance_
    expected = expected @ np.linalg.inv(precision)
    module, start = model.module_.double(), model._fit.start
    start.apply(module)
    x = torch.from_numpy((gaussian - model.mean_) / start.scale)
    mean, log_variance = module.posterior(x)
    assert_allclose(mean.detach().numpy(), expected, atol=1e-9)
    covariance = np.diag(log_variance.exp().detach().numpy()[0])
    assert_allclose(covariance, np.linalg.inv(precision), atol=1e-9)


def as_network(model):
    """Return the scores of the module, whatever the gate has said."""
    fit = model._fit
    return fit.objective.model(fit.net.module_, fit.start, None, seed=0)


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_the_bound_of_the_start_is_the_likelihood_of_pca(gaussian, k):
    model = VAE(k, max_iter=0, n_importance_samples=3).fit(gaussian)
    expected = PCA(k).fit(gaussian).score_samples(gaussian)
    for bound in (as_network(model).elbo, as_network(model).score_samples):
        assert_allclose(bound(gaussian), expected, rtol=1e-6)
    assert_allclose(model.elbo(gaussian), expected, rtol=1e-9)


def test_codes_of_the_start_come_with_the_deviation_of_the_posterior(gaussian):
    model = VAE(2, max_iter=0).fit(gaussian)
    codes, std = model.transform(gaussian, return_std=True)
    assert_allclose(codes, PCA(2).fit_transform(gaussian), atol=1e-9)
    assert_allclose(std, as_network(model).posterior_std(gaussian), rtol=1e-6)
    whitened = VAE(2, max_iter=0, whiten=True).fit(gaussian)
    other, other_std = whitened.transform(gaussian, return_std=True)
    assert_allclose(other / other_std, codes / std, rtol=1e-6)


# The bounds


def test_more_draws_bring_the_bound_closer_to_the_likelihood(gaussian):
    """The decoder is that of pPCA, whose likelihood is known; the encoder is not."""
    model = VAE(2, max_iter=0).fit(gaussian)
    exact = PCA(2).fit(gaussian).score(gaussian)
    with (
        torch.no_grad()
    ):  # means by half a deviation, deviations by a quarter too large
        bias = model.module_.encoder.bias
        bias[:2] += 0.5 * (0.5 * bias[2:]).exp()
        bias[2:] += 2 * math.log(1.25)
    network = as_network(model)
    rows = gaussian.astype(np.float32)  # for float64, the module is set up anew
    network.noise = normal_points(64, 2, 0)
    bounds = [network.elbo(rows).mean()]
    for n in (10, 1000):
        network.noise = normal_points(n, 2, 0)
        bounds.append(network.score_samples(rows).mean())
    assert bounds[0] < bounds[1] - 0.05
    assert bounds[1] < bounds[2]
    assert bounds[2] == pytest.approx(exact, abs=2e-3)
    divergence = 2 * (0.25 / 2 + (1.25**2 - 1) / 2 - math.log(1.25))
    assert exact - bounds[0] == pytest.approx(divergence, abs=0.02)


def test_the_elbo_is_at_most_the_importance_weighted_bound(curve):
    model = VAE(1, max_iter=20, **FAST).fit(curve)
    assert model.best_iter_ > 0
    assert (model.elbo(curve) <= model.score_samples(curve) + 1e-9).all()


def test_one_draw_gives_the_elbo(curve):
    model = VAE(1, max_iter=20, n_importance_samples=1, **FAST).fit(curve)
    assert_allclose(model.elbo(curve), model.score_samples(curve))


def test_a_trained_model_is_a_density(curve):
    """With one code, the likelihood is an integral over a line."""
    model = VAE(1, max_iter=60, n_importance_samples=512, **FAST).fit(curve)
    assert model.best_iter_ > 0
    grid = np.linspace(-8, 8, 4001)[:, None]
    means = model.inverse_transform(grid * model._fit.start.code_scale)
    density = multivariate_normal(np.zeros(4), model.noise_variance_)
    log_prior = -0.5 * (grid[:, 0] ** 2 + math.log(2 * math.pi))
    rows = curve[:40]
    joint = density.logpdf(rows[:, None] - means) + log_prior
    expected = logsumexp(joint, axis=1) + math.log(grid[1, 0] - grid[0, 0])
    scores = model.score_samples(rows)
    assert (scores < expected + 0.05).all()  # a bound, but for the error of the draws
    assert scores.mean() == pytest.approx(expected.mean(), abs=0.02)


def test_with_the_rows_beyond_those_of_fit_a_model_is_still_a_density(curve):
    """PCA adds at most what the network gives up, so that the integral is below 1."""
    model = VAE(1, random_state=0).fit(curve[:200, :2])
    assert model.best_iter_ > 0
    x, step = np.linspace(-10, 14, 201, retstep=True)
    grid = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    network, density = model._fit.model, np.exp(model.score_samples(grid))
    standardised, _ = network._standardised(grid)
    beyond = network.module.encoder.is_beyond(standardised).numpy()
    assert beyond.any()
    assert 0.98 < density.sum() * step**2 < 1


@pytest.mark.parametrize("seed", [0, 9])
def test_a_few_rows_beyond_the_others_do_not_lose_what_the_rest_has_won(seed):
    """Log-normal columns: one row of 50 is beyond the range of those of fit."""
    loadings = np.random.default_rng(9).normal(size=(4, 12))

    def rows(seed, n):
        rng = np.random.default_rng(seed)
        factors = rng.normal(size=(n, 4))
        return np.exp(factors @ loadings * 0.6 + 0.3 * rng.normal(size=(n, 12)))

    X, fresh = rows(7000 + seed, 400), rows(99, 10_000)
    model, pca = VAE(4, random_state=seed).fit(X), PCA(4).fit(X)
    assert model.best_iter_ > 0
    before, after = pca.score_samples(fresh), model.score_samples(fresh)
    assert (after - before).mean() > 5
    # Without a network's word on them, PCA has it for one row of n + 2.
    far = ((fresh < 2 * X.min(0) - X.max(0)) | (fresh > 2 * X.max(0))).any(1)
    assert far.any()
    assert (after - before)[far].min() > -math.log(402) - 1e-6
    # In the range a row is as odd as the network says.
    network = model._fit.model
    alone = logsumexp(network._log_weights(X), axis=0) - math.log(16)
    assert_allclose(model.score_samples(X), alone + math.log(401 / 402))


def test_training_raises_the_likelihood_of_fresh_rows(curve):
    model = VAE(1, hidden_layer_sizes=(64, 64), random_state=0).fit(curve[:350])
    assert model.score(curve[350:]) > PCA(1).fit(curve[:350]).score(curve[350:]) + 0.8
    scores = model.validation_scores_
    assert scores[model.best_iter_] == max(scores)
    assert scores[0] == pytest.approx(PCA(1).fit(curve[:350]).score(curve), abs=0.5)


def test_a_linear_vae_from_random_weights_reaches_probabilistic_pca(gaussian):
    """Lucas et al. (2019): its only maximum is that of pPCA."""
    model = VAE(
        2,
        init="random",
        hidden_layer_sizes=(),
        max_iter=400,
        batch_size=64,
        validation_fraction=0.1,
        alpha=0.0,
        n_importance_samples=1000,
        random_state=0,
    ).fit(gaussian)
    exact = PCA(2).fit(gaussian).score(gaussian)
    assert model.score(gaussian) == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("init", ["pca", "random"])
def test_a_large_beta_collapses_to_the_prior(curve, init):
    model = VAE(2, beta=1000.0, init=init, max_iter=40, batch_size=32, **FAST)
    with pytest.warns(ConvergenceWarning, match="Active codes: 0 of 2"):
        model.fit(curve)
    assert_array_equal(model.active_units_, [False, False])
    codes, std = model.transform(curve, return_std=True)
    mean, std = (part / model._fit.start.code_scale for part in (codes, std))
    divergence = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1)
    assert divergence.mean() < 0.01


def test_active_units_of_pca_are_those_above_the_noise():
    X = np.random.RandomState(0).randn(4000, 6)
    X[:, 0] *= 5
    model = VAE(2, max_iter=0).fit(X)
    assert_array_equal(model.active_units_, [True, True])
    with pytest.raises(AttributeError):
        VAE().active_units_  # noqa: B018


# Samples


def test_samples_have_the_mean_and_the_covariance_of_the_data(gaussian):
    model = VAE(2, max_iter=0).fit(gaussian)
    rows = model.sample(200_000, random_state=0)
    covariance = PCA(2).fit(gaussian).get_covariance()
    assert_allclose(rows.mean(0), gaussian.mean(0), atol=0.03)
    assert_allclose(np.cov(rows.T), covariance, atol=0.01 * covariance.max())
    assert_allclose(covariance, np.cov(gaussian.T), atol=0.02 * covariance.max())


def test_samples_of_a_trained_model_have_the_mean_and_the_covariance(gaussian):
    model = VAE(2, init="random", max_iter=200, batch_size=64, alpha=0.0, **FAST)
    rows = model.fit(gaussian).sample(100_000, random_state=0)
    covariance = np.cov(gaussian.T)
    assert_allclose(rows.mean(0), gaussian.mean(0), atol=0.25)
    assert_allclose(np.cov(rows.T), covariance, atol=0.1 * covariance.max())


def test_samples_without_noise_are_decoded_codes(curve):
    model = VAE(1, max_iter=40, **FAST).fit(curve)
    rows = model.sample(50, add_noise=False, random_state=0)
    codes = np.random.RandomState(0).standard_normal((50, 1))
    rebuilt = model.inverse_transform(codes * model._fit.start.code_scale)
    assert_allclose(rows, rebuilt)
    noisy = model.sample(50, random_state=0) - rows
    assert np.std(noisy) == pytest.approx(math.sqrt(model.noise_variance_), rel=0.2)


def test_samples_follow_the_seed(curve):
    model = VAE(1, max_iter=1, **FAST).fit(curve)
    first, second = model.sample(3, random_state=1), model.sample(3, random_state=1)
    assert_array_equal(first, second)
    assert (model.sample(3) != model.sample(3)).any()
    with pytest.raises(ValueError, match="n_samples == 0"):
        model.sample(0)
    with pytest.raises(NotFittedError):
        VAE().sample()


# Bernoulli


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data[:600] > 7).astype(float)


def test_bernoulli_rows_beat_independent_columns(digits):
    train, test = digits[:450], digits[450:]
    model = VAE(4, likelihood="bernoulli", max_iter=40, random_state=0).fit(train)
    p = np.clip(train.mean(0), 0.01, 0.99)
    independent = (test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean()
    assert model.score(test) > independent + 3
    assert model.validation_scores_[-1] > model.validation_scores_[0]
    rebuilt = model.inverse_transform(model.transform(test))
    assert rebuilt.min() >= -1e-9
    assert rebuilt.max() <= 1 + 1e-9
    rows = model.sample(20, random_state=0)
    assert set(np.unique(rows)) == {0.0, 1.0}
    means = model.sample(20, add_noise=False, random_state=0)
    assert ((means >= 0) & (means <= 1)).all()
    assert model.noise_variance_ == 0


def test_the_bernoulli_bound_is_that_of_the_integral(digits):
    model = VAE(
        1,
        likelihood="bernoulli",
        max_iter=20,
        n_importance_samples=1024,
        validation_fraction=0.2,
        random_state=0,
    ).fit(digits)
    grid = np.linspace(-8, 8, 2001)[:, None]
    p = np.clip(model.inverse_transform(grid), 1e-12, 1 - 1e-12)
    log_prior = -0.5 * (grid[:, 0] ** 2 + math.log(2 * math.pi))
    rows = digits[:20]
    joint = rows @ np.log(p).T + (1 - rows) @ np.log(1 - p).T + log_prior
    expected = logsumexp(joint, axis=1) + math.log(grid[1, 0] - grid[0, 0])
    assert_allclose(model.score_samples(rows), expected, atol=0.05)


@pytest.mark.parametrize("value", [-0.25, 1.5])
def test_bernoulli_rows_must_be_shares(digits, value):
    bad = digits.copy()
    bad[3, 2] = value
    model = VAE(2, likelihood="bernoulli", max_iter=1, random_state=0)
    message = (
        rf"Column 2 of X contains {value} \(row 3\) and goes from .*: "
        r"likelihood=\"bernoulli\" takes"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(bad)
    with pytest.raises(ValueError, match=message):
        model.fit(bad, sample_weight=np.append(0, np.ones(599)))
    model.fit(digits)
    for method in (model.transform, model.score_samples, model.elbo, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(bad)


def test_bernoulli_rows_that_decide_must_be_shares(digits):
    bad = digits[400:].copy()
    bad[3, 2] = 1.5
    model = VAE(2, likelihood="bernoulli", max_iter=1, random_state=0)
    message = (
        r"X_val: Column 2 of X contains 1.5 \(row 3\) .*: likelihood=\"bernoulli\""
    )
    with pytest.raises(ValueError, match=message):
        model.fit(digits[:400], X_val=bad)


# The face


def test_a_pipeline_takes_the_codes_alone():
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(VAE(2, max_iter=5, **FAST), LogisticRegression(max_iter=500))
    assert pipe.fit(X, y).score(X, y) > 0.9


def test_a_frame_comes_back_with_deviations_beside_it():
    X = load_iris(as_frame=True).data
    model = VAE(2, max_iter=1, **FAST).set_output(transform="pandas").fit(X)
    codes, std = model.transform(X, return_std=True)
    assert list(codes.columns) == ["vae0", "vae1"]
    assert std.shape == (150, 2)


def test_shared_weights_are_an_error_that_says_so():
    architecture = MLP((4,), tied_weights=True)
    with pytest.raises(ValueError, match="shares its weights"):
        VAE(2, architecture=architecture).fit(load_iris().data)


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": -1},
        {"likelihood": "poisson"},
        {"n_importance_samples": 0},
        {"n_epochs_kl_warmup": 0},
        {"latent_prior": "vamp"},
    ],
)
def test_bad_parameters_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        VAE(2, **settings).fit(load_iris().data)


def test_evenly_spread_draws_are_standard_normal():
    points = normal_points(1000, 3, 0)
    assert points.shape == (1000, 3)
    assert_allclose(points.mean(0), 0, atol=0.02)
    assert_allclose(np.cov(points.T), np.eye(3), atol=0.05)
    assert normal_points(1, 2, 5).shape == (1, 2)
    assert (normal_points(1, 2, 5) != normal_points(1, 2, 6)).all()


def test_there_are_draws_for_more_codes_than_sobol_points_have_axes():
    many = normal_points(4, 21_300, 0)
    assert many.shape == (4, 21_300)
    assert np.isfinite(many).all()
    assert_allclose(many.mean(), 0, atol=0.02)
    assert_allclose(many.std(1), 1, atol=0.03)
    quarters = np.sort(np.floor(4 * ndtr(many[:, :21_201])), axis=0)
    assert (quarters == np.arange(4)[:, None]).all()  # spread evenly along each axis
    assert_allclose(many[:, 21_201:].std(), 1, atol=0.1)
    assert_array_equal(normal_points(4, 21_300, 0), many)


@pytest.mark.parametrize("n", [500, 3000])
def test_rows_that_are_there_again_and_again_are_no_less_likely(n):
    """32 patterns of five binary columns: new rows are copies of those seen."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        axes = np.eye(5) + 0.6 * rng.normal(size=(5, 5))
        X, new = ((rng.normal(size=(m, 5)) @ axes > 0).astype(float) for m in (n, 9000))
        start, model = PCA(1).fit(X), VAE(1, random_state=seed).fit(X)
        assert model.score(new) > start.score(new) - 0.02
