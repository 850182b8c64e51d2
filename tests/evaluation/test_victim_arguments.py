"""What no victim can be trained with, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mtlue.evaluation import Weighting, train_victim
from small_victims import OPTIONS, net, two_task_set


def test_a_victim_that_diverges_is_no_protection() -> None:
    with pytest.raises(RuntimeError, match="the victim's loss is nan after epoch 1"):
        train_victim(two_task_set(), model=net(), defense=lambda images: images / 0 * 0, **OPTIONS)


class Picky(nn.Module):
    """A model that is made of a width, and not of tasks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4)


def test_an_error_of_a_function_that_makes_models_stays_its_own() -> None:
    def make(tasks: dict[str, Any]) -> nn.Module:
        raise KeyError("shape")

    with pytest.raises(KeyError, match="shape"):
        train_victim(two_task_set(), **{**OPTIONS, "model": make})


def test_images_of_different_sizes_want_a_size() -> None:
    dataset = [(torch.rand(1, 8 + index % 3, 8), torch.tensor([0, index % 3])) for index in range(6)]
    with pytest.raises(
        ValueError, match=r"^image_size: expected a size such as image_size=\(64, 64\), because the images have 3 sizes$"
    ):
        train_victim(dataset, model=net(), **OPTIONS)  # type: ignore[arg-type]  # a list is a data set too


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: expected a module, the name of a backbone or a function of tasks, got 3"),
        ({"model": lambda tasks: 3}, TypeError, "model: the function returned int"),
        ({"weighting": "uniform"}, TypeError, "weighting: expected one such as evaluation.UW"),
        ({"defense": 5}, TypeError, "defense: expected a Defense or a function on images, got 5"),
        ({"transform": 5}, TypeError, "transform: expected a callable"),
        ({"schedule": 5}, TypeError, "schedule: expected a function of the share of the training done, got 5"),
        ({"after_epoch": 5}, TypeError, "after_epoch: expected a callable, got 5"),
        ({"image_size": (8, 8, 8)}, TypeError, "image_size: expected an int"),
        (
            {"model": Picky},
            TypeError,
            r"^model: calling Picky with the tasks failed: .*; if it is a class, pass an instance: Picky\(\.\.\.\)$",
        ),
        ({"model": nn.Flatten()}, ValueError, "model: expected a model with parameters"),
        ({"tasks": {"side": 1, "shade": 3}}, ValueError, r"task 'side': label 1 is out of range.*sample"),
        ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a number > 0"),
        ({"progress": 3}, TypeError, "progress"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 4))}, ValueError, "model output"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_victim(two_task_set(), **{**OPTIONS, "model": net(), **wrong})


def test_a_set_without_length_is_refused() -> None:
    with pytest.raises(TypeError, match="lacks a length"):
        train_victim(iter([]), model=net(), **OPTIONS)  # type: ignore[arg-type]


def test_the_base_of_weightings_is_abstract() -> None:
    with pytest.raises(TypeError):
        Weighting()  # type: ignore[abstract]
