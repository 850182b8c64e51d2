"""Arguments of a search pixel by pixel: what is refused, and what is warned of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue.baselines._pgd import pgd
from pixel_search import FAST, QUIET, TASKS, Own, changes
from snapshots import equal, snapshot


def test_less_than_a_level_is_warned_of(canvases: Any, net: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"epsilon: 0.001961 is less than one level, 1/255") as caught:
        safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), epsilon=0.5 / 255, **FAST, **QUIET)
    assert caught[0].filename == __file__
    assert not changes(safe, canvases).any()


def test_an_untrained_surrogate_is_warned_of_where_it_was_given(canvases: Any, make_net: Any) -> None:
    balanced = make_net()
    nn.init.zeros_(balanced[1].weight)
    with pytest.warns(UserWarning, match="surrogate: no better than chance .* TAP needs a surrogate") as caught:
        pgd(canvases, tasks=TASKS, surrogate=balanced, loss=mtlue.TAP(), steps=1, **QUIET)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps: expected at least 1, got 0"),
        ({"rounds": 1.0}, TypeError, "rounds: expected an int, got 1.0"),
        ({"step_size": 0.0}, ValueError, "step_size: expected a number > 0, got 0.0"),
        ({"surrogate_steps": -1}, ValueError, "surrogate_steps: expected at least 0, got -1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate: expected a number, got 'fast'"),
        ({"stop_accuracy": None}, TypeError, "stop_accuracy: expected a number, got None"),
        ({"epsilon": 8}, ValueError, "epsilon: expected 0 < epsilon <= 1, got 8.*8/255"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
        ({"num_workers": -1}, ValueError, "num_workers: expected at least 0, got -1"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"precision": torch.float16}, ValueError, "precision: expected torch.float32 or torch.bfloat16, got torch.float16"),
        ({"progress": "bar"}, TypeError, "progress: expected None, True, False or a callable, got 'bar'"),
        ({"device": "gpu"}, ValueError, "device: .*gpu"),
        ({"augment": "flip"}, TypeError, "augment: expected a callable on batches of images, got 'flip'"),
        ({"loss": mtlue.TAP}, TypeError, r"loss: expected an object such as mtlue.TAP\(\), got the class TAP"),
        (
            {"loss": Own(lambda images: images.sum((1, 2, 3)))},
            TypeError,
            r"loss: expected a scalar tensor from Own, got \(2,\)",
        ),
        ({"loss": Own(lambda images: 1.0)}, TypeError, "loss: expected a scalar tensor from Own, got float"),
        ({"loss": Own(lambda images: images.sum() / 0)}, RuntimeError, "pgd: the loss .* is not finite"),
        (
            {"loss": Own(lambda images: (images - images).sqrt().sum())},
            RuntimeError,
            "pgd: the loss or its gradient .* not finite",
        ),
        ({"surrogate": "resnet18"}, TypeError, "surrogate: expected a torch.nn.Module, got str"),
        ({"surrogate": nn.Flatten()}, ValueError, "surrogate: expected a model with parameters, got a module that has none"),
        ({"tasks": ["shoe"]}, TypeError, "tasks: expected a dict .* got list"),
        ({"tasks": {"hat": 2}}, ValueError, "dataset: .*'hat'"),
        ({"dataset": []}, ValueError, "dataset: expected at least one sample"),
    ],
)
def test_wrong_arguments(canvases: Any, net: nn.Module, arguments: Any, error: Any, words: str, tmp_path: Any) -> None:
    before = snapshot(net)
    settings = {"dataset": canvases, "tasks": TASKS, "surrogate": net, "loss": mtlue.TAP(), **QUIET, **FAST, **arguments}
    with pytest.raises(error, match=words):
        pgd(path=tmp_path / "safe", **settings)
    assert equal(snapshot(net), before)
    assert not (tmp_path / "safe").exists()


def test_a_surrogate_of_other_tasks_is_refused(canvases: Any, net: nn.Module, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"surrogate: its tasks .*'a'.* differ from the tasks of this call, .*'shoe'"):
        pgd(canvases, tasks=TASKS, surrogate=mtlue.Surrogate(net, {"a": 2, "b": 2}), loss=mtlue.TAP(), **QUIET)
    with pytest.raises(ValueError, match="surrogate output"):
        pgd(canvases, tasks={"shoe": 3, "front": 2}, surrogate=net, loss=mtlue.TAP(), path=tmp_path / "safe", **QUIET)
    # Nothing is left that would stand in the way of the right call.
    assert list(tmp_path.iterdir()) == []


def test_images_of_different_sizes_are_refused(canvases: Any, net: nn.Module) -> None:
    dataset = [*canvases, (canvases[0][0][:, :12], canvases[0][1])]
    with pytest.raises(ValueError, match=r"dataset: .* images of one size, got 2 sizes such as 12x16, 16x16; resize them"):
        pgd(dataset, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), **QUIET)
