"""Protecting a data set, and what comes of it."""

from mtlue._protect.protect import protect
from mtlue._protect.protected_dataset import ProtectedDataset

__all__ = ["ProtectedDataset", "protect"]
