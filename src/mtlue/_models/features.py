"""The features of a backbone, and their shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtlue._losses import borrowed


def pooled(features: Tensor) -> Tensor:
    """Return features (B, F) from features, or from feature maps (B, F, h, w) by their average."""
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's parameters; the CPU if it has none."""
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def feature_shape(backbone: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape of a backbone's output for an image, (F,) or (F, h, w), by trying. The backbone does not change.

    Raises:
        TypeError: it does not return a tensor.
        ValueError: it does not take images of this shape, or returns neither features (B, F) nor feature maps (B, F, h, w).
    """
    device = device_of(backbone)
    try:
        with borrowed(backbone, device=device, trainable=False), torch.no_grad():
            features = backbone(torch.zeros(2, *image_shape, device=device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(f"backbone: it does not take images of shape {image_shape}: {error}") from error
    if not isinstance(features, Tensor):
        raise TypeError(f"backbone: expected a module that gives one tensor of features, got {type(features).__name__}")
    if features.ndim not in (2, 4) or len(features) != 2 or not features.is_floating_point():
        raise ValueError(
            f"backbone: expected features (B, F) or feature maps (B, F, h, w), got {features.dtype} of shape "
            f"{tuple(features.shape)} for 2 images"
        )
    return tuple(features.shape[1:])
