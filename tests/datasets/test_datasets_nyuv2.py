"""NYUv2."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mtlue
from mtlue._data import inspect_dataset
from mtlue.datasets import NYUv2

HEIGHT, WIDTH = 6, 8
Arrays = dict[str, np.ndarray[Any, Any]]


def arrays(seed: int) -> Arrays:
    """One sample; its first row has neither a class nor readings."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=(HEIGHT, WIDTH, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    label = random.integers(0, 13, (HEIGHT, WIDTH)).astype(np.float64)
    depth = random.uniform(0.5, 9.0, (HEIGHT, WIDTH, 1))
    label[0], depth[0], normal[0] = -1, 0, 0
    return {"image": random.random((HEIGHT, WIDTH, 3)), "label": label, "depth": depth, "normal": normal}


def write(root: Path, folder: str, number: int, sample: Arrays) -> None:
    for kind, values in sample.items():
        path = root / folder / kind / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eleven training samples, so that 10 comes after 9 only as a number, and two of test."""
    for number in range(11):
        write(tmp_path, "train", number, arrays(number))
    for number in range(2):
        write(tmp_path, "val", number, arrays(100 + number))
    return tmp_path


@pytest.mark.parametrize(("split", "first", "length"), [("train", 0, 11), ("test", 100, 2)])
def test_arrays_become_channels_first_tensors(root: Path, split: str, first: int, length: int) -> None:
    dataset = NYUv2(root, split=split)
    assert len(dataset) == length
    for number in range(length):
        image, targets = dataset[number]
        expected = {name: torch.from_numpy(values) for name, values in arrays(first + number).items()}
        torch.testing.assert_close(image, expected["image"].permute(2, 0, 1).float(), atol=0, rtol=0)
        assert list(targets) == ["segmentation", "depth", "normals"]
        assert targets["segmentation"].dtype == torch.int64
        assert torch.equal(targets["segmentation"], expected["label"].long())
        assert torch.equal(targets["depth"], expected["depth"].permute(2, 0, 1).float())
        assert torch.equal(targets["normals"], expected["normal"].permute(2, 0, 1).float())
    assert (targets["segmentation"][0] == -1).all()
    assert not targets["depth"][:, 0].any()
    assert not targets["normals"][:, 0].any()


def test_tasks(root: Path) -> None:
    dataset = NYUv2(root, split="train")
    expected = {"segmentation": mtlue.Segmentation(13), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}
    assert list(dataset.tasks.items()) == list(expected.items())


def test_sizes_change_images_smoothly_and_label_maps_without_new_values(root: Path) -> None:
    whole, small = NYUv2(root, split="train"), NYUv2(root, split="train", image_size=(3, 4))
    for (image, targets), (image_small, targets_small) in zip(whole, small, strict=True):
        assert image_small.shape == (3, 3, 4)
        # Half the size, so the nearest of each two by two is the one that the centre leans to: rows 1, 3, 5.
        for name, target in targets.items():
            assert torch.equal(targets_small[name], target[..., 1::2, 1::2]), name
        assert image_small.amin() >= image.amin()
        assert image_small.amax() <= image.amax()
        assert not torch.equal(image_small, image[:, 1::2, 1::2])


def test_the_set_can_be_inspected_pickled_and_shown(root: Path) -> None:
    dataset = pickle.loads(pickle.dumps(NYUv2(str(root), split="train")))
    inspection = inspect_dataset(dataset, dataset.tasks, num_workers=2)
    assert (inspection.length, inspection.channels, inspection.typical_size) == (11, 3, (6, 8))
    generator = mtlue.UEGenerator(dataset.tasks, (3, 6, 8), width=2)
    image, targets = dataset[0]
    assert generator(image[None], {name: target[None] for name, target in targets.items()}).shape == (1, 3, 6, 8)
    assert repr(dataset) == "NYUv2(11 samples, split='train', image_size=None, 3 tasks)"


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("image", np.zeros((3, 6, 8)), r"expected an array of shape \(H, W, 3\), got \(3, 6, 8\)"),
        ("image", np.full((6, 8, 3), 1.5), r"expected values in \[0, 1\]"),
        ("image", np.full((6, 8, 3), np.nan), r"expected values in \[0, 1\]"),
        ("label", np.zeros((6, 8, 1)), r"expected an array of shape \(H, W\), got \(6, 8, 1\)"),
        ("label", np.zeros((6, 7)), r"\(6, 7\) pixels, the image has \(6, 8\)"),
        ("label", np.full((6, 8), 13), "label 13 is out of range"),
        ("depth", np.zeros((6, 8)), r"expected an array of shape \(H, W, 1\), got \(6, 8\)"),
        ("depth", np.full((6, 8, 1), np.inf), "the map holds NaN or infinity"),
        ("normal", np.zeros((6, 8, 1)), r"expected an array of shape \(H, W, 3\), got \(6, 8, 1\)"),
        ("normal", np.zeros((6, 8, 3), dtype=object), "cannot be read as an array of numbers"),
    ],
)
def test_a_file_with_something_else_in_it_is_named(root: Path, kind: str, values: Any, words: str) -> None:
    np.save(root / "train" / kind / "10.npy", values)
    dataset = NYUv2(root, split="train", image_size=4)
    assert len(dataset[9]) == 2
    with pytest.raises(ValueError, match=rf"train/{kind}/10\.npy: {words}.*https://github\.com/lorenmt/mtan"):
        dataset[10]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{'descr'", b"not an array"])
def test_a_file_that_is_no_array_is_named(root: Path, content: bytes) -> None:
    (root / "val" / "depth" / "0.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"val/depth/0\.npy: cannot be read as an array of numbers .*lorenmt"):
        NYUv2(root, split="test")[0]


@pytest.mark.parametrize("kind", ["image", "label", "depth", "normal"])
def test_a_missing_file_is_named(root: Path, kind: str) -> None:
    dataset = NYUv2(root, split="train")
    (root / "train" / kind / "3.npy").unlink()
    for read in (lambda: NYUv2(root, split="train"), lambda: dataset[3]):
        with pytest.raises(FileNotFoundError, match=rf"train/{kind}/3\.npy: not found; get .*lorenmt"):
            read()


def test_missing_folders_and_empty_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val/image, .*val/label, .*val/depth and 1 more: not found"):
        NYUv2(tmp_path, split="test")
    for kind in ("image", "label", "depth", "normal"):
        (tmp_path / "val" / kind).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"val/image: no file named 0\.npy, 1\.npy"):
        NYUv2(tmp_path, split="test")


def test_the_folder_s_name_is_no_split(root: Path) -> None:
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', got 'val'"):
        NYUv2(root, split="val")


def test_without_numpy_the_command_that_installs_it_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r'numpy .* pip install "mtlue\[datasets\]"'):
        NYUv2(root, split="train")
