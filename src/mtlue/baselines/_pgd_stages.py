"""The stages of a search on pixels: batch size, search, images."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Batch, Samples, run_settings, to_bytes
from mtlue._fit import Checkpoint, check_answers, check_gradient, probed_batch_size
from mtlue._formats import Images, ImageSink, Portion
from mtlue._losses import BaseUELoss, Surrogate, borrowed, has_state, networks_of, restore_state, state_of
from mtlue._protect import WorkFolder, add_in_levels, open_sink
from mtlue._runtime import ALONE, BatchSize, Compute, Progress, described, repeatable_convolutions
from mtlue._tasks import tasks_to_config
from mtlue.baselines._alternation import Alternation
from mtlue.baselines._pixel_search import Pixels, PixelSearch, SearchPlan
from mtlue.baselines._pixel_store import PixelStore

_LOSS = "loss.pt"

logger = logging.getLogger("mtlue.baselines")


def search_images(
    samples: Samples,
    shape: tuple[int, int, int],
    surrogate: Surrogate,
    loss: BaseUELoss,
    plan: SearchPlan,
    compute: Compute,
    folders: WorkFolder | None,
) -> Images:
    """Return the protected images, in memory or in the finished folder.

    Args:
        samples: The data set.
        shape: Shape (C, H, W) of all its images.
        surrogate: The model to search against.
        loss: The loss to minimise.
        plan: The settings of the search.
        compute: Where and how to compute.
        folders: Folders to stream to. None keeps the images in memory.

    Raises:
        TypeError: the surrogate's answers are not made of tensors.
        ValueError: the answers do not fit the tasks, or the folder was left by a call with other arguments.
    """
    with repeatable_convolutions():
        check_answers(surrogate, loss, samples, compute)
        if folders is not None:
            # After the checks: a refused call must leave nothing behind that would refuse the next one.
            check_gradient(surrogate, loss, samples, plan.augment, compute)
            own = {"loss": described(loss), "tasks": json.dumps(tasks_to_config(samples.tasks))}
            finished = folders.check_settings(
                run_settings(samples, {**networks_of(loss, surrogate), **plan.settings(), **compute.settings(), **own})
            )
            if finished is not None:
                return finished
        with borrowed(surrogate.module, device=compute.device, trainable=loss.trains_surrogate):
            batch_size = plan.batch_size or _fitting_batch_size(surrogate, loss, samples, plan, compute)
            # EM's surrogate also takes this many samples in a step, which cannot be more than the set has.
            batch_size = min(batch_size, len(samples))
            logger.info(
                "pgd: %d samples, %s, %d rounds of %d steps, batches of %d samples, on %s in %s",
                len(samples), described(loss), plan.rounds, plan.steps, batch_size, compute.device, compute.precision,
            )  # fmt: skip
            steps, ranks = plan.rounds * plan.steps, ALONE if folders is None else folders.ranks
            share = -(-len(samples) // ranks.size)
            with Progress(compute.progress, stage="pgd", total=steps * -(-share // batch_size), images=steps * share) as shown:
                search = PixelSearch(surrogate, loss, samples, plan, compute, BatchSize(batch_size), shown)
                work = None if folders is None else folders.work
                if not loss.trains_surrogate:
                    kept = Checkpoint(None if work is None or not has_state(loss) else work / _LOSS, {})
                    sink = _sink(search, shape, folders)
                    return sink.fill(lambda portion: _frozen(search, portion, kept))
                alternation = Alternation(search, shape, folders)
                alternation.run()
                sink = _sink(search, shape, folders)
                return sink.fill(lambda portion: _stored(search, alternation.store, portion))


def _sink(search: PixelSearch, shape: tuple[int, int, int], folders: WorkFolder | None) -> ImageSink:
    """Open the place for the images. A resumed search keeps the batch size that it began with."""
    size = search.batch_size.value
    sink = open_sink(search.samples, shape=shape, epsilon=search.plan.epsilon, batch_size=size, folders=folders)
    search.batch_size.value = sink.batch_size
    return sink


def _frozen(search: PixelSearch, portion: Portion, kept: Checkpoint) -> Generator[Sequence[Tensor], None, None]:
    """Yield protected batches. Each is finished before the next begins.

    Raises:
        ValueError: the state of the loss belongs to other batches.
    """
    plan, size, start = search.plan, search.batch_size.value, portion.done
    steps = plan.rounds * plan.steps
    search.progress.skip(-(-start // size) * steps, start * steps)
    # The state of a loss before and after the last batch: if the call is interrupted, only one of them matches the disk.
    found = kept.load() or {}
    with kept.taking_up():
        states: dict[int, Any] = found.get("before", {})
        if start in states:
            restore_state(search.loss, states[start])
        elif states:
            raise ValueError(f"{start} images are there, and no state of the loss at that point")
    kept.save({"before": {start: state_of(search.loss)}})
    # The loader asks for them ahead of what it yields.
    indices, asked = itertools.tee(portion.indices)
    for batch in search.batches(asked):
        states = {} if kept.path is None else {start: copy.deepcopy(state_of(search.loss))}
        first, *_ = itertools.islice(indices, len(batch))
        delta = search.descend(Pixels(batch, torch.zeros_like(batch.images), first), steps=steps, round=0)
        start += len(batch)
        kept.save({"before": {**states, start: state_of(search.loss)}})
        yield add_in_levels(to_bytes(batch.images.cpu()), delta, plan.epsilon).unbind()


def _stored(search: PixelSearch, store: PixelStore, portion: Portion) -> Generator[Sequence[Tensor], None, None]:
    """Yield protected batches from finished perturbations."""
    # The loader asks for them ahead of what it yields.
    indices, asked = itertools.tee(portion.indices)
    for batch in search.batches(asked):
        delta = store.read(list(itertools.islice(indices, len(batch))))
        yield add_in_levels(to_bytes(batch.images.cpu()), delta, search.plan.epsilon).unbind()


def _fitting_batch_size(surrogate: Surrogate, loss: BaseUELoss, samples: Samples, plan: SearchPlan, compute: Compute) -> int:
    probe = PixelSearch(surrogate, loss, samples, plan, compute, BatchSize(1), Progress(False, stage="", total=0))

    def step(batch: Batch) -> Tensor:
        return probe.loss_value(Batch(batch.images.clone().requires_grad_(True), batch.targets), batch.images)

    return probed_batch_size(step, samples, compute, loss=loss)
