"""Training the generator."""

from mtlue._fit.fit import fit
from mtlue._fit.history import Epoch, History

__all__ = ["Epoch", "History", "fit"]
