"""Data sets inside data sets, such as the set that a subset is taken from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch.utils.data import Subset

_Value = TypeVar("_Value")

# An object may create new ones for any attribute that is asked for.
_DEEPEST = 100


def wrapped(dataset: object) -> list[object]:
    """Return the data sets that a set wraps directly: its attributes ``dataset`` and ``datasets``, as torch's wrappers have."""
    several = getattr(dataset, "datasets", ())
    inner = [getattr(dataset, "dataset", None), *(several if isinstance(several, list | tuple) else ())]
    return [each for each in inner if each is not None]


def whole_set(dataset: object) -> Any:
    """Return the set that a subset is taken from, or the data set itself."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def collected(dataset: object, read: Callable[[object], Mapping[str, _Value]], *, depth: int = _DEEPEST) -> dict[str, _Value]:
    """Collect what a data set declares, by name, and what it does not declare but all sets that it wraps agree on.

    Args:
        dataset: Any data set, which may be a wrapper.
        read: Reads the declarations of a single data set.
        depth: Wrappers inside each other that are searched.
    """
    inner = [collected(each, read, depth=depth - 1) for each in wrapped(dataset)] if depth else []
    first, *others = inner or [{}]
    agreed = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    return agreed | dict(read(dataset))
