"""
Series of different lengths, and where they go wrong
====================================================

A recurrent autoencoder reads a series into a few numbers, whatever its length, and
says for every step how well it fits.
"""

# %%
# Strokes of a pen
# ----------------
# 400 strokes in two dimensions, of 25 to 40 steps: spirals that turn one way or the
# other at different speeds. A list of arrays of shape (n_steps, n_channels) is all that
# is needed.

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


strokes, turns = zip(*(stroke() for _ in range(400)), strict=True)
train, test = list(strokes[:300]), list(strokes[300:])

model = AutoencoderTransformer(2, architecture=Recurrent(), random_state=0).fit(train)
pca = AutoencoderTransformer(2, architecture=Recurrent(), max_iter=0).fit(train)
print(f"epoch {model.best_iter_} is used")
for name, fitted in {"PCA": pca, "recurrent": model}.items():
    error = fitted.reconstruction_error(test).mean()
    print(f"squared error per number, {name:9s} {error:.4f}")

# %%
# Two numbers for each stroke, and the strokes that they stand for. A code does not say
# where a stroke ends, so that all 40 steps come back.

codes = model.transform(test)
rebuilt = model.inverse_transform(codes)

fig, axes = plt.subplots(1, 4, figsize=(11, 3))
shown = axes[0].scatter(*codes.T, c=turns[300:], cmap="coolwarm", s=15)
axes[0].set_title("codes, by turns")
fig.colorbar(shown, ax=axes[0])
for ax, points, line in zip(axes[1:], test, rebuilt, strict=False):
    ax.plot(*points.T, ".", color="gray", label="stroke")
    ax.plot(*line[: len(points)].T, label="rebuilt")
    ax.plot(*line[len(points) - 1 :].T, ":", color="C0", label="and on")
    ax.set_aspect("equal")
axes[1].legend(fontsize=8)
fig.tight_layout()
plt.show()

# %%
# Where it goes wrong
# -------------------
# The error of every step finds a slip of the pen. Steps that a stroke does not have are
# NaN.

slipped = test[0].copy()
slipped[12:15] += 0.4
errors = model.reconstruction_error([test[0], slipped], per_feature=True).sum(axis=2)
print("shape of the errors of two strokes:", errors.shape, "(samples, steps)")

fig, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].plot(*slipped.T, ".-", color="C3")
axes[0].plot(*test[0].T, ".-", color="gray")
axes[0].set_aspect("equal")
axes[0].set_title("a stroke, and the same with a slip")
axes[1].plot(errors[1], color="C3", label="with a slip")
axes[1].plot(errors[0], color="gray", label="as it was")
axes[1].set_xlabel("step")
axes[1].set_title("squared error")
axes[1].legend()
fig.tight_layout()
plt.show()
worst = np.argsort(-np.nan_to_num(errors[1]))[:3]
print("steps with the largest error:", np.sort(worst))
