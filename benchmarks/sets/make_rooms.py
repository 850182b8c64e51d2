"""Render rooms: training images, test images, and further ones to train a victim on beforehand, as NYUv2 is laid out.

A room is furnished with models of the Debian package sweethome3d-furniture and ray-cast by embreex (``pip install embreex``).
``train``, ``val`` (the test images) and ``pretrain`` each hold ``image``, ``label``, ``depth`` and ``normal``, and
``mtlue.datasets.NYUv2`` reads them; ``CREDITS.txt`` says who made the models.

``image`` (H, W, 3): multiples of 1/255. ``label`` (H, W): thirteen classes, -1 where none is named. ``depth`` (H, W, 1):
metres along the optical axis. ``normal`` (H, W, 3): unit vectors that face the camera, x to the right, y up, z towards it.
A few ellipses of an image have no label, and a few others neither depth nor normal, which are zero there: about one pixel in
forty each. So sensors and people leave holes too.

No model is both in test rooms and in others. Pictures on walls, most books, and the patterns of walls and floors are made up
for each room. The same arguments render the same images, and a room depends on the seed, its part and its number alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# The modules beside this one are read as sets.*, from wherever it is run.
sys.path.append(str(Path(__file__).parents[1]))

from sets.rooms_mesh import Floats, Integers
from sets.rooms_models import read_furniture, write_credits
from sets.rooms_render import View, render
from sets.rooms_sheet import models_sheet, views_sheet
from sets.rooms_things import Model

PARTS = ("train", "val", "pretrain")
_SHOWN = {"train": 12, "val": 8}  # rooms of a part on the picture of some


def render_room(models: Mapping[str, Sequence[Model]], *, seed: int, part: str, number: int, size: int) -> View:
    """One sample, which depends on nothing but its arguments."""
    return render(models, np.random.default_rng([seed, PARTS.index(part), number]), size)


def write(view: View, folder: Path, number: int) -> None:
    """Saves one sample in the layout of NYUv2."""
    kinds: dict[str, Floats | Integers] = {
        "image": view.image.astype(np.float32),
        "label": view.label.astype(np.int8),
        "depth": view.depth.astype(np.float32),
        "normal": view.normal.astype(np.float32),
    }
    for kind, values in kinds.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        np.save(folder / kind / f"{number}.npy", values)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the set")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--train", type=int, default=1_800, help="number of training images")
    parser.add_argument("--test", type=int, default=400, help="number of test images")
    parser.add_argument("--pretrain", type=int, default=1_000, help="number of images to train a victim on beforehand")
    parser.add_argument("--seed", type=int, default=0, help="of the rooms")
    parser.add_argument(
        "--furniture", type=Path, default=Path("/usr/share/sweethome3d/furniture"), help="folder of .sh3f archives"
    )
    parser.add_argument("--sheets", type=Path, help="folder for two pictures, of all models by kind and of some rooms")
    arguments = parser.parse_args()

    furniture = read_furniture(arguments.furniture)
    write_credits(furniture.entries, arguments.output / "CREDITS.txt")
    if arguments.sheets is not None:
        models_sheet(furniture, arguments.sheets / "rooms-models.png")
    shown: list[tuple[str, View]] = []
    for part, count in zip(PARTS, (arguments.train, arguments.test, arguments.pretrain), strict=True):
        models = furniture.test if part == "val" else furniture.train
        start = time.perf_counter()
        for number in range(count):
            view = render_room(models, seed=arguments.seed, part=part, number=number, size=arguments.size)
            write(view, arguments.output / part, number)
            if number < _SHOWN.get(part, 0):
                shown.append((part, view))
        seconds = time.perf_counter() - start
        print(
            f"{arguments.output / part}: {count} rooms of {arguments.size}x{arguments.size} pixels in {seconds:.0f} s",
            flush=True,
        )
    if arguments.sheets is not None and shown:
        views_sheet(shown, arguments.sheets / "rooms-sheet.png")


if __name__ == "__main__":
    main()
