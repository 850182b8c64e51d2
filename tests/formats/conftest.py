"""What several tests of stores need."""

from __future__ import annotations

import pytest

from mtlue._formats import store, work_folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of six images, in batches of two; and little patience."""
    monkeypatch.setattr(store, "_SHARD_SIZE", 7)
    monkeypatch.setattr(work_folder, "POLL", 0.01)
