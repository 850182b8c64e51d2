"""Slow, literal forms of what the library computes fast: the definitions of the paper, one sample and one pair at a time."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue


def literal_embedding(table: Tensor, label: int) -> Tensor:
    """The class's row; the mean of all rows for -1."""
    return table.mean(dim=0) if label == -1 else table[label]


def literal_label_map(task: mtlue.Task, target: Tensor) -> Tensor:
    """What an embedder reads of a batch of dense labels that have the image's size."""
    if not isinstance(task, mtlue.Segmentation):
        return target
    maps = torch.zeros(len(target), 1, *target.shape[1:])
    for sample, row, column in itertools.product(*map(range, target.shape)):
        label = int(target[sample, row, column])
        if label != task.ignore_index:
            maps[sample, 0, row, column] = (label + 1) / task.num_classes
    return maps


def literal_perturbation(
    generator: mtlue.UEGenerator,
    images: Tensor,
    targets: Mapping[str, Tensor],
    *,
    protected_tasks: Collection[str] | None = None,
) -> Tensor:
    """D([z, e^1, …, e^K]) with the concatenation built, for images of the generator's own size."""
    protected = list(generator.tasks) if protected_tasks is None else protected_tasks
    features = generator.encoder(images)
    parts = [features]
    for name, task in generator.tasks.items():
        if isinstance(task, mtlue.Classification):
            labels = [int(label) if name in protected else -1 for label in targets[name]]
            parts.append(torch.stack([literal_embedding(generator.embeddings[name], label) for label in labels]))
    for name, task in generator.tasks.items():
        if isinstance(task, mtlue.Classification):
            continue
        embedder, target = generator.embedders[name], targets[name]
        embedded = embedder(literal_label_map(task, target).to(images.dtype)) if name in protected else None
        nothing = -1 if isinstance(task, mtlue.Segmentation) else 0
        rows = []
        for sample in range(len(images)):
            if embedded is None or bool((target[sample] == nothing).all()):
                rows.append(embedder.mean_embedding.to(images.dtype).expand_as(features[0]))
            else:
                rows.append(embedded[sample])
        parts.append(torch.stack(rows))
    height, width = images.shape[-2:]
    raw = generator.decoder.refine(generator.decoder.expand(torch.cat(parts, dim=1)))[..., :height, :width]
    return generator.epsilon * raw.tanh() if generator.bound == "tanh" else raw.clamp(-generator.epsilon, generator.epsilon)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of two embeddings of any shape."""
    return F.cosine_similarity(first.flatten(), second.flatten(), dim=0)


def literal_intra_er(tables: Sequence[Tensor]) -> Tensor:
    """Equation 4: over all pairs of classes of one task, all tasks together."""
    pairs = [cosine(*pair) for table in tables for pair in itertools.combinations(table, 2)]
    return torch.stack(pairs).mean() if pairs else torch.zeros(())


def literal_inter_er(tables: Sequence[Tensor]) -> Tensor:
    """Equation 5: over all pairs of classes of two different tasks."""
    pairs = [
        cosine(one, other).abs()
        for first, second in itertools.combinations(tables, 2)
        for one, other in itertools.product(first, second)
    ]
    return torch.stack(pairs).mean() if pairs else torch.zeros(())


def random_targets(tasks: Mapping[str, mtlue.Task], batch: int, size: tuple[int, int], *, seed: int) -> dict[str, Tensor]:
    """Labels of every kind of task for a batch whose first sample has no label of any."""
    random = torch.Generator().manual_seed(seed)
    targets = {}
    for name, task in tasks.items():
        if isinstance(task, mtlue.Classification):
            target = torch.randint(task.num_classes, (batch,), generator=random)
            target[0] = task.ignore_index
        elif isinstance(task, mtlue.Segmentation):
            target = torch.randint(-1, task.num_classes, (batch, *size), generator=random)
            target[0] = task.ignore_index
        else:
            target = torch.rand(batch, task.label_channels, *size, generator=random) + 0.5
            target[:, :, 0, 0] = 0.0
            target[0] = 0.0
            if isinstance(task, mtlue.SurfaceNormals):
                target = F.normalize(target, dim=1)
        targets[name] = target
    return targets
