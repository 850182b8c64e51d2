"""A call that writes files, and what is to be said of the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The name of what a call writes, in a folder that is empty but for what was prepared.
RESULT = "result"


def _nothing(folder: Path) -> None:
    """There is nothing to prepare."""


def files_below(folder: Path) -> dict[str, Any]:
    """The content of all files below a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@dataclass(frozen=True)
class Verb:
    """A call that writes.

    Attributes:
        name: What it is called.
        run: Calls it, to write to `RESULT` in a folder; gives what it returned, in a form that can be compared.
        prepare: Puts into the folder what has to be there before.
        read: What is in the folder after a call that ended, in a form that can be compared.
        done: What a repeated call may say where the one that was killed had nothing more to do but remove an empty folder.
        valid: Whether what lies at `RESULT` after a call that was broken off is of use; by default it is whole or not there.
    """

    name: str
    run: Callable[[Path], Any]
    prepare: Callable[[Path], None] = _nothing
    read: Callable[[Path], dict[str, Any]] = files_below
    done: str | None = None
    valid: Callable[[Path], bool] | None = None

    def is_well(self, folder: Path, before: dict[str, Any], whole: dict[str, Any]) -> bool:
        """Whether what a broken call left at the final path is the old content, the new one, or something valid."""
        if self.valid is not None:
            return self.valid(folder)
        return _results(files_below(folder)) in (_results(before), _results(whole))


def _results(files: dict[str, Any]) -> dict[str, Any]:
    return {name: content for name, content in files.items() if name.partition("/")[0] == RESULT}
