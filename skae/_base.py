"""BaseAutoencoder: the face that every estimator shows, and the hooks behind it."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import Tags, check_array
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._dataset import RowDataset, as_tensor, is_streamed, row_chunks
from ._gate import SMALL_TABLE, Evidence, TrainingPlan, seeded, train
from ._linear import (
    LinearStart,
    follow,
    incremental_start,
    linear_start,
    new_incremental_pca,
)
from ._net import AutoencoderNet, TrainingData
from ._residual import set_linear_path, with_linear_path
from ._trained import TrainedNetwork
from ._validation import (
    check_n_components,
    check_net_params,
    check_rows,
    check_weights,
    check_widths,
    is_auto,
    merge_duplicates,
    new_random_state,
    resolve_device,
    unchanged_on_error,
)
from .architectures import MLP

INFERENCE_BYTES = 2**22  # of the rows of one inference pass, as float64


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The face of every estimator; see :class:`skae.AutoencoderTransformer`.

    A concrete estimator defines its parameters and overrides hooks only:
    `_make_module` and `_criterion`.
    """

    n_components: Any
    hidden_layer_sizes: Any
    activation: Any
    architecture: Any
    init: Any
    whiten: Any
    alpha: Any
    batch_size: Any
    learning_rate_init: Any
    max_iter: Any
    validation_fraction: Any
    n_iter_no_change: Any
    tol: Any
    warm_start: Any
    verbose: Any
    random_state: Any
    device: Any
    callbacks: Any
    net_params: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "hidden_layer_sizes": ["array-like", Integral, StrOptions({"auto"})],
        "activation": [str],
        "architecture": [HasMethods("build"), None],
        "init": [StrOptions({"pca", "random"})],
        "whiten": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
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

    # Hooks

    @abstractmethod
    def _make_module(self, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
        """Return the module to train, from the two networks of the architecture."""

    @abstractmethod
    def _criterion(self) -> type[nn.Module]:
        """Return the class of the loss."""

    def _loss_floor(self) -> float:
        """Return the loss at which nothing is left to learn."""
        return -float("inf")

    def _curve_score(self, loss: float) -> float:
        """Return the score, higher is better, that goes with a held-out loss."""
        return -loss

    def _squared_error(self, loss: float | None) -> float | None:
        """Return the squared error in units of X that goes with a held-out loss."""
        return None

    # Fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> Any:
        """Start at PCA, train, and keep what held-out rows say is better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows: an array, a pandas or polars frame, a CSR or CSC matrix, or
            a memory-mapped array, which is read in pieces.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts like the same row given twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If `X` has NaN or infinity (the column is named), fewer than 2 rows, or
            fewer rows or columns than `n_components` with ``init="pca"``; or if a
            parameter or the weights are invalid. An earlier fit is left unharmed.
        """
        del y
        with unchanged_on_error(self):
            continued = self.warm_start and hasattr(self, "net_")
            X = check_rows(self, X, reset=not continued, ensure_min_samples=2)
            X, weight = check_weights(X, sample_weight, min_rows=2)
            self._fit(X, weight, continued)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: Any = None
    ) -> Any:
        """Take one pass over a batch of rows.

        The linear start follows the batches as
        :class:`~sklearn.decomposition.IncrementalPCA` does. Each batch first tests the
        network and then trains it: the network counts only while rows that it had not
        seen say that it beats the linear start.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The first batch needs at least `n_components` rows.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in the loss; the linear start takes the rows as they are.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As :meth:`fit`, and if the first batch has too few rows.
        """
        del y
        with unchanged_on_error(self):
            first = not hasattr(self, "net_")
            X = check_rows(self, X, reset=first, ensure_min_samples=2 if first else 1)
            X, weight = check_weights(X, sample_weight)
            self._partial_fit(X, weight, first)
        return self

    def _fit(self, X: Any, weight: NDArray | None, continued: bool) -> None:
        """Fit on checked rows: the start, the training, and what is known after it."""
        self.n_samples_ = X.shape[0]
        k = check_n_components(self.n_components, X.shape, self.init)
        if X.shape[0] < SMALL_TABLE and not is_streamed(X):
            X = X.toarray() if sp.issparse(X) else X
            X, weight = merge_duplicates(X, weight)
        plan = self._new_plan(X.shape[0])
        if self.warm_start or self.callbacks:
            plan = plan.without_folds()  # they need one net that sees it all
        if continued:
            self._check_same_width(k)
            if not plan.max_iter:
                return
            net = copy.deepcopy(self.net_)
            net.max_epochs, net.batch_size = plan.max_iter, plan.batch_size
            net.restore_start = self._model is not self._start
        else:
            rng = new_random_state(self.random_state)
            solver_seed = rng if self.random_state is None else self.random_state
            self._set_start(linear_start(X, k, weight, solver_seed))
            self._seed = int(rng.randint(2**31 - 1))
            restore_start = not self.warm_start
            net = self._new_net(
                self._new_module(plan), plan, restore_start=restore_start
            )
        n_before = len(net.history)
        verdict = train(
            net,
            RowDataset(X, self.mean_, self._start.scale, self.device_),
            as_tensor(weight),
            plan,
            self.n_components_,
            partial(self._new_module, plan),
            partial(self._new_net, plan=plan),
            required=self.init == "random",
            continued=continued,
        )
        self._set_net(net)
        if not verdict.open:
            self.best_iter_ = 0
        elif verdict.best_iter or not continued:
            self.best_iter_ = n_before + verdict.best_iter
        self.validation_scores_ = [self._curve_score(loss) for loss in verdict.curve]
        self._evidence = Evidence()
        self._use_start()
        if verdict.open:
            self._use_network(X, weight, verdict.mean_loss)

    def _partial_fit(self, X: Any, weight: NDArray | None, first: bool) -> None:
        """Follow PCA, test the network on the batch, then train it there."""
        X = X.toarray() if sp.issparse(X) else X
        if first:
            self._seed = int(new_random_state(self.random_state).randint(2**31 - 1))
            self._incremental_pca = new_incremental_pca(self.n_components, X.shape)
            self._evidence, self.n_samples_ = Evidence(), 0
            self.validation_scores_ = []
        self.n_samples_ += len(X)
        if hasattr(self, "_incremental_pca"):  # else `fit` has found the start
            self._incremental_pca = follow(self._incremental_pca, X)
            previous = None if first else self._start
            self._set_start(incremental_start(self._incremental_pca, previous))
        plan = self._new_plan(max(len(X), SMALL_TABLE))
        start = self._new_net(self._new_module(plan), plan, learning_rate="constant")
        net = start if first else copy.deepcopy(self.net_)
        set_linear_path(net.module_, self._start, self.mean_, self._start.scale)
        dataset = RowDataset(X, self.mean_, self._start.scale, self.device_)
        rows = torch.arange(len(X), device=self.device_)
        if not first:
            batch = TrainingData(dataset, rows, rows, as_tensor(weight))
            losses = start.held_out_losses(batch), net.held_out_losses(batch)
            self._evidence = self._evidence.updated(*losses, batch.weight)
            score = self._curve_score(float(batch.mean(losses[1])))
            self.validation_scores_ = [*self.validation_scores_, score]
        if plan.max_iter:
            batch = TrainingData(dataset, rows, rows[:0], as_tensor(weight))
            net.partial_fit(batch, epochs=1)
        self._set_net(net)
        self.best_iter_ = 0
        if self.init == "random" or self._evidence.opens:
            self.best_iter_ = self.n_iter_
            self._use_network(X, weight, self._evidence.mean_loss)

    def _check_same_width(self, n_components: Any) -> None:
        """Raise unless a warm start goes on with as many codes as before."""
        if isinstance(n_components, Integral) and n_components != self.n_components_:
            raise ValueError(
                f"n_components={n_components}, but warm_start goes on from a fit with "
                f"{self.n_components_}: keep it, or set warm_start=False."
            )

    def _new_plan(self, n_rows: int) -> TrainingPlan:
        """Return the plan for a table, with the user's settings in place of "auto"."""
        plan = TrainingPlan.for_table(n_rows, self.validation_fraction)
        names = ("hidden_layer_sizes", "max_iter", "batch_size")
        given = {name: getattr(self, name) for name in names}
        return replace(plan, **{k: v for k, v in given.items() if not is_auto(v)})

    def _set_start(self, start: LinearStart) -> None:
        """Take over a linear start."""
        self._start = start
        self.n_components_ = start.n_components
        if self.init == "random" and isinstance(self.n_components, Integral):
            self.n_components_ = int(self.n_components)
        self.mean_ = start.mean
        self.components_ = start.components
        self.device_ = resolve_device(self.device)
        self._use_start()

    def _use_start(self) -> None:
        """Be PCA from here on."""
        start = self._start
        self._model: LinearStart | TrainedNetwork = start
        self.explained_variance_ = start.explained_variance
        self.explained_variance_ratio_ = start.explained_variance_ratio
        self.noise_variance_ = start.noise_variance

    def _set_net(self, net: AutoencoderNet) -> None:
        """Take over a net that was trained, or at least tried."""
        self.net_ = net
        self.module_ = net.module_.eval()
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]

    def _use_network(
        self, X: Any, weight: NDArray | None, held_out_loss: float | None
    ) -> None:
        """Let the trained network stand in for PCA."""
        rng = np.random.default_rng(self._seed)
        random = self.init == "random"
        scale = np.ones(self.n_components_) if random else self._start.code_scale
        model = TrainedNetwork(self.module_, self._start, scale)
        model.measure(X, weight, self._squared_error(held_out_loss), rng)
        self._model = model
        self.explained_variance_ = np.diagonal(model.codes.covariance).copy()
        self.explained_variance_ratio_ = model.variance_ratio(X, weight, rng)
        self.noise_variance_ = model.noise_variance

    def _new_module(self, plan: TrainingPlan) -> nn.Module:
        """Return a module at the linear start."""
        d, k = len(self.mean_), self.n_components_
        architecture = self.architecture
        if architecture is None:
            architecture = MLP(plan.hidden_layer_sizes, self.activation)
        if isinstance(architecture, type):
            raise ValueError(
                f"architecture={architecture.__name__} is a class: give an instance."
            )
        networks = architecture.build((d,), k, seeded(self._seed))
        if not isinstance(networks, tuple | list) or len(networks) != 2:
            raise ValueError(
                f"{architecture!r}.build returned {type(networks).__name__}: it must "
                "return an encoder and a decoder."
            )
        encoder, decoder = networks
        check_widths(encoder, decoder, d, k)
        if self.init == "pca":
            encoder, decoder = with_linear_path(encoder, decoder, d, k)
        module = self._make_module(encoder, decoder)
        set_linear_path(module, self._start, self.mean_, self._start.scale)
        return module

    def _new_net(
        self, module: nn.Module, plan: TrainingPlan, **changes: Any
    ) -> AutoencoderNet:
        """Return an initialised net for a module."""
        settings = {
            "optimizer": torch.optim.AdamW,
            "optimizer__weight_decay": self.alpha,
            "lr": self.learning_rate_init,
            "max_epochs": plan.max_iter,
            "batch_size": plan.batch_size,
            "n_iter_no_change": self.n_iter_no_change,
            "tol": self.tol,
            "loss_floor": self._loss_floor(),
            "seed": self._seed,
            "callbacks": self.callbacks,
            "verbose": int(self.verbose),
            "device": str(self.device_),
            **check_net_params(self.net_params),
            **changes,
        }
        if settings["optimizer"] in (torch.optim.AdamW, torch.optim.Adam):
            settings.setdefault("optimizer__fused", True)
        try:
            return AutoencoderNet(module, self._criterion(), **settings).initialize()
        except (TypeError, ValueError) as error:
            if not self.net_params:
                raise
            raise ValueError(f"net_params={self.net_params!r}: {error}") from error

    # What a fitted estimator does

    def transform(self, X: ArrayLike) -> Any:
        """Return the codes of the rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            In PCA's units, or of unit variance with ``whiten=True``; float32 for
            float32 rows, else float64. A frame if :meth:`set_output` asks for one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another number of columns, NaN or infinity.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        return self._map(X, self._codes, (self.n_components_,))

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Return the rows that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes as :meth:`transform` returns them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If the codes are not finite or their number of columns is not
            `n_components_`.
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but codes of this "
                f"{type(self).__name__} have n_components_={self.n_components_}."
            )
        return self._map(Z, self._rows, (len(self.mean_),))

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Higher is more normal. While PCA is used, this is PCA's own density. A
            trained network keeps its split into a code and a residual term, and
            ignores how the decoder changes volumes: a score in nats then, and not a
            density that integrates to exactly 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has another number of columns, NaN or infinity.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        return self._map(X, self._model.score_samples, (), np.float64)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-likelihood of the rows, in nats per row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        float
            Higher is better; a cross-validated search over `n_components` can use it.
        """
        del y
        scores = self.score_samples(X)
        used, weight = check_weights(scores, sample_weight)
        return float(np.average(used, weights=weight))

    def reconstruction_error(
        self, X: ArrayLike, *, per_feature: bool = False
    ) -> NDArray:
        """Return how far the reconstructions are from the rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        per_feature : bool, default=False
            Return the squared error of every entry instead of each row's mean.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_features)
            Squared error per feature, in squared units of `X`.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, reset=False)
        if per_feature:
            return self._map(rows, self._squared_errors, (rows.shape[1],))
        return self._map(rows, lambda chunk: self._squared_errors(chunk).mean(1), ())

    def _map(
        self,
        X: Any,
        function: Callable[[NDArray], NDArray],
        shape: tuple[int, ...],
        dtype: Any = None,
    ) -> NDArray:
        """Apply a function to dense chunks of rows and collect what it returns."""
        result = np.empty((X.shape[0], *shape), dtype=dtype or X.dtype)
        for rows in row_chunks(X, INFERENCE_BYTES):
            chunk = X[rows]
            result[rows] = function(chunk.toarray() if sp.issparse(chunk) else chunk)
        return result

    def _codes(self, X: NDArray) -> NDArray:
        codes = self._model.transform(X)
        return codes / self._code_deviation(X.dtype) if self.whiten else codes

    def _rows(self, codes: NDArray) -> NDArray:
        if self.whiten:
            codes = codes * self._code_deviation(codes.dtype)
        return self._model.inverse_transform(codes)

    def _code_deviation(self, dtype: np.dtype) -> NDArray:
        deviation = np.sqrt(self.explained_variance_)
        return np.maximum(deviation, np.finfo(deviation.dtype).eps).astype(dtype)

    def _squared_errors(self, X: NDArray) -> NDArray:
        return (X - self._model.inverse_transform(self._model.transform(X))) ** 2

    # What scikit-learn asks

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
