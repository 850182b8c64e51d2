"""The forms in which a data set may give targets and a surrogate may answer."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._tasks import read_outputs, read_targets, resolve_tasks

TASKS = resolve_tasks({"age": 9, "race": 5, "gender": 2})
BINARY = resolve_tasks({"smiling": 2, "young": 2})
LABELS = torch.tensor([[8, 0, 1], [3, -1, 0], [0, 4, -1], [-1, 2, 1]])
COLUMNS = list(LABELS.unbind(dim=1))
Labels = namedtuple("Labels", "age race gender")


def assert_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize(
    "targets",
    [
        dict(zip(TASKS, COLUMNS, strict=True)),
        OrderedDict(zip([*TASKS, "unused"], [*COLUMNS, torch.zeros(4)], strict=True)),
        dict(reversed(list(zip(TASKS, COLUMNS, strict=True)))),
        tuple(COLUMNS),
        COLUMNS,
        Labels(*COLUMNS),
        LABELS,
        LABELS.double(),
        [column.unsqueeze(1) for column in COLUMNS],
        [column.tolist() for column in COLUMNS],
        [column.numpy() for column in COLUMNS],
    ],
    ids=["dict", "extra", "order", "tuple", "list", "namedtuple", "tensor", "float", "columns", "lists", "arrays"],
)
def test_every_form_of_a_batch_of_targets_reads_the_same(targets: object) -> None:
    assert_same(read_targets(targets, TASKS), dict(zip(TASKS, COLUMNS, strict=True)))


@pytest.mark.parametrize(
    "targets",
    [{"age": 8, "race": 0, "gender": 1}, (8, 0, 1), [8, 0, 1], torch.tensor([8, 0, 1])],
    ids=["dict", "tuple", "list", "tensor"],
)
def test_every_form_of_one_sample_reads_the_same(targets: object) -> None:
    assert_same(read_targets(targets, TASKS), {"age": torch.tensor(8), "race": torch.tensor(0), "gender": torch.tensor(1)})


@pytest.mark.parametrize("targets", [3, {"age": 3}, (3,), [3], torch.tensor(3), torch.tensor([3])], ids=repr)
def test_a_single_task_also_takes_its_label_alone(targets: object) -> None:
    read = read_targets(targets, resolve_tasks({"age": 9}))
    assert {name: label.tolist() for name, label in read.items()} in ({"age": 3}, {"age": [3]})


@pytest.mark.parametrize(
    "targets", [torch.tensor([3, -1]), torch.tensor([[3], [-1]]), (torch.tensor([3, -1]),)], ids=["(B,)", "(B, 1)", "tuple"]
)
def test_a_single_task_takes_a_batch_of_labels_alone(targets: object) -> None:
    assert_same(read_targets(targets, resolve_tasks({"age": 9})), {"age": torch.tensor([3, -1])})


def test_checked_targets_are_read_once_and_move_as_they_are() -> None:
    read = read_targets(LABELS, TASKS)
    assert read_targets(read, TASKS) is read
    moved = read.to(torch.device("cpu"))
    assert read_targets(moved, TASKS) is moved
    assert_same(moved, read)


def test_a_segmentation_batch_of_one_keeps_its_batch_axis() -> None:
    """(B, H, W) with B = 1, as in the last batch of an epoch."""
    labels = torch.randint(4, (1, 6, 6), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    generator = mtlue.UEGenerator({"parts": mtlue.Segmentation(4)}, (3, 6, 6), width=4).eval()
    assert generator(torch.rand(1, 3, 6, 6), labels).shape == (1, 3, 6, 6)
    surrogate = mtlue.Surrogate(torch.nn.Conv2d(3, 4, 1), {"parts": mtlue.Segmentation(4)})
    images = torch.rand(1, 3, 6, 6)
    assert torch.equal(surrogate.loss(images, labels), surrogate.loss(images, labels.unsqueeze(1)))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ({"age": 1, "gender": 0}, ValueError, "targets: missing 'race'; found 'age', 'gender'"),
        ((1, 0), ValueError, "targets: expected 3 values in the order 'age', 'race', 'gender', got 2"),
        ([1, 0, 1, 1], ValueError, "targets: expected 3 values .* got 4"),
        (torch.zeros(4, 2), ValueError, "targets: .* 3 entries.*'age', 'race', 'gender'.*\\(4, 2\\)"),
        (torch.tensor(1), ValueError, "targets: .* 3 entries"),
        (1, TypeError, "targets: expected a dict by task name.* got int"),
        ("abc", TypeError, "targets: expected a dict by task name.* got str"),
        (None, TypeError, "targets: .* got NoneType"),
        ((1, 5, 0), ValueError, "task 'race': label 5 is out of range"),
        ((1, "4", 0), TypeError, "task 'race': expected an integer label"),
    ],
)
def test_targets_that_do_not_fit_name_the_task(targets: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_targets(targets, TASKS)


OUTPUTS = {name: torch.arange(4.0 * classes).reshape(4, classes) for name, classes in (("age", 9), ("race", 5), ("gender", 2))}


@pytest.mark.parametrize(
    "outputs",
    [OUTPUTS, {**dict(reversed(OUTPUTS.items())), "features": torch.zeros(4)}, tuple(OUTPUTS.values()), [*OUTPUTS.values()]],
    ids=["dict", "extra", "tuple", "list"],
)
def test_every_form_of_outputs_reads_the_same(outputs: object) -> None:
    assert_same(read_outputs(outputs, TASKS), OUTPUTS)


@pytest.mark.parametrize("form", ["tensor", "flat", "columns", "pairs", "dict"])
def test_binary_logits_in_every_form_read_the_same(form: str) -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    flat = list(logits.unbind(dim=1))
    outputs: object = {
        "tensor": logits,
        "flat": flat,
        "columns": [column.unsqueeze(1) for column in flat],
        "pairs": [torch.stack([torch.zeros(4), column], dim=1) for column in flat],
        "dict": dict(zip(BINARY, flat, strict=True)),
    }[form]
    read = read_outputs(outputs, BINARY)
    for name, column in zip(BINARY, flat, strict=True):
        torch.testing.assert_close(read[name].softmax(dim=1)[:, 1], column.sigmoid())


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2)])
def test_a_single_binary_task_takes_one_tensor(shape: tuple[int, ...]) -> None:
    assert read_outputs(torch.zeros(shape), resolve_tasks({"young": 2}))["young"].shape == (4, 2)


def test_a_single_dense_task_takes_one_tensor() -> None:
    maps = torch.randn(2, 4, 5, 5)
    assert_same(read_outputs(maps, resolve_tasks({"parts": mtlue.Segmentation(4)})), {"parts": maps})


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        ({"age": OUTPUTS["age"], "gender": OUTPUTS["gender"]}, ValueError, "surrogate output: missing 'race'"),
        ((OUTPUTS["age"],), ValueError, "surrogate output: expected 3 values in the order 'age', 'race', 'gender', got 1"),
        (
            [torch.zeros(4, 9), torch.zeros(4, 6), torch.zeros(4)],
            ValueError,
            "output of task 'race': .*\\(B, 5\\), got \\(4, 6\\)",
        ),
        ([torch.zeros(4, 9), 1.0, torch.zeros(4)], TypeError, "output of task 'race': expected a tensor, got float"),
        (torch.zeros(4, 3), ValueError, "output of task 'age': expected logits of shape \\(B, 9\\)"),
        (torch.zeros(4, 16), ValueError, "surrogate output: .* 3 entries"),
        (torch.zeros(3), ValueError, "surrogate output: expected one tensor \\(B, 3\\) of binary logits.*\\(3,\\)"),
        (torch.zeros(4, 3, 3), ValueError, "surrogate output: expected one tensor \\(B, 3\\)"),
        (None, TypeError, "surrogate output: .* got NoneType"),
    ],
)
def test_outputs_that_do_not_fit_name_the_task(outputs: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_outputs(outputs, TASKS)
