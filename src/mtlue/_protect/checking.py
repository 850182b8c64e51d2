"""Check what a generator makes before all of it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mtlue._check import (
    NETWORKS,
    Check,
    CheckData,
    CheckPlan,
    check_size,
    forward_cost,
    network_for,
    run_check,
)
from mtlue._data import Batch, Inspection, Samples, Transform, ordered_batches, resize, to_bytes, to_unit_floats
from mtlue._fit import History
from mtlue._formats import Fields, WorkFolder, signed
from mtlue._generator import add_levels, generation_batch_size, largest_level
from mtlue._protect.generation import Generation
from mtlue._runtime import Compute, Stream, warn, write_bytes
from mtlue._tasks import CheckedTargets

_CHECK, _FORMAT = "check.json", "mtlue check 1"
#: With fewer samples nothing can be judged.
FEWEST_SAMPLES = 64
#: A check may cost this share of the generator's training. Small networks take longer than their operations suggest.
_BUDGET, _SLOWER = 0.1, 2.0
# More have not been shown to help.
_ATTEMPTS = 3

logger = logging.getLogger("mtlue.protect")


def check_generation(
    generation: Generation,
    inspection: Inspection,
    history: History | None,
    folders: WorkFolder | None,
    *,
    transform: Callable[[], Transform | None],
    network_passes: float = 0.0,
) -> Check:
    """Measure what small networks learn from a generator's images.

    The result is kept in the folder of a call, and read from there. Of several ranks, the first one measures.

    Args:
        generation: The generator, and the samples to perturb.
        inspection: What reading the data set found.
        history: The generator's training, if this call trained it. The check costs a tenth of it.
        folders: Folders with the state of an interrupted call; None if nothing is kept.
        transform: Returns the augmentation through which networks see images.
        network_passes: How often a small network saw each image in that training, forward and backward.
    """
    file = None if folders is None else folders.work / _CHECK
    if file is not None and folders is not None and folders.ranks.rank:
        folders.wait_for_main(file.exists)
    if file is not None and file.exists():
        return _kept(file)
    check = _checked(generation, inspection, history, transform, network_passes)
    if file is not None:
        write_bytes(json.dumps(signed({"format": _FORMAT, "check": check.to_json()})).encode(), file)
    return check


def _kept(file: Path) -> Check:
    """Read the check of an interrupted call.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        fields = Fields.read(file)
        fields.check(_FORMAT)
        return Check.from_json(fields.text("check"))
    except ValueError as error:
        raise ValueError(f"path: {file} is damaged ({error}); delete it, and the check is made again") from None


def tell(check: Check, *, fraction: float, attempts: int, default: bool, longer: bool) -> None:
    """Log the result, and warn about tasks that are still learned.

    Args:
        check: The result.
        fraction: Share of the samples that are perturbed.
        attempts: How many generators were trained.
        default: Whether the generator was trained by the default recipe.
        longer: Whether a longer training may help.
    """
    if not any(check.images):
        logger.info("check: %s", next(iter(check.untold.values()), "no task to tell of"))
        return
    logger.info("check: what a small network learns:\n%s", check)
    for sentence in check.sentences:
        logger.info("check: %s", sentence)
    told = dict(zip(check.verdict, check.sentences, strict=True))
    if check.still_learned:
        # In the order of what helped in benchmarks/strength.py.
        advice = {
            "fraction=1.0; images that are left clean teach all there is to learn": fraction < 1,
            "leave out surrogate=, loss= and generator= (the default recipe)": not default,
            "more epochs": longer,
            "a larger epsilon": True,
            "fewer protected_tasks, which then share the budget": len(check.protected_tasks) > 1,
            f"attempts={_ATTEMPTS}, which keeps the best of three": attempts < _ATTEMPTS,
        }
        learned = "; ".join(told[name] for name in check.still_learned)
        may_help = "; ".join(text for text, applies in advice.items() if applies)
        warn(f"check: {learned}. What may help: {may_help}. mtlue.evaluation.audit measures it in full")
    spoilt = [name for name, verdict in check.verdict.items() if verdict == "spoilt"]
    if spoilt:
        warn(f"check: {'; '.join(told[name] for name in spoilt)}; it should stay learnable")
    if check.protected_tasks and all(check.verdict[name] == "cannot tell" for name in check.protected_tasks):
        names = ", ".join(map(repr, check.protected_tasks))
        warn(
            f"check: cannot tell what is protected of {names}: a small network learns too little from clean images; do the "
            "labels belong to the images?"
        )


def _checked(
    generation: Generation,
    inspection: Inspection,
    history: History | None,
    transform: Callable[[], Transform | None],
    network_passes: float,
) -> Check:
    samples, compute = generation.samples, generation.compute
    protected = generation.protected_tasks
    length = len(samples)
    if length < FEWEST_SAMPLES:
        why = f"there are {length} images, and the check needs {FEWEST_SAMPLES}"
        return Check(untold=dict.fromkeys(samples.tasks, why), protected_tasks=list(protected))
    typical = inspection.typical_size
    views = None
    if history is not None:
        each = _cost(generation, (inspection.channels, *check_size(typical))) + network_passes
        views = _BUDGET * len(history) * length * each / NETWORKS
    plan, size = plan_for(inspection, samples, typical, views=views)
    logger.info(
        "check: %d images to learn from, %d to be tested on, of %d x %d pixels, %d steps of %d",
        plan.train, plan.test, *size, plan.steps, plan.batch_size,
    )  # fmt: skip
    data = _read(generation, *split_for(length, plan, compute), size)
    return run_check(data, samples.tasks, protected, plan, replace(compute, progress=False), transform=transform())


def plan_for(
    inspection: Inspection, samples: Samples, typical: tuple[int, int], *, views: float | None
) -> tuple[CheckPlan, tuple[int, int]]:
    """Return the size of a check of a data set, and the height and width of its images.

    Args:
        inspection: What reading the data set found.
        samples: The data set.
        typical: Height and width of its images.
        views: How many images each network may see, counting repeats. None for as many as are of use.
    """
    size = check_size(typical)
    image_bytes = inspection.channels * size[0] * size[1]
    plan = CheckPlan.within(length=inspection.length, image_bytes=image_bytes, has_maps=samples.has_maps, views=views)
    return plan, size


def split_for(length: int, plan: CheckPlan, compute: Compute) -> tuple[list[int], list[int]]:
    """Choose the samples that small networks learn from, and others for testing."""
    order = torch.randperm(length, generator=compute.generator(Stream.CHECK)).tolist()
    return sorted(order[: plan.train]), sorted(order[plan.train : plan.train + plan.test])


def clean_batch(samples: Samples, indices: Sequence[int], size: tuple[int, int], compute: Compute) -> Batch:
    """Read some samples as a batch of clean 8-bit images of one size, on the CPU."""
    here = replace(compute, device=torch.device("cpu"))
    read = [
        Batch(_at(list(part.images), size), part.targets)
        for part in ordered_batches(samples, indices, batch_size=FEWEST_SAMPLES, compute=here)
    ]
    return Batch(torch.cat([part.images for part in read]), _joined([part.targets for part in read], samples, size))


def _cost(generation: Generation, shape: tuple[int, int, int]) -> float:
    """Return the cost of an image's forward pass through the generator, in forward passes through a network of the check."""
    samples = generation.samples
    few = samples.read(range(2), torch.device("cpu"))
    with generation.ready():
        cost = forward_cost(lambda: generation.perturbations(few), images=2)
    network = network_for(samples.tasks, shape, seed=0).module.eval()
    return cost / (_SLOWER * forward_cost(lambda: network(torch.zeros(2, *shape)), images=2))


def _read(generation: Generation, train: Sequence[int], test: Sequence[int], size: tuple[int, int]) -> CheckData:
    generator, samples, compute = generation.generator, generation.samples, generation.compute
    random = compute.generator(Stream.CHECK, 5)
    limit = largest_level(generator.epsilon)
    clean, noisy, protected, targets = [], [], [], []
    for originals, made in generation.pairs(train, generation_batch_size(generator, compute.device)):
        for index, image in zip(originals.indices, originals.images, strict=True):
            signs = 2 * torch.randint(2, image.shape, generator=random, dtype=torch.int16) - 1
            noisy.append(add_levels(image, signs * limit, generator.epsilon) if generation.selected[index] else image)
        clean += list(originals.images)
        protected += made
        targets.append(originals.batch.targets)
    learned = Batch(_at(clean, size), _joined(targets, samples, size))
    return CheckData(learned, _at(noisy, size), _at(protected, size), clean_batch(samples, test, size, compute))


def _at(images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Resize 8-bit images, (N, C, H, W), to one size."""
    return torch.stack([to_bytes(resize(to_unit_floats(image).unsqueeze(0), size)).squeeze(0) for image in images])


def _joined(targets: Sequence[CheckedTargets], samples: Samples, size: tuple[int, int]) -> CheckedTargets:
    return CheckedTargets({
        name: torch.cat([task.resize_target(each[name], size) for each in targets]) for name, task in samples.tasks.items()
    })
