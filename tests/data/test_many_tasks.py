"""Many tasks: labels of a batch are read together, and what is wrong with one of them is told as if it were alone."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._data import Samples, infer_and_inspect, infer_tasks, inspect_dataset
from mtlue._tasks import alike_tasks, read_single

COUNT = 130
NAMES = [f"attribute{index}" for index in range(12)]
TASKS: dict[str, Any] = {
    "age": mtlue.Classification(9),
    **dict.fromkeys(NAMES, mtlue.Classification(3)),
    "kind": mtlue.Classification(2, ignore_index=7),
}
LABELS = torch.randint(-1, 3, (COUNT, len(TASKS)), generator=torch.Generator().manual_seed(0))
LABELS[:, -1] = torch.where(LABELS[:, -1] < 0, 7, LABELS[:, -1].clamp_max(1))
IMAGES = torch.rand(COUNT, 1, 4, 4, generator=torch.Generator().manual_seed(0))
FORMS: dict[str, Any] = {
    "dict": lambda row: dict(zip(TASKS, row.tolist(), strict=True)),
    "tuple": lambda row: tuple(row.tolist()),
    "tensor": lambda row: row,
    "array": lambda row: row.numpy(),
    "floats": lambda row: row.float(),
    "tensors": list,
    "mixed": lambda row: [float(row[0]), *row[1:-1].unsqueeze(1), np.int64(row[-1])],
}


class Counting(list[Any]):
    """Samples that count how often one is read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        return super().__getitem__(index)


def samples_in(form: Any) -> Counting:
    return Counting((image, form(row)) for image, row in zip(IMAGES, LABELS, strict=True))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_read_together_as_one_by_one(form: Any) -> None:
    dataset = samples_in(form)
    read = Samples(dataset, TASKS).read_labels([targets for _, targets in dataset])
    assert list(read) == list(TASKS)
    for name, column in zip(TASKS, LABELS.unbind(1), strict=True):
        assert torch.equal(read[name], torch.cat([read_single(label, TASKS[name]) for label in column]))
    assert torch.equal(read.together(NAMES), LABELS[:, 1:-1])
    assert inspect_dataset(dataset, TASKS).length == COUNT


def test_labels_of_a_batch_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches and three kinds of task, not 130 samples and 14 tasks."""
    calls: list[object] = []
    read = mtlue.Classification.read_target
    monkeypatch.setattr(mtlue.Classification, "read_target", lambda task, label: calls.append(label) or read(task, label))
    inspect_dataset(samples_in(FORMS["dict"]), TASKS, reread=False)
    assert len(calls) == 9


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_wrong_label_is_named(form: Any) -> None:
    dataset = samples_in(form)
    for index, column in ((70, 5), (129, 5)):
        dataset[index] = (IMAGES[index], form(LABELS[index].clone().index_fill_(0, torch.tensor(column), 3)))
    for workers in (0, 1):
        with pytest.raises(ValueError, match=r"^dataset: task 'attribute4': label 3 is out of .* \(samples 70, 129\)$"):
            inspect_dataset(dataset, TASKS, num_workers=workers)


def test_classes_that_occur_are_those_of_each_task() -> None:
    labels = LABELS.clone()
    labels[:, 2], labels[:, -1] = -1, 1
    with pytest.raises(ValueError, match=r"^dataset: task 'attribute1': every label is missing$"):
        inspect_dataset(list(zip(IMAGES, labels, strict=True)), TASKS)
    labels[:, 2], labels[0, 2] = -1, 2
    assert inspect_dataset(list(zip(IMAGES, labels, strict=True)), TASKS).lone == ("attribute1", "kind")


@pytest.mark.parametrize("form", ["dict", "tuple", "tensor", "array"])
def test_tasks_and_faults_are_told_from_one_read(form: str) -> None:
    labels = LABELS.clone()
    labels[:, -1] = labels[:, -1].clamp_max(1)
    dataset = Counting((image, FORMS[form](row)) for image, row in zip(IMAGES, labels, strict=True))
    tasks, inspection = infer_and_inspect(dataset)
    assert dataset.reads == COUNT + len(range(0, COUNT, COUNT // 16))
    assert list(tasks.values()) == [mtlue.Classification(3)] * 13 + [mtlue.Classification(2)]
    assert inspection == inspect_dataset(dataset, tasks)
    assert infer_tasks(dataset, num_workers=1) == tasks


def test_what_one_read_cannot_tell_is_read_again() -> None:
    maps = [(image, {"m": torch.zeros(4, 4, dtype=torch.long)}) for image in IMAGES]
    assert infer_and_inspect(maps) == ({"m": mtlue.Segmentation(2)}, None)
    dark = [(image - 1, {"a": index % 2}) for index, image in enumerate(IMAGES)]
    assert infer_and_inspect(dark) == ({"a": mtlue.Classification(2)}, None)
    below = [(image, {"a": index % 2 - 2}) for index, image in enumerate(IMAGES)]
    assert infer_and_inspect(below)[1] is None


def test_targets_side_by_side_move_as_one() -> None:
    read = Samples(samples_in(FORMS["dict"]), TASKS).read_labels(list(LABELS))
    for moved in (pickle.loads(pickle.dumps(read)), read.to(torch.device("cpu")), read.each(Tensor.clone)):
        assert list(moved) == list(TASKS)
        assert all(torch.equal(moved[name], read[name]) for name in TASKS)
        # Still one tensor, not a copy of its columns.
        assert moved[NAMES[1]].data_ptr() == moved.together(NAMES)[:, 1:].data_ptr()
    part = read.each(lambda target: target[10:20])
    assert torch.equal(part["kind"], LABELS[10:20, -1])
    assert torch.equal(part.together(NAMES), LABELS[10:20, 1:-1])


def test_a_target_that_is_replaced_is_seen() -> None:
    read = Samples(samples_in(FORMS["dict"]), TASKS).read_labels(list(LABELS))
    read[NAMES[0]] = torch.zeros(COUNT, dtype=torch.long)
    assert not read.together(NAMES)[:, 0].any()


def test_only_many_equal_tasks_are_taken_together() -> None:
    groups = alike_tasks({**TASKS, "map": mtlue.Segmentation(3)})
    assert [group.names for group in groups] == [("age",), tuple(NAMES), ("kind",), ("map",)]
    few = dict.fromkeys("abcdefg", mtlue.Classification(2))
    assert [group.names for group in alike_tasks(few)] == [(name,) for name in few]
