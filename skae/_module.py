"""What is trained: an encoder and a decoder, each a linear path beside a network.

The networks start at zero, so that only the linear paths are there at first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._dataset import RowDataset
    from ._dense import DenseStep
    from ._losses import Loss

RESHAPING = (nn.Flatten, nn.Unflatten)
# By how many times itself the range that a network is bound to is wider on both sides:
# where a split tells, the second, or the last if held-out rows would lose by that.
MARGINS = (0.1, 0.5, 10.0)
# Share of that range, and of the deviation of all columns, by which a row has to be out
# of it: whole numbers may be at its edge exactly, and columns have one value, where
# rounding would decide.
EDGE = 1e-4
# Networks add to a column in units of so many of its deviations, or of the
# root-mean-square one of all columns where that is less.
MOST_DEVIATIONS = 2.0
WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
)


def only_reshapes(part: nn.Module) -> bool:
    """Whether a part of a network only changes the shape of what it is given."""
    return isinstance(part, RESHAPING) or getattr(part, "only_reshapes", False)


def reads_known(network: nn.Module | None) -> bool:
    """Whether a network takes the mask of what is known as its second input."""
    return bool(getattr(network, "reads_known", False))


class BaseModule(nn.Module):
    """An encoder and a decoder; a subclass adds ``forward``, one training pass.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(n, n_features)`` to ``(n, n_outputs)``.
    decoder : torch.nn.Module
        From ``(n, n_components)`` to ``(n, n_features)``.

    Attributes
    ----------
    generator : torch.Generator or None
        What ``forward`` draws its random numbers from, if it needs any. Set by the net.
    draws_globally : bool
        Whether ``forward`` may also draw from torch's global generator, as a function
        of the user's may.

    Notes
    -----
    Rows are centred and divided by one scalar, and filled where cells are missing;
    `known`, of the shape of the rows, says which are not, and is None if none are. What
    parameters and buffers there are must not depend on data: folds stack them.
    """

    generator: torch.Generator | None = None
    draws_globally = False
    prepares: ClassVar[bool] = False
    """Whether ``forward`` takes what :meth:`prepare` returns as a third argument."""
    n_inputs: ClassVar[int] = 1
    """How many arrays of a row's shape the encoder gets, beside one another.

    A linear path beside more than one is of the row alone, and the module's business.
    """
    margin: float = MARGINS[0]
    """By how many times itself the range is wider that networks are bound to."""
    dense_loss: ClassVar[type[Loss] | None] = None
    """The loss of which :meth:`dense_backward` has the gradient."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.reads_known = reads_known(encoder)

    @property
    def undecayed(self) -> list[str]:
        """Names of parameters that no weight decay pulls at."""
        return []

    @property
    def running(self) -> list[BaseModule]:
        """The modules whose ``forward`` is called."""
        return [self]

    def dense_widths(self, n_features: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the widths, `n_in` or `n_out`, that dense networks have to have.

        They are those of the encoder and of the decoder.
        """
        return {"n_in": n_features * self.n_inputs}, {"n_out": n_features}

    def prepare(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, ...]:
        """Return what is made of rows before any parameter is used.

        It takes no gradient, and is done for several batches at once. Rows that judge
        are prepared once for all epochs: what is drawn for them is the same in each.
        Of stacked modules the rows, and the buffers, have a leading axis.

        Returns
        -------
        tuple of Tensor of shape (n, ...), or (n_modules, n, ...)
        """
        raise NotImplementedError

    def dense_forward(self, step: DenseStep, x: Tensor) -> tuple[Tensor, ...]:
        """Return what ``forward`` does, by the dense networks of a step.

        A module that defines it, and :meth:`dense_backward`, is trained without
        autograd where both networks are dense layers.
        """
        raise NotImplementedError

    def dense_backward(
        self,
        step: DenseStep,
        outputs: tuple[Tensor, ...],
        x: Tensor,
        weight: Tensor | None,
        loss: Any,
    ) -> dict[str, Tensor]:
        """Write the gradients of the mean loss, and return the mean of each term.

        Parameters
        ----------
        step : DenseStep
        outputs : tuple of Tensor
            What :meth:`dense_forward` returned; they may be overwritten.
        x : Tensor of shape (n, n_features)
        weight : Tensor of shape (..., n) or None
        loss : Loss
            A `dense_loss`.
        """
        raise NotImplementedError

    def set_units(self, mean: NDArray, scale: float) -> None:
        """Learn that rows are given as ``(x - mean) / scale``, if that matters."""

    def see(self, dataset: RowDataset, rows: Tensor, may_see: Tensor) -> None:
        """Learn what rows there are to train on, if that matters.

        Parameters
        ----------
        dataset : RowDataset
        rows : Tensor of int of shape (n,)
            Their numbers.
        may_see : Tensor of bool of shape (n,)
            Those that do not judge this module.
        """

    def set_linear_path(
        self,
        weight: NDArray,
        bias: NDArray,
        decoder_weight: NDArray,
        decoder_bias: NDArray,
    ) -> None:
        """Set the linear maps, (n_outputs, n_features) and (n_features, n_components).

        A network that has none beside it is left alone.
        """
        if isinstance(self.encoder, LinearResidual):
            self.encoder.set_linear(weight, bias)
        if isinstance(self.decoder, LinearResidual):
            self.decoder.set_linear(decoder_weight, decoder_bias)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "generator": None}  # which cannot be pickled

    def calibrate(self, calibration: dict[str, Any]) -> None:
        """Take over what held-out rows say of parameters that training misjudges.

        It is that of :meth:`skae._losses.Loss.calibrated`.
        """

    @property
    def completing(self) -> nn.Module:
        """The network that adds to the columns of rows."""
        return self.decoder

    def set_deviations(self, deviation: NDArray) -> None:
        """Learn the standard deviations of the columns, shape (n_features,).

        To a small one the network would add noise of a size that is nothing in others.
        """
        part = self.completing
        relative = deviation / (deviation.max(initial=0.0) or 1.0)
        size = float(np.sqrt(np.square(relative).mean())) or 1.0
        scale = np.minimum(MOST_DEVIATIONS * relative / size, 1.0)
        if isinstance(part, LinearResidual):
            part.set_output_scale(scale)

    def bind(
        self, x: Tensor, known: Tensor | None, earlier: BaseModule | None = None
    ) -> None:
        """Bind both networks to the range of what training rows give them.

        Parameters
        ----------
        x, known : Tensor of shape (n, n_features)
        earlier : BaseModule or None
            One that was trained on other rows, whose range is widened.
        """
        self.bind_networks(x, self.encode(x, known), earlier)

    def bind_networks(
        self, x: Tensor | None, z: Tensor | None, earlier: BaseModule | None
    ) -> None:
        """Bind the encoder and the decoder, each unless it is given nothing."""
        for name, given in (("encoder", x), ("decoder", z)):
            part, before = getattr(self, name), getattr(earlier, name, None)
            is_bound = isinstance(part, LinearResidual) and part.network is not None
            if is_bound and given is not None:
                part.bind(given, self.margin, getattr(before, "bounds", None))

    def unbind(self) -> None:
        """Let networks have any range, to train them."""
        for part in (self.encoder, self.decoder):
            if isinstance(part, LinearResidual):
                part.bounds = None

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the codes, shape (n, n_components)."""
        return self.encoded(x, known)

    def encoded(self, x: Tensor, known: Tensor | None) -> Tensor:
        """Return what the encoder gives, shape (n, n_outputs)."""
        return self.encoder(x, known) if self.reads_known else self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstructions, shape (n, n_features)."""
        return self.decoder(z)


class InUnits(BaseModule):
    """A module that also works on rows in the units of the table."""

    column_mean: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__(encoder, decoder)
        self.register_buffer("column_mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def set_units(self, mean: NDArray, scale: float) -> None:
        """Learn that rows are given as ``(x - mean) / scale``.

        Raises
        ------
        ValueError
            If float32 does not hold such units.
        """
        if not 1e-30 < scale < 1e30 or np.abs(mean).max() > 1e30:
            raise ValueError(
                f"X has columns of root-mean-square deviation {scale:.3g} and means of "
                f"up to {np.abs(mean).max():.3g}, which float32 does not hold: scale "
                "the rows."
            )
        self.column_mean = torch.tensor(mean).to(self.column_mean)
        self.scale.fill_(scale)


class LinearResidual(nn.Module):
    """A fixed linear map plus a network that starts at zero.

    The last layer of the network starts at zero where it can be found and its gradient
    survives. Any other network is multiplied by a scalar gain that starts at zero
    (ReZero, Bachlechner et al. 2021). Either way the map is linear at first.

    Once trained, the network is bound to about the range of what it was trained on, in
    each column: what is beyond, it sees at the edge. There a network knows nothing, and
    the linear map, which does not change, goes on.

    Parameters
    ----------
    network : torch.nn.Module or None
        From ``(n, n_in)`` to ``(n, n_out)``. None: the map stays linear.
    n_in, n_out : int
    gain : bool
        Whether to use the gain although a last layer could be set to zero, as when the
        network shares its weights with another.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import numpy as np
    >>> from skae._module import LinearResidual
    >>> part = LinearResidual(nn.Sequential(nn.Linear(3, 2)), 3, 2, gain=False)
    >>> _ = part.set_linear(np.ones((2, 3)), np.zeros(2))
    >>> part(torch.ones(1, 3))
    tensor([[3., 3.]], grad_fn=<AddBackward0>)
    """

    weight: Tensor
    bias: Tensor
    bounds: tuple[Tensor, Tensor] | None = None  # (n_in,) each
    output_scale: Tensor | None = None  # (n_out,), of what the network adds

    def __init__(
        self, network: nn.Module | None, n_in: int, n_out: int, *, gain: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.reads_known = reads_known(network)
        self.register_buffer("weight", torch.zeros(n_out, n_in))
        self.register_buffer("bias", torch.zeros(n_out))
        last = None if gain or network is None else last_layer(network)
        # A plain attribute: the look-up of a parameter that is None is slow.
        self.has_gain = last is None and network is not None
        if network is None:
            return
        if last is None:
            self.gain = nn.Parameter(torch.zeros(()))
        else:
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)

    def set_linear(self, weight: NDArray, bias: NDArray) -> LinearResidual:
        """Set the linear map, of shapes (n_out, n_in) and (n_out,)."""
        for buffer, value in ((self.weight, weight), (self.bias, bias)):
            buffer.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        return self

    def set_output_scale(self, scale: NDArray) -> None:
        """Set by what the network's output is multiplied, shape (n_out,)."""
        is_even = self.network is None or (scale == 1).all()
        self.output_scale = None if is_even else torch.from_numpy(scale).float()

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Map a tensor of shape (n, n_in) to (n, n_out)."""
        if self.network is None:
            return self.linear(x)
        return torch.addmm(self.residual(x, known), x, self.weight.T) + self.bias

    def bind(
        self, x: Tensor, margin: float, earlier: tuple[Tensor, Tensor] | None
    ) -> None:
        """Bind the network to the range of a tensor of shape (n, n_in), and of 0.

        It is wider by `margin` times itself on both sides, and by `earlier` bounds.
        """
        x = x.detach().float()
        low, high = x.amin(0).clamp_max(0), x.amax(0).clamp_min(0)
        more = margin * (high - low)
        low, high = low - more, high + more
        if earlier is not None:
            low, high = low.minimum(earlier[0]), high.maximum(earlier[1])
        with torch.inference_mode(False):  # gradients may pass them
            self.bounds = low.clone(), high.clone()

    def is_beyond(self, x: Tensor) -> Tensor:
        """Return which rows the network sees at the edge of its range, (n,)."""
        low, high = (bound.to(x) for bound in self.edges)
        return ((x < low) | (x > high)).any(1)

    @property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Return what rows are beyond, below and above, each of shape (n_in,)."""
        assert self.bounds is not None
        low, high = self.bounds
        more = EDGE * (high - low + 1)
        return low - more, high + more

    def linear(self, x: Tensor) -> Tensor:
        """Return what the linear map alone makes of a tensor of shape (n, n_in)."""
        return torch.nn.functional.linear(x, self.weight, self.bias)

    def residual(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return what the network adds."""
        assert self.network is not None
        if self.bounds is not None:
            low, high = self.bounds
            x = x.clamp(low.to(x), high.to(x))
        residual = self.network(x, known) if self.reads_known else self.network(x)
        if self.output_scale is not None:
            residual = residual * self.output_scale.to(residual)
        return self.gain * residual if self.has_gain else residual


class OfSamples(nn.Module):
    """A network of samples with axes of their own, given as rows.

    Parameters
    ----------
    network : torch.nn.Module
        From ``(n, *sample_shape)`` to ``(n, n_out)``.
    sample_shape : tuple of int
    """

    def __init__(self, network: nn.Module, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.sample_shape = sample_shape
        self.reads_known = reads_known(network)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Map a tensor of shape (n, n_features) to (n, n_out)."""
        x = x.unflatten(1, self.sample_shape)
        if not self.reads_known:
            return self.network(x)
        known = None if known is None else known.unflatten(1, self.sample_shape)
        return self.network(x, known)


class OfStackedSamples(nn.Module):
    """A network of several arrays for each sample, given as rows beside one another.

    Parameters
    ----------
    network : torch.nn.Module
        From ``(n, *shape)`` to ``(n, n_out)``, where `shape` is that of a sample with
        the channels of all arrays.
    sample_shape : tuple of int
        Shape of a sample, with an axis of channels.
    axis : int
        The axis of the channels.
    """

    def __init__(
        self, network: nn.Module, sample_shape: tuple[int, ...], axis: int
    ) -> None:
        super().__init__()
        self.network = network
        self.sample_shape = sample_shape
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of shape (n, n_arrays * n_features) to (n, n_out)."""
        arrays = x.unflatten(1, (-1, *self.sample_shape)).unbind(1)
        return self.network(torch.cat(arrays, self.axis + 1))


class InSingle(nn.Module):
    """A network that knows nothing but float32, for rows of any type.

    Parameters
    ----------
    network : torch.nn.Module
        One that makes tensors of its own, such as the first state of a recurrent layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.reads_known = reads_known(network)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.network.float()  # also where the modules around it are cast
        return self

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Return what the network makes of rows, in their type."""
        more = (known,) if self.reads_known else ()
        return self.network(x.float(), *more).to(x.dtype)


AROUND = OfSamples, OfStackedSamples, InSingle


def last_layer(network: nn.Module) -> Any:
    """Return the layer with weights that a network ends with, if it can be found.

    It is the last part of a Sequential, or of what a Sequential ends with; what only
    reshapes does not count.
    """
    while isinstance(network, (nn.Sequential, *AROUND)):
        if isinstance(network, AROUND):
            network = network.network
            continue
        parts = [part for part in network if not only_reshapes(part)]
        if not parts:
            return None
        network = parts[-1]
    return network if isinstance(network, WEIGHTED) else None


def with_linear_paths(
    encoder: nn.Module,
    decoder: nn.Module,
    n_features: int,
    n_components: int,
    n_outputs: int,
    *,
    linear_encoder: bool = False,
    linear_decoder: bool = False,
) -> tuple[LinearResidual, LinearResidual]:
    """Put a linear path beside both networks, or in place of one."""
    shared = not set(encoder.parameters()).isdisjoint(decoder.parameters())
    to_code = None if linear_encoder else encoder
    to_row = None if linear_decoder else decoder
    return (
        LinearResidual(to_code, n_features, n_outputs, gain=shared),
        LinearResidual(to_row, n_components, n_features, gain=shared),
    )
