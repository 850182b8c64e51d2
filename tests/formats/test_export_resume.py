"""Exports are whole or not there, and are taken up after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mtlue
from exported_sets import Four, files_of, format_of, make_set
from mtlue import datasets
from mtlue._formats.manifest import signed
from mtlue._formats.parts import Parts


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[list[int]]:
    """Stop at the n-th operation on files of the library, before it is done."""
    calls = [0]

    def counted(real: Any) -> Any:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] > at:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (shutil, "rmtree")):
            patch.setattr(module, name, counted(getattr(module, name)))
        yield calls


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("name", ["png", "webdataset"])
def test_an_export_that_stops_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, append: bool
) -> None:
    safe, more = make_set(length=5), make_set(1, 5)
    for folder in ("whole", "start"):
        safe.export(tmp_path / folder, format=format_of(name))
    if append:
        more.export(tmp_path / "whole", format=format_of(name), append=True)
    whole, start = files_of(tmp_path / "whole"), files_of(tmp_path / "start")
    given, at, done = (more if append else safe), 0, False
    while not done:
        folder = tmp_path / f"stopped{at}"
        if append:
            shutil.copytree(tmp_path / "start", folder)
        with stopped_at(monkeypatch, at):
            try:
                given.export(folder, format=format_of(name), append=append)
                done = True
            except KeyboardInterrupt:
                pass
        if not append:
            # Not there, or whole.
            assert not folder.exists() or files_of(folder) == whole
        elif name == "png" and (folder / "labels.csv").read_bytes() != whole["labels.csv"]:
            assert (folder / "labels.csv").read_bytes() == start["labels.csv"]
        given.export(folder, format=format_of(name), append=append)
        assert files_of(folder) == whole
        mtlue.verify(folder)
        assert not folder.with_name(f"{folder.name}.partial").exists()
        shutil.rmtree(folder)
        at += 1 if name == "webdataset" else 2
    assert at > 20


def test_an_export_that_is_killed_goes_on(tmp_path: Path) -> None:
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import exported_sets
written, encode = [], exported_sets.Four.encode
def encode_or_die(self, image):
    written.append(image)
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, image)
exported_sets.Four.encode = encode_or_die
exported_sets.make_set().export(sys.argv[1], format=exported_sets.Four())
"""
    make_set().export(tmp_path / "whole", format=Four())
    whole, here = files_of(tmp_path / "whole"), Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    for at in (3, 9):
        out = tmp_path / f"out{at}"
        done = subprocess.run(
            [sys.executable, "-c", code, str(out), str(here), str(at)], capture_output=True, check=False, env=environment
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert not out.exists()
        unfinished = out.with_name(f"{out.name}.partial")
        for folder in (unfinished, unfinished / "parts" / "000000"):
            with pytest.raises(ValueError, match="is an unfinished export; repeat the call"):
                datasets.ImageTable(folder)
        written: list[Any] = []

        class Counted(Four):
            def encode(self, image: Any, written: list[Any] = written) -> bytes:
                written.append(image)
                return super().encode(image)

        Counted.__name__ = Counted.__qualname__ = "Four"
        make_set().export(out, format=Counted())
        assert files_of(out) == whole
        # One for the check of the format; parts of four that were finished are not written again.
        assert len(written) == 1 + 11 - 4 * ((at - 2) // 4)


def test_an_interrupted_call_is_not_taken_up_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopped_at(monkeypatch, 40), pytest.raises(KeyboardInterrupt):
        make_set().export(tmp_path / "out", format=Four())
    with pytest.raises(ValueError, match=r"folder: .*out\.partial was left by a call with another images, labels"):
        make_set(1).export(tmp_path / "out", format=Four())
    note = next((tmp_path / "out.partial" / "parts").glob("*.json"))
    note.write_text("{}")
    with pytest.raises(ValueError, match=r"out\.partial is damaged and cannot be resumed \(.* has no entry 'files'\)"):
        make_set().export(tmp_path / "out", format=Four())


def test_a_changed_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(parts: Parts) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            make_set(length=3).export(tmp_path / "out")
    plan = tmp_path / "out.partial" / "plan.json"
    whole = plan.read_text()
    odd: list[Any] = [5, [5], [["parts/000000/labels.csv"]], [["parts/000000/labels.csv", "../x"]], [["", "x"]], [["/x", "x"]]]
    edited = [json.dumps(signed({**json.loads(whole), "moves": moves})) for moves in odd]
    for text in (*edited, whole.replace('"images/000001.png"', '"images/000009.png"'), "[", "{}"):
        assert text != whole
        plan.write_text(text)
        with pytest.raises(ValueError, match=r"folder: .*out\.partial is damaged and cannot be resumed \(.*plan\.json"):
            make_set(length=3).export(tmp_path / "out")
    plan.write_text(whole)
    make_set(length=3).export(tmp_path / "out")
    assert mtlue.verify(tmp_path / "out").length == 3


def test_two_exports_to_one_folder_are_not_made_at_once(tmp_path: Path) -> None:
    class Nested(Four):
        def encode(self, image: Any) -> bytes:
            if (tmp_path / "out.partial").exists():
                with pytest.raises(BlockingIOError, match="folder: another call is writing"):
                    make_set(1).export(tmp_path / "out")
            return super().encode(image)

    make_set(length=3).export(tmp_path / "out", format=Nested())
    assert mtlue.verify(tmp_path / "out").length == 3


def test_a_call_that_is_repeated_finds_its_export(tmp_path: Path) -> None:
    make_set().export(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make_set().export(tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path != tmp_path} == {
        path: time for path, time in before.items() if path != tmp_path
    }
    for other in (make_set(1), make_set(length=10)):
        with pytest.raises(
            FileExistsError,
            match="is not empty; choose a new folder, or pass append=True to add to an export of the same tasks",
        ):
            other.export(tmp_path / "out")
