"""Calls that two ranks make together, broken off on some of them, and what must hold then and when they are repeated."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from faults import Faults
from mtlue._formats import work_folder
from mtlue._runtime import job
from rank_copies import at_ranks
from verb import Verb, files_below

#: Processes that make a call together.
SIZE = 2
#: How errors begin: of a rank that gives up because of another one, and of one whose place is taken.
_GIVEN_UP = ("LostRankError: ", "TimeoutError: path: rank 0 has ended")
_REFUSED = ("BlockingIOError: ", "FileExistsError: ")
#: A context for a rank, made when the call begins on it, for files in this folder. It breaks the call off.
Breaks = Mapping[int, Callable[[Path], AbstractContextManager[Any]]]


@dataclass(frozen=True)
class RankVerb:
    """A call that ranks make together, and whether they are in a process group.

    Without a group they know of each other by what ``torchrun`` tells a process.
    """

    verb: Verb
    grouped: bool


@dataclass(frozen=True)
class Whole:
    """An undisturbed call: what it left and returned, the operations of each rank, and how long it took."""

    files: dict[str, Any]
    read: dict[str, Any]
    value: Any
    operations: tuple[int, ...]
    written: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a call on a rank. Of a rank that was killed there is nothing.

    Attributes:
        value: What it returned.
        error: What it raised, or nothing.
        broken: Whether it raised what breaks it off, and not what another rank has told it.
        stuck: Whether something could not be removed, which may stay.
        operations: How often it used files.
        written: Bytes that it wrote.
        seconds: How long it took.
    """

    value: Any
    error: str
    broken: bool
    stuck: bool
    operations: int
    written: int
    seconds: float


def undisturbed(each: RankVerb) -> Whole:
    """Call a verb on all ranks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "folder")
        found = _called(each, folder, {})
        assert [one.error for one in found.values()] == [""] * SIZE, found
        values = [one.value for one in found.values()]
        assert values[:-1] == values[1:]
        most = [max(getattr(one, of) for one in found.values()) for of in ("written", "seconds")]
        operations = tuple(found[rank].operations for rank in range(SIZE))
        return Whole(files_below(folder), each.verb.read(folder), values[0], operations, int(most[0]), most[1])


def after_kill(each: RankVerb, whole: Whole, rank: int, at: int) -> list[str] | None:
    """Kill a rank at an operation. None if it did not come to it: how often a rank looks for another one differs."""
    return _trial(each, whole, {rank: lambda folder: Faults(folder, at=at, kill=True)}, reached=lambda found: rank not in found)


def after_error(each: RankVerb, whole: Whole, rank: int, at: int) -> list[str] | None:
    """Have an operation of a rank fail. None if it did not come to it."""
    broken = {rank: lambda folder: Faults(folder, at=at)}
    return _trial(each, whole, broken, reached=lambda found: rank not in found or found[rank].operations > at)


def after_random_kill(each: RankVerb, whole: Whole, ranks: range, seconds: float) -> list[str] | None:
    """Kill some ranks after some time."""
    return _trial(each, whole, dict.fromkeys(ranks, lambda _: _killed(seconds)))


def after_full_disk(each: RankVerb, whole: Whole, room: int) -> list[str] | None:
    """Have no room for more than so many bytes of each rank."""
    return _trial(each, whole, dict.fromkeys(range(SIZE), lambda folder: Faults(folder, room=room)))


def after_two_calls(each: RankVerb, whole: Whole, apart: float) -> list[str] | None:
    """Have other ranks make the same call so many seconds later."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name, "folder"), dict[int, Outcome]()
        later = threading.Thread(target=lambda: (time.sleep(apart), found.update(_called(each, folder, {}))))
        later.start()
        both = [_called(each, folder, {})]
        later.join()
        both.append(found)
        wrong = []
        for number, outcomes in enumerate(both):
            for rank in range(SIZE):
                one = outcomes.get(rank)
                if one is None:
                    wrong.append(f"rank {rank} of call {number} was lost")
                elif one.error and not one.error.startswith((*_GIVEN_UP, *_REFUSED)):
                    wrong.append(f"rank {rank} of call {number}: {one.error}")
                elif not one.error and one.value != whole.value:
                    wrong.append(f"rank {rank} of call {number} returned something else")
        if not each.verb.is_well(folder, {}, whole.files):
            wrong.append(f"left {sorted(files_below(folder))}")
        return [*wrong, *_repeated(each, whole, folder)]


def _trial(
    each: RankVerb, whole: Whole, breaks: Breaks, *, reached: Callable[[dict[int, Outcome]], bool] = lambda _: True
) -> list[str] | None:
    """Break a call off, repeat it, and say what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "folder")
        found = _called(each, folder, breaks)
        wrong = [fault for rank in range(SIZE) for fault in _wrong(rank, found.get(rank), whole, folder, rank in breaks)]
        if not each.verb.is_well(folder, {}, whole.files):
            wrong.append(f"left {sorted(files_below(folder))}")
        if len(found) == SIZE and not any(one.stuck for one in found.values()):
            wrong += [f"left {name}" for name in files_below(folder) if name.endswith((".draft", ".lock"))]
            if not any(one.error for one in found.values()) and each.verb.read(folder) != whole.read:
                wrong.append(f"left {sorted(files_below(folder))} without a word")
        wrong += _repeated(each, whole, folder)
        return wrong if wrong or reached(found) else None


def _wrong(rank: int, one: Outcome | None, whole: Whole, folder: Path, may_break: bool) -> list[str]:
    """What is wrong with what came of a call on a rank."""
    if one is None:
        return [] if may_break else [f"rank {rank} was lost"]
    if not one.error:
        return [] if one.value == whole.value else [f"rank {rank} returned something else"]
    if one.error.startswith(_GIVEN_UP):
        return []
    return [] if one.broken and may_break and str(folder) in one.error else [f"rank {rank}: {one.error}"]


def _repeated(each: RankVerb, whole: Whole, folder: Path) -> list[str]:
    found = _called(each, folder, {})
    wrong = [f"cannot be repeated: rank {rank}: {one.error}" for rank, one in found.items() if one.error]
    wrong += [f"repeated, rank {rank} is lost" for rank in range(SIZE) if rank not in found]
    wrong += ["repeated, it returns something else" for one in found.values() if not one.error and one.value != whole.value]
    read = each.verb.read(folder)
    return wrong or [f"repeated, {name} differs" for name in {*read, *whole.read} if read.get(name) != whole.read.get(name)]


def _called(each: RankVerb, folder: Path, breaks: Breaks) -> dict[int, Outcome]:
    """Call a verb on all ranks, some of which are broken off; what came of it by rank."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        meeting = Path(name, "meeting").as_uri()

        def call(rank: int) -> dict[str, Any]:
            with ExitStack() as stack:
                stack.enter_context(_patience())
                if each.grouped:
                    wait = timedelta(seconds=60)
                    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=SIZE, timeout=wait)
                return vars(_outcome(each.verb, folder, breaks.get(rank, lambda _: nullcontext())(folder)))

        _, results = at_ranks(SIZE, call, Path(name, "results"))
        return {rank: Outcome(**found) for rank, found in results.items()}


def _outcome(verb: Verb, folder: Path, broken: AbstractContextManager[Any]) -> Outcome:
    error, value, began = None, None, time.monotonic()
    # Without faults of its own, operations are counted.
    counted = broken if isinstance(broken, Faults) else Faults(folder)
    with warnings.catch_warnings(record=True) as told, broken, nullcontext() if broken is counted else counted:
        warnings.simplefilter("always")
        try:
            value = verb.run(folder)
        except Exception as caught:
            error = caught
    stuck = any("cannot be removed" in str(each.message) for each in told)
    return Outcome(
        value=value,
        error="" if error is None else f"{type(error).__name__}: {error}",
        broken=isinstance(error, OSError | ValueError) and bool(counted.failed),
        stuck=stuck or any(operation.name in {"unlink", "rmdir"} for operation in counted.failed),
        operations=len(counted.operations),
        written=counted.written,
        seconds=time.monotonic() - began,
    )


@contextmanager
def _killed(seconds: float) -> Iterator[None]:
    """End this process after some time, if it is still in this context."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.start()
    yield
    timer.cancel()


def _patience() -> ExitStack:
    """Give up ranks that do not come sooner than in earnest."""
    stack = ExitStack()
    for module, name, seconds in ((work_folder, "_PATIENCE", 5.0), (job, "_PATIENCE", 10.0), (job, "_REGROUPING", 3.0)):
        stack.enter_context(mock.patch.object(module, name, seconds))
    return stack
