"""Contrastive training without labels, then a linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_image_size, check_number
from mtlue._losses import Heads, Surrogate, contrastive_loss, contrastive_view, features_before, head_layers, with_gradient
from mtlue._runtime import Stream, derived_seed, descend, random_numbers
from mtlue._tasks import Task
from mtlue.defenses._defense import Defense
from mtlue.defenses._last_layer_retraining import LastLayerRetraining

_LEARNING_RATE = 1e-3


class SimCLR(Defense):
    """Learn features from the images without a label, then train only the heads on them (Chen et al., 2020).

    A perturbation that makes labels easy may say nothing to a network that looks at no labels. In each step two random views of
    each image go through the network, and its features of the two are drawn together and away from those of all other images of
    the batch (SimCLR, ICML 2020, equation 1): behind a projection of two layers that is thrown away afterwards. The labels are
    used after the last epoch alone, for a linear probe: the heads are trained on the protected images as by
    `LastLayerRetraining`, with everything else frozen.

    The features are what enters the heads, averaged over pixels where they are maps. The figures of single epochs are those of
    untrained heads, so the best epoch of a report is the last. Contrastive training takes more epochs than learning from
    labels, and large batches. A training that goes on from a checkpoint goes on with its projection.

    Args:
        temperature: What similarities are divided by.
        width: Width of the projection.
        probe_steps: Steps of the probe.
        probe_learning_rate: Adam's, for the probe.
        image_size: Height and width to resize images to in the probe, those of the training; None if all have one size.
        heads: A function from the model to the parameters of its heads, in place of the default of `LastLayerRetraining`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: one is out of range.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> from mtlue.defenses import SimCLR
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> training = {"defense": SimCLR(probe_steps=5), "epochs": 1, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks={"young": 2}, model=net, **training)
    """

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        width: int = 128,
        probe_steps: int = 1000,
        probe_learning_rate: float = 1e-3,
        image_size: tuple[int, int] | None = None,
        heads: Heads | None = None,
    ) -> None:
        self.temperature = check_number("temperature", temperature, above=0)
        self.width = check_count("width", width, minimum=1)
        self.probe_steps = check_count("probe_steps", probe_steps, minimum=1)
        self.probe_learning_rate = check_number("probe_learning_rate", probe_learning_rate, above=0)
        self.image_size = check_image_size(image_size)
        if heads is not None and not callable(heads):
            raise TypeError(f"heads: expected a function from the model to its parameters, got {heads!r}")
        self.heads = heads
        self._forget()

    def _forget(self) -> None:
        self._data: tuple[Dataset[Any], Mapping[str, Task]] | None = None
        self._seed = 0
        self._layers: list[nn.Module] = []
        self._projections: nn.ModuleDict | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] = {}

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Note what the probe will be trained on, and forget an earlier training."""
        self._forget()
        self._data, self._seed = (dataset, tasks), seed

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the contrastive loss of the batch, the same for each task; the labels are not looked at.

        Raises:
            ValueError: no heads are found in the model, or there is nothing before them.
        """
        if not self._layers:
            self._layers = head_layers(victim, images, targets, self.heads)
        views = torch.cat([contrastive_view(images), contrastive_view(images)])
        features = features_before(self._layers, victim.module, views)
        if not any(each.requires_grad for each in features):
            raise ValueError(
                f"model: SimCLR trains what comes before the heads, and {type(victim.module).__name__} has only heads"
            )
        loss = self._learn(features)
        return dict.fromkeys(victim.tasks, loss)

    def _learn(self, features: list[Tensor]) -> Tensor:
        """Return the mean contrastive loss of features (2B, F), with its gradient at them, then take the projection's step."""
        # In full precision, whatever that of the model.
        with torch.autocast(features[0].device.type, enabled=False):
            leaves = [each.detach().float().requires_grad_() for each in features]
            projections, optimizer = self._ready(leaves)
            projected = [projections[str(leaf.shape[1])](leaf) for leaf in leaves]
            value = torch.stack([contrastive_loss(each, self.temperature) for each in projected]).mean()
            descend(optimizer, value)
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
        pulls = [with_gradient(torch.zeros_like(value), *pair) for pair in zip(features, gradients, strict=True)]
        return value.detach() + torch.stack(pulls).sum()

    def _ready(self, features: list[Tensor]) -> tuple[nn.ModuleDict, torch.optim.Optimizer]:
        if self._projections is None or self._optimizer is None:
            widths = dict.fromkeys(each.shape[1] for each in features)
            # With random numbers of its own: a training that is taken up draws for its views what it would have drawn.
            with random_numbers(derived_seed(self._seed, Stream.DEFENSE), features[0].device):
                made = {
                    str(each): nn.Sequential(nn.Linear(each, each), nn.ReLU(), nn.Linear(each, self.width)) for each in widths
                }
            self._projections = nn.ModuleDict(made).to(features[0].device)
            self._optimizer = torch.optim.Adam(self._projections.parameters(), lr=_LEARNING_RATE)
            if self._restored:
                self._projections.load_state_dict(self._restored["projections"])
                self._optimizer.load_state_dict(self._restored["optimizer"])
                self._restored = {}
        return self._projections, self._optimizer

    def finish(self, victim: Surrogate) -> None:
        """Train the heads of the model on the protected images and their labels; the rest stays as it is.

        Raises:
            RuntimeError: there was no training.
        """
        if self._data is None:
            raise RuntimeError("defense: SimCLR has no images for its probe before prepare(dataset, tasks, seed=...)")
        dataset, tasks = self._data
        LastLayerRetraining(
            dataset,
            steps=self.probe_steps,
            learning_rate=self.probe_learning_rate,
            image_size=self.image_size,
            tasks=dict(tasks),
            heads=self.heads,
        ).finish(victim)

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted training goes on from."""
        if self._projections is None or self._optimizer is None:
            return dict(self._restored)
        return {"projections": self._projections.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._projections, self._optimizer, self._restored = None, None, dict(state)

    def __repr__(self) -> str:
        return f"SimCLR(temperature={self.temperature:g}, width={self.width}, probe_steps={self.probe_steps})"
