"""Names of classes are found through wrappers, where they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.datasets import ImageFolder

import mtlue
from mtlue import baselines, datasets
from mtlue._formats import class_names, read_class_names


class Told(list[Any]):
    """A data set with names of classes."""

    def __init__(self, classes: Any, tasks: Any = None) -> None:
        super().__init__((torch.rand(3, 4, 4), {"pet": index}) for index in range(2))
        self.classes = classes
        if tasks is not None:
            self.tasks = tasks


class Wrapper(Dataset[Any]):
    """Somebody's own."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset


TASKS = {"pet": mtlue.Classification(2)}
PETS = {"pet": ["cat", "dog"]}


def test_wrappers_are_looked_through() -> None:
    told = Told(PETS)
    for dataset in (told, Subset(told, [0]), Wrapper(Subset(Wrapper(told), [1])), ConcatDataset([told, Told(PETS)])):
        assert class_names(dataset, TASKS) == PETS  # type: ignore[arg-type]


def test_joined_sets_that_number_classes_differently_have_no_names() -> None:
    assert class_names(ConcatDataset([Told(PETS), Told({"pet": ["dog", "cat"]})]), TASKS) == {}
    assert class_names(ConcatDataset([Told(PETS), Told(None)]), TASKS) == {}


def test_a_wrapper_s_own_names_come_first() -> None:
    outer = Wrapper(Told(PETS))
    outer.classes = {"pet": ["feline", "canine"]}  # type: ignore[attr-defined]
    assert class_names(outer, TASKS) == {"pet": ["feline", "canine"]}
    outer.classes = {"pet": ["a", "b", "c"]}  # type: ignore[attr-defined]
    assert class_names(outer, TASKS) == PETS


def test_a_set_that_wraps_itself_has_an_end() -> None:
    outer = Wrapper(None)
    outer.dataset = outer
    assert class_names(outer, TASKS) == {}


def test_a_subset_without_a_class_keeps_tasks_and_names(tmp_path: Path) -> None:
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,pet\na.png,cat\nb.png,dog\nc.png,newt")
    protected = baselines.random_noise(Subset(datasets.ImageTable(tmp_path), [0, 1]))
    assert protected.tasks == {"pet": mtlue.Classification(3)}
    protected.export(tmp_path / "out")
    assert read_class_names(tmp_path / "out") == {"pet": ["cat", "dog", "newt"]}


def test_a_subset_of_a_folder_of_folders_keeps_the_names_of_its_folders(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name)
    baselines.random_noise(Subset(ImageFolder(str(tmp_path / "photos")), [1, 0])).export(tmp_path / "out")
    assert read_class_names(tmp_path / "out") == {"task0": ["cat", "dog"]}
