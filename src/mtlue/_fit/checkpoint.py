"""A training run that survives being killed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlue._runtime.files import load_tensors, save_tensors

_FORMAT = "mtlue run 1"


class Checkpoint:
    """The state of a run after its last whole epoch, in one file; without a path it keeps nothing.

    Args:
        path: The file, or None.
        settings: What determines the result of the run. A file with other settings is refused.
    """

    def __init__(self, path: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._settings = dict(settings)

    def load(self) -> dict[str, Any] | None:
        """State that `save` wrote, or None when there is none.

        Raises:
            ValueError: the file is damaged, no checkpoint, or that of a run with other settings.
        """
        if self._path is None or not self._path.exists():
            return None
        content = load_tensors(self._path)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"checkpoint: {self._path} is not the checkpoint of a run of mtlue")
        other = content["settings"]
        changed = sorted(name for name in {*other, *self._settings} if other.get(name) != self._settings.get(name))
        if changed:
            differences = "; ".join(f"{name} was {other.get(name)!r}, is {self._settings.get(name)!r}" for name in changed)
            raise ValueError(f"checkpoint: {self._path} belongs to a run with other arguments ({differences})")
        state: dict[str, Any] = content["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file in one step."""
        if self._path is not None:
            save_tensors({"format": _FORMAT, "settings": self._settings, "state": dict(state)}, self._path)
