"""The base class of all weightings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Weighting(ABC):
    """Turns the losses of a victim's tasks into the gradients of one step.

    Derive from this class for a weighting of your own. A training calls `prepare` once and gives `parameters` to its optimiser
    together with the model's. In each step it clears the gradients and calls `backward`.

    A training that resumes from a checkpoint restores the parameters. If your weighting keeps anything else from step to step,
    give it ``state_dict()`` and ``load_state_dict(state)``, with a state of tensors and plain values. Keep such values in
    private attributes: a checkpoint takes the public ones for settings, and recognises the weighting by them.

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
        """Begin a training of so many tasks on a device. Forget what an earlier training left."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the weighting's own parameters, which the optimiser trains; none here."""
        return ()

    @abstractmethod
    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        """Add the gradients of the step to ``.grad`` of the module's parameters and of the weighting's own.

        Args:
            losses: The loss of each task, a scalar.
            module: The model that was trained in this step.
        """

    def __repr__(self) -> str:
        """Return the call that makes the weighting."""
        return f"{type(self).__name__}()"


def stacked(losses: Mapping[str, Tensor]) -> Tensor:
    """Stack the losses into one tensor (K,), in float32 at least."""
    return torch.stack([loss.to(torch.promote_types(loss.dtype, torch.float32)) for loss in losses.values()])
