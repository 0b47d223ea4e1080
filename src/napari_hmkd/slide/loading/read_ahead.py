"""Fills the cache around what is drawn, so that panning finds blocks ready."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from napari_hmkd.geometry import Region
from napari_hmkd.slide.loading.blocks import BlockGrid

_LOG = logging.getLogger(__name__)

PAUSE_S = 0.05
"""Nothing is read ahead until nothing was drawn for so long: what is on screen comes first."""

_VIEW_S = 0.25  # what was drawn so shortly before the last part belongs to one view
_MOST_BLOCKS = 256  # of 512 px, 200 MB


class _Drawn(NamedTuple):
    at: float
    level: int
    region: Region


class ReadAhead:
    """One thread that loads the blocks around the latest view, half a view's side each way.

    Another view drops what is left of the one before.

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
        self._news = threading.Condition()
        self._drawn: deque[_Drawn] = deque(maxlen=1024)
        self._last = 0.0
        self._closed = False
        self._thread: threading.Thread | None = None

    def look(self, level: int, region: Region) -> None:
        """Something was drawn: `region` of a level, inside it."""
        with self._news:
            self._last = time.monotonic()
            self._drawn.append(_Drawn(self._last, level, region))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """End after the block under way.

        It takes no lock: the garbage collector calls it, perhaps in a thread that holds the lock.
        """
        self._closed = True

    def _work(self) -> None:
        done = 0.0
        while not self._closed:
            with self._news:
                if self._last == done:
                    self._news.wait(timeout=1.0)  # `close` does not notify
                    continue
                pause = self._last + PAUSE_S - time.monotonic()
                looked, level, view = self._last, *self._view()
            if pause > 0:
                time.sleep(pause)
                continue
            done = looked
            self._surround(level, view, looked)

    def _view(self) -> tuple[int, Region]:
        """Level and region of what was drawn last, with what belongs to it."""
        last = self._drawn[-1]
        while self._drawn[0].at < last.at - _VIEW_S:
            self._drawn.popleft()
        parts = [one.region for one in self._drawn if one.level == last.level]
        y, x = min(part.y for part in parts), min(part.x for part in parts)
        bottom, right = max(part.bottom for part in parts), max(part.right for part in parts)
        return last.level, Region(y, x, bottom - y, right - x)

    def _surround(self, level: int, view: Region, looked: float) -> None:
        for row, column in self._grids[level].around(view)[:_MOST_BLOCKS]:
            load = self._load()
            if load is None or self._closed or self._last != looked:
                return
            try:
                load(level, row, column)
            except Exception as error:  # whatever it is, it is said when that block is drawn
                _LOG.debug("not read ahead: %s", error)
