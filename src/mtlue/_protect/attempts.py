"""Train several generators and keep the best one, as the check judges."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from mtlue._check import Check
from mtlue._data import Inspection, Samples, Transform
from mtlue._fit import FitPlan, History, OtherRunError
from mtlue._formats import WorkFolder
from mtlue._generator import UEGenerator
from mtlue._losses import has_state
from mtlue._protect.checking import FEWEST_SAMPLES, check_generation
from mtlue._protect.generation import Generation
from mtlue._protect.mirroring import augmentation_for
from mtlue._protect.stages import Models, train_models
from mtlue._runtime import Compute, Stream, from_rank, together

logger = logging.getLogger("mtlue.protect")


def check_attempts(attempts: int, *, check: bool, generator: UEGenerator | None) -> None:
    """Refuse several attempts if nothing can choose among them, or if nothing is trained.

    Raises:
        ValueError: there is no check, or a generator was given.
    """
    if attempts > 1 and not check:
        raise ValueError(f"attempts: expected 1 with check=False, got {attempts}; the check chooses among them")
    if attempts > 1 and generator is not None:
        raise ValueError(
            f"attempts: expected 1 with a generator, got {attempts}; leave it out, so that each attempt makes its own"
        )


@dataclass(frozen=True)
class Making:
    """The part of a call that does not depend on the attempt.

    Attributes:
        samples: The data set.
        inspection: What reading the data set found.
        selected: Which samples to perturb, booleans of shape (N,).
        protected: Names of the tasks to make unlearnable.
        compute: Where and how to compute.
        network_passes: See `mtlue._fit.Recipe`.
    """

    samples: Samples
    inspection: Inspection
    selected: Tensor
    protected: Sequence[str]
    compute: Compute
    network_passes: float = 0.0

    @cached_property
    def augmentation(self) -> Transform | None:
        """The augmentation through which networks see images, in training and in the check."""
        return augmentation_for(self.samples, self.inspection, self.compute)

    def generation(self, generator: UEGenerator) -> Generation:
        """Pair a generator with the samples to perturb."""
        return Generation(generator.eval(), self.samples, self.selected, self.protected, self.compute)

    def check(self, generator: UEGenerator, history: History | None, folders: WorkFolder | None) -> Check:
        """Measure what small networks learn from a generator's images; see `check_generation`."""
        return check_generation(
            self.generation(generator),
            self.inspection,
            history,
            folders,
            transform=lambda: self.augmentation,
            network_passes=self.network_passes,
        )

    def train(
        self, models: Models, plan: FitPlan, attempts: int, folders: WorkFolder | None
    ) -> tuple[UEGenerator, History, Check | None]:
        """Train a generator. With several attempts, return the one from which small networks learn least, with its check.

        The first attempt equals a call with a single attempt. Each further one has a seed, a surrogate and a loss of its own,
        and a folder inside that of the call.

        Args:
            models: The given models. With several attempts they do not change.
            plan: The settings of each training.
            attempts: The number of attempts.
            folders: Folders with the state of an interrupted call.

        Raises:
            ValueError: there are too few samples to tell which attempt is best, or a call with other arguments was interrupted.
        """
        try:
            return self._trained(models, replace(plan, augment=self.augmentation), attempts, folders)
        except OtherRunError as error:
            # The caller gave a path, and does not know about the checkpoint.
            raise error if folders is None else folders.left_by_another_call(error.changed) from None

    def _trained(
        self, models: Models, plan: FitPlan, attempts: int, folders: WorkFolder | None
    ) -> tuple[UEGenerator, History, Check | None]:
        length = self.inspection.length
        if attempts == 1:
            return (*self._train_models(models, plan, self.compute, folders), None)
        if length < FEWEST_SAMPLES:
            raise ValueError(
                f"attempts: expected 1 for {length} samples, got {attempts}; choosing among attempts takes "
                f"at least {FEWEST_SAMPLES}"
            )
        made = [self._attempt(number, attempts, models, plan, folders) for number in range(attempts)]
        with together(self.compute.device):
            # Ranks of one job keep the same one, whatever the last digits of their checks say.
            best: int = from_rank(0, lambda: max(range(attempts), key=lambda number: made[number][2].protection))
        return made[best]

    def _attempt(
        self, number: int, attempts: int, models: Models, plan: FitPlan, folders: WorkFolder | None
    ) -> tuple[UEGenerator, History, Check]:
        logger.info("protect: attempt %d of %d", number + 1, attempts)
        compute = self.compute if not number else replace(self.compute, seed=self.compute.seed_of(Stream.ATTEMPT, number))
        place = None if folders is None else folders.inside(f"attempt-{number}")
        generator, history = self._train_models(_copied(models), plan, compute, place)
        check = self.check(generator, history, place)
        mean, worst = (-value for value in check.protection)
        logger.info("protect: attempt %d of %d: R %.2f in the mean, %.2f at worst", number + 1, attempts, mean, worst)
        return generator, history, check

    def _train_models(
        self, models: Models, plan: FitPlan, compute: Compute, folders: WorkFolder | None
    ) -> tuple[UEGenerator, History]:
        # Only the training: each rank reads the whole set for what is done around it.
        with together(compute.device):
            return train_models(models, self.samples, self.inspection, plan, compute, folders)


def _copied(models: Models) -> Models:
    """Copy the models, where a training would change them."""
    surrogate = copy.deepcopy(models.surrogate) if models.loss.trains_surrogate else models.surrogate
    loss = copy.deepcopy(models.loss) if has_state(models.loss) else models.loss
    return replace(models, surrogate=surrogate, loss=loss)
