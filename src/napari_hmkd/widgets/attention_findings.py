"""What is known of a slide's tiles: numbers of all that were seen, inspections of the last ones."""

from __future__ import annotations

import numpy as np

from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.cache import InspectionCache
from napari_hmkd.inspection.maps import MapKind, Mosaic, kinds_of, tokens_of
from napari_hmkd.inspection.slide import InspectedTile, TileRow, row_of
from napari_hmkd.inspection.tile import LEVELS, Tile, TileInspection, token_side_px
from napari_hmkd.widgets.attention_subject import Subject

MOST_TILES = 64
_GAZES = 3  # matrices of a tile and level where the teacher takes part


class Findings:
    """Filled tile by tile, of one subject; it keeps no slide open.

    Parameters
    ----------
    subject : Subject
    cache : InspectionCache
        Where the inspections are.

    Attributes
    ----------
    key, about, class_names
        The subject's.
    grid : TileGrid
    warnings : list of str
        What speaks against the slides.
    judged : bool
        Whether the slides were looked at for that.
    rows : dict
        From each tile that was inspected to its `TileRow`.
    failed : dict
        From each tile that could not be to why.
    agreement : numpy.ndarray
        float32 (rows, columns), mean of the levels, NaN where unknown.
    map : tuple of MapKind and int
        What the map is of, and its level.
    mosaic : Mosaic or None
        The map over the tiles of `cover`, kept up to date; None before.
    """

    def __init__(self, subject: Subject, cache: InspectionCache) -> None:
        self.key, self.about, self.grid = subject.key, subject.about, subject.grid
        self.class_names = subject.class_names
        self.warnings: list[str] = []
        self.judged = False
        self.rows: dict[Tile, TileRow] = {}
        self.failed: dict[Tile, str] = {}
        self.agreement = np.full((self.grid.rows, self.grid.columns), np.nan, np.float32)
        self.mosaic: Mosaic | None = None
        self._cache = cache
        self.map = MapKind.STUDENT, LEVELS[0]
        self._covered: tuple[Tile, tuple[int, int]] | None = None

    def inspection(self, tile: Tile) -> TileInspection | None:
        """What was seen in a tile, as long as it is kept."""
        kept = self._cache.find((self.key, tile))
        return None if kept is None else kept.inspection

    def cover(self, tiles: np.ndarray) -> None:
        """Have the map reach over the rectangle around tiles (n, 2)."""
        first, last = tiles.min(axis=0), tiles.max(axis=0)
        height, width = (last - first + 1).tolist()
        self._covered = (int(first[0]), int(first[1])), (height, width)
        self._draw_map()

    def show(self, kind: MapKind, level: int) -> None:
        """Have the map be of another kind, from what is kept."""
        self.map = kind, level
        self._draw_map()

    def take(self, step: InspectedTile | FailedTile) -> TileRow | None:
        """Enter a tile; its row, None where it failed."""
        if isinstance(step, FailedTile):
            self.failed[step.row, step.column] = step.message
            return None
        self.failed.pop(step.tile, None)
        row = self.rows[step.tile] = row_of(step, self.grid)
        if row.agreement_0 is not None:
            self.agreement[step.tile] = mean_agreement(row)
        if self.mosaic is not None:
            self._enter(self.mosaic, step.tile, step.inspection)
        return row

    def _draw_map(self) -> None:
        if self._covered is None:
            return
        first, shape = self._covered
        self.mosaic = Mosaic(first, shape, self.grid.tile_px // token_side_px(self.map[1]))
        for row, column in np.ndindex(shape):
            tile = first[0] + row, first[1] + column
            if (kept := self.inspection(tile)) is not None:
                self._enter(self.mosaic, tile, kept)

    def _enter(self, mosaic: Mosaic, tile: Tile, inspection: TileInspection) -> None:
        kind, level = self.map
        if kind in kinds_of(inspection):
            mosaic.put(tile, tokens_of(inspection, kind, level))


def mean_agreement(row: TileRow) -> float | None:
    """Agreement of a tile over its levels, 0 to 1; None without the teacher."""
    levels = row.agreement_0, row.agreement_1, row.agreement_2
    known = [one for one in levels if one is not None]
    return sum(known) / len(known) if known else None


def most_tiles(subject: Subject, cache: InspectionCache) -> int:
    """How many tiles are inspected at once: all that the cache holds beside one more, at most 64."""
    gazes = 1 if subject.ihc is None else _GAZES
    sides = (subject.grid.tile_px // token_side_px(level) for level in LEVELS)
    each = gazes * sum(np.dtype(np.float32).itemsize * side**4 for side in sides)
    return max(1, min(MOST_TILES, cache.most_bytes // each - 1))
