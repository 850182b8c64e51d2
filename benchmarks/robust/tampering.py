"""Files of every kind, tampered with: each is refused, or holds what it held."""

from __future__ import annotations

import importlib
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import mtlue
from mtlue import baselines, datasets

_SHAPE = (3, 6, 7)


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder.

    Attributes:
        make: Writes one to a path.
        load: Reads it, in a form that can be compared; ValueError refuses it.
    """

    make: Callable[[Path], object]
    load: Callable[[Path], object]


def _dataset(sizes: int = 1) -> list[Any]:
    source = torch.Generator().manual_seed(0)
    shapes = [(_SHAPE[0], _SHAPE[1] + index % sizes, _SHAPE[2]) for index in range(6)]
    return [(torch.randint(256, shape, generator=source, dtype=torch.uint8), index % 2) for index, shape in enumerate(shapes)]


def _store(sizes: int) -> Kind:
    def make(path: Path) -> None:
        baselines.random_noise(_dataset(sizes), tasks={"a": 2}, path=path)  # type: ignore[arg-type]  # a list is a data set

    def load(path: Path) -> object:
        safe = mtlue.ProtectedDataset.load(path, _dataset(sizes))  # type: ignore[arg-type]
        return safe.epsilon, str(safe.tasks), [safe.stored_image(index).tolist() for index in range(len(safe))]

    return Kind(make, load)


def _export(format: Any) -> Kind:
    def make(path: Path) -> None:
        baselines.random_noise(_dataset(), tasks={"a": 2}).export(path, format=format)  # type: ignore[arg-type]

    return Kind(make, lambda path: (mtlue.verify(path), _content(path)))


def _content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _generator() -> mtlue.UEGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mtlue.UEGenerator({"a": 2}, _SHAPE, width=4)


def _weights(path: Path) -> object:
    loaded = mtlue.UEGenerator.load(path)
    return loaded.config(), loaded.trained, {name: value.tolist() for name, value in loaded.state_dict().items()}


def _fitted(path: Path) -> object:
    killed_run: Any = importlib.import_module("killed_run")
    generator, net, history = killed_run.fit("em", path, epochs=1)
    states = [{name: value.tolist() for name, value in module.state_dict().items()} for module in (generator, net)]
    return states, history.to_rows()


def _victim(path: Path) -> object:
    trained = importlib.import_module("resumed_victims").victim(path, epochs=1)
    state = {name: value.tolist() for name, value in trained.victim.state_dict().items()}
    return state, trained.norms, trained.skills


def kinds() -> dict[str, Kind]:
    """All kinds, by name."""
    return {
        "store": _store(1),
        "store, images of several sizes": _store(3),
        "export, PNG": _export("png"),
        "export, NumPy": _export("npy"),
        "export, WebDataset": _export(datasets.TarShards(4)),
        "export, Parquet": _export(datasets.ParquetShards(4)),
        "generator": Kind(lambda path: _generator().save(path), _weights),
        "checkpoint of `fit`": Kind(_fitted, _fitted),
        "checkpoint of a victim": Kind(_victim, _victim),
    }


def tampered(kind: Kind, count: int, seed: int) -> dict[str, Any]:
    """Tamper with a file so many times; count what was refused, what holds what it held, and tell of the rest."""
    source, found, faults = random.Random(seed), {"files": 0, "refused": 0, "equal": 0}, []
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, path = Path(name, "whole"), Path(name, "tampered")
        kind.make(whole)
        expected = kind.load(whole)
        for number in range(count):
            shutil.copytree(whole, path) if whole.is_dir() else shutil.copyfile(whole, path)
            told = _tamper(path, list(_TAMPERING)[number % len(_TAMPERING)], source)
            found["files"] += 1
            try:
                equal = kind.load(path) == expected
                found["equal"] += equal
                faults += [] if equal else [f"{told}: other content was loaded"]
            except ValueError:
                found["refused"] += 1
            except Exception as error:
                faults.append(f"{told}: {type(error).__name__}: {error}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {**found, "faults": faults}


def _flip(content: bytearray, source: random.Random) -> bytearray:
    content[source.randrange(len(content))] ^= 1 << source.randrange(8)
    return content


def _cut(content: bytearray, source: random.Random) -> bytearray:
    return content[: source.randrange(len(content))]


def _append(content: bytearray, source: random.Random) -> bytearray:
    return content + source.randbytes(source.randint(1, 64))


def _swap(content: bytearray, source: random.Random) -> bytearray:
    """Two pieces change places."""
    size = source.randint(1, max(len(content) // 4, 1))
    first, second = sorted((source.randrange(len(content) - size + 1), source.randrange(len(content) - size + 1)))
    second = max(second, min(first + size, len(content) - size))
    ours, theirs = content[first : first + size], content[second : second + size]
    content[second : second + size] = ours
    content[first : first + size] = theirs
    return content


def _zero(content: bytearray, source: random.Random) -> bytearray:
    """A block that was never written."""
    start = source.randrange(len(content))
    stop = min(start + source.randint(1, 512), len(content))
    content[start:stop] = bytes(stop - start)
    return content


_TAMPERING: dict[str, Callable[[bytearray, random.Random], bytearray]] = {
    "a flipped bit": _flip,
    "cut short": _cut,
    "bytes appended": _append,
    "two pieces swapped": _swap,
    "a block of zeros": _zero,
}


def _tamper(path: Path, how: str, source: random.Random) -> str:
    """Change one file in one way, and say which."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    # The card of an export is its owner's to edit.
    files = [each for each in files if each.name != "README.md"]
    file = source.choice([each for each in files if each.stat().st_size])
    file.write_bytes(_TAMPERING[how](bytearray(file.read_bytes()), source))
    return f"{file.name}, {how}"
