"""Makes the paper's tables and figures, small on two cores or as large as the paper.

Each cell is one victim, trained and measured once and kept under a hash of all that determines it: a run can be stopped and
goes on, tables share cells, and what was not run says so. ``--scale small`` needs the avatars and the rooms that
``make_avatars.py`` and ``make_rooms.py`` of ``sets`` draw; ``--scale paper`` needs the folders of CelebA, UTKFace and NYUv2.
Tables 4, 9, 13, 14 and 15 are those of label maps.

    python benchmarks/paper_tables.py --table 2 12 --avatars FOLDER --work FOLDER --jobs 2
    python benchmarks/paper_tables.py --table 4 "4 single-task" --rooms FOLDER --work FOLDER --jobs 2

The committed cells of the small scale were made with ``--precision bfloat16``, a third faster on processors that have it.

A loss and a victim of your own enter all tables with ``--plugin FILE``; see ``examples/own_method.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

# The examples are no package: they are read where they lie.
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from paper.dense_tables import make_dense_tables
from paper.layout import METRIC, to_markdown, to_rows
from paper.pictures import PICTURES
from paper.scales import DENSE_SCALES, SCALES, Scale
from paper.specs import Victim
from paper.store import Store
from paper.table import Sets, Table
from paper.tables import make_tables
from paper.victims import measure
from paper.workshop import BusyError, Workshop

RESULTS = Path(__file__).parent / "results"
TASKS = ("left", "right", "front")
#: Of CelebA's forty, those that have single-task victims.
FACES = ("Male", "Smiling", "Young", "Eyeglasses")
SETS = {
    "small": Sets(
        binary="avatars",
        few="multi-fashion",
        few_tasks=TASKS,
        single=("hat", "eyewear", "dark_skin", "dark_hair"),
        main="multi-fashion",
        main_tasks=TASKS,
        dense="rooms",
    ),
    "paper": Sets(
        binary="celeba",
        few="utkface",
        few_tasks=("age", "race", "gender"),
        single=FACES,
        main="celeba",
        main_tasks=FACES,
        dense="nyuv2",
    ),
}
BACKBONES = {"small": ("vgg", "densenet", "vit"), "paper": ("resnet50", "vgg16_bn", "densenet121", "vit_b_16")}
DENSE_BACKBONES = {
    "small": ("wide-unet", "dilated-resnet", "dilated-wide"),
    "paper": ("resnet101", "resnet152", "wide_resnet50_2"),
}
#: What the architectures of table 15 are made of.
DENSE_RESNET = {"small": "dilated-resnet", "paper": "resnet18"}
FOLDERS = ("avatars", "rooms", "celeba", "utkface", "nyuv2")


def make_workshop(arguments: argparse.Namespace, scale: Scale, *, hook: str) -> Workshop:
    """A workshop at a scale, with what the function ``hook`` of a plugin adds."""
    folders = {name: getattr(arguments, name) for name in FOLDERS if getattr(arguments, name)}
    store = Store(arguments.work, arguments.results / arguments.scale / "cells.json")
    workshop = Workshop(scale, store, folders)
    for plugin in arguments.plugin:
        if not plugin.is_file():
            raise SystemExit(f"--plugin: there is no file {plugin}")
        spec = importlib.util.spec_from_file_location(plugin.stem, plugin)
        if spec is None or spec.loader is None:
            raise SystemExit(f"--plugin: {plugin} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[plugin.stem] = module
        spec.loader.exec_module(module)
        if hasattr(module, hook):
            getattr(module, hook)(workshop)
        workshop.digest = hashlib.sha256((workshop.digest + plugin.read_text()).encode()).hexdigest()
    return workshop


def fill(workshop: Workshop, victims: Sequence[Victim], *, until: float) -> int:
    """Make the cells that are not there yet, beside other processes that do the same; return how many failed."""
    failed: set[str] = set()
    left = list(victims)
    while left and time.monotonic() < until:
        busy: list[Victim] = []
        for victim in left:
            name = workshop.key(victim)
            if workshop.store.get(name) is not None:
                continue
            if time.monotonic() >= until:
                break
            with workshop.store.claim(name) as mine:
                if not mine or workshop.store.get(name) is not None:
                    busy.append(victim)
                    continue
                try:
                    record = measure(workshop, victim)
                except BusyError:
                    busy.append(victim)
                except Exception:
                    traceback.print_exc()
                    failed.add(name)
                else:
                    workshop.store.put(name, record)
                    print(f"{time.strftime('%H:%M:%S')} {name} {_label(victim)}: {_figures(record)}", flush=True)
        if len(busy) == len(left):
            time.sleep(2)
        left = busy
    return len(failed)


def _figures(record: dict[str, Any]) -> str:
    metrics = record["metrics"]
    if all(METRIC in each for each in metrics.values()):
        return f"{100 * statistics.fmean(each[METRIC] for each in metrics.values()):.1f}"
    return ", ".join(f"{name} {value:.3g}" for each in metrics.values() for name, value in each.items())


def _label(victim: Victim) -> str:
    plain = Victim(victim.protection, task=victim.task)
    others = [str(value) for name, value in asdict(victim).items() if value != asdict(plain)[name]]
    protection = victim.protection
    return " ".join([
        protection.data.name,
        *protection.data.tasks,
        protection.method,
        f"seed {protection.seed}",
        victim.task or "MTL",
        *others,
    ])


def write(workshop: Workshop, tables: Sequence[Table], seeds: int, scale: str, folder: Path) -> None:
    """Write the tables that have a cell, as JSON and as Markdown, and commit their cells."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        victims = table.victims(seeds)
        done = [name for victim in victims if workshop.store.get(name := workshop.key(victim)) is not None]
        if not done:
            continue
        workshop.store.commit(done)
        rows = to_rows(workshop, table, seeds)
        made = [workshop.store.get(name) for name in done]
        content = {
            "table": table.name,
            "title": table.title,
            "scale": asdict(workshop.scale),
            "environments": list(
                {json.dumps(record["environment"]): record["environment"] for record in made if record}.values()
            ),
            "seeds": seeds,
            "cells": {"done": len(done), "all": len(victims)},
            "rows": {row: {title: number and asdict(number) for title, number in each.items()} for row, each in rows.items()},
        }
        name = f"table {table.name}" if table.name[0].isdigit() else table.name
        path = folder / f"{name.replace(' ', '-')}.json"
        path.write_text(json.dumps(content, indent=1) + "\n")
        path.with_suffix(".md").write_text(to_markdown(workshop, table, seeds, caption(workshop, table, seeds, scale)))
        print(f"{path}: {len(done)} of {len(victims)} cells")


def caption(workshop: Workshop, table: Table, seeds: int, scale: str) -> str:
    """What a reader has to know of the sizes."""
    names = list(dict.fromkeys(victim.protection.data.name for victim in table.victims(1)))
    if names == [SETS[scale].dense]:
        sizes = workshop.scale.sets[names[0]]
        return (
            "On clean test images: mean IoU and pixel accuracy in percent (the lower, the better protected), absolute error of "
            "depth in metres and relative one, mean and median angle between normals in degrees (the higher, the better "
            "protected); in brackets the figure over that of the same victim of clean images; "
            f"{seeds} seed{'s' if seeds > 1 else ''} at most. Scale: {names[0]}: {sizes.train or 'all'} training images, "
            f"generator {sizes.generator_epochs} epochs, victims {sizes.victim_epochs} epochs."
        )
    parts = []
    for name in names:
        sizes = workshop.scale.sets[name]
        alone = SETS[scale].single if name == SETS[scale].binary else ()
        single = f", single-task victims on {', '.join(alone)}" if alone else ""
        parts.append(
            f"{name}: {sizes.train or 'all'} training images, contrast {sizes.contrast:g}, generator "
            f"{sizes.generator_epochs} epochs, victims {sizes.victim_epochs} epochs{single}"
        )
    shown = "Balanced accuracy on clean test images in percent, mean over tasks; in brackets R, what is left to learn; "
    if table.name == "3":
        shown = (
            "Standard deviation of a feature within a class over its mean, on the images a multi-task victim was trained on; "
        )
    return f"{shown}{seeds} seed{'s' if seeds > 1 else ''} at most. Scale: {'; '.join(parts)}."


def make_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", nargs="*", default=[], help="numbers of tables; 'figure 5' for that of figures 2 and 5")
    parser.add_argument(
        "--figure", nargs="*", default=[], choices=sorted(PICTURES), help="pictures to draw, once cells are made"
    )
    parser.add_argument("--scale", choices=sorted(SCALES), default="small")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="(default: float32)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds a cell")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/cache"), help="folder for what is made on the way")
    parser.add_argument("--methods", nargs="*", default=[], help="make only the cells of these methods")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for tables and finished cells (the committed one)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread if there are several")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no cell after so many minutes")
    parser.add_argument("--plugin", type=Path, nargs="*", default=[], help="Python files that add losses and victims")
    parser.add_argument("--avatars", type=Path, help="folder of the drawn avatars")
    parser.add_argument("--rooms", type=Path, help="folder of the rendered rooms")
    parser.add_argument("--celeba", type=Path, help="folder of CelebA")
    parser.add_argument("--utkface", type=Path, help="folder of UTKFace")
    parser.add_argument("--nyuv2", type=Path, help="folder of NYUv2")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run from the command line."""
    parser = make_parser()
    arguments = parser.parse_args()
    scale, dense_scale = (replace(scales[arguments.scale], precision=arguments.precision) for scales in (SCALES, DENSE_SCALES))
    workshop = make_workshop(arguments, scale, hook="add_to")
    dense_workshop = make_workshop(arguments, dense_scale, hook="add_to_dense")
    sets = SETS[arguments.scale]
    classification = make_tables(
        sets, added=tuple(workshop.losses), backbones=BACKBONES[arguments.scale], own_backbones=tuple(workshop.models)
    )
    dense = make_dense_tables(
        sets,
        added=tuple(dense_workshop.losses),
        backbones=DENSE_BACKBONES[arguments.scale],
        own_backbones=tuple(dense_workshop.models),
        resnet=DENSE_RESNET[arguments.scale],
    )
    tables = {**classification, **dense}
    unknown = [name for name in arguments.table if name not in tables]
    if unknown:
        parser.error(f"--table: unknown {unknown}; there are {list(tables)}")
    methods = {victim.protection.method for table in tables.values() for victim in table.victims(1)}
    unknown = [name for name in arguments.methods if name not in methods]
    if unknown:
        parser.error(f"--methods: unknown {unknown}; there are {sorted(methods)}")
    work = [
        (each, [kind[name] for name in arguments.table if name in kind])
        for each, kind in ((workshop, classification), (dense_workshop, dense))
    ]
    until = time.monotonic() + 60 * arguments.minutes
    if arguments.jobs > 1 and not arguments.worker:
        command = [sys.executable, *sys.argv, "--worker"]
        single = {**os.environ, "OMP_NUM_THREADS": "1"}
        workers = [subprocess.Popen(command, env=single) for _ in range(arguments.jobs)]
        failed = sum(worker.wait() != 0 for worker in workers)
    else:
        warnings.filterwarnings("ignore", message=".*surrogate.*chance.*")
        # A cell of one precision is no cell of the other.
        warnings.filterwarnings("error", message="precision: ")
        failed = 0
        for each, chosen in work:
            victims = list(dict.fromkeys(victim for table in chosen for victim in table.victims(arguments.seeds)))
            if arguments.methods:
                victims = [victim for victim in victims if victim.protection.method in arguments.methods]
            failed += fill(each, victims, until=until)
    if not arguments.worker:
        folder = arguments.results / arguments.scale
        for each, chosen in work:
            write(each, chosen, arguments.seeds, arguments.scale, folder)
        for name in arguments.figure:
            PICTURES[name](workshop, sets, folder)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
