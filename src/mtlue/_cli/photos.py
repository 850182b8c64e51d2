"""A folder of photos with its table of labels, and a summary of what was read."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlue._cli.console import say
from mtlue._tasks import Tasks
from mtlue.datasets import ImageTable, LabelColumn, label_columns

# The largest number of classes that are listed one by one.
_NAMED = 8


@dataclass(frozen=True)
class Photos:
    """What a command reads.

    Attributes:
        dataset: The photos, with the columns that are tasks.
        columns: All columns of the table.
    """

    dataset: ImageTable
    columns: list[LabelColumn]

    @classmethod
    def read(cls, options: argparse.Namespace, tasks: Collection[str] | None) -> Photos:
        """Read the table. The tasks are the named columns, or those that can be tasks.

        Raises:
            FileNotFoundError: the folder or the table does not exist.
            ValueError: the table has faults, or none of its columns can be a task.
        """
        table = find_table(options.photos, options.labels, "--labels")
        columns = label_columns(options.photos, table=table, image_column=options.image_column)
        names = [column.name for column in columns if column.is_task] if tasks is None else list(tasks)
        if not names:
            reasons = "; ".join(f"{column.name}: {column.reason}" for column in columns) or "its only column names the photos"
            raise ValueError(f"{table}: no column can be a task ({reasons}); name columns with --tasks")
        dataset = open_table(options.photos, table, options, tasks=names)
        return cls(dataset, columns)

    def describe(self) -> None:
        """Say which columns are tasks and with which classes, and which are left out and why."""
        for column in self.columns:
            if column.name in self.dataset.tasks:
                say(f"task      {column.name}: {_classes(column.counts, column.missing)}")
        for column in self.columns:
            if column.name not in self.dataset.tasks:
                say(f"left out  {column.name}: {column.reason or 'not named by --tasks'}")


def find_table(folder: Path, labels: Path | None, option: str) -> Path:
    """Find the table of labels: under its name, from here or from the photos' folder, or as ``labels.csv`` in it or beside it.

    Raises:
        FileNotFoundError: the folder or the table does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; name the folder with the photos")
    here = folder.absolute()
    tried = [here / "labels.csv", here.parent / "labels.csv"] if labels is None else [labels.absolute(), here / labels]
    for path in tried:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"found no table of labels at {' or '.join(map(str, dict.fromkeys(tried)))}; "
        f"name a CSV file with one line for each photo and one column for each task: {option} FILE"
    )


def open_table(
    folder: Path,
    table: Path,
    options: argparse.Namespace,
    *,
    tasks: Tasks | Collection[str],
    classes: Mapping[str, Sequence[str]] | None = None,
) -> ImageTable:
    """Open the photos of a folder as a data set, according to the options."""
    return ImageTable(
        folder,
        table=table,
        image_column=options.image_column,
        tasks=tasks,
        classes=classes,
        channels=options.channels,
        image_size=options.image_size,
    )


def _classes(counts: Mapping[str, int], missing: int) -> str:
    total = sum(counts.values())
    if not total:
        return "no classes"
    shares = {name: 100 * count / total for name, count in counts.items()}
    if len(shares) <= _NAMED:
        text = ", ".join(f"{name} {share:.0f} %" for name, share in shares.items())
    else:
        text = f"the rarest {min(shares.values()):.1f} %, the most frequent {max(shares.values()):.1f} %"
    return f"{len(shares)} classes ({text}{f'; {missing} missing' if missing else ''})"
