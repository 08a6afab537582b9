"""
Filters of Boltzmann machines
=============================

A restricted Boltzmann machine learns features of rows without a gradient through a
network, and a stack of them is where a deep belief autoencoder begins.
"""

# %%
# What hidden units look for
# --------------------------
# The weights of each hidden unit are an image. Red pixels speak for it, blue ones
# against it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import RBM, DeepBeliefAutoencoder

X = load_digits().data / 16
X_train, X_test = train_test_split(X, random_state=0)
rbm = RBM(48, max_iter=30, random_state=0).fit(X_train)


def show(images, title, n_rows=3, **colours):
    """Show images of 8 x 8 pixels in some rows."""
    n = len(images) // n_rows
    fig, axes = plt.subplots(n_rows, n, figsize=(n * 0.6, n_rows * 0.6 + 0.5))
    fig.suptitle(title)
    for ax, image in zip(axes.ravel(), images, strict=True):
        ax.imshow(image.reshape(8, 8), **colours)
        ax.set_axis_off()
    plt.show()


most = np.abs(rbm.components_).max() / 2
diverging = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
show(rbm.components_, "weights of 48 hidden units", **diverging)

# %%
# How likely a digit is
# ---------------------
# The machine has a likelihood, in nats per image. It starts at that of pixels that know
# nothing of one another.

start = RBM(48, max_iter=0).fit(X_train)
for name, model in {"independent pixels": start, "machine": rbm}.items():
    print(f"{name:18s} {model.score(X_test):7.2f} nats per held-out image")

order = np.argsort(rbm.score_samples(X_test))
print("the standard error of the partition function is", end=" ")
print(f"{rbm.log_partition_error_:.3f} nats")
grey = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
show(X_test[order[:32]], "the least likely held-out digits", n_rows=2, **grey)
means = rbm.sample(32, add_noise=False, random_state=0)  # of each pixel
show(means, "drawn by the machine", n_rows=2, **grey)

# %%
# A stack of machines
# -------------------
# Machines on top of one another are the hidden layers of an autoencoder that stands
# beside PCA. For logistic units that is a better beginning than random weights.

for n_passes in (0, 30):
    autoencoder = DeepBeliefAutoencoder(
        8, hidden_layer_sizes=(128, 64), pretrain_max_iter=n_passes, random_state=0
    ).fit(X_train)
    error = autoencoder.reconstruction_error(X_test).mean()
    print(f"machines trained in {n_passes:2d} passes: squared error {error:.4f}")
