"""
One fit has codes of every number
=================================

The first two components of PCA with eight are PCA with two. Codes of a network say what
they say together, unless ``ordered=True`` trains it for all of its prefixes at once.
"""

# %%
# Cut short
# ---------
# The held-out R2 of the first codes, when the others are not used. The dashed line is
# of networks that were fitted for just so many codes.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X_train, X_test = train_test_split(load_digits().data, random_state=0)


def r2(rebuilt):
    """Return the R2 of the test images, all pixels together."""
    return r2_score(X_test, rebuilt, multioutput="variance_weighted")


pca = PCA(8).fit(X_train)
loadings, Z = pca.components_, pca.transform(X_test)
shown = {"PCA": [r2(Z[:, :j] @ loadings[:j] + pca.mean_) for j in range(1, 9)]}
for name, options in {"default": {}, "ordered=True": {"ordered": True}}.items():
    model = AutoencoderTransformer(8, random_state=0, **options).fit(X_train)
    codes = model.transform(X_test)
    prefixes = [codes.copy() for _ in range(8)]
    for j, prefix in enumerate(prefixes, start=1):
        prefix[:, j:] = model.transform(X_train)[:, j:].mean(axis=0)
    shown[name] = [r2(model.inverse_transform(prefix)) for prefix in prefixes]

counts = [1, 2, 4, 8]
own = [AutoencoderTransformer(k, random_state=0).fit(X_train) for k in counts]
own = [r2(model.inverse_transform(model.transform(X_test))) for model in own]

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, values in shown.items():
    ax.plot(range(1, 9), values, "o-", label=name)
ax.plot(counts, own, "k--", label="a fit for each number")
ax.set(xlabel="codes used, of 8", ylabel="held-out R2")
ax.legend()
plt.show()

# %%
# Limits
# ------
# One network for every number of codes is not as good as one for each:

for k, value in zip(counts, own):
    print(f"{k} codes: {shown['ordered=True'][k - 1]:.2f} ordered, {value:.2f} alone")
