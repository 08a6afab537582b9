"""
Two codes tell more of a digit than PCA's two
=============================================

With two numbers for each digit, an autoencoder reconstructs images that it has never
seen better than PCA does. All that changes in the code is the name of the class.
"""

# %%
# The codes
# ---------
# 1797 images of 8 x 8 pixels; a quarter of them is held out, and shown here, coloured
# by its digit. ``fit`` sees no labels. Both codes are in the same units: before its
# first epoch, the autoencoder *is* PCA.

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

rebuilt = {}
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    codes = model.fit(X_train).transform(X_test)
    rebuilt[name] = model.inverse_transform(codes)
    r2 = r2_score(X_test, rebuilt[name], multioutput="variance_weighted")
    points = ax.scatter(*codes.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=10)
    ax.set(title=f"{name}(2): held-out R2 = {r2:.2f}", xlabel="code 1", ylabel="code 2")
fig.colorbar(points, ax=axes, ticks=range(10), label="digit")
plt.show()

# %%
# The reconstructions
# -------------------
# Each column is a held-out image, drawn again from its two numbers.

fig, axes = plt.subplots(3, 10, figsize=(9, 3.2), layout="constrained")
for row, (name, images) in zip(axes, {"original": X_test, **rebuilt}.items()):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()

# %%
# Limits
# ------
# The autoencoder takes longer, its axes are neither straight nor uncorrelated, and with
# more codes the lead gets smaller: where the data are close to linear, you get PCA.

for k in (8, 32):
    for model in PCA(k), AutoencoderTransformer(k, random_state=0):
        images = model.fit(X_train).inverse_transform(model.transform(X_test))
        r2 = r2_score(X_test, images, multioutput="variance_weighted")
        print(f"{type(model).__name__}({k}): held-out R2 = {r2:.2f}")
