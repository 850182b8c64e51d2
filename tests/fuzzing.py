"""What is called of every public function, and what must hold of a call, right or wrong."""

from __future__ import annotations

import math
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import mtlue
from fuzzing_cases import Case, as_bytes
from mtlue import baselines, datasets, evaluation
from mtlue._formats import NPY, store
from mtlue._tasks import read_single, split_by_task
from properties import assert_protected
from rank_copies import environment

#: What a message may begin with: the arguments of the public functions, and what a result was wrong in.
ARGUMENTS = re.compile(
    r"(dataset|tasks|surrogate|model|loss|generator|epsilon|protected_tasks|fraction|batch_size|seeds?|images|targets|task '|"
    r"image_shape|image_size|budget|patterns|fusion|steps|step_size|epochs|steps_per_epoch|focus|misleading|count|restart_steps)\b"
)


class Net(nn.Module):
    """The least that answers any tasks on images of any size, in a form of one's choice."""

    def __init__(self, tasks: dict[str, mtlue.Task], channels: int, answer: str) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(channels, task.output_channels, 1) for task in tasks.values())
        self.tasks, self.answer = tasks, answer

    def forward(self, images: Tensor) -> Any:
        maps = [head(images) for head in self.heads]
        answers = [each if task.is_map else each.mean((2, 3)) for each, task in zip(maps, self.tasks.values(), strict=True)]
        named = dict(zip(self.tasks, answers, strict=True))
        forms: dict[str, Callable[[], Any]] = {
            "dict": lambda: named,
            "tuple": lambda: tuple(answers),
            "list": lambda: answers,
            "alone": lambda: answers[0],
            "binary": lambda: torch.stack([each[:, 1] - each[:, 0] for each in answers], dim=1),
            "wide": lambda: {name: torch.cat([each, each], dim=1) for name, each in named.items()},
            "missing": lambda: dict(list(named.items())[1:]),
            "none": lambda: None,
            "numbers": lambda: [1.0 for _ in answers],
            "short": lambda: [each[:-1] for each in answers],
        }
        return forms[self.answer]()


def clean_set(case: Case) -> list[Any]:
    return [(as_bytes(image), target) for image, target in case.samples]


def channels_of(case: Case) -> int:
    """Channels of the first sample that has an image."""
    for item in case.samples:
        try:
            return len(as_bytes(item[0]))
        except (AttributeError, IndexError, TypeError, ValueError):
            continue
    return 3


def labels_of(case: Case) -> list[dict[str, Tensor]]:
    targets = [split_by_task(target, case.tasks, what="targets") for _, target in case.samples]
    return [{name: read_single(label, case.tasks[name]) for name, label in labels.items()} for labels in targets]


def batch_of(case: Case) -> tuple[Tensor, dict[str, Tensor]]:
    images = torch.stack([as_bytes(image).float() / 255 for image, _ in case.samples])
    labels = labels_of(case)
    return images, {name: torch.cat([each[name] for each in labels]) for name in case.tasks}


def net_of(case: Case) -> nn.Module:
    return Net(case.tasks, channels_of(case), case.answer)


def generator_of(case: Case) -> mtlue.UEGenerator:
    shape = (channels_of(case), 9, 8)
    return mtlue.UEGenerator(case.tasks, shape, width=2, embedding_channels=2, epsilon=case.options["epsilon"])


def settings_of(case: Case, *left_out: str) -> dict[str, Any]:
    """The options of a case as keyword arguments."""
    unused = {*left_out, "of_loss", "stream", "ranks", "shard", "format"}
    settings = {name: value for name, value in case.options.items() if name not in unused}
    if "loss" in settings:
        settings["loss"] = {"em": mtlue.EM, "tap": mtlue.TAP, "restarted": _restarted(case)}[settings["loss"]]()
    return settings


def _restarted(case: Case) -> Callable[[], mtlue.RestartedEM]:
    return lambda: mtlue.RestartedEM(**case.options["of_loss"])


class Stream(IterableDataset[Any]):
    """Samples without a length."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)


def check_bound(safe: Any, case: Case) -> None:
    if not case.faults:
        assert_protected(safe, clean_set(case), limit=int(255 * safe.epsilon + 1e-6), all_changed=False)


def forward(case: Case) -> None:
    generator = generator_of(case)
    images, targets = batch_of(case)
    generator.train_on(len(images))
    delta = generator(images, targets, **settings_of(case, "epsilon"))
    assert delta.shape == images.shape
    assert delta.dtype == torch.float32
    assert delta.isfinite().all()
    assert delta.abs().max() <= case.options["epsilon"]


def surrogate(case: Case) -> None:
    value = mtlue.Surrogate(net_of(case), case.tasks).loss(*batch_of(case))
    assert value.ndim == 0
    assert value.isfinite()


def fit(case: Case) -> None:
    generator, data = generator_of(case), Stream(case.samples) if case.options["stream"] else case.samples
    quick = {"epochs": 1, "surrogate_steps": 1, "seed": case.seed, "progress": False}
    history = mtlue.fit(generator, data, net_of(case), **quick, **settings_of(case, "epsilon"))  # type: ignore[arg-type]
    assert len(history) == 1
    assert all(parameter.isfinite().all() for parameter in generator.parameters())


def protect(case: Case) -> None:
    models = {"tasks": case.tasks, "surrogate": net_of(case), "generator": generator_of(case)}
    quick = {"epochs": 1, "seed": case.seed, "progress": False, **settings_of(case, "epsilon")}
    with _place(case) as path:
        if (case.options["ranks"] or 1) > 1:
            # This one is the first. The others do not come, and it makes their shards as well.
            models["generator"].trained = True
        safe = mtlue.protect(case.samples, path=path, **models, **quick)  # type: ignore[arg-type]
        check_bound(safe, case)
        if case.options["fraction"] == 0:
            assert all(torch.equal(safe.stored_image(index), image) for index, (image, _) in enumerate(clean_set(case)))
        if path is not None:
            assert os.listdir(path.parent) == [path.name]
            again = mtlue.ProtectedDataset.load(path, case.samples)  # type: ignore[arg-type]
            assert all(torch.equal(again.stored_image(index), safe.stored_image(index)) for index in range(len(safe)))


@contextmanager
def _place(case: Case) -> Iterator[Path | None]:
    """Where the first of some ranks writes shards of a size, or nowhere."""
    ranks = case.options["ranks"]
    if ranks is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(store, "_SHARD_SIZE", case.options["shard"]),
        mock.patch.dict(os.environ, environment(0, ranks)),
    ):
        yield Path(folder, "store")


def pgd(case: Case) -> None:
    quick = {"steps": 2, "step_size": 1 / 255, "surrogate_steps": 1, "seed": case.seed, "progress": False}
    models = {"tasks": case.tasks, "surrogate": net_of(case)}
    check_bound(baselines.pgd(case.samples, **models, **quick, **settings_of(case)), case)  # type: ignore[arg-type]


def shortcut(case: Case) -> None:
    ways = {"patterns": baselines.LSP(), "fusion": baselines.average_fusion, "seed": case.seed}
    check_bound(baselines.shortcut(case.samples, tasks=case.tasks, **ways), case)  # type: ignore[arg-type]


def random_noise(case: Case) -> None:
    settings = {"tasks": case.tasks, "seed": case.seed, **settings_of(case)}
    check_bound(baselines.random_noise(case.samples, **settings), case)  # type: ignore[arg-type]


def infer(case: Case) -> None:
    check_bound(baselines.random_noise(case.samples, seed=case.seed), case)  # type: ignore[arg-type]


def export(case: Case) -> None:
    safe = baselines.random_noise(case.samples, tasks=case.tasks)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        shards = case.options["format"] == "shards"
        safe.export(folder, format=datasets.TarShards(2, files=NPY()) if shards else "npy")
        mtlue.verify(folder)
        given = labels_of(case)
        found: Any = (
            list(datasets.WebDataset(folder, tasks=case.tasks)) if shards else datasets.ImageTable(folder, tasks=case.tasks)
        )
        assert len(found) == len(given)
        for index, (image, labels) in enumerate(found):
            assert torch.equal(as_bytes(image), safe.stored_image(index))
            for name, label in labels_of(replace(case, samples=[(image, labels)]))[0].items():
                assert torch.equal(label, given[index][name])


def train_victim(case: Case) -> None:
    settings = {"tasks": case.tasks, "model": net_of(case), "epochs": 1, "seed": case.seed, "progress": False}
    victim = evaluation.train_victim(case.samples, **settings, **settings_of(case))  # type: ignore[arg-type]
    assert not victim.training
    assert all(parameter.isfinite().all() for parameter in victim.parameters())


def evaluate(case: Case) -> None:
    found = evaluation.evaluate(net_of(case), case.samples, tasks=case.tasks, **settings_of(case))  # type: ignore[arg-type]
    assert list(found) == list(case.tasks)
    assert all(value >= 0 or math.isnan(value) for metrics in found.values() for value in metrics.values())


def audit(case: Case) -> None:
    data: Any = case.samples
    noisy = baselines.random_noise(data, tasks=case.tasks)
    settings = {"model": net_of(case), "epochs": 1, "single_task": list(case.tasks)[:1], "progress": False}
    # With the faults of the clean set, and not that set.
    test: Any = [*data, data[0]]
    report = evaluation.audit(noisy, data, test, seeds=(case.seed,), **settings, **settings_of(case))  # type: ignore[arg-type]
    assert "clean" in report.to_markdown()
    assert set(report.residual_learnability) <= set(case.tasks)


CALLS: dict[str, Callable[[Case], None]] = {
    each.__name__: each
    for each in (
        forward, surrogate, fit, protect, pgd, shortcut, random_noise, infer, export, train_victim, evaluate, audit,
    )
}  # fmt: skip


def verdict(case: Case) -> str:
    """What came of a case: ``"right"``, or the kind of refusal.

    Raises:
        AssertionError: it was neither, a right call was refused, or a wrong one was not.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        warnings.simplefilter("error")
        # The library's own.
        warnings.simplefilter("ignore", UserWarning)
        try:
            CALLS[case.verb](case)
            refusal = None
        except (ValueError, TypeError) as error:
            refusal = error
    if refusal is None:
        assert not case.faults, "a wrong call was not refused"
        return "right"
    named = ARGUMENTS.match(str(refusal))
    # Small images have fewer patterns than some tasks have classes.
    few = case.verb == "shortcut" and str(refusal).startswith("patterns: num_classes")
    # What is to be read off labels may be refused: a number for missing ones looks like a class, or like an identifier.
    few |= case.verb == "infer" and str(refusal).startswith(("tasks: ", "dataset: "))
    assert case.faults or few, f"a right call was refused: {type(refusal).__name__}: {refusal}"
    assert named, f"no argument is named: {type(refusal).__name__}: {refusal}"
    return f"{type(refusal).__name__}: {named[1]}"


#: What came of the cases of this process, for the script that runs many.
VERDICTS: Counter[str] = Counter()
