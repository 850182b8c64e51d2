"""NumPy files, in which an export keeps label maps and images of many channels."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from mtlue._runtime import require


def encode_array(values: Tensor) -> bytes:
    """Return the contents of a NumPy file with these values."""
    buffer = io.BytesIO()
    require("numpy", extra="datasets").save(buffer, values.contiguous().numpy())
    return buffer.getvalue()


def decode_array(content: bytes) -> Tensor:
    """Return the values of a NumPy file. Nothing is unpickled.

    Raises:
        ValueError: it is not a NumPy file.
    """
    numpy = require("numpy", extra="datasets")
    try:
        tensor: Tensor = torch.from_numpy(numpy.load(io.BytesIO(content), allow_pickle=False))
    except Exception as error:  # also of memory, where the header claims a huge array
        raise ValueError(f"cannot be read as a NumPy file ({error})") from error
    return tensor


def load_array(path: Path) -> Tensor:
    """Read a NumPy file as a tensor.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not a NumPy file.
    """
    try:
        return decode_array(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
