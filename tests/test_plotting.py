"""Displays, by the data that they draw."""

import ast
import math
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from estimators import ESTIMATORS, TEXTS, TWO_VIEWS
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae.plotting
from skae import (
    RBM,
    VAE,
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContrastiveAutoencoder,
    EncoderDecoder,
    MaskedAutoencoder,
    MaskedImputer,
)
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae.architectures import Recurrent
from skae.plotting import (
    AnomalyDisplay,
    ComponentsDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ManifoldDisplay,
    ReconstructionDisplay,
)
from skae.text import KneserNey, TextAutoencoder

DISPLAYS = [getattr(skae.plotting, name) for name in skae.plotting.__all__]
NEED_NO_ROWS = (LossCurveDisplay, ComponentsDisplay)
FAST = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
WORDS = [f"the cat sat on the mat {i}" for i in range(40)]


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    """A bent sheet: three informative directions in six columns."""
    rng = np.random.RandomState(0)
    z = rng.randn(90, 2)
    z = np.column_stack([z, z[:, 0] ** 2])
    return z @ rng.randn(3, 6) + 0.1 * rng.randn(90, 6) + 5


@pytest.fixture(scope="module", params=ESTIMATORS)
def model(request, X):
    """Rows of the table, whose network is used as the last epoch leaves it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairedImprovement, "exceeds", lambda self, t: t < math.inf)
        patch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)
        return clone(ESTIMATORS[request.param]).fit(X)


@pytest.fixture(scope="module")
def plain(X):
    return AutoencoderTransformer(2, **FAST).fit(X)


@pytest.fixture
def data_only(monkeypatch):
    """Let displays keep their data and draw nothing, which takes most of the time."""
    for display in DISPLAYS:
        monkeypatch.setattr(display, "plot", lambda self, *args, **kwargs: self)


def draw(display, estimator, X, **kwargs):
    rows = () if display in NEED_NO_ROWS else (X,)
    return display.from_estimator(estimator, *rows, **kwargs)


def contaminated(model):
    return getattr(model, "contamination", 0) > 0


# Over the table


@pytest.mark.usefixtures("data_only")
def test_losses_are_the_public_scores_turned_round(model, X):
    display = LossCurveDisplay.from_estimator(model)
    scores = np.array(model.validation_scores_)
    best = 0 if isinstance(model, VAE) else 1  # of a likelihood, and of R2
    assert_allclose(display.validation_losses, best - scores)
    assert_array_equal(display.validation_epochs, np.arange(len(scores)))
    key = "train_reconstruction"
    key = key if best and key in model.history_[0] else "train_loss"
    losses = np.array([epoch[key] for epoch in model.history_])
    if best:
        assert_allclose(display.train_losses, losses / 6)
    elif not contaminated(model):  # rows are divided by one scalar
        losses += 6 * np.log(X.var(0, ddof=1).mean()) / 2
        assert_allclose(display.train_losses, losses, rtol=1e-5)
    is_start = model.init == "pca"
    assert display.start_loss == (display.validation_losses[0] if is_start else None)
    assert display.best_iter == model.best_iter_


@pytest.mark.usefixtures("data_only")
def test_codes_are_those_of_transform(model, X):
    display = LatentSpaceDisplay.from_estimator(model, X)
    assert_array_equal(display.codes, model.transform(X)[:, :2])
    has_prior = isinstance(model, VAE | AdversarialAutoencoder)
    assert (display.prior_codes is not None) == has_prior


@pytest.mark.usefixtures("data_only")
def test_reconstructions_are_what_comes_back(model, X):
    display = ReconstructionDisplay.from_estimator(model, X, n_samples=2)
    expected = model.inverse_transform(model.transform(X[:2]))
    assert_array_equal(display.inputs, X[:2])
    assert_allclose(display.reconstructions, expected)


@pytest.mark.usefixtures("data_only")
def test_shares_are_those_of_the_codes_and_of_pca(model, X):
    display = ComponentsDisplay.from_estimator(model)
    ratio = model.explained_variance_ratio_
    assert_array_equal(display.explained_variance_ratio, ratio)
    if display.start_name != "normal distribution" and not contaminated(model):
        pca = PCA(len(display.start_ratio)).fit(X)
        assert_allclose(display.start_ratio, pca.explained_variance_ratio_, rtol=1e-6)


@pytest.mark.usefixtures("data_only")
def test_a_grid_holds_what_its_codes_stand_for(model, X):
    display = ManifoldDisplay.from_estimator(model, grid_resolution=2)
    codes = model.transform(X)
    if not contaminated(model):
        ends = norm.ppf([[0.05], [0.95]]) * codes.std(0, ddof=1) + codes.mean(0)
        assert_allclose(display.grid_values[0], ends[:, 0], rtol=1e-4, atol=1e-3)
        assert_allclose(display.grid_values[1], ends[:, 1], rtol=1e-4, atol=1e-3)
    display = ManifoldDisplay.from_estimator(model, X, grid_resolution=2)
    code = codes.mean(0)
    code[0], code[1] = np.quantile(codes[:, 0], 0.95), np.quantile(codes[:, 1], 0.05)
    (expected,) = model.inverse_transform(code[None])
    assert_allclose(display.samples[0, 1], expected)
    assert display.kind == "line"


@pytest.mark.usefixtures("data_only")
def test_anomalies_are_the_rows_of_the_lowest_scores(model, X):
    display = AnomalyDisplay.from_estimator(model, X, n_samples=3)
    scores = model.score_samples(X)
    assert_array_equal(display.scores, scores)
    assert set(display.indices) == set(np.argsort(scores)[:3])
    assert scores[display.indices[0]] == scores.min()
    assert_array_equal(display.samples, X[display.indices])
    error = model.reconstruction_error(X[display.indices])
    assert_allclose(display.contributions.mean(1), error)
    assert display.offset == model.offset_


# What they have in common


def test_what_is_drawn_is_the_data(plain, X):
    display = LossCurveDisplay.from_estimator(plain)
    train, held_out = display.lines_
    assert_array_equal(train.get_xydata().T, [[1, 2, 3], display.train_losses])
    assert_array_equal(held_out.get_xdata(), display.validation_epochs)
    assert_array_equal(held_out.get_ydata(), display.validation_losses)
    assert display.start_level_.get_ydata()[0] == display.start_loss
    assert display.start_level_.get_label() == "PCA (epoch 0)"
    assert display.best_iter_line_.get_xdata()[0] == plain.best_iter_
    assert display.ax_.get_ylabel() == "1 - R2"
    display = LatentSpaceDisplay.from_estimator(plain, X)
    assert_array_equal(display.scatter_[0].get_offsets(), display.codes)
    display = ReconstructionDisplay.from_estimator(plain, X, n_samples=2)
    behind, line = display.axes_[1, 0].get_lines()
    assert_array_equal(behind.get_ydata(), X[0])
    assert_array_equal(line.get_ydata(), display.reconstructions[0])
    display = ComponentsDisplay.from_estimator(plain)
    heights = [bar.get_height() for bar in display.bars_]
    assert_array_equal(heights, plain.explained_variance_ratio_)
    assert_array_equal(display.line_.get_ydata(), display.start_ratio)
    display = AnomalyDisplay.from_estimator(plain, X)
    assert display.offset_line_.get_xdata()[0] == plain.offset_
    assert sum(bar.get_height() for bar in display.histogram_) == 90


@pytest.mark.parametrize("display", DISPLAYS)
def test_axes_of_ones_own_are_drawn_in(display, plain, X):
    figure, (ax, other) = plt.subplots(1, 2)
    drawn = draw(display, plain, X, ax=ax)
    assert drawn.figure_ is figure
    axes = drawn.axes_.ravel() if hasattr(drawn, "axes_") else [drawn.ax_]
    assert all(a.figure is figure for a in axes)
    assert not other.has_data()
    assert plt.get_fignums() == [figure.number]
    figure.canvas.draw()


def test_axes_that_are_in_no_grid_are_divided(plain, X):
    ax = plt.figure().add_axes((0.1, 0.2, 0.6, 0.7))
    display = ReconstructionDisplay.from_estimator(plain, X, n_samples=2, ax=ax)
    boxes = [panel.get_position() for panel in display.axes_.ravel()]
    assert_allclose(min(box.x0 for box in boxes), 0.1)
    assert_allclose(max(box.y1 for box in boxes), 0.9)


@pytest.mark.parametrize("display", DISPLAYS)
def test_plot_draws_the_same_data_again(display, plain, X):
    drawn = draw(display, plain, X)
    first = drawn.figure_
    assert drawn.plot() is drawn
    assert drawn.figure_ is not first
    first.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_is_not_fitted_is_an_error(display, X):
    for estimator in AutoencoderTransformer(2), TextAutoencoder(), RBM():
        with pytest.raises(NotFittedError, match=type(estimator).__name__):
            draw(display, estimator, X)


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_the_error_names_the_extra(display, plain, X, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf"{display.__name__}.*'skae\[plot\]'"):
        draw(display, plain, X)


def test_matplotlib_is_imported_when_a_picture_is_drawn():
    for path in Path(skae.plotting.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names]
                roots = {str(name).split(".")[0] for name in names}
                assert "matplotlib" not in roots, path


@pytest.mark.parametrize(
    ("display", "lacks"),
    [
        (ComponentsDisplay, "explained_variance_ratio_"),
        (ReconstructionDisplay, "inverse_transform"),
        (ManifoldDisplay, "inverse_transform"),
        (AnomalyDisplay, "offset_|score_samples"),
    ],
)
def test_what_two_views_lack_is_named(display, lacks, X):
    for cls in ContrastiveAutoencoder, EncoderDecoder:
        model = cls(1, max_iter=0).fit(X[:, :4], X[:, 4:])
        with pytest.raises(ValueError, match=f"({lacks}), and {cls.__name__} has none"):
            draw(display, model, X[:, :4])


@pytest.mark.parametrize(
    "display", [ComponentsDisplay, LossCurveDisplay, AnomalyDisplay]
)
def test_what_a_machine_lacks_is_named(display, X):
    machine = RBM(2, visible="gaussian", max_iter=1).fit(X)
    with pytest.raises(ValueError, match=rf"{display.__name__} .* RBM has n"):
        draw(display, machine, X)


@pytest.mark.parametrize(
    "display", [ComponentsDisplay, ReconstructionDisplay, ManifoldDisplay]
)
def test_texts_have_no_picture(display):
    model = TextAutoencoder(2, max_iter=0).fit(WORDS)
    with pytest.raises(ValueError, match="the rows of TextAutoencoder are texts"):
        draw(display, model, WORDS)


def test_what_has_no_codes_is_named(X):
    with pytest.raises(ValueError, match="transform, and KneserNey has none"):
        LatentSpaceDisplay.from_estimator(KneserNey().fit(WORDS), WORDS)
    with pytest.raises(ValueError, match="MaskedImputer returns completed tables"):
        LatentSpaceDisplay.from_estimator(MaskedImputer(max_iter=0).fit(X), X)


@pytest.mark.usefixtures("data_only")
@pytest.mark.parametrize("name", TWO_VIEWS)
def test_two_views_have_a_training_and_codes(name, X):
    model = clone(TWO_VIEWS[name]).fit(X, X[:, :4] ** 2)
    losses = LossCurveDisplay.from_estimator(model).validation_losses
    best = 1 if isinstance(model, EncoderDecoder) else 0
    assert_allclose(losses, best - np.array(model.validation_scores_))
    display = LatentSpaceDisplay.from_estimator(model, X)
    assert_array_equal(display.codes, model.transform(X)[:, :2])


@pytest.mark.usefixtures("data_only")
@pytest.mark.parametrize("name", [name for name in TEXTS if name[:2] != "n-"])
def test_texts_have_a_training_and_codes(name):
    model = clone(TEXTS[name]).fit(WORDS)
    display = LossCurveDisplay.from_estimator(model)
    assert_allclose(display.validation_losses, -np.array(model.validation_scores_))
    assert display.start_name in ("n-grams", *["correspondence", "latent"]) or (
        display.start_name.split()[0] in ("correspondence", "latent")
    )
    last = model.history_[-1]
    per_token = display.validation_losses[-1] / last["valid_loss"]
    train = last.get("train_nll", last["train_loss"])
    assert_allclose(display.train_losses[-1], train * per_token)
    codes = LatentSpaceDisplay.from_estimator(model, WORDS).codes
    assert_array_equal(codes, model.transform(WORDS)[:, :2])


def test_a_pipeline_is_drawn_by_its_last_step(X):
    frame = pd.DataFrame(X, columns=[*"abcdef"])
    pipe = make_pipeline(StandardScaler(), VAE(2, **FAST)).fit(frame)
    scaled = pipe[:-1].transform(frame)
    assert LossCurveDisplay.from_estimator(pipe).start_name == "probabilistic PCA"
    assert ComponentsDisplay.from_estimator(pipe).name == "VAE"
    display = LatentSpaceDisplay.from_estimator(pipe, frame)
    assert_array_equal(display.codes, pipe[-1].transform(scaled))
    assert display.prior_codes is not None
    display = ReconstructionDisplay.from_estimator(pipe, frame)
    expected = pipe.inverse_transform(pipe.transform(frame[:8]))
    assert_array_equal(display.reconstructions, expected)
    display = ManifoldDisplay.from_estimator(pipe, grid_resolution=2)
    assert_allclose(display.samples.mean((0, 1)), X.mean(0), atol=2)
    display = AnomalyDisplay.from_estimator(pipe, frame)
    assert_array_equal(display.samples, scaled[display.indices])
    assert [*display.feature_names] == [*"abcdef"]


def test_pca_is_drawn_beside_it(X):
    pca = PCA(2, whiten=True).fit(X)
    assert_array_equal(
        LatentSpaceDisplay.from_estimator(pca, X).codes, pca.transform(X)
    )
    assert ComponentsDisplay.from_estimator(pca).start_ratio is None
    values = ManifoldDisplay.from_estimator(pca, grid_resolution=2).grid_values
    assert_allclose(values, norm.ppf([[0.05, 0.95]] * 2))
    ReconstructionDisplay.from_estimator(pca, X, n_samples=1)


# The training


def test_after_partial_fit_each_batch_has_been_tested_before_it_trained(X):
    model = AutoencoderTransformer(2, **FAST)
    for part in range(4):
        model.partial_fit(X[part::4])
    display = LossCurveDisplay.from_estimator(model)
    assert len(display.train_losses) == 4
    assert_array_equal(display.validation_epochs, [1, 2, 3])
    assert_allclose(display.validation_losses, 1 - np.array(model.validation_scores_))
    assert display.start_loss is None


def test_of_batches_after_a_fit_the_batches_are_drawn(X):
    model = AutoencoderTransformer(2, **FAST).fit(X[:60])
    model.partial_fit(X[60:75]).partial_fit(X[75:])
    display = LossCurveDisplay.from_estimator(model)
    expected = 1 - np.array(model.validation_scores_[-2:])
    assert_allclose(display.validation_losses, expected)
    n = model.n_iter_
    assert_array_equal(display.validation_epochs, [n - 2, n - 1])


def test_a_fit_that_goes_on_has_no_epoch_0(X):
    model = AutoencoderTransformer(2, **FAST, warm_start=True).fit(X).fit(X)
    display = LossCurveDisplay.from_estimator(model)
    last = model.n_iter_
    before = last - len(model.validation_scores_) + 1
    assert before > 0
    assert_array_equal(display.validation_epochs, np.arange(before, last + 1))
    assert display.start_loss is None


def test_what_diverged_starts_at_epoch_0(X):
    with pytest.warns(ConvergenceWarning, match="The loss became"):
        model = AutoencoderTransformer(
            2, **FAST, learning_rate_init=1e20, validation_fraction=0.2
        ).fit(X)
    display = LossCurveDisplay.from_estimator(model)
    assert display.validation_epochs[0] == 0
    assert display.start_loss == display.validation_losses[0]
    display.figure_.canvas.draw()


def test_few_rows_hold_none_out(X):
    display = LossCurveDisplay.from_estimator(AutoencoderTransformer(2).fit(X[:8]))
    assert len(display.validation_losses) == 0
    assert len(display.lines_) == 1
    assert display.start_level_ is None


def test_no_training_is_an_error(X):
    model = AutoencoderTransformer(2, max_iter=0).fit(X)
    with pytest.raises(ValueError, match="this AutoencoderTransformer has not trained"):
        LossCurveDisplay.from_estimator(model)


def test_an_imputer_has_the_training_of_its_autoencoder(X):
    model = MaskedImputer(**FAST).fit(X)
    display = LossCurveDisplay.from_estimator(model)
    scores = model.autoencoder_.validation_scores_
    assert_allclose(display.validation_losses, 1 - np.array(scores))
    assert display.start_name == "normal distribution"


def test_an_epoch_far_above_does_not_flatten_the_rest():
    losses = [1e6, *np.linspace(0.5, 0.4, 19)]
    display = LossCurveDisplay(train_losses=losses, start_loss=0.6).plot()
    assert display.ax_.get_ylim()[1] < 1
    assert display.best_iter_line_ is None


# Codes


def test_the_prior_of_probabilistic_pca_has_its_covariance(X):
    for whiten in (False, True):
        model = VAE(2, max_iter=0, whiten=whiten).fit(X)
        codes = LatentSpaceDisplay.from_estimator(model, X).prior_codes
        rows = model.inverse_transform(codes)
        noise = model.noise_variance_ * np.eye(6)
        assert_allclose(np.cov(rows.T) + noise, model.get_covariance(), atol=0.05)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("cls", [VAE, AdversarialAutoencoder])
def test_draws_of_the_prior_are_the_codes_of_samples(cls, whiten, X):
    X = np.vstack([X, X + 3])
    model = cls(2, max_iter=20, random_state=0, whiten=whiten).fit(X)
    assert model.best_iter_ > 0
    codes = LatentSpaceDisplay.from_estimator(model, X).prior_codes
    rows = model.inverse_transform(codes[:20_000])
    drawn = model.sample(20_000, add_noise=False, random_state=1)
    for share in (0.1, 0.5, 0.9):
        expected = np.quantile(drawn, share, axis=0)
        assert_allclose(np.quantile(rows, share, axis=0), expected, atol=0.25)


def test_contours_are_around_their_share_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    prior = rng.standard_normal((100_000, 2)) * [3, 0.2]
    display = LatentSpaceDisplay(codes=prior[:10], prior_codes=prior).plot()
    outer, inner = (np.vstack(lines) for lines in display.contour_.allsegs)
    for line, share in (outer, 0.9), (inner, 0.5):
        radii = np.hypot(*(line / [3, 0.2]).T)
        assert_allclose(radii.mean(), np.sqrt(-2 * np.log(1 - share)), rtol=0.05)
        assert radii.std() < 0.06
    labels = display.legend_.get_texts()
    assert [label.get_text() for label in labels] == ["prior: 90% and 50%"]


def test_a_prior_without_a_densest_half_has_no_line_around_it():
    prior = np.random.default_rng(0).uniform(-1, 1, (100_000, 2))
    display = LatentSpaceDisplay(codes=prior[:10], prior_codes=prior).plot()
    assert len(display.contour_.levels) == 1


def test_one_code_stands_at_random_heights(X):
    model = VAE(1, **FAST).fit(X)
    display = LatentSpaceDisplay.from_estimator(model, X)
    assert display.codes.shape == (90, 1)
    assert_array_equal(display.scatter_[0].get_offsets()[:, 0], display.codes[:, 0])
    assert display.contour_.get_ydata().max() == 1
    model = VAE(3, **FAST).fit(X)
    display = LatentSpaceDisplay.from_estimator(model, X, components=2)
    assert_array_equal(display.codes[:, 0], model.transform(X)[:, 2])
    assert display.ax_.get_xlabel() == "code 2"


def test_which_codes_are_drawn_is_a_choice(X):
    model = PCA(4).fit(X)
    display = LatentSpaceDisplay.from_estimator(model, X, components=(3, 1))
    assert_array_equal(display.codes, model.transform(X)[:, [3, 1]])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("code 3", "code 1")
    values = ManifoldDisplay.from_estimator(model, components=(3, 1)).grid_values
    deviation = np.sqrt(model.explained_variance_[[3, 1]])
    assert_allclose([v[-1] for v in values], norm.ppf(0.95) * deviation)


@pytest.mark.parametrize("components", [(0, 4), (0, 0), (0, 1, 2), (), "ab", -1, 0.5])
def test_codes_that_there_are_not_are_an_error(components, X):
    with pytest.raises(ValueError, match=r"components=.* from 0 to 3"):
        LatentSpaceDisplay.from_estimator(PCA(4).fit(X), X, components=components)


@pytest.mark.parametrize(
    ("kind", "n_classes"),
    [(bool, 2), (int, 3), (float, 10), (str, 15), ("series", 3), ("category", 20)],
)
def test_classes_have_a_colour_each_and_a_legend(kind, n_classes):
    numbers = np.arange(60) % n_classes
    y = numbers if isinstance(kind, str) else numbers.astype(kind)
    if isinstance(kind, str):
        y = pd.Series(y, name="sort").map("c{:02d}".format)
        y = y.astype("category") if kind == "category" else y
    codes = np.random.default_rng(0).standard_normal((60, 2))
    display = LatentSpaceDisplay(codes=codes, y=y).plot()
    assert len(display.scatter_) == n_classes
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts == [points.get_label() for points in display.scatter_]
    colours = {tuple(points.get_facecolor()[0]) for points in display.scatter_}
    assert len(colours) == n_classes
    for points in display.scatter_:
        label = points.get_label()
        names = y if kind is not float else numbers.astype(str)
        chosen = np.array([str(value) == label for value in names])
        assert_array_equal(points.get_offsets(), codes[chosen])
    assert display.legend_.get_title().get_text() == getattr(y, "name", "")


def test_numbers_and_many_classes_have_a_scale():
    rng = np.random.default_rng(0)
    codes, heights = rng.standard_normal((60, 2)), pd.Series(rng.uniform(size=60))
    display = LatentSpaceDisplay(codes=codes, y=heights).plot()
    assert_array_equal(display.scatter_[0].get_array(), heights)
    many = [f"c{i:02d}" for i in range(60)]
    display = LatentSpaceDisplay(codes=codes, y=many).plot()
    assert_array_equal(display.scatter_[0].get_array(), np.arange(60))
    ticks = [tick.get_text() for tick in display.colorbar_.ax.get_yticklabels()]
    assert (ticks[0], ticks[-1]) == ("c00", "c59")
    display = LatentSpaceDisplay(codes=codes, y=many).plot(scatter_kwargs={"c": "red"})
    assert display.colorbar_ is None


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1], "y has 2 rows, but X has 90"),
        (np.zeros((90, 2)), "y must have one axis"),
        ([*"ab" * 44, "a", None], "row 89 has no label"),
        ([*[0.5] * 89, np.nan], "row 89 has no label"),
    ],
)
def test_a_target_that_does_not_fit_is_an_error(y, message, plain, X):
    with pytest.raises(ValueError, match=message):
        LatentSpaceDisplay.from_estimator(plain, X, y)
    assert not plt.get_fignums()


# Samples


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:200]


def test_images_are_drawn_as_such_flat_ones_too(digits):
    flat = digits.reshape(200, 64)
    model = AutoencoderTransformer(2, **FAST).fit(flat)
    shape = {"image_shape": (8, 8)}
    display = ReconstructionDisplay.from_estimator(model, flat, n_samples=3, **shape)
    assert_array_equal(display.axes_[0, 2].images[0].get_array(), digits[2])
    rebuilt = model.inverse_transform(model.transform(flat)).reshape(200, 8, 8)
    assert_allclose(display.axes_[1, 2].images[0].get_array(), rebuilt[2])
    display = AnomalyDisplay.from_estimator(model, flat, n_samples=3, **shape)
    assert display.kind == "image"
    first = display.indices[0]
    error = (digits[first] - rebuilt[first]) ** 2
    row, below = display.axes_[1].images[:2]
    assert_array_equal(row.get_array(), digits[first])
    assert_allclose(below.get_array(), error)
    display = ManifoldDisplay.from_estimator(model, grid_resolution=3, **shape)
    assert display.samples.shape == (3, 3, 8, 8)
    assert len(display.ax_.images) == 9
    left, right, bottom, top = display.ax_.images[2].get_extent()  # last of a row
    values = display.grid_values
    assert_allclose(
        [(left + right) / 2, (bottom + top) / 2], [values[0][2], values[1][0]]
    )
    assert AnomalyDisplay.from_estimator(model, flat).kind == "table"


def test_images_have_three_colours_or_one():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        images = rng.uniform(size=(40, channels, 4, 5))
        model = AutoencoderTransformer(2, **FAST).fit(images)
        display = ReconstructionDisplay.from_estimator(model, images, n_samples=1)
        drawn = display.axes_[0, 0].images[0].get_array()
        assert drawn.shape == ((4, 5, 3) if channels == 3 else (4, 5))
        low, high = images[0].min(), images[0].max()
        expected = np.moveaxis(images[0], 0, -1).squeeze()
        if channels == 3:
            expected = (expected - low) / (high - low)
        assert_allclose(drawn, expected)
        AnomalyDisplay.from_estimator(model, images, n_samples=1)
    images = rng.uniform(size=(40, 2, 4, 5))
    model = AutoencoderTransformer(2, max_iter=0).fit(images)
    with pytest.raises(ValueError, match=r"these samples have \(2, 4, 5\)"):
        ReconstructionDisplay.from_estimator(model, images)


@pytest.mark.parametrize(
    "shape", [(8, 9), 64, (8.0, 8.0), "ab", (8, 8, 1, 1), (-8, -8)]
)
def test_a_shape_of_other_images_is_an_error(shape, digits):
    flat = digits.reshape(200, 64)
    with pytest.raises(ValueError, match=r"image_shape=.* product of 64"):
        ReconstructionDisplay.from_estimator(PCA(2).fit(flat), flat, image_shape=shape)


def test_series_have_a_line_for_each_channel():
    rng = np.random.default_rng(0)
    series = rng.standard_normal((40, 7, 2)).cumsum(1)
    model = AutoencoderTransformer(2, **FAST).fit(series)
    display = ReconstructionDisplay.from_estimator(model, series, n_samples=2)
    lines = display.axes_[0, 1].get_lines()
    assert_array_equal([line.get_ydata() for line in lines], series[1].T)
    assert display.kind == "line"
    display = AnomalyDisplay.from_estimator(model, series, n_samples=2)
    assert len(display.axes_[1].get_lines()) == 8
    display = ManifoldDisplay.from_estimator(model, grid_resolution=2)
    assert display.samples.shape == (2, 2, 7, 2)
    assert len(display.ax_.get_lines()) == 8


def test_series_end_where_their_rows_do():
    rng = np.random.default_rng(0)
    series = [rng.standard_normal((n, 2)).cumsum(0) for n in (9, 5, 7, 9, 8) * 4]
    architecture = Recurrent(hidden_size=3)
    model = AutoencoderTransformer(2, max_iter=1, architecture=architecture).fit(series)
    display = ReconstructionDisplay.from_estimator(model, series, n_samples=3)
    present = ~np.isnan(display.reconstructions).all(2)
    assert_array_equal(present.sum(1), [9, 5, 7])
    display = AnomalyDisplay.from_estimator(model, series, n_samples=2)
    assert display.contributions.shape == (2, 9, 2)


def test_missing_cells_are_blank_over_what_completes_them(X):
    rng = np.random.default_rng(0)
    holes = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    model = MaskedAutoencoder(2, **FAST).fit(holes)
    display = ReconstructionDisplay.from_estimator(model, holes)
    assert_array_equal(np.isnan(display.inputs), np.isnan(holes[:8]))
    assert np.isfinite(display.reconstructions).all()
    display = AnomalyDisplay.from_estimator(model, holes)
    gaps = np.isnan(holes[display.indices])
    assert_array_equal(np.isnan(display.contributions), gaps)
    display.figure_.canvas.draw()


def test_a_machine_has_a_grid_and_reconstructions(digits):
    rows = digits.reshape(200, 64) / 16
    machine = RBM(3, max_iter=1, random_state=0).fit(rows)
    display = ReconstructionDisplay.from_estimator(machine, rows)
    expected = machine.inverse_transform(machine.transform(rows[:8]))
    assert_allclose(display.reconstructions, expected)
    with pytest.raises(ValueError, match="needs X for RBM, which has no"):
        ManifoldDisplay.from_estimator(machine)
    display = ManifoldDisplay.from_estimator(machine, rows, grid_resolution=2)
    assert display.samples.shape == (2, 2, 64)


def test_a_table_names_its_columns_and_shows_its_values():
    X = load_iris(as_frame=True).data
    model = AutoencoderTransformer(1, **FAST).fit(X)
    display = AnomalyDisplay.from_estimator(model, X, n_samples=2)
    ax = display.axes_[1]
    assert [text.get_text() for text in ax.get_xticklabels()] == [*X.columns]
    first = display.indices[0]
    assert ax.get_yticklabels()[0].get_text() == f"row {first}"
    values = [float(text.get_text()) for text in ax.texts[:4]]
    assert_allclose(values, X.iloc[first], atol=0.01)
    shares = ax.images[0].get_array()
    error = (X - model.inverse_transform(model.transform(X))) ** 2
    assert_allclose(shares[0], error.iloc[first] / error.iloc[first].sum())
    display = ReconstructionDisplay.from_estimator(model, X, n_samples=2)
    labels = display.axes_[1, 0].get_xticklabels()
    assert [text.get_text() for text in labels] == [*X.columns]


def test_rows_may_be_sparse_or_few_or_all_alike(X):
    sparse = sp.csr_matrix(np.where(X > 5, X, 0))
    model = AutoencoderTransformer(2, **FAST).fit(sparse)
    for display in DISPLAYS:
        draw(display, model, sparse[:3])
    alike = np.full((20, 3), 7.0)
    model = AutoencoderTransformer(1, max_iter=1, random_state=0).fit(alike)
    for display in DISPLAYS:
        draw(display, model, alike).figure_.canvas.draw()


def test_few_samples_are_asked_for_and_more_than_there_are(plain, X):
    display = ReconstructionDisplay.from_estimator(plain, X[:2], n_samples=5)
    assert len(display.inputs) == 2
    for display in ReconstructionDisplay, AnomalyDisplay:
        with pytest.raises(ValueError, match="n_samples == 0, must be >= 1"):
            display.from_estimator(plain, X, n_samples=0)
    with pytest.raises(ValueError, match=r"percentiles=\(0.9, 0.1\) must be two"):
        ManifoldDisplay.from_estimator(plain, percentiles=(0.9, 0.1))
    for display in ReconstructionDisplay, ManifoldDisplay, AnomalyDisplay:
        with pytest.raises(ValueError, match="kind='bar' must be 'auto', 'image'"):
            display.from_estimator(plain, X, kind="bar")


def test_styles_are_matplotlibs(plain, X, digits):
    red = {"color": "red", "lw": 3}
    display = LossCurveDisplay.from_estimator(plain, line_kwargs=red)
    assert {line.get_linewidth() for line in display.lines_} == {3}
    display = ComponentsDisplay.from_estimator(plain, bar_kwargs={"fc": "red"})
    assert display.bars_[0].get_facecolor()[:3] == (1, 0, 0)
    display = LatentSpaceDisplay.from_estimator(plain, X, scatter_kwargs={"s": 7})
    assert display.scatter_[0].get_sizes() == 7
    display = AnomalyDisplay.from_estimator(plain, X, hist_kwargs={"bins": 5})
    assert len(display.histogram_) == 5
    model = AutoencoderTransformer(2, max_iter=0).fit(digits)
    display = ManifoldDisplay.from_estimator(model, im_kwargs={"cmap": "viridis"})
    assert display.ax_.images[0].get_cmap().name == "viridis"
    with pytest.raises(TypeError, match="line_kwargs='red' must be a dict"):
        LossCurveDisplay.from_estimator(plain, line_kwargs="red")
    codes = {"codes": X[:, :2], "prior_codes": X[:, :2]}
    with pytest.raises(TypeError, match="contour_kwargs=3 must be a dict"):
        LatentSpaceDisplay(**codes).plot(contour_kwargs=3)
    dotted = {"colors": "red", "linestyles": ":"}
    display = LatentSpaceDisplay(**codes).plot(contour_kwargs=dotted)
    colour = display.legend_.get_lines()[0].get_color()
    assert mpl.colors.same_color(colour, "red")


def test_scores_far_away_are_counted_in_the_first_bar():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    X[3] = 1e4
    model = AutoencoderTransformer(2, max_iter=0, contamination=0.1).fit(X)
    display = AnomalyDisplay.from_estimator(model, X)
    assert display.scores.min() == display.scores[3] < -1e6
    heights = [bar.get_height() for bar in display.histogram_]
    assert (heights[0], sum(heights)) == (1, 200)
    assert sum(height > 0 for height in heights) > 10
    title = display.axes_[0].get_title(loc="left")
    assert title.startswith(f"first bar: down to {display.scores[3]:.4g}")


def test_rows_of_frames_have_the_names_of_the_index():
    X = load_iris(as_frame=True).data
    model = AutoencoderTransformer(1, max_iter=0).fit(X)
    counted = AnomalyDisplay.from_estimator(model, X, n_samples=2)
    assert counted.sample_names is None
    called = X.set_index(pd.Index([f"plant {i}" for i in range(150)]))
    display = AnomalyDisplay.from_estimator(model, called, n_samples=2)
    names = [f"plant {i}" for i in display.indices]
    for shown, expected in (
        (counted, [f"row {i}" for i in counted.indices]),
        (display, names),
    ):
        assert [t.get_text() for t in shown.axes_[1].get_yticklabels()] == expected
    lines = AnomalyDisplay.from_estimator(model, called, n_samples=2, kind="line")
    assert [t.get_text() for t in lines.axes_[1].get_xticklabels()] == names


def test_long_names_are_cut():
    X = load_iris(as_frame=True).data
    X.columns = ["$", "a" * 100, "b" * 24, "c" * 25]
    model = AutoencoderTransformer(1, max_iter=0).fit(X)
    labels = AnomalyDisplay.from_estimator(model, X).axes_[1].get_xticklabels()
    names = [r"\$", "a" * 21 + "...", "b" * 24, "c" * 21 + "..."]
    assert [label.get_text() for label in labels] == names
