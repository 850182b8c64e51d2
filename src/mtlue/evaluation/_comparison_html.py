"""The page of a comparison."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mtlue.evaluation._comparison_table import blocks_of, header_of
from mtlue.evaluation._html import bars, page, paragraph, section, table
from mtlue.evaluation._measurement import NOISE
from mtlue.evaluation._report_html import footer, settings_table

if TYPE_CHECKING:
    from mtlue.evaluation._comparison import Comparison


def comparison_page(comparison: Comparison) -> str:
    """Return a page with a bar for each method, then a table for each victim."""
    rows = comparison.rows()
    first = [row for row in rows if (row.victim, row.defense) == (rows[0].victim, rows[0].defense)]
    means = {name: mean for name, (mean, _) in comparison.mean_residuals(first).items() if name != NOISE or math.isfinite(mean)}
    learned = f"What a {rows[0].victim} victim without a defence learns of what clean images teach (R), mean over the tasks."
    header = header_of(comparison)[1:]
    tables = []
    for block in blocks_of(comparison):
        cells = [[line.texts[1], *line.numbers] for line in block]
        strong = {(row, column) for row, line in enumerate(block) for column, bold in enumerate(line.bold, start=1) if bold}
        tables.append(table(f"{block[0].texts[0].capitalize()} victims", header, cells, texts=1, strong=strong))
    return page(
        f"Comparison of {', '.join(comparison.methods)}",
        [
            section("What is left to learn", paragraph(learned), bars(means)),
            section("Victims", *tables),
            section("What the figures mean", *map(paragraph, comparison.notes())),
            section("Settings and seeds", settings_table(comparison.settings)),
            footer(),
        ],
    )
