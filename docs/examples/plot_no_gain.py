"""
Where PCA is the best, PCA is what you get
==========================================

Of normal data PCA is the best autoencoder there is, and a network can only lose to it.
Held-out rows notice, and ``fit`` returns PCA.
"""

# %%
# A network by itself, and one with a gate
# ----------------------------------------
# Tables of 20 columns with 5 linear factors, of more and more rows. ``MLPRegressor``
# learns to return its input through 5 units. What is shown is the squared error of 2000
# new rows, as a share of that of PCA.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from skae import AutoencoderTransformer

warnings.simplefilter("ignore", ConvergenceWarning)  # of the regressor
rng = np.random.RandomState(0)
factors = rng.normal(size=(5, 20))


def draw(n):
    """Return rows with 5 linear factors and noise."""
    return rng.normal(size=(n, 5)) @ factors + rng.normal(size=(n, 20))


def rebuild(model, X):
    """Return the rows from their codes."""
    return model.inverse_transform(model.transform(X))


new, counts = draw(2000), [50, 200, 800]
shares = {"MLPRegressor(X, X)": [], "skae": []}
for n in counts:
    X = draw(n)
    pca = PCA(5).fit(X)
    least = ((rebuild(pca, new) - new) ** 2).mean()
    network = MLPRegressor(hidden_layer_sizes=(32, 5, 32), random_state=0).fit(X, X)
    model = AutoencoderTransformer(5, random_state=0).fit(X)
    apart = np.abs(model.transform(new) - pca.transform(new)).max()
    print(f"{n:4d} rows: epoch used {model.best_iter_}, codes differ by {apart:.0e}")
    rebuilt = network.predict(new), rebuild(model, new)
    for values, rows in zip(shares.values(), rebuilt):
        values.append(((rows - new) ** 2).mean() / least)

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, values in shares.items():
    ax.plot(counts, values, "o-", label=name)
ax.set(xscale="log", xlabel="rows", ylabel="squared error, PCA's = 1")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# Limits
# ------
# Held-out rows are a sample. With a few dozen of them, a network that is a little worse
# may look better by chance: it is rare, and does happen.
