"""The embedding of a label map."""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor, nn

from mtlue._generator.encoder import Encoder
from mtlue._runtime import joint_sum
from mtlue._tasks import Task


class DenseEmbedder(nn.Module):
    """Turns a label map into an embedding, as a table does for a class (section 4.4).

    It has the structure of the generator's encoder (appendix A.2).

    ``mean_embedding`` stands in for a missing label, and for all labels of an unprotected task, as the mean of a table does for
    classes. It is the running mean of the embeddings in training, over samples and pixels, with one number for each channel.
    The decoder takes it like any other embedding. It is saved with the weights, and zero before training.

    Args:
        in_channels: Channels of the label map: 1 for segmentation and depth, 3 for surface normals.
        width: Channels of the first convolutions. The embedding has twice as many.

    Example:
        >>> import torch, mtlue
        >>> mtlue.DenseEmbedder(3, width=8)(torch.zeros(2, 3, 9, 12)).shape
        torch.Size([2, 16, 5, 6])
    """

    mean_embedding: Tensor
    mean_updates: Tensor

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        super().__init__()
        self.in_channels, self.width = in_channels, width
        self.encoder = Encoder(in_channels, width=width)
        self.register_buffer("mean_embedding", torch.zeros(2 * width, 1, 1))
        self.register_buffer("mean_updates", torch.tensor(0))

    def forward(self, label_map: Tensor) -> Tensor:
        """Return the embedding of label maps (B, in_channels, H, W), shape (B, 2 * width, ceil(H/2), ceil(W/2))."""
        embedding: Tensor = self.encoder(label_map)
        if self.training:
            self._update_mean(label_map, embedding)
        return embedding

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}, width={self.width}"

    @torch.no_grad()
    def _update_mean(self, label_map: Tensor, embedding: Tensor) -> None:
        # Without waiting for the device: a batch without any label has the weight 0.
        labelled = (label_map != 0).flatten(1).any(dim=1).float()
        by_sample = reduce(embedding.float(), "b c h w -> b c", "mean")
        sums = joint_sum(torch.cat([(labelled.unsqueeze(1) * by_sample).sum(dim=0), labelled.sum().unsqueeze(0)]))
        mean, known = sums[:-1] / sums[-1].clamp_min(1.0), sums[-1] > 0
        self.mean_updates.add_(known)
        # The plain mean of the first ten batches, so that the initial zeros do not count.
        weight = known / self.mean_updates.clamp(1, 10)
        self.mean_embedding.lerp_(mean.reshape_as(self.mean_embedding), weight)


def embed_labels(embedder: DenseEmbedder, task: Task, target: Tensor, *, size: tuple[int, int], protected: bool) -> Tensor:
    """Return embeddings for a batch of labels. Missing labels, and all labels of an unprotected task, get the mean."""
    if protected:
        embedding: Tensor = embedder(task.label_map(task.resize_target(target, size)))
    # A copy: the running mean changes in place, which must not affect a backward pass that is still to come.
    mean = embedder.mean_embedding.clone()
    if not protected:
        return mean.expand(len(target), -1, (size[0] + 1) // 2, (size[1] + 1) // 2)
    return torch.where(task.missing(target).reshape(-1, 1, 1, 1), mean.to(embedding.dtype), embedding)
