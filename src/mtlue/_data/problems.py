"""Problems of the samples of a data set. Each kind of problem is reported once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mtlue._data.images import image_problem, is_unscaled, range_problem

_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """What is wrong with a sample. Problems with equal texts are reported as one.

    Attributes:
        before: Text before the part that differs from sample to sample.
        found: The part that differs.
        after: Text after it.
        values: The range of an image's values, if that is the problem. A message gives the range over all such images.
    """

    before: str
    found: str = ""
    after: str = ""
    values: tuple[float, float] | None = None

    @classmethod
    def of_label(cls, error: Exception, label: object, name: str) -> Problem:
        """Make a problem of an error that a label caused. The label itself may differ from sample to sample."""
        text = f"task {name!r}: {error}"
        return cls(*text.partition(repr(label))) if isinstance(label, str) else cls(text)

    @classmethod
    def of_image(cls, image: Tensor) -> list[Problem]:
        """Return what is wrong with the values of an image, if anything. Their range may differ from image to image."""
        text = image_problem(image)
        if text is None or not bool(image.isfinite().all()):
            return [] if text is None else [cls(text)]
        low, high = float(image.min()), float(image.max())
        return [cls("unscaled" if is_unscaled(low, high) else "normalised", values=(low, high))]


class Problems:
    """Collects problems of samples."""

    def __init__(self) -> None:
        self._where: dict[tuple[str, str], list[int]] = {}
        self._found: dict[tuple[str, str], dict[str, None]] = {}
        self._values: dict[tuple[str, str], tuple[float, float]] = {}

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._where)

    def add(self, index: int, problem: Problem) -> None:
        """Add a problem of a sample."""
        key = (problem.before, problem.after)
        self._where.setdefault(key, []).append(index)
        self._found.setdefault(key, {})[problem.found] = None
        if problem.values is not None:
            low, high = self._values.get(key, problem.values)
            self._values[key] = min(low, problem.values[0]), max(high, problem.values[1])

    def state(self) -> list[Any]:
        """Return them as plain values, for another process."""
        return [self._where, {key: list(found) for key, found in self._found.items()}, self._values]

    def take_over(self, state: Sequence[Any]) -> None:
        """Add the problems of samples that follow, from the `state` of another process."""
        where, found, values = state
        for key, indices in where.items():
            self._where.setdefault(key, []).extend(indices)
            self._found.setdefault(key, {}).update(dict.fromkeys(found[key]))
        for key, (low, high) in values.items():
            before = self._values.get(key, (low, high))
            self._values[key] = min(low, before[0]), max(high, before[1])

    def lines(self) -> list[str]:
        """Return a line for each kind of problem, with the samples that have it."""
        return [f"{self._told(key)} ({_where(where)})" for key, where in self._where.items()]

    def _told(self, key: tuple[str, str]) -> str:
        if key in self._values:
            return range_problem(*self._values[key]) or ""
        found = list(self._found[key])
        more = f" and {len(found) - 3} others" if len(found) > 3 else ""
        return key[0] + ", ".join(found[:3]) + more + key[1]


def told_at_once(lines: list[str]) -> str:
    """Return the message about a data set with these problems."""
    hidden = len(lines) - _SHOWN
    shown = lines[:_SHOWN] + ([f"and {hidden} more kinds of problem"] if hidden > 0 else [])
    return "dataset: " + (lines[0] if len(lines) == 1 else "\n  - ".join([f"{len(lines)} problems:", *shown]))


def _where(indices: list[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:3])
    more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
    return f"sample{'s' if len(indices) > 1 else ''} {shown}{more}"
