"""The folder where a store or an export is written until it is complete."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlue._formats.manifest import read_json
from mtlue._formats.stored_images import MANIFEST, SETTINGS, StoredImages, call_digits, call_of
from mtlue._runtime import file_named, remove_folder, sole_owner, warn, write_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class WorkFolder:
    """The folder ``<path>.partial`` of a call that streams to ``path``. An interrupted call resumes from it.

    Attributes:
        final: Where the result will be.
        work: Where it is written, together with what is needed to resume.
        argument: The name of the path in messages.
    """

    final: Path
    work: Path
    argument: str = "path"

    @classmethod
    @contextmanager
    def claim(cls, path: str | os.PathLike[str] | None) -> Iterator[WorkFolder | None]:
        """Reserve the folders of a call that writes a store, in this context.

        Args:
            path: Where the call streams to, or None.

        Yields:
            The folders, or None without a path.

        Raises:
            FileExistsError: the path is taken, and not by a killed call that had finished this store.
            BlockingIOError: another call is writing there.
            OSError: the disk is full. What was written stays, and can be resumed.
        """
        if path is None:
            yield None
            return
        with cls.owned(Path(path)) as folders:
            # A dangling link is in the way, too.
            if os.path.lexists(folders.final) and not folders.is_published and call_of(folders.final) is None:
                raise folders.in_the_way()
            yield folders

    @classmethod
    @contextmanager
    def owned(cls, final: Path, *, argument: str = "path") -> Iterator[WorkFolder]:
        """Reserve the folders of any call, whatever is there already.

        Args:
            final: Where the result will be.
            argument: Its name in messages.

        Yields:
            The folders.

        Raises:
            BlockingIOError: another call is writing there.
            OSError: the disk is full. What was written stays, and can be resumed.
        """
        work = final.with_name(final.name + ".partial")
        work.parent.mkdir(parents=True, exist_ok=True)
        with sole_owner(work, argument=argument):
            try:
                with file_named(work):
                    yield cls(final, work, argument)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                text = f"no room is left for {work}; free some space and repeat the call, which goes on where it stopped"
                raise OSError(error.errno, f"{argument}: {text}") from error

    @property
    def is_published(self) -> bool:
        """Return whether the finished store was made from this folder, which a kill has left behind."""
        ours, published = self.work / MANIFEST, self.final / MANIFEST
        if not all(file.is_file() for file in (self.work / SETTINGS, ours, published)):
            return False
        return ours.read_bytes() == published.read_bytes()

    def in_the_way(self) -> FileExistsError:
        """Return the error for a call whose path is taken."""
        return FileExistsError(
            f"path: {self.final} exists; open a finished store with mtlue.ProtectedDataset.load, or choose another path"
        )

    def inside(self, name: str) -> WorkFolder:
        """Return a folder for a part of the work, inside the one where the store is written."""
        part = WorkFolder(self.final, self.work / name)
        part.work.mkdir(parents=True, exist_ok=True)
        return part

    def check_settings(self, settings: dict[str, Any]) -> StoredImages | None:
        """Do what `take_up` does, for a call that writes a store.

        Returns:
            The images, if an earlier call with these settings has finished them and left nothing else.

        Raises:
            ValueError: the work in the folder is that of another call.
            FileExistsError: the path is taken by the store of another call.
        """
        if not os.path.lexists(self.final) or self.is_published:
            self.take_up(settings)
            return None
        if call_of(self.final) != call_digits(json.dumps(settings)):
            raise self.in_the_way()
        images = StoredImages(self.final)
        self.remove()
        return images

    def publish(self, ready: Path) -> None:
        """Give the folder with the complete result its final name in one step.

        Raises:
            OSError: it cannot get the name. Nothing is lost.
        """
        try:
            if self.final.is_dir() and not any(self.final.iterdir()):
                # Windows gives a folder no name that is taken, not even by an empty folder.
                os.rmdir(self.final)
            os.replace(ready, self.final)
        except OSError as error:
            text = f"{self.final} is in the way ({error.strerror}); move it and repeat the call; nothing is lost"
            raise type(error)(error.errno, f"{self.argument}: {text}") from error

    def remove(self, *, last: Sequence[str] = ()) -> None:
        """Remove what the result was made from. An interrupted removal is recognised by the files in `last`, which go last."""
        try:
            if self.work.is_dir():
                remove_folder(self.work, last=last)
        except OSError as error:
            argument, reason = self.argument, error.strerror
            warn(f"{argument}: {self.final} is finished, but {self.work} cannot be removed ({reason}); delete it")

    def take_up(self, settings: dict[str, Any]) -> None:
        """Note the settings of this call, or check that they equal those of the call to resume.

        Raises:
            ValueError: the settings differ, or the note is damaged.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / SETTINGS
        if not file.exists():
            write_bytes(json.dumps(settings).encode(), file)
            return
        try:
            other = read_json(file)
        except ValueError as error:
            raise ValueError(f"{self.argument}: {self.work} is damaged and cannot be resumed ({error}); delete it") from None
        changed = [name for name in settings if other.get(name) != settings[name]]
        if changed:
            raise self.left_by_another_call(changed)

    def left_by_another_call(self, changed: list[str]) -> ValueError:
        """Return the error for a call that cannot resume what is in the folder, because these settings differ."""
        return ValueError(
            f"{self.argument}: {self.work} was left by a call with another {', '.join(changed)}; repeat that call, or delete it"
        )
