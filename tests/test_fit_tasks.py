"""scikit-learn's callbacks, which it has from version 1.9 on."""

from collections import Counter

import numpy as np
import pytest
from estimators import ESTIMATORS, IMPUTERS, MACHINES, TEXTS, TWO_VIEWS
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_file import outputs, table

from skae import RBM, AutoencoderTransformer
from skae.text import CausalLanguageModel

callback = pytest.importorskip("sklearn.callback")


class Recorder:
    """Writes down what it is told, and asks to stop after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.told, self.nats = [], []

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator, context, *, X=None, metadata=None):
        self.max_subtasks = context.max_subtasks or getattr(self, "max_subtasks", 0)
        self.X, self.metadata = X, metadata
        self.told.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.told.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    @property
    def n_epochs(self):
        return sum(what == "end" and name == "epoch" for what, name, _ in self.told)


class Scorer(Recorder):
    """Scores the estimator as it would be if the fit stopped after an epoch."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if fitted_estimator is not None:
            self.nats.append(fitted_estimator.score(self.X))


ROWS = {**{k: v for k, v in ESTIMATORS.items() if v.architecture is None}, **MACHINES}
GIVEN = {k: (table(),) for k in ROWS}
GIVEN |= {k: (table()[:, :3], table()[:, 3:]) for k in TWO_VIEWS}
GIVEN |= {k: (table(),) for k in IMPUTERS}
GIVEN |= {k: (["a cat sat", "a dog ran", "cats and dogs ran"] * 9,) for k in TEXTS}
ROWS |= {**TWO_VIEWS, **IMPUTERS, **TEXTS}


@pytest.mark.parametrize("name", ROWS)
def test_callbacks_see_each_epoch_and_change_nothing(name):
    given, recorder = GIVEN[name], Recorder()
    model = clone(ROWS[name]).set_callbacks(recorder).fit(*given)
    told, open_tasks = recorder.told, []
    assert told[0] == ("setup", "fit", 0)
    assert told[-1] == ("teardown", "fit", 0)
    for what, *task in told[1:-1]:
        if what == "begin":
            open_tasks.append(task)
        else:
            assert open_tasks.pop() == task
    assert not open_tasks
    if name in ESTIMATORS or name in TWO_VIEWS:
        assert model.n_iter_ <= recorder.n_epochs <= recorder.max_subtasks
    plain = clone(ROWS[name]).set_callbacks().fit(*given)
    assert not hasattr(plain, "_skl_callbacks")
    for method, found in outputs(plain, given[0]).items():
        np.testing.assert_array_equal(found, outputs(model, given[0])[method])


def test_of_a_split_there_are_as_many_tasks_as_epochs():
    recorder = Recorder()
    model = AutoencoderTransformer(2, max_iter=5, validation_fraction=0.25)
    model.set_callbacks(recorder).fit(table(), sample_weight=np.ones(90))
    assert recorder.n_epochs == model.n_iter_ <= recorder.max_subtasks == 5
    assert recorder.X.shape == (90, 6)
    assert set(recorder.metadata) == {"sample_weight"}


def test_a_callback_can_stop_a_training():
    recorder = Recorder(stop_after=3)
    how = {"init": "random", "max_iter": 9, "validation_fraction": 0.25}
    model = AutoencoderTransformer(2, **how).set_callbacks(recorder).fit(table())
    assert model.n_iter_ == recorder.n_epochs == 3
    recorder = Recorder(stop_after=2)
    model = RBM(2, visible="gaussian", max_iter=9).set_callbacks(recorder).fit(table())
    assert model.n_iter_ == recorder.n_epochs == 2


@pytest.mark.parametrize("how", [{}, {"validation_fraction": 0.25}])
def test_an_estimator_after_an_epoch_is_what_fit_would_return(how):
    """So its score begins at PCA's, and ends at that of the fitted estimator."""
    X, scorer = table(), Scorer()
    how |= {"max_iter": 40, "random_state": 0, "learning_rate_init": 0.02}
    model = AutoencoderTransformer(2, **how).set_callbacks(scorer).fit(X)
    start = AutoencoderTransformer(2, max_iter=0).fit(X)
    nats = scorer.nats
    assert model.best_iter_ > 0
    assert nats[-1] == model.score(X) > start.score(X)
    if how.get("validation_fraction"):
        assert nats[0] == start.score(X)
        assert len(nats) == model.n_iter_ + 1
    else:  # while folds decide there is no estimator
        assert len(nats) == model.best_iter_ + 1
        assert nats[-2] == nats[-1]


def test_of_few_texts_a_network_is_trained_again_on_all():
    scorer, rng = Scorer(), np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(30)])
    texts = [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(100)]
    model = CausalLanguageModel(max_iter=2, random_state=0).set_callbacks(scorer)
    model.fit(texts)
    assert len(scorer.nats) == model.n_iter_ + model.best_iter_ + 1 > model.n_iter_ + 1
    assert scorer.nats[-1] == scorer.nats[-2] == model.score(texts)


def test_callbacks_are_torn_down_where_fit_fails():
    recorder = Recorder()
    model = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(table())
    codes = model.transform(table())

    def fails(estimator, context):
        raise RuntimeError("no")

    recorder.on_fit_task_end = fails
    model.set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="no"):
        model.fit(table() + 1)
    assert recorder.told[-1] == ("teardown", "fit", 0)
    assert not hasattr(model, "_callback_fit_ctx")
    np.testing.assert_array_equal(model.transform(table()), codes)


def test_progress_bars_and_scores_in_pipelines_and_searches(capsys):
    X, y = table(), (table()[:, 0] > 5).astype(int)
    scores = callback.ScoringMonitor(scoring={"nats": lambda est, X, y: est.score(X)})
    how = {"init": "random", "max_iter": 3, "validation_fraction": 0.25}
    autoencoder = AutoencoderTransformer(2, **how)
    steps = StandardScaler(), autoencoder.set_callbacks(scores), LogisticRegression()
    bar = callback.ProgressBar(max_propagation_depth=None)
    search = GridSearchCV(
        make_pipeline(*steps), {"autoencodertransformer__n_components": [1, 2]}, cv=2
    )
    search.set_callbacks(bar).fit(X, y)
    assert "autoencodertransformer | Autoencoder" in capsys.readouterr().out
    # Four fits and the one of the best: of each an end, and its epochs, which are three
    # unless the first leave no hope of beating the start.
    (log,) = scores.get_logs(select="all")
    epochs = Counter(
        row["parent_task_id_path"] for row in log.data if row["task_name"] == "epoch"
    )
    ends = [row["task_id_path"] for row in log.data if row["task_name"] != "epoch"]
    assert set(epochs) == set(ends)
    assert len(ends) == 5
    assert set(epochs.values()) <= {1, 2, 3}
    assert max(epochs.values()) == 3
    assert all(np.isfinite(row["nats"]) for row in log.data)
