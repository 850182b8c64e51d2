"""Models that answer with maps: heads, dilated networks, the U-Net."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead

import mtlue
from mtlue import evaluation
from mtlue._models import ResNetStages, UNet, dilate
from mtlue._models.heads import MapHead
from mtlue.evaluation import build_model
from processor import computes_in_bfloat16

ARCHITECTURES = ["hard-sharing", "cross-stitch", "mtan", "ltb"]
TASKS: dict[str, Any] = {
    "what is it": mtlue.Segmentation(5),
    "depth": mtlue.Depth(),
    "room": 3,
    "normals": mtlue.SurfaceNormals(),
}
SHAPE = (3, 21, 18)
ANSWERS = {"what is it": (4, 5, 21, 18), "depth": (4, 1, 21, 18), "room": (4, 3), "normals": (4, 3, 21, 18)}
WIDTHS = (4, 6, 8, 10)


class NarrowResNet(nn.Module):
    """torchvision's blocks, two a stage, with the strides that its ResNets have."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            stride = 1 if stage == 1 else 2
            shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            blocks = BasicBlock(before, width, stride, shortcut), BasicBlock(width, width)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            before = width

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
        return torch.as_tensor(maps)


@pytest.fixture(autouse=True)
def fixed_random_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, *SHAPE)


def build(backbone: Any = None, architecture: str = "hard-sharing", *, tasks: Any = None, seed: int = 0) -> Any:
    """A model on a narrow ResNet, dilated as those by name are."""
    if backbone is None:
        backbone = NarrowResNet()
        dilate(ResNetStages(backbone))
    return build_model(backbone, tasks or TASKS, image_shape=SHAPE, architecture=architecture, seed=seed)


def shapes(answer: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in answer.items()}


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


def test_a_u_net_by_name_is_drawn_by_the_seed() -> None:
    first, second, other = (build("unet", seed=seed).state_dict()["backbone.down.0.0.weight"] for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_classification_alone_begins_with_the_weights_it_has_beside_no_maps() -> None:
    """A task with maps that comes last changes nothing of what is drawn before."""
    net = nn.Conv2d(3, 6, 3)
    alone, beside = build(net, tasks={"room": 3}), build(net, tasks={"room": 3, "depth": mtlue.Depth()})
    torch.testing.assert_close(alone.heads[0].state_dict(), beside.heads[0].state_dict())


# Heads


def test_coarse_maps_pass_deeplab_s_head_and_are_enlarged_bilinearly() -> None:
    head = MapHead(256, 5, coarse=True).eval()
    theirs = DeepLabHead(256, 5)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), head.state_dict().values(), strict=True)))
    maps = torch.rand(2, 256, 4, 3)
    expected = F.interpolate(theirs.eval()(maps), size=(9, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(maps, (9, 7)), expected)
    assert [part.dilation[0] for part in head.modules() if isinstance(part, nn.Conv2d)] == [1, 12, 24, 36, 1, 1, 1, 1]


def test_a_head_is_as_narrow_as_its_features_and_otherwise_deeplab_s() -> None:
    narrow, wide = MapHead(20, 5, coarse=True).layers, DeepLabHead(20, 5)
    assert isinstance(narrow, nn.Sequential)
    assert [type(part) for part in narrow.modules()][1:] == [type(part) for part in wide.modules()][1:]
    ours, theirs = ([part for part in net.modules() if isinstance(part, nn.Conv2d)] for net in (narrow, wide))
    assert [(part.in_channels, part.out_channels) for part in ours] == [(20, 20)] * 5 + [(100, 20), (20, 20), (20, 5)]
    for our, their in zip(ours, theirs, strict=True):
        assert (our.kernel_size, our.padding, our.dilation) == (their.kernel_size, their.padding, their.dilation)
        assert (our.bias is None) == (their.bias is None)


@pytest.mark.parametrize(("features", "width"), [(255, 255), (256, 256), (300, 256)])
def test_no_head_is_wider_than_256(features: int, width: int) -> None:
    head = build(nn.Conv2d(3, features, 3), tasks={"depth": mtlue.Depth()}).heads[0]
    assert next(part for part in head.modules() if isinstance(part, ASPP)).project[0].out_channels == width


@pytest.mark.parametrize(("padding", "coarse"), [((1, 1), False), ((2, 1), False), ((1, 0), True), ((0, 1), True)])
def test_maps_at_the_full_resolution_pass_a_convolution_of_single_pixels(
    padding: tuple[int, int], coarse: bool, images: Tensor
) -> None:
    model = build(nn.Conv2d(3, 6, 3, padding=padding), tasks={"depth": mtlue.Depth()}).eval()
    layers = model.heads[0].layers
    assert isinstance(layers, nn.Sequential if coarse else nn.Conv2d)
    assert model(images)["depth"].shape == (4, 1, 21, 18)
    if padding == (1, 1):
        by_pixel = torch.einsum("cf,bfhw->bchw", layers.weight[:, :, 0, 0], model.backbone(images))
        torch.testing.assert_close(model(images)["depth"], by_pixel + layers.bias)


@computes_in_bfloat16
@pytest.mark.parametrize(("features", "size", "count"), [(48, (8, 8), 16), (48, (1, 1), 16), (256, (4, 4), 8)])
def test_gradients_of_a_head_in_bfloat16_are_near_those_in_float32(features: int, size: tuple[int, int], count: int) -> None:
    """The average over the image is a map of one pixel, on which some convolutions have no right gradients in bfloat16."""
    head = MapHead(features, 5, coarse=True)
    for part in head.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    # Images that differ in their averages, as those of a network do.
    maps = (torch.randn(count, features, 1, 1) + torch.randn(count, features, *size)).relu()
    towards = torch.randn(count, 5, 16, 16)
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            answer = head(maps, (16, 16))
        found[precision] = torch.autograd.grad((answer.float() * towards).sum(), list(head.parameters()))
    for (name, _), exact, rough in zip(head.named_parameters(), *found.values(), strict=True):
        assert rough.isfinite().all(), name
        assert F.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.9, name
        assert rough.norm() / exact.norm() == pytest.approx(1, abs=0.15), name


# Dilated networks


def settled(module: nn.Module) -> nn.Module:
    """Batch normalisation in eval mode, with statistics that do something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(torch.as_tensor(part.running_mean), -0.2, 0.2)
            nn.init.uniform_(torch.as_tensor(part.running_var), 0.5, 2.0)
            nn.init.uniform_(part.bias, -0.2, 0.2)
    return module.eval()


@pytest.mark.parametrize("make", [NarrowResNet, torchvision.models.resnet18], ids=["narrow", "resnet18"])
@pytest.mark.parametrize("size", [(64, 40), (37, 51)])
def test_a_dilated_network_gives_at_every_fourth_pixel_what_it_gave_before(make: Any, size: tuple[int, int]) -> None:
    before = ResNetStages(settled(make()))
    dilated = copy.deepcopy(before)
    dilate(dilated)
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        maps, fewer = dilated(images), before(images)
    assert maps.shape[-2:] == tuple(-(-side // 8) for side in size)
    assert fewer.shape[-2:] == tuple(-(-side // 32) for side in size)
    torch.testing.assert_close(maps[..., ::4, ::4], fewer, atol=1e-4, rtol=1e-4)


def test_resnet50_is_dilated_as_torchvision_does_it() -> None:
    ours: Any = settled(build_model("resnet50", {"depth": mtlue.Depth()}, image_shape=(3, 48, 40)))
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    theirs.fc = nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.backbone.state_dict().values(), strict=True)))
    images = torch.rand(1, 3, 48, 40)
    with torch.no_grad():
        maps = ours.backbone(images)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), theirs.eval()(images))
    assert maps.shape == (1, 2048, 6, 5)
    for our, their in zip(convolutions(ours.backbone), convolutions(theirs), strict=True):
        assert (our.stride, our.kernel_size) == (their.stride, their.kernel_size)
        if our.kernel_size != (1, 1):
            assert (our.padding, our.dilation) == (their.padding, their.dilation)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("name", ["resnet101", "resnet152", "wide_resnet50_2"])
def test_the_largest_resnets_give_maps_of_an_eighth(name: str) -> None:
    """Without memory for their weights."""
    with torch.device("meta"):
        model: Any = build_model(name, TASKS, image_shape=(1, 49, 64))
        maps, answer = model.backbone(torch.rand(2, 1, 49, 64)), model(torch.rand(2, 1, 49, 64))
    assert maps.shape == (2, 2048, 7, 8)
    assert shapes(answer) == {"what is it": (2, 5, 49, 64), "depth": (2, 1, 49, 64), "room": (2, 3), "normals": (2, 3, 49, 64)}
    assert all(isinstance(model.heads[index].layers, DeepLabHead) for index in (0, 1, 3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_resnet_by_name_is_dilated_in_every_architecture(architecture: str) -> None:
    with torch.device("meta"):
        model: Any = build_model("resnet18", TASKS, image_shape=SHAPE, architecture=architecture)
        maps = [model.backbone(torch.rand(2, *SHAPE))] if architecture == "hard-sharing" else model.maps(torch.rand(2, *SHAPE))
        answer = model(torch.rand(2, *SHAPE))
    assert len(maps) == (1 if architecture == "hard-sharing" else len(TASKS))
    assert all(each.shape == (2, 512, 3, 3) for each in maps)
    assert shapes(answer) == {name: (2, *shape[1:]) for name, shape in ANSWERS.items()}


def test_a_resnet_keeps_its_strides_where_no_labels_are_maps_and_where_it_is_one_s_own() -> None:
    with torch.device("meta"):
        classifier: Any = build_model("resnet18", {"room": 3}, image_shape=(3, 64, 64))
    assert classifier.backbone.to_empty(device="cpu")(torch.rand(1, 3, 64, 64)).shape == (1, 512, 2, 2)
    own = build(NarrowResNet())
    assert own.backbone(torch.rand(2, 3, 64, 64)).shape == (2, 10, 2, 2)
    assert shapes(own(torch.rand(4, *SHAPE))) == ANSWERS


@pytest.mark.parametrize("name", ["vgg16_bn", "densenet121"])
def test_other_backbones_by_name_give_maps_too(name: str) -> None:
    model: Any = build_model(name, {"depth": mtlue.Depth(), "room": 3}, image_shape=(1, 35, 64)).eval()
    with torch.no_grad():
        assert shapes(model(torch.rand(2, 1, 35, 64))) == {"depth": (2, 1, 35, 64), "room": (2, 3)}


# The U-Net


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (21, 18), (32, 32)])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_u_net_takes_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    net = UNet(channels, width=2).eval()
    assert net(torch.rand(3, channels, *size)).shape == (3, 2, *size)


def test_a_u_net_by_name_has_sixteen_features_and_a_fifth_of_a_million_parameters() -> None:
    model: Any = build_model("unet", TASKS, image_shape=SHAPE)
    # Weights of 3x3 kernels, and two numbers for each channel that is normalised.
    pairs = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64)]
    pairs += [(128, 32), (32, 32), (64, 16), (16, 16), (32, 16), (16, 16)]
    expected = sum(9 * read * made + 2 * made for read, made in pairs)
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == expected == 211_056
    assert model.backbone(torch.rand(2, *SHAPE)).shape == (2, 16, 21, 18)
    assert all(isinstance(model.heads[index].layers, nn.Conv2d) for index in (0, 1, 3))


class First(nn.Module):
    """The enlarged maps alone, without those beside them."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps[:, : maps.shape[1] // 2]


def test_what_is_enlarged_lies_where_it_came_from() -> None:
    """Without convolutions, each pixel gets the largest of its block of eight by eight, also at odd borders."""
    net = UNet(1, width=1)
    net.down, net.up = nn.ModuleList([nn.Identity()] * 4), nn.ModuleList([First()] * 3)
    image = torch.rand(1, 1, 21, 18)
    expected = torch.empty_like(image)
    for row in range(0, 21, 8):
        for column in range(0, 18, 8):
            block = (..., slice(row, row + 8), slice(column, column + 8))
            expected[block] = image[block].max()
    assert torch.equal(net(image), expected)


def seen(net: UNet, pixel: tuple[int, int]) -> Tensor:
    """Which pixels of an image of 33x33 a pixel of the answer depends on."""
    image = torch.rand(1, 2, 33, 33, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(image)[0, :, pixel[0], pixel[1]].sum(), image)
    return gradient[0].abs().sum(dim=0) > 0


def test_a_u_net_sees_near_pixels_past_the_bottleneck_and_far_ones_through_it() -> None:
    net = UNet(2, width=4).eval()
    assert seen(net, (16, 16)).float().mean() > 0.9
    with torch.no_grad():
        # The first maps that the last convolutions read are those that come from below.
        net.up[-1][0].weight[:, :4] = 0  # type: ignore[index]  # a sequence's part
    near = torch.zeros(33, 33, dtype=torch.bool)
    # Four convolutions of radius one.
    near[12:21, 12:21] = True
    mask = seen(net, (16, 16))
    assert not mask[~near].any()
    assert mask[near].float().mean() > 0.9


# Errors


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


# Training


@pytest.mark.parametrize("backbone", ["narrow", "unet"])
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=computes_in_bfloat16)])
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


def test_a_u_net_learns_to_tell_pixels_apart() -> None:
    model = build("unet", tasks={"bright": mtlue.Segmentation(2)})
    pictures = torch.rand(4, *SHAPE)
    labels = (pictures.mean(dim=1) > 0.5).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(model(pictures)["bright"], labels).backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(pictures)["bright"].argmax(dim=1) == labels).float().mean()
    assert right > 0.9
