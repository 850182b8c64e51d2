"""The manifest of a store or an export: what it states about its files, and whether that is true."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mtlue._runtime import file_named
from mtlue._tasks import Task, tasks_from_config

#: The name of an export's manifest.
EXPORT_MANIFEST = "mtlue.json"
_CHUNK = 2**20


class Fields:
    """The entries of a JSON object. Each is read as the kind that is expected.

    Args:
        name: Its name in messages.
        content: The object.
    """

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self.name, self.content = name, content

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Read a JSON file. Raises what `read_json` raises."""
        return cls(path.name, read_json(path))

    def check(self, format: str, *older: str) -> None:
        """Refuse a file of another format, or one that does not match its own checksum.

        Raises:
            ValueError: the file is refused.
        """
        if self.text("format") not in (format, *older):
            raise ValueError(f"its format is {self.text('format')!r}, expected {format!r}")
        if self.text("sha256") != _own_sha256(self.content):
            raise ValueError(f"{self.name} does not have the expected checksum: it was changed")

    def _entry(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        if name not in self.content:
            raise ValueError(f"{self.name} has no entry {name!r}")
        value = self.content[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(name, expected)
        return value

    def wrong(self, name: str, expected: str) -> ValueError:
        """Return the error for an invalid entry."""
        return ValueError(f"{self.name}: {name} is {str(self.content[name])[:100]!r}, expected {expected}")

    def text(self, name: str) -> str:
        """Return an entry that is a string."""
        return str(self._entry(name, str, "a string"))

    def count(self, name: str) -> int:
        """Return an entry that is a count."""
        value: int = self._entry(name, int, "an integer that is not negative")
        if not 0 <= value < 2**62:
            raise self.wrong(name, "an integer that is not negative")
        return value

    def share(self, name: str) -> float:
        """Return an entry that is a number in [0, 1]."""
        value = self._entry(name, (int, float), "a number in [0, 1]")
        if not 0 <= value <= 1:  # nor is NaN
            raise self.wrong(name, "a number in [0, 1]")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an entry that is an object."""
        return dict(self._entry(name, dict, "an object"))

    def items(self, name: str) -> list[Any]:
        """Return an entry that is a list."""
        return list(self._entry(name, list, "a list"))

    def files(self) -> dict[str, tuple[int, str]]:
        """Return bytes and SHA-256 of each file. All files lie inside the folder.

        Raises:
            ValueError: an entry has another form.
        """
        files = {}
        for name, entry in self.mapping("files").items():
            well = isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
            if not well or not _lies_inside(name):
                raise ValueError(f"{self.name}: files has the entry {name!r}: {str(entry)[:100]}, expected bytes and sha256")
            files[name] = entry["bytes"], entry["sha256"]
        return files

    def moves(self) -> list[tuple[str, str]]:
        """Return which file goes where. All lie inside their folders.

        Raises:
            ValueError: an entry has another form.
        """
        moves = self.items("moves")
        if not all(isinstance(move, list) and len(move) == 2 and all(map(_lies_inside, move)) for move in moves):
            raise self.wrong("moves", "pairs of files inside the folder")
        return [(source, name) for source, name in moves]


def exported_tasks(folder: Path) -> dict[str, Task]:
    """Return the tasks of the export in a folder, none if there is no export.

    Raises:
        ValueError: the manifest is damaged, or has a kind of task that is not defined in this process.
    """
    path = folder / EXPORT_MANIFEST
    return tasks_from_config(Fields.read(path).items("tasks")) if path.is_file() else {}


def _lies_inside(name: object) -> bool:
    """Return whether this names something inside a folder, on any system."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file.

    Raises:
        ValueError: it does not hold a JSON object.
    """
    try:
        with file_named(path):
            content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is damaged: it does not hold a JSON object")
    return content


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with a checksum of itself."""
    return {**content, "sha256": _own_sha256(content)}


def _own_sha256(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def file_entry(path: Path, *, sync: bool = False) -> dict[str, Any]:
    """Return a manifest's entry for a file.

    Args:
        path: The file.
        sync: Whether to force the file onto the disk first.
    """
    digest = hashlib.sha256()
    with file_named(path), path.open("rb+" if sync else "rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def file_fault(path: Path, name: str, expected: tuple[int, str]) -> str | None:
    """Describe how a file differs from its manifest, or return None."""
    size, digest = expected
    fault = size_fault(path, name, size)
    if fault is None and file_entry(path)["sha256"] != digest:
        return f"{name} does not have the expected checksum: it was changed"
    return fault


def size_fault(path: Path, name: str, size: int) -> str | None:
    """Describe how the size of a file differs from its manifest, or return None."""
    if not path.is_file():
        return f"{name} is missing"
    found = path.stat().st_size
    return None if found == size else f"{name} has {found} bytes, expected {size}: it is truncated or was changed"


def files_in(folder: Path) -> Iterator[str]:
    """List all files of a folder, and anything else that is not a folder, as a manifest names them, in order."""
    yield from sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )
