"""Victims of another audit that an audit can reuse, and the settings that decide whether it can."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from mtlue._data import run_settings
from mtlue._runtime import Compute, checksum, differences, tensors_digest, tensors_in, text_digest
from mtlue.defenses import Defense
from mtlue.evaluation._audited import Audited
from mtlue.evaluation._identity import model_checksum
from mtlue.evaluation._measurement import NO_DEFENSE, NOISE, PROTECTED, Measurement
from mtlue.evaluation._report import Report
from mtlue.evaluation._trainings import Training
from mtlue.evaluation._victim_model import make_model
from mtlue.evaluation._victim_training import Model, VictimPlan, known_by

# Settings that may differ between an audit and the one whose victims it reuses. What they decide is checked victim by victim.
_OF_VICTIMS = ("seeds", "defenses", "noise_epsilon", "protected_tasks", "mtlue")


def settings_of(
    plan: VictimPlan, compute: Compute, audited: Audited, defenses: Mapping[str, Defense], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the settings of an audit in a form that JSON can hold."""
    settings: dict[str, Any] = {
        "model": _model_name(plan.model),
        "weighting": repr(plan.weighting),
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate,
        "schedule": _name(plan.schedule),
        "transform": "default" if plan.transform is None else _name(plan.transform),
        "image_size": plan.image_size,
        "precision": str(compute.precision),
        "device": compute.device.type,
        "seeds": list(seeds),
        "noise_epsilon": audited.noise_epsilon,
        "defenses": {name: known_by(defense) for name, defense in defenses.items()},
        "training": _checksum_of_training(plan, audited),
        "samples": len(audited.samples(audited.clean, audited.tasks)),
        "clean": _checksum_of(audited, audited.clean),
        "test": _checksum_of(audited, audited.test),
        "torch": str(torch.__version__),
        "mtlue": version("mtlue"),
    }
    chosen = getattr(audited.protected, "protected_tasks", None)
    if chosen is not None and set(chosen) != set(audited.tasks):
        settings["protected_tasks"] = list(chosen)
    return settings


@dataclass(frozen=True)
class Controls:
    """Victims that another audit has trained on clean images and on noise.

    Attributes:
        report: The report of that audit; None if there is none.
        settings: The settings of this audit.
    """

    report: Report | None
    settings: Mapping[str, Any]

    @classmethod
    def checked(cls, report: Report | None, audited: Audited, settings: Mapping[str, Any]) -> Controls:
        """Take victims from a report, after checking that this audit would train them in the same way.

        Raises:
            TypeError: ``report`` is not a report.
            ValueError: the report has other tasks, other data sets or other settings.
        """
        if report is None:
            return cls(None, settings)
        if not isinstance(report, Report):
            raise TypeError(f"controls: expected a Report of another audit or None, got {type(report).__name__}")
        if dict(report.tasks) != dict(audited.tasks) or list(report.tasks) != list(audited.tasks):
            raise ValueError(f"controls: that report has the tasks {dict(report.tasks)}, expected {dict(audited.tasks)}")
        changed = differing_settings(report.settings, settings)
        if changed:
            raise ValueError(f"controls: expected an audit with the same settings and sets: {'; '.join(changed)}")
        return cls(report, settings)

    def of(self, training: Training) -> list[Measurement]:
        """Return what a victim reached that is trained already. The result is empty if it has to be trained."""
        if self.report is None or training.data == PROTECTED:
            return []
        before = self.report.settings
        if training.data == NOISE and before["noise_epsilon"] != self.settings["noise_epsilon"]:
            return []
        if training.defense != NO_DEFENSE:
            known = before["defenses"].get(training.defense)
            if known != self.settings["defenses"][training.defense]:
                return []
        victim = (training.data, training.victim, training.defense, training.seed)
        found = {
            each.task: each
            for each in self.report.measurements
            if (each.data, each.victim, each.defense, each.seed) == victim and each.task in training.names
        }
        return [found[name] for name in training.names] if set(found) == set(training.names) else []


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the differences between two audits that change what a victim learns from the same images."""
    was, has = _comparable(before), _comparable(now)
    # A report of an earlier version has only the other settings, and these say more.
    trainings = [{"training": each.pop("training", None)} for each in (was, has)]
    found = differences(was, has)
    if not found and trainings[0]["training"] is not None:
        found = differences(*trainings)
    return list(found.values())


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    # A report that was read from a file holds them in this form.
    kept: dict[str, Any] = json.loads(json.dumps({name: each for name, each in settings.items() if name not in _OF_VICTIMS}))
    return kept


def _checksum_of_training(plan: VictimPlan, audited: Audited) -> str:
    """Return a checksum of all that victims are trained with; their names say little."""
    module = make_model(plan.model, audited.tasks, image_shape=audited.image_shape, seed=0)
    return checksum(text_digest(json.dumps({**plan.settings(), "model": model_checksum(module)})))


def _checksum_of(audited: Audited, dataset: Any) -> str:
    return checksum(text_digest(json.dumps(run_settings(audited.samples(dataset, audited.tasks), {}))))


def _model_name(model: Model | None) -> str:
    if model is None or isinstance(model, str):
        return model or "resnet18"
    # The weights that a victim starts from.
    weights = f" ({checksum(tensors_digest(tensors_in(model)))})" if isinstance(model, nn.Module) else ""
    return f"{_name(model)}{weights}"


def _name(value: object) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
