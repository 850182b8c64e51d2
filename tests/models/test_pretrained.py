"""torchvision's trained weights: in backbones by name, and networks that a user made with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import DenseNet121_Weights, ResNet18_Weights, VGG16_Weights, WeightsEnum

import mtlue
from mtlue import evaluation
from mtlue.evaluation import build_model
from optional import needs

TASKS = {"pet": 3, "lit": 2}
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@pytest.fixture(scope="module")
def trained() -> Any:
    """A ResNet whose running means are not those of a new one."""
    torch.manual_seed(5)
    net = torchvision.models.resnet18(weights=None).train()
    net(IMAGES)
    return net.eval()


def features_of(net: Any, images: Tensor) -> Tensor:
    """What torchvision's classifier sees of normalised images."""
    seen: list[Tensor] = []
    hook = net.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net((images - MEAN) / STD)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("form", ["state dict", "file", "enum", "name"])
def test_a_backbone_takes_them_and_normalises(trained: Any, tmp_path: Path, monkeypatch: Any, form: str) -> None:
    torch.save(trained.state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: trained.state_dict())
    given: Any = {
        "state dict": trained.state_dict(),
        "file": tmp_path / "resnet18.pth",
        "enum": ResNet18_Weights.DEFAULT,
        "name": "IMAGENET1K_V1",
    }[form]
    model: Any = build_model("resnet18", TASKS, image_shape=(3, 32, 32), weights=given).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.features(IMAGES), features_of(trained, IMAGES))
        assert {name: tuple(logits.shape) for name, logits in model(IMAGES).items()} == {"pet": (4, 3), "lit": (4, 2)}


@pytest.mark.parametrize("architecture", ["cross-stitch", "mtan", "ltb"])
def test_each_architecture_starts_from_them(trained: Any, architecture: str) -> None:
    made: Any = build_model("resnet18", TASKS, image_shape=(3, 32, 32), architecture=architecture, weights=trained.state_dict())
    wanted = trained.layer4[1].conv2.weight
    assert any(torch.equal(weight, wanted) for weight in made.parameters() if weight.shape == wanted.shape)
    assert made(IMAGES)["pet"].shape == (4, 3)


def test_dilated_ones_too(trained: Any) -> None:
    tasks = {"parts": mtlue.Segmentation(3)}
    made: Any = build_model("resnet18", tasks, image_shape=(3, 32, 32), weights=trained.state_dict())
    assert made(IMAGES)["parts"].shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "member"), [("densenet121", DenseNet121_Weights.DEFAULT), ("vgg16", VGG16_Weights.IMAGENET1K_FEATURES)]
)
def test_other_networks_and_their_own_normalisation(monkeypatch: Any, name: str, member: Any) -> None:
    torch.manual_seed(5)
    # The classifier of VGG, which is not used, would have half a gigabyte.
    with torch.device("meta" if name == "vgg16" else "cpu"):
        features = torchvision.models.get_model(name, weights=None).features.eval()
    if name == "vgg16":
        features.to_empty(device="cpu").apply(lambda part: [nn.init.normal_(each, std=0.05) for each in part.parameters(False)])
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    # As the files of torchvision's DenseNets have it.
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in state.items()}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {**old, "classifier.weight": torch.zeros(1)})
    made: Any = build_model(name, TASKS, image_shape=(3, 32, 32), weights=member).eval()
    seen = member.transforms()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (seen.mean, seen.std))
    with torch.no_grad():
        wanted = torch.relu(features((IMAGES - mean) / std)).mean(dim=(2, 3))
        torch.testing.assert_close(made.features(IMAGES), wanted)


@pytest.mark.parametrize(
    ("backbone", "shape", "change", "error", "words"),
    [
        ("resnet18", (1, 32, 32), dict, ValueError, "weights: they are for images of 3 channels, got image_shape with 1"),
        ("unet", (3, 32, 32), dict, ValueError, "weights: expected None with 'unet'"),
        (nn.Conv2d(3, 4, 3), (3, 32, 32), dict, ValueError, "weights: expected None with a Conv2d; .* a module of your own"),
        (
            "resnet50",
            (3, 32, 32),
            dict,
            ValueError,
            "not those of torchvision's resnet50 .*: layer1.0.conv1.weight has the shape",
        ),
        ("resnet18", (3, 32, 32), lambda _: {}, ValueError, r"conv1\.weight is missing and \d+ more"),
        ("resnet18", (3, 32, 32), lambda _: {"conv1": 3}, TypeError, "weights: expected torchvision's weights, .* got dict of"),
        ("resnet18", (3, 32, 32), lambda _: 3, TypeError, "got int"),
        ("resnet18", (3, 32, 32), lambda _: "no.pth", ValueError, r"'no\.pth' is neither a file nor one of .*IMAGENET1K_V1"),
        (
            "resnet18",
            (3, 32, 32),
            lambda _: __file__,
            ValueError,
            r"pretrained\.py cannot be read as a file of torch\.save",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    trained: Any, backbone: Any, shape: Any, change: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        build_model(backbone, TASKS, image_shape=shape, weights=change(trained.state_dict()))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few images and epochs
def test_a_network_with_another_head_is_a_surrogate_and_a_victim(trained: Any) -> None:
    needs("torchmetrics", extra="evaluation")
    net = torchvision.models.resnet18(weights=None)
    net.load_state_dict(trained.state_dict())
    net.fc = nn.Linear(512, 2)  # two binary tasks
    tasks = {"lit": 2, "wet": 2}
    clean = [(image, {"lit": index % 2, "wet": index // 2}) for index, image in enumerate(IMAGES)]
    assert {name: tuple(logits.shape) for name, logits in mtlue.Surrogate(net, tasks)(IMAGES).items()} == {
        "lit": (4, 2), "wet": (4, 2),
    }  # fmt: skip
    before = {name: value.clone() for name, value in net.state_dict().items()}
    settings: dict[str, Any] = {"epochs": 1, "device": "cpu", "progress": False, "batch_size": 4}
    protected = mtlue.protect(clean, tasks=tasks, surrogate=net, loss=mtlue.TAP(), check=False, **settings)
    report = evaluation.audit(protected, clean, clean[::-1], model=net, single_task=(), **settings)
    assert set(report.residual_learnability) == {"lit", "wet"}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
