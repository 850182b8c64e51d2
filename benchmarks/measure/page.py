"""The tables of the page on strength, from the committed records."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from measure.cells import Cells
from measure.measuring import SCALES, VICTIMS, Row, Stick
from measure.recipes import RECIPES
from measure.sets import ALONE, SETS
from measure.table import agreement, alone_table, attempts_table, check_table, rounding_table, table

_SHORT = ("set", "seeds", "multi-task", "worst", "single-task", "JPEG 10", "strong augmentation", "noise", "CPU s")
_SIDE_BY_SIDE = ("set", "recipe", "seeds", "multi-task", "worst", "single-task", "JPEG 10", "noise", "CPU s")
_EPOCHS = ("set", "recipe", "seeds", "multi-task", "worst", "JPEG 10", "CPU s")
_CHANGES = ("set", "recipe", "seeds", "multi-task", "worst", "single-task", "JPEG 10")
_PRECISIONS = ("set", "recipe", "seeds", "multi-task", "worst", "JPEG 10")
_IN_FULL = ("set", "recipe", "seeds", "multi-task", "by task", "worst", "JPEG 10", "noise", "CPU s")

_DEFAULT, _ON_GPU = "mtlue.protect", "mtlue.protect, on a GPU"
_FEWER = [name for name in RECIPES if name == _DEFAULT or "of the epochs" in name]
# With seeds of their own.
_CHANGED, _CHANGED_SEEDS = [_DEFAULT, *(name for name in RECIPES if "twice" in name or ", misleading" in name)], (3, 4, 5)
_BFLOAT16 = [_DEFAULT, "mtlue.protect, bfloat16"]
_LEVELS = [_DEFAULT, "mtlue.protect, 16 levels"]
_SHOWN = {name for names in (_FEWER, _CHANGED, _BFLOAT16, _LEVELS) for name in names[1:]}
_PARTS = [name for name in RECIPES if name.startswith((_DEFAULT, "without TAP", "not balanced")) and name not in _SHOWN]
_TRIED = [name for name in RECIPES if name.startswith(("students", "one student"))]
_PAPER = [name for name in RECIPES if name.startswith("MTL-UE")]
_BASELINES = [name for name in RECIPES if name.endswith((" (patches)", " (pixels)"))]
_FULL_SIZE = [name for name in RECIPES if name.startswith("full size")]
# Pixels of the larger images.
_LARGER = 64
# The budget that recipes of the image's full size had, and one that takes about the CPU seconds of the default.
_LONGER, _AS_LONG = 48_000, 96_000


def strength_tables(committed: Path) -> dict[str, str]:
    """All tables by the name of their place."""
    with tempfile.TemporaryDirectory() as folder:
        cells, scale = Cells(Path(folder), committed), SCALES["small"]
        stick = Stick(cells, scale, None, make=False)
        longer, as_long = (Stick(cells, scale.changed(budget=budget), None, make=False) for budget in (_LONGER, _AS_LONG))
        larger, larger_as_long = (Stick(cells, each.scale.changed(size=_LARGER), None, make=False) for each in (stick, as_long))
        larger_on_gpu = Stick(cells, larger.scale.changed(device="cuda"), None, make=False)
        gpu = Stick(cells, SCALES["gpu"], None, make=False)
        default = _rows(stick, SETS, [_DEFAULT])
        by_levels = _rows(stick, ["celeba-40", "avatars"], _LEVELS, [3]) + _rows(stick, ["drawings"], _LEVELS, [0])
        in_bfloat16 = _rows(stick, ["utkface"], _BFLOAT16)
        in_bfloat16 += _rows(stick, ["multi-fashion", "drawings"], _BFLOAT16, [0])
        return {
            "strength-default": table(default, _SHORT),
            "strength-alone": alone_table(_rows(stick, ALONE, [_DEFAULT], [0]), _rows(stick, SETS, [_DEFAULT], [0])),
            "strength-levels": table(by_levels, _SIDE_BY_SIDE[:-1]),
            "strength-epochs": table(_rows(stick, ["utkface", "avatars"], _FEWER), _EPOCHS),
            "strength-bfloat16": table(in_bfloat16, _PRECISIONS),
            "strength-parts": table(_rows(stick, SETS, _PARTS), _SIDE_BY_SIDE),
            "strength-changes": table(_rows(stick, ["celeba-40", "avatars"], _CHANGED, _CHANGED_SEEDS), _CHANGES),
            "strength-baselines": table(_rows(stick, SETS, _BASELINES), _SIDE_BY_SIDE[:-1]),
            "strength-price": table(_rows(stick, SETS, [*_PAPER, "students"]), _IN_FULL),
            "strength-as-long": table(_rows(as_long, SETS, _PAPER), _SIDE_BY_SIDE),
            "strength-larger": table(
                [
                    *_rows(larger, SETS, [_DEFAULT]),
                    *(replace(row, recipe=_ON_GPU) for row in _rows(larger_on_gpu, SETS, [_DEFAULT], [1, 2, 3])),
                    *_rows(larger_as_long, SETS, _PAPER),
                ],
                _SIDE_BY_SIDE,
            ),
            "strength-gpu": table(_rows(gpu, SETS, [*_FEWER, *_PAPER]), _SIDE_BY_SIDE[:-1]),
            "strength-students": table(_rows(stick, SETS, _TRIED), _IN_FULL),
            "strength-full-size": table(_rows(longer, SETS, _FULL_SIZE), _IN_FULL),
            "strength-rounding": rounding_table(_rows(stick, ["utkface"], _TRIED)),
            "strength-attempts": attempts_table(default),
            "strength-check": f"{check_table(default)}\n\n{agreement(default)}",
        }


def _rows(stick: Stick, sets: Iterable[str], recipes: Iterable[str], seeds: Iterable[int] = range(6)) -> list[Row]:
    chosen, taken = list(recipes), list(seeds)
    return [
        row
        for name in sets
        for recipe in chosen
        for seed in taken
        for row in stick.measure(name, recipe, RECIPES[recipe], seed=seed, victims=tuple(VICTIMS))
    ]
