"""
Draw digits with a convolutional VAE
====================================

Which networks are trained is a parameter: with ``architecture=Convolutional()`` a VAE
works on images. It starts at probabilistic PCA of the flattened images.
"""

# %%
# Images as they are
# ------------------
# 1797 digits of 8 x 8 pixels. Held-out likelihood says that the convolutional VAE is
# the better model of them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skae import VAE, DenoisingAutoencoder
from skae.architectures import Convolutional

digits = load_digits()
train, test = train_test_split(digits.images, random_state=0)
print("images:", train.shape)

vae = VAE(8, architecture=Convolutional(), random_state=0).fit(train)
pca = PCA(8).fit(train.reshape(-1, 64))
print(f"nats per pixel, PCA: {pca.score(test.reshape(-1, 64)) / 64:.2f}")
print(f"nats per pixel, VAE: {vae.score(test) / 64:.2f}")

# %%
# New digits
# ----------
# PCA is a generative model too: its samples show what it knows of digits.

samples = vae.sample(200, add_noise=False, random_state=0)
codes = np.random.RandomState(0).standard_normal((200, 8))
of_pca = pca.inverse_transform(codes * np.sqrt(pca.explained_variance_))


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


show({"real": test, "drawn from PCA": of_pca, "drawn from the VAE": samples})

# %%
# A classifier that was trained on real digits is nearly as sure of the VAE's. The
# probability is that of the likeliest class; even of noise such a classifier is rather
# sure, so that of PCA's samples stands beside it.

classifier = LogisticRegression(max_iter=5000).fit(digits.data, digits.target)
for name, images in {"real": test, "PCA": of_pca, "VAE": samples}.items():
    probabilities = classifier.predict_proba(images.reshape(-1, 64))
    print(f"{name:5s} mean top probability {probabilities.max(axis=1).mean():.2f}")

# %%
# From one digit to another
# -------------------------
# On the way between two codes there are digits too.

ends = vae.transform(test[[0, 3, 9]])
steps = np.linspace(0, 1, 10)[:, None]
ways = [ends[i] * (1 - steps) + ends[j] * steps for i, j in ((0, 1), (1, 2), (2, 0))]
show({f"way {i + 1}": vae.inverse_transform(way) for i, way in enumerate(ways)})

# %%
# Holes
# -----
# The same architecture in a denoising autoencoder. The corruption is a function of
# yours, which gets the images in the shape that they have.


def mask_corner(images, generator):
    """Set the lower right quarter of each image to zero."""
    images = images.clone()
    images[:, 4:, 4:] = 0
    return images


inpainter = DenoisingAutoencoder(
    corruption=mask_corner, architecture=Convolutional(), random_state=0
).fit(train)
holes = test.copy()
holes[:, 4:, 4:] = 0
show({"clean": test, "with a hole": holes, "filled": inpainter.denoise(holes)})
