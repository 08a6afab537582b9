"""
Noise that a projection keeps is taken away
===========================================

scikit-learn denoises digits with PCA and with kernel PCA. A denoising autoencoder is
trained to undo the noise, and starts at the best *linear* denoiser.
"""

# %%
# Noise
# -----
# Digits with so much noise that they are hard to read. PCA may choose its number of
# components, and kernel PCA its kernel's width and its penalty, on the test images.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, KernelPCA
from sklearn.model_selection import train_test_split

from skae import DenoisingAutoencoder

X_train, X_test = train_test_split(load_digits().data, random_state=0)
noisy = X_test + np.random.RandomState(0).normal(scale=4, size=X_test.shape)


def error(rows):
    """Return the mean squared error against the clean images."""
    return ((rows - X_test) ** 2).mean()


def project(model, rows=noisy):
    """Return rows, projected by a model of clean images."""
    model.fit(X_train)
    return model.inverse_transform(model.transform(rows))


kernels = [
    KernelPCA(50, kernel="rbf", gamma=gamma, alpha=alpha, fit_inverse_transform=True)
    for gamma in (3e-5, 1e-4, 3e-4)
    for alpha in (1e-4, 1e-3, 1e-2)
]
# The level is in units of the columns' root-mean-square deviation.
level = 4 / np.sqrt(X_train.var(axis=0).mean())
options = {"corruption": "gaussian", "corruption_level": level, "random_state": 0}
start = DenoisingAutoencoder(max_iter=0, **options).fit(X_train)
denoiser = DenoisingAutoencoder(**options).fit(X_train)

shown = {
    "clean": X_test,
    "noisy": noisy,
    "PCA": min((project(PCA(k)) for k in range(1, 40)), key=error),
    "kernel PCA": min((project(model) for model in kernels), key=error),
    "the start, linear": start.denoise(noisy),
    "DenoisingAutoencoder": denoiser.denoise(noisy),
}
fig, axes = plt.subplots(len(shown), 10, figsize=(9, 6.6), layout="constrained")
for row, (name, images) in zip(axes, shown.items()):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()
for name, images in shown.items():
    print(f"{name:22s} squared error per pixel {error(images):6.2f}")

# %%
# Limits
# ------
# It has to know the noise, and clean rows. Of images without noise it takes away more
# than a projection does:

print(f"PCA, 32 components     {error(project(PCA(32), X_test)):6.2f} of clean images")
print(f"DenoisingAutoencoder   {error(denoiser.denoise(X_test)):6.2f} of clean images")
