"""
Missing cells, completed no worse than by neighbours
====================================================

``MaskedImputer`` stands where ``IterativeImputer`` stands. It starts at the normal
distribution of incomplete rows, sees neighbours, and is judged on cells that it hides.
"""

# %%
# Cells that are missing by chance
# --------------------------------
# Errors are those of missing cells, in standard
# deviations of the columns.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from skae import MaskedImputer

warnings.simplefilter("ignore", ConvergenceWarning)  # of IterativeImputer
X = StandardScaler().fit_transform(load_breast_cancer().data)
imputers = {
    "mean": SimpleImputer(),
    "neighbours": KNNImputer(),
    "iterative": IterativeImputer(random_state=0),
    "MaskedImputer": MaskedImputer(random_state=0),
}


def errors(probability):
    """Return the root-mean-square error of each imputer."""
    missing = np.random.RandomState(0).uniform(size=X.shape) < probability
    holes = np.where(missing, np.nan, X)
    return [
        np.sqrt(((imputer.fit_transform(holes) - X)[missing] ** 2).mean())
        for imputer in imputers.values()
    ]


shares = 0.1, 0.6
by_chance = np.array([errors(share) for share in shares])
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for i, name in enumerate(imputers):
    ax.bar(np.arange(2) + 0.2 * i, by_chance[:, i], 0.18, label=name)
ax.set_xticks(np.arange(2) + 0.3, [f"{share:.0%} missing" for share in shares])
ax.set_ylabel("error in deviations")
fig.legend(loc="outside upper center", ncols=4)
plt.show()

# %%
# Limits
# ------
# Where little is missing, regressions do as well. Cells that are missing because of
# their own value mislead every method that sees the table alone: in the last row they
# are above the median of their column.

print(f"{'missing':22s}", *(f"{name:>13s}" for name in imputers))
for share, found in zip(shares, by_chance):
    print(f"{share:4.0%} by chance        ", *(f"{e:13.2f}" for e in found))
found = errors(0.6 * (np.median(X, axis=0) < X))
print(" 30% above the median ", *(f"{e:13.2f}" for e in found))
