"""Data sets, targets, surrogates and arguments of every kind, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import mtlue


@dataclass(repr=False)
class Case:
    """One call: what it is given, and whether anything in it is wrong."""

    verb: str
    samples: list[Any]
    tasks: dict[str, mtlue.Task]
    told: bool
    answer: str
    options: dict[str, Any]
    seed: int
    faults: list[str] = field(default_factory=list)

    # Not by the samples, which fill pages.
    def __repr__(self) -> str:
        shapes = sorted({str(getattr(image, "shape", getattr(image, "size", type(image)))) for image, _ in self.samples})
        return (
            f"Case({self.verb}, {len(self.samples)} samples {shapes[:3]}, {self.tasks}, told={self.told}, first target "
            f"{self.samples[0][1] if self.samples else None!r}, answer={self.answer}, {self.options}, faults={self.faults})"
        )


SIDES = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.sampled_from([64, 97, 300]))
GOOD_ANSWERS, BAD_ANSWERS = ["dict", "tuple", "list"], ["wide", "missing", "none", "numbers", "short"]
BAD_LABELS: list[Any] = [None, "cat", float("nan"), 0.5, 10**6, -7, [0, 1, 2], object(), 1j, torch.tensor([])]
BAD_IMAGES: dict[str, Callable[[Tensor], Any]] = {
    "out of range": lambda image: image.float(),
    "normalised": lambda image: image.float() / 100 - 1.5,
    "nan": lambda image: image.float() * float("nan"),
    "integers": lambda image: image.long(),
    "an array": lambda image: image.numpy(),
    "text": lambda image: "a.png",
    "none": lambda image: None,
    "four axes": lambda image: image.unsqueeze(0),
    "no pixels": lambda image: image[:, :0],
    "other channels": lambda image: torch.cat([image, image]),
}


def image_forms(channels: int) -> list[Callable[[Tensor], Any]]:
    forms: list[Callable[[Tensor], Any]] = [
        lambda image: image,
        lambda image: image.float() / 255,
        lambda image: (image.float() / 255).double(),
        lambda image: (image.float() / 255).requires_grad_(),
        lambda image: image.float().div(255).half(),
    ]
    if channels in (1, 3):
        forms.append(to_pil_image)
    if channels == 1:
        forms.append(lambda image: image[0])
    return forms


LABEL_FORMS: list[Callable[[int], Any]] = [
    int,
    np.int64,
    torch.tensor,
    lambda label: torch.tensor([label]),
    lambda label: [label],
    float,
    lambda label: torch.tensor(float(label)),
    np.array,
    lambda label: torch.tensor(label, dtype=torch.int8),
]


@st.composite
def a_task(draw: Any, *, maps: bool) -> mtlue.Task:
    kinds = ["classes"] * 4 + (["segmentation", "depth", "normals"] if maps else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "depth":
        return mtlue.Depth()
    if kind == "normals":
        return mtlue.SurfaceNormals()
    count = draw(st.integers(1, 12))
    missing = draw(st.sampled_from([-1, -1, -1, 99, -100, 2**40 if kind == "classes" else 255]))
    return (mtlue.Classification if kind == "classes" else mtlue.Segmentation)(count, ignore_index=missing)


def label_of(task: mtlue.Task, height: int, width: int, random: torch.Generator, *, missing: bool) -> Any:
    """A right label of a task, as its task reads it."""
    if isinstance(task, mtlue.Classification):
        return task.ignore_index if missing else int(torch.randint(task.num_classes, (), generator=random))
    if isinstance(task, mtlue.Segmentation):
        labels = torch.randint(task.num_classes, (height, width), generator=random)
        return torch.full_like(labels, task.ignore_index) if missing else labels
    channels = task.label_channels
    return torch.zeros(channels, height, width) if missing else torch.rand(channels, height, width, generator=random) + 0.1


def target_in_form(labels: dict[str, Any], form: str) -> Any:
    values = list(labels.values())
    if form == "tuple":
        return tuple(values)
    if form == "list":
        return values
    if form == "alone":
        return values[0]
    if form == "tensor":
        return torch.tensor([int(value) for value in values])
    if form == "array":
        return np.array([int(value) for value in values])
    return dict(labels)


ON_MODELS = ["fit", "protect", "protect", "pgd", "train_victim", "evaluate", "audit", "surrogate"]
VERBS = [*ON_MODELS, "forward", "shortcut", "random_noise", "infer", "export"]
ONE_SIZE = {"pgd", "shortcut", "train_victim", "evaluate", "audit", "forward", "surrogate"}


@st.composite
def cases(draw: Any) -> Case:
    """Any call; about half of them have no fault."""
    verb = draw(st.sampled_from(VERBS))
    faulty = draw(st.booleans())
    many = draw(st.integers(0, 19)) == 0
    count = draw(st.integers(13, 50) if many else st.integers(1, 4))
    maps = not many and draw(st.integers(0, 3)) == 0 and verb != "shortcut"
    tasks = {name: draw(a_task(maps=maps)) for name in [f"t{k}" for k in range(count)]}
    seed = draw(st.integers(0, 2**32))
    random = torch.Generator().manual_seed(seed)
    channels, length = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    same_size = verb in ONE_SIZE or draw(st.booleans())
    sizes = [(draw(SIDES), draw(SIDES)) for _ in range(1 if same_size else length)]
    image_form = draw(st.sampled_from(image_forms(channels)))
    plain = all(isinstance(task, mtlue.Classification) for task in tasks.values())
    forms = ["dict", "tuple", "list", *(["alone"] if count == 1 else []), *(["tensor", "array"] if plain else [])]
    target_form = draw(st.sampled_from(forms))
    samples = []
    for index in range(length):
        height, width = sizes[index % len(sizes)]
        image = torch.randint(256, (channels, height, width), generator=random, dtype=torch.uint8)
        labels = {}
        for name, task in tasks.items():
            # The first sample has every label: a task of which all are missing is refused.
            label = label_of(task, height, width, random, missing=index > 0 and draw(st.integers(0, 5)) == 0)
            simple = isinstance(task, mtlue.Classification) and target_form not in {"tensor", "array"}
            small = simple and abs(label) < 100
            labels[name] = draw(st.sampled_from(LABEL_FORMS))(label) if small and count < 13 else label
        samples.append((image_form(image), target_in_form(labels, target_form)))
    binary = all(isinstance(task, mtlue.Classification) and task.num_classes == 2 for task in tasks.values())
    answers = [*GOOD_ANSWERS, *(["alone"] if count == 1 else []), *(["binary"] if binary and count > 1 else [])]
    case = Case(verb, samples, tasks, True, draw(st.sampled_from(answers)), {}, draw(st.integers(0, 2**64 - 1)))
    _draw_options(draw, case)
    if faulty:
        _draw_faults(draw, case, random)
    return case


def _draw_options(draw: Any, case: Case) -> None:
    options = case.options
    if case.verb in {"protect", "random_noise", "pgd", "forward", "fit"}:
        options["epsilon"] = draw(st.sampled_from([8 / 255, 1.0, 4 / 255, 0.5, 16 / 255]))
    if case.verb in {"protect", "forward"}:
        options["protected_tasks"] = draw(st.sampled_from([None, list(case.tasks)[:1], list(case.tasks)]))
    if case.verb == "protect":
        options["fraction"] = draw(st.sampled_from([1.0, 0.0, 0.3]))
    if case.verb in {"fit", "protect", "pgd", "train_victim", "evaluate", "audit"}:
        options["batch_size"] = draw(st.sampled_from([None, 1, 2, 3, 1000]))
    if case.verb in {"fit", "protect", "pgd"}:
        options["loss"] = draw(st.sampled_from(["em", "tap", "restarted", "restarted"]))
    if options.get("loss") == "restarted":
        choices = {
            "balanced": [True, False],
            "misleading": [0.0, 1.0],
            "focus": [0.0, 4.0],
            "count": [1, 2],
            "restart_steps": [1, 400],
        }
        options["of_loss"] = {name: draw(st.sampled_from(values)) for name, values in choices.items()}
    if case.verb == "fit":
        options["steps_per_epoch"] = draw(st.sampled_from([None, 1, 3]))
        options["stream"] = options["steps_per_epoch"] is not None and draw(st.booleans())
    if case.verb == "protect":
        # Ranks that write the shards of a store; none for a set in memory.
        options["ranks"] = draw(st.sampled_from([None, None, 1, 2, 3]))
        options["shard"] = draw(st.integers(1, 8))
    if case.verb == "export":
        options["format"] = draw(st.sampled_from(["npy", "shards"]))


def wrong_targets(case: Case) -> list[Any]:
    """Targets that no sample of a case may have."""
    other: list[Any] = [{"other": 1}, torch.zeros(99)]
    # Where no tasks are told, a lone sample has whatever tasks it says.
    return [None, {}, (), "cat", 3.5, *(other if case.verb != "infer" or len(case.samples) > 1 else [])]


#: Wrong values of options.
BAD_OPTIONS: dict[str, list[Any]] = {
    "steps_per_epoch": [0, -1, 1.5, "8", True],
    "of_loss": [{"focus": -1.0}, {"misleading": float("nan")}, {"count": 0}, {"restart_steps": 0}],
}


def _draw_faults(draw: Any, case: Case, random: torch.Generator) -> None:
    kinds = [
        "image",
        "label",
        "pair",
        "targets",
        "answer",
        "epsilon",
        "seed",
        "batch size",
        "names",
        "empty",
        "fraction",
        *BAD_OPTIONS,
    ]
    if case.verb in {"forward", "surrogate"}:
        # These take tensors, and no data set.
        kinds = ["answer", "epsilon", "names"]
    kind = draw(st.sampled_from(kinds))
    index = draw(st.integers(0, len(case.samples) - 1))
    image, target = case.samples[index]
    if kind == "image":
        name = draw(st.sampled_from(list(BAD_IMAGES)))
        broken = torch.randint(200, (2, 4, 5), generator=random, dtype=torch.uint8) + 30
        case.samples[index] = (BAD_IMAGES[name](broken), target)
        if name == "other channels" and (len(case.samples) == 1 or len(as_bytes(case.samples[index - 1][0])) == 4):
            case.samples[index] = (image, target)
            return
        case.faults.append(f"image {name}")
    elif kind == "label":
        label = draw(st.sampled_from(BAD_LABELS))
        if not isinstance(target, dict):
            return
        case.samples[index] = (image, {**target, "t0": label})
        case.faults.append(f"label {label!r}")
    elif kind == "pair":
        case.samples[index] = draw(st.sampled_from([image, (image,), (image, target, 1), None]))
        case.faults.append("pair")
    elif kind == "targets":
        case.samples[index] = (image, draw(st.sampled_from(wrong_targets(case))))
        case.faults.append("targets")
    # Ranks have a trained generator, which asks no surrogate.
    elif kind == "answer" and case.verb in ON_MODELS and (case.options.get("ranks") or 1) == 1:
        case.answer = draw(st.sampled_from(BAD_ANSWERS))
        case.faults.append(f"answer {case.answer}")
    elif kind == "epsilon" and "epsilon" in case.options:
        case.options["epsilon"] = draw(st.sampled_from([0.0, -1.0, 8, float("nan"), "8/255", None, True]))
        case.faults.append("epsilon")
    elif kind == "seed" and case.verb not in {"forward", "evaluate", "surrogate", "export"}:
        case.seed = draw(st.sampled_from([-1, 2**64, 0.5, "0", None, True]))
        case.faults.append("seed")
    elif kind == "batch size" and "batch_size" in case.options:
        case.options["batch_size"] = draw(st.sampled_from([0, -1, 1.5, "8", True]))
        case.faults.append("batch size")
    elif kind == "names" and "protected_tasks" in case.options:
        case.options["protected_tasks"] = draw(st.sampled_from([[], ["other"], "t0", 3, [None]]))
        case.faults.append("names")
    elif kind == "fraction" and "fraction" in case.options:
        case.options["fraction"] = draw(st.sampled_from([-0.1, 1.5, float("nan"), "all", None]))
        case.faults.append("fraction")
    elif kind in BAD_OPTIONS and kind in case.options:
        case.options[kind] = (
            {**case.options[kind], **bad} if isinstance(bad := draw(st.sampled_from(BAD_OPTIONS[kind])), dict) else bad
        )
        case.faults.append(kind)
    elif kind == "empty":
        case.samples.clear()
        case.faults.append("empty")


def as_bytes(image: Any) -> Tensor:
    tensor = image if isinstance(image, Tensor) else pil_to_tensor(image)
    tensor = tensor.detach() if tensor.ndim == 3 else tensor.detach().unsqueeze(0)
    return tensor if tensor.dtype == torch.uint8 else (tensor.float() * 255).round().byte()
