"""
Complete digits with missing pixels
===================================

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
train, test = train_test_split(digits, random_state=0)
rng = np.random.RandomState(0)
seen = np.where(rng.uniform(size=train.shape) < 0.5, np.nan, train)
holes = np.where(rng.uniform(size=test.shape) < 0.5, np.nan, test)

start = MaskedAutoencoder(max_iter=0, random_state=0).fit(seen)
model = MaskedAutoencoder(random_state=0).fit(seen)
neighbours = KNNImputer(keep_empty_features=True).fit(seen.reshape(-1, 64))


def by_neighbours(images):
    """Return images that scikit-learn's KNNImputer has completed."""
    return neighbours.transform(images.reshape(-1, 64)).reshape(images.shape)


def show(shown):
    """Show a row of ten images for each entry."""
    fig, axes = plt.subplots(len(shown), 10, figsize=(9, len(shown) * 1.1))
    for row, (name, images) in zip(axes, shown.items(), strict=True):
        row[0].set_title(name, loc="left", fontsize=10)
        for ax, image in zip(row, images, strict=False):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
            ax.set_facecolor("mistyrose")
            ax.set(xticks=[], yticks=[])
    fig.tight_layout()
    plt.show()


def compare(holes):
    """Show what each makes of images, and print the errors of missing pixels."""
    completed = {
        "neighbours": by_neighbours(holes),
        "normal distribution": start.impute(holes),
        "masked autoencoder": model.impute(holes),
    }
    missing = np.isnan(holes)
    for name, images in completed.items():
        error = np.sqrt(((images - test)[missing] ** 2).mean())
        print(f"{name:20s} root-mean-square error {error:.2f}")
    show({"true": test, "with holes": holes, **completed})


compare(holes)

# %%
# A missing quarter
# -----------------
# The same models, which have never seen such a hole: any pattern of missing cells is
# completed.

quarter = test.copy()
quarter[:, 4:, 4:] = np.nan
compare(quarter)
