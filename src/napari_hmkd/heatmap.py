"""Graded tiles gathered on a canvas of one pixel per tile, and what they say about the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_hmkd.inference import GRADES, FailedTile, GradedBatch
from napari_hmkd.planning import GradePlan

NOT_GRADED = -1

# Blue to red through light tones: told apart with every colour blindness (ColorBrewer, RdYlBu),
# and unlike the pink and purple of H&E.
GRADE_COLOURS = ("#2c7bb6", "#abd9e9", "#fdae61", "#d7191c")


def colourise(grade: np.ndarray) -> np.ndarray:
    """Colours of expected grades (...), in [0, 3]: float64 (..., 4), RGBA in [0, 1].

    Between two grades the colours are mixed; NaN is transparent.
    """
    known = ~np.isnan(grade)
    palette = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in GRADE_COLOURS])
    channels = [np.interp(grade, range(GRADES), channel) for channel in palette.T]
    return np.where(known[..., None], np.stack([*channels, known], axis=-1), 0.0)


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """Tissue per grade, by area of tiles and not by cells: no ASCO/CAP score.

    Attributes
    ----------
    area_mm2 : tuple of float
        Tissue in tiles of grade 0, 1+, 2+, 3+.
    share : tuple of float
        The same as shares of the graded tissue; zeros where nothing is graded.
    graded_tiles, failed_tiles : int
        Tiles with a grade, and tiles that could not be read.
    """

    area_mm2: tuple[float, ...]
    share: tuple[float, ...]
    graded_tiles: int
    failed_tiles: int


class Heatmap:
    """What is known about each tile of a slide so far.

    Attributes
    ----------
    probabilities : numpy.ndarray
        float32 (rows, columns, 4); NaN where a tile is not graded.
    failed : dict
        From (row, column) to the `FailedTile`.
    """

    def __init__(self, plan: GradePlan) -> None:
        self._plan = plan
        self.probabilities = np.full((*plan.tissue_fraction.shape, GRADES), np.nan, np.float32)
        self.failed: dict[tuple[int, int], FailedTile] = {}

    def update(self, batch: GradedBatch) -> None:
        """Enter a batch of results."""
        self.probabilities[tuple(batch.tiles.T)] = batch.probabilities
        self.failed |= {(tile.row, tile.column): tile for tile in batch.failed}

    @property
    def graded(self) -> np.ndarray:
        """Which tiles have a grade: bool (rows, columns)."""
        return ~np.isnan(self.probabilities[..., 0])

    @property
    def remaining(self) -> np.ndarray:
        """The plan's tiles that were not tried yet, row by row: int64 (n, 2)."""
        done = self.graded
        done[tuple(np.array(list(self.failed), dtype=np.int64).reshape(-1, 2).T)] = True
        tiles = self._plan.tiles
        return tiles[~done[tuple(tiles.T)]]

    @property
    def grade(self) -> np.ndarray:
        """The most probable grade, 0 to 3, or -1 where not graded: int8 (rows, columns)."""
        likeliest = np.nan_to_num(self.probabilities).argmax(axis=-1)
        return np.where(self.graded, likeliest, NOT_GRADED).astype(np.int8)

    @property
    def expected_grade(self) -> np.ndarray:
        """The sum of k p_k, in [0, 3], or NaN where not graded: float32 (rows, columns)."""
        return self.probabilities @ np.arange(GRADES, dtype=np.float32)

    def summary(self) -> SlideSummary:
        """Tissue per grade so far.

        A tile counts with its tissue, the tile's area times its tissue fraction, wholly for its
        most probable grade. A tile on the slide's right or bottom edge counts with the part of it
        that lies on the slide.
        """
        plan = self._plan
        tile_mm2 = (plan.grid.tile_um / 1000) ** 2
        inside = plan.grid.share_inside(plan.grid.tiles()).reshape(plan.tissue_fraction.shape)
        tissue_mm2 = tile_mm2 * inside * plan.tissue_fraction
        grade = self.grade
        area = [float(tissue_mm2[grade == k].sum()) for k in range(GRADES)]
        total = sum(area)
        return SlideSummary(
            area_mm2=tuple(area),
            share=tuple(a / total if total else 0.0 for a in area),
            graded_tiles=int(self.graded.sum()),
            failed_tiles=len(self.failed),
        )
