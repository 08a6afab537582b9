"""Measure models of texts: likelihoods of tokens, and what codes of texts are worth.

Three corpora (see ``texts.py``) of 10,000 to a million tokens. A system may train for
so many seconds of one core (processor time, so that a busy machine changes little), and
what counts is what it says of texts that it has not seen, in nats per token.

- causal: Kneser-Ney; the same Transformer alone, trained as long and stopped at its
  best held-out epoch; both mixed by one share, the best on held-out texts of the
  training set; and CausalLanguageModel, with as many epochs as fit into the time.
- masked: unigrams; the pool that MaskedLanguageModel starts at; the same Transformer
  alone; and MaskedLanguageModel. Each token is hidden alone.
- codes, of 8 and of 32 numbers for each text: latent semantic analysis (with the
  decoder of ``start="lsa"``), correspondence analysis, an autoencoder of bags with a
  hidden layer of 128 on either side, trained for a minute and stopped at its best
  held-out epoch, and TextAutoencoder at its defaults. Nats per token of a text given
  its own code; of its second half given a code of the first; and the accuracy of a
  logistic regression on labels, from standardised codes.

    python benchmarks/bench_text.py [--what causal masked] [--corpora bible]
        [--tokens 100000] [--texts 1000] [--seconds 60] [--seeds 0] [--force]
    python benchmarks/bench_text.py --report
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from statistics import mean
from time import perf_counter, process_time

import harness
import numpy as np
import texts
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae._parameters import new_torch_generator
from skae.architectures import Transformer
from skae.text import (
    CausalLanguageModel,
    KneserNey,
    MaskedLanguageModel,
    TextAutoencoder,
)
from skae.text._dataset import Pieces, TokenDataset
from skae.text._kneser_ney import NGramStart
from skae.text._network import TokenEncoder
from skae.text._objective import MAX_EPOCHS, alike

FILE = harness.RESULTS / "text.json"
SIZES = (10_000, 100_000, 1_000_000)
SECONDS = (60, 300)
MAX_LENGTH = 128
MARGIN = 0.001  # nats that do not count
MASKED_TEST = 200  # test texts of which each token is hidden
TEXTS, CODE_SIZES, TEST_TEXTS = (1000, 5000, 20_000), (8, 32), 4000
CODERS = ("LSA", "CA", "alone", "skae")

Scores = np.ndarray


# The Transformer alone


class Alone:
    """A Transformer without any start, for as many seconds as it is given."""

    def __init__(self, sequences, seconds, seed, *, causal):
        self.causal, self.n_tokens = causal, sequences.n_tokens
        generator = new_torch_generator(seed)
        architecture = Transformer()
        self.embedding = architecture.token_embedding(self.n_tokens + 2, generator)
        layers = architecture.layers(causal=causal, generator=generator)
        self.encoder = TokenEncoder(self.embedding, layers, MAX_LENGTH, generator)
        self.bias = torch.nn.Parameter(torch.zeros(self.n_tokens))
        self.generator = generator
        texts_ = np.arange(len(sequences))
        train, valid = train_test_split(texts_, test_size=0.1, random_state=seed)
        self._train(sequences.take(train), sequences.take(valid), seconds, seed)

    def _train(self, train, valid, seconds, seed):
        torch.manual_seed(seed)
        pieces = Pieces.of(train, MAX_LENGTH, causal=self.causal)
        size = CausalLanguageModel()._objective().batch_size(pieces.lengths)
        dataset = TokenDataset(train, pieces, size, 1, torch.device("cpu"))
        parameters = [*self.encoder.parameters(), self.bias]
        optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
        started, best, state, judged = process_time(), -np.inf, None, 0.0
        while (progress := (process_time() - started - judged) / seconds) < 1:
            self.encoder.train()
            order = dataset.shuffled(torch.arange(len(pieces)), self.generator)
            for rows in order.split(size):
                progress = (process_time() - started - judged) / seconds
                for group in optimizer.param_groups:
                    group["lr"] = 2e-3 * min(20 * progress + 0.01, 1.02 - progress)
                loss = -self._batch(train, *dataset.take(rows)).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                if progress >= 1:
                    break
            now = process_time()
            score = self.log_prob(valid).mean()
            if score > best:
                best = score
                modules = {"encoder": self.encoder.state_dict(), "bias": self.bias.data}
                state = {k: _copied(v) for k, v in modules.items()}
            judged += process_time() - now
        self.encoder.load_state_dict(state["encoder"])
        self.bias.data = state["bias"]

    def _batch(self, sequences, x, known, hidden=None):
        """Return the log-probabilities of the tokens of a batch, shape (m,)."""
        tokens = torch.from_numpy(sequences.tokens.astype(np.int64))
        starts = torch.from_numpy(sequences.starts)
        if self.causal:
            inputs = tokens[(x - 1).clamp(min=0)]
            inputs[torch.isin(x, starts)] = sequences.begin
            said = known
        else:
            inputs = tokens[x].clone()
            if hidden is None:
                hidden = torch.rand(x.shape, generator=self.generator) < 0.15
            said = known & hidden & (tokens[x] != sequences.end)
            inputs[said] = sequences.mask
        h = self.encoder(inputs, known)[said]
        logits = self.embedding.logits(h)[:, : self.n_tokens] + self.bias
        return torch.log_softmax(logits, 1).gather(1, tokens[x[said]][:, None])[:, 0]

    @torch.no_grad()
    def log_prob(self, sequences):
        """Return the log-probability of each token; of masked ones, a sample."""
        self.encoder.eval()
        pieces = Pieces.of(sequences, MAX_LENGTH, causal=self.causal)
        dataset = TokenDataset(sequences, pieces, 1, 1, torch.device("cpu"))
        if not self.causal:
            generator, self.generator = self.generator, new_torch_generator(0)
        parts, places = [], []
        for rows in alike(pieces.lengths):
            x, known = dataset.take(torch.from_numpy(rows))
            parts.append(self._batch(sequences, x, known).double().numpy())
            places.append(x[known].numpy())
        if not self.causal:
            self.generator = generator
            return np.concatenate(parts)
        log_prob = np.empty(len(sequences.tokens))
        log_prob[np.concatenate(places)] = np.concatenate(parts)
        return log_prob

    @torch.no_grad()
    def hidden_one_by_one(self, sequences):
        """Return the mean log-probability of a token that is hidden alone."""
        self.encoder.eval()
        pieces = Pieces.of(sequences, MAX_LENGTH, causal=self.causal)
        dataset = TokenDataset(sequences, pieces, 1, 1, torch.device("cpu"))
        places = np.flatnonzero(sequences.tokens != sequences.end)
        piece_of = np.searchsorted(pieces.starts, places, "right") - 1
        total = 0.0
        for group in alike(pieces.lengths[piece_of]):
            x, known = dataset.take(torch.from_numpy(piece_of[group]))
            hidden = x == torch.from_numpy(places[group])[:, None]
            total += float(self._batch(sequences, x, known, hidden).double().sum())
        return total / len(places)


def _copied(state):
    if isinstance(state, torch.Tensor):
        return state.clone()
    return {name: value.clone() for name, value in state.items()}


# The systems


@cache
def kneser_ney(name: str, n_tokens: int, seed: int):
    fit, _ = texts.split(name, n_tokens, seed)
    return KneserNey(**fit.how).fit(fit.texts)


def within(model, fit_on, seconds):
    """Return a model with as many epochs as fit into the time, and 30 at most."""
    started, wall = process_time(), perf_counter()
    pilot = model.set_params(max_iter=1).fit(fit_on)
    busy = (process_time() - started) / (perf_counter() - wall)
    per_epoch = pilot.history_[0]["dur"] * busy
    epochs = min(MAX_EPOCHS, int(seconds / per_epoch))
    return model.set_params(max_iter=max(1, epochs))


def causal(name, n_tokens, seconds, seed):
    """Return the held-out nats per token of every system, minus."""
    fit, test = texts.split(name, n_tokens, seed)
    start = kneser_ney(name, n_tokens, seed)
    model = CausalLanguageModel(random_state=seed, **fit.how)
    model = within(model, fit.texts, seconds)
    started = process_time()
    model.fit(fit.texts)
    took = process_time() - started
    sequences, test_sequences = model._texts(fit.texts), model._texts(test.texts)
    alone = Alone(sequences, seconds, seed, causal=True)
    p, q = start._log_prob(test_sequences), alone.log_prob(test_sequences)
    texts_ = np.arange(len(fit.texts))
    train, valid = train_test_split(texts_, test_size=0.1, random_state=seed)
    part = NGramStart.of(sequences.take(train), start.order_)
    held_out = sequences.take(valid)
    share = best_share(part.log_prob(held_out), alone.log_prob(held_out))
    mixed = np.log((1 - share) * np.exp(p) + share * np.exp(q))
    return {
        "n-grams": p.mean(),
        "alone": q.mean(),
        "static mix": mixed.mean(),
        "skae": model.score(test.texts),
        "fit_seconds": round(took, 1),
        "epochs": model.n_iter_,
        "best_iter": model.best_iter_,
    }


def best_share(p: Scores, q: Scores) -> float:
    """Return the share of the network with which held-out tokens are the likeliest."""
    shares = np.linspace(0, 0.99, 100)
    return max(shares, key=lambda g: np.log((1 - g) * np.exp(p) + g * np.exp(q)).mean())


def masked(name, n_tokens, seconds, seed):
    """Return the nats per token that is hidden alone of every system, minus."""
    fit, test = texts.split(name, n_tokens, seed)
    model = MaskedLanguageModel(random_state=seed, **fit.how)
    some = test.texts[:MASKED_TEST]
    model = within(model, fit.texts, seconds)
    started = process_time()
    model.fit(fit.texts)
    took = process_time() - started
    start = MaskedLanguageModel(max_iter=0, random_state=seed, **fit.how)
    start.fit(fit.texts)
    sequences, test_sequences = model._texts(fit.texts), model._texts(some)
    alone = Alone(sequences, seconds, seed, causal=False)
    inner = test_sequences.tokens[test_sequences.tokens != test_sequences.end]
    seen = np.bincount(sequences.tokens, minlength=sequences.n_tokens) + 0.5
    seen[sequences.end] = 0
    return {
        "unigrams": np.log(seen[inner] / seen.sum()).mean(),
        "n-grams": start.score(some),
        "alone": alone.hidden_one_by_one(test_sequences),
        "skae": model.score(some),
        "fit_seconds": round(took, 1),
        "epochs": model.n_iter_,
        "best_iter": model.best_iter_,
    }


class Bags:
    """An autoencoder of bags of tokens without any start."""

    def __init__(self, counts, k, seconds, seed):
        torch.manual_seed(seed)
        n, n_tokens = counts.shape
        x = torch.from_numpy(counts.toarray()).float()
        encoder = [nn.Linear(n_tokens, 128), nn.GELU(), nn.Linear(128, k)]
        decoder = [nn.Linear(k, 128), nn.GELU(), nn.Linear(128, n_tokens)]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
        train, valid = train_test_split(np.arange(n), test_size=0.1, random_state=seed)
        started, best, state = process_time(), np.inf, None
        while process_time() - started < seconds:
            for rows in torch.from_numpy(train)[torch.randperm(len(train))].split(64):
                loss = self.nll(x[rows]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(self.nll(x[valid]).mean())
            if loss < best:
                best, state = loss, [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, value in zip(parameters, state, strict=True):
                parameter.copy_(value)

    def nll(self, x):
        """Return the loss of bags, shape (n,)."""
        share = x / x.sum(1, keepdim=True).clamp(min=1)
        log_probs = torch.log_softmax(self.decoder(self.encoder(share)), 1)
        return -(x * log_probs).sum(1)

    @torch.no_grad()
    def codes(self, counts):
        """Return the codes of bags."""
        x = torch.from_numpy(counts.toarray()).float()
        return self.encoder(x / x.sum(1, keepdim=True).clamp(min=1)).double().numpy()

    @torch.no_grad()
    def log_probs(self, codes):
        """Return the log-probability of every token given codes."""
        z = torch.from_numpy(codes).float()
        return torch.log_softmax(self.decoder(z), 1).double().numpy()


def codes(name, n_texts, k, seed, systems=CODERS):
    """Return what codes of every system are worth."""
    corpus = texts.CORPORA[name]()
    order = np.random.default_rng(seed).permutation(len(corpus.texts))
    picked = order[: n_texts + TEST_TEXTS]
    given = [corpus.texts[i] for i in picked]
    labels = np.array([corpus.labels[i] for i in picked])
    fit, test = given[:n_texts], given[n_texts:]
    halves = [text.split() for text in test]
    first = [" ".join(words[: len(words) // 2]) for words in halves]
    second = [" ".join(words[len(words) // 2 :]) for words in halves]
    figures = {}
    for system, fit_one in {
        "LSA": partial(fit_skae, start="lsa", max_iter=0),
        "CA": partial(fit_skae, max_iter=0),
        "skae": fit_skae,
        "alone": fit_bags,
    }.items():
        if system not in systems:
            continue
        started = process_time()
        code, log_probs, counts = fit_one(fit, k, seed)
        figures[f"{system} seconds"] = process_time() - started
        for what, seen, said in (("own", test, test), ("completion", first, second)):
            bag = counts(said)
            total = sum(
                bag[rows].multiply(log_probs(code(seen[rows.start : rows.stop]))).sum()
                for rows in slices(len(said))
            )
            figures[f"{system} {what}"] = -total / bag.sum()
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        regression.fit(code(fit), labels[:n_texts])
        accuracy = regression.score(code(test), labels[n_texts:])
        figures[f"{system} accuracy"] = accuracy
    return figures


def fit_skae(fit, k, seed, **how):
    """Return what codes texts, what a code says of tokens, and what counts them."""
    model = TextAutoencoder(k, random_state=seed, **how).fit(fit)
    log_probs = model._fit.model.log_probs
    return model.transform, log_probs, lambda X: model._texts(X).counts()


def fit_bags(fit, k, seed):
    """Return the same of an autoencoder without a start."""
    vocabulary = TextAutoencoder(k, max_iter=0).fit(fit)

    def counts(X):
        return vocabulary._texts(X).counts()

    bags = Bags(counts(fit), k, 60, seed)
    return lambda X: bags.codes(counts(X)), bags.log_probs, counts


def slices(n):
    """Return slices of 500 rows."""
    return [slice(i, min(i + 500, n)) for i in range(0, n, 500)]


WHAT: dict[str, Callable[..., dict[str, float]]] = {
    "causal": causal,
    "masked": masked,
    "codes": codes,
}


# The report


def report() -> str:
    """Return the tables of all that is stored."""
    records = list(harness.read_results(FILE)["records"].values())
    parts = []
    for what in ("causal", "masked"):
        own = [r for r in records if r["what"] == what]
        if not own:
            continue
        systems = ["unigrams"] * (what == "masked") + ["n-grams", "alone"]
        systems += ["static mix"] * (what == "causal") + ["skae"]
        rows: list[list[object]] = []
        for key in sorted({(r["corpus"], r["tokens"], r["seconds"]) for r in own}):
            cell = [r for r in own if (r["corpus"], r["tokens"], r["seconds"]) == key]
            nats = [-mean(r[system] for r in cell) for system in systems]
            took = mean(r["fit_seconds"] for r in cell)
            rows.append([*key, len(cell), *nats, round(took)])
        header = [f"{what}, nats per token", "tokens", "seconds", "seeds", *systems]
        parts += [harness.markdown_table([*header, "took"], rows), ""]
        gains = [r["skae"] - r["n-grams"] for r in own]
        below = sum(gain < -MARGIN for gain in gains)
        parts.append(f"Below the start by {MARGIN}: {below} of {len(own)}.")
        if what == "causal":
            mixes = sum(r["skae"] >= r["static mix"] - 1e-9 for r in own)
            parts.append(f"At or above the static mix: {mixes} of {len(own)}.")
            large = [
                gain
                for gain, r in zip(gains, own, strict=True)
                if r["tokens"] >= 100_000
            ]
            better = sum(gain >= 0.02 for gain in large)
            parts.append(f"Gain of .02 from 100,000 tokens: {better} of {len(large)}.")
        parts.append("")
    own = [r for r in records if r["what"] == "codes"]
    for figure in ("own", "completion", "accuracy") if own else ():
        rows = []
        for key in sorted({(r["corpus"], r["tokens"], r["seconds"]) for r in own}):
            cell = [r for r in own if (r["corpus"], r["tokens"], r["seconds"]) == key]
            found = (
                [r[f"{s} {figure}"] for r in cell if f"{s} {figure}" in r]
                for s in CODERS
            )
            rows.append([*key, len(cell), *(mean(v) if v else None for v in found)])
        header = [f"codes, {figure}", "texts", "k", "seeds", *CODERS]
        sign = 1 if figure == "accuracy" else -1
        below = sum(
            sign * (r[f"skae {figure}"] - r[f"CA {figure}"]) < -MARGIN for r in own
        )
        parts += [harness.markdown_table(header, rows), ""]
        parts += [f"Worse than CA by {MARGIN}: {below} of {len(own)}.", ""]
    return "\n".join(parts).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--corpora", nargs="+", default=texts.available())
    parser.add_argument("--tokens", nargs="+", type=int, default=SIZES)
    parser.add_argument("--texts", nargs="+", type=int, default=TEXTS)
    parser.add_argument("--seconds", nargs="+", type=int, default=SECONDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(3))
    parser.add_argument("--systems", nargs="+", choices=CODERS, default=CODERS)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        print(report())
        return
    torch.set_num_threads(1)
    done = harness.read_results(FILE)["records"]
    for what in given.what:
        for corpus in given.corpora:
            for seed in given.seeds:
                is_codes = what == "codes"
                if is_codes and corpus == "words":  # a text of one word has no halves
                    continue
                for tokens in given.texts if is_codes else given.tokens:
                    for seconds in CODE_SIZES if is_codes else given.seconds:
                        key = f"{what}|{corpus}|{tokens}|{seconds}|{seed}"
                        if key in done and not given.force:
                            continue
                        cell = {"what": what, "corpus": corpus, "tokens": tokens}
                        cell |= {"seconds": seconds, "seed": seed}
                        some = {"systems": given.systems} if is_codes else {}
                        figures = WHAT[what](corpus, tokens, seconds, seed, **some)
                        figures = {k: float(v) for k, v in figures.items()}
                        others = done.get(key, {}) if is_codes else {}
                        harness.save_record(FILE, key, {**others, **cell, **figures})
                        print(key, {k: round(v, 4) for k, v in figures.items()})


if __name__ == "__main__":
    main()
