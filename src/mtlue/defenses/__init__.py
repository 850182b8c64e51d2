"""Defences: what somebody who trains on a protected set can try against the protection.

A function of images changes the training images; a `Defense` takes part in the whole training. Label maps do not move with the
pixels, so `StrongAugmentation` refuses tasks with maps, and `UEraser` leaves out whatever moves pixels. `OrthogonalProjection`
needs at least one task with labels of the whole image, and `SimCLR` a model with layers before its heads. All others accept any
kind of task and model.
"""

from mtlue._data import differentiable_jpeg
from mtlue.defenses._adversarial_training import AdversarialTraining
from mtlue.defenses._cutmix import CutMix
from mtlue.defenses._defense import Defense, Preprocessing

# For mtlue.evaluation, not public.
from mtlue.defenses._defense import as_defense as as_defense
from mtlue.defenses._early_stopping import EarlyStopping
from mtlue.defenses._last_layer_retraining import LastLayerRetraining
from mtlue.defenses._mixup import Mixup
from mtlue.defenses._orthogonal_projection import OrthogonalProjection
from mtlue.defenses._simclr import SimCLR
from mtlue.defenses._squeezing import bit_depth, grayscale, jpeg
from mtlue.defenses._strong_augmentation import StrongAugmentation
from mtlue.defenses._ueraser import UEraser
from mtlue.defenses._vae_purification import VAEPurification

__all__ = [
    "AdversarialTraining",
    "CutMix",
    "Defense",
    "EarlyStopping",
    "LastLayerRetraining",
    "Mixup",
    "OrthogonalProjection",
    "Preprocessing",
    "SimCLR",
    "StrongAugmentation",
    "UEraser",
    "VAEPurification",
    "bit_depth",
    "differentiable_jpeg",
    "grayscale",
    "jpeg",
]
