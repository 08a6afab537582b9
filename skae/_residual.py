"""The networks beside the linear path: a residual that starts at zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._linear import Completion, LinearStart

# A completion has as many numbers as codes squared times columns; no more than this.
COMPLETION_FLOATS = 2**22
RESHAPING = (nn.Flatten, nn.Unflatten)
WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
)


class LinearResidual(nn.Module):
    """A fixed linear map plus a network that starts at zero.

    The last layer of the network starts at zero where it can be found and its gradient
    survives. Any other network is multiplied by a scalar gain that starts at zero
    (ReZero, Bachlechner et al. 2021). Either way the map is linear at first.

    Parameters
    ----------
    network : torch.nn.Module
        From ``(n, n_in)`` to ``(n, n_out)``.
    n_in, n_out : int
    gain : bool
        Whether to use the gain although a last layer could be set to zero, as when the
        network shares its weights with another.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import numpy as np
    >>> from skae._residual import LinearResidual
    >>> part = LinearResidual(nn.Sequential(nn.Linear(3, 2)), 3, 2, gain=False)
    >>> _ = part.set_linear(np.ones((2, 3)), np.zeros(2))
    >>> part(torch.ones(1, 3))
    tensor([[3., 3.]], grad_fn=<AddmmBackward0>)
    """

    weight: Tensor
    bias: Any  # Tensor or None
    axes: Tensor
    fill: Tensor
    fill_bias: Tensor

    def __init__(
        self, network: nn.Module, n_in: int, n_out: int, *, gain: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("weight", torch.zeros(n_out, n_in))
        self.register_buffer("bias", None)
        last = None if gain else last_layer(network)
        # Plain attributes: the look-up of a parameter that is None is slow.
        self.has_gain, self.has_bias = last is None, False
        self.handles_padding = handles_padding(network)
        if self.handles_padding:
            self.is_completing = False
            for name in ("axes", "fill", "fill_bias"):
                self.register_buffer(name, torch.zeros(()), persistent=False)
        if last is None:
            self.gain = nn.Parameter(torch.zeros(()))
        else:
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)

    def set_linear(self, weight: NDArray, bias: NDArray) -> LinearResidual:
        """Set the linear map, of shapes (n_out, n_in) and (n_out,)."""
        self.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        self.has_bias = bool(bias.any())
        self.bias = torch.from_numpy(bias).to(self.weight) if self.has_bias else None
        return self

    def set_completion(
        self, start: LinearStart, scale: float, *, is_posterior: bool = False
    ) -> None:
        """Let rows that end in NaN count as what probabilistic PCA expects there.

        Parameters
        ----------
        start : LinearStart
        scale : float
        is_posterior : bool, default=False
            Whether the second half of the outputs are log-variances. Those of
            independent codes are at best the inverse precisions.
        """
        d, k = start.components.shape[1], len(start.components)
        self.is_completing = (d + 1) * k**2 <= COMPLETION_FLOATS
        if not self.is_completing:
            return
        encoding = self.weight.cpu().double().numpy()
        completions = [Completion(start, n, scale) for n in range(d + 1)]
        fill = np.stack([completion.fill(encoding) for completion in completions])
        bias = np.zeros(fill.shape[:2])
        if is_posterior:
            precision = np.stack([np.diagonal(c.precision) for c in completions])
            bias[:, k:] = np.log(precision[-1] / precision)
        for name, value in (
            ("axes", start.components),
            ("fill", fill),  # (d + 1, n_out, k)
            ("fill_bias", bias),  # (d + 1, n_out)
        ):
            setattr(self, name, torch.tensor(value).to(self.weight))

    def _completed(self, x: Tensor, y: Tensor, absent: Tensor) -> Tensor:
        n_known = (~absent).sum(1)
        products = (x @ self.axes.T)[..., None]
        return y + (self.fill[n_known] @ products)[..., 0] + self.fill_bias[n_known]

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of shape (n, n_in) to (n, n_out)."""
        residual = self.network(x)
        if self.has_gain:
            residual = self.gain * residual
        if self.handles_padding:
            absent = x.isnan()
            if absent.any():
                x = x.masked_fill(absent, 0.0)  # the mean
                if self.is_completing:
                    residual = self._completed(x, residual, absent)
        y = torch.addmm(residual, x, self.weight.T)
        return y + self.bias if self.has_bias else y


def handles_padding(network: nn.Module) -> bool:
    """Whether a network, or a part of it, takes NaN at the end of a series."""
    return any(getattr(part, "handles_padding", False) for part in network.modules())


def last_layer(network: nn.Module) -> Any:
    """Return the layer with weights that a Sequential ends with, if it does.

    What only reshapes does not count.
    """
    while isinstance(network, nn.Sequential):
        parts = [part for part in network if not isinstance(part, RESHAPING)]
        if not parts:
            return None
        network = parts[-1]
    return network if isinstance(network, WEIGHTED) else None


def with_linear_path(
    encoder: nn.Module,
    decoder: nn.Module,
    n_features: int,
    n_components: int,
    n_outputs: int,
) -> tuple[LinearResidual, LinearResidual]:
    """Put the linear path beside both networks; see :func:`set_linear_path`."""
    shared = not set(encoder.parameters()).isdisjoint(decoder.parameters())
    return (
        LinearResidual(encoder, n_features, n_outputs, gain=shared),
        LinearResidual(decoder, n_components, n_features, gain=shared),
    )


def set_linear_path(
    encoder: nn.Module,
    decoder: nn.Module,
    start: LinearStart,
    mean: NDArray,
    scale: float,
) -> None:
    """Set the linear paths to PCA, for rows given as ``(x - mean) / scale``.

    A network without a linear path is left alone.
    """
    shift = start.mean - mean
    axes = start.components if start.encoding is None else start.encoding
    whitener = axes / start.code_scale[:, None]  # (k, d)
    colourer = start.components.T * start.code_scale  # (d, k)
    if isinstance(encoder, LinearResidual):
        encoder.set_linear(scale * whitener, -whitener @ shift)
        if encoder.handles_padding:
            encoder.set_completion(start, scale)
    if isinstance(decoder, LinearResidual):
        decoder.set_linear(colourer / scale, shift / scale)


class LinearPathModule(nn.Module):
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
    form in :mod:`skae._linear`. A subclass adds ``forward``, one training pass.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def start_at(self, start: LinearStart, mean: NDArray, scale: float) -> None:
        """Set the linear path to PCA, for rows given as ``(x - mean) / scale``."""
        set_linear_path(self.encoder, self.decoder, start, mean, scale)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, shape (n, n_components)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstructions, shape (n, n_features)."""
        return self.decoder(z)
