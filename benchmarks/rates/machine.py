"""The machine: its name, its clock, and the best it does in a matrix product and in a convolution."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mtlue._runtime.bfloat16 import has_amx  # as mtlue asks


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        batch_size: Images a step.
        large_batch: Images a step, of which a step with many tasks is compared too.
        rounds: Steps of each kind, of which the median counts.
        inspected: Samples of the set that is read.
        written: Images of the set that is written to find the rate.
        stored: Images of the sets that are written with a narrow generator. The first and the last are opened; memory is
            compared between the other two.
        sides: Sides of the images.
        matrix: Side of the matrices.
        pixels: Pixels of a batch at most, where the side of the images varies.
        width: Width of the generator.
    """

    device: str
    batch_size: int
    large_batch: int
    rounds: int
    inspected: int
    written: int
    stored: tuple[int, int, int]
    sides: tuple[int, ...]
    matrix: int
    pixels: int
    width: int = 64

    @property
    def precisions(self) -> tuple[torch.dtype, ...]:
        """What is computed in: bfloat16 too where a matrix unit makes it fast."""
        return (torch.float32, torch.bfloat16) if self.device == "cuda" or has_amx() else (torch.float32,)


def clock(device: str) -> float:
    """Seconds: of this process on a processor, which others may be using too; of the wall where a GPU works."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def in_turn(steps: dict[str, Callable[[], object]], *, rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of some steps, which take turns so that a machine whose speed drifts slows all alike; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            taken = timed(step, device)
            if number:
                seconds[name].append(taken)
    return seconds


def timed(step: Callable[[], object], device: str) -> float:
    """Seconds of one step."""
    started = clock(device)
    step()
    return clock(device) - started


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> float:
    """The median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def flops_of(step: Callable[[], object]) -> int:
    """Floating-point operations of a step in products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def best(scale: Scale) -> dict[str, dict[str, float]]:
    """Operations a second of the best matrix product and the best convolution, by precision."""
    found = {}
    for dtype in scale.precisions:
        square = torch.randn(scale.matrix, scale.matrix, device=scale.device, dtype=dtype)
        images = torch.randn(scale.batch_size, 64, 64, 64, device=scale.device, dtype=dtype)
        images = images.to(memory_format=torch.channels_last)
        weight = torch.randn(64, 64, 3, 3, device=scale.device, dtype=dtype).to(memory_format=torch.channels_last)
        steps: dict[str, Callable[[], object]] = {
            "matrix product": lambda square=square: square @ square,  # type: ignore[misc]
            "convolution": lambda images=images, weight=weight: F.conv2d(images, weight, padding=1),  # type: ignore[misc]
        }
        seconds = in_turn(steps, rounds=2 * scale.rounds, device=scale.device)
        found[name_of(dtype)] = {name: flops_of(step) / min(seconds[name]) for name, step in steps.items()}
    return found


def name_of(dtype: torch.dtype) -> str:
    """A precision as the tables name it."""
    return str(dtype).removeprefix("torch.")


def described(scale: Scale) -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if scale.device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "batch_size": scale.batch_size,
        "rounds": scale.rounds,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(line.partition(":")[::2] for line in reversed(lines))
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{named.get('model name', 'unknown')}, family {named.get('cpu family', '?')}, model {named.get('model', '?')}"
