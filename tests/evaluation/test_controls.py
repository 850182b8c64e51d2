"""An audit that takes the victims of another one on clean images and on noise."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.baselines import random_noise
from mtlue.defenses import grayscale, jpeg
from mtlue.evaluation import Report, _audit, audit
from two_tasks import OPTIONS, TASKS, two_task_set

QUICK: dict[str, Any] = {**OPTIONS, "epochs": 2, "single_task": ["side"]}


@pytest.fixture(scope="module")
def sets() -> dict[str, Any]:
    clean, test = two_task_set(32, 0), two_task_set(32, 1)
    return {
        "one": random_noise(clean, tasks=TASKS, seed=5),
        "two": random_noise(clean, tasks=TASKS, seed=6),
        "clean": clean,
        "test": test,
    }


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The victims that are trained from now on."""
    run, names = _audit.run_training, []

    def noted(training: Any, *arguments: Any) -> Any:
        names.append(str(training))
        return run(training, *arguments)

    monkeypatch.setattr(_audit, "run_training", noted)
    return names


def both(sets: dict[str, Any], controls: Report | None = None, **changes: Any) -> Report:
    options = {"defenses": [grayscale], "seeds": (0, 1), **QUICK, **changes}
    return audit(sets["two"], sets["clean"], sets["test"], controls=controls, **options)


def test_the_figures_are_those_of_a_training(sets: dict[str, Any], trained: list[str]) -> None:
    first = audit(sets["one"], sets["clean"], sets["test"], defenses=[grayscale], seeds=(0, 1), **QUICK)
    alone = both(sets)
    assert len(trained) == 2 * 2 * (3 + 3 + 2)
    trained.clear()
    # As it is after a rest in a file.
    shared = both(sets, Report.from_json(first.to_json()))
    assert trained == [
        f"{victim}, seed {seed}"
        for seed in (0, 1)
        for victim in (
            "multi-task on protected",
            "single-task of side on protected",
            "multi-task on protected against grayscale",
        )
    ]
    assert shared == alone
    assert shared.to_json() == alone.to_json()
    assert shared != first


def test_what_the_other_audit_has_not_is_trained(sets: dict[str, Any], trained: list[str]) -> None:
    first = audit(sets["one"], sets["clean"], sets["test"], **{**QUICK, "single_task": []})
    trained.clear()
    found = both(sets, first, defenses=[jpeg])
    on_protected = [name for name in trained if "on protected" in name]
    others = [name for name in trained if "on protected" not in name]
    assert len(on_protected) == 6
    assert others[:3] == [
        "single-task of side on clean, seed 0",
        "single-task of side on random noise, seed 0",
        "multi-task on clean against jpeg, seed 0",
    ]
    assert all(name.endswith("seed 1") for name in others[3:])
    assert len(others) == 3 + 5
    assert found == both(sets, defenses=[jpeg])


def test_noise_of_another_size_is_not_taken(sets: dict[str, Any], trained: list[str]) -> None:
    clean, test = sets["clean"], sets["test"]
    first = audit(random_noise(clean, tasks=TASKS, epsilon=4 / 255), clean, test, **QUICK)
    trained.clear()
    both(sets, first, seeds=(0,), defenses=[])
    assert [name for name in trained if "clean" in name] == []
    assert [name for name in trained if "noise" in name] == [
        "multi-task on random noise, seed 0",
        "single-task of side on random noise, seed 0",
    ]


def brighter(images: Tensor) -> Tensor:
    return images


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 3}, "controls: expected an audit with the same settings and sets: epochs was 2, is 3"),
        ({"batch_size": 8}, "batch_size was 16, is 8"),
        ({"transform": brighter}, "transform was '<lambda>', is 'brighter'"),
        ({"clean": two_task_set(32, 2)}, "checksum of the clean was"),
        ({"test": two_task_set(32, 2)}, "checksum of the test was"),
        ({"tasks": {"side": 2, "gloom": 2}}, "controls: that report has the tasks"),
    ],
)
def test_another_audit_s_victims_are_refused(sets: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    clean, test = changes.pop("clean", sets["clean"]), changes.pop("test", sets["test"])
    first = audit(sets["one"], sets["clean"], sets["test"], **{**QUICK, "epochs": 2, "single_task": []})
    protected = random_noise(clean, tasks=TASKS)
    options = {**QUICK, "single_task": [], **changes}
    with pytest.raises(ValueError, match=words):
        audit(protected, clean, test, controls=first, **options)


def test_a_module_with_other_weights_is_another_model(sets: dict[str, Any]) -> None:
    def net(seed: int) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))

    options = {**QUICK, "single_task": [], "epochs": 1}
    first = audit(sets["one"], sets["clean"], sets["test"], **{**options, "model": net(0)})
    audit(sets["two"], sets["clean"], sets["test"], controls=first, **{**options, "model": net(0)})
    with pytest.raises(ValueError, match=r"model was 'Sequential .sha256:.*', is 'Sequential .sha256:"):
        audit(sets["two"], sets["clean"], sets["test"], controls=first, **{**options, "model": net(1)})
    with pytest.raises(TypeError, match="controls: expected a Report of another audit or None, got str"):
        audit(sets["two"], sets["clean"], sets["test"], controls="report.json", **options)  # type: ignore[arg-type]
    assert isinstance(first.tasks["side"], mtlue.Classification)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"schedule": lambda done: 1 - done}, {"schedule": lambda done: 1 - done / 2}),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))}, None),
        ({"transform": partial(torch.mul, other=0.5)}, {"transform": partial(torch.mul, other=0.1)}),
    ],
    ids=["schedule", "model", "transform"],
)
def test_victims_that_were_trained_otherwise_are_refused(
    sets: dict[str, Any], one: dict[str, Any], other: dict[str, Any] | None
) -> None:
    if other is None:
        # Equal weights, and another activation between them.
        model = copy.deepcopy(one["model"])
        model[2] = nn.Tanh()
        other = {"model": model}
    first = audit(sets["one"], sets["clean"], sets["test"], **{**QUICK, "single_task": [], **one})
    with pytest.raises(ValueError, match=r"^controls: expected an audit with the same settings and sets: .*training was"):
        audit(sets["two"], sets["clean"], sets["test"], controls=first, **{**QUICK, "single_task": [], **other})
    # A report of an earlier version did not say.
    del first.settings["training"]
    audit(sets["two"], sets["clean"], sets["test"], controls=first, **{**QUICK, "single_task": [], **other})
