"""Train a surrogate, and measure what it has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Batch
from mtlue._fit.checkpoint import load_optimizer
from mtlue._fit.plan import SurrogatePlan
from mtlue._losses import EM, BaseUELoss, Surrogate, surrogate_loss
from mtlue._runtime import BatchSize, Compute, Progress, descend, from_rank, joint_mean, joint_sum, warn

# As a share of the accuracy that ends a run. A surrogate this good on clean images did not learn from perturbations.
_KNOWN = 0.95
_KNOWING = 0.9

#: Turns a batch into what the surrogate sees. Augmentation may move the labels with the images.
View = Callable[[Batch], Batch]
#: Reads the samples with the given indices, in batches.
Read = Callable[[Sequence[int]], Iterator[Batch]]


class SurrogateTraining:
    """A surrogate in training, with its optimiser.

    Args:
        surrogate: The surrogate, on its device.
        learning_rate: Learning rate of Adam.
        batch_size: Largest batch. It is halved when memory runs out.
        compute: Where and how to compute.
        loss: The base loss in turn with which it learns, which may say what it minimises; None if there is no such loss.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        *,
        learning_rate: float,
        batch_size: BatchSize,
        compute: Compute,
        loss: BaseUELoss | None = None,
    ) -> None:
        self.surrogate, self.batch_size, self.compute = surrogate, batch_size, compute
        self._loss = EM() if loss is None else loss
        trainable = [parameter for parameter in surrogate.module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trainable, lr=learning_rate)

    def train(self, batches: Iterable[Batch], view: View, shown: Progress | None = None) -> Tensor:
        """Take one step on each batch as the view shows it. Returns the mean loss, on the device."""

        def step(part: Batch) -> Tensor:
            # Batch normalisation needs more than a single sample.
            self.surrogate.module.train(len(part) > 1)
            # Without the cache: a loss may search with the surrogate frozen, whose copies of the weights carry no gradient.
            with self.compute.autocast(cache=False):
                seen = view(part)
                loss = surrogate_loss(self._loss, self.surrogate, seen.images, seen.targets)
            descend(self.optimizer, loss)
            return joint_mean(loss.detach())

        losses: list[Tensor] = []
        for batch in batches:
            for part, loss in self.batch_size.run(step, batch):
                losses.append(loss)
                if shown is not None:
                    shown.step(len(part), {"surrogate_loss": loss})
        self.surrogate.module.eval()
        return torch.stack(losses).mean()

    def take_turn(
        self,
        plan: SurrogatePlan,
        read: Callable[[Sequence[int]], Iterator[Batch]],
        view: View,
        *,
        length: int,
        random: torch.Generator,
    ) -> None:
        """Take EM's turn: some steps on batches drawn from all samples (Algorithm 1).

        Args:
            plan: The settings, which say how many steps.
            read: Reads the samples with the given indices, in batches.
            view: Turns a batch into what the surrogate sees.
            length: Number of samples.
            random: Random numbers for the order.
        """
        wanted = plan.surrogate_steps * self.batch_size.value
        order: list[int] = []
        while len(order) < wanted:
            order += torch.randperm(length, generator=random).tolist()
        if wanted:
            self.train(read(order[:wanted]), view)

    def accuracy(self, batches: Iterable[Batch], view: View) -> float | None:
        """Return the accuracy in eval mode, as a mean over the tasks that have one, or None if none has."""
        self.surrogate.module.eval()
        tasks = self.surrogate.tasks
        totals: dict[str, Tensor] = {}

        @torch.no_grad()
        def measure(part: Batch) -> dict[str, Tensor]:
            with self.compute.autocast():
                seen = view(part)
                outputs = self.surrogate(seen.images)
            found = {name: task.hits(outputs[name], seen.targets[name]) for name, task in tasks.items()}
            return {name: joint_sum(torch.stack(each)) for name, each in found.items() if each is not None}

        for batch in batches:
            for _, found in self.batch_size.run(measure, batch):
                for name, hits in found.items():
                    totals[name] = totals.get(name, 0) + hits
        pairs = [total.tolist() for total in totals.values()]
        shares = [hits / labels for hits, labels in pairs if labels]
        return sum(shares) / len(shares) if shares else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a later call resumes."""
        return {"surrogate": self.surrogate.module.state_dict(), "surrogate_optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the state may have other entries too."""
        self.surrogate.module.load_state_dict(state["surrogate"])
        load_optimizer(self.optimizer, state["surrogate_optimizer"])

    def adopt(self, rank: int) -> None:
        """Take over the state of a rank."""
        self.load_state_dict(from_rank(rank, self.state_dict))


def warn_if_it_knew(known: float | None, loss: BaseUELoss, *, stop_accuracy: float) -> None:
    """Warn if a surrogate that ended the run at once was as good on clean images: ``known`` is its accuracy there."""
    if known is not None and known >= max(_KNOWN * stop_accuracy, _KNOWING):
        name = type(loss).__name__
        warn(
            f"surrogate: it answers {100 * known:.0f} % of the clean images right, so training ended after one epoch, "
            f"before the generator learned anything; give {name} an untrained surrogate, or a stop_accuracy above 1"
        )
