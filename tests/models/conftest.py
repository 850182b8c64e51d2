"""Fixtures of the tests of models."""

from __future__ import annotations

import pytest
from torch import Tensor

from narrow_models import NarrowResNet, drawn_images, drawn_resnet


@pytest.fixture
def resnet() -> NarrowResNet:
    return drawn_resnet()


@pytest.fixture
def images() -> Tensor:
    return drawn_images()
