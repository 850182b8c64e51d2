"""The methods that mtlue is compared with. Each returns a `mtlue.ProtectedDataset`.

`pgd` searches for a perturbation of each sample, pixel by pixel, with the losses that train a generator. `shortcut` adds a
fixed pattern for each class of each task, and `one_pixel_shortcut` sets a pixel for each. `random_noise` is the control.
"""

from mtlue.baselines._ar import AR
from mtlue.baselines._fusion import average_fusion, patch_fusion
from mtlue.baselines._lsp import LSP
from mtlue.baselines._one_pixel import one_pixel_shortcut
from mtlue.baselines._pgd import pgd
from mtlue.baselines._random_noise import random_noise
from mtlue.baselines._shortcut import shortcut

__all__ = ["AR", "LSP", "average_fusion", "one_pixel_shortcut", "patch_fusion", "pgd", "random_noise", "shortcut"]
