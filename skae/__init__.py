"""Autoencoders that replace PCA: they start at its solution and only get better."""

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
