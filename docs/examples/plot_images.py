"""
A convolutional VAE draws digits that PCA cannot
================================================

Which networks are trained is a parameter: with ``architecture=Convolutional()`` a VAE
works on images. It starts at probabilistic PCA of the flattened images.
"""

# %%
# Images as they are
# ------------------
# 1797 digits of 8 x 8 pixels, not flattened. Both models are generative: what they draw
# shows what they know of digits.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skae import VAE
from skae.architectures import Convolutional

digits = load_digits()
train, test, _, y_test = train_test_split(digits.images, digits.target, random_state=0)
pca = VAE(8, max_iter=0).fit(train)
vae = VAE(8, architecture=Convolutional(), random_state=0).fit(train)


def show(shown):
    """Show a row of ten images for each entry."""
    _, axes = plt.subplots(len(shown), 10, figsize=(9, 3.4), layout="constrained")
    for row, (name, images) in zip(axes, shown.items()):
        row[0].set_title(name, loc="left", fontsize=10)
        for ax, image in zip(row, images):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
            ax.set_axis_off()
    plt.show()


drawn = {
    "real": test,
    "drawn by PCA": pca.sample(200, add_noise=False, random_state=0),
    "drawn by the VAE": vae.sample(200, add_noise=False, random_state=0),
}
show(drawn)
for name, model in {"PCA": pca, "VAE": vae}.items():
    print(f"{name}: {model.score(test) / 64:.2f} held-out nats per pixel")

# %%
# From one digit to another
# -------------------------
# On the way between two codes there are digits too.

ends = vae.transform(test[[0, 3, 9]])
steps = np.linspace(0, 1, 10)[:, None]
ways = [ends[i] * (1 - steps) + ends[j] * steps for i, j in ((0, 1), (1, 2), (2, 0))]
show({f"way {i + 1}": vae.inverse_transform(way) for i, way in enumerate(ways)})

# %%
# Limits
# ------
# On images as small as these, the default network is as good a model. And how sure a
# classifier is of the drawn digits says little: it is rather sure of PCA's as well.

default = VAE(8, random_state=0).fit(train)
print(f"default network: {default.score(test) / 64:.2f} held-out nats per pixel")
classifier = LogisticRegression(max_iter=5000).fit(test.reshape(-1, 64), y_test)
for name, images in drawn.items():
    sure = classifier.predict_proba(images.reshape(-1, 64)).max(axis=1).mean()
    print(f"{name:17s} mean top probability {sure:.2f}")
