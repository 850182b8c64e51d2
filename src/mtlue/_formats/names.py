"""Names of tasks that become columns and folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from mtlue._tasks import Task

# Characters that some system refuses in file names, and names that Windows reserves.
_FORBIDDEN = set('/\\:*?"<>|')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
_LONGEST = 200


def check_names(tasks: Mapping[str, Task], *, taken: Iterable[str] = ()) -> None:
    """Refuse names of tasks that could not be read again, before anything is written.

    Args:
        tasks: Tasks by name. A task with classes becomes a column, one with label maps a folder.
        taken: Names of columns that do not belong to a task.

    Raises:
        ValueError: some names are refused. The message lists all of them.
    """
    faults = []
    columns, folders = dict.fromkeys(taken, "the images"), dict[str, str]()
    for name, task in tasks.items():
        fault = _folder_fault(name) if task.is_map else _column_fault(name)
        # Some file systems ignore case, and some decompose letters.
        key = unicodedata.normalize("NFC", name).casefold() if task.is_map else name
        others = folders if task.is_map else columns
        if fault is None and key in others:
            fault = f"would share a {'folder' if task.is_map else 'column'} with {others[key]}"
        others.setdefault(key, f"task {name!r}")
        if fault is not None:
            faults.append(f"task {name!r} {fault}")
    if faults:
        raise ValueError(f"tasks: cannot be written: {'; '.join(faults)}; protect the set again with other names")


def _column_fault(name: str) -> str | None:
    if not name:
        return "has an empty name, which a table would lose"
    if name != name.strip() or not _printable(name):
        return "has white space at an end, or a character that cannot be printed"
    return None


def _folder_fault(name: str) -> str | None:
    if _column_fault(name) is not None or name.endswith(".") or _FORBIDDEN & set(name) or len(name.encode()) > _LONGEST:
        return "has label maps, and its name cannot name a folder on every system"
    return "has label maps, and Windows reserves that name" if name.partition(".")[0].casefold() in _RESERVED else None


def _printable(name: str) -> bool:
    # A lone surrogate cannot be written in UTF-8. A line break would break the table for some readers.
    return all(unicodedata.category(letter) not in {"Cc", "Cs", "Zl", "Zp"} for letter in name)
