"""The training step by hand: autograd is the oracle."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import Callback
from torch import nn

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder, MaskedAutoencoder
from skae._adversarial_module import AdversarialLoss, AdversarialModule
from skae._autoencoder import AutoencoderModule, PrefixLoss
from skae._contrastive_module import ContrastiveLoss, ContrastiveModule
from skae._denoising import DenoisingLoss, DenoisingModule
from skae._dense import DenseStep
from skae._discriminator import Discriminator
from skae._encoder_decoder import PredictionLoss, PredictionModule
from skae._gate import StackedModules
from skae._losses import ReconstructionLoss
from skae._masked_module import MaskedLoss, MaskedModule
from skae._module import LinearResidual, with_linear_paths
from skae._net import AutoencoderNet, Batch
from skae._prior import Prior
from skae._variational_module import (
    BernoulliModule,
    EvidenceLowerBound,
    VariationalModule,
)
from skae.architectures import MLP
from skae.architectures._mlp import ACTIVATIONS

D, K, N = 7, 3, 20


def plain(encoder, decoder):
    return AutoencoderModule(encoder, decoder), ReconstructionLoss()


def noisy(encoder, decoder):
    return AutoencoderModule(encoder, decoder, 0.3), ReconstructionLoss()


def ordered(encoder, decoder):
    return AutoencoderModule(encoder, decoder, 0.3, ordered=True), PrefixLoss()


def denoising(encoder, decoder):
    module = DenoisingModule(encoder, decoder, "masking", 0.3, (D,), 0.1)
    return module, DenoisingLoss()


def variational(encoder, decoder):
    return VariationalModule(encoder, decoder), EvidenceLowerBound("gaussian", 2.0, 4)


def adversarial(encoder, decoder):
    discriminator = Discriminator(K, (5, 4), torch.Generator().manual_seed(0))
    # A penalty by which gradients are no larger than those of the others: 1e-6 is
    # what float32 has of them on any processor.
    prior, loss = Prior("normal", K, 2), AdversarialLoss(0.5, 0.2)
    return AdversarialModule(encoder, decoder, prior, discriminator, 0.3), loss


def contrastive(encoder, decoder):
    return ContrastiveModule(encoder, decoder, D, K), ContrastiveLoss()


def prediction(encoder, decoder):
    return PredictionModule(encoder, decoder, D), PredictionLoss(D)


TWO_VIEWS = [contrastive, prediction]
OBJECTIVES = [plain, noisy, ordered, denoising, variational, adversarial, *TWO_VIEWS]


def rows(n=N, seed=1, width=D):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def rows_of(objective, n=N):
    return rows(n, width=2 * D if objective in TWO_VIEWS else D)


def net_of(
    objective, sizes=(6, 5), activation="relu", *, n_stacked=0, path=True, linear=False
):
    """Return a net of one module, or of several, with weights that are all random."""
    generator = torch.Generator().manual_seed(0)
    n_outputs = 2 * K if objective is variational else K
    modules = []
    for _ in range(max(n_stacked, 1)):
        encoder = MLP(sizes, activation).build((D,), n_outputs, generator)[0]
        decoder = MLP(sizes, activation).build((D,), K, generator)[1]
        if path:
            encoder, decoder = with_linear_paths(
                encoder, decoder, D, K, n_outputs, linear_encoder=linear
            )
        if objective is contrastive:  # whose networks are two encoders
            decoder = MLP(sizes, activation).build((D,), K, generator)[0]
            decoder = LinearResidual(decoder, D, K, gain=False) if path else decoder
        module, loss = objective(encoder, decoder)
        size = 0.3 * min(1.0, 6 / max(sizes, default=1)) ** 0.5  # codes of any width
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = size * torch.randn(tensor.shape, generator=generator)
        if objective is contrastive:
            module.variances.abs_().add_(0.5)
        modules.append(module)
    module = modules[0]
    if n_stacked:
        module = StackedModules(modules, (rows_of(objective, 2), None))
        assert not len(module.separate)
    loss.epoch = 3
    return AutoencoderNet(
        module,
        loss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=0.1,
        lr=0.01,
    ).initialize()


class Drawing:
    """In place of the random numbers of a fit: the same whenever they are drawn."""

    is_global = True  # and so asked to draw

    def __init__(self, net):
        self.net = net

    def drawing(self):
        for part in self.net.module_.running:
            part.generator = torch.Generator().manual_seed(3)
        return torch.enable_grad()


def steps(net, by_hand, x, weight=None, n=1):
    """Take steps, and return the net's parameters, gradients and losses after them."""
    net.numbers_, net.hooks_ = Drawing(net), False
    net.take_step_ = net.optimizer_.step
    net.module_.train()
    net.dense_ = DenseStep.of(net, x.shape[1]) if by_hand else None
    assert (net.dense_ is not None) == by_hand
    given = None
    if net.module_.prepares:
        with Drawing(net).drawing():
            given = net.module_.prepare(x, None)
    losses = [net.train_step(Batch(x, None, weight, given)) for _ in range(n)]
    found = {name: p.grad.clone() for name, p in net.module_.named_parameters()}
    return net.module_.state_dict(), found, losses


def assert_same(found, expected, tol):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(
            found[name], expected[name], rtol=tol, atol=tol, msg=name
        )


def assert_is_autograd(make, weight=None, tol=1e-6, x=None):
    x = rows() if x is None else x
    by_hand, by_autograd = make(), make()
    by_autograd.module_.load_state_dict(by_hand.module_.state_dict())
    _, gradients, losses = steps(by_hand, True, x, weight)
    _, expected, right = steps(by_autograd, False, x, weight)
    assert_same(gradients, expected, tol)
    assert_same(losses[0], right[0], 10 * tol)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_autograd(objective, activation):
    x = rows_of(objective)
    assert_is_autograd(lambda: net_of(objective, activation=activation), x=x)


@pytest.mark.parametrize("sizes", [(), (4,), (6, 5, 4), (18,)])
@pytest.mark.parametrize("n_stacked", [0, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("path", [True, False])
def test_for_any_number_of_layers_with_a_linear_path_and_without(
    sizes, objective, path, n_stacked
):
    x = rows_of(objective)
    assert_is_autograd(
        lambda: net_of(objective, sizes, path=path, n_stacked=n_stacked), x=x
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_stacked", [0, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_for_weighted_rows_and_stacked_modules(objective, n_stacked, weighted):
    lead = (n_stacked,) if n_stacked else ()
    weight = rows()[:, 0].abs().expand(*lead, N) if weighted else None
    x = rows_of(objective)
    assert_is_autograd(lambda: net_of(objective, n_stacked=n_stacked), weight, x=x)


# Of columns, some of which are small.
DEVIATIONS = np.array([1.0, 0.1, 2.0, 3.0, 0.01, 1.0, 0.0])


def with_small_columns(net):
    """Return a net that has learnt of small columns."""
    stacked = isinstance(net.module_, StackedModules)
    module = net.module_.template if stacked else net.module_
    module.set_deviations(DEVIATIONS)
    assert module.completing.output_scale.numpy().min() == 0
    assert module.completing.output_scale.numpy().max() == 1
    return net


@pytest.mark.parametrize("sizes", [(), (6, 5), (18,)])
@pytest.mark.parametrize("n_stacked", [0, 3])
@pytest.mark.parametrize("objective", [plain, noisy, denoising, variational])
def test_small_columns_get_less_of_the_network(objective, n_stacked, sizes):
    def make():
        return with_small_columns(net_of(objective, sizes, n_stacked=n_stacked))

    assert_is_autograd(make)
    net = make()
    net.module_.eval()
    with Drawing(net).drawing():
        expected = net.module_(rows(), None)[0]
    if objective is plain or not n_stacked:  # others draw, each module its own
        with Drawing(net).drawing():
            found = DenseStep.of(net, D).outputs(rows())[0]
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["whole", "codes"])
@pytest.mark.parametrize("n_stacked", [0, 3])
def test_small_columns_are_completed_with_less_of_the_network(kind, n_stacked):
    def make():
        return with_small_columns(masked_net(kind, n_stacked))

    assert_is_autograd(make, tol=1e-5)


def masked_net(kind, n_stacked):
    """Return a net of modules that complete rows, with weights that are all random."""
    generator, modules = torch.Generator().manual_seed(0), []
    rng = np.random.RandomState(0)
    k = D if kind == "whole" else K
    for _ in range(max(n_stacked, 1)):
        encoder = MLP((6, 5)).build((4 * D,), k, generator)[0]
        decoder = MLP((6, 5)).build((D,), k, generator)[1]
        if kind != "plain":
            encoder, decoder = with_linear_paths(
                encoder, decoder, D, k, k, linear_decoder=kind == "whole"
            )
        module = MaskedModule(encoder, decoder, D, (0.1, 0.8), np.arange(D))
        for p in module.parameters():
            p.data = 0.3 * torch.randn(p.shape, generator=generator)
        if kind != "plain":
            maps = [(k, D), (k,), (D, k), (D,)]
            module.set_linear_path(*(rng.standard_normal(shape) for shape in maps))
        loadings, noise = rng.standard_normal((D, 2)), rng.uniform(0.5, 1, D)
        module.set_missing(loadings, noise, 0.1 * rng.standard_normal(D), None)
        module.memory = torch.randn(30, D, generator=generator)
        module.memory_known = (torch.rand(30, D, generator=generator) < 0.3).float()
        module.may_see = torch.arange(30) % 4 > 0
        modules.append(module)
    module = StackedModules(modules, (rows(), None)) if n_stacked else modules[0]
    assert not (n_stacked and len(module.separate))
    settings = {"optimizer": torch.optim.AdamW, "optimizer__fused": True}
    return AutoencoderNet(module, MaskedLoss(), **settings).initialize()


@pytest.mark.parametrize("kind", ["whole", "codes", "plain"])
@pytest.mark.parametrize("n_stacked", [0, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_a_masked_module(kind, n_stacked, weighted):
    lead = (n_stacked,) if n_stacked else ()
    weight = rows()[:, 0].abs().expand(*lead, N) if weighted else None
    assert_is_autograd(lambda: masked_net(kind, n_stacked), weight, 1e-5)


@pytest.mark.parametrize("n_stacked", [0, 3])
def test_a_linear_encoder_stays_as_it_is(n_stacked):
    assert_is_autograd(lambda: net_of(noisy, n_stacked=n_stacked, linear=True))


@pytest.mark.parametrize(
    ("objective", "n_stacked"),
    # Others draw numbers, and stacked modules each their own.
    [*((objective, 0) for objective in OBJECTIVES), (plain, 3), (noisy, 3)],
)
@pytest.mark.parametrize("has_own_rows", [False, True])
def test_outputs_are_those_of_the_module(objective, n_stacked, has_own_rows):
    """While it does not train: no noise, and the same prefixes and draws."""
    net = net_of(objective, n_stacked=n_stacked)
    x = rows_of(objective)
    step = DenseStep.of(net, x.shape[1])
    if has_own_rows and n_stacked:
        x = torch.stack([x + i for i in range(n_stacked)])
    net.module_.eval()
    with Drawing(net).drawing():
        expected = net.module_(x, None)
    with Drawing(net).drawing():
        found = step.outputs(x)
    if objective is adversarial:  # whose game is none of the held-out rows
        expected = expected[:2]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective", [plain, variational])
def test_steps_of_adamw_are_those_of_torch(objective):
    """With its state, which a torch optimizer then goes on from."""
    net, other = net_of(objective), net_of(objective)
    found = steps(net, True, rows(), n=5)[0]
    expected = steps(other, False, rows(), n=5)[0]
    assert_same(found, expected, 1e-5)
    net.dense_.optimizer.release(net.optimizer_)
    steps(net, False, rows(), n=2)
    steps(other, False, rows(), n=2)
    assert_same(net.module_.state_dict(), other.module_.state_dict(), 1e-5)


def test_a_step_goes_on_from_the_state_of_an_optimizer():
    net, other = net_of(plain), net_of(plain)
    for each, by_hand in ((net, True), (other, False)):
        steps(each, False, rows(), n=2)
        steps(each, by_hand, rows(), n=2)
    assert_same(net.module_.state_dict(), other.module_.state_dict(), 1e-5)


def test_memory_is_the_parameters_own_again_after_training():
    X = load_digits().data[:60]
    net = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X).net_
    for p in net.module_.parameters():
        assert p.grad is None
        state = net.optimizer_.state.get(p, {})
        for tensor in (p, *(t for t in state.values())):
            assert tensor.untyped_storage().nbytes() == 4 * tensor.numel()


def test_a_step_notices_parameters_that_were_replaced():
    net = net_of(plain)
    step = DenseStep.of(net, D)
    assert DenseStep.of(net, D, step) is step
    net.optimizer_.load_state_dict(copy.deepcopy(net.optimizer_.state_dict()))
    assert DenseStep.of(net, D, step) is not step


class Doubled(AutoencoderModule):
    """A module of a user's, whose codes are other than those it inherits."""

    def encode(self, x, known=None):
        return 2 * super().encode(x, known)


class Absolute(ReconstructionLoss):
    """A loss of a user's."""

    def forward(self, output, x, known=None):
        return {"reconstruction": (output[0] - x).abs().sum(-1)}


def edited(change):
    net = net_of(plain)
    change(net)
    return net


@pytest.mark.parametrize(
    "net",
    [
        net_of(lambda *networks: (Doubled(*networks), ReconstructionLoss())),
        net_of(lambda *networks: (AutoencoderModule(*networks), Absolute())),
        edited(lambda net: net.module_.encoder.register_forward_hook(print)),
        edited(lambda net: net.module_.encoder.network.append(nn.Tanh())),
        edited(lambda net: net.module_.encoder.network.insert(1, nn.Dropout())),
        edited(lambda net: net.optimizer_.param_groups[0].update(amsgrad=True)),
        edited(lambda net: next(net.module_.parameters()).requires_grad_(False)),
        edited(lambda net: net.optimizer_.register_step_post_hook(lambda *a: None)),
    ],
)
def test_what_is_not_known_goes_through_autograd(net):
    assert DenseStep.of(net, D) is None


def test_bernoulli_goes_through_autograd():
    def bernoulli(encoder, decoder):
        loss = EvidenceLowerBound("bernoulli")
        return BernoulliModule(encoder, decoder), loss

    encoder, _ = MLP((4,)).build((D,), 2 * K, torch.Generator())
    _, decoder = MLP((4,)).build((D,), K, torch.Generator())
    module, loss = bernoulli(encoder, decoder)
    net = AutoencoderNet(
        module, loss, optimizer=torch.optim.AdamW, optimizer__fused=True
    ).initialize()
    assert DenseStep.of(net, D) is None


@pytest.mark.parametrize(
    "cls", [AutoencoderTransformer, DenoisingAutoencoder, MaskedAutoencoder, VAE]
)
def test_a_fit_is_that_of_autograd(cls, monkeypatch):
    """Over an epoch or two, after which rounding errors have grown.

    From random weights: at PCA the gradient by the codes is nothing but such an error,
    and AdamW makes steps of it.
    """
    X = load_digits().data[:1100]
    make = cls(4, init="random", activation="tanh", max_iter=2, random_state=0)
    model = make.fit(X)
    losses, scores = model.loss_curve_, model.validation_scores_
    monkeypatch.setattr(DenseStep, "of", staticmethod(lambda *a: None))
    make.fit(X)
    np.testing.assert_allclose(losses, make.loss_curve_, rtol=2e-3)
    np.testing.assert_allclose(scores, make.validation_scores_, rtol=2e-3, atol=1e-3)


def test_a_callback_that_listens_to_gradients_hears_them():
    heard = []

    class Listener(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            heard.append([p.grad is not None for _, p in named_parameters])

    X = load_digits().data[:40]
    AutoencoderTransformer(2, max_iter=1, callbacks=[Listener()]).fit(X)
    assert heard
    assert all(all(step) for step in heard)


@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder, VAE])
def test_another_default_dtype_changes_nothing(cls):
    X = load_digits().data[:200]
    expected = cls(3, max_iter=2, random_state=0).fit(X).loss_curve_
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert cls(3, max_iter=2, random_state=0).fit(X).loss_curve_ == expected
    finally:
        torch.set_default_dtype(before)


def test_a_users_corruption_is_called_for_each_stacked_module():
    def halved(rows, generator):
        assert rows.ndim == 2
        return rows / 2

    X = load_digits().data[:100]
    model = DenoisingAutoencoder(3, corruption=halved, max_iter=2, random_state=0)
    assert model.fit(X).n_iter_ >= 1
