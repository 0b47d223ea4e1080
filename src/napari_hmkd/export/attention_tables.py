"""The tables of attention: tiles that were looked into, and those that could not be."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from napari_hmkd.errors import SlideError
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.inspection.slide import TileRow

TABLE_FILE, FAILED_FILE = "attention.csv", "failed.csv"


class TileTables:
    """Writes `attention.csv` and `failed.csv`, and counts their rows.

    Parameters
    ----------
    folder : pathlib.Path
    files : ExitStack
        Closes both.
    notice : str
        The models', for the last column.
    """

    def __init__(self, folder: Path, files: ExitStack, notice: str) -> None:
        self._notice = notice
        self._tiles = self._failed = 0
        self._first_failure = ""
        names = (*TileRow.names(), "notice")
        self._rows = _new_table(folder / TABLE_FILE, files, names)
        self._lost = _new_table(folder / FAILED_FILE, files, ("row", "column", "reason"))

    def put(self, row: TileRow) -> None:
        """Write a tile that was looked into."""
        self._tiles += 1
        self._rows.writerow((*row.cells(), self._notice))

    def put_failed(self, one: FailedTile) -> None:
        """Write a tile that could not be."""
        self._failed += 1
        self._first_failure = self._first_failure or one.message
        self._lost.writerow((one.row, one.column, one.message))

    def require_any(self, pair: StainPair) -> None:
        """Refuse to go on where all have failed.

        Raises
        ------
        SlideError
            If so.
        """
        if self._failed and not self._tiles:
            raise SlideError(
                f"asked to look into {self._failed} tiles of {pair.he.name}, but none could be; the first failed "
                f"with: {self._first_failure}; fetch the file again from where it came, or choose other models"
            )

    def counts(self) -> dict[str, object]:
        """What `attention.json` says of them."""
        return {"inspected_tiles": self._tiles, "failed_tiles": self._failed}


def _new_table(path: Path, files: ExitStack, heads: Sequence[str]) -> Any:
    file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heads)
    return writer
