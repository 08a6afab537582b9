"""Bad and odd inputs for every estimator, method and parameter.

A bad one has to end in a ValueError or TypeError whose message names what was wrong,
and leave an earlier fit as it was. An odd one has to agree with the same thing said
plainly: rows as an array of float64, a number as Python's own, settings at their
defaults. Neither may change its input, a global generator or a setting, warn of what
nobody asked, or hang. `hostile_inputs.py` has the inputs; estimators and architectures
come from `estimators.py`.

    python tests/hostile.py [--sample N] [--seed S] [--verbose]

prints how the cases of each kind ended and every failure, and exits with 1 if any.
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
import warnings
from collections import Counter, defaultdict
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import cache, partial
from typing import Any, NamedTuple

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before anything imports scipy

import hostile_inputs as inputs
import numpy as np
import pandas as pd
import scipy.sparse as sp
import sklearn
import torch
from estimators import ESTIMATORS, TWO_VIEWS
from hostile_inputs import CODES, ROWS, VAL_ROWS
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from skae import (
    AutoencoderTransformer,
    ContrastiveAutoencoder,
    DeepBeliefAutoencoder,
    EncoderDecoder,
)
from skae._views import TwoViewEstimator
from skae.architectures import Recurrent

SECONDS = 20  # that a case may take
CLASSES = list({type(e): None for e in (*ESTIMATORS.values(), *TWO_VIEWS.values())})
ARCHITECTURES = {type(e.architecture): e.architecture for e in ESTIMATORS.values()}
FITTING, STARTS = ("fit", "partial_fit", "fit_transform"), ("pca", "random")


class Case(NamedTuple):
    """One call of a method, and what should come of it.

    `model` and `other` are functions that return models, and `arguments` expressions.
    The result has to be that of the `other` model for plain rows and the `plain`
    arguments; without an other model, it has to be finite.
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


EXPECTED_WARNINGS = r"feature names|more than \d+ steps|n_neighbors=\d+, but the"
VIEWS = ("X", "X_val", "y", "y_val")  # the second one of each is the first


class Wrong(Exception):
    """What is wrong with a result."""


class Hang(BaseException):
    """It takes too long."""


def problems(case):
    """Run a case; return whether it raised, and all that is wrong with it."""
    error, found = None, []
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        model = case.model()
        before = dict(vars(model))
        codes = model.transform(ROWS) if "sample_shape_" in before else None
        given = {name: made(text, case) for name, text in case.arguments.items()}
        shown = {name: values(value) for name, value in given.items()}
        caught.clear()  # np.matrix, for instance, is out of fashion
        try:
            drawn = case.method == "sample" or "sample_posterior" in case.arguments
            draws = drawn or getattr(model, "random_state", 0) is None
            with case.setting(), time_limit(), nothing_changes(numpy=not draws):
                got = result(model, case.method, **given)
            if {name: values(value) for name, value in given.items()} != shown:
                raise Wrong("changes its input")
            check(case, model, given, got)
        except Wrong as wrong:
            found.append(str(wrong))
        except (Exception, Hang) as raised:
            error = raised
    if error is not None:
        found += problems_of_error(error, case.expected)
        now = vars(model)
        if now.keys() != before.keys() or any(now[k] is not before[k] for k in now):
            found.append("the error changes attributes")
        elif codes is not None and not np.array_equal(model.transform(ROWS), codes):
            found.append("the error harms the earlier fit")
        return True, found
    if case.expected and case.expected[0] != "?" and not found:
        found.append(f"is accepted; an error should say {case.expected}")
    for warning in caught:
        text = f"{warning.category.__name__}: {warning.message}"
        needed = issubclass(warning.category, ConvergenceWarning)
        if not needed and not re.search(EXPECTED_WARNINGS, text):
            found.append(text)
    return False, list(dict.fromkeys(found))


def problems_of_error(error, expected):
    text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
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
    return eval(text, {**vars(inputs), "X": base.copy()})


def values(odd):
    """Return the values of an input as text."""
    if sp.issparse(odd):
        return repr((odd.nnz, odd.toarray().tolist()))
    return repr(odd.to_numpy() if hasattr(odd, "to_numpy") else odd)


def result(model, method, **arguments):
    """Return what a method gives; of `fit`, what the model then does."""
    out = getattr(model, method)(**arguments)
    if method == "impute":  # whose columns keep their type
        dense = out.toarray() if sp.issparse(out) else out
        return np.asarray(dense, dtype=float)
    if method == "reconstruction_error" and out.ndim == 2:  # NaN of missing cells
        return np.where(np.isnan(plain(arguments["X"])), 0.0, out)
    if out is not model:
        return out
    return getattr(model, "mean_", 0.0), model.transform(arguments["X"])


def check(case, model, given, got):
    """Raise Wrong unless a result is finite, as it should be, and no worse than PCA."""
    is_single = "float32" in str(getattr(given.get("X"), "dtype", ""))
    tolerance = 1e-3 if is_single or case.method in FITTING else 1e-6
    said = dict(given)
    if case.other is not None:
        views = VIEWS if is_of_two_views(type(model)) else VIEWS[:2]
        views = [k for k in views if k in said and said[k] is not None]
        said.update({k: plain(said[k]) for k in views})
        if "sample_weight" in said:
            weight = np.asarray(said["sample_weight"], dtype=float)
            said["sample_weight"] = np.broadcast_to(weight, len(ROWS))
        expected = result(case.other(), case.method, **{**said, **case.plain})
    agree(got, got if case.other is None else expected, tolerance)
    if case.kind != "rows to fit" or type(model) is not AutoencoderTransformer:
        return
    error = model.reconstruction_error(given["X"]).mean()
    with np.errstate(invalid="ignore"):  # constant rows
        pca = PCA(2, svd_solver="full").fit(said["X"])
    best = np.square(said["X"] - pca.inverse_transform(pca.transform(said["X"]))).mean()
    if (
        not model.best_iter_
        and error > 1.001 * best + 1e-14 * np.square(said["X"]).max()
    ):
        raise Wrong(f"has an error of {error:.3g}, and PCA one of {best:.3g}")


def plain(odd):
    """Return rows as anyone would write them down."""
    if sp.issparse(odd):
        odd = odd.toarray()
    elif isinstance(odd, list) and isinstance(odd[0], torch.Tensor):
        odd = [row.tolist() for row in odd]
    elif isinstance(odd, torch.Tensor):
        odd = odd.tolist()
    if isinstance(odd, pd.DataFrame):  # which may have an NA that is no number
        odd = odd.astype(object).where(odd.notna(), np.nan)
    elif isinstance(odd, np.ndarray) and odd.dtype == object:
        odd = np.where(pd.isna(odd), np.nan, odd)
    rows = np.array(odd, dtype=float)
    return rows.reshape(len(rows), -1)


def agree(got, expected, tolerance):
    if isinstance(expected, tuple):
        for a, b in zip(got, expected, strict=True):
            agree(a, b, tolerance)
        return
    a, b = np.asarray(got), np.asarray(expected)
    kinds = (np.float32, np.float64) if b.dtype.kind == "f" else (b.dtype,)
    if a.shape != b.shape or a.dtype not in kinds:
        raise Wrong(f"returns {a.dtype} of shape {a.shape} in place of {b.shape}")
    if not a.size:
        return
    if not np.isfinite(a).all():
        raise Wrong("returns NaN or infinity")
    difference, size = np.abs(a - b).max(), np.abs(b).max()
    if difference > tolerance * size:
        raise Wrong(f"differs by {difference:.2g} from {size:.2g}")


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
def nothing_changes(*, numpy):
    """Raise Wrong if the block changes what belongs to the whole process.

    Without a seed NumPy's random state is drawn from, as in scikit-learn.
    """
    before = global_state()
    yield
    now = global_state()
    if not numpy:
        before["np.random"] = now["np.random"]
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
    }


def fresh(cls, **params):
    settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    return cls(**{"n_components": 2, **settings, **params})


@cache
def fitted(cls, start):
    if is_of_two_views(cls):
        return fresh(cls).fit(ROWS, **second_view(cls, "fit", ROWS))
    return fresh(cls, init=start).fit(ROWS)


def earlier(cls, start="pca", **params):
    """Return a fitted model, with parameters that changed after that."""
    return copy.copy(fitted(cls, start)).set_params(**params)


def is_of_two_views(cls):
    return issubclass(cls, TwoViewEstimator)


def starting(cls, start):
    """Return the parameters of a start, if there are several."""
    return {} if is_of_two_views(cls) else {"init": start}


def second_view(cls, method, text):
    """Return `y`, the same as `X`, where there has to be one."""
    parameters = inspect.signature(getattr(cls, method)).parameters
    needed = cls is EncoderDecoder or method == "similarity"
    return {"y": text} if needed and "y" in parameters else {}


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
            seed = {"random_state": "0"} if "random_state" in parameters else {}
            yield from [(name, {}), *[(name, {flag: "True", **seed}) for flag in flags]]


def parameters(cls):
    return list(inspect.signature(cls).parameters)


# From the tables to cases


def split(text):
    return [part.strip() for part in text.split(";")]


def entries(table):
    """Yield each expression of a table, and what is expected of it."""
    for expected, text in table.items():
        yield from ((expression, expected) for expression in split(text))


def with_missing(cls, expected, text):
    """Return what is expected of rows where NaN may be a missing cell.

    Two views are not sparse.
    """
    if is_of_two_views(cls) and ("sp." in text or "Sparse" in text):
        return "sparse|X"
    if not cls._objective_class.handles_missing or expected in (None, ...):
        return expected
    return f"?{expected.lstrip('?')}" if "NaN" in expected else expected


def row_cases(cls):
    new = partial(fresh, cls)
    for i, (text, expected) in enumerate(entries(inputs.ODD_ROWS)):
        to_fit, *rest = (
            expected if isinstance(expected, tuple) else (expected, ..., ...)
        )
        to_use = to_fit if rest[0] is ... else rest[0]
        of_codes = to_use if rest[1] is ... else rest[1]
        to_fit, to_use = (with_missing(cls, e, text) for e in (to_fit, to_use))
        if to_fit is None and is_of_two_views(cls):
            to_fit = "?is the same|, the rank of|Nothing of X varies"
        model = partial(earlier, cls, STARTS[i % 2])
        for method, flags in methods_of_rows(cls):
            name, arguments = f"{cls.__name__}.{method}({text})", {"X": text, **flags}
            arguments.update(second_view(cls, method, text))
            if method == "score" and cls is EncoderDecoder and text == "X[:1]":
                continue  # of one row there is no R2, as in scikit-learn
            if method in FITTING:
                yield Case("rows to fit", name, new, method, arguments, to_fit, new)
            else:
                words = of_codes if method == "inverse_transform" else to_use
                yield Case("rows to use", name, model, method, arguments, words, model)
        words = to_use or "?too (large|small)"
        case = "rows to go on with", f"{cls.__name__}.fit().partial_fit({text})", model
        both = {"X": text, **second_view(cls, "partial_fit", text)}
        yield Case(*case, "partial_fit", both, words, model)
        if text != "None":
            words = re.sub(
                "^[?]?", r"\g<0>X_val & ", to_use or "?near enough|deviations from"
            )
            case = "X_val", f"{cls.__name__}.fit(X_val={text})", new, "fit"
            views = {"X": "X", "X_val": text}
            if cls is EncoderDecoder:
                views.update(y="X", y_val=text)
            yield Case(*case, views, words, new)
    for text, expected in entries(inputs.ODD_SERIES):
        if cls is DeepBeliefAutoencoder:  # whose networks are an MLP
            break
        new = partial(fresh, cls, architecture=Recurrent(hidden_size=2))
        name = f"{cls.__name__}(Recurrent()).fit({text})"
        expected = with_missing(cls, expected, text)
        both = {"X": text, **second_view(cls, "fit", text)}
        if is_of_two_views(cls):
            network = Recurrent(hidden_size=2)
            new = partial(fresh, cls, architecture=network, y_architecture=network)
        yield Case("series", name, new, "fit", both, expected)


def argument_cases(cls):
    model = partial(earlier, cls)
    for (argument, said), table in inputs.ODD_ARGUMENTS.items():
        if argument == "y" and is_of_two_views(cls):
            continue  # it is not ignored
        plain = (
            {} if argument == "sample_weight" else {argument: eval(said, vars(inputs))}
        )
        for text, expected in entries(table):
            text = re.sub(r"\bv\b", said, text)
            for method in (name for name, known in methods(cls) if argument in known):
                name, rows = f"{cls.__name__}.{method}({argument}={text})", {"X": "X"}
                rows.update(second_view(cls, method, "X"))
                case = "arguments", name, model, method, {**rows, argument: text}
                yield Case(*case, expected, model, plain)


def value_cases(cls):
    """Yield each parameter of estimators, architectures and methods, and each value."""
    known = {"self", "path", *VIEWS, *(name for name, _ in inputs.ODD_ARGUMENTS)}
    for i, text in enumerate(inputs.VALUES):
        value = eval(text, vars(inputs))
        for name in parameters(cls):
            method = "partial_fit" if i % 2 and name != "n_components" else "fit"
            yield from value_case(cls, method, name, text, value)
        for method, arguments in methods(cls):
            for name in arguments.keys() - known if method not in FITTING else ():
                given = {"X": "X"} if "X" in arguments else {}
                given.update(second_view(cls, method, "X"))
                what = f"{cls.__name__}.{method}({name}={text})"
                case = "parameters of methods", what, partial(earlier, cls), method
                yield Case(*case, {**given, name: text}, of_value(name, text, value))
        for architecture in filter(None, ARCHITECTURES.values()):
            for name in parameters(type(architecture)) if cls is CLASSES[0] else ():
                yield from value_case(cls, "fit", name, text, value, architecture)


def value_case(cls, method, name, text, value, architecture=None):
    def params(value):
        if architecture is None:
            return {name: value}
        return {"architecture": clone(architecture).set_params(**{name: value})}

    if name in inputs.TOO_LONG and text == "HUGE":
        return
    other = None
    if isinstance(value, np.number):
        other = partial(fresh, cls, **params(value.item()))
    model = partial(earlier if method == "fit" else fresh, cls, **params(value))
    kind = "parameters" + " of architectures" * (architecture is not None)
    owner = cls if architecture is None else type(architecture)
    both = {"X": "X", **second_view(cls, method, "X")}
    case = kind, f"{owner.__name__}({name}={text}), {method}", model, method, both
    expected = of_value(name, text, value)
    if name == "n_components" and is_of_two_views(cls) and "0.5" in text:
        expected = "n_components"  # nothing has a share of the variance
    if name == "corruption_level" and cls is ContrastiveAutoencoder:
        expected = expected or "?corruption_level"  # 1 leaves nothing to tell apart
    yield Case(*case, expected, other)


def of_value(name, text, value):
    """Return what is expected of a parameter with a value."""
    takes = inputs.VALUES[text].split()
    if name in takes:
        return None
    words = name.replace("_", ".?")
    if " at 0x" not in repr(value):
        shown = {repr(value): 0, str(value): 0, type(value).__name__: 0}
        words += f" & {'|'.join(map(re.escape, shown))}"
    known = (
        " ".join([inputs.REFUSING, *inputs.VALUES.values()]).replace("?", "").split()
    )
    return words if name in known and f"?{name}" not in takes else f"?{words}"


def object_cases(cls):
    for name, expected, texts, *same in inputs.OBJECTS:
        if (
            name == "architecture"
            and expected is None
            and cls._objective_class.n_inputs > 1
        ):
            expected = "?architecture"  # whose encoder sees more than the row
        if name == "architecture" and cls is DeepBeliefAutoencoder:
            expected, same = "architecture", []
        if name == "architecture" and is_of_two_views(cls):  # which use half of it
            expected = "?" + (expected or "architecture").lstrip("?")
        for text in split(texts) if name in parameters(cls) else ():
            for start in STARTS if expected is None or expected[0] == "?" else ("pca",):
                params, other = {"max_iter": 20, name: eval(text, vars(inputs))}, None
                if same:
                    plain = {**params, name: eval(same[0], vars(inputs))}
                    other = partial(fresh, cls, **starting(cls, start), **plain)
                model = partial(earlier, cls, start, **params)
                what = f"{cls.__name__}({name}={text}, init={start!r})"
                both = {"X": "X", **second_view(cls, "fit", "X")}
                case = "objects", what, model, "fit", both
                yield Case(*case, expected, other)


def state_cases(cls):
    """Yield settings of the process, methods before a fit, and changes after one."""
    for i, (method, flags) in enumerate(methods_of_rows(cls)):
        name, arguments = f"{cls.__name__}.{method}({', '.join(flags)})", {"X": "X"}
        model = partial(earlier, cls, STARTS[i % 2])
        arguments.update(flags, **second_view(cls, method, "X"))
        for text in split(inputs.SETTINGS):
            case = "settings", f"{name}, {text}", model, method, arguments, None, model
            yield Case(*case, setting=partial(eval, text, vars(inputs)))
        if method not in FITTING:
            case = "before fit", name, partial(fresh, cls), method, arguments
            yield Case(*case, "not fitted")
            for key in parameters(cls):
                odd = partial(earlier, cls, STARTS[i % 2], **{key: object()})
                case = "after fit", f"{name}, other {key}", odd, method, arguments
                yield Case(*case, None, model)


MAKERS = (row_cases, argument_cases, value_cases, object_cases, state_cases)


def run(sample=None, seed=0, verbose=False):
    """Run all cases, or some; print the counts and the failures, and return these."""
    cases = [case for cls in CLASSES for make in MAKERS for case in make(cls)]
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
        print(*names, f"    {problem}", sep="\n")
    print(f"\n{'kind of input':28}  named  agreed  failed")
    for kind, count in [*counts.items(), ("in all", sum(counts.values(), Counter()))]:
        print(f"{kind:28}{count['named']:7}{count['agreed']:8}{count['failed']:8}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sample", type=int, help="run so many, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--verbose", action="store_true", help="name every case")
    return bool(run(**vars(parser.parse_args())))


if __name__ == "__main__":
    sys.exit(main())
