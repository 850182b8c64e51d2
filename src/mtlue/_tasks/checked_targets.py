"""Targets that have been read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor


class CheckedTargets(dict[str, Tensor]):
    """What `read_targets` made: it need not be checked again, which on a GPU would cost a wait for each task.

    Args:
        targets: Target (B, ...) of each task.
        stacks: Targets of several tasks side by side, (B, n), by the names of the tasks. They move as one.
        order: Names of all tasks in their order.
    """

    def __init__(
        self,
        targets: Mapping[str, Tensor] | None = None,
        *,
        stacks: Mapping[tuple[str, ...], Tensor] | None = None,
        order: Iterable[str] | None = None,
    ) -> None:
        self._stacks = dict(stacks or {})
        columns = dict(targets or {})
        for names, stack in self._stacks.items():
            columns.update(zip(names, stack.unbind(1), strict=True))
        super().__init__({name: columns[name] for name in (columns if order is None else order)})

    def __setitem__(self, name: str, target: Tensor) -> None:
        """Replace the target of a task, which is part of no stack then."""
        self._stacks = {names: stack for names, stack in self._stacks.items() if name not in names}
        super().__setitem__(name, target)

    def __reduce__(self) -> tuple[Callable[..., CheckedTargets], tuple[object, ...]]:
        """Send each stack once, not each of its columns: a worker opens a file for every tensor."""
        return _rebuilt, (self._alone(), self._stacks, list(self))

    def _alone(self) -> dict[str, Tensor]:
        stacked = {name for names in self._stacks for name in names}
        return {name: target for name, target in self.items() if name not in stacked}

    def each(self, change: Callable[[Tensor], Tensor]) -> CheckedTargets:
        """The same tasks with targets that are changed along the samples, or as a whole."""
        stacks = {names: change(stack) for names, stack in self._stacks.items()}
        return CheckedTargets({name: change(target) for name, target in self._alone().items()}, stacks=stacks, order=self)

    def ordered(self, order: Iterable[str]) -> CheckedTargets:
        """The same targets in another order of the tasks."""
        return CheckedTargets(self._alone(), stacks=self._stacks, order=order)

    def to(self, device: torch.device) -> CheckedTargets:
        """The same targets on a device."""
        return self.each(lambda target: target.to(device, non_blocking=device.type == "cuda"))

    def together(self, names: Sequence[str]) -> Tensor:
        """Targets of some tasks side by side, (B, n)."""
        stack = self._stacks.get(tuple(names))
        return torch.stack([self[name] for name in names], dim=1) if stack is None else stack


def _rebuilt(alone: Mapping[str, Tensor], stacks: Mapping[tuple[str, ...], Tensor], order: Sequence[str]) -> CheckedTargets:
    return CheckedTargets(alone, stacks=stacks, order=order)
