"""scikit-learn's callbacks, from its version 1.9 on: each epoch is a sub-task of a fit.

Those of skorch are a net's own, and the parameter `callbacks`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

if TYPE_CHECKING:
    from typing_extensions import Self

    class CallbackSupportMixin:
        """What can be watched while it is fitted."""

        def set_callbacks(self, *callbacks: Any) -> Self: ...

    def with_callbacks(method: Method) -> Method: ...
else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:  # scikit-learn < 1.9

        class CallbackSupportMixin:
            """Nothing to support."""

        def with_callbacks(method: Method) -> Method:
            """Return the method as it is."""
            return method


__all__ = ["UNWATCHED", "CallbackSupportMixin", "FitTask", "with_callbacks"]


class FitTask:
    """A fit as callbacks see it.

    A callback may ask for an estimator as it would be if the fit stopped after an
    epoch. It is made only then.

    Parameters
    ----------
    estimator : estimator
        With `set_callbacks`, and ``_publish`` for what a fit has found out.
    X, y : any
        What is fitted.
    **metadata : any
        What else `fit` was given.

    Attributes
    ----------
    so_far : callable or None
        Returns the arguments of ``_publish``, given what is trained. None: there would
        be no estimator yet.
    is_watched : bool
        Whether there are callbacks; if not, nothing is done.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, **metadata: Any) -> None:
        self.so_far: Callable[[Any], tuple[Any, ...]] | None = None
        with_own = hasattr(estimator, "_skl_callbacks")
        self.is_watched = with_own or hasattr(estimator, "_parent_callback_ctx")
        self._estimator = estimator
        self._given = {"X": X, "y": y, "metadata": metadata}
        self._context: Any = None
        self._epoch: Any = None

    def begin(self, n_subtasks: int) -> None:
        """Tell that the fit begins, and has so many sub-tasks at most."""
        if not self.is_watched:
            return
        start = self._estimator._init_callback_context
        self._context = start(max_subtasks=n_subtasks)
        self._context.call_on_fit_task_begin(estimator=self._estimator, **self._given)

    def end(self) -> None:
        """Tell that the fit has ended, and what it has found out."""
        if not self.is_watched:
            return
        if self._context is None:
            self.begin(0)
        self._end(self._context, dict)  # no attribute is missing

    @contextmanager
    def of_part(self, part: Any) -> Iterator[None]:
        """Make the fit of an estimator that this one is made of the only sub-task."""
        if not self.is_watched:
            yield
            return
        self.begin(1)
        context = self._context.subcontext(task_name=f"fit-{type(part).__name__}")
        with context.propagate_callback_context(part):
            context.call_on_fit_task_begin(estimator=self._estimator, **self._given)
            yield
            self._end(context, lambda: None)

    def begin_epoch(self) -> None:
        """Tell that an epoch begins."""
        if not self.is_watched:
            return
        self._epoch = self._context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._given)

    def end_epoch(self, trained: Any) -> bool:
        """Tell that an epoch has ended; return whether a callback asks to stop."""
        if not self.is_watched:
            return False
        return self._end(self._epoch, lambda: self._fitted(trained))

    def _end(self, context: Any, found: Callable[[], dict[str, Any] | None]) -> bool:
        how = {**self._given, "reconstruction_attributes": found}
        return bool(context.call_on_fit_task_end(estimator=self._estimator, **how))

    def _fitted(self, trained: Any) -> dict[str, Any] | None:
        """Return the attributes of the estimator, if it were fitted now."""
        if self.so_far is None:
            return None
        fitted = copy.copy(self._estimator)
        fitted.verbose = False
        fitted._publish(*self.so_far(trained))
        return {k: v for k, v in vars(fitted).items() if k != "verbose"}


UNWATCHED = FitTask(None, None, None)
