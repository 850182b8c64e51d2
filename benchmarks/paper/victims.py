"""Training and measuring the victim of a cell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

import mtlue
from mtlue import analysis, defenses, evaluation
from mtlue._runtime.files import load_tensors, save_tensors
from paper.images import InMemory, Splits
from paper.methods import perturbed
from paper.readers import DENSE
from paper.specs import Victim
from paper.workshop import BusyError, Workshop, environment

WEIGHTINGS: dict[str, Callable[[], evaluation.Weighting]] = {
    "uniform": evaluation.Uniform,
    "UW": evaluation.UW,
    "RLW": evaluation.RLW,
    "Aligned-MTL": evaluation.AlignedMTL,
    "FairGrad": evaluation.FairGrad,
}

#: Clean images that somebody who breaks a protection is assumed to hold.
HELD = 200
PRETRAINED = "pretrained backbone"
ALONE = f"{HELD} clean images alone"
_ALONE_STEPS = 1000
#: Said of a victim of a smaller set that is trained in as many steps as those of the whole: it defends itself by nothing.
AS_MANY_STEPS = "as many steps"
DEFENSES: dict[str, Callable[[Splits], Any]] = {
    "none": lambda parts: None,
    "JPEG 10": lambda parts: defenses.jpeg,
    "JPEG 50": lambda parts: _jpeg_50,
    "grayscale": lambda parts: defenses.grayscale,
    "2 bits": lambda parts: defenses.bit_depth,
    "strong augmentation": lambda parts: defenses.StrongAugmentation(),
    "mixup": lambda parts: defenses.Mixup(),
    "CutMix": lambda parts: defenses.CutMix(),
    "UEraser": lambda parts: defenses.UEraser(),
    "SimCLR": lambda parts: defenses.SimCLR(),
    "orthogonal projection": lambda parts: defenses.OrthogonalProjection(),
    "adversarial training": lambda parts: defenses.AdversarialTraining(),
    "early stopping": lambda parts: defenses.EarlyStopping(_held(parts)),
    "last-layer retraining": lambda parts: defenses.LastLayerRetraining(_held(parts)),
    # A matter of the weights that the training starts from, and not of what it does.
    PRETRAINED: lambda parts: None,
    # A matter of what the training sees: the control of last-layer retraining, in as many steps.
    ALONE: lambda parts: None,
}


def _jpeg_50(images: torch.Tensor) -> torch.Tensor:
    return defenses.jpeg(images, quality=50)


def _held(parts: Splits) -> InMemory:
    """Clean images that nothing else uses: from the end of the part for pretraining, or else of the test part."""
    source = parts.pretrain or parts.test
    return source.rows(torch.arange(len(source) - HELD, len(source)))


def measure(workshop: Workshop, spec: Victim) -> dict[str, Any]:
    """Train the victim of a cell and measure it on clean test images.

    Raises:
        BusyError: another process makes the set that it is trained on.
    """
    data, seed = spec.protection.data, spec.protection.seed
    parts = workshop.splits(data)
    images = perturbed(workshop, spec.protection)
    started = time.monotonic()
    chosen = images.only([spec.task] if spec.task else [])
    parts = Splits(*(part and part.only(list(chosen.tasks)) for part in (parts.train, parts.test, parts.pretrain)))  # type: ignore[arg-type]
    model: Any = workshop.model(data, name=spec.backbone, architecture=spec.architecture, seed=seed + 1000)
    if spec.defense == PRETRAINED:
        model = _pretrained(workshop, spec, parts, model)
    epochs = workshop.scale.sets[data.name].victim_epochs
    if spec.defense == ALONE:
        chosen = _held(parts)
        epochs = math.ceil(_ALONE_STEPS / math.ceil(HELD / workshop.scale.batch_size))
    if spec.defense == AS_MANY_STEPS:
        epochs = round(epochs * len(parts.train) / len(chosen))
    victim = workshop.train(
        chosen,
        data,
        chosen.tasks,
        epochs=epochs,
        seed=seed + 1000,
        model=model,
        weighting=WEIGHTINGS[spec.weighting](),
        defense=None if spec.defense == AS_MANY_STEPS else DEFENSES[spec.defense](parts),
    )
    # No victim of label maps defends itself with clean images.
    held = HELD if parts.pretrain is None and data.name not in DENSE else 0
    test = parts.test.rows(torch.arange(len(parts.test) - held))
    found = evaluation.evaluate(victim, test, tasks=chosen.tasks, precision=workshop.precision)
    record: dict[str, Any] = {
        "spec": asdict(spec),
        "metrics": {task: {name: round(value, 5) for name, value in each.items()} for task, each in found.items()},
        "seconds": round(time.monotonic() - started, 1),
        "environment": environment(),
    }
    if data.name not in DENSE and not spec.task and hasattr(victim, "features") and spec.architecture == "hard-sharing":
        record["deviation"] = _deviation(victim, chosen)
    return record


def _deviation(victim: nn.Module, data: InMemory) -> tuple[float, float]:
    """Relative intra-class deviation of the victim's features on the images that it was trained on (section 4.2)."""
    device = next(victim.parameters()).device
    with torch.no_grad():
        batches = [victim.features(part.to(device).float() / 255).cpu() for part in data.images.split(500)]  # type: ignore[operator]
    features = torch.cat(batches)
    mean, largest = analysis.intra_class_deviation(features, data.labels)
    return round(mean, 5), round(largest, 5)


def _pretrained(workshop: Workshop, spec: Victim, parts: Splits, model: Any) -> nn.Module:
    """The victim's model with a backbone that was trained before on half as many other clean images of the same kind.

    Raises:
        ValueError: the set has no such images.
        BusyError: another process trains it.
    """
    if parts.pretrain is None:
        raise ValueError(f"the set {spec.protection.data.name!r} has no part for pretraining")
    data, seed = spec.protection.data, spec.protection.seed
    name = f"pretrained-{workshop.key(data)}-{spec.task}-{spec.backbone}-{spec.architecture}-{seed}"
    path = workshop.store.folder / "surrogates" / f"{name}.pt"
    made: nn.Module = model(mtlue.Surrogate(nn.Identity(), parts.train.tasks).tasks)
    with workshop.store.claim(name) as mine:
        if not mine:
            raise BusyError
        if not path.exists():
            half = parts.pretrain.rows(torch.arange(min(len(parts.train) // 2, len(parts.pretrain) - HELD)))
            epochs = workshop.scale.sets[data.name].victim_epochs
            trained = workshop.train(half, data, half.tasks, epochs=epochs, seed=seed + 2000, model=made)
            save_tensors({"state": {key: value.cpu() for key, value in trained.state_dict().items()}}, path)
    state = load_tensors(path)["state"]
    # The heads start anew: what is downloaded as a pretrained backbone has none for these tasks.
    made.load_state_dict({**made.state_dict(), **{key: value for key, value in state.items() if not key.startswith("heads.")}})
    return made
