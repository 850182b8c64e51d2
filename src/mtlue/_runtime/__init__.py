"""Devices, memory, files and progress: the surroundings of the method."""

import logging as _logging

from mtlue._runtime.arriving import Arriving
from mtlue._runtime.compute import Compute
from mtlue._runtime.constants import constant
from mtlue._runtime.descent import descend, gradients_on
from mtlue._runtime.device import check_single_process, choose_device, moved, repeatable_convolutions, sent
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
from mtlue._runtime.job import Job, LostRankError
from mtlue._runtime.joint_call import current_job, from_rank, smallest, together
from mtlue._runtime.memory import (
    BatchSize,
    fitting_batch_size,
    out_of_memory,
    power_of_two,
    total_memory,
    training_batch_size,
)
from mtlue._runtime.ownership import is_owned, sole_owner
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._runtime.ranks import ALONE, Ranks, apart, in_group, is_main, launched, rank, world_size
from mtlue._runtime.seeds import RandomState, Stream, derived_seed, random_numbers
from mtlue._runtime.share import (
    Share,
    drawn_alike,
    gathered,
    held,
    joint_count,
    joint_mean,
    joint_norm,
    joint_sum,
    on_all_ranks,
    own_rows,
    relative_weights,
    stand_ins,
)
from mtlue._runtime.warn import warn

# Without a handler, Python would print the library's warnings. A library should stay silent then.
_logging.getLogger("mtlue").addHandler(_logging.NullHandler())

__all__ = [
    "ALONE",
    "Arriving",
    "BatchSize",
    "Compute",
    "Job",
    "LostRankError",
    "Progress",
    "ProgressOption",
    "RandomState",
    "Ranks",
    "Share",
    "Stream",
    "apart",
    "check_single_process",
    "checksum",
    "choose_device",
    "constant",
    "current_job",
    "derived_seed",
    "descend",
    "described",
    "described_by_attributes",
    "differences",
    "drawn_alike",
    "file_named",
    "fitting_batch_size",
    "from_rank",
    "gathered",
    "gradients_on",
    "held",
    "in_group",
    "is_main",
    "is_owned",
    "joint_count",
    "joint_mean",
    "joint_norm",
    "joint_sum",
    "launched",
    "load_tensors",
    "moved",
    "on_all_ranks",
    "out_of_memory",
    "own_rows",
    "power_of_two",
    "private",
    "random_numbers",
    "rank",
    "relative_weights",
    "remove_folder",
    "repeatable_convolutions",
    "require",
    "save_tensors",
    "sent",
    "smallest",
    "sole_owner",
    "stand_ins",
    "tensors_digest",
    "tensors_in",
    "text_digest",
    "together",
    "total_memory",
    "training_batch_size",
    "warn",
    "world_size",
    "write_bytes",
    "write_private",
]
