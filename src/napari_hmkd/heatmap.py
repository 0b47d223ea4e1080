"""Graded tiles gathered on a canvas of one pixel per tile, and what they say about the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from napari_hmkd.inference import FailedTile, GradedBatch
from napari_hmkd.model.stages import GRADES
from napari_hmkd.planning import GradePlan

NOT_GRADED = -1
_ROUNDING = 1e-6  # of a share: exactly a tenth is no more than a tenth


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """Tissue of a slide or region per grade, by area of tiles and not by cells: no ASCO/CAP score.

    Attributes
    ----------
    area_mm2 : tuple of float
        Tissue in tiles of grade 0, 1+, 2+, 3+.
    share : tuple of float
        The same as shares of the graded tissue; zeros where nothing is graded.
    graded_tiles, failed_tiles : int
        Tiles with a grade, and tiles that could not be read.
    expected_grade : float or None
        Mean of the tiles' expected grades, by tissue; None where nothing is graded.
    undecided_tiles : int or None
        Graded tiles whose prediction set is not exactly one grade; None where the model has no sets.
    """

    area_mm2: tuple[float, ...]
    share: tuple[float, ...]
    graded_tiles: int
    failed_tiles: int
    expected_grade: float | None
    undecided_tiles: int | None

    @property
    def grade_of_most_area(self) -> int | None:
        """The grade that most of the graded tissue has, 0 to 3."""
        return int(np.argmax(self.area_mm2)) if sum(self.area_mm2) else None

    def highest_above(self, share: float) -> int | None:
        """The highest grade that, with those above it, covers more than a share of the graded tissue."""
        own_or_higher = np.cumsum(self.share[::-1])[::-1]
        above = np.flatnonzero(own_or_higher > share + _ROUNDING)
        return int(above[-1]) if len(above) else None


class Heatmap:
    """What is known about each tile of a slide so far.

    Attributes
    ----------
    probabilities : numpy.ndarray
        float32 (rows, columns, 4); NaN where a tile is not graded.
    evidence : numpy.ndarray or None
        float32 (rows, columns, k, k, 4), of each tile's cells as in `Answer`, NaN where a tile is not
        graded; None before the first tile and from a network that has no cells.
    failed : dict
        From (row, column) to the `FailedTile`.
    """

    def __init__(self, plan: GradePlan) -> None:
        self._plan = plan
        self.probabilities = np.full((*plan.tissue_fraction.shape, GRADES), np.nan, np.float32)
        self.evidence: np.ndarray | None = None
        self.failed: dict[tuple[int, int], FailedTile] = {}

    def update(self, batch: GradedBatch) -> None:
        """Enter a batch of results."""
        where = tuple(batch.tiles.T)
        self.probabilities[where] = batch.probabilities
        self.failed |= {(tile.row, tile.column): tile for tile in batch.failed}
        if batch.evidence is not None:
            if self.evidence is None:
                shape = (*self.probabilities.shape[:2], *batch.evidence.shape[1:])
                self.evidence = np.full(shape, np.nan, np.float32)
            self.evidence[where] = batch.evidence

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

    @property
    def finer_probabilities(self) -> np.ndarray | None:
        """Of each cell of each tile: float32 (rows k, columns k, 4), NaN where not graded; or None.

        The cells' logits have the tile's as their mean; their probabilities need not have its
        probabilities as theirs.
        """
        if self.evidence is None:
            return None
        rows, columns, side, _, _ = self.evidence.shape
        cells = self.evidence.swapaxes(1, 2).reshape(rows * side, columns * side, GRADES)
        return softmax(cells, axis=-1)

    @property
    def undecided(self) -> np.ndarray | None:
        """Which graded tiles have a prediction set of no or of several grades: bool (rows, columns).

        Grade k is in a tile's set if its probability is at least the card's k-th threshold. None
        where the card has none.
        """
        thresholds = self._plan.card.conformal_thresholds
        if not thresholds:
            return None
        return self.graded & ((self.probabilities >= np.array(thresholds)).sum(axis=-1) != 1)

    def describe(self, tile: tuple[int, int]) -> str:
        """What is known about a tile (row, column), in words."""
        if tile in self.failed:
            return "not readable"
        if not self.graded[tile]:
            return "not graded"
        names = self._plan.card.class_names
        each = ", ".join(
            f"{name} {p:.0%}" for name, p in zip(names, self.probabilities[tile], strict=True)
        )
        doubt = ", undecided" if self.undecided is not None and self.undecided[tile] else ""
        return f"grade {names[self.grade[tile]]}{doubt}, expected {self.expected_grade[tile]:.2f} ({each})"

    def summary(self, tissue_fraction: np.ndarray | None = None) -> SlideSummary:
        """Tissue per grade so far.

        A tile counts with its tissue, the tile's area times its tissue fraction, wholly for its
        most probable grade. What lies beyond the slide's edge is no tissue, so that a tile over
        the edge counts with the part of it on the slide.

        Parameters
        ----------
        tissue_fraction : numpy.ndarray, optional
            (rows, columns), what of each tile is tissue of a region; the whole slide's, if left out.
        """
        whole = tissue_fraction is None
        fraction = self._plan.tissue_fraction if tissue_fraction is None else tissue_fraction
        tissue_mm2 = (self._plan.grid.tile_um / 1000) ** 2 * fraction.astype(np.float64)
        graded = self.graded & (whole | (fraction > 0))
        area = [float(tissue_mm2[self.grade == k].sum()) for k in range(GRADES)]
        total = sum(area)
        expected = float((tissue_mm2 * self.expected_grade)[graded].sum())
        undecided = self.undecided
        return SlideSummary(
            area_mm2=tuple(area),
            share=tuple(a / total if total else 0.0 for a in area),
            graded_tiles=int(graded.sum()),
            failed_tiles=sum(whole or bool(fraction[tile] > 0) for tile in self.failed),
            expected_grade=expected / total if total else None,
            undecided_tiles=None if undecided is None else int((undecided & graded).sum()),
        )
