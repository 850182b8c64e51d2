"""Files that are written whole or not at all, and read without running code from them."""

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

# What torch.save writes is an archive; files of earlier versions are.
_ARCHIVE = b"PK"


@contextmanager
def file_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """While this context lasts, an error in the system's own words that names no file, as that of a full disk, names this one.

    Raises:
        OSError: that error.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and error.strerror == os.strerror(error.errno):
            error.filename = os.fspath(path)
        raise


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step: a reader, or a process that is killed, sees the old content or the new one."""
    _replace(path, lambda file: file.write(content))


def write_private(content: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step by one that nobody but its owner can read."""
    _replace(path, lambda file: file.write(content), opener=private)


def save_tensors(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a dictionary of tensors and plain values, whole or not at all, for nobody but its owner to read.

    Raises:
        OSError: it cannot be written.
        TypeError: the content has something else in it.
    """
    _replace(path, lambda file: write_tensor_file(content, file), opener=private)


#: An opener of `open`: a new file can be read by its owner alone. What it holds could undo a protection.
private = partial(os.open, mode=0o600)


def _replace(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object], opener: Callable[[str, int], int] | None = None
) -> None:
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    try:
        with file_named(target), open(draft, "wb", opener=opener) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except FileNotFoundError:
        # A second call on one path finds its folder finished, and its drafts cleared away, by the first.
        raise FileNotFoundError(
            f"path: {target} cannot be written: the folder {target.parent} does not exist, or another call is writing to it"
        ) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def remove_folder(folder: Path, *, last: Sequence[str] = ()) -> None:
    """Remove a folder with all that is in it, in a fixed order.

    Args:
        folder: The folder.
        last: Names of the files that go last, in this order: by them an interrupted removal is known again.

    Raises:
        OSError: something cannot be removed.
    """
    order = {name: position for position, name in enumerate(last, start=1)}
    for extra in sorted(folder.iterdir(), key=lambda extra: (order.get(extra.name, 0), extra.name)):
        shutil.rmtree(extra) if extra.is_dir() and not extra.is_symlink() else os.unlink(extra)
    os.rmdir(folder)


def load_tensors(path: str | os.PathLike[str], *, argument: str = "path", what: str = "a file written by mtlue") -> Any:
    """Read what `save_tensors` wrote, onto the CPU; anything but tensors and plain values is refused.

    A file of an earlier version, which `torch.save` wrote, is read too. It has no hash: what was changed in it may not show.

    Args:
        path: The file.
        argument: What a message calls it, and
        what: what it says that the file should be.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        MemoryError: there is no memory for it.
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
        # Without torch's own words, which advise to unpickle what could not be read.
        raise ValueError("it cannot be read") from None
