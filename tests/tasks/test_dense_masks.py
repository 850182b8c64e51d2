"""What a model answers where there is no label is nobody's business: neither loss nor gradient depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from scenes import DENSE, MIXED, SceneNet, make_scenes, stacked

Loss = Callable[[mtlue.Surrogate, Tensor, dict[str, Tensor]], Tensor]
LOSSES: dict[str, Loss] = {
    "loss": lambda surrogate, images, targets: surrogate.loss(images, targets),
    "adversarial_loss": lambda surrogate, images, targets: surrogate.adversarial_loss(images, targets),
    "em": mtlue.EM(),
    "tap": mtlue.TAP(),
    "sep": lambda surrogate, images, targets: mtlue.SEP([surrogate.module] * 2)(surrogate, images, targets),
}
EVERY_LOSS = pytest.mark.parametrize("loss", list(LOSSES.values()), ids=list(LOSSES))


def unlabelled(name: str, target: Tensor) -> Tensor:
    """Where there is no label, in the shape of an answer with one channel."""
    return (target == -1).unsqueeze(1) if name in ("scene", "parts") else (target == 0).all(dim=1, keepdim=True)


class Overwritten(nn.Module):
    """A net with a value in the place of each answer for which there is no label; keeps the gradients at its answers."""

    def __init__(self, targets: dict[str, Tensor], value: float | None) -> None:
        super().__init__()
        self.net, self.value = SceneNet(seed=2), value
        self.masks = {name: unlabelled(name, target) for name, target in targets.items()}
        self.gradients: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        answers = self.net(images)
        if self.value is not None:
            answers = {name: torch.where(self.masks[name], self.value, answer) for name, answer in answers.items()}
        for name, answer in answers.items():
            answer.register_hook(lambda gradient, name=name: self.gradients.__setitem__(name, gradient))
        return answers


def batch(kind: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Some pixels, one whole sample, or all samples without labels."""
    images, targets = stacked(make_scenes(4))
    hidden = {"pixels": [], "a sample": [1], "all": [0, 1, 2, 3]}[kind]
    for name, target in targets.items():
        target[hidden] = -1 if name in ("scene", "parts") else 0
        if name != "scene":
            target[0, ..., 0, 0] = -1 if name == "parts" else 0
    return images, targets


def passed(loss: Loss, kind: str, value: float | None) -> tuple[Tensor, Tensor, Overwritten]:
    images, targets = batch(kind)
    module = Overwritten(targets, value).eval()
    leaf = images.requires_grad_()
    result = loss(mtlue.Surrogate(module, MIXED), leaf, targets)
    (gradient,) = torch.autograd.grad(result, leaf)
    return result.detach(), gradient, module


@EVERY_LOSS
@pytest.mark.parametrize("kind", ["pixels", "a sample", "all"])
@pytest.mark.parametrize("value", [1e4, float("nan"), float("inf"), float("-inf")])
def test_answers_without_a_label_have_no_influence(loss: Loss, kind: str, value: float) -> None:
    expected, gradient, plain = passed(loss, kind, None)
    found, changed, overwritten = passed(loss, kind, value)
    assert torch.equal(found, expected)
    assert torch.equal(changed, gradient)
    assert bool(gradient.isfinite().all())
    for name, mask in overwritten.masks.items():
        assert bool(mask.any()) == (name != "scene" or kind != "pixels")
        at_answers = overwritten.gradients[name]
        assert torch.equal(at_answers, plain.gradients[name])
        assert not at_answers[mask.expand_as(at_answers)].any()
        assert bool(at_answers[~mask.expand_as(at_answers)].any()) == (kind != "all")
    assert bool(gradient.any()) == (kind != "all")
    if kind == "all":
        assert found.item() == 0


@EVERY_LOSS
def test_a_sample_without_labels_changes_nothing_for_the_others(loss: Loss) -> None:
    images, targets = batch("a sample")
    others = [0, 2, 3]
    surrogate = mtlue.Surrogate(SceneNet(seed=2), MIXED)
    leaves = [images.clone().requires_grad_(), images[others].requires_grad_()]
    results = [
        loss(surrogate, leaves[0], targets),
        loss(surrogate, leaves[1], {name: target[others] for name, target in targets.items()}),
    ]
    torch.testing.assert_close(results[0], results[1])
    gradients = [torch.autograd.grad(result, leaf)[0] for result, leaf in zip(results, leaves, strict=True)]
    torch.testing.assert_close(gradients[0][others], gradients[1])
    assert not gradients[0][1].any()


def test_a_normal_of_length_zero_has_a_finite_gradient_towards_the_label() -> None:
    target = torch.zeros(1, 3, 1, 2)
    target[0, 2, 0, 0], target[0, 0, 0, 1] = 1.0, 1.0
    answer = torch.zeros(1, 3, 1, 2, requires_grad=True)
    loss = mtlue.SurfaceNormals().loss(answer, target)
    assert loss.item() == 1.0
    (gradient,) = torch.autograd.grad(loss, answer)
    assert bool(gradient.isfinite().all())
    assert torch.equal(gradient.sign(), -target)
    (other,) = torch.autograd.grad(mtlue.SurfaceNormals().adversarial_loss(answer, target), answer)
    assert torch.equal(other, -gradient)


def test_logits_of_another_size_are_not_spread_over_the_labels() -> None:
    task = mtlue.Segmentation(3)
    with pytest.raises(ValueError, match=r"expected logits for labels of shape \(2, 4, 4\), got \(2, 3, 1, 1\)"):
        task.loss(torch.zeros(2, 3, 1, 1), torch.zeros(2, 4, 4, dtype=torch.int64))


def test_the_generator_reads_a_missing_pixel_as_zero(make_generator: Any) -> None:
    images, targets = batch("pixels")
    generator = make_generator(DENSE, (3, 16, 16), trained=True)
    read: dict[str, Tensor] = {}
    for name, embedder in generator.embedders.items():
        embedder.register_forward_pre_hook(lambda _, given, name=name: read.__setitem__(name, given[0]))
    with torch.no_grad():
        generator(images, targets)
    for name in DENSE:
        mask = unlabelled(name, targets[name]).squeeze(1)
        assert torch.equal((read[name] == 0).all(dim=1), mask)
