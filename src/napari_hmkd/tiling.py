"""Where the tiles of a slide lie: pure arithmetic, nothing read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_hmkd.geometry import Region, Size

_SLIVER = 1e-6  # of a tile: a last row or column thinner than this is rounding, not tissue


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles of a model over a slide, from its top-left corner, side by side or overlapping.

    Tiles are named (row, column). Their corners cut the slide into squares, of which each has the
    name of the tile that begins there; where tiles lie side by side, they are the squares. Those of
    the last rows and columns may reach beyond the slide. Every origin is computed from its index with
    an unrounded step, so that errors never add up.

    Attributes
    ----------
    slide_size : Size
        Level 0 of the slide, px.
    slide_mpp : tuple of float
        Its pixel size (y, x), um/px.
    tile_px : int
        Side of a tile as the model sees it, px.
    model_mpp : float
        The model's pixel size, um/px.
    overlap : int
        How many tiles lie over a point along each axis: neighbours are that part of their side apart.
    """

    slide_size: Size
    slide_mpp: tuple[float, float]
    tile_px: int
    model_mpp: float
    overlap: int = 1

    @property
    def tile_um(self) -> float:
        """Side of a tile, um."""
        return self.tile_px * self.model_mpp

    @property
    def square_um(self) -> float:
        """Side of a square, and so from one tile to the next, um."""
        return self.tile_um / self.overlap

    @property
    def step_px(self) -> tuple[float, float]:
        """Height and width of a square (y, x) in level-0 px, not rounded."""
        return self.square_um / self.slide_mpp[0], self.square_um / self.slide_mpp[1]

    @property
    def rows(self) -> int:
        """Number of tiles, and of squares, from top to bottom."""
        return _count(self.slide_size.height, self.step_px[0])

    @property
    def columns(self) -> int:
        """Number of tiles, and of squares, from left to right."""
        return _count(self.slide_size.width, self.step_px[1])

    def on_slide(self) -> np.ndarray:
        """The share of each square's area that lies on the slide: float64 (rows, columns), in (0, 1]."""
        rows, columns = (
            np.clip(length_px / step_px - np.arange(count), 0, 1)
            for length_px, step_px, count in (
                (self.slide_size.height, self.step_px[0], self.rows),
                (self.slide_size.width, self.step_px[1], self.columns),
            )
        )
        return np.outer(rows, columns)

    def area_mm2(self, share: np.ndarray) -> np.ndarray:
        """Area of shares of squares, mm2: float64, as the argument."""
        return (self.square_um / 1000) ** 2 * share.astype(np.float64)

    def tiles(self) -> np.ndarray:
        """All tiles, row by row: int64 (rows * columns, 2)."""
        return np.indices((self.rows, self.columns)).reshape(2, -1).T

    def origins(self, tiles: npt.ArrayLike) -> np.ndarray:
        """Top-left corners of tiles or squares (n, 2): float64 (n, 2), (y, x) in level-0 px."""
        return np.asarray(tiles, dtype=np.float64).reshape(-1, 2) * self.step_px

    def centers(self, tiles: npt.ArrayLike) -> np.ndarray:
        """Middles of tiles (n, 2): float64 (n, 2), (y, x) in level-0 px."""
        return self.origins(tiles) + np.multiply(self.step_px, self.overlap / 2)

    def tile_at(self, y: float, x: float) -> tuple[int, int] | None:
        """The square (row, column) over a point in level-0 px, None outside the slide."""
        if not (0 <= y < self.slide_size.height and 0 <= x < self.slide_size.width):
            return None
        row, column = int(y / self.step_px[0]), int(x / self.step_px[1])
        return min(row, self.rows - 1), min(column, self.columns - 1)

    def nearest_first(
        self,
        tiles: np.ndarray,
        focus: tuple[float, float],
        view: Region | None = None,
    ) -> np.ndarray:
        """Sort tiles for a viewer: those in view first, each group by distance from the focus.

        Parameters
        ----------
        tiles : numpy.ndarray
            int (n, 2).
        focus : tuple of float
            (y, x) in level-0 px, as a rule the middle of the view.
        view : Region, optional
            What is on screen, level-0 px; without it distance alone decides.

        Returns
        -------
        numpy.ndarray
            The same tiles, int64 (n, 2). Equal distances keep their order.
        """
        tiles = np.asarray(tiles, dtype=np.int64).reshape(-1, 2)
        away_um = (self.centers(tiles) - focus) * self.slide_mpp
        hidden = np.zeros(len(tiles), dtype=bool) if view is None else ~self.meets(tiles, view)
        return tiles[np.lexsort((np.hypot(*away_um.T), hidden))]

    def meets(self, tiles: np.ndarray, view: Region) -> np.ndarray:
        """Which of the tiles (n, 2) share area with a region: bool (n,)."""
        start = self.origins(tiles)
        stop = start + np.multiply(self.step_px, self.overlap)
        shared = np.maximum(start, (view.y, view.x)), np.minimum(stop, (view.bottom, view.right))
        return (shared[0] < shared[1]).all(axis=1)


def _count(length_px: int, step_px: float) -> int:
    return max(1, math.ceil(length_px / step_px - _SLIVER))
