"""Architectures: which networks an estimator trains."""

from ._base import Architecture
from ._mlp import MLP
from ._modules import Modules

__all__ = ["MLP", "Architecture", "Modules"]
