"""Several ranks against one process: their losses step by step, the images they write, and what a killed rank costs.

    python benchmarks/many_ranks.py

All runs are on gloo, on one machine, with the tiny set of `tests/ranks.py`: labels of classes and maps, many of them missing,
and a last batch of one sample. Under ``torchrun`` this file is one of the ranks. A rank that is killed dies at a random moment
of the training, which then starts again from its checkpoint. What stands in the file of ``--json`` is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import mtlue
from mtlue._fit import checkpoint  # keeps the state of a run at each step here
from mtlue._formats import store  # writes small shards here

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ranks.json"
sys.path.append(str(ROOT / "tests"))
ranks: Any = importlib.import_module("ranks")
equal: Callable[[Any, Any], bool] = importlib.import_module("snapshots").equal

WORLDS = (2, 3)
#: Five steps each: fifty in all.
EPOCHS = 10
#: Ranks that are killed, and epochs of the runs that lose one.
KILLS, BROKEN_EPOCHS = 20, 3
_SMALL_SHARD = 8

LOSSES: dict[str, Callable[[], mtlue.BaseUELoss]] = {"EM": mtlue.EM, "RestartedEM": ranks.restarted}


def curve(name: str) -> list[float]:
    """The loss at each step."""
    steps: list[float] = []
    ranks.trained(LOSSES[name](), epochs=EPOCHS, augment=ranks.Shift(), progress=lambda figures: steps.append(figures["loss"]))
    return steps


def written(folder: Path) -> str:
    """Write a store with one generator, and return the hash of all its files."""
    torch.manual_seed(0)
    generator = mtlue.UEGenerator(ranks.TASKS, (3, 8, 8), width=4)
    generator.trained = True
    with mock.patch.object(store, "_SHARD_SIZE", _SMALL_SHARD):
        mtlue.protect(ranks.dataset(), generator=generator, path=folder, batch_size=4, check=False, progress=False)
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def compared(folder: Path) -> dict[str, Any]:
    """What is compared between one process and several."""
    return {"curves": {name: curve(name) for name in LOSSES}, "store": written(folder / "store")}


def killed(folder: Path, doomed: int, after: float) -> dict[str, Any]:
    """Train with a checkpoint at each step. In the first attempt one rank is killed so many seconds after the start."""
    checkpoint._EVERY = 0.0
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and torch.distributed.get_rank() == doomed

    def die() -> None:
        place = folder / "run.pt"
        (folder / "killed").write_text("before a checkpoint" if not place.exists() else "after one")
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Timer(after, die)
    timer.daemon = True
    if first:
        timer.start()
    started = time.monotonic()
    settings = {"epochs": BROKEN_EPOCHS, "augment": ranks.Shift(), "checkpoint": folder / "run.pt"}
    found: dict[str, Any] = ranks.trained(mtlue.EM(), **settings)
    timer.cancel()
    return {**found, "seconds": time.monotonic() - started, "restarts": int(os.environ["TORCHELASTIC_RESTART_COUNT"])}


def at_rank(folder: Path, *told: str) -> None:
    """Be one of the ranks that ``torchrun`` starts."""
    ranks.under("torch")
    found = killed(folder, int(told[0]), float(told[1])) if told else compared(folder)
    torch.save(found, folder / f"{torch.distributed.get_rank()}.pt")
    torch.distributed.destroy_process_group()


def launched(*told: object, world: int = 2) -> tuple[list[dict[str, Any]], bool]:
    """Run this file on so many ranks. Returns what each found, and whether one was killed."""
    with tempfile.TemporaryDirectory() as place:
        found, _ = ranks.torchrun(Path(place), *map(str, told), script=__file__, world=world)
        return found, (Path(place) / "killed").exists()


def comparisons() -> dict[str, Any]:
    """How far several ranks are from one process, and whether they write the same bytes."""
    with tempfile.TemporaryDirectory() as place:
        alone = compared(Path(place))
    curves, stores = [], {"1": alone["store"]}
    for world in WORLDS:
        found = launched(world=world)[0]
        stores[str(world)] = found[0]["store"]
        if any(each["store"] != found[0]["store"] for each in found):
            sys.exit(f"{world} ranks return stores that differ")
        for name, steps in alone["curves"].items():
            pairs = list(zip(steps, found[0]["curves"][name], strict=True))
            worst = max(abs(one - other) / abs(one) for one, other in pairs)
            curves.append({"loss": name, "ranks": world, "steps": len(pairs), "relative_difference": worst})
    return {"curves": curves, "stores": stores}


def kills(made: list[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    """Kill a rank so many times, each in a run of its own, and compare what the restarted run gives with an unbroken one.

    Args:
        made: Those that an earlier call has killed.
        count: How many there are to be.

    Yields:
        All so far, after each.
    """
    whole = launched(0, 1e6)[0]
    length = max(each["seconds"] for each in whole)
    draw = random.Random(len(made))
    while len(made) < count:
        doomed, after = draw.randrange(2), draw.uniform(0.0, length)
        found, died = launched(doomed, after)
        if died:
            same = all(equal(each[part], whole[0][part]) for each in found for part in ("curve", "generator", "net"))
            restarts = max(each["restarts"] for each in found)
            made.append({"rank": doomed, "share": round(after / length, 3), "restarts": restarts, "identical": same})
            yield made


def table(figures: dict[str, Any]) -> str:
    """What the page about scale shows."""
    lines = ["| what | 2 ranks | 3 ranks |", "|---|---:|---:|"]
    found = {(each["loss"], each["ranks"]): each for each in figures["curves"]}
    for name in dict.fromkeys(each["loss"] for each in figures["curves"]):
        cells = [f"{found[name, world]['relative_difference']:.1e}" for world in WORLDS]
        steps = found[name, WORLDS[0]]["steps"]
        lines.append(f"| `{name}`: largest relative difference of the loss in {steps} steps | {' | '.join(cells)} |")
    stores = figures["stores"]
    cells = ["equal" if stores[str(world)] == stores["1"] else "**different**" for world in WORLDS]
    lines.append(f"| bytes of a store that one generator makes | {' | '.join(cells)} |")
    same = f"{sum(each['identical'] for each in figures['kills'])} of {len(figures['kills'])}"
    lines.append(f"| a rank killed at a random moment and restarted: equal weights and curve | {same} | – |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the figures")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"ranks to kill, default {KILLS}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    if "curves" not in figures:
        figures = {"torch": torch.__version__, "backend": "gloo", **comparisons(), "kills": []}
    for each in kills(figures["kills"], options.kills):
        print(len(each), each[-1], flush=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))


if __name__ == "__main__":
    if "TORCHELASTIC_RESTART_COUNT" in os.environ:
        at_rank(Path(sys.argv[1]), *sys.argv[2:])
    else:
        main()
