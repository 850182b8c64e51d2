"""Does `mtlue.protect` warn of protections that are good? Looks at generators that were trained for the page on strength.

    python benchmarks/good_runs.py --root FOLDER --work CELLS

Those count as good whose full multi-task victim keeps less than 0.3 on average. Each is shown to the part of `mtlue.protect`
that looks for weak outcomes. What its check says is in the tables of that page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import mtlue
from measure.cells import Cells
from measure.making import Labelled
from measure.measuring import SCALES, Stick
from measure.recipes import RECIPES
from measure.sets import SETS
from mtlue._data import Samples, inspect_dataset
from mtlue._fit import recipe_for
from mtlue._protect import Making, default_loss
from mtlue._protect.weak_outcomes import warn_of_data, warn_of_weak_outcomes
from mtlue._runtime import Compute

STRENGTH = Path(__file__).parent / "results" / "strength" / "cells.json"
RESULTS = STRENGTH.parents[1] / "good-runs.json"
#: R up to which a run counts as good.
GOOD = 0.3


def good_runs(stick: Stick) -> Iterator[dict[str, Any]]:
    """A record of each good run of the default recipe and its variants whose generator was kept."""
    for name in SETS:
        for recipe in [each for each in RECIPES if RECIPES[each].plain == "default"]:
            for seed in range(3):
                rows = stick.measure(name, recipe, RECIPES[recipe], seed=seed, victims=("multi-task",))
                left = [min(1.0, max(0.0, row.protected)) for row in rows]
                key = stick.cells.generator_path(stick.made_from(name, RECIPES[recipe], seed))
                if left and statistics.fmean(left) < GOOD and key.exists():
                    told = warned(mtlue.UEGenerator.load(key), Labelled(stick.data(name).train.pixels, stick.data(name)))
                    yield {"set": name, "recipe": recipe, "seed": seed, "R": round(statistics.fmean(left), 3), "warnings": told}


def warned(generator: mtlue.UEGenerator, dataset: Labelled) -> list[str]:
    """What `mtlue.protect` warns of when it looks at what a generator does to a set."""
    samples, inspection = Samples(dataset, dataset.resolved), inspect_dataset(dataset, dataset.resolved)
    compute = Compute.checked(device="cpu", seed=0)
    names, every = list(dataset.resolved), torch.ones(len(dataset), dtype=torch.bool)
    making = Making(samples, inspection, every, names, compute, recipe_for(default_loss()).network_passes)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_of_data(inspection, 1.0, names)
        warn_of_weak_outcomes(making.generation(generator), None)
    return [str(each.message) for each in told]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with the sets of faces, as for strength.py")
    parser.add_argument("--work", type=Path, required=True, help="folder of strength.py, with the generators")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stick = Stick(Cells(options.work, STRENGTH), SCALES["small"], options.root, make=False)
    records = []
    for record in good_runs(stick):
        records.append(record)
        print(record, flush=True)
        options.json.write_text("[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in records) + "\n]\n")


if __name__ == "__main__":
    main()
