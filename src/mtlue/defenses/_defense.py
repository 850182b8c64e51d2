"""What every defence is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_arity
from mtlue._losses import Surrogate
from mtlue._runtime import described
from mtlue._tasks import Task


class Defense:
    """What somebody who trains on a protected set may do against the protection.

    Each method is called at one moment of a victim's training, and does nothing by default. Override those that you need. Draw
    random numbers from torch's global source, which the training seeds.

    A training that goes on from a checkpoint calls `prepare` again, with the same seed. What a defence learns from then on goes
    on where it has ``state_dict()`` and ``load_state_dict(state)``; the state is made of tensors and plain values. Keep it in
    private attributes: the public ones are settings, by which a checkpoint knows the defence again.

    Example:
        >>> import torch
        >>> from mtlue import defenses, evaluation
        >>> class Noise(defenses.Defense):
        ...     def images(self, images):
        ...         return (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
        >>> bool(Noise().images(torch.rand(2, 3, 8, 8)).max() <= 1)
        True
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> training = {"defense": Noise(), "epochs": 1, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks={"young": 2}, model=net, **training)
    """

    @property
    def name(self) -> str:
        """What tables call it."""
        return type(self).__name__

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Before any training: raise a ValueError that names the tasks that it cannot be used on, and why."""

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Once, before the training: look at the whole protected set, images in [0, 1] and targets as it gives them."""

    def images(self, images: Tensor) -> Tensor:
        """On each batch of training images in [0, 1], (B, C, H, W), before augmentation; returns the same shape."""
        return images

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each task in a training step.

        Args:
            victim: The model in training mode.
            images: Augmented images in [0, 1], (B, C, H, W).
            targets: Labels by task, as their tasks read them.
        """
        return victim.losses(images, targets)

    def after_epoch(self, victim: Surrogate, epoch: int) -> None:
        """After each epoch, counted from 0; the model is in eval mode."""

    def finish(self, victim: Surrogate) -> None:
        """Once, after the last epoch: the model, in eval mode, may be changed in place."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Preprocessing(Defense):
    """A function on training images, such as `jpeg`, as a defence.

    `train_victim` and `audit` turn a plain function into one.

    Args:
        function: Takes and returns images (B, C, H, W) in [0, 1].

    Raises:
        TypeError: ``function`` cannot be called.

    Example:
        >>> from functools import partial
        >>> import torch
        >>> from mtlue.defenses import Preprocessing, bit_depth
        >>> defense = Preprocessing(partial(bit_depth, bits=1))
        >>> defense.name
        'bit_depth(bits=1)'
        >>> defense.images(torch.tensor([0.2, 0.6]).reshape(1, 1, 1, 2))
        tensor([[[[0.0000, 0.5020]]]])
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        if isinstance(function, type):
            raise TypeError(f"defense: expected an object such as {function.__name__}(...), got the class")
        if not callable(function):
            raise TypeError(f"defense: expected a Defense or a function on images, got {function!r}")
        check_arity("defense", function, "images")
        self.function = function

    @property
    def name(self) -> str:
        """The function's own name, with its arguments if it is a `functools.partial`."""
        if isinstance(self.function, partial):
            values = [repr(value) for value in self.function.args]
            values += [f"{name}={value!r}" for name, value in self.function.keywords.items()]
            return f"{Preprocessing(self.function.func).name}({', '.join(values)})"
        return str(getattr(self.function, "__name__", None) or described(self.function))

    def images(self, images: Tensor) -> Tensor:
        """The images after the function."""
        return self.function(images)

    def __repr__(self) -> str:
        return f"Preprocessing({self.name})"


def as_defense(defense: Defense | Callable[[Tensor], Tensor] | None) -> Defense:
    """A defence from what a caller may give: one, a function on images, or None for none.

    Raises:
        TypeError: it is nothing of that.
    """
    if defense is None:
        return Defense()
    return defense if isinstance(defense, Defense) else Preprocessing(defense)
