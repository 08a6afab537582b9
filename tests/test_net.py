"""What AutoencoderNet alone promises: the loop, the callbacks, the way out."""

import pickle
import signal

import numpy as np
import pytest
import skorch.callbacks
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skae import AutoencoderTransformer
from skae._dataset import RowDataset, TrainingData
from skae._losses import Loss, ReconstructionLoss
from skae._module import BaseModule
from skae._net import AutoencoderNet
from skae._step import one_cycle
from skae.architectures import Modules


class LinearModule(BaseModule):
    def __init__(self, d=4, k=2, seed=0):
        super().__init__(nn.Linear(d, k), nn.Linear(k, d))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward(self, x, known=None):
        z = self.encode(x, known)
        return self.decode(z), z


@pytest.fixture
def X():
    return load_iris().data


def rows(X):
    scale = float(np.sqrt(X.var(0).mean()))
    return RowDataset(X, X.mean(0), scale, torch.device("cpu"))


def split(X, n_valid=30, weight=None):
    order = torch.arange(len(X))
    return TrainingData(rows(X), order[n_valid:], order[:n_valid], weight)


def new_net(module=None, **settings):
    defaults = {
        "optimizer": torch.optim.AdamW,
        "lr": 1e-2,
        "max_epochs": 5,
        "batch_size": 32,
        "verbose": 0,
        "device": "cpu",
    }
    module = LinearModule() if module is None else module
    return AutoencoderNet(module, ReconstructionLoss, **{**defaults, **settings})


class Recorder(skorch.callbacks.Callback):
    """Write down what it is called with."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self, net, **kwargs):
        self.calls.append("train_begin")

    def on_epoch_begin(self, net, **kwargs):
        self.calls.append("epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self.calls.append("epoch_end")

    def on_train_end(self, net, **kwargs):
        self.calls.append("train_end")


class BatchRecorder(Recorder):
    def on_batch_begin(self, net, batch, training, **kwargs):
        self.calls.append(("batch_begin", tuple(batch.shape), training))

    def on_grad_computed(self, net, named_parameters, batch, **kwargs):
        grads = [p.grad is not None for _, p in named_parameters]
        self.calls.append(("grad", all(grads), len(grads)))

    def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
        self.calls.append(("batch_end", tuple(y_pred.shape), float(loss) > 0))


# The loop


def test_the_learning_rate_follows_one_cycle_batch_by_batch(X):
    class Rates(skorch.callbacks.Callback):
        def initialize(self):
            self.rates = []
            return self

        def on_batch_end(self, net, **kwargs):
            self.rates.append(net.optimizer_.param_groups[0]["lr"])

    net = new_net(callbacks=[("rates", Rates())]).partial_fit(split(X))
    rates = dict(net.callbacks_)["rates"].rates
    steps = 5 * 4  # 120 rows in batches of at most 32
    assert rates == [one_cycle(i / steps, 1e-2) for i in range(steps)]


def test_the_step_is_that_of_a_loop_by_hand(X):
    net = new_net(keep_best=False).partial_fit(split(X))
    module = LinearModule()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    table, generator = rows(X), torch.Generator().manual_seed(0)
    train = torch.arange(30, 150)
    for epoch in range(5):
        order = train[torch.randperm(120, generator=generator)]
        for i, batch in enumerate(order.tensor_split(4)):
            optimizer.param_groups[0]["lr"] = one_cycle((4 * epoch + i) / 20, 1e-2)
            x, _ = table.take(batch)
            optimizer.zero_grad()
            (module(x)[0] - x).square().sum(1).mean().backward()
            optimizer.step()
    for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_weight_of_two_is_the_row_twice(X):
    everything = torch.arange(40)
    weighted = TrainingData(
        rows(X[:40]), everything, everything[:0], torch.full((40,), 2.0)
    )
    settings = {"batch_size": 40, "keep_best": False}
    plain = TrainingData(rows(X[:40]), everything, everything[:0])
    a = new_net(**settings).partial_fit(weighted)
    b = new_net(**settings).partial_fit(plain)
    for ours, theirs in zip(
        a.module_.parameters(), b.module_.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_history_has_one_entry_for_each_epoch(X):
    net = new_net().partial_fit(split(X))
    assert len(net.history) == 5
    for epoch in net.history:
        assert {"train_loss", "valid_loss", "dur"} <= set(epoch)
        assert epoch["batches"] == []
    assert net.valid_losses_[1:] == [epoch["valid_loss"] for epoch in net.history]


def test_the_validation_loss_is_the_mean_over_the_held_out_rows(X):
    net = new_net(keep_best=False).partial_fit(split(X))
    x, _ = rows(X).take(torch.arange(30))
    expected = (net.module_(x)[0] - x).square().sum(1)
    assert net.valid_losses_[-1] == pytest.approx(
        float(expected.mean().detach()), rel=1e-5
    )


class OfKnown(LinearModule):
    """A module to which missing cells are the mean, whatever is in their place."""

    def forward(self, x, known=None):
        return super().forward(x if known is None else x * known)


def test_what_is_in_the_place_of_missing_cells_has_no_say(X):
    known = np.random.RandomState(0).uniform(size=X.shape) < 0.8
    table = np.where(known, X, np.nan)
    order, nets = torch.arange(len(X)), []
    for value in (0.0, 99.0):

        def fill(X, known, value=value):
            return np.where(known, X, value)

        data = RowDataset(table, X.mean(0), 1.0, torch.device("cpu"), fill)
        data = TrainingData(data, order[30:], order[:30])
        nets.append(new_net(OfKnown(), keep_best=False).partial_fit(data))
    assert nets[0].valid_losses_ == nets[1].valid_losses_
    x = torch.from_numpy((X - X.mean(0)) * known).float()[:30]
    error = (nets[0].module_(x)[0] - x).detach().numpy() * known[:30]
    expected = (error**2).sum(1).mean()
    assert nets[0].valid_losses_[-1] == pytest.approx(expected, rel=1e-5)


def test_the_best_epoch_is_restored(X):
    """A rate that explodes late leaves the early weights."""

    class Explode(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    net.module_.decoder.weight.mul_(50)

    net = new_net(max_epochs=6, callbacks=[Explode()]).partial_fit(split(X))
    assert net.best_iter_ == int(np.argmin(net.valid_losses_)) <= 3
    x, _ = rows(X).take(torch.arange(30))
    loss = (net.module_(x)[0] - x).square().sum(1).mean()
    assert float(loss.detach()) == pytest.approx(min(net.valid_losses_), rel=1e-5)
    assert net.best_loss_ == min(net.valid_losses_)


def test_training_stops_when_nothing_improves(X):
    net = new_net(lr=1e-12, max_epochs=50, n_iter_no_change=4).partial_fit(split(X))
    assert len(net.history) == 4


def test_patience_understands_negative_losses(X):
    """A relative tolerance must not call an equal or worse loss an improvement."""

    class Negative(Loss):
        def forward(self, output, x, known=None):
            return {"loss": (output[0] - x).square().sum(-1) - 100}

    settings = {"optimizer": torch.optim.AdamW, "batch_size": 32, "verbose": 0}
    stuck = AutoencoderNet(
        LinearModule(),
        Negative,
        lr=1e-12,
        max_epochs=50,
        n_iter_no_change=4,
        **settings,
    ).partial_fit(split(X))
    assert len(stuck.history) == 4
    learns = AutoencoderNet(
        LinearModule(), Negative, lr=1e-2, max_epochs=20, n_iter_no_change=4, **settings
    ).partial_fit(split(X))
    assert len(learns.history) > 8


def test_a_last_batch_of_one_row_is_not_left_alone(X):
    sizes = BatchRecorder()
    data = TrainingData(rows(X[:33]), torch.arange(33), torch.arange(0))
    new_net(callbacks=[sizes], max_epochs=1).partial_fit(data)
    shapes = [c[1][0] for c in sizes.calls if c[0] == "batch_begin"]
    assert sorted(shapes) == [16, 17]


def test_a_forward_that_returns_no_tuple_is_named(X):
    class Bare(LinearModule):
        def forward(self, x, known=None):
            return super().forward(x, known)[0]

    with pytest.raises(TypeError, match="must return a tuple, the reconstruction"):
        new_net(Bare()).partial_fit(split(X))


# skorch's callbacks


def test_callbacks_are_called_in_order(X):
    recorder = Recorder()
    new_net(callbacks=[recorder], max_epochs=2).partial_fit(split(X))
    epoch = ["epoch_begin", "epoch_end"]
    assert recorder.calls == ["train_begin", *epoch, *epoch, "train_end"]


def test_batch_callbacks_are_called_for_every_batch(X):
    recorder = BatchRecorder()
    new_net(callbacks=[recorder], max_epochs=1).partial_fit(split(X))
    batch = [
        ("batch_begin", (30, 4), True),
        ("grad", True, 4),
        ("batch_end", (30, 4), True),
    ]
    assert recorder.calls == [
        "train_begin",
        "epoch_begin",
        *batch * 4,
        "epoch_end",
        "train_end",
    ]


def test_early_stopping_stops_and_says_nothing(X, capsys):
    stopper = skorch.callbacks.EarlyStopping(patience=3, sink=lambda _: None)
    net = new_net(lr=1e-12, max_epochs=50, callbacks=[stopper]).partial_fit(split(X))
    assert 3 <= len(net.history) <= 5
    assert capsys.readouterr().out == ""


def test_gradients_can_be_clipped(X):
    class Norms(skorch.callbacks.Callback):
        def initialize(self):
            self.norms = []
            return self

        def on_batch_end(self, net, **kwargs):
            squares = sum(p.grad.square().sum() for p in net.module_.parameters())
            self.norms.append(float(squares.sqrt()))

    clipping = skorch.callbacks.GradientNormClipping(1e-3)
    net = new_net(callbacks=[clipping, ("norms", Norms())]).partial_fit(split(X))
    assert max(dict(net.callbacks_)["norms"].norms) <= 1e-3 * (1 + 1e-5)


def test_a_learning_rate_scheduler_replaces_one_cycle(X):
    scheduler = skorch.callbacks.LRScheduler(
        torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5
    )
    net = new_net(lr=0.1, max_epochs=3, callbacks=[scheduler]).partial_fit(split(X))
    assert not net.one_cycle_
    assert net.history[:, "event_lr"] == [0.1, 0.05, 0.025]


def test_a_batch_scheduler_is_stepped_for_every_batch(X):
    scheduler = skorch.callbacks.LRScheduler(
        torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5, step_every="batch"
    )
    net = new_net(lr=1.0, max_epochs=1, callbacks=[scheduler]).partial_fit(split(X))
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.5**4)


def test_passthrough_and_progress_callbacks_work(X):
    class Add(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("mine", 7)

    seen = skorch.callbacks.PassthroughScoring("mine", lower_is_better=True)
    net = new_net(callbacks=[Add(), seen]).partial_fit(split(X))
    assert net.history[:, "mine"] == [7] * 5


@pytest.mark.parametrize("validation_fraction", ["auto", 0.2])
def test_an_estimator_passes_its_callbacks_on(X, validation_fraction):
    recorder = BatchRecorder()
    AutoencoderTransformer(
        2,
        hidden_layer_sizes=(3,),
        init="random",
        max_iter=2,
        validation_fraction=validation_fraction,
        callbacks=[recorder],
        random_state=0,
    ).fit(X)
    assert recorder.calls.count("train_begin") == 1
    assert recorder.calls.count("epoch_end") >= 1
    assert any(call[0] == "batch_end" for call in recorder.calls)


# Copies


def weights(net):
    return [parameter.detach().clone() for parameter in net.module_.parameters()]


def moments(net, parameter):
    state = net.optimizer_.state[parameter]
    return state["exp_avg"], state["exp_avg_sq"]


def test_a_copy_shares_nothing_but_the_callbacks(X):
    net = new_net(callbacks=[Recorder()]).partial_fit(split(X))
    copied = net.copied()
    assert copied.callbacks is net.callbacks
    for (_, ours), (_, theirs) in zip(net.callbacks_, copied.callbacks_, strict=True):
        assert ours is theirs
    parameters = list(copied.module_.parameters())
    assert copied.optimizer_.param_groups[0]["params"] == parameters
    places = [
        {t.data_ptr() for p in one.module_.parameters() for t in (p, *moments(one, p))}
        for one in (net, copied)
    ]
    assert places[0].isdisjoint(places[1])
    assert copied.history == net.history
    assert copied.history is not net.history


def test_training_a_copy_leaves_the_net_alone(X):
    recorder = Recorder()
    net = new_net(callbacks=[recorder]).partial_fit(split(X))
    before, copied = weights(net), net.copied()
    copied.partial_fit(split(X))
    assert (len(net.history), len(copied.history)) == (5, 10)
    assert recorder.calls.count("epoch_end") == 10  # the user listens to both
    assert all(map(torch.equal, weights(net), before))
    assert not any(map(torch.equal, weights(copied), before))


def test_a_copy_trains_on_as_the_net_would(X):
    net = new_net(keep_best=False).partial_fit(split(X))
    copied = net.copied()
    net.partial_fit(split(X))
    copied.partial_fit(split(X))
    assert all(map(torch.equal, weights(net), weights(copied)))


class Pickles(skorch.callbacks.Callback):
    """Pickle the net after each epoch; the class keeps the last, beside the pickle."""

    last = b""

    def on_epoch_end(self, net, **kwargs):
        Pickles.last = pickle.dumps(net)


def test_a_net_can_be_pickled_while_it_trains(X):
    net = new_net(callbacks=[Pickles()], keep_best=False).partial_fit(split(X))
    other = pickle.loads(Pickles.last)
    assert len(other.history) == 5
    assert all(map(torch.equal, weights(other), weights(net)))
    assert len(other.partial_fit(split(X)).history) == 10


def test_a_pickle_of_a_net_has_no_generator(X):
    net = new_net(callbacks=[Pickles()]).partial_fit(split(X))
    assert b"Generator" not in pickle.dumps(net)
    assert b"Generator" not in Pickles.last


# The way out


class Interrupt(nn.Module):
    """A module in whose third training pass the user presses Ctrl-C."""

    def __init__(self, n_in, n_out, calls=3):
        super().__init__()
        self.linear, self.calls = nn.Linear(n_in, n_out), calls

    def forward(self, x):
        if len(x) > 2:  # not the pass that only checks the widths
            self.calls -= 1
        if self.calls < 0:
            signal.raise_signal(signal.SIGINT)
        return self.linear(x)


class InterruptCallback(skorch.callbacks.Callback):
    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("validation_fraction", ["auto", 0.2])
@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": Modules(Interrupt, nn.Linear)},
        {"callbacks": [InterruptCallback()], "init": "random"},
    ],
    ids=["in a module", "in a callback"],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_ctrl_c_propagates_and_the_earlier_fit_is_unharmed(
    X, changes, validation_fraction, method
):
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), max_iter=5, batch_size=32, random_state=0
    ).fit(X[:100])
    codes, state = model.transform(X), {k: id(v) for k, v in vars(model).items()}
    settings = {**changes, "validation_fraction": validation_fraction}
    if method == "partial_fit":
        fresh = AutoencoderTransformer(2, batch_size=32, **settings)
        with pytest.raises(KeyboardInterrupt):
            fresh.partial_fit(X).partial_fit(X)
        return
    old = {name: getattr(model, name) for name in settings}
    model.set_params(**settings)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    model.set_params(**old)
    assert {k: id(v) for k, v in vars(model).items()} == state
    np.testing.assert_array_equal(model.transform(X), codes)


def test_ctrl_c_while_training_on_raises_and_keeps_the_network(X):
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(3,), max_iter=2, batch_size=32, random_state=0
    ).partial_fit(X)
    codes = model.transform(X)
    weights = [p.detach().clone() for p in model.module_.parameters()]
    model.net_.callbacks_.append(("interrupt", InterruptCallback()))
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X)
    np.testing.assert_array_equal(model.transform(X), codes)
    for before, after in zip(weights, model.module_.parameters(), strict=True):
        assert torch.equal(before, after)


class TurnsNaN(nn.Module):
    """A module whose output turns NaN after some calls in training."""

    def __init__(self, n_in, n_out, calls=9):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.register_buffer("calls", torch.tensor(float(calls)))

    def forward(self, x):
        if self.training:
            self.calls -= 1
        return self.linear(x) * torch.where(self.calls < 0, torch.nan, 1.0)


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("validation_fraction", ["auto", 0.2])
def test_a_loss_that_turns_nan_stops_with_a_warning(X, init, validation_fraction):
    model = AutoencoderTransformer(
        2,
        architecture=Modules(TurnsNaN, nn.Linear),
        init=init,
        batch_size=32,
        max_iter=10,
        validation_fraction=validation_fraction,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match=r"The loss became nan in epoch \d"):
        model.fit(X)
    for parameter in model.module_.parameters():
        assert parameter.isfinite().all()
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))
    assert np.isfinite(model.validation_scores_).all()


def test_a_learning_rate_that_explodes_leaves_finite_weights(X):
    model = AutoencoderTransformer(
        2,
        hidden_layer_sizes=(8,),
        max_iter=20,
        learning_rate_init=1e30,
        validation_fraction=0.2,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match=r"in epoch \d+.*learning_rate_init"):
        model.fit(X)
    assert np.isfinite(model.score(X))
    assert all(p.isfinite().all() for p in model.module_.parameters())


def test_the_epoch_of_the_warning_is_the_epoch_that_failed(X):
    module = LinearModule()
    module.encoder = TurnsNaN(4, 2, calls=9)  # four batches each epoch
    net = new_net(module)
    with pytest.warns(ConvergenceWarning, match="nan in epoch 3: .*epoch 2 are kept"):
        net.partial_fit(split(X))
    assert net.best_iter_ == 2
    assert len(net.history) <= 3


def test_patience_counts_from_the_first_epoch_without_held_out_rows():
    t = np.linspace(-1, 1, 200)
    X = np.column_stack([t, t**2])
    model = AutoencoderTransformer(1, n_iter_no_change=1, tol=0.0, random_state=0).fit(
        X
    )
    assert model.n_iter_ > 1
