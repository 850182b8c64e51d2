"""The folder where a store or an export is written until it is complete."""

from __future__ import annotations

import errno
import glob
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtlue._formats.manifest import read_json
from mtlue._formats.stored_images import MANIFEST, SETTINGS, StoredImages, call_digits, call_of
from mtlue._runtime import ALONE, Ranks, file_named, is_owned, remove_folder, sole_owner, warn, write_bytes

#: Seconds between two looks at what other processes do, and until one that never came is given up.
POLL, _PATIENCE = 0.1, 600.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class WorkFolder:
    """The folder ``<path>.partial`` of a call that streams to ``path``. An interrupted call resumes from it.

    One call at a time owns it. Of several ranks, the first owns it, and the others join if they have the same settings.

    Attributes:
        final: Where the result will be.
        work: Where it is written, together with what is needed to resume.
        argument: The name of the path in messages.
        ranks: Which rank this process is.
        whole: Where the whole work is written, if ``work`` is the folder of a part. The first rank owns it.
    """

    final: Path
    work: Path
    argument: str = "path"
    ranks: Ranks = ALONE
    whole: Path | None = None

    @classmethod
    @contextmanager
    def claim(cls, path: str | os.PathLike[str] | None, ranks: Ranks = ALONE) -> Iterator[WorkFolder | None]:
        """Reserve the folders of a call that writes a store, in this context.

        Args:
            path: Where the call streams to, or None.
            ranks: Which rank this process is. The ranks share the folders.

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
        with cls.owned(Path(path), ranks=ranks) as folders:
            if ranks.rank:
                yield folders
                return
            # A dangling link is in the way, too.
            if os.path.lexists(folders.final) and not folders.is_published and call_of(folders.final) is None:
                raise folders.in_the_way()
            yield folders

    @classmethod
    @contextmanager
    def owned(cls, final: Path, *, argument: str = "path", ranks: Ranks = ALONE) -> Iterator[WorkFolder]:
        """Reserve the folders of any call, whatever is there already.

        Args:
            final: Where the result will be.
            argument: Its name in messages.
            ranks: Which rank this process is.

        Yields:
            The folders.

        Raises:
            BlockingIOError: another call is writing there.
            OSError: the disk is full. What was written stays, and can be resumed.
        """
        work = final.with_name(final.name + ".partial")
        work.parent.mkdir(parents=True, exist_ok=True)
        folders = cls(final, work, argument, ranks)
        with ExitStack() as stack:
            # By those of the others the first rank sees who is still reading its work.
            folders._own(stack, folders._presence(ranks.rank) if ranks.rank else work)
            try:
                with file_named(work):
                    yield folders
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

    def call(self) -> dict[str, str]:
        """Return what a manifest states about the call: nothing if its settings were not noted."""
        settings = self.work / SETTINGS
        return {"call": call_digits(settings.read_text())} if settings.exists() else {}

    def is_out(self, call: Mapping[str, str]) -> bool:
        """Return whether the store of a call has its final name. The first rank may have removed the work by then."""
        by_main = self.ranks.rank > 0 and bool(call) and call_of(self.final) == call["call"]
        return by_main or self.is_published

    def _own(self, stack: ExitStack, lock: Path) -> None:
        # Another rank that looks whether this one is there holds the lock for a moment.
        for _ in range(3 * (self.ranks.size > 1)):
            with suppress(BlockingIOError):
                stack.enter_context(sole_owner(lock, argument=self.argument))
                return
            time.sleep(POLL / 2)
        stack.enter_context(sole_owner(lock, argument=self.argument))

    def _presence(self, rank: int | str) -> Path:
        return self.work.with_name(f"{self.work.name}.rank-{rank}")

    def wait_for_main(self, until: Callable[[], bool], *, patience: float = 0.0) -> None:
        """Wait for what the first rank does.

        Args:
            until: Says whether it is done.
            patience: Seconds that it may not be there.

        Raises:
            TimeoutError: it has ended, or does not come.
        """
        started = time.monotonic()
        while not until():
            time.sleep(POLL)
            if not is_owned(self.whole or self.work) and time.monotonic() - started > patience and not until():
                raise self.without_main()

    def without_main(self) -> TimeoutError:
        """Return the error for a rank that has lost the first one."""
        return TimeoutError(
            f"path: rank 0 has ended, or never began to write {self.work}; make the call on every rank; a repeated "
            "call goes on where it stopped"
        )

    def in_the_way(self) -> FileExistsError:
        """Return the error for a call whose path is taken."""
        return FileExistsError(
            f"path: {self.final} exists; open a finished store with mtlue.ProtectedDataset.load, or choose another path"
        )

    def inside(self, name: str) -> WorkFolder:
        """Return a folder for a part of the work, inside the one where the store is written."""
        part = replace(self, work=self.work / name, whole=self.whole or self.work)
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
        noted = self.work / SETTINGS
        if self.ranks.rank:
            # An earlier call may have left settings too.
            self.wait_for_main(lambda: self.final.exists() or (is_owned(self.work) and noted.exists()), patience=_PATIENCE)
        if not os.path.lexists(self.final) or self.is_published:
            self.take_up(settings)
            return None
        if call_of(self.final) != call_digits(json.dumps(settings)):
            raise self.in_the_way()
        images = StoredImages(self.final)
        if not self.ranks.rank:
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
        until = time.monotonic() + _PATIENCE
        for lock in self.work.parent.glob(f"{glob.escape(self._presence('').name)}*.lock"):
            while is_owned(lock.with_suffix("")) and time.monotonic() < until:
                time.sleep(POLL)
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
            raise self.damaged(error) from None
        changed = [name for name in settings if other.get(name) != settings[name]]
        if changed:
            raise self.left_by_another_call(changed)

    def damaged(self, fault: object) -> ValueError:
        """Return the error for a call that cannot resume what is in the folder, because of this fault."""
        return ValueError(f"{self.argument}: {self.work} is damaged and cannot be resumed ({fault}); delete it")

    def left_by_another_call(self, changed: list[str]) -> ValueError:
        """Return the error for a call that cannot resume what is in the folder, because these settings differ."""
        return ValueError(
            f"{self.argument}: {self.work} was left by a call with another {', '.join(changed)}; repeat that call, or delete it"
        )
