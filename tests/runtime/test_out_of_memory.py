"""Training where memory runs out."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._data import Batch
from mtlue._fit.surrogate_training import SurrogateTraining
from mtlue._generator import rounding
from mtlue._runtime.compute import Compute
from mtlue._runtime.memory import BatchSize
from mtlue._tasks import CheckedTargets
from snapshots import equal, snapshot

QUIET: dict[str, Any] = {"batch_size": 8, "precision": torch.float32, "progress": False}


class Tight(nn.Module):
    """Answers for ``number`` by brightness and for ``front``; runs out of memory with more than 4 images."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(48))
        self.limit = limit

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if len(images) > self.limit:
            raise torch.OutOfMemoryError(f"CUDA out of memory for {len(images)} images")
        bright = images.flatten(1).mean(dim=1, keepdim=True)
        return bright * self.weight, bright.expand(-1, 2) * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize("where", ["loss", "module"])
def test_running_out_of_memory_halves_the_batch(canvases: Any, make_generator: Any, where: str) -> None:
    seen: list[list[int]] = []
    called: list[int] = []

    class Greedy(mtlue.BaseUELoss):
        trains_surrogate = False

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            called.append(len(images))
            if where == "loss" and len(images) > 4:
                raise torch.OutOfMemoryError("out of memory")
            value = surrogate.loss(images, targets)
            seen.append(targets["number"].tolist())
            return value

    dataset = [(image, {"number": index, "front": target["front"]}) for index, (image, target) in enumerate(canvases)]
    generator = make_generator({"number": 48, "front": 2})
    model = Tight(4 if where == "module" else 1000)
    with pytest.warns(UserWarning, match="out of memory") as caught:
        history = mtlue.fit(
            generator, dataset, model, loss=Greedy(), epochs=3, batch_size=16, precision=torch.float32, progress=False
        )
    told = [str(warning.message) for warning in caught]
    assert told == [f"out of memory with batches of {size} samples; going on with {size // 2}" for size in (16, 8)]
    assert len(history) == 3
    assert max(len(batch) for batch in seen) == 4
    assert Counter(itertools.chain.from_iterable(seen)) == dict.fromkeys(range(48), 3)
    # What was halved stays halved.
    assert called == [16, 8] + [4] * 36


def test_one_sample_that_does_not_fit_is_an_error(canvases: Any, make_generator: Any, net: nn.Module) -> None:
    class Full(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            raise torch.OutOfMemoryError("out of memory")

    before = snapshot(net)
    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(torch.OutOfMemoryError):
        mtlue.fit(make_generator(), canvases, net, loss=Full(), epochs=1, **QUIET)
    assert equal(snapshot(net), before)


def test_no_image_is_protected_twice_when_memory_runs_out(
    canvases: Any, make_generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = make_generator(trained=True, gain=100.0)
    whole = mtlue.protect(canvases, generator=generator, **QUIET)
    calls = itertools.count()
    add = rounding.add_in_levels

    def full(*arguments: Any, **named: Any) -> Tensor:
        # In the second batch of eight.
        if next(calls) == 1:
            raise MemoryError
        return add(*arguments, **named)

    monkeypatch.setattr(rounding, "add_in_levels", full)
    with pytest.warns(UserWarning, match="out of memory with batches of 8 samples; going on with 4"):
        broken = mtlue.protect(canvases, generator=generator, **QUIET)
    assert all(torch.equal(broken[index][0], whole[index][0]) for index in range(48))


def test_no_answer_counts_twice_for_the_accuracy_when_memory_runs_out(
    canvases: Any, net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogate = mtlue.Surrogate(net, {"shoe": 2, "front": 2})
    images = torch.stack([image for image, _ in canvases]).float() / 255
    targets = CheckedTargets({name: torch.tensor([target[name] for _, target in canvases]) for name in surrogate.tasks})
    # The first half is answered wrongly, so that it matters how often it counts.
    targets["shoe"][:8] = 1 - targets["shoe"][:8]

    def accuracy() -> float | None:
        training = SurrogateTraining(
            surrogate, learning_rate=1e-3, batch_size=BatchSize(8, quiet=True), compute=Compute(torch.device("cpu"))
        )
        return training.accuracy([Batch(images, targets)[:16]], lambda batch: batch)

    whole = accuracy()
    calls = itertools.count()
    hits = mtlue.Classification.hits

    def full(*arguments: Any) -> Any:
        # At the second task of the first batch.
        if next(calls) == 1:
            raise torch.OutOfMemoryError("full")
        return hits(*arguments)

    monkeypatch.setattr(mtlue.Classification, "hits", full)
    assert accuracy() == whole
