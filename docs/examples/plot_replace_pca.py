"""
Replace PCA
===========

With two numbers for each digit, an autoencoder reconstructs rows that it has never seen
better than PCA does. All that changes in the code is the name of the class.
"""

# %%
# The two models
# --------------
# 1797 images of 8 x 8 pixels; a quarter of them is held out. ``fit`` sees no labels.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

models = {
    "PCA": PCA(2),
    "AutoencoderTransformer": AutoencoderTransformer(2, random_state=0),
}

codes, reconstructions = {}, {}
for name, model in models.items():
    codes[name] = model.fit(X_train).transform(X_test)
    reconstructions[name] = model.inverse_transform(codes[name])
    r2 = r2_score(X_test, reconstructions[name], multioutput="variance_weighted")
    print(f"{name:24s} held-out R2 {r2:.3f}")

# %%
# The codes
# ---------
# Every point is a held-out image, coloured by its digit. Both codes are in the same
# units: before its first epoch, the autoencoder *is* PCA.

fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
for ax, (name, code) in zip(axes, codes.items(), strict=True):
    points = ax.scatter(*code.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
    ax.set(title=name, xlabel="code 1", ylabel="code 2")
fig.colorbar(points, ax=axes, ticks=range(10), label="digit")
plt.show()

# %%
# The reconstructions
# -------------------
# Each column is a held-out image, drawn again from its two numbers.

rows = {"original": X_test, **reconstructions}
fig, axes = plt.subplots(3, 10, figsize=(10, 3.4), layout="constrained")
for row, (name, images) in zip(axes, rows.items(), strict=True):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()

# %%
# Limits
# ------
# The autoencoder takes seconds where PCA takes milliseconds, its axes are neither
# straight nor uncorrelated, and with more code dimensions the lead gets smaller: where
# the data are close to linear, what you get back is PCA.
