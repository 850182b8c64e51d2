"""Which cells the tables of dense tasks have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from paper.methods import CLEAN, NOISE, OURS, PIXELWISE
from paper.published import PUBLISHED
from paper.specs import Data, Protection, Victim
from paper.table import Cells, Column, Sets, Table
from paper.victims import AS_MANY_STEPS, WEIGHTINGS

#: Metrics by task, each first the one that tables with many columns show.
METRICS = {
    "segmentation": ("miou", "pixel_accuracy"),
    "depth": ("absolute_error", "relative_error"),
    "normals": ("mean_angle", "median_angle"),
}
#: What tables call them, as the paper does.
TITLES = {
    "miou": "mIoU",
    "pixel_accuracy": "PAcc",
    "absolute_error": "AErr",
    "relative_error": "RErr",
    "mean_angle": "Mean",
    "median_angle": "MED",
}


def make_dense_tables(
    sets: Sets, *, added: Sequence[str] = (), backbones: Sequence[str] = (), own_backbones: Sequence[str] = (), resnet: str
) -> dict[str, Table]:
    """The tables of NYUv2, by name.

    Args:
        sets: The sets.
        added: Methods of the caller.
        backbones: Backbones of victims beside the surrogate's.
        own_backbones: Victims of the caller.
        resnet: Backbone of the architectures of table 15, which take one apart.
    """
    data = Data(sets.dense)
    # The patterns of LSP and AR belong to classes of images, there are none for maps.
    methods = (CLEAN, NOISE, *PIXELWISE, *OURS, *added)

    def multi(**options: object) -> Cells:
        return lambda method, seed: [replace(Victim(Protection(data, method, seed)), **options)]  # type: ignore[arg-type]  # names of fields

    def single(method: str, seed: int, task: str) -> list[Victim]:
        return [Victim(Protection(data, method, seed), task=task)]

    tables = [
        Table("4", "Dense tasks, multi-task victims", methods, _columns("", multi(), "nyuv2 MTL", first_only=False)),
        Table(
            "4 single-task",
            "Dense tasks, single-task victims",
            methods,
            [
                column
                for task in METRICS
                for column in _columns(
                    "",
                    lambda method, seed, task=task: single(method, seed, task),  # type: ignore[misc]  # mypy types no default of a lambda
                    "nyuv2 STL",
                    first_only=False,
                    tasks=(task,),
                )
            ],
        ),
        _table_9(data),
        Table(
            "13",
            "Dense tasks, transfer to other backbones",
            methods,
            [
                column
                for name in (*backbones, *own_backbones)
                for column in _columns(f"{name} ", multi(backbone=name), f"nyuv2 {name}")
            ],
        ),
        Table(
            "14",
            "Dense tasks, transfer to other weightings",
            methods,
            [
                column
                for name in WEIGHTINGS
                if name != "uniform"
                for column in _columns(f"{name} ", multi(weighting=name), f"nyuv2 {name}")
            ],
        ),
        Table(
            "15",
            "Dense tasks, transfer to other architectures",
            methods,
            [
                column
                for name in ("cross-stitch", "mtan", "ltb")
                for column in _columns(f"{name} ", multi(architecture=name, backbone=resnet), f"nyuv2 {name}")
            ],
        ),
    ]
    return {table.name: table for table in tables}


def _columns(
    prefix: str, cells: Cells, published: str, *, first_only: bool = True, tasks: Sequence[str] = tuple(METRICS)
) -> list[Column]:
    """A column for each metric of the tasks, or for the first of each."""
    return [
        Column(
            f"{prefix}{TITLES[metric]}",
            cells,
            (task,),
            figure=metric,
            paper=PUBLISHED.get(f"{published} {metric}", {}),
            paper_set="NYUv2",
        )
        for task in tasks
        for metric in METRICS[task][: 1 if first_only else None]
    ]


#: Method of table 9, the paper's.
_PARTLY = "MTL-UE-SEP"


def _partly(protection: Protection) -> list[Victim]:
    # What is left out is fewer samples; that it is also fewer steps would say nothing of the protected ones.
    return [Victim(protection, defense=AS_MANY_STEPS if protection.rest_only else "none")]


def _table_9(data: Data) -> Table:
    """A row for each share of the samples that is protected, and one for what is left without these."""
    rows = {CLEAN: Protection(data, CLEAN, 0), NOISE: Protection(data, NOISE, 0)}
    for share in (0.2, 0.4, 0.6, 0.8):
        spec = Protection(data, _PARTLY, 0, fraction=share)
        rows[f"{100 * share:.0f} % protected"] = spec
        rows[f"{100 * share:.0f} % left out"] = replace(spec, rest_only=True)
    rows["all protected"] = Protection(data, _PARTLY, 0)
    columns = _columns("", lambda row, seed: _partly(replace(rows[row], seed=seed)), "9 nyuv2", first_only=False)
    return Table("9", f"Share of the samples that is protected ({_PARTLY})", tuple(rows), columns)
