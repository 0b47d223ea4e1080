"""A slide as lazy dask arrays, one per level: what napari draws from."""

from __future__ import annotations

import functools
import logging
import math
from abc import ABC, abstractmethod

import dask.array as da
import numpy as np

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backend import Level
from napari_hmkd.slide.resample import axis_weights, resample
from napari_hmkd.slide.slide import Slide

_LOG = logging.getLogger(__name__)

COARSEST_PX = 2048
"""Longest side of the last level: napari fetches it whole, at every update of the thumbnail."""

_CHUNK_PX = 512
_CACHED_BLOCKS = 256  # of computed levels; at most 200 MB
_CHECK_PX = 16
_MAGENTA = np.array((255, 0, 255), np.uint8)


def pyramid(slide: Slide) -> list[da.Array]:
    """One array per level, the finest first; nothing is read until an array is computed.

    A file whose last level is longer than `COARSEST_PX` gets further levels, each half of the
    one before, computed when they are drawn. A part that cannot be read is drawn as a magenta
    and black check, so that it passes for nothing else and the rest is still shown.

    Returns
    -------
    list of dask.array.Array
        (height, width, 3) uint8, with square chunks that follow the file's tiles.
    """
    levels: list[_LazyLevel] = [_StoredLevel(slide, index) for index in range(len(slide.levels))]
    while max(levels[-1].shape) > COARSEST_PX:
        levels.append(_HalvedLevel(levels[-1]))
    return [
        da.from_array(
            level,
            chunks=(level.chunk, level.chunk, 3),
            name=False,  # dask would otherwise hash the slide to name the array
            asarray=False,
            meta=np.empty((0, 0, 0), np.uint8),
        )
        for level in levels
    ]


def chunk_px(level: Level) -> int:
    """Side of square chunks for a level: whole tiles, near 512 px.

    Strips, such as NDPI's 8 x 3968, would make chunks of a whole slide's width: there only the
    height is followed.
    """
    height, width = level.tile.height, level.tile.width
    step = math.lcm(height, width)
    if step > 2 * _CHUNK_PX:
        step = height if height <= _CHUNK_PX else _CHUNK_PX
    return step * max(1, round(_CHUNK_PX / step))


class _LazyLevel(ABC):
    """What dask slices: a level of the file, or one computed from the level before it."""

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, height: int, width: int, chunk: int) -> None:
        self.shape = (height, width, 3)
        self.chunk = chunk

    @abstractmethod
    def pixels(self, region: Region) -> np.ndarray:
        """Pixels of a region inside the level, uint8 (height, width, 3)."""

    def __getitem__(self, index: tuple[slice | int, slice | int, slice | int]) -> np.ndarray:
        """What dask asks for; it folds a caller's integers and steps into its own slices."""
        whole = [one if isinstance(one, slice) else slice(one, one + 1) for one in index[:2]]
        y, bottom, row_step = whole[0].indices(self.shape[0])
        x, right, column_step = whole[1].indices(self.shape[1])
        pixels = self.pixels(Region(y, x, max(0, bottom - y), max(0, right - x)))
        rows = slice(None, None, row_step) if isinstance(index[0], slice) else 0
        columns = slice(None, None, column_step) if isinstance(index[1], slice) else 0
        return pixels[rows, columns, index[2]]


class _StoredLevel(_LazyLevel):
    """A level of the file."""

    def __init__(self, slide: Slide, level: int) -> None:
        size = slide.levels[level].size
        super().__init__(size.height, size.width, chunk_px(slide.levels[level]))
        self._slide, self._level = slide, level

    def pixels(self, region: Region) -> np.ndarray:
        try:
            return self._slide.read_level(self._level, region)
        except SlideReadError as error:
            _LOG.warning("drawn as unreadable: %s", error)
            return _check(region.height, region.width)


class _HalvedLevel(_LazyLevel):
    """A level of half the size, averaged from a finer one and kept block by block."""

    def __init__(self, finer: _LazyLevel) -> None:
        height, width, _ = finer.shape
        super().__init__((height + 1) // 2, (width + 1) // 2, _CHUNK_PX)
        self._finer = finer
        # napari takes the factor from the shapes, so the average is over exactly that factor.
        self._step = (height / self.shape[0], width / self.shape[1])
        self._block = functools.lru_cache(_CACHED_BLOCKS)(self._compute)

    def pixels(self, region: Region) -> np.ndarray:
        result = np.empty((region.height, region.width, 3), np.uint8)
        for y in range(region.y // _CHUNK_PX * _CHUNK_PX, region.bottom, _CHUNK_PX):
            for x in range(region.x // _CHUNK_PX * _CHUNK_PX, region.right, _CHUNK_PX):
                top, left = max(y, region.y), max(x, region.x)
                piece = self._block(y, x)[top - y : region.bottom - y, left - x : region.right - x]
                height, width = piece.shape[:2]
                top, left = top - region.y, left - region.x
                result[top : top + height, left : left + width] = piece
        return result

    def _compute(self, y: int, x: int) -> np.ndarray:
        """The block whose corner is (y, x)."""
        rows = axis_weights(y * self._step[0], self._step[0], min(_CHUNK_PX, self.shape[0] - y))
        columns = axis_weights(x * self._step[1], self._step[1], min(_CHUNK_PX, self.shape[1] - x))
        source = Region(rows.first, columns.first, rows.length, columns.length)
        return resample(self._finer.pixels(source), rows, columns)


def _check(height: int, width: int) -> np.ndarray:
    """Magenta and black squares, uint8 (height, width, 3)."""
    squares = np.add.outer(np.arange(height) // _CHECK_PX, np.arange(width) // _CHECK_PX)
    return np.where(squares[..., None] % 2 == 1, _MAGENTA, np.uint8(0))
