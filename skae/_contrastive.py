"""The contrastive autoencoder: canonical correlations of two views, and networks.

Two encoders map the views to codes, and a pair is told from others by the log density
ratio of a normal distribution of its codes (``_density_ratio.py``). It starts at
canonical correlation analysis (``_cca.py``); the networks, and the correlations that
the ratio is of, are trained to tell each pair from the other pairs of a batch.

Without a second view, two corrupted copies of each row are the views
(``_contrastive_copies.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._contrastive_copies import ContrastingCopies
from ._contrastive_objective import Contrasting
from ._corruptions import CORRUPTIONS, corrupted_copies
from ._density_ratio import log_ratio, of_pairs, whole_bound
from ._missing import known_cells
from ._objective import Objective
from ._step import OneThread, usual_settings
from ._targets import about_y, check_same_number
from ._views import TwoViewEstimator
from ._weights import check_weights


class ContrastiveAutoencoder(TwoViewEstimator):
    """Encoders of two views that tell which rows belong together.

    It starts at canonical correlation analysis, regularised as held-out rows ask for,
    and its score is the log density ratio of each pair, in nats. Networks beside both
    linear maps are then trained to tell each pair from others (InfoNCE), and held-out
    pairs decide whether they replace them. Labels are a view, too; without a second
    view, two corrupted copies of each row are told from those of other rows.

    Parameters
    ----------
    n_components : int or None, default=2
        Number of codes of each view, at most the smaller rank of both. None takes that.
    shrinkage : float or "auto", default="auto"
        Share in [0, 1] of a multiple of the identity in the covariance of each view, as
        of :class:`~sklearn.covariance.ShrunkCovariance`: with 0 the start is canonical
        correlation analysis, and with 1 its codes span those of partial least squares.
        "auto" takes the share
        that held-out rows find best, and the correlations that these have, where those
        of the rows themselves promise too much. Not used without a second view.
    corruption : str or callable, default="swap"
        "swap", "gaussian", "masking" or "salt_and_pepper", or a function of your own.
        What is done to the rows, each cell by itself. "swap" puts another row's value
        of the same column in the place of a cell (Bahri et al. 2022), "masking" the
        mean of the column, "salt_and_pepper" the column's smallest or largest value
        in the batch; "gaussian" adds noise. A function ``corruption(X, generator)``
        gets a float32 tensor of samples in the shape and the units of `X`, and a
        :class:`torch.Generator` to draw from, and returns a tensor of the same shape.
        Where a series has padding, the function gets the mean of the step. Only used
        without a second view.
    corruption_level : float, default=0.6
        Share of the cells that is replaced, in [0, 1]; for "gaussian" the standard
        deviation of the noise, as a multiple of the root-mean-square deviation of the
        columns. Not used with a callable.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the hidden layers of encoders, or one width; a decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows, or ``(64, 32)`` for a single code, and
        ``(256, 128)`` from there, or ``(256, 128, 64)`` for one or two codes. Only used
        for a view without an architecture.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used for a view without an architecture.
    architecture : Architecture or None, default=None
        Which network encodes the first view: the encoder of
        :class:`skae.architectures.MLP`, :class:`~skae.architectures.Convolutional` for
        images and signals, :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Transformer` for both,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. None is an MLP.
    y_architecture : Architecture or None, default=None
        The same for the second view.
    alpha : float or "auto", default="auto"
        Weight decay (AdamW's, decoupled from the gradient). "auto" is
        ``min(1, 3 * sqrt(d / n))`` for n distinct rows and d columns of both views.
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2, and twice that for one or two codes of 1000 rows or more. With 0,
        nothing is trained and the estimator is canonical correlation analysis.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        canonical correlation analysis and the networks. "auto" holds out 10 % of 1000
        rows or more (at most 10,000); with fewer rows each is held out once, in 5
        folds, and networks that win are trained again on all rows. They have to be
        better by ``1.25 + 30 / n`` standard errors or more over folds of n rows, or 2
        over a split; below 10 distinct rows, or 5 held-out ones, the start is kept.
        Recurrent networks and Transformers, which train one after the other, have folds
        below 200 rows only.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest,
        unless a third of them leaves no hope to be better than the start.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    warm_start : bool, default=False
        Let :meth:`fit` go on from the networks of the last fit. The linear start and
        the means stay those of the first one, and a split decides in place of folds.
        The rate, the decay, the batches and the epochs may change; other networks or
        another objective are an error.
    verbose : bool, default=False
        Print a line for each epoch, and whether the start or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out rows, the order of the rows and the
        corruption. None takes them from ``numpy.random``, whose seed is thus honoured;
        torch's random state is never touched.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch.callbacks.Callback or None, default=None
        Called while the network trains; the history has ``train_loss``, ``valid_loss``
        and ``dur``. A :class:`skorch.callbacks.LRScheduler` replaces the one-cycle
        learning rate. With callbacks, a split decides in place of folds (20 % of less
        than 1000 rows).
    net_params : dict or None, default=None
        Further parameters of the skorch net, under skorch's names, such as
        ``{"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}``.

    Attributes
    ----------
    n_components_ : int
        Number of codes.
    n_features_in_ : int
        Number of columns of the first view: the product of `sample_shape_`.
    sample_shape_ : tuple of int
        Shape of a sample of the first view: ``(n_features,)`` for a table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    classes_ : ndarray of shape (n_classes,) or None
        Labels in order, if `y` holds labels.
    n_samples_ : int
        Number of rows seen in :meth:`fit`.
    correlations_ : ndarray of shape (n_components,)
        Correlation of each code of the first view with that of the second, by the
        normal distribution that scores pairs: canonical correlations while the start
        is used, those of held-out rows where ``shrinkage="auto"`` says so, and as a
        rule those of held-out rows once networks are.
    shrinkage_ : float
        Share that the start has.
    x_loadings_ : ndarray of shape (n_features, n_components)
        Loadings of the columns of the first view on its codes, by least squares over
        the training rows (10,000 of them at most).
    y_loadings_ : ndarray of shape (n_targets, n_components)
        The same of the second view.
    n_iter_ : int
        Epochs run; up to `best_iter_`, where folds have chosen that.
    best_iter_ : int
        Epoch whose weights are used; 0 if canonical correlation analysis was kept.
    loss_curve_ : list of float
        Training loss of each epoch: the negative InfoNCE bound within the batches, in
        nats.
    validation_scores_ : list of float
        The InfoNCE bound of the held-out pairs, among 1024 of them at most, for each
        epoch, from epoch 0 (the start) on, in nats.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module, for standardised rows.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.

    See Also
    --------
    sklearn.cross_decomposition.CCA : Canonical correlation analysis alone.

    Notes
    -----
    The start does not depend on the units of columns, but networks see rows as they
    are: standardise columns of different units.

    Codes of the start are white over the training rows, and uncorrelated but for those
    of the same number. For given `shrinkage`, :meth:`score_samples` is the log density
    ratio of their joint normal distribution, whose mean over the training rows is
    ``-0.5 * log(1 - correlations_ ** 2).sum()``, the mutual information of the codes.

    Of labels the score is ``log p(y | x) - log p(y)``, by the shares of the labels in
    :meth:`fit`: it is normalised over all labels, and at most ``-log p(y)``.

    Rows that are equal in one view have the same score, and so do not compete: to a
    constant that nothing depends on, InfoNCE takes all rows of one label for pairs
    (supervised contrastive learning), and its critic is the posterior of the label.

    A correlation of 1 is bounded: with a warning, since the views share a column then.

    References
    ----------
    Hotelling (1936), Relations between two sets of variates.

    Bach & Jordan (2005), A probabilistic interpretation of canonical correlation
    analysis.

    van den Oord, Li & Vinyals (2018), Representation learning with contrastive
    predictive coding: the loss, and the bound (equation 4).

    Radford et al. (2021), Learning transferable visual models from natural language
    supervision: both directions of the loss.

    Chen et al. (2020), A simple framework for contrastive learning of visual
    representations; Bahri et al. (2022), SCARF: self-supervised contrastive learning
    using random feature corruption.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import ContrastiveAutoencoder
    >>> X = load_digits().images
    >>> left, right = X[:, :, :4].reshape(-1, 32), X[:, :, 4:].reshape(-1, 32)
    >>> model = ContrastiveAutoencoder(8, max_iter=0).fit(left[:1200], right[:1200])
    >>> model.transform(left).shape, model.transform_y(right).shape
    ((1797, 8), (1797, 8))
    >>> similarity = model.similarity(left[1200:1300], right[1200:1300])
    >>> bool((similarity.argmax(axis=1) == range(100)).mean() > 0.05)  # 0.01 by chance
    True
    """

    _objective_class = Contrasting

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TwoViewEstimator._parameter_constraints,
        "shrinkage": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "corruption": [StrOptions(set(CORRUPTIONS)), callable],
        "corruption_level": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = 2,
        *,
        shrinkage: float | str = "auto",
        corruption: str | Callable[..., Tensor] = "swap",
        corruption_level: float = 0.6,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        y_architecture: Any = None,
        alpha: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-2,
        max_iter: int | str = "auto",
        validation_fraction: float | str = "auto",
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: int | RandomState | None = None,
        device: Any = "auto",
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.y_architecture = y_architecture
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.net_params = net_params

    def _objective(self) -> Objective:
        """Return what is trained, with the parameters as they are now."""
        if self._view is None:
            return ContrastingCopies(self._params(), self.sample_shape_)
        return super()._objective()

    def _pairs(
        self, X: Any, y: Any, params: Any, *, reset: bool, min_rows: int | None = None
    ) -> NDArray:
        """Return checked rows: of both views, or of one where there is one."""
        if reset and y is None:
            self._view = None
        if y is None and self._view is None:
            return self._checked_first(X, params, reset=reset, min_rows=min_rows)
        if not reset and self._view is None:
            raise ValueError(
                "y is given, but this ContrastiveAutoencoder was fitted without: fit "
                "anew with both views."
            )
        return super()._pairs(X, y, params, reset=reset, min_rows=min_rows)

    def _publish(self, fit: Any) -> None:
        """Take over a fit: what it has found out of both views."""
        self.classes_ = None if self._view is None else self._view.classes_
        self.correlations_ = fit.model.correlations.astype(fit.dtype)
        self.shrinkage_ = fit.start.shrinkage
        super()._publish(fit)

    # What a fitted estimator does

    def transform_y(self, y: Any) -> NDArray:
        """Return the codes of the second view.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            What :meth:`fit` got as `y`, or more of its kind; rows of the first view if
            it got none.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            float32 for float32 rows, else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If `y` has another shape than in :meth:`fit`, NaN, infinity or a label that
            is new.
        """
        check_is_fitted(self)
        rows = self._second(y, None)
        return self._map(rows, self._model.y_codes, (self.n_components_,))

    def similarity(self, X: Any, y: Any) -> NDArray:
        """Return how much more likely than by chance each row goes with each other one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_candidates,) or (n_candidates, n_targets)
            Any number of rows of the second view.

        Returns
        -------
        ndarray of shape (n_samples, n_candidates)
            The log density ratio of each pair, in nats: the largest one of a row is
            the best match of it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If a view has another shape than in :meth:`fit`, NaN or infinity.
        """
        check_is_fitted(self)
        u, v = self._codes(self._first(X)), self._y_codes(self._second(y, None))
        with usual_settings(), OneThread():
            constant = self._normaliser(u)[..., None]
            return (log_ratio(u, v, self._coefficients) + constant).numpy()

    def score_samples(self, X: Any, y: Any = None) -> NDArray:
        """Return how much more likely each pair is than by chance, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            The second view, row by row. None: what is expected of it, given `X`.

        Returns
        -------
        ndarray of shape (n_samples,)
            ``log p(x, y) - log p(x) - log p(y)``. Without `y` it is the mean over the
            `y` that go with each row, ``KL(p(y | x) || p(y))``, by the normal
            distribution of the codes: how much a row says of the other view.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If a view has another shape than in :meth:`fit`, NaN or infinity, or the
            views have different numbers of rows.
        """
        check_is_fitted(self)
        x = self._first(X)
        u = self._codes(x)
        v = None if y is None else self._y_codes(self._second(y, len(x)))
        with usual_settings(), OneThread():
            if v is None:
                return self._expected_scores(u).numpy()
            return (of_pairs(u, v, self._coefficients) + self._normaliser(u)).numpy()

    def _expected_scores(self, u: Tensor) -> Tensor:
        """Return the mean score over what goes with codes of the first view, (n,)."""
        if self.classes_ is not None:
            scores = log_ratio(u, self._label_codes, self._coefficients)
            scores += self._normaliser(u)[:, None]
            return (self._label_shares * scores.exp() * scores).sum(1)
        _, a, _, constant = self._coefficients
        rest = (-2 * constant).exp()  # 1 - rho^2
        squares = u.square() @ (a * rest) - (1 - rest).sum()
        return 0.5 * squares + constant.sum()

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the InfoNCE bound on the mutual information of the views, in nats.

        Each row is told from all others that are given, in both directions: the work
        grows with the square of their number.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            The second view, row by row; not needed where :meth:`fit` got none, for
            two corrupted copies of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the pairs, in the mean and as what others are told from.

        Returns
        -------
        float
            Higher is better; 0 by chance, and at most ``log(n_samples)``, so that
            bounds of different numbers of rows cannot be compared. Of labels it is at
            most their entropy.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            As :meth:`score_samples`.
        """
        check_is_fitted(self)
        x = self._first(X)
        weight = check_weights(sample_weight, x)
        if y is None and self._view is None:
            with usual_settings():
                copies = self._copies(x)
            u, v = (self._codes(copy) for copy in copies)
        else:
            u, v = self._codes(x), self._y_codes(self._second(y, len(x)))
        with usual_settings(), OneThread():
            w = None if weight is None else torch.tensor(weight)
            return whole_bound(u, v, w, self._coefficients, self._normaliser(u))

    @property
    def _coefficients(self) -> Tensor:
        return torch.from_numpy(self._model.coefficients)

    def _normaliser(self, u: Tensor) -> Tensor:
        """Return what is added to all scores of a row, shape (n,) or ().

        Of labels it makes the posterior that scores stand for add up to 1.
        """
        if self.classes_ is None:
            return torch.tensor(self._model.offset, dtype=u.dtype)
        scores = log_ratio(u, self._label_codes, self._coefficients)
        return -(scores + self._label_shares.log()).logsumexp(1)

    @property
    def _label_codes(self) -> Tensor:
        assert self.classes_ is not None
        return self._y_codes(np.eye(len(self.classes_)))

    @property
    def _label_shares(self) -> Tensor:
        assert self._view is not None
        counts = torch.from_numpy(self._view.counts)
        return counts / counts.sum()

    def _codes(self, x: NDArray) -> Tensor:
        codes = self._map(x, self._model.x_codes, (self.n_components_,))
        return torch.from_numpy(codes.astype(np.float64))

    def _y_codes(self, y: NDArray) -> Tensor:
        codes = self._map(y, self._model.y_codes, (self.n_components_,))
        return torch.from_numpy(codes.astype(np.float64))

    def _copies(self, x: NDArray) -> list[NDArray]:
        """Return two corrupted copies of rows, the same ones every time."""
        objective, start = self._fit.objective, self._fit.start
        assert isinstance(objective, ContrastingCopies)
        given = objective.corruption
        filled = start.filled(x, known_cells(x))
        drawn = (corrupted_copies(*given, start, filled, seed, 1) for seed in (0, 1))
        return [copy * start.scale + start.mean for copy in drawn]

    def _second(self, y: Any, n_rows: int | None) -> NDArray:
        """Return checked rows of the second view, or of another copy of the first."""
        if self._view is not None:
            return super()._second(y, n_rows)
        with about_y():
            rows = self._first(y)
        check_same_number(rows, n_rows)
        return rows
