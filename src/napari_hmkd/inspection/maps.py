"""Maps of many tiles side by side, whose numbers may be compared all over a slide."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from napari_hmkd.inspection.tile import Gaze, Tile, TileInspection


class MapKind(StrEnum):
    """What a map shows of each token."""

    STUDENT = "received attention, student"
    TEACHER_HE = "received attention, teacher on H&E"
    TEACHER_IHC = "received attention, teacher on IHC"
    DIFFERENCE = "student minus teacher on H&E"
    DISCREPANCY = "what the difference costs"


_RECEIVED = {
    MapKind.STUDENT: Gaze.STUDENT,
    MapKind.TEACHER_HE: Gaze.TEACHER_HE,
    MapKind.TEACHER_IHC: Gaze.TEACHER_IHC,
}
ALONE = (MapKind.STUDENT,)
"""What can be shown without a teacher."""

_TWICE_ALIKE = 2.0  # 1 is what a token receives where all are looked at alike


@dataclass(frozen=True)
class Look:
    """Colours of a map: the same for every tile, so that tiles can be compared.

    Attributes
    ----------
    limits : tuple of float
        Of the colours. Received attention goes to twice what it is where all tokens are looked at
        alike; the discrepancy to what it is where it is the greatest that a tile can have, 2, spread
        over its tokens alike.
    colours : str
        Name of a colormap of napari.
    """

    limits: tuple[float, float]
    colours: str


def look_of(kind: MapKind, side: int) -> Look:
    """The colours of a map with `side` tokens along a tile."""
    if kind is MapKind.DIFFERENCE:
        return Look((-1.0, 1.0), "PiYG")
    if kind is MapKind.DISCREPANCY:
        return Look((0.0, 2.0 / side**2), "magma")
    return Look((0.0, _TWICE_ALIKE), "inferno")


def tokens_of(inspection: TileInspection, kind: MapKind, level: int) -> np.ndarray:
    """One tile's part of a map: float32 (g, g).

    Raises
    ------
    KeyError
        If the map needs the teacher, which took no part.
    """
    if kind is MapKind.DIFFERENCE:
        return inspection.difference(level)
    if kind is MapKind.DISCREPANCY:
        return inspection.discrepancy(level)
    return inspection.received(_RECEIVED[kind], level)


def kinds_of(inspection: TileInspection) -> tuple[MapKind, ...]:
    """The maps that an inspection has."""
    return tuple(MapKind) if inspection.has_teacher else ALONE


@dataclass(slots=True, eq=False)
class Mosaic:
    """A map over a rectangle of tiles, filled tile by tile; NaN where a tile is not there yet.

    Attributes
    ----------
    first : (row, column)
        The top-left tile.
    shape : (rows, columns)
        In tiles.
    side : int
        Tokens along a tile.
    data : numpy.ndarray
        float32 (rows * side, columns * side).
    """

    first: Tile
    shape: tuple[int, int]
    side: int
    data: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        rows, columns = self.shape
        self.data = np.full((rows * self.side, columns * self.side), np.nan, np.float32)

    def put(self, tile: Tile, tokens: np.ndarray) -> None:
        """Enter a tile's (side, side) tokens; a tile outside the rectangle is left."""
        row, column = tile[0] - self.first[0], tile[1] - self.first[1]
        if 0 <= row < self.shape[0] and 0 <= column < self.shape[1]:
            top, left = row * self.side, column * self.side
            self.data[top : top + self.side, left : left + self.side] = tokens
