"""A fit that is killed goes on from its last checkpoint as if nothing had happened."""

import multiprocessing
import os
import random
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LoadInitState,
    LRScheduler,
)
from torch import nn

from skae import VAE, AutoencoderTransformer, DenoisingAutoencoder
from skae.architectures import Modules

MAX_ITER = 20
N_MOMENTS = 1  # at which each is killed


def dropping(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.Dropout(0.3), nn.Linear(8, n_out))


FITS = {
    "PCA": AutoencoderTransformer(2, warm_start=True),
    "VAE": VAE(2, init="random"),
    "denoiser": DenoisingAutoencoder(2, n_iter_no_change=18),
    "dropout": AutoencoderTransformer(2, architecture=Modules(dropping, dropping)),
}


def fit(name, folder, X, **changes):
    checkpoint = Checkpoint(monitor=None, dirname=folder)
    model = clone(FITS[name]).set_params(
        callbacks=[checkpoint, LoadInitState(checkpoint)],
        max_iter=MAX_ITER,
        random_state=0,
        **changes,
    )
    return model.fit(X)


def run(name, folder, X, connection):
    """Fit in a process of its own; say when it begins and what comes of it."""
    connection.send("begins")
    model = fit(name, folder, X)
    state = {key: value.numpy() for key, value in model.module_.state_dict().items()}
    history = [(epoch["epoch"], epoch["train_loss"]) for epoch in model.history_]
    connection.send((state, history, model.best_iter_, model.validation_scores_))


@pytest.fixture(scope="module")
def processes():
    """Processes that need not import torch again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skae", "pytest", "sklearn.datasets"])
    return context


def start(processes, *args):
    ours, theirs = processes.Pipe()
    process = processes.Process(target=run, args=(*args, theirs))
    process.start()
    assert ours.recv() == "begins"
    return process, ours


def assert_same(a, b):
    assert a[1:] == b[1:]
    assert a[0].keys() == b[0].keys()
    for name in a[0]:
        np.testing.assert_array_equal(a[0][name], b[0][name], err_msg=name)


@pytest.mark.parametrize("name", FITS)
def test_a_killed_fit_ends_where_an_uninterrupted_one_does(name, processes, tmp_path):
    X = load_iris().data
    rng, n_resumed = random.Random(name), 0
    process, pipe = start(processes, name, str(tmp_path / "whole"), X)
    begun = time.perf_counter()
    expected = pipe.recv()
    duration = time.perf_counter() - begun
    process.join()
    for moment in range(N_MOMENTS):
        folder = str(tmp_path / str(moment))
        process, _ = start(processes, name, folder, X)
        time.sleep(rng.uniform(moment + 0.2, moment + 1) / N_MOMENTS * duration)
        process.kill()
        process.join()
        n_resumed += os.path.exists(os.path.join(folder, "optimizer.pt"))
        process, pipe = start(processes, name, folder, X)
        assert_same(pipe.recv(), expected)
        process.join()
    assert n_resumed > 0


def test_a_checkpoint_of_another_fit_is_not_gone_on_from(tmp_path):
    X = load_iris().data
    fit("PCA", str(tmp_path), X[:100])
    with pytest.warns(UserWarning, match="Training does not go on from"):
        model = fit("PCA", str(tmp_path), X)
    assert len(model.history_) == MAX_ITER
    with pytest.warns(UserWarning, match="Training does not go on from"):
        model = fit("PCA", str(tmp_path), X, learning_rate_init=1e-3)
    assert len(model.history_) == MAX_ITER


@pytest.mark.parametrize(
    "callback",
    [LRScheduler("StepLR", step_size=4), EarlyStopping(patience=3, sink=lambda _: 0)],
    ids=lambda callback: type(callback).__name__,
)
def test_what_a_callback_knows_is_in_no_file(callback, tmp_path):
    X = load_iris().data
    kinds = {"dirname": str(tmp_path), "monitor": None}

    def fit():
        checkpoint = Checkpoint(**kinds)
        callbacks = [checkpoint, LoadInitState(checkpoint), clone(callback)]
        model = AutoencoderTransformer(2, max_iter=20, random_state=0)
        return model.set_params(callbacks=callbacks).fit(X)

    first = fit()
    with pytest.warns(UserWarning, match=f"{type(callback).__name__} is in no file"):
        second = fit()
    assert second.loss_curve_ == first.loss_curve_


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path):
    X = load_iris().data
    expected = fit("PCA", str(tmp_path / "whole"), X)
    fit("PCA", str(tmp_path), X)
    (tmp_path / "optimizer.pt").write_bytes(b"half")
    with pytest.warns(UserWarning, match="Training does not go on from"):
        model = fit("PCA", str(tmp_path), X)
    for ours, theirs in zip(
        model.module_.parameters(), expected.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


class Killed(Exception):
    """What ends a training."""


class Kill(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 4:
            raise Killed


@pytest.mark.parametrize(
    "change", ["rows", "activation", "code_noise", "hidden_layer_sizes"]
)
def test_other_rows_and_parameters_are_not_gone_on_from(change, tmp_path):
    X = np.random.RandomState(0).randn(1200, 4)
    checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
    how = {"callbacks": [checkpoint, LoadInitState(checkpoint)], "max_iter": 8}
    how |= {"init": "random", "random_state": 0, "validation_fraction": 0.2}
    model = AutoencoderTransformer(2, **how)
    with pytest.raises(Killed):
        clone(model).set_params(callbacks=[checkpoint, Kill()]).fit(X)
    changes = {"activation": "tanh", "code_noise": 0.3, "hidden_layer_sizes": (7,)}
    rows = X[::-1].copy() if change == "rows" else X
    model.set_params(**{k: v for k, v in changes.items() if k == change})
    expected = clone(model).set_params(callbacks=None).fit(rows).loss_curve_
    with pytest.warns(UserWarning, match="Training does not go on from"):
        assert model.fit(rows).loss_curve_ == expected
