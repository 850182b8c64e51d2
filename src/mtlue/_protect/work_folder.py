"""Where a store is written until it is whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlue._formats import SETTINGS, is_published, read_json
from mtlue._runtime import sole_owner, write_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class WorkFolder:
    """The folder ``<path>.partial`` of a call that streams to ``path``: what an interrupted call is taken up from.

    Attributes:
        final: Where the store will be.
        work: Where it is written, beside what is needed to go on.
    """

    final: Path
    work: Path

    @classmethod
    @contextmanager
    def claim(cls, path: str | os.PathLike[str] | None) -> Iterator[WorkFolder | None]:
        """Have the folders of a call to oneself while this context lasts.

        Args:
            path: Where the call streams to, or None.

        Yields:
            The folders, or None if it streams to no path.

        Raises:
            FileExistsError: the path is taken, and not by what a call left that was killed after it had finished the store.
            BlockingIOError: another call is writing there.
            OSError: the disk is full; what was written before stays, and can be taken up.
        """
        if path is None:
            yield None
            return
        final = Path(path)
        work = final.with_name(final.name + ".partial")
        work.parent.mkdir(parents=True, exist_ok=True)
        with sole_owner(work, argument="path"):
            # A link to nowhere is in the way, too.
            if os.path.lexists(final) and not is_published(work, final):
                raise FileExistsError(
                    f"path: {final} exists; open a finished store with mtlue.ProtectedDataset.load, or choose another path"
                )
            try:
                yield cls(final, work)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                text = f"path: no room is left for {work}; make some and repeat the call, which goes on where it stopped"
                raise OSError(error.errno, text) from error

    def inside(self, name: str) -> WorkFolder:
        """A folder in that where the store is written, for a part of the work."""
        part = WorkFolder(self.final, self.work / name)
        part.work.mkdir(parents=True, exist_ok=True)
        return part

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Note the settings of this call, or check that they are those of the call that is taken up again.

        Raises:
            ValueError: they are not, or the note is damaged.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / SETTINGS
        if not file.exists():
            write_bytes(json.dumps(settings).encode(), file)
            return
        try:
            other = read_json(file)
        except ValueError as error:
            raise ValueError(f"path: {self.work} is damaged and cannot be taken up ({error}); delete it") from None
        changed = [name for name in settings if other.get(name) != settings[name]]
        if changed:
            raise self.left_by_another_call(changed)

    def left_by_another_call(self, changed: list[str]) -> ValueError:
        """The error of a call that cannot take up what is in the folder, since these settings differ."""
        return ValueError(
            f"path: {self.work} was left by a call with another {', '.join(changed)}; repeat that call, or delete it"
        )
