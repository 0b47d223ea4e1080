"""Cells of text tables, as spreadsheets and statistics programs write them."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import product

MISSING = frozenset(
    "".join(letters)
    for told in ("", "na", "n/a", "#n/a", "#nv", "nan", "<na>")
    for letters in product(*zip(told, told.upper(), strict=True))
)
"""How a table says that a value is not known, in small letters or capitals; every other text is a value.

In German, spreadsheets call #N/A #NV."""
SEPARATORS = ",;\t"

_QUOTED = re.compile(r'"[^"]*"')


def separator(header: str, columns: Collection[str]) -> str:
    """The comma, semicolon or tab by which a table's first line is parted.

    The one that parts most of some columns from the others; where that is no answer, the most frequent
    outside quotes.
    """
    wanted = {name.casefold() for name in columns}
    unquoted = _QUOTED.sub("", header)

    def fitness(mark: str) -> tuple[int, int]:
        cells = {cell.strip('" \r\n') for cell in header.casefold().split(mark)}
        return len(wanted & cells), unquoted.count(mark)

    return max(SEPARATORS, key=fitness)


def cell_told(cell: str) -> str:
    """What a cell says; "" where it is one of `MISSING`."""
    return "" if cell in MISSING else cell
