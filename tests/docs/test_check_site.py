"""What `docs/check_site.py` finds on a page; `make docs` runs it on the built site."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CHECK = runpy.run_path(str(DOCS / "check_site.py"))

GOOD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Measure it</title></head><body><h1 id="top">Measure it <a href="#top" title="Link to this heading">#</a></h1>
<div class="table-wrapper container"><table><tr><td>1</td></tr></table></div>
<div class="highlight"><pre>code</pre></div>
<a href="other.html"><img src="a.png" alt="Bars of accuracy"></a></body></html>"""


@pytest.fixture
def faults() -> Callable[[str], Any]:
    return lambda text: CHECK["Page"](text).faults


def test_a_good_page_has_no_faults(faults: Callable[[str], Any]) -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (' lang="en"', "", "no lang"),
        ("<title>Measure it</title>", "<title> </title>", "the title is missing"),
        ('<meta name="viewport" content="width=device-width,initial-scale=1">', "", "viewport"),
        ('<h1 id="top">', '<h1 id="top">A</h1><h1>', "2 <h1>"),
        ("table-wrapper container", "container", "<table> is in no box"),
        ('class="highlight"', "", "<pre> is in no box"),
        (' alt="Bars of accuracy"', "", "the image a.png has no text"),
        ("Bars of accuracy", "_images/3f2a.png", "the image a.png has no text"),
        ("Bars of accuracy", "", "the link to other.html has no text"),
        ("</body>", '<p id="top">x</p></body>', "two elements have the id top"),
    ],
)
def test_a_fault_is_found(faults: Callable[[str], Any], old: str, new: str, fault: str) -> None:
    assert old in GOOD
    assert any(fault in found for found in faults(GOOD.replace(old, new)))


def test_the_contrast_is_that_of_the_standard() -> None:
    assert CHECK["contrast"]("#000000", "#ffffff") == pytest.approx(21)
    assert CHECK["contrast"]("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_drawing_can_be_read() -> None:
    drawing = (DOCS / "_static" / "mtl-ue.svg").read_text()
    assert CHECK["drawing_faults"](drawing) == []
    assert len(CHECK["drawing_faults"](drawing.replace("#14181d", "#7d8590"))) == 4
    assert CHECK["drawing_faults"]("<svg/>") == ["its colours cannot be found"]


def test_a_site_names_the_page_of_a_fault(tmp_path: Path) -> None:
    site_faults = CHECK["site_faults"]
    assert site_faults(tmp_path)[0].endswith("build them first, with `make docs`")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "notebooks" / "dense.html").write_text(GOOD.replace(' lang="en"', ""))
    assert site_faults(tmp_path) == ["notebooks/dense.html: <html> has no lang"]


def test_the_build_is_checked() -> None:
    makefile = (DOCS.parent / "Makefile").read_text()
    assert re.search(r"^docs:.*\n(\t.*\n)*\t\$\(BIN\)/python docs/check_site.py docs/_build/html$", makefile, re.M)
