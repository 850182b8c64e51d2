"""Data sets inside data sets, such as a subset and what it is a subset of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch.utils.data import Subset

_Value = TypeVar("_Value")

# An object may make new ones of whatever it is asked for.
_DEEPEST = 100


def wrapped(dataset: object) -> list[object]:
    """The data sets that one wraps directly: its attributes ``dataset`` and ``datasets``, which torch's own wrappers have."""
    several = getattr(dataset, "datasets", ())
    inner = [getattr(dataset, "dataset", None), *(several if isinstance(several, list | tuple) else ())]
    return [each for each in inner if each is not None]


def whole_set(dataset: object) -> Any:
    """What a subset is a subset of, or the data set itself."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def collected(dataset: object, read: Callable[[object], Mapping[str, _Value]], *, depth: int = _DEEPEST) -> dict[str, _Value]:
    """What a data set says of itself, by name, and what it does not say but all those that it wraps agree on.

    Args:
        dataset: Any data set, which may be a wrapper.
        read: What one of them says.
        depth: Wrappers in each other that are looked through.
    """
    inner = [collected(each, read, depth=depth - 1) for each in wrapped(dataset)] if depth else []
    first, *others = inner or [{}]
    agreed = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    return agreed | dict(read(dataset))
