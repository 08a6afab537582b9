"""Architectures: which networks an estimator trains."""

from ._base import Architecture
from ._convolutional import Convolutional
from ._mlp import MLP
from ._modules import Modules
from ._recurrent import Recurrent
from ._transformer import Transformer

__all__ = [
    "MLP",
    "Architecture",
    "Convolutional",
    "Modules",
    "Recurrent",
    "Transformer",
]
