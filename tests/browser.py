"""A page as Chromium lays it out."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

#: Measures the page in the frame: how wide it is, and how many boxes are too narrow for their content.
_MEASURE = """
const page = document.querySelector("iframe").contentDocument;
const boxes = [...page.querySelectorAll("body *")];
const cut = boxes.filter((box) => box.scrollWidth > box.clientWidth && getComputedStyle(box).display !== "inline");
document.title = `${page.scrollingElement.scrollWidth} ${cut.length}`;
"""


def layout(text: str, folder: Path, *, width: int) -> tuple[int, int]:
    """The width that a page takes in a window of a given width, and its number of boxes whose content is cut off.

    Without Chromium the test is skipped.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    frame = folder / "frame.html"
    # In a frame, because a window of Chromium has a least width.
    frame.write_text(
        f'<!DOCTYPE html><title></title><iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{escape(text)}">'
        f"</iframe><script>onload = () => {{ {_MEASURE} }}</script>"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    options.append(f"--user-data-dir={folder / 'profile'}")
    made = subprocess.run([browser, *options, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(\d+) (\d+)</title>", made.stdout)
    assert found is not None, made.stdout[:500] + made.stderr[-500:]
    return int(found[1]), int(found[2])
