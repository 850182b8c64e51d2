"""Multi-task models by name: the default surrogate, and the models that a victim may use."""

from mtlue._models.build import build_model
from mtlue._models.heads import tasks_with_maps
from mtlue._models.resnet_stages import ResNetStages, dilate
from mtlue._models.small import small_network
from mtlue._models.unet import UNet

__all__ = ["ResNetStages", "UNet", "build_model", "dilate", "small_network", "tasks_with_maps"]
