"""Codes in order: sorted, cut short, or PCA's own."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder

FAST = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:600] / 4


def r2(X, rows):
    return 1 - ((X - rows) ** 2).sum() / ((X - X.mean(0)) ** 2).sum()


# Sorted


@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder, VAE])
def test_codes_are_sorted_by_the_variance_that_they_explain(cls, X):
    model = cls(5, random_state=0, max_iter=15).fit(X)
    assert model.best_iter_ > 0
    assert (np.diff(model.explained_variance_ratio_) <= 0).all()
    codes = model.transform(X)
    assert_allclose(codes.var(0, ddof=1), model.explained_variance_, rtol=1e-6)
    errors = []
    for j in range(5):  # that fixing a code adds
        fixed = codes.copy()
        fixed[:, j] = codes[:, j].mean()
        errors.append(-r2(X, model.inverse_transform(fixed)))
    assert (np.diff(errors) <= 1e-12).all()


def test_the_order_is_kept_while_batches_go_on(X):
    """So that codes of one call can be compared with those of the next."""
    model = AutoencoderTransformer(4, **FAST).fit(X)
    before = model.transform(X)
    model.set_params(learning_rate_init=1e-6).partial_fit(X[:100])
    cosines = np.sum(model.transform(X) * before, 0) ** 2
    cosines /= (model.transform(X) ** 2).sum(0) * (before**2).sum(0)
    assert (cosines > 0.99).all()


# Cut short


def test_every_prefix_of_the_start_is_pca(X):
    exact = {"svd_solver": "full"}
    model = AutoencoderTransformer(6, ordered=True, max_iter=0, **exact).fit(X)
    codes = model.transform(X)
    for j in range(1, 7):
        pca = PCA(j, **exact).fit(X)
        rebuilt = model.inverse_transform(codes[:, :j])
        assert_allclose(rebuilt, pca.inverse_transform(pca.transform(X)), atol=1e-9)


def test_every_prefix_is_better_than_pcas():
    X = load_digits().data
    model = AutoencoderTransformer(4, ordered=True, random_state=0).fit(X[:1300])
    test = X[1300:]
    codes = model.transform(test)
    for j in range(1, 5):
        pca = PCA(j).fit(X[:1300])
        ours = r2(test, model.inverse_transform(codes[:, :j]))
        assert ours > r2(test, pca.inverse_transform(pca.transform(test))) + 0.01


def test_ratios_are_what_each_code_adds(X):
    model = AutoencoderTransformer(4, ordered=True, random_state=0).fit(X)
    assert model.best_iter_ > 0
    codes = model.transform(X)
    prefixes = [r2(X, model.inverse_transform(codes[:, :j])) for j in range(1, 5)]
    expected = np.maximum.accumulate(prefixes)
    assert_allclose(np.cumsum(model.explained_variance_ratio_), expected, atol=1e-6)


def test_codes_cannot_be_cut_short_unless_they_are_ordered(X):
    model = AutoencoderTransformer(4, **FAST).fit(X)
    with pytest.raises(ValueError, match=r"X has 3 columns.*n_components_=4"):
        model.inverse_transform(np.zeros((2, 3)))
    model = AutoencoderTransformer(4, ordered=True, **FAST).fit(X)
    with pytest.raises(ValueError, match=r"X has 5 columns.*n_components_=4"):
        model.inverse_transform(np.zeros((2, 5)))


def test_whitened_codes_can_be_cut_short_too(X):
    plain = AutoencoderTransformer(4, ordered=True, **FAST).fit(X)
    white = AutoencoderTransformer(4, ordered=True, whiten=True, **FAST).fit(X)
    expected = plain.inverse_transform(plain.transform(X)[:, :2])
    found = white.inverse_transform(white.transform(X)[:, :2])
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_of_five_rows_three_have_all_of_their_codes_and_the_others_a_prefix(X):
    module = AutoencoderTransformer(4, ordered=True, **FAST).fit(X).module_
    n = 100_000
    module.generator = torch.Generator().manual_seed(0)
    kept = module.prefixes(torch.zeros(n, 4)).numpy()
    assert set(map(tuple, np.unique(kept, axis=0))) == {
        (1, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 0), (1, 1, 1, 1)
    }  # fmt: skip
    shares = np.bincount(kept.sum(1).astype(int), minlength=5)[1:] / n
    expected = np.array([0.1, 0.1, 0.1, 0.7])
    errors = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(shares - expected) < 5 * errors).all()


# PCA's own


@pytest.mark.parametrize("n", [300, 1200])
def test_codes_of_a_linear_encoder_are_pcas(n):
    X = load_digits().data[:n]
    model = AutoencoderTransformer(4, linear_encoder=True, random_state=0).fit(X)
    pca = PCA(4).fit(X)
    assert model.best_iter_ > 0
    assert_allclose(model.transform(X), pca.transform(X), atol=1e-9)
    assert_allclose(model.components_, pca.components_, atol=1e-9)
    assert_allclose(model.explained_variance_, pca.explained_variance_)
    linear = r2(X, pca.inverse_transform(pca.transform(X)))
    assert r2(X, model.inverse_transform(model.transform(X))) > linear + 0.01


def test_a_linear_encoder_needs_pca(X):
    with pytest.raises(ValueError, match='linear_encoder=True with init="random"'):
        AutoencoderTransformer(2, linear_encoder=True, init="random").fit(X)
