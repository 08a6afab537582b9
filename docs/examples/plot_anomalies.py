"""
A digit that was never seen stands out
======================================

The likelihood of PCA says how normal a row is, if normal rows are one cloud. Those of
nine digits are nine clouds, and an autoencoder tells the tenth from them.
"""

# %%
# A digit as the anomaly
# ----------------------
# Five digits in turn. Detectors are fitted on three quarters of the other nine digits;
# the last quarter is normal, and the digit is the anomaly. ROC-AUC is the share of
# pairs of a normal and an anomalous image that are in the right order.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
detectors = {
    "PCA": PCA(8),
    "IsolationForest": IsolationForest(random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "skae": AutoencoderTransformer(8, n_neighbors=5, random_state=0),
}


def scores(detector, digit):
    """Return scores of held-out normal images, and of the digit."""
    train, test = train_test_split(X[y != digit], random_state=0)
    detector.fit(train)
    return detector.score_samples(test), detector.score_samples(X[y == digit])


digits = 1, 3, 5, 8, 9
print("anomaly           ", *(f"{digit:5d}" for digit in digits), "  mean")
for name, detector in detectors.items():
    found = []
    for digit in digits:
        normal, anomalous = scores(detector, digit)
        truth = np.repeat([1, 0], [len(normal), len(anomalous)])
        found.append(roc_auc_score(truth, np.concatenate([normal, anomalous])))
    print(f"{name:18s}", *(f"{auc:5.2f}" for auc in [*found, np.mean(found)]))

# %%
# Scores
# ------
# Nine is the anomaly. Rows on the right look like the training rows.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for ax, name in zip(axes, ("PCA", "skae")):
    values = scores(detectors[name], 9)
    bins = np.histogram_bin_edges(np.concatenate(values), 40)
    for scored, label in zip(values, ("other digits", "9")):
        ax.hist(scored, bins, alpha=0.6, density=True, label=label)
    ax.set(title=name, xlabel="score_samples", yticks=[])
axes[0].legend()
plt.show()

# %%
# Limits
# ------
# Above, all rows to fit on are normal. Anomalies among them that come in groups are
# learnt, as nines are where one row in ten is a nine:

detector = detectors["skae"].fit(X)
auc = roc_auc_score(y != 9, detector.score_samples(X))
print(f"fitted on all ten digits: ROC-AUC {auc:.2f} of 9 as the anomaly")
