"""The encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtlue._generator.encoder import Encoder


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (1, 3)])
def test_the_shortcut_of_the_third_block_is_a_convolution_with_a_stride_of_two(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    projection = Encoder(3, width=4)[3].downsample[0]
    strided = nn.Conv2d(4, 8, 1, stride=2, bias=False)
    strided.load_state_dict(projection.state_dict())
    features = torch.randn(2, 4, *size)
    torch.testing.assert_close(projection(features), strided(features))


def test_training_narrow_encoders_in_the_channels_last_layout_stays_within_its_memory() -> None:
    """A stride in the shortcut lets some versions of torch crash here, most times."""
    encoder = Encoder(3, width=4).to(memory_format=torch.channels_last)
    for _ in range(10):
        encoder(torch.rand(9, 3, 70, 70)).square().mean().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in encoder.parameters() if parameter.grad is not None)
