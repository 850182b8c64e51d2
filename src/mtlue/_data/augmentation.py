"""The paper's augmentation for images without label maps (appendix A.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._runtime import sent


def random_crop(images: Tensor) -> Tensor:
    """Move each image by up to an eighth of its size, as zero padding and a random crop do.

    Use it as the ``transform`` of a victim if a mirror image has another label, as with digits.

    Args:
        images: (B, C, H, W). Gradients pass through.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> moved = evaluation.random_crop(torch.ones(5, 1, 16, 16))
        >>> bool((moved.sum(dim=(1, 2, 3)) >= 14 * 14).all())  # at most two rows and columns are lost
        True
        >>> dataset = [(torch.rand(1, 16, 16), index % 10) for index in range(20)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10))
        >>> training = {"transform": evaluation.random_crop, "epochs": 1, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks={"digit": 10}, model=net, **training)
    """
    count, channels, height, width = images.shape
    up, left = height // 8, width // 8
    padded = F.pad(images, (left, left, up, up))
    rows = torch.arange(height) + torch.randint(2 * up + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * left + 1, (count, 1))
    rows, columns = (sent(each, images.device) for each in (rows, columns))
    rows = rows.reshape(count, 1, height, 1).expand(count, channels, height, padded.shape[-1])
    return padded.gather(2, rows).gather(3, columns.reshape(count, 1, 1, width).expand(count, channels, height, width))


def random_crop_and_flip(images: Tensor) -> Tensor:
    """Apply the paper's augmentation (appendix A.2): `random_crop`, and mirror a random half of the images.

    Victims use it by default unless labels are maps. For a generator, pass it as the ``augment`` of `mtlue.fit`.

    Args:
        images: (B, C, H, W). Gradients pass through.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> evaluation.random_crop_and_flip(torch.rand(5, 3, 16, 12)).shape
        torch.Size([5, 3, 16, 12])
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"young": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> settings = {"loss": mtlue.EM(), "epochs": 1, "progress": False}
        >>> settings["augment"] = evaluation.random_crop_and_flip
        >>> history = mtlue.fit(generator, dataset, net, **settings)
    """
    mirrored = sent(torch.rand(len(images), device="cpu") < 0.5, images.device)
    moved = random_crop(images)
    return torch.where(mirrored.reshape(-1, 1, 1, 1), moved.flip(-1), moved)
