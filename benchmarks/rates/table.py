"""The figures of `benchmarks/throughput.py` as a table: a column for each device, "not measured" where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEVICES = {"cpu": "processor", "cuda": "GPU"}


def throughput_table(figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """A row for each figure, from what each device gave; None for one that was not there."""
    columns = {device: {} if found is None else _rows(found) for device, found in figures.items()}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| | {' | '.join(DEVICES[device] for device in columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(column.get(name, 'not measured') for column in columns.values())} |" for name in names]
    machines = [_machine(DEVICES[device], found) for device, found in figures.items()]
    return "\n".join([*lines, "", *machines])


def _rows(found: Mapping[str, Any]) -> dict[str, str]:
    rows: dict[str, str] = {}
    for form, ratios in found.get("inspection", {}).items():
        for name in ("inspect / plain", "infer and inspect / plain"):
            rows[f"{name} pass of a `DataLoader`, 40 labels as a {form}"] = f"{ratios[name]:.2f}"
    for dtype, step in found.get("by_tasks", {}).items():
        for name in ("K=40 / K=3", "K=200 / K=3"):
            rows[f"step, {name}, {dtype}"] = f"{step[name]:.2f}"
    for dtype, sides in found.get("by_side", {}).items():
        best = found["best"][dtype]
        for side, each in sides.items():
            share = f"{each['flops'] / best['matrix product']:.0%}, {each['flops'] / best['convolution']:.0%}"
            rows[f"step, K=40, {side}×{side}, {dtype}: ms an image (share of best product, of best convolution)"] = (
                f"{each['ms_an_image']:.3g} ({share})"
            )
            if dtype != "float32" and "gain" in each:
                rows[f"step, K=40, {side}×{side}, float32 / {dtype}"] = f"{each['gain']:.2f}"
    stored = found.get("storing")
    if stored is None:
        return rows
    rows["`protect(path=…)` / bare generator, images a second"] = f"{stored['protect / bare']:.2f}"
    sizes = f"{stored['many']:,} / {stored['few']:,} images"
    rows[f"peak of memory, {sizes}"] = f"{stored['peak many / few']:.2f}"
    sizes = f"{stored['many']:,} / {stored['opened']:,} images"
    rows[f"time to open a store, {sizes}"] = f"{stored['opening many / opened']:.2f}"
    return rows


def _machine(name: str, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return f"{name}: not measured.\n"
    machine = found["machine"]
    given = machine["gpu"] or f"{machine['processor']}, {machine['threads']} threads"
    return f"{name}: {given}, torch {machine['torch']}, batches of {machine['batch_size']}, {machine['rounds']} rounds.\n"
