"""Rows as tensors, whether in memory, sparse or on disk."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import skae._dataset
from skae import AutoencoderTransformer
from skae._dataset import (
    RowDataset,
    TrainingData,
    is_streamed,
    memory_map,
    read_rows,
    row_chunks,
    sample_rows,
)

CPU = torch.device("cpu")


@pytest.fixture
def X():
    return np.random.RandomState(0).randn(2000, 6) * 3 + 10


@pytest.fixture
def mapped(X, tmp_path):
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def stream_everything(monkeypatch):
    monkeypatch.setattr(skae._dataset, "SMALL_BYTES", 0)


def test_rows_are_centred_before_they_are_rounded(X):
    X = X + 1e6
    x, known = RowDataset(X, X.mean(0), 3.0, CPU).take(torch.arange(2000))
    expected = (X - X.mean(0)) / 3
    assert known is None
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["array", "sparse", "memmap"])
@pytest.mark.parametrize("streamed", [False, True])
def test_rows_are_the_same_wherever_they_lie(X, mapped, kind, streamed, monkeypatch):
    if streamed:
        stream_everything(monkeypatch)
    X = np.asarray(mapped).copy()
    source = {"array": X, "sparse": sp.csr_matrix(X), "memmap": mapped}[kind]
    dataset = RowDataset(source, X.mean(0), 2.0, CPU)
    assert dataset.streamed == (streamed and kind != "array")
    chosen = torch.tensor([5, 1999, 0, 5])
    expected = RowDataset(X, X.mean(0), 2.0, CPU).take(chosen)[0]
    for take in (dataset.take, dataset.take_scattered):
        x, known = take(chosen)
        torch.testing.assert_close(x, expected)
        assert known is None


@pytest.mark.parametrize("streamed", [False, True])
def test_missing_cells_are_filled_and_known_as_missing(X, tmp_path, streamed):
    """NaN does not get further than this; a batch without it has no mask."""
    X[7, 4:] = X[9, 1] = np.nan
    np.save(tmp_path / "Y.npy", X)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")

    def fill(rows, known):
        return np.where(known, rows, 13.0)

    with pytest.MonkeyPatch.context() as patch:
        if streamed:
            stream_everything(patch)
        dataset = RowDataset(mapped, np.full(6, 3.0), 2.0, CPU, fill)
    assert dataset.streamed == streamed
    rows = [6, 7, 8, 9]
    present = ~np.isnan(X[rows])
    for take in (dataset.take, dataset.take_scattered):
        x, known = take(torch.tensor(rows))
        np.testing.assert_array_equal(known.numpy(), present)
        expected = np.where(present, (X[rows] - 3) / 2, 5.0)
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6)
        assert take(torch.tensor([6, 8]))[1] is None


@pytest.mark.parametrize("kind", ["array", "sparse", "memmap"])
def test_rows_are_read_by_number(mapped, kind):
    X = np.asarray(mapped).copy()
    source = {"array": X, "sparse": sp.csr_matrix(X), "memmap": mapped}[kind]
    numbers = np.random.RandomState(0).randint(2000, size=200)
    taken = read_rows(source, numbers)
    taken = taken.toarray() if sp.issparse(taken) else taken
    np.testing.assert_array_equal(taken, X[numbers])


@pytest.mark.parametrize("streamed", [False, True])
def test_an_epoch_visits_every_row_once(mapped, streamed, monkeypatch):
    if streamed:
        stream_everything(monkeypatch)
    dataset = RowDataset(mapped, np.zeros(6), 1.0, CPU)
    rows = torch.arange(100, 2000)
    generator = torch.Generator().manual_seed(0)
    first, second = (dataset.shuffled(rows, generator) for _ in range(2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == rows.tolist()
    assert not torch.equal(first, second)
    assert not torch.equal(first, rows)


def test_chunks_cover_the_rows_in_order(X):
    slices = list(row_chunks(X, 8 * 6 * 300))
    assert [s.start for s in slices] == list(range(0, 2000, 300))
    assert np.concatenate([X[s] for s in slices]).shape == X.shape


def test_only_a_read_only_map_is_given_back(X, mapped, tmp_path):
    assert memory_map(mapped) is not None
    assert memory_map(mapped[10:20]) is not None
    assert memory_map(X) is None
    writable = np.load(tmp_path / "X.npy", mmap_mode="r+")
    assert memory_map(writable) is None
    assert not is_streamed(X)


def test_a_private_map_keeps_what_was_written_to_it(X, tmp_path, monkeypatch):
    """Pages of a copy-on-write map hold data that exist nowhere else."""
    stream_everything(monkeypatch)
    np.save(tmp_path / "Y.npy", X)
    private = np.load(tmp_path / "Y.npy", mmap_mode="c")
    private[:] = np.random.RandomState(1).randn(2000, 6)
    kept = private.copy()
    AutoencoderTransformer(2, hidden_layer_sizes=(3,), max_iter=1).fit(private)
    np.testing.assert_array_equal(private, kept)


def test_sampled_rows_keep_their_weights(X):
    weight = X[:, 0]
    rows, chosen = sample_rows(X, weight, 100, np.random.default_rng(0))
    assert rows.shape == (100, 6)
    np.testing.assert_array_equal(rows[:, 0], chosen)
    rows, chosen = sample_rows(X, None, 5000, np.random.default_rng(0))
    assert rows.shape == X.shape
    assert chosen is None


@pytest.mark.parametrize("kind", ["memmap", "sparse"])
def test_a_streamed_fit_has_the_results_of_one_in_memory(mapped, kind, monkeypatch):
    X = np.asarray(mapped).copy()
    source = mapped if kind == "memmap" else sp.csr_matrix(X)
    settings = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    in_memory = AutoencoderTransformer(2, **settings).fit(X)
    stream_everything(monkeypatch)
    streamed = AutoencoderTransformer(2, **settings).fit(source)
    assert streamed.transform(source).shape == (2000, 2)
    assert streamed.transform(source).dtype == np.float32
    assert streamed.inverse_transform(streamed.transform(source)).shape == (2000, 6)
    assert streamed.score_samples(source).shape == (2000,)
    assert streamed.score(source) == pytest.approx(in_memory.score(X), abs=0.05)
    assert streamed.reconstruction_error(source).mean() == pytest.approx(
        in_memory.reconstruction_error(X).mean(), rel=0.05
    )


def test_a_streamed_fit_takes_weights(mapped, monkeypatch):
    stream_everything(monkeypatch)
    weight = np.random.RandomState(0).randint(0, 3, 2000).astype(float)
    settings = {"hidden_layer_sizes": (8,), "max_iter": 0, "random_state": 0}
    model = AutoencoderTransformer(2, **settings).fit(mapped, sample_weight=weight)
    copies = np.repeat(np.asarray(mapped), weight.astype(int), axis=0)
    expected = AutoencoderTransformer(2, **settings).fit(copies.astype(np.float64))
    np.testing.assert_allclose(model.mean_, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(
        model.explained_variance_, expected.explained_variance_, rtol=1e-4
    )


# What is trained on, and what is held out


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) + 0.1


def data_of(n=60, valid=None, **changes):
    X = np.random.RandomState(0).randn(n, 2)
    dataset = RowDataset(X, np.zeros(2), 1.0, CPU)
    rows = torch.arange(n)
    return TrainingData(dataset, rows, rows if valid is None else valid, **changes)


def test_every_stacked_module_has_weights_of_mean_one_for_the_rows_it_trains_on():
    weight, fold_of = uniform(60), torch.arange(60) % 3
    for given in (None, weight):
        trained = data_of(weight=given, fold_of=fold_of).train_weight
        assert trained.shape == (3, 60)
        torch.testing.assert_close(trained.mean(1), torch.ones(3))
        for fold in range(3):
            is_out = fold_of == fold
            assert (trained[fold, is_out] == 0).all()
            kept = torch.ones(60) if given is None else given
            ratio = trained[fold, ~is_out] / kept[~is_out]
            torch.testing.assert_close(ratio, ratio[0].expand_as(ratio))


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("kind", ["split", "units", "folds"])
def test_what_is_said_of_a_row_comes_from_others(kind, has_weights):
    numerator, denominator, weight = uniform(3, 60)
    weight = weight if has_weights else None
    units, fold_of = torch.arange(60) // 4, torch.arange(60) % 3
    changes = {"split": {}, "units": {"units": units}, "folds": {"fold_of": fold_of}}
    data = data_of(weight=weight, **changes[kind])
    ratios, whole = data.ratios_of_others(numerator, denominator)
    w = torch.ones(60) if weight is None else weight
    assert whole == pytest.approx(
        float((w * numerator).sum() / (w * denominator).sum())
    )
    part = {"split": torch.arange(60) % 5, "units": units % 5, "folds": fold_of}[kind]
    for i in range(60):
        other = part != part[i]
        expected = (w * numerator)[other].sum() / (w * denominator)[other].sum()
        torch.testing.assert_close(ratios[i], expected)


def test_the_mean_of_a_term_is_weighted():
    weight, term = uniform(2, 60)
    expected = np.average(term, weights=weight)
    assert float(data_of(weight=weight).mean(term)) == pytest.approx(expected)
    assert float(data_of().mean(term)) == pytest.approx(float(term.mean()))
    # Rows of their own that decide have no weights.
    data = data_of(weight=weight, valid_dataset=data_of().dataset)
    assert float(data.mean(term)) == pytest.approx(float(term.mean()))


@pytest.mark.parametrize("folds", [[0, 1, 2, 0, 1, 2, 1, 1], [2, 2, 2], [0, 2, 1, 0]])
def test_held_out_rows_by_fold_come_back(folds):
    fold_of = torch.tensor(folds)
    rows = torch.randperm(len(fold_of), generator=torch.Generator().manual_seed(0))
    dataset = RowDataset(np.zeros((len(folds), 1)), np.zeros(1), 1.0, CPU)
    data = TrainingData(dataset, rows, rows, fold_of=fold_of)
    which, at, is_own = data.by_fold(rows)
    assert which.shape == is_own.shape
    assert which.shape[0] == fold_of.max() + 1
    np.testing.assert_array_equal(which.flatten()[at], torch.arange(len(rows)))
    width = which.shape[1]
    np.testing.assert_array_equal(at // width, fold_of[rows])
    expected = torch.zeros_like(is_own).flatten().index_fill(0, at, 1.0)
    torch.testing.assert_close(is_own.flatten(), expected)  # each row counts once
