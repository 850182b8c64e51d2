"""Files that are written whole or not at all, and read without running code from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step: a reader, or a process that is killed, sees the old content or the new one."""
    _replace(path, lambda file: file.write(content))


def save_tensors(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a dictionary of tensors and plain values, whole or not at all, for nobody but its owner to read.

    Raises:
        OSError: it cannot be written.
    """
    _replace(path, lambda file: torch.save(content, file), opener=private)


#: An opener of `open`: a new file can be read by its owner alone. What it holds could undo a protection.
private = partial(os.open, mode=0o600)


def _replace(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object], opener: Callable[[str, int], int] | None = None
) -> None:
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    try:
        with open(draft, "wb", opener=opener) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except FileNotFoundError:
        # A second call on one path finds its folder finished, and its drafts cleared away, by the first.
        raise FileNotFoundError(
            f"path: {target} cannot be written: there is no folder {target.parent}, or another call is writing to it"
        ) from None
    except BaseException as error:
        draft.unlink(missing_ok=True)
        # torch has words of its own for a full disk.
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_tensors(path: str | os.PathLike[str], *, argument: str = "path", what: str = "a file written by mtlue") -> Any:
    """Read what `save_tensors` wrote, onto the CPU; anything but tensors and plain values is refused.

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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"{argument}: there is no file {os.fspath(path)}") from None
    except (OSError, MemoryError):
        raise
    except Exception:  # a damaged file fails in as many ways as there are bytes
        # Without torch's own words, which advise to unpickle what could not be read.
        raise ValueError(f"{argument}: {os.fspath(path)} is damaged, or is not {what}") from None
