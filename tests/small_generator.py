"""A small generator for every kind of task, and a batch for it."""

from __future__ import annotations

import torch
from torch import Tensor

import mtlue
from literal import random_targets

MIXED = {"age": 5, "depth": mtlue.Depth(), "gender": 2, "parts": mtlue.Segmentation(3), "up": mtlue.SurfaceNormals()}


def make(shape: tuple[int, int, int] = (3, 7, 6), **options: object) -> mtlue.UEGenerator:
    torch.manual_seed(0)
    return mtlue.UEGenerator(MIXED, shape, width=4, **options).eval()  # type: ignore[arg-type]


def batch_for(generator: mtlue.UEGenerator, size: tuple[int, int], batch: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    images = torch.rand(batch, generator.image_shape[0], *size, generator=torch.Generator().manual_seed(1))
    return images, random_targets(generator.tasks, batch, size, seed=2)
