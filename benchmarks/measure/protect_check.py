"""The check of `mtlue.protect`, of a generator that was trained before."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

import mtlue
from measure.making import Labelled
from measure.sets import Data
from mtlue._check import NETWORKS, CheckPlan
from mtlue._data import Samples, inspect_dataset
from mtlue._fit import recipe_for
from mtlue._protect import Making, default_loss
from mtlue._runtime import Compute

#: What a check is known by: another size of it is another cell.
CHECKED: dict[str, Any] = {
    "networks": NETWORKS,
    **asdict(CheckPlan.within(length=10**6, image_bytes=3 * 32 * 32, has_maps=False, views=None)),
}


def checked(generator: mtlue.UEGenerator, data: Data, *, seed: int, device: str) -> mtlue.Check:
    """What the check says at the end of ``mtlue.protect(dataset)``, if this is the generator that it has trained."""
    dataset = Labelled(data.train.pixels, data)
    compute = Compute.checked(device=device, seed=seed)
    recipe = recipe_for(default_loss())
    samples, inspection = Samples(dataset, dataset.resolved), inspect_dataset(dataset, dataset.resolved)
    everything = torch.ones(len(dataset), dtype=torch.bool)
    making = Making(samples, inspection, everything, list(dataset.resolved), compute, recipe.network_passes)
    # Of the training only its length counts.
    history: Any = range(recipe.plan(dataset, compute).epochs)
    return making.check(generator, history, None)
