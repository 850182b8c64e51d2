"""Files that are written whole or not at all, and read without running code from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step: a reader, or a process that is killed, sees the old content or the new one."""
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, target)


def save_tensors(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a dictionary of tensors and plain values, whole or not at all."""
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    with draft.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, target)


def load_tensors(path: str | os.PathLike[str]) -> Any:
    """Read what `save_tensors` wrote, onto the CPU; anything but tensors and plain values is refused.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        ValueError: the file is damaged, or holds something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise ValueError(f"{os.fspath(path)} is damaged or was not written by mtlue: {error}") from error
