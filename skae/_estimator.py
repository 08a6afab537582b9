"""What all estimators share that hold a fit, of one view, of two, and of texts."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ._callbacks import CallbackSupportMixin
from ._dataset import as_dense, float_dtype, row_chunks
from ._file import StoredEstimator
from ._fit import Fit
from ._objective import Objective
from ._sklearn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from ._step import OneThread, in_threads, usual_settings

INFERENCE_BYTES = 2**22  # of the rows of one inference pass, as float64
# From so many multiplications on, such passes are shared out to threads.
THREADED_INFERENCE = 200_000_000


class NetworkEstimator(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    StoredEstimator,
):
    """What all estimators share that hold a fit: a start, a net and a decision."""

    _objective_class: ClassVar[type[Objective]]
    _fit: Fit  # what fitting has found out, and what all else works with
    _row_shape: tuple[int, ...]  # sample_shape_, but for steps that no series has

    architecture: Any
    warm_start: bool
    verbose: bool
    sample_shape_: tuple[int, ...]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Integral, StrOptions({"auto"})],
        "activation": [str],
        "architecture": [HasMethods("build"), None],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "validation_fraction": [
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"auto"}),
        ],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "callbacks": [list, tuple, None],
        "net_params": [dict, None],
    }

    def _objective(self) -> Objective:
        """Return what is trained, with the parameters as they are now."""
        return self._objective_class(self._params(), self._row_shape)

    def _params(self) -> SimpleNamespace:
        """Return all parameters, also those that a subclass does not let users set."""
        own = [kind for kind in type(self).__mro__ if issubclass(kind, BaseEstimator)]
        names = {name for kind in own for name in kind._get_param_names()}
        given = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return SimpleNamespace(**given)

    def _publish(self, fit: Fit) -> None:
        """Take over a fit: what every estimator has found out."""
        net, model = fit.net, fit.model
        self._fit = fit
        self.n_samples_ = fit.n_samples
        self.n_components_ = fit.start.n_codes
        self.net_ = net
        self.module_ = net.module_
        self.device_ = torch.device(net.device)
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        self.best_iter_ = fit.best_iter
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]
        self.validation_scores_ = fit.validation_scores
        if self.verbose:
            network = f"the network of epoch {fit.best_iter}"
            kept = network if model is not fit.start and fit.best_iter else "the start"
            print(f"{type(self).__name__}: {kept} is used{fit.reason}.")

    def _map(
        self,
        X: Any,
        function: Callable[[NDArray], NDArray],
        shape: tuple[int, ...],
        dtype: Any = None,
    ) -> NDArray:
        """Apply a function to dense chunks of rows and collect what it returns."""
        result = np.empty((X.shape[0], *shape), dtype=dtype or float_dtype(X))

        def apply(rows: slice) -> None:
            with usual_settings():
                result[rows] = function(as_dense(X[rows]))

        is_long = X.shape[0] * self._fit.n_parameters >= THREADED_INFERENCE
        n_threads = torch.get_num_threads() if is_long else 1
        with OneThread():
            in_threads(apply, row_chunks(X, INFERENCE_BYTES), n_threads)
        return result

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fit")

    def _copied(self) -> dict[str, Any]:
        attributes = super()._copied()
        for name in ("net_", "module_", "device_", "history_"):
            attributes.pop(name, None)  # of the fit, which finds a device for them
        return attributes

    def _take(self, attributes: dict[str, Any]) -> None:
        super()._take(attributes)
        if "_fit" in attributes:
            self.net_ = self._fit.net
            self.module_, self.history_ = self.net_.module_, self.net_.history
            self.device_ = torch.device(self.net_.device)
