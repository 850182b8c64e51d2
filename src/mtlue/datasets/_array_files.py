"""NumPy files, in which an exported set keeps label maps and images of many channels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mtlue._runtime.extras import require


def map_path(root: Path, task: str, image: str) -> Path:
    """Where the label map of an image is."""
    return root / "labels" / task / f"{Path(image).stem}.npy"


def load_array(path: Path) -> Tensor:
    """A NumPy file as a tensor; it is never unpickled.

    Raises:
        ValueError: it is no NumPy file.
    """
    numpy = require("numpy", extra="datasets")
    try:
        tensor: Tensor = torch.from_numpy(numpy.load(path, allow_pickle=False))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read as a NumPy file ({error})") from error
    return tensor
