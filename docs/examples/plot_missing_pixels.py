"""
Half of the pixels are enough
=============================

A masked autoencoder starts at the normal distribution of incomplete rows, found by EM,
and learns to complete more than that.
"""

# %%
# Half of the pixels
# ------------------
# Of 1797 digits, half of the pixels are missing, in training as well.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.impute import KNNImputer
from sklearn.model_selection import train_test_split

from skae import MaskedAutoencoder

digits = load_digits().images
train, test = train_test_split(digits, train_size=1200, random_state=0)
rng = np.random.RandomState(0)
seen = np.where(rng.uniform(size=train.shape) < 0.5, np.nan, train)
holes = np.where(rng.uniform(size=test.shape) < 0.5, np.nan, test)

start = MaskedAutoencoder(16, max_iter=0, random_state=0).fit(seen)
model = MaskedAutoencoder(16, random_state=0).fit(seen)
neighbours = KNNImputer(keep_empty_features=True).fit(seen.reshape(-1, 64))


def completed(holes):
    """Return what each makes of images with holes."""
    by_neighbours = neighbours.transform(holes.reshape(-1, 64)).reshape(holes.shape)
    return {
        "neighbours": by_neighbours,
        "normal distribution": start.impute(holes),
        "masked autoencoder": model.impute(holes),
    }


def report(holes):
    """Print the errors of missing pixels."""
    missing = np.isnan(holes)
    for name, images in completed(holes).items():
        error = np.sqrt(((images - test)[missing] ** 2).mean())
        print(f"{name:20s} root-mean-square error {error:.2f}")


shown = {"true": test, "with holes": holes, **completed(holes)}
fig, axes = plt.subplots(len(shown), 10, figsize=(9, 5.6), layout="constrained")
for row, (name, images) in zip(axes, shown.items()):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
        ax.set_facecolor("mistyrose")
        ax.set(xticks=[], yticks=[])
plt.show()
report(holes)

# %%
# Limits
# ------
# The same models have never seen a quarter of an image missing. Any pattern of missing
# cells is completed, but the lead is smaller where what is known is far away.

quarter = test.copy()
quarter[:, 4:, 4:] = np.nan
report(quarter)

# %%
# ``benchmarks/bench_missing_pixels.py`` does both with MNIST, in minutes: half of the
# pixels, in training as well, and a quarter of images that are complete in training,
# for which ``patch_size=7`` hides patches ("start" is the normal distribution).
#
# .. image:: /_static/missing_pixels.png
#    :alt: digits with half, and with three quarters, of their pixels, and completed
