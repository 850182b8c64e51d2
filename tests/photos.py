"""Folders of small photos with a table of labels, as people have them."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torchvision.transforms.functional import to_pil_image

HEADER = ["photo", "pet", "lit", "owner", "camera"]


def write_photos(root: Path, name: str, *, count: int = 12, seed: int = 0, side: int = 16) -> Path:
    """A folder ``name`` of photos beside a table ``name.csv``: two columns are tasks, two are not."""
    folder = root / name
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(seed)
    with (root / f"{name}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for index in range(count):
            image = torch.randint(256, (3, side, side), generator=random, dtype=torch.uint8)
            to_pil_image(image).save(folder / f"{index:02}.png")
            table.writerow([f"{index:02}.png", ("cat", "dog", "newt")[index % 3], index // 3 % 2, f"owner {index}", "X100"])
    return folder
