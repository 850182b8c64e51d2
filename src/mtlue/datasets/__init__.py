"""Readers of data sets: a folder of images with a table of labels, Hugging Face, tar shards, and the four sets of the paper.

Each is a map-style set, and `WebDataset` a stream, of pairs (image, targets): a float image in [0, 1] of shape (C, H, W), and a
dict of tensors by task name. Pass its attribute ``tasks`` to `mtlue.UEGenerator`; `mtlue.protect` finds it without help. The
paper's sets are read from the files that their authors publish, and nothing is downloaded. NumPy files, such as those of NYUv2,
need ``mtlue[datasets]``; Hugging Face needs ``mtlue[huggingface]``, tar shards ``mtlue[webdataset]``.

Derive from `mtlue.datasets.ImageFiles` or `mtlue.datasets.ExportFormat` to export protected sets in a format of your own.
"""

from mtlue._data import JointTransform
from mtlue._formats import PNG, ExportFormat, ExportSamples, ImageFiles, ParquetShards, TarShards
from mtlue.datasets._celeba import CelebA
from mtlue.datasets._chestxray14 import ChestXray14
from mtlue.datasets._hugging_face import HuggingFace
from mtlue.datasets._image_table import ImageTable
from mtlue.datasets._label_columns import LabelColumn, label_columns
from mtlue.datasets._nyuv2 import NYUv2
from mtlue.datasets._push_to_hub import push_to_hub
from mtlue.datasets._to_hugging_face import to_hugging_face
from mtlue.datasets._utkface import UTKFace
from mtlue.datasets._web_dataset import WebDataset
from mtlue.datasets._zoom_flip import RandomZoomFlip, zoom_flip_values

__all__ = [
    "PNG",
    "CelebA",
    "ChestXray14",
    "ExportFormat",
    "ExportSamples",
    "HuggingFace",
    "ImageFiles",
    "ImageTable",
    "JointTransform",
    "LabelColumn",
    "NYUv2",
    "ParquetShards",
    "RandomZoomFlip",
    "TarShards",
    "UTKFace",
    "WebDataset",
    "label_columns",
    "push_to_hub",
    "to_hugging_face",
    "zoom_flip_values",
]
