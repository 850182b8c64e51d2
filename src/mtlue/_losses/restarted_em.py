"""Error-minimising perturbations against surrogates that start anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mtlue._checks import check_count, check_number, check_share
from mtlue._losses.base import BaseUELoss, with_gradient
from mtlue._losses.class_balance import ClassBalance
from mtlue._losses.learner import Learner, Lifetime, Make
from mtlue._losses.redrawn import redrawn
from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import gathered, joint_count, joint_norm, own_rows
from mtlue._tasks import CheckedTargets, read_targets

#: A change of images (B, C, H, W) that lets gradients through, such as `mtlue.defenses.differentiable_jpeg`.
Distortion: TypeAlias = Callable[[Tensor], Tensor]


class RestartedEM(BaseUELoss):
    """Error-minimising against surrogates that start anew.

    Like EM (Huang et al., 2021) and MTL-UE-EM, this loss makes the true labels easy for networks that learn from the perturbed
    images. Two things are mtlue's own:

    * **Restarts.** EM trains one network throughout. Here several networks take a step with each batch, and each is replaced by
      a new one once it has learned the perturbations. A victim also starts without knowing anything.
    * **Other images' content.** The networks also see each perturbation on another image of the batch, whose content says
      nothing about the labels. So every label has to be in the perturbation, even one that is obvious from the image.

    The surrogate that you give `mtlue.fit` is the pattern for the networks and does not change. It need not be trained, unless
    ``misleading`` adds TAP's loss. A loss keeps its networks after a run, so make a new loss for each run.

    Args:
        make: A function that makes a network from a seed. While it runs, torch's and Python's global random numbers are seeded
            with that seed. If None, each network is a copy of the surrogate whose parameters are drawn anew by the
            ``reset_parameters`` of its modules.
        count: How many networks learn at a time.
        restart_steps: Replace a network after this many steps at the latest.
        restart_loss: Replace it earlier if its loss falls below this share of a new network's, by a running mean over ten
            steps. Networks stay young if they learn perturbations quickly, and get older if they do not. 0 means never.
        learning_rate: Learning rate of Adam, for the networks.
        distortions: One for each network: a change of the images before the network sees them, such as
            `mtlue.defenses.differentiable_jpeg`. Gradients must pass through it. None changes nothing; missing entries count as
            None.
        curriculum: Whether networks see only other images' content at first. Their own content then counts more and more, by
            the share of a new network's loss that the last network removed. If it counted from the start, a network that can
            see the answer in the image would give the perturbation no gradient. If False, both count equally from the start.
        focus: Weigh each task by the softmax of this number times its loss, relative to a new network's. The tasks that
            networks have learned least then count most. 0 weighs all tasks equally.
        balanced: Whether each label is weighted by the inverse of the share that its class has among the labels so far, with a
            weight of at most twenty. Otherwise a rare attribute, such as a hat, has a low loss from the start and stays
            learnable.
        misleading: Also add TAP's loss at the surrogate. Its gradient at the images may be no larger than this share of the
            networks' own. 0 leaves the loss out. Without that limit, a surrogate that cannot be misled has a loss that stays
            high and drowns out the networks. The surrogate has to be trained on clean data, if only for a few epochs. It sees
            each batch through one of the distortions, chosen at random.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import differentiable_jpeg
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> loss = mtlue.RestartedEM(count=2, distortions=[differentiable_jpeg])
        >>> mtlue.fit(generator, dataset, net, loss=loss, epochs=2, progress=False)
        History(2 epochs, base_loss=...)
    """

    trains_surrogate = False

    def __init__(
        self,
        make: Make | None = None,
        *,
        count: int = 1,
        restart_steps: int = 400,
        restart_loss: float = 0.3,
        learning_rate: float = 3e-3,
        distortions: Sequence[Distortion | None] = (),
        curriculum: bool = True,
        focus: float = 0.0,
        balanced: bool = True,
        misleading: float = 0.0,
    ) -> None:
        if make is not None and (isinstance(make, nn.Module) or not callable(make)):
            raise TypeError(f"make: expected a function that makes a torch.nn.Module from a seed, got {type(make).__name__}")
        self.make = make
        self.count = check_count("count", count, minimum=1)
        self.restart_steps = check_count("restart_steps", restart_steps, minimum=1)
        self.restart_loss = check_share("restart_loss", restart_loss)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.distortions = _checked(distortions, count)
        self.curriculum = curriculum
        self.focus = check_number("focus", focus)
        self.balanced = balanced
        self.misleading = check_number("misleading", misleading)
        self._learners: list[Learner] = []
        self._restored: list[dict[str, Any]] = []
        self._progress = 0.0
        self._balance = ClassBalance()

    @property
    def needs_trained_surrogate(self) -> bool:
        """Whether TAP's loss is part of it."""
        return self.misleading > 0

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None) -> Tensor:
        """Return the mean loss at the true labels over networks, views and tasks. Each network then takes a step.

        TAP's loss at the surrogate is added if ``misleading`` is positive.

        Args:
            surrogate: The pattern for the networks. It also knows the tasks.
            images: Perturbed images, (B, C, H, W).
            targets: True labels by task.
            clean: The images without the perturbation. Without them, networks see images only with their own content.
        """
        learners = self._ready(surrogate, images.device)
        read = read_targets(targets, surrogate.tasks).to(images.device)
        known = surrogate.labelled(read)
        shares = self._shares(transplanted=clean is not None)
        views = images if clean is None else _transplanted(images, clean)
        seen = torch.cat([views, images]) if len(shares) > 1 else views
        # A leaf of its own: the networks learn now, what made the images learns later.
        leaf = seen.detach().requires_grad_(True)
        class_weights = self._balance.update(surrogate, read) if self.balanced else None
        argument = "surrogate" if self.make is None else "make()"
        value = images.new_zeros((), dtype=torch.float32)
        for learner, distortion in zip_longest(learners, self.distortions):
            # Batch normalisation needs more than a single sample.
            module = learner.module.train(joint_count(len(images)) * len(shares) > 1)
            network = Surrogate(module, surrogate.tasks, argument=argument)
            outputs = network(leaf if distortion is None else distortion(leaf))
            losses = _losses(network, outputs, read, class_weights, views=len(shares))
            weights = (self.focus * learner.relative_losses).expand(len(known)).softmax(dim=0)
            loss = (sum(share * each for share, each in zip(shares, losses, strict=True)) * weights).sum()
            value = value + loss.detach() / self.count
            # The loss is a constant if no task has a label and a user's own task returns a constant then.
            if loss.requires_grad:
                learner.step(loss, losses[0], known)
        value = value if leaf.grad is None else with_gradient(value, seen, leaf.grad / self.count)
        return value + self._misled(surrogate, images, read, value) if self.misleading else value

    def _misled(self, surrogate: Surrogate, images: Tensor, targets: CheckedTargets, value: Tensor) -> Tensor:
        """TAP's loss at the surrogate, with a gradient that is held to a share of that of ``value``."""
        leaf = images.detach().requires_grad_(True)
        chosen = int(torch.randint(self.count, (), device="cpu"))
        distortion = self.distortions[chosen] if chosen < len(self.distortions) else None
        outputs = surrogate(leaf if distortion is None else distortion(leaf))
        loss = torch.stack(list(surrogate.adversarial_losses_of(outputs, targets).values())).float().mean()
        if not (loss.requires_grad and value.requires_grad):
            return loss.detach()
        own = joint_norm(torch.autograd.grad(value, images, retain_graph=True)[0])
        gradient = torch.autograd.grad(loss, leaf)[0]
        weight = (self.misleading * own / joint_norm(gradient).clamp_min(1e-12)).clamp(max=1.0)
        return with_gradient(weight * loss, images, weight * gradient)

    def _ready(self, surrogate: Surrogate, device: torch.device) -> list[Learner]:
        """Return the networks, with new ones in place of those that have learned enough."""
        if not self._learners:
            make = self.make or (lambda seed: redrawn(surrogate.module))
            lifetime = Lifetime(self.restart_steps, self.restart_loss, self.learning_rate)
            ages = [number * self.restart_steps // self.count for number in range(self.count)]
            self._learners = [Learner(make, lifetime, device=device, age=age) for age in ages]
            for learner, state in zip_longest(self._learners, self._restored):
                if state is None:
                    learner.start()
                else:
                    learner.load_state_dict(state)
            self._restored = []
        for learner in self._learners:
            learner.move(device)
            if learner.finished:
                self._progress = learner.learned
                learner.replace()
        return self._learners

    def _shares(self, *, transplanted: bool) -> list[float]:
        """Return the share of each view in the loss, one or two, with the images' own content last."""
        own = self._progress if self.curriculum else 1.0
        return [1 / (1 + own), own / (1 + own)] if transplanted and own else [1.0]

    def state_dict(self) -> dict[str, Any]:
        """Return the networks, how far each has come, how far the last one came, and the labels of each class so far."""
        learners = self._restored or [learner.state_dict() for learner in self._learners]
        return {"learners": learners, "progress": self._progress, "class_counts": self._balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state. The next call makes the networks in it."""
        self._learners, self._restored = [], copy.deepcopy(state["learners"])
        self._progress = state["progress"]
        self._balance.load_state_dict(state["class_counts"])


def _checked(distortions: Sequence[Distortion | None], count: int) -> list[Distortion | None]:
    if not isinstance(distortions, Sequence) or isinstance(distortions, str):
        raise TypeError(f"distortions: expected a list of functions on images, got {type(distortions).__name__}")
    for position, distortion in enumerate(distortions):
        if distortion is not None and not callable(distortion):
            raise TypeError(f"distortions[{position}]: expected a function on images, got {type(distortion).__name__}")
    if len(distortions) > count:
        raise ValueError(f"distortions: expected at most one for each of {count} networks (count), got {len(distortions)}")
    return list(distortions)


def _transplanted(images: Tensor, clean: Tensor) -> Tensor:
    """Put the perturbations of some images on the content of others. A random number turns the batch."""
    others = gathered(clean)
    turn = int(torch.randint(1, max(len(others), 2), (), device="cpu"))
    return (own_rows(others.roll(turn, dims=0)) + (images - clean)).clamp(0.0, 1.0)


def _losses(
    network: Surrogate,
    outputs: dict[str, Tensor],
    targets: CheckedTargets,
    class_weights: dict[str, Tensor] | None,
    *,
    views: int,
) -> Tensor:
    """Return the losses (V, K) by view and task, from outputs for one view after the other."""
    by_view = {name: output.unflatten(0, (views, -1)) for name, output in outputs.items()}
    losses = [
        network.losses_of({name: output[view] for name, output in by_view.items()}, targets, class_weights)
        for view in range(views)
    ]
    return torch.stack([loss for of_view in losses for loss in of_view.values()]).float().reshape(views, -1)
