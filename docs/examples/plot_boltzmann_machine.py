"""
Boltzmann machines are a better beginning than random weights
=============================================================

A restricted Boltzmann machine learns features of rows without a gradient through a
network. A stack of them is where a deep belief autoencoder begins.
"""

# %%
# What hidden units look for
# --------------------------
# The weights of each hidden unit are an image. Red pixels speak for it, blue ones
# against it. The machine has a likelihood, and starts at that of pixels that know
# nothing of one another.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import RBM, AutoencoderTransformer, DeepBeliefAutoencoder

X = load_digits().data / 16
X_train, X_test = train_test_split(X, random_state=0)
rbm = RBM(48, max_iter=30, random_state=0).fit(X_train)

most = np.abs(rbm.components_).max() / 2
fig, axes = plt.subplots(4, 12, figsize=(9, 3.2), layout="constrained")
for ax, weights in zip(axes.ravel(), rbm.components_):
    ax.imshow(weights.reshape(8, 8), cmap="RdBu_r", vmin=-most, vmax=most)
    ax.set_axis_off()
plt.show()

start = RBM(48, max_iter=0).fit(X_train)
for name, model in {"independent pixels": start, "machine": rbm}.items():
    print(f"{name:18s} {model.score(X_test):7.2f} nats per held-out image")

# %%
# A stack of machines
# -------------------
# Machines on top of one another are the hidden layers of an autoencoder that stands
# beside PCA. For logistic units that is a better beginning than random weights.

options = {"hidden_layer_sizes": (128, 64), "random_state": 0}
for n_passes in (0, 10, 30):
    model = DeepBeliefAutoencoder(8, pretrain_max_iter=n_passes, **options)
    error = model.fit(X_train).reconstruction_error(X_test).mean()
    print(f"machines trained in {n_passes:2d} passes: squared error {error:.4f}")

# %%
# Limits
# ------
# Rectified units, which other networks here have, need no machines:

model = AutoencoderTransformer(8, random_state=0).fit(X_train)
error = model.reconstruction_error(X_test).mean()
print(f"AutoencoderTransformer: squared error {error:.4f}")
