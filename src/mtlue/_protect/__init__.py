"""Protect a data set, and hold the result."""

from mtlue._formats import WorkFolder
from mtlue._generator import add_in_levels, add_levels, check_levels, largest_level
from mtlue._protect.arguments import DEFAULT_EPSILON, ranks_for
from mtlue._protect.attempts import Making
from mtlue._protect.collecting import open_sink
from mtlue._protect.protect import protect
from mtlue._protect.protected_dataset import ProtectedDataset
from mtlue._protect.stages import default_loss, make_surrogate, through_jpeg

__all__ = [
    "DEFAULT_EPSILON",
    "Making",
    "ProtectedDataset",
    "WorkFolder",
    "add_in_levels",
    "add_levels",
    "check_levels",
    "default_loss",
    "largest_level",
    "make_surrogate",
    "open_sink",
    "protect",
    "ranks_for",
    "through_jpeg",
]
