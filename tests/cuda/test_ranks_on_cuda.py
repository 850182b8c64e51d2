"""Ranks that share a GPU train as one process does. Skipped without one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ranks
from snapshots import equal

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA: pytest tests/cuda"),
    pytest.mark.filterwarnings("ignore:surrogate. no better than chance"),
]


# NCCL refuses two ranks on one GPU, and a single rank sends no message: this only shows that such a group is no obstacle.
@pytest.mark.parametrize(("backend", "world"), [("nccl", 1), ("gloo", 2)])
def test_ranks_train_on_a_gpu_as_one_process_does(backend: str, world: int, tmp_path: Path) -> None:
    alone = ranks.on_gpu()
    found = ranks.launched(tmp_path, world, backend, "on a GPU")
    assert all(equal(each, found[0]) for each in found)
    for name, expected in alone.items():
        together, single = (torch.tensor(each["curve"]).split([2, 1], dim=1) for each in (found[0][name], expected))
        torch.testing.assert_close(together[0], single[0], rtol=1e-3, atol=0)
        torch.testing.assert_close(together[1], single[1], rtol=0, atol=0.1)
