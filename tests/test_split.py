"""What is held out together: copies of a row, and the rows of a group."""

from collections import defaultdict
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from estimators import CLASSES
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from skorch.callbacks import Callback

import skae._dataset
from skae import VAE, AutoencoderTransformer
from skae._split import (
    MIN_HELD_OUT,
    assign_folds,
    choose_held_out,
    distinct_rows,
    joined_by_copies,
    row_hashes,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(labels):
    """Return which pairs have the same label, whatever the labels are."""
    labels = np.asarray(labels)
    return labels[:, None] == labels


# Hashes


def units_of(X):
    mean, scale = np.nanmean(X, axis=0), np.sqrt(np.nanvar(X, axis=0).mean())
    return mean.astype(float), float(scale)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_hashes_are_equal_for_equal_rows_alone(dtype, offset):
    rng = np.random.RandomState(0)
    X = (rng.uniform(0, 20, (40, 5)) + offset).astype(dtype)
    X = X[rng.randint(40, size=300)]
    assert_array_equal(same(row_hashes(X, *units_of(X))), (X[:, None] == X).all(2))


def test_rows_that_are_equal_in_float32_have_the_same_hash():
    """Once they are centred: the digits are not spent on what all rows share."""
    rng = np.random.RandomState(0)
    Z = rng.choice([-1, 1], (500, 4)) * rng.uniform(0.01, 2, (500, 4))
    Z = Z.astype(np.float32).astype(float)
    X = 2.0**20 + Z  # exact, and so are the next numbers, 2**-32 away
    mean, scale = np.full(4, 2.0**20), 1.0
    hashes = row_hashes(X, mean, scale)
    assert len(set(hashes)) == 500
    beside = X.copy()
    beside[:, 2] = np.nextafter(X[:, 2], np.inf)
    assert (beside != X).any(1).all()
    assert_array_equal(row_hashes(beside, mean, scale), hashes)
    other = X.copy()
    other[:, 2] = 2.0**20 + np.nextafter(Z[:, 2].astype(np.float32), np.float32(9))
    assert not np.isin(row_hashes(other, mean, scale), hashes).any()


TABLES = {
    "one column differs": lambda rng, n: np.eye(n, 12) + 1,
    "permuted columns": lambda rng, n: rng.permuted(
        np.tile(np.arange(12.0), (n, 1)), axis=1
    ),
    "integers": lambda rng, n: rng.integers(0, 256, (n, 8)),
    "powers of two": lambda rng, n: 2.0 ** rng.integers(-8, 8, (n, 8)),
    "signs": lambda rng, n: rng.choice([-1.0, 1.0], (n, 40)),
    "bits": lambda rng, n: rng.integers(0, 2, (n, 40)),
    "rare bits": lambda rng, n: (rng.uniform(size=(n, 80)) < 0.1).astype(float),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_two_of_many_rows_share_a_hash(name):
    """Where the numbers of a table have few digits, too: 64 bits hold 2**64 rows."""
    n = 12 if name == "one column differs" else 400_000
    X = TABLES[name](np.random.default_rng(0), n).astype(np.float32)
    n_distinct = len({row.tobytes() for row in X})
    assert len(np.unique(row_hashes(X, *units_of(X)))) == n_distinct


def test_sparse_dense_and_mapped_rows_have_the_same_hashes(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 6)) * (rng.uniform(size=(500, 6)) < 0.3)
    mean, scale = units_of(X)
    expected = row_hashes(X, mean, scale)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for n_bytes in (skae._dataset.CHUNK_BYTES, 8 * 6 * 7):  # rows of several chunks
        monkeypatch.setattr(skae._dataset.row_chunks, "__defaults__", (n_bytes,))
        for rows in (X, sp.csr_matrix(X), sp.csr_array(X), mapped, X.copy(order="F")):
            assert_array_equal(row_hashes(rows, mean, scale), expected)


def test_hashes_do_not_depend_on_the_order_of_the_rows():
    X = np.random.RandomState(0).randn(100, 3)
    mean, scale = units_of(X)
    order = np.random.RandomState(1).permutation(100)
    hashes = row_hashes(X, mean, scale)
    assert_array_equal(row_hashes(X[order], mean, scale), hashes[order])
    assert_array_equal(row_hashes(X[:1], mean, scale), hashes[:1])


def test_zero_has_no_sign_and_nan_no_payload():
    payload = np.array([0x7FF8000000000123], dtype=np.uint64).view(float)[0]
    X = np.array(
        [
            [0.0, 1.0, np.nan],
            [-0.0, 1.0, np.nan],
            [0.0, 1.0, -np.nan],
            [0.0, 1.0, payload],
            [0.0, np.nan, 1.0],
            [0.0, 1.0, 0.0],
        ]
    )
    expected = same([0, 0, 0, 0, 1, 2])
    for mean, scale in ((np.zeros(3), 1.0), (np.array([0.1, 0.3, -5.0]), 0.7)):
        assert_array_equal(same(row_hashes(X, mean, scale)), expected)
        single = X.astype(np.float32)
        assert_array_equal(same(row_hashes(single, mean, scale)), expected)


@pytest.mark.parametrize("table", ["iris", "bits", "zeros"])
def test_hashes_do_not_follow_the_last_digits_of_mean_and_scale(table):
    """They come from sums that depend on the order of the rows, and on copies."""
    rng = np.random.default_rng(0)
    tables = {
        "iris": load_iris().data,
        "bits": rng.integers(0, 2, (400, 5)).astype(float),
        "zeros": np.column_stack([np.zeros(99), rng.standard_normal(99)]),
    }
    X = tables[table]
    mean, scale = units_of(X)
    expected = row_hashes(X, mean, scale)
    for _ in range(20):
        noise = 1 + 1e-14 * rng.uniform(-1, 1, len(mean) + 1)
        moved = row_hashes(X, mean * noise[:-1] + 1e-17, scale * noise[-1])
        assert_array_equal(moved, expected)


# Distinct rows


def brute_force(X, weight):
    """Return the copies of each distinct row, and what they weigh together."""
    copies = defaultdict(list)
    for i, row in enumerate(X):
        copies[row.tobytes()].append(i)
    weight = np.ones(len(X)) if weight is None else weight
    return {rows[0]: (rows, sum(weight[rows])) for rows in copies.values()}


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("has_groups", [False, True])
@pytest.mark.parametrize("n_distinct", [1, 2, 30, 3000])
def test_distinct_rows_are_those_of_a_dictionary(has_weights, has_groups, n_distinct):
    rng = np.random.RandomState(0)
    X = rng.randn(n_distinct, 3)[rng.randint(n_distinct, size=200)]
    weight = rng.uniform(0.1, 2, 200) if has_weights else None
    groups = rng.randint(7, size=200) if has_groups else None
    distinct = distinct_rows(row_hashes(X, *units_of(X + 1)), weight, groups)
    expected = brute_force(X, weight)
    assert sorted(distinct.rows) == sorted(expected)  # the first copy of each
    if distinct.weight is None:
        assert all(len(rows) == 1 for rows, _ in expected.values())
        assert weight is None
    else:
        totals = [expected[row][1] for row in distinct.rows]
        assert_allclose(distinct.weight, totals)
    assert (distinct.unit is None) == (groups is None)


def test_their_order_is_not_that_of_the_table_nor_of_the_copies():
    rng = np.random.RandomState(0)
    X = rng.randn(50, 3)
    mean, scale = units_of(X)

    def order(X):
        rows = distinct_rows(row_hashes(X, mean, scale), None, None).rows
        return X[rows]

    expected = order(X)
    assert (expected != X).any()
    for rows in (rng.permutation(50), np.repeat(np.arange(50), rng.randint(1, 4, 50))):
        assert_array_equal(order(X[rows]), expected)


def connected(rows, groups):
    """Return a label for each row: that of all it is linked to, by union and find."""
    parent = {}

    def find(x):
        while parent.setdefault(x, x) != x:
            x = parent[x]
        return x

    for row, group in zip(rows, groups, strict=True):
        parent[find(("row", row))] = find(("group", group))
    return [find(("row", row)) for row in rows]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_groups", [3, 40, 150])
def test_groups_that_share_a_row_are_one_unit(seed, n_groups):
    rng = np.random.RandomState(seed)
    copied = rng.randint(120, size=200)
    X = rng.randn(120, 3)[copied]
    groups = np.unique(rng.randint(n_groups, size=200), return_inverse=True)[1]
    weight = rng.uniform(0.1, 2, 200) if seed % 2 else None
    distinct = distinct_rows(row_hashes(X, *units_of(X)), weight, groups)
    label = np.array([str(x) for x in connected(copied, groups)])
    assert_array_equal(same(distinct.unit), same(label[distinct.rows]))
    assert distinct.n_units == len(set(label))
    assert set(distinct.unit) == set(range(distinct.n_units))


@pytest.mark.parametrize("weight", [None, np.ones(30)])
def test_without_copies_a_unit_is_a_group(weight):
    X, groups = np.random.RandomState(0).randn(30, 2), np.arange(30) % 4
    distinct = distinct_rows(row_hashes(X, *units_of(X)), weight, groups)
    assert_array_equal(same(distinct.unit), same(groups[distinct.rows]))
    assert distinct.n_units == 4
    alone = distinct_rows(row_hashes(X, *units_of(X)), weight, None)
    assert alone.unit is None
    assert alone.n_units == 30


# Folds and splits


def units(n, n_units, seed=0):
    """Return units of very different sizes, each of a row at least."""
    rng = np.random.RandomState(seed)
    shares = rng.dirichlet(np.full(n_units, 0.5))
    unit = np.append(np.arange(n_units), rng.choice(n_units, n - n_units, p=shares))
    return torch.from_numpy(rng.permutation(unit))


def joined(*views, groups=None):
    widths = np.cumsum([0, *(view.shape[1] for view in views)])
    slices = [slice(a, b) for a, b in pairwise(widths)]
    return joined_by_copies(np.hstack(views), slices, groups)


def test_copies_in_one_view_are_a_unit_wherever_they_are():
    rng = np.random.RandomState(0)
    rows, other = rng.randn(40, 3), rng.randn(160, 2)
    of = rng.permutation(np.repeat(np.arange(40), 4))
    for found in (joined(rows[of], other), joined(other, rows[of])):
        assert len(np.unique(found)) == 40
        assert_array_equal(found[:, None] == found, of[:, None] == of)
    order = rng.permutation(160)
    assert_array_equal(joined(rows[of][order], other[order]), found[order])
    # With groups of their own, and copies in the other view.
    groups = np.where(of < 2, 160, np.arange(160))
    assert len(np.unique(joined(rows[of], other, groups=groups))) == 39
    first, second = (np.flatnonzero(of == i)[0] for i in (2, 3))
    other[second] = other[first]
    assert len(np.unique(joined(rows[of], other, groups=groups))) == 38


def test_rows_of_few_values_are_equal_by_chance():
    rng = np.random.RandomState(0)
    hidden, other = rng.randn(1000, 1), rng.randn(1000, 3)
    answers = np.clip(np.round(hidden + 0.7 * rng.randn(1000, 6)), -2, 2)
    grid = np.stack(np.divmod(rng.randint(400, size=1000), 20), 1)
    labels = np.eye(50)[rng.randint(50, size=1000)]
    single = rng.randint(300, size=(1000, 1))
    for view in (answers, grid, labels, single, np.ones((1000, 2))):
        assert len(np.unique(view, axis=0)) < 1000
        assert joined(view.astype(float), other) is None
    whole = np.hstack([rng.randn(40, 3)] * 2)[rng.randint(40, size=160)]
    assert joined(whole[:, :3], whole[:, 3:]) is None  # each is the row again


@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("n", [10, 11, 304])
def test_folds_of_rows_are_of_one_size(n, n_folds):
    fold_of = assign_folds(n, None, n_folds, seeded())
    counts = torch.bincount(fold_of)
    assert len(counts) == n_folds
    assert counts.max() - counts.min() <= 1
    assert torch.equal(fold_of, assign_folds(n, None, n_folds, seeded()))
    assert not torch.equal(fold_of, assign_folds(n, None, n_folds, seeded(1)))


@pytest.mark.parametrize("n_units", [5, 6, 30, 300])
@pytest.mark.parametrize("seed", range(4))
def test_no_unit_falls_into_two_folds_and_folds_are_alike_in_size(n_units, seed):
    unit = units(400, n_units, seed)
    fold_of = assign_folds(400, unit, 5, seeded(seed))
    for u in range(n_units):
        assert len(fold_of[unit == u].unique()) == 1
    filled = torch.bincount(fold_of, minlength=5)
    assert filled.min() > 0
    # The largest that is filled first in, none can be made fuller than by one unit.
    largest = torch.bincount(unit).max()
    assert filled.max() <= max(largest, 400 / 5 + largest)
    if n_units == 300:
        assert filled.max() - filled.min() <= largest
    assert torch.equal(fold_of, assign_folds(400, unit, 5, seeded(seed)))


def test_folds_of_units_of_one_size_have_as_many_each():
    unit = torch.arange(60) // 4
    fold_of = assign_folds(60, unit, 5, seeded())
    assert torch.bincount(fold_of).tolist() == [12] * 5
    assert not torch.equal(fold_of, assign_folds(60, unit, 5, seeded(1)))


@pytest.mark.parametrize("n_held_out", [0, 1, 30, 99])
def test_so_many_rows_are_held_out(n_held_out):
    held_out = choose_held_out(100, None, n_held_out, seeded())
    assert len(held_out) == len(held_out.unique()) == n_held_out
    assert all(0 <= row < 100 for row in held_out.tolist())
    assert torch.equal(held_out, choose_held_out(100, None, n_held_out, seeded()))


@pytest.mark.parametrize("n_units", [2, 3, 9, 30, 300])
@pytest.mark.parametrize("n_held_out", [0, 1, 40, 399])
@pytest.mark.parametrize("seed", range(3))
def test_a_unit_is_held_out_as_a_whole_or_not_at_all(n_units, n_held_out, seed):
    unit = units(400, n_units, seed)
    held_out = choose_held_out(400, unit, n_held_out, seeded(seed)).long()
    assert len(held_out) == len(held_out.unique())
    chosen = set(unit[held_out].tolist())
    assert set(unit.tolist()) - chosen  # some are left to train on
    for u in chosen:
        assert (unit[held_out] == u).sum() == (unit == u).sum()
    if not n_held_out:
        assert not chosen
        return
    assert chosen
    assert len(chosen) <= max(n_units // 2, 1)
    if n_units >= 2 * MIN_HELD_OUT:
        assert len(chosen) >= MIN_HELD_OUT


@pytest.mark.parametrize("n_held_out", [0, 1, 40])
def test_the_only_unit_is_not_held_out(n_held_out):
    """Nothing would be left to train on."""
    unit = torch.zeros(400, dtype=torch.int64)
    assert len(choose_held_out(400, unit, n_held_out, seeded())) == 0


@pytest.mark.parametrize("seed", range(3))
def test_about_as_many_rows_are_held_out_as_are_asked(seed):
    unit = units(4000, 400, seed)
    held_out = choose_held_out(4000, unit, 400, seeded(seed))
    assert 400 <= len(held_out) <= 400 + torch.bincount(unit).max()


@pytest.mark.parametrize("in_units", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_rows_with_most_of_the_variance_are_held_out_by_their_share(in_units, seed):
    size = torch.ones(1000, dtype=torch.float64)
    size[::100] = 1e4
    unit = torch.arange(1000) if in_units else None
    held_out = choose_held_out(1000, unit, 100, seeded(seed), size).long()
    assert len(held_out.unique()) == 100
    assert (size[held_out] > 1).sum() == 1


@pytest.mark.parametrize("size", [0.0, 1.0, 1e300])
def test_rows_alike_in_size_are_drawn_as_without(size):
    sizes = torch.full((1000,), size, dtype=torch.float64)
    sizes[0] *= 1.5
    held_out = choose_held_out(1000, None, 100, seeded(), sizes)
    assert torch.equal(held_out, choose_held_out(1000, None, 100, seeded()))


def test_a_row_that_has_all_of_the_variance_cannot_be_held_out_by_its_share():
    size = torch.zeros(1000, dtype=torch.float64)
    size[0] = 1.0
    held_out = choose_held_out(1000, None, 100, seeded(), size)
    assert len(held_out.unique()) == 100


@pytest.mark.parametrize("seed", [1, 2, 3, 8, 13])
def test_a_hundredth_of_the_rows_that_is_far_away_does_not_fool_a_split(seed):
    """PCA has their directions; a draw that has too few of them kept other networks."""
    rng = np.random.RandomState(seed)
    X = rng.randn(6000, 3) @ rng.randn(3, 10) + 0.5 * rng.randn(6000, 10)
    X[rng.uniform(size=6000) < 0.01] *= 20
    train, test = X[:1000], X[1000:]
    model = AutoencoderTransformer(3, random_state=seed).fit(train)
    errors = [
        ((test - of.inverse_transform(of.transform(test))) ** 2).sum()
        for of in (model, PCA(3).fit(train))
    ]
    assert errors[0] - errors[1] < 0.01 * ((test - test.mean(0)) ** 2).sum()


# What comes of it in a fit


def curve(n, seed=0):
    """Return a table that a network explains far better than PCA."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-2, 2, n)
    rows = np.column_stack([t, t**2, np.sin(2 * t), np.cos(t)])
    return rows + 0.05 * rng.randn(n, 4)


FAST = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0}


class Seen(Callback):
    """Remembers what a net is trained on and judged by."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.data = X


def held_out_by(X, **fitted):
    """Return the rows that are trained on and those that are held out of a split."""
    seen = Seen()
    AutoencoderTransformer(1, **FAST, callbacks=[seen]).fit(X, **fitted)
    data = seen.data
    return data.train.numpy(), data.valid.numpy(), data


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
@pytest.mark.parametrize(
    ("kind", "n"),
    [(kind, n) for kind in ("line", "curve") for n in (60, 300, 1100)]
    + [("curve", 700)],
)
def test_copies_weights_and_groups_of_copies_decide_alike(estimator, kind, n):
    """Tables of 120 to 2200 rows, of which 60 to 1100 are distinct."""
    if kind == "line":  # of which there is nothing to learn beside PCA
        rng = np.random.RandomState(0)
        A = np.outer(rng.randn(n), [3, 2, 1, 1]) + rng.randn(n, 4)
    else:
        A = curve(n)
    counts = 1 + np.arange(n) % 3
    copies = np.repeat(A, counts, axis=0)

    def fit(X, **fitted):
        return estimator(1, **{**FAST, "max_iter": 25}).fit(X, **fitted)

    weighted = fit(A, sample_weight=counts.astype(float))
    repeated = fit(copies)
    with_ones = fit(copies, sample_weight=np.ones(len(copies)))
    grouped = fit(copies, groups=np.repeat(np.arange(n), counts))
    if n > 60:
        assert (weighted.best_iter_ > 0) == (kind == "curve")
    for model in (repeated, with_ones, grouped):
        assert (model.best_iter_ > 0) == (weighted.best_iter_ > 0)
        assert model.net_.batch_size == weighted.net_.batch_size
        assert_allclose(model.mean_, weighted.mean_, rtol=1e-9, atol=1e-12)
        expected = weighted.get_covariance()  # of the start
        assert_allclose(model.get_covariance(), expected, rtol=1e-6, atol=1e-9)
        assert model.score(A) == pytest.approx(weighted.score(A), abs=0.25)
    for model in (repeated, with_ones):
        if n == 700:  # the copies are a large table, and the rows in another order
            continue
        first, expected = (m.validation_scores_[:3] for m in (model, weighted))
        assert_allclose(first, expected, rtol=1e-4)
        assert model.score(A) == pytest.approx(weighted.score(A), abs=0.1)


@pytest.mark.parametrize("n", [60, 300])
def test_copies_of_a_small_table_are_weights_to_the_last_digit(n):
    A, counts = curve(n), 1 + np.arange(n) % 3
    weighted = AutoencoderTransformer(1, **FAST).fit(A, sample_weight=counts)
    repeated = AutoencoderTransformer(1, **FAST).fit(np.repeat(A, counts, axis=0))
    assert weighted.best_iter_ == repeated.best_iter_
    assert_allclose(repeated.transform(A), weighted.transform(A), rtol=1e-6, atol=1e-9)
    shuffled = np.random.RandomState(0).permutation(np.repeat(A, counts, axis=0))
    shuffled = AutoencoderTransformer(1, **FAST).fit(shuffled)
    assert shuffled.best_iter_ == repeated.best_iter_
    assert_allclose(shuffled.transform(A), weighted.transform(A), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_noise_that_is_given_in_copies_is_not_learnt_by_heart(estimator):
    """A network that has seen the copies of a row would beat PCA on noise."""
    noise = np.random.RandomState(0).randn(60, 8)
    copies = np.repeat(noise, 30, axis=0)
    model = estimator(2, hidden_layer_sizes=(64,), random_state=0).fit(copies)
    assert model.best_iter_ == 0


@pytest.mark.parametrize("kind", ["array", "sparse", "memmap"])
@pytest.mark.parametrize("n", [150, 1200])
def test_no_copy_of_a_row_is_on_both_sides(n, kind, tmp_path, monkeypatch):
    X = np.repeat(curve(n), 1 + np.arange(n) % 3, axis=0)
    X = X[np.random.RandomState(0).permutation(len(X))]
    source = sp.csr_array(X) if kind == "sparse" else X
    if kind == "memmap":
        monkeypatch.setattr(skae._dataset, "SMALL_BYTES", 0)
        np.save(tmp_path / "X.npy", X)
        source = np.load(tmp_path / "X.npy", mmap_mode="r")
    train, valid, data = held_out_by(source)
    assert len(train) + len(valid) == n
    assert len(valid) == n // (5 if n < 1000 else 10)
    chosen = torch.from_numpy(np.append(train, valid))
    rows = data.dataset.take_scattered(chosen)[0]
    assert len(rows.unique(dim=0)) == n
    counts = data.weight[chosen] / data.weight[chosen].min()
    assert sorted(set(counts.tolist())) == [1.0, 2.0, 3.0]
    assert counts.sum() == len(X)


@pytest.mark.parametrize("n", [150, 1200])
def test_rows_of_a_group_are_held_out_together(n):
    X = curve(n)
    groups = np.random.RandomState(0).permutation(n) // 4
    train, valid, data = held_out_by(X, groups=groups)
    assert len(valid)
    assert sorted([*train, *valid]) == list(range(n))
    assert not set(groups[train]) & set(groups[valid])
    assert_array_equal(same(data.units.numpy()), same(groups[valid]))


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
@pytest.mark.parametrize("n_rows", [5, 40])
def test_groups_keep_a_network_from_judging_what_it_has_learnt_by_heart(
    estimator, n_rows
):
    """Of 40 patients each has a row of noise, and visits that hardly differ from it."""
    rng = np.random.RandomState(0)
    patients = np.repeat(rng.randn(40, 8), n_rows, axis=0)
    visits = patients + 0.05 * rng.randn(*patients.shape)
    groups = np.repeat(np.arange(40), n_rows)

    def fit(**fitted):
        return estimator(2, hidden_layer_sizes=(64,), random_state=0).fit(
            visits, **fitted
        )

    assert fit().best_iter_ > 0
    assert fit(groups=groups).best_iter_ == 0


@pytest.mark.parametrize("changes", [{}, {"validation_fraction": 0.2}])
@pytest.mark.parametrize("n", [400, 1200])
@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_few_groups_cannot_decide(n_groups, n, changes):
    X = curve(n)
    model = AutoencoderTransformer(1, **{**FAST, "max_iter": 40}, **changes)
    assert model.fit(X).best_iter_ > 0
    with pytest.warns(UserWarning, match=f"groups makes {n_groups} units"):
        assert model.fit(X, groups=np.arange(n) % n_groups).best_iter_ == 0
    assert np.isfinite(model.loss_curve_).all()
    random = AutoencoderTransformer(1, **FAST, **changes, init="random")
    random.fit(X, groups=np.arange(n) % n_groups)
    assert random.n_iter_ == 12
    assert random.best_iter_ > 0


@pytest.mark.parametrize("n", [400, 1200])
@pytest.mark.parametrize("n_groups", [10, 19, 20, 100])
def test_groups_of_anything_do_not_keep_a_network_that_is_better(n, n_groups):
    model = AutoencoderTransformer(1, **{**FAST, "max_iter": 40})
    model.fit(curve(n), groups=np.random.RandomState(0).randint(n_groups, size=n))
    assert model.best_iter_ > 0


def test_labels_of_groups_do_not_matter():
    X, groups = curve(200), np.random.RandomState(0).randint(40, size=200)
    codes = AutoencoderTransformer(1, **FAST).fit(X, groups=groups).transform(X)
    names = np.sort(np.random.RandomState(1).randint(10**9, size=40)).astype(str)
    names = np.sort(names)[groups]
    other = AutoencoderTransformer(1, **FAST).fit(X, groups=names).transform(X)
    assert_array_equal(other, codes)


@pytest.mark.parametrize("n", [200, 1200])
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_row_with_copies_in_all_groups_makes_one_of_them(n, weight):
    """But not if the copies have no weight: then they are as if not there."""
    X, groups = curve(n), np.arange(n) % 40
    X = np.append(X, np.repeat(X[:1], 40, axis=0), axis=0)
    groups = np.append(groups, np.arange(40))
    weights = np.append(np.ones(n), np.full(40, weight))
    model = AutoencoderTransformer(1, **{**FAST, "max_iter": 40})
    with pytest.warns(match="makes 1 unit") if weight else nullcontext():
        model.fit(X, groups=groups, sample_weight=weights)
    assert (model.best_iter_ > 0) == (not weight)


# Rows that decide


def test_rows_of_their_own_decide_and_all_others_are_trained_on():
    X, X_val = curve(300), curve(80, seed=1)
    train, valid, data = held_out_by(X, X_val=X_val)
    assert_array_equal(train, np.arange(300))
    assert_array_equal(valid, np.arange(80))
    x, known = data.take_valid(data.valid)
    assert known is None
    mean, scale = X.mean(0), np.sqrt(X.var(0, ddof=1).mean())
    assert_allclose(x.numpy(), (X_val - mean) / scale, atol=1e-6)


@pytest.mark.parametrize("n", [300, 1200])
def test_copies_of_training_rows_have_no_say(n):
    X, X_val = curve(n), curve(80, seed=1)
    expected = AutoencoderTransformer(1, **FAST).fit(X, X_val=X_val)
    mixed = np.concatenate([X[:50], X_val[:40], X_val, X[50:90]])
    model = AutoencoderTransformer(1, **FAST).fit(X, X_val=mixed)
    assert_array_equal(model.validation_scores_, expected.validation_scores_)
    assert_array_equal(model.transform(X), expected.transform(X))
    sparse = AutoencoderTransformer(1, **FAST).fit(X, X_val=sp.csr_array(mixed))
    assert_array_equal(sparse.transform(X), expected.transform(X))


@pytest.mark.parametrize("estimator", CLASSES)
@pytest.mark.parametrize("n", [300, 1200])
def test_rows_that_are_all_copies_cannot_decide(estimator, n):
    X = curve(n)
    for copies in (X, X[::3], np.repeat(X[:10], 3, axis=0), sp.csr_array(X[:20])):
        message = rf"X_val: each of its {copies.shape[0]} rows is a row of X too"
        with pytest.raises(ValueError, match=message):
            estimator(1, **FAST).fit(X, X_val=copies)
    repeated = np.repeat(X, 2, axis=0)
    with pytest.raises(ValueError, match="X_val: each of its 20 rows"):
        estimator(1, **FAST).fit(repeated, X_val=X[:20])


@pytest.mark.parametrize("n", [300, 1200])
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAE])
def test_groups_do_not_matter_where_other_rows_decide(estimator, n):
    X, X_val = curve(n), curve(80, seed=1)
    model = estimator(1, **{**FAST, "max_iter": 25})
    codes = model.fit(X, X_val=X_val).transform(X)
    assert model.best_iter_ > 0
    model.fit(X, X_val=X_val, groups=np.arange(n) // 10)
    assert_array_equal(model.transform(X), codes)


def test_rows_from_elsewhere_may_keep_the_start():
    """The network is better on rows as those it trains on, and not on others."""
    X = curve(300)
    model = AutoencoderTransformer(1, **{**FAST, "max_iter": 40})
    assert model.fit(X, X_val=curve(100, seed=1)).best_iter_ > 0
    far = np.outer(np.linspace(-30, 30, 100), model.components_[0]) + X.mean(0)
    assert model.fit(X, X_val=far).best_iter_ == 0


def test_weights_are_those_of_the_rows_that_train_alone():
    X, X_val = curve(300), curve(80, seed=1)
    weight = np.random.RandomState(0).randint(1, 4, 300).astype(float)
    train, _, data = held_out_by(X, X_val=X_val, sample_weight=weight)
    assert len(train) == 300
    assert data.valid_weight is None
    assert data.train_weight.unique().numel() == 3
