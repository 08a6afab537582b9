"""Every error and every warning of the package, as a manual.

Each entry is a call and what it says. Two tests keep the manual true: what is listed is
what is said, word for word (but for `...`), and what is said anywhere in the package is
listed. A new `raise` or `warnings.warn` therefore needs an entry; one that no call can
reach is an `assert`, or an exception without words, such as a bare
`NotImplementedError`.

A message names the parameter or the column, shows the value, and says what would be
accepted. Ranges and types of parameters are checked by scikit-learn, in its words.
"""

import ast
import doctest
import json
import os
import re
import sys
import traceback
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import skl2onnx
import torch
from files import rewrite
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import callbacks
from torch import nn

import skae.__main__
import skae.architectures
import skae.plotting
import skae.text
from skae.plotting._comparison import save_comparison
from skae.text._correspondence import CorrespondenceAnalysis

MANUAL = r"""
# How many codes

>>> AutoencoderTransformer(9).fit(X)
ValueError: n_components=9 must be at most min(n_samples, n_features)=4 with init="pca";
init="random" lifts this.

>>> AutoencoderTransformer(4, contamination=0.5).fit(X[:6])
ValueError: n_components=4 must be at most min(n_samples, n_features)=3 of the rows that
contamination=0.5 leaves with init="pca"; init="random" lifts this.

>>> MaskedImputer(9).fit(X)
ValueError: n_components=9 must be at most 4, the smaller of ... rows and 4 columns,
each category being one.

>>> AutoencoderTransformer(0.9).partial_fit(X)
ValueError: n_components=0.9: partial_fit needs an integer, because the variances are
not known before all rows are seen.

>>> AutoencoderTransformer(4).partial_fit(X[:3])
ValueError: n_components=4 must be at most min(n_samples, n_features)=3 of the first
batch that partial_fit is given.

>>> AutoencoderTransformer("mle").fit(X[:3], sample_weight=[1.0, 1.0, 0.5])
ValueError: n_components='mle' is only supported if n_samples >= n_features, here 3 and
4.

>>> monkeypatch.setattr("skae._dataset.SMALL_BYTES", 0)  # so that this is large
>>> sparse = sp.eye(40, 9, format="csr")
>>> AutoencoderTransformer(0.9).fit(sparse, sample_weight=range(40))
ValueError: n_components=0.9 with sample_weight and a large sparse X: use an integer
from 1, and below min(n_samples, n_features)=9.

>>> monkeypatch.setattr("skae._wide_em.MOST_NUMBERS", 10_000)  # so that this is wide
>>> wide = rng.normal(size=(40, 300))
>>> MaskedAutoencoder(20).fit(np.where(wide > 2, np.nan, wide))
ValueError: n_components=20 must be at most 5 for 300 columns with missing cells; None
finds a number.

>>> VAE(2).fit(X).inverse_transform(X)
ValueError: X has 4 columns, but codes of this VAE have n_components_=2.

>>> RBM(2, visible="gaussian").fit(X).inverse_transform(X)
ValueError: X has 4 columns, but this RBM has 2 hidden units, its n_components.

>>> EncoderDecoder(3).fit(X, X[:, :2])
ValueError: n_components=3 must be at most 2, the rank of y; None takes the smaller rank
of both.

>>> AdversarialAutoencoder(n_clusters=99).fit(X)
ValueError: n_clusters=99 must be at most the number of distinct rows, which is 30.

>>> TextAutoencoder(5).fit(["a tree", "a house"])
ValueError: n_components=5 must be at most the number of distinct tokens, 2.

>>> TextAutoencoder(1, max_iter=0).fit(["a tree", "a house"]).inverse_transform(X)
ValueError: X has 4 columns, but codes of this TextAutoencoder have n_components_=1.

>>> VAE().active_units_
AttributeError: active_units_ is there after fit.
>>> AdversarialAutoencoder(2).fit(X).cluster_centers_
AttributeError: cluster_centers_ is there after fit with n_clusters.

# Columns and their values

>>> model = AutoencoderTransformer(2, max_iter=0)
>>> model.fit(None)
TypeError: X is None: give rows, of shape (n_samples, n_features).

>>> model.fit(X[:, :0])
ValueError: X has 0 feature(s) (shape=(30, 0)) while a minimum of 1 is required.

>>> model.fit(np.array([["2026-01-01"], ["2026-01-02"]], dtype="datetime64[D]"))
ValueError: X holds times, which are not numbers: subtract one, and divide by a unit.

>>> model.fit([[np.datetime64("2026-01-01")], [np.datetime64("2026-01-02")]])
ValueError: X holds times, which are not numbers: subtract one, and divide by a unit.

>>> days = pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-03"] * 9)})
>>> model.fit(days)
ValueError: Column 'day' of X holds times, which are not numbers: subtract one, and
divide by a unit.

>>> model.fit(days.astype(object).to_numpy())
ValueError: Column 0 of X holds times, which are not numbers: subtract one, and
divide by a unit.

>>> model.fit([np.ma.masked_greater(row, 7) for row in X])
ValueError: Row 21 of X is a masked array that hides 1 values: fill them, or drop such
rows.

>>> model.fit(np.ma.masked_greater(X, 7))
ValueError: X is a masked array that hides 4 values: fill them, or drop such rows.

>>> frame = pd.DataFrame({"size": [1.0, np.nan, 3.0], "colour": ["red", "blue", "red"]})
>>> model.fit(frame)
ValueError: Column 'colour' of X is not numeric: it contains 'red'. Encode such columns
first, for instance with sklearn.preprocessing.OneHotEncoder. (could not convert string
to float: 'red')

>>> model.fit(frame[["size"]])
ValueError: Input X contains NaN in column 'size' (row 1). Every value must be finite:
drop such rows, complete them with skae.MaskedImputer, or use skae.MaskedAutoencoder.

>>> AutoencoderTransformer(1, max_iter=0).fit(X).inverse_transform([[0.0], [np.nan]])
ValueError: Input X contains NaN in column 0 (row 1). Every code must be finite: drop
such rows.

>>> AutoencoderTransformer(max_iter=0).fit(X[:, [0, 0]]).get_precision()
LinAlgError: The covariance has no inverse: the rows fill fewer dimensions than
the 2 there are, and with 2 codes nothing is left over as noise.

>>> model.fit([[1.0, 2.0], [np.inf, 3.0]])
ValueError: Input X contains infinity in column 0 (row 1). Every value must be finite:
drop such rows, or replace the values.

>>> model.fit([[1e200, 2.0], [1.0, 3.0]])
ValueError: Column 0 of X contains 1e+200 (row 0), whose square is too large for
float64: divide the rows, so that all numbers are below 1e+140.

>>> model.fit([[1e-200, 2e-200], [0.0, 3e-200]])
ValueError: The largest number of X is 3e-200, whose square is too small for float64:
multiply the rows, so that it is above 1e-140.

>>> DenoisingAutoencoder(corruption=torch.clone, max_iter=0).fit(1e35 * X)
ValueError: X has columns of root-mean-square deviation 1.12e+35 and means
of up to 6.02e+35, which float32 does not hold: scale the rows.

>>> RBM(visible="bernoulli").fit(X)
ValueError: Column 0 of X contains 5.1 (row 0) and goes from 4.8 to 7.7:
visible="bernoulli" takes values from 0 to 1.
sklearn.preprocessing.MinMaxScaler(clip=True) brings columns there.

>>> VAE(likelihood="bernoulli").fit(pd.DataFrame(X, columns=["a", "b", "c", "d"]))
ValueError: Column 'a' of X contains 5.1 (row 0) and goes from 4.8 to 7.7:
likelihood="bernoulli" takes values from 0 to 1.

>>> model.fit(X, X_val=X[:, :2])
ValueError: X_val: X has 2 features, but AutoencoderTransformer is expecting 4 features
as input.

>>> MaskedAutoencoder(missing_values=-1).fit(sp.eye(5, format="csr"))
ValueError: missing_values=-1 in a sparse X: mark them in a dense one.

>>> MaskedAutoencoder(max_iter=0).fit(X).impute(np.full((2, 4), np.nan))
UserWarning: No cell is known in 2 of the rows of X (the first is row 0): they become
the mean.

>>> model = MaskedImputer(max_iter=0, sample_posterior=True).fit(X)
>>> model.transform(np.full((2, 4), np.nan))
UserWarning: No cell is known in 2 of the rows of X (the first is row 0): they become
draws around the mean.

# Weights, groups, and rows that decide

>>> model = AutoencoderTransformer(2, max_iter=1)
>>> model.fit(X, sample_weight=["a"] * 30)
ValueError: sample_weight must hold real numbers, not <U1.

>>> model.fit(X, sample_weight=[1.0] * 29)
ValueError: sample_weight has shape (29,), but there are 30 rows: give one weight for
each, of shape (30,).

>>> model.fit(X, sample_weight=[1.0] * 29 + [-2])
ValueError: sample_weight is negative for row 29, -2.0: weights must be 0 or more.

>>> model.fit(X, sample_weight=[0] * 30)
ValueError: sample_weight is zero for every row: give one row a weight.

>>> model.fit(X, sample_weight=[1e300] * 30)
ValueError: sample_weight adds up to 3e+301: scale the weights to
numbers near 1.

>>> model.fit(X, sample_weight=[1e-20] + [1.0] * 29)
ValueError: sample_weight goes from 1e-20 to 1.0: weights that differ by more than a
factor of 1e+12 are lost in rounding. Set the small ones to 0.

>>> model.fit(X, sample_weight=[1] + [0] * 29)
ValueError: sample_weight leaves 1 row with a weight above zero, but at least 2 are
needed.

>>> model.fit(X, groups=[1, 2, 3])
ValueError: groups has shape (3,), but X has 30 rows: give one label for each, of shape
(30,).

>>> model.fit(X, groups=["a", None] * 15)
ValueError: groups has no label for row 1: None. Give such rows a group of their own, or
drop them.

>>> model.fit(X, groups=[1, 2] * 15)
UserWarning: groups makes 2 units of these rows: fewer than 5 cannot say whether a
network is better, and the start is kept. X_val may have rows that can.

>>> model.fit(X, X_val=X[:5])
ValueError: X_val: each of its 5 rows is a row of X too. Rows that decide must not be
trained on.

>>> model.fit(X, X_val=1e30 * X)
ValueError: Column 0 of X_val contains 7.700000000000001e+30 (row 27), which is 7e+30
deviations from the mean of the rows to fit: drop such rows. Within 1e+15, float32 holds
their loss.

>>> decoder = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Threshold(-0.1, np.inf))
>>> networks = Modules(nn.Linear(4, 2, bias=False), decoder)
>>> AutoencoderTransformer(2, init="random", architecture=networks).fit(X)
ValueError: The loss of the held-out rows is inf before training: the networks of the
architecture must return finite numbers, and held-out rows, also those of X_val, be near
enough to the others for float32. Is there an outlier?

>>> model.set_params(contamination=0.1, max_iter=0)
>>> monkeypatch.setattr("skae._dataset.SMALL_BYTES", 0)  # so that this is large
>>> model.fit(on_disk)
ValueError: contamination=0.1 needs rows in memory, and X is on disk: leave out rows
yourself, or use contamination=0.0.

>>> AutoencoderTransformer(n_neighbors=50, max_iter=0).fit(X)
UserWarning: n_neighbors=50, but the distinct rows that are trained on are only 30: a
row is compared with all others.

# Images and series

>>> model = AutoencoderTransformer(2, max_iter=0)
>>> _ = model.fit(rng.normal(size=(10, 3, 4)))
>>> model.transform(rng.normal(size=(10, 4, 3)))
ValueError: X has shape (10, 4, 3), but samples of shape (3, 4) were seen in fit: use
shape (n_samples, 3, 4).

>>> model.fit([[1.0, 2.0], 3.0])
ValueError: Row 1 of X is no series, 3.0: every series needs shape (n_steps, n_channels)
or (n_steps,).

>>> model.fit([[1.0, 2.0], []])
ValueError: Row 1 of X has no steps, []: every series needs shape (n_steps, n_channels)
or (n_steps,).

>>> model.fit([[[1.0]], [[1.0, 2.0]]])
ValueError: Row 1 of X has shape (1, 2), and row 0 has (1, 1): every series needs shape
(n_steps, n_channels) or (n_steps,), with the same number of channels.

>>> model.fit([[1.0, 2.0], [1.0]])
ValueError: X holds samples of 1 to 2 steps: series of different lengths need an
architecture that takes them, such as skae.architectures.Recurrent().

>>> model.fit(np.full((5, 2, 2), np.nan))
ValueError: Input X contains NaN at (0, 0) (row 0). Every value must be finite: drop
such rows, use skae.MaskedAutoencoder, or Recurrent() for series that end in NaN.

>>> model = AutoencoderTransformer(1, max_iter=0, architecture=Recurrent())
>>> model.fit([["a", "b"], [1.0]])
ValueError: Row 0 of X is not numeric: ['a', 'b'].

>>> _ = model.fit([[1.0, 2.0], [1.0]])
>>> model.transform([[1.0, 2.0, 3.0]])
ValueError: X has a series of more than 2 steps (row 0), but those seen in fit had 2 at
most.

>>> model.transform([[1.0, 2.0], [np.nan, np.nan]])
ValueError: Row 1 of X has no step: every value of it is NaN. Drop such rows.

>>> model.transform([[1.0, 2.0], [np.nan, 1.0]])
ValueError: Input X contains NaN in row 1 at step 0 (channel 0), before the last step of
this series, 1. NaN is padding, and comes after the last step only, in all channels:
fill gaps first.

>>> _ = model.fit([[1.0, 2.0, np.nan], [2.0, 3.0, np.nan]])
>>> model.transform([[1.0, 2.0, 3.0]])
UserWarning: X has series of more than 2 steps, and no series seen in fit had so many:
the later steps are left out.

# Parameters

>>> AutoencoderTransformer(0, init="random").fit(X)
ValueError: n_components=0 with init="random": without a code there is only the mean,
and so init has to be "pca".

>>> AutoencoderTransformer(init="random", linear_encoder=True).fit(X)
ValueError: linear_encoder=True with init="random": the linear encoder is PCA, and so
init has to be "pca".

>>> AutoencoderTransformer(transform_max_iter=5, linear_encoder=True).fit(X)
ValueError: transform_max_iter=5 with linear_encoder=True: the codes stay PCA's, and so
it has to be 0 or "auto".

>>> AutoencoderTransformer(device="tpu").fit(X)
ValueError: device='tpu' cannot be used: ... Use "auto", "cpu", or "cuda" where there is
one.

>>> DenoisingAutoencoder(corruption_level=2).fit(X)
ValueError: corruption_level=2 must be at most 1: it is the share of the cells that
corruption='swap' replaces.

>>> MaskedAutoencoder(mask_fraction=(0.5, 0.1)).fit(X)
ValueError: mask_fraction=(0.5, 0.1): use two shares of the cells, such as (0.05, 0.85),
in [0, 1), of which the second is not smaller.

>>> VAE(2, max_iter=0).fit(X).sample(2, random_state="a")
ValueError: random_state='a': use an integer from 0 to 2**32 - 1, a
numpy.random.RandomState or None.

>>> VAE(2, max_iter=0).fit(X).transform(X, return_std=np.array([0, 1]))
TypeError: return_std=array([0, 1]): use True or False.

# Training

>>> AutoencoderTransformer(learning_rate_init=1e30).fit(X)
ConvergenceWarning: The loss became nan in epoch 1: training stopped and the weights of
epoch 0 are kept. A smaller learning_rate_init may help.

>>> t = np.linspace(-2, 2, 200)[:, None]
>>> long = {"max_iter": 20, "learning_rate_init": 0.02, "batch_size": 20}
>>> model = VAE(2, beta=1000.0, validation_fraction=0.2, random_state=0, **long)
>>> model.fit(np.hstack([t, t**2, np.sin(2 * t), np.cos(t)]))
ConvergenceWarning: Active codes: 0 of 2 (see active_units_). The others have collapsed
to the prior. A smaller n_components or beta, or a longer n_epochs_kl_warmup, may help.

>>> model = AutoencoderTransformer(2, max_iter=1, warm_start=True).fit(X)
>>> model.set_params(n_components=3).fit(X)
ValueError: n_components=3, but training goes on from a fit with 2: keep it, or fit anew
with warm_start=False.

>>> model.set_params(n_components=2, activation="tanh").fit(X)
ValueError: activation='tanh', but training goes on from a fit with 'relu': keep it, or
fit anew with warm_start=False.

>>> AutoencoderTransformer(callbacks=[print]).fit(X)
ValueError: callbacks=[<built-in function print>]: <built-in function print> is not an
instance of skorch.callbacks.Callback.

>>> AutoencoderTransformer(callbacks=[callbacks.BatchScoring("r2")]).fit(X)
ValueError: callbacks: BatchScoring needs the batches of a DataLoader, and there is
none. The history has train_loss and valid_loss; EpochScoring scores, and Checkpoint
saves.

>>> EncoderDecoder(callbacks=[callbacks.EpochScoring("r2")]).fit(X, X)
ValueError: callbacks: EpochScoring scores reconstructions, which this estimator has
none of. The history has train_loss and valid_loss.

>>> AutoencoderTransformer(callbacks=[callbacks.Checkpoint(load_best=True)]).fit(X)
ValueError: callbacks: Checkpoint(load_best=True) loads the weights of an epoch, which
`fit` does by itself, or keeps the start: use load_best=False.

>>> AutoencoderTransformer(callbacks=[callbacks.EarlyStopping()]).partial_fit(X)
ValueError: callbacks: EarlyStopping has monitor='valid_loss', which partial_fit does
not record: use monitor='train_loss', or callbacks=None.

>>> files = callbacks.Checkpoint(dirname=".", monitor=None)
>>> model = AutoencoderTransformer(
...     callbacks=[files, callbacks.LoadInitState(files)], max_iter=1
... )
>>> _ = model.fit(X)
>>> model.fit(X)
UserWarning: Training does not go on from ./optimizer.pt, and starts anew: it is of
another fit. The data, the parameters and an integer random_state must be the same.

>>> AutoencoderTransformer(net_params={1: 2}).fit(X)
ValueError: net_params={1: 2}: 1 is not the name of a parameter.

>>> AutoencoderTransformer(net_params={"lr": 0.1}).fit(X)
ValueError: net_params['lr']: use learning_rate_init instead.

>>> AutoencoderTransformer(net_params={"module__width": 3}).fit(X)
ValueError: net_params['module__width']: the estimator and its architecture decide this.

>>> AutoencoderTransformer(net_params={"optimizer__differentiable": True}).fit(X)
ValueError: net_params['optimizer__differentiable']: the weights that a step changes are
leaves, of which torch records no graph.

>>> AutoencoderTransformer(net_params={"history": 3}).fit(X)
ValueError: net_params['history']: the estimator and its architecture decide this.

>>> AutoencoderTransformer(net_params={"train_split": None}).fit(X)
ValueError: net_params['train_split'] would have no effect: rows are batched and held
out without a DataLoader. Use batch_size and validation_fraction.

>>> AutoencoderTransformer(net_params={"optimiser": "SGD"}).fit(X)
ValueError: net_params={'optimiser': 'SGD'}: __init__() got unexpected argument(s)
optimiser. Either you made a typo, or you added new arguments in a subclass; if that is
the case, the subclass should deal with the new arguments explicitly.

# Architectures

>>> def fit_with(architecture, X=X, estimator=AutoencoderTransformer):
...     estimator(2, max_iter=1, architecture=architecture).fit(X)
>>> fit_with(MLP)
ValueError: architecture=MLP is a class: give an instance, MLP(...).

>>> CausalLanguageModel(architecture=Transformer).fit(["one text"])
ValueError: architecture=Transformer is a class: give an instance, Transformer(...).

>>> fit_with(MLP(tied_weights=True), estimator=VAE)
ValueError: architecture=MLP(tied_weights=True): the decoder shares its weights with the
encoder, which needs 4 outputs for 2 codes, and 4 inputs for 4 columns.

>>> fit_with(Recurrent(), estimator=DeepBeliefAutoencoder)
ValueError: architecture=Recurrent(): the layers of a DeepBeliefAutoencoder are
Boltzmann machines, which only those of skae.architectures.MLP can be. Use that, or
None.

>>> fit_with(MLP(hidden_layer_sizes=(0,)))
ValueError: hidden_layer_sizes=(0,): use a tuple of integers of at least 1, such as
(256, 128), or () for no hidden layer; the largest may be 16777216.

>>> fit_with(MLP(activation="sin"))
ValueError: Unknown activation 'sin': use one of ['elu', 'gelu', 'identity', 'logistic',
'relu', 'silu', 'tanh'].

>>> fit_with(MLP(tied_weights="no"))
ValueError: tied_weights='no': use True or False.

>>> fit_with(Convolutional(kernel_size=0))
ValueError: kernel_size=0: use an integer of at least 1.

>>> fit_with(Convolutional(image_shape=(3, 3)))
ValueError: image_shape=(3, 3) does not fit rows of 4 columns: use (n_channels, height,
width) or (height, width) with 4 pixels in all, or None for a signal.

>>> images = np.ones((5, 3, 4))
>>> fit_with(Convolutional(image_shape=(4, 3)), images)
ValueError: image_shape=(4, 3) is not the shape of the images: use (3, 4), or None; or
bring the axes of X in that order, as by np.moveaxis.

>>> fit_with(Convolutional(), images[:, None, None])
ValueError: Convolutional cannot take samples of shape (1, 1, 3, 4): use (n_features,),
(height, width) or (n_channels, height, width).

>>> fit_with(Recurrent(), images[:, None])
ValueError: sample_shape=(1, 3, 4): Recurrent takes series of shape (n_steps,) or
(n_steps, n_channels).

>>> fit_with(Recurrent(cell="rnn"))
ValueError: Unknown cell 'rnn': use one of ['gru', 'lstm'].

>>> fit_with(Recurrent(segment_length=0))
ValueError: segment_length=0: use an integer of at least 1, or "auto".

>>> fit_with(Recurrent(hidden_size=10**9))
ValueError: hidden_size=1000000000: use 16777216 at most.

>>> fit_with(Transformer(n_layers=0))
ValueError: n_layers=0: use an integer of at least 1.

>>> fit_with(Transformer(embed_dim=10**9))
ValueError: embed_dim=1000000000: use 16777216 at most.

>>> fit_with(Transformer(embed_dim=10, n_heads=3))
ValueError: embed_dim=10 is no multiple of n_heads=3: use one.

>>> fit_with(Transformer(dropout=1))
ValueError: dropout=1: use a number of at least 0 and below 1.

# Torch modules of one's own

>>> def fit_with(encoder, decoder=nn.Linear):
...     architecture = Modules(encoder, decoder)
...     AutoencoderTransformer(2, max_iter=1, architecture=architecture).fit(X)
>>> fit_with("tanh")
TypeError: encoder='tanh': expected a torch.nn.Module, or a class or function that
returns one.

>>> fit_with(min)
TypeError: encoder=<built-in function min>: its parameters are not known. Use a function
of Python, of two widths or of nothing.

>>> fit_with(lambda n_in, n_out: "tanh")
TypeError: encoder returned 'tanh' instead of a torch.nn.Module.

>>> class Layer(nn.Module):
...     def __init__(self, forward):
...         super().__init__()
...         self.weight = nn.Parameter(torch.ones(4))
...         self.forward = forward
>>> fit_with(Layer(lambda x: x))
ValueError: encoder: the parameter 'weight' of the module (Layer) cannot be reset.
Define reset_parameters(), or give the class or a function in place of an instance.

>>> fit_with(nn.Linear(5, 2))
ValueError: The encoder of the architecture cannot take rows of width 4: mat1 and mat2
shapes cannot be multiplied (2x4 and 5x2)

>>> fit_with(lambda: nn.Linear(4, 2, dtype=torch.complex64))
ValueError: The encoder of the architecture has the parameter 'weight' of
torch.complex64: networks are made float32, so take two real ones for it.

>>> fit_with(lambda name: nn.Linear(4, 2))
TypeError: encoder=<function <lambda> at 0x...> cannot be called with the widths (4, 2):
too many positional arguments. Use a class or function of two widths, or of nothing.

>>> class Doubled(nn.Linear):
...     def forward(self, x):
...         return super().forward(x.double())
>>> fit_with(lambda: Doubled(4, 2, dtype=torch.float64))
ValueError: The encoder of the architecture cannot take rows of width 4: mat1 and mat2
must have the same dtype, but got Double and Float (parameters of float64 are made
float32, as rows are)

>>> fit_with(lambda: Layer(lambda x: x))
ValueError: The encoder of the architecture returns shape (2, 4) for 2 rows of width 4:
(2, 2) is needed.

>>> fit_with(lambda: Layer(lambda x: (x[:, :2], x)))
ValueError: The encoder of the architecture returns a tuple where a tensor of shape (n,
2) is needed.

>>> fit_with(lambda: Layer(lambda x: x.add_(1)[:, :2]))
ValueError: The encoder of the architecture changes the rows that it is given, in place:
the loss compares with them. Begin with a layer that does not.

>>> fit_with(lambda: Layer(lambda x: x[:, :2].int()))
ValueError: The encoder of the architecture returns a tensor of torch.int32: real
numbers are needed.

>>> fit_with(lambda: Layer(lambda x: x[:, :2] / 0))
ValueError: The encoder of the architecture returns NaN or infinity for rows of zeros:
finite numbers are needed.

>>> fit_with(nn.ReLU, nn.ReLU)
ValueError: The encoder of the architecture returns shape (2, 4) for 2 rows of width 4:
(2, 2) is needed.

>>> class Mine(Architecture):
...     def __init__(self, networks=None):
...         self.networks = networks
...     def build(self, sample_shape, n_components, generator):
...         return self.networks
>>> AutoencoderTransformer(architecture=Mine()).fit(X)
ValueError: Mine().build returned NoneType: it must return an encoder and a decoder.

>>> AutoencoderTransformer(architecture=Mine(("tanh", "tanh"))).fit(X)
ValueError: Mine(networks=('tanh', 'tanh')).build returned str as the encoder: it must
be a torch.nn.Module.

>>> class Frozen(nn.Linear):
...     def __init__(self, n_in, n_out):
...         super().__init__(n_in, n_out)
...         self.requires_grad_(False)
>>> fit_with(Frozen, Frozen)
ValueError: architecture=Modules(decoder=<class 'Frozen'>, encoder=<class 'Frozen'>) has
no parameter to train: none has requires_grad=True.

>>> plain = "skae._autoencoder.AutoencoderModule.forward"
>>> monkeypatch.setattr(plain, lambda self, x, known: x)  # as an objective of one's own
>>> how = {"architecture": Recurrent(), "validation_fraction": 0.2}
>>> AutoencoderTransformer(2, max_iter=1, **how).fit(X)
TypeError: forward returned Tensor: it must return a tuple, the reconstruction first.

# Corruptions and priors of one's own

>>> def fit_with(corruption):
...     DenoisingAutoencoder(2, corruption=corruption).fit(X)
>>> fit_with(lambda X: X)
TypeError: corruption=<function <lambda> at 0x...> is called with a float32 tensor of
rows and a torch.Generator: <lambda>() takes 1 positional argument but 2 were given

>>> fit_with(lambda X, generator: X[:1])
ValueError: corruption=<function <lambda> at 0x...> returned Tensor ((1, 4),
torch.float32, cpu): it must return a real tensor of the rows' shape, (30, 4), on their
device.

>>> fit_with(lambda X, generator: X / 0)
ValueError: corruption=<function <lambda> at 0x...> returned NaN or infinity: every
corrupted value must be finite.

>>> def fit_with(prior):
...     AdversarialAutoencoder(2, prior=prior).fit(X)
>>> fit_with(lambda n: torch.rand(n, 2))
TypeError: prior=<function <lambda> at 0x...> is called with a number of draws and a
torch.Generator: <lambda>() takes 1 positional argument but 2 were given

>>> fit_with(lambda n, generator: torch.rand(n, 3))
ValueError: prior=<function <lambda> at 0x...> returned torch.float32 of shape (10000,
3) for n=10000: it must return real numbers of shape (10000, 2), one for each of the 2
codes.

>>> fit_with(lambda n, generator: torch.ones(n, 2) / 0)
ValueError: prior=<function <lambda> at 0x...> returned NaN or infinity: draws must be
finite.

>>> fit_with(lambda n, generator: torch.ones(n, 2))
ValueError: prior=<function <lambda> at 0x...>: the covariance of 10000 draws is
singular. Each of the codes needs some variance of its own.

# Boltzmann machines

>>> RBM(2, visible="gaussian", validation_fraction=0.1).fit(X)
ConvergenceWarning: RBM: the start is kept, because fewer than 5 held-out rows, here 3,
say nothing: take more rows, a larger validation_fraction, or None.

>>> RBM(2, visible="gaussian", learning_rate=1e30).fit(X)
ConvergenceWarning: RBM: the start is kept, because training diverged in pass 1: take a
smaller learning_rate than 1e+30.

>>> RBM(2, visible="gaussian", learning_rate=10.0).fit(X)
ConvergenceWarning: RBM: the start is kept, because under the trained machine the rows
are further from their own reconstructions than from their mean: take a smaller
learning_rate than 10.0, or sklearn.preprocessing.StandardScaler before.

>>> RBM(2, visible="gaussian", learning_rate=1e30).partial_fit(X)
ValueError: learning_rate=1e+30: training has diverged, and the machine is left as it
was. Take a smaller one.

>>> model = RBM(2, visible="gaussian").partial_fit(X)
>>> model.set_params(n_components=3).partial_fit(X)
ValueError: n_components=3, but training goes on from a fit with 2: keep it, or call
fit.

# Two views

>>> EncoderDecoder().fit(X)
ValueError: EncoderDecoder requires y to be passed, but the target y is None: give the
other view of each row of X.

>>> EncoderDecoder().fit(X, X[:5])
ValueError: y has 5 rows, but X has 30: give one row of y for each row of X.

>>> EncoderDecoder().fit(sp.csr_matrix(X), X)
TypeError: X is sparse: give a dense one, such as X.toarray().

>>> EncoderDecoder().fit(X, sp.csr_matrix(X))
TypeError: y is sparse: give a dense one, such as y.toarray().

>>> EncoderDecoder().fit(X, [[1.0, "red"]] * 30)
ValueError: Column 1 of y is not numeric: it contains 'red'. Encode such columns first,
for instance with sklearn.preprocessing.OneHotEncoder. (could not convert string to
float: 'red')

>>> EncoderDecoder().fit(X, np.array(["red", 1] * 15, dtype=object))
ValueError: y is not numeric: could not convert string to float: 'red'.

>>> EncoderDecoder().fit(X, np.ones((30, 2)))
ValueError: Every row of y is the same: at least one column must vary.

>>> EncoderDecoder().fit(X[5:], X[5:], y_val=X[:5])
ValueError: y_val needs X_val: give both, or neither.

>>> EncoderDecoder().fit(X[5:], X[5:], X_val=X[:5])
ValueError: X_val needs y_val: give both, or neither.

>>> model = ContrastiveAutoencoder(1, max_iter=0)
>>> model.fit(X, ["red", None] * 15)
ValueError: Input y contains NaN: row 1 has no label (None). Drop such rows, or give
them a label of their own.

>>> model.fit(X, ["red", 1] * 15)
TypeError: y has labels of several types, int, str: use one.

>>> _ = model.fit(X, ["red", "blue"] * 15)
>>> model.score_samples(X, ["green"] * 30)
ValueError: y has the label 'green' (row 0), which was not seen in fit: these were
'blue', 'red'. A split that is stratified by y has all labels in each part.

>>> ContrastiveAutoencoder(1, shrinkage=0.0).fit(X, X)
UserWarning: The first 1 correlations of both views are 1, and bounded: the views share
a column, or have too few rows for their columns with shrinkage=0.0.

>>> ContrastiveAutoencoder(1, corruption="masking", corruption_level=1).fit(X)
ValueError: Nothing of X varies that corruption='masking' with corruption_level=1
leaves: use a lower level, or rows that differ.

>>> ContrastiveAutoencoder(1, max_iter=0).fit(X).partial_fit(X, X)
ValueError: y is given, but this ContrastiveAutoencoder was fitted without: fit anew
with both views.

# Tables with categories

>>> MaskedImputer(categorical_features=[0]).fit([1, 2, 3])
ValueError: X has shape (3,): use shape (n_samples, n_features).

>>> colours = pd.DataFrame({"size": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"]})
>>> MaskedImputer(categorical_features=["colour"]).fit(colours[:0])
ValueError: X has 0 sample(s) while a minimum of 2 is required.

>>> MaskedImputer(categorical_features=["size"]).fit(colours)
ValueError: Column 'colour' of X is not numeric: name it in categorical_features. (could
not convert string to float: 'red')

>>> MaskedImputer(categorical_features=["colour"]).fit(
...     colours.assign(day=pd.to_datetime(["2026-01-01", "2026-01-02", None]))
... )
ValueError: Column 'day' of X holds times, which are not numbers: subtract one, and
divide by a unit.

>>> MaskedImputer(missing_values=-1).fit([[1.0, np.nan], [2.0, -1.0], [3.0, 4.0]])
ValueError: Input X contains NaN in column 1 (row 0), but missing_values=-1: mark all
missing cells by either.

>>> MaskedImputer(missing_values="?").fit([[1.0, np.nan], [2.0, "?"], [3.0, 4.0]])
ValueError: Input X contains NaN in column 1 (row 0), but missing_values='?': mark all
missing cells by either.

>>> MaskedImputer(max_iter=0).fit(colours.assign(colour=np.nan))
UserWarning: Columns ['colour'] have no value and are left out: keep_empty_features=True
keeps them.

>>> MaskedImputer(categorical_features=["shape"]).fit(colours)
ValueError: categorical_features=['shape']: 'shape' is no column of X: use names of
columns, or numbers from 0 to 1.

>>> MaskedImputer(categorical_features=[True]).fit(colours)
ValueError: categorical_features=[True] has 1 flags, but X has 2 columns: give one for
each, or names of columns.

>>> lists = colours.assign(colour=[["red"], ["blue"], ["red"]])
>>> MaskedImputer(categorical_features=["colour"]).fit(lists)
TypeError: Column 'colour' of X has ['red'] as a category: use strings, numbers or
tuples. (unhashable type: 'list')

>>> MaskedImputer(min_value=[0.0]).fit([[1.0, np.nan], [2.0, 3.0]])
ValueError: min_value=[0.0]: use a number, or one for each of the 2 columns; -inf and
inf are no limits.

>>> MaskedImputer(min_value=["a", "b"]).fit([[1.0, np.nan], [2.0, 3.0]])
ValueError: min_value: could not convert string to float: 'a'

>>> MaskedImputer(min_value=5, max_value=[9, 5]).fit([[1.0, np.nan], [2.0, 3.0]])
ValueError: min_value=5.0 and max_value=5.0 of column 1: the first has to be smaller.

>>> MaskedImputer(categorical_features="from_dtype").fit(X)
ValueError: categorical_features="from_dtype" needs a frame: give the numbers of the
columns.

# Texts

>>> model = KneserNey()
>>> model.fit("a tree")
ValueError: X is 'a tree', one str: use a list or a Series of strings, a list of lists
of tokens, or an integer array padded with -1.

>>> model.fit(3)
TypeError: X is 3, one int: use a list or Series of strings.

>>> model.fit(X)
ValueError: X is an array of shape (30, 4) and type float64: use shape (n_texts,) for
strings, or integers of shape (n_texts, n_tokens), padded with -1.

>>> model.fit(pd.DataFrame({"title": ["a tree"], "body": ["It grows."]}))
ValueError: X is a frame with the columns ['title', 'body']: use one of them, as in
X["text"].

>>> model.fit(pd.DataFrame({"first": [1, 2], "second": [3, -1]}))
ValueError: X is a frame with the columns ['first', 'second']: use X.to_numpy().

>>> model.fit([])
ValueError: X has no text: 0 sample(s) were given, and at least one is needed.

>>> model.fit(np.empty((0, 3), dtype=int))
ValueError: X has no text: 0 sample(s) were given, and at least one is needed.

>>> model.fit([1, 2])
ValueError: Text 0 of X is 1 (int): each text must be a string, or a list of tokens.

>>> model.fit(["a tree", None])
ValueError: Text 1 of X is None (NoneType): each text must be a string, "" where it is
missing, as by X.fillna("").

>>> model.fit([["a", "tree"], "a house"])
ValueError: Text 1 of X is 'a house' (str): each text must be a list of tokens.

>>> model.fit([["a", "tree"], ["a", 2]])
ValueError: Text 1 of X has the token 2 (int): each text must be made of strings.

>>> model.fit(np.array([[0, -1, 1]]))
ValueError: X has -1 in row 0, column 1: use integers from 0 to 2**63 - 1, and -1 after
the last token only.

>>> model.fit([[3, 2**63]])
ValueError: Text 0 of X has the token 9223372036854775808 (int): each text must be made
of integers from 0 to 2**63 - 1.

>>> model.fit(["", ""])
ValueError: X has no token in any of its 2 texts, with
token_pattern='(?u)\\w+|[^\\w\\s]': the vocabulary would be empty. First text: ''.

>>> CorrespondenceAnalysis.of(sp.csr_matrix((2, 3)), 1)
ValueError: No text of X has a token that is in the vocabulary.

>>> MaskedLanguageModel(sentence_order=True).fit(["It is a tree.", "It grows."])
ValueError: sentence_order=True, but none of the 2 texts of X has two sentences, which
end with a token of '.', '!' or '?': use sentence_order=False, or texts that have.

>>> KneserNey(min_df=2).fit(["a tree", "the house"])
ValueError: min_df=2 leaves no token of 2 texts: use at most the number, or share, of
texts that have one (After pruning, no terms remain. Try a lower min_df or a higher
max_df.).

>>> KneserNey(token_pattern="(").fit(["a tree"])
ValueError: token_pattern='(' is no regular expression: missing ), unterminated
subpattern at position 0.

>>> KneserNey(token_pattern="(a)(b)").fit(["a tree"])
ValueError: token_pattern='(a)(b)' has several groups: More than 1 capturing group in
token pattern. Only a single group should be captured.

>>> KneserNey(analyzer=lambda text: 1).fit(["a tree"])
TypeError: analyzer returned 1 (int) for text 0 of X: it must return tokens, in a list.

>>> KneserNey(analyzer=lambda text: [[1]]).fit(["a tree"])
TypeError: analyzer returned [[1]] for text 0 of X: tokens must be strings, or of
another type that can be hashed and sorted (unhashable type: 'list').

>>> KneserNey(analyzer=lambda text: [1, "a"]).fit(["a tree"])
TypeError: analyzer returned the tokens 1 (int) and 'a' (str): all must be strings, or
of another type that can be hashed and sorted ('<' not supported between instances of
'str' and 'int').

>>> KneserNey(analyzer="bpe", min_df=2).fit(["a tree"])
ValueError: min_df=2 has no meaning with analyzer="bpe": use 1.

>>> KneserNey(analyzer="bpe", max_features=100).fit(["a tree"])
ValueError: max_features=100 with analyzer="bpe": each of the 256 bytes is a token, so
use at least 256.

>>> KneserNey(analyzer="bpe").fit(["a tree", "half \ud800 a letter"])
ValueError: Text 1 of X is 'half \ud800 a letter' (str): each text must be one that
UTF-8 can encode, of which byte pairs are made.

>>> monkeypatch.setitem(sys.modules, "tokenizers", None)
>>> KneserNey(analyzer="bpe").fit(["a tree"])
ImportError: analyzer="bpe" needs the extra skae[tokenizers]: python -m pip install
"skae[tokenizers]".

>>> _ = model.fit(["a green tree", "a green house"])
>>> model.score([["a", "tree"]])
ValueError: X holds lists of tokens, but strings were seen in fit: use these.

>>> filler = MaskedLanguageModel(max_iter=0).fit(["a green tree", "a green house"])
>>> filler.fill_mask(["a [MASK] tree"])
ValueError: No text of X has a mask: put <mask> where a token is.

>>> skae.nothing
AttributeError: module 'skae' has no attribute 'nothing'

>>> model.sample(temperature=float("inf"))
ValueError: temperature=inf: use a finite number from 0 on.

>>> model.sample(random_state=np.random.default_rng(0))
ValueError: random_state=Generator(PCG64) at ...: use an integer from 0 to 2**32 - 1, a
numpy.random.RandomState or None.

>>> model.sample(prompt=3)
ValueError: prompt=3, as the text of X: Text 0 of X is 3 (int): each text must be a
string, or a list of tokens.

# Files

>>> model = DenoisingAutoencoder(2, corruption=lambda X, generator: X / 2, max_iter=0)
>>> model.fit(X).save("model.safetensors")
NotPlainError: DenoisingAutoencoder.corruption=<function <lambda> at 0x...> cannot be
stored without code: use numbers, strings, classes or functions that a module has under
their names, and instances of such classes, which may have a __call__; or store the
estimator with its code, by cloudpickle.dump.

>>> KneserNey(analyzer=str.split).fit(["a tree"]).save("model.safetensors")
NotPlainError: KneserNey.analyzer=<method 'split' of 'str' objects> cannot be stored
without code: use numbers, strings, classes or functions that a module has under their
names, and instances of such classes, which may have a __call__; or store the estimator
with its code, by cloudpickle.dump.

>>> analyzer = CountVectorizer(stop_words="english").build_analyzer()
>>> KneserNey(analyzer=analyzer).fit(["a tree"]).save("model.safetensors")
NotPlainError: KneserNey.analyzer=functools.partial(<function _analyze at 0x...>, ...)
cannot be stored without code: use numbers, strings, classes or functions that a module
has under their names, and instances of such classes, which may have a __call__; or
store the estimator with its code, by cloudpickle.dump.

>>> labels = np.array([b"red", b"blue"] * 15)
>>> model = ContrastiveAutoencoder(1, max_iter=0).fit(X, labels)
>>> model.save("model.safetensors")
NotPlainError: ContrastiveAutoencoder._view.classes_=array([b'blue', b'red'],
dtype='|S4') cannot be stored without code: use numbers, strings, classes or functions
that a module has under their names, and instances of such classes, which may have a
__call__; or store the estimator with its code, by cloudpickle.dump.

>>> model = AutoencoderTransformer(2, callbacks=[callbacks.EarlyStopping()], max_iter=0)
>>> model.fit(X).save("model.safetensors")
UserWarning: The callbacks [<skorch.callbacks.training.EarlyStopping object at 0x...>]
are not stored: set them again in what is loaded.

>>> AutoencoderTransformer(2, max_iter=0).fit(X).save("")
IsADirectoryError: path='' is a folder: name a file in it.

>>> AutoencoderTransformer(2, max_iter=0).fit(X).save(3)
TypeError: path=3: use the name of a file, or a pathlib.Path.

>>> os.mkfifo("pipe")
>>> AutoencoderTransformer(2, max_iter=0).fit(X).save("pipe")
OSError: path='pipe' is no regular file: name one, or a new one.

>>> AutoencoderTransformer(2, max_iter=0).fit(X).save("gone/model.safetensors")
FileNotFoundError: path='gone/model.safetensors' is in a folder that does not exist.

>>> file = Path("model.safetensors")
>>> AutoencoderTransformer(2, max_iter=0).fit(X).save(file)
>>> load(file, trusted=["my.Encoder"])
TypeError: trusted=['my.Encoder']: use a list of classes and functions themselves, as in
trusted=[MyModule].

>>> data = file.read_bytes()
>>> file.write_bytes(data[:-1])
>>> load(file)
LoadError: model.safetensors is damaged, or no file of skae: ...

>>> file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
>>> load(file)
LoadError: model.safetensors is damaged: its checksum is not that of its content.

>>> file.write_bytes(data)
>>> rewrite(file, format="skae 99", written_by="skae 7.0")
>>> load(file)
LoadError: model.safetensors has the format 'skae 99', written by skae 7.0: skae ...
reads 'skae 12'. Load it with the version that wrote it, or fit again.

Of a file that somebody has made up:

>>> def load_made_up(model):
...     file.write_bytes(data)
...     rewrite(file, model=json.dumps(model))
...     return load(file)
>>> load_made_up({"is": "class", "of": "os.system"})
LoadError: model.safetensors: os.system is not of skae: if it is yours, import it, and
pass it in trusted=[...].

>>> load_made_up(3)
LoadError: model.safetensors: it holds no estimator, but 3.

>>> load_made_up({})
LoadError: model.safetensors does not hold an estimator: KeyError('is').

>>> load_made_up({"is": "pickle", "of": "..."})
LoadError: model.safetensors: 'pickle' stands for nothing.

>>> load_made_up({"is": "object", "class": "skae._net.AutoencoderNet", "of": {}})
LoadError: model.safetensors: skae._net.AutoencoderNet has no instances in plain data.

>>> weights = {"_all_weights": [[3]]}
>>> load_made_up({"is": "object", "class": "torch.nn.LSTM", "of": weights})
LoadError: model.safetensors: a recurrent layer has weights without names.

>>> kind = {"is": "class", "of": "torch.nn.Linear"}
>>> net = {"is": "dict", "of": [["class", "settings"], [kind, None]]}
>>> load_made_up({"is": "net", "of": net})
LoadError: model.safetensors: torch.nn.Linear is no net.

>>> monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
>>> load(file)
ImportError: load needs the extra skae[safetensors]: python -m pip install
"skae[safetensors]".

# ONNX

>>> to_onnx(AutoencoderTransformer)
TypeError: estimator=<class 'skae._autoencoder.AutoencoderTransformer'>: give a fitted
estimator.

>>> model = AutoencoderTransformer(2, n_neighbors=3, max_iter=0).fit(X)
>>> to_onnx(model, dtype=int)
ValueError: dtype=<class 'int'>: use numpy.float32 or numpy.float64.

>>> to_onnx(model, target_opset=17)
ValueError: target_opset=17: use an integer from 18 to ..., the newest that onnx ...
knows.

>>> skl2onnx.to_onnx(model, X[:1], target_opset=17)
ValueError: target_opset=17: AutoencoderTransformer needs one of at least 18.

>>> to_onnx(model, "sample")
ValueError: method='sample': of AutoencoderTransformer, use one of 'transform',
'inverse_transform', 'reconstruct', 'score_samples', 'predict'.

>>> to_onnx(model, "score_samples")
NotImplementedError: score_samples with n_neighbors=3 cannot be exported: it is a search
among the training rows. Export transform, inverse_transform or reconstruct, or fit with
n_neighbors=None, for the likelihood.

>>> to_onnx(AdversarialAutoencoder(2, n_clusters=2, max_iter=0).fit(X), "predict")
NotImplementedError: predict with n_clusters=2 cannot be exported: it returns clusters.
Export transform, inverse_transform, reconstruct or score_samples.

>>> model = ContrastiveAutoencoder(1, max_iter=0).fit(X, ["red", "blue"] * 15)
>>> to_onnx(model, "transform_y")
NotImplementedError: transform_y of labels cannot be exported: there is one code for
each of classes_. Export transform.

>>> to_onnx(MaskedImputer(max_iter=0).fit(X))
NotImplementedError: MaskedImputer cannot be exported: it sorts the columns of a frame,
and makes numbers of their categories, in Python. Export MaskedAutoencoder with
method="reconstruct", which completes tables of numbers.

>>> to_onnx(KneserNey().fit(["a tree"]), "score_samples")
NotImplementedError: KneserNey cannot be exported: it makes tokens of texts in Python.
Export autoencoders of tables, images and series, or RBM.

>>> class Shifted(AutoencoderTransformer):
...     def transform(self, X):
...         return super().transform(X) + 1
>>> model = Shifted(2, max_iter=0).fit(X)
>>> to_onnx(model)
NotImplementedError: Shifted.transform cannot be exported; of Shifted these can:
'inverse_transform', 'score_samples', 'predict'.

>>> skl2onnx.to_onnx(model, X[:1])
NotImplementedError: Shifted.transform cannot be exported: the class is none of skae's,
or has a method of its own in place of one of skae's.

>>> class Reader(nn.Linear):
...     reads_known = True
...     def forward(self, x, known=None):
...         return super().forward(x)
>>> networks = Modules(Reader, nn.Linear)
>>> model = MaskedAutoencoder(2, init="random", architecture=networks, max_iter=1)
>>> to_onnx(model.fit(X))
NotImplementedError: The network Reader cannot be exported: it reads which cells are
known, and is none of skae's. Use those of skae.architectures.

>>> class EachRow(nn.Linear):
...     def forward(self, x):
...         return torch.stack([self.weight @ row for row in x])
>>> networks = Modules(EachRow, nn.Linear)
>>> model = AutoencoderTransformer(2, init="random", architecture=networks, max_iter=1)
>>> to_onnx(model.fit(X))
NotImplementedError: The network EachRow cannot be exported, by torch.onnx.export: it
would take 3 rows and no other number, since the number of rows is taken for one that
never changes. reshape(-1, ...) or unflatten may be used in place of len(x).

>>> class Flipped(nn.Linear):
...     def forward(self, x):
...         return super().forward(x.flip(1))
>>> networks = Modules(Flipped, nn.Linear)
>>> model = AutoencoderTransformer(2, init="random", architecture=networks, max_iter=1)
>>> monkeypatch.delattr("torch.onnx.export")  # as if it did not know the network
>>> to_onnx(model.fit(X))
NotImplementedError: The network Flipped cannot be exported, by torch.onnx.export: ...

>>> to_onnx(PCA(2).fit(X), "transform")
ValueError: method='transform': of PCA, which is no estimator of skae, use None, for
what skl2onnx makes of it.

>>> networks = Modules(nn.Linear, Flipped)
>>> how = {"init": "random", "architecture": networks, "transform_max_iter": 1}
>>> to_onnx(AutoencoderTransformer(2, **how, max_iter=1).fit(X))
NotImplementedError: The network Flipped cannot be exported with the steps of transform,
of which it would need the gradient: fit with transform_max_iter=0.

>>> bent = nn.Sequential(nn.Linear(2, 4), nn.GELU("tanh"))
>>> how["architecture"] = Modules(nn.Linear, bent)
>>> to_onnx(AutoencoderTransformer(2, **how, max_iter=1).fit(X))
NotImplementedError: The network GELU cannot be exported with the steps of transform, of
which it would need the gradient: fit with transform_max_iter=0.

>>> to_onnx(make_pipeline(PCA(2)).fit(X), "transform")
ValueError: method='transform': of a Pipeline that ends in PCA, and not in an estimator
of skae, use None, for what skl2onnx makes of it.

>>> model = make_pipeline(PCA(2), VAE(1, max_iter=0)).fit(X)
>>> to_onnx(model, "reconstruct")
NotImplementedError: method='reconstruct' of a Pipeline cannot be exported, since
skl2onnx knows no inverse_transform of its other steps. Export that of its last step,
pipeline[-1], whose rows are those of that step.

>>> monkeypatch.setitem(sys.modules, "onnx", None)
>>> to_onnx(model)
ImportError: to_onnx needs onnx: python -m pip install 'skae[onnx]'

# Pictures

>>> model = AutoencoderTransformer(2, max_iter=0).fit(X)
>>> ComponentsDisplay.from_estimator(RBM(2, visible="gaussian").fit(X))
ValueError: ComponentsDisplay needs an estimator with explained_variance_ratio_, and RBM
has none.

>>> LossCurveDisplay.from_estimator(PCA(2).fit(X))
ValueError: LossCurveDisplay draws the training of a network, and PCA has no
loss_curve_.

>>> LossCurveDisplay.from_estimator(model)
ValueError: LossCurveDisplay draws the training of a network, and this
AutoencoderTransformer has not trained one: its loss_curve_ is empty, as with
max_iter=0.

>>> ComponentsDisplay.from_estimator(
...     TextAutoencoder(1, max_iter=0).fit(["a tree", "a house"])
... )
ValueError: ComponentsDisplay draws rows of numbers, and the rows of TextAutoencoder are
texts: LatentSpaceDisplay draws their codes.

>>> LatentSpaceDisplay.from_estimator(MaskedImputer(max_iter=0).fit(X), X)
ValueError: LatentSpaceDisplay draws codes, and MaskedImputer returns completed tables:
MaskedAutoencoder has codes of incomplete rows.

>>> LatentSpaceDisplay.from_estimator(model, X, components=[0, 2])
ValueError: components=[0, 2] must be one or two different codes, from 0 to 1.

>>> LatentSpaceDisplay.from_estimator(model, X, y=X)
ValueError: y must have one axis, and has shape (30, 4): give one label or number for
each row.

>>> ManifoldDisplay.from_estimator(RBM(2, visible="gaussian").fit(X))
ValueError: ManifoldDisplay needs X for RBM, which has no explained_variance_ to tell
how far its codes spread.

>>> ManifoldDisplay.from_estimator(model, percentiles=(5, 95))
ValueError: percentiles=(5, 95) must be two numbers, above 0 and below 1, the smaller
one first.

>>> ManifoldDisplay.from_estimator(model, percentiles="ab")
ValueError: percentiles='ab' must be two numbers, above 0 and below 1, the smaller one
first.

>>> LatentSpaceDisplay.from_estimator(model, X, ax=3)
TypeError: ax=3: use one matplotlib.axes.Axes, or None.

>>> LatentSpaceDisplay.from_estimator(model, X, [np.inf, *range(29)])
ValueError: Input y contains infinity: row 0 has inf, which has no colour. Drop such
rows.

>>> model = FunctionTransformer(None, lambda X: X[:, :2], check_inverse=False).fit(X)
>>> ReconstructionDisplay.from_estimator(model, X)
ValueError: ReconstructionDisplay needs an estimator that gives rows back:
FunctionTransformer returned samples of shape (2,) for those of shape (4,).

>>> model = AutoencoderTransformer(2, max_iter=0).fit(X)
>>> ReconstructionDisplay.from_estimator(model, X, image_shape=(3, 3))
ValueError: image_shape=(3, 3) must be (height, width) or (channels, height, width) with
a product of 4, the number of features.

>>> ReconstructionDisplay.from_estimator(model, X, kind="bar")
ValueError: kind='bar' must be 'auto', 'image' or 'line'.

>>> ReconstructionDisplay.from_estimator(model, X, kind="image")
ValueError: Images have shape (height, width), (1, height, width) or (3, height, width),
and these samples have (4,): image_shape says how flat rows are images.

>>> ReconstructionDisplay.from_estimator(model, X, kind="line", image_shape=(1, 2, 2))
ValueError: kind='line' needs samples of shape (n_features,) or (n_steps, n_channels),
and these have (1, 2, 2).

>>> AnomalyDisplay.from_estimator(model, X, kind="bar")
ValueError: kind='bar' must be 'auto', 'image', 'line' or 'table'.

>>> AnomalyDisplay.from_estimator(model, X, kind="table", image_shape=(2, 2))
ValueError: kind='table' needs samples of shape (n_features,), and these have (2, 2):
use 'auto', 'image' or 'line'.

>>> ax = Figure().add_subplot()
>>> ComponentsDisplay.from_estimator(model, ax=ax, bar_kwargs="red")
TypeError: bar_kwargs='red' must be a dict, or None.

>>> monkeypatch.setitem(sys.modules, "matplotlib", None)
>>> ComponentsDisplay.from_estimator(model)
ImportError: ComponentsDisplay.from_estimator needs matplotlib: python -m pip install
'skae[plot]'

# The command line: python -m skae

>>> run("--no-picture")
InputError: unrecognized arguments: --no-picture

>>> run("--max-iter -1")
InputError: argument --max-iter: '-1' is not a whole number >= 0

>>> run("--target digit")
InputError: --target needs a table; that of the digits is the digit

>>> run("--plot skae.txt")
InputError: cannot write skae.txt: the suffix must be .png or .pdf or .svg or .jpg

>>> run("table.xls")
InputError: cannot read table.xls: the suffix must be .csv or .parquet

>>> run("table.csv")
InputError: cannot read table.csv: No such file or directory

>>> write("table.csv", "a;b", "1;2")
>>> run("table.csv")
InputError: table.csv has one column, 'a;b': separate cells by commas

>>> write("table.csv", "1,3", "3,4")
>>> run("table.csv")
InputError: table.csv has numbers where the names of the columns should be: '1', '3'

>>> write("table.csv", "a,b", "1,2")
>>> run("table.csv")
InputError: table.csv has 1 rows, but at least 10 are needed

>>> run("table.csv --target c")
InputError: table.csv has no column 'c'; its columns are 'a', 'b'

>>> write("table.csv", "a,b", *["1,red"] * 20)
>>> run("table.csv")
InputError: table.csv has non-numeric columns: 'b' (the first is 'red', in row 0 of 'b':
leave them out, or make one the --target)

>>> run("table.csv --target b")
InputError: the target 'b' has only one value, red: choose a column that varies

>>> write("table.csv", "a,b", *["1,"] * 20)
>>> run("table.csv")
InputError: table.csv has missing, infinite or huge values in 'b' (the first is nan, in
row 0 of 'b': fill them, or leave out such rows or columns)

>>> write("table.csv", "a,b", *[f"{i},no {i}" for i in range(20)])
>>> run("table.csv --target b")
InputError: the target 'b' has 20 different texts in 20 rows, too many for classes

>>> write("table.csv", "a,b", *[f"{i},0" for i in range(20)])
>>> run("table.csv")
InputError: 1 column varies, but at least 2 are needed

>>> write("table.csv", "a,b", *[f"{i},{i % 7}" for i in range(20)])
>>> run("table.csv --n-components 2")
InputError: --n-components 2: must be below 2 (15 rows to fit, 2 columns that vary)

>>> pd.DataFrame({"a": [[1, 2]] * 20}).to_parquet("lists.parquet")
>>> run("lists.parquet --target a")
InputError: the target 'a' has lists or records, the first is array([1, 2]): give a
column of numbers or of classes

>>> os.mkdir("table.parquet")
>>> run("table.parquet")
InputError: cannot read table.parquet: it is a folder or a pipe: give a file

>>> monkeypatch.setattr("skae._table.import_pandas", lambda: None)
>>> run("file.parquet")
InputError: cannot read file.parquet: Parquet needs pandas and pyarrow: python -m pip
install pandas pyarrow

>>> write("table.csv", "a,b,a", "1,2,3")
>>> run("table.csv")
InputError: cannot read table.csv: several columns have the name 'a'

>>> write("table.csv", "a,b", "1,2,3")
>>> run("table.csv")
InputError: cannot read table.csv: a line has 3 cells, and the first has 2: ['1', '2',
'3']

Of a disk that fails while files are written:

>>> skae.__main__.write_codes(Path("gone/codes.csv"), PCA(2), X)
InputError: cannot write gone/codes.csv: ...

>>> table, half = skae._table.load_digits_table(), np.arange(900)
>>> results = skae.__main__.compare(table, half, half, [PCA(2), PCA(2)])
>>> save_comparison(Path("gone/skae.png"), table, half, results)
InputError: cannot write gone/skae.png: ...
"""

TOPICS = dict(re.findall(r"^# (.+)\n((?:(?!# ).*\n)+)", MANUAL, re.MULTILINE))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PACKAGE = Path(skae.__file__).parent
WARN = "warnings.warn"


class Said(NamedTuple):
    """An entry, and what its call says: every line of code that had a hand in it."""

    call: str
    listed: str
    text: str
    lines: set[tuple[str, int]]


def words(monkeypatch):
    """Return what the calls are made of."""
    rng = np.random.default_rng(0)
    X = load_iris().data[::5]  # (30, 4)
    np.save("X.npy", X)
    public = [skae, skae.text, skae.architectures, skae.plotting]
    return {
        **{name: getattr(module, name) for module in public for name in module.__all__},
        **{"X": X, "on_disk": np.load("X.npy", mmap_mode="r"), "rng": rng},
        **{"np": np, "pd": pd, "sp": sp, "torch": torch, "nn": nn, "skae": skae},
        **{"os": os, "sys": sys, "Path": Path, "monkeypatch": monkeypatch},
        **{"json": json, "skl2onnx": skl2onnx, "rewrite": rewrite, "Figure": Figure},
        **{"PCA": PCA, "callbacks": callbacks, "save_comparison": save_comparison},
        "make_pipeline": make_pipeline,
        "FunctionTransformer": FunctionTransformer,
        "CorrespondenceAnalysis": CorrespondenceAnalysis,
        "CountVectorizer": CountVectorizer,
        "run": lambda line: skae.__main__.run(skae.__main__.parse(line.split())),
        "write": lambda path, *lines: Path(path).write_text("\n".join([*lines, ""])),
    }


def lines_of(error):
    """Return the lines that an error went through, and those that led to it."""
    lines = set()
    while error is not None:
        for frame, line in traceback.walk_tb(error.__traceback__):
            lines.add((frame.f_code.co_filename, line))
        error = error.__context__
    return lines


@cache
def said(topic):
    """Make the calls of a topic, and return what they say."""
    entries = []
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        scope = words(monkeypatch)
        for example in doctest.DocTestParser().get_examples(TOPICS[topic]):
            text, lines = "", set()
            try:
                exec(compile(example.source, "<manual>", "exec"), scope)
            except Exception as error:
                text, lines = f"{type(error).__name__}: {error}\n", lines_of(error)
            entries.append(Said(example.source, example.want, text, lines))
    return entries


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_listed_is_said(topic):
    is_as_listed = doctest.OutputChecker().check_output
    for entry in said(topic):
        if not is_as_listed(entry.listed, entry.text, FLAGS):
            pytest.fail(f">>> {entry.call}says\n{entry.text or 'nothing'}")


def test_what_is_said_is_listed():
    heard = {line for topic in TOPICS for entry in said(topic) for line in entry.lines}
    unlisted = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            raises = isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
            warns = isinstance(node, ast.Call) and ast.unparse(node.func) == WARN
            if not (raises or warns):
                continue
            own = range(node.lineno, node.end_lineno + 1)
            if heard.isdisjoint((str(path), line) for line in own):
                unlisted.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not unlisted, "\n".join(["These need an entry above:", *unlisted])
