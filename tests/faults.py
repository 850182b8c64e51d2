"""Files that fail, or kill the process, at their n-th operation: nothing in the source needs to know.

While `Faults` lasts, what Python does with files below a folder goes through it: opening, each read and write of the system,
truncating and allocating, syncing, renaming, removing, and making and removing folders. What libraries do in C++ does not.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import select
import signal
import tarfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

#: Functions of `os` that are counted, and what each is called here.
FUNCTIONS = {
    "open": "open",
    "fsync": "sync",
    "replace": "rename",
    "rename": "rename",
    "unlink": "unlink",
    "remove": "unlink",
    "rmdir": "rmdir",
    "mkdir": "mkdir",
    "truncate": "truncate",
    "ftruncate": "truncate",
    "posix_fallocate": "allocate",
}
#: What takes room on a disk, and so fails on a full one.
TAKES_ROOM = frozenset({"create", "write", "mkdir", "allocate", "sync"})
#: What a disk that breaks may do with each operation: reading and removing take no room.
ERRORS = {False: errno.EIO, True: errno.ENOSPC}


@dataclass(frozen=True)
class Operation:
    """One operation on a file: what it is called, and the file, where the caller named one."""

    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.name} {Path(self.path).name}"


class Faults:
    """While this context lasts, operations on files are counted, and one of them, or all from one on, go wrong.

    Args:
        root: Files elsewhere are left alone.
        at: Which operation goes wrong, counted from 0; None for none.
        kill: End the process there, as SIGKILL does; otherwise there is an error. A write is half done before.
        lasting: From there on, all that takes room fails, as on a disk that is full.
        room: Bytes that can be written before the disk is full.
    """

    def __init__(
        self, root: Path, *, at: int | None = None, kill: bool = False, lasting: bool = False, room: int | None = None
    ) -> None:
        self.root, self.at, self.kill, self.lasting, self.room = os.path.realpath(root), at, kill, lasting, room
        #: What was done, in order.
        self.operations: list[Operation] = []
        #: Bytes that were written.
        self.written = 0
        #: Those that failed.
        self.failed: list[Operation] = []
        self._guard, self._stack, self._open = threading.Lock(), ExitStack(), builtins.open

    def __enter__(self) -> Faults:
        # `open` has several names, and `tarfile` one of its own.
        for module, name in ((builtins, "open"), (io, "open"), (tarfile, "bltn_open")):
            self._stack.enter_context(mock.patch.object(module, name, self._opened))
        for name, operation in FUNCTIONS.items():
            if hasattr(os, name):
                self._stack.enter_context(mock.patch.object(os, name, self._counted(getattr(os, name), operation)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def happens(self, name: str, path: str, before: Callable[[], object] = lambda: None, *, named: bool = True) -> None:
        """Count an operation; raise the error that it ends in, or end the process.

        Args:
            name: What it is.
            path: On which file.
            before: What of it is done before it goes wrong.
            named: Whether the system's error would name the file.
        """
        operation = Operation(name, path)
        with self._guard:
            number = len(self.operations)
            self.operations.append(operation)
            full = name in TAKES_ROOM and (self.room is not None and self.room <= 0 and name != "sync")
            wrong = self.at is not None and (number == self.at or (self.lasting and number > self.at and name in TAKES_ROOM))
            if not wrong and not full:
                return
            before()
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            self.failed.append(operation)
        code = ERRORS[name in TAKES_ROOM]
        raise OSError(code, os.strerror(code), *([path] if named else []))

    def inside(self, path: object) -> bool:
        """Whether a file is in the folder."""
        try:
            return os.path.realpath(os.fspath(path)).startswith(self.root)  # type: ignore[call-overload]
        except TypeError:
            return False

    def _counted(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **named: Any) -> Any:
            where = _path_of(path, named.get("dir_fd"))
            if self.inside(where):
                self.happens(name, where, named=not isinstance(path, int))
            return real(path, *arguments, **named)

        return counted

    def _opened(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if isinstance(file, int) or not self.inside(file):
            return self._open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        path, made = os.fspath(file), not os.path.exists(file)
        self.happens("create" if made and mode[0] in "wxa" else "open", path)
        raw = _CountedFile(self, path, mode.replace("b", "").replace("t", ""), opener)
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader if mode[0] == "r" else io.BufferedWriter
        buffered = raw if buffering == 0 else kind(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


class _CountedFile(io.FileIO):
    def __init__(self, faults: Faults, path: str, mode: str, opener: Any) -> None:
        self._faults = faults
        super().__init__(path, mode, opener=opener)

    def _happens(self, name: str, before: Callable[[], object] = lambda: None) -> None:
        self._faults.happens(name, str(self.name), before, named=False)

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        room = self._faults.room
        fits = len(view) if room is None else max(min(room, len(view)), 0)
        self._happens("write", lambda: super(_CountedFile, self).write(view[: len(view) // 2]) if room is None else None)
        if room is not None:
            self._faults.room = room - fits
        self._faults.written += fits
        return super().write(view[:fits])

    def readinto(self, buffer: Any) -> int:
        self._happens("read")
        return super().readinto(buffer)

    def read(self, size: int | None = -1) -> bytes:
        self._happens("read")
        return super().read(-1 if size is None else size)

    def readall(self) -> bytes:
        self._happens("read")
        return super().readall()

    def truncate(self, size: int | None = None) -> int:
        self._happens("truncate")
        return super().truncate(size)


def _path_of(path: Any, folder: int | None) -> str:
    """The file that a path, a path beside an open folder, or a descriptor stands for."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    if folder is not None:
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(path))
    return os.fsdecode(path)


@dataclass(frozen=True)
class Ended:
    """How a process ended: the signal that killed it, or what it raised."""

    signal: int
    error: str


def in_child(call: Callable[[], object], *, after: float | None = None) -> Ended:
    """Call something in a copy of this process, which is killed after so many seconds, and say how it ended."""
    return at_once([call], after=after)[0]


def at_once(calls: Sequence[Callable[[], object]], *, after: float | None = None) -> list[Ended]:
    """Make several calls at the same time, each in a copy of this process, and say how each ended."""
    return [_ended(child, pipe, after) for child, pipe in [_started(call) for call in calls]]


def _started(call: Callable[[], object]) -> tuple[int, int]:
    """A process that makes a call, and a pipe from which the error can be read that it ends in."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Threads of libraries that rest: the child uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    told = ""
    try:
        with mock.patch("sys.stderr", io.StringIO()), mock.patch("sys.stdout", io.StringIO()):
            call()
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
    finally:
        os.write(writing, told.encode(errors="replace")[:60_000])
        os._exit(0)


def _ended(child: int, pipe: int, after: float | None) -> Ended:
    with os.fdopen(pipe, "rb") as reading:
        # At the end, in whatever way, the pipe can be read.
        if after is not None and not select.select([reading], [], [], after)[0]:
            os.kill(child, signal.SIGKILL)
        told = reading.read().decode()
    _, status = os.waitpid(child, 0)
    return Ended(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, told)
