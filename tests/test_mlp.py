"""The multilayer perceptron, down to the textbook network by hand."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from torch import nn

from skae import AutoencoderTransformer
from skae.architectures import MLP
from skae.architectures._mlp import ACTIVATIONS, make_activation

TEXTBOOK = MLP((3,), activation="relu", code_activation="relu")


def build(architecture, d=4, k=2, seed=0):
    return architecture.build((d,), k, torch.Generator().manual_seed(seed))


def textbook():
    """Return the textbook network as a user gets it, with weights that matter."""
    X = np.abs(load_iris().data)
    model = AutoencoderTransformer(
        2, architecture=TEXTBOOK, init="random", max_iter=0, random_state=0
    ).fit(X)
    module = model.module_.double()
    rng = np.random.RandomState(0)
    with torch.no_grad():
        for parameter in module.parameters():
            values = rng.uniform(0.1, 1.0, parameter.shape) * rng.choice(
                [1, 1, 1, -1], parameter.shape
            )
            parameter.copy_(torch.from_numpy(values))
    return module


def weights(module):
    """Return (W, b) of the four layers, as numpy arrays."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in layers]


def forward_by_hand(X, layers):
    """Return every pre-activation; the last one is the reconstruction."""
    pre, h = [], X
    for i, (W, b) in enumerate(layers):
        z = h @ W.T + b
        pre.append(z)
        h = np.maximum(z, 0) if i < len(layers) - 1 else z
    return pre


def loss_by_hand(X, layers):
    return np.sum((forward_by_hand(X, layers)[-1] - X) ** 2)


def backward_by_hand(X, layers):
    """Return the gradients of the summed squared error, layer by layer."""
    pre = forward_by_hand(X, layers)
    inputs = [X, *[np.maximum(z, 0) for z in pre[:-1]]]
    delta = 2 * (pre[-1] - X)
    gradients = []
    for i in reversed(range(len(layers))):
        gradients.insert(0, (delta.T @ inputs[i], delta.sum(0)))
        delta = (delta @ layers[i][0]) * (inputs[i] > 0)
    return gradients


def test_the_textbook_network_is_expressed_exactly():
    module = textbook()
    assert repr(module.encoder) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=3, out_features=2, bias=True)\n"
        "  (3): ReLU()\n"
        ")"
    )
    assert repr(module.decoder) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=3, out_features=4, bias=True)\n"
        ")"
    )
    assert len(list(module.parameters())) == 8


def test_the_textbook_forward_pass_is_that_by_hand():
    module, X = textbook(), np.random.RandomState(1).uniform(0, 2, (6, 4))
    reconstruction, code = module(torch.from_numpy(X))
    pre = forward_by_hand(X, weights(module))
    np.testing.assert_allclose(code.detach(), np.maximum(pre[1], 0))
    np.testing.assert_allclose(reconstruction.detach(), pre[-1])
    assert (pre[0] < 0).any()  # the ReLUs do something
    assert (pre[1] > 0).any()


def test_the_gradient_at_the_output_is_twice_the_error():
    module, X = textbook(), np.random.RandomState(1).uniform(0, 2, (6, 4))
    x = torch.from_numpy(X)
    output = module(x)[0]
    loss = (output - x).square().sum()
    (gradient,) = torch.autograd.grad(loss, output)
    np.testing.assert_allclose(gradient, 2 * (output.detach() - x))


def test_the_textbook_backward_pass_is_that_by_hand():
    module, X = textbook(), np.random.RandomState(1).uniform(0, 2, (6, 4))
    x = torch.from_numpy(X)
    (module(x)[0] - x).square().sum().backward()
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    expected = backward_by_hand(X, weights(module))
    for layer, (dW, db) in zip(layers, expected, strict=True):
        assert np.abs(dW).sum() > 0
        np.testing.assert_allclose(layer.weight.grad, dW, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(layer.bias.grad, db, rtol=1e-10, atol=1e-10)


def test_the_textbook_gradient_is_that_of_finite_differences():
    module, X = textbook(), np.random.RandomState(1).uniform(0, 2, (6, 4))
    layers = [(W.copy(), b.copy()) for W, b in weights(module)]
    step = 1e-6
    for (W, b), gradients in zip(layers, backward_by_hand(X, layers), strict=True):
        for values, gradient in zip((W, b), gradients, strict=True):
            for index in np.ndindex(values.shape):
                kept = values[index]
                values[index] = kept + step
                above = loss_by_hand(X, layers)
                values[index] = kept - step
                below = loss_by_hand(X, layers)
                values[index] = kept
                slope = (above - below) / (2 * step)
                assert slope == pytest.approx(gradient[index], rel=1e-5, abs=1e-5)


def test_the_textbook_network_learns():
    X = load_iris().data
    model = AutoencoderTransformer(
        2, architecture=TEXTBOOK, init="random", max_iter=60, random_state=0
    ).fit(X)
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
    assert model.transform(X).min() >= 0


# MLP


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("tied_weights", [False, True])
def test_every_activation_fits(name, tied_weights):
    X = load_iris().data[::5]
    model = AutoencoderTransformer(
        2,
        architecture=MLP((3,), name, tied_weights=tied_weights),
        max_iter=1,
        random_state=0,
    ).fit(X)
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("name", ["identity", "logistic", "tanh", "relu"])
def test_the_activations_of_mlpregressor_mean_the_same(name):
    from sklearn.neural_network._base import ACTIVATIONS as THEIRS

    x = np.linspace(-3, 3, 50)
    expected = x.copy()
    THEIRS[name](expected)
    np.testing.assert_allclose(make_activation(name)(torch.from_numpy(x)), expected)


def test_the_decoder_mirrors_the_encoder():
    encoder, decoder = build(MLP((5, 3)), d=7)
    widths = [m.out_features for m in [*encoder, *decoder] if isinstance(m, nn.Linear)]
    assert widths == [5, 3, 2, 3, 5, 7]


def test_no_hidden_layer_means_linear_maps():
    encoder, decoder = build(MLP(()))
    assert [type(m) for m in [*encoder, *decoder]] == [nn.Linear, nn.Linear]


def test_tied_decoder_weights_are_the_transposes():
    encoder, decoder = build(MLP((5, 3), "tanh", tied_weights=True), d=7)
    layers = [m for m in encoder if isinstance(m, nn.Linear)]
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    h = torch.tanh(z @ layers[2].weight)
    h = torch.tanh(h @ layers[1].weight)
    torch.testing.assert_close(decoder(z), h @ layers[0].weight)
    shared = set(encoder.parameters()) & set(decoder.parameters())
    assert shared == {layer.weight for layer in layers}


def test_tied_weights_stay_tied_after_training():
    X = load_iris().data
    model = AutoencoderTransformer(
        2,
        architecture=MLP((), tied_weights=True),
        init="random",
        max_iter=3,
        random_state=0,
    ).fit(X)
    encoder, decoder = model.module_.encoder, model.module_.decoder
    assert decoder.weights[0] is encoder[0].weight
    codes = model.transform(X)
    assert np.isfinite(model.inverse_transform(codes)).all()


def test_the_same_generator_gives_the_same_weights():
    first, second, third = (build(MLP((5,)), seed=s)[0] for s in (0, 0, 1))
    assert torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(first[0].weight, third[0].weight)


@pytest.mark.parametrize("tied_weights", [False, True])
def test_a_linear_autoencoder_spans_the_pca_subspace(tied_weights):
    rng = np.random.RandomState(0)
    X = rng.randn(400, 6) @ np.diag([3, 2.5, 1, 0.5, 0.4, 0.3])
    X = X @ np.linalg.qr(rng.randn(6, 6))[0]
    model = AutoencoderTransformer(
        2,
        architecture=MLP((), tied_weights=tied_weights),
        init="random",
        alpha=0.0,
        batch_size=16,
        max_iter=150,
        random_state=0,
    ).fit(X)
    pca = PCA(2).fit(X)
    W = next(model.module_.decoder.parameters())  # (6, 2), or (2, 6) if tied
    W = W.detach().numpy().astype(float)
    span = np.linalg.qr(W.T if tied_weights else W)[0]
    cosines = np.linalg.svd(pca.components_ @ span, compute_uv=False)
    assert cosines.min() > 0.995  # principal angles below 6 degrees
    error = (X - pca.inverse_transform(pca.transform(X))) ** 2
    assert model.reconstruction_error(X).mean() == pytest.approx(error.mean(), rel=0.02)


@pytest.mark.parametrize("sizes", [(0,), (-1,), (3, "a"), "3", None, (2.5,), 1.5])
def test_bad_widths_are_named(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes="):
        build(MLP(sizes))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (MLP(activation="rleu"), "Unknown activation 'rleu'.*relu"),
        (MLP(code_activation="x"), "Unknown code_activation 'x'"),
        (MLP(activation=["relu"]), "Unknown activation"),
    ],
)
def test_unknown_activations_are_named(architecture, message):
    with pytest.raises(ValueError, match=message):
        build(architecture)


def test_an_integer_is_one_hidden_layer():
    assert len(build(MLP(5))[0]) == len(build(MLP((5,)))[0])
    assert len(build(MLP(np.int64(5)))[0]) == len(build(MLP((5,)))[0])


def test_an_architecture_is_cloned_and_shown():
    architecture = MLP((3, 2), tied_weights=True)
    assert repr(clone(architecture)) == repr(architecture)
    assert repr(architecture) == "MLP(hidden_layer_sizes=(3, 2), tied_weights=True)"
    assert architecture.set_params(activation="tanh").activation == "tanh"
