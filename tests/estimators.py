"""The one table: every estimator and architecture worth testing, made fast.

A new estimator or architecture needs a row here and nothing else: the checks of
scikit-learn and our own contract run over every row.
"""

from functools import partial

import torch
from contractive import ContractiveAutoencoder
from torch import nn

import skae
from skae import (
    RBM,
    VAE,
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContrastiveAutoencoder,
    DeepBeliefAutoencoder,
    DenoisingAutoencoder,
    EncoderDecoder,
    MaskedAutoencoder,
    MaskedImputer,
)
from skae.architectures import MLP, Convolutional, Modules, Recurrent, Transformer
from skae.text import (
    CausalLanguageModel,
    KneserNey,
    MaskedLanguageModel,
    TextAutoencoder,
)


class Encoder(nn.Module):
    """A user's module: its last layer is an activation, so it cannot start at zero."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.hidden = nn.Linear(n_features, 4)
        self.last = nn.Linear(4, n_components)

    def forward(self, x):
        return self.last(self.hidden(x).tanh()).tanh()


def decoder(n_components, n_features):
    """Return a user's decoder, which is not the mirror of the encoder."""
    return nn.Sequential(
        nn.Linear(n_components, 5), nn.ReLU(), nn.Linear(5, n_features)
    )


def halved(X, generator):
    """Corrupt rows as a user would: each is divided by 2 with probability 0.3."""
    chosen = torch.rand(len(X), 1, generator=generator) < 0.3
    return torch.where(chosen, X / 2, X)


# The public ones; what else is public are functions.
PUBLIC = [v for v in map(partial(getattr, skae), skae.__all__) if isinstance(v, type)]

CLASSES = (
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    VAE,
)
# Those that are PCA before they are trained; the others have a start of their own.
PCA_CLASSES = (
    AdversarialAutoencoder,
    AutoencoderTransformer,
    ContractiveAutoencoder,
    VAE,
)

# Which networks there are is not the business of objectives: a few have other ones.
WITH_NETWORKS = {
    Convolutional: (AutoencoderTransformer, MaskedAutoencoder, VAE),
    Recurrent: (AdversarialAutoencoder, AutoencoderTransformer, MaskedAutoencoder),
    Transformer: (AutoencoderTransformer, MaskedAutoencoder),
}
FOLDED = AutoencoderTransformer, Convolutional

FAST = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
# In place of folds, which train more networks; each estimator has a row with those.
SPLIT = {"validation_fraction": 0.25}

ESTIMATORS = {
    "default": AutoencoderTransformer(**FAST),
    "whiten": AutoencoderTransformer(**FAST, whiten=True),
    "random": AutoencoderTransformer(2, **FAST, init="random"),
    "ordered": AutoencoderTransformer(2, **FAST, ordered=True, code_noise=0.1),
    "linear encoder": AutoencoderTransformer(2, **FAST, linear_encoder=True),
    "neighbors": AutoencoderTransformer(2, **FAST, **SPLIT, n_neighbors=2),
    "contamination": AutoencoderTransformer(2, **FAST, contamination=0.2),
    "split": AutoencoderTransformer(2, **FAST, **SPLIT),
    "tied": AutoencoderTransformer(
        2, max_iter=2, random_state=0, architecture=MLP((4,), "tanh", tied_weights=True)
    ),
    "modules": AutoencoderTransformer(
        2, max_iter=2, random_state=0, architecture=Modules(Encoder, decoder)
    ),
    "modules, random": AutoencoderTransformer(
        2,
        max_iter=2,
        random_state=0,
        init="random",
        **SPLIT,
        architecture=Modules(Encoder, decoder),
    ),
    "VAE": VAE(**FAST),
    "VAE, split": VAE(2, **FAST, **SPLIT, whiten=True),
    "VAE, random": VAE(2, **FAST, **SPLIT, init="random"),
    "VAE, contamination": VAE(2, **FAST, **SPLIT, contamination=0.2, n_neighbors=2),
    "denoising": DenoisingAutoencoder(**FAST),
    "denoising, split": DenoisingAutoencoder(
        2, **FAST, **SPLIT, corruption="gaussian", whiten=True
    ),
    "denoising, modules": DenoisingAutoencoder(
        2,
        max_iter=2,
        random_state=0,
        **SPLIT,
        architecture=Modules(Encoder, decoder),
        corruption=halved,
    ),
    "masked": MaskedAutoencoder(**FAST),
    "masked, bottleneck": MaskedAutoencoder(
        2, **FAST, **SPLIT, whiten=True, contamination=0.2
    ),
    "masked, random": MaskedAutoencoder(2, **FAST, **SPLIT, init="random"),
    "masked, modules": MaskedAutoencoder(
        2, max_iter=2, random_state=0, **SPLIT, architecture=Modules(Encoder, decoder)
    ),
    "adversarial": AdversarialAutoencoder(**FAST),
    "adversarial, split": AdversarialAutoencoder(
        2, **FAST, **SPLIT, prior="uniform", whiten=True
    ),
    "adversarial, clusters": AdversarialAutoencoder(2, **FAST, **SPLIT, n_clusters=2),
    "adversarial, modules": AdversarialAutoencoder(
        2,
        max_iter=2,
        random_state=0,
        init="random",
        discriminator_hidden_layer_sizes=3,
        **SPLIT,
        architecture=Modules(Encoder, decoder),
    ),
    "deep belief": DeepBeliefAutoencoder(**FAST, pretrain_max_iter=1),
    "deep belief, random": DeepBeliefAutoencoder(
        2,
        **{**FAST, "hidden_layer_sizes": (4, 3)},
        init="random",
        momentum=0.9,
        rbm_learning_rate=0.2,
        **SPLIT,
    ),
    "contractive": ContractiveAutoencoder(**FAST),
    # One has folds of convolutions.
    **{
        f"{cls.__name__}, {type(architecture).__name__}": cls(
            2,
            max_iter=2,
            random_state=0,
            architecture=architecture,
            **({} if (cls, type(architecture)) == FOLDED else SPLIT),
        )
        for architecture in (
            Convolutional(channels=(2,), hidden_layer_sizes=()),
            Recurrent(hidden_size=3),
            Transformer(1, 4, 2),
        )
        for cls in WITH_NETWORKS[type(architecture)]
    },
}

# What takes two views, and shares no method with the others but `transform`. One row
# chooses its shrinkage, which takes longer than the networks.
TWO_VIEWS = {
    "pairs": ContrastiveAutoencoder(1, **FAST),
    "pairs, split": ContrastiveAutoencoder(1, **FAST, **SPLIT, shrinkage=0.1),
    "pairs, modules": ContrastiveAutoencoder(
        1,
        shrinkage=0.1,
        max_iter=2,
        random_state=0,
        architecture=Modules(Encoder, decoder),
        y_architecture=Modules(Encoder, decoder),
    ),
    "pairs, Convolutional": ContrastiveAutoencoder(
        1,
        shrinkage=0.1,
        max_iter=2,
        random_state=0,
        architecture=Convolutional(channels=(2,), hidden_layer_sizes=()),
        **SPLIT,
    ),
    "pairs, Recurrent": ContrastiveAutoencoder(
        1,
        shrinkage=0.1,
        max_iter=2,
        random_state=0,
        architecture=Recurrent(hidden_size=3),
        **SPLIT,
    ),
    "encoder-decoder": EncoderDecoder(1, **FAST),
    "encoder-decoder, split": EncoderDecoder(**FAST, **SPLIT, ridge_alpha=0.1),
    "encoder-decoder, Convolutional": EncoderDecoder(
        1,
        max_iter=2,
        random_state=0,
        architecture=Convolutional(channels=(2,), hidden_layer_sizes=()),
        **SPLIT,
    ),
    "encoder-decoder, Recurrent": EncoderDecoder(
        1,
        max_iter=2,
        random_state=0,
        architecture=Recurrent(hidden_size=3),
        **SPLIT,
    ),
}

# Boltzmann machines, which are no autoencoders. Normal rows: those of scikit-learn's
# checks are not between 0 and 1.
MACHINES = {
    "machine": RBM(4, visible="gaussian", max_iter=2, random_state=0),
    "machine, normal units": RBM(
        2, visible="gaussian", hidden="gaussian", random_state=0
    ),
}

# What completes tables and has no codes: scikit-learn's checks alone run over it.
IMPUTERS = {
    "imputer": MaskedImputer(**FAST),
    "imputer, draws": MaskedImputer(
        **FAST,
        sample_posterior=True,
        min_value=-1e6,
        max_value=1e6,
        add_indicator=True,
        keep_empty_features=True,
    ),
}

# What takes texts.
TINY = {
    "architecture": Transformer(1, 8, 2, dropout=0.0),
    "max_iter": 2,
    "max_length": 8,
    "random_state": 0,
}
TEXTS = {
    "n-grams": KneserNey(order=3),
    "n-grams, characters": KneserNey(analyzer="char"),
    "causal": CausalLanguageModel(2, **TINY),
    "causal, ALBERT": CausalLanguageModel(
        **{
            **TINY,
            "analyzer": "char",
            "architecture": Transformer(
                2, 8, 2, share_layers=True, embedding_rank=2, dropout=0.1
            ),
            "validation_fraction": 0.3,
            "order": 2,
        }
    ),
    "masked": MaskedLanguageModel(2, **TINY),
    "masked, static": MaskedLanguageModel(
        **TINY, masking="static", mask_fraction=0.4, analyzer="char"
    ),
    "bags": TextAutoencoder(2, max_iter=2, random_state=0),
    "bags, LSA": TextAutoencoder(
        max_iter=2,
        random_state=0,
        start="lsa",
        architecture=MLP((4,)),
        analyzer="char",
        **SPLIT,
    ),
}
