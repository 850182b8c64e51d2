"""Transferable unlearnable examples."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_number
from mtlue._losses.base import BaseUELoss
from mtlue._losses.contrastive import contrastive_loss, features_before, head_layers
from mtlue._losses.contrastive_view import contrastive_view
from mtlue._losses.heads import Heads
from mtlue._losses.surrogate import Surrogate
from mtlue._tasks import read_targets

# Keeps the ratio defined where there is no perturbation yet.
_LEAST = 1e-5


class TUE(BaseUELoss):
    """Transferable unlearnable examples: easy for a network that sees no labels, and told apart by class (Ren et al., 2023).

    Two terms are minimised (ICLR 2023). The first is the contrastive loss of SimCLR on random views of the perturbed images, as
    in unlearnable contrastive learning (He et al., ICLR 2023); the surrogate learns by it too, in turn, and looks at no labels.
    The second lets a linear model tell the perturbations alone apart, so that they also stop a victim that learns from labels.
    It is the class-wise separability discriminant, the mean over pairs of classes of (s_i + s_j) / d_ij: s is the mean distance
    of a class's perturbations from their centre, d the distance of two centres.

    The form for several tasks is mtlue's own: the discriminant is the mean over the tasks whose labels select a class. Tasks
    with label maps are left out of it. A batch needs several classes. The paper's projection is left out: the contrastive loss
    is that of the features that enter the surrogate's heads, whose weights are not used.

    Args:
        weight: Weight of the discriminant; the authors' release takes 0.1 and 1.
        temperature: What the similarities of features are divided by.
        heads: A function from the surrogate's module to the parameters of its heads, in place of the default of
            `mtlue.defenses.LastLayerRetraining`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: one is out of range.

    Example:
        >>> import torch, mtlue
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> mtlue.fit(generator, dataset, net, loss=mtlue.TUE(), epochs=2, progress=False)
        History(2 epochs, base_loss=...)
    """

    trains_surrogate = True

    def __init__(self, *, weight: float = 1.0, temperature: float = 0.5, heads: Heads | None = None) -> None:
        self.weight = check_number("weight", weight)
        self.temperature = check_number("temperature", temperature, above=0)
        if heads is not None and not callable(heads):
            raise TypeError(f"heads: expected a function from the model to its parameters, got {heads!r}")
        self.heads = heads

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        """Return the contrastive loss of the perturbed images plus the discriminant of the perturbations.

        Raises:
            ValueError: all tasks have label maps.
        """
        read = read_targets(targets, surrogate.tasks).to(images.device)
        classes = [task.embedding_index(read[name]) for name, task in surrogate.tasks.items() if not task.is_map]
        if not classes:
            raise ValueError("tasks: TUE tells classes of images apart, expected a task with classes, got label maps alone")
        perturbations = (images - clean).flatten(1).float()
        terms = torch.stack([separability(perturbations, each) for each in classes])
        return self.surrogate_loss(surrogate, images, targets) + self.weight * terms.mean()

    def surrogate_loss(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the contrastive loss of two random views of each image, which the surrogate minimises in its turn."""
        layers = head_layers(surrogate, images, targets, self.heads)
        views = torch.cat([contrastive_view(images), contrastive_view(images)])
        features = features_before(layers, surrogate.module, views)
        return torch.stack([contrastive_loss(each.float(), self.temperature) for each in features]).mean()


def separability(perturbations: Tensor, classes: Tensor) -> Tensor:
    """Measure how badly perturbations (B, F) of some classes (B,) are told apart, a scalar; 0 if there are not two classes.

    A class of -1 is that of a missing label, and left out.
    """
    present = [each for each in classes.unique().tolist() if each >= 0]
    if len(present) < 2:
        return perturbations.sum() * 0.0
    members = [perturbations[classes == each] for each in present]
    centres = torch.stack([each.mean(dim=0) for each in members])
    spreads = torch.stack([
        torch.linalg.vector_norm(each - centre, dim=1).mean() for each, centre in zip(members, centres, strict=True)
    ])
    one, other = torch.triu_indices(len(present), len(present), offset=1, device=perturbations.device)
    apart = torch.linalg.vector_norm(centres[one] - centres[other], dim=1)
    ratios: Tensor = (spreads[one] + spreads[other] + _LEAST) / (apart + _LEAST)
    return ratios.mean()
