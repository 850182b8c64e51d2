"""How answers are measured, and how large a check is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._check import CheckData, CheckPlan, check_size, run_check
from mtlue._check.cost import forward_cost
from mtlue._check.skill import margin_of, skill_of, without_rates
from mtlue._data import Batch
from mtlue._runtime import Compute
from mtlue._tasks import CheckedTargets

HERE = Compute(torch.device("cpu"))
TWO = mtlue.Classification(2)


def test_the_rates_of_the_labels_are_taken_out() -> None:
    trained = torch.tensor([0] * 9 + [1] + [-1] * 5)
    # Nothing but the rates: every class is as likely as another afterwards.
    answer = torch.tensor([[0.9, 0.1]]).log()
    assert torch.allclose(*without_rates(TWO, answer, trained)[0])
    depth = torch.rand(2, 1, 4, 4)
    assert without_rates(mtlue.Depth(), depth, depth) is depth


def test_skill_of_classes_is_that_of_all_batches_together() -> None:
    right = torch.eye(2)
    pairs = [(right[[0, 0]], torch.tensor([0, 0])), (right[[1, 0]], torch.tensor([1, 1]))]
    assert skill_of(TWO, pairs) == pytest.approx(0.5)  # recalls 1 and 1/2


def test_skill_of_maps_counts_batches_by_their_samples() -> None:
    known, unknown = torch.ones(3, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    known[:, :, 0] = 3.0
    assert skill_of(mtlue.Depth(), [(known, known), (unknown + 9, unknown)]) == pytest.approx(1.0)
    halfway = torch.full_like(known, 2.0)
    assert skill_of(mtlue.Depth(), [(known, known), (halfway, known)]) == pytest.approx(0.5)
    assert skill_of(mtlue.Depth(), [(unknown, unknown)]) == 0.0


def test_luck_is_large_where_labels_are_few() -> None:
    random = torch.Generator().manual_seed(0)
    output = torch.randn(400, 2, generator=random)
    many, few = torch.arange(400) % 2, torch.full((400,), -1)
    few[:12] = torch.arange(12) % 2
    (margin, luck), (wide, much) = (margin_of(TWO, [(output, target)], random) for target in (many, few))
    assert 0.1 <= margin < 0.25
    assert wide > 2 * margin
    assert much > 2 * luck > 0


def test_images_are_looked_at_up_to_a_side_of_224() -> None:
    assert [check_size(size) for size in [(32, 48), (224, 224), (448, 300), (1, 4000)]] == [
        (32, 48), (224, 224), (224, 150), (1, 224),
    ]  # fmt: skip


def test_the_size_of_a_check() -> None:
    small = {"image_bytes": 3 * 32 * 32, "has_maps": False}
    assert CheckPlan.within(length=10**6, views=None, **small) == CheckPlan(2400, 1000, 300, 32)
    assert CheckPlan.within(length=10**6, views=6400, **small).steps == 200
    assert CheckPlan.within(length=10**6, views=1, **small).steps == 80
    # Another share of the images is left to be tested on; few images are not learned by heart.
    assert CheckPlan.within(length=400, views=None, **small) == CheckPlan(240, 160, 90, 32)
    assert CheckPlan.within(length=10**6, image_bytes=3 * 10**6, has_maps=False, views=None).train == 89
    assert CheckPlan.within(length=10**6, image_bytes=3072, has_maps=True, views=1600).steps == 200


def test_costs_are_counted_and_not_timed() -> None:
    layer, images = torch.nn.Linear(10, 7), torch.rand(4, 10)
    assert forward_cost(lambda: layer(images), images=4) == 2 * 10 * 7


class Tally(mtlue.Task):
    """How bright an image is; measured by the loss beside that of a constant."""

    num_embeddings = 4
    output_channels = 1

    def read_target(self, label: Any) -> Tensor:
        return torch.as_tensor(label, dtype=torch.float32)

    def read_output(self, output: Tensor) -> Tensor:
        return output.reshape(len(output))

    def missing(self, target: Tensor) -> Tensor:
        return target < 0

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().mean()

    def embedding_index(self, target: Tensor) -> Tensor:
        return target.long().clamp(max=3)


class Speechless(Tally):
    """One that cannot be measured."""

    def skill(self, output: Tensor, target: Tensor) -> float:
        raise ValueError("no measure")


def shades(count: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(count, generator=random) * 3
    images = (60 * level.reshape(-1, 1, 1, 1) + 40 * torch.rand(count, 1, 8, 8, generator=random)).byte()
    return Batch(images, CheckedTargets({"tally": level, "mute": level, "dark": (level < 1.5).long()}))


TASKS: dict[str, mtlue.Task] = {"tally": Tally(), "mute": Speechless(), "dark": TWO}


def test_a_kind_of_ones_own_is_measured_or_said_to_be_unchecked() -> None:
    clean, test = shades(200, 0), shades(100, 1)
    # Other images, with a column that says the opposite of what it says in a clean one.
    misled = clean.images[torch.randperm(200, generator=torch.Generator().manual_seed(2))]
    misled[..., :2] = (220 - 60 * clean.targets["tally"]).byte().reshape(-1, 1, 1, 1)
    plan = CheckPlan(200, 100, 40, 32)
    check = run_check(
        CheckData(clean, clean.images, misled, test),
        TASKS,
        ["tally", "mute", "dark"],
        plan,
        HERE,
        transform=None,
    )
    assert check.verdict == {"tally": "protected", "dark": "protected", "mute": "cannot tell"}
    assert "no measure" in check.untold["mute"]
    # The control is the clean images themselves, and the same training of them ends the same.
    assert check.noise == {"tally": 1.0, "dark": 1.0}
    assert len(check.single_task) == 1
    again = run_check(CheckData(clean, clean.images, clean.images, test), TASKS, ["dark"], plan, HERE, transform=None)
    assert again.verdict == {"tally": "left learnable", "dark": "not protected", "mute": "cannot tell"}


def test_what_clean_images_do_not_teach_is_never_called_protected() -> None:
    clean, test = shades(200, 0), shades(100, 1)
    random = torch.Generator().manual_seed(2)
    shuffled = Batch(clean.images, CheckedTargets({"dark": clean.targets["dark"][torch.randperm(200, generator=random)]}))
    tasks = {"dark": TWO}
    plan = CheckPlan(200, 100, 80, 32)
    check = run_check(CheckData(shuffled, clean.images, clean.images, test), tasks, ["dark"], plan, HERE, transform=None)
    assert check.verdict == {"dark": "cannot tell"}
    assert check.residual_learnability == {}
