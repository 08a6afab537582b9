"""Objects as plain data: JSON and arrays, without code.

A pickle may call anything. Here an object is its class and its attributes, and a class
is one of skae's, of torch's layers, or one that the reader passes itself: a name in the
data is looked up, and never imported.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.decomposition import IncrementalPCA
from sklearn.impute import MissingIndicator
from sklearn.utils._metadata_requests import MetadataRequest, MethodMetadataRequest
from skorch import NeuralNet
from torch import nn

from ._net import AutoencoderNet
from ._parameters import device_or_cpu

# Classes of others that an estimator may have instances of, or call (`analyzer=list`).
OTHERS = (
    list,
    set,
    str,
    tuple,
    IncrementalPCA,
    MetadataRequest,
    MethodMetadataRequest,
    MissingIndicator,
    SimpleNamespace,
)
# Where torch has layers and optimizers.
PACKAGES = {"torch.nn": nn, "torch.optim": torch.optim}
# What a net says of a training, beside its history.
FOUND_BY_NET = ("best_iter_", "best_loss_", "valid_losses_")
# What is stored by its name alone.
NAMED = (type, FunctionType, BuiltinFunctionType)
SEQUENCES: dict[str, Any] = {k.__name__: k for k in (tuple, set, frozenset)}


class NotPlainError(ValueError):
    """What no plain data can stand for, or data that stand for nothing."""


def name_of(kind: Any) -> str:
    """Return the name that a class or a function has in plain data."""
    if isinstance(kind, type):
        last = kind.__name__
        for name, package in PACKAGES.items():
            if vars(package).get(last) is kind:
                return f"{name}.{last}"
    return f"{kind.__module__}.{kind.__qualname__}"


def pandas_na() -> Any:
    """Return ``pandas.NA``, or None where pandas is not imported."""
    return getattr(sys.modules.get("pandas"), "NA", None)


def own_classes() -> dict[str, type]:
    """Return the classes that plain data may name, those of torch left out."""
    from . import text  # noqa: F401  its classes too

    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "skae"]
    found = {v for m in modules for v in vars(m).values() if isinstance(v, type)}
    own = {kind for kind in found if kind.__module__.split(".")[0] == "skae"}
    return {name_of(kind): kind for kind in (*own, *OTHERS)}


def is_of_torch(name: str, kind: Any) -> bool:
    """Whether this is a layer or an optimizer of torch, under its own name."""
    parts = nn.Module, torch.optim.Optimizer
    is_one = isinstance(kind, type) and issubclass(kind, parts)
    return is_one and name == name_of(kind) and name.startswith("torch.")


class PlainWriter:
    """Turns objects into JSON and arrays.

    Attributes
    ----------
    arrays : dict of str to ndarray
        What the JSON names.
    foreign : dict of str to class or function
        Those that the reader will have to pass.
    left_out : list
        Callbacks, which watch a training and are no part of what it made.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}
        self.foreign: dict[str, Any] = {}
        self.left_out: list[Any] = []
        self._own = own_classes()
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # of what is gone, another object gets the id

    def write(self, value: Any, where: str) -> Any:
        """Return what stands for an object.

        Parameters
        ----------
        value : object
        where : str
            What to call it in an error.

        Raises
        ------
        NotPlainError
            If nothing can.
        """
        if value is None or type(value) in (str, bool, int):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"is": "float", "of": str(value)}
        if type(value) is list:
            return self._parts(value, where)
        if type(value) in SEQUENCES.values():
            return {"is": type(value).__name__, "of": self._parts(value, where)}
        if isinstance(value, torch.Size):
            return self.write(tuple(value), where)
        if isinstance(value, dict):
            keys = self._parts(value, where)
            values = [self.write(v, f"{where}[{k!r}]") for k, v in value.items()]
            return {"is": "dict", "of": [keys, values]}
        if isinstance(value, np.dtype):
            return {"is": "numpy.dtype", "of": value.str}
        if isinstance(value, torch.dtype | torch.device):
            return {"is": f"torch.{type(value).__name__}", "of": str(value)}
        if value is pandas_na():
            return {"is": "pandas.NA", "of": None}
        if isinstance(value, NAMED):
            return {"is": "class", "of": self._name(value, where, value)}
        if id(value) in self._numbers:
            return {"is": "same", "of": self._numbers[id(value)]}
        number = self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        return {"number": number, **self._object(value, where)}

    def _parts(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.write(value, f"{where}[{i}]") for i, value in enumerate(values)]

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        """Return what stands for something that may be met again."""
        if isinstance(value, np.generic):
            return {"is": "scalar", "of": self.write(np.asarray(value), where)}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, torch.Tensor):
            of = self._named(value.detach().cpu().numpy())
            learns = value.requires_grad if isinstance(value, nn.Parameter) else None
            return {"is": "tensor", "of": of, "learns": learns}
        if isinstance(value, RandomState):
            return {"is": "random_state", "of": self.write(value.get_state(), where)}
        if isinstance(value, AutoencoderNet):
            return {"is": "net", "of": self.write(net_state(value), where)}
        state = own_state(value)
        if state is None or not is_made_empty(type(value)):
            raise _not_plain(where, value)
        state = self._without_callbacks(state)
        name = self._name(type(value), where, value)
        parts = {key: self.write(v, f"{where}.{key}") for key, v in state.items()}
        return {"is": "object", "class": name, "of": parts}

    def _without_callbacks(self, state: dict[str, Any]) -> dict[str, Any]:
        for name in ("callbacks", "_skl_callbacks"):
            watching = state.get(name) or ()
            self.left_out += [c for c in watching if c not in self.left_out]
        if state.get("callbacks"):
            state = {**state, "callbacks": None}
        return {k: v for k, v in state.items() if k != "_skl_callbacks"}

    def _array(self, value: NDArray, where: str) -> dict[str, Any]:
        if value.dtype.kind in "biuf":
            if value.flags.f_contiguous and value.ndim > 1:  # products round by it
                return {"is": "transposed", "of": self._named(value.T)}
            return {"is": "array", "of": self._named(value)}
        if value.dtype.kind in "mM":
            ticks = self._named(value.astype(np.int64))
            return {"is": "array", "of": ticks, "dtype": value.dtype.str}
        if value.dtype.kind in "OU" and value.ndim == 1:
            parts = self._parts(value.tolist(), where)
            return {"is": "objects", "of": parts, "kind": value.dtype.kind}
        raise _not_plain(where, value)

    def _named(self, array: NDArray) -> str:
        name = str(len(self.arrays))
        self.arrays[name] = np.array(array, order="C", subok=False)
        return name

    def _name(self, kind: Any, where: str, value: Any) -> str:
        name = name_of(kind)
        if self._own.get(name) is kind or is_of_torch(name, kind):
            return name
        if "<" in name or kind.__module__ is None:  # where nobody finds it again
            raise _not_plain(where, value)
        self.foreign[name] = kind
        return name


def _not_plain(where: str, value: Any) -> NotPlainError:
    return NotPlainError(
        f"{where}={value!r} cannot be stored without code: use numbers, strings, "
        "classes or functions that a module has under their names, and instances of "
        "such classes, which may have a __call__; or store the estimator with its "
        "code, by cloudpickle.dump."
    )


def is_made_empty(kind: Any) -> bool:
    """Whether a reader can make an instance whose attributes are set afterwards.

    What a partial or a bound method calls is none of its attributes.
    """
    try:
        kind.__new__(kind)
    except Exception:  # whatever a class of others says
        return False
    return True


def own_state(value: Any) -> dict[str, Any] | None:
    """Return the attributes that stand for an object, if it has any."""
    if hasattr(value, "_stored"):  # an estimator, whose __getstate__ is plain already
        return value._stored()
    if not hasattr(value, "__dict__") or isinstance(value, NeuralNet):
        return None
    default = getattr(object, "__getstate__", None)  # from Python 3.11 on
    get_state = getattr(type(value), "__getstate__", default)
    state = value.__dict__ if get_state is default else value.__getstate__()
    if not isinstance(value, nn.Module) or not isinstance(state, dict):
        return state if isinstance(state, dict) else None
    usual = nn.Module().__dict__  # many lists of hooks, all empty
    return {k: v for k, v in state.items() if k not in usual or k == "training" or v}


def net_state(net: AutoencoderNet) -> dict[str, Any]:
    """Return what a net is made of, without its optimizer's state and callbacks."""
    defaults = {
        name: parameter.default
        for kind in (NeuralNet, AutoencoderNet)
        for name, parameter in inspect.signature(kind).parameters.items()
    }
    # No rows are split by skorch, and the copy of a split does not equal the default.
    apart = ("module", "criterion", "callbacks", "kwargs", "train_split")
    settings = {
        name: value
        for name, value in net.__dict__.items()
        if name.split("__")[0] in defaults
        and name.split("__")[0] not in apart
        and not (name in defaults and defaults[name] == value)
    }
    epochs = [
        {name: value for name, value in epoch.items() if name != "batches"}
        for epoch in net.history.to_list()
    ]
    found = {name: getattr(net, name) for name in FOUND_BY_NET if hasattr(net, name)}
    state = {"class": type(net), "module": net.module_, "criterion": net.criterion_}
    return {**state, "settings": settings, "epochs": epochs, "found": found}


class PlainReader:
    """Turns JSON and arrays into objects again.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    trusted : iterable of classes and functions
        What the data may name, besides what is of skae or torch.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray], trusted: Iterable[Any] = ()
    ) -> None:
        self._arrays = arrays
        self._classes: dict[str, Any] = own_classes()
        for kind in trusted:  # in a notebook it was another module's, or now is
            in_notebook = f"__main__.{kind.__qualname__}"
            self._classes |= {name_of(kind): kind, in_notebook: kind}
        self._met: dict[int, Any] = {}

    def read(self, plain: Any) -> Any:
        """Return the object that plain data stand for.

        Raises
        ------
        NotPlainError
            If they name a class that is not known. Data that were not written by a
            :class:`PlainWriter` may raise other errors, but no code of theirs runs.
        """
        if plain is None or isinstance(plain, str | bool | int | float):
            return plain
        if isinstance(plain, list):
            return [self.read(part) for part in plain]
        if plain["is"] == "same":
            return self._met[plain["of"]]
        value = self._read(plain["is"], plain["of"], plain)
        if "number" in plain:
            self._met[plain["number"]] = value
        return value

    def _read(self, what: str, of: Any, plain: dict[str, Any]) -> Any:
        match what:
            case "float":
                return float(of)
            case "tuple" | "set" | "frozenset":
                return SEQUENCES[what](self.read(of))
            case "dict":
                return dict(zip(*map(self.read, of), strict=True))
            case "class":
                return self._class(of)
            case "object":
                return self._object(
                    self._class(plain["class"]), of, plain.get("number")
                )
            case "net":
                return self._net(**self.read(of))
            case "array":
                array = np.array(self._arrays[of])
                return array.view(plain["dtype"]) if "dtype" in plain else array
            case "transposed":
                return np.array(self._arrays[of]).T
            case "scalar":
                return self.read(of)[()]
            case "objects":
                array = np.empty(len(of), dtype=object)
                array[:] = self.read(of)
                return array.astype(str) if plain["kind"] == "U" else array
            case "tensor":
                tensor = torch.from_numpy(np.array(self._arrays[of]))
                learns = plain["learns"]
                return tensor if learns is None else nn.Parameter(tensor, bool(learns))
            case "random_state":
                rng = RandomState()
                rng.set_state(self.read(of))
                return rng
            case "numpy.dtype":
                return np.dtype(of)
            case "pandas.NA" if pandas_na() is not None:
                return pandas_na()
            case "torch.device":
                return torch.device(of)
            case "torch.dtype":
                dtype = getattr(torch, of.removeprefix("torch."), None)
                if isinstance(dtype, torch.dtype):
                    return dtype
        here = " where pandas is not imported" if what == "pandas.NA" else ""
        raise NotPlainError(f"{what!r} stands for nothing{here}")

    def _class(self, name: str) -> Any:
        kind = self._classes.get(name)
        if kind is not None:
            return kind
        package, _, last = name.rpartition(".")
        kind = getattr(PACKAGES.get(package), last, None)
        if not is_of_torch(name, kind):
            raise NotPlainError(
                f"{name} is not of skae: if it is yours, import it, and pass it in "
                "trusted=[...]"
            )
        return kind

    def _object(self, kind: Any, attributes: dict[str, Any], number: Any) -> Any:
        if not isinstance(kind, type) or issubclass(kind, NeuralNet):
            raise NotPlainError(f"{name_of(kind)} has no instances in plain data")
        new: Any = kind.__new__
        value = self._met[number] = new(kind)  # which its parts may refer to
        if isinstance(value, nn.Module):
            nn.Module.__init__(value)
        state = {name: self.read(part) for name, part in attributes.items()}
        if (
            isinstance(value, nn.RNNBase)
            and type(state["_all_weights"][0][0]) is not str
        ):
            raise NotPlainError("a recurrent layer has weights without names")
        if hasattr(value, "_take"):
            value._take(state)
        elif hasattr(value, "__setstate__"):
            value.__setstate__(state)
        else:
            value.__dict__.update(state)
        return value

    def _net(self, **state: Any) -> AutoencoderNet:
        settings, kind = state["settings"], state["class"]
        if not issubclass(kind, AutoencoderNet):
            raise NotPlainError(f"{name_of(kind)} is no net")
        settings["device"] = str(device_or_cpu(settings.get("device", "cpu")))
        net = kind(state["module"], state["criterion"], **settings).initialize()
        net.module_.eval()
        for epoch in state["epochs"]:
            net.history.new_epoch()
            for name, value in epoch.items():
                net.history.record(name, value)
        net.__dict__.update(state["found"])
        return net
