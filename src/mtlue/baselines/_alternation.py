"""Error-minimising noise on pixels: surrogate and perturbations in turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlue._data import augmented
from mtlue._data.batches import Batch
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.surrogate_steps import surrogate_accuracy, train_surrogate
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._tasks import CheckedTargets
from mtlue.baselines._pixel_search import PixelSearch
from mtlue.baselines._pixel_store import PixelStore

_SURROGATE = 8

logger = logging.getLogger("mtlue.baselines")


class Alternation:
    """Rounds of training the surrogate on perturbed images, then stepping on the perturbations of every batch (equation 1).

    Args:
        search: The loop on a batch, with its surrogate and its settings.
        store: The perturbations between the rounds.
        kept: Holds the surrogate, with its optimiser, as it is after its last whole turn.
    """

    def __init__(self, search: PixelSearch, store: PixelStore, kept: Checkpoint) -> None:
        self.search, self.store, self.kept = search, store, kept
        trainable = [parameter for parameter in search.surrogate.module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trainable, lr=search.plan.learning_rate)

    def run(self) -> None:
        """Alternate until the last round, or until the surrogate has learned the perturbations."""
        current, at_end = self._restore(), False
        if current >= 0:
            start = self.store.resume(current)
            logger.info("pgd: going on in round %d of %d after %d images", current + 1, self.search.plan.rounds, start)
            self.search.progress.skip(*self._before(current, start))
            at_end = self._run_round(current, start)
        while not at_end:
            current += 1
            with random_numbers(derived_seed(self.search.plan.seed, _SURROGATE, current), self.search.plan.device):
                self._train_surrogate(current)
            self._keep(current)
            at_end = self._run_round(current, 0)

    def _run_round(self, round: int, start: int) -> bool:
        """Step on all perturbations from sample ``start`` on; return whether this was the last round."""
        search, length = self.search, len(self.search.samples)
        search.figures["round"] = round + 1
        with _without_gradient(search.surrogate.module):
            for images, targets in search.batches(range(start, length)):
                before = self.store.read(range(start, start + len(images)))
                delta = search.descend(images, targets, before, steps=search.plan.steps, round=round, first=start)
                self.store.write(delta, round=round, start=start)
                start += len(images)
        if round + 1 == search.plan.rounds:
            logger.info("pgd: round %d of %d", round + 1, search.plan.rounds)
            return True
        accuracy = surrogate_accuracy(
            search.surrogate,
            self._perturbed(range(length)),
            lambda images, targets: (images, targets),
            batch_size=search.batch_size,
            precision=search.plan.precision,
        )
        if accuracy is None:
            logger.info("pgd: round %d of %d", round + 1, search.plan.rounds)
            return False
        logger.info("pgd: round %d of %d, surrogate_accuracy %.4g", round + 1, search.plan.rounds, accuracy)
        search.figures["surrogate_accuracy"] = accuracy
        return accuracy >= search.plan.stop_accuracy

    def _train_surrogate(self, round: int) -> None:
        plan, length = self.search.plan, len(self.search.samples)
        random = torch.Generator().manual_seed(derived_seed(plan.seed, _SURROGATE, round))
        wanted = plan.surrogate_steps * self.search.batch_size.value
        order: list[int] = []
        while len(order) < wanted:
            order += torch.randperm(length, generator=random).tolist()
        if wanted:
            train_surrogate(
                self.search.surrogate,
                self.optimizer,
                self._perturbed(order[:wanted]),
                self._view,
                batch_size=self.search.batch_size,
                precision=plan.precision,
            )

    def _view(self, images: Tensor, targets: CheckedTargets) -> Batch:
        return augmented(self.search.plan.augment, images, targets, self.search.surrogate.tasks)

    def _perturbed(self, order: Sequence[int]) -> Iterator[Batch]:
        """Batches with the perturbations that are stored now."""
        position = 0
        for images, targets in self.search.batches(order):
            delta = self.store.read(order[position : position + len(images)])
            position += len(images)
            yield (images + delta.to(images.device)).clamp(0.0, 1.0), targets

    def _before(self, round: int, start: int) -> tuple[int, int]:
        """Steps before a sample of a round, and the images in them."""
        size, length, steps = self.search.batch_size.value, len(self.search.samples), self.search.plan.steps
        batches = round * -(-length // size) + -(-start // size)
        return batches * steps, (round * length + start) * steps

    def _restore(self) -> int:
        """Load the surrogate's last turn and return its round; -1 before the first."""
        state = self.kept.load()
        if state is None:
            # Also the state before the first turn: the call that takes this one up may bring another.
            self._keep(-1)
            return -1
        self.search.surrogate.module.load_state_dict(state["surrogate"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.search.batch_size.value = state["batch_size"]
        return int(state["round"])

    def _keep(self, round: int) -> None:
        self.kept.save({
            "round": round,
            "surrogate": self.search.surrogate.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_size": self.search.batch_size.value,
        })


@contextmanager
def _without_gradient(module: nn.Module) -> Iterator[None]:
    """Let no parameter take a gradient meanwhile: steps on pixels need none."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
