"""What a step of training costs, by the number of tasks and the side of the images."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

import mtlue
from mtlue._data import Samples  # as `fit` reads its labels: once, before they go to the device
from mtlue._regularizers import embedding_regularizers  # both from one product, as in `fit`
from mtlue._runtime.device import autocast
from mtlue.evaluation import build_model
from rates.machine import Scale, flops_of, in_turn, name_of, ratio

COUNTS = (3, 40, 200)
SIDE = 64


def training_step(scale: Scale, dtype: torch.dtype, *, tasks: int, side: int) -> Callable[[], None]:
    """A step of Adam on a generator with so many binary tasks, against a ResNet-18 by TAP, as `mtlue.fit` takes it."""
    named: dict[str, Any] = {f"task{k}": mtlue.Classification(2) for k in range(tasks)}
    shape = (3, side, side)
    generator = mtlue.UEGenerator(named, shape, width=scale.width).to(scale.device)
    module = build_model("resnet18", named, image_shape=shape).to(scale.device).eval().requires_grad_(False)
    surrogate, loss = mtlue.Surrogate(module, named), mtlue.TAP()
    images = torch.rand(scale.batch_size, *shape, device=scale.device)
    labels = list(torch.randint(2, (scale.batch_size, tasks)))
    targets = Samples([], named).read_labels(labels).to(torch.device(scale.device))  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(generator.parameters())

    def step() -> None:
        with autocast(torch.device(scale.device), dtype):
            value = loss(surrogate, generator.perturb(images, targets), targets).float()
        intra, inter = embedding_regularizers(generator.embeddings)
        value = value + 20 * intra + 100 * inter
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()

    return step


def by_tasks(scale: Scale) -> dict[str, dict[str, float]]:
    """Seconds of a step and ratios to that with three tasks, by precision and size of batch."""
    found = {}
    for dtype in scale.precisions:
        for size in dict.fromkeys((scale.batch_size, scale.large_batch)):
            steps: dict[str, Callable[[], object]] = {
                f"K={count}": training_step(replace(scale, batch_size=size), dtype, tasks=count, side=SIDE) for count in COUNTS
            }
            seconds = in_turn(steps, rounds=scale.rounds, device=scale.device)
            ratios = {f"{name} / K=3": ratio(seconds, name, "K=3") for name in list(steps)[1:]}
            medians = {name: statistics.median(each) for name, each in seconds.items()}
            found[f"{name_of(dtype)}, batches of {size}"] = {**medians, **ratios}
    return found


def by_side(scale: Scale) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds an image and operations a second with forty tasks, by precision and side.

    "gain" says how many times as long a step in float32 takes.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for side in scale.sides:
        fitting = replace(scale, batch_size=min(scale.batch_size, scale.pixels // side**2))
        steps: dict[str, Callable[[], object]] = {
            name_of(dtype): training_step(fitting, dtype, tasks=40, side=side) for dtype in scale.precisions
        }
        operations = flops_of(steps["float32"])
        seconds = in_turn(steps, rounds=scale.rounds, device=scale.device)
        for dtype, each in seconds.items():
            found.setdefault(dtype, {})[str(side)] = {
                "batch_size": fitting.batch_size,
                "ms_an_image": 1000 * min(each) / fitting.batch_size,
                "flops": operations / min(each),
                "gain": ratio(seconds, "float32", dtype),
            }
    return found
