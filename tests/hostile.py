"""Bad and odd inputs for every estimator, method and parameter.

A bad one has to end in a ValueError or TypeError whose message names what was wrong,
and leaves an earlier fit as it was. An odd one has to agree with the same thing said
plainly: rows as an array of float64, a number as Python's own, settings at their
defaults. Neither may change its input, a global generator or a setting, warn of what
nobody asked, or hang. New estimators and architectures come from `estimators.py`.

    python tests/hostile.py [--sample N] [--seed S] [--verbose]

prints how the cases of each kind ended, and every failure, and exits with 1 if there
is one.
"""

import argparse
import copy
import inspect
import io
import os
import pickle
import random
import re
import signal
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from contextlib import contextmanager, nullcontext, redirect_stdout
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before anything imports scipy

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
import sklearn
import torch
from estimators import ESTIMATORS
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch import nn

from skae import AutoencoderTransformer
from skae.architectures import MLP, Recurrent

SECONDS = 20  # that a case may take
CLASSES = list({type(e): None for e in ESTIMATORS.values()})
ARCHITECTURES = {type(e.architecture): e.architecture for e in ESTIMATORS.values()}
FITTING = ("fit", "partial_fit", "fit_transform")
HUGE, inf, nan = 10**30, np.inf, np.nan


class Case(NamedTuple):
    """One call of a method, and what should come of it.

    `model` and `other` are functions that return models. `arguments` are expressions,
    in which X is an ordinary table. They have to give the `other` model's result for
    the `plain` ones, or, if there is none, anything finite.
    """

    kind: str
    name: str
    model: Any
    method: str
    arguments: dict[str, str]
    expected: str | None = None
    other: Any = None
    plain: dict[str, Any] = {}  # noqa: RUF012
    setting: Any = nullcontext


class Wrong(Exception):
    """What is wrong with a result."""


class Hang(BaseException):
    """A case takes too long."""


# Running a case


def problems(case):
    """Run a case; return whether it raised, and all that is wrong with it."""
    model, error, found = case.model(), None, []
    before = dict(vars(model))
    codes = model.transform(ROWS) if hasattr(model, "mean_") else None
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(io.StringIO()):
        given = {name: made(text, case) for name, text in case.arguments.items()}
        shown = {name: values(value) for name, value in given.items()}
        warnings.simplefilter("always")
        try:
            with case.setting(), time_limit(), nothing_changes():
                got = result(model, case.method, **given)
            for name in given:
                if values(given[name]) != shown[name]:
                    raise Wrong(f"changes its {name}")
            agree(got, expected_result(case, given, got), tolerance(case, given))
            if case.kind == "rows to fit" and type(model) is AutoencoderTransformer:
                not_worse_than_pca(model, plain(given["X"]))
        except Wrong as wrong:
            found.append(str(wrong))
        except (Exception, Hang) as raised:
            error = raised
    if error is not None:
        found += problems_of_error(error, case.expected)
        if {k: id(v) for k, v in vars(model).items()} != {
            k: id(v) for k, v in before.items()
        }:
            found.append("the error changes attributes")
        elif codes is not None and not np.array_equal(model.transform(ROWS), codes):
            found.append("the error harms the earlier fit")
        return True, found
    if case.expected and case.expected[0] != "?" and not found:
        found.append(f"is accepted; an error should say {case.expected}")
    for warning in caught:
        text = f"{warning.category.__name__}: {warning.message}"
        needed = issubclass(warning.category, ConvergenceWarning)
        if not needed and not re.search(r"feature names|more than \d+ steps", text):
            found.append(text)
    return False, list(dict.fromkeys(found))


def problems_of_error(error, expected):
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if not isinstance(error, ValueError | TypeError):
        return [f"ends in {text}"]
    if expected is None:
        return [f"does not work: {text}"]
    patterns = expected.removeprefix("?").split(" & ")
    missing = [p for p in patterns if not re.search(p, str(error), re.IGNORECASE)]
    return [f"does not say {' & '.join(missing)}: {text}"] if missing else []


def made(text, case):
    base = CODES if case.method == "inverse_transform" else ROWS
    base = VAL_ROWS if text == case.arguments.get("X_val") else base
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # np.matrix is out of fashion
        return eval(text, {**globals(), "X": base.copy()})


def values(odd):
    """Return the values of an input as text."""
    if sp.issparse(odd):
        return repr((odd.nnz, odd.toarray().tolist()))
    return repr(odd.to_numpy() if hasattr(odd, "to_numpy") else odd)


def plain(odd):
    """Return rows as anyone would write them down."""
    if sp.issparse(odd):
        odd = odd.toarray()
    elif isinstance(odd, list) and isinstance(odd[0], torch.Tensor):
        odd = np.array([row.tolist() for row in odd])
    elif isinstance(odd, torch.Tensor):
        odd = odd.tolist()
    rows = np.array(odd, dtype=float)
    return rows.reshape(len(rows), -1)


def result(model, method, **arguments):
    """Return what a method gives; of `fit`, what the model then does."""
    out = getattr(model, method)(**arguments)
    return (model.mean_, model.transform(arguments["X"])) if out is model else out


def expected_result(case, given, got):
    if case.other is None:
        return got
    rows = {name: plain(given[name]) for name in given if name in ("X", "X_val")}
    if "sample_weight" in given:
        weight = np.array(given["sample_weight"], dtype=float)
        rows["sample_weight"] = np.broadcast_to(weight, 24)
    return result(case.other(), case.method, **{**given, **rows, **case.plain})


def tolerance(case, given):
    is_single = "float32" in str(getattr(given.get("X"), "dtype", ""))
    return 1e-3 if is_single or case.method in FITTING else 1e-6


def agree(got, expected, tolerance):
    """Raise Wrong unless two results are the same, and finite."""
    if isinstance(expected, tuple):
        for a, b in zip(got, expected, strict=True):
            agree(a, b, tolerance)
        return
    a, b = np.asarray(got), np.asarray(expected)
    if a.shape != b.shape or a.dtype not in (np.float32, np.float64):
        raise Wrong(f"returns {a.dtype} of shape {a.shape} in place of {b.shape}")
    if not np.isfinite(a).all():
        raise Wrong("returns NaN or infinity")
    difference, size = np.abs(a - b).max(), np.abs(b).max()
    if difference > tolerance * size:
        raise Wrong(f"differs by {difference:.2g} from {size:.2g}")


def not_worse_than_pca(model, X):
    error = model.reconstruction_error(X.reshape(-1, *model.sample_shape_)).mean()
    pca = PCA(2, svd_solver="full").fit(X)
    best = np.square(X - pca.inverse_transform(pca.transform(X))).mean()
    if not model.best_iter_ and error > best * 1.001 + 1e-14 * np.square(X).max():
        raise Wrong(f"has an error of {error:.3g}, and PCA one of {best:.3g}")


@contextmanager
def time_limit():
    def stop(*_):
        raise Hang(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def nothing_changes():
    """Raise Wrong if the block changes what belongs to the whole process."""
    before = global_state()
    yield
    now = global_state()
    if changed := [key for key in before if before[key] != now[key]]:
        raise Wrong(f"changes {', '.join(changed)}")


def global_state():
    return {
        "random": random.getstate(),
        "np.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch.random": torch.get_rng_state().numpy().tobytes(),
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.get_default_device(),
        "the number of threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "anomaly detection": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "np.errstate": np.geterr(),
        "scikit-learn's configuration": sklearn.get_config(),
        "the environment": dict(os.environ),
    }


# Models and methods


def fresh(cls, **params):
    settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    return cls(**{"n_components": 2, **settings, **params})


@cache
def fitted(cls, start):
    return fresh(cls, init=start).fit(ROWS)


def earlier(cls, start="pca", **params):
    """Return a fitted model, with parameters that changed after that."""
    return copy.copy(fitted(cls, start)).set_params(**params)


def methods(cls):
    """Yield the name and the parameters of what an estimator does."""
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        is_ours = method.__module__.startswith("skae") or name in FITTING
        if is_ours and not name.startswith("_"):
            yield name, inspect.signature(method).parameters


def methods_of_rows(cls):
    """Yield methods that take rows, with the flags that make them return more."""
    for name, parameters in methods(cls):
        if "X" in parameters:
            flags = [key for key, p in parameters.items() if p.default is False]
            yield from [(name, {}), *[(name, {flag: "True"}) for flag in flags]]


# Ingredients of the tables


def table(seed, d=4):
    """Return whole numbers, which every type holds."""
    return np.random.RandomState(seed).randint(0, 10, (24, d)).astype(float)


ROWS, VAL_ROWS, CODES = table(0), table(1), table(2, d=2)
WEIGHTS, GROUPS = ROWS[:, 0] % 3 + 1, np.arange(24) // 3


def put(X, value, dtype=float):
    X = X.astype(dtype)
    X[3, 1] = value
    return X


def frame(X, package=pd, **columns):
    names = [f"c{i}" for i in range(X.shape[1])]
    return package.DataFrame({**dict(zip(names, X.T, strict=True)), **columns})


def mapped(X, mode):
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(X.tobytes())
    file.flush()
    return np.memmap(file, mode=mode, dtype=X.dtype, shape=X.shape)


class Subclass(np.ndarray):
    """An array of another type."""


class OnlyArray:
    """An object with values."""

    def __init__(self, X):
        self.X = X

    def __array__(self, dtype=None, copy=None):
        return np.array(self.X, dtype=dtype)


class Function(nn.Module):
    """A network that computes anything."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Changed:
    """An architecture: what a function makes of the networks of another."""

    def __init__(self, change):
        self.change = change

    def build(self, sample_shape, n_components, generator):
        return self.change(*MLP((3,)).build(sample_shape, n_components, generator))


def first(module):
    """Return an architecture that begins with a module or a function."""
    module = module if isinstance(module, nn.Module) else Function(module)
    return Changed(lambda e, d: (nn.Sequential(module, e), d))


def last(function):
    return Changed(lambda e, d: (nn.Sequential(e, Function(function)), d))


def boom(*_, **__):
    raise ValueError("boom")


def on(event, action):
    return [type("Own", (Callback,), {event: lambda self, net, **_: action(net)})()]


def spoil(net):
    torch.nn.utils.vector_to_parameters(torch.full((999,), nan), net.module_.parameters())


# The tables: expressions, and what is expected of them. That is None (to agree) or
# regular expressions, separated by " & ", that the message of an error has to match; a
# "?" before them allows both.

CELL, SHAPE = "column '?c?1", r"\dD|-dim|shape|dim \d|array|sample|feature|column"
NO_TABLE = SHAPE + "|not '|to float"
WIDTH = "features?|columns|n_components_"
# For `fit`, for a fitted model, and for codes.
ODD_ROWS = {
    (None, None, None): """
        X.astype("?"); X.astype("i1"); X.astype("u1"); X.astype("i8"); X.astype("u8");
        X.astype("f2"); X.astype("f4"); X.astype("g"); X.astype("O"); X.astype(">f8");
        X.astype(">i2"); np.vectorize(Decimal, "O")(X); put(X, -0.0); put(X, 1e100);
        put(X, -1e29, "f4"); X * 1e100; X * 1e-100; X + 1e12; 0 * X; X[[1] * 24];
        X * np.logspace(-30, 20, X.shape[1]); X[[0, 1] * 12]; X[:, [0] * X.shape[1]];
        X * (np.arange(X.shape[1]) > 0); np.asfortranarray(X); X.repeat(2, 0)[::2];
        X.repeat(2, 1)[:, ::2]; X[::-1, ::-1]; np.broadcast_to(X[1], X.shape);
        np.frombuffer(X.tobytes()).reshape(X.shape); X.view(Subclass); np.ma.array(X);
        np.frombuffer(b"_" + X.tobytes(), "f8", -1, 1).reshape(X.shape); memoryview(X);
        mapped(X, "r"); mapped(X, "c"); mapped(X, "r+"); OnlyArray(X); X.tolist();
        tuple(map(tuple, X)); list(X); list(torch.tensor(X)); torch.tensor(X);
        torch.tensor(X.T.copy()).T; torch.tensor(X).float(); torch.tensor(X).char();
        X[:2]; X[:3]; X[:9]; X[:10]; X[:11]; frame(X); frame(X, pl); pd.DataFrame(X);
        frame(X.astype("i1"), pl); frame(X).set_index(np.zeros(24));
        frame(X).astype("Float64"); frame(X).astype("Int8"); frame(X > 4);
        frame(X).astype("float[pyarrow]"); frame(X).astype({"c1": "O"}); pd.concat({"a": frame(X)}, axis=1)""",
    (None, None, "sparse"): """
        sp.csr_array(X); sp.csc_array(X); sp.coo_array(X); sp.lil_array(X);
        sp.dok_array(X); sp.bsr_array(X); sp.dia_array(X); sp.csr_matrix(X);
        sp.csr_array(X > 4); sp.csr_array(X, dtype="f4"); sp.csr_array(X.shape);
        frame(X).astype("Sparse[int]");
        sp.coo_array((X.ravel(), np.indices(X.shape).reshape(2, -1)));
        sp.coo_array((np.r_[X[0], X[0]], ([0] * 2 * X.shape[1], [*range(X.shape[1])] * 2)), X.shape)""",
    ("X & too small", None, None): "X * 1e-300; X * 5e-324",
    ("1 sample|n_samples=1", None, None): "X[:1]",
    (None, WIDTH, WIDTH): "np.c_[X, X[:, :1] ** 2]; X[:, 1:]",
    ("n_components", WIDTH, WIDTH): "X[:, :1]",
    ("0 feature", WIDTH, WIDTH): "X[:, :0]; frame(X)[[]]",
    (None, SHAPE, SHAPE): "X.reshape(24, -1, 2)",
    ("?" + SHAPE, SHAPE, SHAPE): "X.reshape(24, 1, -1, 1, 2)",
    ("names", "names", None): 'pd.DataFrame(X).rename(columns={0: "a"})',
    (f"{CELL} & NaN|NA|None", ..., "X & NaN|NA"): """
        put(X, nan); put(X, None, "O"); frame(X, c1=nan); frame(X, pl, c1=[None] * 24)""",
    ("column '?c?[0-3] & NaN|NA", ..., "X & NaN|NA"): """
        frame(X).astype("Int64").mask(X > 8)""",
    (f"{CELL} & inf", ..., "X & inf"): 'put(X, inf); put(X, -inf, "f4")',
    (f"{CELL} & [+]3", ..., "?X & too large"): 'put(X, 1e300); put(X, 3e38, "f4")',
    (f"{CELL} & word", ..., "word"): """
        put(X, "word", "O"); put(X, b"word", "O"); frame(X, c1="word");
        frame(X, pl, c1=["word"] * 24)""",
    (f"{CELL}", ..., "X|float|sequence"): """
        put(X, pd.NA, "O"); put(X, {}, "O"); put(X, [1], "O"); put(X, 10**400, "O");
        frame(X, c1=pd.Timestamp("2020"))""",
    (f"{CELL} & NaN|[+]3", ..., "sparse"): """
        sp.csr_array(put(X, nan)); sp.csc_array(put(X, 1e300))""",
    "length|shape": "[*X.tolist(), [1.0]]; [*X.tolist(), [[1.0]] * X.shape[1]]",
    "0 sample": "X[:0]",
    "None": "None",
    "complex": "X + 0j; frame(X, c1=1j); sp.csr_array(X + 1j)",
    "mask": "np.ma.array(X, mask=X > 8)",
    "matrix": "np.asmatrix(X)",
    "time": 'X.astype("M8[D]"); X.astype("m8[D]")',
    "X|meta|sparse": 'torch.tensor(X).to("meta"); torch.tensor(X).to_sparse()',
    "?'a'": 'pd.DataFrame(X, columns=["a"] * X.shape[1])',
    "'a'|'0.0x'": 'pd.DataFrame(X.astype(str) + "x", columns=["a"] * X.shape[1])',
    "?X|grad|bfloat": "torch.tensor(X).requires_grad_(); torch.tensor(X).bfloat16()",
    "?numeric|text|categor|lazy|arrow": """
        X.astype(str); frame(X).astype("category"); frame(X, pl).to_arrow();
        frame(X, pl).lazy()""",
    NO_TABLE: """
        X[0]; X[0, 0]; 3.0; np.zeros((24, 0, 3)); X.view([("a", float), ("b", float)]);
        frame(X).to_records(); pd.Series(X[:, 0]); pl.Series(X[:, 0]); "data.csv"; b"";
        []; (); {}; {"a": [1]}; {1, 2}; object(); np.ndarray; len; iter(X); (x for x in X); ...;
        slice(3); [None] * 24; sp.coo_array(X[:, 0])""",
    "dict": 'frame(X).to_dict("records")',
}
VECTORS = """v.tolist(); tuple(v); v.astype("i1"); v.astype("O"); v.astype(">f4");
    pd.Series(v, index=v); pd.Series(v, dtype="Int8"); pl.Series(v); torch.tensor(v);
    v.repeat(2)[::2]"""
NO_VECTORS = """v[:-1]; v[:, None]; np.c_[v, v]; []; np.where(v == 1, nan, v); "word";
    np.where(v == 1, None, v); pd.Series(v, dtype="Int8").mask(v == 1); {"a": 1}; len;
    np.ma.array(v, mask=v == 1); iter(v); sp.csr_array(v[None]); np.full(24, "NaT", "M8[D]")"""
# What they are called, and what they are plainly: v.
ARGUMENTS = {
    ("sample_weight", "WEIGHTS"): {
        None: VECTORS + "; 2.0; v > 1; v * (v > 1); np.broadcast_to(v[0], 24)",
        "?sample.weight": "np.arange(24) == 2",
        "sample.weight": NO_VECTORS
        + "; v - 2; 0 * v; v / (v > 1); v + 1j; 1e200 * v; v**70",
    },
    ("groups", "GROUPS"): {
        None: VECTORS
        + """; v.astype(str); v.astype("S"); v.astype("M8[D]"); -v; v.astype("u8");
        [str(x) if x % 2 else int(x) for x in v]; pd.Series([(x, "a") for x in v]);
        pd.Categorical(v.astype(str))""",
        "groups": NO_VECTORS + "; 1; None, 2",
    },
    ("y", "None"): {
        None: (VECTORS + ";" + NO_VECTORS + "; object(); nan").replace("v", "WEIGHTS")
    },
}
SIZES = "hidden_layer_sizes channels "
COUNTS = "batch_size n_iter_no_change n_epochs_kl_warmup segment_length "
FEW = "n_importance_samples n_samples kernel_size stride num_layers hidden_size "
REALS = "alpha tol beta learning_rate_init "
FLAGS = "whiten warm_start verbose tied_weights bidirectional "
WHOLE = COUNTS + FEW + REALS + SIZES + "n_components max_iter random_state verbose "
# Values, and the parameters that take them. All others have to refuse them, by a
# message with both; "?" marks those that may do either.
VALUES = {
    "None": """n_components architecture n_iter_no_change n_epochs_kl_warmup callbacks
        net_params random_state image_shape""",
    "True": FLAGS + "?corruption_level ?" + REALS.replace(" ", " ?"),
    "np.bool_(False)": FLAGS,
    "-1": "",
    "0": "alpha tol beta max_iter random_state verbose corruption_level",
    "1": WHOLE + "corruption_level",
    "3": WHOLE,
    "np.int8(2)": WHOLE,
    "np.int8(100)": WHOLE.replace("n_components", ""),
    "HUGE": COUNTS + "verbose ?n_importance_samples ?max_iter ?num_layers ?" + REALS,
    "0.5": REALS + "n_components validation_fraction corruption_level",
    "np.float32(0.5)": REALS + "n_components validation_fraction corruption_level",
    "1.5": REALS,
    "-0.5": "",
    "1e300": REALS,
    "nan": "",
    "inf": "",
    "-inf": "",
    "1j": "",
    '"x"': "",
    '""': "",
    '"auto"': "batch_size max_iter validation_fraction device n_epochs_kl_warmup "
    + "segment_length ?hidden_layer_sizes",
    'b"x"': "",
    "[]": "callbacks hidden_layer_sizes",
    "()": "callbacks hidden_layer_sizes",
    "(2,)": SIZES,
    "[0]": "",
    "(2.5,)": "",
    '["a"]': "",
    "np.array([2, 1])": SIZES + "?image_shape",
    "np.array(2)": "?" + WHOLE.replace(" ", " ?"),
    "torch.tensor(2)": "?" + WHOLE.replace(" ", " ?"),
    "{}": "net_params",
    '{"a": 1}': "",
    "object()": "",
    "int": "",
    "np.random.default_rng(0)": "",
    "np.random.RandomState(0)": "random_state",
}
NETWORKS = "architecture|encoder|decoder|networks"
# Parameters, what is expected, values, and values to agree with.
OBJECTS = [
    ("architecture", NETWORKS, """
        Changed(lambda e, d: None); Changed(lambda e, d: e);
        Changed(lambda e, d: (e, d, d)); Changed(lambda e, d: "ab");
        Changed(lambda e, d: (None, d)); Changed(lambda e, d: (e, d.forward));
        Changed(lambda e, d: (d, e)); Changed(lambda e, d: (e.to("meta"), d.to("meta")));
        Changed(lambda e, d: (e.requires_grad_(False), d.requires_grad_(False)));
        Changed(lambda e, d: (e.to(torch.complex64), d));
        last(lambda z: torch.cat([z, z], 1)); last(lambda z: z[1:]);
        last(lambda z: (z, z)); last(lambda z: z.detach().numpy());
        last(lambda z: z.to(torch.complex64)); last(lambda z: z * nan);
        first(lambda x: torch.where(x == 0, x, nan)); object(); MLP; torch;
        type("", (), {"build": 3})()"""),
    ("architecture", "boom", "Changed(boom); first(boom); last(boom)"),
    ("architecture", None, """
        Changed(lambda e, d: (e.requires_grad_(False), d)); first(nn.BatchNorm1d(4));
        first(nn.Dropout());
        Changed(lambda e, d: (nn.LazyLinear(e[-1].out_features), d))"""),
    ("architecture", None, """
        Changed(lambda e, d: (e.double(), d.double()));
        Changed(lambda e, d: (torch.rand(2), (e, d))[1]);
        Changed(cache(lambda *_: MLP((3,)).build((4,), 2, torch.Generator())));
        last(lambda z: z + 0 * torch.rand_like(z));
        last(lambda z: z if z.sum() > 0 else z)""", "Changed(lambda e, d: (e, d))"),
    ("architecture", None, "first(lambda x: x.add_(1))", "first(lambda x: x + 1)"),
    ("architecture", None, "first(nn.ReLU(inplace=True))", "first(nn.ReLU())"),
    ("corruption", "corruption", """
        lambda X, g: None; lambda X, g: X[1:]; lambda X, g: X.numpy();
        lambda X, g: X * nan; lambda X, g: X + 1j; lambda X, g: X.to("meta");
        lambda X: X; lambda X, g, level: X; dict; lambda X, g: 3"""),
    ("corruption", "boom", "boom"),
    ("corruption", None, """
        lambda X, g: X.double(); lambda X, g: X + 0 * torch.rand_like(X);
        lambda X, g: (X + 0, X.zero_())[0]""", "lambda X, g: X"),
    ("corruption", None, "lambda X, g: X.add_(1)", "lambda X, g: X + 1"),
    ("callbacks", "boom", """
        on("on_train_begin", boom); on("on_epoch_begin", boom);
        on("on_batch_begin", boom); on("on_batch_end", boom);
        on("on_grad_computed", boom); on("on_epoch_end", boom);
        on("on_train_end", boom)"""),
    ("callbacks", None, 'on("on_epoch_end", spoil); on("on_batch_end", spoil)'),
    ("callbacks", "callbacks", """
        [1]; ["print_log"]; [None]; [Callback]; [("a", 1)]; [len]; Callback()"""),
    ("net_params", "net_params", """
        {"lr": 1}; {"module": nn.Linear}; {"criterion": nn.L1Loss}; {"no_such": 1};
        {1: 2}; {"optimizer": "sgd"}; {"optimizer": None}; {"optimizer": int};
        {"optimizer": torch.optim.LBFGS}; {"optimizer": torch.optim.SparseAdam};
        {"optimizer__no_such": 1}; {"optimizer__betas": (2, 2)}; {"train_split": None};
        {"callbacks": []}; {"callbacks__print_log": None}; {"warm_start": True};
        {"iterator_train__shuffle": True}; {"keep_best": False}"""),
    ("random_state", "random_state", """
        np.random; random; random.Random(0); torch.Generator(); [1, 2]; 2**32"""),
    ("device", "device", 'torch.device("meta"); "meta"; "cuda:99"; 0; "cpu:x"'),
    ("device", None, 'torch.device("cpu"); "cpu"', '"auto"'),
    ("likelihood", "column & bernoulli", '"bernoulli"'),
]
ODD_SERIES = {
    None: """[row[: 2 + i % 3] for i, row in enumerate(X)]; [list(row) for row in X];
        list(X[..., None]); np.where(np.arange(4) > 2, nan, X); X[..., None]""",
    "row 3 & NaN": "put(X, nan)",
    "row 9": "[*X[:9], []]; [*X[:9], [nan] * 4]; [*X[:9], 3.0]; [*X[:9], None]",
    "row 24": "[*X[..., None], np.zeros((4, 2))]",
    "inf": "np.where(np.arange(4) > 2, inf, X)",
    "row 9|'a'": '[*X[:9], ["a", "b"]]',
}


@contextmanager
def switched(switch, value, back):
    switch(value)
    try:
        yield
    finally:
        switch(back)


@contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SETTINGS = """torch.no_grad(); torch.inference_mode(); torch.device("meta");
    torch.autocast("cpu", torch.bfloat16); np.errstate(all="raise");
    switched(torch.set_default_dtype, torch.float64, torch.float32);
    switched(torch.set_default_dtype, torch.bfloat16, torch.float32);
    switched(torch.set_default_dtype, torch.float16, torch.float32);
    switched(torch.set_num_threads, 3, torch.get_num_threads());
    switched(torch.use_deterministic_algorithms, True, False);
    switched(torch.autograd.set_detect_anomaly, True, False);
    switched(torch.set_flush_denormal, True, False); warnings_as_errors();
    sklearn.config_context(transform_output="pandas");
    sklearn.config_context(transform_output="polars");
    sklearn.config_context(assume_finite=True);
    sklearn.config_context(skip_parameter_validation=True);
    sklearn.config_context(array_api_dispatch=True);
    sklearn.config_context(enable_metadata_routing=True)"""


# From the tables to cases


def split(text):
    return [part.strip() for part in text.split(";")]


def entries(table):
    """Yield each expression of a table, and what is expected of it."""
    for expected, text in table.items():
        yield from ((expression, expected) for expression in split(text))


def expected_of_rows(expected, role):
    """Return what is expected of rows to "fit", of others ("use"), and of codes."""
    if not isinstance(expected, tuple):
        return expected
    fit, use, codes = expected
    return {"fit": fit, "use": fit if use is ... else use, "codes": codes}[role]


def row_cases(cls):
    for i, (text, expected) in enumerate(entries(ODD_ROWS)):
        fitted = partial(earlier, cls, ("pca", "random")[i % 2])
        new, of = partial(fresh, cls), partial(expected_of_rows, expected)
        for method, flags in methods_of_rows(cls):
            name, arguments = f"{cls.__name__}.{method}({text})", {"X": text, **flags}
            if method in FITTING:
                yield Case("rows to fit", name, new, method, arguments, of("fit"), new)
            if method == "partial_fit":
                words = of("use") or "?too (large|small)"
                case = "rows to go on with", f"fit().{name}", fitted, method, arguments
                yield Case(*case, words, fitted)
            if method not in FITTING:
                words = of("codes" if method == "inverse_transform" else "use")
                yield Case("rows to use", name, fitted, method, arguments, words, fitted)
        words = of("use") and re.sub("^[?]?", r"\g<0>X_val & ", of("use"))
        name, arguments = f"{cls.__name__}.fit(X_val={text})", {"X": "X", "X_val": text}
        yield Case("X_val", name, new, "fit", arguments, words, new)
    for text, expected in entries(ODD_SERIES):
        new = partial(fresh, cls, architecture=Recurrent(hidden_size=2))
        name = f"{cls.__name__}(Recurrent()).fit({text})"
        yield Case("series", name, new, "fit", {"X": text}, expected)


def argument_cases(cls):
    for (argument, said), rows in ARGUMENTS.items():
        for text, expected in entries(rows):
            text = re.sub(r"\bv\b", said, text)
            for method, parameters in methods(cls):
                if argument in parameters:
                    name = f"{cls.__name__}.{method}({argument}={text})"
                    fitted = partial(earlier, cls)
                    plain = {} if said == "WEIGHTS" else {argument: eval(said)}
                    case = "arguments", name, fitted, method, {"X": "X", argument: text}
                    yield Case(*case, expected, fitted, plain)


def expected_of_value(name, text):
    value, known = eval(text), " ".join(VALUES.values()).replace("?", "").split()
    shown = "|".join(re.escape(show(value)) for show in (repr, str))
    takes, words = VALUES[text].split(), f"{name} & {shown}"
    words = name if " at 0x" in shown else words
    if name in takes:
        return None
    return words if name in known and f"?{name}" not in takes else f"?{words}"


def value_cases(cls):
    """Yield each parameter of estimators, architectures and methods, and each value."""
    arguments = {"self", "X", "X_val", *(name for name, _ in ARGUMENTS)}
    for i, text in enumerate(VALUES):
        for name in inspect.signature(cls).parameters:
            method = "partial_fit" if i % 2 and name != "n_components" else "fit"
            yield value_case(cls, method, name, text)
        for method, parameters in methods(cls):
            for name in parameters.keys() - arguments if method not in FITTING else ():
                rows = {"X": "X"} if "X" in parameters else {}
                what = f"{cls.__name__}.{method}({name}={text})"
                case = "parameters of methods", what, partial(earlier, cls), method
                yield Case(*case, {**rows, name: text}, expected_of_value(name, text))
        for architecture in filter(None, ARCHITECTURES.values()):
            for name in inspect.signature(type(architecture)).parameters:
                if cls is CLASSES[0]:
                    yield value_case(cls, "fit", name, text, architecture)


def value_case(cls, method, name, text, architecture=None):
    def params(value):
        if architecture is None:
            return {name: value}
        return {"architecture": clone(architecture).set_params(**{name: value})}

    value, other = eval(text), None
    if isinstance(value, np.number):
        other = partial(fresh, cls, **params(value.item()))
    new = partial(earlier if method == "fit" else fresh, cls, **params(value))
    kind = "parameters of architectures" if architecture else "parameters"
    what = f"{type(architecture).__name__ if architecture else cls.__name__}({name}={text})"
    case = kind, f"{what}, {method}", new, method, {"X": "X"}
    return Case(*case, expected_of_value(name, text), other)


def object_cases(cls):
    for name, expected, texts, *same in OBJECTS:
        for text in split(texts) if name in inspect.signature(cls).parameters else ():
            new = partial(earlier, cls, **{name: eval(text)})
            other = partial(fresh, cls, **{name: eval(same[0])}) if same else None
            case = "objects", f"{cls.__name__}({name}={text})", new, "fit", {"X": "X"}
            yield Case(*case, expected, other)


def state_cases(cls):
    """Yield settings of the process, methods before a fit, and changes after one."""
    for i, (method, flags) in enumerate(methods_of_rows(cls)):
        name, arguments = f"{cls.__name__}.{method}({flags or ''})", {"X": "X", **flags}
        fitted = partial(earlier, cls, ("pca", "random")[i % 2])
        for text in split(SETTINGS):
            case = "settings", f"{name}, {text}", fitted, method, arguments, None, fitted
            yield Case(*case, setting=partial(eval, text, globals()))
        if method not in FITTING:
            case = "before fit", name, partial(fresh, cls), method, arguments
            yield Case(*case, "not fitted")
            for changed in inspect.signature(cls).parameters:
                odd = partial(earlier, cls, ("pca", "random")[i % 2], **{changed: object()})
                case = "after fit", f"{name}, {changed}", odd, method, arguments, None
                yield Case(*case, fitted)


def all_cases():
    for cls in CLASSES:
        for make in (row_cases, argument_cases, value_cases, object_cases, state_cases):
            yield from make(cls)


def run(sample=None, seed=0, verbose=False):
    """Run all cases, or some; print the counts and the failures, and return these."""
    cases = list(all_cases())
    if sample is not None:
        cases = random.Random(seed).sample(cases, sample)
    counts, failures = defaultdict(Counter), defaultdict(list)
    for case in cases:
        if verbose:
            print(case.kind, case.name, sep=": ", flush=True)
        raised, found = problems(case)
        counts[case.kind]["failed" if found else "named" if raised else "agreed"] += 1
        for problem in found:
            failures[problem].append(case.name)
    for problem, names in failures.items():
        print(f"{names[0]} {problem}", f"({len(names)} such)" * (len(names) > 1))
        for name in names[1:]:
            print(f"    {name}")
    print(f"{'':28}{'named':>8}{'agreed':>8}{'failed':>8}")
    for kind, count in [*counts.items(), ("in all", sum(counts.values(), Counter()))]:
        print(f"{kind:28}", *(f"{count[key]:7}" for key in ("named", "agreed", "failed")))
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sample", type=int, help="run so many, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--verbose", action="store_true", help="name every case")
    return bool(run(**vars(parser.parse_args())))


if __name__ == "__main__":
    sys.exit(main())
