"""What classification and segmentation share: labels are class indices."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks.base import Task

#: What to do if labels are names of classes.
NUMBER_THEM = "; number the classes, or read them with mtlue.datasets.ImageTable"


# A sum of probabilities may differ from 1 by this much, because half precision is coarse.
_SUM = 1e-3


class ClassLabels(Task):
    """A task whose labels are integers from 0 to ``num_classes - 1``, of an image or of its pixels."""

    def __init__(self, num_classes: int, *, ignore_index: int = -1) -> None:
        for name, value in (("num_classes", num_classes), ("ignore_index", ignore_index)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}: expected an int, got {value!r}")
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
        if 0 <= ignore_index < num_classes:
            raise ValueError(f"ignore_index: {ignore_index} is one of the {num_classes} classes")
        if abs(ignore_index) >= 2**63:
            raise ValueError(f"ignore_index: expected an integer of 64 bits, got {ignore_index}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    @property
    def output_channels(self) -> int:
        """One logit for each class."""
        return self.num_classes

    def _read_integers(self, label: object) -> Tensor:
        """Check that every label is a class index or the ignore index, and return the labels as int64.

        Raises:
            TypeError: a label is not a number.
            ValueError: a label is not a class index.
        """
        try:
            values = torch.as_tensor(label)
        except (TypeError, ValueError, RuntimeError):
            if label is None:
                raise TypeError(f"expected an integer label, got None; use {self.ignore_index} for a missing label") from None
            cure = NUMBER_THEM if isinstance(label, str) else ""
            raise TypeError(f"expected an integer label, got {label!r} ({type(label).__name__}){cure}") from None
        if values.is_complex():
            raise TypeError(f"expected an integer label, got {values.dtype}")
        if values.is_floating_point():
            fractional = ~values.isfinite() | (values != values.round())
            if bool(fractional.any()):
                raise ValueError(f"label {values[fractional].flatten()[0].item()} is not an integer")
        values = values.long()
        valid = ((values >= 0) & (values < self.num_classes)) | (values == self.ignore_index)
        if not bool(valid.all()):
            wrong = values[~valid].flatten()[0].item()
            raise ValueError(
                f"label {wrong} is out of range: expected an integer from 0 to {self.num_classes - 1}, "
                f"or {self.ignore_index} for a missing label"
            )
        return values

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy over the existing labels, shape ().

        Raises:
            ValueError: output and labels differ in size.
        """
        if (len(output), *output.shape[2:]) != tuple(target.shape):
            raise ValueError(f"expected logits for labels of shape {tuple(target.shape)}, got {tuple(output.shape)}")
        return self._cross_entropy(output, target)

    def _cross_entropy(self, output: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        observed = target != self.ignore_index
        # Selected before the softmax: otherwise a NaN in an unlabelled answer would make the gradient NaN.
        known = torch.where(observed.unsqueeze(1), output, 0.0)
        weights = None if class_weights is None else class_weights.to(known.dtype)
        total = F.cross_entropy(known, target, weights, ignore_index=self.ignore_index, reduction="sum")
        return total / observed.sum().clamp_min(1)

    def class_counts(self, targets: Tensor) -> Tensor:
        """Return how many labels of each class are in batches of many equal tasks, (n, C)."""
        each = targets.transpose(0, 1).flatten(1)
        # Missing labels are counted in a column of their own. Without `bincount`, which would wait for a GPU.
        place = torch.where(each == self.ignore_index, self.num_classes, each)
        counts = torch.zeros(len(each), self.num_classes + 1, dtype=torch.int64, device=each.device)
        return counts.scatter_add_(1, place, torch.ones_like(place))[:, :-1]

    def weighted_losses(self, outputs: Tensor, targets: Tensor, class_weights: Tensor) -> Tensor:
        """Return `losses` with each label multiplied by the weight of its class, from weights (n, C)."""
        # A derived class may have another loss.
        if type(self).loss is not ClassLabels.loss:
            return super().weighted_losses(outputs, targets, class_weights)
        parts = zip(outputs.unbind(1), targets.unbind(1), class_weights, strict=True)
        return torch.stack([self._cross_entropy(*part) for part in parts])

    def missing(self, target: Tensor) -> Tensor:
        """Return the samples with the ignore index everywhere, shape (B,)."""
        return (target == self.ignore_index).flatten(1).all(dim=1) if target.ndim > 1 else target == self.ignore_index

    def adversarial_target(self, target: Tensor) -> Tensor:
        """Return the label shifted by half the classes, (y + C//2) mod C (appendix A.1). Missing labels stay missing."""
        shifted = (target + self.num_classes // 2) % self.num_classes
        return torch.where(target == self.ignore_index, target, shifted)

    def hits(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number of correctly predicted labels, and of all labels."""
        observed = target != self.ignore_index
        return ((output.argmax(dim=1) == target) & observed).sum(), observed.sum()

    def is_distribution(self, output: Tensor) -> bool:
        """Return whether each answer is a distribution over classes. A single logit, which stands beside a zero, is not."""
        if output.shape[1] < 2 or not bool((output >= 0).all()) or not bool(output[:, 0].any()):
            return False
        return bool(((output.float().sum(dim=1) - 1).abs() <= _SUM).all())

    def skill(self, output: Tensor, target: Tensor) -> float:
        """Return balanced accuracy, rescaled so that chance is 0. Rare classes count as much as frequent ones."""
        prediction = output.argmax(dim=1)
        recalls = [
            (prediction[target == label] == label).float().mean() for label in target[target != self.ignore_index].unique()
        ]
        if len(recalls) < 2:
            return 0.0
        chance = 1.0 / len(recalls)
        return (float(torch.stack(recalls).mean()) - chance) / (1.0 - chance)

    def __repr__(self) -> str:
        ignored = "" if self.ignore_index == -1 else f", ignore_index={self.ignore_index}"
        return f"{type(self).__name__}({self.num_classes}{ignored})"

    def config(self) -> dict[str, Any]:
        """See `Task.config`."""
        return {"num_classes": self.num_classes, "ignore_index": self.ignore_index}
