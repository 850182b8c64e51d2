"""Check a protection: what do small networks learn from the protected images in a short time?"""

from mtlue._check.check import NOT_PROTECTED, PROTECTED, WEAKLY_PROTECTED, Check, verdict_on
from mtlue._check.cost import forward_cost
from mtlue._check.data import CheckData, check_size
from mtlue._check.learner import CheckPlan, network_for
from mtlue._check.mirroring import changed_by_mirroring
from mtlue._check.run import NETWORKS, run_check

__all__ = [
    "NETWORKS",
    "NOT_PROTECTED",
    "PROTECTED",
    "WEAKLY_PROTECTED",
    "Check",
    "CheckData",
    "CheckPlan",
    "changed_by_mirroring",
    "check_size",
    "forward_cost",
    "network_for",
    "run_check",
    "verdict_on",
]
