"""Which rows take part, how rows are scored, and who is told apart."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2, norm
from sklearn.base import is_outlier_detector
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from usual_rows import usual

from skae import (
    VAE,
    AutoencoderTransformer,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    _dataset,
)
from skae._anomalies import as_normal

CLASSES = (AutoencoderTransformer, DenoisingAutoencoder, VAE)
FAST = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    rng = np.random.RandomState(0)
    z = rng.randn(200, 2)
    rows = np.column_stack([z, z[:, 0] ** 2]) @ rng.randn(3, 6)
    return rows + 0.1 * rng.randn(200, 6)


@pytest.fixture(scope="module")
def mixed(X):
    """Return rows of which the last tenth are anomalies."""
    far = np.random.RandomState(1).uniform(-12, 12, (20, 6))
    return np.concatenate([X[:180], far])


# Who takes part


@pytest.mark.parametrize("n_dims", [1, 3, 10, 100])
def test_chi_squared_numbers_become_normal_ones(n_dims):
    expected = np.linspace(-1, 4, 50)
    numbers = chi2.isf(norm.sf(expected), n_dims)
    assert_allclose(
        as_normal(numbers, np.array([n_dims])), expected, atol=0.2 / n_dims**0.5
    )


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("cls", CLASSES)
def test_the_most_unusual_rows_take_no_part(cls, share, mixed):
    model = cls(2, contamination=share, **FAST).fit(mixed)
    alone = cls(2, **FAST).fit(mixed[usual(mixed, share, 2)])
    for method in ("transform", "score_samples"):
        assert_array_equal(
            getattr(model, method)(mixed), getattr(alone, method)(mixed), method
        )
    assert model.loss_curve_ == alone.loss_curve_
    assert model.n_samples_ == len(mixed)


@pytest.mark.parametrize(("size", "share"), [(50, 0.1), (100, 0.1), (150, 0.5)])
@pytest.mark.parametrize("n_missing", [0, 40])
@pytest.mark.parametrize("seed", range(3))
def test_a_tight_group_takes_no_part(seed, n_missing, size, share):
    """It has an axis of PCA to itself, and leaves nothing over: PCA finds it likely."""
    rng = np.random.RandomState(seed)
    group = 3 + 0.1 * rng.randn(size, 20)
    X = np.concatenate([rng.randn(1000 - size, 20), group])
    is_anomaly = np.arange(1000) >= 1000 - size
    assert roc_auc_score(is_anomaly, -PCA(3).fit(X).score_samples(X)) < 0.6
    X[rng.randint(1000, size=n_missing), rng.randint(20, size=n_missing)] = np.nan
    cls = MaskedAutoencoder if n_missing else AutoencoderTransformer
    model = cls(3, contamination=share, max_iter=0, random_state=0).fit(X)
    assert roc_auc_score(is_anomaly, -model.score_samples(X)) > 0.999


def test_weights_count_as_copies_do(mixed):
    counts = 1 + np.arange(len(mixed)) % 3
    model = AutoencoderTransformer(2, contamination=0.2, random_state=0, max_iter=0)
    weighted = model.fit(mixed, sample_weight=counts).score_samples(mixed)
    repeated = model.fit(np.repeat(mixed, counts, axis=0)).score_samples(mixed)
    assert_allclose(weighted, repeated, rtol=1e-9)


def test_groups_follow_their_rows(mixed):
    groups = np.arange(len(mixed)) // 4
    keep = usual(mixed, 0.25, 2)
    model = AutoencoderTransformer(2, contamination=0.25, **FAST)
    alone = AutoencoderTransformer(2, **FAST)
    model.fit(mixed, groups=groups)
    alone.fit(mixed[keep], groups=groups[keep])
    assert_array_equal(model.transform(mixed), alone.transform(mixed))


def test_each_batch_is_sifted(mixed):
    batches = mixed[::2], mixed[1::2]
    model = AutoencoderTransformer(2, contamination=0.1, **FAST)
    for batch in batches:
        model.partial_fit(batch)
    dirty = AutoencoderTransformer(2, **FAST)
    for batch in batches:
        dirty.partial_fit(batch)
    assert model.get_covariance().trace() < 0.8 * dirty.get_covariance().trace()
    assert model.n_samples_ == dirty.n_samples_ == len(mixed)  # as of fit


@pytest.mark.parametrize("contamination", [-0.1, 0.51, 1, "auto", None])
def test_contamination_is_at_most_a_half(X, contamination):
    with pytest.raises(ValueError, match="'contamination' parameter"):
        AutoencoderTransformer(2, contamination=contamination).fit(X)


def test_a_table_on_disk_is_not_sifted(tmp_path, X, monkeypatch):
    monkeypatch.setattr(_dataset, "SMALL_BYTES", 0)
    np.save(tmp_path / "X.npy", X)
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(ValueError, match=r"contamination=0.1 needs rows in memory"):
        AutoencoderTransformer(2, contamination=0.1).fit(rows)


# How rows are scored


def test_for_pca_neighbours_are_those_of_the_rows_themselves(X):
    model = AutoencoderTransformer(2, n_neighbors=3, max_iter=0).fit(X)
    new = X[:20] + 0.3
    distances = np.linalg.norm(new[:, None] - X, axis=2)
    expected = -np.sort(distances, axis=1)[:, :3].mean(1)
    assert_allclose(model.score_samples(new), expected, rtol=1e-9)


@pytest.mark.parametrize("cls", CLASSES)
def test_distances_are_between_codes_beside_residuals(cls, X):
    model = cls(2, n_neighbors=4, **FAST).fit(X)
    codes = model.transform(X)
    features = np.hstack([codes, X - model.inverse_transform(codes)])
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    expected = -np.sort(distances, axis=1)[:, 1:5].mean(1)  # less the row itself
    assert_allclose(model.score_samples(X), expected, rtol=1e-6)


def test_copies_of_a_row_are_one_row_that_does_not_see_itself(X):
    model = AutoencoderTransformer(2, n_neighbors=3, max_iter=0)
    expected = model.fit(X).score_samples(X)
    counts = 1 + np.arange(len(X)) % 4
    copies = np.repeat(X, counts, axis=0)
    assert_allclose(model.fit(copies).score_samples(X), expected, rtol=1e-9)
    weighted = model.fit(X, sample_weight=counts).score_samples(X)
    assert_allclose(weighted, expected, rtol=1e-9)


def test_rows_that_take_no_part_are_no_neighbours(mixed):
    keep = usual(mixed, 0.1, 2)
    model = AutoencoderTransformer(2, n_neighbors=3, contamination=0.1, max_iter=0)
    alone = AutoencoderTransformer(2, n_neighbors=3, max_iter=0).fit(mixed[keep])
    scores = model.fit(mixed).score_samples(mixed)
    assert_allclose(scores, alone.score_samples(mixed), rtol=1e-9)


def test_neighbours_of_batches_are_those_of_all_rows(X):
    model = AutoencoderTransformer(2, n_neighbors=3, **FAST)
    model.partial_fit(X[:90]).partial_fit(X[90:150]).partial_fit(X[140:])
    codes = model.transform(X)
    features = np.hstack([codes, X - model.inverse_transform(codes)])
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    expected = -np.sort(distances, axis=1)[:, 1:4].mean(1)
    assert_allclose(model.score_samples(X), expected, rtol=1e-5)


def test_too_few_rows_for_so_many_neighbours_are_all_compared(X):
    model = AutoencoderTransformer(1, n_neighbors=5, max_iter=0)
    with pytest.warns(UserWarning, match="n_neighbors=5, but .* only 3"):
        model.fit(X[:3])
    distances = np.linalg.norm(X[:3, None] - X[:3], axis=2)
    assert_allclose(model.score_samples(X[:3]), -distances.sum(1) / 2, rtol=1e-9)


@pytest.mark.parametrize("max_iter", [0, 2])
@pytest.mark.parametrize("trained_on", [np.float32, np.float64])
def test_a_row_knows_itself_in_another_precision(trained_on, max_iter):
    X = load_iris().data  # of one decimal, which neither has exactly
    X = X.astype(trained_on)
    how = {"n_neighbors": 3, "max_iter": max_iter, "random_state": 0}
    model = AutoencoderTransformer(2, **how).fit(X)
    expected = model.score_samples(X)
    for dtype in (np.float32, np.float64):
        found = model.score_samples(X.astype(dtype))
        assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_neighbors", [0, -1, 2.5, "auto"])
def test_n_neighbors_is_a_number_of_rows(X, n_neighbors):
    with pytest.raises(ValueError, match="'n_neighbors' parameter"):
        AutoencoderTransformer(2, n_neighbors=n_neighbors).fit(X)


# Who is told apart


@pytest.mark.parametrize("n_neighbors", [None, 3])
@pytest.mark.parametrize("cls", CLASSES)
def test_as_many_rows_are_anomalies_as_was_said(cls, n_neighbors, mixed):
    model = cls(2, contamination=0.1, n_neighbors=n_neighbors, **FAST)
    labels = model.fit_predict(mixed)
    assert (labels == -1).sum() == 20
    assert_array_equal(labels, model.predict(mixed))
    scores = model.score_samples(mixed)
    assert_array_equal(model.decision_function(mixed), scores - model.offset_)
    assert_array_equal(labels, np.where(scores < model.offset_, -1, 1))


@pytest.mark.parametrize("n_neighbors", [None, 5])
def test_equal_rows_are_on_the_same_side(n_neighbors):
    rng = np.random.RandomState(0)
    X = rng.randn(300, 3) @ rng.randn(3, 6) + 0.3 * rng.randn(300, 6)
    X[:36] = 30 * rng.randn(6)
    how = {"contamination": 0.1, "n_neighbors": n_neighbors, "max_iter": 0}
    model = AutoencoderTransformer(2, **how).fit(X)
    by_row = np.concatenate([model.predict(row) for row in X[:, None]])
    assert_array_equal(model.predict(X), by_row)
    assert len(set(by_row[:36])) == 1
    assert 20 <= (by_row < 0).sum() <= 36


def test_without_a_share_the_offset_is_tukeys_fence(X):
    model = AutoencoderTransformer(2, max_iter=0).fit(X)
    scores = np.sort(model.score_samples(X))
    low, high = scores[50], scores[150]
    assert model.offset_ == pytest.approx(low - 1.5 * (high - low), rel=1e-6)


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_new_rows_are_no_anomalies_for_being_new(estimator):
    """A network rebuilds the rows that it was trained on better than others."""
    X, y = load_digits(return_X_y=True)
    X = X[y == 4]
    start = estimator(8, max_iter=0).fit(X[:120])
    model = estimator(8, random_state=0).fit(X[:120])
    assert model.best_iter_ > 0
    by_start, by_network = ((m.predict(X[120:]) < 0).mean() for m in (start, model))
    assert by_network <= by_start + 0.05  # of 61 rows, where it was .3 and more


def test_it_stands_where_an_isolation_forest_stands(mixed):
    ours = AutoencoderTransformer(2, contamination=0.1, random_state=0)
    theirs = IsolationForest(contamination=0.1, random_state=0)
    assert is_outlier_detector(ours)
    truth = np.r_[np.ones(180), -np.ones(20)]
    for model in (ours, theirs):
        assert set(model.fit_predict(mixed)) == {-1, 1}
        assert roc_auc_score(truth, model.decision_function(mixed)) > 0.9


def test_anomalies_that_a_network_would_learn_are_found():
    """A group of threes among zeros."""
    X, y = load_digits(return_X_y=True)
    rows = np.concatenate([X[y == 0], X[y == 3][:30]])
    truth = np.r_[np.ones(sum(y == 0)), np.zeros(30)]

    def auc(**params):
        model = AutoencoderTransformer(4, random_state=0, **params).fit(rows)
        return roc_auc_score(truth, model.score_samples(rows))

    assert auc(contamination=0.5, n_neighbors=5) > max(auc() + 0.1, 0.95)
