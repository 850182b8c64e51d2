"""Training victims: every form of model, by the seed, and nothing changed behind the caller's back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mtlue
from mtlue.defenses import Defense
from mtlue.evaluation import evaluate, random_crop, random_crop_and_flip, train_victim
from small_victims import OPTIONS, TASKS, net, two_task_set


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
