"""Build a multi-task model from a backbone and an architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

from mtlue._checks import check_image_shape, check_seed
from mtlue._models.backbones import WITHOUT_MAPS, make_backbone
from mtlue._models.columns import LTB, CrossStitch
from mtlue._models.features import device_of
from mtlue._models.heads import check_features_suffice, tasks_with_maps
from mtlue._models.model import HardSharing
from mtlue._models.mtan import MTAN
from mtlue._models.pretrained import Pretrained, WeightsArgument
from mtlue._models.resnet_stages import ResNetStages, dilate
from mtlue._runtime import Stream, derived_seed, random_numbers
from mtlue._tasks import Task, Tasks, resolve_tasks

_Shape: TypeAlias = tuple[int, int, int]
#: Returns a new backbone in each call.
_Make: TypeAlias = Callable[[], nn.Module]


def build_model(
    backbone: str | nn.Module,
    tasks: Tasks,
    *,
    image_shape: tuple[int, int, int],
    architecture: str = "hard-sharing",
    seed: int = 0,
    weights: WeightsArgument = None,
) -> nn.Module:
    """Make a multi-task model, such as the default model of victims or the default surrogate of `mtlue.protect`.

    The model answers with a dictionary by task: logits (B, C_k) for classes of whole images, and maps (B, C_k, H, W) of the
    images' size if labels are maps (`mtlue.Segmentation`, `mtlue.Depth`, `mtlue.SurfaceNormals`). Its method
    ``features(images)`` returns average-pooled features: (B, F), shared by all tasks, with hard sharing, and a dictionary by
    task in the other architectures.

    Its attribute ``heads`` has a head for each task, in order. Classes of whole images get a linear layer on pooled features.
    Maps get the head of DeepLabv3 (Chen et al., 2017: ASPP), enlarged bilinearly to the image, or a 1x1 convolution if the
    feature maps are as large as the image. If a task has label maps, the ResNets by name have dilated convolutions instead of
    their last two strides: their feature maps have an eighth of the image's sides.

    Args:
        backbone: One of resnet18, resnet50, resnet101, resnet152, wide_resnet50_2, vgg16, vgg16_bn, densenet121 and vit_b_16:
            torchvision's, untrained, with a first convolution that fits the channels of the images. Only the convolutions of
            vgg16 are used, average-pooled. vit_b_16 takes square images. Its patch is the largest of at most 16 pixels that
            divides them into 8x8 patches or more (4 pixels at 32x32, 7 at 70x70, 16 at 224x224). It has no feature maps, so it
            cannot answer tasks with label maps. ``"unet"`` is a U-Net (Ronneberger et al., 2015) of 0.2 million parameters,
            small enough for a CPU, with 16 feature maps of the images' size. Or pass any module that maps images (B, C, H, W)
            to features (B, F) or to feature maps (B, F, h, w). It is copied and keeps its weights.
        tasks: Tasks by name. An integer n means ``Classification(n)``.
        image_shape: Channels, height and width of the images, (C, H, W).
        architecture: ``"hard-sharing"`` has one backbone. ``"cross-stitch"`` (Misra et al., 2016), ``"mtan"`` (Liu et al.,
            2019) and ``"ltb"`` (Guo et al., 2020) are built from the parts of a ResNet, or of a module that has parts of the
            same names. Cross-stitch and LTB have a backbone for each task. If you pass a module, all of them start from its
            weights. For ``"ltb"``, call the model's method ``set_epoch(epoch, epochs)`` before each epoch.
        seed: Seed of the initial weights. The global random numbers do not change.
        weights: Trained weights for one of torchvision's backbones by name, instead of new ones: an entry of its enum such as
            ``torchvision.models.ResNet18_Weights.DEFAULT`` or its name (torchvision downloads them if you do not have them), a
            state dict of the whole network, or the file of one. Its classifier is not used. The model still takes images in [0,
            1], and normalises them as torchvision's weights expect. Images need 3 channels, and vit_b_16 needs the image size
            that its weights were trained at.

    Raises:
        TypeError: an argument has the wrong type, or the backbone does not return a tensor.
        ValueError: an argument is out of range; the backbone does not take images of this shape, returns neither features nor
            feature maps, returns no feature maps although a task has label maps, or lacks parts that the architecture needs.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> net = torch.nn.Conv2d(1, 4, 3)
        >>> model = evaluation.build_model(net, {"digit": 10, "odd": 2}, image_shape=(1, 8, 8))
        >>> {name: tuple(logits.shape) for name, logits in model(torch.rand(3, 1, 8, 8)).items()}
        {'digit': (3, 10), 'odd': (3, 2)}
        >>> model.features(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 4])
        >>> model = evaluation.build_model("unet", {"depth": mtlue.Depth(), "indoors": 2}, image_shape=(3, 9, 12))
        >>> {name: tuple(answer.shape) for name, answer in model(torch.rand(2, 3, 9, 12)).items()}
        {'depth': (2, 1, 9, 12), 'indoors': (2, 2)}
    """
    resolved = resolve_tasks(tasks)
    shape = check_image_shape("image_shape", image_shape)
    check_seed("seed", seed)
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        raise ValueError(f"architecture: expected one of {sorted(_ARCHITECTURES)}, got {architecture!r}")
    if not isinstance(backbone, str | nn.Module):
        raise TypeError(f"backbone: expected the name of a backbone or a torch.nn.Module, got {type(backbone).__name__}")

    pretrained = Pretrained.read(weights, backbone, shape[0])
    if isinstance(backbone, str) and backbone in WITHOUT_MAPS:
        check_features_suffice(resolved, backbone)

    def make() -> nn.Module:
        if not isinstance(backbone, str):
            return copy.deepcopy(backbone)
        made = make_backbone(backbone, shape, pretrained)
        if isinstance(made, ResNetStages) and tasks_with_maps(resolved):
            dilate(made)
        return made

    with random_numbers(derived_seed(seed, Stream.MODEL_WEIGHTS), torch.device("cpu")):
        model = _ARCHITECTURES[architecture](make, resolved, shape)
    if isinstance(backbone, nn.Module):
        model.to(device_of(backbone))
    return model.train()


def _stages(make: _Make) -> ResNetStages:
    backbone = make()
    return backbone if isinstance(backbone, ResNetStages) else ResNetStages(backbone)


_ARCHITECTURES: dict[str, Callable[[_Make, dict[str, Task], _Shape], nn.Module]] = {
    "hard-sharing": lambda make, tasks, shape: HardSharing(make(), tasks, image_shape=shape),
    "cross-stitch": lambda make, tasks, shape: CrossStitch([_stages(make) for _ in tasks], tasks, image_shape=shape),
    "mtan": lambda make, tasks, shape: MTAN(_stages(make), tasks, image_shape=shape),
    "ltb": lambda make, tasks, shape: LTB([_stages(make) for _ in tasks], tasks, image_shape=shape),
}
