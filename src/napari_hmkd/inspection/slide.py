"""Many tiles of a slide inspected one after another, and the table of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from napari_hmkd.errors import ModelError, SlideReadError, SlideStalledError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.tile import LEVELS, TileInspection, inspect_tile
from napari_hmkd.planning import read_tile
from napari_hmkd.slide import Slide
from napari_hmkd.tiling import TileGrid

_AHEAD = 2  # tiles read while one is computed
Tile = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class StainPair:
    """Where tiles are read: an H&E slide, and the IHC that belongs to it.

    Attributes
    ----------
    he : Slide
        Must stay open.
    grid : TileGrid
        Its tiles, as the student sees them.
    read_ihc : callable or None
        From a tile to its pixels on the registered IHC slide, uint8 (tile_px, tile_px, 3); None without
        such a slide.
    """

    he: Slide
    grid: TileGrid
    read_ihc: Callable[[Tile], np.ndarray] | None = None

    def read(self, tile: Tile) -> tuple[np.ndarray, np.ndarray | None]:
        """H&E and IHC of a tile.

        Raises
        ------
        SlideReadError
            One of them is damaged there.
        """
        he = read_tile(self.he, self.grid, tile)
        return he, None if self.read_ihc is None else self.read_ihc(tile)


@dataclass(frozen=True, slots=True, eq=False)
class InspectedTile:
    """A tile and what was seen in it."""

    tile: Tile
    inspection: TileInspection


@dataclass(frozen=True, slots=True)
class TileRow:
    """What a table says of a tile; numbers that need the teacher are None without it.

    Attributes
    ----------
    row, column : int
    y_px, x_px : float
        Its top-left corner in level-0 px of the H&E slide.
    student_grade, teacher_grade : int
        The most probable, 0 to 3.
    student_expected, teacher_expected : float
        Sum of k p_k, in [0, 3].
    disagreement : float
        How far the expected grades are apart, in [0, 3].
    agreement_0, agreement_1, agreement_2 : float
        Cosine of both attentions by level, in [0, 1].
    attention_loss, logits_kl, cosine : float
        HM-KD's terms, unweighted.
    """

    row: int
    column: int
    y_px: float
    x_px: float
    student_grade: int
    teacher_grade: int | None
    student_expected: float
    teacher_expected: float | None
    disagreement: float | None
    agreement_0: float | None
    agreement_1: float | None
    agreement_2: float | None
    attention_loss: float | None
    logits_kl: float | None
    cosine: float | None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Its columns."""
        return tuple(one.name for one in fields(cls))


def inspect_slide(
    pair: StainPair, student: OpenModel, teacher: OpenModel | None, tiles: Iterable[Tile]
) -> Generator[InspectedTile | FailedTile, None, None]:
    """Inspect tiles in their order; nothing of one is kept when the next is computed.

    Parameters
    ----------
    pair : StainPair
        Where to read.
    student : OpenModel
    teacher : OpenModel or None
        Takes part where `pair` has IHC.
    tiles : iterable of (row, column)

    Yields
    ------
    InspectedTile or FailedTile
        The latter where a stain is damaged or attention is not finite.

    Raises
    ------
    SlideStalledError
        If a file does not answer in time.
    DeviceError
        If torch fails.
    """
    wanted = (partial(_read, pair, (int(row), int(column))) for row, column in tiles)
    with closing(pair.he.in_order(wanted, ahead=_AHEAD)) as reads:
        for tile, read in reads:
            if isinstance(read, SlideReadError):
                yield FailedTile(*tile, str(read))
                continue
            try:
                yield InspectedTile(tile, inspect_tile(student, read[0], teacher, read[1]))
            except ModelError as error:
                yield FailedTile(*tile, str(error))


def row_of(inspected: InspectedTile, grid: TileGrid) -> TileRow:
    """What a table says of an inspected tile."""
    one = inspected.inspection
    y_px, x_px = grid.origins(inspected.tile)[0].tolist()
    grades = [int(p.argmax()) for p in one.probabilities]
    expected = [float(p @ np.arange(len(p))) for p in one.probabilities]
    with_teacher = one.has_teacher
    agreed = [one.agreement(level) if with_teacher else None for level in LEVELS]
    return TileRow(
        inspected.tile[0],
        inspected.tile[1],
        y_px,
        x_px,
        grades[0],
        grades[1] if with_teacher else None,
        expected[0],
        expected[1] if with_teacher else None,
        abs(expected[0] - expected[1]) if with_teacher else None,
        agreed[0],
        agreed[1],
        agreed[2],
        one.losses.get("attention"),
        one.losses.get("logits_kl"),
        one.losses.get("cosine"),
    )


def _read(
    pair: StainPair, tile: Tile
) -> tuple[Tile, tuple[np.ndarray, np.ndarray | None] | SlideReadError]:
    try:
        return tile, pair.read(tile)
    except SlideStalledError:
        raise
    except SlideReadError as error:
        return tile, error
