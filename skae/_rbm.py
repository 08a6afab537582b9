"""RBM: the restricted Boltzmann machine as an estimator."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._boltzmann import (
    BoltzmannMachine,
    LogPartition,
    drawn,
    gaussian_machine,
    gaussian_start,
    independent_start,
    moments,
)
from ._callbacks import UNWATCHED, CallbackSupportMixin, FitTask, with_callbacks
from ._contrastive_divergence import ContrastiveDivergence, Steps
from ._dataset import (
    RowDataset,
    as_dense,
    as_tensor,
    float_dtype,
    row_chunks,
    sample_rows,
)
from ._file import StoredEstimator
from ._machine_gate import COMMON, least_gain
from ._onnx import OnnxMixin
from ._parameters import (
    check_flag,
    device_or_cpu,
    is_auto,
    new_random_state,
    new_torch_generator,
    resolve_device,
    unchanged_on_error,
)
from ._plan import MAX_HELD_OUT, MIN_ROWS, SMALL_TABLE
from ._rows import check_codes, check_range, check_rows
from ._sklearn import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from ._solvers import follow, incremental_start, new_incremental_pca
from ._split import MIN_HELD_OUT, choose_held_out, distinct_rows, row_hashes
from ._step import OneThread, usual_settings
from ._weights import check_weights, used_rows

# Rows by which a machine is found to be lost, at most.
LOST_ROWS = 1000
# Held-out rows: a share, more of few rows.
SMALL_SHARE, SHARE = 0.2, 0.1
# Copies in a pass, if distinct rows are not more than a tenth of that.
MOST_COPIES = 10_000


class RBM(
    OnnxMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    StoredEstimator,
):
    """Restricted Boltzmann machine with an exact likelihood.

    In the place of :class:`sklearn.neural_network.BernoulliRBM`, with Gaussian units as
    well. It starts at a closed form: independent columns, or, with Gaussian units on
    both sides, probabilistic PCA, which is the best such machine and needs no training.
    Contrastive divergence then trains the weights; with `validation_fraction` the
    machine is kept only where rows that it has not seen are likelier than under the
    start.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Units of the rows. "bernoulli" takes values from 0 to 1 (those between are taken
        for probabilities), "gaussian" any.
    hidden : {"bernoulli", "gaussian"}, default="bernoulli"
        Hidden units: of 0 and 1, or normal with variance 1.
    learning_rate : float, default=0.05
        Learning rate of the first step; in :meth:`fit` it falls linearly to 0. Gaussian
        rows are divided by one scalar, the root-mean-square deviation of the columns.
    momentum : float, default=0.5
        What a step keeps of the step before, in [0, 1).
    n_gibbs_steps : int, default=1
        Steps of Gibbs sampling for each gradient, k of CD-k.
    persistent : bool or "auto", default="auto"
        Let the chains go on from batch to batch (PCD, Tieleman 2008) in place of
        beginning at the rows (CD, Hinton 2002). "auto" does for Bernoulli visible
        units; chains of Gaussian ones mix too slowly.
    batch_size : int, default=10
        Rows of a step, and number of chains that go on.
    max_iter : int, default=10
        Passes over the rows. With 0 the machine is the start.
    validation_fraction : float, "auto" or None, default=None
        None holds out nothing, and keeps what was trained: for features. Otherwise the
        share of the distinct rows that is held out, but for common ones, to keep the
        start where they are not likelier under the trained machine, by 2 standard
        errors, nor rows as often as they are there: for likelihoods, since the features
        of the start are the same for every row. "auto" is 10 % of 1000 rows or more
        (10,000 at most), 20 % of fewer, and none of less than 10.
        With fewer than 5 the start is kept.
    verbose : bool, default=False
        Print a line for each pass, and which machine is kept.
    random_state : int, RandomState or None, default=None
        Seeds the weights, the chains, the order of the rows, those that are held out,
        and annealing. None takes it from ``numpy.random``, whose seed is thus honoured;
        torch's random state is never touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Weights, W' of the energy.
    intercept_visible_ : ndarray of shape (n_features,)
        Biases of the visible units, b; in the units of `X`.
    intercept_hidden_ : ndarray of shape (n_components,)
        Biases of the hidden units, c.
    noise_variance_ : float
        Variance of Gaussian visible units given the hidden ones, s2, in squared units
        of `X`; 1 for Bernoulli ones, which have no such parameter.
    log_partition_ : float
        Logarithm of the partition function, in nats; see Notes for what it costs.
    log_partition_error_ : float
        Its standard error; 0 where it is exact.
    n_iter_ : int
        Passes over the rows; 1 for the closed form of Gaussian units on both sides.
    is_trained_ : bool
        Whether the trained machine is kept, and not the start.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`.
    sample_shape_ : tuple of int
        Shape of a row: ``(n_features,)`` for a table, ``(28, 28)`` for images given as
        an array of shape (n_samples, 28, 28), which also come back so.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.

    See Also
    --------
    DeepBeliefAutoencoder : A stack of such machines, as an autoencoder.
    sklearn.neural_network.BernoulliRBM : Has a pseudo-likelihood only.

    Notes
    -----
    The energy is ``A(v) + B(h) - r(v)' W h``, with ``A = -b'v`` and ``r = v`` for
    Bernoulli visible units, ``A = |v - b|^2 / (2 s2)`` and ``r = (v - b) / s2`` for
    Gaussian ones, and ``B = -c'h`` or ``|h - c|^2 / 2``.

    `log_partition_` is found when it is first asked for, and kept. With Gaussian units
    on both sides it has a closed form. Where one side has up to 20 Bernoulli units (and
    can be enumerated: hidden ones, or visible ones of Bernoulli rows), it is exact, and
    takes up to ``2**20`` times the other side: a second or ten. Otherwise it is
    annealed importance sampling with 100 chains of 1000 temperatures from the base
    rates of the columns (Salakhutdinov & Murray 2008), which costs as much as training
    on some 100,000 rows: .3 s for 64 x 100 units. :meth:`score_samples` is a
    log-likelihood by it, where ``BernoulliRBM`` has a pseudo-likelihood that depends
    on a random column.

    Gradients are centred (Montavon & Mueller 2012): by the means of the columns, and by
    a moving average of the means of the hidden units on data. A fit that compares
    likelihoods samples as little as tells the machines apart.

    References
    ----------
    Hinton (2002), Training products of experts by minimizing contrastive divergence.
    Neural Computation 14.

    Montavon & Mueller (2012), Deep Boltzmann machines and the centering trick.

    Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks.
    ICML.

    Tieleman (2008), Training restricted Boltzmann machines using approximations to the
    likelihood gradient. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import RBM
    >>> X = load_digits().data / 16
    >>> rbm = RBM(n_components=16, max_iter=5, random_state=0).fit(X[:1300])
    >>> rbm.transform(X[1300:]).shape
    (497, 16)
    >>> start = RBM(n_components=16, max_iter=0).fit(X[:1300])
    >>> bool(rbm.score(X[1300:]) > start.score(X[1300:]) + 1)  # nats per row
    True

    With Gaussian units it is probabilistic PCA:

    >>> from sklearn.decomposition import PCA
    >>> gaussian = RBM(4, visible="gaussian", hidden="gaussian").fit(X)
    >>> bool(np.allclose(gaussian.score_samples(X), PCA(4).fit(X).score_samples(X)))
    True
    """

    # Passed on only where they are asked for: BernoulliRBM has none.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_weight": False}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "visible": [StrOptions({"bernoulli", "gaussian"})],
        "hidden": [StrOptions({"bernoulli", "gaussian"})],
        "learning_rate": [Interval(Real, 0, 1e30, closed="right")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "persistent": ["boolean", StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "validation_fraction": [
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"auto"}),
            None,
        ],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
    }

    sample_shape_: tuple[int, ...]
    _machine: BoltzmannMachine
    _partition: LogPartition | None
    _trainer: ContrastiveDivergence | None  # of partial_fit
    _solver: Any = None  # of partial_fit with Gaussian units on both sides
    _seed: int

    def __init__(
        self,
        n_components: int = 256,
        *,
        visible: str = "bernoulli",
        hidden: str = "bernoulli",
        learning_rate: float = 0.05,
        momentum: float = 0.5,
        n_gibbs_steps: int = 1,
        persistent: bool | str = "auto",
        batch_size: int = 10,
        max_iter: int = 10,
        validation_fraction: float | str | None = None,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: Any = "auto",
    ) -> None:
        self.n_components = n_components
        self.visible = visible
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.n_gibbs_steps = n_gibbs_steps
        self.persistent = persistent
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    # Fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> RBM:
        """Start at the closed form, and train.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows; sparse ones become dense batch by batch. Equal rows are held
            out together, and common ones, which are there ten times as often as the
            rarest, are not.
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts like the same row given twice. A pass takes as
            many steps as all copies would, of up to 10,000, or ten for each distinct
            row.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If `X` has NaN or infinity, or values outside [0, 1] with
            ``visible="bernoulli"`` (the column is named), or fewer than 2 rows; or if a
            parameter or the weights are invalid. An earlier fit is left unharmed.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the start is kept although there were passes over the rows: held-out rows
            are not likelier under the trained machine, or it diverged (so that
            Gaussian rows are further from their reconstructions than from their mean),
            or too few rows are held out to say.
        """
        task = FitTask(self, X, y, sample_weight=sample_weight)
        warn_if_kept(self._fit(X, sample_weight, task), stacklevel=5)
        return self

    def _fit(self, X: Any, sample_weight: Any, task: FitTask = UNWATCHED) -> str:
        """Fit; return why the start is kept although there were passes, or nothing."""
        with unchanged_on_error(self), usual_settings(), OneThread():
            rows: Any = self._checked(X, reset=True, min_rows=2)
            weight = check_weights(sample_weight, rows)
            rows, weight, _ = used_rows(rows, weight, min_rows=2)
            seed = int(new_random_state(self.random_state).randint(2**31 - 1))
            rows, weight = _merged(rows, weight, self.visible)
            start, mean, scale = self._start(rows, weight, seed)
            machine, n_iter, reason = start, int(self.max_iter), ""
            if self._is_closed:
                n_iter = 1
            elif self.max_iter:
                task.begin(n_iter)
                how = mean, scale, seed, task
                found = self._trained(rows, weight, start, *how)
                machine, n_iter, reason = found
            self._publish(machine, seed, n_iter, machine is not start)
            self._trainer = self._solver = None
            task.end()
        return reason

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: Any = None
    ) -> RBM:
        """Take one pass over some rows, at the full learning rate.

        The first call starts at the closed form of its rows. Nothing is held out, and
        what is trained is used. With Gaussian units on both sides it is probabilistic
        PCA of all batches so far, as :class:`~sklearn.decomposition.IncrementalPCA`
        finds it, with as many components as the first batch has rows and columns at
        most; after :meth:`fit` it stays.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : any, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the gradient.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As :meth:`fit`, or if `n_components` or a type of units is not that of an
            earlier call; if the machine diverges, it is left as it was.
        """
        del y
        with unchanged_on_error(self), usual_settings(), OneThread():
            is_first = not hasattr(self, "_machine")
            rows = self._checked(X, reset=is_first, min_rows=1 + is_first)
            self._publish_pass(rows, check_weights(sample_weight, rows), is_first)
        return self

    def _publish_pass(self, X: Any, weight: NDArray | None, is_first: bool) -> None:
        """Train on some rows, from the start or where the last call has ended."""
        X, weight, _ = used_rows(X, weight)
        if self._is_closed:
            self._follow(X, is_first)
            return
        if is_first:
            seed = int(new_random_state(self.random_state).randint(2**31 - 1))
            machine, mean, scale = self._start(X, weight, seed)
            n_iter = 0
        else:
            self._check_same_machine()
            seed, machine, n_iter = self._seed, self._machine, self.n_iter_
            mean, scale = moments(X, weight, self.visible)
        size = min(int(self.batch_size), X.shape[0])
        earlier = None if is_first else self._trainer
        trainer = self._trainer_of(machine, mean, scale, size, seed, earlier)
        dataset = self._dataset(X, trainer)
        n_steps = -(-dataset.n_rows // size)
        trainer.reseed(seed + 2 * n_iter, n_steps * (int(self.n_gibbs_steps) + 1))
        order = torch.arange(dataset.n_rows, device=dataset.device)
        trainer.break_symmetry(dataset, order)
        rates = np.full(n_steps, float(self.learning_rate))
        trainer.run(dataset, order, as_tensor(weight, dataset.device), rates)
        if not trainer.is_finite:
            raise ValueError(
                f"learning_rate={self.learning_rate!r}: training has diverged, and "
                "the machine is left as it was. Take a smaller one."
            )
        self._trainer = trainer
        self._publish(trainer.trained(), seed, n_iter + 1, True)

    def _follow(self, X: Any, is_first: bool) -> None:
        """Let probabilistic PCA follow one more batch."""
        k = int(self.n_components)
        if is_first:
            seed = int(new_random_state(self.random_state).randint(2**31 - 1))
            solver, n_iter = new_incremental_pca(min(k, *X.shape), X.shape), 0
        else:
            self._check_same_machine()
            seed, solver, n_iter = self._seed, self._solver, self.n_iter_
            if solver is None:  # `fit` has found it
                return
        self._solver = follow(solver, as_dense(X))
        pca = incremental_start(self._solver, None)
        self._trainer = None
        self._publish(gaussian_machine(pca, k, seed), seed, n_iter + 1, False)

    @property
    def _is_closed(self) -> bool:
        """Whether the start is the machine of the largest likelihood."""
        return self.visible == self.hidden == "gaussian"

    def _stored(self) -> dict[str, Any]:
        attributes = super()._stored()
        if "_trainer" in attributes:
            attributes["_trainer"] = None
        return attributes

    def _checked(self, X: Any, *, reset: bool, min_rows: int | None = None) -> Any:
        X = check_rows(self, X, reset=reset, min_rows=min_rows)
        visible = self.visible if min_rows is not None else self._machine.visible
        if visible == "bernoulli":
            names = getattr(self, "feature_names_in_", None)
            asked = 0.0, 1.0, 'visible="bernoulli"'
            advice = (
                "sklearn.preprocessing.MinMaxScaler(clip=True) brings columns there."
            )
            check_range(X, asked, names, advice)
        return X

    def _start(
        self, X: Any, weight: NDArray | None, seed: int
    ) -> tuple[BoltzmannMachine, NDArray, float]:
        k = int(self.n_components)
        if self._is_closed:
            return gaussian_start(X, weight, k, seed)
        units = self.visible, self.hidden
        return independent_start(X, weight, k, units, seed)

    def _check_same_machine(self) -> None:
        machine = self._machine
        fitted = {
            "n_components": machine.weight.shape[1],
            "visible": machine.visible,
            "hidden": machine.hidden,
        }
        for name, value in fitted.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}, but training goes on from a fit "
                    f"with {value!r}: keep it, or call fit."
                )

    def _trainer_of(
        self,
        machine: BoltzmannMachine,
        mean: NDArray,
        scale: float,
        size: int,
        seed: int,
        earlier: ContrastiveDivergence | None = None,
    ) -> ContrastiveDivergence:
        """Return what trains a machine, or goes on from an earlier call."""
        persistent = self.persistent
        if isinstance(persistent, str):
            persistent = self.visible == "bernoulli"
        how = float(self.momentum), int(self.n_gibbs_steps), bool(persistent)
        steps, device = Steps(size, *how), resolve_device(self.device)
        if earlier is not None and (earlier.steps, earlier.device) == (steps, device):
            return copy.deepcopy(earlier)
        return ContrastiveDivergence(machine, mean, scale, steps, device, seed)

    def _dataset(self, X: Any, trainer: ContrastiveDivergence) -> RowDataset:
        return RowDataset(X, trainer.mean, trainer.scale, trainer.device)

    def _trained(
        self,
        X: Any,
        weight: NDArray | None,
        start: BoltzmannMachine,
        mean: NDArray,
        scale: float,
        seed: int,
        task: FitTask,
    ) -> tuple[BoltzmannMachine, int, str]:
        """Return the trained machine or the start, the passes, and why that is kept."""
        n, generator = X.shape[0], new_torch_generator(seed)
        rare = np.arange(n)
        if weight is not None:
            rare = np.flatnonzero(weight < COMMON * weight.min())
        n_held_out = self._n_held_out(len(rare))
        if n_held_out is not None and n_held_out < MIN_HELD_OUT:
            reason = (
                f"because fewer than {MIN_HELD_OUT} held-out rows, here {n_held_out}, "
                "say nothing: take more rows, a larger validation_fraction, or None"
            )
            return start, 0, reason
        chosen = choose_held_out(len(rare), None, n_held_out or 0, generator).numpy()
        held_out = np.sort(rare[chosen])
        distinct = np.delete(np.arange(n, dtype=np.int32), held_out)
        copies, weight_of_copy = _copies(weight, n)
        rows = torch.from_numpy(distinct.repeat(copies[distinct]))
        size = min(int(self.batch_size), len(rows))
        trainer = self._trainer_of(start, mean, scale, size, seed)
        dataset = self._dataset(X, trainer)
        rows, w = rows.to(dataset.device), None
        if weight_of_copy is not None:
            w = torch.from_numpy(weight_of_copy).float().to(dataset.device)
        trainer.break_symmetry(dataset, torch.from_numpy(distinct).to(dataset.device))
        if task.is_watched:
            task.so_far = lambda epoch: (trainer.trained(), seed, epoch, True)
        n_iter = self._passed(trainer, dataset, rows, w, generator, task)
        machine = trainer.trained() if trainer.is_finite else None
        reason = self._why_lost(machine, X, n_iter, seed)
        if machine is None or reason:
            return start, n_iter, reason
        if n_held_out is not None:
            reason = self._why_not(start, machine, X, weight, held_out, trainer.device)
        return start if reason else machine, n_iter, reason

    def _why_lost(
        self, machine: BoltzmannMachine | None, X: Any, n_iter: int, seed: int
    ) -> str:
        """Return why a machine, None if it diverged, is of no use, or nothing."""
        if machine is None:
            return (
                f"because training diverged in pass {n_iter}: take a smaller "
                f"learning_rate than {self.learning_rate!r}"
            )
        some = sample_rows(X, None, LOST_ROWS, np.random.default_rng(seed))[0]
        if not machine.is_lost(some):
            return ""
        return (
            "because under the trained machine the rows are further from their own "
            "reconstructions than from their mean: take a smaller learning_rate "
            f"than {self.learning_rate!r}, or sklearn.preprocessing.StandardScaler "
            "before"
        )

    def _passed(
        self,
        trainer: ContrastiveDivergence,
        dataset: RowDataset,
        rows: Tensor,
        weight: Tensor | None,
        generator: torch.Generator,
        task: FitTask,
    ) -> int:
        """Train on batches of rows; return the number of passes."""
        epochs = int(self.max_iter)
        n_batches = -(-len(rows) // trainer.steps.batch_size)
        rates = np.linspace(1, 0, epochs * n_batches, endpoint=False)
        rates = (float(self.learning_rate) * rates).reshape(epochs, n_batches)
        for epoch in range(epochs):
            task.begin_epoch()
            order = dataset.shuffled(rows, generator)
            trainer.run(dataset, order, weight, rates[epoch])
            stops = task.end_epoch(epoch + 1)
            if self.verbose and trainer.is_finite:
                print(f"RBM: pass {epoch + 1} of {epochs}")
            if stops or not trainer.is_finite:
                return epoch + 1
        return epochs

    def _why_not(
        self,
        start: BoltzmannMachine,
        machine: BoltzmannMachine,
        X: Any,
        weight: NDArray | None,
        held_out: NDArray,
        device: torch.device,
    ) -> str:
        """Return why a machine is no better on held-out rows, or nothing if it is."""
        gain = least_gain(start, machine, X, weight, held_out, device)
        if self.verbose:
            kept = "trained machine" if gain > 0 else "start"
            print(f"RBM: the {kept} is kept, by {gain:.3f} nats per held-out row")
        if gain > 0:
            return ""
        return (
            "because held-out rows are not surely likelier under the trained machine "
            f"(by at least {gain:.3g} nats per row), and its features are the same for "
            "every row: take another learning_rate, more passes (max_iter), or "
            "validation_fraction=None"
        )

    def _n_held_out(self, n: int) -> int | None:
        """Return how many of `n` distinct rows are held out; None if none is to be."""
        share = self.validation_fraction
        if share is None:
            return None
        if is_auto(share):
            if n < MIN_ROWS:
                return 0
            share = SMALL_SHARE if n < SMALL_TABLE else SHARE
            return min(max(round(share * n), MIN_HELD_OUT), MAX_HELD_OUT)
        return min(max(1, round(float(share) * n)), n - 1)

    def _publish(
        self, machine: BoltzmannMachine, seed: int, n_iter: int, is_trained: bool
    ) -> None:
        self._machine, self._seed, self._partition = machine, seed, None
        self.components_ = machine.weight.T.copy()
        self.intercept_visible_ = machine.visible_bias
        self.intercept_hidden_ = machine.hidden_bias
        self.noise_variance_ = float(machine.noise)
        self.n_iter_ = n_iter
        self.is_trained_ = is_trained

    # What a fitted machine does

    def transform(self, X: ArrayLike) -> NDArray:
        """Return the means of the hidden units, given rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            ``P(h = 1 | v)`` of Bernoulli units; float32 for float32 rows, else float64.
            A frame if :meth:`set_output` asks for one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has other columns than in :meth:`fit`, NaN or infinity, or values
            outside [0, 1] with Bernoulli visible units.
        """
        check_is_fitted(self)
        machine = self._machine
        X = self._checked(X, reset=False)
        return _map(X, machine.hidden_mean, (machine.weight.shape[1],))

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Return the means of the rows, given hidden units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            States of the hidden units, or their means.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            ``P(v = 1 | h)`` of Bernoulli units, else in the units of the training rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `X` has not `n_components` columns, or NaN or infinity.
        """
        check_is_fitted(self)
        H = check_codes(X)
        d, k = self._machine.weight.shape
        if H.shape[1] != k:
            raise ValueError(
                f"X has {H.shape[1]} columns, but this RBM has {k} hidden units, its "
                "n_components."
            )
        return self._as_samples(_map(H, self._machine.visible_mean, (d,)))

    def gibbs(
        self, v: ArrayLike, *, random_state: int | RandomState | None = None
    ) -> NDArray:
        """Return rows after one step of Gibbs sampling.

        Parameters
        ----------
        v : array-like or sparse matrix of shape (n_samples, n_features)
        random_state : int, RandomState or None, default=None
            Seeds the draws; None draws from ``numpy.random``.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Drawn rows: of 0 and 1 for Bernoulli units.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            As :meth:`transform`.
        """
        check_is_fitted(self)
        V, rng = self._checked(v, reset=False), new_random_state(random_state)
        draw = partial(self._machine.sampled, rng=rng)
        return self._as_samples(_map(V, draw, (V.shape[1],)))

    def sample(
        self,
        n_samples: int = 1,
        *,
        n_gibbs_steps: int = 1000,
        add_noise: bool = True,
        random_state: int | RandomState | None = None,
    ) -> NDArray:
        """Draw rows: chains of Gibbs sampling that begin at the start.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows, a chain each.
        n_gibbs_steps : int, default=1000
            Steps of each chain. They are draws from the machine after many.
        add_noise : bool, default=True
            Draw the rows given the last hidden units. False returns their means:
            probabilities of Bernoulli units.
        random_state : int, RandomState or None, default=None
            Seeds the draws; None draws from ``numpy.random``.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            0 and 1 of Bernoulli units, else in the units of the training rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            If a number is not an integer of at least 1.
        """
        check_is_fitted(self)
        for name, value in (("n_samples", n_samples), ("n_gibbs_steps", n_gibbs_steps)):
            check_scalar(value, name, Integral, min_val=1, max_val=2**31 - 1)
        machine, rng = self._machine, new_random_state(random_state)
        base = machine.visible_bias if machine.base is None else machine.base
        mean = expit(base) if machine.visible == "bernoulli" else base
        means = np.tile(mean, (int(n_samples), 1))
        V = drawn(means, machine.visible, machine.noise, rng)
        for _ in range(int(n_gibbs_steps) - 1):
            V = machine.sampled(V, rng)
        H = drawn(machine.hidden_mean(V), machine.hidden, 1.0, rng)
        rows = machine.visible_mean(H)
        if check_flag("add_noise", add_noise):
            rows = drawn(rows, machine.visible, machine.noise, rng)
        return self._as_samples(rows)

    def _as_samples(self, rows: NDArray) -> NDArray:
        """Return rows in the shape of what was fitted."""
        return rows.reshape(len(rows), *self.sample_shape_)

    def free_energy(self, X: ArrayLike) -> NDArray:
        """Return the free energy of rows, ``-log sum_h exp(-E(v, h))``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats. Differences between rows are those of their log-likelihoods, and
            need no partition function.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            As :meth:`transform`.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return _map(X, self._machine.free_energy, (), np.float64)

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return the log-likelihood of rows: ``-free_energy(X) - log_partition_``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats. It is exact but for `log_partition_error_`, by which all rows are
            off alike. Of values between 0 and 1 it is a score: the machine has a
            probability for rows of 0 and 1. ``BernoulliRBM`` returns a
            pseudo-likelihood here, which is another number.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            As :meth:`transform`.
        """
        return -self.free_energy(X) - self.log_partition_

    def score(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, in nats per row.

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
        """
        del y
        scores = self.score_samples(X)
        scores, weight, _ = used_rows(scores, check_weights(sample_weight, scores))
        return float(np.average(scores, weights=weight))

    @property
    def log_partition_(self) -> float:
        """Logarithm of the partition function, in nats, found when first asked for."""
        return self._found_partition.value

    @property
    def log_partition_error_(self) -> float:
        """Standard error of `log_partition_`; 0 where it is exact."""
        return self._found_partition.error

    @property
    def _found_partition(self) -> LogPartition:
        check_is_fitted(self)
        if self._partition is None:
            with usual_settings(), OneThread():
                device = device_or_cpu(self.device)
                self._partition = self._machine.log_partition(device)
        return self._partition

    # What scikit-learn asks

    @property
    def _n_features_out(self) -> int:
        return self._machine.weight.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_machine")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def warn_if_kept(reason: str, stacklevel: int) -> None:
    """Warn of a start that is kept for a reason."""
    if reason:
        warnings.warn(
            f"RBM: the start is kept, {reason}.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def _map(X: Any, function: Any, shape: tuple[int, ...], dtype: Any = None) -> NDArray:
    """Apply a function to dense chunks of rows and collect what it returns."""
    result = np.empty((X.shape[0], *shape), dtype=dtype or float_dtype(X))
    with usual_settings(), OneThread():
        for rows in row_chunks(X):
            result[rows] = function(as_dense(X[rows]))
    return result


def _merged(X: Any, weight: NDArray | None, units: str) -> tuple[Any, NDArray | None]:
    """Return the distinct rows and their weights, if rows are there more than once.

    All that follows is then the same however copies are given.
    """
    place = np.zeros(X.shape[1]), 1.0
    if units == "gaussian":
        place = moments(X, weight, units)
    hashes = row_hashes(X, *place)
    distinct = distinct_rows(hashes, weight, None)
    if distinct.weight is None:
        return X, None
    return X[distinct.rows], distinct.weight


def _copies(weight: NDArray | None, n: int) -> tuple[NDArray, NDArray | None]:
    """Return how often each of n distinct rows is in a pass, and what a copy weighs.

    A pass takes as many steps as if copies were given one by one, up to a limit.

    Returns
    -------
    copies : ndarray of int of shape (n,)
    weight_of_copy : ndarray of shape (n,) or None
        Of mean 1 over the copies. None: 1 each.
    """
    if weight is None:
        return np.ones(n, dtype=int), None
    share = min(1.0, max(MOST_COPIES, 10 * n) / weight.sum())
    copies = np.maximum(np.ceil((1 - 1e-9) * share * weight), 1).astype(int)
    each = weight / copies * (copies.sum() / weight.sum())
    return copies, None if np.ptp(each) < 1e-9 else each
