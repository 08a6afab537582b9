"""Files of fitted estimators, by `save` and `load`, skops and joblib."""

import copy
import functools
import math
import os
import pickle
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import contractive
import estimators
import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from estimators import ESTIMATORS, FAST, IMPUTERS, MACHINES, TEXTS, TWO_VIEWS
from files import header_of, rewrite
from safetensors.numpy import load_file, save_file
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops_io
from skorch.callbacks import EarlyStopping

import skae
from skae import AutoencoderTransformer, MaskedImputer, load
from skae._file import digest
from skae._gate import PairedImprovement
from skae._net import AutoencoderNet
from skae.exceptions import LoadError

TRUSTED = [estimators.Encoder, estimators.decoder, estimators.halved]
TRUSTED += [v for v in vars(contractive).values() if hasattr(v, "__qualname__")]
WORDS = ["the", "cat", "sat", "on", "mats", "and", "dogs", "ran", "over", "cats"]


def table():
    rng = np.random.RandomState(0)
    z = rng.randn(90, 2)
    z = np.column_stack([z, z[:, 0] ** 2])
    return z @ rng.randn(3, 6) + 0.1 * rng.randn(90, 6) + 5


def rows_of_the_table():
    """Yield names, estimators, and what they are fitted to."""
    X, rng = table(), np.random.RandomState(0)
    missing = np.where(rng.rand(*X.shape) < 0.1, np.nan, X)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(30)]
    for name, model in {**ESTIMATORS, **MACHINES}.items():
        yield pytest.param(model, (X,), id=name)
    for name, model in TWO_VIEWS.items():
        yield pytest.param(model, (X[:, :3], X[:, 3:]), id=name)
    for name, model in IMPUTERS.items():
        yield pytest.param(model, (missing,), id=name)
    for name, model in TEXTS.items():
        yield pytest.param(model, (texts,), id=name)


def outputs(model, X):
    """Return what all of its methods that take rows return."""
    names = "transform", "score_samples", "reconstruction_error", "predict"
    return {n: getattr(model, n)(X) for n in names if hasattr(model, n)}


def assert_same(model, other, X):
    before, after = outputs(model, X), outputs(other, X)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


@pytest.fixture(scope="module")
def model():
    return AutoencoderTransformer(
        2, hidden_layer_sizes=(8,), init="random", max_iter=3, random_state=0
    ).fit(table())


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


# The table


@pytest.mark.parametrize(("model", "given"), rows_of_the_table())
def test_what_is_stored_comes_back(model, given, tmp_path, monkeypatch):
    opened = lambda self, threshold: threshold < math.inf  # noqa: E731
    monkeypatch.setattr(PairedImprovement, "exceeds", opened)
    monkeypatch.setitem(AutoencoderNet.__init__.__kwdefaults__, "keep_best", False)
    model = clone(model).fit(*given)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", trusted=TRUSTED)
    assert type(loaded) is type(model)
    assert_same(model, loaded, given[0])
    assert repr(clone(loaded)) == repr(clone(model))
    assert getattr(loaded, "loss_curve_", None) == getattr(model, "loss_curve_", None)
    data = skops_io.dumps(model)
    known = {f"{v.__module__}.{v.__qualname__}" for v in TRUSTED}
    untrusted = skops_io.get_untrusted_types(data=data)
    own = [name for name in untrusted if not name.startswith("skae.")]
    assert set(own) <= known
    assert_same(model, skops_io.loads(data, trusted=untrusted), given[0])
    if hasattr(model, "partial_fit"):  # with a new optimizer
        loaded.partial_fit(*given)
        assert np.isfinite(loaded.transform(given[0])).all()


@pytest.mark.parametrize("changed", ["deepcopy", "pickle", "partial_fit", "warm_start"])
def test_what_has_been_copied_or_trained_further_comes_back(changed, path):
    model, X = load(path), table()
    model.set_params(warm_start=True)
    change = {
        "deepcopy": copy.deepcopy,
        "pickle": lambda model: pickle.loads(pickle.dumps(model)),
        "partial_fit": lambda model: model.partial_fit(X),
        "warm_start": lambda model: model.fit(X),
    }
    model = change[changed](model)
    model.save(path)
    assert_same(model, load(path), X)


def test_an_estimator_of_byte_pairs_comes_back(tmp_path):
    texts = ["anna", "hanna", "johanna"] * 3
    model = skae.text.KneserNey(analyzer="bpe", max_features=260).fit(texts)
    model.save(tmp_path / "model")
    assert_same(model, load(tmp_path / "model"), texts)


@pytest.mark.parametrize("kind", [str, object])
def test_labels_come_back(kind, tmp_path):
    X, y = table(), np.array(["a", "b", "c"], dtype=kind)[np.arange(90) % 3]
    model = skae.ContrastiveAutoencoder(1, **FAST).fit(X, y)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.score_samples(X, y), model.score_samples(X, y))


def test_names_of_columns_and_frames_come_back(tmp_path):
    X = StandardScaler().set_output(transform="pandas").fit_transform(table())
    model = AutoencoderTransformer(2, **FAST).set_output(transform="pandas").fit(X)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").transform(X).equals(model.transform(X))


def test_categories_that_cannot_be_stored_are_named_by_their_column(tmp_path):
    frame = pd.DataFrame({"x": np.arange(40.0), "c": pd.cut(np.arange(40.0), 3)})
    imputer = MaskedImputer(categorical_features=["c"], max_iter=0).fit(frame)
    with pytest.raises(ValueError, match=r"^MaskedImputer.categories_\[1\]\[0\]"):
        imputer.save(tmp_path / "imputer.safetensors")


def test_a_marker_of_pandas_comes_back(tmp_path, monkeypatch):
    path = tmp_path / "imputer.skae"
    imputer = MaskedImputer(missing_values=pd.NA, max_iter=0, random_state=0)
    imputer.fit([[1.0, 2.0], [2.0, 1.0], [3.0, np.nan]]).save(path)
    assert load(path).missing_values is pd.NA
    monkeypatch.delitem(sys.modules, "pandas")
    with pytest.raises(LoadError, match="where pandas is not imported"):
        load(path)


def test_metadata_requests_come_back(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = AutoencoderTransformer(2, **FAST).set_fit_request(sample_weight=True)
        model.fit(table()).save(tmp_path / "model")
        loaded = load(tmp_path / "model")
        requests = (m.get_metadata_routing().fit.requests for m in (model, loaded))
        assert {"sample_weight": True}.items() <= next(requests).items()
        assert {"sample_weight": True}.items() <= next(requests).items()


def test_other_peoples_settings_do_not_matter(path, model):
    with torch.inference_mode(), torch.device("meta"), np.errstate(all="raise"):
        loaded = load(path)
    assert not any(p.is_inference() for p in loaded.module_.parameters())
    np.testing.assert_array_equal(loaded.transform(table()), model.transform(table()))


# Sizes


def test_a_file_holds_neither_rows_nor_an_optimizer(tmp_path):
    X = np.random.RandomState(0).randn(4000, 40)
    how = {"hidden_layer_sizes": (256,), "init": "random", "random_state": 0}
    sizes = []
    for n, n_epochs in ((2000, 1), (4000, 1), (4000, 6)):
        model = AutoencoderTransformer(8, max_iter=n_epochs, **how).fit(X[:n])
        model.save(tmp_path / "model")
        sizes.append((tmp_path / "model").stat().st_size)
        weights = sum(4 * p.numel() for p in model.module_.parameters())
        assert len(pickle.dumps(model)) > 3 * weights  # with two moments of each
    assert max(sizes) < weights + 30_000
    assert max(sizes) - min(sizes) < 6 * 300  # the history


# Another process


@pytest.fixture(scope="module")
def pipeline():
    X = table()
    steps = StandardScaler(), AutoencoderTransformer(2, max_iter=20, random_state=0)
    pipeline = make_pipeline(*steps, LogisticRegression()).fit(X, X[:, 0] > 5)
    assert pipeline[1].best_iter_ > 0  # a network is used
    return pipeline


IN_ANOTHER_PROCESS = """
import sys, json
import numpy as np, joblib, skops.io, skae
X = np.load("X.npy")
trusted = ["skae._autoencoder.AutoencoderTransformer"]
skops = skops.io.load("skops", trusted=trusted)
codes = [skops[:2].transform(X), joblib.load("joblib")[:2].transform(X)]
codes.append(skae.load("save").transform(skops[0].transform(X)))
assert (skops.predict(X) == np.load("y.npy")).all()
np.save("codes.npy", codes)
import onnxruntime
session = onnxruntime.InferenceSession("onnx")
np.save("of_onnx.npy", session.run(None, {"X": X.astype("f4")})[0])
"""


def test_a_process_without_the_training_code_gets_the_same_codes(pipeline, tmp_path):
    X = table()
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", pipeline.predict(X))
    skops_io.dump(pipeline, tmp_path / "skops")
    joblib.dump(pipeline, tmp_path / "joblib")
    pipeline[1].save(tmp_path / "save")
    onnx.save(skae.to_onnx(pipeline[:2]), tmp_path / "onnx")
    command = [sys.executable, "-W", "error", "-c", IN_ANOTHER_PROCESS]
    folder = os.path.dirname(os.path.dirname(skae.__file__))
    env = {**os.environ, "PYTHONPATH": folder}
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    expected = pipeline[:2].transform(X)
    for codes in np.load(tmp_path / "codes.npy"):
        np.testing.assert_allclose(codes, expected, atol=1e-6)
    codes = np.load(tmp_path / "of_onnx.npy")
    np.testing.assert_allclose(codes, expected, atol=1e-5 * np.abs(expected).max())


# What is no file of an estimator


def test_a_damaged_file_says_so(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(LoadError, match=r"model is damaged, or no file of skae"):
        load(path)
    path.write_bytes(data[:-9] + b"9" + data[-8:])
    with pytest.raises(LoadError, match="checksum is not that of its content"):
        load(path)


def test_another_format_says_which_version_wrote_it(path):
    rewrite(path, format="skae 99", written_by="skae 7.0")
    message = "'skae 99', written by skae 7.0: skae .* reads 'skae 12'"
    with pytest.raises(LoadError, match=message):
        load(path)
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(LoadError, match="'none', written by another program"):
        load(path)


def test_a_class_that_is_not_known_is_named_and_not_imported(path):
    """Not even one that is imported already."""
    model = header_of(path)["model"]
    for name in ("antigravity.Evil", "os.system", "builtins.eval", "skae.load"):
        rewrite(path, model=model.replace("skae._start.RandomStart", name))
        message = re.escape(f"{name} is not of skae: if it is yours, import it")
        with pytest.raises(LoadError, match=message):
            load(path)
    assert "antigravity" not in sys.modules


def test_weights_of_other_shapes_are_an_error(path):
    header, arrays = header_of(path), load_file(path)
    names = [name for name, array in arrays.items() if array.shape == (8, 6)]
    assert len(names) == 1
    arrays[names[0]] = np.ascontiguousarray(arrays[names[0]][:, :5])
    save_file(arrays, path, {**header, "sha256": digest(header["model"], arrays)})
    with pytest.raises(LoadError, match="does not hold an estimator: RuntimeError"):
        load(path)


def test_ones_own_classes_have_to_be_trusted(tmp_path):
    architecture = skae.architectures.Modules(estimators.Encoder, estimators.decoder)
    model = AutoencoderTransformer(2, max_iter=0, architecture=architecture)
    model.fit(table()).save(tmp_path / "model")
    with pytest.raises(LoadError, match=r"estimators\.Encoder is not of skae"):
        load(tmp_path / "model")
    for wrong in ("estimators.Encoder", ["estimators.Encoder"], [1], None):
        message = re.escape(f"trusted={wrong!r}: use a list of classes")
        with pytest.raises(TypeError, match=message):
            load(tmp_path / "model", trusted=wrong)
    with pytest.raises(TypeError, match=r"Encoder'>: use a list of classes"):
        load(tmp_path / "model", trusted=estimators.Encoder)
    load(tmp_path / "model", trusted=TRUSTED)


def test_a_file_of_a_gpu_is_loaded_on_the_cpu(path, model):
    seed, device = r'"seed", "loss_floor"(.*?)\[\d+, ', r'"device", "loss_floor"\1['
    changed, n = re.subn(seed, device + '"cuda:7", ', header_of(path)["model"])
    assert n == 1
    rewrite(path, model=changed)
    loaded = load(path)
    assert loaded.device_.type == "cpu"
    np.testing.assert_array_equal(loaded.transform(table()), model.transform(table()))


MUTATIONS = """
import json, pathlib, resource, struct, sys
import numpy as np, torch
from safetensors import safe_open
import skae
from skae._file import digest

path, n = pathlib.Path(sys.argv[1]), int(sys.argv[2])
data = path.read_bytes()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8 : 8 + size])
rng = np.random.default_rng(0)
right = skae.load(path)

def flip():
    changed = bytearray(data)
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)

def truncate():
    return data[: rng.integers(len(data))]

def lie():
    changed = json.loads(json.dumps(header))
    names = [name for name in changed if name != "__metadata__"]
    entry = changed[rng.choice(names)]
    wrong = [10**12, -1, 0, 7, 2**63, 1e300, "8", None][rng.integers(8)]
    if rng.random() < 0.3:
        entry["dtype"] = str(rng.choice(["F64", "F32", "I8", "U64", "X9"]))
    else:
        where = str(rng.choice(["shape", "data_offsets"]))
        entry[where] = [*entry[where][:-1], wrong]
    return packed(changed)

def long_header():
    wrong = [0, 7, 10**9, 2**63, 2**64 - 1, size - 1, size + 1]
    return struct.pack("<Q", int(rng.choice(np.array(wrong, "u8")))) + data[8:]

def edit(*, fix):
    meta = dict(header["__metadata__"])
    model = json.loads(meta["model"])
    node, names = model, []
    while True:  # go down a random path
        below = node.items() if isinstance(node, dict) else enumerate(node)
        below = list(below)
        if not below:
            break
        key, value = below[rng.integers(len(below))]
        names.append((node, key))
        if not isinstance(value, dict | list) or rng.random() < 0.05:
            break
        node = value
    for node, key in names[-1:]:
        nested = json.loads("[" * 300 + "]" * 300)
        wrong = [10**30, -1, "os.system", "posix.system", "skae.load", None, [], {}]
        wrong += [{"is": "class", "of": "builtins.eval"}, nested, "12", 1e9, True]
        wrong += [{"is": "same", "of": 3}, {"is": "array", "of": "2"}]
        node[key] = wrong[rng.integers(len(wrong))]
    meta["model"] = json.dumps(model)
    if fix:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        meta["sha256"] = digest(meta["model"], arrays)
    return packed({**header, "__metadata__": meta})

def packed(header):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]

def same(a, b):
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return a == b

kinds = [flip, truncate, lie, long_header, lambda: edit(fix=False)]
files = [kinds[i % 5]() for i in range(n)]
fixed = [edit(fix=True) for i in range(n)]
events = []
for name in ("antigravity.Evil", "os.system"):  # so that all that is needed is there
    try:
        path.write_bytes(data.replace(b"skae._fit.Fit", name.encode()[:13]))
        skae.load(path)
    except skae.exceptions.LoadError:
        pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
watched = {"import", "exec", "compile", "pickle.find_class", "os.system", "os.exec"}
watched |= {"subprocess.Popen", "ctypes.dlopen", "socket.connect", "os.fork", "open"}
on = False

def hook(event, args):
    if on and event in watched and not (event == "open" and str(args[0]) == str(path)):
        events.append((event, args))

sys.addaudithook(hook)
n_loaded = 0
for i, changed in enumerate([*files, *fixed]):
    path.write_bytes(changed)
    on = True
    try:
        loaded = skae.load(path)
    except skae.exceptions.LoadError:
        continue
    finally:
        on = False
    n_loaded += 1
    if i < n:
        assert changed != data and loaded.get_params() == right.get_params()
        weights = right.module_.state_dict()
        for name, weight in loaded.module_.state_dict().items():
            assert torch.equal(weight, weights[name])
assert not events, events[:5]
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(n_loaded, used // 1024)
assert used < 1024 * 1024
"""


def test_a_changed_file_is_an_error_and_runs_nothing(path):
    """Flipped, cut, lied about, edited; also with the checksum of what was edited."""
    command = [sys.executable, "-W", "error", "-c", MUTATIONS, str(path), "200"]
    folder = os.path.dirname(os.path.dirname(skae.__file__))
    env = {**os.environ, "PYTHONPATH": folder}
    subprocess.run(command, env=env, check=True)


# What cannot be stored


def test_only_what_is_fitted_can_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        AutoencoderTransformer().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_lambda_cannot_be_stored(tmp_path):
    model = skae.DenoisingAutoencoder(2, corruption=lambda X, generator: X / 2, **FAST)
    with pytest.raises(ValueError, match=r"DenoisingAutoencoder.corruption=<function"):
        model.fit(table()).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


class Splitter:
    """What is called as an instance, or by a method."""

    def __init__(self, sign):
        self.sign = sign

    def __call__(self, text):
        return text.split(self.sign)

    def split(self, text):
        return self(text)


@pytest.mark.parametrize(
    "analyzer",
    [
        functools.partial(Splitter.split, Splitter(" ")),
        Splitter(" ").split,
        functools.lru_cache(Splitter(" ")),
        CountVectorizer(stop_words="english").build_analyzer(),
    ],
    ids=["partial", "method", "cache", "scikit-learn"],
)
def test_what_calls_another_function_cannot_be_stored(analyzer, tmp_path):
    model = skae.text.KneserNey(analyzer=analyzer).fit(["black cats", "red dogs"])
    with pytest.raises(ValueError, match=r"KneserNey\.analyzer=.*, and instances of"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [list, tuple, set, str])
def test_a_builtin_type_that_is_called_comes_back(kind, tmp_path):
    model = skae.text.KneserNey(analyzer=kind).fit(["black cats", "red dogs"])
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").analyzer is kind


def test_an_instance_that_is_called_comes_back(tmp_path):
    texts = ["black-cats", "red-dogs"]
    model = skae.text.KneserNey(analyzer=Splitter("-")).fit(texts)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", trusted=[Splitter])
    assert_same(model, loaded, texts)
    assert loaded.vocabulary_ == model.vocabulary_


def test_callbacks_are_left_out_with_a_warning(tmp_path):
    stopping = [EarlyStopping("train_loss")]
    model = AutoencoderTransformer(2, **FAST, callbacks=stopping).fit(table())
    with pytest.warns(UserWarning, match=re.escape(f"{stopping} are not stored")):
        model.save(tmp_path / "model")
    assert load(tmp_path / "model").callbacks is None


def test_what_was_watched_can_be_fitted_again(tmp_path):
    model = AutoencoderTransformer(2, **FAST).fit(table())
    model._skl_callbacks = ["a callback of scikit-learn"]
    with pytest.warns(UserWarning, match="callbacks .* are not stored"):
        model.save(tmp_path / "model")
    loaded = load(tmp_path / "model").fit(table())
    np.testing.assert_array_equal(loaded.transform(table()), model.transform(table()))


def test_a_link_stays_and_others_may_read(tmp_path, model):
    (tmp_path / "link").symlink_to(tmp_path / "model")
    model.save(os.fsencode(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "model").stat().st_mode == plain.stat().st_mode
    load(os.fsencode(tmp_path / "link"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "model")


def test_a_class_of_a_notebook_is_known_by_its_name(tmp_path, monkeypatch):
    architecture = skae.architectures.Modules(estimators.Encoder, estimators.decoder)
    model = AutoencoderTransformer(2, max_iter=0, architecture=architecture)
    for kind in (estimators.Encoder, estimators.decoder):
        monkeypatch.setattr(kind, "__module__", "__main__")
    model.fit(table()).save(tmp_path / "model")
    monkeypatch.undo()
    load(tmp_path / "model", trusted=TRUSTED)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(path, model, monkeypatch):
    before = path.read_bytes()

    def no_space(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OSError, match="no space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["model"]


@pytest.mark.parametrize("function", ["save", "load"])
def test_without_the_extra_it_is_named(function, path, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install \"skae\[safetensors\]\""):
        model.save(path) if function == "save" else load(path)


@pytest.mark.parametrize("bad", ["missing", "."])
def test_what_cannot_be_opened_is_an_os_error(bad, tmp_path):
    with pytest.raises(OSError, match=r"missing|directory"):
        load(tmp_path / bad)


def test_a_file_is_replaced_as_a_whole_and_nothing_beside_it(tmp_path):
    model = AutoencoderTransformer(2, max_iter=0).fit(load_iris().data)
    path, beside = tmp_path / "model", tmp_path / "model.partial"
    beside.write_text("mine")
    model.save(path)
    path.chmod(0o600)
    model.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert beside.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [path, beside]
    with pytest.raises(IsADirectoryError):
        model.save(f"{tmp_path / 'folder'}/")


def test_of_several_writers_the_last_one_wins(tmp_path):
    model = AutoencoderTransformer(2, max_iter=0).fit(load_iris().data)
    path = tmp_path / "model"

    def work(_):
        model.save(path)
        return load(path).n_components_

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(40))) == {2}
