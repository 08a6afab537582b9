"""Objective: what an estimator trains, in place of how it is fitted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from numbers import Integral
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ._architecture_checks import check_instance, check_networks, check_trainable
from ._dataset import STATISTICS_ROWS, sample_rows
from ._gate import StackedModules
from ._losses import Loss
from ._module import BaseModule, OfSamples, OfStackedSamples, with_linear_paths
from ._net import AutoencoderNet
from ._parameters import (
    check_callbacks,
    check_net_params,
    check_reached,
    lasting_parameters,
    new_torch_generator,
    resolve_device,
)
from ._plan import TrainingPlan
from ._samples import takes_padding
from ._solvers import (
    follow,
    incremental_start,
    linear_start,
    new_incremental_pca,
)
from ._start import RandomStart, Start
from ._step import AdamW, is_own, seeded_globally
from ._trained import TrainedNetwork
from .architectures import MLP, Modules
from .architectures._base import Architecture

MOST_DECAY = 1.0  # that ``alpha="auto"`` asks for


def is_users(architecture: Any) -> bool:
    """Whether networks have parts that are a user's own, of which nothing is known."""
    return architecture is not None and (
        isinstance(architecture, Modules) or is_own(architecture)
    )


class Objective(ABC):
    """What an estimator trains: a module, for a loss, from a start.

    A concrete objective defines :meth:`module` and :meth:`loss`, and may change all
    that stands before "Final".

    Parameters
    ----------
    params : namespace
        The parameters of the estimator, as they were when `fit` was called.
    sample_shape : tuple of int
        Shape of a sample.
    """

    outputs_per_code: ClassVar[int] = 1
    """How many numbers the encoder gives for each code."""

    handles_missing: ClassVar[bool] = False
    """Whether any cell may be missing; the start then says what is expected there."""

    n_inputs: ClassVar[int] = 1
    """How many arrays of a row's shape the encoder gets, beside one another."""

    draws_per_row: ClassVar[int] = 1
    """How often each of few held-out rows is judged, with random numbers of its own."""

    scores_rows: ClassVar[bool] = True
    """Whether a row has a score by which anomalies are told from others."""

    reconstructs: ClassVar[bool] = True
    """Whether rows come back from their codes, so that a callback may score them."""

    net_class: ClassVar[type[AutoencoderNet]] = AutoencoderNet
    """What trains the module; a subclass may have another ``train_step``."""

    def __init__(self, params: SimpleNamespace, sample_shape: tuple[int, ...]) -> None:
        self.params = params
        self.sample_shape = sample_shape
        # Numbers of what is held out together, while `fit` looks for the start.
        self.groups: NDArray | None = None
        # Standard deviations of the columns, if modules are to know them; (n_features,)
        self.deviation: NDArray | None = None

    # To define

    @abstractmethod
    def module(self, encoder: nn.Module, decoder: nn.Module) -> BaseModule:
        """Return the module to train, from the two networks of the architecture."""

    @abstractmethod
    def loss(self, plan: TrainingPlan) -> Loss:
        """Return a new loss."""

    # To change

    def pca(
        self, X: Any, k: Any, weight: NDArray | None, seed: Any, **solver: Any
    ) -> Start:
        """Return PCA of (weighted) rows, which says how they are standardised."""
        return linear_start(X, k, weight, seed, **solver)

    def start(self, pca: Start, X: Any, weight: NDArray | None, seed: int) -> Start:
        """Return the closed form to begin at, given PCA of (weighted) rows."""
        return self.random_start(pca) if self.params.init == "random" else pca

    def fold_start(
        self, pca: Start, X: Any, weight: NDArray | None, seed: int, whole: Start
    ) -> Start:
        """Return the start of a fold, given that of the `whole` table.

        Like the number of codes, what the table has chosen may be taken over; what is
        estimated is the fold's own. So it is with a batch, and those before it.
        """
        return self.start(pca, X, weight, seed)

    def follow(
        self,
        solver: Any,
        before: Start | None,
        X: NDArray,
        weight: NDArray | None,
        seed: int,
    ) -> tuple[Any, Start]:
        """Return what has followed the batches of `partial_fit` to `X`, and the start.

        `solver` and `before` are these after the batches up to then, or None. They stay
        as they are.
        """
        if solver is None:
            solver = new_incremental_pca(self.params.n_components, X.shape)
        solver = follow(solver, X)
        pca = incremental_start(solver, before)
        if before is None:
            return solver, self.start(pca, X, weight, seed)
        return solver, self.fold_start(pca, X, weight, seed, before)

    def model(
        self, module: BaseModule, start: Start, held_out_error: float | None, seed: int
    ) -> Any:
        """Return what stands in for the start after training.

        `held_out_error` is the squared error, in units of X and summed over the
        features, of rows that the module did not train on.
        """
        return TrainedNetwork(module, start, held_out_error)

    def check_reached(self, start: Start) -> None:
        """Raise a ValueError if a start has fewer codes than were asked for."""
        contamination = getattr(self.params, "contamination", 0.0)
        check_reached(self.params.n_components, start, contamination)

    def decay(self, n_rows: int, n_features: int, n_components: int) -> float:
        """Return the weight decay for ``alpha="auto"``, given the distinct rows.

        The fewer rows there are for each column, the more a network has to be held, and
        the more codes it has, the less it loses by that.
        """
        return min(0.3 * n_components * math.sqrt(n_features / n_rows), MOST_DECAY)

    @property
    def takes_padding(self) -> bool:
        """Whether series may end in NaN."""
        return takes_padding(self.params.architecture)

    @property
    def sorts_codes(self) -> bool:
        """Whether codes are sorted by explained variance after training."""
        return True

    @property
    def n_steps(self) -> int:
        """Steps from the codes of the encoder to those that are decoded closest."""
        return 0

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is a likelihood, which `score_samples` tells in nats."""
        return False

    @property
    def takes_longer(self) -> bool:
        """Whether training takes more epochs than that of a plain autoencoder."""
        return False

    def networks(self, start: Start, plan: TrainingPlan, seed: int) -> tuple[Any, ...]:
        """Return the networks of a module: encoder and decoder, with linear paths.

        What an objective adds to these two is given to :meth:`module` as well.
        """
        d, k = len(start.mean), start.n_codes
        n_outputs = k * self.outputs_per_code
        how = self.params.architecture, self.sample_shape, plan, seed
        encoder, decoder = self.built(*how, n_outputs, self.n_inputs)
        if k != n_outputs or self.n_inputs != 1:
            if not set(encoder.parameters()).isdisjoint(decoder.parameters()):
                raise ValueError(
                    f"architecture={self.params.architecture!r}: the decoder shares "
                    f"its weights with the encoder, which needs {n_outputs} outputs "
                    f"for {k} codes, and {self.n_inputs * d} inputs for {d} columns."
                )
            decoder = self.built(*how, k)[1]
        check_trainable(self.params.architecture, encoder, decoder)
        if len(self.sample_shape) > 1:
            if self.n_inputs == 1:
                encoder = OfSamples(encoder, self.sample_shape)
            decoder = nn.Sequential(decoder, nn.Flatten())
        if start.is_fallback:
            linear = getattr(self.params, "linear_encoder", False)
            encoder, decoder = with_linear_paths(
                encoder,
                decoder,
                d,
                k,
                n_outputs,
                linear_encoder=linear,
                linear_decoder=start.is_whole,
            )
        return encoder, decoder

    # Final

    def plan_at(self, start: Start, plan: TrainingPlan) -> TrainingPlan:
        """Return the plan of a table, now that its start is known."""
        n_features = len(start.mean)
        repeats = getattr(self.params.architecture, "repeats_over_steps", False)
        if repeats and len(self.sample_shape) < 3:  # no image
            n_features = self.sample_shape[-1]
        decay = self.decay(plan.n_rows, n_features, start.n_codes)
        return plan.at(start, self.params, decay, takes_longer=self.takes_longer)

    def random_start(self, pca: Start) -> RandomStart:
        """Return random weights as the start, with as many codes as were asked for."""
        k = self.params.n_components
        n_asked = int(k) if isinstance(k, Integral) else None
        return RandomStart.of(pca, n_asked=n_asked)

    def new_module(self, start: Start, plan: TrainingPlan, seed: int) -> BaseModule:
        """Return a module at a start."""
        module = self.module(*self.networks(start, plan, seed)).float()
        start.apply(module)
        if self.deviation is not None:
            module.set_deviations(self.deviation)
        return module

    def measure_columns(self, X: Any, weight: NDArray | None) -> None:
        """Measure what modules are to know of the columns of (some of) the rows."""
        if self.reconstructs and not self.handles_missing:
            self.deviation = deviations_of(X, weight)

    def built(
        self,
        architecture: Any,
        sample_shape: tuple[int, ...],
        plan: TrainingPlan,
        seed: int,
        k: int,
        n_inputs: int = 1,
    ) -> tuple[nn.Module, nn.Module]:
        """Return the networks of an architecture for codes of width `k`.

        The encoder takes so many arrays beside one another.
        """
        if architecture is None:
            architecture = MLP(plan.hidden_layer_sizes, self.params.activation)
        check_instance(architecture)
        generator = new_torch_generator(seed)
        shape, axis, one = sample_shape, 0, sample_shape
        if n_inputs > 1:
            for_channels = getattr(
                architecture,
                "for_channels",
                partial(Architecture.for_channels, architecture),
            )
            architecture, one, axis = for_channels(sample_shape)
            shape = tuple(n * n_inputs if i == axis else n for i, n in enumerate(one))
        if is_users(architecture):
            with seeded_globally(seed):
                networks = architecture.build(shape, k, generator)
                encoder, decoder = check_networks(architecture, networks, shape, k)
        else:
            encoder, decoder = architecture.build(shape, k, generator)
        if n_inputs > 1 and len(one) > 1:
            encoder = OfStackedSamples(encoder, one, axis)
        return encoder, decoder

    def new_net(
        self,
        module: BaseModule | StackedModules,
        start: Start,
        plan: TrainingPlan,
        seed: int,
        **changes: Any,
    ) -> AutoencoderNet:
        """Return an initialised net for a module."""
        loss = self.loss(plan)
        settings = {
            "optimizer": AdamW,
            "max_epochs": plan.max_iter,
            "optimizer__weight_decay": plan.alpha,
            "batch_size": plan.batch_size,
            "seed": seed,
            "loss_floor": loss.floor(start),
            **self._settings(),
            **changes,
        }
        is_adamw = settings["optimizer"] in (AdamW, torch.optim.AdamW)
        is_adam = is_adamw or settings["optimizer"] is torch.optim.Adam
        if is_adam and not settings.get("optimizer__foreach"):
            settings.setdefault("optimizer__fused", True)
        if is_adamw and module.undecayed:
            undecayed = [(name, {"weight_decay": 0.0}) for name in module.undecayed]
            settings.setdefault("optimizer__param_groups", undecayed)
        try:
            net = self.net_class(module, loss, **settings).initialize()
            net.asked_ = self._asked()
            return net
        except (TypeError, ValueError, RuntimeError) as error:
            if not self.params.net_params:
                raise
            raise ValueError(
                f"net_params={self.params.net_params!r}: {error}"
            ) from error

    def _asked(self) -> dict[str, str]:
        """Return the text of the parameters that a course of training follows from."""
        texts = lasting_parameters(self.params)
        return {name: text for name, text in texts.items() if name != "callbacks"}

    def _settings(self) -> dict[str, Any]:
        """Return what the parameters say of a net."""
        params = self.params
        return {
            "lr": params.learning_rate_init,
            "n_iter_no_change": params.n_iter_no_change,
            "tol": params.tol,
            "callbacks": check_callbacks(params.callbacks, self.reconstructs),
            "verbose": int(params.verbose),
            "device": str(resolve_device(params.device)),
            **check_net_params(params.net_params),
        }

    def continued(self, net: AutoencoderNet, plan: TrainingPlan) -> AutoencoderNet:
        """Return a copy of a trained net that goes on under the present parameters."""
        net = net.copied()
        settings = self._settings()
        net.max_epochs, net.batch_size = plan.max_iter, plan.batch_size
        net.set_verbose(settings["verbose"])
        for name in ("n_iter_no_change", "tol"):
            setattr(net, name, settings[name])
        lr = settings["lr"]
        groups = net.optimizer_.param_groups
        for i, group in enumerate(groups):
            is_undecayed = i < len(net.module_.undecayed) and len(groups) > 1
            if "weight_decay" in group and not is_undecayed:
                group["weight_decay"] = plan.alpha
            if lr != net.lr:  # else a scheduler may have changed that of the group
                group["lr"] = lr
        net.lr, net.asked_ = lr, self._asked()
        return net


def deviations_of(X: Any, weight: NDArray | None) -> NDArray:
    """Return the standard deviations of the columns of (some of) the rows, (d,)."""
    rows, weight = sample_rows(X, weight, STATISTICS_ROWS, np.random.default_rng(0))
    centred = rows - np.average(rows.astype(np.float64), 0, weight)
    size: float = np.abs(centred).max() or 1.0  # whose square may be too large
    return size * np.sqrt(np.average(np.square(centred / size), 0, weight))
