"""Classification of a whole image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks.labels import ClassLabels


class Classification(ClassLabels):
    """A task with one class for the whole image.

    Args:
        num_classes: Number of classes, C.
        ignore_index: The label that stands for a missing one.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: ``num_classes`` is below 1, or ``ignore_index`` is one of the classes.

    Labels are integers (Python, NumPy or tensor), single or of shape (B,). A model answers with logits of shape (B, C). For two
    classes it may give only the logit of class 1, as (B,) or (B, 1).

    Example:
        >>> import torch, mtlue
        >>> race = mtlue.Classification(5)
        >>> race.adversarial_target(torch.tensor([0, 4, -1]))
        tensor([ 2,  1, -1])
    """

    @property
    def num_embeddings(self) -> int:
        """One embedding for each class."""
        return self.num_classes

    def read_target(self, label: object) -> Tensor:
        """Read an integer, or integers of shape (B,) or (B, 1), as int64 of shape () or (B,).

        Raises:
            ValueError: a label is not a class index, or the labels have more than one axis.
            TypeError: a label is not a number.
        """
        values = self._read_integers(label)
        if values.ndim > 1 and values.shape[-1] == 1:
            values = values.squeeze(-1)
        if values.ndim > 1:
            one_hot = "; one-hot? give its argmax" if values.shape[1:] == (self.num_classes,) else ""
            raise ValueError(f"expected one integer, got shape {tuple(values.shape[1:])}{one_hot}")
        return values

    def read_output(self, output: Tensor) -> Tensor:
        """Read logits of shape (B, C).

        Raises:
            ValueError: the output does not have C logits for each image.
        """
        if self.num_classes == 2 and (output.ndim == 1 or output.shape[1:] == (1,)):
            # Cross-entropy of the logits (0, s) is binary cross-entropy of the single logit s.
            positive = output.reshape(len(output))
            return torch.stack([torch.zeros_like(positive), positive], dim=1)
        if output.ndim != 2 or output.shape[1] != self.num_classes:
            single = ", (B, 1) or (B,)" if self.num_classes == 2 else ""
            raise ValueError(f"expected logits of shape (B, {self.num_classes}){single}, got {tuple(output.shape)}")
        return output

    def embedding_index(self, target: Tensor) -> Tensor:
        """Return the class itself; -1 if the label is missing."""
        return torch.where(target == self.ignore_index, -1, target)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropies of tasks with equal numbers of classes, shape (n,), by one operation."""
        # A derived class may have another loss.
        return self._cross_entropies(outputs, targets) if type(self) is Classification else super().losses(outputs, targets)

    def weighted_losses(self, outputs: Tensor, targets: Tensor, class_weights: Tensor) -> Tensor:
        """`losses` with each label multiplied by the weight of its class, by one operation, from weights (n, C)."""
        if type(self) is not Classification:
            return super().weighted_losses(outputs, targets, class_weights)
        return self._cross_entropies(outputs, targets, class_weights)

    def _cross_entropies(self, outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
        observed = targets != self.ignore_index
        known = torch.where(observed.unsqueeze(-1), outputs, 0.0).flatten(0, 1)
        each = F.cross_entropy(known, targets.flatten(), ignore_index=self.ignore_index, reduction="none").view_as(targets)
        if class_weights is not None:
            each = each * class_weights.t().gather(0, targets.clamp(0, self.num_classes - 1))
        return each.sum(dim=0) / observed.sum(dim=0).clamp_min(1)

    def counts_of_labels(self, targets: Tensor) -> Tensor:
        """Numbers of labels of tasks with equal numbers of classes, shape (n,), by one operation."""
        return (targets != self.ignore_index).sum(dim=0) if type(self) is Classification else super().counts_of_labels(targets)

    def adversarial_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropies towards the shifted labels, shape (n,), by one operation."""
        if type(self) is not Classification:
            return super().adversarial_losses(outputs, targets)
        return self.losses(outputs, self.adversarial_target(targets))
