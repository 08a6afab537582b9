"""Images and series as rows: shapes, padding, and whole numbers."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skae import (
    VAE,
    AutoencoderTransformer,
    DenoisingAutoencoder,
    _dataset,
    _validation,
)
from skae._samples import as_samples, check_padding, mean_filled
from skae.architectures import MLP, Convolutional, Modules, Recurrent

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
    with pytest.raises(ValueError, match=r"encoder cannot take rows of width \(8, 8\)"):
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
    with pytest.raises(ValueError, match=r"NaN in column 63 \(row 3\)"):
        AutoencoderTransformer(2, **FAST).fit(X)


@pytest.mark.parametrize(
    ("architecture", "grid"),
    [
        (Convolutional((8, 8)), {"channels": [(2,), (2, 3)]}),
        (Recurrent(), {"hidden_size": [2, 3], "cell": ["gru", "lstm"]}),
    ],
    ids=["convolutional", "recurrent"],
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
    monkeypatch.setattr(_validation, "LARGE_BYTES", 0)
    model = AutoencoderTransformer(3, **FAST)
    assert _validation.check_rows(model, bytes_, reset=True).dtype == np.uint8
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
    dataset = _dataset.RowDataset(rows, mean, 2.0, torch.device("cpu"))
    assert dataset.streamed
    batch = dataset.take(torch.arange(5))
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


def test_padding_that_no_series_needs_is_cut():
    X = np.array([[1, 2, NAN, NAN], [3, NAN, NAN, NAN]])
    assert_array_equal(as_samples(X, True), X[:, :2])
    assert_array_equal(as_samples(X[..., None], True, 3), X[:, :3, None])
    assert_array_equal(as_samples(list(X), True, 4), X)
    assert as_samples(X, False) is X


def test_series_longer_than_those_seen_are_an_error():
    with pytest.raises(ValueError, match=r"more than 2 steps \(row 1\).*fit had 2"):
        as_samples([[1.0, 2.0], [1.0, 2.0, 3.0]], True, 2)


def test_series_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"1 to 2 steps.*Recurrent"):
        as_samples([[1.0], [1.0, 2.0]], False)
    with pytest.raises(ValueError, match="the same number of channels"):
        as_samples([np.ones((2, 1)), np.ones((2, 2))], True)


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


def test_mean_filled():
    X = np.array([[1.0, NAN, NAN], [3.0, 4.0, NAN]])
    assert_array_equal(mean_filled(X, None, 7.0), [[1, 4, 7], [3, 4, 7]])
    Y = np.array([[1.0, 1.0], [1.0, 4.0], [1.0, NAN]])
    assert_allclose(mean_filled(Y, np.array([2.0, 1.0, 5.0]))[2], [1.0, 2.0])
    assert_array_equal(mean_filled(Y[:2], None), Y[:2])
