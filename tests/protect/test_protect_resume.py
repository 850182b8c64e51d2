"""A protection that is killed and taken up again ends as an unbroken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from killed_run import kill
from mtlue._formats import WorkFolder
from mtlue._protect.stages import trained_by_this_call
from mtlue._runtime import save_tensors


@pytest.mark.parametrize(("kind", "stage", "step"), [("em", "fit", 8), ("tap", "protect", 3)])
def test_a_protection_that_was_killed_goes_on(script: Any, tmp_path: Path, kind: str, stage: str, step: int) -> None:
    broken, whole, partial = tmp_path / "broken", tmp_path / "whole", tmp_path / "broken.partial"
    kill("protect", kind, broken, stage, step)
    assert not broken.exists()
    assert partial.is_dir()
    if stage == "protect":
        noted = json.loads((partial / "shards" / "000000.json").read_text())["count"]
        assert 0 < noted < 20
        # What the killed process wrote after its last note.
        with (partial / "shards" / "images-000000.bin").open("ab") as file:
            file.write(bytes(37))
    steps: list[Any] = []
    safe = script.protect(kind, broken, progress=steps.append)
    # It did not begin again.
    assert steps[0]["step"] > 1
    # 5 steps an epoch and 5 batches to protect: the broken epoch is run again, the broken batch is written again.
    assert len(steps) == (5 - noted // 4 if stage == "protect" else 3 * 5 + 5)
    script.protect(kind, whole)
    assert (broken / "images-000000.bin").read_bytes() == (whole / "images-000000.bin").read_bytes()
    assert json.loads((broken / "manifest.json").read_text()) == json.loads((whole / "manifest.json").read_text())
    assert {file.name for file in broken.iterdir()} == {"images-000000.bin", "manifest.json"}
    assert not partial.exists()
    memory = script.protect(kind, None)
    assert all(torch.equal(safe[i][0], memory[i][0]) and safe[i][1] == memory[i][1] for i in range(20))


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_a_protection_goes_on_with_the_generator_that_it_has_trained(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In one process: a generator that came new to the call has been trained in place when the call is repeated."""
    script.protect(kind, tmp_path / "whole")
    parts = script.parts()
    monkeypatch.setattr(script, "parts", lambda: parts)

    def stop(figures: Any) -> None:
        if "base_loss" not in figures and figures["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect(kind, tmp_path / "store", progress=stop)
    assert parts[2].trained
    steps: list[Any] = []
    safe = script.protect(kind, tmp_path / "store", progress=steps.append)
    assert [each["step"] for each in steps] == [3, 4, 5]
    assert (tmp_path / "store" / "images-000000.bin").read_bytes() == (tmp_path / "whole" / "images-000000.bin").read_bytes()
    assert len(safe.history) == 4


def test_a_protection_does_not_go_on_with_a_generator_that_was_trained_elsewhere(script: Any, tmp_path: Path) -> None:
    def stop(figures: Any) -> None:
        if "base_loss" not in figures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop, epochs=1)
    dataset, net, generator = script.parts()
    generator.trained = True
    settings = {"surrogate": net, "generator": generator, "loss": script.loss_of("tap"), "progress": False}
    settings |= {"epochs": 1, "batch_size": 4, "fraction": 0.8, "precision": torch.float32, "path": tmp_path / "store"}
    with (
        pytest.warns(UserWarning, match="generator: it is trained already"),
        pytest.raises(ValueError, match=r"path: .*store\.partial was left by a call with another generator"),
    ):
        mtlue.protect(dataset, **settings)


def test_a_protection_that_stops_at_its_very_end_goes_on(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    replace = os.replace

    def stop(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "store":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", epochs=1)
    monkeypatch.undo()
    script.protect("tap", tmp_path / "store", epochs=1)
    script.protect("tap", tmp_path / "whole", epochs=1)
    assert (tmp_path / "store" / "images-000000.bin").read_bytes() == (tmp_path / "whole" / "images-000000.bin").read_bytes()
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["store", "whole"]


@pytest.mark.parametrize(("name", "value"), [("seed", 3), ("fraction", 0.5), ("protected_tasks", ["task0"]), ("epochs", 9)])
def test_a_protection_with_other_arguments_is_not_taken_up(script: Any, tmp_path: Path, name: str, value: Any) -> None:
    def stop(figures: Any) -> None:
        if "base_loss" not in figures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop, epochs=1)
    with pytest.raises(ValueError, match=rf"path: .*store\.partial was left by a call with another {name}"):
        script.protect("tap", tmp_path / "store", **{"epochs": 1, name: value})


@pytest.mark.parametrize(
    ("changes", "other"),
    # A frozen surrogate is told by its weights, one that is trained by their shapes.
    [({"batch_size": 8}, "batch_size"), ({"loss": mtlue.EM()}, "loss, surrogate")],
)
def test_a_protection_names_no_checkpoint_of_its_own(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, other: str
) -> None:
    loss = changes.get("loss", script.loss_of("tap"))
    stopped: list[Any] = []

    def stop(figures: Any) -> None:
        stopped.append(figures)
        if "base_loss" in figures and figures["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop)
    monkeypatch.setattr(script, "loss_of", lambda kind: loss)
    message = rf"^path: .*store\.partial was left by a call with another {other}; repeat that call, or delete it$"
    with pytest.raises(ValueError, match=message):
        script.protect("tap", tmp_path / "store", **{name: value for name, value in changes.items() if name != "loss"})


def test_a_second_call_on_one_path_says_so(script: Any, tmp_path: Path) -> None:
    def finish_elsewhere(figures: Any) -> None:
        if "base_loss" in figures and figures["step"] == 1:
            (tmp_path / "store.partial").rename(tmp_path / "store")

    words = r"^path: .*fit\.pt cannot be written: the folder .*store\.partial does not exist, or another call is writing to it$"
    with pytest.raises(FileNotFoundError, match=words):
        script.protect("tap", tmp_path / "store", progress=finish_elsewhere)


def test_a_path_that_exists_is_refused(script: Any, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"path: .*store exists; open a finished store with mtlue.ProtectedDataset.load"):
        script.protect("tap", tmp_path / "store")
    assert (tmp_path / "store" / "mine.txt").read_text() == "precious"
    assert not (tmp_path / "store.partial").exists()
    assert isinstance(script.protect("tap", None, epochs=1), mtlue.ProtectedDataset)


@pytest.mark.parametrize("content", [3, {"state": {}}])
def test_what_training_left_may_be_damaged(tmp_path: Path, make_generator: Any, content: object) -> None:
    folders = WorkFolder(tmp_path / "store", tmp_path / "work")
    (tmp_path / "work").mkdir()
    generator = make_generator()
    assert not trained_by_this_call(generator, None)
    assert not trained_by_this_call(generator, folders)
    save_tensors(content, tmp_path / "work" / "fit.pt")
    with pytest.raises(ValueError, match=r"^path: .*fit\.pt is damaged; delete .*work$"):
        trained_by_this_call(generator, folders)


def test_a_store_that_something_else_was_trained_for_is_not_returned(script: Any, tmp_path: Path) -> None:
    dataset, net, generator = script.parts()
    call = {"surrogate": net, "loss": mtlue.EM(), "epochs": 1, "check": False, "progress": False, "path": tmp_path / "store"}
    mtlue.protect(dataset, generator=generator, batch_size=4, **call)
    wider = mtlue.UEGenerator(generator.tasks, generator.image_shape, width=8)
    for changes in (
        {"generator": wider, "batch_size": 4},
        {"batch_size": 4},
        {"generator": script.parts()[2], "batch_size": 5},
    ):
        with pytest.raises(FileExistsError, match=r"^path: .*store exists"):
            mtlue.protect(dataset, **{**call, **changes})
    with pytest.warns(UserWarning, match="was finished by an earlier call like this one"):
        mtlue.protect(dataset, generator=script.parts()[2], batch_size=4, **call)


@pytest.mark.parametrize("path", [True, False])
def test_what_is_no_surrogate_is_named_before_anything_is_read(script: Any, tmp_path: Path, path: bool) -> None:
    dataset, _, _ = script.parts()
    with pytest.raises(TypeError, match=r"^surrogate: expected a torch\.nn\.Module"):
        mtlue.protect(dataset, surrogate="resnet18", path=tmp_path / "store" if path else None)  # type: ignore[arg-type]
