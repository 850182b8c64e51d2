"""Features of a data set at one layer of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_count
from mtlue._data import Batch, Samples, check_map_style, infer_tasks, ordered_batches, read_image
from mtlue._losses import borrowed
from mtlue._runtime import BatchSize, Compute
from mtlue._tasks import Tasks, resolve_tasks
from mtlue.analysis._layers import check_layer, only_answer, recorded


def collect_features(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    layer: nn.Module,
    tasks: Tasks | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    num_workers: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Collect the features of a layer and the labels for each image of a data set, for `intra_class_deviation`.

    The model runs in eval mode; its mode and device are restored.

    Args:
        model: Takes images in [0, 1], (B, C, H, W).
        dataset: Pairs (image, targets), as for `mtlue.protect`. Images that differ in size from the first are resized to it.
        layer: A part of the model that returns (B, F), or (B, F, H, W), which is averaged over the pixels. For instance its
            encoder.
        tasks: Tasks by name. An integer n means ``Classification(n)``. If None, the data set's own tasks, or else inferred from
            its labels.
        batch_size: Images in a batch. It is halved, with a warning, when the device runs out of memory.
        device: Where to compute. By default the model's device, or else CUDA, MPS or the CPU.
        num_workers: Processes that read the data set.

    Returns:
        Features (N, F), float32, and labels (N,) of each classification task, -1 where missing. Both are on the CPU. Tasks
        whose labels are maps have no entry.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the layer is not part of the model, does not run exactly once, or returns another shape; the data set is
            empty; a label or an image cannot be read.

    Example:
        >>> import torch
        >>> from mtlue import analysis
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 2))
        >>> dataset = [(torch.rand(3, 8, 8), label) for label in (0, 1, 1)]
        >>> features, targets = analysis.collect_features(model, dataset, layer=model[1], tasks={"gender": 2})
        >>> features.shape, targets
        (torch.Size([3, 8]), {'gender': tensor([0, 1, 1])})
    """
    check_layer(model, layer)
    check_map_style("dataset", dataset)
    batch_size = check_count("batch_size", batch_size, minimum=1)
    resolved = infer_tasks(dataset, num_workers=num_workers) if tasks is None else resolve_tasks(tasks)
    compute = Compute.checked(device=device, module=model, precision=torch.float32, num_workers=num_workers)
    height, width = read_image(dataset[0][0]).shape[-2:]
    samples = Samples(dataset, resolved, size=(height, width))
    classes = {name: task for name, task in resolved.items() if not task.is_map}
    sizes = BatchSize(batch_size)
    features: list[Tensor] = []
    labels: list[dict[str, Tensor]] = []

    def look(part: Batch) -> Tensor:
        with recorded(layer) as answers:
            model(part.images)
        return _pooled(only_answer(answers)).float().cpu()

    with borrowed(model, device=compute.device, trainable=False), torch.no_grad():
        for batch in ordered_batches(samples, range(len(samples)), batch_size=batch_size, compute=compute):
            features += [found for _, found in sizes.run(look, batch)]
            labels.append({name: task.embedding_index(batch.targets[name]).cpu() for name, task in classes.items()})
    return torch.cat(features), {name: torch.cat([each[name] for each in labels]) for name in classes}


def _pooled(answer: Tensor) -> Tensor:
    if answer.ndim == 4:
        return answer.mean(dim=(2, 3))
    if answer.ndim != 2:
        raise ValueError(f"layer: expected one that gives (B, F) or (B, F, H, W), got {tuple(answer.shape)}")
    return answer
