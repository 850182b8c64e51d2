"""Pages that open anywhere: one file, without scripts and without anything from outside."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from string import Template

from torch import Tensor
from torchvision.transforms.functional import to_pil_image

# Text has a contrast of at least 4.5 to 1 with its background, in light and in dark mode.
_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --raised: #f3f4f6; --text: #1b1d21; --soft: #565b63; --line: #d3d6db;
  --good: #0b6b3f; --good-ground: #e2f4ea; --weak: #7a4d00; --weak-ground: #fdf1d8; --bad: #a3201a; --bad-ground: #fdeae8;
  --bar: #2f74b5; }
@media (prefers-color-scheme: dark) { :root { --ground: #15171a; --raised: #1f2226; --text: #e9eaec; --soft: #a9afb8;
  --line: #3a3f46; --good: #7be0a8; --good-ground: #12301f; --weak: #f2c46d; --weak-ground: #352706; --bad: #ff9a91;
  --bad-ground: #3d1512; --bar: #6aa7e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; } h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; } .soft, caption, figcaption, footer { color: var(--soft); }
.verdict { border-left: .4rem solid; border-radius: .4rem; padding: .75rem 1rem; max-width: none; }
.verdict strong { display: block; font-size: 1.4rem; } .verdict span { color: var(--text); }
.good { color: var(--good); background: var(--good-ground); } .weak { color: var(--weak); background: var(--weak-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.scroll { overflow-x: auto; margin: .75rem 0; border: 1px solid var(--line); border-radius: .4rem; }
.scroll:focus-visible { outline: 2px solid var(--text); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; padding: .5rem .75rem; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .75rem; border-top: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; } thead th { background: var(--raised); vertical-align: bottom; }
tbody th { font-weight: inherit; background: var(--ground); min-width: 8rem; overflow-wrap: anywhere; }
tr > :first-child { position: sticky; left: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; } .long { white-space: normal; min-width: 12rem; }
.strong { font-weight: 700; } .mean th, .mean td { font-weight: 600; background: var(--raised); }
.bars { display: grid; grid-template-columns: fit-content(45%) 1fr auto; gap: .35rem .75rem; align-items: center; }
.bars dt, .bars dd { margin: 0; } .bars .number { min-width: 3ch; }
.track { display: block; height: .8rem; border-radius: .2rem; overflow: hidden; }
.track { background: var(--raised); border: 1px solid var(--line); }
.track > span { display: block; height: 100%; background: var(--bar); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem; }
figure { margin: 0; } figure > div { display: grid; grid-template-columns: repeat(3, 1fr); gap: .25rem; }
img { width: 100%; height: auto; display: block; image-rendering: pixelated; border-radius: .2rem; }
figcaption { font-size: .9rem; margin-top: .25rem; } footer { margin-top: 3rem; font-size: .85rem; }
/* On a phone each row is a block: its name, and below it the other cells under the names of their columns. */
@media (max-width: 56rem) { table, caption, tbody { display: block; font-size: .85rem; } thead { display: none; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(4.5rem, 1fr)); gap: .25rem .5rem; padding: .5rem .75rem;
    border-top: 1px solid var(--line); } .mean { background: var(--raised); }
  tr > th, tr > td { border: 0; padding: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }
  tr > th { grid-column: 1 / -1; position: static; background: none; font-weight: 600; }
  td:not(.number) { grid-column: span 2; } tr > .long { grid-column: 1 / -1; } tr > .number { text-align: left; }
  td::before { content: attr(data-column); display: block; color: var(--soft); font-size: .7rem; font-weight: 400; } }
@media print { .scroll { overflow: visible; } }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page. The title is text, the parts are HTML."""
    return _PAGE.substitute(title=escape(title), style=_STYLE, body="\n".join(part for part in parts if part))


def section(heading: str, *parts: str) -> str:
    """Return a section of a page, or nothing if it has no parts. The heading is text, the parts are HTML."""
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, "</section>"]) if any(parts) else ""


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph of text."""
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    texts: int,
    long: bool = False,
    strong: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table. On a phone each row becomes a block; on a wider page the table scrolls in a box if it has to.

    Args:
        caption: What the table shows, as text.
        header: Names of the columns.
        rows: Cells, as text. A row with a cell "mean" is set off from the others.
        texts: Number of columns, from the left, that hold text. The others hold numbers.
        long: Whether to break the text of cells into lines.
        strong: Row and column, from 0, of each bold cell.
    """
    kinds = ["long" * long if index < texts else "number" for index in range(len(header))]
    # Roles, because a browser forgets what a table is where its rows are shown as blocks.
    lines = [f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">', '<table role="table">']
    lines.append(f"<caption>{escape(caption)}</caption>")
    cells = (f'<th scope="col" class="{kind}">{escape(cell)}</th>' for cell, kind in zip(header, kinds, strict=True))
    lines.append(f"<thead><tr>{''.join(cells)}</tr></thead>")
    lines.append("<tbody>")
    for number, row in enumerate(rows):
        mean = ' class="mean"' if "mean" in row[:texts] else ""
        styles = [f"{kind} strong" if (number, index) in strong else kind for index, kind in enumerate(kinds)]
        body = [f'<th scope="row" role="rowheader" class="{styles[0]}">{escape(row[0])}</th>']
        for cell, style, column in zip(row[1:], styles[1:], header[1:], strict=True):
            named = "" if long else f' data-column="{escape(column)}"'
            body.append(f'<td role="cell" class="{style}"{named}>{escape(cell)}</td>')
        lines.append(f'<tr role="row"{mean}>{"".join(body)}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])


def bars(values: Mapping[str, float]) -> str:
    """Draw a bar for each value by name, with the number beside it. Bars outside 0 to 1 are cut off."""
    lines = []
    for name, value in values.items():
        width = 100 * min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
        number = f"{value:.2f}" if math.isfinite(value) else "–"
        lines.append(
            f'<dt>{escape(name)}</dt><dd aria-hidden="true"><span class="track"><span style="width: {width:.0f}%"></span>'
            f'</span></dd><dd class="number">{number}</dd>'
        )
    return '<dl class="bars">\n' + "\n".join(lines) + "\n</dl>"


def picture(image: Tensor, alt: str) -> str:
    """Return an image, uint8 (C, H, W) with 1 or 3 channels, as HTML. The text says what it shows."""
    buffer = io.BytesIO()
    to_pil_image(image).save(buffer, format="PNG", optimize=True)
    content = base64.b64encode(buffer.getvalue()).decode()
    height, width = image.shape[-2:]
    return f'<img src="data:image/png;base64,{content}" width="{width}" height="{height}" alt="{escape(alt)}">'
