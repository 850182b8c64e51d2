"""The base class of all architectures, and the simplest of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from mtlue._models.features import feature_shape, pooled
from mtlue._models.heads import MapHead, check_features_suffice, make_heads
from mtlue._tasks import Task


class MultiTaskModel(nn.Module):
    """A model that answers with a dictionary by task.

    Args:
        tasks: The tasks.
        backbone: Returns features (B, F) or feature maps (B, F, h, w) of the shape that the heads see. It is tried, not kept.
        image_shape: Channels, height and width of the images.

    Attributes:
        task_names: Names of the tasks.
        heads: A head for each task, in the order of ``task_names``. A list, because a task may have a name that a module
            cannot.

    Raises:
        ValueError: the labels of a task are maps, but the backbone returns none.
    """

    def __init__(self, tasks: Mapping[str, Task], backbone: nn.Module, *, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        given = feature_shape(backbone, image_shape)
        if len(given) == 1:
            check_features_suffice(tasks, type(backbone).__name__)
        self.task_names = tuple(tasks)
        self.heads = make_heads(tasks, given, image_shape[1:])


class HardSharing(MultiTaskModel):
    """All tasks share the backbone, and each has its own head (Caruana, 1997).

    Args:
        backbone: From images (B, C, H, W) to features (B, F) or feature maps (B, F, h, w).
        tasks: The tasks.
        image_shape: Channels, height and width of the images.
    """

    def __init__(self, backbone: nn.Module, tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]) -> None:
        super().__init__(tasks, backbone, image_shape=image_shape)
        self.backbone = backbone

    def features(self, images: Tensor) -> Tensor:
        """Return pooled features (B, F), shared by all tasks, of images (B, C, H, W)."""
        return pooled(self.backbone(images))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits (B, C_k) or maps (B, C_k, H, W) by task for images (B, C, H, W)."""
        given = self.backbone(images)
        features = pooled(given)
        size = (images.shape[-2], images.shape[-1])
        return {
            name: head(given, size) if isinstance(head, MapHead) else head(features)
            for name, head in zip(self.task_names, self.heads, strict=True)
        }


class TaskFeaturesModel(MultiTaskModel, ABC):
    """Each task sees its own features."""

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """Return feature maps (B, F, h, w) of each task, in order, for images (B, C, H, W)."""

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return pooled features (B, F) by task of images (B, C, H, W)."""
        return {name: pooled(maps) for name, maps in zip(self.task_names, self.maps(images), strict=True)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits (B, C_k) or maps (B, C_k, H, W) by task for images (B, C, H, W)."""
        size = (images.shape[-2], images.shape[-1])
        return {
            name: head(maps, size) if isinstance(head, MapHead) else head(pooled(maps))
            for name, head, maps in zip(self.task_names, self.heads, self.maps(images), strict=True)
        }
