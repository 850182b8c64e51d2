"""A search pixel by pixel with a surrogate that is trained in turn: the order, the warm start and the end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.baselines._pgd import pgd
from pixel_search import QUIET, TASKS, WithNorm, stack


def test_em_alternates_and_starts_warm(canvases: Any, net: nn.Module) -> None:
    """Two rounds of one step each: what is seen in the second is one step away from the clean images."""
    model = WithNorm(net).eval()
    images = stack(canvases)[0] / 255
    inputs: list[tuple[bool, Tensor]] = []
    model.register_forward_pre_hook(lambda module, args: inputs.append((module.training, args[0].detach().clone())))
    # In one loader batch a round, so that the order is known; the surrogate takes its samples in any order.
    settings = {**QUIET, "batch_size": 48}
    step = 1.25 / 255
    pgd(
        canvases,
        tasks=TASKS,
        surrogate=model,
        loss=mtlue.EM(),
        rounds=3,
        steps=1,
        step_size=step,
        surrogate_steps=2,
        stop_accuracy=1.1,
        **settings,
    )  # fmt: skip
    # A look at the clean data; then in each round two steps of the surrogate and one on the pixels, and between the rounds the
    # accuracy.
    assert [training for training, _ in inputs] == [False, *([True] * 2 + [False] * 2) * 2, *[True] * 2, False]
    assert model[1].num_batches_tracked == 6

    def distances(seen: Tensor) -> Tensor:
        """How far each image that was seen is from the nearest clean one."""
        return (seen[:, None] - images[None]).abs().flatten(2).amax(2).amin(1)

    # Rounds that are over when the surrogate sees something, in the order above.
    rounds_before = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2, 10: 2, 11: 2}
    for position, rounds in rounds_before.items():
        distance = distances(inputs[position][1])
        assert torch.allclose(distance, torch.full_like(distance, rounds * step), atol=1e-6), position
    # Each step's direction is that of the gradient where the last one ended: all pixels have moved by one step.
    moved = (inputs[7][1] - inputs[3][1]).abs()
    assert (moved - step).abs().max() < 1e-6


@pytest.mark.parametrize(("stop_accuracy", "rounds"), [(0.5, 1), (1.0, 1), (1.1, 4)])
def test_em_ends_when_the_surrogate_has_learned(canvases: Any, net: nn.Module, stop_accuracy: float, rounds: int) -> None:
    calls: list[Any] = []
    settings = {**QUIET, "progress": calls.append}
    em = {"rounds": 4, "steps": 5, "step_size": 2 / 255, "stop_accuracy": stop_accuracy}
    safe = pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.EM(), **em, **settings)
    assert [figures["round"] for figures in calls] == [1 + call // 15 for call in range(15 * rounds)]
    assert all(("surrogate_accuracy" in figures) == (figures["round"] > 1) for figures in calls)
    assert {figures["surrogate_accuracy"] for figures in calls[15:]} == ({1.0} if rounds > 1 else set())
    # It was learned indeed, from the images that are stored.
    images, targets = stack(list(safe))
    answers = net(images / 255) > 0
    assert all((answers[:, k] == targets[name].bool()).all() for k, name in enumerate(TASKS))


def test_em_goes_on_while_the_surrogate_has_not_learned(canvases: Any, net: nn.Module) -> None:
    """Steps too small to help an inverted surrogate, whose accuracy is that of its opposite."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.neg_()
    calls: list[Any] = []
    em = {"rounds": 3, "steps": 1, "step_size": 1e-6, "stop_accuracy": 0.5, "surrogate_steps": 0}
    pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.EM(), **em, **{**QUIET, "progress": calls.append})
    assert [figures["round"] for figures in calls] == [1] * 3 + [2] * 3 + [3] * 3
    images, targets = stack(canvases)
    answers = net(images / 255) > 0
    right = torch.stack([answers[:, k] == targets[name].bool() for k, name in enumerate(TASKS)]).float().mean()
    assert calls[-1]["surrogate_accuracy"] == pytest.approx(float(right), abs=1e-6)
