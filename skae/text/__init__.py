"""Models of texts, and of other sequences of tokens."""

from ._autoencoder import TextAutoencoder
from ._causal import CausalLanguageModel
from ._kneser_ney import KneserNey
from ._masked import MaskedLanguageModel

__all__ = [
    "CausalLanguageModel",
    "KneserNey",
    "MaskedLanguageModel",
    "TextAutoencoder",
]
