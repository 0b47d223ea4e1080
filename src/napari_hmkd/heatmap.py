"""Graded tiles gathered on a canvas of one pixel per square, and what they say about the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, softmax

from napari_hmkd.grade_tables import grade_of_most
from napari_hmkd.inference import FailedTile, GradedBatch
from napari_hmkd.model.stages import GRADES
from napari_hmkd.overlap import mean_of_cells, mean_of_squares, mean_of_tiles, squares_under
from napari_hmkd.planning import GradePlan

NOT_GRADED = -1
_ROUNDING = 1e-6  # of a share: exactly a tenth is no more than a tenth


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """Tissue of a slide or region per grade, by area of squares and not by cells: no ASCO/CAP score.

    Attributes
    ----------
    area_mm2 : tuple of float
        Tissue in squares of grade 0, 1+, 2+, 3+.
    share : tuple of float
        The same as shares of the graded tissue; zeros where nothing is graded.
    graded_tiles, failed_tiles : int
        Tiles with a grade, and tiles that could not be read.
    expected_grade : float or None
        Mean of the squares' expected grades, by tissue; None where nothing is graded.
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
        """The grade that most of the graded tissue has, 0 to 3; None where two have the same area."""
        return grade_of_most(self.area_mm2)

    def highest_above(self, share: float) -> int | None:
        """The highest grade that, with those above it, covers more than a share of the graded tissue."""
        own_or_higher = np.cumsum(self.share[::-1])[::-1]
        above = np.flatnonzero(own_or_higher > share + _ROUNDING)
        return int(above[-1]) if len(above) else None


class Heatmap:
    """What is known about each tile of a slide so far, and so about each square between their corners.

    A square has the mean of the probabilities of the graded tiles over it. Where tiles lie side by
    side, it is the tile.

    Attributes
    ----------
    answers : numpy.ndarray
        Probabilities of each tile: float32 (rows, columns, 4); NaN where it is not graded.
    evidence : numpy.ndarray or None
        float32 (rows, columns, k, k, 4), of each tile's cells as in `Answer`, NaN where a tile is not
        graded; None before the first tile and from a network that has no cells.
    failed : dict
        From a tile's (row, column) to the `FailedTile`.
    """

    def __init__(self, plan: GradePlan) -> None:
        # Not the plan, with which the slide would stay open as long as its results are shown.
        self._tiles, self._grid, self._card = plan.tiles, plan.grid, plan.card
        self._tissue_fraction = plan.tissue_fraction
        self.answers = np.full((*plan.tissue_fraction.shape, GRADES), np.nan, np.float32)
        self.evidence: np.ndarray | None = None
        self.failed: dict[tuple[int, int], FailedTile] = {}
        # Of the tiles over each square, and after how many updates: another thread may ask meanwhile.
        self._updates, self._mean = 0, (-1, self.answers)

    def update(self, batch: GradedBatch) -> None:
        """Enter a batch of results."""
        where = tuple(batch.tiles.T)
        self.answers[where] = batch.probabilities
        self.failed |= {(tile.row, tile.column): tile for tile in batch.failed}
        if batch.evidence is not None:
            if self.evidence is None:
                shape = (*self.answers.shape[:2], *batch.evidence.shape[1:])
                self.evidence = np.full(shape, np.nan, np.float32)
            self.evidence[where] = batch.evidence
        self._updates += 1

    @property
    def graded_tiles(self) -> np.ndarray:
        """Which tiles have a grade: bool (rows, columns)."""
        return ~np.isnan(self.answers[..., 0])

    @property
    def failed_tiles(self) -> np.ndarray:
        """Which tiles could not be read or graded: bool (rows, columns)."""
        failed = np.zeros(self.answers.shape[:2], bool)
        failed[tuple(np.array(list(self.failed), dtype=np.int64).reshape(-1, 2).T)] = True
        return failed

    @property
    def remaining(self) -> np.ndarray:
        """The plan's tiles that were not tried yet, row by row: int64 (n, 2)."""
        tried = self.graded_tiles | self.failed_tiles
        return self._tiles[~tried[tuple(self._tiles.T)]]

    @property
    def probabilities(self) -> np.ndarray:
        """Of each square: float32 (rows, columns, 4); NaN where it is not graded."""
        overlap = self._grid.overlap
        if overlap == 1:
            return self.answers
        updates, mean = self._updates, self._mean
        if mean[0] != updates:
            mean = self._mean = updates, mean_of_tiles(self.answers, overlap)
        return mean[1]

    @property
    def graded(self) -> np.ndarray:
        """Which squares have a grade: bool (rows, columns)."""
        return ~np.isnan(self.probabilities[..., 0])

    @property
    def unreadable(self) -> np.ndarray:
        """Which squares would have one, had the tiles over them not failed: bool (rows, columns)."""
        return squares_under(self.failed_tiles, self._grid.overlap) & ~self.graded

    @property
    def grade(self) -> np.ndarray:
        """The most probable grade, 0 to 3, or -1 where not graded: int8 (rows, columns)."""
        return most_probable(self.probabilities)

    @property
    def expected_grade(self) -> np.ndarray:
        """The sum of k p_k, in [0, 3], or NaN where not graded: float32 (rows, columns)."""
        return expected(self.probabilities)

    @property
    def entropy(self) -> np.ndarray:
        """`-sum p ln p / ln 4`, in [0, 1], or NaN where not graded: float32 (rows, columns).

        0 is certain, 1 is a guess (Shannon 1948).
        """
        spread = entr(self.probabilities.astype(np.float64)).sum(axis=-1) / np.log(GRADES)
        return spread.astype(np.float32)

    @property
    def finer_probabilities(self) -> np.ndarray | None:
        """Of each cell of each square: float32 (rows k, columns k, 4), NaN where not graded; or None.

        A tile's cells have its logits as their mean; their probabilities need not have its
        probabilities as theirs. Where tiles overlap, a cell's logits are the mean of what they say of
        it; there is no finer map where their steps cut cells apart.
        """
        overlap = self._grid.overlap
        if self.evidence is None or self.evidence.shape[2] % overlap:
            return None
        evidence = mean_of_cells(self.evidence, overlap)
        rows, columns, side, _, _ = evidence.shape
        cells = evidence.swapaxes(1, 2).reshape(rows * side, columns * side, GRADES)
        return softmax(cells, axis=-1)

    @property
    def undecided(self) -> np.ndarray | None:
        """Which graded squares have a prediction set of no or of several grades: bool (rows, columns).

        Grade k is in a set if its probability is at least the card's k-th threshold. None where the
        card has none. The thresholds were fitted to single tiles: sets of squares under several tiles
        need not hold the true grade as often.
        """
        return self._undecided(self.probabilities)

    def _undecided(self, probabilities: np.ndarray) -> np.ndarray | None:
        thresholds = self._card.conformal_thresholds
        if not thresholds:
            return None
        in_set = (probabilities >= np.array(thresholds)).sum(axis=-1)
        return ~np.isnan(probabilities[..., 0]) & (in_set != 1)

    def describe(self, square: tuple[int, int]) -> str:
        """What is known about a square (row, column), in words."""
        p = self.probabilities[square]
        if np.isnan(p[0]):
            return "not readable" if self.unreadable[square] else "not graded"
        names = self._card.class_names
        each = ", ".join(f"{name} {one:.0%}" for name, one in zip(names, p, strict=True))
        doubt = ", undecided" if self._undecided(p) else ""
        return f"grade {names[most_probable(p)]}{doubt}, expected {expected(p):.2f} ({each})"

    def summary(self, tissue_fraction: np.ndarray | None = None) -> SlideSummary:
        """Tissue per grade so far.

        A square counts with its tissue, the square's area times its tissue fraction, wholly for its
        most probable grade. What lies beyond the slide's edge is no tissue, so that a square over
        the edge counts with the part of it on the slide.

        Parameters
        ----------
        tissue_fraction : numpy.ndarray, optional
            (rows, columns), what of each square is tissue of a region; the whole slide's, if left out.
        """
        whole = tissue_fraction is None
        fraction = self._tissue_fraction if tissue_fraction is None else tissue_fraction
        tissue_mm2 = self._grid.area_mm2(fraction)
        grade = self.grade
        area = [float(tissue_mm2[grade == k].sum()) for k in range(GRADES)]
        total = sum(area)
        weighted = float((tissue_mm2 * self.expected_grade)[self.graded].sum())
        counted = whole | (mean_of_squares(fraction, self._grid.overlap) > 0)
        undecided = self._undecided(self.answers)
        return SlideSummary(
            area_mm2=tuple(area),
            share=tuple(a / total if total else 0.0 for a in area),
            graded_tiles=int((self.graded_tiles & counted).sum()),
            failed_tiles=int((self.failed_tiles & counted).sum()),
            expected_grade=weighted / total if total else None,
            undecided_tiles=None if undecided is None else int((undecided & counted).sum()),
        )


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """The grade of (..., 4), 0 to 3, or -1 of NaN: int8 (...)."""
    likeliest = np.nan_to_num(probabilities).argmax(axis=-1)
    return np.where(np.isnan(probabilities[..., 0]), NOT_GRADED, likeliest).astype(np.int8)


def expected(probabilities: np.ndarray) -> np.ndarray:
    """The sum of k p_k of (..., 4), in [0, 3]: float32 (...)."""
    return probabilities @ np.arange(GRADES, dtype=np.float32)
