"""Models that no victim can be, and modes of the caller in which one is trained all the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

import mtlue
from mtlue import baselines
from mtlue.baselines import random_noise
from mtlue.evaluation import Weighting, audit, train_victim
from small_victims import OPTIONS, TASKS, net, two_task_set


class Graphless(nn.Module):
    """A model that answers without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        return self.net(images)


def changed(change: Callable[[nn.Module], Any]) -> nn.Module:
    module = net()
    with torch.no_grad():
        change(module)
    return module


WRONG: list[Any] = [
    pytest.param(changed(lambda each: each.to("meta")), "it is on the meta device, so it has no weights", id="meta"),
    pytest.param(changed(lambda each: each.half()), "failed on images of .*it has parameters of torch.float16", id="float16"),
    pytest.param(changed(lambda each: each.double()), "failed on images of .*it has parameters of torch.float64", id="float64"),
    pytest.param(
        changed(lambda each: each.requires_grad_(False)), "none of its parameters has requires_grad=True", id="frozen"
    ),
    pytest.param(
        changed(lambda each: next(each.parameters()).fill_(torch.nan)),
        "expected finite weights, but some of 'body.1.weight' are not",
        id="NaN",
    ),
    pytest.param(Graphless(), "no gradient reaches its parameters; is there torch.no_grad", id="forward without gradients"),
]


def test_lazy_layers_get_their_shape_from_the_images() -> None:
    lazy = net()
    lazy.body[1] = nn.LazyLinear(32)
    victim = train_victim(two_task_set(), model=lazy, **{**OPTIONS, "epochs": 1})
    assert not any(is_lazy(parameter) for parameter in victim.parameters())
    assert is_lazy(lazy.body[1].weight)


@pytest.mark.parametrize(("model", "message"), WRONG)
def test_a_model_that_cannot_be_trained_is_told(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        train_victim(two_task_set(), **{**OPTIONS, "model": lambda tasks: copy.deepcopy(model)})
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        train_victim(two_task_set(), model=model, **OPTIONS)


@pytest.mark.parametrize(("model", "message"), WRONG)
def test_an_audit_tells_it_before_a_defense_sees_the_model(model: nn.Module, message: str) -> None:
    clean = two_task_set()
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        audit(random_noise(clean, tasks=TASKS), clean, two_task_set(16), model=model, defenses=[lambda x: x], **quick())


def quick() -> dict[str, Any]:
    return {**{name: value for name, value in OPTIONS.items() if name != "tasks"}, "epochs": 1, "single_task": []}


MODES: list[Any] = [pytest.param(torch.no_grad, id="no_grad"), pytest.param(torch.inference_mode, id="inference_mode")]


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_of_the_caller_makes_no_difference_to_a_victim(mode: Callable[[], AbstractContextManager[Any]]) -> None:
    model = net()
    expected = train_victim(two_task_set(), model=model, **{**OPTIONS, "epochs": 1}).state_dict()
    with mode():
        found = train_victim(two_task_set(), model=model, **{**OPTIONS, "epochs": 1}).state_dict()
        assert not torch.is_grad_enabled()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert not any(torch.equal(value, found[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("verb", ["protect", "pgd", "audit"])
def test_nor_to_any_other_verb_that_trains(verb: str, mode: Callable[[], AbstractContextManager[Any]]) -> None:
    clean, model = two_task_set(16), net()
    models = [model, copy.deepcopy(model)]

    def made() -> Any:
        own = models.pop()
        if verb == "audit":
            return audit(random_noise(clean, tasks=TASKS), clean, two_task_set(8), model=own, **quick()).measurements
        settings: dict[str, Any] = {"tasks": TASKS, "surrogate": own, "loss": mtlue.EM(), "batch_size": 8, "progress": False}
        if verb == "pgd":
            return [image.tolist() for image, _ in baselines.pgd(clean, **settings, rounds=1, steps=1)]
        return [image.tolist() for image, _ in mtlue.protect(clean, **settings, epochs=1, check=False)]

    expected = made()
    with mode():
        assert made() == expected


def test_a_surrogate_that_was_made_in_inference_mode_is_told() -> None:
    with torch.inference_mode():
        model = net()
        with pytest.raises(ValueError, match=r"^surrogate: it was made in torch.inference_mode\(\), where nothing can learn"):
            mtlue.protect(two_task_set(16), tasks=TASKS, surrogate=model, loss=mtlue.EM(), epochs=1, progress=False)


def test_one_sample_is_enough_to_look_at() -> None:
    class Mean(Weighting):
        def backward(self, losses: Any, module: nn.Module) -> None:
            torch.stack(list(losses.values())).mean().backward()

    one = torch.utils.data.Subset(two_task_set(), [0])
    assert not train_victim(one, model=net(), weighting=Mean(), **{**OPTIONS, "epochs": 1}).training
