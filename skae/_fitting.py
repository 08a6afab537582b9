"""Fitting: from checked rows to a linear start, a trained net and a verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

from ._dataset import RowDataset, TrainingData, as_tensor, is_streamed
from ._gate import SPLIT_ERRORS, Evidence
from ._linear import LinearStart
from ._net import AutoencoderNet
from ._samples import mean_filled
from ._solvers import follow, incremental_start, linear_start, new_incremental_pca
from ._trained import TrainedNetwork
from ._training import FEW_ROWS, SMALL_TABLE, Builder, TrainingPlan, train
from ._validation import (
    check_callbacks,
    check_n_components,
    check_net_params,
    check_same_width,
    check_unchanged,
    is_auto,
    lasting_parameters,
    merge_duplicates,
    new_random_state,
    resolve_device,
)
from .architectures import MLP


class FittingMixin(ABC):
    """What `fit` and `partial_fit` do with checked rows, and the hooks they call.

    A concrete estimator overrides hooks only.
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
    sample_shape_: tuple[int, ...]
    _row_shape: tuple[int, ...]  # the same, but for steps that no series has
    _model: LinearStart | TrainedNetwork  # what is used
    _fixed: dict[str, str]  # parameters that training cannot go on without

    # Hooks

    @abstractmethod
    def _make_module(self, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
        """Return the module to train, from the two networks of the architecture."""

    @abstractmethod
    def _make_loss(self) -> nn.Module:
        """Return a new loss."""

    def _value_range(self) -> tuple[float, float, str]:
        """Return the smallest and the largest value of the loss, and what asks so."""
        return -float("inf"), float("inf"), ""

    def _n_outputs(self, n_components: int) -> int:
        """Return how many numbers the encoder gives for so many codes."""
        return n_components

    def _is_random(self) -> bool:
        """Whether the networks stand alone, without PCA to start at or fall back on."""
        return bool(self.init == "random")

    def _handles_padding(self) -> bool:
        """Whether series may end in NaN."""
        return bool(getattr(self.architecture, "handles_padding", False))

    def _refined_start(
        self, start: LinearStart, X: Any, weight: NDArray | None
    ) -> LinearStart:
        """Return the linear start of the objective, given PCA's and the rows."""
        return start

    def _start_model(self, builder: Builder) -> LinearStart | TrainedNetwork:
        """Return what is used while no network is: PCA."""
        return self._start

    def _new_model(self, held_out_loss: float | None) -> TrainedNetwork:
        """Return what stands in for PCA after training, by default the network."""
        scale = self._start.code_scale
        if self._is_random():
            scale = np.ones(self.n_components_)
        error = self._squared_error(held_out_loss)
        return TrainedNetwork(self.module_, self._start, scale, error)

    def _is_settled(self) -> bool:
        """Whether the start leaves nothing over that a network could explain."""
        return False

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

    def _fit(self, X: Any, weight: NDArray | None, continued: bool) -> None:
        """Fit on checked rows: the start, the training, and what is known after it."""
        self.n_samples_ = X.shape[0]
        k = check_n_components(self.n_components, X.shape, self._is_random())
        if X.shape[0] < SMALL_TABLE and not is_streamed(X):
            X = X.toarray() if sp.issparse(X) else X
            X, weight = merge_duplicates(X, weight)
        filled = mean_filled(X, weight) if self._handles_padding() else X
        plan = self._new_plan(X.shape[0])
        if continued:
            check_same_width(self.n_components, self.n_components_)
            check_unchanged(self._fixed, lasting_parameters(self))
            if not plan.max_iter:
                return
            builder = self._new_builder(plan)
            net = builder.continued(self.net_)
            net.restore_start = self.best_iter_ > 0 or builder.is_random
        else:
            rng = new_random_state(self.random_state)
            solver_seed = rng if self.random_state is None else self.random_state
            start = linear_start(filled, k, weight, solver_seed)
            self._seed = int(rng.randint(2**31 - 1))
            self._fixed = lasting_parameters(self)
            self._set_start(self._refined_start(start, filled, weight))
            builder = self._new_builder(plan)
            net = builder.net(builder.module(), restore_start=not self.warm_start)
        self._train(net, builder, X, weight, continued)

    def _train(
        self,
        net: AutoencoderNet,
        builder: Builder,
        X: Any,
        weight: NDArray | None,
        continued: bool,
    ) -> None:
        """Train the net, and use the network or PCA as the held-out rows say."""
        n_before = len(net.history)
        dataset = RowDataset(X, self.mean_, self._start.scale, self.device_)
        verdict = train(net, dataset, as_tensor(weight), builder, continued=continued)
        self._set_net(net)
        if not verdict.open:
            self.best_iter_ = 0
        elif verdict.best_iter or not continued:
            self.best_iter_ = n_before + verdict.best_iter
        self.validation_scores_ = [self._curve_score(loss) for loss in verdict.curve]
        self._evidence = Evidence()
        is_open, loss = verdict.open, verdict.mean_loss
        model = self._new_model(loss) if is_open else self._start_model(builder)
        self._use(model, X, weight)
        if self.verbose:
            network = f"the network of epoch {self.best_iter_}"
            kept = network if verdict.open else "the linear start"
            print(f"{type(self).__name__}: {kept} is used{verdict.reason}.")

    def _partial_fit(self, X: Any, weight: NDArray | None, first: bool) -> None:
        """Follow PCA, test the network on the batch, then train it there."""
        X = X.toarray() if sp.issparse(X) else X
        if first:
            self._seed = int(new_random_state(self.random_state).randint(2**31 - 1))
            self._incremental_pca = new_incremental_pca(self.n_components, X.shape)
            self._evidence, self.n_samples_ = Evidence(), 0
            self._fixed = lasting_parameters(self)
            self.validation_scores_ = []
        check_unchanged(self._fixed, lasting_parameters(self))
        self.n_samples_ += len(X)
        if hasattr(self, "_incremental_pca"):  # else `fit` has found the start
            filled = X
            if self._handles_padding():
                filled = mean_filled(X, weight, 0.0 if first else self.mean_)
            self._incremental_pca = follow(self._incremental_pca, filled)
            previous = None if first else self._start
            start = incremental_start(self._incremental_pca, previous)
            self._set_start(self._refined_start(start, filled, weight))
        builder = self._new_builder(self._new_plan(max(len(X), SMALL_TABLE)))
        start = builder.net(builder.module(), learning_rate="constant")
        net = start if first else builder.continued(self.net_)
        net.module_.start_at(self._start, self.mean_, self._start.scale)
        dataset = RowDataset(X, self.mean_, self._start.scale, self.device_)
        rows, w = torch.arange(len(X), device=self.device_), as_tensor(weight)
        if not first:
            batch = TrainingData(dataset, rows, rows, w)
            after = net.held_out_losses(batch)
            evidence = Evidence.of(start.held_out_losses(batch), after, w)
            self._evidence = self._evidence.followed_by(evidence)
            score = self._curve_score(evidence.mean_loss)
            self.validation_scores_ = [*self.validation_scores_, score]
        if builder.plan.max_iter:
            net.partial_fit(TrainingData(dataset, rows, rows[:0], w), epochs=1)
        self._set_net(net)
        asked = builder.asked(SPLIT_ERRORS)
        is_open = builder.is_random or self._evidence.opens(asked)
        self.best_iter_ = self.n_iter_ if is_open else 0
        loss = self._evidence.mean_loss if self._evidence.n_rows else None
        model = self._new_model(loss) if is_open else self._start_model(builder)
        self._use(model, X, weight, None if first else self._model)

    def _new_plan(self, n_rows: int) -> TrainingPlan:
        """Return the plan for a table, with the user's settings in place of "auto"."""
        plan = TrainingPlan.for_table(n_rows, self.validation_fraction)
        names = ("hidden_layer_sizes", "max_iter", "batch_size")
        given = {name: getattr(self, name) for name in names}
        plan = replace(plan, **{k: v for k, v in given.items() if not is_auto(v)})
        one_by_one = not getattr(self.architecture, "is_vectorised", True)
        needs_one_net = self.warm_start or self.callbacks
        if needs_one_net or (one_by_one and n_rows >= FEW_ROWS):
            return plan.without_folds()
        return plan

    def _new_builder(self, plan: TrainingPlan) -> Builder:
        """Return what makes modules and nets at the present start."""
        check_callbacks(self.callbacks)
        if self._is_settled():
            plan = replace(plan, max_iter=min(plan.max_iter, 1))
        architecture = self.architecture
        if architecture is None:
            architecture = MLP(plan.hidden_layer_sizes, self.activation)
        return Builder(
            plan=plan,
            start=self._start,
            n_components=self.n_components_,
            sample_shape=self._row_shape,
            architecture=architecture,
            is_random=self._is_random(),
            is_settled=self._is_settled(),
            n_outputs=self._n_outputs(self.n_components_),
            make_module=self._make_module,
            make_loss=self._make_loss,
            refined_start=self._refined_start,
            seed=self._seed,
            settings={
                "optimizer__weight_decay": self.alpha,
                "lr": self.learning_rate_init,
                "n_iter_no_change": self.n_iter_no_change,
                "tol": self.tol,
                "loss_floor": self._loss_floor(),
                "callbacks": self.callbacks,
                "verbose": int(self.verbose),
                "device": str(self.device_),
            },
            user_settings=check_net_params(self.net_params),
        )

    def _set_start(self, start: LinearStart) -> None:
        """Take over a linear start."""
        self._start = start
        self.n_components_ = start.n_components
        if self._is_random() and isinstance(self.n_components, Integral):
            self.n_components_ = int(self.n_components)
        self.mean_ = start.mean
        self.components_ = start.components
        self.device_ = resolve_device(self.device)

    def _set_net(self, net: AutoencoderNet) -> None:
        """Take over a net that was trained, or at least tried."""
        self.net_ = net
        self.module_ = net.module_.eval()
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]

    def _use(
        self,
        model: LinearStart | TrainedNetwork,
        X: Any,
        weight: NDArray | None,
        earlier: LinearStart | TrainedNetwork | None = None,
    ) -> None:
        """Let a model do the work from here on: PCA or the trained network."""
        if isinstance(model, TrainedNetwork):
            network = earlier if isinstance(earlier, TrainedNetwork) else None
            model.measure(X, weight, np.random.default_rng(self._seed), network)
        self._model = model
        self.explained_variance_ = model.explained_variance
        self.explained_variance_ratio_ = model.explained_variance_ratio
        self.noise_variance_ = model.noise_variance
