"""Random zoom and flip of images with their label maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from mtlue.datasets import RandomZoomFlip, zoom_flip_values

TASKS: dict[str, mtlue.Task] = {
    "scene": mtlue.Classification(4),
    "segmentation": mtlue.Segmentation(13),
    "depth": mtlue.Depth(),
    "normals": mtlue.SurfaceNormals(),
}


def batch(size: int, height: int = 12, width: int = 24) -> tuple[Tensor, dict[str, Tensor]]:
    source = torch.Generator().manual_seed(0)
    draw = torch.rand(size, 1, height, width, generator=source)
    targets = {
        "scene": torch.arange(size) % 4,
        "segmentation": (draw[:, 0] * 14).long() - 1,
        "depth": torch.where(draw > 0.3, 1 + draw, 0.0),
        "normals": F.normalize(torch.randn(size, 3, height, width, generator=source), dim=1) * (draw > 0.2),
    }
    return torch.rand(size, 3, height, width, generator=source), targets


def seeded(seed: int, augment: RandomZoomFlip, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return augment(images, targets)


def test_every_sample_is_one_of_the_moves() -> None:
    """Oracle: all zooms, places and mirrorings of one sample, made from indices."""
    images, targets = batch(1, 6, 6)
    augment = RandomZoomFlip(TASKS)
    possible = {}
    for zoom, side in ((1.0, 6), (1.2, 5), (1.5, 4)):
        # Centre of each pixel in the window, whose pixel it lies in is the nearest.
        nearest = [int((pixel + 0.5) * side / 6) for pixel in range(6)]
        for top in range(7 - side):
            for left in range(7 - side):
                for mirrored in (False, True):
                    rows = torch.tensor([top + index for index in nearest])
                    columns = torch.tensor([left + index for index in (reversed(nearest) if mirrored else nearest)])
                    moved = {name: target[..., rows[:, None], columns] for name, target in targets.items() if name != "scene"}
                    moved["depth"] = moved["depth"] / zoom
                    if mirrored:
                        moved["normals"] = moved["normals"] * torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
                    window = images[..., top : top + side, left : left + side]
                    image = F.interpolate(window, size=(6, 6), mode="bilinear")
                    possible[zoom, top, left, mirrored] = (image.flip(-1) if mirrored else image, moved)
    seen = set()
    for seed in range(300):
        image, moved = seeded(seed, augment, images, targets)
        fits = [
            key
            for key, (other, maps) in possible.items()
            if torch.allclose(image, other, atol=1e-6) and all(torch.equal(moved[name], maps[name]) for name in maps)
        ]
        assert len(fits) == 1, seed
        assert torch.equal(moved["scene"], targets["scene"])
        seen.add(fits[0])
    # 2 + 8 + 18 moves, the rarest of which has a chance of one in 54: all but a few are seen.
    assert len(possible) == 28
    assert len(seen) >= 26


def test_each_sample_gets_its_own_move() -> None:
    images, targets = batch(1)
    many = {name: target.expand(32, *target.shape[1:]) for name, target in targets.items()}
    moved, _ = seeded(0, RandomZoomFlip(TASKS), images.expand(32, -1, -1, -1), many)
    assert len({tuple(image.flatten().tolist()) for image in moved}) > 16


def test_what_is_missing_stays_missing_at_the_same_pixels() -> None:
    images, targets = batch(16)
    missing = targets["depth"] == 0
    targets["segmentation"] = targets["segmentation"].clamp_min(0).masked_fill(missing[:, 0], -1)
    targets["normals"] = F.normalize(torch.ones_like(targets["normals"]), dim=1) * ~missing
    _, moved = seeded(1, RandomZoomFlip(TASKS), images, targets)
    missing = moved["depth"] == 0
    assert 0.1 < missing.float().mean() < 0.5
    assert torch.equal(moved["segmentation"] == -1, missing[:, 0])
    assert torch.equal(moved["normals"].norm(dim=1, keepdim=True) == 0, missing)
    torch.testing.assert_close(moved["normals"].norm(dim=1, keepdim=True), (~missing).float())
    # Nothing between two readings, nor between a reading and none: 1 to 2 metres, divided by 1.5 at most.
    assert moved["depth"][~missing].amin() >= 1.3 / 1.5


def test_nothing_that_is_given_is_changed() -> None:
    images, targets = batch(4)
    before = images.clone(), {name: target.clone() for name, target in targets.items()}
    moved, maps = seeded(0, RandomZoomFlip(TASKS), images, targets)
    assert torch.equal(images, before[0])
    assert all(torch.equal(targets[name], before[1][name]) for name in targets)
    moved.zero_()
    for target in maps.values():
        target.zero_()
    assert torch.equal(images, before[0])
    assert all(torch.equal(targets[name], before[1][name]) for name in targets)


def test_randomness_is_torch_s_global_one() -> None:
    images, targets = batch(8)
    augment = RandomZoomFlip(TASKS)
    first, second, other = (seeded(seed, augment, images, targets) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][name], second[1][name]) for name in TASKS)
    assert not torch.equal(first[0], other[0])


def test_an_empty_batch_stays_empty() -> None:
    images, targets = batch(0)
    moved, maps = RandomZoomFlip(TASKS)(images, targets)
    assert moved.shape == images.shape
    assert {name: target.shape for name, target in maps.items()} == {name: target.shape for name, target in targets.items()}


def test_gradients_reach_the_images() -> None:
    images, targets = batch(2)
    images.requires_grad_()
    seeded(0, RandomZoomFlip(TASKS), images, targets)[0].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


class Unknown(mtlue.Task):
    """A kind that mtlue cannot know."""

    output_channels = 1

    def read_target(self, label: Any) -> Tensor:
        return torch.as_tensor(label)

    def read_output(self, output: Tensor) -> Tensor:
        return output

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).mean()

    def missing(self, target: Tensor) -> Tensor:
        return target.isnan()


class Disparity(mtlue.Depth):
    """A map from outside: the inverse of the depth."""


class Heading(Unknown):
    """A number of the whole image from outside: how far to the right something looks."""

    num_embeddings = 4


@zoom_flip_values.register(Disparity)
def _(task: Disparity, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    return values * zoom


@zoom_flip_values.register(Heading)
def _(task: Heading, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    return -values if mirrored else values


def test_kinds_from_outside_move_as_they_are_registered() -> None:
    _, targets = batch(16)
    augment = RandomZoomFlip({"depth": mtlue.Depth(), "disparity": Disparity(), "heading": Heading()})
    given = {"depth": targets["depth"], "disparity": targets["depth"], "heading": torch.ones(16)}
    # The columns tell whether a sample was mirrored.
    columns = torch.arange(24.0).expand(16, 3, 12, 24) / 24
    moved, labels = seeded(0, augment, columns, given)
    known = labels["depth"] != 0
    zooms = (labels["disparity"] / labels["depth"].clamp_min(1e-6)).sqrt()
    for index in range(16):
        found = zooms[index][known[index]]
        assert min(abs(float(found.mean()) - zoom) for zoom in (1.0, 1.2, 1.5)) < 1e-5
        assert float(found.std()) < 1e-5
    mirrored = moved[:, 0, 0, 0] > moved[:, 0, 0, -1]
    assert 0 < int(mirrored.sum()) < 16
    assert torch.equal(labels["heading"], torch.where(mirrored, -1.0, 1.0))


def test_a_label_of_a_whole_image_is_not_moved_unasked() -> None:
    class Gaze(Unknown):
        """A number of the whole image of which nobody said how it moves."""

        num_embeddings = 4

    message = r"^tasks\['gaze'\]: expected one of .*Gaze\(\).* with datasets\.zoom_flip_values\.register"
    with pytest.raises(ValueError, match=message):
        RandomZoomFlip({"gaze": Gaze()})


def test_labels_of_some_tasks_move_as_those_of_all() -> None:
    images, targets = batch(6)
    augment = RandomZoomFlip(TASKS)
    moved = []
    for given in (targets, {"depth": targets["depth"]}):
        torch.manual_seed(3)
        moved.append(augment(images, given))
    assert list(moved[1][1]) == ["depth"]
    assert torch.equal(moved[0][0], moved[1][0])
    assert torch.equal(moved[0][1]["depth"], moved[1][1]["depth"])


def test_wrong_input_is_named() -> None:
    images, targets = batch(2)
    augment = RandomZoomFlip(TASKS)
    with pytest.raises(ValueError, match=r"tasks\['pose'\]: expected one of Classification, .*labels may move otherwise"):
        RandomZoomFlip({"pose": Unknown()})
    with pytest.raises(TypeError, match="tasks: expected a dict"):
        RandomZoomFlip([2])  # type: ignore[arg-type] # what a caller may do wrong
    with pytest.raises(TypeError, match=r"images: expected a tensor of floats in \[0, 1\], got torch\.uint8"):
        augment(images.byte(), targets)
    with pytest.raises(ValueError, match=r"images: expected shape \(B, C, H, W\), got \(3, 12, 24\)"):
        augment(images[0], targets)
    for wrong_names in ({}, {**targets, "pose": targets["depth"]}):
        with pytest.raises(ValueError, match=r"targets: expected targets of some of \['.*'\], got"):
            augment(images, wrong_names)
    for name, wrong in (
        ("depth", targets["depth"][..., 1:]),
        ("depth", targets["depth"][0]),
        ("segmentation", targets["segmentation"][:1]),
        ("scene", torch.tensor(1)),
    ):
        with pytest.raises(ValueError, match=rf"targets\['{name}'\]: shape .* does not fit images \(2, 3, 12, 24\)"):
            augment(images, {**targets, name: wrong})
    # Three channels are not three images.
    images, targets = batch(3)
    with pytest.raises(ValueError, match=r"targets\['normals'\]: shape \(3, 12, 24\) does not fit images \(3, 3, 12, 24\)"):
        augment(images, {"normals": targets["normals"][0]})
