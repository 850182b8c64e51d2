"""The stages of a search on pixels: batch size, search, images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mtlue._data import Inspection, Samples, ordered_batches, to_bytes
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.surrogate_check import check_answers, check_gradient
from mtlue._formats import Images
from mtlue._losses import BaseUELoss, Surrogate, borrowed
from mtlue._protect.collecting import collect_images
from mtlue._protect.rounding import add_in_levels
from mtlue._protect.work_folder import WorkFolder
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._runtime.identity import described
from mtlue._runtime.memory import BatchSize, training_batch_size
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue.baselines._alternation import Alternation
from mtlue.baselines._pgd_settings import search_settings
from mtlue.baselines._pixel_search import PixelSearch, SearchPlan
from mtlue.baselines._pixel_store import PixelStore

_PROBE = 9
_STATE = "surrogate.pt"

logger = logging.getLogger("mtlue.baselines")


def search_images(
    samples: Samples,
    inspection: Inspection,
    surrogate: Surrogate,
    loss: BaseUELoss,
    plan: SearchPlan,
    batch_size: int | None,
    folders: WorkFolder | None,
    progress: ProgressOption,
) -> Images:
    """The protected images, in memory or in the finished folder.

    Raises:
        TypeError: the surrogate's answers are not made of tensors.
        ValueError: they do not fit the tasks, or the folder was left by a call with other arguments.
    """
    shape = (inspection.channels, *inspection.typical_size)
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        first = torch.randperm(len(samples), generator=torch.Generator().manual_seed(plan.seed))[:256].tolist()
        looked_at = ordered_batches(samples, first, batch_size=64, size=None, device=plan.device, num_workers=0)
        # A list: the check reads its batches without gradients, and the data set is not to be read so.
        check_answers(surrogate, loss, looked_at, plan.device)
        if folders is not None:
            # After the checks: a call that they refuse leaves nothing that would refuse the next one.
            check_gradient(surrogate, loss, samples, size=None, augment=plan.augment, device=plan.device, seed=plan.seed)
            folders.check_settings(search_settings(samples.dataset, inspection, surrogate, loss, plan, batch_size))
        with borrowed(surrogate.module, device=plan.device, trainable=loss.trains_surrogate):
            if batch_size is None:
                batch_size = _fitting_batch_size(surrogate, loss, samples, plan)
            logger.info(
                "pgd: %d samples, %s, %d rounds of %d steps, batches of %d samples, on %s in %s",
                len(samples), described(loss), plan.rounds, plan.steps, batch_size, plan.device, plan.precision,
            )  # fmt: skip
            steps = plan.rounds * plan.steps
            total, seen = steps * -(-len(samples) // batch_size), steps * len(samples)
            with Progress(progress, stage="pgd", total=total, images=seen) as shown:
                search = PixelSearch(surrogate, loss, samples, plan, BatchSize(batch_size), shown)
                if not loss.trains_surrogate:
                    return _collect(search, shape, folders, lambda start: _frozen(search, start))
                work = None if folders is None else folders.work
                state = None if work is None else work / _STATE
                fresh = state is None or not state.exists()
                store = PixelStore(len(samples), shape, epsilon=plan.epsilon, folder=work, fresh=fresh)
                Alternation(search, store, Checkpoint(state, {})).run()
                return _collect(search, shape, folders, lambda start: _stored(search, store, start))


def _frozen(search: PixelSearch, start: int) -> Iterator[Tensor]:
    """Protected batches from sample ``start`` on, each finished before the next is begun."""
    plan, size = search.plan, search.batch_size.value
    steps = plan.rounds * plan.steps
    search.progress.skip(-(-start // size) * steps, start * steps)
    for images, targets in search.batches(range(start, len(search.samples))):
        delta = search.descend(images, targets, None, steps=steps, round=0, first=start)
        start += len(images)
        yield add_in_levels(to_bytes(images.cpu()), delta, plan.epsilon)


def _stored(search: PixelSearch, store: PixelStore, start: int) -> Iterator[Tensor]:
    """Protected batches from sample ``start`` on, with perturbations that are finished."""
    for images, _ in search.batches(range(start, len(search.samples))):
        delta = store.read(range(start, start + len(images)))
        start += len(images)
        yield add_in_levels(to_bytes(images.cpu()), delta, search.plan.epsilon)


def _collect(
    search: PixelSearch,
    shape: tuple[int, int, int],
    folders: WorkFolder | None,
    batches: Callable[[int], Iterator[Tensor]],
) -> Images:
    """Collect protected batches, uint8, in memory or in the folder."""

    def from_sample(start: int, batch_size: int) -> Iterator[Sequence[Tensor]]:
        search.batch_size.value = batch_size
        for batch in batches(start):
            yield batch.unbind()

    def forget_state() -> None:
        # Here, and not with the rest: a kill amid the clean-up must not leave a state without its perturbations.
        if folders is not None:
            (folders.work / _STATE).unlink(missing_ok=True)

    return collect_images(
        from_sample,
        search.samples,
        shape=shape,
        epsilon=search.plan.epsilon,
        batch_size=search.batch_size.value,
        folders=folders,
        before_finish=forget_state,
    )


def _fitting_batch_size(surrogate: Surrogate, loss: BaseUELoss, samples: Samples, plan: SearchPlan) -> int:
    """Batch size from the memory that a step takes for each sample."""

    def step_of(count: int) -> Callable[[], object]:
        order = [index % len(samples) for index in range(count)]
        batches = ordered_batches(samples, order, batch_size=count, size=None, device=plan.device, num_workers=0)
        images, targets = next(iter(batches))
        probe = PixelSearch(surrogate, loss, samples, plan, BatchSize(count), Progress(False, stage="", total=0))
        return lambda: probe.loss_value(images.clone().requires_grad_(True), targets)

    with random_numbers(derived_seed(plan.seed, _PROBE), plan.device):
        return training_batch_size(step_of, plan.device, length=len(samples))
