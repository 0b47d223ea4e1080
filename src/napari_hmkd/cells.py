"""Cells of text tables, as spreadsheets and statistics programs write them."""

from __future__ import annotations

import re

MISSING = ("", "NA", "na", "N/A", "n/a", "NaN", "nan", "<NA>")
"""How a table says that a value is not known; every other text is a value."""
SEPARATORS = ",;\t"

_QUOTED = re.compile(r'"[^"]*"')


def separator(header: str) -> str:
    """The comma, semicolon or tab by which a table's first line is parted; quoted ones part nothing."""
    return max(SEPARATORS, key=_QUOTED.sub("", header).count)


def cell_told(cell: str) -> str:
    """What a cell says; "" where it is one of `MISSING`."""
    return "" if cell in MISSING else cell
