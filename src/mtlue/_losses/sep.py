"""Self-ensemble protection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlue._losses.base import BaseUELoss, image_gradient, with_gradient
from mtlue._losses.networks import Checkpoint, check_checkpoints, check_state
from mtlue._losses.surrogate import Surrogate, borrowed


class SEP(BaseUELoss):
    """Self-ensemble protection: TAP averaged over checkpoints of one training run (Chen et al., 2023).

    The gradient at the images is accumulated over the checkpoints, one at a time. It equals the gradient of their mean loss,
    but only one checkpoint's graph is in memory, and the generator runs backward once.

    Args:
        checkpoints: Modules or state dicts of the surrogate, saved at equal distances along its training on clean data. The
            paper uses 15 for classification and 10 for NYUv2. A state dict stays on its device until its turn.

    Raises:
        TypeError: a checkpoint is neither a module nor a state dict.
        ValueError: the list is empty.

    Example:
        >>> import copy
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> tasks = {"brighter_half": 2}
        >>> halves = torch.eye(2).repeat_interleave(32, dim=1).reshape(2, 1, 8, 8)
        >>> dataset = [(halves[index % 2], index % 2) for index in range(16)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> checkpoints = []
        >>> def keep(epoch, model):
        ...     if epoch % 2:
        ...         checkpoints.append(copy.deepcopy(model.state_dict()))
        >>> training = {"epochs": 10, "learning_rate": 0.01, "batch_size": 8, "progress": False}
        >>> training["after_epoch"] = keep
        >>> trained = evaluation.train_victim(dataset, tasks=tasks, model=net, **training)
        >>> len(checkpoints)
        5
        >>> generator = mtlue.UEGenerator(tasks, (1, 8, 8), width=4)
        >>> sep = mtlue.SEP(checkpoints)
        >>> mtlue.fit(generator, dataset, trained, loss=sep, epochs=1, progress=False)
        History(1 epochs, base_loss=...)
    """

    trains_surrogate = False
    needs_trained_surrogate = True

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        check_checkpoints(checkpoints)
        if not checkpoints:
            raise ValueError("checkpoints: expected at least one, got none")
        self.checkpoints = list(checkpoints)

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the mean, over checkpoints and tasks, of the loss towards the shifted labels."""
        share = 1.0 / len(self.checkpoints)
        leaf = images.detach().requires_grad_(images.requires_grad)
        value = images.new_zeros((), dtype=torch.float32)
        gradient = torch.zeros_like(images)
        for member in self._members(surrogate, images.device):
            loss = member.adversarial_loss(leaf, targets) * share
            value = value + loss.detach()
            if images.requires_grad:
                gradient += image_gradient(loss, leaf)
        return with_gradient(value, images, gradient)

    def _members(self, surrogate: Surrogate, device: torch.device) -> Iterator[Surrogate]:
        for checkpoint in self.checkpoints:
            if isinstance(checkpoint, nn.Module):
                with borrowed(checkpoint, device=device, trainable=False):
                    yield surrogate.with_module(checkpoint)
            else:
                check_state(checkpoint, surrogate.module)
                state = {name: tensor.to(device) for name, tensor in checkpoint.items()}
                with borrowed(surrogate.module, device=device, trainable=False):
                    yield surrogate.with_module(_Stateless(surrogate.module, state))

    def __repr__(self) -> str:
        """Return the number of checkpoints."""
        return f"{type(self).__name__}({len(self.checkpoints)} checkpoints)"


class _Stateless(nn.Module):
    """Runs a module with another state without changing it."""

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        # In a tuple the module does not become a submodule, so its parameters are not registered.
        self._module = (module,)
        self._state = dict(state)

    def forward(self, images: Tensor) -> Any:
        return torch.func.functional_call(self._module[0], self._state, (images,))
