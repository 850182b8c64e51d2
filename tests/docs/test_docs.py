"""Every code block of the README and of the pages runs as it is written, and what the pages say of the code is true."""

from __future__ import annotations

import functools
import re
import runpy
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue import baselines, datasets, evaluation
from mtlue._formats import EXPORT_MANIFEST
from noise_rooms import write_rooms
from optional import needs
from people import Net, people, random_images

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

#: Run by a test of its own, beside what it is about: ``test_ecosystem_guide.py``.
ELSEWHERE = DOCS / "ecosystem.md"

#: ``<!-- not run: reason -->`` on the line before a block says why it is not run; so many of them there are.
NOT_RUN: dict[str, int] = {"scale.md": 1}

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


def shift(images: torch.Tensor) -> torch.Tensor:
    return images.roll(int(torch.randint(3, ())), dims=3)


def prepare(page: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the reader of a page is taken to have; nothing on the README, whose first snippet has to stand for itself."""
    clean, net = people(), Net(TASKS)
    names: dict[str, Any] = {
        "dataset": clean,
        "clean": clean,
        "test": people(6, seed=1),
        "tasks": dict(TASKS),
        "net": net,
        "surrogate": net,
        "augment": shift,
    }
    if page == "README.md":
        # What the README downloads.
        photos = [(to_pil_image(image), index % 10) for index, image in enumerate(random_images(30))]
        parts = {True: photos[:20], False: photos[20:]}
        monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda root, *, train=True, download=False: parts[train])
        return {}
    if page == "dense.md":
        write_rooms(Path("folder"), train=6, test=2, size=16)
        names["dataset"] = [
            (image, {**targets, "scene": index})
            for index, (image, targets) in enumerate(datasets.NYUv2("folder", split="train"))
        ]
        del names["tasks"], names["surrogate"]
        build = evaluation.build_model
        monkeypatch.setattr(evaluation, "build_model", lambda _, tasks, **settings: build("unet", tasks, **settings))
    elif page == "own-data.md":
        names["rows"] = [(f"{index}.png", index % 9, index % 2) for index in range(18)]
        for index, image in enumerate(names["dataset"]):
            to_pil_image(image[0][:, :, : 12 + index % 3]).save(f"{index}.png")
        names["net"] = Net({"age": 9, "gender": 2})
    elif page == "own-task.md":
        names["images"] = list(random_images(18))
        del names["tasks"], names["net"], names["surrogate"]
    elif page == "own-loss.md":
        del names["tasks"], names["net"], names["surrogate"]
    elif page == "scale.md":
        needs("webdataset", extra="webdataset")
        baselines.random_noise(clean, tasks=TASKS).export("shards", format=datasets.TarShards(9))
        # An export is not protected again; these shards stand for clean ones.
        Path("shards", EXPORT_MANIFEST).unlink()
        monkeypatch.setattr(mtlue, "fit", shortened(mtlue.fit, steps_per_epoch=2))
    elif page == "publishing.md":
        names["new_images"] = people(4, seed=2)
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
        quick = {"progress": False, "batch_size": 18}
        for module, name, forced in (
            (mtlue, "fit", {"epochs": 1, **quick}),
            (mtlue, "protect", {"epochs": 1, **quick, "num_workers": 0}),
            (evaluation, "train_victim", {"epochs": epochs, **quick}),
            (evaluation, "audit", {"epochs": 1, "single_task": (), **quick}),
            (baselines, "pgd", {"steps": 2, "rounds": 1, **quick}),
        ):
            monkeypatch.setattr(module, name, shortened(getattr(module, name), **forced))
        construct = mtlue.UEGenerator.__init__

        def construct_small(self: Any, tasks: Any, image_shape: tuple[int, int, int], **settings: Any) -> None:
            construct(self, tasks, (image_shape[0], 16, 16), **{**settings, "width": 4})

        monkeypatch.setattr(mtlue.UEGenerator, "__init__", construct_small)

    return shorten


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page) and page != ELSEWHERE], ids=lambda page: page.name)
def test_code(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_settings: Callable[[int], None]) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = dict(mtlue.Task.kinds)
    monkeypatch.setattr(mtlue.Task, "kinds", kinds)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {"__name__": f"page_{page.stem.replace('-', '_')}", **prepare(page.name, monkeypatch)}
        small_settings(EPOCHS.get(page.name, 1))
        with warnings.catch_warnings():
            # What a training that was cut short has every right to be.
            warnings.filterwarnings("ignore", message="surrogate: no better than chance")
            for block in blocks_of(page):
                if block.not_run is None:
                    # The lines of an error are those of the page.
                    exec(compile("\n" * block.line + block.code, str(page), "exec"), names)


def test_every_block_is_run_but_those_with_a_reason() -> None:
    left_out = {page.name: sum(block.not_run is not None for block in blocks_of(page)) for page in PAGES}
    assert {page: count for page, count in left_out.items() if count} == NOT_RUN
    # None is hidden by a fence that the pattern does not know.
    for page in PAGES:
        assert len(re.findall(r"```\s*python|~~~\s*python", page.read_text())) == len(blocks_of(page)), page


def test_a_block_with_a_reason_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```python\na = 1\n```\n\n- b\n\n  <!-- not run: a GPU -->\n  ```python\n  if a:\n      b = 2\n  ```\n"
    )
    assert blocks_of(page) == [Block(3, "a = 1\n", None), Block(10, "if a:\n    b = 2\n", "a GPU")]


def test_the_architecture_names_every_package() -> None:
    source = Path(mtlue.__file__).parent
    core = {path.name.removesuffix(".py") for path in source.iterdir() if path.name.startswith("_") and "__" not in path.name}
    page = (DOCS / "architecture.md").read_text()
    layers = re.findall(r"`(_\w+)`", "".join(re.findall(r"^\| `_.*?\|", page, re.M)))
    assert sorted(layers) == sorted(core)
    assert all(f"`{path.parent.name}`" in page for path in source.glob("[a-z]*/__init__.py"))


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(
        r"^([\w-]+)$", "\n".join(re.findall(r"```{toctree}(.*?)```", (DOCS / "index.md").read_text(), re.S)), re.M
    )
    assert sorted(listed) == sorted(page.stem for page in DOCS.glob("*.md") if page.name != "index.md")


def test_the_tables_are_those_of_the_committed_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["render.py", "--check"])
    runpy.run_path(str(ROOT / "benchmarks" / "render.py"), run_name="__main__")
