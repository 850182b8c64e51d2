"""What each architecture shares: cross-stitch's units, MTAN's masks, LTB's tree."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtlue.evaluation import build_model
from narrow_models import ARCHITECTURES, COLUMNS, TASKS, build, reached


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_task_s_loss_reaches_its_own_parts_and_what_is_shared_but_no_other_s(
    architecture: str, resnet: nn.Module, images: Tensor
) -> None:
    model = build(resnet, architecture)
    random = torch.Generator().manual_seed(2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        # Columns that are alike would give nothing to choose by.
        for name, parameter in model.named_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random) * name.startswith("columns."))
        with torch.enable_grad():
            answer = model(images)
    shared = {"hard-sharing": "backbone.", "mtan": "stem.", "cross-stitch": "units", "ltb": "logits"}[architecture]
    for index, task in enumerate(TASKS):
        names = reached(answer[task].square().sum(), model)
        assert {name for name in names if name.startswith("heads.")} == {f"heads.{index}.weight", f"heads.{index}.bias"}
        assert any(name.startswith(shared) for name in names)
        if architecture == "mtan":
            masks = {name.split(".")[2] for name in names if name.startswith("attention.")}
            assert masks == {str(index)}
            assert {name.split(".")[1] for name in names if name.startswith("attention.")} == {"0", "1", "2", "3"}
            assert {name.split(".")[1] for name in names if name.startswith("transfer.")} == {"0", "1", "2"}
        if architecture in COLUMNS:
            last = {name.split(".")[1] for name in names if ".layers.3." in name}
            assert last == {str(index)}
        if architecture == "cross-stitch":
            assert {name.split(".")[1] for name in names if ".stem." in name} == {"0", "1", "2"}


def test_cross_stitch_with_identity_units_is_separate_networks(resnet: nn.Module, images: Tensor) -> None:
    model = build(resnet, "cross-stitch").eval()
    with torch.no_grad():
        for column in model.columns:
            for parameter in column.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter))))
        model.units.copy_(torch.eye(3).expand(4, 3, 3))
        answer = model(images)
        alone = {
            task: head(column(images).mean(dim=(2, 3)))
            for task, column, head in zip(TASKS, model.columns, model.heads, strict=True)
        }
    torch.testing.assert_close(answer, alone)


def test_cross_stitch_mixes_before_each_stage(resnet: nn.Module, images: Tensor) -> None:
    """Against the recursion written out, with units that differ in every entry."""
    model = build(resnet, "cross-stitch").eval()
    units = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.units.copy_(units)
        for number, column in enumerate(model.columns):
            column.stem[0].weight.mul_(1 + number)
        maps = [column.stem(images) for column in model.columns]
        for stage in range(4):
            maps = [
                column.layers[stage](sum(units[stage, task, other] * maps[other] for other in range(3)))
                for task, column in enumerate(model.columns)
            ]
        torch.testing.assert_close(
            model.features(images), {task: m.mean(dim=(2, 3)) for task, m in zip(TASKS, maps, strict=True)}
        )


def test_cross_stitch_units_begin_near_identity(resnet: nn.Module) -> None:
    expected = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).expand(4, 2, 2)
    torch.testing.assert_close(build(resnet, "cross-stitch", tasks={"a": 2, "b": 2}).units.data, expected)
    units = build(resnet, "cross-stitch").units
    torch.testing.assert_close(units.sum(dim=-1), torch.ones(4, 3))
    torch.testing.assert_close(units.diagonal(dim1=1, dim2=2), torch.full((4, 3), 0.9))


def test_mtan_masks_lie_between_zero_and_one_and_are_laid_on_the_shared_maps(resnet: nn.Module, images: Tensor) -> None:
    model = build(resnet, "mtan")
    masks: list[Tensor] = []
    for stage in model.attention:
        for mask in stage:
            mask.register_forward_hook(lambda _, __, made: masks.append(made))
    shared = copy.deepcopy(resnet)(images)
    features = model.features(images)
    assert len(masks) == 4 * len(TASKS)
    assert all(((mask > 0) & (mask < 1)).all() for mask in masks)
    assert all(mask.std() > 0.01 for mask in masks)
    for own, mask in zip(features.values(), masks[-len(TASKS) :], strict=True):
        torch.testing.assert_close(own, (mask * shared).mean(dim=(2, 3)))


def test_mtan_s_masks_differ_by_task_and_see_what_was_picked_before(resnet: nn.Module, images: Tensor) -> None:
    model = build(resnet, "mtan")
    before = model.features(images)
    assert not torch.allclose(before["smiling"], before["forward"])
    with torch.no_grad():
        model.attention[0][1][3].weight.neg_()
    after = model.features(images)
    assert not torch.allclose(before["smiling"], after["smiling"])
    torch.testing.assert_close([after["age.group"], after["forward"]], [before["age.group"], before["forward"]])


def test_mtan_is_as_narrow_inside_as_a_bottleneck() -> None:
    with torch.device("meta"):
        model: Any = build_model("resnet50", {"a": 2}, image_shape=(3, 32, 32), architecture="mtan")
    first, second = model.attention[3][0][0], model.attention[3][0][3]
    assert (first.in_channels, first.out_channels, second.out_channels) == (2 * 2048, 512, 2048)


def branches(model: Any, images: Tensor, parents: Any) -> dict[str, Tensor]:
    """What a tree with these parents gives, followed backwards from each task."""
    features = {}
    for number, task in enumerate(TASKS):
        route = [number]
        for stage in (3, 2, 1, 0):
            route.insert(0, int(parents[stage][route[0]]))
        maps = model.columns[route[0]].stem(images)
        for stage in range(4):
            maps = model.columns[route[stage + 1]].layers[stage](maps)
        features[task] = maps.mean(dim=(2, 3))
    return features


@pytest.fixture
def tree(resnet: nn.Module) -> Any:
    """An LTB model whose columns and logits all differ."""
    model = build(resnet, "ltb")
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.logits.copy_(torch.randn(4, 3, 3, generator=random))
        for parameter in model.columns.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return model


def test_ltb_takes_the_likeliest_parents_in_eval_mode(tree: Any, images: Tensor) -> None:
    tree.eval()
    with torch.no_grad():
        features = tree.features(images)
        torch.testing.assert_close(features, branches(tree, images, tree.logits.argmax(dim=-1)))
        other = branches(tree, images, tree.logits.argmin(dim=-1))
    assert not torch.allclose(features["smiling"], other["smiling"])
    assert torch.equal(tree.parents, tree.logits.argmax(dim=-1))


def test_ltb_draws_parents_in_training_as_often_as_the_logits_say(tree: Any) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        drawn = torch.stack([tree.mixing() for _ in range(4000)])
    assert drawn.sum(dim=-1).allclose(torch.ones(()))
    assert ((drawn == 0) | (drawn == 1)).all()
    torch.testing.assert_close(drawn.mean(dim=0), tree.logits.softmax(dim=-1), atol=0.04, rtol=0)


def test_ltb_learns_the_parents(tree: Any, images: Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tree(images)["smiling"].square().sum().backward()
    # The last stage has a branch for each task, and only that of the task matters to it.
    assert [bool(row.any()) for row in tree.logits.grad[3]] == [False, True, False]
    assert all(stage.any() for stage in tree.logits.grad)


def test_ltb_s_temperature_falls_with_the_epochs(resnet: nn.Module) -> None:
    model = build(resnet, "ltb")
    temperatures = []
    for epoch in range(10):
        model.set_epoch(epoch, 10)
        temperatures.append(model.temperature)
    assert temperatures == sorted(temperatures, reverse=True)
    assert len(set(temperatures)) == 10
    assert (temperatures[0], temperatures[-1]) == pytest.approx((5.0, 0.5))
    model.set_epoch(0, 1)
    assert model.temperature == 5.0


def test_ltb_s_temperature_is_that_of_the_gumbel_softmax(tree: Any) -> None:
    """The straight-through gradient is that of the soft choice, softmax((logits + noise) / temperature)."""
    slopes = []
    for epoch in (0, 9):
        tree.set_epoch(epoch, 10)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            noise = -torch.empty_like(tree.logits).exponential_().log()
            torch.manual_seed(2)
            drawn = tree.mixing()
        (slope,) = torch.autograd.grad(drawn[0, 0, 0], tree.logits)
        soft = ((tree.logits + noise) / tree.temperature).softmax(dim=-1)
        (expected,) = torch.autograd.grad(soft[0, 0, 0], tree.logits)
        torch.testing.assert_close(slope, expected)
        slopes.append(slope)
    assert not torch.allclose(slopes[0], slopes[1])
