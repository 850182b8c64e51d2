"""Faults of label maps are told with the sample, before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mtlue
from mtlue._data import inspect_dataset
from mtlue.baselines import pgd
from scenes import MIXED, SceneNet, Scenes, make_scenes


def with_label(name: str, label: Any, index: int = 3) -> Scenes:
    scenes = make_scenes(6)
    scenes[index][1][name] = label
    return scenes


def at_a_pixel(label: torch.Tensor, value: float) -> torch.Tensor:
    changed = label.clone()
    changed[..., 5, 7] = value
    return changed


SOUND = make_scenes(6)[3][1]
FAULTS = [
    (
        "parts",
        at_a_pixel(SOUND["parts"], 3),
        r"label 3 is out of range: expected an integer from 0 to 2, or -1 for a missing label",
    ),
    ("parts", at_a_pixel(SOUND["parts"], 255), "label 255 is out of range"),
    ("parts", at_a_pixel(SOUND["parts"].float(), 0.5), "label 0.5 is not an integer"),
    ("parts", at_a_pixel(SOUND["parts"].float(), float("nan")), "label nan is not an integer"),
    ("parts", SOUND["parts"][:8], r"label map of \(8, 16\) pixels, the image has \(16, 16\)"),
    ("parts", SOUND["parts"].expand(2, 16, 16), r"expected a label map of shape \(H, W\), got \(1, 2, 16, 16\)"),
    ("parts", 1, r"expected a label map of shape \(H, W\), got \(\)"),
    ("parts", None, "expected an integer label, got None"),
    ("depth", SOUND["depth"][..., ::2, ::2], r"label map of \(8, 8\) pixels, the image has \(16, 16\)"),
    ("depth", at_a_pixel(SOUND["depth"], float("nan")), "the map holds NaN or infinity; use 0 for a missing reading"),
    ("depth", at_a_pixel(SOUND["depth"], float("inf")), "the map holds NaN or infinity"),
    ("depth", SOUND["normals"], r"expected a map of shape \(1, H, W\), got \(3, 16, 16\)"),
    ("depth", "near", "expected a float map, got str"),
    ("normals", SOUND["normals"][:2], r"expected a map of shape \(3, H, W\), got \(2, 16, 16\)"),
    ("normals", SOUND["normals"].permute(1, 2, 0), r"expected a map of shape \(3, H, W\), got \(16, 16, 3\)"),
    ("normals", SOUND["normals"][..., 1:], r"label map of \(16, 15\) pixels, the image has \(16, 16\)"),
    ("normals", at_a_pixel(SOUND["normals"], float("nan")), "the map holds NaN or infinity"),
]


@pytest.mark.parametrize(("name", "label", "words"), FAULTS)
def test_a_fault_is_told_with_task_and_sample(name: str, label: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"dataset: task '{name}': {words}.* \(sample 3\)"):
        inspect_dataset(with_label(name, label), MIXED)


def test_all_faults_are_told_at_once_by_every_verb(make_generator: Any) -> None:
    scenes = with_label("parts", at_a_pixel(SOUND["parts"], 9))
    scenes[1][1]["depth"] = at_a_pixel(SOUND["depth"], float("nan"))
    scenes[4][1]["normals"] = SOUND["normals"][..., 1:]
    scenes[5][1]["scene"] = 2
    words = (
        r"dataset: 4 problems:"
        r"\n  - task 'depth': the map holds NaN or infinity; use 0 for a missing reading \(sample 1\)"
        r"\n  - task 'parts': label 9 is out of range: .* \(sample 3\)"
        r"\n  - task 'normals': label map of \(16, 15\) pixels, the image has \(16, 16\) \(sample 4\)"
        r"\n  - task 'scene': label 2 is out of range: .* \(sample 5\)"
    )
    steps: list[Any] = []
    verbs = (
        lambda: mtlue.fit(make_generator(MIXED, (3, 16, 16)), scenes, SceneNet(), loss=mtlue.EM(), progress=steps.append),
        lambda: mtlue.protect(scenes, tasks=MIXED, loss=mtlue.EM(), progress=steps.append),
        lambda: pgd(scenes, tasks=MIXED, surrogate=SceneNet(), loss=mtlue.EM(), progress=steps.append),
    )
    for verb in verbs:
        with pytest.raises(ValueError, match=words):
            verb()
    assert steps == []


def test_a_task_without_a_single_label_is_told() -> None:
    scenes = make_scenes(4)
    for _, labels in scenes:
        labels["depth"] = torch.zeros(1, 16, 16)
        labels["parts"] = torch.full((16, 16), -1)
    with pytest.raises(
        ValueError, match=r"2 problems:\n  - task 'parts': every label is missing\n  - task 'depth': every label"
    ):
        inspect_dataset(scenes, MIXED)
    scenes[2][1]["depth"] = at_a_pixel(scenes[2][1]["depth"], 1.5)
    scenes[2][1]["parts"] = at_a_pixel(scenes[2][1]["parts"], 0)
    assert inspect_dataset(scenes, MIXED).length == 4


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("normals", 300.0 * SOUND["normals"]),
        ("normals", SOUND["normals"].numpy().astype(np.float64)),
        ("normals", (127 * SOUND["normals"]).round().to(torch.int8)),
        ("parts", SOUND["parts"].unsqueeze(0)),
        ("parts", SOUND["parts"].float()),
        ("parts", SOUND["parts"].clamp_min(0).numpy().astype(np.uint8)),
        ("depth", SOUND["depth"].squeeze(0)),
        ("depth", (1000 * SOUND["depth"]).numpy().astype(np.uint16)),
    ],
)
def test_what_is_no_fault(name: str, label: Any) -> None:
    found = inspect_dataset(with_label(name, label), MIXED)
    assert (found.length, found.channels, found.typical_size) == (6, 3, (16, 16))


def test_only_the_direction_of_a_normal_counts() -> None:
    target = SOUND["normals"].unsqueeze(0)
    output = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    task = mtlue.SurfaceNormals()
    torch.testing.assert_close(task.loss(output, 300.0 * target), task.loss(output, target))


def test_maps_may_differ_in_size_when_their_images_do() -> None:
    found = inspect_dataset(make_scenes(6, ((16, 16), (13, 15), (12, 17))), MIXED)
    assert not found.uniform
    swapped = make_scenes(6, ((16, 16), (13, 15)))
    labels = [labels for _, labels in swapped]
    crossed = [(image, labels[index ^ 1]) for index, (image, _) in enumerate(swapped)]
    with pytest.raises(
        ValueError, match=r"'parts': label map of \(13, 15\) pixels, the image has \(16, 16\) \(samples 0, 2, 4\)"
    ):
        inspect_dataset(crossed, MIXED)
