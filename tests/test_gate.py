"""The gate: folds, the vectorised replicas, and when PCA is kept."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from torch import nn

from skae import VAE, AutoencoderTransformer
from skae._autoencoder import AutoencoderModule
from skae._dataset import RowDataset, TrainingData
from skae._gate import Evidence, Replicas
from skae._training import SMALL_TABLE
from skae.architectures import MLP, Modules


def modules_of(make, n=3):
    modules = []
    for seed in range(n):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            modules.append(make())
    return modules


def mlp():
    generator = torch.Generator().manual_seed(torch.initial_seed())
    return AutoencoderModule(*MLP((4,)).build((5,), 2, generator))


def tied():
    generator = torch.Generator().manual_seed(torch.initial_seed())
    return AutoencoderModule(*MLP((4,), tied_weights=True).build((5,), 2, generator))


class Recurrent(nn.Module):
    """A GRU over the columns, which vmap cannot do."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.gru, self.last = nn.GRU(1, 3, batch_first=True), nn.Linear(3, n_out)

    def forward(self, x):
        return self.last(self.gru(x[:, :, None])[0][:, -1])


def recurrent():
    return AutoencoderModule(Recurrent(5, 2), Recurrent(2, 5))


def normalised():
    encoder = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return AutoencoderModule(encoder, nn.Linear(2, 5))


@pytest.mark.parametrize("make", [mlp, tied, recurrent, normalised])
@pytest.mark.parametrize("training", [True, False])
def test_replicas_compute_what_the_separate_modules_compute(make, training):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    modules = modules_of(make)
    expected = [copy.deepcopy(m).train(training)(x) for m in modules]
    replicas = Replicas(modules, x[:2]).train(training)
    outputs = replicas(x)
    for i, part in enumerate(zip(*expected, strict=True)):
        assert outputs[i].shape == (3, *part[0].shape)
        torch.testing.assert_close(outputs[i], torch.stack(part))


@pytest.mark.parametrize("make", [mlp, tied, recurrent])
def test_replicas_learn_what_the_separate_modules_learn(make):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    modules = modules_of(make)
    separate = copy.deepcopy(modules)
    replicas = Replicas(modules, x[:2]).train()
    optimizer = torch.optim.SGD(replicas.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (replicas(x)[0] - x).square().sum(-1).mean(-1).sum().backward()
        optimizer.step()
    for module in separate:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (module(x)[0] - x).square().sum(-1).mean().backward()
            optimizer.step()
    expected = torch.stack([module(x)[0] for module in separate])
    torch.testing.assert_close(replicas(x)[0], expected, rtol=1e-4, atol=1e-5)


def test_only_modules_that_cannot_be_vectorised_run_in_a_loop():
    x = torch.zeros(2, 5)
    assert not len(Replicas(modules_of(mlp), x).separate)
    assert len(Replicas(modules_of(recurrent), x).separate) == 3


def batch_norm(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 4), nn.BatchNorm1d(4), nn.Linear(4, n_out))


@pytest.mark.parametrize("network", [Recurrent, batch_norm])
def test_networks_with_a_memory_fit_a_small_table(network):
    X = np.random.RandomState(0).randn(30, 5)
    architecture = Modules(network, network)
    model = AutoencoderTransformer(
        2, architecture=architecture, max_iter=2, random_state=0
    ).fit(X)
    assert np.isfinite(model.transform(X)).all()


def test_dropout_neither_reads_nor_moves_the_global_rng():
    X = np.random.RandomState(0).randn(60, 5)

    def encoder(n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, 8), nn.Dropout(0.5), nn.Linear(8, n_out))

    model = AutoencoderTransformer(
        2,
        architecture=Modules(encoder, nn.Linear),
        init="random",
        max_iter=2,
        random_state=0,
    )
    before = torch.get_rng_state()
    codes = model.fit(X).transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # the user's own draws must not matter
    np.testing.assert_array_equal(model.fit(X).transform(X), codes)


def test_replicas_that_run_one_after_the_other_draw_from_one_generator_too():
    X = np.random.RandomState(0).randn(60, 5)
    model = VAE(2, architecture=Modules(Recurrent, Recurrent), max_iter=2)
    before = torch.get_rng_state()
    codes = model.set_params(random_state=0).fit(X).transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    np.testing.assert_array_equal(model.fit(X).transform(X), codes)


def test_the_folds_hold_out_every_row_exactly_once(monkeypatch):
    seen = []
    original = TrainingData.__post_init__

    def spy(data):
        original(data)
        seen.append(data)

    monkeypatch.setattr(TrainingData, "__post_init__", spy)
    X = np.random.RandomState(0).randn(53, 4)
    AutoencoderTransformer(2, hidden_layer_sizes=(3,), max_iter=1, random_state=0).fit(
        X
    )
    (data,) = [data for data in seen if data.fold_of is not None][:1]
    assert sorted(data.valid.tolist()) == list(range(53))
    weight = data.train_weight
    assert weight.shape[1] == 53
    trains = weight > 0
    assert (trains.sum(0) == len(weight) - 1).all()  # each row is blind to one replica
    held_out = (~trains).float().argmax(0)
    assert torch.equal(held_out, data.fold_of)
    sizes = torch.bincount(held_out)
    assert sizes.max() - sizes.min() <= 1
    torch.testing.assert_close(weight.mean(1), torch.ones(len(weight)))


def test_the_held_out_loss_is_that_of_the_replica_that_is_blind_to_the_row():
    X = np.random.RandomState(0).randn(6, 2)
    data = TrainingData(
        RowDataset(X, X.mean(0), 1.0, torch.device("cpu")),
        torch.arange(6),
        torch.arange(6),
        fold_of=torch.tensor([0, 1, 2, 0, 1, 2]),
    )
    loss = torch.arange(18.0).reshape(3, 6)
    expected = torch.tensor([0.0, 7, 14, 3, 10, 17])
    torch.testing.assert_close(data.of_held_out(torch.arange(6), loss), expected)


@pytest.mark.parametrize("in_folds", [True, False])
@pytest.mark.parametrize("weight", [None, torch.arange(1.0, 13.0)])
def test_the_noise_of_a_row_is_what_other_rows_show(in_folds, weight):
    dataset = RowDataset(np.zeros((12, 2)), np.zeros(2), 1.0, "cpu")
    rows = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    fold_of = torch.arange(12) % 3 if in_folds else None
    if in_folds:
        rows = torch.arange(12)
    data = TrainingData(dataset, rows[:0], rows, weight, fold_of)
    squares, n_values = torch.arange(12.0) ** 2, 1 + torch.arange(12.0) % 4
    others, whole = data.variances(squares, n_values)
    part = rows % 3 if in_folds else torch.arange(12) % 5
    w = np.ones(12) if weight is None else weight[rows].numpy()
    for i, variance in enumerate(others):
        keep = (part != part[i]).numpy()
        expected = (w * squares.numpy())[keep].sum() / (w * n_values.numpy())[
            keep
        ].sum()
        assert variance == pytest.approx(expected)
    expected = np.average(squares, weights=w) / np.average(n_values, weights=w)
    assert whole == pytest.approx(expected)


def test_the_paired_improvement_must_exceed_its_standard_errors():
    before = torch.tensor([1.0, 1.0, 1.0, 1.0])

    def opens(after, weight=None):
        return Evidence.of(before, after, weight).opens(2.0)

    assert opens(before - 0.1)
    assert not opens(before)
    assert not opens(before + 0.1)
    noisy = before - torch.tensor([1.0, -1.0, 1.0, -0.9])
    assert not opens(noisy)
    assert opens(noisy, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert not opens(torch.full((4,), torch.nan))


def test_evidence_is_the_mean_and_its_standard_error():
    before, after = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    gain = (before - after + 0.1).double()
    evidence = Evidence.of(before + 0.1, after, None)
    n_errors = float(gain.mean() / (gain.std(correction=0) / len(gain) ** 0.5))
    assert evidence.gain == pytest.approx(float(gain.mean()))
    assert evidence.mean_loss == pytest.approx(float(after.mean()))
    assert evidence.n_errors == pytest.approx(n_errors)
    assert evidence.opens(0.999 * n_errors)
    assert not evidence.opens(1.001 * n_errors)


def test_evidence_of_batches_is_that_of_their_rows_with_decaying_weights():
    before, after = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    before += 0.2
    pooled = Evidence()
    for rows in torch.arange(30).split(10):
        batch = Evidence.of(before[rows], after[rows], None)
        pooled = pooled.followed_by(batch)
    weight = torch.tensor([0.81, 0.9, 1.0]).repeat_interleave(10)
    whole = Evidence.of(before, after, weight)
    assert pooled.gain == pytest.approx(whole.gain)
    assert pooled.mean_loss == pytest.approx(whole.mean_loss)
    np.testing.assert_allclose(pooled.moments, whole.moments)
    assert not Evidence().opens(0.0)


@pytest.mark.parametrize("n", [40, 1500])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pure_noise_keeps_pca(n, seed):
    X = np.random.RandomState(seed).randn(n, 10)
    model = AutoencoderTransformer(
        3, max_iter=15, hidden_layer_sizes=(32,), random_state=seed
    ).fit(X)
    assert model.best_iter_ == 0
    np.testing.assert_allclose(model.transform(X), PCA(3).fit_transform(X), atol=1e-9)


@pytest.mark.parametrize("n", [12, 40, 160])
def test_few_rows_must_show_more(n, capsys):
    """1.25 standard errors and 30 / n more, as the documentation says."""
    X = np.random.RandomState(0).randn(n, 4)
    AutoencoderTransformer(1, max_iter=2, random_state=0, verbose=True).fit(X)
    assert f"more than {1.25 + 30 / n:.2f} are asked" in capsys.readouterr().out


@pytest.mark.parametrize("n", [150, 1500])
def test_a_curved_manifold_opens_the_gate(n):
    t = np.random.RandomState(0).uniform(-3, 3, n)
    X = np.column_stack([t, t**2, np.sin(2 * t)])
    X += 0.05 * np.random.RandomState(1).randn(n, 3)
    model = AutoencoderTransformer(
        1, hidden_layer_sizes=(64,), max_iter=100, random_state=0
    ).fit(X)
    assert model.best_iter_ > 0
    fresh = np.random.RandomState(2).uniform(-3, 3, 500)
    fresh = np.column_stack([fresh, fresh**2, np.sin(2 * fresh)])
    pca = PCA(1).fit(X)
    error = (fresh - pca.inverse_transform(pca.transform(fresh))) ** 2
    assert model.reconstruction_error(fresh).mean() < 0.7 * error.mean()


def test_what_the_gate_promises_holds_on_fresh_rows():
    """The validation score of the chosen epoch is an honest R2."""
    X = make_swiss_roll(1600, noise=0.2, random_state=0)[0]
    model = AutoencoderTransformer(2, max_iter=20, random_state=0).fit(X[:1200])
    fresh = X[1200:]
    error = model.reconstruction_error(fresh).sum() * X.shape[1]
    r2 = 1 - error / ((fresh - X[:1200].mean(0)) ** 2).sum()
    assert model.validation_scores_[model.best_iter_] == pytest.approx(r2, abs=0.06)
    assert model.validation_scores_[model.best_iter_] >= model.validation_scores_[0]


def test_copies_of_rows_do_not_fool_the_gate():
    """Copies of a row on both sides of a split would reward learning by heart."""
    X = np.repeat(np.random.RandomState(0).randn(40, 10), 5, axis=0)
    model = AutoencoderTransformer(
        3, hidden_layer_sizes=(64,), max_iter=40, random_state=0
    ).fit(X)
    assert model.best_iter_ == 0


@pytest.mark.parametrize("n", [SMALL_TABLE - 1, SMALL_TABLE])
def test_both_sides_of_the_small_table_boundary_train(n):
    X = np.random.RandomState(0).randn(n, 3)
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), max_iter=1, random_state=0
    ).fit(X)
    assert len(model.validation_scores_) == 2


def test_a_closed_gate_reports_the_scores_of_pca():
    X = np.random.RandomState(0).randn(60, 6)
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), max_iter=3, random_state=0
    ).fit(X)
    pca = PCA(2).fit(X)
    assert model.best_iter_ == 0
    np.testing.assert_allclose(model.score_samples(X), pca.score_samples(X), rtol=1e-9)
    ratio = pca.explained_variance_ratio_
    np.testing.assert_allclose(model.explained_variance_ratio_, ratio, rtol=1e-9)
