"""Graded tiles gathered on a canvas of one pixel per tile, and what they say about the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_hmkd.inference import GRADES, FailedTile, GradedBatch
from napari_hmkd.planning import GradePlan

NOT_GRADED = -1


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
        most probable grade. What lies beyond the slide's edge is no tissue, so that a tile over
        the edge counts with the part of it on the slide.
        """
        tissue_mm2 = (self._plan.grid.tile_um / 1000) ** 2 * self._plan.tissue_fraction
        grade = self.grade
        area = [float(tissue_mm2[grade == k].sum()) for k in range(GRADES)]
        total = sum(area)
        return SlideSummary(
            area_mm2=tuple(area),
            share=tuple(a / total if total else 0.0 for a in area),
            graded_tiles=int(self.graded.sum()),
            failed_tiles=len(self.failed),
        )
