"""A user's own torch modules as an architecture."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable

import torch
from torch import nn

from .._step import seeded_globally
from ._base import Architecture

ModuleLike = nn.Module | Callable[..., nn.Module]


class Modules(Architecture):
    """Two torch modules of your own; the decoder need not mirror the encoder.

    Parameters
    ----------
    encoder : torch.nn.Module, or class or function that returns one
        Maps ``(n, n_features)`` to ``(n, n_components)``. A class or function is
        called with ``(n_features, n_components)``, or without arguments if it needs
        none. An instance is deep-copied and its weights are reset for every fit, so
        that cross-validation folds never share weights.
    decoder : torch.nn.Module, or class or function that returns one
        Maps ``(n, n_components)`` to ``(n, n_features)``; a class or function is called
        with ``(n_components, n_features)``.

    Notes
    -----
    Some estimators ask for other widths, and call a class or function with them: the
    encoder of a VAE returns ``2 * n_components`` numbers, means and log-variances, and
    that of a masked autoencoder takes 4 arrays of a sample beside one another,
    ``(n, 4 * n_features)``. Networks are made float32. Where rows are float64 they are
    used in float64, or, if they make float32 tensors of their own, in float32.

    Modules draw their initial weights from torch's global generator. It is seeded from
    ``random_state`` while they are built, and put back afterwards.

    Modules with parametrizations (``torch.nn.utils.parametrizations.spectral_norm``)
    train like others, but torch refuses to pickle them, and so an estimator that holds
    them: ``torch.nn.utils.spectral_norm``, which works by hooks, can be pickled.

    Examples
    --------
    >>> from torch import nn
    >>> from skae import AutoencoderTransformer
    >>> from skae.architectures import Modules
    >>> def encoder(n_features, n_components):
    ...     return nn.Sequential(
    ...         nn.Linear(n_features, 32), nn.Tanh(), nn.Linear(32, n_components)
    ...     )
    >>> architecture = Modules(encoder, nn.Linear)
    >>> AutoencoderTransformer(2, architecture=architecture).n_components
    2
    """

    def __init__(self, encoder: ModuleLike, decoder: ModuleLike) -> None:
        self.encoder = encoder
        self.decoder = decoder

    def build(
        self,
        sample_shape: tuple[int, ...],
        n_components: int,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Build the encoder and the decoder; see :class:`Architecture`.

        Raises
        ------
        TypeError
            If `encoder` or `decoder` is not a module and does not return one.
        ValueError
            If an instance has parameters that cannot be reset.
        """
        n_features = math.prod(sample_shape)
        seed = int(torch.randint(2**31, (), generator=generator))
        with seeded_globally(seed):
            return (
                _fresh("encoder", self.encoder, n_features, n_components),
                _fresh("decoder", self.decoder, n_components, n_features),
            )


def _fresh(name: str, source: ModuleLike, n_in: int, n_out: int) -> nn.Module:
    """Return a new module from a class, a function or an instance."""
    if isinstance(source, nn.Module):
        return _reset(name, copy.deepcopy(source))
    if not callable(source):
        raise TypeError(
            f"{name}={source!r}: expected a torch.nn.Module, or a class or function "
            "that returns one."
        )
    try:
        signature = inspect.signature(source)
    except ValueError as error:
        raise TypeError(
            f"{name}={source!r}: its parameters are not known. Use a function of "
            "Python, of two widths or of nothing."
        ) from error
    needs_widths = any(
        p.default is p.empty and p.kind is not p.VAR_KEYWORD
        for p in signature.parameters.values()
    )
    given = (n_in, n_out) if needs_widths else ()
    try:
        signature.bind(*given)
    except TypeError as error:
        raise TypeError(
            f"{name}={source!r} cannot be called with the widths {given}: {error}. Use "
            "a class or function of two widths, or of nothing."
        ) from error
    module = source(*given)
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} returned {module!r} instead of a torch.nn.Module.")
    return module


def _reset(name: str, module: nn.Module) -> nn.Module:
    """Draw new weights for every part of a module."""
    for path, part in module.named_modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
        elif own := [key for key, _ in part.named_parameters(recurse=False)]:
            raise ValueError(
                f"{name}: the parameter {own[0]!r} of {path or 'the module'} "
                f"({type(part).__name__}) cannot be reset. Define reset_parameters(), "
                "or give the class or a function in place of an instance."
            )
    return module
