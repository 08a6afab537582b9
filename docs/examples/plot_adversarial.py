"""
Codes that follow a prior can be drawn
======================================

An adversarial autoencoder draws new rows from codes. For that its codes have to follow
the prior that they are drawn from, which those of a plain autoencoder do not.
"""

# %%
# Two codes of the digits
# -----------------------
# PCA's codes, those of an autoencoder, and those of an adversarial one, of images that
# none of them has seen, each standardised. The circles hold half and nine tenths of the
# standard normal distribution.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AdversarialAutoencoder, AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

models = {
    "PCA": AdversarialAutoencoder(2, max_iter=0),
    "autoencoder": AutoencoderTransformer(2, random_state=0),
    "adversarial": AdversarialAutoencoder(2, random_state=0),
}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, (name, model) in zip(axes, models.items()):
    codes = model.fit(X_train).transform(X_train)
    seen = (model.transform(X_test) - codes.mean(0)) / codes.std(0)
    ax.scatter(*seen.T, c=y_test, cmap="tab10", s=8)
    for radius in np.sqrt(-2 * np.log([0.5, 0.1])):
        ax.add_patch(plt.Circle((0, 0), radius, fill=False, lw=0.8))
    r2 = 1 - model.reconstruction_error(X_test).mean() / X_test.var(0).mean()
    ax.set(title=f"{name}, R2 = {r2:.2f}", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    ax.set_aspect("equal")
plt.show()

# %%
# New digits
# ----------
# Draws from the prior, decoded. Where codes leave gaps, as those of the plain
# autoencoder do, the decoder has never seen what it is given.

codes = models["autoencoder"].transform(X_train)
drawn = np.random.RandomState(0).multivariate_normal(codes.mean(0), np.cov(codes.T), 12)
rows = {
    "PCA": models["PCA"].sample(12, add_noise=False, random_state=0),
    "autoencoder": models["autoencoder"].inverse_transform(drawn),
    "adversarial": models["adversarial"].sample(12, add_noise=False, random_state=0),
}
fig, axes = plt.subplots(3, 12, figsize=(10, 3.2), layout="constrained")
for row, (name, images) in zip(axes, rows.items()):
    row[0].set_title(f"drawn by {name}", loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()

# %%
# Limits
# ------
# The encoder gives up some of the reconstruction for the prior, as the R2 above say,
# and codes come near the prior without following it exactly:

for name in ("PCA", "adversarial"):
    print(f"{name:12s} distance from the prior {models[name].prior_distance_:.2f}")
