"""Messages between the processes of a group, which notice if one of them fails."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from mtlue._runtime.identity import differences
from mtlue._runtime.ranks import rank, world_size

# Seconds to wait until all ranks have made the call, and until those that are in it have come to the same place.
_PATIENCE, _REGROUPING = 300.0, 60.0
#: Seconds to wait for a message of a rank that still works.
PATIENCE = 600.0
# Seconds between two looks at what other ranks say, and between two looks at a message that is under way.
_LOOK, _NAP = 0.2, 0.0001


class LostRankError(RuntimeError):
    """Another rank has failed, or cannot be reached."""


class MemoryElsewhereError(MemoryError):
    """Another rank has run out of memory."""


class Job:
    """One call that all ranks make together.

    Messages go through groups of processes of its own, so that one that never arrives leaves the caller's group usable. What
    failed is said in the store of the caller's group, which a rank can read while it waits for a message.

    Args:
        number: How many such calls there were before in this process.
        device: Where the tensors are that ranks add up.
        patience: Seconds that a rank waits for a message of another one that still works.
    """

    def __init__(self, number: int, device: torch.device, *, patience: float = PATIENCE) -> None:
        self.rank, self.size, self._device = rank(), world_size(), device
        # Private, but the only way to what a rank can read while it waits.
        distributed: Any = torch.distributed.distributed_c10d
        # The store of `torchrun` outlives its ranks: what an earlier attempt left there is not for this one.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._store = distributed.PrefixStore(f"mtlue {attempt} {number}", distributed._get_default_store())
        self._round, self._patience = 0, timedelta(seconds=patience)
        self._groups: dict[str, Any] = {}

    def open(self) -> None:
        """Wait for all ranks.

        Raises:
            LostRankError: some did not come.
        """
        absent = self._absent("call", _PATIENCE)
        if absent:
            self._store.delete_key(f"call {self.rank}")
            raise LostRankError(
                f"waited {_PATIENCE:.0f} s for rank {', '.join(map(str, absent))} of {self.size}, which did not come; "
                "call it on all ranks of the process group, or on a single process without one"
            )

    def connect(self) -> None:
        """Connect to the other ranks.

        Raises:
            LostRankError: one has failed meanwhile, or cannot be reached.
        """
        try:
            self._connect()
        except RuntimeError as error:
            self._disconnect()
            raise self._lost(error) from error

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks. It is the same on each of them, to the last bit.

        Raises:
            LostRankError: a rank has failed, or cannot be reached.
        """
        group = self._groups["data" if tensor.device == self._device else "control"]
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        try:
            work = torch.distributed.all_reduce(total, group=group, async_op=True)
            if tensor.device.type == "cpu":
                self._watch(work)
            work.wait()
        except LostRankError:
            raise
        except RuntimeError as error:
            raise self._lost(error) from error
        return total

    def everywhere(self, flag: bool) -> bool:
        """Return whether a flag is true on all ranks."""
        return int(self.sum(torch.tensor(int(flag), device="cpu"))) == self.size

    def smallest(self, value: int) -> int:
        """Return the smallest of the ranks' values."""
        return min(int(each) for each in self.gathered(value))

    def agree(self, settings: Mapping[str, Any]) -> None:
        """Check that all ranks have the same settings.

        Raises:
            ValueError: some differ.
        """
        for other, theirs in enumerate(self.gathered(dict(settings))):
            changed = differences(theirs, dict(settings))
            if changed:
                told = "; ".join(changed.values())
                raise ValueError(f"rank {other} was called with other arguments than rank {self.rank} ({told})")

    def from_rank(self, source: int, make: Callable[[], Any]) -> Any:
        """Return what a function gives on one rank: tensors, which come to the CPU, and plain values."""
        content = _packed(make()) if self.rank == source else torch.zeros(0, dtype=torch.uint8)
        length = int(self.sum(torch.tensor(len(content))))
        return _unpacked(self.sum(content if self.rank == source else torch.zeros(length, dtype=torch.uint8)))

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all ranks: tensors, which come to the CPU, and plain values."""
        return [self.from_rank(source, lambda: value) for source in range(self.size)]

    def tell_memory(self) -> None:
        """Tell the other ranks that this one has run out of memory. They give up what they are doing at the next message."""
        self._store.set(f"memory {self._round}", str(self.rank))

    def tell(self, error: BaseException) -> None:
        """Tell the other ranks that the call has failed here."""
        with suppress(RuntimeError):
            self._store.set("failed", f"rank {self.rank} stopped: {type(error).__name__}: {error}")

    def regroup(self, *, failed: bool) -> int:
        """Connect anew after a rank has run out of memory. Returns the rank whose state the others take over.

        Args:
            failed: Whether it was this one.

        Raises:
            LostRankError: some ranks did not come.
        """
        self._disconnect()
        self._round += 1
        absent = self._absent(f"round {self._round}", _REGROUPING)
        if absent:
            raise LostRankError(
                f"rank {', '.join(map(str, absent))} did not come back after a rank ran out of memory; start again with "
                "a smaller batch_size"
            )
        self.connect()
        return min(self.smallest(self.size if failed else self.rank), self.size - 1)

    def close(self, *, wait: bool) -> None:
        """Leave. A rank that has finished waits until the others have all messages.

        Args:
            wait: Whether the call has succeeded here.
        """
        if wait:
            self._absent("end", _REGROUPING)
        self._disconnect()

    def _connect(self) -> None:
        # A message on the CPU tells without waiting for a GPU whether a rank still works.
        self._groups["control"] = torch.distributed.new_group(backend="gloo", timeout=self._patience)
        on_device = self._device.type != "cpu" and torch.distributed.get_backend() != "gloo"
        self._groups["data"] = torch.distributed.new_group(timeout=self._patience) if on_device else self._groups["control"]

    def _disconnect(self) -> None:
        groups, self._groups = set(self._groups.values()), {}
        for group in groups:
            with suppress(RuntimeError, ValueError, AssertionError):
                torch.distributed.destroy_process_group(group)

    def _watch(self, work: Any) -> None:
        """Wait for a message, and stop waiting if a rank says that it has failed."""
        began = looked = time.monotonic()
        while not work.is_completed():
            now = time.monotonic()
            # Who has waited for long need not hear of it at once, and leaves the processor to those who compute.
            time.sleep(min(max(_NAP, (now - began) / 100), _LOOK))
            if now - looked > _LOOK:
                self._look()
                looked = now

    def _lost(self, error: Exception) -> LostRankError:
        """Return the error for a connection that the system has closed, or raise what the rank says that has ended."""
        time.sleep(2 * _LOOK)
        self._look()
        return LostRankError(f"another rank cannot be reached any more: {error}")

    def _look(self) -> None:
        """Read what other ranks say.

        Raises:
            LostRankError: one has failed.
            MemoryElsewhereError: one has run out of memory.
        """
        try:
            failed, memory = self._store.check(["failed"]), self._store.check([f"memory {self._round}"])
            reason = self._store.get("failed").decode() if failed else ""
        except RuntimeError as error:  # the rank that keeps the store has ended
            raise LostRankError(f"another rank cannot be reached any more: {error}") from error
        if failed:
            raise LostRankError(reason)
        if memory:
            raise MemoryElsewhereError("another rank ran out of memory")

    def _absent(self, place: str, patience: float) -> list[int]:
        """Wait for the other ranks at a place. Returns those that did not come."""
        self._store.set(f"{place} {self.rank}", "here")
        until = time.monotonic() + patience
        absent = list(range(self.size))
        while absent:
            absent = [each for each in absent if not self._store.check([f"{place} {each}"])]
            if not absent or time.monotonic() > until:
                break
            time.sleep(_NAP)
        return absent


def _packed(content: Any) -> Tensor:
    file = io.BytesIO()
    torch.save(content, file)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _unpacked(content: Tensor) -> Any:
    return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)
