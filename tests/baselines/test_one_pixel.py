"""One pixel for each class of each task."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from mtlue.baselines import one_pixel_shortcut
from multi_fashion import MultiFashion
from properties import assert_protected, in_levels

TASKS = {"age": 3, "smile": 2}


def photos(count: int = 60, shape: tuple[int, int, int] = (3, 6, 7), seed: int = 0) -> list[tuple[Tensor, dict[str, int]]]:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *shape), generator=random, dtype=torch.uint8)
    return [(image, {"age": index % 3, "smile": index // 3 % 2}) for index, image in enumerate(images)]


def changed(safe: Any, dataset: Any) -> list[set[tuple[int, int]]]:
    """The pixels of each image that are no longer the clean ones."""
    pairs = zip(safe, dataset, strict=True)
    return [
        {(row, column) for row, column in (in_levels(after) != in_levels(before)).any(dim=0).nonzero().tolist()}
        for (after, _), (before, _) in pairs
    ]


def literal_best(images: Tensor, taken: set[tuple[int, ...]]) -> tuple[int, ...]:
    """Row, column and colour with the largest ratio of mean and variance of the distance, image by image."""
    best, found = -1.0, ()
    for place in itertools.product(range(images.shape[2]), range(images.shape[3]), *[(0, 1)] * images.shape[1]):
        row, column, *colour = place
        distances = (images[:, :, row, column] - 255.0 * torch.tensor(colour)).abs().sum(dim=1).double()
        score = float(distances.mean() / max(float(distances.var(unbiased=False)), 1.0))
        if place not in taken and score > best:
            best, found = score, place
    return found


def test_the_best_pixel_and_colour_of_each_class_are_those_of_a_slow_search() -> None:
    dataset = photos()
    safe = one_pixel_shortcut(dataset, tasks=TASKS)
    expected: dict[str, list[tuple[int, ...]]] = {"age": [], "smile": []}
    lost: set[tuple[int, ...]] = set()
    for name, count in TASKS.items():
        taken = set(lost)
        for label in range(count):
            images = torch.stack([image for image, target in dataset if target[name] == label]).float()
            expected[name].append(literal_best(images, taken))
            taken.add(expected[name][-1])
        lost |= {(*place[:2], *colour) for place in expected[name] for colour in itertools.product((0, 1), repeat=3)}
    for (after, target), (before, _) in zip(safe, dataset, strict=True):
        wanted = in_levels(before)
        for name in TASKS:
            row, column, *colour = expected[name][target[name]]
            wanted[:, row, column] = 255 * torch.tensor(colour)
        assert torch.equal(in_levels(after), wanted)


def test_one_pixel_a_task_changes_and_no_two_tasks_share_one() -> None:
    dataset = photos(shape=(1, 9, 5))
    pixels = {name: set(map(frozenset, changed(alone(name, dataset), dataset))) for name in TASKS}
    for name, found in pixels.items():
        assert all(len(each) <= 1 for each in found)
        assert 1 <= len({each for each in found if each}) <= TASKS[name]
    both = one_pixel_shortcut(dataset, tasks=TASKS)
    assert both.epsilon == 1.0
    assert {len(each) for each in changed(both, dataset)} == {2}
    assert_protected(both, dataset, limit=255)


def alone(name: str, dataset: Any) -> Any:
    return one_pixel_shortcut([(image, {name: target[name]}) for image, target in dataset], tasks={name: TASKS[name]})


def test_a_bound_holds_and_is_kept_in_the_store(tmp_path: Path) -> None:
    dataset = photos()
    safe = one_pixel_shortcut(dataset, tasks=TASKS, epsilon=0.04, path=tmp_path / "store")
    assert safe.epsilon == 10 / 255
    assert_protected(safe, dataset, limit=10, all_changed=False)
    assert all(len(each) <= 2 for each in changed(safe, dataset))
    assert mtlue.ProtectedDataset.load(tmp_path / "store", dataset).epsilon == 10 / 255
    one_pixel_shortcut(dataset, tasks=TASKS, path=tmp_path / "whole")
    assert mtlue.verify(tmp_path / "whole").epsilon == 1.0


def test_a_missing_label_changes_nothing_and_a_class_may_be_empty() -> None:
    dataset = photos()
    dataset = dataset[:4] + [(image, {**target, "smile": -1}) for image, target in dataset[4:]]
    safe = one_pixel_shortcut(dataset, tasks={"age": 5, "smile": 2})
    assert [len(each) for each in changed(safe, dataset)] == 4 * [2] + 56 * [1]


def test_the_seed_spreads_pixels_that_are_equally_good() -> None:
    dataset = [(torch.zeros(1, 12, 12, dtype=torch.uint8), index % 6) for index in range(12)]
    found = [changed(one_pixel_shortcut(dataset, tasks={"a": 6}, seed=seed), dataset) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(set(map(frozenset, found[0]))) == 6


def test_the_pixel_alone_says_the_class_of_a_photograph() -> None:
    """The shortcut of the paper: where clean images of a class differ, the protected ones have one and the same value."""
    source = MultiFashion(200, train=True)
    labels = source.targets["left"].tolist()
    dataset = list(zip(F.avg_pool2d(source.images.float(), 2).round().byte(), labels, strict=True))
    safe = one_pixel_shortcut(dataset, tasks={"left": 10})
    places = sorted(set.union(*changed(safe, dataset)))
    assert len(places) <= 10
    before, after = (
        [tuple(int(in_levels(image)[0, row, column]) for row, column in places) for image, _ in each]
        for each in (dataset, safe)
    )
    # In a class all images have its own pixel in common; the other pixels are those of the images.
    for label in range(10):
        rows = torch.tensor([values for values, each in zip(after, labels, strict=True) if each == label])
        old = torch.tensor([values for values, each in zip(before, labels, strict=True) if each == label])
        constant = ((rows == 0) | (rows == 255)).all(dim=0) & (rows == rows[0]).all(dim=0)
        assert (constant & (rows != old).any(dim=0)).sum() == 1


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (r"tasks: .* expected classification tasks, got 'depth': Depth\(\)", {"tasks": {"depth": mtlue.Depth()}}),
        (r"epsilon: expected 0 < epsilon <= 1, got 8; on the scale of \[0, 1\] that is 8/255", {"epsilon": 8}),
        ("seed: expected at least 0, got -1", {"seed": -1}),
        ("dataset: expected images of at most 8 channels, got 9", {"dataset": photos(6, (9, 6, 6))}),
        ("tasks: expected at most one class for each of 2 x 2 pixels, got 5 classes", {"dataset": photos(6, (3, 2, 2))}),
        ("dataset: .* of one size.*got 2 sizes", {"dataset": photos(6) + photos(6, (3, 8, 8))}),
    ],
)
def test_wrong_input(message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"dataset": photos(6), "tasks": TASKS, **changes}
    with pytest.raises(ValueError, match=message):
        one_pixel_shortcut(arguments.pop("dataset"), **arguments)


def test_an_epsilon_of_which_nothing_is_left_is_told() -> None:
    with pytest.warns(UserWarning, match="epsilon: 0.001 is less than one level"):
        one_pixel_shortcut(photos(6), tasks=TASKS, epsilon=0.001)
