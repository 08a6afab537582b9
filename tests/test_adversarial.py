"""The adversarial autoencoder: its game, its priors, and what decides."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import is_clusterer, is_outlier_detector
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import nn

from skae import AdversarialAutoencoder
from skae._adversarial_module import AdversarialLoss, AdversarialModule
from skae._discriminator import Discriminator, DiscriminatorPass
from skae._prior import MOST_CODES, Mixture, Prior, SlicedDistance, standardising
from skae.architectures import Convolutional, Recurrent, Transformer

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 10, "random_state": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def squares(n, generator):
    return torch.randn(n, 2, generator=generator).square()


@pytest.fixture
def bent():
    """Rows along a sheet that is bent: three columns, two of which say all."""
    rng = np.random.RandomState(0)
    t = rng.uniform(-1, 1, (300, 2))
    X = np.column_stack([t, (t**2).sum(1)])
    return X + 0.05 * rng.standard_normal(X.shape)


@pytest.fixture
def blobs():
    return make_blobs(120, 4, centers=3, cluster_std=0.5, random_state=3)


# The game


def random_discriminator(k=3, widths=(5, 4)):
    discriminator = Discriminator(k, widths, seeded())
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.normal_(generator=seeded(1)).mul_(0.3)
    return discriminator


def test_a_discriminator_says_nothing_at_first():
    logit, gradient = Discriminator(3, (4,), seeded())(torch.ones(5, 3))
    assert not logit.any()
    assert not gradient.any()


@pytest.mark.parametrize("widths", [(), (5,), (5, 4)])
def test_its_gradient_is_autograds(widths):
    z = torch.randn(6, 3, generator=seeded(2), requires_grad=True)
    logit, gradient = random_discriminator(widths=widths)(z)
    (expected,) = torch.autograd.grad(logit.sum(), z)
    assert_allclose(gradient.detach(), expected, atol=1e-6)


def test_each_side_learns_from_its_own_loss_alone():
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(4, 3), nn.Linear(3, 4)
    prior, discriminator = Prior("normal", 3, None), random_discriminator()
    module = AdversarialModule(encoder, decoder, prior, discriminator)
    x, loss = torch.randn(7, 4), AdversarialLoss(0.5, 2.0)
    module.generator = seeded(5)
    terms = loss(module(x), x)
    sum(term.mean() for term in terms.values()).backward()
    together = {name: p.grad.clone() for name, p in module.named_parameters()}

    z, drawn = encoder(x), prior(7, seeded(5))
    error = (decoder(z) - x).square().sum(1)
    fooled = nn.functional.softplus(-discriminator(z)[0]).mean()
    own = error.mean() + 0.5 * error.mean().detach() * fooled
    autoencoder = [*encoder.parameters(), *decoder.parameters()]
    gradients = list(torch.autograd.grad(own, autoencoder))
    told = 0.0
    for codes, sign in ((drawn, -1), (z.detach(), 1)):
        logit, slope = discriminator(codes)
        told = told + (nn.functional.softplus(sign * logit) + slope.square().sum(1))
    gradients += torch.autograd.grad(told.mean(), list(discriminator.parameters()))
    for (name, gradient), expected in zip(together.items(), gradients, strict=True):
        assert_allclose(gradient, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("widths", [(), (5,), (5, 4), (5, 4, 6)])
@pytest.mark.parametrize("n_stacked", [None, 2])
def test_gradients_by_hand_are_autograds(widths, n_stacked):
    discriminators = [random_discriminator(widths=widths) for _ in range(2)]
    lead = () if n_stacked is None else (n_stacked,)
    own = [list(d.parameters()) for d in discriminators]
    parameters = own[0]
    if n_stacked is not None:
        parameters = [torch.stack([a, 2 * b]) for a, b in zip(*own, strict=True)]
    parameters = [p.detach().double().requires_grad_() for p in parameters]
    n, half = 6, len(parameters) // 2
    z, a, b = torch.randn(3, *lead, n, 3, generator=seeded(), dtype=torch.float64)
    passed = DiscriminatorPass(parameters[:half], parameters[half:], z)
    squares = passed.gradients.square().sum(-1)
    what = (a[..., 0] * passed.logits + 0.5 * b[..., 0] * squares).sum()
    expected = torch.autograd.grad(what, parameters)
    for mine, autograds in zip(
        passed.backward(a[..., 0], b[..., 0]), expected, strict=True
    ):
        assert_allclose(mine.detach(), autograds, atol=1e-10)


def test_terms_stand_in_the_history(bent):
    model = AdversarialAutoencoder(2, validation_fraction=0.3, **SMALL).fit(bent)
    epoch = model.history_[-1]
    parts = [f"train_{t}" for t in ("reconstruction", "discriminator", "generator")]
    assert math.isclose(sum(epoch[part] for part in parts), epoch["train_loss"])
    assert epoch["valid_distance"] > 0


# Priors


@pytest.mark.parametrize("prior", ["normal", "uniform", squares])
def test_priors_have_mean_0_and_covariance_1(prior):
    draws = Prior(prior, 2, None)(200_000, seeded()).double()
    assert_allclose(draws.mean(0), 0, atol=0.03)
    assert_allclose(np.cov(draws.T), np.eye(2), atol=0.05)


def test_the_uniform_prior_fills_a_cube():
    draws = Prior("uniform", 2, None)(1000, seeded())
    assert 1.6 < draws.abs().max() <= math.sqrt(3)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (
            lambda n, g: torch.zeros(n, 3),
            r"prior=.*float32 of shape \(10000, 3\).*\(10000, 2\)",
        ),
        (lambda n, g: torch.zeros(n), r"prior=.*shape \(10000,\)"),
        (lambda n, g: torch.full((n, 2), math.nan), "prior=.*NaN or infinity"),
    ],
)
def test_a_prior_that_is_none_is_named(prior, message, bent):
    with pytest.raises(ValueError, match=message):
        AdversarialAutoencoder(2, prior=prior, **SMALL).fit(bent)


def test_a_prior_may_be_an_array(bent):
    def uniform(n, generator):
        return np.random.default_rng(generator.initial_seed()).random((n, 2))

    model = AdversarialAutoencoder(2, prior=uniform, max_iter=0).fit(bent)
    assert np.isfinite(model.sample(3, random_state=0)).all()


@pytest.mark.parametrize("width", [0, 1])
def test_a_prior_without_variance_in_a_direction_is_an_error(width, bent):
    def flat(n, generator):
        return torch.randn(n, 1, generator=generator) * torch.ones(n, 2) * width

    with pytest.raises(ValueError, match=r"prior=.*10000 draws is singular"):
        AdversarialAutoencoder(2, prior=flat, **SMALL).fit(bent)


def test_the_distance_of_the_codes_is_told(bent):
    given = {"prior": "uniform", **SMALL}
    start = AdversarialAutoencoder(2, **{**given, "max_iter": 0}).fit(bent)
    own = SlicedDistance(Prior("uniform", 2, None), start._fit.seed)
    codes = torch.tensor(start.transform(bent) / start._fit.model.code_scale)
    assert math.isclose(start.prior_distance_, own(codes), rel_tol=1e-5)
    assert AdversarialAutoencoder(2, **given).fit(bent).prior_distance_ > 0


# Clusters


def test_clusters_are_those_of_a_tied_mixture(blobs):
    X, y = blobs
    codes = PCA(2, whiten=True).fit_transform(X) * math.sqrt(120 / 119)
    centres = np.stack([codes[y == label][:5].mean(0) for label in range(3)])
    ours = Mixture.of(codes, None, centres)
    theirs = GaussianMixture(3, covariance_type="tied", means_init=centres, tol=1e-9)
    theirs.fit(codes)
    assert_allclose(ours.centres, theirs.means_, atol=1e-3)
    assert_allclose(ours.shares, theirs.weights_, atol=1e-3)
    assert_allclose(ours.covariance, theirs.covariances_, atol=1e-2)
    assert_allclose(
        np.exp(ours.log_shares(codes)), theirs.predict_proba(codes), atol=0.01
    )


def test_a_mixture_has_mean_0_and_covariance_1(blobs):
    codes = PCA(2, whiten=True).fit_transform(blobs[0])
    mixture = Mixture.of(codes, None, codes[:3])
    prior = Prior("normal", 2, 3)
    prior.set_mixture(mixture)
    draws = prior(200_000, seeded()).double()
    assert_allclose(draws.mean(0), 0, atol=0.02)
    assert_allclose(np.cov(draws.T), np.eye(2), atol=0.03)


def test_weights_count_copies_in_a_mixture(blobs):
    codes = PCA(2, whiten=True).fit_transform(blobs[0])
    weight = np.arange(len(codes)) % 3 + 1.0
    weighted = Mixture.of(codes, weight, codes[:3])
    copied = Mixture.of(codes.repeat(weight.astype(int), 0), None, codes[:3])
    assert_allclose(weighted.centres, copied.centres, atol=1e-9)
    assert_allclose(weighted.covariance, copied.covariance, atol=1e-9)


@pytest.mark.parametrize("max_iter", [0, 10])
def test_clusters_of_separate_groups_are_the_groups(blobs, max_iter):
    X, y = blobs
    model = AdversarialAutoencoder(
        2, n_clusters=3, **{**SMALL, "max_iter": max_iter}
    ).fit(X)
    assert len(set(zip(y, model.labels_, strict=True))) == 3
    assert_array_equal(model.predict(X), model.labels_)
    assert_array_equal(model.fit_predict(X), model.labels_)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.labels_)
    model.set_params(n_clusters=None).fit(X)
    assert not hasattr(model, "labels_")
    assert not hasattr(model, "cluster_centers_")


def test_a_batch_leaves_nothing_of_what_fit_found_of_its_rows(blobs):
    X, _ = blobs
    model = AdversarialAutoencoder(2, n_clusters=3, **SMALL).fit(X)
    assert len(model.labels_) == len(X)
    model.partial_fit(X[:50])
    assert not hasattr(model, "labels_")
    assert not hasattr(model, "prior_distance_")
    assert model.fit(X).prior_distance_ > 0


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("max_iter", [0, 10])
def test_centres_of_clusters_are_the_means_of_their_codes(blobs, max_iter, whiten):
    X, _ = blobs
    how = {**SMALL, "max_iter": max_iter, "whiten": whiten}
    model = AdversarialAutoencoder(2, n_clusters=3, **how)
    assert not hasattr(model, "cluster_centers_")
    codes = model.fit(X).transform(X)
    means = [codes[model.labels_ == cluster].mean(0) for cluster in range(3)]
    assert_allclose(model.cluster_centers_, means, atol=0.1 * codes.std())
    rows = model.inverse_transform(model.cluster_centers_)
    assert_array_equal(model.predict(rows), range(3))


def test_clusters_keep_their_numbers_from_batch_to_batch(blobs):
    X, y = blobs
    model = AdversarialAutoencoder(2, n_clusters=3, **SMALL).partial_fit(X[::3])
    first = model.predict(X)
    assert len(set(zip(y, first, strict=True))) == 3
    for part in (1, 2):
        assert_array_equal(model.partial_fit(X[part::3]).predict(X), first)


def test_a_later_batch_may_have_fewer_rows_than_clusters(bent):
    model = AdversarialAutoencoder(2, n_clusters=3, **SMALL).partial_fit(bent)
    assert model.partial_fit(bent[:1]).cluster_centers_.shape == (3, 2)


def test_it_is_a_clusterer_only_with_clusters(blobs):
    plain, clustered = AdversarialAutoencoder(2), AdversarialAutoencoder(n_clusters=2)
    assert is_outlier_detector(plain)
    assert is_clusterer(clustered)
    plain = plain.set_params(**SMALL).fit(blobs[0])
    assert set(plain.predict(blobs[0])) <= {-1, 1}


def test_more_clusters_than_rows_are_an_error():
    X = np.random.RandomState(0).normal(size=(6, 3)).repeat(5, 0)
    with pytest.raises(ValueError, match=r"n_clusters=7 .* distinct rows, which is 6"):
        AdversarialAutoencoder(2, n_clusters=7).fit(X)


# Distances


def epps_pulley(u):
    """The statistic of Epps & Pulley (1983) in closed form, of standardised numbers."""
    n = len(u)
    pairs = np.exp(-((u[:, None] - u) ** 2) / 2).sum() / n
    return pairs - math.sqrt(2) * np.exp(-(u**2) / 4).sum() + n / math.sqrt(3)


@pytest.mark.parametrize("draw", ["standard_normal", "random", "exponential"])
def test_the_distance_is_epps_and_pulleys(draw):
    u = getattr(np.random.default_rng(0), draw)(size=200)
    standardised = (u - u.mean()) / u.std()
    distance = SlicedDistance(Prior("normal", 1, None), seed=0)
    ours = distance(torch.tensor(u)[:, None])
    assert math.isclose(ours, epps_pulley(standardised), rel_tol=1e-3)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("n_clusters", [None, 2])
def test_waves_of_a_prior_are_those_of_its_draws(prior, n_clusters):
    made = Prior(prior, 3, n_clusters)
    if n_clusters:
        rng = np.random.RandomState(0)
        shares, centres = np.array([0.3, 0.7]), rng.standard_normal((2, 3))
        covariance = np.cov(rng.standard_normal((3, 9)))
        made.set_mixture(Mixture(centres, shares, covariance))
    distance = SlicedDistance(made, seed=0)
    drawn = distance._waves(made(100_000, seeded()), None)
    for exact, estimate in zip(distance.target, drawn, strict=True):
        assert_allclose(exact, estimate, atol=0.02)


def test_distances_count_copies_and_no_affine_map():
    u = torch.randn(60, 2, generator=seeded()) ** 2
    distance = SlicedDistance(Prior("normal", 2, None), seed=0)
    weight = torch.arange(60) % 3 + 1.0
    copies = u.repeat_interleave(weight.long(), 0)
    assert math.isclose(
        distance(u, weight) / 60, distance(copies) / len(copies), rel_tol=1e-4
    )
    assert math.isclose(distance(3 * u - 5), distance(u), rel_tol=1e-4)


@pytest.mark.parametrize("prior", ["normal", "uniform", squares])
def test_a_prior_is_nearest_to_itself(prior):
    draws = Prior(prior, 2, None)(MOST_CODES, seeded(1))
    distances = {
        other: SlicedDistance(Prior(other, 2, None), seed=0)(draws)
        for other in ("normal", "uniform", squares)
    }
    assert min(distances, key=distances.get) == prior


def test_an_epoch_whose_codes_are_further_from_the_prior_does_not_count(bent):
    model = AdversarialAutoencoder(2, validation_fraction=0.3, **SMALL).fit(bent)
    near, far = torch.randn(90, 2, generator=seeded()), torch.rand(90, 2).square()
    net, data = model.net_, SimpleNamespace(valid=range(90), valid_weight=None)
    for epoch, codes, expected in ((0, near, True), (1, far, False), (2, near, True)):
        net.codes_ = codes
        assert net._is_eligible(data, epoch) == expected
    net.codes_ = far  # which no longer are further than the start's
    assert net._is_eligible(data, 0)
    net.codes_ = far
    assert net._is_eligible(data, 1)


def test_the_epoch_that_is_used_is_as_near_to_the_prior_as_the_start(bent):
    model = AdversarialAutoencoder(2, validation_fraction=0.3, **SMALL).fit(bent)
    distance = model.history_[model.best_iter_ - 1, "valid_distance"]
    assert distance <= model.net_.start_distance_ + model.net_.most_excess_


# What comes of it


def test_trained_codes_have_mean_0_and_covariance_1(bent):
    model = AdversarialAutoencoder(2, validation_fraction=0.3, **SMALL).fit(bent)
    assert model.best_iter_
    codes = model.transform(bent) / model._fit.model.code_scale
    assert_allclose(codes.mean(0), 0, atol=1e-4)
    assert_allclose(np.cov(codes.T, ddof=0), np.eye(2), atol=1e-3)


def test_standardising_codes_changes_no_row():
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(4, 3), nn.Linear(3, 4)
    module = AdversarialModule(
        encoder, decoder, Prior("normal", 3, None), random_discriminator()
    )
    x = 5 + torch.randn(50, 4)
    before = module.decode(module.encode(x))
    for _ in range(2):  # a second time changes nothing
        module.standardise(module.encode(x).detach(), None)
        z = module.encode(x).detach()
        assert_allclose(z.mean(0), 0, atol=1e-5)
        assert_allclose(np.cov(z.T, ddof=0), np.eye(3), atol=1e-4)
        assert_allclose(module.decode(z).detach(), before.detach(), atol=1e-4)


def test_directions_without_variance_are_left_alone():
    rows = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    mean, root = standardising(rows)
    assert_allclose((rows - mean) @ root, [[-1, 0], [1, 0]], atol=1e-6)


def test_rows_drawn_at_the_start_are_those_of_probabilistic_pca():
    X = load_iris().data
    model = AdversarialAutoencoder(2, max_iter=0, random_state=0).fit(X)
    drawn = model.sample(200_000, random_state=0)
    expected = PCA(2).fit(X)
    assert_allclose(drawn.mean(0), expected.mean_, atol=0.02)
    assert_allclose(np.cov(drawn.T), expected.get_covariance(), atol=0.03)
    means = model.sample(100, add_noise=False, random_state=0)
    rebuilt = expected.inverse_transform(expected.transform(means))
    assert_allclose(means, rebuilt, atol=1e-9)


@pytest.mark.parametrize(
    "given", [{}, {"prior": "uniform"}, {"prior": squares}, {"n_clusters": 2}]
)
def test_rows_are_drawn_by_a_seed(given, bent):
    model = AdversarialAutoencoder(2, **given, **SMALL).fit(bent)
    one, same, other = (model.sample(4, random_state=s) for s in (0, 0, 1))
    assert one.shape == (4, 3)
    assert_array_equal(one, same)
    assert (one != other).any()


def test_draws_have_no_variance_that_no_row_has():
    X = np.ones((30, 4))
    X[:, 3] = np.arange(30)
    drawn = AdversarialAutoencoder(2, max_iter=0).fit(X).sample(200, random_state=0)
    assert_allclose(drawn[:, :3], 1, atol=1e-9)
    assert 5 < drawn[:, 3].std() < 15


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3"])
def test_a_wrong_number_of_rows_is_named(n_samples, bent):
    model = AdversarialAutoencoder(2, max_iter=0).fit(bent)
    with pytest.raises((TypeError, ValueError), match="n_samples"):
        model.sample(n_samples)


@pytest.mark.parametrize(
    "architecture",
    [
        Convolutional(channels=(2,), hidden_layer_sizes=()),
        Recurrent(hidden_size=3),
        Transformer(1, 4, 2),
    ],
)
@pytest.mark.parametrize("n_clusters", [None, 2])
def test_every_architecture_draws_samples_of_the_shape_it_saw(architecture, n_clusters):
    X = load_digits().images[:40]
    model = AdversarialAutoencoder(
        2,
        max_iter=2,
        architecture=architecture,
        n_clusters=n_clusters,
        validation_fraction=0.25,
        random_state=0,
    ).fit(X)
    assert model.sample(3, random_state=0).shape == (3, 8, 8)
    assert set(model.predict(X)) <= ({-1, 1} if n_clusters is None else {0, 1})


@pytest.mark.parametrize("seed", range(3))
def test_a_game_that_diverges_leaves_the_start(seed, bent):
    model = AdversarialAutoencoder(
        2, learning_rate_init=1e25, **{**SMALL, "random_state": seed}
    )
    with pytest.warns(ConvergenceWarning, match="training stopped"):
        model.set_params(validation_fraction=0.3).fit(bent)
    assert model.best_iter_ == 0
    assert_allclose(
        np.abs(model.transform(bent)), np.abs(PCA(2).fit_transform(bent)), atol=1e-6
    )
    assert all(p.isfinite().all() for p in model.module_.parameters())
