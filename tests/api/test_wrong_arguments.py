"""Arguments out of range or of the wrong type: what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import mtlue


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs: expected an int, got 2.0"),
        ({"epochs": True}, TypeError, "epochs: expected an int, got True"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
        ({"batch_size": "8"}, TypeError, "batch_size: expected an int, got '8'"),
        ({"num_workers": -1}, ValueError, "num_workers: expected at least 0, got -1"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": None}, TypeError, "seed: expected an int, got None"),
        ({"precision": torch.float16}, ValueError, "precision: expected torch.float32 or torch.bfloat16, got torch.float16"),
        ({"precision": "bf16"}, TypeError, "precision: expected torch.float32 .* got 'bf16'"),
        ({"progress": "bar"}, TypeError, "progress: expected None, True, False or a callable, got 'bar'"),
        ({"device": "gpu"}, ValueError, "device: .*gpu"),
        ({"loss": mtlue.TAP}, TypeError, r"loss: expected an object such as mtlue.TAP\(\), got the class TAP"),
        ({"loss": "tap"}, TypeError, r"loss: expected mtlue.EM\(\).* got str"),
        ({"loss": lambda surrogate, images, targets: images.mean()}, TypeError, "loss: .* trains_surrogate, got function"),
        ({"generator": "generator.pt"}, TypeError, "generator: expected a mtlue.UEGenerator, got str"),
        ({"surrogate": "resnet18"}, TypeError, "surrogate: expected a torch.nn.Module, got str"),
        ({"surrogate": nn.Flatten()}, ValueError, "surrogate: expected a model with parameters, got a module that has none"),
    ],
)
def test_arguments(canvases: Any, net: nn.Module, make_generator: Any, arguments: Any, error: Any, words: str) -> None:
    generator = make_generator()
    before = generator.decoder.expand.weight.clone()
    settings: dict[str, Any] = {"generator": generator, "surrogate": net, "loss": mtlue.TAP(), "epochs": 1, "progress": False}
    with pytest.raises(error, match=words):
        mtlue.protect(canvases, **{**settings, **arguments})
    with pytest.raises(error, match=words):
        mtlue.fit(dataset=canvases, **{**settings, **arguments})
    assert torch.equal(generator.decoder.expand.weight, before)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a number > 0, got 0.0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate: .* got nan"),
        ({"lambda_intra": -1.0}, ValueError, "lambda_intra: expected a number >= 0, got -1.0"),
        ({"lambda_inter": "high"}, TypeError, "lambda_inter: expected a number, got 'high'"),
        ({"surrogate_steps": -1}, ValueError, "surrogate_steps: expected at least 0, got -1"),
        ({"stop_accuracy": None}, TypeError, "stop_accuracy: expected a number, got None"),
        ({"augment": "flip"}, TypeError, "augment: expected a callable on batches of images, got 'flip'"),
    ],
)
def test_arguments_of_fit(canvases: Any, net: nn.Module, make_generator: Any, arguments: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), progress=False, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"epsilon": 0.0}, ValueError, "epsilon: expected 0 < epsilon <= 1, got 0.0"),
        ({"epsilon": -0.1}, ValueError, "epsilon: .* got -0.1"),
        ({"epsilon": 8}, ValueError, "epsilon: expected 0 < epsilon <= 1, got 8.*8/255"),
        ({"epsilon": float("nan")}, ValueError, "epsilon: .* got nan"),
        ({"epsilon": "8/255"}, TypeError, "epsilon: expected a number such as 8/255, got '8/255'"),
        ({"fraction": 1.5}, ValueError, r"fraction: expected a share in \[0, 1\], got 1.5"),
        ({"fraction": -0.5}, ValueError, r"fraction: expected a share in \[0, 1\], got -0.5"),
        ({"fraction": float("nan")}, ValueError, "fraction: .* got nan"),
        ({"fraction": "half"}, TypeError, "fraction: .* got 'half'"),
        ({"protected_tasks": ["shoe", "hat"]}, ValueError, r"protected_tasks: unknown \['hat'\].*'shoe', 'front'"),
        ({"protected_tasks": "shoe"}, TypeError, "protected_tasks: expected a list of task names, got 'shoe'"),
        ({"protected_tasks": []}, ValueError, "protected_tasks: expected at least one"),
        ({"tasks": {"shoe": 2}}, ValueError, "generator: its tasks .* differ from the tasks of this call"),
        ({"tasks": ["shoe"]}, TypeError, "tasks: expected a dict .* got list"),
        ({"epsilon": 4 / 255}, ValueError, "epsilon: 0.0156.* is not the generator's 0.0313"),
    ],
)
def test_arguments_of_protect(canvases: Any, net: Any, make_generator: Any, arguments: Any, error: Any, words: str) -> None:
    settings = {"generator": make_generator(), "surrogate": net, "progress": False, **arguments}
    with pytest.raises(error, match=words):
        mtlue.protect(canvases, **settings)


def test_a_checkpoint_in_a_folder_that_is_not_there(canvases: Any, net: nn.Module, make_generator: Any, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint: the folder .*nowhere does not exist"):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), checkpoint=tmp_path / "nowhere" / "run.pt", progress=False)
