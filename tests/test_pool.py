"""The pool of n-grams: its contexts, its exponents, and its distributions."""

import numpy as np
import pytest
from kneser_ney import as_events, book_of, markov_text
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_softmax

from skae.text._exponents import RIDGE, Trials, best_of
from skae.text._ngrams import NGrams, left_contexts
from skae.text._pool import Pool, Reach, families


def pool_of(tokens, starts, n_tokens, reaches, exponents):
    """Return a pool of given experts."""
    everywhere = np.arange(len(tokens))
    experts = tuple(
        NGrams.of(r.contexts(tokens, starts, n_tokens, everywhere), tokens, n_tokens)
        for r in reaches
    )
    return Pool(n_tokens, tuple(reaches), experts, np.asarray(exponents))


def random_trials(n=40, n_rivals=7, n_experts=3, seed=0):
    """Return what experts say that know something."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, n_rivals, n_experts))
    targets = rng.integers(0, n_rivals, n)
    logits[np.arange(n), targets] += [1.0, 0.5, 0.0][:n_experts]
    said = log_softmax(logits, axis=1)
    return Trials(said[np.arange(n), targets], said, np.zeros((n, n_rivals)))


# Contexts


def test_contexts_of_one_side():
    tokens, starts = markov_text(200, 7)
    everywhere = np.arange(200)
    left = Reach.left(3).contexts(tokens, starts, 7, everywhere)
    assert_array_equal(left, left_contexts(tokens, starts, 7, 3))
    right = Reach.left(3).mirrored.contexts(tokens, starts, 7, everywhere)
    backwards = np.sort(200 - np.append(starts[1:], 200))
    expected = left_contexts(tokens[::-1], backwards, 7, 3)[::-1]
    assert_array_equal(right, expected)


def test_contexts_of_both_sides_go_on_where_one_of_them_ends():
    tokens, starts = np.array([5, 0, 1, 2, 3, 4, 6]), np.array([0, 1, 6])
    reach = Reach.both(5)
    contexts = reach.contexts(tokens, starts, 9, np.array([2, 3, 5, 0]))
    # Of the sequence 0 1 2 3 4 at 1, 2 and 4, and of one token.
    expected = [[0, 2, 9, 3, 4], [1, 3, 0, 4, 9], [3, 9, 2, 1, 0], [9, 9, -1, -1, -1]]
    assert_array_equal(contexts, expected)
    mirrored = reach.mirrored.contexts(tokens, starts, 9, np.array([3]))
    assert_array_equal(mirrored, [[3, 1, 4, 0, 9]])


def test_one_token_at_a_distance():
    tokens, starts = np.array([5, 6, 7, 8, 0]), np.array([0, 4])
    at = np.arange(5)
    before = Reach((-2,), 1).contexts(tokens, starts, 9, at)
    assert_array_equal(before.ravel(), [-1, 9, 5, 6, -1])
    after = Reach((2,), 1).contexts(tokens, starts, 9, at)
    assert_array_equal(after.ravel(), [7, 8, 9, -1, -1])


def test_contexts_end_where_a_token_is_masked():
    tokens, starts = markov_text(100, 7)
    masked = np.random.default_rng(0).random(100) < 0.3
    for reach in families(4)[-1]:
        pool = pool_of(tokens, starts, 7, [reach], [1.0])
        found = pool.find(
            np.where(masked, 3, tokens), starts, np.flatnonzero(masked), masked
        ).contexts[0]
        same = pool.find(tokens, starts, np.flatnonzero(masked), masked).contexts[0]
        assert_array_equal(found, same)  # what is masked does not matter
        visible = reach.contexts(
            np.where(masked, -1, tokens), starts, 7, np.flatnonzero(masked)
        )
        goes_on = np.logical_and.accumulate(visible >= 0, axis=1)
        assert_array_equal(found[:, 1:] >= 0, goes_on, err_msg=str(reach))


# Exponents


def test_derivatives_are_finite_differences():
    trials = random_trials()
    exponents = np.array([0.7, -0.4, 0.2])
    log_prob, gradient, information = trials.moments(exponents)
    assert_allclose(
        np.exp(log_prob),
        np.exp(trials.of_targets @ exponents)
        / np.exp(trials.of_rivals @ exponents).sum(1),
    )

    def total(e):
        return trials.log_prob(e).sum()

    def slope(e):
        return trials.moments(e)[1]

    assert_allclose(approx_fprime(exponents, total, 1e-7), gradient, rtol=1e-5)
    assert_allclose(-approx_fprime(exponents, slope, 1e-7), information, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_exponents_are_those_of_maximum_likelihood(seed):
    trials = random_trials(seed=seed)

    def loss(e):
        return 0.5 * RIDGE * e @ e - trials.log_prob(e).sum()

    exponents = trials.exponents()
    assert_allclose(approx_fprime(exponents, loss, 1e-6), 0, atol=1e-3)
    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6})
    assert_allclose(exponents, best.x, atol=1e-3)


def test_exponents_are_found_where_experts_are_sure():
    trials = random_trials(200)
    sure = Trials(50 * trials.of_targets, 50 * trials.of_rivals, trials.log_weight)
    exponents = sure.exponents()
    gradient = sure.moments(exponents)[1] - RIDGE * exponents
    assert_allclose(gradient, 0, atol=1e-3)


def test_rivals_that_stand_for_others_stand_for_all_of_them():
    tokens, starts = markov_text(5000, 2000)
    reaches = families(2)[-1][:5]
    pool = pool_of(tokens, starts, 2000, reaches, [-0.5, 0.6, 0.6, 0.3, 0.3])
    masked = np.zeros(5000, dtype=bool)
    masked[::250] = True
    found = pool.find(tokens, starts, np.flatnonzero(masked), masked, left_out=True)
    exact = pool.log_prob(found, tokens[masked])
    rng = np.random.default_rng(0)
    drawn = [pool._said(found, tokens[masked], rng) for _ in range(100)]
    assert drawn[0].log_weight.shape == (20, 512)
    sampled = [trials.log_prob(pool.exponents) for trials in drawn]
    # The sum over all tokens is without bias.
    ratio = np.exp(exact - sampled)
    error = ratio.std(0) / np.sqrt(len(ratio))
    assert error.max() < 0.02
    assert (abs(ratio.mean(0) - 1) < 4 * error + 1e-6).all()


def test_the_pool_is_no_worse_than_an_expert_on_the_rows_that_choose():
    for seed in range(30):
        choosing = random_trials(1 + seed, seed=seed)
        fitting = random_trials(10, seed=100 + seed)
        pools = [[0, 1], [0, 1, 2]]
        pools = [(pool, fitting.of(pool).exponents()) for pool in pools]
        members, exponents = best_of(choosing, pools)
        chosen = choosing.of(members).log_prob(exponents).sum()
        assert chosen >= choosing.of_targets.sum(0).max() - 1e-9


def test_more_experts_have_to_say_more():
    trials = random_trials(2000)
    nearly = np.array([1e-9, 0.0, 1.0])
    members, _ = best_of(trials, [([0, 1, 2], nearly), ([2], np.ones(1))])
    assert members == [0]
    fitting = random_trials(2000, seed=1)
    pools = [[0, 1], [0, 1, 2]]  # the last expert knows nothing
    pools = [(pool, fitting.of(pool).exponents()) for pool in pools]
    members, _ = best_of(trials, pools)
    assert members == [0, 1]


# Distributions


@pytest.fixture(scope="module")
def text():
    """Return tokens that depend on the one before, and on the one after."""
    return markov_text(4000, 12)


@pytest.fixture(scope="module")
def pool(text):
    return Pool.of(*text, 12, mask_fraction=0.15, seed=0)


def test_a_pool_is_better_than_its_experts(text, pool):
    tokens, starts = markov_text(6000, 12)
    new = starts >= 4000
    tokens, starts = tokens[starts[new][0] :], starts[new] - starts[new][0]
    masked = np.random.default_rng(1).random(len(tokens)) < 0.15
    found = pool.find(tokens, starts, np.flatnonzero(masked), masked)
    targets = tokens[masked]
    pooled = pool.log_prob(found, targets).mean()
    each = zip(pool.experts, found.contexts, strict=True)
    alone = [grams.log_prob(ids, targets).mean() for grams, ids in each]
    assert len(pool.experts) > 1
    assert pooled > max(alone) + 0.1


@pytest.mark.parametrize("left_out", [False, True])
def test_probabilities_are_normalised(text, pool, left_out):
    masked = np.random.default_rng(1).random(4000) < 0.15
    found = pool.find(*text, np.flatnonzero(masked), masked, left_out=left_out)
    log_probs = pool.log_probs(found)
    assert_allclose(np.exp(log_probs).sum(1), 1, rtol=1e-10)
    targets = text[0][masked]
    own = log_probs[np.arange(len(targets)), targets]
    assert_allclose(pool.log_prob(found, targets), own, rtol=1e-12)
    single = pool.log_probs(found, np.float32)
    assert single.dtype == np.float32
    assert_allclose(single, log_probs, rtol=1e-5, atol=1e-5)
    some = np.array([3, 0, 7])
    assert_allclose(pool.log_probs(found[some]), log_probs[some], rtol=1e-12)


def test_a_pool_of_one_expert_is_this_expert():
    tokens, starts = markov_text(300, 6)
    masked = np.random.default_rng(0).random(300) < 0.15
    for reach in families(3)[-1]:
        pool = pool_of(tokens, starts, 6, [reach], [1.0])
        found = pool.find(tokens, starts, np.flatnonzero(masked), masked, left_out=True)
        expert = pool.experts[0].log_probs(found.contexts[0], found.left_out[0])
        assert_allclose(pool.log_probs(found), expert, rtol=1e-12)
        evidence = pool.experts[0].evidence(found.contexts[0], found.left_out[0])
        assert_array_equal(pool.evidence(found), evidence)


@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_is_deleting_and_counting_again(seed):
    tokens, starts = markov_text(30, 4, seed)
    reaches = families(3)[-1][:7]
    exponents = np.array([-0.5, 0.9, 0.8, 0.3, 0.4, 0.1, 0.2])
    pool = pool_of(tokens, starts, 4, reaches, exponents)
    masked = np.random.default_rng(seed).random(30) < 0.3
    at = np.flatnonzero(masked)
    found = pool.find(tokens, starts, np.flatnonzero(masked), masked, left_out=True)
    visible = np.where(masked, -1, tokens)
    expected = np.zeros((len(at), 4))
    for exponent, reach, grams in zip(exponents, reaches, pool.experts, strict=True):
        full = reach.contexts(tokens, starts, 4, np.arange(30))
        counted = as_events(full, tokens)
        asked = as_events(reach.contexts(visible, starts, 4, at), tokens[at])
        for row, (i, (context, _)) in enumerate(zip(at, asked, strict=True)):
            book = book_of(grams, counted[:i] + counted[i + 1 :])
            p = [book.prob(context, token) for token in range(4)]
            expected[row] += exponent * np.log(p)
    expected = log_softmax(expected, axis=1)
    assert_allclose(pool.log_probs(found), expected, rtol=1e-9)


def test_the_same_seed_is_the_same_pool(text, pool):
    again = Pool.of(*text, 12, mask_fraction=0.15, seed=0)
    assert again.reaches == pool.reaches
    assert_array_equal(again.exponents, pool.exponents)


@pytest.mark.parametrize("tokens", [[0], [0, 0, 0], [0, 1], [2, 1, 0, 1, 2, 0, 1]])
@pytest.mark.parametrize("n_tokens", [3, 600])
def test_tiny_texts(tokens, n_tokens):
    tokens, starts = np.array(tokens), np.array([0])
    pool = Pool.of(tokens, starts, n_tokens, mask_fraction=0.15, seed=0)
    masked = np.ones(len(tokens), dtype=bool)
    for left_out in (False, True):
        found = pool.find(
            tokens, starts, np.flatnonzero(masked), masked, left_out=left_out
        )
        assert_allclose(np.exp(pool.log_probs(found)).sum(1), 1, rtol=1e-10)


def test_a_vocabulary_of_one():
    tokens, starts = np.zeros(50, dtype=int), np.array([0, 20])
    pool = Pool.of(tokens, starts, 1, mask_fraction=0.15, seed=0)
    found = pool.find(tokens, starts, np.arange(50), np.ones(50, dtype=bool))
    assert_allclose(pool.log_probs(found), 0, atol=1e-12)


def test_nothing_is_masked(text, pool):
    found = pool.find(*text, np.arange(0), np.zeros(4000, dtype=bool))
    assert pool.log_probs(found).shape == (0, 12)
    assert pool.log_prob(found, np.zeros(0, dtype=int)).shape == (0,)
