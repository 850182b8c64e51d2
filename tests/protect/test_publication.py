"""Nothing of the work is removed before its result has its place."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import killed_run
from killed_run import same_state
from mtlue._runtime import checksum

NAMES = ["images-000000.bin", "manifest.json"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of an unbroken call, and what it returned."""
    path = tmp_path_factory.mktemp("whole") / "store"
    return path, killed_run.protect("em", path)


def same_files(left: Path, right: Path) -> bool:
    assert [sorted(os.listdir(folder)) for folder in (left, right)] == [NAMES] * 2
    return all((left / name).read_bytes() == (right / name).read_bytes() for name in NAMES)


def finishes(path: Path, whole: tuple[Path, Any]) -> list[Any]:
    """Repeat the call, compare what it gives, and return the figures of its steps."""
    steps: list[Any] = []
    safe = killed_run.protect("em", path, progress=steps.append)
    assert same_files(path, whole[0])
    assert sorted(os.listdir(path.parent)) == ["store"]
    assert same_state(safe.generator, whole[1].generator)
    assert len(safe.history) == 4
    return steps


def test_a_link_to_nowhere_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "nowhere")
    steps: list[Any] = []
    with pytest.raises(FileExistsError, match=r"path: .*store exists"):
        killed_run.protect("em", tmp_path / "store", progress=steps.append)
    assert not steps
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_a_target_that_was_made_meanwhile_costs_no_work(tmp_path: Path, whole: Any, kind: str) -> None:
    target = tmp_path / "store"

    def make(figures: Any) -> None:
        if "base_loss" not in figures and figures["step"] == figures["steps"]:
            if kind == "link":
                target.symlink_to(tmp_path / "nowhere")
            elif kind == "file":
                target.write_text("mine")
            else:
                target.mkdir()
                (target / "mine.txt").write_text("mine")

    with pytest.raises(OSError, match=r"path: .*store is in the way \(.*\); move it and repeat the call; nothing is lost"):
        killed_run.protect("em", target, progress=make)
    # Not its own, so it is still in the way.
    with pytest.raises(FileExistsError, match="exists; open a finished store"):
        killed_run.protect("em", target)
    shutil.rmtree(target) if kind == "folder" else target.unlink()
    assert not finishes(target, whole)


def test_a_stray_folder_is_neither_published_nor_in_the_way(tmp_path: Path, whole: Any) -> None:
    def stray(figures: Any) -> None:
        for folder in (tmp_path / "store.partial", tmp_path / "store.partial" / "ready"):
            (folder / ".ipynb_checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / ".ipynb_checkpoints" / "note.txt").write_text("stray")

    killed_run.protect("em", tmp_path / "store", progress=stray)
    assert same_files(tmp_path / "store", whole[0])
    assert os.listdir(tmp_path) == ["store"]


def test_a_call_that_was_killed_between_its_end_and_its_return_finds_its_store(tmp_path: Path, whole: Any) -> None:
    killed_run.kill("protect", "em", tmp_path / "store", "publish", 0)
    assert same_files(tmp_path / "store", whole[0])
    with pytest.raises(ValueError, match=r"store\.partial was left by a call with another seed"):
        killed_run.protect("em", tmp_path / "store", seed=1)
    shutil.copytree(tmp_path, other := tmp_path.with_name("other"))
    # Nothing is trained or written again.
    assert not finishes(tmp_path / "store", whole)
    # Another store, such as a copy of a different set, is not taken for its own.
    (other / "store" / "manifest.json").write_text("{}")
    with pytest.raises(FileExistsError, match="exists; open a finished store"):
        killed_run.protect("em", other / "store")


def found_again(target: Path, whole: Any) -> None:
    """Repeat a call of which nothing is left but its store: it returns that, and no generator, at once."""
    steps: list[Any] = []
    with pytest.warns(
        UserWarning,
        match=r"path: .*store was finished by an earlier call like this one .*; the generator that made it is gone",
    ):
        safe = killed_run.protect("em", target, progress=steps.append)
    assert not steps
    assert (safe.generator, safe.history) == (None, None)
    assert len(safe) == 20
    assert same_files(target, whole[0])
    assert sorted(os.listdir(target.parent)) == ["store"]
    for kind, changed in (("em", {"seed": 1}), ("tap", {})):
        with pytest.raises(FileExistsError, match="exists; open a finished store"):
            killed_run.protect(kind, target, **changed)


def test_a_finished_store_is_known_by_its_call_alone(tmp_path: Path, whole: Any) -> None:
    shutil.copytree(whole[0], tmp_path / "store")
    found_again(tmp_path / "store", whole)
    # Nothing in it tells of the settings, the seed above all.
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert not {"seed", "images", "epochs"} & set(manifest)
    # Bits of the settings, against those in them that nobody can guess who has no clean image.
    told, secret = 4 * len(manifest["call"]), 4 * len(checksum("0" * 64).removeprefix("sha256:"))
    assert secret - told >= 24


@pytest.mark.parametrize("kind", ["em", "tap"])
def test_a_search_finds_its_finished_store(tmp_path: Path, kind: str) -> None:
    steps: list[Any] = []
    first = killed_run.pgd(kind, tmp_path / "store")
    again = killed_run.pgd(kind, tmp_path / "store", progress=steps.append)
    assert not steps
    assert all(torch.equal(again[index][0], first[index][0]) for index in range(20))
    with pytest.raises(FileExistsError, match="exists; open a finished store"):
        killed_run.pgd(kind, tmp_path / "store", seed=1)


@pytest.mark.parametrize("at", range(7))
def test_a_call_that_stops_amid_the_clean_up_finds_its_store(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    target, work, left = tmp_path / "store", tmp_path / "store.partial", at
    unlink, rmdir = os.unlink, os.rmdir

    def stop_or(remove: Any) -> Any:
        def removed(*arguments: Any, **named: Any) -> None:
            nonlocal left
            if target.exists():
                if not left:
                    raise KeyboardInterrupt
                left -= 1
            remove(*arguments, **named)

        return removed

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stop_or(unlink))
        patch.setattr(os, "rmdir", stop_or(rmdir))
        with pytest.raises(KeyboardInterrupt):
            killed_run.protect("em", target)
    (tmp_path / "store.partial.lock").unlink(missing_ok=True)
    if (work / "settings.json").exists() and (work / "manifest.json").exists():
        finishes(target, whole)
    else:
        # Nothing was left to do; all that could be taken up, and could undo the protection, is gone.
        assert at > 3
        assert {file.name for file in work.glob("*")} <= {"settings.json"}
        found_again(target, whole)


def test_a_folder_that_cannot_be_removed_is_warned_of(tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.warns(UserWarning, match=r"store is finished, but .*store\.partial cannot be removed \(Permission denied\)"):
        killed_run.protect("em", tmp_path / "store")
    assert same_files(tmp_path / "store", whole[0])
