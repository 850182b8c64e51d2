"""Unlearnable examples for multi-task image data sets.

``mtlue.protect(dataset)`` returns the data set with a small change to each image. A network trained on it does badly on clean
images. The method is MTL-UE (ICML 2025).
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import Any as _Any

from mtlue._check import Check
from mtlue._fit import Epoch, History, fit
from mtlue._formats import Description, verify
from mtlue._generator import ClassEmbeddingBank, DenseEmbedder, UEGenerator
from mtlue._losses import EM, REM, SEP, TAP, TUE, BaseUELoss, RestartedEM, Surrogate
from mtlue._protect import ProtectedDataset, protect
from mtlue._regularizers import inter_er, intra_er
from mtlue._tasks import Classification, Depth, Segmentation, SurfaceNormals, Task

__version__ = _version("mtlue")

__all__ = [
    "EM",
    "REM",
    "SEP",
    "TAP",
    "TUE",
    "BaseUELoss",
    "Check",
    "ClassEmbeddingBank",
    "Classification",
    "DenseEmbedder",
    "Depth",
    "Description",
    "Epoch",
    "History",
    "ProtectedDataset",
    "RestartedEM",
    "Segmentation",
    "SurfaceNormals",
    "Surrogate",
    "Task",
    "UEGenerator",
    "fit",
    "inter_er",
    "intra_er",
    "protect",
    "verify",
]

_SUBPACKAGES = ("analysis", "baselines", "datasets", "defenses", "evaluation")


def __getattr__(name: str) -> _Any:
    """Load a subpackage on first use, so that ``mtlue.evaluation`` works after ``import mtlue``.

    Raises:
        AttributeError: mtlue has no attribute of that name.
    """
    if name in _SUBPACKAGES:
        return _import_module(f"mtlue.{name}")
    raise AttributeError(f"module 'mtlue' has no attribute {name!r}")
