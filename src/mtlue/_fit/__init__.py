"""Train the generator."""

from mtlue._fit.checkpoint import Checkpoint, OtherRunError, count_in, load_optimizer
from mtlue._fit.fit import check_channels, check_models, fit, train_generator
from mtlue._fit.history import Epoch, History
from mtlue._fit.optimization import module_batch_size, perturbed_loss, probed_batch_size
from mtlue._fit.plan import FitPlan, SurrogatePlan
from mtlue._fit.pretraining import pretrain
from mtlue._fit.recipe import Recipe, recipe_for
from mtlue._fit.schedule import Schedule, check_schedule, described_schedule, one_cycle, paper_schedule
from mtlue._fit.surrogate_check import answer_of, check_answers, check_gradient, check_loss, check_parameters, check_weights
from mtlue._fit.surrogate_training import SurrogateTraining

__all__ = [
    "Checkpoint",
    "Epoch",
    "FitPlan",
    "History",
    "OtherRunError",
    "Recipe",
    "Schedule",
    "SurrogatePlan",
    "SurrogateTraining",
    "answer_of",
    "check_answers",
    "check_channels",
    "check_gradient",
    "check_loss",
    "check_models",
    "check_parameters",
    "check_schedule",
    "check_weights",
    "count_in",
    "described_schedule",
    "fit",
    "load_optimizer",
    "module_batch_size",
    "one_cycle",
    "paper_schedule",
    "perturbed_loss",
    "pretrain",
    "probed_batch_size",
    "recipe_for",
    "train_generator",
]
