"""An export while it is written: parts that are each complete or absent, and are then moved into one folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, file_entry, files_in, signed
from mtlue._formats.readme import README
from mtlue._formats.stored_images import SETTINGS
from mtlue._formats.work_folder import WorkFolder
from mtlue._runtime import write_bytes

_THREADS = 16
_PARTS, _JOINED, _READY, _PLAN = "parts", "joined", "ready", "plan.json"
_FORMAT = "mtlue plan 1"


class Parts:
    """The parts of an export, in the work folder of a call.

    A part is a folder. A note beside it holds the hashes of its files, and is written when the part is safely on the disk. Once
    all parts exist, a plan says which file goes where. Whoever finds the plan follows it to its end.

    Args:
        folders: Where the parts are, and where they will go.
    """

    def __init__(self, folders: WorkFolder) -> None:
        self._folders, self._work = folders, folders.work
        self._notes: dict[str, dict[str, Any]] = {}
        self._moves: list[tuple[str, str]] = []

    @property
    def planned(self) -> bool:
        """Whether everything is written already."""
        return (self._work / _PLAN).exists()

    def write(self, format: ExportFormat, samples: ExportSamples) -> None:
        """Write a part into a folder of its own, unless an interrupted call has done so.

        Raises:
            ValueError: a file of a written part is missing or truncated.
        """
        name = f"{_PARTS}/{samples.part:06d}"
        folder, note = self._work / name, self._work / f"{name}.json"
        if note.exists():
            self._notes[name] = self._read_note(folder, note)
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        format.write(folder, samples)
        names = list(files_in(folder))
        # In parallel: a disk takes many files at once, but makes each wait on its own.
        with ThreadPoolExecutor(_THREADS) as threads:
            entries = threads.map(lambda each: file_entry(folder / each, sync=True), names)
            files = dict(zip(names, entries, strict=True))
        write_bytes(json.dumps({"files": files}).encode(), note)
        self._notes[name] = files

    def _read_note(self, folder: Path, note: Path) -> dict[str, Any]:
        try:
            fields = Fields.read(note)
            for name, (size, _) in fields.files().items():
                if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                    raise ValueError(f"{folder.name}/{name} is missing or was changed")
        except ValueError as error:
            raise self._folders.damaged(error) from None
        return fields.mapping("files")

    def join(self, format: ExportFormat, earlier: Mapping[str, tuple[int, str]]) -> dict[str, dict[str, Any]]:
        """Join the files that several parts wrote.

        Args:
            format: The format, which joins their contents.
            earlier: Bytes and SHA-256 of the files that are in the final folder already.

        Returns:
            The manifest's entries for all files.
        """
        wrote: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
        for name, (size, digest) in earlier.items():
            wrote[name] = [(self._folders.final / name, {"bytes": size, "sha256": digest})]
        for part, files in self._notes.items():
            for name, entry in files.items():
                wrote.setdefault(name, []).append((self._work / part / name, entry))
        shutil.rmtree(self._work / _JOINED, ignore_errors=True)
        found = {}
        for name, versions in sorted(wrote.items()):
            source, found[name] = versions[0]
            if any(entry != found[name] for _, entry in versions):
                source = self._work / _JOINED / name
                source.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(format.join(name, [file for file, _ in versions]), source)
                found[name] = file_entry(source)
            if source != self._folders.final / name:
                self._moves.append((source.relative_to(self._work).as_posix(), name))
        # A table comes after the files that it lists.
        self._moves.sort(key=lambda move: "/" not in move[1])
        return found

    def plan(self, manifest: bytes, readme: bytes, *, into_place: bool) -> None:
        """Note what is to be moved where.

        Args:
            manifest: The manifest of all files.
            readme: The page beside them, unless there is one: a format may write it, and its owner may have rewritten it.
            into_place: Whether the final folder is there and stays; otherwise a new one gets its name in one step.
        """
        # One copy to move, and one that stays, so that a repeated call recognises the export as its own. Neither is written in
        # the final folder, where a kill would leave a draft.
        copy = self._work / _JOINED / EXPORT_MANIFEST
        copy.parent.mkdir(exist_ok=True)
        for file in (copy, self._work / EXPORT_MANIFEST):
            write_bytes(manifest, file)
        if not any(name == README for _, name in self._moves) and not (self._folders.final / README).exists():
            page = self._work / _JOINED / README
            write_bytes(readme, page)
            self._moves.append((page.relative_to(self._work).as_posix(), README))
        self._moves.append((copy.relative_to(self._work).as_posix(), EXPORT_MANIFEST))
        content = {"format": _FORMAT, "moves": self._moves, "into_place": into_place}
        write_bytes(json.dumps(signed(content)).encode(), self._work / _PLAN)

    def publish(self) -> None:
        """Follow the plan, and remove the rest.

        Raises:
            OSError: the new folder cannot get its name. Nothing is lost.
            ValueError: the plan is damaged, or a file that it moves is missing.
        """
        final, manifest = self._folders.final, (self._work / EXPORT_MANIFEST).read_bytes()
        try:
            plan = Fields.read(self._work / _PLAN)
            plan.check(_FORMAT)
            moves, into_place = plan.moves(), bool(plan.content.get("into_place"))
        except ValueError as error:
            raise self._folders.damaged(error) from None
        done = (final / EXPORT_MANIFEST).is_file() and (final / EXPORT_MANIFEST).read_bytes() == manifest
        if not done:
            target = final if into_place else self._work / _READY
            for source, name in moves:
                self._move(self._work / source, target / name)
            if not into_place:
                self._folders.publish(target)
        self._folders.remove(last=(_PLAN, EXPORT_MANIFEST, SETTINGS))

    def _move(self, source: Path, target: Path) -> None:
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
        elif not target.exists():
            raise self._folders.damaged(f"{source.name} is gone")


def check_finished(folder: Path) -> None:
    """Refuse the work folder of an interrupted export, which looks like a smaller set.

    Raises:
        ValueError: it is such a folder.
    """
    for each in (folder, *folder.absolute().parents):
        if (each / _PARTS).is_dir() and (each / SETTINGS).is_file():
            raise ValueError(f"root: {folder} is an unfinished export; repeat the call of `export` that was interrupted")
