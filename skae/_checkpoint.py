"""ResumableNet: a fit that is killed goes on from its last checkpoint, bit for bit.

skorch's Checkpoint writes files of weights, optimizer and history, one after the other,
and a process may be killed between them. Whatever a fit has to know to go on as if
nothing had happened is therefore stored with the optimizer, in one file.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler
from skorch.history import History
from torch import Tensor

from ._dataset import TrainingData
from ._step import RandomNumbers

# Callbacks that go on where they were only in the same process.
STATEFUL = (LRScheduler, EarlyStopping)
# Attributes of a net that a fit goes on with, beside its weights.
PROGRESS = (
    "best_iter_",
    "best_loss_",
    "best_calibration_",
    "best_state_",
    "best_losses_",
    "start_losses_",
    "valid_losses_",
    "improved_at_",
    "averages_",
    "n_averaged_",
)


# Rows by which those of a training are recognised.
RECOGNISED_ROWS = 1000


class ResumableNet(NeuralNet):
    """A skorch net whose `fit_loop` can begin where a checkpoint of it ends."""

    asked_: dict[str, str] | None = None  # the estimator's parameters, as text
    history: Any
    numbers_: RandomNumbers
    shuffler_: torch.Generator
    start_losses_: Tensor
    progress_: dict[str, Any] | None  # of the training that is going on
    loaded_: dict[str, Any] | None  # what a callback has loaded as it began

    def save_params(self, **files: Any) -> None:
        """Save as skorch does, but so that no file is ever half-written."""
        for name, target in files.items():
            if name == "use_safetensors" or target is None:
                continue
            is_path = isinstance(target, str | os.PathLike)
            partial = f"{os.fspath(target)}.partial" if is_path else target
            safe = files.get("use_safetensors", False)
            if name == "f_optimizer" and getattr(self, "progress_", None):
                torch.save(self._progress(), partial)
            else:
                super().save_params(**{name: partial, "use_safetensors": safe})
            if is_path:
                os.replace(partial, target)

    def load_params(self, checkpoint: Any = None, **files: Any) -> None:
        """Load as skorch does; a training that begins only goes on from its own."""
        if checkpoint is None or getattr(self, "loaded_", None) is None:
            super().load_params(checkpoint=checkpoint, **files)
            return
        file, history = checkpoint.f_history_, self.history
        if file is None or checkpoint.f_optimizer is None:
            why = "Checkpoint has to save f_history and f_optimizer"
            self.loaded_ = {"file": "a checkpoint", "error": why}
            return
        try:
            self.history = History.from_file(file)  # which names of files refer to
            file = checkpoint.get_formatted_files(self)["f_optimizer"]
            state = torch.load(file, self.device, weights_only=True)
            self.loaded_ = {"file": file, **state.get("progress", {})}
        except FileNotFoundError:
            raise  # there is none yet, which LoadInitState takes as no error
        except Exception as error:  # whatever is said of a damaged file
            self.loaded_ = {"file": file, "error": f"it is damaged ({error})"}
        finally:
            self.history = history

    def _fingerprint(self, data: TrainingData, epochs: int) -> dict[str, Any]:
        """Return by what a course of training is recognised."""
        some = data.train[:: max(1, len(data.train) // RECOGNISED_ROWS)]
        weight = None if data.weight is None else data.weight[some]
        parts = *data.dataset.take_scattered(some), weight
        rows = [None if part is None else digest(part) for part in parts]
        return {
            "parameters": self.asked_,
            "rows": rows,
            "seed": self.seed,
            "sizes": [len(data.train), len(data.valid), self.batch_size],
            "epochs": [epochs, self.max_epochs, self.n_iter_no_change, self.tol],
            "optimizer_settings": self.optimizer_.defaults,
        }

    def _progress(self) -> dict[str, Any]:
        """Return the state of the optimizer, with all that a fit goes on from."""
        progress = {name: getattr(self, name) for name in PROGRESS}
        return {
            **self.optimizer_.state_dict(),
            "progress": {
                **progress,
                **(self.progress_ or {}),
                "module": self.module_.state_dict(),
                "optimizer": self.optimizer_.state_dict(),
                "numbers": self.numbers_.state,
                "shuffler": self.shuffler_.get_state(),
                "history": json.dumps(self.history.to_list()),
            },
        }

    def _resume(self, course: dict[str, Any]) -> int:
        """Go on from a checkpoint of this very training; return the epochs done."""
        loaded, self.loaded_ = getattr(self, "loaded_", None), None
        if not loaded:
            return 0
        same = {**course, "start_losses_": self.start_losses_}
        reason = loaded.get("error")
        kinds = [type(callback) for _, callback in self.callbacks_]
        if stateful := [kind.__name__ for kind in kinds if issubclass(kind, STATEFUL)]:
            reason = f"the state of {stateful[0]} is in no file"
        elif not all(_equal(loaded.get(name), value) for name, value in same.items()):
            reason = reason or (
                "it is of another fit. The data, the parameters and an integer "
                "random_state must be the same"
            )
        if reason is not None:
            warnings.warn(
                f"Training does not go on from {loaded['file']}, and starts anew: "
                f"{reason}.",
                stacklevel=2,
            )
            return 0
        self.module_.load_state_dict(loaded["module"])
        self.optimizer_.load_state_dict(loaded["optimizer"])
        self.numbers_.state = loaded["numbers"]
        self.shuffler_.set_state(loaded["shuffler"])
        self.history = History(json.loads(loaded["history"]))
        for name in PROGRESS:
            setattr(self, name, loaded[name])
        for _, callback in self.callbacks_:
            if isinstance(callback, EpochScoring):  # has its best from the history
                callback.on_train_begin(self, X=None, y=None)
        return int(loaded["done"])


def digest(values: Tensor) -> str:
    """Return what tells values from others, in their order."""
    return hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)
