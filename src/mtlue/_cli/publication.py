"""The folder that a protected set is published from: whole or not there, and a command that is repeated goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlue._formats import EXPORT_MANIFEST
from mtlue._protect import ProtectedDataset
from mtlue._runtime import remove_folder, sole_owner, write_bytes
from mtlue.datasets import ImageTable

# What the command was told; what has to be known of the store; and an entry of that: the manifest of the folder to publish.
_COMMAND, _PROTECTED, _MANIFEST = "command.json", "protected.json", "manifest"


@dataclass(frozen=True)
class Publication:
    """The folder ``<out>.partial``, in which everything lies until ``out`` is whole, and which is then gone.

    Attributes:
        out: The folder to publish.
        work: The other one.
    """

    out: Path
    work: Path

    @classmethod
    @contextmanager
    def claim(cls, out: Path, settings: Mapping[str, Any]) -> Iterator[Publication]:
        """Have both folders to oneself while this context lasts.

        Args:
            out: The folder to publish.
            settings: What the command was told; one that goes on has to be told the same.

        Yields:
            The folders.

        Raises:
            FileExistsError: ``out`` is there and not empty.
            BlockingIOError: another command is writing there.
            ValueError: another command, with other settings, has left the work.
        """
        work = out.with_name(out.name + ".partial")
        if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())) and not cls(out, work).is_published:
            raise FileExistsError(f"--out: {out} exists and is not empty; choose another folder")
        work.parent.mkdir(parents=True, exist_ok=True)
        with sole_owner(work, argument="--out"):
            work.mkdir(exist_ok=True)
            note = work / _COMMAND
            # As JSON gives them back.
            settings = json.loads(json.dumps(settings))
            if note.is_file():
                before = _read(note)
                changed = [name for name in settings if before.get(name) != settings[name]]
                if changed:
                    words = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
                    raise ValueError(f"--out: {work} was left by a command with another {words}; repeat that, or delete it")
            else:
                write_bytes(json.dumps(settings).encode(), note)
            try:
                yield cls(out, work)
            finally:
                # A command that was refused has left nothing to go on with.
                if work.is_dir() and [path.name for path in work.iterdir()] == [note.name]:
                    shutil.rmtree(work)

    @property
    def store(self) -> Path:
        """Where the protected images are before they are exported."""
        return self.work / "store"

    @property
    def finished(self) -> dict[str, Any] | None:
        """What `finish_store` noted; None before."""
        note = self.work / _PROTECTED
        return _read(note) if note.is_file() else None

    @property
    def is_published(self) -> bool:
        """Whether the folder to publish was made from this work, which a kill has left."""
        manifest = self.out / EXPORT_MANIFEST
        noted = (self.finished or {}).get(_MANIFEST)
        return noted is not None and manifest.is_file() and manifest.read_text() == noted

    def finish_store(self, note: Mapping[str, Any]) -> None:
        """Note that the store is whole, and what has to be known of it."""
        write_bytes(json.dumps(note).encode(), self.work / _PROTECTED)

    def open_store(self, dataset: ImageTable) -> ProtectedDataset[Any] | None:
        """The store that an interrupted command has finished; None where there is none."""
        # Beside an unfinished store lies what it is taken up from.
        unfinished = self.store.with_name(self.store.name + ".partial").exists()
        return ProtectedDataset.load(self.store, dataset) if self.store.exists() and not unfinished else None

    def drop_store(self) -> None:
        """Make room for another store."""
        shutil.rmtree(self.store, ignore_errors=True)

    def publish(self, export: Callable[[Path], object]) -> None:
        """Write the folder to publish, and give it its name in one step."""
        draft = self.work / "export"
        # What an interrupted command has written of it is taken up, or found whole.
        export(draft)
        self.finish_store({**(self.finished or {}), _MANIFEST: (draft / EXPORT_MANIFEST).read_text()})
        if self.out.exists():
            os.rmdir(self.out)
        os.replace(draft, self.out)

    def remove(self) -> None:
        """Remove the work; last goes the file by which a command that is repeated after a kill knows that all is done."""
        remove_folder(self.work, last=(_COMMAND, _PROTECTED))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"--out: {path.parent} is damaged and cannot be resumed ({path.name}); delete it")
    return content
