"""What estimators of texts promise, over every row of the table."""

import copy
import inspect
import math
import pickle
import re
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from estimators import TEXTS
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_contract import described

import skae.text
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae._plan import TrainingPlan
from skae.text import (
    CausalLanguageModel,
    KneserNey,
    MaskedLanguageModel,
    TextAutoencoder,
)

NETWORKS = [name for name, row in TEXTS.items() if hasattr(row, "max_iter")]


def texts_of(n, seed=0):
    """Return sentences of a small grammar, some of them equal."""
    rng = np.random.RandomState(seed)
    animals, verbs = ["cat", "dog", "owl", "ox"], ["sees", "likes", "eats"]
    signs = [".", "!", "?"]
    texts = []
    for _ in range(n):
        words = []
        for _ in range(rng.randint(1, 4)):
            who, whom = rng.choice(animals, 2)
            words += ["the", who, rng.choice(verbs), "the", whom]
        texts.append(" ".join(words) + rng.choice(signs))
    return texts


@pytest.fixture(scope="module")
def X():
    return texts_of(60)


@pytest.fixture(scope="module")
def new():
    return [*texts_of(12, seed=1), "", "a zebra", "the cat", "THE cat sees"]


def forced_open(monkeypatch):
    """Let every network be used, that of the last epoch."""

    def exceeds(self, threshold):
        return threshold < math.inf

    monkeypatch.setattr(PairedImprovement, "exceeds", exceeds)
    monkeypatch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)


@pytest.fixture(
    params=[(n, gate) for n in TEXTS for gate in ("", "open")[: 1 + (n in NETWORKS)]],
    ids=str,
)
def estimator(request, monkeypatch):
    """Rows of the table, as they are and with the gate forced open."""
    name, gate = request.param
    if gate:
        forced_open(monkeypatch)
    return clone(TEXTS[name])


def outputs(fitted, X):
    """Return all that a fitted estimator says of texts."""
    said = {}
    for name in ("score_samples", "transform"):
        if hasattr(fitted, name):
            said[name] = getattr(fitted, name)(X)
    return said


def assert_same(fitted, other, X, **tolerance):
    expected = outputs(fitted, X)
    assert expected
    for name, value in outputs(other, X).items():
        assert_allclose(value, expected[name], err_msg=name, **tolerance)


@parametrize_with_checks([clone(row) for row in TEXTS.values()])
def test_scikit_learn(estimator, check):
    check(estimator)


def test_fit_returns_the_estimator_changes_no_parameter_and_prints_nothing(
    estimator, X, capfd
):
    before = copy.deepcopy(estimator.get_params())
    assert estimator.fit(X) is estimator
    assert repr(estimator.get_params()) == repr(before)
    assert capfd.readouterr() == ("", "")


def test_scores_are_finite_and_negative(estimator, X, new):
    scores = estimator.fit(X).score_samples(new)
    assert scores.shape == (len(new),)
    assert np.isfinite(scores).all()
    assert (scores <= 1e-6).all()


def test_score_is_the_mean_of_a_token(estimator, X, new):
    estimator.fit(X)
    n_tokens = estimator._n_predicted(estimator._texts(new))
    expected = estimator.score_samples(new).sum() / n_tokens
    assert estimator.score(new) == pytest.approx(expected, rel=1e-9)
    assert estimator.perplexity(new) == pytest.approx(np.exp(-expected), rel=1e-9)


def test_same_seed_same_results(estimator, X, new):
    assert_same(estimator.fit(X), clone(estimator).fit(X), new, rtol=0)


def test_fitting_twice_gives_the_same(estimator, X, new):
    once = clone(estimator).fit(X)
    assert_same(once, estimator.fit(X[:40]).fit(X), new, rtol=0)


def test_the_global_generators_are_left_alone(estimator, X):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    estimator.fit(X)
    assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_texts_are_scored_one_by_one(estimator, X, new):
    estimator.fit(X)
    together = outputs(estimator, new)
    for name, value in together.items():
        alone = [outputs(estimator, [text])[name][0] for text in new]
        assert_allclose(value, alone, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_order_of_texts_does_not_matter_to_scores(estimator, X, new):
    estimator.fit(X)
    order = np.random.RandomState(0).permutation(len(new))
    for name, value in outputs(estimator, [new[i] for i in order]).items():
        expected = outputs(estimator, new)[name][order]
        assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
def test_copies_say_the_same(estimator, how, X, new, tmp_path):
    estimator.fit(X)
    if how == "joblib":
        joblib.dump(estimator, tmp_path / "model.joblib")
        other = joblib.load(tmp_path / "model.joblib")
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(estimator))
    else:
        other = copy.deepcopy(estimator)
    assert_same(estimator, other, new, rtol=0)


def test_a_clone_is_not_fitted(estimator, X, new):
    other = clone(estimator.fit(X))
    with pytest.raises(NotFittedError):
        other.score_samples(new)


def test_a_failed_fit_leaves_the_earlier_one_unharmed(estimator, X, new):
    estimator.fit(X)
    before = outputs(estimator, new)
    with pytest.raises((ValueError, TypeError), match="Text 1 of X"):
        estimator.fit(["a", None])
    for name, value in outputs(estimator, new).items():
        assert_array_equal(value, before[name])


def test_lists_of_tokens_and_integers_are_texts(estimator, X):
    split = [text.replace(".", " .").split() for text in X]
    estimator.set_params(analyzer="word", lowercase=False)
    estimator.set_params(token_pattern=r"\S+")
    of_tokens = clone(estimator).fit(split).score_samples(split)
    strings = [" ".join(tokens) for tokens in split]
    assert_allclose(clone(estimator).fit(strings).score_samples(strings), of_tokens)
    names = sorted({token for tokens in split for token in tokens})
    longest = max(map(len, split))
    numbers = np.array(
        [
            [names.index(t) for t in tokens] + [-1] * (longest - len(tokens))
            for tokens in split
        ]
    )
    assert_allclose(estimator.fit(numbers).score_samples(numbers), of_tokens)


def test_series_are_lists(estimator, X, new):
    expected = clone(estimator).fit(X)
    series = pd.Series(X, index=np.arange(len(X))[::-1])
    assert_same(expected, estimator.fit(series), new, rtol=0)


@pytest.mark.parametrize("X", [["aa"], ["aa bb"] * 2, ["", "aa"], ["aa bb cc " * 40]])
def test_few_texts_are_enough(estimator, X):
    if getattr(estimator, "n_components", None) is not None:
        estimator.set_params(n_components=1)
    scores = estimator.fit(X).score_samples([*X, "bb", ""])
    assert np.isfinite(scores).all()


def test_other_settings_of_torch_do_not_matter(estimator, X, new):
    expected = clone(estimator).fit(X)
    with torch.no_grad(), torch.device("meta"):
        torch.set_default_dtype(torch.float64)
        try:
            assert_same(expected, estimator.fit(X), new, rtol=1e-6)
        finally:
            torch.set_default_dtype(torch.float32)


def test_cross_validation_needs_no_target(estimator, X):
    scores = cross_val_score(estimator, X, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_pipelines_and_grid_searches(name, X):
    estimator = clone(TEXTS[name]).set_params(n_components=2)
    y = np.array(["cat" in text for text in X])
    model = make_pipeline(estimator, LogisticRegression())
    assert model.fit(X, y).predict(X).shape == y.shape
    assert len(model[0].get_feature_names_out()) == 2
    grid = {"architecture__n_layers": [1, 2]}
    if not hasattr(estimator.architecture, "n_layers"):
        grid = {"n_components": [1, 2]}
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(X)
    assert search.best_params_.keys() == grid.keys()
    frame = search.best_estimator_.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pd.DataFrame)


@pytest.mark.parametrize("name", NETWORKS)
def test_before_training_the_network_is_the_start(name, X):
    fitted = clone(TEXTS[name]).set_params(max_iter=1).fit(X)
    start = clone(fitted).set_params(max_iter=0).fit(X)
    assert start.best_iter_ == 0
    assert start.validation_scores_ == []
    sequences, objective = fitted._texts(X), fitted._objective()
    closed_form = fitted._fit.start
    module = objective.new_module(closed_form, TrainingPlan.for_table(60), seed=0)
    fitted._fit = replace(
        fitted._fit, model=objective.model(module, closed_form, None, 0)
    )
    start._fit = replace(start._fit, model=closed_form)
    says = fitted._log_likelihood(sequences)
    assert_allclose(says, start._log_likelihood(sequences), rtol=1e-5)
    assert_allclose(fitted.transform(X), start.transform(X), atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(5))
def test_copies_of_texts_do_not_open_the_gate(name, seed):
    """Random texts have nothing to learn, however often they are there."""
    rng = np.random.RandomState(seed)
    texts = [
        " ".join(rng.choice(["aa", "bb", "cc", "dd", "ee", "ff"], 12))
        for _ in range(60)
    ]
    boot = [texts[i] for i in rng.randint(0, 60, 400)]
    fitted = clone(TEXTS[name]).set_params(
        max_iter=4, random_state=seed, learning_rate_init=0.02
    )
    assert fitted.fit(boot).best_iter_ == 0


@pytest.mark.parametrize("seed", range(2))
def test_texts_that_are_frequent_are_no_less_likely_than_by_counts(seed):
    """Lines of a log: some of the templates are most of it, others are there once."""
    rng = np.random.RandomState(7)
    templates = [
        " ".join(f"w{i}" for i in rng.zipf(1.5, rng.randint(4, 12)).clip(max=60))
        for _ in range(800)
    ]
    frequency = np.arange(1, 801) ** -1.2
    rng = np.random.RandomState(seed)
    drawn = rng.choice(800, 4200, p=frequency / frequency.sum())
    X, new = ([templates[i] for i in part] for part in (drawn[:1200], drawn[1200:]))
    how = {"order": 3, "n_components": 2, "random_state": seed}
    fitted = CausalLanguageModel(**how, max_iter=12).fit(X)
    start = CausalLanguageModel(**how, max_iter=0).fit(X)
    assert fitted.score(new) > start.score(new) - 0.002


@pytest.mark.parametrize(
    "cls", [CausalLanguageModel, MaskedLanguageModel, TextAutoencoder]
)
def test_one_text_that_is_most_of_them_is_no_less_likely_than_at_the_start(cls):
    """A network may learn of it once, and is not to forget how often it is there."""

    def texts(n, seed):
        rng = np.random.RandomState(seed)
        topics = rng.randint(0, 12, (n, 6)) + 12 * rng.randint(3, size=(n, 1))
        rare = [" ".join(f"w{i}" for i in topic) for topic in topics]
        is_rare = rng.uniform(size=n) > 0.8
        return [
            text if of else "ok fine" for text, of in zip(rare, is_rare, strict=True)
        ]

    X, new = texts(400, 0), texts(3000, 1)
    how = {"n_components": 2, "random_state": 0}
    fitted, start = cls(**how).fit(X), cls(**how, max_iter=0).fit(X)
    assert fitted.score(new) >= start.score(new)


@pytest.mark.parametrize("name", ["causal", "n-grams"])
def test_an_empty_text_alone_is_one_of_integers_too(name):
    model = clone(TEXTS[name]).fit([[1, 2, 3], [2, 3], [1]] * 9)
    assert np.isfinite(model.score_samples([[]])).all()
    assert_allclose(model.score_samples([[]]), model.score_samples([[], [1]])[:1])


def test_what_is_learnt_is_used():
    """Each word is the first one: n-grams of a few words cannot know."""
    rng = np.random.RandomState(0)
    texts = []
    for _ in range(1500):
        key, noise = rng.choice(list("ab")), rng.choice(list("xyz"), 5)
        texts.append(" ".join([key, *noise, key * 2]))
    fitted = CausalLanguageModel(
        **{**TEXTS["causal"].get_params(deep=False), "order": 2, "max_iter": 15}
    ).set_params(learning_rate_init=0.02, n_components=2)
    fitted.fit(texts[:1000])
    assert fitted.best_iter_ > 0
    start = KneserNey(order=2).fit(texts[:1000])
    assert fitted.score(texts[1000:]) > start.score(texts[1000:]) + 0.02


def test_texts_longer_than_max_length_are_scored_whole(monkeypatch):
    forced_open(monkeypatch)
    texts = texts_of(40)
    fitted = clone(TEXTS["causal"]).fit(texts)
    long = " ".join(texts[:7])
    log_prob = fitted._log_prob(fitted._texts([long]))
    assert (log_prob < 0).all()
    assert len(log_prob) > 8 * fitted.max_length
    start = clone(fitted).set_params(max_iter=0).fit(texts)
    assert start.score_samples([long]) == pytest.approx(
        KneserNey().fit(texts).score_samples([long])
    )


OWN_WORDS = {
    "n_components",
    "architecture",
    "token_pattern",
    "batch_size",
    "learning_rate_init",
    "max_iter",
    "validation_fraction",
    "order",
    "start",
}
"""Parameters whose default, or use, is an estimator's own."""


def test_parameters_are_documented_and_shared_ones_in_the_same_words():
    texts = []
    for name in skae.text.__all__:
        cls = getattr(skae.text, name)
        texts.append(described(cls))
        assert list(texts[-1]) == list(inspect.signature(cls).parameters), name
    for parameter in set().union(*texts) - OWN_WORDS:
        words = {text[parameter] for text in texts if parameter in text}
        assert len(words) == 1, parameter


def test_every_promised_attribute_is_there(estimator, X):
    estimator.fit(X)
    section = inspect.getdoc(type(estimator)).split("Attributes\n----------\n")[1]
    names = re.findall(r"^(\w+_) :", section.split("\n\n")[0], re.MULTILINE)
    assert len(names) >= 3
    for name in names:
        assert hasattr(estimator, name), name


def test_texts_of_a_generator_are_fitted_and_transformed():
    """A pipeline fits and transforms at once, and reads a generator once."""
    texts = texts_of(40)
    model = skae.text.TextAutoencoder(2, max_iter=0, random_state=0)
    codes = clone(model).fit_transform(text for text in texts)
    assert_array_equal(codes, model.fit_transform(texts))
    model.set_output(transform="pandas")
    series = pd.Series(texts, index=range(40, 80))
    frame = model.fit_transform(series)  # scikit-learn 1.6 has no index of a Series
    pd.testing.assert_frame_equal(frame, model.transform(series))


@pytest.mark.parametrize("seed", range(4))
def test_lsa_is_truncated_svd_behind_tfidf(seed):
    texts = texts_of(80)
    svd = TruncatedSVD(5, random_state=seed)
    expected = make_pipeline(TfidfVectorizer(), svd).fit_transform(texts)
    model = skae.text.TextAutoencoder(5, start="lsa", max_iter=0, random_state=seed)
    assert_allclose(model.fit_transform(texts), expected, atol=1e-10)


def test_codes_of_lsa_beyond_the_number_of_texts_are_0():
    texts = ["aa bb cc", "bb dd ee"]
    model = skae.text.TextAutoencoder(4, start="lsa", max_iter=0, random_state=0)
    svd = make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0))
    expected = np.pad(svd.fit_transform(texts), ((0, 0), (0, 2)))
    assert_allclose(model.fit_transform(texts), expected, atol=1e-10)


def test_bags_of_no_known_token_have_the_score_0_and_the_perplexity_1():
    fitted = clone(TEXTS["bags"]).fit(texts_of(20))
    assert (fitted.score(["zz", ""]), fitted.perplexity(["zz", ""])) == (0, 1)


@pytest.mark.parametrize("seed", range(6))
def test_copies_of_few_texts_are_no_worse_than_unigrams(seed):
    texts = ["abc", "acb"] * 300
    model = skae.text.MaskedLanguageModel(
        analyzer="char", max_iter=0, random_state=seed
    )
    assert model.fit(texts).score(texts) > -np.log(3) - 0.1
    (filled,) = model.fill_mask(["a<mask>c"])[0]
    assert sum(share for _, share in filled) > 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_too_few_texts_say_why_nothing_is_trained(name, capsys):
    texts = [f"{letter} {letter}b" for letter in "acdefghij"]
    fitted = clone(TEXTS[name]).set_params(n_components=1, verbose=True).fit(texts * 9)
    assert (fitted.n_iter_, fitted.validation_scores_) == (0, [])
    assert "fewer than 10 distinct texts" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_bags_is_judged_by_its_score(seed):
    """Texts of characters, whose whole code says more than that of a half."""
    rng = np.random.RandomState(seed)
    texts = ["".join(rng.choice(list("abcdefgh"), 9)) for _ in range(300)]
    model = skae.text.TextAutoencoder(4, analyzer="char", random_state=seed)
    start = clone(model).set_params(max_iter=0).fit(texts[:200])
    model.set_params(max_iter=10).fit(texts[:200])
    assert model.score(texts[200:]) >= start.score(texts[200:]) - 0.02


def test_a_text_is_a_bag_to_the_last_bit(monkeypatch):
    """Texts that differ in the order of tokens, or in unknown ones, are copies."""
    forced_open(monkeypatch)
    rng = np.random.RandomState(0)
    texts = [text.split() for text in texts_of(60)] * 2
    other = [[*rng.permutation(text), f"only {i}"] for i, text in enumerate(texts)]
    expected = clone(TEXTS["bags"]).set_params(min_df=2).fit(texts)
    model = clone(expected).fit(other)
    assert model.best_iter_ > 0
    assert model.validation_scores_ == expected.validation_scores_
    for name, value in outputs(model, other).items():
        assert_array_equal(value, outputs(expected, texts)[name])


def test_networks_of_bags_are_used_beside_what_they_were_trained_beside(monkeypatch):
    """Copies of texts move the axes: they must be there in both."""
    forced_open(monkeypatch)
    texts = texts_of(60) + texts_of(10) * 5
    model = clone(TEXTS["bags"]).fit(texts)
    exact, module = model._fit.model.exact, model.module_
    assert module.token_weights.dtype == torch.float32
    for name in ("token_weights", "coordinates", "slopes", "log_shares"):
        assert_allclose(getattr(exact, name), getattr(module, name), rtol=1e-4)
