"""Error-minimising noise on pixels: the surrogate and the perturbations take turns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from mtlue._data import Batch, augmented
from mtlue._fit import Checkpoint, SurrogateTraining, count_in
from mtlue._losses import frozen, restore_state, state_of
from mtlue._runtime import Stream
from mtlue.baselines._pixel_search import Pixels, PixelSearch
from mtlue.baselines._pixel_store import PixelStore

logger = logging.getLogger("mtlue.baselines")


class Alternation:
    """Rounds of training the surrogate on perturbed images, and then changing all perturbations (equation 1).

    Args:
        search: The search on a batch, with its surrogate and settings.
        store: The perturbations between the rounds.
        kept: Holds the surrogate and its optimiser as they were after the last complete turn.
    """

    def __init__(self, search: PixelSearch, store: PixelStore, kept: Checkpoint) -> None:
        self.search, self.store, self.kept = search, store, kept
        self.learner = SurrogateTraining(
            search.surrogate,
            learning_rate=search.plan.learning_rate,
            batch_size=search.batch_size,
            compute=search.compute,
            loss=search.loss,
        )

    def run(self) -> None:
        """Alternate until the last round, or until the surrogate has learned the perturbations."""
        current, at_end = self._restore(), False
        if current >= 0:
            start = self.store.resume(current)
            if start:
                note = self.store.note.load() or {}
                with self.store.note.taking_up():
                    restore_state(self.search.loss, note)
            logger.info("pgd: going on in round %d of %d after %d images", current + 1, self.search.plan.rounds, start)
            self.search.progress.skip(*self._before(current, start))
            at_end = self._run_round(current, start)
        while not at_end:
            current += 1
            with self.search.compute.random_numbers(Stream.PIXEL_SURROGATE, current):
                self._train_surrogate(current)
            self._keep(current)
            at_end = self._run_round(current, 0)

    def _run_round(self, round: int, start: int) -> bool:
        """Step on all perturbations from sample ``start`` on. Returns whether this was the last round."""
        search, length = self.search, len(self.search.samples)
        search.figures["round"] = round + 1
        with frozen(search.surrogate.module):
            for batch in search.batches(range(start, length)):
                pixels = Pixels(batch, self.store.read(range(start, start + len(batch))), start)
                delta = search.descend(pixels, steps=search.plan.steps, round=round)
                self.store.write(delta, round=round, start=start, beside=state_of(search.loss))
                start += len(batch)
        accuracy = None
        if round + 1 < search.plan.rounds:
            accuracy = self.learner.accuracy(self._perturbed(range(length)), lambda batch: batch)
        told = "" if accuracy is None else f", surrogate_accuracy {accuracy:.4g}"
        logger.info("pgd: round %d of %d%s", round + 1, search.plan.rounds, told)
        if accuracy is None:
            return round + 1 == search.plan.rounds
        search.figures["surrogate_accuracy"] = accuracy
        return accuracy >= search.plan.stop_accuracy

    def _train_surrogate(self, round: int) -> None:
        search = self.search
        random = search.compute.generator(Stream.PIXEL_SURROGATE, round)
        self.learner.take_turn(search.plan, self._perturbed, self._view, length=len(search.samples), random=random)

    def _view(self, batch: Batch) -> Batch:
        return augmented(self.search.plan.augment, batch, self.search.surrogate.tasks)

    def _perturbed(self, order: Sequence[int]) -> Iterator[Batch]:
        """Yield batches with the perturbations stored at present."""
        position = 0
        for batch in self.search.batches(order):
            delta = self.store.read(order[position : position + len(batch)])
            position += len(batch)
            yield Batch((batch.images + delta.to(batch.images.device)).clamp(0.0, 1.0), batch.targets)

    def _before(self, round: int, start: int) -> tuple[int, int]:
        """Return the number of steps before a sample of a round, and of the images in them."""
        size, length, steps = self.search.batch_size.value, len(self.search.samples), self.search.plan.steps
        batches = round * -(-length // size) + -(-start // size)
        return batches * steps, (round * length + start) * steps

    def _restore(self) -> int:
        """Load the surrogate's last turn and return its round, or -1 before the first."""
        state = self.kept.load()
        if state is None:
            # Also the state before the first turn, because a resumed call may bring another surrogate.
            self._keep(-1)
            return -1
        with self.kept.taking_up():
            self.learner.load_state_dict(state)
            restore_state(self.search.loss, state)
            self.search.batch_size.value = count_in(state, "batch_size", minimum=1)
            return count_in(state, "round", minimum=-1)

    def _keep(self, round: int) -> None:
        state = {**self.learner.state_dict(), **state_of(self.search.loss)}
        self.kept.save({**state, "round": round, "batch_size": self.search.batch_size.value})
