"""Tables find their places in the pages, and touch nothing else."""

from __future__ import annotations

import pytest

import render


@pytest.mark.parametrize("before", ["", "\n", "| old |\n", "| old |\n\nOld words.\n"])
def test_a_table_fills_its_place_alone(before: str) -> None:
    page = f"<!-- table: a -->\n{before}<!-- end -->\n\nWords.\n\n<!-- table: b -->\n| b |\n<!-- end -->\n"
    once = render.filled(page, "a", "| a |")
    assert once == "<!-- table: a -->\n| a |\n<!-- end -->\n\nWords.\n\n<!-- table: b -->\n| b |\n<!-- end -->\n"
    assert render.filled(once, "a", "| a |") == once


def test_each_table_has_a_place() -> None:
    pages = [render.ROOT / "README.md", *(render.ROOT / "docs" / f"{name}.md" for name in render.PAGES)]
    text = "".join(page.read_text() for page in pages)
    assert [name for name in render.tables() if f"<!-- table: {name} -->" not in text] == []
