"""Error-minimising noise on pixels: the surrogate and the perturbations take turns."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtlue._data import Batch, augmented
from mtlue._fit import Checkpoint, SurrogateTraining, count_in
from mtlue._losses import frozen, restore_state, state_of
from mtlue._protect import WorkFolder
from mtlue._runtime import ALONE, Stream, remove_folder
from mtlue.baselines._pixel_search import Pixels, PixelSearch
from mtlue.baselines._pixel_store import PixelStore

# The state sorts behind the rest, so it goes last when the folder is removed: a repeated call still finds the surrogate.
_PERTURBATIONS, _STATE = "perturbations", "surrogate.pt"
# Enough to divide them evenly between many ranks.
_MOST_BLOCKS = 256

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

    Attributes:
        store: The perturbations, once `run` has begun.
    """

    store: PixelStore

    def __init__(self, search: PixelSearch, shape: tuple[int, int, int], folders: WorkFolder | None) -> None:
        self.search, self._shape, self._folders = search, shape, folders
        self._ranks = ALONE if folders is None else folders.ranks
        self._kept = Checkpoint(None if folders is None else folders.work / _STATE, {})
        self._finished, self._block_size, self._name = False, 0, ""
        self._seen: tuple[int, int] | None = None
        self.learner = SurrogateTraining(
            search.surrogate,
            learning_rate=search.plan.learning_rate,
            batch_size=search.batch_size,
            compute=search.compute,
            loss=search.loss,
        )

    def run(self) -> None:
        """Alternate until the last round, or until the surrogate has learned the perturbations.

        If an interrupted call has already published the store, nothing is left to do.
        """
        if self._folders is None:
            self._lead()
        elif self._ranks.rank:
            self._follow(self._folders)
        elif self._folders.is_published:
            self._take_up(searched=True)
        else:
            self._lead()

    def _lead(self) -> None:
        current = self._begin()
        if current >= 0:
            logger.info("pgd: going on in round %d of %d", current + 1, self.search.plan.rounds)
            for block in self.store.own(self._ranks):
                self._skip(block.indices, rounds=current)
            self._finished = self._finished or self._run_round(current)
        while not self._finished:
            current += 1
            with self.search.compute.random_numbers(Stream.PIXEL_SURROGATE, current):
                self._train_surrogate(current)
            self._keep(current)
            self._finished = self._run_round(current)
        self._keep(current)

    def _follow(self, folders: WorkFolder) -> None:
        """Take part in each round that the first rank begins, until it says that the last one is over.

        Raises:
            TimeoutError: the first rank has ended, or is replaced by that of another call.
        """
        call = folders.call()
        while not self._finished:
            folders.wait_for_main(lambda: self._stamp() not in (None, self._seen) or folders.is_out(call))
            if folders.is_out(call):
                self._take_up(searched=True)
                return
            self._seen = self._stamp()
            current = self._take_up()
            if current is not None and current >= 0 and not self._finished:
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
        search, own = self.search, self.store.own(self._ranks)
        search.figures["round"] = round + 1
        with frozen(search.surrogate.module):
            for block in self.store.taken(self._ranks):
                start = block.resume(round, lambda beside: restore_state(search.loss, beside))
                if block in own:
                    self._skip(range(block.indices.start, start))
                if start == block.indices.stop:
                    continue
                for batch in search.batches(range(start, block.indices.stop)):
                    pixels = Pixels(batch, self.store.read(range(start, start + len(batch))), start)
                    delta = search.descend(pixels, steps=search.plan.steps, round=round)
                    block.write(delta, round=round, start=start, beside=state_of(search.loss))
                    start += len(batch)

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
            delta = self.store.read(order[position : position + len(batch)])
            position += len(batch)
            yield Batch((batch.images + delta.to(batch.images.device)).clamp(0.0, 1.0), batch.targets)

    def _begin(self) -> int:
        """Take up what an interrupted call left, or begin. Returns the round of the surrogate's last turn, or -1.

        Raises:
            OSError: there is no room for the perturbations.
        """
        current = self._take_up()
        if current is None:
            current, batch = -1, self.search.batch_size.value
            # A name of its own: what another call still writes, which has lost its folder, does not get here.
            self._open(batch * -(-len(self.search.samples) // (_MOST_BLOCKS * batch)), secrets.token_hex(8))
            folder = self._folder(self._name)
            if folder is not None:
                if folder.parent.exists():
                    remove_folder(folder.parent)
                folder.mkdir(parents=True)
            try:
                self.store.allocate()
            except OSError:
                if folder is not None:
                    # Otherwise what was allocated would keep the disk full.
                    remove_folder(folder)
                raise
            # Also the state before the first turn, because a resumed call may bring another surrogate.
            self._keep(current)
        return current

    def _take_up(self, *, searched: bool = False) -> int | None:
        """Load the state after the surrogate's last turn. Returns its round, or None without a state or its perturbations.

        Args:
            searched: Whether nothing is left to search, so that the perturbations may be gone.
        """
        state = self._kept.load()
        if state is None:
            return None
        first = not self._name
        with self._kept.taking_up():
            size, name = count_in(state, "block_size", minimum=1), _name_in(state)
        if first:
            self._open(size, name)
        elif name != self._name and self._folders is not None:
            raise self._folders.without_main()
        if not searched and not self.store.is_there:
            # Without its perturbations a state is useless. The first rank begins anew.
            self._name = ""
            return None
        with self._kept.taking_up():
            self.learner.load_state_dict(state)
            restore_state(self.search.loss, state)
            batch_size = count_in(state, "batch_size", minimum=1)
            # A rank that has run out of memory since keeps what fits it.
            self.search.batch_size.value = batch_size if first else min(batch_size, self.search.batch_size.value)
            self._finished = bool(state["finished"])
            return count_in(state, "round", minimum=-1)

    def _folder(self, name: str) -> Path | None:
        return None if self._folders is None else self._folders.work / _PERTURBATIONS / name

    def _open(self, block_size: int, name: str) -> None:
        length, epsilon, folder = len(self.search.samples), self.search.plan.epsilon, self._folder(name)
        self._block_size, self._name = block_size, name
        self.store = PixelStore(length, self._shape, epsilon=epsilon, block_size=block_size, folder=folder)

    def _keep(self, round: int) -> None:
        self._kept.save({
            **self.learner.state_dict(),
            **state_of(self.search.loss),
            "round": round,
            "finished": self._finished,
            "batch_size": self.search.batch_size.value,
            "block_size": self._block_size,
            "name": self._name,
        })

    def _stamp(self) -> tuple[int, int] | None:
        """Return what tells one state from the next, or None if there is none."""
        try:
            found = os.stat(self._kept.path or "")
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


def _name_in(state: dict[str, Any]) -> str:
    """Read the name of the folder with the perturbations.

    Raises:
        KeyError: the state has none.
        ValueError: it is not one that this module has given.
    """
    name = state["name"]
    if not isinstance(name, str) or not name.isalnum():
        raise ValueError(f"name is {name!r}, expected letters and digits")
    return name
