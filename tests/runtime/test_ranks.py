"""Which process of a job this is."""

from pathlib import Path

import pytest
import torch

from mtlue._runtime import ALONE, apart, in_group, is_main, launched, rank, world_size


def test_a_process_without_a_group_is_alone_and_the_main_one() -> None:
    assert (in_group(), rank(), world_size(), is_main()) == (False, 0, 1, True)
    assert launched() == ALONE == (0, 1)


def test_torch_may_lack_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    monkeypatch.delattr(torch.distributed, "is_initialized")
    assert (in_group(), rank(), world_size(), is_main()) == (False, 0, 1, True)


def test_a_group_of_one(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        assert (in_group(), rank(), world_size(), is_main()) == (True, 0, 1, True)
    finally:
        torch.distributed.destroy_process_group()


def test_another_process_is_not_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    assert (in_group(), rank(), world_size(), is_main()) == (True, 2, 3, False)


def test_work_apart_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    assert launched() == (1, 3)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    with apart():
        assert (in_group(), rank(), world_size(), is_main(), launched()) == (False, 0, 1, True, ALONE)
    assert (in_group(), rank(), world_size(), is_main(), launched()) == (True, 2, 3, False, (2, 3))
