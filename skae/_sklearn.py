"""scikit-learn's base classes, with types.

It ships none, and what has a base without types is not checked at all: neither a method
that is not there, nor what one returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from numpy.typing import NDArray
    from sklearn.utils import Tags
    from typing_extensions import Self

    Method = TypeVar("Method", bound=Callable[..., Any])

    def _fit_context(
        *, prefer_skip_nested_validation: bool
    ) -> Callable[[Method], Method]: ...

    class BaseEstimator:
        """What has parameters, and may have been fitted."""

        n_features_in_: int
        feature_names_in_: NDArray

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def set_fit_request(self, **requests: Any) -> Self: ...
        def set_partial_fit_request(self, **requests: Any) -> Self: ...
        def set_score_request(self, **requests: Any) -> Self: ...
        def set_transform_request(self, **requests: Any) -> Self: ...
        def _validate_params(self) -> None: ...
        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def _repr_html_(self) -> str: ...
        def __getstate__(self) -> dict[str, Any]: ...
        def __setstate__(self, state: dict[str, Any]) -> None: ...
        def __sklearn_tags__(self) -> Tags: ...

    class TransformerMixin:
        """What transforms; a frame comes out where `set_output` asks for one."""

        def fit_transform(
            self, X: Any, y: Any = None, **fit_params: Any
        ) -> NDArray: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...

    class _NamesMixin:
        def get_feature_names_out(self, input_features: Any = None) -> NDArray: ...

    class ClassNamePrefixFeaturesOutMixin(_NamesMixin):
        """What names its outputs by its class."""

    class OneToOneFeatureMixin(_NamesMixin):
        """What has an output for each column."""

    class OutlierMixin:
        """What tells anomalies from other rows."""

        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> NDArray: ...

    class RegressorMixin:
        """What predicts numbers."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float: ...
else:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        OutlierMixin,
        RegressorMixin,
        TransformerMixin,
        _fit_context,
    )

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "OneToOneFeatureMixin",
    "OutlierMixin",
    "RegressorMixin",
    "TransformerMixin",
    "_fit_context",
]
