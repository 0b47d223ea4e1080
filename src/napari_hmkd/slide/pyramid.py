"""A slide as lazy dask arrays, one per level: what napari draws from."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod

import dask.array as da
import numpy as np

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.loading.blocks import CHUNK_PX, chunk_px
from napari_hmkd.slide.resample import axis_weights, resample
from napari_hmkd.slide.slide import Slide

_LOG = logging.getLogger(__name__)

COARSEST_PX = 2048
"""Longest side of the last level: napari fetches it whole, at every update of the thumbnail."""

DRAWING_LIMIT_S = 5.0
"""How long drawing waits for a part of the file; a window without async slicing waits with it."""

_SLOW_PX = 2**31  # computing a level from so many pixels takes minutes
_CHECK_PX = 16
_MAGENTA = np.array((255, 0, 255), np.uint8)


def pyramid(slide: Slide) -> list[da.Array]:
    """One array per level, the finest first; nothing is read until an array is computed.

    napari takes a level's factor from the ratio of shapes: each level is padded with white, or cut,
    to the size at which that is the level's downsample. A file whose last level is longer than
    `COARSEST_PX` gets further levels, each half of the one before, computed when they are drawn. A
    part that cannot be read is drawn as a magenta and black check, so that it passes for nothing else
    and the rest is still shown.

    Returns
    -------
    list of dask.array.Array
        (height, width, 3) uint8, with square chunks that follow the file's tiles.
    """
    levels: list[_LazyLevel] = [_StoredLevel(slide, index) for index in range(len(slide.levels))]
    if lacks_small_levels(slide):
        last = slide.levels[-1].size
        _LOG.warning(
            "'%s' has no small levels: they are computed from %d x %d px when they are drawn, which "
            "takes minutes. Export the slide with a pyramid to look at it at ease.",
            slide.name, last.height, last.width,
        )  # fmt: skip
    while max(levels[-1].shape) > COARSEST_PX:
        levels.append(_HalvedLevel(slide, levels[-1]))
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


def lacks_small_levels(slide: Slide) -> bool:
    """Whether coarse levels have to be computed from so many pixels that it takes minutes."""
    last = slide.levels[-1].size
    return max(last.height, last.width) > COARSEST_PX and last.height * last.width > _SLOW_PX


class _UnreadableError(Exception):
    """Part of what was asked for cannot be read; no cache keeps what an exception carries.

    Attributes
    ----------
    pixels : uint8 (height, width, 3)
        What to draw in its place.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__()
        self.pixels = pixels


class _LazyLevel(ABC):
    """What dask slices: a level of the file, or one computed from the level before it."""

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, height: int, width: int, chunk: int) -> None:
        self.shape = (height, width, 3)
        self.chunk = chunk

    @abstractmethod
    def pixels(self, region: Region) -> np.ndarray:
        """Pixels of a region inside the level, uint8 (height, width, 3).

        Raises
        ------
        SlideStalledError
            The file does not answer.
        _UnreadableError
            Part of the region is damaged.
        """

    @abstractmethod
    def drawn(self, region: Region) -> None:
        """Told what is on screen."""

    def __getitem__(self, index: tuple[slice | int, slice | int, slice | int]) -> np.ndarray:
        """What dask asks for; it folds a caller's integers and steps into its own slices."""
        whole = [one if isinstance(one, slice) else slice(one, one + 1) for one in index[:2]]
        y, bottom, row_step = whole[0].indices(self.shape[0])
        x, right, column_step = whole[1].indices(self.shape[1])
        region = Region(y, x, max(0, bottom - y), max(0, right - x))
        try:
            pixels = self.pixels(region)
            self.drawn(region)
        except SlideStalledError as error:
            pixels = _unreadable(region, error)
        except _UnreadableError as error:
            pixels = error.pixels
            self.drawn(region)
        rows = slice(None, None, row_step) if isinstance(index[0], slice) else 0
        columns = slice(None, None, column_step) if isinstance(index[1], slice) else 0
        return pixels[rows, columns, index[2]]


class _StoredLevel(_LazyLevel):
    """A level of the file."""

    def __init__(self, slide: Slide, index: int) -> None:
        level = slide.levels[index]
        super().__init__(
            max(1, round(slide.size.height / level.downsample)),
            max(1, round(slide.size.width / level.downsample)),
            chunk_px(level),
        )
        self._slide, self._level = slide, index

    def pixels(self, region: Region) -> np.ndarray:
        read = functools.partial(self._slide.read_level, self._level, region, keep=True)
        try:
            return self._slide.in_time(read, DRAWING_LIMIT_S, urgent=True)
        except SlideStalledError:
            raise
        except SlideReadError as error:
            self._slide.reader.note_unreadable(str(error))
            raise _UnreadableError(_unreadable(region, error)) from error

    def drawn(self, region: Region) -> None:
        inside = region.clip(self._slide.levels[self._level].size)
        if inside.height and inside.width:
            self._slide.reader.ahead.look(self._level, inside)


class _HalvedLevel(_LazyLevel):
    """A level of half the size, averaged from a finer one and kept block by block."""

    def __init__(self, slide: Slide, finer: _LazyLevel) -> None:
        height, width, _ = finer.shape
        super().__init__((height + 1) // 2, (width + 1) // 2, CHUNK_PX)
        self._reader, self._finer = slide.reader, finer
        # napari takes the factor from the shapes, so the average is over exactly that factor.
        self._step = (height / self.shape[0], width / self.shape[1])

    def pixels(self, region: Region) -> np.ndarray:
        result = np.empty((region.height, region.width, 3), np.uint8)
        sound = True
        for y in range(region.y // CHUNK_PX * CHUNK_PX, region.bottom, CHUNK_PX):
            for x in range(region.x // CHUNK_PX * CHUNK_PX, region.right, CHUNK_PX):
                compute = functools.partial(self._compute, y, x)
                try:
                    block = self._reader.computed_block((self.shape, y, x), compute)
                except _UnreadableError as error:
                    block, sound = error.pixels, False
                place = Region(y, x, *block.shape[:2])
                part = place.overlap(region)
                result[region.slices(part)] = block[place.slices(part)]
        if not sound:
            raise _UnreadableError(result)
        return result

    def drawn(self, region: Region) -> None:
        """Nothing is read ahead: a block of this level costs many of the file's."""

    def _compute(self, y: int, x: int) -> np.ndarray:
        """The block whose corner is (y, x)."""
        rows = axis_weights(y * self._step[0], self._step[0], min(CHUNK_PX, self.shape[0] - y))
        columns = axis_weights(x * self._step[1], self._step[1], min(CHUNK_PX, self.shape[1] - x))
        source = Region(rows.first, columns.first, rows.length, columns.length)
        try:
            return resample(self._finer.pixels(source), rows, columns)
        except _UnreadableError as error:
            raise _UnreadableError(resample(error.pixels, rows, columns)) from error


def _unreadable(region: Region, error: SlideReadError) -> np.ndarray:
    """Magenta and black squares, uint8 (height, width, 3), and a word about why."""
    _LOG.warning("drawn as unreadable: %s", error)
    rows, columns = (np.arange(side) // _CHECK_PX for side in (region.height, region.width))
    odd = np.add.outer(rows, columns) % 2 == 1
    return np.where(odd[..., None], _MAGENTA, np.uint8(0))
