"""What a table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from paper.specs import Victim

#: The cells behind one number: their tasks are averaged. Empty where there is no such number.
Cells = Callable[[str, int], Sequence[Victim]]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: What it says above it.
        cells: From the label of a row and a seed to the victims whose mean it shows.
        tasks: Tasks to average over; all that a victim has if empty.
        figure: What is shown: ``"accuracy"`` (balanced, with R), the ``"mean"`` or ``"largest"`` deviation of features, or a
            metric of a dense task, by its name in `mtlue.evaluation.evaluate` (with its share of the one after clean training).
        paper: The paper's figures by row.
        paper_set: The set that they are of.
    """

    title: str
    cells: Cells
    tasks: tuple[str, ...] = ()
    figure: str = "accuracy"
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_set: str = "CelebA"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Its number in the paper, or that of a figure.
        title: What it is about.
        rows: Labels of the rows.
        columns: Its columns.
    """

    name: str
    title: str
    rows: Sequence[str]
    columns: Sequence[Column]

    def victims(self, seeds: int) -> list[Victim]:
        """All cells, each once, first seed first."""
        found = [
            victim
            for seed in range(seeds)
            for row in self.rows
            for column in self.columns
            for victim in column.cells(row, seed)
        ]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Sets:
    """Which set stands for which of the paper's.

    Attributes:
        binary: Many binary attributes, CelebA in the paper.
        few: A few tasks of several classes, UTKFace in the paper.
        few_tasks: Their names.
        single: Tasks of the first with single-task victims.
        dense: Label maps, NYUv2 in the paper.
        main: The set of tables 5, 6, 7 and 11: CelebA in the paper, and at the small scale the one that is learned faster.
        main_tasks: Tasks of it with single-task victims.
    """

    binary: str
    few: str
    few_tasks: tuple[str, ...]
    single: tuple[str, ...]
    main: str
    main_tasks: tuple[str, ...]
    dense: str
