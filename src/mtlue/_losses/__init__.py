"""Base losses: what the generator minimises."""

from mtlue._losses.base import BaseUELoss
from mtlue._losses.em import EM
from mtlue._losses.sep import SEP
from mtlue._losses.surrogate import Surrogate, borrowed
from mtlue._losses.tap import TAP

__all__ = ["EM", "SEP", "TAP", "BaseUELoss", "Surrogate", "borrowed"]
