"""Measure a model on a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_batch_size, check_image_size
from mtlue._data import Batch, Samples, check_map_style, image_problem, ordered_batches
from mtlue._fit import answer_of
from mtlue._losses import Surrogate, borrowed
from mtlue._runtime import BatchSize, Compute
from mtlue._tasks import Tasks, resolve_tasks
from mtlue.evaluation._metrics import metrics_for

# Samples in a batch. Answers to tasks with maps are as large as the images.
_AT_ONCE, _MAPS_AT_ONCE = 256, 32


def evaluate(
    model: nn.Module | Surrogate,
    dataset: Dataset[Any],
    *,
    tasks: Tasks,
    image_size: tuple[int, int] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
) -> dict[str, dict[str, float]]:
    """Measure a model on a data set in eval mode, and return the model to the mode it was in.

    Metrics are computed over the whole set, not averaged over batches or images. Missing labels, ignored pixels and pixels
    without a reading do not count. If nothing is labelled, a metric is NaN.

    * Classification: ``accuracy`` and ``balanced_accuracy`` (the mean recall of the classes that occur). With two classes also
      ``auroc``, which is NaN if all labels are of one class.
    * Segmentation: ``miou``, the mean intersection over union of the classes that occur in labels or answers, and
      ``pixel_accuracy``.
    * Depth: ``absolute_error``, the mean of ``|p - g|`` in the labels' unit, and ``relative_error``, the mean of ``|p - g| /
      g``.
    * Surface normals: ``mean_angle`` and ``median_angle`` between answer and label in degrees. The median is exact to 0.001°.
    * Another kind of task: the metrics registered for it (see `metrics_for`), or else ``loss``, its mean loss over samples.

    Args:
        model: A module that takes images in [0, 1]. It may answer in any form that `mtlue.Surrogate` reads.
        dataset: Map-style set of pairs (image, targets).
        tasks: The tasks that the model answers.
        image_size: Height and width to resize images to. None if all images have one size.
        batch_size: Samples in a batch, halved when memory runs out. By default 256, or 32 if labels are maps. It does not
            change the result.
        device: Where to compute. By default the model's device.
        precision: ``torch.float32`` or ``torch.bfloat16``. By default bfloat16 on a GPU that supports it.
        num_workers: Processes that read the data set.

    Returns:
        A dict of metrics for each task: task -> metric -> value.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the data set is empty or has images outside [0, 1], the model does not answer the tasks, or it answers with
            maps of another size than the labels.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> images, labels = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 1, 1])
        >>> always_one = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with torch.no_grad():
        ...     _ = always_one[1].weight.zero_(), always_one[1].bias.copy_(torch.tensor([0.0, 1.0]))
        >>> evaluation.evaluate(always_one, torch.utils.data.TensorDataset(images, labels), tasks={"face": 2})
        {'face': {'accuracy': 0.75, 'balanced_accuracy': 0.5, 'auroc': 0.5}}
    """
    resolved = resolve_tasks(tasks)
    victim = model if isinstance(model, Surrogate) else Surrogate(model, resolved, argument="model")
    if victim.tasks != resolved:
        raise ValueError(f"model: its tasks {victim.tasks} differ from the tasks of this call, {resolved}")
    check_map_style("dataset", dataset)
    check_batch_size(batch_size)
    samples = Samples(dataset, resolved, size=check_image_size(image_size))
    compute = Compute.checked(device=device, module=victim.module, precision=precision, num_workers=num_workers)
    return measure(victim, samples, compute, batch_size=batch_size)


def measure(
    victim: Surrogate, samples: Samples, compute: Compute, *, batch_size: int | None = None
) -> dict[str, dict[str, float]]:
    """Run `evaluate` on arguments that are already checked.

    Raises:
        ValueError: an image is outside [0, 1], or the model answers with maps of another size than the labels.
    """
    if batch_size is None:
        batch_size = _MAPS_AT_ONCE if samples.has_maps else _AT_ONCE
    metrics = {name: metrics_for(task) for name, task in victim.tasks.items()}
    size = BatchSize(batch_size)

    @torch.no_grad()
    def answer(part: Batch) -> dict[str, Tensor]:
        with compute.autocast():
            return victim.read(answer_of(victim, part.images))

    with borrowed(victim.module, device=compute.device, trainable=False):
        seen = 0
        for batch in ordered_batches(samples, range(len(samples)), batch_size=batch_size, compute=compute):
            if image_problem(batch.images) is not None:
                problems = enumerate(map(image_problem, batch.images), start=seen)
                raise ValueError("dataset: " + next(f"sample {index}: {each}" for index, each in problems if each is not None))
            seen += len(batch)
            for part, outputs in size.run(answer, batch):
                for name, target in part.targets.items():
                    try:
                        metrics[name].update(outputs[name], target)
                    except ValueError as error:
                        raise ValueError(f"model: task {name!r}: {error}") from None
    return {name: each.compute() for name, each in metrics.items()}
