"""Choose how many samples fit into memory, and recover if they do not."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from mtlue._runtime.job import LostRankError, MemoryElsewhereError
from mtlue._runtime.joint_step import joint_step
from mtlue._runtime.share import Share
from mtlue._runtime.warn import warn

logger = logging.getLogger("mtlue.memory")

Result = TypeVar("Result")


class Sliceable(Protocol):
    """Samples in order, which can be sliced."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, part: slice, /) -> Any:
        """Return some of the samples."""
        ...


Part = TypeVar("Part", bound=Sliceable)

# Half the memory is left for the weights, the optimiser, other processes, and what autograd does not save.
_SHARE = 0.5
_PAPER_BATCH = 512
_STEPS_AN_EPOCH = 32


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def total_memory(device: torch.device) -> int:
    """Return the bytes of the device.

    All of them, because a batch size that depends on the free ones would change the result of a run.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 8 * 2**30


def saved_bytes(step: Callable[[], object]) -> int:
    """Count the bytes that autograd keeps for the backward pass of a step, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = step()
    del kept
    return sum(storages.values())


def power_of_two(limit: int) -> int:
    """Return the largest power of two up to a limit, at least 1."""
    return 1 << max(limit, 1).bit_length() - 1


def fitting_batch_size(sample_bytes: float, device: torch.device) -> int:
    """Return the largest power of two of samples that fits the device, at least 1."""
    return power_of_two(int(_SHARE * total_memory(device) / max(sample_bytes, 1.0)))


def training_batch_size(step_of: Callable[[int], Callable[[], object]], device: torch.device, *, length: int) -> int:
    """Return the batch size for training: the paper's 512, or less if memory is short or an epoch would have under 32 steps.

    Args:
        step_of: Makes the forward pass of a training step on the given number of samples.
        device: The device that computes.
        length: Samples in the data set.
    """
    # A difference, so that weights and tables, which do not grow with the batch, cancel out.
    sample_bytes = (saved_bytes(step_of(4)) - saved_bytes(step_of(2))) / 2
    enough_steps = power_of_two(max(length // _STEPS_AN_EPOCH, 8))
    return min(_PAPER_BATCH, enough_steps, fitting_batch_size(sample_bytes, device), max(length, 1))


class BatchSize:
    """A number of samples that is halved each time the device runs out of memory.

    Args:
        value: The number.
        quiet: Whether to do so without a warning.
    """

    def __init__(self, value: int, *, quiet: bool = False) -> None:
        self.value = value
        self._quiet = quiet
        self._adopt: weakref.WeakMethod[Callable[[int], object]] | None = None

    def adopt_by(self, adopt: Callable[[int], object]) -> None:
        """Let a method take over what a step changes from the given rank, after some ranks gave up a part of one.

        Its object holds this one. A cycle would keep the models of a finished training in the memory of a GPU.
        """
        self._adopt = weakref.WeakMethod(adopt)

    def run(self, step: Callable[[Part], Result], batch: Part) -> Iterator[tuple[Part, Result]]:
        """Take a step on each part of a batch, in parts of at most this size. Yields each part with the result of its step.

        A step that runs out of memory is repeated on a smaller part, so it must not count or keep anything. The caller does
        that, and sees each sample once. If one of several ranks runs out of memory, all of them repeat the step.

        Args:
            step: The step.
            batch: Samples that can be sliced.

        Raises:
            RuntimeError: even a single sample does not fit.
            MemoryError: the same, on the CPU.
        """
        start = 0
        while start < len(batch):
            part = batch[start : start + self.value]
            share: Share | None = getattr(part, "share", None)
            try:
                with joint_step(share):
                    result = step(part)
            except (RuntimeError, MemoryError) as error:
                # What another rank died of is not a lack of memory here.
                if isinstance(error, LostRankError) or not out_of_memory(error) or len(part) == 1:
                    raise
                here = not isinstance(error, MemoryElsewhereError)
            else:
                start += len(part)
                yield part, result
                # The result of a step must not be in memory during the next step.
                del part, result
                continue
            # Not above, because the error holds the tensors of the failed step while it is handled.
            if share is not None:
                self._regroup(share, here=here)
            self._halve(len(part))

    def _regroup(self, share: Share, *, here: bool) -> None:
        if here:
            share.job.tell_memory()
        source = share.job.regroup(failed=here)
        if self._adopt is not None:
            # None, which cannot be called, if the object is gone: better than ranks that go on with different weights.
            cast("Callable[[int], object]", self._adopt())(source)

    def _halve(self, size: int) -> None:
        self.value = size // 2
        logger.info("out of memory with batches of %d samples; going on with %d", size, self.value)
        if not self._quiet:
            warn(f"out of memory with batches of {size} samples; going on with {self.value}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
