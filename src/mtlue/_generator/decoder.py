"""Turn features and embeddings into an unbounded perturbation without building their concatenation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Decoder(nn.Module):
    """Four transposed convolutions; the first one doubles the size (appendix A.2).

    The decoder computes D([z, e^1, …, e^K]). Its first layer is linear, so its value on the concatenation is the sum of its
    values on the parts, each with its own slice of the weights. A table of embeddings goes through its slice once (`spread`),
    however many samples use it, and a product with one-hot rows selects from the results. So the cost of a step hardly grows
    with the number of tasks, and no tensor has (128 + 16 K) channels.

    Args:
        part_channels: Channels of each part of the concatenation, in order.
        out_channels: Channels of the image.
        width: Channels after the first layer.
    """

    def __init__(self, part_channels: Sequence[int], out_channels: int, *, width: int = 64) -> None:
        super().__init__()
        self.part_channels = list(part_channels)
        narrow = max(width // 2, 1)
        self.expand = nn.ConvTranspose2d(sum(self.part_channels), width, 4, stride=2, padding=1)
        self.refine = nn.Sequential(
            nn.ConvTranspose2d(width, width, 3, padding=1),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, narrow, 3, padding=1),
            nn.InstanceNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(narrow, out_channels, 3, padding=1),
        )

    def spread(self, tables: Sequence[Mapping[int, Tensor]]) -> Tensor:
        """Apply the first layer, without its bias, to each row of some tables.

        Args:
            tables: Table (C, channels, h, w) of a part, by its position. Parts in one entry give the sum of their values.

        Returns:
            Shape (sum of all C, 2h * 2w * width), in the order of the tables.
        """
        weights = self.expand.weight.split(self.part_channels)
        values = [
            _expand(_joined(list(table.values()), dim=1), _joined([weights[part] for part in table], dim=0)) for table in tables
        ]
        return _flat(torch.cat(values))

    def forward(
        self,
        parts: Mapping[int, Tensor],
        *,
        size: tuple[int, int],
        spread: Tensor | None = None,
        selection: Tensor | None = None,
    ) -> Tensor:
        """Return the unbounded perturbation, shape (B, out_channels, *size).

        Args:
            parts: Parts that differ from sample to sample, each (B, channels, h, w), by position.
            size: Height and width of the image: 2h or 2h - 1, and 2w or 2w - 1.
            spread: The result of `spread` for all other parts.
            selection: Weight of each row of ``spread`` in each sample, (B, rows).

        Raises:
            ValueError: ``parts`` is empty.
        """
        weights = self.expand.weight.split(self.part_channels)
        bias = self.expand.bias
        total: Tensor | None = None
        for position, part in parts.items():
            value = _expand(part, weights[position], bias)
            total, bias = (value if total is None else total + value), None
        if total is None:
            raise ValueError("parts: expected at least one")
        if spread is not None and selection is not None:
            selection = selection.to(spread.dtype)
            flat = torch.addmm(_flat(total.to(spread.dtype)), selection, spread)
            total = rearrange(flat, "b (h w c) -> b c h w", h=total.shape[-2], w=total.shape[-1])
        perturbation: Tensor = self.refine(total)
        # An odd size was rounded up by the encoder.
        return perturbation[..., : size[0], : size[1]]


def _expand(part: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv_transpose2d(part, weight, bias, stride=2, padding=1)


def _joined(parts: Sequence[Tensor], *, dim: int) -> Tensor:
    # Of many tables most come alone, and need no copy.
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _flat(values: Tensor) -> Tensor:
    # In this order channels-last values stay where they are.
    return rearrange(values, "b c h w -> b (h w c)")
