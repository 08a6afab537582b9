"""Checks of architectures and of the networks that they build."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ._module import InSingle
from ._step import is_own


def check_instance(architecture: Any) -> None:
    """Raise for the class of an architecture in place of an instance."""
    if isinstance(architecture, type):
        raise ValueError(
            f"architecture={architecture.__name__} is a class: give an instance, "
            f"{architecture.__name__}(...)."
        )


def check_networks(
    architecture: Any, networks: Any, sample_shape: tuple[int, ...], n_components: int
) -> tuple[nn.Module, nn.Module]:
    """Return the networks of an architecture, in float32.

    One that cannot take float64 keeps to float32 when the others do.

    Raises
    ------
    ValueError
        Unless they are two modules that fit the data and each other.
    """
    if not isinstance(networks, tuple | list) or len(networks) != 2:
        raise ValueError(
            f"{architecture!r}.build returned {type(networks).__name__}: it must "
            "return an encoder and a decoder."
        )
    if is_own(architecture):  # which may give the same modules again
        networks = copy.deepcopy(networks)
    names, checked = ("encoder", "decoder"), []
    shapes = (sample_shape, (n_components,))
    for name, network, taken, returned in zip(
        names, networks, shapes, reversed(shapes), strict=True
    ):
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"{architecture!r}.build returned {type(network).__name__} as the "
                f"{name}: it must be a torch.nn.Module."
            )
        for key, parameter in network.named_parameters():
            if parameter.is_complex():
                raise ValueError(
                    f"The {name} of the architecture has the parameter {key!r} of "
                    f"{parameter.dtype}: networks are made float32, so take two real "
                    "ones for it."
                )
        _check_network(name, network, taken, returned)
        is_double = not any(map(is_own, network.modules())) or _is_double(
            network, taken
        )
        checked.append(network if is_double else InSingle(network))
    return checked[0], checked[1]


def check_trainable(architecture: Any, *networks: nn.Module) -> None:
    """Raise unless networks have something to train."""
    parameters = [p for network in networks for p in network.parameters()]
    if not any(p.requires_grad for p in parameters):
        raise ValueError(
            f"architecture={architecture!r} has no parameter to train: none has "
            "requires_grad=True."
        )


def _check_network(
    name: str, network: nn.Module, taken: tuple[int, ...], returned: tuple[int, ...]
) -> None:
    width = taken[0] if len(taken) == 1 else taken
    made = ""
    if any(p.dtype == torch.float64 for p in network.parameters()):
        made = " (parameters of float64 are made float32, as rows are)"
    network.float()
    was_training = network.training
    network.eval()
    rows = torch.zeros(2, *taken, dtype=torch.float32)
    try:
        with torch.no_grad():  # lazy modules get their weights here
            output = network(rows)
    except Exception as error:
        raise ValueError(
            f"The {name} of the architecture cannot take rows of width {width}: {error}"
            f"{made}"
        ) from error
    shape = f"(n, {', '.join(map(str, returned))})"
    if not isinstance(output, Tensor):
        raise ValueError(
            f"The {name} of the architecture returns a {type(output).__name__} where a "
            f"tensor of shape {shape} is needed."
        )
    if rows._version:  # counts what is done in place
        raise ValueError(
            f"The {name} of the architecture changes the rows that it is given, in "
            "place: the loss compares with them. Begin with a layer that does not."
        )
    if not output.is_floating_point():
        raise ValueError(
            f"The {name} of the architecture returns a tensor of {output.dtype}: real "
            "numbers are needed."
        )
    if tuple(output.shape) != (2, *returned):
        raise ValueError(
            f"The {name} of the architecture returns shape {tuple(output.shape)} for 2 "
            f"rows of width {width}: {(2, *returned)} is needed."
        )
    if not output.isfinite().all():
        raise ValueError(
            f"The {name} of the architecture returns NaN or infinity for rows of "
            "zeros: finite numbers are needed."
        )
    network.train(was_training)


def _is_double(network: nn.Module, taken: tuple[int, ...]) -> bool:
    """Whether a network can be made float64."""
    rows = torch.zeros(2, *taken, dtype=torch.float64)
    try:
        with torch.no_grad():
            output = copy.deepcopy(network).double().eval()(rows)
    except Exception:  # of whatever kind, since the network is a user's own
        return False
    return output.dtype == torch.float64
