"""Error-minimising noise on pixels: the surrogate and the perturbations take turns."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from mtlue._data import Batch, augmented
from mtlue._fit import Checkpoint, SurrogateTraining, count_in
from mtlue._formats import images_per_shard
from mtlue._losses import frozen, restore_state, state_of
from mtlue._protect import WorkFolder
from mtlue._runtime import ALONE, Stream
from mtlue.baselines._pixel_search import Pixels, PixelSearch
from mtlue.baselines._pixel_store import PixelBlock, PixelStore

# The first by name, so it is the first to go when the folder is removed. Without it, the rest of a search is not resumed.
_STATE, _PERTURBATIONS = "alternation.pt", "perturbations"

logger = logging.getLogger("mtlue.baselines")


class Alternation:
    """Rounds of training the surrogate on perturbed images, and then changing all perturbations (equation 1).

    Several ranks share the folder and divide the perturbations between them, block by block. The first rank alone trains the
    surrogate, which takes few steps, and measures it. The others take over its state in each round.

    Args:
        search: The search on a batch, with its surrogate and settings.
        shape: Shape (C, H, W) of all images.
        folders: Where the perturbations are kept, together with the surrogate and its optimiser as they were after the last
            complete turn. None keeps them in memory.
    """

    def __init__(self, search: PixelSearch, shape: tuple[int, int, int], folders: WorkFolder | None) -> None:
        self.search, self._shape, self._folders = search, shape, folders
        self._ranks = ALONE if folders is None else folders.ranks
        self._folder = None if folders is None else folders.inside(_PERTURBATIONS).work
        self._kept = Checkpoint(None if folders is None else folders.work / _STATE, {})
        self._finished, self._shown = False, 0
        self._seen: tuple[int, int] | None = None
        self.learner = SurrogateTraining(
            search.surrogate,
            learning_rate=search.plan.learning_rate,
            batch_size=search.batch_size,
            compute=search.compute,
            loss=search.loss,
        )

    def run(self) -> PixelStore:
        """Alternate until the last round, or until the surrogate has learned the perturbations. Returns the perturbations."""
        if self._folders is not None and self._ranks.rank:
            self._follow(self._folders)
        else:
            self._lead()
        return self._store

    def _lead(self) -> None:
        current = self._begin()
        if current >= 0:
            logger.info("pgd: going on in round %d of %d", current + 1, self.search.plan.rounds)
            self._finished = self._finished or self._run_round(current)
        while not self._finished:
            current += 1
            with self.search.compute.random_numbers(Stream.PIXEL_SURROGATE, current):
                self._train_surrogate(current)
            self._keep(current)
            self._finished = self._run_round(current)
        self._keep(current)

    def _follow(self, folders: WorkFolder) -> None:
        """Take part in each round that the first rank begins, until it says that the last one is over."""
        while not self._finished:
            folders.wait_for_main(lambda: self._stamp() not in (None, self._seen))
            self._seen = self._stamp()
            current = self._take_up()
            # The first rank removes a state whose perturbations are gone, before it begins anew.
            if current is not None and current >= 0 and self._stamp() == self._seen and not self._finished:
                self._search(current)

    def _run_round(self, round: int) -> bool:
        """Step on all perturbations. Returns whether this was the last round."""
        self._search(round)
        search = self.search
        accuracy = None
        if round + 1 < search.plan.rounds:
            accuracy = self.learner.accuracy(self._perturbed(range(len(search.samples))), lambda batch: batch)
        told = "" if accuracy is None else f", surrogate_accuracy {accuracy:.4g}"
        logger.info("pgd: round %d of %d%s", round + 1, search.plan.rounds, told)
        if accuracy is None:
            return round + 1 == search.plan.rounds
        search.figures["surrogate_accuracy"] = accuracy
        return accuracy >= search.plan.stop_accuracy

    def _search(self, round: int) -> None:
        """Step on the perturbations of this rank, and on those that no other rank is at."""
        search, own = self.search, self._store.blocks[self._ranks.rank :: self._ranks.size]
        search.figures["round"] = round + 1
        for block in own:
            self._skip(block.indices, rounds=round - self._shown)
        self._shown = round + 1
        with frozen(search.surrogate.module):
            for block in self._store.taken(self._ranks):
                start = self._resumed(block, round)
                if block in own:
                    self._skip(range(block.indices.start, start))
                for batch in search.batches(range(start, block.indices.stop)):
                    pixels = Pixels(batch, self._store.read(range(start, start + len(batch))), start)
                    delta = search.descend(pixels, steps=search.plan.steps, round=round)
                    block.write(delta, round=round, start=start, beside=state_of(search.loss))
                    start += len(batch)

    def _resumed(self, block: PixelBlock, round: int) -> int:
        """Take up what an interrupted call left of a block. Returns the first sample that is still to be searched."""
        start = block.resume(round)
        if start > block.indices.start:
            note = block.note.load() or {}
            with block.note.taking_up():
                restore_state(self.search.loss, note)
        return start

    def _skip(self, indices: range, *, rounds: int = 1) -> None:
        """Show some samples as done, in some rounds."""
        steps = rounds * self.search.plan.steps
        self.search.progress.skip(-(-len(indices) // self.search.batch_size.value) * steps, len(indices) * steps)

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
            delta = self._store.read(order[position : position + len(batch)])
            position += len(batch)
            yield Batch((batch.images + delta.to(batch.images.device)).clamp(0.0, 1.0), batch.targets)

    def _begin(self) -> int:
        """Take up what an interrupted call left, or begin. Returns the round of the surrogate's last turn, or -1."""
        current = self._take_up()
        if current is None:
            if self._kept.path is not None:
                # Without the perturbations it is useless.
                self._kept.path.unlink(missing_ok=True)
            self._open(images_per_shard(self.search.batch_size.value))
            self._store.clear()
            # Also the state before the first turn, because a resumed call may bring another surrogate.
            current = -1
            self._keep(current)
        return current

    def _take_up(self) -> int | None:
        """Load the state after the surrogate's last turn. Returns its round, or None without a state or its perturbations."""
        state = self._kept.load()
        if state is None:
            return None
        with self._kept.taking_up():
            block_size = count_in(state, "block_size", minimum=1)
        self._open(block_size)
        if not self._store.is_there:
            return None
        with self._kept.taking_up():
            self.learner.load_state_dict(state)
            restore_state(self.search.loss, state)
            self.search.batch_size.value = count_in(state, "batch_size", minimum=1)
            self._finished = bool(state["finished"])
            return count_in(state, "round", minimum=-1)

    def _open(self, block_size: int) -> None:
        length, epsilon = len(self.search.samples), self.search.plan.epsilon
        self._block_size = block_size
        self._store = PixelStore(length, self._shape, epsilon=epsilon, block_size=block_size, folder=self._folder)

    def _keep(self, round: int) -> None:
        self._kept.save({
            **self.learner.state_dict(),
            **state_of(self.search.loss),
            "round": round,
            "finished": self._finished,
            "batch_size": self.search.batch_size.value,
            "block_size": self._block_size,
        })

    def _stamp(self) -> tuple[int, int] | None:
        """Return what tells one state from the next, or None if there is none."""
        try:
            found = os.stat(self._kept.path or "")
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
