"""A folder of images with a table of labels: which tasks, classes and images it gives."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import mtlue
from mtlue.datasets import ImageTable
from photo_folder import labels_of, write_photos, write_table
from properties import assert_protected


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


def test_columns_become_tasks(root: Path) -> None:
    dataset = ImageTable(root)
    assert dataset.tasks == {name: mtlue.Classification(n) for name, n in {"age": 4, "race": 3, "lit": 2}.items()}
    assert list(dataset.tasks) == ["age", "race", "lit"]
    assert dataset.classes == {"race": ["Asian", "Indian", "White"]}
    assert labels_of(dataset) == {"age": [3, 0, -1, -1], "race": [1, 0, 2, -1], "lit": [1, -1, 0, 1]}
    assert all(target.dtype == torch.int64 and target.shape == () for target in dataset[0][1].values())
    assert repr(dataset) == (
        f"ImageTable(4 samples, root='{root}', image_size=None, "
        "tasks={age: 4 classes (2 missing), race: 3 classes (Asian 1, Indian 1, White 1, 1 missing), "
        "lit: 2 classes (1 missing)})"
    )


def test_a_misspelt_class_is_seen(root: Path) -> None:
    rows = ("a.png,red,a", "sub/b.png,gren,b", "c.png,green,c", "d.png,green,d")
    write_table(root, "photo,colour,letter", *rows)
    letters = [chr(ord("a") + index) for index in range(8)]
    dataset = ImageTable(root, classes={"letter": letters})
    counts = "a 1, b 1, c 1, d 1, e 0, f 0, g 0, h 0"
    tasks = f"{{colour: 3 classes (green 2, gren 1, red 1), letter: 8 classes ({counts})}}"
    assert repr(dataset).endswith(f"tasks={tasks})")
    # More than eight are told by their number.
    assert repr(ImageTable(root, classes={"letter": [*letters, "i"]})).endswith("letter: 9 classes})")


def test_images_are_floats_with_the_channels_of_the_file(root: Path) -> None:
    images = [image for image, _ in ImageTable(root)]
    for image, color in zip(images, [(10, 20, 30), (40,), (50, 60, 70), (90, 80, 70)], strict=True):
        assert image.dtype == torch.float32
        assert torch.equal(image, (torch.tensor(color) / 255)[:, None, None].expand(-1, 4, 6))


@pytest.mark.parametrize(("channels", "first"), [(3, [10, 20, 30]), (1, [18])])
def test_channels_can_be_chosen(root: Path, channels: int, first: list[int]) -> None:
    dataset = ImageTable(root, channels=channels)
    assert {image.shape for image, _ in dataset} == {(channels, 4, 6)}
    assert (dataset[0][0][:, 0, 0] * 255).round().tolist() == first
    assert (dataset[1][0][:, 0, 0] * 255).round().tolist() == [40] * channels


def test_images_can_be_resized(root: Path) -> None:
    dataset = ImageTable(root, image_size=(3, 5))
    assert dataset[0][0].shape == (3, 3, 5)
    assert dataset.image_size == (3, 5)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["lit", "race"], {"lit": 2, "race": 2}),
        ({"race": 5, "age": 9}, {"race": 5, "age": 9}),
        ({"age": mtlue.Classification(4, ignore_index=7)}, {"age": mtlue.Classification(4, ignore_index=7)}),
    ],
)
def test_tasks_choose_the_columns(root: Path, tasks: Any, expected: dict[str, Any]) -> None:
    write_table(root, "photo,age,race,lit,taken", "a.png,3,Indian,1,12:30", "c.png,,White,0,1e5")
    dataset = ImageTable(root, tasks=tasks)
    wanted = {name: mtlue.Classification(task) if isinstance(task, int) else task for name, task in expected.items()}
    assert list(dataset.tasks.items()) == list(wanted.items())
    if "age" in wanted:
        assert labels_of(dataset)["age"] == [3, getattr(wanted["age"], "ignore_index", -1)]


def test_a_test_set_numbers_its_classes_as_the_training_set_does(root: Path) -> None:
    train = ImageTable(root)
    (root / "test.csv").write_text("photo,age,race,lit\nc.png,1,White,1\n")
    alone = ImageTable(root, table="test.csv")
    assert labels_of(alone)["race"] == [0]
    test = ImageTable(root, table="test.csv", tasks=train.tasks, classes=train.classes)
    assert labels_of(test) == {"age": [1], "race": [2], "lit": [1]}
    assert (test.tasks, test.classes) == (train.tasks, train.classes)
    (root / "test.csv").write_text("photo,age,race,lit\nc.png,,,\n")
    unlabelled = ImageTable(root, table="test.csv", tasks=train.tasks, classes=train.classes)
    assert labels_of(unlabelled) == {"age": [-1], "race": [-1], "lit": [-1]}
    (root / "test.csv").write_text("photo,age\nc.png,\n")
    assert ImageTable(root, table="test.csv", tasks={"age": 4}).classes == {}


def test_classes_may_be_names_that_look_like_numbers(root: Path) -> None:
    write_table(root, "photo,children", "a.png,2", "c.png,3+", "d.png,0")
    dataset = ImageTable(root, classes={"children": ["0", "1", "2", "3+"]})
    assert labels_of(dataset) == {"children": [2, 3, 0]}
    assert dataset.tasks == {"children": mtlue.Classification(4)}


def test_cells_may_be_the_numbers_of_the_classes(root: Path) -> None:
    write_table(root, "photo,race", "a.png,2", "c.png,-1", "d.png,0")
    dataset = ImageTable(root, classes={"race": ["Asian", "Indian", "White"]})
    assert labels_of(dataset) == {"race": [2, -1, 0]}
    assert dataset.classes == {"race": ["Asian", "Indian", "White"]}
    with pytest.raises(ValueError, match="line 2, column 'race': '2' is not one of the classes 'Asian', 'Indian'"):
        ImageTable(root, classes={"race": ["Asian", "Indian"]})


def test_minus_one_is_missing_whatever_stands_for_it(root: Path) -> None:
    write_table(root, "photo,age", "a.png,-1", "c.png,7", "d.png,")
    dataset = ImageTable(root, tasks={"age": mtlue.Classification(9, ignore_index=255)})
    assert labels_of(dataset) == {"age": [255, 7, 255]}


@pytest.mark.parametrize(
    "content",
    [
        b"photo;age\r\na.png;1\r\nc.png;\r\n",
        b"photo\tage\na.png\t1\n\nc.png\t\n",
        b"\xef\xbb\xbfphoto,age\na.png,1\nc.png,\n",
        b",photo,age\n0,a.png,1.0\n1,c.png,\n",
        b'photo , age\n"a.png", 1\nc.png,-1\n',
    ],
    ids=["semicolons", "tabs", "byte order mark", "pandas", "spaces"],
)
def test_tables_of_many_hands_are_read(root: Path, content: bytes) -> None:
    (root / "labels.csv").write_bytes(content)
    dataset = ImageTable(root, image_column="photo")
    assert dataset.classes == ImageTable(root, tasks={"age": 2}).classes == {}
    assert [Path(path).name for path in dataset._paths] == ["a.png", "c.png"]
    assert labels_of(dataset) == {"age": [1, -1]}


def test_a_column_may_have_the_name_of_a_folder_or_of_a_file_without_an_ending(root: Path) -> None:
    (root / "lit").write_text("notes")
    (root / "race").mkdir()
    assert list(ImageTable(root).tasks) == ["age", "race", "lit"]


def test_the_image_column_can_be_any(root: Path) -> None:
    write_table(root, "age,photo", "1,a.png", "0,c.png")
    assert labels_of(ImageTable(root, image_column="photo")) == {"age": [1, 0]}


def test_worker_processes_give_the_same_samples(root: Path) -> None:
    dataset = ImageTable(root, channels=3)
    batches = list(DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=2, num_workers=1, generator=torch.Generator()))
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([image for image, _ in dataset]))
    assert torch.cat([targets["age"] for _, targets in batches]).tolist() == [3, 0, -1, -1]


def test_a_folder_of_one_s_own_is_protected_in_one_call(root: Path) -> None:
    dataset = ImageTable(root, channels=3)
    safe = mtlue.protect(dataset, loss=mtlue.EM(), epochs=1, batch_size=4, device="cpu", progress=False)
    assert safe.tasks == dataset.tasks
    assert_protected(safe, dataset, all_changed=False)
