"""What no victim can be trained with, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.defenses import Defense
from mtlue.evaluation import Weighting, train_victim
from small_victims import OPTIONS, TASKS, net, two_task_set


def test_a_victim_that_diverges_is_no_protection() -> None:
    with pytest.raises(RuntimeError, match="the victim's loss is nan in epoch 1, in its first step: check that defence"):
        train_victim(two_task_set(), model=net(), defense=lambda images: images / 0 * 0, **OPTIONS)


@pytest.mark.parametrize(
    "learning_rate",
    [
        pytest.param(1e10, id="finite, and far away"),
        pytest.param(1e30, id="not finite"),
    ],
)
def test_a_victim_that_diverges_is_told_in_its_first_epoch(learning_rate: float) -> None:
    steps: list[Tensor] = []

    def counted(images: Tensor) -> Tensor:
        steps.append(images)
        return images

    # Not any weights: with some, the first loss is above 1.
    torch.manual_seed(0)
    options = {**OPTIONS, "model": nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), "tasks": {"side": 2}, "batch_size": 2}
    options |= {"learning_rate": learning_rate, "transform": counted}
    dataset = [(image, labels[0]) for image, labels in two_task_set()]
    with pytest.raises(RuntimeError, match=r"^the victim's loss is .* in epoch 1, and was 0.*: lower the learning rate"):
        train_victim(dataset, **options)  # type: ignore[arg-type]  # a list is a data set too
    # Not at the end of the epoch, which has 24 steps.
    assert len(steps) <= 8


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


class Detached(Defense):
    """A defence whose losses teach nothing."""

    def losses(self, victim: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: loss.detach() for name, loss in super().losses(victim, images, targets).items()}


class Idle(Weighting):
    """A weighting that forgets to take a gradient."""

    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        pass


class Numb(Weighting):
    """A weighting that takes the gradient of what was detached."""

    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        torch.stack([loss.detach() for loss in losses.values()]).sum().backward()


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
        ({"schedule": lambda done: 0.0}, ValueError, "schedule: expected a factor above 0 at some moment, got 0 throughout"),
        ({"schedule": lambda: 1.0}, TypeError, r"schedule: expected a function of \(done\), got one that takes \(\)"),
        ({"transform": lambda images, labels: images}, TypeError, r"transform: expected a function of \(images\)"),
        (
            {"after_epoch": lambda epoch: None},
            TypeError,
            r"after_epoch: expected a function of \(epoch, model\), got",
        ),
        ({"model": lambda: 3}, TypeError, r"model: expected a function of \(tasks\), got one that takes \(\)"),
        ({"model": "resnet19"}, ValueError, r"^model: expected a module or one of \['densenet121', .*'wide_resnet50_2'\], got"),
        ({"model": net().state_dict()}, TypeError, "model: expected .*, got a OrderedDict; load a state dict into a module"),
        ({"model": mtlue.Surrogate(net(), TASKS)}, TypeError, "model: expected .*, got a mtlue.Surrogate; give its .module"),
        ({"defense": lambda images: None}, TypeError, "defense: expected <lambda> to return images, got NoneType"),
        ({"defense": lambda images: images[:1]}, ValueError, r"defense: .* same shape \(16, 1, 8, 8\), got \(1, 1, 8, 8\)"),
        ({"defense": lambda: None}, TypeError, r"defense: expected a function of \(images\), got one that takes \(\)"),
        ({"defense": Detached()}, ValueError, "defense: expected Detached to return losses with a gradient, got constants"),
        (
            {"weighting": Idle()},
            ValueError,
            r"weighting: expected Idle\(\).backward to put gradients into",
        ),
        ({"weighting": Numb()}, ValueError, r"weighting: Numb\(\) takes the gradient of a constant"),
        ({"checkpoint": 3}, TypeError, "checkpoint: expected a path, got 3"),
        ({"checkpoint": ""}, ValueError, r"checkpoint: expected a path that ends in a name, got ''"),
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


def test_an_error_of_a_weighting_stays_its_own() -> None:
    class Failing(Weighting):
        def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
            raise RuntimeError("no such task")

    with pytest.raises(RuntimeError, match=r"^no such task$"):
        train_victim(two_task_set(), model=net(), weighting=Failing(), **OPTIONS)


def test_a_set_without_length_is_refused() -> None:
    with pytest.raises(TypeError, match="lacks a length"):
        train_victim(iter([]), model=net(), **OPTIONS)  # type: ignore[arg-type]


def test_the_base_of_weightings_is_abstract() -> None:
    with pytest.raises(TypeError):
        Weighting()  # type: ignore[abstract]
