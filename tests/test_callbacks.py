"""skorch's callbacks, each at work in an estimator, and what `verbose` prints."""

import re
import sys

import numpy as np
import pytest
import torch
from estimators import IMPUTERS, MACHINES, TWO_VIEWS
from sklearn.datasets import load_iris
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LoadInitState,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TensorBoard,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from skae import AutoencoderTransformer, MaskedAutoencoder


@pytest.fixture
def X():
    X = load_iris().data  # without its copies, which must not decide
    return X + np.random.RandomState(0).normal(scale=1e-3, size=X.shape)


def new(*callbacks, cls=AutoencoderTransformer, **params):
    """Return an estimator whose network is always used, from a random start on."""
    return cls(
        2,
        hidden_layer_sizes=(3,),
        max_iter=params.pop("max_iter", 4),
        init="random",
        random_state=0,
        callbacks=list(callbacks) or None,
        **params,
    )


# Scores


def test_a_score_is_that_of_the_reconstructions_of_held_out_rows(X):
    scoring = EpochScoring("r2", lower_is_better=False)
    model = new(scoring).fit(X[::2], X_val=X[1::2])
    rebuilt = model.inverse_transform(model.transform(X[1::2]))
    best = model.history_[model.best_iter_ - 1]
    assert best["r2"] == pytest.approx(r2_score(X[1::2], rebuilt), abs=1e-5)
    assert model.history_[0]["r2_best"]


def test_a_score_may_be_a_function_and_of_the_rows_that_train(X):
    def largest(net, X, y):
        return float(np.abs(net.predict(X) - y).max())

    scoring = EpochScoring(largest, on_train=True)
    model = new(scoring).fit(X[::2], X_val=X[1::2])
    rebuilt = model.inverse_transform(model.transform(X[::2]))
    scale = np.sqrt(X[::2].var(0, ddof=1).mean())
    expected = np.abs(rebuilt - X[::2]).max() / scale
    at = model.best_iter_ - 1
    assert model.history_[at]["largest"] == pytest.approx(expected, rel=1e-4)


def test_scoring_changes_nothing_else(X):
    state = torch.get_rng_state()
    scored = new(EpochScoring("r2")).fit(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert scored.loss_curve_ == new(Callback()).fit(X).loss_curve_


def test_missing_cells_are_filled_in_the_rows_and_nan_in_the_target(X):
    seen = []

    def error(net, X, y):
        seen.append((int(torch.isnan(X).sum()), np.isnan(y).mean()))
        return np.nanmean((net.predict(X) - y) ** 2)

    holes = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.2, np.nan, X)
    model = new(EpochScoring(error), cls=MaskedAutoencoder, max_iter=1).fit(holes)
    assert np.isfinite(model.history_[0]["error"])
    assert seen[0][0] == 0
    assert 0.1 < seen[0][1] < 0.3


def test_few_rows_have_no_held_out_rows_to_score(X):
    model = new(EpochScoring("r2")).fit(X[::20])
    assert "r2" not in model.history_[0]


def test_a_fit_that_goes_on_knows_the_best_score_so_far(X, tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                raise RuntimeError

    def epoch(net, X, y):
        return len(net.history)

    def fit(*others):
        files = Checkpoint(dirname=tmp_path, monitor=None)
        callbacks = [EpochScoring(epoch), files, LoadInitState(files), *others]
        return new(*callbacks, max_iter=6).fit(X)

    with pytest.raises(RuntimeError):
        fit(Stop())
    assert fit().history_[:, "epoch_best"] == [True, *[False] * 5]


# The others


def test_a_checkpoint_holds_the_best_epoch(X, tmp_path):
    scoring = EpochScoring("neg_mean_squared_error", lower_is_better=False, name="mse")
    saving = Checkpoint(monitor="mse_best", dirname=tmp_path)
    model = new(scoring, saving, learning_rate_init=0.3).fit(X)
    assert model.best_iter_ == np.argmax(model.history_[:, "mse"]) + 1
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, value in model.module_.state_dict().items():
        assert torch.equal(saved[name], value), name


def test_a_rate_may_have_a_schedule(X):
    steps = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    model = new(steps, learning_rate_init=0.1, max_iter=3).fit(X)
    assert model.history_[:, "event_lr"] == [0.1, 0.05, 0.025]


def test_training_may_stop_early(X, capsys):
    stopping = EarlyStopping(patience=2, threshold=1.0)  # nothing is as much better
    model = new(stopping, max_iter=30).fit(X)
    assert model.n_iter_ == 3
    assert capsys.readouterr().out == ""  # skorch's own words need verbose, too
    how = {"lower_is_better": False, "threshold": 1.0, "threshold_mode": "abs"}
    by_score = EarlyStopping("r2", patience=2, **how)
    scoring = EpochScoring("r2", lower_is_better=False)
    assert new(scoring, by_score, max_iter=30).fit(X).n_iter_ == 3


def test_tensorboard_gets_the_history(X, tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        model = new(TensorBoard(writer, close_after_train=False)).fit(X)
    events = EventAccumulator(str(tmp_path)).Reload()
    curve = [event.value for event in events.Scalars("Loss/train_loss")]
    np.testing.assert_allclose(curve, model.loss_curve_, rtol=1e-6)


def test_a_bar_counts_the_batches_of_an_epoch(X, capsys):
    new(ProgressBar(detect_notebook=False), batch_size=20, max_iter=2).fit(X)
    err = capsys.readouterr().err
    assert "0/6 [" in err  # 120 of the 150 rows train
    assert "/12 [" not in err


def test_a_log_may_go_anywhere(X, capsys):
    lines = []
    new(PrintLog(sink=lines.append), max_iter=3).fit(X)
    assert len(lines) == 5
    assert capsys.readouterr().out == ""


# What is printed


def tables_of(printed):
    """Return what is printed as tables of an epoch a line, which must be aligned."""
    tables = []
    for line in printed.splitlines():
        first = line.split()[0]
        if first == "epoch":
            tables.append([])
            ends = [match.end() for match in re.finditer(r"\S+", line)]
        elif first.isdigit() and not line.endswith("fold:"):
            assert [match.end() for match in re.finditer(r"\S+", line)] == ends, line
            tables[-1].append(int(first))
    return tables


def printing(**params):
    return AutoencoderTransformer(
        1, hidden_layer_sizes=(6,), random_state=0, verbose=True, **params
    )


def test_a_split_prints_a_line_for_each_epoch(X, capsys):
    printing(max_iter=12, validation_fraction=0.2).fit(X)
    printed = capsys.readouterr()
    assert tables_of(printed.out) == [[*range(1, 13)]]
    assert all(name in printed.out for name in ("train_loss", "valid_loss", "dur"))
    assert printed.out.splitlines()[-1].startswith("AutoencoderTransformer: the ")
    assert printed.err == ""
    assert "\x1b" not in printed.out  # colours are for terminals


def test_colours_are_shown_in_a_terminal(X, monkeypatch, capsys):
    monkeypatch.setattr("skae._net.sys.stdout.isatty", lambda: True)
    printing(max_iter=2, validation_fraction=0.2).fit(X)
    assert "\x1b[" in capsys.readouterr().out


def test_what_stands_in_for_the_output_may_be_no_stream(X, monkeypatch):
    class Written:
        text = ""

        def write(self, text):
            self.text += text

    monkeypatch.setattr("sys.stdout", Written())
    printing(max_iter=2, validation_fraction=0.2).fit(X)
    assert "valid_loss" in sys.stdout.text


def test_folds_print_theirs_and_then_those_of_the_network_of_all_rows(capsys):
    t = np.random.RandomState(0).uniform(-2, 2, 200)
    model = printing(max_iter=40).fit(np.column_stack([t, t**2]))
    folds, everything = tables_of(capsys.readouterr().out)
    assert folds == [*range(1, 41)]
    assert everything == [*range(1, model.best_iter_ + 1)]


def test_training_goes_on_in_the_same_table(X, capsys):
    model = printing(max_iter=2, validation_fraction=0.2, warm_start=True).fit(X)
    assert tables_of(model.fit(X) and capsys.readouterr().out) == [[1, 2, 3, 4]]
    model.set_params(verbose=False).fit(X)
    assert capsys.readouterr().out == ""
    model.set_params(verbose=True).fit(X)
    assert tables_of(capsys.readouterr().out) == [[7, 8]]


def test_a_search_prints_the_tables_of_its_fits(X, capsys):
    GridSearchCV(
        printing(max_iter=2, validation_fraction=0.2), {"whiten": [False, True]}, cv=2
    ).fit(X)
    assert tables_of(capsys.readouterr().out) == [[1, 2]] * 5


@pytest.mark.parametrize("name", [*MACHINES, *IMPUTERS, *TWO_VIEWS])
def test_nothing_is_printed(name, X, capfd):
    """Those of the other tables are in the tests over them."""
    y = (X[:, 2:],) if name in TWO_VIEWS else ()
    {**MACHINES, **IMPUTERS, **TWO_VIEWS}[name].fit(X[:, :2], *y).transform(X[:, :2])
    assert capfd.readouterr() == ("", "")
