"""Images and series as rows: shapes, padding, and whole numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder, _rows
from skae._dataset import RowDataset
from skae._samples import as_samples, check_padding
from skae.architectures import MLP, Convolutional, Modules, Recurrent, Transformer

NAN = np.nan
FAST = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def images():
    return load_digits().images[:300]


# What the face does with samples of several axes


@pytest.mark.parametrize("model", [AutoencoderTransformer, VAE, DenoisingAutoencoder])
@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (4, 16), (2, 4, 8)])
def test_images_are_their_flattened_rows(images, model, shape):
    samples = images.reshape(-1, *shape)
    flat = model(3, **FAST).fit(images.reshape(-1, 64))
    model = model(3, **FAST).fit(samples)
    assert model.sample_shape_ == shape
    assert model.n_features_in_ == 64
    codes = model.transform(samples)
    assert_array_equal(codes, flat.transform(images.reshape(-1, 64)))
    rebuilt = model.inverse_transform(codes)
    assert rebuilt.shape == samples.shape
    assert_array_equal(rebuilt.reshape(-1, 64), flat.inverse_transform(codes))
    errors = model.reconstruction_error(samples, per_feature=True)
    assert_allclose(errors, (samples - rebuilt) ** 2)
    axes = tuple(range(1, samples.ndim))
    assert_allclose(model.reconstruction_error(samples), errors.mean(axes))


def test_what_has_a_sample_shape_returns_it(images):
    vae = VAE(2, **FAST).fit(images)
    assert vae.sample(5, random_state=0).shape == (5, 8, 8)
    denoiser = DenoisingAutoencoder(2, **FAST).fit(images)
    assert denoiser.denoise(images[:5]).shape == (5, 8, 8)


def test_a_corruption_gets_images_as_they_are(images):
    shapes = []

    def first_row(x, generator):
        shapes.append(tuple(x.shape[1:]))
        x = x.clone()
        x[:, 0] = 0
        return x

    DenoisingAutoencoder(2, corruption=first_row, **FAST).fit(images)
    assert set(shapes) == {(8, 8)}


def test_modules_get_images_as_they_are(images):
    def encoder(n_features, n_components):
        return nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten(), nn.Linear(2, 2))

    def decoder(n_components, n_features):
        return nn.Sequential(
            nn.Linear(n_components, n_features), nn.Unflatten(1, (1, 8, 8))
        )

    model = AutoencoderTransformer(
        2, architecture=Modules(encoder, decoder), max_iter=1, random_state=0
    )
    assert model.fit_transform(images[:, None]).shape == (300, 2)
    message = r"encoder of the architecture cannot take rows of width \(8, 8\)"
    with pytest.raises(ValueError, match=message):
        model.fit(images)


def test_lists_of_images_are_images(images):
    model = AutoencoderTransformer(2, **FAST).fit(list(images))
    assert model.sample_shape_ == (8, 8)


def test_partial_fit_keeps_the_shape(images):
    model = AutoencoderTransformer(2, **FAST)
    for batch in np.split(images, 3):
        model.partial_fit(batch)
    assert model.inverse_transform(np.zeros((1, 2))).shape == (1, 8, 8)


@pytest.mark.parametrize("shape", [(64,), (4, 16), (1, 8, 8), (8, 9)])
def test_samples_of_another_shape_are_an_error(images, shape):
    model = AutoencoderTransformer(2, **FAST).fit(images)
    message = r"samples of shape \(8, 8\) were seen in fit: use .*\(n_samples, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        model.transform(np.zeros((2, *shape)))
    model.fit(images.reshape(-1, 64))
    message = r"shape \(300, 8, 8\), but rows of a table .* use shape \(n_samples, 64\)"
    with pytest.raises(ValueError, match=message):
        model.transform(images)


def test_tied_weights_work_on_images(images):
    tied = MLP((4,), "tanh", tied_weights=True)
    model = AutoencoderTransformer(2, architecture=tied, max_iter=2, random_state=0)
    codes = model.fit_transform(images)
    assert model.inverse_transform(codes).shape == images.shape


def test_nan_in_images_is_an_error(images):
    X = images.copy()
    X[3, 7, 7] = NAN
    with pytest.raises(ValueError, match=r"NaN at \(7, 7\) \(row 3\).*Recurrent"):
        AutoencoderTransformer(2, **FAST).fit(X)


@pytest.mark.parametrize(
    ("architecture", "grid"),
    [
        (Convolutional((8, 8)), {"channels": [(2,), (2, 3)]}),
        (Recurrent(), {"hidden_size": [2, 3], "cell": ["gru", "lstm"]}),
        (Transformer(1, 4, image_shape=(8, 8)), {"share_layers": [False, True]}),
    ],
    ids=["convolutional", "recurrent", "transformer"],
)
def test_architectures_take_part_in_a_grid_search(images, architecture, grid):
    model = VAE(2, architecture=architecture, max_iter=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    grid = {f"vae__architecture__{name}": values for name, values in grid.items()}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    search.fit(images[:60].reshape(-1, 64))
    assert set(search.best_params_) == set(grid)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Whole numbers


def test_many_bytes_are_cast_batch_by_batch(images, monkeypatch):
    expected = AutoencoderTransformer(3, **FAST).fit(images)
    bytes_ = images.astype(np.uint8)
    assert_array_equal(
        AutoencoderTransformer(3, **FAST).fit(bytes_).transform(bytes_),
        expected.transform(images),
    )
    monkeypatch.setattr(_rows, "LARGE_BYTES", 0)
    model = AutoencoderTransformer(3, **FAST)
    assert _rows.check_rows(model, bytes_, reset=True).dtype == np.uint8
    model.fit(bytes_)
    codes = model.transform(bytes_)
    assert codes.dtype == np.float64
    pca = PCA(3).fit(images.reshape(-1, 64))
    assert_allclose(model.components_, pca.components_, atol=1e-7)
    assert_allclose(
        model.reconstruction_error(bytes_),
        ((images - model.inverse_transform(codes)) ** 2).mean((1, 2)),
    )


def test_a_dataset_of_bytes_casts_them(images):
    rows = images.reshape(-1, 64).astype(np.uint8)
    mean = rows.mean(0)
    dataset = RowDataset(rows, mean, 2.0, torch.device("cpu"))
    assert dataset.streamed
    batch, known = dataset.take(torch.arange(5))
    assert known is None
    assert_allclose(batch, (rows[:5] - mean) / 2, rtol=1e-6, atol=1e-6)


# Series of different lengths


def test_a_list_of_series_is_padded():
    series = [np.arange(3.0), np.arange(2.0)]
    assert_array_equal(as_samples(series, True), [[0, 1, 2], [0, 1, NAN]])
    two = [np.ones((1, 2)), np.ones((2, 2), dtype=np.float32)]
    padded = as_samples(two, True)
    assert padded.shape == (2, 2, 2)
    assert np.isnan(padded[0, 1]).all()
    assert padded.dtype == np.float64
    assert as_samples(two[1:], True).dtype == np.float32


def test_series_get_the_steps_that_fit_saw():
    X = np.array([[1, 2, NAN, NAN], [3, NAN, NAN, NAN]])
    assert as_samples(X, True) is X
    assert as_samples(X, False) is X
    assert_array_equal(as_samples(X, True, 3), X[:, :3])
    assert_array_equal(as_samples(X[..., None], True, 3), X[:, :3, None])
    assert_array_equal(as_samples([[1, 2], [3]], True, 4), X)
    assert_array_equal(as_samples(X[:, :2, None], True, 4), X[..., None])
    assert as_samples(X, True, 5) is X  # a table of another width: a mistake


def test_tensors_and_arrays_of_arrays_are_series(images):
    assert_array_equal(as_samples(torch.ones(2, 3, 4), False), np.ones((2, 3, 4)))
    series = pd.Series([[1.0, 2.0], [3.0]])
    assert_array_equal(as_samples(series.to_numpy(), True), [[1, 2], [3, NAN]])
    assert_array_equal(as_samples(series, True), [[1, 2], [3, NAN]])


def test_series_longer_than_those_seen_are_an_error():
    with pytest.raises(ValueError, match=r"more than 2 steps \(row 1\).*fit had 2"):
        as_samples([[1.0, 2.0], [1.0, 2.0, 3.0]], True, 2)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (
            [np.ones((2, 1)), np.ones((2, 2))],
            r"Row 1 of X has shape \(2, 2\), and row 0",
        ),
        ([[1.0], []], "Row 1 of X has no steps"),
        ([[1.0], 3.0], "Row 1 of X is no series, 3.0"),
        ([[1.0], None], "Row 1 of X is no series, None"),
    ],
)
def test_what_is_no_series_is_an_error(series, message):
    with pytest.raises(ValueError, match=message):
        as_samples(series, True)


def test_series_of_different_lengths_need_an_architecture_that_takes_them():
    with pytest.raises(ValueError, match=r"1 to 2 steps.*Recurrent"):
        as_samples([[1.0], [1.0, 2.0]], False)


@pytest.fixture
def padded():
    """Return 40 series of 3 to 6 steps, padded to 8; one more has 8."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((41, 8)).cumsum(1)
    for row in X[1:]:
        row[rng.randint(3, 7) :] = NAN
    return X


RECURRENT = {"architecture": Recurrent(hidden_size=3), "max_iter": 2, "random_state": 0}


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("model", [AutoencoderTransformer, VAE, DenoisingAutoencoder])
def test_any_rows_of_padded_series_can_be_transformed(padded, model, channels):
    X = padded[..., None] if channels else padded
    model = model(2, init="random", **RECURRENT).fit(X)
    codes = model.transform(X)
    assert_allclose(model.transform(X[5:9]), codes[5:9], rtol=1e-6)
    assert model.inverse_transform(codes).shape == X.shape
    assert np.isfinite(model.score_samples(X[5:9])).all()
    errors = model.reconstruction_error(X[5:9], per_feature=True)
    assert_array_equal(np.isnan(errors), np.isnan(X[5:9]))


def test_steps_that_no_series_had_are_left_out_with_a_warning(padded):
    model = AutoencoderTransformer(2, **RECURRENT).fit(padded[1:])
    assert model.sample_shape_ == (8,)
    with pytest.warns(UserWarning, match="more than 6 steps"):
        codes = model.transform(padded)
    cut = padded.copy()
    cut[:, 6:] = NAN
    assert_array_equal(model.transform(cut), codes)
    rebuilt = model.inverse_transform(codes)
    assert rebuilt.shape == padded.shape
    assert np.isfinite(rebuilt[:, :6]).all()
    assert np.isnan(rebuilt[:, 6:]).all()


@pytest.mark.filterwarnings("ignore:X has series of more than 6 steps")
def test_padded_series_can_be_cross_validated(padded):
    model = AutoencoderTransformer(2, **RECURRENT)
    scores = cross_val_score(model, padded, cv=4, error_score="raise")
    assert np.isfinite(scores).all()


def test_partial_fit_takes_padded_batches_in_any_order(padded):
    model = AutoencoderTransformer(2, **RECURRENT)
    model.partial_fit(padded[20:]).partial_fit(padded[:20])
    assert np.isfinite(model.transform(padded)).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, NAN, 3], r"row 6 at step 1 \(channel 0\), before the last step .*, 2\."),
        ([NAN, NAN, NAN], "Row 6 of X has no step"),
    ],
)
def test_nan_that_is_no_padding_is_an_error(row, message):
    X = np.array([[1, 2, NAN], row])
    with pytest.raises(ValueError, match=message):
        check_padding(X, (3,), first=5)


def test_nan_in_one_channel_is_no_padding():
    X = np.array([[1, 2, 3, NAN]])  # two steps of two channels
    with pytest.raises(ValueError, match=r"row 0 at step 1 \(channel 1\)"):
        check_padding(X, (2, 2))
    check_padding(np.array([[1, 2, NAN, NAN]]), (2, 2))


def test_wide_series_are_completed_like_narrow_ones():
    """By PCA's covariance, and for the module too."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((70, 64)) @ rng.standard_normal((64, 1100)) / 8
    X += 0.1 * rng.standard_normal(X.shape)
    X[1::2, 700:] = NAN
    architecture = Recurrent(hidden_size=2)
    model = AutoencoderTransformer(64, architecture=architecture, max_iter=0).fit(X)
    mean, axes, noise = model.mean_, model.components_, model.noise_variance_
    W = axes.T * np.sqrt(model.explained_variance_ - noise)
    rows, known = X[1::2].copy(), np.arange(1100) < 700
    C = W[known] @ W[known].T + noise * np.eye(700)
    centred = rows[:, known] - mean[known]
    rows[:, ~known] = centred @ np.linalg.solve(C, W[known] @ W[~known].T)
    rows[:, ~known] += mean[~known]
    codes = (rows - mean) @ axes.T
    atol = 1e-6 * np.abs(codes).max()
    assert_allclose(model.transform(X[1::2]), codes, atol=atol)
    start = model._fit.start
    x, mask = torch.from_numpy((rows - mean) / start.scale), torch.from_numpy(known)
    u = model.module_.double().encode(x, mask.expand_as(x)).detach().numpy()
    assert_allclose(u * start.code_scale, codes, atol=10 * atol)
