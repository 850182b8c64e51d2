"""Classification of a whole image."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._tasks.labels import ClassLabels


class Classification(ClassLabels):
    """A task with one class for the whole image, binary or not.

    Args:
        num_classes: Number of classes, C.
        ignore_index: Label that means a missing one.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: there is no class, or ``ignore_index`` is one of the classes.

    Labels are integers (Python, NumPy, tensor), single or of shape (B,). A model answers with logits of shape (B, C); for
    two classes it may also give the logit of class 1 alone, as (B,) or (B, 1).

    Example:
        >>> import torch, mtlue
        >>> race = mtlue.Classification(5)
        >>> race.adversarial_target(torch.tensor([0, 4, -1]))
        tensor([ 2,  1, -1])
    """

    @property
    def num_embeddings(self) -> int:
        """One embedding a class."""
        return self.num_classes

    def read_target(self, label: object) -> Tensor:
        """An integer, or integers of shape (B,) or (B, 1), as int64 of shape () or (B,).

        Raises:
            ValueError: a label is not a class index, or the labels have more than one axis.
            TypeError: a label is not a number.
        """
        values = self._read_integers(label)
        if values.ndim and values.shape[-1] == 1 and values.ndim != 1:
            values = values.squeeze(-1)
        if values.ndim > 1:
            one_hot = "; one-hot? give its argmax" if values.shape[1:] == (self.num_classes,) else ""
            raise ValueError(f"expected one integer, got shape {tuple(values.shape[1:])}{one_hot}")
        return values

    def read_output(self, output: Tensor) -> Tensor:
        """Logits of shape (B, C).

        Raises:
            ValueError: the output is not of a shape that gives C logits an image.
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
        """The class itself; -1 where the label is missing."""
        return torch.where(target == self.ignore_index, -1, target)
