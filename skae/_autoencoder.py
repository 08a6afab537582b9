"""The plain autoencoder: PCA, and a nonlinear residual trained on top of it."""

from __future__ import annotations

from typing import Any

from numpy.random import RandomState
from torch import Tensor, nn

from ._base import BaseAutoencoder
from ._losses import Loss, ReconstructionLoss
from ._module import BaseModule
from ._objective import Objective
from ._plan import TrainingPlan


class AutoencoderModule(BaseModule):
    """The plain autoencoder."""

    def forward(self, x: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the reconstructions and the codes of a batch."""
        z = self.encode(x, known)
        return self.decode(z), z


class Reconstruction(Objective):
    """Rows are to come back as they are."""

    def module(self, encoder: nn.Module, decoder: nn.Module) -> BaseModule:
        """Return a plain autoencoder."""
        return AutoencoderModule(encoder, decoder)

    def loss(self, plan: TrainingPlan) -> Loss:
        """Return the squared error."""
        return ReconstructionLoss()


class AutoencoderTransformer(BaseAutoencoder):
    """Nonlinear dimensionality reduction that starts at PCA and only gets better.

    Drop-in replacement for :class:`sklearn.decomposition.PCA`. Fitting finds PCA in
    closed form, trains a network for what PCA leaves over, and keeps the network only
    where rows that it has not seen say that it is better.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of codes. A float in (0, 1) takes as many as PCA needs for this share
        of the variance; None takes ``min(n_samples, n_features)``.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers, or one width; the decoder mirrors them.
        "auto" is ``(64,)`` below 1000 rows and ``(256, 128)`` from there. Only used
        when `architecture` is None.
    activation : str, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"elu"``, ``"gelu"``
        or ``"silu"``. Only used when `architecture` is None.
    architecture : Architecture or None, default=None
        Which networks to train: :class:`skae.architectures.MLP`,
        :class:`~skae.architectures.Convolutional` for images and signals,
        :class:`~skae.architectures.Recurrent` for series,
        :class:`~skae.architectures.Modules` for your own torch modules, or any object
        with a method ``build``. None is an MLP.
    init : {"pca", "random"}, default="pca"
        "pca" starts exactly at PCA, and needs `n_components` of at most
        ``min(n_samples, n_features)``. "random" is the network alone, without a
        linear path and without PCA to fall back on, as in the textbooks.
    whiten : bool, default=False
        Divide each code by its standard deviation over the training rows, as PCA does.
    alpha : float, default=1e-2
        Weight decay (AdamW's, decoupled from the gradient).
    batch_size : int or "auto", default="auto"
        Rows of a training batch. With n distinct rows, "auto" is ``n // 8``
        below 1000 rows and ``min(n // 16, 256)`` or, if larger, ``n // 256`` from
        there; at least 16 and at most 1024.
    learning_rate_init : float, default=1e-2
        Peak of the one-cycle learning rate (Smith & Topin 2019).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 50 up to 20,000 rows and ``50 * sqrt(20000 / n)`` beyond, at
        least 2. With 0, nothing is trained and the estimator is PCA.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that is held out to choose the epoch and to decide between
        PCA and the network. "auto" holds out 10 % of 1000 rows or more (at most
        10,000); with fewer rows each is held out once, in 5 folds, and a network that
        wins is trained again on all rows. The network has to be better by
        ``1.25 + 30 / n`` standard errors over the folds of n rows, or by 2 over a
        split; below 10 distinct rows, or 5 held-out ones, PCA is kept. Recurrent
        networks, which train one after the other, have folds below 200 rows only.
    n_iter_no_change : int or None, default=None
        Stop after this many epochs without an improvement of more than `tol`. None
        goes through all epochs, at the end of which the learning rate is smallest.
    tol : float, default=1e-4
        Relative improvement of the loss that counts for `n_iter_no_change`.
    warm_start : bool, default=False
        Let :meth:`fit` go on from the network of the last fit. The linear start and the
        mean stay those of the first one, and a split decides in place of folds. The
        rate, the decay, the batches and the epochs may change; other networks or
        another objective are an error.
    verbose : bool, default=False
        Print a line for each epoch, and whether PCA or the network is used.
    random_state : int, RandomState or None, default=None
        Seeds the initial weights, the held-out rows, the order of the rows and PCA's
        randomised solver. Global random states are never touched.
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
        Number of columns seen in :meth:`fit`: the product of `sample_shape_`.
    sample_shape_ : tuple of int
        Shape of a sample: ``(n_features,)`` for a table, ``(28, 28)`` for images given
        as an array of shape (n_samples, 28, 28).
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    n_samples_ : int
        Number of rows seen in :meth:`fit`.
    mean_ : ndarray of shape (n_features,)
        Mean of the rows.
    components_ : ndarray of shape (n_components, n_features)
        PCA's principal axes: the linear path of the encoder. At most
        ``min(n_samples, n_features)`` of them where ``init="random"`` has more codes.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of each code over the training rows (10,000 of them at most).
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training rows that each code explains. The sum is
        the R2 of the reconstruction (of 1000 rows, if there are more, and so an
        estimate to about 0.01 then); each code has a part of it
        in proportion to the error that fixing this code at its mean would add. For PCA
        that is PCA's own ratio.
    noise_variance_ : float
        Variance of what the codes leave over, in each of the
        ``n_features - n_components`` other dimensions, for held-out rows where
        there are any.
    n_iter_ : int
        Epochs run.
    best_iter_ : int
        Epoch whose weights are used; 0 if PCA was kept.
    loss_curve_ : list of float
        Training loss of each epoch: squared error summed over the features, for rows
        divided by the one scalar that brings their mean variance to 1.
    validation_scores_ : list of float
        R2 of the held-out rows for each epoch, from epoch 0 (PCA) on.
    history_ : skorch.history.History
        skorch's history, with an entry for each epoch.
    module_ : torch.nn.Module
        The trained module: ``encode`` and ``decode`` for standardised rows and
        whitened codes.
    net_ : skorch.NeuralNet
        The net that trained it.
    device_ : torch.device
        Where it is.

    See Also
    --------
    sklearn.decomposition.PCA : The linear start.
    skae.architectures.MLP : The default network, with more options.

    Notes
    -----
    With one scalar `scale`, ``x~ = (x - mean) / scale``, and principal axes U of
    variance L, the code is ``u = L^-1/2 U' x~ + f(x~)`` and the reconstruction
    ``U L^1/2 u + g(u)``. The networks f and g start at zero. The decision between PCA
    and the network is by the squared error. A trained network's codes need not be
    uncorrelated, nor ordered by the variance that they explain.

    References
    ----------
    Bourlard & Kamp (1988), Auto-association by multilayer perceptrons and singular
    value decomposition. Biological Cybernetics 59.

    Baldi & Hornik (1989), Neural networks and principal component analysis: learning
    from examples without local minima. Neural Networks 2.

    Examples
    --------
    A parabola has one degree of freedom. PCA cannot follow the bend:

    >>> import numpy as np
    >>> from skae import AutoencoderTransformer
    >>> t = np.linspace(-1, 1, 200)
    >>> X = np.column_stack([t, t**2])
    >>> pca = AutoencoderTransformer(1, max_iter=0).fit(X)
    >>> pca.explained_variance_ratio_.sum().round(2)
    np.float64(0.79)
    >>> autoencoder = AutoencoderTransformer(1, random_state=0).fit(X)
    >>> bool(autoencoder.explained_variance_ratio_.sum() > 0.97)
    True
    >>> autoencoder.inverse_transform(autoencoder.transform(X)).shape
    (200, 2)
    """

    _objective_class = Reconstruction

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "relu",
        architecture: Any = None,
        init: str = "pca",
        whiten: bool = False,
        alpha: float = 1e-2,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.architecture = architecture
        self.init = init
        self.whiten = whiten
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
