"""JPEG as a layer: what the encoder does to an image, with a gradient that tells what survives it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 99, 47, 66, 99, 99)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg_layer(images: Tensor, quality: int = 10) -> Tensor:
    """Images (B, C, H, W) in [0, 1] as a JPEG file of a quality would hold them.

    Colours are halved in size, as encoders do. Forward is the real rounding; backward is that of round(x) + (x - round(x))^3
    (Shin and Song, 2017): little where a coefficient cannot reach the next step.
    """
    height, width = images.shape[-2:]
    images = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    if images.shape[1] == 1:
        decoded = _blocks(images - 128, _table(quality, _LUMA, images.device)) + 128
    else:
        ycc = torch.einsum("kc,bchw->bkhw", images.new_tensor(_TO_YCC), images)
        luma = _blocks(ycc[:, :1] - 128, _table(quality, _LUMA, images.device)) + 128
        chroma = _blocks(F.avg_pool2d(ycc[:, 1:], 2), _table(quality, _chroma(), images.device))
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
        decoded = torch.einsum("kc,bchw->bkhw", images.new_tensor(_TO_RGB), torch.cat([luma, chroma], dim=1))
    return (decoded[..., :height, :width] / 255).clamp(0, 1)


def _chroma() -> tuple[int, ...]:
    return tuple(_CHROMA[4 * row + column] if row < 4 and column < 4 else 99 for row in range(8) for column in range(8))


def _table(quality: int, table: tuple[int, ...], device: torch.device) -> Tensor:
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table, device=device) * scale + 50) / 100).floor().clamp(1, 255).reshape(8, 8)


def _blocks(channels: Tensor, table: Tensor) -> Tensor:
    batch, count, height, width = channels.shape
    frequency, place = torch.arange(8.0).unsqueeze(1), torch.arange(8.0)
    cosines = torch.cos((2 * place + 1) * frequency * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    cosines = cosines.to(channels.device)
    blocks = channels.reshape(batch, count, height // 8, 8, width // 8, 8)
    scaled = torch.einsum("ui,bchiwj,vj->bchuwv", cosines, blocks, cosines) / table.unsqueeze(1)
    whole = scaled.detach().round()
    soft = whole + (scaled - whole) ** 3
    rounded = (whole - soft).detach() + soft
    back = torch.einsum("ui,bchuwv,vj->bchiwj", cosines, rounded * table.unsqueeze(1), cosines)
    return back.reshape(batch, count, height, width)
