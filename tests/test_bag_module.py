"""The module of bags of tokens: where it starts, and that it learns."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from torch import nn

from skae._module import LinearResidual
from skae.text import TextAutoencoder
from skae.text._autoencoder import BagLoss, BagNet
from skae.text._bag_module import SHARE, BagModule
from skae.text._correspondence import CorrespondenceAnalysis, LatentSemantics

both = pytest.mark.parametrize("model", [CorrespondenceAnalysis, LatentSemantics])


def texts(n=80, n_tokens=30, seed=0):
    """Token numbers of texts of one of three topics, padded; the last has none."""
    rng = np.random.RandomState(seed)
    topics = rng.dirichlet(np.full(n_tokens, 0.2), 3)
    x = np.full((n, 20), -1)
    for i, row in enumerate(x[:-1]):
        length = rng.randint(3, 21)
        row[:length] = rng.choice(n_tokens, length, p=topics[i % 3])
    return torch.from_numpy(x)


def counts_of(x, n_tokens=30):
    rows, columns = np.nonzero(x.numpy() >= 0)
    ones = np.ones(len(rows))
    tokens = x.numpy()[rows, columns]
    return sp.csr_matrix((ones, (rows, tokens)), shape=(len(x), n_tokens))


def module_of(x, model=CorrespondenceAnalysis, k=3, n_coordinates=6):
    torch.manual_seed(0)
    start = model.of(counts_of(x), k)
    axes = CorrespondenceAnalysis.of(counts_of(x), n_coordinates)
    encoder = nn.Sequential(nn.Linear(n_coordinates, 8), nn.GELU(), nn.Linear(8, k))
    decoder = nn.Sequential(nn.Linear(k, 8), nn.GELU(), nn.Linear(8, n_coordinates))
    by_idf = model is LatentSemantics
    module = BagModule(
        LinearResidual(encoder, n_coordinates, k, gain=False),
        LinearResidual(decoder, k, n_coordinates, gain=False),
        by_idf=by_idf,
    )
    module.double().set_start(start, axes, length=10.0)
    module.generator = torch.Generator().manual_seed(0)
    return module, start


def token_nll(log_probs, x, known=None):
    """Negative log-likelihood of texts, given log-probabilities of all tokens."""
    known = x >= 0 if known is None else known
    return -(log_probs.gather(1, x.clamp(min=0)) * known).sum(1)


def test_the_default_type_of_torch_rounds_nothing():
    module, start = module_of(texts())
    axes = CorrespondenceAnalysis.of(counts_of(texts()), 6)
    torch.set_default_dtype(torch.bfloat16)
    try:
        module.set_start(start, axes, length=10.1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert float(module.length) == 10.1


@both
def test_it_starts_exactly_at_the_closed_form(model):
    x = texts()
    module, start = module_of(x, model)
    codes = start.codes(counts_of(x))
    z = module.encode(x)
    assert_allclose(z.detach(), codes, atol=1e-10)
    log_probs = module.decode(z).detach()
    assert_allclose(log_probs, start.log_probs(codes), atol=1e-10)
    expected = -start.log_likelihood(counts_of(x), codes)
    assert_allclose(token_nll(log_probs, x), expected, atol=1e-9)


@both
def test_padding_and_hidden_tokens_change_nothing(model):
    x = texts()
    module, _ = perturbed(*module_of(x, model))
    wider = torch.cat([x, torch.full((len(x), 4), -1)], 1)
    assert_allclose(module.encode(wider).detach(), module.encode(x).detach())
    known = (x >= 0) & (torch.arange(x.shape[1]) % 2 == 0)
    alone = torch.where(known, x, -1)
    hidden = module.encode(x, known).detach()
    assert_allclose(hidden, module.encode(alone).detach())
    log_probs = module.decode(module.encode(x)).detach()
    assert_allclose(token_nll(log_probs, x, known), token_nll(log_probs, alone))


def perturbed(module, start):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return module, start


@both
def test_probabilities_sum_to_one_whatever_was_learnt(model):
    x = texts()
    module, _ = perturbed(*module_of(x, model))
    assert_allclose(module.decode(module.encode(x)).detach().exp().sum(1), 1)


def test_at_most_half_of_the_tokens_are_seen_in_training():
    x = torch.zeros(2000, 50, dtype=torch.int64)
    module, _ = module_of(texts())
    seen = []
    module.encode = lambda x, known: seen.append(known) or torch.zeros(len(x), 3)
    module.log_probs_of = lambda z, tokens: z
    module(x, x >= 0)
    share = seen[0].double().mean(1)
    # A share that is uniform up to 1/2, and a binomial count of the 50 tokens.
    assert_allclose(share.mean(), 0.25, atol=0.02)
    assert_allclose(share.var(), 1 / 48 + (1 / 4 - 1 / 12) / 50, rtol=0.1)


def test_texts_that_judge_are_coded_as_a_whole_and_by_halves():
    x = texts()
    module, _ = perturbed(*module_of(x))
    known, coded = x >= 0, []
    encode = module.encode
    module.encode = lambda x, known: coded.append(known) or encode(x, known)
    log_probs, z, by_half, rest = module.eval()(x)
    whole, half = coded
    assert torch.equal(whole, known)
    assert torch.equal(half ^ rest, known)
    assert not (half & rest).any()
    assert 0.4 < half.sum() / known.sum() < 0.6
    for found, codes in ((log_probs, z), (by_half, encode(x, half))):
        expected = module.decode(codes).gather(1, x.clamp(min=0))
        assert_allclose(found.detach(), expected.detach())


def test_a_network_takes_no_more_than_a_share_from_the_start():
    x = texts()
    module, start = module_of(x)
    z = start.codes(counts_of(x))
    for parameter in module.decoder.parameters():
        torch.nn.init.normal_(parameter, std=30)
    found = module.decode(torch.from_numpy(100 * z)).detach()
    taken = torch.from_numpy(start.log_probs(100 * z)) - found
    assert 1 < taken.max() <= np.log(1 / SHARE) + 1e-9


@both
def test_every_parameter_receives_a_gradient(model):
    x = texts()
    module, _ = perturbed(*module_of(x, model))
    log_probs, _ = module(x)
    (log_probs * (x >= 0)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@both
def test_training_makes_other_texts_likelier(model):
    x = texts(300)
    module, _ = module_of(x[:200], model)
    other = x[200:-1]

    def nats():
        with torch.no_grad():
            log_probs = module.decode(module.encode(other))
        return token_nll(log_probs, other).mean().item()

    before = nats()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    for _ in range(60):
        log_probs, _ = module(x[:200])
        optimizer.zero_grad()
        (-log_probs * (x[:200] >= 0)).sum(1).mean().backward()
        optimizer.step()
    assert nats() < before - 0.1


def test_no_epoch_counts_whose_codes_say_less_of_the_rest():
    x = texts()
    module, _ = module_of(x)
    net = BagNet(module, BagLoss).initialize()
    with torch.no_grad():
        log_probs, _, by_half, rest = output = module.eval()(x)
    terms = net.criterion_.held_out_terms(output, x)
    assert_allclose(terms["loss"], -(log_probs * (x >= 0)).sum(1))
    assert_allclose(terms["completion"], -(by_half * rest).sum(1))
    net.completion_ = 2.0
    assert net._is_eligible(None, 0)
    for completion, counts in ((2.1, False), (2.0, True), (1.9, True)):
        net.history.new_epoch()
        net.completion_ = completion
        assert net._is_eligible(None, 1) == counts
    assert net.history[:, "valid_completion"] == [2.1, 2.0, 1.9]


def test_networks_whose_codes_say_less_of_the_rest_are_not_kept(monkeypatch):
    given = texts(400)[:-1].numpy()
    model = TextAutoencoder(3, max_iter=20, random_state=0)
    assert model.fit(given).best_iter_ > 0
    judged, held_out_terms = [], BagLoss.held_out_terms

    def worse_and_worse(*args, **kwargs):
        terms = held_out_terms(*args, **kwargs)
        judged.append(terms)
        return {**terms, "completion": terms["completion"] + 100 * len(judged)}

    monkeypatch.setattr(BagLoss, "held_out_terms", worse_and_worse)
    assert model.fit(given).best_iter_ == 0
