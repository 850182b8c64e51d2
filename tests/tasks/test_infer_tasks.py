"""Tasks read off the labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines
from mtlue._data.inference import infer_tasks
from mtlue._tasks import LabelSurvey

IMAGE = torch.zeros(1, 4, 4)
Two, Three = mtlue.Classification(2), mtlue.Classification(3)


def labelled(*labels: Any) -> list[Any]:
    return [(IMAGE, label) for label in labels]


@pytest.mark.parametrize(
    ("labels", "tasks"),
    [
        ([{"age": 2, "sex": 0}, {"age": 0, "sex": 1}], {"age": Three, "sex": Two}),
        ([(2, 0), (1, 1)], {"task0": Three, "task1": Two}),
        ([[0, 1], [1, 2]], {"task0": Two, "task1": Three}),
        ([torch.tensor([0, 2]), torch.tensor([1, 0])], {"task0": Two, "task1": Three}),
        ([np.array([0, 2]), np.array([1, 0])], {"task0": Two, "task1": Three}),
        ([0, 1, 2], {"task0": Three}),
        ([torch.tensor(0), torch.tensor(1)], {"task0": Two}),
        ([np.int64(1), np.int64(2)], {"task0": Three}),
        ([{"a": True}, {"a": False}], {"a": Two}),
        ([{"a": 1.0}, {"a": 2.0}], {"a": Three}),
        ([{"a": torch.tensor([1.0])}, {"a": torch.tensor([2.0])}], {"a": Three}),
        ([{"a": -1}, {"a": 0}, {"a": 2}], {"a": Three}),
        # A class of which there is one kind only still has an opposite.
        ([{"a": 0}, {"a": 0}], {"a": Two}),
        ([{"a": torch.tensor([1])}, {"a": torch.tensor([2])}], {"a": Three}),
        ([{"m": torch.tensor([[0, 2], [-1, 1]])}], {"m": mtlue.Segmentation(3)}),
        ([{"m": torch.tensor([[[0, 1], [0, 1]]])}], {"m": mtlue.Segmentation(2)}),
        ([{"m": torch.tensor([[1]])}, {"m": torch.tensor([[0]])}], {"m": mtlue.Segmentation(2)}),
        ([{"d": torch.rand(2, 2) + 0.1}], {"d": mtlue.Depth()}),
        ([torch.tensor([[0, 2], [-1, 1]])], {"task0": mtlue.Segmentation(3)}),
        ([{"d": torch.rand(1, 2, 2) + 0.1}], {"d": mtlue.Depth()}),
        ([{"n": torch.rand(3, 2, 2)}], {"n": mtlue.SurfaceNormals()}),
        ([{"n": np.full((3, 2, 2), 0.5)}, {"n": np.zeros((3, 2, 2))}], {"n": mtlue.SurfaceNormals()}),
        # Float maps whose numbers happen to be whole: metres, and a floor that looks up.
        ([{"d": torch.full((1, 2, 2), 3.0)}], {"d": mtlue.Depth()}),
        ([{"n": torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1, 1).expand(3, 2, 2)}], {"n": mtlue.SurfaceNormals()}),
    ],
)
def test_each_form(labels: list[Any], tasks: dict[str, Any]) -> None:
    for workers in (0, 1):
        found = infer_tasks(labelled(*labels), num_workers=workers)
        assert found == tasks
        assert list(found) == list(tasks)


def test_the_whole_data_set_is_looked_at() -> None:
    assert infer_tasks(labelled(*[0] * 200, 6)) == {"task0": mtlue.Classification(7)}


class Named(list[Any]):
    tasks: ClassVar[dict[str, Any]] = {"left": 10, "front": mtlue.Classification(2)}


def test_tasks_that_the_data_set_names_come_first() -> None:
    assert infer_tasks(Named(labelled((0, 1), (1, 0)))) == {"left": mtlue.Classification(10), "front": Two}
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    safe = mtlue.protect(
        Named(labelled((0, 1), (1, 0))),
        tasks={"a": 2, "b": 2},
        surrogate=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)),
        loss=mtlue.EM(),
        epochs=1,
        progress=False,
    )
    assert safe.tasks == {"a": Two, "b": Two}
    wrapped = mtlue.Surrogate(net, {"c": 2})
    safe = mtlue.protect(labelled(0, 1), surrogate=wrapped, loss=mtlue.EM(), epochs=1, progress=False)
    assert safe.tasks == {"c": Two}


@pytest.mark.parametrize(
    ("dataset", "error", "words"),
    [
        (
            labelled({"a": "cat", "b": 1}, {"a": "dog", "b": None}, {"a": "cat", "b": 1}),
            TypeError,
            r"dataset: 2 problems:\n"
            r"  - task 'a': expected a number or an array, got 'cat', 'dog'; number the classes, or read them with "
            r"mtlue.datasets.ImageTable \(samples 0, 1, 2\)\n"
            r"  - task 'b': expected a number or an array, got None; use -1 for a missing label \(sample 1\)$",
        ),
        (labelled({"a": 0.5}), ValueError, r"tasks: cannot tell what task 'a' is from fractional labels of shape \(\)"),
        (labelled({"a": torch.rand(2, 4, 4)}), ValueError, r"cannot tell what task 'a' is .*shape \(2, 4, 4\); give tasks="),
        (
            labelled({"a": torch.tensor([1, 2, 0])}),
            ValueError,
            r"task 'a' is from integer labels of shape \(3,\); give tasks={'a': ...}; one-hot\? give its argmax",
        ),
        (
            labelled(*({"id": 99_999 - index % 3} for index in range(30))),
            ValueError,
            r"tasks: 'id' has 3 different values up to 99999 in 30 labels, which look like identifiers, not classes; name the "
            r"tasks with tasks={...}, with 'id': 100000 if",
        ),
        (labelled(*({"id": index} for index in range(20))), ValueError, "'id' has 20 different values up to 19 in 20 labels"),
        (labelled(torch.full((4, 4), 1000)), ValueError, "'task0' has 0 different values up to 1000 in 0 labels"),
        ([IMAGE, IMAGE], ValueError, r"dataset: sample 0: expected a pair \(image, targets\), got Tensor"),
        ([], ValueError, "dataset: expected at least one sample"),
        (labelled({}, {}), ValueError, "tasks: the targets hold no labels to read tasks from, such as {'age': 4}"),
        (labelled(()), ValueError, "tasks: the targets hold no labels"),
    ],
)
def test_labels_that_say_nothing(dataset: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        mtlue.protect(dataset, progress=False)
    with pytest.raises(error, match=words):
        baselines.random_noise(dataset)


def test_a_survey_counts_classes_and_missing_labels() -> None:
    survey = LabelSurvey()
    survey.add_classes("age", [0, 2])
    assert survey.classes == {"age": {0, 2}}
    survey.add_classes("age", [2, -1])
    assert survey.classes == {"age": {0, 2, -1}}
    assert survey.tasks() == {"age": Three}
    for index in range(20):
        survey.add("id", index)
    with pytest.raises(ValueError, match="'id' has 20 different values up to 19 in 20 labels"):
        survey.tasks()
