"""Transformers: attention by hand, causality, padding, and patches."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.decomposition import PCA
from torch import nn

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder, MaskedAutoencoder
from skae._masked_module import N_INPUTS
from skae._module import OfSamples, last_layer, reads_known
from skae.architectures import Transformer
from skae.architectures._transformer import Patches

SMALL = {"embed_dim": 8, "n_heads": 2}
FAST = {"max_iter": 2, "random_state": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(architecture, shape, k=2, seed=0):
    """Return the networks in float64, ready to be used."""
    networks = architecture.build(shape, k, seeded(seed))
    return [network.double().eval() for network in networks]


def make_layers(causal=False, **parameters):
    """Return layers in float64 whose weights are large enough to matter."""
    layers = Transformer(**{**SMALL, **parameters}).layers(
        causal=causal, generator=seeded()
    )
    return enlarged(layers.double().eval())


def enlarged(network):
    """Return a network with weights and biases of a size of about 0.5."""
    generator = seeded(1)
    for parameter in network.parameters():
        with torch.no_grad():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return network


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def padded(x, lengths):
    """Return a copy with other numbers from each row's length on, and the mask."""
    known = torch.ones_like(x, dtype=torch.bool)
    for row, length in zip(known, lengths, strict=True):
        row[length:] = False
    return torch.where(known, x, 7.0), known


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


# The layers


def by_hand(layers, x, sees):
    """Return what layers make of the tokens of one row, by loops.

    `sees(i, j)` says whether token i sees token j.
    """
    for layer in list(layers.layers) * layers.n_passes:
        w = {name: p.detach().numpy() for name, p in layer.named_parameters()}
        normed = norm_by_hand(x, w["attention_norm.weight"], w["attention_norm.bias"])
        projected = normed @ w["query_key_value.weight"].T + w["query_key_value.bias"]
        query, key, value = np.split(projected, 3, 1)
        d, n_heads = x.shape[1], layer.n_heads
        e = d // n_heads
        attended = np.zeros_like(x)
        for head in range(n_heads):
            at = slice(head * e, (head + 1) * e)
            for i in range(len(x)):
                seen = [j for j in range(len(x)) if sees(i, j)]
                size = np.array(
                    [np.exp(query[i, at] @ key[j, at] / math.sqrt(e)) for j in seen]
                )
                for share, j in zip(size / size.sum(), seen, strict=True):
                    attended[i, at] += share * value[j, at]
        x = x + attended @ w["attention_output.weight"].T + w["attention_output.bias"]
        normed = norm_by_hand(
            x, w["feedforward_norm.weight"], w["feedforward_norm.bias"]
        )
        hidden = normed @ w["feedforward.0.weight"].T + w["feedforward.0.bias"]
        normal = np.vectorize(lambda a: 0.5 * (1 + math.erf(a / math.sqrt(2))))
        hidden = hidden * normal(hidden)  # GELU
        x = x + hidden @ w["feedforward.2.weight"].T + w["feedforward.2.bias"]
    last = layers.norm
    return norm_by_hand(x, last.weight.detach().numpy(), last.bias.detach().numpy())


def norm_by_hand(x, gain, bias):
    centred = x - x.mean(1, keepdims=True)
    variance = (centred**2).mean(1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


@pytest.mark.parametrize("share_layers", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_the_layers_follow_the_equations(causal, share_layers):
    layers = make_layers(causal, share_layers=share_layers, feedforward_dim=5)
    x = noise(3, 6, 8)
    known = torch.ones(3, 6, dtype=torch.bool)
    known[1, 4:], known[2, [0, 3]] = False, False
    for mask in (None, known):
        got = layers(x, mask).detach().numpy()
        for row in range(3):

            def sees(i, j, row=row, mask=mask):
                there = mask is None or bool(mask[row, j]) or i == j
                return there and (j <= i or not causal)

            assert_allclose(got[row], by_hand(layers, x[row].numpy(), sees), atol=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_causal_layers_do_not_see_what_comes_later(masked):
    layers = make_layers(causal=True)
    x, mask = noise(2, 7, 8), None
    if masked:
        mask = torch.ones(2, 7, dtype=torch.bool)
        mask[1, :2] = False
    before = layers(x, mask)
    for t in range(1, 7):
        changed = torch.cat([x[:, :t], noise(2, 7 - t, 8, seed=t)], 1)
        after = layers(changed, mask)
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert (after[:, t:] != before[:, t:]).any(-1).all()
        shorter = layers(x[:, :t], None if mask is None else mask[:, :t])
        torch.testing.assert_close(shorter, before[:, :t])


@pytest.mark.parametrize("causal", [False, True])
def test_unknown_tokens_do_not_change_the_others(causal):
    layers = make_layers(causal)
    x = noise(2, 7, 8)
    known = torch.rand(2, 7, generator=seeded(3)) < 0.6
    assert known.any(1).all()
    assert not known.all(1).any()
    before = layers(x, known)
    after = layers(torch.where(known[..., None], x, 100 * x + 1), known)
    torch.testing.assert_close(after[known], before[known])
    for row in range(2):
        alone = layers(x[row : row + 1, known[row]])
        torch.testing.assert_close(alone[0], before[row, known[row]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_without_a_known_token_are_finite(causal, dtype):
    layers = make_layers(causal).to(dtype)
    x = noise(2, 5, 8).to(dtype).requires_grad_()
    known = torch.zeros(2, 5, dtype=torch.bool)
    known[1] = True
    output = layers(x, known)
    output.square().sum().backward()
    assert output.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layers.parameters())


def test_attention_takes_the_fast_path_of_a_cpu():
    layers = make_layers().float().train()
    known = torch.ones(2, 5, dtype=torch.bool)
    names = set()
    for mask in (None, known):
        waiting = [layers(noise(2, 5, 8).float(), mask).grad_fn]
        while waiting:
            node = waiting.pop()
            names.add(node.name())
            waiting += [following for following, _ in node.next_functions if following]
    attention = {name for name in names if "Attention" in name}
    assert attention == {"ScaledDotProductFlashAttentionForCpuBackward0"}
    assert not any("Softmax" in name for name in names)


def test_shared_layers_have_the_parameters_of_one():
    one = n_parameters(make_layers(n_layers=1))
    norm = 2 * 8
    assert n_parameters(make_layers(n_layers=5, share_layers=True)) == one
    assert n_parameters(make_layers(n_layers=5)) == 5 * (one - norm) + norm
    d, m = 8, 32  # of feedforward_dim=None
    assert (
        one - norm == 4 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * m + (m + 1) * d
    )


def test_dropout_is_of_training_alone():
    layers = make_layers(dropout=0.5)
    x = noise(2, 5, 8)
    assert torch.equal(layers(x), layers(x))
    assert not torch.equal(layers.train()(x), layers(x))
    without = make_layers(dropout=0).train()
    assert torch.equal(without(x), without(x))


# The embedding of tokens


def test_a_factorised_embedding_has_the_parameters_of_albert():
    V, E, H = 100, 3, 8
    tokens = torch.tensor([[5, 99], [0, 5]])
    for rank, expected in [(None, V * H), (E, V * E + E * H)]:
        architecture = Transformer(**SMALL, embedding_rank=rank)
        embedding = architecture.token_embedding(V, seeded()).double()
        assert n_parameters(embedding) == expected
        vectors = embedding(torch.arange(V))
        assert vectors.shape == (V, H)
        assert torch.equal(embedding(tokens), vectors[tokens])
        h = noise(2, 4, H)
        torch.testing.assert_close(embedding.logits(h), h @ vectors.T)


@pytest.mark.parametrize("rank", [None, 16])
def test_fresh_vectors_have_the_same_size_with_and_without_a_rank(rank):
    architecture = Transformer(embedding_rank=rank)
    vectors = architecture.token_embedding(2000, seeded())(torch.arange(2000))
    assert float(vectors.detach().std()) == pytest.approx(0.02, rel=0.1)


# Patches


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((1, 6, 6), (2, 3)),
        ((3, 7, 5), (3, 2)),
        ((2, 5, 9), (5, 4)),
        ((1, 10, 3), (4, 3)),
        ((1, 1, 1), (1, 1)),
    ],
)
def test_patches_are_cut_as_by_loops_and_join_to_the_image(image, size):
    patches, x = Patches(image, size), noise(2, *image)
    (channels, height, width), (p, q) = image, size
    n_down, n_across = math.ceil(height / p), math.ceil(width / q)
    full = torch.zeros(2, channels, n_down * p, n_across * q, dtype=torch.float64)
    full[:, :, :height, :width] = x
    expected = [
        full[:, :, i * p : (i + 1) * p, j * q : (j + 1) * q].flatten(1)
        for i in range(n_down)
        for j in range(n_across)
    ]
    cut = patches.cut(x)
    assert torch.equal(cut, torch.stack(expected, 1))
    assert cut.shape[1:] == (patches.n_patches, patches.n_cells)
    assert torch.equal(patches.join(cut), x)


SAMPLES = [
    (Transformer(**SMALL), (1,)),
    (Transformer(**SMALL), (57,)),
    (Transformer(**SMALL, patch_size=4), (10, 3)),
    (Transformer(**SMALL, patch_size=100), (10, 3)),
    (Transformer(**SMALL, embedding_rank=2, share_layers=True), (57, 2)),
    (Transformer(**SMALL), (3, 17, 5)),
    (Transformer(**SMALL, patch_size=4), (1, 7, 9)),
    (Transformer(**SMALL, image_shape=(7, 9), patch_size=3), (7, 9)),
    (Transformer(**SMALL, image_shape=(2, 7, 3), patch_size=2), (42,)),
]


@pytest.mark.parametrize(("architecture", "shape"), SAMPLES)
def test_samples_are_restored_and_networks_can_start_at_zero(architecture, shape):
    encoder, decoder = build(architecture, shape, k=3)
    codes = encoder(noise(4, *shape))
    assert codes.shape == (4, 3)
    assert decoder(codes).shape == (4, *shape)
    for network in (encoder, decoder):
        last = last_layer(network)
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
    assert not encoder(noise(4, *shape)).any()
    assert not decoder(codes).any()


def test_auto_takes_about_25_patches():
    series = Transformer(**SMALL)
    for n_steps, size in [(24, 1), (37, 1), (38, 2), (150, 6), (1000, 40)]:
        assert build(series, (n_steps, 3))[0][0].patches.size == (size, 3)
    for image, size in [((8, 8), 2), ((28, 28), 6), ((100, 4), 4), ((2, 3), 1)]:
        patches = build(series, (3, *image))[0][0].patches
        assert patches.size == (size, size)
        assert patches.n_cells == 3 * size**2


def test_an_image_is_the_same_however_it_is_given():
    x = noise(4, 6, 9)
    expected = None
    for shape in [(1, 6, 9), (6, 9), (54,)]:
        image_shape = None if len(shape) == 3 else (6, 9)
        architecture = Transformer(**SMALL, image_shape=image_shape, patch_size=4)
        encoder, decoder = build(architecture, shape)
        codes = encoder(x.reshape(4, *shape))
        rows = decoder(codes).flatten(1)
        if expected is not None:
            assert torch.equal(codes, expected[0])
            assert torch.equal(rows, expected[1])
        expected = codes, rows


def test_one_channel_needs_no_axis_and_changes_nothing():
    x = noise(4, 37)
    flat_encoder, flat_decoder = build(Transformer(**SMALL, patch_size=4), (37,))
    encoder, decoder = build(Transformer(**SMALL, patch_size=4), (37, 1))
    codes = flat_encoder(x)
    assert torch.equal(codes, encoder(x[:, :, None]))
    assert torch.equal(flat_decoder(codes), decoder(codes)[:, :, 0])


# Padding


@pytest.mark.parametrize("patch_size", [1, 3, 4])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_padding_does_not_change_the_code(patch_size, channels):
    encoder, _ = build(Transformer(**SMALL, patch_size=patch_size), (10, *channels))
    x = noise(10, 10, *channels)
    codes = encoder(*padded(x, range(1, 11)))
    for i, length in enumerate(range(1, 11)):
        alone = encoder(x[i : i + 1, :length])
        torch.testing.assert_close(codes[i : i + 1], alone)
        padded_alone = encoder(*padded(x[i : i + 1], [length]))
        torch.testing.assert_close(padded_alone, alone)
    assert not torch.allclose(codes, encoder(x), atol=1e-3)


def test_a_missing_channel_is_not_padding():
    encoder, _ = build(Transformer(**SMALL, patch_size=1), (6, 2))
    x, known = padded(noise(2, 6, 2), [6, 4])
    known[0, 5, 0] = False
    codes = encoder(x, known)
    torch.testing.assert_close(codes[:1], encoder(x[:1]))
    changed = torch.where(known, x, x + 1)
    assert (encoder(changed, known) != codes).any(1).tolist() == [True, False]


def test_without_a_mask_every_step_counts():
    encoder, _ = build(Transformer(**SMALL), (10, 3))
    x = noise(2, 10, 3)
    known = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(encoder(x, known), encoder(x))


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
def test_rows_are_read_as_the_series_that_they_are(shape):
    encoder, decoder = build(Transformer(**SMALL), shape)
    assert reads_known(encoder)
    assert not reads_known(decoder)
    of_rows = OfSamples(encoder, shape)
    x, known = padded(noise(2, *shape), [6, 4])
    codes = of_rows(x.flatten(1), known.flatten(1))
    assert torch.equal(codes, encoder(x, known))


@pytest.mark.parametrize("patch_size", [1, 4])
def test_finite_gradients_reach_every_parameter(patch_size):
    architecture = Transformer(**SMALL, patch_size=patch_size, embedding_rank=3)
    encoder, decoder = map(enlarged, build(architecture, (10, 3)))
    x, known = padded(noise(4, 10, 3), [10, 7, 1, 0])
    rebuilt = decoder(encoder(x.requires_grad_(), known))
    rebuilt.square().sum().backward()
    assert rebuilt.isfinite().all()
    for network in (encoder, decoder):
        for name, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
    assert (x.grad[known] != 0).all()
    assert not x.grad[~known].any()


# Weights


def test_the_generator_alone_decides_the_weights():
    state = torch.get_rng_state()
    architecture = Transformer(**SMALL, embedding_rank=3)
    first, again, other = (
        [
            *build(architecture, (60, 2), seed=s),
            architecture.token_embedding(5, seeded(s)),
        ]
        for s in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first, again, other, strict=True):
        a, b, c = a.state_dict(), b.state_dict(), c.state_dict()
        for name in a:
            assert torch.equal(a[name], b[name]), name
            if ("weight" in name and "norm" not in name) or "positions" in name:
                assert not torch.equal(a[name], c[name]), name


def test_the_ends_of_residual_paths_start_smaller():
    layers = Transformer(n_layers=8).layers(causal=False, generator=seeded())
    for name, parameter in layers.named_parameters():
        std = float(parameter.detach().std())
        if "norm" in name or "bias" in name:
            assert not std
        else:
            is_end = "output" in name or "feedforward.2" in name
            assert std == pytest.approx(0.02 / 4 if is_end else 0.02, rel=0.05), name


# In estimators


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (Transformer(**SMALL), (6, 3)),
        (Transformer(**SMALL), (18,)),
        (Transformer(**SMALL, image_shape=(6, 3)), (6, 3)),
    ],
)
def test_the_module_starts_at_pca(architecture, shape):
    X = np.random.RandomState(0).standard_normal((60, *shape)).cumsum(1)
    rows = X.reshape(60, -1)
    model = AutoencoderTransformer(2, architecture=architecture, max_iter=0).fit(X)
    pca = PCA(2).fit(rows)
    start, module = model._fit.start, model.module_.double().eval()
    u = module.encode(torch.from_numpy((rows - start.mean) / start.scale))
    codes = u.detach().numpy() * start.code_scale
    assert_allclose(codes, pca.transform(rows), rtol=1e-5, atol=1e-5)
    rebuilt = module.decode(u).detach().numpy() * start.scale + start.mean
    expected = pca.inverse_transform(pca.transform(rows))
    assert_allclose(rebuilt, expected, rtol=1e-5, atol=1e-5)


def test_series_of_different_lengths_are_fitted_and_images_have_one_size():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 6, 2)).cumsum(1)
    for row in X[1:]:
        row[rng.randint(2, 7) :] = np.nan
    model = VAE(2, architecture=Transformer(**SMALL), **FAST).fit(X)
    assert np.isfinite(model.transform(X)).all()
    series = [row[~np.isnan(row[:, 0])] for row in X]
    assert_allclose(model.transform(series), model.transform(X), rtol=1e-6)
    image = Transformer(**SMALL, image_shape=(6, 2))
    with pytest.raises(ValueError, match="NaN"):
        VAE(2, architecture=image, **FAST).fit(X)


@pytest.mark.parametrize(("architecture", "shape"), SAMPLES[2:])
def test_the_masked_autoencoder_sees_the_mask_as_channels(architecture, shape):
    changed, one, axis = architecture.for_channels(shape)
    assert math.prod(one) == math.prod(shape)
    stacked = tuple(n * N_INPUTS if i == axis else n for i, n in enumerate(one))
    encoder, _ = build(changed, stacked)
    own, _ = build(architecture, shape)
    patches = encoder[0].patches
    assert patches.n_patches == own[0].patches.n_patches
    assert patches.n_cells == N_INPUTS * own[0].patches.n_cells


def test_hidden_patches_of_images_are_those_of_the_network():
    X = np.random.RandomState(0).standard_normal((60, 3, 6, 6))
    model = MaskedAutoencoder(
        2,
        architecture=Transformer(**SMALL, patch_size=2),
        patch_size=2,
        validation_fraction=0.2,
        **FAST,
    ).fit(X)
    block = model.module_.block.reshape(3, 6, 6)
    patches = Patches((1, 6, 6), (2, 2)).cut(block[:, None])
    assert (patches == torch.arange(9)[:, None]).all()
    assert model.impute(X).shape == X.shape


def test_few_rows_are_folds_of_networks_trained_one_after_the_other():
    X = np.random.RandomState(0).standard_normal((40, 6)).cumsum(1)
    model = DenoisingAutoencoder(
        2, architecture=Transformer(**SMALL, n_layers=1), **FAST
    ).fit(X)
    assert len(model.validation_scores_) == 3
    again = clone(model).fit(X)
    assert_allclose(again.transform(X), model.transform(X), rtol=1e-12)


# As a scikit-learn object


def test_clone_params_and_repr():
    architecture = Transformer(1, 32, share_layers=True, patch_size=4)
    assert clone(architecture).get_params() == {
        "n_layers": 1,
        "embed_dim": 32,
        "n_heads": 4,
        "feedforward_dim": None,
        "share_layers": True,
        "embedding_rank": None,
        "dropout": 0.1,
        "patch_size": 4,
        "image_shape": None,
    }
    expected = "Transformer(embed_dim=32, n_layers=1, patch_size=4, share_layers=True)"
    assert repr(architecture) == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_layers": 0}, "n_layers=0: use an integer of at least 1"),
        ({"n_layers": 1.5}, "n_layers=1.5: use an integer"),
        ({"embed_dim": 0}, "embed_dim=0: use an integer of at least 1"),
        ({"embed_dim": 10}, "embed_dim=10 is no multiple of n_heads=4"),
        ({"embed_dim": 10**30}, "embed_dim=1000.*: use 16777216 at most"),
        ({"n_heads": 0}, "n_heads=0: use an integer of at least 1"),
        ({"n_heads": 3}, "embed_dim=128 is no multiple of n_heads=3"),
        ({"feedforward_dim": "4x"}, "feedforward_dim='4x': use .*, or None"),
        ({"embedding_rank": 0}, "embedding_rank=0: use an integer of .*, or None"),
        ({"share_layers": 1}, "share_layers=1: use True or False"),
        ({"dropout": 1}, "dropout=1: use a number of at least 0 and below 1"),
        ({"dropout": "no"}, "dropout='no': use a number"),
        ({"dropout": math.nan}, "dropout=nan: use a number"),
        ({"patch_size": 0}, "patch_size=0: use .* at least 1, or 'auto'"),
        ({"patch_size": "all"}, "patch_size='all': use an integer"),
        ({"image_shape": (4, 4)}, "image_shape=.* is not the shape of the images"),
    ],
)
def test_invalid_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        build(Transformer(**parameters), (10, 2))


def test_a_sample_of_four_axes_is_refused():
    with pytest.raises(ValueError, match=r"Transformer cannot take samples of shape"):
        build(Transformer(), (2, 3, 4, 5))


def test_numpy_integers_and_booleans_are_accepted():
    architecture = Transformer(
        np.int8(1),
        embed_dim=np.int8(16),
        n_heads=np.int64(2),
        feedforward_dim=np.int8(100),
        share_layers=np.bool_(True),
        embedding_rank=np.int8(3),
        dropout=np.float32(0.5),
        patch_size=np.int8(2),
    )
    encoder, decoder = build(architecture, (7,))
    assert decoder(encoder(noise(2, 7))).shape == (2, 7)
