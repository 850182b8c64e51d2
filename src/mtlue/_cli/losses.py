"""Options for the training: the loss, and what it needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mtlue
from mtlue._cli.options import compute_settings
from mtlue._data import inspect_dataset
from mtlue._runtime import load_tensors, save_tensors
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
    """Return the loss SEP and its surrogate. The surrogate's states are kept in ``work``, so a repeated command resumes."""
    inspection = inspect_dataset(dataset, dataset.tasks, num_workers=options.workers)
    shape = inspection.image_shape
    surrogate = mtlue.evaluation.build_model("resnet18", dataset.tasks, image_shape=shape, seed=options.seed)
    file = work / "surrogates.pt"
    if file.is_file():
        states = load_tensors(file, argument="--out")["states"]
    else:
        states = _train(options, dataset, surrogate, inspection.size_for(shape))
        save_tensors({"states": states}, file)
    surrogate.load_state_dict(states[-1])
    return {"loss": mtlue.SEP(states), "surrogate": surrogate}


def _train(
    options: argparse.Namespace, dataset: ImageTable, surrogate: Any, image_size: tuple[int, int] | None
) -> list[dict[str, Any]]:
    epochs = options.epochs or _EPOCHS
    # At equal distances, including the last one.
    kept = {epochs - 1 - round(step * epochs / min(_STATES, epochs)) for step in range(min(_STATES, epochs))}
    states: list[dict[str, Any]] = []

    def keep(epoch: int, module: Any) -> None:
        if epoch in kept:
            states.append({name: value.detach().cpu().clone() for name, value in module.state_dict().items()})

    mtlue.evaluation.train_victim(
        dataset,
        tasks=dataset.tasks,
        model=surrogate,
        epochs=epochs,
        image_size=image_size,
        after_epoch=keep,
        seed=options.seed,
        **compute_settings(options),
    )
    return states
