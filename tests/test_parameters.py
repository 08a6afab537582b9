"""Bad parameters: an error that names the parameter and the value."""

import numpy as np
import pytest
import torch
from estimators import CLASSES
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from torch import nn

from skae import AutoencoderTransformer
from skae.architectures import Modules


@pytest.fixture
def X():
    return load_iris().data


def new(n_components=2, **changes):
    settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    return AutoencoderTransformer(n_components, **{**settings, **changes})


# Numbers of codes


def test_partial_fit_needs_n_components_rows_at_first(X):
    with pytest.raises(ValueError, match=r"n_components=3.*n_samples.*=2"):
        new(3).partial_fit(X[:2])
    model = new(3).partial_fit(X[:3])
    model.partial_fit(X[3:4])  # later batches may be smaller
    assert model.n_samples_ == 4


def test_partial_fit_cannot_choose_n_components_by_variance(X):
    with pytest.raises(ValueError, match=r"n_components=0.9.*partial_fit"):
        new(0.9).partial_fit(X)


@pytest.mark.parametrize("n_components", [-1, 1.5, 1.0, "two", [2]])
def test_n_components_is_checked(X, n_components):
    with pytest.raises(ValueError, match="'n_components' parameter"):
        new(n_components).fit(X)


def test_n_components_above_the_rank_names_the_way_out(X):
    message = r"n_components=5 .*min\(n_samples, n_features\)=4.*init=\"random\""
    with pytest.raises(ValueError, match=message):
        new(5).fit(X)
    with pytest.raises(ValueError, match=r"n_components=4 .*=3"):
        new(4).fit(X[:3])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("max_iter", [0, 2])
def test_without_a_code_there_is_the_mean(X, max_iter, method):
    model = getattr(new(0, max_iter=max_iter), method)(X)
    assert model.transform(X).shape == (150, 0)
    assert model.n_iter_ == 0
    expected = PCA(0).fit(X).score(X)
    assert model.score(X) == pytest.approx(expected)
    assert model.partial_fit(X[:50]).transform(X).shape == (150, 0)


@pytest.mark.parametrize("max_iter", [0, 2])
def test_a_random_start_lifts_the_limit(X, max_iter):
    model = new(7, init="random", max_iter=max_iter).fit(X)
    assert model.n_components_ == 7
    assert model.transform(X).shape == (150, 7)
    assert np.isfinite(model.score(X))
    assert np.isfinite(model.explained_variance_ratio_).all()
    assert model.get_feature_names_out().shape == (7,)


# All of them


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", (0,)),
        ("hidden_layer_sizes", "wide"),
        ("hidden_layer_sizes", -3),
        ("activation", "rleu"),
        ("activation", 3),
        ("architecture", "MLP"),
        ("init", "zeros"),
        ("whiten", "yes"),
        ("alpha", -1.0),
        ("alpha", np.nan),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("learning_rate_init", 0.0),
        ("max_iter", -1),
        ("max_iter", "many"),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("tol", -1.0),
        ("warm_start", "yes"),
        ("random_state", "seed"),
        ("device", "gpu9"),
        ("callbacks", "print"),
        ("net_params", [1]),
    ],
)
def test_every_parameter_is_checked_in_fit_and_named(X, name, value):
    with pytest.raises(ValueError, match=name):
        new(**{name: value}).fit(X)
    with pytest.raises(ValueError, match=name):
        new(**{name: value}).partial_fit(X)


def test_an_unknown_net_parameter_is_named(X):
    with pytest.raises((TypeError, ValueError), match="learning_speed"):
        new(net_params={"learning_speed": 3}).fit(X)


def test_net_params_reach_the_net(X):
    params = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.5}
    model = new(net_params=params).fit(X)
    assert type(model.net_.optimizer_) is torch.optim.SGD
    assert model.net_.optimizer_.param_groups[0]["momentum"] == 0.5


def test_net_params_may_choose_how_the_optimizer_loops(X):
    """The kernel that is taken by default goes with no other one."""
    model = new(net_params={"optimizer__foreach": True}).fit(X)
    group = model.net_.optimizer_.param_groups[0]
    assert group["foreach"]
    assert not group["fused"]
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 0}, r"net_params\['batch_size'\]: use batch_size instead"),
        ({"device": "cpu"}, r"net_params\['device'\]: use device instead"),
        ({"lr": 0.1}, r"net_params\['lr'\]: use learning_rate_init instead"),
        ({"max_epochs": 3}, r"net_params\['max_epochs'\]: use max_iter instead"),
        ({1: 2}, r"net_params=\{1: 2\}: 1 is not the name of a parameter"),
        ({None: 2}, r"net_params=\{None: 2\}: None is not the name"),
        ({"module": 3}, r"net_params\['module'\]: the estimator .* decide"),
        ({"module__width": 3}, r"net_params\['module__width'\]: the estimator"),
        ({"iterator_train__shuffle": 1}, r"net_params\['iterator_train__shuffle'\]"),
        ({"train_split": None}, r"net_params\['train_split'\] would have no effect"),
        ({"optimizer__betas": (2, 2)}, r"net_params=.*\(2, 2\)"),
        ({"optimizer__fused": True, "optimizer__foreach": True}, "net_params=.*fused"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_net_params_that_cannot_work_are_named(X, params, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(new(net_params=params), method)(X)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_numbers_may_be_those_of_numpy(X, dtype):
    """Of which some hold so little that the number of batches does not fit."""
    numbers = {"batch_size": 5, "max_iter": 2, "hidden_layer_sizes": (3,)}
    expected = new(2, **numbers).fit(X)
    numbers = {name: dtype(n) for name, n in numbers.items() if name[0] != "h"}
    model = new(dtype(2), hidden_layer_sizes=(dtype(3),), **numbers).fit(X)
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))
    assert model.n_iter_ == 2
    assert model.partial_fit(X).n_iter_ == 3


def test_a_device_may_be_a_name_or_a_device(X):
    expected = new(device="cpu").fit(X).transform(X)
    codes = new(device=torch.device("cpu")).fit(X).transform(X)
    np.testing.assert_array_equal(codes, expected)


# Architectures and callbacks


@pytest.mark.parametrize(
    "callback",
    [
        BatchScoring("r2"),
        PassthroughScoring("train_loss"),
        TrainEndCheckpoint(),
        ("named", BatchScoring("r2")),
    ],
)
def test_callbacks_that_need_a_data_loader_are_refused(X, callback):
    with pytest.raises(ValueError, match=r"(Scoring|Checkpoint) needs the batches"):
        new(callbacks=[callback]).fit(X)


def test_modules_without_anything_to_train_are_refused(X):
    def frozen(n_in, n_out):
        return nn.Linear(n_in, n_out).requires_grad_(False)

    with pytest.raises(ValueError, match="no parameter to train"):
        new(architecture=Modules(frozen, frozen)).fit(X)


@pytest.mark.parametrize("callbacks", [[1], ["EarlyStopping"], [("name", 2)]])
def test_what_is_no_callback_is_named(X, callbacks):
    with pytest.raises(ValueError, match="is not an instance of skorch"):
        new(callbacks=callbacks).fit(X)


@pytest.mark.parametrize(
    "callbacks", [[EpochScoring], (Callback,), [("name", Callback)]]
)
def test_a_class_is_no_callback(X, callbacks):
    message = r"callbacks=.*: <class .*> is not an instance of skorch"
    with pytest.raises(ValueError, match=message):
        new(callbacks=callbacks).fit(X)


def test_callbacks_may_be_a_tuple(X):
    class Counter(Callback):
        n_epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1

    in_list, in_tuple, named = Counter(), Counter(), Counter()
    expected = new(max_iter=3, callbacks=[in_list]).fit(X)
    model = new(max_iter=3, callbacks=(in_tuple, ("named", named))).fit(X)
    assert in_list.n_epochs == in_tuple.n_epochs == named.n_epochs == 3
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))


class Returns:
    """An architecture that returns what it is given."""

    def __init__(self, networks):
        self.networks = networks

    def build(self, sample_shape, n_components, generator):
        return self.networks

    def __repr__(self):
        return "Returns()"


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (None, r"Returns\(\).build returned NoneType"),
        (nn.Linear(4, 2), r"Returns\(\).build returned Linear"),
        ((nn.Linear(4, 2),), r"Returns\(\).build returned tuple"),
        ((1, 2), r"Returns\(\).build returned int as the encoder"),
        ((nn.Linear(4, 2), len), r"build returned builtin_function.* as the decoder"),
        ((nn.Linear(3, 2), nn.Linear(2, 4)), "encoder .*cannot take rows of width 4"),
        (
            (nn.Linear(4, 3), nn.Linear(2, 4)),
            r"encoder .*\(2, 3\) .*\(2, 2\) is needed",
        ),
        (
            (nn.Linear(4, 2), nn.Linear(2, 3)),
            r"decoder .*\(2, 3\) .*\(2, 4\) is needed",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_architecture_that_builds_no_networks_is_named(X, networks, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(new(architecture=Returns(networks)), method)(X)


def test_an_architecture_may_return_a_list(X):
    model = new(architecture=Returns([nn.Linear(4, 2), nn.Linear(2, 4)])).fit(X)
    assert model.transform(X).shape == (150, 2)


def test_a_class_is_no_architecture(X):
    with pytest.raises(ValueError, match="architecture=Modules is a class"):
        new(architecture=Modules).fit(X)


@pytest.mark.parametrize("estimator", CLASSES)
def test_copies_of_rows_count_for_n_components(X, estimator):
    """Three rows, 4 times each, have 4 axes for PCA, of which 2 have a variance."""
    rows = np.repeat(X[:3], 4, axis=0)
    model = estimator(4, max_iter=0).fit(rows)
    assert model.n_components_ == 4
    assert model.transform(rows).shape == (12, 4)
    with pytest.raises(ValueError, match=r"n_components=5 .*n_features\)=4 with"):
        estimator(5, max_iter=0).fit(rows)
