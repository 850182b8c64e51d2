"""Searches pixel by pixel that are broken off and repeated, and how their stores are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import Untargeted
from mtlue.baselines._pgd import pgd

# 20 samples in batches of 6: four a round, each of three steps. EM has three rounds, a frozen loss the steps of two.
STEPS = 3


def make_dataset() -> Any:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 5, 4), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (20, 2), generator=random)
    return [(image, tuple(label.tolist())) for image, label in zip(images, labels, strict=True)]


def make_surrogate(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(20), nn.Dropout(0.2), nn.Linear(20, 2))


def noisy(images: Tensor) -> Tensor:
    return images + 0.1 * torch.rand_like(images)


def search(kind: str, path: Path | None, progress: Any = False, net: nn.Module | None = None, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "tasks": {"a": 2, "b": 2},
        "surrogate": make_surrogate() if net is None else net,
        "loss": mtlue.EM() if kind == "em" else Untargeted(),
        "rounds": 3 if kind == "em" else 2,
        "steps": STEPS,
        "step_size": 1.3 / 255,
        "surrogate_steps": 4,
        "stop_accuracy": 1.1,
        "batch_size": 6,
        "precision": torch.float32,
        "augment": noisy,
        **changes,
    }
    return pgd(make_dataset(), path=path, progress=progress, **settings)


def interrupt_at(step: int) -> Any:
    def interrupt(figures: Any) -> None:
        if figures["step"] == step:
            raise KeyboardInterrupt

    return interrupt


def same_files(left: Path, right: Path) -> bool:
    names = [sorted(file.name for file in folder.iterdir()) for folder in (left, right)]
    assert names == [["images-000000.bin", "manifest.json"]] * 2
    return all((left / name).read_bytes() == (right / name).read_bytes() for name in names[0])


@pytest.fixture(scope="session")
def whole_search(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of unbroken calls, and their surrogates."""
    folder, nets = tmp_path_factory.mktemp("whole"), {}
    for kind in ("frozen", "em"):
        nets[kind] = make_surrogate()
        search(kind, folder / kind, net=nets[kind])
    return folder, nets
