"""Tensors that never change, kept where they are used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import torch
from torch import Tensor


def constant(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a constant only once for each device and dtype: to move it in each step would make a GPU wait.

    Args:
        make: Makes it on the CPU, from arguments that can be hashed.

    Returns:
        A function of a tensor, whose device and dtype the constant is to have, and of the arguments of ``make``.
    """

    @functools.lru_cache(maxsize=256)
    def kept(device: torch.device, dtype: torch.dtype, *args: Hashable) -> Tensor:
        # What is made in inference mode could take no part in a gradient later.
        with torch.inference_mode(False):
            return make(*args).to(device, dtype)

    def like(tensor: Tensor, *args: Hashable) -> Tensor:
        # While torch traces, what is made stands for a tensor and must not outlive the trace.
        if torch.compiler.is_compiling() or type(tensor) is not Tensor:
            return make(*args).to(tensor.device, tensor.dtype)
        return kept(tensor.device, tensor.dtype, *args)

    return like
