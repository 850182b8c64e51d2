"""Losses with students of their own, which start anew again and again: what a victim is when it meets the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from mtlue._losses.sep import _WithGradient

#: A new network, from a seed.
Make = Callable[[int], nn.Module]
#: A change of images in training that lets gradients through, such as JPEG.
Distortion = Callable[[Tensor], Tensor]


class _Learner:
    """A network that takes steps of Adam and is replaced by a new one every so often."""

    def __init__(self, make: Make, *, seed: int, restart: int, first_restart: int, learning_rate: float) -> None:
        self.make, self.seed, self.restart, self.learning_rate = make, seed, restart, learning_rate
        self.age, self.generation = restart - first_restart, 0
        self._start()

    def _start(self) -> None:
        self.module = self.make(1000 * self.seed + self.generation)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=self.learning_rate)
        self.first_loss: float | None = None
        self.mean_loss: float | None = None

    def ready(self, device: torch.device) -> nn.Module:
        """The network, a new one if it is time."""
        if self.age >= self.restart:
            self.age, self.generation = 0, self.generation + 1
            self._start()
        return self.module.to(device).train()

    def step(self) -> None:
        """Take the step that the gradients say."""
        self.optimizer.step()
        self.age += 1

    def mark(self, loss: Tensor, graduation: float) -> None:
        """Note a loss; one that is a small enough share of the first ends the training."""
        if self.mean_loss is None or self.first_loss is None:
            self.first_loss = self.mean_loss = float(loss)
        self.mean_loss += 0.1 * (float(loss) - self.mean_loss)
        if self.mean_loss < graduation * self.first_loss:
            self.age = self.restart

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "age": self.age,
            "generation": self.generation,
            "first_loss": self.first_loss,
            "mean_loss": self.mean_loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.age, self.generation = state["age"], state["generation"]
        self.first_loss, self.mean_loss = state["first_loss"], state["mean_loss"]


class Students(mtlue.BaseUELoss):
    """Make the true labels easy for networks that have only begun to learn, from this perturbation and from little else.

    Each student sees the perturbed images, and the same perturbations on other images of the batch: there the image says
    nothing of the label, so that every label has to be in the perturbation, even where it is plain to see in the image. Then it
    takes a step on what it saw.

    Args:
        make: Makes a student from a seed.
        count: Number of students; each is replaced at its own time.
        restart: Steps after which a student is replaced.
        graduation: Share of a new student's loss at which a student is replaced before that, by a running mean over ten steps;
            0 for never. Where the perturbation is learned quickly, students are then young; where it is not, they get older.
        learning_rate: Adam's.
        own: Whether they see the perturbations on their own images.
        others: Whether they see them on other images.
        distortions: What the images of each student pass through first; students beyond the list see them as they are.
        faded: Whether those other images are faded towards grey, each by a share drawn anew: a student finds the perturbation
            where little else is, and learns to find it under more.
        growing: Whether their own images come in by and by: with the share of a new student's loss that the last student got
            rid of on other images.
        seed: Of the students.
    """

    trains_surrogate = False

    def __init__(
        self,
        make: Make,
        *,
        count: int = 1,
        restart: int = 100,
        graduation: float = 0.0,
        learning_rate: float = 3e-3,
        own: bool = True,
        others: bool = True,
        distortions: Sequence[Distortion | None] = (),
        faded: bool = False,
        growing: bool = False,
        seed: int = 0,
    ) -> None:
        self.growing, self.progress = growing, 0.0
        self.own, self.others, self.faded = own, others, faded
        self.graduation = graduation
        self.distortions = [*distortions, *[None] * (count - len(distortions))]
        self.learners = [
            _Learner(
                make,
                seed=seed * count + number + 1,
                restart=restart,
                first_restart=restart - restart * number // count,
                learning_rate=learning_rate,
            )
            for number in range(count)
        ]

    def __call__(
        self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None
    ) -> Tensor:
        """The mean over students, views and tasks of the loss at the true labels.

        Args:
            surrogate: Only its tasks are used.
            images: Perturbed and augmented.
            targets: Labels by task.
            clean: The same images under the same augmentation, without the perturbation.
        """
        leaf = images.detach().requires_grad_(True)
        value = images.new_zeros(())
        views = [leaf] if self.own or clean is None else []
        if self.others and clean is not None:
            content = clean[torch.randperm(len(clean))]
            if self.faded:
                content = torch.lerp(
                    torch.full_like(content, 0.5), content, torch.rand(len(content), 1, 1, 1).to(content.device)
                )
            views.append((content + (leaf - clean)).clamp(0, 1))
        seen = torch.cat(views)
        labels = {name: target.repeat(len(views), *[1] * (target.ndim - 1)) for name, target in targets.items()}
        for learner, distortion in zip(self.learners, self.distortions, strict=True):
            if learner.age >= learner.restart and learner.first_loss:
                self.progress = min(1.0, max(0.0, 1 - (learner.mean_loss or 0.0) / learner.first_loss))
            student = surrogate.with_module(learner.ready(images.device))
            outputs = student(seen if distortion is None else distortion(seen))
            by_view = torch.stack([
                _losses(student, outputs, labels, part) for part in torch.arange(len(seen)).split(len(leaf))
            ])
            shares = torch.full_like(by_view[:, :1], 1 / len(views))
            if self.growing and len(views) > 1:
                shares = torch.tensor([[self.progress], [1.0]], device=images.device) / (1 + self.progress)
            loss = (shares * by_view).sum(dim=0).mean()
            learner.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss, retain_graph=True)
            learner.step()
            learner.mark(by_view[-1].detach().mean(), self.graduation)
            value = value + loss.detach() / len(self.learners)
        gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        attached: Tensor = _WithGradient.apply(images, value, gradient / len(self.learners))
        return attached

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on after an interruption."""
        return {"learners": [learner.state_dict() for learner in self.learners], "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.progress = state["progress"]
        for learner, own in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(own)


class Misleading(mtlue.BaseUELoss):
    """Show the features of another class, as `mtlue.TAP` does, to networks that have only begun to learn the clean images.

    It needs no trained surrogate: its learner takes a step on each clean batch, and is replaced every so often, so that the
    perturbation meets natural features in the order in which a victim would learn them.

    Args:
        make: Makes a learner from a seed; None has the surrogate itself be misled, as it is.
        restart: Steps after which a learner is replaced.
        learning_rate: Adam's.
        power: The loss of an answer p at the shifted label is (1 - p^power) / power; 0 is cross-entropy. Above 0 a label that
            cannot be reached pulls less, in proportion to p^power.
        distortion: What the images pass through first.
        seed: Of the learners.

    Attributes:
        shifted: Share of shifted answers by task, a running mean.
    """

    trains_surrogate = False

    def __init__(
        self,
        make: Make | None,
        *,
        restart: int = 200,
        learning_rate: float = 3e-3,
        power: float = 0.0,
        distortion: Distortion | None = None,
        seed: int = 0,
    ) -> None:
        self.power, self.distortion = power, distortion
        self.learner: _Learner | None = None
        if make is not None:
            self.learner = _Learner(make, seed=seed + 500, restart=restart, first_restart=restart, learning_rate=learning_rate)
        self.shifted: dict[str, float] = {}

    def __call__(
        self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None
    ) -> Tensor:
        """The mean over tasks of the loss towards the shifted labels."""
        model = surrogate
        if self.learner is not None and clean is not None:
            model = surrogate.with_module(self.learner.ready(images.device))
            self.learner.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(model.loss(clean, targets))
            self.learner.step()
        model.module.eval()
        parameters = list(model.module.parameters())
        wanted = [parameter.requires_grad for parameter in parameters]
        leaf = images.detach().requires_grad_(True)
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            outputs = model(leaf if self.distortion is None else self.distortion(leaf))
            losses = [self._loss(name, task, outputs[name], targets[name]) for name, task in model.tasks.items()]
            value = torch.stack(losses).mean()
            (gradient,) = torch.autograd.grad(value, leaf)
        finally:
            for parameter, before in zip(parameters, wanted, strict=True):
                parameter.requires_grad_(before)
        attached: Tensor = _WithGradient.apply(images, value.detach(), gradient)
        return attached

    def _loss(self, name: str, task: mtlue.Task, output: Tensor, target: Tensor) -> Tensor:
        shifted = task.adversarial_target(target)
        if shifted is None or output.ndim != 2:
            return task.adversarial_loss(output, target)
        share = (output.detach().argmax(dim=1) == shifted).float().mean().item()
        self.shifted[name] = 0.95 * self.shifted.get(name, share) + 0.05 * share
        if not self.power:
            return task.adversarial_loss(output, target)
        logs = output.log_softmax(dim=1).gather(1, shifted.clamp_min(0).unsqueeze(1)).squeeze(1)
        losses = (1 - (self.power * logs).exp()) / self.power
        known = ~task.missing(target)
        return (losses * known).sum() / known.sum().clamp_min(1)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on after an interruption."""
        return {"learner": None if self.learner is None else self.learner.state_dict(), "shifted": dict(self.shifted)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        if self.learner is not None:
            self.learner.load_state_dict(state["learner"])
        self.shifted = dict(state["shifted"])


def _losses(student: mtlue.Surrogate, outputs: dict[str, Tensor], labels: dict[str, Tensor], part: Tensor) -> Tensor:
    return torch.stack([task.loss(outputs[name][part], labels[name][part]) for name, task in student.tasks.items()])
