"""The estimators of the table, and which of them are PCA before they are trained."""

import numpy as np
from estimators import ESTIMATORS
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA

CLASSES = sorted({type(m) for m in ESTIMATORS.values()}, key=lambda c: c.__name__)


def starts_at_pca(estimator):
    """Whether the codes of an untrained estimator are those of PCA."""
    X = load_iris().data
    codes = estimator(2, max_iter=0).fit(X).transform(X)
    return np.allclose(codes, PCA(2).fit_transform(X))


PCA_CLASSES = [estimator for estimator in CLASSES if starts_at_pca(estimator)]
