"""
Held-out likelihood tells how many codes there are
==================================================

scikit-learn chooses the number of components of PCA and factor analysis by the
likelihood of held-out rows. ``score`` of an autoencoder is in the same nats, so that
the same search works where the data are curved.
"""

# %%
# A flat and a bent sheet
# -----------------------
# 1000 rows of 12 columns, half of them held out. The flat ones have 4 linear factors,
# the bent ones are sines of 2 numbers; both have noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skae import AutoencoderTransformer


def flat(rng):
    """Return rows with 4 linear factors."""
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0][:4]
    return 2 * rng.normal(size=(1000, 4)) @ axes + 0.3 * rng.normal(size=(1000, 12))


def bent(rng, by=1.0):
    """Return rows on a bent sheet."""
    position, W = rng.uniform(-1, 1, (1000, 2)), rng.normal(size=(2, 12))
    phase = rng.uniform(0, 6, 12)
    return np.sin(by * position @ W + phase) + 0.1 * rng.normal(size=(1000, 12))


def search(model, X):
    """Search for n_components by held-out likelihood."""
    grid = {"n_components": range(1, 9)}
    cv = ShuffleSplit(1, test_size=0.5, random_state=0)
    return GridSearchCV(model, grid, cv=cv, refit=False).fit(X)


models = [PCA(), FactorAnalysis(), AutoencoderTransformer(random_state=0)]
tables = {"4 linear factors": flat, "a bent sheet, 2 numbers": bent}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, (title, draw) in zip(axes, tables.items()):
    X = draw(np.random.RandomState(0))
    for model in models:
        found, name = search(model, X), type(model).__name__
        ax.plot(range(1, 9), found.cv_results_["mean_test_score"], "o-", label=name)
        best = found.best_params_["n_components"]
        print(f"{title:24s} {name:23s} chooses {best}")
    ax.set(title=title, xlabel="n_components", ylabel="held-out nats per row")
axes[0].legend()
plt.show()

# %%
# Limits
# ------
# The score of an autoencoder ignores by how much a bent decoder changes volumes: it is
# PCA's exact density only where PCA is kept. Of a sheet that is bent twice as much it
# finds more codes than the two:

found = search(models[-1], bent(np.random.RandomState(0), by=2.0))
print("bent twice as much:", found.best_params_["n_components"])
