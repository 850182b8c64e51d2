"""What happened in a training run, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch of training a generator.

    Attributes:
        learning_rate: Adam's learning rate.
        loss: What was minimised: base loss and weighted regularisers.
        base_loss: The base loss alone.
        intra_er: Equation 4, unweighted.
        inter_er: Equation 5, unweighted.
        surrogate_accuracy: Accuracy of the surrogate on perturbed training images after the epoch, the mean over the tasks
            that have one; None unless the loss trains the surrogate.
        seconds: Wall-clock time of the epoch.
    """

    learning_rate: float
    loss: float
    base_loss: float
    intra_er: float
    inter_er: float
    surrogate_accuracy: float | None
    seconds: float


class History(Sequence[Epoch]):
    """The epochs of a run, in order. ``history[-1].base_loss`` is the last epoch's base loss."""

    def __init__(self, epochs: Sequence[Epoch] = (), *, stopped_early: bool = False) -> None:
        self._epochs = list(epochs)
        #: Whether the surrogate's accuracy reached ``stop_accuracy`` before the last epoch.
        self.stopped_early = stopped_early

    def append(self, epoch: Epoch) -> None:
        """Add an epoch at the end."""
        self._epochs.append(epoch)

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self._epochs)

    @overload
    def __getitem__(self, index: int) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Epoch]: ...
    def __getitem__(self, index: int | slice) -> Epoch | Sequence[Epoch]:
        """One epoch, or some."""
        return self._epochs[index]

    def __iter__(self) -> Iterator[Epoch]:
        """The epochs in order."""
        return iter(self._epochs)

    def to_rows(self) -> list[dict[str, Any]]:
        """One dictionary an epoch, as JSON or a data frame takes them."""
        return [{"epoch": number, **asdict(epoch)} for number, epoch in enumerate(self._epochs, start=1)]

    def __repr__(self) -> str:
        """Number of epochs, and the last base loss."""
        last = f", base_loss={self._epochs[-1].base_loss:.4g}" if self._epochs else ""
        return f"History({len(self)} epochs{last})"
