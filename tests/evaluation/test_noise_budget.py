"""How much noise an audit's control gets."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

from mtlue.baselines import random_noise
from mtlue.evaluation._noise_budget import noise_budget

CLEAN = TensorDataset(torch.full((8, 1, 4, 4), 100, dtype=torch.uint8), torch.arange(8) % 2)


def moved(levels: torch.Tensor) -> TensorDataset:
    return TensorDataset((CLEAN.tensors[0].int() + levels).byte(), CLEAN.tensors[1])


def test_a_set_that_uses_its_budget_everywhere_gets_all_of_it() -> None:
    assert noise_budget(random_noise(CLEAN, tasks={"a": 2}), CLEAN, 8 / 255) == 8 / 255


def test_peaks_do_not_count() -> None:
    peaked = torch.zeros(1, 4, 4, dtype=torch.int)
    peaked[0, 0, 0] = 40
    # One of sixteen pixels: a root mean square of 10.
    assert noise_budget(moved(peaked), CLEAN, 40 / 255) == pytest.approx(10 / 255)


def test_sets_that_do_not_belong_together_are_told() -> None:
    with pytest.raises(ValueError, match="clean: image 0 differs from the protected one by more than epsilon = 8/255"):
        noise_budget(moved(torch.full((1, 4, 4), 20)), CLEAN, 8 / 255)


def test_samples_that_were_left_alone_do_not_count() -> None:
    levels = torch.zeros(8, 1, 4, 4, dtype=torch.int)
    levels[3] = 8
    assert noise_budget(moved(levels), CLEAN, 8 / 255) == 8 / 255
    assert noise_budget(CLEAN, CLEAN, 8 / 255) == 8 / 255


def test_augmentation_is_no_perturbation() -> None:
    protected = random_noise(CLEAN, tasks={"a": 2}).with_transform(torch.zeros_like)
    assert noise_budget(protected, CLEAN, 8 / 255) == 8 / 255
