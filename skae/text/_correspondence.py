"""Closed forms of bags of tokens: correspondence analysis, and latent semantics.

Let ``x_i`` be the shares of the V tokens in text i, of ``L_i`` tokens, and ``c`` their
shares in all texts. Either model is a linear map of the bag, whose weights are those of
an ``nn.EmbeddingBag``, and a distribution over tokens that is linear in the code:

    z_i = n_i W / norm(n_i)                                    n_i = L_i x_i
    p(w | z) = c_w max(1 + (z - mean)' g_w, FLOOR) / (their sum)

Correspondence analysis (Benzecri 1973; Greenacre 1984) is the singular value
decomposition ``U S V'`` of ``sqrt(L_i / sum L) (x_i - c) / sqrt(c + kappa)``, with
``W = V / sqrt(c + kappa)``, less its mean ``c' W``, ``norm(n_i) = L_i``, and
``g = V sqrt(c + kappa) / c``. Without smoothing, with kappa = 0, these are its textbook
formulas: codes are the principal coordinates of rows, and ``c_w (1 + z' g_w)`` is the
reconstitution formula. It is to counts what PCA is to numbers: to second order in
``x - c`` it has the largest likelihood of all models with k codes. Texts count by their
length, as they do in the likelihood, because a token of a long text says as much as one
of a short text.

Latent semantic analysis (Deerwester et al. 1990) is the truncated singular value
decomposition of tf-idf. It has no decoder; its own ``g`` is found by least squares of
the shares on the codes, which is where correspondence analysis finds its.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, svds
from scipy.special import logsumexp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils import check_random_state
from sklearn.utils.extmath import svd_flip

# By how much of its share a token can be less likely in a text than in all.
FLOOR = 0.1
# Share of all tokens, kappa, which is added to each token's own where it is a divisor.
# From 0 to 1e-2, in 1000 to 25,000 verses, in chapters, and in docstrings, for 8 and 32
# codes, texts are likeliest at 3e-4, and labels and other halves of texts predicted
# best at 1e-4, whatever the number of texts and their length.
SMOOTHING = 2e-4
# Tokens of each kind by which the regression of latent semantics is shrunk. The best
# of 0 to 30 on the same texts.
PSEUDO_COUNT = 10.0
# How often a token is taken to have been seen that never was.
UNSEEN = 0.5
# Singular values of less than this share of the first carry rounding errors.
RANK_TOLERANCE = 1e-9
# Numbers of a table that is decomposed as it is, and of probabilities at a time.
SMALL = 2**20
BLOCK_NUMBERS = 2**22


@dataclass(frozen=True)
class BagModel(ABC):
    """A linear code of a bag of tokens, and a distribution over tokens given a code.

    Attributes
    ----------
    token_weights : ndarray of shape (V, k)
        What each token adds to the code, before it is divided by the norm of the text.
        A text without any known token has code 0.
    mean : ndarray of shape (k,)
        The code at which tokens have their shares in all texts.
    shares : ndarray of shape (V,)
        Those shares. A token that was never seen counts as half a one.
    slopes : ndarray of shape (V, k)
        By how much of its share a token becomes likelier for each unit of a code.
    explained_variance : ndarray of shape (k,)
        Variance of the codes.
    total_variance : float
        Variance of what is decomposed.
    """

    token_weights: NDArray
    mean: NDArray
    shares: NDArray
    slopes: NDArray
    explained_variance: NDArray
    total_variance: float

    name = "correspondence analysis"

    @abstractmethod
    def norms(self, counts: sp.csr_matrix) -> NDArray:
        """Return what the weights of a text's tokens are divided by, shape (n,)."""

    @property
    def explained_variance_ratio(self) -> NDArray:
        """Share of the total variance that each code has, shape (k,)."""
        if self.total_variance == 0:
            return np.zeros_like(self.explained_variance)
        return self.explained_variance / self.total_variance

    def codes(self, counts: sp.csr_matrix) -> NDArray:
        """Return the codes of texts.

        Parameters
        ----------
        counts : sparse matrix of shape (n, V)

        Returns
        -------
        ndarray of shape (n, k)
        """
        norms = self.norms(counts)
        return counts @ self.token_weights / np.where(norms > 0, norms, 1)[:, None]

    def log_probs(self, codes: NDArray) -> NDArray:
        """Return the log-probability of every token given a code.

        Parameters
        ----------
        codes : ndarray of shape (n, k)

        Returns
        -------
        ndarray of shape (n, V)
        """
        tilts = np.maximum(1 + (codes - self.mean) @ self.slopes.T, FLOOR)
        logits = np.log(self.shares) + np.log(tilts)
        return logits - logsumexp(logits, axis=1, keepdims=True)

    def log_likelihood(self, counts: sp.csr_matrix, codes: NDArray) -> NDArray:
        """Return the log-likelihood of the tokens of texts given codes, in nats.

        Parameters
        ----------
        counts : sparse matrix of shape (n, V)
        codes : ndarray of shape (n, k)

        Returns
        -------
        ndarray of shape (n,)
        """
        n, n_tokens = counts.shape
        step = max(1, BLOCK_NUMBERS // n_tokens)
        sums = np.zeros(n)
        for first in range(0, n, step):
            rows = slice(first, first + step)
            log_probs = self.log_probs(codes[rows])
            sums[rows] = np.asarray(counts[rows].multiply(log_probs).sum(1)).ravel()
        return sums


@dataclass(frozen=True)
class CorrespondenceAnalysis(BagModel):
    """Correspondence analysis of texts by tokens.

    Codes are principal coordinates of rows: their mean over training texts, which count
    by length, is 0, and their variances are the principal inertias. Without smoothing
    `total_variance` is the total inertia, the chi-square statistic of the table divided
    by the number of tokens. Codes beyond the rank of the table are 0. A text without
    any known token has the code of the mean.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from skae.text._correspondence import CorrespondenceAnalysis
    >>> counts = csr_matrix([[2.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 6.0]])
    >>> model = CorrespondenceAnalysis.of(counts, 1, smoothing=0.0)
    >>> model.codes(counts).round(6)
    array([[-1.],
           [-1.],
           [ 1.]])
    >>> model.explained_variance_ratio.round(6)
    array([1.])
    """

    @classmethod
    def of(
        cls,
        counts: sp.csr_matrix,
        n_components: int,
        weight: NDArray | None = None,
        seed: int = 0,
        smoothing: float = SMOOTHING,
    ) -> CorrespondenceAnalysis:
        """Find it.

        Parameters
        ----------
        counts : sparse matrix of shape (n, V)
        n_components : int
        weight : ndarray of shape (n,) or None
            A weight of 2 counts as the text given twice.
        seed : int
            Of the first vector of the solver of large tables. The result does not
            depend on it, up to rounding.
        smoothing : float
            What is added to the share of each token where shares are divisors, so that
            rare tokens do not have the largest residuals.
        """
        lengths, mass, seen, shares = masses(counts, n_components, weight)
        divisor = np.sqrt(seen + smoothing)
        inverse = np.divide(1, divisor, out=np.zeros_like(divisor), where=divisor > 0)
        row_scale = np.sqrt(mass) / np.where(lengths > 0, lengths, 1)
        scaled = sp.diags(row_scale) @ counts @ sp.diags(inverse)
        left, right = np.sqrt(mass), seen * inverse
        singular, axes = leading_axes(scaled, left, right, n_components, seed)
        total = scaled.multiply(scaled).sum() - right @ right
        weights = inverse[:, None] * axes.T
        return cls(
            token_weights=weights - seen @ weights,
            mean=np.zeros(n_components),
            shares=shares,
            slopes=(divisor / shares)[:, None] * axes.T,
            explained_variance=singular**2,
            total_variance=max(float(total), 0.0),
        )

    def norms(self, counts: sp.csr_matrix) -> NDArray:
        """Return the numbers of tokens of texts, shape (n,)."""
        return text_lengths(counts)


@dataclass(frozen=True)
class LatentSemantics(BagModel):
    """Latent semantic analysis: TfidfTransformer and TruncatedSVD, and a decoder.

    Codes, variances and signs are those of scikit-learn with its default parameters.
    Where there are fewer texts than codes, those that TruncatedSVD does not have are 0.

    Attributes
    ----------
    idf : ndarray of shape (V,)
        Inverse document frequencies, which are part of the weights of tokens too.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from skae.text._correspondence import LatentSemantics
    >>> counts = csr_matrix([[2.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 6.0]])
    >>> model = LatentSemantics.of(counts, 2)
    >>> model.codes(counts).round(6) + 0.0
    array([[1., 0.],
           [1., 0.],
           [0., 1.]])
    """

    idf: NDArray

    name = "latent semantic analysis"

    @classmethod
    def of(
        cls,
        counts: sp.csr_matrix,
        n_components: int,
        weight: NDArray | None = None,
        seed: int = 0,
    ) -> LatentSemantics:
        """Find it.

        Parameters
        ----------
        counts : sparse matrix of shape (n, V)
        n_components : int
        weight : ndarray of shape (n,) or None
            A weight of 2 counts as the text given twice.
        seed : int
            TruncatedSVD's `random_state`.
        """
        lengths, mass, _, shares = masses(counts, n_components, weight)
        tfidf = TfidfTransformer().fit(counts)
        if weight is not None:
            frequencies = (counts > 0).T @ weight
            tfidf.idf_ = np.log((1 + weight.sum()) / (1 + frequencies)) + 1
        table = tfidf.transform(counts)
        if weight is None:
            weight = np.ones(len(lengths))
        axes = tfidf_axes(sp.diags(np.sqrt(weight)) @ table, n_components, seed)
        codes = table @ axes.T
        mean = mass @ codes
        centred = codes - mean
        covariance = (mass * centred.T) @ centred
        per_token = mass / np.where(lengths > 0, lengths, 1)
        # (V, k): the slopes of the shares, however tokens are weighted.
        slopes = counts.T @ (per_token[:, None] * centred)
        slopes = slopes @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
        n_counted = float(weight @ lengths)
        return cls(
            token_weights=tfidf.idf_[:, None] * axes.T,
            mean=mean,
            shares=shares,
            slopes=slopes / (shares + PSEUDO_COUNT / n_counted)[:, None],
            explained_variance=variances(codes, weight),
            total_variance=float(variances(table, weight).sum()),
            idf=tfidf.idf_,
        )

    def norms(self, counts: sp.csr_matrix) -> NDArray:
        """Return the Euclidean norms of tf-idf before it is normalised, shape (n,)."""
        return np.sqrt(counts.multiply(counts) @ self.idf**2)


def text_lengths(counts: sp.csr_matrix) -> NDArray:
    """Return how many tokens each text has, shape (n,)."""
    return np.asarray(counts.sum(1)).ravel()


def masses(
    counts: sp.csr_matrix, n_components: int, weight: NDArray | None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return lengths and masses of texts, and shares of tokens, as seen and positive.

    Raises
    ------
    ValueError
        If there are fewer tokens than components, or no token is in any text.
    """
    n_tokens = counts.shape[1]
    if n_components > n_tokens:
        raise ValueError(
            f"n_components={n_components} must be at most the number of distinct "
            f"tokens, {n_tokens}."
        )
    lengths = text_lengths(counts)
    mass = lengths if weight is None else lengths * weight
    if not mass.sum() > 0:
        raise ValueError("No text of X has a token that is in the vocabulary.")
    seen = counts.T @ (np.ones(len(lengths)) if weight is None else weight)
    positive = np.where(seen > 0, seen, UNSEEN)
    return lengths, mass / mass.sum(), seen / seen.sum(), positive / positive.sum()


def leading_axes(
    table: sp.csr_matrix, left: NDArray, right: NDArray, k: int, seed: int
) -> tuple[NDArray, NDArray]:
    """Return singular values and right singular vectors of ``table - left right'``.

    Those beyond the rank are 0. A large table is never made dense.

    Parameters
    ----------
    table : sparse matrix of shape (n, V)
    left, right : ndarray of shape (n,), (V,)
    k, seed : int

    Returns
    -------
    singular : ndarray of shape (k,)
    axes : ndarray of shape (k, V)
        With the signs of scikit-learn's ``svd_flip``.
    """
    n, n_tokens = table.shape
    if n * n_tokens <= SMALL or k >= min(n, n_tokens):
        dense = table.toarray() - np.outer(left, right)
        singular, axes = scipy.linalg.svd(dense, full_matrices=False)[1:]
    else:
        singular, axes = _sparse_axes(table, left, right, k, seed)
    # The largest singular value of the table before it is centred is about 1.
    rank = min(k, int((singular > RANK_TOLERANCE).sum()))
    found, kept = np.zeros(k), np.zeros((k, n_tokens))
    found[:rank] = singular[:rank]
    if rank:
        kept[:rank] = svd_flip(None, axes[:rank], u_based_decision=False)[1]
    return found, kept


def tfidf_axes(table: sp.csr_matrix, k: int, seed: int) -> NDArray:
    """Return the axes of TruncatedSVD, shape (k, V)."""
    if table.shape[1] == 1:  # which TruncatedSVD refuses
        return np.ones((1, 1))
    svd = TruncatedSVD(k, random_state=seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal texts, no variance
        svd.fit(table)
    axes = np.zeros((k, table.shape[1]))
    axes[: len(svd.components_)] = svd.components_
    return axes


def _sparse_axes(
    table: sp.csr_matrix, left: NDArray, right: NDArray, k: int, seed: int
) -> tuple[NDArray, NDArray]:
    centred = LinearOperator(
        table.shape,
        matvec=lambda v: table @ v.ravel() - left * (right @ v.ravel()),
        rmatvec=lambda u: table.T @ u.ravel() - right * (left @ u.ravel()),
        dtype=np.float64,
    )
    first = check_random_state(seed).uniform(-1, 1, min(table.shape))
    try:
        _, singular, axes = svds(centred, k=k, v0=first)
    except ArpackError:  # where no text differs from the mean
        return np.zeros(k), np.zeros((k, table.shape[1]))
    return singular[::-1], axes[::-1]


def variances(table: Any, weight: NDArray) -> NDArray:
    """Return the variances of columns under weights of rows, as NumPy's `var`."""
    share = weight / weight.sum()
    squares = table.power(2) if sp.issparse(table) else table**2
    return np.maximum(squares.T @ share - (table.T @ share) ** 2, 0)
