"""The denoising autoencoder: corruptions, the linear denoiser, and what is learnt."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA

from skae import DenoisingAutoencoder
from skae._corruptions import (
    CORRUPTIONS,
    RIDGE,
    gaussian,
    masking,
    salt_and_pepper,
    swap,
)
from skae._denoising import DenoisingModule, linear_denoiser
from skae._solvers import linear_start

FAST = {"hidden_layer_sizes": (8,), "random_state": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def factors():
    """Rows of a linear factor model with three factors in eight columns."""
    rng = np.random.RandomState(0)
    loadings = rng.randn(3, 8) * np.array([[3.0], [2.0], [1.0]])
    return rng.randn(4000, 3) @ loadings + 0.4 * rng.randn(4000, 8) + 5


def scale_of(X):
    """Return the root-mean-square deviation of the columns, by which levels count."""
    return np.sqrt(X.var(0, ddof=1).mean())


def encoding_of(model):
    """Return the map from centred rows to codes, (k, d), of a linear denoiser."""
    return model.transform(model.mean_ + np.eye(len(model.mean_))).T


# Corruptions


def test_a_swapped_cell_is_another_value_of_its_column():
    x = torch.arange(3000.0).reshape(1000, 3)
    corrupted = swap(x, 0.3, seeded())
    assert (corrupted % 3 == x % 3).all()
    share = (corrupted != x).float().mean(0)
    torch.testing.assert_close(share, torch.full((3,), 0.3), atol=0.05, rtol=0)
    rows = corrupted[:, 0] // 3
    assert len(rows.unique()) < 1000  # values are drawn, not permuted


def test_noise_has_its_deviation():
    noise = gaussian(torch.zeros(20_000, 2), 0.7, seeded())
    assert_allclose(noise.std(0), 0.7, rtol=0.02)
    assert_allclose(noise.mean(0), 0, atol=0.02)


def test_masked_cells_are_zero():
    corrupted = masking(torch.ones(20_000, 2), 0.2, seeded())
    assert_allclose((corrupted == 0).float().mean(0), 0.2, atol=0.02)
    assert set(corrupted.unique().tolist()) == {0.0, 1.0}


def test_salt_and_pepper_are_the_extremes_of_the_column():
    x = torch.rand(20_000, 2, generator=seeded()) * torch.tensor([1.0, 10.0])
    corrupted = salt_and_pepper(x, 0.4, seeded(1))
    for values, share in ((x.amax(0), 0.2), (x.amin(0), 0.2), (x, 0.6)):
        assert_allclose((corrupted == values).float().mean(0), share, atol=0.02)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_level_of_zero_changes_nothing_and_one_row_can_be_corrupted(name):
    x = torch.rand(5, 3, generator=seeded())
    assert torch.equal(CORRUPTIONS[name](x, 0.0, seeded()), x)
    assert CORRUPTIONS[name](x[:1], 0.5, seeded()).shape == (1, 3)


# The linear denoiser


@pytest.mark.parametrize("k", [1, 3, 8])
def test_gaussian_noise_shrinks_every_direction(factors, k):
    model = DenoisingAutoencoder(
        k, corruption="gaussian", corruption_level=0.5, max_iter=0
    ).fit(factors)
    pca = PCA(k).fit(factors)
    variance = pca.explained_variance_
    noise = (0.5 * scale_of(factors)) ** 2
    codes = pca.transform(factors) * variance / (variance + noise)
    assert_allclose(model.transform(factors), codes, rtol=1e-6, atol=1e-9)
    rows = pca.inverse_transform(codes)
    assert_allclose(model.denoise(factors), rows, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "total"), [("swap", lambda keep: 1.0), ("masking", lambda keep: keep)]
)
@pytest.mark.parametrize("k", [2, 5])
def test_the_linear_denoiser_is_the_regression_on_corrupted_rows(
    factors, name, total, k
):
    """Against the normal equations of the covariance of corrupted rows, written out."""
    level = 0.3
    start = linear_start(factors, k)
    covariance = PCA(k).fit(factors).get_covariance()
    keep = 1 - level
    corrupted = keep**2 * covariance
    ridge = RIDGE * level * factors.var(0, ddof=1).mean()
    np.fill_diagonal(corrupted, total(keep) * np.diag(covariance) + ridge)
    cross = keep * start.components @ covariance
    expected = cross @ np.linalg.inv(corrupted)
    model = DenoisingAutoencoder(k, corruption=name, corruption_level=level, max_iter=0)
    model.fit(factors)
    assert_allclose(encoding_of(model), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["swap", "masking"])
def test_the_moments_of_a_corruption_are_those_of_the_derivation(factors, name):
    x = torch.from_numpy((factors - factors.mean(0)) / 3).repeat(20, 1)
    corrupted = CORRUPTIONS[name](x, 0.3, seeded()).numpy()
    covariance, x = np.cov(x.numpy().T), x.numpy()
    expected = 0.7**2 * covariance
    np.fill_diagonal(expected, (1.0 if name == "swap" else 0.7) * np.diag(covariance))
    atol = 0.02 * covariance.max()
    assert_allclose(np.cov(corrupted.T), expected, atol=atol)
    assert_allclose((x.T @ corrupted) / len(x), 0.7 * covariance, atol=atol)


def test_a_fitted_denoiser_is_close_to_the_closed_form(factors):
    closed = DenoisingAutoencoder(
        3, corruption="gaussian", corruption_level=0.5, max_iter=0
    ).fit(factors)
    scale = scale_of(factors)

    def noise(X, generator):
        return X + 0.5 * scale * torch.randn(X.shape, generator=generator)

    fitted = DenoisingAutoencoder(3, corruption=noise, max_iter=0, random_state=0)
    fitted.fit(factors)
    assert_allclose(encoding_of(fitted), encoding_of(closed), atol=0.03)


def test_without_corruption_it_is_pca(factors):
    model = DenoisingAutoencoder(3, corruption_level=0.0, max_iter=0).fit(factors)
    pca = PCA(3).fit(factors)
    assert_allclose(model.transform(factors), pca.transform(factors), atol=1e-9)
    assert_allclose(
        model.explained_variance_ratio_.sum(),
        pca.explained_variance_ratio_.sum(),
        atol=0.02,
    )
    encoding = linear_denoiser(linear_start(factors, 3), 1.0, np.zeros(8))
    assert_allclose(encoding, pca.components_, atol=1e-9)


def test_a_denoiser_is_padded_with_empty_axes(factors):
    model = DenoisingAutoencoder(3, max_iter=0).fit(factors)
    padded = model._fit.start.padded(5)
    assert padded.components.shape == padded.encoding.shape == (5, 8)
    assert_allclose(padded.encoding[:3], encoding_of(model), rtol=1e-6, atol=1e-9)
    assert (padded.encoding[3:] == 0).all()


def test_a_column_that_hardly_varies_does_not_blow_up_the_rest(factors):
    X = np.column_stack([factors, np.zeros(len(factors))])
    X[0, -1] = 0.01
    model = DenoisingAutoencoder(max_iter=0, random_state=0).fit(X)
    rows = X[1:200].copy()
    rows[:, -1] = 3.0
    change = model.denoise(rows)[:, :-1] - model.denoise(X[1:200])[:, :-1]
    assert np.abs(change).max() < 0.5


# What is learnt


def test_on_normal_rows_the_denoiser_stays_the_closed_form(factors):
    model = DenoisingAutoencoder(
        corruption="gaussian", corruption_level=0.5, random_state=0, max_iter=20
    ).fit(factors)
    rng = np.random.RandomState(1)
    deviation = 0.5 * scale_of(factors)
    noisy = factors[:500] + deviation * rng.randn(500, 8)
    pca = PCA().fit(factors)
    shrink = pca.explained_variance_ / (pca.explained_variance_ + deviation**2)
    expected = pca.inverse_transform(shrink * pca.transform(noisy))
    distance = np.sqrt(((model.denoise(noisy) - expected) ** 2).mean())
    assert distance < 0.1 * deviation


def test_what_is_taken_away_is_the_score_of_the_density():
    """Alain & Bengio (2014): denoise(x) - x is v times the gradient of log p."""
    rng = np.random.RandomState(0)
    centres = np.array([[-2.0, 0.0], [2.0, 1.0]])
    X = centres[rng.randint(2, size=3000)] + 0.3 * rng.randn(3000, 2)
    model = DenoisingAutoencoder(
        corruption="gaussian", corruption_level=0.5, random_state=0
    ).fit(X)
    assert model.best_iter_ > 0
    v = (0.5 * scale_of(X)) ** 2
    points = X[:400] + np.sqrt(v) * rng.randn(400, 2)
    total = 0.3**2 + v  # each cluster, seen through the noise, is normal again
    distance = points[:, None] - centres
    weight = np.exp(-0.5 * (distance**2).sum(2) / total)
    weight /= weight.sum(1, keepdims=True)
    score = -(weight[:, :, None] * distance).sum(1) / total
    ours = (model.denoise(points) - points) / v
    assert np.corrcoef(ours.ravel(), score.ravel())[0, 1] > 0.97
    slope = (ours * score).sum() / (score**2).sum()
    assert slope == pytest.approx(1, abs=0.1)


def test_digits_are_denoised_better_than_by_projections():
    X = load_digits().data
    noisy = X + np.random.RandomState(0).normal(scale=4, size=X.shape)
    model = DenoisingAutoencoder(
        corruption="gaussian", corruption_level=4 / 4.3, random_state=0
    ).fit(X[:1300])
    clean = X[1300:]
    error = ((model.denoise(noisy[1300:]) - clean) ** 2).mean()
    projections = []
    for k in (4, 8, 16, 24, 32):
        pca = PCA(k).fit(X[:1300])
        rows = pca.inverse_transform(pca.transform(noisy[1300:]))
        projections.append(((rows - clean) ** 2).mean())
    assert error < 0.8 * min(projections)


def test_a_callable_sees_the_units_of_the_table():
    X = load_iris().data
    seen = []

    def corruption(rows, generator):
        seen.append((float(rows.min()), float(rows.max()), rows.shape[-1]))
        assert isinstance(generator, torch.Generator)
        return rows

    DenoisingAutoencoder(2, corruption=corruption, max_iter=1, **FAST).fit(X)
    for smallest, largest, width in seen:
        assert smallest > -0.1
        assert 1.5 < largest < 8
        assert width == 4


def test_each_batch_is_corrupted_anew():
    module = DenoisingModule(
        torch.nn.Identity(), torch.nn.Identity(), "swap", 0.5, (4,)
    )
    module.generator = seeded()
    x = torch.rand(20, 3, generator=seeded())
    assert not torch.equal(module(x)[0], module(x)[0])
    assert torch.equal(module.decode(module.encode(x)), x)


@pytest.mark.parametrize("corruption", [*CORRUPTIONS, lambda X, generator: X + 100])
def test_missing_cells_stay_as_they_were_filled(corruption):
    module = DenoisingModule(
        torch.nn.Identity(), torch.nn.Identity(), corruption, 1.0, (3,)
    )
    module.set_units(np.zeros(3), 2.0)
    module.generator = seeded()
    x = torch.rand(200, 3, generator=seeded()) + 1
    known = torch.rand(200, 3, generator=seeded(1)) < 0.7
    corrupted = module.corrupt(x, known)
    assert torch.equal(corrupted[~known], x[~known])
    assert (corrupted[known] != x[known]).float().mean() > 0.9


def test_a_function_gets_the_mean_where_a_cell_is_missing():
    seen = []

    def corruption(rows, generator):
        seen.append(rows.clone())
        return rows

    module = DenoisingModule(
        torch.nn.Identity(), torch.nn.Identity(), corruption, 1.0, (3,)
    )
    module.set_units(np.array([1.0, 2.0, 3.0]), 2.0)
    x, known = torch.ones(5, 3), torch.ones(5, 3, dtype=torch.bool)
    known[:, 1] = False
    module.corrupt(x, known)
    torch.testing.assert_close(seen[0], torch.tensor([3.0, 2.0, 5.0]).expand(5, 3))


# The face


def test_denoise_is_the_round_trip(factors):
    model = DenoisingAutoencoder(2, max_iter=2, **FAST).fit(factors[:300])
    rows = model.inverse_transform(model.transform(factors))
    assert_allclose(model.denoise(factors), rows)
    with pytest.raises(ValueError, match="NaN in column 1"):
        model.denoise(np.where(np.arange(8) == 1, np.nan, factors))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruption": "blur"}, "corruption"),
        ({"corruption_level": -0.1}, "corruption_level"),
        ({"corruption_level": 1.5}, "corruption_level=1.5 must be at most 1"),
        ({"corruption": "masking", "corruption_level": 2}, "must be at most 1"),
    ],
)
def test_bad_parameters_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(2, **settings).fit(load_iris().data)


@pytest.mark.parametrize("corruption", ["swap", "masking", "salt_and_pepper"])
def test_all_cells_can_be_corrupted(corruption):
    X = load_iris().data
    model = DenoisingAutoencoder(
        2, corruption=corruption, corruption_level=1.0, max_iter=2, **FAST
    ).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize(
    ("corruption", "error", "message"),
    [
        (lambda X, g: X.numpy(), ValueError, "returned ndarray"),
        (lambda X, g: X[:, :1], ValueError, "must return a real tensor of the rows"),
        (lambda X, g: None, ValueError, "returned NoneType"),
        (lambda X, g: X * float("nan"), ValueError, "returned NaN or infinity"),
        (lambda X: X, TypeError, "is called with a float32 tensor of rows and a"),
    ],
)
def test_what_a_function_may_not_return(corruption, error, message):
    with pytest.raises(error, match=message):
        DenoisingAutoencoder(2, corruption=corruption).fit(load_iris().data)


def test_a_function_may_return_another_precision():
    model = DenoisingAutoencoder(
        2, corruption=lambda X, g: X.double(), max_iter=1, **FAST
    ).fit(load_iris().data)
    assert np.isfinite(model.score(load_iris().data))


def test_shrunken_codes_do_not_score_better(factors):
    """The density of rows must not grow because the codes have a smaller unit."""
    settings = {"corruption": "gaussian", "max_iter": 0}
    scores = [
        DenoisingAutoencoder(3, corruption_level=level, **settings)
        .fit(factors)
        .score(factors)
        for level in (0.0, 0.5, 2.0, 10.0)
    ]
    assert scores[0] == pytest.approx(PCA(3).fit(factors).score(factors), rel=0.02)
    assert scores == sorted(scores, reverse=True)
