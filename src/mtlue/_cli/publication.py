"""The folder to publish: complete or absent. A repeated command resumes."""

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

# What the command was told; what must be known about the store; and an entry of the latter: the manifest to publish.
_COMMAND, _PROTECTED, _MANIFEST = "command.json", "protected.json", "manifest"


@dataclass(frozen=True)
class Publication:
    """The folder ``<out>.partial``, which holds everything until ``out`` is complete, and is then removed.

    Attributes:
        out: The folder to publish.
        work: The folder ``<out>.partial``.
    """

    out: Path
    work: Path

    @classmethod
    @contextmanager
    def claim(cls, out: Path, settings: Mapping[str, Any]) -> Iterator[Publication]:
        """Reserve both folders in this context.

        Args:
            out: The folder to publish.
            settings: What the command was told. A command that resumes must be told the same.

        Yields:
            The folders.

        Raises:
            FileExistsError: ``out`` exists and is not empty.
            BlockingIOError: another command is writing there.
            ValueError: a command with other settings has left its work.
        """
        work = out.with_name(out.name + ".partial")
        if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())) and not cls(out, work).is_published:
            raise FileExistsError(f"--out: {out} exists and is not empty; choose another folder")
        work.parent.mkdir(parents=True, exist_ok=True)
        with sole_owner(work, argument="--out"):
            work.mkdir(exist_ok=True)
            note = work / _COMMAND
            # In the form in which JSON returns them.
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
                # A refused command leaves nothing to resume.
                if work.is_dir() and [path.name for path in work.iterdir()] == [note.name]:
                    shutil.rmtree(work)

    @property
    def store(self) -> Path:
        """Where protected images are kept until they are exported."""
        return self.work / "store"

    @property
    def finished(self) -> dict[str, Any] | None:
        """What `finish_store` noted. None before that."""
        note = self.work / _PROTECTED
        return _read(note) if note.is_file() else None

    @property
    def is_published(self) -> bool:
        """Return whether the folder to publish was made from this work, which a kill has left behind."""
        manifest = self.out / EXPORT_MANIFEST
        noted = (self.finished or {}).get(_MANIFEST)
        return noted is not None and manifest.is_file() and manifest.read_text() == noted

    def finish_store(self, note: Mapping[str, Any]) -> None:
        """Note that the store is complete, and what must be known about it."""
        write_bytes(json.dumps(note).encode(), self.work / _PROTECTED)

    def open_store(self, dataset: ImageTable) -> ProtectedDataset[Any] | None:
        """Open the store that an interrupted command has finished. Returns None if there is none."""
        # An unfinished store has its settings and state beside it.
        unfinished = self.store.with_name(self.store.name + ".partial").exists()
        return ProtectedDataset.load(self.store, dataset) if self.store.exists() and not unfinished else None

    def drop_store(self) -> None:
        """Remove the store to make room for another."""
        shutil.rmtree(self.store, ignore_errors=True)

    def publish(self, export: Callable[[Path], object]) -> None:
        """Write the folder to publish, and give it its name in one step."""
        draft = self.work / "export"
        # Anything that an interrupted command has written is reused.
        export(draft)
        self.finish_store({**(self.finished or {}), _MANIFEST: (draft / EXPORT_MANIFEST).read_text()})
        if self.out.exists():
            os.rmdir(self.out)
        os.replace(draft, self.out)

    def remove(self) -> None:
        """Remove the work. The file by which a command repeated after a kill knows that all is done goes last."""
        remove_folder(self.work, last=(_COMMAND, _PROTECTED))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"--out: {path.parent} is damaged and cannot be resumed ({path.name}); delete it")
    return content
