"""The loss that an option names, with what it needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mtlue
from mtlue._data import inspect_dataset
from mtlue._runtime import load_tensors, save_tensors
from mtlue.datasets import ImageTable

NAMES = ("restarted-em", "tap", "sep", "em")
# States of a surrogate along its training, as in the paper.
_STATES = 15
_EPOCHS = 60


def loss_settings(options: argparse.Namespace, dataset: ImageTable, work: Path | None) -> dict[str, Any]:
    """Arguments of `mtlue.protect` for the loss; empty where the library is to choose.

    Args:
        options: Those of the command.
        dataset: What SEP's surrogate is trained on.
        work: Where its states are kept, so that a command that is repeated goes on; None keeps them nowhere.
    """
    match options.loss:
        case "restarted-em":
            return {"loss": mtlue.RestartedEM()}
        case "tap":
            return {"loss": mtlue.TAP()}
        case "em":
            return {"loss": mtlue.EM()}
        case "sep":
            return _sep(options, dataset, work)
    return {}


def _sep(options: argparse.Namespace, dataset: ImageTable, work: Path | None) -> dict[str, Any]:
    inspection = inspect_dataset(dataset, dataset.tasks, num_workers=options.workers)
    shape = inspection.image_shape
    surrogate = mtlue.evaluation.build_model("resnet18", dataset.tasks, image_shape=shape, seed=options.seed)
    file = None if work is None else work / "surrogates.pt"
    if file is not None and file.is_file():
        states = load_tensors(file, argument="--out")["states"]
    else:
        states = _train(options, dataset, surrogate, inspection.size_for(shape))
        if file is not None:
            save_tensors({"states": states}, file)
    surrogate.load_state_dict(states[-1])
    return {"loss": mtlue.SEP(states), "surrogate": surrogate}


def _train(
    options: argparse.Namespace, dataset: ImageTable, surrogate: Any, image_size: tuple[int, int] | None
) -> list[dict[str, Any]]:
    epochs = options.epochs or _EPOCHS
    # At equal distances, the last among them.
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
        batch_size=options.batch_size,
        image_size=image_size,
        after_epoch=keep,
        device=options.device,
        num_workers=options.workers,
        seed=options.seed,
    )
    return states
