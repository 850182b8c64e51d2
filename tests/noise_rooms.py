"""Rooms of noise in the folders of NYUv2."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_rooms(root: Path, *, train: int, test: int, size: int) -> None:
    """Write so many samples; some of their pixels have neither class nor depth."""
    random = np.random.default_rng(0)
    for folder, count in (("train", train), ("val", test)):
        for number in range(count):
            normal = random.normal(size=(size, size, 3))
            label = random.integers(-1, 13, (size, size))
            sample = {
                "image": random.integers(0, 256, (size, size, 3)).astype(np.float32) / 255,
                "label": label,
                "depth": random.uniform(1, 5, (size, size, 1)) * (label >= 0)[..., None],
                "normal": normal / np.linalg.norm(normal, axis=2, keepdims=True),
            }
            for kind, values in sample.items():
                path = root / folder / kind / f"{number}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, values)
