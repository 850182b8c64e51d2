"""Students that start anew, again and again: what a victim is when it meets the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import mtlue
from measure.learner import Distortion, Learner, Make


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
            Learner(
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
        # A value whose gradient at the images is already known.
        return value + (gradient / len(self.learners) * (images - images.detach())).sum()

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on after an interruption."""
        return {"learners": [learner.state_dict() for learner in self.learners], "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.progress = state["progress"]
        for learner, own in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(own)


def _losses(student: mtlue.Surrogate, outputs: dict[str, Tensor], labels: dict[str, Tensor], part: Tensor) -> Tensor:
    return torch.stack([task.loss(outputs[name][part], labels[name][part]) for name, task in student.tasks.items()])
