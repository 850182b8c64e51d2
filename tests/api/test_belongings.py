"""The user's things stay theirs: whatever a call borrows it gives back, also when it is broken off."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mtlue
from belongings import nothing_left, untouched
from mtlue import baselines, defenses, evaluation
from optional import needs
from people import random_images

TASKS = {"a": 2, "b": 2}
IMAGES = random_images(12)


class BrokenError(Exception):
    """The user's own error."""


class Counting:
    """Fails at its n-th call; 0 for never."""

    def __init__(self, at: int, error: type[BaseException] = BrokenError) -> None:
        self.at, self.error, self.calls = at, error, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class Samples(list[Any]):
    """Pairs, of which one read may fail; it draws random numbers of no one's."""

    def __init__(self, fuse: Counting) -> None:
        super().__init__((image, {"a": index % 2, "b": index // 2 % 2}) for index, image in enumerate(IMAGES))
        self.fuse = fuse

    def __getitem__(self, index: Any) -> Any:
        self.fuse()
        return super().__getitem__(index)


class Loss(mtlue.BaseUELoss):
    """EM or an untargeted loss, of which one call may fail."""

    def __init__(self, fuse: Counting, *, trains_surrogate: bool) -> None:
        self._fuse, self.trains_surrogate = fuse, trains_surrogate

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        self._fuse()
        return surrogate.loss(images, targets) if self.trains_surrogate else surrogate.adversarial_loss(images, targets)


def make_net() -> nn.Module:
    """A network in a state that nobody chooses: parts in eval mode, one parameter frozen, one with a gradient, and a hook."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768), nn.Dropout(0.1), nn.Linear(768, 2))
    net[1].eval()
    net[1].bias.requires_grad_(False)
    net[3].bias.grad = torch.ones(2)
    net[3].register_forward_hook(lambda *_: None)
    return net


def make_generator() -> mtlue.UEGenerator:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return mtlue.UEGenerator(TASKS, (3, 16, 16), width=4)


Call = Callable[[Samples, Counting, dict[str, nn.Module], Path, int], Any]
COMMON: dict[str, Any] = {"batch_size": 5, "progress": False}


def fit(em: bool) -> Call:
    def call(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
        loss = Loss(fuse, trains_surrogate=em)
        settings = {
            "loss": loss,
            "epochs": 2,
            "num_workers": workers,
            "checkpoint": path / "fit.pt",
            "stop_accuracy": 1.1,
            **COMMON,
        }
        return mtlue.fit(modules["generator"], dataset, modules["net"], **settings)

    return call


def protect(em: bool) -> Call:
    def call(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
        loss = Loss(fuse, trains_surrogate=em)
        settings = {"loss": loss, "epochs": 2, "num_workers": workers, "path": path / "store", **COMMON}
        return mtlue.protect(dataset, generator=modules["generator"], surrogate=modules["net"], **settings)

    return call


def pgd(em: bool) -> Call:
    def call(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
        loss = Loss(fuse, trains_surrogate=em)
        settings = {"loss": loss, "steps": 2, "rounds": 2, "num_workers": workers, "path": path / "store", **COMMON}
        return baselines.pgd(dataset, tasks=TASKS, surrogate=modules["net"], **settings)

    return call


def shortcut(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    def patterns(*arguments: Any) -> torch.Tensor:
        fuse()
        return baselines.LSP()(*arguments)

    return baselines.shortcut(dataset, tasks=TASKS, patterns=patterns, fusion=baselines.average_fusion, path=path / "store")


def train_victim(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    def transform(images: torch.Tensor) -> torch.Tensor:
        fuse()
        return images + 0.01 * torch.rand_like(images)

    settings = {"epochs": 2, "num_workers": workers, "defense": defenses.grayscale, **COMMON}
    settings["checkpoint"] = path / "victim.pt"
    return evaluation.train_victim(dataset, tasks=TASKS, model=modules["net"], transform=transform, **settings)


def evaluate(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    return evaluation.evaluate(modules["net"], dataset, tasks=TASKS, batch_size=5, num_workers=workers)


def audit(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    clean = Samples(Counting(0))

    def transform(images: torch.Tensor) -> torch.Tensor:
        fuse()
        return images

    protected = baselines.random_noise(clean, tasks=TASKS)
    settings = {"model": modules["net"], "transform": transform, "epochs": 1, "num_workers": workers, **COMMON}
    settings["checkpoint"] = path / "audit"
    return evaluation.audit(protected, dataset, clean[:8], **settings)


def export(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    return baselines.random_noise(dataset, tasks=TASKS, seed=1).export(path / "png")


def load(dataset: Any, fuse: Counting, modules: Any, path: Path, workers: int) -> Any:
    baselines.random_noise(Samples(Counting(0)), tasks=TASKS, path=path / "store")
    modules["generator"].save(path / "key.pt")
    mtlue.UEGenerator.load(path / "key.pt")
    mtlue.verify(path / "store")
    return mtlue.ProtectedDataset.load(path / "store", dataset)[3]


CALLS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "fit": (fit(False), ("generator",)),
    "fit em": (fit(True), ("generator", "net")),
    "protect": (protect(False), ("generator",)),
    "protect em": (protect(True), ("generator", "net")),
    "pgd": (pgd(False), ()),
    "pgd em": (pgd(True), ("net",)),
    "shortcut": (shortcut, ()),
    "train_victim": (train_victim, ()),
    "evaluate": (evaluate, ()),
    "audit": (audit, ()),
    "export": (export, ()),
    "load": (load, ()),
}


@pytest.fixture(autouse=True, scope="module")
def imported() -> None:
    """What optional libraries do to filters and loggers when they are first imported is theirs."""
    for name in ("torchmetrics", "torchjd"):
        needs(name, extra="evaluation")


@pytest.fixture
def odd_flags() -> Any:
    """Settings of torch that are not its defaults, and a state of random numbers in mid-stream."""
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()
    with torch.random.fork_rng():
        torch.rand(3)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
        torch.set_float32_matmul_precision("high")
        yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags[:2]
    torch.set_float32_matmul_precision(flags[2])


def run(name: str, tmp_path: Path, reads: Counting, calls: Counting, workers: int = 0) -> None:
    call, trained = CALLS[name]
    modules: dict[str, nn.Module] = {"net": make_net(), "generator": make_generator()}
    dataset = Samples(reads)
    with untouched(modules, trained=trained):
        call(dataset, calls, modules, tmp_path, workers)


@pytest.mark.usefixtures("odd_flags")
@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_everything_as_it_was(name: str, tmp_path: Path) -> None:
    with nothing_left():
        run(name, tmp_path, Counting(0), Counting(0))


@pytest.mark.usefixtures("odd_flags")
@pytest.mark.parametrize("name", ["fit em", "protect", "pgd em", "train_victim", "evaluate"])
def test_a_call_with_a_worker_leaves_everything_as_it_was(name: str, tmp_path: Path) -> None:
    with nothing_left():
        run(name, tmp_path, Counting(0), Counting(0), workers=1)


@pytest.mark.usefixtures("odd_flags")
@pytest.mark.parametrize("what", ["reads", "calls"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_broken_off_leaves_everything_as_it_was(name: str, what: str, tmp_path: Path) -> None:
    counters = {"reads": Counting(0), "calls": Counting(0)}
    run(name, tmp_path, **counters)
    count = counters[what].calls
    if not count:
        return
    with nothing_left():
        # Early, in the middle, and at the end.
        errors = {max(count // 3, 1): BrokenError, max(2 * count // 3, 1): KeyboardInterrupt, count: BrokenError}
        for at, error in errors.items():
            folder = tmp_path / str(at)
            folder.mkdir()
            counters = {"reads": Counting(0), "calls": Counting(0), what: Counting(at, error)}
            with pytest.raises((BrokenError, ValueError, KeyboardInterrupt)):
                run(name, folder, **counters)


@pytest.mark.usefixtures("odd_flags")
@pytest.mark.parametrize("name", ["fit em", "protect", "train_victim", "evaluate"])
def test_a_worker_that_fails_is_gone(name: str, tmp_path: Path) -> None:
    with nothing_left(), pytest.raises(ValueError, match="sample"):
        run(name, tmp_path, Counting(9), Counting(0), workers=1)


@pytest.mark.usefixtures("odd_flags")
@pytest.mark.parametrize("name", ["protect", "pgd", "pgd em", "shortcut"])
def test_a_full_disk_leaves_everything_as_it_was(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the error lasts, what makes the images still waits for the next one to be asked for."""

    def no_room(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mtlue._formats.store.StoreWriter.append", no_room)
    with nothing_left(), pytest.raises(OSError, match=r"\[Errno 28\]"):
        run(name, tmp_path, Counting(0), Counting(0))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("torch random", lambda net: torch.rand(1)),
        ("random", lambda net: random.random()),
        ("numpy.random", lambda net: np.random.rand()),
        ("grad mode", lambda net: torch.set_grad_enabled(False)),
        ("default dtype", lambda net: torch.set_default_dtype(torch.float64)),
        ("warning filters", lambda net: warnings.simplefilter("ignore")),
        ("loggers", lambda net: logging.getLogger("mtlue").setLevel(10)),
        ("mode and parameters of net", lambda net: net.eval()),
        ("weights of net", lambda net: net[1].running_mean.add_(1)),
        ("hooks of net", lambda net: net.register_forward_pre_hook(lambda *_: None)),
    ],
)
def test_what_is_changed_is_seen(what: str, change: Callable[[nn.Module], Any]) -> None:
    dtype, level, net = torch.get_default_dtype(), logging.getLogger("mtlue").level, make_net()
    try:
        caught = pytest.raises(AssertionError, match=what)
        with torch.random.fork_rng(), warnings.catch_warnings(), caught, untouched({"net": net}):
            change(net)
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(dtype)
        logging.getLogger("mtlue").setLevel(level)


def test_what_is_left_is_seen(tmp_path: Path) -> None:
    held = []
    with pytest.raises(AssertionError, match="descriptors"), nothing_left():
        held.append((tmp_path / "open").open("w"))
    held[0].close()
