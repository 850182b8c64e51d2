"""Training victims: with every hook of a defence, every form of model, and nothing changed behind the caller's back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mtlue
from mtlue.defenses import Defense
from mtlue.evaluation import (
    UW,
    Weighting,
    dense_paper_schedule,
    evaluate,
    paper_schedule,
    random_crop,
    random_crop_and_flip,
    train_victim,
)

TASKS = {"side": 2, "shade": 3}


def two_task_set(count: int = 48) -> TensorDataset:
    """Images whose brighter half and whose brightness are the labels."""
    random = torch.Generator().manual_seed(0)
    side, shade = torch.randint(2, (count,), generator=random), torch.randint(3, (count,), generator=random)
    images = torch.rand(count, 1, 8, 8, generator=random) * 0.1
    images[torch.arange(count), :, :, :] += 0.2 * shade.reshape(-1, 1, 1, 1)
    images[side == 0, :, :4] += 0.3
    images[side == 1, :, 4:] += 0.3
    return TensorDataset(images, torch.stack([side, shade], dim=1))


def net(tasks: dict[str, Any] | None = None) -> nn.Module:
    """A small network that answers all tasks in one list."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU())
            self.heads = nn.ModuleList(nn.Linear(32, classes) for classes in (2, 3))

        def forward(self, images: Tensor) -> list[Tensor]:
            hidden = self.body(images)
            return [head(hidden) for head in self.heads]

    return Heads()


def plain(images: Tensor) -> Tensor:
    """No augmentation."""
    return images


OPTIONS: dict[str, Any] = {
    "tasks": TASKS,
    "transform": plain,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "progress": False,
    "precision": torch.float32,
}


def states(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(one, other) for one, other in zip(states(first), states(second), strict=True))


def test_a_victim_learns_what_can_be_learned() -> None:
    dataset = two_task_set()
    victim = train_victim(dataset, model=net(), **OPTIONS)
    found = evaluate(victim, dataset, tasks=TASKS)
    assert min(each["accuracy"] for each in found.values()) > 0.95


def test_the_callers_model_is_copied_and_the_weights_it_has_are_the_start() -> None:
    model = net()
    before = states(model)
    seen: list[Tensor] = []

    class Look(Defense):
        def losses(self, victim: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.extend(states(victim.module) if not seen else [])
            return super().losses(victim, images, targets)

    victim = train_victim(two_task_set(), model=model, defense=Look(), **OPTIONS)
    assert all(torch.equal(one, other) for one, other in zip(before, states(model), strict=True))
    assert torch.equal(seen[0], before[0])
    assert not same(victim, model)


def test_equal_seeds_give_equal_victims_and_others_do_not() -> None:
    dataset = two_task_set()
    made = [
        train_victim(dataset, **{**OPTIONS, "model": net, "transform": random_crop, "epochs": 2, "seed": seed})
        for seed in (1, 1, 2)
    ]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_the_global_random_numbers_stay() -> None:
    before = torch.get_rng_state()
    train_victim(two_task_set(), **{**OPTIONS, "model": net, "epochs": 1, "transform": random_crop})
    assert torch.equal(before, torch.get_rng_state())


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

    def none_at_all(done: float) -> float:
        asked.append(done)
        return 0.0

    model = net()
    victim = train_victim(two_task_set(), model=model, schedule=none_at_all, **{**OPTIONS, "epochs": 2})
    assert asked == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), victim.parameters(), strict=True))


def test_a_smaller_share_of_the_learning_rate_moves_the_model_less() -> None:
    model = net()

    def distance(share: float) -> float:
        victim = train_victim(two_task_set(), model=model, schedule=lambda _: share, **{**OPTIONS, "epochs": 1})
        pairs = zip(model.parameters(), victim.parameters(), strict=True)
        return float(sum((one - other).detach().square().sum() for one, other in pairs))

    assert 0 < distance(0.01) < 0.01 * distance(1.0)


def test_a_victim_that_diverges_is_no_protection() -> None:
    with pytest.raises(RuntimeError, match="the victim's loss is nan after epoch 1"):
        train_victim(two_task_set(), model=net(), defense=lambda images: images / 0 * 0, **OPTIONS)


def test_the_papers_schedule() -> None:
    assert [paper_schedule(epoch / 60) for epoch in (0, 35, 36, 47, 48, 59)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_papers_schedule_for_label_maps() -> None:
    assert [dense_paper_schedule(epoch / 200) for epoch in (0, 99, 100, 199)] == pytest.approx([1, 1, 0.1, 0.1])


def test_the_parameters_of_a_weighting_are_trained() -> None:
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


def test_a_backbone_by_its_name() -> None:
    dataset = TensorDataset(torch.rand(4, 1, 32, 32), torch.arange(4) % 2)
    victim = train_victim(dataset, tasks={"a": 2}, model="resnet18", epochs=1, batch_size=4, progress=False)
    assert victim(torch.rand(2, 1, 32, 32))["a"].shape == (2, 2)


def test_images_of_different_sizes_are_resized() -> None:
    dataset = [(torch.rand(1, side, side), index % 2) for index, side in enumerate((8, 12, 8, 16))]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    train_victim(dataset, model=model, image_size=(8, 8), **{**OPTIONS, "tasks": {"a": 2}, "epochs": 1})  # type: ignore[arg-type]


def test_crops_and_flips_keep_shape_and_content() -> None:
    images = torch.rand(64, 1, 8, 8) + 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moved = random_crop_and_flip(images)
    assert moved.shape == images.shape
    centred = [index for index in range(64) if torch.equal(moved[index], images[index])]
    mirrored = [index for index in range(64) if torch.equal(moved[index], images[index].flip(-1))]
    assert centred
    assert mirrored
    assert not set(centred) & set(mirrored)


class Picky(nn.Module):
    """A model that is made of a width, and not of tasks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4)


def test_an_error_of_a_function_that_makes_models_stays_its_own() -> None:
    def make(tasks: dict[str, Any]) -> nn.Module:
        raise KeyError("shape")

    with pytest.raises(KeyError, match="shape"):
        train_victim(two_task_set(), **{**OPTIONS, "model": make})


def test_images_of_different_sizes_want_a_size() -> None:
    dataset = [(torch.rand(1, 8 + index % 3, 8), torch.tensor([0, index % 3])) for index in range(6)]
    with pytest.raises(ValueError, match=r"^image_size: expected one, such as image_size=\(64, 64\): the images have 3 sizes$"):
        train_victim(dataset, model=net(), **OPTIONS)  # type: ignore[arg-type]  # a list is a data set too


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: expected a module, the name of a backbone or a function of tasks, got 3"),
        ({"model": lambda tasks: 3}, TypeError, "model: the function returned int"),
        ({"weighting": "uniform"}, TypeError, "weighting: expected one such as evaluation.UW"),
        ({"defense": 5}, TypeError, "defense: expected a Defense or a function on images, got 5"),
        ({"transform": 5}, TypeError, "transform: expected a callable"),
        ({"schedule": 5}, TypeError, "schedule: expected a callable, got 5"),
        ({"after_epoch": 5}, TypeError, "after_epoch: expected a callable, got 5"),
        ({"image_size": (8, 8, 8)}, TypeError, "image_size: expected an int"),
        (
            {"model": Picky},
            TypeError,
            r"^model: calling Picky with the tasks failed: .*; a module that is made already is given as Picky\(\.\.\.\)$",
        ),
        ({"model": nn.Flatten()}, ValueError, "model: expected a model with parameters"),
        ({"tasks": {"side": 1, "shade": 3}}, ValueError, r"task 'side': label 1 is out of range.*sample"),
        ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a number > 0"),
        ({"progress": 3}, TypeError, "progress"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 4))}, ValueError, "model output"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_victim(two_task_set(), **{**OPTIONS, "model": net(), **wrong})


def test_a_set_without_length_is_refused() -> None:
    with pytest.raises(TypeError, match="no length"):
        train_victim(iter([]), model=net(), **OPTIONS)  # type: ignore[arg-type]


def test_the_base_of_weightings_is_abstract() -> None:
    with pytest.raises(TypeError):
        Weighting()  # type: ignore[abstract]
