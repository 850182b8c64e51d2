"""Regularisers of the class embeddings (equations 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtlue._generator import ClassEmbeddingBank
from mtlue._runtime import sent

# The smallest square of a length: an embedding of zeros then has the cosine zero with all others.
_LEAST = 1e-24


def intra_er(embeddings: ClassEmbeddingBank | Sequence[Tensor]) -> Tensor:
    """Regularise embeddings within a task (equation 4): how alike its classes are.

    The mean of ``cos(e_m^k, e_n^k)`` over all pairs m < n of all tasks together, with embeddings flattened. A task with one
    class adds no pairs.

    Args:
        embeddings: A bank, or one tensor of shape (C_k, ...) for each task.

    Returns:
        A scalar in [-1, 1]; 0 if there are no pairs.

    Example:
        >>> import torch, mtlue
        >>> mtlue.intra_er([torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [-1.0, 0.0]])])
        tensor(-0.5000)
    """
    return embedding_regularizers(embeddings)[0]


def inter_er(embeddings: ClassEmbeddingBank | Sequence[Tensor]) -> Tensor:
    """Regularise embeddings between tasks (equation 5): how alike the classes of different tasks are.

    The mean of ``|cos(e_m^k, e_n^l)|`` over all pairs of classes of different tasks k < l, with embeddings flattened.

    Args:
        embeddings: A bank, or one tensor of shape (C_k, ...) for each task, all of one size.

    Returns:
        A scalar in [0, 1]; 0 for a single task.

    Example:
        >>> import torch, mtlue
        >>> mtlue.inter_er([torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0], [0.0, 1.0]])])
        tensor(0.5000)
    """
    return embedding_regularizers(embeddings)[1]


def embedding_regularizers(embeddings: ClassEmbeddingBank | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return both regularisers, (intra, inter), from one product of all embeddings with each other."""
    if isinstance(embeddings, ClassEmbeddingBank):
        tables: list[Tensor] = [table for _, table in embeddings.items()]
    else:
        tables = list(embeddings)
    if not tables:
        return torch.zeros(()), torch.zeros(())
    # Half precision would round away the small cosines that remain late in training.
    with torch.autocast(tables[0].device.type, enabled=False):
        rows = torch.cat([table.flatten(1).float() for table in tables])
        products = rows @ rows.T
        # Lengths are on the diagonal: dividing the embeddings by them would cost more passes over all of them.
        lengths = products.diagonal().clamp_min(_LEAST).sqrt()
        cosines = products / lengths.outer(lengths)
        sizes = torch.tensor([len(table) for table in tables], device="cpu")
        task = sent(torch.arange(len(tables), device="cpu").repeat_interleave(sizes), cosines.device)
        same_task = task.unsqueeze(1) == task
        # The product holds each pair twice; the upper triangle has it once.
        intra = (cosines * same_task.triu(diagonal=1)).sum() / same_task.triu(diagonal=1).sum().clamp_min(1)
        inter = (cosines.abs() * ~same_task).sum() / (~same_task).sum().clamp_min(1)
    return intra, inter
