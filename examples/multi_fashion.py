"""Multi-Fashion: two Fashion-MNIST photographs on one canvas, three independent tasks."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

SUBSET = Path(__file__).parent / "data" / "fashion-mnist-subset"
ITEM, CANVAS = 24, 32


class MultiFashion(Dataset[tuple[Tensor, dict[str, int]]]):
    """Canvases of 32x32 grey pixels with a garment at the top left and one at the bottom right, one in front of the other.

    The tasks are the class of the left garment, the class of the right one, and whether the right one is in front. They are
    drawn independently, so no task says anything about another. Pairs of such photographs are a standard benchmark of
    multi-task learning (Sener and Koltun, 2018).

    Fashion-MNIST shows white cut-outs on pure black. The canvases are brought to a contrast nearer to that of an ordinary
    photograph; ``contrast=1`` keeps the full range.

    Args:
        size: Number of canvases.
        train: Draw from the training photographs, or from the test ones; no photograph is in both.
        seed: Seed of the composition.
        contrast: Difference between the brightest and the darkest pixel, in (0, 1], around mid-grey.
        root: Folder with the four IDX files of Fashion-MNIST, or of a part of it.
        photographs: Which of the photographs to draw from, by their place in the files; all when not given.
    """

    tasks = {"left": 10, "right": 10, "front": 2}

    def __init__(
        self,
        size: int,
        *,
        train: bool,
        seed: int = 0,
        contrast: float = 0.4,
        root: Path = SUBSET,
        photographs: range | None = None,
    ) -> None:
        part = "train" if train else "t10k"
        pixels = _read_idx(root / f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28)
        labels = _read_idx(root / f"{part}-labels-idx1-ubyte.gz", header=8).long()
        if photographs is not None:
            pixels, labels = pixels[list(photographs)], labels[list(photographs)]
        items = F.interpolate(pixels.float() / 255, size=(ITEM, ITEM), mode="bilinear", antialias=True)
        generator = torch.Generator().manual_seed(seed)
        left, right = torch.randint(len(items), (2, size), generator=generator)
        front = torch.randint(2, (size,), generator=generator)
        canvases = torch.zeros(2, size, 1, CANVAS, CANVAS)
        canvases[0, ..., :ITEM, :ITEM] = items[left]
        canvases[1, ..., -ITEM:, -ITEM:] = items[right]
        samples = torch.arange(size)
        nearer, farther = canvases[front, samples], canvases[1 - front, samples]
        # A garment hides what is behind it; the black ground around it does not.
        canvases = torch.where(nearer > 0.1, nearer, farther)
        canvases = 0.5 + contrast * (canvases - 0.5)
        self.images = (canvases * 255).round().byte()
        self.targets = {"left": labels[left], "right": labels[right], "front": front}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, int]]:
        return self.images[index], {name: int(values[index]) for name, values in self.targets.items()}


def _read_idx(path: Path, *, header: int) -> Tensor:
    with gzip.open(path) as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)
