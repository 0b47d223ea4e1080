"""Fills the cache around what is drawn, so that panning finds blocks ready."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.blocks import BlockGrid

_LOG = logging.getLogger(__name__)

PAUSE_S = 0.05
"""Nothing is read ahead until nothing was drawn for so long: what is on screen comes first."""


class ReadAhead:
    """One thread that loads the blocks around the latest view.

    A view is what was drawn without a pause; another view drops what is left of the one before.

    Parameters
    ----------
    grids : sequence of BlockGrid
        The levels' blocks.
    load : weakref.WeakMethod
        Takes level, row and column, and leaves that block in the cache.
    """

    def __init__(
        self,
        grids: Sequence[BlockGrid],
        load: weakref.WeakMethod[Callable[[int, int, int], object]],
    ) -> None:
        self._grids, self._load = grids, load
        self._drawn = threading.Condition()
        self._view: dict[int, Region] = {}
        self._last = 0.0
        self._closed = False
        self._thread: threading.Thread | None = None

    def look(self, level: int, region: Region) -> None:
        """Something was drawn: `region` of a level, inside it."""
        with self._drawn:
            now = time.monotonic()
            if now - self._last > PAUSE_S:
                self._view = {}
            self._last = now
            seen = self._view.get(level)
            self._view[level] = region if seen is None else _around_both(seen, region)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
                self._thread.start()
            self._drawn.notify()

    def close(self) -> None:
        """End after the block under way."""
        with self._drawn:
            self._closed = True
            self._drawn.notify()

    def _work(self) -> None:
        done = 0.0
        while not self._closed:
            with self._drawn:
                while self._last == done and not self._closed:
                    self._drawn.wait()
                pause = self._last + PAUSE_S - time.monotonic()
                view, looked = dict(self._view), self._last
            if pause > 0:
                time.sleep(pause)
                continue
            done = looked
            for level, region in view.items():
                self._surround(level, region, looked)

    def _surround(self, level: int, region: Region, looked: float) -> None:
        for row, column in self._grids[level].around(region):
            load = self._load()
            if load is None or self._closed or self._last != looked:
                return
            try:
                load(level, row, column)
            except SlideReadError as error:  # it is said again when that block is drawn
                _LOG.debug("not read ahead: %s", error)


def _around_both(one: Region, other: Region) -> Region:
    y, x = min(one.y, other.y), min(one.x, other.x)
    bottom, right = max(one.bottom, other.bottom), max(one.right, other.right)
    return Region(y, x, bottom - y, right - x)
