"""What a large set costs on several GPUs, worked out from parts that were measured or counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mtlue._fit import recipe_for  # how much the default trains
from mtlue._protect import default_loss  # and with which loss
from mtlue._runtime import Compute

GPUS = (1, 8, 64)
IMAGES = 1_000_000
#: What the page supposes of a machine: its GPUs, and the processes that read for each of them.
GPUS_A_MACHINE, READERS = 8, 16
#: The check of `protect` costs at most this share of the training.
_CHECK = 0.1
# Side of the images of the measured step whose rate is used: that at which the generator of the default works.
_SIDE = "128"


@dataclass(frozen=True)
class Parts:
    """What one image, or one step, costs on one GPU or one processor core.

    Attributes:
        batch_size: Images in a step of the default.
        image_seconds: One GPU computes this long for each image of a step.
        step_seconds: And this long once in a step.
        least_step_seconds: Less than this no step takes, however few images it has: its kernels have to be started.
        pretraining_step_seconds: One GPU computes a step of the surrogate.
        generation_seconds: One GPU protects an image.
        reading_seconds: One core reads and inspects an image.
        png_seconds: One core makes a PNG file.
        stored_bytes: An image in a store.
        png_bytes: An image in an export as PNG.
        disk_bytes_a_second: A disk takes.
    """

    batch_size: int
    image_seconds: float
    step_seconds: float
    least_step_seconds: float
    pretraining_step_seconds: float
    generation_seconds: float
    reading_seconds: float
    png_seconds: float
    stored_bytes: int
    png_bytes: float
    disk_bytes_a_second: float


def parts(large: Mapping[str, Any], cpu: Mapping[str, Any], cuda: Mapping[str, Any]) -> Parts:
    """The parts, from the figures in benchmarks/results/throughput."""
    steps, files = large["steps"], large["files"]
    measured = cuda["by_side"]["bfloat16"]
    flops = measured[_SIDE]["flops"]
    shortest = min(each["batch_size"] * each["ms_an_image"] / 1000 for each in measured.values())
    a_call = shortest / steps["TAP"]["calls"]
    batch_size = recipe_for(default_loss()).batch_size or 1
    return Parts(
        batch_size=batch_size,
        image_seconds=steps["default"]["flops_an_image"] / flops,
        step_seconds=steps["default"]["flops_a_step"] / flops,
        least_step_seconds=a_call * steps["default"]["calls"],
        pretraining_step_seconds=max(
            batch_size * steps["surrogate"]["flops_an_image"] / flops, a_call * steps["surrogate"]["calls"]
        ),
        generation_seconds=steps["generation"]["flops_an_image"] / flops,
        reading_seconds=files["reading_us"] * cpu["inspection"]["dict"]["inspect / plain"] / 1e6,
        png_seconds=files["png_us"] / 1e6,
        stored_bytes=3 * large["side"] ** 2,
        png_bytes=files["png_bytes"],
        disk_bytes_a_second=files["disk_bytes_a_second"],
    )


def hours(each: Parts, gpus: int, *, images: int = IMAGES, trained_on: int | None = None) -> dict[str, float]:
    """Hours of each stage.

    Args:
        each: The parts.
        gpus: How many GPUs share the work.
        images: Images to protect.
        trained_on: Images that the generator sees. None for what the default chooses for so many images.
    """
    recipe = recipe_for(default_loss())
    if trained_on is None:
        epochs = recipe.plan(range(images), Compute(torch.device("cuda"))).epochs  # type: ignore[arg-type]
        trained_on, shown = images * epochs, images * recipe.surrogate_epochs(epochs)
    else:
        shown = round(recipe.surrogate_share * trained_on)
    # What a step does once, each GPU does.
    step = max(each.step_seconds + each.batch_size / gpus * each.image_seconds, each.least_step_seconds)
    # The surrogate learns on one GPU.
    training = (trained_on * step + shown * each.pretraining_step_seconds) / each.batch_size
    machines = math.ceil(gpus / GPUS_A_MACHINE)
    reading = images * each.reading_seconds / READERS
    seconds = {
        # Each rank looks at all samples.
        "read and check every sample": reading,
        "train": training,
        "check the result": _CHECK * training,
        # Read once more, beside the generation.
        "protect": max(reading, images * each.generation_seconds) / gpus,
        "write the store": images * each.stored_bytes / each.disk_bytes_a_second / machines,
    }
    return {name: value / 3600 for name, value in seconds.items()}


def parts_table(each: Parts) -> str:
    """The parts with their sources."""
    rows = [
        ("read and inspect an image", _time(each.reading_seconds), "one core; `large.json`, `cpu.json`"),
        ("train on an image", _time(each.image_seconds), "`large.json` / rate in `cuda.json`"),
        ("once in each step", _time(each.step_seconds), "`large.json` / rate in `cuda.json`"),
        ("the shortest step, however few images", _time(each.least_step_seconds), "`cuda.json`, × calls in `large.json`"),
        ("a step of the surrogate", _time(each.pretraining_step_seconds), "`cuda.json`, × calls in `large.json`"),
        ("protect an image", _time(each.generation_seconds), "`large.json` / rate in `cuda.json`"),
        ("make a PNG file", _time(each.png_seconds), "one core; `large.json`"),
        ("an image in a store", f"{each.stored_bytes / 1000:,.0f} kB", "3 × 256 × 256 bytes"),
        ("an image exported as PNG", f"{each.png_bytes / 1000:,.0f} kB", "`large.json`"),
        ("write and sync", f"{each.disk_bytes_a_second / 1e6:,.0f} MB a second", "one disk; `large.json`"),
    ]
    return "\n".join(["| part | costs | from |", "|---|---:|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def costs_table(each: Parts, *, trained_on: int | None = None) -> str:
    """Hours of each stage for each number of GPUs, their sum, and what it is in hours of GPUs."""
    columns = [hours(each, gpus, trained_on=trained_on) for gpus in GPUS]
    lines = [f"| hours | {' | '.join(f'{gpus} GPU' + 's' * (gpus > 1) for gpus in GPUS)} |", f"|---|{'---:|' * len(GPUS)}"]
    lines += [f"| {name} | {' | '.join(f'{column[name]:.2f}' for column in columns)} |" for name in columns[0]]
    totals = [sum(column.values()) for column in columns]
    lines.append(f"| **all** | {' | '.join(f'**{total:.2f}**' for total in totals)} |")
    paid = [f"{gpus * total:.1f}" for gpus, total in zip(GPUS, totals, strict=True)]
    lines.append(f"| GPU hours | {' | '.join(paid)} |")
    return "\n".join(lines)


def storage_table(each: Parts) -> str:
    """Gigabytes of a million images, and what it costs to export them."""
    export = f"{IMAGES * each.png_bytes / 1e9:,.0f} | {IMAGES * each.png_seconds / 3600:.1f}"
    return "\n".join([
        "| a million images | gigabytes | hours of one core |",
        "|---|---:|---:|",
        f"| in a store | {IMAGES * each.stored_bytes / 1e9:,.0f} | |",
        f"| exported as PNG: files, tar or Parquet | {export} |",
    ])


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
