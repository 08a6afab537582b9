"""Texts as token numbers, against scikit-learn's CountVectorizer and by hand."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

import skae
from skae.text import KneserNey
from skae.text._dataset import Pieces, TokenDataset
from skae.text._tokens import TokenSequences, Vocabulary

WORDS = r"(?u)\b\w\w+\b"
TEXTS = ["The cat sat on the mat.", "A dog!", "", "the DOG and the cat"]


def vocabulary(analyzer="word", **changes):
    how = {"lowercase": True, "token_pattern": WORDS, "max_features": None, "min_df": 1}
    return Vocabulary(analyzer=analyzer, **{**how, **changes})


@pytest.mark.parametrize("analyzer", ["word", "char"])
@pytest.mark.parametrize("changes", [{}, {"min_df": 2}, {"max_features": 3}])
@pytest.mark.parametrize("lowercase", [True, False])
def test_counts_are_those_of_count_vectorizer(analyzer, changes, lowercase):
    changes = {**changes, "lowercase": lowercase}
    counter = CountVectorizer(analyzer=analyzer, **changes)
    expected = counter.fit_transform(TEXTS).toarray()
    ours = vocabulary(analyzer, **changes)
    counts = ours.fit_encode(TEXTS).counts().toarray()
    assert ours.tokens == counter.get_feature_names_out().tolist()
    np.testing.assert_array_equal(counts, expected)


def test_a_text_is_its_tokens_and_an_end():
    ours = vocabulary()
    sequences = ours.fit_encode(["b", "bb aa bb", "", "aa"])
    assert ours.tokens == ["aa", "bb"]
    assert sequences.end == 3
    assert sequences.tokens.tolist() == [3, 1, 0, 1, 3, 3, 0, 3]
    assert sequences.starts.tolist() == [0, 1, 5, 6]
    assert sequences.lengths.tolist() == [1, 4, 1, 2]
    assert sequences.take(np.array([3, 1])).tokens.tolist() == [0, 3, 1, 0, 1, 3]
    assert sequences.sums(np.ones(8)).tolist() == [1, 4, 1, 2]


def test_a_token_that_was_not_seen_is_the_unknown_one():
    ours = vocabulary()
    ours.fit_encode(["aa bb"])
    sequences = ours.encode(["aa cc"])
    assert sequences.tokens.tolist() == [0, sequences.unknown, sequences.end]
    assert ours.decode([np.array([0, 2, 1])]) == ["aa <unk> bb"]


@pytest.mark.parametrize(
    "X",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, index=[7, 7, 1, 0]),
        pl.Series(TEXTS),
        iter(TEXTS),
    ],
    ids=["tuple", "array", "objects", "pandas", "polars", "iterator"],
)
def test_any_list_of_strings_will_do(X):
    expected = vocabulary().fit_encode(TEXTS)
    sequences = vocabulary().fit_encode(X)
    np.testing.assert_array_equal(sequences.tokens, expected.tokens)
    np.testing.assert_array_equal(sequences.starts, expected.starts)


@pytest.mark.parametrize(
    "as_given", [np.asarray, torch.tensor], ids=["array", "tensor"]
)
def test_integers_are_padded_tokens(as_given):
    padded = as_given([[5, 3, -1, -1], [3, 3, 9, -1], [-1, -1, -1, -1]])
    ours = vocabulary()
    sequences = ours.fit_encode(padded)
    assert ours.tokens == [3, 5, 9]
    assert sequences.tokens.tolist() == [1, 0, 4, 0, 0, 2, 4, 4]
    back = ours.decode([np.array([1, 0]), np.array([2])])
    assert back.tolist() == [[5, 3], [9, -1]]
    ragged = ours.encode([[5, 3], [7]])
    assert ragged.tokens.tolist() == [1, 0, 4, 3, 4]


@pytest.mark.parametrize("as_given", [list, np.array], ids=["list", "array"])
def test_the_largest_integer_comes_back(as_given):
    ours = vocabulary()
    largest = np.uint64(2**63 - 1)
    sequences = ours.fit_encode(as_given([[largest, np.uint64(0)]]))
    assert ours.decode([sequences.tokens[:-1]]).tolist() == [[2**63 - 1, 0]]


def test_what_is_advised_for_a_frame_of_integers_is_taken():
    frame = pd.DataFrame({"first": [5, 3], "second": [3, -1]})
    assert vocabulary().fit_encode(frame.to_numpy()).lengths.tolist() == [3, 2]


def test_lists_of_tokens_are_taken_as_they_are():
    ours = vocabulary()
    sequences = ours.fit_encode([["B", "a b"], [], ["B"]])
    assert ours.tokens == ["B", "a b"]
    assert sequences.tokens.tolist() == [0, 1, 3, 3, 0, 3]
    assert ours.decode([np.array([1, 0])]) == [["a b", "B"]]


@pytest.mark.parametrize("lists", [[["B", "a b"], [], ["B"]], [[5, 3], [], [5]]])
@pytest.mark.parametrize("as_given", [pl.Series, pd.Series], ids=["polars", "pandas"])
def test_a_series_of_lists_is_a_list_of_them(as_given, lists):
    ours, expected = vocabulary(), vocabulary()
    sequences = ours.fit_encode(as_given(lists))
    assert sequences.tokens.tolist() == expected.fit_encode(lists).tokens.tolist()
    assert ours.tokens == expected.tokens
    assert ours.kind == expected.kind
    assert vocabulary(list).fit_encode(as_given(lists)).lengths.tolist() == [3, 1, 2]


def test_lists_of_fixed_lengths_are_lists():
    pairs = pl.Series([["a", "b"], ["b", "a"]], dtype=pl.Array(pl.String, 2))
    assert vocabulary().fit_encode(pairs).tokens.tolist() == [0, 1, 3, 1, 0, 3]


@pytest.mark.parametrize("text", ["In the beginning", "naïve\tcafé ☕", ""])
def test_byte_pairs_give_any_text_back(text):
    ours = vocabulary("bpe", lowercase=False, max_features=300)
    ours.fit_encode(["in the beginning was the word"] * 3)
    assert len(ours.tokens) <= 300
    sequences = ours.encode([text])
    assert sequences.unknown not in sequences.tokens
    assert ours.decode([sequences.tokens[:-1]]) == [text]


def test_characters_have_one_blank_for_white_space_and_lists_of_them_have_all():
    text = "a \n\n b"
    for analyzer, expected in (("char", "a b"), (list, text)):
        ours = vocabulary(analyzer)
        tokens = ours.fit_encode([text]).tokens[:-1]
        assert "".join(ours.tokens[i] for i in tokens) == expected


def test_without_the_extra_byte_pairs_name_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"skae\[tokenizers\]"):
        vocabulary("bpe").fit_encode(["a text"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"max_features": 100}, "max_features=100"), ({"min_df": 2}, "min_df=2")],
)
def test_byte_pairs_have_no_use_for_some_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        vocabulary("bpe", **changes).fit_encode(["a text"])


def test_masks_are_found_in_texts_and_integers():
    ours = vocabulary()
    ours.fit_encode(["aa bb"])
    sequences = ours.encode(["AA <mask> bb<mask>"], masks=True)
    mask = sequences.mask
    assert sequences.tokens.tolist() == [0, mask, 1, mask, sequences.end]
    numbers = vocabulary()
    numbers.fit_encode(np.array([[4, 8]]))
    masked = numbers.encode(np.array([[-2, 8]]), masks=True)
    assert masked.tokens.tolist() == [masked.mask, 1, masked.end]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_pattern": "("}, "token_pattern='[(]' is no regular expression"),
        ({"token_pattern": "zz"}, "no token in any .* with token_pattern='zz'"),
        ({"analyzer": len}, "analyzer returned 6 .int. for text 0 of X"),
        ({"analyzer": lambda t: [1, "a"]}, r"tokens 1 \(int\) and 'a' \(str\): all"),
        ({"analyzer": lambda t: [None, None, 1j]}, r"None \(NoneType\) and 1j"),
        ({"analyzer": lambda t: [[1]]}, r"returned \[\[1\]\] for text 0 of X: tokens"),
        ({"token_pattern": "(a)(b)"}, r"token_pattern='\(a\)\(b\)' has several groups"),
    ],
)
def test_what_splits_no_text_is_named(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        vocabulary(**changes).fit_encode(["a text"])


def test_an_analyzer_may_return_any_tokens_that_have_an_order():
    ours = vocabulary(lambda text: iter([(text, 2), (text, 1)]))
    assert ours.fit_encode(["ab"]).tokens.tolist() == [1, 0, 3]
    with pytest.raises(TypeError, match=r"returned \[\(\[\], 2\).* for text 1 of X"):
        ours.encode(["ab", []])


NO_TEXTS = {
    "one string": ("a text", "'a text', one str"),
    "bytes": (b"a text", "one bytes"),
    "None": (None, "X is None"),
    "sparse": (csr_matrix((2, 2)), "X is sparse"),
    "frame": (pd.DataFrame({"text": TEXTS}), r'X\["text"\]'),
    "frame of integers": (pd.DataFrame({"a": [1], "b": [-1]}), r"use X.to_numpy\(\)\."),
    "polars frame of integers": (pl.DataFrame({"a": [1]}), r"use X.to_numpy\(\)\."),
    "frame of both": (pl.DataFrame({"a": [1], "b": ["text"]}), r'X\["text"\]'),
    "empty frame": (pl.DataFrame(), r'X\["text"\]'),
    "a number": (["a", 1.5], r"Text 1 of X is 1.5 \(float\).* a string"),
    "missing": (["a", None], r"Text 1 of X is None"),
    "bytes among strings": (["a", b"b"], r"Text 1 of X is b'b' \(bytes\)"),
    "numbers": ([1, 2], r"Text 0 of X is 1 \(int\)"),
    "nothing": ([], "X has no text"),
    "no tokens": (["", " . "], "no token in any of its 2 texts"),
    "mixed tokens": ([["a", 1]], r"Text 0 of X has the token 1 \(int\)"),
    "mixed integers": ([[1], ["a"]], r"Text 1 of X has the token 'a'"),
    "floats": (np.ones((2, 2)), "shape .2, 2. and type float64"),
    "padding inside": (np.array([[1, -1, 2]]), "X has -1 in row 0, column 1"),
    "negative": (np.array([[1, -3]]), "X has -3 in row 0, column 1"),
    "nothing in a series": (pl.Series([["a"], None]), r"Text 1 of X is None"),
    "several lines": ([pl.Series([1, 2])], r"Text 0 of X is shape: [^\n]*\(Series\)"),
    "large integers": ([[1, 2**63]], "token 9223372036854775808 .* 0 to 2[*]{2}63 - 1"),
    "large array": (
        np.array([[1, 2**63]], dtype=np.uint64),
        "9223372036854775808 in row 0, column 1: use integers from 0 to 2[*]{2}63 - 1",
    ),
    "largest array": (
        np.array([[2**64 - 1, 1]], dtype=np.uint64),
        "18446744073709551615 in row 0, column 0: use integers from 0 to",
    ),
    "string and list": (["a", ["b"]], r"Text 1 of X is \['b'\] \(list\)"),
}


@pytest.mark.parametrize(("X", "message"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_text_is_named(X, message):
    with pytest.raises((ValueError, TypeError), match=message):
        vocabulary().fit_encode(X)


def test_texts_of_another_kind_are_an_error():
    ours = vocabulary()
    ours.fit_encode(["aa bb"])
    with pytest.raises(ValueError, match="lists of tokens, but strings were seen"):
        ours.encode([["aa"]])


def test_hashes_are_equal_for_equal_texts_only():
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 3, rng.integers(1, 7)) for _ in range(3000)]
    lengths = np.array([len(text) for text in texts])
    starts = np.cumsum(lengths) - lengths
    sequences = TokenSequences(np.concatenate(texts).astype(np.int32), starts, 5)
    groups = {}
    for text, value in zip(texts, sequences.hashes().tolist(), strict=True):
        groups.setdefault(value, set()).add(text.tobytes())
    assert all(len(group) == 1 for group in groups.values())
    assert len(groups) == len({text.tobytes() for text in texts})


@pytest.mark.parametrize("max_length", [2, 3, 7, 100])
@pytest.mark.parametrize("causal", [False, True])
def test_pieces_have_every_token_once(max_length, causal):
    sequences = vocabulary("char").fit_encode(["abcdefg", "", "ab", "a" * 30])
    pieces = Pieces.of(sequences, max_length, causal=causal)
    assert pieces.lengths.max() <= max_length
    assert pieces.lengths.min() >= 1
    places = pieces.places(np.arange(len(pieces)))
    np.testing.assert_array_equal(places, np.arange(len(sequences.tokens)))
    np.testing.assert_array_equal(sequences.texts[pieces.starts], pieces.text)
    n_pieces = np.bincount(pieces.text)
    np.testing.assert_array_equal(n_pieces, -(-sequences.lengths // max_length))


def test_an_epoch_has_every_row_once_and_alike_rows_together():
    rng = np.random.default_rng(0)
    texts = ["a" * n for n in rng.integers(1, 60, 500)]
    sequences = vocabulary("char").fit_encode(texts)
    pieces = Pieces.of(sequences, 64)
    dataset = TokenDataset(sequences, pieces, 8, 1, torch.device("cpu"))
    rows = torch.arange(len(pieces))
    order = dataset.shuffled(rows, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == rows.tolist()
    assert order.tolist() != rows.tolist()
    x, known = dataset.take(order[:8])
    lengths = pieces.lengths[order[:8]]
    assert x.shape == (8, lengths.max())
    assert known.sum(1).tolist() == lengths.tolist()
    assert x[known].tolist() == pieces.places(order[:8].numpy()).tolist()
    assert np.ptp(lengths) < 20


def test_tokens_of_numpy_are_plain(tmp_path):
    """As in rows of an array of strings, or draws of them."""
    texts = [[np.str_("a"), np.str_("b")], list(np.array(["b", "c"]))]
    model = KneserNey().fit(texts)
    assert {type(token) for token in model.vocabulary_} == {str}
    model.save(tmp_path / "model")
    loaded = skae.load(tmp_path / "model")
    assert_allclose(loaded.score_samples(texts), model.score_samples(texts))
