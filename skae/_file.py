"""Files of fitted estimators that run no code when they are loaded.

One file in the format of safetensors: the arrays, and in its header all else as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._plain import NAMED, NotPlainError, PlainReader, PlainWriter
from ._sklearn import BaseEstimator
from ._step import usual_settings
from .exceptions import LoadError

# What a file holds, and how: raised whenever older files can no longer be read.
FORMAT = "skae 12"


class StoredEstimator(BaseEstimator):
    """An estimator that can be stored without code, by :meth:`save` and by skops."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Store the fitted estimator in a file that :func:`skae.load` reads.

        The file holds no code: in the format of safetensors, it has weights and other
        arrays, and parameters and all else as JSON in its header. There is no training
        data in it (but for rows among which neighbours are looked for, and tokens and
        n-grams of texts), and no state of an optimizer: ``partial_fit`` of what is
        loaded, where there is one, goes on with a new one.

        Parameters
        ----------
        path : str or path-like
            A file there is overwritten, as a whole or not at all, and keeps its
            permissions.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If a parameter is neither plain data, nor a class or function that a module
            has under its name, nor an instance of such a class: a lambda, a partial or
            a bound method.
        ImportError
            Without the extra ``skae[safetensors]``.
        OSError
            If the file cannot be written or is no regular one, and IsADirectoryError
            if there is a folder.
        TypeError
            If `path` is neither a string or bytes nor path-like.

        Warns
        -----
        UserWarning
            If there are `callbacks`: they are not stored.

        Examples
        --------
        >>> import tempfile, os
        >>> import numpy as np
        >>> import skae
        >>> X = np.random.default_rng(0).normal(size=(50, 4))
        >>> model = skae.AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.safetensors")
        ...     model.save(path)
        ...     loaded = skae.load(path)
        >>> bool((loaded.transform(X) == model.transform(X)).all())
        True
        """
        check_is_fitted(self)
        name = os.fsdecode(checked_path(path))
        target = os.path.realpath(name)  # not the link to it
        if os.path.isdir(target) or name.endswith(os.sep):
            raise IsADirectoryError(f"path={path!r} is a folder: name a file in it.")
        if os.path.exists(target) and not os.path.isfile(target):
            raise OSError(f"path={path!r} is no regular file: name one, or a new one.")
        if not os.path.isdir(os.path.dirname(target)):
            raise FileNotFoundError(
                f"path={path!r} is in a folder that does not exist."
            )
        as_bytes = _of_safetensors("save", "save")
        writer = PlainWriter()
        model = json.dumps(writer.write(self, type(self).__name__), allow_nan=False)
        if writer.left_out:
            warnings.warn(
                f"The callbacks {writer.left_out} are not stored: set them again in "
                "what is loaded.",
                stacklevel=2,
            )
        header = {
            "format": FORMAT,
            "written_by": f"skae {version()}",
            "model": model,
            "sha256": digest(model, writer.arrays),
        }
        replace_file(target, as_bytes(writer.arrays, header))

    # What a copy is made of

    def _copied(self) -> dict[str, Any]:
        """Return the attributes that make up a copy."""
        return self.__dict__.copy()

    def _stored(self) -> dict[str, Any]:
        """Return the same without what only training goes on with."""
        return self._copied()

    def _take(self, attributes: dict[str, Any]) -> None:
        """Become the copy that is made of them."""
        self.__dict__.update(attributes)

    def _try_out(self) -> None:
        """Raise any error if attributes do not belong together."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Return what pickle and copy make a copy of: everything."""
        return _new, (type(self),), self._copied()

    def __getstate__(self) -> dict[str, Any]:
        """Return what skops makes a copy of: parameters, and plain data."""
        attributes = self._stored()
        names = [name for name in self._get_param_names() if name in attributes]
        params = {name: attributes.pop(name) for name in names}
        writer = PlainWriter()
        fitted = json.dumps(writer.write(attributes, type(self).__name__))
        foreign = list(writer.foreign.values())
        state = {"params": params, "fitted": fitted, "arrays": writer.arrays}
        return {**state, "foreign": foreign}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, by pickle's data or by those of skops."""
        if "fitted" not in state:
            return self._take(state)
        reader = PlainReader(state["arrays"], state["foreign"])
        return self._take(
            {**state["params"], **reader.read(json.loads(state["fitted"]))}
        )


def checked_path(path: Any) -> Any:
    """Raise a TypeError for anything but the name of a file."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path={path!r}: use the name of a file, or a pathlib.Path.")
    return path


def replace_file(target: str, content: bytes) -> None:
    """Write a file as a whole or not at all; one that is there keeps its permissions.

    Of several writers the last one wins.
    """
    partial = Path(target).with_name(f"{uuid4().hex}.partial")
    try:
        with open(partial, "xb") as file:
            if os.path.exists(target):
                os.chmod(partial, stat.S_IMODE(os.stat(target).st_mode))
            file.write(content)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _new(kind: type[StoredEstimator]) -> StoredEstimator:
    return kind.__new__(kind)


def load(path: str | os.PathLike[str], *, trusted: Iterable[Any] = ()) -> Any:
    """Load an estimator that its method `save` has stored.

    Nothing in the file is run or imported: it names classes of skae and layers of
    torch, and those that are `trusted`. What was trained on a GPU is loaded on the CPU
    where there is none.

    Parameters
    ----------
    path : str or path-like
    trusted : iterable of classes and functions, default=()
        Your own ones that the estimator was given, or that its networks are made of.
        They are known by module and name, those of a notebook or script by name.

    Returns
    -------
    object
        The fitted estimator.

    Raises
    ------
    skae.exceptions.LoadError
        If the file is damaged, or not one of skae's; if another version of skae has
        written it in another way; or if it names a class or a function that is not
        `trusted`. It is a ValueError.
    TypeError
        If `trusted` holds anything else.
    OSError
        If the file cannot be opened.
    ImportError
        Without the extra ``skae[safetensors]``.

    See Also
    --------
    skae.AutoencoderTransformer.save : Has an example.
    """
    safe_open = _of_safetensors("safe_open", "load")
    trusted = _checked_trusted(trusted)
    path = os.fsdecode(checked_path(path))
    with open(path, "rb"):
        pass  # an OSError says what there is to say
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except Exception as error:  # whatever is said of a damaged file
        raise LoadError(f"{path} is damaged, or no file of skae: {error}.") from error
    if header.get("format") != FORMAT:
        found = header.get("format", "none")
        raise LoadError(
            f"{path} has the format {found!r}, written by "
            f"{header.get('written_by', 'another program')}: skae {version()} reads "
            f"{FORMAT!r}. Load it with the version that wrote it, or fit again."
        )
    model = header.get("model", "")
    if header.get("sha256") != digest(model, arrays):
        raise LoadError(f"{path} is damaged: its checksum is not that of its content.")
    try:
        with usual_settings():
            estimator = PlainReader(arrays, trusted).read(json.loads(model))
        if not isinstance(estimator, StoredEstimator):
            raise NotPlainError(f"it holds no estimator, but {estimator!r}")
        check_is_fitted(estimator)
        estimator._try_out()
    except NotPlainError as error:
        raise LoadError(f"{path}: {error}.") from error
    except Exception as error:  # by data that nobody has written as they are
        raise LoadError(f"{path} does not hold an estimator: {error!r}.") from error
    return estimator


def _checked_trusted(trusted: Any) -> list[Any]:
    """Return classes and functions as a list."""
    is_list = isinstance(trusted, Iterable) and not isinstance(trusted, str | type)
    kinds = list(trusted) if is_list else trusted
    if not is_list or not all(isinstance(kind, NAMED) for kind in kinds):
        raise TypeError(
            f"trusted={kinds!r}: use a list of classes and functions themselves, as in "
            "trusted=[MyModule]."
        )
    return kinds


def digest(model: str, arrays: Mapping[str, NDArray]) -> str:
    """Return the checksum of a header's JSON and of arrays."""
    sha256 = hashlib.sha256(model.encode())
    for name in sorted(arrays):
        array = np.require(arrays[name], requirements="C")
        sha256.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha256.update(array.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def version() -> str:
    """Return the version of skae."""
    from . import __version__

    return __version__


def _of_safetensors(name: str, function: str) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            f"{function} needs the extra skae[safetensors]: python -m pip install "
            '"skae[safetensors]".'
        ) from error
    return getattr(safetensors.numpy, name)
