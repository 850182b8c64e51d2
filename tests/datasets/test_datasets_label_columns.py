"""Which columns of a table are taken for tasks, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlue.datasets import label_columns


def write(folder: Path, **columns: list[str]) -> None:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(["file", *columns]), *(",".join([f"{index}.png", *row]) for index, row in enumerate(rows))]
    (folder / "labels.csv").write_text("\n".join(lines))


def test_classes_are_counted_in_their_order_and_missing_labels_apart(tmp_path: Path) -> None:
    write(tmp_path, pet=["dog", "cat", "dog", "", "cat", "dog"], age=["2", "0", "2", "-1", "0.0", ""])
    pet, age = label_columns(tmp_path)
    assert (pet.name, pet.counts, pet.missing, pet.reason, pet.is_task) == ("pet", {"cat": 2, "dog": 3}, 1, "", True)
    assert list(pet.counts) == ["cat", "dog"]
    # Nobody is of class 1, which counts as a class all the same.
    assert (age.counts, age.missing, age.is_task) == ({"0": 2, "1": 0, "2": 2}, 2, True)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["", "", "", "", "", ""], "no labels"),
        (["-1", "-1", "", "", "-1", ""], "no labels"),
        (["x", "x", "", "x", "x", ""], "one class, 'x'"),
        (["1", "1", "1", "-1", "1", "1"], "one class, '1'"),
        (["a", "b", "c", "d", "e", "f"], "a different value in every row"),
        (["1", "2", "3", "4", "5", "6"], "a different value in every row"),
        (["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"], "a different value in every row"),
        (["0.5", "1.5", "0.5", "1.5", "0.5", "1.5"], "numbers with fractions"),
        (["cat", "1", "cat", "1", "cat", "1"], "numbers among names"),
        (["a" * 61, "b", "a" * 61, "b", "b", "b"], "text"),
        (["a", "b", "c", "d", "a", "b"], "too many classes, 4 in 6 images"),
        (["2001", "2002", "2001", "2002", "2001", "2002"], "numbers that are not classes"),
        (["-2", "1", "-2", "1", "-2", "1"], "numbers that are not classes"),
    ],
)
def test_a_column_that_is_left_out_says_why(tmp_path: Path, cells: list[str], reason: str) -> None:
    write(tmp_path, column=cells, pet=["cat", "dog"] * 3)
    column, pet = label_columns(tmp_path)
    assert (column.reason, column.is_task) == (reason, False)
    assert pet.is_task


def test_names_that_an_export_tells_are_those_of_the_classes(tmp_path: Path) -> None:
    write(tmp_path, pet=["0", "1", "0", "1"])
    (tmp_path / "classes.json").write_text('{"pet": ["cat", "dog", "newt"]}')
    assert label_columns(tmp_path)[0].counts == {"cat": 2, "dog": 2, "newt": 0}


def test_the_column_of_the_images_is_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, pet=["cat", "dog", "cat", "dog"])
    assert [column.name for column in label_columns(tmp_path, image_column="pet")] == ["file"]
    with pytest.raises(ValueError, match=r"image_column: .* has no column 'photo'"):
        label_columns(tmp_path, image_column="photo")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        label_columns("nowhere")
