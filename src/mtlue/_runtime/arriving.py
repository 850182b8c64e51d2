"""Numbers that a GPU hands over while it works on."""

from __future__ import annotations

import torch
from torch import Tensor


class Arriving:
    """A number that is on its way to the CPU. To read it waits for the step that made it, and not for what came after.

    Args:
        value: The number, of shape ().
    """

    def __init__(self, value: Tensor) -> None:
        self._value, self._arrived = value, None
        if value.device.type == "cuda":
            self._value = torch.empty_like(value, device="cpu", pin_memory=True).copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()
            # The current device may be another one.
            self._arrived.record(torch.cuda.current_stream(value.device))

    def __float__(self) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._value)

    def __reduce__(self) -> tuple[type[Arriving], tuple[Tensor]]:
        """Copy and pickle the number alone."""
        return Arriving, (torch.tensor(float(self), device="cpu"),)
