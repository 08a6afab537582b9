"""
A likelihood that starts at PCA's and rises
===========================================

A VAE is a generative model: it gives rows a likelihood, and draws new ones. It starts
at probabilistic PCA, and held-out rows decide whether the network replaces that.
"""

# %%
# Held-out log-likelihood
# -----------------------
# 1797 images of 8 x 8 pixels, a quarter of them held out. ``score`` is in nats per
# image for both models: the exact likelihood for PCA, a lower bound for the VAE.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import VAE

X = load_digits().data
X_train, X_test = train_test_split(X, random_state=0)

counts = [2, 4, 8, 16]
pca = {k: PCA(k).fit(X_train) for k in counts}
vae = {k: VAE(k, random_state=0).fit(X_train) for k in counts}

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, models in {"PCA (exact)": pca, "VAE (bound)": vae}.items():
    ax.plot(counts, [models[k].score(X_test) for k in counts], "o-", label=name)
ax.set(xlabel="n_components", ylabel="held-out nats per image")
ax.legend()
plt.show()

# %%
# New digits
# ----------
# ``sample`` draws codes from the prior and decodes them. Without the noise around them
# they are the means of what the model has drawn.

rng = np.random.RandomState(0)
start = VAE(16, max_iter=0).fit(X_train)  # probabilistic PCA
rows = {
    "training images": X_train,
    "drawn by probabilistic PCA": start.sample(12, add_noise=False, random_state=rng),
    "drawn by the VAE": vae[16].sample(12, add_noise=False, random_state=rng),
}
fig, axes = plt.subplots(3, 12, figsize=(10, 3.2), layout="constrained")
for row, (name, images) in zip(axes, rows.items()):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()

# %%
# Limits
# ------
# Both of its numbers are lower bounds of the likelihood: the one that it is trained by,
# and the score, which is closer. How far the likelihood is above them is not known.

for k in counts:
    elbo = vae[k].elbo(X_test).mean()
    print(f"{k:2d} codes: bound {elbo:.1f}, score {vae[k].score(X_test):.1f} nats")
