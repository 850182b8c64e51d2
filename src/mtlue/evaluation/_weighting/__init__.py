"""Weightings: how to combine the losses of several tasks into one step."""

from mtlue.evaluation._weighting.aligned_mtl import AlignedMTL
from mtlue.evaluation._weighting.base import Weighting
from mtlue.evaluation._weighting.fairgrad import FairGrad
from mtlue.evaluation._weighting.rlw import RLW
from mtlue.evaluation._weighting.uniform import Uniform
from mtlue.evaluation._weighting.uw import UW

__all__ = ["RLW", "UW", "AlignedMTL", "FairGrad", "Uniform", "Weighting"]
