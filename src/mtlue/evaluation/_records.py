"""The results of an audit so far, with a file for each victim, from which an interrupted audit resumes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mtlue._checks import check_path
from mtlue._fit import Checkpoint
from mtlue._runtime import Compute, checksum, text_digest
from mtlue._tasks import tasks_to_config
from mtlue.defenses import Defense
from mtlue.evaluation._audited import Audited
from mtlue.evaluation._identity import model_checksum, samples_settings
from mtlue.evaluation._measurement import NOISE, PROTECTED, Measurement
from mtlue.evaluation._trainings import Training
from mtlue.evaluation._victim_model import make_model
from mtlue.evaluation._victim_training import VictimPlan

# Files of a trained victim, of one in training, and drafts of either.
_OURS = re.compile(r"[0-9a-f]{16}\.(victim|training)(\.\d+\.draft)?")


def check_folder(checkpoint: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder of an audit, which may be new, empty or an audit's already. Drafts in it are removed.

    Raises:
        NotADirectoryError: it is a file.
        ValueError: it holds other files.
    """
    if checkpoint is None:
        return None
    check_path("checkpoint", checkpoint)
    folder = Path(checkpoint)
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(
                f"checkpoint: expected a folder, which an audit needs for its victims, got the file {folder}"
            )
        return folder
    others = sorted(each.name for each in folder.iterdir() if not _OURS.fullmatch(each.name) and not each.name.startswith("."))
    if others:
        raise ValueError(f"checkpoint: expected a new folder or that of an audit, got {folder}, which holds {others[0]}")
    return folder


@dataclass(frozen=True)
class Records:
    """The trained victims of an audit, and the victim in training.

    Attributes:
        folder: Where they are kept. None keeps nothing.
        settings: What every victim depends on.
        of_data: What else a victim depends on, by the name of the set that it learns from.
        of_defense: The same by the name of its defence.
    """

    folder: Path | None
    settings: Mapping[str, Any]
    of_data: Mapping[str, Mapping[str, Any]]
    of_defense: Mapping[str, Mapping[str, Any]]

    @classmethod
    def opened(
        cls, folder: Path | None, plan: VictimPlan, compute: Compute, audited: Audited, defenses: Mapping[str, Defense]
    ) -> Records:
        """Open the records in a folder, which is made if it does not exist."""
        if folder is None:
            return cls(None, {}, {}, {})
        folder.mkdir(exist_ok=True)
        sets = {
            name: checksum(text_digest(json.dumps(samples_settings(audited.samples(dataset, audited.tasks), compute))))
            for name, dataset in (("clean", audited.clean), ("test", audited.test), ("protected", audited.protected))
        }
        protected = sets.pop("protected")
        module = make_model(plan.model, audited.tasks, image_shape=audited.image_shape, seed=0)
        settings = {
            **plan.settings(),
            **sets,
            "tasks": json.dumps(tasks_to_config(audited.tasks)),
            "model": model_checksum(module),
            "precision": str(compute.precision),
            "device": compute.device.type,
            "torch": torch.__version__,
        }
        of_data: dict[str, dict[str, Any]] = {
            NOISE: {"noise_epsilon": audited.noise_epsilon},
            PROTECTED: {"protected": protected},
        }
        of_defense = {name: replace(plan, defense=each).settings() for name, each in defenses.items()}
        return cls(folder, settings, of_data, of_defense)

    def of(self, training: Training) -> list[Measurement]:
        """Return what a trained victim has reached. The result is empty if it has to be trained.

        Raises:
            ValueError: the record belongs to a victim with other settings, or is damaged.
        """
        record = self._record(training)
        state = record.load()
        if state is None:
            return []
        with record.taking_up():
            found = [Measurement(**each) for each in state["measurements"]]
            if [each.task for each in found] != list(training.names):
                raise ValueError(f"it has {len(found)} measurements, expected those of {list(training.names)}")
        self._forget_unfinished(training)
        return found

    def keep(self, training: Training, found: Sequence[Measurement]) -> None:
        """Note what a victim has reached, and delete the state from which its training would have resumed."""
        self._record(training).save({"measurements": [asdict(each) for each in found]})
        self._forget_unfinished(training)

    def unfinished(self, training: Training) -> Path | None:
        """Return the checkpoint of a victim in training."""
        return self._file(training, "training")

    def _forget_unfinished(self, training: Training) -> None:
        unfinished = self.unfinished(training)
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)

    def _record(self, training: Training) -> Checkpoint:
        own = {"victim": str(training), **self.of_data.get(training.data, {}), **self.of_defense.get(training.defense, {})}
        return Checkpoint(self._file(training, "victim"), {**self.settings, **own})

    def _file(self, training: Training, ending: str) -> Path | None:
        # Names of tasks and defences need not be valid names of files.
        return None if self.folder is None else self.folder / f"{text_digest(str(training))[:16]}.{ending}"
