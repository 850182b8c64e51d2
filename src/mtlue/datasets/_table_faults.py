"""What can be wrong with a table of labels and the folder that it stands in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtlue._formats import map_path
from mtlue._tasks import Task
from mtlue.datasets._files import shortened
from mtlue.datasets._label_table import LabelTable

_SHOWN = 20


def find_image_column(table: LabelTable, image_column: str | None) -> str:
    """Name of the column with the paths.

    Raises:
        ValueError: there is none of that name.
    """
    name = next(iter(table.columns)) if image_column is None else image_column
    if name not in table.columns:
        raise ValueError(f"image_column: {table.path} has no column {name!r}; it has {list(table.columns)}")
    return name


def check_columns(
    table: LabelTable, wanted: Mapping[str, Task | None], classes: Mapping[str, object], image_column: str
) -> None:
    """Refuse a table without labels, and names of tasks that are no columns.

    Raises:
        ValueError: so it is.
    """
    if not wanted:
        raise ValueError(
            f"{table.path}: there is no column of labels beside {image_column!r}; "
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
    """What to say of the images that are not there, or are there more than once."""
    missing = [row for row, path in enumerate(paths) if not os.path.isfile(path)]
    faults = [f"{table.where(row, image_column)}: there is no image {paths[row]}" for row in missing[:_SHOWN]]
    if missing and len(missing) > len(faults):
        faults.append(f"{len(missing)} of the {len(paths)} images are not there")
    if len(missing) == len(paths):
        return [*faults, f"column {image_column!r} is taken for the paths of the images; image_column names another"]
    lines: dict[str, list[str]] = {}
    for path, line in zip(paths, table.lines, strict=True):
        lines.setdefault(os.path.normpath(path), []).append(str(line))
    # Each would be protected in another way, and the mean of them hardly at all.
    repeated = [f"{path} (lines {shortened(found)})" for path, found in lines.items() if len(found) > 1]
    return faults + ([f"column {image_column!r}: an image is there more than once: {shortened(repeated)}"] if repeated else [])


def missing_maps(root: Path, task: str, paths: Sequence[str]) -> list[str]:
    """What to say of the label maps that are not there."""
    missing = [str(path) for path in (map_path(root, task, image) for image in paths) if not path.is_file()]
    return [f"task {task!r}: not found: {shortened(missing)}"] if missing else []


def listed(faults: Sequence[str]) -> str:
    """One fault as it is, several below one another."""
    more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    lines = [f"{len(faults)} problems:", *faults[:_SHOWN], *more]
    return faults[0] if len(faults) == 1 else "\n  - ".join(lines)
