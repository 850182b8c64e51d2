"""Calls that write, broken off by an error or a kill, and what must hold of them then and after they are repeated."""

from __future__ import annotations

import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import Ended, Faults, Operation, at_once, in_child
from verb import Verb, files_below


@dataclass(frozen=True)
class Whole:
    """An undisturbed call: what was there before, what it did, left and returned, and how long that took."""

    before: dict[str, Any]
    operations: tuple[Operation, ...]
    files: dict[str, bytes]
    read: dict[str, Any]
    value: Any
    written: int
    seconds: float


def undisturbed(verb: Verb) -> Whole:
    """Call a verb."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        verb.prepare(folder)
        before = files_below(folder)
        started = time.monotonic()
        with Faults(folder) as counted:
            value = verb.run(folder)
        seconds, operations = time.monotonic() - started, tuple(counted.operations)
        return Whole(before, operations, files_below(folder), verb.read(folder), value, counted.written, seconds)


def after_kill(verb: Verb, whole: Whole, at: int) -> list[str]:
    """Kill a call at an operation, repeat it, and say what is wrong."""

    def call(folder: Path) -> object:
        with Faults(folder, at=at, kill=True):
            return verb.run(folder)

    return _killed(verb, whole, lambda folder: in_child(lambda: call(folder)), must_die=True)


def after_random_kill(verb: Verb, whole: Whole, seconds: float) -> list[str]:
    """Kill a call after some time, repeat it, and say what is wrong."""
    return _killed(verb, whole, lambda folder: in_child(lambda: verb.run(folder), after=seconds), must_die=False)


def _killed(verb: Verb, whole: Whole, call: Callable[[Path], Ended], *, must_die: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        verb.prepare(folder)
        ended = call(folder)
        wrong = []
        if ended.error or (must_die and ended.signal != signal.SIGKILL):
            wrong.append(f"ended with signal {ended.signal}, {ended.error}")
        if not verb.is_well(folder, whole.before, whole.files):
            wrong.append(f"left {sorted(files_below(folder))}")
        return [*wrong, *repeated(verb, whole, folder)]


def after_error(verb: Verb, whole: Whole, at: int, *, lasting: bool = False) -> list[str]:
    """Have an operation, or all from there on that take room, fail; repeat the call, and say what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        return _failing(verb, whole, Faults(Path(name), at=at, lasting=lasting), Path(name))


def after_full_disk(verb: Verb, whole: Whole, room: int) -> list[str]:
    """Have no room for more than so many bytes; repeat the call where there is some, and say what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        return _failing(verb, whole, Faults(Path(name), room=room), Path(name))


def _failing(verb: Verb, whole: Whole, faults: Faults, folder: Path) -> list[str]:
    verb.prepare(folder)
    error, value, wrong = None, None, []
    with warnings.catch_warnings(record=True) as told, faults:
        warnings.simplefilter("always")
        try:
            value = verb.run(folder)
        except Exception as caught:
            error = caught
    # What could not be removed may stay, and is warned of.
    words = " ".join(str(each.message) for each in told)
    stuck = "cannot be removed" in words or any(operation.name in {"unlink", "rmdir"} for operation in faults.failed)
    if error is None:
        if value != whole.value:
            wrong.append("returned something else")
        if verb.read(folder) != whole.read and not stuck:
            wrong.append(f"left {sorted(files_below(folder))} without a word")
    else:
        wrong += complaints(error, folder)
        if not verb.is_well(folder, whole.before, whole.files):
            wrong.append(f"left {sorted(files_below(folder))}")
    if not stuck:
        wrong += [f"left {name}" for name in files_below(folder) if name.endswith((".draft", ".lock"))]
    if error is None:
        # It is done, and cannot be done again everywhere.
        return wrong
    error = None
    return [*wrong, *repeated(verb, whole, folder)]


def after_two_calls(verb: Verb, whole: Whole, apart: float) -> list[str]:
    """Make a call twice at once, the second so many seconds later; repeat it, and say what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        verb.prepare(folder)

        def call() -> None:
            if verb.run(folder) != whole.value:
                raise RuntimeError("it returned something else")

        def later() -> None:
            time.sleep(apart)
            call()

        ended = at_once([call, later])
        wrong = [f"ended with signal {each.signal}" for each in ended if each.signal]
        for each in ended:
            if each.error and not (each.error.split(":")[0].endswith(_REFUSALS) and str(folder) in each.error):
                wrong.append(each.error)
        if all(each.error for each in ended):
            wrong.append("neither call was made")
        if not verb.is_well(folder, whole.before, whole.files):
            wrong.append(f"left {sorted(files_below(folder))}")
        return [*wrong, *repeated(verb, whole, folder)]


def _filled(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if content}


#: What the second of two calls may end in: the other one is at work, or has finished just now; the command says it in words.
_REFUSALS = ("BlockingIOError", "FileExistsError", "OSError")


def complaints(error: BaseException, folder: Path) -> list[str]:
    """What is wrong with the error of a disk that failed: it names no file, or has another type."""
    text = f"{type(error).__name__}: {error}"
    wrong = [] if isinstance(error, OSError | ValueError) else [f"not a documented error: {text}"]
    return wrong if str(folder) in str(error) else [*wrong, f"no file is named: {text}"]


def repeated(verb: Verb, whole: Whole, folder: Path) -> list[str]:
    """Repeat a call that was broken off, and say where it does not end as one that was not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = verb.run(folder)
        except Exception as error:
            # A lock may stay, which is empty.
            if verb.done is not None and verb.done in str(error) and _filled(files_below(folder)) == _filled(whole.files):
                return []
            return [f"cannot be repeated: {type(error).__name__}: {error}"]
    read = verb.read(folder)
    wrong = [f"repeated, {name} differs" for name in sorted({*read, *whole.read}) if read.get(name) != whole.read.get(name)]
    return wrong if value == whole.value else [*wrong, "repeated, it returns something else"]
