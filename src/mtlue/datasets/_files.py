"""Check the files of a data set. Errors name what is missing or broken, and where to get it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_SHOWN = 3


def check_root(root: str | os.PathLike[str], *, source: str) -> Path:
    """Return the folder of a data set.

    Raises:
        TypeError: it is not a path.
        FileNotFoundError: the folder does not exist.
    """
    if not isinstance(root, str | os.PathLike):
        raise TypeError(f"root: expected the path of a folder, got {type(root).__name__}")
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"root: {folder} is not a folder; {source}")
    return folder


def check_split(split: str, names: Sequence[str]) -> str:
    """Return the name of a split if the data set has it.

    Raises:
        TypeError: it is not a string.
        ValueError: the data set has no such split.
    """
    if not isinstance(split, str):
        raise TypeError(f"split: expected a string, got {split!r}")
    if split not in names:
        raise ValueError(f"split: expected one of {', '.join(map(repr, names))}, got {split!r}")
    return split


def check_exist(paths: Sequence[Path], *, source: str) -> None:
    """Raise an error if files or folders of a data set are missing.

    Raises:
        FileNotFoundError: some are missing. The message names the first of them.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{shortened(missing)}: not found; {source}")


def read_lines(path: Path, *, source: str) -> list[str]:
    """Return the non-empty lines of a text file, stripped.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not text.
    """
    check_exist([path], source=source)
    try:
        # Spreadsheets leave a byte order mark behind.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text, got other bytes ({error.reason}); {source}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def shortened(names: Sequence[str]) -> str:
    """Join the first names of a list, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
