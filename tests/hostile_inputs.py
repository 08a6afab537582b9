"""What `hostile.py` tries: tables of expressions, and what is expected of them.

Expressions are separated by ";". In those of rows, X is an ordinary table; in those of
arguments, v is the ordinary vector. What is expected of one is None, to agree with the
same thing said plainly, or regular expressions, separated by " & ", all of which the
message of the error has to match. "?" before them allows both.
"""

# ruff: noqa: F401 - expressions use the imports

import random
import tempfile
import warnings
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
import sklearn
import torch
from skorch.callbacks import Callback
from torch import nn

from skae.architectures import MLP

HUGE, inf, nan = 10**30, np.inf, np.nan


def table(seed, d=4):
    """Return whole numbers, which every type holds."""
    return np.random.RandomState(seed).randint(0, 10, (24, d)).astype(float)


ROWS, VAL_ROWS, CODES = table(0), table(1), table(2, d=2)
WEIGHTS, GROUPS = ROWS[:, 0] % 3 + 1, np.arange(24) // 3


# Rows


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


CELL, WIDTH = "column '?c?1", "features?|columns|n_components_"
SHAPE = r"\dD|-dim|shape|dim \d|array|sample|feature|column"
# What is expected of rows to fit, to use and of codes (...: as of rows to use).
ODD_ROWS = {
    (None, None, ...): """
        X.astype("?"); X.astype("i1"); X.astype("u1"); X.astype("i8"); X.astype("u8");
        X.astype("f2"); X.astype("f4"); X.astype("g"); X.astype("O"); X.astype(">f8");
        X.astype(">i2"); np.vectorize(Decimal, "O")(X); put(X, -0.0); put(X, 1e100);
        put(X, -1e29, "f4"); X * 1e100; X * 1e-100; X + 1e12; 0 * X; X[[1] * 24];
        X * np.logspace(-30, 20, X.shape[1]); X[[0, 1] * 12]; X[:, [0] * X.shape[1]];
        X * (np.arange(X.shape[1]) > 0); np.asfortranarray(X); X.repeat(2, 0)[::2];
        X.repeat(2, 1)[:, ::2]; X[::-1, ::-1]; np.broadcast_to(X[1], X.shape);
        np.frombuffer(X.tobytes()).reshape(X.shape); X.view(np.recarray); memoryview(X);
        np.frombuffer(b"_" + X.tobytes(), "f8", -1, 1).reshape(X.shape); np.ma.array(X);
        mapped(X, "r"); mapped(X, "c"); mapped(X, "r+"); X.tolist(); list(X);
        tuple(map(tuple, X)); SimpleNamespace(__array__=lambda *_, **__: X.copy());
        torch.tensor(X); list(torch.tensor(X)); torch.tensor(X.T.copy()).T;
        torch.tensor(X).float(); torch.tensor(X).char(); X[:2]; X[:3]; X[:9]; X[:10];
        X[:11]; frame(X); frame(X, pl); pd.DataFrame(X); frame(X.astype("i1"), pl);
        frame(X).set_index(np.zeros(24)); frame(X).astype("Float64"); frame(X > 4);
        frame(X).astype("Int8"); frame(X).astype("float[pyarrow]");
        frame(X).astype({"c1": "O"}); pd.concat({"a": frame(X)}, axis=1)""",
    (None, None, "sparse"): """
        sp.csr_array(X); sp.csc_array(X); sp.coo_array(X); sp.lil_array(X);
        sp.dok_array(X); sp.bsr_array(X); sp.dia_array(X); sp.csr_matrix(X);
        sp.csr_array(X > 4); sp.csr_array(X, dtype="f4"); sp.csr_array(X.shape);
        sp.coo_array((X.ravel(), np.indices(X.shape).reshape(2, -1)));
        sp.coo_array((np.r_[X[0], X[1]], np.indices(X.shape)[:, [0, 0]].reshape(2, -1)),
        X.shape); frame(X).astype("Sparse[int]")""",
    ("X & too small", None, None): "X * 1e-300; X * 5e-324",
    ("1 sample|n_samples=1", None, None): "X[:1]",
    (None, WIDTH, WIDTH): "np.c_[X, X[:, :1] ** 2]; X[:, 1:]",
    ("n_components", WIDTH, WIDTH): "X[:, :1]",
    ("0 feature", WIDTH, WIDTH): "X[:, :0]; frame(X)[[]]",
    (None, SHAPE, SHAPE): "X.reshape(24, -1, 2)",
    ("?" + SHAPE, SHAPE, SHAPE): "X.reshape(24, 1, -1, 1, 2)",
    ("names", "names", None): 'pd.DataFrame(X).rename(columns={0: "a"})',
    (f"{CELL} & NaN|NA|None", ..., "X & NaN|NA"): """
        put(X, nan); put(X, None, "O"); put(X, pd.NA, "O"); frame(X, c1=nan);
        frame(X, pl, c1=[None] * 24)""",
    ("column '?c?[0-3] & NaN|NA", ..., "X & NaN|NA"): """
        frame(X).astype("Int64").mask(X > 8)""",
    (f"{CELL} & inf", ..., "X & inf"): 'put(X, inf); put(X, -inf, "f4")',
    (f"{CELL} & [+]3", ..., "?X & too large"): 'put(X, 1e300); put(X, 3e38, "f4")',
    (f"{CELL} & word", ..., "word"): """
        put(X, "word", "O"); put(X, b"word", "O"); frame(X, c1="word");
        frame(X, pl, c1=["word"] * 24)""",
    (CELL, ..., "X|float|sequence"): """
        put(X, {}, "O"); put(X, [1], "O"); put(X, 10**400, "O");
        frame(X, c1=pd.Timestamp("2020"))""",
    (f"{CELL} & NaN|[+]3", ..., "sparse"): """
        sp.csr_array(put(X, nan)); sp.csc_array(put(X, 1e300))""",
    "length|shape": "[*X.tolist(), [1.0]]; [*X.tolist(), [[1.0]] * X.shape[1]]",
    "0 sample": "X[:0]",
    "None": "None",
    "complex": "X + 0j; frame(X, c1=1j); sp.csr_array(X + 1j)",
    "mask": "np.ma.array(X, mask=X > 8)",
    "matrix": "np.asmatrix(X)",
    "time": 'X.astype("M8[D]")',
    "?time": 'X.astype("m8[D]")',
    "dict": 'frame(X).to_dict("records")',
    "X|meta|sparse": 'torch.tensor(X).to("meta"); torch.tensor(X).to_sparse()',
    "'a'|'0.0x'": 'pd.DataFrame(X.astype(str) + "x", columns=["a"] * X.shape[1])',
    "?'a'": 'pd.DataFrame(X, columns=["a"] * X.shape[1])',
    "?X|grad|bfloat": "torch.tensor(X).requires_grad_(); torch.tensor(X).bfloat16()",
    "?numeric|text|categor|arrow": """
        X.astype(str); frame(X).astype("category"); frame(X, pl).to_arrow()""",
    SHAPE + "|not '|to float|sequence|lazy": """
        X[0]; X[0, 0]; 3.0; np.zeros((24, 0, 3)); X.view([("a", float), ("b", float)]);
        frame(X).to_records(); pd.Series(X[:, 0]); pl.Series(X[:, 0]); "data.csv"; b"";
        []; (); {}; {"a": [1]}; {1, 2}; object(); np.ndarray; len; iter(X); slice(3);
        (x for x in X); ...; [None] * 24; sp.coo_array(X[:, 0]); frame(X, pl).lazy()""",
}
ODD_SERIES = {
    None: """[row[: 2 + i % 3] for i, row in enumerate(X)]; [list(row) for row in X];
        list(X[..., None]); np.where(np.arange(4) > 2, nan, X); X[..., None]""",
    "row 3 & NaN": "put(X, nan)",
    "row 9": "[*X[:9], []]; [*X[:9], [nan] * 4]; [*X[:9], 3.0]; [*X[:9], None]",
    "row 24": "[*X[..., None], np.zeros((4, 2))]",
    "row 9|'a'": '[*X[:9], ["a", "b"]]',
    "inf": "np.where(np.arange(4) > 2, inf, X)",
}

# Other arguments

VECTORS = """v.tolist(); tuple(v); v.astype("i1"); v.astype("O"); v.astype(">f4");
    pd.Series(v, index=v); pd.Series(v, dtype="Int8"); pl.Series(v); torch.tensor(v);
    v.repeat(2)[::2]"""
NO_VECTORS = """v[:-1]; v[:, None]; np.c_[v, v]; []; np.where(v == 1, nan, v); "word";
    np.where(v == 1, None, v); pd.Series(v, dtype="Int8").mask(v == 1); {"a": 1}; len;
    np.ma.array(v, mask=v == 1); iter(v); sp.csr_array(v[None]);
    np.full(24, "NaT", "M8[D]")"""
ODD_ARGUMENTS = {
    ("sample_weight", "WEIGHTS"): {
        None: VECTORS + "; 2.0; v > 1; v * (v > 1); np.broadcast_to(v[0], 24)",
        "?sample.weight": "np.arange(24) == 2",
        "sample.weight": NO_VECTORS
        + "; v - 2; 0 * v; np.where(v == 1, inf, v); v + 1j; 1e200 * v; v**70",
    },
    ("groups", "GROUPS"): {
        None: VECTORS
        + """; v.astype(str); v.astype("S"); v.astype("M8[D]"); -v; v.astype("u8");
        [str(x) if x % 2 else int(x) for x in v]; pd.Series([(x, "a") for x in v]);
        pd.Categorical(v.astype(str))""",
        "groups": NO_VECTORS + "; 1; (None, 2)",
    },
    ("y", "None"): {
        None: f"{VECTORS}; {NO_VECTORS}; object(); nan".replace("v", "WEIGHTS")
    },
}

# Parameters

SIZES = "hidden_layer_sizes channels discriminator_hidden_layer_sizes "
COUNTS = """batch_size n_iter_no_change n_epochs_kl_warmup segment_length n_neighbors
    n_oversamples iterated_power patch_size """
FEW = """n_importance_samples n_samples kernel_size stride num_layers hidden_size
    n_layers feedforward_dim embedding_rank n_gibbs_steps """
REALS = """alpha code_noise tol beta learning_rate_init rbm_learning_rate ridge_alpha
    adversarial_weight gradient_penalty """
FLAGS = """whiten warm_start verbose tied_weights bidirectional copy ordered
    linear_encoder share_layers persistent """
WHOLE = COUNTS + FEW + REALS + SIZES
WHOLE += "n_components n_clusters max_iter random_state verbose pretrain_max_iter "
WHOLE += "transform_max_iter "
SHARES = REALS + "n_components validation_fraction corruption_level contamination "
SHARES += "shrinkage momentum "
REFUSING = """init activation code_activation cell corruption likelihood latent_prior
    prior encoder decoder svd_solver power_iteration_normalizer"""
# Values, and who takes them. Others of these parameters have to refuse them by name,
# and show the value. "?" marks those that may do either, as all others may.
VALUES = {
    "None": """n_components architecture y_architecture n_iter_no_change callbacks
        n_clusters n_epochs_kl_warmup net_params random_state image_shape n_neighbors
        feedforward_dim embedding_rank""",
    # scikit-learn takes True for 1, too.
    "True": FLAGS
    + "?corruption_level ?shrinkage ?n_heads "
    + WHOLE.replace(" ", " ?").replace("?verbose", ""),
    "np.bool_(False)": FLAGS,
    "0": """alpha code_noise tol beta max_iter random_state verbose corruption_level
        contamination iterated_power ?n_components shrinkage ridge_alpha dropout
        adversarial_weight gradient_penalty pretrain_max_iter momentum
        transform_max_iter""",
    "1": WHOLE + "corruption_level shrinkage n_heads",
    "3": WHOLE,
    "np.int8(2)": WHOLE + "n_heads embed_dim",
    "np.int8(100)": WHOLE.replace("n_components n_clusters", "embed_dim"),
    "np.array(2)": "?" + WHOLE.replace(" ", " ?"),
    "torch.tensor(2)": "?" + WHOLE.replace(" ", " ?"),
    "HUGE": COUNTS + "verbose ?" + (FEW + REALS).replace(" ", " ?"),
    "0.5": SHARES + "dropout",
    "np.float32(0.5)": SHARES + "dropout",
    "1.5": REALS,
    "1e300": REALS.replace("beta", "")
    .replace("rbm_learning_rate", "")
    .replace("adversarial_weight", "")
    .replace("gradient_penalty", ""),
    '"auto"': """batch_size max_iter validation_fraction device n_epochs_kl_warmup
        segment_length ?hidden_layer_sizes alpha iterated_power svd_solver
        power_iteration_normalizer shrinkage ridge_alpha ?patch_size persistent
        transform_max_iter""",
    "[]": "callbacks hidden_layer_sizes discriminator_hidden_layer_sizes",
    "()": "callbacks hidden_layer_sizes discriminator_hidden_layer_sizes",
    "(2,)": SIZES,
    "np.array([2, 1])": SIZES + "?image_shape",
    "{}": "net_params",
    "np.random.RandomState(0)": "random_state",
    **dict.fromkeys(
        ["-1", "-0.5", "nan", "inf", "-inf", "1j", '"x"', '""', 'b"x"'], ""
    ),
    **dict.fromkeys(["[0]", "(2.5,)", '["a"]', '{"a": 1}', "object()", "int"], ""),
    "np.random.default_rng(0)": "",
}
TOO_LONG = {
    "max_iter",
    "pretrain_max_iter",
    "transform_max_iter",
    "n_gibbs_steps",
    "num_layers",
    "n_layers",
}  # for HUGE ones


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def own(networks):
    """Return an architecture: networks as a function of two widths."""
    return SimpleNamespace(build=lambda shape, k, generator: networks(shape[0], k))


def pair(d, k):
    return MLP((3,)).build((d,), k, torch.Generator().manual_seed(k))


def changed(change):
    return own(lambda d, k: change(*pair(d, k)))


def first(module):
    """Return an architecture that begins with a module or a function."""
    module = module if isinstance(module, nn.Module) else Function(module)
    return changed(lambda e, d: (nn.Sequential(module, e), d))


def last(function):
    return changed(lambda e, d: (nn.Sequential(e, Function(function)), d))


def boom(*_, **__):
    raise ValueError("boom")


def on(event, action):
    """Return callbacks that act on an event."""
    return [type("Own", (Callback,), {event: lambda self, net, **_: action(net)})()]


def spoil(net):
    for parameter in net.module_.parameters():
        parameter.data.fill_(nan)


NETWORKS = "architecture|encoder|decoder|networks"
# Parameter, what is expected, values, and a value to agree with.
OBJECTS = [
    (
        "architecture",
        NETWORKS,
        """changed(lambda e, d: None); changed(lambda e, d: e); object(); MLP; torch;
        changed(lambda e, d: (e, d, d)); changed(lambda e, d: "ab");
        changed(lambda e, d: (None, d)); changed(lambda e, d: (e, d.forward));
        changed(lambda e, d: (d, e)); SimpleNamespace(build=3);
        changed(lambda e, d: (e.to("meta"), d.to("meta")));
        changed(lambda e, d: (e.to(torch.complex64), d));
        changed(lambda e, d: (e.requires_grad_(False), d.requires_grad_(False)));
        last(lambda z: torch.cat([z, z], 1)); last(lambda z: z[1:]);
        last(lambda z: (z, z)); last(lambda z: z.detach().numpy());
        last(lambda z: z.to(torch.complex64)); last(lambda z: z * nan);
        first(lambda x: torch.where(x == 0, x, nan))""",
    ),
    ("architecture", "boom", "own(boom); first(boom); last(boom)"),
    (
        "architecture",
        None,
        """changed(lambda e, d: (e.requires_grad_(False), d)); first(nn.Dropout());
        first(nn.BatchNorm1d(4)); last(lambda z: z if z.sum() > 0 else z);
        changed(lambda e, d: (nn.LazyLinear(e[-1].out_features), d))""",
    ),
    (
        "architecture",
        None,
        """own(cache(pair)); changed(lambda e, d: (e.double(), d.double()));
        changed(lambda e, d: (torch.rand(2), (e, d))[1]);
        last(lambda z: z + 0 * torch.rand_like(z))""",
        "own(pair)",
    ),
    (
        "architecture",
        f"?{NETWORKS}",
        "first(lambda x: x.add_(1))",
        "first(lambda x: x + 1)",
    ),
    (
        "architecture",
        f"?{NETWORKS}",
        "first(nn.ReLU(inplace=True))",
        "first(nn.ReLU())",
    ),
    (
        "corruption",
        "corruption",
        """lambda X, g: None; lambda X, g: X[1:]; lambda X, g: X.numpy(); dict;
        lambda X, g: X * nan; lambda X, g: X + 1j; lambda X, g: X.to("meta");
        lambda X: X; lambda X, g, level: X; lambda X, g: 3""",
    ),
    ("corruption", "boom", "boom"),
    (
        "prior",
        "prior",
        """lambda n, g: None; lambda n, g: 3; lambda n, g: torch.zeros(n); dict; int;
        lambda n, g: torch.zeros(n + 1, 2); lambda n: torch.zeros(n, 2); object();
        lambda n, g: torch.full((n, 2), nan); lambda n, g: torch.zeros(n, 2) + 1j;
        lambda n, g: [["a", "b"]] * n""",
    ),
    ("prior", "boom", "boom"),
    (
        "corruption",
        None,
        """lambda X, g: X.double(); lambda X, g: X + 0 * torch.rand_like(X);
        lambda X, g: (X + 0, X.zero_())[0]""",
        "lambda X, g: X",
    ),
    ("corruption", None, "lambda X, g: X.add_(1)", "lambda X, g: X + 1"),
    (
        "callbacks",
        "boom",
        """on("on_train_begin", boom); on("on_epoch_begin", boom);
        on("on_batch_begin", boom); on("on_grad_computed", boom);
        on("on_batch_end", boom); on("on_epoch_end", boom); on("on_train_end", boom)""",
    ),
    ("callbacks", None, 'on("on_epoch_end", spoil); on("on_batch_end", spoil)'),
    (
        "callbacks",
        "callbacks",
        '[1]; ["print_log"]; [None]; [Callback]; [("a", 1)]; [len]; Callback()',
    ),
    (
        "net_params",
        "net_params",
        """{"lr": 1}; {"module": nn.Linear}; {"criterion": nn.L1Loss}; {"no_such": 1};
        {1: 2}; {"optimizer": "sgd"}; {"optimizer": None}; {"optimizer": int};
        {"optimizer": torch.optim.LBFGS}; {"optimizer": torch.optim.SparseAdam};
        {"optimizer__no_such": 1}; {"optimizer__betas": (2, 2)}; {"train_split": None};
        {"callbacks": []}; {"warm_start": True}; {"iterator_train__shuffle": True};
        {"keep_best": False}""",
    ),
    (
        "random_state",
        "random.state",
        "np.random; random; random.Random(0); torch.Generator(); [1, 2]; 2**32",
    ),
    ("device", "device", 'torch.device("meta"); "meta"; "cuda:99"; 0; "cpu:x"'),
    ("device", None, 'torch.device("cpu"); "cpu"', '"auto"'),
    ("likelihood", "column & bernoulli", '"bernoulli"'),
]

# Settings of the process


@contextmanager
def switched(switch, value, back):
    switch(value)
    try:
        yield
    finally:
        switch(back)


def dtype(value):
    return switched(torch.set_default_dtype, value, torch.float32)


config = sklearn.config_context
SETTINGS = """torch.no_grad(); torch.inference_mode(); torch.device("meta");
    torch.autocast("cpu", torch.bfloat16); np.errstate(all="raise");
    dtype(torch.float64); dtype(torch.bfloat16); dtype(torch.float16);
    switched(warnings.simplefilter, "error", "always");
    switched(torch.set_num_threads, 3, torch.get_num_threads());
    switched(torch.use_deterministic_algorithms, True, False);
    switched(torch.autograd.set_detect_anomaly, True, False);
    switched(torch.set_flush_denormal, True, False); config(assume_finite=True);
    config(transform_output="pandas"); config(transform_output="polars");
    config(skip_parameter_validation=True); config(array_api_dispatch=True);
    config(enable_metadata_routing=True)"""
