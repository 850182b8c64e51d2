"""The generator of perturbations."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from mtlue._checks import check_count, check_epsilon, check_image_shape, check_task_names
from mtlue._data import check_images, resize
from mtlue._generator.bound import BOUNDS, largest_float32
from mtlue._generator.class_embeddings import ClassEmbeddingBank, select_embeddings
from mtlue._generator.decoder import Decoder
from mtlue._generator.dense_embedder import DenseEmbedder, embed_labels
from mtlue._generator.encoder import Encoder
from mtlue._generator.on_batches import Engines
from mtlue._generator.table_groups import class_indices, group_rows, group_weights
from mtlue._runtime import load_tensors, save_tensors, sole_owner, warn
from mtlue._tasks import (
    Alike,
    CheckedTargets,
    Tasks,
    alike_tasks,
    read_targets,
    resolve_tasks,
    tasks_from_config,
    tasks_to_config,
)

_FORMAT = "mtlue generator 1"


class UEGenerator(Engines, nn.Module):
    """Makes the perturbation of an image from the image and its labels (section 4.3, figure 3).

    An encoder turns the image into features z. The embedding of each label is concatenated to them, and a decoder turns the
    result into a perturbation within the budget.

    Args:
        tasks: Tasks by name. An integer n means ``Classification(n)``.
        image_shape: Channels, height and width, (C, H, W). Images of another size are resized before the encoder, and their
            perturbations after the decoder.
        epsilon: Budget on the scale of [0, 1], the largest change of a pixel.
        embedding_channels: Channels of a class embedding.
        width: Channels of the first convolutions; 64 in the paper.
        bound: ``"tanh"`` for epsilon * tanh, or ``"clip"`` for the paper's clip.

    Raises:
        TypeError: ``tasks`` is not a mapping of names to tasks.
        ValueError: an argument is out of range, or a task with label maps has a name that a module cannot have.

    Example:
        >>> import torch, mtlue
        >>> generator = mtlue.UEGenerator({"age": 9, "gender": 2}, (3, 35, 32), width=8)
        >>> images = torch.rand(4, 3, 35, 32)
        >>> delta = generator(images, {"age": torch.tensor([0, 3, 8, -1]), "gender": torch.tensor([0, 1, 1, 0])})
        >>> delta.shape, bool((delta.abs() <= 8 / 255).all())
        (torch.Size([4, 3, 35, 32]), True)
    """

    def __init__(
        self,
        tasks: Tasks,
        image_shape: tuple[int, int, int],
        *,
        epsilon: float = 8 / 255,
        embedding_channels: int = 16,
        width: int = 64,
        bound: str = "tanh",
    ) -> None:
        super().__init__()
        self.tasks = resolve_tasks(tasks)
        self.image_shape = check_image_shape("image_shape", image_shape)
        channels, height, image_width = self.image_shape
        if image_width in (1, 3, 4) and channels > 8:
            shape = self.image_shape
            warn(f"image_shape: expected (channels, height, width), got {shape}, which looks like (height, width, channels)")
        self.epsilon = check_epsilon("epsilon", epsilon)
        if not isinstance(bound, str) or bound not in BOUNDS:
            raise ValueError(f"bound: expected one of {sorted(BOUNDS)}, got {bound!r}")
        self.embedding_channels = check_count("embedding_channels", embedding_channels, minimum=1)
        self.width = check_count("width", width, minimum=1)
        self.bound = bound
        #: Whether `mtlue.fit` has trained this generator. `mtlue.protect` trains it if not.
        self.trained = False

        channels, height, image_width = self.image_shape
        self._size = (height, image_width)
        half = ((height + 1) // 2, (image_width + 1) // 2)
        self.encoder = Encoder(channels, width=width)
        self.embeddings = ClassEmbeddingBank(self.tasks, channels=embedding_channels, size=half)
        self.embedders = nn.ModuleDict()
        for name, task in self.tasks.items():
            if name not in self.embeddings:
                if not name or "." in name or hasattr(self.embedders, name):
                    raise ValueError(f"tasks: {name!r} cannot name a dense task: torch.nn.ModuleDict does not accept it")
                self.embedders[name] = DenseEmbedder(task.label_channels, width=width)
        self._groups = alike_tasks(self.embeddings.tasks)
        # The order of the concatenation: features, classification tasks, tasks with maps.
        self._position = {name: position for position, name in enumerate([*self.embeddings, *self.embedders], start=1)}
        self.decoder = Decoder(
            [2 * width, *[embedding_channels] * len(self.embeddings), *[2 * width] * len(self.embedders)],
            channels,
            width=width,
        )
        # Twice as fast on a CPU, and what tensor cores need. The order of the axes does not change.
        for part in (self.encoder, self.embedders, self.decoder):
            part.to(memory_format=torch.channels_last)
        self._reused_spread: Tensor | None = None

    def forward(self, images: Tensor, targets: object, *, protected_tasks: Collection[str] | None = None) -> Tensor:
        """Return the perturbations of a batch.

        Args:
            images: Floats in [0, 1], shape (B, C, H, W).
            targets: Labels of all tasks, in any form that a data set may return.
            protected_tasks: Names of the tasks to make unlearnable. None means all. Every other task gets the mean of its
                embeddings (section 5.3), as a missing label does.

        Returns:
            Shape (B, C, H, W), float32. No entry exceeds epsilon in absolute value.

        Raises:
            TypeError: the images are not floats, or a label has a type that cannot be read.
            ValueError: the images have the wrong shape, a task is missing, a label is out of range, or a name in
                ``protected_tasks`` is unknown.
        """
        protected = check_task_names("protected_tasks", protected_tasks, self.tasks)
        check_images("images", images, channels=self.image_shape[:1], values=False)
        read = read_targets(targets, self.tasks).to(images.device)
        for name, target in read.items():
            if target.shape[:1] != images.shape[:1]:
                raise ValueError(f"targets: task {name!r} has shape {tuple(target.shape)} for {len(images)} images")
        delta = self._perturbation(resize(images.float(), self._size), read, protected)
        delta = resize(delta.float(), (images.shape[-2], images.shape[-1]))
        limit = largest_float32(self.epsilon)
        return delta.clamp(-limit, limit)

    def perturb(self, images: Tensor, targets: object, *, protected_tasks: Collection[str] | None = None) -> Tensor:
        """Return perturbed images: images + perturbation, clamped to [0, 1] like stored images.

        Arguments and errors are those of `forward`.
        """
        delta: Tensor = self(images, targets, protected_tasks=protected_tasks)
        return (images + delta).clamp(0.0, 1.0)

    def _perturbation(self, images: Tensor, targets: CheckedTargets, protected: Collection[str]) -> Tensor:
        parts = {0: self.encoder(images)}
        rows: list[dict[int, Tensor]] = []
        weights: list[Tensor] = []
        for group in self._groups:
            index = class_indices(group, targets, protected)
            # A table longer than the batch would cost more than the embeddings of the batch.
            if group.task.num_embeddings <= len(images) or self._reused_spread is not None:
                weights.append(group_weights(group, index, dtype=images.dtype))
                if self._reused_spread is None:
                    rows += self._rows(group)
                continue
            for name, each in zip(group.names, index.unbind(1), strict=True):
                parts[self._position[name]] = select_embeddings(self.embeddings[name], each)
        for name, embedder in self.embedders.items():
            parts[self._position[name]] = embed_labels(
                cast("DenseEmbedder", embedder), self.tasks[name], targets[name], size=self._size, protected=name in protected
            )
        raw = self.decoder(
            parts,
            size=self._size,
            spread=self.decoder.spread(rows) if rows else self._reused_spread,
            selection=torch.cat(weights, dim=1) if weights else None,
        )
        bounded: Tensor = BOUNDS[self.bound](raw.float(), self.epsilon)
        return bounded

    def train_on(self, count: int) -> None:
        """Go to train mode for a batch of this many images, or to eval mode if the smallest feature maps have a single value.

        Batch normalisation cannot normalise a single value.
        """
        height, width = self._size
        self.train(count * ((height + 1) // 2) * ((width + 1) // 2) > 1)

    def spread_tables(self) -> Tensor | None:
        """Precompute the decoder's view of all class embeddings for `reuse_tables`.

        None if there are none, or if they exceed a gigabyte.
        """
        rows = sum(task.num_embeddings for task in self.embeddings.tasks.values())
        entries = rows * self.width * (self.image_shape[1] + 1) * (self.image_shape[2] + 1)
        if not rows or entries > 2**28:
            return None
        return self.decoder.spread([row for group in self._groups for row in self._rows(group)])

    def _rows(self, group: Alike) -> list[dict[int, Tensor]]:
        return group_rows(self.embeddings, group, self._position)

    @contextmanager
    def reuse_tables(self, spread: Tensor | None) -> Iterator[None]:
        """Use the decoder's view of the tables from `spread_tables` in this context, instead of computing it in each call.

        For generation without gradients. The parameters must not change meanwhile.
        """
        self._reused_spread = spread
        try:
            yield
        finally:
            self._reused_spread = None

    def config(self) -> dict[str, Any]:
        """Return the arguments that make an equal generator, in a form that JSON can hold."""
        return {
            "tasks": tasks_to_config(self.tasks),
            "image_shape": list(self.image_shape),
            "epsilon": self.epsilon,
            "embedding_channels": self.embedding_channels,
            "width": self.width,
            "bound": self.bound,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the generator to a file, completely or not at all.

        The generator is the key that undoes the protection. Keep the file apart from what you publish.

        Raises:
            BlockingIOError: another call is writing to the file.
            FileNotFoundError: the folder of the file does not exist.
            OSError: the file cannot be written.
        """
        content = {"format": _FORMAT, "config": self.config(), "trained": self.trained, "state": self.state_dict()}
        # Also remove what a killed call left of the key.
        with sole_owner(path, argument="path"):
            save_tensors(content, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: torch.device | str | None = None) -> UEGenerator:
        """Load a generator that `save` wrote, in eval mode. It unpickles nothing, so no code from the file runs.

        Args:
            path: The file.
            device: Where to put the generator. None means the CPU.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is not a generator of mtlue, or needs a kind of task that is not defined in this process.
        """
        content = load_tensors(path, argument="path", what="a generator saved by mtlue")
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"path: {os.fspath(path)} is not a generator saved by mtlue")
        try:
            config = dict(content["config"])
            tasks = tasks_from_config(config.pop("tasks"))
            # First without values: a size that the state does not match then takes no memory and draws no random numbers.
            with torch.device("meta"):
                generator = cls(tasks, tuple(config.pop("image_shape")), **config)
            _check_entries("config", content["config"], generator.config())
            _check_entries("state", content["state"], generator.state_dict())
            generator.to_empty(device="cpu").load_state_dict(content["state"])
            generator.trained = bool(content["trained"])
        except (LookupError, TypeError, AttributeError, RuntimeError, ValueError, ArithmeticError) as error:
            reason = f"it has no entry {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"path: the generator in {os.fspath(path)} cannot be used: {reason}") from None
        return generator.to(device or "cpu").eval()

    def extra_repr(self) -> str:
        return (
            f"tasks={self.tasks}, image_shape={self.image_shape}, epsilon={255 * self.epsilon:.4g}/255, "
            f"embedding_channels={self.embedding_channels}, width={self.width}, bound={self.bound!r}, trained={self.trained}"
        )


def _check_entries(what: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse incomplete settings, and weights of another generator.

    Raises:
        ValueError: the settings are incomplete, or the weights do not fit.
    """
    shapes = {name: getattr(value, "shape", None) for name, value in expected.items()}
    wrong = [name for name in {**expected, **found} if name not in expected or name not in found]
    wrong += [name for name, shape in shapes.items() if shape is not None and getattr(found.get(name), "shape", None) != shape]
    if wrong:
        raise ValueError(f"its {what} does not fit its settings: see {wrong[0]!r}")
