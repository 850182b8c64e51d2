"""How the decoder sees the tables of class embeddings, and what each sample takes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from mtlue._generator.class_embeddings import ClassEmbeddingBank, selection_weights
from mtlue._tasks import Alike, CheckedTargets


def class_indices(group: Alike, targets: CheckedTargets, protected: Collection[str]) -> Tensor:
    """Row of each task's table for each sample, (B, n); -1 where the label is missing or the task is not protected."""
    labels = targets.together(group.names)
    index = group.task.embedding_index(labels.flatten()).view_as(labels)
    if all(name in protected for name in group.names):
        return index
    kept = torch.tensor([name in protected for name in group.names], device=index.device)
    return torch.where(kept, index, -1)


def group_rows(bank: ClassEmbeddingBank, group: Alike, position: Mapping[str, int]) -> list[dict[int, Tensor]]:
    """What `Decoder.spread` is to see of the tables of a group, so that `group_weights` picks from it.

    Of many tables, the sum of all first embeddings is one row, and what each other embedding differs by from the first is one.
    """
    if not group.many:
        return [{position[name]: bank[name]} for name in group.names]
    tables = torch.stack([bank[name] for name in group.names])
    first = {position[name]: row for name, row in zip(group.names, tables[:, :1].unbind(), strict=True)}
    others = (tables[:, 1:] - tables[:, :1]).unbind()
    if group.task.num_embeddings == 1:
        return [first]
    return [first, *({position[name]: rows} for name, rows in zip(group.names, others, strict=True))]


def group_weights(group: Alike, index: Tensor, *, dtype: torch.dtype) -> Tensor:
    """What turns the rows that `group_rows` gave into the sum of what each sample picks, (B, rows)."""
    rows = group.task.num_embeddings
    weights = selection_weights(index.flatten(), rows, dtype=dtype).view(len(index), -1, rows)
    if not group.many:
        return weights.flatten(1)
    # The weights of a task add up to one, so that of the first embedding follows from the others'.
    return torch.cat([weights.new_ones(len(index), 1), weights[..., 1:].flatten(1)], dim=1)
