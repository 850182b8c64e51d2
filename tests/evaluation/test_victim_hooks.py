"""What is called while a victim is trained: a defence, a schedule, a weighting, and what follows an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mtlue
from mtlue.defenses import Defense
from mtlue.evaluation import UW, dense_paper_schedule, paper_schedule, train_victim
from optional import needs
from small_victims import OPTIONS, net, two_task_set


def test_each_hook_of_a_defense_is_called_when_it_says() -> None:
    calls: list[str] = []
    dataset = two_task_set()

    class Recorder(Defense):
        def prepare(self, dataset: Any, tasks: Any, *, seed: int) -> None:
            calls.append(f"prepare {len(dataset)} {list(tasks)} {seed}")

        def images(self, images: Tensor) -> Tensor:
            calls.append(f"images {tuple(images.shape)} {torch.is_grad_enabled()}")
            return torch.zeros_like(images)

        def losses(self, victim: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
            calls.append(f"losses {float(images.max())} {victim.module.training} {sorted(targets)}")
            return super().losses(victim, images, targets)

        def after_epoch(self, victim: mtlue.Surrogate, epoch: int) -> None:
            calls.append(f"after_epoch {epoch} {victim.module.training}")

        def finish(self, victim: mtlue.Surrogate) -> None:
            calls.append(f"finish {victim.module.training}")

    options = {**OPTIONS, "epochs": 2, "batch_size": 24, "transform": lambda images: images + 1}
    train_victim(dataset, model=net(), defense=Recorder(), **options)
    step = ["images (24, 1, 8, 8) False", "losses 1.0 True ['shade', 'side']"]
    assert calls == [
        "prepare 48 ['side', 'shade'] 0",
        *(step * 2),
        "after_epoch 0 False",
        *(step * 2),
        "after_epoch 1 False",
        "finish False",
    ]


def test_a_function_on_images_is_a_defense() -> None:
    seen: list[float] = []

    def dark(images: Tensor) -> Tensor:
        return images * 0

    train_victim(
        two_task_set(),
        model=net(),
        defense=dark,
        **{**OPTIONS, "epochs": 1, "transform": lambda x: (seen.append(float(x.max())), x)[1]},
    )
    assert set(seen) == {0.0}


def test_the_schedule_decides_the_learning_rate_of_each_step() -> None:
    asked: list[float] = []

    def none_until_the_end(done: float) -> float:
        asked.append(done)
        return float(done > 0.95)

    model = net()
    victim = train_victim(two_task_set(), model=model, schedule=none_until_the_end, **{**OPTIONS, "epochs": 2})
    # Before them it was looked at as a whole.
    assert asked[-6:] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), victim.parameters(), strict=True))


def test_a_smaller_share_of_the_learning_rate_moves_the_model_less() -> None:
    model = net()

    def distance(share: float) -> float:
        victim = train_victim(two_task_set(), model=model, schedule=lambda _: share, **{**OPTIONS, "epochs": 1})
        pairs = zip(model.parameters(), victim.parameters(), strict=True)
        return float(sum((one - other).detach().square().sum() for one, other in pairs))

    assert 0 < distance(0.01) < 0.01 * distance(1.0)


def test_the_papers_schedule() -> None:
    assert [paper_schedule(epoch / 60) for epoch in (0, 35, 36, 47, 48, 59)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_papers_schedule_for_label_maps() -> None:
    assert [dense_paper_schedule(epoch / 200) for epoch in (0, 99, 100, 199)] == pytest.approx([1, 1, 0.1, 0.1])


def test_the_parameters_of_a_weighting_are_trained() -> None:
    needs("torchjd", extra="evaluation")
    weighting = UW()
    train_victim(two_task_set(), model=net(), weighting=weighting, **{**OPTIONS, "epochs": 1})
    assert all(bool((parameter != 0).any()) for parameter in weighting.parameters())


def test_after_epoch_sees_the_model_in_eval_mode() -> None:
    seen: list[tuple[int, bool]] = []
    train_victim(
        two_task_set(),
        model=net(),
        after_epoch=lambda epoch, module: seen.append((epoch, module.training)),
        **{**OPTIONS, "epochs": 3},
    )
    assert seen == [(0, False), (1, False), (2, False)]


def test_an_architecture_is_told_the_epoch() -> None:
    told: list[tuple[int, int]] = []

    class Told(nn.Linear):
        def set_epoch(self, epoch: int, epochs: int) -> None:
            told.append((epoch, epochs))

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.flatten(1))

    def make(_: dict[str, Any]) -> nn.Module:
        return Told(64, 2)

    dataset = TensorDataset(torch.rand(4, 1, 8, 8), torch.arange(4) % 2)
    train_victim(dataset, model=make, **{**OPTIONS, "tasks": {"a": 2}, "epochs": 2})
    assert told == [(0, 2), (1, 2)]
