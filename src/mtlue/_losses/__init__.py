"""Base losses: what the generator minimises."""

from mtlue._losses.adversary import Adversary
from mtlue._losses.base import (
    NO_GRADIENT,
    BaseUELoss,
    has_state,
    image_gradient,
    loss_value,
    surrogate_loss,
    takes_clean_images,
    with_gradient,
)
from mtlue._losses.contrastive import contrastive_loss, features_before, head_layers
from mtlue._losses.contrastive_view import contrastive_view
from mtlue._losses.em import EM
from mtlue._losses.heads import Heads, chosen_heads, find_heads
from mtlue._losses.learner import Learner, Lifetime, Make
from mtlue._losses.networks import (
    check_checkpoints,
    check_own_state,
    judged_surrogate,
    kept_state,
    networks_of,
    restore_state,
    state_of,
    trains_itself,
)
from mtlue._losses.rem import REM
from mtlue._losses.restarted_em import RestartedEM
from mtlue._losses.sep import SEP
from mtlue._losses.surrogate import Surrogate, borrowed, frozen
from mtlue._losses.tap import TAP
from mtlue._losses.tue import TUE

__all__ = [
    "EM",
    "NO_GRADIENT",
    "REM",
    "SEP",
    "TAP",
    "TUE",
    "Adversary",
    "BaseUELoss",
    "Heads",
    "Learner",
    "Lifetime",
    "Make",
    "RestartedEM",
    "Surrogate",
    "borrowed",
    "check_checkpoints",
    "check_own_state",
    "chosen_heads",
    "contrastive_loss",
    "contrastive_view",
    "features_before",
    "find_heads",
    "frozen",
    "has_state",
    "head_layers",
    "image_gradient",
    "judged_surrogate",
    "kept_state",
    "loss_value",
    "networks_of",
    "restore_state",
    "state_of",
    "surrogate_loss",
    "takes_clean_images",
    "trains_itself",
    "with_gradient",
]
