"""A folder of images with a table of labels, and the way back from an exported set."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue._tasks import resolve_tasks
from mtlue.datasets import ImageTable
from properties import assert_protected

TABLE = """photo,age,race,lit
a.png,3,Indian,1
sub/b.png,0,Asian,
c.png,,White,0
d.png,-1,,1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images in colour, a grey and a transparent one, each of one colour, with a line of labels each."""
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (6, 4), (10, 20, 30)).save(tmp_path / "a.png")
    Image.new("L", (6, 4), 40).save(tmp_path / "sub" / "b.png")
    Image.new("RGBA", (6, 4), (50, 60, 70, 80)).save(tmp_path / "c.png")
    Image.new("RGB", (6, 4), (90, 80, 70)).save(tmp_path / "d.png")
    (tmp_path / "labels.csv").write_text(TABLE)
    return tmp_path


def labels_of(dataset: ImageTable) -> dict[str, list[int]]:
    return {name: [int(targets[name]) for _, targets in dataset] for name in dataset.tasks}


def write_table(root: Path, *rows: str) -> None:
    (root / "labels.csv").write_text("\n".join(rows))


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
    with pytest.raises(ValueError, match="line 2, column 'race': '2' is none of the classes 'Asian', 'Indian'"):
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


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["photo,age", "a.png,x", "c.png,2", "d.png,1"], "line 2, column 'age': 'x' among '1', '2'; expected integers alone"),
        (["photo,race", "a.png,b", "c.png,2", "d.png,a"], "line 3, column 'race': '2' among 'a', 'b'"),
        (["photo,age", "a.png,1", "c.png,nan"], "line 3, column 'age': 'nan' among '1'; .* an empty cell is a missing label"),
        (["photo,score", "a.png,0.5", "c.png,0.7"], r"line 2, column 'score': '0.5'; .* name those that do with tasks="),
        (["photo,age", "a.png,-2", "c.png,1"], "line 2, column 'age': label -2 is out of range"),
        (["photo,age", "a.png,", "c.png,"], "line 2, column 'age': every label is missing"),
        (["photo,id", "a.png,0", "c.png,70000"], "column 'id': 2 different values in 2 cells are no classes"),
        (["photo,when", *(f"a.png,day {day}" for day in range(20))], "'when': 20 different values in 20 cells are no classes"),
        (["photo,age", "a.png,1", "x.png,1"], "line 3, column 'photo': there is no image .*/x.png$"),
        (
            ["age,photo", "1,a.png"],
            "there is no image .*/1\n.*column 'age' is taken for the paths .*; image_column names another",
        ),
        (["photo,age", "a.png,1,2", "c.png"], "line 2: 3 cells, line 3: 1 cells; expected 2, as in the first line"),
        (
            ["photo,age", "a.png,1", "c.png,1", "./a.png,0", "sub/../c.png,1", "a.png,1", "d.png,0"],
            "column 'photo': an image is there more than once: .*/a.png .lines 2, 4, 6., .*/c.png .lines 3, 5.$",
        ),
        (["a.png,1,1", "c.png,0,1"], "the first line looks like data, 'a.png' is a file; expected names of columns, such as"),
        (["1,sub/b.png", "0,c.png"], "the first line looks like data, 'sub/b.png' is a file"),
        (["photo,age,age", "a.png,1,2"], "two columns are named 'age'"),
        (["photo,age"], "expected a line with the names of the columns and one line an image, got 1 lines"),
        (["photo", "a.png"], "there is no column of labels beside 'photo'"),
        (["photo,age", '"a.png,1'], "cannot be read as a CSV file"),
    ],
)
def test_a_fault_in_the_table_is_told_with_its_place(root: Path, rows: list[str], words: str) -> None:
    write_table(root, *rows)
    with pytest.raises(ValueError, match=re.compile(f"{re.escape(str(root))}.labels.csv: .*{words}", re.DOTALL)):
        ImageTable(root)


def test_all_faults_are_told_at_once(root: Path) -> None:
    write_table(root, "photo,age,race", "a.png,5,b", "x.png,one,2", "c.png,5,a")
    with pytest.raises(ValueError, match="3 problems:") as caught:
        ImageTable(root)
    lines = str(caught.value).splitlines()[1:]
    places = ["line 3, column 'photo'", "line 3, column 'age'", "line 3, column 'race'"]
    assert [line.removeprefix("  - ").partition(":")[0] for line in lines] == places


def test_many_missing_images_are_counted(root: Path) -> None:
    write_table(root, "photo,age", "a.png,1", *(f"x{index}.png,1" for index in range(30)))
    with pytest.raises(ValueError, match=r"21 problems:(.*\n){20}.*x19.*\n.*and 1 more") as caught:
        ImageTable(root)
    assert "x20" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"root": "nowhere"}, FileNotFoundError, "root: nowhere is no folder"),
        ({"table": "other.csv"}, FileNotFoundError, "other.csv: not found; expected a CSV file"),
        ({"image_column": "file"}, ValueError, "image_column: .*labels.csv has no column 'file'; it has .'photo', 'age'"),
        ({"tasks": ["height"]}, ValueError, "tasks: .*labels.csv has no column of labels 'height'; it has .'age', 'race'"),
        ({"tasks": {"photo": 2}}, ValueError, "tasks: .*labels.csv has no column of labels 'photo'"),
        ({"tasks": {"age": 3}}, ValueError, "line 2, column 'age': '3': label 3 is out of range: expected .* 0 to 2"),
        ({"tasks": {"race": 2}}, ValueError, "line 4, column 'race': 'White': label 2 is out of range"),
        ({"tasks": "age"}, TypeError, "tasks: expected a dict such as .*, a list of column names or None, got 'age'"),
        ({"tasks": []}, ValueError, "tasks: expected at least one column name"),
        ({"tasks": {"depth": mtlue.Depth()}}, ValueError, "task 'depth': not found: .*labels.depth.a.npy"),
        (
            {"classes": {"race": ["Asian", "White"]}},
            ValueError,
            "line 2, column 'race': 'Indian' is none of the classes 'Asian'",
        ),
        ({"classes": {"rase": ["Asian"]}}, ValueError, "classes: .*labels.csv has no column of labels 'rase'"),
        ({"classes": {"race": "Asian"}}, TypeError, r"classes\['race'\]: expected a list of strings"),
        ({"classes": {"race": ["a", "a"]}}, ValueError, r"classes\['race'\]: a name is there twice"),
        ({"classes": ["a"]}, TypeError, "classes: expected a dict"),
        ({"channels": 4}, ValueError, "channels: expected 1, 3 or None, got 4"),
        ({"image_size": 0}, ValueError, "image_size: expected at least 1 pixel"),
    ],
)
def test_wrong_arguments_are_named(root: Path, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    complete: dict[str, Any] = {"root": root, **arguments}
    with pytest.raises(error, match=words):
        ImageTable(complete.pop("root"), **complete)


def test_an_image_that_cannot_be_read_is_named_when_it_is_asked_for(root: Path) -> None:
    dataset = ImageTable(root)
    (root / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image"):
        dataset[0]
    Image.new("I;16", (4, 4)).save(root / "a.png")
    with pytest.raises(
        ValueError, match=r"a\.png: cannot be read as an image \(expected an 8-bit image, got PIL mode 'I;16'\)"
    ):
        ImageTable(root, channels=3)[0]
    (root / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png: not found"):
        dataset[0]


def test_worker_processes_give_the_same_samples(root: Path) -> None:
    dataset = ImageTable(root, channels=3)
    batches = list(DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=2, num_workers=1, generator=torch.Generator()))
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([image for image, _ in dataset]))
    assert torch.cat([targets["age"] for _, targets in batches]).tolist() == [3, 0, -1, -1]


def test_an_exported_set_keeps_the_names_and_numbers_of_its_classes(root: Path, make_generator: Any, tmp_path: Path) -> None:
    # Nobody is "White", one label is missing, and the names of floors are numbers of others.
    floors = ["2", "0", "1", "12"]
    write_table(root, "photo,race,floor,age", "a.png,Indian,1,3", "sub/b.png,Asian,0,0", "c.png,,2,1", "d.png,Indian,1,2")
    clean = ImageTable(root, channels=3, classes={"race": ["Asian", "White", "Indian"], "floor": floors})
    generator = make_generator(clean.tasks, (3, 4, 6), trained=True)
    mtlue.protect(clean, generator=generator, progress=False, device="cpu").export(tmp_path / "out")
    back = ImageTable(tmp_path / "out")
    assert (back.tasks, back.classes) == (clean.tasks, clean.classes)
    assert back.classes == {"race": ["Asian", "White", "Indian"], "floor": floors}
    assert labels_of(back) == labels_of(clean) == {"race": [2, 0, -1, 2], "floor": [2, 1, 0, 2], "age": [3, 0, 1, 2]}
    # A test set by names, and the same table again, are numbered in the same way.
    (root / "test.csv").write_text("photo,race,floor,age\nc.png,White,12,1\n")
    test = ImageTable(root, table="test.csv", tasks=back.tasks, classes=back.classes)
    assert labels_of(test) == {"race": [1], "floor": [3], "age": [1]}
    again = ImageTable(tmp_path / "out", tasks=back.tasks, classes=back.classes)
    assert labels_of(again) == labels_of(back)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1",
        '["Asian"]',
        '{"lit": "no"}',
        '{"lit": ["no"]}',
        '{"lit": ["no", 1]}',
        '{"lit": ["no", "no"]}',
        '{"race": ["a", "b", "c"]}',
    ],
)
def test_a_file_of_names_that_do_not_fit_is_left_alone(root: Path, content: str) -> None:
    before = ImageTable(root)
    (root / "classes.json").write_text(content)
    after = ImageTable(root)
    assert (after.tasks, after.classes, labels_of(after)) == (before.tasks, before.classes, labels_of(before))


def test_a_file_of_names_gives_way_to_the_arguments(root: Path) -> None:
    (root / "classes.json").write_text('{"lit": ["no", "yes"], "age": ["a", "b", "c", "d", "e"]}')
    assert ImageTable(root).classes["lit"] == ["no", "yes"]
    assert ImageTable(root, classes={"lit": ["dark", "light"]}).classes["lit"] == ["dark", "light"]
    assert ImageTable(root).tasks["age"] == mtlue.Classification(5)
    nine = ImageTable(root, tasks={"age": 9})
    assert (nine.tasks, nine.classes) == ({"age": mtlue.Classification(9)}, {})


def test_names_in_another_order_than_that_of_the_numbers(root: Path) -> None:
    (root / "classes.json").write_text('{"lit": ["no", "yes"]}')
    with pytest.raises(ValueError, match=r"classes: 'lit': the numbers in the table are those of \['no', 'yes'\]"):
        ImageTable(root, classes={"lit": ["yes", "no"]})


def test_names_of_digits_are_names(tmp_path: Path) -> None:
    for index in range(3):
        to_pil_image(torch.zeros(1, 4, 4)).save(tmp_path / f"{index}.png")

    def read(*cells: str, names: list[str]) -> Any:
        lines = [f"{index}.png,{cell}" for index, cell in enumerate(cells)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,level", *lines]))
        return [int(targets["level"]) for _, targets in ImageTable(tmp_path, classes={"level": names})]

    assert read("1", "2", "", names=["1", "2"]) == [0, 1, -1]
    with pytest.raises(ValueError, match="'0' is none of the classes"):
        read("1", "2", "0", names=["1", "2", "3"])


@pytest.mark.parametrize("channels", [1, 3])
def test_an_exported_set_comes_back_bit_by_bit(canvases: Any, make_generator: Any, tmp_path: Path, channels: int) -> None:
    tasks = {"shoe": 2, "front": 3}
    clean = [(image.expand(channels, -1, -1), dict(target)) for image, target in canvases]
    clean[3][1]["front"] = -1
    generator = make_generator(tasks, (channels, 16, 16), trained=True, gain=100.0)
    safe = mtlue.protect(clean, tasks=tasks, generator=generator, progress=False, device="cpu")
    safe.export(tmp_path / "out")
    # The names of the files are all different, and the last class of "front" occurs nowhere.
    back = ImageTable(tmp_path / "out", tasks=safe.tasks)
    assert back.tasks == safe.tasks
    assert len(back) == len(safe)
    assert_protected(back, clean)
    assert all(torch.equal(image, protected) for (image, _), (protected, _) in zip(back, safe, strict=True))


def test_exported_label_maps_and_many_channels_come_back(make_generator: Any, tmp_path: Path) -> None:
    tasks = resolve_tasks({"scene": 3, "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4)})
    random = torch.Generator().manual_seed(0)
    clean = []
    for index in range(3):
        parts = torch.randint(-1, 4, (8, 8), generator=random)
        target = {"scene": index, "depth": torch.rand(1, 8, 8, generator=random), "parts": parts}
        clean.append((torch.rand(5, 8, 8, generator=random), target))
    generator = make_generator(tasks, (5, 8, 8), trained=True, gain=100.0)
    safe = mtlue.protect(clean, tasks=tasks, generator=generator, progress=False, device="cpu")
    safe.export(tmp_path, format="npy")
    back = ImageTable(tmp_path, tasks=tasks)
    for (image, targets), (protected, given) in zip(back, safe, strict=True):
        assert torch.equal(image, protected)
        assert list(targets) == list(tasks)
        assert int(targets["scene"]) == given["scene"]
        for name in ("depth", "parts"):
            assert torch.equal(targets[name], given[name])
    small = ImageTable(tmp_path, tasks=tasks, image_size=4)[0]
    assert [tuple(small[1][name].shape) for name in tasks] == [(), (1, 4, 4), (4, 4)]
    np.save(tmp_path / "labels" / "depth" / "000000.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"000000\.npy: cannot be read as a NumPy file"):
        back[0]


def test_a_folder_of_one_s_own_is_protected_in_one_call(root: Path) -> None:
    dataset = ImageTable(root, channels=3)
    safe = mtlue.protect(dataset, loss=mtlue.EM(), epochs=1, batch_size=4, device="cpu", progress=False)
    assert safe.tasks == dataset.tasks
    assert_protected(safe, dataset, all_changed=False)
