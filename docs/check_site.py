"""Check the built site: what a browser, a screen reader and a phone need of each page.

``python docs/check_site.py docs/_build/html`` ends with an error that lists every fault.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

#: Tags that have no end.
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
#: Pages that Sphinx makes for itself.
GENERATED = {"genindex.html", "py-modindex.html", "search.html"}
#: What scrolls by itself where the page is narrower: the theme's box of a table, and its blocks of code.
SCROLLING = {"table": {"table-wrapper", "output"}, "pre": {"highlight", "output"}}
#: The least contrast of text with what lies behind it (WCAG 2.1, level AA).
CONTRAST = 4.5


class Page(HTMLParser):
    """A page of the site, and what is wrong with it.

    Args:
        text: The HTML of the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._open: list[tuple[str, set[str]]] = []
        self._counts = dict.fromkeys(("title", "h1", "viewport"), 0)
        self._title = ""
        self._ids: set[str] = set()
        self._language: str | None = None
        self._link: tuple[str, str] | None = None
        self.feed(text)
        self.close()
        self._check_head()

    def _check_head(self) -> None:
        if not self._language:
            self.faults.append("<html> has no lang")
        if not self._title.strip():
            self.faults.append("the title is missing or empty")
        if not self._counts["viewport"]:
            self.faults.append("a viewport of the device's width is missing")
        if self._counts["h1"] != 1:
            self.faults.append(f"there are {self._counts['h1']} <h1> instead of one")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check a tag when it opens."""
        values = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append((tag, set(values.get("class", "").split())))
        if tag in self._counts:
            self._counts[tag] += 1
        if tag == "html":
            self._language = values.get("lang")
        if tag == "meta" and values.get("name") == "viewport" and "width=device-width" in values.get("content", ""):
            self._counts["viewport"] += 1
        if tag == "img":
            self._check_image(values)
        if tag in SCROLLING and not any(classes & SCROLLING[tag] for _, classes in self._open):
            self.faults.append(f"a <{tag}> is in no box that scrolls: it would make a phone scroll the page sideways")
        if tag == "a" and "href" in values:
            self._link = (values["href"], values.get("aria-label", "") + values.get("title", ""))
        if values.get("id") in self._ids:
            self.faults.append(f"two elements have the id {values['id']}")
        self._ids.update(value for name, value in values.items() if name == "id")

    def _check_image(self, values: dict[str, str]) -> None:
        text = values.get("alt", "").strip()
        if not text or re.fullmatch(r"\S+\.(png|svg|jpe?g|gif)", text):
            self.faults.append(f"the image {values.get('src', '')[:60]} has no text that says what it shows")
        if self._link is not None:
            self._link = (self._link[0], self._link[1] + text)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag, and what the page leaves open in it."""
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag == "a" and self._link is not None:
            if not self._link[1].strip():
                self.faults.append(f"the link to {self._link[0]} has no text")
            self._link = None

    def handle_data(self, data: str) -> None:
        """Collect the text of titles and links."""
        if self._open and self._open[-1][0] == "title" and not any(tag == "svg" for tag, _ in self._open):
            self._title += data
        if self._link is not None:
            self._link = (self._link[0], self._link[1] + data)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours such as ``#14181d`` (WCAG 2.1)."""
    darker, lighter = sorted(_luminance(color) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    shares = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def drawing_faults(text: str) -> list[str]:
    """Return the fills of an SVG drawing on which its text is hard to read."""
    written = re.search(r"text { fill: (#\w{6}) }", text)
    fills = re.findall(r"\.(\w+) { fill: (#\w{6})", text)
    if written is None or not fills:
        return ["its colours cannot be found"]
    return [
        f"text on .{name} has a contrast of {contrast(written[1], fill):.1f}, below {CONTRAST}"
        for name, fill in fills
        if contrast(written[1], fill) < CONTRAST
    ]


def site_faults(site: Path) -> list[str]:
    """Return all faults of a built site, with the page of each."""
    pages = [page for page in sorted(site.rglob("*.html")) if page.name not in GENERATED]
    faults = {page: Page(page.read_text()).faults for page in pages}
    faults.update({drawing: drawing_faults(drawing.read_text()) for drawing in sorted(site.glob("_images/*.svg"))})
    if not pages:
        return [f"{site} has no pages: build them first, with `make docs`"]
    return [f"{page.relative_to(site)}: {fault}" for page, found in faults.items() for fault in found]


if __name__ == "__main__":
    sys.exit("\n".join(site_faults(Path(sys.argv[1]))) or None)
