"""Where a model looks (figure 8)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue.analysis import gradcam, plot_gradcam
from optional import needs
from snapshots import equal, snapshot

needs("captum.attr", extra="analysis")

TASKS = {"color": 3, "bright": 2}


class ColorNetwork(nn.Module):
    """Its activations are the colours of 2x2 blocks; class c of the first task looks at colour c alone."""

    def __init__(self, answer: Callable[[Tensor, Tensor], object] = lambda color, bright: (color, bright)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 2, stride=2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).reshape(3, 3, 1, 1).expand(3, 3, 2, 2) / 4)
        self.other = nn.Conv2d(3, 1, 1)
        self.vectors = nn.Flatten()
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        pooled = self.vectors(self.conv(images).mean(dim=(2, 3)))
        return self.answer(pooled, 6 * pooled.sum(dim=1) - 9 + 0 * self.other(images).sum())


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def looks(model: nn.Module, images: Tensor, **options: Any) -> Tensor:
    return gradcam(model, images, **{"tasks": TASKS, "task": "color", "layer": model.conv, **options})


def literal_map(images: Tensor, channels: int | slice) -> Tensor:
    """The average of each block of some colours, resized, its maximum 1."""
    blocks = F.avg_pool2d(images[:, channels].reshape(len(images), -1, 6, 8).sum(dim=1, keepdim=True), 2)
    maps = F.interpolate(blocks, size=(6, 8), mode="bilinear")[:, 0]
    return maps / maps.amax(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_class_is_where_its_color_is(images: Tensor, label: int) -> None:
    maps = looks(ColorNetwork(), images, classes=torch.full((4,), label))
    assert maps.shape == (4, 6, 8)
    torch.testing.assert_close(maps, literal_map(images, label))
    assert torch.equal(maps.amax(dim=(1, 2)), torch.ones(4))


def test_each_image_has_its_own_class(images: Tensor) -> None:
    labels = torch.tensor([2, 0, 1, 1])
    expected = torch.stack([literal_map(images, label)[index] for index, label in enumerate(labels.tolist())])
    torch.testing.assert_close(looks(ColorNetwork(), images, classes=labels), expected)


def test_without_classes_it_is_the_predicted_one(images: Tensor) -> None:
    model = ColorNetwork()
    predicted = images.mean(dim=(2, 3)).argmax(dim=1)
    assert len(predicted.unique()) > 1
    assert torch.equal(looks(model, images), looks(model, images, classes=predicted))


@pytest.mark.parametrize(
    "answer",
    [
        lambda color, bright: {"color": color, "bright": bright},
        lambda color, bright: [color, bright.unsqueeze(1)],
        lambda color, bright: (color, torch.stack([0 * bright, bright], dim=1)),
        lambda color, bright: (color, torch.stack([-bright, bright], dim=1) / 2),
    ],
)
def test_any_form_of_answer_gives_the_same_maps(images: Tensor, answer: Callable[[Tensor, Tensor], object]) -> None:
    """Bright is where all colours are; nothing speaks for dark, since no activation is negative."""
    model = ColorNetwork(answer)
    labels = torch.tensor([1, 1, 0, 1])
    expected = literal_map(images, slice(None))
    expected[2] = 0
    torch.testing.assert_close(looks(model, images, task="bright", classes=labels), expected)
    torch.testing.assert_close(looks(model, images, classes=labels * 0), literal_map(images, 0))


def test_a_negative_activation_speaks_for_the_class_that_its_logit_falls_with(images: Tensor) -> None:
    model = ColorNetwork()
    with torch.no_grad():
        model.conv.weight.neg_()
    torch.testing.assert_close(
        looks(model, images, task="bright", classes=torch.zeros(4, dtype=torch.int64)), literal_map(images, slice(None))
    )


def test_what_speaks_against_a_class_does_not_count(images: Tensor) -> None:
    model = ColorNetwork(lambda color, bright: (color - color[:, [1, 2, 0]], bright))
    blocks = F.avg_pool2d(images, 2)
    expected = F.interpolate((blocks[:, :1] - blocks[:, 1:2]).relu(), size=(6, 8), mode="bilinear")[:, 0]
    assert bool((expected == 0).any())
    maps = looks(model, images, classes=torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(maps, expected / expected.amax(dim=(1, 2), keepdim=True))


def test_one_task_may_be_answered_by_one_tensor(images: Tensor) -> None:
    model = ColorNetwork(lambda color, bright: color)
    torch.testing.assert_close(looks(model, images, tasks={"color": 3}), looks(ColorNetwork(), images))


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_images_come_back_as_they_were(images: Tensor, fails: bool) -> None:
    model = ColorNetwork()
    model.train()
    model.other.eval().requires_grad_(False)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    before, pixels = snapshot(model), images.clone()
    if fails:
        model.answer = lambda color, bright: {"color": color}
        with pytest.raises(ValueError, match="surrogate output: missing 'bright'"):
            looks(model, images)
    else:
        with torch.no_grad():
            maps = looks(model, images)
        assert not maps.requires_grad
    assert equal(snapshot(model), before)
    assert not any([*part._forward_hooks, *part._forward_pre_hooks, *part._backward_hooks] for part in model.modules())
    assert torch.equal(images, pixels)
    assert not images.requires_grad
    assert images.grad is None


def test_it_looks_in_eval_mode(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Flatten(), nn.Linear(96, 3))
    first, second = (gradcam(model, images, tasks={"color": 3}, task="color", layer=model[0]) for _ in range(2))
    assert torch.equal(first, second)
    assert int(model[1].num_batches_tracked) == 0


def test_a_layer_whose_answer_is_changed_in_place(images: Tensor) -> None:
    """The rectified activations count, which are those that a rectifier of its own would give."""
    torch.manual_seed(0)
    convolution, head = nn.Conv2d(3, 4, 3), nn.Linear(96, 3)
    in_place = nn.Sequential(convolution, nn.ReLU(inplace=True), nn.Flatten(), head)
    apart = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head)
    options: Any = {"tasks": {"color": 3}, "task": "color"}
    torch.testing.assert_close(
        gradcam(in_place, images, layer=in_place[1], **options), gradcam(apart, images, layer=apart[1], **options)
    )


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"task": "size"}, ValueError, r"task: unknown 'size'; the tasks are \['color', 'bright'\]"),
        ({"task": "depth", "tasks": {"depth": mtlue.Depth()}}, ValueError, r"task: .* whole images, 'depth' is Depth\(\)"),
        ({"layer": nn.Conv2d(3, 3, 1)}, ValueError, "layer: this Conv2d is not part of the model, a ColorNetwork"),
        ({"layer": None}, TypeError, r"layer: expected a torch.nn.Module, got NoneType"),
        ({"classes": torch.tensor([0, 1, 2, 3])}, ValueError, "classes: expected integers from 0 to 2, got 3"),
        ({"classes": torch.tensor([0, 1, 2, -1])}, ValueError, "classes: expected integers from 0 to 2, got -1"),
        ({"classes": torch.tensor([0])}, ValueError, r"classes: expected one for each of 4 images, shape \(B,\), got \(1,\)"),
        ({"classes": torch.rand(4)}, TypeError, r"classes: expected a tensor of integers, got torch.float32"),
        ({"classes": [0, 1, 2, 0]}, TypeError, "classes: expected a tensor of integers, got list"),
    ],
)
def test_wrong_arguments(images: Tensor, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        looks(ColorNetwork(), images, **options)


def test_wrong_images_and_layers_that_tell_nothing(images: Tensor) -> None:
    model = ColorNetwork()
    with pytest.raises(TypeError, match=r"images: expected a tensor of floats in \[0, 1\], got torch.uint8"):
        looks(model, (255 * images).byte())
    with pytest.raises(ValueError, match=r"images: expected shape \(B, C, H, W\), got \(3, 6, 8\)"):
        looks(model, images[0])
    with pytest.raises(ValueError, match=r"images: image values lie in .* a normalised image"):
        looks(model, 4 * images - 2)
    with pytest.raises(ValueError, match="layer: it has no influence on the task 'color'"):
        looks(model, images, layer=model.other)
    with pytest.raises(ValueError, match=r"layer: expected one that gives \(B, F, h, w\), got \(4, 3\)"):
        looks(model, images, layer=model.vectors)


def test_without_the_library_the_message_is_the_command(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r'captum is needed .* pip install "mtlue\[analysis\]"'):
        looks(ColorNetwork(), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_a_row_for_the_images_and_one_for_each_model(images: Tensor, tmp_path: Path, channels: int) -> None:
    needs("matplotlib.figure", extra="analysis")
    maps = {"clean": torch.rand(4, 6, 8), "protected": torch.rand(4, 6, 8)}
    figure = plot_gradcam(images[:, :channels], maps, tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    *pictures, bar = figure.axes
    assert len(pictures) == 3 * 4
    assert [axes.get_ylabel() for axes in pictures[::4]] == ["image", "clean", "protected"]
    assert bar.get_ylabel() == "relevance"
    drawn = [torch.as_tensor(axes.images[-1].get_array().data) for axes in pictures[4:]]
    torch.testing.assert_close(torch.stack(drawn), torch.cat(list(maps.values())), check_dtype=False)


def test_what_cannot_be_drawn(images: Tensor) -> None:
    needs("matplotlib.figure", extra="analysis")
    with pytest.raises(ValueError, match=r"images: expected shape .* 1 or 3 channels, got \(4, 2, 6, 8\)"):
        plot_gradcam(images[:, :2], torch.rand(4, 6, 8))
    with pytest.raises(ValueError, match=r"maps: 'GradCAM': expected shape \(4, 6, 8\), got \(4, 3, 4\)"):
        plot_gradcam(images, torch.rand(4, 3, 4))
    with pytest.raises(ValueError, match=r"maps: 'clean': expected values in \[0, 1\], got 2 to 2"):
        plot_gradcam(images, {"clean": torch.full((4, 6, 8), 2.0)})
    with pytest.raises(TypeError, match="maps: 'GradCAM': expected a tensor of floats, got list"):
        plot_gradcam(images, [0.0])  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="maps: expected the maps of at least one model, got an empty dict"):
        plot_gradcam(images, {})
