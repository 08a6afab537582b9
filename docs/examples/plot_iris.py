"""
One number says more of an iris than PCA's one
==============================================

scikit-learn's first page on PCA reduces iris to a few components. A single code of an
autoencoder is a curve through the flowers, where that of PCA is a straight line.
"""

# %%
# A line and a curve
# ------------------
# 150 flowers, four standardised lengths of each; half of the flowers are held out. The
# line and the curve are what the code stands for, as it runs from its least to its
# largest value.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

iris = load_iris()
X = StandardScaler().fit_transform(iris.data)
X_train, X_test, y_train, y_test = train_test_split(
    X, iris.target, test_size=0.5, random_state=0
)


def held_out_r2(model):
    """Return the R2 of flowers that the model has not seen."""
    rebuilt = model.inverse_transform(model.transform(X_test))
    return r2_score(X_test, rebuilt, multioutput="variance_weighted")


fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
models = PCA(1), AutoencoderTransformer(1, random_state=0)
for ax, model in zip(axes, models):
    codes = model.fit(X_train).transform(X_train)
    path = model.inverse_transform(np.linspace(codes.min(), codes.max(), 200)[:, None])
    ax.scatter(X_test[:, 1], X_test[:, 2], c=y_test, cmap="viridis", s=20)
    ax.plot(path[:, 1], path[:, 2], color="tab:red", lw=2)
    title = f"{type(model).__name__}(1): held-out R2 = {held_out_r2(model):.2f}"
    ax.set(title=title, xlabel="sepal width", ylabel="petal length")
plt.show()

# %%
# Limits
# ------
# Standardised columns have something to bend. In centimetres one direction has nearly
# all of the variance, and with each further code less is left to gain.

print("codes   PCA   skae   epoch used (0 is PCA)")
for k in (1, 2, 3):
    pca, model = PCA(k), AutoencoderTransformer(k, random_state=0)
    r2 = held_out_r2(pca.fit(X_train)), held_out_r2(model.fit(X_train))
    print(f"{k:5d} {r2[0]:5.2f}  {r2[1]:5.2f}   {model.best_iter_}")
share = PCA(1).fit(iris.data).explained_variance_ratio_[0]
print(f"in centimetres, PCA's first component has {share:.2f} of the variance")
