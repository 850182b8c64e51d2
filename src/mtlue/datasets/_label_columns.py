"""Find out which columns of a table of labels can be tasks, and why the others cannot."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import partial

from mtlue._formats import read_class_names
from mtlue.datasets._class_column import fitting_names, is_number, read_classes
from mtlue.datasets._files import check_root
from mtlue.datasets._label_table import find_image_column, read_table

# Characters in a cell. A longer text is a sentence and not the name of a class.
_LONGEST = 60
# No table has a thousand classes more than images.
_MANY = 1000


@dataclass(frozen=True)
class LabelColumn:
    """A column of a table of labels, as `label_columns` sees it.

    Attributes:
        name: Its name in the first line of the table.
        counts: How many images each class has, in the order of the classes; empty if the cells are not classes.
        missing: How many images have no label.
        reason: Why the column is left out; empty if it can be a task.

    Example:
        >>> from mtlue import datasets
        >>> datasets.LabelColumn("pet", {"cat": 3, "dog": 1}, missing=2, reason="").is_task
        True
    """

    name: str
    counts: dict[str, int]
    missing: int
    reason: str

    @property
    def is_task(self) -> bool:
        """Whether the column can be a task."""
        return not self.reason


def label_columns(
    root: str | os.PathLike[str], *, table: str | os.PathLike[str] = "labels.csv", image_column: str | None = None
) -> list[LabelColumn]:
    r"""Find the columns of a table of labels that can be tasks, without reading the images.

    A column is left out if it has no labels, only one class, a different value in every row (names, dates), numbers with
    fractions, numbers among names, long texts, or more than two classes with fewer than two images each on average.
    `ImageTable` takes any column that you name, so ``tasks=[column.name for column in label_columns(root) if column.is_task]``
    names the remaining ones.

    Args:
        root: As in `ImageTable`.
        table: As in `ImageTable`.
        image_column: As in `ImageTable`.

    Returns:
        The columns in the order of the table.

    Raises:
        FileNotFoundError: the folder or the table does not exist.
        ValueError: the file is not a table, or has no such column.

    Example:
        >>> import pathlib, tempfile
        >>> from mtlue import datasets
        >>> with tempfile.TemporaryDirectory() as root:
        ...     rows = ["image,pet,owner", "a.png,cat,Ann", "b.png,dog,Ben", "c.png,cat,Cem", "d.png,,Dee"]
        ...     _ = pathlib.Path(root, "labels.csv").write_text("\n".join(rows))
        ...     pet, owner = datasets.label_columns(root)
        >>> pet
        LabelColumn(name='pet', counts={'cat': 2, 'dog': 1}, missing=1, reason='')
        >>> owner.reason
        'a different value in every row'
    """
    folder = check_root(root, source="expected a folder with images and a table of labels")
    labels = read_table(folder / table, folder)
    images = find_image_column(labels, image_column)
    cells = {name: column for name, column in labels.columns.items() if name != images}
    names = fitting_names(read_class_names(labels.path.parent), cells, dict.fromkeys(cells))
    return [_column(name, column, names.get(name), partial(labels.where, column=name)) for name, column in cells.items()]


def _column(name: str, cells: list[str], names: list[str] | None, where: partial[str]) -> LabelColumn:
    empty = sum(not cell for cell in cells)
    if empty == len(cells):
        return LabelColumn(name, {}, empty, "no labels")
    try:
        column = read_classes(cells, task=None, names=names, where=where, numbered=names is not None)
    except ValueError:
        return LabelColumn(name, {}, empty, _why_not_classes([cell for cell in cells if cell]))
    indices = column.task.embedding_index(column.labels.long())
    counts = indices[indices >= 0].bincount(minlength=column.task.num_embeddings).tolist()
    missing = int((indices < 0).sum())
    reason = _why_left_out(counts, [cell for cell in cells if cell])
    # A task has at least two classes, a column may have one.
    called = column.names or [str(index) for index in range(len(counts))]
    return LabelColumn(name, dict(zip(called, counts, strict=False)), missing, reason)


def _why_not_classes(filled: list[str]) -> str:
    """Return the reason why no class can be read from the cells."""
    if len(set(filled)) == len(filled):
        return "a different value in every row"
    numbers = sum(is_number(cell) for cell in filled)
    if not numbers:
        return f"too many classes, {len(set(filled))} in {len(filled)} images"
    if numbers < len(filled):
        return "numbers among names"
    whole = all(float(cell).is_integer() for cell in filled)
    return "numbers that are not classes" if whole else "numbers with fractions"


def _why_left_out(counts: list[int], filled: list[str]) -> str:
    """Return the reason why a column of classes can hardly be a task. Empty if it can."""
    used, labelled = sum(count > 0 for count in counts), sum(counts)
    if not labelled:
        return "no labels"
    if used == 1:
        (cell, _), *_ = Counter(filled).most_common()
        return f"one class, {cell!r}"
    if used == labelled > 2:
        return "a different value in every row"
    if max(map(len, filled)) > _LONGEST:
        return "text"
    if (used > 2 and 2 * used > labelled) or len(counts) > max(labelled, _MANY):
        return f"too many classes, {used} in {labelled} images"
    return ""
