"""Language models against their own definitions: chains, sums, masks and draws."""

from itertools import chain
from operator import itemgetter

import numpy as np
import pytest
import torch
from estimators import TEXTS
from numpy.testing import assert_allclose
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint, LoadInitState
from test_text import forced_open, texts_of

from skae._gate import PairedImprovement
from skae.text import CausalLanguageModel, KneserNey, MaskedLanguageModel, _exponents
from skae.text._network import HALF_LIFE
from skae.text._pool import Pool

NAMES = ["anna", "hanna", "johanna", "susanna", "marianna", "joanna", "otto"]
NAMES += [name[::-1] for name in NAMES[:6]] + ["tanja", "jan", "hans", "josa", "ona"]
NAMES += ["mono", "nan", "joan", "moritz", "tom", "ina", "anton", "ann", "nora"]


@pytest.fixture(params=["n-grams", "causal", "causal, ALBERT", "causal, in pieces"])
def generative(request, monkeypatch):
    """Models that predict what follows, with a network if they have one."""
    forced_open(monkeypatch)
    name, *is_cut = request.param.split(", in ")
    changes = {"analyzer": "char", **({"max_length": 2} if is_cut else {})}
    model = clone(TEXTS[name]).set_params(**changes).fit(NAMES)
    assert not hasattr(model, "max_iter") or model._fit.model is not model._fit.start
    return model


@pytest.fixture(params=["masked", "masked, static"])
def masked(request, monkeypatch):
    """Models that predict what is hidden, with a network."""
    forced_open(monkeypatch)
    model = clone(TEXTS[request.param]).set_params(analyzer="char").fit(NAMES)
    assert model._fit.model is not model._fit.start
    return model


@pytest.mark.parametrize("order", [1, 3, "auto"])
def test_without_training_it_is_kneser_ney(order):
    texts = texts_of(50)
    start = KneserNey(order).fit(texts)
    model = CausalLanguageModel(order=order, max_iter=0, n_components=2).fit(texts)
    new = [*texts_of(9, seed=1), "", "a zebra sees"]
    assert_allclose(model.score_samples(new), start.score_samples(new), rtol=1e-14)
    kwargs = {"n_samples": 5, "random_state": 3, "prompt": "the"}
    assert model.sample(**kwargs) == start.sample(**kwargs)


def test_no_context_is_longer_than_a_text():
    model = KneserNey(10**9).fit(["aa bb", "bb cc dd"])
    assert model.order_ == 5
    same = KneserNey(5).fit(["aa bb", "bb cc dd"])
    assert model.score(["aa cc"]) == same.score(["aa cc"])


def test_a_text_has_the_probability_of_its_tokens_in_turn(generative):
    for text in ["anna", "", "josanna", "xox"]:
        sequences = generative._texts([text])
        total = 0.0
        for place, token in enumerate(sequences.tokens):
            log_probs = generative._log_probs(sequences, np.array([place]))
            assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-6)
            total += log_probs[0, token]
        assert generative.score_samples([text])[0] == pytest.approx(total, rel=1e-5)


def test_nothing_depends_on_later_tokens(generative):
    first, second = (
        generative._log_prob(generative._texts([text])) for text in ("annaho", "annot")
    )
    assert_allclose(first[:3], second[:3], rtol=1e-6)
    assert abs(first[3] - second[3]) > 1e-3


def test_draws_have_the_probabilities_of_texts(generative):
    drawn = generative.sample(4000, random_state=0, max_tokens=30)
    for text in ("anna", "otto"):
        p = np.exp(generative.score_samples([text])[0])
        # Draws are never of the unknown token, whose probability is small.
        assert drawn.count(text) / 4000 == pytest.approx(p, abs=4 * (p / 4000) ** 0.5)


def test_draws_follow_the_parameters(generative):
    likeliest = generative.sample(3, temperature=0)
    assert len(set(likeliest)) == 1
    assert generative.sample(3, top_k=1, random_state=5) == likeliest
    drawn = generative.sample(20, prompt="jo", random_state=0)
    assert all(text.startswith("jo") for text in drawn)
    assert drawn == generative.sample(20, prompt="jo", random_state=0)
    assert drawn != generative.sample(20, prompt="jo", random_state=1)
    assert generative.sample(2, prompt="xq", max_tokens=0) == ["xq"] * 2
    short = generative.sample(50, max_tokens=2, random_state=0)
    assert max(map(len, short)) <= 2
    assert not any("<unk>" in text for text in short)


@pytest.mark.parametrize("temperature", [0.001, 1e-310, 5e-324])
def test_at_small_temperatures_the_likeliest_is_drawn(generative, temperature):
    likeliest = generative.sample(5, temperature=0, prompt="jo")
    how = {"temperature": temperature, "prompt": "jo", "random_state": 0}
    with np.errstate(all="raise"):
        assert generative.sample(5, **how) == likeliest
        assert generative.sample(5, top_k=3, **how) == likeliest
        generative.sample(5, temperature=1e308, random_state=0)
    assert generative.sample(5, **how) == likeliest  # a warning is an error here


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 0}, "n_samples == 0, must be >= 1"),
        ({"temperature": -1}, "temperature == -1, must be >= 0"),
        ({"top_k": 0}, "top_k == 0, must be >= 1"),
        ({"max_tokens": 1.5}, "max_tokens must be an instance of int"),
        ({"prompt": 3}, r"prompt=3.*Text 0 of X is 3 \(int\)"),
        ({"temperature": np.nan}, "temperature=nan"),
        ({"random_state": "x"}, "random_state='x'"),
    ],
)
def test_bad_parameters_of_draws_are_named(generative, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        generative.sample(**changes)


def test_draws_are_of_the_kind_that_fit_saw():
    lists = KneserNey(2).fit([["b", "a"], ["b"]])
    assert lists.sample(prompt=["b"], temperature=0, max_tokens=0) == [["b"]]
    numbers = KneserNey(2).fit(np.array([[7, 3], [7, -1]]))
    assert numbers.sample(prompt=[9], max_tokens=0).tolist() == [[9]]
    drawn = numbers.sample(50, random_state=0)
    assert drawn.dtype.kind == "i"
    assert set(np.unique(drawn)) == {-1, 3, 7}


def test_a_hidden_token_has_the_probability_that_fills_it(masked):
    for text in ["anna", "josanna"]:
        total = 0.0
        for i, letter in enumerate(text):
            hidden = f"{text[:i]}<mask>{text[i + 1 :]}"
            (filled,) = masked.fill_mask([hidden], top_k=30)[0]
            total += np.log(dict(filled)[letter])
        assert masked.score_samples([text])[0] == pytest.approx(total, rel=1e-5)


def test_fillings_are_the_likeliest_of_one_distribution(masked):
    texts = ["<mask>nn<mask>", "", "otto", "<mask>"]
    filled = masked.fill_mask(texts, top_k=3)
    assert [len(masks) for masks in filled] == [2, 0, 0, 1]
    every = masked.fill_mask(texts, top_k=100)
    for some, whole in zip(filled[0], every[0], strict=True):
        assert some == whole[:3]
        p = [share for _, share in whole]
        assert p == sorted(p, reverse=True)
        assert 0.8 < sum(p) < 1  # some is left for the unknown token
    alone = masked.fill_mask(texts[:1], top_k=3)
    assert [t for t, _ in alone[0][0]] == [t for t, _ in filled[0][0]]


def test_masks_are_filled_in_pieces(masked, monkeypatch):
    """Memory is bound: no more masks are seen at once than have so many numbers."""
    texts = ["<mask>nn<mask>", "otto", "jo<mask>nna", "<mask>" * 7, "a<mask>"]
    seen, whole = [], Pool.log_probs

    def log_probs(pool, found, *dtype):
        seen.append(len(found))
        return whole(pool, found, *dtype)

    for model in (masked, clone(masked).set_params(max_iter=0).fit(NAMES)):
        expected = model.fill_mask(texts)
        with monkeypatch.context() as cut:
            cut.setattr(Pool, "log_probs", log_probs)
            cut.setattr(_exponents, "BLOCK_NUMBERS", 3 * model._vocabulary.n_tokens)
            filled = model.fill_mask(texts)
        assert max(seen) <= 3
        assert [len(masks) for masks in filled] == [2, 0, 1, 7, 1]
        for some, alike in zip(chain(*filled), chain(*expected), strict=True):
            assert_allclose([p for _, p in some], [p for _, p in alike], rtol=1e-6)
            assert [t for t, _ in some] == [t for t, _ in alike]


def test_fillings_are_of_the_kind_that_fit_saw():
    model = MaskedLanguageModel(max_iter=0, n_components=1)
    model.fit(np.array([[7, 3, 7], [7, 3, -1]]))
    (filled,) = model.fill_mask(np.array([[7, -2, 7]]), top_k=1)[0]
    assert filled[0][0] == 3
    with pytest.raises(ValueError, match="top_k == 0, must be >= 1"):
        model.fill_mask(np.array([[7, -2, 7]]), top_k=0)


@pytest.mark.parametrize(
    ("analyzer", "given", "hidden"),
    [
        (list, [["a", "b", "c"]] * 9, ["a", "<mask>", "c"]),
        (list, [[1, 2, 3]] * 9, [1, -2, 3]),
        (itemgetter("s"), [{"s": "abc"}] * 9, {"s": ["a", "<mask>", "c"]}),
        (list, ["abc"] * 9, "a<mask>c"),
    ],
    ids=["lists", "integers", "objects", "strings"],
)
def test_masks_are_among_the_tokens_of_an_analyzer(analyzer, given, hidden):
    model = MaskedLanguageModel(1, analyzer=analyzer, max_iter=0).fit(given)
    [[[(token, share), *_]]] = model.fill_mask([hidden])
    assert token in ("b", 2)
    assert share > 0.5


def test_errors_of_an_analyzer_of_masks_name_it():
    model = MaskedLanguageModel(1, analyzer=list, max_iter=0).fit(["ab"] * 9)
    with pytest.raises(TypeError, match="analyzer: 'int' object is not iterable"):
        model.fill_mask([3])


@pytest.mark.parametrize("masking", ["dynamic", "static"])
def test_static_masks_stay_and_dynamic_ones_do_not(masking):
    model = MaskedLanguageModel(2, max_iter=0, masking=masking, mask_fraction=0.3)
    texts = texts_of(300)
    model.fit(texts)
    objective, start = model._objective(), model._fit.start
    module = objective.module(torch.nn.Identity(), torch.nn.Identity())
    sequences = model._texts(texts)
    module.reader = start.reader(sequences)
    module.generator = torch.Generator().manual_seed(0)
    x = torch.arange(len(sequences.tokens))[None]
    first, second = (module.read(x, torch.ones_like(x, dtype=bool)) for _ in range(2))
    assert (first.said == second.said).all() == (masking == "static")
    is_end = sequences.tokens == sequences.end
    assert not first.said[0, is_end].any()
    assert first.said[0, ~is_end].mean() == pytest.approx(0.3, abs=0.03)
    assert (first.inputs[first.said] == sequences.mask).all()
    assert (first.targets == sequences.tokens[first.said[0]]).all()


def test_what_ends_a_sentence():
    text = "a b. (c)?! d... no.1\u3002 e \u2026"
    for analyzer in ("word", "char", "bpe"):
        vocabulary = KneserNey(1, analyzer=analyzer).fit([text])._vocabulary
        ends = vocabulary.ends_sentence
        assert ends.shape == (vocabulary.n_tokens + 2,)
        shown = {vocabulary.shown(i).strip() for i in np.flatnonzero(ends)}
        expected = {".", "?", "!", "\u3002", "\u2026"}
        assert shown == expected or (analyzer == "bpe" and shown >= {".", "?", "!"})
    lists = KneserNey(1).fit([["a.", "...", "b", "?!"]])
    assert lists._vocabulary.ends_sentence.sum() == 2
    assert not KneserNey(1).fit(np.array([[3, 4]]))._vocabulary.ends_sentence.any()


def ordered_module(texts, **changes):
    """Return a module that learns the order of sentences, and rows and their tokens."""
    model = MaskedLanguageModel(2, max_iter=0, sentence_order=True, **changes)
    model.fit(texts)
    objective, start = model._objective(), model._fit.start
    module = objective.new_module(start, objective.plan(np.array([9])), 0).train()
    sequences = model._texts(texts)
    module.reader = start.reader(sequences)
    module.generator = torch.Generator().manual_seed(0)
    dataset = objective.dataset(
        sequences, objective.pieces(sequences), objective.plan(sequences.lengths)
    )
    return module, *dataset.take(torch.arange(dataset.n_rows)), sequences.tokens


def test_sentences_are_exchanged_in_half_of_the_rows():
    texts = ["a b . c d e ! ? f", "a b c .", "g h"] * 100
    module, x, known, tokens = ordered_module(texts)
    new, is_pair, is_swapped = module.swapped(x, known)
    assert is_pair.tolist() == [True, False, False] * 100
    assert is_swapped[::3].double().mean() == pytest.approx(0.5, abs=0.15)
    assert torch.equal(new[~is_swapped], x[~is_swapped])
    names = dict(enumerate("!.?abcdefgh"))
    moved = tokens[new[is_swapped].numpy()]
    seen = {"".join(names.get(token, "") for token in row) for row in moved}
    assert seen == {"cde!?fab.", "fab.cde!?"}
    rows = new[is_swapped].sort(1)[0]
    assert torch.equal(rows, x[is_swapped])  # nothing is lost, padding neither
    assert torch.equal(new[:, -1], x[:, -1])  # nor does the end of a text move
    # What is hidden is what the start speaks of, wherever it stands.
    reading = module.read(new, known)
    assert (reading.targets == tokens[new.numpy()[reading.said]]).all()


def test_the_loss_of_the_order_is_as_much_as_a_hidden_token_is():
    module, x, known, _ = ordered_module(["a b . c d", "e f"] * 50, mask_fraction=0.4)
    torch.nn.init.constant_(module.order.bias, 0.7)
    draws = module.generator.get_state()
    *of_tokens, loss = module(x, known)
    module.generator.set_state(draws)
    _, is_pair, is_swapped = module.swapped(x, known)
    n_hidden = int((of_tokens[0] != 0).sum())
    p = 1 / (1 + np.exp(-0.7))
    nats = -np.log(np.where(is_swapped, p, 1 - p)) * is_pair.numpy()
    expected = nats * n_hidden / int(is_pair.sum())
    assert_allclose(loss.detach(), expected, rtol=1e-5)
    assert len(module.eval()(x, known)) == 4  # held-out texts are as they are


def test_the_order_of_sentences_is_learnt():
    rng = np.random.RandomState(0)
    texts = []
    for _ in range(300):
        a, b, c, d = rng.randint(30, size=4)
        texts.append(f"x{a} came x{b} . and y{c} went y{d} .")
    model = clone(TEXTS["masked"]).set_params(sentence_order=True, max_length=16)
    model.set_params(learning_rate_init=0.02, batch_size=16, max_iter=12)
    losses = model.fit(texts).history_[:, "train_sentence_order"]
    assert losses[-1] < 0.3 * losses[0]
    assert isinstance(model.module_.order, torch.nn.Linear)


def test_a_row_does_not_know_what_is_hidden_in_its_copies():
    texts = texts_of(20)
    model = MaskedLanguageModel(2, max_iter=0).fit(texts)
    reader = model._fit.start.reader(model._texts(texts))
    x = np.arange(8)[None]
    hidden = np.zeros((3, 8), dtype=bool)
    hidden[0, [1, 2]] = hidden[1, 2] = hidden[2, [0, 3, 5]] = True
    together = reader.read(np.repeat(x, 3, 0), hidden)
    alone = [reader.read(x, row[None]) for row in hidden]
    for name in ("log_prob", "evidence", "targets"):
        expected = np.concatenate([getattr(reading, name) for reading in alone])
        assert_allclose(getattr(together, name), expected)


@pytest.mark.parametrize("name", ["causal", "masked"])
def test_what_is_held_out_is_not_counted(name):
    """Counting some of the texts is counting those texts alone."""
    model = clone(TEXTS[name]).fit(texts_of(30))
    objective, whole = model._objective(), model._fit.start
    sequences = model._texts(texts_of(30))
    counts = np.arange(sequences.starts[5], sequences.starts[12])
    alone = sequences.take(np.arange(5, 12))
    expected = objective.counted(alone, None, 0, whole).log_prob(sequences)
    beside = objective.counted(sequences, counts, 0, whole).log_prob(sequences)
    assert_allclose(beside, expected, rtol=1e-12)
    assert not np.allclose(beside, whole.log_prob(sequences), rtol=0.01)


class Weights(Callback):
    """Keeps the weights after each step, and the number of steps of each epoch."""

    def __init__(self):
        self.steps, self.epochs = [], []

    def on_batch_end(self, net, training=True, **kwargs):
        weights = [p.detach().clone() for p in net.module_.parameters()]
        self.steps.append(weights)

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(len(self.steps))


def test_what_is_kept_are_averages_of_the_weights(monkeypatch):
    monkeypatch.setattr(PairedImprovement, "exceeds", lambda *_: True)
    seen = Weights()
    model = clone(TEXTS["causal"]).set_params(callbacks=[seen], max_iter=3)
    model.set_params(max_length=64)  # texts are 1100 distinct rows
    model.fit([f"{text} {i}" for i, text in enumerate(texts_of(1100))])
    assert model.best_iter_ > 0
    half_life = HALF_LIFE * seen.epochs[0]
    average = seen.steps[0]
    for number, step in enumerate(seen.steps[: seen.epochs[model.best_iter_ - 1]], 1):
        share = max(1 - 0.5 ** (1 / half_life), 9 / (9 + number))
        average = [a + share * (w - a) for a, w in zip(average, step, strict=True)]
    names = [name for name, _ in model.module_.named_parameters()]
    for name, kept, mean in zip(
        names, model.module_.parameters(), average, strict=True
    ):
        if name != "decoder.most":  # which calibration sets
            assert_allclose(kept.detach(), mean, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["causal", "masked", "bags"])
def test_a_killed_fit_goes_on_to_the_same_weights(name, tmp_path):
    class Killed(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2 and not done:
                raise RuntimeError("killed")

    texts, done = texts_of(60), []

    def fitted(folder, *more):
        cp = Checkpoint(dirname=str(folder), monitor=None, load_best=False)
        callbacks = [cp, LoadInitState(cp), *more] if folder else []
        model = clone(TEXTS[name]).set_params(max_iter=4, callbacks=callbacks)
        return model.set_params(validation_fraction=0.2).fit(texts)

    expected = fitted(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        fitted(tmp_path / "killed", Killed())
    done.append(True)
    again = fitted(tmp_path / "killed", Killed())
    assert again.validation_scores_ == expected.validation_scores_
    for a, b in zip(
        again.module_.parameters(), expected.module_.parameters(), strict=True
    ):
        assert torch.equal(a, b)
