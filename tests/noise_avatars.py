"""Avatars of noise, in the files that the drawing writes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from sets.avatars import ATTRIBUTES


def write_avatars(folder: Path, *, count: int = 5, size: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Write images and labels to a folder, and return them: bytes (N, H, W, 3) and zeros and ones (N, 14)."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, size, size, 3), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (count, len(ATTRIBUTES)), generator=random)
    folder.mkdir(parents=True)
    (folder / "images.bin").write_bytes(images.numpy().tobytes())
    lines = [",".join(ATTRIBUTES), *(",".join(map(str, row)) for row in labels.tolist())]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "meta.json").write_text(json.dumps({"count": count, "size": size}))
    return images, labels
