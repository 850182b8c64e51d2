"""Many equal tasks are computed together, and give what they give one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from literal import literal_perturbation
from mtlue._data import Samples

TASKS: dict[str, Any] = {
    "age": mtlue.Classification(5),
    **{f"attribute{index}": mtlue.Classification(3, ignore_index=7) for index in range(9)},
    "sex": mtlue.Classification(2),
    **{f"lone{index}": mtlue.Classification(1) for index in range(8)},
}
COUNT = 6


class Doubled(mtlue.Classification):
    """Classification with another loss and another shift."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return 2 * super().loss(output, target)

    def adversarial_target(self, target: Tensor) -> Tensor:
        return target


def labels_of(tasks: dict[str, Any]) -> Tensor:
    random = torch.Generator().manual_seed(0)
    columns = []
    for task in tasks.values():
        labels = torch.randint(task.num_classes, (COUNT,), generator=random)
        labels[torch.rand(COUNT, generator=random) < 0.3] = task.ignore_index
        columns.append(labels)
    return torch.stack(columns, dim=1)


def gradients(value: Tensor, module: nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(value, list(module.parameters()), allow_unused=True, retain_graph=True))


@pytest.mark.parametrize("protected", [None, ["age", "attribute3", "lone0"]])
@pytest.mark.parametrize("count", [2, COUNT], ids=["tables longer than the batch", "batch"])
def test_perturbations_are_those_of_the_concatenation(protected: Any, count: int) -> None:
    torch.manual_seed(0)
    generator = mtlue.UEGenerator(TASKS, (3, 7, 6), embedding_channels=3, width=4).eval()
    images, labels = torch.rand(COUNT, 3, 7, 6)[:count], labels_of(TASKS)[:count]
    targets = dict(zip(TASKS, labels.unbind(1), strict=True))
    indices = {name: task.embedding_index(targets[name]) for name, task in TASKS.items()}
    expected = literal_perturbation(generator, images, indices, protected_tasks=protected)
    for read in (targets, Samples([], TASKS).read_labels(list(labels))):
        delta = generator(images, read, protected_tasks=protected)
        torch.testing.assert_close(delta, expected, atol=1e-6, rtol=0)
        found, wanted = (gradients(value.square().sum(), generator) for value in (delta, expected))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    with torch.no_grad(), generator.reuse_tables(generator.spread_tables()):
        torch.testing.assert_close(generator(images, targets, protected_tasks=protected), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [mtlue.Classification, Doubled])
def test_losses_are_those_of_each_task(kind: Callable[..., Any]) -> None:
    tasks = {name: kind(task.num_classes, ignore_index=task.ignore_index) for name, task in TASKS.items()}
    torch.manual_seed(0)
    outputs = {name: torch.randn(COUNT, task.num_classes, requires_grad=True) for name, task in tasks.items()}
    labels = labels_of(tasks)
    # A task without a label, and an answer that is not a number where there is none.
    labels[:, 2] = 7
    labels[0, 3] = 7
    outputs["attribute2"].data[0] = torch.nan
    targets = Samples([], tasks).read_labels(list(labels))
    surrogate = mtlue.Surrogate(nn.Identity(), tasks)
    for together, one in (
        (surrogate.losses_of(outputs, targets), "loss"),
        (surrogate.adversarial_losses_of(outputs, targets), "adversarial_loss"),
    ):
        expected = {name: getattr(task, one)(outputs[name], targets[name]) for name, task in tasks.items()}
        assert list(together) == list(tasks)
        torch.testing.assert_close(together, expected)
        wanted = torch.autograd.grad(sum(expected.values()), list(outputs.values()))
        found = torch.autograd.grad(torch.stack(list(together.values())).sum(), list(outputs.values()))
        torch.testing.assert_close(found, wanted)
    assert surrogate.labelled(targets).tolist() == [index != 2 for index in range(len(tasks))]


def test_one_operation_does_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *given, **named: calls.append(0) or entropy(*given, **named)
    )
    tasks = {f"a{index}": 2 for index in range(50)}
    surrogate = mtlue.Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(12, 50)), tasks)
    labels = torch.randint(2, (4, 50))
    loss, towards = surrogate.loss(torch.rand(4, 3, 2, 2), labels), surrogate.adversarial_loss(torch.rand(4, 3, 2, 2), labels)
    assert torch.isfinite(loss + towards)
    assert len(calls) == 2
