"""Retrain the last layer on clean images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_number
from mtlue._data import Batch
from mtlue._losses import Heads, Surrogate, borrowed, chosen_heads, find_heads
from mtlue._runtime import choose_device, descend
from mtlue._tasks import Tasks
from mtlue.defenses._clean_set import CleanSet
from mtlue.defenses._defense import Defense


class LastLayerRetraining(Defense):
    """Train the heads again on a few clean images, on top of the features learned from protected ones.

    A model that relies on a shortcut may have learned the right features too, and a new last layer then uses them (Kirichenko
    et al., 2023). Everything except the heads is frozen; batch normalisation and dropout are in eval mode. The heads start from
    their trained values, and take enough steps to leave them, so few images are seen many times.

    By default the heads are found like this. If the module has an attribute ``heads``, they are the last linear layer or
    convolution of each part of it, so only the last layer of a decoder for label maps is trained; or all of the attribute if it
    is not a list, a dictionary or a sequence of modules. Without that attribute, and with several tasks, they are the
    parameters that affect the loss of one task only. Otherwise they are the last linear layer or convolution, in the order in
    which the model holds them.

    Args:
        clean: Clean data set, map-style, in any form that `mtlue.protect` takes.
        steps: Number of steps.
        learning_rate: Learning rate of Adam.
        batch_size: Images in a step.
        image_size: Height and width to resize images to, as in the training; None if all have one size.
        tasks: Its tasks, in the order of its targets. By default its own ``tasks`` if it has them, else the model's.
        heads: A function from the model to the parameters to train, in place of the default.

    Raises:
        TypeError: ``clean`` has no length, or cannot be indexed, or an argument has the wrong type.
        ValueError: ``clean`` is empty, or an argument is out of range.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import LastLayerRetraining
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        >>> before = [parameter.clone() for parameter in net.parameters()]
        >>> clean = [(torch.rand(1, 2, 2), index % 2) for index in range(6)]
        >>> LastLayerRetraining(clean, steps=2).finish(mtlue.Surrogate(net, {"young": 2}))
        >>> [not torch.equal(old, new) for old, new in zip(before, net.parameters())]
        [False, False, True, True]
    """

    def __init__(
        self,
        clean: Dataset[Any],
        *,
        steps: int = 1000,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        image_size: tuple[int, int] | None = None,
        tasks: Tasks | None = None,
        heads: Heads | None = None,
    ) -> None:
        self.clean = CleanSet(clean, tasks=tasks, batch_size=batch_size, image_size=image_size, argument="clean")
        self.steps = check_count("steps", steps, minimum=1)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        if heads is not None and not callable(heads):
            raise TypeError(f"heads: expected a function from the model to its parameters, got {heads!r}")
        self.heads = heads

    def finish(self, victim: Surrogate) -> None:
        """Train the heads of the model in place. The rest does not change.

        Raises:
            ValueError: no heads are found in the model, or the clean set does not fit it.
        """
        device = choose_device(None, victim.module)
        with borrowed(victim.module, device=device, trainable=True), torch.enable_grad():
            if self.heads is None:
                heads = find_heads(victim, next(self.clean.ordered(victim, device)))
            else:
                heads = chosen_heads(self.heads, victim.module)
            # What this changes is restored with the mode.
            victim.module.requires_grad_(False)
            for parameter in heads:
                parameter.requires_grad_()
            optimizer = torch.optim.Adam(heads, lr=self.learning_rate)
            for batch in islice(self._endless(victim, device), self.steps):
                descend(optimizer, victim.loss(batch.images, batch.targets))

    def _endless(self, victim: Surrogate, device: torch.device) -> Iterator[Batch]:
        while True:
            yield from self.clean.shuffled(victim, device, seed=int(torch.randint(2**31, ())))

    def __repr__(self) -> str:
        """Return the number of images and the settings."""
        return f"LastLayerRetraining({len(self.clean)} clean images, steps={self.steps}, learning_rate={self.learning_rate:g})"
