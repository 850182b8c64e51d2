"""Devices, memory, files and progress: the surroundings of the method."""

import logging as _logging

from mtlue._runtime.compute import Compute
from mtlue._runtime.descent import descend, gradients_on
from mtlue._runtime.device import check_single_process, choose_device, moved, repeatable_convolutions
from mtlue._runtime.extras import require
from mtlue._runtime.files import file_named, load_tensors, private, remove_folder, save_tensors, write_bytes, write_private
from mtlue._runtime.identity import (
    checksum,
    described,
    described_by_attributes,
    differences,
    tensors_digest,
    tensors_in,
    text_digest,
)
from mtlue._runtime.memory import BatchSize, fitting_batch_size, out_of_memory, total_memory, training_batch_size
from mtlue._runtime.ownership import is_owned, sole_owner
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._runtime.ranks import ALONE, Ranks, in_group, is_main, launched, rank, world_size
from mtlue._runtime.seeds import RandomState, Stream, derived_seed, random_numbers
from mtlue._runtime.warn import warn

# Without a handler, Python would print the library's warnings. A library should stay silent then.
_logging.getLogger("mtlue").addHandler(_logging.NullHandler())

__all__ = [
    "ALONE",
    "BatchSize",
    "Compute",
    "Progress",
    "ProgressOption",
    "RandomState",
    "Ranks",
    "Stream",
    "check_single_process",
    "checksum",
    "choose_device",
    "derived_seed",
    "descend",
    "described",
    "described_by_attributes",
    "differences",
    "file_named",
    "fitting_batch_size",
    "gradients_on",
    "in_group",
    "is_main",
    "is_owned",
    "launched",
    "load_tensors",
    "moved",
    "out_of_memory",
    "private",
    "random_numbers",
    "rank",
    "remove_folder",
    "repeatable_convolutions",
    "require",
    "save_tensors",
    "sole_owner",
    "tensors_digest",
    "tensors_in",
    "text_digest",
    "total_memory",
    "training_batch_size",
    "warn",
    "world_size",
    "write_bytes",
    "write_private",
]
