"""Recurrent networks: shapes, padding, and the equations by hand."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skae._module import OfSamples, last_layer, reads_known
from skae.architectures._recurrent import Recurrent

CELLS = ["gru", "lstm"]


def build(architecture, shape, k=2, seed=0):
    """Return the networks in float64."""
    networks = architecture.build(shape, k, torch.Generator().manual_seed(seed))
    return [network.double() for network in networks]


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def padded(x, lengths):
    """Return a copy with other numbers from each row's length on, and the mask."""
    known = torch.ones_like(x, dtype=torch.bool)
    for row, length in zip(known, lengths, strict=True):
        row[length:] = False
    return torch.where(known, x, 7.0), known


def by_name(layers):
    return {name: p.detach().numpy() for name, p in layers.named_parameters()}


# Shapes


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_every_length_makes_the_round_trip(cell, n_channels):
    options = itertools.cycle(itertools.product([1, 2], [False, True], ["auto", 3]))
    for n_steps, option in zip(range(1, 41), options, strict=False):
        num_layers, bidirectional, segment_length = option
        architecture = Recurrent(
            cell,
            4,
            num_layers,
            bidirectional=bidirectional,
            segment_length=segment_length,
        )
        encoder, decoder = build(architecture, (n_steps, n_channels), k=3)
        codes = encoder(noise(2, n_steps, n_channels))
        assert codes.shape == (2, 3), (n_steps, option)
        assert decoder(codes).shape == (2, n_steps, n_channels), (n_steps, option)


@pytest.mark.parametrize("n_steps", [1, 2, 37, 40])
def test_one_channel_needs_no_axis_and_changes_nothing(n_steps):
    x = noise(4, n_steps)
    flat_encoder, flat_decoder = build(Recurrent(), (n_steps,))
    encoder, decoder = build(Recurrent(), (n_steps, 1))
    codes = flat_encoder(x)
    assert torch.equal(codes, encoder(x[:, :, None]))
    assert torch.equal(flat_decoder(codes), decoder(codes)[:, :, 0])


def test_auto_takes_about_25_segments():
    for n_steps, segment_length in [(24, 1), (37, 1), (38, 2), (150, 6), (1000, 40)]:
        encoder, decoder = build(Recurrent(hidden_size=2), (n_steps, 1))
        assert encoder[0].segment_length == segment_length
        assert decoder[0].segment_length == segment_length


def test_segments_are_never_longer_than_the_series():
    encoder, _ = build(Recurrent(hidden_size=2, segment_length=100), (7, 3))
    assert encoder[0].recurrent.input_size == 21


@pytest.mark.parametrize("shape", [(30,), (30, 2), (60, 2)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_both_networks_end_in_a_linear_layer_that_can_start_at_zero(
    shape, bidirectional
):
    encoder, decoder = build(Recurrent(bidirectional=bidirectional), shape)
    for network, width in [(encoder, 2), (decoder, (*shape, 1)[1])]:
        last = last_layer(network)
        assert isinstance(last, nn.Linear)
        assert last.out_features == width
        nn.init.zeros_(last.weight)
    assert not encoder(noise(3, *shape)).any()
    assert not decoder(noise(3, 2)).any()


# Padding


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("segment_length", [1, 3, 4])
def test_padding_does_not_change_the_code(cell, bidirectional, segment_length):
    architecture = Recurrent(
        cell, 5, 2, bidirectional=bidirectional, segment_length=segment_length
    )
    encoder, _ = build(architecture, (10, 3))
    x = noise(10, 10, 3)
    codes = encoder(*padded(x, range(1, 11)))
    for i, length in enumerate(range(1, 11)):
        alone = encoder(x[i : i + 1, :length])
        torch.testing.assert_close(codes[i : i + 1], alone, rtol=0, atol=1e-6)
        padded_alone = encoder(*padded(x[i : i + 1], [length]))
        torch.testing.assert_close(padded_alone, alone, rtol=0, atol=1e-6)


def test_padding_does_not_change_the_code_of_one_channel():
    encoder, _ = build(Recurrent(bidirectional=True), (10,))
    x = noise(1, 10)
    assert torch.allclose(encoder(*padded(x, [7])), encoder(x[:, :7]), atol=1e-6)
    assert not torch.allclose(encoder(*padded(x, [7])), encoder(x), atol=1e-3)


def test_without_a_mask_every_step_counts():
    encoder, _ = build(Recurrent(), (10, 3))
    x = noise(2, 10, 3)
    assert torch.equal(encoder(x, torch.ones_like(x, dtype=torch.bool)), encoder(x))


def test_a_missing_channel_is_not_padding():
    encoder, _ = build(Recurrent(segment_length=1), (6, 2))
    x, known = padded(noise(3, 6, 2), [6, 6, 4])
    known[0, 5, 0] = False  # the last step, in one channel
    known[1, 2] = False  # all channels, but not to the end
    codes = encoder(x, known)
    torch.testing.assert_close(codes[:2], encoder(x[:2]))
    changed = torch.where(known, x, x + 1)
    assert (encoder(changed, known) != codes).any(1).tolist() == [True, True, False]


def test_a_series_of_no_real_steps_is_read_as_zeros():
    encoder, _ = build(Recurrent(bidirectional=True, segment_length=2), (6, 3))
    nothing = padded(noise(2, 6, 3), [0, 0])
    zeros = torch.zeros(2, 2, 3, dtype=torch.float64)
    assert torch.allclose(encoder(*nothing), encoder(zeros))


def test_the_encoder_says_that_it_takes_padding():
    assert Recurrent.handles_padding
    for shape in [(6,), (6, 3)]:
        encoder, decoder = build(Recurrent(hidden_size=2), shape)
        assert reads_known(encoder)
        assert not reads_known(decoder)


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
def test_rows_are_read_as_the_series_that_they_are(shape):
    encoder, _ = build(Recurrent(hidden_size=2), shape)
    of_rows = OfSamples(encoder, shape)
    assert reads_known(of_rows)
    x, known = padded(noise(2, *shape), [6, 4])
    assert torch.equal(of_rows(x.flatten(1)), encoder(x))
    codes = of_rows(x.flatten(1), known.flatten(1))
    assert torch.equal(codes, encoder(x, known))


# Gradients


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("segment_length", [1, 4])
def test_finite_gradients_reach_every_parameter(cell, bidirectional, segment_length):
    architecture = Recurrent(
        cell, 4, 2, bidirectional=bidirectional, segment_length=segment_length
    )
    encoder, decoder = build(architecture, (10, 3))
    x, known = padded(noise(4, 10, 3), [10, 7, 1, 0])
    rebuilt = decoder(encoder(x.requires_grad_(), known))
    assert rebuilt.isfinite().all()
    rebuilt.square().sum().backward()
    for network in (encoder, decoder):
        for name, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
    assert x.grad.isfinite().all()
    assert (x.grad[known] != 0).all()
    assert not x.grad[~known].any()


# What is computed


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru_by_hand(x, w):
    """Return the last state: Cho et al. (2014), with the reset after the product."""
    size = w["weight_hh_l0"].shape[1]
    h = np.zeros(size)
    for step in x:
        a = np.split(w["weight_ih_l0"] @ step + w["bias_ih_l0"], 3)
        b = np.split(w["weight_hh_l0"] @ h + w["bias_hh_l0"], 3)
        reset, update = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
        new = np.tanh(a[2] + reset * b[2])
        h = (1 - update) * new + update * h
    return h


def lstm_by_hand(x, w):
    """Return the last state: Hochreiter & Schmidhuber (1997), with a forget gate."""
    size = w["weight_hh_l0"].shape[1]
    h, c = np.zeros(size), np.zeros(size)
    for step in x:
        a = w["weight_ih_l0"] @ step + w["bias_ih_l0"]
        a = a + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        i, f, g, o = np.split(a, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


@pytest.mark.parametrize(
    ("cell", "by_hand"), [("gru", gru_by_hand), ("lstm", lstm_by_hand)]
)
def test_the_encoder_follows_the_equations(cell, by_hand):
    encoder, _ = build(Recurrent(cell, 5), (6, 3))
    w = by_name(encoder[0].recurrent)
    rng = np.random.RandomState(0)
    for bias in ("bias_ih_l0", "bias_hh_l0"):
        w[bias][:] = rng.randn(len(w[bias]))  # numpy shares the memory
    x = noise(2, 6, 3)
    states = encoder[0](x).detach().numpy()
    expected = [by_hand(row, w) for row in x.numpy()]
    np.testing.assert_allclose(states, expected, atol=1e-12)
    W, b = encoder[1].weight.detach().numpy(), encoder[1].bias.detach().numpy()
    codes = encoder(x).detach().numpy()
    np.testing.assert_allclose(codes, np.array(expected) @ W.T + b, atol=1e-12)


def test_segments_are_read_in_one_step():
    encoder, _ = build(Recurrent("gru", 4, segment_length=3), (7, 2))
    x = noise(1, 7, 2)
    segments = np.zeros((3, 6))
    segments.flat[:14] = x.numpy().ravel()
    expected = gru_by_hand(segments, by_name(encoder[0].recurrent))
    np.testing.assert_allclose(encoder[0](x)[0].detach(), expected, atol=1e-12)


def test_the_backward_direction_reads_from_the_end():
    encoder, _ = build(Recurrent("gru", 4, bidirectional=True), (6, 2))
    w = by_name(encoder[0].recurrent)
    x = noise(1, 6, 2)
    forward = gru_by_hand(x[0].numpy(), w)
    reverse = {name.removesuffix("_reverse"): w[name] for name in w if "rev" in name}
    backward = gru_by_hand(x[0].numpy()[::-1], reverse)
    expected = np.concatenate([forward, backward])
    np.testing.assert_allclose(encoder[0](x)[0].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("n_steps", [12, 60])
def test_the_decoder_knows_the_code_alone(n_steps):
    _, decoder = build(Recurrent(hidden_size=8), (n_steps, 2))
    a, b = noise(2, 2)
    both = decoder(torch.stack([a, b, a]))
    torch.testing.assert_close(both[0], both[2])
    assert not torch.allclose(both[0], both[1], atol=1e-3)
    torch.testing.assert_close(decoder(b[None])[0], both[1])  # whatever is beside it


@pytest.mark.parametrize("segment_length", [1, 5])
def test_the_decoder_is_not_constant_over_the_steps(segment_length):
    _, decoder = build(Recurrent(segment_length=segment_length), (50,))
    steps = decoder(torch.zeros(1, 2, dtype=torch.float64))[0]
    # Without the places in the series, the states settle within a few steps.
    assert steps.diff()[25:].abs().max() > 1e-3


# Weights


def test_the_generator_alone_decides_the_weights():
    state = torch.get_rng_state()
    first, again, other = (
        build(Recurrent(num_layers=2), (60, 2), seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first, again, other, strict=True):
        a, b, c = a.state_dict(), b.state_dict(), c.state_dict()
        for name in a:
            assert torch.equal(a[name], b[name]), name
            if "weight" in name:
                assert not torch.equal(a[name], c[name]), name


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_are_orthogonal_and_only_the_forget_gate_is_biased(cell):
    encoder, decoder = build(Recurrent(cell, 6, 2, bidirectional=True), (10, 2))
    for name, parameter in [
        *encoder[0].recurrent.named_parameters(),
        *decoder[0].recurrent.named_parameters(),
    ]:
        gates = parameter.detach().split(6)
        if name.startswith("weight_hh"):
            for gate in gates:
                torch.testing.assert_close(
                    gate @ gate.T, torch.eye(6).double(), atol=1e-5, rtol=0
                )
        elif name.startswith("bias"):
            sums = [float(gate.sum()) for gate in gates]
            is_one = cell == "lstm" and name.startswith("bias_ih")
            assert sums == ([0, 6, 0, 0] if is_one else [0] * len(gates))


# As a scikit-learn object


def test_clone_params_and_repr():
    architecture = Recurrent("lstm", num_layers=2, segment_length=4)
    assert clone(architecture).get_params() == {
        "cell": "lstm",
        "hidden_size": 64,
        "num_layers": 2,
        "bidirectional": False,
        "segment_length": 4,
    }
    assert repr(architecture) == (
        "Recurrent(cell='lstm', num_layers=2, segment_length=4)"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cell": "rnn"}, r"Unknown cell 'rnn': use one of \['gru', 'lstm'\]"),
        ({"cell": ["gru"]}, r"Unknown cell \['gru'\]"),
        ({"hidden_size": 0}, "hidden_size=0: use an integer of at least 1"),
        ({"hidden_size": 8.0}, "hidden_size=8.0: use an integer of at least 1"),
        ({"num_layers": -1}, "num_layers=-1: use an integer of at least 1"),
        ({"num_layers": "auto"}, "num_layers='auto': use an integer"),
        ({"bidirectional": "no"}, "bidirectional='no': use True or False"),
        ({"segment_length": 0}, 'segment_length=0: use .* at least 1, or "auto"'),
        ({"segment_length": "all"}, "segment_length='all': use an integer"),
    ],
)
def test_invalid_parameters_are_named(parameters, message):
    architecture = Recurrent(**parameters)
    with pytest.raises(ValueError, match=message):
        build(architecture, (10, 2))


@pytest.mark.parametrize("shape", [(), (1, 28, 28)])
def test_a_sample_that_is_no_series_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(n_steps,\) or \(n_steps, n_channels\)"):
        build(Recurrent(), shape)
    with pytest.raises(ValueError, match=r"sample_shape=\("):
        build(Recurrent(), shape)


def test_numpy_integers_and_booleans_are_accepted():
    architecture = Recurrent(
        hidden_size=np.int8(64),
        bidirectional=np.bool_(True),
        segment_length=np.int64(2),
    )
    encoder, decoder = build(architecture, (7,))
    assert decoder(encoder(noise(2, 7))).shape == (2, 7)
