"""Faults in a table of labels, its arguments and its images: where they are, and what was expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mtlue
from mtlue.datasets import ImageTable
from photo_folder import write_photos, write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["photo,age", "a.png,x", "c.png,2", "d.png,1"], "line 2, column 'age': 'x' among '1', '2'; expected integers alone"),
        (["photo,race", "a.png,b", "c.png,2", "d.png,a"], "line 3, column 'race': '2' among 'a', 'b'"),
        (
            ["photo,age", "a.png,1", "c.png,nan"],
            "line 3, column 'age': 'nan' among '1'; .* leave a cell empty if its label is missing",
        ),
        (["photo,score", "a.png,0.5", "c.png,0.7"], r"line 2, column 'score': '0.5'; .* name the columns that do with tasks="),
        (["photo,age", "a.png,-2", "c.png,1"], "line 2, column 'age': label -2 is out of range"),
        (["photo,age", "a.png,", "c.png,"], "line 2, column 'age': every label is missing"),
        (
            ["photo,id", "a.png,0", "c.png,70000"],
            "column 'id': 2 different values in 2 cells look like identifiers, not classes",
        ),
        (
            ["photo,when", *(f"a.png,day {day}" for day in range(20))],
            "'when': 20 different values in 20 cells look like identifiers, not classes",
        ),
        (["photo,age", "a.png,1", "x.png,1"], "line 3, column 'photo': the image .*/x.png does not exist$"),
        (
            ["age,photo", "1,a.png"],
            "the image .*/1 does not exist\n.*column 'age' is read as the paths .*; choose another with image_column",
        ),
        (["photo,age", "a.png,1,2", "c.png"], "line 2: 3 cells, line 3: 1 cells; expected 2, as in the first line"),
        (
            ["photo,age", "a.png,1", "c.png,1", "./a.png,0", "sub/../c.png,1", "a.png,1", "d.png,0"],
            "column 'photo': an image is listed more than once: .*/a.png .lines 2, 4, 6., .*/c.png .lines 3, 5.$",
        ),
        (["a.png,1,1", "c.png,0,1"], "the first line looks like data, 'a.png' is a file; expected names of columns, such as"),
        (["1,sub/b.png", "0,c.png"], "the first line looks like data, 'sub/b.png' is a file"),
        (["photo,age,age", "a.png,1,2"], "two columns are named 'age'"),
        (["photo,age"], "names of the columns, then one line for each image; found only the first"),
        ([], "then one line for each image; found an empty file"),
        (["photo", "a.png"], "found no column of labels beside 'photo'"),
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
        ({"root": "nowhere"}, FileNotFoundError, "root: nowhere is not a folder"),
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
            "line 2, column 'race': 'Indian' is not one of the classes 'Asian'",
        ),
        ({"classes": {"rase": ["Asian"]}}, ValueError, "classes: .*labels.csv has no column of labels 'rase'"),
        ({"classes": {"race": "Asian"}}, TypeError, r"classes\['race'\]: expected a list of strings"),
        ({"classes": {"race": ["a", "a"]}}, ValueError, r"classes\['race'\]: a name occurs twice"),
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
