"""The features of another class, shown to networks that have only begun to learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import mtlue
from mtlue._losses import Learner, Lifetime, Make


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
        device: Where the learner is.

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
        device: str = "cpu",
    ) -> None:
        self.power = power
        self.learner: Learner | None = None
        if make is not None:
            self.learner = Learner(make, Lifetime(restart, 0.0, learning_rate), device=torch.device(device))
            self.learner.start()
        self.shifted: dict[str, float] = {}

    def __call__(
        self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None
    ) -> Tensor:
        """The mean over tasks of the loss towards the shifted labels."""
        model = surrogate
        if self.learner is not None and clean is not None:
            if self.learner.finished:
                self.learner.replace()
            model = surrogate.with_module(self.learner.module.train())
            loss = model.loss(clean, targets)
            self.learner.step(loss, loss.reshape(1), torch.tensor([True], device=loss.device))
        model.module.eval()
        parameters = list(model.module.parameters())
        wanted = [parameter.requires_grad for parameter in parameters]
        leaf = images.detach().requires_grad_(True)
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            outputs = model(leaf)
            losses = [self._loss(name, task, outputs[name], targets[name]) for name, task in model.tasks.items()]
            value = torch.stack(losses).mean()
            (gradient,) = torch.autograd.grad(value, leaf)
        finally:
            for parameter, before in zip(parameters, wanted, strict=True):
                parameter.requires_grad_(before)
        # A value whose gradient at the images is already known.
        return value.detach() + (gradient * (images - images.detach())).sum()

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
