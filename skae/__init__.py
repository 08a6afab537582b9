"""Autoencoders that replace PCA: they start at its solution and only get better."""

from importlib import import_module
from types import ModuleType

from ._adversarial import AdversarialAutoencoder
from ._autoencoder import AutoencoderTransformer
from ._contrastive import ContrastiveAutoencoder
from ._deep_belief import DeepBeliefAutoencoder
from ._denoising import DenoisingAutoencoder
from ._encoder_decoder import EncoderDecoder
from ._file import load
from ._imputer import MaskedImputer
from ._masked import MaskedAutoencoder
from ._onnx import to_onnx
from ._rbm import RBM
from ._variational import VAE

__version__ = "0.1.0"

__all__ = [
    "RBM",
    "VAE",
    "AdversarialAutoencoder",
    "AutoencoderTransformer",
    "ContrastiveAutoencoder",
    "DeepBeliefAutoencoder",
    "DenoisingAutoencoder",
    "EncoderDecoder",
    "MaskedAutoencoder",
    "MaskedImputer",
    "load",
    "to_onnx",
]


def __getattr__(name: str) -> ModuleType:
    """Import a submodule when it is first asked for."""
    if name in ("architectures", "exceptions", "plotting", "text"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
