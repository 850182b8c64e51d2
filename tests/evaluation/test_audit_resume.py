"""An audit that is broken off and repeated trains no finished victim again, and gives the report of an unbroken one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from killed_run import parts
from mtlue import baselines
from mtlue.defenses import Mixup
from mtlue.evaluation import Report, _audit, random_crop
from resumed_victims import STEPS, TASKS, BrokenError, audit, fuse, kill, light

#: Steps of a victim, of two epochs.
VICTIM = 2 * STEPS


@pytest.fixture(scope="module")
def unbroken() -> Report:
    with torch.random.fork_rng(devices=[]):
        return audit(None)


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The victims that are trained from now on; afterwards the fuse is out, and the global random numbers are put back."""
    run, names = _audit.run_training, []

    def noted(training: Any, *arguments: Any) -> Any:
        names.append(str(training))
        return run(training, *arguments)

    monkeypatch.setattr(_audit, "run_training", noted)
    with torch.random.fork_rng(devices=[]):
        yield names
    fuse.at = 0


def same(first: Report, second: Report) -> bool:
    return first == second and first.to_json() == second.to_json()


def broken_off(folder: Path, at: int, error: type[BaseException] = BrokenError, **changes: Any) -> None:
    light(at, error)
    with pytest.raises(error):
        audit(folder, **changes)
    fuse.at = 0


def files(folder: Path, ending: str) -> int:
    return len(list(folder.glob(f"*.{ending}")))


def test_an_audit_that_was_killed_goes_on_as_if_it_had_not(tmp_path: Path, unbroken: Report, trained: list[str]) -> None:
    folder = tmp_path / "audit"
    # In the second epoch of the second victim.
    kill("audit", folder, VICTIM + STEPS + 2)
    assert (files(folder, "victim"), files(folder, "training")) == (1, 1)
    fuse.calls, seen = 0, []
    assert same(audit(folder, progress=seen.append), unbroken)
    assert trained == ["multi-task on random noise, seed 0", "multi-task on protected, seed 0"]
    assert fuse.calls == STEPS + VICTIM
    assert [(figures["step"], figures["steps"]) for figures in seen] == [(2, 3), (3, 3)]
    # An audit that is at its end stays there.
    trained.clear()
    assert same(audit(folder), unbroken)
    assert trained == []
    assert (files(folder, "victim"), len(list(folder.iterdir())), len(list(tmp_path.iterdir()))) == (3, 3, 1)


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_an_audit_that_is_broken_off_again_and_again(tmp_path: Path, unbroken: Report, error: type[BaseException]) -> None:
    for at in (1, STEPS + 1, VICTIM, STEPS + VICTIM, STEPS + 2):
        broken_off(tmp_path / "audit", at, error)
    assert same(audit(tmp_path / "audit"), unbroken)


def test_files_that_cannot_be_written(tmp_path: Path, unbroken: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them once: the state before the first epoch and after each of two, and what the victim has reached."""
    replace, left = os.replace, [0]

    def fail(*names: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device")
        replace(*names)

    monkeypatch.setattr(os, "replace", fail)
    # Of three victims.
    for _ in range(3 * 4 - 1):
        # Each call gets one file further, and then fails at the next.
        left[0] = 2
        with pytest.raises(OSError, match="No space left"):
            audit(tmp_path / "audit")
    left[0] = 0
    assert same(audit(tmp_path / "audit"), unbroken)
    assert files(tmp_path / "audit", "draft") == 0


class Failing(list[Any]):
    """A set whose disk is gone at a read."""

    reads, at = 0, 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        if self.reads == self.at:
            raise OSError("no disk")
        return super().__getitem__(index)


def test_a_data_set_that_fails_while_it_is_read(tmp_path: Path, unbroken: Report) -> None:
    whole = Failing(parts()[0])
    audit(None, whole)
    for share in (0.5, 0.8):
        failing = Failing(parts()[0])
        failing.at = int(share * whole.reads)
        with pytest.raises(ValueError, match="no disk"):
            audit(tmp_path / "audit", failing)
    assert same(audit(tmp_path / "audit", Failing(parts()[0])), unbroken)


def test_more_victims_are_added_to_those_that_are_there(tmp_path: Path, trained: list[str]) -> None:
    folder = tmp_path / "audit"
    audit(folder)
    trained.clear()
    more: dict[str, Any] = {"seeds": (1, 0), "single_task": ["task1"], "defenses": [Mixup()], "epochs": 2}
    added = audit(folder, **more)
    assert len(trained) == 2 * (3 + 3 + 2) - 3
    assert same(added, audit(None, **more))


class Wide(nn.Module):
    """A network of another form."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(90, 3), nn.Linear(3, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(images)
        return answer


def other_set(seed: int = 4) -> Any:
    return baselines.random_noise(parts()[0], tasks=TASKS, seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "epochs was 2, is 3"),
        ({"batch_size": 5}, "batch_size was 8, is 5"),
        ({"learning_rate": 0.1}, r"learning_rate was 0\.01, is 0\.1"),
        ({"transform": random_crop}, "transform was 'jittered', is 'random_crop'"),
        ({"schedule": lambda done: 1.0}, r"schedule was 'paper_schedule.*lambda"),
        ({"model": Wide()}, r"checksum of the model was '\w{12}', is '\w{12}'"),
        ({"model": lambda tasks: Wide()}, r"checksum of the model was"),
        ({"defenses": [Mixup(alpha=2.0)]}, r"defense was 'Mixup\(alpha=1\)', is 'Mixup\(alpha=2\)'"),
        ({"protected": other_set()}, r"checksum of the protected was"),
        ({"clean": [(image, (1, 1)) for image, _ in parts()[0]]}, r"checksum of the clean was"),
    ],
)
def test_victims_with_other_arguments_are_refused_before_anything_is_trained(
    finished: Path, trained: list[str], changes: dict[str, Any], message: str
) -> None:
    before = sorted((path.name, path.read_bytes()) for path in finished.iterdir())
    with pytest.raises(ValueError, match=rf"checkpoint: .*\.victim belongs to a run with other arguments \(.*{message}"):
        audit(finished, **{"defenses": [Mixup()], **changes})
    assert trained == []
    assert sorted((path.name, path.read_bytes()) for path in finished.iterdir()) == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "audit"
    with torch.random.fork_rng(devices=[]):
        audit(folder, defenses=[Mixup()])
    return folder


def test_a_victim_in_training_is_not_taken_up_with_another_set(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    # The third victim is that of the protected set.
    broken_off(folder, 2 * VICTIM + STEPS + 1)
    with pytest.raises(ValueError, match=r"\.training belongs to a run with other arguments \(checksum of the images was"):
        audit(folder, protected=other_set())


def test_what_is_no_folder_of_an_audit_is_left_alone(tmp_path: Path, finished: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"^checkpoint: expected a folder, .*, got the file .*file$"):
        audit(tmp_path / "file")
    (tmp_path / "letter.draft").write_text("mine")
    with pytest.raises(ValueError, match=r"^checkpoint: expected a new folder or that of an audit, got .*, which holds file$"):
        audit(tmp_path)
    assert (tmp_path / "letter.draft").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match=r"^checkpoint: the folder .* does not exist"):
        audit(tmp_path / "nowhere" / "audit")


def test_a_record_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    audit(folder)
    record = next(folder.iterdir())
    content = record.read_bytes()
    assert b"balanced_accuracy" in content
    record.write_bytes(content.replace(b"balanced_accuracy", b"balanced_accuracx"))
    with pytest.raises(ValueError, match=r"checkpoint: .*\.victim is damaged"):
        audit(folder)


def test_two_audits_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    fuse.at, fuse.calls, fuse.act = 1, 0, lambda: audit(folder)
    with pytest.raises(BlockingIOError, match=r"checkpoint: another call is writing to .*audit"):
        audit(folder)


def test_controls_are_taken_over_and_not_kept_again(tmp_path: Path, trained: list[str]) -> None:
    folder, controls = tmp_path / "audit", audit(None)
    other: dict[str, Any] = {"protected": other_set(), "controls": controls}
    whole = audit(None, **other)
    trained.clear()
    broken_off(folder, STEPS + 1, **other)
    assert same(audit(folder, **other), whole)
    assert trained == 2 * ["multi-task on protected, seed 0"]
    assert files(folder, "victim") == 1


def test_an_audit_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="single_task"):
        audit(tmp_path / "audit", single_task=["hat"])
    assert list(tmp_path.iterdir()) == []
