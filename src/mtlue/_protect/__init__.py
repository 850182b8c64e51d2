"""Protecting a data set, and what comes of it."""

from mtlue._formats import WorkFolder
from mtlue._protect.collecting import open_sink
from mtlue._protect.protect import protect
from mtlue._protect.protected_dataset import ProtectedDataset, check_unprotected
from mtlue._protect.rounding import add_in_levels, add_levels, check_levels, largest_level

__all__ = [
    "ProtectedDataset",
    "WorkFolder",
    "add_in_levels",
    "add_levels",
    "check_levels",
    "check_unprotected",
    "largest_level",
    "open_sink",
    "protect",
]
