"""Export to ONNX, the extra ``skae[onnx]``.

The graph of what a fitted estimator uses, a start or a network, is written node by node
(``_graph.py``): of the estimator (``_estimators.py``), of the model behind it
(``_models.py``, or ``_starts.py``), of its module (``_modules.py``) and of its networks
(``_networks.py``, ``_convolutions.py``, ``_sequences.py``). torch has two exporters, of
which the quick one is on its way out and the other takes seconds: they are for networks
of others. Here nothing imports onnx.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""Version of ONNX's operators that is exported, and the oldest that can be."""


class OnnxMixin:
    """What skl2onnx asks of an estimator that it does not know."""

    def onnx_parser(self) -> Callable[..., Any]:
        """Return what tells skl2onnx the name of the output, the codes.

        Returns
        -------
        callable
        """
        from ._sklearn import parse

        return parse

    def onnx_shape_calculator(self) -> Callable[..., None]:
        """Return what tells skl2onnx the shape of the codes.

        Returns
        -------
        callable
        """
        from ._sklearn import calculate_shape

        return calculate_shape

    def onnx_converter(self) -> Callable[..., None]:
        """Return what adds ``transform`` to a graph of skl2onnx; see :func:`to_onnx`.

        Returns
        -------
        callable
        """
        from ._sklearn import convert

        return convert


def to_onnx(
    estimator: Any,
    method: str | None = None,
    *,
    dtype: Any = np.float32,
    target_opset: int = OPSET,
) -> onnx.ModelProto:
    """Export what a fitted estimator does as an ONNX model.

    The model is exactly what the estimator uses, the start or the trained network, and
    takes rows in the units of `X`, as the estimator does. It needs neither skae nor
    torch, but a runtime such as onnxruntime. This function needs the extra
    ``python -m pip install 'skae[onnx]'``.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of skae, or a fitted Pipeline, or another estimator of
        scikit-learn that is made of such, which skl2onnx then exports.
    method : str or None, default=None
        ``"transform"``, ``"inverse_transform"``, ``"predict"``, ``"score_samples"`` (of
        :class:`ContrastiveAutoencoder` that without `y`), ``"transform_y"``, or
        ``"reconstruct"``, which is ``inverse_transform(transform(X))``. None is
        "transform" and, of a Pipeline, what skl2onnx makes of it: the labels and the
        probabilities of a classifier. A Pipeline that ends in an estimator of skae has
        the methods of that, of rows that go into its first step, but for
        "inverse_transform" and "reconstruct".
    dtype : numpy.float32 or numpy.float64, default=numpy.float32
        Of `X`, and of the output. Scores are float64, and computed so, in both cases;
        codes of :class:`MaskedAutoencoder` are computed so as well. With float64,
        convolutions, recurrent layers and networks of your own still compute in
        float32, since runtimes have them in no other type.
    target_opset : int, default=18
        Version of ONNX's operators, at least 18.

    Returns
    -------
    onnx.ModelProto
        With one input, ``"X"``, of shape (n, n_features), or of the shape of images and
        series that ``fit`` saw, for any number n of rows; and one output, which has the
        name of the method. A Pipeline that skl2onnx exports has its names:
        ``"variable"``, or ``"label"`` and ``"probabilities"``. The metadata have
        ``skae_version``, ``estimator``, ``method`` and ``target_opset``.

    Raises
    ------
    ImportError
        Without the extra.
    sklearn.exceptions.NotFittedError
        Before ``fit``.
    TypeError
        If `estimator` is no estimator.
    ValueError
        If the estimator has no such method, or of an invalid `dtype` or `target_opset`.
    NotImplementedError
        Of models of texts, :class:`MaskedImputer`, scores by neighbours, clusters,
        networks of your own that ``torch.onnx.export`` refuses, and methods of your own
        in place of skae's.

    See Also
    --------
    skl2onnx.to_onnx : Takes estimators of skae in Pipelines, too.

    Notes
    -----
    Outputs differ by less than 1e-5 of their largest number from the estimator's for
    the same rows in float64. Where convolutions or recurrent layers bring rows back to
    more digits than float32 has, scores differ by more.

    Networks of your own that are made of torch's layers are translated as they are;
    others go through ``torch.onnx.export``, which takes seconds.

    The file of a :class:`MaskedAutoencoder` has the training rows that its network
    finds neighbours of incomplete rows among, as the estimator has.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer, to_onnx
    >>> X = load_iris().data
    >>> autoencoder = AutoencoderTransformer(2, random_state=0).fit(X)
    >>> model = to_onnx(autoencoder, "reconstruct")
    >>> [(x.name, len(x.type.tensor_type.shape.dim)) for x in model.graph.output]
    [('reconstruct', 2)]
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(model.SerializeToString())
    >>> session.run(None, {"X": X[:3].astype("float32")})[0].shape
    (3, 4)
    """
    _check_extra()
    from . import _export

    kind = _export.checked_dtype(dtype)
    opset = _export.checked_opset(target_opset)
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator={estimator!r}: give a fitted estimator.")
    check_is_fitted(estimator)
    best = getattr(estimator, "best_estimator_", None)
    if isinstance(best, OnnxMixin | Pipeline):  # of a search
        estimator = best
    if isinstance(estimator, Pipeline):
        estimator = _export.without_passthrough(estimator)
    if isinstance(estimator, OnnxMixin):
        return _export.of_estimator(estimator, method, kind, opset)
    if isinstance(estimator, Pipeline) and method is not None:
        return _export.of_last_step(estimator, method, kind, opset)
    return _export.of_sklearn(estimator, method, kind, opset)


def _check_extra() -> None:
    try:
        import onnx  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs {error.name}: python -m pip install 'skae[onnx]'"
        ) from error
