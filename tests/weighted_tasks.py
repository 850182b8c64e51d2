"""Two tasks with shared parameters, and the step that a weighting of their losses leaves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mtlue.evaluation._weighting import Weighting

CPU = torch.device("cpu")


class TwoTasks(nn.Module):
    """Two shared parameters and a head for each task; the losses are smooth functions of all of them."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.shared = nn.ParameterList([torch.randn(3, 2, generator=random), torch.randn(4, generator=random)])
        self.heads = nn.ParameterList([torch.randn(3, generator=random), torch.randn(2, generator=random)])
        self.unused = nn.Parameter(torch.ones(2))

    def losses(self) -> dict[str, Tensor]:
        matrix, vector = self.shared
        return {
            "age": (self.heads[0] @ matrix).square().sum() + vector.cos().sum(),
            "gender": 3 * (matrix @ self.heads[1]).sin().sum() + vector[:3] @ matrix[:, 0],
        }


def gradients(module: TwoTasks) -> tuple[np.ndarray, list[Tensor]]:
    """The (2, 10) matrix of the shared parameters' gradients, and each task's gradient of its own head."""
    rows, heads = [], []
    for index, loss in enumerate(module.losses().values()):
        *shared, head = torch.autograd.grad(loss, [*module.shared, module.heads[index]], retain_graph=True)
        rows.append(torch.cat([gradient.flatten() for gradient in shared]).double().numpy())
        heads.append(head)
    return np.stack(rows), heads


def step(weighting: Weighting, module: TwoTasks) -> np.ndarray:
    """Gradient of the shared parameters that a weighting leaves, (10,)."""
    weighting.prepare(2, CPU)
    weighting.backward(module.losses(), module)
    return grad_of(module)


def grad_of(module: TwoTasks) -> np.ndarray:
    return np.concatenate([np.zeros(0) if p.grad is None else p.grad.flatten().double().numpy() for p in module.shared])


def weigh(weighting: Weighting, *rows: list[float]) -> list[float]:
    """Gradient that a weighting makes of linear losses with these gradients."""
    module = nn.Linear(len(rows[0]), 1, bias=False)
    weighting.prepare(len(rows), CPU)
    weighting.backward({str(index): module(torch.tensor(row)).sum() for index, row in enumerate(rows)}, module)
    assert module.weight.grad is not None
    return [float(value) for value in module.weight.grad.flatten()]
