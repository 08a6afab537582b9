"""N-grams against the book, and against deleting and counting again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kneser_ney import as_events, book_of, markov_text
from numpy.testing import assert_allclose, assert_array_equal

from skae.text import KneserNey, MaskedLanguageModel
from skae.text._counting import discounts_of
from skae.text._ngrams import NGrams, left_contexts

tiny = settings(derandomize=True, deadline=None, database=None, max_examples=60)


@st.composite
def corpora(draw):
    """Draw contexts that end anywhere, targets, and the number of tokens."""
    n_tokens, length = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    n = draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    contexts = rng.integers(0, n_tokens + 1, (n, length))
    if draw(st.booleans()):
        contexts[rng.random(contexts.shape) < 0.2] = -1
    targets = rng.integers(0, draw(st.integers(1, n_tokens)), n)
    if draw(st.booleans()):
        contexts[: n // 2], targets[: n // 2] = contexts[0], targets[0]
    return contexts, targets, n_tokens


@given(corpora())
@tiny
def test_probabilities_are_those_of_the_book(corpus):
    contexts, targets, n_tokens = corpus
    grams = NGrams.of(contexts, targets, n_tokens)
    book = book_of(grams, as_events(contexts, targets))
    other = np.random.default_rng(0).integers(-1, n_tokens + 1, (10, contexts.shape[1]))
    asked = np.concatenate([contexts, other])
    expected = [
        [book.prob(context, token) for token in range(n_tokens)]
        for context, _ in as_events(asked, np.zeros(len(asked)))
    ]
    log_probs = grams.log_probs(grams.find(asked))
    assert_allclose(np.exp(log_probs), expected, rtol=1e-12)
    assert_allclose(np.exp(log_probs).sum(1), 1, rtol=1e-12)


@given(corpora())
@tiny
def test_leaving_out_is_deleting_and_counting_again(corpus):
    contexts, targets, n_tokens = corpus
    grams = NGrams.of(contexts, targets, n_tokens)
    events = as_events(contexts, targets)
    found = grams.find(contexts)
    left_out = grams.left_out(found, targets)
    expected = []
    for i, (context, _) in enumerate(events):
        book = book_of(grams, events[:i] + events[i + 1 :])
        expected.append([book.prob(context, token) for token in range(n_tokens)])
    log_probs = grams.log_probs(found, left_out)
    assert_allclose(np.exp(log_probs), expected, rtol=1e-11)
    own = log_probs[np.arange(len(targets)), targets]
    assert_allclose(grams.log_prob(found, targets, left_out), own, rtol=1e-12)


@given(corpora())
@tiny
def test_a_context_that_is_cut_leaves_out_what_was_counted_in_full(corpus):
    contexts, targets, n_tokens = corpus
    grams = NGrams.of(contexts, targets, n_tokens)
    events = as_events(contexts, targets)
    left_out = grams.left_out(grams.find(contexts), targets)
    cut = contexts.copy()
    cut[:, 1:] = -1
    for i, (context, token) in enumerate(events):
        book = book_of(grams, events[:i] + events[i + 1 :])
        own = left_out[i : i + 1]
        found = grams.find(cut[i : i + 1])
        log_prob = grams.log_prob(found, targets[i : i + 1], own)
        assert_allclose(np.exp(log_prob), book.prob(context[:1], token), rtol=1e-11)
        assert_allclose(grams.log_probs(found, own)[0, token], log_prob[0], rtol=1e-11)


def test_a_larger_text_with_large_keys():
    n_tokens = 3_000_000
    tokens, starts = markov_text(3000, 50)
    contexts = left_contexts(tokens, starts, n_tokens, 4)
    grams = NGrams.of(contexts, tokens, n_tokens)
    assert grams.levels[0].grams.dtype == np.int32
    assert grams.levels[-1].grams.dtype == np.int64
    events = as_events(contexts, tokens)
    book = book_of(grams, events)
    expected = [book.prob(*event) for event in events]
    found = grams.find(contexts)
    assert_allclose(np.exp(grams.log_prob(found, tokens)), expected, rtol=1e-11)
    some = np.arange(0, 3000, 300)
    expected = [
        book_of(grams, events[:i] + events[i + 1 :]).prob(*events[i]) for i in some
    ]
    log_prob = grams.log_prob(found, tokens, grams.left_out(found, tokens))
    assert_allclose(np.exp(log_prob[some]), expected, rtol=1e-11)


def test_discounts_are_those_of_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4, 5, 9], [50, 20, 10, 6, 30, 1])
    y = 50 / (50 + 2 * 20)
    expected = [1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10]
    assert_allclose(discounts_of(counts), expected, rtol=1e-14)


@given(st.lists(st.integers(1, 6), max_size=30))
@tiny
def test_discounts_take_something_from_every_count_but_not_all(counts):
    discounts = discounts_of(np.array(counts, dtype=np.int32))
    assert (discounts > 0).all()
    assert (discounts < [1, 2, 3]).all()


def test_evidence_is_the_count_and_the_back_off_weight():
    contexts = np.array([[0], [0], [0], [1], [2]])
    targets = np.array([0, 0, 1, 1, 1])
    grams = NGrams.of(contexts, targets, 2)
    D1, D2, _ = grams.discounts[1]
    found = grams.find(np.array([[0], [1], [-1]]))
    evidence = grams.evidence(found)
    assert_allclose(evidence[:, 1, 0], np.log([1 + 3, 1 + 1, 1]))
    assert_allclose(evidence[:, 1, 1], np.log([(D1 + D2) / 3, D1, 1]))
    # Counted after the empty context: 0 after one context, 1 after three.
    assert_allclose(evidence[:, 0, 0], np.log([5, 5, 5]))
    found = grams.find(contexts)
    evidence = grams.evidence(found, grams.left_out(found, targets))
    assert_allclose(evidence[:, 1, 0], np.log([1 + 2, 1 + 2, 1 + 2, 1, 1]))
    assert_allclose(evidence[:4, 1, 1], np.log([D1, D1, D2 / 2, 1]), atol=1e-15)


def test_the_order_of_the_positions_does_not_matter():
    tokens, starts = markov_text(500, 6)
    contexts = left_contexts(tokens, starts, 6, 3)
    shuffled = np.random.default_rng(0).permutation(500)
    grams = NGrams.of(contexts, tokens, 6)
    again = NGrams.of(contexts[shuffled], tokens[shuffled], 6)
    for level, same in zip(grams.levels, again.levels, strict=True):
        for name, value in vars(level).items():
            assert_array_equal(value, getattr(same, name), err_msg=name)


def test_float32_is_float64_rounded():
    tokens, starts = markov_text(500, 6)
    contexts = left_contexts(tokens, starts, 6, 3)
    grams = NGrams.of(contexts, tokens, 6)
    found = grams.find(contexts)
    single = grams.log_probs(found, dtype=np.float32)
    assert single.dtype == np.float32
    assert_allclose(single, grams.log_probs(found), rtol=1e-6, atol=1e-6)


def test_a_token_that_is_next_to_impossible_has_a_finite_float32():
    contexts = np.zeros((200_000, 8), dtype=np.int32)
    for length in range(8):
        contexts[length::9, length:] = -1  # so that all counts are large
    grams = NGrams.of(contexts, np.zeros(len(contexts), dtype=np.int32), 1000)
    found = grams.find(np.zeros((1, 8), dtype=np.int32))
    exact, rounded = (grams.log_probs(found, dtype=d) for d in (np.float64, np.float32))
    assert exact.min() < np.log(np.finfo(np.float32).tiny)
    assert np.isfinite(exact).all()
    assert np.isfinite(rounded).all()


def test_contexts_of_sequences_end_behind_the_boundary():
    contexts = left_contexts(np.array([5, 6, 7, 8]), np.array([0, 3]), 9, 3)
    expected = [[9, -1, -1], [5, 9, -1], [6, 5, 9], [9, -1, -1]]
    assert_array_equal(contexts, expected)
    starts = np.array([0, 0, 3, 4])  # some are empty
    again = left_contexts(np.array([5, 6, 7, 8]), starts, 9, 3)
    assert_array_equal(again, expected)
    assert left_contexts(np.array([5]), np.array([0]), 9, 4).tolist() == [
        [9, -1, -1, -1]
    ]


@pytest.mark.parametrize("length", [0, 3])
def test_one_token(length):
    contexts = left_contexts(np.array([1]), np.array([0]), 3, length)
    grams = NGrams.of(contexts, np.array([1]), 3)
    found = grams.find(contexts)
    assert grams.log_probs(found).argmax() == 1
    left_out = grams.left_out(found, np.array([1]))
    assert_allclose(np.exp(grams.log_probs(found, left_out)), 1 / 3)


def test_texts_that_are_all_alike():
    tokens, starts = np.tile([0, 1, 2, 1], 50), np.arange(0, 200, 4)
    grams = NGrams.best(left_contexts(tokens, starts, 3, 6), tokens, 3)
    found = grams.find(left_contexts(tokens, starts, 3, grams.order - 1))
    log_probs = grams.log_probs(found, grams.left_out(found, tokens))
    assert (log_probs.argmax(1) == tokens).all()


@pytest.mark.parametrize(("memory", "order"), [(1, 2), (2, 3)])
def test_the_best_order_is_that_of_the_text(memory, order):
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(4, 0.2), 4**memory)
    tokens = [0] * memory
    for u in rng.random(5000):
        state = sum(t * 4**j for j, t in enumerate(tokens[-memory:]))
        tokens.append(int(np.searchsorted(table[state].cumsum()[:-1], u)))
    tokens = np.array(tokens)
    contexts = left_contexts(tokens, np.array([0]), 4, 6)
    grams = NGrams.best(contexts, tokens, 4)
    assert grams.order == order
    same = NGrams.of(contexts[:, : order - 1], tokens, 4)
    for level, expected in zip(grams.levels, same.levels, strict=True):
        for name, value in vars(level).items():
            assert_array_equal(value, getattr(expected, name), err_msg=name)


def test_left_out_tokens_are_as_likely_as_those_of_new_texts():
    tokens, starts = markov_text(20_000, 20)
    contexts = left_contexts(tokens, starts, 20, 3)
    old, new = slice(0, 10_000), slice(10_000, None)
    grams = NGrams.of(contexts[old], tokens[old], 20)
    found = grams.find(contexts)
    fitted = grams.log_prob(found[old], tokens[old]).mean()
    left_out = grams.left_out(found[old], tokens[old])
    expected = grams.log_prob(found[old], tokens[old], left_out).mean()
    held_out = grams.log_prob(found[new], tokens[new]).mean()
    assert abs(expected - held_out) < 0.03
    assert fitted > held_out + 0.1


@pytest.mark.parametrize("n_copies", [1, 15])
def test_copies_choose_the_order_where_new_texts_may_be_copies(n_copies):
    lines = ["the cat sat on the mat", "the dog sat on the cat", "the mat lay on a dog"]
    rng = np.random.RandomState(0)
    once = KneserNey().fit(lines)
    assert KneserNey().fit(lines * 2).order_ == once.order_  # a file, given twice
    often = [lines[i] for i in rng.choice(3, 30, p=[0.6, 0.3, 0.1])]
    model = KneserNey().fit(often * n_copies)
    assert model.order_ > once.order_
    best = max(KneserNey(order=k).fit(often).score(lines) for k in range(1, 8))
    assert KneserNey().fit(often).score(lines) > best - 0.05
    pool = MaskedLanguageModel(max_iter=0, random_state=0).fit(often)
    [[[(token, share), *_]]] = pool.fill_mask(["the cat <mask> on the mat"])
    assert token == "sat"
    assert share > 0.9
