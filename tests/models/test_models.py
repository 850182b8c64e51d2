"""Multi-task models: every backbone, every architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mtlue._losses.redrawn import redrawn
from mtlue._models.backbones import patch_size
from mtlue.evaluation import build_model

ARCHITECTURES = ["hard-sharing", "cross-stitch", "mtan", "ltb"]
COLUMNS = ["cross-stitch", "ltb"]
TASKS = {"age.group": 3, "smiling": 2, "forward": 5}
SHAPE = (3, 21, 18)
WIDTHS = (4, 6, 8, 10)


class Block(nn.Module):
    """A residual block of one convolution."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.relu(self.residual(maps) + self.shortcut(maps))
        return out


class NarrowResNet(nn.Module):
    """A ResNet of a user's own, with the names that torchvision gives the parts."""

    def __init__(self, channels: int = 3, blocks: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            more = [Block(width, width) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(Block(before, width, 1 if stage == 1 else 2), *more))
            before = width

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
        return torch.as_tensor(maps)


@pytest.fixture
def resnet() -> NarrowResNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return NarrowResNet()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))


def build(backbone: Any, architecture: str = "hard-sharing", *, tasks: Any = None, seed: int = 0) -> Any:
    return build_model(backbone, tasks or TASKS, image_shape=SHAPE, architecture=architecture, seed=seed)


def reached(loss: Tensor, module: nn.Module) -> set[str]:
    """Names of the parameters that have a gradient which is not zero."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None and gradient.any()}


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("resnet50", 2048),
        ("vgg16", 512),
        ("vgg16_bn", 512),
        ("densenet121", 1024),
        ("vit_b_16", 768),
        ("unet", 16),
    ],
)
def test_backbones_answer_small_images_of_one_channel(name: str, width: int) -> None:
    model: Any = build_model(name, TASKS, image_shape=(1, 32, 32)).eval()
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.features(images)
        answer = model(images)
    assert features.shape == (2, width)
    assert not torch.equal(features[0], features[1])
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {task: (2, n) for task, n in TASKS.items()}
    for head, task in zip(model.heads, TASKS, strict=True):
        torch.testing.assert_close(answer[task], F.linear(features, head.weight, head.bias))


@pytest.mark.parametrize("name", ["resnet101", "resnet152", "wide_resnet50_2"])
def test_the_largest_backbones_answer_with_the_right_shapes(name: str) -> None:
    """Without memory for their weights."""
    with torch.device("meta"):
        model: Any = build_model(name, TASKS, image_shape=(1, 32, 32))
        features, answer = model.features(torch.rand(2, 1, 32, 32)), model(torch.rand(2, 1, 32, 32))
        theirs = getattr(torchvision.models, name)(weights=None, num_classes=1)
    assert features.shape == (2, 2048)
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {task: (2, n) for task, n in TASKS.items()}
    # Of their first convolutions one takes a channel, the other three; a classifier of one class has 2049 numbers.
    size, their_size = (sum(parameter.numel() for parameter in each.parameters()) for each in (model.backbone, theirs))
    assert size == their_size - 2049 - 2 * 64 * 49


def test_a_backbone_by_name_is_torchvision_s_without_its_classifier() -> None:
    ours: Any = build_model("resnet18", TASKS, image_shape=(3, 32, 32)).eval()
    theirs = torchvision.models.resnet18(weights=None)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.backbone.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.features(images), theirs.eval()(images))


def test_initial_weights_are_spread_as_torchvision_s() -> None:
    """VGG is made without its classifier, and so has its weights drawn here."""
    for part in build_model("vgg16_bn", TASKS, image_shape=(3, 32, 32)).modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.std().item() == pytest.approx((2 / (part.out_channels * 9)) ** 0.5, rel=0.1)
            assert part.bias is not None
            assert not part.bias.any()
        elif isinstance(part, nn.BatchNorm2d):
            assert part.weight.eq(1).all()
            assert part.running_var is not None
            assert part.running_var.eq(1).all()


@pytest.mark.parametrize(("side", "patch"), [(32, 4), (36, 4), (64, 8), (70, 7), (140, 14), (224, 16)])
def test_the_patch_of_a_vision_transformer_fits_the_images(side: int, patch: int) -> None:
    assert patch_size(side, side) == patch


@pytest.mark.parametrize("shape", [(3, 32, 36), (3, 37, 37), (3, 12, 12)])
def test_a_vision_transformer_refuses_images_that_no_patch_divides(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"image_shape: .* square images .* got {shape[1]}x{shape[2]}"):
        build_model("vit_b_16", TASKS, image_shape=shape)


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
        (18, {}, TypeError, "backbone: expected the name of one or a torch.nn.Module, got int"),
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
