"""The encoder-decoder: against ridge regression, PCA, and what a network adds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes, load_digits, load_linnerud
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from skae import AutoencoderTransformer, EncoderDecoder
from skae._encoder_decoder import PredictionLoss
from skae._linear_views import let_judge


def views(n=80, d_x=5, d_y=4, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, d_x) @ rng.randn(d_x, d_x) + 2
    return X, X @ rng.randn(d_x, d_y) + rng.randn(n, d_y)


def start(X, y, k=2, **params):
    return EncoderDecoder(k, max_iter=0, random_state=0, **params).fit(X, y)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0, 1e4), st.integers(6, 60))
def test_it_starts_at_ridge_projected_on_its_principal_axes(seed, k, alpha, n):
    X, y = views(n, seed=seed)
    model = start(X, y, k, ridge_alpha=alpha)
    fitted = Ridge(alpha=alpha).fit(X, y).predict(X)
    pca = PCA(k).fit(fitted)
    expected = pca.inverse_transform(pca.transform(fitted))
    assert_allclose(model.predict(X), expected, rtol=1e-6, atol=1e-6)
    assert model.ridge_alpha_ == pytest.approx(alpha)


def test_no_linear_prediction_of_that_rank_is_better():
    X, y = views()
    model = start(X, y, ridge_alpha=0)
    best = ((y - model.predict(X)) ** 2).sum()
    rng = np.random.RandomState(0)
    for _ in range(50):  # other codes, each with its own best decoder
        z = (X - X.mean(0)) @ rng.randn(5, 2)
        other = LinearRegression().fit(z, y).predict(z)
        assert ((y - other) ** 2).sum() > best
    z = model.transform(X)
    assert_allclose(
        LinearRegression().fit(z, y).predict(z), model.predict(X), atol=1e-9
    )


def test_of_itself_it_is_pca():
    X = load_digits().data[:300]
    model, pca = start(X, X, 5), AutoencoderTransformer(5, max_iter=0).fit(X)
    assert model.ridge_alpha_ == 0
    assert_allclose(np.abs(model.transform(X)), np.abs(pca.transform(X)), atol=1e-8)
    rebuilt = pca.inverse_transform(pca.transform(X))
    assert_allclose(model.predict(X), rebuilt, atol=1e-8)


def test_loadings_are_those_of_least_squares():
    X, y = views()
    model = start(X, y)
    z = model.transform(X)
    for rows, loadings in ((X, model.x_loadings_), (y, model.y_loadings_)):
        expected = np.linalg.lstsq(z, rows - rows.mean(0), rcond=None)[0].T
        assert_allclose(loadings, expected, atol=1e-8)


def test_a_column_is_predicted_as_one():
    X, y = load_diabetes(return_X_y=True)
    model = start(X, y, None)
    assert model.predict(X).shape == (442,)
    assert model.transform(X).shape == (442, 1)
    ridge = RidgeCV(np.logspace(-4, 2, 40)).fit(X[::2], y[::2])
    ours = start(X[::2], y[::2], None)
    assert ours.score(X[1::2], y[1::2]) > ridge.score(X[1::2], y[1::2]) - 0.01
    assert EncoderDecoder(max_iter=0).fit(X, y[:, None]).predict(X).shape == (442, 1)
    counts = start(X, y.astype(int), None)  # no labels
    assert_allclose(counts.predict(X), model.predict(X), atol=1)


def test_few_rows_are_regularised():
    """Fewer rows than columns: least squares fits them all, and nothing else."""
    X = load_digits().data
    left, right = X[:, :32], X[:, 32:]
    model = start(left[:40], right[:40], 4)
    assert model.ridge_alpha_ > 0
    error = ((right[40:] - model.predict(left[40:])) ** 2).mean()
    plain = LinearRegression().fit(left[:40], right[:40]).predict(left[40:])
    assert error < 0.5 * ((right[40:] - plain) ** 2).mean()
    assert error < right[40:].var(0).mean()


def test_few_rows_judge_penalties_several_times():
    """By what others have found, which are not the same each time."""
    x, held_out = np.arange(40.0)[:, None], []

    class Trial:
        def judge(self, moments, x, weight):
            assert moments.n == 32
            assert moments.mean * 32 + x.sum() == pytest.approx(np.arange(40).sum())
            held_out.append(frozenset(x[:, 0]))

    let_judge([Trial()], lambda moments: moments, x, None, seed=0, repeats=3)
    assert len(set(held_out)) == 15
    judged = np.sort(np.concatenate([list(rows) for rows in held_out]))
    assert_allclose(judged, np.repeat(x[:, 0], 3))


def test_networks_predict_better():
    X = load_digits().data
    left, right = X[:, :32], X[:, 32:]
    model = EncoderDecoder(8, random_state=0).fit(left[:1300], right[:1300])
    linear = start(left[:1300], right[:1300], 8)
    new = left[1300:], right[1300:]
    errors = [((new[1] - m.predict(new[0])) ** 2).mean() for m in (model, linear)]
    assert model.best_iter_ > 0
    assert errors[0] < 0.9 * errors[1]


def test_a_linear_world_keeps_the_start():
    X, y = views(400)
    assert EncoderDecoder(2, random_state=0).fit(X, y).best_iter_ == 0


def test_a_constant_column_is_predicted_as_it_is():
    X = load_digits().data[:400]
    left, right = X[:, :32], X[:, 32:]
    model = EncoderDecoder(4, random_state=0).fit(left, right)
    constant = (right == right[0]).all(0)
    assert model.best_iter_ > 0
    assert constant.any()
    expected = np.broadcast_to(right[0, constant], (400, constant.sum()))
    assert_allclose(model.predict(left)[:, constant], expected, atol=1e-12)


def test_the_loss_is_of_the_second_view():
    x = torch.tensor([[1.0, 2.0, 5.0], [3.0, 4.0, 7.0]])
    output = torch.tensor([[4.0], [7.0]]), torch.zeros(2, 1)
    known = torch.tensor([[True, True, False], [False, True, True]])
    loss = PredictionLoss(2)
    assert loss(output, x)["reconstruction"].tolist() == [1.0, 0.0]
    assert loss(output, x, known)["reconstruction"].tolist() == [0.0, 0.0]


def test_text_is_no_target():
    X, _ = load_linnerud(return_X_y=True)
    with pytest.raises(ValueError, match="y is not numeric"):
        EncoderDecoder().fit(X, ["a", "b"] * 10)


@pytest.mark.parametrize("n", [300, 1200])
@pytest.mark.parametrize("seed", range(2))
def test_a_large_column_that_is_learnt_leaves_small_ones_as_large_as_they_are(n, seed):
    rng = np.random.RandomState(seed)
    X = rng.randn(n + 1000, 8)
    linear = X @ rng.randn(8, 3) + 0.1 * rng.randn(n + 1000, 3)
    y = np.column_stack([1e3 * np.sin(2 * X[:, 0]), linear * [1, 1e-3, 1e-6]])
    model = EncoderDecoder(random_state=seed).fit(X[:n], y[:n])
    assert model.best_iter_ > 0
    error = ((model.predict(X[n:]) - y[n:]) ** 2).mean(0) / y[n:].var(0)
    assert error[0] < 0.2
    assert (error < 5).all()  # up to 1e10 where a network adds in units of the largest
