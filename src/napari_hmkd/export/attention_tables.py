"""The tables of attention: tiles that were looked into, and those that could not be."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.errors import SlideError
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.inspection.slide import TileRow
from napari_hmkd.planning import PlannedRegion

TABLE_FILE, FAILED_FILE = "attention.csv", "failed.csv"
_OF_REGIONS = ("disagreement", "agreement_0", "agreement_1", "agreement_2", "attention_loss")


class TileTables:
    """Writes `attention.csv` and `failed.csv`, and counts their rows.

    Parameters
    ----------
    folder : pathlib.Path
    files : ExitStack
        Closes both.
    notice : str
        The models', for the last column.
    regions : sequence of PlannedRegion
        A tile with tissue of one is named as being in it, and counts in its means.
    """

    def __init__(
        self, folder: Path, files: ExitStack, notice: str, regions: Sequence[PlannedRegion] = ()
    ) -> None:
        self._notice, self._regions = notice, regions
        self._tiles_in = np.zeros(len(regions), int)
        self._sums = np.zeros((len(regions), len(_OF_REGIONS)))
        self._tiles = self._failed = 0
        self._first_failure = ""
        names = (*TileRow.names(), "regions", "notice")
        self._rows = _new_table(folder / TABLE_FILE, files, names)
        self._lost = _new_table(folder / FAILED_FILE, files, ("row", "column", "reason"))

    def put(self, row: TileRow) -> None:
        """Write a tile that was looked into."""
        self._tiles += 1
        inside = [one.tissue_fraction[row.row, row.column] > 0 for one in self._regions]
        self._tiles_in[inside] += 1
        self._sums[inside] += np.array([getattr(row, name) for name in _OF_REGIONS], float)
        names = (one.region.name for one, here in zip(self._regions, inside, strict=True) if here)
        self._rows.writerow((*row.cells(), "; ".join(names), self._notice))

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
                f"with: {self._first_failure}; fetch a damaged file again from where it came, or choose other models"
            )

    def counts(self) -> dict[str, object]:
        """What `attention.json` says of them, and of the means over each region's tiles."""
        return {
            "inspected_tiles": self._tiles,
            "failed_tiles": self._failed,
            "regions": [
                {"name": one.region.name, "inspected_tiles": tiles} | _means(sums, tiles)
                for one, tiles, sums in zip(
                    self._regions, self._tiles_in.tolist(), self._sums.tolist(), strict=True
                )
            ],
        }


def _means(sums: Sequence[float], tiles: int) -> dict[str, float | None]:
    """None where there is no tile, or no teacher, which makes a sum NaN."""
    return {
        name: total / tiles if tiles and not math.isnan(total) else None
        for name, total in zip(_OF_REGIONS, sums, strict=True)
    }


def _new_table(path: Path, files: ExitStack, heads: Sequence[str]) -> Any:
    file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heads)
    return writer
