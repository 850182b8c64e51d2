"""Bad surrogates and generators are refused before any training, and what looks odd but is right is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from refusals import Refused, Without


class Answers(nn.Linear):
    """Answers as a function of the logits tells."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        super().__init__(256, 4)
        self.form = form

    def forward(self, images: torch.Tensor) -> Any:
        return self.form(super().forward(images.flatten(1)))


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        (lambda x: {"shoe": x[:, :2]}, ValueError, ("surrogate output: missing 'front'", "found 'shoe'")),
        (lambda x: (x[:, :2], x[:, :3]), ValueError, ("surrogate output of task 'front'", r"\(B, 2\)", r"got \(\d+, 3\)")),
        (lambda x: [x[:, :2]], ValueError, ("surrogate output: expected 2 values", "got 1")),
        (lambda x: x[:, :3], ValueError, ("surrogate output", "2 entries", r"got shape \(\d+, 3\)")),
        (lambda x: x.reshape(-1, 2, 2), ValueError, ("surrogate output", r"shape \(\d+, 2, 2\)")),
        (lambda x: {"shoe": x[:, :2], "front": 3}, TypeError, ("surrogate output of task 'front'", "a tensor, got int")),
        (lambda x: None, TypeError, ("surrogate output", "got NoneType")),
        (lambda x: x @ torch.ones(5), ValueError, ("surrogate: failed on images of shape", "RuntimeError")),
    ],
)
def test_answers_of_the_surrogate(refused: Refused, canvases: Any, form: Any, error: Any, words: tuple[str, ...]) -> None:
    refused(canvases, error, *words, surrogate=Answers(form))


def test_surrogate_of_other_tasks(refused: Refused, canvases: Any, net: nn.Module) -> None:
    refused(canvases, ValueError, "surrogate: its tasks .*'hat'.* generator's", surrogate=mtlue.Surrogate(net, {"hat": 2}))


def test_em_needs_a_parameter_to_train(refused: Refused, canvases: Any, net: nn.Module) -> None:
    net.requires_grad_(False)
    refused(canvases, ValueError, "surrogate: expected a model that can be trained, but none", loss=mtlue.EM())


def test_sep_with_state_dicts_of_another_model(refused: Refused, canvases: Any) -> None:
    refused(
        canvases,
        ValueError,
        "checkpoints: expected state dicts of the surrogate, but they differ",
        loss=mtlue.SEP([{"w": torch.ones(1)}]),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_surrogate_in_another_precision(refused: Refused, canvases: Any, net: nn.Module, dtype: torch.dtype) -> None:
    words = f"surrogate: failed on .*; it has parameters of {dtype}, images are float32: give net.float\\(\\), and precision="
    refused(canvases, ValueError, words, surrogate=net.to(dtype))


def test_a_surrogate_that_converts_the_images_itself_is_fine(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    converting = Without(net.double(), torch.Tensor.double)
    assert len(mtlue.fit(make_generator(), canvases, converting, loss=mtlue.TAP(), epochs=1, progress=False)) == 1


def test_surrogate_without_weights(refused: Refused, canvases: Any, net: nn.Module) -> None:
    refused(
        canvases,
        ValueError,
        "surrogate: it is on the meta device, so it has no weights; load them first",
        surrogate=net.to("meta"),
    )


def test_surrogate_that_is_a_class_or_a_name(refused: Refused, canvases: Any) -> None:
    words = r"surrogate: expected a torch.nn.Module, got the class Flatten; are its brackets missing\?"
    refused(canvases, TypeError, words, surrogate=nn.Flatten)
    words = r'surrogate: expected a torch.nn.Module, got str; mtlue.evaluation.build_model\("resnet50", tasks, image_shape'
    refused(canvases, TypeError, words, surrogate="resnet50")


def test_probabilities_are_not_logits(canvases: Any, make_generator: Any) -> None:
    def fit(form: Callable[[torch.Tensor], Any]) -> None:
        mtlue.fit(make_generator(), canvases[:8], Answers(form), loss=mtlue.EM(), epochs=1, progress=False)

    words = "surrogate: output of task 'front' looks like probabilities; give logits, without softmax"
    with pytest.warns(UserWarning, match=words) as caught:
        fit(lambda x: (x[:, :2], x[:, 2:].softmax(dim=1)))
    assert len(caught) == 1
    # Warnings are errors: these give none. A single logit, which is 1 for all, is read as (0, 1).
    fit(lambda x: (x[:, :2], x[:, 2:].log_softmax(dim=1)))
    fit(lambda x: (x[:, :2].exp(), 0 * x[:, 2] + 1))


def test_a_generator_that_cannot_be_trained(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    with pytest.raises(ValueError, match="generator: expected parameters to train, got none"):
        mtlue.fit(make_generator().requires_grad_(False), canvases, net, loss=mtlue.TAP(), progress=False)
