"""Readers of the four data sets of the paper, from the files as their authors publish them; nothing is downloaded.

Each is a map-style set of pairs (image, targets): a float image in [0, 1] of shape (C, H, W), and a dict of tensors by task
name. Its attribute ``tasks`` goes into `mtlue.UEGenerator` as it is, and `mtlue.protect` finds it by itself. NYUv2 needs
NumPy: ``mtlue[datasets]``.
"""

from mtlue._data import JointTransform
from mtlue.datasets._celeba import CelebA
from mtlue.datasets._chestxray14 import ChestXray14
from mtlue.datasets._nyuv2 import NYUv2
from mtlue.datasets._utkface import UTKFace
from mtlue.datasets._zoom_flip import RandomZoomFlip

__all__ = ["CelebA", "ChestXray14", "JointTransform", "NYUv2", "RandomZoomFlip", "UTKFace"]
