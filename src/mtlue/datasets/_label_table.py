"""A table of labels as a CSV file holds it, and its possible faults."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlue._formats import find_map
from mtlue._tasks import Task
from mtlue.datasets._files import shortened

_SEPARATORS = ",;\t"
# A message lists this many faults of a kind.
_SHOWN = 20


@dataclass(frozen=True)
class LabelTable:
    """The cells of a CSV file, stripped.

    Attributes:
        path: The file.
        columns: Cells by name of the column. A column without a name, such as the index that pandas writes, is left out.
        lines: The line of the file on which each row ends.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def where(self, row: int, column: str) -> str:
        """Describe the place of a cell."""
        return f"line {self.lines[row]}, column {column!r}"


def read_table(path: Path, root: Path) -> LabelTable:
    """Read a CSV file whose first line names the columns. Commas, semicolons or tabs separate the cells.

    Args:
        path: The file.
        root: The folder of the images. If the first line names one of its files, it is not a header.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a table, lacks rows or names of columns, has two columns of one name, or has rows of
            different lengths.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a CSV file whose first line names the columns")
    try:
        # Spreadsheets leave a byte order mark behind.
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = next((mark for mark in _SEPARATORS if mark in first), ",")
            reader = csv.reader(file, delimiter=separator, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected text in UTF-8; {_encoding_cure(path)}") from None
    except csv.Error as error:
        raise ValueError(f"{path}: cannot be read as a CSV file ({error})") from None
    if len(rows) < 2:
        found = "only the first" if rows else "an empty file"
        raise ValueError(f"{path}: expected a line with the names of the columns, then one line for each image; found {found}")
    (_, header), *body = rows
    images = [cell for cell in header if Path(cell).suffix and os.path.isfile(root / cell)]
    if images:
        raise ValueError(
            f"{path}: the first line looks like data, {images[0]!r} is a file; expected names of columns, such as image,age"
        )
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise ValueError(f"{path}: two columns are named {shortened(list(map(repr, twice)))}")
    uneven = [f"line {line}: {len(row)} cells" for line, row in body if len(row) != len(header)]
    if uneven:
        raise ValueError(f"{path}: {shortened(uneven)}; expected {len(header)}, as in the first line")
    columns = {name: [row[index] for _, row in body] for index, name in enumerate(header) if name}
    return LabelTable(path, columns, [line for line, _ in body])


def _encoding_cure(path: Path) -> str:
    """Explain how to save a table from a spreadsheet as UTF-8."""
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
    rewrite = f"path.write_text(path.read_text({encoding!r}), 'utf-8')"
    return f"save it as 'CSV UTF-8' in Excel, or rewrite it in Python: {rewrite}, with the file's own encoding"


def find_image_column(table: LabelTable, image_column: str | None) -> str:
    """Return the name of the column with the paths.

    Raises:
        ValueError: the table has no column of that name.
    """
    name = next(iter(table.columns)) if image_column is None else image_column
    if name not in table.columns:
        raise ValueError(f"image_column: {table.path} has no column {name!r}; it has {list(table.columns)}")
    return name


def check_columns(
    table: LabelTable, wanted: Mapping[str, Task | None], classes: Mapping[str, object], image_column: str
) -> None:
    """Refuse a table without labels, and tasks that are not columns.

    Raises:
        ValueError: the table has no labels, or no column for a task.
    """
    if not wanted:
        raise ValueError(
            f"{table.path}: found no column of labels beside {image_column!r}; "
            "name label maps with tasks={...}, if the folder has some in labels"
        )
    labels = [name for name in table.columns if name != image_column]
    for name, task in wanted.items():
        if name not in labels and (task is None or not task.is_map):
            raise ValueError(f"tasks: {table.path} has no column of labels {name!r}; it has {labels}")
    unknown = [name for name in classes if name not in labels]
    if unknown:
        raise ValueError(f"classes: {table.path} has no column of labels {unknown[0]!r}; it has {labels}")


def image_faults(table: LabelTable, image_column: str, paths: Sequence[str]) -> list[str]:
    """Describe images that do not exist, and images that are listed more than once."""
    cells = table.columns[image_column]
    outside = [row for row, cell in enumerate(cells) if _leaves_folder(cell)]
    if outside:
        # A table must not decide which other files of this machine are published.
        cure = "is outside the folder; give paths that start from the folder and stay inside it"
        return [f"{table.where(row, image_column)}: {cells[row]!r} {cure}" for row in outside]
    missing = [row for row, path in enumerate(paths) if not os.path.isfile(path)]
    faults = [f"{table.where(row, image_column)}: the image {paths[row]} does not exist" for row in missing[:_SHOWN]]
    if missing and len(missing) > len(faults):
        faults.append(f"{len(missing)} of the {len(paths)} images are missing")
    if len(missing) == len(paths):
        return [*faults, f"column {image_column!r} is read as the paths of the images; choose another with image_column"]
    lines: dict[str, list[str]] = {}
    for path, line in zip(paths, table.lines, strict=True):
        lines.setdefault(os.path.normpath(path), []).append(str(line))
    # Each copy would be protected differently, and their mean hardly at all.
    repeated = [f"{path} (lines {shortened(found)})" for path, found in lines.items() if len(found) > 1]
    return faults + ([f"column {image_column!r}: an image is listed more than once: {shortened(repeated)}"] if repeated else [])


def _leaves_folder(path: str) -> bool:
    return os.path.isabs(path) or Path(os.path.normpath(path)).parts[:1] == (os.pardir,)


def missing_maps(root: Path, task: str, paths: Sequence[str]) -> list[str]:
    """Describe label maps that do not exist, and those that images of the same name in several folders would share."""
    maps = [find_map(root, task, os.path.relpath(image, root)) for image in paths]
    missing = [str(path) for path in maps if not path.is_file()]
    shared = [str(path) for path, count in Counter(maps).items() if count > 1 and path.is_file()]
    faults = [f"task {task!r}: not found: {shortened(missing)}"] if missing else []
    return faults + ([f"task {task!r}: several images would share {shortened(shared)}"] if shared else [])


def listed(faults: Sequence[str]) -> str:
    """Format a single fault as it is, and several as a list."""
    more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    lines = [f"{len(faults)} problems:", *faults[:_SHOWN], *more]
    return faults[0] if len(faults) == 1 else "\n  - ".join(lines)
