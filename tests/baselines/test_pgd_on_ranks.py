"""Several ranks search perturbations of one set: they divide the images, and write the bytes that one process writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import killed_run
from mtlue import baselines
from mtlue._runtime import tensors_digest
from rank_copies import Written, at_ranks, environment, small_shards
from verb import files_below


def noisy(images: Tensor) -> Tensor:
    return images + 0.05 * torch.rand_like(images)


def pgd(path: Path | None, loss: Any = None, **changes: Any) -> str:
    """Search for twenty images, in shards of six: two batches."""
    dataset, net, generator = killed_run.parts()
    settings: dict[str, Any] = {"steps": 3, "step_size": 1.3 / 255, "augment": noisy, "batch_size": 3, "progress": False}
    loss = killed_run.Untargeted() if loss is None else loss
    with small_shards():
        safe = baselines.pgd(dataset, tasks=generator.tasks, surrogate=net, loss=loss, path=path, **settings, **changes)  # type: ignore[arg-type]  # a list
    return tensors_digest(safe.stored_image(index) for index in range(len(safe)))


@pytest.mark.parametrize("size", [2, 3])
def test_the_bytes_do_not_depend_on_the_number_of_ranks(tmp_path: Path, size: int) -> None:
    alone = pgd(tmp_path / "alone")
    assert pgd(None) == alone

    def call(rank: int) -> Any:
        with Written() as written:
            return pgd(tmp_path / "store"), written.indices

    ended, results = at_ranks(size, call, tmp_path / "results")
    assert [each.error for each in ended] == [""] * size
    assert files_below(tmp_path / "store") == files_below(tmp_path / "alone")
    assert {found for found, _ in results.values()} == {alone}
    assert sorted(index for _, indices in results.values() for index in indices) == list(range(20))


def test_a_loss_that_learns_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in environment(1, 2).items():
        monkeypatch.setenv(name, value)
    words = "loss: Students learns from batch to batch, so 2 ranks cannot share the images; call pgd on one rank"
    with pytest.raises(NotImplementedError, match=words):
        pgd(tmp_path / "store", killed_run.Students())
    with pytest.raises(ValueError, match="path: expected a folder that all 2 ranks can write to, got None"):
        pgd(None)
    assert os.listdir(tmp_path) == []
