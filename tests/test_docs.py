"""Every code block of the README and of the pages runs as it is written, and what the pages say of the code is true."""

from __future__ import annotations

import functools
import re
import sys
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

#: Run by a test of its own, beside what it is about: ``test_ecosystem_guide.py``.
ELSEWHERE = DOCS / "ecosystem.md"

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


def prepare(page: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the reader of a page is taken to have."""
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
    elif page == "own-parts.md":
        names["images"] = list(random_images(18))
        del names["tasks"], names["net"], names["surrogate"]
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


# --- the messages that docs/troubleshooting.md explains -----------------------------------------------------------------------

IMAGES = random_images(8).float() / 255
GOOD: Any = [(image, {"age": index, "gender": index % 2}) for index, image in enumerate(IMAGES)]
TWO = {"age": 9, "gender": 2}


def changed(index: int = 5, *, image: Any = None, **labels: Any) -> Any:
    """The good set with one sample that is not."""
    broken = list(GOOD)
    broken[index] = (broken[index][0] if image is None else image, {**broken[index][1], **labels})
    return broken


class Restless(Samples):
    """A set with random augmentation."""

    def __getitem__(self, index: Any) -> Any:
        return torch.rand(3, 16, 16), super().__getitem__(index)[1]


class Unreadable(Samples):
    """A set with a file that is not there."""

    def __getitem__(self, index: Any) -> Any:
        if index == 5:
            raise OSError("no such file: 5.png")
        return super().__getitem__(index)


class Answers(nn.Module):
    """A surrogate that answers what it is told to."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.form, self.linear = form, nn.Linear(768, 11)

    def forward(self, images: torch.Tensor) -> Any:
        return self.form(self.linear(images.flatten(1)))


def protect(dataset: Any = None, **arguments: Any) -> Any:
    settings: dict[str, Any] = {"tasks": TWO, "surrogate": Net(TWO), "loss": mtlue.EM(), "epochs": 1, "batch_size": 8}
    settings |= {"progress": False, **arguments}
    return mtlue.protect(GOOD if dataset is None else dataset, **settings)


def made(tasks: Any = None, channels: int = 3) -> mtlue.UEGenerator:
    return mtlue.UEGenerator(tasks or TWO, (channels, 16, 16), width=4)


def store(path: str = "store") -> Path:
    protect(path=path)
    return Path(path)


def load(path: str | Path, dataset: Any = None) -> Any:
    return mtlue.ProtectedDataset.load(path, GOOD if dataset is None else dataset)


def store_that_was_cut() -> None:
    images = store("cut") / "images.bin"
    images.write_bytes(images.read_bytes()[:-1])
    load("cut")


def store_that_was_changed() -> None:
    images = store("changed") / "images.bin"
    images.write_bytes(bytes(1) + images.read_bytes()[1:])
    load("changed")


def manifest_that_was_changed() -> None:
    manifest = store("other") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0.03", "0.04"))
    load("other")


def path_of_another_call() -> None:
    def stop(figures: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        protect(path="half", progress=stop)
    protect(path="half", seed=1)


def checkpoint_of_another_run() -> None:
    for seed in (0, 1):
        mtlue.fit(
            made(), GOOD, Net(TWO), loss=mtlue.EM(), epochs=1, batch_size=8, checkpoint="run.pt", seed=seed, progress=False
        )


def damaged_key() -> None:
    Path("key.pt").write_bytes(b"no key")
    mtlue.UEGenerator.load("key.pt")


def trained_generator() -> None:
    generator = made()
    protect(generator=generator)
    protect(generator=generator)


def export_twice() -> None:
    safe = protect()
    safe.export("export")
    safe.export("export")


class Hungry(mtlue.EM):
    """A loss that has memory for two samples."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().__call__(surrogate, images, targets)


class Own(mtlue.BaseUELoss):
    """A loss that makes of the surrogate's what it is told to."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        self.form = form

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> Any:
        return self.form(surrogate.loss(images, targets))


class Forward(mtlue.BaseUELoss):
    """A loss written as one writes a module."""

    def forward(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        return surrogate.loss(images, targets)


def audit(protected: Any = None, clean: Any = None, **arguments: Any) -> Any:
    settings: dict[str, Any] = {
        "model": Net(TWO),
        "single_task": [],
        "epochs": 1,
        "batch_size": 8,
        "progress": False,
        **arguments,
    }
    return evaluation.audit(protect() if protected is None else protected, clean or GOOD, GOOD, **settings)


def several_processes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "is_initialized", lambda: True)
        patch.setattr(torch.distributed, "get_world_size", lambda: 2)
        protect()


def no_matplotlib() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        mtlue.analysis.plot_history(mtlue.fit(made(), GOOD, Net(TWO), loss=mtlue.EM(), epochs=1, progress=False), "history.png")


def with_targets(targets: Any) -> Any:
    return [(image, targets) for image in IMAGES]


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(768, 11))
FROZEN = Net(TWO).requires_grad_(False)

MIXED: Any = [(image[:, : 12 + index % 3], targets) for index, (image, targets) in enumerate(GOOD)]

PROVOKED: list[Callable[[], Any]] = [
    lambda: protect(pair for pair in GOOD),
    lambda: protect([]),
    lambda: protect("shapes"),
    lambda: protect(protect()),
    lambda: protect(changed(gender=2)),
    lambda: protect(changed(gender=0.5)),
    lambda: protect(changed(gender="female")),
    lambda: protect(changed(gender=torch.tensor([0, 1]))),
    lambda: protect(with_targets({"age": 1, "gender": "female"}), tasks=None),
    lambda: protect(with_targets({"gender": 1})),
    lambda: protect(with_targets((1, 1, 1))),
    lambda: protect(with_targets(torch.tensor([1]))),
    lambda: protect(with_targets({"age": 1, "gender": -1})),
    lambda: protect([(image, torch.zeros(8, 8).long()) for image in IMAGES], tasks={"parts": mtlue.Segmentation(3)}),
    lambda: protect(changed(image=(IMAGES[0] - 0.45) / 0.2)),
    lambda: protect(changed(image=IMAGES[0] * 255)),
    lambda: protect(changed(image=IMAGES[0] * float("nan"))),
    lambda: protect(Restless(GOOD)),
    lambda: protect(changed(image=IMAGES[0].numpy())),
    lambda: protect(changed(image=IMAGES[0].permute(1, 2, 0))),
    lambda: protect(changed(image=IMAGES[0][:1])),
    lambda: protect([image for image, _ in GOOD]),
    lambda: protect(Unreadable(GOOD)),
    lambda: protect(changed(image=IMAGES[0] - 2, gender=7)),
    lambda: protect([(image, {"age": 1, "gender": index % 2 * 2 - 1}) for index, image in enumerate(IMAGES)]),
    lambda: protect([(image, torch.rand(5, 5, 5)) for image in IMAGES], tasks=None, surrogate=None),
    lambda: protect(surrogate=Answers(lambda x: {"age": x[:, :9]})),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9], x[:, :3]))),
    lambda: protect(surrogate=Answers(lambda x: x[:, :3])),
    lambda: protect(surrogate=Answers(lambda x: x @ torch.ones(5))),
    lambda: protect(surrogate=nn.Flatten(), loss=mtlue.TAP()),
    lambda: protect(surrogate=Net),
    lambda: protect(surrogate="resnet50"),
    lambda: protect(surrogate=Net(TWO).half()),
    lambda: protect(surrogate=Net(TWO).to("meta")),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9].detach(), x[:, 9:].detach()))),
    lambda: protect(surrogate=Answers(lambda x: (x[:, :9].softmax(1), x[:, 9:]))),
    lambda: protect(surrogate=None, loss=mtlue.TAP()),
    lambda: protect(surrogate=FROZEN),
    lambda: protect(loss=mtlue.TAP()),
    lambda: mtlue.fit(made(), GOOD, mtlue.Surrogate(FLAT, {"hat": 11}), loss=mtlue.EM(), progress=False),
    lambda: protect(loss=mtlue.SEP([{"weight": torch.ones(1)}])),
    lambda: protect(epsilon=8),
    lambda: protect(epsilon=1 / 1000),
    lambda: protect(epsilon=0.5),
    lambda: mtlue.UEGenerator(TWO, (16, 16, 3)),
    lambda: mtlue.fit(made(), GOOD, Net(TWO), loss=mtlue.EM(), augment=lambda images: images.double(), progress=False),
    lambda: protect(loss=Own(lambda value: {}["shoe"])),
    lambda: protect(loss=Forward()),
    lambda: protect(protected_tasks=["race"]),
    lambda: protect(fraction=1.5),
    lambda: protect(loss=mtlue.TAP),
    lambda: protect(generator=made({"age": 9})),
    lambda: protect(generator=made(channels=1)),
    trained_generator,
    lambda: load(store("right"), GOOD[:-1]),
    store_that_was_cut,
    store_that_was_changed,
    manifest_that_was_changed,
    lambda: load("nothing"),
    lambda: [store("twice"), store("twice")],
    path_of_another_call,
    checkpoint_of_another_run,
    damaged_key,
    lambda: mtlue.UEGenerator.load("no.pt"),
    lambda: made().save("nowhere/key.pt"),
    lambda: protect().export("jpegs", format="jpeg"),
    export_twice,
    lambda: audit(clean=protect()),
    lambda: audit(protect(MIXED), MIXED),
    lambda: audit(model=nn.Linear),
    lambda: audit(single_task=False),
    lambda: protect(loss=Hungry()),
    no_matplotlib,
    several_processes,
]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each of them says, an error or else a warning, on one line."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("messages"))
        for provoke in PROVOKED:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    provoke()
                except Exception as error:
                    said = str(error)
                else:
                    assert warned, f"line {provoke.__code__.co_firstlineno} says nothing"
                    said = str(warned[-1].message)
            found.append(" ".join(said.split()))
    return found


def headings() -> list[str]:
    return re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(), re.M)


def says(message: str, heading: str) -> bool:
    """Whether a message has the words of a heading, in which … stands for anything."""
    return re.match(".*".join(map(re.escape, heading.strip("`").split("…"))), message) is not None


@pytest.mark.parametrize("heading", headings())
def test_a_message_that_is_explained_is_one_that_is_given(messages: list[str], heading: str) -> None:
    assert any(says(message, heading) for message in messages)


def test_every_message_that_was_provoked_is_explained(messages: list[str]) -> None:
    assert len(messages) == len(PROVOKED)
    assert [message for message in messages if not any(says(message, heading) for heading in headings())] == []


# --- what else the pages say --------------------------------------------------------------------------------------------------


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


def named_modules() -> Iterator[str]:
    """The files that docs/architecture.md names, by folder."""
    for section in (DOCS / "architecture.md").read_text().split("\n## ")[1:]:
        folder = section.splitlines()[0].strip("`").removeprefix("mtlue/")
        yield from (folder + name for name in re.findall(r"^\| `(\w+\.py)` \|", section, re.M))


def test_the_architecture_names_every_module() -> None:
    source = Path(mtlue.__file__).parent
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if path.name != "__init__.py"}
    named = list(named_modules())
    assert len(named) == len(set(named))
    assert set(named) == modules


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(
        r"^([\w-]+)$", "\n".join(re.findall(r"```{toctree}(.*?)```", (DOCS / "index.md").read_text(), re.S)), re.M
    )
    assert sorted(listed) == sorted(page.stem for page in DOCS.glob("*.md") if page.name != "index.md")
