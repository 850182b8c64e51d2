"""Models that answer with maps: in every architecture, for every task, and trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from dense_models import ANSWERS, ARCHITECTURES, SHAPE, TASKS, WIDTHS, NarrowResNet, build, shapes
from mtlue import evaluation
from mtlue.evaluation import build_model

pytestmark = pytest.mark.usefixtures("fixed_random_numbers")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, *SHAPE)


def unlike(module: nn.Module) -> None:
    """Make the columns of a model differ, which all begin as copies of one module."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))


def reached(loss: Tensor, module: nn.Module) -> set[str]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None and gradient.any()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("names", [["what is it"], ["depth"], ["normals"], ["depth", "room"], list(TASKS)])
def test_every_architecture_answers_in_the_size_of_the_images(architecture: str, names: list[str], images: Tensor) -> None:
    model = build(architecture=architecture, tasks={name: TASKS[name] for name in names})
    expected = {name: ANSWERS[name] for name in names}
    answer = model(images)
    assert shapes(answer) == expected
    assert list(answer) == names
    assert all(each.isfinite().all() for each in answer.values())
    features = model.eval().features(images)
    by_task = {"shared": features} if architecture == "hard-sharing" else features
    assert all(each.shape == (4, WIDTHS[-1]) for each in by_task.values())


@pytest.mark.parametrize("backbone", ["narrow", "unet"])
def test_images_of_another_size_are_answered_in_theirs(backbone: str) -> None:
    answer = build(None if backbone == "narrow" else backbone)(torch.rand(2, 3, 35, 40))
    assert shapes(answer) == {"what is it": (2, 5, 35, 40), "depth": (2, 1, 35, 40), "room": (2, 3), "normals": (2, 3, 35, 40)}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES[1:], "hard-sharing", "unet"])
def test_a_loss_of_all_tasks_reaches_every_parameter(architecture: str, images: Tensor) -> None:
    model = build("unet") if architecture == "unet" else build(architecture=architecture)
    unlike(model)
    names: set[str] = set()
    # Of the branches of a tree a batch takes some.
    for _ in range(12 if architecture == "ltb" else 1):
        names |= reached(sum((each.square().sum() for each in model(images).values()), torch.zeros(())), model)
    assert names == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_of_a_map_reaches_its_head_and_the_backbone_but_no_other_head(architecture: str, images: Tensor) -> None:
    model = build(architecture=architecture)
    names = reached(model(images)["depth"].square().sum(), model)
    assert {name.split(".")[1] for name in names if name.startswith("heads.")} == {"1"}
    shared = {"hard-sharing": "backbone.conv1.", "mtan": "stem.0."}.get(architecture, "columns.")
    assert any(name.startswith(shared) for name in names)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_classes_of_whole_images_are_told_from_pooled_features(architecture: str, images: Tensor) -> None:
    model = build(architecture=architecture).eval()
    features = model.features(images)
    own = features if architecture == "hard-sharing" else features["room"]
    torch.testing.assert_close(model(images)["room"], model.heads[2](own))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equal_seeds_give_equal_models_and_leave_the_random_numbers_alone(architecture: str) -> None:
    net = NarrowResNet()
    state = torch.get_rng_state()
    first, second, other = (build(net, architecture, seed=seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for head in range(len(TASKS)):
        weights = [name for name in first if name.startswith(f"heads.{head}.") and first[name].ndim > 1]
        assert weights
        assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_classification_alone_begins_with_the_weights_it_has_beside_no_maps() -> None:
    """A task with maps that comes last changes nothing of what is drawn before."""
    net = nn.Conv2d(3, 6, 3)
    alone, beside = build(net, tasks={"room": 3}), build(net, tasks={"room": 3, "depth": mtlue.Depth()})
    torch.testing.assert_close(alone.heads[0].state_dict(), beside.heads[0].state_dict())


class Flat(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@pytest.mark.parametrize(
    ("backbone", "architecture", "words"),
    [
        (
            "vit_b_16",
            "hard-sharing",
            r"labels of \['what is it', 'depth', 'normals'\] are maps; vit_b_16 gives features \(B, F\)",
        ),
        (Flat(), "hard-sharing", r"expected one that gives feature maps .* 'normals'\] are maps; Flat gives features \(B, F\)"),
        ("unet", "mtan", "backbone: .* UNet has no conv1, .*, layer4$"),
        ("unet", "ltb", "backbone: .* UNet has no conv1, .*, layer4$"),
    ],
)
def test_backbones_that_do_not_fit(backbone: Any, architecture: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"backbone: .*{words.removeprefix('backbone: .*')}"):
        build_model(backbone, TASKS, image_shape=(3, 32, 32), architecture=architecture)


def test_a_custom_task_with_maps_has_a_head_for_its_channels(images: Tensor) -> None:
    class Shading(mtlue.Depth):
        @property
        def output_channels(self) -> int:
            return 7

    try:
        assert shapes(build(tasks={"shading": Shading()})(images)) == {"shading": (4, 7, 21, 18)}
    finally:
        del mtlue.Task.kinds[Shading.kind()]


@pytest.mark.parametrize("backbone", ["narrow", "unet"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_victims_are_trained_on_maps_and_classes_also_with_one_image_left_over(backbone: str, precision: str) -> None:
    pictures = torch.rand(5, *SHAPE)
    dataset = [
        (picture, {"what is it": (5 * picture[0]).long(), "depth": picture[:1] + 1, "room": index % 3, "normals": picture})
        for index, picture in enumerate(pictures)
    ]
    model = build(None if backbone == "narrow" else backbone)
    victim = evaluation.train_victim(
        dataset,  # type: ignore[arg-type]  # a list is map-style
        tasks=TASKS,
        model=model,
        epochs=2,
        batch_size=2,
        precision=getattr(torch, precision),
        progress=False,
    )
    assert all(parameter.isfinite().all() for parameter in victim.parameters())
    assert not any(torch.equal(old, new) for old, new in zip(model.parameters(), victim.parameters(), strict=True))
    figures = evaluation.evaluate(victim, dataset, tasks=TASKS)  # type: ignore[arg-type]  # likewise
    assert list(figures) == list(TASKS)
