"""A table of labels as a CSV file holds it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mtlue.datasets._files import shortened

_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class LabelTable:
    """Cells of a CSV file, without white space at their ends.

    Attributes:
        path: The file.
        columns: Cells by the name of the column; a column without a name, such as the index that pandas writes, is left out.
        lines: Line of the file on which each row ends.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def where(self, row: int, column: str) -> str:
        """Where a cell stands, in words."""
        return f"line {self.lines[row]}, column {column!r}"


def read_table(path: Path, root: Path) -> LabelTable:
    """Read a CSV file whose first line names the columns; cells are set off by commas, semicolons or tabs.

    Args:
        path: The file.
        root: The folder of the images, of which none is a name of a column.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table, has no row or no names of columns, two columns of one name, or rows of another length than
            the first line's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a CSV file whose first line names the columns")
    try:
        # A byte order mark is what a spreadsheet leaves behind.
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = next((mark for mark in _SEPARATORS if mark in first), ",")
            reader = csv.reader(file, delimiter=separator, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a CSV file in UTF-8 ({error})") from None
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a line with the names of the columns and one line an image, got {len(rows)} lines")
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
