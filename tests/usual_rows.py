"""Which rows `contamination` leaves in, by scikit-learn's PCA."""

import numpy as np
from sklearn.decomposition import PCA


def normal_scores(x, n_dims):
    """Return normal scores of chi-squared numbers (Wilson & Hilferty 1931)."""
    mean, deviation = 1 - 2 / (9 * n_dims), np.sqrt(2 / (9 * n_dims))
    return (np.cbrt(x / n_dims) - mean) / deviation


def usual(X, share, k):
    """Return which rows are the most usual for PCA, by the rarer of two statistics.

    Far codes that leave less over than two standard deviations are rarer.
    """
    pca = PCA(k).fit(X)
    codes = pca.transform(X)
    left_over = X - pca.inverse_transform(codes)
    t2 = (codes**2 / pca.explained_variance_).sum(1)
    error = (left_over**2).sum(1) / pca.noise_variance_
    far, large = normal_scores(t2, k), normal_scores(error, X.shape[1] - k)
    tight = (far > 0) & (large < -2)
    far[tight] = np.sqrt(far**2 + (large + 2) ** 2)[tight]
    return np.argsort(np.argsort(-np.maximum(far, large))) >= int(share * len(X))
