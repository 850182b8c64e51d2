"""A user's model in the form that losses use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlue._checks import naming
from mtlue._runtime import moved
from mtlue._tasks import Task, Tasks, read_outputs, read_targets, resolve_tasks


class Surrogate:
    """Wraps any module so that its answers and losses have one form.

    The module may answer with a dict by task name, a tuple or list in task order, a (B, K) tensor of binary logits, or one
    tensor if there is one task. It takes images in [0, 1]: put normalisation inside it.

    Args:
        module: The model, on its device and in the mode in which to use it.
        tasks: Tasks by name. An integer n means ``Classification(n)``.
        argument: Its name in messages.

    Raises:
        TypeError: ``module`` is not an ``nn.Module``, or ``tasks`` not a mapping of names to tasks.

    Example:
        >>> import torch, mtlue
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> surrogate = mtlue.Surrogate(net, {"smiling": 2, "young": 2})
        >>> {name: tuple(logits.shape) for name, logits in surrogate(torch.rand(5, 3, 2, 2)).items()}
        {'smiling': (5, 2), 'young': (5, 2)}
    """

    def __init__(self, module: nn.Module, tasks: Tasks, *, argument: str = "surrogate") -> None:
        if not isinstance(module, nn.Module):
            got = type(module).__name__
            if isinstance(module, type):
                got = f"the class {module.__name__}; are its brackets missing?"
            elif isinstance(module, str):
                got += f'; mtlue.evaluation.build_model("{module}", tasks, image_shape=(C, H, W)) makes one of that name'
            raise TypeError(f"{argument}: expected a torch.nn.Module, got {got}")
        self.module = module
        self.argument = argument
        self.tasks: dict[str, Task] = resolve_tasks(tasks)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return outputs by task for images (B, C, H, W): logits (B, C_k) or maps (B, C_k, H, W).

        Raises:
            ValueError: a task is missing from the module's answer, or has the wrong shape.
            TypeError: the answer is not made of tensors.
        """
        return self.read(self.module(images))

    def read(self, answer: object) -> dict[str, Tensor]:
        """Read an answer of the module, in any form, as outputs by task. Raises what calling the surrogate raises."""
        return read_outputs(answer, self.tasks, what=f"{self.argument} output")

    def losses(self, images: Tensor, targets: object) -> dict[str, Tensor]:
        """Return the loss of each task at its true labels, a scalar for each."""
        outputs, read = self(images), read_targets(targets, self.tasks).to(images.device)
        losses = {}
        for name, task in self.tasks.items():
            with naming(f"{self.argument} output of task {name!r}"):
                losses[name] = task.loss(outputs[name], read[name])
        return losses

    def loss(self, images: Tensor, targets: object) -> Tensor:
        """Return the loss at the true labels: the mean over tasks, a scalar."""
        return torch.stack(list(self.losses(images, targets).values())).mean()

    def adversarial_loss(self, images: Tensor, targets: object) -> Tensor:
        """Return the loss towards the shifted labels: the mean over tasks, a scalar.

        Depth and surface normals have no labels to shift to, so they contribute minus their loss (appendix A.1).
        """
        outputs, read = self(images), read_targets(targets, self.tasks).to(images.device)
        return torch.stack([task.adversarial_loss(outputs[name], read[name]) for name, task in self.tasks.items()]).mean()

    def with_module(self, module: nn.Module) -> Surrogate:
        """Return a surrogate with the same tasks and another module."""
        return Surrogate(module, self.tasks, argument=self.argument)

    def __repr__(self) -> str:
        """Return the kind of module, and the tasks."""
        return f"Surrogate({type(self.module).__name__}, tasks={self.tasks})"


@contextmanager
def borrowed(module: nn.Module, *, device: torch.device, trainable: bool) -> Iterator[None]:
    """Use a module on a device in eval mode, and restore it afterwards, even after an error.

    Restores the mode of each submodule, the device, and ``requires_grad`` and ``grad`` of each parameter. Unless ``trainable``,
    no parameter takes a gradient meanwhile.
    """
    modes = {part: part.training for part in module.modules()}
    wanted = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    try:
        for parameter, requires_grad, _ in wanted:
            parameter.requires_grad_(requires_grad and trainable)
            # Before the module moves, because its gradients would move too.
            parameter.grad = None
        with moved(module, device):
            module.eval()
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for parameter, requires_grad, gradient in wanted:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze all parameters in this context."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
