"""The plain autoencoder: PCA, and a nonlinear residual trained on top of it."""

from __future__ import annotations

from typing import Any

from numpy.random import RandomState
from torch import Tensor, nn

from ._base import BaseAutoencoder
from ._losses import ReconstructionLoss


class AutoencoderModule(nn.Module):
    """An encoder and a decoder, each a linear map plus a network.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, n_components)``.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.

    Notes
    -----
    Rows are centred and divided by one scalar; codes are whitened. See the closed
    form in :mod:`skae._linear`.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, shape (n, n_components)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstructions, shape (n, n_features)."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstructions and the codes of a batch."""
        z = self.encode(x)
        return self.decode(z), z


class AutoencoderTransformer(BaseAutoencoder):
    """Nonlinear dimensionality reduction that starts at PCA and only gets better."""

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

    def _make_module(self, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
        return AutoencoderModule(encoder, decoder)

    def _criterion(self) -> type[nn.Module]:
        return ReconstructionLoss

    def _loss_floor(self) -> float:
        # float32 cannot see a smaller share of the variance, which is n_features.
        return 1e-12 * len(self.mean_)

    def _curve_score(self, loss: float) -> float:
        return 1 - loss / len(self.mean_)

    def _squared_error(self, loss: float | None) -> float | None:
        return None if loss is None else loss * self._start.scale**2
