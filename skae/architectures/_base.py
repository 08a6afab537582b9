"""What an architecture is: a small parameter object that builds two networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn

from .._sklearn import BaseEstimator

Layer = TypeVar("Layer", bound=nn.Module)


def unset(kind: Callable[..., Layer], *sizes: Any, **more: Any) -> Layer:
    """Return a layer of float32 whose weights are still to be set.

    torch's own would be drawn from its global generator.
    """
    layer: Any = _without_draws(kind)(*sizes, dtype=torch.float32, device="cpu", **more)
    layer.__class__ = kind
    return layer


@lru_cache
def _without_draws(kind: Any) -> Any:
    return type(kind.__name__, (kind,), {"reset_parameters": lambda self: None})


class Architecture(BaseEstimator, ABC):
    """Base class of architectures.

    An architecture says which networks to train and an estimator says how, so that
    every objective works with every architecture. Being a
    :class:`sklearn.base.BaseEstimator`, an architecture has ``get_params``, can be
    cloned, and takes part in a grid search as ``architecture__<parameter>``.

    Subclasses define ``__init__`` (which only assigns) and :meth:`build`. Any other
    object with the same ``build`` method is accepted as well.
    """

    handles_padding = False
    """Whether series may differ in length. The encoder then has an attribute
    ``reads_known = True`` and is called with a second tensor of the shape of the first,
    which says what is known; it is None if all is. What is not known has some value."""

    repeats_over_steps = False
    """Whether every step of a series goes through the same weights, so that what they
    have to be held against is the columns of a step (see ``alpha="auto"``)."""

    is_vectorised = True
    """Whether :func:`torch.func.vmap` can train several of its networks at once."""

    def for_channels(
        self, sample_shape: tuple[int, ...]
    ) -> tuple[Architecture, tuple[int, ...], int]:
        """Return how encoders see several arrays of a sample's shape at once.

        Such an array is the mask of a row's missing cells, for
        :class:`skae.MaskedAutoencoder`.

        Returns
        -------
        architecture : Architecture
            What builds an encoder of samples with more channels.
        shape : tuple of int
            Shape of a sample with an axis of channels.
        axis : int
            That axis, whose length is multiplied.
        """
        shape = tuple(sample_shape)
        return self, shape if len(shape) != 2 else (1, *shape), 0

    @abstractmethod
    def build(
        self,
        sample_shape: tuple[int, ...],
        n_components: int,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Build an encoder and a decoder with fresh weights.

        Parameters
        ----------
        sample_shape : tuple of int
            Shape of one sample; ``(n_features,)`` for a table.
        n_components : int
            Width of the code.
        generator : torch.Generator
            The only source of randomness for the initial weights.

        Returns
        -------
        encoder : torch.nn.Module
            Maps a tensor of shape ``(n, *sample_shape)`` to ``(n, n_components)``.
        decoder : torch.nn.Module
            Maps a tensor of shape ``(n, n_components)`` to ``(n, *sample_shape)``.
        """
