"""Many threads at once: to the bit what one thread finds, and nothing global moves."""

import random
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from estimators import ESTIMATORS
from sklearn.base import clone

from skae import _estimator
from skae._step import in_threads

N_THREADS = 64


@pytest.fixture(scope="module")
def X():
    rng = np.random.RandomState(0)
    z = rng.randn(60, 2)
    return np.column_stack([z, z[:, :1] ** 2]) @ rng.randn(3, 6) + 0.1 * rng.randn(
        60, 6
    )


def states():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    numbers = torch.get_rng_state().tolist(), keys.tolist(), random.getstate()
    settings = torch.get_num_threads(), torch.get_default_dtype(), np.geterr()
    return kind, rest, numbers, settings


def test_64_threads_find_to_the_bit_what_one_finds(X):
    """Each fits an estimator of its own and uses one that all share."""
    names = [list(ESTIMATORS)[i % len(ESTIMATORS)] for i in range(N_THREADS)]
    shared = {name: clone(ESTIMATORS[name]).fit(X) for name in ESTIMATORS}

    def work(i):
        own, common = clone(ESTIMATORS[names[i]]), shared[names[-i]]
        codes = common.transform(X)  # before and while others fit
        own.fit(X)
        rows = X.astype(np.float32) if i % 2 else X
        found = [codes, own.transform(rows), own.score_samples(X)]
        found += [common.score_samples(rows), common.inverse_transform(codes)]
        own.partial_fit(X[:20])
        return [*found, own.transform(X), np.array(own.loss_curve_)]

    expected = [work(i) for i in range(N_THREADS)]
    shared = {name: clone(ESTIMATORS[name]).fit(X) for name in ESTIMATORS}
    before = states()
    with ThreadPoolExecutor(N_THREADS) as pool:
        results = list(pool.map(work, range(N_THREADS)))
    assert states() == before
    for name, ours, alone in zip(names, results, expected, strict=True):
        for a, b in zip(ours, alone, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("name", ["split", "VAE", "denoising, modules", "neighbors"])
def test_rows_in_threads_give_what_one_thread_gives(name, X, monkeypatch):
    model = clone(ESTIMATORS[name]).fit(X)
    rows = np.repeat(X, 50, axis=0)
    methods = "transform", "score_samples", "reconstruction_error", "predict"
    alone = [getattr(model, method)(rows) for method in methods]
    monkeypatch.setattr(_estimator, "THREADED_INFERENCE", 0)
    monkeypatch.setattr(_estimator, "INFERENCE_BYTES", 2000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for method, expected in zip(methods, alone, strict=True):
        with np.errstate(all="raise"):
            found = getattr(model, method)(rows)
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=method)


OWN = {
    name: model
    for name, model in ESTIMATORS.items()
    if not any(word in name for word in ("modules", "denoising", "contractive"))
    and "Transformer" not in type(model.architecture).__name__  # it has dropout
}


@pytest.mark.parametrize("name", OWN)
def test_what_another_thread_draws_is_not_disturbed(name, X, monkeypatch):
    """Only parts that draw from torch's global generator set its state, for a while.

    Nor are the filters of warnings changed for a while, which all threads share.
    """

    def others(function):
        def call(*args, **kwargs):
            caller = sys._getframe(1).f_globals["__name__"]
            assert not caller.startswith("skae"), function
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for place, part in ((torch, "set_rng_state"), (warnings, "catch_warnings")):
            patched.setattr(place, part, others(getattr(place, part)))
        clone(OWN[name]).fit(X).transform(X)


def test_an_error_in_a_thread_is_raised():
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError):
        in_threads(fail, iter(range(8)), 3)
