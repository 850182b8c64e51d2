"""The committed tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import paper_tables
from paper.dense_tables import make_dense_tables
from paper.layout import to_markdown
from paper.scales import DENSE_SCALES, SCALES
from paper.store import Store
from paper.tables import make_tables
from paper.workshop import Workshop
from paper_tables import RESULTS

SETS = paper_tables.SETS["small"]


@pytest.mark.parametrize("path", sorted((RESULTS / "small").glob("*.json")), ids=lambda path: path.stem)
def test_committed_tables_say_what_the_committed_cells_say(path: Path, tmp_path: Path) -> None:
    if path.name == "cells.json":
        assert all("metrics" in record for record in json.loads(path.read_text()).values())
        return
    content = json.loads(path.read_text())
    classes = make_tables(SETS, backbones=paper_tables.BACKBONES["small"])
    dense = make_dense_tables(SETS, backbones=paper_tables.DENSE_BACKBONES["small"], resnet=paper_tables.DENSE_RESNET["small"])
    table = {**classes, **dense}[content["table"]]
    scale = SCALES["small"] if table.name in classes else DENSE_SCALES["small"]
    scale = replace(scale, precision=content["scale"]["precision"])
    workshop = Workshop(scale, Store(tmp_path, RESULTS / "small" / "cells.json"))
    text = to_markdown(workshop, table, content["seeds"], paper_tables.caption(workshop, table, content["seeds"], "small"))
    assert path.with_suffix(".md").read_text() == text
