"""Multi-task models in every architecture: how they are built, from what, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtlue._losses.redrawn import redrawn
from mtlue.evaluation import build_model
from narrow_models import ARCHITECTURES, COLUMNS, SHAPE, TASKS, WIDTHS, NarrowResNet, build, reached


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("blocks", [1, 2])
def test_every_architecture_on_a_resnet_of_one_s_own(architecture: str, blocks: int, images: Tensor) -> None:
    model = build(NarrowResNet(blocks=blocks), architecture)
    answer = model(images)
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {task: (4, n) for task, n in TASKS.items()}
    model.eval()
    features = model.features(images)
    by_task = dict.fromkeys(TASKS, features) if architecture == "hard-sharing" else features
    assert list(by_task) == list(TASKS)
    for head, (task, own) in zip(model.heads, by_task.items(), strict=True):
        assert own.shape == (4, WIDTHS[-1])
        torch.testing.assert_close(model(images)[task], head(own))


@pytest.mark.parametrize("architecture", ["cross-stitch", "mtan", "ltb"])
def test_every_architecture_on_torchvision_s_resnet(architecture: str) -> None:
    model = build_model("resnet18", {"odd": 2, "digit": 10}, image_shape=(1, 33, 32), architecture=architecture)
    answer = model(torch.rand(2, 1, 33, 32))
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {"odd": (2, 2), "digit": (2, 10)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_single_task(architecture: str, resnet: nn.Module, images: Tensor) -> None:
    model = build(resnet, architecture, tasks={"smiling": 2})
    logits = model(images)["smiling"]
    assert logits.shape == (4, 2)
    unreached = {name for name, _ in model.named_parameters()} - reached(logits.square().sum(), model)
    # With one parent only, there is nothing to choose.
    assert unreached == ({"logits"} if architecture == "ltb" else set())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equal_seeds_give_equal_models_and_leave_the_random_numbers_alone(architecture: str, resnet: nn.Module) -> None:
    state = torch.get_rng_state()
    first, second, other = (build(resnet, architecture, seed=seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["heads.0.weight"], other["heads.0.weight"])


def test_columns_by_name_begin_unlike_each_other_and_by_the_seed() -> None:
    def weights(seed: int) -> list[Tensor]:
        model: Any = build_model("resnet18", {"a": 2, "b": 2}, image_shape=SHAPE, architecture="cross-stitch", seed=seed)
        return [column.stem[0].weight.detach() for column in model.columns]

    (one, two), (same, _), (other, _) = weights(0), weights(0), weights(1)
    assert not torch.equal(one, two)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_backbone_of_one_s_own_is_copied_with_its_weights(architecture: str, resnet: nn.Module, images: Tensor) -> None:
    resnet.eval()
    before = copy.deepcopy(resnet.state_dict())
    model = build(resnet, architecture)
    copies = [model.backbone.conv1] if architecture == "hard-sharing" else []
    copies += [column.stem[0] for column in model.columns] if architecture in COLUMNS else []
    copies += [model.stem[0]] if architecture == "mtan" else []
    assert len(copies) == (len(TASKS) if architecture in COLUMNS else 1)
    assert all(torch.equal(each.weight, before["conv1.weight"]) for each in copies)

    model(images)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in resnet.state_dict().items())
    assert not any(part.training for part in resnet.modules())
    assert all(part.training for part in model.modules())


def test_finding_the_width_leaves_batch_normalisation_as_it_was(resnet: nn.Module) -> None:
    for architecture in ARCHITECTURES:
        for name, buffer in build(resnet, architecture).named_buffers():
            assert buffer.eq(1 if name.endswith("running_var") else 0).all(), name


def test_features_as_they_are_and_maps_averaged(images: Tensor) -> None:
    maps = nn.Conv2d(3, 7, 3)
    flat = nn.Sequential(copy.deepcopy(maps), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    averaged = build(maps)
    assert averaged.features(images).shape == (4, 7)
    torch.testing.assert_close(averaged.features(images), build(flat).features(images))
    torch.testing.assert_close(averaged(images), build(flat)(images))


class Tokens(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(2)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


@pytest.mark.parametrize(
    ("backbone", "arguments", "error", "words"),
    [
        ("resnet19", {}, ValueError, "backbone: expected a module or one of .*'resnet18'.* got 'resnet19'"),
        (18, {}, TypeError, "backbone: expected the name of a backbone or a torch.nn.Module, got int"),
        (Tokens(), {}, ValueError, r"backbone: expected features \(B, F\) or .* got torch.float32 of shape \(2, 3, 378\)"),
        (nn.Flatten(0), {}, ValueError, r"backbone: expected features .* of shape \(2268,\) for 2 images"),
        (Pair(), {}, TypeError, "backbone: .* one tensor of features, got tuple"),
        (nn.Conv2d(1, 4, 3), {}, ValueError, r"backbone: it does not take images of shape \(3, 21, 18\): .*channels"),
        ("vgg16", {"image_shape": (3, 16, 16)}, ValueError, r"backbone: it does not take images of shape \(3, 16, 16\)"),
        ("resnet18", {"architecture": "soft"}, ValueError, "architecture: expected one of .*'mtan'.* got 'soft'"),
        ("resnet18", {"architecture": None}, ValueError, "architecture: expected one of .* got None"),
        ("resnet18", {"image_shape": (3, 32)}, ValueError, r"image_shape: expected \(channels, height, width\), got \(3, 32\)"),
        ("resnet18", {"image_shape": (3, 32, 0)}, ValueError, r"image_shape: .* got \(3, 32, 0\)"),
        ("resnet18", {"image_shape": 32}, TypeError, "image_shape: .* got 32"),
        ("resnet18", {"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ("resnet18", {"tasks": {}}, ValueError, "tasks: expected at least one task"),
        ("vgg16", {"architecture": "mtan"}, ValueError, "backbone: .* has no conv1, bn1, relu, maxpool, layer1, .*, layer4$"),
    ],
)
def test_wrong_arguments(backbone: Any, arguments: Any, error: Any, words: str) -> None:
    given: Any = {"tasks": TASKS, "image_shape": SHAPE, **arguments}
    with pytest.raises(error, match=words):
        build_model(backbone, **given)


@pytest.mark.parametrize("architecture", ["cross-stitch", "mtan", "ltb"])
def test_a_module_that_lacks_a_part_is_told_which(architecture: str, resnet: nn.Module) -> None:
    del resnet.layer3
    resnet.maxpool = None  # type: ignore[assignment]  # as a user may who wants no pooling
    with pytest.raises(ValueError, match=r"NarrowResNet has no maxpool, layer3$"):
        build(resnet, architecture)


def test_a_failure_leaves_the_random_numbers_alone() -> None:
    fails: list[Callable[[], object]] = [lambda: build(Tokens()), lambda: build("vgg16", "ltb")]
    state = torch.get_rng_state()
    for fail in fails:
        with pytest.raises(ValueError, match="backbone"):
            fail()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_draws_its_parameters_anew(architecture: str) -> None:
    """As a loss with networks that start anew has it do."""
    model = build_model("resnet18", {"a": 2, "b": 3}, image_shape=(3, 16, 16), architecture=architecture, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    made, fresh = redrawn(model), build_model("resnet18", {"a": 2, "b": 3}, image_shape=(3, 16, 16), architecture=architecture)
    for (name, new), before in zip(made.named_parameters(), model.parameters(), strict=True):
        assert not torch.equal(new, before), name
        # Mixtures, scales and the like begin with values that are not drawn.
        if (constant := fresh.get_parameter(name)).unique().numel() <= 2:
            assert torch.equal(new, constant) or name.endswith("bias"), name
