"""
A classifier gets by on fewer codes
===================================

scikit-learn chains PCA and a logistic regression, and searches for the number of
components. With codes of an autoencoder a few will do.
"""

# %%
# Accuracy by number of codes
# ---------------------------
# A quarter of the digits is held out. The pipeline is the same but for its first step,
# which sees no labels.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


def accuracy(codes):
    """Return the accuracy of a logistic regression on the codes."""
    pipe = make_pipeline(codes, StandardScaler(), LogisticRegression(max_iter=500))
    return pipe.fit(X_train, y_train).score(X_test, y_test)


counts = [1, 2, 4, 8, 16, 32]
accuracies = {
    "PCA": [accuracy(PCA(k)) for k in counts],
    "AutoencoderTransformer": [
        accuracy(AutoencoderTransformer(k, random_state=0)) for k in counts
    ],
}
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, values in accuracies.items():
    ax.plot(counts, values, "o-", label=name)
ax.set(xscale="log", xlabel="n_components", ylabel="held-out accuracy")
ax.set_xticks(counts, counts, minor=False)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# Limits
# ------
# With as many codes as the classifier can use, there is nothing left to gain, and a
# reduction that sees no labels may also lose what a classifier needs.

print("codes ", *(f"{k:6d}" for k in counts))
for name, values in accuracies.items():
    print(f"{name[:6]:6s}", *(f"{value:6.3f}" for value in values))
everything = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
score = everything.fit(X_train, y_train).score(X_test, y_test)
print(f"all 64 pixels: {score:.3f}")
