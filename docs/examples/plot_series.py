"""
Two numbers for a series of any length
======================================

A recurrent autoencoder reads a series into a few numbers, whatever its length, and
says for every step how well it fits.
"""

# %%
# Strokes of a pen
# ----------------
# 400 strokes in two dimensions, of 25 to 40 steps: spirals that turn one way or the
# other at different speeds. A list of arrays of shape (n_steps, n_channels) is all that
# is needed. A code does not say where a stroke ends, so that all 40 steps come back.

import matplotlib.pyplot as plt
import numpy as np

from skae import AutoencoderTransformer
from skae.architectures import Recurrent

rng = np.random.RandomState(0)


def stroke():
    """Return a spiral of shape (n_steps, 2), and its turns per 40 steps."""
    turns = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5)
    t = np.arange(rng.randint(25, 41)) / 40
    angle = 2 * np.pi * turns * t
    points = (0.3 + t)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return points + 0.02 * rng.standard_normal(points.shape), turns


strokes, turns = zip(*(stroke() for _ in range(400)))
train, test = list(strokes[:300]), list(strokes[300:])

model = AutoencoderTransformer(2, architecture=Recurrent(), random_state=0).fit(train)
pca = AutoencoderTransformer(2, architecture=Recurrent(), max_iter=0).fit(train)
for name, fitted in {"PCA": pca, "recurrent": model}.items():
    error = fitted.reconstruction_error(test).mean()
    print(f"squared error per number, {name:9s} {error:.4f}")

codes = model.transform(test)
fig, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
axes[0].scatter(*codes.T, c=turns[300:], cmap="coolwarm", s=15)
axes[0].set_title("codes, by turns")
for ax, points, line in zip(axes[1:], test, model.inverse_transform(codes)):
    ax.plot(*points.T, ".", color="gray", label="stroke")
    ax.plot(*line[: len(points)].T, label="rebuilt")
    ax.plot(*line[len(points) - 1 :].T, ":", color="C0", label="and on")
    ax.set_aspect("equal")
axes[1].legend(fontsize=8)
plt.show()

# %%
# Where it goes wrong
# -------------------
# The error of every step finds a slip of the pen.

slipped = test[0].copy()
slipped[12:15] += 0.4
errors = model.reconstruction_error([slipped], per_feature=True)[0].sum(axis=1)
print("steps with the largest error:", np.sort(np.argsort(np.nan_to_num(-errors))[:3]))

# %%
# Limits
# ------
# A code is about strokes like those it has seen, with up to one and a half turns.
# Others come back as one of these:

angle = 2 * np.pi * 2.5 * np.arange(40) / 40
radius = 0.3 + np.arange(40) / 40
wound = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
error = model.reconstruction_error([wound]).item()
print(f"a stroke of 2.5 turns: squared error {error:.4f}")
