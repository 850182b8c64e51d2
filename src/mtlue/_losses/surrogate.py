"""A user's model in the form that losses use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlue._checks import naming
from mtlue._runtime import held, joint_sum, moved, relative_weights
from mtlue._tasks import CheckedTargets, Task, Tasks, alike_tasks, read_outputs, read_targets, resolve_tasks


class Surrogate:
    """Wraps any module so that its answers and losses have one form.

    The module may answer with a dict by task name, a tuple or list in task order, a (B, K) tensor of binary logits, or one
    tensor if there is one task. It takes images in [0, 1]: put normalisation inside it.

    Args:
        module: The model, on its device and in the mode in which to use it.
        tasks: Tasks by name. An integer n means ``Classification(n)``.
        argument: What messages call the module.

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
        self._groups = alike_tasks(self.tasks)

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
        return self.losses_of(self(images), read_targets(targets, self.tasks).to(images.device))

    def losses_of(
        self, outputs: Mapping[str, Tensor], targets: CheckedTargets, class_weights: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of each task for outputs that are already there, as `losses` does.

        Args:
            outputs: Outputs by task.
            targets: True labels by task.
            class_weights: By task, what to multiply the loss of each class's labels with, (C,). Others are not weighted.
        """
        losses: dict[str, Tensor] = {}
        for task, names in self._groups:
            with naming(f"{self.argument} output of task {names[0]!r}"):
                if class_weights is not None and names[0] in class_weights:
                    weights = torch.stack([class_weights[name] for name in names])
                    each: Sequence[Tensor] = task.weighted_losses(*_together(outputs, targets, names), weights).unbind()
                else:
                    each = _each(task.loss, task.losses, outputs, targets, names)
                losses.update(zip(names, each, strict=True))
        return self._weighted(losses, outputs, targets)

    def class_counts(self, targets: CheckedTargets) -> dict[str, Tensor]:
        """Return how many labels of each class a batch has, (C,), by task. Only tasks whose labels are classes are in it."""
        found = [(names, task.class_counts(targets.together(names))) for task, names in self._groups]
        return {name: count for names, counts in found if counts is not None for name, count in zip(names, counts, strict=True)}

    def loss(self, images: Tensor, targets: object) -> Tensor:
        """Return the loss at the true labels: the mean over tasks, a scalar."""
        return torch.stack(list(self.losses(images, targets).values())).mean()

    def adversarial_losses_of(self, outputs: Mapping[str, Tensor], targets: CheckedTargets) -> dict[str, Tensor]:
        """Return the loss of each task towards its shifted labels, a scalar for each, for given outputs."""
        losses: dict[str, Tensor] = {}
        for task, names in self._groups:
            each = _each(task.adversarial_loss, task.adversarial_losses, outputs, targets, names)
            losses.update(zip(names, each, strict=True))
        return self._weighted(losses, outputs, targets)

    def _weighted(
        self, losses: Mapping[str, Tensor], outputs: Mapping[str, Tensor], targets: CheckedTargets
    ) -> dict[str, Tensor]:
        """Return losses in the order of the tasks. One of several ranks weighs them by its labels among those of all ranks."""
        weights = relative_weights(lambda: self.counts_of_labels(targets))
        if weights is None:
            return {name: losses[name] for name in self.tasks}
        return {name: held(losses[name], outputs[name]) * weight for name, weight in zip(self.tasks, weights, strict=True)}

    def counts_of_labels(self, targets: CheckedTargets) -> Tensor:
        """Return how many labels of each task a batch has, (K,)."""
        counts = {}
        for task, names in self._groups:
            if len(names) == 1:
                counts[names[0]] = task.count_labels(targets[names[0]])
            else:
                counts.update(zip(names, task.counts_of_labels(targets.together(names)), strict=True))
        return torch.stack([counts[name] for name in self.tasks])

    def adversarial_loss(self, images: Tensor, targets: object) -> Tensor:
        """Return the loss towards the shifted labels: the mean over tasks, a scalar.

        Depth and surface normals have no labels to shift to, so they contribute minus their loss (appendix A.1).
        """
        outputs, read = self(images), read_targets(targets, self.tasks).to(images.device)
        return torch.stack(list(self.adversarial_losses_of(outputs, read).values())).mean()

    def labelled(self, targets: CheckedTargets) -> Tensor:
        """Return which tasks have labels in a batch, booleans (K,)."""
        found = {}
        for task, names in self._groups:
            if len(names) == 1:
                found[names[0]] = ~task.missing(targets[names[0]]).all()
                continue
            stack = targets.together(names)
            found.update(zip(names, ~task.missing(stack.flatten()).view_as(stack).all(dim=0), strict=True))
        return joint_sum(torch.stack([found[name] for name in self.tasks]).int()) > 0

    def with_module(self, module: nn.Module) -> Surrogate:
        """Return a surrogate with the same tasks and another module."""
        return Surrogate(module, self.tasks, argument=self.argument)

    def __repr__(self) -> str:
        """Return the kind of module, and the tasks."""
        return f"Surrogate({type(self.module).__name__}, tasks={self.tasks})"


def _each(
    one: Callable[[Tensor, Tensor], Tensor],
    many: Callable[[Tensor, Tensor], Tensor],
    outputs: Mapping[str, Tensor],
    targets: CheckedTargets,
    names: Sequence[str],
) -> Sequence[Tensor]:
    if len(names) == 1:
        return [one(outputs[names[0]], targets[names[0]])]
    return many(*_together(outputs, targets, names)).unbind()


def _together(outputs: Mapping[str, Tensor], targets: CheckedTargets, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of equal tasks with an axis for the tasks behind that of the samples."""
    return torch.stack([outputs[name] for name in names], dim=1), targets.together(names)


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
