"""Every call that writes files, on a set so small that it takes milliseconds: a row each, for runs that are broken off."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

import broken_search
import exported_sets
import killed_run
import mtlue
import resumed_victims
from mtlue import baselines, datasets
from mtlue._cli import main
from mtlue._cli.audit import write_report
from mtlue._fit import recipe_for
from mtlue._protect import checking, stages
from mtlue._runtime import load_tensors, tensors_digest, tensors_in
from photos import write_photos
from verb import RESULT, Verb, files_below


def images_of(protected: mtlue.ProtectedDataset[Any]) -> str:
    return tensors_digest(protected.stored_image(index) for index in range(len(protected)))


def _fit(kind: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        generator, net, history = killed_run.fit(kind, folder / RESULT, epochs=2)
        rows = [{**row, "seconds": 0} for row in history.to_rows()]
        return tensors_digest(tensors_in([generator, net])), rows

    return run


def checkpoint_in(folder: Path) -> dict[str, Any]:
    """What a checkpoint holds, without times, and all other files."""
    found = files_below(folder)
    if RESULT in found:
        content = load_tensors(folder / RESULT)
        history = [{**epoch, "seconds": 0} for epoch in content["state"].pop("history", [])]
        found[RESULT] = repr((tensors_digest(tensors_in(content)), content["settings"], history))
    return found


def is_checkpoint(folder: Path) -> bool:
    return not (folder / RESULT).exists() or bool(load_tensors(folder / RESULT))


def _victim(folder: Path) -> Any:
    trained = resumed_victims.victim(folder / RESULT, epochs=2)
    return tensors_digest(tensors_in(trained.victim)), trained.norms, trained.skills


def _audit(folder: Path) -> str:
    return resumed_victims.audit(folder / RESULT, epochs=1).to_json()


def _names(folder: Path) -> dict[str, Any]:
    """The names of the files of an audit: in them are times."""
    return dict.fromkeys(files_below(folder))


def _are_tensors(folder: Path) -> bool:
    """Whether all that is called a victim can be read."""
    return all(load_tensors(file) for file in (folder / RESULT).glob("*.victim"))


def _protect(kind: str, **changes: Any) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        return images_of(killed_run.protect(kind, folder / RESULT, **{"epochs": 2, "check": False, **changes}))

    return run


def _attempts(folder: Path) -> Any:
    # What the check finds takes seconds, and does not change.
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    dataset = [(torch.rand(1, 6, 6, generator=random), index % 2) for index in range(64)]
    small = dataclasses.replace(recipe_for(mtlue.EM()), processor_width=4)
    with mock.patch.object(checking, "_checked", _checked_once), mock.patch.object(stages, "recipe_for", return_value=small):
        made = {"loss": mtlue.EM(), "attempts": 2, "epochs": 1, "path": folder / RESULT, "progress": False}
        surrogate = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
        return images_of(mtlue.protect(dataset, tasks={"a": 2}, surrogate=surrogate, **made))


def _checked_once(generation: Any, *arguments: Any, check: Any = checking._checked) -> Any:
    key = tensors_digest(generation.generator.state_dict().values())
    if key not in _checks:
        _checks[key] = check(generation, *arguments)
    return _checks[key]


_checks: dict[str, Any] = {}


def _protect_with_key(folder: Path) -> Any:
    dataset, _, generator = killed_run.parts()
    generator.trained = True
    settings: Any = {"path": folder / RESULT, "check": False, "batch_size": 7, "progress": False}
    return images_of(mtlue.protect(dataset, generator=generator, **settings))


_SHORT: dict[str, Any] = {"rounds": 2, "steps": 2, "surrogate_steps": 2, "batch_size": 10}


def _search(kind: str) -> Callable[[Path], Any]:
    return lambda folder: images_of(broken_search.search(kind, folder / RESULT, **_SHORT))


def _shortcut(folder: Path) -> Any:
    dataset = [(torch.full((3, 16, 16), 100, dtype=torch.uint8), {"age": index % 3, "smile": index % 2}) for index in range(6)]
    made = {"patterns": baselines.LSP(), "fusion": baselines.patch_fusion}
    return images_of(baselines.shortcut(dataset, tasks={"age": 3, "smile": 2}, path=folder / RESULT, **made))


def _one_pixel(folder: Path) -> Any:
    dataset = [(torch.full((3, 6, 6), 40 * index, dtype=torch.uint8), {"age": index % 3}) for index in range(6)]
    return images_of(baselines.one_pixel_shortcut(dataset, tasks={"age": 3}, path=folder / RESULT))


def _noise(folder: Path) -> Any:
    sizes = [(3, 4), (5, 2), (1, 1)]
    dataset = [(torch.full((1, *sizes[index % 3]), 100, dtype=torch.uint8), index % 2) for index in range(6)]
    return images_of(baselines.random_noise(dataset, tasks={"a": 2}, path=folder / RESULT))


class _Two(datasets.PNG):
    """Two parts for three images."""

    part_size = 2


_FORMATS: dict[str, Callable[[], Any]] = {
    "PNG": _Two,
    "NumPy": lambda: "npy",
    "WebDataset": lambda: datasets.TarShards(2),
    "Parquet": lambda: datasets.ParquetShards(2),
}


def _export(name: str, *, append: bool = False) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        names = folder / "names.csv" if append else None
        exported_sets.make_set(int(append), 3).export(folder / RESULT, format=_FORMATS[name](), append=append, names=names)

    return run


def _is_export(folder: Path) -> bool:
    """Whether the table tells of images that are there: it comes after what it tells of."""
    rows = (folder / RESULT / "labels.csv").read_text().splitlines()[1:]
    return len(rows) in {3, 6} and all((folder / RESULT / row.partition(",")[0]).is_file() for row in rows)


def _key(folder: Path) -> None:
    _, _, generator = killed_run.parts()
    generator.save(folder / RESULT)


def _other_key(folder: Path) -> None:
    mtlue.UEGenerator({"a": 2}, (1, 4, 4), width=4).save(folder / RESULT)


def _report(folder: Path) -> None:
    write_report("a report\n" * 2000, folder / RESULT)


@functools.cache
def _photos() -> Path:
    """A folder of photos elsewhere, for as long as the process lives."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    write_photos(Path(kept.name), "photos", count=3, side=8)
    return Path(kept.name, "photos")


def _command(folder: Path) -> int:
    words: list[Any] = ["protect", _photos(), "--labels", _photos().with_suffix(".csv"), "--tasks", "pet", "--no-check"]
    words += ["--loss", "em", "--epochs", 1, "--device", "cpu", "--out", folder / RESULT, "--key", folder / "key.pt"]
    told = io.StringIO()
    with mock.patch.object(mtlue, "protect", _protect_small), redirect_stdout(io.StringIO()), redirect_stderr(told):
        status = main(list(map(str, words)))
    if status not in {0, 1}:
        raise OSError(told.getvalue())
    return status


def _protect_small(dataset: Any, **settings: Any) -> Any:
    """What the command calls, with models that are trained at once."""
    torch.manual_seed(0)
    if "generator" not in settings:
        settings["surrogate"] = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
        settings["generator"] = mtlue.UEGenerator(settings.get("tasks", dataset.tasks), (3, 8, 8), width=4)
    return _protect_really(dataset, **settings)


_protect_really = mtlue.protect


VERBS: tuple[Verb, ...] = (
    Verb("fit(checkpoint=), EM", _fit("em"), read=checkpoint_in, valid=is_checkpoint),
    Verb("fit(checkpoint=), a loss with a state", _fit("students"), read=checkpoint_in, valid=is_checkpoint),
    Verb("protect(path=)", _protect("em")),
    Verb("protect(path=, attempts=2)", _attempts),
    Verb("protect(path=) with a trained generator", _protect_with_key),
    Verb("baselines.pgd(path=), EM", _search("em")),
    Verb("baselines.pgd(path=), TAP", _search("frozen")),
    Verb("baselines.shortcut(path=)", _shortcut),
    Verb("baselines.one_pixel_shortcut(path=)", _one_pixel),
    Verb("baselines.random_noise(path=)", _noise),
    *(Verb(f"export, {name}", _export(name)) for name in _FORMATS),
    Verb("export, PNG, append=True", _export("PNG", append=True), prepare=_export("PNG"), valid=_is_export),
    Verb("UEGenerator.save", _key),
    Verb("UEGenerator.save over another", _key, prepare=_other_key),
    Verb("a report", _report),
    Verb("train_victim(checkpoint=)", _victim, read=checkpoint_in, valid=is_checkpoint),
    Verb("audit(checkpoint=)", _audit, read=_names, valid=_are_tensors),
    Verb("mtlue protect", _command, done="result exists and is not empty"),
)
