"""
The other half of a digit is found
==================================

A contrastive autoencoder learns codes of two views, here the left and the right halves
of images, by which halves that belong together are found. It starts at canonical
correlation analysis.
"""

# %%
# Retrieval
# ---------
# 1797 digits of 8 x 8 pixels, cut in two. A quarter of them is new to both models. For
# each left half, the right halves of the new images in the order of their similarity.
# Chance would find the own one among the first ten of 450 in 2 % of the cases.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import ContrastiveAutoencoder

train, test = train_test_split(load_digits().images, random_state=0)


def halves(images):
    """Return the left and the right halves of images, as rows."""
    return images[:, :, :4].reshape(-1, 32), images[:, :, 4:].reshape(-1, 32)


models = {
    "canonical correlations": ContrastiveAutoencoder(8, max_iter=0, random_state=0),
    "contrastive autoencoder": ContrastiveAutoencoder(8, random_state=0),
}
found = {}
for name, model in models.items():
    model.fit(*halves(train))
    found[name] = np.argsort(-model.similarity(*halves(test)), axis=1)
    rank = np.argmax(found[name] == np.arange(len(test))[:, None], axis=1)
    print(f"{name:24s} first: {(rank == 0).mean():.2f}", end="")
    print(f", in ten: {(rank < 10).mean():.2f}, {model.score(*halves(test)):.2f} nats")

# %%
# Each row begins with a true image; the others are its left half beside the best right
# halves, framed where it is its own.

fig, axes = plt.subplots(4, 15, figsize=(10, 3.2), layout="constrained")
for i, row in enumerate(axes):
    row[0].imshow(test[i], cmap="gray_r")
    for start, order in zip((1, 8), found.values()):
        for ax, j in zip(row[start : start + 7], order[i]):
            ax.imshow(np.hstack([test[i][:, :4], test[j][:, 4:]]), cmap="gray_r")
            for side in ax.spines.values():
                side.set(color="tab:green" if i == j else "lightgrey", linewidth=2)
    for ax in row:
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("true", fontsize=9)
axes[0, 4].set_title("by canonical correlations", fontsize=9)
axes[0, 11].set_title("by the contrastive autoencoder", fontsize=9)
plt.show()

# %%
# Limits
# ------
# Another half may fit as well as the own one, or better, and the score, in nats, is at
# most the logarithm of the number of rows that are compared:

for n in (10, 100, 450):
    left, right = halves(test[:n])
    score = models["contrastive autoencoder"].score(left, right)
    print(f"{n:3d} rows: {score:.2f} of at most {np.log(n):.2f} nats")
