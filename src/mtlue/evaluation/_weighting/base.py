"""The base class of every weighting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Weighting(ABC):
    """How a victim's training makes one step of the losses of its tasks.

    Derive from this class to bring one of your own. A training calls `prepare` once, gives `parameters` to its optimiser
    together with the model's, and calls `backward` in each step, after the gradients have been cleared.

    A training that goes on from a checkpoint has the parameters as they were. What else a weighting keeps from step to step
    goes on where it has ``state_dict()`` and ``load_state_dict(state)``; the state is made of tensors and plain values. Keep it
    in private attributes: the public ones are settings, by which a checkpoint knows the weighting again.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> class Fixed(evaluation.Weighting):
        ...     def backward(self, losses, module):
        ...         (0.75 * losses["age"] + 0.25 * losses["gender"]).backward()
        >>> net = torch.nn.Linear(1, 2, bias=False)
        >>> answer = net(torch.ones(1))
        >>> Fixed().backward({"age": answer[0], "gender": answer[1]}, net)
        >>> net.weight.grad.flatten()
        tensor([0.7500, 0.2500])
        >>> tasks = {"age": 3, "gender": 2}
        >>> dataset = [(torch.rand(1, 8, 8), {"age": i % 3, "gender": i % 2}) for i in range(12)]
        >>> model = evaluation.build_model(torch.nn.Conv2d(1, 4, 3), tasks, image_shape=(1, 8, 8))
        >>> training = {"weighting": Fixed(), "epochs": 1, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks=tasks, model=model, **training)
    """

    def prepare(self, tasks_count: int, device: torch.device) -> None:  # noqa: B027  # most keep nothing
        """Begin a training of so many tasks on a device: forget what an earlier one left."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What the weighting itself learns; nothing here."""
        return ()

    @abstractmethod
    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        """Add the step's gradients to ``.grad`` of the module's parameters, and of the weighting's own.

        Args:
            losses: The loss of each task, a scalar.
            module: The model that they come from.
        """

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"{type(self).__name__}()"


def stacked(losses: Mapping[str, Tensor]) -> Tensor:
    """The losses as one tensor (K,), in float32 at least."""
    return torch.stack([loss.to(torch.promote_types(loss.dtype, torch.float32)) for loss in losses.values()])
