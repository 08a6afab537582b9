"""
Take noise away, and fill holes
===============================

A denoising autoencoder is trained to undo a corruption: noise, swapped or masked cells,
or any function of yours. It starts at the best *linear* denoiser.
"""

# %%
# Noise
# -----
# Digits with so much noise that they are hard to read. PCA denoises by projecting on
# its first components; here it may choose their number on the test images themselves.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import DenoisingAutoencoder

X_train, X_test = train_test_split(load_digits().data, random_state=0)
noisy = X_test + np.random.RandomState(0).normal(scale=4, size=X_test.shape)

# The level is in units of the columns' root-mean-square deviation.
level = 4 / np.sqrt(X_train.var(axis=0).mean())
denoiser = DenoisingAutoencoder(
    corruption="gaussian", corruption_level=level, random_state=0
).fit(X_train)


def error(rows):
    """Return the mean squared error against the clean images."""
    return ((rows - X_test) ** 2).mean()


def project(k):
    """Return the noisy images, projected on PCA's first k components."""
    pca = PCA(k).fit(X_train)
    return pca.inverse_transform(pca.transform(noisy))


best = min((project(k) for k in range(1, 40)), key=error)
shown = {
    "clean": X_test,
    "noisy": noisy,
    "PCA's best projection": best,
    "DenoisingAutoencoder": denoiser.denoise(noisy),
}
for name, rows in shown.items():
    print(f"{name:22s} squared error per pixel {error(rows):6.2f}")


def show(shown):
    """Show a row of ten images for each entry."""
    fig, axes = plt.subplots(len(shown), 10, figsize=(9, len(shown) * 1.1))
    for row, (name, images) in zip(axes, shown.items(), strict=True):
        row[0].set_title(name, loc="left", fontsize=10)
        for ax, image in zip(row, images, strict=False):
            ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set_axis_off()
    fig.tight_layout()
    plt.show()


show(shown)

# %%
# Holes
# -----
# A corruption can be any function of a batch and a generator. This one wipes out a
# square of 3 x 3 pixels in each image.


def mask_square(X, generator):
    """Set a random square of each image to zero, for X of shape (n, 64)."""
    top, left = torch.randint(6, (2, len(X), 1, 1), generator=generator)
    place = torch.arange(8)
    in_rows = (place[:, None] >= top) & (place[:, None] < top + 3)
    in_columns = (place >= left) & (place < left + 3)
    return X.reshape(-1, 8, 8).masked_fill(in_rows & in_columns, 0.0).reshape(-1, 64)


inpainter = DenoisingAutoencoder(corruption=mask_square, random_state=0).fit(X_train)
holes = mask_square(torch.from_numpy(X_test), torch.Generator().manual_seed(0)).numpy()
show({"clean": X_test, "with a hole": holes, "filled": inpainter.denoise(holes)})
print(f"squared error per pixel: {error(holes):.2f} with the hole, ", end="")
print(f"{error(inpainter.denoise(holes)):.2f} filled")
