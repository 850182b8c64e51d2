"""Output of the commands, and words for numbers."""

from __future__ import annotations

import sys


def say(text: str = "") -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write a line that is not a result: a warning, an error, or what is going on."""
    sys.stderr.write(f"mtlue: {text}\n")
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """Return a length of time in words: ``"about 12 minutes"``."""
    for limit, unit, name in ((90, 1, "second"), (90 * 60, 60, "minute"), (36 * 3600, 3600, "hour")):
        if seconds < limit:
            return _counted(max(1, round(seconds / unit)), name)
    return _counted(round(seconds / 86400), "day")


def _counted(number: int, name: str) -> str:
    return f"about {number} {name}{'s' if number > 1 else ''}"
