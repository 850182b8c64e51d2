"""Several ranks against one process: their losses step by step, the images they write, and what a killed rank costs.

    python benchmarks/many_ranks.py

All runs are on gloo, on one machine, with the tiny set of `tests/ranks.py`: labels of classes and maps, many of them missing,
and a last batch of one sample. Each rank is a copy of this process. One that is killed dies at a random moment of the training;
then all start again from the checkpoint, as under ``torchrun --max-restarts``, which the tests use. What stands in the file of
``--json`` is not done again.
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
from datetime import timedelta
from functools import partial
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
at_once: Callable[..., Any] = importlib.import_module("faults").at_once

WORLDS = (2, 3)
#: Five steps each: fifty in all.
EPOCHS = 10
#: Ranks that are killed, and epochs of the runs that lose one.
KILLS, BROKEN_EPOCHS = 20, 3
#: How often ranks start at most: gloo now and then refuses to connect.
_ATTEMPTS = 6
#: Seconds to wait for a connection.
_PATIENCE = timedelta(seconds=60)
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


def trained(folder: Path, fuse: float | None) -> dict[str, Any]:
    """Train with a checkpoint at each step, and be killed so many seconds after the start."""
    checkpoint._EVERY = 0.0
    timer = threading.Timer(fuse or 0.0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.daemon = True
    if fuse is not None:
        timer.start()
    started = time.monotonic()
    settings = {"epochs": BROKEN_EPOCHS, "augment": ranks.Shift(), "checkpoint": folder / "run.pt"}
    found: dict[str, Any] = ranks.trained(mtlue.EM(), **settings)
    timer.cancel()
    return {**found, "seconds": time.monotonic() - started}


def on_ranks(call: Callable[[int, int], dict[str, Any]], folder: Path, world: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Make a call on so many ranks at once, again if one of them ends before it is done.

    Args:
        call: Gets the rank and the number of the attempt.
        folder: Where the ranks meet.
        world: How many there are.

    Returns:
        What each rank found, and the signals that ended some.

    Raises:
        RuntimeError: no attempt was successful.
    """

    def rank(number: int, attempt: int) -> None:
        place = f"file://{folder}/group{attempt}"
        torch.distributed.init_process_group("gloo", init_method=place, rank=number, world_size=world, timeout=_PATIENCE)
        torch.save(call(number, attempt), folder / f"{number}.pt")
        torch.distributed.destroy_process_group()

    signals: list[int] = []
    for attempt in range(_ATTEMPTS):
        ended = at_once([partial(rank, number, attempt) for number in range(world)])
        signals += [each.signal for each in ended if each.signal]
        if not any(each.signal or each.error for each in ended):
            return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(world)], signals
    raise RuntimeError(f"no attempt was successful: {ended}")


def comparisons() -> dict[str, Any]:
    """How far several ranks are from one process, and whether they write the same bytes."""
    with tempfile.TemporaryDirectory() as place:
        alone = compared(Path(place))
    curves, stores = [], {"1": alone["store"]}
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as place:
            shared = Path(place)
            found, _ = on_ranks(lambda rank, attempt, folder=shared: compared(folder), shared, world)  # type: ignore[misc]
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
    whole, _ = broken(0, None)
    length = max(each["seconds"] for each in whole)
    draw = random.Random(len(made))
    while len(made) < count:
        doomed, fuse = draw.randrange(2), draw.uniform(0.0, length)
        found, signals = broken(doomed, fuse)
        # It may have ended before.
        if signals:
            same = all(equal(each[part], whole[0][part]) for each in found for part in ("curve", "generator", "net"))
            made.append({"rank": doomed, "share": round(fuse / length, 3), "signals": signals, "identical": same})
            yield made


def broken(doomed: int, fuse: float | None) -> tuple[list[dict[str, Any]], list[int]]:
    """Train on two ranks, of which one is killed in the first attempt."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        return on_ranks(
            lambda rank, attempt: trained(folder, fuse if (rank, attempt) == (doomed, 0) else None), folder, world=2
        )


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
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    for each in kills(figures["kills"], options.kills):
        print(len(each), each[-1], flush=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
