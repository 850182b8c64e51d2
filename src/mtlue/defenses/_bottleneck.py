"""A small variational autoencoder with a second decoder that knows the labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._data import Batch
from mtlue._generator import ClassEmbeddingBank
from mtlue._tasks import CheckedTargets, Task

_HALVINGS, _LATENT, _EMBEDDING = 3, 16, 16


class Bottleneck(nn.Module):
    """Rebuilds images from short codes, and explains what is missed from the codes and the labels.

    Args:
        tasks: Tasks by name. Those whose labels are maps are ignored.
        channels: Channels of the images.
        size: Height and width of the images.
        width: Channels of the first convolution.
    """

    def __init__(self, tasks: dict[str, Task], channels: int, size: tuple[int, int], *, width: int) -> None:
        super().__init__()
        sizes = [size]
        for _ in range(_HALVINGS):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        widths = [width, 2 * width, 4 * width]
        self.embeddings = ClassEmbeddingBank(tasks, channels=_EMBEDDING, size=sizes[-1])
        self.encoder = nn.Sequential(
            *(_convolution(before, after, stride=2) for before, after in zip([channels, *widths], widths, strict=False)),
            nn.Conv2d(widths[-1], 2 * _LATENT, 1),
        )
        self.image_decoder = _Decoder(_LATENT, channels, widths, sizes)
        self.rest_decoder = _Decoder(_LATENT + _EMBEDDING * len(self.embeddings), channels, widths, sizes)
        # Twice as fast on a CPU.
        for part in (self.encoder, self.image_decoder, self.rest_decoder):
            part.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Rebuild images (B, C, H, W) from the means of their codes."""
        return self.rebuild(self.encode(images)[0])

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances of the codes of images in [0, 1]."""
        mean, log_variance = self.encoder(2.0 * images - 1.0).chunk(2, dim=1)
        return mean, log_variance.clamp(-10.0, 4.0)

    def rebuild(self, codes: Tensor) -> Tensor:
        """Rebuild images from codes."""
        images: Tensor = 0.5 + self.image_decoder(codes)
        return images

    def rest(self, codes: Tensor, targets: CheckedTargets) -> Tensor:
        """Return what labels and codes say about the part of images that is missed."""
        if len(self.embeddings):
            codes = torch.cat([codes, self.embeddings(targets)], dim=1)
        rest: Tensor = self.rest_decoder(codes)
        return rest

    @torch.no_grad()
    def cleared(self, batch: Batch) -> Tensor:
        """Return images without what the second decoder takes for their perturbation."""
        return (batch.images - self.rest(self.encode(batch.images)[0], batch.targets)).clamp(0.0, 1.0)

    def loss(self, images: Tensor, wanted: Tensor, targets: CheckedTargets, *, distortion: float) -> Tensor:
        """Return the cost of the code, in nats for each value, and what both decoders miss.

        Args:
            images: The images to encode.
            wanted: The images to rebuild.
            targets: Labels of the images.
            distortion: Standard deviation that a rebuilt image may miss.
        """
        mean, log_variance = self.encode(images)
        codes = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        rate = (mean.square() + log_variance.exp() - 1.0 - log_variance).sum() / (2 * images.numel())
        rebuilt = self.rebuild(codes)
        # The second decoder changes neither the code nor the rebuilt image. It explains the rest.
        missed = F.mse_loss(self.rest(codes.detach(), targets), wanted - rebuilt.detach())
        return rate + (F.mse_loss(rebuilt, wanted) + missed) / (2 * distortion**2)


class _Decoder(nn.Module):
    def __init__(self, channels: int, out: int, widths: list[int], sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        narrowing = widths[::-1]
        self.sizes = sizes[-2::-1]
        self.blocks = nn.ModuleList(
            _convolution(before, after) for before, after in zip([channels, *narrowing], narrowing, strict=False)
        )
        self.out = nn.Conv2d(narrowing[-1], out, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        features = codes
        for block, size in zip(self.blocks, self.sizes, strict=True):
            features = F.interpolate(block(features), size=size, mode="nearest")
        decoded: Tensor = self.out(features)
        return decoded


def _convolution(channels: int, out: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )
