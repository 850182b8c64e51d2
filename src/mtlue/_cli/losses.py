"""Options for the training: the loss, and what it needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import mtlue
from mtlue._cli.options import compute_settings
from mtlue._data import inspect_dataset
from mtlue.datasets import ImageTable

_LOSSES = {"restarted-em": mtlue.RestartedEM, "tap": mtlue.TAP, "em": mtlue.EM, "rem": mtlue.REM, "tue": mtlue.TUE}
NAMES = (*_LOSSES, "sep")
# States of a surrogate along its training, as many as in the paper.
_STATES = 15
_EPOCHS = 60


def training_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return arguments of `mtlue.protect` for the training.

    Options not given are left to the library, SEP to `sep_settings`.
    """
    settings: dict[str, Any] = {"seed": options.seed, **compute_settings(options)}
    if options.loss in _LOSSES:
        settings["loss"] = _LOSSES[options.loss]()
    for name in ("epsilon", "epochs"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    return settings


def sep_settings(options: argparse.Namespace, dataset: ImageTable, work: Path) -> dict[str, Any]:
    """Return the loss SEP and its surrogate. Its training is kept in ``work``, so a repeated command resumes."""
    inspection = inspect_dataset(dataset, dataset.tasks, num_workers=options.workers)
    shape = inspection.image_shape
    surrogate = mtlue.evaluation.build_model("resnet18", dataset.tasks, image_shape=shape, seed=options.seed)
    epochs = options.epochs or _EPOCHS
    states = _States(epochs)
    trained = mtlue.evaluation.train_victim(
        dataset,
        tasks=dataset.tasks,
        model=surrogate,
        epochs=epochs,
        image_size=inspection.size_for(shape),
        after_epoch=states,
        checkpoint=work / "surrogates.pt",
        seed=options.seed,
        **compute_settings(options),
    )
    return {"loss": mtlue.SEP(states.kept), "surrogate": trained}


class _States:
    """The states of a surrogate after some epochs of its training, at equal distances, the last among them.

    Args:
        epochs: How many epochs it is trained.
    """

    def __init__(self, epochs: int) -> None:
        self._wanted = {epochs - 1 - round(step * epochs / min(_STATES, epochs)) for step in range(min(_STATES, epochs))}
        self.kept: list[dict[str, Tensor]] = []

    def __call__(self, epoch: int, model: nn.Module) -> None:
        if epoch in self._wanted:
            self.kept.append({name: value.detach().cpu().clone() for name, value in model.state_dict().items()})

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = list(state["kept"])
