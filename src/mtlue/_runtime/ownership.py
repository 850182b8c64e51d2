"""Let one call at a time write to a path."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mtlue._checks import check_path
from mtlue._runtime.warn import warn

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


#: Descriptors of the locks that this process holds.
_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


# A forked worker shares its parent's lock, and would keep it for a while after the parent was killed.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def sole_owner(path: str | os.PathLike[str] | None, *, argument: str) -> Iterator[None]:
    """Be the only call that writes to a file or folder in this context, in this process and among others.

    The system frees the lock of a process however it ends. Drafts that it left are removed.

    Args:
        path: The path to write to. With None nothing is locked.
        argument: Its name in messages.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: another call is writing to it.
        FileNotFoundError: the parent folder of ``path`` does not exist.
    """
    if path is None:
        yield
        return
    check_path(argument, path)
    target, lock = Path(path), _lock_of(Path(path))
    try:
        # Windows removes it automatically, and refuses to do so while it is open.
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_TEMPORARY", 0), 0o600)
    except FileNotFoundError:
        raise FileNotFoundError(f"{argument}: the folder {target.parent} does not exist; make it first") from None
    if not _locked(descriptor, lock, argument):
        os.close(descriptor)
        raise BlockingIOError(
            f"{argument}: another call is writing to {target}; wait until it has ended, or give each call its own"
        )
    _held.add(descriptor)
    try:
        for draft in [*target.glob("*.draft"), *target.parent.glob(f"{glob.escape(target.name)}.*.draft")]:
            draft.unlink()
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            try:
                # Before closing it: afterwards the file may belong to another call.
                with suppress(OSError):
                    os.unlink(lock)
            finally:
                os.close(descriptor)


def is_owned(path: str | os.PathLike[str]) -> bool:
    """Return whether a living call is the `sole_owner` of a file or folder. What a dead one left of its lock is removed."""
    # Taking the lock, if only for a moment, would be in the way of a call that comes now.
    if not _lock_of(Path(path)).exists():
        return False
    try:
        with sole_owner(path, argument="path"):
            return False
    except BlockingIOError:
        return True


def _lock_of(target: Path) -> Path:
    return target.with_name(target.name + ".lock")


def _locked(descriptor: int, lock: Path, argument: str) -> bool:
    """Return whether a file could be locked and still has this name. Its last owner may have removed it."""
    try:
        _lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False
    except OSError as error:
        warn(f"{argument}: {lock} cannot be locked ({error.strerror}); make sure that no other call writes there")
        return True
