"""Tasks as they are described, written and read again, and a user's own kind among them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._tasks import resolve_tasks, tasks_from_config, tasks_to_config
from task_kinds import ALL_TASKS


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, -1), ValueError, "num_classes: expected at least 1, got 0"),
        ((2.0, -1), TypeError, "num_classes: expected an int, got 2.0"),
        ((True, -1), TypeError, "num_classes: expected an int, got True"),
        ((5, 4), ValueError, "ignore_index: 4 is one of the 5 classes"),
        ((5, 0), ValueError, "ignore_index: 0 is one of the 5 classes"),
        ((5, None), TypeError, "ignore_index: expected an int, got None"),
        ((5, 2**63), ValueError, "ignore_index: expected an integer of 64 bits, got 9223372036854775808"),
        ((5, -(2**63)), ValueError, "ignore_index: expected an integer of 64 bits"),
    ],
)
@pytest.mark.parametrize("kind", [mtlue.Classification, mtlue.Segmentation])
def test_wrong_arguments_of_a_task(
    kind: type[mtlue.Classification], arguments: tuple[int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(arguments[0], ignore_index=arguments[1])


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (["age"], TypeError, "tasks: expected a dict .* got list"),
        ({}, ValueError, "tasks: expected at least one task"),
        ({1: 2}, TypeError, "names that are strings, got 1"),
        ({"age": "9"}, TypeError, "tasks\\['age'\\]: expected a mtlue.Task or a number of classes, got '9'"),
        ({"age": True}, TypeError, "tasks\\['age'\\]"),
        ({"age": 0}, ValueError, "tasks\\['age'\\]: num_classes"),
    ],
)
def test_a_wrong_description_of_tasks(tasks: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolve_tasks(tasks)  # type: ignore[arg-type]  # wrong on purpose


def test_tasks_are_equal_by_kind_and_arguments_and_survive_repr_and_config() -> None:
    tasks = [
        *ALL_TASKS,
        mtlue.Classification(4),
        mtlue.Segmentation(4, ignore_index=255),
        mtlue.Classification(3, ignore_index=9),
    ]
    for task in tasks:
        assert eval(repr(task), vars(mtlue)) == task
        assert hash(eval(repr(task), vars(mtlue))) == hash(task)
        assert [other == task for other in tasks].count(True) == 1
    assert repr(tasks[-3:]) == "[Classification(4), Segmentation(4, ignore_index=255), Classification(3, ignore_index=9)]"
    assert mtlue.Classification(3, ignore_index=3).config() == {"num_classes": 3, "ignore_index": 3}
    named = {str(position): task for position, task in enumerate(tasks)}
    assert list(tasks_from_config(tasks_to_config(named)).items()) == list(named.items())
    assert resolve_tasks({"age": 9}) == {"age": mtlue.Classification(9)}
    with pytest.raises(ValueError, match="'age' is of the kind 'Unheard': import the module that defines it"):
        tasks_from_config([["age", "Unheard", {}]])


class Age(mtlue.Task):
    """Age in years as a regression, with one embedding for each decade; a negative age is not known."""

    num_embeddings = property(lambda self: 10)  # type: ignore[assignment]  # the shortest property there is
    output_channels = property(lambda self: 1)  # type: ignore[assignment]

    def read_target(self, label: object) -> Tensor:
        return torch.as_tensor(label, dtype=torch.float32)

    def read_output(self, output: Tensor) -> Tensor:
        return output.reshape(len(output))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).abs() * (target >= 0)).sum() / (target >= 0).sum().clamp_min(1)

    def missing(self, target: Tensor) -> Tensor:
        return target < 0

    def embedding_index(self, target: Tensor) -> Tensor:
        return torch.where(target < 0, -1, (target // 10).long().clamp_max(9))


def test_maps_are_the_tasks_without_a_table_of_embeddings() -> None:
    assert [task.is_map for task in (*ALL_TASKS, Age())] == [False, True, True, True, False]


def test_a_users_own_kind_of_task_works_throughout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tasks = {"age": Age(), "gender": 2}
    generator = mtlue.UEGenerator(tasks, (3, 6, 6), width=4).eval()
    images, ages, genders = torch.rand(3, 3, 6, 6), [34.5, -1.0, 71.0], [0, 1, 1]
    targets = {"age": torch.tensor(ages), "gender": torch.tensor(genders)}
    same = mtlue.UEGenerator({"age": 10, "gender": 2}, (3, 6, 6), width=4).eval()
    same.load_state_dict(generator.state_dict())
    delta = generator(images, targets)
    assert torch.equal(delta, same(images, {"age": torch.tensor([3, -1, 7]), "gender": torch.tensor(genders)}))

    class Net(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [images[:, :1, 0, 0] * 0 + 50.0, images[:, 0, 0, 0] * 0]

    surrogate = mtlue.Surrogate(Net(), tasks)
    years = (15.5 + 21.0) / 2
    assert surrogate.loss(images, targets).item() == pytest.approx((years + math.log(2)) / 2)
    assert surrogate.adversarial_loss(images, targets).item() == pytest.approx((-years + math.log(2)) / 2)

    generator.save(tmp_path / "generator.pt")
    loaded = mtlue.UEGenerator.load(tmp_path / "generator.pt")
    assert loaded.tasks == generator.tasks
    assert torch.equal(loaded(images, targets), delta)


def test_a_users_kind_that_shares_a_name_with_ours_does_not_replace_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mtlue.Task, "kinds", dict(mtlue.Task.kinds))
    ours = {"far": mtlue.Depth()}
    config = tasks_to_config(ours)
    type("Depth", (Age,), {})
    assert tasks_from_config(config) == ours
