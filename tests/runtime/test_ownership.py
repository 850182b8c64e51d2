"""One call at a time writes to a path; the lock goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines
from mtlue._runtime import is_owned, ownership
from mtlue._runtime.ownership import sole_owner

VERBS = ["protect", "pgd", "shortcut", "random_noise", "fit"]
TASKS = {"a": 2, "b": 2}


def wait(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    time.sleep(600)


class Stuck(list[Any]):
    """A data set that is never read to its end."""

    def __getitem__(self, index: Any) -> Any:
        wait("reading")


def samples() -> list[Any]:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (8, 3, 8, 8), generator=random, dtype=torch.uint8)
    return [(image, {"a": index % 2, "b": index // 2 % 2}) for index, image in enumerate(images)]


def call(verb: str, dataset: Any, path: Path, progress: Any = False) -> Any:
    torch.manual_seed(1)
    common: dict[str, Any] = {"loss": mtlue.EM(), "batch_size": 4, "precision": torch.float32, "progress": progress}
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    if verb == "fit":
        generator = mtlue.UEGenerator(TASKS, (3, 8, 8), width=4)
        return mtlue.fit(generator, dataset, net, epochs=1, checkpoint=path, **common)
    if verb == "protect":
        return mtlue.protect(dataset, tasks=TASKS, surrogate=net, epochs=1, path=path, **common)
    if verb == "pgd":
        return baselines.pgd(dataset, tasks=TASKS, surrogate=net, rounds=1, steps=2, surrogate_steps=1, path=path, **common)
    if verb == "shortcut":
        ways: dict[str, Any] = {"patterns": baselines.LSP(), "fusion": baselines.average_fusion}
        return baselines.shortcut(dataset, tasks=TASKS, path=path, **ways)
    return baselines.random_noise(dataset, tasks=TASKS, path=path)


@contextmanager
def other_process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """This file as a script, and the first line that it prints; killed afterwards."""
    command = [sys.executable, __file__, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("verb", VERBS)
def test_a_second_process_is_refused_until_the_first_has_died(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "safe"
    target = path if verb == "fit" else tmp_path / "safe.partial"
    words = f"{'checkpoint' if verb == 'fit' else 'path'}: another call is writing to {target}; wait until it has ended"
    with other_process(verb, path) as (process, line):
        assert line == "reading"
        with pytest.raises(BlockingIOError, match=words):
            call(verb, samples(), path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert call(verb, samples(), path) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]


def test_a_forked_worker_that_outlives_its_parent_keeps_no_lock(tmp_path: Path) -> None:
    with other_process("fork", tmp_path / "safe") as (process, worker):
        with pytest.raises(BlockingIOError), sole_owner(tmp_path / "safe", argument="path"):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        try:
            with sole_owner(tmp_path / "safe", argument="path"):
                os.kill(int(worker), 0)
        finally:
            os.kill(int(worker), signal.SIGKILL)


@pytest.mark.parametrize("verb", ["protect", "pgd", "fit"])
def test_a_second_call_in_one_process_is_refused_and_a_later_one_goes_on(tmp_path: Path, verb: str) -> None:
    def again(figures: Any) -> None:
        call(verb, samples(), tmp_path / "safe")

    # The error is kept, and with it the variables of the call that was broken.
    with pytest.raises(BlockingIOError) as caught:
        call(verb, samples(), tmp_path / "safe", progress=again)
    assert call(verb, samples(), tmp_path / "safe") is not None
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]
    assert caught.value


def test_a_lock_whose_file_was_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call has opened just before the owner removes it."""
    opened = os.open

    def open_what_is_removed(path: Any, *arguments: Any) -> int:
        descriptor = opened(path, *arguments)
        os.unlink(path)
        return descriptor

    monkeypatch.setattr(os, "open", open_what_is_removed)
    with pytest.raises(BlockingIOError), sole_owner(tmp_path / "safe", argument="path"):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("mtlue._runtime.ownership._lock", refuse)
    words = r"path: .*safe\.lock cannot be locked \(Operation not supported\); make sure that no other call writes there"
    with pytest.warns(UserWarning, match=words), sole_owner(tmp_path / "safe", argument="path"):
        pass


@pytest.mark.parametrize("name", ["safe[1].partial", "run.pt"])
def test_drafts_of_a_killed_call_are_removed(tmp_path: Path, name: str) -> None:
    if name.endswith("partial"):
        (tmp_path / name).mkdir()
        drafts = [tmp_path / name / "fit.pt.12.draft"]
    else:
        (tmp_path / name).write_text("state")
        drafts = [tmp_path / f"{name}.12.draft"]
    other = tmp_path / "other.pt.13.draft"
    for file in [*drafts, other]:
        file.write_text("half")
    with sole_owner(tmp_path / name, argument="path"):
        assert [file.exists() for file in [*drafts, other]] == [False, True]


def test_whoever_looks_for_an_owner_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, locked = tmp_path / "out", list[int]()
    lock = ownership._lock
    monkeypatch.setattr(ownership, "_lock", lambda descriptor: (locked.append(descriptor), lock(descriptor)))
    assert not is_owned(path)
    assert locked == []
    with sole_owner(path, argument="path"):
        assert is_owned(path)
    # What a killed call left is removed.
    path.with_name("out.lock").touch()
    assert not is_owned(path)
    assert os.listdir(tmp_path) == []


if __name__ == "__main__":
    chosen, where = sys.argv[1:]
    if chosen == "fork":
        with sole_owner(where, argument="path"):
            child = os.fork()
            if child:
                wait(child)
            time.sleep(600)
    call(chosen, Stuck([None] * 8), Path(where))
