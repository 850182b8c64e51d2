"""The base class of all defences."""

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
    """What somebody who trains on a protected set does against the protection.

    Each method is called at one point of a victim's training, and does nothing by default. Override the ones you need. Draw
    random numbers from torch's global generator, which the training seeds.

    A training that resumes from a checkpoint calls `prepare` again with the same seed. If a defence learns anything after that,
    give it ``state_dict()`` and ``load_state_dict(state)``, with a state of tensors and plain values. Keep such values in
    private attributes: a checkpoint takes the public ones for settings, and recognises the defence by them.

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
        """Its name in tables."""
        return type(self).__name__

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Called before any training. Raise a ValueError that names the tasks on which the defence does not work, and why."""

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Called once, before the training, with the whole protected set: images in [0, 1] with their targets."""

    def images(self, images: Tensor) -> Tensor:
        """Called on each batch of training images in [0, 1], (B, C, H, W), before augmentation. Returns the same shape."""
        return images

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task in a training step.

        Args:
            victim: The model in training mode.
            images: Augmented images in [0, 1], (B, C, H, W).
            targets: Labels by task, as their tasks read them.
        """
        return victim.losses(images, targets)

    def after_epoch(self, victim: Surrogate, epoch: int) -> None:
        """Called after each epoch, counted from 0, with the model in eval mode."""

    def finish(self, victim: Surrogate) -> None:
        """Called once, after the last epoch. It may change the model, which is in eval mode, in place."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Preprocessing(Defense):
    """A function of training images, such as `jpeg`, as a defence.

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
        """Apply the function to the images."""
        return self.function(images)

    def __repr__(self) -> str:
        return f"Preprocessing({self.name})"


def as_defense(defense: Defense | Callable[[Tensor], Tensor] | None) -> Defense:
    """Return a defence from what a caller may give: a defence, a function of images, or None.

    Raises:
        TypeError: it is none of these.
    """
    if defense is None:
        return Defense()
    return defense if isinstance(defense, Defense) else Preprocessing(defense)
