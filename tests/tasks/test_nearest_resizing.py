"""Resizing of label maps to the nearest pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks.maps import resize_nearest


def test_nearest_resizing_picks_what_interpolation_in_float64_picks() -> None:
    sides = [*range(1, 33), 47, 64, 97, 288, 384, 427, 480, 640]
    for side in sides:
        # Rows and columns tell where a pixel comes from.
        maps = (1000 * torch.arange(side).unsqueeze(1) + torch.arange(side)).reshape(1, 1, side, side)
        for wanted in sides:
            size = (wanted, 5) if wanted % 2 else (5, wanted)
            expected = F.interpolate(maps.double(), size=size, mode="nearest-exact").long()
            assert torch.equal(resize_nearest(maps, size), expected), (side, wanted)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32, torch.float64], ids=str)
def test_nearest_resizing_needs_no_float64_of_the_device(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.arange(6).reshape(1, 1, 2, 3).to(dtype)

    def missing(self: Tensor) -> Tensor:
        raise TypeError("this device has no float64")

    monkeypatch.setattr(Tensor, "double", missing)
    resized = resize_nearest(maps, (4, 3))
    assert resized.dtype == dtype
    assert torch.equal(resized, maps[:, :, [0, 0, 1, 1]])
    assert resize_nearest(maps.to("meta"), (4, 7)).shape == (1, 1, 4, 7)


def test_nearest_resizing_keeps_labels_that_no_float_holds() -> None:
    maps = torch.tensor([[[[2**60 + 1, 2**60 + 3]]]])
    assert torch.equal(resize_nearest(maps, (2, 2)), maps.expand(1, 1, 2, 2))
