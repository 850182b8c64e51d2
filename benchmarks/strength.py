"""How much victims still learn from protected images: sets, recipes and seeds at one budget of computation.

    python benchmarks/strength.py --root FOLDER --sets utkface drawings --recipes MTL-UE-TAP students --seeds 0 1 2

Finished cells are kept in the folder of ``--work`` and are not made again: a run that was cut off goes on when it is
repeated. The table is printed; ``--commit`` adds the records to ``benchmarks/results/strength/cells.json``. ``--scale gpu``
runs the same at the paper's sizes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from measure.cells import Cells
from measure.measuring import SCALES, VICTIMS, Stick
from measure.recipes import MAIN, RECIPES
from measure.sets import ALONE, SETS
from measure.table import agreement, rounding_table, table

RESULTS = Path(__file__).parent / "results" / "strength"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with the sets of faces, utkface and celeba")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS | ALONE), default=["drawings", "multi-fashion"])
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(MAIN))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--budget", type=int, help="images' ways through the generator and back, in computation; default: the scale's"
    )
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--device", help="where to compute; default: the scale's")
    parser.add_argument("--size", type=int, help="height and width of the images; default: the scale's")
    parser.add_argument(
        "--victims",
        nargs="+",
        choices=list(VICTIMS),
        default=["multi-task", "single-task", "jpeg"],
    )
    parser.add_argument(
        "--work", type=Path, default=Path("benchmarks/cache/strength"), help="folder for what is made on the way"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "cells.json", help="file of the committed records")
    parser.add_argument("--finished", action="store_true", help="make nothing: the table of what is there")
    parser.add_argument("--commit", action="store_true", help="add the records of this run to the committed ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells(arguments.work, arguments.json)
    scale = SCALES[arguments.scale].changed(budget=arguments.budget, size=arguments.size, device=arguments.device)
    stick = Stick(cells, scale, arguments.root, make=not arguments.finished)
    rows = []
    for seed in arguments.seeds:
        for name in arguments.sets:
            for recipe in arguments.recipes:
                started = time.process_time()
                rows += stick.measure(name, recipe, RECIPES[recipe], seed=seed, victims=tuple(arguments.victims))
                seconds = time.process_time() - started
                if not arguments.finished:
                    print(f"# {name}, {recipe}, seed {seed}: {seconds:.0f} CPU seconds here", flush=True)
    print("\n\n".join(part for part in (table(rows), rounding_table(rows), agreement(rows)) if part))
    if arguments.commit:
        cells.commit()


if __name__ == "__main__":
    main()
