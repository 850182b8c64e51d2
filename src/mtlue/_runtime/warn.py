"""Warnings that point at the user's line, from any depth of the library."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


def warn(message: str) -> None:
    """Give a warning at the call that entered the library."""
    level = 1
    frame: FrameType | None = sys._getframe()
    # What `skip_file_prefixes` does from Python 3.12 on.
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "mtlue":
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level - 1 if frame is None else level)
