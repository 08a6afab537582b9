"""Bad input: a clear error that names the parameter or column and the value."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import (
    BatchScoring,
    EpochScoring,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from torch import nn

from skae import AutoencoderTransformer
from skae._validation import check_finite, check_weights, merge_duplicates
from skae.architectures import Modules


@pytest.fixture
def X():
    return load_iris().data


def new(n_components=2, **changes):
    settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    return AutoencoderTransformer(n_components, **{**settings, **changes})


def with_value(X, value, row=17, column=2):
    X = np.array(X)
    X[row, column] = value
    return X


# Rows


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("value", "word"),
    [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")],
)
def test_values_that_are_not_finite_are_found(X, method, value, word):
    with pytest.raises(ValueError, match=rf"{word} in column 2 \(row 17\)"):
        getattr(new(), method)(with_value(X, value))


@pytest.mark.parametrize("method", ["transform", "score_samples", "score"])
def test_values_that_are_not_finite_are_found_after_fit(X, method):
    model = new().fit(X)
    with pytest.raises(ValueError, match=r"NaN in column 2 \(row 17\)"):
        getattr(model, method)(with_value(X, np.nan))


@pytest.mark.parametrize("package", [pd, pl], ids=["pandas", "polars"])
def test_a_column_is_named_as_the_frame_names_it(X, package):
    columns = dict(zip("abcd", with_value(X, np.nan).T, strict=True))
    with pytest.raises(ValueError, match="NaN in column 'c'"):
        new().fit(package.DataFrame(columns))
    fitted = new().fit(pd.DataFrame(X, columns=list("abcd")))
    with pytest.raises(ValueError, match="NaN in column 'c'"):
        fitted.transform(pd.DataFrame(with_value(X, np.nan), columns=list("abcd")))


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_a_sparse_column_is_named(X, layout):
    with pytest.raises(ValueError, match=r"NaN in column 2 \(row 17\)"):
        new().fit(layout(with_value(X, np.nan)))


def test_large_finite_values_are_not_called_infinite():
    X = np.full((3, 2), 1e308)
    check_finite(X)
    check_finite(np.full((3, 2), 3e38, np.float32))


def test_codes_that_are_not_finite_are_an_error(X):
    with pytest.raises(ValueError, match="NaN"):
        new().fit(X).inverse_transform([[np.nan, 0.0]])


@pytest.mark.parametrize("width", [1, 3])
def test_codes_of_the_wrong_width_are_an_error(X, width):
    with pytest.raises(ValueError, match=rf"X has {width} columns.*n_components_=2"):
        new().fit(X).inverse_transform(np.zeros((5, width)))


@pytest.mark.parametrize(
    "method", ["transform", "score_samples", "score", "reconstruction_error"]
)
def test_a_wrong_number_of_features_is_an_error(X, method):
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 4"):
        getattr(new().fit(X), method)(X[:, :3])


def test_partial_fit_with_a_wrong_number_of_features_is_an_error(X):
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 4"):
        new().fit(X).partial_fit(X[:, :3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 4)), "0 sample"),
        (np.zeros((1, 4)), "1 sample|n_samples=1"),
        (np.zeros((5, 0)), "0 feature"),
        (np.zeros(5), "2D array"),
        (np.ones((5, 4)) * 1j, "[Cc]omplex"),
        (np.array([["a", "b"]] * 5), "Column 0 of X is not numeric: .*'a'"),
        (np.array([[1, "b"]] * 5, dtype=object), "Column 1 of X is not numeric: .*'b'"),
        ([["1", "b"]] * 5, "Column 1 of X is not numeric: .*'b'"),
        ([[1, None]] * 5, "column 1|Column 1"),
        ([[1, {"x": 1}]] * 5, "Column 1"),
        (pd.DataFrame({"n": [1.0] * 5, "s": ["x"] * 5}), "Column 's' .*'x'"),
        (pl.DataFrame({"n": [1.0] * 5, "s": ["x"] * 5}), "Column 's' .*'x'"),
        (pd.DataFrame({"n": [1.0] * 5, "o": [object()] * 5}), "Column 'o'"),
        (
            pd.DataFrame({"n": [1.0] * 5, "c": pd.Categorical(["x"] * 5)}),
            "Column 'c' .*'x'",
        ),
        (
            pd.DataFrame({"n": [1.0] * 5, "t": pd.date_range("2020", periods=5)}),
            "Column 't'",
        ),
        (
            pd.DataFrame({"n": [1.0] * 5, "m": pd.array([1, None] * 2 + [1])}),
            "column 'm'",
        ),
        ("text", "array|string"),
        (None, "array|None"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_rows_that_are_no_table_of_numbers_are_an_error(rows, message):
    with pytest.raises((ValueError, TypeError), match=message):
        new(1).fit(rows)


def test_partial_fit_needs_n_components_rows_at_first(X):
    with pytest.raises(ValueError, match=r"n_components=3.*n_samples.*=2"):
        new(3).partial_fit(X[:2])
    model = new(3).partial_fit(X[:3])
    model.partial_fit(X[3:4])  # later batches may be smaller
    assert model.n_samples_ == 4


def test_partial_fit_cannot_choose_n_components_by_variance(X):
    with pytest.raises(ValueError, match=r"n_components=0.9.*partial_fit"):
        new(0.9).partial_fit(X)


# Parameters


@pytest.mark.parametrize("n_components", [0, -1, 1.5, 1.0, "two", "mle", [2]])
def test_n_components_is_checked(X, n_components):
    with pytest.raises(ValueError, match="'n_components' parameter"):
        new(n_components).fit(X)


def test_n_components_above_the_rank_names_the_way_out(X):
    message = r"n_components=5 .*min\(n_samples, n_features\)=4.*init=\"random\""
    with pytest.raises(ValueError, match=message):
        new(5).fit(X)
    with pytest.raises(ValueError, match=r"n_components=4 .*=3"):
        new(4).fit(X[:3])


@pytest.mark.parametrize("max_iter", [0, 2])
def test_a_random_start_lifts_the_limit(X, max_iter):
    model = new(7, init="random", max_iter=max_iter).fit(X)
    assert model.n_components_ == 7
    assert model.transform(X).shape == (150, 7)
    assert np.isfinite(model.score(X))
    assert np.isfinite(model.explained_variance_ratio_).all()
    assert model.get_feature_names_out().shape == (7,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", (0,)),
        ("hidden_layer_sizes", "wide"),
        ("hidden_layer_sizes", -3),
        ("activation", "rleu"),
        ("activation", 3),
        ("architecture", "MLP"),
        ("init", "zeros"),
        ("whiten", "yes"),
        ("alpha", -1.0),
        ("alpha", np.nan),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("learning_rate_init", 0.0),
        ("max_iter", -1),
        ("max_iter", "many"),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("tol", -1.0),
        ("warm_start", "yes"),
        ("random_state", "seed"),
        ("device", "gpu9"),
        ("callbacks", "print"),
        ("net_params", [1]),
    ],
)
def test_every_parameter_is_checked_in_fit_and_named(X, name, value):
    with pytest.raises(ValueError, match=name):
        new(**{name: value}).fit(X)
    with pytest.raises(ValueError, match=name):
        new(**{name: value}).partial_fit(X)


def test_an_unknown_net_parameter_is_named(X):
    with pytest.raises((TypeError, ValueError), match="learning_speed"):
        new(net_params={"learning_speed": 3}).fit(X)


def test_net_params_reach_the_net(X):
    params = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.5}
    model = new(net_params=params).fit(X)
    assert type(model.net_.optimizer_) is torch.optim.SGD
    assert model.net_.optimizer_.param_groups[0]["momentum"] == 0.5


def test_a_device_may_be_a_name_or_a_device(X):
    expected = new(device="cpu").fit(X).transform(X)
    codes = new(device=torch.device("cpu")).fit(X).transform(X)
    np.testing.assert_array_equal(codes, expected)


# Weights


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(150), "[Nn]egative"),
        (np.zeros(150), "zero for every row"),
        (np.ones(149), r"sample_weight.*\(149,\).*\(150,\)"),
        (np.ones((150, 2)), "1D"),
        (np.full(150, np.nan), "sample_weight.*NaN|NaN.*sample_weight"),
        (np.full(150, np.inf), "sample_weight.*infinity"),
        (["a"] * 150, "must hold real numbers"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
def test_bad_weights_are_an_error(X, weight, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(new().fit(X), method)(X, sample_weight=weight)


@pytest.mark.parametrize("weight", [2.0, [1.0] * 150, pd.Series(np.ones(150)), 3])
def test_weights_come_in_many_kinds(X, weight):
    expected = new().fit(X, sample_weight=np.ones(150)).transform(X)
    codes = new().fit(X, sample_weight=weight).transform(X)
    np.testing.assert_allclose(codes, expected, rtol=1e-2, atol=1e-2)


def test_rows_of_weight_zero_are_left_out(X):
    weight = np.ones(150)
    weight[100:] = 0
    kept, used = check_weights(X, weight)
    np.testing.assert_array_equal(kept, X[:100])
    np.testing.assert_array_equal(used, np.ones(100))
    with_zeros = new(max_iter=0).fit(X, sample_weight=weight)
    np.testing.assert_allclose(with_zeros.mean_, X[:100].mean(0))


def test_one_row_of_positive_weight_is_too_few_or_finite(X):
    weight = np.zeros(150)
    weight[3] = 1.0
    with pytest.raises(
        ValueError, match=r"sample_weight.*1 row|at least 2|minimum of 2"
    ):
        new(1).fit(X, sample_weight=weight)


def test_a_row_of_weight_two_is_the_row_twice(X):
    weight = np.random.RandomState(0).randint(1, 4, 150)
    weighted = new(max_iter=3).fit(X, sample_weight=weight)
    repeated = new(max_iter=3).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(
        weighted.transform(X), repeated.transform(X), rtol=1e-3, atol=1e-3
    )
    assert weighted.score(X) == pytest.approx(repeated.score(X), rel=1e-3)


def test_equal_rows_are_merged():
    X = np.array([[1.0, 2], [3, 4], [1, 2]])
    rows, weight = merge_duplicates(X, None)
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(weight, [2, 1])
    rows, weight = merge_duplicates(X, np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(weight, [4, 2])
    rows, weight = merge_duplicates(X[:2], None)
    assert weight is None


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_numbers_whose_squares_overflow_are_found(X, make):
    rows = make(with_value(X, -1e160))
    with pytest.raises(ValueError, match=r"Column 2 of X contains -1e\+160"):
        new().fit(rows)
    with pytest.raises(ValueError, match="below 1e\\+140"):
        new().partial_fit(X).partial_fit(rows)


@pytest.mark.parametrize(
    "callback",
    [
        EpochScoring("r2"),
        BatchScoring("r2"),
        PassthroughScoring("train_loss"),
        TrainEndCheckpoint(),
        ("named", EpochScoring("r2")),
    ],
)
def test_callbacks_that_need_a_data_loader_are_refused(X, callback):
    with pytest.raises(ValueError, match=r"(Scoring|Checkpoint) needs the batches"):
        new(callbacks=[callback]).fit(X)


def test_modules_without_anything_to_train_are_refused(X):
    def frozen(n_in, n_out):
        return nn.Linear(n_in, n_out).requires_grad_(False)

    with pytest.raises(ValueError, match="no parameter to train"):
        new(architecture=Modules(frozen, frozen)).fit(X)


def test_weights_of_one_are_no_weights(X):
    plain, weighted = new(max_iter=3), new(max_iter=3)
    codes = plain.fit(X).transform(X)
    weighted.fit(X, sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(weighted.transform(X), codes)


@pytest.mark.parametrize("callbacks", [[1], ["EarlyStopping"], [("name", 2)]])
def test_what_is_no_callback_is_named(X, callbacks):
    with pytest.raises(ValueError, match="is not an instance of skorch"):
        new(callbacks=callbacks).fit(X)
