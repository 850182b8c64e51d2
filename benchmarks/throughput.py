"""How fast mtlue is, as ratios inside one run and as shares of the machine's own best.

Inspection beside a plain pass over the data; a training step by the number of tasks, the side of the images and the precision;
`protect(path=...)` beside the bare generator, its memory, and what opening a store costs. Figures of a processor are CPU time.

    python benchmarks/throughput.py --device cuda
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rates.machine import Scale, best, described
from rates.reading import inspection
from rates.steps import by_side, by_tasks
from rates.storing import storing
from rates.table import DEVICES, throughput_table

RESULTS = Path(__file__).parent / "results" / "throughput"
SIDES = (32, 64, 128, 256)
SCALES = {
    "cpu": Scale(
        "cpu",
        32,
        128,
        rounds=2,
        inspected=4000,
        written=2048,
        stored=(1000, 10_000, 100_000),
        sides=SIDES,
        matrix=2048,
        pixels=2**16,
    ),
    "cuda": Scale(
        "cuda",
        128,
        512,
        rounds=10,
        inspected=10_000,
        written=8192,
        stored=(1000, 10_000, 100_000),
        sides=SIDES,
        matrix=8192,
        pixels=2**22,
    ),
}
SHORT: dict[str, Any] = {
    "batch_size": 2, "large_batch": 2, "rounds": 1, "inspected": 64, "written": 4, "stored": (4, 8, 12), "sides": (32,),
    "matrix": 64, "width": 4,
}  # fmt: skip


def measure(scale: Scale, file: Path) -> None:
    """Write all figures of a device to a file, part by part; parts that are there already are kept."""
    figures: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"machine": described(scale)}
    for part in (inspection, best, by_tasks, by_side, storing):
        if part.__name__ not in figures:
            figures[part.__name__] = part(scale)
            file.write_text(json.dumps(figures, indent=1) + "\n")
            print(part.__name__, figures[part.__name__], flush=True)


def read(folder: Path) -> dict[str, dict[str, Any] | None]:
    """The figures in a folder by device, None where there are none."""
    files = {device: folder / f"{device}.json" for device in DEVICES}
    return {device: json.loads(file.read_text()) if file.exists() else None for device, file in files.items()}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(DEVICES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for DEVICE.json and README.md")
    parser.add_argument("--short", action="store_true", help="see that it runs; the figures mean nothing")
    parser.add_argument("--go-on", action="store_true", help="keep the parts that an interrupted run has measured")
    arguments = parser.parse_args()
    scale = SCALES[arguments.device]
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{arguments.device}.json"
    if not arguments.go_on:
        file.unlink(missing_ok=True)
    measure(replace(scale, **SHORT) if arguments.short else scale, file)
    (arguments.out / "README.md").write_text(f"# Throughput\n\n{throughput_table(read(arguments.out))}")


if __name__ == "__main__":
    main()
