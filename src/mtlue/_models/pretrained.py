"""Trained weights of torchvision's networks, and the normalisation that they need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

#: Weights in the forms that users have: torchvision's or their name, a state dict, or the file of one.
WeightsArgument: TypeAlias = "WeightsEnum | Mapping[str, Tensor] | str | os.PathLike[str] | None"

# The normalisation that all but a few of torchvision's weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Trained weights of one of torchvision's networks, for images of three channels.

    Attributes:
        name: The name of the network.
        state: The weights by name.
        mean: Mean that is subtracted from each channel of an image in [0, 1].
        std: Standard deviation that each channel is then divided by.
    """

    name: str
    state: Mapping[str, Tensor]
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    @classmethod
    def read(cls, weights: WeightsArgument, backbone: str | nn.Module, channels: int) -> Pretrained | None:
        """Read the weights from an argument. Returns None if the argument is None.

        Raises:
            TypeError: the argument has another type.
            ValueError: the backbone is not one of torchvision's by name, or the images do not have three channels.
        """
        if weights is None:
            return None
        if not isinstance(backbone, str) or backbone not in torchvision.models.list_models():
            name = repr(backbone) if isinstance(backbone, str) else f"a {type(backbone).__name__}"
            raise ValueError(
                f"weights: expected None with {name}; they are for one of torchvision's networks by name, and a module of "
                "your own keeps the weights that it has"
            )
        if channels != 3:
            raise ValueError(f"weights: they are for images of 3 channels, got image_shape with {channels}; convert the images")
        named = torchvision.models.get_model_weights(backbone).__members__
        if isinstance(weights, str) and weights in named:
            weights = named[weights]
        if isinstance(weights, WeightsEnum):
            seen = weights.transforms()
            return cls(backbone, weights.get_state_dict(progress=False), tuple(seen.mean), tuple(seen.std))
        return cls(backbone, _state(weights, list(named)))

    def load(self, part: nn.Module, prefix: str = "") -> None:
        """Load the weights of a part of the network.

        Args:
            part: The part of the network.
            prefix: How the names of its weights begin in the whole network.

        Raises:
            ValueError: the weights belong to another network.
        """
        own = part.state_dict()
        found = {name: self.state[prefix + name] for name in own if prefix + name in self.state}
        wrong = [
            f"{prefix}{name} has the shape {tuple(found[name].shape)}, expected {tuple(values.shape)}" if name in found
            else f"{prefix}{name} is missing"
            for name, values in own.items()
            # Old files do not count batches.
            if not name.endswith("num_batches_tracked") and (name not in found or found[name].shape != values.shape)
        ]  # fmt: skip
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise ValueError(f"weights: not those of torchvision's {self.name} for images of this shape: {wrong[0]}{more}")
        part.load_state_dict(found, strict=False)

    def normalising(self, convolution: nn.Module) -> nn.Module:
        """Put the normalisation before the first convolution, so that the network takes images in [0, 1]."""
        return nn.Sequential(_Normalise(self.mean, self.std), convolution)


class _Normalise(nn.Module):
    """Normalises images as the weights expect."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images in [0, 1]."""
        return (images - self.mean) / self.std


def _state(weights: Any, named: list[str]) -> Mapping[str, Tensor]:
    if isinstance(weights, str | os.PathLike):
        path = os.fspath(weights)
        if not os.path.isfile(path):
            raise ValueError(f"weights: {path!r} is neither a file nor one of torchvision's {named}")
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in as many ways as there are bytes
            raise ValueError(f"weights: {path} cannot be read as a file of torch.save ({error})") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        got = f"{type(weights).__name__} of other values" if isinstance(weights, Mapping) else type(weights).__name__
        raise TypeError(f"weights: expected torchvision's weights, a state dict or the file of one, got {got}")
    return weights
