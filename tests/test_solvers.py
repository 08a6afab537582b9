"""How PCA is found, against scikit-learn's own solvers."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA, IncrementalPCA

import skae._dataset
from skae import AutoencoderTransformer
from skae._solvers import linear_start

NAMES = ("mean", "explained_variance", "explained_variance_ratio")
NAMES += ("noise_variance", "scale")


@pytest.fixture
def X():
    return load_wine().data


@pytest.fixture
def sparse_rows():
    return sp.random(
        300, 40, density=0.1, random_state=0, format="csr", dtype=np.float64
    )


def assert_same_start(a, b, rtol=1e-8):
    largest = b.explained_variance.max()
    for name in NAMES:
        atol = 1e-12 * (1 if "ratio" in name else largest)
        assert_allclose(
            getattr(a, name), getattr(b, name), rtol=rtol, atol=atol, err_msg=name
        )
    sound = b.explained_variance > 1e-12 * largest  # the other axes are arbitrary
    assert_allclose(a.components[sound], b.components[sound], atol=1e-6)


def assert_is_pca(start, pca):
    assert_allclose(start.mean, pca.mean_)
    assert_allclose(start.components, pca.components_, atol=1e-8)
    assert_allclose(start.explained_variance, pca.explained_variance_)
    assert_allclose(start.explained_variance_ratio, pca.explained_variance_ratio_)
    assert_allclose(start.noise_variance, pca.noise_variance_)


def test_the_scale_is_the_root_of_the_mean_variance(X):
    assert linear_start(X, 2).scale == pytest.approx(np.sqrt(X.var(0, ddof=1).mean()))


def test_constant_data_have_scale_one():
    start = linear_start(np.full((5, 3), 2.0), 2)
    assert start.scale == 1.0
    assert np.isfinite(start.code_scale).all()
    assert (start.code_scale > 0).all()


@pytest.mark.parametrize("k", [1, 3, 13, None, 0.5, 0.9999])
def test_a_dense_start_is_pca(X, k):
    assert_is_pca(linear_start(X, k), PCA(k).fit(X))


@pytest.mark.parametrize("k", [0, 2, None])
def test_rows_near_zero_are_solved_once(X, k, monkeypatch):
    fit, n_fits = PCA.fit, []
    monkeypatch.setattr(PCA, "fit", lambda *args: n_fits.append(1) or fit(*args))
    linear_start(X, k)
    assert len(n_fits) == 1


@pytest.mark.parametrize("k", [1, 3, None, 0.5, "mle"])
@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_rows_far_from_zero_keep_their_digits(X, k, offset):
    rows = np.round(np.tile((X - X.mean(0)) / X.std(0), (2, 1)), 3)
    moved = linear_start(rows + offset, k)
    expected = replace(linear_start(rows, k), mean=rows.mean(0) + offset)
    assert_same_start(moved, expected, rtol=1e-6)


def test_a_large_constant_column_has_no_variance(X):
    rows = np.c_[np.tile(X, (2, 1)), np.full(2 * len(X), 1.7e15 + 0.3)]
    start, expected = linear_start(rows, 3), PCA(3).fit(rows[:, :-1])
    assert_allclose(start.explained_variance, expected.explained_variance_)
    assert_allclose(start.components[:, :-1], expected.components_, atol=1e-8)
    assert_allclose(start.components[:, -1], 0, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3, None, 0.5, 0.9999])
def test_equal_weights_change_nothing(X, k):
    assert_same_start(linear_start(X, k, np.ones(len(X))), linear_start(X, k))


@pytest.mark.parametrize("k", [1, 3, None, 0.5, 0.9999])
def test_a_weighted_start_is_pca_of_repeated_rows(X, k):
    weight = np.random.RandomState(0).randint(1, 5, len(X))
    repeated = np.repeat(X, weight, axis=0)
    assert_same_start(
        linear_start(X, k, weight.astype(float)), linear_start(repeated, k)
    )


def test_many_weighted_rows_are_not_cast_as_a_whole(monkeypatch):
    rng = np.random.RandomState(0)
    X, weight = rng.randint(256, size=(20_000, 50)).astype(np.uint8), rng.rand(20_000)
    expected = linear_start(X.astype(np.float64), 3, weight)
    n_bytes = 8 * 50 * 500
    monkeypatch.setattr(skae._dataset.row_chunks, "__defaults__", (n_bytes,))
    tracemalloc.start()
    start = linear_start(X, 3, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * X.size / 4
    assert_same_start(start, expected)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("k", [1, 2])
def test_a_weighted_start_is_pca_of_repeated_rows_of_a_wide_table(X, n, k):
    weight = np.arange(2.0, 2 + n)
    repeated = np.repeat(X[:n], weight.astype(int), axis=0)
    assert_same_start(linear_start(X[:n], k, weight), linear_start(repeated, k))


@pytest.mark.parametrize("total", [0.5, 1.2, 3.0, 20.0, 178.0])
def test_only_ratios_of_weights_matter_that_are_no_counts(X, total):
    weight = np.random.RandomState(0).uniform(size=len(X))
    expected = linear_start(X, 3, weight / weight.mean())
    assert_same_start(linear_start(X, 3, weight / weight.sum() * total), expected)
    assert expected.noise_variance > 0.1


@pytest.mark.parametrize("k", [1, 5, 39, 40, None])
def test_sparse_and_dense_starts_agree(sparse_rows, k):
    assert_same_start(
        linear_start(sparse_rows, k, random_state=0),
        linear_start(sparse_rows.toarray(), k),
        rtol=1e-6,
    )


def test_weighted_sparse_and_dense_starts_agree(sparse_rows):
    weight = np.random.RandomState(0).uniform(0.5, 3, 300)
    assert_same_start(
        linear_start(sparse_rows, 5, weight, 0),
        linear_start(sparse_rows.toarray(), 5, weight),
        rtol=1e-6,
    )


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
@pytest.mark.parametrize("max_iter", [0, 2])
def test_a_sparse_fit_equals_a_dense_fit(sparse_rows, layout, max_iter):
    def new():
        return AutoencoderTransformer(
            3, hidden_layer_sizes=(4,), max_iter=max_iter, random_state=0
        )

    X = layout(sparse_rows)
    sparse, dense = new().fit(X), new().fit(sparse_rows.toarray())
    codes = dense.transform(sparse_rows.toarray())
    assert_allclose(sparse.transform(X), codes, atol=1e-5)
    assert_allclose(
        sparse.score_samples(X), dense.score_samples(sparse_rows.toarray()), rtol=1e-4
    )
    assert_allclose(
        sparse.reconstruction_error(X),
        dense.reconstruction_error(sparse_rows.toarray()),
        atol=1e-6,
    )


@pytest.mark.parametrize("n", [1200, 20_000])
def test_a_large_sparse_table_is_pca_without_training(n):
    X = sp.random(n, 60, density=0.05, random_state=0, format="csr")
    model = AutoencoderTransformer(3, max_iter=0, random_state=0).fit(X)
    pca = PCA(3, svd_solver="full").fit(X.toarray())
    assert_allclose(model.explained_variance_, pca.explained_variance_, rtol=1e-6)
    assert_allclose(model.score(X), pca.score(X.toarray()), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3, None, 0.9])
def test_a_streamed_start_is_pca(k, tmp_path, monkeypatch):
    X = np.random.RandomState(0).randn(5000, 8) @ np.diag(np.arange(1, 9.0)) + 3
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for n_bytes in (0, 64 * 2**20):
        monkeypatch.setattr(skae._dataset, "SMALL_BYTES", n_bytes)
        assert skae._dataset.is_streamed(mapped) == (n_bytes == 0)
        start, pca = linear_start(mapped, k), PCA(k).fit(X)
        assert_allclose(start.mean, pca.mean_)
        assert_allclose(start.explained_variance, pca.explained_variance_)
        ratio = pca.explained_variance_ratio_
        assert_allclose(start.explained_variance_ratio, ratio)
        assert_allclose(start.noise_variance, pca.noise_variance_, atol=1e-9)
        cosines = np.sum(start.components * pca.components_, axis=1)
        assert_allclose(cosines, 1, rtol=1e-9)  # the same signs, too


def test_a_weighted_streamed_start_is_pca_of_repeated_rows(tmp_path, monkeypatch):
    X = np.random.RandomState(0).randn(900, 5) @ np.diag(np.arange(1, 6.0)) + 3
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    weight = np.random.RandomState(1).randint(1, 4, 900)
    monkeypatch.setattr(skae._dataset, "SMALL_BYTES", 0)
    start = linear_start(mapped, 2, weight.astype(float))
    assert_same_start(start, linear_start(np.repeat(X, weight, axis=0), 2))


# partial_fit


def test_partial_fit_without_training_is_incremental_pca(X):
    model, pca = AutoencoderTransformer(3, max_iter=0), IncrementalPCA(3)
    for rows in (X[:50], X[50:57], X[57:]):
        kept = rows.copy()
        model.partial_fit(rows)
        pca.partial_fit(rows)
        np.testing.assert_array_equal(rows, kept)
        codes, expected = model.transform(X), pca.transform(X)
        signs = np.sign((codes * expected).sum(0))
        assert_allclose(codes * signs, expected, atol=1e-6 * np.abs(expected).max())
        assert_allclose(model.mean_, pca.mean_)
        assert_allclose(model.explained_variance_, pca.explained_variance_)
        ratio = pca.explained_variance_ratio_
        assert_allclose(model.explained_variance_ratio_, ratio)
    assert model.n_samples_ == len(X)


def test_partial_fit_does_not_forget_the_discarded_variance(X):
    """IncrementalPCA's own noise variance is that of its last update alone."""
    model = AutoencoderTransformer(3, max_iter=0)
    for rows in (X[::3], X[1::3], X[2::3]):
        model.partial_fit(rows)
    assert model.noise_variance_ == pytest.approx(
        PCA(3).fit(X).noise_variance_, rel=0.1
    )


def test_partial_fit_keeps_the_signs_from_call_to_call():
    rng = np.random.RandomState(0)
    X = rng.randn(400, 5) @ np.diag([5, 4, 3, 2, 1.0])
    model = AutoencoderTransformer(2, max_iter=0).partial_fit(X[:40])
    codes = model.transform(X)
    for start in range(40, 400, 40):
        model.partial_fit(X[start : start + 40])
        moved = model.transform(X)
        for j in range(2):
            assert np.corrcoef(codes[:, j], moved[:, j])[0, 1] > 0
        codes = moved


def test_partial_fit_of_everything_at_once_is_pca():
    X = load_iris().data
    model = AutoencoderTransformer(2, max_iter=0).partial_fit(X)
    pca = PCA(2).fit(X)
    assert_allclose(np.abs(model.transform(X)), np.abs(pca.transform(X)), atol=1e-9)
    assert_allclose(model.score_samples(X), pca.score_samples(X), rtol=1e-6)


def test_partial_fit_after_fit_keeps_the_start(X):
    model = AutoencoderTransformer(3, max_iter=0).fit(X)
    codes = model.transform(X)
    model.partial_fit(X[:20])
    assert_allclose(model.transform(X), codes)


def test_a_large_offset_does_not_drown_float32_rows():
    """scikit-learn's PCA of such float32 rows is off by a factor of 40."""
    X = (np.random.RandomState(0).randn(2000, 6) * 3 + 1e4).astype(np.float32)
    expected = PCA(2).fit(X.astype(np.float64))
    start = linear_start(X, 2)
    assert_allclose(start.explained_variance, expected.explained_variance_, rtol=1e-4)
    assert_allclose(start.noise_variance, expected.noise_variance_, rtol=1e-4)
