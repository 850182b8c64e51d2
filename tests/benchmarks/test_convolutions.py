"""Convolutions in bfloat16: some random ones agree with float32, and a wrong one is found."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

import convolutions


def test_random_convolutions_agree_with_float32() -> None:
    torch.manual_seed(0)
    chance = random.Random(0)
    found = [convolutions.disagreements(convolutions.random_case(chance)) for _ in range(100)]
    made = [each for each in found if each is not None]
    assert not [wrong for _, wrong in made if wrong]
    assert {dtype for dtype, _ in made} == {torch.float32, torch.bfloat16}


def test_a_wrong_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = {
        "kind": "convolution", "batch_size": 2, "channels": [3, 4], "groups": 1, "size": [8, 8], "kernel": [3, 3],
        "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "channels_last": False, "bias": True,
    }  # fmt: skip
    assert convolutions.disagreements(case) == (torch.bfloat16, [])
    right = torch.conv2d

    def wrong(images: Tensor, *others: Any, **settings: Any) -> Tensor:
        answer = right(images, *others, **settings)
        return answer if answer.dtype == torch.float32 else answer * torch.nan

    monkeypatch.setitem(convolutions.FUNCTIONS, "convolution", (wrong, wrong))
    names = ["result", "gradient of the images", "gradient of the weights"]
    assert convolutions.disagreements(case) == (torch.bfloat16, names)
