"""
Find the other half of a digit
==============================

A contrastive autoencoder learns codes of two views, here the left and the right halves
of images, by which halves that belong together are found. It starts at canonical
correlation analysis.
"""

# %%
# Left and right
# --------------
# 1797 digits of 8 x 8 pixels, cut in two. A quarter of them is new to both models.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import ContrastiveAutoencoder

images = load_digits().images
train, test = train_test_split(images, random_state=0)


def halves(images):
    """Return the left and the right halves of images, as rows."""
    return images[:, :, :4].reshape(-1, 32), images[:, :, 4:].reshape(-1, 32)


models = {
    "canonical correlations": ContrastiveAutoencoder(8, max_iter=0, random_state=0),
    "contrastive autoencoder": ContrastiveAutoencoder(8, random_state=0),
}
for name, model in models.items():
    model.fit(*halves(train))
    print(f"{name:24s} {model.score(*halves(test)):.2f} nats")

# %%
# Retrieval
# ---------
# For each left half, the right halves of the new images in the order of their
# similarity. Chance would find the own one among the first ten of 450 in 2 % of the
# cases; another one may fit as well, or better.

left, right = halves(test)
found = {}
for name, model in models.items():
    order = np.argsort(-model.similarity(left, right), axis=1)
    rank = np.argmax(order == np.arange(len(test))[:, None], axis=1)
    found[name] = order[:, :7]
    print(
        f"{name:24s} first: {(rank == 0).mean():.2f}, in ten: {(rank < 10).mean():.2f}"
    )

# %%
# Each row begins with a true image; the others are its left half beside the best right
# halves, framed where it is its own.

for name, order in found.items():
    fig, axes = plt.subplots(6, 8, figsize=(7, 5.6))
    for i, row in enumerate(axes):
        row[0].imshow(test[i], cmap="gray_r")
        for ax, j in zip(row[1:], order[i], strict=True):
            ax.imshow(np.hstack([test[i][:, :4], test[j][:, 4:]]), cmap="gray_r")
            for side in ax.spines.values():
                side.set(color="tab:green" if i == j else "lightgrey", linewidth=2)
        for ax in row:
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_title("true", fontsize=9)
    fig.suptitle(name)
    fig.tight_layout()
    plt.show()
