"""Files that are written completely or not at all, and read without running code from them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from mtlue._runtime.tensor_file import is_tensor_file, read_tensor_file, write_tensor_file

# `torch.save` writes an archive, as files of earlier versions are.
_ARCHIVE = b"PK"


@contextmanager
def file_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name this file in the system's errors that name none, such as that of a full disk, in this context.

    Raises:
        OSError: the error with the name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and error.strerror == os.strerror(error.errno):
            error.filename = os.fspath(path)
        raise


def write_bytes(content: bytes, path: str | os.PathLike[str], *, sync: bool = True) -> None:
    """Replace a file in one step. Readers, and a process that is killed, see the old contents or the new.

    Args:
        content: The new contents.
        path: The file.
        sync: Whether to force them onto the disk. Otherwise they may be lost with the power.
    """
    _replace(path, lambda file: file.write(content), sync=sync)


def write_private(content: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step by one that nobody but its owner can read."""
    _replace(path, lambda file: file.write(content), opener=private)


def save_tensors(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a dictionary of tensors and plain values, completely or not at all, for only its owner to read.

    Raises:
        OSError: the file cannot be written.
        TypeError: the dictionary holds something else.
    """
    _replace(path, lambda file: write_tensor_file(content, file), opener=private)


#: An opener for `open`. Only its owner can read a new file, because its contents could undo a protection.
private = partial(os.open, mode=0o600)


def _replace(
    path: str | os.PathLike[str],
    write: Callable[[IO[bytes]], object],
    opener: Callable[[str, int], int] | None = None,
    *,
    sync: bool = True,
) -> None:
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    try:
        with file_named(target), open(draft, "wb", opener=opener) as file:
            write(file)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(draft, target)
    except FileNotFoundError:
        # By the time a second call on the path runs, the first has finished the folder and removed its drafts.
        raise FileNotFoundError(
            f"path: {target} cannot be written: the folder {target.parent} does not exist, or another call is writing to it"
        ) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def remove_folder(folder: Path, *, last: Sequence[str] = ()) -> None:
    """Remove a folder with everything in it, in a fixed order.

    Args:
        folder: The folder.
        last: Names of the files that go last, in this order. An interrupted removal is recognised by them.

    Raises:
        OSError: something cannot be removed.
    """
    order = {name: position for position, name in enumerate(last, start=1)}
    for extra in sorted(folder.iterdir(), key=lambda extra: (order.get(extra.name, 0), extra.name)):
        shutil.rmtree(extra) if extra.is_dir() and not extra.is_symlink() else os.unlink(extra)
    os.rmdir(folder)


def load_tensors(path: str | os.PathLike[str], *, argument: str = "path", what: str = "a file written by mtlue") -> Any:
    """Read what `save_tensors` wrote, onto the CPU. Anything but tensors and plain values is refused.

    Files of earlier versions, written by `torch.save`, can be read too. They have no hash, so changes in them may go unnoticed.

    Args:
        path: The file.
        argument: The name of the path in messages.
        what: What the file should be, in messages.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file cannot be read.
        MemoryError: the file does not fit into memory.
        ValueError: the file is damaged, or holds something else.
    """
    name = os.fspath(path)
    try:
        with file_named(path), open(path, "rb") as file:
            start = file.read(64)
            file.seek(0)
            if not start.startswith(_ARCHIVE) or is_tensor_file(start):
                return read_tensor_file(file)
            return _load_archive(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{argument}: the file {name} does not exist") from None
    except IsADirectoryError:
        raise ValueError(f"{argument}: {name} is a folder, expected {what}") from None
    except ValueError as error:
        raise ValueError(f"{argument}: {name} is damaged, or is not {what}: {error}") from None


def _load_archive(file: IO[bytes]) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        # Without torch's own text, which advises unpickling a file that could not be read.
        raise ValueError("it cannot be read") from None
