"""The embedding of a label that is a map."""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor, nn

from mtlue._generator.encoder import Encoder


class DenseEmbedder(nn.Module):
    """Maps a dense label to an embedding, in the place of a table of classes (section 4.4).

    It has the structure of the generator's encoder, as in appendix A.2.

    Args:
        in_channels: Channels of the label map: 1 for segmentation and depth, 3 for surface normals.
        width: Channels of the first convolutions; the embedding has twice as many.

    Example:
        >>> import torch, mtlue
        >>> mtlue.DenseEmbedder(3, width=8)(torch.zeros(2, 3, 9, 12)).shape
        torch.Size([2, 16, 5, 6])
    """

    mean_embedding: Tensor

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, width=width)
        # A table has its mean to stand for «no label»; an embedder keeps the running mean of what it gave in training.
        self.register_buffer("mean_embedding", torch.zeros(2 * width, 1, 1))

    def forward(self, label_map: Tensor) -> Tensor:
        """Embedding of a label map (B, in_channels, H, W), shape (B, 2 * width, ceil(H/2), ceil(W/2))."""
        embedding: Tensor = self.encoder(label_map)
        if self.training:
            with torch.no_grad():
                mean = reduce(embedding.float(), "b c h w -> c 1 1", "mean")
                self.mean_embedding.lerp_(mean, 0.1)
        return embedding
