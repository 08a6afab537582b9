"""
A corruption of your own is undone
==================================

A corruption can be any function of a batch and a generator. Here it wipes out a square
of 3 x 3 pixels, and a denoising autoencoder learns to fill it.
"""

# %%
# Holes
# -----
# The squares are drawn anew for every batch; those of the test images are others.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import DenoisingAutoencoder

train, test = train_test_split(load_digits().images, random_state=0)


def mask_square(images, generator, size=3):
    """Set a random square of each image to zero."""
    n, last = len(images), 9 - size
    top, left = torch.randint(last, (2, n, 1, 1), generator=generator)
    place = torch.arange(8)
    in_rows = (place[:, None] >= top) & (place[:, None] < top + size)
    in_columns = (place >= left) & (place < left + size)
    return images.masked_fill(in_rows & in_columns, 0.0)


def with_holes(size):
    """Return the test images with a hole in each."""
    generator = torch.Generator().manual_seed(0)
    return mask_square(torch.from_numpy(test), generator, size).numpy()


def error(images):
    """Return the mean squared error against the clean images."""
    return ((images - test) ** 2).mean()


linear = DenoisingAutoencoder(corruption=mask_square, max_iter=0).fit(train)
inpainter = DenoisingAutoencoder(corruption=mask_square, random_state=0).fit(train)
holes = with_holes(3)
shown = {
    "clean": test,
    "with a hole": holes,
    "the start, linear": linear.denoise(holes),
    "filled": inpainter.denoise(holes),
}
fig, axes = plt.subplots(len(shown), 10, figsize=(9, 4.4), layout="constrained")
for row, (name, images) in zip(axes, shown.items()):
    row[0].set_title(name, loc="left", fontsize=10)
    for ax, image in zip(row, images):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()
for name, images in shown.items():
    print(f"{name:18s} squared error per pixel {error(images):6.2f}")

# %%
# Limits
# ------
# It fills the holes that it was trained for. Larger ones it has never seen:

for size in (1, 3, 5):
    holes = with_holes(size)
    print(f"{size} x {size} pixels: {error(holes):6.2f} with the hole,", end=" ")
    print(f"{error(inpainter.denoise(holes)):6.2f} filled")
