"""Errors and warnings of skae's own; the others are Python's and scikit-learn's."""

__all__ = ["LoadError"]


class LoadError(ValueError):
    """A file from which :func:`skae.load` can make no estimator.

    It is damaged, not one of skae's, written by another version in another way, or it
    names a class or a function that was not trusted. The message says which.

    Examples
    --------
    >>> import tempfile
    >>> import skae
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     skae.load(file.name)
    Traceback (most recent call last):
    skae.exceptions.LoadError: ... is damaged, or no file of skae: ...
    """
