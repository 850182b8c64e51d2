"""What it costs to look at each sample of a data set, beside reading it."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import mtlue
from mtlue._data import infer_and_inspect, inspect_dataset  # what each verb does first
from rates.machine import Scale, in_turn, ratio

TASKS = 40
SIDE = 64


class Pictures(Dataset[Any]):
    """So many JPEG pictures, decoded when they are read, with forty labels each.

    Args:
        length: Number of samples.
        form: ``"dict"`` of integers by name, or one ``"tensor"``.
    """

    def __init__(self, length: int, form: str) -> None:
        random = torch.Generator().manual_seed(0)
        self.length, self.form = length, form
        self.files = [_jpeg(torch.randint(256, (3, 8, 8), dtype=torch.uint8, generator=random)) for _ in range(64)]
        self.labels = torch.randint(2, (length, TASKS), generator=random)
        self.rows = self.labels.tolist()
        self.names = [f"task{k}" for k in range(TASKS)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        """A picture of bytes and its labels."""
        image = pil_to_tensor(Image.open(io.BytesIO(self.files[index % 64])))
        return image, self.labels[index] if self.form == "tensor" else dict(zip(self.names, self.rows[index], strict=True))


def _jpeg(image: torch.Tensor) -> bytes:
    file = io.BytesIO()
    to_pil_image(image).resize((SIDE, SIDE)).save(file, format="JPEG")
    return file.getvalue()


def inspection(scale: Scale) -> dict[str, dict[str, float]]:
    """CPU seconds of a plain pass, of an inspection, and of one that also infers the tasks, by the form of the targets."""
    found = {}
    tasks = {f"task{k}": mtlue.Classification(2) for k in range(TASKS)}
    for form in ("dict", "tensor"):
        pictures = Pictures(scale.inspected, form)
        steps: dict[str, Callable[[], object]] = {
            "plain": lambda pictures=pictures: deque(DataLoader(pictures, batch_size=64), maxlen=0),  # type: ignore[misc]
            "inspect": lambda pictures=pictures: inspect_dataset(pictures, tasks),  # type: ignore[misc]
            "infer and inspect": lambda pictures=pictures: infer_and_inspect(pictures),  # type: ignore[misc]
        }
        seconds = in_turn(steps, rounds=3, device="cpu")
        found[form] = {f"{name} / plain": ratio(seconds, name, "plain") for name in list(steps)[1:]}
        found[form]["us_a_sample"] = 1e6 * min(seconds["plain"]) / scale.inspected
    return found
