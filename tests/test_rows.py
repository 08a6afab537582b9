"""Bad rows, weights and groups: an error that names the column and the value."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from estimators import CLASSES
from sklearn.datasets import load_iris

from skae import (
    AutoencoderTransformer,
    EncoderDecoder,
    MaskedAutoencoder,
    MaskedImputer,
)
from skae._rows import check_values
from skae._weights import check_groups, check_weights, used_rows


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


@pytest.mark.parametrize(
    ("value", "dtype"), [(1e308, np.float64), (3e38, np.float32), (-3e38, np.float32)]
)
def test_large_finite_values_are_not_called_infinite(X, value, dtype):
    rows = with_value(X, value).astype(dtype)
    first = str(value)[: str(value).index("e")]
    message = rf"Column 2 of X contains {first}.*e\+\d+ \(row 17\), whose square is"
    message += rf" too large for {dtype.__name__}"
    model = new().fit(X.astype(dtype))
    for method in (new().fit, new().partial_fit, model.transform, model.score_samples):
        with pytest.raises(ValueError, match=message):
            method(rows)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (9e139, np.float64),
        (1e-138, np.float64),
        (9e29, np.float32),
        (-9e29, np.float32),
        (1e-28, np.float32),
    ],
)
@pytest.mark.parametrize("estimator", CLASSES)
@pytest.mark.parametrize("init", ["pca", "random"])
def test_values_whose_squares_can_be_held_are_taken(X, value, dtype, estimator, init):
    check_values(np.full((3, 2), value, dtype), to_fit=True)
    rows = (X * value / 10).astype(dtype)
    settings = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    model = estimator(2, init=init, **settings).fit(rows)
    codes = model.transform(rows)
    rebuilt = model.inverse_transform(codes)
    for result in (codes, rebuilt):
        assert result.dtype == dtype
        assert np.isfinite(result).all()
    assert np.isfinite(model.score_samples(rows)).all()


@pytest.mark.parametrize(
    ("value", "dtype", "shown"), [(1e-142, float, "e-142"), (1e-32, np.float32, "e-32")]
)
def test_rows_whose_squares_vanish_cannot_be_fitted(X, value, dtype, shown):
    small = (X / X.max() * value).astype(dtype)
    message = rf"The largest number of X is [\d.]+{shown}, whose square is too small"
    with pytest.raises(ValueError, match=message):
        new().fit(small)
    assert np.isfinite(new().fit(X.astype(dtype)).transform(small)).all()


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_numbers_whose_squares_overflow_are_found(X, make):
    rows = make(with_value(X, -1e160))
    with pytest.raises(ValueError, match=r"Column 2 of X contains -1e\+160"):
        new().fit(rows)
    with pytest.raises(ValueError, match="below 1e\\+140"):
        new().partial_fit(X).partial_fit(rows)


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


DAYS = pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-03"] * 6)})
TIMES = {
    "times": DAYS.assign(other=DAYS["day"]),
    "a number": DAYS.assign(size=1.0),
    "nothing": DAYS.assign(day=pd.NaT, size=1.0),
    "zone": DAYS.apply(lambda column: column.dt.tz_localize("UTC")),
    "differences": DAYS - DAYS.min(),
    "arrow": DAYS.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame({"size": np.ones(12), "day": DAYS["day"].to_numpy()}),
    "nanoseconds": pl.DataFrame({"day": DAYS["day"].to_numpy().astype("M8[ns]")}),
    "dates": pl.DataFrame({"day": DAYS["day"].dt.date.to_list()}),
    "durations": pl.DataFrame({"day": (DAYS - DAYS.min())["day"].to_numpy()}),
    "hours": pl.DataFrame({"day": DAYS["day"].dt.time.to_list()}),
}
STILL = {"max_iter": 0, "random_state": 0}
FIT = {
    "rows": lambda X: new(1).fit(X),
    "missing cells": lambda X: MaskedAutoencoder(1, **STILL).fit(X),
    "imputer": lambda X: MaskedImputer(**STILL).fit(X),
    "categories": lambda X: MaskedImputer(categorical_features=[], **STILL).fit(X),
    "second view": lambda X: EncoderDecoder(1).fit(np.eye(12), X),
    "codes": lambda X: new(1).fit(np.eye(12)).inverse_transform(X),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("fit", FIT)
def test_times_are_no_numbers(kind, fit):
    """NumPy makes seconds or days since 1970 of some."""
    with pytest.raises(ValueError, match=r"Column 'day' of [Xy] holds times"):
        FIT[fit](TIMES[kind])


@pytest.mark.parametrize("fit", ["missing cells", "imputer", "categories"])
def test_na_of_pandas_in_an_array_of_objects_is_a_missing_cell(X, fit):
    with_na = np.where(np.arange(4) == np.arange(150)[:, None] % 9, pd.NA, X)
    with_nan = pd.DataFrame(with_na).astype("Float64").to_numpy(float, na_value=np.nan)
    method = "impute" if fit == "missing cells" else "transform"
    expected = getattr(FIT[fit](with_nan), method)(with_nan)
    np.testing.assert_array_equal(getattr(FIT[fit](with_na), method)(with_na), expected)


@pytest.mark.parametrize("fit", ["rows", "second view"])
def test_na_of_pandas_in_an_array_of_objects_is_named(X, fit):
    rows = with_value(X[:12].astype(object), pd.NA, row=5)
    with pytest.raises(ValueError, match=r"contains NaN in column 2 \(row 5\)"):
        FIT[fit](rows)


# Rows that decide


OUTLIER = r" of X_val contains -1e\+25 \(row 7\), which is \de\+2\d deviations .* drop"


@pytest.mark.parametrize("estimator", CLASSES)
@pytest.mark.parametrize("init", ["pca", "random"])
def test_an_outlier_among_the_rows_that_decide_is_named(X, estimator, init):
    model = estimator(2, init=init, max_iter=1, random_state=0)
    chosen = with_value(X[:9] + 0.01, -1e25, row=7)
    with pytest.raises(ValueError, match=f"Column 2{OUTLIER}"):
        model.fit(X, X_val=chosen)
    frame, chosen = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, chosen))
    with pytest.raises(ValueError, match=f"Column 'c'{OUTLIER}"):
        model.fit(frame, X_val=chosen)
    model.fit(X, X_val=with_value(X[:9] + 0.01, 1e14, row=7))  # far, but of use


@pytest.mark.parametrize(("view", "column"), [("X_val", 2), ("y_val", 0)])
def test_an_outlier_in_one_of_two_views_is_named(X, view, column):
    chosen = {"X_val": X[:9, :3] + 0.01, "y_val": X[:9, 3:] + 0.01}
    chosen[view] = with_value(chosen[view], -1e25, row=7, column=column)
    message = f"Column {column}{OUTLIER}".replace("X_val", view)
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(1, max_iter=1, random_state=0).fit(X[:, :3], X[:, 3:], **chosen)


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
    groups = np.arange(150) // 2
    kept, used, groups = used_rows(X, check_weights(weight, X), groups)
    np.testing.assert_array_equal(kept, X[:100])
    assert used is None  # the others all count once
    np.testing.assert_array_equal(groups, np.arange(100) // 2)
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


def test_weights_of_one_are_no_weights(X):
    plain, weighted = new(max_iter=3), new(max_iter=3)
    codes = plain.fit(X).transform(X)
    weighted.fit(X, sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(weighted.transform(X), codes)


def test_only_ratios_of_weights_matter_however_small_they_are(X):
    codes = new(max_iter=3).fit(X).transform(X)
    small = new(max_iter=3).fit(X, sample_weight=np.full(150, 1e-50))
    np.testing.assert_array_equal(small.transform(X), codes)
    weight = np.random.RandomState(0).uniform(0.1, 1, 150)
    plain, small = new(max_iter=3), new(max_iter=3)
    codes = plain.fit(X, sample_weight=weight).transform(X)
    small.fit(X, sample_weight=1e-50 * weight)
    np.testing.assert_allclose(small.transform(X), codes, rtol=1e-6, atol=1e-6)
    score = plain.score(X, sample_weight=weight)
    assert small.score(X, sample_weight=1e-50 * weight) == pytest.approx(score)


@pytest.mark.parametrize("settings", [{}, {"validation_fraction": 0.25}])
def test_weights_may_be_huge(X, settings):
    """Counts of so many copies: the variance then divides by all of them."""
    weight = np.full(150, 1e100)
    model, plain = new(max_iter=3, **settings), new(max_iter=3, **settings)
    codes = plain.fit(X).transform(X)
    model.fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.transform(X), codes, rtol=1e-2, atol=1e-2)
    assert model.score(X, sample_weight=weight) == pytest.approx(model.score(X))
    assert np.isfinite(model.loss_curve_).all()
    model = new(max_iter=3).partial_fit(X, sample_weight=weight)
    model.partial_fit(X, sample_weight=weight)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.append(1e20, np.ones(149)), r"sample_weight goes from 1.0 to 1e\+20"),
        (np.full(150, 1e-200), r"sample_weight adds up to 1\.\d*e-198"),
        (np.full(150, 1e200), r"sample_weight adds up to 1\.\d*e\+202"),
        (np.full(150, 1e307), "sample_weight adds up to inf"),
        (np.ones(150, dtype=complex), "must hold real numbers, not complex128"),
    ],
)
def test_weights_that_rounding_would_lose_are_an_error(X, weight, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(new().fit(X), method)(X, sample_weight=weight)


# Groups


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.arange(149), r"groups has shape \(149,\), but X has 150 rows"),
        (np.zeros((150, 1)), r"groups has shape \(150, 1\), but X has 150 rows"),
        (3, r"groups has shape \(\), but X has 150 rows"),
        ([None, *range(149)], "groups has no label for row 0: None"),
        ([*"ab" * 74, "c", None], "groups has no label for row 149: None"),
        ([*"ab" * 74, np.nan, "c"], "groups has no label for row 148: nan"),
        ([*range(148), np.nan, 1], "groups has no label for row 148: .*nan"),
        (pd.Series([*"ab" * 74, "c", None]), "groups has no label for row 149: .*n"),
        (pd.array([1, pd.NA] * 75), "groups has no label for row 1: .*(nan|NA)"),
        (pd.array(["a", pd.NA] * 75), "groups has no label for row 1: .*(nan|NA)"),
        (
            pd.Series(["a", pd.NA] * 75, dtype=object),
            "groups has no label for row 1: <NA>",
        ),
        (pd.to_datetime(["2020", None] * 75), "groups has no label for row 1: .*NaT"),
        (pl.Series([*"ab" * 74, "c", None]), "groups has no label for row 149: None"),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else type(value).__name__,
)
def test_bad_groups_are_named(X, groups, message):
    model = new().fit(X)
    codes = model.transform(X)
    with pytest.raises(ValueError, match=message):
        model.fit(X, groups=groups)
    np.testing.assert_array_equal(model.transform(X), codes)


@pytest.mark.parametrize(
    "kind",
    [list, np.array, pd.Series, pl.Series, pd.Categorical],
    ids=lambda k: k.__name__,
)
@pytest.mark.parametrize("labels", [range(30), "abcdefghijklmnopqrstuvwxyzABCD"])
def test_groups_come_in_many_kinds(X, kind, labels):
    """All that they say is which rows are of one: labels are numbered from 0 on."""
    number = np.random.RandomState(0).permutation(150) % 30
    numbers = check_groups(kind([labels[i] for i in number]), X)
    assert sorted(set(numbers)) == list(range(30))
    np.testing.assert_array_equal(
        numbers[:, None] == numbers, number[:, None] == number
    )


def test_groups_may_have_labels_of_several_types(X):
    labels = np.empty(150, dtype=object)
    labels[:] = [1, "1", 1.5, ("a", 1), b"1", True] * 25
    numbers = check_groups(labels, X)
    np.testing.assert_array_equal(numbers, np.tile(numbers[:6], 25))
    assert sorted(numbers[:6]) == list(range(6))


# Rows that decide


@pytest.mark.parametrize(
    ("X_val", "message"),
    [
        (np.ones((5, 3)), "X_val: X has 3 features.*expecting 4"),
        (np.ones((0, 4)), r"X_val: .*0 sample"),
        (np.ones(4), "X_val: .*2D array"),
        (np.full((5, 4), np.nan), r"X_val: .*NaN in column 0 \(row 0\)"),
        (np.full((5, 4), -np.inf), r"X_val: .*infinity in column 0 \(row 0\)"),
        (np.full((5, 4), 1e150), r"X_val: Column 0 of X contains 1e\+150"),
        (np.full((5, 4), "a"), "X_val: Column 0 of X is not numeric: .*'a'"),
        (np.ones((5, 2, 2)), r"X_val: X has shape \(5, 2, 2\)"),
        ("text", "X_val: "),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value.shape),
)
def test_bad_rows_that_decide_are_named(X, X_val, message):
    model = new().fit(X)
    codes = model.transform(X)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, X_val=X_val)
    np.testing.assert_array_equal(model.transform(X), codes)


def test_columns_of_rows_that_decide_have_the_same_names(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match=r"X_val: .*feature names"):
        new().fit(frame, X_val=frame.rename(columns={"b": "x"}))
    with pytest.raises(ValueError, match=r"X_val: .*NaN in column 'c'"):
        new().fit(frame, X_val=frame.assign(c=np.nan))


@pytest.mark.parametrize(("value", "dtype"), [(1e100, np.float64), (1e29, np.float32)])
def test_rows_that_decide_may_be_too_far_from_those_that_train(X, value, dtype):
    """Their squared errors do not fit into float32, which is no network's fault."""
    X_val = with_value(X[:20] + 0.01, value).astype(dtype)
    with pytest.raises(ValueError, match="X_val"):
        new().fit(X.astype(dtype), X_val=X_val)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_of_no_codes_come_back_as_means(kind):
    X = np.random.RandomState(0).randn(20, 3)
    model = AutoencoderTransformer(0).set_output(transform=kind).fit(X)
    codes = model.transform(X)
    assert codes.shape[1] == 0
    rows = model.inverse_transform(codes)
    np.testing.assert_allclose(rows, np.tile(X.mean(0), (len(codes), 1)))
