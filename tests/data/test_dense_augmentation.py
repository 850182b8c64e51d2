"""Augmentation that moves label maps together with the images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._data import Samples
from mtlue._fit.plan import FitPlan
from mtlue._fit.pretraining import pretrain
from mtlue._protect import mirroring
from mtlue._runtime.compute import Compute
from mtlue.baselines import pgd
from mtlue.datasets import JointTransform, RandomZoomFlip
from scenes import MIXED, SceneNet, Scenes, make_scenes, stacked, stored_bytes, trained_net

FIT: dict[str, Any] = {"epochs": 2, "batch_size": 4, "stop_accuracy": 1.1, "surrogate_steps": 2, "progress": False}
PGD: dict[str, Any] = {"tasks": MIXED, "rounds": 2, "steps": 4, "step_size": 1 / 255, "batch_size": 4, "progress": False}
Mover = Callable[[Tensor, dict[str, Tensor]], Any]


def mirrored(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value if name == "scene" else value.flip(-1) for name, value in outputs.items()}


class Joint(JointTransform):
    """Hands batches to a function."""

    def __init__(self, function: Mover) -> None:
        self.function = function

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        moved: tuple[Tensor, dict[str, Tensor]] = self.function(images, targets)
        return moved


class Mirror(Joint):
    """Every image and every map the other way round."""

    def __init__(self) -> None:
        super().__init__(lambda images, targets: (images.flip(-1), mirrored(targets)))


class SeenInMirror(nn.Module):
    """A model that turns images round, and its answers back: on plain images it does what it would with `Mirror`."""

    def __init__(self, net: SceneNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return mirrored(self.net(images.flip(-1)))


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return make_scenes(8)


@pytest.fixture(scope="module")
def learned(scenes: Scenes) -> SceneNet:
    return trained_net(scenes)[0]


def losses_of(learned: SceneNet, wrap: Callable[[SceneNet], nn.Module]) -> dict[str, tuple[nn.Module, Any]]:
    net = wrap(copy.deepcopy(learned))
    return {"em": (net, mtlue.EM()), "tap": (net, mtlue.TAP()), "sep": (net, mtlue.SEP([wrap(SceneNet(seed=1)), net]))}


@pytest.mark.parametrize("kind", ["em", "tap", "sep"])
@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_fit_moves_labels_with_images(kind: str, scenes: Scenes, learned: SceneNet, make_generator: Any) -> None:
    def run(wrap: Callable[[SceneNet], nn.Module], augment: Any, epochs: int = 2) -> tuple[list[float], Tensor]:
        net, loss = losses_of(learned, wrap)[kind]
        generator = make_generator(MIXED, (3, 16, 16))
        history = mtlue.fit(generator, scenes, net, loss=loss, augment=augment, **{**FIT, "epochs": epochs})
        images, targets = stacked(scenes)
        with torch.no_grad():
            return [epoch.base_loss for epoch in history], generator(images, targets)

    base, delta = run(SeenInMirror, None)
    joint_base, joint_delta = run(lambda net: net, Mirror())
    assert joint_base == pytest.approx(base, rel=1e-4)
    torch.testing.assert_close(joint_delta, delta, atol=1e-4, rtol=0)
    # Labels that stay behind give another loss.
    assert run(lambda net: net, lambda images: images.flip(-1), epochs=1)[0][0] != pytest.approx(base[0], rel=0.05)


@pytest.mark.parametrize("kind", ["em", "tap", "sep"])
@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_pgd_moves_labels_with_images(kind: str, scenes: Scenes, learned: SceneNet) -> None:
    def run(wrap: Callable[[SceneNet], nn.Module], augment: Any) -> Tensor:
        net, loss = losses_of(learned, wrap)[kind]
        return torch.stack(
            stored_bytes(pgd(scenes, surrogate=net, loss=loss, augment=augment, stop_accuracy=1.1, **PGD))
        ).float()

    expected = run(SeenInMirror, None)
    # The sign of a gradient that is nothing but rounding may differ.
    assert (run(lambda net: net, Mirror()) - expected).abs().mean() < 0.02
    assert (run(lambda net: net, lambda images: images.flip(-1)) - expected).abs().mean() > 0.2


def test_the_surrogates_own_training_moves_labels_with_images(scenes: Scenes) -> None:
    def run(dataset: Any, augment: Any) -> dict[str, Tensor]:
        net = SceneNet()
        plan, compute = FitPlan(epochs=2, batch_size=4, augment=augment), Compute(torch.device("cpu"))
        pretrain(mtlue.Surrogate(net, MIXED), Samples(dataset, MIXED), plan, compute, checkpoint=None)
        return net.state_dict()

    turned = [(image.flip(-1), mirrored({**labels, "scene": labels["scene"]})) for image, labels in scenes]
    expected, found = run(turned, None), run(scenes, Mirror())
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not torch.equal(run(scenes, None)["first.weight"], expected["first.weight"])


@pytest.mark.parametrize("tasks", [{"scene": MIXED["scene"]}, MIXED, {"parts": MIXED["parts"]}], ids=["class", "mixed", "maps"])
def test_protect_shifts_images_only_where_no_label_is_a_map(
    tasks: dict[str, mtlue.Task], scenes: Scenes, make_generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted: list[int] = []

    def shift(images: Tensor) -> Tensor:
        shifted.append(len(images))
        return images

    monkeypatch.setattr(mirroring, "random_crop", shift)
    generator = make_generator(tasks, (3, 16, 16))
    mtlue.protect(
        scenes, tasks=tasks, surrogate=SceneNet(), loss=mtlue.EM(), generator=generator, epochs=1, batch_size=6, progress=False
    )
    assert bool(shifted) == (list(tasks) == ["scene"])


@pytest.mark.parametrize("verb", ["fit", "pgd"])
def test_random_zooms_are_drawn_from_the_seed(verb: str, scenes: Scenes, learned: SceneNet, make_generator: Any) -> None:
    def run(seed: int) -> list[Tensor]:
        augment = RandomZoomFlip(MIXED)
        if verb == "pgd":
            safe = pgd(scenes, surrogate=copy.deepcopy(learned), loss=mtlue.TAP(), augment=augment, seed=seed, **PGD)
            return stored_bytes(safe)
        generator = make_generator(MIXED, (3, 16, 16))
        mtlue.fit(
            generator, scenes, copy.deepcopy(learned), loss=mtlue.TAP(), augment=augment, seed=seed, **{**FIT, "epochs": 1}
        )
        return [value.clone() for value in generator.state_dict().values()]

    first = run(3)
    torch.manual_seed(77)
    assert all(torch.equal(*pair) for pair in zip(run(3), first, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(run(4), first, strict=True))


@pytest.mark.parametrize("verb", ["fit", "pgd"])
def test_labels_that_a_transform_replaces_are_those_of_its_step_alone(
    verb: str, scenes: Scenes, learned: SceneNet, make_generator: Any
) -> None:
    given: list[Tensor] = []
    seen: list[Tensor] = []

    def hide(images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        given.append(targets["parts"])
        targets["parts"] = torch.full_like(targets["parts"], -1)
        return images, targets

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            seen.append(targets["parts"])
            return super().__call__(surrogate, images, targets)

    net = copy.deepcopy(learned)
    if verb == "fit":
        settings = {**FIT, "batch_size": 8}
        mtlue.fit(make_generator(MIXED, (3, 16, 16)), scenes, net, loss=Watching(), augment=Joint(hide), **settings)
    else:
        pgd(scenes, surrogate=net, loss=Watching(), augment=Joint(hide), **{**PGD, "batch_size": 8})
    labelled = sum(int((labels["parts"] >= 0).sum()) for _, labels in scenes)
    assert [int((parts >= 0).sum()) for parts in given] == [labelled] * len(given)
    assert len(given) == len(seen) == (2 if verb == "fit" else 8)
    assert all(bool((parts == -1).all()) for parts in seen)


@pytest.mark.parametrize("verb", ["fit", "pgd"])
@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (Mirror, TypeError, "augment: expected a callable on batches of images, got <class"),
        (3, TypeError, "augment: expected a callable on batches of images, got 3"),
        (
            Joint(lambda images, targets: images),
            TypeError,
            r"Joint: expected it to return a pair \(images, targets\), got Tensor",
        ),
        (
            Joint(lambda images, targets: (images, {"scene": targets["scene"]})),
            ValueError,
            "augment: targets: missing 'parts', 'depth', 'normals'",
        ),
        (
            Joint(lambda images, targets: (images, {**targets, "parts": targets["parts"] + 2})),
            ValueError,
            "augment: task 'parts': label [34] is out of range",
        ),
        (
            Joint(lambda images, targets: (images, {**targets, "depth": targets["depth"] / 0})),
            ValueError,
            "augment: task 'depth': the map holds NaN or infinity",
        ),
        (
            Joint(lambda images, targets: (images, {**targets, "normals": targets["normals"][:1]})),
            ValueError,
            r"augment: task 'normals': labels of shape \(1, 3, 16, 16\) for 4 images",
        ),
        (Joint(lambda images, targets: (None, targets)), TypeError, "augment: expected images from .*Joint.*, got NoneType"),
        (print, TypeError, "augment: expected images from .*print.*, got NoneType"),
    ],
)
def test_what_augment_must_not_be(
    verb: str, augment: Any, error: type[Exception], message: str, scenes: Scenes, learned: SceneNet, make_generator: Any
) -> None:
    net = copy.deepcopy(learned)
    generator = make_generator(MIXED, (3, 16, 16))
    verbs: dict[str, Callable[[], Any]] = {
        "fit": lambda: mtlue.fit(generator, scenes, net, loss=mtlue.TAP(), augment=augment, **FIT),
        "pgd": lambda: pgd(scenes, surrogate=net, loss=mtlue.TAP(), augment=augment, **PGD),
    }
    with pytest.raises(error, match=message):
        verbs[verb]()
