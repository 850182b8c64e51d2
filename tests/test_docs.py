"""Every code block of the README and of the pages runs as it is written, and what the pages say of the code is true."""

from __future__ import annotations

import copy
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue import baselines, datasets, evaluation
from noise_rooms import write_rooms

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

#: ``<!-- not run: reason -->`` on the line before a block says why it is not run; so many of them there are.
NOT_RUN: dict[str, int] = {}

#: One epoch each, but where the text picks states of a surrogate's epochs.
EPOCHS = {"measuring.md": 4}

TASKS = {"age": 9, "race": 5, "gender": 2}


@dataclass
class Block:
    """A block of Python on a page."""

    line: int
    code: str
    not_run: str | None


def blocks_of(page: Path) -> list[Block]:
    """The Python blocks of a page in order, at any indentation."""
    pattern = re.compile(
        r"(?:^[ ]*<!-- not run: (?P<why>[^\n]+?) -->\n\s*)?^(?P<indent>[ ]*)```python\n(?P<code>.*?)^[ ]*```$", re.M | re.S
    )
    text = page.read_text()
    return [
        Block(text[: found.start("code")].count("\n"), re.sub(f"(?m)^{found['indent']}", "", found["code"]), found["why"])
        for found in pattern.finditer(text)
    ]


class Samples(list[Any]):
    """A list, which is a data set too."""


def random_images(count: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (count, 3, 16, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def people(count: int = 18, *, seed: int = 0) -> Samples:
    """Images of noise with an age, a race and a gender."""
    return Samples(
        (image, {"age": index % 9, "race": index % 5, "gender": index % 2})
        for index, image in enumerate(random_images(count, seed=seed))
    )


class Net(nn.Module):
    """The least that answers such tasks."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.heads = nn.ModuleDict({name: nn.Linear(48, classes) for name, classes in tasks.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.pool(images).flatten(1)
        return {name: head(features) for name, head in self.heads.items()}


def shift(images: torch.Tensor) -> torch.Tensor:
    return images.roll(int(torch.randint(3, ())), dims=3)


def prepare(page: str) -> dict[str, Any]:
    """What the reader of a page is taken to have."""
    clean, net = people(), Net(TASKS)
    names: dict[str, Any] = {
        "dataset": clean,
        "clean": clean,
        "test": people(12, seed=1),
        "tasks": dict(TASKS),
        "net": net,
        "surrogate": net,
        "augment": shift,
    }
    if page == "dense.md":
        write_rooms(Path("folder"), train=6, test=2, size=16)
        names["dataset"] = [
            (image, {**targets, "scene": index}) for index, (image, targets) in enumerate(datasets.NYUv2("folder", split="train"))
        ]
        del names["tasks"], names["surrogate"]
    return names


def shortened(function: Callable[..., Any], **forced: Any) -> Callable[..., Any]:
    """The function with settings that take less time than those of the text."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **{**keywords, **forced})

    return call


@pytest.fixture
def small_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every training of this test short, and every generator and backbone narrow."""

    def shorten(epochs: int) -> None:
        quick = {"progress": False, "batch_size": 9}
        for module, name, forced in (
            (mtlue, "fit", {"epochs": 1, **quick}),
            (mtlue, "protect", {"epochs": 1, **quick, "num_workers": 0}),
            (evaluation, "train_victim", {"epochs": epochs, **quick}),
            (evaluation, "audit", {"epochs": 1, **quick}),
            (baselines, "pgd", {"steps": 2, "rounds": 1, **quick}),
        ):
            monkeypatch.setattr(module, name, shortened(getattr(module, name), **forced))
        monkeypatch.setattr(mtlue.UEGenerator, "__init__", shortened(mtlue.UEGenerator.__init__, width=4))

    return shorten


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.name)
def test_code(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_settings: Callable[[int], None]) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = dict(mtlue.Task.kinds)
    monkeypatch.setattr(mtlue.Task, "kinds", kinds)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {"__name__": f"page_{page.stem.replace('-', '_')}", **prepare(page.name)}
        small_settings(EPOCHS.get(page.name, 1))
        with warnings.catch_warnings():
            # What a training that was cut short has every right to be.
            warnings.filterwarnings("ignore", message="surrogate: no better than chance")
            for block in blocks_of(page):
                if block.not_run is None:
                    # The lines of an error are those of the page.
                    exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
