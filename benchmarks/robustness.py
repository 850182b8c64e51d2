"""Calls that are killed, fail, fill the disk or meet another, and files that were tampered with: nothing may be lost or wrong.

    python benchmarks/robustness.py

Each call is made on a tiny set, broken off, and repeated: what it leaves and returns must be, byte for byte, what an
undisturbed call gives. What stands in the file of ``--json`` is not done again; ``--only`` and ``--again`` choose. The files
lie in a temporary folder: set ``TMPDIR`` to one in memory to save time. The disks are made full by errors: after so many
bytes each write ends in ENOSPC. ``--fuzzed FILE`` adds the figures that ``benchmarks/fuzz.py --json FILE`` wrote.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from robust.calls import tried, tried_on_ranks, verbs, verbs_on_ranks
from robust.table import tables
from robust.tampering import kinds, tampered

RESULTS = Path(__file__).parent / "results" / "robustness.json"
#: Files of each kind: more than 2,000 of all.
FILES = 250


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the figures")
    parser.add_argument("--only", default="", help="only calls and files whose name contains this")
    parser.add_argument("--again", action="store_true", help="also what is finished")
    parser.add_argument("--files", type=int, default=FILES, help=f"files of each kind, default {FILES}")
    parser.add_argument("--fuzzed", type=Path, help="figures of benchmarks/fuzz.py")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    figures |= {"python": platform.python_version(), "torch": torch.__version__, "system": platform.system()}
    if options.fuzzed is not None:
        figures["fuzzed"] = json.loads(options.fuzzed.read_text())
    todo: list[tuple[str, str, Callable[[], dict[str, Any]]]] = []
    todo += [("calls", name, partial(tried, verb)) for name, verb in verbs().items()]
    todo += [("ranks", name, partial(tried_on_ranks, each)) for name, each in verbs_on_ranks().items()]
    todo += [("files", name, partial(tampered, kind, options.files, 0)) for name, kind in kinds().items()]
    for part, name, work in todo:
        found = figures.setdefault(part, {})
        if options.only in name and (options.again or name not in found):
            found[name] = work()
            print(f"{name}: {len(found[name]['faults'])} failures", *found[name]["faults"], sep="\n  ", flush=True)
            options.json.write_text(json.dumps(_ordered(figures), indent=1, ensure_ascii=False) + "\n")
    options.json.write_text(json.dumps(_ordered(figures), indent=1, ensure_ascii=False) + "\n")
    print(tables(figures))
    sys.exit(any(found["faults"] for part in ("calls", "ranks", "files") for found in figures.get(part, {}).values()))


def _ordered(figures: dict[str, Any]) -> dict[str, Any]:
    """The parts in the order of the tables, whatever was done first."""
    order = {"calls": list(verbs()), "ranks": list(verbs_on_ranks()), "files": list(kinds())}
    return {
        name: {row: part[row] for row in order[name] if row in part} if name in order else part
        for name, part in figures.items()
    }


if __name__ == "__main__":
    main()
