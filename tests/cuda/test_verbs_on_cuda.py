"""Every verb on a GPU: the budget, equal bytes, models that come back, memory that is given back. Skipped without one."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue import baselines, evaluation
from mtlue._models import small_network
from mtlue._protect import default_loss
from mtlue._runtime import Arriving

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA: pytest tests/cuda")

TASKS = {"shoe": 2, "front": 2}
QUIET: dict[str, Any] = {"progress": False, "device": "cuda"}


def stored(protected: Any) -> Tensor:
    return torch.stack([protected.stored_image(index) for index in range(len(protected))])


def levels(protected: Any, samples: Any) -> Tensor:
    return (stored(protected).int() - torch.stack([image for image, _ in samples]).int()).abs()


@pytest.mark.parametrize(
    "loss", [mtlue.RestartedEM(count=2), mtlue.RestartedEM(misleading=1.0), mtlue.TAP(), mtlue.EM()], ids=repr
)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.filterwarnings("ignore:generator")
def test_protect_gives_equal_bytes_within_the_budget(
    loss: mtlue.BaseUELoss, precision: torch.dtype, canvases: Any, make_net: Callable[..., nn.Module]
) -> None:
    found = []
    for _ in range(2):
        net = make_net()
        again = mtlue.RestartedEM(count=loss.count, misleading=loss.misleading) if isinstance(loss, mtlue.RestartedEM) else loss
        protected = mtlue.protect(
            canvases, tasks=TASKS, surrogate=net, loss=again, epochs=2, check=False, precision=precision, **QUIET
        )
        assert next(net.parameters()).device.type == "cpu"
        assert 0 < levels(protected, canvases).max() <= 8
        found.append(stored(protected))
    assert torch.equal(*found)


def test_a_device_that_is_not_named_is_the_gpu_in_bfloat16(canvases: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mtlue")
    mtlue.protect(canvases, tasks=TASKS, loss=mtlue.RestartedEM(), epochs=1, check=False, progress=False)
    assert any("on cuda" in line and "bfloat16" in line for line in caplog.messages), caplog.messages


def test_a_generator_goes_to_the_processor_and_back(canvases: Any, make_net: Callable[..., nn.Module], tmp_path: Path) -> None:
    generator = mtlue.UEGenerator(TASKS, (1, 16, 16), width=4)
    mtlue.fit(generator, canvases, make_net(), loss=mtlue.RestartedEM(), epochs=2, checkpoint=tmp_path / "fit.pt", **QUIET)
    assert next(generator.parameters()).device.type == "cpu"
    generator.save(tmp_path / "key.pt")
    read = mtlue.UEGenerator.load(tmp_path / "key.pt", device="cuda")
    here = stored(mtlue.protect(canvases, generator=generator, check=False, progress=False, device="cpu"))
    there = stored(mtlue.protect(canvases, generator=read, check=False, precision=torch.float32, **QUIET))
    # A level here and there is rounded the other way.
    assert (here.int() - there.int()).abs().max() <= 1
    assert (here != there).float().mean() < 0.02


class Interrupted(mtlue.RestartedEM):
    """Is interrupted in the second epoch, once."""

    calls = 0

    def __call__(self, *given: Any, **named: Any) -> Tensor:
        Interrupted.calls += 1
        if Interrupted.calls == 6:
            raise KeyboardInterrupt
        return super().__call__(*given, **named)


def test_a_training_goes_on_on_another_device(canvases: Any, make_net: Callable[..., nn.Module], tmp_path: Path) -> None:
    def train(device: str) -> mtlue.History:
        settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "precision": torch.float32, "progress": False}
        generator = mtlue.UEGenerator(TASKS, (1, 16, 16), width=4)
        file = tmp_path / "fit.pt"
        return mtlue.fit(generator, canvases, make_net(), loss=Interrupted(), device=device, checkpoint=file, **settings)

    with pytest.raises(KeyboardInterrupt):
        train("cpu")
    assert len(train("cuda")) == 3
    # Without the first epoch there are fewer steps than in a run from the beginning.
    assert Interrupted.calls < 6 + 9


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_a_search_pixel_by_pixel_stays_within_the_budget(canvases: Any, make_net: Callable[..., nn.Module]) -> None:
    protected = baselines.pgd(
        canvases, tasks=TASKS, surrogate=make_net(), loss=mtlue.TAP(), steps=3, step_size=1 / 255, **QUIET
    )
    assert 0 < levels(protected, canvases).max() <= 8


def test_victims_are_trained_and_come_back(canvases: Any, make_net: Callable[..., nn.Module]) -> None:
    weights = []
    for _ in range(2):
        victim = evaluation.train_victim(canvases, tasks=TASKS, model=make_net(), epochs=2, **QUIET)
        weights.append(torch.cat([each.detach().cpu().flatten() for each in victim.parameters()]))
    assert torch.equal(*weights)


def test_a_batch_that_does_not_fit_is_halved(canvases: Any, make_net: Callable[..., nn.Module]) -> None:
    class Greedy(nn.Module):
        """Takes all memory for more than sixteen images."""

        def __init__(self) -> None:
            super().__init__()
            self.net = make_net()

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 16:
                torch.empty(2**50, device=images.device, dtype=torch.uint8)
            return self.net(images)

    generator = mtlue.UEGenerator(TASKS, (1, 16, 16), width=4)
    loss = mtlue.RestartedEM(lambda seed: Greedy())
    with pytest.warns(UserWarning, match="out of memory"):
        mtlue.fit(generator, canvases, Greedy(), loss=loss, epochs=1, batch_size=48, **QUIET)


def test_memory_is_given_back(canvases: Any, make_net: Callable[..., nn.Module]) -> None:
    def run() -> None:
        mtlue.protect(canvases, tasks=TASKS, surrogate=make_net(), loss=mtlue.RestartedEM(), epochs=1, check=False, **QUIET)

    run()
    before = torch.cuda.memory_allocated()
    run()
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_no_step_of_the_default_waits_for_the_gpu(canvases: Any) -> None:
    def waits(epochs: int) -> int:
        generator = mtlue.UEGenerator(TASKS, (1, 16, 16), width=4)
        net, loss = small_network(generator.tasks, (1, 16, 16), seed=0), default_loss()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                augment = evaluation.random_crop_and_flip
                mtlue.fit(generator, canvases, net, loss=loss, epochs=epochs, batch_size=4, augment=augment, **QUIET)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(each.message) for each in told)

    waits(1)
    # Twelve steps an epoch: the end of one may wait, a step may not.
    assert waits(3) - waits(1) < 12


def test_a_number_arrives_from_a_gpu_that_is_busy() -> None:
    torch.cuda._sleep(10**8)
    number = Arriving(torch.tensor(0.5, device="cuda") + 1)
    assert [float(each) for each in (number, copy.deepcopy(number), pickle.loads(pickle.dumps(number)))] == [1.5] * 3
