"""Sets with a class of the image beside label maps, from the labels to the store."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue import baselines
from properties import assert_protected, largest_changes
from scenes import DENSE, MIXED, SceneNet, Scenes, make_scenes, stored_bytes

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 4, "progress": False}
SIZES = {"even": ((16, 16),), "odd": ((13, 15),), "different": ((16, 16), (13, 15), (12, 17))}


class Adversarial(mtlue.BaseUELoss):
    """TAP that does not ask whether the surrogate is trained."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.adversarial_loss(images, targets)

    def __repr__(self) -> str:
        return "Adversarial()"


def gappy_scenes(sizes: tuple[tuple[int, int], ...] = ((16, 16),)) -> Scenes:
    """Scenes of which some have no class, some no maps, and one has no label at all; in the forms that data sets give."""
    scenes = make_scenes(9, sizes)
    for index in (0, 5):
        scenes[index][1]["scene"] = -1
    for index in (0, 3):
        labels = scenes[index][1]
        labels["parts"] = torch.full_like(labels["parts"], -1)
        labels["depth"] = torch.zeros_like(labels["depth"])
        labels["normals"] = torch.zeros_like(labels["normals"])
    scenes[1][1]["parts"] = scenes[1][1]["parts"].unsqueeze(0).to(torch.int8)
    scenes[2][1]["depth"] = scenes[2][1]["depth"].double().numpy()
    return scenes


@pytest.mark.parametrize("sizes", list(SIZES.values()), ids=list(SIZES))
@pytest.mark.parametrize("loss", [mtlue.EM(), Adversarial()], ids=["em", "frozen"])
def test_every_sample_is_protected_and_every_target_comes_back(
    sizes: tuple[tuple[int, int], ...], loss: Any, make_generator: Any, tmp_path: Path
) -> None:
    scenes = gappy_scenes(sizes)
    generator = make_generator(MIXED, (3, *sizes[0]), gain=30.0)
    path = tmp_path / "store"
    safe = mtlue.protect(scenes, surrogate=SceneNet(), loss=loss, generator=generator, path=path, **SETTINGS)
    assert_protected(safe, scenes)
    loaded = mtlue.ProtectedDataset.load(path, scenes)
    assert loaded.tasks == safe.tasks == MIXED
    for found in (safe, loaded):
        assert all(found[index][1] is labels for index, (_, labels) in enumerate(scenes))
    assert all(torch.equal(*pair) for pair in zip(stored_bytes(loaded), stored_bytes(safe), strict=True))


def test_a_label_of_either_kind_changes_its_own_sample_alone(make_generator: Any) -> None:
    scenes = gappy_scenes(SIZES["different"])
    generator = make_generator(MIXED, (3, 16, 16))
    mtlue.protect(scenes, surrogate=SceneNet(), loss=Adversarial(), generator=generator, **SETTINGS)
    expected = stored_bytes(mtlue.protect(scenes, generator=generator, progress=False))
    new = {
        "scene": 0,
        "parts": torch.full((13, 15), 2),
        "depth": torch.full((1, 13, 15), 9.0),
        "normals": torch.ones(3, 13, 15),
    }
    assert scenes[7][0].shape == (3, 13, 15)
    assert scenes[7][1]["scene"] == 1
    for name, label in new.items():
        changed = list(scenes)
        changed[7] = (scenes[7][0], {**scenes[7][1], name: label})
        found = stored_bytes(mtlue.protect(changed, generator=generator, progress=False))
        assert [torch.equal(*pair) for pair in zip(found, expected, strict=True)] == [True] * 7 + [False, True]


def test_tasks_are_read_off_the_labels() -> None:
    scenes = gappy_scenes(((8, 8),))
    safe = mtlue.protect(scenes, surrogate=SceneNet(), loss=mtlue.EM(), **{**SETTINGS, "epochs": 1})
    assert safe.tasks == MIXED
    assert list(safe.tasks) == list(MIXED)
    flat = [(image, {"depth": labels["depth"].squeeze(0).numpy()}) for image, labels in make_scenes(4)]
    millimetres = [
        (image, {"rooms": labels["parts"].clamp_min(0).numpy().astype("uint16")}) for image, labels in make_scenes(4)
    ]
    assert baselines.random_noise(flat).tasks == {"depth": mtlue.Depth()}
    assert baselines.random_noise(millimetres).tasks == {"rooms": mtlue.Segmentation(3)}


class StoppedError(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize(("stage", "step"), [("fit", 3), ("protect", 1)])
def test_a_protection_that_was_stopped_goes_on(stage: str, step: int, make_generator: Any, tmp_path: Path) -> None:
    scenes = gappy_scenes()[:6]

    def protect(path: Path, progress: Any) -> list[Tensor]:
        settings = {**SETTINGS, "batch_size": 3, "progress": progress, "surrogate": SceneNet(), "loss": mtlue.EM()}
        return stored_bytes(mtlue.protect(scenes, generator=make_generator(MIXED, (3, 16, 16)), path=path, **settings))

    def stop(figures: dict[str, Any]) -> None:
        if ("base_loss" in figures) == (stage == "fit") and figures["step"] == step:
            raise StoppedError

    with pytest.raises(StoppedError):
        protect(tmp_path / "stopped", stop)
    later: list[Any] = []
    found = protect(tmp_path / "stopped", later.append)
    expected = protect(tmp_path / "whole", False)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert sum("base_loss" in figures for figures in later) == (2 if stage == "fit" else 0)


@pytest.mark.parametrize("loss", [mtlue.EM(), Adversarial()], ids=["em", "frozen"])
def test_a_search_on_pixels_that_was_stopped_goes_on(loss: Any, tmp_path: Path) -> None:
    scenes = gappy_scenes(SIZES["odd"])
    settings: dict[str, Any] = {"rounds": 2, "steps": 2, "step_size": 2 / 255, "batch_size": 4, "stop_accuracy": 1.1}

    def search(path: Path, progress: Any) -> Any:
        return baselines.pgd(scenes, tasks=MIXED, surrogate=SceneNet(), loss=loss, path=path, progress=progress, **settings)

    def stop(figures: dict[str, Any]) -> None:
        if figures["step"] == 9:
            raise StoppedError

    with pytest.raises(StoppedError):
        search(tmp_path / "stopped", stop)
    safe = search(tmp_path / "stopped", False)
    expected = search(tmp_path / "whole", False)
    assert all(torch.equal(*pair) for pair in zip(stored_bytes(safe), stored_bytes(expected), strict=True))
    # Nothing pulls at the sample without a label.
    found = largest_changes(safe, scenes)
    assert found[0] == 0
    assert all(0 < change <= 8 for change in found[1:])
    assert all(safe[index][1] is labels for index, (_, labels) in enumerate(scenes))


@pytest.mark.parametrize("patterns", [baselines.LSP(), baselines.AR()], ids=["lsp", "ar"])
def test_patterns_of_classes_refuse_label_maps_before_any_work(patterns: Any, tmp_path: Path) -> None:
    read: list[int] = []

    class Watched(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            return super().__getitem__(index)

    scenes = Watched(make_scenes(4))
    settings: dict[str, Any] = {"patterns": patterns, "fusion": baselines.average_fusion, "path": tmp_path / "store"}
    named = r"got 'parts': Segmentation\(3\), 'depth': Depth\(\), 'normals': SurfaceNormals\(\)"
    with pytest.raises(
        ValueError, match=rf"tasks: .*expected classification tasks, {named}; use baselines.pgd or mtlue.protect"
    ):
        baselines.shortcut(scenes, tasks=DENSE, **settings)
    with pytest.raises(ValueError, match=rf"tasks: .*{named}; give \['scene'\] alone"):
        baselines.shortcut(scenes, tasks=MIXED, **settings)
    assert read == []
    assert list(tmp_path.iterdir()) == []


def test_patterns_protect_the_classes_of_a_mixed_set() -> None:
    scenes = make_scenes(4)
    safe = baselines.shortcut(scenes, tasks={"scene": 2}, patterns=baselines.LSP(), fusion=baselines.patch_fusion)
    assert all(change > 0 for change in largest_changes(safe, scenes))
    assert all(safe[index][1] is labels for index, (_, labels) in enumerate(scenes))


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize("names", [list(MIXED), ["depth"]], ids=["mixed", "maps"])
def test_protect_with_nothing_but_a_data_set(names: list[str]) -> None:
    scenes = [(image, {name: labels[name] for name in names}) for image, labels in make_scenes(4)]
    before = copy.deepcopy(scenes)
    safe = mtlue.protect(scenes, epochs=1, batch_size=4, progress=False)
    assert safe.tasks == {name: MIXED[name] for name in names}
    assert safe.epsilon == 8 / 255
    assert_protected(safe, scenes)
    assert all(
        torch.equal(torch.as_tensor(labels[name]), torch.as_tensor(old[name]))
        for (_, labels), (_, old) in zip(safe, before, strict=True)
        for name in names
    )
