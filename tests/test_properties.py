"""Hypothesis: what must hold for any finite matrix."""

import pickle

import numpy as np
import pytest
from estimators import CLASSES, ESTIMATORS, PCA_CLASSES
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA

import skae
from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder
from skae.architectures import Recurrent

# Two epochs on a few rows may well leave a code without a use.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Active codes", "ignore:n_neighbors=2, but the distinct"
)

settings.register_profile(
    "skae",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("skae")


@st.composite
def matrices(draw, max_rows=60, dtypes=(np.float64, np.float32, np.int64)):
    """Draw a matrix, and how many components to ask of it."""
    n, d = draw(st.integers(2, max_rows)), draw(st.integers(1, 12))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(dtypes))
    scale = 10.0 ** draw(st.integers(-6, 6))
    columns = draw(st.sampled_from(["plain", "own scales", "low rank"]))
    X = rng.standard_normal((n, d))
    if columns == "own scales":
        X = X * 10.0 ** rng.randint(-2, 3, d)
    elif columns == "low rank":
        rank = draw(st.integers(1, d))
        X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    X = X + draw(st.sampled_from([0.0, 1.0, 100.0]))
    if draw(st.booleans()):
        X[:, rng.randint(d)] = draw(st.sampled_from([0.0, 1.0, -3.5]))
    if draw(st.booleans()):
        X[:, rng.randint(d)] = X[:, rng.randint(d)]
    if draw(st.booleans()):
        X[rng.randint(n, size=n // 2)] = X[rng.randint(n)]
    X = np.round(10 * X) if dtype == np.int64 else X * scale
    return X.astype(dtype), draw(st.integers(1, min(n, d)))


@st.composite
def spectra(draw, dtypes=(np.float64, np.int64), max_condition=7.0):
    """Draw a matrix of full column rank, and how many components to ask of it.

    Its deviations fall from 1 to at least ``10**-max_condition``.
    """
    d = draw(st.integers(1, 12))
    n = draw(st.integers(d + 2, 60))
    dtype = draw(st.sampled_from(dtypes))
    # What is rounded to whole numbers has no small deviations.
    condition = draw(st.floats(0.1, 0.5 if dtype == np.int64 else max_condition))
    deviations = 10.0 ** -np.linspace(0, condition, d)
    X = with_deviations(draw, n, d, deviations)
    X = X + draw(st.sampled_from([0.0, 1.0, 100.0]))
    X = np.round(100 * X) if dtype == np.int64 else X * 10.0 ** draw(st.integers(-6, 6))
    return X.astype(dtype), draw(st.integers(1, d))


@st.composite
def separated(draw):
    """Draw a float32 matrix of axes that can be told apart, and a number of them.

    Every entry is known to 6e-8 of the largest, and an axis turns by that over the gap
    between its deviation and the next one's.
    """
    d, n = draw(st.integers(1, 12)), draw(st.integers(2, 60))
    rank = draw(st.integers(1, min(n - 1, d)))
    gaps = st.floats(0.2, 1)
    deviations = np.cumsum([draw(gaps) for _ in range(rank)])[::-1]
    X = with_deviations(draw, n, d, deviations)
    X = X + deviations[0] * draw(st.sampled_from([0.0, 1.0, -3.0]))
    X = X * 10.0 ** draw(st.integers(-6, 6))
    return X.astype(np.float32), draw(st.integers(1, rank))


def with_deviations(draw, n, d, deviations):
    """Return n rows of d columns, centred, with these deviations along some axes."""
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    scores = rng.standard_normal((n, len(deviations)))
    scores = np.linalg.qr(scores - scores.mean(0))[0] * np.sqrt(n - 1)
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    if draw(st.booleans()):
        axes = np.eye(d)[rng.permutation(d)]  # columns that are constant, or alone
    return scores * deviations @ axes[: len(deviations)]


def spread(X):
    """Return the scale of the rows: rounding errors are relative to the largest."""
    return float(np.abs(X).max()) or 1.0


def pca_of(X, k):
    with np.errstate(all="ignore"):
        return PCA(k, svd_solver="auto", random_state=0).fit(X)


def small(k, estimator=AutoencoderTransformer, **changes):
    settings = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    return estimator(k, **{**settings, **changes})


def from_table(name, k):
    """Return the estimator of a row of the table, with so many codes."""
    return clone(ESTIMATORS[name]).set_params(n_components=k)


untrained = st.sampled_from(PCA_CLASSES)
names = st.sampled_from(sorted(ESTIMATORS))


# Without training everything is PCA


def test_the_estimators_that_start_at_pca_are_known():
    assert {AutoencoderTransformer, VAE} <= set(PCA_CLASSES)
    assert DenoisingAutoencoder in set(CLASSES) - set(PCA_CLASSES)


def check_maps(model, pca, X, rtol, ratio_atol):
    tolerance = {"rtol": rtol, "atol": rtol * spread(X)}
    codes = pca.transform(X)
    assert_allclose(model.transform(X), codes, **tolerance)
    assert_allclose(
        model.inverse_transform(codes), pca.inverse_transform(codes), **tolerance
    )
    ratio = pca.explained_variance_ratio_
    finite = np.isfinite(ratio)
    assert_allclose(
        model.explained_variance_ratio_[finite],
        ratio[finite],
        rtol=rtol,
        atol=ratio_atol,
    )


@given(matrices(dtypes=(np.float64, np.int64)), untrained)
def test_without_training_it_is_pca(case, estimator):
    X, k = case
    model, pca = small(k, estimator, max_iter=0).fit(X), pca_of(X, k)
    check_maps(model, pca, X, 1e-6, 1e-12)
    rounding = 1e-12 * spread(X) ** 2
    noise = pca.noise_variance_
    assert_allclose(model.noise_variance_, noise, rtol=1e-6, atol=rounding)


@given(matrices(dtypes=(np.float64, np.int64)), untrained)
def test_without_training_the_likelihood_of_any_matrix_is_finite(case, estimator):
    X, k = case
    model = small(k, estimator, max_iter=0).fit(X)
    scores = model.score_samples(X)
    assert np.isfinite(scores).all()
    assert model.score(X) == float(scores.mean())


@given(spectra(), untrained)
def test_without_training_the_likelihood_is_that_of_pca(case, estimator):
    """PCA inverts its covariance and so loses as many digits as that has condition."""
    X, k = case
    model, pca = small(k, estimator, max_iter=0).fit(X), pca_of(X, k)
    digits_lost = np.linalg.cond(pca.get_covariance())
    assume(digits_lost < 1e15)  # else PCA answers with rounding errors
    scores = model.score_samples(X)
    assert np.isfinite(scores).all()
    tolerance = {"rtol": 1e-6, "atol": max(1e-6, 1e-15 * digits_lost) * X.shape[1]}
    assert_allclose(scores, pca.score_samples(X), **tolerance)
    assert_allclose(model.score(X), pca.score(X), **tolerance)


@given(separated())
def test_without_training_it_is_pca_in_single_precision(case):
    X, k = case
    deviations = np.sqrt(
        PCA(svd_solver="full").fit(X.astype(float)).explained_variance_
    )
    gaps = np.abs(np.diff(np.append(deviations, 0)))
    gaps = np.minimum(gaps, np.append(np.inf, gaps[:-1]))
    assume(gaps[:k].min() > 0.01 * spread(X))
    model, pca = small(k, max_iter=0).fit(X), pca_of(X, k)
    check_maps(model, pca, X, 1e-4, 1e-6)
    assert model.transform(X).dtype == pca.transform(X).dtype == np.float32
    assert np.isfinite(model.score_samples(X)).all()


@given(matrices(dtypes=(np.float32,)))
def test_single_precision_is_kept_for_any_matrix(case):
    X, k = case
    model = small(k, max_iter=0).fit(X)
    codes = model.transform(X)
    assert codes.dtype == model.inverse_transform(codes).dtype == np.float32
    for result in (codes, model.inverse_transform(codes), model.score_samples(X)):
        assert np.isfinite(result).all()


@given(matrices(dtypes=(np.float64, np.int64)), st.floats(0.05, 0.95))
def test_a_share_of_the_variance_chooses_as_pca_does(case, share):
    X, _ = case
    pca = pca_of(X, None)
    # Of constant data, PCA's ratios are 0 / 0.
    assume(np.isfinite(pca.explained_variance_ratio_).all())
    cumulative = np.cumsum(pca.explained_variance_ratio_)
    assume(np.abs(cumulative - share).min() > 1e-9)  # a tie, which rounding decides
    model = small(share, max_iter=0).fit(X)
    assert model.n_components_ == pca_of(X, share).n_components_


@given(matrices(dtypes=(np.float64, np.int64)))
def test_whitening_is_that_of_pca(case):
    X, k = case
    pca = PCA(k, whiten=True)
    with np.errstate(all="ignore"):
        pca.fit(X)
        expected = pca.transform(X)
    model = small(k, max_iter=0, whiten=True).fit(X)
    # Where a variance is but a rounding error, PCA divides one error by another.
    sound = pca.explained_variance_ > 1e-9 * max(pca.explained_variance_[0], 1e-300)
    sound &= pca.explained_variance_ > (1e-9 * spread(X)) ** 2
    codes = model.transform(X)
    assert np.isfinite(codes).all()
    atol = 1e-6 * spread(X) / np.sqrt(pca.explained_variance_[sound])
    error = np.abs(codes[:, sound] - expected[:, sound])
    assert (error <= atol + 1e-6).all()
    assert_allclose(
        model.inverse_transform(codes),
        pca.inverse_transform(expected),
        rtol=1e-6,
        atol=1e-6 * spread(X),
    )


# After training


@given(matrices(), names)
def test_trained_outputs_are_finite_and_have_their_shapes(case, name):
    X, k = case
    (n, d), model = X.shape, from_table(name, k).fit(X)
    codes = model.transform(X)
    assert codes.shape == (n, k)
    rows = model.inverse_transform(codes)
    assert rows.shape == (n, d)
    scores, errors = model.score_samples(X), model.reconstruction_error(X)
    assert scores.shape == errors.shape == (n,)
    for result in (codes, rows, scores, errors):
        assert np.isfinite(result).all()
    assert np.isfinite(model.noise_variance_)
    assert np.isfinite(model.explained_variance_).all()
    assert all(np.isfinite(loss) for loss in model.loss_curve_)
    for parameter in model.module_.parameters():
        assert parameter.isfinite().all()


@given(matrices(dtypes=(np.float64, np.float32)), names)
def test_fitting_is_deterministic_and_changes_no_input(case, name):
    X, k = case
    kept = X.copy()
    model = from_table(name, k).fit(X)
    assert_array_equal(X, kept)
    codes = model.transform(X)
    assert_array_equal(clone(model).fit(X).transform(X), codes)
    other = pickle.loads(pickle.dumps(model))
    assert_array_equal(other.transform(X), codes)
    assert_array_equal(other.score_samples(X), model.score_samples(X))
    assert_array_equal(X, kept)


@given(matrices(dtypes=(np.float64,)), names, st.integers(0, 2**16))
def test_transform_follows_a_permutation_of_the_rows(case, name, seed):
    X, k = case
    model = from_table(name, k).fit(X)
    order = np.random.RandomState(seed).permutation(len(X))
    tolerance = {"rtol": 1e-9, "atol": 1e-9 * spread(model.transform(X))}
    assert_allclose(model.transform(X[order]), model.transform(X)[order], **tolerance)
    assert_allclose(
        model.score_samples(X[order]), model.score_samples(X)[order], rtol=1e-9
    )


@given(matrices(dtypes=(np.float64,)), names, st.integers(1, 20))
def test_pieces_are_transformed_like_the_whole(case, name, size):
    X, k = case
    model = from_table(name, k).fit(X)
    pieces = [X[i : i + size] for i in range(0, len(X), size)]
    codes = model.transform(X)
    tolerance = {"rtol": 1e-9, "atol": 1e-9 * spread(codes)}
    # Whitening divides a variance that is but rounding errors by itself.
    variance = model.explained_variance_
    sound = variance > 1e-12 * variance.max() if model.whiten else slice(None)
    whole = np.concatenate([model.transform(piece) for piece in pieces])
    whole, codes = whole[:, sound], codes[:, sound]
    assert_allclose(whole, codes, **tolerance)
    whole = np.concatenate([model.score_samples(piece) for piece in pieces])
    assert_allclose(whole, model.score_samples(X), rtol=1e-9, atol=1e-9)


@given(
    matrices(dtypes=(np.float64,)),
    st.sampled_from(CLASSES),
    st.sampled_from([{}, {"validation_fraction": 0.25}, {"init": "random"}]),
    st.integers(-6, 6),
    st.integers(0, 2**16),
)
def test_units_do_not_matter(case, estimator, changes, exponent, seed):
    """Rows a x + b, with one scalar a > 0 and any b, give the codes a z.

    Powers of two keep every rounding the same; the shift is of the size of the rows
    and moves them by 1e-16 of it, which training in float32 does not see.
    """
    X, k = case
    X = np.round(X / spread(X) * 2**20) / 2**20  # leaves room for an exact shift
    shift = np.random.RandomState(seed).randint(-8, 9, X.shape[1]) / 4
    a = 2.0**exponent
    base = small(k, estimator, **changes).fit(X)
    moved = small(k, estimator, **changes).fit(a * X + a * shift)
    unit = 1.0 if changes.get("init") == "random" else a
    codes = base.transform(X)
    assert_allclose(
        moved.transform(a * X + a * shift),
        unit * codes,
        rtol=1e-3,
        atol=1e-3 * unit * spread(codes),
    )
    assert_allclose(
        moved.inverse_transform(unit * codes),
        a * base.inverse_transform(codes) + a * shift,
        atol=1e-3 * a,
    )


# Series of different lengths


@st.composite
def series(draw):
    """Draw series of 1 to 12 steps, and how many channels they have."""
    n, channels = draw(st.integers(6, 30)), draw(st.integers(1, 3))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    walks = [
        rng.standard_normal((rng.randint(1, 13), channels)).cumsum(0) for _ in range(n)
    ]
    return walks, draw(st.integers(0, 5))


# What has a torch.func of its own in a pass cannot look at series of many lengths.
PUBLIC = [
    estimator
    for estimator in CLASSES
    if estimator.__name__ in skae.__all__
    and not estimator._objective_class.handles_missing  # to which it is missing cells
]


@settings(max_examples=15)  # recurrent networks take their time
@given(
    series(),
    st.sampled_from(PUBLIC),
    st.sampled_from(["gru", "lstm"]),
    st.booleans(),
)
def test_padding_is_not_seen(case, estimator, cell, bidirectional):
    walks, extra = case
    n_steps = max(map(len, walks))
    padded = np.full((len(walks), n_steps + extra, walks[0].shape[1]), np.nan)
    for row, walk in zip(padded, walks, strict=True):
        row[: len(walk)] = walk
    network = Recurrent(cell, 3, bidirectional=bidirectional)
    # Without a gate, so that it is the network that is looked at.
    model = small(1, estimator, architecture=network, init="random").fit(walks)
    codes = model.transform(walks)
    assert_array_equal(model.transform(padded), codes)
    assert_array_equal(clone(model).fit(padded).transform(walks), codes)
    alone = np.concatenate([model.transform([walk]) for walk in walks])
    assert_allclose(alone, codes, rtol=1e-6, atol=1e-6)
    errors = model.reconstruction_error(walks, per_feature=True)
    assert_array_equal(np.isnan(errors), np.isnan(padded[:, :n_steps]))
    assert np.isfinite(model.score_samples(walks)).all()
    assert np.isfinite(model.inverse_transform(codes)).all()
