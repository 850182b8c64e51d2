"""What stands for the arguments of `fit` and `protect` that are None."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mtlue
from mtlue import evaluation
from mtlue._fit import FitPlan, Recipe, recipe_for
from mtlue._runtime import Compute

CPU, CUDA = Compute(torch.device("cpu")), Compute(torch.device("cuda"))
TASKS = {"a": mtlue.Classification(2)}


class Own(mtlue.RestartedEM):
    """What derives from a loss is trained as it is."""


@pytest.mark.parametrize("loss", [mtlue.EM(), mtlue.TAP(), mtlue.SEP([torch.nn.Linear(1, 1)])], ids=repr)
def test_the_papers_losses_have_the_papers_settings(loss: Any) -> None:
    assert recipe_for(loss) == Recipe()
    for compute in (CPU, CUDA):
        assert recipe_for(loss).plan([0] * 10, compute) == FitPlan()
    assert recipe_for(loss).generator(TASKS, (3, 64, 64), epsilon=8 / 255, device=CPU.device).image_shape == (3, 64, 64)


@pytest.mark.parametrize(("length", "epochs"), [(64, 1000), (4000, 16), (64_000, 1), (10**6, 1)])
def test_networks_that_start_anew_see_as_many_images_whatever_the_size_of_the_set(length: int, epochs: int) -> None:
    plan = recipe_for(Own()).plan([0] * length, CPU)
    assert (plan.epochs, plan.batch_size, plan.learning_rate, plan.schedule) == (epochs, 64, 3e-3, evaluation.one_cycle)
    assert recipe_for(Own()).plan([0] * length, CUDA).epochs == max(1, round(4 * 64_000 / length))


def test_what_networks_of_a_loss_take_beside_the_generator() -> None:
    for loss, passes, surrogate in ((mtlue.RestartedEM(count=3), 6, 0), (mtlue.RestartedEM(misleading=0.5), 3, 4)):
        recipe = recipe_for(loss)
        assert (recipe.network_passes, recipe.surrogate_epochs(20)) == (passes, surrogate)
    assert recipe_for(mtlue.RestartedEM(misleading=1.0)).surrogate_epochs(1) == 1
    assert (Recipe().network_passes, Recipe().surrogate_epochs(7)) == (0, 7)


def test_maps_take_smaller_batches_and_a_generator_of_their_size() -> None:
    maps = {**TASKS, "lit": mtlue.Segmentation(2)}
    for loss, share in ((Own(), 0), (Own(misleading=1.0), 3)):
        recipe = recipe_for(loss, maps)
        plan = recipe.plan([0] * 1000, CPU)
        assert (plan.epochs, plan.batch_size, plan.learning_rate, plan.schedule) == (20, 16, 3e-3, evaluation.paper_schedule)
        assert recipe.surrogate_epochs(20) == share
        assert recipe.network_passes == recipe_for(loss).network_passes
        assert recipe.generator(maps, (3, 64, 48), epsilon=4 / 255, device=CPU.device).image_shape == (3, 64, 48)
    assert recipe_for(mtlue.TAP(), maps) == Recipe()


def test_a_new_surrogate_may_have_a_schedule_of_its_own() -> None:
    plan = FitPlan(epochs=20, batch_size=3)
    assert Recipe().surrogate_plan(plan) == plan
    brief = Recipe(surrogate_share=0.15, surrogate_schedule=evaluation.one_cycle).surrogate_plan(plan)
    assert brief == FitPlan(epochs=3, batch_size=3, schedule=evaluation.one_cycle)


def test_what_is_given_counts() -> None:
    given = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "schedule": evaluation.paper_schedule, "lambda_intra": 2.0}
    assert recipe_for(Own()).plan([0] * 10, CPU, **given) == FitPlan(**given)


@pytest.mark.parametrize(("side", "half"), [(15, 15), (16, 8), (33, 17)])
def test_a_generator_of_half_the_size_where_images_are_not_tiny(side: int, half: int) -> None:
    made = recipe_for(Own()).generator(TASKS, (3, side, 40), epsilon=4 / 255, device=CPU.device)
    assert made.image_shape == (3, half, 40 if half == side else 20)
    assert (made.width, made.epsilon) == (16, 4 / 255)


def test_protect_alone_takes_networks_that_start_anew(canvases: Any) -> None:
    safe = mtlue.protect(canvases, epochs=2, progress=False)
    assert safe.generator is not None
    assert (safe.generator.image_shape, safe.generator.width) == ((1, 8, 8), 16)
    assert len(safe.history or ()) == 2
