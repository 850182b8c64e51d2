"""bfloat16 on a CPU: where torch gets it wrong, and what is computed in float32 instead.

Two faults of oneDNN, torch's library for CPUs, are known.

*A crash, from torch 2.12 on, with AMX.* A matrix product with a small side, mostly in a backward pass, divides by zero in
``matmul_amx_blocking_params_macro_t::maybe_small_dims_heuristics``, and the process dies of SIGFPE. It was seen in 2.14.1. The
function came with https://github.com/uxlfoundation/oneDNN/pull/4032: 2.12 to 2.15 have it, 2.11 does not. No report of the
crash was found upstream. A static analysis named the divisors (https://github.com/uxlfoundation/oneDNN/pull/4990, closed).

*Garbage, in 2.5, 2.13, 2.14 and 2.15, also without AMX.* If a part of the kernel meets only padding, a convolution returns
memory that was never written (1e34, NaN), or writes beyond its own ("double free or corruption"). The gradient of the weights
is affected if the kernel or the stride is larger than the map, as at the end of a ResNet-18 on 16x16 images. With one channel,
the output itself is affected if a stride leaves a map one pixel wide. No report was found upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

#: Major and minor number of the first release that crashes with AMX. No later release is known to be free of it.
_CRASHES_WITH_AMX = (2, 12)

_CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
_TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}


def crash_in_bfloat16() -> str | None:
    """Return what would kill the process if it computed in bfloat16 on this CPU. None if nothing is known to."""
    release = tuple(int(number) for number in torch.__version__.split(".")[:2])
    if release < _CRASHES_WITH_AMX or not _has_amx():
        return None
    return f"torch {torch.__version__} can crash in bfloat16 on a processor with AMX"


def _has_amx() -> bool:
    # A private name, which every release from 2.5 to 2.15 has. Without it, assume the worst.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return ask is None or bool(ask())


class TrustedConvolutions(TorchFunctionMode):
    """Computes convolutions that bfloat16 may spoil in float32, in this context and on this thread.

    bfloat16 is used for convolutions of unit stride whose kernel fits into the map: none of 10,000 with random shapes was
    wrong.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, in float32 if necessary."""
        kwargs = kwargs or {}
        if func in _TRANSPOSED or (func in _CONVOLUTIONS and not _is_trusted(*args, **kwargs)):
            with torch.autocast("cpu", enabled=False):
                return func(*map(_in_float32, args), **{name: _in_float32(value) for name, value in kwargs.items()})
        return func(*args, **kwargs)


def _is_trusted(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Return whether a convolution with these arguments has unit stride and a kernel no larger than the map."""
    kernel = weight.shape[2:]
    strides = (stride,) if isinstance(stride, int) else stride
    dilations = (dilation,) * len(kernel) if isinstance(dilation, int) else tuple(dilation) * (len(kernel) // len(dilation))
    fits = all(
        step * (side - 1) < room for step, side, room in zip(dilations, kernel, input.shape[-len(kernel) :], strict=True)
    )
    return fits and all(step == 1 for step in strides)


def _in_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value
