"""By what objects are known again: in log lines, and in the files of interrupted calls."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def described(value: object) -> str:
    """What an object prints as; its name, or that of its class, where that is only an address."""
    if isinstance(value, functools.partial):
        parts = [value.func, *value.args]
        named = [f"{name}={described(each)}" for name, each in value.keywords.items()]
        return f"partial({', '.join([*map(described, parts), *named])})"
    text = repr(value)
    return text if " at 0x" not in text else str(getattr(value, "__qualname__", type(value).__qualname__))


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """Checksum of the types, shapes and values of some tensors, in their order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        # By bytes: NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
