"""Choose a device and a precision."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mtlue._runtime.bfloat16 import TrustedBFloat16
from mtlue._runtime.ranks import world_size


def choose_device(device: torch.device | str | None, module: nn.Module | None) -> torch.device:
    """Return the requested device, or else that of a module's parameters, or else CUDA, MPS or the CPU, in that order.

    Raises:
        TypeError: it is neither a device nor the name of one.
        ValueError: the device does not exist, or keeps no values.
    """
    if device is not None:
        try:
            # Try a tensor on it: torch accepts the name of a device that does not exist.
            chosen = torch.empty(0, device=device).device
        except RuntimeError as error:
            raise ValueError(f"device: {device!r} cannot be used: {error}") from error
        except (TypeError, AssertionError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"device: expected a torch.device or a name such as 'cuda', got {device!r}: {error}") from error
        if chosen.type == "meta":
            raise ValueError("device: expected one that can compute, such as 'cpu', got 'meta', where a model has no weights")
        return chosen
    parameter = next(module.parameters(), None) if module is not None else None
    if parameter is not None:
        return parameter.device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_precision(precision: torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the requested precision, or else bfloat16 on a GPU that supports it and float32 elsewhere.

    Raises:
        TypeError: it is not a dtype.
        ValueError: it is neither float32 nor bfloat16.
    """
    if precision is None:
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if not isinstance(precision, torch.dtype):
        raise TypeError(f"precision: expected torch.float32 or torch.bfloat16, got {precision!r}")
    if precision not in (torch.float32, torch.bfloat16):
        raise ValueError(f"precision: expected torch.float32 or torch.bfloat16, got {precision}")
    return precision


def _has_bfloat16(device: torch.device) -> bool:
    # Not on a CPU, even if it supports it: see `mtlue._runtime.bfloat16`.
    return device.type == "cuda" and bool(torch.cuda.is_bf16_supported(including_emulation=False))


@contextmanager
def autocast(device: torch.device, precision: torch.dtype, *, cache: bool = True) -> Iterator[None]:
    """Compute in the precision in this context. On a CPU, bfloat16 is used only for what it computes correctly.

    Open one for each step: a context keeps copies of the weights in bfloat16, which must not outlive an update.

    Args:
        device: The device that computes.
        precision: float32 or bfloat16.
        cache: Whether to keep the copies of the weights until the context ends.

    Yields:
        Nothing.
    """
    bfloat16 = precision == torch.bfloat16
    guard = TrustedBFloat16() if bfloat16 and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16, cache_enabled=cache), guard:
        yield


def check_single_process() -> None:
    """Refuse to make N independent generators when one was meant.

    Raises:
        NotImplementedError: a process group of several ranks is initialised.
    """
    if world_size() > 1:
        raise NotImplementedError(
            "mtlue does not yet work across several processes: call it on one rank, and share what it returns"
        )


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. A GPU with CUDA is not waited for; MPS might read a temporary after it is gone."""
    return tensor.to(device, non_blocking=device.type == "cuda")


@contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Move a module to a device in this context. Afterwards each part returns to its own, even if moving failed half-way."""
    homes = [
        (part, tensor.device)
        for part in module.modules()
        for tensor in itertools.islice(itertools.chain(part.parameters(recurse=False), part.buffers(recurse=False)), 1)
    ]
    try:
        module.to(device)
        yield
    finally:
        # Parts come before the modules that hold them, and would be moved again with those.
        for part, home in homes:
            part.to(home)


@contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """Keep cuDNN to algorithms that give the same result each time.

    ``torch.backends.cudnn.flags`` would switch cuDNN off as well, unless told otherwise, and with it most of a GPU's speed.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
