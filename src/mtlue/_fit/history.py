"""The figures of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch of training a generator.

    Attributes:
        learning_rate: Learning rate at the start of the epoch.
        loss: The minimised loss: the base loss and the weighted regularisers.
        base_loss: The base loss alone.
        intra_er: Equation 4, unweighted.
        inter_er: Equation 5, unweighted.
        surrogate_accuracy: Accuracy of the surrogate on perturbed training images after the epoch, as a mean over the tasks
            that have an accuracy. None unless the loss trains the surrogate.
        seconds: Wall-clock time of the epoch.

    Example:
        >>> import torch, mtlue
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> epoch = mtlue.fit(generator, dataset, net, loss=mtlue.EM(), epochs=1, progress=False)[0]
        >>> weighted = 20 * epoch.intra_er + 100 * epoch.inter_er  # lambda_intra and lambda_inter
        >>> abs(epoch.base_loss + weighted - epoch.loss) < 1e-3
        True
    """

    learning_rate: float
    loss: float
    base_loss: float
    intra_er: float
    inter_er: float
    surrogate_accuracy: float | None
    seconds: float


def epoch_summary(epoch: Epoch) -> str:
    """Format the figures of an epoch on one line."""
    figures = {name: value for name, value in asdict(epoch).items() if value is not None and name != "seconds"}
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items()) + f", {epoch.seconds:.1f} s"


class History(Sequence[Epoch]):
    """The epochs of a run, in order. ``history[-1].base_loss`` is the last epoch's base loss.

    Example:
        >>> import torch, mtlue
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> settings = {"loss": mtlue.EM(), "epochs": 3, "stop_accuracy": 1.1, "progress": False}
        >>> history = mtlue.fit(generator, dataset, net, **settings)
        >>> len(history), history.stopped_early
        (3, False)
        >>> losses = [epoch.base_loss for epoch in history]
        >>> list(history.to_rows()[0])  # for json.dumps, csv.DictWriter or pandas.DataFrame
        ['epoch', 'learning_rate', 'loss', 'base_loss', 'intra_er', 'inter_er', 'surrogate_accuracy', 'seconds']
    """

    def __init__(self, epochs: Sequence[Epoch] = (), *, stopped_early: bool = False) -> None:
        self._epochs = list(epochs)
        #: Whether the surrogate's accuracy reached ``stop_accuracy`` before the last epoch.
        self.stopped_early = stopped_early

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> History:
        """Return the history whose `state` a checkpoint has kept."""
        epochs = [Epoch(**epoch) for epoch in state["history"]]
        for epoch in epochs:
            epoch_summary(epoch)  # formatting fails for anything that is not a number
        return cls(epochs, stopped_early=bool(state["stopped_early"]))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"history": [asdict(epoch) for epoch in self._epochs], "stopped_early": self.stopped_early}

    def append(self, epoch: Epoch) -> None:
        """Add an epoch."""
        self._epochs.append(epoch)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self._epochs)

    @overload
    def __getitem__(self, index: int) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Epoch]: ...
    def __getitem__(self, index: int | slice) -> Epoch | Sequence[Epoch]:
        """Return one epoch, or a list of them."""
        return self._epochs[index]

    def __iter__(self) -> Iterator[Epoch]:
        """Iterate over the epochs in order."""
        return iter(self._epochs)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each epoch, for JSON or a data frame."""
        return [{"epoch": number, **asdict(epoch)} for number, epoch in enumerate(self._epochs, start=1)]

    def __repr__(self) -> str:
        """Return the number of epochs and the last base loss."""
        last = f", base_loss={self._epochs[-1].base_loss:.4g}" if self._epochs else ""
        return f"History({len(self)} epochs{last})"
