"""What an attacker learns from a protected set who has more than the set: pairs, the key, clean images, a second protection.

    python benchmarks/threat.py --root FOLDER --sets utkface multi-fashion

Sets are protected by ``mtlue.protect`` with its defaults, and attacked by all of ``measure.threats.ATTACKS``. What is finished
is kept in the folder of ``--work`` and is not made again. The figures go to ``--json``, which ``benchmarks/render.py`` reads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mtlue
from measure.cells import Cells
from measure.measuring import SCALES, Stick
from measure.recipes import RECIPES, Recipe
from measure.sets import SETS
from measure.threats import ATTACKS, CLEAN, Attack, Scene, carry_out
from measure.victims import learnability

RESULTS = Path(__file__).parent / "results" / "threat.json"


def run(stick: Stick, name: str, recipe: Recipe, attacks: Sequence[Attack], *, seed: int = 0) -> list[dict[str, Any]]:
    """A record of each attack on a set: R by task, held to [0, 1] in the mean, PSNR and CPU seconds."""
    made, data = stick.made_from(name, recipe, seed), stick.data(name)
    pixels = _protected(stick, name, recipe, seed)
    key = mtlue.UEGenerator.load(stick.cells.generator_path(made))
    scene = Scene(data, pixels, lambda: _protected(stick, name, recipe, seed + 1), key, stick.scale.training, seed)
    colour = pixels.shape[1] == 3
    found = {attack: _found(stick.cells, made, attack, scene) for attack in attacks if colour or not attack.needs_colour}
    clean = found[CLEAN]["accuracy"]
    records = []
    for attack, figures in found.items():
        left = {task: learnability(each, clean[task], data.tasks[task]) for task, each in figures["accuracy"].items()}
        records.append({
            "set": name,
            "has": attack.has,
            "does": attack.does,
            "R": {task: round(value, 3) for task, value in left.items()},
            "mean": round(statistics.fmean(min(1.0, max(0.0, value)) for value in left.values()), 3),
            **{kept: figures[kept] for kept in ("accuracy", "psnr", "cpu_seconds")},
        })
    return records


def _protected(stick: Stick, name: str, recipe: Recipe, seed: int) -> Tensor:
    stick.measure(name, "", recipe, seed=seed, victims=())
    pixels = stick.cells.images(stick.made_from(name, recipe, seed))
    assert pixels is not None
    return pixels


def _found(cells: Cells, protected: dict[str, Any], attack: Attack, scene: Scene) -> dict[str, Any]:
    made = {**protected, "has": attack.has, "does": attack.does}
    record = cells.get(made)
    if record is None:
        started = time.process_time()
        figures = carry_out(attack, scene)
        figures["cpu_seconds"] = round(time.process_time() - started, 1)
        record = cells.put(made, figures)
        print(f"# {scene.data.name}, {attack.has}, {attack.does}: {figures}", flush=True)
    return record


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with the sets of faces, utkface and celeba")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=["multi-fashion"])
    parser.add_argument("--recipe", choices=list(RECIPES), default="mtlue.protect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/cache/threat"), help="folder for what is made on the way")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Not the committed cells of benchmarks/strength.py: images are needed, not records of them.
    cells = Cells(arguments.work, arguments.work / "cells.json")
    stick = Stick(cells, SCALES["small"], arguments.root)
    recipe = RECIPES[arguments.recipe]
    records = [record for name in arguments.sets for record in run(stick, name, recipe, ATTACKS, seed=arguments.seed)]
    settings = {"recipe": arguments.recipe, "seed": arguments.seed, "torch": torch.__version__}
    # A line each, as people read them.
    lines = ",\n".join(json.dumps(record) for record in records)
    arguments.json.write_text(f'{{"settings": {json.dumps(settings)},\n"attacks": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
