"""Convolutions: sizes, layouts, and a convolution by hand."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn

from skae import AutoencoderTransformer
from skae._autoencoder import AutoencoderModule
from skae._gate import StackedModules
from skae._module import last_layer
from skae.architectures import Convolutional
from skae.architectures._convolutional import convolution_sizes

IMAGES = [(12,), (9, 6), (1, 7, 8), (3, 8, 5)]


def build(architecture, sample_shape, k=2, seed=0):
    return architecture.build(sample_shape, k, torch.Generator().manual_seed(seed))


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def convolutions(network):
    kinds = nn.Conv2d, nn.ConvTranspose2d
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


# Shapes


def test_a_transposed_convolution_restores_every_height_and_width():
    for height in range(1, 34):
        for width in range(1, 34):
            smaller, down, up = convolution_sizes((height, width), 3, 2)
            weight = torch.ones(1, 1, *down.pop("kernel_size"))
            del up["kernel_size"]
            x = torch.zeros(1, 1, height, width)
            y = nn.functional.conv2d(x, weight, **down)
            assert y.shape[2:] == tuple(smaller)
            assert nn.functional.conv_transpose2d(y, weight, **up).shape == x.shape


@torch.no_grad()
def test_the_networks_restore_every_height_and_width():
    # Building is slow, so not all 1089 pairs: the test above has those.
    architecture = Convolutional(channels=(1, 2))
    pairs = {(n, m) for n in range(1, 34) for m in (1, n, 34 - n)}
    for shape in pairs | {(m, n) for n, m in pairs}:
        encoder, decoder = build(architecture, shape)
        codes = encoder(torch.zeros(2, *shape))
        assert codes.shape == (2, 2)
        assert decoder(codes).shape == (2, *shape)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 40])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_every_kernel_and_stride_restores_the_size(kernel_size, stride):
    architecture = Convolutional(
        channels=(2, 3), kernel_size=kernel_size, stride=stride
    )
    for shape in [(1, 11), (3, 7, 12), (2, 1, 1), (6,), (10, 1)]:
        encoder, decoder = build(architecture, shape)
        assert decoder(encoder(torch.zeros(2, *shape))).shape == (2, *shape)


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 7, 40])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_pixel_is_seen_and_can_be_written(kernel_size, stride):
    for n in range(1, 34):
        smaller, down, up = convolution_sizes((1, n), kernel_size, stride)
        x = torch.ones(1, 1, 1, n, requires_grad=True)
        y = nn.functional.conv2d(
            x,
            torch.ones(1, 1, *down["kernel_size"]),
            stride=down["stride"],
            padding=down["padding"],
        )
        y.sum().backward()
        assert tuple(y.shape[2:]) == tuple(smaller)
        assert (x.grad > 0).all()
        layer = nn.ConvTranspose2d(1, 1, **up, bias=False)
        nn.init.ones_(layer.weight)
        written = layer(torch.ones_like(y))
        assert written.shape == x.shape
        assert (written > 0).all()


def test_an_axis_of_length_1_has_no_padding():
    smaller, down, up = convolution_sizes((1, 28), 5, 2)
    assert smaller == [1, 14]
    assert [sizes[0] for sizes in down.values()] == [1, 1, 0]
    assert up["output_padding"][0] == 0


def test_strides_divide_an_image_as_they_do_by_the_book():
    sizes = [convolution_sizes((28, 7), k, 2)[0] for k in (2, 3, 4, 5)]
    assert sizes == [[14, 4]] * 4


# Layouts


@pytest.mark.parametrize("shape", IMAGES[1:])
def test_rows_with_an_image_shape_are_the_images_flattened(shape):
    x = noise(4, *shape)
    images = build(Convolutional(), shape)
    rows = build(Convolutional(image_shape=shape), (x[0].numel(),))
    codes = images[0](x)
    assert torch.equal(rows[0](x.flatten(1)), codes)
    assert torch.equal(rows[1](codes), images[1](codes).flatten(1))


def test_rows_are_signals_where_no_image_shape_is_given():
    x = noise(4, 12)
    signal, image = build(Convolutional(), (12,)), build(Convolutional(), (1, 1, 12))
    assert {layer.kernel_size for layer in convolutions(signal[0])} == {(1, 3)}
    assert torch.equal(signal[0](x), image[0](x[:, None, None]))


def test_one_channel_need_not_be_named():
    x = noise(4, 9, 6)
    expected = build(Convolutional(), (9, 6))[0](x)
    for image_shape in [(9, 6), (1, 9, 6), [9, 6]]:
        architecture = Convolutional(image_shape)
        assert torch.equal(build(architecture, (9, 6))[0](x), expected)
        assert torch.equal(build(architecture, (54,))[0](x.flatten(1)), expected)


# Arithmetic


def test_the_encoder_is_a_convolution_by_hand():
    shape = 2, 5, 4
    encoder, _ = build(Convolutional(channels=(3,), hidden_layer_sizes=()), shape)
    convolution, linear = convolutions(encoder)[0], encoder[-1]
    weight = convolution.weight.detach().double().numpy()
    bias = np.array([0.1, -0.2, 0.3])
    with torch.no_grad():
        convolution.bias.copy_(torch.from_numpy(bias))
    x = noise(2, *shape)
    padded = np.pad(x.double().numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)])
    hidden = np.empty((2, 3, 3, 2))
    for i in range(3):
        for j in range(2):
            patch = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            hidden[:, :, i, j] = np.tensordot(patch, weight, ([1, 2, 3],) * 2)
    hidden = np.maximum(hidden + bias[:, None, None], 0).reshape(2, -1)
    expected = hidden @ linear.weight.detach().double().numpy().T
    np.testing.assert_allclose(encoder(x).detach(), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "kernel_size"), [((9, 8), 3), ((7, 6), 4)])
def test_the_decoder_transposes_the_convolution_of_the_encoder(size, kernel_size):
    """<conv x, y> = <x, conv' y> for the sizes of both, and shared weights."""
    smaller, down, up = convolution_sizes(size, kernel_size, 2)
    forth = nn.Conv2d(2, 3, **down, bias=False).double()
    back = nn.ConvTranspose2d(3, 2, **up, bias=False).double()
    back.weight = forth.weight
    x, y = noise(1, 2, *size).double(), noise(1, 3, *smaller).double()
    torch.testing.assert_close((forth(x) * y).sum(), (x * back(y)).sum())


def test_inside_the_image_channels_move_with_the_pixels():
    encoder, _ = build(Convolutional(), (32, 32))
    channels = encoder[: [type(m) for m in encoder].index(nn.Flatten)]
    x = torch.zeros(1, 32, 32)
    x[:, 10:15, 9:16] = noise(5, 7)
    moved = channels(x.roll((4, 8), (1, 2)))  # two strides of 2: one and two pixels
    expected = channels(x).roll((1, 2), (2, 3))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(moved, expected)


def test_in_double_precision_the_networks_compute_the_same():
    x = noise(4, 3, 8, 5)
    networks = build(Convolutional(), (3, 8, 5))
    doubles = [copy.deepcopy(network).double() for network in networks]
    z = doubles[0](x.double())
    assert z.dtype == torch.float64
    torch.testing.assert_close(networks[0](x).double(), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        networks[1](z.float()).double(), doubles[1](z), rtol=1e-4, atol=1e-5
    )


# Weights


@pytest.mark.parametrize("shape", IMAGES)
def test_the_last_layers_are_found(shape):
    encoder, decoder = build(Convolutional(hidden_layer_sizes=(5,)), shape)
    assert last_layer(encoder) is encoder[-1]
    assert isinstance(encoder[-1], nn.Linear)
    assert last_layer(decoder) is convolutions(decoder)[-1]


@pytest.mark.parametrize("shape", IMAGES)
def test_every_parameter_receives_a_gradient(shape):
    architecture = Convolutional(hidden_layer_sizes=(8,), activation="tanh")
    module = AutoencoderModule(*build(architecture, shape))
    x = noise(16, *shape)
    (module(x)[0] - x).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_generator_alone_draws_the_weights():
    state = torch.random.get_rng_state()
    networks = [build(Convolutional(), (9, 6), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, again, other = (nn.ModuleList(pair).state_dict() for pair in networks)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
        if name.endswith("weight"):
            assert not torch.equal(value, other[name]), name
        else:
            assert not value.any(), name


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("tanh", 1.0)])
def test_weights_are_glorot_normal(activation, gain):
    architecture = Convolutional(channels=(40, 60), activation=activation)
    encoder, decoder = build(architecture, (16, 16))
    for layer in convolutions(encoder)[1], convolutions(decoder)[0]:
        expected = 2 * gain / (9 * (40 + 60))
        assert layer.weight.var().item() == pytest.approx(expected, rel=0.05)
    last = convolutions(decoder)[-1].weight
    assert last.var().item() == pytest.approx(2 / (9 * (1 + 40)), rel=0.25)


def test_hidden_layers_mirror_each_other():
    encoder, decoder = build(Convolutional(hidden_layer_sizes=(7, 5)), (8, 8))
    widths = [
        [(m.in_features, m.out_features) for m in network if isinstance(m, nn.Linear)]
        for network in (encoder, decoder)
    ]
    assert widths == [[(128, 7), (7, 5), (5, 2)], [(2, 5), (5, 7), (7, 128)]]


# Stacked modules


@pytest.mark.parametrize("shape", [(1, 12), (1, 7, 8), (3, 8, 5)])
def test_stacked_modules_are_vectorised(shape):
    d = int(np.prod(shape))
    architecture = Convolutional(shape, hidden_layer_sizes=(6,))
    modules = [AutoencoderModule(*build(architecture, (d,), seed=i)) for i in range(3)]
    x = noise(6, d)
    expected = torch.stack([copy.deepcopy(module)(x)[0] for module in modules])
    stacked = StackedModules(modules, (x[:2],))
    assert not len(stacked.separate)
    torch.testing.assert_close(stacked(x)[0], expected, rtol=1e-4, atol=1e-5)


# Errors


@pytest.mark.parametrize(
    ("image_shape", "sample_shape", "accepted"),
    [
        ((1, 8, 9), (64,), "with 64 pixels"),
        ((64,), (64,), r"\(n_channels, height, width\)"),
        ((-8, -8), (64,), "with 64 pixels"),
        ((8.0, 8.0), (64,), "with 64 pixels"),
        (64, (64,), "None for a signal"),
        ("8x8", (64,), "None for a signal"),
        ((1, 4, 16), (8, 8), r"use \(8, 8\), or None"),
        ((3, 4), (4, 3), r"use \(4, 3\), or None"),
        ((8, 8, 3), (3, 8, 8), r"use \(3, 8, 8\), or None; or bring the axes"),
        ((64,), (1, 64), r"use \(1, 64\), or None"),
    ],
)
def test_an_image_shape_that_does_not_fit_says_what_does(
    image_shape, sample_shape, accepted
):
    with pytest.raises(ValueError, match=accepted) as error:
        build(Convolutional(image_shape), sample_shape)
    assert f"image_shape={image_shape!r}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", ()),
        ("channels", (16, 0)),
        ("channels", 1.5),
        ("channels", "16"),
        ("kernel_size", 0),
        ("kernel_size", (3, 3)),
        ("stride", -1),
        ("stride", 2.0),
        ("stride", None),
        ("hidden_layer_sizes", (0,)),
    ],
)
def test_an_invalid_parameter_is_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}=.*integers? of at least 1") as e:
        build(Convolutional(**{name: value}), (8, 8))
    assert repr(value) in str(e.value)


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 5\): use \(n_features"):
        build(Convolutional(), (2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"activation 'relo': use one of"):
        build(Convolutional(activation="relo"), (8, 8))


# As scikit-learn sees it


def test_parameters_are_those_of_an_estimator():
    architecture = Convolutional((8, 8), channels=8, stride=1)
    assert (
        repr(architecture) == "Convolutional(channels=8, image_shape=(8, 8), stride=1)"
    )
    copied = clone(architecture).set_params(kernel_size=5)
    assert copied.get_params() == {**architecture.get_params(), "kernel_size": 5}
    model = AutoencoderTransformer(architecture=architecture)
    model.set_params(architecture__channels=(4,))
    assert model.architecture.channels == (4,)


def test_one_integer_is_one_layer():
    assert len(convolutions(build(Convolutional(channels=8), (8, 8))[0])) == 1


def test_without_training_it_is_pca():
    X = load_digits().data[:100]
    pca = PCA(4).fit(X)
    model = AutoencoderTransformer(
        4, architecture=Convolutional((8, 8)), max_iter=0, random_state=0
    ).fit(X)
    np.testing.assert_allclose(model.transform(X), pca.transform(X), atol=1e-8)


def test_digits_are_reconstructed_better_than_by_pca():
    X = load_digits().data / 16
    train, test = X[:1200], X[1200:]
    architecture = Convolutional((8, 8), channels=(16,))
    model = AutoencoderTransformer(
        2, architecture=architecture, max_iter=10, random_state=0
    ).fit(train)
    errors = [
        np.sum((test - m.inverse_transform(m.transform(test))) ** 2)
        for m in (model, PCA(2).fit(train))
    ]
    assert errors[0] < 0.9 * errors[1]
