"""Checkpoints: a training that is killed can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._runtime import current_job, differences, from_rank, is_main, load_tensors, save_tensors

_FORMAT = "mtlue run 1"
# Seconds after which an epoch that still runs is kept.
_EVERY = 600.0


class OtherRunError(ValueError):
    """A checkpoint belongs to another run.

    Attributes:
        changed: Names of the settings that differ.
    """

    def __init__(self, message: str, changed: list[str]) -> None:
        super().__init__(message)
        self.changed = changed


class Checkpoint:
    """The state of a run after its last epoch, or within a long one, in one file. Without a path nothing is kept.

    In a call that several ranks make together, rank 0 reads and writes the file.

    Args:
        path: The file, or None.
        settings: What determines the result of the run. A file with other settings is refused.

    Raises:
        FileNotFoundError: the folder of the file does not exist.
    """

    def __init__(self, path: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> None:
        #: The file, or None.
        self.path = None if path is None or (current_job() is not None and not is_main()) else Path(path)
        if self.path is not None and not self.path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint: the folder {self.path.parent} does not exist; make it first")
        self._settings = dict(settings)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Read the state that `save` wrote, or return None if there is no file.

        Raises what reading the file raises: `OtherRunError` if it belongs to a run with other settings, ``ValueError`` if it is
        damaged.
        """
        state: dict[str, Any] | None = from_rank(0, self._read)
        return state

    def _read(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.exists():
            return None
        content = load_tensors(self.path, argument="checkpoint", what="a checkpoint of mtlue")
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"checkpoint: {self.path} is not a checkpoint of mtlue")
        absent = [name for name in ("settings", "state") if not isinstance(content.get(name), dict)]
        if absent:
            raise ValueError(f"checkpoint: {self.path} is damaged: it has no entry {absent[0]!r}")
        with self.taking_up():
            changed = differences(content["settings"], self._settings)
        if changed:
            told = "; ".join(changed.values())
            raise OtherRunError(f"checkpoint: {self.path} belongs to a run with other arguments ({told})", list(changed))
        state: dict[str, Any] = content["state"]
        return state

    @contextmanager
    def taking_up(self) -> Iterator[None]:
        """Add the name of the file to the error if a state does not fit.

        Raises:
            ValueError: the state does not fit.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, RuntimeError, ValueError, ArithmeticError) as error:
            reason = f"it has no entry {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"checkpoint: {self.path} is damaged and cannot be resumed: {reason}") from error

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one step."""
        if self.path is not None:
            save_tensors({"format": _FORMAT, "settings": self._settings, "state": dict(state)}, self.path)
            self._saved = time.monotonic()

    def due(self) -> bool:
        """Return whether the file is so old that a run should not wait for the end of an epoch."""
        return self.path is not None and time.monotonic() - self._saved >= _EVERY


def count_in(state: Mapping[str, Any], name: str, *, minimum: int = 0) -> int:
    """Read a count from a state.

    Raises:
        KeyError: the state has no entry of this name.
        ValueError: the entry is not a count, or is too small.
    """
    value = state[name]
    if type(value) is not int or value < minimum:
        raise ValueError(f"{name} is {value!r}, expected an integer of at least {minimum}")
    return value


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore an optimiser from its state.

    Raises:
        ValueError: the state belongs to other parameters.
    """
    optimizer.load_state_dict(dict(state))
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, but its parameter has {tuple(parameter.shape)}")
