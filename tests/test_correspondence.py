"""Closed forms of texts: against dense algebra, chi-square, and scikit-learn."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2_contingency
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.extmath import svd_flip

from skae.text import TextAutoencoder, _correspondence
from skae.text._correspondence import CorrespondenceAnalysis, LatentSemantics

MODELS = [CorrespondenceAnalysis, LatentSemantics]
both = pytest.mark.parametrize("model", MODELS)


def texts(n=60, n_tokens=20, n_topics=3, length=30, seed=0):
    """Counts of texts that are mixtures of topics, of different lengths."""
    rng = np.random.RandomState(seed)
    topics = rng.dirichlet(np.full(n_tokens, 0.3), n_topics)
    shares = rng.dirichlet(np.full(n_topics, 0.5), n) @ topics
    lengths = rng.poisson(length * rng.uniform(0.2, 2, n)) + 1
    counts = [
        rng.multinomial(m, p) for m, p in zip(lengths, shares / 1.000001, strict=True)
    ]
    return sp.csr_matrix(np.array(counts, dtype=np.float64))


def shares_of(counts):
    """Shares of tokens in each text."""
    return counts.toarray() / counts.toarray().sum(1, keepdims=True)


def textbook(N, k):
    """Greenacre's correspondence analysis: singular values, row and column points."""
    P = N / N.sum()
    r, c = P.sum(1), P.sum(0)
    residuals = (P - np.outer(r, c)) / np.sqrt(np.outer(r, c))
    U, S, Vt = np.linalg.svd(residuals, full_matrices=False)
    U, Vt = svd_flip(U, Vt, u_based_decision=False)
    rows = U[:, :k] * S[:k] / np.sqrt(r)[:, None]
    columns = Vt[:k].T / np.sqrt(c)[:, None]
    return S, rows, columns


@pytest.mark.parametrize("small", [2**20, 0])
@pytest.mark.parametrize("shape", [(60, 20), (15, 40)])
def test_without_smoothing_it_is_textbook_correspondence_analysis(
    monkeypatch, small, shape
):
    monkeypatch.setattr(_correspondence, "SMALL", small)
    counts = texts(*shape)
    counts = counts[:, np.asarray(counts.sum(0)).ravel() > 0]
    N = counts.toarray()
    ca = CorrespondenceAnalysis.of(counts, 4, smoothing=0.0)
    S, rows, columns = textbook(N, 4)
    assert_allclose(ca.codes(counts), rows, atol=1e-9)
    assert_allclose(ca.slopes, columns, atol=1e-9)
    assert_allclose(ca.explained_variance, S[:4] ** 2)
    chi2 = chi2_contingency(N, correction=False).statistic
    assert_allclose(ca.total_variance, chi2 / N.sum())
    assert_allclose(
        ca.explained_variance_ratio.sum(), (S[:4] ** 2).sum() / (S**2).sum()
    )


def test_all_components_reconstitute_the_table():
    counts = texts()
    ca = CorrespondenceAnalysis.of(counts, 20, smoothing=0.0)
    codes = ca.codes(counts)
    shares = shares_of(counts)
    assert_allclose(ca.shares * (1 + codes @ ca.slopes.T), shares, atol=1e-12)
    floored = np.maximum(shares, 0.1 * ca.shares)
    expected = floored / floored.sum(1, keepdims=True)
    assert_allclose(np.exp(ca.log_probs(codes)), expected, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 1e-1])
def test_smoothing_is_principal_component_analysis_of_shares_in_another_metric(
    smoothing,
):
    """An oracle by the eigenvectors of a V x V matrix."""
    counts = texts()
    ca = CorrespondenceAnalysis.of(counts, 3, smoothing=smoothing)
    mass = np.asarray(counts.sum(1)).ravel() / counts.sum()
    shares = shares_of(counts)
    centred = shares - mass @ shares
    root = np.sqrt(mass @ shares + smoothing)
    variances, axes = np.linalg.eigh((mass * (centred / root).T) @ (centred / root))
    axes = axes[:, ::-1][:, :3]
    axes *= np.sign(axes[np.abs(axes).argmax(0), range(3)])
    codes = centred / root @ axes
    assert_allclose(ca.codes(counts), codes, atol=1e-9)
    assert_allclose(ca.explained_variance, variances[::-1][:3])
    assert_allclose(ca.total_variance, variances.sum())
    # The decoder is the regression of the shares on the codes.
    slopes = np.linalg.lstsq(
        np.sqrt(mass)[:, None] * codes, np.sqrt(mass)[:, None] * centred, rcond=None
    )[0]
    assert_allclose(ca.slopes, slopes.T / ca.shares[:, None], atol=1e-9)


def test_codes_are_uncorrelated_and_centred_where_texts_count_by_length():
    counts = texts()
    ca = CorrespondenceAnalysis.of(counts, 3)
    mass = np.asarray(counts.sum(1)).ravel() / counts.sum()
    codes = ca.codes(counts)
    assert_allclose(mass @ codes, 0, atol=1e-12)
    covariance = (mass * codes.T) @ codes
    assert_allclose(covariance, np.diag(ca.explained_variance), atol=1e-12)


def test_blocks_that_share_no_token_are_told_apart_perfectly():
    blocks = [texts(10, 5, seed=seed) for seed in range(4)]
    counts = sp.block_diag(blocks, format="csr")
    ca = CorrespondenceAnalysis.of(counts, 4, smoothing=0.0)
    assert_allclose(ca.explained_variance[:3], 1)
    assert ca.explained_variance[3] < 0.99
    codes = ca.codes(counts)[:, :3].reshape(4, 10, 3)
    assert_allclose(codes - codes[:, :1], 0, atol=1e-7)  # one point for each block
    assert np.linalg.matrix_rank(codes[:, 0]) == 3


@pytest.mark.parametrize("k", [1, 5, 20])
def test_latent_semantics_are_scikit_learns(k):
    counts = texts(200, 40)
    pipeline = make_pipeline(TfidfTransformer(), TruncatedSVD(k, random_state=3))
    expected = pipeline.fit_transform(counts)
    lsa = LatentSemantics.of(counts, k, seed=3)
    assert_allclose(lsa.codes(counts), pipeline.transform(counts), atol=1e-10)
    others = texts(50, 40, seed=1)
    assert_allclose(lsa.codes(others), pipeline.transform(others), atol=1e-10)
    svd = pipeline[-1]
    assert_allclose(lsa.explained_variance, expected.var(0))
    assert_allclose(lsa.explained_variance, svd.explained_variance_, rtol=1e-6)
    ratio = svd.explained_variance_ratio_
    assert_allclose(lsa.explained_variance_ratio, ratio, rtol=1e-6)


def test_the_decoder_of_latent_semantics_is_a_shrunk_regression():
    counts = texts()
    lsa = LatentSemantics.of(counts, 3)
    codes, total = lsa.codes(counts), counts.sum()
    regression = LinearRegression().fit(
        codes, shares_of(counts), sample_weight=np.asarray(counts.sum(1)).ravel()
    )
    seen = np.asarray(counts.sum(0)).ravel()
    assert_allclose(lsa.shares, seen / total)
    expected = regression.coef_ * total / (seen + 10)[:, None]
    assert_allclose(lsa.slopes, expected, atol=1e-9)
    # Where it was not shrunk, shares at the mean code would be those of all texts.
    at_mean = regression.predict(lsa.mean[None])[0]
    assert_allclose(at_mean, lsa.shares, atol=1e-12)
    assert_allclose(np.exp(lsa.log_probs(lsa.mean[None]))[0], lsa.shares)


@both
def test_weights_of_tokens_are_those_of_an_embedding_bag(model):
    counts = texts()
    found = model.of(counts, 3)
    rows, columns = counts.nonzero()
    n_each = np.asarray(counts[rows, columns]).ravel().astype(int)
    tokens = torch.from_numpy(np.repeat(columns, n_each))
    lengths = np.asarray(counts.sum(1)).ravel().astype(int)
    starts = torch.from_numpy(np.r_[0, lengths.cumsum()[:-1]])
    weights = torch.from_numpy(found.token_weights)
    bag = torch.nn.EmbeddingBag.from_pretrained(weights, mode="sum")
    norms = np.repeat(1 / found.norms(counts), lengths)
    codes = bag(tokens, starts, per_sample_weights=torch.from_numpy(norms))
    assert_allclose(codes.numpy(), found.codes(counts), atol=1e-12)


@both
def test_probabilities_sum_to_one_and_give_the_likelihood(monkeypatch, model):
    counts = texts()
    found = model.of(counts, 4)
    codes = found.codes(counts)
    codes[::7] *= 50  # far from all texts
    log_probs = found.log_probs(codes)
    assert_allclose(np.exp(log_probs).sum(1), 1)
    expected = [
        np.log([p[w] for w, m in enumerate(row) for _ in range(int(m))]).sum()
        for row, p in zip(counts.toarray(), np.exp(log_probs), strict=True)
    ]
    assert_allclose(found.log_likelihood(counts, codes), expected)
    monkeypatch.setattr(_correspondence, "BLOCK_NUMBERS", 100)
    assert_allclose(found.log_likelihood(counts, codes), expected)


@both
def test_texts_are_likelier_given_their_codes(model):
    counts, others = texts(300), texts(300)[:100]
    found = model.of(counts[100:], 3)
    given = found.log_likelihood(others, found.codes(others)).sum()
    independent = (others @ np.log(found.shares)).sum()
    shuffled = found.codes(others)[::-1]
    assert given > independent + 0.1 * others.sum()
    assert given > found.log_likelihood(others, shuffled).sum()


@both
def test_a_weight_of_two_is_a_text_given_twice(model):
    counts = texts(100, 10)
    weight = np.random.RandomState(0).randint(0, 4, 100)
    repeated = counts[np.repeat(np.arange(100), weight)]
    weighted, expected = model.of(counts, 3, weight * 1.0), model.of(repeated, 3)
    for name, value in vars(weighted).items():
        assert_allclose(value, getattr(expected, name), rtol=1e-6, atol=1e-9)


@both
def test_equal_weights_change_nothing(model):
    counts = texts()
    expected = model.of(counts, 3).codes(counts)
    weighted = model.of(counts, 3, np.ones(60)).codes(counts)
    assert_allclose(weighted, expected, atol=1e-12)


def test_a_large_table_is_decomposed_without_making_it_dense():
    rng = np.random.RandomState(0)
    columns = rng.zipf(1.3, 60_000) % 50_000
    ones, rows = np.ones(60_000), np.repeat(np.arange(3000), 20)
    counts = sp.csr_matrix((ones, (rows, columns)), shape=(3000, 50_000))
    tracemalloc.start()
    ca = CorrespondenceAnalysis.of(counts, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 50_000 * 8 / 20
    again = CorrespondenceAnalysis.of(counts, 3, seed=1)  # converged, signs too
    assert_allclose(ca.codes(counts), again.codes(counts), atol=1e-6)


def test_two_tokens_of_equal_texts_have_no_variance_to_share():
    for text in ("aac", "bccc", "bbcb"):
        model = TextAutoencoder(
            2, analyzer="char", start="lsa", max_iter=0, random_state=7
        )
        codes = model.fit([text] * 20).transform([text])
        assert np.isfinite(codes).all()


@pytest.mark.parametrize("small", [2**20, 0])
@both
def test_texts_that_are_all_equal_have_the_shares_of_all(monkeypatch, model, small):
    monkeypatch.setattr(_correspondence, "SMALL", small)
    counts = sp.csr_matrix(np.tile([4.0, 1.0, 2.0], (5, 1)))
    found = model.of(counts, 2)
    assert_allclose(found.explained_variance, 0, atol=1e-15)
    assert_allclose(
        np.exp(found.log_probs(found.codes(counts)))[3], counts[3].toarray()[0] / 7
    )


@both
def test_texts_without_a_known_token_have_code_zero(model):
    counts = texts()
    empty = sp.csr_matrix((2, 20))
    found = model.of(sp.vstack([counts, empty], format="csr"), 3)
    assert_array_equal(found.codes(empty), 0)
    assert_array_equal(found.log_likelihood(empty, found.codes(empty)), 0)
    if model is CorrespondenceAnalysis:  # idf counts them
        expected = model.of(counts, 3)
        assert_allclose(found.codes(counts), expected.codes(counts), atol=1e-12)
        assert_allclose(np.exp(found.log_probs(np.zeros((1, 3))))[0], found.shares)


@both
def test_tokens_that_were_never_seen_count_as_half_a_one(model):
    counts = texts(n_tokens=20)
    wider = sp.hstack([counts, sp.csr_matrix((60, 3))], format="csr")
    found, expected = model.of(wider, 3), model.of(counts, 3)
    assert_allclose(found.shares[20:], 0.5 / (counts.sum() + 1.5))
    assert_allclose(found.slopes[20:], 0, atol=1e-9)
    if model is CorrespondenceAnalysis:
        assert_allclose(found.codes(wider), expected.codes(counts), atol=1e-9)
        plain = model.of(wider, 3, smoothing=0.0)
        assert np.isfinite(plain.log_probs(plain.codes(wider))).all()


@both
def test_one_token(model):
    counts = sp.csr_matrix([[3.0], [1.0]])
    found = model.of(counts, 1)
    assert_array_equal(found.log_probs(found.codes(counts)), 0)
    assert_allclose(found.explained_variance, 0, atol=1e-15)
    assert_allclose(found.explained_variance_ratio, 0, atol=1e-15)


@both
def test_fewer_texts_than_codes_leave_some_at_zero(model):
    counts = texts(3, 20)
    found = model.of(counts, 8)
    codes = found.codes(counts)
    assert codes.shape == (3, 8)
    rank = 2 if model is CorrespondenceAnalysis else 3
    assert np.linalg.matrix_rank(codes) == rank
    assert_array_equal(codes[:, rank:], 0)
    assert np.isfinite(found.log_probs(codes)).all()


@both
def test_more_codes_than_tokens_are_refused(model):
    with pytest.raises(ValueError, match=r"n_components=21 .* distinct tokens, 20"):
        model.of(texts(n_tokens=20), 21)


@both
def test_texts_without_any_token_are_refused(model):
    with pytest.raises(ValueError, match="No text of X has a token"):
        model.of(sp.csr_matrix((3, 4)), 2)
    with pytest.raises(ValueError, match="No text of X has a token"):
        model.of(texts(3, 4), 2, np.zeros(3))
