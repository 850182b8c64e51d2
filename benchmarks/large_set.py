"""What a large set costs: operations that are counted, and parts that are measured on this processor.

`rates/costs.py` puts them together with the rates of a GPU in results/throughput/cuda.json. The operations of a step are those
of `mtlue.fit` with its default loss, as the difference between two steps and one.

    python benchmarks/large_set.py
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import flop_registry
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import mtlue
from mtlue._fit import recipe_for  # the generator of the default
from mtlue._models import small_network  # its surrogate
from mtlue._protect import default_loss  # and its loss
from mtlue.datasets import PNG
from rates.machine import described
from rates.steps import training_step
from throughput import RESULTS, SCALES

FILE = RESULTS / "large.json"
SIDE, TASKS = 256, 40
#: Images that the default trains on where a set is no larger than that.
SHORT_TRAINING = 256_000
_BATCHES = (2, 4)
_DISK_BYTES = 2**29


class Counter(TorchDispatchMode):
    """Counts operations, and calls: each is a kernel on a GPU, or a few.

    torch's own counter fails where a loss takes a gradient at its images.
    """

    flops = 0
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result


def counted(step: Callable[[], object]) -> tuple[int, int]:
    """Operations and calls of a step."""
    with Counter() as counter:  # type: ignore[no-untyped-call]  # torch does not type its constructor
        step()
    return counter.flops, counter.calls


def steps(side: int = SIDE) -> dict[str, dict[str, float]]:
    """Count a step of the default, one of its surrogate, one of `rates.steps`, and a generation.

    Returns:
        For each the operations that it takes for each image, those that it takes once, and its calls.
    """
    few, many = (_steps_on(images, side) for images in _BATCHES)
    found: dict[str, dict[str, float]] = {}
    for name, (flops, calls) in few.items():
        an_image = (many[name][0] - flops) / (_BATCHES[1] - _BATCHES[0])
        found[name] = {"flops_an_image": an_image, "flops_a_step": flops - _BATCHES[0] * an_image, "calls": calls}
    return found


def _steps_on(batch_size: int, side: int) -> dict[str, tuple[int, int]]:
    """Operations and calls of each step with so many images."""
    tasks: dict[str, Any] = {f"task{k}": mtlue.Classification(2) for k in range(TASKS)}
    shape = (3, side, side)
    generator = recipe_for(default_loss()).generator(tasks, shape, epsilon=8 / 255, device=torch.device("cuda"))
    surrogate = small_network(tasks, shape, seed=0)
    images, labels = torch.rand(batch_size, *shape), torch.randint(2, (batch_size, TASKS))
    targets = {name: labels[:, index] for index, name in enumerate(tasks)}

    def fit(number: int) -> None:
        dataset: Any = list(zip(images, labels, strict=True))
        settings: dict[str, Any] = {"batch_size": batch_size, "epochs": 1, "precision": torch.float32, "progress": False}
        with warnings.catch_warnings():
            # It is untrained, which changes no count.
            warnings.filterwarnings("ignore", message="surrogate: no better than chance")
            mtlue.fit(generator, dataset, surrogate, loss=default_loss(), steps_per_epoch=number, **settings)

    def learn() -> None:
        torch.autograd.backward(mtlue.Surrogate(surrogate, tasks).loss(images, targets))

    one, two = (counted(partial(fit, number)) for number in (1, 2))
    literal = training_step(replace(SCALES["cpu"], batch_size=batch_size), torch.float32, tasks=TASKS, side=side)
    found = {"default": (two[0] - one[0], two[1] - one[1]), "surrogate": counted(learn), "TAP": counted(literal)}
    with torch.no_grad(), generator.reuse_tables(generator.spread_tables()):
        return {**found, "generation": counted(lambda: generator.perturb(images, targets))}


class Photos(Dataset[Any]):
    """Smooth pictures as JPEG files, decoded when they are read."""

    def __init__(self, length: int, side: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.length = length
        self.pictures = [
            to_pil_image(torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=random)).resize((side, side))
            for _ in range(16)
        ]
        self.files = [_encoded(picture) for picture in self.pictures]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = pil_to_tensor(Image.open(io.BytesIO(self.files[index % 16])))
        return image


def _encoded(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=90)
    return file.getvalue()


def files(length: int = 512, side: int = SIDE, disk: int = _DISK_BYTES) -> dict[str, float]:
    """Measure the reading of a picture, a protected one as PNG, and the writing of a file; the best of three."""
    photos, png = Photos(length, side), PNG()
    noise = torch.randint(-8, 9, (3, side, side), generator=torch.Generator().manual_seed(0))
    safe = [(pil_to_tensor(picture) + noise).clamp(0, 255).byte() for picture in photos.pictures]
    # Processor time for what a core does, since others use it too.
    read = _shortest(lambda: deque(DataLoader(photos, batch_size=64), maxlen=0), time.process_time)
    encoded = _shortest(lambda: [png.encode(image) for image in safe], time.process_time)
    return {
        "reading_us": 1e6 * read / length,
        "png_us": 1e6 * encoded / len(safe),
        "png_bytes": sum(len(png.encode(image)) for image in safe) / len(safe),
        "disk_bytes_a_second": disk / _shortest(partial(_write, disk), time.perf_counter),
    }


def _shortest(step: Callable[[], object], clock: Callable[[], float]) -> float:
    seconds = []
    for _ in range(3):
        started = clock()
        step()
        seconds.append(clock() - started)
    return min(seconds)


def _write(size: int) -> None:
    block = os.urandom(2**20)
    with tempfile.NamedTemporaryFile(dir=".") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    """Run from the command line."""
    figures = {"machine": described(SCALES["cpu"]), "side": SIDE, "tasks": TASKS, "steps": steps(), "files": files()}
    Path(FILE).write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
