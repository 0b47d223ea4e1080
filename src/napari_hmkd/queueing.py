"""The tiles that wait to be graded, in an order that follows the viewer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from napari_hmkd.geometry import Region
from napari_hmkd.tiling import TileGrid

View = tuple[tuple[float, float], Region]
"""The middle (y, x) of what is on screen, and what is on screen, both in level-0 px."""


class TileQueue(Iterator[tuple[int, int]]):
    """Tiles, those in view first, nearest the view's middle; another thread may move the view.

    It ends when no tile is left, or none in view where only those are wanted; what is left can be
    asked for by iterating again after the view has moved.

    Parameters
    ----------
    view : View, optional
        Where to begin; in the order given to `fill` where it is left out.
    only_in_view : bool
        Leave the tiles that are not on screen.
    """

    def __init__(self, view: View | None = None, only_in_view: bool = False) -> None:
        self._lock = threading.Lock()
        self._view, self._only_in_view = view, only_in_view
        self._grid: TileGrid | None = None
        self._waiting: list[tuple[int, int]] = []  # the next one is the last
        self._beyond = 0  # how many of these are not wanted

    def fill(self, grid: TileGrid, tiles: np.ndarray) -> None:
        """Replace what waits by tiles of a grid: int (n, 2)."""
        with self._lock:
            self._grid = grid
            self._arrange(np.asarray(tiles, dtype=np.int64).reshape(-1, 2))

    def look(self, view: View, only_in_view: bool = False) -> None:
        """Go on with what is in view now."""
        with self._lock:
            self._view, self._only_in_view = view, only_in_view
            self._arrange(np.array(self._waiting[::-1], dtype=np.int64).reshape(-1, 2))

    def __next__(self) -> tuple[int, int]:
        """The next tile (row, column)."""
        with self._lock:
            if len(self._waiting) <= self._beyond:
                raise StopIteration
            return self._waiting.pop()

    def _arrange(self, tiles: np.ndarray) -> None:
        self._beyond = 0
        if self._grid is not None and self._view is not None:
            focus, region = self._view
            tiles = self._grid.nearest_first(tiles, focus, region)
            if self._only_in_view:
                self._beyond = int((~self._grid.meets(tiles, region)).sum())
        self._waiting = [(row, column) for row, column in tiles[::-1].tolist()]
