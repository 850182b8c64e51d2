"""`protect(path=...)` beside the bare generator; the memory it takes, and what opening a store costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

import mtlue
from rates.machine import Scale, clock

TASKS: dict[str, Any] = {f"task{k}": 2 for k in range(40)}
SIDE = 64
_NARROW = 4


class Made(Dataset[Any]):
    """So many images with forty labels, made when they are read."""

    tasks = TASKS

    def __init__(self, length: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.length = length
        self.images = torch.randint(256, (256, 3, SIDE, SIDE), dtype=torch.uint8, generator=random)
        # A few that come again and again: the set itself takes as much memory whatever its length.
        self.labels = torch.randint(2, (257, len(TASKS)), generator=random)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index % 256], self.labels[index % 257]


def trained_generator(width: int) -> mtlue.UEGenerator:
    """A generator that counts as trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = mtlue.UEGenerator(TASKS, (3, SIDE, SIDE), width=width).eval()
    generator.trained = True
    return generator


def protect_into(folder: str | Path, length: int, device: str, width: int) -> None:
    """Protect so many images with a trained generator."""
    settings: dict[str, Any] = {"device": device, "precision": torch.float32, "check": False, "progress": False}
    Path(folder).mkdir(exist_ok=True)
    mtlue.protect(Made(length), generator=trained_generator(width), path=Path(folder) / str(length), **settings)


def storing(scale: Scale) -> dict[str, float]:
    """Rates, peaks of memory, and times of opening."""
    opened, few, many = scale.stored
    with tempfile.TemporaryDirectory() as folder:
        protect_into(Path(folder), scale.batch_size, scale.device, scale.width)  # warms up
        started = clock(scale.device)
        protect_into(Path(folder) / "rate", scale.written, scale.device, scale.width)
        rate = scale.written / (clock(scale.device) - started)
        # At once, because the speed of a machine drifts.
        bare = scale.written / _bare(scale, scale.written)
        for length in (opened, many):
            protect_into(Path(folder) / "narrow", length, scale.device, _NARROW)
        opening = _opening(Path(folder) / "narrow", (opened, many))
    peaks = {length: _peak(scale, length) for length in (few, many)}
    return {
        "few": few,
        "many": many,
        "bare_images_a_second": bare,
        "protect / bare": rate / bare,
        "peak_mib_few": peaks[few],
        "peak many / few": peaks[many] / peaks[few],
        "opened": opened,
        "opening_ms": 1000 * opening[opened],
        "opening many / opened": opening[many] / opening[opened],
    }


@torch.no_grad()
def _bare(scale: Scale, length: int) -> float:
    """Seconds that the generator alone takes for so many images that are on the device."""
    generator = trained_generator(scale.width).to(scale.device)
    images = torch.rand(scale.batch_size, 3, SIDE, SIDE, device=scale.device)
    labels = torch.randint(2, (scale.batch_size, len(TASKS)), device=scale.device)
    with generator.reuse_tables(generator.spread_tables()):
        generator.perturb(images, labels)
        started = clock(scale.device)
        for _ in range(length // scale.batch_size):
            generator.perturb(images, labels)
    return clock(scale.device) - started


def _peak(scale: Scale, length: int) -> float:
    """Peak of memory of a process that protects so many images, MiB."""
    command = [sys.executable, "-m", "rates.storing", json.dumps([length, scale.device, _NARROW])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    return float(done.stdout.splitlines()[-1])


def _opening(folder: Path, lengths: Sequence[int]) -> dict[int, float]:
    """Seconds that opening the stores takes, in turn, of the wall: files are read."""
    datasets = {length: Made(length) for length in lengths}
    seconds: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(9):
        for length, found in seconds.items():
            started = time.perf_counter()
            mtlue.ProtectedDataset.load(folder / str(length), datasets[length])
            found.append(time.perf_counter() - started)
    return {length: min(found) for length, found in seconds.items()}


def _peak_mib() -> float:
    """Peak of memory of this process. The figure of `resource` begins with that of the process that started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status: no VmHWM; peaks are measured on Linux")


if __name__ == "__main__":
    wanted, on, wide = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        protect_into(place, wanted, on, wide)
    print(_peak_mib())
