"""The gate: folds, the stacked modules, and when the start is kept."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from torch import nn

from skae import VAE, AdversarialAutoencoder, AutoencoderTransformer
from skae._autoencoder import AutoencoderModule
from skae._dataset import RowDataset, TrainingData
from skae._gate import PairedImprovement, StackedModules, threshold
from skae._losses import ReconstructionLoss
from skae._module import BaseModule, with_linear_paths
from skae._net import AutoencoderNet
from skae._plan import SMALL_TABLE
from skae.architectures import MLP, Modules

# Stacked modules


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


def linear_paths():
    """Return a module with fixed numbers of its own beside its networks."""
    module = AutoencoderModule(
        *with_linear_paths(
            nn.Linear(5, 2), nn.Linear(2, 5), 5, 2, 2, linear_encoder=False
        )
    )
    rng = np.random.RandomState(torch.initial_seed())
    module.set_linear_path(*(rng.standard_normal(s) for s in [(2, 5), 2, (5, 2), 5]))
    return module


class OfKnown(BaseModule):
    """A module that reads the mask of what is known."""

    def forward(self, x, known=None):
        return (self.decode(self.encode(x if known is None else x * known)),)


def rows_of_5(n=7):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [mlp, tied, recurrent, normalised, linear_paths])
@pytest.mark.parametrize("training", [True, False])
def test_stacked_modules_compute_what_the_separate_ones_compute(make, training):
    x = rows_of_5()
    modules = modules_of(make)
    expected = [copy.deepcopy(m).train(training)(x) for m in modules]
    stacked = StackedModules(modules, (x[:2],)).train(training)
    outputs = stacked(x)
    for i, part in enumerate(zip(*expected, strict=True)):
        assert outputs[i].shape == (3, *part[0].shape)
        torch.testing.assert_close(outputs[i], torch.stack(part))


@pytest.mark.parametrize("make", [mlp, tied, recurrent])
def test_stacked_modules_learn_what_the_separate_ones_learn(make):
    x = rows_of_5()
    modules = modules_of(make)
    separate = copy.deepcopy(modules)
    stacked = StackedModules(modules, (x[:2],)).train()
    optimizer = torch.optim.SGD(stacked.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (stacked(x)[0] - x).square().sum(-1).mean(-1).sum().backward()
        optimizer.step()
    for module in separate:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (module(x)[0] - x).square().sum(-1).mean().backward()
            optimizer.step()
    expected = torch.stack([module(x)[0] for module in separate])
    torch.testing.assert_close(stacked(x)[0], expected, rtol=1e-4, atol=1e-5)


def test_only_modules_that_cannot_be_vectorised_run_in_a_loop():
    sample = (torch.zeros(2, 5),)
    assert not len(StackedModules(modules_of(mlp), sample).separate)
    assert len(StackedModules(modules_of(recurrent), sample).separate) == 3


def test_stacked_modules_remember_their_batches_each_for_itself():
    """Running means move as they would alone, and not by the rows of the trial."""
    modules = modules_of(normalised)
    separate = copy.deepcopy(modules)
    stacked = StackedModules(modules, (100 * rows_of_5(2),)).train()
    assert not len(stacked.separate)
    for x in rows_of_5(24).split(8):
        for module in (stacked, *separate):
            module(x)
    x = rows_of_5()
    expected = torch.stack([module.eval()(x)[0] for module in separate])
    torch.testing.assert_close(stacked.eval()(x)[0], expected)
    counts = [b for b in stacked.buffers() if not b.is_floating_point()]
    assert [count.tolist() for count in counts] == [[3, 3, 3]]


def test_the_buffers_of_stacked_modules_are_part_of_their_state():
    stacked = StackedModules(modules_of(normalised), (rows_of_5(2),)).train()
    before = copy.deepcopy(stacked.state_dict())
    expected = stacked.eval()(rows_of_5())[0]
    stacked.train()(rows_of_5() + 3)
    assert not torch.equal(stacked.eval()(rows_of_5())[0], expected)
    stacked.load_state_dict(before)
    assert torch.equal(stacked.eval()(rows_of_5())[0], expected)


@pytest.mark.parametrize("network", [nn.Linear, Recurrent])
def test_stacked_modules_are_told_what_is_known(network):
    x = rows_of_5()
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    modules = modules_of(lambda: OfKnown(network(5, 2), network(2, 5)))
    expected = torch.stack([copy.deepcopy(m)(x, known)[0] for m in modules])
    stacked = StackedModules(modules, (x[:2], known[:2]))
    torch.testing.assert_close(stacked(x, known)[0], expected)
    assert not torch.allclose(stacked(x)[0], expected)


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


def dropped(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.Dropout(0.5), nn.Linear(8, n_out))


def with_dropout(seed=0):
    return AutoencoderTransformer(
        2,
        architecture=Modules(dropped, nn.Linear),
        init="random",
        max_iter=2,
        random_state=seed,
    )


def test_dropout_neither_reads_nor_moves_the_global_rng():
    X, model = np.random.RandomState(0).randn(60, 5), with_dropout()
    before = torch.get_rng_state()
    codes = model.fit(X).transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # the user's own draws must not matter
    np.testing.assert_array_equal(model.fit(X).transform(X), codes)


def test_fits_in_several_threads_do_not_mix():
    X = np.random.RandomState(0).randn(60, 5)
    expected = [with_dropout(seed).fit_transform(X) for seed in range(4)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        models = [with_dropout(seed) for seed in range(4)]
        codes = list(pool.map(lambda model: model.fit_transform(X), models))
    np.testing.assert_array_equal(codes, expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_that_run_one_after_the_other_draw_from_one_generator_too():
    X = np.random.RandomState(0).randn(60, 5)
    model = VAE(2, architecture=Modules(Recurrent, Recurrent), max_iter=2)
    before = torch.get_rng_state()
    codes = model.set_params(random_state=0).fit(X).transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    np.testing.assert_array_equal(model.fit(X).transform(X), codes)


# Folds


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
    assert (trains.sum(0) == len(weight) - 1).all()  # one module is blind to each row
    held_out = (~trains).float().argmax(0)
    assert torch.equal(held_out, data.fold_of)
    sizes = torch.bincount(held_out)
    assert sizes.max() - sizes.min() <= 1
    torch.testing.assert_close(weight.mean(1), torch.ones(len(weight)))


@pytest.mark.parametrize("make", [mlp, recurrent, tied])
def test_the_held_out_loss_is_that_of_the_module_that_is_blind_to_the_row(make):
    X = np.random.RandomState(0).randn(8, 5)
    fold_of = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1])
    rows = torch.tensor([5, 3, 7, 0, 1, 2, 6, 4])
    dataset = RowDataset(X, X.mean(0), 1.0, torch.device("cpu"))
    data = TrainingData(dataset, rows, rows, fold_of=fold_of)
    modules = modules_of(make)
    stacked = StackedModules(modules, (rows_of_5(2),))
    net = AutoencoderNet(stacked, ReconstructionLoss, max_epochs=1, batch_size=8)
    losses = net.initialize().held_out_losses(data)
    x = dataset.take(torch.arange(8))[0]
    with torch.no_grad():
        each = torch.stack([(m(x)[0] - x).square().sum(1) for m in modules])
    torch.testing.assert_close(losses, each[fold_of, torch.arange(8)][rows])


@pytest.mark.parametrize("in_folds", [True, False])
@pytest.mark.parametrize("weight", [None, torch.arange(1.0, 13.0)])
def test_the_ratio_at_a_row_is_that_of_the_other_rows(in_folds, weight):
    dataset = RowDataset(np.zeros((12, 2)), np.zeros(2), 1.0, "cpu")
    rows = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    fold_of = torch.arange(12) % 3 if in_folds else None
    if in_folds:
        rows = torch.arange(12)
    data = TrainingData(dataset, rows[:0], rows, weight, fold_of)
    squares, n_values = torch.arange(12.0) ** 2, 1 + torch.arange(12.0) % 4
    others, whole = data.ratios_of_others(squares, n_values)
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


def test_a_unit_has_no_say_in_the_ratio_at_its_own_rows():
    dataset = RowDataset(np.zeros((12, 2)), np.zeros(2), 1.0, "cpu")
    rows, units = torch.arange(12), torch.arange(12) // 2
    data = TrainingData(dataset, rows[:0], rows, units=units)
    squares = torch.ones(12)
    ratios, _ = data.ratios_of_others(squares, torch.ones(12))
    for unit in range(6):
        far = torch.where(units == unit, 1e6, squares)
        others, _ = data.ratios_of_others(far, torch.ones(12))
        own = units == unit
        torch.testing.assert_close(others[own], ratios[own])


@pytest.mark.parametrize("in_pairs", [False, True])
def test_units_of_unequal_weights_are_as_many_as_chance_is_alike_for(in_pairs):
    """The variance of a weighted mean is that of one unit, by how many there are."""
    rng = np.random.default_rng(0)
    dataset = RowDataset(np.zeros((40, 2)), np.zeros(2), 1.0, "cpu")
    rows = torch.arange(40)
    units = rows // 2 if in_pairs else None
    of_units = rng.exponential(size=20 if in_pairs else 40)
    weight = np.repeat(of_units, 2) if in_pairs else of_units
    data = TrainingData(dataset, rows, rows, torch.from_numpy(weight), units=units)
    draws = rng.standard_normal((100_000, len(of_units)))
    means = draws @ (of_units / of_units.sum())
    assert data.n_units == pytest.approx(1 / means.var(), rel=0.02)
    same = TrainingData(dataset, rows, rows, torch.full((40,), 3.0), units=units)
    assert same.n_units == pytest.approx(len(of_units))


# The paired improvement


def test_the_paired_improvement_must_exceed_its_standard_errors():
    before = torch.tensor([1.0, 1.0, 1.0, 1.0])

    def exceeds(after, weight=None):
        return PairedImprovement.of(before, after, weight).exceeds(2.0)

    assert exceeds(before - 0.1)
    assert not exceeds(before)
    assert not exceeds(before + 0.1)
    noisy = before - torch.tensor([1.0, -1.0, 1.0, -0.9])
    assert not exceeds(noisy)
    assert exceeds(noisy, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert not exceeds(torch.full((4,), torch.nan))


def test_the_paired_improvement_is_a_mean_and_its_standard_error():
    before, after = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    gain = (before - after + 0.1).double()
    improvement = PairedImprovement.of(before + 0.1, after)
    z = float(gain.mean() / (gain.std(correction=0) / len(gain) ** 0.5))
    assert improvement.mean == pytest.approx(float(gain.mean()))
    assert improvement.mean_loss == pytest.approx(float(after.mean()))
    assert improvement.z_score == pytest.approx(z)
    assert improvement.exceeds(0.999 * z)
    assert not improvement.exceeds(1.001 * z)


@pytest.mark.parametrize("weight", [None, torch.arange(1.0, 61.0) % 7])
def test_the_standard_error_allows_for_units_of_several_rows(weight):
    """The cluster sandwich of a weighted mean (Liang & Zeger 1986), by hand."""
    generator = torch.Generator().manual_seed(0)
    units = torch.randint(11, (60,), generator=generator)
    of_units = torch.rand(11, generator=generator)
    gain, after = torch.rand(2, 60, generator=generator)
    gain += of_units[units] - 0.2
    improvement = PairedImprovement.of(after + gain, after, weight, units)
    w = np.ones(60) if weight is None else weight.double().numpy()
    g, u = gain.double().numpy(), units.numpy()
    mean = np.average(g, weights=w)
    scores = np.array([(w * (g - mean))[u == unit].sum() for unit in np.unique(u)])
    error = np.sqrt((scores**2).sum()) / w.sum()
    assert improvement.mean == pytest.approx(mean, rel=1e-6)
    assert improvement.z_score == pytest.approx(mean / error, rel=1e-5)
    mean_loss = np.average(after.double(), weights=w)
    assert improvement.mean_loss == pytest.approx(mean_loss)


def test_units_of_one_row_each_change_nothing():
    before, after = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    units = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    improvement = PairedImprovement.of(before, after, None, units)
    expected = PairedImprovement.of(before, after)
    assert improvement.z_score == pytest.approx(expected.z_score)


def test_copies_in_one_unit_make_nothing_surer():
    before, after = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    once = PairedImprovement.of(before, after)
    copies = before.repeat(4), after.repeat(4)
    assert PairedImprovement.of(*copies).z_score == pytest.approx(2 * once.z_score)
    in_units = PairedImprovement.of(*copies, units=torch.arange(30).repeat(4))
    assert in_units.z_score == pytest.approx(once.z_score)


def test_the_improvement_of_batches_is_that_of_their_rows_with_decaying_weights():
    before, after = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    before += 0.2
    pooled = PairedImprovement()
    for rows in torch.arange(30).split(10):
        batch = PairedImprovement.of(before[rows], after[rows])
        pooled = pooled.followed_by(batch)
    weight = torch.tensor([0.81, 0.9, 1.0]).repeat_interleave(10)
    whole = PairedImprovement.of(before, after, weight)
    assert pooled.mean == pytest.approx(whole.mean)
    assert pooled.mean_loss == pytest.approx(whole.mean_loss)
    np.testing.assert_allclose(pooled.moments, whole.moments)
    assert not PairedImprovement().exceeds(0.0)


# What is asked


@pytest.mark.parametrize("n", [10, 30, 999])
def test_folds_ask_for_more_the_fewer_units_there_are(n):
    assert threshold(n, in_folds=True) == 1.25 + 30 / n


@pytest.mark.parametrize(("n", "errors"), [(10, 4.25), (30, 2.25), (40, 2), (1e4, 2)])
def test_a_split_asks_for_at_least_two_standard_errors(n, errors):
    assert threshold(n, in_folds=False) == errors


def test_few_units_that_have_all_of_the_improvement_are_few():
    before, after = torch.ones(100), torch.ones(100)
    after[:2] = 0.0  # 1.4 standard errors
    two = PairedImprovement.of(before, after)
    assert two.n_even == pytest.approx(2, rel=0.1)
    units = torch.arange(100) // 2
    assert PairedImprovement.of(before, after, None, units).n_even < 1.1
    normal = torch.from_numpy(np.random.RandomState(0).randn(30_000))
    even = PairedImprovement.of(0 * normal, normal).n_even
    assert even == pytest.approx(10_000, rel=0.05)  # the kurtosis is 3
    assert np.isinf(PairedImprovement.of(before, before - 1).n_even)


def test_no_units_and_units_without_end_have_a_threshold():
    assert threshold(0, in_folds=False) == 31.25
    assert threshold(np.inf, in_folds=False) == 2.0


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


def test_groups_are_what_counts_as_few(capsys):
    X = np.random.RandomState(0).randn(120, 4)
    model = AutoencoderTransformer(1, max_iter=2, random_state=0, verbose=True)
    model.fit(X, groups=np.arange(120) // 4)
    assert f"more than {1.25 + 30 / 30:.2f} are asked" in capsys.readouterr().out


# Whole fits


def curve(n, seed=0):
    t = np.random.RandomState(seed).uniform(-3, 3, n)
    return np.column_stack([t, t**2, np.sin(2 * t)])


@pytest.mark.parametrize("n", [150, 1500])
def test_a_curved_manifold_opens_the_gate(n):
    X = curve(n)
    X += 0.05 * np.random.RandomState(1).randn(n, 3)
    model = AutoencoderTransformer(
        1, hidden_layer_sizes=(64,), max_iter=100, random_state=0
    ).fit(X)
    assert model.best_iter_ > 0
    fresh = curve(500, seed=2)
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


def test_near_copies_do_not_fool_the_gate_if_they_are_a_group():
    rng = np.random.RandomState(0)
    X = np.repeat(rng.randn(40, 10), 5, axis=0) + 0.01 * rng.randn(200, 10)
    model = AutoencoderTransformer(
        3, hidden_layer_sizes=(64,), max_iter=40, random_state=0
    )
    assert model.fit(X).best_iter_ > 0
    assert model.fit(X, groups=np.repeat(np.arange(40), 5)).best_iter_ == 0


def test_fewer_than_five_groups_say_nothing():
    X, groups = curve(300), np.arange(300)
    model = AutoencoderTransformer(1, random_state=0)
    assert model.fit(X, groups=groups % 30).best_iter_ > 0
    with pytest.warns(UserWarning, match="fewer than 5 cannot say"):
        assert model.fit(X, groups=groups % 4).best_iter_ == 0


@pytest.mark.parametrize(
    "groups", [None, np.arange(400) // 4], ids=["alone", "in groups"]
)
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_rows_of_their_own_decide_with_groups_and_without(estimator, groups):
    model = estimator(1, random_state=0)
    model.fit(curve(400), groups=groups, X_val=curve(200, seed=1))
    assert model.best_iter_ > 0


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


@pytest.mark.parametrize("seed", [5, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cls", [AutoencoderTransformer, AdversarialAutoencoder])
def test_a_network_of_all_rows_keeps_what_the_folds_have_found(cls, dtype, seed):
    """On a circle PCA's axis is there by chance, and training may be lost from it."""
    rng = np.random.RandomState(seed)
    angle = rng.uniform(-np.pi, np.pi, 2300)
    X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.randn(2300, 2)
    few, new = np.split(X.astype(dtype), [300])
    model = cls(1, random_state=seed).fit(few)
    again = pickle.loads(pickle.dumps(model))
    for fitted in (model, again):
        rebuilt = fitted.inverse_transform(fitted.transform(new))
        r2 = 1 - ((rebuilt - new) ** 2).sum() / ((new - few.mean(0)) ** 2).sum()
        assert r2 > 0.9 * max(model.validation_scores_) - 0.05
