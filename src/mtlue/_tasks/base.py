"""The base class of all kinds of task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor


class Task(ABC):
    """A kind of label, and all that mtlue has to know about it.

    A task owns the format of its labels, its loss, the label that a targeted loss aims for, and the meaning of a missing label.
    Nothing else in the library asks for the kind of a task. Derive from this class for a kind of your own, and register how to
    measure, draw and augment it (`mtlue.evaluation.metrics_for`, `mtlue.evaluation.headline_for`,
    `mtlue.evaluation.best_constant_for`, `mtlue.analysis.draw_map`, `mtlue.datasets.zoom_flip_values`). A subclass chooses one
    of two ways into the generator:

    * ``num_embeddings > 0``: the label selects one of that many learned embeddings (see `embedding_index`);
    * ``num_embeddings == 0``, which makes `is_map` true: the label is a map of ``label_channels`` channels that an embedder
      reads (see `label_map`).

    Methods that take a ``target`` get a batch of what `read_target` returns.

    Example:
        >>> import torch, mtlue
        >>> class Years(mtlue.Task):
        ...     num_embeddings = 10  # one a decade
        ...     output_channels = 1  # a model answers with the age
        ...     def read_target(self, label):
        ...         return torch.as_tensor(label, dtype=torch.float32)
        ...     def read_output(self, output):
        ...         return output.reshape(len(output))
        ...     def missing(self, target):
        ...         return target < 0
        ...     def loss(self, output, target):
        ...         known = ~self.missing(target)
        ...         return ((output - target).abs() * known).sum() / known.sum().clamp_min(1)
        ...     def embedding_index(self, target):
        ...         return torch.where(self.missing(target), -1, (target / 10).long())
        >>> years = Years()
        >>> ages = years.read_target([31, 4, -1])
        >>> years.embedding_index(ages), years.loss(torch.tensor([30.0, 7.0, 50.0]), ages)
        (tensor([ 3,  0, -1]), tensor(2.))
        >>> generator = mtlue.UEGenerator({"years": years, "gender": 2}, (3, 8, 8), width=4)
        >>> generator(torch.rand(3, 3, 8, 8), {"years": [31, 4, -1], "gender": [0, 1, 1]}).shape
        torch.Size([3, 3, 8, 8])
    """

    #: All kinds of task in this process, by `kind`.
    #:
    #: :meta hide-value:
    kinds: ClassVar[dict[str, type[Task]]] = {}

    def __init_subclass__(cls) -> None:
        """Register the kind by its name, so that a saved generator finds it without unpickling."""
        super().__init_subclass__()
        Task.kinds[cls.kind()] = cls

    @classmethod
    def kind(cls) -> str:
        """Name of the kind in files: the class, with its module unless it is mtlue's."""
        own = cls.__module__.partition(".")[0] == "mtlue"
        return cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}"

    @property
    def num_embeddings(self) -> int:
        """Number of learned embeddings of the task; 0 if its labels are maps."""
        return 0

    @property
    def is_map(self) -> bool:
        """Whether labels are maps, with a value for each pixel, instead of labels of the whole image."""
        return self.num_embeddings == 0

    @property
    def label_channels(self) -> int:
        """Channels of `label_map`; 0 if the task has learned embeddings."""
        return 0

    @property
    @abstractmethod
    def output_channels(self) -> int:
        """Channels, or logits, that a model needs to answer this task."""

    @abstractmethod
    def read_target(self, label: object) -> Tensor:
        """Turn a label, or a batch of labels, into the tensor that everything else works on.

        Raises:
            ValueError: the label is not a valid label of this task.
            TypeError: the label has a type that this task cannot read.
        """

    @abstractmethod
    def read_output(self, output: Tensor) -> Tensor:
        """Bring a model's answer for a batch into the form that `loss` expects.

        Raises:
            ValueError: the answer has the wrong shape.
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss over what is labelled, a scalar; zero if nothing is labelled."""

    @abstractmethod
    def missing(self, target: Tensor) -> Tensor:
        """Return which samples have no label of this task at all, booleans of shape (B,)."""

    def embedding_index(self, target: Tensor) -> Tensor:
        """Return the row of the task's embedding table for each sample, shape (B,); -1 if the label is missing.

        Raises:
            NotImplementedError: the labels are maps.
        """
        raise NotImplementedError(f"{type(self).__name__} has no table of embeddings")

    def label_map(self, target: Tensor) -> Tensor:
        """Return the float map for the embedder, shape (B, label_channels, H, W); zero where there is no label.

        Raises:
            NotImplementedError: the labels are of whole images.
        """
        raise NotImplementedError(f"{type(self).__name__} has no label map")

    def resize_target(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize a target along with its images to ``size``. A label of the whole image does not change."""
        return target

    def adversarial_target(self, target: Tensor) -> Tensor | None:
        """Return the wrong label that TAP and SEP aim for, or None if the task has none."""
        return None

    def adversarial_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss towards `adversarial_target`; without one, minus the loss at the true label (untargeted)."""
        shifted = self.adversarial_target(target)
        if shifted is None:
            return -self.loss(output, target)
        return self.loss(output, shifted)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`loss` of each of many equal tasks, shape (n,), from outputs (B, n, ...) and targets (B, n, ...).

        `mtlue.Surrogate` calls it. Override it if one operation can compute all of them.
        """
        return torch.stack([self.loss(*pair) for pair in zip(outputs.unbind(1), targets.unbind(1), strict=True)])

    def adversarial_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`adversarial_loss` of each of many equal tasks, as `losses` is `loss`."""
        return torch.stack([self.adversarial_loss(*pair) for pair in zip(outputs.unbind(1), targets.unbind(1), strict=True)])

    def class_counts(self, targets: Tensor) -> Tensor | None:
        """Return how many labels of each class are in batches of many equal tasks, (n, C); None if labels are not classes."""
        return None

    def weighted_losses(self, outputs: Tensor, targets: Tensor, class_weights: Tensor) -> Tensor:
        """`losses`, with each label multiplied by the weight of its class, from weights (n, C).

        mtlue only calls it for tasks with `class_counts`. By default weights change nothing.
        """
        return self.losses(outputs, targets)

    def count_labels(self, target: Tensor) -> Tensor:
        """Return the number of labels that `loss` averages over, shape (). By default it is the samples with a label.

        Losses of several ranks are weighted by it. Override it if `loss` is a mean over something else, such as pixels.
        """
        return (~self.missing(target)).sum()

    def counts_of_labels(self, targets: Tensor) -> Tensor:
        """`count_labels` of each of many equal tasks, shape (n,), as `losses` is `loss`."""
        return torch.stack([self.count_labels(target) for target in targets.unbind(1)])

    def hits(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the number of right answers and of labels in a batch, or None if answers are not right or wrong."""
        return None

    def is_distribution(self, output: Tensor) -> bool:
        """Return whether each answer looks like class probabilities instead of logits."""
        return False

    def skill(self, output: Tensor, target: Tensor) -> float:
        """Return how far a model is above chance. 0 is the best answer that ignores the image, 1 is perfect.

        By default it is one minus the loss divided by the loss of the mean target, for tasks whose output and target have the
        same shape.
        """
        observed = target[~self.missing(target)]
        if not len(observed):
            return 0.0
        constant = observed.float().mean(dim=0).expand_as(target)
        return self._skill_beside(constant, output, target)

    def _skill_beside(self, constant: Tensor, output: Tensor, target: Tensor) -> float:
        """Return one minus the loss divided by that of a constant answer; 0 if the constant answer is perfect."""
        chance = float(self.loss(constant, target))
        return 1.0 - float(self.loss(output, target)) / chance if chance > 1e-6 else 0.0

    def config(self) -> dict[str, Any]:
        """Return arguments, in a form that JSON can hold, with which ``type(self)(**config)`` makes an equal task."""
        return {}

    def __eq__(self, other: object) -> bool:
        """Tasks are equal if their kinds and arguments are."""
        return type(self) is type(other) and isinstance(other, Task) and self.config() == other.config()

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash(repr((self.kind(), sorted(self.config().items()))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


def is_registered(function: Any, task: Task) -> bool:
    """Return whether a ``functools.singledispatch`` function has an implementation for a task's kind or one of its bases."""
    return function.dispatch(type(task)) is not function.dispatch(object)
