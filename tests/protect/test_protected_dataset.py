"""What protect returns, and what it writes for others to read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

import mtlue

QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}


@pytest.fixture
def make_safe(make_generator: Any) -> Any:
    """Protects a data set without training."""

    def make(dataset: Any, tasks: Any = None, shape: Any = (1, 16, 16), **arguments: Any) -> Any:
        generator = make_generator(tasks, shape, trained=True, gain=100.0)
        return mtlue.protect(dataset, generator=generator, **QUIET, **arguments)

    return make


@pytest.mark.parametrize(
    "form",
    [
        lambda target: target,
        lambda target: tuple(target.values()),
        lambda target: list(target.values()),
        lambda target: torch.tensor(list(target.values())),
        lambda target: {**target, "file": "0.png", "front": np.int64(target["front"])},
    ],
)
def test_targets_come_back_exactly_as_given(canvases: Any, make_safe: Any, form: Any) -> None:
    dataset = [(image, form(target)) for image, target in canvases]
    safe = make_safe(dataset)
    assert len(safe) == 48
    for (image, target), (_, given) in zip(safe, dataset, strict=True):
        assert target is given
        assert image.dtype == torch.float32
        assert image.shape == (1, 16, 16)
        assert 0 <= image.min() <= image.max() <= 1
        assert torch.equal(image, (image * 255).round() / 255)


def test_indices(canvases: Any, make_safe: Any) -> None:
    safe = make_safe(canvases)
    assert torch.equal(safe[-1][0], safe[47][0])
    assert safe[-48][1] is canvases[0][1]
    for index in (48, -49):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 48 samples"):
            safe[index]
    assert len(list(safe)) == 48


def test_an_image_that_is_changed_by_its_reader_stays_as_stored(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    for arguments in ({}, {"path": tmp_path / "store"}):
        safe = make_safe(canvases, **arguments)
        before = safe[3][0].clone()
        safe[3][0].zero_()
        assert torch.equal(safe[3][0], before)


def test_a_stored_image_is_a_copy_in_8_bits(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    for arguments in ({}, {"path": tmp_path / "store"}):
        safe = make_safe(canvases, **arguments)
        view = safe.with_transform(lambda image: image * 0)
        image = view.stored_image(-1)
        assert image.dtype == torch.uint8
        assert torch.equal(image.float() / 255, safe[47][0])
        image.zero_()
        assert torch.equal(view.stored_image(47).float() / 255, safe[47][0])
        assert safe[47][0].any()
        for index in (48, -49):
            with pytest.raises(IndexError, match=f"index {index} is out of range for 48 samples"):
                safe.stored_image(index)
        assert view.dataset is canvases


def test_with_transform_makes_another_view(canvases: Any, make_safe: Any) -> None:
    safe = make_safe(canvases)
    before = safe[5][0].clone()
    flipped = safe.with_transform(lambda image: image.flip(-1))
    assert torch.equal(flipped[5][0], before.flip(-1))
    assert flipped[5][1] is safe[5][1]
    assert torch.equal(safe[5][0], before)
    assert torch.equal(flipped.with_transform(None)[5][0], before)
    assert flipped.with_transform(lambda image: "any")[5] == ("any", canvases[5][1])
    assert flipped.generator is safe.generator


def test_repr_tells_size_tasks_and_budget_and_what_is_left_unprotected(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    start = "ProtectedDataset(48 samples, tasks={'shoe': Classification(2), 'front': Classification(2)}, epsilon=8/255"
    assert repr(make_safe(canvases)) == f"{start})"
    assert repr(make_safe(canvases, protected_tasks=["front", "shoe"], fraction=1)) == f"{start})"
    part = make_safe(canvases, path=tmp_path / "store", protected_tasks=["front"], fraction=0.25)
    assert (part.protected_tasks, part.fraction) == (["front"], 0.25)
    for view in (part, part.with_transform(lambda image: image)):
        assert repr(view) == f"{start}, protected_tasks=['front'], fraction=0.25)"
    # The store says nothing that helps an attacker.
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", canvases)
    assert repr(loaded) == f"{start})"
    assert (loaded.protected_tasks, loaded.fraction) == (None, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_a_loaded_set(canvases: Any, make_safe: Any, tmp_path: Path, workers: int) -> None:
    safe = make_safe(canvases, path=tmp_path / "store")
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", canvases)
    batches = list(DataLoader(loaded, batch_size=10, num_workers=workers))
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([image for image, _ in safe]))
    assert torch.cat([targets["front"] for _, targets in batches]).tolist() == [target["front"] for _, target in canvases]


def read_npy(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False))


@pytest.mark.parametrize(("channels", "suffix"), [(1, "png"), (3, "png"), (1, "npy"), (3, "npy"), (5, "npy")])
def test_export_keeps_every_bit(make_safe: Any, tmp_path: Path, channels: int, suffix: str) -> None:
    random = torch.Generator().manual_seed(0)
    sizes = [(8, 9), (10, 7), (8, 9)]
    dataset = [(torch.randint(256, (channels, *size), generator=random, dtype=torch.uint8), (1, 0)) for size in sizes]
    safe = make_safe(dataset, shape=(channels, 8, 9))
    safe.with_transform(lambda image: image * 0).export(tmp_path / "out", format=suffix)
    for index in range(3):
        path = tmp_path / "out" / "images" / f"{index:06d}.{suffix}"
        if suffix == "npy":
            image = read_npy(path)
        else:
            with Image.open(path) as file:
                assert file.mode == {1: "L", 3: "RGB"}[channels]
                image = pil_to_tensor(file)
        assert image.dtype == torch.uint8
        assert torch.equal(image, (safe[index][0] * 255).round().byte())
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"README.md", "images", "labels.csv", "mtlue.json"}
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


def test_export_writes_the_labels(make_safe: Any, tmp_path: Path) -> None:
    tasks = {"scene": 3, "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4), "lit": 2}
    random = torch.Generator().manual_seed(0)
    dataset = []
    for index in range(4):
        depth, parts = torch.rand(1, 8, 8, generator=random), torch.randint(-1, 4, (8, 8), generator=random)
        target = {"scene": index % 3, "lit": -1 if index == 2 else index % 2, "depth": depth, "parts": parts}
        dataset.append((torch.rand(3, 8, 8, generator=random), target))
    make_safe(dataset, tasks, (3, 8, 8)).export(tmp_path)
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [list(row) for row in rows] == [["file", "scene", "lit"]] * 4
    assert [row["file"] for row in rows] == [f"images/{index:06d}.png" for index in range(4)]
    assert [(row["scene"], row["lit"]) for row in rows] == [("0", "0"), ("1", "1"), ("2", "-1"), ("0", "1")]
    assert {folder.name for folder in (tmp_path / "labels").iterdir()} == {"depth", "parts"}
    for index, (_, target) in enumerate(dataset):
        assert torch.equal(read_npy(tmp_path / "labels" / "depth" / f"{index:06d}.npy"), target["depth"])
        assert torch.equal(read_npy(tmp_path / "labels" / "parts" / f"{index:06d}.npy"), target["parts"])


class Named(list[Any]):
    """A data set that tells the names of its classes."""

    def __init__(self, samples: Any, classes: Any) -> None:
        super().__init__(samples)
        self.classes = classes


SHOES, FRONTS = ["other", "schuh, größer"], ["back", "front"]


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        ({"shoe": SHOES, "front": tuple(FRONTS)}, {"shoe": SHOES, "front": FRONTS}),
        ({"front": FRONTS, "hat": ["no", "yes"]}, {"front": FRONTS}),
        ({"front": FRONTS, "shoe": ["one", "two", "three"]}, {"front": FRONTS}),
        ({"front": [0, 1], "shoe": ["one", "one"]}, None),
        ({"front": "no", "shoe": None}, None),
        (["other", "shoe"], None),
        (2, None),
    ],
)
def test_export_writes_the_names_of_classes_that_fit(
    canvases: Any, make_safe: Any, tmp_path: Path, classes: Any, written: Any
) -> None:
    safe = make_safe(Named(canvases, classes))
    safe.with_transform(lambda image: image).export(tmp_path / "out")
    file = tmp_path / "out" / "classes.json"
    assert (json.loads(file.read_text(encoding="utf-8")) if file.exists() else None) == written
    plain = make_safe(canvases)
    plain.export(tmp_path / "plain")
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {"README.md", "images", "labels.csv", "mtlue.json"}
    for each in ("labels.csv", "images/000007.png"):
        assert (tmp_path / "plain" / each).read_bytes() == (tmp_path / "out" / each).read_bytes()


def test_a_list_names_the_classes_of_the_only_task(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    dataset = Named([(image, target["shoe"]) for image, target in canvases], SHOES)
    make_safe(dataset, {"shoe": 2}).export(tmp_path)
    assert json.loads((tmp_path / "classes.json").read_text(encoding="utf-8")) == {"shoe": SHOES}


def test_an_exported_missing_label_is_minus_one_whatever_stood_for_it(make_safe: Any, tmp_path: Path) -> None:
    tasks = {"scene": mtlue.Classification(3, ignore_index=255)}
    make_safe([(torch.rand(3, 8, 8), label) for label in (2, 255, 0)], tasks, (3, 8, 8)).export(tmp_path)
    rows = csv.DictReader((tmp_path / "labels.csv").read_text().splitlines())
    assert [row["scene"] for row in rows] == ["2", "-1", "0"]


def test_export_refuses(make_safe: Any, canvases: Any, tmp_path: Path) -> None:
    safe = make_safe(canvases)
    for name in ("jpg", "jpeg"):
        with pytest.raises(ValueError, match=rf"format: expected one of .*png.*npy.*, got '{name}'; a lossy format"):
            safe.export(tmp_path / "out", format=name)
    with pytest.raises(ValueError, match=r"format: expected one of .*, got 'webp'"):
        safe.export(tmp_path / "out", format="webp")
    wide = make_safe([(torch.rand(5, 8, 8), (0, 1))], shape=(5, 8, 8))
    with pytest.raises(ValueError, match="PNG holds 1 or 3 channels, but the images have 5; use format='npy'"):
        wide.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"folder: .* is not empty"):
        safe.export(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_load_gives_back_what_was_protected(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    safe = make_safe(canvases, path=tmp_path / "store")
    loaded = mtlue.ProtectedDataset.load(str(tmp_path / "store"), canvases)
    assert len(loaded) == 48
    assert all(torch.equal(loaded[i][0], safe[i][0]) and loaded[i][1] is canvases[i][1] for i in range(48))
    assert loaded.epsilon == safe.epsilon
    assert loaded.tasks == safe.tasks
    assert loaded.generator is None
    assert loaded.history is None


def test_load_knows_an_export(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    make_safe(canvases).export(tmp_path / "out")
    with pytest.raises(
        FileNotFoundError, match=r"manifest\.json is missing; it looks like an export, which mtlue\.datasets\.ImageTable"
    ):
        mtlue.ProtectedDataset.load(tmp_path / "out", canvases)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing$"):
        mtlue.ProtectedDataset.load(tmp_path, canvases)


def test_load_wants_the_data_set_that_was_protected(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    make_safe(canvases, path=tmp_path / "store")
    others = {
        "of 48 samples; this one has 47": canvases[:47],
        "image 0 is not the same": [(255 - image, target) for image, target in canvases],
        "image . is not the same": [(image[:, :15], target) for image, target in canvases],
        "the labels are not the same": [(image, {**target, "front": 1 - target["front"]}) for image, target in canvases],
    }
    for words, other in others.items():
        with pytest.raises(ValueError, match=f"dataset: the store was made from another data set, .*{words}"):
            mtlue.ProtectedDataset.load(tmp_path / "store", other)
    with pytest.raises(TypeError, match="dataset: expected a map-style data set"):
        mtlue.ProtectedDataset.load(tmp_path / "store", 5)
    unlabelled = [(image, {"shoe": 0}) for image, _ in canvases]
    with pytest.raises(ValueError, match="missing 'front'"):
        mtlue.ProtectedDataset.load(tmp_path / "store", unlabelled)


def test_the_manifest_says_nothing_that_helps_an_attacker(canvases: Any, make_safe: Any, tmp_path: Path) -> None:
    make_safe(canvases, path=tmp_path / "store", seed=987654, fraction=0.5, protected_tasks=["shoe"])
    text = (tmp_path / "store" / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["tasks"][0] == ["shoe", "Classification", {"num_classes": 2, "ignore_index": -1}]
    assert manifest["epsilon"] == 8 / 255
    for word in ("seed", "987654", "fraction", "generator", "protected_tasks", "surrogate", "delta", str(tmp_path)):
        assert word not in text
    assert {file.name for file in tmp_path.iterdir()} == {"store"}
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"images-000000.bin", "manifest.json"}
    assert (tmp_path / "store" / "images-000000.bin").stat().st_size == 48 * 256
