"""CelebA."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

import mtlue
from celeba_folder import NAMES, attributes, write_files
from mtlue._data import inspect_dataset
from mtlue.datasets import CelebA


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven images, with torchvision's check of the text files put out of action."""
    write_files(tmp_path)
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    return tmp_path


@pytest.mark.parametrize(("split", "members"), [("train", [0, 1, 2]), ("valid", [3, 4]), ("test", [5, 6])])
def test_labels_and_pixels_of_each_part(root: Path, split: str, members: list[int]) -> None:
    dataset = CelebA(root, split=split)
    assert list(dataset.tasks) == NAMES
    assert set(dataset.tasks.values()) == {mtlue.Classification(2)}
    assert len(dataset) == len(members)
    for index, (image, targets) in zip(members, dataset, strict=True):
        assert image.shape == (3, 218, 178)
        torch.testing.assert_close(image[:, 100, 100] * 255, torch.tensor([20.0 * index, 255.0, 0.0]))
        assert list(targets) == NAMES
        assert [int(target) for target in targets.values()] == [(value + 1) // 2 for value in attributes(index)]
        assert all(target.dtype == torch.int64 for target in targets.values())


def test_a_size_cuts_out_the_centre_square_first(root: Path) -> None:
    dataset = CelebA(root, split="valid", image_size=70)
    image, _ = dataset[0]
    # Nothing of the blue margin is left, up to the very edge.
    expected = torch.tensor([60.0, 255.0, 0.0]) / 255
    torch.testing.assert_close(image, expected[:, None, None].expand(3, 70, 70))
    whole = CelebA(root, split="valid")[0][0]
    assert whole[2, 38, 19] == whole[2, 179, 158] == whole[2, 39, 18] == whole[2, 178, 159] == 1
    assert CelebA(root, split="valid", image_size=(140, 140))[0][0][2].max() == 0


def test_images_smaller_than_the_square_are_resized_whole(root: Path) -> None:
    path = root / "celeba" / "img_align_celeba" / "000001.jpg"
    Image.new("RGB", (30, 160), (255, 0, 0)).save(path, format="PNG")
    image, _ = CelebA(root, split="train", image_size=(70, 15))[0]
    torch.testing.assert_close(image, torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 70, 15))


def test_the_set_can_be_inspected_pickled_and_shown(root: Path) -> None:
    dataset = pickle.loads(pickle.dumps(CelebA(str(root), split="train", image_size=8)))
    inspection = inspect_dataset(dataset, dataset.tasks)
    assert (inspection.length, inspection.channels, inspection.typical_size) == (3, 3, (8, 8))
    assert mtlue.UEGenerator(dataset.tasks, (3, 8, 8), width=2, embedding_channels=1).tasks == dataset.tasks
    assert repr(dataset) == "CelebA(3 samples, split='train', image_size=(8, 8), 40 tasks)"


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "list_bbox_celeba.txt"])
def test_a_missing_text_file_is_named(root: Path, name: str) -> None:
    (root / "celeba" / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"celeba/{name}: not found; get .*https://mmlab\.ie\.cuhk"):
        CelebA(root, split="train")


def test_an_empty_folder_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"celeba/list_attr_celeba\.txt, .* and 3 more: not found; .*img_align_celeba"):
        CelebA(tmp_path, split="train")


def test_a_changed_text_file_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torchvision's check at work: none of the fixture's files is the published one."""
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"not the published files, by their MD5 sums: list_attr_celeba\.txt, .*mmlab"):
        CelebA(root, split="train")


def test_a_missing_image_is_named(root: Path) -> None:
    dataset = CelebA(root, split="test")
    (root / "celeba" / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"img_align_celeba/000007\.jpg: not found; .*mmlab"):
        dataset[1]


def test_a_wrong_split_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'all'"):
        CelebA(root, split="all")
