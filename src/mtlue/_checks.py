"""Checks of arguments that several public functions take."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any


def check_epsilon(name: str, value: float) -> float:
    """Return a budget if it lies in (0, 1].

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number such as 8/255, got {value!r}")
    if not 0 < value <= 1:
        hint = f"; on the scale of [0, 1] that is {value}/255" if 1 < value <= 255 else ""
        raise ValueError(f"{name}: expected 0 < {name} <= 1, got {value}{hint}")
    return float(value)


def check_task_names(name: str, names: Collection[str] | None, tasks: Collection[str]) -> list[str]:
    """Return the names of the chosen tasks; all of them if None.

    Raises:
        TypeError: it is a string, or not a collection.
        ValueError: it is empty, or has a name that is not the name of a task.
    """
    if names is None:
        return list(tasks)
    if isinstance(names, str) or not isinstance(names, Collection):
        raise TypeError(f"{name}: expected a list of task names, got {names!r}")
    unknown = [each for each in names if each not in tasks]
    if unknown:
        raise ValueError(f"{name}: unknown {unknown}; the tasks are {list(tasks)}")
    if not names:
        raise ValueError(f"{name}: expected at least one task name, got none")
    return list(names)


def check_share(name: str, value: float) -> float:
    """Return a share if it lies in [0, 1].

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number in [0, 1], got {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a share in [0, 1], got {value}{'; percent?' if 1 < value <= 100 else ''}")
    return float(value)


def check_image_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return channels, height and width.

    Raises:
        TypeError: it is not a sequence.
        ValueError: it is not made of three positive integers.
    """
    if not isinstance(shape, Sequence):
        raise TypeError(f"{name}: expected (channels, height, width), got {shape!r}")
    sides = tuple(shape)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
    if len(sides) != 3 or not whole:
        raise ValueError(f"{name}: expected (channels, height, width), got {shape!r}")
    return (sides[0], sides[1], sides[2])


def check_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return height and width. One integer stands for both, None stays None.

    Raises:
        TypeError: it is neither an integer nor a pair of integers.
        ValueError: a side is not positive.
    """
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise TypeError(f"image_size: expected an int, (height, width) or None, got {image_size!r}")
    if min(sides) < 1:
        raise ValueError(f"image_size: expected at least 1 pixel, got {image_size!r}")
    return sides[0], sides[1]


def check_count(name: str, value: int, *, minimum: int) -> int:
    """Return an integer argument if it is large enough.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an int, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {value}")
    return value


def check_seed(name: str, value: int) -> int:
    """Return a seed that torch accepts: a non-negative integer of 64 bits.

    Raises:
        ValueError: it is too large. `check_count` may raise too.
    """
    if check_count(name, value, minimum=0) >= 2**64:
        raise ValueError(f"{name}: expected less than 2**64, got {value}")
    return value


def check_batch_size(value: int | None) -> int | None:
    """Return a batch size; None, by which the device decides, stays None. Raises what `check_count` raises."""
    return None if value is None else check_count("batch_size", value, minimum=1)


def check_number(name: str, value: float, *, above: float | None = None) -> float:
    """Return a finite number that is not negative, or that is above a bound.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not math.isfinite(value) or (value < 0 if above is None else value <= above):
        raise ValueError(f"{name}: expected a number {'>= 0' if above is None else f'> {above:g}'}, got {value}")
    return float(value)


def check_path(name: str, value: str | os.PathLike[str]) -> None:
    """Check a path of a file or a folder, whether it is there or not.

    Raises:
        TypeError: it is not a path.
        ValueError: it has no name.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}: expected a path, got {value!r}")
    if not Path(value).name:
        raise ValueError(f"{name}: expected a path that ends in a name, got {os.fspath(value)!r}")


def check_arity(name: str, function: Callable[..., Any], *arguments: str) -> None:
    """Check that a function can be called with some arguments, before it is needed; what has no signature passes.

    Args:
        name: What messages call the function.
        function: What is to be called.
        arguments: What messages call its arguments.

    Raises:
        TypeError: it cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{name}: expected a function of ({', '.join(arguments)}), got one that takes {signature}") from error


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Add the place to any TypeError or ValueError that is raised in this context."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # Not the error's own type: a UnicodeDecodeError cannot be made from a text.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from error
